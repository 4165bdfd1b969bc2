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
        batch.replicas.append(contentsOf: incoming.replicas)
        for answer in incoming.replies {
            forwardsInFlight -= 1
            precondition(forwardsInFlight >= 0)
            // It became durable on the loop that it comes from.
            deliver(answer.reply, body: answer.body, needs: .now)
        }
        closeRun()
        incoming.removeAll()
    }

    /// Sends the step's forwards at once, and its frames once the journal's entries up to
    /// `position` are safe.
    func routeEffects(_ position: UInt64) {
        if !effects.forwards.isEmpty { routeForwards() }
        guard !effects.frames.isEmpty else { return }
        for frame in effects.frames {
            let needs = Release(position: position, stream: frame.stream)
            if position == 0 || mayLeave(needs) {
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
        deliver(refusal, body: .text(text), needs: .now)
    }

    func sendBack(_ answer: RemoteReply, needs: Release) {
        if needs.position == 0 || mayLeave(needs) {
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

    /// Lets go the mail that may leave.
    func releaseMail() {
        if !heldReplies.isEmpty {
            for reply in heldReplies.take(where: mayLeave) { sendBack(reply, needs: .now) }
        }
        if !heldFrames.isEmpty {
            for frame in heldFrames.take(where: mayLeave) { post(frame) }
        }
    }

    /// Answers that may be lost become "nobody knows"; frames are sent again by whoever has the
    /// shard now.
    func failMail(_ streams: UInt16) {
        for held in heldReplies.take(where: { $0.isAmong(streams) }) {
            let unknown = Reply(ticket: held.reply.ticket, shape: .error, error: .unknown)
            sendBack(RemoteReply(reply: unknown, body: Self.movedText), needs: .now)
        }
        _ = heldFrames.take { $0.isAmong(streams) }
    }

    static let movedText = Value.text("the shard is on the move")

    /// Lets go the answers to the admin plane that may leave.
    func releaseAnswers() {
        guard !heldAnswers.isEmpty else { return }
        for answer in heldAnswers.take(where: mayLeave) { finishAsk(answer) }
    }

    func failAnswers(_ streams: UInt16) {
        for answer in heldAnswers.take(where: { $0.isAmong(streams) }) {
            finishAsk(
                HeldAnswer(
                    position: answer.position, answer: .error(.unknown, "the shard is on the move"))
            )
        }
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
