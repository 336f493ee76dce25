"""101 and CONNECT: another protocol's adapter takes the stream over, with the bytes that came behind the head."""
import weakref

import pytest

import icey
from icey import BadResponse, StateError
from icey.http import Request
from tests.support import rawserver
from tests.support.rawserver import answer
from tests.support.streams import collect

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

UPGRADE = {"Upgrade": "echo", "Connection": "upgrade"}
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n"
TUNNEL = b"HTTP/1.1 200 OK\r\n\r\n"


class Echo(icey.Adapter):
    """Notes what it is told, and sends back what it gets, upper case."""

    def __init__(self):
        self.seen = []

    def on_attach(self):
        self.seen.append("attach")

    def on_data(self, view):
        self.seen.append(bytes(view))
        self.send_owned(bytes(view).upper())

    def on_end(self):
        self.seen.append("end")
        super().on_end()

    def on_close(self):
        self.seen.append("close")


def upgraded(raw, *pieces, connect=False, **options):
    """A connection upgraded by `pieces`, each in a read of its own, its adapter, and the server's end."""
    conn = raw.connection(headers=UPGRADE, **options)
    adapter = Echo()
    conn.on_headers += lambda conn: conn.replace_adapter(adapter)
    conn.start(Request("CONNECT", "a.test:80", "1.1", []) if connect else None)
    server = raw.accept()
    server.head()
    for piece in pieces:
        server.send(piece)
        raw.turn()
    raw.until(lambda: adapter.seen or conn.closed)
    raw.turn(2)
    return conn, adapter, server


@pytest.mark.parametrize("connect, head", [(False, SWITCH), (True, TUNNEL)])
def test_an_adapter_takes_over(raw, connect, head):
    conn, adapter, server = upgraded(raw, head, connect=connect)
    assert conn.state.name == "UPGRADED" and conn.response.status == (200 if connect else 101)
    server.send(b"hello")
    assert server.read(5) == b"HELLO"
    server.half_close()
    assert server.gone()
    raw.until(lambda: conn.closed)
    assert adapter.seen == ["attach", b"hello", "end", "close"]
    assert conn.seen[-1] == ("close",) and "complete" not in [event[0] for event in conn.seen]


@pytest.mark.parametrize("connect, head", [(False, SWITCH), (True, TUNNEL)])
def test_bytes_behind_the_head_reach_it_in_order(raw, connect, head):
    data = head + b"hello"
    for at in range(len(head) - 3, len(data)):
        conn, adapter, server = upgraded(raw, data[:at], data[at:], b" world", connect=connect)
        raw.until(lambda adapter=adapter: len(b"".join(x for x in adapter.seen if x != "attach")) == 11)
        assert adapter.seen[0] == "attach" and b"".join(adapter.seen[1:]) == b"hello world"
        assert server.read(11) == b"HELLO WORLD"
        conn.abort()


def test_they_come_after_the_replacing_slot_has_returned(raw):
    log = []

    class Noting(icey.Adapter):
        def on_data(self, view):
            log.append(bytes(view))

    def switch(conn):
        conn.replace_adapter(Noting())
        log.append("returned")

    conn = raw.connection(headers=UPGRADE)
    conn.on_headers += switch
    conn.start()
    server = raw.accept()
    server.request()
    server.send(SWITCH + b"hello")
    raw.until(lambda: len(log) == 2)
    assert log == ["returned", b"hello"]
    conn.abort()


def test_they_are_in_order_though_the_answer_was_paused(raw):
    conn = raw.connection(headers=UPGRADE)
    adapter = Echo()
    conn.on_interim += lambda conn, response: conn.pause()
    conn.on_headers += lambda conn: conn.replace_adapter(adapter)
    conn.start()
    server = raw.accept()
    server.request()
    server.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + SWITCH + b"one")
    raw.turn(3)
    server.send(b"two")
    raw.turn(3)
    assert adapter.seen == []
    conn.resume()
    raw.until(lambda: b"".join(x for x in adapter.seen if x != "attach") == b"onetwo")
    conn.abort()


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_closing_an_upgraded_connection(raw, loop, verb):
    conn, adapter, server = upgraded(raw, SWITCH)
    getattr(conn, verb)()
    assert server.gone()
    raw.until(lambda: conn.closed)
    assert adapter.seen == ["attach", "close"] and not loop.handles


def test_what_is_queued_goes_out_first(raw):
    conn, adapter, server = upgraded(raw, SWITCH)
    adapter.send(bytes(3 << 20))
    conn.close()
    assert len(server.read(3 << 20)) == 3 << 20 and server.gone()


def test_a_reset_of_an_upgraded_connection(raw, loop):
    conn, adapter, server = upgraded(raw, SWITCH)
    server.reset()
    raw.until(lambda: conn.closed)
    assert adapter.seen == ["attach", "close"] and not loop.handles
    assert "error" not in [event[0] for event in conn.seen]  # it is the adapter's


def test_no_deadline_is_on_an_upgraded_connection(raw):
    conn, adapter, server = upgraded(raw, SWITCH, timeout=5.0, limits={"answer_timeout": 3.0, "body_timeout": 3.0})
    raw.wait(1000)
    server.send(b"still")
    assert server.read(5) == b"STILL"
    conn.abort()


def test_its_stream_has_the_limits_of_the_connection(raw):
    conn, adapter, server = upgraded(raw, SWITCH, limits={"max_queue": 12345, "high_water": 1000, "low_water": 10})
    stream = conn.stream
    assert (stream.max_queue, stream.high_water, stream.low_water) == (12345, 1000, 10)
    conn.abort()


@pytest.mark.parametrize("call", [lambda conn: conn.start(), lambda conn: conn.send(b"x"), lambda conn: conn.end(),
                                  lambda conn: conn.replace_adapter(Echo())], ids=["start", "send", "end", "replace"])
def test_http_is_over_on_it(raw, call):
    conn, adapter, server = upgraded(raw, SWITCH)
    with pytest.raises(StateError):
        call(conn)
    conn.pause()
    conn.resume()
    assert not conn.reusable
    server.send(b"hello")
    assert server.read(5) == b"HELLO"
    conn.abort()


# what is no upgrade

def test_an_answer_that_does_not_switch_is_an_answer(raw):
    conn = raw.connection(headers=UPGRADE)
    conn.start()
    raw.accept().reply(b"no")
    assert raw.story(conn) == [200, b"no", "complete"]


def test_a_tunnel_refused_is_an_answer(raw):
    conn = raw.connection()
    conn.start(Request("CONNECT", "a.test:80", "1.1", []))
    server = raw.accept()
    server.head()
    server.answer(b"no", status="403 Forbidden")
    assert raw.story(conn) == [403, b"no", "complete"]


def test_a_101_that_was_not_asked_for(raw):
    conn = raw.connection()
    conn.start()
    server = raw.accept()
    server.request()
    server.send(SWITCH + b"hello")
    assert raw.story(conn) == [BadResponse, "close"] and server.gone()


def test_a_101_that_nobody_takes(raw):
    conn = raw.connection(headers=UPGRADE)
    conn.start()
    server = raw.accept()
    server.request()
    server.send(SWITCH + b"hello")
    assert raw.story(conn) == [101, StateError, "close"] and server.gone()


def test_a_101_before_the_request_is_complete(raw):
    conn = raw.connection(method="POST", headers={**UPGRADE, "Content-Length": "5"})
    conn.on_headers += lambda conn: conn.replace_adapter(Echo())
    conn.start()
    server = raw.accept()
    server.head()
    conn.send(b"he")
    server.send(SWITCH)
    assert raw.story(conn) == [BadResponse, "close"]


def test_a_client_has_nobody_to_take_it(raw):
    call = raw.get(headers=UPGRADE)
    server = raw.accept()
    server.request()
    server.send(SWITCH)
    call.error(StateError)
    assert server.gone()


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_closed_in_on_headers_instead(raw, verb):
    conn = raw.connection(headers=UPGRADE)
    conn.on_headers += lambda conn: getattr(conn, verb)()
    conn.start()
    server = raw.accept()
    server.request()
    server.send(SWITCH)
    assert raw.story(conn) == [101, "close"] and server.gone()


@pytest.mark.parametrize("when", [
    "before start", "on_connect", "waiting", "on_interim", "on_headers", "on_payload", "idle", "closed",
])
def test_replace_adapter_at_any_other_time_is_a_state_error(raw, when):
    refused = []

    def replace(conn, *args):
        with pytest.raises(StateError, match="without an upgrade"):
            conn.replace_adapter(Echo())
        refused.append(conn.state.name)

    conn = raw.connection(headers=UPGRADE)
    if when == "before start":
        replace(conn)
    elif when.startswith("on_"):
        getattr(conn, when).attach(replace)
    conn.start()
    server = raw.accept()
    server.request()
    if when == "waiting":
        replace(conn)
    server.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(b"hello"))
    assert raw.story(conn) == [103, 200, b"hello", "complete"]
    if when == "idle":
        replace(conn)
    conn.close()
    raw.until(lambda: conn.closed)
    if when == "closed":
        replace(conn)
    assert len(refused) == 1


@pytest.mark.parametrize("where", ["on_attach", "on_data"])
def test_an_adapter_that_raises(raw, reports, where):
    class Broken(icey.Adapter):
        pass

    def fail(self, *args):
        raise KeyError(where)

    setattr(Broken, where, fail)
    conn = raw.connection(headers=UPGRADE)
    conn.on_headers += lambda conn: conn.replace_adapter(Broken())
    conn.start()
    server = raw.accept()
    server.request()
    server.send(SWITCH + b"hello")
    raw.until(lambda: conn.closed)
    reports.take(KeyError)
    assert server.gone()


def test_nothing_is_left_of_it(raw):
    def run():
        conn, adapter, server = upgraded(raw, SWITCH)
        server.close()
        raw.until(lambda: conn.closed)
        conn.seen.clear()
        return [weakref.ref(conn), weakref.ref(adapter), weakref.ref(conn.stream)]

    refs = run()
    collect()
    assert [ref() for ref in refs] == [None] * 3
