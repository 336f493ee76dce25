"""Contract 6 of a client: on_close comes once, from the loop, never inside close() or abort(); after it, calls are no-ops."""
import warnings

import pytest

import icey
from tests.support import rawserver
from tests.support.rawserver import answer

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw, slow = rawserver.moves, rawserver.raw, rawserver.slow

STAGES = ["new", "connecting", "sending", "waiting", "receiving", "paused", "idle", "upgraded"]
each_stage = pytest.mark.parametrize("stage", STAGES)
each_verb = pytest.mark.parametrize("verb", ["close", "abort"])


def at(raw, stage):
    """A connection at a stage of its life, and the server's end, None before there is one."""
    if stage == "upgraded":
        conn = raw.connection(headers={"Upgrade": "x"})
        conn.on_headers += lambda conn: conn.replace_adapter(icey.Adapter())
    else:
        conn = raw.connection(method="POST", headers={"Content-Length": "5"} if stage == "sending" else None)
    if stage == "new":
        return conn, None
    conn.start(body=None if stage in ("sending", "upgraded") else b"hello")
    if stage == "connecting":
        return conn, None
    server = raw.accept()
    server.head()
    if stage in ("receiving", "paused"):
        server.send(answer(b"hello")[:-1])
        raw.until(lambda: conn.received)
        if stage == "paused":
            conn.pause()
    elif stage == "idle":
        server.send(answer())
    elif stage == "upgraded":
        server.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    raw.until(lambda: conn.state.name == {"paused": "RECEIVING"}.get(stage, stage.upper()))
    return conn, server


@each_stage
@each_verb
def test_on_close_comes_once_from_the_loop_never_inside_the_call(raw, loop, stage, verb):
    conn, server = at(raw, stage)
    conn.seen.clear()
    for again in (verb, "close", "abort", "close"):
        getattr(conn, again)()
        assert conn.seen == [] and conn.closing and not conn.closed
    raw.until(lambda: conn.closed)
    raw.turn(3)
    assert conn.seen == [("close",)]  # one's own close is no error
    for quiet in (conn.close, conn.abort, conn.pause, conn.resume, conn.unref, conn.ref):
        quiet()
    raw.turn(3)
    assert conn.seen == [("close",)] and not loop.handles and conn.state.name == "CLOSED"
    if server is not None:
        assert conn.stream.closed
        server.close()


@each_stage
def test_when_on_close_comes_the_descriptor_is_closed(raw, stage):
    conn, _ = at(raw, stage)
    told = []
    conn.on_close += lambda conn: told.append(conn.sock is None or conn.sock.fileno())
    conn.abort()
    raw.until(lambda: told)
    assert told in ([True], [-1])


@each_stage
@each_verb
def test_as_a_context_manager(raw, stage, verb):
    with at(raw, stage)[0] as conn:
        pass
    assert conn.closing
    raw.until(lambda: conn.closed)


@each_stage
def test_the_loop_s_end(raw, loop, debug, stage):
    """Everything is aborted, on_close told; in debug mode one warning names what was open."""
    conn, server = at(raw, stage)
    conn.seen.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
    assert conn.seen == ([] if stage == "new" else [("close",)])
    assert [warning.category for warning in caught] == ([ResourceWarning] if debug and stage != "new" else [])
    if caught:
        name = "TCPSocket" if stage == "connecting" else "ClientConnection 127.0.0.1"
        assert name in str(caught[0].message) and __file__ in str(caught[0].message)


def test_close_lets_what_is_queued_drain(slow):
    conn = slow.connection(method="POST", headers={"Content-Length": "200000"})
    conn.start()
    server = slow.accept()
    server.head()
    conn.send(bytes(200000))
    assert conn.queued
    conn.close()
    assert len(server.read(200000)) == 200000
    assert server.gone()
    slow.until(lambda: conn.closed)
    assert slow.story(conn) == ["close"]


def test_within_a_deadline(slow, loop):
    conn = slow.connection(method="POST", headers={"Content-Length": "200000"}, limits={"close_timeout": 5.0})
    conn.start()
    server = slow.accept()
    server.head()
    conn.send(bytes(200000))
    conn.close()
    slow.wait(4.9)
    assert not conn.closed
    slow.wait(0.2)
    assert slow.story(conn) == ["close"] and not loop.handles


EVENTS = ["on_connect", "on_sent", "on_interim", "on_headers", "on_payload", "on_progress", "on_complete"]


@pytest.mark.parametrize("event", EVENTS)
@each_verb
def test_after_a_slot_has_closed_it_nothing_more_is_told(raw, event, verb):
    conn = raw.connection()
    sent = []
    conn.on_sent += lambda conn, head: sent.append(head)
    getattr(conn, event).attach(lambda conn, *args: getattr(conn, verb)(), priority=1)
    conn.start()
    server = raw.accept()
    try:
        server.read_until(b"\r\n\r\n")
        server.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(b"hello"))
    except OSError:
        pass
    raw.until(lambda: conn.closed)
    raw.turn(2)
    names = [event[0] for event in conn.seen]
    full = ["connect", "interim", "headers", "payload", "progress", "complete"]
    before = full[:1] if event == "on_sent" else full[:full.index(event[3:])]
    assert names == before + ["close"]
    assert bool(sent) is (event not in ("on_connect", "on_sent"))


@pytest.mark.parametrize("event", [*EVENTS, "on_drain"])
def test_a_slot_that_raises_closes_it_and_is_reported(raw, reports, event):
    def fail(*args):
        raise KeyError(event)

    conn = raw.connection(method="POST", headers={"Transfer-Encoding": "chunked"}, limits={"high_water": 10, "low_water": 5})
    getattr(conn, event).attach(fail)
    conn.start()
    conn.send(bytes(100))
    server = raw.accept()
    try:
        server.read_until(b"\r\n\r\n")
        server.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(b"hello"))
    except OSError:
        pass
    raw.until(lambda: conn.closed)
    reports.take(KeyError)
    assert conn.seen[-1] == ("close",) and "error" not in [event[0] for event in conn.seen]


def test_on_error_comes_before_on_close_and_may_close(raw, reports):
    for act in (lambda conn, exc: conn.close(), lambda conn, exc: conn.abort(), lambda conn, exc: 1 / 0):
        conn = raw.connection()
        conn.on_error += act
        conn.start()
        server = raw.accept()
        server.request()
        server.close()
        assert raw.story(conn) == [icey.PeerClosed, "close"]
    reports.take(ZeroDivisionError)


def test_a_slot_of_on_close_that_raises_is_reported(raw, reports):
    conn = raw.connection()
    conn.on_close.attach(lambda conn: 1 / 0, priority=1)
    conn.close()
    assert raw.story(conn) == ["close"]
    reports.take(ZeroDivisionError)


@each_verb
def test_a_call_tells_on_close_once_from_the_loop(raw, verb):
    call = raw.get()
    told = []
    call.on_close += lambda call: told.append((call.closing, call.closed))
    getattr(call.call, verb)()
    assert told == [] and call.closing and not call.closed
    raw.until(lambda: told)
    for quiet in (call.close, call.abort, call.pause, call.resume):
        quiet()
    raw.turn(3)
    assert told == [(True, True)] and not call.over


def test_a_call_that_is_done_closes_by_itself(raw):
    call = raw.get()
    told = []
    call.on_close += lambda call: told.append(len(asking.outcome))
    asking = call
    raw.accept().reply(b"hello")
    call.answer()
    raw.until(lambda: told)
    assert told == [1] and call.closed


@each_verb
def test_a_client_tells_on_close_once_from_the_loop(raw, verb):
    client = raw.client()
    told = []
    client.on_close += told.append
    call = raw.get()
    server = raw.accept()
    server.reply(b"hello")
    call.answer()
    getattr(client, verb)()
    assert told == [] and client.closing and not client.closed
    raw.until(lambda: told)
    for again in ("close", "abort"):
        getattr(client, again)()
    raw.turn(3)
    assert told == [client] and server.gone()


@pytest.mark.needs("fork")
@each_stage
def test_a_forked_child_s_close_only_lets_go_of_descriptors(raw, loop, stage):
    from tests.base.test_loop_fork import in_child

    conn, server = at(raw, stage)

    def child():
        import os

        seen = list(conn.seen)
        number = conn.sock.fileno() if conn.sock is not None else None
        loop.close()
        assert conn.seen == seen, "on_close is the parent's"
        if number is not None:
            with pytest.raises(OSError):
                os.fstat(number)

    in_child(child)
    assert not conn.closing
    conn.abort()
    raw.until(lambda: conn.closed)
