import EdgeCore
import EdgeMemory
import EdgeTypes
import Testing

/// What a crash took out of play, and what operators make of it.
@Suite("Quarantined units are resolved by an operator")
struct ResolveNodeTests {
    private static let users = (1...30 as ClosedRange<UserID>).map { $0 }

    /// A `memory` rain of 40 packets, some of them granted, whose node was killed.
    private static func crashed(
        cores: Int, slices: UInt32 = 4, grabs: Int = 12, lost: Int = 0
    ) throws -> TestNode {
        let node = TestNode(cores: cores, shards: 16)
        node.send(.rain("a", fen: 4_000, count: 40, slices: slices, durability: .memory))
        node.send(users.prefix(grabs).map { .grab("a", $0) })
        return try TestNode(
            replaying: node.journal.dropLast(lost), cores: cores, shards: 16,
            nowMs: node.nowMs, cleanStop: false)
    }

    private static func told(_ node: TestNode) throws -> [Entry] {
        try node.entries().filter {
            switch $0 {
            case .poolResolved, .sliceResolved: true
            default: false
            }
        }
    }

    @Test("released, slices grant again to whoever has nothing", arguments: [1, 2], [1, 4])
    func release(cores: Int, slices: UInt32) throws {
        let node = try Self.crashed(cores: cores, slices: slices)
        let before = node.send(.info("a"))
        let quarantined = before.integer("quarantined")
        #expect(quarantined > 0 && before.integer("lost") == Int64(slices))
        #expect(Books(before).balances)
        #expect(node.send(.grab("a", 30)).result == .lost)
        #expect(node.send(.resolve("a", .release, "x")).isOK)
        let after = node.send(.info("a"))
        #expect(after.integer("quarantined") == 0 && after.integer("lost") == 0)
        #expect(Books(after).held == Books(before).held + quarantined && Books(after).balances)
        let answers = node.send(Self.users.map { .grab("a", $0) })
        #expect(answers.count { $0.result == .repeat } == 12)
        #expect(answers.count { $0.result == .granted } == 18)
        let more = node.send((100...200 as ClosedRange<UserID>).map { .grab("a", $0) })
        #expect(more.count { $0.result == .granted } == 10)
        #expect(Set((answers + more).filter { $0.packet >= 0 }.map(\.packet)).count == 40)
        #expect(node.send(.on(.poolClose, "a")).isOK)
        let closed = node.send(.info("a"))
        #expect(closed.integer("granted_fen") == 4_000 && closed.integer("returned_fen") == 0)
    }

    @Test("returned, units are out of the pool for good, and slices stay out of play")
    func giveBack() throws {
        let node = try Self.crashed(cores: 2)
        let before = node.send(.info("a"))
        let quarantined = before.integer("quarantined")
        #expect(node.send(.resolve("a", .retire, "x")).isOK)
        let after = node.send(.info("a"))
        #expect(after.integer("quarantined") == 0 && after.integer("lost") > 0)
        #expect(after.integer("returned") == quarantined && after.integer("returned_fen") > 0)
        #expect(Books(after).balances)
        let results = node.send(Self.users.map { .grab("a", $0) })
        #expect(results.allSatisfy { $0.result == .repeat || $0.result == .lost })
        // Now nothing is there to be returned; users may yet be let in again.
        #expect(node.send(.resolve("a", .retire, "y")).failure == .badArgument)
        #expect(node.send(.resolve("a", .release, "z")).isOK)
        #expect(node.send(.info("a")).integer("lost") == 0)
        let wins = node.send((100...200 as ClosedRange<UserID>).map { .grab("a", $0) })
        #expect(wins.count { $0.result == .granted } == 28 - Int(quarantined))
        #expect(node.send(.on(.poolClose, "a")).isOK)
        let closed = node.send(.info("a"))
        #expect(
            closed.integer("granted_fen") + closed.integer("returned_fen") == 4_000
                && Books(closed).balances)
    }

    @Test("the same request does nothing twice; another word under its id is refused")
    func idempotent() throws {
        let node = try Self.crashed(cores: 1)
        #expect(node.send(.resolve("a", .release, "x")).isOK)
        let count = try Self.told(node).count
        #expect(node.send(.resolve("a", .release, "x")).isOK)
        #expect(node.send(.resolve("a", .retire, "x")).failure == .mismatch)
        #expect(node.send(.resolve("a", .release, "")).failure == .badArgument)
        #expect(try Self.told(node).count == count)
        var alien = Ask.resolve("a", .release, "w")
        alien.request.quantity = 7
        #expect(node.send(alien).failure == .badArgument)
        // Ids of other commands are no decisions.
        #expect(node.send(.alter("a", "q", limit: 2)).isOK)
        #expect(node.send(.resolve("a", .release, "q")).failure == .mismatch)
        // A decision is about the crashes that have been: the next one needs another.
        let again = try TestNode(
            replaying: node.journal, cores: 1, shards: 16, nowMs: node.nowMs, cleanStop: false)
        #expect(again.send(.info("a")).integer("lost") > 0)
        #expect(again.send(.resolve("a", .release, "x")).isOK)
        #expect(again.send(.info("a")).integer("lost") > 0)
        #expect(again.send(.resolve("a", .release, "x2")).isOK)
        #expect(again.send(.info("a")).integer("lost") == 0)
    }

    @Test("it is refused where nothing is quarantined, and of a closed pool nothing is released")
    func refusals() throws {
        let fresh = TestNode(cores: 2, shards: 16)
        fresh.send(.rain("a", fen: 4_000, count: 40, slices: 4, durability: .memory))
        for resolution in Resolution.allCases {
            let answer = fresh.send(.resolve("a", resolution, "x"))
            #expect(answer.failure == .badArgument)
            #expect(answer.body == .text("nothing is quarantined"))
        }
        #expect(try Self.told(fresh).isEmpty)
        #expect(fresh.send(.resolve("b", .release, "x")).failure == .noRain)
        #expect(fresh.send(.resolve("b", .release, "x", .stock)).failure == .noStock)
        let node = try Self.crashed(cores: 2)
        let quarantined = node.send(.info("a")).integer("quarantined")
        #expect(node.send(.on(.poolClose, "a")).isOK)
        #expect(node.send(.info("a")).integer("quarantined") == quarantined)
        #expect(node.send(.resolve("a", .release, "x")).failure == .badArgument)
        #expect(node.send(.resolve("a", .retire, "y")).isOK)
        let closed = node.send(.info("a"))
        #expect(closed["state"] == .text("closed") && closed.integer("quarantined") == 0)
        #expect(
            closed.integer("granted_fen") + closed.integer("returned_fen") == 4_000
                && Books(closed).balances)
        #expect(node.send(.resolve("a", .retire, "y")).isOK)
        let restarted = try TestNode(
            replaying: node.journal, cores: 2, shards: 16, nowMs: node.nowMs, cleanStop: false)
        #expect(restarted.send(.info("a")) == closed)
        #expect(restarted.send(.resolve("a", .retire, "y")).isOK)
    }

    @Test("a restart and a snapshot know what was decided", arguments: Resolution.allCases, [1, 3])
    func restarts(resolution: Resolution, cores: Int) throws {
        let node = try Self.crashed(cores: cores)
        #expect(node.send(.resolve("a", resolution, "x")).isOK)
        node.send((40...44 as ClosedRange<UserID>).map { .grab("a", $0) })
        let info = node.send(.info("a"))
        let replayed = try TestNode(
            replaying: node.journal, cores: cores, shards: 16, nowMs: node.nowMs)
        let loaded = try node.restartedFromSnapshots(cores: 2)
        for other in [replayed, loaded] {
            #expect(other.send(.info("a")) == info)
            #expect(other.send(.resolve("a", resolution, "x")).isOK)
            #expect(
                other.send(.grab("a", 44)).result == (resolution == .release ? .repeat : .lost))
            let wins = other.send((100...200 as ClosedRange<UserID>).map { .grab("a", $0) })
            #expect(
                wins.count { $0.result == .granted } == (resolution == .release ? 23 : 0))
        }
        // What is quarantined is kept by a snapshot as well, to be released afterwards.
        let lost = try Self.crashed(cores: cores).restartedFromSnapshots(cores: cores)
        #expect(lost.send(.resolve("a", .release, "x")).isOK)
        let wins = lost.send((100...200 as ClosedRange<UserID>).map { .grab("a", $0) })
        #expect(wins.count { $0.result == .granted } == 28)
    }

    @Test("a journal cut anywhere within a decision ends whole, once it is asked for again")
    func torn() throws {
        let node = try Self.crashed(cores: 1)
        let before = node.journal.count
        #expect(node.send(.resolve("a", .release, "x")).isOK)
        // Two entries of the home, one of each slice.
        #expect(node.journal.count == before + 6)
        for end in before...node.journal.count {
            let torn = try TestNode(
                replaying: node.journal.prefix(end), cores: 1, shards: 16, nowMs: node.nowMs)
            #expect(torn.send(.resolve("a", .release, "x")).isOK)
            let info = torn.send(.info("a"))
            #expect(info.integer("quarantined") == 0 && info.integer("lost") == 0)
            #expect(Books(info) == Books(node.send(.info("a"))))
        }
    }

    @Test("what is leased to a lost slice is released with it, and granted to the last packet")
    func laterLease() throws {
        // A part with a single slice gets all that comes: also while it is lost.
        let node = TestNode(shards: 16)
        let rain = Ask.rain("a", fen: 900, count: 9, durability: .memory)
        node.send(rain)
        for end in 1...node.journal.count {
            let torn = try TestNode(
                replaying: node.journal.prefix(end), shards: 16, nowMs: node.nowMs,
                cleanStop: false)
            torn.send(rain)
            if torn.send(.info("a")).integer("lost") > 0 {
                #expect(torn.send(.resolve("a", .release, "x")).isOK)
            }
            let wins = torn.send((1...20 as ClosedRange<UserID>).map { .grab("a", $0) })
            #expect(wins.count { $0.result == .granted } == 9)
            #expect(wins.reduce(0) { $0 + $1.fen } == 900)
        }
    }

    @Test("users who were told that nothing is left are served once units are released")
    func soldOut() throws {
        // The only slices in play are empty, and certified to be.
        let node = TestNode(cores: 2, shards: 16)
        node.send(.rain("a", fen: 4_000, count: 40, slices: 2, durability: .memory))
        let lost = try TestNode(
            replaying: node.journal, cores: 2, shards: 16, nowMs: node.nowMs, cleanStop: false)
        #expect(lost.send(.resolve("a", .release, "x")).isOK)
        let crowd = (1...80 as ClosedRange<UserID>).map { Ask.grab("a", $0) }
        #expect(lost.send(crowd).count { $0.result == .granted } == 40)
        #expect(lost.send(.grab("a", 500)).result == .soldOut)
    }

    @Test("what a released slice grants waits until that it may is durable")
    func waits() throws {
        let node = try Self.crashed(cores: 1, slices: 1)
        #expect(node.send(.resolve("a", .release, "x")).isOK)
        node.isCaughtUp = false
        #expect(node.send(.grab("a", 100)).waits)
        node.isCaughtUp = true
        #expect(!node.send(.grab("a", 101)).waits)
    }
}
