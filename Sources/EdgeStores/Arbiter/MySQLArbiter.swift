public import EdgeReconciler
public import EdgeTypes
import Synchronization

/// The arbiter of a cluster: tables in a MySQL or MariaDB database.
///
/// Every call is one transaction that begins by locking the one row of `arbiter_state`: calls of all
/// nodes take turns, so that revisions are in the order of commits and nothing deadlocks. Within it
/// the server is asked who it is. Tables on another server than the accepted one may come from an
/// asynchronous replica or a backup, which can lack the last decisions: nothing is changed through
/// them until an operator accepts them (`accept`).
///
/// Not noticed is a server that keeps its own name and has forgotten since this process began, or
/// one that was given up and comes back with its old tables: whoever accepts another server takes
/// the old tables away.
///
/// A lost connection is made anew at the next call; a call waits for a few seconds at most.
public final class MySQLArbiter: Arbiter, Sendable {
    private let session: Mutex<Session>

    /// Longest wait for the server's answer, and for another node's call, seconds.
    static let timeoutSeconds = 5
    static let lockWaitSeconds = 3
    private static let attempts = 3

    /// What belongs to the connection, and what this process remembers.
    struct Session {
        // SAFETY: `engine` never leaves the lock.
        nonisolated(unsafe) let engine: MySQLEngine
        /// The node that asks through this, once it has said so.
        var own: String?
        /// The acceptance that this process goes by; nil: it has asked nothing yet.
        var generation: Int64?
        /// The latest revision that was read or made.
        var revision: Int64 = 0
        /// What was read, decided or told, of each shard the latest.
        var known: [ShardID: ShardConfiguration] = [:]
    }

    /// Connects, and makes the tables where there are none.
    ///
    /// - Throws: `.notForThis` where the server may forget what it has committed; see
    ///   `MySQLSchema.prepare` and `identity` for the rest.
    public convenience init(_ address: MySQLAddress) throws(StoreError) {
        try self.init(address, mustBeAccepted: true)
    }

    /// - Parameter mustBeAccepted: false: whoever connects is going to accept it.
    public init(_ address: MySQLAddress, mustBeAccepted: Bool) throws(StoreError) {
        try MySQLArbiterTables.schema.prepare(address)
        var options = MySQLOptions()
        options.timeoutSeconds = min(address.timeoutSeconds, Self.timeoutSeconds)
        options.lockWaitSeconds = Self.lockWaitSeconds
        let engine = try MySQLEngine(address, options)
        session = Mutex(Session(engine: engine))
        try use { session in try session.found() }
        if mustBeAccepted { _ = try identity() }
    }

    public func close() { session.withLock { $0.engine.close() } }

    public func identity() throws(StoreError) -> ArbiterIdentity {
        try use { session in
            try session.ask { ArbiterIdentity(text: "\($0.identity) on \($0.accepted)") }
        }
    }

    public func read(after revision: UInt64) throws(StoreError) -> ArbiterNews {
        try use { session in try session.read(after: Int64(bitPattern: revision)) }
    }

    public func insert(_ configurations: [ShardConfiguration]) throws(StoreError) {
        try use { session in try session.insert(configurations) }
    }

    public func compareAndSet(_ changes: [ConfigurationChange]) -> [ConfigurationOutcome] {
        do {
            return try use { session in try session.compareAndSet(changes) }
        } catch {
            // It may have been written or not: only asking again tells.
            return changes.map { _ in .unknown }
        }
    }

    public func raise(_ configurations: [ShardConfiguration]) throws(StoreError) {
        try use { session in
            session.remember(configurations)
            try session.change(needsAll: false) { state, session in
                try session.raise(configurations, &state)
            }
        }
    }

    /// Tries again where another transaction was in the way: nothing was changed.
    func use<T: Sendable>(_ body: (inout Session) throws -> T) throws(StoreError) -> T {
        do {
            return try session.withLock { session in
                for _ in 1..<Self.attempts {
                    do { return try body(&session) } catch StoreError.locked {}
                }
                return try body(&session)
            }
        } catch {
            throw StoreError.of(error)
        }
    }
}

/// The row that all calls lock, and who answers.
struct ArbiterState {
    var identity = ""
    /// The server's own name, as it was accepted.
    var accepted = ""
    var revision: Int64 = 0
    var generation: Int64 = 0
    /// The server's own name now.
    var found = ""
    /// `host:port`, as the server calls itself.
    var place = ""
}

extension MySQLArbiter.Session {
    /// Asks in a transaction that changes nothing.
    mutating func ask<T>(_ body: (ArbiterState) throws -> T) throws -> T {
        while true {
            let (state, answer) = try engine.transaction(.snapshot) {
                let state = try self.state("")
                try check(state)
                return (state, try body(state))
            }
            if generation == nil || generation == state.generation {
                noted(state)
                return answer
            }
            // Accepted anew since then: what this process knows is told first.
            try change(needsAll: false) { _, _ in }
        }
    }

    /// Changes something in a transaction of its own.
    ///
    /// - Parameter needsAll: only where every node has told what it knows.
    mutating func change<T>(
        needsAll: Bool, _ body: (inout ArbiterState, inout Self) throws -> T
    ) throws -> T {
        let engine = engine
        let (state, answer) = try engine.transaction(.write) {
            var state = try self.state(engine.forUpdate)
            try check(state)
            try tell(&state)
            if needsAll {
                let awaited = try awaited(state)
                guard awaited.isEmpty else {
                    throw StoreError.notForThis(
                        "the arbiter was accepted anew and waits for what these nodes know: "
                            + awaited.joined(separator: ", "))
                }
            }
            let answer = try body(&state, &self)
            return (state, answer)
        }
        noted(state)
        return answer
    }

    private mutating func noted(_ state: ArbiterState) {
        generation = state.generation
        revision = max(revision, state.revision)
    }

    /// Another transaction's row waits; with `lock` others wait for this one.
    func state(_ lock: String) throws -> ArbiterState {
        var state: ArbiterState?
        try engine.read(
            "SELECT identity, accepted, revision, generation FROM arbiter_state WHERE id = 1"
                + lock,
            []
        ) { row in
            var held = ArbiterState()
            held.identity = row.text(0)
            held.accepted = row.text(1)
            held.revision = row.integer(2)
            held.generation = row.integer(3)
            state = held
        }
        guard var state else { throw StoreError.badRow("arbiter_state has no row") }
        try askServer(&state)
        return state
    }

    /// - Throws: where the server may forget what it has committed.
    func askServer(_ state: inout ArbiterState) throws {
        var found: [String: String] = [:]
        try engine.read(
            """
            SHOW GLOBAL VARIABLES WHERE variable_name IN ('server_uid', 'server_uuid', 'hostname',
                'port', 'innodb_flush_log_at_trx_commit')
            """, []
        ) { row in found[row.text(0)] = row.text(1) }
        let flush = found["innodb_flush_log_at_trx_commit"] ?? ""
        guard flush == "1" else {
            throw StoreError.notForThis(
                "an arbiter must not forget: the server at \(engine.address) has "
                    + "innodb_flush_log_at_trx_commit = \(flush), it has to be 1")
        }
        state.place = "\(found["hostname"] ?? ""):\(found["port"] ?? "")"
        // MariaDB before 10.5.26 has no name of its own but its place.
        state.found = found["server_uid"] ?? found["server_uuid"] ?? state.place
    }

    func check(_ state: ArbiterState) throws {
        guard state.found == state.accepted else {
            throw StoreError.otherIdentity(
                accepted: state.accepted, found: "\(state.found) (\(state.place))")
        }
        let isOlder =
            state.generation < generation ?? 0
            || (state.generation == generation && state.revision < revision)
        guard !isOlder else {
            throw StoreError.otherIdentity(
                accepted: "\(state.accepted) at revision \(revision)",
                found: "\(state.found) (\(state.place)) at revision \(state.revision)")
        }
    }

    /// Whoever opens it first draws the identity, and takes the server as it is.
    mutating func found() throws {
        let isThere = try engine.transaction(.snapshot) {
            var isThere = false
            try engine.read("SELECT 1 FROM arbiter_state WHERE id = 1", []) { _ in isThere = true }
            return isThere
        }
        guard !isThere else { return }
        var random = SystemRandomNumberGenerator()
        let drawn = (0..<2).map { _ in
            let digits = String(random.next() as UInt64, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
        try engine.transaction(.write) {
            var state = ArbiterState()
            try askServer(&state)
            try engine.run(
                """
                INSERT INTO arbiter_state (id, identity, accepted, place, revision, generation)
                VALUES (1, ?, ?, ?, 0, 0) ON DUPLICATE KEY UPDATE id = id
                """, [.text(drawn), .text(state.found), .text(state.place)])
        }
    }

    /// The next revision, which this transaction's rows bear.
    func nextRevision(_ state: inout ArbiterState) throws -> Int64 {
        state.revision += 1
        try engine.run(
            "UPDATE arbiter_state SET revision = ? WHERE id = 1", [.integer(state.revision)])
        return state.revision
    }
}
