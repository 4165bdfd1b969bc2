import EdgeMemory
import Glibc

/// A file: what its page cache shows, and what a loss of power may take of that.
final class VirtualFile {
    private(set) var image = FileImage()
    /// Since the last sync, in order.
    private var changes: [Change] = []
    /// The changes' bytes: of each, what was written, then what was there before.
    private var log: [UInt8] = []
    /// Names that lead here, and descriptors.
    var links = 0
    var opens = 0
    /// The descriptor that has the lock.
    var lockHolder: Int32?

    private struct Change {
        enum Kind {
            case write
            case resize
        }
        enum State {
            case waiting
            /// A sync has failed: the pages count as clean, and whether they are is luck.
            case abandoned
            case durable
        }

        var kind: Kind
        var state = State.waiting
        /// Where it was written; the new size of a resize.
        var offset: Int
        var written: Int
        var replaced: Int
        var logStart: Int
        /// Before it.
        var extent: Int
        var size: Int
    }

    var blockBytes: Int { VirtualFile.blocks(image.size) }

    static func blocks(_ size: Int) -> Int { (size + 4_095) & ~4_095 }

    var isDurable: Bool { changes.isEmpty }

    // MARK: Changing

    func write(_ slices: UnsafeBufferPointer<iovec>, total: Int, at offset: Int) {
        let logStart = log.count
        for slice in slices {
            log.append(
                contentsOf: UnsafeRawBufferPointer(start: slice.iov_base, count: slice.iov_len))
        }
        precondition(log.count - logStart == total)
        let replaced = max(0, min(total, image.bytes.count - offset))
        if replaced > 0 { log.append(contentsOf: image.bytes[offset..<(offset + replaced)]) }
        let change = Change(
            kind: .write, offset: offset, written: total, replaced: replaced, logStart: logStart,
            extent: image.bytes.count, size: image.size)
        changes.append(change)
        VirtualFile.apply(change, log, to: &image)
    }

    func resize(to size: Int) {
        guard size != image.size else { return }
        let cut = max(0, image.bytes.count - size)
        let change = Change(
            kind: .resize, offset: size, written: 0, replaced: cut, logStart: log.count,
            extent: image.bytes.count, size: image.size)
        if cut > 0 { log.append(contentsOf: image.bytes[size...]) }
        changes.append(change)
        image.resize(to: size)
    }

    private static func apply(_ change: Change, _ log: [UInt8], to image: inout FileImage) {
        switch change.kind {
        case .write:
            log.withUnsafeBytes { log in
                let range = change.logStart..<(change.logStart + change.written)
                image.write(UnsafeRawBufferPointer(rebasing: log[range]), at: change.offset)
            }
        case .resize: image.resize(to: change.offset)
        }
    }

    // MARK: Durability

    /// - Returns: bytes that became durable.
    func sync() -> Int {
        var count = 0
        var isWhole = true
        for index in changes.indices {
            switch changes[index].state {
            case .waiting:
                count += changes[index].written
                changes[index].state = .durable
            case .abandoned: isWhole = false
            case .durable: break
            }
        }
        // Behind an abandoned change the order of all still matters.
        if isWhole { forget() }
        return count
    }

    func failSync() {
        for index in changes.indices where changes[index].state == .waiting {
            changes[index].state = .abandoned
        }
    }

    private func forget() {
        changes.removeAll(keepingCapacity: true)
        log.removeAll(keepingCapacity: log.count <= 1 << 20)
    }

    /// Power is lost: what was not synced is kept, lost or torn, change by change.
    func crash(_ draw: inout CrashDraw) {
        guard !changes.isEmpty else { return }
        let changes = changes
        let log = log
        rollBack()
        // What the page cache showed after each change: a sector goes to the disk as a whole,
        // with whatever was in it at that time.
        var view = image
        for change in changes {
            VirtualFile.apply(change, log, to: &view)
            let fate = change.state == .durable ? .kept : draw.fate()
            guard fate != .lost else { continue }
            switch change.kind {
            case .resize: image.resize(to: change.offset)
            case .write:
                let last = change.offset + max(1, change.written) - 1
                let sectors = change.offset / FileImage.sectorBytes...last / FileImage.sectorBytes
                let tear = fate == .torn ? draw.tear(sectors.count) : .after(sectors.count)
                for sector in sectors where draw.keeps(sector - sectors.lowerBound, tear) {
                    image.copySector(sector, of: view)
                }
            }
        }
        forget()
    }

    /// Goes back to what is durable for sure.
    private func rollBack() {
        for change in changes.reversed() {
            let start = change.logStart + change.written
            let before = log[start..<(start + change.replaced)]
            image.shrink(to: change.extent, size: change.size)
            before.withUnsafeBytes { bytes in
                image.write(bytes, at: change.kind == .write ? change.offset : image.bytes.count)
            }
            image.shrink(to: change.extent, size: change.size)
        }
    }

    // MARK: Damage

    /// Flips a bit of a durable byte, drawn until one is found that no change covers.
    func rot(_ word: (UInt64) -> UInt64) -> Int? {
        let extent = changes.reduce(image.bytes.count) { min($0, $1.extent) }
        guard extent > 0 else { return nil }
        for attempt in 0..<64 as Range<UInt64> {
            let offset = Int(Hash64.reduce(word(2 * attempt), below: UInt64(extent)))
            let isCovered = changes.contains {
                $0.kind == .write && $0.offset <= offset && offset < $0.offset + $0.written
            }
            if isCovered || offset >= image.bytes.count { continue }
            image.flip(bit: UInt8(word(2 * attempt + 1) & 7), at: offset)
            return offset
        }
        return nil
    }

    func flip(bit: UInt8, at offset: Int) {
        precondition(isDurable, "only what is durable rots")
        image.flip(bit: bit, at: offset)
    }
}

/// The luck of one loss of power.
struct CrashDraw {
    enum Fate {
        case kept
        case lost
        case torn
    }

    private let random: RandomSource
    private let entity: UInt64
    private var next: UInt64 = 1
    /// Of eight changes, how many are lost: from none to all, so that every extreme comes up.
    private let losses: UInt64

    init(_ random: RandomSource, disk: UInt64, counter: UInt64) {
        self.random = random
        entity = Hash64.mix(counter, disk)
        losses = random.below(9, .crash, entity)
    }

    private mutating func word() -> UInt64 {
        defer { next += 1 }
        return random.word(.crash, entity, next)
    }

    mutating func fate() -> Fate {
        let word = word()
        if (1..<8).contains(losses), (word >> 3) & 1 == 0 { return .torn }
        return word & 7 < losses ? .lost : .kept
    }

    /// Which sectors of a torn write are there.
    enum Tear {
        /// So many from the first on: the disk wrote them in order.
        case after(Int)
        /// Any: it wrote them as it liked.
        case anywhere
    }

    mutating func tear(_ sectors: Int) -> Tear {
        let word = word()
        guard sectors > 1, word & 1 == 0 else { return .anywhere }
        return .after(1 + Int(Hash64.reduce(word, below: UInt64(sectors - 1))))
    }

    mutating func keeps(_ sector: Int, _ tear: Tear) -> Bool {
        switch tear {
        case .after(let count): sector < count
        case .anywhere: word() & 1 == 0
        }
    }

    mutating func keepsName() -> Bool { word() & 7 >= losses }
}
