"""Starts the real node on free loopback ports, waits for its ready file, ends it by pid."""

import ctypes
import http.client
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from resp import Connection

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("DOWNPOUR_BINARY", ROOT / ".build/release/downpour")).absolute()
READY_SECONDS = 30
_libc = ctypes.CDLL(None)


def _die_with_parent():
    """In the child: whatever ends the tests ends the node."""
    _libc.prctl(1, signal.SIGKILL)


def clean_environment(extra=None):
    """The tests' environment without anybody's Downpour settings."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith("DOWNPOUR_")}
    return {**kept, **(extra or {})}


def eventually(check, timeout=20, what="the condition"):
    """Asks until the answer is true, and returns it; what `check` raised last is shown."""
    deadline, last = time.monotonic() + timeout, None
    while time.monotonic() < deadline:
        try:
            answer = check()
            if answer:
                return answer
            last = answer
        except (OSError, AssertionError, ValueError) as problem:
            last = problem
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come within {timeout} s; last: {last!r}")


class Response:
    """An HTTP answer; header names are case-insensitive."""

    def __init__(self, message):
        self.status = message.status
        self.headers = message.headers
        self.body = message.read()

    def json(self):
        return json.loads(self.body)


class Node:
    """One `downpour node`. Its directory outlives it, so that it can be started again."""

    def __init__(self, directory, *options, env=None, insecure=True):
        self.directory = Path(directory)
        self.data = self.directory / "data"
        self.log_path = self.directory / "node.log"
        self.ready_path = self.directory / "ready.json"
        self.options = ["--name", "test-1", "--data", self.data, "--cores", "2",
                        "--bus", "127.0.0.1:0", "--http", "127.0.0.1:0",
                        "--resp", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain", "0s",
                        "--log-format", "text", "--ready-file", self.ready_path]
        if insecure:
            self.options.append("--insecure")
        self.options += options
        self.env = env
        # Another executable than the one that is tested.
        self.binary = None
        self.process = None
        self.ready = None

    def launch(self):
        """Starts the process without waiting for anything."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ready_path.unlink(missing_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary or BINARY, "node", *map(str, self.options)], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env=clean_environment(self.env),
                preexec_fn=_die_with_parent)
        return self

    def start(self, timeout=READY_SECONDS):
        return self.launch().start_launched(timeout)

    def start_launched(self, timeout=READY_SECONDS):
        """Waits until a launched process serves."""
        def ready():
            assert self.process.poll() is None, (
                f"the node ended with {self.process.returncode}:\n{self.log_tail()}")
            return json.loads(self.ready_path.read_text())

        try:
            self.ready = eventually(ready, timeout, "the ready file")
        except AssertionError:
            self.kill()
            raise
        assert self.ready["pid"] == self.process.pid
        return self

    def port(self, listener):
        host, port = self.ready[listener].rsplit(":", 1)
        assert host == "127.0.0.1"
        return int(port)

    def resp(self, protocol=2, **options):
        """A connection to the RESP listener."""
        connection = Connection(self.port("resp"), **options)
        if protocol == 3:
            connection.call("HELLO", "3")
        return connection

    def request(self, method, path, headers=None, body=None, listener="http"):
        """One HTTP request on a connection of its own; bodies are JSON if nothing else is said."""
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port(listener), timeout=10)
        try:
            connection.request(method, path, body=body, headers=headers)
            return Response(connection.getresponse())
        finally:
            connection.close()

    def as_user(self, user, method, path, headers=None, body=None):
        return self.request(method, path, {"X-User": str(user), **(headers or {})}, body)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=30):
        """The exit status; fails when the process does not end in time."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the node did not end within {timeout} s:\n{self.log_tail()}") from None

    def stop(self, timeout=30):
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        """kill -9, as a crash of the process."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def alive(self):
        return self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, characters=4000):
        return self.log()[-characters:]


def downpour(*arguments, env=None, timeout=60):
    """Runs a subcommand to its end."""
    return subprocess.run(
        [BINARY, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=timeout, env=clean_environment(env))
