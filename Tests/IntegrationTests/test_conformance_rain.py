"""Every RAIN command, its outcomes and its errors."""

import hashlib

import pytest

from conformance import OK, Error, Grab, Info, Rows, now_ms, run
from node import eventually
from resp import Failure

RAIN_FIELDS = ("state amount count granted granted_fen remaining returned_fen pending "
               "quarantined limit opens closes slices commitment seed")
CREATE = "RAIN.CREATE {p} AMOUNT 100000 COUNT 100"

TABLES = {
    "creation is idempotent, other values are refused": [
        (CREATE, OK),
        (CREATE, OK),
        ("rain.create {p} count 100 amount 100000", OK),
        ("RAIN.CREATE {p} AMOUNT 100001 COUNT 100", Error("EXISTS")),
        ("RAIN.CREATE {p} AMOUNT 100000 COUNT 99", Error("EXISTS")),
        (CREATE + " KIND equal", Error("EXISTS")),
        (CREATE + " LIMIT 2", Error("EXISTS")),
    ],
    "a new rain has its fields": [
        (CREATE, OK),
        ("RAIN.INFO {p}", Info(RAIN_FIELDS, state="open", amount=100000, count=100, granted=0,
                               granted_fen=0, remaining=100, returned_fen=0, quarantined=0,
                               limit=1)),
    ],
    "definitions out of bounds are refused": [
        ("RAIN.CREATE {p} AMOUNT 0 COUNT 10", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT 9 COUNT 10", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT -5 COUNT 1", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT 1000 COUNT 0", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT 1000 COUNT x", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT 99999999999999999999 COUNT 10", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT 1000 COUNT 10 KIND cats", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT 1000 COUNT 10 MIN 200", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT 1000 COUNT 10 MAX 50", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT 1000 COUNT 10 LIMIT 0", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT 1000 COUNT 10 OPENS {later} CLOSES {soon}", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT 1000 COUNT 10 SEED xyz", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT 1000 COUNT 10 DURABILITY paper", Error("BADARG")),
        ("RAIN.CREATE {p} AMOUNT 1000 COUNT 10 WHAT 1", Error("BADARG", "ERR")),
        ("RAIN.CREATE {p} AMOUNT 1000 COUNT", Error("BADARG", "ERR")),
        ("RAIN.CREATE {p}/x AMOUNT 1000 COUNT 10", Error("BADARG")),
        ("RAIN.CREATE " + "n" * 65 + " AMOUNT 1000 COUNT 10", Error("BADARG")),
        ("RAIN.INFO {p}", Error("NORAIN")),
    ],
    "replicated durability needs a cluster": [
        (CREATE + " DURABILITY replicated", Error("BADARG")),
    ],
    "a second grab returns the first result": [
        (CREATE, OK),
        ("RAIN.GRAB {p} 42", Grab("granted", keep="first")),
        ("RAIN.GRAB {p} 42", Grab("repeat", same="first")),
        ("RAIN.GRAB {p} 000042", Grab("repeat", same="first")),
        ("rain.grab {p} 42 some-request", Grab("repeat", same="first")),
        ("RAIN.INFO {p}", Info(granted=1, remaining=99)),
    ],
    "users are unsigned 64-bit integers": [
        (CREATE, OK),
        ("RAIN.GRAB {p} 0", Grab("granted")),
        ("RAIN.GRAB {p} 18446744073709551615", Grab("granted")),
        ("RAIN.GRAB {p} 18446744073709551616", Error("BADARG")),
        ("RAIN.GRAB {p} 99999999999999999999999999", Error("BADARG")),
        ("RAIN.GRAB {p} -1", Error("BADARG")),
        ("RAIN.GRAB {p} +1", Error("BADARG")),
        ("RAIN.GRAB {p} 1x", Error("BADARG")),
        ("RAIN.GRAB {p} 0x1f", Error("BADARG")),
    ],
    "the last packet goes and then it is sold out": [
        ("RAIN.CREATE {p} AMOUNT 500 COUNT 2 SLICES 1", OK),
        ("RAIN.GRAB {p} 1", Grab("granted", keep="one")),
        ("RAIN.GRAB {p} 2", Grab("granted")),
        ("RAIN.GRAB {p} 3", Grab("soldout")),
        ("RAIN.GRAB {p} 1", Grab("repeat", same="one")),
        ("RAIN.INFO {p}", Info(granted=2, granted_fen=500, remaining=0)),
    ],
    "amounts of an equal rain are equal": [
        ("RAIN.CREATE {p} AMOUNT 3000 COUNT 3 KIND equal SLICES 1", OK),
        ("RAIN.GRAB {p} 1", Grab("granted", keep="a")),
        ("RAIN.CLAIMS {p} 1", Rows(1, 3)),
        ("RAIN.GRAB {p} 2", Grab("granted")),
        ("RAIN.GRAB {p} 3", Grab("granted")),
        ("RAIN.INFO {p}", Info(granted=3, granted_fen=3000)),
    ],
    "before it opens it says when": [
        (CREATE + " OPENS {soon} CLOSES {later}", OK),
        ("RAIN.GRAB {p} 1", Grab("early", at="{soon}")),
        ("RAIN.INFO {p}", Info(state="scheduled", opens="{soon}", closes="{later}",
                               granted=0)),
    ],
    "paused and resumed": [
        (CREATE, OK),
        ("RAIN.GRAB {p} 1", Grab("granted", keep="one")),
        ("RAIN.PAUSE {p}", OK),
        ("RAIN.PAUSE {p}", OK),
        ("RAIN.GRAB {p} 2", Grab("paused")),
        ("RAIN.GRAB {p} 1", Grab("repeat", same="one")),
        ("RAIN.INFO {p}", Info(state="paused")),
        ("RAIN.RESUME {p}", OK),
        ("RAIN.GRAB {p} 2", Grab("granted")),
    ],
    "a limit above one needs request ids and ends at the limit": [
        (CREATE + " LIMIT 2", OK),
        ("RAIN.GRAB {p} 1", Error("BADARG")),
        ("RAIN.GRAB {p} 1 q1", Grab("granted", keep="q1")),
        ("RAIN.GRAB {p} 1 q1", Grab("repeat", same="q1")),
        ("RAIN.GRAB {p} 1 q2", Grab("granted", keep="q2")),
        ("RAIN.GRAB {p} 1 q3", Grab("limit")),
        ("RAIN.GRAB {p} 1 q2", Grab("repeat", same="q2")),
        ("RAIN.GRAB {p} 2 q1", Grab("granted")),
        ("RAIN.CLAIMS {p} 1", Rows(2, 3)),
        ("RAIN.CLAIMS {p} 3", []),
        ("RAIN.GRAB {p} 1 " + "r" * 65, Error("BADARG")),
    ],
    "warming is allowed at any time and often": [
        (CREATE, OK),
        ("RAIN.WARM {p}", OK),
        ("RAIN.WARM {p}", OK),
        ("RAIN.GRAB {p} 1", Grab("granted")),
        ("RAIN.WARM {p}", OK),
    ],
    "altering is idempotent by request id": [
        (CREATE, OK),
        ("RAIN.GRAB {p} 1", Grab("granted")),
        ("RAIN.ALTER {p} a1 LIMIT 2", OK),
        ("RAIN.ALTER {p} a1 LIMIT 2", OK),
        ("RAIN.ALTER {p} a1 LIMIT 3", Error("MISMATCH")),
        ("RAIN.INFO {p}", Info(limit=2)),
        ("RAIN.GRAB {p} 1 again", Grab("granted")),
        ("RAIN.ALTER {p} a2 OPENS {soon}", OK),
        ("RAIN.GRAB {p} 2 q", Grab("early", at="{soon}")),
        ("RAIN.ALTER {p} a3", Error("BADARG", "ERR")),
        ("RAIN.ALTER {p} a4 LIMIT 0", Error("BADARG")),
        (CREATE, OK),
    ],
    "a rain that is not there": [
        ("RAIN.GRAB {p} 1", Error("NORAIN")),
        ("RAIN.CLAIMS {p} 1", Error("NORAIN")),
        ("RAIN.INFO {p}", Error("NORAIN")),
        ("RAIN.WARM {p}", Error("NORAIN")),
        ("RAIN.ALTER {p} q LIMIT 2", Error("NORAIN")),
        ("RAIN.PAUSE {p}", Error("NORAIN")),
        ("RAIN.RESUME {p}", Error("NORAIN")),
        ("RAIN.CLOSE {p}", Error("NORAIN")),
    ],
    "too few and too many words": [
        ("RAIN.GRAB {p}", Error("ERR")),
        ("RAIN.GRAB", Error("ERR")),
        ("RAIN.INFO", Error("ERR")),
        ("RAIN.INFO {p} x", Error("ERR")),
        ("RAIN.CREATE {p}", Error("ERR")),
        ("RAIN.NOSUCH {p}", Error("ERR")),
    ],
    "regions": [
        (CREATE + " REGIONS east=60,west=40", OK),
        (CREATE + " REGIONS east=60,west=40", OK),
        (CREATE + " REGIONS east=50,west=50", Error("EXISTS")),
        ("RAIN.GRAB {p} 5 REGION east", Grab("granted", keep="east")),
        ("RAIN.GRAB {p} 5 region east", Grab("repeat", same="east")),
        ("RAIN.CLAIMS {p} 5 REGION east", Rows(1, 3)),
        ("RAIN.GRAB {p} 5 REGION nowhere", Error("BADARG")),
    ],
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_table(shared, name, table, protocol):
    with shared.resp(protocol) as connection:
        run(connection, name, table)


def test_closing_returns_the_rest_and_reveals_the_seed(resp, name):
    resp.call(f"RAIN.CREATE {name} AMOUNT 10000 COUNT 10")
    before = resp.mapping(f"RAIN.INFO {name}")
    assert not before["seed"], "the seed is secret until the rain has closed"
    fen = sum(resp.call(f"RAIN.GRAB {name} {user}")[1] for user in range(4))
    assert resp.call(f"RAIN.CLOSE {name}") == "OK"
    after = eventually(
        lambda: (info := resp.mapping(f"RAIN.INFO {name}"))["state"] == "closed" and info,
        what="the close")
    assert after["granted"] == 4 and after["granted_fen"] == fen
    assert after["returned_fen"] == 10000 - fen
    assert after["commitment"] == before["commitment"]
    assert hashlib.sha256(bytes.fromhex(after["seed"])).hexdigest() == after["commitment"]
    assert resp.call(f"RAIN.GRAB {name} 99")[0] == "closed"
    assert resp.call(f"RAIN.GRAB {name} 1")[0] == "repeat"
    assert resp.call(f"RAIN.CLOSE {name}") == "OK"


@pytest.mark.parametrize("kind", ["spread", "luck", "equal"])
@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_a_rain_that_is_taken_whole_gives_its_amount_to_the_fen(resp, name, kind, count):
    amount = count * 137 + 5
    resp.call(f"RAIN.CREATE {name} AMOUNT {amount} COUNT {count} KIND {kind} MIN 1 MAX {amount}")
    replies = [resp.call(f"RAIN.GRAB {name} {user}") for user in range(1, count + 1)]
    assert all(reply[0] == "granted" for reply in replies)
    assert sum(reply[1] for reply in replies) == amount
    assert sorted(reply[2] for reply in replies) == list(range(count))
    assert resp.call(f"RAIN.GRAB {name} {count + 1}")[0] == "soldout"


def test_bounds_hold_for_every_packet(resp, name):
    resp.call(f"RAIN.CREATE {name} AMOUNT 200000 COUNT 1000 MIN 150 MAX 250")
    amounts = [resp.call(f"RAIN.GRAB {name} {user}")[1] for user in range(1000)]
    assert 150 <= min(amounts) and max(amounts) <= 250 and sum(amounts) == 200000
    assert len(set(amounts)) > 50


def test_a_given_seed_gives_the_same_amounts(resp, name):
    seed = hashlib.sha256(b"given").hexdigest()
    drawn = []
    for pool in (name + "a", name + "b"):
        resp.call(f"RAIN.CREATE {pool} AMOUNT 500000 COUNT 200 SEED {seed}")
        replies = [resp.call(f"RAIN.GRAB {pool} {user}") for user in range(200)]
        drawn.append({packet: fen for _, fen, packet, _ in replies})
    assert drawn[0] == drawn[1]
    with pytest.raises(Failure, match="^EXISTS"):
        resp.call(f"RAIN.CREATE {name}a AMOUNT 500000 COUNT 200 SEED {seed[::-1]}")


def test_claims_are_what_was_granted(resp, name):
    resp.call(f"RAIN.CREATE {name} AMOUNT 50000 COUNT 50 LIMIT 5")
    granted = [resp.call(f"RAIN.GRAB {name} 7 q{number}") for number in range(5)]
    claims = resp.call(f"RAIN.CLAIMS {name} 7")
    assert sorted(map(tuple, claims)) == sorted(
        (packet, fen, ms) for _, fen, packet, ms in granted)


def test_a_rain_opens_and_closes_by_the_clock_of_the_node(resp, name):
    opens = now_ms() + 700
    resp.call(f"RAIN.CREATE {name} AMOUNT 50000 COUNT 50 OPENS {opens} CLOSES {opens + 1500}")
    assert resp.call(f"RAIN.GRAB {name} 1")[0] == "early"
    first = eventually(lambda: (reply := resp.call(f"RAIN.GRAB {name} 1"))[0] == "granted"
                       and reply, what="the opening")
    assert first[3] >= opens
    eventually(lambda: resp.call(f"RAIN.GRAB {name} 2{now_ms()}")[0] == "closed",
               what="the end")
    assert resp.call(f"RAIN.GRAB {name} 1")[0] == "repeat"


def test_listing_finds_every_rain_page_by_page(resp, name):
    names = {f"{name}:{number}" for number in range(25)}
    for one in names:
        resp.call(f"RAIN.CREATE {one} AMOUNT 1000 COUNT 10")
    resp.call(f"RAIN.PAUSE {name}:3")
    found, cursor = [], None
    for _ in range(10_000):
        line = "RAIN.LIST COUNT 10" + (f" CURSOR {cursor}" if cursor else "")
        cursor, ids = resp.call(line)
        assert len(ids) <= 10
        found += ids
        if str(cursor) == "0":
            break
    assert str(cursor) == "0" and names <= set(found) and len(found) == len(set(found))
    assert f"{name}:3" in resp.call("RAIN.LIST STATE paused COUNT 1000")[1]
    assert f"{name}:4" not in resp.call("RAIN.LIST STATE paused COUNT 1000")[1]
