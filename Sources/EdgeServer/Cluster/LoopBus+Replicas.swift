import EdgeTypes
import EdgeWire

/// What goes to other processes about replicas. A message for a process that the link does not lead
/// to, or that cannot be sent, is lost: with the next link, all begins with a greeting.
extension LoopBus {
    /// The link to a process; nil: there is none now.
    func connection(to other: ReplicaID) -> BusConnection? { Self.connection(to: other, of: links) }

    private static func connection(
        to other: ReplicaID, of links: [BusLink?]
    ) -> BusConnection? {
        guard let place = Int(exactly: other.node), place < links.count,
            let connection = links[place]?.connection, connection.peer?.boot == other.boot
        else { return nil }
        return connection
    }

    func send(_ message: ReplicaMessage, _ shard: ShardID, _ to: ReplicaID) {
        guard let connection = connection(to: to) else { return }
        connection.append { BusCodec.encode(message, for: shard, into: &$0) }
        mark(connection)
    }

    func sendBeacon(_ number: UInt64, _ to: ReplicaID) {
        guard let connection = Self.connection(to: to, of: beaconLinks) else { return }
        connection.append { BusCodec.encodeBeacon(number, into: &$0) }
        mark(connection)
    }

    func answerBeacon(_ number: UInt64, _ to: ReplicaID) {
        guard let connection = Self.connection(to: to, of: beaconLinks) else { return }
        connection.append { BusCodec.encodeBeaconAnswer(number, into: &$0) }
        mark(connection)
    }

    /// Entries, in as many messages as they need.
    ///
    /// - Parameter epoch: 0: those of a step, of any shards.
    func send(entries: [UInt8], of shard: ShardID, epoch: UInt32, _ to: ReplicaID) {
        guard let connection = connection(to: to) else { return }
        entries.withUnsafeBytes { bytes in
            var start = 0
            while start < bytes.count {
                guard let first = EntryFrames.next(bytes, start) else {
                    preconditionFailure("a core's entries are whole")
                }
                var end = start + first.length
                if bytes.count - start <= BusLimits.attachedBytes {
                    end = bytes.count
                } else {
                    while let next = EntryFrames.next(bytes, end),
                        end + next.length - start <= BusLimits.attachedBytes
                    {
                        end += next.length
                    }
                }
                let part = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                connection.append {
                    BusCodec.encode(
                        entries: part, of: shard, epoch: epoch,
                        first: epoch == 0 ? 0 : first.sequence, into: &$0)
                }
                start = end
            }
        }
        mark(connection)
    }
}
