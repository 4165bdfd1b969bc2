import ArgumentParser
import EdgeCore
import EdgeDomain
import EdgeServer
import EdgeTypes
import Foundation

/// Recomputes every published amount of a closed rain from its revealed seed.
struct RainVerify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Recompute every amount of a closed rain from its revealed seed.")

    @Argument var id: String
    @OptionGroup var options: AdminOptions

    struct Verdict {
        var claims: Int64 = 0
        var fen: Fen = 0
        var problem: String?
    }

    func run() async throws {
        let verdict = try await Self.verify(id, options.client)
        if options.json {
            let document: [String: Any] = [
                "holds": verdict.problem == nil, "claims": verdict.claims, "fen": verdict.fen,
                "problem": verdict.problem as Any? ?? NSNull(),
            ]
            let data = try JSONSerialization.data(withJSONObject: document)
            Console.say(String(decoding: data, as: UTF8.self))
        } else if let problem = verdict.problem {
            Console.say("\(id): DOES NOT HOLD: \(problem)")
        } else {
            Console.say(
                "\(id): holds: the seed matches its commitment, and all \(verdict.claims) "
                    + "amounts (\(verdict.fen) fen) follow from it")
        }
        if verdict.problem != nil { throw Exit.failed }
    }

    static func verify(_ id: String, _ client: AdminClient) async throws -> Verdict {
        let path = "/v1/rains/\(AdminClient.escaped(id))"
        let info = try await client.require("GET", path)
        guard let seedText = info.string("seed"), let seed = Bits256(hex: seedText) else {
            Console.note("downpour: the seed is revealed when the rain is closed")
            throw Exit.tryLater
        }
        guard let definition = definition(id, info, seed) else {
            return Verdict(problem: "the node's description is incomplete")
        }
        var verdict = Verdict()
        guard info.string("commitment") == PoolSeed.commitment(to: seed).hex else {
            verdict.problem = "the seed does not match the commitment"
            return verdict
        }
        let amounts = PacketAmounts(definition)
        var seen = [Bool](repeating: false, count: Int(definition.units))
        var cursor: Int64? = 0
        while let after = cursor {
            let page = try await client.require("GET", path + "/claims?cursor=\(after)")
            for row in page["claims"] as? [[Any]] ?? [] {
                verdict.problem = check(row, amounts, &seen, &verdict)
                if verdict.problem != nil { return verdict }
            }
            cursor = page.integer("cursor")
        }
        let granted = info.integer("granted") ?? -1
        let grantedFen = info.integer("grantedFen") ?? -1
        if granted != verdict.claims || grantedFen != verdict.fen {
            verdict.problem =
                "the node granted \(granted) packets of \(grantedFen) fen, but published "
                + "\(verdict.claims) of \(verdict.fen) fen"
        }
        return verdict
    }

    private static func check(
        _ row: [Any], _ amounts: PacketAmounts, _ seen: inout [Bool], _ verdict: inout Verdict
    ) -> String? {
        guard row.count == 4, let user = row[0] as? String,
            let packet = (row[1] as? NSNumber)?.int64Value,
            let fen = (row[2] as? NSNumber)?.int64Value
        else { return "a claim is malformed" }
        guard packet >= 0, packet < Int64(seen.count) else {
            return "user \(user) has packet \(packet), which does not exist"
        }
        if seen[Int(packet)] { return "packet \(packet) was granted twice" }
        seen[Int(packet)] = true
        let right = amounts.amount(packet)
        guard right == fen else {
            return "packet \(packet) of user \(user) holds \(fen) fen instead of \(right)"
        }
        verdict.claims += 1
        verdict.fen += fen
        return nil
    }

    private static func definition(
        _ id: String, _ info: AdminClient.Answer, _ seed: Bits256
    ) -> PoolDefinition? {
        guard let name = Text64(id.utf8), let kindText = info.string("kind"),
            let kind = PoolKind.allCases.first(where: { "\($0)" == kindText }), kind != .stock,
            let units = info.integer("count"), let amount = info.integer("amount"),
            let least = info.integer("min"), let most = info.integer("max")
        else { return nil }
        let definition = PoolDefinition(
            name: name, kind: kind, units: units, amountFen: amount, minFen: least, maxFen: most,
            holdMs: 0, slices: 1, regions: [], seed: seed, seedWasGiven: true,
            commitment: PoolSeed.commitment(to: seed), durability: .journal,
            initial: PoolTerms())
        return AmountRules.problem(definition) == nil ? definition : nil
    }
}
