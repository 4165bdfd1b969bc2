import EdgeCore
import EdgeMemory
import EdgeTypes
import Testing

private let t0 = TestNode.startMs

/// Pools whose slices share one treasury: what one slice does not need, another one grants.
@Suite("Treasuries through a core's step")
struct TreasuryNodeTests {
    /// Users whose slice is `slice` of so many.
    private static func users(
        _ count: Int, of name: Text64, _ family: PoolFamily, slices: UInt32, at slice: UInt32
    ) -> [UserID] {
        var found: [UserID] = []
        var user: UserID = 1
        let key = PoolKey.of(family, name)
        while found.count < count {
            let hash = Hash64.keyed(user, salt: Hash64.keyed(key.rawValue, salt: 3))
            if Hash64.reduce(hash, below: UInt64(slices)) == UInt64(slice) { found.append(user) }
            user += 1
        }
        return found
    }

    @Test(
        "users of one slice get every packet of the pool, and then hear that it is sold out",
        arguments: [1, 2, 3], [2, 5, 16] as [UInt32])
    func oneSliceGetsAll(cores: Int, slices: UInt32) {
        let node = TestNode(cores: cores, shards: 16)
        #expect(node.send(.rain("a", fen: 100_000, count: 100, slices: slices)).isOK)
        let users = Self.users(130, of: "a", .rain, slices: slices, at: slices - 1)
        let answers = node.send(users.map { .grab("a", $0) })
        #expect(answers.count { $0.result == .granted } == 100)
        #expect(answers.count { $0.result == .soldOut } == 30)
        #expect(Set(answers.filter { $0.result == .granted }.map(\.packet)).count == 100)
        let info = Books(node.send(.info("a")))
        #expect(info.balances && info.held == 0)
        // From then on nobody waits.
        let before = node.nowMs
        #expect(node.send(.grab("a", 1_000_000)).result == .soldOut)
        #expect(node.nowMs == before)
    }

    @Test("as many wait at a slice as it has room for; others are told to try again")
    func queueLimit() {
        let node = TestNode(cores: 2, shards: 16)
        #expect(node.send(.rain("a", fen: 1_000, count: 10, slices: 4)).isOK)
        node.cut = 100_000
        let count = Limits.waitersPerSlice + 500
        var refused = 0
        for slice in 0..<4 as Range<UInt32> {
            let users = Self.users(count, of: "a", .rain, slices: 4, at: slice)
            let answers = node.send(users.map { .grab("a", $0) })
            let later = answers.count { $0.failure == .tryAgain }
            #expect(later <= 500)
            refused += later
            #expect(
                answers.count { $0.result == .granted || $0.result == .soldOut } == count - later)
            if slice == 0 { #expect(answers.count { $0.result == .granted } == 10) }
        }
        #expect(refused > 0, "no slice is away from its home")
    }

    @Test("who wants more than there is hears so, who wants the rest gets it")
    func leftovers() {
        let node = TestNode(cores: 2, shards: 16)
        node.send(.stock("s", units: 3, limit: 9, slices: 3))
        #expect(node.send(.reserve("s", 1, 4, "a")).result == .soldOut)
        #expect(node.send(.reserve("s", 2, 3, "a")).result == .reserved)
        #expect(node.send(.reserve("s", 3, 1, "a")).result == .soldOut)
    }

    @Test("who lacks a unit of two hears so in the end, and others get the one", arguments: [1, 2])
    func lacksOne(cores: Int) {
        let node = TestNode(cores: cores, shards: 16)
        node.send(.stock("s", units: 1, limit: 9, slices: 3))
        for slice in 0..<3 as Range<UInt32> {
            let users = Self.users(2, of: "s", .stock, slices: 3, at: slice)
            #expect(node.send(.reserve("s", users[0], 2, "a")).result == .soldOut)
            let order = node.send(.reserve("s", users[1], 1, "a"))
            #expect(order.result == .reserved)
            #expect(node.send(.reserve("s", users[0], 2, "b")).result == .soldOut)
            #expect(node.send(.cancel(order.order)).result == .cancelled)
            #expect(node.send(.reserve("s", users[0], 2, "c")).result == .soldOut)
        }
    }

    /// Certificates of a journal, as they were told.
    private static func certificates(_ node: TestNode) throws -> [SoldOut] {
        try node.entries().compactMap {
            if case .poolSoldOut(_, let told) = $0 { told } else { nil }
        }
    }

    @Test("whoever takes a home up certifies anew what is left", arguments: [1, 3])
    func certifiesAnew(cores: Int) throws {
        let node = TestNode(cores: cores, shards: 16)
        node.send(.stock("s", units: 3, limit: 9, slices: 3))
        let orders = node.send((1...4 as ClosedRange<UserID>).map { .reserve("s", $0, 1, "a") })
        #expect(orders.count { $0.result == .soldOut } == 1)
        let before = try #require(try Self.certificates(node).last)
        #expect(before.left == 0)
        let again = try TestNode(
            replaying: node.journal, cores: cores, shards: 16, nowMs: node.nowMs)
        var anew = before
        anew.generation += 1
        // Returns that are sent again at a restart withdraw it once more where there are any.
        #expect(try Self.certificates(again).prefix(2) == [before, anew])
        #expect(again.send(.reserve("s", 9, 1, "a")).result == .soldOut)
        let reserved = try #require(orders.first { $0.result == .reserved })
        #expect(again.send(.cancel(reserved.order)).result == .cancelled)
        #expect(again.send(.reserve("s", 10, 1, "a")).result == .reserved)
    }

    @Test("a withdrawal that a loss of power cut off behind what was put in is made up for")
    func withdrawalIsMissing() throws {
        let node = TestNode(cores: 1, shards: 16)
        node.send(.stock("s", units: 3, limit: 9, slices: 3))
        #expect(
            node.send((1...4 as ClosedRange<UserID>).map { .reserve("s", $0, 1, "a") })
                .contains { $0.result == .soldOut })
        #expect(node.send(.refill("s", 5, "more")).isOK)
        let entries = try node.entries()
        let funded = try #require(
            entries.firstIndex { if case .poolFunded = $0 { true } else { false } })
        #expect(
            entries[(funded + 1)...].contains {
                if case .poolSoldOut(_, let told) = $0 { !told.stands } else { false }
            })
        let torn = try TestNode(
            replaying: node.journal[...funded], cores: 1, shards: 16, nowMs: node.nowMs)
        #expect(try Self.certificates(torn).prefix(2).map(\.stands) == [true, false])
        let more = torn.send((11...16 as ClosedRange<UserID>).map { .reserve("s", $0, 1, "a") })
        #expect(more.count { $0.result == .reserved } == 5)
    }

    @Test("units that come back go to whoever wants them, wherever", arguments: [1, 3])
    func comesBack(cores: Int) {
        let node = TestNode(cores: cores, shards: 16)
        node.send(.stock("s", units: 10, limit: 9, holdMs: 60_000, slices: 4))
        let first = Self.users(10, of: "s", .stock, slices: 4, at: 0)
        let orders = node.send(first.map { .reserve("s", $0, 1, "a") })
        #expect(orders.allSatisfy { $0.result == .reserved })
        let other = Self.users(4, of: "s", .stock, slices: 4, at: 3)
        #expect(node.send(.reserve("s", other[0], 1, "a")).result == .soldOut)
        #expect(node.send(.cancel(orders[4].order)).result == .cancelled)
        #expect(node.send(.reserve("s", other[1], 1, "a")).result == .reserved)
        #expect(node.send(.reserve("s", other[2], 1, "a")).result == .soldOut)
        #expect(node.send(.refill("s", 1, "f")).isOK)
        #expect(node.send(.reserve("s", other[3], 1, "a")).result == .reserved)
    }

    private static let regions = [
        RegionShare(name: "north", weight: 60), RegionShare(name: "south", weight: 30),
        RegionShare(name: "west", weight: 10),
    ]

    @Test(
        "one region's crowd gets every packet of the pool, and then hears that it is sold out",
        arguments: [1, 3], [3, 7] as [UInt32])
    func oneRegionGetsAll(cores: Int, slices: UInt32) {
        let node = TestNode(cores: cores, shards: 16)
        let rain = node.send(
            .rain("a", fen: 100_000, count: 100, slices: slices, regions: Self.regions))
        #expect(rain.isOK)
        let users = (1...130).map { UserID($0) }
        let answers = node.send(users.map { .grab("a", $0, region: "west") })
        #expect(answers.count { $0.result == .granted } == 100)
        #expect(answers.count { $0.result == .soldOut } == 30)
        #expect(Set(answers.filter { $0.result == .granted }.map(\.packet)).count == 100)
        // Everywhere, by now.
        let before = node.nowMs
        for region in Self.regions {
            let answer = node.send(.grab("a", 1_000_000, region: region.name))
            #expect(answer.result == .soldOut)
        }
        #expect(node.nowMs == before)
        let info = Books(node.send(.info("a")))
        #expect(info.balances && info.held == 0)
    }

    @Test("a unit that comes back in one region is sold in another", arguments: [1, 3])
    func otherRegions(cores: Int) {
        let node = TestNode(cores: cores, shards: 16)
        node.send(
            .stock("s", units: 9, limit: 9, holdMs: 60_000, slices: 3, regions: Self.regions))
        let orders = (1...9).map { user in
            node.send(.reserve("s", UserID(user), 1, "a", region: "south"))
        }
        #expect(orders.allSatisfy { $0.result == .reserved })
        #expect(node.send(.reserve("s", 20, 1, "a", region: "north")).result == .soldOut)
        #expect(node.send(.cancel(orders[3].order)).result == .cancelled)
        #expect(node.send(.cancel(orders[5].order)).result == .cancelled)
        #expect(node.send(.reserve("s", 21, 3, "a", region: "west")).result == .soldOut)
        #expect(node.send(.reserve("s", 22, 2, "a", region: "west")).result == .reserved)
        #expect(node.send(.reserve("s", 23, 1, "a", region: "north")).result == .soldOut)
        #expect(node.send(.refill("s", 3, "f")).isOK)
        #expect(node.send(.reserve("s", 24, 3, "a", region: "west")).result == .reserved)
    }

    @Test("a late payment takes units that are elsewhere")
    func latePayment() {
        let node = TestNode(cores: 2, shards: 16)
        node.send(.stock("s", units: 6, limit: 9, holdMs: 1_000, slices: 3))
        let users = Self.users(2, of: "s", .stock, slices: 3, at: 1)
        let order = node.send(.reserve("s", users[0], 4, "a"))
        #expect(order.result == .reserved)
        node.advance(toMs: node.nowMs + 2_000)
        let others = Self.users(3, of: "s", .stock, slices: 3, at: 2)
        #expect(node.send(.reserve("s", others[0], 1, "b")).result == .reserved)
        #expect(node.send(.pay(order.order, "p", -1)).result == .late)
        #expect(node.send(.reserve("s", others[1], 2, "b")).result == .soldOut)
    }

    @Test("everything is granted after a restart in the middle", arguments: [1, 2])
    func restarts(cores: Int) throws {
        let node = TestNode(cores: cores, shards: 16)
        node.send(.rain("a", fen: 50_000, count: 50, slices: 4))
        node.send((1...30).map { .grab("a", $0) })
        let late = Self.users(60, of: "a", .rain, slices: 4, at: 2).filter { $0 > 30 }
        for restarted in [
            try TestNode(replaying: node.journal, cores: cores, shards: 16, nowMs: node.nowMs),
            try node.restartedFromSnapshots(cores: cores),
        ] {
            let answers = restarted.send(late.map { .grab("a", $0) })
            #expect(answers.count { $0.result == .granted } == 20)
            let again = try TestNode(
                replaying: node.journal
                    + restarted.journal.dropFirst(
                        restarted.journal.starts(with: node.journal) ? node.journal.count : 0),
                cores: cores, shards: 16, nowMs: restarted.nowMs)
            #expect(again.send(.grab("a", 1_000_000)).result == .soldOut)
            #expect(Books(again.send(.info("a"))).balances)
            #expect(again.send(.on(.poolClose, "a")).isOK)
            #expect(again.send(.info("a")).integer("granted") == 50)
        }
    }

    @Test("those who wait hear of a pause and of the end")
    func terms() {
        let node = TestNode(cores: 2, shards: 16)
        node.send(.rain("a", fen: 1_000, count: 10, slices: 4))
        var asks: [Ask] = (1...30).map { .grab("a", $0) }
        asks.append(.on(.poolPause, "a"))
        let answers = node.send(asks)
        #expect(answers.count { $0.result == .granted } <= 10)
        #expect(answers.allSatisfy { $0.result != nil || $0.isOK })
        #expect(node.send(.on(.poolClose, "a")).isOK)
        #expect(Books(node.send(.info("a"))).balances)
    }
}
