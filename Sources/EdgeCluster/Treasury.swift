import EdgeMemory
import EdgeTypes

/// A pool's home: what operators did to it, the units no slice holds, and what every slice was
/// sent and has confirmed.
///
/// What is journaled (`apply…`) and what is not are apart: confirmations are asked for again
/// after a restart, since every frame may come twice.
public struct Treasury: Sendable {
    public let definition: PoolDefinition
    public let pool: PoolKey
    public let createdMs: UnixMs
    public private(set) var control: PoolControl
    /// Units ever put in.
    public private(set) var funded: Int64
    /// What no slice holds, oldest first.
    public private(set) var unleased: [UnitRange] = []
    /// Units that came back when the pool closed.
    public private(set) var returned: Int64 = 0
    public private(set) var isClosed = false
    /// Operators' request ids and what they asked for.
    public private(set) var operatorRequests: [OperatorRequest] = []
    public private(set) var slices: [Link]

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
        if definition.units > 0 { unleased = [UnitRange(start: 0, count: definition.units)] }
    }

    /// Whether every slice is open under the latest control and has what it was leased; or gave
    /// it all back for good.
    public var isSettled: Bool {
        if isClosed { return true }
        return slices.allSatisfy {
            $0.hasOpened && $0.inFlight.isEmpty && $0.confirmedVersion >= control.version
        }
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
    }

    public mutating func applyFunding(_ units: Int64, requestHash: UInt64) {
        funded += units
        // Units of stock are alike; packets are never added.
        unleased.append(UnitRange(start: 0, count: units))
        remember(requestHash, units)
    }

    private mutating func remember(_ hash: UInt64, _ value: Int64) {
        guard hash != 0 else { return }
        operatorRequests.append(OperatorRequest(hash: hash, value: value))
    }

    /// A lease leaves the treasury: its ranges are cut off the front of `unleased`.
    public mutating func applyLease(_ transfer: Transfer) {
        let slice = Int(transfer.slice)
        precondition(transfer.number == slices[slice].leaseNumber + 1)
        for range in transfer.ranges { take(range) }
        slices[slice].leaseNumber = transfer.number
        slices[slice].leased += transfer.units
        slices[slice].inFlight.append(transfer)
    }

    /// Whether a lease follows from what is here: the next number, and units to cover it.
    public func canApplyLease(_ transfer: Transfer) -> Bool {
        guard Int(transfer.slice) < slices.count,
            transfer.number == slices[Int(transfer.slice)].leaseNumber + 1
        else { return false }
        var rest = unleased
        return transfer.ranges.allSatisfy { Self.take($0, from: &rest, definition.kind) }
    }

    private mutating func take(_ range: UnitRange) {
        let isTaken = Self.take(range, from: &unleased, definition.kind)
        precondition(isTaken, "a lease exceeds the treasury")
    }

    /// - Returns: false where the range is not there, or is none; `unleased` is not to be used then.
    private static func take(
        _ range: UnitRange, from unleased: inout [UnitRange], _ kind: PoolKind
    ) -> Bool {
        guard range.start >= 0, range.count >= 0 else { return false }
        if kind == .stock {
            var left = range.count
            while left > 0 {
                guard !unleased.isEmpty else { return false }
                let count = min(left, unleased[0].count)
                unleased[0].count -= count
                left -= count
                if unleased[0].count == 0 { unleased.removeFirst() }
            }
            return true
        }
        for index in unleased.indices {
            let held = unleased[index]
            let offset = range.start - held.start
            guard offset >= 0, range.count <= held.count, offset <= held.count - range.count else {
                continue
            }
            var rest: [UnitRange] = []
            if offset > 0 { rest.append(UnitRange(start: held.start, count: offset)) }
            let after = held.count - offset - range.count
            if after > 0 {
                rest.append(UnitRange(start: range.start + range.count, count: after))
            }
            unleased.replaceSubrange(index...index, with: rest)
            return true
        }
        return false
    }

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
        slices[slice].isFinal = slices[slice].isFinal || transfer.final
        returned += transfer.units
        return true
    }

    /// Counts a return that came before: only a built-in bug does (see `Mutant`).
    public mutating func takeAgain(_ transfer: Transfer) { returned += transfer.units }

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

    public var canClose: Bool {
        control.closing && !isClosed && slices.allSatisfy(\.isFinal)
    }

    public mutating func applyClosed() {
        precondition(canClose)
        isClosed = true
        // Nothing is sent again: a slice's last return is its answer to every lease.
        for slice in slices.indices { slices[slice].inFlight = [] }
    }

    // MARK: Restoring a snapshot

    mutating func restore(_ control: PoolControl) { self.control = control }

    mutating func restore(
        funded: Int64, returned: Int64, isClosed: Bool, unleased: [UnitRange]
    ) {
        self.funded = funded
        self.returned = returned
        self.isClosed = isClosed
        self.unleased = unleased
    }

    mutating func restore(_ request: OperatorRequest) { operatorRequests.append(request) }

    mutating func restore(_ link: Link, _ slice: Int) { slices[slice] = link }

    // MARK: What is not

    public mutating func confirmOpened(_ slice: UInt32) { slices[Int(slice)].hasOpened = true }

    public mutating func confirm(_ slice: UInt32, version: UInt32) {
        let known = slices[Int(slice)].confirmedVersion
        slices[Int(slice)].confirmedVersion = max(known, version)
    }

    public mutating func confirm(_ slice: UInt32, lease number: UInt32) {
        slices[Int(slice)].inFlight.removeAll { $0.number <= number }
    }

    /// The first leases: the whole pool, by the regions' weights.
    public func firstLeases(_ map: SliceMap) -> [Transfer] {
        leases(of: map.shares(of: definition.units))
    }

    /// Leases for units of stock that were put in: evenly.
    public func refillLeases(_ units: Int64, _ map: SliceMap) -> [Transfer] {
        leases(of: map.shares(of: units).map { UnitRange(start: 0, count: $0.count) })
    }

    /// Leases that a crash has cut off from the entry that funded them: a loss of power may leave
    /// the first entries of a step without the rest.
    ///
    /// - Returns: none where nothing is left to lease, or the pool is closing.
    public func missingLeases(_ map: SliceMap) -> [Transfer] {
        guard !isClosed, !control.closing, !unleased.isEmpty else { return [] }
        var left = unleased.reduce(Int64(0)) { $0 + $1.count }
        var missing = firstLeases(map).filter { lease in
            slices[Int(lease.slice)].leaseNumber == 0
        }
        for lease in missing { left -= lease.units }
        precondition(left >= 0, "slices miss more than the treasury has")
        guard definition.kind == .stock, left > 0 else { return missing }
        // The rest came with refills.
        for lease in refillLeases(left, map) {
            if let first = missing.firstIndex(where: { $0.slice == lease.slice }) {
                missing[first].ranges += lease.ranges
            } else {
                missing.append(lease)
            }
        }
        return missing
    }

    private func leases(of ranges: [UnitRange]) -> [Transfer] {
        ranges.enumerated().compactMap { slice, range in
            guard range.count > 0 else { return nil }
            let start = definition.kind == .stock ? 0 : range.start
            return Transfer(
                pool: pool, slice: UInt32(slice), number: slices[slice].leaseNumber + 1,
                final: false, ranges: [UnitRange(start: start, count: range.count)])
        }
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
