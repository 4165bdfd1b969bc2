"""Tables of commands and the replies they must give, and what runs them.

A table is a list of (line, expectation). `{p}` is the pool's name; `{name}` what an earlier
`keep` stored. An expectation is a value, or a function of the reply that asserts.
"""

import time

from resp import Failure, Status

OK = Status("OK")


def now_ms():
    return time.time_ns() // 1_000_000


class Error:
    """An error reply whose first word is one of `codes`, in capitals, with words after it."""

    def __init__(self, *codes):
        self.codes = codes

    def check(self, reply, kept):
        assert isinstance(reply, Failure), f"wanted an error of {self.codes}, got {reply!r}"
        assert reply.code in self.codes, f"wanted {self.codes}, got {reply.text!r}"


class Grab:
    """A grab's reply: `[outcome, fen, packet, ms]`."""

    def __init__(self, outcome, keep=None, same=None, at=None):
        self.outcome, self.keep, self.same, self.at = outcome, keep, same, at

    def check(self, reply, kept):
        assert isinstance(reply, list) and len(reply) >= 4, reply
        outcome, fen, packet, ms = reply[:4]
        assert type(outcome) is str and outcome == self.outcome, reply
        assert type(fen) is int and type(ms) is int, reply
        if outcome in ("granted", "repeat"):
            assert fen > 0 and type(packet) is int and packet >= 0, reply
            assert abs(ms - now_ms()) < 60_000, reply
        else:
            assert fen == 0 and packet is None, reply
        if self.at is not None:
            assert ms == int(self.at.format(**kept)), reply
        if self.same:
            assert reply[1:4] == kept[self.same], (reply, kept[self.same])
        if self.keep:
            kept[self.keep] = reply[1:4]


class Reserve:
    """A reservation's reply: `[outcome, order, expires-ms]`; `keep` stores the order."""

    def __init__(self, outcome, keep=None, order=None, hold_s=None):
        self.outcome, self.keep, self.order, self.hold_s = outcome, keep, order, hold_s

    def check(self, reply, kept):
        assert isinstance(reply, list) and len(reply) >= 3, reply
        outcome, order, expires = reply[:3]
        assert type(outcome) is str and outcome == self.outcome, reply
        assert type(expires) is int, reply
        if outcome in ("reserved", "repeat"):
            assert type(order) is str and order, reply
        elif self.order is None:
            assert order is None, reply
        if self.order:
            assert order == kept[self.order], reply
        if self.hold_s is not None:
            assert abs(expires - now_ms() - self.hold_s * 1000) < 10_000, reply
        if self.keep:
            kept[self.keep] = order


class Outcome:
    """`[outcome]`."""

    def __init__(self, outcome):
        self.outcome = outcome

    def check(self, reply, kept):
        assert isinstance(reply, list) and type(reply[0]) is str, reply
        assert reply[0] == self.outcome, reply


class Info:
    """A map with these fields, and at least the `present` ones. Values are compared as text."""

    def __init__(self, present="", **fields):
        self.present, self.fields = present.split(), fields

    def check(self, reply, kept):
        if isinstance(reply, list):
            reply = dict(zip(reply[::2], reply[1::2]))
        missing = [field for field in self.present if field not in reply]
        assert not missing, f"{missing} not in {reply}"
        for field, value in self.fields.items():
            wanted = str(value).format(**kept)
            assert str(reply.get(field)) == wanted, f"{field}: {reply.get(field)!r} in {reply}"


class Value:
    """Exactly this value."""

    def __init__(self, value):
        self.value = value

    def check(self, reply, kept):
        assert type(reply) is type(self.value) and reply == self.value, reply


class Rows:
    """An array of this many rows of so many columns (or more); `find` is in the first column."""

    def __init__(self, count, columns, find=()):
        self.count, self.columns, self.find = count, columns, find

    def check(self, reply, kept):
        assert isinstance(reply, list) and len(reply) == self.count, reply
        assert all(isinstance(row, list) and len(row) >= self.columns for row in reply), reply
        first = [row[0] for row in reply]
        assert all(kept[name] in first for name in self.find), (reply, kept)


def run(connection, pool, table):
    """Runs a table on a pool of this name."""
    kept = {"p": pool, "now": now_ms(), "soon": now_ms() + 3_600_000}
    kept["later"] = kept["soon"] + 3_600_000
    for line, expected in table:
        words = line.format(**kept).split()
        try:
            reply = connection.call(*words)
        except Failure as failure:
            reply = failure
        if not hasattr(expected, "check"):
            expected = Value(expected)
        try:
            expected.check(reply, kept)
        except AssertionError as problem:
            raise AssertionError(f"{' '.join(words)}: {problem}") from None
    return kept
