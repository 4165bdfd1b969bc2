import EdgeMemory
import EdgeTypes
import Simulator

/// How long a node's work takes: draws from a calibration.
///
/// What always comes together is one draw: taking a message in, and sending one off.
struct ServiceTimes: ~Copyable {
    /// Tables by work and size of batch.
    private var tables = SlotArray<FastQuantiles>(capacity: 64)

    /// Classes of batch sizes: 1, 2, 4, … 32 and more.
    private static let classes = 6

    init(_ calibration: Calibration, sync: CapacityScenario.Sync) {
        for work in Work.allCases {
            for batchBits in 0..<Self.classes {
                let times = Self.times(work, calibration, batch: 1 << batchBits, sync)
                // A calibration has a dozen quantiles: small tables stay in the fastest cache.
                tables.append(FastQuantiles(times, bits: 8))
            }
        }
    }

    private static func times(
        _ work: Work, _ calibration: Calibration, batch: Int, _ sync: CapacityScenario.Sync
    ) -> Distribution {
        func measured(_ operation: Calibration.Operation) -> Distribution {
            calibration.distribution(operation, batch: batch)
        }
        switch work {
        case .granted: return measured(.granted)
        case .repeat: return measured(.repeat)
        case .soldOut: return measured(.soldOut)
        case .forward: return measured(.forward)
        case .takeIn: return batch == 1 ? sum(measured(.receive), measured(.decode)) : .zero
        case .relay: return batch == 1 ? measured(.receive) : .zero
        case .sendOff: return batch == 1 ? sum(measured(.encode), measured(.send)) : .zero
        case .sync:
            if case .distributed(let other) = sync { return other }
            return measured(.sync)
        }
    }

    /// The sum of two independent times: of 128 equal parts of each, every pair.
    static func sum(_ first: Distribution, _ second: Distribution) -> Distribution {
        let parts = 128
        func quantiles(_ distribution: Distribution) -> [UInt64] {
            (0..<parts).map { distribution.quantileNs((Double($0) + 0.5) / Double(parts)) }
        }
        let others = quantiles(second)
        var sums: [UInt64] = []
        for one in quantiles(first) { for other in others { sums.append(one + other) } }
        sums.sort()
        let points: [Double] = [
            0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.995,
            0.999, 0.9999,
        ]
        return .empirical(
            QuantileTable(
                points.map { point in
                    let place = min(Int(point * Double(sums.count)), sums.count - 1)
                    return QuantileTable.Point(probability: point, ns: sums[place])
                }))
    }

    /// The class of a batch.
    @inline(__always)
    static func batchClass(_ count: Int) -> Int {
        min(63 - (count | 1).leadingZeroBitCount, classes - 1)
    }

    @inline(__always)
    func sampleNs(_ work: Work, _ batchClass: Int, _ fraction: UInt32) -> UInt64 {
        tables[Int(work.rawValue) * Self.classes + batchClass].sampleNs(fraction)
    }

    enum Work: UInt8, CaseIterable {
        case granted, `repeat`, soldOut, forward
        /// A request comes in: receive and decode.
        case takeIn
        /// An answer comes in from its owner, to be passed on.
        case relay
        /// Something leaves: encode and send.
        case sendOff
        case sync

        /// What deciding a grab takes: refusals are alike.
        @inline(__always)
        static func of(_ reply: Reply) -> Work {
            guard reply.shape == .grab else { return .soldOut }
            switch reply.outcome {
            case .granted: return .granted
            case .repeat: return .repeat
            default: return .soldOut
            }
        }
    }
}

extension Distribution {
    fileprivate static var zero: Distribution { .constant(ns: 0) }
}
