import EdgeDomain
import EdgeMemory
import EdgeTypes
import Testing

@Suite("Orders through a core's step")
struct OrderNodeTests {
    private let t0 = TestNode.startMs

    @Test("a reservation is paid once, and found again by SKU and user", arguments: [1, 2])
    func paying(cores: Int) {
        let node = TestNode(cores: cores)
        node.send(.stock("s", units: 5, limit: 3, price: 250, slices: 2))
        let reserved = node.send(.reserve("s", 42, 2, "r1"))
        #expect(reserved.result == .reserved && reserved.timeMs == t0 + 1_800_000)
        let order = reserved.order
        let again = node.send(.reserve("s", 42, 2, "r1"))
        #expect(again.result == .repeat && again.order == order)
        #expect(node.send(.reserve("s", 42, 3, "r1")).failure == .mismatch)
        let limited = node.send(.reserve("s", 42, 2, "r2"))
        #expect(limited.result == .limit && limited.order == order)
        #expect(node.send(.reserve("s", 42, 0, "r3")).failure == .badArgument)
        let row = Value.array([
            .text(order.text), .text("reserved"), .integer(2), .integer(t0 + 1_800_000),
        ])
        #expect(node.send(.orders("s", 42)).rows == [row])
        #expect(node.send(.orders("s", 43)).rows.isEmpty)
        #expect(node.send(.pay(order, "p1", 499)).failure == .mismatch)
        #expect(node.send(.pay(order, "p1", 500)).result == .paid)
        #expect(node.send(.pay(order, "p1", 500)).result == .repeat)
        #expect(node.send(.pay(order, "p2", 500)).result == .refund)
        #expect(node.send(.cancel(order)).result == .paid)
        let info = node.send(.order(order))
        #expect(info["state"] == .text("paid") && info["payment"] == .text("p1"))
        #expect(info["user"] == .text("42") && info.integer("qty") == 2)
        let books = Books(node.send(.info("s", .stock)))
        #expect(books.balances && books.granted == 2 && books.pending == 0 && books.held == 3)
    }

    @Test("orders that are not, and those of others, are no orders")
    func strangers() {
        let node = TestNode(cores: 2)
        node.send(.stock("s", units: 5))
        let order = node.send(.reserve("s", 1)).order
        #expect(node.send(.order(order, by: 2)).failure == .noOrder)
        #expect(node.send(.cancel(order, by: 2)).failure == .noOrder)
        #expect(node.send(.order(order, by: 1))["state"] == .text("reserved"))
        let others: [OrderID] = [
            OrderID(rawValue: 0), OrderID(rawValue: .max), OrderID(shard: order.shard, number: 9),
            OrderID(shard: 16_383, number: 0), OrderID(rawValue: order.rawValue & ~(1 << 60)),
        ]
        for other in others {
            #expect(node.send(.order(other)).failure == .noOrder)
            #expect(node.send(.pay(other, "p")).failure == .noOrder)
            #expect(node.send(.cancel(other)).failure == .noOrder)
            #expect(node.send(.refund(other, "r", 1)).failure == .noOrder)
        }
        #expect(node.send(.cancel(order, by: 1)).result == .cancelled)
        #expect(node.send(.reserve("nowhere", 1)).failure == .noStock)
        #expect(node.send(.orders("nowhere", 1)).failure == .noStock)
    }

    @Test("a hold that ends gives its units back; a payment after that takes them anew or is due")
    func expiry() {
        let node = TestNode()
        node.send(.stock("s", units: 1, holdMs: 10_000))
        let first = node.send(.reserve("s", 1)).order
        #expect(node.send(.reserve("s", 2)).result == .soldOut)
        node.advance(toMs: t0 + 9_999)
        #expect(node.send(.order(first))["state"] == .text("reserved"))
        node.advance(toMs: t0 + 10_100)
        #expect(node.send(.order(first))["state"] == .text("expired"))
        #expect(Books(node.send(.info("s", .stock))).held == 1)
        #expect(node.send(.pay(first, "p1")).result == .late)
        #expect(node.send(.pay(first, "p1")).result == .repeat)
        #expect(node.send(.order(first))["state"] == .text("paid"))
        node.send(.refill("s", 1, "f"))
        let second = node.send(.reserve("s", 2)).order
        node.advance(toMs: t0 + 30_000)
        let third = node.send(.reserve("s", 3))
        #expect(third.result == .reserved)
        #expect(node.send(.pay(second, "p2")).result == .refund)
        #expect(node.send(.pay(second, "p2")).result == .refund)
        #expect(Books(node.send(.info("s", .stock))).balances)
    }

    @Test("many holds that end at once are let go in several steps, all of them")
    func manyExpiries() {
        let node = TestNode()
        node.send(.stock("s", units: 1_000, holdMs: 1_000))
        node.send((0..<1_000).map { .reserve("s", UserID($0)) })
        #expect(Books(node.send(.info("s", .stock))).pending == 1_000)
        node.advance(toMs: t0 + 2_000)
        let books = Books(node.send(.info("s", .stock)))
        #expect(books.pending == 0 && books.held == 1_000)
        #expect(node.deadlineMs[0] == .max)
    }

    @Test("what a step leaves to the next is asked for at a time that clocks can be taken off")
    func leftOver() {
        let node = TestNode()
        node.send(.stock("s", units: 1_000, holdMs: 1_000))
        node.send((0..<1_000).map { .reserve("s", UserID($0)) })
        node.nowMs = t0 + 2_000
        node.tick()
        #expect(Books(node.send(.info("s", .stock))).pending > 0)
        #expect(node.deadlineMs[0] == 0)
    }

    @Test("after a restart a core asks to be woken for its first hold and closing time")
    func wakingUp() throws {
        let node = TestNode()
        node.send(.stock("s", units: 10, holdMs: 5_000))
        node.send(.reserve("s", 1))
        let held = try TestNode(replaying: node.journal, nowMs: t0 + 1)
        #expect(held.deadlineMs[0] > t0 + 1 && held.deadlineMs[0] <= t0 + 5_064)
        #expect(try node.restartedFromSnapshots(cores: 1).deadlineMs[0] <= t0 + 5_064)
        node.send(.rain("r", fen: 100, count: 10, closes: t0 + 2_000))
        let closing = try TestNode(replaying: node.journal, nowMs: t0 + 1)
        #expect(closing.deadlineMs[0] == t0 + 2_000)
        let idle = TestNode()
        idle.send(.stock("s", units: 10))
        #expect(try TestNode(replaying: idle.journal, nowMs: t0 + 1).deadlineMs[0] == .max)
    }

    @Test("refunds give back at most what was paid, and units where told")
    func refunds() {
        let node = TestNode()
        node.send(.stock("s", units: 5, limit: 5, price: 100))
        let order = node.send(.reserve("s", 1, 3)).order
        #expect(node.send(.refund(order, "f", 10)).failure == .badArgument, "never paid")
        node.send(.pay(order, "p"))
        #expect(node.send(.refund(order, "f1", 100, restock: 1)).result == .refunded)
        #expect(node.send(.refund(order, "f1", 100, restock: 1)).result == .repeat)
        #expect(node.send(.refund(order, "f1", 101, restock: 1)).failure == .mismatch)
        #expect(node.send(.refund(order, "f2", 201)).failure == .badArgument)
        #expect(node.send(.refund(order, "f2", 200, restock: 3)).failure == .badArgument)
        #expect(node.send(.refund(order, "f2", 200, restock: 2)).result == .refunded)
        #expect(node.send(.order(order))["state"] == .text("refunded"))
        let books = Books(node.send(.info("s", .stock)))
        #expect(books.balances && books.held == 5 && books.granted == 0)
    }

    /// How the last open hold of a closing sale ends.
    enum End: CaseIterable { case paid, cancelled, expired }

    @Test(
        "a closing sale waits for its open holds, however they end, and then returns the rest",
        arguments: End.allCases, [1, 2])
    func closing(_ end: End, cores: Int) {
        let node = TestNode(cores: cores)
        node.send(.stock("s", units: 10, holdMs: 10_000, slices: 2))
        let order = node.send(.reserve("s", 1)).order
        #expect(node.send(.on(.poolClose, "s", .stock)).isOK)
        #expect(node.send(.reserve("s", 2)).result == .closed)
        #expect(node.send(.reserve("s", 1)).result == .repeat)
        #expect(node.send(.info("s", .stock))["state"] == .text("closing"))
        switch end {
        case .paid: #expect(node.send(.pay(order, "p")).result == .paid)
        case .cancelled: #expect(node.send(.cancel(order)).result == .cancelled)
        case .expired: node.advance(toMs: t0 + 11_000)
        }
        let info = node.send(.info("s", .stock))
        #expect(info["state"] == .text("closed"))
        let books = Books(info)
        #expect(books.balances && books.held == 0 && books.pending == 0)
        #expect(books.returned == (end == .paid ? 9 : 10))
        switch end {
        case .paid: #expect(node.send(.pay(order, "p")).result == .repeat)
        case .cancelled: #expect(node.send(.pay(order, "p")).result == .refund)
        case .expired: #expect(node.send(.pay(order, "p")).result == .refund)
        }
        #expect(Books(node.send(.info("s", .stock))).balances)
    }

    @Test("units that come back after a sale closed stay in its books")
    func restockAfterClosing() {
        let node = TestNode()
        node.send(.stock("s", units: 10, limit: 5, price: 10))
        let order = node.send(.reserve("s", 1, 4)).order
        node.send(.pay(order, "p"))
        node.send(.on(.poolClose, "s", .stock))
        #expect(node.send(.info("s", .stock))["state"] == .text("closed"))
        #expect(node.send(.refund(order, "f", 40, restock: 4)).result == .refunded)
        let books = Books(node.send(.info("s", .stock)))
        #expect(books.balances)
        #expect(node.send(.reserve("s", 2)).result == .closed)
    }

    @Test("a sale opens, closes and pauses by the same rules as a rain")
    func terms() {
        let node = TestNode()
        node.send(.stock("s", units: 10, opens: t0 + 100, closes: t0 + 200))
        let early = node.send(.reserve("s", 1))
        #expect(early.result == .early && early.timeMs == t0 + 100)
        node.advance(toMs: t0 + 100)
        let order = node.send(.reserve("s", 1)).order
        node.send(.on(.poolPause, "s", .stock))
        #expect(node.send(.reserve("s", 2)).result == .paused)
        #expect(node.send(.reserve("s", 1)).result == .repeat)
        node.send(.on(.poolResume, "s", .stock))
        node.advance(toMs: t0 + 200)
        #expect(node.send(.reserve("s", 2)).result == .closed)
        #expect(node.send(.pay(order, "p")).result == .paid)
        #expect(node.send(.info("s", .stock))["state"] == .text("closed"))
    }

    @Test("a full disk refuses reservations, and takes payments, cancellations and expiries")
    func fullStorage() {
        let node = TestNode()
        node.send(.stock("s", units: 10, holdMs: 1_000))
        let orders = (1...4).map { node.send(.reserve("s", $0)).order }
        node.storageIsFull = true
        #expect(node.send(.reserve("s", 9)).failure == .full)
        #expect(node.send(.reserve("s", 1)).result == .repeat)
        #expect(node.send(.pay(orders[0], "p")).result == .paid)
        #expect(node.send(.cancel(orders[1])).result == .cancelled)
        node.advance(toMs: t0 + 2_000)
        #expect(node.send(.order(orders[2]))["state"] == .text("expired"))
        #expect(node.send(.pay(orders[3], "q")).result == .late)
        #expect(node.send(.refund(orders[0], "f", 100)).result == .refunded)
        #expect(Books(node.send(.info("s", .stock))).balances)
    }

    @Test("each region of a sale has its share, and what is left of another's")
    func regions() {
        let node = TestNode(cores: 2)
        let regions = [
            RegionShare(name: "east", weight: 3), RegionShare(name: "west", weight: 1),
        ]
        node.send(.stock("s", units: 8, slices: 2, regions: regions))
        let west = node.send((0..<2).map { .reserve("s", UserID($0), region: "west") })
        #expect(west.count { $0.result == .reserved } == 2)
        #expect(node.send(.reserve("s", 99, region: "north")).failure == .badArgument)
        let east = node.send((100..<104).map { .reserve("s", UserID($0), region: "east") })
        #expect(east.count { $0.result == .reserved } == 4)
        let late = node.send((10..<20).map { .reserve("s", UserID($0), region: "west") })
        #expect(late.count { $0.result == .reserved } == 2)
        #expect(node.send(.reserve("s", 200, region: "east")).result == .soldOut)
    }
}
