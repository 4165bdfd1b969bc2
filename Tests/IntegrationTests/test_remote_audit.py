"""`downpour audit` of nodes on other machines: their journals come over the admin API."""

import json

import pytest

from cluster import Cluster, Crowd
from node import downpour, eventually

SECRETS = {"DOWNPOUR_ADMIN_TOKEN": "admin-secret", "DOWNPOUR_ADMIN_READ_TOKEN": "read-secret"}


@pytest.fixture
def cluster(directory, make_node):
    return Cluster(directory, make_node, replicas=2, env=SECRETS).start()


def audit(cluster, *options, token="admin-secret", store=True):
    journals = [word for name in cluster.names for word in (
        "--data", f"http://127.0.0.1:{cluster.ports[name]['admin']}/")]
    where = ["--store", f"sqlite:{cluster.directory}/shared.sqlite"] if store else []
    return downpour("audit", *journals, *where, *options, "--json", timeout=120,
                    env={"DOWNPOUR_ADMIN_TOKEN": token})


def test_nodes_elsewhere_are_audited_while_they_run(cluster):
    with cluster.nodes["n1"].resp() as resp:
        resp.call("RAIN.CREATE", "rain", "AMOUNT", 10_000_000, "COUNT", 100_000, "SLICES", 16)
    crowd = [Crowd(cluster, number) for number in range(1, 4)]
    for one in crowd:
        one.start()
    beside = audit(cluster)
    assert beside.returncode == 0, beside.stdout + beside.stderr
    for one in crowd:
        one.ends = True
    for one in crowd:
        one.join(60)
        assert one.problem is None
    won = sum(prize is not None for one in crowd for prize in one.told.values())
    assert won >= json.loads(beside.stdout)["claims"]

    def whole():
        report = audit(cluster)
        assert report.returncode == 0, report.stdout + report.stderr
        return json.loads(report.stdout)["claims"] == won
    eventually(whole, 30, f"the store has {won} claims, and they are in the journals")

    # A row is gone: the journals from elsewhere name it.
    import sqlite3
    with sqlite3.connect(cluster.directory / "shared.sqlite") as store:
        lost = store.execute("SELECT min(grant_id) FROM claims").fetchone()[0]
        store.execute("DELETE FROM claims WHERE grant_id = ?", (lost,))
    damaged = audit(cluster)
    assert damaged.returncode == 1 and json.loads(damaged.stdout)["findings"]


def test_a_journal_is_for_operators_only(cluster):
    node = cluster.nodes["n1"]

    def asked(path, token="admin-secret"):
        return node.request("GET", path, {"Authorization": f"Bearer {token}"}, listener="admin")
    names = [one["name"] for one in asked("/v1/journal").json()["files"]]
    assert "boot" in names and any(name.endswith(".log") for name in names)
    assert asked("/v1/journal", "read-secret").status == 403
    assert asked("/v1/journal/boot", "read-secret").status == 403
    assert asked("/v1/journal/boot", "guessed").status == 401
    assert asked("/v1/journal/boot").status == 200
    for name in ("lock", "..", "..%2Flock", "%2Fetc%2Fpasswd", "9" * 70 + ".log", "1.log"):
        assert asked(f"/v1/journal/{name}").status == 404, name
    assert asked("/v1/journal/boot?from=-1").status == 400
    assert asked("/v1/journal/boot?from=999999").body == b""
    assert audit(cluster, token="read-secret").returncode == 77
    assert audit(cluster, store=False).returncode == 64
    cluster.nodes["n2"].kill()
    assert audit(cluster).returncode == 69
