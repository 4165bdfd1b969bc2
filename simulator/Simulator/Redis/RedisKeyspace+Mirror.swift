import EdgeReconciler
import EdgeTypes

/// What each script does, said again: without interruption, to one keyspace.
extension RedisKeyspace {
    /// - Returns: what Redis answers.
    package mutating func run(
        _ script: RedisScript, _ arguments: [String], nowMs: Int64
    ) -> RedisValue {
        expire(nowMs: nowMs)
        var arguments = ScriptArguments(arguments)
        defer { precondition(arguments.isAtEnd, "the script takes all of its arguments") }
        switch script {
        case .mirror: return mirror(&arguments)
        case .publish: return publish(&arguments, nowMs)
        case .trim: return trim(&arguments)
        case .bury: return bury(&arguments, nowMs)
        case .revive: return revive(&arguments, nowMs)
        case .invalidate: return invalidate(&arguments, nowMs)
        }
    }

    /// Where a shard is, apart from its time.
    struct Version: Comparable {
        var epoch: UInt64
        var sequence: UInt64

        init(epoch: UInt64, sequence: UInt64) {
            self.epoch = epoch
            self.sequence = sequence
        }

        /// - Parameter mark: `epoch-sequence`.
        init(_ mark: String) {
            let parts = mark.split(separator: "-").map { UInt64($0) ?? 0 }
            precondition(parts.count == 2, "a mark has two parts")
            self.init(epoch: parts[0], sequence: parts[1])
        }

        static func < (one: Version, other: Version) -> Bool {
            (one.epoch, one.sequence) < (other.epoch, other.sequence)
        }
    }

    static func isRain(_ key: String) -> Bool { key.hasPrefix("downpour:rain:") }

    static func fields(_ key: String) -> [String] {
        isRain(key)
            ? ["granted", "granted_fen", "quarantined", "retired"]
            : ["pending", "sold", "quarantined", "retired"]
    }

    static func parts(_ key: String) -> String {
        "downpour:parts:" + key.dropFirst("downpour:".count)
    }

    // MARK: Totals

    private mutating func mirror(_ arguments: inout ScriptArguments) -> RedisValue {
        var work = MirrorWork()
        for _ in 0..<arguments.count() { pool(&arguments, &work) }
        for _ in 0..<arguments.count() { shard(&arguments, &work) }
        for key in work.touched { total(key) }
        if work.isDamaged, mutant != .damageForgotten { delete(RedisKeys.marks) }
        return .array([
            .array(work.lagging.map { .text($0) }), .integer(work.isDamaged ? 1 : 0),
        ])
    }

    private struct MirrorWork {
        var touched: [String] = []
        var lagging: [String] = []
        var isDamaged = false

        mutating func touch(_ key: String) { if !touched.contains(key) { touched.append(key) } }
    }

    /// Terms by their version; what was funded only grows; an end is for good.
    private mutating func pool(_ arguments: inout ScriptArguments, _ work: inout MirrorWork) {
        let key = arguments.text()
        let (units, amount, slices) = (arguments.text(), arguments.text(), arguments.text())
        let version = arguments.text()
        let terms = ["opens", "closes", "limit", "paused", "closing"].map {
            ($0, arguments.text())
        }
        let (created, closed, closedAt) = (arguments.text(), arguments.text(), arguments.text())
        let funded = arguments.text()
        let total = Self.isRain(key) ? "count" : "units"
        work.touch(key)
        if field(key, "slices") == nil {
            let wasHere = delete(Self.parts(key)) || field(RedisKeys.pools, key) != nil
            if wasHere, mutant != .damageForgotten { work.isDamaged = true }
            set(key, Self.isRain(key) ? "amount" : "price", amount)
            set(key, total, units)
            set(key, "slices", slices)
            for name in ["parts", "created_at", "closed", "closed_at"] { set(key, name, "0") }
            for name in Self.fields(key) { add(key, name, 0) }
        }
        set(RedisKeys.pools, key, "1")
        if field(key, "version").map({ Self.number($0) < Self.number(version) }) ?? true {
            set(key, "version", version)
            for (name, value) in terms { set(key, name, value) }
        }
        if created != "0" { set(key, "created_at", created) }
        if closed == "1" {
            set(key, "closed", "1")
            set(key, "closed_at", closedAt)
        }
        if Self.number(funded) > Self.number(field(key, total) ?? "0") { set(key, total, funded) }
    }

    static func number(_ text: String) -> Int64 {
        guard let number = Int64(text) else { preconditionFailure("not a number: \(text)") }
        return number
    }

    /// A run is taken only where the shard's mark is not before its beginning.
    private mutating func shard(_ arguments: inout ScriptArguments, _ work: inout MirrorWork) {
        let (number, from) = (arguments.text(), arguments.text())
        let version = Version(epoch: UInt64(arguments.count()), sequence: UInt64(arguments.count()))
        let mark = arguments.text()
        let rows = arguments.count()
        let known = Version(field(RedisKeys.marks, number) ?? "0-0")
        var applies = true
        if from != "*", Version(from) > known, mutant != .scriptGapTaken {
            applies = false
            work.lagging.append(number)
        }
        for _ in 0..<rows { slice(&arguments, version, applies, &work) }
        if applies, mark != "", Version(mark) > known { set(RedisKeys.marks, number, mark) }
    }

    /// A part is replaced only by a later one; totals move by the difference.
    private mutating func slice(
        _ arguments: inout ScriptArguments, _ version: Version, _ applies: Bool,
        _ work: inout MirrorWork
    ) {
        let (key, number) = (arguments.text(), arguments.text())
        let new = (0..<4).map { _ in arguments.text() }
        guard applies else { return }
        let parts = Self.parts(key)
        let known = field(parts, number)
        if !work.touched.contains(key) || known == nil {
            let count = hashes[parts]?.count ?? 0
            guard let told = field(key, "parts"), Int(told) == count else {
                delete(key)
                delete(parts)
                _ = delete(RedisKeys.pools, key)
                work.isDamaged = true
                return
            }
        }
        var old = ["0", "0", "0", "0"]
        if let known {
            let words = known.split(separator: " ").map(String.init)
            let last = Version(
                epoch: UInt64(Self.number(words[0])), sequence: UInt64(Self.number(words[1])))
            guard version > last || mutant == .scriptVersionIgnored else { return }
            old = Array(words[2...])
        }
        work.touch(key)
        for (index, name) in Self.fields(key).enumerated() where old[index] != new[index] {
            add(key, name, Self.number(new[index]) - Self.number(old[index]))
        }
        if known == nil { add(key, "parts", 1) }
        set(
            parts, number,
            "\(version.epoch) \(version.sequence) " + new.joined(separator: " "))
    }

    /// What follows from a pool's other fields.
    private mutating func total(_ key: String) {
        let isRain = Self.isRain(key)
        guard let funded = field(key, isRain ? "count" : "units") else { return }
        let taken = (isRain ? ["granted"] : ["pending", "sold"]) + ["quarantined", "retired"]
        let left = taken.reduce(Self.number(funded)) { $0 - Self.number(field(key, $1) ?? "0") }
        set(key, isRain ? "remaining" : "available", String(left))
        let state =
            field(key, "closed") == "1"
            ? "closed"
            : field(key, "closing") == "1"
                ? "closing" : field(key, "paused") == "1" ? "paused" : "open"
        set(key, "state", state)
    }
}

/// A script's arguments, one after the other.
struct ScriptArguments {
    private let words: [String]
    private var position = 0

    init(_ words: [String]) { self.words = words }

    var isAtEnd: Bool { position == words.count }

    mutating func rest() -> [String] {
        defer { position = words.count }
        return Array(words[position...])
    }

    mutating func text() -> String {
        defer { position += 1 }
        return words[position]
    }

    mutating func count() -> Int {
        let word = text()
        guard let number = Int(word) else { preconditionFailure("not a number: \(word)") }
        return number
    }
}
