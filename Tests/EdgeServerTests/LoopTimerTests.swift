import EdgeTypes
import Foundation
import NIOCore
import Synchronization
import Testing

@testable import EdgeServer

extension ServerTests {
    @Suite("A loop's timer", .serialized)
    struct LoopTimerTests {
        private static func behaviour(everyMs: Int64) -> TestCore.Behaviour {
            TestCore.Behaviour(wakesEveryMs: everyMs)
        }

        private final class Ended: Sendable {
            let flag = Atomic(false)
        }

        /// Holds the loop until its timer has come due: NIO takes it together with whatever else
        /// was handed to the loop meanwhile.
        private func stall(_ loop: ServerLoop) {
            loop.eventLoop.execute { Thread.sleep(forTimeInterval: 0.05) }
            Thread.sleep(forTimeInterval: 0.01)
        }

        @Test("one that comes due in the turn of the halt does not keep the loop from ending")
        func halt() async throws {
            let server = try await TestServer(behaviour: Self.behaviour(everyMs: 0))
            let loop = server.loops[0]
            try await loop.eventLoop.submit { loop.forceStep() }.get()
            stall(loop)
            try await loop.halt().get()
            let ended = Ended()
            // Not awaited: a loop that goes on for ever would keep the test for ever.
            Task {
                try await server.stop()
                ended.flag.store(true, ordering: .relaxed)
            }
            #expect(try await eventually { ended.flag.load(ordering: .relaxed) })
        }

        @Test("clients are read from while the core wants to go on at once")
        func reading() async throws {
            try await withServer(behaviour: Self.behaviour(everyMs: 0)) { server in
                let client = try server.resp()
                let loop = server.loops[0]
                try await loop.eventLoop.submit { loop.forceStep() }.get()
                try client.send("RAIN.GRAB r1 7\r\n")
                #expect(client.hasInput(withinMs: 10_000))
            }
        }

        @Test("there is only one, whatever comes in the turn in which it is due")
        func one() async throws {
            let everyMs: Int64 = 5
            try await withServer(behaviour: Self.behaviour(everyMs: everyMs)) { server in
                let loop = server.loops[0]
                try await loop.eventLoop.submit { loop.forceStep() }.get()
                for _ in 0..<40 {
                    stall(loop)
                    // Steps, and so sets another timer, before the one that is due runs.
                    try await loop.eventLoop.submit { loop.forceStep() }.get()
                }
                let begun = ContinuousClock.now
                let before = try await loop.readStatistics().get().ticks
                try await Task.sleep(for: .milliseconds(500))
                let ticks = try await loop.readStatistics().get().ticks - before
                let most = (ContinuousClock.now - begun) / .milliseconds(everyMs)
                #expect(Double(ticks) <= most + 10)
            }
        }
    }
}
