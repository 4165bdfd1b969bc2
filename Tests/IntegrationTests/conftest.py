"""Fixtures: a shared node for tests that only need one, and makers of nodes of their own."""

import itertools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import node as nodes

_numbers = itertools.count(1)


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not nodes.BINARY.exists():
        pytest.exit(f"{nodes.BINARY} is not there: swift build -c release", returncode=1)


@pytest.fixture
def directory():
    """A directory on a real disk, short enough for every path, gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="dp-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the logs of the nodes that a failed test had."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for one in getattr(item, "nodes", []):
            report.sections.append((f"log of {one.directory}", one.log_tail()))


@pytest.fixture
def make_node(request, directory):
    """Makes nodes (not started) in directories of their own; kills what is left of them."""
    made = []
    request.node.nodes = made

    def make(*options, name="node", **rest):
        made.append(nodes.Node(directory / name, *options, **rest))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def start_node(make_node):
    return lambda *options, **rest: make_node(*options, **rest).start()


@pytest.fixture(scope="session")
def shared():
    """One node for every test that leaves it as usable as it was."""
    path = Path(tempfile.mkdtemp(prefix="dp-", dir="/var/tmp"))
    node = nodes.Node(path).start()
    yield node
    alive = node.alive()
    node.kill()
    log = node.log_tail()
    shutil.rmtree(path, ignore_errors=True)
    assert alive, f"the shared node did not survive the tests:\n{log}"


@pytest.fixture
def resp(shared, request):
    request.node.nodes = [shared]
    with shared.resp() as connection:
        yield connection


@pytest.fixture
def name():
    """A pool name that no other test has."""
    return f"t{next(_numbers)}"


def _tool(program):
    found = shutil.which(program, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if not found:
        pytest.fail(f"{program} is not installed: ./topology/install-packages test bench")
    return found


@pytest.fixture
def run_tool():
    """Runs a program to its end; the test fails when it is missing or too slow."""
    def run(program, *arguments, timeout=60, stdin=None, check=True):
        result = subprocess.run(
            [_tool(program), *map(str, arguments)], input=stdin, capture_output=True,
            text=True, timeout=timeout)
        if check:
            assert result.returncode == 0, f"{program}: {result.stdout}{result.stderr}"
        return result
    return run
