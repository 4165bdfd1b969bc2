"""The simulator's subcommands, as a shell sees them: what a trap of the simulated code becomes."""

import json
from pathlib import Path

import pytest

from node import ROOT, downpour

SCENARIOS = Path(ROOT) / "simulator" / "scenarios"


@pytest.fixture(scope="module")
def trapping():
    """A mutant that ends the process, its scenario, and the first seed with which it does."""
    for line in (SCENARIOS / "mutants.txt").read_text().splitlines():
        mutant, scenario, _, oracle = line.split()
        if oracle != "trap":
            continue
        path = SCENARIOS / "faults" / f"{scenario}.yaml"
        result = downpour("simulate", "swarm", path, "--mutant", mutant, "--seeds", "200")
        seed = result.stdout.removeprefix("caught by seed ").split(",")[0]
        assert "trap (crash)" in result.stdout, result.stdout + result.stderr
        return mutant, path, seed
    pytest.fail("no mutant's oracle is trap")


@pytest.fixture
def bundle(trapping, directory):
    """The bundle that a run of it leaves."""
    mutant, scenario, seed = trapping
    result = downpour("simulate", "run", scenario, "--seed", seed, "--mutant", mutant,
                      "--bundles", directory)
    path = directory / f"{scenario.stem}-{seed}-{mutant}.bundle.json"
    assert result.returncode == 4, result.stdout + result.stderr
    assert f"seed {seed}: trap (crash)" in result.stdout
    assert f"replay: downpour simulate replay {path}" in result.stdout
    assert json.loads(path.read_text())["failure"]["kind"] == "crash"
    return path


def test_a_trap_ends_a_run_with_its_code_and_a_line_to_replay_it(trapping, bundle):
    result = downpour("simulate", "replay", bundle)
    assert result.returncode == 4, result.stdout + result.stderr
    assert f"seed {trapping[2]}: trap (crash)" in result.stdout
    assert f"replay: downpour simulate replay {bundle}" in result.stdout


def test_a_trap_can_be_had_as_json(trapping, directory):
    mutant, scenario, seed = trapping
    result = downpour("simulate", "run", scenario, "--seed", seed, "--mutant", mutant,
                      "--bundles", directory, "--json")
    assert result.returncode == 4
    document = json.loads(result.stdout)
    assert document["seed"] == seed and document["failure"].startswith("trap (crash)")


def test_a_trap_shrinks_to_a_trap(bundle):
    result = downpour("simulate", "shrink", bundle)
    assert result.returncode == 0, result.stdout + result.stderr
    small = bundle.with_name(bundle.name.replace(".bundle.json", ".small.bundle.json"))
    whole, part = (json.loads(path.read_text()) for path in (bundle, small))
    assert len(part["plan"]["faults"]) <= 10 and len(part["users"]) <= 20
    assert len(part["users"]) < len(whole["users"])
    assert downpour("simulate", "replay", small).returncode == 4


def test_a_swarm_goes_on_after_a_trap_and_says_so(trapping, directory):
    mutant, scenario, seed = trapping
    result = downpour("simulate", "swarm", scenario, "--first", seed, "--seeds", "1",
                      "--mutant", mutant, "--bundles", directory)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"caught by seed {seed}" in result.stdout and "trap (crash)" in result.stdout


def test_a_run_that_holds_ends_with_0_and_a_replay_of_another_failure_with_1(trapping, bundle):
    mutant, scenario, seed = trapping
    assert downpour("simulate", "run", scenario, "--seed", seed).returncode == 0
    document = json.loads(bundle.read_text())
    document["mutant"] = "none"
    bundle.write_text(json.dumps(document))
    result = downpour("simulate", "replay", bundle)
    assert result.returncode == 1 and "not what was recorded" in result.stdout


LOCAL = Path(ROOT) / "topology" / "examples" / "local-3.yaml"


def test_a_topology_file_is_rehearsed(directory):
    result = downpour("simulate", "run", "--topology", LOCAL, "--seed", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "everything holds" in result.stdout and "moved" not in result.stdout


def test_a_move_to_another_file_is_rehearsed_under_faults(directory):
    lighter = directory / "lighter.yaml"
    lighter.write_text(LOCAL.read_text().replace("zone: c,", "zone: c, weight: 0.25,"))
    result = downpour("simulate", "run", "--topology", lighter, "--from", LOCAL, "--seed", "2",
                      "--shards-at-once", "2", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    move = report["move"]
    assert move["shards"] == move["done"] > 0 and move["copies"] > 0
    assert move["tookMs"] >= move["slowestMs"] > 0 and report["faults"]
    plan = json.loads(
        downpour("topology", "plan", lighter, "--from", LOCAL, "--json").stdout)
    assert (move["copies"], move["handOvers"]) == (plan["copies"], plan["handOvers"])
    again = downpour("simulate", "run", "--topology", lighter, "--from", LOCAL, "--seed", "2",
                     "--shards-at-once", "2", "--json")
    assert json.loads(again.stdout)["digest"] == report["digest"]


def test_a_scenario_of_ones_own_is_run_on_the_cluster_of_a_file():
    result = downpour("simulate", "run", SCENARIOS / "faults" / "replicas.yaml",
                      "--topology", LOCAL, "--seed", "3")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("change, reason", [
    (("shards: 64", "shards: 4096"), "rehearse a smaller cluster"),
    (("name: n3", "name: n9"), "n9 is none of the nodes of"),
    (("cluster: local", "cluster: other"), "is of other"),
    (("replicas: 2", "replicas: 1"), "shards with one copy do not move"),
    (("shards: 64", "shards: 32"), "64"),
])
def test_what_cannot_be_rehearsed_is_refused(directory, change, reason):
    file = directory / "new.yaml"
    file.write_text(LOCAL.read_text().replace(*change))
    result = downpour("simulate", "run", "--topology", file, "--from", LOCAL)
    assert result.returncode == 65, result.stdout + result.stderr
    assert reason in result.stderr
    assert downpour("simulate", "run", "--from", LOCAL).returncode == 64
