/// What faults did to a node's disk that a single node cannot make up for, when and where: what
/// it may be excused for, and nothing beyond.
struct NodeDamage {
    /// A bit of a file has flipped.
    struct Rot {
        var ns: UInt64
        var path: String
        /// The store had all of the file before.
        var wasShipped: Bool
    }

    /// A write that lands elsewhere, somewhen between two times.
    struct Misdirection {
        var fromNs: UInt64
        /// nil: it has not ended; nothing may have been written yet.
        var toNs: UInt64?
    }

    private(set) var rots: [Rot] = []
    private(set) var misdirections: [Misdirection] = []

    mutating func rotted(_ path: String, at ns: UInt64, wasShipped: Bool) {
        rots.append(Rot(ns: ns, path: path, wasShipped: wasShipped))
    }

    /// - Parameter isPending: whether the disk still waits for a write to misdirect.
    mutating func armed(at ns: UInt64, isPending: Bool) {
        disarmed(at: ns, isPending: isPending)
        misdirections.append(Misdirection(fromNs: ns, toNs: nil))
    }

    mutating func disarmed(at ns: UInt64, isPending: Bool) {
        for index in misdirections.indices.reversed() where misdirections[index].toNs == nil {
            // Nothing was written in that time.
            if isPending { misdirections.remove(at: index) } else { misdirections[index].toNs = ns }
        }
    }

    func isMisdirected(since ns: UInt64, isPending: Bool) -> Bool {
        misdirections.contains { one in one.toNs.map { $0 >= ns } ?? !isPending }
    }

    func isRotted(since ns: UInt64) -> Bool { rots.contains { $0.ns >= ns } }

    /// Whether an error names a file whose bits have flipped, compressed since or not.
    func names(_ error: String, where condition: (Rot) -> Bool = { _ in true }) -> Bool {
        rots.contains { condition($0) && error.contains(Self.stem($0.path)) }
    }

    /// Whether a store has passed a segment.
    ///
    /// - Parameter segment: where the store is in a lane; nil: nowhere.
    func isShipped(_ path: String, _ segment: (String) -> UInt64?) -> Bool {
        let parts = Self.stem(path).split(separator: "-").compactMap { UInt64($0) }
        guard parts.count == 3 else { return false }
        return segment("\(parts[0])-\(parts[1])").map { parts[2] < $0 } ?? false
    }

    private static func stem(_ path: String) -> String {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        return name.split(separator: ".").first.map(String.init) ?? name
    }
}
