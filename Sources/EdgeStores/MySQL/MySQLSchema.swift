import EdgeReconciler

/// A step of a schema. The server commits each of its statements by itself, so that each must be
/// safe to run again after dying halfway; the step's number is written last.
struct MySQLMigration: Sendable {
    var number: Int
    var name: String
    /// As of `SchemaMigration`.
    var isAdditive = false
    var statements: [String] = []
    /// Columns that it adds to tables of earlier versions, where they are not there yet.
    var columns: [Column] = []

    struct Column: Sendable {
        var table: String
        var name: String
        var definition: String
    }
}

/// A set of tables that are brought up to date together.
struct MySQLSchema: Sendable {
    /// Where the numbers are kept, and what the lock is called.
    let ledger: String
    let tables: [MySQLTable]
    var migrations: [MySQLMigration]

    /// The store's.
    ///
    /// Amounts are fen, times Unix milliseconds.
    static let store = MySQLSchema(
        ledger: "schema_migrations", tables: MySQLTables.all,
        migrations: [
            MySQLMigration(number: 1, name: "tables", statements: MySQLTables.all.map(\.sql)),
            MySQLMigration(number: 2, name: "views", statements: MySQLViews.statements),
            // The keyed hash of the id that a claim's request bore; null where it bore none.
            MySQLMigration(
                number: 3, name: "request hashes", isAdditive: true,
                columns: [
                    .init(table: "claims", name: "request_hash", definition: "BIGINT NULL")
                ]),
            // The same of the request that made an order; null too where a release before this one
            // has written the order.
            MySQLMigration(
                number: 4, name: "order requests", isAdditive: true,
                columns: [
                    .init(table: "orders", name: "request_hash", definition: "BIGINT NULL")
                ]),
        ])

    /// Longest wait for another node that brings the schema up, seconds.
    private static let lockWaitSeconds = 30

    /// Brings the database's schema up to date. Nodes may do so at once; other programs' tables
    /// may be beside ours.
    ///
    /// - Throws: `.newerSchema`; `.foreign` where a table of one of our names lacks our columns;
    ///   `.denied` where the user may not make tables; `.locked` where another node takes too long.
    func prepare(_ address: MySQLAddress) throws(StoreError) {
        var options = MySQLOptions()
        options.timeoutSeconds = max(address.timeoutSeconds, 4 * Self.lockWaitSeconds)
        let connection = try MySQLConnection.open(address, options)
        do {
            guard try reached(connection, address) < migrations.count else { return }
            try locked(connection) {
                for migration in migrations { try bringUp(migration, connection, address) }
            }
        } catch {
            throw StoreError.of(error)
        }
    }

    /// Refuses a schema that is not this release's, without changing anything.
    func check(_ connection: MySQLConnection, _ address: MySQLAddress) throws(StoreError) {
        do {
            let found = try reached(connection, address)
            guard found >= migrations.count else {
                throw StoreError.foreign(
                    path: "\(address) (its schema is \(found), not \(migrations.count))")
            }
        } catch {
            throw StoreError.of(error)
        }
    }

    /// - Returns: the latest version that is complete; 0: none.
    private func reached(
        _ connection: MySQLConnection, _ address: MySQLAddress
    ) throws -> Int {
        // The number first: whoever makes the tables writes it last.
        var (found, adding) = (0, 0)
        if let columns = try columns(of: [ledger], connection)[ledger] {
            guard columns.isSuperset(of: ["number", "name", "applied_at"]) else {
                throw StoreError.foreign(path: "\(address) (table \(ledger))")
            }
            try connection.query(
                """
                SELECT coalesce(max(number), 0),
                    coalesce(sum(number > \(migrations.count) AND name LIKE '+%'), 0)
                FROM `\(ledger)`
                """
            ) { row in
                (found, adding) = (Int(row.integer(0)), Int(row.integer(1)))
            }
        }
        // Steps of a later release that leave alone what this one writes.
        guard found <= migrations.count || adding == found - migrations.count else {
            throw StoreError.newerSchema(
                found: found, known: migrations.count, path: "\(address)")
        }
        let known = try columns(of: tables.map(\.name), connection)
        for table in tables {
            guard let columns = known[table.name] else { continue }
            guard columns.isSuperset(of: table.columns.map(\.name)) else {
                throw StoreError.foreign(path: "\(address) (table \(table.name))")
            }
        }
        let missing = tables.first { known[$0.name] == nil }
        guard found == 0 || missing == nil else {
            throw StoreError.foreign(path: "\(address) (table \(missing?.name ?? "") is gone)")
        }
        return found
    }

    /// The columns of each of these tables that is there.
    private func columns(
        of names: [String], _ connection: MySQLConnection
    ) throws -> [String: Set<String>] {
        let list = names.map { "'\($0)'" }.joined(separator: ", ")
        var found: [String: Set<String>] = [:]
        try connection.query(
            """
            SELECT table_name, column_name FROM information_schema.columns
            WHERE table_schema = database() AND table_name IN (\(list))
            """
        ) { row in
            found[row.text(0), default: []].insert(row.text(1))
        }
        return found
    }

    private func bringUp(
        _ migration: MySQLMigration, _ connection: MySQLConnection, _ address: MySQLAddress
    ) throws {
        // Again, under the lock: another node may have done it meanwhile.
        guard try reached(connection, address) < migration.number else { return }
        try connection.run(
            """
            CREATE TABLE IF NOT EXISTS `\(ledger)` (
                number INT NOT NULL PRIMARY KEY, name VARCHAR(64) NOT NULL,
                applied_at BIGINT NOT NULL
            ) ENGINE=InnoDB
            """)
        for statement in migration.statements { try connection.run(statement) }
        for column in migration.columns {
            let known = try columns(of: [column.table], connection)[column.table] ?? []
            if known.contains(column.name) { continue }
            try connection.run(
                "ALTER TABLE `\(column.table)` ADD COLUMN `\(column.name)` \(column.definition)")
        }
        try connection.run(
            """
            INSERT INTO `\(ledger)` VALUES (\(migration.number), '\(migration.isAdditive ? "+" : "")\(migration.name)',
                floor(unix_timestamp(now(3)) * 1000))
            """)
    }

    private func locked(_ connection: MySQLConnection, _ body: () throws -> Void) throws {
        let name = "concat('downpour.', left(database(), 36), '.\(ledger)')"
        var isHeld = false
        try connection.query("SELECT get_lock(\(name), \(Self.lockWaitSeconds))") { row in
            isHeld = row.integer(0) == 1
        }
        guard isHeld else {
            throw StoreError.locked(
                "another node has been changing the schema for \(Self.lockWaitSeconds) s")
        }
        // The connection's end frees it too.
        defer { try? connection.query("SELECT release_lock(\(name))") { _ in } }
        try body()
    }
}
