/// The built-in bugs of replication, off by default: a simulator that does not find them is not
/// one.
public enum ReplicationMutant: String, Sendable, CaseIterable {
    case none
    case epochCheckOff
    case acksBeforeBackups
    case localShrink
    case bootIgnored
    case readBackBelieved
    case proposerAcknowledges
    case compareWithoutMembers
    case leaseLongerThanGrace
    case leaseFromAnswer
    case readsWithoutLease
    case answersWhileTakingOver
    case readsUncommitted
    case soleWithoutFlush
    case shrinksUnflushed
    case anyoneRestarts
    case learnerTooEarly
    case tailNotCommitted
    case opensUngreeted
    case divergedFollows
    case gapAccepted
    case learnersBelowStore
    case standInDropped
    case proposedGrantNothing
    case laterCopyCounts

    /// What the bug is, in a sentence.
    public var summary: String {
        switch self {
        case .none: "no bug"
        case .epochCheckOff: "a backup takes entries of an epoch that is over"
        case .acksBeforeBackups: "the primary acknowledges before its backups have the entry"
        case .localShrink: "a primary drops a backup without asking the arbiter"
        case .bootIgnored: "a restarted process goes on as the member that it was"
        case .readBackBelieved:
            "a proposal without an answer counts as failed once it reads the old configuration"
        case .proposerAcknowledges: "a proposer goes on acknowledging while its proposal is open"
        case .compareWithoutMembers: "the arbiter compares the primary alone"
        case .leaseLongerThanGrace: "a primary's lease is longer than its backup's grace"
        case .leaseFromAnswer: "a lease counts from the beacon's answer, not from its sending"
        case .answersWhileTakingOver:
            "a backup that takes over still renews the old primary's lease"
        case .readsWithoutLease: "a primary without its lease goes on answering reads"
        case .readsUncommitted: "a read is answered before what it has read is committed"
        case .soleWithoutFlush: "a configuration of one acknowledges before its disk has the entry"
        case .shrinksUnflushed: "a configuration shrinks to one before its disk has everything"
        case .anyoneRestarts: "any member goes on from its disk, not only the sole one"
        case .learnerTooEarly: "a learner becomes a member before it has caught up"
        case .tailNotCommitted: "a new primary serves before its tail is committed"
        case .opensUngreeted: "a new primary serves before every member has told what it holds"
        case .divergedFollows: "a backup that holds more than its new primary follows it"
        case .learnersBelowStore:
            "a learner becomes a member without entries that the store still lacks"
        case .standInDropped:
            "whoever stands in for a dead member is dropped before that one is back"
        case .proposedGrantNothing:
            "a primary answers without the lease of whoever its open proposal makes a member"
        case .laterCopyCounts:
            "what a later process of a node has learned counts as what its dead member held"
        case .gapAccepted: "a backup takes entries that do not follow its last"
        }
    }
}
