import EdgeLedger
import EdgeMemory
import EdgeTypes
import EdgeWire

/// What a node's journal has committed, as seen from outside: every frame once, by shard.
final class NodeHistory {
    private struct Shard {
        /// Checksum of each committed frame, from sequence 1.
        var frames: [UInt32] = []
    }

    private var shards: [Shard]
    /// Submitted and not known to be durable, by core.
    private var waiting: [[WaitingFrame]] = []
    private(set) var fold = LedgerFold()
    private(set) var entries: UInt64 = 0
    /// Of pools whose creation is committed.
    private(set) var seeds: [PoolKey: Bits256] = [:]
    /// Why the history contradicts itself.
    private(set) var contradiction: String?
    /// A bit of the disk has flipped: the node may refuse to start.
    var isDamaged = false
    /// A write landed elsewhere.
    var isMisdirected = false
    /// It did.
    var isGone = false

    private struct WaitingFrame {
        var end: UInt64
        var bytes: [UInt8]
    }

    init(shards: Int) { self.shards = Array(repeating: Shard(), count: shards) }

    func sequence(_ shard: ShardID) -> UInt64 { UInt64(shards[Int(shard)].frames.count) }

    /// A process begins: nothing waits.
    func begin(cores: Int) { waiting = Array(repeating: [], count: cores) }

    /// A core has handed over entries that end at `end` in its lane.
    func submit(_ core: Int, _ bytes: UnsafeRawBufferPointer, end: UInt64) {
        var offset = 0
        while offset < bytes.count {
            guard let frame = try? JournalFrame.parse(bytes, at: offset) else {
                contradiction = contradiction ?? "a step wrote what is no entry"
                return
            }
            offset += frame.length
            waiting[core].append(
                WaitingFrame(
                    end: end - UInt64(bytes.count - offset), bytes: Array(frame.bytes)))
        }
    }

    func commit(_ core: Int, upTo position: UInt64) {
        let ready = waiting[core].prefix { $0.end <= position }
        for item in ready {
            item.bytes.withUnsafeBytes { bytes in
                if let frame = try? JournalFrame.parse(bytes) { take(frame) }
            }
        }
        waiting[core].removeFirst(ready.count)
    }

    /// A committed frame: the next of its shard, or one that is known.
    func take(_ frame: JournalFrame) {
        let shard = Int(frame.shard)
        let known = UInt64(shards[shard].frames.count)
        if frame.sequence <= known {
            let before = shards[shard].frames[Int(frame.sequence) - 1]
            if before != frame.checksum {
                contradict(frame, "is another than was committed before")
            }
            return
        }
        guard frame.sequence == known + 1 else {
            return contradict(frame, "follows \(known)")
        }
        shards[shard].frames.append(frame.checksum)
        entries += 1
        do {
            let entry = try frame.entry()
            if case .poolCreated(let definition, _) = entry {
                seeds[.of(definition.kind.family, definition.name)] = definition.seed
            }
            try fold.apply(frame.header, entry)
        } catch {
            contradict(frame, "breaks the rules: \(error)")
        }
    }

    private func contradict(_ frame: JournalFrame, _ what: String) {
        guard contradiction == nil else { return }
        contradiction = "shard \(frame.shard), sequence \(frame.sequence) \(what)"
    }

    /// A restart found a shard at `sequence`: less than was committed is a loss.
    func restarted(_ shard: ShardID, at sequence: UInt64) -> Bool {
        sequence >= UInt64(shards[Int(shard)].frames.count)
    }
}
