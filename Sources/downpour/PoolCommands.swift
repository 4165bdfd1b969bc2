import ArgumentParser
import Foundation

/// `warm`, `pause`, `resume`, `close`: one word about one pool.
func act(_ options: AdminOptions, _ family: String, _ id: String, _ action: String) async throws {
    let path = "/v1/\(family)/\(AdminClient.escaped(id))/\(action)"
    options.done(try await options.client.require("POST", path))
}

func showPool(_ options: AdminOptions, _ family: String, _ id: String) async throws {
    options.show(
        try await options.client.require("GET", "/v1/\(family)/\(AdminClient.escaped(id))"))
}

func listPools(_ options: AdminOptions, _ family: String, _ state: String?) async throws {
    var cursor = "0"
    var names: [String] = []
    repeat {
        var path = "/v1/\(family)?count=1000&cursor=\(AdminClient.escaped(cursor))"
        if let state { path += "&state=\(AdminClient.escaped(state))" }
        let answer = try await options.client.require("GET", path)
        guard let pair = answer.body as? [Any], pair.count == 2, let next = pair[0] as? String
        else { throw Exit.unreachable }
        names += pair[1] as? [String] ?? []
        cursor = next
    } while cursor != "0"
    if options.json {
        let data = try JSONSerialization.data(withJSONObject: names)
        Console.say(String(decoding: data, as: UTF8.self))
    } else {
        for name in names { Console.say(name) }
    }
}

func alterPool(
    _ options: AdminOptions, _ family: String, _ id: String, opens: Int64?, closes: Int64?,
    limit: Int64?, request: String
) async throws {
    var body: [String: Any] = [:]
    body["opens"] = opens
    body["closes"] = closes
    body["limit"] = limit
    let path = "/v1/\(family)/\(AdminClient.escaped(id))"
    options.done(try await options.client.require("PATCH", path, body, key: request))
}

/// `a=60,b=40`.
func regions(_ text: String?) throws -> [String: Int64]? {
    guard let text else { return nil }
    var shares: [String: Int64] = [:]
    for part in text.split(separator: ",") {
        let pair = part.split(separator: "=")
        guard pair.count == 2, let weight = Int64(pair[1]) else {
            throw ValidationError("--regions takes NAME=WEIGHT,…")
        }
        shares[String(pair[0])] = weight
    }
    return shares
}

/// What rains and SKUs have in common when they are created.
struct PoolOptions: ParsableArguments {
    @Option(help: "Unix milliseconds; nobody is served before.") var opens: Int64?
    @Option(help: "Unix milliseconds; nobody is served from then on.") var closes: Int64?
    @Option(help: "Most packets or units a user may take.") var limit: Int64?
    @Option(help: "Slices the pool is split into.") var slices: Int64?
    @Option(help: "memory, journal or replicated.") var durability: String?
    @Option(help: "Shares of regions: a=60,b=40.") var regions: String?

    func fill(_ body: inout [String: Any]) throws {
        body["opens"] = opens
        body["closes"] = closes
        body["limit"] = limit
        body["slices"] = slices
        body["durability"] = durability
        body["regions"] = try downpour.regions(regions)
    }
}

struct RainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rain", abstract: "Red packet rains.",
        subcommands: [
            Create.self, Warm.self, Show.self, List.self, Alter.self, Pause.self, Resume.self,
            Close.self, RainVerify.self,
        ])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Create a rain.")
        @Argument var id: String
        @Option(help: "The total, in fen.") var amount: Int64
        @Option(help: "Packets.") var count: Int64
        @Option(help: "spread, luck or equal.") var kind: String?
        @Option(help: "Least fen of a packet.") var min: Int64?
        @Option(help: "Most fen of a packet.") var max: Int64?
        @Option(help: "64 hexadecimal digits; otherwise drawn.") var seed: String?
        @OptionGroup var pool: PoolOptions
        @OptionGroup var options: AdminOptions

        func run() async throws {
            var body: [String: Any] = ["id": id, "amount": amount, "count": count]
            body["kind"] = kind
            body["min"] = min
            body["max"] = max
            body["seed"] = seed
            try pool.fill(&body)
            options.done(try await options.client.require("POST", "/v1/rains", body))
        }
    }

    struct Warm: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Allocate every slice now.")
        @Argument var id: String
        @OptionGroup var options: AdminOptions
        func run() async throws { try await act(options, "rains", id, "warm") }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show a rain.")
        @Argument var id: String
        @OptionGroup var options: AdminOptions
        func run() async throws { try await showPool(options, "rains", id) }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List rains.")
        @Option(help: "Only those in this state.") var state: String?
        @OptionGroup var options: AdminOptions
        func run() async throws { try await listPools(options, "rains", state) }
    }

    struct Alter: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Change times or limit.")
        @Argument var id: String
        @Option(help: "Recognises a retry.") var request: String
        @Option var opens: Int64?
        @Option var closes: Int64?
        @Option var limit: Int64?
        @OptionGroup var options: AdminOptions
        func run() async throws {
            try await alterPool(
                options, "rains", id, opens: opens, closes: closes, limit: limit,
                request: request)
        }
    }

    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Stop granting for a while.")
        @Argument var id: String
        @OptionGroup var options: AdminOptions
        func run() async throws { try await act(options, "rains", id, "pause") }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Grant again.")
        @Argument var id: String
        @OptionGroup var options: AdminOptions
        func run() async throws { try await act(options, "rains", id, "resume") }
    }

    struct Close: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Close for good: the rest returns, the seed is revealed.")
        @Argument var id: String
        @OptionGroup var options: AdminOptions
        func run() async throws { try await act(options, "rains", id, "close") }
    }
}

struct StockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stock", abstract: "Stock of flash sales.",
        subcommands: [
            Create.self, Warm.self, Show.self, List.self, Alter.self, Pause.self, Resume.self,
            Close.self, Refill.self,
        ])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Create a SKU.")
        @Argument var sku: String
        @Option(help: "Units.") var units: Int64
        @Option(help: "Price of one unit, in fen.") var price: Int64?
        @Option(help: "Seconds that a reservation holds its units.") var hold: Int64?
        @OptionGroup var pool: PoolOptions
        @OptionGroup var options: AdminOptions

        func run() async throws {
            var body: [String: Any] = ["sku": sku, "units": units]
            body["price"] = price
            body["hold"] = hold
            try pool.fill(&body)
            options.done(try await options.client.require("POST", "/v1/stock", body))
        }
    }

    struct Warm: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Allocate every slice now.")
        @Argument var sku: String
        @OptionGroup var options: AdminOptions
        func run() async throws { try await act(options, "stock", sku, "warm") }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show a SKU.")
        @Argument var sku: String
        @OptionGroup var options: AdminOptions
        func run() async throws { try await showPool(options, "stock", sku) }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List SKUs.")
        @Option(help: "Only those in this state.") var state: String?
        @OptionGroup var options: AdminOptions
        func run() async throws { try await listPools(options, "stock", state) }
    }

    struct Alter: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Change times or limit.")
        @Argument var sku: String
        @Option(help: "Recognises a retry.") var request: String
        @Option var opens: Int64?
        @Option var closes: Int64?
        @Option var limit: Int64?
        @OptionGroup var options: AdminOptions
        func run() async throws {
            try await alterPool(
                options, "stock", sku, opens: opens, closes: closes, limit: limit,
                request: request)
        }
    }

    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Stop reserving for a while.")
        @Argument var sku: String
        @OptionGroup var options: AdminOptions
        func run() async throws { try await act(options, "stock", sku, "pause") }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Reserve again.")
        @Argument var sku: String
        @OptionGroup var options: AdminOptions
        func run() async throws { try await act(options, "stock", sku, "resume") }
    }

    struct Close: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop reserving for good; open holds stay payable.")
        @Argument var sku: String
        @OptionGroup var options: AdminOptions
        func run() async throws { try await act(options, "stock", sku, "close") }
    }

    struct Refill: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Put units in.")
        @Argument var sku: String
        @Argument var units: Int64
        @Option(help: "Recognises a retry.") var request: String
        @OptionGroup var options: AdminOptions
        func run() async throws {
            let path = "/v1/stock/\(AdminClient.escaped(sku))/refill"
            options.done(
                try await options.client.require("POST", path, ["units": units], key: request))
        }
    }
}

struct OrderCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "order", abstract: "Orders of flash sales.",
        subcommands: [Show.self, Refund.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show an order.")
        @Argument var order: String
        @OptionGroup var options: AdminOptions
        func run() async throws {
            let path = "/v1/orders/\(AdminClient.escaped(order))"
            options.show(try await options.client.require("GET", path))
        }
    }

    struct Refund: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Refund a paid order.")
        @Argument var order: String
        @Argument(help: "Fen to give back.") var fen: Int64
        @Option(help: "Recognises a retry.") var request: String
        @Option(help: "Units to put back on the shelf.") var restock: Int64 = 0
        @OptionGroup var options: AdminOptions
        func run() async throws {
            let body: [String: Any] = ["request": request, "fen": fen, "restock": restock]
            let path = "/v1/orders/\(AdminClient.escaped(order))/refund"
            options.show(try await options.client.require("POST", path, body))
        }
    }
}
