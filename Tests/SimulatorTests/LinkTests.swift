import Foundation
import Testing

@testable import Simulator

@Suite("Links")
struct LinkTests {
    @Test("each class is slower than the one before it, at every part of its messages")
    func order() {
        let shapes = LinkShapes()
        for probability in [0.01, 0.5, 0.9, 0.99, 0.999] {
            let ns = LinkClass.allCases.map { shapes[$0].quantileNs(probability) }
            // A radio link may be nearer than another region.
            #expect(ns[0] < ns[1] && ns[1] < ns[2] && ns[1] < ns[3], "\(probability)")
        }
        #expect(shapes[.mobile].quantileNs(0.5) > shapes[.crossRegion].quantileNs(0.5))
    }

    @Test("seeds give nodes links of every class, and what the scenario says is kept")
    func draws() {
        var scenario = Scenario()
        scenario.nodes = 5
        var seen: [Set<LinkClass>] = [[], []]
        for seed in 0..<40 as Range<UInt64> {
            let network = Network(scenario, RandomSource(seed: seed))
            for paths in network.paths {
                for peer in Network.Peer.allCases {
                    let path = paths[Int(peer.rawValue)]
                    seen[Int(peer.rawValue)].insert(path.kind)
                    #expect((0.5..<2).contains(path.stretch))
                }
            }
        }
        #expect(seen[0] == Set(LinkClass.allCases))
        #expect(seen[1] == [.sameZone, .crossZone, .crossRegion])
        scenario.links = ScenarioLinks()
        scenario.links?.users = .crossZone
        for paths in Network(scenario, RandomSource(seed: 7)).paths {
            #expect(paths[0].kind == .crossZone)
        }
    }

    @Test("a message takes what its class and its link's stretch say")
    func delays() throws {
        var scenario = Scenario()
        scenario.without = FaultKind.allCases
        var links = ScenarioLinks()
        links.users = .mobile
        links.backEnds = .sameZone
        links.shapes.mobile = .constant(ns: 300_000_000)
        links.shapes.sameZone = .constant(ns: 1_000)
        scenario.links = links
        let world = RunBundle(scenario, seed: 11).world()
        var arrivals: [Int: UInt64] = [:]
        world.trace = { _, ns, text in
            let words = text.split(whereSeparator: { $0 == " " || $0 == "," })
            guard words.count == 4, words[0] == "request", words[3] == "1",
                let operation = Int(words[1])
            else { return }
            // A proxy's second try comes later.
            arrivals[operation] = min(arrivals[operation] ?? .max, ns)
        }
        world.run()
        #expect(world.failure == nil)
        let stretch = world.network.paths[0].map(\.stretch)
        var counts = [0, 0]
        for operation in world.clients.operations {
            let peer = Network.Peer(operation)
            let arrived = try #require(arrivals[operation.id])
            let base = peer == .user ? 300_000_000.0 : 1_000.0
            let expected = UInt64(base * stretch[Int(peer.rawValue)])
            #expect(arrived - world.clients.sent(operation.id, 1) == expected)
            counts[Int(peer.rawValue)] += 1
        }
        #expect(counts.allSatisfy { $0 > 20 })
    }

    @Test("what is under way when a partition begins is lost, unless it takes longer")
    func partition() {
        var scenario = Scenario()
        scenario.without = FaultKind.allCases
        var links = ScenarioLinks()
        for kind in LinkClass.allCases { links.shapes[kind] = .constant(ns: 400_000_000) }
        scenario.links = links
        var bundle = RunBundle(scenario, seed: 5)
        let window: ClosedRange<UInt64> = 3_000_000_000...4_000_000_000
        func answered() -> Int {
            let world = bundle.run()
            #expect(world.failure == nil)
            return world.clients.operations.filter { window.contains($0.answeredNs) }.count
        }
        #expect(answered() > 10)
        bundle.plan = FaultPlan([
            Fault(
                kind: .partition, startNs: window.lowerBound, endNs: window.upperBound, node: 0,
                magnitude: 1, id: 1)
        ])
        #expect(answered() == 0)
    }

    @Test("links go into a bundle and come back; what cannot be drawn from is refused")
    func bundles() throws {
        var scenario = Scenario()
        var links = ScenarioLinks()
        links.shapes.mobile = .logNormal(medianNs: 9_000_000, sigma: 1.5)
        links.backEnds = .crossRegion
        scenario.links = links
        let bundle = RunBundle(scenario, seed: 3)
        let read = try RunBundle.decode(bundle.encoded())
        #expect(read.scenario == scenario)
        #expect(read.run().digest == bundle.run().digest)
        scenario.links = nil
        #expect(RunBundle(scenario, seed: 3).run().digest != bundle.run().digest)

        links.shapes.mobile = .uniform(fromNs: 5, toNs: 4)
        scenario.links = links
        let broken = try RunBundle(scenario, seed: 3).encoded()
        #expect(throws: RunBundle.FileError.self) { try RunBundle.decode(broken) }
        let text = try String(decoding: bundle.encoded(), as: UTF8.self)
        let falling = text.replacingOccurrences(of: "205000000", with: "1")
        #expect(falling != text)
        #expect(throws: RunBundle.FileError.self) { try RunBundle.decode(Data(falling.utf8)) }
    }
}
