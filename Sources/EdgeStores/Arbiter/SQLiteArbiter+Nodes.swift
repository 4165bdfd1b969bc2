public import EdgeReconciler
import EdgeTypes
import GRDB

/// Who the cluster's nodes are.
extension SQLiteArbiter {
    public func register(
        _ own: ClusterNode, founding: ClusterFounding
    ) throws(StoreError) -> [ClusterNode] {
        try run { database in
            var nodes: [ClusterNode] = []
            try database.inTransaction(.immediate) {
                let revision = try Self.raiseRevision(database)
                try Self.found(founding, revision, database)
                nodes = try Self.all(database)
                if let number = nodes.firstIndex(where: { $0.name == own.name }) {
                    if nodes[number] != own { try Self.write(own, number, revision, database) }
                    nodes[number] = own
                } else {
                    guard nodes.count < Limits.nodes else {
                        throw StoreError.notForThis("a cluster has \(Limits.nodes) nodes at most")
                    }
                    try Self.write(own, nodes.count, revision, database)
                    nodes.append(own)
                }
                return .commit
            }
            return nodes
        }
    }

    /// Whoever comes first says what the cluster is.
    private static func found(
        _ founding: ClusterFounding, _ revision: Int64, _ database: Database
    ) throws {
        if let held = try Row.fetchOne(database, sql: "SELECT name, shards FROM cluster") {
            guard held[0] == founding.cluster, held[1] == founding.shards else {
                throw StoreError.notForThis(
                    "the arbiter serves cluster \(held[0] as String) of \(held[1] as Int) shards, "
                        + "not \(founding.cluster) of \(founding.shards)")
            }
            return
        }
        try database.execute(
            sql: "INSERT INTO cluster VALUES (?, ?)",
            arguments: [founding.cluster, founding.shards])
        for (number, node) in founding.nodes.enumerated() {
            try write(node, number, revision, database)
        }
        if try Row.fetchOne(database, sql: "SELECT 1 FROM targets") == nil {
            try write(founding.target, database)
        }
    }

    private static func write(
        _ node: ClusterNode, _ number: Int, _ revision: Int64, _ database: Database
    ) throws {
        try database.execute(
            sql: "INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            arguments: [
                number, node.name, node.region, node.zone, node.host, node.http, node.resp,
                node.bus, node.admin, revision,
            ])
    }

    private static func all(_ database: Database) throws -> [ClusterNode] {
        let numbered = try nodes(after: -1, database)
        return try numbered.inOrder()
    }

    static func nodes(
        after revision: Int64, _ database: Database
    ) throws -> [UInt16: ClusterNode] {
        let rows = try Row.fetchAll(
            database,
            sql: """
                SELECT number, name, region, zone, host, http, resp, bus, admin
                FROM nodes WHERE revision > ?
                """, arguments: [revision])
        var nodes: [UInt16: ClusterNode] = [:]
        for row in rows {
            guard let number = UInt16(exactly: row[0] as Int64), number < Limits.nodes else {
                throw StoreError.badRow("a node: \(row)")
            }
            nodes[number] = ClusterNode(
                name: row[1], region: row[2], zone: row[3], host: row[4], http: row[5],
                resp: row[6], bus: row[7], admin: row[8])
        }
        return nodes
    }
}

extension [UInt16: ClusterNode] {
    /// In order of their numbers, without a gap.
    func inOrder() throws -> [ClusterNode] {
        try (0..<count).map { number in
            guard let node = self[UInt16(number)] else {
                throw StoreError.badRow("node number \(number) is missing")
            }
            return node
        }
    }
}
