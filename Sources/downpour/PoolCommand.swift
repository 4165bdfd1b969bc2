import ArgumentParser
import Foundation
import Yams

/// Many pools from one file.
struct PoolCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pool", abstract: "Pools, whatever they hold.",
        subcommands: [Apply.self, PoolResolve.self])

    struct Apply: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create the rains and SKUs of a YAML file; again, it changes nothing.",
            discussion: """
                rains:
                  - {id: spring, amount: 1000000, count: 500}
                stock:
                  - {sku: phone, units: 1000, price: 299900}
                """)
        @Argument var file: String
        @Flag(help: "Only check the file.") var dryRun = false
        @OptionGroup var options: AdminOptions

        private static let common: Set<String> = [
            "opens", "closes", "limit", "slices", "durability", "regions",
        ]
        private static let keys: [String: Set<String>] = [
            "rains": common.union(["id", "amount", "count", "kind", "min", "max", "seed"]),
            "stock": common.union(["sku", "units", "price", "hold"]),
        ]

        func run() async throws {
            let pools: [(family: String, body: [String: Any])]
            do { pools = try read() } catch let error as SettingError {
                Console.note("downpour pool apply: \(error)")
                throw Exit.badInput
            }
            for (family, body) in pools {
                let name = body["id"] ?? body["sku"] ?? ""
                if dryRun {
                    Console.say("would create \(family) \(name)")
                    continue
                }
                _ = try await options.client.require("POST", "/v1/\(family)", body)
                Console.say("\(family) \(name): OK")
            }
        }

        private func read() throws -> [(family: String, body: [String: Any])] {
            guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
                throw SettingError(description: "cannot read \(file)")
            }
            let root: Node?
            do { root = try Yams.compose(yaml: text) } catch {
                throw SettingError(description: "\(file): \(error)")
            }
            guard let mapping = root?.mapping else {
                throw SettingError(description: "\(file): rains: and stock: are expected")
            }
            var pools: [(family: String, body: [String: Any])] = []
            for (key, value) in mapping {
                let line = key.mark?.line ?? 0
                guard let family = key.string, let known = Self.keys[family] else {
                    throw SettingError(
                        description: "\(file):\(line): unknown key \(key.string ?? "?")")
                }
                guard let items = value.sequence else {
                    throw SettingError(description: "\(file):\(line): \(family) is a list")
                }
                for item in items { pools.append((family, try body(item, known))) }
            }
            return pools
        }

        private func body(_ item: Node, _ known: Set<String>) throws -> [String: Any] {
            guard let fields = item.mapping else {
                throw SettingError(
                    description: "\(file):\(item.mark?.line ?? 0): a pool is a mapping")
            }
            var body: [String: Any] = [:]
            for (key, value) in fields {
                guard let name = key.string, known.contains(name) else {
                    throw SettingError(
                        description:
                            "\(file):\(key.mark?.line ?? 0): unknown key \(key.string ?? "?")")
                }
                if name == "regions" {
                    var shares: [String: Int] = [:]
                    for (region, weight) in value.mapping ?? [:] {
                        shares[region.string ?? ""] = weight.int ?? 0
                    }
                    body[name] = shares
                } else if ["id", "sku", "kind", "seed", "durability"].contains(name) {
                    body[name] = value.scalar?.string
                } else if let number = value.int {
                    body[name] = number
                } else {
                    throw SettingError(
                        description: "\(file):\(value.mark?.line ?? 0): \(name) is an integer")
                }
            }
            return body
        }
    }
}
