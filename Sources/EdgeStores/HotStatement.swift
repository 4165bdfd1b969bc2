import EdgeReconciler
import EdgeTypes
import GRDB
import GRDBSQLite

/// A prepared statement of the batch path, bound and stepped straight through SQLite's C
/// interface: GRDB's own statements cost some 0.5 µs more a row in boxed arguments.
///
/// Belongs to one connection and is used only on that connection's queue.
final class HotStatement {
    private let statement: OpaquePointer
    private let connection: OpaquePointer

    init(_ database: Database, _ sql: String) throws(StoreError) {
        guard let connection = database.sqliteConnection else {
            throw .cannotOpen("the connection is closed")
        }
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

    @inline(__always)
    func bind(_ index: Int32, _ value: Int64) {
        let code = sqlite3_bind_int64(statement, index, value)
        assert(code == SQLITE_OK)
    }

    func bind(_ index: Int32, orNull value: Int64) {
        if value == 0 { bindNull(index) } else { bind(index, value) }
    }

    func bindNull(_ index: Int32) { sqlite3_bind_null(statement, index) }

    func bind(_ index: Int32, _ text: String) {
        var text = text
        text.withUTF8 { bytes in
            bindCopied(index, UnsafeRawBufferPointer(bytes))
        }
    }

    func bind(_ index: Int32, _ text: Text64) {
        let bytes = text.bytes
        bytes.withUnsafeBytes { bindCopied(index, $0) }
    }

    func bind(_ index: Int32, orNull text: Text64) {
        if text.isEmpty { bindNull(index) } else { bind(index, text) }
    }

    /// Binds text that stays where it is until the statement is bound anew.
    @inline(__always)
    func bind(_ index: Int32, stable text: UnsafeBufferPointer<CChar>) {
        // SAFETY: a nil destructor means SQLITE_STATIC: the caller keeps the bytes alive.
        let code = sqlite3_bind_text(
            statement, index, text.baseAddress, Int32(text.count), nil)
        assert(code == SQLITE_OK)
    }

    /// Users above `Int64.max` are kept as their digits.
    @inline(__always)
    func bind(_ index: Int32, user: UserID) {
        if let exact = Int64(exactly: user) {
            bind(index, exact)
        } else {
            bind(index, String(user))
        }
    }

    private func bindCopied(_ index: Int32, _ bytes: UnsafeRawBufferPointer) {
        // SAFETY: −1 is SQLITE_TRANSIENT: SQLite copies the bytes before it returns.
        let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        guard bytes.count > 0 else {
            sqlite3_bind_text(statement, index, "", 0, transient)
            return
        }
        sqlite3_bind_text(
            statement, index, bytes.bindMemory(to: CChar.self).baseAddress, Int32(bytes.count),
            transient)
    }

    /// - Returns: whether there is a row. After the last one, or an error, it is reset.
    @inline(__always)
    func step() throws(StoreError) -> Bool {
        let code = sqlite3_step(statement)
        if code == SQLITE_ROW { return true }
        guard code == SQLITE_DONE else { throw failure(code) }
        sqlite3_reset(statement)
        return false
    }

    /// Runs a statement that yields no rows.
    @inline(__always)
    func run() throws(StoreError) {
        let row = try step()
        precondition(!row)
    }

    func reset() { sqlite3_reset(statement) }

    private func failure(_ code: Int32) -> StoreError {
        let extended = sqlite3_extended_errcode(connection)
        let text = String(cString: sqlite3_errmsg(connection))
        sqlite3_reset(statement)
        return StoreError.of(code: extended == SQLITE_OK ? code : extended, text)
    }

    // MARK: Columns of the current row

    @inline(__always)
    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(statement, column) }

    func isNull(_ column: Int32) -> Bool {
        sqlite3_column_type(statement, column) == SQLITE_NULL
    }

    /// The bytes of a text, valid until the next step.
    @inline(__always)
    func bytes(_ column: Int32) -> UnsafeRawBufferPointer {
        // SAFETY: SQLite keeps the text of a column until the statement moves on.
        let text = sqlite3_column_text(statement, column)
        return UnsafeRawBufferPointer(
            start: text, count: Int(sqlite3_column_bytes(statement, column)))
    }

    func text(_ column: Int32) -> String { String(decoding: bytes(column), as: UTF8.self) }

    /// - Returns: empty for null; nil where the text has more than 64 bytes.
    func text64(_ column: Int32) -> Text64? { Text64(bytes(column)) }

    /// - Returns: nil where the value is no user.
    @inline(__always)
    func user(_ column: Int32) -> UserID? {
        switch sqlite3_column_type(statement, column) {
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
