import EdgeJournal
import EdgeTypes
import Logging
import NIOCore
import NIOPosix

/// The thread that writes small files which an event loop must not wait for: one after the other.
final class DiskThread: @unchecked Sendable {
    // SAFETY: `sole` is touched by the pool's one thread only, and before that has begun.
    let directory: JournalDirectory
    private var sole: SoleRecords
    private let log: Logger
    private let pool = NIOThreadPool(numberOfThreads: 1)

    init(_ directory: JournalDirectory, _ sole: SoleRecords, _ log: Logger) {
        self.directory = directory
        self.sole = sole
        self.log = log
        pool.start()
    }

    /// A process begins: before the thread has anything to do.
    func begin(boot: UInt64) throws { try sole.begin(boot: boot) }

    /// - Parameter done: whether it was done; called on the event loop.
    func run(
        on eventLoop: any EventLoop,
        _ body: @escaping @Sendable (inout SoleRecords) throws -> Void,
        _ done: @escaping @Sendable (Bool) -> Void
    ) {
        pool.submit { [self] state in
            guard case .active = state else { return }
            var isDone = true
            do { try body(&sole) } catch {
                isDone = false
                log.warning("the disk refuses", metadata: ["error": "\(error)"])
            }
            let result = isDone
            eventLoop.execute { done(result) }
        }
    }

    /// The same for whoever can wait.
    func perform(_ body: @escaping @Sendable () throws -> Void) async throws {
        try await pool.runIfActive(body)
    }

    /// Waits for what was begun, and notes that the process ends in good order.
    func stop(isClean: Bool) async throws {
        let noted = pool.runIfActive(eventLoop: MultiThreadedEventLoopGroup.singleton.any()) {
            [self] in
            if isClean { try sole.noteCleanStop() }
        }
        try await noted.get()
        try await pool.shutdownGracefully()
    }
}
