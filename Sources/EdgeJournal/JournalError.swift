public import EdgeTypes
public import EdgeWire
import Glibc

/// Why the journal or the snapshots cannot be used.
public enum JournalError: Error, Hashable, Sendable {
    /// The disk (or the quota) has no room.
    case noSpace(path: String)
    /// The file system is mounted read-only.
    case readOnly(path: String)
    case permissionDenied(path: String)
    /// The path, or a part of it, exists and is no directory.
    case notADirectory(path: String)
    /// Another process works on the same data directory.
    case locked(path: String, holder: String)
    /// The files belong to another cluster or node.
    case foreign(path: String, expected: JournalIdentity, found: JournalIdentity)
    /// Written by a format that this release does not know.
    case unsupportedFormat(path: String, version: UInt32)
    /// What is on disk is not what was written there.
    case damaged(JournalDamage)
    /// Any other failure of the operating system.
    case system(operation: String, path: String, errno: Int32)

    static func from(_ code: Int32, _ operation: String, _ path: String) -> JournalError {
        switch code {
        case ENOSPC, EDQUOT: .noSpace(path: path)
        case EROFS: .readOnly(path: path)
        case EACCES, EPERM: .permissionDenied(path: path)
        case ENOTDIR: .notADirectory(path: path)
        default: .system(operation: operation, path: path, errno: code)
        }
    }
}

/// Damage: where it is and how it shows.
public struct JournalDamage: Hashable, Sendable {
    public var file: String
    /// Bytes from the file's beginning; within the decompressed content for `.zst` files.
    public var offset: UInt64
    public var reason: Reason

    public enum Reason: Hashable, Sendable {
        /// No intact frame, although it is proven that one was durable there; or an intact one
        /// that this release cannot read.
        case undecodable(JournalDecodeError)
        /// A header block or a small file fails its checksum.
        case badHeader
        /// The header names another place than the file's name.
        case misplaced
        case missingFile
        /// The lane goes on in another segment, but this one has no seal.
        case notSealed
        /// A later start wrote segments, but this lane was never closed.
        case notClosed
        /// A shard's entries do not follow one another.
        case sequence(shard: ShardID, expected: UInt64, found: UInt64)
        case epochWentBack(shard: ShardID, from: UInt32, to: UInt32)
        case impossibleShard(ShardID)
        /// A batch's or a seal's own account differs from what is there.
        case contradiction(String)
        case compression(String)
    }

    public init(_ file: String, _ offset: UInt64, _ reason: Reason) {
        self.file = file
        self.offset = offset
        self.reason = reason
    }
}

extension JournalError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .noSpace(let path): "no space left on the device: \(path)"
        case .readOnly(let path): "read-only file system: \(path)"
        case .permissionDenied(let path): "permission denied: \(path)"
        case .notADirectory(let path): "not a directory: \(path)"
        case .locked(let path, let holder): "\(path) is in use by \(holder)"
        case .foreign(let path, let expected, let found):
            "\(path) belongs to \(found), this is \(expected)"
        case .unsupportedFormat(let path, let version):
            "\(path) has format \(version), which this release does not know"
        case .damaged(let damage): damage.description
        case .system(let operation, let path, let code):
            "\(operation) \(path): \(String(cString: strerror(code)))"
        }
    }
}

extension JournalDamage: CustomStringConvertible {
    public var description: String { "\(file) is damaged at byte \(offset): \(reason)" }
}

extension JournalDamage.Reason: CustomStringConvertible {
    public var description: String {
        switch self {
        case .undecodable(let error):
            error.isCorruption ? "\(error), yet it was durable once" : "\(error)"
        case .badHeader: "the header fails its checksum"
        case .misplaced: "the header names another file"
        case .missingFile: "the file is missing"
        case .notSealed: "the lane goes on in the next segment, but this one has no seal"
        case .notClosed: "a later start wrote segments, but this lane was never closed"
        case .sequence(let shard, let expected, let found):
            "shard \(shard) should go on with sequence \(expected), but \(found) follows"
        case .epochWentBack(let shard, let from, let to):
            "shard \(shard) goes back from epoch \(from) to \(to)"
        case .impossibleShard(let shard): "there is no shard \(shard)"
        case .contradiction(let detail): detail
        case .compression(let detail): "zstd: \(detail)"
        }
    }
}

/// Whose journal it is: a node of a cluster. Copied files are refused elsewhere.
public struct JournalIdentity: Hashable, Sendable, CustomStringConvertible {
    public var cluster: UInt64
    public var node: UInt64

    public init(cluster: UInt64, node: UInt64) {
        self.cluster = cluster
        self.node = node
    }

    public var description: String {
        "cluster \(String(cluster, radix: 16)), node \(String(node, radix: 16))"
    }
}
