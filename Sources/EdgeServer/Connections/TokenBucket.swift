import EdgeMemory
import EdgeTypes

/// A token bucket in thousandths of a token. Time comes in; nothing is scheduled.
struct TokenBucket {
    private var milliTokens: Int64
    private var lastMs: Int64

    /// Full, as of `nowMs`.
    init(_ limit: RateLimit, nowMs: Int64) {
        milliTokens = Int64(limit.burst) * 1_000
        lastMs = nowMs
    }

    var quietSinceMs: Int64 { lastMs }

    /// Takes one token.
    ///
    /// - Returns: 0 where there was one, else the milliseconds until there will be.
    mutating func take(_ limit: RateLimit, nowMs: Int64) -> Int64 {
        // Elapsed time is bounded before it is multiplied; a clock that went back adds nothing.
        let elapsed = min(max(0, nowMs - lastMs), 1_000_000)
        lastMs = nowMs
        let full = Int64(limit.burst) * 1_000
        milliTokens = min(full, milliTokens + elapsed * Int64(limit.perSecond))
        if milliTokens >= 1_000 {
            milliTokens -= 1_000
            return 0
        }
        let rate = Int64(limit.perSecond)
        return (1_000 - milliTokens + rate - 1) / rate
    }
}

/// The buckets of the users last seen: four places for each hash, the longest quiet one gives way.
///
/// Bounded memory for any number of users: one that was displaced starts with a full bucket.
struct UserBuckets {
    private struct Entry {
        var user: UserID
        var bucket: TokenBucket
        var used: Bool
    }

    private let limit: RateLimit
    private var entries: [Entry]

    init(_ limit: RateLimit, users: Int) {
        self.limit = limit
        let empty = Entry(user: 0, bucket: TokenBucket(limit, nowMs: 0), used: false)
        entries = limit.isOff ? [] : Array(repeating: empty, count: max(1, users / 4) * 4)
    }

    /// - Returns: 0, or the milliseconds to wait.
    mutating func take(_ user: UserID, nowMs: Int64) -> Int64 {
        guard !limit.isOff else { return 0 }
        let sets = UInt64(entries.count / 4)
        let first = Int(Hash64.reduce(Hash64.keyed(user, salt: 0x7261_7465), below: sets)) * 4
        var victim = first
        for index in first..<(first + 4) {
            if entries[index].used, entries[index].user == user {
                return entries[index].bucket.take(limit, nowMs: nowMs)
            }
            if !entries[index].used {
                victim = index
                break
            }
            if entries[index].bucket.quietSinceMs < entries[victim].bucket.quietSinceMs {
                victim = index
            }
        }
        entries[victim] = Entry(
            user: user, bucket: TokenBucket(limit, nowMs: nowMs), used: true)
        return entries[victim].bucket.take(limit, nowMs: nowMs)
    }
}
