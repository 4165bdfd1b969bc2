/// One step of the schema. Steps are numbered from 1 without gaps and never change once released.
public struct SchemaMigration: Sendable {
    public var number: Int
    public var name: String
    /// It only adds what a release that does not know it may leave alone: nodes of the release before
    /// go on writing until they are upgraded as well. Kept in the store as a "+" before its name.
    public var isAdditive: Bool
    public var sql: String

    public init(number: Int, name: String, isAdditive: Bool = false, sql: String) {
        self.number = number
        self.name = name
        self.isAdditive = isAdditive
        self.sql = sql
    }
}

/// The schema of the SQLite store.
///
/// Amounts are fen, times Unix milliseconds. A `user` is an integer where it is at most
/// 9,223,372,036,854,775,807, and its decimal digits as text above that, so that every user of 64
/// bits is exact, unique and readable; the columns are of type ANY, which converts neither.
public enum SQLiteSchema {
    /// Marks the file as ours (`PRAGMA application_id`): "Dwnp".
    static let applicationID: Int32 = 0x4477_6e70

    public static let migrations = [
        SchemaMigration(number: 1, name: "tables", sql: pools + history + progress),
        SchemaMigration(number: 2, name: "views", sql: views),
        SchemaMigration(number: 3, name: "archive", isAdditive: true, sql: archive),
        SchemaMigration(number: 4, name: "order requests", isAdditive: true, sql: orderRequests),
    ]

    private static let pools = """
        CREATE TABLE pools (
            key INTEGER PRIMARY KEY,
            family TEXT NOT NULL,
            name TEXT NOT NULL,
            created INTEGER NOT NULL,
            control_version INTEGER NOT NULL,
            opens_at INTEGER NOT NULL,
            closes_at INTEGER NOT NULL,
            user_limit INTEGER NOT NULL,
            highest_limit INTEGER NOT NULL,
            paused INTEGER NOT NULL,
            closing INTEGER NOT NULL,
            closed INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            closed_at INTEGER NOT NULL,
            created_by TEXT NOT NULL,
            funded INTEGER NOT NULL,
            leased INTEGER NOT NULL,
            taken_back INTEGER NOT NULL,
            leases INTEGER NOT NULL,
            take_backs INTEGER NOT NULL,
            UNIQUE (family, name)
        ) STRICT;
        CREATE TABLE pool_secrets (key INTEGER PRIMARY KEY, seed TEXT NOT NULL) STRICT;
        CREATE TABLE rains (
            pool TEXT NOT NULL PRIMARY KEY,
            kind TEXT NOT NULL,
            count INTEGER NOT NULL,
            amount INTEGER NOT NULL,
            min_amount INTEGER NOT NULL,
            max_amount INTEGER NOT NULL,
            user_limit INTEGER NOT NULL,
            opens_at INTEGER,
            closes_at INTEGER,
            state TEXT NOT NULL,
            durability TEXT NOT NULL,
            slices INTEGER NOT NULL,
            regions TEXT,
            commitment TEXT NOT NULL,
            seed TEXT,
            created_at INTEGER,
            created_by TEXT,
            closed_at INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE stock (
            sku TEXT NOT NULL PRIMARY KEY,
            units INTEGER NOT NULL,
            price INTEGER NOT NULL,
            hold_ms INTEGER NOT NULL,
            user_limit INTEGER NOT NULL,
            opens_at INTEGER,
            closes_at INTEGER,
            state TEXT NOT NULL,
            durability TEXT NOT NULL,
            slices INTEGER NOT NULL,
            regions TEXT,
            created_at INTEGER,
            created_by TEXT,
            closed_at INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE slices (
            pool_key INTEGER NOT NULL,
            slice INTEGER NOT NULL,
            shard INTEGER NOT NULL,
            credited INTEGER NOT NULL,
            credits INTEGER NOT NULL,
            returned INTEGER NOT NULL,
            returns INTEGER NOT NULL,
            granted INTEGER NOT NULL,
            granted_amount INTEGER NOT NULL,
            pending INTEGER NOT NULL,
            sold INTEGER NOT NULL,
            quarantined INTEGER NOT NULL,
            sealed INTEGER NOT NULL,
            retired INTEGER NOT NULL,
            lost INTEGER NOT NULL,
            PRIMARY KEY (pool_key, slice)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX slices_by_shard ON slices (shard);

        """

    // A claim has one key and no other index: keys run on within each shard, so that inserting
    // touches few pages. An index over users would be written at random places and cost five
    // times the claim itself; a scan for one user reads some ten million claims a second.
    private static let history = """
        CREATE TABLE claims (
            grant_id INTEGER PRIMARY KEY,
            pool TEXT NOT NULL,
            user ANY NOT NULL,
            packet INTEGER NOT NULL,
            amount INTEGER NOT NULL,
            granted_at INTEGER NOT NULL,
            shard INTEGER GENERATED ALWAYS AS (grant_id >> 48) VIRTUAL,
            sequence INTEGER GENERATED ALWAYS AS (grant_id & 281474976710655) VIRTUAL
        ) STRICT;
        CREATE TABLE orders (
            order_id TEXT NOT NULL PRIMARY KEY,
            sku TEXT NOT NULL,
            slice INTEGER NOT NULL,
            user ANY NOT NULL,
            qty INTEGER NOT NULL,
            price INTEGER NOT NULL,
            state TEXT NOT NULL,
            reserved_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            paid_at INTEGER,
            ended_at INTEGER,
            payment TEXT,
            paid_fen INTEGER NOT NULL,
            refunded_fen INTEGER NOT NULL,
            restocked INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX orders_by_user ON orders (user);
        CREATE TABLE payments (
            id INTEGER PRIMARY KEY,
            order_id TEXT NOT NULL,
            payment TEXT NOT NULL,
            fen INTEGER NOT NULL,
            outcome TEXT NOT NULL CHECK (outcome IN ('captured', 'late', 'refund_due')),
            at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX payments_by_order ON payments (order_id);
        CREATE TABLE refunds (
            id INTEGER PRIMARY KEY,
            order_id TEXT NOT NULL,
            request TEXT NOT NULL,
            fen INTEGER NOT NULL,
            restocked INTEGER NOT NULL,
            at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX refunds_by_order ON refunds (order_id);
        CREATE TABLE stock_movements (
            id INTEGER PRIMARY KEY,
            sku TEXT NOT NULL,
            order_id TEXT,
            movement TEXT NOT NULL,
            units INTEGER NOT NULL,
            at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX stock_movements_by_sku ON stock_movements (sku, at);
        CREATE TABLE outbox (
            entry_id INTEGER PRIMARY KEY,
            id TEXT NOT NULL,
            type TEXT NOT NULL,
            subject TEXT NOT NULL,
            time INTEGER NOT NULL,
            data TEXT NOT NULL
        ) STRICT;

        """

    // The keyed hash of the id that a claim's request bore; null where it bore none. By it whoever
    // asks again for what has left memory hears the result of that very request.
    //
    // Claims have no index over users while they are granted; those of a slice get one when they
    // leave the nodes' memory, under the slice's first entry, sorted.
    private static let archive = """
        ALTER TABLE claims ADD COLUMN request_hash INTEGER;
        CREATE TABLE archived_slices (
            first_id INTEGER PRIMARY KEY,
            last_id INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE archived_claims (
            first_id INTEGER NOT NULL,
            user ANY NOT NULL,
            grant_id INTEGER NOT NULL,
            PRIMARY KEY (first_id, user, grant_id)
        ) STRICT, WITHOUT ROWID;

        """

    // The same of the request that made an order; null where it bore none, or where a release before
    // this one has written the order.
    private static let orderRequests = """
        ALTER TABLE orders ADD COLUMN request_hash INTEGER;

        """

    private static let progress = """
        CREATE TABLE watermarks (
            shard INTEGER PRIMARY KEY,
            epoch INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            time INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE cursors (
            lane TEXT NOT NULL PRIMARY KEY,
            segment INTEGER NOT NULL,
            offset INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        """

    private static let views = """
        CREATE VIEW v1_rains AS SELECT * FROM rains;
        CREATE VIEW v1_rain_totals AS
            SELECT r.pool, r.state, r.count, r.amount,
                coalesce(sum(s.granted), 0) AS granted,
                coalesce(sum(s.granted_amount), 0) AS granted_amount,
                r.count - coalesce(sum(s.granted + s.quarantined + s.retired), 0) AS remaining,
                r.amount - coalesce(sum(s.granted_amount), 0) AS remaining_amount,
                coalesce(sum(s.quarantined), 0) AS quarantined,
                coalesce(sum(s.retired), 0) AS retired
            FROM rains r
            JOIN pools p ON p.family = 'rain' AND p.name = r.pool
            LEFT JOIN slices s ON s.pool_key = p.key
            GROUP BY r.pool;
        CREATE VIEW v1_claims AS
            SELECT pool, user, packet, amount, granted_at, grant_id, shard, sequence FROM claims;
        CREATE VIEW v1_orders AS
            SELECT order_id, sku, user, qty, price, qty * price AS amount, state, reserved_at,
                expires_at, paid_at, ended_at, payment, paid_fen, refunded_fen, restocked
            FROM orders;
        CREATE VIEW v1_stock_totals AS
            SELECT k.sku, k.state, k.units, k.price,
                coalesce(s.pending, 0) AS pending, coalesce(s.sold, 0) AS sold,
                k.units - coalesce(s.used, 0) AS available,
                coalesce(o.paid_fen, 0) AS paid_fen,
                coalesce(o.refunded_fen, 0) AS refunded_fen,
                coalesce(s.quarantined, 0) AS quarantined,
                coalesce(s.retired, 0) AS retired
            FROM stock k
            JOIN pools p ON p.family = 'stock' AND p.name = k.sku
            LEFT JOIN (
                SELECT pool_key, sum(pending) AS pending, sum(sold) AS sold,
                    sum(quarantined) AS quarantined, sum(retired) AS retired,
                    sum(pending + sold + quarantined + retired) AS used
                FROM slices GROUP BY pool_key
            ) s ON s.pool_key = p.key
            LEFT JOIN (
                SELECT sku, sum(paid_fen) AS paid_fen, sum(refunded_fen) AS refunded_fen
                FROM orders GROUP BY sku
            ) o ON o.sku = k.sku;
        CREATE VIEW v1_users AS
            SELECT user, sum(claims) AS claims, sum(claimed) AS claimed_amount,
                sum(orders) AS orders, sum(paid) AS paid_fen, sum(refunded) AS refunded_fen
            FROM (
                SELECT user, 1 AS claims, amount AS claimed, 0 AS orders, 0 AS paid,
                    0 AS refunded
                FROM claims
                UNION ALL
                SELECT user, 0, 0, 1, paid_fen, refunded_fen FROM orders
            )
            GROUP BY user;
        CREATE VIEW v1_payments AS
            SELECT order_id, payment, fen, outcome, at FROM payments;
        CREATE VIEW v1_refunds AS
            SELECT order_id, request, fen, restocked, at FROM refunds;
        CREATE VIEW v1_stock_movements AS
            SELECT id, sku, order_id, movement, units,
                CASE movement WHEN 'reserved' THEN -units WHEN 'paid_late' THEN -units
                    WHEN 'paid' THEN 0 ELSE units END AS available_change,
                at
            FROM stock_movements;
        CREATE VIEW v1_events AS
            SELECT entry_id, json_object(
                'specversion', '1.0', 'id', id, 'source', '/downpour', 'type', type,
                'subject', subject,
                'time', strftime('%Y-%m-%dT%H:%M:%fZ', time / 1000.0, 'unixepoch'),
                'datacontenttype', 'application/json', 'data', json(data)) AS event
            FROM outbox;

        """
}
