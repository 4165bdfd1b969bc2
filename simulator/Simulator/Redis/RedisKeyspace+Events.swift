import EdgeReconciler
import EdgeTypes

/// Events, dead letters, and what caches are told.
extension RedisKeyspace {
    /// Each event after the shard's mark is added, in order, and moves it.
    mutating func publish(_ arguments: inout ScriptArguments, _ nowMs: Int64) -> RedisValue {
        let limit = arguments.count()
        var (added, isFull) = (0, false)
        var lagging: [String] = []
        for _ in 0..<arguments.count() {
            let (shard, from, to) = (arguments.text(), arguments.count(), arguments.count())
            let count = arguments.count()
            var mark = Int(field(RedisKeys.published, shard) ?? "0") ?? 0
            var isOpen = mark >= from
            for _ in 0..<count {
                let (sequence, id, event) = (arguments.count(), arguments.text(), arguments.text())
                guard isOpen, sequence > mark || mutant == .publishedTwice else { continue }
                if events.entries.count >= limit {
                    isFull = true
                    isOpen = mutant == .publishedOverLimit
                } else {
                    append(RedisKeys.events, ["id", id, "event", event], nowMs: nowMs)
                    added += 1
                    mark = sequence
                }
            }
            if !isOpen { lagging.append(shard) }
            let reached = isOpen ? to : mark
            if reached > Int(field(RedisKeys.published, shard) ?? "0") ?? 0 {
                set(RedisKeys.published, shard, String(reached))
            }
        }
        return .array([
            .integer(Int64(added)), .integer(isFull ? 1 : 0), .array(lagging.map { .text($0) }),
        ])
    }

    /// What comes before the first entry that some group has not acknowledged goes.
    mutating func trim(_ arguments: inout ScriptArguments) -> RedisValue {
        let limit = arguments.count()
        let stream = events
        let stays = stream.groups.elements.map { element in
            let group = element.value
            let isForgotten = mutant == .trimmedUnacknowledged
            return (isForgotten ? nil : group.pending.first?.key) ?? group.lastDelivered.next
        }
        guard let least = stays.min() else { return .integer(0) }
        let gone = stream.entries.prefix { $0.id < least }.prefix(limit)
        guard let last = gone.last else { return .integer(0) }
        for entry in gone {
            let parts = (entry["id"] ?? "").split(separator: "-").map(String.init)
            guard parts.count == 2, let sequence = Int(parts[1]) else { continue }
            if entry["replayed-for"] != nil { keep(entry["id"] ?? "", -1) }
            if sequence > Int(field(RedisKeys.trimmed, parts[0]) ?? "0") ?? 0 {
                set(RedisKeys.trimmed, parts[0], String(sequence))
            }
        }
        streams[RedisKeys.events]?.trim(before: last.id.next)
        return .integer(Int64(gone.count))
    }

    /// An event becomes a dead letter, or one that had become one leaves the stream again.
    private mutating func keep(_ id: String, _ change: Int) {
        guard mutant != .deadNotKept else { return }
        let known = field(RedisKeys.kept, id).flatMap(Int.init)
        guard known != nil || change > 0 else { return }
        let count = (known ?? 0) + change
        if count > 0 {
            set(RedisKeys.kept, id, String(count))
        } else {
            _ = delete(RedisKeys.kept, id)
        }
    }

    /// A dead letter for each that is due still, in the place of what was pending.
    mutating func bury(_ arguments: inout ScriptArguments, _ nowMs: Int64) -> RedisValue {
        let (group, limit, most) = (arguments.text(), arguments.count(), arguments.count())
        let (firstMs, longestMs) = (arguments.count(), arguments.count())
        var rules = RetryRules()
        rules.deliveries = most
        rules.firstMs = firstMs
        rules.longestMs = longestMs
        let room = limit - dead.entries.count
        var moved = 0
        for text in arguments.rest() where moved < room {
            guard let id = RedisStream.ID(text),
                let pending = events.groups[group]?.pending[id]
                    ?? (mutant == .buriedUnasked
                        ? .init(consumer: "", deliveredMs: 0, deliveries: most) : nil),
                rules.isDead(
                    deliveries: pending.deliveries, idleMs: nowMs - pending.deliveredMs)
            else { continue }
            if let entry = events.entry(id) {
                let name = group + ":" + (entry["id"] ?? text)
                let reason = field(RedisKeys.reasons, name) ?? ""
                append(
                    RedisKeys.dead,
                    [
                        "id", entry["id"] ?? text, "event", entry["event"] ?? "", "group", group,
                        "deliveries", String(pending.deliveries), "reason", reason, "time",
                        String(nowMs),
                    ], nowMs: nowMs)
                keep(entry["id"] ?? text, 1)
                _ = delete(RedisKeys.reasons, name)
                moved += 1
            }
            _ = streams[RedisKeys.events]?.acknowledge(group, id)
        }
        return .integer(Int64(moved))
    }

    /// Dead letters become entries of the stream again, under the ids that their events have.
    mutating func revive(_ arguments: inout ScriptArguments, _ nowMs: Int64) -> RedisValue {
        var replayed = 0
        for text in arguments.rest() {
            guard let id = RedisStream.ID(text), let letter = dead.entry(id) else { continue }
            let name = mutant == .replayIdentity ? text : letter["id"] ?? ""
            append(
                RedisKeys.events,
                [
                    "id", name, "event", letter["event"] ?? "", "replayed-for",
                    letter["group"] ?? "",
                ], nowMs: nowMs)
            _ = streams[RedisKeys.dead]?.remove(id)
            replayed += 1
        }
        return .integer(Int64(replayed))
    }

    // MARK: Caches

    mutating func invalidate(_ arguments: inout ScriptArguments, _ nowMs: Int64) -> RedisValue {
        // The stream's limit is approximate: it is not modelled.
        _ = arguments.text()
        let rememberedMs = Int64(arguments.count())
        let caches = (0..<arguments.count()).map { _ in (arguments.text(), arguments.text()) }
        if arguments.text() == "2" {
            let due = (sortedSets[RedisKeys.delayed]?.elements ?? [])
                .filter { $0.value <= nowMs }
                .sorted { ($0.value, $0.key) < ($1.value, $1.key) }.prefix(arguments.count())
            for key in due.map(\.key) {
                let known = hashes[RedisKeys.invalidated + key]?.elements ?? []
                let versions = known.map { "\($0.key):\($0.value)" }
                tell(key, versions, "2", caches, nowMs)
                var left = sortedSets[RedisKeys.delayed]
                left?[key] = nil
                sortedSets[RedisKeys.delayed] = left?.isEmpty == true ? nil : left
            }
            return .integer(Int64(due.count))
        }
        let delayMs = Int64(arguments.count())
        let count = arguments.count()
        for _ in 0..<count {
            let key = arguments.text()
            var versions: [String] = []
            for _ in 0..<arguments.count() {
                let (shard, version) = (
                    arguments.text(), arguments.text() + "-" + arguments.text()
                )
                versions.append("\(shard):\(version)")
                raise(RedisKeys.invalidated + key, shard, version)
                if key.hasPrefix("shard:") { raise(RedisKeys.floors, shard, version) }
            }
            expire(RedisKeys.invalidated + key, atMs: nowMs + rememberedMs)
            tell(key, versions, "1", caches, nowMs)
            var waiting = sortedSets[RedisKeys.delayed] ?? SortedTable()
            waiting[key] = max(waiting[key] ?? .min, nowMs + delayMs)
            sortedSets[RedisKeys.delayed] = waiting
        }
        return .integer(Int64(count))
    }

    private mutating func raise(_ key: String, _ shard: String, _ version: String) {
        if Version(version) > Version(field(key, shard) ?? "0-0") { set(key, shard, version) }
    }

    private mutating func tell(
        _ key: String, _ versions: [String], _ phase: String, _ caches: [(String, String)],
        _ nowMs: Int64
    ) {
        append(
            RedisKeys.invalidations,
            [
                "key", key, "version", versions.joined(separator: " "), "phase", phase, "time",
                String(nowMs),
            ], nowMs: nowMs)
        guard let colon = key.firstIndex(of: ":") else { return }
        let (kind, name) = (key[..<colon], String(key[key.index(after: colon)...]))
        for (cached, pattern) in caches where cached == kind {
            delete(
                pattern.split(separator: "{id}", omittingEmptySubsequences: false)
                    .joined(separator: name))
        }
    }
}
