import EdgeMemory
import EdgeTypes
import EdgeWire
import Testing

@Suite("Bus codec")
struct BusCodecTests {
    static let seed = UInt64.random(in: 0 ... .max)

    private func encode(_ sample: BusSamples.Sample) -> [UInt8] {
        var sink = ByteSink()
        let isEncoded = sample.attached.withUnsafeBytes {
            BusCodec.encode(sample.message, attached: $0, into: &sink)
        }
        #expect(isEncoded)
        return Array(sink.bytes)
    }

    /// All messages of a record, encoded anew: nil where it does not decode.
    private func again(_ record: [UInt8]) -> [UInt8]? {
        record.withUnsafeBytes { bytes in
            var sink = ByteSink()
            var reader = BusReader(bytes)
            do {
                while let message = try reader.next() {
                    guard BusCodec.encode(message, attached: reader.attached, into: &sink) else {
                        return nil
                    }
                }
            } catch {
                return nil
            }
            return Array(sink.bytes)
        }
    }

    @Test("every message survives encoding and decoding")
    func roundTrip() throws {
        var samples = BusSamples(seed: Self.seed)
        for round in 0..<4_000 {
            let sample = samples.sample(round % BusSamples.kinds)
            let bytes = encode(sample)
            #expect(bytes.count % 8 == 0)
            try bytes.withUnsafeBytes { bytes in
                var reader = BusReader(bytes)
                let message = try #require(try reader.next())
                #expect("\(message)" == "\(sample.message)", "seed \(Self.seed)")
                #expect(Array(reader.attached) == sample.attached, "seed \(Self.seed)")
                let end = try reader.next()
                #expect(end == nil)
            }
            #expect(again(bytes) == bytes, "seed \(Self.seed)")
        }
    }

    @Test("a record of many messages gives them in order")
    func record() throws {
        var samples = BusSamples(seed: Self.seed &+ 1)
        for _ in 0..<50 {
            let list = (0..<60).map { _ in samples.sample(samples.below(BusSamples.kinds)) }
            let record = list.flatMap { encode($0) }
            try record.withUnsafeBytes { bytes in
                var reader = BusReader(bytes)
                for sample in list {
                    let message = try #require(try reader.next())
                    #expect("\(message)" == "\(sample.message)", "seed \(Self.seed)")
                    if !sample.attached.isEmpty {
                        #expect(Array(reader.attached) == sample.attached, "seed \(Self.seed)")
                    }
                }
                let end = try reader.next()
                #expect(end == nil)
            }
        }
    }

    @Test("no message decodes where its end is missing")
    func truncations() {
        var samples = BusSamples(seed: Self.seed &+ 2)
        for kind in 0..<BusSamples.kinds {
            let bytes = encode(samples.sample(kind))
            for count in 1..<bytes.count {
                #expect(again(Array(bytes[..<count])) == nil, "kind \(kind), seed \(Self.seed)")
            }
        }
    }

    @Test("a changed byte gives an error, or another message whose form is exactly that")
    func damage() {
        var samples = BusSamples(seed: Self.seed &+ 3)
        var refused = 0
        var other = 0
        for round in 0..<4 {
            for kind in 0..<BusSamples.kinds {
                let bytes = encode(samples.sample(kind))
                for index in bytes.indices {
                    for bit in 0..<8 where (bit + index + round) % 4 == 0 {
                        var damaged = bytes
                        damaged[index] ^= 1 << UInt8(bit)
                        guard let decoded = again(damaged) else {
                            refused += 1
                            continue
                        }
                        other += 1
                        #expect(decoded == damaged, "kind \(kind), \(index), seed \(Self.seed)")
                    }
                }
            }
        }
        #expect(refused > 1_000 && other > 1_000)
    }

    @Test("bytes at random never trap")
    func noise() {
        var samples = BusSamples(seed: Self.seed &+ 4)
        for _ in 0..<40_000 {
            var noise = samples.bytes(samples.below(160))
            if noise.count >= 8 {
                // Mostly past the checks of the head.
                noise[0] = UInt8(samples.below(16))
                noise.replaceSubrange(4..<8, with: [UInt8(noise.count & ~7), 0, 0, 0])
                noise.removeLast(noise.count & 7)
            }
            if let decoded = again(noise) { #expect(decoded == noise, "seed \(Self.seed)") }
        }
    }

    @Test("a grab and its answer take 48 bytes each")
    func sizes() {
        var samples = BusSamples(seed: Self.seed &+ 5)
        var sink = ByteSink()
        BusCodec.encode(samples.grab(), id: 1, hops: 0, into: &sink)
        #expect(sink.count == 48)
        sink.removeAll()
        BusCodec.encode(samples.reply(), id: 1, into: &sink)
        #expect(sink.count == 48)
    }

    @Test("a value that is too deep, too long or has too many parts is not encoded, nor decoded")
    func values() throws {
        var samples = BusSamples(seed: Self.seed &+ 6)
        var nested = Value.integer(1)
        for _ in 1..<BusLimits.valueDepth { nested = .array([nested]) }
        let most = Value.array(Array(repeating: .null, count: BusLimits.values - 1))
        let longest = Value.text(String(repeating: "x", count: BusLimits.messageBytes - 48 - 5))
        for value in [nested, most, longest] {
            let bytes = encode(.init(message: .reply(id: 7, samples.reply(), value)))
            #expect(again(bytes) == bytes)
        }
        let tooDeep = Value.map([.init("k", nested)])
        let tooMany = Value.array(Array(repeating: .null, count: BusLimits.values))
        let tooLong = Value.text(String(repeating: "x", count: BusLimits.messageBytes - 48 - 4))
        for value in [tooDeep, tooMany, tooLong] {
            var sink = ByteSink()
            BusCodec.encodePing(into: &sink)
            let isEncoded = BusCodec.encode(samples.reply(), value, id: 1, into: &sink)
            #expect(!isEncoded)
            #expect(sink.count == 8)
        }
        // One level more than is encoded: arrays of one around null, by hand.
        var sink = ByteSink()
        BusCodec.encode(samples.reply(), id: 1, into: &sink)
        var deep = Array(sink.bytes)
        for _ in 0..<BusLimits.valueDepth { deep += [3, 1, 0, 0, 0] }
        deep.append(0)
        deep += Array(repeating: 0, count: -deep.count & 7)
        deep[0] = 5
        deep.replaceSubrange(4..<8, with: [UInt8(deep.count), 0, 0, 0])
        #expect(again(deep) == nil)
    }

    @Test("lengths beyond the limit, and texts that are not UTF-8, are refused")
    func limits() throws {
        var head = [UInt8](repeating: 0, count: 16)
        head[0] = 10
        head.replaceSubrange(4..<8, with: [0, 0, 0x20, 0])
        expect(head, .badLength)
        head.replaceSubrange(4..<8, with: [16, 0, 0, 0])
        head[0] = 99
        expect(head, .unknownKind(99))
        head[0] = 10
        head[3] = 1
        expect(head, .malformed(kind: 10))
        expect(Array(head[..<8]), .truncated)

        var samples = BusSamples(seed: Self.seed &+ 7)
        var text = encode(.init(message: .reply(id: 1, samples.reply(), .text("abc"))))
        let place = try #require(text.lastIndex(of: UInt8(ascii: "b")))
        text[place] = 0xff
        expect(text, .malformed(kind: 5))
    }

    private func expect(_ bytes: [UInt8], _ error: BusDecodeError) {
        _ = bytes.withUnsafeBytes { bytes in
            #expect(throws: error) {
                var reader = BusReader(bytes)
                _ = try reader.next()
            }
        }
    }
}
