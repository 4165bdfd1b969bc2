import EdgeReconciler
import EdgeTypes

/// Watches a world from outside and says what does not hold: it sees what clients ask and hear,
/// what stores contain, what journals are given and have committed, and declared probes. One
/// invariant a file.
protocol Oracle: AnyObject {
    var name: String { get }
    /// Somebody begins to want something.
    func asked(_ world: World, _ operation: Operation)
    /// An answer arrives, also where an earlier one did.
    ///
    /// - Parameter sentNs: when the attempt was sent that it answers: it was decided since.
    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64)
    /// A node lets an answer go.
    func left(_ world: World, _ operation: Operation, _ answer: [UInt8])
    /// A step of a node has just made an entry. Its history's `live` is as it was before.
    func wrote(_ world: World, _ node: Int, _ header: EntryHeader, _ entry: Entry)
    /// The journal has committed an entry; its history's `fold` has taken it.
    func committed(_ world: World, _ node: Int, _ entry: Entry)
    /// A node has come back from its disk.
    func restarted(_ world: World, _ node: SimulatedNode)
    /// A node's reconciler has had a turn.
    func reconciled(_ world: World, _ node: SimulatedNode)
    /// A store has committed a batch.
    func stored(_ world: World, _ store: StoreModel, _ changes: StoreChanges)
    /// A Redis has done something.
    ///
    /// - Parameter before: what it held.
    func executed(
        _ world: World, _ redis: RedisModel, _ work: RedisWork, before: RedisKeyspace)
    /// A Redis has lost something.
    ///
    /// - Parameter pool: somebody has deleted the pool's hash, or its parts; nil: all kinds of keys.
    func lost(_ world: World, _ redis: RedisModel, pool: String?)
    /// Everything has settled.
    func ended(_ world: World)
}

extension Oracle {
    func asked(_ world: World, _ operation: Operation) {}
    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {}
    func left(_ world: World, _ operation: Operation, _ answer: [UInt8]) {}
    func wrote(_ world: World, _ node: Int, _ header: EntryHeader, _ entry: Entry) {}
    func committed(_ world: World, _ node: Int, _ entry: Entry) {}
    func restarted(_ world: World, _ node: SimulatedNode) {}
    func reconciled(_ world: World, _ node: SimulatedNode) {}
    func stored(_ world: World, _ store: StoreModel, _ changes: StoreChanges) {}
    func executed(
        _ world: World, _ redis: RedisModel, _ work: RedisWork, before: RedisKeyspace
    ) {}
    func lost(_ world: World, _ redis: RedisModel, pool: String?) {}
    func ended(_ world: World) {}
}

enum Oracles {
    static func all() -> [any Oracle] {
        let operators = OperatorLog()
        return [
            operators, WinnersOracle(operators), SameAnswerOracle(operators),
            TermsOracle(operators), OrdersOracle(), HoldsOracle(), PaymentsOracle(),
            DurabilityOracle(), SingleHistoryOracle(), ConvergenceOracle(), ConservationOracle(),
            BooksOracle(), OperatorsOracle(), ReadsOracle(), RefusalsOracle(operators),
            DoorsOracle(), BoundsOracle(), StrandedOracle(), ArchiveOracle(), MirrorOracle(),
            EventsOracle(),
        ]
    }
}

/// A grab's answer where something was won.
struct Win: Hashable {
    var fen: Int64
    var packet: Int64
    var timeMs: Int64

    init?(_ operation: Operation, _ answer: RESPAnswer) {
        let items = answer.items
        guard operation.kind == .grab, items.count == 4,
            items[0].text == "granted" || items[0].text == "repeat",
            let fen = items[1].integer, let packet = items[2].integer,
            let timeMs = items[3].integer
        else { return nil }
        self.fen = fen
        self.packet = packet
        self.timeMs = timeMs
    }

    init(_ grant: NodeBooks.Grant) {
        fen = grant.fen
        packet = grant.packet
        timeMs = grant.timeMs
    }
}
