import EdgeReconciler
import EdgeTypes

/// MySQL or MariaDB, through one connection.
///
/// A connection that was lost is replaced where nothing is under way: at the start of the next
/// transaction or of a question outside one. Used from one thread at a time.
final class MySQLEngine: SQLEngine {
    let address: MySQLAddress
    private let options: MySQLOptions
    private var connection: MySQLConnection?
    private var lastUse = ContinuousClock.now
    private let text = MySQLText()
    private var isInTransaction = false
    private var isClosed = false
    /// What has failed in the transaction under way: nothing more is done in it, since the server
    /// may have ended it already, and each further statement would be one of its own.
    private var failure: StoreError?

    /// Rows of a statement, and its bytes, about: larger ones are not faster.
    static let statementRows = 1_000
    static let statementBytes = 512 << 10
    /// A connection that has rested is asked before it is used.
    private static let rest = Duration.seconds(1)

    /// Connects.
    init(_ address: MySQLAddress, _ options: MySQLOptions = MySQLOptions()) throws(StoreError) {
        self.address = address
        self.options = options
        connection = try MySQLConnection.open(address, options)
    }

    /// Connects in order to ask: a replica will do, whose schema is this release's.
    convenience init(reading address: MySQLAddress) throws(StoreError) {
        var options = MySQLOptions()
        options.needsWriting = false
        try self.init(address, options)
        if let connection { try MySQLSchema.store.check(connection, address) }
    }

    func close() {
        precondition(!isInTransaction)
        isClosed = true
        connection = nil
    }

    /// Rows that a transaction reads in order to write them are locked from then on.
    var forUpdate: String { " FOR UPDATE" }
    var indexesUsers: Bool { true }

    /// The server, as it was when it was connected to.
    var server: MySQLConnection.Server? { connection?.server }
    /// The server's number of the connection.
    var number: UInt? { connection?.number }

    /// Settings of the server that break what a store promises: after a crash it may lack batches
    /// that it has acknowledged. The journal feeds it again, as long as it reaches back so far.
    func weaknesses() throws -> [String] {
        var found: [String] = []
        try read(
            """
            SHOW GLOBAL VARIABLES WHERE variable_name IN
                ('innodb_flush_log_at_trx_commit', 'innodb_doublewrite')
            """, []
        ) { row in
            let setting = (row.text(0), row.text(1))
            if setting.0 == "innodb_flush_log_at_trx_commit", setting.1 != "1" {
                found.append("innodb_flush_log_at_trx_commit = \(setting.1), not 1")
            }
            if setting.0 == "innodb_doublewrite", setting.1 == "OFF" {
                found.append("innodb_doublewrite = OFF")
            }
        }
        return found
    }

    // MARK: Reading

    func read(_ sql: String, _ values: [SQLValue], _ row: (any SQLRow) throws -> Void) throws {
        try fill(sql, values)
        let connection = try usable()
        let failures = connection.failures
        do {
            try connection.query(text.bytes, row)
        } catch {
            // What `row` throws is not the server's.
            throw connection.failures > failures ? noted(error) : error
        }
    }

    // MARK: Writing

    func write(
        _ table: SQLTable, rows: Int, _ put: (_ row: Int, _ sink: any SQLSink) throws -> Void
    ) throws {
        guard rows > 0 else { return }
        let connection = try usable()
        let limit = min(Self.statementBytes, connection.server.maxPacketBytes / 2)
        text.clear()
        addHead(table)
        let head = text.count
        var held = 0
        for row in 0..<rows {
            if held > 0 { text.add(byte: UInt8(ascii: ",")) }
            text.beginRow()
            try put(row, text)
            precondition(text.columns == table.columns.count, "a value for every column")
            text.endRow()
            held += 1
            guard held == Self.statementRows || text.count >= limit || row == rows - 1 else {
                continue
            }
            addTail(table)
            do {
                try connection.run(text.bytes)
            } catch {
                throw noted(error)
            }
            text.cut(to: head)
            held = 0
        }
    }

    private func addHead(_ table: SQLTable) {
        text.add("INSERT INTO `" as StaticString)
        text.add(table.name)
        text.add("` (" as StaticString)
        for (index, column) in table.columns.enumerated() {
            text.add(index == 0 ? "`" : ",`" as StaticString)
            text.add(column)
            text.add(byte: UInt8(ascii: "`"))
        }
        text.add(") VALUES " as StaticString)
    }

    private func addTail(_ table: SQLTable) {
        guard table.conflict == .replace else { return }
        text.add(" ON DUPLICATE KEY UPDATE " as StaticString)
        // A table of keys alone: the row that is there is the same.
        let columns =
            table.columns.count == table.keyColumns
            ? table.columns[..<1] : table.columns[table.keyColumns...]
        for (index, column) in columns.enumerated() {
            text.add(index == 0 ? "`" : ",`" as StaticString)
            text.add(column)
            text.add("`=VALUES(`" as StaticString)
            text.add(column)
            text.add("`)" as StaticString)
        }
    }

    @discardableResult
    func run(_ sql: String, _ values: [SQLValue]) throws(StoreError) -> Int {
        do {
            try fill(sql, values)
            let connection = try usable()
            return try connection.run(text.bytes)
        } catch {
            let error = noted(error)
            // On its own it is its own transaction: lost on the way, it may be done.
            if !isInTransaction, case .unreachable(let text) = error, connection?.isLost ?? false {
                throw .unknownOutcome(text)
            }
            throw error
        }
    }

    /// Puts the values in the places of the `?`, outside quotes, in order.
    private func fill(_ sql: String, _ values: [SQLValue]) throws(StoreError) {
        text.clear()
        var next = 0
        var quote: UInt8 = 0
        var sql = sql
        sql.withUTF8 { utf8 in
            let bytes = UnsafeRawBufferPointer(utf8)
            var start = 0
            for (index, byte) in bytes.enumerated() {
                switch byte {
                case quote where quote != 0: quote = 0
                case 0x27, 0x22, 0x60:
                    if quote == 0 { quote = byte }
                case UInt8(ascii: "?") where quote == 0:
                    precondition(next < values.count, "a value for every ?")
                    text.add(UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
                    text.add(values[next])
                    next += 1
                    start = index + 1
                default: break
                }
            }
            text.add(UnsafeRawBufferPointer(rebasing: bytes[start...]))
        }
        precondition(next == values.count, "a ? for every value")
    }

    // MARK: Transactions

    func transaction<T>(_ kind: SQLTransaction, _ body: () throws -> T) throws -> T {
        precondition(!isInTransaction, "transactions do not nest")
        try begin(kind)
        failure = nil
        isInTransaction = true
        defer { isInTransaction = false }
        let value: T
        do {
            value = try body()
            if let failure { throw failure }
        } catch {
            rollBack()
            throw error
        }
        guard let connection, !connection.isLost else {
            throw StoreError.unreachable("\(address): the connection was lost")
        }
        do {
            try connection.commit()
        } catch {
            // Refused: the server may or may not have ended it.
            rollBack()
            throw error
        }
        lastUse = .now
        return value
    }

    private func begin(_ kind: SQLTransaction) throws(StoreError) {
        let sql =
            switch kind {
            case .write: "START TRANSACTION"
            case .snapshot: "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
            }
        let connection = try usable()
        do {
            try connection.run(sql)
        } catch {
            // Nothing has been done yet: another connection does as well.
            guard case .unreachable = error, connection.isLost else { throw error }
            self.connection = nil
            try usable().run(sql)
        }
    }

    /// A connection on which even that fails is given up: the server rolls back for itself.
    private func rollBack() {
        defer { failure = nil }
        guard let connection else { return }
        do {
            guard !connection.isLost else { return self.connection = nil }
            try connection.run("ROLLBACK")
        } catch {
            self.connection = nil
        }
    }

    // MARK: The connection

    private func usable() throws(StoreError) -> MySQLConnection {
        if isInTransaction {
            if let failure { throw failure }
            guard let connection, !connection.isLost else {
                throw .unreachable("\(address): the connection was lost")
            }
            return connection
        }
        guard !isClosed else { throw .unreachable("\(address): closed") }
        if let connection, !connection.isLost {
            guard lastUse.duration(to: .now) > Self.rest else { return connection }
            if connection.ping() {
                lastUse = .now
                return connection
            }
        }
        connection = nil
        let made = try MySQLConnection.open(address, options)
        connection = made
        lastUse = .now
        return made
    }

    private func noted(_ error: any Error) -> StoreError {
        let error = StoreError.of(error)
        if isInTransaction { failure = error }
        return error
    }
}
