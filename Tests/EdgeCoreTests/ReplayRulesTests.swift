import EdgeCore
import EdgeMemory
import EdgeTypes
import EdgeWire
import Testing

/// Entries and snapshots with good checksums that no program of ours wrote: a restart ends with a
/// reason, never with a trap.
@Suite("A restart from what cannot be")
struct ReplayRulesTests {
    private static let configuration = NodeConfiguration(shards: 8)

    /// A rain and a SKU, grabbed from and closed: one entry of most kinds, in order.
    private static func history() throws -> [(EntryHeader, Entry)] {
        let node = TestNode()
        node.send(.rain("a", fen: 1_000, count: 10, limit: 2, slices: 3))
        node.send(.stock("s", units: 10, slices: 2))
        node.send([.grab("a", 1, "x"), .grab("a", 2, "y"), .grab("a", 1, "z")])
        node.send(.alter("a", "r", limit: 3))
        node.send(.on(.poolClose, "a"))
        let headers = try node.journal.map { entry in
            try entry.bytes.withUnsafeBytes { try JournalFrame.parse($0).header }
        }
        return Array(zip(headers, try node.entries()))
    }

    /// Replays the history with entries changed; nil takes one out of it.
    private static func replay(
        _ change: (inout EntryHeader, Entry) -> Entry?
    ) throws -> ReplayError? {
        var node = EdgeNode(configuration)
        for (header, entry) in try history() {
            var header = header
            guard let changed = change(&header, entry) else { continue }
            do { try node.replay(changed, header) } catch { return error }
        }
        return nil
    }

    private static func definition(
        _ entry: Entry, _ change: (inout PoolDefinition) -> Void
    ) -> Entry {
        switch entry {
        case .poolCreated(var definition, let actor):
            change(&definition)
            return .poolCreated(definition, actor: actor)
        default: return entry
        }
    }

    @Test("the history as it was is good")
    func unchanged() throws {
        #expect(try Self.replay { _, entry in entry } == nil)
    }

    @Test("a time that cannot be")
    func time() throws {
        for timeMs in [-1, Int64.max] {
            let error = try Self.replay { header, entry in
                header.timeMs = timeMs
                return entry
            }
            #expect(error?.reason == "an impossible time")
        }
    }

    @Test("a pool that cannot be")
    func pools() throws {
        let changes: [(inout PoolDefinition) -> Void] = [
            { $0.slices = 0 }, { $0.slices = .max }, { $0.units = 0 }, { $0.units = .max },
            { $0.amountFen = -1 }, { $0.minFen = .min }, { $0.maxFen = 1 }, { $0.name = Text64() },
            { $0.initial.limit = 0 }, { $0.initial.closesMs = .max },
            { $0.regions = [RegionShare(name: "x", weight: 0)] },
            { $0.name = "another" },
        ]
        for (index, change) in changes.enumerated() {
            let error = try Self.replay { _, entry in Self.definition(entry, change) }
            #expect(error != nil, "change \(index)")
        }
    }

    @Test("a slice that cannot be")
    func slices() throws {
        for number in [1, 99, UInt32.max] {
            let error = try Self.replay { _, entry in
                guard case .sliceOpened(let definition, 0, let control) = entry else {
                    return entry
                }
                return .sliceOpened(definition, slice: number, control)
            }
            #expect(error?.reason == "a slice of another shard")
        }
        let two = try Self.replay { _, entry in
            guard case .sliceOpened(var definition, let slice, let control) = entry else {
                return entry
            }
            definition.slices += 1
            return .sliceOpened(definition, slice: slice, control)
        }
        #expect(two?.reason == "two definitions of one pool")
    }

    @Test(
        "units that cannot be",
        arguments: [
            UnitRange(start: -1, count: 1), UnitRange(start: 0, count: -1),
            UnitRange(start: .max, count: 1), UnitRange(start: 0, count: .max),
            UnitRange(start: .max, count: .max), UnitRange(start: 9, count: 2),
        ])
    func units(range: UnitRange) throws {
        for kind in 0..<4 {
            var isChanged = false
            let error = try Self.replay { _, entry in
                func changed(_ transfer: Transfer) -> Transfer {
                    isChanged = true
                    var transfer = transfer
                    transfer.ranges = [range, range]
                    return transfer
                }
                switch (kind, entry) {
                case (0, .poolLeased(let transfer)): return .poolLeased(changed(transfer))
                case (1, .poolTookBack(let transfer)): return .poolTookBack(changed(transfer))
                case (2, .sliceCredited(let transfer)): return .sliceCredited(changed(transfer))
                case (3, .sliceReturned(let transfer)): return .sliceReturned(changed(transfer))
                default: return entry
                }
            }
            #expect(isChanged && error != nil, "kind \(kind)")
        }
    }

    @Test("a transfer of a slice that is not there")
    func strangers() throws {
        for slice in [3, UInt32.max] {
            let error = try Self.replay { _, entry in
                guard case .poolTookBack(var transfer) = entry else { return entry }
                transfer.slice = slice
                return .poolTookBack(transfer)
            }
            #expect(error?.reason == "a return does not follow")
        }
    }

    @Test("a history with any one entry missing is refused or replayed, never a trap")
    func gaps() throws {
        let count = try Self.history().count
        for missing in 0..<count {
            var index = 0
            var sequences: [ShardID: UInt64] = [:]
            // Renumbered, so that nothing but what the entries say can tell.
            _ = try Self.replay { header, entry in
                defer { index += 1 }
                if index == missing { return nil }
                sequences[header.shard, default: 0] += 1
                header.sequence = sequences[header.shard, default: 0]
                return entry
            }
        }
    }

    @Test("a snapshot with any of its bytes changed is refused or loaded, never a trap")
    func snapshots() throws {
        let history = try Self.history()
        var node = EdgeNode(Self.configuration)
        for (header, entry) in history { try node.replay(entry, header) }
        var refused = 0
        for shard in node.shardIDs {
            var sink = ByteSink()
            node.writeSnapshot(shard, into: &sink)
            let good = Array(sink.bytes)
            for at in good.indices {
                for value in [0xff, 0x7f, good[at] &+ 1] as [UInt8] {
                    var bytes = good
                    bytes[at] = value
                    var other = EdgeNode(Self.configuration)
                    do {
                        try bytes.withUnsafeBytes { try other.loadSnapshot(shard, $0) }
                    } catch {
                        refused += 1
                    }
                }
            }
        }
        #expect(refused > 1_000)
    }
}
