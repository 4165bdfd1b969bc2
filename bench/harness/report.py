"""Medians, spreads and verdicts; the table on the terminal, the JSON file."""

import json
import os
import platform
import statistics
import subprocess
from datetime import datetime, timezone
from pathlib import Path


def summary(values):
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "values": values}


def numeric_fields(samples):
    """The summaries of every field that all samples have as a number."""
    names = [name for name in samples[0] if all(
        isinstance(sample.get(name), (int, float)) for sample in samples)]
    return {name: summary([sample[name] for sample in samples]) for name in names}


def judge(row, samples):
    """One row's result: both sides' summaries, the ratio of medians and what it holds."""
    sides = {side: numeric_fields(taken) for side, taken in samples.items() if taken}
    result = {"key": row.key, "title": row.title, "peer": row.peer, "measure": row.measure,
              "unit": row.unit, "lower_is_better": row.lower, "must": row.must, "aim": row.aim,
              "sides": sides, "ratio": None, "verdict": "not compared"}
    if len(sides) < 2:
        return result
    ours, peer = sides["ours"][row.measure], sides["peer"][row.measure]
    ratio = ours["median"] / peer["median"]
    # The widest and narrowest ratio that pairs of one repetition have shown.
    pairs = [a / b for a, b in zip(ours["values"], peer["values"])]
    result["ratio"] = {"median": ratio, "min": min(pairs), "max": max(pairs)}
    guarded = row.guard is None or (
        sides["ours"][row.guard]["median"] <= sides["peer"][row.guard]["median"])
    result["guard"] = {"field": row.guard, "holds": guarded} if row.guard else None
    if row.holds(ratio, row.aim) and guarded:
        result["verdict"] = "aim"
    elif row.holds(ratio, row.must) and guarded:
        result["verdict"] = "must"
    else:
        result["verdict"] = "missed"
    return result


def amount(value):
    """Three significant digits or so, thousands separated."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def limit(value):
    """A limit as people say it: 1/4, 0.85, 5."""
    inverse = 1 / value
    if value < 1 and abs(inverse - round(inverse)) < 1e-9:
        return f"1/{round(inverse)}"
    return f"{value:g}"


def cell(side, row):
    if side is None:
        return "-"
    values = side[row["measure"]]
    spread = (values["max"] - values["min"]) / 2 / values["median"] * 100
    text = f"{amount(values['median'])} ±{spread:.0f}%"
    if row["guard_field"] and row["guard_field"] in side:
        text += f", p99 {side[row['guard_field']]['median']:.2f} ms"
    return text


def table(results):
    """The text table."""
    header = ["key", "measure", "ours", "peer", "peer is", "ratio", "must", "aim", "verdict"]
    lines = [header]
    for row in results:
        sign = "≤" if row["lower_is_better"] else "≥"
        guard = row.get("guard") or {}
        shown = {**row, "guard_field": guard.get("field")}
        lines.append([
            row["key"], f"{row['title']} ({row['unit']})", cell(row["sides"].get("ours"), shown),
            cell(row["sides"].get("peer"), shown), row["peer"],
            f"{row['ratio']['median']:.3g}" if row["ratio"] else "-",
            f"{sign} {limit(row['must'])}", f"{sign} {limit(row['aim'])}", row["verdict"]])
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = ["  ".join(word.ljust(width) for word, width in zip(line, widths)).rstrip()
            for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)


def details(results):
    """What else was seen, one line a side: rates, latencies, shares."""
    lines = []
    for row in results:
        for side, fields in row["sides"].items():
            shown = ", ".join(f"{name} {amount(values['median'])}"
                              for name, values in fields.items() if name != row["measure"])
            lines.append(f"{row['key']:<12} {side:<5} {shown}")
    return "\n".join(lines)


def first_line(*argv):
    try:
        text = subprocess.run(argv, capture_output=True, text=True, timeout=10).stdout
    except OSError:
        return "not installed"
    return text.strip().splitlines()[0] if text.strip() else ""


def fdatasync_us(directory):
    """The median time of an fdatasync of 4 KiB more, on the disk the journals are on."""
    import time
    path = Path(directory) / "fdatasync"
    times = []
    with open(path, "wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"\0" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1e6)
    path.unlink()
    return statistics.median(times)


def machine(root, scratch):
    """What the figures were made on."""
    cpu = next((line.split(":", 1)[1].strip()
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    memory = Path("/proc/meminfo").read_text().split(None, 2)[1]
    git = ("git", "-C", str(root))
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": first_line(*git, "rev-parse", "--short=12", "HEAD"),
        "dirty": bool(first_line(*git, "status", "--porcelain", "--untracked-files=no")),
        "cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "os": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "redis": first_line("redis-server", "--version"),
        "nginx": first_line("dpkg-query", "-W", "-f", "nginx ${Version}", "nginx"),
        "swift": first_line("swift", "--version"),
        "disk": first_line("findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", str(scratch)),
        "fdatasync_us": round(fdatasync_us(scratch), 1),
        "load_average": os.getloadavg()[0],
    }


def write_json(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
