public import EdgeMemory

/// What a random number is drawn for. Streams never share numbers: adding a draw to one, or
/// removing a fault with all of its draws, changes no other.
///
/// Raw values are part of what a seed means: never reuse one.
public enum RandomStream: UInt64, Sendable {
    /// Which faults a run has, and how often.
    case plan = 1
    case faultTimes
    case faultTargets
    case networkDelay
    case networkLoss
    case diskDelay
    case diskDamage
    case storeDelay
    case clocks
    case service
    case arrivals
    case reaction
    case clients
    case retries
    case users
    case operators
    case crash
    case pools
    /// Which class a link is of.
    case links
    /// Which regions users name.
    case regions
    /// What nodes draw for pools.
    case seeds
    /// What becomes of commands to a Redis, and what its consumers do.
    case redis
}

/// Random numbers without state: `hash(seed, stream, entity, counter)`.
///
/// Counter-based as in Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011), with
/// wyhash's mixer in the place of a cipher. The same on every machine.
public struct RandomSource: Sendable, Hashable {
    public let seed: UInt64
    @usableFromInline let key: UInt64

    @inlinable
    public init(seed: UInt64) {
        self.seed = seed
        key = Hash64.keyed(seed, salt: 0x6477_6e70_6f75_7221)
    }

    /// 64 bits.
    @inlinable @inline(__always)
    public func word(_ stream: RandomStream, _ entity: UInt64, _ counter: UInt64 = 0) -> UInt64 {
        let place = Hash64.mix(entity &+ 0x9e37_79b9_7f4a_7c15, key ^ stream.rawValue)
        return Hash64.keyed(counter, salt: place)
    }

    /// A number in `0 ..< bound`.
    @inlinable @inline(__always)
    public func below(
        _ bound: UInt64, _ stream: RandomStream, _ entity: UInt64, _ counter: UInt64 = 0
    ) -> UInt64 {
        Hash64.reduce(word(stream, entity, counter), below: bound)
    }

    /// Whether something of the given probability happens.
    @inlinable @inline(__always)
    public func happens(
        _ probability: Double, _ stream: RandomStream, _ entity: UInt64, _ counter: UInt64 = 0
    ) -> Bool {
        RandomSource.unit(word(stream, entity, counter)) < probability
    }

    /// A word as a number in [0, 1), of 53 bits.
    @inlinable @inline(__always)
    public static func unit(_ word: UInt64) -> Double {
        Double(word >> 11) * 0x1p-53
    }
}
