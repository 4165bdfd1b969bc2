import EdgeTypes

/// What Downpour's keys in a Redis are called. All begin with `downpour:`.
///
/// Scripts compute some of these names, and change many keys at once: one server with its replicas
/// holds all of them, never a Redis Cluster, whose slots would part them. (A hash tag in every name
/// would put all keys in one slot, where a cluster is of no use; and the streams' names are fixed.)
package enum RedisKeys {
    /// Hash by shard: how far the mirror has taken it, `epoch-sequence`.
    package static let marks = "downpour:marks"
    /// Hash by pool's hash: which of them are here. One that is not there is lost, not new.
    package static let pools = "downpour:pools"
    /// Whose all of it is: the store's identity.
    package static let store = "downpour:store"
    /// There, for some seconds at a time, while lost totals are read again from the store.
    package static let rebuilding = "downpour:rebuilding"
    /// Stream of events: `id`, `event` (CloudEvents 1.0 JSON).
    package static let events = "downpour:events"
    /// Hash by shard: the sequence up to which its events are in the stream, or were.
    package static let published = "downpour:published"
    /// Hash by shard: the sequence up to which all groups have acknowledged them.
    package static let trimmed = "downpour:trimmed"
    /// Hash by event id: as how many dead letters, and replayed ones that are not trimmed yet, it is
    /// there. Such an event is past `trimmed`, and stays in the outbox all the same.
    package static let kept = "downpour:kept"
    /// Stream of dead letters: `id`, `event`, `group`, `deliveries`, `reason`, `time`.
    package static let dead = "downpour:dead"
    /// Hash by `group:event-id`: why a consumer could not take an event. Consumers write it.
    package static let reasons = "downpour:reasons"
    /// Stream of invalidations: `key`, `version`, `phase`, `time`.
    package static let invalidations = "downpour:invalidations"
    /// Sorted set: keys whose second invalidation is due, by Unix ms.
    package static let delayed = "downpour:delayed"
    /// Followed by a key: hash by shard of the version that invalidated it last.
    package static let invalidated = "downpour:invalidated:"
    /// Hash by shard: what cached values must at least know of, where changes were lost.
    package static let floors = "downpour:floors"

    /// `rain:ID` or `stock:SKU`.
    package static func subject(_ family: PoolFamily, _ name: Text64) -> String {
        switch family {
        case .rain: "rain:\(name)"
        case .stock: "stock:\(name)"
        }
    }

    /// Hash of a pool's totals.
    package static func pool(_ family: PoolFamily, _ name: Text64) -> String {
        "downpour:" + subject(family, name)
    }

    /// Hash by slice of what a pool's totals are made of.
    package static func parts(_ family: PoolFamily, _ name: Text64) -> String {
        "downpour:parts:" + subject(family, name)
    }
}
