import EdgeCluster
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Logging

// Redis behind the store.
extension NodeRunner {
    /// nil where there is no Redis, or nothing that it could follow.
    static func follower(_ options: NodeOptions, _ log: Logger) throws -> RedisFollower? {
        guard let address = options.redis, let store = try storeURL(options) else { return nil }
        let placement = Placement(shards: options.shards, cores: 1)
        var settings = options.redisSettings
        // Names of nodes may hold more than a client's name.
        settings.clientName =
            "downpour-"
            + String(options.name.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })
        settings.home = { placement.home(of: $0) }
        settings.report = { problem in
            if let problem {
                log.warning("Redis does not follow the store", metadata: ["error": "\(problem)"])
            } else {
                log.info("Redis follows the store again")
            }
        }
        return RedisFollower(address, settings: settings, openSource: { try store.openRows() })
    }
}
