import EdgeLedger
import EdgeMemory
import EdgeTypes

/// An answer that waits for the store.
struct AskedStore {
    var reply: Reply
    var question: StoreQuestion
}

/// Answers that only the store can give: what the server's loops do.
extension SimulatedNode {
    /// What a client asked has left memory.
    func askStore(_ reply: Reply, _ body: Value) {
        guard let question = StoreQuestion(body) else {
            return world.fail("archive", "a question that is none: \(body)")
        }
        let number = askedStore.add(AskedStore(reply: reply, question: question))
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
        switch question {
        case .claims(let question):
            let claims = store.claims(question)
            if !claims.isEmpty { world.probe(.archivedWinnerAnswered) }
            let (answer, body) = question.answer(reply, claims)
            self.answer(answer, body)
        case .orders(let question):
            let orders = store.orders(question)
            if !orders.isEmpty { world.probe(.archivedOrderAnswered) }
            switch question.answer(reply, orders, asOf: store.marks[shard].sequence) {
            case .reply(let answer, let body): self.answer(answer, body)
            case .decide(let request, let payload):
                // The owner may be far away, and a payment beside it.
                world.probe(.orderRecalled)
                let core = Int(reply.ticket.core)
                guard !isHalted, cores.indices.contains(core) else {
                    return refuse(reply, "the node stops")
                }
                cores[core].batch.append(request, payload: payload)
                scheduleTick(core)
            }
        }
    }

    private func refuse(_ reply: Reply, _ text: String) {
        answer(Reply(ticket: reply.ticket, shape: .error, error: .tryAgain), .text(text))
    }
}
