import ArgumentParser
import EdgeJournal
import EdgeLedger
import EdgeReconciler
import EdgeServer
import EdgeStores
import EdgeTypes
import Foundation

/// Compares a journal with its store, to the fen.
struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Compare journal and store, to the fen.",
        discussion: """
            With --data, the files of a node that does not run; otherwise a running node is asked.
            """)

    @Option(help: "The data directory of a stopped node; of a cluster that has one store: all.")
    var data: [String] = []
    @Option(help: "Their store, where that is not in the first's data directory (sqlite:PATH).")
    var store: String?
    @Option(
        help: "The Redis behind the store, to be compared too (redis://…); or DOWNPOUR_REDIS_URL.")
    var redis: String?
    @OptionGroup var options: AdminOptions

    func run() async throws {
        let isClean: Bool
        if let first = data.first {
            isClean = try offline(first)
        } else {
            let answer = try await options.client.require(
                "POST", "/v1/audit", timeoutSeconds: 600)
            isClean = answer.integer("clean") == 1
            if options.json { Console.say(answer.text) } else { print(answer) }
        }
        if !isClean { throw Exit.failed }
    }

    /// The journal in a directory, whichever node's it is.
    private static func open(_ path: String) throws -> JournalDirectory {
        var configuration = JournalConfiguration()
        configuration.isReplicated = SoleRecords.exist(in: path)
        do throws(JournalError) {
            return try JournalDirectory(
                path: path, identity: JournalIdentity(cluster: 0, node: 0),
                configuration: configuration)
        } catch .foreign(_, _, let found) {
            return try JournalDirectory(
                path: path, identity: found, configuration: configuration)
        }
    }

    private func offline(_ first: String) throws -> Bool {
        let redis = redis ?? ProcessInfo.processInfo.environment["DOWNPOUR_REDIS_URL"]
        let report = try Self.audit(first, data.dropFirst(), store: store, redis: redis)
        if options.json {
            Console.say(JSONText.of(AuditJSON.of(report)))
        } else {
            Console.say(report.description)
        }
        return report.isClean
    }

    /// Compares journals of nodes that do not run with their store.
    ///
    /// - Parameters:
    ///   - store: nil: in the first node's data directory.
    ///   - redis: nil: it is not compared.
    static func audit(
        _ first: String, _ others: some Sequence<String>, store: String?, redis: String? = nil
    ) throws -> AuditReport {
        do {
            let data = [first] + others
            for path in data where !FileManager.default.fileExists(atPath: path + "/journal") {
                Console.note("downpour audit: no journal in \(path)")
                throw Exit.badInput
            }
            let store =
                try store.map { text throws(StoreError) in try StoreURL(text) }
                ?? .sqlite(path: first + "/store.sqlite")
            let directories = try data.map(Self.open)
            let mirror = try redis.map { try RedisAddress($0) }
            var report = try StoreAudit.run(
                store: store, sources: try sources(directories, store: store))
            if let mirror { report.merge(try MirrorAudit.run(store: store, redis: mirror)) }
            return report
        } catch let error as JournalError {
            Console.note("downpour audit: \(error)")
            throw Exit.failed
        } catch let error as StoreError {
            Console.note("downpour audit: \(error)")
            throw Exit.failed
        } catch let error as RedisError {
            Console.note("downpour audit: \(error)")
            throw Exit.failed
        } catch let error as SourceError {
            Console.note("downpour audit: \(error)")
            throw Exit.failed
        }
    }

    /// Every lane; where shards have replicas, what was committed of all of them.
    private static func sources(
        _ directories: [JournalDirectory], store: StoreURL
    ) throws -> [any EntrySource] {
        guard directories.contains(where: \.configuration.isReplicated) else {
            return try directories.flatMap(JournalSource.all)
        }
        let marks = try StoreAudit.watermarks(store: store)
        return [try ReplicatedJournals(directories, marks: marks)]
    }

    private func print(_ answer: AdminClient.Answer) {
        for finding in answer["findings"] as? [String] ?? [] { Console.say(finding) }
        let verdict = answer.integer("clean") == 1 ? "clean" : "NOT CLEAN"
        Console.say(
            "\(verdict): \(answer.integer("claims") ?? 0) claims of "
                + "\(answer.integer("claimsFen") ?? 0) fen, \(answer.integer("orders") ?? 0) "
                + "orders, \(answer.integer("entries") ?? 0) entries compared")
    }
}
