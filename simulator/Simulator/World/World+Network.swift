import EdgeTypes
import EdgeWire

/// Messages under way, and what machines take for their work.
extension World {
    /// A client sends an attempt of an operation.
    func send(_ number: Int, _ attempt: Int) {
        let operation = clients.operations[number]
        let node = operation.node
        let link = network.links[node]
        let entity = operation.key &<< 3
        let counter = UInt64(attempt)
        let delayNs = network.delayNs(operation, .request, counter)
        let isLost =
            link.cutsRequests > 0 || random.happens(link.requestLoss, .networkLoss, entity, counter)
        let request = Happening.request(operation: number, attempt: attempt)
        if isLost {
            loseConnection(number, attempt)
        } else {
            let queueNs = queue(node, .request, bytes(of: number).count)
            deliver(request, node, afterNs: delayNs + queueNs)
        }
        if random.happens(link.duplication, .networkLoss, entity, counter | 1 << 40) {
            // Most at once, some much later.
            let unit = RandomSource.unit(random.word(.networkLoss, entity, counter | 1 << 41))
            let late = UInt64(2_000_000_000 * unit * unit * unit * unit)
            deliver(request, node, afterNs: delayNs + late)
        }
    }

    /// A request is at the node's door: it is lost where nothing passes.
    func arrive(_ operation: Int, _ attempt: Int) {
        let node = clients.operations[operation].node
        if network.links[node].cutsRequests > 0 { return loseConnection(operation, attempt) }
        nodes[node].receive(operation, attempt)
    }

    /// An answer is at the client's door.
    func arrive(_ operation: Int, _ attempt: Int, _ bytes: [UInt8]) {
        let node = clients.operations[operation].node
        if network.links[node].cutsReplies > 0 { return loseConnection(operation, attempt) }
        digest(bytes)
        clients.hear(operation, attempt, bytes)
    }

    /// Retransmissions end some seconds later, if the client has not gone by then.
    private func loseConnection(_ operation: Int, _ attempt: Int) {
        schedule(nowNs + 3_000_000_000, .connectionLost(operation: operation, attempt: attempt))
    }

    private func deliver(_ happening: Happening, _ node: Int, afterNs delayNs: UInt64) {
        if network.links[node].clogs > 0 {
            network.links[node].clogged.append(happening)
        } else {
            schedule(nowNs + delayNs, happening)
        }
    }

    /// A node answers an attempt.
    func answer(_ node: SimulatedNode, _ number: Int, _ attempt: Int, _ bytes: [UInt8]) {
        let operation = clients.operations[number]
        for oracle in oracles { oracle.left(self, operation, bytes) }
        let link = network.links[node.index]
        let counter = UInt64(attempt) << 20 | clients.nextAnswer(number)
        if link.cutsReplies > 0
            || random.happens(link.replyLoss, .networkLoss, operation.key &<< 3 | 1, counter)
        {
            return loseConnection(number, attempt)
        }
        deliver(
            .reply(operation: number, attempt: attempt, bytes: bytes), node.index,
            afterNs: network.delayNs(operation, .reply, counter)
                + queue(node.index, .reply, bytes.count))
    }

    /// How long a message waits for those before it and for its own bytes to pass.
    private func queue(_ node: Int, _ direction: Network.Direction, _ bytes: Int) -> UInt64 {
        let bandwidth = network.links[node].bandwidth
        guard bandwidth > 0 else { return 0 }
        let place = Int(direction.rawValue)
        let begins = max(nowNs, network.links[node].freeNs[place])
        let ends = begins + UInt64(Double(bytes) * 1e9 / bandwidth)
        network.links[node].freeNs[place] = ends
        return ends - nowNs
    }

    /// The node's end of a connection is gone.
    func clientLosesConnection(_ operation: Int, _ attempt: Int) {
        let delayNs = network.delayNs(
            clients.operations[operation], .reply, UInt64(attempt) | 1 << 50)
        schedule(nowNs + delayNs, .connectionLost(operation: operation, attempt: attempt))
    }

    // MARK: Work

    /// From the first request of a turn to its step.
    func stepNs(_ node: SimulatedNode) -> UInt64 {
        let draw = random.below(60_000, .service, UInt64(node.index) | 1 << 40, node.steps.next())
        return UInt64(Double(5_000 + draw) * node.cpuFactor)
    }

    func syncNs(_ node: SimulatedNode) -> UInt64 {
        let word = random.word(.diskDelay, UInt64(node.index), node.syncs.next())
        return UInt64(Double(Self.sync.sampleNs(word)) * node.diskFactor)
    }

    static let sync = Distribution.logNormal(medianNs: 300_000, sigma: 0.6)

    func storeLatencyNs(_ node: SimulatedNode) -> UInt64 {
        let word = random.word(.storeDelay, UInt64(node.index), node.transactions.next())
        return UInt64(Double(Self.transaction.sampleNs(word)) * node.store.faults.slowness)
    }

    func storeQuestionNs(_ node: SimulatedNode) -> UInt64 {
        let word = random.word(
            .storeDelay, UInt64(node.index) | 1 << 40, node.storeQuestions.next())
        return UInt64(Double(Self.transaction.sampleNs(word)) * node.store.faults.slowness)
    }

    static let transaction = Distribution.logNormal(medianNs: 2_000_000, sigma: 0.8)
}
