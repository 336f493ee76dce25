"""Pings that keep a connection alive, and what happens where nothing comes back."""
import pytest

import icey
from tests.support import http, websocket
from tests.support.websocket import BINARY, CLOSE, PING, PONG, TEXT, Chat, noted

debug, clock, reports, loop, site, host = http.debug, http.clock, http.reports, http.loop, http.site, websocket.host


def quiet(ws):
    """A Chat that does nothing by itself."""


def test_a_ping_every_interval(site):
    chat = Chat(site, ping_interval=20.0)
    guest = chat.guest()
    site.wait(19.9)
    assert guest.silent()
    for _ in range(5):
        site.wait(0.2)
        opcode, payload = guest.read()
        assert opcode == PING and 0 < len(payload) < 125
        guest.send(PONG, payload)
        site.wait(19.8)
        assert guest.silent()
    assert [event[0] for event in chat.events] == ["connect"] + ["pong"] * 5


def test_a_client_of_ours_pings_too(host):
    ws = host.connects(ping_interval=3.0)
    host.until(lambda: ws.announced)
    host.wait(3.1)
    assert host.wire.read()[0] == PING
    ws.abort()


def test_no_pings(site):
    chat = Chat(site, ping_interval=None)
    guest = chat.guest()
    site.wait(3000.0)
    assert guest.silent()


@pytest.mark.parametrize("interval, limit, ends", [(20.0, 20.0, 40.0), (10.0, 5.0, 15.0), (5.0, 20.0, 25.0), (1.0, 2.5, 3.5)])
def test_no_pong_in_time_ends_it(site, interval, limit, ends):
    chat = Chat(site, ping_interval=interval, limits={"pong_timeout": limit})
    errors = []
    guest = chat.guest()
    chat.ws.on_error += lambda ws, exc: errors.append(exc)
    site.wait(ends - 0.1)
    assert not chat.ws.closing
    site.wait(0.2)
    assert chat.ws.closed and site.gone()
    assert chat.events[1:] == [("error", "Deadline"), ("close", 1006, "")]
    assert str(errors[0]) == "no pong, nor anything else, within %g s" % limit
    assert guest.read()[0] == PING
    with pytest.raises(ConnectionResetError):  # and no close frame: nobody would read it
        while True:
            assert guest.read()[0] == PING


def test_the_deadline_is_of_the_oldest_ping_that_was_not_answered(site):
    chat = Chat(site, ping_interval=5.0, limits={"pong_timeout": 12.0})
    guest = chat.guest()
    site.wait(5.1)
    guest.send(PONG, guest.read()[1])  # the first is answered, the ones at 10 s and 15 s are not
    site.wait(16.8)
    assert not chat.ws.closing
    site.wait(0.2)
    assert chat.ws.closed


def test_a_ping_without_a_deadline(site):
    chat = Chat(site, ping_interval=5.0, limits={"pong_timeout": None})
    guest = chat.guest()
    site.wait(52.0)
    assert [guest.read()[0] for _ in range(10)] == [PING] * 10
    assert not chat.ws.closing


@pytest.mark.parametrize("limit", [0, 0.0])
def test_a_deadline_of_no_time_at_all(site, limit):
    chat = Chat(site, ping_interval=5.0, limits={"pong_timeout": limit})
    chat.guest()
    site.wait(5.2)
    assert chat.ws.closed


def test_anything_else_that_comes_shows_that_the_peer_lives(site):
    """A pong cannot come in the middle of a large message."""
    chat = Chat(site, quiet, ping_interval=10.0, limits={"pong_timeout": 10.0})
    guest = chat.guest()
    wire = guest.frame(BINARY, bytes(1000))
    for at in range(0, 1000, 100):
        guest.raw(wire[at:at + 100])
        site.wait(9.0)
    assert not chat.ws.closing
    guest.raw(wire[1000:])
    site.until(lambda: chat.events[-1] == ("message", bytes(1000)))


def test_one_that_is_paused_does_not_blame_the_peer(site):
    """The pong is here, unread."""
    chat = Chat(site, quiet, ping_interval=10.0, limits={"pong_timeout": 10.0})
    guest = chat.guest()
    chat.ws.pause()
    for _ in range(5):
        site.wait(20.0)
        opcode, payload = guest.read()
        guest.send(PONG, payload)
    chat.ws.resume()
    site.wait(9.0)
    assert not chat.ws.closing


def test_one_that_is_paused_and_goes_on_has_its_time_again(site):
    chat = Chat(site, quiet, ping_interval=10.0, limits={"pong_timeout": 10.0})
    chat.guest()
    chat.ws.pause()
    site.wait(95.0)
    chat.ws.resume()
    site.wait(14.0)
    assert not chat.ws.closing
    site.wait(20.0)
    assert chat.ws.closed


def test_a_slow_reader_is_not_taken_for_a_dead_one(site):
    """Its ping waits behind others, and the queue moves."""
    chat = Chat(site, quiet, ping_interval=10.0, limits={"pong_timeout": 10.0})
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    chat.ws.send(bytes(1000000))
    for _ in range(20):
        guest.peer.read(40000)
        site.wait(9.0)
    assert not chat.ws.closing
    guest.peer.read(1000000 - 800000 + 10)
    while True:
        opcode, payload = guest.read()
        assert opcode == PING
        guest.send(PONG, payload)
        if chat.ws.queued == 0:
            break
    site.wait(9.0)
    assert not chat.ws.closing


def test_a_reader_that_takes_nothing_any_more_is_a_dead_one(site, send_queues):
    send_queues.real()  # the look before the deadline falls has the kernel take a bit, which is not the peer's doing
    chat = Chat(site, quiet, ping_interval=10.0, limits={"pong_timeout": 10.0})
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    chat.ws.send(bytes(1000000))
    site.wait(60.0)  # some times pong_timeout: what was taken before may be acknowledged late, in real time
    assert chat.ws.closed
    assert chat.events[1:] == [("error", "Deadline"), ("close", 1006, "")]
    guest.close()


def test_a_ping_behind_what_the_system_still_holds(site, send_queues):
    """All of the message is in the kernel, whose buffers are large: only the system knows that the peer takes it."""
    chat = Chat(site, quiet, ping_interval=10.0, limits={"pong_timeout": 10.0})
    guest = chat.guest()
    send_queues[None] = 100000
    chat.ws.send(bytes(30000))
    site.turn(5)
    assert chat.ws.queued == 0
    site.wait(10.1)
    for held in range(99999, 99990, -1):  # a byte each time is enough
        send_queues[None] = held
        site.wait(10.0)
    assert not chat.ws.closing
    assert [guest.read()[0] for _ in range(2)] == [BINARY, PING]
    assert guest.silent()  # the first ping is still on its way: a second one would be no use
    site.wait(10.0)
    assert chat.ws.closed and chat.events[1:] == [("error", "Deadline"), ("close", 1006, "")]


def test_a_ping_that_has_arrived_last_has_its_time_from_then(site, send_queues):
    chat = Chat(site, quiet, ping_interval=10.0, limits={"pong_timeout": 10.0})
    guest = chat.guest()
    send_queues[None] = 100000
    chat.ws.send(bytes(30000))
    site.wait(10.1)
    send_queues[None] = 0
    site.wait(19.8)
    assert not chat.ws.closing
    assert [guest.read()[0] for _ in range(3)] == [BINARY, PING, PING]
    guest.send(PONG)
    site.wait(10.0)
    assert not chat.ws.closing
    site.wait(0.3)
    assert chat.ws.closed


def test_pings_that_arrive_are_no_progress_of_their_own(site, send_queues):
    chat = Chat(site, quiet, ping_interval=10.0, limits={"pong_timeout": 25.0})
    chat.guest()
    send_queues[None] = 0
    site.wait(34.9)
    assert not chat.ws.closing
    site.wait(0.2)
    assert chat.ws.closed


def test_a_pong_that_came_while_the_loop_was_held_is_looked_for(site, loop, clock):
    chat = Chat(site, quiet, ping_interval=10.0, limits={"pong_timeout": 5.0})
    guest = chat.guest()
    site.wait(10.1)
    opcode, payload = guest.read()

    def hold():
        guest.peer.sock.send(guest.frame(PONG, payload))
        clock.advance(60.0)

    loop.call_soon(hold)
    site.wait(1.0)
    assert not chat.ws.closing and chat.events[-1] == ("pong", payload)


def test_time_in_which_a_slot_held_the_loop_does_not_count_against_the_peer(site, loop, clock):
    chat = Chat(site, quiet, ping_interval=10.0, limits={"pong_timeout": 5.0})
    errors = []
    guest = chat.guest()
    chat.ws.on_error += lambda ws, exc: errors.append(exc)
    site.wait(10.1)
    assert guest.read()[0] == PING
    loop.call_soon(clock.advance, 60.0)
    site.wait(50.0)
    assert not chat.ws.closed
    site.wait(16.0)
    assert chat.ws.closed and isinstance(errors[0], icey.Deadline)
    assert str(errors[0]) == "no pong, nor anything else, within 5 s"


def test_a_slot_that_closes_while_it_is_looked_for(site, loop, clock):
    for verb in ("close", "abort"):
        chat = Chat(site, lambda ws, verb=verb: ws.on_message.attach(lambda ws, data: getattr(ws, verb)()),
                    ping_interval=100.0, limits={"pong_timeout": 5.0})
        guest = chat.guest()
        site.wait(100.1)
        assert guest.read()[0] == PING

        def hold(guest=guest):
            guest.peer.sock.send(guest.frame(TEXT, b"close"))
            clock.advance(60.0)

        loop.call_soon(hold)
        site.turn(5)
        assert chat.ws.closing
        if verb == "close":
            assert guest.read() == (CLOSE, b"\x03\xe8")
        else:
            assert guest.at_reset()
        guest.close()
        site.until(lambda chat=chat: chat.ws.closed)


def test_pings_end_with_the_goodbye(site):
    chat = Chat(site, ping_interval=1.0, limits={"close_timeout": 60.0})
    guest = chat.guest()
    chat.ws.close()
    assert guest.read()[0] == CLOSE
    site.wait(10.0)
    assert guest.silent()


def test_timers_keep_no_loop_alive(site, loop, host):
    ws = host.connects()
    events = noted(ws)
    host.until(lambda: events)
    ws.unref()
    site.loop.run()
    ws.abort()
