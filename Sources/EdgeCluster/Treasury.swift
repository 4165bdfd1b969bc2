import EdgeMemory
import EdgeTypes

/// A pool's home: what operators did to it, the units no slice holds, and what every slice was
/// sent and has confirmed.
///
/// What is journaled (`apply…`) and what is not are apart: confirmations are asked for again
/// after a restart, since every frame may come twice. Who asks for units, and the rounds that call
/// them back, are in `Treasury+Rounds.swift`.
public struct Treasury: Sendable {
    public let definition: PoolDefinition
    public let pool: PoolKey
    public let createdMs: UnixMs
    public private(set) var control: PoolControl
    /// Units ever put in.
    public private(set) var funded: Int64
    /// Units that came back when the pool closed.
    public private(set) var returned: Int64 = 0
    public private(set) var isClosed = false
    /// Operators' request ids and what they asked for.
    public private(set) var operatorRequests: [OperatorRequest] = []
    public internal(set) var slices: [Link]
    public internal(set) var parts: [Part]

    private let map: SliceMap
    // Counted, so that nobody looks through thousands of slices at each frame.
    private var unsettled: Int
    private var finals = 0

    /// What one slice was sent, and has confirmed.
    public struct Link: Sendable {
        public var leaseNumber: UInt32 = 0
        public var returnNumber: UInt32 = 0
        public var leased: Int64 = 0
        /// It gave everything back and grants no more.
        public var isFinal = false
        // Not journaled.
        /// Sent and not confirmed, oldest first.
        public var inFlight: [Transfer] = []
        public var hasOpened = false
        public var confirmedVersion: UInt32 = 0
        /// The last lease that an operator's command waits for.
        var awaited: UInt32 = 0
        /// Whether it waits for units, what those who wait there want, and the least of it that
        /// helps.
        var isAsking = false
        var wanted: Int64 = 0
        var least: Int64 = 0
        /// The last round that it answered.
        var sweptRound: UInt64 = 0
    }

    /// A region's share of a pool; all of it where the pool tells no regions apart.
    public struct Part: Sendable {
        public let slices: Range<UInt32>
        /// What no slice holds.
        public internal(set) var unleased: UnitStore
        /// The last certificate.
        public internal(set) var soldOut: SoldOut
        // Not journaled.
        /// Leases that are not confirmed.
        var inFlight = 0
        /// Slices that ask, first come first; those before `firstAsk` were served.
        var asks: [UInt32] = []
        var firstAsk = 0
        var round: Round?
        /// The last round that all slices have answered.
        var lastRound: UInt64 = 0
        /// When the last round began; 0: none did.
        var beganNs: UInt64 = 0
        /// When everybody was told last what is left; 0: not by this process.
        public internal(set) var toldNs: UInt64 = 0
        /// Where it was found empty: nothing of its slices was out of play either.
        var isFinal = false
        /// The last round brought nothing and met nothing on its way: another may tell that
        /// nothing is left.
        var mayConfirm = false
        /// From when to when rounds have found that nothing is left but what the treasury has, by
        /// the home's clock; nil: nothing was found, or something has moved since.
        public internal(set) var empty: ClosedRange<UInt64>?
        /// Another part wants what the slices of this one may give back.
        var isSought = false
    }

    public struct OperatorRequest: Hashable, Sendable {
        public var hash: UInt64
        public var value: Int64

        public init(hash: UInt64, value: Int64) {
            self.hash = hash
            self.value = value
        }
    }

    public init(_ definition: PoolDefinition, pool: PoolKey, createdMs: UnixMs) {
        self.definition = definition
        self.pool = pool
        self.createdMs = createdMs
        control = PoolControl(version: 1, terms: definition.initial)
        funded = definition.units
        slices = Array(repeating: Link(), count: Int(definition.slices))
        unsettled = slices.count
        map = SliceMap(definition, pool: pool)
        let shares = map.shares(of: definition.units)
        parts = map.parts.enumerated().map { number, slices in
            var unleased = UnitStore(isStock: definition.kind == .stock)
            unleased.put(shares[number])
            return Part(
                slices: slices, unleased: unleased,
                soldOut: SoldOut(part: UInt16(number), epoch: 0, generation: 0, left: -1))
        }
    }

    /// The number of a slice's part. O(regions).
    public func part(of slice: UInt32) -> Int {
        guard let part = parts.firstIndex(where: { $0.slices.contains(slice) }) else {
            preconditionFailure("a slice of no part")
        }
        return part
    }

    /// What no slice holds.
    public var unleased: Int64 { parts.reduce(0) { $0 + $1.unleased.count } }

    /// Whether every slice is open under the latest control and has what operators' commands
    /// leased it; or gave it all back for good.
    public var isSettled: Bool { isClosed || unsettled == 0 }

    /// Whether, beyond that, nothing is on its way.
    public var isConfirmed: Bool {
        isSettled && (isClosed || parts.allSatisfy { $0.inFlight == 0 })
    }

    public func request(_ hash: UInt64) -> OperatorRequest? {
        operatorRequests.first { $0.hash == hash }
    }

    public func state(nowMs: UnixMs) -> PoolState {
        if isClosed { return .closed }
        return control.state(nowMs: nowMs)
    }

    // MARK: What is journaled

    public mutating func apply(_ control: PoolControl, requestHash: UInt64, value: Int64) {
        precondition(control.version == self.control.version + 1)
        self.control = control
        remember(requestHash, value)
        if control.closing { stopServing() }
        recount()
    }

    public mutating func applyFunding(_ units: Int64, requestHash: UInt64) {
        funded += units
        // Units of stock are alike; packets are never added.
        for (part, share) in map.shares(of: units).enumerated() where share.count > 0 {
            parts[part].unleased.put(share)
            stir(part)
        }
        remember(requestHash, units)
    }

    /// What an operator has decided about quarantined units; a later value replaces an earlier one.
    public mutating func applyDecision(_ requestHash: UInt64, value: Int64) {
        if let known = operatorRequests.firstIndex(where: { $0.hash == requestHash }) {
            operatorRequests[known].value = value
        } else {
            remember(requestHash, value)
        }
    }

    private mutating func remember(_ hash: UInt64, _ value: Int64) {
        guard hash != 0 else { return }
        operatorRequests.append(OperatorRequest(hash: hash, value: value))
    }

    /// A lease leaves the treasury: its ranges are cut off the front of what its part has.
    public mutating func applyLease(_ transfer: Transfer) {
        let slice = Int(transfer.slice)
        precondition(transfer.number == slices[slice].leaseNumber + 1)
        let part = part(of: transfer.slice)
        let isTaken = parts[part].unleased.take(transfer.ranges)
        precondition(isTaken, "a lease exceeds the treasury")
        stir(part)
        // Who asks for another lease has taken the one before.
        let isAsked = slices.count > 1
        if isAsked { parts[part].inFlight -= slices[slice].inFlight.count }
        parts[part].inFlight += 1
        change(transfer.slice) { link in
            if isAsked { link.inFlight = [] }
            link.leaseNumber = transfer.number
            link.leased += transfer.units
            link.inFlight.append(transfer)
            link.isAsking = false
        }
    }

    /// Whether a lease follows from what is here: the next number, and units to cover it.
    public func canApplyLease(_ transfer: Transfer) -> Bool {
        guard Int(transfer.slice) < slices.count,
            transfer.number == slices[Int(transfer.slice)].leaseNumber + 1
        else { return false }
        return parts[part(of: transfer.slice)].unleased.follows(transfer.ranges)
    }

    /// Takes units back: those of the last return stay out, others can be leased again.
    ///
    /// - Returns: false where the transfer came before and nothing changed.
    @discardableResult
    public mutating func applyReturn(_ transfer: Transfer) -> Bool {
        let slice = Int(transfer.slice)
        guard transfer.number == slices[slice].returnNumber + 1 else {
            precondition(transfer.number <= slices[slice].returnNumber, "a return is missing")
            return false
        }
        slices[slice].returnNumber = transfer.number
        slices[slice].leased -= transfer.units
        if transfer.final {
            if !slices[slice].isFinal { finals += 1 }
            slices[slice].isFinal = true
            returned += transfer.units
        } else {
            let part = part(of: transfer.slice)
            for range in transfer.ranges { parts[part].unleased.put(range) }
            stir(part)
        }
        return true
    }

    /// Counts a return that came before: only a built-in bug does (see `Mutant`).
    public mutating func takeAgain(_ transfer: Transfer) {
        if transfer.final {
            returned += transfer.units
        } else {
            let part = part(of: transfer.slice)
            for range in transfer.ranges { parts[part].unleased.put(range) }
        }
    }

    /// Whether a return follows from what is here: the next number, and no more units than the
    /// slice was leased.
    public func canApplyReturn(_ transfer: Transfer) -> Bool {
        guard Int(transfer.slice) < slices.count else { return false }
        let link = slices[Int(transfer.slice)]
        guard !link.isFinal, transfer.number == link.returnNumber + 1 else { return false }
        var left = link.leased
        for range in transfer.ranges {
            guard range.start >= 0, range.count >= 0, range.count <= left else { return false }
            left -= range.count
        }
        return true
    }

    /// Whether units may be put in: of stock, up to `Limits.unitsPerPool` in all.
    public func canApplyFunding(_ units: Int64) -> Bool {
        definition.kind == .stock && !control.closing && units >= 1
            && units <= Limits.unitsPerPool - funded
    }

    /// A certificate, or the end of one.
    public mutating func apply(_ soldOut: SoldOut) {
        precondition(canApply(soldOut))
        parts[Int(soldOut.part)].soldOut = soldOut
    }

    /// Whether a certificate is the next of its part.
    public func canApply(_ soldOut: SoldOut) -> Bool {
        guard Int(soldOut.part) < parts.count, soldOut.left >= -1 else { return false }
        let last = parts[Int(soldOut.part)].soldOut
        return last.generation < .max && soldOut.generation == last.generation + 1
            && soldOut.epoch >= last.epoch
    }

    public var canClose: Bool { control.closing && !isClosed && finals == slices.count }

    public mutating func applyClosed() {
        precondition(canClose)
        isClosed = true
        // Nothing is sent again: a slice's last return is its answer to every lease.
        for slice in slices.indices { slices[slice].inFlight = [] }
        for part in parts.indices { parts[part].inFlight = 0 }
    }

    // MARK: Restoring a snapshot

    mutating func restore(_ control: PoolControl) { self.control = control }

    mutating func restore(funded: Int64, returned: Int64, isClosed: Bool) {
        self.funded = funded
        self.returned = returned
        self.isClosed = isClosed
    }

    mutating func restore(_ soldOut: SoldOut, _ unleased: [UnitRange], part: Int) {
        parts[part].soldOut = soldOut
        parts[part].unleased = UnitStore(isStock: definition.kind == .stock)
        for range in unleased { parts[part].unleased.put(range) }
    }

    mutating func restore(_ request: OperatorRequest) { operatorRequests.append(request) }

    mutating func restore(_ links: [Link]) {
        precondition(links.count == slices.count)
        slices = links
        finals = links.count(where: \.isFinal)
        for (slice, link) in links.enumerated() {
            parts[part(of: UInt32(slice))].inFlight += link.inFlight.count
        }
        recount()
    }

    // MARK: What is not

    /// Operators' commands wait for all leases that were made so far.
    public mutating func awaitLeases() {
        for slice in slices.indices { slices[slice].awaited = slices[slice].leaseNumber }
        recount()
    }

    public mutating func confirmOpened(_ slice: UInt32) {
        change(slice) { $0.hasOpened = true }
    }

    public mutating func confirm(_ slice: UInt32, version: UInt32) {
        change(slice) { $0.confirmedVersion = max($0.confirmedVersion, version) }
    }

    public mutating func confirm(_ slice: UInt32, lease number: UInt32) {
        let before = slices[Int(slice)].inFlight.count
        change(slice) { $0.inFlight.removeAll { $0.number <= number } }
        parts[part(of: slice)].inFlight -= before - slices[Int(slice)].inFlight.count
    }

    private mutating func change(_ slice: UInt32, _ change: (inout Link) -> Void) {
        let wasSettled = isSettled(slices[Int(slice)])
        change(&slices[Int(slice)])
        if wasSettled != isSettled(slices[Int(slice)]) { unsettled += wasSettled ? 1 : -1 }
    }

    private func isSettled(_ link: Link) -> Bool {
        link.hasOpened && link.confirmedVersion >= control.version
            && (link.inFlight.first.map { $0.number > link.awaited } ?? true)
    }

    private mutating func recount() { unsettled = slices.count { !isSettled($0) } }

    // MARK: Leases that nobody asked for

    /// The first leases: most of each part, evenly. What is kept back serves the slices whose
    /// users are more than the average: as many as differ by chance, and a little more.
    public func firstLeases() -> [Transfer] {
        parts.flatMap { part -> [Transfer] in
            let units = part.unleased.count
            let kept = Self.kept(units, slices: part.slices.count)
            guard let first = part.unleased.all.first?.start else { return [] }
            let shares = SliceMap.split(
                UnitRange(start: first, count: units - kept), into: part.slices.count)
            return zip(part.slices, shares).compactMap { slice, share in
                lease(
                    slice,
                    [
                        UnitRange(
                            start: definition.kind == .stock ? 0 : share.start, count: share.count)
                    ])
            }
        }
    }

    /// Units of a part that are not leased at first.
    ///
    /// With users hashed to n slices, a slice's demand differs by √(units / n) either way, all
    /// slices' together by 0.4 · √(units · n) above the average. A slice on its own gets all.
    static func kept(_ units: Int64, slices: Int) -> Int64 {
        guard slices > 1 else { return 0 }
        return min(units / 2, units / 32 + root(units * Int64(slices)))
    }

    /// ⌊√value⌋, by Newton.
    private static func root(_ value: Int64) -> Int64 {
        guard value > 1 else { return value }
        var guess = Int64(1) << ((65 - Int64(value.leadingZeroBitCount)) / 2)
        while true {
            let next = (guess + value / guess) / 2
            if next >= guess { return guess }
            guess = next
        }
    }

    /// Leases of all that a pool with a single slice has: nobody else can want it.
    public func dueLeases() -> [Transfer] {
        guard !isClosed, !control.closing, slices.count == 1, unleased > 0 else { return [] }
        let all = parts[0].unleased.front(unleased, most: Limits.rangesPerSlice)
        return lease(0, all).map { [$0] } ?? []
    }

    func lease(_ slice: UInt32, _ ranges: [UnitRange]) -> Transfer? {
        let transfer = Transfer(
            pool: pool, slice: slice, number: slices[Int(slice)].leaseNumber + 1, final: false,
            ranges: ranges)
        return transfer.units > 0 ? transfer : nil
    }
}

extension PoolControl {
    /// Where a pool under this control stands, as long as it is not closed for good.
    public func state(nowMs: UnixMs) -> PoolState {
        if closing || (terms.closesMs != 0 && nowMs >= terms.closesMs) { return .closing }
        if nowMs < terms.opensMs { return .scheduled }
        return paused ? .paused : .open
    }
}
