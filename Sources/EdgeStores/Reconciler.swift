import EdgeLedger
public import EdgeReconciler
import Foundation
import Synchronization

/// Carries committed entries from a node's journal to a store, in a thread of its own.
///
/// It holds one batch and nothing else. Whatever fails, it goes back to what the store says: the
/// watermarks decide what is applied, so a crash, a lost answer, a second reconciler or a store
/// that was restored cost time and never a row. `wake` never blocks; nothing else is called from
/// event loops.
public final class Reconciler: Sendable {
    private struct Shared {
        var status = ReconcilerStatus()
        var thread: Thread?
        var wantsRestart = false
    }

    private let configuration: ReconcilerConfiguration
    private let openSources: @Sendable () throws -> [any EntrySource]
    private let openStore: @Sendable () throws -> any LedgerStore
    private let follow: @Sendable (StoreChanges) -> Void
    private let shared = Mutex(Shared())
    private let signal = ReconcilerSignal()

    /// - Parameters:
    ///   - openSources: called in the reconciler's thread, again after it has failed.
    ///   - openStore: likewise; also called again after the store has failed.
    ///   - follow: is given, in that thread, what each batch has made of the store.
    public init(
        configuration: ReconcilerConfiguration = ReconcilerConfiguration(),
        openSources: @escaping @Sendable () throws -> [any EntrySource],
        openStore: @escaping @Sendable () throws -> any LedgerStore,
        follow: @escaping @Sendable (StoreChanges) -> Void = { _ in }
    ) {
        self.configuration = configuration
        self.openSources = openSources
        self.openStore = openStore
        self.follow = follow
    }

    public var status: ReconcilerStatus { shared.withLock { $0.status } }

    /// - Precondition: called once.
    public func start() {
        shared.withLock { shared in
            precondition(shared.thread == nil, "started twice")
            let thread = Thread { [self] in
                BackgroundPriority.take()
                run()
                signal.end()
            }
            thread.name = "downpour.reconciler"
            thread.stackSize = 2 << 20
            shared.thread = thread
            shared.status.state = .running
            thread.start()
        }
    }

    private func run() {
        var cycle = ReconcilerCycle(
            configuration: configuration, openSources: openSources, openStore: openStore,
            publish: publish, follow: follow)
        running: while true {
            if takeRestart() { cycle.restart() }
            switch cycle.step(nowMs: Int64(Date().timeIntervalSince1970 * 1_000)) {
            case .more: continue
            case .idle:
                if signal.isStopping { break running }
                signal.waitForWake(atMostMs: configuration.pollMs)
                signal.pause(configuration.gatherMs)
            case .failed(let waitMs):
                if signal.isOverdue { break running }
                guard waitMs > 0 else { continue }
                let wait = waitMs / 2 + Int.random(in: 0...(waitMs - waitMs / 2))
                if signal.isStopping {
                    signal.pauseWhileStopping(wait)
                } else {
                    signal.pause(wait)
                }
            }
        }
        cycle.close()
        publish { $0.state = .stopped }
    }

    /// Says that entries were committed. Any thread; takes no more than a free lock.
    public func wake() { signal.wake() }

    /// Says that other shards are shipped from here than before: the journal is read again. Any
    /// thread; takes no more than a free lock.
    public func restart() {
        shared.withLock { $0.wantsRestart = true }
        signal.wake()
    }

    private func takeRestart() -> Bool {
        shared.withLock { shared in
            defer { shared.wantsRestart = false }
            return shared.wantsRestart
        }
    }

    /// Applies what is committed now, then ends the thread. Blocks: not for event loops.
    ///
    /// - Parameter withinMs: how long it may keep trying a store that fails.
    /// - Returns: whether the store has everything that was committed.
    public func stop(withinMs: Int = 10_000) -> Bool {
        guard shared.withLock({ $0.thread != nil }) else { return false }
        signal.stop(withinMs: withinMs)
        signal.waitForEnd()
        return status.lagEntries == 0
    }

    private func publish(_ change: (inout ReconcilerStatus) -> Void) {
        shared.withLock { change(&$0.status) }
    }
}

/// Wake-ups, the wish to stop, and the end of the thread.
final class ReconcilerSignal: Sendable {
    private struct Flags {
        var woken = false
        var stopAt: UInt64?
        var ended = false
    }

    private let flags = Mutex(Flags())
    private let condition = NSCondition()

    static func monotonicMs() -> UInt64 { DispatchTime.now().uptimeNanoseconds / 1_000_000 }

    /// Once woken it stays so until somebody has waited for it: what comes meanwhile, thousands of
    /// commits a second, disturbs neither side.
    func wake() {
        let isNew = flags.withLock { flags in
            defer { flags.woken = true }
            return !flags.woken
        }
        guard isNew else { return }
        condition.lock()
        condition.broadcast()
        condition.unlock()
    }

    func stop(withinMs: Int) {
        let deadline = Self.monotonicMs() + UInt64(max(withinMs, 0))
        change { $0.stopAt = min($0.stopAt ?? .max, deadline) }
    }

    func end() { change { $0.ended = true } }

    var isStopping: Bool { flags.withLock { $0.stopAt != nil } }

    /// Whether it has tried long enough after a stop.
    var isOverdue: Bool {
        flags.withLock { flags in flags.stopAt.map { Self.monotonicMs() >= $0 } ?? false }
    }

    private func change(_ body: (inout Flags) -> Void) {
        condition.lock()
        flags.withLock { body(&$0) }
        condition.broadcast()
        condition.unlock()
    }

    /// Waits for a wake-up or a stop, and takes the wake-up.
    func waitForWake(atMostMs: Int) {
        wait(atMostMs) { flags in
            if flags.woken || flags.stopAt != nil {
                flags.woken = false
                return true
            }
            return false
        }
    }

    /// Waits for time to pass; a stop ends it.
    func pause(_ ms: Int) { wait(ms) { $0.stopAt != nil } }

    /// Waits even while stopping, for the next try; ends when it is overdue.
    func pauseWhileStopping(_ ms: Int) {
        wait(ms) { flags in flags.stopAt.map { Self.monotonicMs() >= $0 } ?? false }
    }

    func waitForEnd() {
        condition.lock()
        while !flags.withLock({ $0.ended }) { condition.wait() }
        condition.unlock()
    }

    /// - Returns: whether it has ended by then.
    func waitForEnd(atMostMs: Int) -> Bool {
        wait(atMostMs) { $0.ended }
        return flags.withLock { $0.ended }
    }

    private func wait(_ ms: Int, until: (inout Flags) -> Bool) {
        let deadline = Date(timeIntervalSinceNow: Double(ms) / 1_000)
        condition.lock()
        defer { condition.unlock() }
        while !flags.withLock({ until(&$0) }) {
            guard condition.wait(until: deadline) else { return }
        }
    }
}
