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
            } else {
                heldFrames.append(Held(needs: needs, item: frame))
            }
        }
    }

    private func routeForwards() {
        for forward in effects.forwards {
            precondition(forward.core != index && Int(forward.core) < peers.count)
            if forward.request.ticket.core == index {
                guard forwardsInFlight < limits.forwardsPerLoop else {
                    let refusal = Reply(
                        ticket: forward.request.ticket, shape: .error, error: .tryAgain)
                    deliver(refusal, body: .text("this node is too busy"), needs: 0)
                    continue
                }
                // The place of its reply in the other direction's mail.
                forwardsInFlight += 1
            }
            outgoing[Int(forward.core)].forwards.append(forward)
        }
        closeRun()
    }

    func sendBack(_ answer: RemoteReply, needs: UInt64) {
        if needs == 0 {
            outgoing[Int(answer.reply.ticket.core)].replies.append(answer)
        } else {
            heldReplies.append(Held(needs: needs, item: answer))
        }
    }

    private func post(_ frame: OutboundFrame) {
        if frame.core == index {
            batch.frames.append(frame.frame)
            scheduleTick()
        } else {
            outgoing[Int(frame.core)].frames.append(frame.frame)
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
