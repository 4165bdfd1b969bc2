import EdgeLedger
import EdgeMemory
import EdgeTypes
import EdgeWire
import NIOCore

/// Answers that only the store can give.
extension ServerLoop {
    /// What was asked has left memory: the store is asked, and whoever waits hears in their turn what
    /// the core would have said. On this loop.
    ///
    /// - Parameter body: the question, as the core made it.
    final func askStore(_ reply: Reply, _ body: Value?) {
        guard let archive = shared.settings.archive, let body,
            let question = StoreQuestion(body)
        else { return answerArchived(reply, nil, .nothing(RESPEncoder.archivedDetail)) }
        archive.ask(question) { [self] found in
            eventLoop.execute { [self] in answerArchived(reply, question, found) }
        }
    }

    private final func answerArchived(
        _ reply: Reply, _ question: StoreQuestion?, _ found: ArchiveReader.Found
    ) {
        // What was read is committed: it waits for nothing.
        switch (found, question) {
        case (.claims(let claims), .claims(let question)?):
            let (answer, body) = question.answer(reply, claims)
            deliver(answer, body: body, needs: .now)
        case (.orders(let orders, let asOf), .orders(let question)?):
            switch question.answer(reply, orders, asOf: asOf) {
            case .reply(let answer, let body): deliver(answer, body: body, needs: .now)
            case .decide(let request, let payload): askAgain(request, payload)
            }
        case (.nothing(let why), _): refuse(reply.ticket, why)
        case (.claims, _), (.orders, _): preconditionFailure("an answer to another question")
        }
        closeRun()
    }

    /// The owner of an order decides with what the store has said; whoever asked goes on waiting.
    private final func askAgain(_ request: Request, _ payload: Payload) {
        guard !isHalted else { return refuse(request.ticket, "the node stops") }
        batch.append(request, payload: payload)
        scheduleTick()
    }

    private final func refuse(_ ticket: Ticket, _ why: String) {
        let refusal = Reply(ticket: ticket, shape: .error, error: .tryAgain)
        deliver(refusal, body: .text(why), needs: .now)
    }
}
