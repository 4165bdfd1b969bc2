/// Pending events in constant amortised time, whatever the distribution of their times.
///
/// A ladder queue (Tang, Goh and Thng, "Ladder Queue: An O(1) Priority Queue Structure for
/// Large-Scale Discrete Event Simulation", 2005) on the rungs of a radix heap (Ahuja, Mehlhorn,
/// Orlin and Tarjan, "Faster Algorithms for the Shortest Path Problem", 1990): as events never
/// come before the one last popped, an event's rung is the highest base-256 digit in which its
/// time differs from `origin`, its bucket that digit. Nothing is estimated, so nothing has to be
/// resized.
///
/// Buckets are unsorted; the first one is opened when the sorted run is used up. Up to 512 events
/// that lie evenly are sorted into the run; more are moved to lower rungs, at once to the one where
/// they differ. Events of one instant are in sequence order already and only copied. What is
/// pushed into the run's span is inserted there, and a run that gets long gives its later part
/// back.
///
/// Complexity: push and pop O(1) amortised: an event goes down 8 levels at most, 2 commonly, and
/// is inserted among 192 others at most.
/// Memory: 16 bytes an event, some 64 kB of buckets, and free space for growth. It allocates only
/// when more events are pending, or more at one instant, than ever before.
public struct LadderQueue: EventQueue, ~Copyable {
    /// Most events that are sorted at once.
    static let sortLimit = 512
    /// A run is filled with whole buckets until it has this many.
    static let runTarget = 64
    /// Longest run into which an event is inserted.
    @usableFromInline static let insertLimit = 192
    /// Counters of the distribution that sorts a bucket.
    static let binBits = 8
    /// Most events in one of its bins: what insertion sort is good for.
    static let binLimit = 16

    /// The events before `runEndNs`, in order.
    @usableFromInline var run = EventRun()
    @usableFromInline var runEndNs: UInt64 = 0
    /// All others.
    @usableFromInline var buckets = EventBuckets()
    /// At or before every event in a bucket. What differs from it in digit k, and in none above, is
    /// in level k.
    @usableFromInline var originNs: UInt64 = 0
    @usableFromInline var clock = EventClock()
    @usableFromInline var live = 0
    var bins: [UInt32]

    public init() { bins = [UInt32](repeating: 0, count: 1 << Self.binBits) }

    @inlinable public var count: Int { live }

    public var nextTimeNs: UInt64? {
        if !run.isEmpty { return run[0].timeNs }
        guard let index = buckets.lowest else { return nil }
        return buckets[index].minNs
    }

    /// The event that comes out after `index` others, if all stays as it is; nil beyond the sorted
    /// run, whose length is for the queue to choose (64 or more mostly, 0 sometimes).
    @inlinable
    public func upcoming(_ index: Int) -> Event? {
        index >= 0 && index < run.count ? run[index] : nil
    }

    @inlinable @inline(__always)
    public mutating func push(timeNs: UInt64, payload: UInt32) {
        let event = clock.stamp(timeNs: timeNs, payload: payload)
        live &+= 1
        if timeNs >= runEndNs {
            file(event)
        } else {
            insert(event)
        }
    }

    @inlinable @inline(__always)
    public mutating func pop() -> Event? {
        if run.isEmpty {
            if live == 0 { return nil }
            refill()
        }
        live &-= 1
        let event = run.popFirst()
        clock.nowNs = event.timeNs
        return event
    }

    /// Puts an event into the bucket where it belongs.
    @inlinable @inline(__always)
    mutating func file(_ event: Event) {
        let differing = (event.timeNs ^ originNs) | 1
        let level = (63 &- differing.leadingZeroBitCount) >> 3
        let digit = Int((event.timeNs >> UInt64(level << 3)) & 255)
        buckets.append(event, to: (level << 8) | digit)
    }

    /// Puts an event into the run, or where it belongs once the run was cut.
    @usableFromInline @inline(never)
    mutating func insert(_ event: Event) {
        let count = run.count
        if count == 0 || run[count - 1].timeNs <= event.timeNs {
            run.append(event)
        } else if count <= Self.insertLimit {
            run.insert(event)
        } else {
            cutRun(before: event.timeNs)
            // What is left is short enough, or the event belongs to its end.
            if event.timeNs >= runEndNs { file(event) } else { run.insert(event) }
        }
    }
}
