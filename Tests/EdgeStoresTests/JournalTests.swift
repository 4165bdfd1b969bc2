import EdgeJournal
import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeStores
import EdgeTypes
import EdgeWire
import Foundation
import StoresTestSupport
import Testing

@Suite("Journal to store")
struct JournalTests {
    @Test(
        "What journals of several starts hold arrives while the last is written, and audits clean")
    func throughFiles() throws {
        let scratch = try Scratch()
        var shape = History.Shape()
        shape.lanes = 1
        let entries = History(seed: 12, shape: shape).lanes[0]
        let identity = JournalIdentity(cluster: 1, node: 1)
        var configuration = JournalConfiguration()
        configuration.segmentBytes = 128 << 10
        configuration.zeroFills = false
        let path = scratch.file("data")

        // Two starts that nobody shipped.
        let third = entries.count / 3
        for start in 0..<2 {
            let directory = try JournalDirectory(
                path: path, identity: identity, configuration: configuration)
            let writers = try Self.start(directory, cores: UInt16(2 - start))
            Self.append(entries[(start * third)..<((start + 1) * third)], to: writers)
            for writer in writers { #expect(writer.stop()) }
        }
        // The third is tailed.
        let directory = try JournalDirectory(
            path: path, identity: identity, configuration: configuration)
        let writers = try Self.start(directory, cores: 3)
        let store = scratch.file()
        var pace = ReconcilerConfiguration()
        pace.batchEntries = 50
        pace.gatherMs = 1
        pace.pollMs = 5
        let reconciler = Reconciler(
            configuration: pace, openSources: { try Self.sources(directory, writers) },
            openStore: { try SQLStore(path: store) })
        reconciler.start()
        var next = 2 * third
        while next < entries.count {
            let end = min(entries.count, next + 97)
            Self.append(entries[next..<end], to: writers)
            next = end
            reconciler.wake()
            let wanted = UInt64(next)
            try eventually("\(wanted) entries") { reconciler.status.appliedEntries == wanted }
        }
        #expect(reconciler.stop())
        #expect(reconciler.status.lastError == nil)
        for writer in writers { #expect(writer.stop()) }

        let sources = try JournalSource.all(of: directory)
        #expect(!sources.isEmpty && sources.allSatisfy { $0.backlog() > 0 })
        let report = try StoreAudit.run(store: .sqlite(path: store), sources: sources)
        #expect(sources.allSatisfy { $0.backlog() == 0 })
        #expect(report.isClean && report.entries == Int64(entries.count), "\(report)")
        try tamper(
            store,
            "UPDATE claims SET amount = amount - 1 "
                + "WHERE grant_id = (SELECT min(grant_id) FROM claims)")
        let injured = try StoreAudit.run(
            store: .sqlite(path: store), sources: try JournalSource.all(of: directory))
        #expect(injured[.claimDiffers]?.count == 1 && injured.findings.count == 1, "\(injured)")
    }

    private static func start(
        _ directory: JournalDirectory, cores: UInt16
    ) throws -> [JournalWriter] {
        let report = try directory.recover { (_) throws(JournalError) in }
        let boot = try directory.beginBoot()
        return try (0..<cores).map { core in
            try directory.makeWriter(
                boot: boot, core: core, cores: cores, resuming: report.sequences,
                onCommit: { _ in })
        }
    }

    private static func append(_ entries: ArraySlice<LaneEntry>, to writers: [JournalWriter]) {
        for (core, writer) in writers.enumerated() {
            var sink = ByteSink()
            for item in entries where Int(item.header.shard) % writers.count == core {
                JournalCodec.encode(item.entry, header: item.header, into: &sink)
            }
            writer.submit(&sink, needsSync: true)
        }
    }

    private static func sources(
        _ directory: JournalDirectory, _ writers: [JournalWriter]
    ) throws -> [any EntrySource] {
        try directory.lanes().map { lane in
            guard let writer = writers.first(where: { $0.lane == lane }) else {
                return JournalSource(directory: directory, lane: lane)
            }
            return JournalSource(
                directory: directory, lane: lane, committed: { writer.committedPosition })
        }
    }
}
