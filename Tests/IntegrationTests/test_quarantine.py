"""What a killed node takes out of play, and what operators make of it: real nodes."""

import json

import pytest

from cluster import Cluster
from node import downpour, eventually
from operators import admin_url, audit, operate, operate_json
from resp import Failure

PACKETS = 100


def lost_rain(node):
    """A `memory` rain of one slice, 30 of its packets told, whose node was killed.

    Returns what users were told.
    """
    with node.resp() as connection:
        connection.call(f"RAIN.CREATE m AMOUNT 10000 COUNT {PACKETS} DURABILITY memory SLICES 1")
        told = {user: connection.call(f"RAIN.GRAB m {user}") for user in range(30)}
    assert all(reply[0] == "granted" for reply in told.values())
    node.kill()
    node.start()
    return told


def test_released_packets_are_granted_again_to_the_last(start_node):
    node = start_node()
    lost_rain(node)
    with node.resp() as connection:
        before = connection.mapping("RAIN.INFO m")
        assert before["quarantined"] == PACKETS - before["granted"] and before["lost"] == 1
        assert connection.call("RAIN.GRAB m 1000")[0] == "lost"
        result = operate(node, "pool", "resolve", "m", "--release", "--request", "q1")
        assert result.stdout == "OK\n"
        info = connection.mapping("RAIN.INFO m")
        assert (info["quarantined"], info["lost"]) == (0, 0)
        assert info["remaining"] == before["quarantined"]
        outcomes = [connection.call(f"RAIN.GRAB m {user}")[0] for user in range(1000, 1200)]
        assert outcomes.count("granted") == before["quarantined"]
        assert set(outcomes) == {"granted", "soldout"}
        # The same again changes nothing; what is not quarantined cannot be resolved.
        operate(node, "pool", "resolve", "m", "--release", "--request", "q1")
        again = operate(node, "pool", "resolve", "m", "--release", check=False)
        assert again.returncode == 1 and "nothing is quarantined" in again.stderr
        assert "--request resolve-" in again.stderr
    # A restart, kind or not, keeps what was decided.
    node.kill()
    node.start()
    with node.resp() as connection:
        connection.call("RAIN.CLOSE m")
        info = eventually(
            lambda: (lambda told: told if told["state"] == "closed" else None)(
                connection.mapping("RAIN.INFO m")), what="the close")
        assert info["granted"] + info["returned"] + info["quarantined"] == PACKETS
    assert node.stop() == 0
    assert audit(node).returncode == 0


def test_returned_packets_go_back_to_the_sender(start_node):
    node = start_node()
    lost_rain(node)
    with node.resp() as connection:
        before = connection.mapping("RAIN.INFO m")
        assert connection.call("RAIN.RESOLVE m q1 RETURN") == "OK"
        assert connection.call("RAIN.RESOLVE m q1 RETURN") == "OK"
        with pytest.raises(Failure, match="MISMATCH"):
            connection.call("RAIN.RESOLVE m q1 RELEASE")
        info = connection.mapping("RAIN.INFO m")
        assert info["quarantined"] == 0 and info["lost"] == 1
        assert info["returned"] == before["quarantined"] and info["returned_fen"] > 0
        assert connection.call("RAIN.GRAB m 1000")[0] == "lost"
        with pytest.raises(Failure, match="BADARG nothing is quarantined"):
            connection.call("RAIN.RESOLVE m q2 RETURN")
        connection.call("RAIN.CLOSE m")
        info = eventually(
            lambda: (lambda told: told if told["state"] == "closed" else None)(
                connection.mapping("RAIN.INFO m")), what="the close")
        assert info["granted"] + info["returned"] == PACKETS
        assert info["granted_fen"] + info["returned_fen"] == 10000
    assert node.stop() == 0
    report = audit(node, "--json")
    assert report.returncode == 0, report.stdout + report.stderr


def test_the_words_of_the_command(start_node):
    node = start_node()
    lost_rain(node)
    with node.resp() as connection:
        connection.call("STOCK.CREATE m UNITS 5")
    for words in ([], ["--release", "--return"]):
        assert downpour("pool", "resolve", "m", *words, "--admin",
                        admin_url(node)).returncode == 64
    both = operate(node, "pool", "resolve", "m", "--release", check=False)
    assert both.returncode == 64 and "--family" in both.stderr
    stock = operate(node, "pool", "resolve", "m", "--release", "--family", "stock", check=False)
    assert stock.returncode == 1 and "nothing is quarantined" in stock.stderr
    missing = operate(node, "pool", "resolve", "nothing", "--return", check=False)
    assert missing.returncode == 1
    for body, key in (({"resolution": "keep"}, "k"), ({"resolution": "release"}, None)):
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        answer = node.request("POST", "/v1/rains/m/resolve", headers, json.dumps(body), "admin")
        assert answer.status == 400, answer.body
    with node.resp() as connection:
        connection.call("RAIN.CLOSE m")
        with pytest.raises(Failure, match="BADARG the pool is closed"):
            connection.call("RAIN.RESOLVE m q RELEASE")
    operate(node, "pool", "resolve", "m", "--return", "--family", "rain")
    shown = operate_json(node, "rain", "show", "m")
    assert shown["quarantined"] == 0 and shown["granted"] + shown["returned"] == PACKETS


def test_slices_that_a_killed_node_of_a_cluster_took_along_are_released(directory, make_node):
    cluster = Cluster(directory, make_node, replicas=2)
    cluster.start()
    cluster.wait_settled()
    first = cluster.nodes["n1"].resp()
    first.call("RAIN.CREATE m AMOUNT 300000 COUNT 3000 SLICES 24 DURABILITY memory")
    for user in range(300):
        assert first.call(f"RAIN.GRAB m {user}")[0] == "granted"
    cluster.nodes["n2"].kill()

    def info():
        try:
            told = first.mapping("RAIN.INFO m")
        except Failure as failure:
            assert failure.code in ("TRYAGAIN", "UNKNOWN"), failure.text
            return None
        return told if told["lost"] > 0 else None
    lost = eventually(info, 20, "other primaries")
    assert 0 < lost["lost"] < 24 and lost["quarantined"] > 0

    def resolved():
        # At a node that has neither the pool nor the slices.
        result = operate(cluster.nodes["n3"], "pool", "resolve", "m", "--release",
                         "--request", "q", check=False)
        assert result.returncode in (0, 75), result.stderr
        return result.returncode == 0
    eventually(resolved, 30, "the decision")
    told = first.mapping("RAIN.INFO m")
    assert (told["quarantined"], told["lost"]) == (0, 0)
    assert told["granted"] + told["remaining"] == 3000
    for user in range(1000, 1400):
        outcome = None
        while outcome != "granted":
            try:
                outcome = first.call(f"RAIN.GRAB m {user}")[0]
            except Failure as failure:
                assert failure.code in ("TRYAGAIN", "UNKNOWN"), failure.text
        assert outcome == "granted"
