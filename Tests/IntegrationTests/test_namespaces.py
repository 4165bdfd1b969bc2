"""Three nodes in network namespaces of their own, and links between them that are cut."""

import contextlib
import ctypes
import http.client
import json
import os
import shutil
import subprocess
import time

import pytest

import tokens
from front import Crowd, Load
from node import Response, downpour, eventually
from resp import Closed, Connection, Failure
from cluster import KEY

NAMES = ["n1", "n2", "n3"]
PACKETS = 1_000_000
# A silent link ends after 5 s; what was on its way is answered then.
ANSWER_SECONDS = 8
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*words, check=True):
    return subprocess.run(["ip", *map(str, words)], check=check, capture_output=True, text=True,
                          env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})


@contextlib.contextmanager
def inside(namespace):
    """This thread's new sockets and children are in a namespace."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _enter(other)
        yield
    finally:
        _enter(own)
        os.close(own)
        os.close(other)


def _enter(descriptor):
    if _libc.setns(descriptor, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Network:
    """A namespace a node, and one with the bridge between them: nothing in the tests' own."""

    def __init__(self):
        self.prefix = f"dp{os.getpid()}"
        self.hub = f"{self.prefix}-hub"
        self.space = {name: f"{self.prefix}-{name}" for name in NAMES}
        self.host = {name: f"10.99.0.{11 + place}" for place, name in enumerate(NAMES)}
        self.mac = {name: f"02:00:00:00:00:{11 + place}" for place, name in enumerate(NAMES)}

    def build(self):
        ip("netns", "add", self.hub)
        ip("-n", self.hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.hub, "link", "set", "bridge", "up")
        for name in NAMES:
            space = self.space[name]
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", self.hub, "link", "add", name, "type", "veth",
               "peer", "name", "eth0", "address", self.mac[name], "netns", space)
            ip("-n", space, "addr", "add", f"{self.host[name]}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", self.hub, "link", "set", name, "master", "bridge", "up")

    def remove(self):
        """Devices go with their namespaces."""
        for space in [self.hub, *self.space.values()]:
            ip("netns", "del", space, check=False)

    def cut(self, name):
        """Nobody reaches the node, and it reaches nobody."""
        ip("-n", self.hub, "link", "set", name, "down")

    def heal(self, name):
        ip("-n", self.hub, "link", "set", name, "up")

    def separate(self, one, other, cut=True):
        """These two do not reach each other; all others reach both."""
        for name in (one, other):
            subprocess.run(
                ["ip", "netns", "exec", self.hub, "bridge", "link", "set", "dev", name,
                 "isolated", "on" if cut else "off"], check=True, capture_output=True,
                env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})

    def silence(self, source, target):
        """What the first sends to the second gets lost; the other way it arrives."""
        ip("-n", self.space[source], "neigh", "replace", self.host[target], "lladdr",
           "02:00:00:00:00:99", "dev", "eth0", "nud", "permanent")

    def unsilence(self, source, target):
        ip("-n", self.space[source], "neigh", "del", self.host[target], "dev", "eth0")


@pytest.fixture
def network():
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin"):
        pytest.skip("network namespaces need ip: ./topology/install-packages test")
    network = Network()
    try:
        network.build()
        with inside(network.hub):
            pass
    except (subprocess.CalledProcessError, OSError) as problem:
        network.remove()
        detail = getattr(problem, "stderr", None) or problem
        pytest.skip(f"network namespaces are not allowed here: {detail}")
    yield network
    network.remove()


class Cluster:
    """A node a namespace, with clients beside each."""

    def __init__(self, directory, make_node, network):
        self.network, self.store = network, directory / "store.sqlite"
        self.file = directory / "topology.yaml"
        self.file.write_text(
            "version: 1\ncluster: spaces\nshards: 64\nreplicas: 1\narbiter: none\n"
            "regions:\n  - name: here\n    nodes:\n" + "".join(
                f"      - {{name: {name}, zone: {name}, host: {network.host[name]}}}\n"
                for name in NAMES))
        self.nodes = {name: make_node(
            "--topology", self.file, "--name", name, "--cores", 1, name=name,
            *(word for listener, port in (("http", 7600), ("resp", 7601), ("bus", 7602),
                                          ("admin", 7603))
              for word in (f"--{listener}", f"{network.host[name]}:{port}")),
            env={"DOWNPOUR_CLUSTER_KEY": KEY, "DOWNPOUR_TOKEN_KEY": tokens.KEY,
                 "DOWNPOUR_STORE_URL": f"sqlite:{self.store}"})
            for name in NAMES}

    def start(self):
        for name, node in self.nodes.items():
            with inside(self.network.space[name]):
                node.launch()
        for node in self.nodes.values():
            node.start_launched()
        self.wait_one_view()
        return self

    def resp(self, name):
        with inside(self.network.space[name]):
            return Connection(7601, host=self.network.host[name], timeout=ANSWER_SECONDS + 4)

    def get(self, name, path, port=7600, method="GET", headers=None):
        with inside(self.network.space[name]):
            connection = http.client.HTTPConnection(self.network.host[name], port, timeout=12)
            connection.connect()
        try:
            connection.request(method, path, headers=headers or {})
            return Response(connection.getresponse())
        finally:
            connection.close()

    def view(self, name):
        """State and link of every node, as one of them sees it."""
        nodes = self.get(name, "/v1/cluster", 7603).json()["nodes"]
        return {one["name"]: (one["state"], one["linked"]) for one in nodes}

    def wait_one_view(self):
        well = dict.fromkeys(NAMES, ("alive", 1))
        eventually(lambda: all(self.view(name) == well for name in NAMES), 60, "one view")


class LocalLoad(Load):
    """Users beside one node, who know of no other."""

    def __init__(self, number, cluster, name):
        super().__init__(number)
        self.cluster, self.name, self.connection, self.longest = cluster, name, None, 0

    def ask(self, user):
        began = time.monotonic()
        try:
            if not self.connection:
                self.connection = self.cluster.resp(self.name)
            outcome, fen, packet, _ = self.connection.call("RAIN.GRAB", "rain", user)
        except Failure as failure:
            return failure.code, None
        except (OSError, Closed) as problem:
            raise AssertionError(f"{self.name} left a user without an answer") from problem
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
        assert outcome in ("granted", "repeat"), outcome
        return 200, (packet, fen)


@pytest.fixture
def cluster(network, directory, make_node):
    cluster = Cluster(directory, make_node, network).start()
    with cluster.resp("n1") as connection:
        connection.call(f"RAIN.CREATE rain AMOUNT {PACKETS * 100} COUNT {PACKETS} SLICES 48")
    return cluster


def crowd(cluster):
    return Crowd([LocalLoad(place, cluster, name) for place, name in enumerate(NAMES, 1)])


def served_all_the_time(users, names=NAMES):
    """Users beside these nodes are served with what can be reached from there."""
    for load in users.loads:
        if load.name in names:
            before = load.heard.get(200, 0)
            eventually(lambda: load.heard[200] > before + 20, ANSWER_SECONDS + 12,
                       f"users of {load.name}")


def settled(cluster, users):
    """Nobody waited for ever, nothing told is lost, and journals and store agree."""
    heard = users.heard()
    assert set(heard) <= {200, "TRYAGAIN", "UNKNOWN"}, heard
    assert heard.get("TRYAGAIN", 0) > 0, heard
    assert max(load.longest for load in users.loads) < ANSWER_SECONDS
    told = users.told()
    assert len({packet for packet, _ in told.values()}) == len(told), "a packet has two owners"
    connections = [cluster.resp(name) for name in NAMES]
    for place, (user, (packet, fen)) in enumerate(told.items()):
        again = connections[place % 3].call("RAIN.GRAB", "rain", user)
        assert again[:3] == ["repeat", fen, packet]
    for node in cluster.nodes.values():
        node.signal(15)
    for node in cluster.nodes.values():
        assert node.wait() == 0
    journals = [word for node in cluster.nodes.values() for word in ("--data", node.data)]
    result = downpour("audit", *journals, "--store", f"sqlite:{cluster.store}", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    # All users were answered in the end: whoever was granted heard of it.
    assert json.loads(result.stdout)["claims"] == len(told)


def test_a_node_that_is_cut_off_serves_its_own_and_rejoins(cluster, network):
    with crowd(cluster) as users:
        network.cut("n2")
        eventually(lambda: cluster.view("n1")["n2"] == ("dead", 0)
                   and cluster.view("n3")["n2"] == ("dead", 0), 30, "n2's death")
        # Who hears from nobody doubts itself first: it takes longer to call the others dead.
        view = eventually(
            lambda: (view := cluster.view("n2"))["n1"][0] != "alive" != view["n3"][0]
            and view["n1"][1] == view["n3"][1] == 0 and view, 30, "the cut, as n2 sees it")
        assert view["n2"] == ("alive", 1)
        assert cluster.view("n1")["n3"] == cluster.view("n3")["n1"] == ("alive", 1)
        served_all_the_time(users)
        # HTTP says the same in its own words, on both sides of the cut.
        for name in NAMES:
            answers = [cluster.get(name, "/v1/rains/rain/grab", method="POST",
                                   headers=tokens.bearer(tokens.user_token(user)))
                       for user in range(30)]
            assert {answer.status for answer in answers} == {200, 503}
            refused = next(answer for answer in answers if answer.status == 503)
            assert refused.headers["Retry-After"] == "1"
        network.heal("n2")
        cluster.wait_one_view()
        users.wait(100)
    # Those who came by HTTP are no users of the crowd's, which counts claims.
    for load, name in zip(users.loads, NAMES):
        for user in range(30):
            connection = load.connection
            _, fen, packet, _ = connection.call("RAIN.GRAB", "rain", user)
            load.told[user] = (packet, fen)
    settled(cluster, users)


def test_two_nodes_that_lost_each_other_serve_what_they_reach(cluster, network):
    """n1 reaches both: gossip goes round the cut and nobody is dead, but requests do not."""
    with crowd(cluster) as users:
        network.separate("n2", "n3")
        eventually(lambda: cluster.view("n2")["n3"][1] == 0
                   and cluster.view("n3")["n2"][1] == 0, 30, "the links' ends")
        for name in NAMES:
            assert all(state != "dead" for state, _ in cluster.view(name).values())
        assert cluster.view("n1") == dict.fromkeys(NAMES, ("alive", 1))
        served_all_the_time(users)
        assert all(state == "alive" for state, _ in cluster.view("n2").values())
        # Beside n1 nobody is refused.
        before = users.loads[0].heard.copy()
        served_all_the_time(users, ["n1"])
        after = users.loads[0].heard
        assert {one: after[one] for one in after if one != 200} == {
            one: before[one] for one in before if one != 200}
        network.separate("n2", "n3", cut=False)
        cluster.wait_one_view()
        users.wait(100)
    settled(cluster, users)


def test_a_link_that_carries_one_way_only_leaves_nobody_waiting(cluster, network):
    with crowd(cluster) as users:
        network.silence("n2", "n3")
        # What n2 sends is lost, and n3's answers to it come to nothing: both links end.
        eventually(lambda: cluster.view("n2")["n3"][1] == 0
                   and cluster.view("n3")["n2"][1] == 0, 30, "the links' ends")
        served_all_the_time(users)
        for name in NAMES:
            assert all(state != "dead" for state, _ in cluster.view(name).values())
        network.unsilence("n2", "n3")
        cluster.wait_one_view()
        users.wait(100)
    settled(cluster, users)


def test_cuts_that_come_and_go_lose_nothing(cluster, network):
    """Shorter than a link's patience, and longer; TCP sends again what got lost."""
    with crowd(cluster) as users:
        for place, seconds in enumerate((0.3, 1.5, 6.5)):
            name = NAMES[place]
            network.cut(name)
            time.sleep(seconds)
            network.heal(name)
            users.wait(30)
        cluster.wait_one_view()
        users.wait(100)
    settled(cluster, users)
