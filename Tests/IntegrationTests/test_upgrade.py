"""Nodes of two versions in one cluster: a rolling upgrade, and the way back while it is possible."""

import collections
import os

import pytest

from cluster import NAMES, Cluster, Crowd
from node import downpour, eventually

# An executable of the version before; without it today's is held back to the former protocol.
FORMER = os.environ.get("DOWNPOUR_FORMER_BINARY")


@pytest.fixture
def cluster(directory, make_node):
    cluster = Cluster(directory, make_node, replicas=2)
    for name in NAMES:
        make_former(cluster.nodes[name])
    return cluster.start()


def make_former(node):
    if FORMER:
        node.binary = FORMER
    else:
        node.env = {**node.env, "DOWNPOUR_PROTOCOL": "1", "DOWNPOUR_ARCHIVE_AFTER": "500ms"}


def make_todays(node):
    node.binary = None
    node.env = {name: text for name, text in node.env.items() if name != "DOWNPOUR_PROTOCOL"}
    node.env["DOWNPOUR_ARCHIVE_AFTER"] = "500ms"


def spoken(cluster):
    """By node: what it says that all nodes speak."""
    return {name: cluster.status(name).get("protocol") for name in NAMES}


def archived(cluster):
    return sum(
        cluster.nodes[name].request("GET", "/v1/status", listener="admin").json().get(
            "archivedSlices", 0) for name in NAMES)


def test_a_cluster_is_upgraded_node_by_node_and_nobody_is_refused(cluster):
    packets = 1_000_000
    connection = cluster.nodes["n1"].resp()
    connection.call(f"RAIN.CREATE rain AMOUNT {packets * 100} COUNT {packets} SLICES 48")
    connection.call("RAIN.CREATE early AMOUNT 2000 COUNT 20")
    for user in range(20):
        assert connection.call("RAIN.GRAB", "early", user)[0] == "granted"
    connection.call("RAIN.CLOSE early")
    connection.close()
    crowd = [Crowd(cluster, number) for number in range(1, 5)]
    for one in crowd:
        one.start()

    def restart(name, prepare):
        prepare(cluster.nodes[name])
        assert cluster.nodes[name].stop() == 0
        cluster.nodes[name].start()
        cluster.wait_linked()
        cluster.wait_settled()

    # Two of three, and one of them back: something was wrong with it.
    for name, prepare in (("n1", make_todays), ("n2", make_todays), ("n2", make_former)):
        restart(name, prepare)
    assert archived(cluster) == 0, "something was written that an old node cannot read"
    for name in ("n2", "n3"):
        assert spoken(cluster)["n1"] == 1
        restart(name, make_todays)
    eventually(lambda: set(spoken(cluster).values()) == {3}, 20, "the new protocol")
    eventually(lambda: archived(cluster) > 0, 30, "the archive")
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
        assert connection.call("RAIN.GRAB", "early", user)[0] == "repeat"


def test_what_cannot_be_spoken_is_refused(directory, make_node):
    for text in ("0", "4", "two"):
        answer = downpour("node", "--protocol", text, "--check-config")
        assert answer.returncode == 78
        assert "a number from 1 to 3" in answer.stderr
