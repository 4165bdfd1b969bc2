"""Nodes of two versions in one cluster: a rolling upgrade, and the way back while it is possible."""

import collections
import os

import pytest

from cluster import NAMES, Cluster, Crowd
from node import downpour, eventually
from resp import Failure

# An executable of a version before; without it today's is held back to former protocols.
FORMER = os.environ.get("DOWNPOUR_FORMER_BINARY")
TODAYS = 5
ARCHIVE = {"DOWNPOUR_ARCHIVE_AFTER": "500ms", "DOWNPOUR_ARCHIVE_ORDERS_AFTER": "500ms"}


@pytest.fixture(params=["executable"] if FORMER else ["1", "2", "3", "4"])
def former(request):
    return request.param


@pytest.fixture
def cluster(directory, make_node, former):
    cluster = Cluster(directory, make_node, replicas=2)
    for name in NAMES:
        make_former(cluster.nodes[name], former)
    return cluster.start()


def make_former(node, former):
    if FORMER:
        node.binary = FORMER
        node.env = {name: text for name, text in node.env.items() if name not in ARCHIVE}
    else:
        node.env = {**node.env, **ARCHIVE, "DOWNPOUR_PROTOCOL": former}


def make_todays(node):
    node.binary = None
    node.env = {name: text for name, text in node.env.items() if name != "DOWNPOUR_PROTOCOL"}
    node.env |= ARCHIVE


def spoken(cluster):
    """By node: what it says that all nodes speak."""
    return {name: cluster.status(name).get("protocol") for name in NAMES}


def archived(cluster, what):
    return sum(
        cluster.nodes[name].request("GET", "/v1/status", listener="admin").json().get(what, 0)
        for name in NAMES)


def ask(connection, *words):
    """What is told once the store has come so far."""
    def told():
        try:
            return connection.call(*words)
        except Failure as failure:
            assert failure.code == "TRYAGAIN", failure.text
    return eventually(told, 20, f"an answer to {words}")


def test_a_cluster_is_upgraded_node_by_node_and_nobody_is_refused(cluster, former):
    packets = 1_000_000
    connection = cluster.nodes["n1"].resp()
    connection.call(f"RAIN.CREATE rain AMOUNT {packets * 100} COUNT {packets} SLICES 48")
    connection.call("RAIN.CREATE early AMOUNT 2000 COUNT 20")
    for user in range(20):
        assert connection.call("RAIN.GRAB", "early", user)[0] == "granted"
    connection.call("RAIN.CLOSE early")
    connection.call("STOCK.CREATE sku UNITS 40 PRICE 100 HOLD 3600 SLICES 8")
    orders = [connection.call("STOCK.RESERVE", "sku", user, 1, f"r{user}")[1]
              for user in range(20)]
    for user, order in enumerate(orders):
        assert connection.call("ORDER.PAY", order, f"p{user}") == ["paid"]
    connection.call("STOCK.CLOSE sku")
    infos = [connection.call("ORDER.INFO", order) for order in orders]
    connection.close()
    [protocol] = set(spoken(cluster).values())
    assert protocol < TODAYS and protocol == int(former if former.isdigit() else protocol)
    crowd = [Crowd(cluster, number) for number in range(1, 5)]
    for one in crowd:
        one.start()

    def restart(name, prepare):
        prepare(cluster.nodes[name])
        assert cluster.nodes[name].stop() == 0
        cluster.nodes[name].start()
        cluster.wait_linked()
        cluster.wait_settled()

    def back(node):
        make_former(node, former)

    # Two of three, and one of them back: something was wrong with it.
    for name, prepare in (("n1", make_todays), ("n2", make_todays), ("n2", back)):
        restart(name, prepare)
    # Rains are archived since protocol 2, orders since 3.
    later = {1: "archivedSlices", 2: "archivedOrders"}.get(protocol)
    if later:
        assert archived(cluster, later) == 0, "something was written that an old node cannot read"
    for name in ("n2", "n3"):
        assert spoken(cluster)["n1"] == protocol
        restart(name, make_todays)
    eventually(lambda: set(spoken(cluster).values()) == {TODAYS}, 20, "the new protocol")
    eventually(lambda: archived(cluster, "archivedOrders") > 0, 30, "the archive")
    for one in crowd:
        one.ends = True
    heard = collections.Counter()
    for one in crowd:
        one.join(30)
        assert one.problem is None, repr(one.problem)
        heard += one.heard
    assert not any(text.startswith("UNKNOWN") for text in heard), heard
    told = {user: prize for one in crowd for user, prize in one.told.items() if prize}
    assert heard.total() <= len(told) / 200, (heard, len(told))
    print(f"{len(told)} users, {dict(heard)}")
    assert len({packet for _, packet in told.values()}) == len(told), "a packet has two owners"
    connection = cluster.nodes["n2"].resp()
    for user in range(20):
        assert ask(connection, "RAIN.GRAB", "early", user)[0] == "repeat"
    for user, (order, info) in enumerate(zip(orders, infos)):
        assert ask(connection, "ORDER.INFO", order) == info
        assert ask(connection, "ORDER.PAY", order, f"p{user}") == ["repeat"]


def test_what_cannot_be_spoken_is_refused(directory, make_node):
    for text in ("0", "6", "two"):
        answer = downpour("node", "--protocol", text, "--check-config")
        assert answer.returncode == 78
        assert "a number from 1 to 5" in answer.stderr
