import EdgeJournal
import EdgeTypes
import Logging
import NIOCore
import NIOPosix

/// What the disk is to say of a shard.
struct DiskRecord: Sendable {
    var record: SoleRecord
    /// Later ones are greater, of one shard.
    var order: UInt64
}

/// The thread that writes small files which an event loop must not wait for: one after the other.
final class DiskThread: @unchecked Sendable {
    // SAFETY: `sole` is touched by the pool's one thread only, and before that has begun.
    let directory: JournalDirectory
    private var sole: SoleRecords
    /// By shard: when what the disk says of it was wanted.
    private var orders: [ShardID: UInt64] = [:]
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

    /// Makes records durable, before something else where there is such. One that was wanted before
    /// what is held is of no use any more: it was refused, and comes late.
    ///
    /// - Parameter done: whether it was done; called on the event loop.
    func note(
        _ records: [DiskRecord], on eventLoop: any EventLoop,
        before body: @escaping @Sendable () throws -> Void = {},
        _ done: @escaping @Sendable (Bool) -> Void
    ) {
        pool.submit { [self] state in
            guard case .active = state else { return }
            var isDone = true
            do {
                let news = records.filter { $0.order >= orders[$0.record.shard] ?? 0 }
                try sole.note(news.map(\.record))
                for one in news { orders[one.record.shard] = one.order }
                try body()
            } catch {
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
