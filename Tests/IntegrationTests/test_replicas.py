"""Three real nodes that keep two copies of each shard: whoever dies is replaced."""

import collections
import os
import random
import threading
import time

import pytest

from cluster import NAMES, Cluster, Crowd, rows
from node import eventually
from resp import Closed, Connection, Failure

# Nodes killed in a row while users come; more for a long run by hand.
KILLS = int(os.environ.get("DOWNPOUR_TEST_KILLS", 3))


@pytest.fixture
def cluster(directory, make_node):
    cluster = Cluster(directory, make_node, replicas=2)
    cluster.start()
    cluster.wait_settled()
    return cluster


def insist(connection, *words):
    """Asks again while the shard is on the move, as clients do."""
    for _ in range(200):
        try:
            return connection.call(*words)
        except Failure as failure:
            assert failure.code in ("TRYAGAIN", "UNKNOWN"), failure.text
            time.sleep(0.02)
    raise AssertionError(f"{words} is never answered")


def test_any_node_answers_and_two_hold_each_shard(cluster):
    first, second, third = (cluster.nodes[name].resp() for name in NAMES)
    first.call("RAIN.CREATE rain AMOUNT 300000 COUNT 300 SLICES 16 DURABILITY replicated")
    told = {}
    for user in range(150):
        connection = (first, second, third)[user % 3]
        outcome, fen, packet, _ = connection.call("RAIN.GRAB", "rain", user)
        assert outcome == "granted"
        told[user] = (packet, fen)
    for user, (packet, fen) in told.items():
        outcome, again, place, _ = (second, third, first)[user % 3].call("RAIN.GRAB", "rain", user)
        assert (outcome, place, again) == ("repeat", packet, fen)
    assert len({packet for packet, _ in told.values()}) == 150
    assert {one["node"] for one in rows(third, "SHARDS")} == set(NAMES)


def test_a_killed_node_is_replaced_and_comes_back_as_a_backup(cluster):
    first = cluster.nodes["n1"].resp()
    for durability in ("replicated", "journal"):
        first.call(f"RAIN.CREATE {durability} AMOUNT 600000 COUNT 600 SLICES 24 "
                   f"DURABILITY {durability}")
    told = {(pool, user): first.call("RAIN.GRAB", pool, user)[1:3]
            for pool in ("replicated", "journal") for user in range(200)}
    cluster.nodes["n2"].kill()

    def served():
        return cluster.nodes["n1"].request(
            "GET", "/v1/cluster", listener="admin").json()["unserved"] == 0
    eventually(served, 10, "other primaries")
    third = cluster.nodes["n3"].resp()
    for (pool, user), prize in told.items():
        assert insist(third, "RAIN.GRAB", pool, user)[:3] == ["repeat", *prize]
    for user in range(1000, 1200):
        assert insist(third, "RAIN.GRAB", "replicated", user)[0] == "granted"
    # The others take its copies over; once it is back, it holds shards again.
    cluster.wait_settled(["n1", "n3"])
    cluster.nodes["n2"].start()
    cluster.wait_linked()

    def holds():
        nodes = cluster.status("n1")["nodes"]
        return nodes[1]["shards"] > 10 and nodes[1]["copies"] > 30
    eventually(holds, 60, "n2's shards")
    second = cluster.nodes["n2"].resp()
    for (pool, user), prize in told.items():
        assert insist(second, "RAIN.GRAB", pool, user)[:3] == ["repeat", *prize]
    second.call("RAIN.CLOSE replicated")

    def closed():
        info = second.mapping("RAIN.INFO replicated")
        return info if info["state"] == "closed" else None
    info = eventually(closed, 20, "the close")
    assert int(info["granted"]) + int(info["returned"]) == 600


def test_nothing_told_is_lost_however_often_nodes_are_killed(cluster):
    packets = 1_000_000
    cluster.nodes["n1"].resp().call(
        f"RAIN.CREATE rain AMOUNT {packets * 100} COUNT {packets} SLICES 48 "
        "DURABILITY replicated")
    crowd = [Crowd(cluster, number) for number in range(1, 5)]
    for one in crowd:
        one.start()
    draw = random.Random(7)
    for _ in range(KILLS):
        # One copy is left of each shard: only then may the next one go.
        cluster.wait_settled()
        node = cluster.nodes[draw.choice(NAMES)]
        threading.Event().wait(0.3 + draw.random())
        node.kill()
        threading.Event().wait(3 * draw.random())
        node.start()
    cluster.wait_linked()
    cluster.wait_settled()
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
        assert insist(connection, "RAIN.GRAB", "rain", user)[:3] == ["repeat", *prize]
    connection.call("RAIN.CLOSE rain")
    info = eventually(
        lambda: (lambda told: told if told["state"] == "closed" else None)(
            connection.mapping("RAIN.INFO rain")), 30, "the close")
    assert info["granted"] >= len(told)
    assert info["granted"] + info["returned"] == packets
    assert info["granted_fen"] + info["returned_fen"] == packets * 100


def test_nodes_are_restarted_one_by_one_and_nobody_is_refused(cluster):
    packets = 1_000_000
    cluster.nodes["n1"].resp().call(
        f"RAIN.CREATE rain AMOUNT {packets * 100} COUNT {packets} SLICES 48")
    crowd = [Crowd(cluster, number) for number in range(1, 5)]
    for one in crowd:
        one.start()
    for name in NAMES:
        assert cluster.nodes[name].stop() == 0
        cluster.nodes[name].start()
        cluster.wait_linked()
        cluster.wait_settled()
    for one in crowd:
        one.ends = True
    heard = collections.Counter()
    for one in crowd:
        one.join(30)
        assert one.problem is None, repr(one.problem)
        heard += one.heard
    # A move takes milliseconds: requests wait for it. Nothing is ever in doubt.
    assert not any(text.startswith("UNKNOWN") for text in heard), heard
    told = {user: prize for one in crowd for user, prize in one.told.items() if prize}
    assert heard.total() <= len(told) / 200, (heard, len(told))
    print(f"{len(told)} users, {dict(heard)}, slowest {max(one.slowest for one in crowd):.3f} s")
    assert len({packet for _, packet in told.values()}) == len(told), "a packet has two owners"
    connection = cluster.nodes["n2"].resp()
    for user, prize in told.items():
        assert insist(connection, "RAIN.GRAB", "rain", user)[:3] == ["repeat", *prize]
