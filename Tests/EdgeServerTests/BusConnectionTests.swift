import EdgeMemory
import EdgeTypes
import EdgeWire
import NIOCore
import NIOEmbedded
import Testing

@testable import EdgeServer

@Suite("Bus connections")
struct BusConnectionTests {
    private let keys: ClusterKeys

    init() throws { keys = try BusKeys.ring(BusKeys.one) }

    private func side(_ boot: BootID, _ ring: ClusterKeys? = nil) -> BusSide {
        BusSide(boot == 1 ? "a" : "b", boot: boot, keys: ring ?? keys)
    }

    @Test(
        "two nodes agree and hear who the other is, wherever the bytes are cut",
        arguments: [
            1, 7, 64, Int.max,
        ])
    func agreement(chunk: Int) throws {
        let a = side(1)
        let b = side(2)
        let pair = try BusPair(a, b)
        try pair.pump(chunk: chunk)
        #expect(a.owner.log.ups == [b.node.hello])
        #expect(b.owner.log.ups == [a.node.hello])
        #expect(pair.dialed.isUp && pair.accepted.isUp)
        for number in 1...100 { pair.dialed.send(.beacon(number: UInt64(number))) }
        pair.dialed.flush()
        pair.accepted.send(.beaconAnswer(number: 5))
        pair.accepted.flush()
        try pair.pump(chunk: chunk)
        #expect(
            b.owner.log.messages == (1...100).map { "\(BusMessage.beacon(number: UInt64($0)))" })
        #expect(a.owner.log.messages == ["\(BusMessage.beaconAnswer(number: 5))"])
        #expect(a.node.counters.strangers == 0 && b.node.counters.strangers == 0)
    }

    @Test("what is appended between two flushes is one record; beyond 1 MiB it is several")
    func records() throws {
        let a = side(1)
        let b = side(2)
        let pair = try BusPair(a, b)
        try pair.pump()
        let before = pair.toListener.count
        for number in 0..<1_000 { pair.dialed.send(.beacon(number: UInt64(number))) }
        pair.dialed.flush()
        try pair.pump()
        #expect(pair.toListener.count - before == 4 + 1_000 * 16 + 16)

        let piece = [UInt8](repeating: 7, count: 400_000)
        let sentBefore = pair.toListener.count
        for index in 0..<8 {
            let copy = BusCopy(
                epoch: 1, last: 9, offset: UInt64(index) * 400_000, totalBytes: 3_200_000)
            piece.withUnsafeBytes { _ = pair.dialed.send(.copy(3, copy), attached: $0) }
        }
        pair.dialed.send(.beacon(number: 99))
        pair.dialed.flush()
        try pair.pump()
        #expect(b.owner.log.messages.count == 1_000 + 9)
        #expect(b.owner.log.attached.count == 8)
        #expect(b.owner.log.attached.allSatisfy { $0 == piece })
        #expect(b.owner.log.messages.last == "\(BusMessage.beacon(number: 99))")
        // Two pieces fit into a record.
        #expect(pair.toListener.count - sentBefore == 8 * 400_040 + 16 + 4 * 20)
    }

    @Test("keys are exchanged without a pause: each pair of neighbouring rings agrees")
    func rotation() throws {
        let rings = [
            keys, try BusKeys.ring(BusKeys.one, BusKeys.two),
            try BusKeys.ring(BusKeys.two, BusKeys.one), try BusKeys.ring(BusKeys.two),
        ]
        for from in rings.indices {
            for to in rings.indices {
                let a = side(1, rings[from])
                let b = side(2, rings[to])
                let pair = try BusPair(a, b)
                try pair.pump()
                let isUp = pair.dialed.isUp && pair.accepted.isUp
                // One key is both sides' only one, or each knows the other's first.
                #expect(isUp == (abs(from - to) <= 1), "\(from) with \(to)")
            }
        }
    }

    @Test("a key that is removed ends what it was used for, and nothing else")
    func removal() throws {
        let a = side(1)
        let b = side(2, try BusKeys.ring(BusKeys.one, BusKeys.two))
        let pair = try BusPair(a, b)
        try pair.pump()
        b.node.keys = try BusKeys.ring(BusKeys.two, BusKeys.one)
        pair.advance(ms: 1_000)
        #expect(pair.accepted.isUp)
        b.node.keys = try BusKeys.ring(BusKeys.two)
        pair.advance(ms: 1_000)
        #expect(b.owner.log.downs == [.keyRemoved])
        #expect(b.node.counters.keysRemoved == 1)
    }

    @Test("who knows no key is dropped, counted, and told nothing")
    func strangers() throws {
        let a = side(1, try BusKeys.ring(BusKeys.three))
        let b = side(2)
        let pair = try BusPair(a, b)
        try pair.pump()
        #expect(b.owner.log.failures == [.stranger])
        #expect(a.owner.log.failures == [.rejected])
        #expect(pair.toDialer.isEmpty)
        #expect(b.node.counters.strangers == 1)

        // Garbage, of the opening's length and longer.
        for size in [64, 5_000] {
            let garbage = try BusPair(a, b)
            garbage.tamper = { bytes, toListener in
                if toListener { bytes = [UInt8](repeating: 0x41, count: size) }
            }
            try garbage.pump()
            #expect(garbage.toDialer.isEmpty)
        }
        #expect(b.node.counters.strangers == 3)
        #expect(b.owner.log.ups.isEmpty)
    }

    @Test("every changed bit of a handshake ends it")
    func tampering() throws {
        let probe = try BusPair(side(1), side(2))
        try probe.pump()
        let sizes = [probe.toListener.count, probe.toDialer.count]
        for (direction, size) in sizes.enumerated() {
            for index in 0..<size {
                let a = side(1)
                let b = side(2)
                let pair = try BusPair(a, b)
                var seen = 0
                pair.tamper = { bytes, toListener in
                    guard toListener == (direction == 0) else { return }
                    if (seen..<(seen + bytes.count)).contains(index) {
                        bytes[index - seen] ^= 0x04
                    }
                    seen += bytes.count
                }
                try pair.pump()
                pair.advance(ms: 10_000)
                try pair.pump()
                #expect(!pair.accepted.isUp && !pair.dialed.isUp, "\(direction), byte \(index)")
                #expect(b.owner.log.ups.isEmpty, "\(direction), byte \(index)")
            }
        }
    }

    @Test("a connection that is played back is refused and counted")
    func replays() throws {
        let a = side(1)
        let b = side(2)
        let pair = try BusPair(a, b)
        try pair.pump()
        pair.dialed.send(.beacon(number: 1))
        pair.dialed.flush()
        try pair.pump()

        let again = try BusPair(a, b)
        let recorded = pair.toListener
        var isPlayed = false
        again.tamper = { bytes, toListener in
            if toListener {
                bytes = isPlayed ? [] : recorded
                isPlayed = true
            }
        }
        try again.pump()
        #expect(b.owner.log.failures == [.replay])
        #expect(b.node.counters.replays == 1)
        #expect(b.node.counters.strangers == 0)
        #expect(b.owner.log.messages.count == 1)
    }

    @Test("a record that is repeated, left out or sent back ends the connection")
    func damagedRecords() throws {
        for damage in 0..<4 {
            let a = side(1)
            let b = side(2)
            let pair = try BusPair(a, b)
            try pair.pump()
            var previous: [UInt8] = []
            pair.tamper = { bytes, toListener in
                guard toListener, !bytes.isEmpty else { return }
                defer { previous = bytes }
                switch damage {
                case 0: bytes += bytes
                case 1: if !previous.isEmpty { bytes = previous }
                case 2: if !previous.isEmpty { bytes[bytes.count - 1] ^= 1 }
                default: if !previous.isEmpty { bytes[0] ^= 4 }
                }
            }
            for number in 1...3 {
                pair.dialed.send(.beacon(number: UInt64(number)))
                pair.dialed.flush()
                try pair.pump()
            }
            if damage == 3 { pair.advance(ms: 10_000) }
            #expect(b.owner.log.downs.count == 1, "damage \(damage)")
            #expect(b.owner.log.messages.count == 1, "damage \(damage)")
        }
    }

    @Test("what is no message, though it was sealed, ends the connection")
    func nonsense() throws {
        let a = side(1)
        let b = side(2)
        let pair = try BusPair(a, b)
        try pair.pump()
        pair.dialed.append { $0.append(integer: UInt64(0x0000_0008_0000_0063)) }
        pair.dialed.flush()
        try pair.pump()
        #expect(b.owner.log.downs == [.malformed(.unknownKind(0x63))])
        #expect(a.owner.log.downs == [.closed])
        #expect(b.node.counters.damaged == 1)
    }

    @Test("another cluster, other shards and other versions are refused, and both know why")
    func refusals() throws {
        let base = side(1)
        let versions = ProtocolRange(oldest: 7, newest: 9)
        let others = [
            BusSide("b", boot: 2, keys: keys, cluster: "other"),
            BusSide("b", boot: 2, keys: keys, shards: 128),
            BusSide("b", boot: 2, keys: keys, versions: versions),
            BusSide(base.node.hello.name, boot: 1, keys: keys),
        ]
        let reasons: [(BusRefusal, BusRefusal)] = [
            (
                .otherCluster(ours: "shop", theirs: "other"),
                .otherCluster(ours: "other", theirs: "shop")
            ),
            (.otherShards(ours: 64, theirs: 128), .otherShards(ours: 128, theirs: 64)),
            (
                .disjointVersions(ours: base.node.hello.versions, theirs: versions),
                .disjointVersions(ours: versions, theirs: base.node.hello.versions)
            ),
            (.itself, .itself),
        ]
        for (other, reason) in zip(others, reasons) {
            for swapped in [false, true] {
                let a = side(1)
                let b = BusSide(
                    other.node.hello.name, boot: other.node.hello.boot, keys: keys,
                    cluster: other.node.hello.cluster, shards: other.node.hello.shards,
                    versions: other.node.hello.versions)
                let pair = try swapped ? BusPair(b, a) : BusPair(a, b)
                try pair.pump()
                #expect(a.owner.log.failures == [.refused(reason.0)])
                #expect(b.owner.log.failures == [.refused(reason.1)])
                #expect(a.node.counters.refused == 1 && b.node.counters.refused == 1)
            }
        }
        #expect("\(reasons[0].0)" == "it belongs to cluster other, this node to shop")
    }

    @Test("versions that overlap agree on the newest of both")
    func versions() throws {
        let a = BusSide("a", boot: 1, keys: keys, versions: .init(oldest: 1, newest: 4))
        let b = BusSide("b", boot: 2, keys: keys, versions: .init(oldest: 3, newest: 9))
        let pair = try BusPair(a, b)
        try pair.pump()
        #expect(pair.dialed.version == 4 && pair.accepted.version == 4)
    }

    @Test("who says nothing, or little by little, is dropped in time", arguments: [0, 10, 63, 64])
    func slowness(count: Int) throws {
        let a = side(1)
        let b = side(2)
        let pair = try BusPair(a, b)
        var left = count
        pair.tamper = { bytes, toListener in
            guard toListener else { return }
            bytes = Array(bytes.prefix(left))
            left -= bytes.count
        }
        try pair.pump()
        pair.advance(ms: 2_000)
        #expect(b.owner.log.failures.isEmpty)
        pair.advance(ms: 2_000)
        #expect(b.owner.log.failures == [.timeout])
        #expect(b.node.counters.timeouts == 1)
        #expect(!pair.listener.isActive)
    }

    @Test("a record longer than any is ends the connection before it is there")
    func tooLong() throws {
        let a = side(1)
        let b = side(2)
        let pair = try BusPair(a, b)
        try pair.pump()
        try BusPair.feed(pair.listener, [0x11, 0, 0x10, 0], .max)
        #expect(b.owner.log.downs == [.tooLong])
        // And so does a hello of more than a kilobyte.
        let early = try BusPair(side(1), b)
        early.tamper = { bytes, toListener in
            if toListener, bytes.count != 64, !bytes.isEmpty { bytes = [0x11, 4, 0, 0] }
        }
        try early.pump()
        #expect(b.owner.log.failures == [.tooLong])
    }

    @Test("no more than some strangers are spoken with at a time")
    func crowd() throws {
        var limits = BusConnectionLimits()
        limits.beginning = 2
        let b = BusSide("b", boot: 2, keys: keys, limits: limits)
        let waiting = try (0..<2).map { _ in try BusPair(side(1), b) }
        let third = try BusPair(side(1), b)
        #expect(b.owner.log.failures == [.crowded])
        #expect(b.node.counters.crowded == 1)
        #expect(!third.listener.isActive)
        // Who proves who it is makes room, and so does who goes.
        try waiting[0].pump()
        waiting[1].dialer.close(promise: nil)
        try waiting[1].pump()
        let more = try (0..<2).map { _ in try BusPair(side(1), b) }
        for pair in more {
            try pair.pump()
            #expect(pair.accepted.isUp)
        }
    }

    @Test("an idle connection is probed and stays; one that is silent is closed")
    func keepalive() throws {
        let a = side(1)
        let b = side(2)
        let pair = try BusPair(a, b)
        try pair.pump()
        for _ in 0..<100 {
            pair.advance(ms: 200)
            try pair.pump()
        }
        #expect(pair.dialed.isUp && pair.accepted.isUp)
        #expect(a.owner.log.messages.isEmpty, "pings are the connection's own")
        for _ in 0..<18 { pair.advance(ms: 200) }
        #expect(pair.dialed.isUp)
        for _ in 0..<10 { pair.advance(ms: 200) }
        #expect(a.owner.log.downs == [.silent])
        #expect(b.owner.log.downs == [.silent])
    }

    @Test("output is bounded: first it says so, then the connection ends")
    func overflow() throws {
        var limits = BusConnectionLimits()
        limits.outputHighBytes = 1_000
        limits.outputBytes = 10_000
        let a = BusSide("a", boot: 1, keys: keys, limits: limits)
        let b = side(2)
        let pair = try BusPair(a, b)
        try pair.pump()
        pair.dialer.isWritable = false
        pair.dialer.pipeline.fireChannelWritabilityChanged()
        var sent: UInt64 = 0
        while !pair.dialed.isOverloaded {
            sent += 1
            pair.dialed.send(.beacon(number: sent))
            pair.dialed.flush()
        }
        #expect(sent == 63)
        try pair.pump()
        #expect(b.owner.log.messages.isEmpty)
        pair.dialer.isWritable = true
        pair.dialer.pipeline.fireChannelWritabilityChanged()
        try pair.pump()
        #expect(b.owner.log.messages.count == 63)
        #expect(!pair.dialed.isOverloaded)

        pair.dialer.isWritable = false
        pair.dialer.pipeline.fireChannelWritabilityChanged()
        while pair.dialed.isUp {
            pair.dialed.send(.ping)
            pair.dialed.flush()
        }
        #expect(a.owner.log.downs == [.overflow])
        #expect(a.node.counters.overflows == 1)
        #expect(!pair.dialed.send(.ping))
    }

    @Test("who does not read for long is closed")
    func stall() throws {
        let a = side(1)
        let b = side(2)
        let pair = try BusPair(a, b)
        try pair.pump()
        pair.dialer.isWritable = false
        pair.dialer.pipeline.fireChannelWritabilityChanged()
        for _ in 0..<30 {
            pair.advance(ms: 200)
            pair.accepted.send(.beacon(number: 1))
            pair.accepted.flush()
            try pair.pump()
        }
        #expect(a.owner.log.downs == [.stalled])
    }
}
