import EdgeTypes
import Testing

@testable import Simulator

/// The replication protocol under faults: seeds that hold, and built-in bugs that do not.
@Suite struct ReplicationTests {
    private func run(
        _ seed: UInt64, replicas: Int, _ mutant: ReplicationMutant = .none
    ) -> ReplicationWorld {
        var scenario = ReplicationScenario()
        scenario.replicas = replicas
        scenario.mutant = mutant
        let world = ReplicationWorld(scenario, seed: seed)
        world.run()
        return world
    }

    @Test(
        "whatever fails, what was acknowledged stays and everyone is answered", arguments: [2, 3])
    func clean(replicas: Int) {
        var probes: Set<ReplicationProbe> = []
        for seed in UInt64(1)...20 {
            let world = run(seed, replicas: replicas)
            #expect(world.failure == nil, "seed \(seed)")
            probes.formUnion(world.probes)
        }
        // With one backup there is nobody who could hold more than a new primary.
        let expected = Set(ReplicationProbe.allCases).subtracting(replicas == 2 ? [.diverged] : [])
        let rare: Set<ReplicationProbe> = [.diverged, .resumedFromDisk]
        #expect(expected.subtracting(probes).subtracting(rare).isEmpty)
    }

    @Test("the same seed gives the same run")
    func deterministic() {
        #expect(run(7, replicas: 3).digest == run(7, replicas: 3).digest)
        #expect(run(7, replicas: 3).digest != run(8, replicas: 3).digest)
    }

    /// Mutant, replicas, the first seed that catches it.
    static let mutants: [(ReplicationMutant, Int, UInt64)] = [
        (.epochCheckOff, 3, 12),
        (.acksBeforeBackups, 2, 1),
        (.localShrink, 2, 1),
        (.bootIgnored, 2, 7),
        (.readBackBelieved, 3, 12),
        (.proposerAcknowledges, 3, 1863),
        (.compareWithoutMembers, 2, 1),
        (.leaseLongerThanGrace, 3, 49),
        (.leaseFromAnswer, 3, 119),
        (.readsWithoutLease, 2, 61),
        (.answersWhileTakingOver, 2, 209),
        (.readsUncommitted, 2, 2),
        (.soleWithoutFlush, 2, 5),
        (.shrinksUnflushed, 2, 3),
        (.anyoneRestarts, 3, 5),
        (.learnerTooEarly, 3, 144),
        (.tailNotCommitted, 3, 7),
        (.opensUngreeted, 3, 873),
        (.divergedFollows, 3, 1),
        (.gapAccepted, 3, 1),
    ]

    @Test("every built-in bug is caught, and only with the bug", arguments: mutants.indices)
    func caught(index: Int) {
        let (mutant, replicas, seed) = Self.mutants[index]
        #expect(run(seed, replicas: replicas, mutant).failure != nil, "\(mutant)")
        #expect(run(seed, replicas: replicas).failure == nil, "without \(mutant)")
    }

    @Test("there is a seed for every built-in bug")
    func complete() {
        let named = Set(Self.mutants.map(\.0))
        // Those of disks, stores and plans, which this model lacks, are in the mutants' table.
        let elsewhere: Set<ReplicationMutant> = [
            .none, .learnersBelowStore, .standInDropped, .proposedGrantNothing, .laterCopyCounts,
        ]
        #expect(named == Set(ReplicationMutant.allCases).subtracting(elsewhere))
    }
}
