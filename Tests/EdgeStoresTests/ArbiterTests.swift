import EdgeReconciler
import EdgeTypes
import Foundation
import Synchronization
import Testing

@testable import EdgeStores

/// An arbiter that several connections ask.
enum ArbiterPlace: Sendable {
    case file(String)
    case server(MySQLAddress)

    func open() throws -> any Arbiter {
        switch self {
        case .file(let path): try SQLiteArbiter(path: path)
        case .server(let address): try MySQLArbiter(address)
        }
    }
}

extension Arbiter {
    func end() {
        (self as? SQLiteArbiter)?.close()
        (self as? MySQLArbiter)?.close()
    }
}

enum ArbiterKind: CaseIterable {
    case sqlite
    case mysql

    func with(_ body: (ArbiterPlace) throws -> Void) throws {
        switch self {
        case .sqlite:
            let scratch = try Scratch()
            try withExtendedLifetime(scratch) {
                try body(.file(scratch.file("arbiter.sqlite")))
            }
        case .mysql:
            let server = try MariaServer.shared.get()
            try body(.server(server.address(server.newDatabase())))
        }
    }
}

/// A compare-and-set that several processes race for: a file of one machine, or a server.
@Suite struct ArbiterTests {

    private let a = ReplicaID(node: 1, boot: UInt64.max)
    private let b = ReplicaID(node: UInt64.max, boot: 2)

    private func first(_ shards: Int) -> [ShardConfiguration] {
        (0..<shards).map {
            ShardConfiguration(shard: ShardID($0), epoch: 1, primary: a, members: [a, b])
        }
    }

    @Test("a shard is founded once; what is held stays", arguments: ArbiterKind.allCases)
    func founding(_ kind: ArbiterKind) throws {
        try kind.with { place in
            let arbiter = try place.open()
            try arbiter.insert(first(4))
            let other = try place.open()
            let late = first(6).map { row in
                ShardConfiguration(shard: row.shard, epoch: 1, primary: b, members: [b])
            }
            try other.insert(late)
            #expect(try other.read(after: 0).configurations == first(4) + late[4...])
            #expect(try other.identity() == arbiter.identity())
        }
    }

    @Test(
        "only the whole expected configuration is replaced, and asking again is answered the same",
        arguments: ArbiterKind.allCases)
    func compares(_ kind: ArbiterKind) throws {
        try kind.with { place in
            let arbiter = try place.open()
            try arbiter.insert(first(2))
            let held = first(2)
            let alone = ConfigurationChange(
                expected: held[0], next: held[0].next(primary: b, members: [b]))
            let other = ConfigurationChange(
                expected: held[0], next: held[0].next(primary: a, members: [a]))
            #expect(arbiter.compareAndSet([alone, other]) == [.applied, .refused(alone.next)])
            #expect(arbiter.compareAndSet([alone]) == [.applied])
            // The same epoch and primary, other members.
            var lookalike = held[1]
            lookalike.members = [a]
            let wrong = ConfigurationChange(
                expected: lookalike, next: lookalike.next(primary: a, members: [a]))
            #expect(arbiter.compareAndSet([wrong]) == [.refused(held[1])])
        }
    }

    @Test(
        "only what has changed is read again, and nothing is forgotten when it is opened anew",
        arguments: ArbiterKind.allCases)
    func news(_ kind: ArbiterKind) throws {
        try kind.with { place in
            var arbiter = try place.open()
            try arbiter.insert(first(3))
            let start = try arbiter.read(after: 0)
            #expect(try arbiter.read(after: start.revision).configurations.isEmpty)
            let next = first(3)[1].next(primary: b, members: [b])
            _ = arbiter.compareAndSet([ConfigurationChange(expected: first(3)[1], next: next)])
            arbiter.end()
            arbiter = try place.open()
            #expect(try arbiter.read(after: start.revision).configurations == [next])
        }
    }

    @Test(
        "of all who race for an epoch one wins, and epochs only grow",
        arguments: ArbiterKind.allCases)
    func races(_ kind: ArbiterKind) throws {
        try kind.with { place in
            try place.open().insert(first(1))
            let won = Mutex<[UInt32: [UInt64]]>([:])
            let rounds = 40
            DispatchQueue.concurrentPerform(iterations: 4) { index in
                guard let arbiter = try? place.open() else { return }
                let me = ReplicaID(node: 100 + UInt64(index), boot: 1)
                var held = first(1)[0]
                var done = 0
                while done < rounds {
                    let next = held.next(primary: me, members: [me])
                    let change = ConfigurationChange(expected: held, next: next)
                    switch arbiter.compareAndSet([change])[0] {
                    case .applied:
                        won.withLock { $0[next.epoch, default: []].append(me.node) }
                        held = next
                        done += 1
                    case .refused(let current):
                        precondition(current.epoch > held.epoch)
                        held = current
                    case .unknown: break
                    }
                }
            }
            let winners = won.withLock { $0 }
            #expect(winners.count == 4 * rounds)
            #expect(winners.values.allSatisfy { $0.count == 1 })
            let last = try place.open().read(after: 0).configurations[0]
            #expect(Int(last.epoch) == 1 + 4 * rounds)
        }
    }

    @Test(
        "whoever opens it first at the same time as others makes it for all",
        arguments: ArbiterKind.allCases)
    func openedAtOnce(_ kind: ArbiterKind) throws {
        for _ in 0..<(kind == .sqlite ? 150 : 5) {
            try kind.with { (place: ArbiterPlace) throws in
                let problems = Mutex<[String]>([])
                DispatchQueue.concurrentPerform(iterations: 8) { _ in
                    do { try place.open().insert(first(1)) } catch {
                        problems.withLock { $0.append("\(error)") }
                    }
                }
                #expect(problems.withLock { $0 } == [])
                let news = try place.open().read(after: 0)
                #expect(news.configurations == first(1))
            }
        }
    }

    private func node(_ name: String, host: String = "127.0.0.1") -> ClusterNode {
        ClusterNode(
            name: name, region: "here", zone: "a", host: host, http: 1, resp: 2, bus: 3, admin: 4)
    }

    private func founding(
        _ names: [String], cluster: String = "live", shards: Int = 4
    ) -> ClusterFounding {
        let members = (0..<shards).map { [UInt16($0 % 2)] }
        return ClusterFounding(
            cluster: cluster, shards: shards, nodes: names.map { node($0) },
            target: PlacementTarget(members: members, previous: members))
    }

    @Test(
        "a node keeps its number for good, and whoever comes has the next",
        arguments: ArbiterKind.allCases)
    func numbers(_ kind: ArbiterKind) throws {
        try kind.with { (place: ArbiterPlace) throws in
            let arbiter = try place.open()
            let first = founding(["x", "y"])
            #expect(try arbiter.register(node("y"), founding: first) == first.nodes)
            #expect(try arbiter.target(after: 0)?.members == first.target.members)
            let start = try arbiter.read(after: 0)
            #expect(start.nodes == [0: node("x"), 1: node("y")])
            // Another file, in another order: numbers and the decision stay.
            let later = try arbiter.register(node("a"), founding: founding(["a", "x", "y"]))
            #expect(later == [node("x"), node("y"), node("a")])
            #expect(try arbiter.target(after: 0)?.version == 1)
            let news = try arbiter.read(after: start.revision)
            #expect(news.nodes == [2: node("a")])
            let moved = node("x", host: "127.0.0.2")
            #expect(try arbiter.register(moved, founding: first) == [moved, node("y"), node("a")])
            #expect(try arbiter.read(after: news.revision).nodes == [0: moved])
        }
    }

    @Test(
        "an arbiter serves one cluster, of so many shards, and of as many nodes as there may be",
        arguments: ArbiterKind.allCases)
    func oneCluster(_ kind: ArbiterKind) throws {
        try kind.with { (place: ArbiterPlace) throws in
            let arbiter = try place.open()
            _ = try arbiter.register(node("x"), founding: founding(["x"]))
            for other in [founding(["x"], cluster: "other"), founding(["x"], shards: 8)] {
                #expect(throws: StoreError.self) {
                    try arbiter.register(node("x"), founding: other)
                }
            }
        }
        try kind.with { (place: ArbiterPlace) throws in
            let arbiter = try place.open()
            let same = founding(["x"] + (2..<Limits.nodes).map { "n\($0)" })
            _ = try arbiter.register(node("last"), founding: same)
            #expect(throws: StoreError.self) {
                try arbiter.register(node("more"), founding: same)
            }
            let all = try arbiter.register(node("x"), founding: same)
            #expect(all.count == Limits.nodes)
        }
    }

    @Test(
        "a target that is decided is held whole, and only by whoever knew the one before",
        arguments: ArbiterKind.allCases)
    func decisions(_ kind: ArbiterKind) throws {
        try kind.with { (place: ArbiterPlace) throws in
            let arbiter = try place.open()
            _ = try arbiter.register(node("x"), founding: founding(["x", "y", "z"]))
            var next = try #require(try arbiter.target(after: 0))
            next.members = [[2, 0], [0, 2], [2, 0], [0, 2]]
            next.retired = [1]
            next.isPaused = true
            next.bytesPerSecond = 5
            #expect(try arbiter.decide(next))
            #expect(try !arbiter.decide(next))
            let held = try #require(try arbiter.target(after: 1))
            next.version = 2
            #expect(held == next)
            #expect(try arbiter.target(after: 2) == nil)
        }
    }

    @Test("of what several know, the greater epoch stays", arguments: ArbiterKind.allCases)
    func raises(_ kind: ArbiterKind) throws {
        try kind.with { place in
            let arbiter = try place.open()
            try arbiter.insert(first(2))
            let start = try arbiter.read(after: 0)
            let later = first(2)[0].next(primary: b, members: [b]).next(primary: a, members: [a])
            let unknown = ShardConfiguration(shard: 3, epoch: 7, primary: a, members: [a])
            try arbiter.raise([later, first(2)[1], unknown])
            #expect(try arbiter.read(after: start.revision).configurations == [later, unknown])
            try arbiter.raise([first(2)[0]])
            #expect(
                try arbiter.read(after: 0).configurations == [later, first(2)[1], unknown])
        }
    }

    @Test("a file of another kind, or no file at all, is an error or unknown, never a wrong answer")
    func failures() throws {
        let scratch = try Scratch()
        _ = try SQLStore(path: scratch.file())
        #expect(throws: StoreError.self) { try SQLiteArbiter(path: scratch.file()) }
    }

    @Test("one that is closed knows nothing", arguments: ArbiterKind.allCases)
    func closed(_ kind: ArbiterKind) throws {
        try kind.with { place in
            let arbiter = try place.open()
            try arbiter.insert(first(1))
            arbiter.end()
            let change = ConfigurationChange(
                expected: first(1)[0], next: first(1)[0].next(primary: a, members: [a]))
            #expect(arbiter.compareAndSet([change]) == [.unknown])
        }
    }
}
