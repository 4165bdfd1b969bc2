/// A file's bytes. Zeros behind the last byte that was written take no memory.
struct FileImage {
    /// From the file's beginning to the highest offset written.
    private(set) var bytes: [UInt8] = []
    /// The file's size: at least that of `bytes`.
    private(set) var size = 0

    static let sectorBytes = 512

    /// Copies what the file has from `offset` on.
    ///
    /// - Returns: how many bytes.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) -> Int {
        let count = max(0, min(buffer.count, size - offset))
        let stored = max(0, min(count, bytes.count - offset))
        if stored > 0 {
            bytes.withUnsafeBytes { all in
                // SAFETY: `stored` is at most the buffer's count.
                buffer.baseAddress.unsafelyUnwrapped
                    .copyMemory(
                        from: all.baseAddress.unsafelyUnwrapped + offset, byteCount: stored)
            }
        }
        if count > stored {
            UnsafeMutableRawBufferPointer(rebasing: buffer[stored..<count])
                .initializeMemory(as: UInt8.self, repeating: 0)
        }
        return count
    }

    mutating func write(_ data: UnsafeRawBufferPointer, at offset: Int) {
        precondition(offset >= 0)
        guard data.count > 0 else { return }
        if offset > bytes.count {
            bytes.append(contentsOf: repeatElement(0, count: offset - bytes.count))
        }
        let inside = min(data.count, bytes.count - offset)
        if inside > 0 {
            bytes.withUnsafeMutableBytes { all in
                // SAFETY: `offset + inside` is at most the array's count.
                (all.baseAddress.unsafelyUnwrapped + offset)
                    .copyMemory(from: data.baseAddress.unsafelyUnwrapped, byteCount: inside)
            }
        }
        if inside < data.count {
            bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: data[inside...]))
        }
        size = max(size, offset + data.count)
    }

    mutating func resize(to size: Int) {
        precondition(size >= 0)
        if bytes.count > size { bytes.removeLast(bytes.count - size) }
        self.size = size
    }

    /// Undoes what made `bytes` or the file longer.
    mutating func shrink(to extent: Int, size: Int) {
        if bytes.count > extent { bytes.removeLast(bytes.count - extent) }
        self.size = size
    }

    mutating func flip(bit: UInt8, at offset: Int) { bytes[offset] ^= 1 << bit }

    /// Writes one sector of `view` here, as a disk does: as a whole.
    mutating func copySector(_ sector: Int, of view: FileImage) {
        let start = sector * FileImage.sectorBytes
        let end = min(start + FileImage.sectorBytes, view.size)
        guard start < end else { return }
        var data = [UInt8](repeating: 0, count: FileImage.sectorBytes)
        data.withUnsafeMutableBytes { buffer in
            _ = view.read(into: buffer, at: start)
        }
        // What is zero up to the end of both is not stored.
        let stored = min(end, max(view.bytes.count, bytes.count))
        data[..<max(0, stored - start)].withUnsafeBytes { write($0, at: start) }
        size = max(size, end)
    }
}
