import EdgeMemory
import EdgeServer
import EdgeTypes
import NIOCore
import NIOPosix

/// A node's listeners on free loopback ports, with test cores behind them.
final class TestServer: Sendable {
    let group: MultiThreadedEventLoopGroup
    let loops: [ServerLoop]
    let journals: [TestJournal]
    let shared: ServerShared
    let listeners: ClientListeners

    static var settings: ServerShared.Settings {
        var settings = ServerShared.Settings(profile: NodeProfile(name: "n1", version: "9.9.9"))
        settings.acceptsUserHeader = true
        return settings
    }

    init(
        _ settings: ServerShared.Settings = TestServer.settings, loops count: Int = 1,
        behaviour: TestCore.Behaviour = .init(), commitsAtOnce: Bool = true,
        tls: TLSHolder? = nil
    ) async throws {
        group = MultiThreadedEventLoopGroup(numberOfThreads: count)
        shared = ServerShared(settings)
        var loops: [ServerLoop] = []
        var journals: [TestJournal] = []
        for eventLoop in group.makeIterator() {
            let journal = TestJournal(commitsAtOnce: commitsAtOnce)
            let index = UInt16(loops.count)
            let loop = CoreLoop(
                index: index, eventLoop: eventLoop, shared: shared, journal: journal,
                core: TestCore(index: index, behaviour: behaviour))
            journal.attach(loop)
            loops.append(loop)
            journals.append(journal)
        }
        ServerLoop.connect(loops)
        self.loops = loops
        self.journals = journals
        listeners = try await ClientListeners.start(
            group: group, loops: loops, resp: .init(host: "127.0.0.1", port: 0),
            http: .init(host: "127.0.0.1", port: 0), tls: tls)
    }

    var respPort: Int { listeners.respAddress?.port ?? 0 }
    var httpPort: Int { listeners.httpAddress?.port ?? 0 }

    func resp() throws -> TestClient { try TestClient(port: respPort) }
    func http() throws -> TestClient { try TestClient(port: httpPort) }

    /// The sum over all loops.
    func statistics() async throws -> LoopStatistics {
        var sum = LoopStatistics()
        for loop in loops {
            let one = try await loop.readStatistics().get()
            sum.requests += one.requests
            sum.steps += one.steps
            sum.cutOff += one.cutOff
            sum.throttled += one.throttled
            sum.holds += one.holds
            sum.connections += one.connections
        }
        return sum
    }

    func stop() async throws {
        try await listeners.close(grace: .milliseconds(200))
        try await group.shutdownGracefully()
    }
}

/// Runs `body` with a server that is stopped whatever happens.
func withServer(
    _ settings: ServerShared.Settings = TestServer.settings, loops: Int = 1,
    behaviour: TestCore.Behaviour = .init(), commitsAtOnce: Bool = true, tls: TLSHolder? = nil,
    _ body: (TestServer) async throws -> Void
) async throws {
    let server = try await TestServer(
        settings, loops: loops, behaviour: behaviour, commitsAtOnce: commitsAtOnce, tls: tls)
    do {
        try await body(server)
    } catch {
        try? await server.stop()
        throw error
    }
    try await server.stop()
}

/// Looks again until `condition` holds; a test that waits in vain fails after ten seconds.
func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
    for _ in 0..<1_000 {
        if try await condition() { return true }
        try await Task.sleep(for: .milliseconds(10))
    }
    return false
}
