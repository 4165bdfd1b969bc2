"""The peers: Redis with the Lua script of a grab, and nginx in front of it."""

import http.client
import os
import shutil
import string
from pathlib import Path

from .process import BenchError, Server, free_port
from .resp import Connection

PEERS = Path(__file__).resolve().parent.parent / "peers"
MEAN_FEN = 2000
FILL_STEP = 500_000


class Redis:
    """redis-server on a free port with its own directory; `options` as in redis.conf."""

    def __init__(self, core, directory, options=()):
        self.port = free_port()
        self.directory = Path(directory)
        settings = {"save": "", "appendonly": "no", **dict(options)}
        argv = ["redis-server", "--port", self.port, "--bind", "127.0.0.1",
                "--protected-mode", "no", "--daemonize", "no", "--dir", self.directory]
        for name, value in settings.items():
            argv += [f"--{name}", value]
        self.server = Server("redis-server", argv, core, self.directory)
        self.server.wait_until(self._loaded, timeout=300)
        self.connection = Connection(self.port)

    def _loaded(self):
        try:
            with Connection(self.port) as connection:
                return connection.call("PING") == "PONG"
        except BenchError as problem:
            if "LOADING" in str(problem):
                return False
            raise

    def load_script(self, name):
        return self.connection.call("SCRIPT", "LOAD", (PEERS / name).read_text())

    def fill(self, key, count, numbered=False):
        """`count` amounts; numbered: `amount:packet`."""
        sha = self.load_script("fill.lua")
        for first in range(0, count, FILL_STEP):
            self.connection.call(
                "EVALSHA", sha, 1, key, min(FILL_STEP, count - first), first, MEAN_FEN,
                int(numbered))
        return count

    def compact(self, key, entries):
        """The least memory this hash can have: a hash is rehashed one bucket a lookup, so it is
        looked up often enough to have only its new table; free pages go back to the kernel."""
        script = "for _ = 1, ARGV[1] do redis.call('HGET', KEYS[1], 'nobody') end"
        for first in range(0, entries, FILL_STEP):
            self.connection.call("EVAL", script, 1, key, min(FILL_STEP, entries - first))
        self.connection.call("MEMORY", "PURGE")

    def claims(self, key):
        return self.connection.call("HLEN", key)

    def check(self, packets, claims, filled):
        """Every packet is either in the list or somebody's claim, and no other."""
        left, taken = self.connection.call("LLEN", packets), self.claims(claims)
        if left + taken != filled:
            raise BenchError(f"redis: {left} left + {taken} taken is not {filled}")
        return taken

    def stop(self, hard=True):
        self.connection.close()
        self.server.stop(hard=hard)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class RedisPair:
    """A primary and its replica on one core, in memory; as Redis counts, one replica has it."""

    def __init__(self, core, directory):
        self.nodes = []
        try:
            for name in ("primary", "replica"):
                home = Path(directory) / name
                home.mkdir()
                options = {"repl-diskless-sync-delay": 0}
                if self.nodes:
                    options["replicaof"] = f"127.0.0.1 {self.nodes[0].port}"
                self.nodes.append(Redis(core, home, options))
            self.primary, self.replica = self.nodes
            self.replica.server.wait_until(self._is_linked)
        except BaseException:
            self.stop()
            raise

    def _is_linked(self):
        told = self.replica.connection.call("INFO", "replication")
        return "master_link_status:up" in told and "master_sync_in_progress:0" in told

    def fill(self, key, count):
        """As `Redis.fill`, until the replica has it too."""
        self.primary.fill(key, count)
        self.primary.connection.call("WAIT", 1, 0)

    def cpu_seconds(self):
        return sum(node.server.cpu_seconds() for node in self.nodes)

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


class Nginx:
    """nginx with one worker: `/constant` and, given a Redis, the grab."""

    def __init__(self, core, directory, body, redis_port=None, script_sha=None):
        self.port = free_port()
        self.directory = Path(directory)
        (self.directory / "lua").mkdir(exist_ok=True)
        shutil.copy(PEERS / "nginx.lua", self.directory / "lua/grab.lua")
        modules, grab = "", ""
        if redis_port:
            modules = "".join(
                f"load_module {module}/{name}.so;\n" for module in [module_directory()]
                for name in ("ndk_http_module", "ngx_http_lua_module"))
            grab = ("location /v1/rains/ { add_header Downpour-Node peer; "
                    f"set $redis_port {redis_port}; "
                    f"set $script_sha {script_sha}; "
                    f"content_by_lua_file {self.directory}/lua/grab.lua; }}")
        text = (PEERS / "nginx.conf").read_text()
        user = "user root;" if os.geteuid() == 0 else ""
        for name, value in {"MODULES": modules, "DIR": str(self.directory), "USER": user,
                            "PORT": str(self.port), "BODY": body, "GRAB": grab}.items():
            text = text.replace(f"@{name}@", value)
        configuration = self.directory / "nginx.conf"
        configuration.write_text(text)
        self.server = Server(
            "nginx", [nginx_program(), "-p", self.directory, "-c", configuration,
                      "-e", self.directory / "nginx-error.log"], core, self.directory)
        self.server.wait_until(lambda: self.request("GET", "/constant")[0] == 200)

    def request(self, method, path, headers=None):
        return http_request(self.port, method, path, headers)

    def stop(self):
        self.server.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def http_request(port, method, path, headers=None, body=None):
    """One request on its own connection: status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def nginx_program():
    """nginx lives in sbin, which users' PATH does not have."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise BenchError("nginx is not installed")
    return found


def module_directory():
    directory = Path("/usr/lib/nginx/modules")
    if not (directory / "ngx_http_lua_module.so").exists():
        raise BenchError("libnginx-mod-http-lua is not installed")
    return directory


def sample_body():
    """An answer of a grab as long as the real ones: used while no node can give one."""
    template = string.Template(
        '{"outcome":"granted","amount":$amount,"packet":$packet,"at":$ms,"now":$ms}')
    return template.substitute(amount=1234, packet=123456, ms=1760000000000)
