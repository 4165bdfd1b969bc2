import EdgeReconciler
import EdgeTypes

/// Configurations as arbiters' tables hold them: replicas as an operator reads them, node and boot
/// in hexadecimal.
enum ArbiterText {
    static func text(_ replica: ReplicaID) -> String {
        String(replica.node, radix: 16) + "." + String(replica.boot, radix: 16)
    }

    static func members(_ configuration: ShardConfiguration) -> String {
        configuration.members.map(text).joined(separator: " ")
    }

    /// - Throws: `StoreError.badRow` where this is none.
    static func configuration(
        shard: Int64, epoch: Int64, primary: String, members: String, isSealed: Bool
    ) throws(StoreError) -> ShardConfiguration {
        let known = members.split(separator: " ").compactMap { replica(String($0)) }
        guard let number = ShardID(exactly: shard), let exact = UInt32(exactly: epoch),
            let first = replica(primary), known.contains(first), known.count <= Limits.replicas
        else { throw .badRow("a configuration: \(shard) \(epoch) \(primary) \(members)") }
        return ShardConfiguration(
            shard: number, epoch: exact, primary: first, members: known, isSealed: isSealed)
    }

    private static func replica(_ text: String) -> ReplicaID? {
        let parts = text.split(separator: ".")
        guard parts.count == 2, let node = UInt64(parts[0], radix: 16),
            let boot = UInt64(parts[1], radix: 16)
        else { return nil }
        return ReplicaID(node: node, boot: boot)
    }
}
