"""Messages of a WebSocket, both ways: types, sizes, bursts, pieces, pause and resume."""
import array

import pytest

import icey
from icey.http import WebSocket
from tests.support import http, seeds, websocket
from tests.support.websocket import BINARY, CONTINUATION, PING, PONG, TEXT, Chat, Wire, echo, frame, noted

debug, clock, reports, loop, site, host = http.debug, http.clock, http.reports, http.loop, http.site, websocket.host


def ignore(ws):
    """A Chat that does nothing by itself."""


def pair(site, loop, **options):
    """(a client of ours, the server's end of it), both open; the server does nothing by itself."""
    chat = Chat(site, ignore, **options)
    ws = WebSocket.connect(loop, chat.url, **options)
    site.until(lambda: chat.events and ws.announced)
    return ws, chat.ws


@pytest.mark.parametrize("data, frame", [
    ("Hello", (TEXT, b"Hello")),
    ("", (TEXT, b"")),
    ("\u20ac\U0001f40d", (TEXT, "\u20ac\U0001f40d".encode())),
    (b"Hello", (BINARY, b"Hello")),
    (b"", (BINARY, b"")),
    (bytearray(b"a"), (BINARY, b"a")),
    (memoryview(b"abc")[1:], (BINARY, b"bc")),
    (array.array("B", b"abc"), (BINARY, b"abc")),
    (array.array("H", [0, 1]), (BINARY, array.array("H", [0, 1]).tobytes())),
])
def test_what_can_be_sent(site, data, frame):
    chat = Chat(site, ignore)
    guest = chat.guest()
    assert chat.ws.send(data) is True
    assert guest.read() == frame


@pytest.mark.parametrize("data, error", [
    (5, TypeError), (None, TypeError), ([b"a"], TypeError), (["a"], TypeError), (object(), TypeError), (1.5, TypeError),
    ("\ud800", UnicodeEncodeError), (memoryview(b"abcd")[::2], ValueError),
])
@pytest.mark.parametrize("verb", ["send", "send_piece"])
def test_what_cannot_be_sent_changes_nothing(site, data, error, verb):
    chat = Chat(site, ignore)
    guest = chat.guest()
    with pytest.raises(error):
        getattr(chat.ws, verb)(data)
    chat.ws.send("Hello")
    assert guest.read() == (TEXT, b"Hello")


@pytest.mark.parametrize("narrow", [False, True], ids=["taken", "queued"])
@pytest.mark.parametrize("size", [5, 125, 126, 16383, 16384, 40000, 300000])
def test_a_view_of_mutable_memory_can_be_sent_in_a_burst_and_changed_at_once(site, size, narrow):
    """What a large frame shows is sent, or copied, before send() returns."""
    content = bytes(range(250)) * (size // 250 + 1)
    data = bytearray(content[:size])

    def answer(ws, message):
        ws.send("before")
        with memoryview(data) as view:
            ws.send(view)
        data[:] = bytes(size)
        ws.send("behind")

    chat = Chat(site, lambda ws: ws.on_message.attach(answer))
    guest = chat.guest(**{"receive": 4096} if narrow else {})
    if narrow:
        http.narrow(chat.exchanges[-1])
    guest.send(TEXT, b"go")
    site.turn(3)
    assert [guest.read() for _ in range(3)] == [(TEXT, b"before"), (BINARY, content[:size]), (TEXT, b"behind")]


def test_mutable_data_is_copied(site, loop):
    chat = Chat(site, ignore)
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[0])
    data = bytearray(b"x" * 300000)
    chat.ws.send(data)
    data[:] = bytes(len(data))
    assert guest.read() == (BINARY, b"x" * 300000)


SIZES = [0, 1, 125, 126, 127, 1000, 16383, 16384, 65535, 65536, 70000, 300000]


@pytest.mark.parametrize("size", SIZES)
def test_both_ends_ours_at_every_size(site, loop, size):
    ws, served = pair(site, loop)
    served.on_message += echo
    text, data = "x" * size, bytes(range(256)) * (size // 256) + b"!"
    events = noted(ws)
    ws.send(text)
    ws.send(data)
    site.until(lambda: len(events) >= 2)
    assert events == [("message", text), ("message", data)]


def test_a_binary_message_is_lent_read_only(site):
    seen = []

    def message(ws, view):
        assert type(view) is memoryview and view.readonly and view.format == "B" and view.ndim == 1
        seen.append(view.tobytes())

    def prepare(ws):
        ws.on_message += message

    chat = Chat(site, prepare)
    guest = chat.guest()
    guest.send(BINARY, b"whole")
    guest.send(BINARY, b"in ", fin=False)
    guest.send(CONTINUATION, b"pieces", fin=False)
    guest.send(CONTINUATION, b"")
    guest.send(BINARY, b"")
    guest.send(BINARY, b"L" * 200000)
    site.until(lambda: len(seen) == 4)
    assert seen == [b"whole", b"in pieces", b"", b"L" * 200000]


def test_all_that_one_read_brings_is_answered_by_one_send(site):
    chat = Chat(site)
    guest = chat.guest()
    sent = []
    stream = chat.ws.stream
    real, stream.sock = stream.sock, Counting(stream.sock, sent)
    guest.raw(b"".join(guest.frame(TEXT, b"%d" % index) for index in range(200)) + guest.frame(PING, b"?"))
    assert [guest.read() for _ in range(201)] == [(TEXT, b"%d" % index) for index in range(200)] + [(PONG, b"?")]
    assert len(sent) == 1
    stream.sock = real


class Counting:
    """A socket that notes the size of what it is given to send."""

    def __init__(self, sock, sent):
        self._sock, self._sent = sock, sent

    def send(self, data):
        self._sent.append(len(data))
        return self._sock.send(data)

    def __getattr__(self, name):
        return getattr(self._sock, name)


def test_a_burst_with_large_answers_goes_out_in_order(site):
    def prepare(ws):
        def message(ws, data):
            ws.send("x" * 40000)
            ws.send("small")
            ws.ping(b"?")
            ws.send(b"y" * 20000)
        ws.on_message += message

    chat = Chat(site, prepare)
    guest = chat.guest()
    guest.raw(guest.frame(TEXT, b"go") * 3)
    expected = [(TEXT, b"x" * 40000), (TEXT, b"small"), (PING, b"?"), (BINARY, b"y" * 20000)] * 3
    assert [guest.read() for _ in range(12)] == expected


def test_sends_outside_a_burst_go_at_once(site, loop):
    chat = Chat(site, ignore)
    guest = chat.guest()
    loop.call_later(1.0, chat.ws.send, "tick")
    site.wait(1.0)
    assert guest.read() == (TEXT, b"tick")


def test_messages_that_nobody_waits_for_are_dropped_and_pings_answered(site):
    chat = Chat(site, ignore)
    guest = chat.guest()
    chat.ws.on_message.detach_all()
    guest.raw(guest.frame(TEXT, b"lost") + guest.frame(BINARY, b"lost") + guest.frame(PING, b"?"))
    assert guest.read() == (PONG, b"?")
    chat.ws.on_message += echo
    guest.send(TEXT, b"Hello")
    assert guest.read() == (TEXT, b"Hello")


def test_a_slot_detached_between_two_messages_of_a_burst(site):
    chat = Chat(site, ignore)
    guest = chat.guest()
    chat.ws.on_message.detach_all()
    seen = []

    def once(ws, data):
        seen.append(data)
        ws.on_message -= once

    chat.ws.on_message += once
    guest.raw(guest.frame(TEXT, b"one") + guest.frame(TEXT, b"two") + guest.frame(PING))
    assert guest.read() == (PONG, b"")
    assert seen == ["one"]


# pings and pongs

def test_pings_are_answered_and_told_pongs_are_told(site):
    chat = Chat(site, ignore)
    guest = chat.guest()
    pings = []
    chat.ws.on_ping += lambda ws, data: pings.append((ws, data))
    guest.send(PING, b"Hello")
    assert guest.read() == (PONG, b"Hello")
    assert pings == [(chat.ws, b"Hello")]
    chat.ws.ping(b"you?")
    chat.ws.ping(bytearray(b"there?"))
    chat.ws.ping()
    assert [guest.read() for _ in range(3)] == [(PING, b"you?"), (PING, b"there?"), (PING, b"")]
    guest.send(PONG, b"you?")
    guest.send(PONG, b"unasked")
    site.until(lambda: len(chat.events) == 3)
    assert chat.events[1:] == [("pong", b"you?"), ("pong", b"unasked")]


@pytest.mark.parametrize("data, error", [(bytes(126), ValueError), ("text", TypeError), (3, TypeError)])
def test_pings_that_cannot_be(site, data, error):
    chat = Chat(site, ignore)
    chat.guest()
    with pytest.raises(error):
        chat.ws.ping(data)


# pieces

def test_sending_by_pieces(site):
    chat = Chat(site, ignore)
    guest = chat.guest()
    ws = chat.ws
    assert ws.send_piece("one ") is True
    ws.send_piece("")
    ws.ping(b"!")
    ws.send_piece("two \u20ac", final=True)
    ws.send_piece(b"alone", final=True)
    ws.send("whole")
    assert [guest.read_frame() for _ in range(6)] == [
        (0, 0, TEXT, b"one "), (0, 0, CONTINUATION, b""), (1, 0, PING, b"!"), (1, 0, CONTINUATION, "two \u20ac".encode()),
        (1, 0, BINARY, b"alone"), (1, 0, TEXT, b"whole")]


def test_other_messages_have_to_wait_for_the_last_piece(site):
    chat = Chat(site, ignore)
    guest = chat.guest()
    ws = chat.ws
    ws.send_piece("one")
    with pytest.raises(icey.StateError, match="one message at a time"):
        ws.send("whole")
    with pytest.raises(icey.StateError, match="all of them str or all bytes"):
        ws.send_piece(b"two", final=True)
    ws.send_piece("two", final=True)
    ws.send("whole")
    assert [guest.read_frame()[2:] for _ in range(3)] == [(TEXT, b"one"), (CONTINUATION, b"two"), (TEXT, b"whole")]


@pytest.mark.parametrize("before", [False, True])
def test_receiving_by_pieces(site, loop, before):
    """The slot may be attached before the handshake is done, or at any time between two messages."""
    chat = Chat(site, ignore)
    ws = WebSocket.connect(loop, chat.url)
    seen = []

    def piece(ws, data, final):
        assert type(data) is str or data.readonly
        seen.append((data if type(data) is str else bytes(data), final))

    if before:
        ws.on_piece += piece
    events = noted(ws)
    site.until(lambda: ws.announced)
    if not before:
        ws.on_piece += piece
    chat.ws.send_piece("a")
    chat.ws.send_piece("b", final=True)
    chat.ws.send(b"whole")
    chat.ws.send("")
    site.until(lambda: len(seen) == 6)
    assert seen == [("a", False), ("b", False), ("", True), (b"whole", False), (b"", True), ("", True)]
    ws.on_piece -= piece
    chat.ws.send("again whole")
    site.until(lambda: events[-1][0] == "message")
    assert events == [("connect",), ("message", "again whole")]


def test_pieces_of_a_large_message_are_never_more_than_a_read(site, loop):
    ws, served = pair(site, loop)
    sizes = []
    served.on_piece += lambda ws, data, final: sizes.append((len(data), final))
    for _ in range(50):
        ws.send_piece(bytes(20000))
    ws.send_piece(b"", final=True)
    site.until(lambda: sizes and sizes[-1][1])
    assert sum(size for size, _ in sizes) == 1000000 and max(sizes)[0] <= 65536
    assert [final for _, final in sizes].count(True) == 1


# pause and resume

def test_pausing_holds_messages_back_within_a_burst(site):
    def prepare(ws):
        def message(ws, data):
            ws.pause()
        ws.on_message += message

    chat = Chat(site, prepare)
    guest = chat.guest()
    guest.raw(guest.frame(TEXT, b"1") + guest.frame(PING, b"?") + guest.frame(TEXT, b"2") + guest.frame(TEXT, b"3"))
    for count in (1, 2, 3):
        site.until(lambda count=count: len(chat.events) == 1 + count)
        site.wait(5.0)
        assert chat.events[1:] == [("message", str(number)) for number in range(1, count + 1)]
        chat.ws.resume()
    assert guest.read() == (PONG, b"?")


def test_a_paused_one_reads_no_more_from_the_kernel(site):
    chat = Chat(site)
    guest = chat.guest()
    chat.ws.pause()
    guest.send(TEXT, b"held")
    site.wait(5.0)
    assert chat.events == [("connect",)] and not chat.ws.stream._interest & 1
    chat.ws.send("but it sends")
    assert guest.read() == (TEXT, b"but it sends")
    chat.ws.resume()
    assert guest.read() == (TEXT, b"held")


def test_pausing_again_before_the_loop_came_to_resume(site):
    chat = Chat(site)
    guest = chat.guest()
    chat.ws.pause()
    guest.send(TEXT, b"held")
    site.wait(1.0)
    chat.ws.resume()
    chat.ws.pause()
    site.wait(1.0)
    assert chat.events == [("connect",)]
    chat.ws.resume()
    chat.ws.resume()
    assert guest.read() == (TEXT, b"held")
    assert guest.silent()


def test_pausing_in_a_slot_of_on_piece(site):
    seen = []

    def prepare(ws):
        def piece(ws, data, final):
            seen.append((bytes(data), final))
            ws.pause()
        ws.on_piece += piece

    chat = Chat(site, prepare)
    guest = chat.guest()
    guest.raw(guest.frame(BINARY, b"1", fin=False) + guest.frame(CONTINUATION, b"2", fin=False)
              + guest.frame(CONTINUATION, b"3"))
    for count, expected in ((1, (b"1", False)), (2, (b"2", False)), (3, (b"3", False))):
        site.until(lambda count=count: len(seen) >= count)
        site.wait(1.0)
        assert seen[count - 1] == expected and len(seen) <= count + 1
        chat.ws.resume()
    site.until(lambda: seen[-1] == (b"", True))


def test_the_end_comes_behind_what_was_held_back(site):
    chat = Chat(site, lambda ws: ws.pause())
    guest = chat.guest(behind=Wire(None, True).frame(TEXT, b"one"))
    guest.send(TEXT, b"two")
    guest.bye(1000, b"done")
    guest.peer.half_close()
    site.wait(5.0)
    assert chat.events == [("connect",)]
    chat.ws.resume()
    site.until(lambda: chat.ws.closed)
    assert chat.events[1:] == [("message", "one"), ("message", "two"), ("close", 1000, "done")]


def test_a_late_accept_that_pauses_loses_neither_messages_nor_the_end(site):
    exchanges, events = [], []
    site.serve(exchanges.append)
    client = site.client()
    client.send(http.request("GET", "/", *websocket.HANDSHAKE) + Wire(None, True).frame(TEXT, b"one"))
    client.half_close()
    site.until(lambda: exchanges)
    site.turn(3)
    ws = WebSocket.accept(exchanges[0])
    noted(ws, events)
    ws.pause()
    site.wait(5.0)
    assert events == [("connect",)]
    ws.resume()
    site.until(lambda: ws.closed)
    assert events[1:] == [("message", "one"), ("error", "PeerClosed"), ("close", 1006, "")]


def test_the_end_alone_waits_too(site):
    exchanges, events = [], []
    site.serve(exchanges.append)
    client = site.client()
    client.send(http.request("GET", "/", *websocket.HANDSHAKE))
    client.half_close()
    site.until(lambda: exchanges)
    site.turn(3)
    ws = WebSocket.accept(exchanges[0])
    noted(ws, events)
    ws.pause()
    site.wait(5.0)
    assert events == [("connect",)]
    ws.resume()
    site.until(lambda: ws.closed)
    assert events[1:] == [("error", "PeerClosed"), ("close", 1006, "")]


# at random

@pytest.mark.parametrize("compression", [False, True])
def test_at_random_both_ends_ours(site, loop, compression):
    rng = seeds.rng()
    ws, served = pair(site, loop, compression=compression)
    ends = {ws: [], served: []}
    expected = {ws: [], served: []}
    for end, seen in ends.items():
        end.on_message += lambda end, data, seen=seen: seen.append(data if type(data) is str else bytes(data))
    for _ in range(150):
        end = rng.choice((ws, served))
        other = served if end is ws else ws
        size = rng.choice((0, 1, 50, 125, 126, 500, 5000, 66000))
        data = rng.choice(("\u20ac" * size, bytes(rng.randrange(4) for _ in range(min(size, 5000)))))
        if rng.random() < 0.3:
            cut = rng.randrange(len(data) + 1)
            end.send_piece(data[:cut])
            end.ping(b"in between")
            end.send_piece(data[cut:], final=True)
        else:
            end.send(data)
        expected[other].append(data)
        if rng.random() < 0.1:
            rng.choice((ws, served)).pause()
        if rng.random() < 0.3:
            loop.run_once(0)
            ws.resume()
            served.resume()
    ws.resume()
    served.resume()
    site.until(lambda: all(len(ends[end]) == len(expected[end]) for end in ends))
    assert ends == expected
    ws.close()
    site.until(lambda: ws.closed and served.closed)


def test_frames_cut_anywhere_on_a_connection(host):
    """Byte by byte into a client, which answers all the same."""
    ws = host.connects()
    ws.on_message += echo
    wire = frame(TEXT, b"Hello", fin=False) + frame(PING, b"?") + frame(CONTINUATION, b"!") + frame(BINARY, bytes(130))
    for at in range(len(wire)):
        host.wire.raw(wire[at:at + 1])
    assert [host.wire.read() for _ in range(3)] == [(PONG, b"?"), (TEXT, b"Hello!"), (BINARY, bytes(130))]
    ws.abort()
