import COpenSSL
public import EdgeTypes
public import EdgeWire

/// Seeds and commitments of pools.
public enum PoolSeed {
    public struct Refusal: Error, Hashable {
        public var text: String
    }

    /// Makes a draft definite: draws its seed where it has none, commits to it with SHA-256, and
    /// fills in the node's durability.
    public static func definition(
        of draft: PoolDraft, profile: NodeProfile
    ) -> Result<PoolDefinition, Refusal> {
        if let text = draft.refusal { return .failure(Refusal(text: text)) }
        var durability = draft.durability ?? profile.durability
        // The node may run without a journal; what is sold is never held in memory alone.
        if draft.kind == .stock, durability == .memory { durability = .journal }
        if durability == .replicated, !profile.replicates {
            return .failure(
                Refusal(text: "DURABILITY replicated needs a cluster: this node is on its own"))
        }
        let seed = draft.seed ?? random()
        return .success(
            PoolDefinition(
                name: draft.name, kind: draft.kind, units: draft.units,
                amountFen: draft.amountFen, minFen: draft.minFen, maxFen: draft.maxFen,
                holdMs: draft.holdMs, slices: draft.slices, regions: draft.regions, seed: seed,
                seedWasGiven: draft.seed != nil, commitment: commitment(to: seed),
                durability: durability, initial: draft.terms))
    }

    /// 256 bits of the system's randomness.
    public static func random() -> Bits256 {
        var bytes = [UInt8](repeating: 0, count: 32)
        // Without randomness amounts could be foretold: better no node than such a node.
        precondition(RAND_bytes(&bytes, 32) == 1, "no randomness")
        return bits(bytes)
    }

    /// SHA-256 of the seed's 32 bytes.
    public static func commitment(to seed: Bits256) -> Bits256 {
        let input = bytes(seed)
        var digest = [UInt8](repeating: 0, count: 32)
        _ = SHA256(input, input.count, &digest)
        return bits(digest)
    }

    public static func bytes(_ bits: Bits256) -> [UInt8] {
        [bits.words.0, bits.words.1, bits.words.2, bits.words.3].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> (UInt64($0) * 8)) }
        }
    }

    private static func bits(_ bytes: [UInt8]) -> Bits256 {
        precondition(bytes.count == 32)
        var words: [UInt64] = [0, 0, 0, 0]
        for (index, byte) in bytes.enumerated() {
            words[index / 8] |= UInt64(byte) << (UInt64(index % 8) * 8)
        }
        return Bits256(words[0], words[1], words[2], words[3])
    }
}
