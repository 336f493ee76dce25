"""Ends that cross, or come together: several peers at once, errors upon errors, a server that stops; and what is left then."""
import gc
import socket
import weakref

import pytest

import icey
from icey.http import WebSocket
from icey.http.websocket.handshake import accept_key
from tests.support import http, websocket
from tests.support.http import request
from tests.support.streams import turn
from tests.support.websocket import BINARY, CLOSE, HANDSHAKE, PING, TEXT, Chat, Wire, noted

debug, clock, reports, loop, site, host = http.debug, http.clock, http.reports, http.loop, http.site, websocket.host


# broadcasts need no try

LEAVES = {
    "reset": lambda guest: guest.reset(),
    "end": lambda guest: guest.close(),
    "goodbye": lambda guest: guest.bye(1000),
    "broken rule": lambda guest: guest.send(3),
}


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
def test_a_broadcast_in_on_close_reaches_those_that_go_at_the_same_time(site, leave):
    """They go in one turn of the loop: the first one's on_close finds the others on their way out."""
    there, results = [], []

    def prepare(ws):
        def left(ws, code, reason):
            there.remove(ws)
            results.extend(other.send("somebody left") for other in there)
        there.append(ws)
        ws.on_close += left

    chat = Chat(site, prepare)
    guests = [chat.guest() for _ in range(4)]
    for guest in guests[:3]:
        leave(guest)
    site.until(lambda: len(there) == 1)
    assert len(results) == 6 and results.count(True) >= 3
    assert guests[3].read() == (TEXT, b"somebody left")


def test_sends_are_discarded_from_the_error_to_on_close_and_after_it_a_state_error(site):
    chat = Chat(site, lambda ws: None)
    guest = chat.guest()
    results = []

    def slot(ws, *args):
        ws.close()  # no matter, it is over
        results.append((ws.send("x"), ws.send_piece("y")))

    chat.ws.on_error += slot
    guest.reset()
    site.until(lambda: chat.ws.closed)
    assert results == [(False, False)]
    with pytest.raises(icey.StateError):
        chat.ws.send("x")


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_after_ones_own_end_a_send_is_a_state_error_until_on_close_too(site, verb):
    chat = Chat(site, lambda ws: None)
    guest = chat.guest()
    if verb == "close":
        guest.bye(1000)
        site.until(lambda: chat.ws.closing)
        assert chat.ws.send("x") is False
    getattr(chat.ws, verb)()
    with pytest.raises(icey.StateError, match="after close"):
        chat.ws.send("x")
    site.until(lambda: chat.ws.closed)


# errors are told once

def test_an_end_without_goodbye_and_a_reset_behind_it_are_one_error(site):
    chat = Chat(site, lambda ws: None)
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    chat.ws.send(bytes(3000000))
    guest.peer.sock.shutdown(socket.SHUT_WR)
    site.until(lambda: chat.ws.closing)
    guest.reset()
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("error", "PeerClosed"), ("close", 1006, "")]


def test_a_goodbye_whose_answer_finds_nobody(site):
    """The peer says goodbye and is gone before what we had queued, and our goodbye behind it, could go out."""
    chat = Chat(site, lambda ws: None)
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    chat.ws.send(bytes(3000000))
    guest.bye(1000)
    site.until(lambda: chat.ws.closing)
    guest.reset()
    site.until(lambda: chat.ws.closed)
    names = [event[0] for event in chat.events]
    assert names == ["connect", "error", "close"] and chat.events[-1] == ("close", 1006, "")


# what comes behind a goodbye

@pytest.mark.parametrize("behind", [b"", b"garbage " * 20000])
def test_whatever_comes_behind_a_goodbye_is_not_looked_at(site, behind):
    chat = Chat(site)
    guest = chat.guest()
    guest.raw(guest.frame(CLOSE, b"\x0f\xa0bye"))
    site.turn(1)
    try:
        guest.raw(behind + guest.frame(TEXT, b"late"))
    except OSError:
        pass
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("close", 4000, "bye")]
    assert site.gone()


def test_goodbyes_that_cross_with_messages_in_front(site, loop):
    chat = Chat(site, lambda ws: None)
    ws = WebSocket.connect(loop, chat.url)
    events = noted(ws)
    site.until(lambda: events and chat.events)
    for end, code in ((ws, 4001), (chat.ws, 4002)):
        end.send("last words")
        end.close(code)
    site.until(lambda: ws.closed and chat.ws.closed)
    assert events == [("connect",), ("close", 4002, "")] and chat.events == [("connect",), ("close", 4001, "")]
    assert site.gone()


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
@pytest.mark.parametrize("resumed", ["in the slot", "soon", "later"])
def test_paused_at_each_of_a_hundred_messages_none_is_lost_and_the_goodbye_comes_behind_them(site, loop, resumed, leaves):
    def prepare(ws):
        def message(ws, data):
            ws.pause()
            if resumed == "in the slot":
                ws.resume()
            elif resumed == "soon":
                loop.call_soon(ws.resume)
            else:
                loop.call_later(0.01, ws.resume)
        ws.on_message += message

    chat = Chat(site, prepare)
    guest = chat.guest()
    messages = b"".join(guest.frame(TEXT, b"%d" % number) for number in range(100))
    guest.raw(messages + guest.frame(PING, b"?") + guest.frame(CLOSE, b"\x0f\xa0bye"))
    if leaves:
        site.turn(1)
        guest.close()
    site.wait(5.0)
    assert chat.events == [("connect",), *(("message", str(number)) for number in range(100)), ("close", 4000, "bye")]


# a host of ours that breaks off

@pytest.mark.parametrize("how", ["reset", "close"])
def test_an_answer_to_our_handshake_that_is_cut(host, loop, how):
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
    size = len(head % (28 * "x"))
    for at in [*range(0, size, 13), size - 1, size]:
        ws = WebSocket.connect(loop, host.url)
        events = noted(ws)
        host.asked()
        host.wire.raw((head % accept_key(host.head["sec-websocket-key"])).encode()[:at])
        turn(loop, 2)
        getattr(host.wire, how)()
        host.until(lambda ws=ws: ws.closed)
        names = [event[0] for event in events]
        assert names == (["error", "close"] if at < size else ["connect", "error", "close"]), (at, events)


# exceptions, in every slot

@pytest.mark.parametrize("data", ["text", b"binary"])
@pytest.mark.parametrize("final", [False, True])
def test_an_exception_in_on_piece_closes_with_1011(site, reports, data, final):
    def prepare(ws):
        def piece(ws, data, last):
            if last is final:
                raise ZeroDivisionError
        ws.on_piece += piece

    chat = Chat(site, prepare)
    guest = chat.guest()
    guest.raw(guest.frame(TEXT if type(data) is str else BINARY, b"abc") * 2 + guest.frame(PING, b"?"))
    assert guest.read() == (CLOSE, b"\x03\xf3")
    guest.bye(1011)
    site.until(lambda: chat.ws.closed)
    assert reports[0][1] is chat.ws
    reports.take(ZeroDivisionError)


# a server that stops

def test_one_accepted_while_the_server_stops_is_sent_home_too(site):
    kept = []
    site.serve(kept.append)
    client = site.client()
    client.send(request("GET", "/", *HANDSHAKE))
    site.until(lambda: kept)
    site.server.stop()
    site.turn(2)
    ws = WebSocket.accept(kept[0])
    events = noted(ws)
    assert client.answer().status == 101
    guest = Wire(client, True)
    assert guest.read() == (CLOSE, b"\x03\xe9the server stops")
    guest.bye(1001)
    site.until(lambda: ws.closed)
    assert events == [("connect",), ("close", 1001, "")]
    site.until(lambda: site.server.closed)


def test_a_stop_while_a_handshake_of_ours_is_under_way(site, loop):
    chat = Chat(site)
    ws = WebSocket.connect(loop, chat.url)
    events = noted(ws)
    site.until(lambda: site.server.connections_made)
    site.server.stop()
    site.until(lambda: ws.closed)
    assert events[-1][0] == "close" and [event[0] for event in events].count("close") == 1
    site.until(lambda: site.server.closed)


# an answer that had begun

@pytest.mark.parametrize("begin", [lambda exchange: exchange.send_header(), lambda exchange: exchange.send(b"x")],
                         ids=["send_header", "send"])
def test_accept_behind_the_head_of_an_answer_changes_nothing_of_it(site, begin):
    seen = []

    def asked(exchange):
        begin(exchange)
        with pytest.raises(icey.StateError, match="accept"):
            WebSocket.accept(exchange)
        seen.append((exchange.response.status, "upgrade" in exchange.response.headers))
        exchange.end()

    site.serve(asked)
    answer = site.client().get("/", *HANDSHAKE)
    assert answer.status == 200 and "upgrade" not in answer and seen == [(200, False)]


# nothing is left

@pytest.mark.needs("zlib")
@pytest.mark.skipif(not hasattr(gc, "freeze"), reason="this Python does not count references")
@pytest.mark.parametrize("how", ["close", "abort", "goodbye", "reset", "broken rule", "never open"])
@pytest.mark.parametrize("role", ["server", "client"])
def test_none_is_left_for_the_collector(site, loop, host, role, how):
    """With its compression's windows and its buffers it is gone once it is closed and let go of."""
    if role == "server":
        chat = Chat(site, lambda ws: None)
        wire = chat.guest("Sec-WebSocket-Extensions: permessage-deflate")
        ws = chat.sockets.pop()
        chat.exchanges.clear()
        left = weakref.ref(ws)
    else:
        ws = WebSocket.connect(loop, host.url)
        noted(ws)
        left = weakref.ref(ws)
        if how != "never open":
            host.accepts("Sec-WebSocket-Extensions: permessage-deflate")
            wire = host.wire
            host.until(lambda: left().announced)
    gc.disable()
    try:
        if how == "close":
            ws.send("x" * 1000)
            ws.close()
            wire.bye(1000)
            site.turn(3)
            wire.close()
        elif how in ("abort", "never open"):
            ws.abort()
        elif how == "goodbye":
            wire.bye(1000)
            site.turn(3)
            wire.close()
        elif how == "reset":
            wire.reset()
        else:
            wire.send(3)
            site.turn(3)
            wire.close()
        site.until(lambda: left().closed)
        site.wait(30.0)
        del ws
        assert left() is None
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore:loop.close")
@pytest.mark.parametrize("count", [1, 3])
def test_a_loop_that_is_closed_lists_them_in_debug_mode(site, loop, debug, recwarn, count):
    chat = Chat(site, lambda ws: None)
    for _ in range(count):
        chat.guest()
    recwarn.clear()
    loop.close()
    found = [str(one.message) for one in recwarn if one.category is ResourceWarning]
    assert len(found) == debug
    if debug:
        assert found[0].count("TCPSocket") >= count, found
    assert [event[-2:] for event in chat.events if event[0] == "close"] == [(1006, "")] * count
