/// A bug in membership that is built in and switched off: what the gossip simulator's oracles are
/// tested with. Only a simulator ever sets one.
public enum MembershipMutant: String, Sendable, CaseIterable {
    /// No bug.
    case none
    case refutationIgnored
    case incarnationNotRaised
    case oldBootAccepted
    case deadNeverContacted
    case instantlyDead
    case confirmationsIgnored
    case suspicionNeverEnds
    case lifeguardOff
    case replayAccepted
    case nameNotChecked
    case versionsIgnored
    case goodbyeForgotten

    /// What the bug is, in a sentence.
    public var summary: String {
        switch self {
        case .none: "no bug"
        case .refutationIgnored: "a member does not object to its suspicion"
        case .incarnationNotRaised: "a member objects at the incarnation that is suspected"
        case .oldBootAccepted: "an earlier life of a name replaces a later one"
        case .deadNeverContacted: "dead members and seeds are never contacted again"
        case .instantlyDead: "whoever does not answer is dead at once"
        case .confirmationsIgnored: "independent confirmations do not shorten a suspicion"
        case .suspicionNeverEnds: "a suspicion never becomes a death"
        case .lifeguardOff: "SWIM without local health, confirmations and buddies"
        case .replayAccepted: "a datagram that comes twice is taken twice"
        case .nameNotChecked: "a process joins under a name that a live one bears"
        case .versionsIgnored: "a member that speaks no common version is let in"
        case .goodbyeForgotten: "a goodbye is not passed on"
        }
    }
}
