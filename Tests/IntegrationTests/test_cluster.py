"""Three real nodes that are one cluster: any node answers any client."""

import json
import os
import random
import threading

import pytest

from cluster import KEY, NAMES, Cluster, Crowd, rows
from node import downpour, eventually
from resp import Failure, encode

# Nodes killed in a row while users come; more for a long run by hand.
KILLS = int(os.environ.get("DOWNPOUR_TEST_KILLS", 3))
OTHER = "ffeeddccbbaa99887766554433221100" * 2


@pytest.fixture
def cluster(directory, make_node):
    return Cluster(directory, make_node).start()


def test_any_node_answers_any_client(cluster):
    first, second, third = (cluster.nodes[name].resp() for name in NAMES)
    first.call("RAIN.CREATE rain AMOUNT 300000 COUNT 300 SLICES 16")
    told = {}
    for user in range(150):
        connection = (first, second, third)[user % 3]
        outcome, fen, packet, _ = connection.call("RAIN.GRAB", "rain", user)
        assert outcome == "granted"
        told[user] = (packet, fen)
    # Whoever asks again hears the same, at whichever node.
    for user, (packet, fen) in told.items():
        outcome, again, place, _ = (second, third, first)[user % 3].call("RAIN.GRAB", "rain", user)
        assert (outcome, place, again) == ("repeat", packet, fen)
        assert third.call("RAIN.CLAIMS", "rain", user)[0][:2] == [packet, fen]
    assert len({packet for packet, _ in told.values()}) == 150
    info = second.mapping("RAIN.INFO rain")
    assert int(info["granted"]) == 150
    assert int(info["granted_fen"]) == sum(fen for _, fen in told.values())
    # All shards are told of, and more than one node has some of the pool's.
    owners = {one["node"] for one in rows(third, "SHARDS")}
    assert owners == set(NAMES)
    assert {one["name"]: one["state"] for one in rows(first, "NODES")} == dict.fromkeys(
        NAMES, "alive")


def test_orders_and_operators_commands_reach_their_shards(cluster):
    first, second, third = (cluster.nodes[name].resp() for name in NAMES)
    second.call("STOCK.CREATE sku UNITS 12 LIMIT 2 PRICE 500 HOLD 60 SLICES 4")
    orders = []
    for user in range(4):
        outcome, order, _ = third.call("STOCK.RESERVE", "sku", user, 1, f"r{user}")
        assert outcome == "reserved"
        orders.append(order)
    for place, order in enumerate(orders[:2]):
        assert (first, second)[place].call("ORDER.PAY", order, "pay", 500)[0] == "paid"
        assert third.call("ORDER.PAY", order, "pay", 500)[0] == "repeat"
    assert first.call("ORDER.CANCEL", orders[2])[0] == "cancelled"
    first.call("STOCK.REFILL sku 8 refill-1")
    third.call("STOCK.PAUSE sku")
    for connection in (first, second, third):
        assert connection.call("STOCK.RESERVE", "sku", 9, 1, "r9")[0] == "paused"
    second.call("STOCK.RESUME sku")
    info = first.mapping("STOCK.INFO sku")
    assert (int(info["units"]), int(info["sold"]), int(info["pending"])) == (20, 2, 1)
    for connection in (first, second, third):
        with pytest.raises(Failure, match="NOSTOCK"):
            connection.call("STOCK.RESERVE nothing 1 1 r")
        with pytest.raises(Failure, match="NORAIN"):
            connection.call("RAIN.GRAB nothing 1")


def test_every_operators_command_can_be_given_to_any_node(cluster):
    connections = [cluster.nodes[name].resp() for name in NAMES]
    connections[0].call("RAIN.CREATE rain AMOUNT 30000 COUNT 30 LIMIT 2 SLICES 5")
    connections[1].call("STOCK.CREATE sku UNITS 30 PRICE 100 SLICES 5")
    for place, connection in enumerate(connections):
        connection.call("RAIN.CREATE rain AMOUNT 30000 COUNT 30 LIMIT 2 SLICES 5")
        for family, pool in (("RAIN", "rain"), ("STOCK", "sku")):
            for command in ("WARM", "PAUSE", "RESUME"):
                assert connection.call(f"{family}.{command} {pool}") == "OK"
            assert connection.call(f"{family}.ALTER {pool} alter-{place} LIMIT 3") == "OK"
            assert connection.mapping(f"{family}.INFO {pool}")["limit"] == 3
            assert connection.call(f"{family}.LIST")[1] == [pool]
        assert connection.call(f"STOCK.REFILL sku 1 refill-{place}") == "OK"
        outcome, order, _ = connection.call("STOCK.RESERVE", "sku", place, 1, "r")
        assert outcome == "reserved"
        for other in connections:
            assert other.mapping("ORDER.INFO", order)["state"] in ("reserved", "paid")
            assert other.call("STOCK.ORDERS", "sku", place)[0][0] == order
            assert other.call("ORDER.PAY", order, "p", 100)[0] in ("paid", "repeat")
            assert other.call("ORDER.REFUND", order, "f", 10)[0] in ("refunded", "repeat")
        with pytest.raises(Failure, match="EXISTS"):
            connection.call("RAIN.CREATE rain AMOUNT 30001 COUNT 30")
    for connection in connections:
        assert connection.call("RAIN.CLOSE rain") == "OK"
        assert connection.call("STOCK.CLOSE sku") == "OK"


def test_the_admin_api_of_any_node_answers_for_all(cluster):
    first = cluster.nodes["n1"].resp()
    for number in range(12):
        first.call(f"RAIN.CREATE rain-{number} AMOUNT 1000 COUNT 10")
        first.call(f"STOCK.CREATE sku-{number} UNITS 10")
    for node in cluster.nodes.values():
        for number in range(12):
            for path in (f"/v1/rains/rain-{number}", f"/v1/stock/sku-{number}"):
                answer = node.request("GET", path, listener="admin")
                assert answer.status == 200, (path, answer.body)
            for action in ("pause", "resume", "warm"):
                answer = node.request("POST", f"/v1/rains/rain-{number}/{action}",
                                      listener="admin")
                assert answer.status == 200, (action, answer.body)
        assert node.request("GET", "/v1/rains", listener="admin").status == 200
    # No question cost a link.
    for name in NAMES:
        text = cluster.nodes[name].request("GET", "/metrics", listener="admin").body.decode()
        assert 'downpour_bus_refusals_total{reason="unknown_message"} 0' in text


def test_pipelined_answers_keep_their_order(cluster):
    connection = cluster.nodes["n1"].resp()
    connection.call("RAIN.CREATE rain AMOUNT 100000 COUNT 5000 SLICES 32")
    users = list(range(2000))
    connection.send(b"".join(encode("RAIN.GRAB", "rain", user) for user in users))
    packets = [connection.read()[2] for _ in users]
    connection.send(b"".join(encode("RAIN.GRAB", "rain", user) for user in users))
    assert [connection.read()[2] for _ in users] == packets
    assert len(set(packets)) == len(users)


def test_a_killed_node_takes_only_its_shards_along_until_it_is_back(cluster):
    first = cluster.nodes["n1"].resp()
    first.call("RAIN.CREATE rain AMOUNT 600000 COUNT 600 SLICES 24")
    told = {user: first.call("RAIN.GRAB", "rain", user)[1:3] for user in range(200)}
    cluster.nodes["n2"].kill()
    served, refused = 0, 0
    for user in range(1000, 1200):
        try:
            assert first.call("RAIN.GRAB", "rain", user)[0] == "granted"
            served += 1
        except Failure as failure:
            assert failure.code in ("TRYAGAIN", "UNKNOWN")
            refused += 1
    assert served > 50 and refused > 20
    eventually(lambda: cluster.status("n1")["nodes"][1]["state"] == "dead", 30, "n2's death")
    result = downpour("cluster", "status", "--admin",
                      f"http://127.0.0.1:{cluster.ports['n1']['admin']}")
    assert result.returncode == 1
    assert "2 of 3 nodes are well" in result.stdout
    assert "21 of 64 shards cannot be reached from here (n2)" in result.stdout
    cluster.nodes["n2"].start()
    cluster.wait_linked()
    # What was acknowledged is there, and whoever was refused is served.
    second = cluster.nodes["n2"].resp()
    for user, (fen, packet) in told.items():
        assert second.call("RAIN.GRAB", "rain", user)[:3] == ["repeat", fen, packet]
    for user in range(1000, 1200):
        assert second.call("RAIN.GRAB", "rain", user)[0] in ("granted", "repeat")
    second.call("RAIN.CLOSE rain")

    def closed():
        info = first.mapping("RAIN.INFO rain")
        return info if info["state"] == "closed" else None
    info = eventually(closed, 20, "the close")
    assert int(info["granted"]) == 400 and int(info["returned"]) == 200
    result = downpour("cluster", "status", "--json", "--admin",
                      f"http://127.0.0.1:{cluster.ports['n3']['admin']}")
    assert result.returncode == 0
    assert sum(one["shards"] for one in json.loads(result.stdout)["nodes"]) == 64


def test_nothing_told_is_lost_however_often_nodes_are_killed(cluster):
    packets = 1_000_000
    cluster.nodes["n1"].resp().call(
        f"RAIN.CREATE rain AMOUNT {packets * 100} COUNT {packets} SLICES 48")
    crowd = [Crowd(cluster, number) for number in range(1, 5)]
    for one in crowd:
        one.start()
    draw = random.Random(7)
    for _ in range(KILLS):
        node = cluster.nodes[draw.choice(NAMES)]
        threading.Event().wait(0.3 + draw.random())
        node.kill()
        threading.Event().wait(0.3 * draw.random())
        node.start()
    cluster.wait_linked()
    for one in crowd:
        one.ends = True
    for one in crowd:
        one.join(30)
        assert one.problem is None, repr(one.problem)
    told = {user: prize for one in crowd for user, prize in one.told.items() if prize}
    assert len(told) > 100 * KILLS
    assert len({packet for _, packet in told.values()}) == len(told), "a packet has two owners"
    connection = cluster.nodes["n2"].resp()
    for user, prize in told.items():
        assert connection.call("RAIN.GRAB", "rain", user)[:3] == ["repeat", *prize]
    connection.call("RAIN.CLOSE rain")
    info = connection.mapping("RAIN.INFO rain")
    assert info["granted"] >= len(told)
    assert info["granted"] + info["returned"] == packets
    assert info["granted_fen"] + info["returned_fen"] == packets * 100


def test_nodes_that_share_a_store_fill_it_together(directory, make_node):
    cluster = Cluster(directory, make_node, cores=1)
    store = directory / "store.sqlite"
    for node in cluster.nodes.values():
        node.env["DOWNPOUR_STORE_URL"] = f"sqlite:{store}"
    cluster.start()
    first = cluster.nodes["n1"].resp()
    first.call("RAIN.CREATE rain AMOUNT 300000 COUNT 300 SLICES 12")
    for user in range(300):
        cluster.nodes[NAMES[user % 3]].resp().call("RAIN.GRAB", "rain", user)
    for node in cluster.nodes.values():
        assert node.stop() == 0
    import sqlite3
    rows = sqlite3.connect(store).execute(
        "SELECT count(*), sum(amount), count(DISTINCT packet) FROM claims").fetchone()
    granted = rows[0]
    assert granted >= 270 and rows[2] == granted
    journals = [word for name in NAMES for word in ("--data", cluster.nodes[name].data)]
    result = downpour("audit", *journals, "--store", f"sqlite:{store}", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["claims"] == granted


def test_strangers_and_bad_topologies_are_refused(directory, make_node):
    cluster = Cluster(directory, make_node)
    cluster.start()
    # Another key: it runs, and nobody speaks with it.
    cluster.nodes["n3"].kill()
    stranger = cluster.make("n3", key=OTHER, directory="stranger").start()
    with pytest.raises(Failure, match="TRYAGAIN"):
        for user in range(64):
            stranger.resp().call("RAIN.GRAB", f"rain-{user}", user)
    assert not cluster.status("n1")["well"]

    def counted(metric):
        text = cluster.nodes["n1"].request("GET", "/metrics", listener="admin").body.decode()
        return [int(line.split()[-1]) for line in text.splitlines() if line.startswith(metric)]
    assert eventually(
        lambda: counted('downpour_bus_refusals_total{reason="stranger"}')[0], 10, "a stranger")
    assert eventually(
        lambda: counted('downpour_gossip_refusals_total{reason="stranger"}')[0], 10, "one by UDP")
    assert counted('downpour_member_linked_loops{node="n2"}') == [2]
    assert counted('downpour_member_linked_loops{node="n3"}') == [0]
    stranger.kill()

    def check(*arguments, key=KEY):
        return downpour("node", "--check-config", *arguments,
                        env={"DOWNPOUR_CLUSTER_KEY": key} if key else None)

    good = ("--topology", cluster.file, "--name", "n1")
    assert check(*good).returncode == 0
    result = check(*good, key=None)
    assert result.returncode == 78 and "DOWNPOUR_CLUSTER_KEY" in result.stderr
    result = check(*good, key="abc")
    assert result.returncode == 78 and "64" in result.stderr
    result = check("--topology", cluster.file, "--name", "elsewhere")
    assert result.returncode == 78 and "n1, n2, n3" in result.stderr
    result = check(*good, "--shards", "128")
    assert result.returncode == 78 and "64" in result.stderr
    result = check("--name", "n1", "--join", "127.0.0.1:1")
    assert result.returncode == 78 and "--topology" in result.stderr
    two = directory / "two.yaml"
    two.write_text(cluster.file.read_text().replace("replicas: 1", "replicas: 2"))
    result = check("--topology", two, "--name", "n1")
    assert result.returncode == 78 and "replicas" in result.stderr
    # A journal belongs to its node.
    cluster.nodes["n1"].kill()
    thief = cluster.make("n1", directory="thief")
    thief.options[thief.options.index("--data") + 1] = cluster.nodes["n2"].data
    cluster.nodes["n2"].kill()
    thief.launch()
    assert thief.wait() == 78
    assert "cluster" in thief.log()
