import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc
import Synchronization
import Testing

@testable import EdgeJournal

/// A directory of its own, gone with the object. In memory unless a real disk is wanted.
final class Scratch {
    let path: String

    init(onDisk: Bool = false) {
        let parent = !onDisk && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        var template = Array("\(parent)/downpour-journal-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("mkdtemp: \(errno)") }
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    deinit { Scratch.remove(path) }

    var data: String { path + "/data" }

    private static func remove(_ path: String) {
        var status = stat()
        if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
            for name in (try? Directory(path).list()) ?? [] { remove(path + "/" + name) }
            rmdir(path)
        } else {
            unlink(path)
        }
    }
}

/// By paths of the real file system, as tests have them.
extension File {
    init(_ path: String, _ flags: Int32) throws(JournalError) {
        try self.init(LiveFileSystem.shared, path, flags)
    }
}

extension Directory {
    init(_ path: String) { self.init(LiveFileSystem.shared, path) }

    static func remove(_ path: String) throws(JournalError) {
        try Directory("/").remove(path)
    }
}

extension SegmentCatalog {
    init(_ path: String) throws(JournalError) { try self.init(Directory(path)) }
}

extension JournalDirectory {
    var journalPath: String { journal.path }
}

func readFile(_ path: String) throws -> [UInt8] {
    let file = try File(path, O_RDONLY)
    var bytes = [UInt8](repeating: 0, count: try file.size())
    let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
    #expect(count == bytes.count)
    return bytes
}

func writeFile(_ path: String, _ bytes: [UInt8]) throws {
    let file = try File(path, O_WRONLY | O_CREAT | O_TRUNC)
    try bytes.withUnsafeBytes { try file.write($0, at: 0) }
}

/// A copy of a data directory, held in memory, to be damaged and written out again and again.
struct DirectoryImage {
    var files: [(name: String, bytes: [UInt8])] = []

    init(_ path: String) throws {
        for folder in ["", "journal/", "snapshots/"] {
            for name in try Directory(path + "/" + folder).list() {
                var status = stat()
                stat(path + "/" + folder + name, &status)
                guard status.st_mode & S_IFMT == S_IFREG else { continue }
                files.append((folder + name, try readFile(path + "/" + folder + name)))
            }
        }
    }

    func write(to path: String) throws {
        for folder in ["", "/journal", "/snapshots"] {
            try Directory(path + folder).make()
            for name in try Directory(path + folder).list() where name.contains(".") {
                try Directory.remove(path + folder + "/" + name)
            }
        }
        for file in files { try writeFile(path + "/" + file.name, file.bytes) }
    }

    func index(_ name: SegmentName) -> Int {
        files.firstIndex { $0.name == "journal/" + name.fileName }!
    }
}

let identity = JournalIdentity(cluster: 1, node: 2)

func smallSegments(_ bytes: Int = 128 << 10) -> JournalConfiguration {
    var configuration = JournalConfiguration()
    configuration.segmentBytes = bytes
    configuration.zeroFills = false
    return configuration
}

/// The n-th entry (from 0) of all tests: round the shards, contents made from n.
enum Sample {
    static let shards: UInt64 = 5

    static func entry(_ number: UInt64) -> (EntryHeader, Entry) {
        let header = EntryHeader(
            shard: ShardID(number % shards), epoch: 1, sequence: number / shards + 1,
            timeMs: Int64(number))
        let hash = Hash64.mix(number, 7)
        let order = OrderID(shard: header.shard, number: number)
        let pool = PoolKey(rawValue: hash)
        let entry: Entry =
            switch number % 7 {
            case 0: .orderExpired(order)
            case 1:
                .orderPaid(
                    OrderPaid(
                        order: order, payment: Text64("pay-\(hash)"), amountFen: 7, late: true))
            case 2:
                .poolLeased(
                    Transfer(
                        pool: pool, slice: 1, number: 2, final: false,
                        ranges: [UnitRange(start: 0, count: Int64(hash % 100))]))
            default:
                .claim(
                    Claim(
                        pool: pool, slice: 3, user: number, packet: Int64(hash % 1_000),
                        amountFen: 11, requestHash: number % 2))
            }
        return (header, entry)
    }

    static func append(_ numbers: Range<UInt64>, to sink: inout ByteSink) {
        for number in numbers {
            let (header, entry) = entry(number)
            JournalCodec.encode(entry, header: header, into: &sink)
        }
    }
}

/// Collects what a reader hands over, and checks that it is exactly what was written.
struct Collected {
    var count: UInt64 = 0
    var wrong = 0

    mutating func take(_ frame: JournalFrame) {
        let (header, entry) = Sample.entry(count)
        if frame.header != header || (try? frame.entry()) != entry { wrong += 1 }
        count += 1
    }
}

/// Recovers a directory whose entries are the samples, in order.
func recoverSamples(_ path: String, configuration: JournalConfiguration = smallSegments()) throws
    -> (count: UInt64, report: RecoveryReport)
{
    let directory = try JournalDirectory(
        path: path, identity: identity, configuration: configuration)
    var collected = Collected()
    let report = try directory.recover { (frame) throws(JournalError) in collected.take(frame) }
    #expect(collected.wrong == 0)
    return (collected.count, report)
}

/// A lane written step by step, without threads: for exact contents.
final class ManualLane {
    let directory: JournalDirectory
    let file: LaneFile
    let preparer: SegmentPreparer
    var count: UInt64 = 0
    /// Entries that a sync has made durable.
    var durable: UInt64 = 0

    init(_ directory: JournalDirectory, boot: UInt32 = 1) throws {
        self.directory = directory
        preparer = SegmentPreparer(
            directory: directory, lane: JournalLane(boot: boot, core: 0), cores: 1)
        file = LaneFile(
            segment: try preparer.start(), configuration: directory.configuration,
            resuming: ShardSequences())
    }

    func write(_ entries: UInt64, sync: Bool = true) throws {
        let box = SinkBox()
        Sample.append(count..<(count + entries), to: &box.sink)
        var source = LaneFile.Source([box])
        while try !file.append(&source) {
            try file.sync()
            let next = try preparer.take { false }
            let sealed = try file.rotate(to: next!)
            preparer.trim(sealed.name, to: sealed.size)
        }
        count += entries
        if sync {
            try file.sync()
            durable = count
        }
    }
}

/// Lets a test wait for commits.
final class CommitGate: Sendable {
    private let monitor = Monitor()
    private let position = Atomic<UInt64>(0)

    func commit(_ position: UInt64) {
        monitor.withLock {
            self.position.store(position, ordering: .releasing)
            monitor.signal()
        }
    }

    func wait(for wanted: UInt64) {
        monitor.lock()
        while position.load(ordering: .acquiring) < wanted { monitor.wait() }
        monitor.unlock()
    }
}

/// Waits until something holds that nobody announces.
func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<20_000 {
        if condition() { return true }
        usleep(1_000)
    }
    return condition()
}

/// Seeded randomness (splitmix64).
struct TestRandom: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        return Hash64.keyed(state, salt: 1)
    }
}
