public import EdgeJournal
public import Glibc

/// Names and paths of a virtual disk.
extension VirtualDisk {
    public func makeDirectory(_ path: String, mode: mode_t) -> Int32 {
        guard begin() else { return -EIO }
        guard let (folder, name) = split(path) else { return missing(path) }
        guard !name.isEmpty, folder[name] == nil else { return -EEXIST }
        if faults.isReadOnly { return -EROFS }
        folder.link(name, .folder(VirtualFolder(parent: folder)))
        return 0
    }

    public func list(_ path: String, into names: inout [String]) -> Int32 {
        guard begin() else { return -EIO }
        guard let folder = folder(path) else { return missing(path) }
        for entry in folder.entries { names.append(entry.name) }
        return 0
    }

    public func status(_ path: String) -> FileStatus? {
        guard begin(), let (folder, name) = split(path) else { return nil }
        switch name.isEmpty ? .folder(folder) : folder[name] {
        case .file(let file):
            return FileStatus(isDirectory: false, sizeBytes: UInt64(file.image.size))
        case .folder: return FileStatus(isDirectory: true, sizeBytes: 0)
        case nil: return nil
        }
    }

    public func remove(_ path: String) -> Int32 {
        guard begin() else { return -EIO }
        guard let (folder, name) = split(path) else { return missing(path) }
        guard let node = folder[name] else { return -ENOENT }
        guard case .file(let file) = node else { return -EISDIR }
        if faults.isReadOnly { return -EROFS }
        folder.unlink(name)
        file.links -= 1
        release(file)
        return 0
    }

    public func rename(_ from: String, to path: String) -> Int32 {
        guard begin() else { return -EIO }
        guard let (folder, old) = split(from), let (other, new) = split(path) else {
            return missing(path)
        }
        guard folder === other else { return -EXDEV }
        guard let node = folder[old] else { return -ENOENT }
        if faults.isReadOnly { return -EROFS }
        if old == new { return 0 }
        if case .file(let replaced) = folder[new] {
            replaced.links -= 1
            release(replaced)
        }
        folder.rename(old, to: new, node)
        return 0
    }

    // MARK: Paths

    /// The folder that a path's last part is in, and that part; the part is empty for a folder
    /// that has no name of its own ("/", "..").
    func split(_ path: String) -> (VirtualFolder, String)? {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else {
            return path.isEmpty ? nil : part(root, path)
        }
        guard let folder = folder(String(path[..<slash])) else { return nil }
        return part(folder, String(path[path.utf8.index(after: slash)...]))
    }

    private func part(_ folder: VirtualFolder, _ name: String) -> (VirtualFolder, String) {
        switch name {
        case "", ".": (folder, "")
        case "..": (folder.parent ?? folder, "")
        default: (folder, name)
        }
    }

    private func folder(_ path: String) -> VirtualFolder? {
        if path.isEmpty { return root }
        if let known = folders[path] { return known }
        guard let (parent, name) = split(path) else { return nil }
        if name.isEmpty { return parent }
        guard case .folder(let folder) = parent[name] else { return nil }
        folders[path] = folder
        return folder
    }

    /// Why a path leads nowhere.
    func missing(_ path: String) -> Int32 {
        var place = path[...]
        while let slash = place.lastIndex(of: "/") {
            place = place[..<slash]
            if file(at: String(place)) != nil { return -ENOTDIR }
        }
        return -ENOENT
    }

    func file(at path: String) -> VirtualFile? {
        guard let (folder, name) = split(path), case .file(let file) = folder[name] else {
            return nil
        }
        return file
    }
}
