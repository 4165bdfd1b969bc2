import EdgeMemory
import EdgeTypes
import EdgeWire
import FuzzSupport
import Glibc

@testable import EdgeJournal

// The journal's and the snapshots' readers over files that hold anything.
//
// The first byte chooses: segments built record by record with good checksums and absurd fields;
// a good journal with a few bits wrong; the same for snapshots. Held to be true: the answer is a
// typed error or the truth, never a trap and never an entry that was not written; damage leaves
// the files alone; recovering twice gives the same.

@_cdecl("FuzzJournal_main")
public func main(_ count: CInt, _ arguments: FuzzTarget.Arguments?) -> CInt {
    FuzzTarget.run(count, arguments, seeds: { Seeds.all }) { data, count in
        var input = FuzzInput(data, count)
        switch input.below(4) {
        case 0, 1: Absurd.test(&input)
        case 2: Damaged.test(&input)
        default: Snapshots.test(&input)
        }
        return 0
    }
}

/// What one recovery handed over.
struct Recovered {
    /// The frames' bytes, one after the other.
    var bytes: [UInt8] = []
    var frames = 0
    var report = RecoveryReport()

    init(_ path: String, covered: ShardSequences) throws(JournalError) {
        let directory = try JournalDirectory(
            path: path, identity: Place.identity, configuration: Place.configuration)
        var bytes: [UInt8] = []
        var frames = 0
        report = try directory.recover(covered: covered) { (frame) throws(JournalError) in
            bytes += frame.bytes
            frames += 1
            Recovered.check(frame)
        }
        self.bytes = bytes
        self.frames = frames
    }

    /// A frame decodes to an entry that encodes to what decodes to the same, or is refused.
    private static func check(_ frame: JournalFrame) {
        guard let entry = try? frame.entry() else { return }
        var sink = ByteSink()
        JournalCodec.encode(entry, header: frame.header, into: &sink)
        guard let again = try? JournalFrame.parse(sink.bytes) else {
            fatalError("what was encoded does not parse: \(entry)")
        }
        require(again.header == frame.header, "the header changed")
        require((try? again.entry()) == entry, "the entry changed: \(entry)")
    }
}

/// The working directory, in memory.
enum Place {
    static let identity = JournalIdentity(cluster: 1, node: 2)

    static var configuration: JournalConfiguration {
        var configuration = JournalConfiguration()
        configuration.segmentBytes = 128 << 10
        configuration.zeroFills = false
        return configuration
    }

    static let path: String = {
        var template = Array("/dev/shm/downpour-fuzz-XXXXXX".utf8CString)
        require(mkdtemp(&template) != nil, "mkdtemp: \(errno)")
        let bytes = template.dropLast().map { UInt8(bitPattern: $0) }
        let path = String(decoding: bytes, as: UTF8.self) + "/data"
        attempt("make") { _ = try JournalDirectory(path: path, identity: identity) }
        atexit { Place.remove() }
        return path
    }()

    private static func remove() {
        clear()
        for name in ["/boot", "/lock"] { unlink(path + name) }
        for name in ["/journal", "/snapshots", ""] { rmdir(path + name) }
        rmdir(String(path.dropLast(5)))
    }

    static func directory(_ folder: String) -> Directory {
        Directory(LiveFileSystem.shared, path + folder)
    }

    static func clear() {
        for folder in ["/journal", "/snapshots"] {
            attempt("clear") {
                let directory = Place.directory(folder)
                for name in try directory.list() { try directory.remove(name) }
            }
        }
    }

    static func write(_ name: String, _ bytes: [UInt8]) {
        attempt("write") {
            let file = try File(LiveFileSystem.shared, path + name, O_WRONLY | O_CREAT | O_TRUNC)
            try bytes.withUnsafeBytes { try file.write($0, at: 0) }
        }
    }

    static func read(_ name: String) -> [UInt8] {
        var bytes: [UInt8] = []
        attempt("read") {
            let file = try File(LiveFileSystem.shared, path + name, O_RDONLY)
            let buffer = RawBuffer(capacity: try file.size())
            buffer.count = try file.read(into: buffer.region, at: 0)
            bytes = buffer.array
        }
        return bytes
    }

    /// For what cannot fail on a machine that is well.
    static func attempt(_ what: String, _ body: () throws -> Void) {
        do { try body() } catch { fatalError("\(what): \(error)") }
    }
}
