import ArgumentParser
import EdgeTypes
import Foundation
import FoundationNetworking

/// Talks to a node's admin API.
struct AdminClient: Sendable {
    let base: String

    /// What the node answered: JSON as Foundation reads it.
    struct Answer {
        let status: Int
        let body: Any?
        let text: String

        subscript(key: String) -> Any? { (body as? [String: Any])?[key] }
        func integer(_ key: String) -> Int64? { (self[key] as? NSNumber)?.int64Value }
        func string(_ key: String) -> String? { self[key] as? String }
    }

    func send(
        _ method: String, _ path: String, _ body: [String: Any]? = nil, key: String? = nil,
        timeoutSeconds: Double = 30
    ) async throws -> Answer {
        guard let url = URL(string: base + path) else {
            Console.note("downpour: --admin \(base): not a URL")
            throw ExitCode(64)
        }
        var request = URLRequest(url: url, timeoutInterval: timeoutSeconds)
        request.httpMethod = method
        if let token = ProcessInfo.processInfo.environment["DOWNPOUR_ADMIN_TOKEN"] {
            request.setValue("Bearer \(token)", forHTTPHeaderField: "Authorization")
        }
        request.setValue(NSUserName(), forHTTPHeaderField: "X-Actor")
        if let key { request.setValue(key, forHTTPHeaderField: "Idempotency-Key") }
        if let body {
            request.httpBody = try JSONSerialization.data(withJSONObject: body)
            request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        }
        let data: Data
        let response: URLResponse
        do {
            (data, response) = try await URLSession.shared.data(for: request)
        } catch {
            Console.note("downpour: no answer from \(base)")
            throw Exit.unreachable
        }
        let status = (response as? HTTPURLResponse)?.statusCode ?? 0
        return Answer(
            status: status, body: try? JSONSerialization.jsonObject(with: data),
            text: String(decoding: data, as: UTF8.self))
    }

    /// Sends, and ends the command with the right exit code where the node refused.
    func require(
        _ method: String, _ path: String, _ body: [String: Any]? = nil, key: String? = nil,
        timeoutSeconds: Double = 30
    ) async throws -> Answer {
        try checked(
            await send(method, path, body, key: key, timeoutSeconds: timeoutSeconds))
    }

    /// Ends the command with the right exit code where the node refused.
    func checked(_ answer: Answer) throws -> Answer {
        guard !(200..<300).contains(answer.status) else { return answer }
        Console.note("downpour: \(answer.string("detail") ?? "status \(answer.status)")")
        switch answer.status {
        case 401, 403: throw Exit.refused
        case 400, 404, 409, 422: throw Exit.failed
        case 429, 503, 504: throw Exit.tryLater
        default: throw Exit.unreachable
        }
    }

    static func escaped(_ text: String) -> String {
        text.addingPercentEncoding(
            withAllowedCharacters: .alphanumerics.union(CharacterSet(charactersIn: "-._~:")))
            ?? text
    }
}

/// Options that every operator's command has.
struct AdminOptions: ParsableArguments {
    @Option(help: "The node's admin API.") var admin = "http://127.0.0.1:7603"
    @Flag(help: "Print one JSON document.") var json = false

    var client: AdminClient {
        AdminClient(base: admin.hasSuffix("/") ? String(admin.dropLast()) : admin)
    }

    /// The answer as it came, or `field value` lines.
    func show(_ answer: AdminClient.Answer) {
        guard !json, let fields = answer.body as? [String: Any] else {
            Console.say(answer.text)
            return
        }
        let width = fields.keys.map(\.count).max() ?? 0
        for key in fields.keys.sorted() {
            let name = key.padding(toLength: width, withPad: " ", startingAt: 0)
            let value = fields[key].map { $0 is NSNull ? "-" : "\($0)" } ?? "-"
            Console.say("\(name)  \(value)")
        }
    }

    func done(_ answer: AdminClient.Answer) { Console.say(json ? answer.text : "OK") }
}
