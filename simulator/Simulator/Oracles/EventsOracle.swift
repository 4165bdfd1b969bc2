import EdgeLedger
import EdgeReconciler
import EdgeTypes

/// Each event reaches every group, under one id, in the order of its shard; nothing goes that a
/// group has not acknowledged; a dead letter keeps its id.
final class EventsOracle: Oracle {
    let name = "events"
    /// What stores have made, by id: CloudEvents.
    private var known = SortedTable<String, String>()
    /// By Redis and shard: the sequence of what was added last and is not lost.
    private var reached = SortedTable<String, UInt64>()

    func stored(_ world: World, _ store: StoreModel, _ changes: StoreChanges) {
        guard let server = world.server(of: store) else { return }
        for event in changes.events {
            let (key, json) = ("\(server) \(event.name)", CloudEvent.json(event))
            if let before = known[key], before != json {
                world.fail(name, "event \(event.name) was \(before), and is \(json)")
            }
            known[key] = json
        }
    }

    func lost(_ world: World, _ redis: RedisModel, pool: String?) {
        for element in reached.elements where element.key.hasPrefix("\(redis.index) ") {
            let shard = String(element.key.dropFirst("\(redis.index) ".count))
            reached[element.key] =
                redis.keyspace.field(RedisKeys.published, shard).flatMap { UInt64($0) } ?? 0
        }
    }

    func executed(
        _ world: World, _ redis: RedisModel, _ work: RedisWork, before: RedisKeyspace
    ) {
        let (old, new) = (before.events, redis.keyspace.events)
        let (oldDead, newDead) = (before.dead, redis.keyspace.dead)
        let added = new.range(from: old.lastID, isAfter: true, count: .max)
        for entry in added { check(world, redis, entry, oldDead, newDead) }
        for entry in old.entries where new.entry(entry.id) == nil {
            check(world, gone: entry, old)
        }
        for letter in newDead.range(from: oldDead.lastID, isAfter: true, count: .max) {
            checkDead(world, redis, letter, old, new)
        }
        for letter in oldDead.entries where newDead.entry(letter.id) == nil {
            if !added.contains(where: { $0["id"] == letter["id"] }) {
                world.fail(name, "the dead letter \(letter["id"] ?? "") is gone")
            }
        }
        if added.isEmpty { return }
        for element in before.hashes[RedisKeys.published]?.elements ?? [] {
            let now = redis.keyspace.field(RedisKeys.published, element.key) ?? "0"
            if RedisKeyspace.number(now) < RedisKeyspace.number(element.value) {
                world.fail(name, "shard \(element.key) was published up to \(element.value)")
            }
        }
    }

    /// What is new in the stream.
    private func check(
        _ world: World, _ redis: RedisModel, _ entry: RedisStream.Entry, _ oldDead: RedisStream,
        _ newDead: RedisStream
    ) {
        let id = entry["id"] ?? ""
        guard known["\(redis.index) \(id)"] == entry["event"] else {
            return world.fail(name, "no event \(id) says \(entry["event"] ?? "nothing")")
        }
        if let group = entry["replayed-for"] {
            let wasDead = oldDead.entries.contains { letter in
                letter["id"] == id && letter["group"] == group && newDead.entry(letter.id) == nil
            }
            if !wasDead { world.fail(name, "\(id) comes back for \(group), and was not dead") }
            return
        }
        let parts = id.split(separator: "-")
        guard parts.count == 2, let sequence = UInt64(parts[1]) else {
            return world.fail(name, "\(id) is no event's id")
        }
        let key = "\(redis.index) \(parts[0])"
        if let last = reached[key], sequence <= last {
            world.fail(name, "\(id) comes after \(parts[0])-\(last), and nothing was lost")
        }
        reached[key] = sequence
    }

    /// What was trimmed.
    private func check(_ world: World, gone entry: RedisStream.Entry, _ old: RedisStream) {
        for element in old.groups.elements {
            let isDelivered = entry.id <= element.value.lastDelivered
            if !isDelivered || element.value.pending[entry.id] != nil {
                world.fail(
                    name,
                    "\(entry["id"] ?? "") is trimmed, and \(element.key) has not acknowledged it")
            }
        }
    }

    /// What has become a dead letter.
    private func checkDead(
        _ world: World, _ redis: RedisModel, _ letter: RedisStream.Entry, _ old: RedisStream,
        _ new: RedisStream
    ) {
        world.probe(.eventBuried)
        let (id, group) = (letter["id"] ?? "", letter["group"] ?? "")
        guard known["\(redis.index) \(id)"] == letter["event"] else {
            return world.fail(name, "no event \(id) says \(letter["event"] ?? "nothing")")
        }
        let wasPending =
            old.groups[group]?.pending.elements.contains { element in
                element.value.deliveries >= RetryRules().deliveries
                    && new.groups[group]?.pending[element.key] == nil
                    && old.entry(element.key)?["id"] == id
            } ?? false
        if !wasPending { world.fail(name, "\(id) is dead for \(group), and did not wait for it") }
    }

    // MARK: The end

    func ended(_ world: World) {
        for consumers in world.consumers {
            let node = world.nodes[consumers.redis.index]
            let history = world.histories[node.index]
            guard !history.isGone, !history.isShippingStopped, let rows = node.store.rows else {
                continue
            }
            for id in rows.made {
                let event = "\(EntryID.shard(of: id))-\(EntryID.sequence(of: id))"
                for group in EventConsumers.groups where !consumers.hasDone(group, event) {
                    return world.fail(name, "\(group) never had \(event)")
                }
            }
            count(world, node, rows, history.fold)
        }
    }

    /// As many events as the history asks for.
    private func count(
        _ world: World, _ node: SimulatedNode, _ rows: RowsModel, _ fold: LedgerFold
    ) {
        let types = Set(rows.made).sorted().compactMap { id in
            known["\(node.index) \(EntryID.shard(of: id))-\(EntryID.sequence(of: id))"]
        }
        let payments = node.store.payments
        let expected = [
            ("order.reserved", fold.orders.count),
            ("order.paid", payments.count { $0.bought }),
            ("refund.due", payments.count { !$0.bought }),
        ]
        for (type, count) in expected {
            let found = types.count { $0.contains(#""type":"\#(type)""#) }
            if found != count {
                world.fail(name, "\(found) events \(type), and should be \(count)")
            }
        }
    }
}
