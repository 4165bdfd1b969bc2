"""nginx, HAProxy and DNS in front of three nodes, from the files of topology/deploy."""

import contextlib
import http.client
import json
import random
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading

import pytest

import tokens
from front import DEPLOY, NAMES, Cluster, Crowd, HAProxy, HTTPLoad, Nginx, RESPLoad, own_network
from front import substituted
from node import BINARY, ROOT, Response, clean_environment, downpour, eventually
from resp import Closed, Connection, Failure
from cluster import KEY, free_ports

PACKETS = 1_000_000
# A request that was on its way to a node over another one when it stopped: perhaps applied.
UNKNOWN = {"504 unknown", "UNKNOWN"}


@pytest.fixture
def cluster(directory, make_node):
    directory.chmod(0o755)
    cluster = Cluster(directory, make_node).start()
    with cluster.resp("n1") as connection:
        connection.call(f"RAIN.CREATE rain AMOUNT {PACKETS * 100} COUNT {PACKETS} SLICES 48")
    return cluster


@pytest.fixture
def make_proxies(directory):
    """Starts nginx and HAProxy from the deploy folder's files; ends them by pid."""
    made = []

    def make(network, nodes=NAMES):
        ports = free_ports(4)
        made.append(Nginx(directory / "nginx", network, ports[0], nodes))
        made.append(HAProxy(directory / "haproxy", network, *ports[1:], nodes))
        return [one.start() for one in made]
    yield make
    for one in made:
        one.stop()


@pytest.fixture
def proxies(cluster, make_proxies):
    return make_proxies(cluster.network)


def crowd(nginx, haproxy):
    """Users who come by way of each, and back ends that speak RESP."""
    return Crowd([HTTPLoad(1, nginx), HTTPLoad(2, nginx), HTTPLoad(3, haproxy),
                  RESPLoad(4, haproxy.resp_port), RESPLoad(5, haproxy.resp_port)])


def unknown(heard):
    return sum(heard.get(one, 0) for one in UNKNOWN)


def audited(cluster, told):
    """Nothing told is lost or doubled: asked again at any node, and in journals and store."""
    assert len(told) > 200
    assert len({packet for packet, _ in told.values()}) == len(told), "a packet has two owners"
    connections = [cluster.resp(name) for name in NAMES]
    for place, (user, (packet, fen)) in enumerate(told.items()):
        again = connections[place % 3].call("RAIN.GRAB", "rain", user)
        assert again[:3] == ["repeat", fen, packet]
    for connection in connections:
        connection.close()
    for node in cluster.nodes.values():
        node.signal(15)
    for node in cluster.nodes.values():
        assert node.wait() == 0
    journals = [word for node in cluster.nodes.values() for word in ("--data", node.data)]
    result = downpour("audit", *journals, "--store", f"sqlite:{cluster.store}", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    # One that was under way when a node was killed may have been granted, and told to nobody.
    assert json.loads(result.stdout)["claims"] >= len(told)


def test_a_node_that_drains_is_left_without_a_failed_request(cluster, proxies):
    nginx, haproxy = proxies
    node = cluster.nodes["n2"]
    with crowd(nginx, haproxy) as users:
        node.signal(15)
        eventually(lambda: cluster.get("n2", "/readyz").status == 503, what="a 503 of /readyz")
        # It says so first, and still serves.
        answer = cluster.get("n2", "/v1/rains/rain/grab", method="POST",
                             headers=tokens.bearer(tokens.user_token(1)))
        assert answer.status == 200
        eventually(lambda: haproxy.servers("nodes_http")["n2"] == 0
                   and haproxy.servers("nodes_resp")["n2"] == 0, 10, "HAProxy's word of it")
        assert node.alive(), "HAProxy was told too late"
        assert set(users.heard()) <= {200}, users.heard()
        assert node.wait() == 0
        # Its shards have one copy: until it is back, their users hear that nothing was applied.
        users.wait(50)
        node.start()
        cluster.wait_linked()
        users.wait(200)
    heard = users.heard()
    # A kept connection to the node ends with it.
    assert set(heard) <= {200, "503 try-again", "TRYAGAIN", "again"} | UNKNOWN, heard
    assert heard.get("again", 0) <= len(users.loads), heard
    assert unknown(heard) <= len(users.loads), heard
    assert "again" not in users.heard(HTTPLoad), heard
    audited(cluster, users.told())


def test_a_killed_node_costs_nobody_a_grant(cluster, proxies):
    nginx, haproxy = proxies
    with crowd(nginx, haproxy) as users:
        cluster.nodes["n2"].kill()
        # Two thirds are served all the time, and by both.
        for load in users.loads:
            before = load.heard.get(200, 0)
            eventually(lambda: load.heard[200] > before + 5, what="users of the other nodes")
        users.wait(100)
        cluster.nodes["n2"].start()
        cluster.wait_linked()
        users.wait(300)
    heard = users.heard()
    # 502 and 504: HAProxy's and nginx's word for "perhaps applied".
    assert set(heard) <= {200, "503 try-again", "502 unknown", "504 unknown", "TRYAGAIN",
                          "UNKNOWN", "again"}, heard
    assert heard.get("503 try-again", 0) + heard.get("TRYAGAIN", 0) > 0, heard
    lost = unknown(heard) + heard.get("502 unknown", 0) + heard.get("again", 0)
    assert lost <= 4 * len(users.loads), heard
    # A node that answers 503 for another's shards is none that is down.
    assert "no live upstreams" not in nginx.errors()
    audited(cluster, users.told())


def test_a_node_is_added_to_the_upstreams_under_load(cluster, make_proxies):
    nginx, haproxy = make_proxies(cluster.network, nodes=["n1", "n2"])
    with crowd(nginx, haproxy) as users:
        assert all(load.nodes == {"n1", "n2"} for load in users.loads if load.nodes)
        nginx.reload(NAMES)
        haproxy.reload(NAMES)

        def used():
            return all("n3" in one.nodes for one in users.loads if isinstance(one, HTTPLoad))
        eventually(used, what="an answer of n3")
        eventually(lambda: haproxy.servers("nodes_resp").get("n3") == 1, what="RESP of n3")
        users.wait(100)
    # A kept connection may end with the old workers; that is all.
    heard = users.heard()
    assert set(heard) <= {200, "again"}, heard
    assert heard.get("again", 0) <= len(users.loads), heard
    audited(cluster, users.told())


def test_all_nodes_are_restarted_one_by_one_under_load(cluster, proxies):
    with crowd(*proxies) as users:
        for name in NAMES:
            assert cluster.nodes[name].stop() == 0
            cluster.nodes[name].start()
            cluster.wait_linked()
            # HAProxy asks every second; the next one waits for this one to be used.
            eventually(lambda: proxies[1].servers("nodes_http")[name] == 1
                       and proxies[1].servers("nodes_resp")[name] == 1, what=f"{name} in use")
        users.wait(100)
    heard = users.heard()
    assert set(heard) <= {200, "503 try-again", "TRYAGAIN", "again"} | UNKNOWN, heard
    assert heard.get("again", 0) <= 3 * len(users.loads), heard
    assert unknown(heard) <= 3 * len(users.loads), heard
    assert "again" not in users.heard(HTTPLoad), heard
    audited(cluster, users.told())


def test_a_clean_stop_leaves_no_outcome_unknown(cluster):
    users = Crowd([RESPLoad(number, 7601, cluster.host[name])
                   for number, name in enumerate(["n1", "n3"] * 3, 1)])
    with users:
        for _ in range(2):
            assert cluster.nodes["n2"].stop() == 0
            cluster.nodes["n2"].start()
            cluster.wait_linked()
            users.wait(100)
    assert set(users.heard()) == {200, "TRYAGAIN"}, users.heard()


# What proxies make of answers, with nodes that can be told what to say


class Pretender(threading.Thread):
    """An HTTP node that answers as it is told: a status, None to close without a word, or what a
    function says to the head of the request."""

    def __init__(self, host, answer):
        super().__init__(daemon=True)
        self.answer, self.asked, self.is_ready = answer, 0, True
        self.listener = socket.create_server((host, 7600))

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, contextlib.suppress(ConnectionError):
            while head := connection.recv(65536):
                if head.startswith(b"GET /readyz"):
                    status = b"200 OK" if self.is_ready else b"503 X"
                    connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: 3\r\n\r\nok\n" % status)
                    continue
                self.asked += 1
                answer = self.answer(head) if callable(self.answer) else self.answer
                if answer is None:
                    return
                body = b'{"type":"urn:downpour:problem:try-again"}'
                connection.sendall(
                    b"HTTP/1.1 %d X\r\nContent-Type: application/problem+json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (answer, len(body), body))

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def pretend():
    """Three nodes that answer so; their network and themselves."""
    made = []

    def start(*answers):
        network = own_network()
        for place, answer in enumerate(answers):
            made.append(Pretender(f"{network}.{11 + place}", answer))
            made[-1].start()
        return network, made
    yield start
    for one in made:
        one.close()


def post(proxy, count):
    """The answers to so many grabs, each on a connection of its own."""
    context = ssl.create_default_context(cafile=proxy.cert)
    answers = []
    for _ in range(count):
        connection = http.client.HTTPSConnection("localhost", proxy.port, timeout=15,
                                                 context=context)
        connection.request("POST", "/v1/rains/rain/grab")
        answers.append(Response(connection.getresponse()))
        connection.close()
    return answers


def test_a_503_is_tried_once_more_on_another_node(pretend, make_proxies):
    network, nodes = pretend(503, 200, 200)
    for proxy in make_proxies(network):
        before = [node.asked for node in nodes]
        assert {answer.status for answer in post(proxy, 30)} == {200}
        asked = [node.asked - count for node, count in zip(nodes, before)]
        assert asked[0] > 0 and sum(asked) == 30 + asked[0], asked


def test_503_everywhere_is_503_after_two_tries_and_no_node_is_left_out(pretend, make_proxies):
    network, nodes = pretend(503, 503, 503)
    for proxy in make_proxies(network):
        before = [node.asked for node in nodes]
        answers = post(proxy, 30)
        assert {answer.status for answer in answers} == {503}
        assert {answer.json()["type"] for answer in answers} == {"urn:downpour:problem:try-again"}
        asked = [node.asked - count for node, count in zip(nodes, before)]
        assert sum(asked) == 60 and min(asked) > 3, asked


def test_what_was_perhaps_applied_is_never_said_not_to_be(pretend, make_proxies):
    network, nodes = pretend(None, 503, 503)
    nginx, haproxy = make_proxies(network)
    for proxy, unknown in ((nginx, 504), (haproxy, 502)):
        for _ in range(30):
            before = nodes[0].asked
            [answer] = post(proxy, 1)
            if nodes[0].asked > before:
                assert answer.status == unknown, answer.body
                assert answer.json()["type"] == "urn:downpour:problem:unknown"
                assert answer.headers["Retry-After"] == "1"
        assert nodes[0].asked > 0


def test_where_all_nodes_are_left_out_nothing_was_applied(pretend, make_proxies):
    network, nodes = pretend(None, None, None)
    nginx, _ = make_proxies(network)
    is_left_out = False
    for answer in post(nginx, 60):
        assert (answer.status, answer.headers["Retry-After"]) in ((503, "1"), (504, "1"))
        kind = answer.json()["type"].rsplit(":", 1)[1]
        assert kind == ("try-again" if answer.status == 503 else "unknown")
    for _ in range(10):
        before = sum(node.asked for node in nodes)
        [answer] = post(nginx, 1)
        was_sent = sum(node.asked for node in nodes) > before
        assert answer.status == (504 if was_sent else 503)
        is_left_out |= not was_sent
    assert is_left_out and "no live upstreams" in nginx.errors()


def test_where_all_second_nodes_are_left_out_nothing_was_applied(pretend, make_proxies):
    """A 503, then nobody: not what a 503 and then no answer at all means."""
    requests = set()

    def answer(head):
        [number] = re.findall(rb"X-Request-Id: (\w+)", head)
        is_first = number not in requests
        requests.add(number)
        return 503 if is_first else None
    network, nodes = pretend(answer, answer, answer)
    nginx, _ = make_proxies(network)
    heard = []
    for _ in range(60):
        before = sum(node.asked for node in nodes)
        [given] = post(nginx, 1)
        tries = sum(node.asked for node in nodes) - before
        assert (given.status, tries) in ((504, 2), (503, 1)), given.body
        heard.append(given.status)
    assert set(heard) == {503, 504} and "no live upstreams" in nginx.errors()


def test_readiness_leaves_no_node_out(pretend, make_proxies):
    network, nodes = pretend(200, 200, 200)
    for node in nodes:
        node.is_ready = False
    nginx, _ = make_proxies(network)
    connection = http.client.HTTPSConnection(
        "localhost", nginx.port, timeout=15,
        context=ssl.create_default_context(cafile=nginx.cert))
    for _ in range(20):
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (502, 503)
    assert {answer.status for answer in post(nginx, 10)} == {200}


def test_a_lost_answer_is_asked_for_again_by_nginx(pretend, make_proxies):
    """All of the API is idempotent: the second node tells what the first has granted."""
    network, nodes = pretend(None, 200, 200)
    nginx, _ = make_proxies(network)
    assert {answer.status for answer in post(nginx, 30)} == {200}
    assert nodes[0].asked > 0


def test_nothing_but_the_api_is_reachable_through_proxies(cluster, proxies):
    for proxy in proxies:
        context = ssl.create_default_context(cafile=proxy.cert)

        def get(path):
            connection = http.client.HTTPSConnection("localhost", proxy.port, timeout=15,
                                                     context=context)
            connection.request("GET", path)
            answer = Response(connection.getresponse())
            connection.close()
            return answer
        for path in ("/metrics", "/", "/v2/x"):
            answer = get(path)
            assert answer.status == 404, path
            assert answer.json()["type"] == "urn:downpour:problem:not-found"
        assert (get("/healthz").status, get("/readyz").status) == (200, 200)
        assert get("/v1/rains/rain").status == 401
        assert get("/v1/ws").status == 501


# DNS


@pytest.fixture
def unbound(directory):
    """unbound with the deploy folder's records; the port to ask, and the network they are in."""
    program = shutil.which("unbound", path="/usr/sbin:/usr/bin")
    assert program, "unbound is not installed: ./topology/install-packages test"
    network, [port] = own_network(), free_ports(1)
    text = substituted("unbound.conf", network, {
        "interface: 10.0.0.2": f'interface: 127.0.0.1@{port}\n    username: ""\n    chroot: ""\n'
        f'    directory: "{directory}"\n    pidfile: ""\n    use-syslog: no\n    do-daemonize: no'
        '\n    do-not-query-localhost: no',
        "10.0.0.0/8": "127.0.0.0/8"})
    (directory / "unbound.conf").write_text(text)
    with open(directory / "unbound.log", "ab") as log:
        process = subprocess.Popen([program, "-d", "-c", directory / "unbound.conf"],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        eventually(lambda: resolve(port, "n1.downpour.internal"), what="unbound")
        yield port, network
    finally:
        process.terminate()
        process.wait(20)


def resolve(port, name):
    """The A records of a name, in the order of the answer."""
    query = struct.pack(">HHHHHH", random.randrange(1 << 16), 0x0100, 1, 0, 0, 0) + b"".join(
        bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(2)
        asker.sendto(query, ("127.0.0.1", port))
        answer = asker.recv(4096)
    count, at, found = struct.unpack(">H", answer[6:8])[0], len(query), []
    for _ in range(count):
        # Names are pointers to the question's.
        assert answer[at] & 0xc0 == 0xc0
        kind, _, _, size = struct.unpack(">HHIH", answer[at + 2:at + 12])
        if kind == 1:
            found.append(socket.inet_ntoa(answer[at + 12:at + 16]))
        at += 12 + size
    return found


def test_dns_gives_all_nodes_in_turn(unbound):
    port, network = unbound
    answers = [tuple(resolve(port, "nodes.downpour.internal")) for _ in range(60)]
    hosts = {f"{network}.{host}" for host in (11, 12, 13)}
    assert all(set(answer) == hosts for answer in answers)
    assert {answer[0] for answer in answers} == hosts, "always the same comes first"
    assert resolve(port, "n2.downpour.internal") == [f"{network}.12"]


def test_a_client_of_dns_alone_outlives_a_dead_node(unbound, directory, make_node):
    """What README.md of the deploy folder asks of clients: every address, in the answer's order."""
    port, network = unbound
    cluster = Cluster(directory, make_node, network=network).start()
    with cluster.resp("n1") as connection:
        connection.call(f"RAIN.CREATE rain AMOUNT {PACKETS} COUNT {PACKETS} SLICES 48")

    def grab(user):
        for host in resolve(port, "nodes.downpour.internal"):
            try:
                with Connection(7601, host=host, timeout=2) as connection:
                    return connection.call("RAIN.GRAB", "rain", user)[:3]
            except Failure as failure:
                assert failure.code in ("TRYAGAIN", "UNKNOWN")
            except (OSError, Closed):
                pass
        return None
    told = {user: grab(user) for user in range(60)}
    assert all(prize[0] == "granted" for prize in told.values())
    cluster.nodes["n3"].kill()
    served = [user for user in range(100, 160) if grab(user)]
    assert 20 < len(served) < 60
    cluster.nodes["n3"].start()
    cluster.wait_linked()
    for user, (_, fen, packet) in told.items():
        assert grab(user) == ["repeat", fen, packet]
    assert all(grab(user) for user in range(100, 160))


# Files that are checked, and not run


def test_the_unit_is_sound_and_hardened(directory, run_tool):
    unit = (DEPLOY / "downpour@.service").read_text()
    assert "/usr/local/bin/downpour" in unit
    path = directory / "downpour@n1.service"
    path.write_text(unit.replace("/usr/local/bin/downpour", str(BINARY)))
    result = run_tool("systemd-analyze", "verify", path)
    assert "downpour@n1" not in result.stderr, result.stderr
    result = run_tool("systemd-analyze", "security", "--offline=true", "--threshold=20", path)
    settings = dict(re.findall(r"^(\w+)=(\S+)$", unit, re.MULTILINE))
    drain = re.search(r"DOWNPOUR_DRAIN=(\d+)s", unit)[1]
    assert settings["TimeoutStopSec"] == "3min" and int(drain) + 5 < 180
    assert int(settings["LimitNOFILE"]) > 100_000, "as many connections as a node takes"


def test_the_example_of_secrets_is_what_a_node_on_a_network_needs():
    names = re.findall(r"^(DOWNPOUR_\w+)=replace-me$", (DEPLOY / "secrets.env.example").read_text(),
                       re.MULTILINE)
    good = {"DOWNPOUR_CLUSTER_KEY": KEY, "DOWNPOUR_TOKEN_KEY": tokens.KEY,
            "DOWNPOUR_RESP_USERS": "shop:0123456789abcdef:app", "DOWNPOUR_ADMIN_TOKEN": "a" * 32,
            "DOWNPOUR_ADMIN_READ_TOKEN": "b" * 32}
    assert set(names) == set(good)
    check = ("node", "--check-config", "--topology", DEPLOY / "topology.yaml", "--name", "n1")
    result = downpour(*check, env=good)
    assert result.returncode == 0, result.stderr
    for name in names:
        without = {key: value for key, value in good.items() if key != name}
        expected = 0 if name == "DOWNPOUR_ADMIN_READ_TOKEN" else 78
        assert downpour(*check, env=without).returncode == expected, name


def test_the_container_has_the_libraries_that_the_node_needs(run_tool):
    """Not built here. But each library of the executable is of a package that the image gets."""
    text = (DEPLOY / "Containerfile").read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    assert stages[1].startswith("swift:6.3-") and "-slim" in stages[1]
    assert "USER 10001:10001" in stages[1]
    lists = (ROOT / "topology/install-packages").read_text()
    for wanted in re.search(r"build\)\s+echo (.*)", lists)[1].split():
        assert wanted in stages[0], wanted
    needed = subprocess.run(["objdump", "-p", BINARY], capture_output=True, text=True,
                            env=clean_environment(), check=True).stdout
    libraries = re.findall(r"NEEDED +(\S+)", needed)
    # Swift's own come with its image, and what every Debian has is there.
    base = {"libc6", "libgcc-s1", "libstdc++6"}
    for library in libraries:
        if re.match(r"lib(swift|Foundation|_Foundation|dispatch|BlocksRuntime)", library):
            continue
        owners = run_tool("dpkg", "-S", f"*/{library}").stdout
        packages = {line.split(":")[0] for line in owners.splitlines()}
        assert any(one in base or re.search(rf"\b{re.escape(one)}\b", stages[1])
                   for one in packages), (library, packages)
