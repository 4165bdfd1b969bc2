import EdgeCore
import EdgeMemory
import EdgeTypes

/// What an event of the fault simulator stands for.
enum Happening {
    /// A request's bytes arrive at a node, on a connection of their own.
    case request(operation: Int, attempt: Int)
    /// An answer's bytes arrive at the client.
    case reply(operation: Int, attempt: Int, bytes: [UInt8])
    /// The client learns that its connection is gone, or that it was refused.
    case connectionLost(operation: Int, attempt: Int)
    /// The client has waited long enough.
    case timeout(operation: Int, attempt: Int)
    case retry(operation: Int, attempt: Int)
    /// A user or an operator does what it planned.
    case act(Int)
    /// A core's turn: it steps with what has come.
    case tick(Place)
    case deadline(Place, generation: Int)
    /// What is not confirmed may have to be sent again.
    case resend(Place)
    case mail(Place)
    /// Two nodes try to make their link.
    case link(Int, Int)
    /// Both ends of a link notice that it is gone.
    case linkLost(Int, Int, generation: Int)
    /// Bytes arrive on the link between two nodes, for a core of the second.
    case bus(from: Int, to: Place, generation: Int, bytes: [UInt8])
    case synced(Place)
    case lazyFlush(Place)
    case reconcile(node: Int, boot: Int)
    case maintain(node: Int, boot: Int)
    /// A clean stop looks whether it can go on.
    case stopping(node: Int, boot: Int)
    /// A node's agent looks after its shards' replicas.
    case agent(node: Int, boot: Int)
    case arbiterAsked(node: Int, boot: Int, ArbiterQuestion)
    case arbiterAnswers(node: Int, boot: Int, ArbiterReply)
    /// A question about what has left memory has come to the store.
    case storeAsked(node: Int, boot: Int, number: UInt64)
    case faultBegins(Int)
    case faultEnds(Int)
    case faultStrikes(Int, boot: Int)
    case restart(node: Int, stops: Int)
    /// The run looks whether it can go on to its next phase.
    case progress
    /// An operator applies another topology.
    case decideMove
    /// A node's follower has its turn.
    case follow(node: Int, boot: Int)
    /// A command to a Redis, long given up, arrives.
    case redisCommand(server: Int, number: Int)
    /// Consumers of events, and operators, come to a Redis.
    case consume(server: Int)

    /// A core in one life of its process.
    struct Place {
        var node: Int
        var boot: Int
        var core: Int
    }

    /// For the digest: the kind, and whom it concerns.
    var word: UInt64 {
        func pack(_ kind: UInt64, _ a: Int, _ b: Int = 0, _ c: Int = 0) -> UInt64 {
            (kind << 56) ^ (UInt64(truncatingIfNeeded: a) << 24)
                ^ (UInt64(truncatingIfNeeded: b) << 8) ^ UInt64(truncatingIfNeeded: c)
        }
        switch self {
        case .request(let operation, let attempt): return pack(1, operation, attempt)
        case .reply(let operation, let attempt, _): return pack(2, operation, attempt)
        case .connectionLost(let operation, let attempt): return pack(3, operation, attempt)
        case .timeout(let operation, let attempt): return pack(4, operation, attempt)
        case .retry(let operation, let attempt): return pack(5, operation, attempt)
        case .act(let index): return pack(6, index)
        case .tick(let place): return pack(7, place.node, place.boot, place.core)
        case .deadline(let place, let generation):
            return pack(8, place.node &* 64 &+ place.core, place.boot, generation)
        case .mail(let place): return pack(9, place.node, place.boot, place.core)
        case .synced(let place): return pack(10, place.node, place.boot, place.core)
        case .lazyFlush(let place): return pack(11, place.node, place.boot, place.core)
        case .reconcile(let node, let boot): return pack(12, node, boot)
        case .maintain(let node, let boot): return pack(13, node, boot)
        case .faultBegins(let index): return pack(14, index)
        case .faultEnds(let index): return pack(15, index)
        case .restart(let node, let stops): return pack(16, node, stops)
        case .progress: return pack(17, 0)
        case .faultStrikes(let index, let boot): return pack(18, index, boot)
        case .stopping(let node, let boot): return pack(19, node, boot)
        case .link(let a, let b): return pack(21, a, b)
        case .linkLost(let a, let b, let generation): return pack(22, a, b, generation)
        case .bus(let from, let to, _, let bytes):
            return bytes.withUnsafeBytes {
                Hash64.bytes($0, salt: pack(23, from, to.node, to.core))
            }
        case .agent(let node, let boot): return pack(24, node, boot)
        case .arbiterAsked(let node, let boot, _): return pack(25, node, boot)
        case .arbiterAnswers(let node, let boot, _): return pack(26, node, boot)
        case .decideMove: return pack(27, 0)
        case .follow(let node, let boot): return pack(28, node, boot)
        case .redisCommand(let server, let number): return pack(29, server, number)
        case .consume(let server): return pack(30, server)
        case .storeAsked(let node, let boot, let number):
            return pack(31, node, boot, Int(truncatingIfNeeded: number))
        case .resend(let place): return pack(20, place.node, place.boot, place.core)
        }
    }

    var description: String {
        switch self {
        case .request(let operation, let attempt): "request \(operation), attempt \(attempt)"
        case .reply(let operation, let attempt, let bytes):
            "reply to \(operation), attempt \(attempt): "
                + (RESPAnswer.parse(bytes)?.description ?? "unreadable")
        case .connectionLost(let operation, let attempt):
            "connection of \(operation), attempt \(attempt), is lost"
        case .timeout(let operation, let attempt): "\(operation), attempt \(attempt), times out"
        case .retry(let operation, let attempt): "\(operation) tries again after \(attempt)"
        case .act(let index): "plan \(index) is carried out"
        case .tick(let place): "tick of \(place.node)/\(place.core)"
        case .deadline(let place, _): "deadline at \(place.node)/\(place.core)"
        case .link(let a, let b): "\(a) and \(b) link"
        case .linkLost(let a, let b, _): "the link of \(a) and \(b) is lost"
        case .bus(let from, let to, _, let bytes):
            "from \(from) to \(to.node)/\(to.core): \(SimulatedNode.describe(bytes))"
        case .resend(let place): "resend at \(place.node)/\(place.core)"
        case .mail(let place): "mail for \(place.node)/\(place.core)"
        case .synced(let place): "journal of \(place.node)/\(place.core) is synced"
        case .lazyFlush(let place): "journal of \(place.node)/\(place.core) is flushed lazily"
        case .reconcile(let node, _): "reconciler of \(node)"
        case .maintain(let node, _): "maintenance of \(node)"
        case .stopping(let node, _): "stop of \(node)"
        case .agent(let node, _): "agent of \(node)"
        case .arbiterAsked(let node, _, let question): "\(node) asks the arbiter: \(question)"
        case .arbiterAnswers(let node, _, let reply): "the arbiter answers \(node): \(reply)"
        case .storeAsked(let node, _, let number): "\(node) asks its store, question \(number)"
        case .faultBegins(let index): "fault \(index) begins"
        case .faultEnds(let index): "fault \(index) ends"
        case .faultStrikes(let index, _): "fault \(index) strikes"
        case .restart(let node, _): "restart of \(node)"
        case .progress: "progress?"
        case .decideMove: "another topology is applied"
        case .follow(let node, _): "follower of \(node)"
        case .redisCommand(let server, let number): "late command \(number) to Redis \(server)"
        case .consume(let server): "consumers of Redis \(server)"
        }
    }
}
