import EdgeMemory
import EdgeServer
import EdgeTypes
import EdgeWire
import NIOCore
import Testing

extension ServerTests {
    @Suite("RESP", .serialized)
    struct RESP {
        @Test("a grab is answered, and the second one repeats it")
        func grab() async throws {
            try await withServer { server in
                let client = try server.resp()
                #expect(try client.command("PING") == "+PONG")
                #expect(try client.command("RAIN.GRAB r1 0042").hasPrefix("[granted 100 42 "))
                #expect(try client.command("rain.grab r1 42 req REGION hz").hasPrefix("[repeat"))
                #expect(try client.command("RAIN.GRAB none 1") == "-NORAIN no such pool")
            }
        }

        @Test(
            "answers keep their order under pipelining, whatever order they come in",
            arguments: [1, 2], [false, true])
        func order(_ loops: Int, _ reverses: Bool) async throws {
            var behaviour = TestCore.Behaviour()
            behaviour.isDurable = true
            behaviour.reverses = reverses
            behaviour.cores = UInt64(loops)
            try await withServer(loops: loops, behaviour: behaviour) { server in
                let clients = try (0..<4).map { _ in try server.resp() }
                for round in 0..<5 {
                    for (number, client) in clients.enumerated() {
                        var text = ""
                        for index in 0..<500 {
                            text += "RAIN.GRAB r1 \(number * 10_000 + round * 500 + index)\r\n"
                            if index % 7 == 0 { text += "ECHO \(index)\r\n" }
                        }
                        try client.send(text)
                    }
                    for (number, client) in clients.enumerated() {
                        for index in 0..<500 {
                            let user = number * 10_000 + round * 500 + index
                            let answer = try client.value()
                            #expect(answer.hasPrefix("[granted 100 \(user) "))
                            if index % 7 == 0 { #expect(try client.value() == "\(index)") }
                        }
                    }
                }
                #expect(try await server.statistics().requests >= 10_000)
            }
        }

        @Test("no answer leaves before the journal has committed what it read")
        func durable() async throws {
            let behaviour = TestCore.Behaviour(isDurable: true)
            try await withServer(behaviour: behaviour, commitsAtOnce: false) { server in
                let client = try server.resp()
                let other = try server.resp()
                try client.send("RAIN.GRAB r1 1\r\nPING\r\n")
                #expect(try await eventually { server.journals[0].submitted == 1 })
                // Somebody who waits for nothing is served meanwhile.
                #expect(try other.command("PING") == "+PONG")
                #expect(!client.hasInput(withinMs: 50))
                try client.send("RAIN.GRAB r1 2\r\n")
                #expect(try await eventually { server.journals[0].submitted == 2 })
                server.journals[0].commit(upTo: 1)
                #expect(try client.value().hasPrefix("[granted 100 1 "))
                #expect(try client.value() == "+PONG")
                #expect(!client.hasInput(withinMs: 50))
                server.journals[0].commit()
                #expect(try client.value().hasPrefix("[granted 100 2 "))
            }
        }

        @Test("a forwarded grab waits for the journal of the loop that applied it")
        func durableForward() async throws {
            let behaviour = TestCore.Behaviour(isDurable: true, cores: 2)
            try await withServer(loops: 2, behaviour: behaviour, commitsAtOnce: false) { server in
                let client = try server.resp()
                try client.send("RAIN.GRAB r1 0\r\nRAIN.GRAB r1 1\r\n")
                #expect(
                    try await eventually {
                        server.journals[0].submitted == 1 && server.journals[1].submitted == 1
                    })
                server.journals[1].commit()
                #expect(!client.hasInput(withinMs: 50))
                server.journals[0].commit()
                #expect(try client.value().hasPrefix("[granted 100 0 "))
                #expect(try client.value().hasPrefix("[granted 100 1 "))
            }
        }

        @Test("a pipeline deeper than the limit is served all the same")
        func depth() async throws {
            var settings = TestServer.settings
            settings.limits.pipelineDepth = 8
            let behaviour = TestCore.Behaviour(isDurable: true, cores: 2)
            try await withServer(settings, loops: 2, behaviour: behaviour) { server in
                let client = try server.resp()
                try client.send((0..<1_000).map { "RAIN.GRAB r1 \($0)\r\n" }.joined())
                for user in 0..<1_000 {
                    #expect(try client.value().hasPrefix("[granted 100 \(user) "))
                }
            }
        }

        @Test("input may come a byte at a time, and end with the client's output")
        func trickle() async throws {
            try await withServer { server in
                let client = try server.resp()
                let command = "*3\r\n$9\r\nRAIN.GRAB\r\n$2\r\nr1\r\n$1\r\n5\r\n"
                for byte in command.utf8 { try client.send([byte]) }
                #expect(try client.value().hasPrefix("[granted 100 5 "))
                try client.send("RAIN.GRAB r1 6\r\nPING\r\n")
                client.endOutput()
                #expect(try client.value().hasPrefix("[granted 100 6 "))
                #expect(try client.rest() == "+PONG\r\n")
            }
        }

        @Test("a protocol error is answered after what came before it, then closes")
        func protocolError() async throws {
            try await withServer { server in
                let client = try server.resp()
                try client.send("RAIN.GRAB r1 1\r\n*1\r\n!x\r\nPING\r\n")
                #expect(try client.value().hasPrefix("[granted"))
                #expect(
                    try client.rest() == "-ERR Protocol error: expected '$', got '!'\r\n")
                let quitter = try server.resp()
                try quitter.send("QUIT\r\nPING\r\n")
                #expect(try quitter.rest() == "+OK\r\n")
            }
        }

        @Test("malformed commands are answered and the connection goes on")
        func malformed() async throws {
            try await withServer { server in
                let client = try server.resp()
                #expect(
                    try client.command("NOPE a b")
                        == "-ERR unknown command 'NOPE', with args beginning with: 'a' 'b' ")
                #expect(
                    try client.command("RAIN.GRAB r1")
                        == "-ERR wrong number of arguments for 'rain.grab' command")
                #expect(
                    try client.command("RAIN.GRAB r1 x")
                        == "-BADARG a user is an unsigned 64-bit integer")
                #expect(try client.command("SELECT 1") == "-ERR DB index is out of range")
                #expect(try client.command("SELECT 0") == "+OK")
                #expect(try client.command("CONFIG GET save") == "[]")
                #expect(try client.command("CLIENT ID") != "0")
                #expect(try client.command("CLIENT SETNAME me") == "+OK")
                #expect(try client.command("CLIENT GETNAME") == "me")
                #expect(try client.command("COMMAND COUNT") == "\(RESPCommand.allCases.count)")
                #expect(try client.command("COMMAND DOCS PING").hasPrefix("[ping [summary"))
                #expect(try client.command("NODES").hasPrefix("[[name n1"))
                #expect(try client.command("INFO").contains("node_name:n1"))
            }
        }

        @Test("HELLO speaks version 3 from its own answer on, and tells seven fields")
        func hello() async throws {
            try await withServer(behaviour: .init(isDurable: true)) { server in
                let client = try server.resp()
                try client.send(
                    "RAIN.INFO none\r\nHELLO 3 SETNAME x\r\nRAIN.INFO r1\r\nCLIENT GETNAME\r\n")
                #expect(try client.value() == "-NORAIN no such pool")
                let hello = try client.value()
                #expect(hello.hasPrefix("%[server downpour version 9.9.9 proto 3 id "))
                #expect(hello.hasSuffix(" mode standalone role master modules []]"))
                #expect(try client.value().hasPrefix("%[state open"))
                #expect(try client.value() == "x")
                #expect(try client.command("HELLO 4") == "-NOPROTO unsupported protocol version")
                #expect(try client.command("HELLO 2").hasPrefix("[server"))
                #expect(try client.command("RESET") == "+RESET")
                #expect(try client.command("CLIENT GETNAME") == "nil")
            }
        }

        @Test("roles decide what may be run, passwords who has which")
        func roles() async throws {
            var settings = TestServer.settings
            settings.respUsers = try RESPUser.parse(
                "default:d1:app,shop:p:w:pay,ann:secret:operator")
            try await withServer(settings) { server in
                let client = try server.resp()
                #expect(try client.command("PING") == "-NOAUTH Authentication required.")
                #expect(try client.command("RAIN.GRAB r1 1") == "-NOAUTH Authentication required.")
                #expect(try client.command("HELLO 3").hasPrefix("-NOAUTH HELLO must be"))
                #expect(try client.command("AUTH wrong").hasPrefix("-WRONGPASS"))
                #expect(try client.command("AUTH d1") == "+OK")
                #expect(try client.command("RAIN.GRAB r1 1").hasPrefix("[granted"))
                let order = OrderID(shard: 1, number: 5).text
                #expect(
                    try client.command("ORDER.PAY \(order) p1")
                        == "-NOPERM this user has no permissions to run the 'order.pay' command")
                #expect(try client.command("AUTH shop p:w") == "+OK")
                #expect(try client.command("ORDER.PAY \(order) p1") == "[paid]")
                #expect(try client.command("RAIN.PAUSE r1").hasPrefix("-NOPERM"))
                #expect(try client.command("HELLO 2 AUTH ann secret").hasPrefix("[server"))
                #expect(
                    try client.command("RAIN.CREATE r9 AMOUNT 10 COUNT 2 DURABILITY journal")
                        == "r9 by ann")
                #expect(
                    try client.command("RAIN.CREATE r9 AMOUNT 10 COUNT 2 DURABILITY replicated")
                        == "-BADARG DURABILITY replicated needs a cluster: this node is on its own"
                )
                #expect(try client.command("RESET") == "+RESET")
                #expect(try client.command("PING") == "-NOAUTH Authentication required.")
            }
        }

        @Test(
            "users are read from name:password:role",
            arguments: ["a", "a:b", "a:b:chief", ":b:app", "a::app", "a:b:app,a:c:app"])
        func badUsers(_ text: String) {
            #expect(throws: RESPUser.FormatError.self) { try RESPUser.parse(text) }
        }

        @Test("rate limits answer with the milliseconds to wait")
        func rates() async throws {
            var settings = TestServer.settings
            settings.limits.respUserRate = RateLimit(perSecond: 1, burst: 2)
            settings.clock = { Instant(wallMs: 1_700_000_000_000, monotonicNs: 5_000_000_000) }
            try await withServer(settings) { server in
                let client = try server.resp()
                #expect(try client.command("RAIN.GRAB r1 1").hasPrefix("[granted"))
                #expect(try client.command("RAIN.GRAB r1 1").hasPrefix("[repeat"))
                #expect(try client.command("RAIN.GRAB r1 1") == "-THROTTLED 1000")
                #expect(try client.command("RAIN.GRAB r1 2").hasPrefix("[granted"))
            }
            settings.limits.respUserRate = .off
            settings.limits.respRate = RateLimit(perSecond: 10, burst: 1)
            try await withServer(settings) { server in
                let client = try server.resp()
                #expect(try client.command("RAIN.GRAB r1 1").hasPrefix("[granted"))
                #expect(try client.command("PING") == "-THROTTLED 100")
                #expect(try await server.statistics().throttled == 1)
            }
        }

        @Test("connections beyond the limit are told so and closed")
        func connectionLimit() async throws {
            var settings = TestServer.settings
            settings.limits.connections = 1
            try await withServer(settings) { server in
                var first: TestClient? = try server.resp()
                #expect(try first?.command("PING") == "+PONG")
                let second = try server.resp()
                #expect(try second.rest() == "-ERR max number of clients reached\r\n")
                let web = try server.http()
                #expect(try web.rest().hasPrefix("HTTP/1.1 503 "))
                first = nil
                #expect(try await eventually { server.shared.connectionCount == 0 })
                #expect(try server.resp().command("PING") == "+PONG")
            }
        }

        @Test("a client that does not read is not read from, and closed in the end")
        func slowReader() async throws {
            var settings = TestServer.settings
            settings.limits.outputBytes = 256 * 1_024
            settings.limits.outputLowWaterBytes = 128 * 1_024
            settings.limits.stallMs = 300
            try await withServer(settings) { server in
                let client = try TestClient(port: server.respPort, receiveBuffer: 4_096)
                let text = String(repeating: "x", count: 60_000)
                let echo = Array("*2\r\n$4\r\nECHO\r\n$60000\r\n\(text)\r\n".utf8)
                let isGone = try await eventually {
                    while let more = client.offer(echo) {
                        if !more { return true }
                    }
                    return try await server.statistics().cutOff == 1
                }
                #expect(isGone)
                #expect(try await eventually { server.shared.connectionCount == 0 })
            }
        }

        @Test("a half request and a silent client are closed after their time")
        func idle() async throws {
            var settings = TestServer.settings
            settings.limits.stallMs = 100
            settings.limits.respIdleMs = 100
            try await withServer(settings) { server in
                let half = try server.resp()
                try half.send("*1\r\n$4\r\nPI")
                #expect(try half.rest() == "")
                let silent = try server.resp()
                #expect(try silent.command("PING") == "+PONG")
                #expect(try silent.rest() == "")
                #expect(try await server.statistics().cutOff == 2)
            }
        }

        @Test("a request too long to be one is refused")
        func requestBytes() async throws {
            var settings = TestServer.settings
            settings.limits.respRequestBytes = 100_000
            try await withServer(settings) { server in
                let client = try server.resp()
                let argument = "$60000\r\n" + String(repeating: "x", count: 60_000) + "\r\n"
                try client.send("*4\r\n" + argument + argument)
                #expect(try client.value() == "-ERR Protocol error: too big request")
            }
        }

        @Test("nothing is read while the journal has too much to write")
        func backlog() async throws {
            let behaviour = TestCore.Behaviour(isDurable: true)
            try await withServer(behaviour: behaviour, commitsAtOnce: false) { server in
                let client = try server.resp()
                #expect(try client.command("PING") == "+PONG")
                server.journals[0].setOverBacklog(true)
                try client.send("RAIN.GRAB r1 1\r\n")
                #expect(try await eventually { try await server.statistics().holds == 1 })
                try client.send("PING\r\n")
                #expect(!client.hasInput(withinMs: 50))
                server.journals[0].setOverBacklog(false)
                server.journals[0].commit()
                #expect(try client.value().hasPrefix("[granted"))
                #expect(try client.value() == "+PONG")
            }
        }

        @Test("closing waits for answers that are due")
        func drain() async throws {
            let behaviour = TestCore.Behaviour(isDurable: true)
            try await withServer(behaviour: behaviour, commitsAtOnce: false) { server in
                let idle = try server.resp()
                #expect(try idle.command("PING") == "+PONG")
                let busy = try server.resp()
                try busy.send("RAIN.GRAB r1 1\r\n")
                #expect(try await eventually { server.journals[0].submitted == 1 })
                async let closing: Void = server.listeners.close(grace: .seconds(10))
                // Reading blocks one of the few threads that tasks have: `closing` needs one.
                #expect(try await eventually { idle.hasInput(withinMs: 0) })
                #expect(try idle.rest() == "")
                server.journals[0].commit()
                #expect(try busy.value().hasPrefix("[granted"))
                #expect(try busy.rest() == "")
                try await closing
                #expect(throws: TestClient.Failure.self) { try server.resp().command("PING") }
            }
        }
    }
}
