import EdgeReconciler
import EdgeTypes
import GRDB
import GRDBSQLite

/// A connection to a SQLite file.
///
/// GRDB opens it and brings its schema up; statements then go straight to SQLite. The connection
/// is of no thread: whoever uses the engine does so one at a time.
final class SQLiteEngine: SQLEngine {
    /// Rows of one statement: more gain nothing.
    private static let rowsAtOnce = 32
    /// Statements kept; a program has some forty.
    private static let mostStatements = 200

    private let queue: DatabaseQueue
    private let connection: OpaquePointer
    private var statements: [String: SQLiteStatement] = [:]
    private struct Insertion: Hashable {
        var table: ObjectIdentifier
        var rows: Int
    }

    private var insertions: [Insertion: SQLiteStatement] = [:]
    private var isOpen = true

    /// Opens or makes a file, and brings its schema up to date.
    convenience init(
        writing path: String, options: SQLiteOptions = SQLiteOptions(),
        migrations: [SchemaMigration] = SQLiteSchema.migrations
    ) throws(StoreError) {
        try self.init(
            SQLiteFile.openForWriting(path: path, options: options, migrations: migrations))
    }

    /// Opens a file for reading only.
    convenience init(
        reading path: String, options: SQLiteOptions = SQLiteOptions()
    ) throws(StoreError) {
        try self.init(SQLiteFile.openForReading(path: path, options: options))
    }

    private init(_ queue: DatabaseQueue) throws(StoreError) {
        guard let connection = queue.inDatabase({ $0.sqliteConnection }) else {
            throw .cannotOpen("the connection is closed")
        }
        self.queue = queue
        self.connection = connection
        // GRDB's own observers know nothing of transactions that it has not begun.
        sqlite3_set_authorizer(connection, nil, nil)
        sqlite3_commit_hook(connection, nil, nil)
        sqlite3_rollback_hook(connection, nil, nil)
        sqlite3_update_hook(connection, nil, nil)
    }

    deinit { close() }

    func close() {
        guard isOpen else { return }
        isOpen = false
        // SQLite closes no connection that has statements.
        statements = [:]
        insertions = [:]
        try? queue.close()
    }

    let forUpdate = ""
    let indexesUsers = false

    private func statement(_ sql: String) throws(StoreError) -> SQLiteStatement {
        guard isOpen else { throw .cannotOpen("the connection is closed") }
        if let known = statements[sql] { return known }
        if statements.count >= Self.mostStatements { statements = [:] }
        let made = try SQLiteStatement(connection, sql)
        statements[sql] = made
        return made
    }

    func read(_ sql: String, _ values: [SQLValue], _ row: (any SQLRow) throws -> Void) throws {
        let statement = try statement(sql)
        for value in values { statement.put(value) }
        defer { statement.reset() }
        while try statement.step() { try row(statement) }
    }

    @discardableResult
    func run(_ sql: String, _ values: [SQLValue]) throws(StoreError) -> Int {
        let statement = try statement(sql)
        for value in values { statement.put(value) }
        try statement.run()
        return Int(sqlite3_changes(connection))
    }

    func write(
        _ table: SQLTable, rows: Int, _ put: (_ row: Int, _ sink: any SQLSink) throws -> Void
    ) throws {
        guard isOpen else { throw StoreError.cannotOpen("the connection is closed") }
        var next = 0
        while next < rows {
            let count = rows - next >= Self.rowsAtOnce ? Self.rowsAtOnce : 1
            let statement = try insertion(table, rows: count)
            do {
                for row in next..<(next + count) { try put(row, statement) }
            } catch {
                statement.reset()
                throw error
            }
            try statement.run()
            next += count
        }
    }

    /// Found by the table's place in memory: building the text costs more than the row.
    private func insertion(_ table: SQLTable, rows: Int) throws(StoreError) -> SQLiteStatement {
        let key = Insertion(table: ObjectIdentifier(table), rows: rows)
        if let known = insertions[key] { return known }
        let made = try SQLiteStatement(connection, Self.insert(table, rows: rows))
        insertions[key] = made
        return made
    }

    private static func insert(_ table: SQLTable, rows: Int) -> String {
        let names = table.columns.map { "`\($0)`" }.joined(separator: ", ")
        let row =
            "(" + Array(repeating: "?", count: table.columns.count).joined(separator: ",") + ")"
        var sql = "INSERT INTO \(table.name) (\(names)) VALUES "
        sql += Array(repeating: row, count: rows).joined(separator: ",")
        guard table.conflict == .replace else { return sql }
        let keys = table.columns[..<table.keyColumns].map { "`\($0)`" }.joined(separator: ", ")
        let set = table.columns[table.keyColumns...].map { "`\($0)` = excluded.`\($0)`" }
        return sql + " ON CONFLICT (\(keys)) DO UPDATE SET " + set.joined(separator: ", ")
    }

    func transaction<T>(_ kind: SQLTransaction, _ body: () throws -> T) throws -> T {
        try run(kind == .write ? "BEGIN IMMEDIATE" : "BEGIN DEFERRED", [])
        do {
            let result = try body()
            try run("COMMIT", [])
            return result
        } catch {
            // An error may have rolled it back already.
            if sqlite3_get_autocommit(connection) == 0 { _ = try? run("ROLLBACK", []) }
            throw error
        }
    }
}
