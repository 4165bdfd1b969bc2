public import EdgeLedger

/// Why a store did not do what it was asked. Whatever was being written has been rolled back.
public enum StoreError: Error, Sendable, Equatable {
    /// Another connection holds the write lock.
    case locked(String)
    /// No room left on the disk, or the file's page limit is reached.
    case full(String)
    /// The file is damaged, or is no SQLite database.
    case corrupt(String)
    /// The file or its directory cannot be written.
    case readOnly(String)
    /// The file cannot be opened or made.
    case cannotOpen(String)
    /// Reading or writing the disk failed.
    case io(String)
    /// The schema is of a later release than this one knows.
    case newerSchema(found: Int, known: Int, path: String)
    /// A SQLite database, but of another program.
    case foreign(path: String)
    /// The batch is not the one that the store needs next.
    case refused(WatermarkRefusal)
    /// Entries that break the history's own rules: a defect of what wrote them.
    case history(HistoryFault)
    /// A row that cannot be what this program wrote.
    case badRow(String)
    /// What the URL names is no store.
    case badURL(String)
    /// Another cluster's, or no room for another node.
    case notForThis(String)
    /// The server cannot be reached, or the connection broke before a commit was asked for.
    case unreachable(String)
    /// The connection broke while a transaction was committed: only reading tells what happened.
    case unknownOutcome(String)
    /// It has not yet what the caller has seen already.
    case behind(String)
    /// The server does not take these credentials, or they lack a right.
    case denied(String)
    /// The arbiter's tables are on another server than the one that was accepted: it may have lost
    /// decisions, and nothing is changed until an operator accepts it.
    case otherIdentity(accepted: String, found: String)
    /// Any other error of the engine, with its result code.
    case engine(code: Int32, String)
}

extension StoreError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .locked(let text): "the store is locked: \(text)"
        case .full(let text): "the store has no room: \(text)"
        case .corrupt(let text): "the store is damaged: \(text)"
        case .readOnly(let text): "the store cannot be written: \(text)"
        case .cannotOpen(let text): "the store cannot be opened: \(text)"
        case .io(let text): "the store's disk failed: \(text)"
        case .newerSchema(let found, let known, let path):
            "\(path) has schema \(found), this release knows up to \(known): "
                + "start a release that knows it, or name another file"
        case .foreign(let path): "\(path) is a database of another program"
        case .refused(let refusal): "batch refused: \(refusal)"
        case .history(let fault): "the history breaks its rules: \(fault)"
        case .badRow(let text): "a row of the store makes no sense: \(text)"
        case .badURL(let text), .notForThis(let text): text
        case .engine(let code, let text): "the store's error \(code): \(text)"
        case .unreachable(let text): "the store cannot be reached: \(text)"
        case .unknownOutcome(let text): "the store may have committed or not: \(text)"
        case .behind(let text): "the store is behind what was seen: \(text)"
        case .denied(let text): "the store refuses: \(text)"
        case .otherIdentity(let accepted, let found):
            "the arbiter is \(found), accepted is \(accepted): it may have lost decisions; once an "
                + "operator is sure of it: downpour cluster arbiter accept"
        }
    }
}
