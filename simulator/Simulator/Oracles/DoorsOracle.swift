import EdgeCore
import EdgeTypes

/// Nobody wins something while a core would refuse him at its door: he could ask there in the very
/// next moment, and must hear what he has won.
///
/// Looked at when an entry is made, at every core of every node that runs, by its own clocks: so no
/// user has to come at the right time.
final class DoorsOracle: Oracle {
    let name = "doors"

    func wrote(_ world: World, _ node: Int, _ header: EntryHeader, _ entry: Entry) {
        switch entry {
        case .claim(let claim): look(world, node, claim.user, claim.pool, claim.slice)
        case .orderReserved(let order): look(world, node, order.user, order.pool, order.slice)
        case .orderPaid, .orderCancelled, .orderExpired, .orderRefunded, .paymentRefused,
            .poolCreated, .poolControlled, .poolFunded, .poolLeased, .poolTookBack, .poolClosed,
            .poolSoldOut, .poolMoved, .poolResolved, .sliceResolved, .sliceOpened, .sliceControlled,
            .sliceCredited, .sliceReturned,
            .sliceQuarantined, .sliceArchived:
            break
        }
    }

    private func look(
        _ world: World, _ node: Int, _ user: UserID, _ pool: PoolKey, _ slice: UInt32
    ) {
        let places = world.scenario.isCluster ? Array(world.nodes.indices) : [node]
        for place in places where world.nodes[place].isRunning {
            let door = world.nodes[place]
            for core in door.cores.indices
            where door.cores[core].node.refusesAtDoor(user, pool, slice: slice, now: door.now) {
                world.fail(
                    name,
                    "user \(user) wins in slice \(slice) of pool \(pool.rawValue), and core \(core) "
                        + "of node \(place) refuses him")
            }
        }
    }
}
