/// Deadlines of many small numbers, kept in hierarchical timing wheels (Varghese and Lauck,
/// "Hashed and Hierarchical Timing Wheels", 1987, scheme 7).
///
/// Five wheels of 64 slots; a tick is 64 ms, so they span 2^30 ticks, about 2.2 years. What lies
/// further out waits in the farthest slot and moves closer when that comes up. Insertion and removal
/// are O(1); looking for what is due does at most `stepsPerCall` moves a call, however far the
/// clock has jumped. Nothing comes up before its deadline, and at most a tick after it as long as
/// the caller keeps asking.
///
/// Time is what the caller says. If it goes back, the wheels turn back with it: slots that were
/// filled for a later time come up too early then, never too late, and what they hold is sorted
/// in again.
///
/// Ids are dense numbers below 2^31: each takes 16 bytes for good.
public struct TimingWheel: ~Copyable {
    @usableFromInline
    struct Node: BitwiseCopyable {
        @usableFromInline var deadlineMs: Int64
        /// The next id in the list; `none` at its end.
        @usableFromInline var next: UInt32
        /// The id before, `listMark | list` at its head, `none` where it is in no list.
        @usableFromInline var previous: UInt32

        @inlinable
        init(deadlineMs: Int64, next: UInt32, previous: UInt32) {
            self.deadlineMs = deadlineMs
            self.next = next
            self.previous = previous
        }
    }

    /// Moves and slots one call may work through: some 20 µs.
    public static let stepsPerCall = 256
    /// Length of a tick.
    public static let tickMs: Int64 = 64

    @usableFromInline static let none = UInt32.max
    @usableFromInline static let listMark: UInt32 = 1 << 31
    @usableFromInline static let levels = 5
    /// What was due already when it came in.
    @usableFromInline static let overdue = 320
    /// The slot that is being sorted in again.
    @usableFromInline static let moving = 321

    @usableFromInline var nodes = RecordLog<Node>(chunkBits: 9)
    /// First id of each list: the slots level by level, then `overdue` and `moving`.
    @usableFromInline var heads: [UInt32]
    /// A bit per slot that holds something.
    @usableFromInline var occupied: [UInt64]
    /// Every slot that begins at or before this tick has been visited.
    @usableFromInline var current: Int64 = 0
    /// Levels still to visit at `visitTick`, a bit each.
    @usableFromInline var visiting: UInt8 = 0
    @usableFromInline var visitTick: Int64 = 0
    /// Not above any deadline in `overdue`.
    @usableFromInline var overdueMs: Int64 = .max
    @usableFromInline var linked = 0

    @inlinable
    public init() {
        heads = [UInt32](repeating: Self.none, count: 322)
        occupied = [UInt64](repeating: 0, count: Self.levels)
    }

    /// Ids with a deadline.
    @inlinable public var count: Int { linked }
    @inlinable public var isEmpty: Bool { linked == 0 }
    @inlinable public var allocatedBytes: Int { nodes.allocatedBytes + 322 * 4 + Self.levels * 8 }

    @inlinable
    public func contains(_ id: UInt32) -> Bool {
        Int(id) < nodes.count && nodes[Int(id)].previous != Self.none
    }

    /// Tells an empty wheel the time, so that what comes in next lands close to its slot.
    @inlinable
    public mutating func start(atMs nowMs: Int64) {
        precondition(isEmpty)
        current = nowMs >> 6
        visiting = 0
    }

    /// Sets a deadline. O(1), after room was made for the ids up to this one.
    ///
    /// - Precondition: `id` has none, and is below 2^31.
    @inlinable
    public mutating func insert(_ id: UInt32, deadlineMs: Int64) {
        precondition(id < Self.listMark)
        while nodes.count <= Int(id) {
            nodes.append(Node(deadlineMs: 0, next: Self.none, previous: Self.none))
        }
        precondition(nodes[Int(id)].previous == Self.none)
        nodes[Int(id)].deadlineMs = deadlineMs
        link(id, into: list(for: deadlineMs))
        linked += 1
    }

    /// Empties the wheel and gives its memory back to the system. O(ids).
    public mutating func release() {
        nodes.release()
        self = TimingWheel()
    }

    /// Takes a deadline away. O(1).
    ///
    /// - Returns: whether `id` had one.
    @inlinable @discardableResult
    public mutating func remove(_ id: UInt32) -> Bool {
        guard contains(id) else { return false }
        unlink(id)
        linked -= 1
        return true
    }

    /// An id whose deadline is at or before `nowMs`; it stays until it is removed.
    ///
    /// - Returns: nil where nothing is due, or where the work of this call is used up:
    ///   `nextDeadlineMs` then lies in the past, and the caller asks again in its next turn.
    public mutating func nextExpired(nowMs: Int64) -> UInt32? {
        let nowTick = nowMs >> 6
        if nowTick < current { current = nowTick }
        for _ in 0..<Self.stepsPerCall {
            var id = heads[Self.overdue]
            if id == Self.none { id = heads[Self.moving] }
            if id != Self.none {
                let deadlineMs = nodes[Int(id)].deadlineMs
                if deadlineMs <= nowMs { return id }
                unlink(id)
                link(id, into: list(for: deadlineMs))
            } else if visiting != 0 {
                visitLevel()
            } else {
                guard let event = nextEvent(), event <= nowTick else {
                    current = nowTick
                    return nil
                }
                startVisit(event)
            }
        }
        return nil
    }

    /// As `nextExpired`, and removes it.
    public mutating func popExpired(nowMs: Int64) -> UInt32? {
        guard let id = nextExpired(nowMs: nowMs) else { return nil }
        remove(id)
        return id
    }

    /// No call before this time finds anything. `Int64.max`: nothing has a deadline; a time in the
    /// past: ask now. O(1).
    public var nextDeadlineMs: Int64 {
        if linked == 0 { return .max }
        if visiting != 0 || heads[Self.moving] != Self.none { return .min }
        var bound = heads[Self.overdue] == Self.none ? Int64.max : overdueMs
        if let event = nextEvent() {
            let (ms, overflow) = event.multipliedReportingOverflow(by: Self.tickMs)
            bound = min(bound, overflow ? .max : ms)
        }
        return bound
    }

    /// The tick at which the next slot that holds something begins.
    private func nextEvent() -> Int64? {
        var best: Int64?
        for level in 0..<Self.levels where occupied[level] != 0 {
            let position = current >> Int64(6 * level)
            let turn = UInt64((position + 1) & 63)
            let bits = occupied[level]
            // Swift defines shifts by 64 and more: they give 0.
            let turned = (bits >> turn) | (bits << (64 - turn))
            let distance = Int64(turned.trailingZeroBitCount) + 1
            let tick = (position + distance) << Int64(6 * level)
            best = min(best ?? tick, tick)
        }
        return best
    }

    /// Moves to `tick`, where slots of one or more levels begin.
    private mutating func startVisit(_ tick: Int64) {
        current = tick
        visitTick = tick
        for level in 0..<Self.levels {
            let shift = Int64(6 * level)
            let begins = (tick & ((1 << shift) - 1)) == 0
            if begins && (occupied[level] >> UInt64((tick >> shift) & 63)) & 1 == 1 {
                visiting |= 1 << UInt8(level)
            }
        }
    }

    /// Takes the highest slot still to visit into `moving`, whole.
    private mutating func visitLevel() {
        let level = 7 - visiting.leadingZeroBitCount
        visiting &= ~(1 << UInt8(level))
        let slot = Int((visitTick >> Int64(6 * level)) & 63)
        let list = level * 64 + slot
        let head = heads[list]
        if head == Self.none { return }
        precondition(heads[Self.moving] == Self.none)
        heads[list] = Self.none
        occupied[level] &= ~(1 << UInt64(slot))
        heads[Self.moving] = head
        nodes[Int(head)].previous = Self.listMark | UInt32(Self.moving)
    }

    /// Where a deadline belongs, seen from `current`: the level is that of the highest group of six
    /// bits in which the two ticks differ.
    @inlinable
    func list(for deadlineMs: Int64) -> Int {
        // Rounded up: a slot never comes up before what it holds is due.
        let tick = (deadlineMs >> 6) + ((deadlineMs & 63) == 0 ? 0 : 1)
        if tick <= current { return Self.overdue }
        let differing = UInt64(bitPattern: tick ^ current) | 63
        let level = min((63 - differing.leadingZeroBitCount) / 6, Self.levels - 1)
        let shift = Int64(6 * level)
        var position = tick >> shift
        if level == Self.levels - 1 { position = min(position, (current >> shift) + 63) }
        return level * 64 + Int(position & 63)
    }

    @inlinable
    mutating func link(_ id: UInt32, into list: Int) {
        let head = heads[list]
        nodes[Int(id)].next = head
        nodes[Int(id)].previous = Self.listMark | UInt32(list)
        if head != Self.none { nodes[Int(head)].previous = id }
        heads[list] = id
        if list < Self.overdue {
            occupied[list >> 6] |= 1 << UInt64(list & 63)
        } else if list == Self.overdue {
            let deadlineMs = nodes[Int(id)].deadlineMs
            overdueMs = head == Self.none ? deadlineMs : min(overdueMs, deadlineMs)
        }
    }

    @inlinable
    mutating func unlink(_ id: UInt32) {
        let node = nodes[Int(id)]
        if node.next != Self.none { nodes[Int(node.next)].previous = node.previous }
        if (node.previous & Self.listMark) == 0 {
            nodes[Int(node.previous)].next = node.next
        } else {
            let list = Int(node.previous & ~Self.listMark)
            heads[list] = node.next
            if node.next == Self.none && list < Self.overdue {
                occupied[list >> 6] &= ~(1 << UInt64(list & 63))
            }
        }
        nodes[Int(id)].previous = Self.none
        nodes[Int(id)].next = Self.none
    }
}
