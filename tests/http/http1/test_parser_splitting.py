"""Split anywhere, the input gives the same events: every split, every pair of splits of the small, and with holds."""

import pytest

from icey.http.http1.headcache import HeaderCache
from tests.conformance import table
from tests.fuzz.messages import bytewise, cut, random_cuts, record
from tests.support import seeds

SMALL = {
    "bare": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "empty lines": b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
    "body": b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "chunks": (b"PUT / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"1;a\r\nx\r\n2\r\n\r\n\r\n0\r\nA: b\r\n\r\n"),
    "repeated": b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nA: 2\r\n\r\n",
    "white space": b"GET / HTTP/1.1\r\nHost:\t a \r\nA:\r\n\r\n",
    "pipelined": b"GET / HTTP/1.1\r\nHost:\r\n\r\nGET /x HTTP/1.1\r\nHost:\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "CR CR LF": b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: a\x00\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\nA: b\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    "bad chunk end": b"PUT / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
    "cut": b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
    "version 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "until close": b"HTTP/1.1 200\r\nA:\r\n b\r\n\r\nhello",
    "chunks": b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
    "upgrade": b"HTTP/1.1 101 x\r\n\r\n\x00\r\n\r\n",
    "error": b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
}
BOTH = ([pytest.param(data, {}, id=name) for name, data in SMALL.items()]
        + [pytest.param(data, {"responses": True}, id="answer: " + name) for name, data in ANSWERS.items()])


@pytest.mark.parametrize("data, options", BOTH)
def test_every_split(data, options):
    whole = record(data, **options)
    assert record(bytewise(data), **options) == whole
    for place in range(1, len(data)):
        assert record(cut(data, [place]), **options) == whole, place


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("data, options", BOTH)
def test_every_pair_of_splits(data, options, step):
    """step: between the places of the first split, which begin elsewhere for each place of the second."""
    whole = record(data, **options)
    for second in range(2, len(data)):
        for first in range(1 + second % step, second, step):
            assert record(cut(data, [first, second]), **options) == whole, (first, second)


@pytest.mark.parametrize("data, options", BOTH)
def test_equal_pieces_of_every_size(data, options):
    whole = record(data, **options)
    for size in range(2, len(data)):
        assert record(cut(data, range(size, len(data), size)), **options) == whole, size


@pytest.mark.parametrize("data, options", BOTH)
def test_holds_change_nothing(data, options):
    whole = record(data, **options)
    assert record(data, hold=lambda: True, **options) == whole
    assert record(bytewise(data), hold=lambda: True, **options) == whole
    rng = seeds.rng(len(data))
    for _ in range(30):
        assert record(random_cuts(rng, data), hold=lambda: rng.random() < 0.5, **options) == whole


@pytest.mark.parametrize("name", sorted(SMALL))
def test_behind_others_that_are_remembered(name):
    """The same again in the middle of a connection, where the template and the memo take part."""
    data = SMALL[name]
    before = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\nX: %d\r\n\r\n" % (index, index) for index in range(4))
    after = b"GET /9 HTTP/1.1\r\nHost: a\r\nX: 9\r\n\r\n"
    whole = record(before + data + after, strict=True)
    memo = HeaderCache()
    for place in range(1, len(data)):
        pieces = [before, *cut(data, [place]), after]
        assert record(pieces, memo=memo) == whole
        assert record([before + pieces[1], pieces[2] + after], memo=memo) == whole


def test_the_table_cut_at_random():
    memo, rng = HeaderCache(), seeds.rng(41)
    for row in table.ACCEPTED + table.REFUSED + table.CUT:
        data = row[1]
        whole = record(data, strict=True)
        for _ in range(8):
            assert record(random_cuts(rng, data), memo=memo,
                          hold=lambda: rng.random() < 0.1) == whole, row[0]


def test_many_messages_in_one_piece():
    data = b"".join(SMALL[name] for name in ("bare", "body", "chunks", "repeated", "empty lines", "white space",
                                             "pipelined"))
    whole = record(data * 40, strict=True)
    assert [event[0] for event in whole].count("request") == 320
    assert record(data * 40) == record([data] * 40) == whole
    rng = seeds.rng(40)
    for _ in range(10):
        assert record(random_cuts(rng, data * 40, 60), hold=lambda: rng.random() < 0.05) == whole
