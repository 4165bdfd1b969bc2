import EdgeCluster
import EdgeTypes

/// One node is away while nothing else happens: others stand in for it, and then it is quiet.
extension World {
    /// By then everybody has found out, and who stands in has its copies.
    public static let absenceSettleNs: UInt64 = 20_000_000_000

    func beginAbsence() {
        enter(.absence)
        absent = nodes[nodes.count - 1]
        absent?.losePower(1 << 42)
    }

    /// Whether the node is back; judges what the others made of its absence.
    var isAbsenceOver: Bool {
        let awayNs = nowNs - phaseSinceNs
        guard let absent, awayNs >= Self.absenceSettleNs else { return false }
        let epochs = arbiter.rows.map { $0?.epoch ?? 0 }
        if restingEpochs.isEmpty {
            restingEpochs = epochs
            let short = arbiter.rows.first { row in
                guard let row else { return true }
                return row.members.count < wantedReplicas
                    || row.members.contains { $0.node == UInt64(absent.index) }
            }
            if let short {
                fail(
                    "stand-ins",
                    "node \(absent.index) is away, and a shard still lacks a copy: "
                        + (short.map { "\($0)" } ?? "never founded"))
            }
        }
        if let shard = epochs.indices.first(where: { epochs[$0] != restingEpochs[$0] }) {
            fail(
                "stand-ins",
                "shard \(shard) went from epoch \(restingEpochs[shard]) to \(epochs[shard]) while "
                    + "nothing happened but that node \(absent.index) was away")
        }
        guard awayNs >= scenario.absenceNs else { return false }
        absent.start()
        return true
    }
}
