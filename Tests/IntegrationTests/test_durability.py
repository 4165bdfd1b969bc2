"""What was acknowledged survives: kill -9, SIGTERM, a full disk, damage, a read-only disk."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from node import eventually
from operators import audit
from resp import Closed, Failure, encode

USERS_PER_THREAD = 1_000_000


class Crowd:
    """Threads of users who grab pipelined until the node is gone; what they were told."""

    def __init__(self, node, pool, threads=4, depth=32):
        self.node, self.pool, self.depth = node, pool, depth
        self.told = {}
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(number,))
                        for number in range(threads)]

    def work(self, number):
        told, user = {}, number * USERS_PER_THREAD
        try:
            with self.node.resp() as connection:
                while True:
                    users = range(user, user + self.depth)
                    connection.send(b"".join(
                        encode("RAIN.GRAB", self.pool, one) for one in users))
                    for one in users:
                        reply = connection.read()
                        assert not isinstance(reply, Failure), reply
                        told[one] = reply
                    user += self.depth
        except (Closed, OSError):
            pass
        with self.lock:
            self.told.update(told)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads)


def granted_count(node, pool):
    with node.resp() as connection:
        return connection.mapping(f"RAIN.INFO {pool}")["granted"]


def require_told(node, pool, told):
    """Everybody who was told something is told the same again."""
    users = list(told)
    with node.resp(timeout=30) as connection:
        for first in range(0, len(users), 500):
            some = users[first:first + 500]
            connection.send(b"".join(encode("RAIN.GRAB", pool, user) for user in some))
            for user in some:
                reply = connection.read()
                assert reply[0] == "repeat" and reply[1:] == told[user][1:], (
                    user, told[user], reply)


def require_balance(node, pool, amount, count):
    with node.resp() as connection:
        info = connection.mapping(f"RAIN.INFO {pool}")
    assert info["granted"] + info["remaining"] == count, info
    assert 0 <= info["granted_fen"] <= amount and info["quarantined"] == 0, info
    return info


@pytest.mark.parametrize("slices", ["SLICES 1", ""])
def test_kill_9_in_mid_rain_loses_nothing_that_was_told(start_node, slices):
    count, amount = 2_000_000, 2_000_000_000
    node = start_node()
    with node.resp() as connection:
        connection.call(f"RAIN.CREATE r AMOUNT {amount} COUNT {count} {slices}")
    told = {}
    for _ in range(2):
        before = granted_count(node, "r")
        with Crowd(node, "r") as crowd:
            eventually(lambda: granted_count(node, "r") > before + 5000, what="the rain")
            node.kill()
        fresh = {user: reply for user, reply in crowd.told.items() if reply[0] == "granted"}
        assert len(fresh) > 1000
        told.update(fresh)
        node.start()
        require_told(node, "r", told)
        info = require_balance(node, "r", amount, count)
        assert info["granted"] >= len(told)
    packets = [reply[2] for reply in told.values()]
    assert len(set(packets)) == len(packets), "a packet is nobody else's"
    assert node.stop() == 0
    report = audit(node)
    assert report.returncode == 0, report.stdout + report.stderr


def test_kill_9_between_an_order_and_its_payment(start_node):
    node = start_node()
    with node.resp() as connection:
        connection.call("STOCK.CREATE s UNITS 100 PRICE 500 LIMIT 2")
        orders = [connection.call(f"STOCK.RESERVE s {user} 1 q")[1] for user in range(20)]
        for number, order in enumerate(orders[:10]):
            assert connection.call(f"ORDER.PAY {order} pay-{number} 500")[0] == "paid"
        assert connection.call(f"ORDER.CANCEL {orders[19]}")[0] == "cancelled"
    node.kill()
    node.start()
    with node.resp() as connection:
        for user, order in enumerate(orders[:19]):
            reply = connection.call(f"STOCK.RESERVE s {user} 1 q")
            assert reply[:2] == ["repeat", order], reply
        for number, order in enumerate(orders[:10]):
            assert connection.call(f"ORDER.PAY {order} pay-{number} 500")[0] == "repeat"
        assert connection.call(f"ORDER.PAY {orders[0]} other 500")[0] == "refund"
        assert connection.call(f"ORDER.PAY {orders[19]} other 500")[0] == "refund"
        info = connection.mapping("STOCK.INFO s")
        assert (info["available"], info["pending"], info["sold"]) == (81, 9, 10)
    assert node.stop() == 0
    assert audit(node).returncode == 0


def test_holds_run_out_on_time_after_a_restart(start_node):
    node = start_node()
    with node.resp() as connection:
        connection.call("STOCK.CREATE s UNITS 1 PRICE 1 HOLD 2 SLICES 1")
        _, order, expires = connection.call("STOCK.RESERVE s 1 1 q")
    node.kill()
    node.start()
    with node.resp() as connection:
        eventually(lambda: connection.mapping(f"ORDER.INFO {order}")["state"] == "expired",
                   what="the expiry")
        assert time.time() * 1000 >= expires
        assert connection.call("STOCK.RESERVE s 2 1 q")[0] == "reserved"


def test_a_memory_rain_whose_node_died_is_lost_not_granted_again(start_node):
    node = start_node()
    with node.resp() as connection:
        connection.call("RAIN.CREATE m AMOUNT 1000 COUNT 10 DURABILITY memory SLICES 1")
        assert connection.call("RAIN.GRAB m 1")[0] == "granted"
    node.kill()
    node.start()
    with node.resp() as connection:
        assert connection.call("RAIN.GRAB m 2")[0] == "lost"
        assert connection.call("RAIN.GRAB m 1")[0] == "lost"
        assert connection.mapping("RAIN.INFO m")["quarantined"] > 0


def test_sigterm_drains(start_node):
    """/readyz turns 503 while grabs are still served; then the node ends with 0."""
    node = start_node("--drain", "3s")
    with node.resp() as connection:
        connection.call("RAIN.CREATE r AMOUNT 1000000 COUNT 10000")
        assert node.request("GET", "/readyz").status == 200
        node.signal(signal.SIGTERM)
        eventually(lambda: node.request("GET", "/readyz").status == 503, 2, "the drain")
        assert node.request("GET", "/healthz").status == 200
        assert connection.call("RAIN.GRAB r 1")[0] == "granted"
        assert node.as_user(2, "POST", "/v1/rains/r/grab").json()["outcome"] == "granted"
        assert node.wait(20) == 0
        assert connection.closed_by_peer()
    assert not node.ready_path.exists() or not node.alive()
    node.start()
    with node.resp() as connection:
        assert connection.call("RAIN.GRAB r 1")[0] == "repeat"
        assert connection.call("RAIN.GRAB r 2")[0] == "repeat"


def test_sigterm_under_load_answers_or_closes_but_never_lies(start_node):
    node = start_node("--drain", "1s")
    with node.resp() as connection:
        connection.call("RAIN.CREATE r AMOUNT 1000000000 COUNT 1000000")
    with Crowd(node, "r") as crowd:
        eventually(lambda: granted_count(node, "r") > 2000, what="the rain")
        assert node.stop() == 0
    node.start()
    require_told(node, "r", crowd.told)


def test_a_second_node_on_the_same_data_is_refused(start_node, make_node):
    node = start_node()
    other = make_node("--data", node.data, name="other").launch()
    assert other.wait(20) not in (0, None)
    assert other.log().strip()
    assert node.request("GET", "/healthz").status == 200


@pytest.fixture
def small_disk(directory):
    """A tmpfs of 24 MiB, unmounted afterwards."""
    path = directory / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "downpour-test", path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs is not allowed here (needs root)")
    yield path
    # A killed node may hold it for a moment more.
    eventually(lambda: subprocess.run(["umount", path], capture_output=True).returncode == 0,
               what="the unmounting")


def test_a_full_disk_refuses_and_loses_nothing(small_disk, make_node):
    node = make_node("--data", small_disk / "data")
    node.data = small_disk / "data"
    node.start()
    told, refused = {}, None
    with node.resp(timeout=30) as connection:
        connection.call("STOCK.CREATE s UNITS 100 PRICE 500")
        order = connection.call("STOCK.RESERVE s 1 1 q")[1]
        connection.call("RAIN.CREATE r AMOUNT 3000000000 COUNT 3000000")
        for first in range(0, 2_000_000, 1000):
            connection.send(b"".join(
                encode("RAIN.GRAB", "r", user) for user in range(first, first + 1000)))
            for user in range(first, first + 1000):
                reply = connection.read()
                if isinstance(reply, Failure):
                    refused = refused or reply
                    assert reply.code in ("FULL", "THROTTLED", "TRYAGAIN"), reply.text
                else:
                    told[user] = reply
            if refused:
                break
        assert refused and refused.code == "FULL", refused
        assert connection.call("RAIN.GRAB r 0")[0] == "repeat", "reads go on"
        assert connection.call(f"ORDER.PAY {order} p 500")[0] == "paid", "payments have room"
    assert node.alive() and node.request("GET", "/healthz").status == 200
    node.kill()
    node.start()
    require_told(node, "r", {user: told[user] for user in list(told)[::50]})
    with node.resp() as connection:
        assert connection.call(f"ORDER.PAY {order} p 500")[0] == "repeat"
        assert connection.mapping("RAIN.INFO r")["granted"] >= len(told)


def test_a_clean_stop_on_a_full_disk_is_still_clean(small_disk, make_node):
    """Snapshots have no room, the journal's segment has: nothing is put out of play."""
    node = make_node("--data", small_disk / "data", env={"DOWNPOUR_STORE_URL": "none"})
    node.data = small_disk / "data"
    node.start()
    with node.resp() as connection:
        connection.call("RAIN.CREATE m AMOUNT 100000 COUNT 1000 DURABILITY memory")
        assert connection.call("RAIN.GRAB m 1")[0] == "granted"
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    assert node.stop() == 0, node.log_tail()
    assert "no snapshots at the stop" in node.log()
    filler.unlink()
    node.start()
    with node.resp() as connection:
        assert connection.call("RAIN.GRAB m 1")[0] == "repeat"
        assert connection.call("RAIN.GRAB m 2")[0] == "granted"


def test_a_read_only_data_directory_is_a_clear_error(small_disk, make_node):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    node = make_node("--data", small_disk / "data").launch()
    assert node.wait(20) == 78, node.log_tail()
    assert "data" in node.log() and "Fatal error" not in node.log()


def journal_files(node):
    """Files that hold the journal: the largest ones that are not the store's."""
    files = [path for path in node.data.rglob("*") if path.is_file() and path.stat().st_size
             and b"SQLite format 3" not in path.read_bytes()[:16]
             and not path.name.endswith(("-wal", "-shm"))]
    return sorted(files, key=lambda path: path.stat().st_mtime)


@pytest.fixture
def crashed(start_node):
    """A node that has granted 5,000 packets, over two starts, and was killed."""
    node = start_node()
    with node.resp() as connection:
        connection.call("RAIN.CREATE r AMOUNT 10000000 COUNT 10000 SLICES 1")
        connection.send(b"".join(encode("RAIN.GRAB", "r", user) for user in range(5000)))
        node.told = {user: connection.read() for user in range(5000)}
    node.kill()
    return node


def test_a_torn_tail_is_cut(crashed):
    """Bytes of an entry that never was complete: after the last that was acknowledged."""
    journal = journal_files(crashed)[-1]
    with open(journal, "ab") as file:
        file.write(os.urandom(7))
    crashed.start()
    require_told(crashed, "r", crashed.told)
    with crashed.resp() as connection:
        assert connection.call("RAIN.GRAB r 9000")[0] == "granted"


def test_damage_before_the_tail_is_never_skipped(crashed, directory):
    """One bit anywhere in the middle: the node says where and does not serve that shard."""
    journal = max(journal_files(crashed), key=lambda path: path.stat().st_size)
    original = journal.read_bytes()
    used = len(original.rstrip(b"\0"))
    at = used // 2
    journal.write_bytes(
        original[:at] + bytes([original[at] ^ 0x10]) + original[at + 1:])
    crashed.launch()
    try:
        crashed.ready = eventually(
            lambda: crashed.process.poll() is not None or crashed.ready_path.exists(), 20)
    finally:
        text = crashed.log()
    assert journal.name in text, "the log names the damaged file"
    if crashed.alive():
        crashed.ready = json.loads(crashed.ready_path.read_text())
        with crashed.resp() as connection:
            replies = []
            for user in (1, 4999, 9001):
                connection.send(encode("RAIN.GRAB", "r", user))
                replies.append(connection.read())
        for reply in replies:
            assert isinstance(reply, Failure) or reply[0] == "repeat", reply
        crashed.kill()
    else:
        assert crashed.process.returncode > 0, "an error, not a crash by a signal"
    journal.write_bytes(original)
    crashed.start()
    require_told(crashed, "r", crashed.told)


def test_a_copied_data_directory_serves_the_same(crashed, make_node):
    """Backup by copying: the files are all there is."""
    other = make_node(name="copy")
    other.directory.mkdir()
    shutil.copytree(crashed.data, other.data)
    other.start()
    require_told(other, "r", crashed.told)


def test_acknowledgements_wait_for_the_disk_even_if_the_client_goes(start_node):
    """Commands without a reader are applied whole or not at all, and the books balance."""
    node = start_node()
    with node.resp() as connection:
        connection.call("RAIN.CREATE r AMOUNT 1000000 COUNT 10000")
    for number in range(20):
        with socket.create_connection(("127.0.0.1", node.port("resp"))) as one:
            one.sendall(b"".join(encode("RAIN.GRAB", "r", number * 100 + user)
                                 for user in range(100)))
    eventually(lambda: granted_count(node, "r") > 0)
    node.kill()
    node.start()
    require_balance(node, "r", 1000000, 10000)
