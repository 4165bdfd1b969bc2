import EdgeMemory
import EdgeTypes
import EdgeWire

/// Writing answers: fixed parts as ready bytes, the body counted before its length is written.
extension HTTPConnection {
    func write(_ reply: Reply, _ body: Value?, _ exchange: HTTPExchange, to sink: inout ByteSink) {
        loop.body.removeAll()
        switch reply.shape {
        case .grab: writeGrab(reply)
        case .reserve: writeReserve(reply)
        case .outcome: writeOutcome(reply.outcome)
        case .ok: loop.body.append("{}")
        case .error:
            var detail = reply.error.detail
            if case .text(let text)? = body { detail = text }
            return write(HTTPProblem(reply.error, detail), exchange, to: &sink)
        case .body: writeBody(body ?? .null, exchange.shape)
        case .archived:
            return write(
                HTTPProblem(.tryAgain, RESPEncoder.archivedDetail), exchange, to: &sink)
        }
        loop.httpTexts.okJSON.withUnsafeBytes { sink.append($0) }
        writeRest(exchange, hasBody: true, to: &sink)
    }

    /// `{"outcome":"granted","amount":1234,"packet":17,"at":ms,"now":ms}`
    private func writeGrab(_ reply: Reply) {
        switch reply.outcome {
        case .granted, .repeat:
            loop.body.append("{\"outcome\":\"granted\",\"amount\":")
            loop.body.append(decimal: reply.fen)
            loop.body.append(",\"packet\":")
            loop.body.append(decimal: reply.packet)
            loop.body.append(",\"at\":")
            loop.body.append(decimal: reply.timeMs)
            writeNow(isReplay: reply.outcome == .repeat)
        default: writeMissed(reply)
        }
    }

    /// `{"outcome":"reserved","order":"…","expiresAt":ms,"now":ms}`
    private func writeReserve(_ reply: Reply) {
        switch reply.outcome {
        case .reserved, .repeat: loop.body.append("{\"outcome\":\"reserved\"")
        case .limit where reply.order.rawValue != 0:
            loop.body.append("{\"outcome\":\"limit\"")
        default: return writeMissed(reply)
        }
        loop.body.append(",\"order\":\"")
        reply.order.write(into: loop.body.extend(by: OrderID.textBytes))
        loop.body.append("\",\"expiresAt\":")
        loop.body.append(decimal: reply.timeMs)
        writeNow(isReplay: reply.outcome == .repeat)
    }

    private func writeMissed(_ reply: Reply) {
        loop.body.append("{\"outcome\":\"")
        loop.body.append(text: reply.outcome.text)
        loop.body.append("\"")
        if reply.outcome == .early {
            loop.body.append(",\"opensAt\":")
            loop.body.append(decimal: reply.timeMs)
        }
        writeNow(isReplay: false)
    }

    private func writeOutcome(_ outcome: Outcome) {
        loop.body.append("{\"outcome\":\"")
        loop.body.append(text: outcome.text)
        loop.body.append("\"")
        writeNow(isReplay: false)
    }

    private func writeNow(isReplay: Bool) {
        loop.body.append(",\"now\":")
        loop.body.append(decimal: loop.now.wallMs)
        if isReplay { loop.body.append(",\"replayed\":true}") } else { loop.body.append("}") }
    }

    private func writeBody(_ value: Value, _ shape: HTTPExchange.Shape) {
        switch (shape, value) {
        case (.claims, _):
            loop.body.append("{\"claims\":")
            JSONWriter.append(rows: value, keys: ["packet", "amount", "at"], to: &loop.body)
        case (.orders, _):
            loop.body.append("{\"orders\":")
            JSONWriter.append(
                rows: value, keys: ["order", "state", "qty", "expiresAt"], to: &loop.body)
        case (_, .map(let fields)) where !fields.isEmpty:
            loop.body.append("{")
            JSONWriter.append(fields: fields, to: &loop.body)
        default:
            loop.body.append("{\"value\":")
            JSONWriter.append(value, to: &loop.body)
        }
        writeNow(isReplay: false)
    }

    func write(_ problem: HTTPProblem, _ exchange: HTTPExchange, to sink: inout ByteSink) {
        loop.body.removeAll()
        loop.body.append("{\"type\":\"urn:downpour:problem:")
        loop.body.append(text: problem.code)
        loop.body.append("\",\"title\":")
        JSONWriter.append(text: problem.status.title, to: &loop.body)
        loop.body.append(",\"status\":")
        loop.body.append(decimal: UInt64(problem.status.rawValue))
        loop.body.append(",\"detail\":")
        JSONWriter.append(text: problem.detail, to: &loop.body)
        loop.body.append("}")
        sink.append(problem.status.text)
        loop.httpTexts.problem.withUnsafeBytes { sink.append($0) }
        if problem.retryAfterSeconds > 0 {
            sink.append("Retry-After: ")
            sink.append(decimal: problem.retryAfterSeconds)
            sink.append("\r\n")
        }
        if problem.status == .unauthorized {
            sink.append("WWW-Authenticate: Bearer realm=\"downpour\"\r\n")
        }
        if problem.allow.utf8CodeUnitCount > 0 {
            sink.append("Allow: ")
            sink.append(problem.allow)
            sink.append("\r\n")
        }
        writeRest(exchange, hasBody: true, to: &sink)
    }

    /// What every answer ends with: the headers that differ, and `loop.body`.
    func writeRest(_ exchange: HTTPExchange, hasBody: Bool, to sink: inout ByteSink) {
        loop.httpTexts.appendDate(loop.now.wallMs, to: &sink)
        if let origin = exchange.origin {
            sink.append("Access-Control-Allow-Origin: ")
            sink.append(text: origin)
            sink.append(
                "\r\nVary: Origin\r\nAccess-Control-Expose-Headers: Downpour-Node, Retry-After\r\n")
        }
        if !exchange.keepsAlive {
            sink.append("Connection: close\r\n")
        } else if exchange.isOld {
            sink.append("Connection: keep-alive\r\n")
        }
        guard hasBody else { return sink.append("\r\n") }
        sink.append("Content-Length: ")
        sink.append(decimal: UInt64(loop.body.count))
        sink.append("\r\n\r\n")
        if !exchange.isHead { sink.append(loop.body.bytes) }
    }
}
