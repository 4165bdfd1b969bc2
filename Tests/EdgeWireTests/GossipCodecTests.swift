import EdgeMemory
import EdgeTypes
import EdgeWire
import Testing

/// Random gossip.
private struct GossipSamples {
    var random: SampleRandom

    init(seed: UInt64) { random = SampleRandom(seed: seed) }

    mutating func boot() -> BootID { random.any(UInt64.self) | 1 }

    mutating func text(atLeast: Int = 0) -> Text64 {
        let count = atLeast + Int(random.any(UInt8.self)) % (65 - atLeast)
        return Text64((0..<count).map { _ in random.any(UInt8.self) }) ?? Text64()
    }

    mutating func record(_ boot: BootID) -> MemberRecord {
        var address = MemberAddress(
            hostHigh: random.any(UInt64.self) | 1, hostLow: random.any(UInt64.self),
            port: random.any(UInt16.self))
        if random.flag() {
            address = MemberAddress(
                ipv4: random.any(UInt32.self), port: random.any(UInt16.self))
        }
        let oldest = random.any(UInt16.self)
        return MemberRecord(
            name: text(atLeast: 1), region: text(), zone: text(), boot: boot, address: address,
            httpPort: random.any(UInt16.self), respPort: random.any(UInt16.self),
            adminPort: random.any(UInt16.self),
            versions: ProtocolRange(oldest: oldest, newest: max(oldest, random.any(UInt16.self))))
    }

    mutating func update(
        _ records: inout [MemberRecord], withRecord: Bool
    ) -> MembershipUpdate {
        let states = MemberState.allCases
        var update = MembershipUpdate(
            state: states[Int(random.any(UInt8.self)) % states.count], boot: boot(),
            incarnation: Incarnation(rawValue: random.any(UInt64.self)))
        if update.state == .suspect || update.state == .dead {
            for _ in 0..<(random.any(UInt8.self) % 5) { update.accuse(by: boot()) }
        }
        if withRecord {
            update.record = Int32(records.count)
            records.append(record(update.boot))
        }
        return update
    }

    mutating func datagram() -> GossipDatagram {
        let kinds = GossipDatagram.Kind.allCases
        var made = GossipDatagram(
            kind: kinds[Int(random.any(UInt8.self)) % kinds.count],
            cluster: random.any(UInt32.self), sender: boot(),
            incarnation: Incarnation(rawValue: random.any(UInt64.self)))
        if made.kind != .gossip { made.sequence = random.any(UInt32.self) }
        switch made.kind {
        case .ping, .pingRequest: made.target = boot()
        case .indirectAck:
            made.target = boot()
            made.targetIncarnation = Incarnation(rawValue: random.any(UInt64.self))
        case .ack, .ackToStranger, .nack, .gossip: break
        }
        return made
    }

    mutating func message() -> GossipStreamMessage {
        let kinds = GossipStreamMessage.Kind.allCases
        let reasons = MembershipRejection.Reason.allCases
        let oldest = random.any(UInt16.self)
        return GossipStreamMessage(
            kind: kinds[Int(random.any(UInt8.self)) % kinds.count],
            cluster: random.any(UInt32.self), sender: boot(),
            incarnation: Incarnation(rawValue: random.any(UInt64.self)),
            versions: ProtocolRange(
                oldest: oldest, newest: max(oldest, random.any(UInt16.self))),
            digest: random.any(UInt64.self), count: random.any(UInt32.self),
            sequence: random.any(UInt32.self), target: random.any(UInt64.self),
            reason: reasons[Int(random.any(UInt8.self)) % reasons.count])
    }
}

private func isSame(_ a: MembershipUpdate, _ b: MembershipUpdate) -> Bool {
    a.state == b.state && a.boot == b.boot && a.incarnation == b.incarnation
        && a.record == b.record && a.accuserCount == b.accuserCount
        && (0..<Int(a.accuserCount)).allSatisfy { a.accuser($0) == b.accuser($0) }
}

@Suite("Gossip codec")
struct GossipCodecTests {
    static let seed = UInt64.random(in: 0 ... .max)

    @Test("a datagram and its updates survive encoding and decoding, and are as long as they say")
    func datagrams() throws {
        var samples = GossipSamples(seed: Self.seed)
        var read = PlainList<MembershipUpdate>()
        var readRecords: [MemberRecord] = []
        for _ in 0..<2_000 {
            let datagram = samples.datagram()
            var updates = PlainList<MembershipUpdate>()
            var records: [MemberRecord] = []
            var size = datagram.wireBytes
            for _ in 0..<(samples.random.any(UInt8.self) % 12) {
                let hasRecord = samples.random.any(UInt8.self) % 4 == 0
                let update = samples.update(&records, withRecord: hasRecord)
                let bytes =
                    update.wireBytes + (hasRecord ? records[records.count - 1].wireBytes : 0)
                if size + bytes > MembershipLimits.datagramBytes {
                    if hasRecord { records.removeLast() }
                    break
                }
                size += bytes
                updates.append(update)
            }
            var sink = ByteSink()
            GossipCodec.encode(
                datagram, updates: updates, first: 0, count: updates.count, records: records,
                into: &sink)
            #expect(sink.count == size, "seed \(Self.seed)")
            let decoded = try GossipCodec.decode(
                datagram: sink.bytes, updates: &read, records: &readRecords)
            #expect(decoded == datagram, "seed \(Self.seed)")
            #expect(readRecords == records, "seed \(Self.seed)")
            let isEqual = same(read, updates)
            #expect(isEqual, "seed \(Self.seed)")
        }
    }

    private func same(
        _ a: borrowing PlainList<MembershipUpdate>, _ b: borrowing PlainList<MembershipUpdate>
    ) -> Bool {
        guard a.count == b.count else { return false }
        for index in 0..<a.count where !isSame(a[index], b[index]) { return false }
        return true
    }

    @Test("a message on a stream survives encoding and decoding")
    func streams() throws {
        var samples = GossipSamples(seed: Self.seed &+ 1)
        var read = PlainList<MembershipUpdate>()
        var readRecords: [MemberRecord] = []
        for _ in 0..<500 {
            let message = samples.message()
            var updates = PlainList<MembershipUpdate>()
            var records: [MemberRecord] = []
            if message.kind == .state || message.kind == .stateBack {
                for _ in 0..<(samples.random.any(UInt8.self) % 40) {
                    updates.append(samples.update(&records, withRecord: true))
                }
            }
            var sink = ByteSink()
            GossipCodec.encode(
                message, updates: updates, first: 0, count: updates.count, records: records,
                into: &sink)
            let decoded = try GossipCodec.decode(
                stream: sink.bytes, updates: &read, records: &readRecords)
            #expect(decoded == message, "seed \(Self.seed)")
            #expect(readRecords == records, "seed \(Self.seed)")
            let isEqual = same(read, updates)
            #expect(isEqual, "seed \(Self.seed)")
        }
    }

    /// One of each: a datagram and a state with suspects, records and both kinds of address.
    private func examples() -> [(isStream: Bool, bytes: [UInt8])] {
        var samples = GossipSamples(seed: Self.seed &+ 2)
        var made: [(isStream: Bool, bytes: [UInt8])] = []
        for _ in 0..<12 {
            var updates = PlainList<MembershipUpdate>()
            var records: [MemberRecord] = []
            for _ in 0..<3 { updates.append(samples.update(&records, withRecord: true)) }
            var sink = ByteSink()
            GossipCodec.encode(
                samples.datagram(), updates: updates, first: 0, count: 3, records: records,
                into: &sink)
            if sink.count <= MembershipLimits.datagramBytes {
                made.append((false, Array(sink.bytes)))
            }
            var stream = ByteSink()
            var message = samples.message()
            message.kind = .state
            GossipCodec.encode(
                message, updates: updates, first: 0, count: 3, records: records, into: &stream)
            made.append((true, Array(stream.bytes)))
        }
        return made
    }

    /// What decoding the bytes gives, encoded again; nil where they are refused.
    private func again(_ isStream: Bool, _ bytes: [UInt8]) -> [UInt8]? {
        var updates = PlainList<MembershipUpdate>()
        var records: [MemberRecord] = []
        var sink = ByteSink()
        do {
            try bytes.withUnsafeBytes { raw in
                if isStream {
                    let message = try GossipCodec.decode(
                        stream: raw, updates: &updates, records: &records)
                    GossipCodec.encode(
                        message, updates: updates, first: 0, count: updates.count,
                        records: records, into: &sink)
                } else {
                    let datagram = try GossipCodec.decode(
                        datagram: raw, updates: &updates, records: &records)
                    GossipCodec.encode(
                        datagram, updates: updates, first: 0, count: updates.count,
                        records: records, into: &sink)
                }
            }
        } catch {
            return nil
        }
        return Array(sink.bytes)
    }

    @Test("gossip that was cut off anywhere, or has something behind it, is refused")
    func truncation() {
        for (isStream, bytes) in examples() {
            #expect(again(isStream, bytes) == bytes)
            for length in 0..<bytes.count {
                #expect(again(isStream, Array(bytes[..<length])) == nil, "\(length) bytes")
            }
            #expect(again(isStream, bytes + [0]) == nil)
        }
    }

    @Test("a flipped bit is refused, or gives other gossip of which each value has one form")
    func flips() {
        for (isStream, bytes) in examples() {
            for bit in 0..<(bytes.count * 8) {
                var flipped = bytes
                flipped[bit / 8] ^= 1 << UInt8(bit % 8)
                // Decoded and encoded again, it is the same bytes: nothing was read past or ignored.
                if let encoded = again(isStream, flipped) {
                    #expect(encoded == flipped, "seed \(Self.seed), bit \(bit)")
                }
            }
        }
    }

    @Test("random bytes never trap")
    func garbage() {
        var random = SampleRandom(seed: Self.seed &+ 3)
        for round in 0..<20_000 {
            var bytes = (0..<Int(random.any(UInt8.self))).map { _ in random.any(UInt8.self) }
            if bytes.count > 4 {
                bytes[0] = UInt8(round % 9)
                bytes[1] = GossipFrame.version
                bytes[2] = bytes[2] % 8
                bytes[3] = 0
            }
            if let encoded = again(round & 1 == 0, bytes) { #expect(encoded == bytes) }
        }
    }

    @Test("what is longer than the limits is refused unread")
    func limits() {
        #expect(throws: GossipDecodeError.badLength) {
            var updates = PlainList<MembershipUpdate>()
            var records: [MemberRecord] = []
            let bytes = [UInt8](repeating: 0, count: MembershipLimits.datagramBytes + 1)
            try bytes.withUnsafeBytes {
                _ = try GossipCodec.decode(datagram: $0, updates: &updates, records: &records)
            }
        }
        #expect(GossipSeal.overheadBytes <= MembershipLimits.sealBytes)
        // All members with the longest names and addresses fit into one message.
        let longest = Text64(String(repeating: "x", count: 64))
        let record = MemberRecord(
            name: longest, region: longest, zone: longest, boot: 1,
            address: MemberAddress(hostHigh: 1, hostLow: 1, port: 1))
        let update = MembershipUpdate(
            state: .alive, boot: 1, incarnation: Incarnation(life: 1))
        let size = (record.wireBytes + update.wireBytes) * MembershipLimits.members
        #expect(size + 128 <= MembershipLimits.streamBytes)
    }
}

@Suite("Seals and replays")
struct GossipSealTests {
    @Test("a seal's header is as documented, for good")
    func golden() throws {
        var sink = ByteSink()
        GossipSeal(
            channel: .datagram, keyID: 0x0403_0201, sender: 0x1817_1615_1413_1211, counter: 0x22
        ).encode(into: &sink)
        let header: [UInt8] = [
            1, 1, 0, 0, 1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x22, 0, 0, 0,
            0, 0, 0, 0,
        ]
        #expect(Array(sink.bytes) == header)
        for _ in 0..<20 { sink.append(integer: UInt8(0xff)) }
        let seal = try GossipSeal.decode(sink.bytes)
        #expect(seal.keyID == 0x0403_0201 && seal.counter == 0x22)
        #expect(GossipSeal.ciphertext(of: sink.count) == 24..<28)
    }

    @Test("a header that is short, of another version, or without boot and counter is refused")
    func malformed() {
        var sink = ByteSink()
        GossipSeal(channel: .stream, keyID: 7, sender: 8, counter: 9).encode(into: &sink)
        let good = Array(sink.bytes) + [UInt8](repeating: 0, count: 16)
        func decodes(_ bytes: [UInt8]) -> Bool {
            bytes.withUnsafeBytes { (try? GossipSeal.decode($0)) != nil }
        }
        #expect(decodes(good))
        for length in 0..<good.count { #expect(!decodes(Array(good[..<length]))) }
        for (place, value) in [(0, 2), (1, 3), (2, 1), (8, 0), (16, 0)] {
            var bad = good
            bad[place] = UInt8(value)
            #expect(!decodes(bad), "byte \(place)")
        }
    }

    @Test("a window takes every counter once, in any order, as long as it is not too old")
    func window() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SampleRandom(seed: seed)
        var window = ReplayWindow()
        var taken: Set<UInt64> = []
        var highest: UInt64 = 0
        for _ in 0..<20_000 {
            let word = random.any(UInt64.self)
            // Mostly near the highest, sometimes far ahead.
            let counter =
                word % 50 == 0
                ? highest + 1 + (word >> 32) % 700
                : highest + 3 - min(highest + 2, (word >> 32) % 300)
            let isNew = !taken.contains(counter)
            let isRecent = counter > highest || highest - counter < ReplayWindow.span
            let isTaken = window.accept(counter)
            #expect(isTaken == (isNew && isRecent), "seed \(seed)")
            if isNew && isRecent { taken.insert(counter) }
            highest = max(highest, counter)
            #expect(window.highest == highest)
        }
        let odd = [window.accept(0), window.accept(.max), window.accept(.max)]
        #expect(odd == [false, true, false])
        let late = window.accept(highest)
        #expect(!late)
    }

    @Test("senders are told apart, forgotten when asked to, and limited")
    func senders() {
        var windows = ReplayGuard()
        let taken = [windows.accept(1, 5), windows.accept(2, 5), windows.accept(1, 5)]
        #expect(taken == [true, true, false])
        #expect(windows.replays == 1)
        windows.forget(1)
        #expect(windows.count == 1)
        for sender in 3...UInt64(ReplayGuard.limit + 1) {
            let isTaken = windows.accept(sender, 1)
            #expect(isTaken)
        }
        #expect(windows.count == ReplayGuard.limit)
        let beyond = windows.accept(1, 6)
        #expect(!beyond)
        #expect(windows.overflows == 1)
        windows.forget(2)
        let again = windows.accept(1, 6)
        #expect(again)
    }
}
