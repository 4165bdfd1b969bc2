/// A connection to a Redis, as those who use one see it. Used from one thread; every call blocks.
///
/// Once a call has failed as `unreachable` or `malformed` the connection is of no more use: whether
/// what was asked last was done is not known.
package protocol RedisLink: AnyObject {
    /// Sends commands one after the other and returns their answers, errors among them, in order.
    func send(_ commands: [RedisCommand]) throws(RedisError) -> [RedisValue]

    /// Runs a script, which nothing interrupts.
    ///
    /// - Throws: also what Redis answers as an error.
    func run(
        _ script: RedisScript, _ arguments: RedisCommand
    ) throws(RedisError) -> RedisValue

    /// Idempotent.
    func close()
}

extension RedisLink {
    /// - Throws: also what Redis answers as an error.
    @discardableResult
    package func call(_ command: RedisCommand) throws(RedisError) -> RedisValue {
        let answers = try send([command])
        guard let answer = answers.first else { throw .malformed("no answer") }
        if case .error(let text) = answer { throw RedisError(answer: text) }
        return answer
    }

    @discardableResult
    package func call(_ words: String...) throws(RedisError) -> RedisValue {
        var command = RedisCommand()
        for word in words { command.append(word) }
        return try call(command)
    }
}

/// The scripts that Redis runs for Downpour: whatever has to change together.
///
/// What each does is stated a second time by the simulator's model of a Redis; a test runs both on
/// the same arguments.
package enum RedisScript: CaseIterable, Sendable {
    /// Takes rows of pools and shards, see `RedisMirror`.
    case mirror
    /// Adds events to the stream, see `EventPublisher`.
    case publish
    /// Takes from the stream what all groups have acknowledged, see `EventTrimmer`.
    case trim
    /// Moves an event to the dead letters, see `DeadLetters`.
    case bury
    /// Puts dead letters back into the stream.
    case revive
    /// Tells caches of changes, see `Invalidations`.
    case invalidate

    package var source: String {
        switch self {
        case .mirror: RedisMirror.script
        case .publish: EventPublisher.script
        case .trim: EventTrimmer.script
        case .bury: DeadLetters.bury
        case .revive: DeadLetters.revive
        case .invalidate: Invalidations.script
        }
    }
}
