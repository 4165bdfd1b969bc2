import EdgeJournal
import EdgeMemory
import Synchronization

/// A core's journal writer as its loop sees it.
final class LoopWriter: LoopJournal {
    private let writer: JournalWriter

    /// Entries that wait to be written beyond this stop the loop from reading clients.
    static let backlogBytes = 16 << 20

    init(_ writer: JournalWriter) { self.writer = writer }

    func submit(_ entries: inout ByteSink, needsSync: Bool) -> UInt64 {
        writer.submit(&entries, needsSync: needsSync)
    }

    var isOverBacklog: Bool { writer.backlogBytes > Self.backlogBytes }
    var isFull: Bool { writer.isFull }
    var committedPosition: UInt64 { writer.committedPosition }
    var backlog: Int { writer.backlogBytes }
    var syncCount: UInt64 { writer.syncCount }
    var lane: JournalLane { writer.lane }

    func stop() -> Bool { writer.stop() }
}

/// Lets a writer, which is made first, tell a loop, which is made with the writer.
final class CommitRelay: Sendable {
    private let target = Mutex<ServerLoop?>(nil)
    private let reconciler = Mutex<(@Sendable () -> Void)?>(nil)

    func connect(_ loop: ServerLoop, wake: (@Sendable () -> Void)?) {
        target.withLock { $0 = loop }
        reconciler.withLock { $0 = wake }
    }

    func committed(_ position: UInt64) {
        target.withLock { $0 }?.journalCommitted(upTo: position)
        reconciler.withLock { $0 }?()
    }
}
