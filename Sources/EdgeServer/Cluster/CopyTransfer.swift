import EdgeTypes
import EdgeWire

/// Copies of shards on their way to learners: in pieces, as fast as the links take them, so that
/// beacons and entries are not held up behind them.
struct OutgoingCopies {
    private struct Copy {
        var shard: ShardID
        var next: BusCopy
        var bytes: [UInt8]
        var connection: BusConnection
    }

    private var copies: [Copy] = []
    /// Another turn is on its way.
    var isPumping = false

    /// 0: as fast as the links take them.
    var bytesPerMs: Int64 = 0
    /// Bytes that may be sent before the next turn; below 0 where more was.
    private var allowance: Int64 = 0

    static let pieceBytes = 256 << 10
    /// So much of a link's output copies may fill.
    static let outputBytes = 512 << 10

    /// Announces a copy: entries that follow it wait at the other side until it is whole.
    mutating func begin(
        _ shard: ShardID, _ piece: BusCopy, _ bytes: [UInt8], _ connection: BusConnection
    ) {
        copies.removeAll { $0.shard == shard && $0.connection === connection }
        copies.append(Copy(shard: shard, next: piece, bytes: bytes, connection: connection))
        connection.append {
            BusCodec.encode(
                piece: UnsafeRawBufferPointer(start: nil, count: 0), of: shard, piece, into: &$0)
        }
    }

    mutating func end(_ connection: BusConnection) {
        copies.removeAll { $0.connection === connection }
    }

    /// Sends what the links take now.
    ///
    /// - Parameter sent: called with a connection that has something to write.
    /// - Returns: whether to come back in a moment.
    mutating func pump(_ sent: (BusConnection) -> Void) -> Bool {
        allowance = min(allowance + bytesPerMs, bytesPerMs * 10)
        for index in copies.indices {
            let connection = copies[index].connection
            sent(connection)
            while copies[index].next.offset < copies[index].next.totalBytes,
                connection.outputBytes < Self.outputBytes, bytesPerMs == 0 || allowance > 0
            {
                let before = copies[index].next.offset
                send(&copies[index])
                allowance -= Int64(copies[index].next.offset - before)
            }
        }
        copies.removeAll { $0.next.offset >= $0.next.totalBytes }
        guard !copies.isEmpty, !isPumping else { return false }
        isPumping = true
        return true
    }

    private func send(_ copy: inout Copy) {
        let start = Int(copy.next.offset)
        let end = min(start + Self.pieceBytes, copy.bytes.count)
        copy.bytes.withUnsafeBytes { bytes in
            let piece = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
            copy.connection.append {
                BusCodec.encode(piece: piece, of: copy.shard, copy.next, into: &$0)
            }
        }
        copy.next.offset = UInt64(end)
    }
}

/// A copy of a shard that comes in pieces, and the entries that came meanwhile.
struct IncomingCopy {
    private let first: BusCopy
    private(set) var bytes: [UInt8] = []
    private(set) var live: [UInt8] = []
    /// More entries came than may wait: nothing is kept of what still comes.
    private(set) var isGivenUp = false
    private var taken: UInt64 = 0

    var epoch: UInt32 { first.epoch }

    /// Entries that wait for a copy.
    static let liveBytes = 64 << 20

    init(_ first: BusCopy) { self.first = first }

    /// Whether the first piece is what was announced, without bytes.
    func isAnnounced(_ piece: BusCopy) -> Bool { piece == first && taken == 0 }

    var isWhole: Bool { taken == first.totalBytes }

    /// - Returns: whether the piece was the next; one of another copy is not.
    mutating func take(_ piece: BusCopy, _ more: UnsafeRawBufferPointer) -> Bool {
        guard piece.epoch == first.epoch, piece.last == first.last,
            piece.totalBytes == first.totalBytes, piece.offset == taken,
            UInt64(more.count) <= first.totalBytes - piece.offset
        else { return false }
        taken += UInt64(more.count)
        if !isGivenUp { bytes.append(contentsOf: more) }
        return true
    }

    /// - Returns: false where that is too much, once.
    mutating func wait(_ entries: UnsafeRawBufferPointer) -> Bool {
        if isGivenUp { return true }
        guard live.count + entries.count <= Self.liveBytes else {
            isGivenUp = true
            bytes = []
            live = []
            return false
        }
        live.append(contentsOf: entries)
        return true
    }
}

/// Walks through entries by their heads alone: whoever takes them checks them.
enum EntryFrames {
    struct Head {
        var length: Int
        var shard: ShardID
        var sequence: UInt64
    }

    /// nil where no entry is.
    static func next(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> Head? {
        guard bytes.count - offset >= JournalFrame.headerBytes else { return nil }
        let length = Int(
            UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)))
        guard length >= JournalFrame.headerBytes, length & 7 == 0, length <= bytes.count - offset
        else { return nil }
        let shard = bytes.loadUnaligned(fromByteOffset: offset + 10, as: ShardID.self)
        let sequence = bytes.loadUnaligned(fromByteOffset: offset + 16, as: UInt64.self)
        return Head(
            length: length, shard: ShardID(littleEndian: shard),
            sequence: UInt64(littleEndian: sequence))
    }
}
