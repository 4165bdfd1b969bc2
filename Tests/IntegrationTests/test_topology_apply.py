"""Shards of a running cluster move to where a topology file wants them."""

import collections
import subprocess
import threading

import pytest

from cluster import NAMES, Cluster, Crowd
from node import BINARY, clean_environment, downpour, eventually
from test_replicas import insist


@pytest.fixture
def cluster(directory, make_node):
    cluster = Cluster(directory, make_node, replicas=2)
    cluster.start()
    cluster.wait_settled()
    return cluster


def topology(cluster, action, *arguments, node="n1"):
    return downpour("topology", action, *arguments, "--admin",
                    f"http://127.0.0.1:{cluster.ports[node]['admin']}")


def drained(cluster, name):
    """The cluster's file, with nothing for one of its nodes."""
    file = cluster.directory / f"without-{name}.yaml"
    file.write_text(cluster.file.read_text().replace(
        f"{{name: {name}, ", f"{{name: {name}, weight: 0, "))
    return file


def held(cluster, name):
    nodes = cluster.status("n1")["nodes"]
    return next(node["copies"] for node in nodes if node["name"] == name)


def test_a_node_is_drained_and_filled_under_load(cluster):
    packets = 1_000_000
    cluster.nodes["n1"].resp().call(
        f"RAIN.CREATE rain AMOUNT {packets * 100} COUNT {packets} SLICES 48")
    crowd = [Crowd(cluster, number) for number in range(1, 5)]
    for one in crowd:
        one.start()
    without = drained(cluster, "n3")
    plan = topology(cluster, "plan", without)
    assert plan.returncode == 0, plan.stderr
    result = topology(cluster, "apply", without)
    assert result.returncode == 0, result.stderr
    assert "all 64 shards are where they should be" in result.stdout
    eventually(lambda: held(cluster, "n3") == 0, 10, "n3 without shards")
    status = topology(cluster, "status", without)
    assert status.returncode == 0 and "0 copies, 0 hand-overs" in status.stderr
    result = topology(cluster, "apply", cluster.file, "--shards-at-once", 2)
    assert result.returncode == 0, result.stderr
    eventually(lambda: held(cluster, "n3") > 30, 10, "n3 with shards")
    for one in crowd:
        one.ends = True
    heard = collections.Counter()
    for one in crowd:
        one.join(30)
        assert one.problem is None, repr(one.problem)
        heard += one.heard
    told = {user: prize for one in crowd for user, prize in one.told.items() if prize}
    assert not any(text.startswith("UNKNOWN") for text in heard), heard
    assert heard.total() <= len(told) / 200, (heard, len(told))
    print(f"{len(told)} users, {dict(heard)}, slowest {max(one.slowest for one in crowd):.3f} s")
    assert len({packet for _, packet in told.values()}) == len(told), "a packet has two owners"
    connection = cluster.nodes["n3"].resp()
    for user, prize in told.items():
        assert insist(connection, "RAIN.GRAB", "rain", user)[:3] == ["repeat", *prize]


def test_a_node_joins_under_load_and_another_goes_for_good(directory, make_node):
    cluster = Cluster(directory, make_node, replicas=2, spare=["n4"])
    cluster.start()
    cluster.wait_settled()
    packets = 1_000_000
    cluster.nodes["n1"].resp().call(
        f"RAIN.CREATE rain AMOUNT {packets * 100} COUNT {packets} SLICES 48")
    crowd = [Crowd(cluster, number) for number in range(1, 5)]
    for one in crowd:
        one.start()
    more = cluster.add("n4")
    cluster.wait_linked()
    assert held(cluster, "n4") == 0, "whoever joins waits for a decision"
    result = topology(cluster, "apply", more)
    assert result.returncode == 0, result.stderr
    eventually(lambda: held(cluster, "n4") >= 24, 10, "n4 with shards")
    # Another one makes room: it holds nothing before it goes, and is not missed.
    cluster.names.remove("n2")
    fewer = cluster.file_of(cluster.names)
    result = topology(cluster, "apply", fewer)
    assert result.returncode == 0, result.stderr
    eventually(lambda: held(cluster, "n2") == 0, 10, "n2 without shards")
    assert cluster.nodes["n2"].stop() == 0

    def forgotten():
        return all([node["name"] for node in cluster.status(name)["nodes"]] == ["n1", "n3", "n4"]
                   for name in cluster.names)
    eventually(forgotten, 30, "a cluster of three")
    cluster.wait_settled()
    for one in crowd:
        one.ends = True
    for one in crowd:
        one.join(30)
        assert one.problem is None, repr(one.problem)
    told = {user: prize for one in crowd for user, prize in one.told.items() if prize}
    assert len({packet for _, packet in told.values()}) == len(told), "a packet has two owners"
    # Whoever starts anew finds everybody, though its file is of another time.
    assert cluster.nodes["n1"].stop() == 0
    cluster.nodes["n1"].start()
    cluster.wait_linked()
    cluster.wait_settled()
    connection = cluster.nodes["n4"].resp()
    for user, prize in told.items():
        assert insist(connection, "RAIN.GRAB", "rain", user)[:3] == ["repeat", *prize]
    for name in cluster.names:
        assert cluster.nodes[name].stop() == 0


def test_moves_are_paused_resumed_and_taken_back(cluster):
    without = drained(cluster, "n2")
    # One shard at a time and few bytes: it lasts.
    command = [BINARY, "topology", "apply", without, "--shards-at-once", "1", "--rate", "1k",
               "--admin", f"http://127.0.0.1:{cluster.ports['n1']['admin']}"]
    operator = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=clean_environment())
    eventually(lambda: "moving" in topology(cluster, "status").stdout, 10, "the moves")
    # The operator's process goes: the nodes go on.
    operator.kill()
    operator.wait()
    before = topology(cluster, "status").stdout
    eventually(lambda: topology(cluster, "status").stdout != before, 20, "some progress")
    result = topology(cluster, "pause", node="n3")
    assert result.returncode == 0 and "paused" in result.stdout, result.stderr
    threading.Event().wait(2)
    before = topology(cluster, "status").stdout
    assert "paused" in before
    threading.Event().wait(2)
    assert topology(cluster, "status").stdout == before
    # Whoever leads a shard meanwhile may die: its copies are replaced, and nothing is moved.
    assert "moving" in topology(cluster, "resume").stdout
    assert topology(cluster, "abort", node="n2").returncode == 0
    eventually(lambda: topology(cluster, "status").returncode == 0, 60, "the way back")
    eventually(lambda: held(cluster, "n2") > 30, 10, "n2 with shards")


def test_what_cannot_be_carried_out_is_refused(cluster, directory):
    without = drained(cluster, "n2")
    plan = topology(cluster, "plan", without, "--json")
    assert plan.returncode == 0, plan.stderr
    result = topology(cluster, "apply", without, "--expect", "0" * 32)
    assert result.returncode == 1 and "the cluster has changed" in result.stderr
    other = directory / "other.yaml"
    other.write_text(cluster.file.read_text().replace("cluster: test", "cluster: another"))
    result = topology(cluster, "apply", other)
    assert result.returncode == 65 and "another" in result.stderr
    more = directory / "more.yaml"
    more.write_text(cluster.file.read_text()
                    + "      - {name: n4, zone: n4, host: 127.0.0.9}\n")
    result = topology(cluster, "apply", more)
    assert result.returncode == 65 and "n4 has not joined" in result.stderr
    node = cluster.nodes["n1"]
    for body in ({}, {"version": 0, "members": []}, {"version": 0, "members": [["n1", "n1"]] * 64},
                 {"version": 0, "members": [["n1", "n9"]] * 64}):
        assert node.request("POST", "/v1/topology", body=body, listener="admin").status == 400
    members = {"members": [["n1", "n2"]] * 64}
    answer = node.request("POST", "/v1/topology", body={"version": 7, **members}, listener="admin")
    assert answer.status == 409
    assert node.request("GET", "/v1/topology", listener="admin").json()["version"] == 1


def test_nodes_that_are_killed_on_the_way_only_delay_it(cluster):
    cluster.nodes["n1"].resp().call(
        "RAIN.CREATE rain AMOUNT 600000 COUNT 6000 SLICES 24 DURABILITY replicated")
    first = cluster.nodes["n1"].resp()
    told = {user: insist(first, "RAIN.GRAB", "rain", user)[1:3] for user in range(300)}
    without = drained(cluster, "n3")
    result = topology(cluster, "apply", without, "--no-wait", "--shards-at-once", 1)
    assert result.returncode == 0, result.stderr
    eventually(lambda: "moving" in topology(cluster, "status").stdout, 10, "the moves")
    cluster.nodes["n2"].kill()
    threading.Event().wait(0.5)
    cluster.nodes["n2"].start()
    eventually(lambda: topology(cluster, "status").returncode == 0, 60, "the end of it")
    eventually(lambda: held(cluster, "n3") == 0, 10, "n3 without shards")
    # Whoever starts again follows what was decided, not the file that it was started with.
    assert cluster.nodes["n3"].stop() == 0
    cluster.nodes["n3"].start()
    cluster.wait_linked()
    threading.Event().wait(2)
    assert held(cluster, "n3") == 0
    for name in NAMES:
        connection = cluster.nodes[name].resp()
        for user, prize in list(told.items())[:100]:
            assert insist(connection, "RAIN.GRAB", "rain", user)[:3] == ["repeat", *prize]
