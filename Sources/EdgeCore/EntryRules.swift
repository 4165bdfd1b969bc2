import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes

/// What an entry or a snapshot may say at all, before it is compared with the state it meets.
///
/// Their checksums were good, so whatever fails here was written by a defective program or
/// altered by hand: a restart ends with a reason instead of a trap, or of books that do not
/// balance.
enum EntryRules {
    /// Past the year 280,000: far enough, and far from overflow in every sum of times.
    static let latestMs: UnixMs = 1 << 53

    static func isSound(_ header: EntryHeader) -> Bool {
        header.timeMs >= 0 && header.timeMs <= latestMs
    }

    /// Why the pool cannot be; nil where it can.
    static func problem(
        _ definition: PoolDefinition, _ control: PoolControl
    ) -> String? {
        if definition.name.isEmpty { return "a pool without a name" }
        if let problem = PoolRules.problem(definition, hasReplicas: true) { return problem }
        return problem(control, definition.kind)
    }

    static func problem(_ control: PoolControl, _ kind: PoolKind) -> String? {
        guard control.version >= 1, control.version < .max else { return "an impossible version" }
        guard control.terms.opensMs <= latestMs, control.terms.closesMs <= latestMs else {
            return "an impossible time"
        }
        return PoolRules.problem(control.terms, kind)
    }

    /// Whether every range lies in a pool of so many units; stock has no places, only amounts.
    static func isSound(_ ranges: [UnitRange], _ definition: PoolDefinition) -> Bool {
        let most = definition.kind == .stock ? Limits.unitsPerPool : definition.units
        var sum: Int64 = 0
        for range in ranges {
            guard range.start >= 0, range.count >= 0, range.count <= most,
                range.start <= most - range.count
            else { return false }
            sum += range.count
            guard sum <= most else { return false }
        }
        return true
    }
}

extension EdgeNode {
    /// Why a slice cannot be opened with an entry of `shard`; nil where it can.
    func openingProblem(
        _ definition: PoolDefinition, _ key: PoolKey, _ slice: UInt32, _ control: PoolControl,
        _ shard: ShardID
    ) -> String? {
        if let problem = EntryRules.problem(definition, control) { return problem }
        guard slice < definition.slices, placement.shard(of: key, slice: slice) == shard else {
            return "a slice of another shard"
        }
        if let problem = pools.problem(definition, key) { return problem }
        if let pool = pools.find(key), pools[pool].definition == definition,
            pools[pool].held(slice) != nil
        {
            return "a slice is opened twice"
        }
        guard definition.kind == .stock else { return nil }
        let local = placement.localIndex(of: shard)
        guard case .take = books[local].decideOpen(definition, slice: slice) else {
            return "a SKU that its shard does not take"
        }
        return nil
    }

    /// Why a treasury cannot be of `shard`; nil where it can.
    func treasuryProblem(
        _ definition: PoolDefinition, _ key: PoolKey, _ control: PoolControl, _ shard: ShardID
    ) -> String? {
        if let problem = EntryRules.problem(definition, control) { return problem }
        guard placement.home(of: key) == shard else { return "a treasury of another shard" }
        if let problem = pools.problem(definition, key) { return problem }
        if let pool = pools.find(key), pools[pool].treasury >= 0 { return "a pool created twice" }
        return nil
    }
}

extension PoolTable {
    /// Why a definition cannot stand beside what is known; nil where it can.
    func problem(_ definition: PoolDefinition, _ key: PoolKey) -> String? {
        guard let pool = find(key) else {
            return count < Limits.pools ? nil : "more than \(Limits.pools) pools"
        }
        return self[pool].definition == definition || self[pool].isUnused
            ? nil : "two definitions of one pool"
    }
}
