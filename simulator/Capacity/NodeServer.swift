/// A request on its way: 32 bytes, taken from a free list when its user sends and given back when
/// the answer is told, so that memory follows those in flight and not all users.
struct InFlight: BitwiseCopyable {
    /// When the user meant to send.
    var sendNs: UInt64
    /// When it came to the node where it is.
    var arrivedNs: UInt64
    /// The user's number in its pool.
    var user: UInt32
    /// The next in the same node's queue, or in the free list.
    var next: UInt32
    /// Where it is, or is going.
    var node: UInt16
    /// The node that its client talks to.
    var entry: UInt16
    var pool: UInt16
    var stage: Stage
    var outcome: UInt8

    enum Stage: UInt8, BitwiseCopyable {
        /// From the client to any node.
        case entering
        /// From there to the owner.
        case forwarded
        /// The owner's answer on its way back to where the client is.
        case answered
    }

    static let none = UInt32.max
}

/// A node as a server with one queue: what waits, until when it is busy, and what it has done.
///
/// Time is told by touching it: between two events a queue changes only where a batch ends.
struct NodeServer: BitwiseCopyable {
    /// Until then it serves a batch.
    var busyUntilNs: UInt64 = 0
    var head = InFlight.none
    var tail = InFlight.none
    var waiting: UInt32 = 0
    var serving: UInt32 = 0
    var wakeIsDue = false
    var isLost = false

    /// Group commit: the last sync that was scheduled. What is appended before it begins is in it.
    var syncStartNs: UInt64 = 0
    var syncEndNs: UInt64 = 0
    var syncs: UInt64 = 0

    var busyNs: UInt64 = 0
    var syncBusyNs: UInt64 = 0
    var served: UInt64 = 0
    var granted: UInt64 = 0
    var steps: UInt64 = 0
    var peakWaiting: UInt32 = 0
    /// When it first refused at its door; 0: never.
    var firstRefusalNs: UInt64 = 0
    /// The longest time that one request was here.
    var longestNs: UInt64 = 0
    /// Little's law, both sides of it: the integral of how many are here over time, and the sum
    /// of how long each was here.
    var presentNs: UInt64 = 0
    var sojournNs: UInt64 = 0
    private var countedUntilNs: UInt64 = 0

    /// Counts who was here up to now.
    @inline(__always)
    mutating func touch(_ nowNs: UInt64) {
        if serving > 0 && busyUntilNs <= nowNs {
            presentNs &+= (busyUntilNs &- countedUntilNs) &* UInt64(waiting &+ serving)
            countedUntilNs = busyUntilNs
            serving = 0
        }
        presentNs &+= (nowNs &- countedUntilNs) &* UInt64(waiting &+ serving)
        countedUntilNs = nowNs
    }

    /// When what is appended now is durable.
    @inline(__always)
    mutating func durableNs(appendedNs: UInt64, syncNs: UInt64) -> UInt64 {
        if appendedNs >= syncEndNs {
            syncStartNs = appendedNs
        } else if appendedNs <= syncStartNs {
            return syncEndNs
        } else {
            syncStartNs = syncEndNs
        }
        syncEndNs = syncStartNs + syncNs
        syncBusyNs &+= syncNs
        syncs &+= 1
        return syncEndNs
    }
}
