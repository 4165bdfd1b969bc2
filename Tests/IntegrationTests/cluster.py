"""Real nodes that are one cluster, on free ports of this machine."""

import collections
import random
import socket
import threading
import time

from node import eventually
from resp import Closed, Connection, Failure

KEY = "00112233445566778899aabbccddeeff" * 2
NAMES = ["n1", "n2", "n3"]


def free_ports(count):
    """Ports that nobody has now, below those that connections are given."""
    sockets, ports, port = [], [], 21000
    while len(ports) < count:
        port += 1
        try:
            tcp = socket.create_server(("127.0.0.1", port))
            sockets.append(tcp)
            ports.append(port)
        except OSError:
            continue
    for one in sockets:
        one.close()
    return ports


class Cluster:
    def __init__(self, directory, make_node, cores=2, replicas=1, shards=64, spare=(),
                 store=None, env=None):
        self.directory, self.make_node = directory, make_node
        self.file = directory / "topology.yaml"
        # Those that are there; `spare` ones may join.
        self.names = list(NAMES)
        ports = iter(free_ports(4 * (len(NAMES) + len(spare))))
        arbiter = "none" if replicas == 1 else "store"
        self.env = {} if replicas == 1 else {
            "DOWNPOUR_STORE_URL": store or f"sqlite:{directory}/shared.sqlite"}
        self.env |= env or {}
        lines = [f"version: 1\ncluster: test\nshards: {shards}\nreplicas: {replicas}\n"
                 f"arbiter: {arbiter}\n"
                 "regions:\n  - name: here\n    nodes:\n"]
        self.head, self.ports = "".join(lines), {}
        for name in [*NAMES, *spare]:
            http, resp, bus, admin = (next(ports) for _ in range(4))
            self.ports[name] = {"http": http, "resp": resp, "bus": bus, "admin": admin}
        self.file = self.file_of(NAMES)
        self.nodes = {name: self.make(name, cores=cores) for name in NAMES}

    def file_of(self, names):
        """The topology file of a cluster of these nodes."""
        file = self.directory / f"topology-{'-'.join(names)}.yaml"
        lines = []
        for name in names:
            ports = "".join(f", {one}: {port}" for one, port in self.ports[name].items())
            lines.append(f"      - {{name: {name}, zone: {name}, host: 127.0.0.1{ports}}}\n")
        file.write_text(self.head + "".join(lines))
        return file

    def add(self, name):
        """A node that joins: started with a file that names it beside the others."""
        self.names.append(name)
        self.file = self.file_of(self.names)
        self.nodes[name] = self.make(name)
        self.nodes[name].start()
        return self.file

    def make(self, name, cores=2, key=KEY, directory=None):
        listeners = [word for listener, port in self.ports[name].items()
                     for word in (f"--{listener}", f"127.0.0.1:{port}")]
        return self.make_node(
            "--topology", self.file, "--cores", cores, *listeners, "--name", name,
            name=directory or name, env={"DOWNPOUR_CLUSTER_KEY": key, **self.env})

    def start(self):
        for node in self.nodes.values():
            node.launch()
        for node in self.nodes.values():
            node.start_launched()
        self.wait_linked()
        return self

    def wait_linked(self):
        def linked():
            return all(self.status(name)["well"] for name in self.names)
        eventually(linked, 30, "all links")

    def wait_settled(self, among=None):
        """Every shard has all its copies, on the nodes that are there."""
        def settled():
            return all(
                self.nodes[name].request("GET", "/v1/cluster", listener="admin").json()["short"]
                == 0 for name in among or self.names)
        eventually(settled, 60, "all copies")

    def status(self, name):
        answer = self.nodes[name].request("GET", "/v1/cluster", listener="admin").json()
        answer["well"] = all(
            one["state"] == "alive" and one["linked"] == 1 for one in answer["nodes"]
        ) and set(self.names) <= {one["name"] for one in answer["nodes"]}
        return answer

    def owner(self, connection, shard):
        return {int(one["shard"]): one["node"] for one in rows(connection, "SHARDS")}[shard]


def rows(connection, command):
    return [dict(zip(map(str, one[::2]), map(str, one[1::2]))) for one in connection.call(command)]


class Crowd(threading.Thread):
    """Users who grab at any node, try again elsewhere, and write down what they were told."""

    def __init__(self, cluster, number):
        super().__init__(daemon=True)
        self.cluster, self.random = cluster, random.Random(number)
        self.user, self.told, self.ends, self.problem = number << 32, {}, False, None
        # What users heard beside a prize, and how long the slowest answer took, seconds.
        self.heard, self.slowest = collections.Counter(), 0

    def run(self):
        try:
            while not self.ends:
                self.user += 1
                self.told[self.user] = self.grab(self.user)
                if self.random.random() < 0.2:
                    again = self.random.choice(list(self.told))
                    assert self.grab(again) == self.told[again]
        except Exception as problem:  # told by the test
            self.problem = problem

    def grab(self, user):
        """Until it is answered: [fen, packet]."""
        while True:
            port = self.cluster.ports[self.random.choice(self.cluster.names)]["resp"]
            try:
                connection = Connection(port, timeout=5)
            except OSError:
                continue
            begun = time.monotonic()
            try:
                outcome, fen, packet, _ = connection.call("RAIN.GRAB", "rain", user)
                assert outcome in ("granted", "repeat"), outcome
                self.slowest = max(self.slowest, time.monotonic() - begun)
                return [fen, packet]
            except Failure as failure:
                assert failure.code in ("TRYAGAIN", "UNKNOWN"), failure.text
                self.heard[failure.text] += 1
            except (OSError, Closed):
                self.heard["closed"] += 1
            if self.ends and user not in self.told:
                return None
