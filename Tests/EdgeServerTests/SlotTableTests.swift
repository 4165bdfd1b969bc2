import Testing

@testable import EdgeServer

@Suite("Items by number")
struct SlotTableTests {
    @Test("a number that was taken names nothing, though its slot is used again")
    func generations() {
        var table = SlotTable<String>()
        let first = table.add("first")
        #expect(table.take(first) == "first")
        let second = table.add("second")
        #expect(second & 0xffff_ffff == first & 0xffff_ffff && second != first)
        #expect(table.take(first) == nil)
        #expect(table.count == 1)
        #expect(table.take(second) == "second" && table.take(second) == nil)
        #expect(table.take(slot: 7, generation: 0) == nil && table.take(.max) == nil)
        _ = table.add("third")
        #expect(table.take(slot: 0, generation: 0) == nil)
        #expect(table.take(slot: 0, generation: 2) == "third")
    }

    @Test("all that match are taken, the others stay")
    func takeAll() {
        var table = SlotTable<Int>()
        let numbers = (0..<10).map { table.add($0) }
        #expect(table.take(numbers[4]) == 4)
        #expect(table.takeAll { $0 % 2 == 0 } == [0, 2, 6, 8])
        #expect(table.count == 5)
        #expect(table.take(numbers[3]) == 3 && table.take(numbers[6]) == nil)
    }
}
