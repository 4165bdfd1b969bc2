import Simulator

/// What the work of a node takes, as it was measured on one machine.
public struct Calibration: Codable, Sendable, Hashable {
    public var name: String
    public var cpu: String
    public var cores: Int
    public var commit: String
    /// ISO 8601.
    public var date: String
    public var measurements: [Measurement]

    public init(
        name: String, cpu: String, cores: Int, commit: String, date: String,
        measurements: [Measurement]
    ) {
        self.name = name
        self.cpu = cpu
        self.cores = cores
        self.commit = commit
        self.date = date
        self.measurements = measurements
    }

    /// What is measured. Raw values are the file's.
    public enum Operation: String, Codable, Sendable, Hashable, CaseIterable {
        /// A step's grabs, by how they end, per grab.
        case granted
        case `repeat`
        case soldOut
        /// A step's grabs that another node owns, per grab.
        case forward
        /// One RESP command: bytes to request.
        case decode
        /// One RESP answer: reply to bytes. A request costs about as much.
        case encode
        /// The kernel's part of one small message, loopback TCP.
        case receive
        case send
        /// fdatasync of a few kilobytes of journal.
        case sync
    }

    /// One operation in batches of one size: its histogram, as quantiles.
    public struct Measurement: Codable, Sendable, Hashable {
        public var operation: Operation
        /// Operations a step; what is measured is the time of one, the step's time divided.
        public var batch: Int
        public var samples: Int
        public var quantiles: [Quantile]

        public init(operation: Operation, batch: Int, samples: Int, quantiles: [Quantile]) {
            self.operation = operation
            self.batch = batch
            self.samples = samples
            self.quantiles = quantiles
        }
    }

    public struct Quantile: Codable, Sendable, Hashable {
        /// In 0 ... 1.
        public var part: Double
        public var ns: UInt64

        public init(part: Double, ns: UInt64) {
            self.part = part
            self.ns = ns
        }
    }

    public static let batches = [1, 2, 4, 8, 16, 32]

    /// What is wrong with it; nil where nothing is.
    public var problem: String? {
        for operation in Operation.allCases {
            guard measurements.contains(where: { $0.operation == operation }) else {
                return "there is no measurement of \(operation.rawValue)"
            }
        }
        for measurement in measurements {
            let quantiles = measurement.quantiles
            let rises = zip(quantiles, quantiles.dropFirst()).allSatisfy {
                $0.part < $1.part && $0.ns <= $1.ns
            }
            guard let first = quantiles.first, let last = quantiles.last, rises, first.part >= 0,
                last.part <= 1, last.ns <= 60_000_000_000, measurement.batch >= 1
            else { return "\(measurement.operation.rawValue): quantiles must rise from 0 to 1" }
        }
        return nil
    }

    /// The measurement of the largest batch that is not larger; of the smallest there is, else.
    func distribution(_ operation: Operation, batch: Int) -> Distribution {
        let all = measurements.filter { $0.operation == operation }.sorted { $0.batch < $1.batch }
        precondition(!all.isEmpty, "an operation that was not measured")
        let chosen = all.last { $0.batch <= batch } ?? all[0]
        return .empirical(
            QuantileTable(
                chosen.quantiles.map { QuantileTable.Point(probability: $0.part, ns: $0.ns) }))
    }

    /// Round figures for where nothing was measured: every operation always takes the same time.
    public static func constant(
        stepNs: UInt64 = 150, codecNs: UInt64 = 100, messageNs: UInt64 = 2_000,
        syncNs: UInt64 = 1_000_000
    ) -> Calibration {
        let measurements = Operation.allCases.map { operation in
            let ns =
                switch operation {
                case .granted, .repeat, .soldOut, .forward: stepNs
                case .decode, .encode: codecNs
                case .receive, .send: messageNs
                case .sync: syncNs
                }
            return Measurement(
                operation: operation, batch: 1, samples: 0,
                quantiles: [Quantile(part: 1, ns: ns)])
        }
        return Calibration(
            name: "constant", cpu: "none", cores: 1, commit: "none", date: "1970-01-01T00:00:00Z",
            measurements: measurements)
    }
}
