import EdgeLedger
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Hummingbird

/// `/v1/users/{user}/claims` and `/v1/users/{user}/orders`: the past, from the store or a replica of
/// it.
///
/// `seen=SHARD-SEQUENCE`, as events and claims are named, may be given several times: the answer is
/// not older than what the caller has seen.
enum AdminHistory {
    static func add(to router: RouterGroup<BasicRequestContext>, _ runner: NodeRunner) {
        router.get("v1/users/:user/claims") { request, context in
            let user = try user(context)
            let pool = request.uri.queryParameters["rain"].map(String.init)
            let limit = try limit(request)
            let rows = try await read(request, runner) { history in
                try history.claims(of: user, pool: pool, limit: limit)
            }
            return AdminJSON.response(.map([.init("claims", .array(rows.map(value)))]))
        }
        router.get("v1/users/:user/orders") { request, context in
            let user = try user(context)
            let limit = try limit(request)
            let rows = try await read(request, runner) { history in
                try history.orders(of: user, limit: limit)
            }
            return AdminJSON.response(.map([.init("orders", .array(rows.map(value)))]))
        }
    }

    /// Asks the store, in a thread that may block.
    static func read<T: Sendable>(
        _ request: Request, _ runner: NodeRunner,
        _ body: @escaping @Sendable (StoreHistory) throws -> T
    ) async throws -> T {
        guard let history = runner.history else {
            throw AdminProblem(
                status: .notFound, code: "no-store", detail: "this node has no store")
        }
        let seen = try request.uri.queryParameters.getAll("seen").map { text in
            let parts = text.split(separator: "-")
            guard parts.count == 2, let shard = ShardID(parts[0]), Int(shard) < Limits.shards,
                let sequence = UInt64(parts[1]), sequence < 1 << 48
            else { throw AdminProblem.badRequest("seen is SHARD-SEQUENCE") }
            return EntryID.of(shard: shard, sequence: sequence)
        }
        do {
            return try await BackgroundThread.run { try history.read(seen: seen, body) }
        } catch let error as StoreError {
            switch error {
            case .behind, .locked, .unreachable, .unknownOutcome:
                throw AdminProblem(
                    status: .serviceUnavailable, code: "store", detail: "\(error)")
            default: throw error
            }
        }
    }

    private static func user(_ context: BasicRequestContext) throws -> UserID {
        guard let user = UserID(try context.parameters.require("user")) else {
            throw AdminProblem.badRequest("user is a number")
        }
        return user
    }

    private static func limit(_ request: Request) throws -> Int {
        guard let text = request.uri.queryParameters["count"] else { return 1_000 }
        guard let count = Int(text), (1...10_000).contains(count) else {
            throw AdminProblem.badRequest("count is 1 to 10000")
        }
        return count
    }

    private static func value(_ row: StoreHistory.ClaimRow) -> Value {
        .map([
            .init("rain", .text(row.pool)), .init("packet", .integer(row.packet)),
            .init("fen", .integer(row.amountFen)), .init("ms", .integer(row.grantedMs)),
            .init(
                "entry",
                .text("\(EntryID.shard(of: row.grantID))-\(EntryID.sequence(of: row.grantID))")),
        ])
    }

    private static func value(_ row: OrderRecord) -> Value {
        func orNull(_ value: Int64) -> Value { value == 0 ? .null : .integer(value) }
        return .map([
            .init("order", .text(OrderIDText.text(row.order))),
            .init("state", .text(row.state.word)),
            .init("qty", .integer(Int64(row.quantity))), .init("price", .integer(row.priceFen)),
            .init("reserved_at", .integer(row.reservedMs)),
            .init("expires_at", .integer(row.expiresMs)), .init("paid_at", orNull(row.paidMs)),
            .init("ended_at", orNull(row.endedMs)), .init("paid_fen", .integer(row.paidFen)),
            .init("refunded_fen", .integer(row.refundedFen)),
        ])
    }
}
