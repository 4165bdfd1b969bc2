import EdgeMemory
import EdgeTypes
import NIOCore
import Testing

@testable import EdgeServer

extension ServerTests {
    @Suite("Flushes and commits", .serialized)
    struct FlushTests {
        @Test("an answer whose commit came before its flush waits for no other")
        func lastCommit() async throws {
            var settings = TestServer.settings
            // Stepped while it is read: the flush comes with the next tick.
            settings.limits.requestsPerStep = 1
            let behaviour = TestCore.Behaviour(isDurable: true)
            try await withServer(settings, behaviour: behaviour) { server in
                let client = try server.resp()
                #expect(try client.command("PING") == "+PONG")
                let loop = server.loops[0]
                try await loop.eventLoop.submit {
                    // The loop is about to look at an earlier commit, and finds this one too.
                    loop.journalCommitted(upTo: 0)
                    let grab = ByteBuffer(string: "RAIN.GRAB r1 7\r\n")
                    loop.table[0]?.context?.pipeline.fireChannelRead(grab)
                }.get()
                #expect(client.hasInput(withinMs: 5_000))
                try #require(server.journals[0].submitted == 1)
                if client.hasInput(withinMs: 0) {
                    #expect(try client.value().hasPrefix("[granted 100 7 "))
                }
            }
        }
    }
}
