import EdgeMemory
import EdgeTypes
import EdgeWire
import Testing

@testable import Simulator

@Suite("Plans of pools")
struct PoolPlanTests {
    private static let plans: [PoolPlan] = (1...400 as ClosedRange<UInt64>).flatMap { seed in
        (0..<4).map { PoolPlan.draw(index: $0, node: 0, Scenario(), RandomSource(seed: seed)) }
    }

    private func draft(_ plan: PoolPlan, isBrief: Bool = false) throws -> PoolDraft {
        let family = plan.isStock ? "STOCK" : "RAIN"
        let words =
            ["\(family).CREATE", plan.name]
            + plan.creation(openingMs: World.startMs, isBrief: isBrief)
        let bytes = RESPCommandText.encode(words)
        var arguments = RESPArguments()
        guard case .command = RESPDecoder().decode(bytes.span.bytes, from: 0, into: &arguments),
            let command = RESPRequests.command(bytes.span.bytes, arguments)
        else { throw Refused(text: "no command") }
        let request = RESPRequests.parse(
            command, bytes.span.bytes, arguments,
            ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0), actor: "operator")
        switch request {
        case .create(_, let draft): return draft
        case .refused(let refusal): throw Refused(text: refusal.text)
        case .request, .payload, .local: throw Refused(text: "no creation")
        }
    }

    private struct Refused: Error {
        var text: String
    }

    @Test("every plan is one that a node takes, and means what the plan says")
    func legal() throws {
        for plan in Self.plans {
            let draft = try draft(plan)
            #expect(draft.kind == plan.kind && draft.units == plan.units)
            #expect(draft.minFen == plan.minFenMade && draft.maxFen == plan.maxFen)
            #expect(draft.slices == plan.slices && draft.regions == plan.regions)
            #expect(draft.seed == plan.seed && draft.durability == plan.durability)
            #expect(plan.slicesMade >= max(1, plan.regions.count))
        }
    }

    @Test("plans are as various as creations can be")
    func variety() {
        let plans = Self.plans
        let rains = plans.filter { !$0.isStock }
        func some(_ plans: [PoolPlan], _ holds: (PoolPlan) -> Bool) -> Bool {
            let count = plans.filter(holds).count
            return count * 50 > plans.count && count < plans.count
        }
        for family in [rains, plans.filter(\.isStock)] {
            #expect(some(family) { $0.regions.count == 1 } && some(family) { $0.regions.count > 1 })
            #expect(some(family) { $0.slices == 0 } && some(family) { $0.slices > 6 })
            #expect(some(family) { $0.slicesMade > $0.regions.count && $0.regions.count > 1 })
        }
        #expect(some(rains) { $0.seed == nil })
        #expect(some(rains) { $0.minFen > 0 } && some(rains) { $0.maxFen > 0 })
        #expect(some(rains) { $0.amountFen % $0.units != 0 })
        for kind in [PoolKind.spread, .luck, .equal] { #expect(some(rains) { $0.kind == kind }) }
    }

    @Test("another pool under the same name is another, in every value that there is")
    func others() {
        var differing = Set<String>()
        for plan in Self.plans.prefix(100) {
            for seed in 1...50 as ClosedRange<UInt64> {
                let other = plan.other(RandomSource(seed: seed))
                #expect(other.name == plan.name && other.node == plan.node)
                let one = plan.definition(opensMs: 0, closesMs: 0)
                let two = other.definition(opensMs: 0, closesMs: 0)
                let times =
                    plan.opensAfterNs != other.opensAfterNs
                    || plan.closesAfterNs != other.closesAfterNs
                #expect(one != two || times)
                if times { differing.insert("times") }
                if one.units != two.units { differing.insert("units") }
                if one.amountFen != two.amountFen { differing.insert("amount") }
                if one.minFen != two.minFen { differing.insert("min") }
                if one.maxFen != two.maxFen { differing.insert("max") }
                if one.slices != two.slices { differing.insert("slices") }
                if one.regions != two.regions { differing.insert("regions") }
                if one.seed != two.seed { differing.insert("seed") }
                if one.kind != two.kind { differing.insert("kind") }
                if one.holdMs != two.holdMs { differing.insert("hold") }
                if one.durability != two.durability { differing.insert("durability") }
                if one.initial.limit != two.initial.limit { differing.insert("limit") }
            }
        }
        #expect(differing.count == 12, "\(differing.sorted())")
    }

    @Test("a brief creation leaves out only what a node keeps as it is")
    func brief() throws {
        for plan in Self.plans {
            var whole = try draft(plan)
            let brief = try draft(plan, isBrief: true)
            #expect(brief.slices == 0 && brief.seed == nil)
            whole.slices = 0
            whole.seed = nil
            #expect(brief == whole)
        }
    }

    @Test("users keep their regions")
    func regions() {
        let random = RandomSource(seed: 3)
        var named = 0
        var foreign = 0
        for plan in Self.plans where plan.regions.count > 1 {
            for user in 0..<20 {
                #expect(plan.region(of: user, random) == plan.region(of: user, random))
                if plan.region(of: user, random) != nil { named += 1 }
                if plan.isForeign(user, random) { foreign += 1 }
            }
        }
        #expect(named > 1_000 && foreign > 50)
    }

    @Test("a seed that nobody names is drawn anew with each attempt, and the first one made stays")
    func seeds() throws {
        var drawn = 0
        for seed in 1...10 as ClosedRange<UInt64> {
            let world = RunBundle(Scenario(), seed: seed).run()
            #expect(world.failure == nil)
            for plan in world.pools where !plan.isStock && plan.seed == nil {
                let creations = world.clients.operations.filter {
                    $0.kind == .create && $0.pool == plan.index
                }
                let made = try #require(world.seed(of: plan))
                let draft = try draft(plan)
                let candidates = creations.flatMap { operation in
                    (1...operation.attempts).map { world.definition(of: draft, operation.id, $0) }
                }
                #expect(candidates.allSatisfy { !$0.seedWasGiven })
                #expect(candidates.contains { $0.seed == made })
                #expect(Set(candidates.map(\.seed)).count == candidates.count)
                drawn += 1
            }
        }
        #expect(drawn > 3)
    }

    @Test("a pool closes after it opens, in milliseconds too")
    func closesLater() {
        // The seed that drew one that did not.
        let random = RandomSource(seed: 12_395_979_587_829)
        let plan = PoolPlan.draw(index: 2, node: 0, Scenario(), random)
        let words = plan.creation(openingMs: 1_767_225_601_000)
        guard let opens = words.firstIndex(of: "OPENS"),
            let closes = words.firstIndex(of: "CLOSES"),
            let opensMs = Int64(words[opens + 1]), let closesMs = Int64(words[closes + 1])
        else {
            Issue.record("the seed draws other terms now: \(words)")
            return
        }
        #expect(opensMs < closesMs)
    }
}
