public import EdgeTypes

extension EdgeNode {
    /// Who waits for slices: operators' commands that were taken and not answered. At most
    /// `settlingLimit`. Allocates.
    public var waiting: [Ticket] { settling.map(\.ticket) + inquiries.map(\.ticket) }
}
