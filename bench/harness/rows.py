"""The rows of the table: how each side of each is measured once, with a fresh server."""

import contextlib
import functools
import json
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import load
from .downpour import Downpour, Pair
from .peers import Nginx, Redis, RedisPair, sample_body
from .process import BenchError

OURS, PEER = "ours", "peer"
USER_FIELD = "__rand_int__"


@dataclass
class Context:
    """Where and how the rows run."""

    binary: Path | None
    scratch: Path
    server_core: int
    client_core: int
    quick: bool
    node_options: list = field(default_factory=list)
    node_env: dict = field(default_factory=dict)

    @contextlib.contextmanager
    def directory(self):
        """A directory for one sample, gone afterwards. nginx' worker may need to enter it."""
        path = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @functools.cached_property
    def pipes(self):
        """The compiled load generator."""
        return load.build_pipes(self.scratch)

    def downpour(self, directory, durability):
        return Downpour(self.binary, self.server_core, directory, durability,
                        self.node_options, self.node_env)


def resp_command(side, name, sha=None):
    if side == OURS:
        return ["RAIN.GRAB", name, USER_FIELD]
    return ["EVALSHA", sha, "2", f"packets{name}", f"claims{name}", USER_FIELD]


def measured(server, work):
    """Runs `work` and returns its load with the server's CPU microseconds an operation."""
    before = server.cpu_seconds()
    result = work()
    server.require_alive()
    used = server.cpu_seconds() - before
    return result, used / result.requests * 1e6


def grab_over_resp(context, side, requests, pipeline, durability):
    """Random users out of 2^31 grab from a rain that holds a packet for each request."""
    warm_requests = max(1000, requests // 20)
    with context.directory() as directory, contextlib.ExitStack() as stack:
        if side == OURS:
            server = stack.enter_context(context.downpour(directory, durability))
            port = server.resp_port
            server.create_rain("warm", warm_requests)
            server.create_rain("rain", requests)
            sha = None
        else:
            options = {} if durability == "memory" else {
                "appendonly": "yes", "appendfsync": "always"}
            server = stack.enter_context(Redis(context.server_core, directory, options))
            port = server.port
            server.fill("packetswarm", warm_requests)
            server.fill("packetsrain", requests)
            sha = server.load_script("grab.lua")

        def drive(name, count):
            return load.redis_benchmark(
                port, context.client_core, count, pipeline, resp_command(side, name, sha))

        drive("warm", warm_requests)
        result, cpu_us = measured(server.server, lambda: drive("rain", requests))
        granted = (server.check("rain", requests) if side == OURS
                   else server.check("packetsrain", "claimsrain", requests))
        require_mostly_granted(granted, requests)
        return {"cpu_us": cpu_us, "rate": result.rate, "p50_ms": result.p50_ms,
                "p99_ms": result.p99_ms, "requests": requests, "granted": granted}


def grab_over_two_nodes(context, side, requests, pipeline):
    """Ours: the node that is asked does not have the slice. Peer: the one that has it. The CPU of
    both nodes counts."""
    with context.directory() as directory, Pair(
            context.binary, context.server_core, directory, context.node_options,
            context.node_env) as pair:
        asked = pair.nodes[0 if side == OURS else 1]
        name = pair.create_rain_of_second(requests + requests // 20 + 1)
        command = ["RAIN.GRAB", name, USER_FIELD]
        port = asked.resp_port
        load.redis_benchmark(port, context.client_core, requests // 20, pipeline, command)
        before = pair.nodes[1].grabs()
        result, cpu_us = measured(pair, lambda: load.redis_benchmark(
            port, context.client_core, requests, pipeline, command))
        granted = pair.nodes[1].grabs() - before
        require_mostly_granted(granted, requests)
        return {"cpu_us": cpu_us, "rate": result.rate, "p50_ms": result.p50_ms,
                "p99_ms": result.p99_ms, "requests": requests, "granted": granted}


# The users of the replicated rows are the same in every sample.
WARM_SEED, SEED = 1, 2
# Behind a batch of the peer; one behind each grab costs it twice as much.
WAIT = ("once", "WAIT", "1", "0")
# Four of its eight slices are the first node's.
HALVED = "storm"


def grab_replicated(context, side, requests, pipeline):
    """Two servers; both have a grab before it is answered. The CPU of both counts."""
    measure = replicated_ours if side == OURS else replicated_peer
    warm_requests = max(1000, requests // 20)
    with context.directory() as directory:
        result, sample = measure(context, directory, warm_requests, requests, pipeline)
    require_mostly_granted(sample["granted"], requests)
    return {**sample, "rate": result.rate, "p50_ms": result.p50_ms, "p99_ms": result.p99_ms,
            "requests": requests}


def replicated_ours(context, directory, warm_requests, requests, pipeline):
    """Half of the connections to each node, so half of the grabs arrive where their shard is not
    led. In the end one node is killed and everybody comes again: the other knows them all."""
    with Pair(context.binary, context.server_core, directory, context.node_options,
              context.node_env, copies=2) as pair:
        def drive(ports, name, count, depth, seed):
            return load.pipes(context.pipes, ports, context.client_core, count, depth, seed,
                              resp_command(OURS, name))

        for name, count in (("warm", warm_requests), (HALVED, requests)):
            pair.nodes[0].create_rain(name, count, "DURABILITY", "replicated")
        ports = [node.resp_port for node in pair.nodes]
        drive(ports, "warm", warm_requests, pipeline, WARM_SEED)
        led, background = pair.nodes[0].grabs(), pair.background_seconds()
        result, cpu_us = measured(
            pair, lambda: drive(ports, HALVED, requests, pipeline, SEED))
        background = pair.background_seconds() - background
        led = pair.nodes[0].grabs() - led
        if not 0.4 <= led / requests <= 0.6:
            raise BenchError(f"the first node led {led} grabs of {requests}, not half")
        granted = pair.nodes[0].check(HALVED, requests)
        survivor = pair.lose_first(HALVED)
        require_same(granted, survivor.check(HALVED, requests))
        drive([survivor.resp_port], HALVED, requests, 32, SEED)
        require_same(granted, survivor.check(HALVED, requests))
        return result, {"cpu_us": cpu_us, "background_us": background / requests * 1e6,
                        "granted": granted}


def replicated_peer(context, directory, warm_requests, requests, pipeline):
    """`WAIT 1 0` behind each batch; the books of the replica are those of the primary."""
    with RedisPair(context.server_core, directory) as pair:
        sha = pair.primary.load_script("grab.lua")

        def drive(name, count, seed):
            return load.pipes(context.pipes, [pair.primary.port], context.client_core, count,
                              pipeline, seed, resp_command(PEER, name, sha), WAIT)

        pair.fill("packetswarm", warm_requests)
        pair.fill("packetsrain", requests)
        drive("warm", warm_requests, WARM_SEED)
        result, cpu_us = measured(pair, lambda: drive("rain", requests, SEED))
        granted, copied = (node.check("packetsrain", "claimsrain", requests)
                           for node in (pair.primary, pair.replica))
        require_same(granted, copied)
        return result, {"cpu_us": cpu_us, "granted": granted}


def require_same(granted, copied):
    if granted != copied:
        raise BenchError(f"{granted} granted, {copied} where the copy is")


def require_mostly_granted(granted, requests):
    """Users are random, so a few come twice: 2M of 2^31 repeat 0.05 %, 10M 0.23 %."""
    if not requests * 0.99 <= granted <= requests:
        raise BenchError(f"{granted} granted of {requests} requests: the mix is not as stated")


def http_grab_ours(context, seconds):
    packets = 20_000_000
    with context.directory() as directory, context.downpour(directory, "memory") as node:
        node.create_rain("warm", packets)
        node.create_rain("rain", packets)
        path = "/v1/rains/{}/grab"
        check_http_body(*node.request("POST", path.format("warm"), {"X-User": "7"}))
        load.wrk(node.http_port, context.client_core, 1, path.format("warm"))
        result, cpu_us = measured(node.server, lambda: load.wrk(
            node.http_port, context.client_core, seconds, path.format("rain")))
        granted = node.check("rain", packets)
        require_http_granted(granted, result.requests)
        return http_sample(result, cpu_us, granted)


def http_grab_peer(context, seconds):
    """nginx and Redis share the server's core; their CPU counts together."""
    packets = 100_000 * (seconds + 1)
    with context.directory() as directory, \
            Redis(context.server_core, directory) as redis:
        filled = redis.fill("packets", packets, numbered=True)
        sha = redis.load_script("grab_http.lua")
        with Nginx(context.server_core, directory, sample_body(), redis.port, sha) as nginx:
            path = "/v1/rains/rain/grab"
            check_http_body(*nginx.request("POST", path, {"X-User": "7"}))
            check_http_body(*nginx.request("POST", path, {"X-User": "7"}), replayed=True)
            load.wrk(nginx.port, context.client_core, 1, path)
            # The measured users begin again at the first: their claims have to go first.
            redis.connection.call("DEL", "claims")
            filled = redis.connection.call("LLEN", "packets")
            redis_before = redis.server.cpu_seconds()
            result, cpu_us = measured(nginx.server, lambda: load.wrk(
                nginx.port, context.client_core, seconds, path))
            redis_us = (redis.server.cpu_seconds() - redis_before) / result.requests * 1e6
            granted = redis.check("packets", "claims", filled)
        require_http_granted(granted, result.requests)
        sample = http_sample(result, cpu_us + redis_us, granted)
        return {**sample, "nginx_us": cpu_us, "redis_us": redis_us}


def http_constant(context, seconds):
    with context.directory() as directory, \
            Nginx(context.server_core, directory, sample_body()) as nginx:
        load.wrk(nginx.port, context.client_core, 1, "/constant")
        result, cpu_us = measured(nginx.server, lambda: load.wrk(
            nginx.port, context.client_core, seconds, "/constant"))
        return http_sample(result, cpu_us, None)


def http_sample(result, cpu_us, granted):
    return {"cpu_us": cpu_us, "rate": result.rate, "p50_ms": result.p50_ms,
            "p99_ms": result.p99_ms, "requests": result.requests, "granted": granted}


def check_http_body(status, body, replayed=False):
    answer = json.loads(body) if status == 200 else {}
    if answer.get("outcome") != "granted" or answer.get("replayed", False) != replayed:
        raise BenchError(f"HTTP grab answered {status} {body[:300]!r}")


def require_http_granted(granted, requests):
    """Users are distinct: each counted request took a packet. wrk does not count the requests
    that are under way when its time is up, at most one a connection."""
    if not requests <= granted <= requests + 64:
        raise BenchError(f"{granted} granted, but wrk counted {requests} requests")


def memory_per_claim(context, side, claims):
    """Resident memory of the whole process before and after `claims` grabs.

    Redis stores only user -> amount here, with no list of packets beside it, because that list
    would hand its memory over to the hash while it shrinks. It is brought to its smallest
    (`Redis.compact`).
    """
    with context.directory() as directory, contextlib.ExitStack() as stack:
        if side == OURS:
            server = stack.enter_context(context.downpour(directory, "memory"))
            port, command = server.resp_port, ["RAIN.GRAB", "rain", USER_FIELD]
            server.create_rain("rain", claims)
        else:
            server = stack.enter_context(Redis(context.server_core, directory))
            port, command = server.port, ["HSET", "claims", USER_FIELD, "2034"]
        before = server.server.settled_rss_bytes()
        load.redis_benchmark(port, context.client_core, claims, 32, command)
        if side == PEER:
            server.compact("claims", claims)
        after = server.server.settled_rss_bytes()
        granted = (server.check("rain", claims) if side == OURS else server.claims("claims"))
        require_mostly_granted(granted, claims)
        return {"bytes": (after - before) / granted, "before_bytes": before,
                "after_bytes": after, "granted": granted}


class Restart:
    """Both sides load the same claims once; each sample starts a server on what they left.

    Ours is judged as kill -9 left it; Redis by the faster of an RDB (a clean, compact dump) and
    its append-only file as kill -9 left it, with Redis' default automatic rewriting.
    """

    def __init__(self, context, claims):
        self.context, self.claims = context, claims
        self.stack = contextlib.ExitStack()
        self.directories, self.granted = {}, {}

    def close(self):
        self.stack.close()

    def prepare(self, side):
        directory = self.stack.enter_context(self.context.directory())
        if side == OURS:
            server, command, port = self._start_ours(directory)
            server.create_rain("rain", self.claims)
        else:
            server = Redis(self.context.server_core, directory, {"appendonly": "yes"})
            server.fill("packetsrain", self.claims)
            command = resp_command(PEER, "rain", server.load_script("grab.lua"))
            port = server.port
        with server:
            load.redis_benchmark(port, self.context.client_core, self.claims, 32, command)
            granted = self._granted(side, server)
            require_mostly_granted(granted, self.claims)
            if side == PEER:
                self._dump(server)
        self.directories[side], self.granted[side] = directory, granted

    def _start_ours(self, directory):
        server = self.context.downpour(directory, "journal")
        return server, ["RAIN.GRAB", "rain", USER_FIELD], server.resp_port

    def _granted(self, side, server):
        if side == OURS:
            return server.check("rain", self.claims)
        return server.check("packetsrain", "claimsrain", self.claims)

    @staticmethod
    def _dump(server):
        """An RDB, once a rewrite of the append-only file that may be under way has ended."""
        deadline = time.monotonic() + 300
        while "aof_rewrite_in_progress:1" in server.connection.call("INFO", "persistence"):
            if time.monotonic() > deadline:
                raise BenchError("redis did not end its rewrite")
            time.sleep(0.1)
        server.connection.call("SAVE")

    def sample(self, side):
        if side not in self.directories:
            self.prepare(side)
        if side == OURS:
            killed = self._start(side, hard=False)
            # That one was stopped gracefully: the next start finds what a clean stop leaves,
            # and its kill -9 leaves the crash that the next sample starts from.
            clean = self._start(side, hard=True)
            return {"seconds": killed, "after_kill_s": killed, "after_stop_s": clean}
        rdb = self._start(side, {"appendonly": "no"})
        aof = self._start(side, {"appendonly": "yes"})
        return {"seconds": min(rdb, aof), "rdb_s": rdb, "aof_s": aof}

    def _start(self, side, options=None, hard=True):
        """Seconds from exec until it serves with every claim there."""
        directory = self.directories[side]
        if side == OURS:
            server = self.context.downpour(directory, "journal")
        else:
            server = Redis(self.context.server_core, directory, options)
        seconds = time.monotonic() - server.server.started_at
        try:
            granted = self._granted(side, server)
            if granted != self.granted[side]:
                raise BenchError(f"{side}: {granted} claims after the restart, "
                                 f"{self.granted[side]} before")
        finally:
            server.stop(hard=hard)
        return seconds


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `measure` names the sample's judged field, `lower` says which way is better; must and aim are
    limits of ours / peer. `guard`: a second field whose median may not be worse than the peer's.
    """

    key: str
    title: str
    peer: str
    measure: str
    unit: str
    lower: bool
    must: float
    aim: float
    guard: str | None = None

    def holds(self, ratio, limit):
        return ratio <= limit if self.lower else ratio >= limit


ROWS = [
    Row("resp32", "RAIN.GRAB, memory, pipeline 32", "Redis EVALSHA", "cpu_us", "µs CPU",
        True, 1 / 4, 1 / 6),
    Row("resp1", "RAIN.GRAB, memory, pipeline 1", "Redis EVALSHA", "cpu_us", "µs CPU",
        True, 1.0, 0.85),
    Row("journal32", "RAIN.GRAB, journal, pipeline 32", "Redis, fsync always", "rate",
        "grabs/s", False, 5.0, 7.0, "p99_ms"),
    Row("journal1", "RAIN.GRAB, journal, pipeline 1", "Redis, fsync always", "rate",
        "grabs/s", False, 1.2, 1.5),
    Row("http", "HTTP grab, 64 connections", "nginx + Lua + Redis", "cpu_us", "µs CPU",
        True, 0.4, 1 / 3),
    Row("constant", "HTTP grab, against a constant", "nginx return 200", "cpu_us", "µs CPU",
        True, 1.5, 1.3),
    Row("memory", "Memory a claim, whole process", "Redis hash", "bytes", "bytes",
        True, 1 / 3, 1 / 4),
    Row("forward1", "Grab by way of another node, pipeline 1", "the node that has it", "cpu_us",
        "µs CPU", True, 2.2, 1.5),
    Row("forward16", "Grab by way of another node, pipeline 16", "the node that has it", "cpu_us",
        "µs CPU", True, 2.2, 1.5),
    Row("replicated32", "RAIN.GRAB, two copies, pipeline 32", "Redis, replica, WAIT 1", "cpu_us",
        "µs CPU", True, 1 / 3, 1 / 4),
    Row("replicated1", "RAIN.GRAB, two copies, pipeline 1", "Redis, replica, WAIT 1", "cpu_us",
        "µs CPU", True, 1.0, 0.85),
    Row("restart", "Restart with its claims", "Redis, RDB or AOF", "seconds", "s",
        True, 1.0, 1 / 5),
]


def sampler(row, context):
    """A function of the side that makes one sample, and one that cleans up at the end."""
    quick = context.quick
    seconds = 2 if quick else 5
    claims = 1_000_000 if quick else 10_000_000

    def resp(requests, pipeline, durability):
        count = requests // 10 if quick else requests
        return lambda side: grab_over_resp(context, side, count, pipeline, durability)

    def http(peer):
        return lambda side: (
            http_grab_ours(context, seconds) if side == OURS else peer(context, seconds))

    def forward(requests, pipeline):
        count = requests // 10 if quick else requests
        return lambda side: grab_over_two_nodes(context, side, count, pipeline)

    def replicated(requests, pipeline):
        count = requests // 10 if quick else requests
        return lambda side: grab_replicated(context, side, count, pipeline)

    match row.key:
        case "restart":
            restart = Restart(context, claims)
            return restart.sample, restart.close
        case "memory":
            measure = lambda side: memory_per_claim(context, side, claims)
        case "http":
            measure = http(http_grab_peer)
        case "constant":
            measure = http(http_constant)
        case "forward1":
            measure = forward(300_000, 1)
        case "forward16":
            measure = forward(1_500_000, 16)
        case "replicated32":
            measure = replicated(2_000_000, 32)
        case "replicated1":
            measure = replicated(400_000, 1)
        case "resp32":
            measure = resp(2_000_000, 32, "memory")
        case "resp1":
            measure = resp(400_000, 1, "memory")
        case "journal32":
            measure = resp(2_000_000, 32, "journal")
        case "journal1":
            measure = resp(200_000, 1, "journal")
    return measure, lambda: None
