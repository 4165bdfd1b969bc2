import EdgeLedger
import EdgeTypes

/// Events on their way from the store's outbox to the stream `downpour:events`.
///
/// A shard's events go in the order of their entries, each as `id` (`shard-sequence`) and `event`
/// (CloudEvents 1.0 JSON). The same script moves the shard's mark in `downpour:published`, so that
/// what is sent again adds nothing. Where Redis has lost its tail, or everything, the mark went with
/// it, and what the outbox holds after it is sent again under the same ids: consumers see an event at
/// least once, and tell it by its id.
package struct EventPublisher {
    /// A run (from, to] of a shard's entries with the events that they have made.
    package struct Run {
        package var shard: ShardID
        package var from: UInt64
        package var to: UInt64
        package var events: [EventRow]

        package init(shard: ShardID, from: UInt64, to: UInt64, events: [EventRow]) {
            self.shard = shard
            self.from = from
            self.to = to
            self.events = events
        }
    }

    package struct Outcome {
        package var published = 0
        /// The stream is at its limit: what is left waits in the outbox.
        package var isFull = false
        /// Shards of which something has to be read from the outbox: before the run, or, where the
        /// stream was full, within it.
        package var lagging: [ShardID] = []

        package init() {}
    }

    private let connection: any RedisLink
    private let streamLimit: Int
    private let eventsAtOnce: Int

    package init(_ connection: any RedisLink, streamLimit: Int, eventsAtOnce: Int = 500) {
        precondition(streamLimit > 0 && eventsAtOnce > 0)
        self.connection = connection
        self.streamLimit = streamLimit
        self.eventsAtOnce = eventsAtOnce
    }

    package func publish(_ runs: [Run]) throws(RedisError) -> Outcome {
        var outcome = Outcome()
        var arguments = RedisCommand()
        var shards = 0
        var rows = 0
        for run in runs {
            for piece in pieces(of: run) {
                arguments.append(piece.shard)
                arguments.append(piece.from)
                arguments.append(piece.to)
                arguments.append(piece.events.count)
                for event in piece.events {
                    arguments.append(EntryID.sequence(of: event.id))
                    arguments.append(event.name)
                    arguments.append(CloudEvent.json(event))
                }
                shards += 1
                rows += piece.events.count + 1
                if rows >= eventsAtOnce {
                    try send(shards, arguments, &outcome)
                    (arguments, shards, rows) = (RedisCommand(), 0, 0)
                }
            }
        }
        if shards > 0 { try send(shards, arguments, &outcome) }
        return outcome
    }

    /// One script takes so many events and no more.
    private func pieces(of run: Run) -> [Run] {
        guard run.events.count > eventsAtOnce else { return [run] }
        var pieces: [Run] = []
        var from = run.from
        for start in stride(from: 0, to: run.events.count, by: eventsAtOnce) {
            let end = min(start + eventsAtOnce, run.events.count)
            let to = end == run.events.count ? run.to : EntryID.sequence(of: run.events[end - 1].id)
            pieces.append(
                Run(shard: run.shard, from: from, to: to, events: Array(run.events[start..<end])))
            from = to
        }
        return pieces
    }

    private func send(
        _ shards: Int, _ arguments: RedisCommand, _ outcome: inout Outcome
    ) throws(RedisError) {
        var all = RedisCommand("\(streamLimit)", "\(shards)")
        all.append(contentsOf: arguments)
        let answer = try connection.run(.publish, all).array
        guard answer.count == 3 else { throw .malformed("an answer of \(answer.count) parts") }
        outcome.published += Int(answer[0].integer ?? 0)
        if answer[1].integer == 1 { outcome.isFull = true }
        outcome.lagging += answer[2].array.compactMap {
            $0.integer.flatMap { ShardID(exactly: $0) }
        }
    }

    static let script = """
        local position = 0
        local function take()
          position = position + 1
          return ARGV[position]
        end
        local limit = tonumber(take())
        local length = redis.call('XLEN', 'downpour:events')
        local added, full, lagging = 0, 0, {}
        for _ = 1, tonumber(take()) do
          local shard, from, to = take(), tonumber(take()), tonumber(take())
          local count = tonumber(take())
          local mark = tonumber(redis.call('HGET', 'downpour:published', shard) or '0')
          local reached, open = to, mark >= from
          for _ = 1, count do
            local sequence, id, event = tonumber(take()), take(), take()
            if open and sequence > mark then
              if length >= limit then
                full, open = 1, false
              else
                redis.call('XADD', 'downpour:events', '*', 'id', id, 'event', event)
                length, added, mark = length + 1, added + 1, sequence
              end
            end
          end
          if not open then
            lagging[#lagging + 1] = shard
            reached = mark
          end
          local known = tonumber(redis.call('HGET', 'downpour:published', shard) or '0')
          if reached > known then
            redis.call('HSET', 'downpour:published', shard, string.format('%.0f', reached))
          end
        end
        return {added, full, lagging}
        """
}
