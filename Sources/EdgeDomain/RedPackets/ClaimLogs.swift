import EdgeMemory
import EdgeTypes

/// When claims were granted: one mark for all claims of the same millisecond.
///
/// Complexity: append O(1); look-up O(log marks). Memory: 12 bytes a mark.
@usableFromInline
struct TimeMarks: ~Copyable {
    @usableFromInline var firstClaims = ChunkedLog<UInt32>()
    @usableFromInline var timesMs = ChunkedLog<Int64>()
    @usableFromInline var lastMs: UnixMs = .min

    @usableFromInline
    init() {}

    @inlinable @inline(__always)
    mutating func append(_ timeMs: UnixMs, at claim: Int) {
        if timeMs != lastMs { mark(timeMs, claim) }
    }

    @usableFromInline
    mutating func mark(_ timeMs: UnixMs, _ claim: Int) {
        lastMs = timeMs
        firstClaims.append(UInt32(claim))
        timesMs.append(timeMs)
    }

    @inlinable @inline(__always)
    func time(of claim: Int) -> UnixMs {
        guard let mark = firstClaims.lastIndex(where: { $0 <= UInt32(claim) }) else { return 0 }
        return timesMs[mark]
    }

    var heldBytes: Int { firstClaims.heldBytes + timesMs.heldBytes }
}

/// What a claim needs to know where a user may have several: the claim before, how many there
/// are, and the request id. Begins at the first claim that was granted under a limit above 1.
///
/// Complexity: append O(1), a look-up by request O(claims of the user). 16 bytes a claim.
@usableFromInline
struct RepeatLog: ~Copyable {
    /// The claim it begins at.
    @usableFromInline private(set) var base = Int.max
    /// Low half: position of the user's claim before, + 1 (0: none). High half: claims so far.
    @usableFromInline var links = ChunkedLog<UInt64>()
    @usableFromInline var requests = ChunkedLog<UInt64>()

    @usableFromInline
    init() {}

    @usableFromInline var isActive: Bool { base != .max }

    @usableFromInline
    mutating func activate(at claim: Int) { base = claim }

    @usableFromInline
    mutating func append(previous: Int?, requestHash: UInt64) {
        let before = previous.map { UInt64(count(at: $0)) } ?? 0
        links.append(((before + 1) << 32) | UInt64((previous ?? -1) + 1))
        requests.append(requestHash)
    }

    /// How many claims the user has at this claim, itself included.
    @usableFromInline
    func count(at claim: Int) -> UInt32 {
        claim < base ? 1 : UInt32(truncatingIfNeeded: links[claim - base] >> 32)
    }

    @usableFromInline
    func previous(of claim: Int) -> Int? {
        guard claim >= base else { return nil }
        let position = Int(links[claim - base] & 0xffff_ffff)
        return position == 0 ? nil : position - 1
    }

    @usableFromInline
    func requestHash(of claim: Int) -> UInt64 { claim < base ? 0 : requests[claim - base] }

    @usableFromInline
    func find(_ requestHash: UInt64, from latest: Int) -> Int? {
        var position: Int? = latest
        while let claim = position {
            if self.requestHash(of: claim) == requestHash { return claim }
            position = previous(of: claim)
        }
        return nil
    }

    var heldBytes: Int { links.heldBytes + requests.heldBytes }
}
