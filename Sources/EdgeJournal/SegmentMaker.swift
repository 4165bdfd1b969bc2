import EdgeTypes
import Glibc

/// A segment on disk that holds nothing yet but its header: created, reserved and durable.
struct PreparedSegment: ~Copyable, Sendable {
    let file: File
    let name: SegmentName
}

/// Makes a lane's segments and gives back what they do not need; knows no threads.
struct SegmentMaker: Sendable {
    private let directory: Directory
    private let identity: JournalIdentity
    private let configuration: JournalConfiguration
    private let lane: JournalLane
    private let cores: UInt16

    init(directory: JournalDirectory, lane: JournalLane, cores: UInt16) {
        self.directory = directory.journal
        identity = directory.identity
        configuration = directory.configuration
        self.lane = lane
        self.cores = cores
    }

    /// Creates a segment under a temporary name and renames it when all of it is durable: a
    /// segment's file is never without a good header.
    ///
    /// - Parameter isHurried: asked between pieces of zeros; true leaves the rest aside.
    func make(index: UInt32, isHurried: () -> Bool = { false }) throws(JournalError)
        -> PreparedSegment
    {
        let name = SegmentName(lane: lane, index: index)
        let temporary = name.fileName + ".tmp"
        do throws(JournalError) {
            try write(name, to: temporary, isHurried)
            try directory.rename(temporary, to: name.fileName)
            try directory.synchronize()
            return PreparedSegment(file: try directory.open(name.fileName, O_RDWR), name: name)
        } catch {
            try? directory.remove(temporary)
            throw error
        }
    }

    private func write(
        _ name: SegmentName, to temporary: String, _ isHurried: () -> Bool
    ) throws(JournalError) {
        let file = try directory.open(temporary, O_RDWR | O_CREAT | O_TRUNC)
        try file.allocate(configuration.segmentBytes)
        let header = SegmentHeader(
            name: name, cores: cores, identity: identity,
            createdMs: directory.system.wallMs())
        let block = header.encode()
        defer { withExtendedLifetime(block) {} }
        try file.write(block.bytes, at: 0)
        if configuration.zeroFills { try fill(file, isHurried) }
        try file.synchronize()
    }

    /// Writes zeros, syncing as it goes so that the writer's own syncs find short queues.
    private func fill(_ file: borrowing File, _ isHurried: () -> Bool) throws(JournalError) {
        let piece = RawBuffer(capacity: 1 << 20)
        defer { withExtendedLifetime(piece) {} }
        piece.region.initializeMemory(as: UInt8.self, repeating: 0)
        piece.count = piece.region.count
        var offset = SegmentHeader.bytes
        while offset < configuration.segmentBytes {
            if isHurried() { return }
            let size = min(piece.count, configuration.segmentBytes - offset)
            try file.write(UnsafeRawBufferPointer(rebasing: piece.bytes[..<size]), at: offset)
            try file.synchronize()
            offset += size
        }
    }

    /// Gives back what a sealed segment reserved beyond its seal.
    func trim(_ name: SegmentName, to size: Int) throws(JournalError) {
        do throws(JournalError) {
            let file = try directory.open(name.fileName, O_RDWR)
            try file.truncate(to: size)
            try file.synchronize()
        } catch {
            // Retention may have taken the segment meanwhile.
            guard case .system(_, _, ENOENT) = error else { throw error }
        }
    }

    /// Removes a segment that was never used.
    func discard(_ spare: consuming PreparedSegment) throws(JournalError) {
        try directory.remove(spare.name.fileName)
        try directory.synchronize()
    }
}
