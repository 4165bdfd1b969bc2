import CMariaDB
import EdgeReconciler
import EdgeTypes
import Glibc

/// How a connection is used.
struct MySQLOptions: Sendable {
    /// Longest wait for the next bytes, seconds; nil: as the address says.
    var timeoutSeconds: Int?
    /// Longest wait for another transaction's rows, seconds.
    var lockWaitSeconds = 5
    /// Servers that only read are passed over.
    var needsWriting = true

    init() {}
}

/// One connection to one server. It blocks, belongs to one thread at a time, and once lost stays
/// lost: whoever owns it makes another one, and knows what was under way.
final class MySQLConnection {
    /// The server as it says of itself.
    struct Server: Sendable {
        var version = ""
        var host = ""
        var port = ""
        var maxPacketBytes = 1 << 20
        var isMariaDB: Bool { version.contains("MariaDB") }
        /// Marked by an administrator as not to be written, or a replica.
        var isReadOnly = false
    }

    private let handle: UnsafeMutablePointer<MYSQL>
    private(set) var server = Server()
    private(set) var isLost = false
    /// Statements that have failed.
    private(set) var failures = 0
    /// `host:port` or the socket, for errors.
    let place: String

    /// libmariadb wants to be initialised once, before threads use it; a TLS connection that the
    /// other side has closed must be an error, not a signal.
    private static let library: Bool = {
        var held = sigaction()
        sigaction(SIGPIPE, nil, &held)
        // Where somebody handles it, it stays theirs.
        if held.__sigaction_handler.sa_handler == nil { signal(SIGPIPE, SIG_IGN) }
        return mysql_server_init(0, nil, nil) == 0
    }()

    /// Connects to the first server of the address that answers and serves the purpose.
    ///
    /// - Throws: `StoreError`: `.denied` at once; of the others the last, after all hosts were tried.
    static func open(
        _ address: MySQLAddress, _ options: MySQLOptions = MySQLOptions()
    ) throws(StoreError) -> MySQLConnection {
        guard library else { throw .cannotOpen("libmariadb cannot be initialised") }
        guard address.socket == nil else {
            return try MySQLConnection(address, nil, options)
        }
        var last = StoreError.unreachable("\(address): no host")
        for endpoint in address.endpoints {
            do {
                return try MySQLConnection(address, endpoint, options)
            } catch {
                switch error {
                case .unreachable, .readOnly: last = error
                default: throw error
                }
            }
        }
        throw last
    }

    private init(
        _ address: MySQLAddress, _ endpoint: MySQLAddress.Endpoint?, _ options: MySQLOptions
    ) throws(StoreError) {
        place = address.socket ?? endpoint?.description ?? ""
        guard let made = mysql_init(nil) else { throw .cannotOpen("no memory for a connection") }
        handle = made
        do {
            try connect(address, endpoint, options)
            try prepare(options)
        } catch {
            // deinit closes.
            isLost = true
            throw error
        }
    }

    deinit { mysql_close(handle) }

    private func connect(
        _ address: MySQLAddress, _ endpoint: MySQLAddress.Endpoint?, _ options: MySQLOptions
    ) throws(StoreError) {
        let seconds = options.timeoutSeconds ?? address.timeoutSeconds
        set(MYSQL_OPT_CONNECT_TIMEOUT, UInt32(min(seconds, 10)))
        set(MYSQL_OPT_READ_TIMEOUT, UInt32(seconds))
        set(MYSQL_OPT_WRITE_TIMEOUT, UInt32(seconds))
        set(MYSQL_OPT_RECONNECT, UInt8(0))
        set(MYSQL_OPT_LOCAL_INFILE, UInt32(0))
        set(MYSQL_SET_CHARSET_NAME, "utf8mb4")
        // Otherwise `localhost` means a socket, whatever port was asked for.
        let kind = address.socket == nil ? MYSQL_PROTOCOL_TCP : MYSQL_PROTOCOL_SOCKET
        set(MYSQL_OPT_PROTOCOL, kind.rawValue)
        mysql_options4(handle, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "downpour")
        let isSecure = address.security != .off
        if isSecure {
            set(MYSQL_OPT_SSL_ENFORCE, UInt8(1))
            set(MYSQL_OPT_SSL_VERIFY_SERVER_CERT, UInt8(address.security == .verify ? 1 : 0))
            if let file = address.authorityFile {
                guard access(file, R_OK) == 0 else {
                    throw .cannotOpen("ca: \(file): \(String(cString: strerror(errno)))")
                }
                set(MYSQL_OPT_SSL_CA, file)
            }
        }
        let made = mysql_real_connect(
            handle, endpoint?.host, address.user, address.password.text, address.database,
            UInt32(endpoint?.port ?? 0), address.socket, UInt(CLIENT_FOUND_ROWS))
        guard made != nil else {
            let code = mysql_errno(handle)
            let message = String(cString: mysql_error(handle))
            guard code != 2026 else {
                throw .denied("\(place): TLS: \(message): see tls= and ca= of the store's URL")
            }
            throw MySQLErrors.error(code, message, at: place)
        }
        guard !isSecure || mysql_get_ssl_cipher(handle) != nil else {
            throw .denied("\(place): the server offers no TLS: it should, or the URL says tls=off")
        }
    }

    /// The session is the same whatever the server's defaults are.
    private func prepare(_ options: MySQLOptions) throws(StoreError) {
        try run("SET NAMES utf8mb4")
        // Quotes and || mean what they mean in SQLite. Writers lock the rows that they read and
        // the gaps where they found none, which READ COMMITTED would leave open.
        try run(
            """
            SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,\
            ERROR_FOR_DIVISION_BY_ZERO,ANSI_QUOTES,PIPES_AS_CONCAT',
                time_zone = '+00:00', autocommit = 1, net_write_timeout = 600,
                innodb_lock_wait_timeout = \(options.lockWaitSeconds)
            """)
        try run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        var found = Server()
        do {
            try query(
                "SELECT @@version, @@hostname, @@port, @@max_allowed_packet, @@global.read_only"
            ) { row in
                found.version = row.text(0)
                found.host = row.text(1)
                found.port = row.text(2)
                found.maxPacketBytes = Int(row.integer(3))
                found.isReadOnly = row.integer(4) != 0
            }
        } catch {
            throw StoreError.of(error)
        }
        server = found
        guard !options.needsWriting || !found.isReadOnly else {
            throw .readOnly("\(place): the server is read-only, as replicas are")
        }
    }

    private func set(_ option: mysql_option, _ value: some BitwiseCopyable) {
        withUnsafeBytes(of: value) { bytes in
            // SAFETY: the library copies the value, whose type is the option's.
            _ = mysql_options(handle, option, bytes.baseAddress)
        }
    }

    private func set(_ option: mysql_option, _ text: String) {
        _ = text.withCString { mysql_options(handle, option, $0) }
    }

    // MARK: Statements

    /// Runs a statement without rows.
    ///
    /// - Returns: how many rows it changed, or found where it left them as they were.
    @discardableResult
    func run(_ sql: String) throws(StoreError) -> Int {
        var sql = sql
        let code = sql.withUTF8 { send(UnsafeRawBufferPointer($0)) }
        guard code == 0 else { throw failure() }
        return changes()
    }

    @discardableResult
    func run(_ sql: UnsafeRawBufferPointer) throws(StoreError) -> Int {
        try check(sql)
        guard send(sql) == 0 else { throw failure() }
        return changes()
    }

    /// Ends the transaction for good; see `MySQLErrors.commitError`.
    func commit() throws(StoreError) {
        var sql = "COMMIT"
        guard sql.withUTF8({ send(UnsafeRawBufferPointer($0)) }) != 0 else { return }
        let code = mysql_errno(handle)
        let error = MySQLErrors.commitError(
            code, String(cString: mysql_error(handle)), at: place)
        if MySQLErrors.isLost(code) { isLost = true }
        throw error
    }

    func query(_ sql: String, _ row: (any SQLRow) throws -> Void) throws {
        var sql = sql
        let code = sql.withUTF8 { send(UnsafeRawBufferPointer($0)) }
        guard code == 0 else { throw failure() }
        try stream(row)
    }

    func query(_ sql: UnsafeRawBufferPointer, _ row: (any SQLRow) throws -> Void) throws {
        try check(sql)
        guard send(sql) == 0 else { throw failure() }
        try stream(row)
    }

    /// Whether the server still answers.
    func ping() -> Bool {
        guard !isLost, mysql_ping(handle) == 0 else {
            isLost = true
            return false
        }
        return true
    }

    /// The server's number of this connection.
    var number: UInt { mysql_thread_id(handle) }

    /// The server would cut the connection.
    private func check(_ sql: UnsafeRawBufferPointer) throws(StoreError) {
        guard sql.count < server.maxPacketBytes - 16 else {
            failures += 1
            throw .engine(
                code: 1153,
                "\(place): a statement of \(sql.count) bytes, max_allowed_packet is "
                    + "\(server.maxPacketBytes)")
        }
    }

    private func send(_ sql: UnsafeRawBufferPointer) -> Int32 {
        // SAFETY: the library reads so many bytes, and copies them.
        mysql_real_query(
            handle, sql.baseAddress?.assumingMemoryBound(to: CChar.self), UInt(sql.count))
    }

    private func changes() -> Int {
        // A statement that was thought to have no rows must not leave any on the way.
        if mysql_field_count(handle) > 0, let result = mysql_store_result(handle) {
            mysql_free_result(result)
        }
        return Int(truncatingIfNeeded: mysql_affected_rows(handle))
    }

    private func stream(_ body: (any SQLRow) throws -> Void) throws {
        guard let result = mysql_use_result(handle) else {
            guard mysql_errno(handle) == 0 else { throw failure() }
            return
        }
        // Reads what is left where `body` throws.
        defer { mysql_free_result(result) }
        let row = MySQLRow(columns: Int(mysql_num_fields(result)))
        while let values = mysql_fetch_row(result) {
            guard let lengths = mysql_fetch_lengths(result) else { break }
            row.values = values
            row.lengths = lengths
            try body(row)
        }
        guard mysql_errno(handle) == 0 else { throw failure() }
    }

    private func failure() -> StoreError {
        failures += 1
        let code = mysql_errno(handle)
        if MySQLErrors.isLost(code) { isLost = true }
        return MySQLErrors.error(code, String(cString: mysql_error(handle)), at: place)
    }
}

/// A row as the server has sent it: texts.
final class MySQLRow: SQLRow {
    private let columns: Int
    fileprivate var values: MYSQL_ROW?
    fileprivate var lengths: UnsafeMutablePointer<UInt>?

    init(columns: Int) { self.columns = columns }

    /// Of a number with decimals, what stands before the point.
    func integer(_ column: Int) -> Int64 {
        var digits = bytes(column)[...]
        let isNegative = digits.first == UInt8(ascii: "-")
        if isNegative { digits = digits.dropFirst() }
        var value: UInt64 = 0
        for byte in digits {
            guard (0x30...0x39).contains(byte) else { break }
            let (tens, isOver) = value.multipliedReportingOverflow(by: 10)
            let (next, isPast) = tens.addingReportingOverflow(UInt64(byte - 0x30))
            guard !isOver, !isPast else { return isNegative ? .min : .max }
            value = next
        }
        if isNegative {
            return value > Int64.min.magnitude ? .min : Int64(truncatingIfNeeded: 0 &- value)
        }
        return Int64(clamping: value)
    }

    func isNull(_ column: Int) -> Bool { pointer(column) == nil }

    func bytes(_ column: Int) -> UnsafeRawBufferPointer {
        guard let start = pointer(column), let lengths else {
            return UnsafeRawBufferPointer(start: nil, count: 0)
        }
        // SAFETY: the library keeps so many bytes until the next row is fetched.
        return UnsafeRawBufferPointer(start: start, count: Int(lengths[column]))
    }

    func user(_ column: Int) -> UserID? { UserID(String(decoding: bytes(column), as: UTF8.self)) }

    private func pointer(_ column: Int) -> UnsafeMutablePointer<CChar>? {
        precondition(column >= 0 && column < columns, "a query has \(columns) columns")
        return values?[column]
    }
}
