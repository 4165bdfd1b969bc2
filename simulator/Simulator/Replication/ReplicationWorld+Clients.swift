import EdgeCluster
import EdgeTypes

/// What somebody wants of the model: a number appended, or how far the log reaches.
struct ReplicaOperation {
    var shard: Int
    /// 0: a read.
    var number: UInt64
    var attempt = 0
    var sentNs: UInt64 = 0
    /// What was acknowledged before a read began.
    var floor: UInt64 = 0
    var isDone = false
    var client: Int
}

extension ReplicationWorld {
    func planClients() {
        let window = scenario.faultsEndNs + 4_000_000_000
        for client in 0..<scenario.clients {
            for _ in 0..<scenario.operationsPerClient {
                let id = operations.count
                operations.append(
                    ReplicaOperation(
                        shard: Int(below(UInt64(scenario.shards))),
                        number: happens(0.5) ? UInt64(id) + 1 : 0, client: client))
                schedule(below(window), .timeout(id, attempt: 0))
            }
        }
    }

    /// An attempt begins: at first, and after silence.
    func timeOut(_ id: Int, _ attempt: Int) {
        guard !operations[id].isDone, operations[id].attempt == attempt else { return }
        operations[id].attempt += 1
        if operations[id].attempt == 1 || operations[id].number == 0 {
            operations[id].sentNs = nowNs
            operations[id].floor = highest[operations[id].shard]
        }
        let node = Int(below(UInt64(scenario.nodes)))
        let number = operations[id].attempt
        schedule(
            nowNs + 100_000 + below(1_000_000), .request(id, attempt: number, node: node))
        schedule(nowNs + 1_000_000_000, .timeout(id, attempt: number))
    }

    func request(_ id: Int, _ attempt: Int, _ node: ReplicaNode) {
        let operation = operations[id]
        let shard = operation.shard
        guard node.shards[shard].replica.takesRequests else {
            return schedule(
                nowNs + 200_000 + below(20_000_000), .reply(id, attempt: attempt, result: nil))
        }
        effects = []
        var result = node.shards[shard].replica.last
        var wrote = false
        if operation.number > 0 {
            if let known = node.shards[shard].log.firstIndex(of: operation.number) {
                probe(.repeatedAnswer)
                result = UInt64(known) + 1
            } else {
                result = node.shards[shard].replica.append(into: &effects)
                node.shards[shard].log.append(operation.number)
                precondition(node.shards[shard].log.count == Int(result))
                wrote = true
                feed(node, shard, operation.number, result)
            }
        }
        // Whatever it has read must be committed first, its own entry included.
        node.shards[shard].waiting.append(
            ReplicaNode.Waiting(
                operation: id, attempt: attempt, needs: node.shards[shard].replica.last,
                result: result, wrote: wrote))
        execute(node, shard)
    }

    private func feed(_ node: ReplicaNode, _ shard: Int, _ number: UInt64, _ sequence: UInt64) {
        let replica = node.shards[shard].replica
        guard let epoch = replica.configuration?.epoch else { return }
        for follower in replica.streaming {
            send(
                .entries(epoch: epoch, first: sequence, count: 1), [UInt64(shard), number], node,
                follower)
        }
    }

    func release(_ node: ReplicaNode) {
        for shard in 0..<scenario.shards { release(node, shard) }
    }

    /// Lets answers go: what they have read is committed, and this is still the primary.
    func release(_ node: ReplicaNode, _ shard: Int) {
        guard !node.shards[shard].waiting.isEmpty else { return }
        let replica = node.shards[shard].replica
        guard replica.mayAnswer else { return }
        let holdsLeases = holdsLeases(node, replica)
        if !holdsLeases { probe(.leaseMissing) }
        var rest: [ReplicaNode.Waiting] = []
        for waiting in node.shards[shard].waiting {
            let isRead = operations[waiting.operation].number == 0
            let ignores = isRead && scenario.mutant == .readsUncommitted
            guard waiting.needs <= replica.committed || ignores, holdsLeases || waiting.wrote
            else {
                probe(.answerWaited)
                rest.append(waiting)
                continue
            }
            schedule(
                nowNs + 100_000 + below(1_000_000),
                .reply(waiting.operation, attempt: waiting.attempt, result: waiting.result))
            answered(node, waiting)
        }
        node.shards[shard].waiting = rest
    }

    /// The moment in which an answer leaves is when it counts.
    private func answered(_ node: ReplicaNode, _ waiting: ReplicaNode.Waiting) {
        let operation = operations[waiting.operation]
        let shard = operation.shard
        if operation.number == 0 {
            // What one has read, all who come later read too.
            highest[shard] = max(highest[shard], waiting.result)
            if waiting.attempt == operation.attempt, waiting.result < operation.floor {
                fail(
                    "reads",
                    "shard \(shard): \(waiting.result) read at \(node.index), "
                        + "\(operation.floor) was acknowledged before")
            }
            return
        }
        if let before = acknowledged[shard][operation.number], before != waiting.result {
            fail(
                "same answer",
                "shard \(shard): \(operation.number) at \(before), now at \(waiting.result)")
        }
        acknowledged[shard][operation.number] = waiting.result
        highest[shard] = max(highest[shard], waiting.result)
    }

    func reply(_ id: Int, _ attempt: Int, _ result: UInt64?) {
        guard !operations[id].isDone else { return }
        if result != nil {
            if operations[id].number == 0, attempt != operations[id].attempt { return }
            operations[id].isDone = true
        } else if attempt == operations[id].attempt {
            timeOut(id, attempt)
        }
    }
}
