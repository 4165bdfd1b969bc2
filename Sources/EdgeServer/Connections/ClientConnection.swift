import EdgeMemory
import EdgeTypes
import NIOCore

/// One client's connection: the order of its answers, and its output.
///
/// Requests are numbered in the order of their arrival. Answers leave in that order whatever the
/// order they come in: the next one due goes straight to the output, others wait in a ring.
/// Output that has to wait for the journal is marked with the position it waits for.
class ClientConnection {
    /// A cycle until the connection closes: a weak or unowned reference costs at every use.
    final let loop: ServerLoop
    final var slot: UInt32 = 0
    final var generation: UInt16 = 0
    final let id: UInt64
    final var context: ChannelHandlerContext?

    /// The number of the next request, and of the next answer.
    final var nextIn: UInt32 = 0
    final var nextOut: UInt32 = 0
    /// Answers that came before their turn, by number modulo the ring's size (a power of two).
    private final var ring: [Parked] = []
    private final var parked = 0

    private final var out = ByteBuffer()
    /// Bytes at the front of `out` that may leave.
    private final var releasable = 0
    private final var marks: [Mark] = []
    private final var isDirty = false
    private final var isWaiting = false
    final var isWritable = true
    private final var blockedSinceMs: Int64 = 0

    final var pauses: Pauses = []
    private final var isResumable = false
    /// Nothing more is decoded; it closes after the last answer.
    final var isFinishing = false
    private final var lingerUntilMs: Int64 = 0
    final var lastRequestMs: Int64
    /// When the first byte of a request came whose end has not; 0: none has begun.
    final var partialSinceMs: Int64 = 0
    final var bucket: TokenBucket

    private struct Mark {
        var end: Int
        var needs: Release
    }

    private enum Parked {
        case nothing
        case reply(Reply, Value?, needs: Release)
        case bytes([UInt8])
    }

    /// Why nothing is read from the socket.
    struct Pauses: OptionSet {
        let rawValue: UInt8
        /// As many requests wait as may.
        static let depth = Pauses(rawValue: 1)
        /// A command that must be alone waits for those before it.
        static let barrier = Pauses(rawValue: 2)
        /// The client does not read its answers.
        static let output = Pauses(rawValue: 4)
        /// The journal has too much to write.
        static let backlog = Pauses(rawValue: 8)
        static let decoding: Pauses = [.depth, .barrier, .output]
    }

    init(loop: ServerLoop, rate: RateLimit) {
        self.loop = loop
        id = loop.shared.makeConnectionID()
        lastRequestMs = loop.nowMs
        bucket = TokenBucket(rate, nowMs: loop.nowMs)
    }

    @inline(__always) final var outstanding: UInt32 { nextIn &- nextOut }

    @inline(__always) final var ticket: Ticket {
        Ticket(core: loop.index, generation: generation, connection: slot, position: nextIn)
    }

    // MARK: what each protocol does

    /// Writes an answer, whose turn it is.
    func encode(_ reply: Reply, body: Value?, to sink: inout ByteSink) {
        preconditionFailure("no protocol")
    }

    /// Decodes what has been read and not decoded. Nothing pauses decoding when it is called.
    func decodeMore() {}

    /// Finishes as soon as it can: now where it is idle.
    func finishAnswers() {}

    func sweepProtocol(nowMs: Int64) {}

    // MARK: answers

    /// Hands over the answer to one of this connection's requests.
    @inline(__always)
    final func deliver(_ reply: Reply, body: Value?, needs: Release) {
        let offset = reply.ticket.position &- nextOut
        if offset == 0 {
            loop.openRun(self, needs: needs)
            encode(reply, body: body, to: &loop.sink)
            answered()
            if parked > 0 { unpark() }
        } else if offset < outstanding {
            park(.reply(reply, body, needs: needs), at: reply.ticket.position)
        }
    }

    @inline(__always)
    private final func answered() {
        nextOut &+= 1
        if !pauses.isEmpty { mayResume() }
    }

    /// Answers the request that was just read without asking the core.
    final func answer(_ write: (inout ByteSink) -> Void) {
        let position = nextIn
        nextIn &+= 1
        if position == nextOut {
            loop.openRun(self, needs: .now)
            write(&loop.sink)
            answered()
            loop.scheduleTick()
        } else {
            var bytes = ByteSink(capacity: 256)
            write(&bytes)
            park(.bytes(Array(bytes.bytes)), at: position)
        }
    }

    private final func park(_ answer: Parked, at position: UInt32) {
        let offset = Int(position &- nextOut)
        if offset >= ring.count { growRing(to: offset + 1) }
        let index = Int(position) & (ring.count - 1)
        guard case .nothing = ring[index] else { preconditionFailure("answered twice") }
        ring[index] = answer
        parked += 1
    }

    private final func growRing(to count: Int) {
        var size = 16
        while size < count { size *= 2 }
        var larger = [Parked](repeating: .nothing, count: size)
        for offset in 0..<ring.count {
            let position = Int(nextOut &+ UInt32(offset))
            larger[position & (size - 1)] = ring[position & (ring.count - 1)]
        }
        ring = larger
    }

    private final func unpark() {
        while parked > 0 {
            let index = Int(nextOut) & (ring.count - 1)
            switch ring[index] {
            case .nothing: return
            case .reply(let reply, let body, let needs):
                loop.openRun(self, needs: needs)
                encode(reply, body: body, to: &loop.sink)
            case .bytes(let bytes):
                loop.openRun(self, needs: .now)
                bytes.withUnsafeBytes { loop.sink.append($0) }
            }
            ring[index] = .nothing
            parked -= 1
            answered()
        }
        if ring.count > 64 { ring = [] }
    }

    // MARK: output

    /// Appends a run of answers to the output.
    ///
    /// - Parameter needs: what they wait for.
    final func accept(_ bytes: UnsafeRawBufferPointer, needs: Release) {
        guard context != nil, !bytes.isEmpty else { return }
        if out.capacity == 0 { out = loop.takeBuffer() }
        out.writeBytes(bytes)
        let isFree = needs.position == 0 || loop.mayLeave(needs)
        if let last = marks.last {
            let isCovered =
                isFree
                || (needs.stream == last.needs.stream && needs.position <= last.needs.position)
            if isCovered {
                marks[marks.count - 1].end = out.readableBytes
            } else {
                marks.append(Mark(end: out.readableBytes, needs: needs))
            }
        } else if isFree {
            releasable = out.readableBytes
        } else {
            marks.append(Mark(end: out.readableBytes, needs: needs))
        }
        if out.readableBytes > loop.limits.outputBytes { return cutOff() }
        if out.readableBytes > loop.limits.outputLowWaterBytes { pause(.output) }
        if !isDirty {
            isDirty = true
            loop.markDirty(self)
        }
    }

    /// Writes what may leave, with one call.
    final func flush() {
        isDirty = false
        guard let context else { return }
        if !marks.isEmpty, !isWaiting {
            // The commit may have come between a step and this flush, and be the last one.
            passCommitted()
            if !marks.isEmpty {
                isWaiting = true
                loop.waitForCommit(self)
            }
        }
        if isWritable, releasable > 0 { write(context) }
        if isFinishing { finishIfDone() }
    }

    private final func write(_ context: ChannelHandlerContext) {
        let size = releasable
        releasable = 0
        if size == out.readableBytes {
            let buffer = out
            out = ByteBuffer()
            context.writeAndFlush(NIOAny(buffer), promise: nil)
            loop.giveBack(buffer)
        } else if let slice = out.readSlice(length: size) {
            for index in marks.indices { marks[index].end -= size }
            context.writeAndFlush(NIOAny(slice), promise: nil)
        }
        if pauses.contains(.output) { mayResume() }
    }

    /// The journal has committed more.
    final func release() {
        isWaiting = false
        guard context != nil else { return }
        passCommitted()
        flush()
    }

    /// Lets go what the journal has committed.
    private final func passCommitted() {
        var covered = 0
        while covered < marks.count, loop.mayLeave(marks[covered].needs) {
            releasable = marks[covered].end
            covered += 1
        }
        if covered == marks.count {
            marks.removeAll(keepingCapacity: true)
        } else {
            marks.removeFirst(covered)
        }
    }

    final func writabilityChanged(_ context: ChannelHandlerContext) {
        isWritable = context.channel.isWritable
        if isWritable {
            blockedSinceMs = 0
            if releasable > 0 || pauses.contains(.output) {
                if !isDirty {
                    isDirty = true
                    loop.markDirty(self)
                }
                mayResume()
            }
        } else {
            blockedSinceMs = loop.nowMs
            pause(.output)
        }
    }

    // MARK: reading

    final func pause(_ reason: Pauses) {
        if pauses.isEmpty { setReading(false) }
        pauses.insert(reason)
    }

    private final func setReading(_ reading: Bool) {
        guard let context else { return }
        // Fails only on a closed channel, which reads nothing anyway.
        try? context.channel.syncOptions?.setOption(.autoRead, value: reading)
    }

    final func mayResume() {
        guard !isResumable else { return }
        isResumable = true
        loop.mayResume(self)
    }

    final func resume() {
        isResumable = false
        guard context != nil, !pauses.isEmpty else { return }
        if outstanding <= UInt32(loop.limits.pipelineDepth / 2) { pauses.remove(.depth) }
        if outstanding == 0 { pauses.remove(.barrier) }
        if isWritable, out.readableBytes <= loop.limits.outputLowWaterBytes / 2 {
            pauses.remove(.output)
        }
        guard pauses.isDisjoint(with: .decoding) else { return }
        if !isFinishing { decodeMore() }
        if pauses.isEmpty { setReading(true) }
    }

    final func hold() { pause(.backlog) }

    final func endHold() {
        guard pauses.contains(.backlog) else { return }
        pauses.remove(.backlog)
        if pauses.isEmpty { setReading(true) }
    }

    // MARK: the end

    final func opened(_ context: ChannelHandlerContext) {
        self.context = context
        loop.add(self)
    }

    final func closed() {
        guard context != nil else { return }
        loop.remove(self)
        context = nil
        ring = []
        parked = 0
        marks = []
        out = ByteBuffer()
        loop.shared.leave()
    }

    /// Reads nothing more, and closes once every answer has left.
    final func finish() {
        guard !isFinishing else { return }
        isFinishing = true
        if !isDirty {
            isDirty = true
            loop.markDirty(self)
        }
    }

    private final func finishIfDone() {
        guard outstanding == 0, out.readableBytes == 0, lingerUntilMs == 0, let context else {
            return
        }
        // A close with unread input would reset the connection and destroy the last answer:
        // so the output ends first, and the rest of the input is read and dropped.
        lingerUntilMs = loop.nowMs + loop.limits.lingerMs
        context.close(mode: .output, promise: nil)
        if !pauses.isEmpty {
            pauses = []
            setReading(true)
        }
    }

    /// What was waited for on one of these streams may be lost.
    final func fail(on streams: UInt16) {
        let waits = marks.contains { $0.needs.isAmong(streams) }
        let isParked =
            parked > 0
            && ring.contains { answer in
                if case .reply(_, _, let needs) = answer, needs.position > 0 {
                    needs.isAmong(streams)
                } else {
                    false
                }
            }
        if waits || isParked { closeNow() }
    }

    final func closeNow() { context?.close(promise: nil) }

    final func cutOff() {
        loop.statistics.cutOff &+= 1
        closeNow()
    }

    /// Closes what has been silent, stuck or closing for too long.
    final func sweep(nowMs: Int64) {
        if lingerUntilMs != 0 {
            if nowMs >= lingerUntilMs { closeNow() }
            return
        }
        if blockedSinceMs != 0, nowMs - blockedSinceMs >= loop.limits.stallMs {
            return cutOff()
        }
        sweepProtocol(nowMs: nowMs)
    }
}
