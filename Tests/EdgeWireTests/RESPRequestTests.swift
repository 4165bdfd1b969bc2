import EdgeMemory
import EdgeTypes
import EdgeWire
import Testing

@Suite("RESP requests")
struct RESPRequestTests {
    private let ticket = Ticket(core: 1, generation: 2, connection: 3, position: 4)

    private func parse(_ line: String) -> RESPRequest {
        var arguments = RESPArguments()
        let bytes = Array((line + "\r\n").utf8)
        let decoded = RESPDecoder().decode(bytes.span.bytes, from: 0, into: &arguments)
        precondition(decoded == .command(end: bytes.count, inline: true))
        let words = arguments.inlineBytes
        guard let command = RESPRequests.command(words.span.bytes, arguments) else {
            return .refused(RESPRefusal("ERR", "unknown"))
        }
        return RESPRequests.parse(
            command, words.span.bytes, arguments, ticket: ticket, actor: "ann")
    }

    private func request(_ line: String) -> Request? {
        switch parse(line) {
        case .request(let request), .payload(let request, _), .create(let request, _): request
        case .local, .refused: nil
        }
    }

    private func refusal(_ line: String) -> String? {
        guard case .refused(let refusal) = parse(line) else { return nil }
        return "\(refusal.code) \(refusal.text)"
    }

    @Test("a grab carries its pool, user, request and region")
    func grab() throws {
        let plain = try #require(request("RAIN.GRAB r1 000042"))
        #expect(plain.pool == PoolKey.of(.rain, "r1"))
        #expect(plain.user == 42)
        #expect(plain.requestHash == 0)
        #expect(plain.region == 0)
        #expect(plain.ticket == ticket)
        let full = try #require(request("rain.grab r1 42 req-7 region hz"))
        #expect(full.requestHash == Hash64.text("req-7"))
        #expect(full.region == RegionKey.of("hz"))
        let region = try #require(request("Rain.Grab r1 42 REGION hz"))
        #expect(region.requestHash == 0)
        #expect(region.region == RegionKey.of("hz"))
    }

    private func plainGrab(_ line: String) -> Request? {
        var arguments = RESPArguments()
        let bytes = Array((line + "\r\n").utf8)
        _ = RESPDecoder().decode(bytes.span.bytes, from: 0, into: &arguments)
        let words = arguments.inlineBytes
        return RESPRequests.plainGrab(words.span.bytes, arguments, ticket: ticket)
    }

    @Test("the short way of a grab agrees with the long one")
    func shortWay() throws {
        for line in ["RAIN.GRAB r1 42", "rain.grab a.b:c 18446744073709551615"] {
            let plain = try #require(plainGrab(line))
            let long = try #require(request(line))
            #expect(plain.pool == long.pool)
            #expect(plain.user == long.user)
            #expect(plain.operation == long.operation)
        }
        for line in ["RAIN\u{e}GRAB r1 42", "RAIN.GRAX r1 42", "RAIN.GRAB r1 x", "RAIN.GRAB r1"] {
            #expect(plainGrab(line) == nil)
        }
    }

    @Test("a rain takes its keywords in any order and case")
    func create() throws {
        let line =
            "rain.create r1 count 10 AMOUNT 5000 limit 3 Kind luck min 2 max 900 opens 5 closes 9 "
            + "slices 4 durability memory regions a=60,b=40 seed "
            + String(repeating: "0123456789abcdef", count: 4)
        guard case .create(let request, let draft) = parse(line) else {
            Issue.record("not a creation")
            return
        }
        #expect(request.operation == .poolCreate)
        #expect(draft.units == 10 && draft.amountFen == 5_000 && draft.kind == .luck)
        #expect(draft.minFen == 2 && draft.maxFen == 900)
        #expect(draft.terms == PoolTerms(opensMs: 5, closesMs: 9, limit: 3))
        #expect(draft.slices == 4 && draft.durability == .memory)
        #expect(draft.regions.map(\.weight) == [60, 40])
        let word: UInt64 = 0xefcd_ab89_6745_2301
        #expect(draft.seed == Bits256(word, word, word, word))
    }

    @Test("payments, refunds and lists keep what they need beside the request")
    func payloads() throws {
        let order = OrderID(shard: 7, number: 99)
        guard case .payload(let pay, .text(let payment)) = parse("ORDER.PAY \(order.text) p-1 300")
        else {
            Issue.record("not a payment")
            return
        }
        #expect(pay.order == order && pay.amountFen == 300 && payment == "p-1")
        guard
            case .payload(let refund, _) = parse("order.refund \(order.text) r-1 20 RESTOCK 2")
        else {
            Issue.record("not a refund")
            return
        }
        #expect(refund.quantity == 2 && refund.amountFen == 20)
        guard
            case .payload(let list, .listing(let after, let state)) = parse(
                "stock.list STATE open CURSOR s9 COUNT 5")
        else {
            Issue.record("not a listing")
            return
        }
        #expect(list.quantity == 5 && list.family == .stock && after == "s9" && state == .open)
    }

    @Test("an operator resolves with a word and a request's id")
    func resolve() throws {
        for (line, family, resolution) in [
            ("RAIN.RESOLVE r1 q1 RELEASE", PoolFamily.rain, Resolution.release),
            ("stock.resolve r1 q1 return", .stock, .retire),
        ] {
            guard case .payload(let request, .actor(let actor)) = parse(line) else {
                Issue.record("not a decision: \(line)")
                continue
            }
            #expect(request.operation == .poolResolve && actor == "ann")
            #expect(request.family == family && request.pool == PoolKey.of(family, "r1"))
            #expect(request.requestHash == Hash64.text("q1"))
            #expect(request.quantity == Int64(resolution.rawValue))
        }
        #expect(
            refusal("rain.resolve r1 q1 keep")
                == "BADARG what is quarantined is to RELEASE or RETURN")
        #expect(refusal("rain.resolve r1 q1")?.hasPrefix("ERR wrong number") == true)
    }

    @Test(
        "what is wrong is named",
        arguments: [
            ("rain.grab r1", "ERR wrong number of arguments for 'rain.grab' command"),
            ("rain.grab r/1 4", "BADARG ids are 1-64 of A-Z a-z 0-9 . _ : -"),
            ("rain.grab r1 -4", "BADARG a user is an unsigned 64-bit integer"),
            ("rain.grab r1 4 req REGION", "ERR syntax error"),
            ("rain.grab r1 4 COUNT 5", "ERR syntax error"),
            ("rain.create r1 AMOUNT 5 AMOUNT 6", "ERR syntax error"),
            ("rain.create r1 AMOUNT 5 LIMIT 6", "BADARG AMOUNT and COUNT are required"),
            (
                "rain.create r1 AMOUNT 5 COUNT 6",
                "BADARG MIN must be at least 1 and at most AMOUNT / COUNT"
            ),
            ("rain.create r1 AMOUNT 9 COUNT 3 MAX 2", "BADARG MAX must be at least AMOUNT / COUNT"),
            (
                "rain.create r1 AMOUNT 9 COUNT 3 SEED 12",
                "BADARG SEED must be 64 hexadecimal digits"
            ),
            (
                "rain.create r1 AMOUNT 9 COUNT 3 OPENS 9 CLOSES 9",
                "BADARG CLOSES must be later than OPENS"
            ),
            (
                "rain.create r1 AMOUNT 9 COUNT 3 SLICES 4",
                "BADARG SLICES must be at most the count and 16384"
            ),
            (
                "stock.create s UNITS 5 DURABILITY memory",
                "BADARG stock is never held in memory alone"
            ),
            ("stock.create s UNITS 5 REGIONS a=1,a=2", "BADARG a region is named twice"),
            (
                "stock.create s UNITS 5 REGIONS ,",
                "BADARG REGIONS must be name=weight,… of at most 16"
            ),
            ("stock.reserve s 1 0 r", "BADARG qty must be an integer between 1 and 10000"),
            ("order.info 123", "BADARG an order is 13 letters and digits"),
        ])
    func refusals(_ line: String, _ expected: String) {
        #expect(refusal(line) == expected)
    }

    @Test("every command is found by its own name and by no prefix of it")
    func names() {
        for command in RESPCommand.allCases {
            let name = Array(command.info.name.uppercased().utf8)
            #expect(RESPCommand.byName[name.span.bytes, 0..<name.count] == command)
            let found = RESPCommand.byName[name.span.bytes, 0..<(name.count - 1)]
            #expect(found != command)
        }
    }
}

@Suite("RESP answers")
struct RESPEncoderTests {
    private let ticket = Ticket(core: 0, generation: 0, connection: 0, position: 0)

    private func text(_ reply: Reply, _ body: Value? = nil, resp3: Bool = false) -> String {
        var sink = ByteSink(capacity: 1)
        RESPEncoder.append(reply, body: body, resp3: resp3, to: &sink)
        return String(decoding: sink.bytes, as: UTF8.self)
    }

    @Test("a grant has four fields, null in the protocol's own way")
    func grab() {
        let won = Reply(
            ticket: ticket, shape: .grab, outcome: .granted, fen: 1_234, packet: 0, timeMs: 1_700)
        #expect(text(won) == "*4\r\n$7\r\ngranted\r\n:1234\r\n:0\r\n:1700\r\n")
        let none = Reply(ticket: ticket, shape: .grab, outcome: .soldOut)
        #expect(text(none) == "*4\r\n$7\r\nsoldout\r\n:0\r\n$-1\r\n:0\r\n")
        #expect(text(none, resp3: true) == "*4\r\n$7\r\nsoldout\r\n:0\r\n_\r\n:0\r\n")
        let widest = Reply(
            ticket: ticket, shape: .grab, outcome: .cancelled, fen: .min, packet: .max,
            timeMs: .min)
        #expect(
            text(widest) == "*4\r\n$9\r\ncancelled\r\n:\(Int64.min)\r\n:\(Int64.max)\r\n"
                + ":\(Int64.min)\r\n")
    }

    @Test("every outcome's length is its text's", arguments: Outcome.allCases)
    func outcomes(_ outcome: Outcome) {
        let reply = Reply(ticket: ticket, shape: .outcome, outcome: outcome)
        #expect(text(reply) == "*1\r\n$\(outcome.text.utf8.count)\r\n\(outcome.text)\r\n")
    }

    @Test("a reservation names its order")
    func reserve() {
        let order = OrderID(shard: 3, number: 77)
        let reply = Reply(
            ticket: ticket, shape: .reserve, outcome: .reserved, timeMs: 5, order: order)
        #expect(text(reply) == "*3\r\n$8\r\nreserved\r\n$13\r\n\(order.text)\r\n:5\r\n")
        let none = Reply(ticket: ticket, shape: .reserve, outcome: .limit)
        #expect(text(none) == "*3\r\n$5\r\nlimit\r\n$-1\r\n:0\r\n")
    }

    @Test("maps are flat in RESP2 and maps in RESP3; errors stay on one line")
    func values() {
        let body = Value.map([.init("a", .integer(1)), .init("b", .array([.null, .text("x")]))])
        let reply = Reply(ticket: ticket, shape: .body)
        #expect(text(reply, body) == "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n*2\r\n$-1\r\n$1\r\nx\r\n")
        #expect(
            text(reply, body, resp3: true)
                == "%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n*2\r\n_\r\n$1\r\nx\r\n")
        let error = Reply(ticket: ticket, shape: .error, error: .noRain)
        #expect(text(error, .text("no\r\n+OK")) == "-NORAIN no  +OK\r\n")
    }

    @Test("orders read back from their text, in either case, and nothing else does")
    func orders() {
        for order in [
            OrderID(shard: 0, number: 0), OrderID(shard: 16_383, number: (1 << 40) - 1),
            OrderID(shard: 5, number: 123_456_789),
        ] {
            #expect(order.text.utf8.count == 13)
            #expect(OrderID(text: order.text) == order)
            #expect(OrderID(text: order.text.uppercased()) == order)
        }
        #expect(OrderID(text: "zzzzzzzzzzzzz") == nil)
        #expect(OrderID(text: "0000000000000") == nil)
        #expect(OrderID(text: "il0ou00000000") == nil)
        #expect(OrderID(text: "") == nil)
    }
}
