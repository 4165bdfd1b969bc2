import EdgeMemory
import EdgeTypes

/// A request for a shard that nobody serves at this moment.
struct MovingRequest: Sendable {
    var request: Request
    var payload: Payload?
    var shard: ShardID
    /// By the monotonic clock: from then on its client is told to try again.
    var untilNs: UInt64
}

/// Requests that wait while their shard changes hands, in the order in which they came. A planned
/// move takes milliseconds: nobody is told to try again for its sake.
extension EdgeNode {
    /// Most requests of a core that wait so; more are told to try again.
    static let movingLimit = 4_096
    /// Longest wait: a move takes less, a dead node's shards take longer.
    static let movingNs: UInt64 = 500_000_000

    /// - Returns: false where the request does not wait.
    mutating func waitForOwner(
        _ request: Request, _ payload: Payload?, of shard: ShardID
    ) -> Bool {
        guard configuration.replica != nil, moving.count < Self.movingLimit else { return false }
        moving.append(
            MovingRequest(
                request: request, payload: payload, shard: shard,
                untilNs: current.monotonicNs &+ Self.movingNs))
        return true
    }

    /// Takes those whose shard is served again, and refuses those that have waited for too long.
    ///
    /// Complexity: O(what waits).
    mutating func takeMoving(now: Instant, into effects: inout EffectBuffer) {
        var ready = RequestBatch(capacity: 64)
        var left: [MovingRequest] = []
        for item in moving {
            if canPass(item) {
                if let payload = item.payload {
                    ready.append(item.request, payload: payload)
                } else {
                    ready.requests.append(item.request)
                }
            } else if now.monotonicNs < item.untilNs {
                left.append(item)
            } else {
                refuseMoving(item.request, item.shard, into: &effects)
            }
        }
        moving = left
        guard !ready.requests.isEmpty else { return }
        ready.storageIsFull = isStorageFull
        takeRequests(ready, now: now, into: &effects)
    }

    private func canPass(_ item: MovingRequest) -> Bool {
        guard let route = route(to: item.shard) else { return false }
        return !goesBack(item.request, route)
    }

    /// Nothing goes back to the core that it came from: the place of its answer there is reserved
    /// once.
    func goesBack(_ request: Request, _ route: Route) -> Bool {
        route.isCore && route.core == Int(request.ticket.core) && route.core != configuration.core
    }

    mutating func refuseMoving(
        _ request: Request, _ shard: ShardID, into effects: inout EffectBuffer
    ) {
        counters.errors &+= 1
        effects.fail(
            request.ticket, .tryAgain, "nobody serves shard \(shard) now", waits: false)
    }
}
