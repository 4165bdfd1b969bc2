import EdgeReconciler
import EdgeStores
import Foundation
import Glibc
import Testing

@Suite("Redis' address")
struct RedisAddressTests {
    @Test("takes what URLs say")
    func parses() throws {
        let plain = try RedisAddress("redis://cache.example")
        #expect(plain.host == "cache.example" && plain.port == 6379 && plain.database == 0)
        #expect(!plain.isTLS && plain.user == nil && plain.password == nil)
        let full = try RedisAddress(
            "rediss://edge:p%40ss%3Aword@[::1]:7000/3?ca=/tmp/ca.pem&servername=r1&timeout=700")
        #expect(full.host == "::1" && full.port == 7000 && full.database == 3 && full.isTLS)
        #expect(full.user == "edge" && full.password == "p@ss:word")
        #expect(full.caFile == "/tmp/ca.pem" && full.serverName == "r1" && full.timeoutMs == 700)
        let secret = try RedisAddress("redis://:a@b@host:1/")
        #expect(secret.user == nil && secret.password == "a@b" && secret.host == "host")
    }

    @Test("never shows the password")
    func hidesPassword() throws {
        let address = try RedisAddress("redis://edge:geheim@host:1/2")
        var dumped = ""
        dump(address, to: &dumped)
        for text in ["\(address)", String(reflecting: address), dumped, "\([address])"] {
            #expect(!text.contains("geheim") && text.contains("host:1/2"))
        }
    }

    @Test(
        "refuses what makes no sense, without repeating it",
        arguments: [
            "host:6379", "http://geheim@host", "redis://", "redis://:@host", "redis://geheim@host",
            "redis://host:0", "redis://host:70000", "redis://host/geheim", "redis://host/-1",
            "redis://host?geheim=1", "redis://host?timeout=0", "redis://host?ca=/f",
            "redis://u:geheim%2@host", "redis://u:geheim%zz@host", "redis://ho st", "redis://[::1",
            "redis://[::1]x", "redis://u:geheim#1@host", "redis://u:%00geheim@host",
        ])
    func refuses(_ text: String) throws {
        do {
            _ = try RedisAddress(text)
            Issue.record("\(text) was taken")
        } catch {
            guard case .badURL(let what) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(!what.contains("geheim"))
        }
    }
}

@Suite("Redis' connection")
struct RedisConnectionTests {
    @Test("pipelines far more than fits in any buffer, and answers in order")
    func pipelines() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let text = String(repeating: "x", count: 1_000)
        let answers = try connection.send(
            (0..<20_000).map { RedisCommand("ECHO", "\($0) \(text)") })
        #expect(answers.count == 20_000)
        let inOrder = answers.enumerated().allSatisfy { $1.text == "\($0) \(text)" }
        #expect(inOrder)
        #expect(try connection.call("CLIENT", "GETNAME").text == "test")
        #expect(!connection.runID.isEmpty)
    }

    @Test("errors are values among other answers, and nothing else is hurt")
    func errorsAreValues() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let answers = try connection.send([
            RedisCommand("SET", "a", ""), RedisCommand("LPUSH", "a", "1"), RedisCommand("GET", "a"),
        ])
        #expect(answers[0] == .text("OK") && answers[2] == .text(""))
        guard case .error(let text) = answers[1] else {
            Issue.record("no error")
            return
        }
        #expect(text.hasPrefix("WRONGTYPE"))
    }

    @Test("a script is loaded where it is not known, and again once it was forgotten")
    func loadsScripts() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let script = LuaScript("return {ARGV[1], #ARGV}")
        let wanted = RedisValue.array([.text("a"), .integer(2)])
        #expect(try connection.run(script, RedisCommand("a", "b")) == wanted)
        #expect(try connection.run(script, RedisCommand("a", "b")) == wanted)
        try connection.call("SCRIPT", "FLUSH")
        #expect(try connection.run(script, RedisCommand("a", "b")) == wanted)
    }

    private func failure(_ body: () throws -> Void) -> RedisError? {
        do { try body() } catch { return error as? RedisError }
        return nil
    }

    @Test("tells why it is refused")
    func classifies() throws {
        let server = try RedisServer("--requirepass", "richtig")
        func open(_ who: String) throws -> RedisConnection {
            try RedisConnection(
                RedisAddress("redis://\(who)127.0.0.1:\(server.port)"), name: "test")
        }
        for who in ["", ":falsch@", "niemand:richtig@"] {
            guard case .denied(let text) = failure({ _ = try open(who) }) else {
                Issue.record("\(who) was not denied")
                continue
            }
            #expect(!text.contains("falsch") && !text.contains("richtig"))
        }
        let connection = try open(":richtig@")
        try connection.call("ACL", "SETUSER", "leser", "on", ">geheim", "~*", "+@all", "-set")
        let reader = try open("leser:geheim@")
        guard case .denied = failure({ try reader.call("SET", "a", "1") }) else {
            Issue.record("SET was allowed")
            return
        }
        guard case .refused = failure({ try connection.call("NOSUCHTHING") }) else {
            Issue.record("an unknown command")
            return
        }
        server.kill()
        guard case .unreachable = failure({ try connection.call("PING") }),
            case .unreachable = failure({ _ = try open(":richtig@") })
        else {
            Issue.record("a dead server")
            return
        }
    }

    @Test("a server that stands still is given up")
    func timesOut() throws {
        let server = try RedisServer()
        var address = try server.address
        address.timeoutMs = 200
        let connection = try RedisConnection(address, name: "test")
        server.signal(SIGSTOP)
        defer { server.signal(SIGCONT) }
        guard case .unreachable(let text) = failure({ try connection.call("PING") }) else {
            Issue.record("it answered")
            return
        }
        #expect(text.contains("200 ms"))
    }

    @Test("a full server, a replica and a cluster are told apart")
    func otherStates() throws {
        let server = try RedisServer("--maxmemory", "1", "--maxmemory-policy", "noeviction")
        let connection = try server.connect()
        guard case .outOfMemory = failure({ try connection.call("SET", "a", "1") }),
            case .outOfMemory = failure({
                _ = try connection.run(LuaScript("return redis.call('SET', 'a', '1')"))
            })
        else {
            Issue.record("there was room")
            return
        }
        let replica = try RedisServer("--replicaof", "127.0.0.1 \(server.port)")
        let other = try replica.connect()
        guard case .notReady = failure({ try other.call("SET", "a", "1") }) else {
            Issue.record("a replica took a write")
            return
        }
        let cluster = try RedisServer(
            "--cluster-enabled", "yes", "--cluster-port", "\(RedisServer.freePort())")
        let refusal = failure { _ = try cluster.connect() }
        guard case .unsupported(let text) = refusal else {
            Issue.record("a cluster: \(String(describing: refusal))")
            return
        }
        #expect(text.contains("Redis Cluster"))
    }

    @Test("TLS: only with a certificate of a known authority and of the host asked for")
    func tls() throws {
        let scratch = try Scratch()
        try makeAuthority(scratch.path)
        let server = try RedisServer(
            "--tls-port", "PORT", "--tls-auth-clients", "no", "--tls-cert-file",
            scratch.file("server.pem"), "--tls-key-file", scratch.file("server.key"),
            "--tls-ca-cert-file", scratch.file("ca.pem"))
        func open(_ rest: String) throws -> RedisConnection {
            try RedisConnection(RedisAddress("rediss://\(rest)"), name: "test")
        }
        let place = "127.0.0.1:\(server.port)"
        let trusted = try open("\(place)/2?ca=\(scratch.file("ca.pem"))")
        let long = String(repeating: "y", count: 3_000_000)
        try trusted.call("SET", "a", long)
        #expect(try trusted.call("GET", "a").text == long)
        _ = try open("\(place)?servername=redis.test&ca=\(scratch.file("ca.pem"))")
        let cases = [
            "\(place)", "\(place)?servername=other.test&ca=\(scratch.file("ca.pem"))",
            "\(place)?ca=\(scratch.file("other.pem"))", "\(place)?ca=/nonexistent",
        ]
        for rest in cases {
            guard case .unreachable = failure({ _ = try open(rest) }) else {
                Issue.record("\(rest) was trusted")
                continue
            }
        }
        let plain = failure { _ = try RedisConnection(RedisAddress("redis://\(place)"), name: "t") }
        #expect(plain != nil)
    }

    /// A CA and a server certificate of 127.0.0.1 and redis.test; another CA.
    private func makeAuthority(_ directory: String) throws {
        let script = """
            set -e; cd '\(directory)'
            for name in ca other; do
              openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                -subj /CN=$name -keyout $name.key -out $name.pem
            done
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=redis.test \
              -keyout server.key -out server.csr
            printf 'subjectAltName=IP:127.0.0.1,DNS:redis.test' > names
            openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
              -extfile names -out server.pem
            """
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", script]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
    }
}
