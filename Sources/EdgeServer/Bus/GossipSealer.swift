import EdgeMemory
import EdgeTypes
import EdgeWire

/// Seals what this node gossips, and opens what others do. The format is `GossipSeal`'s.
///
/// Each sender's key is derived anew for each datagram (one HMAC): there is no table that strangers
/// could fill. Replays are the caller's: `GossipSeal` says who sent what, once its tag is checked.
final class GossipSealer {
    private let node: BusNode
    private let boot: BootID
    private let sealing = SealCipher(seals: true)
    private let opening = SealCipher(seals: false)
    /// This node's counters and derived keys, by channel.
    private var own: [Own] = []

    private struct Own {
        var channel: GossipSeal.Channel
        var keyID: UInt32
        var key: [UInt8]
        var counter: UInt64
    }

    init(node: BusNode, boot: BootID) {
        self.node = node
        self.boot = boot
    }

    private static func derive(
        _ key: ClusterKeys.Key, _ sender: BootID, _ channel: GossipSeal.Channel
    ) -> [UInt8] {
        var message = Array("downpour bus".utf8)
        withUnsafeBytes(of: sender.littleEndian) { message.append(contentsOf: $0) }
        message.append(channel.rawValue)
        return KeyDerivation.hmac(key.bytes, message)
    }

    /// The next counter on a channel, its key set.
    private func next(_ channel: GossipSeal.Channel) -> GossipSeal {
        let first = node.keys.first
        var index = own.firstIndex { $0.channel == channel }
        if index == nil {
            own.append(Own(channel: channel, keyID: first.id, key: [], counter: 0))
            index = own.count - 1
        }
        guard let index else { preconditionFailure() }
        if own[index].key.isEmpty || own[index].keyID != first.id {
            own[index].keyID = first.id
            own[index].key = Self.derive(first, boot, channel)
        }
        // It runs on through all keys, so that none comes twice to whoever looks for replays.
        own[index].counter += 1
        sealing.setKey(own[index].key)
        return GossipSeal(
            channel: channel, keyID: first.id, sender: boot, counter: own[index].counter)
    }

    /// Appends what is sealed: longer by `GossipSeal.overheadBytes`.
    func seal(
        _ plain: UnsafeRawBufferPointer, _ channel: GossipSeal.Channel, into sink: inout ByteSink
    ) {
        let seal = next(channel)
        let start = sink.count
        seal.encode(into: &sink)
        let output = sink.extend(by: plain.count + GossipSeal.tagBytes)
        let header = UnsafeRawBufferPointer(
            rebasing: sink.bytes[start..<(start + GossipSeal.headerBytes)])
        sealing.seal(plain, header: header, counter: seal.counter, into: output)
    }

    /// Decrypts in place; nil where it is not genuine, or of another channel.
    func open(
        _ bytes: UnsafeMutableRawBufferPointer, _ channel: GossipSeal.Channel
    ) -> (seal: GossipSeal, plain: UnsafeRawBufferPointer)? {
        guard let seal = try? GossipSeal.decode(UnsafeRawBufferPointer(bytes)),
            seal.channel == channel, let key = node.keys.key(id: seal.keyID)
        else { return nil }
        opening.setKey(Self.derive(key, seal.sender, channel))
        let header = UnsafeRawBufferPointer(rebasing: bytes[..<GossipSeal.headerBytes])
        let sealed = UnsafeMutableRawBufferPointer(rebasing: bytes[GossipSeal.headerBytes...])
        guard opening.open(sealed, header: header, counter: seal.counter) else { return nil }
        let range = GossipSeal.ciphertext(of: bytes.count)
        return (seal, UnsafeRawBufferPointer(rebasing: bytes[range]))
    }
}

/// Which of all senders' counters were seen, and which senders can be forgotten.
struct GossipReplays {
    private var guardian = ReplayGuard()
    /// Senders that were no members when they were first heard.
    private var passing: [BootID] = []
    private var oldest = 0
    private static let passingLimit = 1_024

    var refused: UInt64 { guardian.replays + guardian.overflows }

    /// Whether something genuine is new.
    ///
    /// - Parameter isMember: whether the sender is known; who is not is forgotten after some
    ///   thousand others like it.
    mutating func accept(_ seal: GossipSeal, isMember: Bool) -> Bool {
        let before = guardian.count
        guard guardian.accept(seal.sender, seal.counter) else { return false }
        if guardian.count > before, !isMember {
            if passing.count < Self.passingLimit {
                passing.append(seal.sender)
            } else {
                guardian.forget(passing[oldest])
                passing[oldest] = seal.sender
                oldest = (oldest + 1) % Self.passingLimit
            }
        }
        return true
    }

    mutating func forget(_ boot: BootID) { guardian.forget(boot) }
}
