public import EdgeCluster
public import EdgeTypes

/// What a run of the replication model has.
public struct ReplicationScenario: Sendable {
    public var nodes = 4
    public var shards = 5
    /// Members that each shard should have.
    public var replicas = 2
    public var clients = 8
    public var operationsPerClient = 60
    public var faultsEndNs: UInt64 = 30_000_000_000
    /// After the faults: everything answered, every shard whole again.
    public var patienceNs: UInt64 = 60_000_000_000
    public var times = LeaseTimes()
    public var mutant = ReplicationMutant.none

    public init() {}
}

/// States that a batch of runs must reach.
public enum ReplicationProbe: String, Sendable, CaseIterable {
    case tookOver
    case dropped
    case admitted
    case handedOver
    case diverged
    case wentOnAlone
    case resumedFromDisk
    case unknownProposal
    case proposalLostRace
    case staleHeard
    case leaseMissing
    case answerWaited
    case repeatedAnswer
    case paused
}

enum ReplicationHappening {
    case tick(node: Int, boot: UInt64)
    case message(ReplicaMessage, [UInt64], from: ReplicaID, to: ReplicaID, connection: UInt64)
    case beacon(from: ReplicaID, to: Int, number: UInt64)
    case answer(from: ReplicaID, to: ReplicaID, number: UInt64)
    case flushed(
        node: Int, boot: UInt64, shard: Int, upTo: UInt64, incarnation: UInt32,
        secures: UInt32?)
    case arbiterAsked(ReplicaID, ConfigurationChange)
    case arbiterRead(ReplicaID, ShardID)
    case arbiterSaid(ReplicaID, ConfigurationChange?, ConfigurationOutcome, ShardConfiguration)
    case request(Int, attempt: Int, node: Int)
    case reply(Int, attempt: Int, result: UInt64?)
    case timeout(Int, attempt: Int)
    case crash(node: Int)
    case restart(node: Int)
    case pause(node: Int, untilNs: UInt64)
    case resume(node: Int)
    case cut(Int, Int, oneWay: Bool, untilNs: UInt64)
    case reset(Int, Int)
    case arbiterFault(downUntilNs: UInt64, losesAnswers: Bool)
    case handOver(node: Int)
    case look
}
