import EdgeMemory
import EdgeTypes
import EdgeWire
import FuzzSupport

// Records of messages between nodes over arbitrary bytes.
//
// Held to be true: nothing traps; whatever decodes is encoded to the very bytes it came from, so
// that each message has one form; what lies beside a message lies within the record.

@_cdecl("FuzzBus_main")
public func main(_ count: CInt, _ arguments: FuzzTarget.Arguments?) -> CInt {
    FuzzTarget.run(count, arguments, seeds: { Seeds.all }) { data, count in
        let record = UnsafeRawBufferPointer(start: data, count: count)
        var sink = ByteSink(capacity: 256)
        var reader = BusReader(record)
        do {
            while let message = try reader.next() {
                require(
                    BusCodec.encode(message, attached: reader.attached, into: &sink),
                    "what was decoded cannot be encoded")
                require(sink.count <= count, "longer than it was")
            }
            require(sink.count == count, "bytes were left out")
        } catch {
            require(sink.count <= count, "longer than it was")
        }
        for index in 0..<sink.count {
            require(sink.bytes[index] == record[index], "another form at \(index)")
        }
        return 0
    }
}
