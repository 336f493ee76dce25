"""EventSource against a server in the test's hand: what it asks for, what it tells, when it comes again, how it ends."""
import gc
import os
import socket
import time
import weakref

import pytest

import icey
from icey.http import EventSource, ReconnectState, ServerSentEvent
from icey.http.client.comeback import wanted_rest
from icey.http.client.eventsource import PROBES, probe
from icey.http.semantics.headers import Headers
from tests.support import rawserver, streams
from tests.support.loops import in_thread
from tests.support.rawserver import Raw
from tests.support.streams import names, watch

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"  # until the connection ends
EVENTS = ("open", "event", "error", "close")


def source(raw, path="/events", *, url=None, started=True, limits=None, **options):
    """An EventSource of this server, that notes its events in `data`; its jitter is the least."""
    es = EventSource(raw.loop, url or raw.url(path), limits=icey.Limits(**limits) if limits else None, **options)
    es.backoff.random = lambda: 0.0
    es.data = watch(es, *EVENTS)
    return es.start() if started else es


def opened(raw, data=b"", **options):
    """A source that is open, the server's end of it, and what was asked."""
    es = source(raw, **options)
    server = raw.accept()
    server.asked = server.request()
    server.send(HEAD + data)
    raw.until(lambda: es.state is ReconnectState.OPEN)
    raw.turn(2)
    return es, server


def told(es):
    """The data of the events told."""
    return [rest[0].data for name, *rest in es.data if name == "event"]


def failed(raw, es):
    """Waits for the next on_error: its exception; what was told is forgotten."""
    raw.until(lambda: "error" in names(es.data))
    exc = es.data[names(es.data).index("error")][1]
    del es.data[:]
    return exc


# opening

def test_it_asks_opens_and_tells_events(raw):
    es = source(raw, "/events?x=1", headers={"X-Token": "abc"}, started=False)
    assert es.state is ReconnectState.NEW and (es.attempts, es.retry_in, es.last_event_id) == (0, None, "")
    assert es.start() is es
    assert es.state is ReconnectState.CONNECTING and es.attempts == 1
    server = raw.accept()
    asked = server.request()
    assert asked.line == "GET /events?x=1 HTTP/1.1" and asked["x-token"] == "abc"
    assert asked["accept"] == "text/event-stream" and asked["cache-control"] == "no-cache"
    assert "last-event-id" not in asked and "accept-encoding" not in asked
    server.send(HEAD)
    raw.until(lambda: es.data)
    assert names(es.data) == ["open"] and es.state is ReconnectState.OPEN and es.attempts == 0
    server.send(b"data: one\n\nevent: add\nid: 7\ndata: two\n\n")
    raw.until(lambda: len(es.data) == 3)
    assert es.data[1:] == [("event", ServerSentEvent("message", "one", "")), ("event", ServerSentEvent("add", "two", "7"))]
    assert es.last_event_id == "7"


def test_headers_of_ones_own_stay(raw):
    source(raw, headers=[("accept", "text/*"), ("Cache-Control", "max-age=0")])
    asked = raw.accept().request()
    assert asked["accept"] == "text/*" and asked["cache-control"] == "max-age=0"


def test_a_stream_that_comes_byte_by_byte(raw):
    data = b"\xef\xbb\xbfid: \xe2\x82\xac1\r\ndata: \xc3\xa4\r\n\r\n: comment\rdata: b\r\r"
    es, server = opened(raw)
    for at in range(len(data)):
        server.send(data[at:at + 1])
        raw.turn(2)
    assert told(es) == ["\xe4", "b"] and es.last_event_id == "\u20ac1"


@pytest.mark.parametrize("kind", ["text/event-stream", "Text/Event-Stream; charset=utf-8", "text/event-stream ;x=y"])
def test_content_types_that_open(raw, kind):
    es = source(raw)
    raw.accept().send(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Encoding: identity\r\n\r\n" % kind.encode())
    raw.until(lambda: names(es.data) == ["open"])


def test_the_head_and_the_first_events_in_one_piece(raw):
    es, server = opened(raw, b"data: x\n\n")
    assert names(es.data) == ["open", "event"]


def test_start_begins_once(raw):
    es = source(raw)
    with pytest.raises(icey.StateError, match="second time"):
        es.start()
    es.close()
    with pytest.raises(icey.StateError):
        es.start()


@pytest.mark.parametrize("options, kind", [
    ({"url": "ws://127.0.0.1/"}, ValueError), ({"url": "nonsense"}, ValueError), ({"retry": (0, 1)}, ValueError),
    ({"retry": 1}, TypeError), ({"idle_timeout": 0}, ValueError), ({"idle_timeout": -1}, ValueError),
    ({"headers": {"a": "b\n"}}, ValueError), ({"last_event_id": "a\nb"}, ValueError), ({"last_event_id": "\0"}, ValueError),
    ({"last_event_id": None}, TypeError), ({"last_event_id": 7}, TypeError), ({"last_event_id": b"7"}, TypeError),
])
def test_what_cannot_be_asked_for_is_refused_at_once(raw, options, kind):
    with pytest.raises(kind):
        source(raw, started=False, **options)


def test_another_thread_is_refused(raw):
    es = source(raw)
    for touch in (es.start, es.close, es.abort, es.pause, es.resume, lambda: es.on_event.attach(print)):
        with pytest.raises(icey.AffinityError):
            in_thread(touch)


def test_a_url_with_a_password(raw):
    source(raw, url=raw.url("/", userinfo="joe:secret@"))
    assert raw.accept().request()["authorization"].startswith("Basic ")


# coming again

def test_the_end_of_a_stream_and_the_next_with_the_last_id(raw):
    es, server = opened(raw, b"id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: cut")
    server.close()
    exc = failed(raw, es)
    assert isinstance(exc, icey.PeerClosed) and "ended" in str(exc)
    assert es.state is ReconnectState.WAITING and es.retry_in == 1.0 and es.last_event_id == "2"
    before = raw.clock()
    raw.wait(es.retry_in)
    server = raw.accept()
    assert raw.clock() - before == pytest.approx(1.0) and es.state is ReconnectState.CONNECTING and es.retry_in is None
    assert server.request()["last-event-id"] == "2" and es.attempts == 1
    server.send(HEAD + b"id: 3\ndata: c\n\n")
    raw.until(lambda: told(es) == ["c"])
    assert names(es.data) == ["open", "event"]


def test_a_stream_that_ends_in_order_leaves_the_connection_for_the_next(raw):
    es = source(raw)
    server = raw.accept()
    server.request()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"e\r\nid: 4\ndata:x\n\n\r\n0\r\n\r\n")
    assert isinstance(failed(raw, es), icey.PeerClosed)
    raw.wait(es.retry_in)
    assert server.request()["last-event-id"] == "4"


def test_a_reset_is_told_behind_the_events_before_it(raw):
    es, server = opened(raw)
    server.send(b"id: 5\ndata: x\n\n")
    server.reset()
    raw.until(lambda: "error" in names(es.data))
    assert names(es.data) == ["open", "event", "error"] and isinstance(es.data[-1][1], OSError) and es.last_event_id == "5"


def test_a_body_that_is_cut_short_is_a_loss(raw):
    es = source(raw)
    server = raw.accept()
    server.request()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\ndata: x\n\n")
    server.close()
    assert isinstance(failed(raw, es), (icey.NetError, icey.ProtocolError)) and es.retry_in


def test_an_id_goes_out_as_utf8_and_none_when_it_was_taken_back(raw):
    es, server = opened(raw, "id: \u20ac\xe4\ndata: x\n\n".encode())
    server.close()
    failed(raw, es)
    raw.wait(es.retry_in)
    server = raw.accept()
    assert server.request()["last-event-id"].encode("latin-1").decode() == "\u20ac\xe4"
    server.send(HEAD + b"id\n\n")
    server.close()
    failed(raw, es)
    raw.wait(es.retry_in)
    assert "last-event-id" not in raw.accept().request()


def test_an_id_to_begin_with(raw):
    es, server = opened(raw, b"data: x\n\n", last_event_id="17")
    assert server.asked["last-event-id"] == "17" and es.data[-1][1].id == "17"


def test_an_id_that_no_header_can_carry_ends_it_where_it_would_have_to(raw):
    es, server = opened(raw, b"id: a\x01b\ndata: x\n\n")
    assert told(es) == ["x"]
    server.close()
    failed(raw, es)
    raw.wait(1)
    raw.until(lambda: es.closed)
    assert isinstance(es.data[0][1], ValueError) and names(es.data) == ["error", "close"]


@pytest.mark.parametrize("jitter, rests", [
    (0.0, [1, 2, 4, 5, 5]), (1.0, [2, 4, 8, 10, 10]), (0.5, [1.5, 3, 6, 7.5, 7.5]),
])
def test_rests_double_between_the_bounds_with_jitter(raw, jitter, rests):
    raw.stop_listening()
    es, seen = source(raw, started=False, retry=(1.0, 10.0)), []
    es.backoff.random = lambda: jitter
    es.on_error += lambda es, exc: seen.append((type(exc), es.retry_in, es.attempts))
    es.start()
    for count in range(1, 6):
        raw.until(lambda count=count: len(seen) == count)
        raw.wait(es.retry_in)
    assert seen[:5] == [(icey.ConnectError, rest, number + 1) for number, rest in enumerate(rests)]


def test_rests_begin_anew_behind_a_stream_that_lived(raw):
    rests, lives = [], iter((0, 0, 3, 100, 0))
    es = source(raw)
    for life in lives:
        server = raw.accept()
        server.send(HEAD)
        raw.until(lambda: es.state is ReconnectState.OPEN)
        raw.wait(life)
        server.close()
        failed(raw, es)
        rests.append(es.retry_in)
        raw.wait(es.retry_in)
    assert rests == [1, 2, 4, 1, 2]


@pytest.mark.parametrize("field, retry, rest", [
    (b"retry: 5000\n", (1.0, 60.0), 5.0), (b"retry: 200\n\n", (1.0, 60.0), 0.2), (b"retry: 90000\n", (1.0, 60.0), 60.0),
    (b"retry: 0\n", (1.0, 60.0), 0.01), (b"retry: soon\n", (1.0, 60.0), 1.0),
])
def test_the_servers_retry_is_the_lower_bound(raw, field, retry, rest):
    es, server = opened(raw, field, retry=retry)
    server.close()
    failed(raw, es)
    assert es.retry_in == pytest.approx(rest)
    raw.wait(es.retry_in)
    raw.accept()


def test_errors_while_it_connects_are_told_and_it_goes_on(raw):
    es = source(raw, limits={"answer_timeout": 3.0})
    raw.accept().close()
    assert isinstance(failed(raw, es), icey.PeerClosed) and es.attempts == 1
    raw.wait(es.retry_in)
    raw.accept().send(b"nonsense\r\n\r\n")
    assert isinstance(failed(raw, es), icey.BadResponse) and es.attempts == 2
    raw.wait(es.retry_in)
    raw.accept()
    raw.wait(3.1)
    assert isinstance(failed(raw, es), icey.Deadline)
    raw.wait(es.retry_in)
    raw.accept().send(HEAD)
    raw.until(lambda: es.state is ReconnectState.OPEN)
    assert es.attempts == 0


# what an answer says

@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_statuses_that_pass(raw, status):
    es = source(raw)
    server = raw.accept()
    server.reply(b"no", status="%d X" % status)
    exc = failed(raw, es)
    assert isinstance(exc, icey.HttpError) and exc.status == status and exc.response.status == status and es.retry_in == 1.0
    raw.wait(1.0)
    raw.accept()


@pytest.mark.parametrize("status", [200, 201, 206, 300, 301, 304, 400, 401, 403, 404, 410, 418])
def test_answers_that_end_it(raw, status):
    es, seen = source(raw), []
    es.on_error += lambda es, exc: seen.append((es.retry_in, es.state, es.closing))
    server = raw.accept()
    server.reply(b"" if status == 304 else b"no", "Content-Type: text/html", status="%d X" % status, length=status != 304)
    raw.until(lambda: es.closed)
    assert names(es.data) == ["error", "close"] and seen == [(None, ReconnectState.CLOSED, True)]
    exc = es.data[0][1]
    assert isinstance(exc, icey.HttpError) and exc.response.status == status
    assert exc.status == (502 if status == 200 else status)
    assert "text/html" in str(exc) if status == 200 else "no event stream at http://127.0.0.1" in str(exc)
    raw.wait(100)
    assert raw.nobody()


@pytest.mark.parametrize("fields", [(), ("Content-Type: text/event-stream, text/html",), ("Content-Type: text/event-streams",),
                                    ("Content-Type: text/event-stream", "Content-Encoding: gzip")])
def test_what_is_no_plain_event_stream_ends_it(raw, fields):
    es = source(raw)
    raw.accept().reply(b"data: x\n\n", *fields)
    raw.until(lambda: es.closed)
    assert names(es.data) == ["error", "close"] and isinstance(es.data[0][1], icey.BadResponse)


def test_a_password_is_in_no_error(raw):
    es = source(raw, url=raw.url("/", userinfo="joe:secret@"))
    raw.accept().reply(status="404 X")
    assert "secret" not in str(failed(raw, es)) and "secret" not in repr(es)


def test_204_is_the_end_and_no_error(raw):
    es = source(raw)
    server = raw.accept()
    server.reply(status="204 No Content", length=False)
    raw.until(lambda: es.closed)
    assert names(es.data) == ["close"] and es.state is ReconnectState.CLOSED
    raw.wait(100)
    assert raw.nobody()


@pytest.mark.parametrize("fields, rest", [
    (["Retry-After: 20"], 20.0), (["Retry-After: 1000"], 60.0), (["Retry-After: 0"], 1.0), (["Retry-After: soon"], 1.0),
    (["Date: Sun, 06 Nov 1994 08:49:37 GMT", "Retry-After: Sun, 06 Nov 1994 08:50:07 GMT"], 30.0),
    (["Date: Sun, 06 Nov 1994 08:49:37 GMT", "Retry-After: Sun, 06 Nov 1994 08:40:07 GMT"], 1.0),
    (["Retry-After: " + "9" * 1000], 60.0),
])
def test_retry_after_holds_up_to_the_upper_bound(raw, fields, rest):
    es = source(raw)
    raw.accept().reply(b"", *fields, status="503 X")
    assert failed(raw, es).status == 503 and es.retry_in == rest


def test_retry_after_as_a_date_goes_by_this_clock_where_the_server_tells_none():
    due = time.gmtime(time.time() + 100)
    text = time.strftime("%a, %d %b %Y %H:%M:%S GMT", due)
    assert 95 < wanted_rest(Headers([("retry-after", text)])) <= 100


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_anew_each_time(raw, status):
    es = source(raw, "/a")
    for _ in range(2):
        server = raw.accept()
        assert server.reply(b"moved", "Location: /b", status="%d X" % status).target == "/a"
        assert server.request().target == "/b"
        server.send(HEAD)
        raw.until(lambda: es.state is ReconnectState.OPEN)
        server.close()
        failed(raw, es)
        raw.wait(es.retry_in)
    assert es.url.target == "/a"


def test_credentials_do_not_follow_to_another_origin(raw, loop, clock):
    other = Raw(loop, clock)
    try:
        es = source(raw, headers={"Authorization": "Bearer x", "X-Mine": "y"}, last_event_id="3")
        asked = raw.accept().reply(b"", "Location: " + other.url("/there"), status="307 X")
        assert asked["authorization"] == "Bearer x"
        server = other.accept()
        asked = server.request()
        assert "authorization" not in asked and asked["x-mine"] == "y" and asked["last-event-id"] == "3"
        server.send(HEAD)
        raw.until(lambda: es.state is ReconnectState.OPEN)
    finally:
        other.close()


def test_a_redirect_that_does_not_end_is_late(raw):
    es = source(raw, limits={"connect_timeout": 2.0, "answer_timeout": 3.0})
    server = raw.accept()
    server.request()
    server.send(b"HTTP/1.1 302 X\r\nLocation: /b\r\nContent-Length: 100\r\n\r\nmov")
    raw.wait(5.1)
    assert isinstance(failed(raw, es), icey.Deadline) and es.retry_in


def test_redirects_in_a_circle_are_asked_again_later(raw):
    es = source(raw)
    server = raw.accept()
    for _ in range(11):
        server.reply(b"", "Location: /events", status="302 X")
    assert "redirects" in str(failed(raw, es)) and es.retry_in == 1.0


def test_cookies_are_kept(raw):
    es = source(raw)
    server = raw.accept()
    server.request()
    server.send(HEAD[:-2] + b"Set-Cookie: node=3\r\n\r\n")
    raw.until(lambda: es.state is ReconnectState.OPEN)
    server.close()
    failed(raw, es)
    raw.wait(es.retry_in)
    assert raw.accept().request()["cookie"] == "node=3"


def test_an_event_that_is_too_long_ends_it(raw):
    es, server = opened(raw, limits={"max_message": 100})
    server.send(b"id: 1\ndata: x\n\ndata: " + bytes(100) + b"\n\n")
    raw.until(lambda: es.closed)
    assert names(es.data) == ["open", "event", "error", "close"] and isinstance(es.data[2][1], icey.ProtocolError)


# silence

def test_a_silent_stream_lives(raw):
    es, server = opened(raw)
    raw.wait(86400)
    server.send(b"data: x\n\n")
    raw.until(lambda: told(es) == ["x"])


def test_idle_timeout_takes_it_for_dead_and_comments_keep_it(raw):
    es, server = opened(raw, idle_timeout=30.0)
    for _ in range(5):
        raw.wait(29)
        server.send(b":\n")
        raw.turn(3)
    assert es.state is ReconnectState.OPEN
    raw.wait(29)
    assert es.state is ReconnectState.OPEN
    raw.wait(1.1)
    assert isinstance(failed(raw, es), icey.Deadline) and es.state is ReconnectState.WAITING
    assert server.at_reset()
    raw.wait(es.retry_in)
    raw.accept()


def test_a_pause_is_no_silence(raw):
    es, server = opened(raw, idle_timeout=30.0)
    es.pause()
    raw.wait(100)
    assert es.state is ReconnectState.OPEN and es.paused
    server.send(b"data: x\n\n")
    es.resume()
    raw.until(lambda: told(es) == ["x"])
    raw.wait(30.1)
    assert isinstance(failed(raw, es), icey.Deadline)


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="not told here")
def test_the_kernel_probes_the_connection(raw):
    es, server = opened(raw)
    connection, = es.client.pool.connections
    sock = connection.stream.sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    for name, number in PROBES:
        if hasattr(socket, name):
            assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == number


def test_a_socket_that_cannot_be_probed_is_left_alone():
    class Odd:
        def setsockopt(self, *option):
            raise OSError("no such option")

    probe(Odd())
    probe(None)


# back-pressure

def test_pause_in_a_slot_keeps_the_rest_of_the_piece(raw):
    es, server = opened(raw)
    es.on_event += lambda es, event: es.pause()
    server.send(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n")
    raw.until(lambda: told(es))
    raw.turn(5)
    assert told(es) == ["a"] and es.last_event_id == "1"
    es.resume()
    raw.until(lambda: len(told(es)) == 2)
    raw.turn(5)
    assert told(es) == ["a", "b"]
    es.resume()
    es.pause()
    raw.turn(5)
    assert told(es) == ["a", "b"]
    es.resume()
    raw.until(lambda: told(es) == ["a", "b", "c"])


def test_what_a_paused_source_does_not_take_waits_in_the_kernel(raw):
    es, server = opened(raw)
    es.pause()
    piece, sent, full = b"data: " + b"x" * 65530 + b"\n\n", 0, 0
    while full < 5:
        try:
            sent += server.sock.send(piece[sent % len(piece):])
        except BlockingIOError:
            full += 1
            raw.turn(3)
    assert told(es) == [] and sent < 64 << 20
    es.resume()
    server.send(piece[sent % len(piece):])
    raw.until(lambda: len(told(es)) == sent // len(piece) + 1)


def test_the_end_waits_for_the_events_before_it(raw):
    es, server = opened(raw)
    es.on_event += lambda es, event: es.pause()
    server.send(b"data: a\n\ndata: b\n\n")
    server.close()
    raw.until(lambda: told(es))
    raw.wait(100)
    assert names(es.data) == ["open", "event"]
    es.resume()
    raw.until(lambda: len(told(es)) == 2)
    assert names(es.data) == ["open", "event", "event"]
    es.resume()
    raw.until(lambda: "error" in names(es.data))
    assert es.retry_in == 1.0


def test_the_end_of_a_chunked_stream_waits_too(raw):
    es = source(raw)
    server = raw.accept()
    server.request()
    es.on_event += lambda es, event: es.pause()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"12\r\ndata:a\n\ndata: b\n\n\r\n0\r\n\r\n")
    raw.until(lambda: told(es))
    raw.turn(5)
    assert names(es.data) == ["open", "event"]
    es.resume()
    raw.until(lambda: len(told(es)) == 2)
    es.resume()
    raw.until(lambda: "error" in names(es.data))


def test_a_pause_outlives_the_connection_and_opening_is_told(raw):
    es = source(raw, started=False)
    es.pause()
    es.start()
    server = raw.accept()
    server.send(HEAD + b"data: x\n\n")
    raw.until(lambda: es.data)
    raw.turn(5)
    assert names(es.data) == ["open"]
    es.resume()
    raw.until(lambda: told(es) == ["x"])


# slots that raise

def test_a_slot_that_raises_is_told_and_the_stream_goes_on(raw, reports):
    es, server = opened(raw)
    es.on_event += lambda es, event: 1 / 0
    server.send(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n")
    raw.until(lambda: len(told(es)) == 2)
    assert reports == reports and {handle for _, handle in reports} == {es}
    reports.take(ZeroDivisionError, ZeroDivisionError)
    assert es.last_event_id == "2" and es.state is ReconnectState.OPEN


@pytest.mark.parametrize("event", ["open", "error", "close"])
def test_what_other_slots_raise_changes_nothing(raw, reports, event):
    es = source(raw, started=False)
    getattr(es, "on_" + event).attach(lambda es, *rest: 1 / 0)
    es.start()
    server = raw.accept()
    server.send(HEAD + b"data: x\n\n")
    server.close()
    raw.until(lambda: "error" in names(es.data))
    raw.wait(es.retry_in)
    raw.accept()
    es.close()
    raw.until(lambda: es.closed)
    assert names(es.data) == ["open", "event", "error", "close"]
    reports.take(ZeroDivisionError)


@pytest.mark.parametrize("event", ["open", "event", "error"])
def test_an_interrupt_passes_through_and_it_goes_on(raw, event):
    es, struck = source(raw, started=False), []

    def strike(es, *rest):
        if not struck:
            struck.append(1)
            raise KeyboardInterrupt

    getattr(es, "on_" + event).attach(strike)
    es.start()
    server = raw.accept()
    server.send(HEAD + b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n")
    if event == "error":
        raw.until(lambda: len(told(es)) == 2)
        server.close()
    with pytest.raises(KeyboardInterrupt):
        raw.until(lambda: False)
    raw.until(lambda: es.retry_in)
    raw.wait(es.retry_in)
    asked = raw.accept().request()
    assert asked.get("last-event-id", "") == es.last_event_id
    seen = [rest[0].id for name, *rest in es.data if name == "event"]
    assert seen == ["1", "2"][:len(seen)] and es.last_event_id == (["", *seen])[-1]


# the end

def in_state(raw, state):
    """A source in `state`."""
    if state == "NEW":
        return source(raw, started=False)
    es = source(raw)
    if state in ("CONNECTING", "SENT"):
        if state == "SENT":
            raw.accept().request()
        return es
    server = raw.accept()
    server.send(HEAD)
    raw.until(lambda: es.state is ReconnectState.OPEN)
    if state == "PAUSED":
        es.pause()
    if state == "WAITING":
        server.close()
        raw.until(lambda: es.state is ReconnectState.WAITING)
    return es


STATES = ["NEW", "CONNECTING", "SENT", "OPEN", "PAUSED", "WAITING"]


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("state", STATES)
def test_close_in_each_state(raw, state, how):
    es = in_state(raw, state)
    del es.data[:]
    getattr(es, how)()
    assert es.closing and not es.closed and es.data == [] and es.state is ReconnectState.CLOSED
    getattr(es, how)()
    es.pause()
    es.resume()
    raw.turn(3)
    assert names(es.data) == ["close"] and es.closed
    raw.wait(200)
    assert names(es.data) == ["close"] and not raw.loop.handles
    if state in ("OPEN", "PAUSED"):
        assert raw.accepted[-1].at_reset()


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("event", EVENTS)
def test_close_inside_each_slot(raw, event, how):
    es, after = source(raw, started=False), []

    def end(es, *rest):
        getattr(es, how)()
        after.append(len(es.data))

    getattr(es, "on_" + event).attach(end)
    es.start()
    server = raw.accept()
    server.send(HEAD + b"data: x\n\ndata: y\n\n")
    if event in ("error", "close"):
        raw.until(lambda: len(told(es)) == 2)
        server.close()
        if event == "close":
            raw.until(lambda: es.retry_in)
            es.close()
    raw.until(lambda: es.closed)
    raw.wait(200)
    expected = {"open": ["open"], "event": ["open", "event"]}.get(event, ["open", "event", "event", "error"])
    assert names(es.data) == [*expected, "close"] and raw.nobody()


@pytest.mark.parametrize("state", STATES)
def test_the_loops_end_in_each_state(raw, loop, state):
    es = in_state(raw, state)
    del es.data[:]
    for handle in loop.handles:  # without the warning of close()
        if type(handle).__name__ == "EventSource":
            handle.abort()
            break
    else:
        es.close()
    loop.close()
    assert names(es.data) == ["close"] and es.closed


@pytest.mark.parametrize("state", STATES)
def test_the_loops_end_in_each_state_unasked(raw, loop, state, debug):
    es = in_state(raw, state)
    del es.data[:]
    if debug and state in STATES[2:5]:
        with pytest.warns(ResourceWarning):
            loop.close()
    else:
        loop.close()
    assert names(es.data) == (["close"] if state != "NEW" else [])
    es.close()


def test_it_keeps_the_loop_running_unless_unrefed(raw, loop):
    es = in_state(raw, "WAITING")
    assert loop.run_once(0)
    es.unref()
    assert not loop.run_once(0)
    raw.wait(1)
    server = raw.accept()
    server.send(HEAD)
    raw.until(lambda: es.state is ReconnectState.OPEN)
    assert not loop.run_once(0)
    es.ref()
    assert loop.run_once(0)


def test_a_closed_source_is_no_garbage(raw, loop):
    es, server = opened(raw, b"data: x\n\n")
    gone = weakref.ref(es)
    es.close()
    raw.turn(3)
    gc.disable()
    try:
        del es
        if streams.PYPY:
            streams.collect()
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.needs("fork")
def test_a_forked_child_lets_go(raw, loop):
    es, server = opened(raw)

    child = os.fork()
    if not child:
        status = 1
        try:
            loop.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    server.send(b"data: x\n\n")
    raw.until(lambda: told(es) == ["x"])


def test_what_it_is_called(raw):
    es = source(raw)
    assert repr(es) == "<EventSource %s open>" % raw.authority
    assert repr(ServerSentEvent("a", "b", "c")) == "ServerSentEvent('a', 'b', 'c')"
    assert ServerSentEvent("a", "b", "c") == ServerSentEvent("a", "b", "c") != ServerSentEvent("a", "b", "d")
    assert len({ServerSentEvent("a", "b", "c"), ServerSentEvent("a", "b", "c")}) == 1
