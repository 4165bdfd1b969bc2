import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes

/// What makes a pool sound, whatever its kind.
enum PoolRules {
    static func problem(_ definition: PoolDefinition, hasReplicas: Bool) -> String? {
        guard definition.slices >= 1 && definition.slices <= UInt32(Limits.slices) else {
            return "SLICES must be 1 to \(Limits.slices)"
        }
        guard definition.regions.count <= Limits.regions else {
            return "at most \(Limits.regions) regions"
        }
        let keys = definition.regions.map { RegionKey.of($0.name) }
        guard definition.regions.allSatisfy({ $0.weight >= 1 && !$0.name.isEmpty }),
            Set(keys).count == keys.count
        else { return "regions have names of their own and weights of at least 1" }
        if definition.regions.count > 1 && Int(definition.slices) < definition.regions.count {
            return "fewer slices than regions"
        }
        if let problem = problem(definition.initial, definition.kind) { return problem }
        guard hasReplicas || definition.durability != .replicated else {
            return "durability replicated needs a cluster: this node is on its own"
        }
        return definition.kind == .stock
            ? stockProblem(definition) : AmountRules.problem(definition)
    }

    private static func stockProblem(_ definition: PoolDefinition) -> String? {
        guard definition.units >= 0 && definition.units <= Limits.unitsPerPool else {
            return "UNITS must be 0 to \(Limits.unitsPerPool)"
        }
        guard
            definition.amountFen >= 0
                && definition.amountFen <= Limits.amountFen / Int64(Limits.unitsPerOrder)
        else { return "PRICE is out of range" }
        guard definition.holdMs >= 1_000 && definition.holdMs <= Limits.holdMs else {
            return "HOLD must be 1 to \(Limits.holdMs / 1_000) seconds"
        }
        guard definition.durability != .memory else {
            return "stock is journaled: DURABILITY journal or replicated"
        }
        return nil
    }

    static func problem(_ terms: PoolTerms, _ kind: PoolKind) -> String? {
        guard terms.opensMs >= 0 && terms.closesMs >= 0 else { return "times must not be negative" }
        guard terms.closesMs == 0 || terms.closesMs > terms.opensMs else {
            return "CLOSES must come after OPENS"
        }
        let most = kind == .stock ? Limits.perUser : Limits.packetsPerUser
        guard terms.limit >= 1 && terms.limit <= most else { return "LIMIT must be 1 to \(most)" }
        return nil
    }
}

/// The map that INFO answers with.
enum PoolInfo {
    static func fields(
        _ treasury: Treasury, _ totals: SliceTotals, lost: Int, archived: Int, nowMs: UnixMs
    ) -> [Value.Field] {
        let definition = treasury.definition
        let state = treasury.state(nowMs: nowMs)
        let terms = treasury.control.terms
        // The total is exact, so what came back is what is neither granted nor quarantined. Before
        // the end that is what operators have taken out.
        let returnedFen =
            state == .closed
            ? definition.amountFen - totals.grantedFen - totals.quarantinedFen
            : totals.retiredFen
        // What a closed pool never leased came back as well.
        let unleased = treasury.unleased
        let inTreasury = state == .closed ? 0 : unleased
        let returned =
            treasury.returned + totals.retired + (state == .closed ? unleased : 0)
        var fields: [Value.Field] = [
            .init("id", .text(definition.name.description)),
            .init("kind", .text("\(definition.kind)")),
            .init("state", .text("\(state)")),
        ]
        if definition.kind == .stock {
            fields += [
                .init("units", .integer(treasury.funded)),
                .init("available", .integer(totals.held + inTreasury)),
                .init("pending", .integer(totals.pending)),
                .init("sold", .integer(totals.granted)),
                .init("leased", .integer(totals.held)),
                .init("returned", .integer(returned)),
                .init("quarantined", .integer(totals.quarantined)),
                .init("price", .integer(definition.amountFen)),
                .init("hold", .integer(definition.holdMs / 1_000)),
            ]
        } else {
            fields += [
                .init("amount", .integer(definition.amountFen)),
                .init("count", .integer(definition.units)),
                .init("granted", .integer(totals.granted)),
                .init("granted_fen", .integer(totals.grantedFen)),
                .init("remaining", .integer(totals.held + inTreasury)),
                .init("leased", .integer(totals.held)),
                .init("returned", .integer(returned)),
                .init("returned_fen", .integer(returnedFen)),
                .init("pending", .integer(0)),
                .init("quarantined", .integer(totals.quarantined)),
                .init("min", .integer(definition.minFen)),
                .init("max", .integer(definition.maxFen)),
            ]
        }
        fields += [
            .init("limit", .integer(Int64(terms.limit))),
            .init("opens", .integer(terms.opensMs)),
            .init("closes", .integer(terms.closesMs)),
            .init("slices", .integer(Int64(definition.slices))),
            .init("lost", .integer(Int64(lost))),
            .init("archived", .integer(Int64(archived))),
            .init("durability", .text("\(definition.durability)")),
            .init("created", .integer(treasury.createdMs)),
        ]
        if definition.kind != .stock {
            fields.append(.init("commitment", .text(definition.commitment.hex)))
            fields.append(
                .init("seed", state == .closed ? .text(definition.seed.hex) : .null))
        }
        return fields
    }
}

extension Bits256 {
    /// 64 hexadecimal digits, the first byte first.
    public var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for word in [words.0, words.1, words.2, words.3] {
            for byte in 0..<8 {
                let value = UInt8(truncatingIfNeeded: word >> (UInt64(byte) * 8))
                text.append(digits[Int(value >> 4)])
                text.append(digits[Int(value & 15)])
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
