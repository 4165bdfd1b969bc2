import EdgeCluster
import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes
import EdgeWire

/// What a node's journal has committed, as seen from outside: every frame once, by shard. And what
/// the running process has in memory beyond that, at every time of the run.
///
/// A cluster has one for all its nodes: a shard's frames come from whoever has it.
final class NodeHistory {
    private struct Shard {
        /// Checksum of each committed frame, from sequence 1.
        var frames: [UInt32] = []
    }

    private unowned let world: World
    private let node: Int
    private let placement: Placement
    private var shards: [Shard]
    /// Submitted and not known to be durable, by node and core.
    private var waiting: [[[WaitingFrame]]]
    private(set) var fold = LedgerFold()
    /// Of pools whose creation is committed.
    private(set) var seeds: [PoolKey: Bits256] = [:]
    private var committed: NodeBooks
    /// What the process has in memory.
    var live: NodeBooks
    /// Of a cluster with replicas, by shard.
    var leads: [Lead]
    /// How often a shard has changed hands.
    var takeovers = 0
    /// How often a shard went on from a journal that lacked what was acknowledged.
    var rewinds = 0
    /// All that is committed, in that order: where it may be taken back.
    private var taken: [[UInt8]] = []
    /// Why the history contradicts itself.
    private(set) var contradiction: String?
    /// What was done to its disk.
    private(set) var damage = NodeDamage()
    /// When each node's process last began with what it found.
    private var resumedNs: [UInt64]
    /// Nothing is asked of the node any more.
    var isGone = false
    /// Damage keeps the rest of the journal from the store, and the node says so.
    var isShippingStopped = false

    private var homes: [PoolKey: Timeline<NodeBooks.Home>] = [:]
    private var slices: [NodeBooks.SliceKey: Timeline<NodeBooks.Slice>] = [:]
    private var units: [NodeBooks.UserKey: Timeline<Int64>] = [:]
    private var timesMs: [Timeline<UnixMs>]
    /// When operators' decisions about a pool were journaled, and slices put out of play and back
    /// in it.
    private var decidedNs: [PoolKey: [UInt64]] = [:]
    private var quarantinedNs: [NodeBooks.SliceKey: [UInt64]] = [:]
    private var releasedNs: [NodeBooks.SliceKey: [UInt64]] = [:]
    /// What was ever granted; also what a crash took along.
    private var allGrants: [NodeBooks.UserKey: [NodeBooks.Grant]] = [:]
    /// The keys of the above in order of appearance.
    private var homeKeys: [PoolKey] = []
    private var sliceKeys: [NodeBooks.SliceKey] = []
    private var userKeys: [NodeBooks.UserKey] = []
    private var maps: [PoolKey: SliceMap] = [:]
    private var numbers: [PoolKey: Int] = [:]

    /// Who serves a shard, and what it has made beyond what is committed.
    struct Lead {
        var epoch: UInt32 = 0
        var node = 0
        var sinceNs: UInt64 = 0
        var tail: [[UInt8]] = []
    }

    private struct WaitingFrame {
        var end: UInt64
        var bytes: [UInt8]
    }

    init(world: World, node: Int) {
        self.world = world
        self.node = node
        let count = world.scenario.shards
        // Where a slice is does not depend on how many cores there are.
        placement = Placement(shards: count, cores: 1)
        shards = Array(repeating: Shard(), count: count)
        committed = NodeBooks(shards: count)
        live = committed
        timesMs = Array(repeating: Timeline(), count: count)
        waiting = Array(repeating: [], count: world.scenario.nodes)
        resumedNs = Array(repeating: 0, count: world.scenario.nodes)
        leads = Array(repeating: Lead(), count: count)
    }

    var nowNs: UInt64 { world.nowNs }

    /// What the store has of a shard.
    func stored(_ shard: ShardID) -> UInt64 { world.nodes[0].store.marks[shard].sequence }

    /// Takes back what a shard had committed after a sequence.
    func forgetCommitted(_ shard: ShardID, after last: UInt64) {
        let all = taken
        taken = []
        for index in shards.indices { shards[index].frames = [] }
        fold = LedgerFold()
        seeds = [:]
        committed = NodeBooks(shards: shards.count)
        for bytes in all {
            bytes.withUnsafeBytes { bytes in
                guard let frame = try? JournalFrame.parse(bytes) else { return }
                if frame.shard != shard || frame.sequence <= last { take(frame) }
            }
        }
    }

    func sequence(_ shard: ShardID) -> UInt64 { UInt64(shards[Int(shard)].frames.count) }

    // MARK: The journal

    /// A process begins: nothing waits.
    func begin(_ node: Int, cores: Int) {
        waiting[node] = Array(repeating: [], count: cores)
    }

    /// A process goes on with what its restart has found: what the one before had and did not
    /// commit is gone.
    func resume(_ node: Int) {
        resumedNs[node] = world.nowNs
        if world.scenario.replicas == 1 { rebuildLive() }
    }

    /// What was made and then lost never was.
    func rebuildLive() {
        live = committed
        applyTails()
        // What other nodes have and did not commit stands.
        for frames in waiting.joined() {
            for frame in frames {
                frame.bytes.withUnsafeBytes { bytes in
                    guard let frame = try? JournalFrame.parse(bytes),
                        let entry = try? frame.entry()
                    else { return }
                    live.apply(frame.header, entry, ns: world.nowNs)
                }
            }
        }
        for key in homeKeys { markHome(key) }
        for key in sliceKeys { markSlice(key) }
        for key in userKeys { markUser(key) }
        for shard in timesMs.indices { timesMs[shard].set(live.timesMs[shard], at: world.nowNs) }
    }

    /// A core has handed over entries that end at `end` in its lane.
    func submit(_ node: Int, _ core: Int, _ bytes: UnsafeRawBufferPointer, end: UInt64) {
        var offset = 0
        while offset < bytes.count {
            guard let frame = try? JournalFrame.parse(bytes, at: offset),
                let entry = try? frame.entry()
            else {
                contradiction = contradiction ?? "a step wrote what is no entry"
                return
            }
            offset += frame.length
            waiting[node][core].append(
                WaitingFrame(
                    end: end - UInt64(bytes.count - offset), bytes: Array(frame.bytes)))
            if !isGone { wrote(node, frame.header, entry) }
        }
    }

    func wrote(_ node: Int, _ header: EntryHeader, _ entry: Entry) {
        for oracle in world.oracles { oracle.wrote(world, node, header, entry) }
        live.apply(header, entry, ns: world.nowNs)
        timesMs[Int(header.shard)].set(header.timeMs, at: world.nowNs)
        if let key = live.touched.home { markHome(key) }
        if let key = live.touched.slice { markSlice(key) }
        if let key = live.touched.user { markUser(key) }
        noteDecisions(entry)
        guard case .claim(let claim) = entry else { return }
        let key = NodeBooks.UserKey(pool: claim.pool, user: claim.user)
        if let grant = live.grants[key]?.last { allGrants[key, default: []].append(grant) }
    }

    private func noteDecisions(_ entry: Entry) {
        switch entry {
        case .poolResolved(let pool, _, let isDone, _, _):
            if !isDone { decidedNs[pool, default: []].append(world.nowNs) }
        case .sliceQuarantined(let pool, let slice):
            let key = NodeBooks.SliceKey(pool: pool, slice: slice)
            quarantinedNs[key, default: []].append(world.nowNs)
        case .sliceResolved(let pool, let slice, .release, _):
            let key = NodeBooks.SliceKey(pool: pool, slice: slice)
            releasedNs[key, default: []].append(world.nowNs)
        default: break
        }
    }

    private func markHome(_ key: PoolKey) {
        if homes[key] == nil { homeKeys.append(key) }
        // One that a crash took back is as it was created, until it is created anew.
        guard let home = live.homes[key] ?? homes[key]?.last else { return }
        homes[key, default: Timeline()].set(home, at: world.nowNs)
    }

    private func markSlice(_ key: NodeBooks.SliceKey) {
        if slices[key] == nil { sliceKeys.append(key) }
        guard let slice = live.slices[key] ?? slices[key]?.last else { return }
        slices[key, default: Timeline()].set(slice, at: world.nowNs)
    }

    private func markUser(_ key: NodeBooks.UserKey) {
        if units[key] == nil { userKeys.append(key) }
        units[key, default: Timeline()].set(live.units[key] ?? 0, at: world.nowNs)
    }

    func commit(_ node: Int, _ core: Int, upTo position: UInt64) {
        let ready = waiting[node][core].prefix { $0.end <= position }
        for item in ready {
            item.bytes.withUnsafeBytes { bytes in
                if let frame = try? JournalFrame.parse(bytes) { take(frame) }
            }
        }
        waiting[node][core].removeFirst(ready.count)
    }

    /// A committed frame: the next of its shard, or one that is known.
    func take(_ frame: JournalFrame) {
        let shard = Int(frame.shard)
        let known = UInt64(shards[shard].frames.count)
        if frame.sequence <= known {
            let before = shards[shard].frames[Int(frame.sequence) - 1]
            if before != frame.checksum {
                contradict(frame, "is another than was committed before")
            }
            return
        }
        guard frame.sequence == known + 1 else {
            return contradict(frame, "follows \(known)")
        }
        shards[shard].frames.append(frame.checksum)
        if world.scenario.replicas > 1 { taken.append(Array(frame.bytes)) }
        do {
            let entry = try frame.entry()
            committed.apply(frame.header, entry, ns: world.nowNs)
            if case .poolCreated(let definition, _) = entry {
                seeds[.of(definition.kind.family, definition.name)] = definition.seed
            }
            try fold.apply(frame.header, entry)
            for oracle in world.oracles { oracle.committed(world, node, entry) }
        } catch {
            contradict(frame, "breaks the rules: \(error)")
        }
    }

    func contradict(_ what: String) { contradiction = contradiction ?? what }

    private func contradict(_ frame: JournalFrame, _ what: String) {
        guard contradiction == nil else { return }
        contradiction = "shard \(frame.shard), sequence \(frame.sequence) \(what)"
    }

    /// Units that a slice was given, as far as the journal has committed it.
    func committedCredit(_ pool: PoolKey, _ slice: UInt32) -> Int64 {
        committed.slices[NodeBooks.SliceKey(pool: pool, slice: slice)]?.totals.credited ?? 0
    }

    // MARK: Looking back

    // Each of these gives what was so at some moment after `ns`, up to now: whatever was answered
    // in that time to what was asked at `ns` goes back to one of those moments. Entries count
    // from the step that made them, which is when it decided.

    func home(_ pool: PoolKey, since ns: UInt64) -> [NodeBooks.Home] {
        homes[pool]?.since(ns).map(\.value) ?? []
    }

    func slice(_ pool: PoolKey, _ slice: UInt32, since ns: UInt64) -> [NodeBooks.Slice] {
        slices[NodeBooks.SliceKey(pool: pool, slice: slice)]?.since(ns).map(\.value) ?? []
    }

    /// Packets, or units that count against the limit.
    func units(_ pool: PoolKey, _ user: UserID, since ns: UInt64) -> ClosedRange<Int64> {
        let values = units[NodeBooks.UserKey(pool: pool, user: user)]?.since(ns).map(\.value) ?? []
        // Nothing before the first.
        let first = values.first ?? 0
        let isNew = units[NodeBooks.UserKey(pool: pool, user: user)]?.began(after: ns) ?? true
        let low = values.reduce(first, min)
        return (isNew ? min(0, low) : low)...values.reduce(first, max)
    }

    /// What a shard's clock can have shown: the later of its last entry and the wall clock.
    func timeMs(_ shard: ShardID, since ns: UInt64) -> ClosedRange<UnixMs> {
        var wall = world.nodes[owner(of: shard)].clock.wallMs(from: ns, to: world.nowNs)
        if world.scenario.replicas > 1 {
            // Whoever served it meanwhile.
            for node in world.nodes {
                let other = node.clock.wallMs(from: ns, to: world.nowNs)
                wall =
                    min(wall.lowerBound, other.lowerBound)...max(wall.upperBound, other.upperBound)
            }
        }
        let own = timesMs[Int(shard)].since(ns).map(\.value)
        let isNew = timesMs[Int(shard)].began(after: ns)
        let low = isNew ? 0 : own.min() ?? 0
        return max(wall.lowerBound, low)...max(wall.upperBound, own.max() ?? 0)
    }

    /// All that a user was ever granted, in order; also what a crash took along.
    func allGrants(_ pool: PoolKey, _ user: UserID) -> [NodeBooks.Grant] {
        allGrants[NodeBooks.UserKey(pool: pool, user: user)] ?? []
    }

    /// What a user has of a pool, in order.
    func grants(_ pool: PoolKey, _ user: UserID) -> [NodeBooks.Grant] {
        live.grants[NodeBooks.UserKey(pool: pool, user: user)] ?? []
    }

    /// Whether operators have decided about a pool since its slice was put out of play last.
    func isDecided(_ pool: PoolKey, _ slice: UInt32) -> Bool {
        let lost = quarantinedNs[NodeBooks.SliceKey(pool: pool, slice: slice)]?.last ?? 0
        return decidedNs[pool]?.contains { $0 >= lost } ?? false
    }

    /// Whether any of a pool's slices was ever put back in play.
    func isReleased(_ pool: PoolKey) -> Bool {
        guard let definition = live.definitions[pool] else { return false }
        return (0..<definition.slices).contains {
            releasedNs[NodeBooks.SliceKey(pool: pool, slice: $0)] != nil
        }
    }

    /// Whether a slice was put back in play between two times: claims that it had granted before
    /// may be lost, and be granted again.
    func isReleased(_ pool: PoolKey, _ slice: UInt32, _ times: ClosedRange<UInt64>) -> Bool {
        releasedNs[NodeBooks.SliceKey(pool: pool, slice: slice)]?.contains(where: times.contains)
            ?? false
    }

    /// Whether two grants of a pool may exclude each other: the slice of the one that came first
    /// was put back in play before the other came.
    func areApart(
        _ pool: PoolKey, _ one: (user: UserID, slice: UInt32, win: Win),
        _ other: (user: UserID, slice: UInt32, win: Win)
    ) -> Bool {
        func times(_ user: UserID, _ win: Win) -> [UInt64] {
            allGrants(pool, user).filter { Win($0) == win }.map(\.ns)
        }
        return times(one.user, one.win).contains { first in
            times(other.user, other.win).contains { second in
                isReleased(
                    pool, first <= second ? one.slice : other.slice,
                    min(first, second)...max(first, second))
            }
        }
    }

    /// The slice that serves a user; nil as long as the pool is not known.
    func slice(of user: UserID, _ pool: PoolKey, region: String?) -> UInt32? {
        guard let definition = live.definitions[pool] else { return nil }
        let map = maps[pool] ?? SliceMap(definition, pool: pool)
        maps[pool] = map
        let key = region.map { RegionKey.of(Text64($0)) } ?? 0
        return map.slice(of: user, region: key)
    }

    /// Every slice of a rain that was ever there, in order of appearance.
    var rainSlices: [(key: NodeBooks.SliceKey, slice: NodeBooks.Slice)] {
        sliceKeys.compactMap { key in
            guard live.definitions[key.pool]?.kind != .stock, let slice = live.slices[key] else {
                return nil
            }
            return (key, slice)
        }
    }

    /// Likewise of a SKU.
    var stockSlices: [(key: NodeBooks.SliceKey, slice: NodeBooks.Slice)] {
        sliceKeys.compactMap { key in
            guard live.definitions[key.pool]?.kind == .stock, let slice = live.slices[key] else {
                return nil
            }
            return (key, slice)
        }
    }

    /// The first slice that is closed for good and not archived; nil: there is none.
    var unarchived: String? {
        let rains = world.scenario.archiveAfterNs > 0 ? rainSlices : []
        let stock = world.scenario.archiveOrdersAfterNs > 0 ? stockSlices : []
        return (rains + stock).first { _, slice in
            slice.isSealed && !slice.isArchived && slice.totals.quarantined == 0
        }.map { key, _ in
            "slice \(key.slice) of \(live.definitions[key.pool]?.name.description ?? "?")"
        }
    }

    /// The shard of a slice; nil as long as the pool is not known.
    func shard(of pool: PoolKey, slice: UInt32) -> ShardID? {
        live.definitions[pool].map { _ in placement.shard(of: pool, slice: slice) }
    }

    /// An order as it is now, by the number that its user knows.
    func order(_ text: String) -> NodeBooks.Order? {
        OrderID(text: text).flatMap { live.orders[$0] }
    }

    /// The number of a pool of this node among the world's.
    func number(of pool: PoolKey) -> Int? {
        if numbers.isEmpty {
            for plan in world.pools where plan.node == node || world.scenario.isCluster {
                numbers[plan.key] = plan.index
            }
        }
        return numbers[pool]
    }

    /// Who has a shard.
    func owner(of shard: ShardID) -> Int {
        if world.scenario.replicas > 1 { return leads[Int(shard)].node }
        return world.scenario.isCluster ? world.scenario.owner(of: shard) : node
    }

    /// Who has a pool's treasury.
    func homeNode(of pool: PoolKey) -> Int { owner(of: placement.home(of: pool)) }

    func resumedNs(_ node: Int) -> UInt64 { resumedNs[node] }

    // MARK: Damage

    /// A bit of a file has flipped.
    func rotted(_ path: String) {
        let isShipped = damage.isShipped(path) { world.nodes[node].store.segment(ofLane: $0) }
        damage.rotted(path, at: world.nowNs, wasShipped: isShipped)
    }

    private var isMisdirectionPending: Bool { world.nodes[node].disk.faults.misdirectsBy != nil }

    /// The next write will land elsewhere.
    func misdirects() {
        damage.armed(at: world.nowNs, isPending: isMisdirectionPending)
    }

    /// Nothing is misdirected any more.
    func misdirectsNoMore() {
        damage.disarmed(at: world.nowNs, isPending: isMisdirectionPending)
    }

    /// Whether a write has landed elsewhere since the process last began.
    var isFreshlyMisdirected: Bool {
        damage.isMisdirected(since: resumedNs[node], isPending: isMisdirectionPending)
    }

    /// Whether anything was done to the disk since the process last began.
    var isDamaged: Bool { damage.isRotted(since: resumedNs[node]) || isFreshlyMisdirected }

    /// Whether damage explains that the process does not start: it names what was damaged.
    func excuses(refusal: String) -> Bool {
        if damage.names(refusal) { return true }
        return damage.isMisdirected(since: 0, isPending: isMisdirectionPending)
            && refusal.contains("damaged")
    }

    /// Whether damage explains that the store does not catch up: the last turn has failed, over
    /// something that was damaged before the store had it.
    func excuses(lag status: ReconcilerStatus) -> Bool {
        guard status.state == .failing, let error = status.lastError else { return false }
        if damage.names(error, where: { !$0.wasShipped }) { return true }
        // Where a snapshot covers what was lost on its way, the store will never have it.
        return damage.isMisdirected(since: 0, isPending: isMisdirectionPending)
            && (error.contains("damaged") || error.contains("does not continue"))
    }
}
