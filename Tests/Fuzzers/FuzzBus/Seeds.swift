import EdgeMemory
import EdgeTypes
import EdgeWire

/// A message of every kind.
enum Seeds {
    static let all: [[UInt8]] = {
        let pool = PoolKey(rawValue: 0x1122_3344)
        let ticket = Ticket(core: 0, generation: 0, connection: 0, position: 0)
        let grab = Request(ticket: ticket, operation: .grab, pool: pool, user: 42, region: 7)
        let reserve = Request(
            ticket: ticket, operation: .reserve, family: .stock, pool: pool, user: 1, quantity: 2)
        let terms = PoolTerms(opensMs: 5, closesMs: 9, limit: 2)
        let definition = PoolDefinition(
            name: "pool", kind: .luck, units: 10, amountFen: 1_000, minFen: 1, maxFen: 500,
            holdMs: 0, slices: 4, regions: [RegionShare(name: "hangzhou", weight: 3)],
            seed: .zero, seedWasGiven: true, commitment: .zero, durability: .replicated,
            initial: terms)
        let control = PoolControl(version: 3, terms: terms, paused: true)
        let transfer = Transfer(
            pool: pool, slice: 1, number: 2, final: true,
            ranges: [UnitRange(start: 5, count: 10), UnitRange(start: 50, count: 1)])
        let members = [ReplicaID(node: 1, boot: 2), ReplicaID(node: 3, boot: 4)]
        let configuration = ShardConfiguration(
            shard: 9, epoch: 4, primary: members[1], members: members)
        let value = Value.map([
            .init("a", .array([.null, .integer(5), .text("包")])), .init("b", .map([])),
        ])
        let reply = Reply(ticket: ticket, shape: .grab, fen: 88, packet: 3, timeMs: 1)
        let frames: [Frame] = [
            .open(definition, slice: 1, control), .control(pool, slice: 1, control),
            .lease(transfer), .returnTaken(pool, slice: 1, number: 1),
            .recall(Recall(pool: pool, part: 0, round: 1, after: 0)),
            .inquire(pool, slice: 1, inquiry: 1),
            .opened(pool, slice: 1), .controlled(pool, slice: 1, version: 1),
            .leaseTaken(pool, slice: 1, number: 1), .returned(transfer),
            .ask(UnitsAsked(pool: pool, slice: 1, after: 1, wanted: 1, least: 1)),
            .swept(
                Sweep(
                    pool: pool, part: 0, round: 1,
                    slices: [SweptSlice(slice: 1, returnNumber: 1, isQuiet: true)])),
            .freed(pool, slice: 1, generation: 1),
            .soldOut(pool, SoldOut(part: 0, epoch: 1, generation: 1, left: 0)),
            .askWinners(
                WinnersAsked(
                    pool: pool, slice: 1, node: 1, back: 1, number: 1, epoch: 1, generation: 1,
                    mark: 1)),
            .winners(
                Winners(
                    pool: pool, slice: 1, number: 1, epoch: 1, generation: 1, shardEpoch: 1,
                    version: 1, mark: 1, validNs: 1,
                    words: [UInt64](repeating: 1, count: 8))),
            .renew(pool, part: 0),
            .report(
                pool, slice: 1, inquiry: 1, SliceTotals(),
                SliceStanding(quarantines: 1, isLost: true)),
            .resolve(
                pool, slice: 1,
                Resolve(inquiry: 1, quarantines: 1, resolution: .release, actor: "op")),
            .resolved(pool, slice: 1, inquiry: 1),
            .announce(definition, control, closed: true),
        ]
        let replicas: [ReplicaMessage] = [
            .begin(configuration, last: 5, asLearner: true, greeting: 1), .copy(epoch: 1, last: 2),
            .entries(epoch: 1, first: 2, count: 3), .position(epoch: 1, last: 2, greeting: 3),
            .diverged(epoch: 1), .stale(configuration), .noted(epoch: 1),
        ]
        let payloads: [Payload] = [
            .definition(definition, actor: "me"),
            .alteration(opensMs: 1, closesMs: nil, limit: 2, actor: "me"), .actor("me"),
            .text("payment"), .listing(after: "a", state: .closing),
        ]
        var messages: [BusMessage] = [
            .request(id: 1, hops: 0, grab), .request(id: 2, hops: 1, reserve),
            .reply(id: 1, reply, nil), .reply(id: 2, reply, value),
            .entries(9, epoch: 1, first: 2),
            .copy(9, BusCopy(epoch: 1, last: 2, offset: 8, totalBytes: 64)), .beacon(number: 1),
            .beaconAnswer(number: 1), .ping, .pong,
        ]
        messages += payloads.map { .command(id: 3, hops: 1, reserve, $0) }
        messages += frames.map { .frame(9, $0) }
        messages += replicas.map { .replica(9, $0) }
        let attached = [UInt8](0..<16)
        return messages.map { message in
            var sink = ByteSink(capacity: 256)
            let isEncoded = attached.withUnsafeBytes {
                BusCodec.encode(message, attached: $0, into: &sink)
            }
            precondition(isEncoded)
            return Array(sink.bytes)
        }
    }()
}
