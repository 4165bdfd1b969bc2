import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes
import EdgeWire

/// A snapshot's bytes do not hold a shard.
public struct SnapshotError: Error, Sendable, CustomStringConvertible {
    public let shard: ShardID
    public let reason: String
    /// Nothing is wrong with it: another release wrote it.
    public var isOfOtherRelease = false

    public var description: String { "the snapshot of shard \(shard): \(reason)" }
}

/// A shard as bytes: its treasuries, its rain slices and its stock book.
///
/// Definitions and controls are written as the journal writes them; the rest is flat arrays.
extension EdgeNode {
    private static let snapshotVersion: UInt32 = 6
    /// Before orders could be archived. Read; and written where nobody needs to know more.
    private static let plainVersion: UInt32 = 5

    /// Whether a snapshot of a shard has to say which orders are archived, or since when slices have
    /// been closed. An earlier release cannot read such a one: none is in the cluster then.
    private func isPlain(_ local: Int) -> Bool {
        !books[local].hasArchived && (!archivesOrders || spoken < ProtocolVersion.archiveOrders)
    }

    /// The shards of this core.
    public var shardIDs: [ShardID] { (0..<shards.count).map { shards[$0].id } }

    /// What a snapshot of the shard made now stands for.
    public func standing(of shard: ShardID) -> EntryHeader {
        let state = shards[placement.localIndex(of: shard)]
        return EntryHeader(
            shard: shard, epoch: state.epoch, sequence: state.sequence, timeMs: state.timeMs)
    }

    /// Begins a snapshot of what the shard holds now.
    ///
    /// Complexity: O(pools, slices and orders of the shard); its claims are left to
    /// `continueSnapshot`.
    public func beginSnapshot(of shard: ShardID) -> ShardSnapshot {
        let local = placement.localIndex(of: shard)
        let header = standing(of: shard)
        var sink = ByteSink()
        var parts: [ShardSnapshot.Part] = []
        let isPlain = isPlain(local)
        sink.append(integer: isPlain ? Self.plainVersion : Self.snapshotVersion)
        sink.append(integer: UInt32(placement.shards))
        sink.append(integer: header.epoch)
        sink.append(integer: header.sequence)
        sink.append(integer: header.timeMs)
        var homes: [Int] = []
        for index in treasuries.indices where isHome(index, shard) { homes.append(index) }
        sink.append(integer: UInt32(homes.count))
        for index in homes {
            Self.write(treasuries[index].definition, treasuries[index].control, 0, into: &sink)
            treasuries[index].write(into: &sink)
        }
        var count: UInt32 = 0
        for slot in 0..<slices.count where slices[slot].localShard == local { count += 1 }
        sink.append(integer: count)
        for slot in 0..<slices.count where slices[slot].localShard == local {
            let pool = slices[slot].poolIndex
            Self.write(
                pools[pool].definition, slices[slot].control, slices[slot].slice, into: &sink)
            slices[slot].writeHead(into: &sink, forgetsArchive: has(.archivedMarkForgotten))
            parts.append(.fixed(end: sink.count))
            for log in RainSlice.Log.allCases {
                parts.append(.log(slot: slot, log, count: slices[slot].count(of: log)))
            }
        }
        books[local].writeSnapshot(
            into: &sink, isPlain: isPlain, forgetsArchive: has(.archivedOrdersForgotten))
        parts.append(.fixed(end: sink.count))
        return ShardSnapshot(header: header, fixed: sink, parts: parts)
    }

    /// Copies some more of a snapshot. Entries may have been applied since it began: none of
    /// them is in it.
    ///
    /// - Parameter bytes: about how many to copy at most.
    /// - Returns: whether all is copied, or it broke: what it was to hold has left memory.
    public func continueSnapshot(_ snapshot: inout ShardSnapshot, bytes: Int) -> Bool {
        var room = max(1, bytes)
        while room > 0, snapshot.part < snapshot.parts.count {
            switch snapshot.parts[snapshot.part] {
            case .fixed(let end):
                let count = min(room, end - snapshot.fixedDone)
                snapshot.copyFixed(count)
                room -= count
                if snapshot.fixedDone == end { snapshot.part += 1 }
            case .log(let slot, let log, let counted):
                let count = has(.snapshotCopiesLater) ? slices[slot].count(of: log) : counted
                guard slices[slot].count(of: log) >= count else {
                    snapshot.isBroken = true
                    return true
                }
                let first = snapshot.offset
                let end = min(count, first + max(1, room / log.elementBytes))
                slices[slot].write(log, first..<end, into: &snapshot.content)
                room -= (end - first) * log.elementBytes
                snapshot.offset = end
                if end == count {
                    snapshot.offset = 0
                    snapshot.part += 1
                }
            }
        }
        return snapshot.part == snapshot.parts.count
    }

    /// Appends a whole snapshot at once. O(what the shard holds).
    public func writeSnapshot(_ shard: ShardID, into sink: inout ByteSink) {
        var snapshot = beginSnapshot(of: shard)
        while !continueSnapshot(&snapshot, bytes: .max) {}
        sink.append(snapshot.content.bytes)
    }

    /// Loads a shard of a node that was just made.
    public mutating func loadSnapshot(
        _ shard: ShardID, _ bytes: UnsafeRawBufferPointer
    ) throws(SnapshotError) {
        var reader = SnapshotReader(bytes)
        do {
            try load(shard, &reader)
            if has(.snapshotForgetsHolds) { books[placement.localIndex(of: shard)].forgetHolds() }
        } catch let error as SnapshotError {
            throw error
        } catch {
            throw SnapshotError(shard: shard, reason: "damaged: \(error)")
        }
    }

    private mutating func load(_ shard: ShardID, _ reader: inout SnapshotReader) throws {
        let local = placement.localIndex(of: shard)
        guard placement.core(of: shard) == configuration.core, shards[local].sequence == 0,
            isLocal(shard) || configuration.replica != nil
        else {
            throw SnapshotError(shard: shard, reason: "not an empty shard of this core")
        }
        let version: UInt32 = try reader.integer()
        guard version == Self.snapshotVersion || version == Self.plainVersion else {
            throw SnapshotError(
                shard: shard, reason: "written by another release", isOfOtherRelease: true)
        }
        let shardCount: UInt32 = try reader.integer()
        guard shardCount == UInt32(placement.shards) else {
            throw SnapshotError(shard: shard, reason: "of a cluster with \(shardCount) shards")
        }
        let epoch: UInt32 = try reader.integer()
        let sequence: UInt64 = try reader.integer()
        let timeMs: UnixMs = try reader.integer()
        let header = EntryHeader(shard: shard, epoch: epoch, sequence: sequence, timeMs: timeMs)
        guard EntryRules.isSound(header), sequence < 1 << 62 else {
            throw SnapshotError(shard: shard, reason: "an impossible time or sequence")
        }
        let homes = try reader.count(limit: Limits.pools, itemBytes: 64)
        for _ in 0..<homes {
            let (definition, control, _) = try Self.read(&reader, shard)
            let key = PoolKey.of(definition.kind.family, definition.name)
            if let problem = treasuryProblem(definition, key, control, shard) {
                throw SnapshotError(shard: shard, reason: problem)
            }
            let treasury = try Treasury(
                reading: &reader, definition, pool: key, control: control)
            restore(treasury)
        }
        let count = try reader.count(limit: Limits.pools * 16, itemBytes: 64)
        for _ in 0..<count {
            let (definition, control, slice) = try Self.read(&reader, shard)
            guard definition.kind != .stock else {
                throw SnapshotError(shard: shard, reason: "a SKU among rains")
            }
            let key = PoolKey.of(definition.kind.family, definition.name)
            if let problem = openingProblem(definition, key, slice, control, shard) {
                throw SnapshotError(shard: shard, reason: problem)
            }
            openSlice(definition, key, slice, control, header)
            guard let pool = pools.find(key), let slot = pools[pool].held(slice) else {
                preconditionFailure("a slice that was just opened is not there")
            }
            try slices[slot].restore(from: &reader, units: definition.units)
        }
        try books[local].loadSnapshot(
            reader.slice(reader.remaining), sequence: sequence)
        try adoptBook(local)
        shards[local].epoch = epoch
        shards[local].sequence = sequence
        shards[local].stepStart = sequence
        shards[local].timeMs = timeMs
    }

    private mutating func restore(_ treasury: Treasury) {
        let index = pools.add(
            treasury.definition, key: treasury.pool, control: treasury.control)
        pools[index].control = treasury.control
        pools[index].isClosed = treasury.isClosed
        pools[index].soldOut = treasury.parts.map(\.soldOut)
        place(treasury, index)
    }

    /// The pool table learns of the slices that a loaded stock book holds.
    private mutating func adoptBook(_ local: Int) throws(SnapshotError) {
        for slot in 0..<books[local].sliceCount {
            let definition = books[local].definition(slot: slot)
            let key = books[local].poolKey(slot: slot)
            let problem =
                EntryRules.problem(definition, books[local].control(slot: slot))
                ?? pools.problem(definition, key)
            if let problem { throw SnapshotError(shard: shards[local].id, reason: problem) }
            let pool = pools.add(
                definition, key: key, control: books[local].control(slot: slot))
            place(slot, pool, books[local].sliceNumber(slot: slot), local)
            // When it was empty last is not in a snapshot.
            noteWoken(local, slot)
        }
    }

    private static func write(
        _ definition: PoolDefinition, _ control: PoolControl, _ slice: UInt32,
        into sink: inout ByteSink
    ) {
        let header = EntryHeader(shard: 0, epoch: 0, sequence: 0, timeMs: 0)
        JournalCodec.encode(
            .sliceOpened(definition, slice: slice, control), header: header, into: &sink)
    }

    private static func read(
        _ reader: inout SnapshotReader, _ shard: ShardID
    ) throws -> (PoolDefinition, PoolControl, UInt32) {
        let frame = try JournalFrame.parse(reader.rest)
        _ = try reader.slice(frame.length)
        guard case .sliceOpened(let definition, let slice, let control) = try frame.entry(),
            slice < definition.slices
        else { throw SnapshotError(shard: shard, reason: "a pool is malformed") }
        return (definition, control, slice)
    }
}
