/// The arbiter's tables, beside the store's in the same database.
enum MySQLArbiterTables {
    static let schema = MySQLSchema(
        ledger: "arbiter_migrations", tables: all,
        migrations: [
            MySQLMigration(number: 1, name: "tables", statements: all.map(\.sql))
        ])

    static let configurations = SQLTable(
        "arbiter_configurations", key: ["shard"],
        ["epoch", "primary_member", "members", "sealed", "revision"], .replace)
    static let nodes = SQLTable(
        "arbiter_nodes", key: ["number"],
        [
            "name", "region", "zone", "host", "http", "resp", "bus", "admin", "revision",
            "generation",
        ], .replace)
    static let targets = SQLTable(
        "arbiter_targets", key: ["version"],
        ["paused", "shards_at_once", "bytes_per_second", "members", "previous", "retired"], .refuse)

    private static let integer = "BIGINT NOT NULL"
    private static let text = "VARCHAR(255) NOT NULL"

    private static let all = [
        // One row. `identity` was drawn when it was made and goes along with copies; `accepted` is
        // the server's own name, which does not.
        MySQLTable(
            "arbiter_state",
            [
                ("id", integer), ("identity", text), ("accepted", text), ("place", text),
                ("revision", integer), ("generation", integer),
            ], keys: ["PRIMARY KEY (id)"]),
        MySQLTable(
            "arbiter_configurations",
            [
                ("shard", integer), ("epoch", integer), ("primary_member", text),
                ("members", "TEXT NOT NULL"), ("sealed", integer), ("revision", integer),
            ], keys: ["PRIMARY KEY (shard)", "KEY configurations_by_revision (revision)"]),
        MySQLTable(
            "arbiter_targets",
            [
                ("version", integer), ("paused", integer), ("shards_at_once", integer),
                ("bytes_per_second", integer), ("members", "LONGTEXT NOT NULL"),
                ("previous", "LONGTEXT NOT NULL"), ("retired", "TEXT NOT NULL"),
            ], keys: ["PRIMARY KEY (version)"]),
        MySQLTable(
            "arbiter_cluster", [("id", integer), ("name", text), ("shards", integer)],
            keys: ["PRIMARY KEY (id)"]),
        // `generation`: the acceptance that the node has told what it knows to.
        MySQLTable(
            "arbiter_nodes",
            [
                ("number", integer), ("name", "VARCHAR(191) NOT NULL"), ("region", text),
                ("zone", text), ("host", text), ("http", integer), ("resp", integer),
                ("bus", integer), ("admin", integer), ("revision", integer),
                ("generation", integer),
            ], keys: ["PRIMARY KEY (number)", "UNIQUE KEY nodes_by_name (name)"]),
    ]
}
