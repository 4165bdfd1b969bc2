public import EdgeMemory

/// A binary heap: what `LadderQueue` is measured and tested against.
///
/// Complexity: push and pop O(log count).
public struct HeapQueue: EventQueue, ~Copyable {
    /// The heap in `0 ..< live`; what follows is free.
    @usableFromInline var events = PlainList<Event>()
    @usableFromInline var live = 0
    @usableFromInline var clock = EventClock()

    @inlinable
    public init() {}

    @inlinable public var count: Int { live }
    @inlinable public var nextTimeNs: UInt64? { live == 0 ? nil : events[0].timeNs }

    @inlinable
    public mutating func push(timeNs: UInt64, payload: UInt32) {
        let event = clock.stamp(timeNs: timeNs, payload: payload)
        if live == events.count { events.append(event) }
        var hole = live
        live += 1
        while hole > 0 {
            let parent = (hole - 1) >> 1
            let above = events[parent]
            if above.precedes(event) { break }
            events[hole] = above
            hole = parent
        }
        events[hole] = event
    }

    @inlinable
    public mutating func pop() -> Event? {
        if live == 0 { return nil }
        let first = events[0]
        clock.nowNs = first.timeNs
        live -= 1
        if live > 0 { sink(events[live]) }
        return first
    }

    /// Puts an event where the first was, and lets it sink to its place.
    @inlinable
    mutating func sink(_ event: Event) {
        var hole = 0
        while true {
            var child = 2 * hole + 1
            if child >= live { break }
            if child + 1 < live && events[child + 1].precedes(events[child]) { child += 1 }
            let below = events[child]
            if event.precedes(below) { break }
            events[hole] = below
            hole = child
        }
        events[hole] = event
    }
}
