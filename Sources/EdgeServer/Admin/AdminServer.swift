import EdgeTypes
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// The operators' listener: metrics, health and the REST API.
final class AdminServer: Sendable {
    private let channel: any Channel
    private let task: Task<Void, any Error>

    private init(_ channel: any Channel, _ task: Task<Void, any Error>) {
        self.channel = channel
        self.task = task
    }

    var address: SocketAddress? { channel.localAddress }

    /// Binds; serves until `stop`.
    static func start(_ runner: NodeRunner) async throws -> AdminServer {
        let router = Router()
        router.addMiddleware { AdminErrors() }
        AdminHealth.add(to: router, runner)
        AdminTopology.addReading(to: router, runner)
        let guarded = router.group().addMiddleware { AdminTokens(options: runner.options) }
        AdminPools.add(to: guarded, runner)
        AdminOrders.add(to: guarded, runner)
        AdminStore.add(to: guarded, runner)
        AdminHistory.add(to: guarded, runner)
        AdminTopology.add(to: guarded, runner)
        let secret = router.group()
            .addMiddleware { AdminTokens(options: runner.options, isSecret: true) }
        AdminJournal.add(to: secret, runner)
        let (channels, running) = AsyncThrowingStream<any Channel, any Error>.makeStream()
        let listener = runner.options.admin
        let application = Application(
            router: router,
            configuration: .init(address: .hostname(listener.host, port: listener.port)),
            onServerRunning: { channel in
                running.yield(channel)
                running.finish()
            }, logger: Logger(label: "admin") { _ in SwiftLogNoOpLogHandler() })
        let task = Task {
            do {
                try await application.runService(gracefulShutdownSignals: [])
            } catch {
                running.finish(throwing: error)
                throw error
            }
        }
        var channel: (any Channel)?
        for try await bound in channels { channel = bound }
        guard let channel else { throw CancellationError() }
        return AdminServer(channel, task)
    }

    /// For a connection that was just accepted to come into the server's hands.
    private static let handingOver = Duration.milliseconds(100)

    /// Accepts nobody any more, and ends.
    ///
    /// In this order: NIO ends the whole process over a connection that it has accepted and that a
    /// server which has ended does not take ("deinited NIOAsyncWriter without calling finish").
    func stop() async {
        try? await channel.setOption(.autoRead, value: false).get()
        try? await Task.sleep(for: Self.handingOver)
        task.cancel()
        _ = await task.result
    }
}

/// An answer that is a problem: RFC 9457.
struct AdminProblem: Error {
    var status: HTTPResponse.Status
    var code: String
    var detail: String

    static func badRequest(_ detail: String) -> AdminProblem {
        AdminProblem(status: .badRequest, code: "bad-request", detail: detail)
    }

    var response: Response {
        AdminJSON.response(
            .map([
                .init("type", .text("urn:downpour:problem:" + code)),
                .init("title", .text(status.reasonPhrase)),
                .init("status", .integer(Int64(status.code))),
                .init("detail", .text(detail)),
            ]), status: status, type: "application/problem+json")
    }
}

enum AdminJSON {
    static func response(
        _ value: Value, status: HTTPResponse.Status = .ok, type: String = "application/json"
    ) -> Response {
        Response(
            status: status, headers: [.contentType: type],
            body: .init(byteBuffer: ByteBuffer(string: JSONText.of(value))))
    }

    /// What a core answered, as the API says it.
    static func response(_ answer: CoreAnswer) throws -> Response {
        switch answer {
        case .ok: return response(.map([.init("ok", .integer(1))]))
        case .body(let value): return response(value)
        case .outcome(let outcome):
            return response(.map([.init("outcome", .text("\(outcome)".lowercased()))]))
        case .grab(let outcome, let fen, _, _):
            return response(
                .map([
                    .init("outcome", .text("\(outcome)".lowercased())),
                    .init("amount", .integer(fen)),
                ]))
        case .reserve(let outcome, _, _):
            return response(.map([.init("outcome", .text("\(outcome)".lowercased()))]))
        case .error(let code, let detail): throw problem(code, detail)
        }
    }

    static func problem(_ code: ErrorCode, _ detail: String) -> AdminProblem {
        let (status, name): (HTTPResponse.Status, String) =
            switch code {
            case .noRain, .noStock, .noOrder: (.notFound, "not-found")
            case .exists: (.conflict, "exists")
            case .badArgument: (.badRequest, "bad-request")
            case .mismatch: (.unprocessableContent, "mismatch")
            case .noPermission: (.forbidden, "forbidden")
            case .tryAgain, .full: (.serviceUnavailable, "try-again")
            case .unknown: (.gatewayTimeout, "unknown-outcome")
            case .throttled: (.tooManyRequests, "throttled")
            }
        return AdminProblem(status: status, code: name, detail: detail)
    }
}

/// Turns errors into problem+json.
struct AdminErrors<Context: RequestContext>: RouterMiddleware {
    func handle(
        _ request: Hummingbird.Request, context: Context,
        next: (Hummingbird.Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let problem as AdminProblem {
            return problem.response
        } catch let error as any HTTPResponseError {
            return AdminProblem(
                status: error.status, code: "http-\(error.status.code)",
                detail: error.status.reasonPhrase
            ).response
        }
    }
}

/// Bearer tokens: one for everything, one for reading. Without any, everybody may (on loopback,
/// or with `--insecure`: the node refuses to start otherwise).
struct AdminTokens<Context: RequestContext>: RouterMiddleware {
    let options: NodeOptions
    /// What the reading token does not open, though nothing is changed.
    var isSecret = false

    func handle(
        _ request: Hummingbird.Request, context: Context,
        next: (Hummingbird.Request, Context) async throws -> Response
    ) async throws -> Response {
        guard options.adminToken != nil || options.adminReadToken != nil else {
            return try await next(request, context)
        }
        let given = request.headers[.authorization] ?? ""
        let isRead = request.method == .get || request.method == .head
        if let token = options.adminToken, Self.matches(given, token) {
            return try await next(request, context)
        }
        if let token = options.adminReadToken, Self.matches(given, token) {
            guard isRead, !isSecret else {
                throw AdminProblem(
                    status: .forbidden, code: "forbidden", detail: "the admin token is required")
            }
            return try await next(request, context)
        }
        throw AdminProblem(
            status: .unauthorized, code: "unauthorized", detail: "a bearer token is required")
    }

    /// Takes as long whatever is wrong.
    private static func matches(_ header: String, _ token: String) -> Bool {
        let given = Array(header.utf8)
        let wanted = Array("Bearer \(token)".utf8)
        guard given.count == wanted.count else { return false }
        var difference: UInt8 = 0
        for (a, b) in zip(given, wanted) { difference |= a ^ b }
        return difference == 0
    }
}
