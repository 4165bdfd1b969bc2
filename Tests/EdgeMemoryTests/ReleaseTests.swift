import EdgeMemory
import EdgeTypes
import Foundation
import Testing

@Suite("Tables are given back in pieces")
struct ReleaseTests {
    @Test("a log gives its chunks back and can be filled again", arguments: [0, 5, 9_000, 100_000])
    func log(count: Int) {
        var log = ChunkedLog<UInt64>()
        for value in 0..<count { log.append(UInt64(value)) }
        var calls = 0
        while !log.release(bytes: 128 << 10) { calls += 1 }
        #expect(calls <= count * 8 / (128 << 10))
        #expect(log.count == 0 && log.heldBytes < 1_000)
        for value in 0..<20_000 { log.append(UInt64(value * 3)) }
        #expect(log[19_999] == 59_997 && log.count == 20_000)
    }

    @Test(
        "an index gives its tables back and can be filled again",
        arguments: [0, 100, 23_000, 300_000])
    func index(count: Int) {
        var index = ClaimIndex()
        var isEver = false
        for position in 0..<count {
            index.insert(Hash64.keyed(UInt64(position), salt: 7), position: position)
            isEver = isEver || index.isGrowing
        }
        #expect(isEver == (count > 22))
        var calls = 0
        while !index.release(bytes: 256 << 10) { calls += 1 }
        #expect(calls <= 3 + count * 12 / (256 << 10))
        #expect(index.count == 0 && index.heldBytes < 1_000 && !index.isGrowing)
        for position in 0..<5_000 {
            index.insert(Hash64.keyed(UInt64(position), salt: 9), position: position)
        }
        for position in 0..<5_000 {
            let hash = Hash64.keyed(UInt64(position), salt: 9)
            #expect(index.find(hash) { $0 == position } == position)
        }
    }

    @Test("the tables of a stock book are emptied at once", arguments: [0, 3, 5_000, 200_000])
    func tables(count: Int) {
        var log = RecordLog<UInt64>(chunkBits: 9)
        var index = PositionIndex()
        var wheel = TimingWheel()
        func fill(_ count: Int) {
            for value in 0..<count {
                log.append(UInt64(value * 3))
                index.insert(Hash64.keyed(UInt64(value), salt: 7), value)
                wheel.insert(UInt32(value), deadlineMs: Int64(value))
            }
        }
        fill(count)
        log.release()
        index.release()
        wheel.release()
        #expect(log.count == 0 && index.count == 0)
        #expect(wheel.isEmpty == true)
        #expect(log.allocatedBytes + index.allocatedBytes + wheel.allocatedBytes < 8_000)
        fill(6_000)
        #expect(log[5_999] == 17_997)
        for value in 0..<6_000 {
            var probe = index.probe(Hash64.keyed(UInt64(value), salt: 7))
            var found = false
            while let position = index.next(&probe) { found = found || position == value }
            #expect(found)
        }
        #expect(wheel.count == 6_000)
        #expect(wheel.contains(5_999) == true)
    }

    @Test("what a log gives back, the system has")
    func resident() async {
        // In a process of its own: what other tests take and give back is none of it.
        await #expect(processExitsWith: .success) {
            let before = try Self.residentBytes()
            var logs = [0, 1].map { _ in LogBox() }
            for value in 0..<4_000_000 { logs[value & 1].log.append(UInt64(value)) }
            let full = try Self.residentBytes()
            #expect(full - before > 24 << 20)
            // The other goes on among the pieces of this one.
            while !logs[0].log.release(bytes: 1 << 20) {}
            let after = try Self.residentBytes()
            #expect(full - after > 12 << 20, "\(before) \(full) \(after)")
            #expect(logs[1].log[1_999_999] == 3_999_999)
            logs = []
        }
    }

    private final class LogBox {
        var log = ChunkedLog<UInt64>()
    }

    private static func residentBytes() throws -> Int {
        let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        return Int(text.split(separator: " ")[1]).map { $0 * 4_096 } ?? 0
    }
}
