import EdgeReconciler
import EdgeTypes

/// A connection to a database that speaks SQL: all that writing batches, audits and questions need
/// of one. SQLite and MySQL differ below this line, and nowhere above it. Names that are words of
/// the language stand in backticks, which both take.
///
/// Used from one thread at a time.
protocol SQLEngine: AnyObject {
    /// Runs a query whose parameters are `?`, in order, and calls `row` with each of its rows.
    ///
    /// - Parameter row: must not use the engine: rows may be on their way still.
    /// - Throws: `StoreError`, and what `row` throws.
    func read(_ sql: String, _ values: [SQLValue], _ row: (any SQLRow) throws -> Void) throws

    /// Writes rows, many a statement. O(rows).
    ///
    /// - Parameters:
    ///   - table: where to, and what a row that is there already means.
    ///   - rows: how many.
    ///   - put: puts the columns of one row, in the table's order.
    /// - Throws: `StoreError`, and what `put` throws.
    func write(
        _ table: SQLTable, rows: Int, _ put: (_ row: Int, _ sink: any SQLSink) throws -> Void
    ) throws

    /// Runs a statement without rows.
    ///
    /// - Returns: how many rows it changed.
    @discardableResult
    func run(_ sql: String, _ values: [SQLValue]) throws(StoreError) -> Int

    /// Runs `body` in one transaction: all that it has written is there once this returns, durably,
    /// or none of it where it throws. Where the connection breaks while it commits, nobody knows:
    /// `StoreError.unknownOutcome`.
    ///
    /// - Parameter kind: what it reads and locks.
    func transaction<T>(_ kind: SQLTransaction, _ body: () throws -> T) throws -> T

    /// Ends a query of a writing transaction whose rows are to be written: nobody else changes them
    /// until it ends. All transactions lock in the same order: tables as they are written, rows by
    /// key.
    var forUpdate: String { get }

    /// Whether claims are found by their user at once. Where not, those of a slice are indexed when
    /// they leave the nodes' memory (`archived_claims`).
    var indexesUsers: Bool { get }

    /// Gives the connection back. Idempotent.
    func close()
}

enum SQLTransaction {
    /// Other writers of the same rows wait until it ends.
    case write
    /// All that is read is as of one moment; nobody waits.
    case snapshot
}

/// A table as batches write it: made once, so that engines know it again.
final class SQLTable: Sendable {
    enum Conflict {
        /// A row of that key is an error.
        case refuse
        /// The row takes the place of the one that is there.
        case replace
    }

    let name: String
    /// The first `keyColumns` of them are the primary key.
    let columns: [String]
    let keyColumns: Int
    let conflict: Conflict

    init(_ name: String, key: [String], _ others: [String], _ conflict: Conflict) {
        self.name = name
        columns = key + others
        keyColumns = key.count
        self.conflict = conflict
    }
}

/// A parameter.
enum SQLValue: Hashable {
    case null
    case integer(Int64)
    case text(String)
    case user(UserID)
}

/// The columns of a row that is written, one after the other.
protocol SQLSink: AnyObject {
    func put(_ value: Int64)
    func put(user: UserID)
    func put(_ text: Text64)
    /// Bytes that stay where they are until the rows are written.
    func put(stable text: UnsafeBufferPointer<CChar>)
    func put(_ text: String)
    func putNull()
}

extension SQLSink {
    func put(orNull value: Int64) { value == 0 ? putNull() : put(value) }
    func put(orNull text: Text64) { text.isEmpty ? putNull() : put(text) }
}

/// The row that a query is at, its columns counted from 0.
protocol SQLRow: AnyObject {
    /// 0 for null.
    func integer(_ column: Int) -> Int64
    func isNull(_ column: Int) -> Bool
    /// The bytes of a text, valid until the next row; empty for null.
    func bytes(_ column: Int) -> UnsafeRawBufferPointer
    /// - Returns: nil where the value is no user.
    func user(_ column: Int) -> UserID?
}

extension SQLRow {
    func text(_ column: Int) -> String { String(decoding: bytes(column), as: UTF8.self) }
    /// - Returns: empty for null; nil where the text has more than 64 bytes.
    func text64(_ column: Int) -> Text64? { Text64(bytes(column)) }
    func integerOrNil(_ column: Int) -> Int64? { isNull(column) ? nil : integer(column) }
}
