import EdgeTypes

/// The amounts of one rain, whatever its kind: a function of the packet's number and the seed.
public enum PacketAmounts: Sendable {
    case spread(SpreadAmounts)
    case luck(LuckAmounts)
    /// Every packet the mean; fen that do not divide go to the first packets, one each.
    case equal(mean: Fen, remainder: Int64)

    /// Units of stock hold nothing.
    ///
    /// - Precondition: `definition` passed `AmountRules.check`.
    public init(_ definition: PoolDefinition) {
        let count = definition.units
        let total = definition.amountFen
        switch definition.kind {
        case .spread:
            self = .spread(
                SpreadAmounts(
                    count: count, totalFen: total, minFen: definition.minFen,
                    maxFen: definition.maxFen, seed: definition.seed))
        case .luck:
            self = .luck(
                LuckAmounts(
                    count: count, totalFen: total, minFen: definition.minFen,
                    maxFen: definition.maxFen, seed: definition.seed))
        case .equal:
            self = .equal(mean: total / count, remainder: total % count)
        case .stock:
            self = .equal(mean: 0, remainder: 0)
        }
    }

    /// What packet `index` holds, in fen. O(1).
    @inlinable
    public func amount(_ index: Int64) -> Fen {
        switch self {
        case .spread(let amounts): amounts.amount(index)
        case .luck(let amounts): amounts.amounts[Int(index)]
        case .equal(let mean, let remainder): index < remainder ? mean + 1 : mean
        }
    }

    /// What eight packets from `first` on hold; past the last packet, anything.
    @inlinable
    public func run(from first: Int64) -> PacketRun {
        switch self {
        case .spread(let amounts): return amounts.run(from: first)
        case .luck(let amounts):
            var run = PacketRun(repeating: 0)
            let last = amounts.amounts.count - 1
            for lane in 0..<8 { run[lane] = amounts.amounts[min(Int(first) + lane, last)] }
            return run
        case .equal(let mean, let remainder):
            var run = PacketRun(repeating: mean)
            for lane in 0..<8 where first + Int64(lane) < remainder { run[lane] += 1 }
            return run
        }
    }
}

extension PacketAmounts {
    /// What the packets of a range hold together. O(packets).
    public func sum(_ packets: Range<Int64>) -> Fen {
        var sum: Fen = 0
        var first = packets.lowerBound
        while first < packets.upperBound {
            let run = run(from: first)
            for lane in 0..<Int(min(8, packets.upperBound - first)) { sum += run[lane] }
            first += 8
        }
        return sum
    }
}

/// Which totals, counts and bounds make a rain.
public enum AmountRules {
    /// - Returns: what is wrong, for the operator; nil where nothing is.
    public static func problem(_ definition: PoolDefinition) -> String? {
        let count = definition.units
        let total = definition.amountFen
        guard count >= 1 && count <= Limits.unitsPerPool else {
            return "COUNT must be 1 to \(Limits.unitsPerPool)"
        }
        guard total >= 1 && total <= Limits.amountFen else {
            return "AMOUNT must be 1 to \(Limits.amountFen) fen"
        }
        if definition.kind == .luck && count > Limits.luckPackets {
            return "a luck rain has at most \(Limits.luckPackets) packets; use KIND spread"
        }
        guard definition.minFen >= 0 && definition.maxFen >= 0 else {
            return "MIN and MAX must not be negative"
        }
        let mean = total / count
        let most = total % count == 0 ? mean : mean + 1
        if definition.minFen > mean {
            return "AMOUNT is too small: \(count) packets of at least \(definition.minFen) fen"
        }
        if definition.maxFen != 0 && definition.maxFen < most {
            return "AMOUNT is too large: \(count) packets of at most \(definition.maxFen) fen"
        }
        return nil
    }
}
