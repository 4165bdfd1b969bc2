import EdgeCluster
import EdgeTypes
import Testing

private let ms: UInt64 = 1_000_000
private let second: UInt64 = 1_000_000_000

@Suite("Membership")
struct MembershipTests {
    @Test("a ping is answered by its target alone, and strangers are told that they are strangers")
    func pings() {
        let node = MembershipNode(peers: 3)
        node.receive(.ping, from: 2, sequence: 8)
        #expect(node.sent().map(\.datagram.kind) == [.ack])
        #expect(node.sent().map(\.datagram.sequence) == [8])
        node.receive(.ping, from: 2, sequence: 8, target: 999)
        #expect(node.sent().isEmpty)
        #expect(node.counters.misdirected == 1)
        node.receive(.ping, from: 50, sequence: 9)
        #expect(node.sent().map(\.datagram.kind) == [.ackToStranger])
        node.receive(.ping, from: 2, sequence: 8, cluster: 8)
        #expect(node.sent().isEmpty)
        #expect(node.counters.otherCluster == 1)
    }

    @Test("every member is probed once a round, the rounds differ, newcomers come within one")
    func rounds() {
        let node = MembershipNode(peers: 20)
        var probed: [Int] = []
        let endNs = node.nowNs + 40 * second
        while node.step(untilNs: endNs) {
            for sent in node.sent() where sent.datagram.kind == .ping {
                let number = Int(sent.address.ipv4 ?? 0)
                probed.append(number)
                node.receive(.ack, from: number, sequence: sent.datagram.sequence)
            }
        }
        var rounds: [[Int]] = []
        for first in stride(from: 0, to: probed.count - 19, by: 20) {
            rounds.append(Array(probed[first..<(first + 20)]))
        }
        #expect(rounds.count >= 3)
        for round in rounds { #expect(Set(round).count == 20) }
        #expect(rounds[0] != rounds[1])
    }

    @Test("a suspicion of oneself is refuted by a higher incarnation, a stale one is not")
    func refutation() {
        let node = MembershipNode(peers: 3)
        node.receive(.ping, from: 1, sequence: 4, [node.told(.suspect, 0, by: [2])])
        #expect(node.incarnation == Incarnation(life: 1, refutations: 1))
        #expect(node.localHealth == 1)
        // The answer bears it already.
        #expect(node.sent().first?.datagram.incarnation == node.incarnation)
        node.receive(.gossip, from: 1, [node.told(.suspect, 0, by: [3])])
        #expect(node.incarnation.refutations == 1)
        node.receive(.gossip, from: 1, [node.told(.dead, 0, refutations: 5)])
        #expect(node.incarnation.refutations == 6)
        // A life that is not its own is never entered.
        var forged = node.told(.suspect, 0, by: [3])
        forged.0.incarnation = Incarnation(life: 9)
        node.receive(.gossip, from: 1, [forged])
        #expect(node.incarnation == Incarnation(life: 1, refutations: 6))
    }

    @Test("at one incarnation suspicion overrides life and death both; a higher one life again")
    func order() {
        let node = MembershipNode(peers: 3)
        node.receive(.gossip, from: 1, [node.told(.suspect, 2, by: [1])])
        #expect(node.state(2) == .suspect)
        node.receive(.gossip, from: 1, [node.told(.alive, 2)])
        #expect(node.state(2) == .suspect)
        node.receive(.gossip, from: 1, [node.told(.dead, 2)])
        #expect(node.state(2) == .dead && node.liveCount == 3)
        #expect(node.events().map(\.kind) == [.died])
        node.receive(.gossip, from: 1, [node.told(.suspect, 2, by: [3])])
        #expect(node.state(2) == .dead)
        node.receive(.gossip, from: 1, [node.told(.alive, 2, refutations: 1)])
        #expect(node.state(2) == .alive && node.liveCount == 4)
        #expect(node.events().map(\.kind) == [.joined])
        node.receive(.gossip, from: 1, [node.told(.left, 2)])
        #expect(node.state(2) == .left)
        node.receive(.gossip, from: 1, [node.told(.alive, 2, refutations: 9)])
        #expect(node.state(2) == .left)
    }

    @Test("a member's own datagram clears its suspicion")
    func directly() {
        let node = MembershipNode(peers: 3)
        node.receive(.gossip, from: 1, [node.told(.suspect, 2, by: [1])])
        node.receive(.gossip, from: 2, refutations: 0)
        #expect(node.state(2) == .suspect)
        // It is told, so that it can object.
        let told = node.sent().map { node.updates($0.firstUpdate, $0.updateCount).first }
        #expect(node.sent().map(\.datagram.kind) == [.ping])
        #expect(told.first??.state == .suspect && told.first??.boot == 1_002)
        node.receive(.gossip, from: 2, refutations: 1)
        #expect(node.state(2) == .alive)
        #expect(node.events().map(\.kind) == [.trusted])
    }

    @Test("a later life of a name replaces an earlier one and is not replaced by it")
    func lives() {
        let node = MembershipNode(peers: 3)
        node.receive(.gossip, from: 1, [node.alive(2, life: 2, boot: 5)])
        #expect(node.state(2) == nil)
        #expect(node.machine.slot(name: "n2").flatMap { node.machine.state($0) } == .alive)
        #expect(node.events().map(\.kind) == [.died, .forgotten, .joined])
        // However often the earlier one has refuted.
        node.receive(.gossip, from: 1, [node.alive(2, life: 1, refutations: 4_000_000_000)])
        #expect(node.counters.oldBoots == 1)
        #expect(node.machine.slot(boot: 5) != nil)
        // Statements about it are about nobody.
        node.receive(.gossip, from: 1, [node.told(.dead, 2, refutations: 9)])
        #expect(node.counters.unknownBoots == 1)
        // Two that started at once: the higher boot.
        node.receive(.gossip, from: 1, [node.alive(2, life: 2, boot: 4)])
        #expect(node.machine.slot(boot: 5) != nil)
        node.receive(.gossip, from: 1, [node.alive(2, life: 2, boot: 6)])
        #expect(node.machine.slot(boot: 6) != nil && node.liveCount == 4)
    }

    @Test("a joining process whose name a live one bears stops and says so")
    func nameTaken() {
        let node = MembershipNode(peers: 0)
        node.exchange([node.alive(0, life: 1, boot: 77_000), node.alive(1)], from: 1)
        // Established here: of two with one life the higher boot is the stronger. Its own address:
        // nobody else can be there.
        #expect(!node.isStopped && node.incarnation.life == 2)

        let joining = MembershipNode(peers: 1)
        var rival = joining.alive(0, life: 4, boot: 78_000)
        rival.1?.address = MembershipNode.address(9)
        joining.exchange([rival], from: 1)
        _ = joining.step(untilNs: joining.nowNs + 10 * ms)
        let pings = joining.sent().filter { $0.datagram.target == 78_000 }
        #expect(pings.count == 1 && pings.first?.address == MembershipNode.address(9))
        joining.receive(.ack, from: 77_000)
        #expect(joining.rejections().map(\.reason) == [.nameTaken])
        #expect(joining.isStopped)
        joining.receive(.ping, from: 1, sequence: 2)
        #expect(joining.sent().isEmpty)
    }

    @Test("a process whose name a dead one bore takes the life after it")
    func nextLife() {
        let node = MembershipNode(peers: 1)
        var rival = node.alive(0, life: 4, boot: 78_000)
        rival.1?.address = MembershipNode.address(9)
        node.exchange([rival], from: 1)
        node.pass(1_100 * ms)
        #expect(!node.isStopped && node.incarnation == Incarnation(life: 5))
    }

    @Test("a member that speaks no common version is refused, reported once and counted")
    func versions() {
        let node = MembershipNode(peers: 1)
        var other = node.alive(5)
        other.1?.versions = ProtocolRange(oldest: 4, newest: 9)
        node.receive(.gossip, from: 1, [other])
        #expect(node.state(5) == nil)
        #expect(node.rejections().map(\.reason) == [.disjointVersions])
        #expect(node.rejections().first?.versions == ProtocolRange(oldest: 4, newest: 9))
        node.receive(.gossip, from: 1, [other])
        #expect(node.rejections().isEmpty && node.counters.disjointVersions == 2)
        node.exchange(
            [], from: 5, kind: .hello, versions: ProtocolRange(oldest: 4, newest: 4))
        let answer = node.streams().first
        #expect(answer?.message.kind == .refused && answer?.kind == .replyAndClose)
        #expect(answer?.message.reason == .disjointVersions)
        #expect(answer?.message.versions == ProtocolRange(oldest: 2, newest: 3))
    }

    @Test("a full table forgets its dead for newcomers, and refuses them where there are none")
    func full() {
        let node = MembershipNode(peers: MembershipLimits.members - 1)
        #expect(node.liveCount == MembershipLimits.members)
        node.receive(.gossip, from: 1, [node.alive(5_000)])
        #expect(node.rejections().map(\.reason) == [.tableFull])
        #expect(node.counters.tableFull == 1)
        node.receive(.gossip, from: 1, [node.told(.dead, 7), node.told(.dead, 8)])
        node.receive(.gossip, from: 1, [node.alive(5_000)])
        #expect(node.events().map(\.kind) == [.forgotten, .joined])
        #expect(node.state(7) == nil && node.state(8) == .dead && node.state(5_000) == .alive)
    }

    @Test("an unanswered probe asks others and a stream, then suspects; nacks keep health good")
    func probing() {
        let node = MembershipNode(peers: 10)
        node.passAnswering(20 * second, except: [3])
        #expect(node.counters.probesFailed >= 1)
        #expect(node.counters.suspicions == 1)
        #expect(node.localHealth == 0)
        let deaf = MembershipNode(peers: 10)
        deaf.passAnswering(20 * second, except: Set(1...10), nacks: false)
        #expect(deaf.localHealth == 8)
        // In bad health it probes less often: 0.5 s at first, 4.5 s at worst.
        #expect(deaf.counters.probes < 15)
    }

    @Test("independent accusers shorten a suspicion, and it ends only after the suspect was asked")
    func suspicion() {
        func lasts(_ accusers: [Int]) -> UInt64 {
            let node = MembershipNode(peers: 30)
            node.receive(.gossip, from: 1, [node.told(.suspect, 2, by: accusers)])
            let startNs = node.nowNs
            var diedNs: UInt64?
            for _ in 0..<4_000 where diedNs == nil {
                node.passAnswering(10 * ms, except: [2])
                if node.state(2) == .dead { diedNs = node.nowNs }
            }
            #expect(node.counters.checks > 0)
            return (diedNs ?? .max) - startNs
        }
        let alone = lasts([1])
        let one = lasts([1, 4])
        let three = lasts([1, 4, 5, 6])
        #expect(three >= 2 * second && three < 3 * second)
        #expect(one > three + 2 * second && alone > one + 2 * second)
        #expect(alone < 14 * second)
    }

    @Test("a process that stood still postpones its deadlines and knows that it is slow")
    func oversleeping() {
        let node = MembershipNode(peers: 30)
        node.receive(.gossip, from: 1, [node.told(.suspect, 2, by: [1, 3, 4, 5])])
        node.passAnswering(1 * second, except: [2])
        node.nowNs += 60 * second
        node.effects.removeAll()
        node.machine.tick(nowNs: node.nowNs, into: &node.effects)
        #expect(node.state(2) == .suspect)
        #expect(node.counters.oversleeps == 1 && node.localHealth == 8)
        #expect(node.counters.oversleptNs > 59 * second)
        // What came in meanwhile is looked at in time.
        node.receive(.gossip, from: 1, [node.told(.alive, 2, refutations: 1)])
        node.passAnswering(5 * second)
        #expect(node.state(2) == .alive)
    }

    @Test("rebalancing freezes when more than a fifth turns, and thaws when it is calm")
    func freezing() {
        let node = MembershipNode(peers: 99)
        for number in 1...20 {
            node.receive(.gossip, from: 50, [node.told(.suspect, number, by: [50])])
            // A member counts once, however often it turns.
            node.receive(.gossip, from: 50, [node.told(.alive, number, refutations: 1)])
            node.receive(
                .gossip, from: 50, [node.told(.suspect, number, refutations: 1, by: [50])])
            node.receive(.gossip, from: 50, [node.told(.alive, number, refutations: 2)])
        }
        #expect(!node.isFrozen)
        node.receive(.gossip, from: 50, [node.told(.dead, 21)])
        #expect(node.isFrozen)
        node.passAnswering(20 * second, except: [21])
        #expect(node.isFrozen)
        node.passAnswering(20 * second, except: [21])
        #expect(!node.isFrozen)
    }

    @Test("an update is sent a bounded number of times, and no datagram is longer than allowed")
    func gossiping() {
        let node = MembershipNode(peers: 100)
        node.passAnswering(20 * second)
        let names = (200..<400).map { node.alive($0) }
        for number in 0..<200 { node.receive(.gossip, from: 1, [names[number]]) }
        var times: [BootID: Int] = [:]
        var largest = 0
        let endNs = node.nowNs + 30 * second
        while node.step(untilNs: endNs) {
            for sent in node.sent() {
                largest = max(largest, node.size(sent))
                for update in node.updates(sent.firstUpdate, sent.updateCount)
                where update.boot >= 1_200 && update.boot < 1_400 && update.state == .alive {
                    times[update.boot, default: 0] += 1
                }
            }
            for sent in node.sent() where sent.datagram.kind == .ping {
                let number = Int(sent.address.ipv4 ?? 0)
                node.receive(.ack, from: number, sequence: sent.datagram.sequence)
            }
        }
        #expect(largest > 1_200 && largest <= MembershipLimits.datagramBytes)
        // 4 · log10(302), rounded up.
        #expect(times.count == 200)
        #expect(times.values.allSatisfy { $0 >= 8 && $0 <= 10 })
    }

    @Test("a goodbye is spread for a while, then the node is silent")
    func leaving() {
        let node = MembershipNode(peers: 5)
        node.passAnswering(20 * second)
        node.effects.removeAll()
        node.machine.leave(nowNs: node.nowNs, into: &node.effects)
        let goodbyes = node.sent().flatMap { node.updates($0.firstUpdate, $0.updateCount) }
        #expect(goodbyes.contains { $0.state == .left && $0.boot == 1_000 })
        node.passAnswering(3 * second)
        #expect(node.isStopped)
        #expect(node.machine.nextDeadlineNs == .max)
    }

    @Test("who is dead by hearsay in an exchange is asked before it is believed, and told alone")
    func doubts() {
        let node = MembershipNode(peers: 30)
        node.passAnswering(20 * second)
        var dead = node.told(.dead, 4)
        dead.1 = MembershipNode.record(4)
        node.exchange([dead], from: 1)
        #expect(node.state(4) == .suspect)
        node.effects.removeAll()
        var asked = 0
        let endNs = node.nowNs + 100 * ms
        while node.step(untilNs: endNs) {
            for sent in node.sent() {
                for update in node.updates(sent.firstUpdate, sent.updateCount)
                where update.boot == 1_004 {
                    #expect(sent.address == MembershipNode.address(4))
                    asked += update.state == .suspect ? 1 : 0
                }
            }
        }
        #expect(asked == 1)
        // Nobody learns of the dead that it does not know.
        var unknown = node.told(.dead, 700)
        unknown.1 = MembershipNode.record(700)
        node.exchange([unknown], from: 1)
        #expect(node.state(700) == nil)
    }

    @Test("too many relays are refused at once, and an answer goes back to who asked")
    func relays() {
        let node = MembershipNode(peers: 5)
        node.receive(.pingRequest, from: 1, sequence: 30, target: 1_002)
        let ping = node.sent().first
        #expect(ping?.datagram.kind == .ping && ping?.datagram.target == 1_002)
        node.receive(.ack, from: 2, sequence: ping?.datagram.sequence ?? 0, refutations: 3)
        let answer = node.sent().first { $0.datagram.kind == .indirectAck }
        #expect(answer?.address == MembershipNode.address(1))
        #expect(answer?.datagram.sequence == 30)
        #expect(answer?.datagram.targetIncarnation.refutations == 3)
        // The same answer once more is nobody's.
        node.receive(.ack, from: 2, sequence: ping?.datagram.sequence ?? 0, refutations: 3)
        #expect(!node.sent().contains { $0.datagram.kind == .indirectAck })
        for _ in 1..<MembershipLimits.relays {
            node.receive(.pingRequest, from: 1, sequence: 32, target: 1_003)
            #expect(node.sent().first?.datagram.kind == .ping)
        }
        node.receive(.pingRequest, from: 1, sequence: 34, target: 1_003)
        #expect(node.sent().map(\.datagram.kind) == [.nack])
        #expect(node.counters.relaysRefused == 1)
        var nacks = 0
        let endNs = node.nowNs + 400 * ms
        while node.step(untilNs: endNs) {
            for sent in node.sent() where sent.datagram.kind == .nack { nacks += 1 }
        }
        #expect(nacks == MembershipLimits.relays - 1)
    }

    @Test("equal views are found equal without sending them")
    func same() {
        let node = MembershipNode(peers: 5)
        node.effects.removeAll()
        var hello = GossipStreamMessage(
            kind: .hello, cluster: MembershipNode.cluster, sender: 1_001,
            incarnation: Incarnation(life: 1), versions: ProtocolRange(oldest: 2, newest: 3),
            digest: node.machine.digest, count: 6)
        node.hello(hello)
        #expect(node.streams().map(\.message.kind) == [.same])
        hello.digest &+= 1
        node.hello(hello)
        #expect(node.streams().map(\.message.kind) == [.state])
        #expect(node.streams().map(\.updateCount) == [6])
    }
}

extension MembershipNode {
    func hello(_ message: GossipStreamMessage) {
        effects.removeAll()
        let none = EmptyUpdates()
        machine.receive(
            message, updates: none.list, records: [], on: 9, from: Self.address(1), nowNs: nowNs,
            into: &effects)
    }
}
