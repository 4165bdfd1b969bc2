public import EdgeTypes

/// What an audit may find. Each kind is counted, and its first instance named.
public enum FindingKind: UInt8, Sendable, CaseIterable {
    // Journal against store, row by row.
    case claimMissing = 0
    case claimExtra
    case claimDiffers
    /// A row more for a packet that has one.
    case claimDoubled
    case orderMissing
    case orderExtra
    case orderDiffers
    case paymentMissing
    case paymentExtra
    case paymentDiffers
    case refundMissing
    case refundExtra
    case refundDiffers
    case movementMissing
    case movementExtra
    case movementDiffers
    case poolMissing
    case poolExtra
    case poolDiffers
    case sliceMissing
    case sliceExtra
    case sliceDiffers
    // Store against Redis.
    case mirrorBehind
    case mirrorMissing
    case mirrorDiffers
    /// Totals that are not the sums of their parts.
    case mirrorTotal
    /// The journal ends before the store's watermark, or is another's.
    case journalShort
    // Rules of the history itself.
    case packetTwice
    case packetUnknown
    case userAboveLimit
    case amountAboveFunded
    /// Everything was granted, and the amounts do not add up to the total.
    case amountNotExact
    case sliceOverdrawn
    case treasuryOverdrawn
    case transferNumber
    /// A closed pool whose units do not add up.
    case unitsLost
    case history
    /// A slice was archived that was not closed for good.
    case archivedOpen

    /// The kind in words.
    public var title: String {
        switch self {
        case .claimMissing: "claims missing in the store"
        case .claimExtra: "claims in the store that the journal does not know"
        case .claimDiffers: "claims that differ"
        case .claimDoubled: "claims that stand twice in the store"
        case .orderMissing: "orders missing in the store"
        case .orderExtra: "orders in the store that the journal does not know"
        case .orderDiffers: "orders that differ"
        case .paymentMissing: "payments missing in the store"
        case .paymentExtra: "payments in the store that the journal does not know"
        case .paymentDiffers: "payments that differ"
        case .refundMissing: "refunds missing in the store"
        case .refundExtra: "refunds in the store that the journal does not know"
        case .refundDiffers: "refunds that differ"
        case .movementMissing: "stock movements missing in the store"
        case .movementExtra: "stock movements in the store that the journal does not know"
        case .movementDiffers: "stock movements that differ"
        case .poolMissing: "pools missing in the store"
        case .poolExtra: "pools in the store that the journal does not know"
        case .poolDiffers: "pools that differ"
        case .sliceMissing: "slices missing in the store"
        case .sliceExtra: "slices in the store that the journal does not know"
        case .sliceDiffers: "slices that differ"
        case .mirrorBehind: "shards that Redis does not catch up with"
        case .mirrorMissing: "pools or slices missing in Redis"
        case .mirrorDiffers: "pools or slices that differ in Redis"
        case .mirrorTotal: "totals in Redis that are not the sums of their parts"
        case .journalShort: "shards whose journal does not reach the store's watermark"
        case .packetTwice: "packets granted twice"
        case .packetUnknown: "packets that their pool does not have"
        case .userAboveLimit: "users above the limit"
        case .amountAboveFunded: "pools that gave more than their total"
        case .amountNotExact: "pools granted in full whose amounts miss the total"
        case .sliceOverdrawn: "slices that gave more than they had"
        case .treasuryOverdrawn: "treasuries that leased more than they had"
        case .transferNumber: "transfers out of order"
        case .unitsLost: "closed pools whose units do not add up"
        case .history: "entries that break the history's rules"
        case .archivedOpen: "slices archived that were not closed"
        }
    }
}

/// One kind of what an audit found.
public struct Finding: Hashable, Sendable {
    public var kind: FindingKind
    /// How many there are.
    public var count: Int64
    // The first of them.
    public var subject: String
    public var field: String
    /// What the journal, or the rule, says.
    public var expected: String
    /// What is there.
    public var found: String
}

extension Finding: CustomStringConvertible {
    public var description: String {
        "\(count) \(kind.title); first: \(subject): \(field): expected \(expected), found \(found)"
    }
}

/// The result of an audit, or of a fold's own checks.
public struct AuditReport: Hashable, Sendable {
    // What was compared.
    public var claims: Int64 = 0
    public var claimsFen: Fen = 0
    public var orders: Int64 = 0
    public var payments: Int64 = 0
    public var refunds: Int64 = 0
    public var pools: Int64 = 0
    public var slices: Int64 = 0
    public var entries: Int64 = 0
    /// In Redis, where that was compared too. Slices that changed meanwhile are not counted.
    public var mirroredPools: Int64 = 0
    public var mirroredSlices: Int64 = 0
    /// Rows of entries older than the journal's first: they have nothing to be compared with.
    public var beyondJournal: Int64 = 0

    /// Most findings of a kind come once for each defect; only the first is kept in words.
    public private(set) var findings: [Finding] = []

    public init() {}

    public var isClean: Bool { findings.isEmpty }

    public subscript(kind: FindingKind) -> Finding? { findings.first { $0.kind == kind } }

    /// Counts a finding; its words are made only for the first of its kind.
    public mutating func add(
        _ kind: FindingKind, _ subject: @autoclosure () -> String,
        _ field: @autoclosure () -> String, expected: @autoclosure () -> String,
        found: @autoclosure () -> String
    ) {
        if let index = findings.firstIndex(where: { $0.kind == kind }) {
            findings[index].count += 1
            return
        }
        findings.append(
            Finding(
                kind: kind, count: 1, subject: subject(), field: field(), expected: expected(),
                found: found()))
    }

    /// Adds what another report found.
    public mutating func merge(_ other: AuditReport) {
        mirroredPools += other.mirroredPools
        mirroredSlices += other.mirroredSlices
        for finding in other.findings {
            if let index = findings.firstIndex(where: { $0.kind == finding.kind }) {
                findings[index].count += finding.count
            } else {
                findings.append(finding)
            }
        }
    }
}

extension AuditReport: CustomStringConvertible {
    public var description: String {
        var lines = [
            "compared \(claims) claims of \(claimsFen) fen, \(orders) orders, \(payments) "
                + "payments, \(refunds) refunds, \(pools) pools, \(slices) slices"
        ]
        if beyondJournal > 0 {
            lines.append("\(beyondJournal) rows are older than the journal and were not compared")
        }
        if mirroredPools > 0 {
            lines.append("in Redis: \(mirroredPools) pools, \(mirroredSlices) slices")
        }
        if isClean { lines.append("clean: no difference") }
        lines += findings.map(\.description)
        return lines.joined(separator: "\n")
    }
}
