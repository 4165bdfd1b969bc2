"""A disk that takes nothing and says nothing, as network disks do: a file system is frozen."""

import contextlib
import os
import subprocess
import threading

import pytest

from cluster import NAMES, Cluster, Crowd
from node import eventually
from test_replicas import insist


def run(*command):
    subprocess.run(list(map(str, command)), check=True, timeout=30, capture_output=True)


class Disk:
    """A file system of its own, in a file."""

    def __init__(self, place, image):
        self.place, self.image, self.is_frozen = place, image, False

    def mount(self):
        with open(self.image, "wb") as file:
            file.truncate(1 << 30)
        run("mkfs.ext4", "-q", self.image)
        self.place.mkdir(parents=True)
        run("mount", "-o", "loop", self.image, self.place)

    def freeze(self):
        run("fsfreeze", "-f", self.place)
        self.is_frozen = True

    def thaw(self):
        if self.is_frozen:
            run("fsfreeze", "-u", self.place)
        self.is_frozen = False


@pytest.fixture
def disk(directory):
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    disk = Disk(directory / "n2" / "data", directory / "n2.img")
    try:
        disk.mount()
    except (OSError, subprocess.SubprocessError) as problem:
        pytest.skip(f"no file system in a file here: {problem}")
    yield disk
    disk.thaw()
    with contextlib.suppress(subprocess.SubprocessError):
        run("umount", "-l", disk.place)


def test_others_go_on_without_a_node_whose_disk_stands_still(disk, directory, make_node):
    cluster = Cluster(directory, make_node, replicas=2)
    cluster.start()
    cluster.wait_settled()
    packets = 1_000_000
    # Every answer waits for the disk of the node that gives it.
    cluster.nodes["n1"].resp().call(
        f"RAIN.CREATE rain AMOUNT {packets * 100} COUNT {packets} SLICES 48 DURABILITY journal")
    crowd = [Crowd(cluster, number) for number in range(1, 5)]
    for one in crowd:
        one.start()
    threading.Event().wait(1)
    disk.freeze()
    try:
        def replaced():
            shards = {one["name"]: one["copies"] for one in cluster.status("n1")["nodes"]}
            return shards["n2"] == 0
        eventually(replaced, 20, "others in the place of n2")
        served = [len(one.told) for one in crowd]
        eventually(lambda: all(len(one.told) > before + 50 for one, before in zip(crowd, served)),
                   30, "grants without n2")
    finally:
        disk.thaw()
    eventually(lambda: cluster.status("n1")["short"] == 0, 60, "n2 as a backup again")
    for one in crowd:
        one.ends = True
    for one in crowd:
        one.join(30)
        assert one.problem is None, repr(one.problem)
    told = {user: prize for one in crowd for user, prize in one.told.items() if prize}
    assert len({packet for _, packet in told.values()}) == len(told), "a packet has two owners"
    for name in NAMES:
        connection = cluster.nodes[name].resp()
        for user, prize in list(told.items())[::3]:
            assert insist(connection, "RAIN.GRAB", "rain", user)[:3] == ["repeat", *prize]
