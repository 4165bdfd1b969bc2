"""Every STOCK and ORDER command, its outcomes and its errors."""

import pytest

from conformance import OK, Error, Info, Outcome, Reserve, Rows, now_ms, run
from node import eventually

CREATE = "STOCK.CREATE {p} UNITS 10 PRICE 500 LIMIT 3"
STOCK_FIELDS = "units available pending sold leased quarantined limit price"
ORDER_FIELDS = "state sku user qty price expires payment"

TABLES = {
    "creation is idempotent, other values are refused": [
        (CREATE, OK),
        (CREATE, OK),
        ("stock.create {p} price 500 limit 3 units 10", OK),
        ("STOCK.CREATE {p} UNITS 11 PRICE 500 LIMIT 3", Error("EXISTS")),
        ("STOCK.CREATE {p} UNITS 10 PRICE 501 LIMIT 3", Error("EXISTS")),
        ("STOCK.INFO {p}", Info(STOCK_FIELDS, units=10, available=10, pending=0, sold=0,
                                quarantined=0, limit=3, price=500)),
    ],
    "definitions out of bounds are refused": [
        ("STOCK.CREATE {p} UNITS -1", Error("BADARG")),
        ("STOCK.CREATE {p} UNITS x", Error("BADARG")),
        ("STOCK.CREATE {p} UNITS 10 PRICE -1", Error("BADARG")),
        ("STOCK.CREATE {p} UNITS 10 HOLD 0", Error("BADARG")),
        ("STOCK.CREATE {p} UNITS 10 HOLD 999999999", Error("BADARG")),
        ("STOCK.CREATE {p} UNITS 10 DURABILITY memory", Error("BADARG")),
        ("STOCK.CREATE {p} UNITS 10 DURABILITY replicated", Error("BADARG")),
        ("STOCK.INFO {p}", Error("NOSTOCK")),
    ],
    "rains and stocks have separate names": [
        ("RAIN.CREATE {p} AMOUNT 1000 COUNT 10", OK),
        ("STOCK.INFO {p}", Error("NOSTOCK")),
        (CREATE, OK),
        ("RAIN.INFO {p}", Info(count=10)),
    ],
    "a reservation is held, found again and paid": [
        (CREATE, OK),
        ("STOCK.RESERVE {p} 7 2 q1", Reserve("reserved", keep="o", hold_s=1800)),
        ("STOCK.RESERVE {p} 7 2 q1", Reserve("repeat", order="o")),
        ("STOCK.RESERVE {p} 0007 2 q1", Reserve("repeat", order="o")),
        ("STOCK.INFO {p}", Info(available=8, pending=2, sold=0)),
        ("ORDER.INFO {o}", Info(ORDER_FIELDS, state="reserved", sku="{p}", user=7, qty=2,
                                price=500)),
        ("STOCK.ORDERS {p} 7", Rows(1, 4, find=["o"])),
        ("STOCK.ORDERS {p} 8", []),
        ("ORDER.PAY {o} pay-1 1000", Outcome("paid")),
        ("ORDER.PAY {o} pay-1 1000", Outcome("repeat")),
        ("ORDER.INFO {o}", Info(state="paid", payment="pay-1")),
        ("STOCK.INFO {p}", Info(available=8, pending=0, sold=2)),
    ],
    "the same request id with other values is an error": [
        (CREATE, OK),
        ("STOCK.RESERVE {p} 7 2 q1", Reserve("reserved", keep="o")),
        ("STOCK.RESERVE {p} 7 1 q1", Error("MISMATCH")),
        ("STOCK.RESERVE {p} 8 1 q1", Reserve("reserved")),
        ("STOCK.INFO {p}", Info(available=7, pending=3)),
    ],
    "a wrong amount is refused and changes nothing": [
        (CREATE, OK),
        ("STOCK.RESERVE {p} 7 2 q1", Reserve("reserved", keep="o")),
        ("ORDER.PAY {o} pay-1 999", Error("MISMATCH")),
        ("ORDER.PAY {o} pay-1 -1", Error("BADARG")),
        ("ORDER.INFO {o}", Info(state="reserved")),
        ("ORDER.PAY {o} pay-1", Outcome("paid")),
    ],
    "a second payment is due back": [
        (CREATE, OK),
        ("STOCK.RESERVE {p} 7 1 q1", Reserve("reserved", keep="o")),
        ("ORDER.PAY {o} pay-1 500", Outcome("paid")),
        ("ORDER.PAY {o} pay-2 500", Outcome("refund")),
        ("ORDER.PAY {o} pay-1 500", Outcome("repeat")),
        ("ORDER.INFO {o}", Info(state="paid", payment="pay-1")),
        ("STOCK.INFO {p}", Info(sold=1)),
    ],
    "cancelling gives the units back once": [
        (CREATE, OK),
        ("STOCK.RESERVE {p} 7 3 q1", Reserve("reserved", keep="o")),
        ("ORDER.CANCEL {o}", Outcome("cancelled")),
        ("ORDER.CANCEL {o}", Outcome("cancelled")),
        ("STOCK.INFO {p}", Info(available=10, pending=0)),
        ("ORDER.INFO {o}", Info(state="cancelled")),
        ("ORDER.PAY {o} pay-1 1500", Outcome("refund")),
        ("STOCK.INFO {p}", Info(available=10, pending=0, sold=0)),
    ],
    "a paid order stays paid": [
        (CREATE, OK),
        ("STOCK.RESERVE {p} 7 1 q1", Reserve("reserved", keep="o")),
        ("ORDER.PAY {o} pay-1 500", Outcome("paid")),
        ("ORDER.CANCEL {o}", Outcome("paid")),
        ("ORDER.INFO {o}", Info(state="paid")),
    ],
    "the limit names the caller's open order": [
        ("STOCK.CREATE {p} UNITS 10 PRICE 1 LIMIT 2", OK),
        ("STOCK.RESERVE {p} 7 2 q1", Reserve("reserved", keep="o")),
        ("STOCK.RESERVE {p} 7 1 q2", Reserve("limit", order="o")),
        ("ORDER.CANCEL {o}", Outcome("cancelled")),
        ("STOCK.RESERVE {p} 7 1 q3", Reserve("reserved")),
    ],
    "more than the limit at once has no order to name": [
        ("STOCK.CREATE {p} UNITS 10 PRICE 1 LIMIT 2", OK),
        ("STOCK.RESERVE {p} 7 3 q1", Reserve("limit")),
    ],
    "never more than there is": [
        ("STOCK.CREATE {p} UNITS 3 LIMIT 2 SLICES 1", OK),
        ("STOCK.RESERVE {p} 1 2 q", Reserve("reserved", keep="a")),
        ("STOCK.RESERVE {p} 2 2 q", Reserve("soldout")),
        ("STOCK.RESERVE {p} 2 1 q", Reserve("reserved")),
        ("STOCK.RESERVE {p} 3 1 q", Reserve("soldout")),
        ("ORDER.CANCEL {a}", Outcome("cancelled")),
        ("STOCK.RESERVE {p} 3 1 q", Reserve("reserved")),
    ],
    "quantities and requests are checked": [
        (CREATE, OK),
        ("STOCK.RESERVE {p} 7 0 q1", Error("BADARG")),
        ("STOCK.RESERVE {p} 7 -1 q1", Error("BADARG")),
        ("STOCK.RESERVE {p} 7 10001 q1", Error("BADARG")),
        ("STOCK.RESERVE {p} 7 1 " + "q" * 65, Error("BADARG")),
        ("STOCK.RESERVE {p} 7 1", Error("ERR", "BADARG")),
        ("STOCK.RESERVE {p} x 1 q1", Error("BADARG")),
        ("STOCK.INFO {p}", Info(available=10)),
    ],
    "refilling is idempotent by request id": [
        ("STOCK.CREATE {p} UNITS 1 SLICES 1", OK),
        ("STOCK.RESERVE {p} 1 1 q", Reserve("reserved")),
        ("STOCK.RESERVE {p} 2 1 q", Reserve("soldout")),
        ("STOCK.REFILL {p} 5 r1", OK),
        ("STOCK.REFILL {p} 5 r1", OK),
        ("STOCK.REFILL {p} 6 r1", Error("MISMATCH")),
        ("STOCK.REFILL {p} 0 r2", Error("BADARG")),
        ("STOCK.INFO {p}", Info(units=6, available=5, pending=1)),
        ("STOCK.RESERVE {p} 2 1 q", Reserve("reserved")),
    ],
    "early, paused and closed": [
        (CREATE + " OPENS {soon}", OK),
        ("STOCK.RESERVE {p} 7 1 q1", Reserve("early")),
        ("STOCK.ALTER {p} a1 OPENS 1000", OK),
        ("STOCK.WARM {p}", OK),
        ("STOCK.RESERVE {p} 7 1 q1", Reserve("reserved", keep="o")),
        ("STOCK.PAUSE {p}", OK),
        ("STOCK.RESERVE {p} 8 1 q1", Reserve("paused")),
        ("STOCK.RESUME {p}", OK),
        ("STOCK.RESERVE {p} 8 1 q1", Reserve("reserved")),
        ("STOCK.CLOSE {p}", OK),
        ("STOCK.RESERVE {p} 9 1 q1", Reserve("closed")),
        ("ORDER.PAY {o} pay-1 500", Outcome("paid")),
    ],
    "refunds: in total at most what was paid": [
        (CREATE, OK),
        ("STOCK.RESERVE {p} 7 2 q1", Reserve("reserved", keep="o")),
        ("ORDER.REFUND {o} f0 100", Error("BADARG", "MISMATCH")),
        ("ORDER.PAY {o} pay-1 1000", Outcome("paid")),
        ("ORDER.REFUND {o} f1 400", Outcome("refunded")),
        ("ORDER.REFUND {o} f1 400", Outcome("repeat")),
        ("ORDER.REFUND {o} f1 300", Error("MISMATCH")),
        ("ORDER.REFUND {o} f2 601", Error("BADARG", "MISMATCH")),
        ("STOCK.INFO {p}", Info(available=8, sold=2)),
        ("ORDER.REFUND {o} f3 600 RESTOCK 3", Error("BADARG", "MISMATCH")),
        ("ORDER.REFUND {o} f3 600 RESTOCK 2", Outcome("refunded")),
        ("STOCK.INFO {p}", Info(available=10, sold=0)),
        ("ORDER.INFO {o}", Info(state="refunded")),
    ],
    "a stock or an order that is not there": [
        ("STOCK.RESERVE {p} 1 1 q", Error("NOSTOCK")),
        ("STOCK.ORDERS {p} 1", Error("NOSTOCK")),
        ("STOCK.REFILL {p} 1 q", Error("NOSTOCK")),
        ("STOCK.PAUSE {p}", Error("NOSTOCK")),
        ("STOCK.CLOSE {p}", Error("NOSTOCK")),
        ("ORDER.PAY 00000000000zz p 1", Error("NOORDER", "BADARG")),
        ("ORDER.CANCEL not-an-order", Error("NOORDER", "BADARG")),
        ("ORDER.INFO {p}", Error("NOORDER", "BADARG")),
        ("ORDER.REFUND {p} q 1", Error("NOORDER", "BADARG")),
    ],
    "regions": [
        (CREATE + " REGIONS east=1,west=1", OK),
        ("STOCK.RESERVE {p} 7 1 q1 REGION west", Reserve("reserved", keep="o")),
        ("STOCK.ORDERS {p} 7 REGION west", Rows(1, 4, find=["o"])),
    ],
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_table(shared, name, table, protocol):
    with shared.resp(protocol) as connection:
        run(connection, name, table)


def test_an_expired_hold_gives_its_units_back_and_a_late_payment_takes_them_again(resp, name):
    resp.call(f"STOCK.CREATE {name} UNITS 1 PRICE 100 HOLD 1 SLICES 1")
    _, order, expires = resp.call(f"STOCK.RESERVE {name} 1 1 q")
    assert abs(expires - now_ms() - 1000) < 900
    assert resp.call(f"STOCK.RESERVE {name} 2 1 q")[0] == "soldout"
    eventually(lambda: resp.mapping(f"ORDER.INFO {order}")["state"] == "expired",
               what="the expiry")
    assert now_ms() >= expires
    assert resp.mapping(f"STOCK.INFO {name}")["available"] == 1
    assert resp.call(f"ORDER.PAY {order} late-1 100")[0] == "late"
    assert resp.call(f"ORDER.PAY {order} late-1 100")[0] == "repeat"
    info = resp.mapping(f"STOCK.INFO {name}")
    assert (info["available"], info["pending"], info["sold"]) == (0, 0, 1)


def test_a_late_payment_with_no_stock_left_is_due_back(resp, name):
    resp.call(f"STOCK.CREATE {name} UNITS 1 PRICE 100 HOLD 1 SLICES 1")
    order = resp.call(f"STOCK.RESERVE {name} 1 1 q")[1]
    eventually(lambda: resp.call(f"STOCK.RESERVE {name} 2 1 q")[0] == "reserved",
               what="the expiry")
    assert resp.call(f"ORDER.PAY {order} late-1 100")[0] == "refund"
    info = resp.mapping(f"STOCK.INFO {name}")
    assert info["pending"] + info["sold"] + info["available"] == 1


def test_many_users_never_get_more_than_there_is(shared, name):
    with shared.resp() as connection:
        connection.call(f"STOCK.CREATE {name} UNITS 100 PRICE 1")
        lines = b"".join(
            b"STOCK.RESERVE %s %d 1 q\r\n" % (name.encode(), user) for user in range(1000))
        connection.send(lines)
        outcomes = [connection.read()[0] for _ in range(1000)]
        assert outcomes.count("reserved") == 100
        assert outcomes.count("soldout") == 900
        info = connection.mapping(f"STOCK.INFO {name}")
        assert (info["available"], info["pending"]) == (0, 100)


def test_nodes_and_shards_name_this_node(shared, resp):
    nodes = resp.call("NODES")
    assert len(nodes) == 1
    node = dict(zip(nodes[0][::2], nodes[0][1::2]))
    assert "test-1" in node.values()
    shards = resp.call("SHARDS")
    assert shards and (len(shards) & (len(shards) - 1)) == 0, "a power of two"
