import Foundation
import Histogram

/// The crowd at work, and what it was told.
final class Storm {
    typealias Address = StormLines.Address
    private typealias Job = StormLines.Job

    private let lines: StormLines
    private let crowd: Crowd
    /// Of all users, and of those who were never told to try again.
    private var latency = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
    private var smoothLatency = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
    private var outcomes: [String: Int] = [:]
    private var saleOutcomes: [String: Int] = [:]
    private var fen: Int64 = 0
    private var amounts: [Int64: Int] = [:]
    private var firstResults: [UInt32: (Int64, Int64)] = [:]
    private var retries = 0
    private var wrongRetries = 0
    private var delayed = 0
    private var elapsedNs: UInt64 = 0
    private var rainServed: [Int] = []

    /// Every so many winners ask again, at the next node, and must hear the same.
    private static let retryEvery: UInt32 = 50
    /// Nobody answers any more: the report says how many were left.
    private static let patienceNs: UInt64 = 60_000_000_000

    init(_ nodes: [Address], connections: Int, crowd: Crowd) throws {
        lines = try StormLines(nodes, count: max(connections, nodes.count))
        self.crowd = crowd
    }

    // MARK: The rain

    /// - Parameter halfway: called once, when half of the users have come.
    func rain(_ id: String, halfway: () -> Void) throws {
        let start = StormLines.now()
        var next = 0
        var lastAnswerNs = start
        while next < crowd.users || lines.open > 0 {
            let now = StormLines.now()
            let nowMs = (now - start) / 1_000_000
            let before = next
            while next < crowd.users {
                let user = crowd.order[next]
                let dueMs = UInt64(crowd.arrivalMs[Int(user)])
                guard dueMs <= nowMs else { break }
                let job = Job(number: user, place: user, meantNs: start + dueMs * 1_000_000)
                lines.start(job) { "RAIN.GRAB \(id) \($0.number)" }
                next += 1
            }
            if before < crowd.users / 2, next >= crowd.users / 2 { halfway() }
            var again: [Job] = []
            lines.exchange({ "RAIN.GRAB \(id) \($0.number)" }) { job, reply in
                lastAnswerNs = StormLines.now()
                if note(job, reply, at: lastAnswerNs) {
                    again.append(
                        Job(
                            number: job.number, place: job.place, isCheck: true,
                            meantNs: lastAnswerNs))
                }
            }
            for job in again { lines.start(job) { "RAIN.GRAB \(id) \($0.number)" } }
            if now > lastAnswerNs, now - lastAnswerNs > Self.patienceNs { break }
        }
        if lines.open > 0 { outcomes["unanswered"] = lines.open }
        elapsedNs = StormLines.now() - start
        rainServed = lines.served
    }

    /// - Returns: whether this user is to ask again.
    private func note(_ job: Job, _ reply: RESPPipe.Reply, at now: UInt64) -> Bool {
        let result = (reply.numbers.first ?? -1, reply.numbers.dropFirst().first ?? -1)
        if job.isCheck {
            retries += 1
            let first = firstResults.removeValue(forKey: job.number)
            if reply.text != "repeat" || first == nil || first! != result { wrongRetries += 1 }
            return false
        }
        latency.record((now - job.meantNs) / 1_000)
        if job.attempts == 0 {
            smoothLatency.record((now - job.meantNs) / 1_000)
        } else {
            delayed += 1
        }
        // The first answer got lost, and the second says what the first did.
        let isLate = reply.text == "repeat" && job.attempts > 0
        let outcome = isLate ? "granted" : reply.text
        outcomes[reply.isError ? "error" : outcome, default: 0] += 1
        guard outcome == "granted" else { return false }
        fen += result.0
        amounts[result.0, default: 0] += 1
        guard job.number % Self.retryEvery == 0 else { return false }
        firstResults[job.number] = result
        return true
    }

    // MARK: The sale

    /// Every buyer reserves one unit; of those who get one, seven in ten pay, one in ten pays
    /// twice, one in ten cancels, the rest let the hold run.
    func sale(_ sku: String, buyers: Int, price: Int64) throws {
        var orders: [(order: String, buyer: Int)] = []
        round((0..<buyers).map { "STOCK.RESERVE \(sku) \($0) 1 r\($0)" }) { index, reply in
            if reply.text == "reserved" || reply.text == "repeat" {
                orders.append((reply.second, index))
            }
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
        round(commands) { _, _ in }
    }

    /// Commands of one order go over one connection, in order.
    private func round(_ commands: [String], _ body: (Int, RESPPipe.Reply) -> Void) {
        guard lines.open == 0 else { return }
        var next = 0
        var lastAnswerNs = StormLines.now()
        while next < commands.count || lines.open > 0 {
            while next < commands.count && lines.open < 2_048 {
                let order = commands[next].split(separator: " ").dropFirst().first ?? ""
                let place = UInt32(truncatingIfNeeded: order.hashValue) >> 1
                let job = Job(number: UInt32(next), place: place, meantNs: 0)
                lines.start(job) { commands[Int($0.number)] }
                next += 1
            }
            lines.exchange({ commands[Int($0.number)] }) { job, reply in
                lastAnswerNs = StormLines.now()
                saleOutcomes[reply.isError ? "error" : reply.text, default: 0] += 1
                body(Int(job.number), reply)
            }
            guard StormLines.now() - lastAnswerNs < Self.patienceNs else {
                saleOutcomes["unanswered"] = lines.open
                return
            }
        }
    }

    var report: [String: Any] {
        let percentiles = [50.0, 90, 99, 99.9, 100]
        return [
            "outcomes": outcomes, "sale": saleOutcomes, "fen": fen,
            "retries": retries, "wrongRetries": wrongRetries,
            "delayed": delayed, "refused": lines.refused, "served": rainServed,
            "seconds": Double(elapsedNs) / 1e9,
            "latencyUs": percentiles.map { latency.valueAtPercentile($0) },
            "smoothLatencyUs": percentiles.map { smoothLatency.valueAtPercentile($0) },
            "amounts": amounts.map { [$0.key, Int64($0.value)] },
        ]
    }
}
