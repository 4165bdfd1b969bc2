import EdgeMemory
public import EdgeTypes

/// What only the store can answer: of a rain's claims, or of a SKU's orders.
public enum StoreQuestion: Hashable, Sendable {
    case claims(ArchivedQuestion)
    case orders(ArchivedOrders)

    /// nil where the value is none.
    public init?(_ value: Value) {
        if let question = ArchivedQuestion(value) {
            self = .claims(question)
        } else if let question = ArchivedOrders(value) {
            self = .orders(question)
        } else {
            return nil
        }
    }

    /// An `EntryID`: the store must have this entry before it is believed.
    public var last: Int64 {
        switch self {
        case .claims(let question): question.last
        case .orders(let question): question.last
        }
    }
}

/// What is asked of a SKU's slice whose orders have left memory.
///
/// A core makes it of a request (`ReplyShape.archived`). The shell at the client's node asks the
/// store, and makes of what it finds the answer that the core would have given; or, where the request
/// may change an order, the request that goes back to the order's owner with what the store says.
public struct ArchivedOrders: Hashable, Sendable {
    /// `reserve`, `orders`, `orderInfo`, `orderPay`, `orderCancel` or `orderRefund`.
    public var operation: Operation
    /// `reserve` and `orders`: the SKU, its slice and the user.
    public var sku: Text64
    public var slice: UInt32
    public var user: UserID
    /// All others: the order, and whether only its owner may see it.
    public var order: OrderID
    public var ownOnly: Bool
    // As in `Request`.
    public var quantity: Int64
    public var amountFen: Fen
    public var requestHash: UInt64
    /// `orderPay`: the payment's id; `orderRefund`: the request's.
    public var text: Text64
    public var last: Int64

    public init(
        _ request: Request, sku: Text64 = Text64(), slice: UInt32 = 0, text: Text64 = Text64(),
        last: Int64
    ) {
        operation = request.operation
        self.sku = sku
        self.slice = slice
        user = request.user
        order = request.order
        ownOnly = request.ownOnly
        quantity = request.quantity
        amountFen = request.amountFen
        requestHash = request.requestHash
        self.text = text
        self.last = last
    }

    // MARK: Between cores and nodes

    /// As it travels with a reply.
    public var value: Value {
        .array([
            .text("orders"), .integer(Int64(operation.rawValue)), .text(sku.description),
            .integer(Int64(slice)), .integer(Int64(bitPattern: user)),
            .integer(Int64(bitPattern: order.rawValue)), .integer(ownOnly ? 1 : 0),
            .integer(quantity), .integer(amountFen), .integer(Int64(bitPattern: requestHash)),
            .text(text.description), .integer(last),
        ])
    }

    /// nil where the value is none.
    public init?(_ value: Value) {
        guard case .array(let items) = value, items.count == 12, items[0] == .text("orders"),
            case .integer(let kind) = items[1], let raw = UInt8(exactly: kind),
            let operation = Operation(rawValue: raw), case .text(let name) = items[2],
            let sku = Text64(name.utf8), case .integer(let number) = items[3],
            let slice = UInt32(exactly: number), case .integer(let user) = items[4],
            case .integer(let order) = items[5], case .integer(let own) = items[6],
            case .integer(let quantity) = items[7], case .integer(let amountFen) = items[8],
            case .integer(let hash) = items[9], case .text(let id) = items[10],
            let text = Text64(id.utf8), case .integer(let last) = items[11], last >= 0
        else { return nil }
        var request = Request(
            ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0),
            operation: operation, user: UserID(bitPattern: user), quantity: quantity,
            amountFen: amountFen, order: OrderID(rawValue: UInt64(bitPattern: order)),
            requestHash: UInt64(bitPattern: hash))
        request.ownOnly = own == 1
        switch operation {
        case .reserve, .orders, .orderInfo, .orderPay, .orderCancel, .orderRefund: break
        default: return nil
        }
        self.init(request, sku: sku, slice: slice, text: text, last: last)
    }

    // MARK: The answer

    /// What becomes of a request once the store has been asked.
    public enum Answer: Sendable {
        case reply(Reply, Value?)
        /// The owner decides: the request once more.
        case decide(Request, Payload)
    }

    /// - Parameters:
    ///   - reply: the core's, of shape `archived`.
    ///   - orders: `orders`: the user's on the slice, newest first. `reserve`: those of them that the
    ///     request made. Others: the order; empty: the store has none.
    ///   - asOf: how far the store had the shard at that moment: its watermark.
    public func answer(_ reply: Reply, _ orders: [StoredOrder], asOf: UInt64) -> Answer {
        switch operation {
        case .orders:
            let rows = orders.map { order in
                OrderAnswers.row(
                    order.record.order, "\(order.record.state)", order.record.quantity,
                    order.record.expiresMs)
            }
            return body(reply, .array(rows))
        case .reserve:
            guard let order = orders.first else {
                var answer = Reply(
                    ticket: reply.ticket, shape: .reserve, outcome: .closed, waitsForJournal: false)
                answer.timeMs = 0
                return .reply(answer, nil)
            }
            guard Int64(order.record.quantity) == quantity else {
                return error(reply, .mismatch, "the same request id came with other values before")
            }
            return .reply(
                Reply(
                    ticket: reply.ticket, shape: .reserve, outcome: .repeat,
                    waitsForJournal: false, timeMs: order.record.expiresMs,
                    order: order.record.order), nil)
        default:
            guard let order = orders.first, !ownOnly || order.record.user == user else {
                return error(reply, .noOrder, "no such order")
            }
            return answer(reply, order, asOf)
        }
    }

    private func answer(_ reply: Reply, _ order: StoredOrder, _ asOf: UInt64) -> Answer {
        let record = order.record
        switch operation {
        case .orderInfo:
            return body(
                reply,
                OrderAnswers.info(
                    record.order, state: "\(record.state)", sku: order.sku, user: record.user,
                    quantity: record.quantity, priceFen: record.priceFen,
                    expiresMs: record.expiresMs,
                    payment: record.payment.isEmpty ? nil : record.payment,
                    refundedFen: record.refundedFen, restocked: record.restocked))
        case .orderCancel:
            // It holds nothing that a cancellation could give back.
            let outcome: Outcome =
                switch record.state {
                case .paid: .paid
                case .refunded: .refunded
                case .reserved, .cancelled, .expired: .cancelled
                }
            return .reply(
                Reply(
                    ticket: reply.ticket, shape: .outcome, outcome: outcome,
                    waitsForJournal: false), nil)
        default:
            var request = Request(
                ticket: reply.ticket, operation: operation, family: .stock, pool: record.pool,
                user: user, quantity: quantity, amountFen: amountFen, order: self.order,
                requestHash: requestHash)
            request.ownOnly = ownOnly
            let recalled = RecalledOrder(
                place: ArchivedSlice(pool: record.pool, slice: record.slice), user: record.user,
                quantity: record.quantity, priceFen: record.priceFen,
                state: record.state.rawValue, paidFen: record.paidFen,
                refundedFen: record.refundedFen, restocked: record.restocked, known: order.known,
                asOf: asOf)
            return .decide(request, .recalled(text, recalled))
        }
    }

    private func body(_ reply: Reply, _ value: Value) -> Answer {
        .reply(Reply(ticket: reply.ticket, shape: .body, waitsForJournal: false), value)
    }

    private func error(_ reply: Reply, _ code: ErrorCode, _ detail: String) -> Answer {
        .reply(
            Reply(ticket: reply.ticket, shape: .error, error: code, waitsForJournal: false),
            .text(detail))
    }
}

/// An order as the store has it.
public struct StoredOrder: Hashable, Sendable {
    public var record: OrderRecord
    public var sku: Text64
    /// What became of the payment or refund that is asked about.
    public var known: RecalledOrder.Known

    public init(record: OrderRecord, sku: Text64, known: RecalledOrder.Known = .new) {
        self.record = record
        self.sku = sku
        self.known = known
    }
}

/// What is told of orders, whoever has them.
public enum OrderAnswers {
    public static func row(
        _ order: OrderID, _ state: String, _ quantity: UInt32, _ expiresMs: UnixMs
    ) -> Value {
        .array([
            .text(order.text), .text(state), .integer(Int64(quantity)), .integer(expiresMs),
        ])
    }

    public static func info(
        _ order: OrderID, state: String, sku: Text64, user: UserID, quantity: UInt32,
        priceFen: Fen, expiresMs: UnixMs, payment: Text64?, refundedFen: Fen, restocked: UInt32
    ) -> Value {
        .map([
            .init("order", .text(order.text)),
            .init("state", .text(state)),
            .init("sku", .text(sku.description)),
            .init("user", .text(String(user))),
            .init("qty", .integer(Int64(quantity))),
            .init("price", .integer(priceFen)),
            .init("expires", .integer(expiresMs)),
            .init("payment", payment.map { .text($0.description) } ?? .null),
            .init("refunded", .integer(refundedFen)),
            .init("restocked", .integer(Int64(restocked))),
        ])
    }
}
