import EdgeTypes

/// SipHash-2-4 (Aumasson & Bernstein, 2012) of one 64-bit word under a 128-bit key: the keyed
/// pseudo-random function behind every draw. Amounts that were seen tell nothing of the rest.
@frozen
public struct SipHash: Sendable {
    @usableFromInline let k0: UInt64
    @usableFromInline let k1: UInt64

    @inlinable
    public init(k0: UInt64, k1: UInt64) {
        self.k0 = k0
        self.k1 = k1
    }

    @inlinable @inline(__always)
    public func callAsFunction(_ word: UInt64) -> UInt64 {
        var v0 = k0 ^ 0x736f_6d65_7073_6575
        var v1 = k1 ^ 0x646f_7261_6e64_6f6d
        var v2 = k0 ^ 0x6c79_6765_6e65_7261
        var v3 = k1 ^ 0x7465_6462_7974_6573
        v3 ^= word
        Self.round(&v0, &v1, &v2, &v3)
        Self.round(&v0, &v1, &v2, &v3)
        v0 ^= word
        let length: UInt64 = 8 << 56
        v3 ^= length
        Self.round(&v0, &v1, &v2, &v3)
        Self.round(&v0, &v1, &v2, &v3)
        v0 ^= length
        v2 ^= 0xff
        Self.round(&v0, &v1, &v2, &v3)
        Self.round(&v0, &v1, &v2, &v3)
        Self.round(&v0, &v1, &v2, &v3)
        Self.round(&v0, &v1, &v2, &v3)
        return v0 ^ v1 ^ v2 ^ v3
    }

    @inlinable @inline(__always)
    static func round(
        _ v0: inout UInt64, _ v1: inout UInt64, _ v2: inout UInt64, _ v3: inout UInt64
    ) {
        v0 = v0 &+ v1
        v1 = rotate(v1, 13) ^ v0
        v0 = rotate(v0, 32)
        v2 = v2 &+ v3
        v3 = rotate(v3, 16) ^ v2
        v0 = v0 &+ v3
        v3 = rotate(v3, 21) ^ v0
        v2 = v2 &+ v1
        v1 = rotate(v1, 17) ^ v2
        v2 = rotate(v2, 32)
    }

    @inlinable @inline(__always)
    static func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 {
        (value &<< count) | (value &>> (64 &- count))
    }
}

extension Bits256 {
    /// A key for one use of the seed: uses never share a key.
    func key(_ use: UInt64) -> SipHash {
        let low = SipHash(k0: words.0, k1: words.1)
        let high = SipHash(k0: words.2, k1: words.3)
        return SipHash(
            k0: low(use &* 2) ^ high(use &* 2 &+ 1), k1: low(use &* 2 &+ 1) ^ high(use &* 2))
    }
}
