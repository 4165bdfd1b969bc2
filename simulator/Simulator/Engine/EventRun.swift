/// Events in order: taken at the front, inserted anywhere, mostly at the end.
///
/// Complexity: `popFirst` and `append` O(1) amortised, `insert` O(log count) and a move of what
/// comes after. It allocates only to grow.
@usableFromInline
struct EventRun: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<Event>
    @usableFromInline var capacity: Int
    /// The events are at `head ..< end`; `head <= end <= capacity`.
    @usableFromInline var head = 0
    @usableFromInline var end = 0

    @usableFromInline
    init(capacity: Int = 1_024) {
        precondition(capacity > 0)
        base = .allocate(capacity: capacity)
        self.capacity = capacity
    }

    // Swift 6.3.1's optimiser stops at a queue's `run` unless this may be inlined.
    @inlinable
    deinit { base.deallocate() }

    @inlinable var count: Int { end &- head }
    @inlinable var isEmpty: Bool { head == end }

    @inlinable
    subscript(index: Int) -> Event {
        @inline(__always) get {
            precondition(index >= 0 && index < count)
            // SAFETY: initialised at `head ..< end`.
            return base[head &+ index]
        }
    }

    @inlinable @inline(__always)
    mutating func popFirst() -> Event {
        precondition(head < end)
        // SAFETY: initialised at `head ..< end`.
        let event = base[head]
        head &+= 1
        return event
    }

    /// Adds an event that comes after all others.
    @inlinable @inline(__always)
    mutating func append(_ event: Event) {
        if end == capacity { makeRoom(for: 1) }
        // SAFETY: `end` is below the capacity now.
        (base + end).initialize(to: event)
        end &+= 1
    }

    /// How many events are due at or before a time.
    func position(after timeNs: UInt64) -> Int {
        var low = head
        var size = count
        while size > 0 {
            let half = size >> 1
            // SAFETY: `head <= low + half < low + size <= end`.
            let isBefore = base[low &+ half].timeNs <= timeNs
            low = isBefore ? low &+ half &+ 1 : low
            size = isBefore ? size &- half &- 1 : half
        }
        return low &- head
    }

    /// Inserts an event after all that are due at or before its time.
    mutating func insert(_ event: Event) {
        if end == capacity { makeRoom(for: 1) }
        let place = head + position(after: event.timeNs)
        // SAFETY: `head <= place <= end < capacity`.
        (base + place + 1).update(from: base + place, count: end - place)
        (base + place).initialize(to: event)
        end += 1
    }

    /// Drops all but the first events.
    mutating func truncate(to count: Int) {
        precondition(count >= 0 && count <= self.count)
        end = head + count
    }

    /// Makes room for events whose places are known before their order is: `set` them, each place
    /// once, then `extend`.
    mutating func reserve(_ room: Int) {
        precondition(room >= 0)
        if capacity - end < room { makeRoom(for: room) }
    }

    /// Sets the event at a place beyond the end.
    @inline(__always)
    mutating func set(_ event: Event, beyond place: Int) {
        precondition(place >= 0 && place < capacity &- end)
        // SAFETY: below the capacity.
        (base + (end &+ place)).initialize(to: event)
    }

    /// Takes in the events that were `set`, and sorts them by time; equal times stay as they are.
    /// They come after all others. Linear where none is far from its place, else quadratic.
    mutating func extend(by added: Int) {
        precondition(added >= 0 && added <= capacity - end)
        let start = end
        end += added
        for next in start..<end {
            // SAFETY: `start <= place <= next < end <= capacity`.
            let event = base[next]
            var place = next
            while place > start && base[place &- 1].timeNs > event.timeNs {
                base[place] = base[place &- 1]
                place &-= 1
            }
            base[place] = event
        }
    }

    /// Slides the events to the front where half is free, else grows.
    @usableFromInline
    mutating func makeRoom(for room: Int) {
        let live = count
        if live + room <= capacity / 2 {
            // SAFETY: both ranges lie below the capacity; `update` allows them to overlap.
            base.update(from: base + head, count: live)
        } else {
            capacity = max(capacity, live + room) * 2
            let larger = UnsafeMutablePointer<Event>.allocate(capacity: capacity)
            // SAFETY: `live` events are initialised from `head`, and there is room for more.
            larger.initialize(from: base + head, count: live)
            base.deallocate()
            base = larger
        }
        head = 0
        end = live
    }
}

extension EventRun: @unchecked Sendable {
    // SAFETY: noncopyable: whoever holds it is the only one with access to its events.
}
