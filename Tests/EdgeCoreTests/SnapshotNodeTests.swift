import EdgeCore
import EdgeMemory
import EdgeTypes
import Testing

@Suite("Snapshots of a core's shards")
struct SnapshotNodeTests {
    @Test(
        "copied piece by piece while claims go on, a snapshot is what it was when it began",
        arguments: [1, 7, 64, 1_000, 1 << 20])
    func pieces(bytes: Int) throws {
        let node = TestNode()
        node.send([
            .rain("one", fen: 100_000, count: 1_000, slices: 3),
            .rain("many", fen: 100_000, count: 1_000, limit: 5, slices: 3),
            .stock("goods", units: 500, limit: 3, slices: 3),
        ])
        var user: UserID = 0
        func crowd() {
            user += 1
            node.nowMs += 3
            node.send([
                .grab("one", user), .grab("many", user % 20, Text64("r\(user)")),
                .reserve("goods", user, 1, Text64("q\(user)")),
            ])
        }
        for _ in 0..<100 { crowd() }
        var copies: [(shard: ShardID, whole: [UInt8])] = []
        for shard in 0..<node.shards {
            var whole = ByteSink()
            node.nodes[0].writeSnapshot(ShardID(shard), into: &whole)
            copies.append((ShardID(shard), Array(whole.bytes)))
        }
        var pieces = 0
        for (shard, whole) in copies where whole.count > 1_000 {
            // Whatever comes while it is copied is not in it.
            var snapshot = node.nodes[0].beginSnapshot(of: shard)
            let begun = snapshot.header
            var expected = node.nodes[0].beginSnapshot(of: shard)
            while !node.nodes[0].continueSnapshot(&expected, bytes: .max) {}
            while !node.nodes[0].continueSnapshot(&snapshot, bytes: bytes) {
                pieces += 1
                if pieces & 63 == 0 { crowd() }
            }
            #expect(Array(snapshot.content.bytes) == Array(expected.content.bytes))
            #expect(snapshot.header == begun && snapshot.content.count >= whole.count)
            let other = TestNode()
            try other.nodes[0].loadSnapshot(shard, snapshot.content.bytes)
            #expect(other.nodes[0].sequence(of: shard) == begun.sequence)
        }
        #expect(bytes >= 1_000 || pieces > 64)
    }
}
