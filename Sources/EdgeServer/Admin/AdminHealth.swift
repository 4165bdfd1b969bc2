import EdgeCore
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation
import Hummingbird

/// Health, readiness, status and metrics: open to whoever reaches the listener.
enum AdminHealth {
    static func add(to router: Router<BasicRequestContext>, _ runner: NodeRunner) {
        router.get("healthz") { _, _ in "ok\n" }
        router.get("readyz") { _, _ in
            guard runner.shared.isReadyNow else {
                throw AdminProblem(
                    status: .serviceUnavailable, code: "not-ready", detail: "draining")
            }
            return "ok\n"
        }
        router.get("openapi.yaml") { _, _ in
            Response(
                status: .ok, headers: [.contentType: "application/yaml"],
                body: .init(byteBuffer: ByteBuffer(string: AdminContract.yaml)))
        }
        router.get("metrics") { _, _ in
            let text = try await MetricsText.of(runner)
            return Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4"],
                body: .init(byteBuffer: ByteBuffer(string: text)))
        }
        router.get("v1/cluster") { _, _ in
            guard let cluster = runner.cluster else {
                throw AdminProblem(
                    status: .notFound, code: "no-cluster", detail: "this node is on its own")
            }
            return AdminJSON.response(try await cluster.status())
        }
        router.get("v1/shards") { _, _ in
            AdminJSON.response(shards(runner))
        }
        router.get("v1/status") { _, _ in
            AdminJSON.response(.map(try await status(runner)))
        }
    }

    /// Who has each shard, whoever serves it first.
    private static func shards(_ runner: NodeRunner) -> Value {
        let copies =
            runner.cluster.map { cluster in
                cluster.view.copies.map { $0.map(cluster.view.name) }
            } ?? Array(repeating: [runner.options.name], count: runner.options.shards)
        return .map([
            .init(
                "shards",
                .array(
                    copies.enumerated().map { shard, nodes in
                        .map([
                            .init("shard", .integer(Int64(shard))),
                            .init("nodes", .array(nodes.map { .text($0) })),
                        ])
                    }))
        ])
    }

    static func status(_ runner: NodeRunner) async throws -> [Value.Field] {
        var grants: UInt64 = 0
        var entries: UInt64 = 0
        var archived: (slices: UInt64, claims: UInt64, orders: UInt64) = (0, 0, 0)
        for loop in runner.loops {
            let counters = try await loop.readCounters().get()
            grants += counters.grabs[Int(Outcome.granted.rawValue)]
            entries += counters.entries
            archived.slices += counters.archivedSlices
            archived.claims += counters.archivedClaims
            archived.orders += counters.archivedOrders
        }
        var fields: [Value.Field] = [
            .init("name", .text(runner.options.name)),
            .init("ready", .integer(runner.shared.isReadyNow ? 1 : 0)),
            .init("cores", .integer(Int64(runner.loops.count))),
            .init("connections", .integer(Int64(runner.shared.connectionCount))),
            .init("granted", .integer(Int64(grants))),
            .init("entries", .integer(Int64(entries))),
            .init("archived_slices", .integer(Int64(archived.slices))),
            .init("archived_claims", .integer(Int64(archived.claims))),
            .init("archived_orders", .integer(Int64(archived.orders))),
            .init("replayed_entries", .integer(Int64(runner.replayedEntries))),
        ]
        if let store = runner.reconciler?.status {
            fields += [
                .init("store", .text(store.state.rawValue)),
                .init("lag_entries", .integer(Int64(clamping: runner.unreconciled))),
                .init("lag_ms", .integer(store.lagMs)),
                .init("applied", .integer(Int64(store.appliedEntries))),
                .init("store_error", store.lastError.map { .text($0) } ?? .null),
            ]
        }
        if let reads = runner.history?.counters {
            fields += [
                .init("reads_by_store", .integer(Int64(reads.byPrimary))),
                .init("reads_by_replicas", .integer(Int64(reads.byReplicas))),
                .init("reads_too_stale", .integer(Int64(reads.stale))),
            ]
        }
        if let redis = runner.follower?.status { fields += MetricsText.fields(redis) }
        return fields
    }
}

/// Prometheus' text format, version 0.0.4.
enum MetricsText {
    static func of(_ runner: NodeRunner) async throws -> String {
        var text = Page()
        for (core, loop) in runner.loops.enumerated() {
            let counters = try await loop.readCounters().get()
            let loopNumbers = try await loop.readStatistics().get()
            let label = "core=\"\(core)\""
            for outcome in Outcome.allCases {
                let grabs = counters.grabs[Int(outcome.rawValue)]
                let orders = counters.orders[Int(outcome.rawValue)]
                let name = "\(outcome)".lowercased()
                if outcome.rawValue <= Outcome.lost.rawValue {
                    text.add(
                        "downpour_grabs_total", "counter", "Grabs by outcome.",
                        "\(label),outcome=\"\(name)\"", Double(grabs))
                }
                text.add(
                    "downpour_order_commands_total", "counter",
                    "Reservations, payments, cancellations and refunds by outcome.",
                    "\(label),outcome=\"\(name)\"", Double(orders))
            }
            text.add(
                "downpour_orders_expired_total", "counter", "Reservations whose hold ended.",
                label, Double(counters.expiredOrders))
            text.add(
                "downpour_request_errors_total", "counter", "Requests answered with an error.",
                label, Double(counters.errors))
            text.add(
                "downpour_door_refusals_total", "counter",
                "Grabs and reservations refused without asking their slice: sold out.", label,
                Double(counters.doorRefusals))
            text.add(
                "downpour_winner_filters_asked_total", "counter",
                "Filters of winners asked of other cores and nodes.", label,
                Double(counters.winnersAsked))
            text.add(
                "downpour_winner_filters_told_total", "counter",
                "Filters of winners told to other cores and nodes.", label,
                Double(counters.winnersTold))
            text.add(
                "downpour_archived_slices_total", "counter",
                "Slices of closed rains and SKUs whose claims or orders have left memory.", label,
                Double(counters.archivedSlices))
            text.add(
                "downpour_archived_claims_total", "counter",
                "Claims that have left memory: the store has them.", label,
                Double(counters.archivedClaims))
            text.add(
                "downpour_archived_orders_total", "counter",
                "Orders that have left memory: the store has them.", label,
                Double(counters.archivedOrders))
            text.add(
                "downpour_stock_compactions_total", "counter",
                "Shards' stock books built anew without the orders that have left.", label,
                Double(counters.compactions))
            text.add(
                "downpour_recalled_orders_total", "counter",
                "Payments and refunds of orders that have left memory.", label,
                Double(counters.recalledOrders))
            text.add(
                "downpour_requests_total", "counter", "Requests that reached the core.", label,
                Double(counters.requests))
            text.add(
                "downpour_steps_total", "counter", "Steps of the core.", label,
                Double(counters.steps))
            text.add(
                "downpour_journal_entries_total", "counter", "Entries journaled.", label,
                Double(counters.entries))
            text.add(
                "downpour_journal_syncs_total", "counter", "Group commits.", label,
                Double(runner.writers[core].syncCount))
            text.add(
                "downpour_journal_backlog_bytes", "gauge", "Bytes not yet written.", label,
                Double(runner.writers[core].backlog))
            text.add(
                "downpour_journal_full", "gauge",
                "1 while new grants are refused for want of disk.",
                label, runner.writers[core].isFull ? 1 : 0)
            text.add(
                "downpour_connections", "gauge", "Client connections.", label,
                Double(loopNumbers.connections))
            text.add(
                "downpour_connections_cut_total", "counter",
                "Connections closed for not reading or for silence.", label,
                Double(loopNumbers.cutOff))
            text.add(
                "downpour_frames_dropped_total", "counter",
                "Frames between shards that found no room, and are sent again.", label,
                Double(loopNumbers.droppedFrames))
            text.add(
                "downpour_throttled_total", "counter", "Requests refused by a rate limit.", label,
                Double(loopNumbers.throttled))
        }
        addStore(runner, &text)
        if let reads = runner.history?.counters { addReads(reads, &text) }
        if let asked = runner.archive?.counters { addArchive(asked, &text) }
        if let redis = runner.follower?.status { addRedis(redis, &text) }
        if let cluster = runner.cluster { try await addCluster(cluster, &text) }
        text.add(
            "downpour_ready", "gauge", "1 while the node takes traffic.", "",
            runner.shared.isReadyNow ? 1 : 0)
        return text.rendered
    }

    private static func addReads(_ reads: HistoryPool.Counters, _ text: inout Page) {
        let by = [("store", reads.byPrimary), ("replica", reads.byReplicas)]
        for (who, count) in by {
            text.add(
                "downpour_history_reads_total", "counter",
                "Questions about the past, by who answered.", "by=\"\(who)\"", Double(count))
        }
        text.add(
            "downpour_history_stale_total", "counter",
            "Replicas of the store passed over because they were behind.", "",
            Double(reads.stale))
        text.add(
            "downpour_history_unreachable_total", "counter",
            "Replicas of the store passed over because they did not answer.", "",
            Double(reads.unreachable))
    }

    private static func addArchive(_ asked: ArchiveReader.Counters, _ text: inout Page) {
        let how = [
            ("answered", asked.answered), ("refused", asked.refused), ("failed", asked.failed),
        ]
        for (outcome, count) in how {
            text.add(
                "downpour_archive_questions_total", "counter",
                "Questions of clients that only the store could answer.",
                "outcome=\"\(outcome)\"", Double(count))
        }
    }

    private static func addStore(_ runner: NodeRunner, _ text: inout Page) {
        guard let store = runner.reconciler?.status else { return }
        text.add(
            "downpour_store_lag_entries", "gauge", "Committed entries the store lacks.", "",
            Double(runner.unreconciled))
        text.add(
            "downpour_store_lag_seconds", "gauge", "Age of the oldest of them.", "",
            Double(store.lagMs) / 1_000)
        text.add(
            "downpour_store_applied_entries_total", "counter", "Entries applied.", "",
            Double(store.appliedEntries))
        text.add(
            "downpour_store_failures_total", "counter", "Failures of the store.", "",
            Double(store.failures))
    }

    /// Samples by metric, in the order in which the metrics came up first.
    struct Page {
        private var order: [String] = []
        private var blocks: [String: String] = [:]

        mutating func add(
            _ name: String, _ kind: String, _ help: String, _ labels: String, _ value: Double
        ) {
            if blocks[name] == nil {
                order.append(name)
                blocks[name] = "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
            }
            let set = labels.isEmpty ? "" : "{\(labels)}"
            let number =
                value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
            blocks[name, default: ""] += "\(name)\(set) \(number)\n"
        }

        var rendered: String { order.compactMap { blocks[$0] }.joined() }
    }
}
