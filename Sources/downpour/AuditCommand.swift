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
            With --data, the files of nodes, which may go on meanwhile: directories here, or the admin \
            APIs of nodes elsewhere (http://HOST:7603, DOWNPOUR_ADMIN_TOKEN), whose journals are \
            copied for it. Otherwise a node is asked about its own.
            """)

    @Option(
        help:
            "The data directory of a node, or its admin API; of a cluster that has one store: all.")
    var data: [String] = []
    @Option(help: "Their store, where that is not in the first's data directory.")
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

    /// Compares nodes' journals with their store, and with Redis; the nodes may go on meanwhile.
    ///
    /// - Parameters:
    ///   - store: nil: in the first node's data directory.
    ///   - redis: nil: it is not compared.
    static func audit(
        _ first: String, _ others: some Sequence<String>, store: String?, redis: String? = nil
    ) throws -> AuditReport {
        do {
            let data = try ([first] + others).map(Journal.init)
            guard store != nil || data[0].remote == nil else {
                Console.note(
                    "downpour audit: --store is needed where the first --data is elsewhere")
                throw ExitCode(64)
            }
            let store =
                try store.map { text throws(StoreError) in try StoreURL(text) }
                ?? .sqlite(path: first + "/store.sqlite")
            let mirror = try redis.map { try RedisAddress($0) }
            var report = try compare(data, store)
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

    /// A node's journal: here, or copied from elsewhere once the store's watermarks are known.
    private struct Journal {
        let path: String
        let remote: RemoteJournal?

        init(_ text: String) throws {
            remote = RemoteJournal.isURL(text) ? try RemoteJournal(text) : nil
            path = remote?.path ?? text
            if remote == nil, !FileManager.default.fileExists(atPath: path + "/journal") {
                Console.note("downpour audit: no journal in \(path)")
                throw Exit.badInput
            }
        }
    }

    /// Tries again where a running node has removed or compressed a segment meanwhile.
    private static func compare(_ data: [Journal], _ store: StoreURL) throws -> AuditReport {
        for _ in 0..<2 {
            do {
                return try StoreAudit.run(store: store) { marks in try sources(data, marks) }
            } catch let error as JournalError {
                guard case .damaged = error else { throw error }
            } catch let error as SourceError {
                guard case .damaged = error else { throw error }
            }
        }
        return try StoreAudit.run(store: store) { marks in try sources(data, marks) }
    }

    /// Every lane; where shards have replicas, what was committed of all of them.
    private static func sources(
        _ data: [Journal], _ marks: WatermarkTable
    ) throws -> [any EntrySource] {
        for journal in data { try journal.remote?.copy() }
        let directories = try data.map { journal throws(JournalError) in
            try JournalDirectory(reading: journal.path)
        }
        guard directories.contains(where: \.configuration.isReplicated) else {
            return try directories.flatMap(JournalSource.all)
        }
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
