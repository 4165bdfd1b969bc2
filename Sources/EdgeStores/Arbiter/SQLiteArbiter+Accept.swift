public import EdgeReconciler
public import EdgeTypes
import GRDB

/// A file is the arbiter that it was: there is nothing to accept, and nothing that it has lost.
extension SQLiteArbiter {
    public func raise(_ configurations: [ShardConfiguration]) throws(StoreError) {
        try run { database in
            try database.inTransaction(.immediate) {
                let revision = try Self.raiseRevision(database)
                for configuration in configurations {
                    let held = try Int64.fetchOne(
                        database, sql: "SELECT epoch FROM configurations WHERE shard = ?",
                        arguments: [Int64(configuration.shard)])
                    guard held ?? -1 < Int64(configuration.epoch) else { continue }
                    try Self.write(configuration, revision, database)
                }
                return .commit
            }
        }
    }

    public func accept(without absent: [String]) throws(StoreError) -> ArbiterAcceptance {
        let identity = try identity()
        return ArbiterAcceptance(before: identity, now: identity, awaited: [])
    }
}
