import EdgeMemory
public import EdgeTypes
import EdgeWire
import NIOCore

/// How a core answered, once it was durable.
public enum CoreAnswer: Sendable {
    case grab(Outcome, fen: Fen, packet: Int64?, timeMs: UnixMs)
    case reserve(Outcome, OrderID?, timeMs: UnixMs)
    case outcome(Outcome)
    case ok
    case error(ErrorCode, String)
    case body(Value)

    init(_ reply: Reply, _ body: Value?) {
        switch reply.shape {
        case .grab:
            self = .grab(
                reply.outcome, fen: reply.fen, packet: reply.packet < 0 ? nil : reply.packet,
                timeMs: reply.timeMs)
        case .reserve:
            self = .reserve(
                reply.outcome, reply.order.rawValue == 0 ? nil : reply.order,
                timeMs: reply.timeMs)
        case .outcome: self = .outcome(reply.outcome)
        case .ok: self = .ok
        case .error:
            var text = ""
            if case .text(let detail) = body { text = detail }
            self = .error(reply.error, text)
        case .body: self = .body(body ?? .null)
        case .archived: self = .error(.tryAgain, RESPEncoder.archivedDetail)
        }
    }
}

/// An answer to the admin plane that waits for the journal.
struct HeldAnswer {
    var position: UInt32
    var answer: CoreAnswer
}

/// The admin plane asks a loop's core as a client would, without a connection.
extension ServerLoop {
    /// A connection slot that no connection ever has.
    static let askSlot = UInt32.max
    /// Questions that one loop keeps open at once.
    static let askLimit = 4_096

    /// Asks the cores, whichever owns what is asked for. From any thread.
    ///
    /// - Parameter request: its ticket is set here.
    public final func ask(_ request: Request, payload: Payload?) async -> CoreAnswer {
        precondition(request.operation.takes(payload))
        return await withCheckedContinuation { continuation in
            eventLoop.execute { [unowned self] in
                guard !isHalted else {
                    return continuation.resume(returning: .error(.tryAgain, "the node stops"))
                }
                guard asks.count < Self.askLimit else {
                    return continuation.resume(
                        returning: .error(.tryAgain, "too many questions are open"))
                }
                while asks[nextAsk] != nil { nextAsk &+= 1 }
                asks[nextAsk] = continuation
                var request = request
                request.ticket = Ticket(
                    core: index, generation: 0, connection: Self.askSlot, position: nextAsk)
                nextAsk &+= 1
                if let payload {
                    batch.append(request, payload: payload)
                } else {
                    batch.requests.append(request)
                }
                scheduleTick()
            }
        }
    }

    /// The node stops: whoever waits for an answer gets none from it. What was asked may have
    /// been applied.
    final func refuseAsks() {
        // In any order: each is told the same.
        for (_, continuation) in asks {
            continuation.resume(returning: .error(.unknown, "the node stops"))
        }
        asks = [:]
    }

    final func answerAsk(_ reply: Reply, _ body: Value?, _ needs: Release) {
        let answer = HeldAnswer(
            position: reply.ticket.position, answer: CoreAnswer(reply, body))
        if needs.position == 0 || mayLeave(needs) {
            finishAsk(answer)
        } else {
            heldAnswers.append(Held(needs: needs, item: answer))
        }
    }

    final func finishAsk(_ held: HeldAnswer) {
        asks.removeValue(forKey: held.position)?.resume(returning: held.answer)
    }
}
