import Glibc

/// Connections to all nodes, and what is on its way on them.
///
/// Who is told to try again, or loses its connection, is sent again after a while, to the next
/// node, until it is answered. All commands are idempotent. One thread.
final class StormLines {
    struct Address {
        let host: String
        let port: UInt16
    }

    /// One command, as often as it takes.
    struct Job {
        /// A user, or a command's place in a list.
        var number: UInt32
        /// Jobs of the same place go over the same connection, in order, at first.
        var place: UInt32
        var attempts: UInt16 = 0
        /// A winner who asks again.
        var isCheck = false
        /// When it was meant to be sent.
        var meantNs: UInt64
    }

    /// A connection, and whose replies come next.
    private final class Line {
        var pipe: RESPPipe
        var waiting: [Job] = []
        var answered = 0
        init(_ pipe: consuming RESPPipe) { self.pipe = pipe }
    }

    private let addresses: [Address]
    /// nil: it broke. Neighbors lead to different nodes.
    private var lines: [Line?] = []
    private var redialNs: [UInt64]
    /// Who is sent again, by the millisecond in which that is.
    private var later = [[Job]](repeating: [], count: 1_024)
    private var laterMs: UInt64 = 0
    /// Commands that have not been answered.
    private(set) var open = 0
    /// Replies by node, and how often one was told to try again or lost its connection.
    private(set) var served: [Int]
    private(set) var refused = 0

    private static let redialAfterNs: UInt64 = 50_000_000
    private static let mostWaitMs: UInt64 = 400

    init(_ addresses: [Address], count: Int) throws {
        self.addresses = addresses
        served = Array(repeating: 0, count: addresses.count)
        redialNs = Array(repeating: 0, count: count)
        for place in 0..<count {
            let address = addresses[place % addresses.count]
            lines.append(Line(try RESPPipe(host: address.host, port: address.port)))
        }
        laterMs = Self.now() / 1_000_000
    }

    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// Sends a new job.
    func start(_ job: Job, _ command: (Job) -> String) {
        open += 1
        send(job, command)
    }

    private func send(_ job: Job, _ command: (Job) -> String) {
        let first = Int(job.place) + Int(job.attempts) + (job.isCheck ? 1 : 0)
        for step in lines.indices {
            guard let line = lines[(first + step) % lines.count] else { continue }
            line.pipe.append(command(job))
            line.waiting.append(job)
            return
        }
        sendLater(job)
    }

    private func sendLater(_ job: Job) {
        refused += 1
        var job = job
        let mostMs = min(Self.mostWaitMs, 25 << UInt64(min(job.attempts, 10)))
        job.attempts = min(job.attempts, .max - 1) + 1
        // Spread, or all come back together.
        let draw = Crowd.draw(UInt64(job.attempts), UInt64(job.number), 11)
        let waitMs = mostMs / 2 + UInt64(draw * Double(mostMs) / 2)
        later[Int((laterMs + 1 + waitMs) % UInt64(later.count))].append(job)
    }

    /// Writes, waits a millisecond at most, reads.
    ///
    /// - Parameter answered: takes what is neither to be sent again nor lost.
    func exchange(
        _ command: (Job) -> String, _ answered: (Job, RESPPipe.Reply) -> Void
    ) {
        wake(command)
        redial()
        var places: [Int] = []
        var polls: [pollfd] = []
        for (place, line) in lines.enumerated() {
            guard let line else { continue }
            guard (try? line.pipe.flush()) != nil else {
                lose(place)
                continue
            }
            let events = line.pipe.hasOutput ? POLLIN | POLLOUT : POLLIN
            places.append(place)
            polls.append(pollfd(fd: line.pipe.descriptor, events: Int16(events), revents: 0))
        }
        guard poll(&polls, UInt(polls.count), 1) > 0 else { return }
        for (index, place) in places.enumerated() where polls[index].revents != 0 {
            guard let line = lines[place] else { continue }
            let isReadable = polls[index].revents & Int16(POLLIN | POLLHUP | POLLERR) != 0
            let isWhole = !isReadable || (try? line.pipe.fill()) != nil
            while let reply = line.pipe.next() {
                let job = line.waiting[line.answered]
                line.answered += 1
                served[place % addresses.count] += 1
                guard !reply.saysTryAgain else {
                    sendLater(job)
                    continue
                }
                open -= 1
                answered(job, reply)
            }
            if line.answered > 4_096 {
                line.waiting.removeFirst(line.answered)
                line.answered = 0
            }
            if !isWhole { lose(place) }
        }
    }

    /// Sends what has waited long enough.
    private func wake(_ command: (Job) -> String) {
        let nowMs = Self.now() / 1_000_000
        while laterMs < nowMs {
            laterMs += 1
            let slot = Int(laterMs % UInt64(later.count))
            guard !later[slot].isEmpty else { continue }
            var jobs: [Job] = []
            swap(&jobs, &later[slot])
            for job in jobs { send(job, command) }
        }
    }

    /// What was on its way over a connection that broke may have been applied, or not.
    private func lose(_ place: Int) {
        guard let line = lines[place] else { return }
        lines[place] = nil
        redialNs[place] = Self.now() + Self.redialAfterNs
        for job in line.waiting[line.answered...] { sendLater(job) }
    }

    private func redial() {
        for place in lines.indices where lines[place] == nil {
            let now = Self.now()
            guard now >= redialNs[place] else { continue }
            redialNs[place] = now + Self.redialAfterNs
            let address = addresses[place % addresses.count]
            guard let pipe = try? RESPPipe(host: address.host, port: address.port) else { continue }
            lines[place] = Line(pipe)
        }
    }
}
