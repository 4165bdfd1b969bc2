import EdgeReconciler
import EdgeTypes
import GRDB
import GRDBSQLite

/// A prepared statement, bound and stepped straight through SQLite's C interface: GRDB's own
/// statements cost some 0.5 µs more a row in boxed arguments.
///
/// Belongs to one connection and is used by one thread at a time.
final class SQLiteStatement: SQLSink, SQLRow {
    private let statement: OpaquePointer
    private let connection: OpaquePointer
    /// The parameter that is put next, from 1.
    private var next: Int32 = 1

    init(_ connection: OpaquePointer, _ sql: String) throws(StoreError) {
        var made: OpaquePointer?
        let code = sqlite3_prepare_v3(
            connection, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &made, nil)
        guard code == SQLITE_OK, let made else {
            throw StoreError.of(code: code, String(cString: sqlite3_errmsg(connection)))
        }
        statement = made
        self.connection = connection
    }

    deinit { sqlite3_finalize(statement) }

    // MARK: Parameters

    func put(_ value: SQLValue) {
        switch value {
        case .null: putNull()
        case .integer(let value): put(value)
        case .text(let text): put(text)
        case .user(let user): put(user: user)
        }
    }

    @inline(__always)
    func put(_ value: Int64) {
        let code = sqlite3_bind_int64(statement, next, value)
        assert(code == SQLITE_OK)
        next += 1
    }

    /// Users above `Int64.max` are kept as their digits.
    @inline(__always)
    func put(user: UserID) {
        if let exact = Int64(exactly: user) { put(exact) } else { put(String(user)) }
    }

    func put(_ text: Text64) {
        let bytes = text.bytes
        bytes.withUnsafeBytes { putCopied($0) }
    }

    @inline(__always)
    func put(stable text: UnsafeBufferPointer<CChar>) {
        // SAFETY: a nil destructor means SQLITE_STATIC: the caller keeps the bytes alive.
        let code = sqlite3_bind_text(statement, next, text.baseAddress, Int32(text.count), nil)
        assert(code == SQLITE_OK)
        next += 1
    }

    func put(_ text: String) {
        var text = text
        text.withUTF8 { putCopied(UnsafeRawBufferPointer($0)) }
    }

    func putNull() {
        sqlite3_bind_null(statement, next)
        next += 1
    }

    private func putCopied(_ bytes: UnsafeRawBufferPointer) {
        // SAFETY: −1 is SQLITE_TRANSIENT: SQLite copies the bytes before it returns.
        let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        if bytes.count > 0 {
            sqlite3_bind_text(
                statement, next, bytes.bindMemory(to: CChar.self).baseAddress,
                Int32(bytes.count), transient)
        } else {
            sqlite3_bind_text(statement, next, "", 0, transient)
        }
        next += 1
    }

    // MARK: Running

    /// - Returns: whether there is a row. After the last one, or an error, it is reset.
    @inline(__always)
    func step() throws(StoreError) -> Bool {
        let code = sqlite3_step(statement)
        if code == SQLITE_ROW { return true }
        let error: StoreError? = code == SQLITE_DONE ? nil : failure(code)
        reset()
        if let error { throw error }
        return false
    }

    /// Runs a statement that yields no rows.
    @inline(__always)
    func run() throws(StoreError) {
        let row = try step()
        precondition(!row)
    }

    func reset() {
        sqlite3_reset(statement)
        next = 1
    }

    private func failure(_ code: Int32) -> StoreError {
        let extended = sqlite3_extended_errcode(connection)
        let text = String(cString: sqlite3_errmsg(connection))
        return StoreError.of(code: extended == SQLITE_OK ? code : extended, text)
    }

    // MARK: Columns of the current row

    @inline(__always)
    func integer(_ column: Int) -> Int64 { sqlite3_column_int64(statement, Int32(column)) }

    func isNull(_ column: Int) -> Bool {
        sqlite3_column_type(statement, Int32(column)) == SQLITE_NULL
    }

    @inline(__always)
    func bytes(_ column: Int) -> UnsafeRawBufferPointer {
        // SAFETY: SQLite keeps the text of a column until the statement moves on.
        let text = sqlite3_column_text(statement, Int32(column))
        return UnsafeRawBufferPointer(
            start: text, count: Int(sqlite3_column_bytes(statement, Int32(column))))
    }

    @inline(__always)
    func user(_ column: Int) -> UserID? {
        switch sqlite3_column_type(statement, Int32(column)) {
        case SQLITE_INTEGER: return UserID(exactly: integer(column))
        case SQLITE_TEXT:
            let digits = text(column)
            guard let user = UserID(digits), user > UserID(Int64.max), String(user) == digits
            else { return nil }
            return user
        default: return nil
        }
    }
}

extension StoreError {
    static func of(code: Int32, _ text: String) -> StoreError {
        switch code & 0xff {
        case SQLITE_BUSY, SQLITE_LOCKED: .locked(text)
        case SQLITE_FULL: .full(text)
        case SQLITE_CORRUPT, SQLITE_NOTADB: .corrupt(text)
        case SQLITE_READONLY, SQLITE_PERM: .readOnly(text)
        case SQLITE_CANTOPEN: .cannotOpen(text)
        case SQLITE_IOERR: .io(text)
        default: .engine(code: code, text)
        }
    }

    static func of(_ error: any Error) -> StoreError {
        switch error {
        case let error as StoreError: error
        case let error as DatabaseError:
            of(
                code: error.extendedResultCode.rawValue,
                error.message ?? error.resultCode.description)
        default: .engine(code: -1, "\(error)")
        }
    }
}
