import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation
import Synchronization
import Testing

/// The arbiter of one machine: a compare-and-set that several processes race for.
@Suite struct ArbiterTests {
    private func withPath(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "arbiter-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder.path + "/arbiter.sqlite")
    }

    private let a = ReplicaID(node: 1, boot: UInt64.max)
    private let b = ReplicaID(node: UInt64.max, boot: 2)

    private func first(_ shards: Int) -> [ShardConfiguration] {
        (0..<shards).map {
            ShardConfiguration(shard: ShardID($0), epoch: 1, primary: a, members: [a, b])
        }
    }

    @Test("a shard is founded once; what is held stays")
    func founding() throws {
        try withPath { path in
            let arbiter = try SQLiteArbiter(path: path)
            try arbiter.insert(first(4))
            let other = try SQLiteArbiter(path: path)
            let late = first(6).map { row in
                ShardConfiguration(shard: row.shard, epoch: 1, primary: b, members: [b])
            }
            try other.insert(late)
            #expect(try other.read(after: 0).configurations == first(4) + late[4...])
            #expect(try other.identity() == arbiter.identity())
        }
    }

    @Test(
        "only the whole expected configuration is replaced, and asking again is answered the same")
    func compares() throws {
        try withPath { path in
            let arbiter = try SQLiteArbiter(path: path)
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

    @Test("only what has changed is read again, and nothing is forgotten when it is opened anew")
    func news() throws {
        try withPath { path in
            var arbiter = try SQLiteArbiter(path: path)
            try arbiter.insert(first(3))
            let start = try arbiter.read(after: 0)
            #expect(try arbiter.read(after: start.revision).configurations.isEmpty)
            let next = first(3)[1].next(primary: b, members: [b])
            _ = arbiter.compareAndSet([ConfigurationChange(expected: first(3)[1], next: next)])
            arbiter.close()
            arbiter = try SQLiteArbiter(path: path)
            #expect(try arbiter.read(after: start.revision).configurations == [next])
        }
    }

    @Test("of all who race for an epoch one wins, and epochs only grow")
    func races() throws {
        try withPath { path in
            try SQLiteArbiter(path: path).insert(first(1))
            let won = Mutex<[UInt32: [UInt64]]>([:])
            let rounds = 40
            DispatchQueue.concurrentPerform(iterations: 4) { index in
                guard let arbiter = try? SQLiteArbiter(path: path) else { return }
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
            let last = try SQLiteArbiter(path: path).read(after: 0).configurations[0]
            #expect(Int(last.epoch) == 1 + 4 * rounds)
        }
    }

    @Test("whoever opens it first at the same time as others makes it for all")
    func openedAtOnce() throws {
        for _ in 0..<150 {
            try withPath { (path: String) throws in
                let problems = Mutex<[String]>([])
                DispatchQueue.concurrentPerform(iterations: 8) { _ in
                    do { try SQLiteArbiter(path: path).insert(first(1)) } catch {
                        problems.withLock { $0.append("\(error)") }
                    }
                }
                #expect(problems.withLock { $0 } == [])
                let news = try SQLiteArbiter(path: path).read(after: 0)
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

    @Test("a node keeps its number for good, and whoever comes has the next")
    func numbers() throws {
        try withPath { (path: String) throws in
            let arbiter = try SQLiteArbiter(path: path)
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

    @Test("an arbiter serves one cluster, of so many shards, and of as many nodes as there may be")
    func oneCluster() throws {
        try withPath { (path: String) throws in
            let arbiter = try SQLiteArbiter(path: path)
            _ = try arbiter.register(node("x"), founding: founding(["x"]))
            for other in [founding(["x"], cluster: "other"), founding(["x"], shards: 8)] {
                #expect(throws: StoreError.self) {
                    try arbiter.register(node("x"), founding: other)
                }
            }
            let same = founding(["x"])
            for number in 1..<Limits.nodes {
                _ = try arbiter.register(node("n\(number)"), founding: same)
            }
            #expect(throws: StoreError.self) {
                try arbiter.register(node("more"), founding: same)
            }
            let all = try arbiter.register(node("x"), founding: same)
            #expect(all.count == Limits.nodes)
        }
    }

    @Test("a target that is decided is held whole, and only by whoever knew the one before")
    func decisions() throws {
        try withPath { (path: String) throws in
            let arbiter = try SQLiteArbiter(path: path)
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

    @Test("a file of another kind, or no file at all, is an error or unknown, never a wrong answer")
    func failures() throws {
        try withPath { path in
            _ = try SQLStore(path: path)
            #expect(throws: StoreError.self) { try SQLiteArbiter(path: path) }
        }
        try withPath { path in
            let arbiter = try SQLiteArbiter(path: path)
            try arbiter.insert(first(1))
            arbiter.close()
            let change = ConfigurationChange(
                expected: first(1)[0], next: first(1)[0].next(primary: a, members: [a]))
            #expect(arbiter.compareAndSet([change]) == [.unknown])
        }
    }
}
