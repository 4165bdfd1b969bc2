import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeStores
import EdgeTypes
import StoresTestSupport
import Testing

private let ticket = Ticket(core: 0, generation: 0, connection: 0, position: 0)

/// Asks a store that has it all about the orders of a history, and compares with its entries.
func checkArchivedOrders(_ history: StoreHistory, _ lanes: [MemoryLane]) throws {
    var fold = LedgerFold()
    var requests: [OrderID: UInt64] = [:]
    var refused: [PaymentRefused] = []
    var refunds: [OrderRefunded] = []
    for item in lanes.flatMap(\.entries) {
        try fold.apply(item.header, item.entry)
        switch item.entry {
        case .orderReserved(let order): requests[order.order] = order.requestHash
        case .paymentRefused(let payment): refused.append(payment)
        case .orderRefunded(let refund): refunds.append(refund)
        default: break
        }
    }
    func ask(
        _ operation: Operation, _ order: OrderRecord, hash: UInt64 = 0, text: Text64 = Text64()
    ) throws -> [StoredOrder] {
        let request = Request(
            ticket: ticket, operation: operation, user: order.user, order: order.order,
            requestHash: hash)
        let question = ArchivedOrders(
            request, sku: Text64(fold.name(order.pool)), slice: order.slice, text: text, last: 0)
        #expect(ArchivedOrders(question.value) == question)
        #expect(StoreQuestion(question.value) == .orders(question))
        return try history.orders(question)
    }
    let big = try #require(fold.orders.first { $0.user > UserID(Int64.max) })
    let hashed = try #require(fold.orders.first { (requests[$0.order] ?? 0) > UInt64(Int64.max) })
    for order in [big, hashed] + fold.orders.prefix(40) {
        let own = fold.orders.filter {
            $0.user == order.user && $0.pool == order.pool && $0.slice == order.slice
        }
        .sorted { $0.order.rawValue > $1.order.rawValue }
        #expect(try ask(.orders, order).map(\.record) == own)
        let hash = requests[order.order] ?? 0
        #expect(
            try ask(.reserve, order, hash: hash).map(\.record)
                == own.filter {
                    requests[$0.order] == hash && hash != 0
                })
        #expect(try ask(.reserve, order, hash: 12_345).isEmpty)
        let found = try ask(.orderInfo, order)
        #expect(found.map(\.record) == [order])
        #expect(found.first?.sku.description == fold.name(order.pool))
        guard !order.payment.isEmpty else { continue }
        #expect(try ask(.orderPay, order, text: order.payment).map(\.known) == [.bought])
        #expect(try ask(.orderPay, order, text: "other").map(\.known) == [.new])
        // Ids that differ in a space at their end are two.
        let longer = Text64(order.payment.description + " ")
        #expect(try ask(.orderPay, order, text: longer).map(\.known) == [.new])
    }
    #expect(!refused.isEmpty && !refunds.isEmpty)
    for payment in refused.prefix(20) {
        let order = try #require(fold.order(payment.order))
        if order.payment == payment.payment { continue }
        #expect(try ask(.orderPay, order, text: payment.payment).map(\.known) == [.refused])
    }
    for refund in refunds.prefix(20) {
        let order = try #require(fold.order(refund.order))
        let first = try #require(
            refunds.first { $0.order == refund.order && $0.request == refund.request })
        let known = try ask(.orderRefund, order, text: refund.request).map(\.known)
        if refunds.count(where: { $0.order == refund.order && $0.request == refund.request }) == 1 {
            #expect(
                known == [.refund(amountFen: first.amountFen, restocked: first.restock)])
        }
    }
    var none = big
    none.order = OrderID(shard: 3, number: 1 << 39)
    #expect(try ask(.orderInfo, none).isEmpty)
}
