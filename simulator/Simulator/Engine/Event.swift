/// Something that is due at an instant: 16 bytes, and a number that says what it is.
public struct Event: BitwiseCopyable, Sendable, Equatable {
    /// When it is due, in nanoseconds of virtual time.
    public let timeNs: UInt64
    /// The sequence in the upper 32 bits, the payload in the lower.
    @usableFromInline let order: UInt64

    @inlinable @inline(__always)
    public init(timeNs: UInt64, sequence: UInt32, payload: UInt32) {
        self.timeNs = timeNs
        order = (UInt64(sequence) << 32) | UInt64(payload)
    }

    /// How many events were pushed before it, ever.
    @inlinable public var sequence: UInt32 { UInt32(truncatingIfNeeded: order >> 32) }
    /// What the queue's owner gave it: mostly an index into a table of what to do.
    @inlinable public var payload: UInt32 { UInt32(truncatingIfNeeded: order) }

    /// Whether this event comes out first: by time, and by sequence within an instant.
    @inlinable @inline(__always)
    public func precedes(_ other: Event) -> Bool {
        timeNs != other.timeNs ? timeNs < other.timeNs : order < other.order
    }
}

/// Pending events; they come out in order of (time, sequence).
///
/// `push` numbers events from 0. Every queue gives the same order, so that a run is the same
/// whichever it uses. At most 2^32 events may be pushed into a queue in its life.
public protocol EventQueue: ~Copyable {
    init()

    /// Events that are pending.
    var count: Int { get }
    /// When the first is due; nil where there is none. O(1), and changes nothing.
    var nextTimeNs: UInt64? { get }

    /// Adds an event.
    ///
    /// - Precondition: `timeNs` is not before the time of the event last popped, and not
    ///   `UInt64.max`, which stands for never.
    mutating func push(timeNs: UInt64, payload: UInt32)
    /// Takes the first event.
    mutating func pop() -> Event?
}

/// What all queues check: 2^32 sequences, and time that never goes back.
@usableFromInline
struct EventClock {
    /// Time of the event last popped.
    @usableFromInline var nowNs: UInt64 = 0
    /// Sequence of the next event.
    @usableFromInline var next: UInt64 = 0

    @inlinable
    init() {}

    /// The next event of its queue.
    @inlinable @inline(__always)
    mutating func stamp(timeNs: UInt64, payload: UInt32) -> Event {
        precondition(timeNs >= nowNs, "an event before the one last popped")
        precondition(timeNs < .max, "an event that never happens")
        precondition(next <= UInt64(UInt32.max), "more than 2^32 events in one queue")
        let event = Event(
            timeNs: timeNs, sequence: UInt32(truncatingIfNeeded: next), payload: payload)
        next &+= 1
        return event
    }
}
