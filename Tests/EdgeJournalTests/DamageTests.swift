import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc
import Testing

@testable import EdgeJournal

@Suite("Torn tails and damage")
struct DamageTests {
    static let seed = UInt64.random(in: 0 ... .max)
    static let first = SegmentName(lane: JournalLane(boot: 1, core: 0), index: 0)

    struct Unclean {
        var image: DirectoryImage
        /// Offset of the batch that was never synced, and of its end.
        var tail: Int
        var end: Int
        var durable: UInt64
        var total: UInt64
    }

    /// Three synced batches, and a last one that was never synced.
    static func unclean(_ scratch: Scratch, mark: Bool) throws -> Unclean {
        let directory = try JournalDirectory(
            path: scratch.data, identity: identity, configuration: smallSegments())
        _ = try directory.recover { (_) throws(JournalError) in }
        _ = try directory.beginBoot()
        let lane = try ManualLane(directory)
        for size in [3, 1, 20] as [UInt64] { try lane.write(size) }
        if mark { try lane.file.mark() }
        let tail = lane.file.offset
        try lane.write(9, sync: false)
        return Unclean(
            image: try DirectoryImage(scratch.data), tail: tail, end: lane.file.offset,
            durable: lane.durable, total: lane.count)
    }

    /// Recovers what must be a cut or a whole journal, twice: the second finds nothing to cut.
    static func expectCut(_ path: String, _ unclean: Unclean, _ what: String) throws {
        let (count, report) = try recoverSamples(path)
        #expect(count >= unclean.durable && count <= unclean.total, "\(what)")
        #expect(!report.wasClean)
        let (again, second) = try recoverSamples(path)
        #expect(again == count && second.cuts.isEmpty && !second.wasClean, "\(what)")
    }

    @Test("a tail torn at any byte is cut, and nothing else", arguments: [false, true])
    func tornAnywhere(zeroed: Bool) throws {
        let scratch = Scratch()
        let unclean = try Self.unclean(scratch, mark: zeroed)
        let index = unclean.image.index(Self.first)
        let whole = unclean.image.files[index].bytes
        // Where the records of the last batch end, its beginning included.
        var ends = [unclean.tail]
        try whole.withUnsafeBytes { bytes in
            while ends.last! < unclean.end {
                ends.append(ends.last! + (try JournalFrame.parse(bytes, at: ends.last!).length))
            }
        }
        let copy = Scratch()
        for end in unclean.tail...unclean.end {
            var image = unclean.image
            image.files[index].bytes = Array(whole[..<end])
            if zeroed {
                image.files[index].bytes += [UInt8](repeating: 0, count: whole.count - end)
            }
            try image.write(to: copy.data)
            let (count, report) = try recoverSamples(copy.data)
            // A record may end in zeros that were not lost.
            let kept = ends.last { $0 <= end || (zeroed && !whole[end..<$0].contains { $0 != 0 }) }!
            let entries = ends.firstIndex(of: kept)! - 1
            #expect(count == unclean.durable + UInt64(max(0, entries)), "cut at \(end)")
            let isTorn = kept < end && whole[kept..<end].contains { $0 != 0 }
            #expect(report.cuts.map(\.offset) == (isTorn ? [UInt64(kept)] : []), "cut at \(end)")
            let (again, second) = try recoverSamples(copy.data)
            #expect(again == count && second.cuts.isEmpty)
        }
    }

    @Test("any subset of the sectors of an unsynced write may be lost")
    func lostSectors() throws {
        var random = TestRandom(state: Self.seed)
        let scratch = Scratch()
        let directory = try JournalDirectory(
            path: scratch.data, identity: identity, configuration: smallSegments())
        _ = try directory.beginBoot()
        let lane = try ManualLane(directory)
        try lane.write(40)
        try lane.file.mark()
        let tail = lane.file.offset
        for _ in 0..<6 { try lane.write(60, sync: false) }
        let image = try DirectoryImage(scratch.data)
        let index = image.index(Self.first)
        let unclean = Unclean(
            image: image, tail: tail, end: lane.file.offset, durable: lane.durable,
            total: lane.count)
        let copy = Scratch()
        for round in 0..<200 {
            var damaged = image
            for sector in (tail / 512)...(unclean.end / 512) where random.next() % 4 == 0 {
                for at in max(tail, sector * 512)..<((sector + 1) * 512) {
                    damaged.files[index].bytes[at] = 0
                }
            }
            try damaged.write(to: copy.data)
            try Self.expectCut(copy.data, unclean, "seed \(Self.seed) round \(round)")
        }
    }

    @Test("a flipped bit is damage, or a cut where only the unsynced tail is concerned")
    func bitFlips() throws {
        var random = TestRandom(state: Self.seed)
        let scratch = Scratch()
        let unclean = try Self.unclean(scratch, mark: true)
        let index = unclean.image.index(Self.first)
        let copy = Scratch()
        try unclean.image.write(to: copy.data)
        let path = copy.data + "/" + unclean.image.files[index].name
        for offset in 0..<unclean.end {
            // The header is one checksum: a sample of it will do.
            if offset >= 64 && offset < SegmentHeader.bytes - 8 && offset % 61 != 0 { continue }
            var bytes = unclean.image.files[index].bytes
            bytes[offset] ^= UInt8(1) << UInt8(random.next() % 8)
            try writeFile(path, bytes)
            if offset < unclean.tail {
                let error = #expect(throws: JournalError.self, "byte \(offset)") {
                    _ = try recoverSamples(copy.data)
                }
                guard case .damaged(let damage) = error else {
                    Issue.record("byte \(offset): \(String(describing: error))")
                    continue
                }
                #expect(damage.file == path && damage.offset <= UInt64(offset))
                #expect(try readFile(path) == bytes, "damage is left as it is")
            } else {
                try Self.expectCut(copy.data, unclean, "seed \(Self.seed) byte \(offset)")
                try unclean.image.write(to: copy.data)
            }
        }
    }

    /// Many segments, then a clean stop.
    static func clean(_ scratch: Scratch, entries: UInt64) throws -> DirectoryImage {
        let directory = try JournalDirectory(
            path: scratch.data, identity: identity, configuration: smallSegments())
        _ = try directory.beginBoot()
        let lane = try ManualLane(directory)
        while lane.count < entries { try lane.write(97) }
        try lane.file.close()
        try lane.preparer.stop()
        return try DirectoryImage(scratch.data)
    }

    @Test("a flipped bit in a sealed segment is damage, wherever it is")
    func sealedFlips() throws {
        var random = TestRandom(state: Self.seed)
        let scratch = Scratch()
        let image = try Self.clean(scratch, entries: 4_000)
        #expect(try recoverSamples(scratch.data).report.wasClean)
        let copy = Scratch()
        try image.write(to: copy.data)
        let names = try SegmentCatalog(copy.data + "/journal").names
        #expect(names.count >= 3)
        for round in 0..<600 {
            let name = names[Int(random.next() % UInt64(names.count - 1))]
            let bytes = image.files[image.index(name)].bytes
            var damaged = bytes
            let offset =
                round % 3 == 0
                ? bytes.count - 1 - Int(random.next() % 150)
                : Int(random.next() % UInt64(bytes.count))
            damaged[offset] ^= UInt8(1) << UInt8(random.next() % 8)
            let path = copy.data + "/journal/" + name.fileName
            try writeFile(path, damaged)
            #expect(throws: JournalError.self, "seed \(Self.seed) round \(round)") {
                _ = try recoverSamples(copy.data)
            }
            try writeFile(path, bytes)
        }
        #expect(try recoverSamples(copy.data).count >= 4_000)
    }

    @Test("a missing, exchanged or foreign segment is refused")
    func misplacedSegments() throws {
        let scratch = Scratch()
        let image = try Self.clean(scratch, entries: 4_000)
        let copy = Scratch()
        try image.write(to: copy.data)
        let names = try SegmentCatalog(copy.data + "/journal").names
        let journal = copy.data + "/journal/"

        try Directory.remove(journal + names[1].fileName)
        let missing = #expect(throws: JournalError.self) { _ = try recoverSamples(copy.data) }
        #expect(
            missing
                == .damaged(JournalDamage(journal + names[1].fileName, 0, .missingFile)))

        try writeFile(journal + names[1].fileName, image.files[image.index(names[0])].bytes)
        let exchanged = #expect(throws: JournalError.self) { _ = try recoverSamples(copy.data) }
        #expect(
            exchanged == .damaged(JournalDamage(journal + names[1].fileName, 0, .misplaced)))

        try image.write(to: copy.data)
        try Directory.remove(journal + names[0].fileName)
        let beheaded = #expect(throws: JournalError.self) { _ = try recoverSamples(copy.data) }
        guard case .damaged(let damage) = beheaded, case .sequence = damage.reason else {
            Issue.record("\(String(describing: beheaded))")
            return
        }

        try image.write(to: copy.data)
        try Directory.remove(copy.data + "/boot")
        #expect(throws: JournalError.self) { _ = try recoverSamples(copy.data) }
        #expect(
            throws: JournalError.damaged(
                JournalDamage(copy.data + "/boot", 0, .missingFile))
        ) { _ = try recoverSamples(copy.data) }

        try image.write(to: copy.data)
        let stranger = JournalIdentity(cluster: 1, node: 3)
        #expect(
            throws: JournalError.foreign(path: copy.data, expected: stranger, found: identity)
        ) { _ = try JournalDirectory(path: copy.data, identity: stranger) }
    }

    @Test("an intact entry that this release cannot read is refused, not cut")
    func unknownEntries() throws {
        let scratch = Scratch()
        let unclean = try Self.unclean(scratch, mark: true)
        var image = unclean.image
        let index = image.index(Self.first)
        // The first entry of the unsynced batch, made one of a later release.
        let at = unclean.tail + BatchRecord.bytes
        image.files[index].bytes.withUnsafeMutableBytes { bytes in
            let length = Int(UnsafeRawBufferPointer(bytes).get(at + 4, UInt32.self))
            let frame = UnsafeMutableRawBufferPointer(rebasing: bytes[at..<(at + length)])
            frame.put(UInt8(99), at: 8)
            ControlKind.finish(frame)
        }
        let copy = Scratch()
        try image.write(to: copy.data)
        let error = #expect(throws: JournalError.self) { _ = try recoverSamples(copy.data) }
        guard case .damaged(let damage) = error else { return }
        #expect(damage.reason == .undecodable(.unknownKind(99)))
        #expect(damage.offset == UInt64(at))
    }

    @Test("a lane that a later start did not close is refused")
    func unclosedLane() throws {
        let scratch = Scratch()
        let unclean = try Self.unclean(scratch, mark: false)
        let copy = Scratch()
        try unclean.image.write(to: copy.data)
        do {
            // A start that forgot to recover.
            let directory = try JournalDirectory(
                path: copy.data, identity: identity, configuration: smallSegments())
            _ = try ManualLane(directory, boot: try directory.beginBoot())
        }
        let error = #expect(throws: JournalError.self) { _ = try recoverSamples(copy.data) }
        guard case .damaged(let damage) = error else { return }
        #expect(damage.reason == .notClosed)
    }
}
