import Foundation
import Synchronization
import Testing

@testable import EdgeServer

@Suite("Commit relay")
struct CommitRelayTests {
    @Test("However many commits are passed on, nothing grows with them")
    func constantMemory() throws {
        let relay = CommitRelay()
        let woken = Atomic<Int>(0)
        relay.connect(nil, wake: { woken.add(1, ordering: .relaxed) })
        relay.committed(0)
        // Other tests run beside it: a leak of one allocation a commit is far above their noise.
        let before = try residentBytes()
        let commits = 2_000_000
        for position in 1...commits { relay.committed(UInt64(position)) }
        let after = try residentBytes()
        #expect(woken.load(ordering: .relaxed) == commits + 1)
        #expect(after - before < 64 << 20)
    }

    private func residentBytes() throws -> Int {
        let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
            .split(separator: " ")
        return try #require(Int(fields[1])) * 4_096
    }
}
