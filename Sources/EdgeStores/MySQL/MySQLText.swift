import EdgeTypes

/// The text of a statement, in one buffer that is used again: values go in as literals, escaped,
/// without an object or an allocation a value.
final class MySQLText: SQLSink {
    private(set) var count = 0
    private var buffer: UnsafeMutableRawBufferPointer
    /// Columns of the row that is being put.
    private(set) var columns = 0

    init() { buffer = .allocate(byteCount: 64 << 10, alignment: 16) }

    deinit { buffer.deallocate() }

    /// Valid until the next change.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: buffer[..<count]) }

    func clear() {
        count = 0
        // One enormous statement must not keep its memory for ever.
        if buffer.count > 8 << 20 {
            buffer.deallocate()
            buffer = .allocate(byteCount: 64 << 10, alignment: 16)
        }
    }

    /// Forgets all but the first bytes.
    func cut(to length: Int) {
        precondition(length <= count)
        count = length
    }

    // MARK: Plain text

    func add(_ text: String) {
        var text = text
        text.withUTF8 { add(UnsafeRawBufferPointer($0)) }
    }

    func add(_ text: StaticString) {
        add(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    func add(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        room(bytes.count)
        // SAFETY: `room` has made the buffer long enough.
        base.advanced(by: count).copyMemory(from: start, byteCount: bytes.count)
        count += bytes.count
    }

    @inline(__always)
    func add(byte: UInt8) {
        room(1)
        // SAFETY: as above.
        base.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
    }

    // MARK: Rows

    func beginRow() {
        add(byte: UInt8(ascii: "("))
        columns = 0
    }

    func endRow() { add(byte: UInt8(ascii: ")")) }

    @inline(__always)
    private func separate() {
        if columns > 0 { add(byte: UInt8(ascii: ",")) }
        columns += 1
    }

    func put(_ value: Int64) {
        separate()
        add(value)
    }

    func put(user: UserID) {
        separate()
        add(digits: user)
    }

    func put(_ text: Text64) {
        separate()
        add(literal: text)
    }

    func put(stable text: UnsafeBufferPointer<CChar>) {
        separate()
        add(literal: UnsafeRawBufferPointer(text))
    }

    func put(_ text: String) {
        separate()
        add(literal: text)
    }

    func putNull() {
        separate()
        add("NULL" as StaticString)
    }

    // MARK: Literals

    func add(_ value: SQLValue) {
        switch value {
        case .null: add("NULL" as StaticString)
        case .integer(let value): add(value)
        case .text(let text): add(literal: text)
        case .user(let user): add(digits: user)
        }
    }

    func add(_ value: Int64) {
        if value < 0 { add(byte: UInt8(ascii: "-")) }
        add(digits: value.magnitude)
    }

    func add(digits value: UInt64) {
        room(20)
        var length = 1
        var bound: UInt64 = 10
        while length < 20, value >= bound {
            length += 1
            bound = length < 20 ? bound &* 10 : .max
        }
        var rest = value
        var place = count + length
        repeat {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            place -= 1
            // SAFETY: `room` has made place for 20 digits.
            base.storeBytes(
                of: 0x30 &+ UInt8(truncatingIfNeeded: digit), toByteOffset: place, as: UInt8.self)
            rest = quotient
        } while rest > 0
        count += length
    }

    func add(literal text: String) {
        var text = text
        text.withUTF8 { addQuoted(UnsafeRawBufferPointer($0)) }
    }

    private func add(literal text: Text64) {
        var words = text.words
        withUnsafeBytes(of: &words) { all in
            // SAFETY: words are little-endian bytes in order, and so is the machine.
            add(literal: UnsafeRawBufferPointer(rebasing: all[..<Int(text.count)]))
        }
    }

    /// Bytes that are no UTF-8 are replaced: a strict server would refuse the whole batch for ever.
    private func add(literal bytes: UnsafeRawBufferPointer) {
        if bytes.allSatisfy({ $0 < 0x80 }) {
            addQuoted(bytes)
        } else {
            add(literal: String(decoding: bytes, as: UTF8.self))
        }
    }

    /// Bytes of UTF-8: none of those that are escaped is part of a longer character.
    private func addQuoted(_ bytes: UnsafeRawBufferPointer) {
        room(2 * bytes.count + 2)
        var place = count
        // SAFETY: `room` has made place for every byte twice and two quotes.
        func store(_ byte: UInt8) {
            base.storeBytes(of: byte, toByteOffset: place, as: UInt8.self)
            place += 1
        }
        store(0x27)
        for byte in bytes {
            switch byte {
            case 0x27, 0x22, 0x5c:
                store(0x5c)
                store(byte)
            case 0:
                store(0x5c)
                store(0x30)
            case 0x0a:
                store(0x5c)
                store(UInt8(ascii: "n"))
            case 0x0d:
                store(0x5c)
                store(UInt8(ascii: "r"))
            case 0x1a:
                store(0x5c)
                store(UInt8(ascii: "Z"))
            default: store(byte)
            }
        }
        store(0x27)
        count = place
    }

    // MARK: Room

    private var base: UnsafeMutableRawPointer { buffer.baseAddress.unsafelyUnwrapped }

    @inline(__always)
    private func room(_ more: Int) {
        if count + more > buffer.count { grow(more) }
    }

    @inline(never)
    private func grow(_ more: Int) {
        let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(buffer.count * 2, count + more), alignment: 16)
        larger.copyMemory(from: bytes)
        buffer.deallocate()
        buffer = larger
    }
}
