"""Every row of the table against the parser alone: whole, byte by byte, and cut at random."""
import zlib

import pytest

from tests.conformance import table
from tests.fuzz.messages import bytewise, random_cuts, record
from tests.support import seeds

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"


def ways(data):
    """Whole, byte by byte, and cut at random, in ways that are the same every time."""
    rng = seeds.rng(zlib.crc32(data))
    return [[data], bytewise(data), *(random_cuts(rng, data) for _ in range(seeds.rounds(1, 3)))]


def whole(events):
    """(method, target, body) of each request that a record has whole, (status, body) of each response."""
    found, last = [], None
    for event in events:
        if event[0] in ("request", "response"):
            last = list(event[1:3]) if event[0] == "request" else [event[1]]
            last.append(b"")
            if not event[5][0]:
                found.append(tuple(last))
        elif event[0] == "body":
            last[-1] = bytes(event[1])
        elif event[0] == "end":
            found.append(tuple(last))
    return found


def rows(table):
    return [pytest.param(*row[1:], id=row[0]) for row in table]


def test_names_are_given_once():
    for part in (table.ACCEPTED, table.REFUSED, table.CUT, table.RESPONSES):
        names = [row[0] for row in part]
        assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("data, requests, kept", rows(table.ACCEPTED))
def test_accepted(data, requests, kept):
    if kept is False:
        data = data.partition(b"garbage")[0]  # the server's to drop: a parser goes on
    for pieces in ways(data):
        events = record(pieces)
        assert events[-1][0] in ("request", "end"), events[-1]
        assert whole(events) == requests
        heads = [event for event in events if event[0] == "request"]
        if kept is not None:
            assert heads[-1][5][1] is kept


@pytest.mark.parametrize("data, requests, status", rows(table.REFUSED))
def test_refused(data, requests, status):
    for pieces in ways(data + HIDDEN):
        events = record(pieces)
        assert events[-1][0] == "error" and events[-1][2] == status, events[-1]
        assert whole(events) == requests


def test_refused_without_waiting_for_more():
    for name, data, _, status in table.REFUSED:
        assert record(data, end=False)[-1][:1] + record(data)[-1][2:3] == ("error", status), name


@pytest.mark.parametrize("data, requests", rows(table.CUT))
def test_cut(data, requests):
    for pieces in ways(data):
        events = record(pieces)
        assert events[-1][0] == "incomplete", events[-1]
        assert whole(events) == requests


@pytest.mark.parametrize("method, data, responses, rest", rows(table.RESPONSES))
def test_responses(method, data, responses, rest):
    for pieces in ways(data):
        events = record(pieces, responses=True, method=method)
        last = events[-1] if events else ("nothing",)
        assert whole(events) == responses
        if isinstance(rest, bytes):
            assert last == ("unconsumed", rest)
        elif rest in ("error", "incomplete"):
            assert last[0] == rest, last
            assert rest == "incomplete" or last[1] == "BadResponse"
        else:
            assert last[0] in ("response", "end", "nothing"), last
        if rest in ("end", "close", None) and events:
            framing = [event for event in events if event[0] == "response"][-1][5]
            assert framing[1] is (rest is None)
            assert (framing[0] == -2) is (rest == "end")
