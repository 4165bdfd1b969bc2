public import EdgeReconciler
import EdgeTypes
import Foundation
import Synchronization

/// Keeps Redis behind the store, in a thread of its own: totals, events, invalidations.
///
/// The store comes first. What it has committed is handed to `take`, which never blocks; Redis may be
/// slow, full or gone, and the store does not notice. Whatever was not sent, or was lost by Redis, is
/// found by comparing marks, and read from the store again.
public final class RedisFollower: Sendable {
    private struct Shared {
        var status = RedisStatus()
        var changes = GatheredChanges()
        var thread: Thread?
        var hasSentAll = false
    }

    private static let pollMs = 250
    /// For what is under way when the time to stop is over.
    private static let graceMs = 1_000

    private let address: RedisAddress
    private let settings: RedisSettings
    private let openSource: @Sendable () throws -> any RowsSource
    private let shared = Mutex(Shared())
    private let signal = ReconcilerSignal()

    /// - Parameter openSource: called in the follower's thread, again after the store has failed.
    public init(
        _ address: RedisAddress, settings: RedisSettings = RedisSettings(),
        openSource: @escaping @Sendable () throws -> any RowsSource
    ) {
        self.address = address
        self.settings = settings
        self.openSource = openSource
    }

    /// As of now, what waits included.
    public var status: RedisStatus {
        let nowMs = Self.nowMs()
        return shared.withLock { shared in
            var status = shared.status
            status.lagEntries &+= shared.changes.entries
            if let since = shared.changes.sinceMs {
                status.lagMs = max(status.lagMs, nowMs - since)
            }
            return status
        }
    }

    private static func nowMs() -> Int64 { Int64(Date().timeIntervalSince1970 * 1_000) }

    /// Takes what the store has just committed. Any thread; O(rows), and nothing but a short lock.
    public func take(_ changes: StoreChanges) {
        let nowMs = Self.nowMs()
        shared.withLock { shared in
            shared.changes.add(changes, nowMs: nowMs, limit: settings.waitingRows)
        }
        signal.wake()
    }

    /// - Precondition: called once.
    public func start() {
        shared.withLock { shared in
            precondition(shared.thread == nil, "started twice")
            let thread = Thread { [self] in
                BackgroundPriority.take()
                run()
                signal.end()
            }
            thread.name = "downpour.redis"
            thread.stackSize = 2 << 20
            shared.thread = thread
            shared.status.state = .running
            thread.start()
        }
    }

    private func run() {
        let (address, settings) = (address, settings)
        var cycle = RedisCycle(
            settings: settings, openRedis: { try Self.open(address, settings) },
            openSource: openSource, publish: publish)
        let pollMs = min(
            Self.pollMs, settings.lookMs, settings.sweepMs, max(1, settings.invalidationDelayMs))
        running: while true {
            let turn = cycle.step(nowMs: Self.nowMs()) {
                shared.withLock { shared in
                    defer { shared.changes = GatheredChanges() }
                    return shared.changes
                }
            }
            switch turn {
            case .more:
                if signal.isOverdue { break running }
            case .idle:
                if signal.isStopping, shared.withLock({ $0.changes.isEmpty }) { break running }
                signal.waitForWake(atMostMs: pollMs)
                signal.pause(settings.gatherMs)
            case .failed(let waitMs):
                if signal.isOverdue { break running }
                let wait = waitMs / 2 + Int.random(in: 0...(waitMs - waitMs / 2))
                if signal.isStopping {
                    signal.pauseWhileStopping(wait)
                } else {
                    signal.pause(wait)
                }
            }
        }
        let isEmpty = cycle.isEmpty
        shared.withLock { $0.hasSentAll = isEmpty && $0.changes.isEmpty }
        cycle.close()
        publish { status in
            status.state = .stopped
            status.connected = false
        }
    }

    private static func open(
        _ address: RedisAddress, _ settings: RedisSettings
    ) throws(RedisError) -> RedisConnection {
        let made = try RedisConnection(address, name: settings.clientName)
        guard !made.evictsAnything else {
            made.close()
            throw .unsupported(
                "this Redis evicts any key once its memory is full (maxmemory-policy allkeys-…): "
                    + "what is to be relied on needs noeviction, or volatile-…")
        }
        return made
    }

    private func publish(_ change: (inout RedisStatus) -> Void) {
        shared.withLock { change(&$0.status) }
    }

    /// Sends what has been taken, then ends the thread. Blocks: not for event loops.
    ///
    /// - Parameter withinMs: how long it may keep trying a Redis that fails. What is not sent then is
    ///   read from the store by whoever comes next. Where Redis or the store stands still, the thread
    ///   ends by itself once they answer, or their timeout is over.
    /// - Returns: whether Redis has everything that was taken.
    public func stop(withinMs: Int = 2_000) -> Bool {
        guard shared.withLock({ $0.thread != nil }) else { return false }
        signal.stop(withinMs: withinMs)
        guard signal.waitForEnd(atMostMs: withinMs + Self.graceMs) else { return false }
        return shared.withLock { $0.hasSentAll }
    }
}
