import EdgeMemory

/// A waiting line: Poisson arrivals, one queue in order of arrival, equal servers.
///
/// Its answers are known in closed form, so that it shows whether events, distributions and
/// random numbers give the statistics they are meant to give.
public struct QueueModel: Sendable {
    public var servers: Int
    /// Mean time between arrivals.
    public var arrivalMeanNs: UInt64
    public var service: Distribution
    public var customers: Int

    public init(servers: Int, arrivalMeanNs: UInt64, service: Distribution, customers: Int) {
        precondition(servers > 0)
        precondition(customers > 0 && customers <= Int(Int32.max))
        self.servers = servers
        self.arrivalMeanNs = arrivalMeanNs
        self.service = service
        self.customers = customers
    }

    /// How busy a server is: 1 and more is overload.
    public var utilisation: Double {
        service.meanNs / (Double(arrivalMeanNs) * Double(servers))
    }

    /// Runs from an empty system until all customers have left.
    public func run(_ random: RandomSource) -> QueueReport {
        QueueRun(model: self, random: random).finish()
    }
}

/// What a run of a `QueueModel` measured.
public struct QueueReport: ~Copyable {
    /// From arrival to the begin of service.
    public let waits: DelayHistogram
    /// L: customers in the system, averaged over time.
    public let meanInSystem: Double
    /// lambda: customers per nanosecond, from the start until the last one left.
    public let arrivalsPerNs: Double
    /// W: from arrival to departure, averaged over customers.
    public let meanSojournNs: Double
}

private struct QueueRun: ~Copyable {
    static let arrival: UInt32 = 0
    static let departure: UInt32 = 1

    let model: QueueModel
    let random: RandomSource
    let interval: Distribution
    var queue = LadderQueue()
    /// Arrival times of the customers that wait, from `nextWaiting` on.
    var waiting = PlainList<UInt64>()
    var nextWaiting = 0
    var arrived = 0
    var started = 0
    var busy = 0
    var nowNs: UInt64 = 0
    /// The integral of customers in the system over time.
    var areaNs: UInt64 = 0
    var sojournNs: UInt64 = 0
    var waits = DelayHistogram()

    init(model: QueueModel, random: RandomSource) {
        self.model = model
        self.random = random
        interval = .exponential(meanNs: model.arrivalMeanNs)
    }

    consuming func finish() -> QueueReport {
        scheduleArrival()
        while let event = queue.pop() {
            let inSystem = busy + waiting.count - nextWaiting
            areaNs += UInt64(inSystem) * (event.timeNs - nowNs)
            nowNs = event.timeNs
            if event.payload == Self.arrival {
                arrive()
            } else {
                depart()
            }
        }
        precondition(busy == 0 && started == model.customers)
        let horizonNs = Double(nowNs)
        let customers = Double(model.customers)
        return QueueReport(
            waits: waits, meanInSystem: Double(areaNs) / horizonNs,
            arrivalsPerNs: customers / horizonNs, meanSojournNs: Double(sojournNs) / customers)
    }

    mutating func scheduleArrival() {
        let word = random.word(.arrivals, 0, UInt64(arrived))
        queue.push(timeNs: nowNs + interval.sampleNs(word), payload: Self.arrival)
    }

    mutating func arrive() {
        arrived += 1
        if arrived < model.customers { scheduleArrival() }
        if busy < model.servers {
            busy += 1
            startService(arrivedNs: nowNs)
        } else {
            waiting.append(nowNs)
        }
    }

    mutating func depart() {
        if nextWaiting < waiting.count {
            startService(arrivedNs: waiting[nextWaiting])
            nextWaiting += 1
        } else {
            busy -= 1
        }
        if nextWaiting == waiting.count {
            waiting.removeAll()
            nextWaiting = 0
        }
    }

    mutating func startService(arrivedNs: UInt64) {
        let waitNs = nowNs - arrivedNs
        let serviceNs = model.service.sampleNs(random.word(.service, 0, UInt64(started)))
        started += 1
        waits.record(waitNs)
        sojournNs += waitNs + serviceNs
        queue.push(timeNs: nowNs + serviceNs, payload: Self.departure)
    }
}
