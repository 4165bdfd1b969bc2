import EdgeMemory
import EdgeTypes
import Testing

@testable import EdgeCore

/// On what frames wait in a cluster with replicas, before they leave.
@Suite struct FrameStreamTests {
    private func made() -> EdgeNode {
        EdgeNode(NodeConfiguration(shards: 1, nodes: 1, replica: ReplicaID(node: 0, boot: 1)))
    }

    @Test("who asks for more tells that its last lease has come: the disk has that")
    func asks() {
        let node = made()
        let asked = UnitsAsked(pool: .of(.rain, "r"), slice: 0, after: 3, wanted: 1, least: 1)
        #expect(node.stream(of: 0, .ask(asked)) & CommitStream.andDisk != 0)
        let recall = Recall(pool: .of(.rain, "r"), part: 0, round: 1, after: 0)
        #expect(node.stream(of: 0, .recall(recall)) & CommitStream.andDisk == 0)
    }

    @Test("a sweep waits for all replicas, and for the disk where a slice is over for good")
    func sweeps() {
        let node = made()
        func stream(isFinal: Bool) -> UInt8 {
            let slices = [false, isFinal].enumerated().map { slice, isFinal in
                SweptSlice(
                    slice: UInt32(slice), returnNumber: 0, isQuiet: true, isFinal: isFinal)
            }
            return node.stream(
                of: nil,
                .swept(Sweep(pool: .of(.rain, "r"), part: 0, round: 1, slices: slices)))
        }
        for isFinal in [false, true] {
            #expect(CommitStream.isAll(stream(isFinal: isFinal)))
            #expect(CommitStream.needsDisk(stream(isFinal: isFinal)) == isFinal)
        }
    }

    @Test("operators are answered when all replicas and the disk have it")
    func operators() {
        let node = made()
        #expect(CommitStream.isAll(node.operatorStream))
        #expect(CommitStream.needsDisk(node.operatorStream))
    }
}
