"""What stands in front of a cluster: the files of topology/deploy, started with other addresses.

Nodes get loopback addresses of their own, 127.X.Y.11 to .13 for 10.0.0.11 to .13, so that ports
stay what the files say.
"""

import collections
import http.client
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import tokens
from node import ROOT, Response, eventually
from resp import Closed, Connection, Failure
from cluster import KEY
from test_proxies_tls import certificate

DEPLOY = ROOT / "topology/deploy"
NAMES = ["n1", "n2", "n3"]


def own_network():
    """Three bytes of a loopback network that nobody listens in."""
    draw = random.Random(os.getpid())
    while True:
        network = f"127.{draw.randrange(20, 250)}.{draw.randrange(250)}"
        try:
            for host in (11, 12, 13):
                for port in (7600, 7601, 7602, 7603):
                    socket.create_server((f"{network}.{host}", port)).close()
            return network
        except OSError:
            continue


def substituted(name, network, replacements):
    """A file of topology/deploy with other addresses; every replacement has to find something."""
    text = (DEPLOY / name).read_text()
    for old, new in {**replacements, "10.0.0.1": f"{network}.1"}.items():
        assert old in text, f"{name} does not say {old!r}"
        text = text.replace(old, new)
    return text


class Cluster:
    """Three nodes of deploy/topology.yaml, which share a store."""

    def __init__(self, directory, make_node, drain="2s", network=None):
        self.directory, self.network = directory, network or own_network()
        self.file = directory / "topology.yaml"
        self.file.write_text(substituted("topology.yaml", self.network, {}))
        self.store = directory / "store.sqlite"
        self.host = {name: f"{self.network}.{11 + place}" for place, name in enumerate(NAMES)}
        self.nodes = {name: self.make(make_node, name, drain) for name in NAMES}

    def make(self, make_node, name, drain):
        host = self.host[name]
        return make_node(
            "--topology", self.file, "--name", name, "--cores", 1, "--drain", drain,
            "--http", f"{host}:7600", "--resp", f"{host}:7601", "--bus", f"{host}:7602",
            "--admin", f"{host}:7603", name=name, insecure=False,
            env={"DOWNPOUR_CLUSTER_KEY": KEY, "DOWNPOUR_TOKEN_KEY": tokens.KEY,
                 "DOWNPOUR_STORE_URL": f"sqlite:{self.store}"})

    def start(self):
        for node in self.nodes.values():
            node.launch()
        for node in self.nodes.values():
            node.start_launched()
        self.wait_linked()
        return self

    def wait_linked(self):
        def linked(name):
            answer = self.get(name, "/v1/cluster", 7603).json()
            return all(one["state"] == "alive" and one["linked"] == 1 for one in answer["nodes"])
        eventually(lambda: all(linked(name) for name in NAMES), 30, "all links")

    def get(self, name, path, port=7600, headers=None, method="GET"):
        connection = http.client.HTTPConnection(self.host[name], port, timeout=10)
        try:
            connection.request(method, path, headers=headers or {})
            return Response(connection.getresponse())
        finally:
            connection.close()

    def resp(self, name):
        return Connection(7601, host=self.host[name])


class Proxy:
    """A server of the front: its process, its configuration and its log."""

    def __init__(self, directory, ready_port):
        self.directory, self.ready_port = directory, ready_port
        self.process = None

    def launch(self, *arguments):
        environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
        self.log_path = self.directory / "front.log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                list(map(str, arguments)), env=environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)

        def answers():
            assert self.process.poll() is None, self.log()
            socket.create_connection(("127.0.0.1", self.ready_port), timeout=1).close()
            return True
        eventually(answers, what=arguments[0])
        return self

    def log(self):
        return self.log_path.read_text(errors="replace")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Nginx(Proxy):
    """deploy/nginx.conf."""

    def __init__(self, directory, network, port, nodes=NAMES):
        directory.mkdir()
        directory.chmod(0o755)
        super().__init__(directory, port)
        self.network, self.port = network, port
        self.cert, self.key = certificate(directory, "front")
        self.configuration = directory / "nginx.conf"
        self.write(nodes)

    def write(self, nodes):
        d = self.directory
        text = substituted("nginx.conf", self.network, {
            "user www-data;": "user root;" if os.geteuid() == 0 else "",
            "/run/nginx.pid": f"{d}/nginx.pid",
            "/var/log/nginx/": f"{d}/",
            "worker_processes auto;": "worker_processes 2; daemon off;",
            "worker_connections 65536;": "worker_connections 1024;",
            "worker_rlimit_nofile 262144;": "",
            "http {": "http {" + "".join(
                f"{one}_temp_path {d}/{one};"
                for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")),
            "listen 443 ssl http2 reuseport backlog=16384;":
                f"listen 127.0.0.1:{self.port} ssl http2 reuseport backlog=1024;",
            "listen [::]:443 ssl http2 reuseport backlog=16384;": "",
            "/etc/nginx/tls/downpour.pem": str(self.cert),
            "/etc/nginx/tls/downpour.key": str(self.key),
        })
        for place, name in enumerate(NAMES):
            if name not in nodes:
                text = re.sub(rf"\n *server {self.network}.{11 + place}:7600 [^\n]*", "", text)
        self.configuration.write_text(text)

    def start(self):
        return self.launch("nginx", "-p", self.directory, "-c", self.configuration,
                           "-e", self.directory / "error.log")

    def reload(self, nodes):
        self.write(nodes)
        self.process.send_signal(signal.SIGHUP)

    def errors(self):
        return (self.directory / "error.log").read_text()


class HAProxy(Proxy):
    """deploy/haproxy.cfg."""

    def __init__(self, directory, network, port, resp_port, metrics_port, nodes=NAMES):
        directory.mkdir()
        super().__init__(directory, port)
        self.network, self.port, self.resp_port = network, port, resp_port
        self.metrics_port = metrics_port
        self.cert, key = certificate(directory, "front")
        self.both = directory / "both.pem"
        self.both.write_text(self.cert.read_text() + key.read_text())
        self.configuration = directory / "haproxy.cfg"
        self.write(nodes)

    def write(self, nodes):
        text = substituted("haproxy.cfg", self.network, {
            "log /dev/log local0": "log stderr format raw local0 notice",
            "    user haproxy\n    group haproxy\n": "",
            "/run/haproxy/admin.sock": str(self.directory / "admin.sock"),
            "maxconn 200000": "maxconn 2000",
            "maxconn 100000": "maxconn 1000",
            "/etc/haproxy/tls/downpour.pem": str(self.both),
            "bind :443": f"bind 127.0.0.1:{self.port}",
            f"    bind [::]:443 v6only ssl crt {self.both} alpn h2,http/1.1\n": "",
            "bind :7601": f"bind 127.0.0.1:{self.resp_port}",
            "bind 127.0.0.1:8405": f"bind 127.0.0.1:{self.metrics_port}",
        })
        for place, name in enumerate(NAMES):
            if name not in nodes:
                text = re.sub(rf"\n *server {name} {self.network}.{11 + place}:[^\n]*", "", text)
        self.configuration.write_text(text)

    def start(self):
        self.launch("haproxy", "-W", "-db", "-f", self.configuration)
        # Servers are up until the first checks have said otherwise.
        return self

    def reload(self, nodes):
        self.write(nodes)
        self.process.send_signal(signal.SIGUSR2)

    def servers(self, backend):
        """Their states as its metrics tell them, by name: 1 where one is up."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=5)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        pattern = (r'haproxy_server_status\{proxy="%s",server="(\w+)",state="UP"\} (\d)' % backend)
        return {name: int(value) for name, value in re.findall(pattern, text)}


class Load(threading.Thread):
    """Users who come one after another, try again until they are answered, and write it down."""

    WAITING = 100
    AGAIN_SECONDS = 0.2

    def __init__(self, number):
        super().__init__(daemon=True)
        self.random, self.next_user = random.Random(number), number << 32
        self.told, self.ends, self.problem = {}, False, None
        # Users who were refused, and when they ask again.
        self.waiting = collections.deque()
        # What came back, by status or error code; "again": a kept connection that had ended.
        self.heard, self.nodes = {}, set()

    def run(self):
        try:
            while not self.ends:
                self.turn()
            deadline = time.monotonic() + 20
            while self.waiting:
                assert time.monotonic() < deadline, f"{len(self.waiting)} users are not answered"
                self.turn()
        except Exception as problem:  # told by the test
            self.problem = problem

    def turn(self):
        is_due = self.waiting and self.waiting[0][0] <= time.monotonic()
        if is_due and (self.ends or self.random.random() < 0.5):
            self.grab(self.waiting.popleft()[1])
        elif self.ends:
            threading.Event().wait(0.01)
        elif self.told and (len(self.waiting) >= self.WAITING or self.random.random() < 0.2):
            self.grab(self.random.choice(list(self.told)))
        else:
            self.next_user += 1
            self.grab(self.next_user)
        threading.Event().wait(0.002)

    def grab(self, user):
        """Asks once; the same user hears the same always."""
        heard, prize = self.ask(user)
        self.heard[heard] = self.heard.get(heard, 0) + 1
        if prize:
            assert self.told.setdefault(user, prize) == prize, (user, prize, self.told[user])
        elif user not in self.told:
            self.waiting.append((time.monotonic() + self.AGAIN_SECONDS, user))

    def finish(self):
        self.ends = True
        self.join(40)
        assert not self.is_alive(), "a user waits for ever"
        assert self.problem is None, repr(self.problem)


class HTTPLoad(Load):
    """Over TLS, on a connection that is kept."""

    def __init__(self, number, proxy):
        super().__init__(number)
        self.context = ssl.create_default_context(cafile=proxy.cert)
        self.port, self.connection, self.is_used = proxy.port, None, False

    def ask(self, user):
        try:
            if not self.connection:
                self.connection, self.is_used = http.client.HTTPSConnection(
                    "localhost", self.port, timeout=15, context=self.context), False
            self.connection.request("POST", "/v1/rains/rain/grab",
                                    headers=tokens.bearer(tokens.user_token(user)))
            response = Response(self.connection.getresponse())
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            # A kept connection may end at any time; a new one has no excuse.
            return ("again" if self.is_used else "refused"), None
        self.is_used = True
        if response.status != 200:
            problem = response.json()["type"]
            return f"{response.status} {problem.rsplit(':', 1)[1]}", None
        self.nodes.add(response.headers["Downpour-Node"])
        body = response.json()
        assert body["outcome"] == "granted", body
        return 200, (body["packet"], body["amount"])


class RESPLoad(Load):
    def __init__(self, number, port, host="127.0.0.1"):
        super().__init__(number)
        self.host, self.port, self.connection = host, port, None

    def ask(self, user):
        try:
            if not self.connection:
                self.connection = Connection(self.port, timeout=15, host=self.host)
            outcome, fen, packet, _ = self.connection.call("RAIN.GRAB", "rain", user)
        except Failure as failure:
            return failure.code, None
        except (OSError, Closed):
            if self.connection:
                self.connection.close()
            self.connection = None
            return "again", None
        assert outcome in ("granted", "repeat"), outcome
        return 200, (packet, fen)


class Crowd:
    """Load of several kinds at once, and what all of it heard."""

    def __init__(self, loads):
        self.loads = loads

    def __enter__(self):
        for one in self.loads:
            one.start()
        self.wait(200)
        return self

    def __exit__(self, kind, *_):
        for one in self.loads:
            one.ends = True
        if kind is None:
            for one in self.loads:
                one.finish()

    def wait(self, more):
        """Until so many more were served."""
        wanted = self.served + more

        def served():
            for one in self.loads:
                assert one.is_alive(), repr(one.problem)
            return self.served >= wanted
        eventually(served, 40, f"{more} more served; heard {self.heard()}")

    @property
    def served(self):
        return sum(one.heard.get(200, 0) for one in self.loads)

    def heard(self, kind=Load):
        """How often each answer came."""
        sums = {}
        for one in self.loads:
            if isinstance(one, kind):
                for answer, count in list(one.heard.items()):
                    sums[answer] = sums.get(answer, 0) + count
        return sums

    def told(self):
        return {user: prize for one in self.loads for user, prize in one.told.items()}
