import EdgeCluster
import EdgeCore
import EdgeDomain
import EdgeLedger
import EdgeMemory
import EdgeTypes
import EdgeWire
import Testing

/// A closed SKU's orders leave memory once the store has them; what becomes of them is decided from
/// what the store says.
@Suite("Orders of closed SKUs are archived")
struct ArchivedOrdersTests {
    private static let afterMs: Int64 = 60_000
    private static let key = PoolKey.of(.stock, "s")

    /// A store that has the node's journal so far.
    private struct Store {
        var fold = LedgerFold()
        var requests: [OrderID: UInt64] = [:]
        var payments: [(OrderID, Text64, bought: Bool)] = []
        var refunds: [OrderRefunded] = []
        var taken = 0
        var marks: [ShardID: UInt64] = [:]

        mutating func take(_ node: TestNode) throws {
            while taken < node.journal.count {
                try node.journal[taken].bytes.withUnsafeBytes { bytes in
                    let frame = try JournalFrame.parse(bytes)
                    let entry = try frame.entry()
                    try fold.apply(frame.header, entry)
                    marks[frame.shard] = frame.sequence
                    switch entry {
                    case .orderReserved(let order): requests[order.order] = order.requestHash
                    case .orderPaid(let paid): payments.append((paid.order, paid.payment, true))
                    case .paymentRefused(let paid):
                        payments.append((paid.order, paid.payment, false))
                    case .orderRefunded(let refund): refunds.append(refund)
                    default: break
                    }
                }
                taken += 1
            }
        }

        func asOf(_ question: ArchivedOrders) -> UInt64 {
            marks[EntryID.shard(of: question.last)] ?? 0
        }

        func find(_ question: ArchivedOrders) -> [StoredOrder]? {
            guard
                marks[EntryID.shard(of: question.last)] ?? 0 >= EntryID.sequence(of: question.last)
            else { return nil }
            let own = fold.orders.filter {
                $0.pool == PoolKey.of(.stock, question.sku) && $0.slice == question.slice
                    && $0.user == question.user
            }.reversed().map { StoredOrder(record: $0, sku: question.sku) }
            switch question.operation {
            case .orders: return own
            case .reserve:
                return own.filter { requests[$0.record.order] == question.requestHash }
            default: break
            }
            guard let record = fold.order(question.order) else { return [] }
            var known = RecalledOrder.Known.new
            if let paid = payments.first(where: { $0.0 == record.order && $0.1 == question.text }) {
                known = paid.bought ? .bought : .refused
            }
            if question.operation == .orderRefund {
                known = .new
                if let refund = refunds.first(where: {
                    $0.order == record.order && $0.request == question.text
                }) {
                    known = .refund(amountFen: refund.amountFen, restocked: refund.restock)
                }
            }
            return [StoredOrder(record: record, sku: Text64(fold.name(record.pool)), known: known)]
        }
    }

    /// A node with its store, as its clients hear it.
    private final class House {
        var node: TestNode
        var store = Store()
        /// Whether the store follows at once.
        var follows = true

        init(_ node: TestNode) { self.node = node }

        func hear(_ ask: Ask) throws -> Answer {
            var told = node.send(ask)
            var turns = 0
            while told.shape == .archived {
                if follows { try store.take(node) }
                guard case .orders(let question)? = StoreQuestion(told.body) else {
                    Issue.record("no question: \(told)")
                    return told
                }
                let reply = Reply(
                    ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0),
                    shape: told.shape, outcome: told.outcome, waitsForJournal: told.waits)
                guard let found = store.find(question) else {
                    return Answer(
                        Reply(ticket: reply.ticket, shape: .error, error: .tryAgain), .null)
                }
                switch question.answer(reply, found, asOf: store.asOf(question)) {
                case .reply(let answer, let body): told = Answer(answer, body ?? .null)
                case .decide(let request, let payload): told = node.send(Ask(request, payload))
                }
                turns += 1
                #expect(turns < 5)
            }
            // What comes from the store is committed.
            told.waits = false
            return told
        }

        func archive() throws {
            try store.take(node)
            node.storeAll()
            node.advance(toMs: node.nowMs + ArchivedOrdersTests.afterMs + 3_000)
        }

        func archived() throws -> Int {
            try node.entries().count { if case .sliceArchived = $0 { true } else { false } }
        }
    }

    /// Two SKUs with orders of every kind; "s" is closed.
    private static func closed(cores: Int, archives: Bool, slices: UInt32 = 4) -> House {
        let node = TestNode(
            cores: cores, shards: 16, archiveOrdersAfterMs: archives ? afterMs : .max)
        node.send(.stock("s", units: 400, limit: 5, holdMs: 10_000, slices: slices))
        node.send(.stock("open", units: 400, limit: 5, holdMs: 900_000_000, slices: slices))
        for user in 1...40 as ClosedRange<UserID> {
            node.nowMs += 1
            let order = node.send(.reserve("s", user, 2, Text64("r\(user)"))).order
            node.send(.reserve("open", user, 1, Text64("o\(user)")))
            switch user % 5 {
            case 0: break
            case 1: node.send(.cancel(order))
            case 2:
                node.send(.pay(order, Text64("p\(user)")))
                node.send(.refund(order, "x", 60, restock: 1))
            default:
                node.send(.pay(order, Text64("p\(user)")))
                if user % 2 == 0 { node.send(.pay(order, Text64("q\(user)"))) }
                node.send(.reserve("s", user, 1, Text64("again\(user)")))
            }
        }
        node.advance(toMs: node.nowMs + 11_000)
        #expect(node.send(.on(.poolClose, "s", .stock)).isOK)
        node.advance(toMs: node.nowMs + 2_000)
        return House(node)
    }

    private static func orders(_ house: House) throws -> [OrderID] {
        try house.store.take(house.node)
        return house.store.fold.orders.map(\.order)
    }

    private static func asks(_ orders: [OrderID]) -> [Ask] {
        var asks: [Ask] = []
        for user in 1...41 as ClosedRange<UserID> {
            let few: [Ask] = [
                .orders("s", user), .reserve("s", user, 2, Text64("r\(user)")),
                .reserve("s", user, 1, Text64("r\(user)")),
                .reserve("s", user, 1, Text64("again\(user)")),
                .reserve("s", user, 1, Text64("new\(user)")),
                .reserve("s", user, 0, Text64("r\(user)")),
                .orders("open", user), .reserve("open", user, 1, Text64("o\(user)")),
            ]
            asks += few
        }
        for (index, order) in orders.enumerated() {
            let payment = Text64("p\(1 + index % 41)")
            let few: [Ask] = [
                .order(order), .order(order, by: 7), .cancel(order, by: 3),
                .pay(order, payment), .pay(order, "late", 999), .pay(order, "late"),
                .pay(order, "late"), .pay(order, payment),
                .refund(order, "x", 60, restock: 1), .refund(order, "x", 61, restock: 1),
                .refund(order, "y", 100), .refund(order, "y", 100), .refund(order, "z", 1_000),
                .refund(order, "z", 0, restock: 1), .refund(order, "free", 0), .order(order),
                .cancel(order), .refund(order, "rest", 40), .refund(order, "rest", 40),
            ]
            asks += few
        }
        return asks
    }

    @Test("everybody hears what they would have heard without the archive", arguments: [1, 3])
    func sameAnswers(cores: Int) throws {
        let plain = Self.closed(cores: cores, archives: false)
        let house = Self.closed(cores: cores, archives: true)
        try plain.archive()
        try house.archive()
        #expect(try house.archived() == 4)
        #expect(try plain.archived() == 0)
        let orders = try Self.orders(house)
        #expect(orders == (try Self.orders(plain)))
        let held = (0..<16).map { shard in
            house.node.nodes[shard % cores].bookSize(of: ShardID(shard)).orders
        }
        #expect(held.reduce(0, +) <= 80)
        for ask in Self.asks(orders) {
            let expected = try plain.hear(ask)
            let told = try house.hear(ask)
            #expect(told == expected, "\(ask)")
        }
        #expect(try plain.archived() == 0)
        #expect(
            house.node.send(.info("s", .stock)).without("archived")
                == plain.node.send(.info("s", .stock)).without("archived"))
        #expect(house.node.send(.info("s", .stock)).integer("archived") == 4)
        try house.store.take(house.node)
        try plain.store.take(plain.node)
        #expect(house.store.fold.orders == plain.store.fold.orders)
        let audit = house.store.fold.checkEnd()
        #expect(audit.isClean, "\(audit.findings)")
    }

    @Test("a restart from the journal or from snapshots keeps what was archived, and its payments")
    func restarts() throws {
        let house = Self.closed(cores: 2, archives: true)
        try house.archive()
        let orders = try Self.orders(house)
        let info = house.node.send(.info("s", .stock))
        for order in orders.prefix(20) {
            _ = try house.hear(.pay(order, "late"))
            _ = try house.hear(.refund(order, "late", 10))
        }
        // Of users alone; those who reserve for the first time have done so then.
        let asks = Self.asks([])
        for ask in asks { _ = try house.hear(ask) }
        let before = try asks.map { try house.hear($0) }
        for other in [
            try TestNode(
                replaying: house.node.journal, cores: 2, shards: 16, nowMs: house.node.nowMs,
                archiveOrdersAfterMs: Self.afterMs),
            try house.node.restartedFromSnapshots(cores: 1),
        ] {
            let again = House(other)
            again.store = house.store
            again.store.taken = other.journal.count
            for (ask, expected) in zip(asks, before) {
                #expect(try again.hear(ask) == expected, "\(ask)")
            }
            for order in orders.prefix(20) {
                #expect(try again.hear(.order(order)) == house.hear(.order(order)))
                let paid = try again.hear(.pay(order, "late")).result
                #expect(paid == (try house.hear(.pay(order, "late")).result))
            }
        }
        #expect(info.integer("quarantined") == 0)
    }

    @Test("what the store says is believed only as long as nothing has happened to the order")
    func stale() throws {
        let house = Self.closed(cores: 1, archives: true, slices: 1)
        try house.archive()
        let order = try #require(
            try Self.orders(house).first { house.store.fold.order($0)?.state == .paid })
        func decide(_ ask: Ask) throws -> Ask? {
            let told = house.node.send(ask)
            guard case .orders(let question)? = StoreQuestion(told.body),
                let found = house.store.find(question)
            else { return nil }
            let reply = Reply(
                ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0),
                shape: .archived)
            guard
                case .decide(let request, let payload) = question.answer(
                    reply, found, asOf: house.store.asOf(question))
            else { return nil }
            return Ask(request, payload)
        }
        let left = house.store.fold.order(order).map { $0.paidFen - $0.refundedFen } ?? 0
        // Two refunds of all that is left, and both were told that it is left.
        let first = try #require(try decide(.refund(order, "one", left)))
        let second = try #require(try decide(.refund(order, "two", left)))
        #expect(house.node.send(first).result == .refunded)
        #expect(house.node.send(second).failure == .tryAgain)
        #expect(house.node.send(first).failure == .tryAgain)
        // The store does not have the first yet: nobody is believed.
        house.follows = false
        #expect(try house.hear(.refund(order, "two", left)).failure == .tryAgain)
        #expect(try house.hear(.order(order)).failure == .tryAgain)
        house.follows = true
        #expect(try house.hear(.refund(order, "two", left)).failure == .badArgument)
        #expect(try house.hear(.refund(order, "one", left)).result == .repeat)
        #expect(try house.hear(.order(order))["state"] == .text("refunded"))
    }

    @Test("nothing leaves that is open, unknown to the store, or young; or while it is off")
    func stays() throws {
        let house = Self.closed(cores: 1, archives: true)
        #expect(try house.archived() == 0)
        house.node.advance(toMs: house.node.nowMs + 10 * Self.afterMs)
        // The store has nothing.
        #expect(try house.archived() == 0)
        house.node.storeAll()
        house.node.advance(toMs: house.node.nowMs + 3_000)
        #expect(try house.archived() == 4)
        #expect(
            house.node.nodes[0].orders(ofSlice: 0, PoolKey.of(.stock, "open"))?.isArchived == false)
        // A payment that comes later keeps its slice for as long again.
        let young = Self.closed(cores: 1, archives: true, slices: 1)
        young.node.advance(toMs: young.node.nowMs + Self.afterMs - 5_000)
        let order = try #require(try Self.orders(young).first)
        #expect(young.node.send(.pay(order, "z")).result == .refund)
        young.node.storeAll()
        young.node.advance(toMs: young.node.nowMs + Self.afterMs - 1_000)
        #expect(try young.archived() == 0)
        young.node.advance(toMs: young.node.nowMs + 4_000)
        #expect(try young.archived() == 1)
    }
}
