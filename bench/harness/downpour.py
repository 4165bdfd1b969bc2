"""Our node under measurement: alone, on free ports, one core."""

import json
import os
from pathlib import Path

from .peers import http_request
from .process import BenchError, Server
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
        self.connection = Connection(self.resp_port)

    def _ready(self):
        ready = json.loads(self.ready_path.read_text())
        return ready if ready["pid"] == self.server.pid else None

    def create_rain(self, name, packets):
        self.connection.call(
            "RAIN.CREATE", name, "AMOUNT", packets * MEAN_FEN, "COUNT", packets)
        self.connection.call("RAIN.WARM", name)

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


def find_binary(root):
    """The release build, or the one that DOWNPOUR_BINARY names."""
    binary = Path(os.environ.get("DOWNPOUR_BINARY", root / ".build/release/downpour"))
    return binary.resolve() if os.access(binary, os.X_OK) else None
