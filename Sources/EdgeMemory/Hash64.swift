import EdgeTypes

/// Fast 64-bit hashes whose results are the same on every machine and in every release:
/// placement, slices and order of tables depend on them.
///
/// The mixer is wyhash's (Wang Yi, public domain): fold the 128-bit product of two words. Where
/// users choose the input (user ids), callers key it with a pool's secret salt, so that nobody
/// can aim for one bucket.
public enum Hash64 {
    /// Folds two words into one.
    @inlinable @inline(__always)
    public static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = (a ^ 0x2d35_8dcc_aa6c_78a5).multipliedFullWidth(by: b ^ 0x8bb8_4b93_962e_acc9)
        return product.high ^ product.low
    }

    /// Hash of one word under a salt.
    @inlinable @inline(__always)
    public static func keyed(_ word: UInt64, salt: UInt64) -> UInt64 {
        mix(mix(word, salt), 0x4b33_a62e_d433_d4a3)
    }

    /// Hash of a text. Never 0, so that 0 can mean "none".
    public static func text(_ text: Text64, salt: UInt64 = 0) -> UInt64 {
        var state = mix(UInt64(text.count), salt)
        let words = (Int(text.count) + 7) / 8
        for index in 0..<words { state = keyed(text.word(index), salt: state) }
        return state == 0 ? 1 : state
    }

    /// The same hash over raw bytes: `text(Text64(bytes)) == bytes(bytes)`.
    @inlinable
    public static func bytes(_ bytes: UnsafeRawBufferPointer, salt: UInt64 = 0) -> UInt64 {
        var state = mix(UInt64(bytes.count), salt)
        var offset = 0
        // SAFETY: both loads stay below `bytes.count`.
        while offset + 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            state = keyed(UInt64(littleEndian: word), salt: state)
            offset += 8
        }
        if offset < bytes.count {
            var word: UInt64 = 0
            var shift: UInt64 = 0
            while offset < bytes.count {
                word |= UInt64(bytes[offset]) << shift
                shift += 8
                offset += 1
            }
            state = keyed(word, salt: state)
        }
        return state == 0 ? 1 : state
    }

    /// Maps a hash to `0 ..< bound` by its high bits (Lemire's multiply-shift).
    @inlinable @inline(__always)
    public static func reduce(_ hash: UInt64, below bound: UInt64) -> UInt64 {
        hash.multipliedFullWidth(by: bound).high
    }
}

extension PoolKey {
    @inlinable
    static func salt(_ family: PoolFamily) -> UInt64 {
        0x706f_6f6c_0000_0000 | UInt64(family.rawValue)
    }

    public static func of(_ family: PoolFamily, _ name: Text64) -> PoolKey {
        PoolKey(rawValue: Hash64.text(name, salt: salt(family)))
    }

    @inlinable
    public static func of(_ family: PoolFamily, bytes: UnsafeRawBufferPointer) -> PoolKey {
        PoolKey(rawValue: Hash64.bytes(bytes, salt: salt(family)))
    }
}

/// Hash of a region's name as requests carry it. Never 0.
public enum RegionKey {
    public static func of(_ name: Text64) -> UInt32 {
        let hash = UInt32(truncatingIfNeeded: Hash64.text(name, salt: 0x7265_6769_6f6e))
        return hash == 0 ? 1 : hash
    }

    /// The same key of raw bytes: `of(Text64(bytes)) == of(bytes: bytes)`.
    public static func of(bytes: UnsafeRawBufferPointer) -> UInt32 {
        let hash = UInt32(truncatingIfNeeded: Hash64.bytes(bytes, salt: 0x7265_6769_6f6e))
        return hash == 0 ? 1 : hash
    }
}
