import EdgeJournal
import EdgeTypes
import Foundation
import Logging
import NIOPosix
import Testing

@testable import EdgeServer

@Suite("Small files on a thread of their own")
struct DiskThreadTests {
    /// Otherwise a crash between the two leaves a copy that passes for the log of an earlier life.
    @Test("that a shard was learned is durable before the copy is, and a copy refused leaves it")
    func recordFirst() async throws {
        let path = NSTemporaryDirectory() + "downpour-disk-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let directory = try JournalDirectory(
            path: path, identity: JournalIdentity(cluster: 1, node: 2))
        let disk = DiskThread(
            directory, try directory.openSoleRecords(),
            Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try disk.begin(boot: 4)
        let learned = SoleRecord(shard: 3, epoch: 0, boot: 4, born: 2)
        struct Full: Error {}
        for isFull in [false, true] {
            let isDone = await withCheckedContinuation { continuation in
                disk.note(
                    [DiskRecord(record: learned, order: 1)],
                    on: MultiThreadedEventLoopGroup.singleton.any(),
                    before: {
                        let held = try directory.openSoleRecords()
                        #expect(held.records == [learned])
                        if isFull { throw Full() }
                    },
                    { continuation.resume(returning: $0) })
            }
            #expect(isDone == !isFull)
        }
        try await disk.stop(isClean: true)
        #expect(try directory.openSoleRecords().cleanBoot == 4)
    }
}
