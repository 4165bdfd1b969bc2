import EdgeLedger
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation
import GRDB
import StoresTestSupport
import Testing

/// A directory that goes with the test.
final class Scratch {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "downpour-stores-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String = "store.sqlite") -> String { path + "/" + name }
}

/// Runs SQL on a store's file, behind its back.
func tamper(_ path: String, _ sql: String) throws {
    let queue = try DatabaseQueue(path: path)
    try queue.writeWithoutTransaction { try $0.execute(sql: sql) }
    try queue.close()
}

func number(_ path: String, _ sql: String) throws -> Int64 {
    let queue = try DatabaseQueue(path: path)
    defer { try? queue.close() }
    return try queue.read { try Int64.fetchOne($0, sql: sql) ?? -1 }
}

func text(_ path: String, _ sql: String) throws -> String? {
    let queue = try DatabaseQueue(path: path)
    defer { try? queue.close() }
    return try queue.read { try String.fetchOne($0, sql: sql) }
}

/// Takes whole lanes into a store, in batches of random sizes, lanes in random turns.
func ship(_ lanes: [MemoryLane], to store: any LedgerStore, seed: UInt64) throws {
    var random = SplitMix(seed: seed)
    var sources = lanes.map { MemorySource($0) }
    var marks = try store.watermarks()
    while sources.contains(where: { $0.backlog() > 0 }) {
        var batch = EntryBatch(capacity: 1 + random.below(200))
        batch.restart(at: marks)
        let first = random.below(sources.count)
        for step in sources.indices {
            let full = try sources[(first + step) % sources.count].read(into: &batch)
            if full || random.chance(30) { break }
        }
        try store.apply(batch, cursors: sources.map { ($0.lane, $0.cursor) })
        marks = batch.marks
    }
}

func audit(
    _ path: String, _ lanes: [MemoryLane], oldest: Int = 0,
    options: AuditOptions = AuditOptions()
) throws -> AuditReport {
    try StoreAudit.run(
        store: .sqlite(path: path), sources: lanes.map { MemorySource($0, oldest: oldest) },
        options: options)
}

/// Waits for a condition of another thread; fails the test after a minute.
func eventually(_ what: Comment, _ condition: () throws -> Bool) throws {
    let deadline = Date(timeIntervalSinceNow: 60)
    while try !condition() {
        try #require(Date() < deadline, what)
        usleep(500)
    }
}

/// How many entries of a history make an event.
func events(_ lanes: [MemoryLane]) -> Int64 {
    lanes.reduce(into: 0) { count, lane in
        for item in lane.entries {
            switch item.entry {
            case .orderReserved, .orderPaid, .orderCancelled, .orderExpired, .orderRefunded,
                .paymentRefused:
                count += 1
            case .poolClosed(let key) where History.isRain(key): count += 1
            default: break
            }
        }
    }
}
