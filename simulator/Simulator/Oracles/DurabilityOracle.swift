import EdgeCore
import EdgeJournal
import EdgeLedger
import EdgeTypes

/// Nothing acknowledged is lost within its durability's promise: all that users were told they won
/// is in the journal at the end, and a restart finds all that was ever committed.
final class DurabilityOracle: Oracle {
    let name = "durability"

    private struct Key: Hashable {
        var pool: Int
        var user: UserID
    }

    private var packets: [Key: Set<Int64>] = [:]
    private var keys: [Key] = []

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        guard let win = Win(operation, answer) else { return }
        let key = Key(pool: operation.pool, user: operation.user)
        if packets[key] == nil { keys.append(key) }
        packets[key, default: []].insert(win.packet)
    }

    /// What a memory slice grants may be lost; that it was given it may not: it would be given out
    /// again.
    func left(_ world: World, _ operation: Operation, _ answer: [UInt8]) {
        let plan = world.pools[operation.pool]
        guard operation.kind == .grab, plan.durability == .memory,
            let answer = RESPAnswer.parse(answer), let win = Win(operation, answer)
        else { return }
        let history = world.histories[plan.node]
        guard !history.isGone,
            let slice = history.slice(of: operation.user, plan.key, region: operation.region),
            history.committedCredit(plan.key, slice) == 0
        else { return }
        world.fail(
            name,
            "\(plan.name), user \(operation.user): packet \(win.packet) is told, and that slice "
                + "\(slice) was given it is not committed")
    }

    func restarted(_ world: World, _ node: SimulatedNode) {
        let history = world.histories[node.index]
        // What was acknowledged is at other nodes; `NodeHistory.serves` asks for it.
        if world.scenario.replicas > 1 { return history.resume(node.index) }
        for number in 0..<world.scenario.shards {
            let shard = ShardID(number)
            if history.owner(of: shard) != node.index { continue }
            // A restart journals entries of its own, which are not what it found.
            let found = node.recovered[shard]
            if history.isGone { return }
            if found < history.sequence(shard), history.isFreshlyMisdirected {
                // Before the journal notes it as durable, a write that landed elsewhere looks
                // like one that was torn: a single disk cannot tell.
                return world.compromise(node, "a write was lost on its way")
            }
            if found < history.sequence(shard) {
                return world.fail(
                    name,
                    "node \(node.index), shard \(shard): \(history.sequence(shard)) entries "
                        + "were committed, the restart found \(found)")
            }
        }
        // From here on the process has what was found.
        history.resume(node.index)
    }

    func ended(_ world: World) {
        for key in keys {
            let plan = world.pools[key.pool]
            let history = world.histories[plan.node]
            let mayBeLost = world.mayHaveLost(plan)
            if history.isGone || mayBeLost { continue }
            let found = history.fold.user(key.user, of: plan.key)?.packets ?? 0
            let told = Int64(packets[key]?.count ?? 0)
            if found < told {
                return world.fail(
                    name,
                    "\(plan.name), user \(key.user): told \(told) packets, the journal has "
                        + "\(found)")
            }
        }
    }
}
