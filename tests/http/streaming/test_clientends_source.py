"""ClientSource: an answer's body as packets, whole or not, paused, one after the other, of a connection and of a call."""
import socket

import pytest

import icey
from icey import BorrowError, PacketFlags, PacketProcessor, PacketStream
from icey.http import ClientSource
from icey.tools.testing import Peer
from tests.support import packets, rawserver
from tests.support.packets import Thread, needs_threads
from tests.support.rawserver import answer, chunked

debug, clock, reports, loop, raw, moves = (
    rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop, rawserver.raw, rawserver.moves)

FINAL = PacketFlags.FINAL
FORMS = [answer(b"Hello, you"), chunked(b"Hello, ", b"you"), answer(b"Hello, you", "Connection: close", length=False)]
each_form = pytest.mark.parametrize("form", FORMS, ids=["length", "chunked", "until the end"])


class Fed:
    """A stream that a ClientSource of `conn` feeds. `came`, `flags`: of its packets."""

    def __init__(self, conn, start=True, **options):
        self.came, self.flags = [], []
        self.source = ClientSource(conn, **options)
        self.stream = PacketStream()
        self.stream.attach_source(self.source, sync_state=True)
        self.stream.on_packet += self.note
        self.seen = packets.events(self.stream)
        if start:
            self.stream.start()

    def note(self, packet):
        self.came.append(bytes(packet.data))
        self.flags.append(packet.flags)

    @property
    def body(self):
        return b"".join(self.came)


@pytest.fixture(params=["connection", "call"])
def asked(request, raw):
    """A function: (what a ClientSource takes, the server's end), a request just sent."""
    def ask(path="/", **options):
        if request.param == "connection":
            conn = raw.connection(path, **options)
            conn.start()
        else:
            conn = raw.get(path).call
        return conn, raw.accept

    return ask


@each_form
def test_a_whole_answer_is_its_packets_and_one_FINAL(raw, asked, form):
    conn, accept = asked()
    fed = Fed(conn)
    server = accept()
    server.head()
    server.send(form)
    if b"close" in form:
        server.close()
    raw.until(lambda: fed.flags and fed.flags[-1] & FINAL)
    raw.turn(3)
    assert fed.body == b"Hello, you" and fed.flags.count(FINAL) == 1 and fed.stream.stopped and fed.stream.error is None
    conn.close()


@pytest.mark.parametrize("form", FORMS[:2], ids=["length", "chunked"])
def test_split_anywhere(raw, form):
    conn = raw.connection()
    fed = Fed(conn, start=False)
    server = None
    for place in range(1, len(form)):
        fed.came.clear()
        fed.flags.clear()
        fed.stream.start()
        conn.start()
        server = server or raw.accept()
        server.head()
        server.send(form[:place])
        raw.turn(2)
        server.send(form[place:])
        raw.until(lambda: fed.stream.stopped)
        assert fed.body == b"Hello, you" and fed.flags.count(FINAL) == 1
    conn.close()


@pytest.mark.parametrize("method, form", [
    ("GET", answer()), ("GET", chunked()), ("HEAD", answer(b"", "Content-Length: 9", length=False)),
    ("GET", answer(status="204 No Content", length=False))])
def test_no_body_is_FINAL_alone(raw, method, form):
    conn = raw.connection(method=method)
    fed = Fed(conn)
    conn.start()
    server = raw.accept()
    server.head()
    server.send(form)
    raw.until(lambda: fed.stream.stopped)
    assert (fed.came, fed.flags) == ([b""], [FINAL])
    conn.close()


def test_one_answer_after_the_other_on_one_connection(raw):
    conn = raw.connection()
    fed = Fed(conn, start=False)
    server = None
    for body in (b"one", b"", b"three"):
        fed.came.clear()
        conn.start()
        fed.stream.start()
        server = server or raw.accept()
        server.reply(body)
        raw.until(lambda: fed.stream.stopped)
        assert fed.body == body and conn.reusable
    conn.start()  # nobody takes this one
    server.reply(b"four")
    raw.rest(conn)
    assert fed.body == b"three" and fed.stream.dropped == 0
    conn.close()


@pytest.mark.parametrize("status", ["404 Not Found", "500 No", "304 Not Modified", "301 Moved"])
@pytest.mark.parametrize("only_2xx", [False, True])
def test_an_answer_that_is_no_2xx(raw, status, only_2xx):
    conn = raw.connection()
    fed = Fed(conn, only_2xx=only_2xx)
    conn.start()
    server = raw.accept()
    server.head()
    server.send(answer(b"" if status[0] == "3" else b"a page of its own", status=status, length=status[:3] != "304"))
    raw.rest(conn)
    raw.turn(2)
    if only_2xx:
        assert type(fed.stream.error) is icey.BadResponse and str(fed.stream.error) == "the answer is %s, and not 2xx" % status
        assert fed.came == [] and fed.source.stage == 4
    else:
        assert fed.stream.error is None and fed.flags[-1] == FINAL
        assert fed.body == (b"" if status[0] == "3" else b"a page of its own")
    assert raw.story(conn)[-1] == "complete", "the connection takes no harm"
    conn.close()


@pytest.mark.needs("zlib")
def test_of_a_call_the_last_answer_alone_decoded(raw):
    import gzip

    call = raw.get("/old", client=raw.client()).call
    fed = Fed(call, only_2xx=True)
    server = raw.accept()
    server.head()
    server.send(answer(b"not this", "Location: /new", status="302 Found"))
    assert server.head().target == "/new"
    server.send(answer(gzip.compress(b"Hello, you" * 1000), "Content-Encoding: gzip"))
    raw.until(lambda: fed.stream.stopped)
    assert fed.body == b"Hello, you" * 1000


def test_of_a_call_that_brings_no_2xx(raw):
    asking = raw.get("/")
    fed = Fed(asking.call, only_2xx=True)
    raw.accept().reply(b"a page of its own", status="404 Not Found")
    answered, error = asking.result()
    assert error is None and answered.status == 404 and fed.came == []
    assert type(fed.stream.error) is icey.BadResponse


def test_the_done_of_a_call_is_told_too(raw, reports):
    asking = raw.get("/")
    fed = Fed(asking.call)
    asking.call.tell_also(lambda answer, error: 1 / 0)
    server = raw.accept()
    server.reply(b"Hello")
    answered, error = asking.result()
    assert (answered.status, answered.body, error, fed.body) == (200, b"", None, b"Hello")
    reports.take(ZeroDivisionError)


def test_its_packets_are_lent(raw):
    conn = raw.connection()
    kept = []
    source = ClientSource(conn)
    source.on_packet += lambda packet: kept.append((packet, packet.data)) if packet.size else None
    source.start()
    conn.start()
    raw.accept().reply(b"Hello")
    raw.rest(conn)
    packet, view = kept[0]
    with pytest.raises(BorrowError):
        packet.data
    with pytest.raises(ValueError):
        bytes(view)
    conn.close()


# Pausing

def test_while_the_stream_is_paused_the_server_is_held_up_and_no_deadline_runs(raw, asked):
    conn, accept = asked()
    fed = Fed(conn)
    server, size = accept(), 2 << 20
    server.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nfirst" % size)
    raw.until(lambda: fed.came)
    fed.stream.pause()
    stuck, rest = 0, memoryview(bytes(size - 5))
    while rest and stuck < 30:
        try:
            rest = rest[server.sock.send(rest):]
            stuck = 0
        except BlockingIOError:
            raw.turn()
            stuck += 1
    assert len(rest) > size // 4 and fed.body == b"first"
    raw.wait(25 if raw.clients else 3600)
    assert fed.body == b"first" and fed.stream.dropped == 0 and not conn.closing
    fed.stream.resume()
    server.send(bytes(rest))
    raw.until(lambda: fed.stream.stopped)
    assert len(fed.body) == size and fed.stream.dropped == 0
    conn.close()


@pytest.mark.parametrize("form", FORMS[:2], ids=["length", "chunked"])
def test_the_end_waits_too_and_the_next_answer_is_not_taken_for_this_ones(raw, form):
    conn = raw.connection()
    fed = Fed(conn)
    fed.stream.on_packet += lambda packet: fed.stream.pause() if packet.size else None
    conn.start()
    server = raw.accept()
    server.head()
    server.send(form)
    for _ in range(2):
        raw.turn(4)
        if not fed.flags[-1] & FINAL and not fed.stream.active:
            fed.stream.resume()
            raw.turn(4)
    raw.until(lambda: conn.state.name == "IDLE")
    assert fed.body == b"Hello, you"
    conn.start()
    server.head()
    server.send(answer(b"of another"))
    raw.rest(conn)
    if not fed.stream.stopped:
        fed.stream.resume()
        raw.until(lambda: fed.stream.stopped)
    assert fed.body == b"Hello, you" and fed.flags.count(FINAL) == 1 and fed.stream.dropped == 0
    conn.close()


def test_FINAL_that_waited_comes_after_a_stop_too(raw):
    conn = raw.connection()
    fed = Fed(conn)
    fed.stream.on_packet += lambda packet: fed.stream.pause() if packet.size else None
    conn.start()
    raw.accept().reply(b"Hello")
    raw.rest(conn)
    fed.source.stop()
    fed.stream.resume()
    raw.turn(3)
    assert fed.flags == [0]
    fed.source.start()
    raw.until(lambda: fed.stream.stopped)
    assert fed.flags == [0, FINAL]
    conn.close()


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_a_slot_that_closes_the_connection_when_all_is_here_takes_no_FINAL_away(raw, verb):
    """Also one that was attached before the source was started."""
    conn = raw.connection()
    conn.on_complete += lambda conn: getattr(conn, verb)()
    fed = Fed(conn)
    conn.start()
    server = raw.accept()
    server.head()
    server.send(answer(b"hello"))
    raw.until(lambda: conn.closed)
    raw.until(lambda: fed.stream.stopped)
    assert fed.body == b"hello" and fed.flags[-1] == PacketFlags.FINAL and fed.stream.error is None


def test_stop_and_start_lose_nothing(raw, asked):
    conn, accept = asked()
    fed = Fed(conn)
    server = accept()
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12")
    raw.until(lambda: fed.came)
    fed.source.stop()
    fed.source.stop()
    server.send(b"345")
    raw.turn(5)
    assert fed.body == b"12"
    fed.source.start()
    fed.source.start()
    raw.until(lambda: fed.body == b"12345")
    fed.stream.stop()
    server.send(b"67890")
    raw.turn(5)
    assert fed.body == b"12345"
    fed.stream.start()
    raw.until(lambda: fed.stream.stopped)
    assert fed.body == b"1234567890" and fed.flags.count(FINAL) == 1 and fed.stream.dropped == 0
    conn.close()


@needs_threads
def test_paused_by_another_thread(raw, asked):
    conn, accept = asked()
    fed = Fed(conn)
    server = accept()
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    raw.until(lambda: fed.came)
    Thread(fed.stream.pause).join()
    raw.turn(2)
    server.send(b"67890")
    raw.turn(5)
    assert fed.body == b"12345" and fed.stream.dropped == 0
    Thread(fed.stream.resume).join()
    raw.until(lambda: fed.stream.stopped)
    assert fed.body == b"1234567890"
    conn.close()


# What is not whole

HALF = {"length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        "until the end": b"HTTP/1.1 200 OK\r\n\r\n12345"}


LEAVES = [("until the end", "reset"),
          *((form, leave) for form in ("length", "chunked") for leave in ("close", "reset", "half_close"))]


@pytest.mark.parametrize("form, leave", LEAVES)
def test_a_body_that_does_not_come_to_its_end_is_the_streams_error(raw, asked, form, leave):
    conn, accept = asked()
    fed = Fed(conn)
    server = accept()
    server.head()
    server.send(HALF[form])
    raw.until(lambda: fed.came)
    getattr(server, leave)()
    raw.until(lambda: fed.stream.closed)
    assert fed.body == b"12345" and FINAL not in fed.flags
    assert fed.seen[-1] == ("close",) and isinstance(fed.stream.error, (icey.IncompleteBody, OSError))
    raw.until(lambda: conn.closed)


@pytest.mark.parametrize("rest", [b"NO\r\n", b"ffffffffffffffffffff\r\n"])
def test_malformed_on_its_way_likewise(raw, asked, rest):
    conn, accept = asked()
    fed = Fed(conn)
    server = accept()
    server.head()
    server.send(HALF["chunked"] + rest)
    raw.until(lambda: fed.stream.closed)
    assert fed.body == b"12345" and isinstance(fed.stream.error, icey.HttpError) and FINAL not in fed.flags


@pytest.mark.parametrize("verb", ["close", "abort"])
@pytest.mark.parametrize("when", ["before the answer", "in its body", "paused", "stopped"])
def test_a_connection_that_is_closed_here(raw, asked, verb, when):
    conn, accept = asked()
    fed = Fed(conn)
    server = accept()
    server.head()
    if when != "before the answer":
        server.send(HALF["length"])
        raw.until(lambda: fed.came)
    if when == "paused":
        fed.stream.pause()
    elif when == "stopped":
        fed.source.stop()
    getattr(conn, verb)()
    raw.until(lambda: conn.closed)
    raw.turn(2)
    if when == "stopped":
        assert fed.stream.active
        with pytest.raises(icey.StateError, match="whose connection is closed"):
            fed.source.start()
        fed.stream.close()
    else:
        assert fed.stream.closed and type(fed.stream.error) is icey.NetError and FINAL not in fed.flags


def test_nobody_answers(raw, asked):
    conn, accept = asked()
    fed = Fed(conn)
    server = accept()
    server.head()
    server.close()
    raw.until(lambda: fed.stream.closed)
    assert fed.came == [] and isinstance(fed.stream.error, icey.PeerClosed)


def test_a_deadline_is_the_streams_error(raw):
    conn = raw.connection(limits={"body_timeout": 5.0})
    fed = Fed(conn)
    conn.start()
    server = raw.accept()
    server.head()
    server.send(HALF["length"])
    raw.until(lambda: fed.came)
    raw.wait(6)
    raw.until(lambda: fed.stream.closed)
    assert isinstance(fed.stream.error, icey.Deadline)


def test_a_call_that_is_late(raw):
    client = raw.client(timeout=5.0)
    fed = Fed(raw.get("/", client=client).call)
    server = raw.accept()
    server.head()
    server.send(HALF["length"])
    raw.until(lambda: fed.came)
    fed.stream.pause()
    raw.wait(6)
    raw.until(lambda: fed.stream.closed)
    assert isinstance(fed.stream.error, icey.Deadline) and FINAL not in fed.flags


def test_loop_close(raw, loop):
    conn = raw.connection()
    fed = Fed(conn)
    conn.start()
    server = raw.accept()
    server.head()
    server.send(HALF["length"])
    raw.until(lambda: fed.came)
    if loop.debug:
        with pytest.warns(ResourceWarning):
            loop.close()
    else:
        loop.close()
    assert fed.stream.closed and type(fed.stream.error) is icey.NetError


# Nobody takes it any more

class Leaver(PacketProcessor):
    """A sink whose receiver goes."""

    serves = True

    def __init__(self):
        self.stream = None

    def leave(self):
        self.serves = False
        self.runs_in.sink_gone()


def test_an_answer_that_nobody_takes_is_not_read_to_its_end(raw, asked):
    conn, accept = asked()
    leaver = Leaver()
    stream = PacketStream()
    stream.attach_source(ClientSource(conn), sync_state=True)
    stream.attach(leaver)
    stream.start()
    server = accept()
    server.head()
    server.send(HALF["length"])
    raw.turn(5)
    leaver.leave()
    raw.until(lambda: conn.closed)
    assert stream.closed and stream.error is None


def test_a_download_ends_with_the_viewer_that_it_was_for(raw, asked):
    """A server that passes on what another one sends: the one who asked goes, and nothing more is asked for."""
    conn, accept = asked()
    server = icey.http.Server(raw.loop, "127.0.0.1", 0).start()
    feeds = []
    server.on_request += lambda exchange: feeds.append(icey.http.ChunkedAdapter(exchange, drop="pause"))
    viewer = Peer.connect(raw.loop, server.address)
    viewer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    raw.until(lambda: feeds)
    stream = PacketStream()
    stream.attach_source(ClientSource(conn), sync_state=True)
    stream.attach(feeds[0])
    stream.start()
    origin = accept()
    origin.head()
    origin.send(HALF["chunked"])
    viewer.read_until(b"12345")
    viewer.reset()
    raw.until(lambda: conn.closed)
    assert stream.closed and stream.error is None
    server.close()


def test_a_connection_that_is_idle_stays(raw):
    conn = raw.connection()
    conn.start()
    raw.accept().reply(b"x")
    raw.rest(conn)
    leaver = Leaver()
    stream = PacketStream()
    stream.attach_source(ClientSource(conn), sync_state=True)
    stream.attach(leaver)
    stream.start()
    leaver.leave()
    raw.turn(4)
    assert conn.reusable
    conn.close()


# Misuse

def test_what_is_over_cannot_be_started(raw, asked):
    conn, accept = asked()
    accept().reply(b"x")
    raw.turn(5)
    conn.close()
    raw.until(lambda: conn.closed)
    with pytest.raises(icey.StateError, match="whose connection is closed"):
        ClientSource(conn).start()


def test_a_call_has_one_answer(raw):
    fed = Fed(raw.get("/").call)
    raw.accept().reply(b"x")
    raw.until(lambda: fed.stream.stopped)
    with pytest.raises(icey.StateError):
        fed.source.start()


@pytest.mark.parametrize("late", ["in the body", "when it refused this answer"])
def test_when_some_of_the_body_has_gone_by(raw, late):
    conn = raw.connection()
    fed = Fed(conn, start=late != "in the body", only_2xx=True)
    conn.start()
    server = raw.accept()
    server.head()
    server.send(HALF["length"].replace(b"200 OK", b"200 OK" if late == "in the body" else b"404 No"))
    raw.until(lambda: conn.received)
    with pytest.raises(icey.StateError, match="has gone by"):
        (fed.source if late != "in the body" else ClientSource(conn)).start()
    conn.close()


def test_started_in_on_headers(raw, asked):
    conn, accept = asked()
    came = []

    def begin(conn):
        source = ClientSource(conn)
        source.on_packet += lambda packet: came.append(bytes(packet.data))
        source.start()

    conn.on_headers += begin
    accept().reply(b"Hello")
    raw.until(lambda: came == [b"Hello", b""])
    conn.close()


@needs_threads
def test_from_another_thread(raw, asked):
    conn, accept = asked()
    source = ClientSource(conn)
    for touch in (source.start, source.stop):
        with pytest.raises(icey.AffinityError):
            Thread(touch).join()
    conn.close()
