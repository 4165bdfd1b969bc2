"""Redis behind the store: the mirror, events with consumers, dead letters, the command line."""

import json
import os
import subprocess
import sys
import time

import pytest

from cluster import free_ports
from node import ROOT, clean_environment, downpour, eventually
from servers import Redis

CONSUMER = ROOT / "topology/deploy/redis/consumer.py"


@pytest.fixture
def server(directory):
    """What it had is gone once it was killed."""
    made = Redis(
        directory / "redis", free_ports(1)[0], options=["--appendonly", "no"],
        password="s3cret").start()
    yield made
    made.kill()


@pytest.fixture
def node(server, start_node):
    return start_node(env={"DOWNPOUR_REDIS_URL": server.url,
                           "DOWNPOUR_CACHE_KEYS": "stock=cache:stock:{id}"})


@pytest.fixture
def consume(server):
    """Starts the example's consumer; what it prints is read with `lines`."""
    started = []

    def start(group, name="one", **environment):
        process = subprocess.Popen(
            [sys.executable, CONSUMER, "--group", group, "--name", name, "--url", server.url],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=clean_environment(environment))
        os.set_blocking(process.stdout.fileno(), False)
        process.seen = []
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def lines(process):
    while line := process.stdout.readline():
        process.seen.append(line.strip())
    return process.seen


def metric(node, name):
    text = node.request("GET", "/metrics", listener="admin").body.decode()
    return next(float(line.split()[-1]) for line in text.splitlines()
                if line.startswith(name + " "))


def outbox(server, *arguments):
    return downpour("outbox", *arguments, env={"DOWNPOUR_REDIS_URL": server.url})


def test_the_mirror_follows_and_comes_back(server, node):
    with node.resp() as resp:
        resp.call("RAIN.CREATE", "r", "AMOUNT", 10_000, "COUNT", 100)
        won = sum(resp.call("RAIN.GRAB", "r", user)[1] for user in range(40))

        def shown():
            rain = server.client.hgetall("downpour:rain:r")
            return (rain.get("granted"), rain.get("granted_fen"), rain.get("remaining")) == (
                "40", str(won), "60")

        eventually(shown, what="the mirror")
        server.client.flushall()
        eventually(shown, what="the mirror after FLUSHALL")
        server.kill()
        won += sum(resp.call("RAIN.GRAB", "r", user)[1] for user in range(40, 50))
        eventually(lambda: metric(node, "downpour_redis_connected") == 0, what="the loss is seen")
        assert metric(node, "downpour_store_lag_entries") == 0 or node.alive()
        server.start()
        eventually(
            lambda: server.client.hgetall("downpour:rain:r").get("granted_fen") == str(won),
            what="the mirror after a crash of Redis")
    eventually(lambda: metric(node, "downpour_redis_lag_entries") == 0, what="no lag")
    running = downpour("audit", "--admin", f"http://127.0.0.1:{node.port('admin')}")
    assert running.returncode == 0, running.stdout + running.stderr
    assert node.stop() == 0
    assert "s3cret" not in node.log()

    def stopped():
        return downpour("audit", "--data", node.data, env={"DOWNPOUR_REDIS_URL": server.url})

    assert stopped().returncode == 0
    server.client.hincrby("downpour:rain:r", "granted_fen", 1)
    tampered = stopped()
    assert tampered.returncode == 1
    assert f"downpour:rain:r: granted_fen: expected {won}" in tampered.stdout


def test_a_consumer_gets_every_event_and_dead_letters_are_replayed(server, node, consume):
    with node.resp() as resp:
        resp.call("STOCK.CREATE", "s", "UNITS", 50, "PRICE", 100)
        server.client.set("cache:stock:s", "old")
        order = resp.call("STOCK.RESERVE", "s", 7, 1, "a")[1]
        resp.call("STOCK.RESERVE", "s", 8, 1, "b")
        resp.call("ORDER.PAY", order, "p1", 100)
    billing = consume("billing", FAIL_TYPE="order.paid")
    eventually(lambda: len(lines(billing)) == 2, what="two reservations")
    assert all("order.reserved" in line for line in billing.seen)
    assert not server.client.exists("cache:stock:s")

    # Three tries: at once, after a second, after two more; then it is due for the last time.
    eventually(lambda: server.client.xlen("downpour:dead") == 1, timeout=40, what="a dead letter")
    listed = outbox(server, "list")
    assert listed.returncode == 0 and "no use for order.paid" in listed.stdout
    letter, = json.loads(outbox(server, "list", "--json").stdout)["letters"]
    assert letter["group"] == "billing" and letter["deliveries"] == 3
    assert letter["event"]["id"] == letter["id"] and letter["event"]["data"]["payment"] == "p1"
    assert letter["event"]["subject"] == order

    billing.kill()
    billing.wait()
    assert outbox(server, "replay", letter["id"], "--group", "other").stdout == "0 replayed\n"
    assert outbox(server, "replay", letter["id"]).stdout == "1 replayed\n"
    again = outbox(server, "replay", "--all")
    assert again.returncode == 0 and again.stdout == "0 replayed\n"
    healed = consume("billing", "two")
    eventually(lambda: lines(healed), what="the replayed event")
    assert healed.seen == [f"{letter['id']} order.paid {order}"]
    eventually(lambda: server.client.xlen("downpour:events") == 0, what="all trimmed")
    assert metric(node, "downpour_redis_dead_letters") >= 0
    assert metric(node, "downpour_redis_buried_events_total") == 1


def test_consumers_that_crash_lose_nothing(server, node, consume):
    with node.resp() as resp:
        resp.call("STOCK.CREATE", "s", "UNITS", 500, "PRICE", 100)
        seen, last = [], None
        for user in range(300):
            resp.call("STOCK.RESERVE", "s", user, 1, "a")
            if user % 60 == 0:
                if last:
                    last.kill()
                    last.wait()
                    seen += lines(last)
                last = consume("audit", f"c{user}")
                time.sleep(0.3)

    def total():
        return len({line.split()[0] for line in seen + lines(last)}) == 300

    eventually(total, timeout=30, what="300 events")


def test_the_command_line_says_what_is_wrong(server, directory):
    def run(url, *arguments):
        return downpour("outbox", *arguments, env={"DOWNPOUR_REDIS_URL": url} if url else None)

    assert run(None, "list").returncode == 78
    assert run("http://x", "list").returncode == 78
    wrong = run(server.url.replace("s3cret", "wr0ng"), "list")
    assert wrong.returncode == 77 and "wr0ng" not in wrong.stderr
    assert run(server.url, "replay").returncode == 64
    secret = directory / "url"
    secret.write_text(server.url + "\n")
    assert downpour("outbox", "list", env={"DOWNPOUR_REDIS_URL_FILE": secret}).returncode == 0
    server.kill()
    assert run(server.url, "list").returncode == 69


@pytest.mark.parametrize("environment", [
    {"DOWNPOUR_REDIS_URL": "redis://:s3cret"},
    {"DOWNPOUR_REDIS_URL": "redis://127.0.0.1", "DOWNPOUR_STORE_URL": "none"},
    {"DOWNPOUR_REDIS_URL": "redis://127.0.0.1", "DOWNPOUR_CACHE_KEYS": "nonsense"},
    {"DOWNPOUR_CACHE_KEYS": "stock=c:{id}"},
    {"DOWNPOUR_EVENT_DELIVERIES": "4"},
    {"DOWNPOUR_REDIS_URL": "redis://127.0.0.1", "DOWNPOUR_EVENT_DELIVERIES": "17"},
    {"DOWNPOUR_REDIS_URL": "redis://127.0.0.1", "DOWNPOUR_EVENT_STREAM_LIMIT": "999"},
    {"DOWNPOUR_REDIS_URL": "redis://127.0.0.1", "DOWNPOUR_EVENT_BACKOFF": "2s:1s"},
    {"DOWNPOUR_REDIS_URL": "redis://127.0.0.1", "DOWNPOUR_INVALIDATION_DELAY": "61s"},
    {"DOWNPOUR_REDIS_URL": "redis://127.0.0.1", "DOWNPOUR_DEAD_LETTER_LIMIT": "none"},
    {"DOWNPOUR_EXTRA_EVENTS": "rain.claimed,rain.opened"},
])
def test_settings_that_make_no_sense_are_refused(environment):
    result = downpour("node", "--check-config", env=environment)
    assert result.returncode == 78 and "s3cret" not in result.stderr
    assert any(name in result.stderr for name in environment), result.stderr


def test_limits_and_events_are_settings(server, start_node, consume):
    assert downpour("node", "--check-config", "--event-deliveries", "16", env={
        "DOWNPOUR_REDIS_URL": server.url}).returncode == 0
    node = start_node("--event-deliveries", "2", env={
        "DOWNPOUR_REDIS_URL": server.url, "DOWNPOUR_EVENT_BACKOFF": "50ms:100ms",
        "DOWNPOUR_EXTRA_EVENTS": "rain.claimed"})
    with node.resp() as resp:
        resp.call("RAIN.CREATE", "r", "AMOUNT", 100, "COUNT", 10)
        _, fen, packet, _ = resp.call("RAIN.GRAB", "r", 9)
        resp.call("STOCK.CREATE", "s", "UNITS", 5, "PRICE", 100)
        order = resp.call("STOCK.RESERVE", "s", 7, 1, "a")[1]
        resp.call("ORDER.PAY", order, "p1", 100)
        resp.call("ORDER.REFUND", order, "back-1", 50, "RESTOCK", 1)

    def events():
        found = [json.loads(fields["event"]) for _, fields in
                 server.client.xrange("downpour:events")]
        return {event["type"]: event for event in found}

    eventually(lambda: len(events()) == 4, what="four events")
    claimed = events()["rain.claimed"]
    assert claimed["subject"] == "r"
    assert claimed["data"] == {"rain": "r", "user": "9", "packet": packet, "fen": fen}
    refunded = events()["order.refunded"]
    assert refunded["subject"] == order and refunded["data"]["sku"] == "s"
    assert {name: refunded["data"][name] for name in (
        "request", "fen", "restocked", "refundedFen", "user")} == {
        "request": "back-1", "fen": 50, "restocked": 1, "refundedFen": 50, "user": "7"}
    billing = consume("billing", FAIL_TYPE="rain.claimed", FIRST_MS="50", LONGEST_MS="100",
                      DELIVERIES="2")
    eventually(lambda: server.client.xlen("downpour:dead") == 1, what="a dead letter")
    assert len(lines(billing)) == 3
    letter, = json.loads(outbox(server, "list", "--json").stdout)["letters"]
    assert letter["deliveries"] == 2 and letter["event"] == claimed
