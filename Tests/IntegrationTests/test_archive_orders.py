"""Orders of closed SKUs leave memory once the store has them: everybody hears what they heard
before, and payments and refunds that come later end as they always do."""

import os
import signal
import time

import pytest

from cluster import NAMES, Cluster, free_ports
from node import downpour, eventually
from resp import Failure, encode
from servers import MariaDB

ARCHIVE = {"DOWNPOUR_ARCHIVE_ORDERS_AFTER": "500ms"}
USERS, PRICE = 60, 100


@pytest.fixture
def maria(directory):
    server = MariaDB(directory / "maria", free_ports(1)[0]).start()
    yield server
    server.kill()


def status(node):
    return node.request("GET", "/v1/status", listener="admin").json()


def archived(nodes):
    return sum(status(node)["archivedOrders"] for node in nodes)


def ask(connection, *words):
    """What is told in the end: a store may have to catch up first."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return connection.call(*words)
        except Failure as failure:
            if failure.code not in ("TRYAGAIN", "UNKNOWN"):
                raise
            assert time.monotonic() < deadline, f"{words} is never answered: {failure.text}"
        time.sleep(0.02)


def sell(connection, sku, slices=4, users=USERS):
    """Orders of every kind, by user: bought, twice paid for, cancelled, expired, given back."""
    connection.call(f"STOCK.CREATE {sku} UNITS {users * 4} PRICE {PRICE} LIMIT 3 HOLD 1 "
                    f"SLICES {slices}")
    orders = {}
    for user in range(users):
        orders[user] = connection.call("STOCK.RESERVE", sku, user, 2, f"r{user}")[1]
        if user % 4 == 0:
            assert connection.call("ORDER.CANCEL", orders[user]) == ["cancelled"]
        elif user % 4 != 1:
            assert connection.call("ORDER.PAY", orders[user], f"p{user}") == ["paid"]
            connection.call("STOCK.RESERVE", sku, user, 1, f"again{user}")
        if user % 4 == 2:
            assert connection.call("ORDER.PAY", orders[user], f"q{user}") == ["refund"]
            assert connection.call(
                "ORDER.REFUND", orders[user], "first", 60, "RESTOCK", 1) == ["refunded"]
    # Holds end.
    eventually(lambda: dict_of(connection.call("STOCK.INFO", sku))["pending"] == 0, 10, "the holds")
    return orders


def dict_of(flat):
    return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2]))


def heard(node, sku, orders):
    """All that is told of a closed SKU's orders and changes none of them, over both protocols."""
    told = {}
    with node.resp() as connection:
        for user, order in orders.items():
            told[user] = [
                ask(connection, "STOCK.ORDERS", sku, user),
                ask(connection, "STOCK.RESERVE", sku, user, 2, f"r{user}"),
                ask(connection, "STOCK.RESERVE", sku, user, 1, f"new{user}"),
                ask(connection, "ORDER.INFO", order),
                ask(connection, "ORDER.CANCEL", order) if user % 4 else None]
            with pytest.raises(Failure, match="MISMATCH"):
                connection.call("STOCK.RESERVE", sku, user, 1, f"r{user}")
            if user % 4 > 1:
                told[user].append(ask(connection, "ORDER.PAY", order, f"p{user}"))
            if user % 4 == 2:
                told[user] += [
                    ask(connection, "ORDER.PAY", order, f"q{user}"),
                    ask(connection, "ORDER.REFUND", order, "first", 60, "RESTOCK", 1)]
            if user % 10:
                continue
            rows = node.as_user(user, "GET", f"/v1/stock/{sku}/orders").json()
            one = node.as_user(user, "GET", f"/v1/orders/{order}").json()
            again = node.as_user(user, "POST", f"/v1/stock/{sku}/reserve",
                                 {"Idempotency-Key": f"r{user}"}, {"qty": 2}).json()
            for answer in (rows, one, again):
                answer.pop("now", None)
            assert node.as_user(user + 1, "GET", f"/v1/orders/{order}").status == 404
            told[user] += [rows, one, again]
    return told


@pytest.mark.parametrize("kind", ["sqlite", "maria"])
def test_a_closed_sku_is_the_same_from_the_store(request, directory, make_node, kind):
    env = dict(ARCHIVE)
    if kind == "maria":
        env["DOWNPOUR_STORE_URL"] = request.getfixturevalue("maria").url
    node = make_node(env=env).start()
    connection = node.resp()
    orders = sell(connection, "one")
    other = sell(connection, "open")
    connection.call("STOCK.CLOSE one")
    before = heard(node, "one", orders)
    still = heard(node, "open", other)
    info = {**dict_of(connection.call("STOCK.INFO", "one")), "archived": 4}
    count = sum(len(told[0]) for told in before.values())
    assert before[2][1][:1] == ["repeat"] and before[2][2][0] == "closed"
    eventually(lambda: archived([node]) == count, 30, "the archive")

    def same(node):
        assert heard(node, "one", orders) == before
        assert dict_of(node.resp().call("STOCK.INFO", "one")) == info
        told = heard(node, "open", other)
        for user, lines in told.items():
            # Those whom the limit lets have another one have had it meanwhile.
            assert lines[1] == still[user][1] and lines[3] == still[user][3]
    same(node)
    with pytest.raises(Failure, match="BADARG"):
        connection.call("STOCK.RESERVE", "one", 1, 0, "r1")
    # An order that never was.
    with pytest.raises(Failure, match="NOORDER"):
        connection.call("ORDER.INFO", orders[1][:-4] + "zzzz")
    text = node.request("GET", "/metrics", listener="admin").body.decode()
    assert "downpour_archived_orders_total" in text
    # From the journal, and from snapshots after a clean stop.
    node.kill()
    node.start()
    same(node)
    assert node.stop() == 0
    node.start()
    same(node)
    assert node.stop() == 0
    store = env.get("DOWNPOUR_STORE_URL", f"sqlite:{node.data}/store.sqlite")
    audit = downpour("audit", "--data", node.data, "--store", store)
    assert audit.returncode == 0, audit.stdout + audit.stderr


@pytest.mark.parametrize("kind", ["sqlite", "maria"])
def test_late_payments_and_refunds_end_once(request, directory, make_node, kind):
    env = dict(ARCHIVE)
    if kind == "maria":
        env["DOWNPOUR_STORE_URL"] = request.getfixturevalue("maria").url
    node = make_node(env=env).start()
    connection = node.resp()
    orders = sell(connection, "sku", slices=2)
    connection.call("STOCK.CLOSE sku")
    eventually(lambda: archived([node]) >= USERS, 30, "the archive")
    info = dict_of(connection.call("STOCK.INFO", "sku"))
    cancelled, expired, back, bought = orders[0], orders[1], orders[2], orders[3]

    def settle():
        for order in (cancelled, expired, bought):
            assert ask(connection, "ORDER.PAY", order, "late", 2 * PRICE) == ["refund"]
            assert ask(connection, "ORDER.PAY", order, "late", 2 * PRICE) == ["refund"]
            with pytest.raises(Failure, match="MISMATCH"):
                ask(connection, "ORDER.PAY", order, "other", PRICE)
        assert ask(connection, "ORDER.PAY", bought, "p3") == ["repeat"]
    settle()
    assert ask(connection, "ORDER.REFUND", bought, "x", 150, "RESTOCK", 1) == ["refunded"]
    assert ask(connection, "ORDER.REFUND", bought, "x", 150, "RESTOCK", 1) == ["repeat"]
    # Killed with the refund in the journal, and perhaps not in the store.
    assert ask(connection, "ORDER.REFUND", back, "second", 100) == ["refunded"]
    node.signal(signal.SIGKILL)
    node.wait()
    node.start()
    connection = node.resp()
    settle()
    assert ask(connection, "ORDER.REFUND", back, "second", 100) == ["repeat"]
    for words in (("x", 149), ("y", 51), ("y", 10, "RESTOCK", 2), ("y", 0)):
        with pytest.raises(Failure, match="MISMATCH|BADARG"):
            ask(connection, "ORDER.REFUND", bought, *words)
    with pytest.raises(Failure, match="BADARG"):
        ask(connection, "ORDER.REFUND", cancelled, "y", 1)
    assert ask(connection, "ORDER.REFUND", bought, "y", 50) == ["refunded"]
    assert dict_of(ask(connection, "ORDER.INFO", bought))["state"] == "refunded"
    # What was put back is for nobody: operators take it out.
    after = dict_of(connection.call("STOCK.INFO", "sku"))
    assert after["sold"] == info["sold"] - 1 and after["quarantined"] == info["quarantined"] + 1
    assert node.stop() == 0
    store = env.get("DOWNPOUR_STORE_URL", f"sqlite:{node.data}/store.sqlite")
    audit = downpour("audit", "--data", node.data, "--store", store)
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_while_the_store_is_down_nothing_is_decided(make_node, maria):
    node = make_node(env={**ARCHIVE, "DOWNPOUR_STORE_URL": maria.url}).start()
    connection = node.resp()
    orders = sell(connection, "sku", slices=1, users=8)
    connection.call("STOCK.CREATE open UNITS 10 PRICE 1")
    connection.call("STOCK.CLOSE sku")
    eventually(lambda: archived([node]) >= 8, 30, "the archive")
    maria.kill()
    for words in (("STOCK.ORDERS", "sku", 3), ("STOCK.RESERVE", "sku", 3, 2, "r3"),
                  ("ORDER.INFO", orders[3]), ("ORDER.CANCEL", orders[3]),
                  ("ORDER.PAY", orders[3], "late"), ("ORDER.REFUND", orders[3], "x", 1)):
        with pytest.raises(Failure, match="TRYAGAIN.*store"):
            connection.call(*words)
    for path in ("/v1/stock/sku/orders", f"/v1/orders/{orders[3]}"):
        answer = node.as_user(3, "GET", path)
        assert answer.status == 503 and "store" in answer.json()["detail"]
        assert "Retry-After" in answer.headers
    # Nobody else notices.
    assert connection.call("STOCK.RESERVE", "open", 1, 1, "a")[0] == "reserved"
    maria.start()
    assert ask(connection, "ORDER.PAY", orders[3], "late") == ["refund"]
    assert ask(connection, "ORDER.PAY", orders[3], "late") == ["refund"]
    assert ask(connection, "ORDER.PAY", orders[3], "p3") == ["repeat"]
    assert maria.number_of("SELECT count(*) FROM payments WHERE payment = 'late'") == 1


def test_while_the_store_hangs_nobody_is_taken_who_would_only_wait(make_node, maria):
    node = make_node(env={**ARCHIVE, "DOWNPOUR_STORE_URL": maria.url}).start()
    orders = sell(node.resp(), "sku", slices=1, users=8)
    node.resp().call("STOCK.CLOSE sku")
    eventually(lambda: archived([node]) >= 8, 30, "the archive")
    waiting = []

    def refused():
        """One more asks; whether somebody was sent away."""
        waiting.append(node.resp())
        waiting[-1].send(encode("ORDER.INFO", orders[3]))
        text = node.request("GET", "/metrics", listener="admin").body.decode()
        return 'downpour_archive_questions_total{outcome="refused"} 0' not in text
    maria.process.send_signal(signal.SIGSTOP)
    try:
        eventually(refused, 30, "the first who is not taken")
        with pytest.raises(Failure, match="TRYAGAIN.*too long"):
            node.resp().call("ORDER.INFO", orders[3])
    finally:
        maria.process.send_signal(signal.SIGCONT)
    told = set()
    for one in waiting:
        answer = one.read()
        told.add(answer.code if isinstance(answer, Failure) else dict_of(answer)["state"])
    assert told == {"paid", "TRYAGAIN"}


def test_any_node_of_a_cluster_answers_and_pays(directory, make_node, maria):
    cluster = Cluster(directory, make_node, replicas=2, store=maria.url, env=ARCHIVE)
    cluster.start()
    cluster.wait_settled()
    connection = cluster.nodes["n1"].resp()
    orders = sell(connection, "sku", slices=8)
    connection.call("STOCK.CLOSE sku")
    told = {user: [ask(connection, "STOCK.ORDERS", "sku", user),
                   ask(connection, "ORDER.INFO", order)] for user, order in orders.items()}
    count = sum(len(rows) for rows, _ in told.values())
    # Each slice at its primary and at its backup.
    eventually(lambda: archived(cluster.nodes.values()) == 2 * count, 30, "the archive")

    def same(names, late):
        for user, order in orders.items():
            with cluster.nodes[names[user % len(names)]].resp() as one:
                assert ask(one, "STOCK.ORDERS", "sku", user) == told[user][0]
                assert ask(one, "ORDER.INFO", order) == told[user][1]
                assert ask(one, "ORDER.PAY", order, late) == ["refund"]
            with cluster.nodes[names[(user + 1) % len(names)]].resp() as one:
                assert ask(one, "ORDER.PAY", order, late) == ["refund"]
                if user % 4 == 3:
                    assert ask(one, "ORDER.PAY", order, f"p{user}") == ["repeat"]
    same(NAMES, "late")
    cluster.nodes["n2"].signal(signal.SIGKILL)
    cluster.nodes["n2"].wait()
    same(["n1", "n3"], "late")
    same(["n1", "n3"], "later")
    cluster.nodes["n2"].start()
    cluster.wait_settled()
    same(NAMES, "later")
    for node in cluster.nodes.values():
        assert node.stop(60) == 0
    data = [word for node in cluster.nodes.values() for word in ("--data", node.data)]
    audit = downpour("audit", *data, "--store", maria.url, timeout=120)
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_memory_goes_back_to_the_system(make_node, maria):
    """Many orders of one SKU, some 150 bytes each: most of that leaves the process.

    Not SQLite: the cache of its pages, 16 MB, fills up meanwhile."""
    count = int(os.environ.get("DOWNPOUR_TEST_ARCHIVED_ORDERS", 300_000))
    node = make_node(
        "--cores", "1", env={**ARCHIVE, "DOWNPOUR_STORE_URL": maria.url}).start()
    connection = node.resp()
    connection.call(f"STOCK.CREATE big UNITS {count} SLICES 4 HOLD 3600")

    def resident():
        with open(f"/proc/{node.process.pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("Rss"))
    empty = resident()
    first = None
    for start in range(0, count, 1_000):
        for user in range(start, start + 1_000):
            connection.send(encode("STOCK.RESERVE", "big", user, 1, f"r{user}"))
        answers = [connection.read() for _ in range(1_000)]
        assert all(one[0] == "reserved" for one in answers)
        first = first or answers[0][1]
        for number, one in enumerate(answers):
            connection.send(encode("ORDER.PAY", one[1], f"payment-{start + number}"))
        assert all(connection.read() == ["paid"] for _ in range(1_000))
    full = resident()
    connection.call("STOCK.CLOSE", "big")
    eventually(lambda: archived([node]) == count, 180, "the archive")

    def given_back():
        return full - resident() >= count * 75
    eventually(given_back, 30, f"memory ({empty >> 10}, {full >> 10}, {resident() >> 10} KiB)")
    print(f"{empty >> 10} KiB empty, {full >> 10} full, {resident() >> 10} archived")
    assert ask(connection, "STOCK.RESERVE", "big", 7, 1, "r7")[0] == "repeat"
    assert ask(connection, "ORDER.PAY", first, "payment-0") == ["repeat"]
