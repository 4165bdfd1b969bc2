import EdgeReconciler
import EdgeTypes

// How enumerations stand in the store: words, the same as in the outside contract.
enum PoolWords {
    static func word(_ family: PoolFamily) -> String {
        switch family {
        case .rain: "rain"
        case .stock: "stock"
        }
    }

    static func family(_ word: String) throws(StoreError) -> PoolFamily {
        switch word {
        case "rain": return .rain
        case "stock": return .stock
        default: throw .badRow("no family: \(word)")
        }
    }

    static func word(_ kind: PoolKind) -> String {
        switch kind {
        case .spread: "spread"
        case .luck: "luck"
        case .equal: "equal"
        case .stock: "stock"
        }
    }

    static func word(_ durability: Durability) -> String {
        switch durability {
        case .memory: "memory"
        case .journal: "journal"
        case .replicated: "replicated"
        }
    }

    /// As `REGIONS` takes them: `a=60,b=40`.
    static func text(_ regions: [RegionShare]) -> String {
        regions.map { "\($0.name)=\($0.weight)" }.joined(separator: ",")
    }
}

extension Bits256 {
    /// The 32 bytes in memory order, as 64 lower-case digits.
    var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(64)
        for word in [words.0, words.1, words.2, words.3] {
            for byte in 0..<8 {
                let value = UInt8(truncatingIfNeeded: word >> (UInt64(byte) * 8))
                text.append(digits[Int(value >> 4)])
                text.append(digits[Int(value & 15)])
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
