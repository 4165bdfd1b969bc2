/// What finance and other services read. The same names and columns as SQLite's.
///
/// With the rights of whoever asks: a view of a user who was dropped would be of no use.
enum MySQLViews {
    static let statements = all.map { name, sql in
        "CREATE OR REPLACE SQL SECURITY INVOKER VIEW `\(name)` AS \(sql)"
    }

    static let names = all.map(\.0)

    private static let all = [
        ("v1_rains", "SELECT * FROM rains"),
        ("v1_rain_totals", rainTotals),
        (
            "v1_claims",
            "SELECT pool, `user`, packet, amount, granted_at, grant_id, shard, sequence FROM claims"
        ),
        (
            "v1_orders",
            """
            SELECT order_id, sku, `user`, qty, price, qty * price AS amount, state, reserved_at,
                expires_at, paid_at, ended_at, payment, paid_fen, refunded_fen, restocked
            FROM orders
            """
        ),
        ("v1_stock_totals", stockTotals),
        ("v1_users", users),
        ("v1_payments", "SELECT order_id, payment, fen, outcome, at FROM payments"),
        ("v1_refunds", "SELECT order_id, request, fen, restocked, at FROM refunds"),
        ("v1_events", events),
        ("v1_stock_movements", movements),
    ]

    // Sums are made before anything is joined: every server's rules on groups take that.
    private static let sums = """
        SELECT pool_key, sum(granted) AS granted, sum(granted_amount) AS granted_amount,
            sum(pending) AS pending, sum(sold) AS sold, sum(quarantined) AS quarantined,
            sum(retired) AS retired
        FROM slices GROUP BY pool_key
        """

    private static let rainTotals = """
        SELECT r.pool, r.state, r.count, r.amount,
            coalesce(s.granted, 0) AS granted,
            coalesce(s.granted_amount, 0) AS granted_amount,
            r.count - coalesce(s.granted + s.quarantined + s.retired, 0) AS remaining,
            r.amount - coalesce(s.granted_amount, 0) AS remaining_amount,
            coalesce(s.quarantined, 0) AS quarantined,
            coalesce(s.retired, 0) AS retired
        FROM rains r
        JOIN pools p ON p.family = 'rain' AND p.name = r.pool
        LEFT JOIN (\(sums)) s ON s.pool_key = p.`key`
        """

    private static let stockTotals = """
        SELECT k.sku, k.state, k.units, k.price,
            coalesce(s.pending, 0) AS pending, coalesce(s.sold, 0) AS sold,
            k.units - coalesce(s.pending + s.sold + s.quarantined + s.retired, 0) AS available,
            coalesce(o.paid_fen, 0) AS paid_fen,
            coalesce(o.refunded_fen, 0) AS refunded_fen,
            coalesce(s.quarantined, 0) AS quarantined,
            coalesce(s.retired, 0) AS retired
        FROM stock k
        JOIN pools p ON p.family = 'stock' AND p.name = k.sku
        LEFT JOIN (\(sums)) s ON s.pool_key = p.`key`
        LEFT JOIN (
            SELECT sku, sum(paid_fen) AS paid_fen, sum(refunded_fen) AS refunded_fen
            FROM orders GROUP BY sku
        ) o ON o.sku = k.sku
        """

    private static let users = """
        SELECT `user`, sum(claims) AS claims, sum(claimed) AS claimed_amount,
            sum(orders) AS orders, sum(paid) AS paid_fen, sum(refunded) AS refunded_fen
        FROM (
            SELECT `user`, 1 AS claims, amount AS claimed, 0 AS orders, 0 AS paid, 0 AS refunded
            FROM claims
            UNION ALL
            SELECT `user`, 0, 0, 1, paid_fen, refunded_fen FROM orders
        ) a
        GROUP BY `user`
        """

    // The time is reckoned without the session's zone.
    private static let events = """
        SELECT entry_id, json_object(
            'specversion', '1.0', 'id', id, 'source', '/downpour', 'type', type,
            'subject', subject,
            'time', concat(left(date_format(
                timestampadd(MICROSECOND, `time` * 1000, '1970-01-01 00:00:00'),
                '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z'),
            'datacontenttype', 'application/json', 'data', json_extract(data, '$')) AS event
        FROM outbox
        """

    private static let movements = """
        SELECT id, sku, order_id, movement, units,
            CASE movement WHEN 'reserved' THEN -units WHEN 'paid_late' THEN -units
                WHEN 'paid' THEN 0 ELSE units END AS available_change,
            at
        FROM stock_movements
        """
}
