import EdgeServer
import EdgeTypes
import Glibc
import Testing

extension ServerTests {
    @Suite("Tokens and TLS", .serialized)
    struct Security {
        @Test("a verified token is remembered, and ends all the same")
        func tokens() async throws {
            let key = Array("0123456789abcdef0123456789abcdef".utf8)
            var settings = TestServer.settings
            settings.tokens = TokenVerifier(key: key)
            let clock = TestClock(seconds: 1_000)
            settings.clock = { clock.now }
            try await withServer(settings) { server in
                let client = try server.http()
                func grab(_ token: String, _ extra: String = "") throws -> TestClient.Response {
                    try client.request(
                        "POST /v1/rains/r1/grab HTTP/1.1\r\nHost: a\r\n\(extra)"
                            + "Authorization: \(token)\r\n\r\n")
                }
                let header = #"{"alg":"HS256"}"#
                let token = TokenSigner.sign(
                    #"{"sub":"7","exp":2000}"#, header: header, key: key)
                #expect(try grab("Bearer \(token)").body.contains("\"packet\":7,"))
                #expect(try grab("Bearer \(token)").body.contains("\"replayed\":true"))
                // What a token says counts, not what a header says.
                let both = try grab("bearer \(token)", "X-User: 9\r\nX-Forwarded-For: 1.1.1.1\r\n")
                #expect(both.body.contains("\"packet\":7,"))
                let other = TokenSigner.sign(
                    #"{"sub":"8","exp":2000}"#, header: header, key: key)
                #expect(try grab("Bearer \(other)").body.contains("\"packet\":8,"))
                for bad in ["Bearer x", "Basic \(token)", token, "Bearer \(token)x", "Bearer "] {
                    let answer = try grab(bad)
                    #expect(answer.status == 401)
                    #expect(answer.headers["www-authenticate"]?.hasPrefix("Bearer") == true)
                }
                let none = try client.request(
                    "GET /v1/rains/r1 HTTP/1.1\r\nHost: a\r\nX-User: 1\r\n\r\n")
                #expect(none.status == 401)
                #expect(try grab("Bearer \(other)").status == 200)
                clock.seconds = 2_000
                // A loop looks at the clock when it ticks, which it does twice a second unasked.
                #expect(
                    try await eventually {
                        try grab("Bearer \(other)").body.contains("expired")
                    })
            }
        }

        @Test("without a token key and without leave, nobody is anybody")
        func noUsers() async throws {
            var settings = TestServer.settings
            settings.acceptsUserHeader = false
            try await withServer(settings) { server in
                let answer = try server.http().request(
                    "GET /v1/rains/r1 HTTP/1.1\r\nHost: a\r\nX-User: 1\r\n\r\n")
                #expect(answer.status == 401)
            }
        }

        @Test("both listeners speak TLS, and new files count for new connections")
        func tls() async throws {
            let files = try CertificateFiles()
            try files.make("one")
            let holder = try TLSHolder(
                certificatePath: files.certificate, keyPath: files.key)
            try await withServer(tls: holder) { server in
                #expect(
                    try await name(server.respPort, "PING\r\nQUIT\r\n", files, "+PONG") == "one")
                #expect(
                    try await name(
                        server.httpPort,
                        "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", files,
                        "HTTP/1.1 200 OK") == "one")
                try files.make("two")
                try holder.reload()
                #expect(
                    try await name(server.respPort, "PING\r\nQUIT\r\n", files, "+PONG") == "two")
                // A key that does not belong to the certificate, then no certificate at all.
                try files.makeKeyOnly()
                #expect(throws: TLSHolder.ReadError.self) { try holder.reload() }
                try files.spoil()
                #expect(throws: TLSHolder.ReadError.self) { try holder.reload() }
                #expect(
                    try await name(server.respPort, "PING\r\nQUIT\r\n", files, "+PONG") == "two")
                // Plain text is no handshake.
                let plain = try server.resp()
                try plain.send("PING\r\n")
                #expect(try !plain.rest().contains("PONG"))
            }
        }

        /// Asks over TLS and says which certificate the server showed.
        private func name(
            _ port: Int, _ request: String, _ files: CertificateFiles, _ expected: String
        ) async throws -> String {
            let output = try files.openssl(
                "printf '\(request.replacingLineEnds)' | timeout 10 openssl s_client -quiet "
                    + "-connect 127.0.0.1:\(port) 2>&1")
            guard output.contains(expected) else { return "no answer: \(output)" }
            for name in ["one", "two"]
            where output.contains("CN = \(name)") || output.contains("CN=\(name)") {
                return name
            }
            return "no name: \(output)"
        }
    }
}

extension String {
    /// As printf wants it.
    fileprivate var replacingLineEnds: String {
        utf8.map { byte in
            switch byte {
            case 0x0d: "\\r"
            case 0x0a: "\\n"
            default: String(UnicodeScalar(byte))
            }
        }.joined()
    }
}

/// A clock that a test sets.
final class TestClock: @unchecked Sendable {
    // SAFETY: set between requests, while no loop reads it for one.
    var seconds: Int64

    init(seconds: Int64) { self.seconds = seconds }

    var now: Instant { Instant(wallMs: seconds * 1_000, monotonicNs: 5_000_000_000) }
}

/// Certificates made with the openssl command, in a directory that goes with the object.
final class CertificateFiles {
    let directory: String
    var certificate: String { directory + "/cert.pem" }
    var key: String { directory + "/key.pem" }

    init() throws {
        var template = Array("/tmp/downpour-tls-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestClient.Failure(description: "mkdtemp") }
        directory = String(
            decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = try? openssl("rm -r '\(directory)'") }

    func make(_ name: String) throws {
        _ = try openssl(
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout '\(key)' -out '\(certificate)' "
                + "-days 2 -subj /CN=\(name) 2>&1")
    }

    func makeKeyOnly() throws { _ = try openssl("openssl genrsa -out '\(key)' 2048 2>&1") }

    func spoil() throws { _ = try openssl("echo nothing > '\(certificate)'") }

    /// Runs a shell line and gives what it printed.
    func openssl(_ line: String) throws -> String {
        guard let pipe = popen(line, "r") else { throw TestClient.Failure(description: "popen") }
        defer { pclose(pipe) }
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = fread(&chunk, 1, chunk.count, pipe)
            if count == 0 { break }
            output.append(contentsOf: chunk[0..<count])
        }
        return String(decoding: output, as: UTF8.self)
    }
}
