"""What one connection may have of a turn of the loop: 256 frames, then the others come."""
import pytest

from tests.fuzz.frames import KEY, closing
from tests.support import http, websocket
from tests.support.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Chat

debug, clock, reports, loop, site, host = http.debug, http.clock, http.reports, http.loop, http.site, websocket.host

TURN = 256


class Counted:
    """Notes how many messages have come in each turn."""

    def __init__(self, loop):
        self.loop, self.turns, self.count, self.asked = loop, [], 0, False

    def __call__(self, ws):
        ws.on_message += self.came
        ws.on_ping += self.came

    def came(self, ws, data):
        self.count += 1
        if not self.asked:
            self.asked = True
            self.loop.call_soon(self.turn)

    def turn(self):
        self.turns.append(self.count)
        self.count, self.asked = 0, False


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING])
def test_tiny_messages_come_in_several_turns(site, loop, opcode):
    counted = Counted(loop)
    chat = Chat(site, counted)
    guest = chat.guest()
    guest.peer.sock.send(guest.frame(opcode) * 3000)
    site.until(lambda: sum(counted.turns) == 3000)
    assert max(counted.turns) == TURN and chat.events[0] == ("connect",)
    assert not chat.ws.stream.paused


def test_fragments_count_too(site, loop):
    counted = Counted(loop)
    chat = Chat(site, lambda ws: ws.on_piece.attach(lambda ws, data, final: counted.came(ws, data)))
    guest = chat.guest()
    guest.peer.sock.send(guest.frame(TEXT, b"a", fin=False) + guest.frame(CONTINUATION, b"b", fin=False) * 2000
                         + guest.frame(CONTINUATION))
    site.until(lambda: sum(counted.turns) == 2002)
    assert max(counted.turns) <= TURN


def test_all_of_them_in_their_order(site):
    chat = Chat(site)
    guest = chat.guest()
    guest.peer.sock.send(b"".join(guest.frame(TEXT, b"%d" % index) for index in range(5000)))
    assert [guest.read() for _ in range(5000)] == [(TEXT, b"%d" % index) for index in range(5000)]
    guest.send(TEXT, b"Hello")
    assert guest.read() == (TEXT, b"Hello")


def test_our_clients_do_so_as_well(host, loop):
    counted = Counted(loop)
    ws = host.connects()
    counted(ws)
    host.until(lambda: ws.announced)
    host.wire.raw(host.wire.frame(BINARY) * 3000)
    host.until(lambda: sum(counted.turns) == 3000)
    assert max(counted.turns) == TURN
    ws.abort()


def test_another_client_is_served_in_between(site, loop):
    counted = Counted(loop)
    chat = Chat(site, counted)
    floods = [chat.guest() for _ in range(4)]
    other = chat.guest()
    for flood in floods:
        flood.peer.sock.send(flood.frame(TEXT) * 8000)
    site.turn(2)
    before = sum(counted.turns) + counted.count
    other.peer.sock.send(other.frame(PING, b"?"))
    site.turn(2)
    assert other.read() == (PONG, b"?")
    assert sum(counted.turns) + counted.count - before <= 4 * 4 * TURN
    site.until(lambda: sum(counted.turns) == 32001)


def test_a_slot_that_pauses_in_between(site):
    def prepare(ws):
        ws.on_message += lambda ws, data: data == "300" and ws.pause()

    chat = Chat(site, prepare)
    guest = chat.guest()
    guest.peer.sock.send(b"".join(guest.frame(TEXT, b"%d" % index) for index in range(1000)))
    site.turn(20)
    assert chat.events[-1] == ("message", "300") and chat.ws.stream.paused
    chat.ws.resume()
    site.until(lambda: chat.events[-1] == ("message", "999"))
    assert len(chat.events) == 1001 and not chat.ws.stream.paused


@pytest.mark.parametrize("first", ["pause", "resume"])
def test_pause_and_resume_between_two_turns(site, first):
    chat = Chat(site, lambda ws: None)
    guest = chat.guest()
    guest.peer.sock.send(b"".join(guest.frame(TEXT, b"%d" % index) for index in range(1000)))
    site.until(lambda: len(chat.events) > 1)
    if first == "pause":
        chat.ws.pause()
        site.turn(5)
        assert len(chat.events) == 1 + TURN
    chat.ws.resume()
    chat.ws.pause()
    chat.ws.resume()
    site.until(lambda: len(chat.events) == 1001)
    assert [event[1] for event in chat.events[1:]] == ["%d" % index for index in range(1000)]


def test_the_end_comes_behind_them(site):
    chat = Chat(site, lambda ws: None)
    guest = chat.guest()
    guest.peer.sock.send(guest.frame(TEXT) * 1000 + closing(4000, key=KEY))
    guest.peer.half_close()
    site.until(lambda: chat.ws.closed)
    assert len(chat.events) == 1002 and chat.events[-1] == ("close", 4000, "")
    assert guest.read() == (CLOSE, b"\x0f\xa0") and guest.ended()


def test_what_came_before_a_reset_is_told(site):
    chat = Chat(site, lambda ws: None)
    guest = chat.guest()
    guest.peer.sock.send(guest.frame(TEXT) * 5000)
    site.turn()
    guest.reset()
    site.until(lambda: chat.ws.closed)
    assert len(chat.events) == 5003
    assert chat.events[-2:] == [("error", "ConnectionResetError"), ("close", 1006, "")]


def test_and_what_waits_when_our_send_fails(site):
    chat = Chat(site, lambda ws: None)
    guest = chat.guest()
    guest.peer.sock.send(guest.frame(TEXT) * 3000)
    site.until(lambda: len(chat.events) > 1)
    chat.ws.stream.fail(BrokenPipeError("as if"))
    site.until(lambda: chat.ws.closed)
    assert len(chat.events) == 3003


def test_a_goodbye_of_ours_in_between_still_hears_theirs(site):
    chat = Chat(site, lambda ws: ws.on_message.attach(lambda ws, data: data == "300" and ws.close()))
    guest = chat.guest()
    guest.peer.sock.send(b"".join(guest.frame(TEXT, b"%d" % index) for index in range(1000)) + closing(4001, key=KEY))
    site.until(lambda: chat.ws.closed)
    assert chat.events[-2:] == [("message", "300"), ("close", 4001, "")]


def test_a_rule_that_is_broken_behind_them(site):
    chat = Chat(site, lambda ws: None)
    guest = chat.guest()
    guest.peer.sock.send(guest.frame(TEXT) * 1000 + guest.frame(TEXT, rsv=7))
    site.until(lambda: chat.ws.closing)
    assert guest.read()[0] == CLOSE
    site.turn(3)
    assert [event[0] for event in chat.events] == ["connect"] + ["message"] * 1000 + ["error", "close"]


def test_a_large_message_is_one_of_few(site):
    chat = Chat(site)
    guest = chat.guest()
    guest.send(BINARY, b"x" * 1000000)
    assert guest.read() == (BINARY, b"x" * 1000000)
