import EdgeMemory
import EdgeTypes
import EdgeWire
import FuzzSupport

// The RESP decoder and the command parser over arbitrary bytes.
//
// Held to be true: nothing traps; the commands are the same wherever the stream is cut; words sent
// as an array decode to the same words; a creation that is understood can be created; an error
// that quotes a client is one line.

@_cdecl("FuzzRESP_main")
public func main(_ count: CInt, _ arguments: FuzzTarget.Arguments?) -> CInt {
    FuzzTarget.run(count, arguments, seeds: { Seeds.all }) { data, count in
        var input = FuzzInput(data, count)
        var limits = RESPLimits()
        if input.flag() {
            limits.arguments = 4
            limits.bulkBytes = 64
            limits.inlineBytes = 48
        }
        let first = input.wideBelow(256)
        let stream = input.rest()
        let whole = Run([stream], limits, parses: true)
        let single = stream.count <= 256 ? stream.map { [$0] } : Cuts.at(first, stream)
        require(Run(single, limits, parses: false) == whole, "a cut changed what was decoded")
        whole.requireRoundTrip()
        var line = ByteSink(capacity: 64)
        RESPEncoder.append(error: "ERR", String(decoding: stream, as: UTF8.self), to: &line)
        let bytes = line.bytes
        for index in 0..<(bytes.count - 2) { require(bytes[index] >= 0x20, "a broken error line") }
        return 0
    }
}

private enum Cuts {
    /// Pieces of growing and shrinking length, the first of `first` bytes.
    static func at(_ first: Int, _ stream: [UInt8]) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var at = 0
        var length = max(1, first)
        while at < stream.count {
            let end = min(stream.count, at + length)
            pieces.append(Array(stream[at..<end]))
            at = end
            length = length * 7 % 251 + 1
        }
        return pieces
    }
}

/// What a stream decodes to.
private struct Run: Equatable {
    var commands: [[[UInt8]]] = []
    var end = "incomplete"

    init(_ pieces: [[UInt8]], _ limits: RESPLimits, parses: Bool) {
        let decoder = RESPDecoder(limits: limits)
        var arguments = RESPArguments()
        var pending: [UInt8] = []
        for piece in pieces {
            pending += piece
            var at = 0
            while case .command(let next, let inline) = step(decoder, pending, at, &arguments) {
                require(next > at && next <= pending.count, "a command without an end")
                let source = inline ? arguments.inlineBytes : pending
                if arguments.count > 0 {
                    commands.append(
                        (0..<arguments.count).map { Array(source[arguments.range($0)]) })
                    if parses { Run.parse(source, arguments) }
                }
                at = next
            }
            if case .malformed = step(decoder, pending, at, &arguments) { return }
            pending.removeFirst(at)
        }
        if pending.isEmpty { end = "complete" }
    }

    private mutating func step(
        _ decoder: RESPDecoder, _ bytes: [UInt8], _ at: Int, _ arguments: inout RESPArguments
    ) -> RESPDecoded {
        let decoded = decoder.decode(bytes.span.bytes, from: at, into: &arguments)
        if case .malformed(let error) = decoded { end = error.text }
        return decoded
    }

    private static func parse(_ source: [UInt8], _ arguments: borrowing RESPArguments) {
        let ticket = Ticket(core: 1, generation: 2, connection: 3, position: 4)
        let bytes = source.span.bytes
        guard let command = RESPRequests.command(bytes, arguments) else { return }
        let parsed = RESPRequests.parse(
            command, bytes, arguments, ticket: ticket, actor: Text64("fuzz"))
        if let plain = RESPRequests.plainGrab(bytes, arguments, ticket: ticket) {
            require(command == .rainGrab, "a plain grab of another command")
            if case .request(let request) = parsed {
                require(
                    request.pool == plain.pool && request.user == plain.user
                        && request.requestHash == plain.requestHash,
                    "a plain grab means something else")
            }
        }
        if case .create(_, let draft) = parsed {
            require(draft.refusal == nil, "an impossible pool was understood")
        }
    }

    /// Sends the words as arrays: they must come back.
    func requireRoundTrip() {
        var limits = RESPLimits()
        limits.bulkBytes = 1 << 20
        let decoder = RESPDecoder(limits: limits)
        var arguments = RESPArguments()
        var sink = ByteSink()
        for words in commands {
            sink.removeAll()
            RESPEncoder.append(header: "*", words.count, to: &sink)
            for word in words {
                word.withUnsafeBytes { RESPEncoder.append(bulk: $0, to: &sink) }
            }
            let bytes = Array(sink.bytes)
            let decoded = decoder.decode(bytes.span.bytes, from: 0, into: &arguments)
            require(decoded == .command(end: bytes.count, inline: false), "no round trip")
            require(arguments.count == words.count, "words were lost")
            for index in 0..<words.count {
                require(Array(bytes[arguments.range(index)]) == words[index], "a word changed")
            }
        }
    }
}
