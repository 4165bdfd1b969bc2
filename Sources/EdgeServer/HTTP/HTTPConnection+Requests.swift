import EdgeMemory
import EdgeTypes
import EdgeWire
import NIOCore
import NIOHTTP1

/// From a request's head and body to what the core is asked.
extension HTTPConnection {
    /// Reads the head into `current` and `fields`.
    func readHead(_ head: HTTPRequestHead) {
        current = HTTPExchange()
        current.isOld = head.version == .http1_0
        current.keepsAlive = head.isKeepAlive
        fields = HTTPFields(head)
        // The decoder stops after a request that asks for another protocol.
        if fields.hasUpgrade || head.method == .CONNECT { current.keepsAlive = false }
        let mayContinue = fields.expectsContinue && !current.isOld
        current.expectsContinue = mayContinue && fields.contentLength <= loop.limits.bodyBytes
        if mayContinue, !current.expectsContinue {
            current.keepsAlive = false
            refuse(.init(.contentTooLarge, "too-large", "the body is too large"))
        }
    }

    /// Serves the request that has now been read to its end.
    func dispatch(_ body: [UInt8]) {
        if let origin = fields.origin, isAllowed(origin) { current.origin = origin }
        guard !fields.isTooLarge(loop.limits) else {
            current.keepsAlive = false
            return refuse(
                .init(.headersTooLarge, "headers-too-large", "the header fields are too large"))
        }
        guard fields.target.utf8.count <= loop.limits.targetBytes else {
            current.keepsAlive = false
            return refuse(.init(.targetTooLong, "target-too-long", "the target is too long"))
        }
        guard current.isOld || fields.hosts == 1 else {
            current.keepsAlive = false
            return refuse(.init(.badRequest, "bad-request", "one Host header is needed"))
        }
        let route = HTTPRoute(target: fields.target)
        switch route {
        case .unknown: return refuse(.init(.notFound, "not-found", "there is nothing here"))
        case .badID:
            if fields.method == .OPTIONS { return preflight(route) }
            return refuse(.init(.notFound, "not-found", "that is not an id"))
        default: break
        }
        if fields.method == .OPTIONS { return preflight(route) }
        switch (route.method, fields.method) {
        case (.get, .GET), (.post, .POST): break
        case (.get, .HEAD): current.isHead = true
        case (.get, _):
            return refuse(
                .init(
                    .methodNotAllowed, "method-not-allowed", "use GET",
                    allow: "GET, HEAD, OPTIONS"))
        case (.post, _):
            return refuse(
                .init(
                    .methodNotAllowed, "method-not-allowed", "use POST", allow: "POST, OPTIONS"))
        }
        serve(route, body)
    }

    private func serve(_ route: HTTPRoute, _ body: [UInt8]) {
        switch route {
        case .health: return reply(.ok, "ok\n")
        case .ready:
            guard loop.shared.isReadyNow else {
                return refuse(
                    .init(.unavailable, "not-ready", "joining or draining", retryAfterSeconds: 1))
            }
            return reply(.ok, "ready\n")
        case .webSocket:
            return refuse(.init(.notImplemented, "not-implemented", "rooms are not served"))
        default: break
        }
        guard let caller = authenticate() else { return }
        if let waitMs = throttle(caller.user) {
            loop.statistics.throttled &+= 1
            return refuse(
                .init(
                    .tooManyRequests, "throttled", "too many requests",
                    retryAfterSeconds: (waitMs + 999) / 1_000))
        }
        ask(route, caller, body)
    }

    private func throttle(_ user: UserID) -> Int64? {
        if !loop.limits.httpRate.isOff {
            let waitMs = bucket.take(loop.limits.httpRate, nowMs: loop.nowMs)
            if waitMs > 0 { return waitMs }
        }
        guard !loop.limits.httpUserRate.isOff else { return nil }
        let waitMs = loop.httpUserBuckets.take(user, nowMs: loop.nowMs)
        return waitMs > 0 ? waitMs : nil
    }

    private func ask(_ route: HTTPRoute, _ caller: TokenClaims, _ body: [UInt8]) {
        var request = Request(
            ticket: ticket, operation: .grab, user: caller.user, region: caller.region,
            ownOnly: true)
        switch route {
        case .grab(let name):
            current.shape = .grab
            request.pool = .of(.rain, name)
            guard let hash = requestHash(isRequired: false) else { return }
            request.requestHash = hash
        case .rain(let name):
            current.shape = .pool
            request.operation = .poolInfo
            request.pool = .of(.rain, name)
        case .claims(let name):
            current.shape = .claims
            request.operation = .claims
            request.pool = .of(.rain, name)
        case .reserve(let name):
            current.shape = .reserve
            request.operation = .reserve
            request.family = .stock
            request.pool = .of(.stock, name)
            guard let hash = requestHash(isRequired: true), let quantity = quantity(body) else {
                return
            }
            request.requestHash = hash
            request.quantity = quantity
        case .stock(let name):
            current.shape = .pool
            request.operation = .poolInfo
            request.family = .stock
            request.pool = .of(.stock, name)
        case .orders(let name):
            current.shape = .orders
            request.operation = .orders
            request.family = .stock
            request.pool = .of(.stock, name)
        case .order(let order):
            current.shape = .order
            request.operation = .orderInfo
            request.family = .stock
            request.order = order
        case .cancel(let order):
            current.shape = .cancel
            request.operation = .orderCancel
            request.family = .stock
            request.order = order
        case .health, .ready, .webSocket, .unknown, .badID: preconditionFailure("served before")
        }
        send(request)
    }

    /// - Returns: 0 where there is none; nil where the request was refused.
    private func requestHash(isRequired: Bool) -> UInt64? {
        guard let key = fields.idempotencyKey else {
            guard isRequired else { return 0 }
            refuse(.init(.badRequest, "no-idempotency-key", "Idempotency-Key is required"))
            return nil
        }
        guard let text = Text64(key.utf8), RESPRequests.isPrintable(text) else {
            refuse(
                .init(
                    .badRequest, "bad-idempotency-key",
                    "Idempotency-Key must be 1-64 printable bytes"))
            return nil
        }
        return Hash64.text(text)
    }

    /// Reads `{"qty":1}`.
    private func quantity(_ body: [UInt8]) -> Int64? {
        guard fields.isJSON else {
            refuse(.init(.unsupportedMedia, "not-json", "Content-Type must be application/json"))
            return nil
        }
        guard let object = body.withUnsafeBytes({ JSONReader.object($0) }) else {
            refuse(.init(.badRequest, "bad-json", "the body is not a JSON object"))
            return nil
        }
        for field in object where field.key == "qty" {
            if case .number(let text) = field.value, let quantity = Int64(text),
                quantity >= 1, quantity <= Int64(Limits.unitsPerOrder)
            {
                return quantity
            }
        }
        refuse(
            .init(
                .badRequest, "bad-argument",
                "qty must be an integer between 1 and \(Limits.unitsPerOrder)"))
        return nil
    }

    // MARK: who it is

    /// - Returns: nil where the request was refused.
    private func authenticate() -> TokenClaims? {
        guard let tokens = loop.shared.settings.tokens else { return trustedCaller() }
        guard let authorization = fields.authorization else {
            refuse(.init(.unauthorized, "unauthorized", "a bearer token is needed"))
            return nil
        }
        if let claims = lastClaims, authorization == lastAuthorization {
            if loop.now.wallMs / 1_000 < claims.expiresSeconds { return claims }
            refuse(.init(.unauthorized, "unauthorized", TokenFailure.expired.rawValue))
            return nil
        }
        var token = authorization
        let verified = token.withUTF8 { bytes -> Result<TokenClaims, TokenFailure>? in
            let token = UnsafeRawBufferPointer(bytes)
            guard token.count > 7, Self.isBearer(token) else { return nil }
            return tokens.verify(
                UnsafeRawBufferPointer(rebasing: token[7...]), nowMs: loop.now.wallMs)
        }
        switch verified {
        case .success(let claims)?:
            lastAuthorization = authorization
            lastClaims = claims
            return claims
        case .failure(let failure)?:
            refuse(.init(.unauthorized, "unauthorized", failure.rawValue))
        case nil: refuse(.init(.unauthorized, "unauthorized", "a bearer token is needed"))
        }
        return nil
    }

    /// Whether the bytes begin with `Bearer `, in any case.
    private static func isBearer(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let scheme: StaticString = "bearer "
        for index in 0..<scheme.utf8CodeUnitCount {
            guard bytes[index] | 0x20 == scheme.utf8Start[index] | 0x20 else { return false }
        }
        return true
    }

    /// Without a token key: `X-User`, where the node was started so, never through a proxy.
    private func trustedCaller() -> TokenClaims? {
        let settings = loop.shared.settings
        guard settings.acceptsUserHeader, isLoopback || settings.acceptsRemoteUserHeader else {
            refuse(.init(.unauthorized, "unauthorized", "this node accepts no users"))
            return nil
        }
        guard !fields.isForwarded else {
            refuse(.init(.forbidden, "forbidden", "X-User is not accepted through a proxy"))
            return nil
        }
        guard fields.users == 1, let text = fields.user else {
            refuse(.init(.unauthorized, "unauthorized", "X-User is needed"))
            return nil
        }
        var user = text
        let number = user.withUTF8 { bytes in
            RESPNumber.unsigned(UnsafeRawBufferPointer(bytes).bytes, 0..<bytes.count)
        }
        guard let number else {
            refuse(.init(.badRequest, "bad-argument", "a user is an unsigned 64-bit integer"))
            return nil
        }
        return TokenClaims(user: number, region: 0, expiresSeconds: .max)
    }

    // MARK: browsers

    private func isAllowed(_ origin: String) -> Bool {
        let allowed = loop.shared.settings.corsOrigins
        return allowed.contains(origin) || allowed == ["*"]
    }

    private func preflight(_ route: HTTPRoute) {
        let methods: StaticString =
            route.method == .get ? "GET, HEAD, OPTIONS" : "POST, OPTIONS"
        guard current.origin != nil else { return reply(.noContent, "", allow: methods) }
        let exchange = current
        answer { sink in
            sink.append(HTTPStatusLine.noContent.text)
            loop.httpTexts.plain.withUnsafeBytes { sink.append($0) }
            sink.append("Access-Control-Allow-Methods: ")
            sink.append(methods)
            sink.append(
                "\r\nAccess-Control-Allow-Headers: Authorization, Content-Type, Idempotency-Key")
            sink.append(", traceparent\r\nAccess-Control-Max-Age: 600\r\n")
            writeRest(exchange, hasBody: false, to: &sink)
        }
        if !exchange.keepsAlive { finish() }
    }
}
