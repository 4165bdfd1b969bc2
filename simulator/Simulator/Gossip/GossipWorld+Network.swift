import EdgeCluster
import EdgeMemory
import EdgeTypes
import EdgeWire

extension GossipWorld {
    static let connectTimeoutNs: UInt64 = 3_000_000_000
    static let port: UInt16 = 7_602

    static func address(_ node: Int) -> MemberAddress {
        MemberAddress(ipv4: 0x0a00_0000 | UInt32(node), port: port)
    }

    static func node(_ address: MemberAddress) -> Int {
        Int(address.hostLow & 0x00ff_ffff)
    }

    func isCut(from: Int, to: Int) -> Bool {
        if cutBelow >= 0 && (from < cutBelow) != (to < cutBelow) { return true }
        return deafBelow >= 0 && from >= deafBelow && to < deafBelow
    }

    /// Does what a machine wants done, and asks for its next tick.
    func carryOut(_ node: Int) {
        for index in 0..<effects.datagrams.count { send(node, effects.datagrams[index]) }
        for index in 0..<effects.streams.count { write(node, effects.streams[index]) }
        if !effects.events.isEmpty {
            for index in 0..<effects.events.count { watch(node, effects.events[index]) }
            declared[node] = machines[node].counters.deathsDeclared
        }
        if !effects.rejections.isEmpty {
            for index in 0..<effects.rejections.count where report.rejections.count < 100 {
                report.rejections.append((node, effects.rejections[index]))
            }
        }
        effects.removeAll()
        if machines[node].isStopped { places[node].isStopped = true }
        scheduleTick(node)
    }

    @inline(__always)
    func nextWord(_ stream: RandomStream) -> UInt64 {
        draws &+= 1
        return random.word(stream, draws)
    }

    private func send(_ node: Int, _ outbound: OutboundDatagram) {
        report.datagrams += 1
        let to = Self.node(outbound.address)
        let word = nextWord(.networkDelay)
        let isLost = Double(word & 0xffff_ffff) < scenario.loss * 0x1p32
        places[node].sealed += 1
        let header = GossipSeal(
            channel: .datagram, keyID: 1, sender: places[node].boot,
            counter: places[node].sealed)
        let seals = scenario.seals
        let place = arena.append { sink in
            if seals { header.encode(into: &sink) }
            GossipCodec.encode(
                outbound.datagram, updates: effects.updates, first: Int(outbound.firstUpdate),
                count: Int(outbound.updateCount), records: effects.records, into: &sink)
            if seals {
                for _ in 0..<(GossipSeal.tagBytes / 8) { sink.append(integer: UInt64(0)) }
            }
        }
        report.datagramBytes += UInt64(place.length)
        let size = Int(place.length) - (seals ? GossipSeal.overheadBytes : 0)
        report.largestDatagram = max(report.largestDatagram, size)
        let waitNs = stallNs(node)
        if waitNs > 0 { places[node].outgoing += 1 }
        let isOver = waitNs > 0 && Int(places[node].outgoing) > scenario.backlog
        if isLost || isOver || to >= places.count || isCut(from: node, to: to) {
            arena.release(place)
            return
        }
        let delayNs = delays.sampleNs(word ^ (word << 32))
        post(
            Packet(bytes: place, from: UInt16(node), to: UInt16(to), kind: .datagram),
            afterNs: waitNs + slowed(delayNs, node, to))
    }

    /// For how long what a node sends now waits.
    @inline(__always)
    private func stallNs(_ node: Int) -> UInt64 {
        places[node].stalledUntilNs > nowNs ? places[node].stalledUntilNs - nowNs : 0
    }

    private func slowed(_ delayNs: UInt64, _ from: Int, _ to: Int) -> UInt64 {
        guard places[from].isSlow || places[to].isSlow else { return delayNs }
        return UInt64(Double(delayNs) * scenario.slowness)
    }

    func post(_ packet: Packet, afterNs: UInt64) {
        let number: UInt32
        if freePacketCount > 0 {
            freePacketCount -= 1
            number = freePackets[freePacketCount]
            packets[Int(number)] = packet
        } else {
            number = UInt32(packets.count)
            packets.append(packet)
        }
        queue.push(timeNs: nowNs + afterNs, payload: number)
    }

    /// Somebody has heard a datagram and sends it again later.
    func replay(_ packet: Packet) {
        let word = nextWord(.networkLoss)
        guard RandomSource.unit(word) < scenario.replayed else { return }
        report.replaysSent += 1
        let copy = Array(arena.bytes(packet.bytes))
        let place = arena.append { sink in copy.withUnsafeBytes { sink.append($0) } }
        var again = packet
        again.bytes = place
        again.kind = .replay
        again.hadBy = places[Int(packet.to)].starts
        post(again, afterNs: Hash64.reduce(nextWord(.networkDelay), below: 60_000_000_000))
    }

    // MARK: Streams

    /// Streams are TCP's: what is lost comes later. A handshake is repeated after one second, then
    /// two, …; data after 200 ms, then 400, ….
    private func write(_ node: Int, _ outbound: OutboundStream) {
        report.streamMessages += 1
        let isOpen = outbound.kind == .open
        let to = isOpen ? Self.node(outbound.address) : Int(outbound.stream)
        let place = arena.append { sink in
            GossipCodec.encode(
                outbound.message, updates: effects.updates, first: Int(outbound.firstUpdate),
                count: Int(outbound.updateCount), records: effects.records, into: &sink)
        }
        report.streamBytes += UInt64(place.length)
        var delayNs =
            stallNs(node) + slowed(delays.sampleNs(nextWord(.networkDelay)), node, to)
        var isUp = to < places.count && places[to].isRunning && !isCut(from: node, to: to)
        if isOpen {
            delayNs += slowed(delays.sampleNs(nextWord(.networkDelay)), node, to) * 2
            // A stream needs both ways.
            isUp = isUp && !isCut(from: to, to: node)
            let both = 1 - (1 - scenario.loss) * (1 - scenario.loss)
            delayNs += repeats(both, firstNs: 1_000_000_000)
        }
        delayNs += repeats(scenario.loss, firstNs: 200_000_000)
        if isUp && delayNs < Self.connectTimeoutNs {
            post(
                Packet(bytes: place, from: UInt16(node), to: UInt16(to), kind: .stream),
                afterNs: delayNs)
        } else if isOpen {
            post(
                Packet(
                    bytes: place, from: UInt16(truncatingIfNeeded: to), to: UInt16(node),
                    kind: .streamFailed),
                afterNs: Self.connectTimeoutNs)
        } else {
            arena.release(place)
        }
    }

    private func repeats(_ loss: Double, firstNs: UInt64) -> UInt64 {
        if loss == 0 { return 0 }
        var sumNs: UInt64 = 0
        var waitNs = firstNs
        while sumNs < Self.connectTimeoutNs,
            RandomSource.unit(nextWord(.networkLoss)) < loss
        {
            sumNs += waitNs
            waitNs *= 2
        }
        return sumNs
    }
}
