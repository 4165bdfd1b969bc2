"""Raw bytes at the RESP listener: every malformed input gets an answer or a close."""

import random
import socket
import threading

import pytest

from node import eventually
from resp import Failure, Status, encode

PROTOCOL_ERRORS = {
    "a count that is no number": b"*x\r\n",
    "a count out of bounds": b"*99999999999\r\n",
    "a negative length": b"*1\r\n$-5\r\n",
    "a length out of bounds": b"*1\r\n$9999999999\r\n",
    "digits that would overflow": b"*" + b"9" * 400 + b"\r\n",
    "no dollar": b"*1\r\nPING\r\n",
    "a body longer than its length": b"*1\r\n$4\r\nPINGPING\r\n",
    "an endless line": b"A" * 200_000,
}


@pytest.mark.parametrize("data", PROTOCOL_ERRORS.values(), ids=PROTOCOL_ERRORS.keys())
def test_a_protocol_error_is_told_and_closes(shared, data):
    with shared.resp() as connection:
        try:
            connection.send(data)
            assert isinstance(connection.read(), Failure)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert connection.closed_by_peer()
    assert shared.alive()


MALFORMED = {
    "an unknown command": (b"NOSUCH a b\r\n", "ERR"),
    "an unknown command in an array": (encode("NOSUCH", b"\xff\x00\r\n"), "ERR"),
    "a name in another alphabet": (encode("RAIN.INFO", "雨"), "BADARG"),
    "a name with a line end": (encode("RAIN.INFO", b"a\r\nb"), "BADARG"),
    "an empty name": (encode("RAIN.INFO", ""), "BADARG"),
    "an empty user": (encode("RAIN.GRAB", "r", ""), "BADARG"),
    "unbalanced quotes": (b'PING "abc\r\n', "ERR"),
}


@pytest.mark.parametrize("data,code", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_bad_command_is_told_and_the_connection_goes_on(shared, data, code):
    with shared.resp() as connection:
        connection.send(data)
        reply = connection.read()
        assert isinstance(reply, Failure) and reply.code == code, reply
        if b'"' not in data:
            assert connection.call("PING") == Status("PONG")


def test_inline_commands_empty_lines_and_empty_arrays(shared):
    with shared.resp() as connection:
        connection.send(b"\r\n\r\nPING\r\n*0\r\nping  hello \r\nECHO 'two words'\n")
        assert connection.read() == Status("PONG")
        assert connection.read() == "hello"
        assert connection.read() == "two words"


def test_commands_may_arrive_byte_by_byte(shared, name):
    with shared.resp() as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in encode("RAIN.CREATE", name, "AMOUNT", 1000, "COUNT", 10) + encode("PING"):
            connection.send(bytes([byte]))
        assert connection.read() == Status("OK")
        assert connection.read() == Status("PONG")


def test_replies_come_in_the_order_of_the_commands(shared, name):
    """Commands of different weight and of many slices, so that answers come from all cores."""
    with shared.resp() as connection:
        connection.call(f"RAIN.CREATE {name} AMOUNT 1000000 COUNT 10000")
        sent = b""
        for user in range(3000):
            sent += encode("RAIN.GRAB", name, user) + encode("ECHO", user)
            if user % 100 == 0:
                sent += encode("RAIN.INFO", name)
        writer = threading.Thread(target=connection.send, args=(sent,))
        writer.start()
        for user in range(3000):
            assert connection.read()[0] == "granted"
            assert connection.read() == str(user)
            if user % 100 == 0:
                assert len(connection.read()) > 20
        writer.join()


def test_a_client_that_half_closes_still_gets_its_answers(shared):
    with shared.resp() as connection:
        connection.send(encode("PING") * 10)
        connection.socket.shutdown(socket.SHUT_WR)
        assert [connection.read() for _ in range(10)] == [Status("PONG")] * 10
        assert connection.closed_by_peer()


def test_quit_answers_and_closes(shared):
    with shared.resp() as connection:
        assert connection.call("QUIT") == Status("OK")
        assert connection.closed_by_peer()


def test_select_zero_only(resp):
    assert resp.call("SELECT 0") == "OK"
    with pytest.raises(Failure, match="^ERR"):
        resp.call("SELECT 1")


def test_config_get_answers_nothing(resp):
    assert resp.call("CONFIG GET save") == []
    assert "redis" in resp.call("INFO").lower() or resp.call("INFO")


def test_a_reader_that_never_reads_is_closed_and_others_go_on(shared):
    """Its answers are bounded: the node stops, it does not collect them."""
    with shared.resp(timeout=60) as deaf, shared.resp() as other:
        deaf.socket.settimeout(10)
        big = encode("ECHO", b"x" * 60_000)
        try:
            for _ in range(4000):
                deaf.send(big)
        except (OSError, TimeoutError):
            pass
        assert other.call("PING") == "PONG"
        rss = resident_mib(shared.process.pid)
        assert rss < 400, f"{rss} MiB for one connection that does not read"


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) // 1024


def test_hundreds_of_connections_come_and_go(shared):
    connections = [shared.resp() for _ in range(300)]
    for connection in connections:
        connection.send(encode("PING"))
    assert [connection.read() for connection in connections] == ["PONG"] * 300
    for connection in connections:
        connection.close()
    with shared.resp() as connection:
        eventually(lambda: connection.call("PING") == "PONG")


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_never_end_the_node(shared, seed):
    """Mutated commands: replays from its seed."""
    draw = random.Random(seed)
    seeds = [encode("RAIN.GRAB", "r", 1), encode("STOCK.RESERVE", "s", 1, 1, "q"),
             encode("HELLO", 3), b"*3\r\n$3\r\nSET\r\n", b"RAIN.CREATE r AMOUNT 5 COUNT 2\r\n",
             encode("ORDER.REFUND", "o", "q", 5, "RESTOCK", 1), encode("COMMAND", "DOCS")]
    for _ in range(100):
        data = bytearray(b"".join(draw.choices(seeds, k=draw.randrange(1, 6))))
        for _ in range(draw.randrange(8)):
            at = draw.randrange(len(data))
            data[at:at + draw.randrange(3)] = draw.randbytes(draw.randrange(4))
        with shared.resp(timeout=5) as connection:
            try:
                connection.send(bytes(data))
                connection.socket.shutdown(socket.SHUT_WR)
            except OSError:
                continue
            assert connection.closed_by_peer(), f"seed {seed}: no end after {bytes(data)!r}"
    assert shared.alive()
    with shared.resp() as connection:
        assert connection.call("PING") == "PONG"
