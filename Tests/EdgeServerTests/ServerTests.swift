import Testing

/// Suites that open sockets run one after the other: their clients block.
@Suite("The client listeners", .serialized)
struct ServerTests {}
