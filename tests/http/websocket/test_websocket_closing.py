"""How a WebSocket ends: the close handshake in every order, its deadline, broken rules, broken connections."""
import os

import pytest

import icey
from icey.http import WebSocket, WebSocketState
from tests.fuzz.frames import KEY, closing
from tests.support import http, websocket
from tests.support.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Chat, frame, noted

debug, clock, reports, loop, site, host = http.debug, http.clock, http.reports, http.loop, http.site, websocket.host


def opened(host, **options):
    """(a client of ours that is open, what it tells)"""
    ws = host.connects(**options)
    events = noted(ws)
    host.until(lambda: events)
    return ws, events


# the close handshake

def test_a_server_says_goodbye_first(site):
    chat = Chat(site)
    guest = chat.guest()
    chat.ws.close(4001, "enough")
    assert chat.ws.closing and not chat.ws.closed and chat.ws.state is WebSocketState.CLOSING
    assert guest.read() == (CLOSE, b"\x0f\xa1enough")
    site.wait(1.0)
    assert chat.events == [("connect",)]
    guest.bye(4001, b"bye")
    assert guest.ended()  # the server closes at once
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("close", 4001, "bye")]
    assert chat.ws.state is WebSocketState.CLOSED and site.gone()


def test_a_servers_peer_says_goodbye_first(site):
    chat = Chat(site)
    guest = chat.guest()
    guest.bye(3000, b"bye")
    assert guest.read() == (CLOSE, b"\x0b\xb8")
    assert guest.ended()
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("close", 3000, "bye")]


def test_a_client_says_goodbye_first_and_waits_for_the_servers_end(host):
    ws, events = opened(host)
    ws.close()
    assert host.wire.read() == (CLOSE, b"\x03\xe8")
    host.wire.bye(1000, b"bye")
    host.wait(1.0)
    assert events == [("connect",)] and ws.state is WebSocketState.CLOSING
    host.wire.close()
    host.until(lambda: ws.closed)
    assert events == [("connect",), ("close", 1000, "bye")]


def test_a_clients_peer_says_goodbye_first(host):
    ws, events = opened(host)
    host.wire.bye(1001, b"off")
    assert host.wire.read() == (CLOSE, b"\x03\xe9")
    assert host.wire.silent()  # it is for the server to close
    host.wire.close()
    host.until(lambda: ws.closed)
    assert events == [("connect",), ("close", 1001, "off")]


def test_both_at_once(site, loop):
    chat = Chat(site)
    ws = WebSocket.connect(loop, chat.url)
    events = noted(ws)
    site.until(lambda: ws.announced)
    ws.close(4001, "client")
    chat.ws.close(4002, "server")
    site.until(lambda: ws.closed and chat.ws.closed)
    assert events[-1] == ("close", 4002, "server") and chat.events[-1] == ("close", 4001, "client")
    assert [event[0] for event in events + chat.events] == ["connect", "close"] * 2


def test_a_close_frame_without_a_code_is_1005_and_answered_alike(site, host):
    chat = Chat(site)
    guest = chat.guest()
    guest.bye()
    assert guest.read() == (CLOSE, b"") and guest.ended()
    site.until(lambda: chat.ws.closed)
    assert chat.events[-1] == ("close", 1005, "")
    ws, events = opened(host)
    host.wire.bye()
    assert host.wire.read() == (CLOSE, b"")
    host.wire.close()
    host.until(lambda: ws.closed)
    assert events[-1] == ("close", 1005, "")


def test_what_came_before_the_close_frame_is_told_what_comes_behind_is_not(site):
    chat = Chat(site)
    guest = chat.guest()
    guest.raw(guest.frame(TEXT, b"one") + guest.frame(PING, b"?") + frame(CLOSE, b"\x03\xe8", key=websocket.frames.KEY)
              + guest.frame(TEXT, b"two"))
    assert [guest.read() for _ in range(3)] == [(TEXT, b"one"), (PONG, b"?"), (CLOSE, b"\x03\xe8")]
    assert site.gone()
    site.turn(2)
    assert chat.events == [("connect",), ("message", "one"), ("close", 1000, "")]


def test_a_close_frame_inside_a_message_is_answered_with_its_own_code(site):
    chat = Chat(site)
    guest = chat.guest()
    guest.send(TEXT, b"half", fin=False)
    guest.bye(1000)
    assert guest.read() == (CLOSE, b"\x03\xe8")
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("close", 1000, "")]


def test_after_close_nothing_is_told_and_the_peers_messages_are_dropped(site):
    chat = Chat(site)
    guest = chat.guest()
    chat.ws.close()
    for opcode in (TEXT, BINARY, PING, PONG):
        guest.send(opcode, b"late")
    guest.send(TEXT, b"in ", fin=False)
    guest.send(CONTINUATION, b"pieces")
    assert guest.read() == (CLOSE, b"\x03\xe8")
    assert guest.silent()
    guest.bye(1000)
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("close", 1000, "")]


def test_close_in_the_slot_of_a_burst(site):
    def prepare(ws):
        def message(ws, data):
            ws.send("last")
            ws.close(1000, "done")
        ws.on_message += message

    chat = Chat(site, prepare)
    guest = chat.guest()
    guest.raw(guest.frame(TEXT, b"1") + guest.frame(TEXT, b"2") + guest.frame(PING))
    assert [guest.read(), guest.read()] == [(TEXT, b"last"), (CLOSE, b"\x03\xe8done")]
    guest.bye(1000)
    assert guest.ended()
    assert chat.events[:2] == [("connect",), ("message", "1")] and len(chat.events) <= 3


def test_close_of_one_that_is_paused_reads_on_for_the_peers(site):
    chat = Chat(site)
    guest = chat.guest()
    chat.ws.pause()
    guest.send(TEXT, b"unread")
    site.wait(1.0)
    chat.ws.close()
    guest.bye(1000, b"here")
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("close", 1000, "here")]


def test_close_of_one_that_held_a_burst_back(site):
    def prepare(ws):
        ws.on_message += lambda ws, data: ws.pause()

    chat = Chat(site, prepare)
    guest = chat.guest()
    guest.raw(guest.frame(TEXT, b"1") + guest.frame(TEXT, b"2") + frame(CLOSE, b"\x0f\xa0", key=websocket.frames.KEY))
    site.until(lambda: len(chat.events) == 2)
    site.wait(1.0)
    chat.ws.close()
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("message", "1"), ("close", 4000, "")]


@pytest.mark.parametrize("code, reason", [
    (999, ""), (1004, ""), (1005, ""), (1006, ""), (1015, ""), (2999, ""), (5000, ""), ("1000", ""),
    (1000, "x" * 124), (1000, "\ud800"),
])
def test_a_close_that_cannot_be_said_changes_nothing(site, code, reason):
    chat = Chat(site)
    guest = chat.guest()
    with pytest.raises(ValueError):
        chat.ws.close(code, reason)
    assert not chat.ws.closing
    guest.send(TEXT, b"alive")
    assert guest.read() == (TEXT, b"alive")


def test_with_closes(site):
    chat = Chat(site)
    guest = chat.guest()
    with chat.ws as ws:
        ws.send("inside")
    assert [guest.read(), guest.read()] == [(TEXT, b"inside"), (CLOSE, b"\x03\xe8")]


# the deadline

@pytest.mark.parametrize("limit", [5.0, 0.5])
def test_a_peer_that_does_not_answer_ours_is_left(site, limit):
    chat = Chat(site, limits={"close_timeout": limit})
    guest = chat.guest()
    chat.ws.close()
    assert guest.read()
    site.wait(limit - 0.1)
    assert not chat.ws.closed
    site.wait(0.2)
    assert chat.ws.closed and chat.events == [("connect",), ("close", 1006, "")]
    assert site.gone()


def test_no_deadline(site):
    chat = Chat(site, limits={"close_timeout": None})
    guest = chat.guest()
    chat.ws.close()
    site.wait(1000.0)
    assert not chat.ws.closed
    assert guest.read()
    guest.bye(1000)
    site.until(lambda: chat.ws.closed)


def test_a_server_that_does_not_close_is_left_by_the_client(host):
    ws, events = opened(host)
    host.wire.bye(1000, b"bye")
    host.wait(4.9)
    assert not ws.closed
    host.wait(0.2)
    assert ws.closed and events == [("connect",), ("close", 1000, "bye")]


def test_the_clients_deadline_counts_from_its_own_goodbye(host):
    ws, events = opened(host)
    ws.close()
    host.wait(3.0)
    host.wire.bye(1000)
    host.wait(2.1)
    assert ws.closed and events[-1] == ("close", 1000, "")


# broken rules

BROKEN = [
    (1002, {"opcode": 3}),
    (1002, {"opcode": TEXT, "rsv": 4}),
    (1002, {"opcode": CONTINUATION}),
    (1002, {"opcode": PING, "fin": False}),
    (1002, {"opcode": CLOSE, "payload": b"\x03"}),
    (1002, {"opcode": CLOSE, "payload": b"\x03\xec"}),
    (1007, {"opcode": TEXT, "payload": b"\xff"}),
    (1007, {"opcode": CLOSE, "payload": b"\x03\xe8\xff"}),
    (1009, {"opcode": BINARY, "length": (1 << 40, 8)}),
]


@pytest.mark.parametrize("code, options", BROKEN)
def test_a_guest_that_breaks_a_rule_is_told_which(site, code, options):
    chat = Chat(site)
    errors = []
    guest = chat.guest()
    chat.ws.on_error += lambda ws, exc: errors.append((type(exc), exc.close_code))
    guest.raw(guest.frame(TEXT, b"good") + guest.frame(**options) + guest.frame(TEXT, b"not looked at"))
    assert guest.read() == (TEXT, b"good")
    opcode, payload = guest.read()
    assert (opcode, payload[:2]) == (CLOSE, code.to_bytes(2, "big")) and payload[2:].decode()
    assert guest.ended()
    site.until(lambda: chat.ws.closed)
    assert errors == [(icey.WebSocketError, code)]
    assert chat.events == [("connect",), ("message", "good"), ("error", "WebSocketError"), ("close", 1006, "")]
    guest.close()
    assert site.gone()


@pytest.mark.parametrize("code, options", BROKEN)
def test_a_host_that_breaks_a_rule_is_told_which(host, loop, code, options):
    ws, events = opened(host)
    host.wire.send(**options)
    opcode, payload = host.wire.read()
    assert (opcode, payload[:2]) == (CLOSE, code.to_bytes(2, "big"))
    assert host.wire.ended()
    host.until(lambda: ws.closed)
    assert events == [("connect",), ("error", "WebSocketError"), ("close", 1006, "")]
    host.wire.close()
    host.until(lambda: not loop.handles)


def test_an_unmasked_frame(site):
    chat = Chat(site)
    guest = chat.guest()
    guest.raw(frame(TEXT, b"Hello"))
    assert guest.read()[1][:2] == b"\x03\xea"


def test_a_peer_that_is_in_the_midst_of_sending_gets_the_close_frame_whole(site):
    """Closing at once would reset the connection, and the close frame with it."""
    chat = Chat(site, limits={"max_message": 1000})
    guest = chat.guest()
    wire = guest.frame(BINARY, bytes(5000000))
    guest.peer.send(wire)  # all of it is taken, and dropped
    opcode, payload = guest.read()
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xf1")
    assert guest.ended()
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("error", "WebSocketError"), ("close", 1006, "")]
    guest.close()
    assert site.gone()


def test_on_close_does_not_wait_for_a_peer_that_goes_on_sending(site):
    chat = Chat(site)
    guest = chat.guest()
    guest.raw(b"\x83\x80\0\0\0\0")
    site.until(lambda: chat.ws.closed)
    for _ in range(4):
        guest.send(TEXT, b"more")
        site.wait(1.0)
        assert len(site.server.connections) == 1
    site.wait(1.1)
    assert site.gone()  # the deadline
    assert chat.events == [("connect",), ("error", "WebSocketError"), ("close", 1006, "")]


def test_what_was_queued_before_the_rule_was_broken_goes_out_too(site):
    chat = Chat(site)
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    chat.ws.send(bytes(300000))
    guest.send(3)
    site.until(lambda: chat.ws.closed)
    site.wait(4.0)
    assert guest.read() == (BINARY, bytes(300000))
    assert guest.read()[1][:2] == b"\x03\xea"
    guest.reset()
    assert site.gone()
    assert chat.events == [("connect",), ("error", "WebSocketError"), ("close", 1006, "")]


def test_a_peer_that_broke_a_rule_and_reads_slowly_has_its_time_once_all_is_out(site):
    """The deadline counts from what the kernel took last, not from what it had taken when the deadline was set."""
    chat = Chat(site)
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    chat.ws.send(bytes(100000))
    guest.send(3)
    site.until(lambda: chat.ws.closed)
    stream, = [handle for handle in site.loop.handles if getattr(handle, "unsent", False)]
    while stream.unsent:
        site.wait(2.0)
        guest.peer.read(20000 if stream.unsent else 1)
    site.wait(4.0)
    assert site.server.connections
    site.wait(1.5)
    assert site.gone()
    guest.close()


def test_the_loop_goes_on_until_a_peer_that_broke_a_rule_is_gone(host, loop):
    """run() of a program whose only socket this was must not end before the close frame is out."""
    ws, events = opened(host)
    host.wire.send(3)
    loop.run()
    assert ws.closed and host.clock() >= 1004.9 and loop.handles == ()
    assert host.wire.read()[0] == CLOSE


def test_an_unreffed_one_does_not_keep_it_going(host, loop):
    ws, events = opened(host)
    ws.unref()
    host.wire.send(3)
    host.until(lambda: ws.closed)
    loop.run()
    assert host.clock() < 1001.0


def test_a_broken_rule_while_closing(site):
    chat = Chat(site)
    guest = chat.guest()
    chat.ws.close(1000)
    guest.send(3)
    assert guest.read() == (CLOSE, b"\x03\xe8")
    assert guest.ended()
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("error", "WebSocketError"), ("close", 1006, "")]


def test_sends_are_discarded_between_the_error_and_on_close(site):
    chat = Chat(site)
    guest = chat.guest()
    results = []

    def error(ws, exc):
        assert ws.closing and not ws.closed
        results.extend([ws.send("x"), ws.send_piece("x"), ws.ping()])

    chat.ws.on_error += error
    guest.send(3)
    site.until(lambda: chat.ws.closed)
    assert results == [False, False, None]


def test_sends_are_discarded_while_the_peer_is_leaving(host):
    ws, events = opened(host)
    host.wire.bye(1000)
    host.until(lambda: ws.closing)
    assert ws.send("too late") is False
    ws.close()  # now it is ours, too
    with pytest.raises(icey.StateError, match="after close"):
        ws.send("x")
    host.wire.close()
    host.until(lambda: ws.closed)
    assert events[-1] == ("close", 1000, "")


# broken connections

@pytest.mark.parametrize("end", ["close", "reset", "half"])
@pytest.mark.parametrize("inside", [b"", b"\x01", b"\x81\x85\0\0\0\0Hel"])
def test_a_guest_that_goes_without_a_word(site, end, inside):
    chat = Chat(site)
    guest = chat.guest()
    guest.send(TEXT, b"Hello")
    assert guest.read() == (TEXT, b"Hello")
    guest.raw(inside)
    site.turn(2)
    guest.peer.half_close() if end == "half" else getattr(guest, end)()
    site.until(lambda: chat.ws.closed)
    kind = "ConnectionResetError" if end == "reset" else "PeerClosed"
    assert chat.events[2:] == [("error", kind), ("close", 1006, "")]
    assert site.gone()


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_host_that_goes_without_a_word(host, loop, end):
    ws, events = opened(host)
    getattr(host.wire, end)()
    host.until(lambda: ws.closed)
    assert events[1:] == [("error", "ConnectionResetError" if end == "reset" else "PeerClosed"), ("close", 1006, "")]
    host.until(lambda: not loop.handles)


def test_a_host_that_ends_without_answering_our_goodbye(host):
    ws, events = opened(host)
    ws.close()
    host.wire.close()
    host.until(lambda: ws.closed)
    assert events == [("connect",), ("close", 1006, "")]


def test_the_last_words_of_a_peer_whose_connection_broke_are_heard(site, loop):
    """It said goodbye and reset; we learned of that by sending, with its goodbye unread."""
    chat = Chat(site)
    guest = chat.guest()
    stream = chat.ws.stream
    guest.send(TEXT, b"last words")
    guest.bye(4000, b"bye")
    guest.close()
    real, stream.sock = stream.sock, Broken(stream.sock)
    chat.ws.on_message.detach_all()
    seen = noted(chat.ws, [], but=("connect",))
    assert chat.ws.send("anybody?") is False
    site.until(lambda: chat.ws.closed)
    assert seen == [("message", "last words"), ("close", 4000, "bye")]
    stream.sock = real


def test_the_last_words_behind_a_burst_that_held_the_stream_are_heard_too(site, loop):
    """More frames than a turn takes, and more bytes than one read, when sending fails."""
    chat = Chat(site)
    guest = chat.guest()
    stream = chat.ws.stream
    guest.peer.sock.sendall(b"".join(guest.frame(TEXT, b"%0100d" % number) for number in range(900)))
    guest.bye(4000, b"bye")
    guest.close()
    real, stream.sock = stream.sock, Broken(stream.sock)
    chat.ws.on_message.detach_all()
    seen = noted(chat.ws, [], but=("connect",))
    chat.ws.on_message.attach(lambda ws, data: ws.send("anybody?"), once=True)
    site.until(lambda: chat.ws.closed)
    assert seen == [("message", "%0100d" % number) for number in range(900)] + [("close", 4000, "bye")]
    stream.sock = real


class Broken:
    """A socket that cannot send any more."""

    def __init__(self, sock):
        self._sock = sock

    def send(self, data):
        raise BrokenPipeError(32, "Broken pipe")

    def __getattr__(self, name):
        return getattr(self._sock, name)


@pytest.mark.parametrize("last", [b"", b"\x81\x85\0\0\0\0Hel", b"\x83\x80\0\0\0\0"])
def test_a_transport_error_is_told(site, last):
    chat = Chat(site)
    guest = chat.guest()
    stream = chat.ws.stream
    real, stream.sock = stream.sock, Broken(stream.sock)
    if last:
        guest.peer.sock.send(last)
    assert chat.ws.send("x") is False
    assert chat.ws.send("x") is False  # and discarded from now on
    site.until(lambda: chat.ws.closed)
    kind = "WebSocketError" if last[:1] == b"\x83" else "BrokenPipeError"
    assert chat.events[1:] == [("error", kind), ("close", 1006, "")]
    stream.sock = real


def test_the_last_words_of_one_that_is_paused_are_not_waited_for(site):
    chat = Chat(site)
    guest = chat.guest()
    chat.ws.pause()
    guest.send(TEXT, b"unread")
    stream = chat.ws.stream
    real, stream.sock = stream.sock, Broken(stream.sock)
    chat.ws.send("x")
    site.until(lambda: chat.ws.closed)
    assert chat.events[1:] == [("error", "BrokenPipeError"), ("close", 1006, "")]
    stream.sock = real


def test_a_goodbye_drains_to_a_reader_of_whom_only_the_system_knows(site, send_queues):
    chat = Chat(site, limits={"close_timeout": 3.0})
    guest = chat.guest()
    send_queues[None] = 100000
    chat.ws.send(bytes(30000))
    chat.ws.close()
    for held in range(99999, 99990, -1):
        site.wait(2.9)
        send_queues[None] = held
    assert not chat.ws.closed
    assert guest.read() == (BINARY, bytes(30000)) and guest.read() == (CLOSE, b"\x03\xe8")
    guest.bye(1000)
    assert guest.ended()
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("close", 1000, "")]


def test_a_goodbye_whose_answer_came_while_a_slot_held_the_loop(site, loop, clock):
    chat = Chat(site, limits={"close_timeout": 3.0})
    guest = chat.guest()
    chat.ws.close(4000)
    assert guest.read() == (CLOSE, b"\x0f\xa0")

    def hold():
        guest.peer.sock.send(closing(4000, b"bye", key=KEY))
        clock.advance(60.0)

    loop.call_soon(hold)
    site.until(lambda: chat.ws.closed)
    assert guest.ended()
    assert chat.events == [("connect",), ("close", 4000, "bye")]


def test_a_goodbye_whose_wait_ends_by_a_broken_rule(site, loop, clock):
    chat = Chat(site, limits={"close_timeout": 3.0})
    guest = chat.guest()
    chat.ws.close()

    def hold():
        guest.peer.sock.send(guest.frame(TEXT, b"?", rsv=7))
        clock.advance(60.0)

    loop.call_soon(hold)
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("error", "WebSocketError"), ("close", 1006, "")]


def test_a_goodbye_that_is_taken_and_not_answered_is_an_end(site):
    """Who has our close frame has all that came before: a reset would only take that away again."""
    chat = Chat(site, limits={"close_timeout": 3.0})
    guest = chat.guest()
    chat.ws.send("last words")
    chat.ws.close()
    site.wait(3.1)
    assert chat.ws.closed and chat.events == [("connect",), ("close", 1006, "")]
    assert guest.read() == (TEXT, b"last words") and guest.read() == (CLOSE, b"\x03\xe8") and guest.ended()


def test_but_one_that_is_still_on_its_way_is_cut(site, send_queues):
    chat = Chat(site, limits={"close_timeout": 3.0})
    guest = chat.guest()
    chat.ws.send("last words")
    send_queues[None] = 16
    chat.ws.close()
    site.wait(3.1)
    assert chat.ws.closed and chat.events == [("connect",), ("close", 1006, "")]
    with pytest.raises(ConnectionResetError):
        guest.peer.read_all()


def test_a_goodbye_that_nobody_takes_ends_by_a_reset(site, send_queues):
    send_queues.real()  # the look before the deadline falls has the kernel take a bit, which is not the peer's doing
    chat = Chat(site, limits={"close_timeout": 3.0})
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    chat.ws.send(bytes(1000000))
    chat.ws.close()
    site.wait(12.0)  # some times close_timeout: what was taken before may be acknowledged late, in real time
    assert chat.ws.closed and chat.events == [("connect",), ("error", "Deadline"), ("close", 1006, "")]
    with pytest.raises(ConnectionResetError):
        guest.peer.read_all()


# abort, and others that close

@pytest.mark.parametrize("said", [False, True])
def test_abort_tells_on_close_only(site, said):
    chat = Chat(site)
    guest = chat.guest()
    if said:
        chat.ws.close()
    chat.ws.abort()
    assert chat.ws.closing and not chat.ws.closed
    chat.ws.abort()
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("close", 1006, "")]
    if said:
        assert guest.read() == (CLOSE, b"\x03\xe8")
    assert guest.at_reset()
    assert site.gone()


@pytest.mark.parametrize("opcode, payload", [(TEXT, b"2"), (CLOSE, b"\x03\xe8"), (3, b"none")],
                         ids=["message", "goodbye", "broken"])
def test_abort_in_a_slot_ends_the_burst(site, opcode, payload):
    """What came behind it in the same read is not looked at any more: it would end in order, or linger."""
    def prepare(ws):
        ws.on_message += lambda ws, data: ws.abort()

    chat = Chat(site, prepare)
    guest = chat.guest()
    guest.raw(guest.frame(TEXT, b"1") + guest.frame(opcode, payload))
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("message", "1"), ("close", 1006, "")]
    assert guest.at_reset() and site.gone()


def test_a_server_that_stops_says_1001(site):
    chat = Chat(site)
    guests = [chat.guest() for _ in range(3)]
    closed = []
    site.server.on_close += closed.append
    site.server.stop(5.0)
    for guest in guests:
        assert guest.read() == (CLOSE, b"\x03\xe9the server stops")
        guest.send(TEXT, b"late")
        guest.bye(1001)
        assert guest.ended()
    site.until(lambda: closed)
    assert chat.events == [("connect",)] * 3 + [("close", 1001, "")] * 3


def test_a_server_that_stops_leaves_those_that_do_not_answer(site):
    chat = Chat(site, limits={"close_timeout": 60.0})
    guest = chat.guest()
    site.server.stop(5.0)
    site.wait(4.9)
    assert not chat.ws.closed
    site.wait(0.2)
    assert chat.ws.closed and chat.events == [("connect",), ("close", 1006, "")]
    assert guest.read()[0] == CLOSE


def test_slots_of_on_shutdown_may_still_say_goodbye(site):
    chat = Chat(site)
    site.server.on_shutdown += lambda server: chat.ws.send("good")
    guest = chat.guest()
    site.server.on_shutdown += lambda server: chat.ws.send("bye")  # attached behind ours
    site.server.stop(5.0)
    assert [guest.read(), guest.read()] == [(TEXT, b"good"), (TEXT, b"bye")]
    assert guest.read()[0] == CLOSE


def test_a_server_that_stops_leaves_those_that_are_closing_alone(site):
    chat = Chat(site)
    guest = chat.guest()
    chat.ws.close(4000)
    site.server.stop(5.0)
    assert guest.read() == (CLOSE, b"\x0f\xa0")
    guest.bye(4000)
    assert guest.ended()


def test_those_that_are_gone_are_not_held(site):
    chat = Chat(site)
    guests = [chat.guest() for _ in range(5)]
    there = chat.ws.guests.there
    assert len(there) == 5 and len(site.server.on_shutdown) == 1
    for guest in guests:
        guest.bye(1000)
    site.until(lambda: not there)


def test_a_server_that_is_closed_aborts_them(site):
    chat = Chat(site)
    guest = chat.guest()
    site.server.close()
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("close", 1006, "")]
    assert guest.at_reset()


@pytest.mark.parametrize("verb", ["close", "abort"])
@pytest.mark.parametrize("in_a_slot", [False, True])
def test_closing_the_connection_under_it(site, verb, in_a_slot):
    def close(*args):
        chat.ws.send("x")
        getattr(chat.exchanges[0].connection, verb)()
        chat.ws.close()

    chat = Chat(site, lambda ws: ws.on_pong.attach(close))
    guest = chat.guest()
    guest.send(PONG)
    if not in_a_slot:
        chat.ws.on_pong.detach_all()
        site.turn(2)
        close()
        assert guest.read() == (TEXT, b"x")
    site.until(lambda: chat.ws.closed)
    chat.events[:] = [event for event in chat.events if event[0] != "pong"]
    assert guest.ended() if verb == "close" else guest.at_reset()
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("close", 1006, "")]


def test_a_ping_that_is_due_on_a_connection_that_was_closed_under_it(site):
    chat = Chat(site, ping_interval=1.0, limits={"close_timeout": 60.0})
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    chat.ws.send(bytes(300000))
    chat.exchanges[0].connection.close()
    site.wait(3.0)
    assert guest.read() == (BINARY, bytes(300000))
    assert guest.ended()


# exceptions in slots

@pytest.mark.parametrize("data", [b"text", b"\xff binary"])
def test_an_exception_in_on_message_closes_with_1011(site, reports, data):
    def prepare(ws):
        def message(ws, data):
            raise ZeroDivisionError
        ws.on_message += message

    chat = Chat(site, prepare)
    guest = chat.guest()
    opcode = TEXT if data == b"text" else BINARY
    guest.raw(guest.frame(opcode, data) * 2)
    assert guest.read() == (CLOSE, b"\x03\xf3")
    assert reports[0][1] is chat.ws
    reports.take(ZeroDivisionError)
    guest.bye(1011)
    site.until(lambda: chat.ws.closed)
    assert len(chat.events) == 3 and chat.events[-1] == ("close", 1011, "")


@pytest.mark.parametrize("event", ["connect", "pong", "drain", "piece"])
def test_an_exception_in_another_slot_does_too(site, reports, event):
    def prepare(ws):
        def slot(*args):
            raise ZeroDivisionError
        getattr(ws, "on_" + event).attach(slot)

    chat = Chat(site, prepare)
    guest = chat.guest(receive=4096)
    if event == "drain":
        http.narrow(chat.exchanges[0])
        chat.ws.send(bytes(300000))
    guest.send(PONG)
    guest.send(TEXT, b"x")
    frame = guest.read()
    if event == "drain":
        frame = guest.read()
    assert frame == (CLOSE, b"\x03\xf3")
    reports.take(ZeroDivisionError)


def test_an_exception_in_on_error_or_on_close_is_reported_and_that_is_all(site, reports):
    def prepare(ws):
        def slot(*args):
            raise ZeroDivisionError
        ws.on_error += slot
        ws.on_close += slot

    chat = Chat(site, prepare)
    chat.guest().close()
    site.until(lambda: len(reports) == 2)
    assert chat.events[1:] == [("error", "PeerClosed"), ("close", 1006, "")]
    reports.take(ZeroDivisionError, ZeroDivisionError)


def test_a_keyboard_interrupt_passes_through_and_aborts(site, loop):
    def prepare(ws):
        def message(ws, data):
            raise KeyboardInterrupt
        ws.on_message += message

    chat = Chat(site, prepare)
    guest = chat.guest()
    guest.peer.sock.send(guest.frame(TEXT, b"1") + guest.frame(TEXT, b"2"))
    with pytest.raises(KeyboardInterrupt):
        site.wait(1.0)
    site.until(lambda: chat.ws.closed)
    assert chat.events == [("connect",), ("message", "1"), ("close", 1006, "")]


# the loop's end

@pytest.mark.filterwarnings("ignore:loop.close")
@pytest.mark.parametrize("state", ["connecting", "open", "closing", "failed"])
def test_a_loop_that_is_closed_closes_them(site, loop, state):
    chat = Chat(site)
    ws = WebSocket.connect(loop, chat.url)
    events = noted(ws)
    if state != "connecting":
        site.until(lambda: ws.announced)
    if state == "closing":
        ws.close()
    elif state == "failed":
        ws.connection.lose(icey.Deadline("as if"))
    loop.close()
    assert ws.closed and events[-1] == ("close", 1006, "")
    assert [event[0] for event in events].count("close") == 1
    if chat.sockets:
        assert chat.ws.closed and chat.events[-1] == ("close", 1006, "")
    with pytest.raises(icey.StateError):
        ws.send("x")


@pytest.mark.needs("fork")
def test_a_forked_child_lets_go_of_it_and_the_parents_goes_on(site, loop):
    chat = Chat(site)
    guest = chat.guest()
    child = os.fork()
    if not child:
        status = 1
        try:
            loop.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    guest.send(TEXT, b"Hello")
    assert guest.read() == (TEXT, b"Hello")


def test_what_letting_go_raises_is_reported(site, reports, monkeypatch):
    def free(connection):
        raise OSError("closed behind our back")

    chat = Chat(site)
    guest = chat.guest()
    monkeypatch.setattr(type(chat.ws.connection), "free", free)
    chat.ws.abort()
    site.until(lambda: chat.ws.closed)
    reports.take(OSError)
    assert chat.events[-1] == ("close", 1006, "")
    guest.close()


def test_nothing_of_a_closed_one_is_left(site, loop):
    """No timer, no handle, no cycle that only the collector could end... of what the loop holds."""
    chat = Chat(site)
    guest = chat.guest()
    before = set(loop.handles)
    chat.ws.close()
    guest.bye(1000)
    assert guest.read()
    site.until(lambda: chat.ws.closed)
    assert site.gone()
    site.turn(2)
    assert set(loop.handles) < before
    assert not [timer for timer in loop._timers if timer[2].entry is timer and timer[2] is not site.server._sweeper]
