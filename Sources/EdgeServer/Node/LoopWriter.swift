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
    /// A closure that is itself what a mutex holds is wrapped in one thunk more each time it is
    /// looked at: memory and time would grow with every commit. In a field it is not.
    private struct Targets {
        var loop: ServerLoop?
        var wake: (@Sendable () -> Void)?
    }

    private let targets = Mutex(Targets())

    func connect(_ loop: ServerLoop?, wake: (@Sendable () -> Void)?) {
        targets.withLock { $0 = Targets(loop: loop, wake: wake) }
    }

    func committed(_ position: UInt64) {
        let targets = targets.withLock { $0 }
        targets.loop?.journalCommitted(upTo: position)
        targets.wake?()
    }
}
