import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes

/// A pool as every core knows it.
struct KnownPool: ~Copyable {
    // What every grab reads comes first, in one cache line: see `hotBytes`.
    let map: SliceMap
    /// Slice → its number in this core's tables; `absent` where it is not here (yet), `hidden`
    /// where it is followed here and served by another node.
    var slots: PlainList<Int32>
    /// Where replies about it need not wait for the journal.
    let isMemory: Bool
    /// Where they wait for the disk even if their shard has other replicas.
    let streamFlags: UInt8
    var isReplicated: Bool { definition.durability == .replicated }
    var isClosed = false

    let key: PoolKey
    var control: PoolControl
    /// The number of its treasury, where its home is here; −1 elsewhere.
    var treasury = -1
    /// Of stock: nothing.
    let amounts: PacketAmounts
    let definition: PoolDefinition
    /// The slices of each part, and what its home last certified of it.
    let parts: [Range<UInt32>]
    var soldOut: [SoldOut]
    /// When that was heard last, by the monotonic clock.
    var soldOutNs: [UInt64]
    /// By part: when its home was asked to repeat that, likewise.
    var renewedNs: [UInt64]
    /// Slice → what this core knows of its winners: see `EdgeNode+Doors.swift`. Empty until a
    /// request for a slice elsewhere meets a certificate.
    var doors: [Int32] = []
    /// The slices that this core has opened.
    private(set) var localSlices: [UInt32] = []

    /// Up to `isMemory`.
    static let hotBytes = 64

    init(_ definition: PoolDefinition, key: PoolKey, control: PoolControl) {
        self.definition = definition
        self.key = key
        self.control = control
        map = SliceMap(definition, pool: key)
        amounts = PacketAmounts(definition)
        isMemory = definition.durability == .memory
        streamFlags = definition.durability == .journal ? CommitStream.andDisk : 0
        slots = PlainList(capacity: max(1, Int(definition.slices)))
        for _ in 0..<definition.slices { slots.append(Self.absent) }
        parts = map.parts
        soldOut = parts.indices.map {
            SoldOut(part: UInt16($0), epoch: 0, generation: 0, left: -1)
        }
        soldOutNs = Array(repeating: 0, count: parts.count)
        renewedNs = soldOutNs
    }

    static let absent: Int32 = -1

    /// A slice is served here, under a number of this core's tables.
    mutating func open(_ slice: UInt32, _ slot: Int) {
        if slots[Int(slice)] < 0 { localSlices.append(slice) }
        slots[Int(slice)] = Int32(slot)
    }

    /// A slice is followed here, and served by another node.
    mutating func hide(_ slice: UInt32, _ slot: Int) {
        localSlices.removeAll { $0 == slice }
        slots[Int(slice)] = -2 - Int32(slot)
    }

    /// A slice is not here any more.
    mutating func close(_ slice: UInt32) {
        localSlices.removeAll { $0 == slice }
        slots[Int(slice)] = Self.absent
    }

    /// The slice's number in this core's tables, served or followed; nil: it is not here.
    func held(_ slice: UInt32) -> Int? {
        guard Int(slice) < slots.count else { return nil }
        let slot = slots[Int(slice)]
        if slot == Self.absent { return nil }
        return slot >= 0 ? Int(slot) : Int(-2 - slot)
    }

    /// Whether nothing of it is here: a definition that was never committed gives way.
    var isUnused: Bool {
        guard treasury < 0 else { return false }
        for slice in 0..<slots.count where slots[slice] != Self.absent { return false }
        return true
    }

    /// The number of a slice's part. O(regions).
    func part(of slice: UInt32) -> Int {
        guard let part = parts.firstIndex(where: { $0.contains(slice) }) else {
            preconditionFailure("a slice of no part")
        }
        return part
    }
}

/// All pools a core knows, by key and, for listings, by name.
struct PoolTable: ~Copyable {
    private(set) var pools = SlotArray<KnownPool>(capacity: 8)
    private var byKey = KeyTable()
    /// Pool numbers per family, in order of names.
    private(set) var sorted: [[Int32]] = [[], []]

    var count: Int { pools.count }

    func find(_ key: PoolKey) -> Int? { byKey.find(key.rawValue) }

    subscript(index: Int) -> KnownPool {
        @inline(__always)
        _read { yield pools[index] }
        @inline(__always)
        _modify { yield &pools[index] }
    }

    /// Asks for what a grab reads of a pool, for whoever reads it soon.
    func prefetch(_ index: Int) { pools.prefetch(index, bytes: KnownPool.hotBytes) }

    /// The number of the pool; added where it was not known.
    mutating func add(_ definition: PoolDefinition, key: PoolKey, control: PoolControl) -> Int {
        if let known = find(key) {
            if pools[known].definition != definition {
                pools[known] = KnownPool(definition, key: key, control: control)
            }
            return known
        }
        let index = pools.append(KnownPool(definition, key: key, control: control))
        byKey.set(key.rawValue, to: index)
        let family = Int(definition.kind.family.rawValue)
        let place = position(after: definition.name, family: definition.kind.family)
        sorted[family].insert(Int32(index), at: place)
        return index
    }

    /// How many names of the family are not above `name`. O(log pools).
    func position(after name: Text64, family: PoolFamily) -> Int {
        let list = sorted[Int(family.rawValue)]
        var low = 0
        var high = list.count
        while low < high {
            let middle = (low + high) >> 1
            if Self.isBelow(name, pools[Int(list[middle])].definition.name) {
                high = middle
            } else {
                low = middle + 1
            }
        }
        return low
    }

    /// Byte order.
    private static func isBelow(_ a: Text64, _ b: Text64) -> Bool {
        for index in 0..<8 where a.word(index) != b.word(index) {
            return a.word(index).byteSwapped < b.word(index).byteSwapped
        }
        return a.count < b.count
    }
}
