import Simulator
import Testing

@Suite struct HeapQueueTests {
    @Test("an event takes 16 bytes")
    func size() {
        #expect(MemoryLayout<Event>.size == 16)
        #expect(MemoryLayout<Event>.stride == 16)
    }

    @Test("the heap pops by time, and by sequence within an instant")
    func order() {
        let times: [UInt64] = [7, 3, 7, 0, 3, .max - 1]
        var queue = HeapQueue()
        for index in 0..<6 { queue.push(timeNs: times[index], payload: UInt32(index)) }
        let nextTimeNs = queue.nextTimeNs
        #expect(nextTimeNs == 0)
        var popped: [UInt32] = []
        while let event = queue.pop() {
            #expect(event.sequence == event.payload)
            popped.append(event.payload)
        }
        #expect(popped == [3, 1, 4, 0, 2, 5])
        let count = queue.count
        #expect(count == 0)
    }

    @Test("an event before the one last popped is refused")
    func backwards() async {
        await #expect(processExitsWith: .failure) {
            var queue = HeapQueue()
            queue.push(timeNs: 5, payload: 0)
            _ = queue.pop()
            queue.push(timeNs: 4, payload: 0)
        }
    }
}
