import EdgeTypes

/// Tells when so many members turn suspect or dead within a window that the trouble is likelier
/// the network's, or the observer's, than theirs: automatic rebalancing then waits.
///
/// A sliding window of buckets; a member counts once, where it turned last. It freezes above the
/// limit, and thaws at half of it. Complexity: O(1).
struct FreezeSignal {
    private static let buckets = 8

    let bucketNs: UInt64
    let percent: Int
    private var turned = [Int](repeating: 0, count: FreezeSignal.buckets)
    /// Most members alive at any time in each bucket.
    private var alive = [Int](repeating: 0, count: FreezeSignal.buckets)
    /// Numbers start at 1: 0 in `Member.turned` means never.
    private var current: UInt32 = 1
    private(set) var isFrozen = false

    init(windowNs: UInt64, percent: Int) {
        bucketNs = max(1, windowNs / UInt64(Self.buckets))
        self.percent = percent
    }

    /// When the window next moves, as long as that matters.
    func nextDeadlineNs() -> UInt64 { isFrozen ? UInt64(current) * bucketNs : .max }

    /// - Parameter liveCount: members alive or suspect now.
    mutating func advance(to nowNs: UInt64, liveCount: Int) {
        let bucket = UInt32(truncatingIfNeeded: nowNs / bucketNs) &+ 1
        if bucket > current {
            let steps = min(Int(bucket - current), Self.buckets)
            for step in 0..<steps {
                let place = Int(bucket &- UInt32(step)) % Self.buckets
                turned[place] = 0
                alive[place] = 0
            }
            current = bucket
        }
        let place = Int(current) % Self.buckets
        alive[place] = max(alive[place], liveCount)
        judge()
    }

    /// Counts a member that became suspect or dead.
    ///
    /// - Parameter before: what this returned for it the last time, 0 at first.
    /// - Returns: what to give as `before` the next time.
    mutating func turn(before: UInt32) -> UInt32 {
        if before > 0 && current - before < UInt32(Self.buckets) {
            turned[Int(before) % Self.buckets] -= 1
        }
        turned[Int(current) % Self.buckets] += 1
        judge()
        return current
    }

    /// A member that is forgotten, or replaced by its successor, counts no more.
    mutating func forget(before: UInt32) {
        if before > 0 && current - before < UInt32(Self.buckets) {
            turned[Int(before) % Self.buckets] -= 1
        }
    }

    private mutating func judge() {
        var troubled = 0
        var members = 0
        for bucket in 0..<Self.buckets {
            troubled += turned[bucket]
            members = max(members, alive[bucket])
        }
        let limit = members * percent
        if troubled * 100 > limit {
            isFrozen = true
        } else if troubled * 200 <= limit {
            isFrozen = false
        }
    }
}
