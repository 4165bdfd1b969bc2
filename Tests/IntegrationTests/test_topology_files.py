"""`downpour topology check` and `plan`: files, exit codes, reports. No node runs."""

import json
import subprocess

import pytest

from node import ROOT, downpour

EXAMPLES = ROOT / "topology" / "examples"
LOCAL = EXAMPLES / "local-3.yaml"
REGIONS = EXAMPLES / "two-regions.yaml"


def large(path, nodes, shards=16384, replicas=2):
    """A file of equal nodes in three zones; a longer one only adds nodes."""
    text = subprocess.run([EXAMPLES / "five-hundred", str(nodes), str(shards), str(replicas)],
                          capture_output=True, text=True, check=True).stdout
    path.write_text(text)
    return path


def plan(*arguments):
    result = downpour("topology", "plan", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_examples_are_sound(file):
    result = downpour("topology", "check", file)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{file}: sound\n")
    report = json.loads(downpour("topology", "check", file, "--json").stdout)
    assert report["notes"] == []
    for node in report["nodes"]:
        low, high = node["share"]
        assert low <= node["after"]["replicas"] <= high
    assert sum(node["after"]["primaries"] for node in report["nodes"]) == report["shards"]
    total = sum(node["after"]["replicas"] for node in report["nodes"])
    assert total == report["shards"] * report["replicas"]


@pytest.mark.parametrize("old, new, reason", [
    ("replicas: 2", "replicas: 4", ":5: replicas: replicas must be 1 to 3"),
    ("shards: 64", "shards: 63", ":4: shards: shards must be a power of two"),
    ("replicas: 2", "replicas: 2\ntoken: secret", ":6: unknown key token"),
    ("name: n3", "name: n1", ":11: regions[0].nodes[2]: node n1 is given twice"),
    ("http: 7610", "http: 99999", ":9: regions[0].nodes[0].http: must be 1 to 65535"),
])
def test_a_bad_file_is_refused_with_its_line(tmp_path, old, new, reason):
    text = LOCAL.read_text()
    assert text.count(old) == 1
    file = tmp_path / "bad.yaml"
    file.write_text(text.replace(old, new))
    for verb in ("check", "plan"):
        result = downpour("topology", verb, file)
        assert result.returncode == 65
        assert f"{file}{reason}" in result.stderr
        assert result.stdout == ""


def test_usage_and_missing_files():
    assert downpour("topology", "check").returncode == 64
    assert downpour("topology", "plan", LOCAL, "--rate", "1M").returncode == 64
    assert downpour("topology", "plan", LOCAL, "--shard-bytes", "1.5").returncode == 64
    missing = downpour("topology", "check", "/nowhere.yaml")
    assert missing.returncode == 65 and "/nowhere.yaml" in missing.stderr


def test_the_count_of_shards_is_for_good(tmp_path):
    file = tmp_path / "more.yaml"
    file.write_text(LOCAL.read_text().replace("shards: 64", "shards: 128"))
    result = downpour("topology", "plan", file, "--from", LOCAL)
    assert result.returncode == 65
    assert "64 shards for good" in result.stderr


def test_a_plan_is_the_same_bytes_whatever_the_order_of_the_file(tmp_path):
    lines = LOCAL.read_text().splitlines()
    lines[-3:] = reversed(lines[-3:])
    shuffled = tmp_path / "shuffled.yaml"
    shuffled.write_text("\n".join(lines) + "\n")
    grown = tmp_path / "grown.yaml"
    grown.write_text(LOCAL.read_text() + "      - {name: n4, zone: a, host: 127.0.0.4}\n")
    outputs = {downpour("topology", "plan", grown, "--from", file, "--moves").stdout
               for file in (LOCAL, shuffled, LOCAL)}
    assert len(outputs) == 1
    text = outputs.pop()
    assert "add learner n4, promote n4 for n" in text
    assert "hand-overs of a primary" in text


def test_a_plan_to_where_the_cluster_is_moves_nothing():
    report = plan(REGIONS, "--from", REGIONS)
    assert report["moves"] == [] and report["copies"] == 0 and report["lowerBound"] == 0


def test_a_drained_node_ends_empty_and_costs_are_told(tmp_path):
    text = REGIONS.read_text()
    line = "{name: hz-4, zone: a, host: 10.0.0.14, weight: 2}"
    assert line in text
    file = tmp_path / "drained.yaml"
    file.write_text(text.replace(line, line.replace("weight: 2", "weight: 0")))
    report = plan(file, "--from", REGIONS, "--shard-bytes", "64M", "--rate", "50M")
    nodes = {node["name"]: node for node in report["nodes"]}
    assert nodes["hz-4"]["before"]["replicas"] > 0
    assert nodes["hz-4"]["after"] == {"replicas": 0, "primaries": 0}
    assert report["copies"] >= report["lowerBound"] >= nodes["hz-4"]["before"]["replicas"]
    assert report["bytes"] == report["copies"] * 64_000_000
    assert report["seconds"] == -(-report["bytes"] // 50_000_000)
    # The other region is left alone.
    assert all(move["region"] == "hangzhou" for move in report["moves"])
    human = downpour("topology", "plan", file, "--from", REGIONS, "--shard-bytes", "64M",
                     "--rate", "50M")
    assert "to copy: " in human.stdout and "about " in human.stdout


def test_steps_turn_one_map_into_the_other(tmp_path):
    """Carried out step by step, no shard ever has a member too few or a dropped primary."""
    grown = tmp_path / "grown.yaml"
    grown.write_text(LOCAL.read_text() + "      - {name: n4, zone: a, host: 127.0.0.4}\n")
    for move in plan(grown, "--from", LOCAL)["moves"]:
        learners, promoted, dropped = set(), [], []
        for step in move["steps"]:
            if step["kind"] == "addLearner":
                learners.add(step["node"])
            elif step["kind"] == "promote":
                assert step["node"] in learners and step["replacing"]
                promoted.append(step["replacing"])
            elif step["kind"] == "drop":
                assert step["node"] in promoted
                dropped.append(step["node"])
        members = {move["primary"], *move["backups"]}
        assert len(members) == 2 and not members & set(dropped)


def test_five_hundred_nodes_stay_within_the_bound(tmp_path):
    before = large(tmp_path / "500.yaml", 500)
    for count in (501, 499, 1000):
        report = plan(large(tmp_path / f"{count}.yaml", count), "--from", before)
        assert report["lowerBound"] > 0
        assert report["copies"] <= report["lowerBound"] * 1.05
        for node in report["nodes"]:
            assert node["partners"] <= 8
            if "region" in node:
                low, high = node["share"]
                assert low - 2 <= node["after"]["replicas"] <= high + 2
