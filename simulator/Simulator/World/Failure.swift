/// What did not hold, and where.
public struct Failure: Sendable, Hashable, Codable, Error {
    public enum Kind: String, Sendable, Codable {
        /// Something was wrong.
        case correctness
        /// Something never came.
        case liveness
        /// The process itself trapped.
        case crash
    }

    public var oracle: String
    public var kind: Kind
    public var detail: String
    public var event: UInt64
    public var timeNs: UInt64
    public var digest: UInt64

    public init(
        oracle: String, kind: Kind, detail: String, event: UInt64, timeNs: UInt64, digest: UInt64
    ) {
        self.oracle = oracle
        self.kind = kind
        self.detail = detail
        self.event = event
        self.timeNs = timeNs
        self.digest = digest
    }
}

extension Failure: CustomStringConvertible {
    public var description: String {
        "\(oracle) (\(kind.rawValue)) at event \(event), \(timeNs / 1_000_000) ms: \(detail)"
    }
}
