"""The contracts where WebSockets are concerned: affinity, lent messages, start and send, sends that keep their own, close."""
import struct

import pytest

import icey
from icey.http import WebSocket
from tests.support import http, streams, websocket
from tests.support.loops import in_thread
from tests.support.streams import PYPY
from tests.support.websocket import BINARY, CLOSE, CONTINUATION, TEXT, Chat, noted

debug, clock, reports, loop, site, host = http.debug, http.clock, http.reports, http.loop, http.site, websocket.host
exports = streams.exports

tells = pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")


# 1: loop affinity

CALLS = {
    "send": lambda ws: ws.send("x"),
    "send bytes": lambda ws: ws.send(b"x"),
    "send_piece": lambda ws: ws.send_piece("x"),
    "ping": lambda ws: ws.ping(),
    "close": lambda ws: ws.close(),
    "abort": lambda ws: ws.abort(),
    "pause": lambda ws: ws.pause(),
    "resume": lambda ws: ws.resume(),
    "ref": lambda ws: ws.ref(),
    "unref": lambda ws: ws.unref(),
    "attach": lambda ws: ws.on_message.attach(http.ignore),
    "detach": lambda ws: ws.on_close.detach(http.ignore),
    "connect": lambda ws: WebSocket.connect(ws.loop, "ws://127.0.0.1:1/"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_from_another_thread_is_an_affinity_error(site, debug, call):
    def refused():
        with pytest.raises(icey.AffinityError, match="loop.post") as info:
            call(chat.ws)
        assert ("touched at:" in str(info.value)) is debug
        return True

    chat = Chat(site)
    guest = chat.guest()
    assert in_thread(refused)
    guest.send(TEXT, b"nothing has happened to it")
    assert guest.read() == (TEXT, b"nothing has happened to it")


def test_accepting_is_for_the_loops_thread(site):
    def refused():
        with pytest.raises(icey.AffinityError):
            WebSocket.accept(exchanges[0])
        return True

    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.send(http.request("GET", "/", *websocket.HANDSHAKE))
    site.until(lambda: exchanges)
    assert in_thread(refused)
    WebSocket.accept(exchanges[0])
    assert client.answer().status == 101


def test_loop_post_is_the_door(site, loop):
    chat = Chat(site)
    guest = chat.guest()
    assert in_thread(loop.post, chat.ws.send, "posted")
    assert guest.read() == (TEXT, b"posted")


# 3: receive buffers are borrowed

def whole(guest):
    guest.send(BINARY, b"Hello")


def in_fragments(guest):
    guest.send(BINARY, b"Hel", fin=False)
    guest.send(CONTINUATION, b"lo")


FORMS = pytest.mark.parametrize("form", [whole, in_fragments])
EVENTS = pytest.mark.parametrize("event", ["message", "piece"])


def lent(site, slot, event="message"):
    """(a chat whose binary messages, or pieces, go to `slot(view)`, a guest)"""
    def prepare(ws):
        getattr(ws, "on_" + event).attach(lambda ws, data, *final: slot(data) if len(data) else None)

    chat = Chat(site, prepare)
    return chat, chat.guest()


@FORMS
@EVENTS
def test_a_stashed_view_raises_at_once(site, form, event):
    stashed = []
    chat, guest = lent(site, stashed.append, event)
    form(guest)
    site.until(lambda: stashed)
    for use in (bytes, len, lambda view: view[0], lambda view: view[:2], memoryview):
        with pytest.raises(ValueError, match="released"):
            use(stashed[0])


@FORMS
def test_the_view_is_read_only_and_copies_live(site, form):
    kept = []

    def slot(view):
        assert type(view) is memoryview and view.readonly
        kept.extend([bytes(view), bytearray(view[1:]), view.tobytes()])

    chat, guest = lent(site, slot)
    form(guest)
    site.until(lambda: kept)
    assert kept == [b"Hello", b"ello", b"Hello"]


def test_text_is_yours(site):
    kept = []
    chat = Chat(site, lambda ws: ws.on_message.attach(lambda ws, data: kept.append(data)))
    chat.guest().send(TEXT, b"Hello")
    site.until(lambda: kept)
    assert kept == ["Hello"]


def broken(site, chat, reports):
    """A BorrowError was reported with the WebSocket, which was aborted; the server goes on."""
    site.until(lambda: chat.ws.closed)
    assert reports[0][1] is chat.ws
    text = str(reports.take(icey.BorrowError)[0])
    assert "outlived its callback" in text and "Contract: receive buffers are borrowed." in text
    assert chat.events[-1] == ("close", 1006, "")
    assert chat.guest()
    return text


@tells
@FORMS
@EVENTS
def test_a_kept_export_is_a_borrow_error_in_release_too(site, reports, exports, form, event):
    chat, guest = lent(site, lambda view: exports.append(struct.iter_unpack("B", view)), event)
    form(guest)
    assert "test_websocket_contracts.py" in broken(site, chat, reports)


@tells
@pytest.mark.parametrize("keep", [lambda view: view[1:3], lambda view: view.cast("b"), memoryview])
def test_in_debug_mode_slices_and_casts_that_escaped_are_found_too(site, reports, debug, keep):
    kept = []
    chat, guest = lent(site, lambda view: kept.append(keep(view)))
    whole(guest)
    site.until(lambda: kept)
    if debug:
        broken(site, chat, reports)
    else:
        guest.send(BINARY, b"Hello")
        site.until(lambda: len(kept) == 2)


@tells
def test_a_kept_view_and_an_exception_are_both_reported(site, reports, exports):
    def slot(view):
        exports.append(struct.iter_unpack("B", view))
        raise ZeroDivisionError

    chat, guest = lent(site, slot)
    whole(guest)
    site.until(lambda: chat.ws.closed)
    reports.take(ZeroDivisionError, icey.BorrowError)


def test_a_large_message_is_lent_as_a_small_one(site, reports, debug):
    kept = []
    chat, guest = lent(site, lambda view: kept.append(view[:2]))
    guest.send(BINARY, bytes(300000))
    site.until(lambda: kept)
    if debug and not PYPY:
        broken(site, chat, reports)


# 4: sends keep their own

@pytest.mark.parametrize("verb", ["send", "send_piece"])
def test_what_is_sent_may_be_changed_at_once(site, verb):
    chat = Chat(site, lambda ws: None)
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    data = bytearray(b"x" * 300000)
    getattr(chat.ws, verb)(data)
    data[:] = bytes(len(data))
    assert guest.read_frame()[3] == b"x" * 300000


def test_a_lent_view_may_be_sent(site):
    chat, guest = lent(site, lambda view: chat.ws.send(view))
    guest.send(BINARY, b"Hello")
    assert guest.read() == (BINARY, b"Hello")


# start, then send

def test_send_before_on_connect_and_after_close_is_a_state_error(host):
    ws = WebSocket.connect(host.loop, host.url)
    events = noted(ws)
    calls = (lambda: ws.send("x"), lambda: ws.send_piece("x"), ws.ping)
    seen = []

    def refused(contract="close is asynchronous"):
        for call in calls:
            with pytest.raises(icey.StateError, match=contract):
                call()
        seen.append(ws.state.value)

    refused("start, then send")
    host.accepts()
    host.until(lambda: events)
    ws.on_close += lambda *args: refused()
    ws.close()
    refused()
    host.wire.bye(1000)
    host.wire.close()
    host.until(lambda: ws.closed)
    refused()
    assert seen == ["connecting", "closing", "closed", "closed"]


# 6: close is asynchronous

ENDS = {
    "close": lambda ws, guest: ws.close(),
    "abort": lambda ws, guest: ws.abort(),
    "close, then abort": lambda ws, guest: (ws.close(), ws.abort()),
    "the peer's goodbye": lambda ws, guest: guest.bye(1000),
    "a broken rule": lambda ws, guest: guest.send(3),
    "the connection": lambda ws, guest: ws.stream.close(),
    "the server": lambda ws, guest: ws.guests and guest.peer.loop.call_soon(ws.close),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_on_close_comes_once_from_the_loop_never_inside_a_call(site, end):
    chat = Chat(site, lambda ws: None)
    guest = chat.guest()
    seen = []
    chat.ws.on_close += lambda ws, code, reason: seen.append((ws.closing, ws.closed, type(code), type(reason)))
    end(chat.ws, guest)
    assert seen == []
    site.wait(10.0)
    assert seen == [(True, True, int, str)]
    for call in (chat.ws.close, chat.ws.abort, chat.ws.pause, chat.ws.resume, chat.ws.close):
        call()
    guest.close()
    site.server.close()
    site.turn(5)
    assert len(seen) == 1


def test_close_lets_what_is_queued_drain(site):
    chat = Chat(site, lambda ws: None)
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    chat.ws.send(bytes(300000))
    chat.ws.close(1000, "and that was all")
    assert guest.read() == (BINARY, bytes(300000))
    assert guest.read() == (CLOSE, b"\x03\xe8and that was all")


def test_abort_waits_for_nothing(site):
    chat = Chat(site, lambda ws: None)
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    chat.ws.send(bytes(3000000))
    chat.ws.abort()
    assert site.gone()
    try:
        assert len(guest.peer.read_all()) < 3000000
    except ConnectionResetError:
        pass
