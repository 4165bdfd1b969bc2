import EdgeMemory
import EdgeTypes
import NIOConcurrencyHelpers

/// An answer on its way back to the loop that holds the connection.
struct RemoteReply: Sendable {
    var reply: Reply
    var body: Value?
}

/// What one loop has for another.
struct Mail: Sendable {
    var forwards: [Forward] = []
    var replies: [RemoteReply] = []
    var frames: [Frame] = []
    var replicas: [ReplicaInput] = []

    var isEmpty: Bool {
        forwards.isEmpty && replies.isEmpty && frames.isEmpty && replicas.isEmpty
    }

    mutating func removeAll() {
        forwards.removeAll(keepingCapacity: true)
        replies.removeAll(keepingCapacity: true)
        frames.removeAll(keepingCapacity: true)
        replicas.removeAll(keepingCapacity: true)
    }
}

/// A loop's letter box: others put a tick's mail in under one lock and wake it once.
///
/// It is bounded without ever refusing: a loop sends at most `forwardsPerLoop` requests that are
/// unanswered, and each makes one reply; frames beyond `frames` are dropped, since the cores
/// send every unanswered frame again; what is about replicas is bounded by what links hold.
final class Mailbox: Sendable {
    private struct State {
        var mail = Mail()
        var isWoken = false
        var droppedFrames: UInt64 = 0
    }

    static let frames = 1 << 20
    private let frameLimit: Int
    /// A pthread lock, which ThreadSanitizer sees through; it cannot where `Mutex` sleeps.
    private let state = NIOLockedValueBox(State())

    init(frameLimit: Int = Mailbox.frames) { self.frameLimit = frameLimit }

    /// Frames that found no room since the start.
    var droppedFrames: UInt64 { state.withLockedValue { $0.droppedFrames } }

    /// - Returns: whether the owner has to be woken.
    func put(_ mail: borrowing Mail) -> Bool {
        state.withLockedValue { state in
            state.mail.forwards.append(contentsOf: mail.forwards)
            state.mail.replies.append(contentsOf: mail.replies)
            state.mail.replicas.append(contentsOf: mail.replicas)
            let room = frameLimit - state.mail.frames.count
            state.mail.frames.append(contentsOf: mail.frames.prefix(room))
            state.droppedFrames += UInt64(max(0, mail.frames.count - room))
            if state.isWoken { return false }
            state.isWoken = true
            return true
        }
    }

    /// Exchanges what has come for `empty`.
    func take(_ empty: inout Mail) {
        precondition(empty.isEmpty)
        state.withLockedValue { state in
            state.isWoken = false
            swap(&state.mail, &empty)
        }
    }
}
