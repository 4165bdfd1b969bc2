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

    let random: RandomSource
    var links: [Link]

    init(_ random: RandomSource, nodes: Int) {
        self.random = random
        links = Array(repeating: Link(), count: nodes)
    }

    enum Direction: UInt64 {
        case request = 0
        case reply = 1
    }

    /// How long a message takes: a heavy tail over some milliseconds.
    func delayNs(_ link: Link, _ direction: Direction, _ entity: UInt64, _ counter: UInt64)
        -> UInt64
    {
        let place = entity | direction.rawValue
        let delay = Self.delay.sampleNs(random.word(.networkDelay, place, counter))
        var factor = link.slowness
        if link.reordering > 1, random.happens(0.05, .networkDelay, place, counter | 1 << 40) {
            factor *= link.reordering
        }
        return UInt64(Double(delay) * factor)
    }

    static let delay = Distribution.logNormal(medianNs: 2_000_000, sigma: 0.7)
}
