"""The command: which rows, which sides, how often; where the results go."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from . import report
from .chart import chart
from .downpour import find_binary
from .process import BenchError
from .rows import OURS, PEER, ROWS, Context, sampler

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
KEYS = [row.key for row in ROWS]


def arguments():
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Measures Downpour and its peers in the same run.")
    parser.add_argument("--only", action="append", choices=KEYS, metavar="ROW",
                        help=f"only this row, may be repeated: {', '.join(KEYS)}")
    parser.add_argument("--quick", action="store_true",
                        help="a tenth of the work, 2 repetitions: does it run at all?")
    parser.add_argument("--repeat", type=int, help="repetitions (5; heavy rows 3; quick 2)")
    parser.add_argument("--side", choices=[OURS, PEER], help="only one side (no ratios)")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp"),
                        help="where journals are written: a real disk (/var/tmp)")
    parser.add_argument("--node-option", action="append", default=[], metavar="OPTION",
                        help="passed on to `downpour node`; may be repeated")
    parser.add_argument("--node-env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--output", type=Path, default=BENCH / "results/latest.json")
    options = parser.parse_args()
    if options.server_core == options.client_core:
        parser.error("server and client need a core each")
    if not {options.server_core, options.client_core} <= os.sched_getaffinity(0):
        parser.error("these cores are not ours to use")
    if any("=" not in pair for pair in options.node_env):
        parser.error("--node-env takes NAME=VALUE")
    return options


def repetitions(row, options):
    if options.repeat:
        return options.repeat
    if options.quick:
        return 2
    return 3 if row.key in ("memory", "restart", "journal1") else 5


def run_row(row, context, sides, options):
    """Samples of both sides, taken in turns so that what drifts drifts for both."""
    sample, close = sampler(row, context)
    samples = {side: [] for side in sides}
    try:
        for turn in range(repetitions(row, options)):
            for side in sides:
                began = time.monotonic()
                taken = sample(side)
                samples[side].append(taken)
                print(f"{row.key:<12} {turn + 1} {side:<5} "
                      f"{report.amount(taken[row.measure])} {row.unit} "
                      f"({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    finally:
        close()
    return report.judge(row, samples)


def main():
    options = arguments()
    # SIGTERM unwinds like Ctrl-C does: every server is ended on the way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binary = find_binary(ROOT)
    sides = [options.side] if options.side else [OURS, PEER]
    if OURS in sides and binary is None:
        print("bench: no .build/release/downpour; build it (swift build -c release) or "
              "measure only the peers (--side peer)", file=sys.stderr)
        return 69
    rows = [row for row in ROWS if options.only is None or row.key in options.only]
    scratch = Path(tempfile.mkdtemp(prefix="downpour-bench-", dir=options.scratch))
    scratch.chmod(0o755)
    context = Context(
        binary, scratch, options.server_core, options.client_core, options.quick,
        options.node_option, dict(pair.split("=", 1) for pair in options.node_env))
    document = {"quick": options.quick, "rows": [], "failures": []}
    try:
        document["machine"] = report.machine(ROOT, scratch)
        if document["machine"]["disk"].split()[:1] in (["tmpfs"], ["ramfs"]):
            print(f"bench: {options.scratch} is in memory: the journal rows say nothing; "
                  "choose a disk with --scratch", file=sys.stderr)
        if document["machine"]["load_average"] > 0.5:
            print(f"bench: others use this machine (load {os.getloadavg()[0]:.1f}): figures "
                  "will be too high and their spread wide", file=sys.stderr)
        for row in rows:
            try:
                document["rows"].append(run_row(row, context, sides, options))
            except BenchError as problem:
                document["failures"].append({"key": row.key, "problem": str(problem)})
                print(f"{row.key}: FAILED: {problem}", file=sys.stderr)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report.write_json(options.output, document)
    print(report.table(document["rows"]))
    print()
    print(report.details(document["rows"]))
    if any(row["ratio"] for row in document["rows"]):
        picture = options.output.with_suffix(".svg")
        picture.write_text(chart(document))
        print(f"\n{options.output}\n{picture}")
    missed = [row["key"] for row in document["rows"] if row["verdict"] == "missed"]
    return 1 if missed or document["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
