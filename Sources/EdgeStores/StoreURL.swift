public import EdgeReconciler

/// Where a store is: `sqlite:PATH`, or `mysql://USER:PASSWORD@HOST:PORT/DATABASE` (also
/// `mariadb://`).
public enum StoreURL: Hashable, Sendable {
    case sqlite(path: String)
    case mysql(MySQLAddress)

    /// Reads a store's URL.
    ///
    /// - Throws: `StoreError.badURL`, which says what is wrong. The text itself is not repeated,
    ///   apart from its scheme: URLs may hold secrets.
    public init(_ text: String) throws(StoreError) {
        guard let colon = text.firstIndex(of: ":"), colon != text.startIndex else {
            throw .badURL("a store's URL starts with its scheme: sqlite:PATH")
        }
        let scheme = text[..<colon].lowercased()
        if scheme == "mysql" || scheme == "mariadb" {
            self = .mysql(try MySQLAddress(text))
            return
        }
        guard scheme == "sqlite" else {
            throw .badURL(
                "no store is known for \(scheme): URLs; known: sqlite:PATH and mysql://…")
        }
        var path = String(text[text.index(after: colon)...])
        // sqlite:///absolute as others write it; sqlite://relative is ambiguous.
        if path.hasPrefix("//") {
            guard path.hasPrefix("///") else {
                throw .badURL("sqlite: URLs have no host: write sqlite:PATH or sqlite:///PATH")
            }
            path = String(path.dropFirst(2))
        }
        guard !path.isEmpty else { throw .badURL("sqlite: needs the path of a file") }
        guard !path.contains("\0"), !path.contains("?") else {
            throw .badURL("sqlite: paths hold neither ? nor zero bytes, and take no parameters")
        }
        guard path != ":memory:" else {
            throw .badURL("a store in memory would forget everything: name a file")
        }
        self = .sqlite(path: path)
    }
}

extension StoreURL {
    /// Opens a store, and makes what is missing of it.
    ///
    /// - Parameter extraEvents: which events go to its outbox beside the usual ones.
    public func open(extraEvents: ExtraEvents = []) throws(StoreError) -> SQLStore {
        switch self {
        case .sqlite(let path): try SQLStore(path: path, extraEvents: extraEvents)
        case .mysql(let address): try SQLStore(address, extraEvents: extraEvents)
        }
    }

    /// The same database at each of its hosts.
    public var places: [StoreURL] {
        guard case .mysql(let address) = self, address.endpoints.count > 1 else { return [self] }
        return address.endpoints.map { endpoint in
            var one = address
            one.endpoints = [endpoint]
            return .mysql(one)
        }
    }

    /// The arbiter of a cluster is with its store.
    ///
    /// - Parameter mustBeAccepted: false: also a server that no operator has accepted, which answers
    ///   and changes nothing.
    public func openArbiter(mustBeAccepted: Bool = true) throws(StoreError) -> any Arbiter {
        switch self {
        case .sqlite(let path): try SQLiteArbiter(path: path + ".arbiter")
        case .mysql(let address): try MySQLArbiter(address, mustBeAccepted: mustBeAccepted)
        }
    }

    /// A connection that writes nothing.
    func openForReading(
        options: SQLiteOptions = SQLiteOptions()
    ) throws(StoreError) -> any SQLEngine {
        switch self {
        case .sqlite(let path): try SQLiteEngine(reading: path, options: options)
        case .mysql(let address): try MySQLEngine(reading: address)
        }
    }
}
