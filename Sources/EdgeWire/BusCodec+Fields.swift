import EdgeTypes

// The fields of what is not on the hot path. What `write` puts down, `read` takes up in the same
// order; pools, terms and transfers look as they do in journal entries.
extension BusCodec {
    // MARK: Payloads

    static func write(_ payload: Payload, to sink: inout some JournalFieldSink) {
        switch payload {
        case .definition(let definition, let actor):
            sink.integer(UInt8(0))
            JournalCodec.write(definition, to: &sink)
            sink.text(actor)
        case .alteration(let opensMs, let closesMs, let limit, let actor):
            sink.integer(UInt8(1))
            optional(opensMs, to: &sink)
            optional(closesMs, to: &sink)
            optional(limit, to: &sink)
            sink.text(actor)
        case .actor(let actor):
            sink.integer(UInt8(2))
            sink.text(actor)
        case .text(let text):
            sink.integer(UInt8(3))
            sink.text(text)
        case .listing(let after, let state):
            sink.integer(UInt8(4))
            sink.text(after)
            optional(state?.rawValue, to: &sink)
        case .recalled(let text, let order):
            sink.integer(UInt8(5))
            sink.text(text)
            write(order, to: &sink)
        }
    }

    static func readPayload(_ reader: inout JournalFieldReader) -> Payload? {
        switch reader.integer(UInt8.self) {
        case 0: return .definition(JournalCodec.readDefinition(&reader), actor: reader.text())
        case 1:
            let opensMs = optional(UnixMs.self, &reader)
            let closesMs = optional(UnixMs.self, &reader)
            let limit = optional(UInt32.self, &reader)
            return .alteration(
                opensMs: opensMs, closesMs: closesMs, limit: limit, actor: reader.text())
        case 2: return .actor(reader.text())
        case 3: return .text(reader.text())
        case 4:
            let after = reader.text()
            guard let raw = optional(UInt8.self, &reader) else {
                return .listing(after: after, state: nil)
            }
            guard let state = PoolState(rawValue: raw) else { return nil }
            return .listing(after: after, state: state)
        case 5:
            let text = reader.text()
            return readRecalled(&reader).map { .recalled(text, $0) }
        default: return nil
        }
    }

    private static func write(_ order: RecalledOrder, to sink: inout some JournalFieldSink) {
        JournalCodec.write(order.place, to: &sink)
        sink.integer(order.user)
        sink.integer(order.quantity)
        sink.integer(order.priceFen)
        sink.integer(order.state)
        sink.integer(order.paidFen)
        sink.integer(order.refundedFen)
        sink.integer(order.restocked)
        sink.integer(order.asOf)
        switch order.known {
        case .new: sink.integer(UInt8(0))
        case .bought: sink.integer(UInt8(1))
        case .refused: sink.integer(UInt8(2))
        case .refund(let amountFen, let restocked):
            sink.integer(UInt8(3))
            sink.integer(amountFen)
            sink.integer(restocked)
        }
    }

    private static func readRecalled(_ reader: inout JournalFieldReader) -> RecalledOrder? {
        var order = RecalledOrder(
            place: JournalCodec.readArchived(&reader), user: reader.integer(),
            quantity: reader.integer(), priceFen: reader.integer(), state: reader.integer(),
            paidFen: reader.integer(), refundedFen: reader.integer(),
            restocked: reader.integer(), known: .new, asOf: reader.integer())
        switch reader.integer(UInt8.self) {
        case 0: break
        case 1: order.known = .bought
        case 2: order.known = .refused
        case 3: order.known = .refund(amountFen: reader.integer(), restocked: reader.integer())
        default: return nil
        }
        return order
    }

    private static func optional(
        _ value: (some FixedWidthInteger)?, to sink: inout some JournalFieldSink
    ) {
        sink.integer(UInt8(value == nil ? 0 : 1))
        if let value { sink.integer(value) }
    }

    private static func optional<T: FixedWidthInteger>(
        _ type: T.Type, _ reader: inout JournalFieldReader
    ) -> T? {
        reader.flag() ? reader.integer(type) : nil
    }

    // MARK: Frames

    static func tag(of frame: Frame) -> UInt8 {
        switch frame {
        case .open: 0
        case .control: 1
        case .lease: 2
        case .returnTaken: 3
        case .recall: 4
        case .inquire: 5
        case .opened: 6
        case .controlled: 7
        case .leaseTaken: 8
        case .returned: 9
        case .ask: 10
        case .swept: 11
        case .report(_, _, _, _, let standing): standing.isArchived ? 21 : 12
        case .announce: 13
        case .freed: 14
        case .soldOut: 15
        case .askWinners: 16
        case .winners: 17
        case .renew: 18
        case .resolve: 19
        case .resolved: 20
        }
    }

    static func write(_ frame: Frame, to sink: inout some JournalFieldSink) {
        switch frame {
        case .open(let definition, let slice, let control):
            JournalCodec.write(definition, to: &sink)
            sink.integer(slice)
            JournalCodec.write(control, to: &sink)
        case .control(let pool, let slice, let control):
            place(pool, slice, to: &sink)
            JournalCodec.write(control, to: &sink)
        case .lease(let transfer), .returned(let transfer):
            JournalCodec.write(transfer, to: &sink)
        case .returnTaken(let pool, let slice, let number),
            .leaseTaken(let pool, let slice, let number),
            .controlled(let pool, let slice, let number),
            .freed(let pool, let slice, let number):
            place(pool, slice, to: &sink)
            sink.integer(number)
        case .recall(let recall):
            sink.integer(recall.pool.rawValue)
            sink.integer(recall.part)
            sink.integer(recall.round)
            sink.integer(recall.after)
        case .inquire(let pool, let slice, let inquiry),
            .resolved(let pool, let slice, let inquiry):
            place(pool, slice, to: &sink)
            sink.integer(inquiry)
        case .resolve(let pool, let slice, let told):
            place(pool, slice, to: &sink)
            sink.integer(told.inquiry)
            sink.integer(told.quarantines)
            sink.integer(told.resolution.rawValue)
            sink.text(told.actor)
        case .opened(let pool, let slice): place(pool, slice, to: &sink)
        case .ask(let asked):
            place(asked.pool, asked.slice, to: &sink)
            sink.integer(asked.after)
            sink.integer(asked.wanted)
            sink.integer(asked.least)
        case .swept(let sweep): write(sweep, to: &sink)
        case .soldOut(let pool, let soldOut):
            sink.integer(pool.rawValue)
            JournalCodec.write(soldOut, to: &sink)
        case .report(let pool, let slice, let inquiry, let totals, let standing):
            place(pool, slice, to: &sink)
            sink.integer(inquiry)
            write(totals, to: &sink)
            sink.integer(standing.quarantines)
            sink.integer(UInt8(standing.isLost ? 1 : 0))
        case .askWinners(let asked): write(asked, to: &sink)
        case .winners(let winners): write(winners, to: &sink)
        case .renew(let pool, let part):
            sink.integer(pool.rawValue)
            sink.integer(part)
        case .announce(let definition, let control, let closed):
            JournalCodec.write(definition, to: &sink)
            JournalCodec.write(control, to: &sink)
            sink.integer(UInt8(closed ? 1 : 0))
        }
    }

    static func readFrame(_ tag: UInt8, _ reader: inout JournalFieldReader) -> Frame? {
        switch tag {
        case 0:
            return .open(
                JournalCodec.readDefinition(&reader), slice: reader.integer(),
                JournalCodec.readControl(&reader))
        case 2: return .lease(JournalCodec.readTransfer(&reader))
        case 9: return .returned(JournalCodec.readTransfer(&reader))
        case 13:
            return .announce(
                JournalCodec.readDefinition(&reader), JournalCodec.readControl(&reader),
                closed: reader.flag())
        case 4:
            return .recall(
                Recall(
                    pool: JournalCodec.readPool(&reader), part: reader.integer(),
                    round: reader.integer(), after: reader.integer()))
        case 11: return readSweep(&reader).map { .swept($0) }
        case 15:
            return .soldOut(JournalCodec.readPool(&reader), JournalCodec.readSoldOut(&reader))
        case 18: return .renew(JournalCodec.readPool(&reader), part: reader.integer())
        case 16: return .askWinners(readWinnersAsked(&reader))
        case 17: return readWinners(&reader).map { .winners($0) }
        case 1, 3, 5...8, 10, 12, 14, 19...21:
            return readSliceFrame(
                tag, JournalCodec.readPool(&reader), slice: reader.integer(), &reader)
        default: return nil
        }
    }

    /// A frame that begins with a pool and a slice.
    private static func readSliceFrame(
        _ tag: UInt8, _ pool: PoolKey, slice: UInt32, _ reader: inout JournalFieldReader
    ) -> Frame? {
        switch tag {
        case 1: .control(pool, slice: slice, JournalCodec.readControl(&reader))
        case 3: .returnTaken(pool, slice: slice, number: reader.integer())
        case 5: .inquire(pool, slice: slice, inquiry: reader.integer())
        case 6: .opened(pool, slice: slice)
        case 7: .controlled(pool, slice: slice, version: reader.integer())
        case 8: .leaseTaken(pool, slice: slice, number: reader.integer())
        case 10:
            .ask(
                UnitsAsked(
                    pool: pool, slice: slice, after: reader.integer(), wanted: reader.integer(),
                    least: reader.integer()))
        case 12:
            .report(
                pool, slice: slice, inquiry: reader.integer(), readTotals(&reader),
                SliceStanding(quarantines: reader.integer(), isLost: reader.flag()))
        // The same of a slice that is archived.
        case 21:
            .report(
                pool, slice: slice, inquiry: reader.integer(), readTotals(&reader),
                SliceStanding(
                    quarantines: reader.integer(), isLost: reader.flag(), isArchived: true))
        case 14: .freed(pool, slice: slice, generation: reader.integer())
        case 19:
            .resolve(
                pool, slice: slice,
                Resolve(
                    inquiry: reader.integer(), quarantines: reader.integer(),
                    resolution: JournalCodec.readResolution(&reader), actor: reader.text()))
        case 20: .resolved(pool, slice: slice, inquiry: reader.integer())
        default: nil
        }
    }

    /// A slice takes nine bytes, so that a sweep of all slices of a pool fits in a message.
    private static func write(_ sweep: Sweep, to sink: inout some JournalFieldSink) {
        precondition(sweep.slices.count <= Limits.slices)
        sink.integer(sweep.pool.rawValue)
        sink.integer(sweep.part)
        sink.integer(sweep.round)
        sink.integer(UInt32(sweep.slices.count))
        for slice in sweep.slices {
            sink.integer(slice.slice)
            sink.integer(slice.returnNumber)
            sink.integer(UInt8(slice.isQuiet ? 1 : 0) | UInt8(slice.isFinal ? 2 : 0))
        }
    }

    private static func readSweep(_ reader: inout JournalFieldReader) -> Sweep? {
        let pool = JournalCodec.readPool(&reader)
        let part = reader.integer(UInt16.self)
        let round = reader.integer(UInt64.self)
        let count = Int(reader.integer(UInt32.self))
        guard count <= Limits.slices else { return nil }
        var slices: [SweptSlice] = []
        for _ in 0..<count where reader.isIntact {
            let slice = reader.integer(UInt32.self)
            let returnNumber = reader.integer(UInt32.self)
            let flags = reader.integer(UInt8.self)
            guard flags <= 3 else { return nil }
            slices.append(
                SweptSlice(
                    slice: slice, returnNumber: returnNumber, isQuiet: flags & 1 != 0,
                    isFinal: flags & 2 != 0))
        }
        return Sweep(pool: pool, part: part, round: round, slices: slices)
    }

    private static func place(
        _ pool: PoolKey, _ slice: UInt32, to sink: inout some JournalFieldSink
    ) {
        sink.integer(pool.rawValue)
        sink.integer(slice)
    }

    private static func write(_ totals: SliceTotals, to sink: inout some JournalFieldSink) {
        sink.integer(totals.credited)
        sink.integer(totals.held)
        sink.integer(totals.granted)
        sink.integer(totals.grantedFen)
        sink.integer(totals.pending)
        sink.integer(totals.returned)
        sink.integer(totals.quarantined)
        sink.integer(totals.quarantinedFen)
        sink.integer(totals.retired)
        sink.integer(totals.retiredFen)
    }

    private static func readTotals(_ reader: inout JournalFieldReader) -> SliceTotals {
        var totals = SliceTotals()
        totals.credited = reader.integer()
        totals.held = reader.integer()
        totals.granted = reader.integer()
        totals.grantedFen = reader.integer()
        totals.pending = reader.integer()
        totals.returned = reader.integer()
        totals.quarantined = reader.integer()
        totals.quarantinedFen = reader.integer()
        totals.retired = reader.integer()
        totals.retiredFen = reader.integer()
        return totals
    }

    // MARK: Replicas

    static func tag(of message: ReplicaMessage) -> UInt8 {
        switch message {
        case .begin: 0
        case .copy: 1
        case .entries: 2
        case .position: 3
        case .diverged: 4
        case .stale: 5
        case .noted: 6
        case .holding: 7
        }
    }

    static func write(_ message: ReplicaMessage, to sink: inout some JournalFieldSink) {
        switch message {
        case .begin(let configuration, let last, let asLearner, let greeting):
            write(configuration, to: &sink)
            sink.integer(last)
            sink.integer(UInt8(asLearner ? 1 : 0))
            sink.integer(greeting)
        case .copy(let epoch, let last):
            sink.integer(epoch)
            sink.integer(last)
        case .entries(let epoch, let first, let count):
            sink.integer(epoch)
            sink.integer(first)
            sink.integer(count)
        case .position(let epoch, let last, let greeting):
            sink.integer(epoch)
            sink.integer(last)
            sink.integer(greeting)
        case .diverged(let epoch), .noted(let epoch): sink.integer(epoch)
        case .stale(let configuration): write(configuration, to: &sink)
        case .holding(let epoch, let logEpoch, let last, let isComplete):
            sink.integer(epoch)
            sink.integer(logEpoch)
            sink.integer(last)
            sink.integer(UInt8(isComplete ? 1 : 0))
        }
    }

    static func readReplica(
        _ tag: UInt8, _ reader: inout JournalFieldReader
    ) -> ReplicaMessage? {
        switch tag {
        case 0:
            guard let configuration = readConfiguration(&reader) else { return nil }
            return .begin(
                configuration, last: reader.integer(), asLearner: reader.flag(),
                greeting: reader.integer())
        case 1: return .copy(epoch: reader.integer(), last: reader.integer())
        case 2:
            return .entries(
                epoch: reader.integer(), first: reader.integer(), count: reader.integer())
        case 3:
            return .position(
                epoch: reader.integer(), last: reader.integer(), greeting: reader.integer())
        case 4: return .diverged(epoch: reader.integer())
        case 5: return readConfiguration(&reader).map { .stale($0) }
        case 6: return .noted(epoch: reader.integer())
        case 7:
            return .holding(
                epoch: reader.integer(), logEpoch: reader.integer(), last: reader.integer(),
                isComplete: reader.flag())
        default: return nil
        }
    }

    private static func write(
        _ configuration: ShardConfiguration, to sink: inout some JournalFieldSink
    ) {
        sink.integer(configuration.shard)
        sink.integer(configuration.epoch)
        sink.integer(UInt8(configuration.isSealed ? 1 : 0))
        sink.integer(UInt8(configuration.members.count))
        for member in configuration.members {
            sink.integer(member.node)
            sink.integer(member.boot)
        }
        sink.integer(UInt8(configuration.members.firstIndex(of: configuration.primary) ?? 0))
    }

    /// nil where it is not one: members in ascending order, each once, the primary one of them.
    private static func readConfiguration(
        _ reader: inout JournalFieldReader
    ) -> ShardConfiguration? {
        let shard = reader.integer(ShardID.self)
        let epoch = reader.integer(UInt32.self)
        let isSealed = reader.flag()
        let count = Int(reader.integer(UInt8.self))
        guard Int(shard) < Limits.shards, (1...Limits.replicas).contains(count) else { return nil }
        var members: [ReplicaID] = []
        members.reserveCapacity(count)
        for _ in 0..<count {
            let member = ReplicaID(node: reader.integer(), boot: reader.integer())
            if let before = members.last, before >= member { return nil }
            members.append(member)
        }
        let primary = Int(reader.integer(UInt8.self))
        guard primary < count else { return nil }
        return ShardConfiguration(
            shard: shard, epoch: epoch, primary: members[primary], members: members,
            isSealed: isSealed)
    }
}
