/// How far apart the two ends of a link are: what the delays of its messages are drawn from.
public enum LinkClass: String, Sendable, CaseIterable, Codable {
    /// Two machines of one zone.
    case sameZone
    /// Two zones of one region.
    case crossZone
    /// Two regions.
    case crossRegion
    /// A telephone, over a radio link and the networks behind it.
    case mobile
}

/// One-way delays of each class of links.
///
/// The defaults are assumptions, in the shape of what has been published and not measured here:
/// - `sameZone`: about a tenth of a millisecond, and a tail of two orders of magnitude at 1 in
///   1,000 (the shape of Guo et al., "Pingmesh", SIGCOMM 2015). The longest is a lost segment:
///   Linux waits 200 ms before it sends one again.
/// - `crossZone`: providers promise less than 2 ms for both ways, and 0.3 to 1.5 ms are common
///   between the zones of large clouds. The same tail.
/// - `crossRegion`: 1,500 to 2,500 km of fibre (5 µs a km, and detours), with the jitter and the
///   loss of long distances.
/// - `mobile`: few telephones see less than 20 ms for both ways, the median of 4G is near 50 ms
///   (Rizvi et al., "Third-Party Assessment of Mobile Performance in the 5G Era", 2025), and
///   radio handovers and full buffers take seconds.
public struct LinkShapes: Sendable, Hashable, Codable {
    public var sameZone: Distribution = Self.table([
        (0.01, 50), (0.5, 120), (0.9, 250), (0.99, 800),
        (0.999, 10_000), (1, 205_000),
    ])
    public var crossZone: Distribution = Self.table([
        (0.01, 200), (0.5, 500), (0.9, 900), (0.99, 2_000),
        (0.999, 15_000), (1, 210_000),
    ])
    public var crossRegion: Distribution = Self.table([
        (0.01, 12_000), (0.5, 18_000), (0.9, 24_000),
        (0.99, 50_000), (0.999, 280_000), (1, 1_000_000),
    ])
    public var mobile: Distribution = Self.table([
        (0.01, 8_000), (0.5, 25_000), (0.9, 70_000),
        (0.99, 300_000), (0.999, 1_200_000), (1, 3_000_000),
    ])

    public init() {}

    public subscript(kind: LinkClass) -> Distribution {
        get {
            switch kind {
            case .sameZone: sameZone
            case .crossZone: crossZone
            case .crossRegion: crossRegion
            case .mobile: mobile
            }
        }
        set {
            switch kind {
            case .sameZone: sameZone = newValue
            case .crossZone: crossZone = newValue
            case .crossRegion: crossRegion = newValue
            case .mobile: mobile = newValue
            }
        }
    }

    /// Probabilities and microseconds.
    private static func table(_ points: [(Double, UInt64)]) -> Distribution {
        .empirical(
            QuantileTable(
                points.map { QuantileTable.Point(probability: $0.0, ns: $0.1 * 1_000) }))
    }
}

/// What a scenario says of its links; what it leaves out is drawn for each node.
public struct ScenarioLinks: Sendable, Hashable, Codable {
    public var shapes = LinkShapes()
    /// How users reach their nodes, and how back ends and operators do.
    public var users: LinkClass?
    public var backEnds: LinkClass?

    public init() {}

    /// Why it cannot be drawn from; nil where it can.
    var problem: String? {
        for kind in LinkClass.allCases {
            if let problem = shapes[kind].problem { return "\(kind): \(problem)" }
        }
        return nil
    }
}
