"""Redis' own clients against the RESP listener: redis-cli, redis-benchmark, redis-py."""

import csv
import io
import threading

import pytest
import redis


def cli(run_tool, node, *words, stdin=None, check=True):
    result = run_tool("redis-cli", "-h", "127.0.0.1", "-p", node.port("resp"), *words,
                      stdin=stdin, check=check)
    return result.stdout.strip()


def test_redis_cli_runs_commands(shared, run_tool, name):
    assert cli(run_tool, shared, "PING") == "PONG"
    assert cli(run_tool, shared, "RAIN.CREATE", name, "AMOUNT", "1000", "COUNT", "10") == "OK"
    lines = cli(run_tool, shared, "RAIN.GRAB", name, "1").splitlines()
    assert lines[0] == "granted" and int(lines[1]) > 0 and len(lines) == 4


def test_redis_cli_starts_as_for_a_person(shared, run_tool, name):
    """Fed with lines it says COMMAND DOCS at its start, and goes on after an error."""
    script = f"COMMAND DOCS\nRAIN.INFO {name}\nnonsense\nPING\n"
    answers = cli(run_tool, shared, stdin=script)
    assert "rain.grab" in answers and "NORAIN" in answers
    assert "ERR unknown command" in answers and answers.endswith("PONG")


def test_redis_cli_in_resp3(shared, run_tool, name):
    cli(run_tool, shared, "RAIN.CREATE", name, "AMOUNT", "1000", "COUNT", "10")
    answer = cli(run_tool, shared, "-3", "RAIN.INFO", name)
    assert "granted" in answer and "1000" in answer


def test_redis_cli_pipes(shared, run_tool, name):
    cli(run_tool, shared, "RAIN.CREATE", name, "AMOUNT", "100000", "COUNT", "1000")
    script = "".join(f"RAIN.GRAB {name} {user}\r\n" for user in range(500))
    answer = cli(run_tool, shared, "--pipe", stdin=script)
    assert "errors: 0, replies: 500" in answer


def test_command_introspection(resp):
    count = resp.call("COMMAND COUNT")
    commands = resp.call("COMMAND")
    assert len(commands) == count
    names = {command[0].lower() for command in commands}
    assert {"rain.grab", "stock.reserve", "order.pay", "ping", "hello"} <= names
    assert all(type(command[1]) is int and command[1] != 0 for command in commands)
    documents = resp.mapping("COMMAND DOCS rain.grab")
    assert [key.lower() for key in documents] == ["rain.grab"]
    assert resp.call("COMMAND INFO rain.grab nosuch")[1] is None


def benchmark(run_tool, node, *words, requests=20_000, pipeline=16):
    result = run_tool(
        "redis-benchmark", "-h", "127.0.0.1", "-p", node.port("resp"), "-n", requests,
        "-c", 50, "-P", pipeline, "-r", 2**31 - 1, "--csv", *words, timeout=120)
    assert "Error" not in result.stdout + result.stderr, result.stdout
    rows = list(csv.DictReader(io.StringIO(result.stdout[result.stdout.index('"test"'):])))
    assert float(rows[0]["rps"]) > 0


@pytest.mark.parametrize("pipeline", [1, 32])
def test_redis_benchmark_grabs_with_random_padded_users(shared, resp, run_tool, name, pipeline):
    resp.call(f"RAIN.CREATE {name} AMOUNT 10000000 COUNT 20000 DURABILITY memory")
    benchmark(run_tool, shared, "RAIN.GRAB", name, "__rand_int__", pipeline=pipeline)
    info = resp.mapping(f"RAIN.INFO {name}")
    # 20,000 draws of 2^31 users repeat about 0.1 times.
    assert 19_990 <= info["granted"] <= 20_000
    assert info["granted"] + info["remaining"] == 20_000


def test_redis_benchmark_on_a_journaled_rain(shared, resp, run_tool, name):
    resp.call(f"RAIN.CREATE {name} AMOUNT 10000000 COUNT 20000 DURABILITY journal")
    benchmark(run_tool, shared, "RAIN.GRAB", name, "__rand_int__", pipeline=32)
    assert resp.mapping(f"RAIN.INFO {name}")["granted"] >= 19_990


@pytest.fixture(params=[2, 3])
def client(shared, request):
    one = redis.Redis("127.0.0.1", shared.port("resp"), protocol=request.param,
                      decode_responses=True, client_name="tests")
    yield one
    one.close()


def test_redis_py(client, name):
    assert client.ping()
    assert client.execute_command("RAIN.CREATE", name, "AMOUNT", 5000, "COUNT", 5) in (
        "OK", True)
    outcome, fen, packet, ms = client.execute_command("RAIN.GRAB", name, 77)
    assert outcome == "granted" and fen > 0 and packet >= 0 and ms > 0
    assert client.execute_command("RAIN.GRAB", name, 77) == ["repeat", fen, packet, ms]
    info = client.execute_command("RAIN.INFO", name)
    if not isinstance(info, dict):
        info = dict(zip(info[::2], info[1::2]))
    assert info["granted"] == 1


def test_redis_py_pipeline_and_errors(client, name):
    client.execute_command("RAIN.CREATE", name, "AMOUNT", 50000, "COUNT", 500)
    with client.pipeline(transaction=False) as pipeline:
        for user in range(300):
            pipeline.execute_command("RAIN.GRAB", name, user)
        pipeline.execute_command("RAIN.GRAB", name + "-no", 1)
        replies = pipeline.execute(raise_on_error=False)
    assert [reply[0] for reply in replies[:300]] == ["granted"] * 300
    assert isinstance(replies[300], redis.ResponseError)
    assert str(replies[300]).startswith("NORAIN")
    assert client.client_getname() == "tests"
    assert client.info()


def test_redis_py_from_many_threads(shared, resp, name):
    """A user who grabs at once on 8 connections gets one packet."""
    resp.call(f"RAIN.CREATE {name} AMOUNT 100000 COUNT 1000")
    pool = redis.ConnectionPool(host="127.0.0.1", port=shared.port("resp"))
    client, replies, lock = redis.Redis(connection_pool=pool), [], threading.Lock()

    def work():
        for user in range(50):
            reply = client.execute_command("RAIN.GRAB", name, user)
            with lock:
                replies.append((user, *reply))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.disconnect()
    assert len(replies) == 400
    granted = [reply for reply in replies if reply[1] == b"granted"]
    assert len(granted) == 50
    assert len({(user, fen, packet, ms) for user, _, fen, packet, ms in replies}) == 50


def test_hello_answers_all_seven_fields(shared):
    with shared.resp() as connection:
        fields = connection.mapping("HELLO 3 SETNAME me")
        assert isinstance(fields, dict)
        assert {"server", "version", "proto", "id", "mode", "role", "modules"} <= set(fields)
        assert fields["proto"] == 3 and type(fields["id"]) is int
        assert connection.call("CLIENT GETNAME") == "me"
        assert connection.call("CLIENT ID") == fields["id"]
        assert connection.mapping("HELLO 2")["proto"] == 2
    with shared.resp() as connection:
        connection.send(b"HELLO 4\r\n")
        assert connection.read().code == "NOPROTO"


def test_roles_and_passwords(start_node):
    node = start_node(env={
        "DOWNPOUR_RESP_USERS": "web:w-secret:app,till:t-secret:pay,boss:b-secret:operator"})
    with node.resp() as connection:
        connection.send(b"RAIN.INFO r\r\nAUTH web wrong\r\nAUTH nobody x\r\n")
        assert connection.read().code == "NOAUTH"
        assert connection.read().code == "WRONGPASS"
        assert connection.read().code == "WRONGPASS"
        assert connection.call("AUTH boss b-secret") == "OK"
        connection.call("RAIN.CREATE r AMOUNT 1000 COUNT 10")
        connection.call("STOCK.CREATE s UNITS 5 PRICE 100")
    with node.resp() as web:
        assert web.mapping("HELLO 3 AUTH web w-secret")["proto"] == 3
        assert web.call("RAIN.GRAB r 1")[0] == "granted"
        order = web.call("STOCK.RESERVE s 1 1 q")[1]
        for line in (f"ORDER.PAY {order} p 100", "RAIN.CLOSE r", "RAIN.CREATE x AMOUNT 1 COUNT 1"):
            web.send(line.encode() + b"\r\n")
            assert web.read().code == "NOPERM", line
        assert web.call("RESET") == "RESET"
        web.send(b"RAIN.GRAB r 1\r\n")
        assert web.read().code == "NOAUTH"
    with node.resp() as till:
        till.call("AUTH till t-secret")
        assert till.call(f"ORDER.PAY {order} p 100")[0] == "paid"
        till.send(b"STOCK.REFILL s 1 q\r\n")
        assert till.read().code == "NOPERM"
    assert "b-secret" not in node.log() and "t-secret" not in node.log()
