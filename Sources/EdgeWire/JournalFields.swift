import EdgeTypes

/// Where the fields of an entry go: one walk over an entry serves to measure and to write it.
protocol JournalFieldSink {
    mutating func integer(_ value: some FixedWidthInteger)
    mutating func text(_ text: Text64)
}

/// Counts bytes.
struct JournalSizer: JournalFieldSink {
    private(set) var count = 0

    mutating func integer(_ value: some FixedWidthInteger) { count += value.bitWidth / 8 }

    mutating func text(_ text: Text64) { count += 1 + Int(text.count) }
}

/// Writes bytes into a region that was measured before.
struct JournalFiller: JournalFieldSink {
    private let region: UnsafeMutableRawBufferPointer
    private var offset: Int

    init(region: UnsafeMutableRawBufferPointer, offset: Int) {
        self.region = region
        self.offset = offset
    }

    mutating func integer(_ value: some FixedWidthInteger) {
        let size = value.bitWidth / 8
        precondition(size <= region.count - offset)
        region.storeBytes(of: value.littleEndian, toByteOffset: offset, as: type(of: value))
        offset += size
    }

    mutating func text(_ text: Text64) {
        integer(text.count)
        var left = Int(text.count)
        var index = 0
        while left > 0 {
            var word = text.word(index)
            for _ in 0..<min(8, left) {
                integer(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
            left -= 8
            index += 1
        }
    }

    /// Zeroes what is left: less than eight bytes.
    mutating func pad() {
        precondition(region.count - offset < 8)
        while offset < region.count { integer(UInt8(0)) }
    }
}

/// Reads fields, checking every bound. After the first failure all reads give zeros and
/// `isIntact` stays false, so that callers check once, at the end.
struct JournalFieldReader {
    private let bytes: UnsafeRawBufferPointer
    private var offset: Int
    private var failed = false

    init(_ bytes: UnsafeRawBufferPointer, offset: Int) {
        self.bytes = bytes
        self.offset = offset
    }

    mutating func fail() { failed = true }

    var isIntact: Bool { !failed }

    mutating func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) -> T {
        let size = T.bitWidth / 8
        guard !failed, size <= bytes.count - offset else {
            failed = true
            return 0
        }
        // SAFETY: `size` bytes follow `offset`.
        let value = bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
        offset += size
        return T(littleEndian: value)
    }

    mutating func flag() -> Bool {
        let byte = integer(UInt8.self)
        if byte > 1 { failed = true }
        return byte == 1
    }

    mutating func text() -> Text64 {
        let count = Int(integer(UInt8.self))
        guard !failed, count <= Text64.capacity, count <= bytes.count - offset,
            let text = Text64(bytes[offset..<(offset + count)])
        else {
            failed = true
            return Text64()
        }
        offset += count
        return text
    }

    /// Whether every read was good and nothing but zero padding (under eight bytes) is left.
    mutating func finish() -> Bool {
        guard !failed, bytes.count - offset < 8 else { return false }
        while offset < bytes.count {
            if integer(UInt8.self) != 0 { return false }
        }
        return true
    }
}
