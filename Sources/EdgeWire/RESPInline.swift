/// Inline commands: a line of words, as typed into telnet, with Redis' quoting rules.
extension RESPDecoder {
    func decodeInline(
        _ bytes: RawSpan, from start: Int, into arguments: inout RESPArguments
    ) -> RESPDecoded {
        let end = bytes.byteCount
        let bound = min(end, start + limits.inlineBytes + 1)
        var newline = start
        while newline < bound, bytes.byte(newline) != 0x0a { newline += 1 }
        guard newline < bound else {
            return end - start > limits.inlineBytes ? .malformed(.bigInline) : .incomplete
        }
        let stop = newline > start && bytes.byte(newline - 1) == 0x0d ? newline - 1 : newline
        arguments.inlineBytes.removeAll(keepingCapacity: true)
        var at = start
        while true {
            while at < stop, Self.isSpace(bytes.byte(at)) { at += 1 }
            guard at < stop else { break }
            guard arguments.count < limits.arguments else {
                return .malformed(.invalidMultibulkLength)
            }
            let first = arguments.inlineBytes.count
            guard Self.word(bytes, at: &at, stop: stop, into: &arguments.inlineBytes) else {
                return .malformed(.unbalancedQuotes)
            }
            arguments.append(start: first, length: arguments.inlineBytes.count - first)
        }
        return .command(end: newline + 1, inline: true)
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || (byte >= 0x09 && byte <= 0x0d) || byte == 0
    }

    /// Unquotes one word. A closing quote must be followed by a space or the end.
    private static func word(
        _ bytes: RawSpan, at: inout Int, stop: Int, into word: inout [UInt8]
    ) -> Bool {
        var quote: UInt8 = 0
        while at < stop {
            let byte = bytes.byte(at)
            if quote == 0 {
                if isSpace(byte) { return true }
                at += 1
                if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
                    quote = byte
                } else {
                    word.append(byte)
                }
            } else if byte == quote {
                at += 1
                return at == stop || isSpace(bytes.byte(at))
            } else if byte == UInt8(ascii: "\\"), at + 1 < stop {
                escape(bytes, at: &at, stop: stop, quote: quote, into: &word)
            } else {
                word.append(byte)
                at += 1
            }
        }
        return quote == 0
    }

    private static func escape(
        _ bytes: RawSpan, at: inout Int, stop: Int, quote: UInt8, into word: inout [UInt8]
    ) {
        let next = bytes.byte(at + 1)
        if quote == UInt8(ascii: "'") {
            // Within single quotes only the quote itself can be escaped.
            if next == quote {
                word.append(next)
                at += 2
            } else {
                word.append(bytes.byte(at))
                at += 1
            }
            return
        }
        if next == UInt8(ascii: "x"), at + 3 < stop,
            let high = hexDigit(bytes.byte(at + 2)), let low = hexDigit(bytes.byte(at + 3))
        {
            word.append((high << 4) | low)
            at += 4
            return
        }
        switch next {
        case UInt8(ascii: "n"): word.append(0x0a)
        case UInt8(ascii: "r"): word.append(0x0d)
        case UInt8(ascii: "t"): word.append(0x09)
        case UInt8(ascii: "b"): word.append(0x08)
        case UInt8(ascii: "a"): word.append(0x07)
        default: word.append(next)
        }
        at += 2
    }

    /// The value of a hexadecimal digit.
    static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}
