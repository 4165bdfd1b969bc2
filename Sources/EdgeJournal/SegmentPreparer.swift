import EdgeTypes
import Glibc
import Synchronization

/// Makes segments, and always has the next one ready, on a thread of its own: the writer never
/// waits for a creation unless disks are slower than clients.
final class SegmentPreparer: @unchecked Sendable {
    // SAFETY: what changes is guarded by `monitor`, or atomic.
    private let maker: SegmentMaker
    private let retryMs: Int64
    private let monitor = Monitor()
    private var ready: PreparedSegment?
    private var nextIndex: UInt32 = 0
    private var trims: [(name: SegmentName, size: Int)] = []
    private var failure: JournalError?
    private var isStopping = false
    private var thread: Thread?
    /// The writer is waiting: leave zeroing aside.
    private let isHurried = Atomic<Bool>(false)
    /// The disk had no room for the next segment when it was last tried.
    let isFull = Atomic<Bool>(false)

    init(directory: JournalDirectory, lane: JournalLane, cores: UInt16) {
        maker = SegmentMaker(directory: directory, lane: lane, cores: cores)
        retryMs = directory.configuration.retryMs
    }

    /// Makes the lane's first segment and the spare behind it. Where there is no room for the
    /// spare, the lane begins full; where there is none for the first, this throws `noSpace`.
    func start() throws(JournalError) -> PreparedSegment {
        let first = try maker.make(index: 0)
        nextIndex = 1
        do throws(JournalError) {
            ready = try maker.make(index: 1)
        } catch .noSpace {
            isFull.store(true, ordering: .releasing)
        }
        thread = Thread { [self] in run() }
        return first
    }

    /// Takes the next segment if it is ready.
    func takeNow() -> PreparedSegment? { monitor.withLock { takeLocked() } }

    /// Waits for the next segment.
    ///
    /// - Returns: nil once `giveUp` holds (asked whenever `wake` is called).
    func take(unless giveUp: () -> Bool) throws(JournalError) -> PreparedSegment? {
        isHurried.store(true, ordering: .releasing)
        defer { isHurried.store(false, ordering: .releasing) }
        monitor.lock()
        defer { monitor.unlock() }
        while true {
            if let taken = takeLocked() { return taken }
            if let failure { throw failure }
            if giveUp() { return nil }
            monitor.wait()
        }
    }

    private func takeLocked() -> PreparedSegment? {
        guard let taken = ready.take() else { return nil }
        nextIndex += 1
        monitor.signal()
        return taken
    }

    func wake() { monitor.withLock { monitor.signal() } }

    /// Gives back what a sealed segment reserved beyond its seal.
    func trim(_ name: SegmentName, to size: Int) {
        monitor.withLock {
            trims.append((name, size))
            monitor.signal()
        }
    }

    /// Ends the thread and removes the spare.
    func stop() throws(JournalError) {
        monitor.withLock {
            isStopping = true
            monitor.signal()
        }
        thread?.join()
        thread = nil
        if let spare = ready.take() { try maker.discard(spare) }
        if let failure { throw failure }
    }

    // MARK: The thread

    private enum Task {
        case make(UInt32)
        case trim(SegmentName, Int)
        case end
    }

    private func run() {
        while true {
            do throws(JournalError) {
                switch next() {
                case .end: return
                case .trim(let name, let size): try maker.trim(name, to: size)
                case .make(let index): try makeSpare(index)
                }
            } catch {
                monitor.withLock {
                    failure = error
                    monitor.signal()
                }
                return
            }
        }
    }

    private func next() -> Task {
        monitor.lock()
        defer { monitor.unlock() }
        var retryAtNs: UInt64?
        while true {
            if isStopping && trims.isEmpty { return .end }
            let wantsSpare = !isStopping && ready == nil
            if isFull.load(ordering: .relaxed), wantsSpare, retryAtNs == nil {
                retryAtNs = Clock.nowNs() + UInt64(retryMs) * 1_000_000
            }
            if wantsSpare, retryAtNs.map({ Clock.nowNs() >= $0 }) ?? true {
                return .make(nextIndex)
            }
            if !trims.isEmpty {
                let trim = trims.removeFirst()
                return .trim(trim.name, trim.size)
            }
            if let retryAtNs { monitor.wait(untilNs: retryAtNs) } else { monitor.wait() }
        }
    }

    private func makeSpare(_ index: UInt32) throws(JournalError) {
        do throws(JournalError) {
            var made: PreparedSegment? = try maker.make(index: index) {
                isHurried.load(ordering: .acquiring)
            }
            isFull.store(false, ordering: .releasing)
            monitor.withLock {
                ready = made.take()
                monitor.signal()
            }
        } catch .noSpace {
            isFull.store(true, ordering: .releasing)
            wake()
        }
    }
}
