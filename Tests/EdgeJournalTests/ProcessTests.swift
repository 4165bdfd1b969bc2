import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc
import Testing

@testable import EdgeJournal

/// A child process, with pipes to its standard input and from its standard output.
final class Child {
    let pid: pid_t
    private let input: Int32
    private let output: Int32
    private var isReaped = false

    static var helper: String {
        var path = [CChar](repeating: 0, count: 4_096)
        let count = readlink("/proc/self/exe", &path, 4_095)
        let own = String(decoding: path[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return own.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/JournalChild"
    }

    init(_ arguments: [String]) {
        var toChild: [Int32] = [0, 0]
        var fromChild: [Int32] = [0, 0]
        precondition(pipe(&toChild) == 0 && pipe(&fromChild) == 0)
        for end in toChild + fromChild { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, toChild[0], 0)
        posix_spawn_file_actions_adddup2(&actions, fromChild[1], 1)
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var pid: pid_t = 0
        let code = posix_spawn(&pid, arguments[0], &actions, nil, &argv, environ)
        precondition(code == 0, "cannot start \(arguments[0]): \(code)")
        for argument in argv { free(argument) }
        posix_spawn_file_actions_destroy(&actions)
        close(toChild[0])
        close(fromChild[1])
        self.pid = pid
        input = toChild[1]
        output = fromChild[0]
    }

    deinit {
        end(signal: SIGKILL)
        close(input)
        close(output)
    }

    /// Bytes that the child wrote; empty at the end.
    func read(_ count: Int = 65_536) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = Glibc.read(output, &bytes, count)
        return Array(bytes[..<max(0, got)])
    }

    func end(signal: Int32) {
        guard !isReaped else { return }
        kill(pid, signal)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        isReaped = true
    }

    /// Runs a program to its end. Returns its exit code.
    static func run(_ arguments: [String]) -> Int32 {
        let child = Child(arguments)
        var status: Int32 = 0
        waitpid(child.pid, &status, 0)
        child.isReaped = true
        return (status >> 8) & 0xff
    }
}

@Suite("Other processes and disks", .serialized)
struct ProcessTests {
    @Test("whatever was acknowledged before kill -9 is there after it, and nothing else")
    func killed() throws {
        let scratch = Scratch(onDisk: true)
        var random = TestRandom(state: DamageTests.seed)
        var acknowledged: UInt64 = 0
        var seen: UInt64 = 0
        for round in 0..<24 {
            let child = Child([Child.helper, "write", scratch.data, "7"])
            var stream: [UInt8] = []
            // Killed after so many reports, at whatever it does then.
            let reports = Int(random.next() % 20)
            while stream.count < 8 * reports {
                let bytes = child.read()
                #expect(!bytes.isEmpty, "the child ended by itself")
                if bytes.isEmpty { return }
                stream += bytes
            }
            usleep(UInt32(random.next() % 3_000))
            child.end(signal: SIGKILL)
            while true {
                let bytes = child.read()
                if bytes.isEmpty { break }
                stream += bytes
            }
            stream.withUnsafeBytes { bytes in
                let whole = bytes.count / 8
                if whole > 0 { acknowledged = bytes.get(8 * (whole - 1)) }
            }
            let found = try Self.recoverChild(scratch.data, cleanUp: round % 2 == 0)
            #expect(found >= acknowledged, "seed \(DamageTests.seed) round \(round)")
            #expect(found >= seen, "what one recovery has shown, the next shows too")
            seen = found
        }
        #expect(acknowledged > 1_000)
    }

    /// Replays what the child wrote and checks every entry. The entry n that it wrote n-th is
    /// sequence n / 7 + 1 of shard n % 7; a torn tail may end anywhere.
    static func recoverChild(_ path: String, cleanUp: Bool) throws -> UInt64 {
        var configuration = JournalConfiguration()
        configuration.segmentBytes = 1 << 20
        let directory = try JournalDirectory(
            path: path, identity: identity, configuration: configuration)
        var count: UInt64 = 0
        var wrong = 0
        let report = try directory.recover { (frame) throws(JournalError) in
            let claim = Claim(
                pool: PoolKey(rawValue: Hash64.mix(count, 7)), slice: 1, user: count,
                packet: Int64(count & 0xffff_ffff), amountFen: 5, requestHash: 0)
            let header = EntryHeader(
                shard: ShardID(count % 7), epoch: 1, sequence: count / 7 + 1,
                timeMs: Int64(count))
            if frame.header != header || frame.claim != claim { wrong += 1 }
            count += 1
        }
        #expect(wrong == 0 && report.entries == count)
        if cleanUp { _ = try directory.compressSegments(sealedBeforeMs: .max, limit: 2) }
        return count
    }

    @Test("two processes never share a data directory")
    func locked() throws {
        let scratch = Scratch()
        let child = Child([Child.helper, "hold", scratch.data])
        #expect(child.read(1) == [1])
        let error = #expect(throws: JournalError.self) {
            _ = try JournalDirectory(path: scratch.data, identity: identity)
        }
        #expect(
            error == .locked(path: scratch.data + "/lock", holder: "process \(child.pid)"))
        child.end(signal: SIGKILL)
        _ = try JournalDirectory(path: scratch.data, identity: identity)
    }

    @Test("paths that cannot be a data directory are told apart")
    func badPaths() throws {
        let scratch = Scratch()
        try writeFile(scratch.path + "/file", [1])
        #expect(throws: JournalError.notADirectory(path: scratch.path + "/file")) {
            _ = try JournalDirectory(path: scratch.path + "/file", identity: identity)
        }
        #expect(throws: JournalError.notADirectory(path: scratch.path + "/file/data")) {
            _ = try JournalDirectory(path: scratch.path + "/file/data", identity: identity)
        }
        let missing = scratch.path + "/no/data"
        #expect(
            throws: JournalError.system(operation: "mkdir", path: missing, errno: ENOENT)
        ) { _ = try JournalDirectory(path: missing, identity: identity) }
    }

    /// Runs `body` on a file system of its own, where the machine lets us mount one.
    static func onMount(_ options: String, _ body: (String) throws -> Void) throws {
        let scratch = Scratch()
        try Directory(scratch.data).make()
        let mount = ["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", scratch.data]
        guard geteuid() == 0, Child.run(mount) == 0 else {
            print("SKIPPED: this needs the right to mount a tmpfs (root)")
            return
        }
        defer { _ = Child.run(["/bin/umount", "-l", scratch.data]) }
        try body(scratch.data)
    }

    @Test("a read-only file system is refused with its name")
    func readOnly() throws {
        try Self.onMount("size=4m") { path in
            do { _ = try JournalDirectory(path: path, identity: identity) }
            #expect(Child.run(["/bin/mount", "-o", "remount,ro", path]) == 0)
            #expect(throws: JournalError.readOnly(path: path + "/lock")) {
                _ = try JournalDirectory(path: path, identity: identity)
            }
        }
    }

    @Test("a full disk is told before room runs out, loses nothing, and recovers by itself")
    func fullDisk() throws {
        try Self.onMount("size=2m") { path in
            var count: UInt64 = 0
            do {
                var configuration = smallSegments(256 << 10)
                configuration.retryMs = 5
                let directory = try JournalDirectory(
                    path: path, identity: identity, configuration: configuration)
                let gate = CommitGate()
                let writer = try WriterTests.writer(directory, gate)
                #expect(writer.space == .free)
                // Somebody else fills the disk.
                let filler = path + "/filler"
                try Self.fillUp(filler)
                var sink = ByteSink()
                var afterFull = 0
                while writer.space != .exhausted {
                    Sample.append(count..<(count + 50), to: &sink)
                    count += 50
                    let position = writer.submit(&sink, needsSync: true)
                    while writer.committedPosition < position && writer.space != .exhausted {
                        sched_yield()
                    }
                    if writer.isFull && writer.committedPosition == position { afterFull += 1 }
                    // The spare is tried for behind our back: give that its time.
                    if afterFull == 0 { usleep(200) }
                }
                // From the announcement on, there was room for one more segment's worth.
                #expect(afterFull > 20)
                let stuck = writer.committedPosition
                #expect(stuck < writer.submittedPosition && writer.backlogBytes > 0)
                try Directory.remove(filler)
                gate.wait(for: writer.submittedPosition)
                #expect(eventually { writer.space == .free })
                #expect(writer.backlogBytes == 0)
                try Self.fillUp(filler)
                #expect(writer.stop(), "a clean stop needs no room")
            }
            // On the full disk: recovery works, and the start tells whether it has room.
            var configuration = smallSegments(256 << 10)
            configuration.retryMs = 5
            let (found, report) = try recoverSamples(path, configuration: configuration)
            #expect(found == count && report.wasClean)
            let directory = try JournalDirectory(
                path: path, identity: identity, configuration: configuration)
            try Self.fillUp(path + "/filler2")
            #expect(throws: JournalError.self) {
                _ = try directory.makeWriter(
                    boot: 9, core: 0, cores: 1, resuming: ShardSequences(), onCommit: { _ in })
            }
        }
    }

    static func fillUp(_ path: String) throws {
        let file = try File(path, O_WRONLY | O_CREAT)
        let page = [UInt8](repeating: 7, count: 4_096)
        var offset = try file.size()
        while true {
            do {
                try page.withUnsafeBytes { try file.write($0, at: offset) }
            } catch JournalError.noSpace { return }
            offset += page.count
        }
    }

    @Test("a stop on an exhausted disk ends, and only what was not committed is missing")
    func stopExhausted() throws {
        try Self.onMount("size=1m") { path in
            var durable: UInt64 = 0
            let configuration = smallSegments(256 << 10)
            do {
                let directory = try JournalDirectory(
                    path: path, identity: identity, configuration: configuration)
                let gate = CommitGate()
                let writer = try WriterTests.writer(directory, gate)
                try Self.fillUp(path + "/filler")
                var sink = ByteSink()
                var count: UInt64 = 0
                while writer.space != .exhausted {
                    Sample.append(count..<(count + 50), to: &sink)
                    count += 50
                    let position = writer.submit(&sink, needsSync: true)
                    while writer.committedPosition < position && writer.space != .exhausted {
                        sched_yield()
                    }
                    if writer.committedPosition >= position { durable = count }
                }
                #expect(!writer.stop())
            }
            let (found, report) = try recoverSamples(path, configuration: configuration)
            #expect(found >= durable && !report.wasClean)
        }
    }
}
