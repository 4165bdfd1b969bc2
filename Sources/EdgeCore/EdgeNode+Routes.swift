import EdgeCluster
import EdgeMemory
public import EdgeTypes

/// Which shards are served here, and where whoever wants something of another one goes.
extension EdgeNode {
    /// Whether a treasury is there, and this core serves its shard.
    func isServedHere(_ treasury: Int) -> Bool {
        let home = placement.home(of: treasuries[treasury].pool)
        return isLocal(home) && isHome(treasury, home)
    }

    func pool(of frame: Frame) -> PoolKey {
        switch frame {
        case .open(let definition, _, _), .announce(let definition, _, _):
            return .of(definition.kind.family, definition.name)
        case .control(let key, _, _), .returnTaken(let key, _, _), .inquire(let key, _, _),
            .opened(let key, _), .controlled(let key, _, _), .leaseTaken(let key, _, _),
            .freed(let key, _, _), .report(let key, _, _, _, _), .soldOut(let key, _),
            .renew(let key, _), .resolve(let key, _, _), .resolved(let key, _, _):
            return key
        case .askWinners(let asked): return asked.pool
        case .winners(let winners): return winners.pool
        case .ask(let asked): return asked.pool
        case .recall(let recall): return recall.pool
        case .swept(let sweep): return sweep.pool
        case .lease(let transfer), .returned(let transfer): return transfer.pool
        }
    }

    /// The shard that a frame comes from; of what is for everyone: the pool's home; nil: several.
    func source(of frame: Frame) -> ShardID? {
        switch frame {
        case .open(let definition, _, _), .announce(let definition, _, _):
            return placement.home(of: .of(definition.kind.family, definition.name))
        case .control(let key, _, _), .returnTaken(let key, _, _), .inquire(let key, _, _),
            .resolve(let key, _, _), .soldOut(let key, _):
            return placement.home(of: key)
        case .recall(let recall): return placement.home(of: recall.pool)
        case .swept, .askWinners, .renew: return nil
        case .winners(let winners):
            return placement.shard(of: winners.pool, slice: winners.slice)
        case .ask(let asked): return placement.shard(of: asked.pool, slice: asked.slice)
        case .lease(let transfer): return placement.home(of: transfer.pool)
        case .opened(let key, let slice), .controlled(let key, let slice, _),
            .leaseTaken(let key, let slice, _), .freed(let key, let slice, _),
            .report(let key, let slice, _, _, _), .resolved(let key, let slice, _):
            return placement.shard(of: key, slice: slice)
        case .returned(let transfer):
            return placement.shard(of: transfer.pool, slice: transfer.slice)
        }
    }

    /// Whether a shard is served here, by this core.
    func isLocal(_ shard: ShardID) -> Bool {
        owners[Int(shard)] == UInt16(configuration.node)
            && placement.core(of: shard) == configuration.core
    }

    /// Where whoever wants something of a shard goes; nil: no node serves it now.
    func route(to shard: ShardID) -> Route? {
        let owner = owners[Int(shard)]
        if owner == UInt16(configuration.node) { return .core(placement.core(of: shard)) }
        return owner == Self.nobody ? nil : .node(Int(owner))
    }

    /// Passes a request on to whoever has the shard.
    mutating func forward(
        _ request: Request, _ payload: Payload?, to shard: ShardID, into effects: inout EffectBuffer
    ) {
        var request = request
        if payload == nil { request.payload = -1 }
        // Cores and nodes may know of different owners for a while.
        guard let route = route(to: shard), request.hops < Limits.hops,
            !goesBack(request, route)
        else {
            let waits =
                request.hops < Limits.hops && waitForOwner(request, payload, of: shard)
            if !waits { refuseMoving(request, shard, into: &effects) }
            return
        }
        request.hops += 1
        counters.forwards &+= 1
        effects.forwards.append(Forward(to: route, request: request, payload: payload))
    }

    /// Whether another core or node knows best whether there is such a pool.
    func isElsewhere(homeOf pool: PoolKey) -> Bool { !isLocal(placement.home(of: pool)) }

    /// Says who serves a shard from now on. Before recovery, as often as one likes.
    public mutating func setOwner(of shard: ShardID, to node: UInt16) {
        precondition(Int(node) < configuration.nodes || node == Self.nobody)
        precondition(
            Int(shard) % configuration.cores != configuration.core
                || shards[placement.localIndex(of: shard)].sequence == 0,
            "a shard that holds something does not move")
        owners[Int(shard)] = node
    }

    /// The shard that a frame is for; nil: for everyone.
    func shard(of frame: Frame) -> ShardID? {
        switch frame {
        case .open(let definition, let slice, _):
            let key = PoolKey.of(definition.kind.family, definition.name)
            return placement.shard(of: key, slice: slice)
        case .control(let key, let slice, _), .returnTaken(let key, let slice, _),
            .inquire(let key, let slice, _), .resolve(let key, let slice, _):
            return placement.shard(of: key, slice: slice)
        case .lease(let transfer):
            return placement.shard(of: transfer.pool, slice: transfer.slice)
        case .opened(let key, _), .controlled(let key, _, _), .leaseTaken(let key, _, _),
            .freed(let key, _, _), .report(let key, _, _, _, _), .resolved(let key, _, _):
            return placement.home(of: key)
        case .ask(let asked): return placement.home(of: asked.pool)
        case .swept(let sweep): return placement.home(of: sweep.pool)
        case .returned(let transfer): return placement.home(of: transfer.pool)
        case .renew(let key, _): return placement.home(of: key)
        case .askWinners(let asked):
            return placement.shard(of: asked.pool, slice: asked.slice)
        case .announce, .recall, .soldOut, .winners: return nil
        }
    }
}
