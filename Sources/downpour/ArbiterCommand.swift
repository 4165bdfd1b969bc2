import ArgumentParser
import EdgeReconciler
import EdgeStores
import Foundation

/// The server that decides who holds which shard.
struct ArbiterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "arbiter", abstract: "The server that decides who holds which shard.",
        discussion: "The server is that of DOWNPOUR_STORE_URL, or of DOWNPOUR_STORE_URL_FILE.",
        subcommands: [Status.self, Accept.self])

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Which server answers, and whether it is the accepted one.",
            discussion: "Exit code 0: it is, and every node has told it what it knows; 1: not yet.")

        @Flag(help: "Print one JSON document.") var json = false

        func run() async throws {
            let standing = try ArbiterCommand.ask { try $0.standing() }
            if json {
                Console.say(try ArbiterCommand.json(standing))
            } else {
                Console.say("accepted  \(standing.accepted)")
                Console.say("answers   \(standing.found) at \(standing.place)")
                Console.say("revision  \(standing.revision)")
                ArbiterCommand.tell(awaited: standing.awaited)
            }
            guard standing.found == standing.accepted, standing.awaited.isEmpty else {
                throw Exit.failed
            }
        }
    }

    struct Accept: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take the server that answers now for the arbiter from now on.",
            discussion: """
                After the database has moved to another server: a replica that took over, a restored
                backup. Such a copy may lack the last decisions. Make sure first that the server
                before answers nobody any more and will not come back with its tables, and that this
                is the most recent copy there is. Then every node brings back what it knows, and
                nothing is decided until all have. Name those that will not come back with
                --without: what only they knew is lost.
                """)

        @Option(help: "A node that will not come back. May be repeated.") var without: [String] = []
        @Option(help: "Only this server: as `status` shows what answers.") var expect: String?

        func run() async throws {
            if let expect {
                let found = try ArbiterCommand.ask { try $0.standing() }.found
                guard found == expect else {
                    Console.note("downpour cluster arbiter: \(found) answers, not \(expect)")
                    throw Exit.failed
                }
            }
            let without = without
            let answer = try ArbiterCommand.ask { try $0.accept(without: without) }
            Console.say("before  \(answer.before.text)")
            Console.say("now     \(answer.now.text)")
            ArbiterCommand.tell(awaited: answer.awaited)
        }
    }

    private static func tell(awaited: [String]) {
        guard !awaited.isEmpty else { return }
        Console.say("awaited   \(awaited.joined(separator: " "))")
    }

    private static func json(_ standing: ArbiterStanding) throws -> String {
        let body: [String: Any] = [
            "accepted": standing.accepted, "answers": standing.found, "place": standing.place,
            "revision": standing.revision, "awaited": standing.awaited,
        ]
        let data = try JSONSerialization.data(withJSONObject: body, options: [.sortedKeys])
        return String(decoding: data, as: UTF8.self)
    }

    private static func ask<T>(_ question: (MySQLArbiter) throws -> T) throws -> T {
        do {
            let url = try url()
            guard MySQLAddress.isMeant(by: url) else {
                Console.note("downpour cluster arbiter: a file is the arbiter that it always was")
                throw Exit.configuration
            }
            let arbiter = try MySQLArbiter(MySQLAddress(url), mustBeAccepted: false)
            defer { arbiter.close() }
            return try question(arbiter)
        } catch let error as StoreError {
            Console.note("downpour cluster arbiter: \(error)")
            switch error {
            case .unreachable, .unknownOutcome: throw Exit.unreachable
            case .denied: throw Exit.refused
            case .badURL: throw Exit.configuration
            case .locked: throw Exit.tryLater
            default: throw Exit.failed
            }
        }
    }

    private static func url() throws -> String {
        let environment = ProcessInfo.processInfo.environment
        if let url = environment["DOWNPOUR_STORE_URL"], !url.isEmpty { return url }
        guard let path = environment["DOWNPOUR_STORE_URL_FILE"] else {
            Console.note("downpour cluster arbiter: DOWNPOUR_STORE_URL says where the store is")
            throw Exit.configuration
        }
        do {
            return try String(contentsOfFile: path, encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
        } catch {
            Console.note("downpour cluster arbiter: DOWNPOUR_STORE_URL_FILE: cannot read \(path)")
            throw Exit.configuration
        }
    }
}
