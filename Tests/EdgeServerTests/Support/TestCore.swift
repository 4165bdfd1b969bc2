import EdgeMemory
import EdgeServer
import EdgeTypes
import Synchronization

/// A core that answers from a dictionary, in the ways that are hard for a server.
struct TestCore: ~Copyable, SteppingCore {
    struct Behaviour: Sendable {
        /// Answers wait for the journal.
        var isDurable = false
        /// Answers of one step come in reverse.
        var reverses = false
        /// A user belongs to the core `user % cores`.
        var cores: UInt64 = 1
        /// Wants to be stepped again so much later, always.
        var wakesEveryMs: Int64?
    }

    let index: UInt16
    let behaviour: Behaviour
    var packets: [UserID: Int64] = [:]
    /// Requests that wait for another core's word, by inquiry.
    private var asked: [UInt64: Ticket] = [:]
    private var nextInquiry: UInt64 = 0

    init(index: UInt16, behaviour: Behaviour) {
        self.index = index
        self.behaviour = behaviour
    }

    mutating func step(
        _ batch: borrowing RequestBatch, now: Instant, into effects: inout EffectBuffer
    ) {
        if let every = behaviour.wakesEveryMs { effects.nextDeadlineMs = now.wallMs + every }
        for frame in batch.frames { receive(frame, into: &effects) }
        for position in 0..<batch.requests.count {
            let at = behaviour.reverses ? batch.requests.count - 1 - position : position
            let request = batch.requests[at]
            let owner = UInt16(request.user % behaviour.cores)
            if request.operation == .grab, owner != index {
                effects.forwards.append(
                    Forward(to: .core(Int(owner)), request: request, payload: nil))
                continue
            }
            let payload = request.payload >= 0 ? batch.payloads[Int(request.payload)] : nil
            answer(request, payload, now, into: &effects)
        }
    }

    /// Warming the pool "frames" asks the next core, which may be this one.
    private mutating func inquire(_ request: Request, into effects: inout EffectBuffer) {
        asked[nextInquiry] = request.ticket
        let next = (UInt64(index) + 1) % behaviour.cores
        send(.inquire(request.pool, slice: UInt32(index), inquiry: nextInquiry), to: next, &effects)
        nextInquiry += 1
    }

    private mutating func receive(_ frame: Frame, into effects: inout EffectBuffer) {
        switch frame {
        case .inquire(let pool, let asker, let inquiry):
            let report = Frame.report(
                pool, slice: asker, inquiry: inquiry, SliceTotals(),
                SliceStanding(quarantines: 0, isLost: false))
            send(report, to: UInt64(asker), &effects)
        case .report(_, _, let inquiry, _, _):
            guard let ticket = asked.removeValue(forKey: inquiry) else {
                preconditionFailure("an answer to nothing, or a second one")
            }
            effects.replies.append(Reply(ticket: ticket, shape: .ok))
        default: preconditionFailure("no frame of these tests")
        }
    }

    private func send(_ frame: Frame, to core: UInt64, _ effects: inout EffectBuffer) {
        // The frame tells of this entry, and must not leave before it is durable.
        if behaviour.isDurable { effects.journal.append(integer: core) }
        effects.frames.append(OutboundFrame(to: .core(Int(core)), shard: 0, frame: frame))
    }

    private mutating func answer(
        _ request: Request, _ payload: Payload?, _ now: Instant, into effects: inout EffectBuffer
    ) {
        if request.pool == PoolKey.of(request.family, "none") {
            return effects.fail(
                request.ticket, request.family == .rain ? .noRain : .noStock, "no such pool")
        }
        for code in ErrorCode.allCases
        where request.pool == PoolKey.of(request.family, Text64("error-\(code.rawValue)")) {
            return effects.fail(request.ticket, code, "as asked", waits: false)
        }
        if request.operation == .poolWarm, request.pool == PoolKey.of(.rain, "frames") {
            return inquire(request, into: &effects)
        }
        switch request.operation {
        case .grab: grab(request, now, into: &effects)
        case .claims:
            let packet = packets[request.user] ?? 0
            effects.answer(
                request.ticket, .array([.array([.integer(packet), .integer(7), .integer(9)])]))
        case .reserve:
            effects.replies.append(
                Reply(
                    ticket: request.ticket, shape: .reserve, outcome: .reserved,
                    timeMs: 1_800_000, order: OrderID(shard: 1, number: 5)))
        case .orders:
            let order = OrderID(shard: 1, number: 5).text
            effects.answer(
                request.ticket,
                .array([.array([.text(order), .text("reserved"), .integer(1), .integer(9)])]))
        case .orderCancel:
            effects.replies.append(
                Reply(ticket: request.ticket, shape: .outcome, outcome: .cancelled))
        case .orderPay:
            effects.replies.append(
                Reply(ticket: request.ticket, shape: .outcome, outcome: .paid))
        case .orderInfo:
            effects.answer(
                request.ticket,
                .map([.init("state", .text("reserved")), .init("user", .integer(42))]))
        case .poolCreate:
            guard case .definition(let definition, let actor)? = payload else {
                preconditionFailure("a creation without a definition")
            }
            effects.answer(request.ticket, .text("\(definition.name) by \(actor)"))
        case .poolInfo:
            effects.answer(
                request.ticket,
                .map([
                    .init("state", .text("open")), .init("opens", .integer(5)),
                    .init("closes", .integer(0)), .init("granted_fen", .integer(3)),
                ]))
        case .orderRefund, .poolWarm, .poolAlter, .poolPause, .poolResume, .poolClose,
            .poolRefill, .poolResolve, .poolList:
            effects.replies.append(Reply(ticket: request.ticket, shape: .ok))
        }
    }

    private mutating func grab(
        _ request: Request, _ now: Instant, into effects: inout EffectBuffer
    ) {
        let known = packets[request.user]
        // The packet is the user, so that a test can see which request an answer belongs to.
        let packet = Int64(truncatingIfNeeded: request.user)
        packets[request.user] = packet
        if behaviour.isDurable { effects.journal.append(integer: request.user) }
        effects.replies.append(
            Reply(
                ticket: request.ticket, shape: .grab, outcome: known == nil ? .granted : .repeat,
                waitsForJournal: behaviour.isDurable, fen: 100, packet: packet,
                timeMs: now.wallMs))
    }
}

/// A journal that commits when it is told to, or at once.
final class TestJournal: LoopJournal {
    private struct State {
        var position: UInt64 = 0
        var isOverBacklog = false
        weak var loop: ServerLoop?
    }

    private let state = Mutex(State())
    private let commitsAtOnce: Bool

    init(commitsAtOnce: Bool) { self.commitsAtOnce = commitsAtOnce }

    func attach(_ loop: ServerLoop) { state.withLock { $0.loop = loop } }

    func submit(_ entries: inout ByteSink, needsSync: Bool) -> UInt64 {
        entries.removeAll()
        let position = state.withLock {
            $0.position += 1
            return $0.position
        }
        if commitsAtOnce { commit() }
        return position
    }

    var isOverBacklog: Bool { state.withLock { $0.isOverBacklog } }
    var isFull: Bool { false }

    func setOverBacklog(_ over: Bool) { state.withLock { $0.isOverBacklog = over } }

    var submitted: UInt64 { state.withLock { $0.position } }

    /// Commits everything submitted, or up to a position.
    func commit(upTo position: UInt64? = nil) {
        let (loop, all) = state.withLock { ($0.loop, $0.position) }
        loop?.journalCommitted(upTo: position ?? all)
    }
}
