/// A value of a file, and where it stands.
public struct StrictValue: Sendable {
    package enum Content: Sendable {
        case scalar(String)
        case list([StrictValue])
        case map([Field])
    }

    package struct Field: Sendable {
        package let key: String
        package let line: Int
        package var value: StrictValue
    }

    package var content: Content
    let file: String
    /// From 1.
    public let line: Int
    /// Keys from the root, as `pools[0].users`.
    public let path: String

    /// An error at this value, for what a reader checks itself.
    public func error(_ reason: String) -> StrictYAMLError {
        StrictYAMLError(
            file: file, line: line, reason: path.isEmpty ? reason : "\(path): \(reason)")
    }

    public var isMap: Bool {
        if case .map = content { true } else { false }
    }

    /// What stands there, quoted or not.
    ///
    /// - Throws: where it is a list or a map.
    public func text() throws(StrictYAMLError) -> String {
        switch content {
        case .scalar(let text): return text
        case .list: throw error("a single value is needed, not a list")
        case .map: throw error("a single value is needed, not a map")
        }
    }

    /// Reads a map; every key must be asked for.
    ///
    /// - Throws: what `read` throws; else an error at the first key that it did not ask for.
    public func map<Result>(
        _ read: (inout StrictMap) throws(StrictYAMLError) -> Result
    ) throws(StrictYAMLError) -> Result {
        guard case .map(let fields) = content else { throw error("a map is needed") }
        var map = StrictMap(fields: fields, value: self)
        let result = try read(&map)
        try map.finish()
        return result
    }

    /// Reads a list in order.
    public func list<Element>(
        _ read: (StrictValue) throws(StrictYAMLError) -> Element
    ) throws(StrictYAMLError) -> [Element] {
        guard case .list(let values) = content else { throw error("a list is needed") }
        var elements: [Element] = []
        for value in values { elements.append(try read(value)) }
        return elements
    }
}

/// A map that is being read: what is left unread is unknown, and an error.
public struct StrictMap {
    private let fields: [StrictValue.Field]
    private let value: StrictValue
    private var asked: Set<String> = []

    init(fields: [StrictValue.Field], value: StrictValue) {
        self.fields = fields
        self.value = value
    }

    /// An error at the map, for what a reader checks itself.
    public func error(_ reason: String) -> StrictYAMLError { value.error(reason) }

    /// Keys in the file's order; they count as asked for.
    public mutating func keys() -> [String] {
        asked.formUnion(fields.map(\.key))
        return fields.map(\.key)
    }

    public mutating func optional(_ key: String) -> StrictValue? {
        asked.insert(key)
        return fields.first { $0.key == key }?.value
    }

    public mutating func required(_ key: String) throws(StrictYAMLError) -> StrictValue {
        if let found = optional(key) { return found }
        if let near = fields.first(where: { Self.isNear($0.key, key) && !asked.contains($0.key) }) {
            throw StrictYAMLError(
                file: value.file, line: near.line,
                reason: "unknown key \(near.key), and \(key) is missing")
        }
        throw error("\(key) is missing")
    }

    /// Whether one is the other with a letter too many, too few or wrong.
    private static func isNear(_ a: String, _ b: String) -> Bool {
        let (a, b) = (Array(a.utf8), Array(b.utf8))
        guard a.count > 2, b.count > 2, abs(a.count - b.count) <= 1 else { return false }
        let front = zip(a, b).prefix { $0 == $1 }.count
        let back = zip(a.reversed(), b.reversed()).prefix { $0 == $1 }.count
        return front + back >= max(a.count, b.count) - 1
    }

    /// Checks that everything was asked for.
    func finish() throws(StrictYAMLError) {
        guard let unknown = fields.first(where: { !asked.contains($0.key) }) else { return }
        let known = asked.sorted().joined(separator: ", ")
        throw StrictYAMLError(
            file: value.file, line: unknown.line,
            reason: (value.path.isEmpty ? "" : "\(value.path): ")
                + "unknown key \(unknown.key); known: \(known)")
    }
}
