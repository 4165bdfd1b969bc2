import EdgeTypes

/// An error's answer (RFC 9457).
struct HTTPProblem {
    var status: HTTPStatusLine
    /// The end of its `type`.
    var code: String
    var detail: String
    var retryAfterSeconds: Int64 = 0
    /// For 405.
    var allow: StaticString = ""

    init(
        _ status: HTTPStatusLine, _ code: String, _ detail: String, retryAfterSeconds: Int64 = 0,
        allow: StaticString = ""
    ) {
        self.status = status
        self.code = code
        self.detail = detail
        self.retryAfterSeconds = retryAfterSeconds
        self.allow = allow
    }

    /// What a core's error is to an HTTP client.
    init(_ error: ErrorCode, _ detail: String) {
        switch error {
        case .noRain: self.init(.notFound, "no-rain", detail)
        case .noStock: self.init(.notFound, "no-stock", detail)
        case .noOrder: self.init(.notFound, "no-order", detail)
        case .exists: self.init(.conflict, "exists", detail)
        case .badArgument: self.init(.badRequest, "bad-argument", detail)
        case .mismatch: self.init(.unprocessable, "mismatch", detail)
        case .noPermission: self.init(.forbidden, "forbidden", detail)
        case .tryAgain: self.init(.unavailable, "try-again", detail, retryAfterSeconds: 1)
        case .unknown: self.init(.gatewayTimeout, "unknown", detail, retryAfterSeconds: 1)
        case .throttled: self.init(.tooManyRequests, "throttled", detail, retryAfterSeconds: 1)
        case .full: self.init(.unavailable, "full", detail, retryAfterSeconds: 5)
        }
    }
}

/// The status lines that are sent.
enum HTTPStatusLine: UInt16 {
    case ok = 200
    case noContent = 204
    case badRequest = 400
    case unauthorized = 401
    case forbidden = 403
    case notFound = 404
    case methodNotAllowed = 405
    case requestTimeout = 408
    case conflict = 409
    case contentTooLarge = 413
    case targetTooLong = 414
    case unsupportedMedia = 415
    case unprocessable = 422
    case tooManyRequests = 429
    case headersTooLarge = 431
    case notImplemented = 501
    case unavailable = 503
    case gatewayTimeout = 504
    case versionNotSupported = 505

    var text: StaticString {
        switch self {
        case .ok: "HTTP/1.1 200 OK\r\n"
        case .noContent: "HTTP/1.1 204 No Content\r\n"
        case .badRequest: "HTTP/1.1 400 Bad Request\r\n"
        case .unauthorized: "HTTP/1.1 401 Unauthorized\r\n"
        case .forbidden: "HTTP/1.1 403 Forbidden\r\n"
        case .notFound: "HTTP/1.1 404 Not Found\r\n"
        case .methodNotAllowed: "HTTP/1.1 405 Method Not Allowed\r\n"
        case .requestTimeout: "HTTP/1.1 408 Request Timeout\r\n"
        case .conflict: "HTTP/1.1 409 Conflict\r\n"
        case .contentTooLarge: "HTTP/1.1 413 Content Too Large\r\n"
        case .targetTooLong: "HTTP/1.1 414 URI Too Long\r\n"
        case .unsupportedMedia: "HTTP/1.1 415 Unsupported Media Type\r\n"
        case .unprocessable: "HTTP/1.1 422 Unprocessable Content\r\n"
        case .tooManyRequests: "HTTP/1.1 429 Too Many Requests\r\n"
        case .headersTooLarge: "HTTP/1.1 431 Request Header Fields Too Large\r\n"
        case .notImplemented: "HTTP/1.1 501 Not Implemented\r\n"
        case .unavailable: "HTTP/1.1 503 Service Unavailable\r\n"
        case .gatewayTimeout: "HTTP/1.1 504 Gateway Timeout\r\n"
        case .versionNotSupported: "HTTP/1.1 505 HTTP Version Not Supported\r\n"
        }
    }

    var title: String {
        let line = text.description
        return String(line.dropFirst(13).dropLast(2))
    }
}
