/// A user of the platform. Any unsigned 64-bit integer is a user.
public typealias UserID = UInt64

/// Money, in fen (1/100 yuan). Never a floating-point number.
public typealias Fen = Int64

/// Unix time in milliseconds.
public typealias UnixMs = Int64

/// The unit of ownership, replication, snapshot and migration. Numbers run from 0 to shards − 1.
public typealias ShardID = UInt16

/// A pool's identity on the wire and in tables: a 64-bit hash of its family and name
/// (`PoolKey.of` in EdgeMemory). Creation refuses a second name with the same key.
public struct PoolKey: BitwiseCopyable, Hashable, Sendable {
    public var rawValue: UInt64

    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// An order's identity: the shard it lives on, and its number there (from 0).
///
/// Its text form is 13 letters and digits (Crockford's base 32, lower case): see `OrderID.text`.
public struct OrderID: BitwiseCopyable, Hashable, Sendable {
    public var rawValue: UInt64

    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// - Parameter number: below 2^40.
    @inlinable
    public init(shard: ShardID, number: UInt64) {
        precondition(number < (1 << 40))
        // Bit 60 is always set, so that no order is 0 and every text has 13 digits.
        rawValue = (1 << 60) | (UInt64(shard) << 40) | number
    }

    @inlinable public var shard: ShardID { ShardID(truncatingIfNeeded: rawValue >> 40) }
    @inlinable public var number: UInt64 { rawValue & ((1 << 40) - 1) }
    @inlinable public var isWellFormed: Bool { (rawValue >> 56) == 0x10 }
}

/// The two clocks a step is given. A core reads no clock of its own.
public struct Instant: Sendable {
    /// Wall clock: may jump either way.
    public var wallMs: UnixMs
    /// Monotonic clock: never goes back, starts anywhere.
    public var monotonicNs: UInt64

    @inlinable
    public init(wallMs: UnixMs, monotonicNs: UInt64 = 0) {
        self.wallMs = wallMs
        self.monotonicNs = monotonicNs
    }
}

/// Names the request that a reply answers. Chosen by the shell, opaque to the core.
public struct Ticket: BitwiseCopyable, Hashable, Sendable {
    /// The event loop that holds the connection.
    public var core: UInt16
    /// Tells a connection from an earlier one in the same slot.
    public var generation: UInt16
    /// The connection's slot in that event loop's table.
    public var connection: UInt32
    /// The request's position on its connection, counted from 0 and wrapping.
    public var position: UInt32

    @inlinable
    public init(core: UInt16, generation: UInt16, connection: UInt32, position: UInt32) {
        self.core = core
        self.generation = generation
        self.connection = connection
        self.position = position
    }
}
