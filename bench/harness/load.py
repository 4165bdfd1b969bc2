"""The load generators, pinned to the client's core: redis-benchmark, wrk, and pipes."""

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .process import BenchError, die_with_parent

PEERS = Path(__file__).resolve().parent.parent / "peers"
PIPES = Path(__file__).resolve().parent / "pipes.c"

# redis-benchmark draws users with random(3), which ends at 2^31 - 1.
MOST_USERS = 2**31 - 1


@dataclass
class Load:
    """What a generator saw. Latency is from its own sending (closed loop)."""

    requests: int
    rate: float
    p50_ms: float
    p99_ms: float


def run(argv, core, timeout):
    result = subprocess.run(
        ["taskset", "-c", str(core), *map(str, argv)], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=timeout, preexec_fn=die_with_parent)
    if result.returncode != 0:
        raise BenchError(f"{argv[0]} failed: {(result.stderr or result.stdout)[-1000:]}")
    return result.stdout


def redis_benchmark(port, core, requests, pipeline, command, users=MOST_USERS, timeout=600):
    """50 connections; `__rand_int__` in `command` becomes a random zero-padded user."""
    output = run(
        ["redis-benchmark", "-h", "127.0.0.1", "-p", port, "-c", 50, "-n", requests,
         "-P", pipeline, "-r", users, "--precision", 3, "--csv", *command], core, timeout)
    # Answers that are errors, and a missing CONFIG GET, are printed before the table.
    lines = output.splitlines()
    heads = [at for at, line in enumerate(lines) if line.startswith('"test"')]
    if len(heads) != 1:
        raise BenchError(f"redis-benchmark printed no table: {output[-1000:]}")
    row = next(csv.DictReader(io.StringIO("\n".join(lines[heads[0]:]))))
    return Load(requests, float(row["rps"]), float(row["p50_latency_ms"]),
                float(row["p99_latency_ms"]))


def build_pipes(directory):
    """Compiles `pipes.c`; its path."""
    compiler = next(filter(None, map(shutil.which, ("cc", "clang", "gcc"))), None)
    if compiler is None:
        raise BenchError("no C compiler: the replicated rows need one for their load generator")
    program = Path(directory) / "pipes"
    result = subprocess.run(
        [compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, PIPES],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if result.returncode != 0:
        raise BenchError(f"{compiler} failed: {result.stderr[-1000:]}")
    return program


def pipes(program, ports, core, requests, pipeline, seed, command, tail=(), timeout=600):
    """50 connections, dealt to `ports` in turns; the same users for the same seed. `tail`: `each`
    or `once` and the command that follows each, or the last, of a batch."""
    output = run(
        [program, ",".join(map(str, ports)), 50, requests, pipeline, seed, *command, *tail], core,
        timeout)
    told = json.loads(output)
    if told["requests"] != requests:
        raise BenchError(f"pipes had {told['requests']} answers of {requests}")
    return Load(requests, told["rate"], told["p50_ms"], told["p99_ms"])


def wrk(port, core, seconds, path):
    """64 keep-alive connections, distinct users; any error or non-2xx is a failed row."""
    output = run(
        ["wrk", "-t", 1, "-c", 64, "-d", f"{seconds}s", "-s", PEERS / "wrk.lua",
         f"http://127.0.0.1:{port}", "--", path], core, seconds + 60)
    found = re.search(
        r"RESULT requests=(\d+) seconds=([\d.]+) p50_us=(\d+) p99_us=(\d+) errors=(\d+) "
        r"non2xx=(\d+)", output)
    if not found:
        raise BenchError(f"wrk printed no result: {output[-1000:]}")
    requests, seconds, p50, p99, errors, refused = map(float, found.groups())
    if errors or refused or not requests:
        raise BenchError(f"wrk: {errors:.0f} socket errors, {refused:.0f} refused answers")
    return Load(int(requests), requests / seconds, p50 / 1000, p99 / 1000)
