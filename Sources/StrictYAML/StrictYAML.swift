import Yams

/// Why a file is refused: `file:line: reason`.
public struct StrictYAMLError: Error, Hashable, CustomStringConvertible {
    public let file: String
    /// From 1.
    public let line: Int
    public let reason: String

    public init(file: String, line: Int, reason: String) {
        self.file = file
        self.line = line
        self.reason = reason
    }

    public var description: String { "\(file):\(line): \(reason)" }
}

/// YAML without its surprises: whatever is not understood is an error, at its line.
///
/// Every number has its unit, keys come once and are all known, and anchors, aliases, tags, empty
/// values and second documents are refused.
///
///     let scenario = try StrictYAML.read(text, file: path).map { map in
///         try Scenario(
///             nodes: map.required("nodes").count(in: 1...10_000),
///             delayNs: map.optional("delay")?.durationNs() ?? 0)
///     }
public enum StrictYAML {
    /// Longest file, in bytes.
    public static let sizeLimit = 1 << 18
    /// Deepest nesting; libyaml itself stops at 1,000.
    public static let depthLimit = 32

    /// The document's root.
    ///
    /// - Parameter file: what errors call the file.
    public static func read(_ text: String, file: String) throws(StrictYAMLError) -> StrictValue {
        func error(_ line: Int, _ reason: String) -> StrictYAMLError {
            StrictYAMLError(file: file, line: max(line, 1), reason: reason)
        }
        guard text.utf8.count <= sizeLimit else {
            throw error(1, "longer than \(sizeLimit) bytes")
        }
        // Anchors are weak in nodes: they live as long as their parser.
        let parser: Parser
        let root: Node?
        do {
            parser = try Parser(yaml: text)
            root = try parser.singleRoot()
        } catch let problem as YamlError {
            let (line, reason) = explain(problem)
            throw error(line, reason)
        } catch {
            throw StrictYAMLError(file: file, line: 1, reason: "not YAML")
        }
        guard let root else { throw error(1, "the file is empty") }
        defer { withExtendedLifetime(parser) {} }
        return try convert(root, file: file, path: "")
    }

    private static func explain(_ error: YamlError) -> (line: Int, reason: String) {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            (mark.line, problem)
        case .duplicatedKeysInMapping(let keys, let context):
            (context.mark.line, "\(keys[0]) is given twice")
        case .reader(let problem, _, _, _): (1, problem)
        default: (1, "not YAML")
        }
    }

    private static func convert(
        _ node: Node, file: String, path: String, depth: Int = 0
    ) throws(StrictYAMLError) -> StrictValue {
        let line = node.mark?.line ?? 1
        func error(_ reason: String) -> StrictYAMLError {
            StrictYAMLError(
                file: file, line: line, reason: path.isEmpty ? reason : "\(path): \(reason)")
        }
        func value(_ content: StrictValue.Content) -> StrictValue {
            StrictValue(content: content, file: file, line: line, path: path)
        }
        guard node.anchor == nil else { throw error("anchors and aliases are not used here") }
        guard depth < depthLimit else { throw error("nested too deeply") }
        switch node {
        case .alias: throw error("anchors and aliases are not used here")
        case .scalar(let scalar):
            let isQuoted = scalar.style != .plain && scalar.style != .any
            guard isQuoted || !["", "~", "null"].contains(scalar.string) else {
                throw error("there is no value")
            }
            return value(.scalar(scalar.string))
        case .sequence(let nodes):
            var values: [StrictValue] = []
            for (index, node) in nodes.enumerated() {
                values.append(
                    try convert(node, file: file, path: "\(path)[\(index)]", depth: depth + 1))
            }
            return value(.list(values))
        case .mapping(let pairs):
            var fields: [StrictValue.Field] = []
            for (key, node) in pairs {
                guard case .scalar(let name) = key, key.anchor == nil else {
                    throw error("keys are words")
                }
                let inner = path.isEmpty ? name.string : "\(path).\(name.string)"
                fields.append(
                    StrictValue.Field(
                        key: name.string, line: name.mark?.line ?? line,
                        value: try convert(node, file: file, path: inner, depth: depth + 1)))
            }
            return value(.map(fields))
        }
    }
}
