import EdgeMemory
public import EdgeTypes
import Foundation
import Logging
import NIOCore
import ServiceLifecycle
import UnixSignals

/// A node as a process: start, serve, SIGHUP, SIGTERM, stop.
public enum NodeService {
    /// Runs until SIGTERM or SIGINT.
    ///
    /// - Returns: whether everything that was acknowledged is safe and in the store.
    public static func run(_ options: NodeOptions) async throws -> Bool {
        let log = NodeLog.make(options)
        let runner = try await NodeRunner(options, log: log)
        let addresses = try await runner.listen()
        let admin = try await AdminServer.start(runner)
        runner.shared.addresses = {
            var told = ServerShared.Addresses()
            told.http = text(addresses.http)
            told.resp = text(addresses.resp)
            told.admin = text(admin.address)
            return told
        }()
        let maintenance = Task { await NodeMaintenance(runner: runner, log: log).run() }
        let signals = await UnixSignalsSequence(trapping: .sighup, .sigterm, .sigint)
        try writeReadyFile(
            options, addresses, admin.address, bus: runner.cluster?.address)
        log.info(
            "serving",
            metadata: [
                "http": "\(text(addresses.http))", "resp": "\(text(addresses.resp))",
                "admin": "\(text(admin.address))",
            ])
        for await signal in signals {
            guard signal == .sighup else { break }
            reload(runner, log)
        }
        log.info("draining", metadata: ["milliseconds": "\(options.drainMs)"])
        await runner.drain(ms: options.drainMs)
        maintenance.cancel()
        await maintenance.value
        await admin.stop()
        let isClean = try await runner.stop()
        log.info("stopped", metadata: ["clean": "\(isClean)"])
        return isClean
    }

    private static func reload(_ runner: NodeRunner, _ log: Logger) {
        guard let tls = runner.tls else { return }
        do {
            try tls.reload()
            log.info("certificate read again")
        } catch {
            log.error("the certificate is kept as it was", metadata: ["error": "\(error)"])
        }
    }

    static func text(_ address: SocketAddress?) -> String {
        guard let address, let port = address.port else { return "" }
        let host = address.ipAddress ?? "127.0.0.1"
        return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Written whole or not at all.
    private static func writeReadyFile(
        _ options: NodeOptions,
        _ addresses: (http: SocketAddress?, resp: SocketAddress?), _ admin: SocketAddress?,
        bus: SocketAddress?
    ) throws {
        guard let path = options.readyFile else { return }
        let bus = text(bus)
        let fields: [Value.Field] = [
            .init("name", .text(options.name)),
            .init("http", .text(text(addresses.http))),
            .init("resp", .text(text(addresses.resp))),
            .init("bus", bus.isEmpty ? .null : .text(bus)),
            .init("admin", .text(text(admin))),
            .init("pid", .integer(Int64(ProcessInfo.processInfo.processIdentifier))),
        ]
        try Data(JSONText.of(.map(fields)).utf8).write(
            to: URL(fileURLWithPath: path), options: .atomic)
    }
}

/// Values as JSON text.
public enum JSONText {
    public static func of(_ value: Value) -> String {
        var sink = ByteSink()
        JSONWriter.append(value, to: &sink)
        return String(decoding: sink.bytes, as: UTF8.self)
    }
}
