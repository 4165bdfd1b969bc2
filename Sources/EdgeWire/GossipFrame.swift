/// Why bytes are no gossip.
public enum GossipDecodeError: Error, Hashable, Sendable {
    /// The bytes end before the message does.
    case truncated
    /// More bytes than any message has, or some behind its end.
    case badLength
    /// Written by a format that this program does not know.
    case unknownVersion(UInt8)
    case unknownKind(UInt8)
    /// A field that no sender writes.
    case malformed
}

/// The limits and constants of gossip's wire format.
///
/// All integers are little-endian. A datagram, after sealing was taken off:
///
///     0 kind   1 version   2 updates (u8)   3 zero   4 cluster   8 sender   16 incarnation
///     ping, pingRequest           24 sequence   28 target
///     ack, ackToStranger, nack    24 sequence
///     indirectAck                 24 sequence   28 target   36 its incarnation
///     then the updates
///
/// A message on a stream, behind a length of four bytes that its shell writes:
///
///     0 kind   1 version   2 reason   3 zero   4 cluster   8 sender   16 incarnation
///     24 oldest and 26 newest version of the protocol   28 count   32 digest   40 target
///     48 sequence   52 updates (u32)   56 the updates
///
/// An update:
///
///     0 state, 0x80 added where a record follows   1 boot   9 incarnation
///     suspect, dead   17 accusers (u8)   18 eight bytes each
///     record   name, region, zone (a length byte and bytes each)   4 or 6   host in network order
///              bus, HTTP, RESP, admin port (u16 each)   oldest, newest version (u16 each)
public enum GossipFrame {
    public static let version: UInt8 = 1
    static let datagramHeaderBytes = 24
    static let streamHeaderBytes = 56
    static let recordFlag: UInt8 = 0x80
    /// The shortest update.
    static let updateBytes = 17
}
