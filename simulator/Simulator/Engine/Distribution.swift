/// Random times as a function of one random word.
///
/// A sample is the quantile at the word's fraction: the same word gives the same place in every
/// distribution, and a greater one never a shorter time. Computed by `DeterministicMath`, so it is
/// the same on every CPU.
public enum Distribution: Sendable, Hashable, Codable {
    case constant(ns: UInt64)
    /// All times from the first to the last, both included, are alike.
    case uniform(fromNs: UInt64, toNs: UInt64)
    case exponential(meanNs: UInt64)
    /// The logarithm is normal with standard deviation `sigma`.
    case logNormal(medianNs: UInt64, sigma: Double)
    /// Longer than t with probability (scale / t)^shape. The mean is infinite for shapes up to 1,
    /// the variance up to 2.
    case pareto(scaleNs: UInt64, shape: Double)
    case bimodal(shortNs: UInt64, longNs: UInt64, longProbability: Double)
    case empirical(QuantileTable)

    /// No sample is longer: 146 years.
    public static let longestNs: UInt64 = 1 << 62

    /// The time that belongs to a random word. O(1); a table of n quantiles O(log n).
    public func sampleNs(_ word: UInt64) -> UInt64 {
        // The middles of 2^52 equal parts of [0, 1): never 0 or 1, and exact, as is 1 minus it.
        quantileNs((Double(word >> 12) + 0.5) * 0x1p-52)
    }

    /// The time that is not exceeded with the given probability.
    ///
    /// - Precondition: 0 < `probability` < 1; parameters are finite and not negative, shapes not 0.
    public func quantileNs(_ probability: Double) -> UInt64 {
        precondition(probability > 0 && probability < 1)
        switch self {
        case .constant(let ns):
            return min(ns, Self.longestNs)
        case .uniform(let fromNs, let toNs):
            precondition(fromNs <= toNs && toNs <= Self.longestNs)
            let span = toNs - fromNs
            return fromNs + min(UInt64(probability * (Double(span) + 1)), span)
        case .exponential(let meanNs):
            return Self.round(-Double(meanNs) * DeterministicMath.log(1 - probability))
        case .logNormal(let medianNs, let sigma):
            precondition(sigma >= 0)
            let normal = DeterministicMath.inverseNormal(probability)
            return Self.round(Double(medianNs) * DeterministicMath.exp(sigma * normal))
        case .pareto(let scaleNs, let shape):
            precondition(shape > 0)
            let power = -DeterministicMath.log(1 - probability) / shape
            return Self.round(Double(scaleNs) * DeterministicMath.exp(power))
        case .bimodal(let shortNs, let longNs, let longProbability):
            precondition(shortNs <= longNs)
            return min(probability < 1 - longProbability ? shortNs : longNs, Self.longestNs)
        case .empirical(let table):
            return min(table.quantileNs(probability), Self.longestNs)
        }
    }

    /// The mean of what is meant, before rounding to nanoseconds; infinite where there is none.
    public var meanNs: Double {
        switch self {
        case .constant(let ns): return Double(ns)
        case .uniform(let fromNs, let toNs): return (Double(fromNs) + Double(toNs)) / 2
        case .exponential(let meanNs): return Double(meanNs)
        case .logNormal(let medianNs, let sigma):
            return Double(medianNs) * DeterministicMath.exp(sigma * sigma / 2)
        case .pareto(let scaleNs, let shape):
            return shape > 1 ? Double(scaleNs) * shape / (shape - 1) : .infinity
        case .bimodal(let shortNs, let longNs, let longProbability):
            return Double(shortNs) * (1 - longProbability) + Double(longNs) * longProbability
        case .empirical(let table): return table.meanNs
        }
    }

    /// Why nothing can be drawn from it; nil where it can. For what comes from a file.
    public var problem: String? {
        switch self {
        case .constant, .exponential: return nil
        case .uniform(let fromNs, let toNs):
            return fromNs <= toNs && toNs <= Self.longestNs ? nil : "its times are out of order"
        case .logNormal(_, let sigma):
            return (0...16).contains(sigma) ? nil : "sigma is 0 to 16"
        case .pareto(_, let shape):
            return (0.01...1_000).contains(shape) ? nil : "the shape is 0.01 to 1000"
        case .bimodal(let shortNs, let longNs, let longProbability):
            return shortNs <= longNs && (0...1).contains(longProbability)
                ? nil : "its times are out of order, or its share is none"
        case .empirical(let table): return QuantileTable.problem(table.points)
        }
    }

    /// The nearest whole time; the longest where it is longer.
    private static func round(_ ns: Double) -> UInt64 {
        precondition(ns >= 0)
        return ns < 0x1p62 ? UInt64(ns + 0.5) : longestNs
    }
}

/// A measured distribution: times at some probabilities, straight lines between them.
///
/// Below the first probability the first time holds, above the last the last.
public struct QuantileTable: Sendable, Hashable, Codable {
    public struct Point: Sendable, Hashable, Codable {
        /// The part of samples that are no longer, in 0 ... 1.
        public let probability: Double
        public let ns: UInt64

        public init(probability: Double, ns: UInt64) {
            self.probability = probability
            self.ns = ns
        }
    }

    public let points: [Point]

    /// - Precondition: there are points; probabilities rise from one to the next, times never fall.
    public init(_ points: [Point]) {
        let problem = Self.problem(points)
        precondition(problem == nil, problem ?? "")
        self.points = points
    }

    /// Why points are no distribution; nil where they are.
    public static func problem(_ points: [Point]) -> String? {
        guard let first = points.first, let last = points.last else { return "it has no points" }
        guard first.probability >= 0, last.probability <= 1 else {
            return "a probability is 0 to 1"
        }
        for (before, after) in zip(points, points.dropFirst())
        where !(before.probability < after.probability && before.ns <= after.ns) {
            return "probabilities rise from point to point, and times never fall"
        }
        return nil
    }

    func quantileNs(_ probability: Double) -> UInt64 {
        // The first point whose probability is at least this.
        var low = 0
        var high = points.count
        while low < high {
            let middle = (low + high) / 2
            if points[middle].probability < probability { low = middle + 1 } else { high = middle }
        }
        if low == 0 { return points[0].ns }
        if low == points.count { return points[low - 1].ns }
        let before = points[low - 1]
        let after = points[low]
        let part =
            (probability - before.probability) / (after.probability - before.probability)
        let span = after.ns - before.ns
        return before.ns + min(UInt64(part * Double(span) + 0.5), span)
    }

    var meanNs: Double {
        let last = points[points.count - 1]
        var mean = points[0].probability * Double(points[0].ns)
        mean += (1 - last.probability) * Double(last.ns)
        for index in 1..<max(points.count, 1) {
            let before = points[index - 1]
            let after = points[index]
            let part = after.probability - before.probability
            mean += part * (Double(before.ns) + Double(after.ns)) / 2
        }
        return mean
    }
}
