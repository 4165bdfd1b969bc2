import EdgeMemory
import EdgeTypes
import EdgeWire
import Testing

/// What a run of bytes decodes to: every command's words, and how it ended.
struct DecodedRun: Equatable {
    var commands: [[String]] = []
    var end = "incomplete"

    /// Decodes as a connection does: appends each piece, decodes all that is complete.
    init(_ pieces: [[UInt8]], limits: RESPLimits = RESPLimits()) {
        let decoder = RESPDecoder(limits: limits)
        var arguments = RESPArguments()
        var pending: [UInt8] = []
        for piece in pieces {
            pending += piece
            var at = 0
            loop: while true {
                switch decoder.decode(pending.span.bytes, from: at, into: &arguments) {
                case .incomplete: break loop
                case .malformed(let error):
                    end = error.text
                    return
                case .command(let next, let inline):
                    precondition(next > at && next <= pending.count)
                    let source = inline ? arguments.inlineBytes : pending
                    if arguments.count > 0 {
                        commands.append(
                            (0..<arguments.count).map {
                                String(decoding: source[arguments.range($0)], as: UTF8.self)
                            })
                    }
                    at = next
                }
            }
            pending.removeFirst(at)
        }
        if pending.isEmpty { end = "complete" }
    }

    init(_ text: String, limits: RESPLimits = RESPLimits()) {
        self.init([Array(text.utf8)], limits: limits)
    }
}

/// SplitMix64: the same numbers from the same seed.
struct SeededBytes {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }

    mutating func next(below bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

@Suite("The RESP decoder")
struct RESPDecoderTests {
    @Test("reads arrays of bulk strings, one after the other")
    func arrays() {
        let run = DecodedRun("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n")
        #expect(run.commands == [["ECHO", ""], ["PING"]])
        #expect(run.end == "complete")
    }

    @Test("reads inline commands with quotes and escapes")
    func inline() {
        let run = DecodedRun("  set \"a\\x41\\n\" 'it\\'s' x\r\nPING\n\r\n")
        #expect(run.commands == [["set", "aA\n", "it's", "x"], ["PING"]])
        #expect(run.end == "complete")
    }

    @Test("skips empty and negative arrays")
    func empty() {
        #expect(DecodedRun("*0\r\n*-1\r\n*1\r\n$1\r\na\r\n").commands == [["a"]])
    }

    @Test(
        "names what is wrong as Redis does",
        arguments: [
            ("*a\r\n", "invalid multibulk length"),
            ("*01\r\n", "invalid multibulk length"),
            ("*65\r\n", "invalid multibulk length"),
            ("*99999999999999999999\r\n", "invalid multibulk length"),
            ("*1\r\n:1\r\n", "expected '$', got ':'"),
            ("*1\r\n\u{1}", "expected '$', got ' '"),
            ("*1\r\n$-1\r\n", "invalid bulk length"),
            ("*1\r\n$65537\r\n", "invalid bulk length"),
            ("*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
            ("*1\r\n$1\rx", "invalid bulk length"),
            ("*1\r\n$1\r\nabc", "expected end of line"),
            ("\"a\r\n", "unbalanced quotes in request"),
            ("\"a\"b\r\n", "unbalanced quotes in request"),
        ])
    func malformed(_ input: String, _ error: String) {
        #expect(DecodedRun(input).end == error)
    }

    @Test("bounds inline commands by bytes and by words")
    func inlineLimits() {
        #expect(
            DecodedRun(String(repeating: "a", count: 65_537)).end == "too big inline request")
        #expect(DecodedRun(String(repeating: "a", count: 65_536)).end == "incomplete")
        let words = String(repeating: "a ", count: 65) + "\r\n"
        #expect(DecodedRun(words).end == "invalid multibulk length")
    }

    static let stream = """
        *3\r\n$9\r\nRAIN.GRAB\r\n$2\r\nr1\r\n$12\r\n000000000042\r\nPING \"a b\"\r\n*0\r\n\
        *2\r\n$4\r\nECHO\r\n$3\r\n\r\n\r\r\n\r\nGET x\n*1\r\n$4\r\nQUIT\r\n*1\r\nx
        """

    @Test("gives the same commands wherever the input is split")
    func everySplit() {
        let bytes = Array(Self.stream.utf8)
        let whole = DecodedRun([bytes])
        #expect(whole.commands.count == 5)
        #expect(whole.end == "expected '$', got 'x'")
        for first in 0...bytes.count {
            for second in first...bytes.count {
                let pieces = [bytes[..<first], bytes[first..<second], bytes[second...]]
                #expect(DecodedRun(pieces.map(Array.init)) == whole)
            }
        }
        #expect(DecodedRun(bytes.map { [$0] }) == whole)
    }

    @Test("never crashes on random bytes and does not depend on their splits", arguments: 0..<64)
    func random(_ seed: UInt64) {
        var random = SeededBytes(state: seed)
        let alphabet = Array("*$:0123456789-\r\n\r\n\r\n \"'\\xabPING\u{0}".utf8) + [0xff, 0x80]
        for _ in 0..<200 {
            var bytes: [UInt8] = []
            if random.next(below: 2) == 0 { bytes = Array("*2\r\n$3\r\nabc\r\n".utf8) }
            for _ in 0..<random.next(below: 40) {
                bytes.append(alphabet[random.next(below: alphabet.count)])
            }
            var pieces: [[UInt8]] = []
            var at = 0
            while at < bytes.count {
                let size = 1 + random.next(below: 5)
                pieces.append(Array(bytes[at..<min(at + size, bytes.count)]))
                at += size
            }
            #expect(DecodedRun(pieces) == DecodedRun([bytes]), "seed \(seed): \(bytes)")
        }
    }

    @Test("never crashes on a mutated stream", arguments: 0..<32)
    func mutated(_ seed: UInt64) {
        var random = SeededBytes(state: seed &+ 1_000)
        for _ in 0..<200 {
            var bytes = Array(Self.stream.utf8)
            for _ in 0..<(1 + random.next(below: 4)) {
                bytes[random.next(below: bytes.count)] = UInt8(random.next(below: 256))
            }
            #expect(
                DecodedRun(bytes.map { [$0] }) == DecodedRun([bytes]), "seed \(seed): \(bytes)")
        }
    }
}

@Suite("Numbers in arguments")
struct RESPNumberTests {
    private func unsigned(_ text: String) -> UInt64? {
        let bytes = Array(text.utf8)
        return RESPNumber.unsigned(bytes.span.bytes, 0..<bytes.count)
    }

    private func signed(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        return RESPNumber.signed(bytes.span.bytes, 0..<bytes.count)
    }

    @Test("are read to the last value of 64 bits, leading zeros allowed, and never trap")
    func bounds() {
        #expect(unsigned("0") == 0)
        #expect(unsigned("000000000042") == 42)
        #expect(unsigned("18446744073709551615") == .max)
        #expect(unsigned("00000000000000000000000018446744073709551615") == .max)
        #expect(unsigned("18446744073709551616") == nil)
        #expect(unsigned("99999999999999999999") == nil)
        #expect(unsigned("100000000000000000000") == nil)
        #expect(unsigned("") == nil)
        #expect(unsigned("1x") == nil)
        #expect(unsigned("+1") == nil)
        #expect(signed("-9223372036854775808") == .min)
        #expect(signed("-9223372036854775809") == nil)
        #expect(signed("9223372036854775807") == .max)
        #expect(signed("9223372036854775808") == nil)
        #expect(signed("-") == nil)
        #expect(signed("") == nil)
    }

    @Test("are written as they are read", arguments: 0..<20)
    func written(_ digits: Int) {
        var power: UInt64 = 1
        for _ in 0..<digits { power = power.multipliedReportingOverflow(by: 10).partialValue }
        for value in [power &- 1, power, power &+ 1, power &* 7, .max] {
            var sink = ByteSink()
            sink.append(decimal: value)
            #expect(String(decoding: sink.bytes, as: UTF8.self) == String(value))
        }
        var sink = ByteSink()
        sink.append(decimal: Int64.min)
        #expect(String(decoding: sink.bytes, as: UTF8.self) == String(Int64.min))
    }
}
