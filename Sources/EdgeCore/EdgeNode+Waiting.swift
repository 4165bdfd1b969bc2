public import EdgeTypes

extension EdgeNode {
    /// Who waits for slices: operators' commands that were taken and not answered, at most
    /// `settlingLimit`, and those who want units, at most `Limits.waitersPerCore`. Allocates.
    public var waiting: [Ticket] {
        settling.map(\.ticket) + inquiries.map(\.ticket) + tails.flatMap(\.tickets)
    }
}
