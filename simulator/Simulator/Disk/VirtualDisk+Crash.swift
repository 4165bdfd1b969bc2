import EdgeMemory

/// What happens to a virtual disk: the end of its process, loss of power, damage.
extension VirtualDisk {
    /// Power is lost, and comes back: see the type.
    ///
    /// - Parameter counter: which loss of this disk it is; the same numbers give the same loss.
    public func crash(_ random: RandomSource, _ counter: UInt64) {
        var draw = CrashDraw(random, disk: number, counter: counter)
        processCrash()
        crash(root, &draw)
        folders.removeAll()
        usedBytes = 0
        recount(root)
    }

    private func crash(_ folder: VirtualFolder, _ draw: inout CrashDraw) {
        folder.crash(&draw)
        for entry in folder.entries {
            switch entry.node {
            case .file(let file): file.crash(&draw)
            case .folder(let inner): crash(inner, &draw)
            }
        }
    }

    private func recount(_ folder: VirtualFolder) {
        for entry in folder.entries {
            switch entry.node {
            case .file(let file):
                file.links = 1
                usedBytes += file.blockBytes
            case .folder(let inner): recount(inner)
            }
        }
    }

    // MARK: Damage

    /// Flips one bit, drawn at random, of a file's durable bytes: bit rot.
    ///
    /// - Returns: the byte's offset; nil where there is no such file or nothing durable in it.
    @discardableResult
    public func rot(_ path: String, _ random: RandomSource, _ counter: UInt64) -> Int? {
        guard let file = file(at: path) else { return nil }
        let entity = Hash64.mix(counter, number)
        return file.rot { random.word(.diskDamage, entity, $0) }
    }

    /// Flips a chosen bit.
    ///
    /// - Precondition: the file is durable, and bytes have been written up to `offset`.
    public func flip(_ path: String, at offset: Int, bit: UInt8) {
        guard let file = file(at: path) else { preconditionFailure("no file \(path)") }
        file.flip(bit: bit, at: offset)
    }

    // MARK: Looking

    /// What a file holds up to the highest offset written; nil where there is no such file.
    public func contents(_ path: String) -> [UInt8]? { file(at: path)?.image.bytes }

    /// Whether all of a file's bytes (not its name) are durable.
    public func isDurable(_ path: String) -> Bool { file(at: path)?.isDurable ?? false }

    /// A number that two disks share only where all that can be read from them is the same.
    public func digest() -> UInt64 { VirtualDisk.digest(root, 0) }

    private static func digest(_ folder: VirtualFolder, _ before: UInt64) -> UInt64 {
        var sum = before
        for entry in folder.entries {
            var name = entry.name
            let hash = name.withUTF8 { Checksum.crc32c(UnsafeRawBufferPointer($0)) }
            sum = Hash64.mix(sum, UInt64(hash))
            switch entry.node {
            case .folder(let inner): sum = Hash64.mix(digest(inner, sum), 1)
            case .file(let file):
                let content = file.image.bytes.withUnsafeBytes { Checksum.crc32c($0) }
                sum = Hash64.mix(sum ^ UInt64(content), UInt64(file.image.size))
            }
        }
        return sum
    }
}
