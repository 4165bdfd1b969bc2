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

    @Test("a file of another kind, or no file at all, is an error or unknown, never a wrong answer")
    func failures() throws {
        try withPath { path in
            _ = try SQLiteStore(path: path)
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
