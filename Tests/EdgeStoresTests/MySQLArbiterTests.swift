import EdgeReconciler
import EdgeTypes
import Foundation
import Synchronization
import Testing

@testable import EdgeStores

/// What only an arbiter on a server can meet: crashes, lost answers, another server.
@Suite("MySQL arbiter")
struct MySQLArbiterTests {
    private let a = ReplicaID(node: 1, boot: 1)
    private let b = ReplicaID(node: 2, boot: 2)

    private func first(_ shards: Int) -> [ShardConfiguration] {
        (0..<shards).map {
            ShardConfiguration(shard: ShardID($0), epoch: 1, primary: a, members: [a, b])
        }
    }

    private func node(_ name: String) -> ClusterNode {
        ClusterNode(
            name: name, region: "here", zone: "a", host: "127.0.0.1", http: 1, resp: 2, bus: 3,
            admin: 4)
    }

    private func founding(_ names: [String]) -> ClusterFounding {
        ClusterFounding(
            cluster: "live", shards: 2, nodes: names.map(node),
            target: PlacementTarget(members: [[0], [1]], previous: [[0], [1]]))
    }

    @Test("What is applied outlives a server that is killed; nothing is applied twice")
    func killed() throws {
        let server = try MariaServer()
        let address = try server.address(server.newDatabase())
        try MySQLArbiter(address).insert(first(8))
        struct Tally {
            var applied = 0
            var unknown = 0
            /// By shard: the epoch that somebody was told is held.
            var reached: [ShardID: UInt32] = [:]
            var problems: [String] = []
            var longestSilence = Duration.zero
            var done = 0
        }
        let tally = Mutex(Tally())
        let mayEnd = Mutex(false)
        for index in 0..<4 {
            Thread.detachNewThread {
                defer { tally.withLock { $0.done += 1 } }
                guard let arbiter = try? MySQLArbiter(address) else { return }
                let me = ReplicaID(node: 100 + UInt64(index), boot: 1)
                var held = Array(first(8)[(2 * index)..<(2 * index + 2)])
                while !mayEnd.withLock({ $0 }) {
                    let changes = held.map { row in
                        ConfigurationChange(
                            expected: row, next: row.next(primary: me, members: [me]))
                    }
                    // An answer that was lost is asked for again, the same.
                    let start = ContinuousClock.now
                    var outcomes = arbiter.compareAndSet(changes)
                    while outcomes.contains(.unknown) {
                        tally.withLock { $0.unknown += 1 }
                        usleep(10_000)
                        outcomes = arbiter.compareAndSet(changes)
                    }
                    tally.withLock { tally in
                        tally.longestSilence = max(
                            tally.longestSilence, start.duration(to: .now))
                        for (change, outcome) in zip(changes, outcomes) {
                            guard outcome == .applied else {
                                tally.problems.append("\(change) \(outcome)")
                                continue
                            }
                            tally.applied += 1
                            tally.reached[change.next.shard] = change.next.epoch
                        }
                    }
                    held = changes.map(\.next)
                }
            }
        }
        for _ in 0..<3 {
            let before = tally.withLock { $0.applied }
            try eventually("changes are made") { tally.withLock { $0.applied } > before + 200 }
            server.kill()
            let start = ContinuousClock.now
            try server.start()
            print("mariadbd is back after \(start.duration(to: .now))")
        }
        let before = tally.withLock { $0.applied }
        try eventually("changes are made again") {
            tally.withLock { $0.applied } > before + 200
        }
        mayEnd.withLock { $0 = true }
        try eventually("all are done") { tally.withLock { $0.done } == 4 }
        let result = tally.withLock { $0 }
        print(
            "arbiter under kill -9: \(result.applied) applied, \(result.unknown) unknown, "
                + "longest silence \(result.longestSilence)")
        #expect(result.problems.isEmpty, "\(result.problems.prefix(3))")
        let held = try MySQLArbiter(address).read(after: 0).configurations
        for row in held { #expect(row.epoch == result.reached[row.shard]) }
        // Each epoch once: as many as were applied.
        #expect(held.reduce(0) { $0 + Int($1.epoch) - 1 } == result.applied)
    }

    @Test("An answer that was lost is applied or unknown, never refused", arguments: [true, false])
    func lostAnswer(_ reaches: Bool) throws {
        let server = try MariaServer.shared.get()
        let database = try server.newDatabase()
        let direct = try MySQLArbiter(server.address(database))
        try direct.insert(first(1))
        let proxy = try CuttingProxy(to: server.port, on: "COMMIT", passesIt: reaches)
        let arbiter = try MySQLArbiter(
            MySQLAddress(server.url(database, "timeout=5", port: proxy.port)))
        proxy.arm()
        let change = ConfigurationChange(
            expected: first(1)[0], next: first(1)[0].next(primary: b, members: [b]))
        #expect(arbiter.compareAndSet([change]) == [reaches ? .applied : .unknown])
        #expect(arbiter.compareAndSet([change]) == [.applied])
        #expect(try direct.read(after: 0).configurations == [change.next])
    }

    @Test("A server that may forget what it has committed is no arbiter")
    func forgetful() throws {
        let server = try MariaServer()
        let database = try server.newDatabase()
        let arbiter = try MySQLArbiter(server.address(database))
        try arbiter.insert(first(1))
        try maria(server, database, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        do {
            _ = try MySQLArbiter(server.address(database))
            Issue.record("taken")
        } catch {
            #expect("\(error)".contains("innodb_flush_log_at_trx_commit"))
        }
        // Nor one that begins to while it serves.
        let change = ConfigurationChange(
            expected: first(1)[0], next: first(1)[0].next(primary: b, members: [b]))
        #expect(arbiter.compareAndSet([change]) == [.unknown])
        #expect(throws: StoreError.self) { try arbiter.read(after: 0) }
    }

    @Test("A damaged row is its shard's trouble alone")
    func damaged() throws {
        let server = try MariaServer.shared.get()
        let database = try server.newDatabase()
        let arbiter = try MySQLArbiter(server.address(database))
        try arbiter.insert(first(2))
        try maria(
            server, database,
            "UPDATE arbiter_configurations SET primary_member = 'x' WHERE shard = 0")
        let changes = first(2).map {
            ConfigurationChange(expected: $0, next: $0.next(primary: b, members: [b]))
        }
        #expect(arbiter.compareAndSet(changes) == [.unknown, .applied])
    }

    @Test("Another server with the tables of the first is nobody's arbiter until it is accepted")
    func otherServer() throws {
        let old = try MariaServer()
        let database = try old.newDatabase()
        do {
            let arbiter = try MySQLArbiter(old.address(database))
            _ = try arbiter.register(node("x"), founding: founding(["x", "y"]))
            _ = try arbiter.register(node("y"), founding: founding(["x", "y"]))
            try arbiter.insert(first(2))
            arbiter.close()
        }
        try old.stopInGoodOrder()
        let new = try MariaServer(copyOf: old.directory + "/data")
        let address = try new.address(database)
        do {
            _ = try MySQLArbiter(address)
            Issue.record("taken")
        } catch {
            guard case .otherIdentity = error else {
                Issue.record("\(error)")
                return
            }
            #expect(error.description.contains("accept"))
        }
        let operators = try MySQLArbiter(address, mustBeAccepted: false)
        let change = ConfigurationChange(
            expected: first(2)[0], next: first(2)[0].next(primary: b, members: [b]))
        #expect(operators.compareAndSet([change]) == [.unknown])
        #expect(throws: StoreError.self) { try operators.insert(first(2)) }
        #expect(throws: StoreError.self) { try operators.read(after: 0) }
        let accepted = try operators.accept(without: [])
        #expect(accepted.awaited == ["x", "y"])
        #expect(accepted.before != accepted.now)
        // Nothing changes before all have told what they know.
        let x = try MySQLArbiter(address)
        #expect(x.compareAndSet([change]) == [.unknown])
        _ = try x.register(node("x"), founding: founding(["x", "y"]))
        #expect(x.compareAndSet([change]) == [.unknown])
        let y = try MySQLArbiter(address)
        _ = try y.register(node("y"), founding: founding(["x", "y"]))
        #expect(x.compareAndSet([change]) == [.applied])
        #expect(throws: StoreError.self) { try operators.accept(without: ["nobody"]) }
    }

    @Test("What a copy has lost is brought back by whoever has read it, before anything is changed")
    func lossyCopy() throws {
        let old = try MariaServer()
        let database = try old.newDatabase()
        let relay = try CuttingProxy(to: old.port)
        let address = try MySQLAddress(old.url(database, "timeout=5", port: relay.port))
        let x = try MySQLArbiter(address)
        let y = try MySQLArbiter(address)
        _ = try x.register(node("x"), founding: founding(["x", "y"]))
        _ = try y.register(node("y"), founding: founding(["x", "y"]))
        try x.insert(first(2))
        // The copy is made here: what follows is lost.
        try old.stopInGoodOrder()
        let new = try MariaServer(copyOf: old.directory + "/data")
        try old.start()
        let lost = ConfigurationChange(
            expected: first(2)[0], next: first(2)[0].next(primary: b, members: [b]))
        #expect(x.compareAndSet([lost]) == [.applied])
        let revision = try y.read(after: 0).revision

        relay.turn(to: new.port)
        let wrong = ConfigurationChange(
            expected: first(2)[0], next: first(2)[0].next(primary: a, members: [a]))
        #expect(y.compareAndSet([wrong]) == [.unknown])
        #expect(throws: StoreError.self) { try y.read(after: revision) }
        // Known from other nodes: remembered until it can be told.
        let heard = ShardConfiguration(shard: 1, epoch: 9, primary: b, members: [b])
        #expect(throws: StoreError.self) { try y.raise([heard]) }

        let operators = try MySQLArbiter(address, mustBeAccepted: false)
        #expect(try operators.accept(without: []).awaited == ["x", "y"])
        // y has read nothing of the change; x has, and has not told yet.
        #expect(y.compareAndSet([wrong]) == [.unknown])
        _ = try x.read(after: revision)
        #expect(y.compareAndSet([wrong]) == [.refused(lost.next)])
        let news = try y.read(after: revision)
        #expect(news.configurations == [lost.next, heard])
        #expect(news.nodes.count == 2)
        #expect(news.revision > revision + UInt64(MySQLArbiter.revisionJump) / 2)
        // The old one comes back, and is nobody's arbiter to those who know better.
        relay.turn(to: old.port)
        #expect(throws: StoreError.self) { try x.read(after: 0) }
    }

    @Test("Nodes that will not come back are named by the operator")
    func absentNodes() throws {
        let server = try MariaServer.shared.get()
        let address = try server.address(server.newDatabase())
        let x = try MySQLArbiter(address)
        _ = try x.register(node("x"), founding: founding(["x", "y"]))
        try x.insert(first(1))
        let operators = try MySQLArbiter(address, mustBeAccepted: false)
        #expect(try operators.accept(without: ["y"]).awaited == ["x"])
        let change = ConfigurationChange(
            expected: first(1)[0], next: first(1)[0].next(primary: b, members: [b]))
        #expect(x.compareAndSet([change]) == [.applied])
    }
}
