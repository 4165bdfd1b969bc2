"""The admin listener, the operators' subcommands, metrics, logs, exit codes."""

import contextlib
import json
import socket
import threading

import openapi_spec_validator
import pytest
import yaml

from node import ROOT, downpour, eventually
from operators import audit, operate, operate_json


def test_promtool_finds_nothing_wrong_with_the_metrics(shared, resp, name, run_tool):
    resp.call(f"RAIN.CREATE {name} AMOUNT 1000 COUNT 10")
    for user in range(12):
        resp.call(f"RAIN.GRAB {name} {user}")
    response = shared.request("GET", "/metrics", listener="admin")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    text = response.body.decode()
    assert "# TYPE downpour_" in text
    result = run_tool("promtool", "check", "metrics", stdin=text, check=False)
    # 3 is promtool's code for style remarks; they are held to be errors here too.
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_pool_name_never_becomes_a_label_by_the_thousand(shared, resp, name):
    """Metrics stay bounded however many pools there are."""
    before = len(shared.request("GET", "/metrics", listener="admin").body)
    for number in range(500):
        resp.call(f"RAIN.CREATE {name}:{number} AMOUNT 100 COUNT 10")
    after = len(shared.request("GET", "/metrics", listener="admin").body)
    assert after < before + 60_000


def test_openapi_names_the_routes(shared):
    response = shared.request("GET", "/openapi.yaml", listener="admin")
    assert response.status == 200
    text = response.body.decode()
    assert text.startswith("openapi: 3") and "/metrics" in text and "rains" in text
    openapi_spec_validator.validate(yaml.safe_load(text))


def test_admin_tokens(start_node):
    node = start_node(env={"DOWNPOUR_ADMIN_TOKEN": "write-secret",
                           "DOWNPOUR_ADMIN_READ_TOKEN": "read-secret"})
    with node.resp() as connection:
        connection.call("RAIN.CREATE r AMOUNT 1000 COUNT 10")
    show = operate(node, "rain", "show", "r", check=False)
    assert show.returncode == 77, show.stderr
    for secret in ("read-secret", "write-secret"):
        operate(node, "rain", "show", "r", env={"DOWNPOUR_ADMIN_TOKEN": secret})
    pause = operate(node, "rain", "pause", "r", check=False,
                    env={"DOWNPOUR_ADMIN_TOKEN": "read-secret"})
    assert pause.returncode == 77, pause.stderr
    operate(node, "rain", "pause", "r", env={"DOWNPOUR_ADMIN_TOKEN": "write-secret"})
    with node.resp() as connection:
        assert connection.mapping("RAIN.INFO r")["state"] == "paused"
    assert "write-secret" not in node.log()


def test_a_node_ends_cleanly_while_operators_connect(make_node):
    """Whoever scrapes it knows nothing of its end: connections go on being made meanwhile."""
    node = make_node("--drain", "0s").start()
    ends = threading.Event()

    def connect():
        while not ends.is_set():
            with contextlib.suppress(OSError), socket.create_connection(
                    ("127.0.0.1", node.port("admin")), timeout=5) as one:
                one.sendall(b"GET /v1/status HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n")
                one.recv(1)
    scrapers = [threading.Thread(target=connect, daemon=True) for _ in range(8)]
    for one in scrapers:
        one.start()
    try:
        for _ in range(5):
            node.request("GET", "/v1/status", listener="admin")
            assert node.stop() == 0
            node.start()
    finally:
        ends.set()
        for one in scrapers:
            one.join()


def test_rain_subcommands(shared, resp, name):
    operate(shared, "rain", "create", name, "--amount", 100000, "--count", 100)
    operate(shared, "rain", "create", name, "--amount", 100000, "--count", 100)
    assert operate(shared, "rain", "create", name, "--amount", 5, "--count", 1,
                   check=False).returncode != 0
    operate(shared, "rain", "warm", name)
    for user in range(30):
        resp.call(f"RAIN.GRAB {name} {user}")
    shown = operate_json(shared, "rain", "show", name)
    assert str(shown["granted"]) == "30" and shown["state"] == "open"
    operate(shared, "rain", "pause", name)
    assert resp.call(f"RAIN.GRAB {name} 99")[0] == "paused"
    operate(shared, "rain", "resume", name)
    assert name in operate(shared, "rain", "list").stdout
    operate(shared, "rain", "close", name)
    eventually(lambda: resp.mapping(f"RAIN.INFO {name}")["state"] == "closed")
    operate(shared, "rain", "verify", name)


def test_stock_and_order_subcommands(shared, resp, name):
    operate(shared, "stock", "create", name, "--units", 5, "--price", 100)
    order = resp.call(f"STOCK.RESERVE {name} 1 1 q")[1]
    assert resp.call(f"ORDER.PAY {order} p1 100")[0] == "paid"
    operate(shared, "stock", "refill", name, 5, "--request", "r1")
    assert str(operate_json(shared, "stock", "show", name)["units"]) == "10"
    assert operate_json(shared, "order", "show", order)["state"] == "paid"


def test_pools_from_a_file(shared, resp, name, directory):
    path = directory / "pools.yaml"
    path.write_text(
        f"rains:\n  - {{id: {name}, amount: 100000, count: 100, kind: spread}}\n"
        f"stock:\n  - {{sku: {name}, units: 10, price: 500}}\n")
    operate(shared, "pool", "apply", path, "--dry-run")
    with pytest.raises(Exception, match="NORAIN"):
        resp.call(f"RAIN.INFO {name}")
    operate(shared, "pool", "apply", path)
    operate(shared, "pool", "apply", path)
    assert resp.mapping(f"RAIN.INFO {name}")["count"] == 100
    assert resp.mapping(f"STOCK.INFO {name}")["units"] == 10
    path.write_text("rains:\n  - {id: x, amount: 1, count: 1, colour: red}\n")
    refused = operate(shared, "pool", "apply", path, check=False)
    assert refused.returncode == 65 and "colour" in refused.stderr and "2" in refused.stderr


def test_exit_codes(directory):
    assert downpour("--version").returncode == 0
    assert "demo" in downpour("--help").stdout
    assert downpour("nonsense").returncode == 64
    assert downpour("node", "--no-such-option").returncode == 64
    unreachable = downpour("rain", "show", "r", "--admin", "http://127.0.0.1:1")
    assert unreachable.returncode == 69, unreachable.stderr
    bad = directory / "bad.yaml"
    bad.write_text("rains: [\n")
    assert downpour("pool", "apply", bad, "--admin", "http://127.0.0.1:1").returncode == 65
    for wrong in (["--http", "nonsense"], ["--durability", "paper"], ["--cores", "0"],
                  ["--archive-after", "soon"], ["--archive-orders-after", "never"]):
        result = downpour("node", "--data", directory / "x", "--check-config", *wrong)
        assert result.returncode in (64, 78), (wrong, result.stderr)
        assert result.stderr.strip()


def test_options_come_from_flag_environment_and_file(directory):
    """In this order of precedence; a file with an unknown key is refused."""
    base = ["node", "--check-config", "--data", directory / "x"]
    good = directory / "node.yaml"
    good.write_text("durability: nonsense\n")
    assert downpour(*base, "--config", good).returncode == 78
    environment = {"DOWNPOUR_DURABILITY": "journal"}
    assert downpour(*base, "--config", good, env=environment).returncode == 0
    environment = {"DOWNPOUR_DURABILITY": "nonsense"}
    assert downpour(*base, env=environment).returncode in (64, 78)
    assert downpour(*base, "--durability", "memory", env=environment).returncode == 0
    for after in ("off", "0s", "500ms", "1h"):
        assert downpour(*base, env={"DOWNPOUR_ARCHIVE_AFTER": after}).returncode == 0
        assert downpour(*base, env={"DOWNPOUR_ARCHIVE_ORDERS_AFTER": after}).returncode == 0
    assert downpour(*base, "--archive-orders-after", "30d").returncode == 0
    good.write_text("colour: red\n")
    refused = downpour(*base, "--config", good)
    assert refused.returncode == 78 and "colour" in refused.stderr


def test_json_logs_are_json(start_node):
    node = start_node("--log-format", "json", "--log-level", "debug")
    with node.resp() as connection:
        connection.call("RAIN.CREATE r AMOUNT 1000 COUNT 10")
    assert node.stop() == 0
    lines = node.log().splitlines()
    assert lines
    for line in lines:
        assert isinstance(json.loads(line), dict), line


def test_the_store_reconciles_and_the_audit_is_clean(start_node, run_tool):
    node = start_node()
    with node.resp() as connection:
        connection.call("RAIN.CREATE r AMOUNT 100000 COUNT 100")
        connection.call("STOCK.CREATE s UNITS 10 PRICE 100")
        granted = {user: connection.call(f"RAIN.GRAB r {user}") for user in range(60)}
        order = connection.call("STOCK.RESERVE s 1 1 q")[1]
        connection.call(f"ORDER.PAY {order} p1 100")
    database = store(node)

    def stored():
        return run_tool("sqlite3", "-readonly", database,
                        "SELECT count(*), sum(amount) FROM claims WHERE pool = 'r'",
                        check=False).stdout.strip()

    total = sum(reply[1] for reply in granted.values())
    eventually(lambda: stored() == f"60|{total}", what="the reconciliation")
    assert node.stop() == 0
    report = audit(node)
    assert report.returncode == 0, report.stdout + report.stderr
    run_tool("sqlite3", database, "UPDATE claims SET amount = amount + 1 WHERE rowid = "
             "(SELECT rowid FROM claims WHERE user = 17 OR user = '17' LIMIT 1)")
    report = audit(node)
    assert report.returncode == 1, "an audit that misses one fen is none"
    assert "17" in report.stdout, report.stdout


def store(node):
    """The embedded store's file, wherever in the data directory it is."""
    found = [path for path in node.data.rglob("*") if path.is_file()
             and path.read_bytes()[:15] == b"SQLite format 3"]
    assert len(found) == 1, found
    return found[0]


def demo(*options):
    """A small one; its report as JSON."""
    result = downpour("demo", "--users", 20000, "--packets", 10000, "--amount", 1000000,
                      "--units", 100, "--json", *options, timeout=120)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    report = json.loads(result.stdout)
    assert report["holds"] and all(report["checks"].values())
    assert sum(one["grants"] for one in report["shares"]) == report["granted"]
    assert sum(one["fen"] for one in report["shares"]) == report["fen"]
    assert report["audit"]["claims"] == report["granted"]
    return report


def test_the_demo_kills_one_of_three_nodes_and_holds():
    report = demo()
    assert [one["node"] for one in report["shares"]] == ["demo-1", "demo-2", "demo-3"]
    # The killed one has nothing any more; its shards and what they gave are the others'.
    assert [one["grants"] > 0 for one in report["shares"]] == [True, False, True]
    assert sum(one["shards"] for one in report["shares"]) == 64
    assert report["crash"]["node"] == "demo-2"


def test_the_demo_of_one_node_holds():
    report = demo("--nodes", 1)
    assert report["granted"] == 10000 and report["crash"] is None and report["delayed"] == 0


def test_the_repository_keeps_its_shape():
    """The top level holds only what the README says."""
    allowed = {"Package.swift", "Sources", "Tests", "topology", "simulator", "bench",
               "README.md", "Package.resolved"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found <= allowed, found - allowed
