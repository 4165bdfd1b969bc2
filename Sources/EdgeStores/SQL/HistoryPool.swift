import EdgeLedger
import EdgeReconciler
import EdgeTypes
import Foundation

/// Questions about the past, spread over replicas of the store.
///
/// A replica answers where it is no further behind the primary than `stalenessMs`, and has what the
/// caller has seen already; otherwise another one does, or the primary. What a replica knows is
/// read in the same snapshot as the answer. Replicas apply transactions in the primary's order, as
/// those of MySQL and MariaDB do unless told otherwise. Safe to use from any thread; blocks.
public final class HistoryPool: @unchecked Sendable {
    // SAFETY: everything that changes is changed under `condition`; a history is used by one thread,
    // which has taken it out of `places`.

    /// How often who has answered.
    public struct Counters: Sendable, Equatable {
        public var byPrimary: UInt64 = 0
        public var byReplicas: UInt64 = 0
        /// Replicas passed over because they were behind.
        public var stale: UInt64 = 0
        /// Replicas passed over because they did not answer.
        public var unreachable: UInt64 = 0
    }

    private struct Place {
        let store: StoreURL
        var idle: [StoreHistory] = []
        var isDownUntilMs: UInt64 = 0
    }

    /// Questions at once, and those that wait for their turn.
    private static let mostAtOnce = 8
    private static let mostWaiting = 64
    private static let retryMs: UInt64 = 1_000

    private let condition = NSCondition()
    /// The primary, then the replicas.
    private var places: [Place]
    private let stalenessMs: UInt64
    private var running = 0
    private var waiting = 0
    private var turn = 0
    private var told = Counters()
    /// How far the primary had come when that was looked at last.
    private var floor: WatermarkTable?
    private var floorAtMs: UInt64 = 0

    /// - Parameter replicas: of the primary; empty: it answers everything.
    public init(primary: StoreURL, replicas: [StoreURL] = [], stalenessMs: Int = 5_000) {
        places = ([primary] + replicas.flatMap(\.places)).map { Place(store: $0) }
        self.stalenessMs = UInt64(max(0, stalenessMs))
    }

    public var counters: Counters { locked { told } }

    /// Asks whoever may answer.
    ///
    /// - Parameters:
    ///   - seen: entries (`EntryID`) that the caller has seen: the answer is not older.
    ///   - body: the questions; called again elsewhere where a connection breaks.
    /// - Throws: `StoreError.behind` where not even the primary has what the caller has seen;
    ///   `.locked` where too many ask; else what the primary or `body` throws.
    public func read<T>(
        seen: [Int64] = [], _ body: (StoreHistory) throws -> T
    ) throws -> T {
        try enter()
        defer { leave() }
        for index in replicasInTurn() {
            do {
                let floor = try freshFloor()
                return try ask(index, from: floor, seen, body)
            } catch StoreError.behind {
                locked { told.stale += 1 }
            } catch StoreError.unreachable, StoreError.cannotOpen, StoreError.io,
                StoreError.foreign
            {
                locked {
                    told.unreachable += 1
                    places[index].isDownUntilMs = Self.nowMs + Self.retryMs
                }
            }
        }
        return try ask(0, from: nil, seen, body)
    }

    private func ask<T>(
        _ index: Int, from floor: WatermarkTable?, _ seen: [Int64],
        _ body: (StoreHistory) throws -> T
    ) throws -> T {
        let known = locked { places[index].idle.popLast() }
        let history = try known ?? StoreHistory(places[index].store)
        let answer = try history.asOfOneMoment { history in
            try Self.check(history, floor, seen)
            return try body(history)
        }
        // One that has failed is not used again.
        locked {
            places[index].idle.append(history)
            if index == 0 { told.byPrimary += 1 } else { told.byReplicas += 1 }
        }
        return answer
    }

    private static func check(
        _ history: StoreHistory, _ floor: WatermarkTable?, _ seen: [Int64]
    ) throws {
        guard floor != nil || !seen.isEmpty else { return }
        let marks = try history.watermarks()
        for shard in floor?.shards ?? [] {
            guard marks[shard].sequence >= (floor?[shard].sequence ?? 0) else {
                throw StoreError.behind("shard \(shard) at \(marks[shard].sequence)")
            }
        }
        for id in seen where marks[EntryID.shard(of: id)].sequence < EntryID.sequence(of: id) {
            throw StoreError.behind(
                "shard \(EntryID.shard(of: id)) at \(marks[EntryID.shard(of: id)].sequence)")
        }
    }

    // MARK: How far replicas have to be

    /// What the primary had at most `stalenessMs` ago. While it does not answer, it writes nothing:
    /// what it had last stays good enough.
    private func freshFloor() throws -> WatermarkTable {
        let nowMs = Self.nowMs
        let known = locked { (floor, floorAtMs, places[0].isDownUntilMs) }
        if let floor = known.0, nowMs - known.1 <= stalenessMs / 2 || nowMs < known.2 {
            return floor
        }
        do {
            let marks = try ask(0, from: nil, []) { try $0.watermarks() }
            locked {
                told.byPrimary -= 1
                floor = marks
                floorAtMs = nowMs
            }
            return marks
        } catch {
            guard let floor = known.0 else {
                // Nobody knows how far it was: whoever lives is asked.
                return WatermarkTable()
            }
            locked { places[0].isDownUntilMs = Self.nowMs + Self.retryMs }
            return floor
        }
    }

    private func replicasInTurn() -> [Int] {
        locked {
            turn &+= 1
            let count = places.count - 1
            let nowMs = Self.nowMs
            return (0..<count).map { 1 + (turn + $0) % count }
                .filter { places[$0].isDownUntilMs <= nowMs }
        }
    }

    // MARK: Turns

    private func enter() throws {
        condition.lock()
        defer { condition.unlock() }
        guard waiting < Self.mostWaiting else {
            throw StoreError.locked("too many questions at once")
        }
        waiting += 1
        while running >= Self.mostAtOnce { condition.wait() }
        waiting -= 1
        running += 1
    }

    private func leave() {
        locked {
            running -= 1
            condition.signal()
        }
    }

    private func locked<T>(_ body: () throws -> T) rethrows -> T {
        condition.lock()
        defer { condition.unlock() }
        return try body()
    }

    private static var nowMs: UInt64 { DispatchTime.now().uptimeNanoseconds / 1_000_000 }
}
