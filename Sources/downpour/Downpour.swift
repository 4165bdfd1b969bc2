import ArgumentParser
import EdgeServer

/// The one executable: each subcommand is a file beside this one.
@main
struct Downpour: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "downpour",
        abstract: "Red packet rains and flash sales from memory, durable and audited.",
        version: NodeRunner.version,
        subcommands: [
            NodeCommand.self, RainCommand.self, StockCommand.self, OrderCommand.self,
            PoolCommand.self, AuditCommand.self, OutboxCommand.self, DemoCommand.self,
            SimulateCommand.self,
            TopologyCommand.self, ClusterCommand.self, LoadWorker.self,
        ])
}

/// How a command ends, beyond success (0) and usage (64).
enum Exit {
    /// A check did not hold.
    static let failed = ExitCode(1)
    static let badInput = ExitCode(65)
    static let unreachable = ExitCode(69)
    static let tryLater = ExitCode(75)
    static let refused = ExitCode(77)
    static let configuration = ExitCode(78)
}
