public import EdgeReconciler
import EdgeTypes

/// Who the cluster's nodes are, and who should hold what.
extension MySQLArbiter {
    public func register(
        _ own: ClusterNode, founding: ClusterFounding
    ) throws(StoreError) -> [ClusterNode] {
        try use { session in try session.register(own, founding) }
    }

    public func attend(_ own: ClusterNode) throws(StoreError) -> ArbiterCopy? {
        try use { session in try session.attend(own) }
    }

    public func target(after version: Int64) throws(StoreError) -> PlacementTarget? {
        try use { session in
            let engine = session.engine
            return try session.ask { _ in try Session.target(after: version, engine) }
        }
    }

    public func decide(_ next: PlacementTarget) throws(StoreError) -> Bool {
        try use { session in
            try session.change(needsAll: true) { _, session in
                guard try session.target(after: -1)?.version ?? 0 == next.version else {
                    return false
                }
                try session.write(next)
                return true
            }
        }
    }
}

extension MySQLArbiter.Session {
    mutating func register(
        _ own: ClusterNode, _ founding: ClusterFounding
    ) throws -> [ClusterNode] {
        let nodes = try change(needsAll: false) { state, session in
            let revision = try session.nextRevision(&state)
            try session.found(founding, revision, state.generation)
            var nodes = try Self.nodes(after: -1, session.engine).inOrder()
            let number = nodes.firstIndex { $0.name == own.name } ?? nodes.count
            guard number < Limits.nodes else {
                throw StoreError.notForThis("a cluster has \(Limits.nodes) nodes at most")
            }
            let isKnown = number < nodes.count && nodes[number] == own
            if isKnown {
                // A process that begins knows nothing that it could tell.
                try session.engine.run(
                    "UPDATE arbiter_nodes SET generation = ? WHERE number = ?",
                    [.integer(state.generation), .integer(Int64(number))])
            } else {
                try session.write([(number, own)], revision, state.generation)
            }
            if number < nodes.count { nodes[number] = own } else { nodes.append(own) }
            return nodes
        }
        self.own = own.name
        return nodes
    }

    mutating func attend(_ own: ClusterNode) throws -> ArbiterCopy? {
        let engine = engine
        let (state, nodes, target) = try engine.transaction(.snapshot) {
            (
                try self.state(""), try Self.nodes(after: -1, engine).inOrder(),
                try Self.target(after: -1, engine)
            )
        }
        guard let target, nodes.contains(where: { $0.name == own.name }) else { return nil }
        // What is accepted next is later than this: then the node tells that it is there.
        generation = state.generation
        self.own = own.name
        return ArbiterCopy(nodes: nodes, target: target)
    }

    /// Whoever comes first says what the cluster is.
    private func found(
        _ founding: ClusterFounding, _ revision: Int64, _ generation: Int64
    ) throws {
        var held: (name: String, shards: Int64)?
        try engine.read("SELECT name, shards FROM arbiter_cluster WHERE id = 1", []) { row in
            held = (row.text(0), row.integer(1))
        }
        if let held {
            guard held.name == founding.cluster, held.shards == founding.shards else {
                throw StoreError.notForThis(
                    "the arbiter serves cluster \(held.name) of \(held.shards) shards, "
                        + "not \(founding.cluster) of \(founding.shards)")
            }
            return
        }
        try engine.run(
            "INSERT INTO arbiter_cluster (id, name, shards) VALUES (1, ?, ?)",
            [.text(founding.cluster), .integer(Int64(founding.shards))])
        try write(Array(founding.nodes.enumerated()), revision, generation)
        if try target(after: -1) == nil { try write(founding.target) }
    }

    private func write(
        _ nodes: [(offset: Int, element: ClusterNode)], _ revision: Int64, _ generation: Int64
    ) throws {
        try engine.write(MySQLArbiterTables.nodes, rows: nodes.count) { index, sink in
            let (number, node) = nodes[index]
            sink.put(Int64(number))
            for text in [node.name, node.region, node.zone, node.host] { sink.put(text) }
            for port in [node.http, node.resp, node.bus, node.admin] { sink.put(Int64(port)) }
            sink.put(revision)
            sink.put(generation)
        }
    }

    static func nodes(
        after revision: Int64, _ engine: MySQLEngine
    ) throws -> [UInt16: ClusterNode] {
        var nodes: [UInt16: ClusterNode] = [:]
        try engine.read(
            """
            SELECT number, name, region, zone, host, http, resp, bus, admin
            FROM arbiter_nodes WHERE revision > ?
            """, [.integer(revision)]
        ) { row in
            guard let number = UInt16(exactly: row.integer(0)), number < Limits.nodes else {
                throw StoreError.badRow("a node: \(row.text(1))")
            }
            nodes[number] = ClusterNode(
                name: row.text(1), region: row.text(2), zone: row.text(3), host: row.text(4),
                http: Int(row.integer(5)), resp: Int(row.integer(6)), bus: Int(row.integer(7)),
                admin: Int(row.integer(8)))
        }
        return nodes
    }

    // MARK: Targets

    func target(after version: Int64) throws -> PlacementTarget? {
        try Self.target(after: version, engine)
    }

    static func target(after version: Int64, _ engine: MySQLEngine) throws -> PlacementTarget? {
        var target: PlacementTarget?
        try engine.read(
            """
            SELECT version, paused, shards_at_once, bytes_per_second, members, previous, retired
            FROM arbiter_targets WHERE version > ?
            """, [.integer(version)]
        ) { row in
            guard let members = PlacementTarget.members(row.text(4)),
                let previous = PlacementTarget.members(row.text(5)),
                let retired = PlacementTarget.numbers(row.text(6))
            else { throw StoreError.badRow("a target: version \(row.integer(0))") }
            var held = PlacementTarget(members: members, previous: previous)
            held.version = row.integer(0)
            held.isPaused = row.integer(1) != 0
            held.shardsAtOnce = Int(row.integer(2))
            held.bytesPerSecond = row.integer(3)
            held.retired = retired
            target = held
        }
        return target
    }

    /// A decision is held as a version later than the one that it was made for.
    func write(_ next: PlacementTarget) throws {
        try engine.run("DELETE FROM arbiter_targets", [])
        try engine.write(MySQLArbiterTables.targets, rows: 1) { _, sink in
            sink.put(next.version + 1)
            sink.put(next.isPaused ? 1 : 0)
            sink.put(Int64(next.shardsAtOnce))
            sink.put(next.bytesPerSecond)
            sink.put(PlacementTarget.text(next.members))
            sink.put(PlacementTarget.text(next.previous))
            sink.put(PlacementTarget.text(next.retired))
        }
    }
}
