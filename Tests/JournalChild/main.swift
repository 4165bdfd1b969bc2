// What the journal's tests start and kill.
//
//     JournalChild write DIR SHARDS   appends as fast as it can; on standard output, after each
//                                     commit, the number of entries acknowledged (8 bytes)
//     JournalChild hold DIR           takes the lock, says so, and waits for the end of its input
import EdgeJournal
import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc

func fail(_ text: String) -> Never {
    _ = text.withCString { write(2, $0, strlen($0)) }
    exit(1)
}

func append(_ path: String, shards: Int) throws(JournalError) {
    var configuration = JournalConfiguration()
    configuration.segmentBytes = 1 << 20
    let directory = try JournalDirectory(
        path: path, identity: JournalIdentity(cluster: 1, node: 2), configuration: configuration)
    let report = try directory.recover { (_) throws(JournalError) in }
    var total: UInt64 = 0
    for shard in 0..<shards { total += report.sequences[ShardID(shard)] }
    let before = total
    let boot = try directory.beginBoot()
    let writer = try directory.makeWriter(
        boot: boot, core: 0, cores: 1, resuming: report.sequences,
        onCommit: { position in
            var count = (before + position / UInt64(JournalCodec.claimOnceBytes)).littleEndian
            guard write(1, &count, 8) == 8 else { fail("nobody listens") }
        })
    var sink = ByteSink()
    var batch = 1
    while true {
        for _ in 0..<batch {
            // Entries go round the shards: entry n is sequence n / shards + 1 of shard n % shards.
            let header = EntryHeader(
                shard: ShardID(total % UInt64(shards)), epoch: 1,
                sequence: total / UInt64(shards) + 1, timeMs: Int64(total))
            let claim = Claim(
                pool: PoolKey(rawValue: Hash64.mix(total, 7)), slice: 1, user: total,
                packet: Int64(total & 0xffff_ffff), amountFen: 5, requestHash: 0)
            JournalCodec.encode(claim, header: header, into: &sink)
            total += 1
        }
        writer.submit(&sink, needsSync: true)
        batch = Int(Hash64.mix(total, 99) % 300) + 1
        while writer.backlogBytes > 16 << 10 { sched_yield() }
    }
}

let arguments = CommandLine.arguments
guard arguments.count >= 3 else { fail("usage: JournalChild write|hold DIR [SHARDS]") }
do throws(JournalError) {
    if arguments[1] == "write", arguments.count == 4, let shards = Int(arguments[3]) {
        try append(arguments[2], shards: shards)
    } else {
        let directory = try JournalDirectory(
            path: arguments[2], identity: JournalIdentity(cluster: 1, node: 2))
        var byte: UInt8 = 1
        _ = write(1, &byte, 1)
        while read(0, &byte, 1) > 0 {}
        withExtendedLifetime(directory) {}
    }
} catch {
    fail("\(error)\n")
}
