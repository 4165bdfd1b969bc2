import EdgeMemory
import EdgeTypes
import Testing

@testable import EdgeServer

extension ServerTests {
    @Suite("Mail between loops", .serialized)
    struct MailTests {
        @Test("what a core says to another arrives there, and so does the answer", arguments: 1...3)
        func frames(loops: Int) async throws {
            let behaviour = TestCore.Behaviour(isDurable: true, cores: UInt64(loops))
            try await withServer(loops: loops, behaviour: behaviour) { server in
                for _ in 0..<loops {
                    let client = try server.resp()
                    for _ in 0..<3 { #expect(try client.command("RAIN.WARM frames") == "+OK") }
                }
            }
        }

        @Test("a frame leaves only once the entry that it tells of is durable", arguments: 1...2)
        func durableFrames(loops: Int) async throws {
            let behaviour = TestCore.Behaviour(isDurable: true, cores: UInt64(loops))
            try await withServer(loops: loops, behaviour: behaviour, commitsAtOnce: false) {
                server in
                func submitted() -> UInt64 { server.journals.reduce(0) { $0 + $1.submitted } }
                let client = try server.resp()
                try client.send("RAIN.WARM frames\r\n")
                var done: [ObjectIdentifier: UInt64] = [:]
                // The question is journaled by its asker; the answer by who was asked.
                for hop in 1...2 as ClosedRange<UInt64> {
                    #expect(try await eventually { submitted() == hop })
                    #expect(!client.hasInput(withinMs: 30))
                    #expect(submitted() == hop, "a frame left before its entry")
                    // Chosen before any commits: what that lets go may be journaled at once.
                    let waiting = server.journals.filter {
                        $0.submitted > (done[ObjectIdentifier($0)] ?? 0)
                    }
                    for journal in waiting {
                        done[ObjectIdentifier(journal)] = journal.submitted
                        journal.commit()
                    }
                }
                #expect(try client.value() == "+OK")
            }
        }

        @Test("requests beyond what may wait for another loop are told to try again")
        func forwardLimit() async throws {
            var settings = TestServer.settings
            settings.limits.forwardsPerLoop = 2
            let behaviour = TestCore.Behaviour(isDurable: true, cores: 2)
            try await withServer(
                settings, loops: 2, behaviour: behaviour, commitsAtOnce: false
            ) { server in
                let client = try server.resp()
                // Even users belong to one loop and odd ones to the other, four each.
                let grabs = (0..<8).map { "RAIN.GRAB r1 \($0)\r\n" }.joined()
                try client.send(grabs)
                // Both loops hold what they granted, until it is durable.
                #expect(try await eventually { server.journals.allSatisfy { $0.submitted > 0 } })
                for journal in server.journals { journal.commit() }
                var granted: [Int] = []
                var refused: [Int] = []
                for user in 0..<8 {
                    let answer = try client.value()
                    if answer == "-TRYAGAIN this node is too busy" {
                        refused.append(user)
                    } else {
                        #expect(answer.hasPrefix("[granted 100 \(user) "))
                        granted.append(user)
                    }
                }
                #expect(granted.count == 6 && refused.count == 2)
                #expect(Set(refused.map { $0 % 2 }).count == 1, "the loop's own are never refused")
                // Nothing was applied: the same requests are granted once there is room.
                for user in refused {
                    try client.send("RAIN.GRAB r1 \(user)\r\n")
                    #expect(
                        try await eventually {
                            server.journals[user % 2].commit()
                            return client.hasInput(withinMs: 1)
                        })
                    #expect(try client.value().hasPrefix("[granted 100 \(user) "))
                }
            }
        }

        @Test("a full mailbox drops frames, which are sent again, and nothing else")
        func fullMailbox() {
            let mailbox = Mailbox(frameLimit: 3)
            let pool = PoolKey.of(.rain, "a")
            let ticket = Ticket(core: 0, generation: 0, connection: 0, position: 0)
            let request = Request(ticket: ticket, operation: .grab)
            var mail = Mail()
            for number in 0..<2 {
                mail.forwards.append(Forward(to: .core(0), request: request, payload: nil))
                mail.replies.append(
                    RemoteReply(reply: Reply(ticket: ticket, shape: .ok), body: nil))
                mail.frames.append(.opened(pool, slice: UInt32(number)))
            }
            #expect(mailbox.put(mail), "the owner sleeps and has to be woken")
            #expect(!mailbox.put(mail), "once")
            #expect(!mailbox.put(mail))
            var taken = Mail()
            mailbox.take(&taken)
            #expect(taken.forwards.count == 6 && taken.replies.count == 6)
            let slices = taken.frames.compactMap { frame -> UInt32? in
                if case .opened(_, let slice) = frame { slice } else { nil }
            }
            #expect(slices == [0, 1, 0])
            #expect(mailbox.droppedFrames == 3)
            var again = Mail()
            mailbox.take(&again)
            #expect(again.isEmpty)
            #expect(mailbox.put(mail), "awake no longer")
            mailbox.take(&again)
            #expect(again.frames.count == 2)
        }
    }
}
