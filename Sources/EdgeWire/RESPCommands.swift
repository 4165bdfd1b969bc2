/// Who may run a command. Each role may do what the ones before it may.
public enum RESPRole: UInt8, Comparable, Sendable, CaseIterable {
    /// Anybody, before authentication too.
    case anyone = 0
    /// Grab, reserve, read.
    case app
    /// And payments.
    case pay
    /// And everything else.
    case `operator`

    public static func < (a: RESPRole, b: RESPRole) -> Bool { a.rawValue < b.rawValue }
}

/// Every command of the RESP listener.
public enum RESPCommand: UInt8, Sendable, CaseIterable {
    case ping = 0
    case echo, hello, auth, quit, reset, select, command, config, info, client
    case rainCreate, rainGrab, rainClaims, rainInfo, rainWarm, rainAlter, rainPause, rainResume
    case rainClose, rainResolve, rainList
    case stockCreate, stockReserve, stockOrders, stockRefill, stockInfo, stockWarm, stockAlter
    case stockPause, stockResume, stockClose, stockResolve, stockList
    case orderPay, orderCancel, orderRefund, orderInfo
    case nodes, shards

    /// What COMMAND and COMMAND DOCS say about it.
    public struct Info: Sendable {
        public var name: String
        /// Arguments with the name; negative: at least so many.
        public var arity: Int
        public var role: RESPRole
        public var group: String
        public var summary: String
    }

    public var info: Info { Self.infos[Int(rawValue)] }

    /// Commands by name.
    public static let byName = NameTable(allCases.map { ($0.info.name, $0) })

    private static let infos: [Info] = allCases.map(\.describe)

    private var describe: Info {
        switch self {
        case .ping: Info("ping", -1, .app, "connection", "Answers PONG, or its argument.")
        case .echo: Info("echo", 2, .app, "connection", "Answers its argument.")
        case .hello:
            Info("hello", -1, .anyone, "connection", "Chooses the protocol; authenticates.")
        case .auth: Info("auth", -2, .anyone, "connection", "Authenticates the connection.")
        case .quit: Info("quit", -1, .anyone, "connection", "Closes the connection.")
        case .reset: Info("reset", 1, .anyone, "connection", "Resets the connection.")
        case .select: Info("select", 2, .app, "connection", "Database 0 is the only one.")
        case .command: Info("command", -1, .app, "server", "Describes the commands.")
        case .config: Info("config", -2, .app, "server", "CONFIG GET answers nothing.")
        case .info: Info("info", -1, .app, "server", "Facts about the node.")
        case .client: Info("client", -2, .app, "connection", "Names the connection.")
        case .rainCreate: Info("rain.create", -6, .operator, "rain", "Creates a rain.")
        case .rainGrab: Info("rain.grab", -3, .app, "rain", "Grabs a packet for a user.")
        case .rainClaims: Info("rain.claims", -3, .app, "rain", "Lists a user's packets.")
        case .rainInfo: Info("rain.info", 2, .app, "rain", "Shows a rain.")
        case .rainWarm: Info("rain.warm", 2, .operator, "rain", "Allocates every slice.")
        case .rainAlter: Info("rain.alter", -5, .operator, "rain", "Alters times and limit.")
        case .rainPause: Info("rain.pause", 2, .operator, "rain", "Pauses a rain.")
        case .rainResume: Info("rain.resume", 2, .operator, "rain", "Resumes a rain.")
        case .rainClose: Info("rain.close", 2, .operator, "rain", "Closes a rain for good.")
        case .rainResolve:
            Info("rain.resolve", 4, .operator, "rain", "Releases or returns what is quarantined.")
        case .rainList: Info("rain.list", -1, .app, "rain", "Lists rains.")
        case .stockCreate: Info("stock.create", -4, .operator, "stock", "Creates a stock.")
        case .stockReserve: Info("stock.reserve", -5, .app, "stock", "Reserves units.")
        case .stockOrders: Info("stock.orders", -3, .app, "stock", "Lists a user's orders.")
        case .stockRefill: Info("stock.refill", 4, .operator, "stock", "Adds units.")
        case .stockInfo: Info("stock.info", 2, .app, "stock", "Shows a stock.")
        case .stockWarm: Info("stock.warm", 2, .operator, "stock", "Allocates every slice.")
        case .stockAlter: Info("stock.alter", -5, .operator, "stock", "Alters times and limit.")
        case .stockPause: Info("stock.pause", 2, .operator, "stock", "Pauses a stock.")
        case .stockResume: Info("stock.resume", 2, .operator, "stock", "Resumes a stock.")
        case .stockClose: Info("stock.close", 2, .operator, "stock", "Closes a stock for good.")
        case .stockResolve:
            Info("stock.resolve", 4, .operator, "stock", "Releases or returns what is quarantined.")
        case .stockList: Info("stock.list", -1, .app, "stock", "Lists stocks.")
        case .orderPay: Info("order.pay", -3, .pay, "order", "Reports a captured payment.")
        case .orderCancel: Info("order.cancel", 2, .app, "order", "Cancels a reservation.")
        case .orderRefund: Info("order.refund", -4, .pay, "order", "Records a refund.")
        case .orderInfo: Info("order.info", 2, .app, "order", "Shows an order.")
        case .nodes: Info("nodes", 1, .app, "cluster", "Lists the members.")
        case .shards: Info("shards", 1, .app, "cluster", "Lists the owner of every shard.")
        }
    }
}

extension RESPCommand.Info {
    fileprivate init(
        _ name: String, _ arity: Int, _ role: RESPRole, _ group: String, _ summary: String
    ) {
        self.init(name: name, arity: arity, role: role, group: group, summary: summary)
    }

    /// - Parameter count: the arguments given, the name included.
    public func accepts(_ count: Int) -> Bool { arity >= 0 ? count == arity : count >= -arity }
}
