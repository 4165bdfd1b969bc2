/// Up to 64 bytes of text, held inline: names, request ids and payment ids cost no allocation.
public struct Text64: Sendable {
    public typealias Words = (
        UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64
    )
    /// Little-endian bytes, zero past `count`.
    public var words: Words
    public private(set) var count: UInt8

    public static let capacity = 64

    @inlinable public var isEmpty: Bool { count == 0 }

    public init() {
        words = (0, 0, 0, 0, 0, 0, 0, 0)
        count = 0
    }

    /// Text from its words, which are zero past `count` bytes.
    public init(words: Words, count: UInt8) {
        precondition(count <= 64)
        self.words = words
        self.count = count
    }

    /// - Returns: nil where `bytes` holds more than 64.
    ///
    /// Each word is gathered apart and stored once: reading words back while they are being
    /// filled, through `word` and `setWord`, is miscompiled by Swift 6.3.1 at -O (bytes after a
    /// zero byte were lost).
    public init?(_ bytes: some Sequence<UInt8>) {
        self.init()
        var gathered: UInt64 = 0
        for byte in bytes {
            guard count < 64 else { return nil }
            gathered |= UInt64(byte) << ((UInt64(count) & 7) * 8)
            count += 1
            if count & 7 == 0 {
                setWord(Int(count >> 3) - 1, gathered)
                gathered = 0
            }
        }
        if count & 7 != 0 { setWord(Int(count >> 3), gathered) }
    }

    /// - Precondition: at most 64 bytes of UTF-8.
    public init(_ text: String) {
        guard let made = Text64(text.utf8) else { preconditionFailure("text over 64 bytes") }
        self = made
    }

    public func word(_ index: Int) -> UInt64 {
        switch index {
        case 0: words.0
        case 1: words.1
        case 2: words.2
        case 3: words.3
        case 4: words.4
        case 5: words.5
        case 6: words.6
        default: words.7
        }
    }

    private mutating func setWord(_ index: Int, _ value: UInt64) {
        switch index {
        case 0: words.0 = value
        case 1: words.1 = value
        case 2: words.2 = value
        case 3: words.3 = value
        case 4: words.4 = value
        case 5: words.5 = value
        case 6: words.6 = value
        default: words.7 = value
        }
    }

    /// - Precondition: `index < count`.
    public func byte(_ index: Int) -> UInt8 {
        precondition(index >= 0 && index < Int(count))
        return UInt8(truncatingIfNeeded: word(index >> 3) >> (UInt64(index & 7) * 8))
    }

    public var bytes: [UInt8] { (0..<Int(count)).map(byte) }
}

extension Text64: Hashable {
    public static func == (a: Text64, b: Text64) -> Bool {
        a.count == b.count && a.words.0 == b.words.0 && a.words.1 == b.words.1
            && a.words.2 == b.words.2 && a.words.3 == b.words.3 && a.words.4 == b.words.4
            && a.words.5 == b.words.5 && a.words.6 == b.words.6 && a.words.7 == b.words.7
    }

    public func hash(into hasher: inout Hasher) {
        for index in 0..<8 { hasher.combine(word(index)) }
    }
}

extension Text64: CustomStringConvertible, ExpressibleByStringLiteral {
    public var description: String { String(decoding: bytes, as: UTF8.self) }

    public init(stringLiteral value: StaticString) { self.init(value.description) }
}
