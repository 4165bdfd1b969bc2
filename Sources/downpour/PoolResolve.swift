import ArgumentParser
import Foundation

/// An operator's word on units that a crash took out of play.
struct PoolResolve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resolve",
        abstract: "Decide what becomes of quarantined units.",
        discussion: """
            When the node of a `memory` pool dies, or all copies of a `replicated` one die together,
            nobody knows which of the units left were granted: they are out of play (`quarantined`),
            and users of their slices hear `lost`, or `closed` of a SKU.

            --release puts them back in play with their slices. Users are served again, and hear of
            what they have where that is known. What somebody was told and nobody has written down
            may be granted to somebody else, and that somebody may be granted again.

            --return takes them out of the pool for good, for whoever funded it. Their slices stay
            out of play. Of a pool that is closed, units can only be returned.
            """)

    enum Family: String, ExpressibleByArgument, CaseIterable { case rain, stock }

    @Argument(help: "A rain or a SKU.") var id: String
    @Flag(name: .customLong("release"), help: "Grant them, perhaps for the second time.")
    var releases = false
    @Flag(name: .customLong("return"), help: "Give them back to whoever funded the pool.")
    var returns = false
    @Option(help: "rain or stock, where both have that name.") var family: Family?
    @Option(help: "Recognises a retry. Otherwise drawn, and told.") var request: String?
    @OptionGroup var options: AdminOptions

    func validate() throws {
        guard releases != returns else {
            throw ValidationError("one of --release and --return is required")
        }
    }

    func run() async throws {
        let family = try await path()
        let request = self.request ?? "resolve-\(UUID().uuidString.lowercased())"
        if self.request == nil { Console.note("to try the same again: --request \(request)") }
        options.done(
            try await options.client.require(
                "POST", "/v1/\(family)/\(AdminClient.escaped(id))/resolve",
                ["resolution": releases ? "release" : "return"], key: request))
    }

    /// The family of pools that has the name.
    private func path() async throws -> String {
        switch family {
        case .rain: return "rains"
        case .stock: return "stock"
        case nil: break
        }
        var found: [String] = []
        for family in ["rains", "stock"] {
            let answer = try await options.client.send(
                "GET", "/v1/\(family)/\(AdminClient.escaped(id))")
            if answer.status == 404 { continue }
            _ = try options.client.checked(answer)
            found.append(family)
        }
        guard found.count < 2 else {
            throw ValidationError("a rain and a SKU have that name: --family says which is meant")
        }
        return found.first ?? "rains"
    }
}
