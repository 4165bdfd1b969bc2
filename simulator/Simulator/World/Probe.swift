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
    case packetsLost
    case quarantined
    case paidLate
    case refundDue
    case expired
    case closedByItself
    case openingMoved
    case closingMoved
    case clockWentBack
    case allSettled
}
