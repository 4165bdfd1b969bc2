import EdgeTypes
import Glibc
import Synchronization

/// A segment on disk that holds nothing yet but its header: created, reserved and durable.
struct PreparedSegment: ~Copyable, Sendable {
    let file: File
    let name: SegmentName
}

/// Makes segments, and always has the next one ready, on a thread of its own: the writer never
/// waits for a creation unless disks are slower than clients.
final class SegmentPreparer: @unchecked Sendable {
    // SAFETY: what changes is guarded by `monitor`, or atomic.
    private let directory: String
    private let identity: JournalIdentity
    private let configuration: JournalConfiguration
    private let system: JournalSystem
    private let lane: JournalLane
    private let cores: UInt16
    private let monitor = Monitor()
    private var ready: PreparedSegment?
    private var nextIndex: UInt32 = 0
    private var trims: [(path: String, size: Int)] = []
    private var failure: JournalError?
    private var isStopping = false
    private var thread: Thread?
    /// The writer is waiting: leave zeroing aside.
    private let isHurried = Atomic<Bool>(false)
    /// The disk had no room for the next segment when it was last tried.
    let isFull = Atomic<Bool>(false)

    init(directory: JournalDirectory, lane: JournalLane, cores: UInt16) {
        self.directory = directory.journalPath
        identity = directory.identity
        configuration = directory.configuration
        system = directory.system
        self.lane = lane
        self.cores = cores
    }

    /// Makes the lane's first segment and the spare behind it. Where there is no room for the
    /// spare, the lane begins full; where there is none for the first, this throws `noSpace`.
    func start() throws(JournalError) -> PreparedSegment {
        let first = try make(index: 0)
        nextIndex = 1
        do throws(JournalError) {
            ready = try make(index: 1)
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
    func trim(_ path: String, to size: Int) {
        monitor.withLock {
            trims.append((path, size))
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
        if let spare = ready.take() {
            try Directory.remove(spare.file.path)
            try Directory.synchronize(directory)
        }
        if let failure { throw failure }
    }

    // MARK: The thread

    private enum Task {
        case make(UInt32)
        case trim(String, Int)
        case end
    }

    private func run() {
        while true {
            do throws(JournalError) {
                switch next() {
                case .end: return
                case .trim(let path, let size): try trimFile(path, size)
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
                retryAtNs = Clock.nowNs() + UInt64(configuration.retryMs) * 1_000_000
            }
            if wantsSpare, retryAtNs.map({ Clock.nowNs() >= $0 }) ?? true {
                return .make(nextIndex)
            }
            if !trims.isEmpty {
                let trim = trims.removeFirst()
                return .trim(trim.path, trim.size)
            }
            if let retryAtNs { monitor.wait(untilNs: retryAtNs) } else { monitor.wait() }
        }
    }

    private func makeSpare(_ index: UInt32) throws(JournalError) {
        do throws(JournalError) {
            var made: PreparedSegment? = try make(index: index)
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

    private func trimFile(_ path: String, _ size: Int) throws(JournalError) {
        do throws(JournalError) {
            let file = try File(path, O_RDWR)
            try file.truncate(to: size)
            try file.synchronize()
        } catch {
            // Retention may have taken the segment meanwhile.
            guard case .system(_, _, ENOENT) = error else { throw error }
        }
    }

    /// Creates a segment under a temporary name and renames it when all of it is durable: a
    /// segment's file is never without a good header.
    private func make(index: UInt32) throws(JournalError) -> PreparedSegment {
        let name = SegmentName(lane: lane, index: index)
        let path = directory + "/" + name.fileName
        let temporary = path + ".tmp"
        do throws(JournalError) {
            try write(name, to: temporary)
            try Directory.rename(temporary, to: path)
            try Directory.synchronize(directory)
            return PreparedSegment(file: try File(path, O_RDWR), name: name)
        } catch {
            try? Directory.remove(temporary)
            throw error
        }
    }

    private func write(_ name: SegmentName, to path: String) throws(JournalError) {
        let file = try File(path, O_RDWR | O_CREAT | O_TRUNC)
        let code = system.allocate(file.descriptor, configuration.segmentBytes)
        guard code == 0 else { throw .from(code, "allocate", path) }
        let header = SegmentHeader(
            name: name, cores: cores, identity: identity, createdMs: Clock.wallMs())
        let block = header.encode()
        defer { withExtendedLifetime(block) {} }
        try file.write(block.bytes, at: 0)
        if configuration.zeroFills { try fill(file) }
        try file.synchronize()
    }

    /// Writes zeros, syncing as it goes so that the writer's own syncs find short queues.
    private func fill(_ file: borrowing File) throws(JournalError) {
        let piece = RawBuffer(capacity: 1 << 20)
        defer { withExtendedLifetime(piece) {} }
        piece.region.initializeMemory(as: UInt8.self, repeating: 0)
        piece.count = piece.region.count
        var offset = SegmentHeader.bytes
        while offset < configuration.segmentBytes {
            if isHurried.load(ordering: .acquiring) { return }
            let size = min(piece.count, configuration.segmentBytes - offset)
            try file.write(UnsafeRawBufferPointer(rebasing: piece.bytes[..<size]), at: offset)
            try file.synchronize()
            offset += size
        }
    }
}
