import CFuzz
import Glibc

/// One fuzzer: what its executable does.
public enum FuzzTarget {
    public typealias Arguments = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

    /// Runs libFuzzer, or, after `--seeds DIRECTORY`, writes the seed corpus and ends.
    ///
    /// SwiftPM renames an executable's `main` to `<Target>_main`, which each target exports.
    public static func run(
        _ count: CInt, _ arguments: Arguments?, seeds: () -> [[UInt8]],
        test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
    ) -> CInt {
        if count == 3, let arguments, let option = arguments[1], let directory = arguments[2],
            String(cString: option) == "--seeds"
        {
            for (index, seed) in seeds().enumerated() {
                write(seed, to: String(cString: directory) + "/seed-\(index)")
            }
            return 0
        }
        var count = count
        var arguments = arguments
        return LLVMFuzzerRunDriver(&count, &arguments, test)
    }

    private static func write(_ bytes: [UInt8], to path: String) {
        guard let file = fopen(path, "w") else { fatalError("cannot write \(path)") }
        precondition(fwrite(bytes, 1, bytes.count, file) == bytes.count)
        fclose(file)
    }
}

/// The fuzzer's bytes, read as choices. At the end all of them are 0: every input means something.
public struct FuzzInput {
    private let bytes: UnsafeRawBufferPointer
    private var at = 0

    public init(_ data: UnsafePointer<UInt8>?, _ count: Int) {
        bytes = UnsafeRawBufferPointer(start: data, count: count)
    }

    public var isAtEnd: Bool { at == bytes.count }

    public mutating func byte() -> UInt8 {
        guard at < bytes.count else { return 0 }
        defer { at += 1 }
        return bytes[at]
    }

    public mutating func flag() -> Bool { byte() & 1 == 1 }

    public mutating func below(_ bound: Int) -> Int { Int(byte()) % bound }

    /// Two bytes' worth.
    public mutating func wideBelow(_ bound: Int) -> Int {
        (Int(byte()) | (Int(byte()) << 8)) % bound
    }

    public mutating func word() -> UInt64 {
        var value: UInt64 = 0
        for shift in 0..<8 { value |= UInt64(byte()) << (UInt64(shift) * 8) }
        return value
    }

    /// Mostly a small number; else one at the edge of its type, or any.
    public mutating func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) -> T {
        let choice = byte()
        switch choice {
        case 0..<200: return T(truncatingIfNeeded: choice)
        case 200: return .max
        case 201: return .min
        case 202: return T.max / 2
        case 203: return T.max - 1
        case 204: return T(truncatingIfNeeded: -1)
        case 205..<230: return T(truncatingIfNeeded: UInt64(1) << UInt64(byte() % 64))
        default: return T(truncatingIfNeeded: word())
        }
    }

    /// At most `count` bytes.
    public mutating func take(_ count: Int) -> [UInt8] {
        let end = min(bytes.count, at + count)
        defer { at = end }
        return Array(bytes[at..<end])
    }

    public mutating func rest() -> [UInt8] { take(bytes.count) }
}

/// What a fuzzer holds to be true. Unlike `assert` it stays in release builds.
@inline(__always)
public func require(_ condition: @autoclosure () -> Bool, _ what: @autoclosure () -> String) {
    if !condition() { fatalError("\(what())") }
}
