import ArgumentParser
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation

/// Events that consumers could not take.
struct OutboxCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "outbox", abstract: "Events that consumers could not take: dead letters.",
        discussion: """
            DOWNPOUR_REDIS_URL (or DOWNPOUR_REDIS_URL_FILE) says which Redis: the nodes' own.
            """,
        subcommands: [List.self, Replay.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show dead letters, oldest first, with the reason that a consumer has left.")
        @Flag(help: "Print one JSON document, with the events.") var json = false

        func run() throws {
            let letters = try OutboxCommand.connected { connection in
                try DeadLetters.list(connection)
            }
            if json { return Console.say(Self.json(letters)) }
            for letter in letters {
                let reason = letter.reason.isEmpty ? "no reason given" : letter.reason
                Console.say(
                    "\(letter.id) of \(letter.group), \(letter.deliveries) deliveries, "
                        + "\(Self.time(letter.timeMs)): \(Self.shown(reason))")
            }
            Console.note("\(letters.count) dead letters")
        }

        private static func time(_ ms: UnixMs) -> String {
            Date(timeIntervalSince1970: Double(ms) / 1_000).ISO8601Format()
        }

        /// On one line, whatever a consumer has left.
        private static func shown(_ text: String) -> String {
            String(
                text.unicodeScalars.map {
                    $0.properties.isWhitespace || $0.value < 0x20 || $0.value == 0x7f
                        ? " " : Character($0)
                })
        }

        private static func json(_ letters: [DeadLetter]) -> String {
            let rows: [[String: Any]] = letters.map { letter in
                let event = try? JSONSerialization.jsonObject(with: Data(letter.event.utf8))
                return [
                    "id": letter.id, "group": letter.group, "deliveries": letter.deliveries,
                    "reason": letter.reason, "time": letter.timeMs,
                    "event": event ?? letter.event,
                ]
            }
            let data = try? JSONSerialization.data(
                withJSONObject: ["letters": rows], options: [.sortedKeys, .withoutEscapingSlashes])
            return data.map { String(decoding: $0, as: UTF8.self) } ?? "{}"
        }
    }

    struct Replay: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put dead letters back into the stream, under the same event ids.",
            discussion: """
                All groups see the event again; those that had it tell so by its id. What is no \
                longer dead is left alone.
                """)
        @Argument(help: "Ids of events, as list shows them.") var ids: [String] = []
        @Flag(help: "All of them.") var all = false
        @Option(help: "Only what this group could not take.") var group: String?

        func validate() throws {
            guard ids.isEmpty == all else {
                throw ValidationError("name events by their ids, or --all")
            }
        }

        func run() throws {
            let (found, replayed) = try OutboxCommand.connected { connection in
                let found = try DeadLetters.list(connection).filter { letter in
                    (all || ids.contains(letter.id)) && (group.map { letter.group == $0 } ?? true)
                }
                return (found, try DeadLetters.replay(connection, found))
            }
            for id in ids where !found.contains(where: { $0.id == id }) {
                Console.note("\(id) is no dead letter")
            }
            Console.say("\(replayed) replayed")
        }
    }

    private static func connected<T>(_ body: (RedisConnection) throws -> T) throws -> T {
        do {
            return try body(RedisConnection(try address(), name: "downpour-outbox"))
        } catch let error as RedisError {
            Console.note("downpour outbox: \(error)")
            switch error {
            case .badURL, .unsupported: throw Exit.configuration
            case .denied: throw Exit.refused
            case .notReady, .outOfMemory: throw Exit.tryLater
            case .unreachable, .malformed: throw Exit.unreachable
            case .refused: throw Exit.failed
            }
        }
    }

    private static func address() throws -> RedisAddress {
        let address: RedisAddress?
        do {
            address = try NodeSettings(
                flags: [:], environment: ProcessInfo.processInfo.environment, file: nil
            ).redisAddress()
        } catch let error as SettingError {
            Console.note("downpour outbox: \(error)")
            throw Exit.configuration
        }
        guard let address else {
            Console.note("downpour outbox: DOWNPOUR_REDIS_URL is not set")
            throw Exit.configuration
        }
        return address
    }
}
