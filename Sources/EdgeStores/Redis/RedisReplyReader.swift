import CHiredis
import EdgeReconciler

extension RedisCommand {
    /// Appends the command as Redis' protocol has it.
    func encode(into out: inout [UInt8]) {
        precondition(!ends.isEmpty, "a command has a name")
        var lengths = [Int](repeating: 0, count: ends.count)
        var start = 0
        for (index, end) in ends.enumerated() {
            lengths[index] = end - start
            start = end
        }
        // A last byte, so that the base address is there where all words are empty.
        var padded = bytes
        padded.append(0)
        padded.withUnsafeBufferPointer { raw in
            let base = UnsafeRawPointer(raw.baseAddress!).assumingMemoryBound(to: CChar.self)
            // SAFETY: every word lies within `padded`, which stays for the call.
            var words: [UnsafePointer<CChar>?] = ends.indices.map { index in
                base + (ends[index] - lengths[index])
            }
            var target: UnsafeMutablePointer<CChar>?
            let count = redisFormatCommandArgv(&target, Int32(ends.count), &words, &lengths)
            guard count > 0, let target else { preconditionFailure("no memory for a command") }
            out.append(
                contentsOf: UnsafeRawBufferPointer(start: target, count: Int(count)))
            redisFreeCommand(target)
        }
    }
}

/// Takes bytes, gives answers.
final class RedisReplyReader {
    private let reader: UnsafeMutablePointer<redisReader>

    init() {
        guard let reader = redisReaderCreate() else { preconditionFailure("no memory") }
        self.reader = reader
    }

    deinit { redisReaderFree(reader) }

    func feed(_ bytes: UnsafeRawBufferPointer) throws(RedisError) {
        // SAFETY: hiredis copies the bytes.
        let start = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
        guard redisReaderFeed(reader, start, bytes.count) == 0 else { throw problem }
    }

    /// - Returns: nil where the answer is not complete.
    func next() throws(RedisError) -> RedisValue? {
        var reply: UnsafeMutableRawPointer?
        guard redisReaderGetReply(reader, &reply) == 0 else { throw problem }
        guard let reply else { return nil }
        defer { freeReplyObject(reply) }
        // SAFETY: the reader's default functions make `redisReply`s.
        return Self.value(reply.assumingMemoryBound(to: redisReply.self))
    }

    private var problem: RedisError {
        // SAFETY: hiredis ends the text with a zero.
        let text = withUnsafePointer(to: &reader.pointee.errstr) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: 128) { String(cString: $0) }
        }
        return .malformed(text)
    }

    private static func value(_ reply: UnsafeMutablePointer<redisReply>) -> RedisValue {
        let reply = reply.pointee
        switch reply.type {
        case REDIS_REPLY_INTEGER: return .integer(reply.integer)
        case REDIS_REPLY_NIL: return .null
        case REDIS_REPLY_ERROR: return .error(text(reply))
        case REDIS_REPLY_ARRAY:
            return .array(
                (0..<reply.elements).map { index in
                    // SAFETY: hiredis has filled `elements` of them.
                    reply.element[index].map(value) ?? .null
                })
        default: return .text(text(reply))
        }
    }

    private static func text(_ reply: redisReply) -> String {
        // SAFETY: `len` bytes are there.
        String(decoding: UnsafeRawBufferPointer(start: reply.str, count: reply.len), as: UTF8.self)
    }
}
