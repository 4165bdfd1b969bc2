import EdgeCore
import EdgeJournal
import EdgeMemory
import EdgeTypes
import EdgeWire

/// From bytes to a step, and from its effects to bytes: what the server's loops do.
extension SimulatedNode {
    /// A request arrives on a connection of its own.
    func receive(_ operation: Int, _ attempt: Int) {
        switch state {
        case .down: return world.clientLosesConnection(operation, attempt)
        case .paused:
            guard backlog.count < Self.mostBacklog else {
                return world.clientLosesConnection(operation, attempt)
            }
            return backlog.append(.request(operation: operation, attempt: attempt))
        case .running: break
        }
        guard acceptsConnections else {
            return world.clientLosesConnection(operation, attempt)
        }
        let slot = open(operation, attempt)
        // Whichever loop took the connection.
        let core = Int(
            world.random.below(
                UInt64(cores.count), .service, world.clients.operations[operation].key,
                UInt64(attempt)))
        let arrival = SimulatedCore.Arrival(
            slot: slot, generation: generations[slot], operation: operation, attempt: attempt)
        if cores[core].isHeldBack {
            // It waits in the kernel, as long as there is room.
            if cores[core].unread.count < Self.mostBacklog {
                cores[core].unread.append(arrival)
            } else {
                close(slot)
                world.clientLosesConnection(operation, attempt)
            }
        } else {
            read(arrival, core)
        }
    }

    /// A loop reads a connection's request.
    func read(_ arrival: SimulatedCore.Arrival, _ core: Int) {
        let (slot, operation, attempt) = (arrival.slot, arrival.operation, arrival.attempt)
        guard let connection = connections[slot], generations[slot] == arrival.generation,
            connection.attempt == attempt
        else { return }
        let ticket = Ticket(
            core: UInt16(core), generation: arrival.generation, connection: UInt32(slot),
            position: 0)
        let bytes = world.bytes(of: operation)
        var arguments = RESPArguments()
        let decoded = RESPDecoder().decode(bytes.span.bytes, from: 0, into: &arguments)
        guard case .command(let end, false) = decoded, end == bytes.count,
            let command = RESPRequests.command(bytes.span.bytes, arguments)
        else { preconditionFailure("a client wrote what is no command") }
        let request = RESPRequests.parse(
            command, bytes.span.bytes, arguments, ticket: ticket, actor: "operator")
        switch request {
        case .request(let request): cores[core].batch.requests.append(request)
        case .payload(let request, let payload):
            cores[core].batch.append(request, payload: payload)
        case .create(let request, let draft):
            let definition = world.definition(of: draft, operation, attempt)
            cores[core].batch.append(
                request, payload: .definition(definition, actor: "operator"))
        case .refused(let refusal):
            var sink = ByteSink(capacity: 256)
            RESPEncoder.append(error: refusal.code, refusal.text, to: &sink)
            close(slot)
            return world.answer(self, operation, attempt, Array(sink.bytes))
        case .local:
            preconditionFailure("a client asks what this world does not know: \(request)")
        }
        scheduleTick(core)
    }

    private func open(_ operation: Int, _ attempt: Int) -> Int {
        let slot: Int
        if let free = freeConnections.popLast() {
            slot = free
            generations[slot] &+= 1
        } else {
            slot = connections.count
            connections.append(nil)
            generations.append(0)
        }
        connections[slot] = Connection(
            operation: operation, attempt: attempt, generation: generations[slot])
        return slot
    }

    func close(_ slot: Int) {
        connections[slot] = nil
        freeConnections.append(slot)
    }

    // MARK: Steps

    func place(_ core: Int) -> Happening.Place {
        Happening.Place(node: index, boot: boot, core: core)
    }

    func scheduleTick(_ core: Int) {
        guard !cores[core].isTickScheduled else { return }
        cores[core].isTickScheduled = true
        world.schedule(world.nowNs + world.stepNs(self), .tick(place(core)))
    }

    /// One turn of a loop: mail, then one step with all that has come.
    func tick(_ core: Int) {
        cores[core].isTickScheduled = false
        guard isRunning, !isHalted else { return }
        takeMail(core)
        let shell = cores[core]
        guard !shell.batch.isEmpty || now.wallMs >= shell.deadlineMs else { return }
        step(core)
    }

    private func step(_ core: Int) {
        let shell = cores[core]
        if shell.writer.space != .free { retryFull(core) }
        guard isRunning else { return }
        shell.batch.storageIsFull = shell.writer.space != .free
        if shell.batch.storageIsFull { world.probe(.steppedWithFullDisk) }
        shell.batch.isCaughtUp =
            shell.committed >= shell.noticed
            && (replicas == nil || shell.hasReached(shell.noticed, CommitStream.all))
        shell.batch.laneEnd = shell.submitted
        shell.node.step(shell.batch, now: now, into: &shell.effects)
        if shell.node.counters.doorRefusals > 0 { world.probe(.refusedAtDoor) }
        shell.batch.removeAll()
        execute(core)
    }

    private func takeMail(_ core: Int) {
        let shell = cores[core]
        // All that was posted is there: what takes time is waking the loop.
        let mails = shell.mailbox
        shell.mailbox = []
        for mail in mails {
            switch mail.content {
            case .forward(let forward):
                if let payload = forward.payload {
                    shell.batch.append(forward.request, payload: payload)
                } else {
                    shell.batch.requests.append(forward.request)
                }
            case .frame(let frame): shell.batch.frames.append(frame)
            case .reply(let reply, let body):
                shell.forwardsInFlight -= 1
                precondition(shell.forwardsInFlight >= 0)
                answer(reply, body)
            }
        }
    }

    private func post(_ content: SimulatedCore.Mail.Content, to core: Int) {
        let shell = cores[core]
        let entity = 1 << 32 | UInt64(boot) << 16 | UInt64(index) << 8 | UInt64(core)
        let draw = world.random.below(30_000, .service, entity, shell.mailCount)
        shell.mailCount += 1
        // Mail between two loops keeps its order.
        let arrivesNs = max(
            world.nowNs + UInt64(Double(1_000 + draw) * cpuFactor),
            shell.mailbox.last?.arrivesNs ?? 0)
        shell.mailbox.append(SimulatedCore.Mail(arrivesNs: arrivesNs, content: content))
        world.schedule(arrivesNs, .mail(place(core)))
    }

    /// A full disk is tried again, as the server's segment thread does by itself.
    private func retryFull(_ core: Int) {
        disk.now = now
        var nothing = ByteSink(capacity: 1)
        do { try cores[core].writer.append(&nothing) } catch { abort("\(error)") }
    }

    /// Does what a step left to do, in the server's order.
    func execute(_ core: Int) {
        let shell = cores[core]
        let isWaitedFor =
            !shell.effects.frames.isEmpty || shell.effects.asksForDurability
            || shell.effects.replies.contains { $0.waitsForJournal }
        shell.submitted += UInt64(shell.effects.journal.count)
        if replicas != nil { serveReplicas(core) }
        world.submitted(self, core, shell.effects.journal.bytes)
        shell.pending.append(shell.effects.journal.bytes)
        shell.effects.journal.removeAll()
        if isWaitedFor { shell.wanted = shell.submitted }
        if shell.effects.asksForDurability { shell.noticed = shell.submitted }
        executeReplicas(core)
        let isReplicated = replicas != nil
        let position = shell.isDurable && !isReplicated ? 0 : shell.submitted
        for number in 0..<shell.effects.replies.count {
            let reply = shell.effects.replies[number]
            let body = reply.body >= 0 ? shell.effects.bodies[Int(reply.body)] : nil
            let waits = reply.waitsForJournal && world.mutant != .earlyAck
            leave(core, .reply(reply, body), needs: waits ? position : 0, stream: reply.stream)
        }
        if position > 0, !shell.effects.frames.isEmpty {
            world.isInFlight(self)
            world.isInFlight(self, .powerLossAtTransfer)
        }
        for forward in shell.effects.forwards { send(forward, core) }
        for frame in shell.effects.frames {
            leave(
                core, .frame(frame), needs: world.mutant == .framesBeforeCommit ? 0 : position,
                stream: frame.stream)
        }
        if shell.effects.awaitsFrames { scheduleResend(core) }
        let next = shell.effects.nextDeadlineMs
        shell.effects.nextDeadlineMs = .max
        shell.effects.removeAll()
        setDeadline(core, next)
        if shell.isOverBacklog, !shell.isHeldBack {
            shell.isHeldBack = true
            world.probe(.heldBack)
        }
        if isReplicated { release(core) }
        if shell.wantsDurable {
            shell.wantsDurable = false
            if shell.isDurable { securedReplicas(core) } else { shell.wanted = shell.submitted }
        }
        if shell.wanted > shell.committed, shell.writer.backlogBytes == 0 {
            startSync(core)
        } else if !shell.isDurable, !shell.isFlushScheduled {
            shell.isFlushScheduled = true
            world.schedule(world.nowNs + 100_000_000, .lazyFlush(place(core)))
        }
    }

    /// Passes a request on to the core that owns what it asks for.
    private func send(_ forward: Forward, _ core: Int) {
        let shell = cores[core]
        // The place of its answer, until that has come.
        if Int(forward.request.ticket.core) == core {
            guard shell.forwardsInFlight < SimulatedCore.mostForwards else {
                world.probe(.tooManyForwards)
                let refusal = Reply(
                    ticket: forward.request.ticket, shape: .error, error: .tryAgain)
                return answer(refusal, .text("this node is too busy"))
            }
            shell.forwardsInFlight += 1
        }
        if forward.to.isCore {
            post(.forward(forward), to: forward.to.core)
        } else {
            send(forward, from: core, toNode: forward.to.node)
        }
    }

    func leave(
        _ core: Int, _ item: SimulatedCore.Outbound, needs: UInt64,
        stream: UInt8 = CommitStream.disk
    ) {
        guard needs == 0 else {
            return cores[core].held.append(
                SimulatedCore.Held(needs: needs, stream: stream, item: item))
        }
        switch item {
        case .frame(let frame) where frame.to.isCore:
            post(.frame(frame.frame), to: frame.to.core)
        case .frame(let frame): send(frame, from: core)
        case .reply(let reply, let body):
            if !cores[core].isDurable, promisesDurability(reply) { world.isInFlight(self) }
            if Int(reply.ticket.core) == core {
                answer(reply, body)
            } else {
                post(.reply(reply, body), to: Int(reply.ticket.core))
            }
        }
    }

    /// Whether a reply is about a pool that promises more than memory.
    private func promisesDurability(_ reply: Reply) -> Bool {
        let slot = Int(reply.ticket.connection)
        if reply.ticket.connection == Self.busSlot { return true }
        guard slot < connections.count, let connection = connections[slot] else { return false }
        let pool = world.clients.operations[connection.operation].pool
        // What a memory pool was given must be durable; what it grants need not be.
        if world.pools[pool].durability != .memory { return true }
        return reply.shape == .grab && reply.outcome == .granted
            && cores.contains {
                $0.noticed > $0.committed
            }
    }

    func answer(_ reply: Reply, _ body: Value?) {
        if reply.ticket.connection == Self.busSlot { return answerNode(reply, body) }
        let slot = Int(reply.ticket.connection)
        guard slot < connections.count, let connection = connections[slot],
            connection.generation == reply.ticket.generation
        else { return }
        if reply.shape == .archived, let body { return askStore(reply, body) }
        close(slot)
        var sink = ByteSink(capacity: 256)
        RESPEncoder.append(reply, body: body, resp3: false, to: &sink)
        world.answer(self, connection.operation, connection.attempt, Array(sink.bytes))
    }

    // MARK: Deadlines

    /// The core looks again what is not confirmed.
    private func scheduleResend(_ core: Int) {
        guard !cores[core].isResendScheduled else { return }
        cores[core].isResendScheduled = true
        world.schedule(
            world.nowNs + UInt64(EffectBuffer.resendMs) * 1_000_000, .resend(place(core)))
    }

    func resend(_ core: Int) {
        if case .paused = state { return backlog.append(.resend(place(core))) }
        cores[core].isResendScheduled = false
        if !isHalted { step(core) }
    }

    private func setDeadline(_ core: Int, _ next: UnixMs) {
        let shell = cores[core]
        shell.deadlineMs = next
        shell.deadlineGeneration += 1
        guard next != .max else { return }
        let wallMs = now.wallMs
        // At least a millisecond: a loop does not spin.
        let delayMs = next <= wallMs ? 1 : min(next - wallMs, 60_000)
        world.schedule(
            world.nowNs + UInt64(delayMs) * 1_000_000,
            .deadline(place(core), generation: shell.deadlineGeneration))
    }

    func deadline(_ core: Int, generation: Int) {
        guard cores[core].deadlineGeneration == generation else { return }
        guard isRunning else {
            // The timer is overdue when the process goes on, whatever the clock says then.
            if case .paused = state {
                backlog.append(.deadline(place(core), generation: generation))
            }
            return
        }
        if isHalted { return }
        if now.wallMs >= cores[core].deadlineMs {
            step(core)
        } else {
            setDeadline(core, cores[core].deadlineMs)
        }
    }
}
