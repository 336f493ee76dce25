"""ClientSink: packets as a request's body: framed, whole or cut, with a server that is slow, that refuses, that goes."""
import pytest

import icey
from icey import FlagPacket, PacketFlags, PacketStream, TimerSource
from icey.http import ClientConnection, ClientSink, ClientSource
from tests.support import packets, rawserver
from tests.support.packets import Thread, needs_threads
from tests.support.rawserver import answer

debug, clock, reports, loop, raw, slow, moves = (
    rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop, rawserver.raw, rawserver.slow, rawserver.moves)

FINAL = PacketFlags.FINAL
CHUNKED = {"Transfer-Encoding": "chunked"}
EXPECTS = {"Transfer-Encoding": "chunked", "Expect": "100-continue"}


class Sending:
    """A POST of `raw` whose body is what is written to `stream`."""

    def __init__(self, raw, headers=None, limits=None, stages=(), **options):
        self.raw = raw
        self.conn = raw.connection(method="POST", headers=headers, limits=limits)
        self.conn.start()
        self.sink = ClientSink(self.conn, **options)
        self.closed = []
        self.sink.on_close += self.closed.append
        self.stream = PacketStream()
        for stage in stages:
            self.stream.attach(stage)
        self.stream.attach(self.sink, 1)
        self.seen = packets.events(self.stream)
        self.stream.start()


def piped(conn, source, **options):
    """(stream, sink): `source` into the body of the request under way on `conn`."""
    stream, sink = PacketStream(), ClientSink(conn, **options)
    stream.attach_source(source, sync_state=hasattr(source, "start"))
    stream.attach(sink)
    stream.start()
    return stream, sink


# Framing

FRAMINGS = {"chunked": CHUNKED, "length": {"Content-Length": "11"}, "neither": {}}


@pytest.mark.parametrize("headers", FRAMINGS.values(), ids=FRAMINGS)
@pytest.mark.parametrize("final", ["flag", "last packet", "close", "stop", "close of the sink"])
def test_packets_are_the_body(raw, headers, final):
    sending = Sending(raw, headers)
    stream = sending.stream
    stream.write(b"Hello")
    stream.write(b"")
    stream.write(bytearray(b", "))
    if final == "last packet":
        stream.write(icey.RawPacket(b"Bert", FINAL))
    else:
        stream.write(b"Bert")
        {"flag": lambda: stream.write(FlagPacket(FINAL)), "close": stream.close, "stop": stream.stop,
         "close of the sink": sending.sink.close}[final]()
    server = raw.accept()
    asked = server.request()
    assert asked.body == b"Hello, Bert"
    assert asked.get("content-length") == headers.get("Content-Length")
    assert not sending.closed
    server.answer(b"got it")
    assert raw.story(sending.conn) == [200, b"got it", "complete"]
    assert sending.closed == [sending.sink] and sending.sink.closed and sending.sink.dropped == 0
    assert stream.error is None and sending.conn.reusable
    stream.close()
    sending.conn.close()


def test_no_packet_is_an_empty_body(raw):
    for headers in ({}, CHUNKED, {"Content-Length": "0"}):
        sending = Sending(raw, headers)
        sending.stream.write(FlagPacket(FINAL))
        assert raw.accept().reply(b"").body == b""
        assert raw.story(sending.conn) == [200, "complete"]
        sending.conn.close()


def test_one_request_after_the_other_on_one_connection(raw):
    conn, server = raw.connection(method="POST"), None
    before = len(conn.on_drain), len(conn.on_complete), len(conn.on_error), len(conn.on_close)
    for body in (b"one", b"two", b"three"):
        conn.start()
        stream = PacketStream()
        stream.attach(ClientSink(conn))
        stream.start()
        stream.write(icey.RawPacket(body, FINAL))
        server = server or raw.accept()
        assert server.reply(b"").body == body
        raw.rest(conn)
        stream.close()
    assert conn.reusable
    assert before == (len(conn.on_drain), len(conn.on_complete), len(conn.on_error), len(conn.on_close))
    conn.close()


def test_made_while_it_connects_and_on_a_live_connection_alike(raw):
    conn = raw.connection(method="PUT")
    for _ in range(2):
        conn.start()
        sink = ClientSink(conn)
        raw.turn(5)  # the head goes out, and the first packet comes later
        stream = PacketStream()
        stream.attach(sink)
        stream.start()
        stream.write(b"late")
        stream.close()
        server = raw.accepted[0] if raw.accepted else raw.accept()
        assert server.reply(b"").body == b"late"
        raw.rest(conn)
    conn.close()


def test_100_continue(raw):
    sending = Sending(raw, EXPECTS)
    sending.stream.write(b"Hello")
    server = raw.accept()
    server.head()
    assert server.silent()
    server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    sending.stream.write(icey.RawPacket(b"!", FINAL))
    assert rawserver.read_chunks(server) == b"Hello!"
    server.answer(b"")
    assert raw.story(sending.conn) == [100, 200, "complete"]
    sending.conn.close()


def test_what_a_file_has(raw, tmp_path):
    path = tmp_path / "film"
    path.write_bytes(bytes(range(256)) * 4000)
    conn = raw.connection(method="PUT", headers={"Content-Length": "1024000"})
    conn.start()
    stream, sink = piped(conn, icey.FileSource(raw.loop, str(path)))
    server = raw.accept()
    assert server.request().body == path.read_bytes()
    server.answer(b"")
    assert raw.story(conn) == [200, "complete"] and sink.dropped == stream.dropped == 0
    conn.close()


def test_an_answer_into_a_request(raw):
    """A pipe between two servers, neither of which is read ahead of the other."""
    one, two = raw.connection("/from"), raw.connection("/to", method="POST", headers=CHUNKED)
    two.start()
    stream, sink = piped(two, ClientSource(one))
    there = raw.accept()
    one.start()
    here = raw.accept()
    assert here.head().target == "/from"
    here.send(answer(b"film" * 50000))
    assert there.request().body == b"film" * 50000
    there.answer(b"thanks")
    assert raw.story(two) == [200, b"thanks", "complete"] and raw.story(one)[-1] == "complete"
    assert one.reusable and two.reusable and stream.error is None
    one.close()
    two.close()


def test_both_ends_of_one_connection(raw):
    conn = raw.connection(method="POST", headers=CHUNKED)
    conn.start()
    up, down = PacketStream(), PacketStream()
    up.attach(ClientSink(conn))
    down.attach_source(ClientSource(conn), sync_state=True)
    came = packets.output(down)
    down.start()
    up.start()
    server = raw.accept()
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for word in (b"one", b"two"):
        up.write(word)
        assert server.read_until(word + b"\r\n") == b"3\r\n" + word + b"\r\n"
        server.send(b"3\r\n" + word.upper() + b"\r\n")
        raw.until(lambda word=word: came and came[-1] == word.upper())
    up.close()
    assert server.read_until(b"0\r\n\r\n")
    server.send(b"0\r\n\r\n")
    raw.until(lambda: down.stopped)
    assert came == [b"ONE", b"TWO", b""] and conn.reusable
    conn.close()


# A server that is slow

LIMITS = {"high_water": 8192, "low_water": 2048}


def test_a_slow_server_pauses_the_stream_and_loses_nothing(slow):
    conn = slow.connection(method="POST", headers=CHUNKED, limits=LIMITS)
    conn.start()
    data = bytes(range(256)) * 4096
    path_like = iter([data[at:at + 4096] for at in range(0, len(data), 4096)])
    server_side = slow.connection("/from")  # what comes is held up, too
    stream, sink = piped(conn, ClientSource(server_side))
    most = []
    stream.on_packet += lambda packet: most.append(conn.queued)
    server = slow.accept()
    server_side.start()
    origin = slow.accept()
    origin.head()
    server.head()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
    rest, got = memoryview(b"".join(path_like)), bytearray()
    while not got.endswith(b"\r\n0\r\n\r\n"):
        try:
            rest = rest[origin.sock.send(rest[:65536]):] if rest else rest
        except BlockingIOError:
            pass
        slow.turn(2)
        try:
            got += server.sock.recv(8192)
        except BlockingIOError:
            pass
    assert unchunked(got) == data and sink.dropped == stream.dropped == 0
    assert max(most) < LIMITS["high_water"] + 73728 + 16
    server.answer(b"")
    slow.rest(conn)
    conn.close()
    server_side.close()


def unchunked(data):
    body, rest = b"", bytes(data)
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[:int(size, 16)]
        rest = rest[int(size, 16) + 2:]
    return body


@pytest.mark.parametrize("drop", ["newest", "oldest", "latest", "close"])
def test_a_server_that_never_reads_and_packets_that_may_be_dropped(slow, drop):
    conn = slow.connection(method="POST", headers=CHUNKED, limits=LIMITS)
    conn.start()
    sink = ClientSink(conn, drop=drop, max_queue=3)
    stream = PacketStream()
    stream.attach(sink)
    stream.start()
    server = slow.accept()
    server.head()
    for number in range(200):
        stream.write(b"%04d" % number * 512)
        slow.turn()
    assert sink.dropped > 100 and conn.queued < 2 * LIMITS["high_water"]
    if drop == "close":
        assert conn.closed and sink.closed
        return
    assert sink.depth == {"newest": 0, "oldest": 3, "latest": 1}[drop] and sink.full
    stream.close()
    numbers = []
    body = rawserver.read_chunks(server)
    while body:
        numbers.append(int(body[:4]))
        assert body[:2048] == b"%04d" % numbers[-1] * 512
        body = body[2048:]
    assert numbers == sorted(numbers) and len(numbers) + sink.dropped == 200
    assert (numbers[-1] == 199) == (drop != "newest")
    server.answer(b"")
    slow.rest(conn)
    conn.close()


def test_a_source_that_does_not_wait_runs_into_the_cap(slow):
    conn = slow.connection(method="POST", headers=CHUNKED, limits=dict(LIMITS, max_queue=65536))
    conn.start()
    sink = ClientSink(conn)
    stream = PacketStream()
    stream.attach(sink)
    stream.start()
    server = slow.accept()
    server.head()
    with pytest.raises(icey.StateError):  # it is paused
        for _ in range(100):
            stream.write(bytes(20000))
    assert stream.state.name == "PAUSED"
    conn.abort()
    slow.turn(3)
    assert sink.closed and stream.active, "without a source it stays open"
    stream.close()


# The stream fails

@pytest.mark.parametrize("headers", FRAMINGS.values(), ids=FRAMINGS)
@pytest.mark.parametrize("when", ["connecting", "sending", "held"])
def test_where_the_stream_fails_the_request_is_cut(raw, headers, when):
    if when == "held":
        headers = dict(headers or CHUNKED, Expect="100-continue")
    sending = Sending(raw, headers, stages=[packets.Boom()])
    sending.stream.on_error += lambda stream, exc: None
    server = None
    if when != "connecting":
        sending.stream.write(b"half")
        server = raw.accept()
        server.head()
    sending.stream.write(b"boom")
    raw.until(lambda: sending.conn.closed)
    if server is None:
        assert raw.accept().read_all() == b""
    else:
        with pytest.raises(ConnectionResetError):
            server.read_all()
    assert sending.closed == [sending.sink] and sending.stream.closed
    assert "complete" not in [name for name, *_ in sending.conn.seen]


def test_a_source_that_breaks_off_cuts_the_request(raw):
    one, two = raw.connection("/from"), raw.connection("/to", method="POST", headers=CHUNKED)
    two.start()
    stream, sink = piped(two, ClientSource(one))
    there = raw.accept()
    one.start()
    here = raw.accept()
    here.head()
    here.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    there.head()
    assert there.read_until(b"half\r\n")
    here.close()
    with pytest.raises(ConnectionResetError):
        there.read_all()
    raw.until(lambda: two.closed)
    assert type(stream.error) is icey.IncompleteBody and sink.closed


@pytest.mark.parametrize("end", ["FINAL", "close", "stop"])
def test_short_of_its_length_is_an_error_and_a_cut(raw, end, capfd):
    sending = Sending(raw, {"Content-Length": "10"})
    stream = sending.stream
    stream.on_error += lambda stream, exc: None
    stream.write(b"half")
    server = raw.accept()
    server.head()
    {"FINAL": lambda: stream.write(FlagPacket(FINAL)), "close": stream.close, "stop": stream.stop}[end]()
    with pytest.raises(ConnectionResetError):
        server.read_all()
    assert sending.conn.closed and sending.closed == [sending.sink]
    if end == "FINAL":
        assert isinstance(stream.error, icey.StateError) and "short of its Content-Length" in str(stream.error)
    stream.close()


def test_beyond_its_length_is_an_error_and_a_cut(raw):
    for first, second in ((b"12345", b"6"), (b"1234", b"56")):
        sending = Sending(raw, {"Content-Length": "5"})
        sending.stream.on_error += lambda stream, exc: None
        server = raw.accept()
        server.head()
        sending.stream.write(first)
        sending.stream.write(second)
        assert isinstance(sending.stream.error, icey.StateError)
        raw.until(lambda sending=sending: sending.conn.closed)
        with pytest.raises(ConnectionResetError):
            server.read_all()


def test_abort_of_the_sink_cuts(raw):
    sending = Sending(raw, CHUNKED)
    sending.stream.write(b"half")
    server = raw.accept()
    server.head()
    sending.sink.abort()
    with pytest.raises(ConnectionResetError):
        server.read_all()
    assert sending.closed == [sending.sink] and sending.conn.closed
    sending.stream.close()


# The server refuses, or goes

def ticking(raw):
    return TimerSource(raw.loop, 0.01, lambda count: b"tick %d" % count)


@pytest.mark.parametrize("keep", [False, True])
def test_a_server_that_answers_early_ends_the_stream(raw, keep):
    conn = raw.connection(method="POST", headers=CHUNKED)
    conn.start()
    stream, sink = piped(conn, ticking(raw))
    server = raw.accept()
    server.head()
    raw.wait(0.05)
    server.answer(b"too large", *([] if keep else ["Connection: close"]), status="413 Too Large")
    raw.until(lambda: conn.closed)
    assert rawserver.story(conn.seen)[:2] == [413, b"too large"] and "complete" in rawserver.story(conn.seen)
    assert sink.closed and stream.closed and stream.error is None
    with pytest.raises(ConnectionResetError):
        server.read_all()


def test_refused_before_the_body(raw):
    conn = raw.connection(method="POST", headers=EXPECTS)
    conn.start()
    stream, sink = piped(conn, ticking(raw))
    server = raw.accept()
    server.head()
    raw.wait(0.05)
    server.send(b"HTTP/1.1 417 No\r\nContent-Length: 4\r\n\r\n")
    raw.until(lambda: conn.response is not None)
    raw.wait(0.05)  # packets come on: nobody takes them
    assert sink.dropped and stream.active
    server.send(b"then")
    raw.until(lambda: conn.closed)
    assert rawserver.story(conn.seen) == [417, b"then", "complete", "close"]
    assert stream.closed and stream.error is None and b"tick" not in server.read_all()


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("others", [False, True])
def test_a_server_that_goes_fails_the_stream_that_fed_it_alone(raw, leave, others):
    conn = raw.connection(method="POST", headers=CHUNKED)
    conn.start()
    stream, sink = piped(conn, ticking(raw))
    came = packets.output(stream) if others else None
    server = raw.accept()
    server.head()
    raw.wait(0.05)
    getattr(server, leave)()
    end = raw.clock() + 1
    while not conn.closed and raw.clock() < end:
        raw.wait(0.01)
    raw.turn(2)
    assert sink.closed and rawserver.story(conn.seen)[-1] == "close"
    if others:
        count = len(came)
        raw.wait(0.05)
        assert len(came) > count and stream.active and sink.dropped
        stream.close()
    else:
        assert stream.closed and isinstance(stream.error, OSError)


def test_nobody_listens(raw):
    conn = raw.connection(method="POST", headers=CHUNKED)
    raw.stop_listening()
    conn.start()
    stream, sink = piped(conn, ticking(raw))
    raw.until(lambda: conn.closed)
    raw.turn(2)
    assert sink.closed and stream.closed and isinstance(stream.error, icey.ConnectError)


def test_a_paused_stream_learns_it_too(slow):
    conn = slow.connection(method="POST", headers=CHUNKED, limits=LIMITS)
    conn.start()
    stream, sink = piped(conn, TimerSource(slow.loop, 0.01, lambda count: bytes(4096)))
    server = slow.accept()
    server.head()
    while stream.active:
        slow.wait(0.05)
    server.reset()
    slow.until(lambda: conn.closed)
    slow.turn(2)
    assert stream.closed and sink.closed and isinstance(stream.error, OSError)


@pytest.mark.parametrize("verb", ["close", "abort"])
@pytest.mark.parametrize("when", ["connecting", "sending", "answering"])
def test_a_connection_that_is_closed_here_ends_the_stream(raw, verb, when):
    conn = raw.connection(method="POST", headers=CHUNKED)
    conn.start()
    stream, sink = piped(conn, ticking(raw))
    if when != "connecting":
        server = raw.accept()
        server.head()
        raw.wait(0.03)
    if when == "answering":
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12")
        raw.turn(3)
    getattr(conn, verb)()
    raw.until(lambda: conn.closed)
    raw.turn(2)
    assert sink.closed and stream.closed and stream.error is None


def test_a_slot_that_closes_inside_a_packet(raw):
    conn = raw.connection(method="POST", headers=CHUNKED)
    conn.start()
    stream, sink = piped(conn, ticking(raw))
    stream.on_packet += lambda packet: conn.close()
    raw.accept()
    raw.wait(0.05)
    raw.until(lambda: conn.closed)
    assert sink.closed
    stream.close()


def test_close_stream_False(raw):
    sending = Sending(raw, CHUNKED, close_stream=False)
    sending.stream.write(b"a")
    server = raw.accept()
    server.head()
    server.reset()
    raw.until(lambda: sending.conn.closed)
    sending.stream.write(b"b")
    assert sending.sink.dropped == 1 and sending.stream.active
    sending.stream.close()


def test_loop_close(raw, loop):
    conn = raw.connection(method="POST", headers=CHUNKED)
    conn.start()
    stream, sink = piped(conn, ClientSource(raw.connection("/never")))
    raw.accept().head()
    if loop.debug:
        with pytest.warns(ResourceWarning):
            loop.close()
    else:
        loop.close()
    assert sink.closed and stream.closed


# Misuse

def test_a_request_that_takes_no_body(raw):
    conn = ClientConnection(raw.loop, raw.url(), method="POST")
    with pytest.raises(icey.StateError, match=r"send_owned\(\) before start"):
        ClientSink(conn)
    conn.start(body=b"a body")
    with pytest.raises(icey.StateError, match="not sent that way"):
        ClientSink(conn)
    conn.close()
    with pytest.raises(icey.StateError):
        ClientSink(conn)
    get = ClientConnection(raw.loop, raw.url())
    get.start()
    with pytest.raises(icey.StateError, match="not sent that way"):
        ClientSink(get)
    get.close()
    for wrong in ({"drop": "some"}, {"max_queue": 0}):
        with pytest.raises(ValueError):
            ClientSink(conn, **wrong)


@needs_threads
def test_from_another_thread(raw):
    sending = Sending(raw, CHUNKED)
    sending.stream.on_error += lambda stream, exc: None
    for touch in (sending.sink.close, sending.sink.abort, lambda: ClientSink(sending.conn)):
        with pytest.raises(icey.AffinityError):
            Thread(touch).join()
    sending.conn.close()
