import EdgeTypes

// What doors ask and are told: see `WinnersAsked` and `Winners`.
extension BusCodec {
    static func write(_ asked: WinnersAsked, to sink: inout some JournalFieldSink) {
        sink.integer(asked.pool.rawValue)
        sink.integer(asked.slice)
        sink.integer(asked.node)
        sink.integer(asked.back)
        sink.integer(asked.number)
        sink.integer(asked.epoch)
        sink.integer(asked.generation)
        sink.integer(asked.mark)
    }

    static func readWinnersAsked(_ reader: inout JournalFieldReader) -> WinnersAsked {
        WinnersAsked(
            pool: JournalCodec.readPool(&reader), slice: reader.integer(), node: reader.integer(),
            back: reader.integer(), number: reader.integer(), epoch: reader.integer(),
            generation: reader.integer(), mark: reader.integer())
    }

    static func write(_ winners: Winners, to sink: inout some JournalFieldSink) {
        precondition(winners.words.count * 8 <= Limits.winnersBytes)
        sink.integer(winners.pool.rawValue)
        sink.integer(winners.slice)
        sink.integer(winners.number)
        sink.integer(winners.epoch)
        sink.integer(winners.generation)
        sink.integer(winners.shardEpoch)
        sink.integer(winners.version)
        sink.integer(winners.mark)
        sink.integer(winners.validNs)
        sink.integer(UInt32(winners.words.count))
        for word in winners.words { sink.integer(word) }
    }

    /// nil where the filter is longer than one may be.
    static func readWinners(_ reader: inout JournalFieldReader) -> Winners? {
        var winners = Winners(
            pool: JournalCodec.readPool(&reader), slice: reader.integer(), number: reader.integer(),
            epoch: reader.integer(), generation: reader.integer(), shardEpoch: reader.integer(),
            version: reader.integer(), mark: reader.integer(), validNs: reader.integer(), words: [])
        let count = Int(reader.integer(UInt32.self))
        guard count * 8 <= Limits.winnersBytes else { return nil }
        for _ in 0..<count where reader.isIntact { winners.words.append(reader.integer()) }
        return winners
    }
}
