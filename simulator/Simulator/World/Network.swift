import EdgeTypes

/// The links between clients and nodes. A message is a request or an answer on a connection of its
/// own, so that what is lost is a connection, what is repeated is a request that a proxy sent
/// twice, and messages overtake each other as those of different connections do.
struct Network {
    /// What faults do to one node's link.
    struct Link {
        var requestLoss = 0.0
        var replyLoss = 0.0
        /// Some proxies try again at once.
        var duplication = 0.03
        var slowness = 1.0
        var reordering = 1.0
        /// Bytes a second; 0: no limit.
        var bandwidth = 0.0
        /// When the link has passed what it was given, by direction.
        var freeNs: [UInt64] = [0, 0]
        var cutsRequests = 0
        var cutsReplies = 0
        /// Messages wait while it is above 0.
        var clogs = 0
        var clogged: [Happening] = []
    }

    /// Who is at the other end of a node's link.
    enum Peer: UInt64, CaseIterable {
        case user = 0
        /// What pays and refunds, and operators.
        case backEnd = 1

        init(_ operation: Operation) {
            let isMoney = operation.kind == .pay || operation.kind == .refund
            self = operation.actor < 0 || isMoney ? .backEnd : .user
        }
    }

    /// How far one sort of a node's peers is away.
    struct Path {
        var kind: LinkClass
        /// No two links of a class are alike.
        var stretch: Double
    }

    let random: RandomSource
    private let shapes: LinkShapes
    var links: [Link]
    /// By node and peer.
    let paths: [[Path]]

    init(_ scenario: Scenario, _ random: RandomSource) {
        let wanted = scenario.links ?? ScenarioLinks()
        self.random = random
        shapes = wanted.shapes
        links = Array(repeating: Link(), count: scenario.nodes)
        paths = (0..<scenario.nodes).map { node in
            Peer.allCases.map { peer in
                Self.draw(peer, node, peer == .user ? wanted.users : wanted.backEnds, random)
            }
        }
    }

    private static func draw(
        _ peer: Peer, _ node: Int, _ given: LinkClass?, _ random: RandomSource
    ) -> Path {
        let entity = UInt64(node) << 1 | peer.rawValue
        let draw = random.below(10, .links, entity)
        let kind: LinkClass =
            switch peer {
            // Most hold a telephone; some come through a gateway that stands anywhere.
            case .user:
                draw < 5 ? .mobile : draw < 7 ? .crossRegion : draw < 8 ? .crossZone : .sameZone
            case .backEnd: draw < 5 ? .sameZone : draw < 8 ? .crossZone : .crossRegion
            }
        let unit = RandomSource.unit(random.word(.links, entity, 1))
        return Path(kind: given ?? kind, stretch: 0.5 + 1.5 * unit)
    }

    enum Direction: UInt64 {
        case request = 0
        case reply = 1
    }

    /// How long a message of `operation` takes: see `LinkShapes`, and what faults do.
    ///
    /// - Parameter counter: which of the operation's messages of this direction it is.
    func delayNs(_ operation: Operation, _ direction: Direction, _ counter: UInt64) -> UInt64 {
        let link = links[operation.node]
        let path = paths[operation.node][Int(Peer(operation).rawValue)]
        let place = operation.key &<< 2 | direction.rawValue
        let delayNs = shapes[path.kind].sampleNs(random.word(.networkDelay, place, counter))
        var factor = path.stretch * link.slowness
        if link.reordering > 1, random.happens(0.05, .networkDelay, place, counter | 1 << 40) {
            factor *= link.reordering
        }
        return UInt64(min(Double(delayNs) * factor, Self.longestNs))
    }

    /// A minute: nobody waits for more.
    private static let longestNs = 60e9
}
