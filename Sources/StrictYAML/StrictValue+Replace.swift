extension StrictValue {
    /// The same document with one value replaced or added, as a sweep over parameters does.
    ///
    /// - Parameter path: keys from here, joined by dots; places in lists are numbers from 0:
    ///   `nodes`, `pools.0.users`.
    /// - Throws: where a key on the way, but for the last, is not there.
    public func replacing(_ path: String, by text: String) throws(StrictYAMLError) -> StrictValue {
        try replacing(
            path.split(separator: ".", omittingEmptySubsequences: false)[...], by: text)
    }

    private func replacing(
        _ keys: ArraySlice<Substring>, by text: String
    ) throws(StrictYAMLError) -> StrictValue {
        var copy = self
        guard let key = keys.first else {
            guard case .scalar = content else { throw error("not a single value") }
            copy.content = .scalar(text)
            return copy
        }
        switch content {
        case .scalar: throw error("has no key \(key)")
        case .list(var values):
            guard let index = Int(key), values.indices.contains(index) else {
                throw error("has no element \(key)")
            }
            values[index] = try values[index].replacing(keys.dropFirst(), by: text)
            copy.content = .list(values)
        case .map(var fields):
            if let index = fields.firstIndex(where: { $0.key == key }) {
                fields[index].value = try fields[index].value.replacing(
                    keys.dropFirst(), by: text)
            } else {
                guard keys.count == 1 else { throw error("has no key \(key)") }
                let inner = path.isEmpty ? String(key) : "\(path).\(key)"
                let value = StrictValue(
                    content: .scalar(text), file: file, line: line, path: inner)
                fields.append(Field(key: String(key), line: line, value: value))
            }
            copy.content = .map(fields)
        }
        return copy
    }
}
