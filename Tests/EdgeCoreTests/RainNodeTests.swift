import EdgeTypes
import Testing

@Suite("Rains through a core's step")
struct RainNodeTests {
    private let t0 = TestNode.startMs

    @Test("creating a rain again is OK, with other values it exists, with impossible ones it fails")
    func creation() {
        let node = TestNode()
        let rain = Ask.rain("a", fen: 1_000, count: 10, min: 5)
        #expect(node.send(rain).isOK)
        let entries = node.journal.count
        #expect(node.send(rain).isOK)
        #expect(node.send(.rain("a", fen: 1_001, count: 10, min: 5)).failure == .exists)
        #expect(
            node.send(.rain("a", fen: 1_000, count: 10, min: 5, seed: Bits256(7, 7, 7, 7)))
                .failure == .exists)
        #expect(
            node.send(
                .rain("a", fen: 1_000, count: 10, min: 5, seed: .zero, seedWasGiven: false)
            ).isOK)
        #expect(node.send(.rain("a", fen: 1_000, count: 10, min: 5, slices: 0)).isOK)
        #expect(node.journal.count == entries, "a repeated creation journals nothing")
        let bad: [Ask] = [
            .rain("b", fen: 9, count: 10, min: 1), .rain("b", fen: 0, count: 10, min: 0),
            .rain("b", fen: 10, count: 0), .rain("b", fen: 10, count: 10, limit: 0),
            .rain("b", fen: 10, count: 10, limit: Limits.perUser + 1),
            .rain("b", fen: 10, count: 10, opens: 9, closes: 9),
            .rain("b", fen: 10, count: 10, opens: -1),
            .rain("b", fen: 10, count: 10, slices: UInt32(Limits.slices) + 1),
            .rain("b", fen: 10, count: 10, durability: .replicated),
            .rain("b", kind: .luck, fen: 1_000_000, count: Limits.luckPackets + 1),
            .rain("b", fen: 10, count: 10, slices: 1, regions: Self.regions([1, 1])),
            .rain("b", fen: 10, count: 10, slices: 2, regions: Self.regions([0, 0])),
            .rain("b", fen: 10, count: 10, slices: 2, regions: Self.regions([1, 1], same: true)),
            .stock("b", units: -1), .stock("b", units: Limits.unitsPerPool + 1),
            .stock("b", units: 1, holdMs: 999), .stock("b", units: 1, holdMs: Limits.holdMs + 1),
            .stock("b", units: 1, price: -1), .stock("b", units: 1, durability: .memory),
        ]
        for ask in bad { #expect(node.send(ask).failure == .badArgument, "\(ask)") }
        #expect(node.journal.count == entries, "a refused creation journals nothing")
        #expect(node.send(.grab("b", 1)).failure == .noRain)
    }

    private static func regions(_ weights: [UInt32], same: Bool = false) -> [RegionShare] {
        weights.enumerated().map { index, weight in
            RegionShare(name: same || index == 0 ? "east" : "west", weight: weight)
        }
    }

    @Test("a few users may take everything, many times each, and again get what they got")
    func fewUsers() {
        let node = TestNode()
        node.send(.rain("a", fen: 150_000, count: 1_500, limit: 400))
        for number in 0..<1_500 as Range<UInt64> {
            let grab = Ask.grab("a", number % 5, Text64("r\(number)"))
            let first = node.send(grab)
            #expect(first.result == .granted && first.packet == Int64(number))
            if number % 7 == 0 {
                let earlier = number / 2
                let again = node.send(.grab("a", earlier % 5, Text64("r\(earlier)")))
                #expect(again.result == .repeat && again.packet == Int64(earlier))
            }
        }
        #expect(node.send(.grab("a", 3, "more")).result == .soldOut)
    }

    @Test("a second grab returns the first result, a third user finds nothing left")
    func grabbing() {
        let node = TestNode()
        node.send(.rain("a", fen: 1_000, count: 2))
        let first = node.send(.grab("a", 1))
        #expect(first.result == .granted && first.timeMs == t0 && first.packet == 0)
        node.nowMs += 5
        let second = node.send(.grab("a", 2))
        #expect(second.result == .granted && second.timeMs == t0 + 5 && second.packet == 1)
        #expect(first.fen + second.fen == 1_000)
        node.nowMs += 5
        let third = node.send(.grab("a", 3))
        #expect(third.result == .soldOut && third.fen == 0 && third.packet == -1)
        let again = node.send(.grab("a", 1))
        #expect(again.result == .repeat && again.fen == first.fen)
        #expect(again.packet == first.packet && again.timeMs == first.timeMs)
        #expect(
            node.send(.claims("a", 2)).rows
                == [
                    .array([.integer(1), .integer(second.fen), .integer(t0 + 5)])
                ])
        #expect(node.send(.claims("a", 3)).rows.isEmpty)
        #expect(node.send(.grab("nowhere", 1)).failure == .noRain)
        #expect(node.send(.claims("nowhere", 1)).failure == .noRain)
    }

    @Test("a request made under a limit of 1 is known by its id after the limit was raised")
    func raisedLimit() throws {
        let node = TestNode()
        node.send(.rain("a", fen: 1_000, count: 5))
        let first = node.send(.grab("a", 1, "r1"))
        node.send(.alter("a", "raise", limit: 2))
        let again = node.send(.grab("a", 1, "r1"))
        #expect(again.result == .repeat && again.packet == first.packet)
        #expect(node.send(.grab("a", 1, "r2")).result == .granted)
        let restarted = try TestNode(replaying: node.journal, nowMs: node.nowMs)
        let afterwards = restarted.send(.grab("a", 1, "r1"))
        #expect(afterwards.result == .repeat && afterwards.packet == first.packet)
    }

    @Test("creating what is there already needs no room on the disk")
    func createAgainWhenFull() {
        let node = TestNode()
        let rain = Ask.rain("a", fen: 1_000, count: 5)
        #expect(node.send(rain).isOK)
        node.storageIsFull = true
        #expect(node.send(rain).isOK)
        #expect(node.send(.rain("b", fen: 1_000, count: 5)).failure == .full)
    }

    @Test(
        "a memory slice that a crash cut off from its first lease gets it and grants it",
        arguments: 1...9)
    func tornMemoryCreation(entries: Int) throws {
        let node = TestNode(shards: 8)
        let rain = Ask.rain("a", fen: 9_000, count: 9, slices: 2, durability: .memory)
        node.send(rain)
        let torn = try TestNode(
            replaying: node.journal.prefix(entries), nowMs: node.nowMs, cleanStop: false)
        torn.send(rain)
        let before = torn.send(.info("a"))
        let results = (0..<200 as Range<UInt64>).map { torn.send(.grab("a", $0)).result }
        let wins = results.count { $0 == .granted }
        // Either a slice never held a packet, or none of those it held is granted again. Where
        // all of them did, the treasury's rest has nobody to go to.
        let isAllLost = results.allSatisfy { $0 == .lost }
        #expect(Int64(wins) == (isAllLost ? 0 : 9 - before.integer("quarantined")))
        torn.send(.on(.poolClose, "a"))
        let after = Books(torn.send(.info("a")))
        #expect(after.balances && after.held == 0)
    }

    @Test("what a memory slice grants waits until what it was given is durable")
    func memoryWaits() {
        let node = TestNode(shards: 8)
        node.isCaughtUp = false
        node.send(.rain("a", fen: 9_000, count: 9, durability: .memory))
        #expect(node.send(.grab("a", 1)).waits)
        #expect(node.send(.claims("a", 1)).waits)
        node.isCaughtUp = true
        #expect(!node.send(.grab("a", 2)).waits)
        #expect(!node.send(.grab("a", 1)).waits)
    }

    @Test("a journal that ends between funding and leases strands nothing", arguments: 1...12)
    func tornCreation(entries: Int) throws {
        let node = TestNode(shards: 8)
        node.send(.rain("a", fen: 9_000, count: 9, slices: 3))
        node.send(.stock("s", units: 8, limit: 9, slices: 3))
        node.send(.refill("s", 5, "f1"))
        let torn = try TestNode(replaying: node.journal.prefix(entries), nowMs: node.nowMs)
        // Whoever did not hear that it happened asks again.
        torn.send(.rain("a", fen: 9_000, count: 9, slices: 3))
        torn.send(.stock("s", units: 8, limit: 9, slices: 3))
        torn.send(.refill("s", 5, "f1"))
        #expect(torn.send(.info("a")).integer("remaining") == 9)
        #expect(torn.send(.info("s", .stock)).integer("available") == 13)
        let grabs = torn.send((0..<40).map { .grab("a", UserID($0)) })
        #expect(grabs.count { $0.result == .granted } == 9)
        #expect(grabs.count { $0.result == .soldOut } == 31)
        let orders = torn.send((0..<40).map { .reserve("s", UserID($0), 1, "x") })
        #expect(orders.count { $0.result == .reserved } == 13)
        #expect(orders.count { $0.result == .soldOut } == 27)
    }

    @Test("a rain is early before it opens and closed from its closing time on")
    func times() {
        let node = TestNode()
        node.send(.rain("a", fen: 1_000, count: 10, opens: t0 + 100, closes: t0 + 200))
        var answer = node.send(.grab("a", 1))
        #expect(answer.result == .early && answer.timeMs == t0 + 100)
        node.nowMs = t0 + 99
        #expect(node.send(.grab("a", 1)).result == .early)
        node.nowMs = t0 + 100
        #expect(node.send(.grab("a", 1)).result == .granted)
        node.nowMs = t0 + 199
        #expect(node.send(.grab("a", 2)).result == .granted)
        node.nowMs = t0 + 200
        answer = node.send(.grab("a", 3))
        #expect(answer.result == .closed && answer.timeMs == t0 + 200)
        #expect(node.send(.grab("a", 1)).result == .repeat, "a retry after the end")
        #expect(node.send(.grab("a", 2)).timeMs == t0 + 199)
    }

    @Test("a paused rain grants nothing, and answers retries")
    func pausing() {
        let node = TestNode()
        node.send(.rain("a", fen: 1_000, count: 10))
        let first = node.send(.grab("a", 1))
        #expect(node.send(.on(.poolPause, "a")).isOK)
        #expect(node.send(.info("a"))["state"] == .text("paused"))
        #expect(node.send(.grab("a", 2)).result == .paused)
        let again = node.send(.grab("a", 1))
        #expect(again.result == .repeat && again.fen == first.fen)
        let entries = node.journal.count
        #expect(node.send(.on(.poolPause, "a")).isOK)
        #expect(node.journal.count == entries, "pausing twice changes nothing")
        #expect(node.send(.on(.poolResume, "a")).isOK)
        #expect(node.send(.grab("a", 2)).result == .granted)
    }

    @Test("where a user may take several, each request id takes one, and again gets the same")
    func severalEach() {
        let node = TestNode()
        node.send(.rain("a", fen: 10_000, count: 10, limit: 3))
        #expect(node.send(.grab("a", 1)).failure == .badArgument, "no request id")
        let x = node.send(.grab("a", 1, "x"))
        node.nowMs += 1
        let y = node.send(.grab("a", 1, "y"))
        #expect(x.result == .granted && y.result == .granted && x.packet != y.packet)
        node.nowMs += 1
        let again = node.send(.grab("a", 1, "x"))
        #expect(again.result == .repeat && again.packet == x.packet && again.fen == x.fen)
        #expect(again.timeMs == x.timeMs)
        #expect(node.send(.grab("a", 1, "z")).result == .granted)
        #expect(node.send(.grab("a", 1, "w")).result == .limit)
        #expect(node.send(.grab("a", 1, "y")).packet == y.packet)
        #expect(node.send(.grab("a", 1)).failure == .badArgument, "no request id, again")
        #expect(node.send(.claims("a", 1)).rows.count == 3)
        #expect(node.send(.grab("a", 2, "x")).result == .granted, "ids belong to a user")
        #expect(node.send(.on(.poolClose, "a")).isOK)
        #expect(node.send(.grab("a", 1, "x")).packet == x.packet)
        #expect(node.send(.grab("a", 1, "v")).result == .closed)
    }

    @Test("a limit raised midway counts what was taken before")
    func limitRaised() {
        let node = TestNode()
        node.send(.rain("a", fen: 10_000, count: 10))
        let first = node.send(.grab("a", 1))
        #expect(node.send(.alter("a", "up", limit: 2)).isOK)
        #expect(node.send(.grab("a", 1)).failure == .badArgument, "a request id is needed now")
        let second = node.send(.grab("a", 1, "x"))
        #expect(second.result == .granted && second.packet != first.packet)
        #expect(node.send(.grab("a", 1, "y")).result == .limit)
        #expect(node.send(.grab("a", 1, "x")).packet == second.packet)
        #expect(node.send(.claims("a", 1)).rows.count == 2)
        // And users who come after it.
        #expect(node.send(.grab("a", 2, "x")).result == .granted)
        #expect(node.send(.grab("a", 2, "y")).result == .granted)
        #expect(node.send(.grab("a", 2, "z")).result == .limit)
    }

    @Test("a limit lowered midway takes nothing back, and every request keeps its result")
    func limitLowered() {
        let node = TestNode()
        node.send(.rain("a", fen: 10_000, count: 10, limit: 2))
        let x = node.send(.grab("a", 1, "x"))
        let y = node.send(.grab("a", 1, "y"))
        #expect(node.send(.alter("a", "down", limit: 1)).isOK)
        #expect(node.send(.grab("a", 1, "x")).packet == x.packet)
        #expect(node.send(.grab("a", 1, "y")).packet == y.packet)
        let other = node.send(.grab("a", 1, "z"))
        #expect(other.result != .granted)
        #expect(node.send(.grab("a", 2)).result == .granted, "no request id is needed")
        #expect(node.send(.grab("a", 2)).result == .repeat)
        #expect(node.send(.alter("a", "up", limit: 2)).isOK)
        #expect(node.send(.grab("a", 2, "q")).result == .granted)
        #expect(node.send(.claims("a", 2)).rows.count == 2)
    }

    @Test("a home region leads to its slices; others' packets come only once those have none")
    func regions() {
        let node = TestNode()
        let regions = [
            RegionShare(name: "east", weight: 3), RegionShare(name: "west", weight: 1),
        ]
        node.send(.rain("a", fen: 40_000, count: 400, slices: 4, regions: regions))
        let west = node.send((0..<60).map { .grab("a", UserID($0), region: "west") })
        let own = Set(300..<400 as Range<Int64>)
        #expect(west.allSatisfy { $0.result == .granted && own.contains($0.packet) })
        let east = node.send((1_000..<1_340).map { .grab("a", UserID($0), region: "east") })
        #expect(east.count { $0.result == .granted } == 340)
        #expect(east.prefix(250).allSatisfy { !own.contains($0.packet) })
        #expect(node.send(.grab("a", 4_000, region: "west")).result == .soldOut)
        #expect(node.send(.grab("a", 5_000, region: "north")).failure == .badArgument)
        let packets = Set((west + east).filter { $0.result == .granted }.map(\.packet))
        #expect(packets.count == 400)
        #expect(Books(node.send(.info("a"))).held == 0)
    }

    @Test("without a region, a hash of the user over the weights chooses one for good")
    func regionByHash() {
        let node = TestNode(cores: 2)
        let regions = [
            RegionShare(name: "east", weight: 3), RegionShare(name: "west", weight: 1),
        ]
        node.send(.rain("a", fen: 400_000, count: 4_000, slices: 4, regions: regions))
        let first = node.send((0..<2_000).map { .grab("a", UserID($0)) })
        #expect(first.allSatisfy { $0.result == .granted })
        // Packets 0 ..< 3000 are the east's: of 2,000 users about 1,500 (19 is a deviation).
        let east = first.count { $0.packet < 3_000 }
        #expect(abs(east - 1_500) < 97)
        let again = node.send((0..<2_000).map { .grab("a", UserID($0)) })
        #expect(zip(first, again).allSatisfy { $0.packet == $1.packet && $1.result == .repeat })
    }

    @Test("a full disk refuses new grants and nothing else", arguments: [1, 2])
    func fullStorage(cores: Int) {
        let node = TestNode(cores: cores)
        node.send(.rain("a", fen: 1_000, count: 10))
        let first = node.send(.grab("a", 1))
        node.storageIsFull = true
        let entries = node.journal.count
        #expect(node.send(.grab("a", 2)).failure == .full)
        #expect(node.send(.rain("b", fen: 10, count: 1)).failure == .full)
        #expect(node.send(.grab("a", 1)).packet == first.packet)
        #expect(node.journal.count == entries)
        node.storageIsFull = false
        #expect(node.send(.grab("a", 2)).result == .granted)
    }

    @Test("a clock that goes back changes no result and no entry's order")
    func clockGoesBack() throws {
        let node = TestNode()
        node.send(.rain("a", fen: 1_000, count: 10, opens: t0 + 100))
        node.nowMs = t0 + 100
        #expect(node.send(.grab("a", 1)).result == .granted)
        node.nowMs = t0 - 50_000
        let second = node.send(.grab("a", 2))
        #expect(second.result == .granted && second.timeMs == t0 + 100)
        #expect(node.send(.grab("a", 1)).timeMs == t0 + 100)
        let restarted = try TestNode(replaying: node.journal, nowMs: t0 - 60_000)
        #expect(restarted.send(.grab("a", 2)) == node.send(.grab("a", 2)))
        #expect(restarted.send(.grab("a", 3)).timeMs == t0 + 100)
    }

    @Test("replies of memory pools wait for no journal, all others do")
    func waiting() {
        let node = TestNode()
        node.send(.rain("a", fen: 1_000, count: 1))
        node.send(.rain("m", fen: 1_000, count: 1, durability: .memory))
        for user in [1, 2, 1] as [UserID] {
            #expect(node.send(.grab("a", user)).waits)
            #expect(!node.send(.grab("m", user)).waits)
        }
        #expect(node.send(.claims("a", 1)).waits && !node.send(.claims("m", 1)).waits)
    }

    @Test("every kind of rain grants its whole total, across slices", arguments: [1, 3])
    func kinds(cores: Int) {
        for (index, kind) in [PoolKind.spread, .luck, .equal].enumerated() {
            let node = TestNode(cores: cores)
            let name = Text64("rain-\(index)")
            node.send(.rain(name, kind: kind, fen: 99_991, count: 700, slices: 5))
            let all = node.send((0..<2_500).map { .grab(name, UserID($0)) })
            let won = all.filter { $0.result == .granted }
            #expect(won.count == 700)
            #expect(won.reduce(0) { $0 + $1.fen } == 99_991)
            #expect(Set(won.map(\.packet)).count == 700)
            #expect(won.allSatisfy { $0.fen >= 1 })
            let info = node.send(.info(name))
            #expect(info.integer("granted_fen") == 99_991 && info.integer("granted") == 700)
        }
    }
}
