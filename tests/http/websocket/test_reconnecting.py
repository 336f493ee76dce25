"""Reconnecting against a server in the test's hand: when another WebSocket is made, what is told, what is sent, how it ends."""
import gc
import os
import socket
import struct
import weakref

import pytest

import icey
from icey.http import Reconnecting, ReconnectState, WebSocket
from tests.support import streams, websocket
from tests.support.loops import in_thread
from tests.support.streams import names
from tests.support.websocket import BINARY, CLOSE, PING, TEXT, closing

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
exports, host = streams.exports, websocket.host

EVENTS = ("connect", "message", "drain", "disconnect", "close")


def linked(host, make=None, **options):
    """A Reconnecting to `host`, that notes its events in `data`; its jitter is the least."""
    r = Reconnecting(make or (lambda: WebSocket.connect(host.loop, host.url, ping_interval=None)), **options)
    r.backoff.random = lambda: 0.0
    r.data = streams.watch(r, *EVENTS)
    return r


def connected(host, *args, **options):
    """A Reconnecting that is connected; its events until then are forgotten."""
    r = linked(host, *args, **options)
    host.accepts()
    host.until(lambda: r.websocket)
    del r.data[:]
    return r


def again(host, r):
    """The rest is over, and the server there."""
    host.wait(r.retry_in)
    host.accepts()
    host.until(lambda: r.websocket)


def leave(host, *bye):
    """The server says goodbye, and goes once it was answered."""
    host.wire.bye(*bye)
    while host.wire.read_frame()[2] != CLOSE:
        pass
    host.wire.close()


def refuse(host, status, *fields):
    """The handshake is answered so."""
    host.asked()
    lines = ["HTTP/1.1 %d X" % status, "Content-Length: 0", *fields]
    host.wire.raw("\r\n".join(lines).encode() + b"\r\n\r\n")


def told(host, r):
    """Waits for on_disconnect: what it told; it is forgotten."""
    host.until(lambda: "disconnect" in names(r.data))
    found = r.data[names(r.data).index("disconnect")][1:]
    del r.data[:]
    return found


# connecting

def test_it_connects_tells_and_sends(host):
    r = linked(host)
    assert r.state is ReconnectState.CONNECTING and r.attempts == 1 and r.websocket is None and r.queued == 0
    assert r.start() is r
    host.accepts()
    host.until(lambda: r.data)
    assert names(r.data) == ["connect"] and r.state is ReconnectState.OPEN and r.attempts == 0
    assert isinstance(r.websocket, WebSocket)
    assert r.send("hello") is True and r.send(b"bytes") is True
    assert (host.wire.read(), host.wire.read()) == ((TEXT, b"hello"), (BINARY, b"bytes"))
    host.wire.send(TEXT, b"text")
    host.wire.send(BINARY, b"\0\1")
    host.until(lambda: len(r.data) == 3)
    assert r.data[1:] == [("message", "text"), ("message", b"\0\1")]
    r.ping(b"?")
    assert host.wire.read() == (PING, b"?")
    r.send_piece("a")
    r.send_piece("b", final=True)
    assert host.wire.read_frame()[2:] == (TEXT, b"a") and host.wire.read_frame()[2:] == (0, b"b")


def test_what_was_attached_by_make_is_told_first(host):
    seen = []

    def make():
        ws = WebSocket.connect(host.loop, host.url)
        ws.on_connect += lambda ws: seen.append("ws connect")
        ws.on_message += lambda ws, data: seen.append("ws " + data)
        ws.on_close += lambda ws, code, reason: seen.append("ws close")
        return ws

    r = linked(host, make)
    r.on_connect += lambda r: seen.append("r connect")
    r.on_message += lambda r, data: seen.append("r " + data)
    r.on_disconnect += lambda r, exc, retry_in: seen.append("r disconnect")
    host.accepts(behind=host_frame("x"))
    host.until(lambda: len(seen) == 4)
    host.wire.close()
    host.until(lambda: r.retry_in)
    assert seen == ["ws connect", "r connect", "ws x", "r x", "ws close", "r disconnect"]


def host_frame(text):
    return b"\x81" + bytes([len(text)]) + text.encode()


def test_messages_that_nobody_is_attached_for_are_dropped(host):
    r = Reconnecting(lambda: WebSocket.connect(host.loop, host.url))
    host.accepts(behind=host_frame("x"))
    host.until(lambda: r.websocket)
    host.turn(2)
    r.on_message.attach(print)
    r.on_message.detach(print)
    host.wire.send(TEXT, b"y")
    host.turn(3)
    assert r.websocket


def test_what_make_raises_at_first_is_the_callers(host):
    def make():
        raise KeyError("no token")

    with pytest.raises(KeyError):
        Reconnecting(make)
    with pytest.raises(TypeError, match="make.. is to return a WebSocket"):
        Reconnecting(lambda: 7)
    with pytest.raises(TypeError):
        Reconnecting(None)
    with pytest.raises(TypeError, match="not awaited"):
        async def make():
            pass
        Reconnecting(make)


@pytest.mark.parametrize("retry, kind", [((0, 1), ValueError), (None, TypeError)])
def test_bounds_that_are_none(host, retry, kind):
    with pytest.raises(kind, match="retry"):
        linked(host, retry=retry)
    host.turn(3)
    assert not host.loop.handles


def test_a_websocket_that_is_not_new_is_refused(host):
    ws = host.connects()
    host.until(lambda: ws.announced)
    with pytest.raises(icey.StateError, match="not new"):
        Reconnecting(lambda: ws)
    ws.abort()


def test_another_thread_is_refused(host):
    r = connected(host)
    for touch in (r.close, r.abort, r.pause, r.resume, r.start, r.ping, lambda: r.send("x"), lambda: r.on_message.attach(int)):
        with pytest.raises(icey.AffinityError):
            in_thread(touch)


# coming back

@pytest.mark.parametrize("code", [1000, 1001, 1005, 1008, 1011, 1012, 4000])
def test_a_peer_that_says_goodbye_is_called_again(host, code):
    r = connected(host)
    leave(host, *(() if code == 1005 else (code, b"why")))
    assert told(host, r) == (None, 1.0)
    assert (r.code, r.reason) == (code, "" if code == 1005 else "why")
    assert r.state is ReconnectState.WAITING and r.websocket is None and r.retry_in == 1.0
    before = host.clock()
    again(host, r)
    assert host.clock() - before == pytest.approx(1.0) and names(r.data) == ["connect"] and r.retry_in is None


def test_try_again_later_is_taken_at_its_word(host):
    r = connected(host)
    leave(host, 1013)
    assert told(host, r) == (None, 30.0)


def test_a_connection_that_breaks_is_told_with_why(host):
    r = connected(host)
    host.wire.send(TEXT, b"last words")
    host.wire.reset()
    host.until(lambda: len(r.data) == 2)
    assert r.data[0] == ("message", "last words")
    exc, rest = told(host, r)
    assert isinstance(exc, OSError) and rest == 1.0 and r.code == 1006
    again(host, r)


def test_an_end_without_goodbye(host):
    r = connected(host)
    host.wire.close()
    exc, rest = told(host, r)
    assert rest == 1.0 and r.code == 1006


def test_a_peer_that_breaks_the_protocol_is_called_again(host):
    r = connected(host)
    host.wire.raw(b"\xff\xff")
    exc, rest = told(host, r)
    assert isinstance(exc, icey.WebSocketError) and rest == 1.0


def test_a_peer_that_answers_no_ping_is_found_within_pong_timeout(host):
    limits = icey.Limits(pong_timeout=5.0)
    r = connected(host, lambda: WebSocket.connect(host.loop, host.url, ping_interval=10.0, limits=limits))
    host.wait(14.9)
    assert r.websocket
    host.wait(0.3)
    exc, rest = told(host, r)
    assert isinstance(exc, icey.Deadline)
    again(host, r)


def test_its_websocket_closed_by_hand_is_replaced(host):
    r = connected(host)
    r.websocket.close(1000)
    leave(host, 1000)
    assert told(host, r) == (None, 1.0)
    again(host, r)
    r.websocket.abort()
    assert told(host, r)[1] == 2.0


@pytest.mark.parametrize("jitter, rests", [
    (0.0, [1, 2, 4, 5, 5]), (1.0, [2, 4, 8, 10, 10]), (0.5, [1.5, 3, 6, 7.5, 7.5]),
])
def test_rests_double_between_the_bounds_with_jitter(host, jitter, rests):
    url = host.url
    host.sock.close()
    r = linked(host, lambda: WebSocket.connect(host.loop, url), retry=(1.0, 10.0))
    r.backoff.random = lambda: jitter
    for count in range(1, 6):
        host.until(lambda count=count: len(r.data) == count)
        assert r.attempts == count
        host.wait(r.retry_in)
    assert [rest for _, _, rest in r.data[:5]] == rests
    assert all(isinstance(exc, icey.ConnectError) for _, exc, _ in r.data)


def test_rests_begin_anew_behind_a_connection_that_lived(host):
    r, rests = connected(host), []
    for life in (0, 0, 3, 100, 0):
        host.wait(life)
        leave(host, 1001)
        rests.append(told(host, r)[1])
        again(host, r)
    assert rests == [1, 2, 4, 1, 2]


def test_each_attempt_is_made_anew_and_what_make_raises_is_told_and_tried_again(host):
    made = []

    def make():
        made.append(len(made))
        if len(made) == 2:
            raise KeyError("no token")
        return WebSocket.connect(host.loop, host.url, headers={"X-Number": str(len(made))}, ping_interval=None)

    r = connected(host, make)
    assert host.head["x-number"] == "1"
    leave(host, 1001)
    told(host, r)
    host.wait(1)
    exc, rest = told(host, r)
    assert isinstance(exc, KeyError) and rest == 2.0 and r.attempts == 1
    again(host, r)
    assert host.head["x-number"] == "3"


def test_what_make_returns_later_is_looked_at_too(host):
    other = icey.Loop(False)
    given = []

    def make():
        if not given:
            given.append(1)
            return WebSocket.connect(host.loop, host.url)
        given.append(WebSocket.connect(other, host.url))
        return given[-1]

    r = connected(host, make)
    leave(host, 1001)
    told(host, r)
    host.wait(1)
    exc, rest = told(host, r)
    assert isinstance(exc, icey.StateError) and "another loop" in str(exc) and rest == 2.0
    r.close()
    other.run_once(0)
    other.close()


# handshakes that are refused

@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_refusals_that_pass(host, status):
    r = linked(host)
    refuse(host, status, *(["Retry-After: 7"] if status == 503 else []))
    exc, rest = told(host, r)
    assert isinstance(exc, icey.HttpError) and exc.status == status and rest == (7.0 if status == 503 else 1.0)
    again(host, r)


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 403, 404, 426])
def test_refusals_that_end_it(host, status):
    r, seen = linked(host), []
    r.on_disconnect += lambda r, exc, retry_in: seen.append((r.state, r.retry_in))
    refuse(host, status)
    host.until(lambda: r.closed)
    assert names(r.data) == ["disconnect", "close"] and seen == [(ReconnectState.CLOSED, None)]
    assert isinstance(r.data[0][1], icey.HttpError) and r.data[0][2] is None
    host.wait(200)
    assert not host.loop.handles


def test_a_handshake_against_the_rules_ends_it(host):
    r = linked(host)
    host.asked()
    host.wire.raw(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: nonsense\r\n\r\n")
    host.until(lambda: r.closed)
    assert names(r.data) == ["disconnect", "close"] and isinstance(r.data[0][1], icey.WebSocketError)


def test_what_is_no_http_is_tried_again(host):
    r = linked(host)
    host.asked()
    host.wire.raw(b"nonsense\r\n\r\n")
    exc, rest = told(host, r)
    assert isinstance(exc, icey.BadResponse) and rest == 1.0


def test_a_server_that_does_not_answer_is_given_up(host):
    r = linked(host)
    host.asked()
    host.wait(10.1)
    exc, rest = told(host, r)
    assert isinstance(exc, icey.Deadline) and rest == 1.0


# in between

@pytest.mark.parametrize("send", [lambda r: r.send("x"), lambda r: r.send_piece("x"), lambda r: r.ping()])
def test_nothing_can_be_sent_while_there_is_no_connection(host, send):
    r = linked(host)
    with pytest.raises(icey.StateError, match="wait for on_connect"):
        send(r)
    host.accepts()
    host.until(lambda: r.websocket)
    send(r)
    leave(host, 1001)
    host.until(lambda: r.retry_in)
    with pytest.raises(icey.StateError, match="wait for on_connect"):
        send(r)
    r.close()
    with pytest.raises(icey.StateError, match="closing"):
        send(r)
    host.turn(2)
    with pytest.raises(icey.StateError, match="closed"):
        send(r)


def test_sending_while_the_peer_leaves_is_discarded(host):
    r, seen = connected(host), []
    r.websocket.on_error += lambda ws, exc: seen.append(r.send("x"))
    host.wire.raw(b"\xff\xff")
    told(host, r)
    assert seen == [False]


def test_a_full_queue_and_its_drain(host):
    limits = icey.Limits(high_water=1000, low_water=100, max_queue=1 << 26)
    r = connected(host, lambda: WebSocket.connect(host.loop, host.url, ping_interval=None, compression=False, limits=limits))
    r.websocket.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sent = 1
    while r.send(bytes(60000)):
        sent += 1
    assert r.queued > 1000
    for _ in range(sent):
        assert len(host.wire.read_frame()[3]) == 60000
    host.until(lambda: names(r.data) == ["drain"])


def test_a_pause_outlives_the_connection(host):
    r = connected(host)
    r.pause()
    host.wire.send(TEXT, b"1")
    host.turn(5)
    assert r.data == []
    r.resume()
    host.until(lambda: r.data == [("message", "1")])
    r.pause()
    r.websocket.abort()
    told(host, r)
    again(host, r)
    del r.data[:]
    host.wire.send(TEXT, b"2")
    host.turn(5)
    assert r.data == []
    r.resume()
    host.until(lambda: r.data == [("message", "2")])


# slots

@pytest.mark.parametrize("event", EVENTS)
def test_a_slot_that_raises_is_told_and_all_goes_on(host, reports, event):
    r = linked(host)
    getattr(r, "on_" + event).attach(lambda r, *rest: 1 / 0)
    host.accepts()
    host.wire.send(TEXT, b"1")
    host.until(lambda: ("message", "1") in r.data)
    if event == "drain":
        r.emit("on_drain", r)
    host.wire.send(TEXT, b"2")
    host.until(lambda: ("message", "2") in r.data)
    leave(host, 1001)
    host.until(lambda: r.retry_in)
    again(host, r)
    r.abort()
    host.until(lambda: r.closed)
    reports.take(*[ZeroDivisionError] * {"message": 2, "connect": 2}.get(event, 1))


@pytest.mark.skipif(streams.PYPY, reason="PyPy does not tell who exports a buffer")
def test_a_slot_that_keeps_its_view_is_named_and_the_connection_is_replaced(host, reports, debug, exports):
    r = connected(host)

    def keeper(r, data):
        exports.append(data[1:] if debug else struct.iter_unpack("B", data))

    r.on_message += keeper
    host.wire.send(BINARY, b"12345")
    host.until(lambda: r.retry_in)
    exports.clear()
    found, = reports.take(icey.BorrowError)
    assert "keeper" in str(found)
    assert r.code == 1006
    again(host, r)


@pytest.mark.skipif(streams.PYPY, reason="PyPy does not tell who exports a buffer")
def test_views_that_slots_of_make_keep_are_found_too(host, reports, debug, exports):
    def make():
        ws = WebSocket.connect(host.loop, host.url)
        ws.on_message += lambda ws, data: exports.append(data[1:] if debug else struct.iter_unpack("B", data))
        return ws

    r = connected(host, make)
    host.wire.send(BINARY, b"12345")
    host.until(lambda: r.retry_in)
    exports.clear()
    reports.take(icey.BorrowError)


# the end

def in_state(host, state):
    r = linked(host)
    if state == "CONNECTING":
        return r
    if state == "ASKED":
        host.asked()
        return r
    host.accepts()
    host.until(lambda: r.websocket)
    if state == "WAITING":
        leave(host, 1001)
        host.until(lambda: r.retry_in)
    return r


STATES = ["CONNECTING", "ASKED", "OPEN", "WAITING"]


def test_close_says_goodbye_and_ends_it(host):
    r = connected(host)
    r.send("last")
    r.close(4001, "enough")
    assert r.closing and not r.closed
    r.close()
    assert host.wire.read() == (TEXT, b"last")
    assert host.wire.raw(b"") is None and host.wire.read() == (CLOSE, closing(4001, b"enough")[2:])
    host.wire.send(TEXT, b"too late")
    host.wire.bye(4001, b"enough")
    host.wire.close()
    host.until(lambda: r.closed)
    assert names(r.data) == ["close"] and (r.code, r.reason) == (4001, "enough") and r.state is ReconnectState.CLOSED
    host.wait(200)
    assert not host.loop.handles


def test_a_code_that_cannot_be_sent_changes_nothing(host):
    r = connected(host)
    with pytest.raises(ValueError):
        r.close(1005)
    assert not r.closing and r.send("x")


def test_a_peer_that_never_says_goodbye_is_left(host):
    r = connected(host)
    r.close()
    host.wait(5.1)
    host.until(lambda: r.closed)
    assert names(r.data) == ["close"] and r.code == 1006


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("state", STATES)
def test_close_in_each_state(host, state, how):
    r = in_state(host, state)
    del r.data[:]
    getattr(r, how)()
    assert r.closing and not r.closed and r.data == []
    getattr(r, how)()
    r.pause()
    r.resume()
    host.turn(3)
    if state == "OPEN" and how == "close":
        assert not r.closed
        leave(host, 1000)
        host.until(lambda: r.closed)
    assert names(r.data) == ["close"] and r.closed and r.state is ReconnectState.CLOSED
    host.wait(200)
    assert names(r.data) == ["close"] and not host.loop.handles
    with pytest.raises(icey.StateError):
        r.start()


def test_close_inside_a_slot_of_make_before_ours(host):
    def make():
        ws = WebSocket.connect(host.loop, host.url, ping_interval=None)
        ws.on_connect += lambda ws: r.close()
        return ws

    r = linked(host, make)
    host.accepts()
    leave(host, 1000)
    host.until(lambda: r.closed)
    assert names(r.data) == ["close"]


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("event", EVENTS)
def test_close_inside_each_slot(host, event, how):
    r = linked(host)
    getattr(r, "on_" + event).attach(lambda r, *rest: getattr(r, how)())
    host.accepts()
    host.wire.send(TEXT, b"1")
    host.wire.send(TEXT, b"2")
    if event == "drain":
        host.until(lambda: r.websocket)
        r.websocket.emit("on_drain", r.websocket)
    elif event in ("disconnect", "close"):
        host.until(lambda: len(r.data) == 3)
        leave(host, 1001)
        host.until(lambda: "disconnect" in names(r.data))
        r.close()
    host.turn(3)
    if not r.closed:
        leave(host, 1000)
    host.until(lambda: r.closed)
    host.wait(200)
    before = {"connect": ["connect"], "message": ["connect", "message"]}.get(event)
    if before is not None:
        assert names(r.data) == [*before, "close"]
    assert names(r.data)[-1] == "close" and names(r.data).count("close") == 1 and not host.loop.handles


def test_close_inside_make(host):
    made = []

    def make():
        made.append(WebSocket.connect(host.loop, host.url, ping_interval=None))
        if len(made) > 1:
            r.close()
        return made[-1]

    r = connected(host, make)
    leave(host, 1001)
    told(host, r)
    host.wait(1)
    host.turn(3)
    assert r.closed and made[1].closed and names(r.data) == ["close"]


@pytest.mark.parametrize("state", STATES)
def test_the_loops_end_in_each_state(host, loop, state, debug):
    r = in_state(host, state)
    del r.data[:]
    if debug and state != "WAITING":
        with pytest.warns(ResourceWarning):
            loop.close()
    else:
        loop.close()
    assert names(r.data) == ["close"] and r.closed
    r.close()


def test_it_keeps_the_loop_running_unless_unrefed(host, loop):
    r = in_state(host, "WAITING")
    assert loop.run_once(0)
    r.unref()
    assert not loop.run_once(0)
    again(host, r)
    assert not loop.run_once(0)
    r.ref()
    assert loop.run_once(0)


def test_a_closed_one_is_no_garbage(host):
    r = connected(host)
    gone = weakref.ref(r)
    r.abort()
    host.turn(3)
    gc.disable()
    try:
        del r
        if streams.PYPY:
            streams.collect()
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.needs("fork")
def test_a_forked_child_lets_go(host, loop):
    r = connected(host)
    child = os.fork()
    if not child:
        status = 1
        try:
            loop.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    host.wire.send(TEXT, b"1")
    host.until(lambda: r.data == [("message", "1")])


def test_what_it_is_called(host):
    assert repr(linked(host)) == "<Reconnecting open>"
