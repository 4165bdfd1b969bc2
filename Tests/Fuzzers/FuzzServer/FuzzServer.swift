import EdgeCore
import EdgeTypes
import EdgeWire
import FuzzSupport
import NIOCore
import NIOEmbedded

@testable import EdgeServer

// The client listeners' real pipelines, and a real core behind them, over arbitrary bytes.
//
// The first byte chooses HTTP or RESP. Held to be true: nothing traps; what is answered is well
// formed, whatever came; the answers are the same wherever the input is cut.

@_cdecl("FuzzServer_main")
public func main(_ count: CInt, _ arguments: FuzzTarget.Arguments?) -> CInt {
    FuzzTarget.run(count, arguments, seeds: { Seeds.all }) { data, count in
        var input = FuzzInput(data, count)
        let kind: ClientListeners.Kind = input.flag() ? .resp : .http
        let options = input.byte()
        let first = 1 + input.wideBelow(200)
        let stream = input.rest()
        let whole = Conversation(kind, options, [stream])
        let pieces = Conversation(kind, options, Conversation.cut(stream, first))
        whole.requireWellFormed(kind)
        require(
            whole.isDrawn || whole.comparable == pieces.comparable,
            "a cut changed the answer:\n\(whole.text)\n----\n\(pieces.text)")
        return 0
    }
}

/// One client's connection, from its opening to its end.
struct Conversation {
    var output: [UInt8] = []

    init(_ kind: ClientListeners.Kind, _ options: UInt8, _ pieces: [[UInt8]]) {
        let eventLoop = EmbeddedEventLoop()
        let shared = ServerShared(Self.settings(options))
        let loop = NodeLoop(
            index: 0, eventLoop: eventLoop, shared: shared, journal: nil,
            core: EdgeNode(NodeConfiguration(shards: 4)))
        ServerLoop.connect([loop])
        let channel = EmbeddedChannel(loop: eventLoop)
        do {
            try ClientListeners.prepare(channel, kind, loop, nil)
            channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
            for piece in pieces where channel.isActive {
                // What the pipeline throws is the channel's to close for.
                _ = try? channel.writeInbound(ByteBuffer(bytes: piece))
                eventLoop.run()
                try take(channel)
            }
            if channel.isActive {
                channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
                eventLoop.run()
                try take(channel)
            }
            eventLoop.run()
        } catch {
            fatalError("the channel failed: \(error)")
        }
        if channel.isActive { channel.close(promise: nil) }
        eventLoop.run()
        require(shared.connectionCount == 0, "a connection was not counted out")
        // Loops live as long as their process, and know themselves.
        loop.peers = []
    }

    private mutating func take(_ channel: EmbeddedChannel) throws {
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) {
            output += buffer.readableBytesView
        }
    }

    private static func settings(_ options: UInt8) -> ServerShared.Settings {
        var settings = ServerShared.Settings(profile: NodeProfile(name: "n", version: "1"))
        settings.clock = { Instant(wallMs: 1_700_000_000_000, monotonicNs: 5_000_000_000) }
        settings.acceptsUserHeader = true
        settings.corsOrigins = ["*"]
        if options & 1 != 0 {
            settings.limits.bodyBytes = 32
            settings.limits.headerBytes = 256
            settings.limits.headerFields = 6
            settings.limits.targetBytes = 40
            settings.limits.respRequestBytes = 256
        }
        if options & 2 != 0 { settings.limits.pipelineDepth = 2 }
        if options & 4 != 0 { settings.acceptsUserHeader = false }
        if options & 8 != 0 { settings.limits.requestsPerStep = 1 }
        return settings
    }

    static func cut(_ stream: [UInt8], _ first: Int) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var at = 0
        var length = first
        while at < stream.count {
            let end = min(stream.count, at + length)
            pieces.append(Array(stream[at..<end]))
            at = end
            length = length * 7 % 61 + 1
        }
        return pieces
    }

    var text: String { String(decoding: output, as: UTF8.self) }

    /// Whether it tells what differs from run to run: drawn seeds, amounts, statistics.
    var isDrawn: Bool {
        ["granted", "commitment", "loop_steps"].contains { text.contains($0) }
    }

    /// Without `100 Continue`, which depends on whether the body is there already.
    var comparable: String {
        text.split(separator: "HTTP/1.1 100 Continue\r\n\r\n", omittingEmptySubsequences: false)
            .joined()
    }

    func requireWellFormed(_ kind: ClientListeners.Kind) {
        switch kind {
        case .http:
            require(output.isEmpty || text.hasPrefix("HTTP/1.1 "), "not an answer: \(text)")
        case .resp:
            var at = 0
            while at < output.count {
                guard let end = RESPValue.end(output, at, depth: 0) else {
                    fatalError("no RESP at \(at): \(text)")
                }
                at = end
            }
        }
    }
}

/// Finds where a RESP value ends.
enum RESPValue {
    static func end(_ bytes: [UInt8], _ start: Int, depth: Int) -> Int? {
        guard depth < 8, let line = lineEnd(bytes, start) else { return nil }
        let number = Int(String(decoding: bytes[(start + 1)..<line], as: UTF8.self))
        switch bytes[start] {
        case UInt8(ascii: "+"), UInt8(ascii: "-"): return line + 2
        case UInt8(ascii: "_"): return line == start + 1 ? line + 2 : nil
        case UInt8(ascii: ":"): return number == nil ? nil : line + 2
        case UInt8(ascii: "$"):
            guard let number else { return nil }
            if number == -1 { return line + 2 }
            let end = line + 2 + number
            guard number >= 0, end + 2 <= bytes.count, bytes[end] == 13, bytes[end + 1] == 10
            else { return nil }
            return end + 2
        case UInt8(ascii: "*"), UInt8(ascii: "%"):
            guard let number, number >= 0 else { return nil }
            var at = line + 2
            for _ in 0..<(bytes[start] == UInt8(ascii: "%") ? 2 * number : number) {
                guard at < bytes.count, let end = end(bytes, at, depth: depth + 1) else {
                    return nil
                }
                at = end
            }
            return at
        default: return nil
        }
    }

    private static func lineEnd(_ bytes: [UInt8], _ start: Int) -> Int? {
        var at = start
        while at + 1 < bytes.count {
            if bytes[at] == 13 { return bytes[at + 1] == 10 ? at : nil }
            if bytes[at] < 32, at > start { return nil }
            at += 1
        }
        return nil
    }
}
