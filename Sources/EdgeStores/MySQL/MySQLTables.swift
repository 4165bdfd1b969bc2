/// A table as it was made: its columns, and what belongs to all of it.
struct MySQLTable: Sendable {
    let name: String
    let columns: [(name: String, definition: String)]
    let keys: [String]

    init(_ name: String, _ columns: [(String, String)], keys: [String]) {
        self.name = name
        self.columns = columns.map { ($0.0, $0.1) }
        self.keys = keys
    }

    /// Safe to run again.
    var sql: String {
        let lines = columns.map { "`\($0.name)` \($0.definition)" } + keys
        return """
            CREATE TABLE IF NOT EXISTS `\(name)` (
                \(lines.joined(separator: ",\n    "))
            ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
            """
    }
}

/// The tables of the first version. The same names and columns as SQLite's.
enum MySQLTables {
    static let all = [
        pools, poolSecrets, rains, stock, slices, claims, orders, payments, refunds, stockMovements,
        outbox, watermarks, cursors,
    ]

    private static let integer = "BIGINT NOT NULL"
    private static let integerOrNull = "BIGINT NULL"
    private static let flag = "TINYINT NOT NULL"
    /// Ids, which are ASCII, compared byte by byte.
    private static let id = "VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL"
    private static let word = "VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL"
    private static let hex = "VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin"
    /// What callers have chosen: any text.
    private static let label = "VARCHAR(64)"
    private static let user = "BIGINT UNSIGNED NOT NULL"

    private static let pools = MySQLTable(
        "pools",
        // The key is a hash of 64 bits, as a signed number.
        [
            ("key", integer), ("family", word), ("name", id), ("created", flag),
            ("control_version", integer), ("opens_at", integer), ("closes_at", integer),
            ("user_limit", integer), ("highest_limit", integer), ("paused", flag),
            ("closing", flag), ("closed", flag), ("created_at", integer), ("closed_at", integer),
            ("created_by", label + " NOT NULL"), ("funded", integer), ("leased", integer),
            ("taken_back", integer), ("leases", integer), ("take_backs", integer),
        ], keys: ["PRIMARY KEY (`key`)", "UNIQUE KEY pools_by_name (family, name)"])

    private static let poolSecrets = MySQLTable(
        "pool_secrets", [("key", integer), ("seed", hex + " NOT NULL")],
        keys: ["PRIMARY KEY (`key`)"])

    private static let rains = MySQLTable(
        "rains",
        [
            ("pool", id), ("kind", word), ("count", integer), ("amount", integer),
            ("min_amount", integer), ("max_amount", integer), ("user_limit", integer),
            ("opens_at", integerOrNull), ("closes_at", integerOrNull), ("state", word),
            ("durability", word), ("slices", integer), ("regions", "TEXT NULL"),
            ("commitment", hex + " NOT NULL"), ("seed", hex + " NULL"),
            ("created_at", integerOrNull), ("created_by", label + " NULL"),
            ("closed_at", integerOrNull),
        ], keys: ["PRIMARY KEY (pool)"])

    private static let stock = MySQLTable(
        "stock",
        [
            ("sku", id), ("units", integer), ("price", integer), ("hold_ms", integer),
            ("user_limit", integer), ("opens_at", integerOrNull), ("closes_at", integerOrNull),
            ("state", word), ("durability", word), ("slices", integer), ("regions", "TEXT NULL"),
            ("created_at", integerOrNull), ("created_by", label + " NULL"),
            ("closed_at", integerOrNull),
        ], keys: ["PRIMARY KEY (sku)"])

    private static let slices = MySQLTable(
        "slices",
        [
            ("pool_key", integer), ("slice", integer), ("shard", integer), ("credited", integer),
            ("credits", integer), ("returned", integer), ("returns", integer),
            ("granted", integer), ("granted_amount", integer), ("pending", integer),
            ("sold", integer), ("quarantined", integer), ("sealed", flag),
            ("retired", integer), ("lost", flag),
        ], keys: ["PRIMARY KEY (pool_key, slice)", "KEY slices_by_shard (shard)"])

    // Keys run on within each shard; the index of users is written at random places, into the
    // server's buffer of changes where its pages are not in memory.
    private static let claims = MySQLTable(
        "claims",
        [
            ("grant_id", integer), ("pool", id), ("user", user), ("packet", integer),
            ("amount", integer), ("granted_at", integer),
            ("shard", "INT GENERATED ALWAYS AS (grant_id >> 48) VIRTUAL"),
            ("sequence", "BIGINT GENERATED ALWAYS AS (grant_id & 281474976710655) VIRTUAL"),
        ], keys: ["PRIMARY KEY (grant_id)", "KEY claims_by_user (`user`, pool)"])

    private static let orders = MySQLTable(
        "orders",
        [
            ("order_id", id), ("sku", id), ("slice", integer), ("user", user), ("qty", integer),
            ("price", integer), ("state", word), ("reserved_at", integer),
            ("expires_at", integer), ("paid_at", integerOrNull), ("ended_at", integerOrNull),
            ("payment", label + " NULL"), ("paid_fen", integer), ("refunded_fen", integer),
            ("restocked", integer),
        ],
        keys: [
            "PRIMARY KEY (order_id)", "KEY orders_by_user (`user`)",
            "KEY orders_by_state (state, reserved_at)", "KEY orders_by_sku (sku, state)",
        ])

    private static let payments = MySQLTable(
        "payments",
        [
            ("id", integer), ("order_id", id), ("payment", label + " NOT NULL"), ("fen", integer),
            ("outcome", word), ("at", integer),
        ], keys: ["PRIMARY KEY (id)", "KEY payments_by_order (order_id)"])

    private static let refunds = MySQLTable(
        "refunds",
        [
            ("id", integer), ("order_id", id), ("request", label + " NOT NULL"),
            ("fen", integer), ("restocked", integer), ("at", integer),
        ], keys: ["PRIMARY KEY (id)", "KEY refunds_by_order (order_id)"])

    private static let stockMovements = MySQLTable(
        "stock_movements",
        [
            ("id", integer), ("sku", id),
            ("order_id", "VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL"),
            ("movement", word), ("units", integer), ("at", integer),
        ], keys: ["PRIMARY KEY (id)", "KEY stock_movements_by_sku (sku, at)"])

    // In order within each shard, which numbers that the server gives are not: of two nodes, the
    // one that was numbered first may commit last.
    private static let outbox = MySQLTable(
        "outbox",
        [
            ("entry_id", integer), ("id", id), ("type", "VARCHAR(64) NOT NULL"),
            ("subject", label + " NOT NULL"), ("time", integer), ("data", "LONGTEXT NOT NULL"),
        ],
        keys: [
            "PRIMARY KEY (entry_id)", "UNIQUE KEY outbox_by_id (id)",
            "KEY outbox_by_time (`time`)",
        ])

    private static let watermarks = MySQLTable(
        "watermarks",
        [("shard", integer), ("epoch", integer), ("sequence", integer), ("time", integer)],
        keys: ["PRIMARY KEY (shard)"])

    private static let cursors = MySQLTable(
        "cursors",
        [("lane", "VARCHAR(191) NOT NULL"), ("segment", integer), ("offset", integer)],
        keys: ["PRIMARY KEY (lane)"])
}
