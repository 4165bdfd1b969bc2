import EdgeMemory
import EdgeTypes
import EdgeWire
import NIOCore
import NIOPosix
import Testing

@testable import EdgeServer

extension ServerTests {
    @Suite("Links between nodes", .serialized)
    struct BusLinkTests {
        private func quick() -> BusConnectionLimits {
            var limits = BusConnectionLimits()
            limits.firstRetryMs = 10
            limits.lastRetryMs = 50
            return limits
        }

        private func withGroup(
            _ body: (MultiThreadedEventLoopGroup) async throws -> Void
        ) async throws {
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
            do { try await body(group) } catch {
                try await group.shutdownGracefully()
                throw error
            }
            try await group.shutdownGracefully()
        }

        private func listen(
            _ side: BusSide, _ group: MultiThreadedEventLoopGroup, port: Int = 0
        ) async throws -> BusListener {
            let owner = side.owner
            return try await BusListener.start(
                group: group, host: "127.0.0.1", port: port, node: side.node
            ) { _ in owner }
        }

        private func dial(
            _ side: BusSide, _ group: MultiThreadedEventLoopGroup, port: Int
        ) async throws -> BusLink {
            let link = BusLink(
                on: group.next(), to: "127.0.0.1", port: port, node: side.node, owner: side.owner,
                jitterSeed: 5)
            try await link.eventLoop.submit { link.start() }.get()
            return link
        }

        private func stop(_ link: BusLink) async throws {
            try await link.eventLoop.submit { link.close() }.get()
        }

        @Test("messages of all sizes come back in order over a socket")
        func echo() async throws {
            try await withGroup { group in
                let keys = try BusKeys.ring(BusKeys.one)
                let a = BusSide("a", boot: 1, keys: keys)
                let b = BusSide("b", boot: 2, keys: keys, echoes: true)
                let listener = try await listen(b, group)
                let link = try await dial(a, group, port: listener.address.port ?? 0)
                #expect(try await eventually { a.owner.log.ups.count == 1 })
                #expect(a.owner.log.ups == [b.node.hello])
                let sizes = [0, 8, 8_000, 300_000, BusLimits.attachedBytes, 16]
                for round in 0..<5 as Range<UInt64> {
                    try await link.eventLoop.submit {
                        guard let connection = link.connection else { return }
                        for (index, size) in sizes.enumerated() {
                            connection.send(.beacon(number: round))
                            let entries = [UInt8](repeating: UInt8(index), count: size)
                            entries.withUnsafeBytes {
                                _ = connection.send(
                                    .entries(1, epoch: 2, first: round), attached: $0)
                            }
                        }
                        connection.flush()
                    }.get()
                }
                #expect(try await eventually { a.owner.log.messages.count == 60 })
                #expect(a.owner.log.messages == b.owner.log.messages)
                let got = a.owner.log.attached.map(\.count)
                #expect(got == (0..<5).flatMap { _ in sizes.filter { $0 > 0 } })
                try await stop(link)
                #expect(try await eventually { b.owner.log.downs == [.closed] })
                #expect(a.owner.log.downs == [.stopped])
                try await listener.close()
            }
        }

        @Test("a link calls again until somebody answers, and again after it broke")
        func reconnection() async throws {
            try await withGroup { group in
                let keys = try BusKeys.ring(BusKeys.one)
                let a = BusSide("a", boot: 1, keys: keys, limits: quick())
                let first = BusSide("b", boot: 2, keys: keys)
                let listener = try await listen(first, group)
                let port = listener.address.port ?? 0
                try await listener.close()
                let link = try await dial(a, group, port: port)
                #expect(try await eventually { a.owner.log.failures.count >= 3 })
                let again = try await listen(first, group, port: port)
                #expect(try await eventually { a.owner.log.ups.count == 1 })
                // The other process ends, and another takes its place.
                try await again.close()
                for connection in first.owner.log.connections { connection.closeSoon() }
                #expect(try await eventually { a.owner.log.downs == [.closed] })
                let second = BusSide("b", boot: 3, keys: keys)
                let third = try await listen(second, group, port: port)
                #expect(try await eventually { a.owner.log.ups.last?.boot == 3 })
                try await stop(link)
                try await third.close()
            }
        }

        @Test("an owner that is overloaded is not read from until it says so")
        func backPressure() async throws {
            try await withGroup { group in
                let keys = try BusKeys.ring(BusKeys.one)
                let a = BusSide("a", boot: 1, keys: keys)
                let b = BusSide("b", boot: 2, keys: keys)
                b.owner.setOverloaded(true)
                let listener = try await listen(b, group)
                let link = try await dial(a, group, port: listener.address.port ?? 0)
                #expect(try await eventually { b.owner.log.ups.count == 1 })
                let piece = [UInt8](repeating: 1, count: 500_000)
                // Until the sockets' buffers are full and the rest waits here.
                var sent = 0
                while !(try await link.eventLoop.submit { link.connection?.isOverloaded ?? true }
                    .get())
                {
                    try await link.eventLoop.submit {
                        guard let connection = link.connection else { return }
                        piece.withUnsafeBytes {
                            _ = connection.send(.entries(1, epoch: 1, first: 1), attached: $0)
                        }
                        connection.flush()
                    }.get()
                    sent += 1
                    #expect(sent < 1_000)
                    if sent >= 1_000 { break }
                }
                // Not even the first: it was read from last when the two agreed.
                #expect(b.owner.log.messages.isEmpty)
                b.owner.setOverloaded(false)
                b.owner.log.connections.last?.resumeSoon()
                #expect(try await eventually { b.owner.log.messages.count == sent })
                #expect(b.owner.log.downs.isEmpty)
                try await stop(link)
                try await listener.close()
            }
        }

        @Test("who knows no key never comes in, however often it calls")
        func strangers() async throws {
            try await withGroup { group in
                let b = BusSide("b", boot: 2, keys: try BusKeys.ring(BusKeys.one, BusKeys.two))
                let listener = try await listen(b, group)
                let a = BusSide(
                    "a", boot: 1, keys: try BusKeys.ring(BusKeys.three), limits: quick())
                let link = try await dial(a, group, port: listener.address.port ?? 0)
                #expect(try await eventually { b.node.counters.strangers >= 3 })
                #expect(a.owner.log.ups.isEmpty && b.owner.log.ups.isEmpty)
                // With a key that b knows it does, without a restart of either.
                a.node.keys = try BusKeys.ring(BusKeys.one)
                #expect(try await eventually { b.owner.log.ups.count == 1 })
                try await stop(link)
                try await listener.close()
            }
        }
    }
}

extension BusConnection {
    fileprivate func closeSoon() { eventLoop?.execute { [self] in close() } }
    fileprivate func resumeSoon() { eventLoop?.execute { [self] in resume() } }
}
