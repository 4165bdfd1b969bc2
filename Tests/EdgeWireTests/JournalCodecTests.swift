import EdgeMemory
import EdgeTypes
import EdgeWire
import Testing

@Suite("Journal codec")
struct JournalCodecTests {
    static let seed = UInt64.random(in: 0 ... .max)

    @Test("every kind of entry survives encoding and decoding", arguments: 0..<SampleRandom.kinds)
    func roundTrip(kind: Int) throws {
        var random = SampleRandom(seed: Self.seed &+ UInt64(kind))
        var sink = ByteSink()
        var expected: [(EntryHeader, Entry)] = []
        for _ in 0..<200 {
            let item = (random.header(), random.entry(kind))
            JournalCodec.encode(item.1, header: item.0, into: &sink)
            expected.append(item)
        }
        var offset = 0
        for (header, entry) in expected {
            let frame = try JournalFrame.parse(sink.bytes, at: offset)
            #expect(frame.length % 8 == 0)
            #expect(frame.header == header, "seed \(Self.seed)")
            #expect(try frame.entry() == entry, "seed \(Self.seed)")
            if case .claim(let claim) = entry { #expect(frame.claim == claim) }
            if case .claim = entry {} else { #expect(frame.claim == nil) }
            offset += frame.length
        }
        #expect(offset == sink.count)
    }

    @Test("the samples hold every kind that the format knows")
    func samplesAreComplete() throws {
        var random = SampleRandom(seed: 1)
        var kinds: Set<UInt8> = []
        for kind in 0..<SampleRandom.kinds {
            var sink = ByteSink()
            JournalCodec.encode(random.entry(kind), header: random.header(), into: &sink)
            kinds.insert(try JournalFrame.parse(sink.bytes).rawKind)
        }
        #expect(kinds == Set(JournalKind.allCases.map(\.rawValue)))
    }

    @Test("a claim's bytes are as documented, for good")
    func goldenClaim() {
        var sink = ByteSink()
        let claim = Claim(
            pool: PoolKey(rawValue: 0x0807_0605_0403_0201), slice: 0x0d0c_0b0a, user: 0x11,
            packet: 0x1413_1211, amountFen: 0x22, requestHash: 0x33)
        let header = EntryHeader(
            shard: 0x0201, epoch: 0x0403_0201, sequence: 7, timeMs: 0x0102)
        JournalCodec.encode(claim, header: header, into: &sink)
        let bytes = Array(sink.bytes)
        let tail: [UInt8] =
            [72, 0, 0, 0, 1, 1, 1, 2, 1, 2, 3, 4, 7, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]
            + [1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0, 0, 0, 0, 0, 0, 0, 0x22, 0, 0, 0, 0, 0, 0, 0]
            + [0x0a, 0x0b, 0x0c, 0x0d, 0x11, 0x12, 0x13, 0x14, 0x33, 0, 0, 0, 0, 0, 0, 0]
        #expect(Array(bytes[4...]) == tail)
        let checksum = tail.withUnsafeBytes { Checksum.crc32c($0) }
        #expect(Array(bytes[..<4]) == withUnsafeBytes(of: checksum.littleEndian) { Array($0) })
    }

    @Test("the checksum is CRC-32C, however it is computed")
    func checksum() {
        let known = Array("123456789".utf8)
        #expect(known.withUnsafeBytes { Checksum.crc32c($0) } == 0xe306_9283)
        var random = SampleRandom(seed: Self.seed)
        for words in 1..<40 {
            let bytes = (0..<(words * 8)).map { _ in random.any(UInt8.self) }
            bytes.withUnsafeBytes { raw in
                let rest = UnsafeRawBufferPointer(rebasing: raw[4...])
                #expect(Checksum.frame(raw) == Checksum.crc32c(rest))
                let half = UnsafeRawBufferPointer(rebasing: rest[..<(rest.count / 2)])
                let other = UnsafeRawBufferPointer(rebasing: rest[(rest.count / 2)...])
                let split = Checksum.crc32c(other, continuing: Checksum.crc32c(half))
                #expect(split == Checksum.frame(raw))
            }
        }
    }

    @Test("any flipped bit is noticed", arguments: 0..<SampleRandom.kinds)
    func bitFlips(kind: Int) {
        var random = SampleRandom(seed: Self.seed &+ 99 &+ UInt64(kind))
        var sink = ByteSink()
        JournalCodec.encode(random.entry(kind), header: random.header(), into: &sink)
        var bytes = Array(sink.bytes)
        for bit in 0..<(bytes.count * 8) {
            bytes[bit / 8] ^= UInt8(1) << UInt8(bit % 8)
            #expect(throws: JournalDecodeError.self) {
                try bytes.withUnsafeBytes { _ = try JournalFrame.parse($0) }
            }
            bytes[bit / 8] ^= UInt8(1) << UInt8(bit % 8)
        }
        for end in 0..<bytes.count {
            let error = #expect(throws: JournalDecodeError.self) {
                try bytes[..<end].withUnsafeBytes { _ = try JournalFrame.parse($0) }
            }
            #expect(error == .truncated)
        }
    }

    /// Gives a frame a checksum that fits, so that decoding goes past it.
    static func seal(_ bytes: inout [UInt8]) {
        let checksum = bytes.withUnsafeBytes {
            Checksum.crc32c(UnsafeRawBufferPointer(rebasing: $0[4...]))
        }
        for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: checksum >> (index * 8)) }
    }

    @Test("unknown kinds and versions are told from corruption")
    func unknown() throws {
        var random = SampleRandom(seed: Self.seed)
        var sink = ByteSink()
        JournalCodec.encode(random.entry(4), header: random.header(), into: &sink)
        var bytes = Array(sink.bytes)
        bytes[8] = 200
        Self.seal(&bytes)
        let kind = #expect(throws: JournalDecodeError.self) {
            try bytes.withUnsafeBytes { _ = try JournalFrame.parse($0).entry() }
        }
        #expect(kind == .unknownKind(200))
        bytes[9] = 2
        Self.seal(&bytes)
        let version = #expect(throws: JournalDecodeError.self) {
            try bytes.withUnsafeBytes { _ = try JournalFrame.parse($0) }
        }
        #expect(version == .unknownVersion(2))
        #expect(kind?.isCorruption == false && version?.isCorruption == false)
        #expect(JournalDecodeError.badChecksum.isCorruption)
    }

    @Test("intact frames with nonsense inside decode to an error or to what encodes the same")
    func nonsense() throws {
        var random = SampleRandom(seed: Self.seed &+ 7)
        var refused = 0
        for round in 0..<40_000 {
            var sink = ByteSink()
            let entry = random.entry(round % SampleRandom.kinds)
            JournalCodec.encode(entry, header: random.header(), into: &sink)
            var bytes = Array(sink.bytes)
            for _ in 0..<(1 + Int(random.next() % 3)) {
                bytes[Int(random.next() % UInt64(bytes.count))] = random.any()
            }
            if random.next() % 4 == 0 { bytes.removeLast(8 * Int(random.next() % 4)) }
            if random.next() % 4 == 0 { bytes.append(contentsOf: [UInt8](repeating: 0, count: 8)) }
            bytes[4] = UInt8(truncatingIfNeeded: bytes.count)
            bytes[5] = UInt8(truncatingIfNeeded: bytes.count >> 8)
            bytes[6] = 0
            bytes[7] = 0
            bytes[9] = JournalFrame.version
            Self.seal(&bytes)
            do {
                let (header, decoded) = try bytes.withUnsafeBytes {
                    let frame = try JournalFrame.parse($0)
                    return (frame.header, try frame.entry())
                }
                var again = ByteSink()
                JournalCodec.encode(decoded, header: header, into: &again)
                // A named claim whose hash became 0 has a shorter form; all else has just one.
                if bytes[8] != JournalKind.claim.rawValue {
                    #expect(Array(again.bytes) == bytes, "seed \(Self.seed) round \(round)")
                }
            } catch { refused += 1 }
        }
        #expect(refused > 1_000)
    }

    @Test("random bytes never trap")
    func randomBytes() {
        var random = SampleRandom(seed: Self.seed &+ 8)
        for _ in 0..<100_000 {
            var bytes = (0..<Int(random.next() % 160)).map { _ in random.any(UInt8.self) }
            if bytes.count >= 8, random.flag() {
                bytes[4] = UInt8(truncatingIfNeeded: bytes.count)
                bytes[5] = 0
                bytes[6] = 0
                bytes[7] = random.flag() ? 0 : 255
            }
            bytes.withUnsafeBytes { raw in
                _ = try? JournalFrame.parse(raw).entry()
                _ = try? JournalFrame.parse(raw, at: -1)
                _ = try? JournalFrame.parse(raw, at: .max)
            }
        }
    }
}
