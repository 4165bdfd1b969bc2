import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes

/// Pools that have a single slice.
extension EdgeNode {
    /// The only slice of a pool knows that nothing is left. So that all others know it too,
    /// its home is asked to say so: once in a while, and until it does.
    @inline(never)
    mutating func seekCertificate(rain slot: Int, into effects: inout EffectBuffer) {
        guard slices[slot].books.held == 0, !slices[slot].isSealed else { return }
        seekCertificate(
            SliceName(pool: slices[slot].pool, slice: slices[slot].slice),
            SlicePlace(
                pool: slices[slot].poolIndex, local: slices[slot].localShard, slot: slot,
                isStock: false),
            after: slices[slot].creditedNumber, into: &effects)
    }

    mutating func seekCertificate(
        stock slot: Int, _ local: Int, into effects: inout EffectBuffer
    ) {
        let key = books[local].poolKey(slot: slot)
        guard books[local].holdings(slot: slot) == 0, !books[local].isSealed(slot: slot),
            let pool = pools.find(key)
        else { return }
        seekCertificate(
            SliceName(pool: key, slice: books[local].sliceNumber(slot: slot)),
            SlicePlace(pool: pool, local: local, slot: slot, isStock: true),
            after: books[local].creditNumber(slot: slot), into: &effects)
    }

    private mutating func seekCertificate(
        _ name: SliceName, _ place: SlicePlace, after: UInt32, into effects: inout EffectBuffer
    ) {
        let part = pools[place.pool].part(of: name.slice)
        guard hasDoors, !pools[place.pool].soldOut[part].stands,
            pools[place.pool].definition.slices == 1
        else { return }
        let tail = tail(name, place)
        let nowNs = current.monotonicNs
        guard tails[tail].soughtNs == 0 || nowNs &- tails[tail].soughtNs >= Treasury.roundNs else {
            return
        }
        tails[tail].soughtNs = max(1, nowNs)
        counters.asks &+= 1
        send(
            .ask(
                UnitsAsked(
                    pool: name.pool, slice: name.slice, after: after, wanted: 1, least: 1)),
            to: placement.home(of: name.pool), into: &effects)
        if !localFrames.isEmpty, !isServing { settle(now: current, into: &effects) }
    }
}
