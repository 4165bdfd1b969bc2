import EdgeLedger
import EdgeStores
import EdgeTypes
import Hummingbird

/// `/v1/audit`: the journal against the store, while the node runs.
enum AdminStore {
    static func add(to router: RouterGroup<BasicRequestContext>, _ runner: NodeRunner) {
        router.post("v1/audit") { _, _ in
            guard let store = try NodeRunner.storeURL(runner.options) else {
                throw AdminProblem(
                    status: .notFound, code: "no-store", detail: "this node has no store")
            }
            guard runner.options.cluster?.replicas == nil else {
                throw AdminProblem(
                    status: .conflict, code: "replicated",
                    detail: "one node's journal holds only what it has copies of: use "
                        + "downpour audit with the data directories of all of them")
            }
            let report = try await runner.audit(store)
            return AdminJSON.response(AuditJSON.of(report))
        }
    }
}

/// An audit's report as a value.
public enum AuditJSON {
    public static func of(_ report: AuditReport) -> Value {
        .map([
            .init("clean", .integer(report.isClean ? 1 : 0)),
            .init("claims", .integer(report.claims)),
            .init("claims_fen", .integer(report.claimsFen)),
            .init("orders", .integer(report.orders)),
            .init("payments", .integer(report.payments)),
            .init("refunds", .integer(report.refunds)),
            .init("pools", .integer(report.pools)),
            .init("mirrored_pools", .integer(report.mirroredPools)),
            .init("mirrored_slices", .integer(report.mirroredSlices)),
            .init("entries", .integer(report.entries)),
            .init("findings", .array(report.findings.map { .text($0.description) })),
        ])
    }
}
