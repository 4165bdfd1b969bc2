import EdgeTypes
import Testing

@testable import EdgeCore

@Suite("Streams of answers")
struct CommitStreamsTests {
    @Test("an answer leaves once all before it on its stream is committed, whatever others do")
    func order() {
        var streams = CommitStreams()
        var committed: [UInt64] = [0, 0, 0]
        streams.wait(2, local: 0, sequence: 5, position: 100)
        streams.wait(2, local: 1, sequence: 7, position: 200)
        streams.wait(3, local: 2, sequence: 1, position: 150)
        func released(_ stream: UInt8) -> UInt64 {
            streams.released(stream) { committed[$0] >= $1 }
        }
        #expect(released(2) == 99 && released(3) == 149 && released(4) == .max)
        // The second is committed, the first is not.
        committed = [4, 7, 1]
        #expect(released(2) == 99 && released(3) == .max)
        committed[0] = 5
        #expect(released(2) == .max)
        streams.wait(2, local: 1, sequence: 8, position: 300)
        #expect(released(2) == 299)
    }

    @Test("a shard that is lost names every stream on which it has something uncommitted")
    func lost() {
        var streams = CommitStreams()
        streams.wait(1, local: 4, sequence: 10, position: 10)
        streams.wait(2, local: 4, sequence: 11, position: 20)
        streams.wait(3, local: 5, sequence: 2, position: 30)
        #expect(streams.streams(of: 4, after: 9) == 0b110)
        #expect(streams.streams(of: 4, after: 10) == 0b100)
        #expect(streams.streams(of: 4, after: 11) == 0)
        #expect(streams.streams(of: 5, after: 0) == 0b1000)
    }
}
