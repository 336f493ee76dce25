"""A peer that does not read: water marks, QueueFull, on_drain; control frames get through all the same."""
import os
import socket

import pytest

import icey
from icey.http import WebSocket
from tests.support import http, lacks, websocket
from tests.support.websocket import BINARY, CLOSE, PING, PONG, TEXT, Chat

debug, clock, reports, loop, site, host = http.debug, http.clock, http.reports, http.loop, http.site, websocket.host

LIMITS = {"high_water": 50000, "low_water": 10000, "max_queue": 200000}


def slow(site, prepare=lambda ws: None, **options):
    """(chat, a guest that reads nothing yet), over small buffers."""
    chat = Chat(site, prepare, limits=dict(LIMITS, **options.pop("limits", {})), **options)
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    return chat, guest


def filled(ws, size=30000):
    """Sends until QueueFull; the number of messages taken, and how many of them returned True."""
    taken = fine = 0
    try:
        while taken < 1000:
            fine += ws.send(bytes(size))
            taken += 1
    except icey.QueueFull:
        return taken, fine
    raise AssertionError("never full")


def test_false_above_high_water_queue_full_past_the_cap_and_on_drain_at_low_water(site):
    chat, guest = slow(site)
    ws = chat.ws
    taken, fine = filled(ws)
    assert 0 < fine < taken and 170000 < ws.queued <= 200000
    assert chat.events == [("connect",)]
    for _ in range(taken):
        assert guest.read() == (BINARY, bytes(30000))
    assert guest.silent()  # of what was refused nothing was taken
    assert chat.events == [("connect",), ("drain",)]
    assert ws.queued == 0
    assert ws.send("again") is True
    assert guest.read() == (TEXT, b"again")


def test_queue_full_says_what_to_do(site):
    chat, guest = slow(site)
    filled(chat.ws)
    with pytest.raises(icey.QueueFull, match="bytes queued, 30000 more would pass max_queue 200000: wait for on_drain"):
        chat.ws.send(bytes(30000))


def test_an_empty_queue_takes_any_one_message_whole(site):
    chat, guest = slow(site)
    chat.ws.send(bytes(500000))
    with pytest.raises(icey.QueueFull):
        chat.ws.send(b"x")
    assert guest.read() == (BINARY, bytes(500000))


def test_no_cap(site):
    chat, guest = slow(site, limits={"max_queue": None})
    for _ in range(20):
        chat.ws.send(bytes(30000))
    assert [guest.read() for _ in range(20)] == [(BINARY, bytes(30000))] * 20


def test_pieces_have_the_same_cap(site):
    chat, guest = slow(site)
    taken = 0
    with pytest.raises(icey.QueueFull):
        while taken < 1000:
            chat.ws.send_piece(bytes(30000))
            taken += 1
    assert [guest.read_frame()[::3] for _ in range(taken)] == [(0, bytes(30000))] * taken
    chat.ws.send_piece(b"end", final=True)  # the refused piece has not become part of the message
    assert guest.read_frame() == (1, 0, 0, b"end")


def test_a_slot_that_answers_more_than_there_is_room_for_gets_queue_full(site, reports):
    """Within a burst too: what was taken before goes out, the rest of the burst is not lost silently."""
    caught = []

    def prepare(ws):
        def message(ws, data):
            try:
                ws.send(bytes(30000))
            except icey.QueueFull as exc:
                caught.append(exc)
        ws.on_message += message

    chat, guest = slow(site, prepare)
    guest.raw(guest.frame(TEXT, b"go") * 100)
    site.until(lambda: len(chat.events) == 101)
    assert caught
    for _ in range(100 - len(caught)):
        assert guest.read() == (BINARY, bytes(30000))
    assert guest.silent()
    chat.ws.send("alive")
    assert guest.read() == (TEXT, b"alive")


def test_a_slot_that_sends_until_false_comes_to_it(site):
    counts = []

    def prepare(ws):
        def message(ws, data):
            counts.append(0)
            while ws.send("x" * 100):
                counts[-1] += 1
                assert counts[-1] < 100000
        ws.on_message += message

    chat, guest = slow(site, prepare)
    guest.send(TEXT, b"go")
    site.until(lambda: counts and chat.ws.queued >= 50000)
    for _ in range(counts[0] + 1):
        assert guest.read() == (TEXT, b"x" * 100)
    assert ("drain",) in chat.events


def test_queue_full_uncaught_in_a_slot_closes_it(site, reports):
    def prepare(ws):
        def message(ws, data):
            for _ in range(100):
                ws.send(bytes(30000))
        ws.on_message += message

    chat, guest = slow(site, prepare)
    guest.send(TEXT, b"go")
    site.until(lambda: reports)
    reports.take(icey.QueueFull)
    while True:
        opcode, payload = guest.read()
        if opcode == CLOSE:
            break
        assert payload == bytes(30000)
    assert payload == b"\x03\xf3"
    guest.bye(1011)
    assert guest.ended()
    site.until(lambda: chat.ws.closed)
    assert chat.events[-1] == ("close", 1011, "")


def test_one_that_is_full_can_be_closed(site):
    """The close frame needs no room."""
    chat, guest = slow(site)
    taken, _ = filled(chat.ws, 1000)
    chat.ws.close(1013, "read faster")
    for _ in range(taken):
        assert guest.read() == (BINARY, bytes(1000))
    assert guest.read() == (CLOSE, b"\x03\xf5read faster")
    guest.bye(1013)
    assert guest.ended()
    site.until(lambda: chat.ws.closed)
    assert chat.events[-1] == ("close", 1013, "")


def test_one_that_never_reads_is_closed_by_the_deadline(site, send_queues):
    send_queues.real()  # the look before the deadline falls has the kernel take a bit, which is not the peer's doing
    chat, guest = slow(site, ping_interval=None)
    filled(chat.ws)
    site.wait(1000.0)
    assert not chat.ws.closing  # it is yours to close
    chat.ws.close()
    site.wait(4.9)
    assert not chat.ws.closed
    site.wait(15.0)  # the peer's kernel may acknowledge late, in real time, what it had taken before
    assert chat.ws.closed
    assert chat.events[1:] == [("error", "Deadline"), ("close", 1006, "")]
    assert site.gone()


def test_the_close_deadline_starts_anew_whenever_something_is_taken(site):
    chat, guest = slow(site, ping_interval=None)
    taken, _ = filled(chat.ws)
    chat.ws.close()
    for _ in range(taken):
        site.wait(4.0)
        assert guest.read() == (BINARY, bytes(30000))
    assert not chat.ws.closed
    assert guest.read() == (CLOSE, b"\x03\xe8")
    site.wait(4.0)
    guest.bye(1000)
    site.until(lambda: chat.ws.closed)
    assert chat.events[-1] == ("close", 1000, "")


def test_of_the_pongs_the_last_goes_out_once_there_is_room(site):
    chat, guest = slow(site)
    taken, _ = filled(chat.ws)
    for index in range(5):
        guest.send(PING, b"%d" % index)
    site.wait(1.0)
    assert [guest.read()[0] for _ in range(taken)] == [BINARY] * taken
    assert guest.read() == (PONG, b"4")
    guest.send(PING, b"and now")
    assert guest.read() == (PONG, b"and now")


@pytest.mark.parametrize("high_water", [50, 1000])
def test_the_pong_behind_a_burst_of_answers_over_a_small_high_water(site, high_water):
    """Gathered answers are no queue: nothing would tell of its drain."""
    chat = Chat(site, limits={"high_water": high_water, "low_water": 10})
    guest = chat.guest()
    guest.raw(guest.frame(TEXT, b"x" * 50) * 30 + guest.frame(PING, b"?"))
    assert [guest.read() for _ in range(30)] == [(TEXT, b"x" * 50)] * 30
    assert guest.read() == (PONG, b"?")


def test_a_flood_of_pings_of_one_that_does_not_read_takes_no_more_than_high_water(site):
    chat, guest = slow(site)
    flood = guest.frame(PING, bytes(125)) * 400
    most, left = 0, b""
    for _ in range(20):
        left = left or flood
        try:
            left = left[guest.peer.sock.send(left):]
        except BlockingIOError:
            pass
        site.turn(2)
        most = max(most, chat.ws.queued)
    assert chat.ws.stream.high_water <= most < chat.ws.stream.high_water + 2 * 16384, most
    assert not chat.ws.closing
    guest.reset()
    site.until(lambda: chat.ws.closed)


def test_a_deferred_pong_does_not_go_out_behind_a_close_frame(site):
    chat, guest = slow(site)
    taken, _ = filled(chat.ws)
    guest.send(PING, b"?")
    site.wait(1.0)
    chat.ws.close()
    assert [guest.read()[0] for _ in range(taken + 1)] == [BINARY] * taken + [CLOSE]
    guest.bye(1000)
    assert guest.ended()


def test_pings_of_yours_get_through(site):
    chat, guest = slow(site)
    taken, _ = filled(chat.ws)
    chat.ws.ping(b"?")
    assert [guest.read() for _ in range(taken + 1)][-1] == (PING, b"?")


@pytest.mark.skipif(bool(lacks("zlib")), reason="this Python has no zlib")
def test_a_refused_message_leaves_the_compression_intact(site, loop):
    """The context it would have changed is the peer's too."""
    chat = Chat(site, lambda ws: None, limits=LIMITS)
    ws = WebSocket.connect(loop, chat.url)
    seen = []
    ws.on_message += lambda ws, data: seen.append(bytes(data))
    site.until(lambda: ws.announced)
    http.narrow(chat.exchanges[0])
    ws.pause()
    sent = []
    with pytest.raises(icey.QueueFull):
        while len(sent) < 1000:
            noise = os.urandom(30000)
            chat.ws.send(noise)
            sent.append(noise)
            loop.run_once(0)
    for _ in range(3):
        with pytest.raises(icey.QueueFull):
            chat.ws.send(bytes(190000))
    ws.resume()
    site.until(lambda: chat.ws.queued == 0)
    sent += [sent[0][:500] * 3] * 2
    for data in sent[-2:]:
        chat.ws.send(data)
    site.until(lambda: len(seen) == len(sent))
    assert seen == sent


def test_a_client_of_ours_has_the_same(host):
    host.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ws = host.connects(limits=icey.Limits(**LIMITS))
    events = websocket.noted(ws)
    host.until(lambda: events)
    ws.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for _ in range(filled(ws)[0]):
        assert host.wire.read() == (BINARY, bytes(30000))
    assert events == [("connect",), ("drain",)]
    ws.abort()
