"""One message to many: http.broadcast, and a loop of sends in which one client does not read."""
import pytest

import icey
from icey.http import WebSocket, broadcast
from tests.support import http, websocket
from tests.support.websocket import BINARY, CLOSE, CONTINUATION, TEXT, Chat, noted

debug, clock, reports, loop, site, host = http.debug, http.clock, http.reports, http.loop, http.site, websocket.host


def quiet(ws):
    """A Chat that does nothing by itself."""


def clog(chat, size=300000):
    """The last that came gets so much that it is above high water: its client reads nothing."""
    http.narrow(chat.exchanges[-1])
    chat.ws.send(bytes(size))
    assert chat.ws.queued > chat.ws.limits.high_water


@pytest.mark.parametrize("data, opcode", [("Hello", TEXT), (b"Hello", BINARY), (bytearray(b"\xff" * 125), BINARY),
                                          (memoryview(b"x" * 126), BINARY), ("", TEXT), ("Κόσμε" * 20000, TEXT),
                                          (b"z" * 65536, BINARY)])
def test_all_get_it(site, data, opcode):
    chat = Chat(site, quiet)
    guests = [chat.guest() for _ in range(5)]
    assert broadcast(chat.sockets, data) == 5
    payload = data.encode() if isinstance(data, str) else bytes(data)
    for guest in guests:
        assert guest.read() == (opcode, payload)


def test_nobody_is_none(site):
    assert broadcast([], "Hello") == 0


def test_the_frame_is_one_piece_of_memory(site):
    chat = Chat(site, quiet)
    for _ in range(3):
        chat.guest()
    sent, kept = [], [ws.stream.sock for ws in chat.sockets]

    class Taking:
        def send(self, data):
            sent.append(data)
            return len(data)

    for ws in chat.sockets:
        ws.stream.sock = Taking()
    assert broadcast(chat.sockets, b"x" * 50000) == 3
    assert sent[0] == b"\x82\x7e\xc3\x50" + b"x" * 50000
    assert sent[1] is sent[0] and sent[2] is sent[0]
    for ws, sock in zip(chat.sockets, kept):
        ws.stream.sock = sock


def test_our_clients_mask_it(host):
    sockets, wires = [], []
    for _ in range(2):
        sockets.append(host.connects())
        wires.append(host.wire)
    host.until(lambda: all(ws.announced for ws in sockets))
    assert broadcast(sockets, "Hello") == 2
    assert [wire.read() for wire in wires] == [(TEXT, b"Hello")] * 2  # a wire wants them masked
    for ws in sockets:
        ws.abort()


@pytest.mark.needs("zlib")
def test_those_that_compress_get_it_plain(site):
    chat = Chat(site, quiet)
    guest = chat.guest("Sec-WebSocket-Extensions: permessage-deflate")
    assert broadcast(chat.sockets, "Hello" * 100) == 1
    assert guest.read() == (TEXT, b"Hello" * 100)
    chat.ws.send("Hello" * 100)
    assert guest.read_frame()[:3] == (True, 4, TEXT)


def test_who_is_above_high_water_is_skipped(site):
    chat = Chat(site, quiet)
    slow = chat.guest(receive=4096)
    clog(chat)
    guest = chat.guest()
    queued = chat.sockets[0].queued
    assert broadcast(chat.sockets, "Hello") == 1
    assert guest.read() == (TEXT, b"Hello") and chat.sockets[0].queued == queued
    assert not chat.sockets[0].closing
    assert slow.read() == (BINARY, bytes(300000))
    site.until(lambda: not chat.sockets[0].queued)
    assert broadcast(chat.sockets, "again") == 2


def test_or_closed_with_1013(site):
    chat = Chat(site, quiet)
    slow = chat.guest(receive=4096)
    clog(chat)
    guest = chat.guest()
    assert broadcast(chat.sockets, "Hello", slow="close") == 1
    assert guest.read() == (TEXT, b"Hello")
    assert chat.sockets[0].closing and not chat.sockets[1].closing
    assert slow.read() == (BINARY, bytes(300000))
    assert slow.read() == (CLOSE, b"\x03\xf5this client reads too slowly")


def test_who_would_pass_max_queue_is_skipped_and_not_closed(site):
    chat = Chat(site, quiet, limits={"high_water": 500000, "max_queue": 500000})
    chat.guest(receive=4096)
    http.narrow(chat.exchanges[-1])
    chat.ws.send(bytes(300000))
    assert 0 < chat.ws.queued < 500000
    assert broadcast(chat.sockets, bytes(400000), slow="close") == 0
    assert not chat.ws.closing


def test_those_that_are_not_open_are_passed_over(site, loop):
    chat = Chat(site, quiet)
    leaving, inside, broken, staying = [chat.guest() for _ in range(4)]
    ours = WebSocket.connect(loop, chat.url)
    sockets = chat.sockets[:]
    sockets[0].close()
    sockets[1].send_piece("first ")
    sockets[2].stream.fail(ConnectionResetError("as if"))
    assert broadcast([*sockets, ours], "Hello", slow="close") == 1
    assert staying.read() == (TEXT, b"Hello")
    assert leaving.read() == (CLOSE, b"\x03\xe8")
    sockets[1].send_piece("last", final=True)
    assert inside.read_frame() == (False, 0, TEXT, b"first ")
    assert inside.read_frame() == (True, 0, CONTINUATION, b"last")
    ours.abort()


def test_inside_a_burst_the_order_holds(site):
    chat = Chat(site, lambda ws: ws.on_message.attach(said))

    def said(ws, data):
        ws.send("got " + data)
        assert broadcast(chat.sockets, data) == 2

    first, second = chat.guest(), chat.guest()
    first.raw(first.frame(TEXT, b"1") + first.frame(TEXT, b"2"))
    assert [first.read()[1] for _ in range(4)] == [b"got 1", b"1", b"got 2", b"2"]
    assert [second.read()[1] for _ in range(2)] == [b"1", b"2"]


def test_what_is_gathered_in_a_burst_counts(site):
    counts = []
    chat = Chat(site, lambda ws: ws.on_message.attach(said))

    def said(ws, data):
        counts.append([broadcast([ws], b"x" * 10000) for _ in range(2000)])

    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[-1])
    guest.send(TEXT, b"go")
    site.until(lambda: counts)
    assert 0 < sum(counts[0]) < 100
    assert chat.ws.queued < chat.ws.limits.high_water + 16384 + 10010


def test_what_it_refuses(site):
    chat = Chat(site, quiet)
    guest = chat.guest()
    with pytest.raises(ValueError, match="slow is 'skip' or 'close', not 'drop'"):
        broadcast(chat.sockets, "Hello", slow="drop")
    with pytest.raises(TypeError):
        broadcast(chat.sockets, 5)
    with pytest.raises(UnicodeEncodeError):
        broadcast(chat.sockets, "\ud800")
    assert guest.silent()


def test_on_another_thread_it_is_an_affinity_error(site, loop):
    chat = Chat(site, quiet)
    chat.guest()
    loop.thread, thread = 0, loop.thread
    try:
        with pytest.raises(icey.AffinityError):
            broadcast(chat.sockets, "Hello")
    finally:
        loop.thread = thread


# a loop of sends

def test_a_full_queue_closes_nobody_but_whose_it_is(site, debug, reports):
    """The sender's slot raises, since another does not read: that is told, and the sender is not to blame."""
    chat = Chat(site, lambda ws: ws.on_message.attach(said), limits={"max_queue": 100000})

    def said(sender, data):
        for ws in chat.sockets:
            ws.send(bytes(100000))

    sender = chat.guest()
    chat.guest(receive=4096)
    http.narrow(chat.exchanges[-1])
    full = chat.ws
    full.send(bytes(300000))
    sender.send(TEXT, b"?")
    assert sender.read() == (BINARY, bytes(100000))
    site.turn(3)
    (exc, handle), = reports
    reports.clear()
    assert isinstance(exc, icey.QueueFull) and exc.full is full and handle is chat.sockets[0]
    assert not any(ws.closing for ws in chat.sockets)
    assert (repr(full) in str(exc)) is debug


def test_and_its_own_slot_is_closed_as_ever(site, reports):
    chat = Chat(site, lambda ws: ws.on_message.attach(lambda ws, data: ws.send(bytes(100000))), limits={"max_queue": 100000})
    guest = chat.guest(receive=4096)
    http.narrow(chat.exchanges[-1])
    events = noted(chat.ws)
    chat.ws.send(bytes(300000))
    guest.send(TEXT, b"?")
    site.until(lambda: reports)
    assert isinstance(reports.pop()[0], icey.QueueFull) and chat.ws.closing and not events
    guest.close()
