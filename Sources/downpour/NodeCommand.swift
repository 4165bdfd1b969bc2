import ArgumentParser
import EdgeServer
import Foundation

/// Runs one node until SIGTERM.
struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "Run one node.",
        discussion: """
            Every option can also be given as DOWNPOUR_… in the environment (--ready-file as \
            DOWNPOUR_READY_FILE) or in the file that --config names; a flag comes before the \
            environment, and that before the file. Secrets come from the environment only: \
            DOWNPOUR_TOKEN_KEY, DOWNPOUR_RESP_USERS, DOWNPOUR_ADMIN_TOKEN, \
            DOWNPOUR_ADMIN_READ_TOKEN, DOWNPOUR_STORE_URL, DOWNPOUR_REDIS_URL, or as …_FILE.
            """)

    @Option(help: "The node's name.") var name: String?
    @Option(help: "Where journal, snapshots and the embedded store are.") var data: String?
    @Option(help: "Event loops, each with its own shards.") var cores: String?
    @Option(help: "Shards, a power of two; fixed when the data directory is made.")
    var shards: String?
    @Option(help: "HOST:PORT for HTTP/1.1 (127.0.0.1:7600).") var http: String?
    @Option(help: "HOST:PORT for RESP (127.0.0.1:7601).") var resp: String?
    @Option(help: "HOST:PORT for the other nodes; a node on its own does not listen there.")
    var bus: String?
    @Option(help: "HOST:PORT for operators (127.0.0.1:7603).") var admin: String?
    @Option(help: "The host that others reach this node by.") var advertise: String?
    @Option(help: "Nodes to join.") var join: String?
    @Option(help: "A topology file.") var topology: String?
    @Option(help: "What pools get that do not say: memory or journal.") var durability: String?
    @Option(help: "Certificate chain of the client listeners (PEM); read again on SIGHUP.")
    var tlsCert: String?
    @Option(help: "Its private key (PEM).") var tlsKey: String?
    @Option(help: "How long SIGTERM keeps serving while /readyz says 503 (10s).")
    var drain: String?
    @Option(help: "Proxies whose X-Forwarded-For is believed.") var trustedProxies: String?
    @Option(help: "trace, debug, info, notice, warning, error or critical.") var logLevel: String?
    @Option(help: "json or text.") var logFormat: String?
    @Option(help: "Written once the node serves: a JSON object with its addresses.")
    var readyFile: String?
    @Option(help: "Size of a journal segment in bytes.") var segmentBytes: String?
    @Option(help: "Most client connections.") var maxConnections: String?
    @Option(help: "KIND=PATTERN,… of caches in Redis to delete from (stock=cache:stock:{id}).")
    var cacheKeys: String?
    @Option(
        name: .customLong("protocol"),
        help: "Speak and write no newer version between nodes (during an upgrade: the former one).")
    var newestProtocol: String?
    @Option(help: "How long a closed rain stays in memory once the store has it (10m), or off.")
    var archiveAfter: String?
    @Option(
        help:
            "How long a closed SKU's orders stay there after the last change of one (30d), or off.")
    var archiveOrdersAfter: String?
    @Option(help: "Most entries of downpour:events; events beyond wait in the store (1000000).")
    var eventStreamLimit: String?
    @Option(help: "Most dead letters; events beyond stay with their group (100000).")
    var deadLetterLimit: String?
    @Option(help: "Deliveries before an event is a dead letter, up to 16 (3).")
    var eventDeliveries: String?
    @Option(help: "FIRST:LONGEST wait before an event is delivered again, doubled (1s:60s).")
    var eventBackoff: String?
    @Option(help: "From a cache's first invalidation to the second (1s).")
    var invalidationDelay: String?
    @Option(help: "Events beside the usual ones: rain.claimed.") var extraEvents: String?
    @Option(help: "A YAML file of settings.") var config: String?
    @Flag(help: "Listen on any address without secrets, and believe X-User.")
    var insecure = false
    @Flag(help: "Only check the settings.") var checkConfig = false

    func run() async throws {
        let options: NodeOptions
        do {
            options = try NodeSettings(
                flags: flags, environment: ProcessInfo.processInfo.environment, file: config
            ).options()
        } catch let error as SettingError {
            Console.note("downpour node: \(error)")
            throw Exit.configuration
        }
        let problems = options.problems()
        guard problems.isEmpty else {
            for problem in problems { Console.note("downpour node: \(problem)") }
            throw Exit.configuration
        }
        if checkConfig {
            Console.say("the configuration is good")
            return
        }
        do {
            let isClean = try await NodeService.run(options)
            if !isClean { throw Exit.failed }
        } catch let code as ExitCode {
            throw code
        } catch {
            Console.note("downpour node: \(error)")
            throw Exit.configuration
        }
    }

    private var flags: [String: String] {
        let given: [(String, String?)] = [
            ("name", name), ("data", data), ("cores", cores), ("shards", shards),
            ("http", http), ("resp", resp), ("bus", bus), ("admin", admin),
            ("advertise", advertise), ("join", join), ("topology", topology),
            ("durability", durability), ("tls-cert", tlsCert), ("tls-key", tlsKey),
            ("drain", drain), ("trusted-proxies", trustedProxies), ("log-level", logLevel),
            ("log-format", logFormat), ("ready-file", readyFile),
            ("segment-bytes", segmentBytes), ("max-connections", maxConnections),
            ("cache-keys", cacheKeys), ("event-stream-limit", eventStreamLimit),
            ("dead-letter-limit", deadLetterLimit), ("event-deliveries", eventDeliveries),
            ("event-backoff", eventBackoff), ("invalidation-delay", invalidationDelay),
            ("extra-events", extraEvents), ("archive-after", archiveAfter),
            ("archive-orders-after", archiveOrdersAfter),
            ("protocol", newestProtocol), ("insecure", insecure ? "true" : nil),
        ]
        return Dictionary(
            uniqueKeysWithValues: given.compactMap { name, text in text.map { (name, $0) } })
    }
}
