import CZstd

/// zstd, one shot.
enum Zstd {
    struct Failure: Error {
        var detail: String
    }

    /// Compresses at level 1, with a content size and a checksum in the frame.
    static func compress(_ bytes: UnsafeRawBufferPointer) throws(Failure) -> RawBuffer {
        guard let context = ZSTD_createCCtx() else { throw Failure(detail: "out of memory") }
        defer { ZSTD_freeCCtx(context) }
        try check(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1))
        try check(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1))
        let result = RawBuffer(capacity: ZSTD_compressBound(bytes.count))
        let size = ZSTD_compress2(
            context, result.region.baseAddress, result.region.count, bytes.baseAddress, bytes.count)
        try check(size)
        result.count = size
        return result
    }

    /// - Parameter limit: most bytes that the content may have.
    static func decompress(_ bytes: UnsafeRawBufferPointer, limit: Int) throws(Failure)
        -> RawBuffer
    {
        let declared = ZSTD_getFrameContentSize(bytes.baseAddress, bytes.count)
        guard declared <= UInt64(limit) else { throw Failure(detail: "no believable size") }
        let result = RawBuffer(capacity: Int(declared))
        let size = ZSTD_decompress(
            result.region.baseAddress, result.region.count, bytes.baseAddress, bytes.count)
        try check(size)
        guard size == Int(declared) else { throw Failure(detail: "content is short") }
        result.count = size
        return result
    }

    private static func check(_ code: Int) throws(Failure) {
        if ZSTD_isError(code) != 0 {
            throw Failure(detail: String(cString: ZSTD_getErrorName(code)))
        }
    }
}

/// Raw memory. Whoever uses `bytes` or `region` of a local one keeps it alive until the scope's
/// end (`defer { withExtendedLifetime(buffer) {} }`).
final class RawBuffer {
    let region: UnsafeMutableRawBufferPointer
    var count = 0

    init(capacity: Int) {
        region = .allocate(byteCount: max(1, capacity), alignment: 16)
    }

    init(zeros count: Int) {
        region = .allocate(byteCount: max(1, count), alignment: 16)
        region.initializeMemory(as: UInt8.self, repeating: 0)
        self.count = count
    }

    deinit { region.deallocate() }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: region[..<count]) }
}
