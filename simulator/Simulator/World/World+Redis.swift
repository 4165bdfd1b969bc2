import EdgeLedger
import EdgeReconciler
import EdgeTypes

/// Redis behind the stores of a world.
extension World {
    func makeRedis(_ node: Int) -> RedisModel? {
        scenario.hasRedis ? RedisModel(index: node, world: self) : nil
    }

    /// The store of a node that has its own keeps what a Redis is fed from.
    func followStore(of node: SimulatedNode) {
        guard let redis = node.redis else { return }
        let store = node.store
        store.rows = RowsModel()
        store.committed = { [unowned self, unowned store] changes in
            for oracle in oracles { oracle.stored(self, store, changes) }
        }
        consumers.append(EventConsumers(redis, world: self))
    }

    /// Which Redis is behind a store.
    func server(of store: StoreModel) -> Int? {
        nodes.first { $0.store === store }?.redis?.index
    }

    func consumers(of server: Int) -> EventConsumers? {
        consumers.first { $0.redis.index == server }
    }

    /// Between two commands of a node's follower whatever else there is may have its turn: a
    /// reconciler commits, another node's follower sends, consumers read.
    func othersTurn(between node: SimulatedNode) {
        guard let redis = node.redis, !isInOthersTurn, redis.chance(10) else { return }
        isInOthersTurn = true
        defer { isInOthersTurn = false }
        let sharing = nodes.filter { $0.redis === redis }
        let other = sharing[Int(redis.draw(below: UInt64(sharing.count)))]
        switch redis.draw(below: 3) {
        case 0: _ = other.reconcilerTurn()
        case 1: other.followerTurn()
        default: consumers(of: redis.index)?.work()
        }
    }

    /// Whether a node's Redis has all that its store has, and its consumers have done their work.
    func isFollowed(_ node: SimulatedNode) -> Bool {
        guard let redis = node.redis else { return true }
        return behind(redis, node.store) == nil && consumers(of: redis.index)?.isIdle ?? true
    }

    /// The first shard of which a Redis lacks something.
    func behind(_ redis: RedisModel, _ store: StoreModel) -> ShardID? {
        store.marks.shards.first { shard in
            let mark = store.marks[shard]
            let told = redis.keyspace.field(RedisKeys.marks, "\(shard)")
            let published = redis.keyspace.field(RedisKeys.published, "\(shard)")
            return told != RedisMirror.text(mark) || published != "\(mark.sequence)"
        }
    }
}
