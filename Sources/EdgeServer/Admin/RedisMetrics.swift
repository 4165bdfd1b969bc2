import EdgeReconciler
import EdgeStores
import EdgeTypes

/// What the follower of the store counts, as metrics.
extension MetricsText {
    static func addRedis(_ redis: RedisStatus, _ page: inout Page) {
        func gauge(_ name: String, _ help: String, _ value: Double) {
            page.add("downpour_redis_\(name)", "gauge", help, "", value)
        }
        func counter(_ name: String, _ help: String, _ value: UInt64) {
            page.add("downpour_redis_\(name)_total", "counter", help, "", Double(value))
        }
        gauge("connected", "1 while Redis answers.", redis.connected ? 1 : 0)
        gauge(
            "lag_entries", "Entries that the store has and Redis lacks.", Double(redis.lagEntries))
        gauge("lag_seconds", "Age of the oldest change that waits.", Double(redis.lagMs) / 1_000)
        gauge(
            "rebuilding_shards", "Shards that are read from the store again.",
            Double(redis.rebuilding))
        gauge(
            "ahead_shards", "Shards of which Redis knows more than the store, which went back.",
            Double(redis.ahead))
        gauge("stream_entries", "Entries of downpour:events.", Double(redis.streamLength))
        gauge(
            "stream_full", "1 while events wait in the outbox for room.",
            redis.streamIsFull ? 1 : 0)
        gauge("dead_letters", "Entries of downpour:dead.", Double(redis.deadLetters))
        counter("failures", "Failures of Redis.", redis.failures)
        counter("mirrored_rows", "Rows of slices sent.", redis.mirroredRows)
        counter(
            "rebuilt_shards", "Shards that were read from the store again.", redis.rebuiltShards)
        counter("published_events", "Events added to downpour:events.", redis.publishedEvents)
        counter("trimmed_events", "Events that all groups have acknowledged.", redis.trimmedEvents)
        counter("buried_events", "Events moved to downpour:dead.", redis.buriedEvents)
        counter("invalidations", "Keys of caches told to be stale.", redis.invalidations)
    }

    /// Of `/v1/status`.
    static func fields(_ redis: RedisStatus) -> [Value.Field] {
        [
            .init("redis", .text(redis.state.rawValue)),
            .init("redis_connected", .integer(redis.connected ? 1 : 0)),
            .init("redis_lag_entries", .integer(Int64(clamping: redis.lagEntries))),
            .init("redis_lag_ms", .integer(redis.lagMs)),
            .init("dead_letters", .integer(redis.deadLetters)),
            .init("redis_error", redis.lastError.map { .text($0) } ?? .null),
        ]
    }
}
