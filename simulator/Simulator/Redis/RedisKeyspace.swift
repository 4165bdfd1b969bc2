import EdgeReconciler
import EdgeTypes

/// What a Redis holds, and what the commands do to it that Downpour and its consumers use.
///
/// A test runs the same commands and scripts on a redis-server. A value: a replica that lags, or a
/// backup, is a copy.
package struct RedisKeyspace: Sendable, Equatable {
    package typealias Hash = SortedTable<String, String>

    package internal(set) var strings = SortedTable<String, String>()
    package internal(set) var hashes = SortedTable<String, Hash>()
    package internal(set) var streams = SortedTable<String, RedisStream>()
    /// Members by score.
    package internal(set) var sortedSets = SortedTable<String, SortedTable<String, Int64>>()
    /// When keys go, in Unix ms.
    private var expiries = SortedTable<String, Int64>()
    /// A built-in bug of the scripts.
    let mutant: Mutant

    package init(mutant: Mutant = .none) { self.mutant = mutant }

    // MARK: Keys

    package var events: RedisStream { streams[RedisKeys.events] ?? RedisStream() }
    package var dead: RedisStream { streams[RedisKeys.dead] ?? RedisStream() }

    func field(_ key: String, _ name: String) -> String? { hashes[key]?[name] }

    mutating func set(_ key: String, _ name: String, _ value: String) {
        var hash = hashes[key] ?? Hash()
        hash[name] = value
        hashes[key] = hash
    }

    mutating func add(_ key: String, _ name: String, _ number: Int64) {
        set(key, name, String((Int64(field(key, name) ?? "0") ?? 0) + number))
    }

    mutating func delete(_ key: String, _ name: String) -> Bool {
        guard var hash = hashes[key], hash[name] != nil else { return false }
        hash[name] = nil
        hashes[key] = hash.isEmpty ? nil : hash
        return true
    }

    @discardableResult
    mutating func delete(_ key: String) -> Bool {
        let isThere =
            strings[key] != nil || hashes[key] != nil || streams[key] != nil
            || sortedSets[key] != nil
        strings[key] = nil
        hashes[key] = nil
        streams[key] = nil
        sortedSets[key] = nil
        expiries[key] = nil
        return isThere
    }

    mutating func expire(_ key: String, atMs: Int64) { expiries[key] = atMs }

    /// Takes away what has had its time.
    mutating func expire(nowMs: Int64) {
        for key in expiries.elements.filter({ $0.value <= nowMs }).map(\.key) { delete(key) }
    }

    @discardableResult
    mutating func append(_ key: String, _ fields: [String], nowMs: Int64) -> RedisStream.ID {
        var stream = streams[key] ?? RedisStream()
        let id = stream.add(fields, nowMs: nowMs)
        streams[key] = stream
        return id
    }

    // MARK: Commands

    /// - Precondition: a command that is modelled.
    package mutating func execute(_ words: [String], nowMs: Int64) -> RedisValue {
        expire(nowMs: nowMs)
        let key = words.count > 1 ? words[1] : ""
        switch words[0] {
        case "GET": return strings[key].map { .text($0) } ?? .null
        case "SET": return setString(words, nowMs)
        case "DEL": return .integer(words.dropFirst().reduce(0) { $0 + (delete($1) ? 1 : 0) })
        case "HSET":
            let isNew = field(key, words[2]) == nil
            set(key, words[2], words[3])
            return .integer(isNew ? 1 : 0)
        case "HDEL": return .integer(delete(key, words[2]) ? 1 : 0)
        case "HMGET":
            return .array(words.dropFirst(2).map { .of(field(key, $0)) })
        case "HGETALL":
            return .array(
                (hashes[key]?.elements ?? []).flatMap { [.text($0.key), .text($0.value)] })
        case "XLEN": return .integer(Int64(streams[key]?.entries.count ?? 0))
        case "XADD":
            precondition(words[2] == "*", "ids are the server's")
            return .text(append(key, Array(words[3...]), nowMs: nowMs).description)
        case "XRANGE": return range(words)
        case "XINFO": return groups(words[2])
        case "XGROUP": return makeGroup(words)
        case "XREADGROUP": return read(words, nowMs)
        case "XAUTOCLAIM": return claim(words, nowMs)
        case "XACK":
            let count = words.dropFirst(3).compactMap { RedisStream.ID($0) }.count {
                streams[key]?.acknowledge(words[2], $0) ?? false
            }
            return .integer(Int64(count))
        case "XPENDING": return pending(words, nowMs)
        default: preconditionFailure("not modelled: \(words)")
        }
    }

    /// `SET key value [NX] [PX ms]`.
    private mutating func setString(_ words: [String], _ nowMs: Int64) -> RedisValue {
        if words.contains("NX"), strings[words[1]] != nil { return .null }
        delete(words[1])
        strings[words[1]] = words[2]
        if let place = words.firstIndex(of: "PX"), let ms = Int64(words[place + 1]) {
            expire(words[1], atMs: nowMs + ms)
        }
        return .text("OK")
    }

    /// `XRANGE key from to [COUNT n]`.
    private func range(_ words: [String]) -> RedisValue {
        let isAfter = words[2].hasPrefix("(")
        guard let from = RedisStream.ID(words[2].drop { $0 == "(" }),
            let to = RedisStream.ID(words[3])
        else { return .error("ERR Invalid stream ID specified as stream command argument") }
        let count = words.count > 5 ? Int(words[5]) ?? 0 : .max
        let found =
            streams[words[1]]?.range(from: from, isAfter: isAfter, to: to, count: count) ?? []
        return .array(found.map(RedisValue.of))
    }

    private func groups(_ key: String) -> RedisValue {
        guard let stream = streams[key] else { return .error("ERR no such key") }
        return .array(
            stream.groups.elements.map { element in
                .array([
                    .text("name"), .text(element.key),
                    .text("pending"), .integer(Int64(element.value.pending.count)),
                    .text("last-delivered-id"), .text(element.value.lastDelivered.description),
                ])
            })
    }

    /// `XGROUP CREATE key group id MKSTREAM`.
    private mutating func makeGroup(_ words: [String]) -> RedisValue {
        var stream = streams[words[2]] ?? RedisStream()
        guard stream.groups[words[3]] == nil else {
            return .error("BUSYGROUP Consumer Group name already exists")
        }
        guard let id = words[4] == "$" ? stream.lastID : RedisStream.ID(words[4]) else {
            return .error("ERR Invalid stream ID specified as stream command argument")
        }
        stream.groups[words[3]] = RedisStream.Group(lastDelivered: id)
        streams[words[2]] = stream
        return .text("OK")
    }

    private static let noGroup = RedisValue.error("NOGROUP No such key or consumer group")

    /// `XREADGROUP GROUP group consumer COUNT n STREAMS key >`.
    private mutating func read(_ words: [String], _ nowMs: Int64) -> RedisValue {
        let key = words[7]
        guard streams[key]?.groups[words[2]] != nil else { return Self.noGroup }
        let found =
            streams[key]?.read(words[2], words[3], count: Int(words[5]) ?? 0, nowMs: nowMs) ?? []
        guard !found.isEmpty else { return .null }
        return .array([.array([.text(key), .array(found.map(RedisValue.of))])])
    }

    /// `XAUTOCLAIM key group consumer min-idle 0-0 COUNT n`: of the answer only what was claimed.
    private mutating func claim(_ words: [String], _ nowMs: Int64) -> RedisValue {
        guard streams[words[1]]?.groups[words[2]] != nil else { return Self.noGroup }
        let found =
            streams[words[1]]?.claim(
                words[2], words[3], idleMs: Int64(words[4]) ?? 0, count: Int(words[7]) ?? 0,
                nowMs: nowMs) ?? []
        return .array([.text("0-0"), .array(found.map(RedisValue.of))])
    }

    /// `XPENDING key group IDLE ms from to count`.
    private func pending(_ words: [String], _ nowMs: Int64) -> RedisValue {
        guard let group = streams[words[1]]?.groups[words[2]] else { return Self.noGroup }
        let isAfter = words[5].hasPrefix("(")
        guard let from = RedisStream.ID(words[5].drop { $0 == "(" }),
            let to = RedisStream.ID(words[6]), let idleMs = Int64(words[4])
        else { return .error("ERR Invalid stream ID specified as stream command argument") }
        let found = group.pending.elements.filter { element in
            (isAfter ? element.key > from : element.key >= from) && element.key <= to
                && nowMs - element.value.deliveredMs >= idleMs
        }
        return .array(
            found.prefix(Int(words[7]) ?? 0).map { element in
                .array([
                    .text(element.key.description), .text(element.value.consumer),
                    .integer(nowMs - element.value.deliveredMs),
                    .integer(Int64(element.value.deliveries)),
                ])
            })
    }
}

extension RedisValue {
    static func of(_ text: String?) -> RedisValue { text.map { .text($0) } ?? .null }

    static func of(_ entry: RedisStream.Entry) -> RedisValue {
        .array([.text(entry.id.description), .array(entry.fields.map { .text($0) })])
    }
}
