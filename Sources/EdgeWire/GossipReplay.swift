public import EdgeTypes

/// Which of one sender's counters were seen: the last 256 up to the highest, each once.
///
/// The sliding window of RFC 4303, section 3.4.3, over four words. O(1).
public struct ReplayWindow: BitwiseCopyable, Sendable {
    /// How far a datagram may fall behind a later one and still be taken.
    public static let span: UInt64 = 256

    /// The highest counter seen; 0: none.
    public private(set) var highest: UInt64 = 0
    /// Bit `c % 256` tells whether counter c was seen, of the last 256.
    private var seen: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    public init() {}

    /// Whether a counter is new; if so it is not any more. Ask only about what is genuine.
    public mutating func accept(_ counter: UInt64) -> Bool {
        guard counter > 0 else { return false }
        if counter > highest {
            let steps = counter - highest
            if steps >= Self.span {
                seen = (0, 0, 0, 0)
            } else {
                clear(after: highest, steps: steps)
            }
            highest = counter
            mark(counter)
            return true
        }
        guard highest - counter < Self.span, !isMarked(counter) else { return false }
        mark(counter)
        return true
    }

    /// Forgets the places of the `steps` counters that follow `counter`.
    private mutating func clear(after counter: UInt64, steps: UInt64) {
        var next = counter &+ 1
        var left = steps
        while left > 0 {
            // The rest of a word at once.
            let bit = next & 63
            let length = min(left, 64 - bit)
            let ones = length == 64 ? UInt64.max : (UInt64(1) << length) - 1
            set(Int((next >> 6) & 3), word(Int((next >> 6) & 3)) & ~(ones << bit))
            next &+= length
            left -= length
        }
    }

    private mutating func mark(_ counter: UInt64) {
        let place = Int((counter >> 6) & 3)
        set(place, word(place) | (1 << (counter & 63)))
    }

    private func isMarked(_ counter: UInt64) -> Bool {
        (word(Int((counter >> 6) & 3)) >> (counter & 63)) & 1 == 1
    }

    private func word(_ place: Int) -> UInt64 {
        switch place {
        case 0: seen.0
        case 1: seen.1
        case 2: seen.2
        default: seen.3
        }
    }

    private mutating func set(_ place: Int, _ value: UInt64) {
        switch place {
        case 0: seen.0 = value
        case 1: seen.1 = value
        case 2: seen.2 = value
        default: seen.3 = value
        }
    }
}

/// The windows of all senders: what was taken once is not taken again.
///
/// Complexity: O(1). Memory: 56 bytes a sender, and a hash table's share.
public struct ReplayGuard: Sendable {
    /// Most senders; beyond it a new one is refused until others are forgotten.
    public static let limit = 2 * MembershipLimits.members

    private var windows: [ReplayWindow] = []
    private var numbers: [BootID: Int] = [:]
    private var free: [Int] = []
    /// What came twice, or too late to tell.
    public private(set) var replays: UInt64 = 0
    /// What came from a sender that there was no room for.
    public private(set) var overflows: UInt64 = 0

    public init() {}

    public var count: Int { numbers.count }

    /// Whether something genuine is taken: the first time that this counter of this sender comes.
    public mutating func accept(_ sender: BootID, _ counter: UInt64) -> Bool {
        if let number = numbers[sender] {
            if windows[number].accept(counter) { return true }
            replays += 1
            return false
        }
        guard numbers.count < Self.limit else {
            overflows += 1
            return false
        }
        var window = ReplayWindow()
        guard window.accept(counter) else { return false }
        if let number = free.popLast() {
            windows[number] = window
            numbers[sender] = number
        } else {
            numbers[sender] = windows.count
            windows.append(window)
        }
        return true
    }

    /// Forgets a sender: once membership has forgotten that boot.
    public mutating func forget(_ sender: BootID) {
        if let number = numbers.removeValue(forKey: sender) { free.append(number) }
    }
}
