"""A server has its share of a turn, by events: its tiny chunks, interim answers and events do not keep the others waiting."""
import pytest

import icey
from icey.http.client.eventsource import SHARE as EVENTS_SHARE
from icey.http.client.responsereader import SHARE
from tests.support import rawserver

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

COUNT = 1000
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"".join(b"1\r\n%d\r\n" % (number % 10) for number in range(COUNT))
BODY = b"0123456789" * (COUNT // 10)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
TOLD = ["%d" % number for number in range(COUNT)]
EVENTS = "".join("data:%s\n\n" % text for text in TOLD).encode()


def turns(loop, count):
    """How many more `count()` tells after each turn, until it tells no more."""
    seen, before, idle = [], count(), 0
    while idle < 4:
        loop.run_once(0)
        now = count()
        seen.append(now - before)
        idle = 0 if now != before else idle + 1
        before = now
    return [more for more in seen if more]


@pytest.fixture
def asked(raw):
    """A connection whose request is out, and the server's end."""
    conn = raw.connection()
    conn.start()
    server = raw.accept()
    server.request()
    raw.until(lambda: conn.state.name == "WAITING")
    return conn, server


def pieces(conn):
    return [event[1] for event in conn.seen if event[0] == "payload"]


def test_one_byte_chunks(loop, asked):
    conn, server = asked
    server.send(HEAD + CHUNKS + b"0\r\n\r\n")
    more = turns(loop, lambda: len(pieces(conn)))
    assert sum(more) == COUNT and max(more) <= SHARE
    assert b"".join(pieces(conn)) == BODY and conn.reusable
    conn.start()
    server.request()
    server.answer(b"next")
    loop.run_once(0)
    assert turns(loop, lambda: len(pieces(conn))) == [] or pieces(conn)[-1] == b"next"


def test_a_call_too(raw, loop):
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(HEAD + CHUNKS + b"0\r\n\r\n")
    more = turns(loop, lambda: call.call.received)
    assert sum(more) == COUNT and max(more) <= SHARE
    assert call.answer().body == BODY


def test_interim_answers(loop, asked):
    conn, server = asked
    server.send(b"HTTP/1.1 102 Processing\r\n\r\n" * COUNT)
    more = turns(loop, lambda: conn.seen.count(("interim", 102)))
    assert sum(more) == COUNT and max(more) <= SHARE
    server.answer(b"at last")
    for _ in range(5):
        loop.run_once(0)
    assert conn.received == len(b"at last") and conn.reusable


@pytest.mark.parametrize("whole", [True, False])
def test_what_waits_for_its_turn_is_told_before_a_reset(raw, loop, asked, whole):
    conn, server = asked
    server.send(HEAD + CHUNKS + (b"0\r\n\r\n" if whole else b""))
    while not pieces(conn):
        loop.run_once(0)
    assert len(pieces(conn)) == SHARE
    server.reset()
    assert raw.story(conn) == [200, BODY, "complete" if whole else ConnectionResetError, "close"]


def test_what_waits_for_its_turn_counts_at_a_deadline(loop, asked):
    """It looks before it falls."""
    conn, server = asked
    server.send(HEAD + CHUNKS + b"0\r\n\r\n")
    while not pieces(conn):
        loop.run_once(0)
    conn.look()
    assert b"".join(pieces(conn)) == BODY and conn.seen[-1] == ("complete",)


@pytest.mark.parametrize("when", [0, SHARE - 1, SHARE, COUNT - 1])
def test_pausing_and_going_on(raw, loop, asked, when):
    conn, server = asked
    conn.on_payload += lambda conn, view: conn.pause() if len(pieces(conn)) == when + 1 else None
    server.send(HEAD + CHUNKS + b"0\r\n\r\n")
    turns(loop, lambda: len(pieces(conn)))
    assert len(pieces(conn)) == when + 1
    conn.resume()
    assert raw.story(conn) == [200, BODY, "complete"]


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_nothing_more_is_told_of_one_that_is_closed(raw, loop, asked, verb):
    conn, server = asked
    server.send(HEAD + CHUNKS)
    while not pieces(conn):
        loop.run_once(0)
    getattr(conn, verb)()
    raw.until(lambda: conn.closed)
    assert len(pieces(conn)) == SHARE


def opened(raw, data):
    es, told = icey.http.EventSource(raw.loop, raw.url()), []
    es.on_event += lambda es, event: told.append(event.data)
    es.on_error += lambda es, exc: told.append(type(exc))
    es.start()
    server = raw.accept()
    server.request()
    server.send(STREAM + data)
    return es, told, server


def test_events(raw, loop):
    es, told, server = opened(raw, EVENTS)
    more = turns(loop, lambda: len(told))
    assert told == TOLD and max(more) <= EVENTS_SHARE
    server.send(b"data:more\n\n")
    raw.until(lambda: told[-1] == "more")
    es.abort()


@pytest.mark.parametrize("end, error", [("close", icey.PeerClosed), ("reset", ConnectionResetError)])
def test_events_that_wait_for_their_turn_are_told_before_the_end(raw, loop, end, error):
    es, told, server = opened(raw, EVENTS)
    while not told:
        loop.run_once(0)
    assert len(told) == EVENTS_SHARE
    getattr(server, end)()
    raw.until(lambda: len(told) > COUNT)
    assert told == TOLD + [error]
    es.abort()


def test_events_paused_and_resumed(raw, loop):
    es, told, server = opened(raw, EVENTS)
    es.on_event += lambda es, event: es.pause() if len(told) in (1, EVENTS_SHARE, 500) else None
    for _ in range(3):
        turns(loop, lambda: len(told))
        assert len(told) in (1, EVENTS_SHARE, 500)
        es.resume()
    turns(loop, lambda: len(told))
    assert told == TOLD
    es.abort()
