import CAllocationCounter
import EdgeMemory
import EdgeTypes
import EdgeWire

/// The least that one of 64 windows of grabs and answers, to bytes and back, took from the heap.
func leastOfBus() -> UInt64 {
    var least = UInt64.max
    var sink = ByteSink(capacity: 32 * (BusFrame.requestBytes + BusFrame.replyBytes))
    let ticket = Ticket(core: 0, generation: 0, connection: 0, position: 0)
    for window in 0..<64 as Range<UInt64> {
        let before = downpour_allocations()
        sink.removeAll()
        for user in 0..<32 as Range<UInt64> {
            let grab = Request(
                ticket: ticket, operation: .grab, pool: PoolKey(rawValue: window), user: user)
            BusCodec.encode(grab, id: user, hops: 0, into: &sink)
            BusCodec.encode(
                Reply(ticket: ticket, shape: .grab, fen: Int64(user)), id: user, into: &sink)
        }
        let users = sumOfUsers(sink.bytes)
        least = min(least, downpour_allocations() - before)
        precondition(users == 31 * 32)
    }
    return least
}

/// Of all requests, and the amounts of all answers.
private func sumOfUsers(_ record: UnsafeRawBufferPointer) -> UInt64 {
    var sum: UInt64 = 0
    var reader = BusReader(record)
    do {
        while let message = try reader.next() {
            switch message {
            case .request(_, _, let request): sum += request.user
            case .reply(_, let reply, _): sum += UInt64(reply.fen)
            default: preconditionFailure("another message")
            }
        }
    } catch {
        preconditionFailure("what was encoded does not decode")
    }
    return sum
}
