"""The arbiter's tables move to another MariaDB: nothing is decided until an operator says so."""

import json
import sqlite3
import subprocess
from contextlib import closing

import pytest

from cluster import Cluster, free_ports
from node import downpour, eventually
from resp import Closed, Failure
from servers import MariaDB, program


@pytest.fixture
def pair(directory):
    """Two servers that know nothing of each other."""
    ports = free_ports(2)
    made = [MariaDB(directory / f"maria-{number}", port, number).start()
            for number, port in enumerate(ports, 1)]
    yield made
    for one in made:
        one.kill()


def copy(old, new):
    """What a backup brings over: all tables, on a server with a name of its own."""
    dump = subprocess.run(
        [program("mariadb-dump"), "--no-defaults", "-uroot", f"-S{old.socket}",
         "--single-transaction", "dp"], check=True, capture_output=True, timeout=60).stdout
    subprocess.run(
        [program("mariadb"), "--no-defaults", "-uroot", f"-S{new.socket}", "dp"], input=dump,
        check=True, timeout=60)


def arbiter(url, *words):
    return downpour("cluster", "arbiter", *words, env={"DOWNPOUR_STORE_URL": url})


def standing(url):
    answer = arbiter(url, "status", "--json")
    return answer.returncode, json.loads(answer.stdout)


def test_another_server_decides_nothing_until_it_is_accepted(pair, directory, make_node):
    old, new = pair
    url = (f"mysql://dp:secret@127.0.0.1:{old.port},127.0.0.1:{new.port}/dp")
    cluster = Cluster(directory, make_node, replicas=2, store=url)
    cluster.start()
    cluster.wait_settled()
    nodes = cluster.nodes
    with nodes["n1"].resp() as resp:
        resp.call("RAIN.CREATE", "rain", "AMOUNT", 100_000, "COUNT", 1_000, "SLICES", 16)
        for user in range(100):
            assert resp.call("RAIN.GRAB", "rain", user)[0] == "granted"
    code, before = standing(url)
    assert code == 0 and before["accepted"] == before["answers"]

    copy(old, new)
    old.kill()
    eventually(lambda: standing(url)[1]["answers"] != before["answers"], 30, "the other answers")
    assert standing(url)[0] == 1
    # Grants go on.
    with nodes["n2"].resp() as resp:
        for user in range(100, 200):
            assert resp.call("RAIN.GRAB", "rain", user)[0] == "granted"

    # One that starts now waits, is a member of nothing, and says so.
    nodes["n3"].kill()
    nodes["n3"].start()
    with nodes["n3"].resp() as resp, pytest.raises(Failure, match="TRYAGAIN"):
        resp.call("RAIN.GRAB", "rain", 1)
    assert nodes["n3"].request("GET", "/readyz", listener="admin").status == 503
    assert nodes["n1"].request("GET", "/v1/cluster", listener="admin").json()["short"] > 0
    assert standing(url)[1]["revision"] == before["revision"]

    refused = arbiter(url, "accept", "--expect", "somebody else")
    assert refused.returncode == 1
    accepted = arbiter(url, "accept")
    assert accepted.returncode == 0, accepted.stderr
    eventually(lambda: standing(url) == (0, {**standing(url)[1], "awaited": []}), 30,
               "all nodes have told what they know")
    cluster.wait_settled()
    eventually(lambda: nodes["n3"].request("GET", "/readyz", listener="admin").status == 200,
               30, "n3 is ready")
    with nodes["n3"].resp() as resp:
        assert all(resp.call("RAIN.GRAB", "rain", user)[0] == "repeat" for user in range(200))
        assert resp.call("RAIN.GRAB", "rain", 999)[0] == "granted"
    for node in nodes.values():
        assert node.stop(60) == 0


def test_an_arbiter_older_than_the_disks_is_not_believed(directory, make_node):
    """Restored from a backup while no node runs that could tell it what it has lost."""
    cluster = Cluster(directory, make_node, replicas=2)
    cluster.start()
    cluster.wait_settled()
    nodes = cluster.nodes
    with nodes["n1"].resp() as resp:
        resp.call("RAIN.CREATE", "rain", "AMOUNT", 100_000, "COUNT", 1_000, "SLICES", 16)
    with closing(sqlite3.connect(directory / "shared.sqlite.arbiter")) as shared, \
            closing(sqlite3.connect(directory / "backup.sqlite")) as backup:
        shared.backup(backup)

    def all_win():
        try:
            with nodes["n2"].resp() as resp:
                heard = {resp.call("RAIN.GRAB", "rain", user)[0] for user in range(100)}
            return heard <= {"granted", "repeat"}
        except (Closed, Failure, OSError):
            return False

    nodes["n3"].kill()
    eventually(all_win, 30, "two go on without the third")
    for name in ("n1", "n2"):
        nodes[name].kill()
    for left in directory.glob("shared.sqlite.arbiter*"):
        left.rename(directory / f"newest-{left.name}")
    (directory / "backup.sqlite").rename(directory / "shared.sqlite.arbiter")
    for name in ("n1", "n2"):
        nodes[name].launch()
        assert nodes[name].process.wait(30) == 1
        assert "older than this disk" in nodes[name].log()

    # With what it had, all goes on, and nothing is lost.
    for left in directory.glob("shared.sqlite.arbiter*"):
        left.unlink()
    for left in directory.glob("newest-shared.sqlite.arbiter*"):
        left.rename(directory / left.name.removeprefix("newest-"))
    for node in nodes.values():
        node.launch()
    for node in nodes.values():
        node.start_launched()
    eventually(all_win, 60, "they go on, and winners are not granted anew")
    with nodes["n2"].resp() as resp:
        assert all(resp.call("RAIN.GRAB", "rain", user)[0] == "repeat" for user in range(100))
        info = resp.call("RAIN.INFO", "rain")
        assert info[info.index("granted") + 1] == 100
