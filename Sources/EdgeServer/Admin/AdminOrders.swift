import EdgeMemory
import EdgeTypes
import Hummingbird

/// `/v1/orders`: look-ups, payments, cancellations and refunds by trusted back ends.
enum AdminOrders {
    static func add(to router: RouterGroup<BasicRequestContext>, _ runner: NodeRunner) {
        let group = router.group("v1/orders")
        group.get(":id") { _, context in
            try AdminJSON.response(
                await runner.ask(try core(.orderInfo, context), payload: nil))
        }
        group.post(":id/:action") { request, context in
            try await act(request, context, runner)
        }
    }

    private static func core(
        _ operation: Operation, _ context: BasicRequestContext, fen: Fen = -1, quantity: Int64 = 0
    ) throws -> EdgeTypes.Request {
        guard let order = OrderID(text: try context.parameters.require("id")) else {
            throw AdminProblem(status: .notFound, code: "not-found", detail: "no such order")
        }
        return EdgeTypes.Request(
            ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0),
            operation: operation, family: .stock, quantity: quantity, amountFen: fen,
            order: order)
    }

    private static func act(
        _ request: Hummingbird.Request, _ context: BasicRequestContext, _ runner: NodeRunner
    ) async throws -> Response {
        let body = try await AdminBody(
            request, keys: ["payment", "fen", "request", "restock"])
        switch try context.parameters.require("action") {
        case "pay":
            guard let payment = try body.text64("payment") else {
                throw AdminProblem.badRequest("payment is required")
            }
            let core = try core(.orderPay, context, fen: try body.integer("fen") ?? -1)
            return try AdminJSON.response(await runner.ask(core, payload: .text(payment)))
        case "cancel":
            return try AdminJSON.response(
                await runner.ask(try core(.orderCancel, context), payload: nil))
        case "refund":
            guard let id = try body.text64("request"), let fen = try body.integer("fen") else {
                throw AdminProblem.badRequest("request and fen are required")
            }
            let core = try core(
                .orderRefund, context, fen: fen, quantity: try body.integer("restock") ?? 0)
            return try AdminJSON.response(await runner.ask(core, payload: .text(id)))
        default: throw AdminProblem(status: .notFound, code: "not-found", detail: "no such action")
        }
    }
}
