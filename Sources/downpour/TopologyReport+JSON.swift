import EdgeCluster

extension TopologyReport {
    /// The same for programs.
    struct Document: Encodable {
        struct Node: Encodable {
            let name: String
            /// Missing where the topology does not know the node any more.
            let region: String?
            let zone: String?
            let weight: Double?
            /// Replicas, rounded down and up.
            let share: [Int]
            let before: Counts?
            let after: Counts
            let partners: Int
        }

        struct Move: Encodable {
            let shard: Int
            let epoch: UInt64
            let region: String
            let primary: String
            let backups: [String]
            let steps: [Step]
        }

        struct Step: Encodable {
            let kind: String
            let node: String
            var replacing: String?
        }

        let cluster: String
        let shards: Int
        let replicas: Int
        let arbiter: String
        let plan: String
        let topology: String
        /// Missing where a cluster is created.
        let from: String?
        let copies: Int
        let lowerBound: Int
        let handOvers: Int
        let bytes: UInt64?
        let seconds: UInt64?
        let nodes: [Node]
        let notes: [String]
        let moves: [Move]?
    }

    func document(withMoves: Bool) -> Document {
        let topology = plan.topology
        return Document(
            cluster: topology.cluster, shards: topology.shards, replicas: topology.replicas,
            arbiter: topology.arbiter.rawValue, plan: "\(plan.hash)",
            topology: "\(topology.hash)", from: plan.start.map { "\($0.hash)" },
            copies: plan.copies, lowerBound: plan.bound, handOvers: plan.handOvers, bytes: bytes,
            seconds: seconds, nodes: rows.map(node), notes: notes,
            moves: withMoves ? plan.moves.map(move) : nil)
    }

    private func node(_ row: Row) -> Document.Node {
        let isKnown = row.region != Row.gone
        return Document.Node(
            name: row.name, region: isKnown ? row.region : nil, zone: isKnown ? row.zone : nil,
            weight: isKnown ? Double(row.weightMilli) / 1_000 : nil,
            share: [row.share.lowerBound, row.share.upperBound],
            before: plan.start == nil ? nil : row.before, after: row.after,
            partners: row.partners)
    }

    private func move(_ move: ShardMove) -> Document.Move {
        let names = plan.target.nodes
        return Document.Move(
            shard: Int(move.shard), epoch: move.after.epoch,
            region: plan.target.regions[move.after.region], primary: names[move.after.primary],
            backups: move.after.backups.map { names[$0] },
            steps: move.steps.map { step in
                switch step {
                case .addLearner(let node):
                    Document.Step(kind: "addLearner", node: names[node])
                case .handOver(let node): Document.Step(kind: "handOver", node: names[node])
                case .promote(let node, let replaced):
                    Document.Step(
                        kind: "promote", node: names[node], replacing: replaced.map { names[$0] })
                case .drop(let node): Document.Step(kind: "drop", node: names[node])
                }
            })
    }
}
