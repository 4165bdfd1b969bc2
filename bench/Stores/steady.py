#!/usr/bin/env python3
"""What a store costs the hot path: a steady load with MariaDB behind the node, and without a store.

The same users at the same moments (open loop, latency from the intended moment), turn by turn. CPU is
that of the node's threads but the reconciler's, which yields to them; lag is what the node says of
its store, asked every 50 ms. One line of JSON a run, medians at the end.

    bench/Stores/steady.py [--rate 50000] [--seconds 20] [--runs 3] [--durability journal] [--realtime]

MariaDB would run on a machine of its own: with `--realtime` the node's serving threads and the load come before
it on this one's cores (as `CPUSchedulingPolicy=rr` does it in a unit).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/IntegrationTests"))

from cluster import free_ports  # noqa: E402
from node import BINARY, Node  # noqa: E402
from servers import MariaDB  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """Of the threads that serve, and of the reconciler's."""
    serving = background = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, rest = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        words = rest.split()
        spent = (int(words[11]) + int(words[12])) / TICKS
        if int(words[16]) > 0:  # nice
            background += spent
        else:
            serving += spent
    return serving, background


def serve_first(pid):
    """The threads that serve get a real-time policy; those in the background gave it up."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if int((task / "stat").read_text().rsplit(")", 1)[1].split()[16]) == 0:
            subprocess.run(["chrt", "-r", "-p", "1", task.name], check=True)


def run(options, directory, store):
    env = {"DOWNPOUR_STORE_URL": store.url if store else "none"}
    node = Node(directory, "--cores", 1, env=env).start()
    first = ["chrt", "-r", "1"] if options.realtime else []
    if options.realtime:
        serve_first(node.process.pid)
    try:
        users = options.rate * options.seconds
        node.resp().call(f"RAIN.CREATE steady AMOUNT {users * 100} COUNT {users} "
                         f"DURABILITY {options.durability}")
        node.resp().call("STOCK.CREATE none UNITS 1 PRICE 1")
        lags, ends = [], threading.Event()

        def watch():
            while not ends.wait(0.05):
                told = node.request("GET", "/v1/status", listener="admin").json()
                lags.append(told["lagMs"])
        watcher = threading.Thread(target=watch)
        if store:
            watcher.start()
        before = cpu_seconds(node.process.pid)
        answer = subprocess.run(
            [*first, BINARY, "load-worker", "--resp", node.ready["resp"], "--rain", "steady", "--sku",
             "none", "--users", str(users), "--buyers", "0", "--price", "1", "--spread-ms",
             str(options.seconds * 1000 / 0.6)], capture_output=True, text=True, check=True)
        after = cpu_seconds(node.process.pid)
        ends.set()
        load = json.loads(answer.stdout.splitlines()[-1])
        granted = load["outcomes"]["granted"]
        result = {
            "store": bool(store), "grabs": granted,
            "serving_us": round((after[0] - before[0]) / granted * 1e6, 3),
            "reconciler_us": round((after[1] - before[1]) / granted * 1e6, 3),
            "p50_ms": load["latencyUs"][0] / 1e3, "p99_ms": load["latencyUs"][2] / 1e3,
        }
        if store:
            watcher.join()
            lags.sort()
            result |= {"lag_p50_ms": lags[len(lags) // 2], "lag_p99_ms": lags[len(lags) * 99 // 100],
                       "lag_max_ms": lags[-1]}
        return result
    finally:
        node.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--durability", default="journal")
    parser.add_argument("--realtime", action="store_true")
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="dp-steady-", dir="/var/tmp"))
    rows = []
    try:
        for number in range(options.runs):
            for store in (True, False):
                maria = None
                if store:
                    maria = MariaDB(base / f"maria-{number}", free_ports(1)[0]).start()
                try:
                    row = run(options, base / f"node-{number}-{store}", maria)
                finally:
                    if maria:
                        maria.kill()
                print(json.dumps(row), flush=True)
                rows.append(row)
                time.sleep(1)
    finally:
        shutil.rmtree(base, ignore_errors=True)

    def median(store, name):
        return statistics.median(row[name] for row in rows if row["store"] == store)
    print(json.dumps({
        "rate": options.rate, "durability": options.durability, "realtime": options.realtime,
        "serving_ratio": round(median(True, "serving_us") / median(False, "serving_us"), 3),
        "p99_ratio": round(median(True, "p99_ms") / median(False, "p99_ms"), 3),
        "lag_p99_ms": median(True, "lag_p99_ms"), "lag_max_ms": median(True, "lag_max_ms")}))


if __name__ == "__main__":
    main()
