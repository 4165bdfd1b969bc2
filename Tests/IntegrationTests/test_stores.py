"""A cluster on MariaDB and Redis, all of which are killed while users come."""

import os
import random
import time

import pytest

from cluster import NAMES, Cluster, Crowd, free_ports
from node import downpour, eventually
from resp import Closed, Connection, Failure
from servers import MariaDB, Redis, wait_for_lag

# Rounds of kills: each kills a node, the database or Redis; more for a long run by hand.
KILLS = int(os.environ.get("DOWNPOUR_TEST_KILLS", 6))


@pytest.fixture
def maria(directory):
    server = MariaDB(directory / "maria", free_ports(1)[0]).start()
    yield server
    server.kill()


@pytest.fixture
def mirror(directory):
    server = Redis(directory / "redis", free_ports(1)[0]).start()
    yield server
    server.kill()


@pytest.fixture
def cluster(directory, make_node, maria, mirror):
    cluster = Cluster(
        directory, make_node, replicas=2, store=maria.url,
        env={"DOWNPOUR_REDIS_URL": mirror.url})
    cluster.start()
    cluster.wait_settled()
    return cluster


def told(crowd):
    for one in crowd:
        one.ends = True
    for one in crowd:
        one.join(60)
        assert one.problem is None, repr(one.problem)
    return {user: prize for one in crowd for user, prize in one.told.items() if prize}


def audit(cluster, maria, mirror):
    """Journals, database and Redis, as of one moment, whether or not the nodes run."""
    data = [word for node in cluster.nodes.values() for word in ("--data", node.data)]
    answer = downpour(
        "audit", *data, "--store", maria.url, "--redis", mirror.url, timeout=120)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


class Buyers(Crowd):
    """Users who reserve a unit, and pay for most of them."""

    def grab(self, user):
        order = self.insist("STOCK.RESERVE", "sku", user, 1, "r")
        assert order[0] in ("reserved", "repeat"), order
        if user % 4 == 0:
            return [order[1], "reserved"]
        paid = self.insist("ORDER.PAY", order[1], f"pay-{user}", 500)
        assert paid[0] in ("paid", "repeat"), paid
        return [order[1], "paid"]

    def insist(self, *words):
        while True:
            port = self.cluster.ports[self.random.choice(self.cluster.names)]["resp"]
            try:
                return Connection(port, timeout=5).call(*words)
            except Failure as failure:
                assert failure.code in ("TRYAGAIN", "UNKNOWN"), failure.text
            except (OSError, Closed):
                pass


def test_everything_arrives_once_whoever_is_killed(cluster, maria, mirror):
    packets, units = 1_000_000, 200_000
    operator = cluster.nodes["n1"].resp()
    operator.call(f"RAIN.CREATE rain AMOUNT {packets * 100} COUNT {packets} SLICES 32")
    operator.call(f"STOCK.CREATE sku UNITS {units} LIMIT 1 PRICE 500 SLICES 8 HOLD 3600")
    crowd = [Crowd(cluster, number) for number in range(1, 4)]
    buyers = [Buyers(cluster, number) for number in range(10, 12)]
    for one in crowd + buyers:
        one.start()
    draw = random.Random(11)
    for number in range(KILLS):
        time.sleep(0.3 + draw.random())
        victim = (maria, mirror, cluster.nodes[draw.choice(NAMES)])[number % 3]
        victim.kill()
        time.sleep(2 * draw.random())
        victim.start()
        if number % 3 == 2:
            cluster.wait_settled()
    # While everybody goes on.
    for _ in range(3):
        assert "clean" in audit(cluster, maria, mirror)
    prizes, orders = told(crowd), told(buyers)
    assert len(prizes) > 50 * KILLS and len(orders) > 10 * KILLS
    wait_for_lag(cluster.nodes.values())

    assert len({packet for _, packet in prizes.values()}) == len(prizes)
    rows = maria.sql("SELECT user, packet, amount FROM claims", "dp")
    stored = {int(user): [int(fen), int(packet)] for user, packet, fen in rows}
    assert len(stored) == len(rows), "a user has two claims"
    assert all(stored[user] == prize for user, prize in prizes.items())
    states = {order: state for order, state in
              maria.sql("SELECT order_id, state FROM orders", "dp")}
    assert all(states[order] == state for order, state in orders.values())
    paid = sum(state == "paid" for _, state in orders.values())
    assert maria.number_of("SELECT count(*) FROM payments") >= paid
    assert maria.number_of("SELECT count(*) - count(DISTINCT order_id) FROM payments") == 0
    # Redis shows the same totals, and each event at least once.
    rain = mirror.client.hgetall("downpour:rain:rain")
    assert int(rain["granted"]) == len(stored)
    assert int(rain["granted_fen"]) == sum(fen for fen, _ in stored.values())
    stock = mirror.client.hgetall("downpour:stock:sku")
    assert int(stock["sold"]) == sum(state == "paid" for state in states.values())
    assert int(stock["pending"]) == sum(state == "reserved" for state in states.values())
    assert int(stock["available"]) == units - len(states)
    published = {fields["id"] for _, fields in mirror.client.xrange("downpour:events")}
    wanted = {one[0] for one in maria.sql("SELECT id FROM outbox", "dp")}
    assert wanted <= published
    for node in cluster.nodes.values():
        assert node.stop(60) == 0
    print(audit(cluster, maria, mirror), len(prizes), "grabs,", len(orders), "orders")


def test_a_database_that_is_restored_is_fed_again(cluster, maria, mirror):
    operator = cluster.nodes["n1"].resp()
    operator.call("RAIN.CREATE rain AMOUNT 1000000 COUNT 10000 SLICES 16")
    for user in range(500):
        operator.call("RAIN.GRAB", "rain", user)
    wait_for_lag(cluster.nodes.values())
    tables = "claims slices pools watermarks cursors rains orders outbox"
    backup = {table: maria.sql(f"SELECT * FROM {table}", "dp") for table in tables.split()}
    maria.sql("; ".join(
        f"CREATE TABLE kept_{table} AS SELECT * FROM {table}" for table in tables.split()), "dp")
    for user in range(500, 2000):
        operator.call("RAIN.GRAB", "rain", user)
    wait_for_lag(cluster.nodes.values())
    assert maria.number_of("SELECT count(*) FROM claims") == 2000
    # What a backup brings back, with nobody's help and while nobody asks for anything.
    statements = []
    for table in backup:
        columns = ", ".join(
            f"`{one[0]}`" for one in maria.sql(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = 'dp' "
                f"AND table_name = '{table}' AND extra NOT LIKE '%GENERATED%'"))
        statements += [f"DELETE FROM {table}",
                       f"INSERT INTO {table} ({columns}) SELECT {columns} FROM kept_{table}"]
    maria.sql("START TRANSACTION; " + "; ".join(statements) + "; COMMIT", "dp")
    assert maria.number_of("SELECT count(*) FROM claims") == 500
    eventually(lambda: maria.number_of("SELECT count(*) FROM claims") == 2000, 30,
               "the claims that the backup lacks")
    assert maria.number_of("SELECT count(DISTINCT packet) FROM claims") == 2000
    wait_for_lag(cluster.nodes.values())
    for node in cluster.nodes.values():
        assert node.stop(60) == 0
    audit(cluster, maria, mirror)


@pytest.fixture
def pair(directory):
    """A primary and a replica of it."""
    ports = free_ports(2)
    primary = MariaDB(directory / "primary", ports[0], 1).start()
    replica = MariaDB(directory / "replica", ports[1], 2, ["--log-slave-updates"]).start()
    replica.follow(primary)
    yield primary, replica
    primary.kill()
    replica.kill()


def claims_of(node, user, *seen):
    query = "&".join(["count=10", *(f"seen={one}" for one in seen)])
    answer = node.request("GET", f"/v1/users/{user}/claims?{query}", listener="admin")
    assert answer.status == 200, answer.body
    return answer.json()["claims"]


def answered_by(node):
    told = node.request("GET", "/v1/status", listener="admin").json()
    return told["readsByStore"], told["readsByReplicas"], told["readsTooStale"]


def test_replicas_answer_what_is_past_and_never_what_is_too_old(pair, start_node):
    primary, replica = pair
    node = start_node(env={
        # Whichever of the two may be written.
        "DOWNPOUR_STORE_URL": f"mysql://dp:secret@127.0.0.1:{primary.port},"
                              f"127.0.0.1:{replica.port}/dp",
        "DOWNPOUR_STORE_READ_URL": replica.url})
    app = node.resp()
    app.call("RAIN.CREATE rain AMOUNT 1000000 COUNT 10000 SLICES 4")
    for user in range(1, 200):
        app.call("RAIN.GRAB", "rain", user)

    def stored(server, count):
        return lambda: server.number_of("SELECT count(*) FROM claims") == count
    eventually(stored(replica, 199), 30, "the replica's claims")
    assert [one["fen"] for one in claims_of(node, 7)] == [app.call("RAIN.GRAB rain 7")[1]]
    assert answered_by(node)[1] >= 1

    # A replica that has stopped is too old once it is behind, or behind what the caller knows.
    replica.sql("STOP SLAVE")
    for user in range(200, 300):
        app.call("RAIN.GRAB", "rain", user)
    eventually(stored(primary, 299), 30, "the primary's claims")
    shard, sequence = primary.sql(
        "SELECT shard, sequence FROM claims WHERE user = 250", "dp")[0]
    assert len(claims_of(node, 250, f"{shard}-{sequence}")) == 1
    assert answered_by(node)[2] >= 1
    eventually(lambda: len(claims_of(node, 250)) == 1, 10, "a fresh answer")
    later = node.request(
        "GET", f"/v1/users/250/claims?seen={shard}-{int(sequence) + 1000000}", listener="admin")
    assert later.status == 503
    replica.sql("START SLAVE")
    eventually(stored(replica, 299), 30, "the replica's claims")
    before = answered_by(node)[1]
    eventually(lambda: claims_of(node, 250, f"{shard}-{sequence}")
               and answered_by(node)[1] > before, 10, "an answer of the replica")

    # The primary dies: questions go on, and so does everything once the replica is promoted.
    primary.kill()
    assert len(claims_of(node, 7)) == 1
    for user in range(300, 400):
        app.call("RAIN.GRAB", "rain", user)
    replica.sql("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0")
    eventually(stored(replica, 399), 60, "what was granted meanwhile")
    assert len(claims_of(node, 350)) == 1
    assert replica.number_of("SELECT count(DISTINCT packet) FROM claims") == 399
    assert node.stop() == 0


def test_a_replica_that_lagged_and_was_promoted_is_fed_again(pair, start_node):
    primary, replica = pair
    node = start_node(env={
        "DOWNPOUR_STORE_URL": f"mysql://dp:secret@127.0.0.1:{primary.port},"
                              f"127.0.0.1:{replica.port}/dp"})
    app = node.resp()
    app.call("RAIN.CREATE rain AMOUNT 1000000 COUNT 10000 SLICES 4")
    for user in range(100):
        app.call("RAIN.GRAB", "rain", user)
    eventually(lambda: replica.number_of("SELECT count(*) FROM claims") == 100, 30, "claims")
    replica.sql("STOP SLAVE")
    for user in range(100, 500):
        app.call("RAIN.GRAB", "rain", user)
    eventually(lambda: primary.number_of("SELECT count(*) FROM claims") == 500, 30, "claims")
    primary.kill()
    replica.sql("RESET SLAVE ALL; SET GLOBAL read_only = 0")
    assert replica.number_of("SELECT count(*) FROM claims") == 100
    eventually(lambda: replica.number_of("SELECT count(*) FROM claims") == 500, 60,
               "the claims that the replica never had")
    assert node.stop() == 0
    answer = downpour("audit", "--data", node.data, "--store", replica.url)
    assert answer.returncode == 0, answer.stdout + answer.stderr
