"""Closed rains leave memory once the store has them, and everybody hears what they heard before."""

import os
import random
import signal
import time

import pytest

from cluster import NAMES, Cluster, free_ports
from node import downpour, eventually
from resp import Failure, encode
from servers import MariaDB

ARCHIVE = {"DOWNPOUR_ARCHIVE_AFTER": "500ms"}
USERS, PACKETS = 300, 200


@pytest.fixture
def maria(directory):
    server = MariaDB(directory / "maria", free_ports(1)[0]).start()
    yield server
    server.kill()


def grab_all(connection, rain, request=None):
    words = [request] if request else []
    return [connection.call("RAIN.GRAB", rain, user, *words) for user in range(USERS)]


def archived(nodes):
    return sum(
        node.request("GET", "/v1/status", listener="admin").json()["archivedSlices"]
        for node in nodes)


def told_of(connection, rain):
    """INFO, but for how many slices are archived."""
    flat = connection.call("RAIN.INFO", rain)
    told = dict(zip(flat[::2], flat[1::2]))
    assert told.pop("archived") >= 0
    return told


def heard(node, rain, request=None):
    """All that users hear of a closed rain, over both protocols."""
    connection, told = node.resp(), {}
    words = [request] if request else []
    headers = {"Idempotency-Key": request} if request else {}
    for user in range(USERS):
        told[user] = [
            connection.call("RAIN.GRAB", rain, user, *words),
            connection.call("RAIN.CLAIMS", rain, user)]
        if user % 10:
            continue
        grab = node.as_user(user, "POST", f"/v1/rains/{rain}/grab", headers).json()
        claims = node.as_user(user, "GET", f"/v1/rains/{rain}/claims").json()
        assert grab.pop("now") and claims.pop("now")
        told[user] += [grab, claims]
    connection.close()
    return told


def pipelined(node, rain):
    """Answers of the store and of the core leave in the order of their questions."""
    with node.resp() as connection:
        for user in range(50):
            connection.send(encode("RAIN.CLAIMS", rain, user))
            connection.send(encode("PING", user))
        for user in range(50):
            connection.read()
            assert connection.read() == str(user)


@pytest.mark.parametrize("kind", ["sqlite", "maria"])
def test_a_closed_rain_is_the_same_from_the_store(request, directory, make_node, kind):
    env = dict(ARCHIVE)
    if kind == "maria":
        env["DOWNPOUR_STORE_URL"] = request.getfixturevalue("maria").url
    node = make_node(env=env).start()
    connection = node.resp()
    for rain, limit in (("one", 1), ("many", 3)):
        connection.call(f"RAIN.CREATE {rain} AMOUNT {PACKETS * 100} COUNT {PACKETS} "
                        f"SLICES 4 LIMIT {limit}")
        outcomes = [one[0] for one in grab_all(connection, rain, "r")]
        assert outcomes.count("granted") == PACKETS
    # `memory` rains, too, as long as nothing is lost.
    connection.call("RAIN.CREATE fast AMOUNT 5000 COUNT 50 DURABILITY memory")
    grab_all(connection, "fast")
    for rain in ("one", "many", "fast"):
        connection.call("RAIN.CLOSE", rain)
    requests = {"one": None, "many": "r", "fast": None}
    before = {rain: heard(node, rain, word) for rain, word in requests.items()}
    info = {rain: told_of(connection, rain) for rain in requests}
    wins = [user for user, told in before["one"].items() if told[0][0] == "repeat"]
    assert len(wins) == PACKETS
    eventually(lambda: archived([node]) == 9, 30, "the archive")
    flat = connection.call("RAIN.INFO one")
    assert flat[flat.index("archived") + 1] == 4

    def same():
        for rain, word in requests.items():
            assert heard(node, rain, word) == before[rain]
            assert told_of(node.resp(), rain) == info[rain]
    same()
    # Another request of a user above LIMIT 1, and a user who names none.
    assert connection.call("RAIN.GRAB", "many", wins[0], "another")[0] == "closed"
    with pytest.raises(Failure, match="BADARG"):
        connection.call("RAIN.GRAB", "many", wins[0])
    pipelined(node, "one")
    text = node.request("GET", "/metrics", listener="admin").body.decode()
    assert 'downpour_archive_questions_total{outcome="answered"}' in text
    rows = node.request("GET", f"/v1/rains/one/claims?user={wins[0]}", listener="admin").json()
    packet, fen, ms = before["one"][wins[0]][1][0]
    assert str(packet) in str(rows) and str(ms) in str(rows)
    verdict = downpour("rain", "verify", "one", "--admin",
                       f"http://127.0.0.1:{node.port('admin')}")
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    # From the journal, and from snapshots after a clean stop.
    node.kill()
    node.start()
    same()
    assert node.stop() == 0
    store = env.get("DOWNPOUR_STORE_URL", f"sqlite:{node.data}/store.sqlite")
    audit = downpour("audit", "--data", node.data, "--store", store)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    node.start()
    same()


def test_while_the_store_is_down_everybody_is_told_to_try_again(make_node, maria):
    node = make_node(env={**ARCHIVE, "DOWNPOUR_STORE_URL": maria.url}).start()
    connection = node.resp()
    connection.call("RAIN.CREATE rain AMOUNT 1000 COUNT 10")
    connection.call("RAIN.CREATE open AMOUNT 1000 COUNT 10")
    first = connection.call("RAIN.GRAB", "rain", 1)
    connection.call("RAIN.CLOSE", "rain")
    eventually(lambda: archived([node]) == 1, 30, "the archive")
    maria.kill()
    for words in (("RAIN.GRAB", "rain", 1), ("RAIN.GRAB", "rain", 2), ("RAIN.CLAIMS", "rain", 1)):
        with pytest.raises(Failure, match="TRYAGAIN.*store"):
            connection.call(*words)
    answer = node.as_user(1, "GET", "/v1/rains/rain/claims")
    assert answer.status == 503 and "store" in answer.json()["detail"]
    assert "Retry-After" in answer.headers
    # Nobody else notices.
    assert connection.call("RAIN.GRAB", "open", 1)[0] == "granted"
    maria.start()

    def back():
        try:
            return connection.call("RAIN.GRAB", "rain", 1)
        except Failure as failure:
            assert failure.code == "TRYAGAIN", failure.text
            return None
    assert eventually(back, 30, "the store")[1:] == first[1:]
    assert connection.call("RAIN.GRAB", "rain", 2)[0] == "closed"


def test_a_restored_store_is_not_believed_before_it_is_fed_again(make_node, maria):
    node = make_node(env={**ARCHIVE, "DOWNPOUR_STORE_URL": maria.url}).start()
    connection = node.resp()
    connection.call("RAIN.CREATE rain AMOUNT 1000 COUNT 10")
    first = connection.call("RAIN.GRAB", "rain", 1)
    connection.call("RAIN.CLOSE", "rain")
    eventually(lambda: archived([node]) == 1, 30, "the archive")
    tables = "claims slices pools watermarks cursors rains outbox".split()
    heard = set()
    maria.sql("START TRANSACTION; " + "".join(f"DELETE FROM {one}; " for one in tables)
              + "DELETE FROM pool_secrets; COMMIT", "dp")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            answer = connection.call("RAIN.GRAB", "rain", 1)
            heard.add(answer[0])
            break
        except Failure as failure:
            assert failure.code == "TRYAGAIN", failure.text
            heard.add(failure.code)
    assert heard == {"TRYAGAIN", "repeat"} and answer[1:] == first[1:]


def test_the_disk_lets_archived_claims_go_as_well(make_node):
    """Snapshots after the archive hold no claims, and the segments before them go."""
    node = make_node("--cores", "1", "--segment-bytes", 1 << 17,
                     env={**ARCHIVE, "DOWNPOUR_RETENTION": "0s"}).start()
    claims = 20_000
    draw = random.Random(5)
    # Ids that no compression makes smaller.
    users = [draw.getrandbits(63) for _ in range(claims)]

    def size(folder):
        return sum(file.stat().st_size for file in (node.data / folder).rglob("*")
                   if file.is_file())
    connection = node.resp()
    connection.call(f"RAIN.CREATE rain AMOUNT {claims * 100} COUNT {claims} SLICES 2")
    for start in range(0, claims, 1_000):
        connection.send(b"".join(
            encode("RAIN.GRAB", "rain", user) for user in users[start:start + 1_000]))
        assert all(connection.read()[0] == "granted" for _ in range(1_000))
    before = connection.call("RAIN.GRAB", "rain", users[7])
    assert node.stop() == 0
    full = size("snapshots")
    node.start()
    node.resp().call("RAIN.CLOSE", "rain")
    eventually(lambda: archived([node]) == 2, 30, "the archive")
    # Two snapshots of each shard cover what is to go: two clean stops, with entries in between.
    for number in range(2):
        assert node.stop() == 0
        node.start()
        node.resp().call(f"RAIN.CREATE more-{number} AMOUNT 6400 COUNT 64 SLICES 64")
    assert node.stop() == 0
    node.start()
    assert full > claims * 8 > 2 * size("snapshots"), (full, size("snapshots"))

    def gone():
        names = sorted(file.name for file in (node.data / "journal").iterdir())
        return not any(name.startswith("0000000001-") for name in names) or None
    eventually(gone, 30, "the first segments' end")
    assert node.resp().call("RAIN.GRAB", "rain", users[7])[1:] == before[1:]
    assert len(node.resp().call("RAIN.CLAIMS", "rain", users[-1])) == 1


def test_any_node_of_a_cluster_answers_for_what_was_archived(directory, make_node, maria):
    cluster = Cluster(directory, make_node, replicas=2, store=maria.url, env=ARCHIVE)
    cluster.start()
    cluster.wait_settled()
    connection = cluster.nodes["n1"].resp()
    connection.call(f"RAIN.CREATE rain AMOUNT {PACKETS * 100} COUNT {PACKETS} SLICES 8 "
                    "DURABILITY replicated")
    told = {user: connection.call("RAIN.GRAB", "rain", user)[1:] for user in range(PACKETS)}
    connection.call("RAIN.CLOSE", "rain")
    # Each slice at its primary and at its backup.
    eventually(lambda: archived(cluster.nodes.values()) == 16, 30, "the archive")

    def same(names):
        for number, (user, win) in enumerate(told.items()):
            node = cluster.nodes[names[number % len(names)]]
            with node.resp() as one:
                def ask(*words):
                    for _ in range(400):
                        try:
                            return one.call(*words)
                        except Failure as failure:
                            assert failure.code in ("TRYAGAIN", "UNKNOWN"), failure.text
                            time.sleep(0.02)
                    raise AssertionError(f"{words} is never answered")
                assert ask("RAIN.GRAB", "rain", user)[1:] == win
                assert ask("RAIN.CLAIMS", "rain", user) == [[win[1], win[0], win[2]]]
                assert ask("RAIN.GRAB", "rain", PACKETS + user)[0] == "closed"
    same(NAMES)
    cluster.nodes["n2"].signal(signal.SIGKILL)
    cluster.nodes["n2"].wait()
    same(["n1", "n3"])
    cluster.nodes["n2"].start()
    cluster.wait_settled()
    same(NAMES)
    for node in cluster.nodes.values():
        assert node.stop(60) == 0
    data = [word for node in cluster.nodes.values() for word in ("--data", node.data)]
    audit = downpour("audit", *data, "--store", maria.url, timeout=120)
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_memory_goes_back_to_the_system(make_node, maria):
    """A rain of a million claims, some 14 bytes each: most of that leaves the process.

    Not SQLite: the cache of its pages, 16 MB, fills up meanwhile."""
    claims = int(os.environ.get("DOWNPOUR_TEST_ARCHIVED_CLAIMS", 1_000_000))
    node = make_node(
        "--cores", "1", env={**ARCHIVE, "DOWNPOUR_STORE_URL": maria.url}).start()
    connection = node.resp()
    connection.call(f"RAIN.CREATE big AMOUNT {claims * 100} COUNT {claims} SLICES 4")

    def resident():
        with open(f"/proc/{node.process.pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("Rss"))
    empty = resident()
    granted = 0
    for start in range(0, claims, 1_000):
        for user in range(start, start + 1_000):
            connection.send(encode("RAIN.GRAB", "big", user))
        granted += sum(connection.read()[0] == "granted" for _ in range(1_000))
    assert granted == claims
    full = resident()
    connection.call("RAIN.CLOSE", "big")
    eventually(lambda: archived([node]) == 4, 120, "the archive")

    def given_back():
        return full - resident() >= claims * 8
    eventually(given_back, 30, f"memory ({empty >> 10}, {full >> 10}, {resident() >> 10} KiB)")
    print(f"{empty >> 10} KiB empty, {full >> 10} full, {resident() >> 10} archived")
    assert connection.call("RAIN.GRAB", "big", 7)[0] == "repeat"
