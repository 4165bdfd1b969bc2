public import EdgeJournal
public import EdgeLedger
import EdgeTypes
import EdgeWire

/// The journals of a cluster's nodes as one, where shards have several replicas: each entry that the
/// store has applied is offered once, in the order of its shard, whichever journals hold it.
///
/// Journals also hold entries that were never committed: a primary appended them, died, and its
/// successor went on without them, at a later epoch. Two entries of one sequence and one epoch are
/// the same, and of all that precede a committed entry those of the latest epoch were: a primary
/// that knows less than a member appends nothing before that member has dropped what it has more.
/// So from the store's watermark down, of each sequence the entry with the greatest epoch that is
/// not above its successor's is the committed one.
///
/// For audits, also of nodes that run: what their stores have is durable in some journal. Reads every journal once to choose, and then once for each
/// time that shards went on in another lane. Memory: the runs of epochs, and one batch.
public final class ReplicatedJournals: EntrySource {
    public let lane = "replicas"
    public let generation: UInt32 = 0
    public var cursor: SourceCursor { SourceCursor(segment: 0, offset: 0) }

    private var sources: [JournalSource] = []
    private let chosen: ChosenEntries
    private var current = 0
    /// What was offered when this pass began.
    private var offeredBefore: UInt64 = 0

    /// - Parameters:
    ///   - directories: of all nodes.
    ///   - marks: how far the store has applied each shard.
    public init(_ directories: [JournalDirectory], marks: WatermarkTable) throws(JournalError) {
        var runs = EpochRuns()
        for directory in directories {
            for lane in try directory.lanes() {
                guard var reader = try directory.reader(of: lane) else { continue }
                runs.beginLane()
                _ = try reader.read(upTo: nil) { frame in runs.add(frame.header) }
            }
        }
        let chosen = ChosenEntries(runs, marks)
        self.chosen = chosen
        for directory in directories {
            for lane in try directory.lanes() {
                sources.append(
                    JournalSource(
                        directory: directory, lane: lane, verdict: { chosen.verdict($0) }))
            }
        }
        sources.sort { ($0.generation, $0.lane) < ($1.generation, $1.lane) }
    }

    public func seek(_ cursor: SourceCursor?) throws(SourceError) {
        chosen.restart()
        try beginPass()
    }

    private func beginPass() throws(SourceError) {
        current = 0
        offeredBefore = chosen.count
        for source in sources { try source.seek(nil) }
    }

    public func read(into batch: inout EntryBatch) throws(SourceError) -> Bool {
        while true {
            while current < sources.count {
                if try sources[current].read(into: &batch) { return true }
                current += 1
            }
            // Another pass finds what followed in a lane that was read before.
            guard chosen.count > offeredBefore else { return false }
            try beginPass()
        }
    }

    public func backlog() -> UInt64 { 0 }
}

/// Which sequences of which epoch the lanes hold, by shard.
struct EpochRuns {
    struct Run {
        var epoch: UInt32
        var first: UInt64
        var last: UInt64
    }

    private(set) var shards: [ShardID: [Run]] = [:]
    /// By shard: the run that the lane which is read now goes on with.
    private var open: [ShardID: Int] = [:]

    mutating func beginLane() { open = [:] }

    mutating func add(_ header: EntryHeader) {
        if let place = open[header.shard], let run = shards[header.shard]?[place],
            run.epoch == header.epoch, run.last + 1 == header.sequence
        {
            shards[header.shard]?[place].last = header.sequence
            return
        }
        open[header.shard] = shards[header.shard]?.count ?? 0
        shards[header.shard, default: []].append(
            Run(epoch: header.epoch, first: header.sequence, last: header.sequence))
    }
}

/// The entries that were committed, and how far they were offered.
final class ChosenEntries {
    /// By shard, ascending: each sequence has one epoch.
    private let runs: [ShardID: [EpochRuns.Run]]
    private var offered: [ShardID: UInt64] = [:]
    /// Entries offered since the restart.
    private(set) var count: UInt64 = 0

    init(_ found: EpochRuns, _ marks: WatermarkTable) {
        var runs: [ShardID: [EpochRuns.Run]] = [:]
        for (shard, all) in found.shards {
            runs[shard] = Self.choose(all, upTo: marks[shard])
        }
        self.runs = runs
    }

    private static func choose(
        _ all: [EpochRuns.Run], upTo mark: Watermark
    ) -> [EpochRuns.Run] {
        var chosen: [EpochRuns.Run] = []
        var epoch = mark.epoch
        var sequence = mark.sequence
        while sequence > 0 {
            let holding = all.filter {
                $0.first <= sequence && $0.last >= sequence && $0.epoch <= epoch
            }
            guard let best = holding.max(by: { $0.epoch < $1.epoch }) else { break }
            epoch = best.epoch
            chosen.append(EpochRuns.Run(epoch: epoch, first: best.first, last: sequence))
            sequence = best.first - 1
        }
        return chosen.reversed()
    }

    func restart() {
        offered = [:]
        count = 0
    }

    /// Asked again for the same entry it answers the same.
    func verdict(_ header: EntryHeader) -> ShippingVerdict {
        guard let runs = runs[header.shard], let first = runs.first,
            let run = runs.last(where: { $0.first <= header.sequence }),
            run.last >= header.sequence, run.epoch == header.epoch
        else { return .skip }
        let known = offered[header.shard] ?? (first.first - 1)
        guard header.sequence <= known + 1 else { return .skip }
        if header.sequence == known + 1 {
            offered[header.shard] = header.sequence
            count += 1
        }
        return .ship
    }
}
