import EdgeJournal
import Glibc
import Simulator
import Testing

/// Calls as a test writes them.
extension VirtualDisk {
    func opened(_ path: String, _ flags: Int32 = O_RDWR | O_CREAT) -> Int32 {
        let descriptor = open(path, flags, mode: 0o640)
        #expect(descriptor >= 0, "\(path): errno \(-descriptor)")
        return descriptor
    }

    @discardableResult
    func put(_ descriptor: Int32, _ text: [UInt8], at offset: Int) -> Int {
        var text = text
        return text.withUnsafeMutableBytes { bytes in
            let half = bytes.count / 2
            let slices = [
                iovec(iov_base: bytes.baseAddress, iov_len: half),
                iovec(iov_base: bytes.baseAddress! + half, iov_len: bytes.count - half),
            ]
            return slices.withUnsafeBufferPointer { write(descriptor, $0, at: offset) }
        }
    }

    func get(_ descriptor: Int32, _ count: Int, at offset: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        let got = bytes.withUnsafeMutableBytes { read(descriptor, into: $0, at: offset) }
        return Array(bytes[..<max(0, got)])
    }

    func names(_ path: String) -> [String] {
        var names: [String] = []
        #expect(list(path, into: &names) == 0)
        return names
    }

    /// Makes the names in a folder durable.
    func syncFolder(_ path: String) {
        let descriptor = opened(path, O_RDONLY | O_DIRECTORY)
        #expect(sync(descriptor) == 0)
        close(descriptor)
    }
}

@Suite("Virtual disk")
struct VirtualDiskTests {
    static let seed = UInt64.random(in: 0 ... .max)

    static func bytes(_ value: UInt8, _ count: Int) -> [UInt8] {
        [UInt8](repeating: value, count: count)
    }

    @Test("bytes read are the bytes written, and reserved space reads as zeros")
    func contents() {
        let disk = VirtualDisk(number: 1)
        let file = disk.opened("/a")
        #expect(disk.allocate(file, size: 10_000) == 0)
        #expect(disk.size(file) == 10_000 && disk.usedBytes == 12_288)
        #expect(disk.put(file, Self.bytes(1, 100), at: 50) == 100)
        #expect(disk.put(file, Self.bytes(2, 100), at: 100) == 100)
        #expect(
            disk.get(file, 300, at: 0)
                == Self.bytes(0, 50) + Self.bytes(1, 50) + Self.bytes(2, 100)
                + Self.bytes(0, 100))
        #expect(disk.get(file, 100, at: 9_950).count == 50)
        #expect(disk.contents("/a")?.count == 200, "zeros that nobody wrote take no memory")
        #expect(disk.truncate(file, to: 120) == 0)
        #expect(disk.put(file, [3], at: 140) == 1 && disk.size(file) == 141)
        #expect(disk.get(file, 141, at: 118) == [2, 2] + Self.bytes(0, 20) + [3])
        #expect(disk.usedBytes == 4_096)
    }

    @Test("paths lead where they should, and errors are those of the system")
    func paths() {
        let disk = VirtualDisk(number: 1)
        #expect(disk.makeDirectory("/data", mode: 0) == 0)
        #expect(disk.makeDirectory("/data", mode: 0) == -EEXIST)
        #expect(disk.makeDirectory("/no/data", mode: 0) == -ENOENT)
        disk.close(disk.opened("/data/file"))
        #expect(disk.makeDirectory("/data/file/x", mode: 0) == -ENOTDIR)
        #expect(disk.open("/data/none", O_RDONLY, mode: 0) == -ENOENT)
        #expect(disk.open("/data", O_RDWR, mode: 0) == -EISDIR)
        #expect(disk.open("/data/file", O_RDONLY | O_DIRECTORY, mode: 0) == -ENOTDIR)
        #expect(disk.names("/data/..") == ["data"] && disk.names("/") == ["data"])
        #expect(disk.status("/data/../data")?.isDirectory == true)
        disk.close(disk.opened("/data/b"))
        #expect(disk.rename("/data/file", to: "/data/b") == 0)
        #expect(disk.names("/data") == ["b"])
        #expect(disk.remove("/data/file") == -ENOENT && disk.remove("/data/b") == 0)
        let reader = disk.opened("/data/c")
        disk.close(reader)
        #expect(disk.sync(reader) == -EBADF, "a closed descriptor stays closed")
        let first = disk.opened("/data/c", O_RDONLY)
        let second = disk.opened("/data/c", O_RDONLY)
        #expect(disk.put(first, [1, 2], at: 0) == -Int(EBADF))
        #expect(disk.lock(first) == 0 && disk.lock(second) == -EWOULDBLOCK)
        disk.processCrash()
        #expect(disk.lock(disk.opened("/data/c", O_RDONLY)) == 0)
    }

    @Test("what was synced survives any crash; the rest is kept, lost or torn, all of which happen")
    func crashes() {
        print("seed \(Self.seed)")
        var kept = 0
        var lost = 0
        var torn = 0
        for round in 0..<300 as Range<UInt64> {
            let disk = VirtualDisk(number: 1)
            let file = disk.opened("/a")
            #expect(disk.allocate(file, size: 8_192) == 0)
            disk.put(file, Self.bytes(1, 2_048), at: 0)
            #expect(disk.syncData(file) == 0 && disk.isDurable("/a"))
            disk.syncFolder("/")
            disk.put(file, Self.bytes(2, 2_048), at: 1_024)
            disk.put(file, Self.bytes(3, 100), at: 4_000)
            #expect(!disk.isDurable("/a"))
            disk.crash(RandomSource(seed: Self.seed), round)
            let back = disk.opened("/a", O_RDONLY)
            let found = disk.get(back, 8_192, at: 0)
            #expect(found.count == 8_192, "the reservation was synced")
            #expect(Array(found[..<1_024]) == Self.bytes(1, 1_024))
            var sectors: Set<UInt8> = []
            for sector in stride(from: 1_024, to: 3_072, by: 512) {
                let value = found[sector]
                #expect(value == 2 || value == (sector < 2_048 ? 1 : 0))
                #expect(Array(found[sector..<(sector + 512)]) == Self.bytes(value, 512))
                sectors.insert(value == 2 ? 2 : 0)
            }
            if sectors == [2] { kept += 1 } else if sectors == [0] { lost += 1 } else { torn += 1 }
            #expect(disk.size(file) == -Int(EBADF), "descriptors go with the process")
        }
        #expect(kept > 50 && lost > 50 && torn > 15, "seed \(Self.seed): \(kept) \(lost) \(torn)")
    }

    @Test("a sector is written as a whole: it never has a later change without an earlier one")
    func sectors() {
        for round in 0..<200 as Range<UInt64> {
            let disk = VirtualDisk(number: 1)
            let file = disk.opened("/a")
            disk.put(file, Self.bytes(1, 512), at: 0)
            #expect(disk.sync(file) == 0)
            disk.syncFolder("/")
            disk.put(file, Self.bytes(2, 100), at: 0)
            disk.put(file, Self.bytes(3, 100), at: 200)
            disk.crash(RandomSource(seed: Self.seed), round)
            let found = disk.contents("/a") ?? []
            #expect(found.count == 512)
            if found[200] == 3 { #expect(found[0] == 2, "seed \(Self.seed) round \(round)") }
        }
    }

    @Test("overwrites, cuts and growth go back to exactly what was synced")
    func rollBack() {
        var unchanged = 0
        for round in 0..<400 as Range<UInt64> {
            let random = RandomSource(seed: Self.seed &+ round)
            let disk = VirtualDisk(number: 1)
            let file = disk.opened("/a")
            disk.put(file, (0..<3_000).map { UInt8(truncatingIfNeeded: $0 / 7) }, at: 0)
            #expect(disk.sync(file) == 0)
            disk.syncFolder("/")
            let before = disk.digest()
            for step in 0..<12 as Range<UInt64> {
                let place = Int(random.below(5_000, .plan, 1, step))
                if random.below(3, .plan, 2, step) == 0 {
                    #expect(disk.truncate(file, to: place) == 0)
                } else {
                    disk.put(
                        file, Self.bytes(UInt8(step), 1 + place / 3), at: (place * 7) % 4_000)
                }
            }
            #expect(disk.digest() != before)
            disk.crash(random, 0)
            if disk.digest() == before { unchanged += 1 }
            #expect(disk.isDurable("/a"))
            let after = disk.digest()
            disk.crash(random, 1)
            #expect(disk.digest() == after, "what a crash has left is durable")
        }
        // One crash of nine loses all there is to lose.
        #expect(unchanged > 15, "seed \(Self.seed): \(unchanged)")
    }

    @Test("a name is durable with its directory's sync, and a rename is one step")
    func names() {
        var seen: Set<[String]> = []
        for round in 0..<300 as Range<UInt64> {
            let disk = VirtualDisk(number: 1)
            #expect(disk.makeDirectory("/d", mode: 0) == 0)
            let old = disk.opened("/d/boot")
            disk.put(old, [1, 1], at: 0)
            #expect(disk.sync(old) == 0)
            disk.syncFolder("/d")
            disk.syncFolder("/")
            let new = disk.opened("/d/boot.tmp")
            disk.put(new, [2, 2], at: 0)
            #expect(disk.sync(new) == 0)
            #expect(disk.rename("/d/boot.tmp", to: "/d/boot") == 0)
            disk.close(disk.opened("/d/other"))
            disk.crash(RandomSource(seed: Self.seed), round)
            let names = disk.names("/d")
            seen.insert(names)
            let content = disk.contents("/d/boot") ?? []
            #expect(content == [1, 1] || content == [2, 2])
            if content == [2, 2] { #expect(!names.contains("boot.tmp")) }
            #expect(disk.usedBytes == names.filter { $0 != "other" }.count * 4_096)
        }
        #expect(seen.count == 4, "seed \(Self.seed): \(seen)")
    }

    @Test("the same seed and counter give the same loss, another disk's is another")
    func repeatable() {
        func run(_ number: UInt64, _ counter: UInt64) -> UInt64 {
            let disk = VirtualDisk(number: number)
            let file = disk.opened("/a")
            disk.syncFolder("/")
            for index in 0..<64 {
                disk.put(file, Self.bytes(UInt8(index + 1), 1_500), at: index * 700)
            }
            disk.crash(RandomSource(seed: 5), counter)
            return disk.digest()
        }
        let runs = (0..<20 as Range<UInt64>).map { run(1, $0) }
        #expect(runs == (0..<20 as Range<UInt64>).map { run(1, $0) })
        #expect(Set(runs).count > 12)
        #expect(runs != (0..<20 as Range<UInt64>).map { run(2, $0) })
    }

    @Test("a killed process loses nothing")
    func processCrash() {
        let disk = VirtualDisk(number: 1)
        let file = disk.opened("/a")
        disk.put(file, Self.bytes(7, 1_000), at: 10)
        disk.faults.callsLeft = 1
        #expect(disk.put(file, [1, 2], at: 0) == 2)
        #expect(disk.put(file, [9, 9], at: 0) == -Int(EIO))
        #expect(disk.remove("/a") == -EIO && disk.status("/a") == nil)
        let before = disk.digest()
        disk.processCrash()
        #expect(disk.digest() == before)
        let back = disk.opened("/a", O_RDONLY)
        #expect(disk.get(back, 12, at: 0) == [1, 2] + Self.bytes(0, 8) + [7, 7])
    }

    @Test("a failed sync makes nothing durable, and neither does the next that succeeds")
    func failedSync() {
        var lost = 0
        for round in 0..<100 as Range<UInt64> {
            let disk = VirtualDisk(number: 1)
            let file = disk.opened("/a")
            disk.syncFolder("/")
            disk.put(file, Self.bytes(1, 512), at: 0)
            disk.faults.failsSync = true
            #expect(disk.syncData(file) == -EIO)
            disk.faults.failsSync = false
            disk.put(file, Self.bytes(2, 512), at: 512)
            #expect(disk.syncData(file) == 0)
            disk.crash(RandomSource(seed: Self.seed), round)
            let found = disk.contents("/a") ?? []
            #expect(Array(found[512...]) == Self.bytes(2, 512), "the later write was synced")
            if found[0] == 0 { lost += 1 }
        }
        #expect(lost > 20, "seed \(Self.seed): \(lost)")
    }

    @Test("a full disk refuses what grows, and removal makes room")
    func space() {
        let disk = VirtualDisk(number: 1)
        disk.faults.spaceBytes = 16_384
        let file = disk.opened("/a")
        #expect(disk.allocate(file, size: 12_000) == 0)
        let other = disk.opened("/b")
        #expect(disk.allocate(other, size: 8_192) == -ENOSPC)
        #expect(disk.put(other, Self.bytes(1, 4_097), at: 0) == -Int(ENOSPC))
        #expect(disk.put(other, Self.bytes(1, 4_096), at: 0) == 4_096)
        #expect(disk.put(file, Self.bytes(1, 100), at: 11_000) == 100, "reserved space is there")
        #expect(disk.remove("/a") == 0)
        #expect(disk.usedBytes == 16_384, "it is still open")
        disk.close(file)
        #expect(disk.usedBytes == 4_096 && disk.allocate(other, size: 16_384) == 0)
    }

    @Test("a read-only disk changes nothing")
    func readOnly() {
        let disk = VirtualDisk(number: 1)
        let file = disk.opened("/a")
        disk.put(file, [1, 2], at: 0)
        disk.faults.isReadOnly = true
        let before = disk.digest()
        #expect(disk.put(file, [3, 3], at: 0) == -Int(EROFS))
        #expect(disk.open("/b", O_RDWR | O_CREAT, mode: 0) == -EROFS)
        #expect(disk.remove("/a") == -EROFS && disk.truncate(file, to: 0) == -EROFS)
        #expect(disk.get(disk.opened("/a", O_RDONLY), 2, at: 0) == [1, 2])
        #expect(disk.digest() == before)
    }

    @Test("rot flips one bit of what is durable, and one write goes astray where that is asked for")
    func damage() {
        let disk = VirtualDisk(number: 1)
        let file = disk.opened("/a")
        #expect(disk.rot("/a", RandomSource(seed: 1), 0) == nil)
        disk.put(file, Self.bytes(0, 4_000), at: 0)
        #expect(disk.sync(file) == 0)
        for round in 0..<50 as Range<UInt64> {
            let before = disk.contents("/a") ?? []
            let offset = disk.rot("/a", RandomSource(seed: Self.seed), round)
            let after = disk.contents("/a") ?? []
            let changed = zip(before, after).enumerated().filter { $1.0 != $1.1 }
            #expect(changed.map(\.offset) == [offset])
            #expect(changed.allSatisfy { ($1.0 ^ $1.1).nonzeroBitCount == 1 })
        }
        let copy = disk.contents("/a") ?? []
        disk.faults.misdirectsBy = 512
        #expect(disk.put(file, Self.bytes(9, 100), at: 1_000) == 100)
        #expect(disk.faults.misdirectsBy == nil)
        let after = disk.contents("/a") ?? []
        #expect(after[1_000] == copy[1_000] && after[1_512] == 9 && after[1_611] == 9)
        #expect(disk.counts.writes == 2 && disk.counts.bytesWritten == 4_100)
        #expect(disk.counts.bytesSynced == 4_000)
    }
}
