public import Simulator
public import StrictYAML

extension StrictValue {
    /// A distribution of times: a plain duration is always the same, else a map of one kind.
    ///
    ///     20ms
    ///     {uniform: {from: 0ms, to: 2s}}
    ///     {exponential: {mean: 5ms}}
    ///     {log-normal: {median: 350ms, sigma: 0.5}}
    ///     {pareto: {scale: 1ms, shape: 1.5}}
    ///     {bimodal: {short: 1ms, long: 40ms, long-share: 1%}}
    ///     {quantiles: {parts: [50%, 99%], times: [2ms, 40ms]}}
    public func distribution() throws(StrictYAMLError) -> Distribution {
        guard isMap else { return .constant(ns: try durationNs()) }
        return try map { (kinds) throws(StrictYAMLError) in
            let keys = kinds.keys()
            guard keys.count == 1, let kind = DistributionKind(rawValue: keys[0]) else {
                let all = DistributionKind.allCases.map(\.rawValue).joined(separator: ", ")
                throw kinds.error("a duration or one of \(all) is needed")
            }
            return try kinds.required(keys[0]).map { (map) throws(StrictYAMLError) in
                try Self.distribution(kind, &map)
            }
        }
    }

    private static func distribution(
        _ kind: DistributionKind, _ map: inout StrictMap
    ) throws(StrictYAMLError) -> Distribution {
        switch kind {
        case .uniform:
            let fromNs = try map.required("from").durationNs()
            let toNs = try map.required("to").durationNs()
            guard fromNs <= toNs, toNs <= Distribution.longestNs else {
                throw map.error("to comes before from")
            }
            return .uniform(fromNs: fromNs, toNs: toNs)
        case .exponential: return .exponential(meanNs: try map.required("mean").durationNs())
        case .logNormal:
            return .logNormal(
                medianNs: try map.required("median").durationNs(),
                sigma: try map.required("sigma").number(in: 0...4))
        case .pareto:
            return .pareto(
                scaleNs: try map.required("scale").durationNs(),
                shape: try map.required("shape").number(in: 0.5...100))
        case .bimodal:
            let shortNs = try map.required("short").durationNs()
            let longNs = try map.required("long").durationNs()
            guard shortNs <= longNs else { throw map.error("long is below short") }
            return .bimodal(
                shortNs: shortNs, longNs: longNs,
                longProbability: try map.required("long-share").ratio())
        case .quantiles:
            let parts = try map.required("parts").list { (part) throws(StrictYAMLError) in
                try part.ratio()
            }
            let times = try map.required("times").list { (time) throws(StrictYAMLError) in
                try time.durationNs()
            }
            guard parts.count == times.count else { throw map.error("a time for each part") }
            let points = zip(parts, times).map { QuantileTable.Point(probability: $0, ns: $1) }
            if let problem = QuantileTable.problem(points) { throw map.error(problem) }
            return .empirical(QuantileTable(points))
        }
    }
}

private enum DistributionKind: String, CaseIterable {
    case uniform
    case exponential
    case logNormal = "log-normal"
    case pareto
    case bimodal
    case quantiles
}
