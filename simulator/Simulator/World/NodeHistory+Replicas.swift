import EdgeCore
import EdgeLedger
import EdgeTypes
import EdgeWire

/// The one history of each shard of a cluster with replicas. An entry belongs to it from the step
/// of the primary that made it, and is committed when that primary says so; a new primary's log
/// ends where the history goes on, and what the one before had made beyond that is gone.
extension NodeHistory {
    /// What a step of a node has appended to its lane. Entries that it only follows are known.
    func submitReplicated(_ node: SimulatedNode, _ bytes: UnsafeRawBufferPointer) {
        var offset = 0
        while offset < bytes.count {
            guard let frame = try? JournalFrame.parse(bytes, at: offset),
                let entry = try? frame.entry()
            else { return contradict("a step wrote what is no entry") }
            offset += frame.length
            let shard = Int(frame.shard)
            let core = node.cores[shard % node.coreCount]
            // One that was deposed and does not know yet commits nothing.
            guard core.node.isServing(frame.shard), frame.epoch >= leads[shard].epoch else {
                continue
            }
            let expected = sequence(frame.shard) + UInt64(leads[shard].tail.count) + 1
            guard frame.sequence == expected else {
                return contradict(
                    "shard \(shard): node \(node.index) makes entry \(frame.sequence) at epoch "
                        + "\(frame.epoch), \(expected) is next")
            }
            leads[shard].tail.append(Array(frame.bytes))
            wrote(node.index, frame.header, entry)
        }
    }

    /// A node begins to serve a shard.
    func serves(
        _ node: Int, _ shard: ShardID, epoch: UInt32, last: UInt64, isNew: Bool, isSealed: Bool
    ) {
        let place = Int(shard)
        let lead = leads[place]
        guard epoch > lead.epoch else {
            // One that was deposed and does not know yet commits nothing.
            guard epoch < lead.epoch || node == lead.node else {
                return contradict("shard \(shard), epoch \(epoch): \(lead.node) and \(node) serve")
            }
            return
        }
        let committed = sequence(shard)
        if last < committed, isSealed {
            // All disks together hold no more: what was acknowledged beyond that is lost, but for
            // what waited for the disk.
            leads[place].tail = []
            rewind(shard, to: last)
            return serves(
                node, shard, epoch: epoch, last: last, isNew: isNew, isSealed: isSealed)
        }
        guard last >= committed else {
            return contradict(
                "shard \(shard): node \(node) begins epoch \(epoch) at \(last), and \(committed) "
                    + "entries were acknowledged")
        }
        guard last <= committed + UInt64(lead.tail.count) else {
            return contradict("shard \(shard): node \(node) has entries that nobody made")
        }
        if lead.epoch > 0, lead.node != node { takeovers += 1 }
        if isNew { leads[place].sinceNs = nowNs }
        leads[place].epoch = epoch
        leads[place].node = node
        let left = Int(last - committed)
        guard left < lead.tail.count else { return }
        leads[place].tail.removeSubrange(left...)
        rebuildLive()
    }

    /// A primary may acknowledge entries up to a sequence.
    func commitReplicated(_ node: Int, _ shard: ShardID, epoch: UInt32, upTo sequence: UInt64) {
        let place = Int(shard)
        let known = self.sequence(shard)
        guard epoch == leads[place].epoch, node == leads[place].node else {
            return contradict(
                "shard \(shard): node \(node) commits \(sequence) at epoch \(epoch), and "
                    + "\(leads[place].node) leads epoch \(leads[place].epoch)")
        }
        let count = Int(sequence - known)
        guard count <= leads[place].tail.count else {
            return contradict("shard \(shard): node \(node) commits what nobody made")
        }
        let frames = leads[place].tail.prefix(count)
        leads[place].tail.removeFirst(count)
        for bytes in frames {
            bytes.withUnsafeBytes { bytes in
                if let frame = try? JournalFrame.parse(bytes) { take(frame) }
            }
        }
    }

    private func rewind(_ shard: ShardID, to last: UInt64) {
        rewinds += 1
        if stored(shard) > last {
            contradict("shard \(shard): the store has \(stored(shard)), all disks have \(last)")
        }
        forgetCommitted(shard, after: last)
        rebuildLive()
    }

    /// Since when the node that serves a shard does.
    func servesSinceNs(_ shard: ShardID) -> UInt64 { leads[Int(shard)].sinceNs }

    /// What was made and not committed, by all primaries.
    func applyTails() {
        for lead in leads {
            for bytes in lead.tail {
                bytes.withUnsafeBytes { bytes in
                    guard let frame = try? JournalFrame.parse(bytes),
                        let entry = try? frame.entry()
                    else { return }
                    live.apply(frame.header, entry, ns: nowNs)
                }
            }
        }
    }
}
