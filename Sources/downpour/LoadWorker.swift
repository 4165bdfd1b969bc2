import ArgumentParser
import Foundation
import Glibc

/// The demo's users: a second process that drives nodes over real sockets and reports in JSON.
///
/// Open loop: when users come does not depend on how fast the nodes answer, and latency counts
/// from the moment a user meant to send.
struct LoadWorker: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load-worker", abstract: "The demo's users.", shouldDisplay: false)

    /// The line that says that half of the users have come.
    static let halfway = "halfway"

    @Option(help: "HOST:PORT of every node, with commas.") var resp: String
    @Option var rain: String
    @Option var sku: String
    @Option var users: Int
    @Option var buyers: Int
    @Option var price: Int64
    @Option var spreadMs: Double = 3_000
    @Option var connections: Int = 50
    @Option var seed: UInt64 = 1

    func run() async throws {
        let nodes = try resp.split(separator: ",").map { address in
            let parts = address.split(separator: ":")
            guard parts.count == 2, let port = UInt16(parts[1]) else {
                throw ValidationError("--resp HOST:PORT,…")
            }
            return Storm.Address(host: String(parts[0]), port: port)
        }
        let crowd = Crowd(users: users, spreadMs: spreadMs, seed: seed)
        let storm = try Storm(nodes, connections: connections, crowd: crowd)
        try storm.rain(rain) { Console.say(Self.halfway) }
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
