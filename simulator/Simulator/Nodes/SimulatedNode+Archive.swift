import EdgeLedger
import EdgeTypes

/// An answer that waits for the store.
struct StoreQuestion {
    var reply: Reply
    var question: ArchivedQuestion
}

/// Answers that only the store can give: what the server's loops do.
extension SimulatedNode {
    /// What a client asked has left memory.
    func askStore(_ reply: Reply, _ body: Value) {
        guard let question = ArchivedQuestion(body) else {
            return world.fail("archive", "a question that is none: \(body)")
        }
        let number = askedStore.add(StoreQuestion(reply: reply, question: question))
        world.schedule(
            world.nowNs + world.storeQuestionNs(self),
            .storeAsked(node: index, boot: boot, number: number))
    }

    /// The store is there to be asked.
    func findInStore(_ number: UInt64) {
        if case .paused = state {
            return backlog.append(.storeAsked(node: index, boot: boot, number: number))
        }
        guard let asked = askedStore.take(number) else { return }
        let (reply, question) = (asked.reply, asked.question)
        let shard = EntryID.shard(of: question.last)
        guard !store.faults.isDown else {
            world.probe(.archiveUnanswered)
            return refuse(reply, "the store does not answer")
        }
        guard store.marks[shard].sequence >= EntryID.sequence(of: question.last) else {
            world.probe(.archiveAheadOfStore)
            return refuse(reply, "the store has not come as far again")
        }
        let claims = store.claims(question)
        if !claims.isEmpty { world.probe(.archivedWinnerAnswered) }
        let (answer, body) = question.answer(reply, claims)
        self.answer(answer, body)
    }

    private func refuse(_ reply: Reply, _ text: String) {
        answer(Reply(ticket: reply.ticket, shape: .error, error: .tryAgain), .text(text))
    }
}
