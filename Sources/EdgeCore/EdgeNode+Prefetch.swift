import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes

extension EdgeNode {
    /// A link of the chain of memory that a grab reads: each says where the next one is.
    public enum PrefetchLink: Sendable {
        case pool
        case slot
        case slice
        case claim
    }

    /// Asks for one link of what a grab will read; changes nothing but caches.
    ///
    /// For a caller who steps many nodes in turn and knows what comes: a step overlaps the waiting
    /// for memory of its own batch, and a batch of one has nothing to overlap it with. Call it for
    /// each link in order, some other work apart.
    ///
    /// `mutating` only in form: Swift 6.3 copies a borrowed slice, and borrows a mutable one.
    public mutating func prefetch(_ pool: PoolKey, _ user: UserID, _ link: PrefetchLink) {
        guard pool == lastPool, lastPoolIndex >= 0 else { return }
        if link == .pool { return pools.prefetch(lastPoolIndex) }
        guard let slice = pools[lastPoolIndex].map.slice(of: user, region: 0) else { return }
        if link == .slot { return pools[lastPoolIndex].slots.prefetch(Int(slice)) }
        let slot = Int(pools[lastPoolIndex].slots[Int(slice)])
        guard slot >= 0 else { return }
        if link == .slice { return slices.prefetch(slot) }
        slices[slot].prefetch(slices[slot].hash(user))
    }
}
