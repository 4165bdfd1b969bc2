import EdgeMemory
import EdgeTypes
import Simulator

/// How long a node's work takes: draws from a calibration.
struct ServiceTimes: ~Copyable {
    /// Tables by operation and size of batch.
    private var tables = SlotArray<FastQuantiles>(capacity: 64)

    /// Classes of batch sizes: 1, 2, 4, … 32 and more.
    private static let classes = 6

    init(_ calibration: Calibration, sync: CapacityScenario.Sync) {
        for operation in Calibration.Operation.allCases {
            for batchBits in 0..<Self.classes {
                var times = calibration.distribution(operation, batch: 1 << batchBits)
                if operation == .sync, case .distributed(let other) = sync { times = other }
                // A calibration has a dozen quantiles: small tables stay in the fastest cache.
                tables.append(FastQuantiles(times, bits: 8))
            }
        }
    }

    /// The class of a batch.
    @inline(__always)
    static func batchClass(_ count: Int) -> Int {
        min(63 - (count | 1).leadingZeroBitCount, classes - 1)
    }

    @inline(__always)
    func sampleNs(_ operation: Work, _ batchClass: Int, _ fraction: UInt32) -> UInt64 {
        tables[Int(operation.rawValue) * Self.classes + batchClass].sampleNs(fraction)
    }

    /// The calibration's operations, as numbers.
    enum Work: UInt8 {
        case granted, `repeat`, soldOut, forward, decode, encode, receive, send, sync

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
