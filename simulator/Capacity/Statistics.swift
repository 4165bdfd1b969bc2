/// A mean over replications and how far it can be off: a 95 % confidence interval.
public struct ConfidenceInterval: Codable, Sendable, Hashable {
    public let mean: Double
    /// Half its width; nil of a single value, which says nothing about others.
    public let halfWidth: Double?

    /// By Student's t over the values of independent replications.
    ///
    /// - Precondition: there are values.
    public init(_ values: [Double]) {
        precondition(!values.isEmpty)
        let count = Double(values.count)
        let mean = values.reduce(0, +) / count
        self.mean = mean
        guard values.count > 1 else {
            halfWidth = nil
            return
        }
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        let error = (squares / (count - 1) / count).squareRoot()
        halfWidth = Self.student(degrees: values.count - 1) * error
    }

    /// What is to be compared with a limit: the interval's upper end.
    public var upper: Double { mean + (halfWidth ?? 0) }

    /// The 97.5 % quantile of Student's t.
    ///
    /// Beyond 30 degrees of freedom by the first terms of its expansion about the normal quantile
    /// (Abramowitz and Stegun, 26.7.5): off by less than 10^-5.
    static func student(degrees: Int) -> Double {
        precondition(degrees >= 1)
        let table = [
            12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
            2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
            2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
        ]
        if degrees <= table.count { return table[degrees - 1] }
        let z = 1.959_963_985
        let n = Double(degrees)
        let first = (z * z * z + z) / 4
        let second = (5 * z * z * z * z * z + 16 * z * z * z + 3 * z) / 96
        return z + first / n + second / (n * n)
    }
}
