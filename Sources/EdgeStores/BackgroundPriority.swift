import Glibc

/// The place in the kernel's order of threads that work for nobody who waits: reconciler, mirror,
/// snapshots, audits.
package enum BackgroundPriority {
    private static let niceness: Int32 = 10

    /// Grabs come first: at the hottest moment, on a node without a core to spare, the calling thread
    /// gets a tenth of one and catches up afterwards.
    ///
    /// Where the process runs under a real-time policy (`chrt`, `CPUSchedulingPolicy=rr`), this thread
    /// does no longer: that is for those who answer clients.
    package static func take() {
        var none = sched_param(sched_priority: 0)
        // Thread 0 is this one. Less than it has may always be asked for.
        _ = sched_setscheduler(0, SCHED_OTHER, &none)
        setpriority(Int32(PRIO_PROCESS.rawValue), 0, niceness)
    }
}
