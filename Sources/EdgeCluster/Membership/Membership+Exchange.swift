public import EdgeMemory
public import EdgeTypes

/// Exchanges of state over streams: joining, anti-entropy, and finding those again that were lost.
extension Membership {
    func streamHeader(_ kind: GossipStreamMessage.Kind) -> GossipStreamMessage {
        GossipStreamMessage(
            kind: kind, cluster: cluster, sender: boot, incarnation: incarnation,
            versions: table.records[0].versions)
    }

    func open(
        _ message: GossipStreamMessage, to address: MemberAddress,
        into effects: inout MembershipEffects
    ) {
        effects.streams.append(
            OutboundStream(
                kind: .open, stream: 0, address: address, message: message,
                firstUpdate: Int32(effects.updates.count), updateCount: 0))
    }

    /// Asks somebody for its state, unless that was done just now.
    mutating func openExchange(_ address: MemberAddress, into effects: inout MembershipEffects) {
        guard nowNs >= exchangeFreeNs else { return }
        exchangeFreeNs = nowNs + configuration.exchangeSpacingNs
        counters.exchanges += 1
        var hello = streamHeader(.hello)
        hello.digest = digest
        hello.count = UInt32(table.liveCount)
        open(hello, to: address, into: &effects)
    }

    /// The regular exchange: with a member at random, now and then with a seed, so that parts of
    /// a cluster that have forgotten each other meet there.
    mutating func exchangeAtRandom(into effects: inout MembershipEffects) {
        exchangeAtNs = nowNs + jittered(configuration.exchangeNs(table.liveCount))
        if !seeds.isEmpty, configuration.mutant != .deadNeverContacted, random(below: 4) == 0 {
            openExchange(seeds[Int(random(below: seeds.count))], into: &effects)
        } else if !table.live.isEmpty {
            let slot = table.live[Int(random(below: table.live.count))]
            openExchange(table.address(Int(slot)), into: &effects)
        }
    }

    /// Speaks to somebody who is thought to be dead: after a partition both sides think so.
    mutating func reconnect(into effects: inout MembershipEffects) {
        reconnectAtNs = .max
        guard !table.dead.isEmpty else { return }
        // As long as others come back, more will.
        let isHealing = revivedNs > 0 && nowNs - revivedNs < 2 * configuration.reconnectIntervalNs
        let intervalNs = configuration.reconnectIntervalNs / (isHealing ? 10 : 1)
        reconnectAtNs = nowNs + jittered(intervalNs)
        counters.reconnects += 1
        let slot = table.dead[Int(random(below: table.dead.count))]
        ping(Int(slot), sequence: 0, into: &effects)
    }

    // MARK: Joining

    /// Asks the next seed; once all were asked in vain, it goes on as a cluster of its own and
    /// keeps asking as long as it is alone. Where one refused it, it only keeps asking.
    mutating func askSeed(into effects: inout MembershipEffects) {
        joinAtNs = .max
        if phase == .member && !table.live.isEmpty { return }
        guard !seeds.isEmpty, rival == nil else {
            if rival != nil { joinAtNs = nowNs + configuration.joinTimeoutNs }
            return
        }
        if nextSeed >= 2 * seeds.count {
            nextSeed = 0
            // Who was refused is not a cluster of its own.
            if phase == .joining, !wasRefused { becomeMember() }
            wasRefused = false
            joinWaitNs = min(joinWaitNs * 2, configuration.reconnectIntervalNs)
        }
        exchangeFreeNs = nowNs
        openExchange(seeds[nextSeed % seeds.count], into: &effects)
        nextSeed += 1
        joinAtNs = nowNs + (phase == .joining ? configuration.joinTimeoutNs : joinWaitNs)
    }

    /// From now on it probes, and others hear of it.
    mutating func becomeMember() {
        guard phase == .joining else { return }
        phase = .member
        joinAtNs = seeds.isEmpty ? .max : nowNs + joinWaitNs
        probeAtNs = nowNs + Hash64.reduce(random(), below: configuration.probeIntervalNs)
        exchangeAtNs =
            nowNs + Hash64.reduce(random(), below: configuration.exchangeNs(table.liveCount))
        enqueue(0, withRecord: true)
    }

    // MARK: Streams

    /// A stream could not be opened, or broke before its answer came.
    ///
    /// - Parameter address: as in `OutboundStream`.
    public mutating func streamFailed(
        _ address: MemberAddress, nowNs monotonicNs: UInt64,
        into effects: inout MembershipEffects
    ) {
        guard isRunning else { return }
        wake(monotonicNs)
        counters.streamsFailed += 1
        // Somebody else may be up: not much later than at once.
        if phase == .joining, rival == nil {
            joinAtNs = min(joinAtNs, nowNs + configuration.joinTimeoutNs / 10)
        }
        settle()
    }

    /// Takes a message from a stream.
    ///
    /// - Parameters:
    ///   - updates: members in `state` and `stateBack`, each with a record.
    ///   - stream: the shell's number for it, under which answers are written.
    ///   - address: the other end; of a stream that this node opened, as in `OutboundStream`.
    /// - Precondition: records are as updates say, and boots are not 0 (decoders check it).
    public mutating func receive(
        _ message: GossipStreamMessage, updates: borrowing PlainList<MembershipUpdate>,
        records: [MemberRecord], on stream: UInt32, from address: MemberAddress,
        nowNs monotonicNs: UInt64, into effects: inout MembershipEffects
    ) {
        guard isRunning else { return }
        wake(monotonicNs)
        if message.sender != boot, isWelcome(message, on: stream, from: address, into: &effects) {
            hear(message.sender, message.incarnation, from: address, into: &effects)
            switch message.kind {
            case .hello:
                answerHello(message, on: stream, into: &effects)
            case .state:
                merge(updates, records, from: message.sender, into: &effects)
                completeJoin(into: &effects)
                if phase == .member { replyState(.stateBack, on: stream, into: &effects) }
            case .stateBack:
                merge(updates, records, from: message.sender, into: &effects)
            case .same:
                counters.exchangesSame += 1
                completeJoin(into: &effects)
            case .refused:
                wasRefused = true
                reject(
                    message.reason, message.sender, address, message.versions, into: &effects)
            case .probe:
                guard message.target == boot else {
                    counters.misdirected += 1
                    break
                }
                var answer = streamHeader(.probed)
                answer.sequence = message.sequence
                reply(answer, on: stream, closes: true, into: &effects)
            case .probed:
                acknowledged(
                    sender: message.sender, sequence: message.sequence, into: &effects)
            }
        }
        settle()
    }

    /// Whether the other side is of this cluster and speaks a common version; tells it if not.
    private mutating func isWelcome(
        _ message: GossipStreamMessage, on stream: UInt32, from address: MemberAddress,
        into effects: inout MembershipEffects
    ) -> Bool {
        if message.kind == .refused { return true }
        var reason: MembershipRejection.Reason?
        if message.cluster != cluster {
            reason = .otherCluster
        } else if !message.versions.meets(table.records[0].versions),
            configuration.mutant != .versionsIgnored
        {
            reason = .disjointVersions
        }
        guard let reason else { return true }
        reject(reason, message.sender, address, message.versions, into: &effects)
        if message.kind == .hello {
            var answer = streamHeader(.refused)
            answer.reason = reason
            reply(answer, on: stream, closes: true, into: &effects)
        }
        return false
    }

    private mutating func answerHello(
        _ message: GossipStreamMessage, on stream: UInt32, into effects: inout MembershipEffects
    ) {
        let slot = table.find(boot: message.sender)
        let isKnown = slot > 0 && table.members[slot].state == .alive
        if isKnown, message.digest == digest, Int(message.count) == table.liveCount {
            reply(streamHeader(.same), on: stream, closes: true, into: &effects)
        } else {
            replyState(.state, on: stream, into: &effects)
        }
    }

    private func reply(
        _ message: GossipStreamMessage, on stream: UInt32, closes: Bool,
        into effects: inout MembershipEffects
    ) {
        effects.streams.append(
            OutboundStream(
                kind: closes ? .replyAndClose : .reply, stream: stream,
                address: table.records[0].address, message: message,
                firstUpdate: Int32(effects.updates.count), updateCount: 0))
    }

    /// Everybody this node knows, the dead and departed too: whoever starts under a name has to
    /// hear of its earlier lives. O(members).
    private mutating func replyState(
        _ kind: GossipStreamMessage.Kind, on stream: UInt32,
        into effects: inout MembershipEffects
    ) {
        let first = effects.updates.count
        // What the header and the count take is less.
        var left = MembershipLimits.streamBytes - 128
        // Where not all fit, each exchange leaves others out.
        let start = Int(random(below: table.slots))
        for step in 0..<table.slots {
            let slot = (start + step) % table.slots
            guard table.members[slot].state != nil, slot > 0 || phase != .joining else { continue }
            let update = table.update(slot)
            let size = update.wireBytes + table.records[slot].wireBytes
            guard size <= left else {
                counters.exchangesCut += 1
                break
            }
            left -= size
            effects.append(update, table.records[slot])
        }
        effects.streams.append(
            OutboundStream(
                kind: kind == .state ? .reply : .replyAndClose, stream: stream,
                address: table.records[0].address, message: streamHeader(kind),
                firstUpdate: Int32(first), updateCount: Int32(effects.updates.count - first)))
    }

    private mutating func merge(
        _ updates: borrowing PlainList<MembershipUpdate>, _ records: [MemberRecord],
        from sender: BootID, into effects: inout MembershipEffects
    ) {
        for index in 0..<updates.count {
            apply(updates[index], records, source: .exchange(sender), into: &effects)
        }
    }

    /// The cluster's state is here; unless the name is taken, it takes part.
    private mutating func completeJoin(into effects: inout MembershipEffects) {
        guard phase == .joining, rival == nil else { return }
        becomeMember()
    }
}
