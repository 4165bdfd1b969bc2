import EdgeMemory
import EdgeTypes
import EdgeWire
import Testing

@testable import EdgeServer

@Suite("Bus seals")
struct BusSealTests {
    private func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.utf8)
        return stride(from: 0, to: digits.count, by: 2).map { index in
            UInt8(String(decoding: digits[index...(index + 1)], as: UTF8.self), radix: 16) ?? 0
        }
    }

    @Test("AES-256-GCM gives what NIST's test cases say")
    func cipher() {
        // The GCM specification's test case 14: key, nonce and plain text are zeros.
        let cipher = SealCipher(seals: true)
        cipher.setKey([UInt8](repeating: 0, count: 32))
        var output = [UInt8](repeating: 0xff, count: 32)
        output.withUnsafeMutableBytes { output in
            [UInt8](repeating: 0, count: 16).withUnsafeBytes { plain in
                cipher.seal(plain, header: .init(start: nil, count: 0), counter: 0, into: output)
            }
        }
        #expect(
            output
                == bytes("cea7403d4d606b6e074ec5d3baf39d18" + "d0d1c8a799996bf0265b98b5d48ab919"))
    }

    @Test("HKDF gives what RFC 5869's first test case says")
    func derivation() {
        let key = KeyDerivation.hkdf(
            secret: [UInt8](repeating: 0x0b, count: 22), salt: bytes("000102030405060708090a0b0c"),
            info: bytes("f0f1f2f3f4f5f6f7f8f9"))
        #expect(
            key == bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"))
    }

    @Test("records open in their order, once, unchanged, and across the exchange of keys")
    func stream() {
        let key = KeyDerivation.random(32)
        let sealing = SealStream(key: key, seals: true, recordsPerKey: 4)
        let opening = SealStream(key: key, seals: false, recordsPerKey: 4)
        let stubborn = SealStream(key: key, seals: false)
        var outcomes: [Bool] = []
        for index in 0..<20 {
            let plain = [UInt8](repeating: UInt8(index), count: index * 7)
            var sealed = [UInt8](repeating: 0, count: plain.count + 16)
            let header: [UInt8] = [1, 2, 3, 4]
            header.withUnsafeBytes { header in
                sealed.withUnsafeMutableBytes { sealed in
                    plain.withUnsafeBytes { sealing.seal($0, header: header, into: sealed) }
                }
                var copy = sealed
                outcomes.append(
                    copy.withUnsafeMutableBytes { stubborn.open($0, header: header) })
                let isGenuine = sealed.withUnsafeMutableBytes { opening.open($0, header: header) }
                #expect(isGenuine)
            }
            #expect(Array(sealed[..<plain.count]) == plain)
        }
        // Whoever keeps the first key reads only what that sealed.
        #expect(outcomes == (0..<20).map { $0 < 4 })

        var again = [UInt8](repeating: 0, count: 24)
        let header: [UInt8] = [8, 0, 0, 0]
        header.withUnsafeBytes { header in
            again.withUnsafeMutableBytes { again in
                [UInt8](repeating: 9, count: 8).withUnsafeBytes {
                    sealing.seal($0, header: header, into: again)
                }
            }
            var first = again
            let once = first.withUnsafeMutableBytes { opening.open($0, header: header) }
            let twice = again.withUnsafeMutableBytes { opening.open($0, header: header) }
            #expect(once && !twice)
        }
    }

    @Test("a key ring is read strictly, and its errors quote no key")
    func rings() throws {
        let ring = try BusKeys.ring(BusKeys.one, BusKeys.two)
        #expect(ring.first.bytes == [UInt8](repeating: 0x1a, count: 32))
        #expect(ring.key(id: ring.first.id)?.bytes == ring.first.bytes)
        let other = try BusKeys.ring(BusKeys.two)
        #expect(ring.key(id: other.first.id)?.bytes == [UInt8](repeating: 0x2b, count: 32))

        let one = BusKeys.one
        let nine = (0..<9).map { String(repeating: "0\($0)", count: 32) }.joined(separator: ",")
        let wrong: [(String, String)] = [
            ("", "the cluster key is empty"),
            (String(one.dropLast()), "cluster key 1 has 63 digits, not 64"),
            (one + ",", "cluster key 2 has 0 digits, not 64"),
            (one + ", " + BusKeys.two, "cluster key 2 has 65 digits, not 64"),
            (one.dropLast() + "g", "cluster key 1 holds other than hexadecimal digits"),
            (one + "," + one.uppercased(), "cluster keys 1 and 2 are the same"),
            (nine, "a ring holds 1 to 8 cluster keys"),
        ]
        for (text, description) in wrong {
            #expect(throws: ClusterKeys.FormatError(description: description)) {
                try ClusterKeys(ring: text)
            }
        }
    }

    @Test("a hello survives encoding; cut or damaged ones are refused")
    func hellos() throws {
        let hello = BusHello(
            name: "node-1", boot: 77, cluster: "shop", shards: 1_024,
            versions: ProtocolRange(oldest: 2, newest: 5))
        let bytes = hello.bytes
        #expect(bytes.withUnsafeBytes { BusHello($0) } == hello)
        #expect((bytes + [1, 2, 3]).withUnsafeBytes { BusHello($0) } == hello)
        for count in 0..<bytes.count {
            #expect(Array(bytes[..<count]).withUnsafeBytes { BusHello($0) } == nil)
        }
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] = 0xff
            if let read = damaged.withUnsafeBytes({ BusHello($0) }) {
                #expect(read != hello)
            }
        }
    }

    @Test("gossip opens with the sender's key alone, on its channel, and across a ring's exchange")
    func gossip() throws {
        let one = try BusKeys.ring(BusKeys.one)
        let both = try BusKeys.ring(BusKeys.one, BusKeys.two)
        let swapped = try BusKeys.ring(BusKeys.two, BusKeys.one)
        let third = try BusKeys.ring(BusKeys.three)
        func sealer(_ keys: ClusterKeys, _ boot: BootID) -> GossipSealer {
            GossipSealer(node: BusSide("n", boot: boot, keys: keys).node, boot: boot)
        }
        func opens(
            _ sender: GossipSealer, _ receiver: GossipSealer, flipping index: Int? = nil,
            as channel: GossipSeal.Channel = .datagram
        ) -> Bool {
            var sink = ByteSink(capacity: 64)
            [UInt8](repeating: 5, count: 30).withUnsafeBytes {
                sender.seal($0, .datagram, into: &sink)
            }
            var bytes = Array(sink.bytes)
            #expect(bytes.count == 30 + GossipSeal.overheadBytes)
            if let index { bytes[index] ^= 0x10 }
            return bytes.withUnsafeMutableBytes { bytes in
                guard let (_, plain) = receiver.open(bytes, channel) else { return false }
                return Array(plain) == [UInt8](repeating: 5, count: 30)
            }
        }
        #expect(opens(sealer(one, 1), sealer(both, 2)))
        #expect(opens(sealer(both, 1), sealer(one, 2)))
        #expect(opens(sealer(swapped, 1), sealer(both, 2)))
        #expect(opens(sealer(both, 1), sealer(swapped, 2)))
        #expect(!opens(sealer(swapped, 1), sealer(one, 2)))
        #expect(!opens(sealer(third, 1), sealer(both, 2)))
        #expect(!opens(sealer(one, 1), sealer(one, 2), as: .stream))
        for index in 0..<(30 + GossipSeal.overheadBytes) {
            #expect(!opens(sealer(one, 1), sealer(one, 2), flipping: index), "byte \(index)")
        }
    }
}
