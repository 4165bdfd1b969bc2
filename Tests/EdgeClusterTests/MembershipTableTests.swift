import EdgeMemory
import EdgeTypes
import Testing

@testable import EdgeCluster

@Suite("The table of members")
struct MembershipTableTests {
    private struct Random {
        var state: UInt64

        mutating func below(_ bound: Int) -> Int {
            state &+= 0x9e37_79b9_7f4a_7c15
            return Int(Hash64.reduce(Hash64.mix(state, 1), below: UInt64(bound)))
        }
    }

    private func record(_ number: Int) -> MemberRecord {
        MemberRecord(
            name: Text64("n\(number)"), boot: BootID(number + 1),
            address: MemberAddress(ipv4: UInt32(number), port: 1))
    }

    /// Lists, positions, digests and searches agree with the states.
    private func check(_ table: borrowing MemberTable, _ states: [Int: MemberState]) -> Bool {
        var live = 0
        var dead = 0
        var isRight = true
        for (place, slot) in table.live.enumerated() {
            isRight = isRight && Int(table.members[Int(slot)].position) == place
        }
        for (place, slot) in table.dead.enumerated() {
            isRight = isRight && Int(table.members[Int(slot)].position) == place
        }
        var digest: UInt64 = 0
        var bootDigest: UInt64 = 0
        for slot in 0..<table.slots {
            guard let state = table.members[slot].state else { continue }
            let boot = table.members[slot].boot
            isRight = isRight && (slot == 0 || states[Int(boot) - 1] == state)
            isRight = isRight && table.find(boot: boot) == slot
            isRight = isRight && table.find(name: table.records[slot].name) == slot
            switch state {
            case .alive, .suspect:
                live += 1
                digest &+= Hash64.keyed(boot, salt: table.members[slot].incarnation.rawValue)
                bootDigest &+= Hash64.keyed(boot, salt: 0x626f_6f74)
            case .dead: dead += 1
            case .left: break
            }
        }
        isRight = isRight && live == table.liveCount && dead == table.dead.count
        isRight = isRight && digest == table.digest && bootDigest == table.bootDigest
        return isRight && table.count == states.count + 1
    }

    @Test("any sequence of comings and goings leaves lists, searches and digests right")
    func random() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Random(state: seed)
        var table = MemberTable(record(1_000_000), incarnation: Incarnation(life: 1))
        var states: [Int: MemberState] = [:]
        var next = 0
        for step in 0..<6_000 {
            let slot = table.slots > 1 ? 1 + random.below(table.slots - 1) : 0
            let state = slot > 0 ? table.members[slot].state : nil
            if random.below(3) == 0 || state == nil {
                if table.count < 300 {
                    table.add(record(next), incarnation: Incarnation(life: 1), nowNs: 0)
                    states[next] = .alive
                    next += 1
                }
            } else if let state {
                let number = Int(table.members[slot].boot) - 1
                switch random.below(5) {
                case 0 where state == .dead || state == .left:
                    table.remove(slot)
                    states[number] = nil
                case 1:
                    let new = Incarnation(life: 1, refutations: UInt32(step))
                    table.setIncarnation(slot, new)
                case 2: _ = table.nextToProbe(UInt64(random.below(.max)) << 1)
                case 3: table.enqueue(slot, withRecord: random.below(2) == 0)
                default:
                    if state != .left {
                        let to = MemberState.allCases[random.below(4)]
                        table.setState(slot, to, nowNs: UInt64(step))
                        states[number] = to
                    }
                }
            }
            if step % 20 == 0 {
                let isRight = check(table, states)
                #expect(isRight, "seed \(seed), step \(step)")
                if !isRight { return }
            }
        }
        // The oldest comes first.
        var lastNs: UInt64 = 0
        while table.oldest > 0 {
            let oldest = table.oldest
            #expect(table.members[oldest].sinceNs >= lastNs)
            lastNs = table.members[oldest].sinceNs
            table.remove(oldest)
        }
        #expect(table.dead.isEmpty && table.retiredCount == 0)
    }
}
