import EdgeMemory
import EdgeStores
import EdgeTypes
import EdgeWire
import Foundation
import HTTPTypes
import Hummingbird

/// `/v1/rains` and `/v1/stock`: operators' commands on pools.
enum AdminPools {
    static func add(to router: RouterGroup<BasicRequestContext>, _ runner: NodeRunner) {
        for family in [PoolFamily.rain, .stock] {
            let api = AdminPoolAPI(runner: runner, family: family)
            let group = router.group(family == .rain ? "v1/rains" : "v1/stock")
            group.post { request, _ in try await api.create(request) }
            group.get { request, _ in try await api.list(request) }
            group.get(":id") { request, context in
                try await api.ask(.poolInfo, request, context)
            }
            group.patch(":id") { request, context in try await api.alter(request, context) }
            group.get(":id/claims") { request, context in try await api.claims(request, context) }
            group.post(":id/:action") { request, context in try await api.act(request, context) }
        }
    }
}

struct AdminPoolAPI: Sendable {
    let runner: NodeRunner
    let family: PoolFamily

    private typealias Body = AdminBody
    typealias Incoming = Hummingbird.Request
    typealias Core = EdgeTypes.Request

    private static let resolutions: [String: Resolution] = [
        "release": .release, "return": .retire,
    ]
    private static let actorField = HTTPField.Name("X-Actor")

    private func ticketless(
        _ operation: EdgeTypes.Operation, _ name: Text64, requestHash: UInt64 = 0,
        quantity: Int64 = 0,
        user: UserID = 0
    ) -> Core {
        Core(
            ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0),
            operation: operation, family: family, pool: PoolKey.of(family, name), user: user,
            quantity: quantity, requestHash: requestHash)
    }

    private func actor(_ request: Incoming) -> Text64 {
        guard let name = Self.actorField, let text = request.headers[name],
            let actor = Text64(text.utf8)
        else { return "admin" }
        return actor
    }

    private func name(_ context: BasicRequestContext) throws -> Text64 {
        let raw = try context.parameters.require("id")
        let id = raw.removingPercentEncoding ?? raw
        guard let name = Text64(id.utf8), !name.isEmpty else {
            throw AdminProblem.badRequest("ids are 1-64 of A-Z a-z 0-9 . _ : -")
        }
        return name
    }

    /// Hash of the `Idempotency-Key`; 0 where there is none.
    private func key(_ request: Incoming) throws -> UInt64 {
        guard let field = HTTPField.Name("Idempotency-Key"), let text = request.headers[field]
        else { return 0 }
        guard let key = Text64(text.utf8), !key.isEmpty else {
            throw AdminProblem.badRequest("Idempotency-Key is 1 to 64 bytes")
        }
        return Hash64.text(key)
    }

    func ask(
        _ operation: EdgeTypes.Operation, _ request: Incoming, _ context: BasicRequestContext
    ) async throws -> Response {
        let core = ticketless(operation, try name(context))
        // Questions bear no actor: another node would not take one that does.
        let payload = Payload.actor(actor(request))
        return try AdminJSON.response(
            await runner.ask(core, payload: operation.takes(payload) ? payload : nil))
    }

    // MARK: Creation

    func create(_ request: Incoming) async throws -> Response {
        let body = try await AdminBody(
            request,
            keys: family == .rain
                ? [
                    "id", "amount", "count", "kind", "min", "max", "opens", "closes", "limit",
                    "slices", "seed", "durability", "regions",
                ]
                : [
                    "sku", "units", "limit", "hold", "price", "opens", "closes", "slices",
                    "durability", "regions",
                ])
        let draft = try family == .rain ? rain(body) : stock(body)
        switch PoolSeed.definition(of: draft, profile: runner.shared.settings.profile) {
        case .failure(let refusal): throw AdminProblem.badRequest(refusal.text)
        case .success(let definition):
            let answer = await runner.ask(
                ticketless(.poolCreate, draft.name),
                payload: .definition(definition, actor: actor(request)))
            return try AdminJSON.response(answer)
        }
    }

    private func rain(_ body: AdminBody) throws -> PoolDraft {
        guard let id = try body.text64("id"), let amount = try body.integer("amount"),
            let count = try body.integer("count")
        else { throw AdminProblem.badRequest("id, amount and count are required") }
        var draft = PoolDraft(rain: id, amountFen: amount, packets: count)
        if let kind = try body.text("kind") {
            guard let known = PoolKind.allCases.first(where: { "\($0)" == kind }), known != .stock
            else { throw AdminProblem.badRequest("kind is spread, luck or equal") }
            draft.kind = known
        }
        draft.minFen = try body.integer("min") ?? draft.minFen
        draft.maxFen = try body.integer("max") ?? 0
        if let seed = try body.text("seed") { draft.seed = try Self.seed(seed) }
        try common(body, &draft)
        return draft
    }

    private func stock(_ body: AdminBody) throws -> PoolDraft {
        guard let sku = try body.text64("sku"), let units = try body.integer("units") else {
            throw AdminProblem.badRequest("sku and units are required")
        }
        var draft = PoolDraft(stock: sku, units: units, priceFen: try body.integer("price") ?? 0)
        if let hold = try body.integer("hold") {
            guard hold > 0, hold <= Limits.holdMs / 1_000 else {
                throw AdminProblem.badRequest("hold is 1 to \(Limits.holdMs / 1_000) seconds")
            }
            draft.holdMs = hold * 1_000
        }
        try common(body, &draft)
        return draft
    }

    private func common(_ body: AdminBody, _ draft: inout PoolDraft) throws {
        draft.terms.opensMs = try body.integer("opens") ?? 0
        draft.terms.closesMs = try body.integer("closes") ?? 0
        draft.terms.limit = try Self.small(body, "limit") ?? 1
        draft.slices = try Self.small(body, "slices") ?? 0
        draft.regions = try body.regions()
        if let text = try body.text("durability") {
            guard let known = Durability.allCases.first(where: { "\($0)" == text }) else {
                throw AdminProblem.badRequest("durability is memory, journal or replicated")
            }
            draft.durability = known
        }
    }

    private static func small(_ body: AdminBody, _ key: String) throws -> UInt32? {
        guard let value = try body.integer(key) else { return nil }
        guard let small = UInt32(exactly: value) else {
            throw AdminProblem.badRequest("\(key) is out of range")
        }
        return small
    }

    static func seed(_ hex: String) throws -> Bits256 {
        guard let bits = Bits256(hex: hex) else {
            throw AdminProblem.badRequest("seed is 64 hexadecimal digits")
        }
        return bits
    }

    // MARK: Changes

    func alter(_ request: Incoming, _ context: BasicRequestContext) async throws -> Response {
        let body = try await AdminBody(request, keys: ["opens", "closes", "limit"])
        let requestHash = try key(request)
        guard requestHash != 0 else {
            throw AdminProblem.badRequest("Idempotency-Key is required")
        }
        let core = ticketless(.poolAlter, try name(context), requestHash: requestHash)
        let payload = Payload.alteration(
            opensMs: try body.integer("opens"), closesMs: try body.integer("closes"),
            limit: try Self.small(body, "limit"), actor: actor(request))
        return try AdminJSON.response(await runner.ask(core, payload: payload))
    }

    func act(_ request: Incoming, _ context: BasicRequestContext) async throws -> Response {
        switch try context.parameters.require("action") {
        case "warm": return try await ask(.poolWarm, request, context)
        case "pause": return try await ask(.poolPause, request, context)
        case "resume": return try await ask(.poolResume, request, context)
        case "close": return try await ask(.poolClose, request, context)
        case "refill" where family == .stock:
            let body = try await AdminBody(request, keys: ["units"])
            let requestHash = try key(request)
            guard requestHash != 0, let units = try body.integer("units") else {
                throw AdminProblem.badRequest("units and Idempotency-Key are required")
            }
            let core = ticketless(
                .poolRefill, try name(context), requestHash: requestHash, quantity: units)
            return try AdminJSON.response(
                await runner.ask(core, payload: .actor(actor(request))))
        case "resolve":
            let body = try await AdminBody(request, keys: ["resolution"])
            let requestHash = try key(request)
            guard requestHash != 0, let word = try body.text("resolution"),
                let resolution = Self.resolutions[word]
            else {
                throw AdminProblem.badRequest(
                    "resolution, release or return, and Idempotency-Key are required")
            }
            let core = ticketless(
                .poolResolve, try name(context), requestHash: requestHash,
                quantity: Int64(resolution.rawValue))
            return try AdminJSON.response(
                await runner.ask(core, payload: .actor(actor(request))))
        default: throw AdminProblem(status: .notFound, code: "not-found", detail: "no such action")
        }
    }

    // MARK: Reading

    func list(_ request: Incoming) async throws -> Response {
        let query = request.uri.queryParameters
        let cursor = query["cursor"].map(String.init) ?? "0"
        guard let after = Text64(cursor == "0" ? [] : Array(cursor.utf8)) else {
            throw AdminProblem.badRequest("cursor is a name that a listing gave")
        }
        var state: PoolState?
        if let text = query["state"] {
            guard
                let known = (0...4).compactMap({ PoolState(rawValue: $0) })
                    .first(where: { "\($0)" == text })
            else { throw AdminProblem.badRequest("no such state") }
            state = known
        }
        let count = query["count"].flatMap { Int64($0) } ?? 100
        return try AdminJSON.response(
            await runner.ask(
                ticketless(.poolList, Text64(), quantity: count),
                payload: .listing(after: after, state: state)))
    }

    /// A user's claims from memory, or all of them, page by page, from the store.
    func claims(_ request: Incoming, _ context: BasicRequestContext) async throws -> Response {
        let query = request.uri.queryParameters
        let name = try name(context)
        if let text = query["user"] {
            guard let user = UserID(text) else { throw AdminProblem.badRequest("user is a number") }
            return try AdminJSON.response(
                await runner.ask(
                    ticketless(family == .rain ? .claims : .orders, name, user: user),
                    payload: nil))
        }
        guard family == .rain else {
            throw AdminProblem.badRequest("orders are listed by user: ?user=")
        }
        let after = query["cursor"].flatMap { Int64($0) } ?? 0
        let rows = try await AdminHistory.read(request, runner) { history in
            try history.claims(ofPool: name.description, after: after)
        }
        let values = rows.map { row in
            Value.array([
                .text(String(row.user)), .integer(row.packet), .integer(row.amountFen),
                .integer(row.grantedMs),
            ])
        }
        return AdminJSON.response(
            .map([
                .init("cursor", rows.last.map { .integer($0.grantID) } ?? .null),
                .init("claims", .array(values)),
            ]))
    }
}

extension Bits256 {
    /// - Parameter hex: exactly 64 hexadecimal digits, the first byte first.
    public init?(hex: String) {
        let digits = Array(hex.utf8)
        guard digits.count == 64 else { return nil }
        var words: [UInt64] = [0, 0, 0, 0]
        for index in 0..<32 {
            let pair = String(decoding: digits[(index * 2)..<(index * 2 + 2)], as: UTF8.self)
            guard pair.allSatisfy(\.isHexDigit), let byte = UInt8(pair, radix: 16) else {
                return nil
            }
            words[index / 8] |= UInt64(byte) << (UInt64(index % 8) * 8)
        }
        self.init(words[0], words[1], words[2], words[3])
    }
}
