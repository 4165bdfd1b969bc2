import EdgeMemory
import EdgeTypes
public import NIOCore

/// Mail between the loops of a node.
extension ServerLoop {
    /// Makes the loops know each other. Once, before any of them serves.
    ///
    /// - Precondition: `loops[i].index == i`.
    public static func connect(_ loops: [ServerLoop]) {
        for (index, loop) in loops.enumerated() {
            precondition(Int(loop.index) == index)
            loop.peers = loops
            loop.outgoing = Array(repeating: Mail(), count: loops.count)
        }
    }

    func takeMail() {
        guard peers.count > 1 else { return }
        mailbox.take(&incoming)
        guard !incoming.isEmpty else { return }
        for forward in incoming.forwards {
            if let payload = forward.payload {
                batch.append(forward.request, payload: payload)
            } else {
                batch.requests.append(forward.request)
            }
        }
        for frame in incoming.frames { batch.frames.append(frame) }
        for answer in incoming.replies {
            forwardsInFlight -= 1
            precondition(forwardsInFlight >= 0)
            // It became durable on the loop that it comes from.
            deliver(answer.reply, body: answer.body, needs: 0)
        }
        closeRun()
        incoming.removeAll()
    }

    /// Sends the step's forwards at once, and its frames once `needs` is committed.
    func routeEffects(needs: UInt64) {
        if !effects.forwards.isEmpty { routeForwards() }
        guard !effects.frames.isEmpty else { return }
        for frame in effects.frames {
            if needs == 0 {
                post(frame)
            } else if heldFrames.count < Mailbox.frames {
                heldFrames.append(Held(needs: needs, item: frame))
            } else {
                // A disk that stands still: what is not confirmed is sent again.
                statistics.droppedFrames &+= 1
            }
        }
    }

    private func routeForwards() {
        for forward in effects.forwards {
            let request = forward.request
            if request.ticket.core == index {
                guard forwardsInFlight < limits.forwardsPerLoop else {
                    refuse(request, "this node is too busy")
                    continue
                }
                // The place of its reply in the other direction's mail.
                forwardsInFlight += 1
            }
            if forward.to.isCore {
                let core = forward.to.core
                precondition(core != Int(index) && core < peers.count)
                outgoing[core].forwards.append(forward)
            } else if bus?.ask(forward) != true {
                let reply = Reply(ticket: request.ticket, shape: .error, error: .tryAgain)
                answered(reply, .text("the node that has it cannot be reached"))
            }
        }
        closeRun()
    }

    private func refuse(_ request: Request, _ text: String) {
        let refusal = Reply(ticket: request.ticket, shape: .error, error: .tryAgain)
        deliver(refusal, body: .text(text), needs: 0)
    }

    func sendBack(_ answer: RemoteReply, needs: UInt64) {
        if needs == 0 {
            outgoing[Int(answer.reply.ticket.core)].replies.append(answer)
        } else {
            heldReplies.append(Held(needs: needs, item: answer))
        }
    }

    private func post(_ frame: OutboundFrame) {
        if !frame.to.isCore {
            bus?.send(frame)
        } else if frame.to.core == Int(index) {
            batch.frames.append(frame.frame)
            scheduleTick()
        } else {
            outgoing[frame.to.core].frames.append(frame.frame)
        }
    }

    /// Lets go the mail that the last commit covers.
    func releaseMail() {
        let replies = heldReplies.prefix { $0.needs <= committed }.count
        for held in heldReplies.prefix(replies) { sendBack(held.item, needs: 0) }
        heldReplies.removeFirst(replies)
        let frames = heldFrames.prefix { $0.needs <= committed }.count
        for held in heldFrames.prefix(frames) { post(held.item) }
        heldFrames.removeFirst(frames)
    }

    /// Lets go the answers to the admin plane that the last commit covers.
    func releaseAnswers() {
        let answers = heldAnswers.prefix { $0.needs <= committed }.count
        for held in heldAnswers.prefix(answers) { finishAsk(held.item) }
        heldAnswers.removeFirst(answers)
    }

    func postMail() {
        guard peers.count > 1 else { return }
        // Frames first, to everyone: a reply may tell of what they tell.
        for peer in peers.indices where !outgoing[peer].frames.isEmpty {
            var news = Mail()
            swap(&news.frames, &outgoing[peer].frames)
            if peers[peer].mailbox.put(news) { peers[peer].wake() }
        }
        for peer in peers.indices where !outgoing[peer].isEmpty {
            if peers[peer].mailbox.put(outgoing[peer]) { peers[peer].wake() }
            outgoing[peer].removeAll()
        }
    }

    /// From any thread.
    private func wake() { eventLoop.execute { [unowned self] in scheduleTick() } }

    /// Runs one tick though no request came: at start, so that the core can name its deadline.
    public func start() -> EventLoopFuture<Void> {
        eventLoop.submit { [unowned self] in forceStep() }
    }

    /// From any thread.
    public func readStatistics() -> EventLoopFuture<LoopStatistics> {
        eventLoop.submit { [unowned self] in
            var statistics = statistics
            statistics.connections = live
            return statistics
        }
    }

    /// Closes idle connections now and the others after their answers; all at `deadline`.
    ///
    /// From any thread. The future succeeds when no connection is left.
    public func closeConnections(deadline: NIODeadline) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        eventLoop.execute { [unowned self] in
            guard live > 0 else { return promise.succeed() }
            precondition(emptied == nil, "closing once")
            emptied = promise
            for connection in table { connection?.finishAnswers() }
            eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { [unowned self] in
                for connection in table { connection?.closeNow() }
            }
        }
        return promise.futureResult
    }
}
