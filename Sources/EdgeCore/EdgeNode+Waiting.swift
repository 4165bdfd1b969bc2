public import EdgeTypes

extension EdgeNode {
    /// Who waits for slices: operators' commands that were taken and not answered, at most
    /// `settlingLimit`, those who want units, at most `Limits.waitersPerCore`, and those whose shard
    /// is on the move, at most `movingLimit`. Allocates.
    public var waiting: [Ticket] {
        settling.map(\.ticket) + inquiries.map(\.ticket) + decisions.map(\.ticket)
            + tails.flatMap(\.tickets) + moving.map(\.request.ticket)
    }
}
