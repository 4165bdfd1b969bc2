/// States that must be reached somewhere in a batch of runs: a simulator that never gets there
/// tests nothing of them.
public enum Probe: String, Sendable, CaseIterable {
    case restarted
    case cleanStop
    case crashWithAnswersWaiting
    case crashWithEntriesWaiting
    case crashWithTransferWaiting
    case snapshotted
    case snapshottedWhileServing
    case heldBack
    case tooManyForwards
    case maintenanceFailed
    case storeFailed
    case storeLostAnswer
    case storeRestored
    case steppedWithFullDisk
    case diskExhausted
    case nodeAborted
    case startRefusedForDamage
    case shippingRefusedForDamage
    case compromised
    case repliedAfterRestart
    case retriedAfterUnknown
    case duplicateAnswered
    case grantedThenRepeated
    case soldOut
    case refusedAtDoor
    case packetsLost
    case quarantined
    case released
    case grantedAgain
    case retired
    case paidLate
    case refundDue
    case expired
    case closedByItself
    case openingMoved
    case closingMoved
    case clockWentBack
    case linked
    case linkLost
    case forwardedToNode
    case forwardRefused
    case shardCopied
    case shardStopped
    case shardMoved
    case zoneLost
    case tookOver
    case securedAlone
    case reopened
    case arbiterAnswerLost
    case archived
    case archivedWinnerAnswered
    case archiveUnanswered
    case archiveAheadOfStore
    case archivedOrders
    case archivedOrderAnswered
    case orderRecalled
    case recalledTooLate
    case compacted
    case snapshotBroken
    case redisLost
    case redisAnswerLost
    case redisLate
    case followerFailed
    case shardRebuilt
    case eventBuried
    case eventReplayed
    case eventTrimmed
    case eventStreamFull
    case outboxCleaned
    case allSettled

    private static let betweenNodes: [Probe] = [
        .linked, .linkLost, .forwardedToNode, .forwardRefused,
    ]

    private static let ofReplicas: [Probe] = [
        .shardCopied, .shardStopped, .tookOver, .securedAlone, .reopened, .arbiterAnswerLost,
    ]

    private static let ofArchive: [Probe] = [
        .archived, .archivedWinnerAnswered, .archiveUnanswered, .archiveAheadOfStore,
        .snapshotBroken,
    ]
    private static let ofArchivedOrders: [Probe] = [
        .archivedOrders, .archivedOrderAnswered, .orderRecalled, .recalledTooLate, .compacted,
    ]
    private static let ofRedis: [Probe] = [
        .redisLost, .redisAnswerLost, .redisLate, .followerFailed, .shardRebuilt, .eventBuried,
        .eventReplayed, .eventTrimmed, .eventStreamFull, .outboxCleaned,
    ]

    private static let ofDamage: [Probe] = [
        .startRefusedForDamage, .shippingRefusedForDamage, .compromised,
    ]

    /// What can be reached in a scenario's worlds.
    public static func expected(in scenario: Scenario) -> [Probe] {
        allCases.filter { probe in
            if scenario.replicas == 1, ofReplicas.contains(probe) { return false }
            if scenario.archiveAfterNs == 0, ofArchive.contains(probe) { return false }
            if scenario.archiveOrdersAfterNs == 0, ofArchivedOrders.contains(probe) {
                return false
            }
            if probe == .archiveAheadOfStore, !scenario.allows(.storeRestored) { return false }
            if !scenario.hasRedis, ofRedis.contains(probe) { return false }
            // Once in some thousand seeds.
            if probe == .grantedAgain { return false }
            if probe == .shardMoved, scenario.topology?.move == nil { return false }
            if probe == .zoneLost, scenario.topology == nil { return false }
            if probe == .storeRestored, !scenario.allows(.storeRestored) { return false }
            return !(scenario.isCluster ? ofDamage : betweenNodes).contains(probe)
        }
    }
}
