"""WSGI: clients that read slowly, or leave; files; the ends of server and loop. None of them holds a thread, or leaks."""
import gzip
import io
import os
import tempfile
import threading
from contextlib import contextmanager

import pytest

import icey
from tests.support import http, seeds, streams, wsgi as support
from tests.support.wsgi import answers

debug, clock, reports, loop = http.debug, http.clock, http.reports, http.loop
logged, gate, wsgi = support.logged, support.gate, support.wsgi

pytestmark = pytest.mark.needs("threading")

SMALL = {"high_water": 4096, "low_water": 1024}
PIECE = b"0123456789abcdef" * 64


class Pieces:
    """`count` pieces; `given` so far; `closed`: the names of the threads that closed it."""

    def __init__(self, count, piece=PIECE):
        self.count = count
        self.piece = piece
        self.given = 0
        self.closed = []

    def __iter__(self):
        return self

    def __next__(self):
        if self.given == self.count:
            raise StopIteration
        self.given += 1
        return self.piece

    def close(self):
        self.closed.append(threading.current_thread().name)


def narrow(app):
    """`app`, on connections of which the kernel takes little."""
    def slot(exchange):
        http.narrow(exchange)
        app(exchange)
    return slot


@contextmanager
def serving(wsgi, app, *, clients=1, **options):
    """Clients that read little, and their server."""
    options.setdefault("limits", SMALL)
    wsgi.serve(app, receive=4096, **options)
    wsgi.server.on_request -= wsgi.slot
    wsgi.server.on_request += narrow(wsgi.slot)
    yield wsgi.clients[-1:] + [wsgi.client(receive=4096) for _ in range(clients - 1)]


def settled(wsgi, bodies):
    """The threads have left, and no more is asked for."""
    wsgi.idle()
    before = [body.given for body in bodies]
    wsgi.turn(3)
    return wsgi.idle() and [body.given for body in bodies] == before


# slow readers

@pytest.mark.parametrize("length", [False, True])
def test_pieces_are_asked_for_as_the_client_takes_them(wsgi, length):
    body = Pieces(500)
    size = 500 * len(PIECE)
    with serving(wsgi, answers(lambda environ: body, *[("Content-Length", str(size))] * length)) as (client,):
        client.ask()
        wsgi.until(lambda: body.given and settled(wsgi, [body]))
        stood = body.given
        assert stood < 250 and not body.closed
        assert client.answer().body == PIECE * 500
        wsgi.idle()
        assert body.given == 500 and body.closed == ["icey wsgi"]


@pytest.mark.parametrize("kind", ["pieces", "one", "length", "list"])
def test_many_slow_readers_hold_no_thread(wsgi, kind):
    bodies, large, crowd = [], PIECE * 200, seeds.rounds(60, 200)

    def made(environ):
        if environ["PATH_INFO"] == "/small":
            return [b"small"]
        body = [large] if kind == "list" else Pieces(200) if kind == "pieces" else Pieces(1, large)
        bodies.append(body)
        return body

    with serving(wsgi, answers(made), clients=crowd, threads=2, valid=False) as clients:
        for client in clients:
            client.ask()
        wsgi.until(lambda: len(bodies) == crowd)
        assert wsgi.idle() and len(wsgi.server.connections) == crowd
        other = wsgi.client()
        for _ in range(5):
            assert other.get("/small").body == b"small"
        wsgi.idle()
        if kind != "list":
            assert any(not body.closed for body in bodies)
        for client in clients[::20]:
            assert client.answer().body == large
        wsgi.idle()


def test_write_holds_its_thread_but_not_more_bytes(wsgi):
    written = []

    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        for _ in range(500):
            write(PIECE)
            written.append(1)
        return []

    with serving(wsgi, app) as (client,):
        client.ask()
        wsgi.until(lambda: written)
        wsgi.turn(50)
        assert len(written) < 250 and wsgi.busy == 1
        assert client.answer().body == PIECE * 500 and wsgi.idle()


def test_a_piece_larger_than_all_limits_is_sent(wsgi):
    piece = os.urandom(1 << 21)
    with serving(wsgi, answers(lambda environ: iter([b"x", piece, b"y"])), limits=dict(SMALL, max_queue=1 << 20)) as (client,):
        client.ask()
        assert client.answer().body == b"x" + piece + b"y" and wsgi.idle()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("most", [1, 100000, 1 << 18])
def test_a_queue_that_takes_less_than_a_slice_cuts_nothing(wsgi, most, compress):
    piece = os.urandom(1 << 20)
    with serving(wsgi, answers(lambda environ: iter([b"x", piece, b"y"])), limits=dict(SMALL, max_queue=most),
                 server={"compress": compress}) as (client,):
        client.ask("GET", "/", "Accept-Encoding: gzip")
        body = client.answer().body
        assert (gzip.decompress(body) if compress else body) == b"x" + piece + b"y" and wsgi.idle()


# clients that leave

@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("count", [3, 500])
def test_close_is_called_once_where_the_client_leaves_a_paused_answer(wsgi, how, count):
    body = Pieces(500)
    with serving(wsgi, answers(lambda environ: body)) as (client,):
        client.ask()
        wsgi.until(lambda: body.given and settled(wsgi, [body]))
        getattr(client, how)()
        if how == "close":
            wsgi.wait(40)
        assert wsgi.gone()
        wsgi.turn(3)
        wsgi.idle()
        assert body.closed == ["icey wsgi"] and body.given < 250


def test_close_is_called_once_where_the_client_leaves_while_a_piece_is_made(wsgi, gate):
    body = Pieces(1 << 30)
    take = body.__class__.__next__

    class Waiting(Pieces):
        def __next__(self):
            if self.given == 2:
                gate.wait()
            return take(self)

    body = Waiting(1 << 30)
    client = wsgi.serve(answers(lambda environ: body))
    client.ask()
    client.read_until(PIECE)
    wsgi.until(lambda: gate.waiting)
    client.reset()
    assert wsgi.gone()
    gate.open()
    assert wsgi.idle() and body.closed == ["icey wsgi"] and body.given == 3


def test_the_answer_to_a_client_that_has_left_is_dropped(wsgi, gate):
    body = Pieces(3)
    client = wsgi.serve(lambda environ, start_response: gate.wait() or answers(body)(environ, start_response))
    client.ask()
    wsgi.until(lambda: gate.waiting)
    client.reset()
    assert wsgi.gone()
    gate.open()
    assert wsgi.idle() and body.closed == ["icey wsgi"] and body.given == 1


def test_a_request_whose_client_leaves_before_its_turn_is_not_begun(wsgi, gate):
    called = []
    client = wsgi.serve(answers(lambda environ: called.append(environ["PATH_INFO"]) or gate.wait() or [b"x"]), threads=1)
    client.ask(target="/first")
    wsgi.until(lambda: gate.waiting)
    other = wsgi.client()
    other.ask(target="/second")
    wsgi.until(lambda: wsgi.busy == 2)
    other.reset()
    wsgi.until(lambda: len(wsgi.server.connections) == 1)
    gate.open()
    assert client.answer().body == b"x" and wsgi.idle() and called == ["/first"]


def test_write_raises_once_the_client_has_left(wsgi, logged):
    raised = []

    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            while True:
                write(PIECE)
        except OSError as exc:
            raised.append(type(exc))
            raise

    with serving(wsgi, app) as (client,):
        client.ask()
        client.read_until(PIECE)
        wsgi.turn(20)
        client.reset()
        assert wsgi.gone() and wsgi.idle()
    assert raised == [icey.PeerClosed]


def test_a_client_that_sends_no_more_still_gets_its_answer(wsgi, gate):
    client = wsgi.serve(lambda environ, start_response: gate.wait() or answers(iter([b"a", b"b"]))(environ, start_response))
    client.ask()
    client.half_close()
    wsgi.turn(3)
    gate.open()
    assert client.answer().body == b"ab" and client.at_end() and wsgi.idle()


# files

@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(PIECE * 300)
    with open(str(path), "rb") as file:
        yield file


def wrapped(file, *headers):
    """Answers with a file, wrapped."""
    return answers(lambda environ: environ["wsgi.file_wrapper"](file, 1000), *headers)


class Noting:
    """Whether a call sends a file, and how often it does."""

    def __init__(self, monkeypatch):
        self.count = 0
        real = icey.http.Exchange.send_file
        monkeypatch.setattr(icey.http.Exchange, "send_file", lambda *args, **options: self.add() or real(*args, **options))

    def add(self):
        self.count += 1


@pytest.mark.parametrize("headers, start, body", [
    ([], 0, PIECE * 300), ([], 1000, (PIECE * 300)[1000:]), ([("Content-Length", "10")], 1000, (PIECE * 300)[1000:1010]),
    ([], 300 * len(PIECE), b""), ([], 400 * len(PIECE), b""), ([("Content-Length", "0")], 0, b"")],
    ids=["whole", "from 1000", "10 of it", "at the end", "past the end", "nothing of it"])
def test_a_file_is_sent_from_where_it_is(wsgi, file, monkeypatch, headers, start, body):
    sent = Noting(monkeypatch)
    file.seek(start)
    client = wsgi.serve(wrapped(file, *headers), valid=False)
    answer = client.get()
    assert answer.body == body and answer["content-length"] == str(len(body)) and sent.count == 1
    wsgi.idle()
    assert file.closed


def test_head_of_a_file(wsgi, file):
    client = wsgi.serve(wrapped(file), valid=False)
    answer = client.get(method="HEAD")
    assert answer["content-length"] == str(300 * len(PIECE)) and wsgi.idle() and file.closed
    assert client.silent()


def transformed(file):
    """Reads otherwise than its descriptor would, as gzip does."""
    class Other(io.RawIOBase):
        fileno = file.fileno

        def readable(self):
            return True

        def readinto(self, buffer):
            data = file.read(len(buffer))
            buffer[:len(data)] = data.upper()
            return len(data)

        def close(self):
            file.close()
            super().close()

    return io.BufferedReader(Other())


def in_memory(file):
    with file:
        return io.BytesIO(file.read())


def temporary(file):
    made = tempfile.NamedTemporaryFile()
    made.write(file.read())
    made.seek(0)
    file.close()
    return made


@pytest.mark.parametrize("make, by_file, body", [
    (in_memory, 0, PIECE * 300), (transformed, 0, PIECE.upper() * 300),
    (temporary, 1, PIECE * 300),
], ids=["memory", "transformed", "temporary"])
def test_what_is_no_file_of_the_system_is_read(wsgi, file, monkeypatch, make, by_file, body):
    sent = Noting(monkeypatch)
    made = make(file)
    client = wsgi.serve(wrapped(made), valid=False)
    assert client.get().body == body and wsgi.idle() and sent.count == by_file and made.closed


def test_a_file_without_close_or_shorter_than_promised(wsgi, file, logged):
    class Bare:
        read = file.read

    client = wsgi.serve(answers(lambda environ: environ["wsgi.file_wrapper"](Bare())), valid=False)
    assert client.get().body == PIECE * 300
    client = wsgi.serve(wrapped(file, ("Content-Length", str(301 * len(PIECE)))), valid=False)
    assert client.get().status == 500
    assert wsgi.idle() and file.closed
    logged.take(icey.StateError)


def test_a_wrapped_file_behind_write_is_read(wsgi, file, monkeypatch):
    sent = Noting(monkeypatch)

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])(b"first ")
        return environ["wsgi.file_wrapper"](file)

    assert wsgi.serve(app, valid=False).get().body == b"first " + PIECE * 300 and wsgi.idle()
    assert file.closed and not sent.count


def test_a_file_before_start_response_is_an_error(wsgi, file, logged):
    client = wsgi.serve(lambda environ, start_response: environ["wsgi.file_wrapper"](file), valid=False)
    assert client.get().status == 500 and wsgi.idle() and file.closed
    logged.take(icey.StateError)


def test_a_file_whose_client_leaves_is_closed_on_a_thread(wsgi, file):
    with serving(wsgi, wrapped(file), valid=False) as (client,):
        client.ask()
        client.read_until(PIECE)
        assert wsgi.idle() and not file.closed
        client.reset()
        assert wsgi.gone()
        wsgi.turn(2)
        assert wsgi.idle() and file.closed


def test_a_file_whose_client_has_left_before(wsgi, file, gate):
    app = wrapped(file)
    client = wsgi.serve(lambda environ, start_response: gate.wait() or app(environ, start_response), valid=False)
    client.ask()
    wsgi.until(lambda: gate.waiting)
    client.reset()
    assert wsgi.gone()
    gate.open()
    wsgi.idle()
    wsgi.turn(2)
    assert wsgi.idle() and file.closed


# the ends

def test_stop_waits_for_what_is_under_way(wsgi, gate):
    body = Pieces(3)
    client = wsgi.serve(lambda environ, start_response: gate.wait() or answers(body)(environ, start_response))
    client.ask()
    wsgi.until(lambda: gate.waiting)
    wsgi.server.stop()
    wsgi.turn(3)
    assert not wsgi.server.closed
    gate.open()
    answer = client.answer()
    assert answer.body == PIECE * 3 and answer["connection"] == "close"
    client.close()
    wsgi.until(lambda: wsgi.server.closed)
    assert wsgi.idle() and body.closed == ["icey wsgi"]


def test_stop_gives_up_after_its_drain(wsgi, gate):
    body = Pieces(3)
    client = wsgi.serve(lambda environ, start_response: gate.wait() or answers(body)(environ, start_response))
    client.ask()
    wsgi.until(lambda: gate.waiting)
    wsgi.server.stop(drain=2)
    wsgi.wait(3)
    assert wsgi.server.closed
    gate.open()
    assert wsgi.idle() and body.closed == ["icey wsgi"]


@pytest.mark.parametrize("what", ["paused", "file", "write"])
def test_a_loop_that_closes_ends_all(wsgi, file, loop, what):
    body = Pieces(500)
    ended = []

    def writes(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            while True:
                write(PIECE)
        except icey.PeerClosed:
            ended.append("write")
        return body

    app = {"paused": answers(lambda environ: body), "file": wrapped(file), "write": writes}[what]
    with serving(wsgi, app, valid=False) as (client,):
        client.ask()
        client.read_until(PIECE)
        wsgi.turn(20)
        if what != "write":
            wsgi.idle()
        streams.finish(loop)
        for thread in threading.enumerate():
            if thread.name == "icey wsgi":
                thread.join(20)
        assert (file.closed and not body.given) if what == "file" else len(body.closed) == 1
        assert ended == (["write"] if what == "write" else [])


def test_a_pool_that_is_aborted_cuts_what_it_had(wsgi, gate):
    body = Pieces(3)
    client = wsgi.serve(lambda environ, start_response: gate.wait() or answers(body)(environ, start_response), threads=1)
    client.ask()
    wsgi.until(lambda: gate.waiting)
    second = wsgi.client()
    second.ask()
    wsgi.until(lambda: wsgi.busy == 2)
    wsgi.slot.pool.abort()
    for one in (client, second):
        one.read_to_reset()
    gate.open()
    wsgi.turn(2)
    wsgi.until(lambda: body.closed)
    assert body.given == 1


def test_a_pool_that_is_closed_cuts_what_would_need_a_thread_again(wsgi):
    body = Pieces(500)
    with serving(wsgi, answers(lambda environ: body)) as (client,):
        client.ask()
        wsgi.until(lambda: body.given and settled(wsgi, [body]))
        wsgi.slot.pool.close()
        with pytest.raises(ConnectionResetError):
            client.answer()
        assert body.closed == ["MainThread"] and body.given < 250


def test_a_spooled_body_that_no_thread_came_to_is_closed_with_the_loop(wsgi, gate, monkeypatch, loop):
    made = []
    real = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: made.append(real(**options)) or made[-1])
    client = wsgi.serve(lambda environ, start_response: gate.wait() or answers([b"x"])(environ, start_response), threads=1,
                        spool=10)
    client.ask()
    wsgi.until(lambda: gate.waiting)
    wsgi.client().ask("POST", body=b"x" * 100)
    wsgi.until(lambda: wsgi.busy == 2)
    streams.finish(loop)
    assert made[0].closed
    gate.open()


def test_what_is_returned_and_has_no_pieces_is_closed(wsgi, logged):
    class Closing:
        closed = 0

        def close(self):
            self.closed += 1

    returned = Closing()
    client = wsgi.serve(answers(lambda environ: returned), valid=False)
    assert client.get().status == 500 and wsgi.idle() and returned.closed == 1
    logged.take(TypeError)


def test_a_pipe_is_read(wsgi):
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    os.close(writing)
    with open(reading, "rb") as file:
        client = wsgi.serve(wrapped(file), valid=False)
        assert client.get().body == b"from a pipe" and wsgi.idle() and file.closed


def test_many_statuses_and_headers_cost_no_memory(wsgi):
    from icey.http.server import wsgicall

    def app(environ, start_response):
        word = environ["PATH_INFO"][1:]
        start_response("200 %s" % word, [("X-Word", word), ("Set-Cookie", "secret=%s" % word), ("X-Long", word + "y" * 100)])
        return [b"x"]

    client = wsgi.serve(app, valid=False)
    for number in range(300):
        assert client.get("/word%d" % number).reason == "word%d" % number
    assert len(wsgicall._statuses) <= wsgicall.MOST_STATUSES and 0 < len(wsgicall._fine) <= wsgicall.MOST_FINE
    assert not [name for name, _ in wsgicall._fine if name in ("Set-Cookie", "X-Long")]


@pytest.mark.parametrize("what", ["pieces", "file"])
def test_a_head_that_cannot_be_sent_after_all_is_500(wsgi, reports, monkeypatch, gate, file, what):
    def fails(exchange):
        raise ValueError("not to be sent")

    class Waiting(Pieces):
        def __next__(self):
            if self.given:
                gate.wait()
            return super().__next__()

    monkeypatch.setattr(icey.http.Exchange, "send_header", fails)
    body = Waiting(3)
    client = wsgi.serve(wrapped(file) if what == "file" else answers(lambda environ: body), valid=False)
    assert client.get().status == 500
    reports.take(ValueError)
    gate.open()
    assert wsgi.idle() and (file.closed if what == "file" else body.closed == ["icey wsgi"])
