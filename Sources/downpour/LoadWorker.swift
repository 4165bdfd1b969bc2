import ArgumentParser
import Foundation
import Glibc
import Histogram

/// The demo's users: a second process that drives a node over real sockets and reports in JSON.
///
/// Open loop: when users come does not depend on how fast the node answers, and latency counts
/// from the moment a user meant to send.
struct LoadWorker: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load-worker", abstract: "The demo's users.", shouldDisplay: false)

    @Option var resp: String
    @Option var rain: String
    @Option var sku: String
    @Option var users: Int
    @Option var buyers: Int
    @Option var price: Int64
    @Option var spreadMs: Double = 3_000
    @Option var connections: Int = 50
    @Option var seed: UInt64 = 1

    func run() async throws {
        let parts = resp.split(separator: ":")
        guard parts.count == 2, let port = UInt16(parts[1]) else {
            throw ValidationError("--resp HOST:PORT")
        }
        let crowd = Crowd(users: users, spreadMs: spreadMs, seed: seed)
        let storm = try Storm(
            host: String(parts[0]), port: port, connections: connections, crowd: crowd)
        try storm.rain(rain)
        try storm.sale(sku, buyers: buyers, price: price)
        let data = try JSONSerialization.data(
            withJSONObject: storm.report, options: [.sortedKeys])
        Console.say(String(decoding: data, as: UTF8.self))
    }
}

/// When each user comes: notified at some moment, then a human reaction (log-normal, median
/// 350 ms). Draws are a hash of (seed, user, use): no state, the same every time.
struct Crowd {
    let users: Int
    let seed: UInt64
    /// Users in order of arrival, and when, in milliseconds.
    let order: [UInt32]
    let arrivalMs: [UInt32]

    init(users: Int, spreadMs: Double, seed: UInt64) {
        self.users = users
        self.seed = seed
        var times = [UInt32](repeating: 0, count: users)
        for user in 0..<users {
            let notified = Self.draw(seed, UInt64(user), 1) * spreadMs * 0.6
            let u = max(Self.draw(seed, UInt64(user), 2), 1e-12)
            let normal = sqrt(-2 * log(u)) * cos(2 * .pi * Self.draw(seed, UInt64(user), 3))
            times[user] = UInt32(min(notified + 350 * exp(0.5 * normal), spreadMs * 4))
        }
        var starts = [Int](repeating: 0, count: Int(times.max() ?? 0) + 2)
        for time in times { starts[Int(time) + 1] += 1 }
        for index in 1..<starts.count { starts[index] += starts[index - 1] }
        var order = [UInt32](repeating: 0, count: users)
        for user in 0..<users {
            order[starts[Int(times[user])]] = UInt32(user)
            starts[Int(times[user])] += 1
        }
        self.order = order
        arrivalMs = times
    }

    static func draw(_ seed: UInt64, _ user: UInt64, _ use: UInt64) -> Double {
        var z = seed &+ (user &* 0x9e37_79b9_7f4a_7c15) &+ (use &* 0xd1b5_4a32_d192_ed03)
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return Double((z ^ (z >> 31)) >> 11) / Double(1 << 53)
    }
}

/// The connections and what came back.
final class Storm {
    /// A connection, and whom the next replies are for.
    final class Line {
        var pipe: RESPPipe
        var waiting: [(user: UInt32, isRetry: Bool, sentNs: UInt64)] = []
        var answered = 0
        init(_ pipe: consuming RESPPipe) { self.pipe = pipe }
    }

    private let lines: [Line]
    private let crowd: Crowd
    private var latency = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
    private var outcomes: [String: Int] = [:]
    private var saleOutcomes: [String: Int] = [:]
    private var fen: Int64 = 0
    private var amounts: [Int64: Int] = [:]
    private var firstResults: [UInt32: (Int64, Int64)] = [:]
    private var retries = 0
    private var wrongRetries = 0
    private var elapsedNs: UInt64 = 0

    /// Every so many winners ask again, and must hear the same.
    static let retryEvery: UInt32 = 50

    init(host: String, port: UInt16, connections: Int, crowd: Crowd) throws {
        lines = try (0..<connections).map { _ in Line(try RESPPipe(host: host, port: port)) }
        self.crowd = crowd
    }

    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    // MARK: The rain

    func rain(_ id: String) throws {
        let start = Self.now()
        var next = 0
        var open = 0
        while next < crowd.users || open > 0 {
            let now = Self.now()
            let nowMs = (now - start) / 1_000_000
            while next < crowd.users {
                let user = crowd.order[next]
                let dueMs = UInt64(crowd.arrivalMs[Int(user)])
                guard dueMs <= nowMs else { break }
                let line = lines[Int(user) % lines.count]
                line.pipe.append("RAIN.GRAB \(id) \(user)")
                line.waiting.append((user, false, start + dueMs * 1_000_000))
                next += 1
                open += 1
            }
            try exchange { line, reply, user, isRetry, sentNs in
                open -= 1
                latency.record((Self.now() - sentNs) / 1_000)
                if note(reply, user, isRetry) {
                    line.pipe.append("RAIN.GRAB \(id) \(user)")
                    line.waiting.append((user, true, Self.now()))
                    open += 1
                }
            }
        }
        elapsedNs = Self.now() - start
    }

    /// - Returns: whether this user is to ask again.
    private func note(_ reply: RESPPipe.Reply, _ user: UInt32, _ isRetry: Bool) -> Bool {
        let result = (reply.numbers.first ?? -1, reply.numbers.dropFirst().first ?? -1)
        if isRetry {
            retries += 1
            let first = firstResults.removeValue(forKey: user)
            if reply.text != "repeat" || first == nil || first! != result { wrongRetries += 1 }
            return false
        }
        outcomes[reply.isError ? "error" : reply.text, default: 0] += 1
        guard reply.text == "granted" else { return false }
        fen += result.0
        amounts[result.0, default: 0] += 1
        guard user % Self.retryEvery == 0 else { return false }
        firstResults[user] = result
        return true
    }

    private func exchange(
        _ body: (Line, RESPPipe.Reply, UInt32, Bool, UInt64) -> Void
    ) throws {
        var polls = try lines.map { line in
            try line.pipe.flush()
            let events = line.pipe.hasOutput ? POLLIN | POLLOUT : POLLIN
            return pollfd(fd: line.pipe.descriptor, events: Int16(events), revents: 0)
        }
        guard poll(&polls, UInt(polls.count), 1) > 0 else { return }
        for (index, line) in lines.enumerated() where polls[index].revents != 0 {
            if polls[index].revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 {
                try line.pipe.fill()
            }
            while let reply = line.pipe.next() {
                let (user, isRetry, sentNs) = line.waiting[line.answered]
                line.answered += 1
                body(line, reply, user, isRetry, sentNs)
            }
            if line.answered > 4_096 {
                line.waiting.removeFirst(line.answered)
                line.answered = 0
            }
        }
    }

    // MARK: The sale

    /// Every buyer reserves one unit; of those who get one, seven in ten pay, one in ten pays
    /// twice, one in ten cancels, the rest let the hold run.
    func sale(_ sku: String, buyers: Int, price: Int64) throws {
        var orders: [(order: String, buyer: Int)] = []
        try round((0..<buyers).map { "STOCK.RESERVE \(sku) \($0) 1 r\($0)" }) { index, reply in
            if reply.text == "reserved" { orders.append((reply.second, index)) }
        }
        var commands: [String] = []
        for (order, buyer) in orders {
            switch Int(Crowd.draw(crowd.seed, UInt64(buyer), 7) * 10) {
            case 0: commands.append("ORDER.CANCEL \(order)")
            case 1: break
            case 2:
                commands.append("ORDER.PAY \(order) p\(buyer) \(price)")
                commands.append("ORDER.PAY \(order) q\(buyer) \(price)")
            default: commands.append("ORDER.PAY \(order) p\(buyer) \(price)")
            }
        }
        try round(commands) { _, _ in }
    }

    private func round(
        _ commands: [String], _ body: (Int, RESPPipe.Reply) -> Void
    ) throws {
        // Commands of one order go over one connection, in order.
        var open = 0
        var next = 0
        while next < commands.count || open > 0 {
            while next < commands.count && open < 2_048 {
                let order = commands[next].split(separator: " ").dropFirst().first ?? ""
                let line = lines[abs(order.hashValue % lines.count)]
                line.pipe.append(commands[next])
                line.waiting.append((UInt32(next), false, 0))
                next += 1
                open += 1
            }
            try exchange { _, reply, index, _, _ in
                open -= 1
                saleOutcomes[reply.isError ? "error" : reply.text, default: 0] += 1
                body(Int(index), reply)
            }
        }
    }

    var report: [String: Any] {
        let percentiles = [50.0, 90, 99, 99.9, 100].map { latency.valueAtPercentile($0) }
        return [
            "outcomes": outcomes, "sale": saleOutcomes, "fen": fen,
            "retries": retries, "wrongRetries": wrongRetries,
            "seconds": Double(elapsedNs) / 1e9, "latencyUs": percentiles,
            "amounts": amounts.map { [$0.key, Int64($0.value)] },
        ]
    }
}
