import EdgeMemory
import EdgeServer
import EdgeTypes
import NIOCore
import Testing

extension ServerTests {
    @Suite("HTTP", .serialized)
    struct HTTP {
        private func get(_ path: String, _ headers: String = "") -> String {
            "GET \(path) HTTP/1.1\r\nHost: a\r\nX-User: 42\r\n\(headers)\r\n"
        }

        private func post(_ path: String, _ headers: String = "", body: String = "") -> String {
            "POST \(path) HTTP/1.1\r\nHost: a\r\nX-User: 42\r\n\(headers)"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
        }

        private func has(_ answer: TestClient.Response, _ parts: String...) -> Bool {
            parts.allSatisfy { answer.body.contains($0) }
        }

        @Test("a grab, its replay, and every other route answer as JSON")
        func routes() async throws {
            try await withServer { server in
                let client = try server.http()
                let first = try client.request(post("/v1/rains/r1/grab"))
                #expect(first.status == 200)
                #expect(first.headers["downpour-node"] == "n1")
                #expect(first.headers["content-type"] == "application/json")
                #expect(first.headers["date"]?.hasSuffix(" GMT") == true)
                #expect(
                    first.body.hasPrefix(#"{"outcome":"granted","amount":100,"packet":42,"at":"#))
                #expect(!has(first, "replayed"))
                let again = try client.request(
                    post("/v1/rains/r1/grab", "Idempotency-Key: k1\r\ntraceparent: 00-1-1-00\r\n"))
                #expect(has(again, #""outcome":"granted""#, #","replayed":true}"#))

                let info = try client.request(get("/v1/rains/r%311"))
                #expect(
                    has(
                        info, #""state":"open","opensAt":5,"closesAt":null"#, #""grantedFen":3"#,
                        #","now":"#))
                let claims = try client.request(get("/v1/rains/r1/claims?x=1"))
                #expect(
                    claims.body.hasPrefix(#"{"claims":[{"packet":42,"amount":7,"at":9}],"now":"#))

                let order = OrderID(shard: 1, number: 5).text
                let reserve = try client.request(
                    post(
                        "/v1/stock/s1/reserve",
                        "Idempotency-Key: k\r\nContent-Type: application/json; charset=utf-8\r\n",
                        body: #"{"qty":2}"#))
                #expect(
                    reserve.body.hasPrefix(
                        #"{"outcome":"reserved","order":"\#(order)","expiresAt":1800000,"now":"#))
                let orders = try client.request(get("/v1/stock/s1/orders"))
                #expect(
                    has(
                        orders,
                        #"{"orders":[{"order":"\#(order)","state":"reserved","qty":1,"expiresAt":9}]"#
                    ))
                let one = try client.request(get("/v1/orders/\(order)"))
                #expect(has(one, #"{"state":"reserved","user":"42""#))
                let cancelled = try client.request(post("/v1/orders/\(order)/cancel"))
                #expect(has(cancelled, #"{"outcome":"cancelled","now":"#))
                #expect(try client.request(get("/v1/stock/s1")).status == 200)
            }
        }

        @Test("health and readiness answer GET and HEAD; readiness ends with the drain")
        func health() async throws {
            try await withServer { server in
                let client = try server.http()
                #expect(
                    try client.request("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").body == "ok\n")
                let head = try client.request("HEAD /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(head.status == 200 && head.headers["content-length"] == "6")
                server.listeners.beginDrain()
                let ready = try client.request(get("/readyz"))
                #expect(ready.status == 503 && ready.headers["retry-after"] == "1")
                #expect(try client.request(get("/healthz")).status == 200)
                #expect(try client.request(post("/v1/rains/r1/grab")).status == 200)
            }
        }

        @Test(
            "a core's errors have their status and problem",
            arguments: [
                (ErrorCode.noRain, 404, "no-rain"), (.noStock, 404, "no-stock"),
                (.noOrder, 404, "no-order"), (.exists, 409, "exists"),
                (.badArgument, 400, "bad-argument"), (.mismatch, 422, "mismatch"),
                (.noPermission, 403, "forbidden"), (.tryAgain, 503, "try-again"),
                (.unknown, 504, "unknown"), (.throttled, 429, "throttled"), (.full, 503, "full"),
            ])
        func coreErrors(_ code: ErrorCode, _ status: Int, _ type: String) async throws {
            try await withServer { server in
                let client = try server.http()
                let answer = try client.request(post("/v1/rains/error-\(code.rawValue)/grab"))
                #expect(answer.status == status)
                #expect(answer.headers["content-type"] == "application/problem+json")
                #expect(has(answer, "\"type\":\"urn:downpour:problem:\(type)\"", "as asked"))
                #expect((answer.headers["retry-after"] != nil) == [429, 503, 504].contains(status))
                #expect(try client.request(get("/healthz")).status == 200)
            }
        }

        @Test("what is wrong with a request has its own status, and the connection goes on")
        func refusals() async throws {
            try await withServer { server in
                let client = try server.http()
                let json = "Content-Type: application/json\r\n"
                let key = "Idempotency-Key: k\r\n"
                let reserve = "/v1/stock/s1/reserve"
                let cases: [(String, Int)] = [
                    (get("/nothing"), 404), (get("/v1/rains/"), 404),
                    (get("/v1/rains/a/b"), 404), (get("/v1/orders/12"), 404),
                    (get("/v1/rains/none"), 404), (get("/v1/ws"), 501),
                    (get("/v1/rains/r1/grab"), 405), (post("/v1/rains/r1"), 405),
                    (post(reserve, json, body: #"{"qty":1}"#), 400),
                    (post(reserve, key, body: #"{"qty":1}"#), 415),
                    (post(reserve, key + json, body: #"{"qty":0}"#), 400),
                    (post(reserve, key + json, body: #"{"qty":1"#), 400),
                    (post(reserve, key + json, body: #"{"qty":1,"qty":2}"#), 400),
                    (post(reserve, key + json, body: #"[1]"#), 400),
                    (
                        post(
                            "/v1/rains/r1/grab",
                            "Idempotency-Key: \(String(repeating: "k", count: 65))\r\n"), 400
                    ),
                    ("GET /v1/rains/r1 HTTP/1.1\r\nHost: a\r\n\r\n", 401),
                    (get("/v1/rains/r1", "X-Forwarded-For: 1.2.3.4\r\n"), 403),
                    (get("/v1/rains/r1", "Forwarded: for=1.2.3.4\r\n"), 403),
                    ("GET /v1/rains/r1 HTTP/1.1\r\nHost: a\r\nX-User: -1\r\n\r\n", 400),
                ]
                for (request, status) in cases {
                    let answer = try client.request(request)
                    #expect(answer.status == status, "\(request)")
                    #expect(answer.headers["connection"] == nil)
                    #expect(has(answer, "\"status\":\(status)"))
                }
                #expect(
                    try client.request(post("/v1/rains/r1")).headers["allow"]
                        == "GET, HEAD, OPTIONS")
            }
        }

        @Test("what is too large or not HTTP is answered, and the connection closed")
        func limits() async throws {
            let long = String(repeating: "x", count: 20_000)
            let cases: [(String, String)] = [
                (
                    "POST /v1/rains/r1/grab HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n"
                        + String(repeating: "x", count: 70_000), "413"
                ),
                (
                    "POST /v1/rains/r1/grab HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                        + "Content-Length: 70000\r\n\r\n", "413"
                ),
                ("GET / HTTP/1.1\r\nHost: a\r\nX-Long: \(long)\r\n\r\n", "431"),
                (
                    "GET / HTTP/1.1\r\nHost: a\r\n"
                        + (0..<200).map { "X-\($0): 1\r\n" }.joined() + "\r\n", "431"
                ),
                ("GET /\(long.prefix(3_000)) HTTP/1.1\r\nHost: a\r\n\r\n", "414"),
                ("GET / HTTP/1.1\r\n\r\n", "400"),
                ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
                (
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
                    "400"
                ),
                (
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                    "400"
                ),
                ("nonsense\r\n\r\n", "400"),
            ]
            try await withServer { server in
                for (request, status) in cases {
                    let client = try server.http()
                    try client.send(request)
                    let answer = try client.rest()
                    #expect(
                        answer.hasPrefix("HTTP/1.1 \(status) "), "\(request.prefix(60)): \(answer)")
                    #expect(answer.contains("\r\nConnection: close\r\n"))
                }
            }
        }

        @Test("pipelined requests are answered in order, across loops and commits")
        func pipelining() async throws {
            let behaviour = TestCore.Behaviour(isDurable: true, reverses: true, cores: 2)
            try await withServer(loops: 2, behaviour: behaviour) { server in
                let client = try server.http()
                var text = ""
                for user in 0..<200 {
                    text += "POST /v1/rains/r1/grab HTTP/1.1\r\nHost: a\r\nX-User: \(user)\r\n\r\n"
                    if user % 5 == 0 { text += "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" }
                }
                try client.send(text)
                for user in 0..<200 {
                    #expect(has(try client.response(), "\"packet\":\(user),"))
                    if user % 5 == 0 { #expect(try client.response().body == "ok\n") }
                }
            }
        }

        @Test("connections close when asked to, and stay for HTTP/1.0 only when asked to")
        func keepAlive() async throws {
            try await withServer { server in
                let close = try server.http()
                try close.send(get("/healthz", "Connection: close\r\n") + get("/healthz"))
                let only = try close.rest()
                #expect(only.contains("Connection: close\r\n"))
                #expect(only.components(of: "HTTP/1.1 200") == 1)
                let old = try server.http()
                try old.send("GET /healthz HTTP/1.0\r\n\r\n")
                #expect(try old.rest().hasSuffix("ok\n"))
                let kept = try server.http()
                let request = "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
                #expect(try kept.request(request).headers["connection"] == "keep-alive")
                #expect(try kept.request(request).body == "ok\n")
                let upgrade = try server.http()
                try upgrade.send(get("/healthz", "Connection: Upgrade\r\nUpgrade: h2c\r\n"))
                #expect(try upgrade.rest().contains("Connection: close\r\n"))
            }
        }

        @Test("a client that waits for 100 Continue gets it, then its answer")
        func continues() async throws {
            try await withServer { server in
                let client = try server.http()
                let head =
                    "POST /v1/stock/s1/reserve HTTP/1.1\r\nHost: a\r\nX-User: 1\r\n"
                    + "Idempotency-Key: k\r\nContent-Type: application/json\r\n"
                    + "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"
                try client.send(head)
                try client.expect("HTTP/1.1 100 Continue\r\n\r\n")
                #expect(try client.request(#"{"qty":1}"#).status == 200)
                let chunked = head.replacing("Content-Length: 9", "Transfer-Encoding: chunked")
                try client.send(chunked)
                try client.expect("HTTP/1.1 100 Continue\r\n\r\n")
                #expect(try client.request("4\r\n{\"qt\r\n5\r\ny\":1}\r\n0\r\n\r\n").status == 200)
            }
        }

        @Test("browsers of known origins are let in, others are not told so")
        func cors() async throws {
            var settings = TestServer.settings
            settings.corsOrigins = ["https://a.example"]
            try await withServer(settings) { server in
                let client = try server.http()
                let preflight = try client.request(
                    "OPTIONS /v1/rains/r1/grab HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n"
                        + "Access-Control-Request-Method: POST\r\n\r\n")
                #expect(preflight.status == 204)
                #expect(preflight.headers["access-control-allow-origin"] == "https://a.example")
                #expect(preflight.headers["access-control-allow-methods"] == "POST, OPTIONS")
                #expect(preflight.headers["content-length"] == nil)
                let known = try client.request(
                    post("/v1/rains/r1/grab", "Origin: https://a.example\r\n"))
                #expect(known.headers["access-control-allow-origin"] == "https://a.example")
                #expect(known.headers["vary"] == "Origin")
                let other = try client.request(
                    post("/v1/rains/none/grab", "Origin: https://b.example\r\n"))
                #expect(other.headers["access-control-allow-origin"] == nil)
                let refused = try client.request(
                    post("/v1/rains/none/grab", "Origin: https://a.example\r\n"))
                #expect(refused.status == 404)
                #expect(refused.headers["access-control-allow-origin"] == "https://a.example")
            }
        }

        @Test("rate limits answer 429 with the seconds to wait")
        func rates() async throws {
            var settings = TestServer.settings
            settings.limits.httpUserRate = RateLimit(perSecond: 1, burst: 1)
            settings.clock = { Instant(wallMs: 1_700_000_000_000, monotonicNs: 5_000_000_000) }
            try await withServer(settings) { server in
                let client = try server.http()
                #expect(try client.request(post("/v1/rains/r1/grab")).status == 200)
                let refused = try client.request(post("/v1/rains/r1/grab"))
                #expect(refused.status == 429 && refused.headers["retry-after"] == "1")
                #expect(try client.request(get("/healthz")).status == 200)
            }
        }

        @Test("a request that takes too long to arrive is told so; a silent client is closed")
        func stalls() async throws {
            var settings = TestServer.settings
            settings.limits.stallMs = 100
            settings.limits.httpIdleMs = 300
            try await withServer(settings) { server in
                let slow = try server.http()
                try slow.send(
                    "POST /v1/rains/r1/grab HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nx")
                #expect(try slow.rest().hasPrefix("HTTP/1.1 408 "))
                let silent = try server.http()
                try silent.send("GET /healthz HTTP/1.1\r\nHos")
                #expect(try silent.rest() == "")
            }
        }

        @Test(
            "random bytes get an answer or a close, and the next client is served",
            arguments: 0..<16)
        func random(_ seed: UInt64) async throws {
            var state = seed
            func next(below bound: Int) -> Int {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Int((state >> 33) % UInt64(bound))
            }
            let template = Array(
                (post("/v1/rains/r1/grab", "Transfer-Encoding: chunked\r\n") + get("/healthz")).utf8
            )
            try await withServer { server in
                for _ in 0..<20 {
                    for port in [server.httpPort, server.respPort] {
                        let client = try TestClient(port: port)
                        var bytes = template
                        for _ in 0..<next(below: 12) {
                            bytes[next(below: bytes.count)] = UInt8(next(below: 256))
                        }
                        try? client.send(bytes)
                        client.endOutput()
                        _ = try client.rest()
                    }
                }
                #expect(try server.http().request(get("/healthz")).status == 200, "seed \(seed)")
                #expect(try server.resp().command("PING") == "+PONG")
            }
        }
    }
}

extension String {
    fileprivate func components(of part: String) -> Int { ranges(of: part).count }

    fileprivate func replacing(_ part: String, _ other: String) -> String {
        guard let range = ranges(of: part).first else { return self }
        return String(self[..<range.lowerBound]) + other + String(self[range.upperBound...])
    }
}
