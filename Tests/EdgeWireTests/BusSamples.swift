import EdgeTypes

/// Random messages between nodes.
struct BusSamples {
    var random: SampleRandom

    init(seed: UInt64) { random = SampleRandom(seed: seed) }

    /// A message and what lies beside it.
    struct Sample {
        var message: BusMessage
        var attached: [UInt8] = []
    }

    /// How many kinds `sample(_:)` tells apart.
    static let kinds = 14 + payloads + frames + replicas
    private static let payloads = 6
    private static let frames = 21
    private static let replicas = 7

    mutating func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }

    mutating func shard() -> ShardID { ShardID(below(Limits.shards)) }

    mutating func sample(_ kind: Int) -> Sample {
        switch kind {
        case 0: return Sample(message: .request(id: random.any(), hops: random.any(), request()))
        case 1: return Sample(message: .request(id: random.any(), hops: random.any(), grab()))
        case 2: return Sample(message: .reply(id: random.any(), reply(), nil))
        case 3: return Sample(message: .reply(id: random.any(), reply(), value(depth: 1)))
        case 4, 5:
            let bytes = bytes(8 * below(40))
            return Sample(
                message: .entries(shard(), epoch: random.any(), first: random.any()),
                attached: bytes)
        case 6, 7, 8:
            let bytes = bytes(below(300))
            let offset = UInt64(random.any(UInt32.self))
            let copy = BusCopy(
                epoch: random.any(), last: random.any(), offset: offset,
                totalBytes: offset + UInt64(bytes.count) + UInt64(random.any(UInt16.self)))
            return Sample(message: .copy(shard(), copy), attached: bytes)
        case 9: return Sample(message: .beacon(number: random.any()))
        case 10: return Sample(message: .beaconAnswer(number: random.any()))
        case 11: return Sample(message: .ping)
        case 12: return Sample(message: .pong)
        case 13: return Sample(message: .closing)
        case 14..<(14 + Self.payloads):
            let payload = payload(kind - 14)
            return Sample(
                message: .command(id: random.any(), hops: random.any(), request(), payload))
        case ..<(14 + Self.payloads + Self.frames):
            return Sample(message: .frame(shard(), frame(kind - 14 - Self.payloads)))
        default:
            let which = kind - 14 - Self.payloads - Self.frames
            return Sample(message: .replica(shard(), replica(which)))
        }
    }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in random.any() } }

    mutating func grab() -> Request {
        Request(
            ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0), operation: .grab,
            pool: random.pool(), user: random.any(), region: random.any(),
            requestHash: random.any(), ownOnly: random.flag())
    }

    mutating func request() -> Request {
        Request(
            ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0),
            operation: Operation.allCases[below(Operation.allCases.count)],
            family: random.flag() ? .rain : .stock, pool: random.pool(), user: random.any(),
            region: random.any(), quantity: random.any(), amountFen: random.any(),
            order: random.order(), requestHash: random.any(), ownOnly: random.flag())
    }

    mutating func reply() -> Reply {
        Reply(
            ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0),
            shape: ReplyShape(rawValue: UInt8(below(7))) ?? .grab,
            outcome: Outcome.allCases[below(Outcome.allCases.count)],
            error: ErrorCode.allCases[below(ErrorCode.allCases.count)], waitsForJournal: false,
            fen: random.any(), packet: random.any(), timeMs: random.any(), order: random.order())
    }

    mutating func string() -> String {
        let letters: [String] = ["a", "Z", "0", "é", "包", "🧧", "\0", "\n", "\""]
        return (0..<below(12)).map { _ in letters[below(letters.count)] }.joined()
    }

    mutating func value(depth: Int) -> Value {
        switch below(depth < 5 ? 6 : 3) {
        case 0: return .null
        case 1: return .integer(random.any())
        case 2: return .text(string())
        case 3: return .array((0..<below(4)).map { _ in value(depth: depth + 1) })
        default:
            return .map(
                (0..<below(4)).map { _ in Value.Field(string(), value(depth: depth + 1)) })
        }
    }

    private mutating func payload(_ kind: Int) -> Payload {
        switch kind {
        case 0: .definition(random.definition(), actor: random.text())
        case 1:
            .alteration(
                opensMs: random.flag() ? random.any() : nil,
                closesMs: random.flag() ? random.any() : nil,
                limit: random.flag() ? random.any() : nil, actor: random.text())
        case 2: .actor(random.text())
        case 3: .text(random.text())
        case 4: .recalled(random.text(), recalled())
        default:
            .listing(after: random.text(), state: PoolState(rawValue: random.any() % 8))
        }
    }

    private mutating func recalled() -> RecalledOrder {
        let known: [RecalledOrder.Known] = [
            .new, .bought, .refused, .refund(amountFen: random.any(), restocked: random.any()),
        ]
        return RecalledOrder(
            place: ArchivedSlice(pool: random.pool(), slice: random.any()), user: random.any(),
            quantity: random.any(), priceFen: random.any(), state: random.any(),
            paidFen: random.any(), refundedFen: random.any(), restocked: random.any(),
            known: known[below(known.count)], asOf: random.any())
    }

    private mutating func frame(_ kind: Int) -> Frame {
        let pool = random.pool()
        let slice = random.any(UInt32.self)
        switch kind {
        case 0: return .open(random.definition(), slice: slice, random.control())
        case 1: return .control(pool, slice: slice, random.control())
        case 2: return .lease(random.transfer())
        case 3: return .returnTaken(pool, slice: slice, number: random.any())
        case 4:
            return .recall(
                Recall(pool: pool, part: random.any(), round: random.any(), after: random.any()))
        case 5: return .inquire(pool, slice: slice, inquiry: random.any())
        case 6: return .opened(pool, slice: slice)
        case 7: return .controlled(pool, slice: slice, version: random.any())
        case 8: return .leaseTaken(pool, slice: slice, number: random.any())
        case 9: return .returned(random.transfer())
        case 10:
            return .ask(
                UnitsAsked(
                    pool: pool, slice: slice, after: random.any(), wanted: random.any(),
                    least: random.any()))
        case 11:
            let slices = (0..<below(9)).map { _ in
                SweptSlice(
                    slice: random.any(), returnNumber: random.any(), isQuiet: random.flag(),
                    isFinal: random.flag())
            }
            return .swept(
                Sweep(pool: pool, part: random.any(), round: random.any(), slices: slices))
        case 13: return .freed(pool, slice: slice, generation: random.any())
        case 14: return .soldOut(pool, random.soldOut())
        case 16:
            return .askWinners(
                WinnersAsked(
                    pool: pool, slice: slice, node: random.any(), back: random.any(),
                    number: random.any(), epoch: random.any(), generation: random.any(),
                    mark: random.any()))
        case 17:
            return .winners(
                Winners(
                    pool: pool, slice: slice, number: random.any(), epoch: random.any(),
                    generation: random.any(), shardEpoch: random.any(), version: random.any(),
                    mark: random.any(), validNs: random.any(),
                    words: (0..<below(40)).map { _ in random.any() }))
        case 18: return .renew(pool, part: random.any())
        case 12:
            var totals = SliceTotals()
            totals.credited = random.any()
            totals.held = random.any()
            totals.granted = random.any()
            totals.grantedFen = random.any()
            totals.pending = random.any()
            totals.returned = random.any()
            totals.quarantined = random.any()
            totals.quarantinedFen = random.any()
            totals.retired = random.any()
            totals.retiredFen = random.any()
            return .report(
                pool, slice: slice, inquiry: random.any(), totals,
                SliceStanding(
                    quarantines: random.any(), isLost: random.flag(), isArchived: random.flag()))
        case 19:
            return .resolve(
                pool, slice: slice,
                Resolve(
                    inquiry: random.any(), quarantines: random.any(),
                    resolution: random.flag() ? .release : .retire, actor: random.text()))
        case 20: return .resolved(pool, slice: slice, inquiry: random.any())
        default:
            return .announce(random.definition(), random.control(), closed: random.flag())
        }
    }

    private mutating func configuration() -> ShardConfiguration {
        let members = (0..<(1 + below(Limits.replicas))).map { _ in
            ReplicaID(node: random.any(), boot: random.any())
        }
        return ShardConfiguration(
            shard: shard(), epoch: random.any(), primary: members[below(members.count)],
            members: members, isSealed: random.flag())
    }

    private mutating func replica(_ kind: Int) -> ReplicaMessage {
        switch kind {
        case 0:
            .begin(
                configuration(), last: random.any(), asLearner: random.flag(),
                greeting: random.any())
        case 1: .copy(epoch: random.any(), last: random.any())
        case 2: .entries(epoch: random.any(), first: random.any(), count: random.any())
        case 3: .position(epoch: random.any(), last: random.any(), greeting: random.any())
        case 4: .diverged(epoch: random.any())
        case 5: .stale(configuration())
        default: .noted(epoch: random.any())
        }
    }
}
