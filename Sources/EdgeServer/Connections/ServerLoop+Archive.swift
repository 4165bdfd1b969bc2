import EdgeLedger
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
            let question = ArchivedQuestion(body)
        else { return answerArchived(reply, nil, .nothing(RESPEncoder.archivedDetail)) }
        archive.ask(question) { [self] found in
            eventLoop.execute { [self] in answerArchived(reply, question, found) }
        }
    }

    private final func answerArchived(
        _ reply: Reply, _ question: ArchivedQuestion?, _ found: ArchiveReader.Found
    ) {
        // What was read is committed: it waits for nothing.
        switch (found, question) {
        case (.claims(let claims), let question?):
            let (answer, body) = question.answer(reply, claims)
            deliver(answer, body: body, needs: .now)
        case (.nothing(let why), _):
            let refusal = Reply(ticket: reply.ticket, shape: .error, error: .tryAgain)
            deliver(refusal, body: .text(why), needs: .now)
        case (.claims, nil): preconditionFailure("an answer without its question")
        }
        closeRun()
    }
}
