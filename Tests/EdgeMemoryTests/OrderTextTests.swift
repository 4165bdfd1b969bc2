import EdgeMemory
import EdgeTypes
import Testing

@Suite("The text of order ids")
struct OrderTextTests {
    @Test(
        "known ids have known texts",
        arguments: [
            (OrderID(shard: 0, number: 0), "1000000000000"),
            (OrderID(shard: 0, number: 31), "100000000000z"),
            (OrderID(shard: 0, number: 32), "1000000000010"),
            (OrderID(shard: 1, number: 0), "1000100000000"),
            (OrderID(shard: .max, number: (1 << 40) - 1), "11zzzzzzzzzzz"),
        ])
    func known(id: OrderID, text: String) {
        #expect(id.text == text)
        #expect(OrderID(text: text) == id)
        #expect(OrderID(text: text.uppercased()) == id)
    }

    @Test("every id reads back from its text, in either case")
    func roundTrip() {
        var random = TestRandom(seed: 5)
        for _ in 0..<10_000 {
            let id = OrderID(
                shard: ShardID(truncatingIfNeeded: random.next()), number: random.next() >> 24)
            let text = id.text
            #expect(text.utf8.count == OrderID.textBytes)
            #expect(OrderID(text: text) == id)
            #expect(OrderID(text: text.uppercased()) == id)
        }
    }

    @Test(
        "what is no text of an order id is refused",
        arguments: [
            "", "1", "100000000000", "10000000000000", "0000000000000", "2000000000000",
            "g000000000000", "z000000000000", "1zzzzzzzzzzzz", "1200000000000", "100000000000u",
            "100000000000i", "100000000000l", "100000000000o", "100000000000I", "100000000000-",
            "1 00000000000", "100000000000@", "100000000000[", "100000000000`", "100000000000{",
            "100000000000:", "100000000000/", "100000000000\u{e9}", "10000000000\u{e9}",
            "100000000000\0", "100000000000\u{10}",
        ])
    func refused(text: String) {
        #expect(OrderID(text: text) == nil)
    }

    @Test("exactly 32 bytes in each case stand for a digit")
    func alphabet() {
        var accepted: [UInt8] = []
        for byte in 0...255 as ClosedRange<UInt8> {
            var bytes = [UInt8](repeating: 0x30, count: 13)
            bytes[0] = 0x31
            bytes[12] = byte
            let id = bytes.withUnsafeBytes { OrderID(text: $0) }
            if let id {
                accepted.append(byte)
                #expect(id.text.uppercased().utf8.last == byte || id.text.utf8.last == byte)
            }
        }
        let letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZabcdefghjkmnpqrstvwxyz"
        #expect(accepted == Array(letters.utf8))
    }

    @Test("appending writes 13 bytes behind what is there")
    func appending() {
        var sink = ByteSink(capacity: 4)
        sink.append(integer: UInt8(0x2a))
        OrderID(shard: 1, number: 0).append(to: &sink)
        let text = String(decoding: sink.bytes, as: UTF8.self)
        #expect(text == "*1000100000000")
    }
}
