"""Our node under measurement: alone, on free ports, one core."""

import json
import os
import secrets
from pathlib import Path

from .peers import http_request
from .process import BenchError, Server, free_port
from .resp import Connection

MEAN_FEN = 2000


class Downpour:
    """`downpour node` with its own data directory, which outlives `stop`."""

    def __init__(self, binary, core, directory, durability="memory", options=(), env=None,
                 timeout=300):
        self.directory = Path(directory)
        self.ready_path = self.directory / "ready.json"
        self.ready_path.unlink(missing_ok=True)
        argv = [binary, "node", "--name", "bench", "--data", self.directory / "data",
                "--cores", 1, "--http", "127.0.0.1:0", "--resp", "127.0.0.1:0",
                "--bus", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--insecure",
                "--durability", durability, "--drain", "0s", "--log-level", "warning",
                "--ready-file", self.ready_path, *options]
        self.server = Server("downpour", argv, core, self.directory, env)
        try:
            ready = self.server.wait_until(self._ready, timeout=timeout, pause=0.002)
        except BaseException:
            self.server.stop(hard=True)
            raise
        self.resp_port = int(ready["resp"].rsplit(":", 1)[1])
        self.http_port = int(ready["http"].rsplit(":", 1)[1])
        self.admin_port = int(ready["admin"].rsplit(":", 1)[1])
        self.connection = Connection(self.resp_port)

    def _ready(self):
        ready = json.loads(self.ready_path.read_text())
        return ready if ready["pid"] == self.server.pid else None

    def create_rain(self, name, packets, *options):
        self.connection.call(
            "RAIN.CREATE", name, "AMOUNT", packets * MEAN_FEN, "COUNT", packets, *options)
        self.connection.call("RAIN.WARM", name)

    def grabs(self):
        """Grants that this node itself made."""
        status, body = http_request(self.admin_port, "GET", "/v1/status", None)
        if status != 200:
            raise BenchError(f"downpour: /v1/status answered {status}")
        return json.loads(body)["granted"]

    def info(self, name):
        flat = self.connection.call("RAIN.INFO", name)
        return dict(zip(flat[::2], flat[1::2]))

    def check(self, name, packets):
        """The rain's books balance; how many claims it has granted."""
        info = {key: int(value) for key, value in self.info(name).items()
                if key in ("granted", "remaining", "pending", "quarantined", "count")}
        if info["count"] != packets or info["granted"] + info["remaining"] != packets:
            raise BenchError(f"downpour: the books of {name} do not balance: {info}")
        return info["granted"]

    def request(self, method, path, headers=None):
        return http_request(self.http_port, method, path, headers)

    def stop(self, hard=True):
        self.connection.close()
        self.server.stop(hard=hard)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Pair:
    """Two nodes of one cluster on one core. With one copy: a rain of the second, which both can be
    asked for. With two copies each node leads half of the shards and backs the others up; they
    share a SQLite file, which is the arbiter and the store."""

    LISTENERS = ("http", "resp", "bus", "admin")

    def __init__(self, binary, core, directory, options=(), env=None, copies=1):
        names = ("n1", "n2")
        ports = {name: {one: free_port() for one in self.LISTENERS} for name in names}
        topology = Path(directory) / "topology.yaml"
        arbiter = "none" if copies == 1 else "store"
        lines = [f"version: 1\ncluster: bench\nshards: 64\nreplicas: {copies}\n"
                 f"arbiter: {arbiter}\nregions:\n  - name: here\n    nodes:\n"]
        for name, taken in ports.items():
            fields = ", ".join(f"{one}: {port}" for one, port in taken.items())
            lines.append(f"      - {{name: {name}, zone: {name}, host: 127.0.0.1, {fields}}}\n")
        topology.write_text("".join(lines))
        env = {**(env or {}), "DOWNPOUR_CLUSTER_KEY": secrets.token_hex(32)}
        if copies > 1:
            env = {"DOWNPOUR_STORE_URL": f"sqlite:{directory}/shared.sqlite", **env}
        self.nodes = []
        try:
            for name, taken in ports.items():
                home = Path(directory) / name
                home.mkdir()
                listeners = [word for one, port in taken.items()
                             for word in (f"--{one}", f"127.0.0.1:{port}")]
                self.nodes.append(Downpour(
                    binary, core, home, "memory",
                    ["--topology", topology, "--name", name, *listeners, *options], env))
            for node in self.nodes:
                node.server.wait_until(lambda node=node: self._is_whole(node), timeout=60)
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def _cluster(node):
        """The cluster as this node sees it."""
        status, body = http_request(node.admin_port, "GET", "/v1/cluster", None)
        if status != 200:
            raise BenchError(f"downpour: /v1/cluster answered {status}")
        return json.loads(body)

    @classmethod
    def _is_whole(cls, node):
        """Whether all its links are up and no shard is short of a copy."""
        seen = cls._cluster(node)
        return not seen.get("short") and all(
            one["linked"] and one["state"] == "alive" for one in seen["nodes"])

    def create_rain_of_second(self, packets):
        """A rain of one slice, which the second node has; its name."""
        for number in range(64):
            name = f"rain-{number}"
            self.nodes[0].create_rain(name, packets, "SLICES", 1)
            before = self.nodes[1].grabs()
            self.nodes[0].connection.call("RAIN.GRAB", name, 1)
            if self.nodes[1].grabs() > before:
                return name
        raise BenchError("no rain is the second node's")

    def lose_first(self, name):
        """Kills the first node and waits until the second, which is returned, leads every shard
        and answers for every slice of this rain."""
        self.nodes[0].stop(hard=True)
        survivor = self.nodes[1]

        def leads():
            seen = self._cluster(survivor)
            return seen["nodes"][1]["shards"] == seen["shards"] == seen["short"]
        survivor.server.wait_until(leads, timeout=60)
        survivor.server.wait_until(lambda: self._answers(survivor, name), timeout=60)
        return survivor

    @staticmethod
    def _answers(node, name):
        try:
            return node.info(name)
        except BenchError as problem:
            if "TRYAGAIN" in str(problem):
                return None
            raise

    @property
    def server(self):
        return self

    def cpu_seconds(self):
        return sum(node.server.cpu_seconds() for node in self.nodes)

    def background_seconds(self):
        return sum(node.server.background_seconds() for node in self.nodes)

    def require_alive(self):
        for node in self.nodes:
            node.server.require_alive()

    def stop(self):
        for node in self.nodes:
            node.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def find_binary(root):
    """The release build, or the one that DOWNPOUR_BINARY names."""
    binary = Path(os.environ.get("DOWNPOUR_BINARY", root / ".build/release/downpour"))
    return binary.resolve() if os.access(binary, os.X_OK) else None
