"""Servers under measurement: started pinned to a core, accounted by /proc, ended by pid."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """A measurement that cannot be made or whose results are wrong."""


def free_port():
    """A loopback port that nobody listens on now. Somebody else may take it: callers retry."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent():
    """Runs in the child: it is told to end when this harness is gone, however that ended."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def stat_fields(pid):
    """The fields of /proc/PID/stat after the command's name; index 0 is the state."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2:].split()


def children(pid):
    """Direct children of a process, of whichever of its threads."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


class Server:
    """One process (with its children) under measurement."""

    def __init__(self, name, argv, core, directory, env=None):
        self.name = name
        self.log_path = Path(directory) / f"{name}.log"
        with open(self.log_path, "ab") as log:
            self.started_at = time.monotonic()
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *map(str, argv)], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=directory, preexec_fn=die_with_parent,
                env={**os.environ, **(env or {})})

    @property
    def pid(self):
        return self.process.pid

    def pids(self):
        """The process and all its descendants."""
        found, queue = [], [self.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            try:
                queue += children(pid)
            except OSError:
                continue
        return found

    def cpu_seconds(self):
        """utime + stime of every process, threads included (also those that have ended)."""
        total = 0
        for pid in self.pids():
            fields = stat_fields(pid)
            total += int(fields[11]) + int(fields[12])
        return total / TICKS_PER_SECOND

    def background_seconds(self):
        """The part of `cpu_seconds` that nice threads took which still run: the reconciler's."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            fields = stat_fields(f"{self.pid}/task/{task.name}")
            if int(fields[16]) > 0:
                total += int(fields[11]) + int(fields[12])
        return total / TICKS_PER_SECOND

    def rss_bytes(self):
        """Resident memory, the kernel's exact count (statm lags by some pages a thread)."""
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def settled_rss_bytes(self, timeout=60):
        """Resident memory once it has not moved by more than 0.1 % for three seconds."""
        deadline = time.monotonic() + timeout
        last, since = self.rss_bytes(), time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - since < 3:
            time.sleep(0.25)
            now = self.rss_bytes()
            if abs(now - last) > last / 1000:
                last, since = now, time.monotonic()
        return self.rss_bytes()

    def require_alive(self):
        if self.process.poll() is not None:
            tail = self.log_path.read_text(errors="replace")[-2000:]
            raise BenchError(
                f"{self.name} ended with status {self.process.returncode}:\n{tail}")

    def wait_until(self, ready, timeout=60, pause=0.01):
        """Calls `ready` until it answers something true; what it answered."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.require_alive()
            try:
                answer = ready()
            except (OSError, ValueError):
                answer = None
            if answer:
                return answer
            time.sleep(pause)
        raise BenchError(f"{self.name} was not ready within {timeout} s")

    def stop(self, hard=False, timeout=60):
        """Ends the process and waits for it; SIGKILL if it does not go by itself."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(hard=True)
