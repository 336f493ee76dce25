"""A request and its body: each source and its framing, backpressure, send() and end(), what cannot be sent, early answers."""
import array
import io
import os
import weakref

import pytest

import icey
from icey.http import Headers, MultipartEncoder, Request
from icey.http.http1.requestbody import Body
from tests.support import rawserver
from tests.support.rawserver import answer
from tests.support.streams import collect

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw, slow = rawserver.moves, rawserver.raw, rawserver.slow

BIG = os.urandom(65536) * 16


def started(raw, body=None, *, method="POST", **options):
    """A connection that has started, and the server's end."""
    conn = raw.connection(method=method, **options)
    conn.start(body=body)
    return conn, raw.accept()


def finish(raw, conn, server):
    server.answer()
    assert raw.story(conn) == [200, "complete"]


# the head

def test_the_head_of_a_plain_request(raw):
    conn, server = started(raw, method="GET", url=raw.url("/a/b?c=d&e#f"))
    assert server.head().head == (
        "GET /a/b?c=d&e HTTP/1.1\r\nHost: %s\r\nUser-Agent: icey/%s\r\nAccept: */*\r\n\r\n"
        % (raw.authority, icey.__version__)).encode()
    finish(raw, conn, server)


def test_what_the_caller_gives_beats_the_defaults(raw):
    headers = {"host": "other.test", "user-agent": "me", "ACCEPT": "text/plain", "X": ""}
    conn, server = started(raw, method="GET", headers=headers)
    assert server.head().fields == [("host", "other.test"), ("user-agent", "me"), ("accept", "text/plain"), ("x", "")]
    finish(raw, conn, server)


def test_repeated_fields_stay_apart_and_latin_1_goes_as_it_is(raw):
    conn, server = started(raw, method="GET", headers=[("X", "a"), ("x", "b"), ("Y", "\xe9\t!")])
    assert [pair for pair in server.head().fields if pair[0] in "xy"] == [("x", "a"), ("x", "b"), ("y", "\xe9\t!")]
    finish(raw, conn, server)


def test_the_callers_headers_are_left_alone(raw):
    headers = Headers({"A": "b"})
    request = Request("POST", "/", "1.1", [("C", "d")])
    conn = raw.connection(method="POST", headers=headers)
    conn.start(body=b"x")
    server = raw.accept()
    server.reply()
    assert raw.story(conn) == [200, "complete"]
    conn.start(request, body=iter([b"x"]))
    assert server.reply().body == b"x"
    assert raw.story(conn)[2:] == [200, "complete"]
    assert headers.items() == conn.headers.items() == [("A", "b")]
    assert request.headers.items() == [("C", "d")]


def test_a_request_of_ones_own(raw):
    conn = raw.connection("/ignored")
    conn.start(Request("OPTIONS", "*", "1.1", [("A", "b")]))
    server = raw.accept()
    asked = server.head()
    assert asked.line == "OPTIONS * HTTP/1.1" and asked["a"] == "b" and asked["host"] == raw.authority
    finish(raw, conn, server)


def test_user_and_password_of_the_url_are_sent_as_basic(raw):
    conn, server = started(raw, method="GET", url=raw.url(userinfo="Aladdin:open%20sesame@"))
    asked = server.head()
    assert asked["authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert asked["host"] == raw.authority
    assert "sesame" not in repr(conn) + repr(conn.url)
    finish(raw, conn, server)
    conn, server = started(raw, method="GET", url=raw.url(userinfo="a:b@"), headers={"Authorization": "Bearer x"})
    assert server.head()["authorization"] == "Bearer x"
    finish(raw, conn, server)


# what cannot be sent: told by start(), and nothing has happened

EVIL = ["a\r\nX: y", "a\nX: y", "a\rb", "a\0", "\u20ac"]


@pytest.mark.parametrize("value", EVIL)
def test_nothing_gets_into_the_head_by_a_value(raw, value):
    with pytest.raises(ValueError):
        raw.connection(headers={"A": value})
    conn = raw.connection()
    with pytest.raises(ValueError):
        conn.start(Request("GET", "/", "1.1", [("A", value)]))
    with pytest.raises(ValueError):
        conn.start(Request("GET", "/", "1.1", {"A": value}))
    assert conn.state.name == "IDLE"


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "\xe9", "a\0"])
def test_nothing_gets_into_the_head_by_a_name(raw, name):
    conn = raw.connection()
    with pytest.raises(ValueError):
        conn.start(Request("GET", "/", "1.1", [(name, "b")]))


@pytest.mark.parametrize("target", ["", " ", "/ HTTP/1.1\r\nX: y", "/a b", "/\t", "/\xe9", "/\u20ac", "/\0", "/\x7f"])
def test_nothing_gets_into_the_head_by_a_target(raw, target):
    conn = raw.connection()
    with pytest.raises(ValueError):
        conn.start(Request("GET", target, "1.1", []))
    assert conn.state.name == "IDLE"


@pytest.mark.parametrize("method", ["", "G T", "GET / HTTP/1.1\r\nX: y\r\n\r\n", "GET\n", "\xc9", "G:"])
def test_nothing_gets_into_the_head_by_a_method(raw, method):
    with pytest.raises(ValueError):
        raw.connection(method=method).start()
    with pytest.raises(ValueError):
        raw.client().request(method, raw.url())


WRONG = {
    "CONNECT without a port": (Request("CONNECT", "/", "1.1", []), None, ValueError),
    "two hosts": (Request("GET", "/", "1.1", [("Host", "a"), ("host", "b")]), None, ValueError),
    "two lengths": (Request("POST", "/", "1.1", [("Content-Length", "1"), ("content-length", "1")]), b"x", ValueError),
    "two codings": (Request("POST", "/", "1.1", [("Transfer-Encoding", "chunked")] * 2), b"x", ValueError),
    "length and coding": (
        Request("POST", "/", "1.1", [("Content-Length", "1"), ("Transfer-Encoding", "chunked")]), b"x", ValueError),
    "another coding": (Request("POST", "/", "1.1", [("Transfer-Encoding", "gzip")]), b"x", ValueError),
    "a wrong length": (Request("POST", "/", "1.1", [("Content-Length", "2")]), b"x", ValueError),
    "an odd length": (Request("POST", "/", "1.1", [("Content-Length", "+1")]), b"x", ValueError),
    "a length in other digits": (Request("POST", "/", "1.1", [("Content-Length", "\xb2")]), b"x", ValueError),
    "an endless length": (Request("POST", "/", "1.1", [("Content-Length", "9" * 19)]), None, ValueError),
    "str": (None, "hello", TypeError),
    "int": (None, 5, TypeError),
    "dict": (None, {"a": "b"}, TypeError),
    "a class": (None, object(), TypeError),
    "text file": (None, io.StringIO("hello"), TypeError),
    "not contiguous": (None, memoryview(b"hello")[::2], ValueError),
}


@pytest.mark.parametrize("request_, body, error", WRONG.values(), ids=WRONG)
def test_what_cannot_be_sent_is_refused_by_start(raw, request_, body, error):
    conn = raw.connection(method="POST")
    with pytest.raises(error):
        conn.start(request_, body)
    assert conn.state.name == "IDLE" and conn.request is None
    conn.start(body=b"right")  # nothing has happened
    server = raw.accept()
    assert server.reply().body == b"right"
    assert raw.story(conn) == [200, "complete"]


@pytest.mark.parametrize("timeout", [-1, float("inf"), float("nan")])
def test_an_odd_timeout_is_refused(raw, timeout):
    with pytest.raises(ValueError):
        raw.connection(timeout=timeout)
    conn = raw.connection()
    conn.timeout = timeout
    with pytest.raises(ValueError):
        conn.start()
    with pytest.raises(ValueError):
        raw.client(timeout=timeout)
    with pytest.raises(ValueError):
        raw.client().request("GET", raw.url(), timeout=timeout)


@pytest.mark.parametrize("url", ["/path", "ftp://127.0.0.1/", "ftp://127.0.0.1:21/", "http://", "http://a b/", "http://127.0.0.1:0/"])
def test_an_odd_url_is_refused(raw, loop, url):
    with pytest.raises(ValueError):
        icey.http.ClientConnection(loop, url)
    with pytest.raises(ValueError):
        raw.client().request("GET", url)


# sources

class Reader:
    """Only reads, as a pipe does."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def read(self, size):
        return self.pieces.pop(0) if self.pieces else b""


class Sized:
    """Pieces that tell their length."""

    def __init__(self, *pieces, length=None):
        self.pieces = pieces
        self.length = sum(map(len, pieces)) if length is None else length

    def __iter__(self):
        return iter(self.pieces)


class Unseekable(io.BytesIO):
    def seekable(self):
        raise OSError("no")


def at(file, position):
    file.seek(position)
    return file


SOURCES = {  # body, what is sent, its Content-Length (None: chunked)
    "bytes": (lambda: b"hello", b"hello", 5),
    "empty bytes": (lambda: b"", b"", 0),
    "bytearray": (lambda: bytearray(b"hello"), b"hello", 5),
    "memoryview": (lambda: memoryview(b"hello"), b"hello", 5),
    "array": (lambda: array.array("H", [0x6868, 0x6565]), b"hhee", 4),
    "many bytes": (lambda: BIG, BIG, len(BIG)),
    "just below the join": (lambda: bytes(16383), bytes(16383), 16383),
    "just at the join": (lambda: bytes(16384), bytes(16384), 16384),
    "file": (lambda: io.BytesIO(b"hello"), b"hello", 5),
    "file from its middle": (lambda: at(io.BytesIO(b"hello"), 2), b"llo", 3),
    "file at its end": (lambda: at(io.BytesIO(b"hello"), 5), b"", 0),
    "file beyond its end": (lambda: at(io.BytesIO(b"hello"), 9), b"", 0),
    "large file": (lambda: io.BytesIO(BIG), BIG, len(BIG)),
    "reader": (lambda: Reader(b"hel", b"lo"), b"hello", None),
    "reader of a bytearray": (lambda: Reader(bytearray(b"hello")), b"hello", None),
    "unseekable": (lambda: Unseekable(b"hello"), b"hello", None),
    "list": (lambda: [b"hel", b"", bytearray(b"lo")], b"hello", None),
    "tuple of nothing": (lambda: (), b"", None),
    "generator": (lambda: (piece for piece in [b"hel", b"lo"]), b"hello", None),
    "iterator": (lambda: iter([b"hello"]), b"hello", None),
    "large pieces": (lambda: [BIG, BIG], BIG + BIG, None),
    "many pieces": (lambda: (b"%d\n" % i for i in range(2000)), b"".join(b"%d\n" % i for i in range(2000)), None),
    "pieces with a length": (lambda: Sized(b"hel", b"lo"), b"hello", 5),
    "pieces with an odd length": (lambda: Sized(b"hello", length="5"), b"hello", None),
    "large pieces with a length": (lambda: Sized(BIG, b"!"), BIG + b"!", len(BIG) + 1),
}


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("body, data, length", SOURCES.values(), ids=SOURCES)
def test_a_source_and_its_framing(raw, body, data, length, method):
    conn, server = started(raw, body(), method=method)
    asked = server.request()
    assert asked.body == data
    assert asked.get("content-length") == (None if length is None else str(length))
    assert asked.get("transfer-encoding") == ("chunked" if length is None else None)
    finish(raw, conn, server)
    assert conn.reusable


@pytest.mark.parametrize("method, length", [("GET", None), ("HEAD", None), ("DELETE", None), ("OPTIONS", None), ("X", None),
                                            ("POST", "0"), ("PUT", "0"), ("PATCH", "0")])
def test_without_a_body_the_methods_that_want_one_say_so(raw, method, length):
    conn, server = started(raw, method=method)
    asked = server.head()
    assert asked.get("content-length") == length and "transfer-encoding" not in asked
    server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert raw.story(conn) == [204, "complete"]


@pytest.mark.parametrize("source", ["bytes", "file", "generator", "large file", "many pieces"])
def test_a_length_or_chunks_of_the_callers(raw, source):
    body, data, _ = SOURCES[source]
    conn, server = started(raw, body(), headers={"content-length": str(len(data))})
    asked = server.request()
    assert asked.body == data and asked["content-length"] == str(len(data))
    finish(raw, conn, server)
    conn, server = started(raw, body(), headers={"transfer-encoding": "Chunked"})
    asked = server.request()
    assert asked.body == data and asked["transfer-encoding"] == "chunked"
    finish(raw, conn, server)


def test_a_multipart_form(raw, tmp_path):
    form = MultipartEncoder({"a": "b", "file": icey.http.FilePart(io.BytesIO(BIG), "big.bin")})
    conn, server = started(raw, form, headers={"Content-Type": form.content_type})
    asked = server.request()
    assert asked["content-length"] == str(form.length) and BIG in asked.body
    finish(raw, conn, server)


def test_a_mutable_body_is_copied_at_once(raw):
    data = bytearray(b"hello")
    conn = raw.connection(method="POST")
    conn.start(body=data)
    data[:] = b"XXXXX"
    server = raw.accept()
    assert server.request().body == b"hello"
    finish(raw, conn, server)


def test_a_file_stays_open_and_stands_behind_what_was_sent(raw, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(BIG)
    with open(str(path), "rb") as file:
        conn, server = started(raw, file)
        assert server.request().body == BIG
        finish(raw, conn, server)
        assert not file.closed and file.tell() == len(BIG)


def test_a_file_that_grows_is_sent_as_far_as_it_was_there(raw, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    with open(str(path), "rb") as file, open(str(path), "ab") as more:
        conn = raw.connection(method="POST")
        conn.start(body=file)
        more.write(b" and more")
        more.flush()
        server = raw.accept()
        assert server.request().body == b"hello"
        finish(raw, conn, server)


def test_a_file_that_shrinks_is_an_error(raw, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(BIG)
    with open(str(path), "rb") as file:
        conn = raw.connection(method="POST")
        conn.start(body=file)
        os.truncate(str(path), 100000)
        server = raw.accept()
        server.head()
        assert raw.story(conn) == [icey.StateError, "close"]
        assert server.at_reset()  # a body that is cut does not look whole


def test_a_pipe_is_chunked(raw):
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as file, open(write, "wb", buffering=0) as end:
        end.write(b"hello")
        end.close()
        conn, server = started(raw, file)
        asked = server.request()
        assert asked.body == b"hello" and asked["transfer-encoding"] == "chunked"
        finish(raw, conn, server)


# sources that fail: an error, never a short body that looks whole

class Broken(Body):
    """A Body of the caller's own, which is closed by nobody else."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def next(self):
        piece = self.pieces.pop(0) if self.pieces else None
        if isinstance(piece, Exception):
            raise piece
        return piece


def fails(*pieces):
    """A generator that raises in the end."""
    yield from pieces
    raise KeyError("of the source")


class Promising:
    """Pieces that tell their length, and raise."""

    length = 5

    def __iter__(self):
        raise_at_once = True
        if raise_at_once:
            raise KeyError("of the pieces")
        yield b"hello"


FAILING = {
    "raises at once, with a length": (Promising, KeyError),
    "raises at once": (lambda: fails(), KeyError),
    "raises later": (lambda: fails(b"hello"), KeyError),
    "raises much later": (lambda: fails(*[BIG] * 3), KeyError),
    "str": (lambda: [b"a", "b"], TypeError),
    "int": (lambda: [1, 2], TypeError),
    "None": (lambda: iter([None]), TypeError),
    "reads str": (lambda: Reader(b"a", "b"), TypeError),
    "would block": (lambda: Reader(b"a", None), BlockingIOError),
    "shorter than said": (lambda: Sized(b"hello", length=6), icey.StateError),
    "longer than said": (lambda: Sized(b"hello", b"!", length=5), icey.StateError),
    "a Body of one's own": (lambda: Broken(b"x", OSError("of the body")), OSError),
    "an abstract Body": (lambda: Body(), NotImplementedError),
}


@pytest.mark.parametrize("body, error", FAILING.values(), ids=FAILING)
def test_a_source_that_fails(raw, loop, body, error):
    conn, server = started(raw, body())
    raw.until(lambda: conn.closed)
    try:
        came = server.read_all()
    except ConnectionResetError:
        came = b""
    assert not came.endswith(b"0\r\n\r\n") and b"HTTP/1.1" in came or not came
    assert raw.story(conn) == [error, "close"]
    assert not loop.handles


@pytest.mark.parametrize("body, error", FAILING.values(), ids=FAILING)
def test_a_source_that_fails_on_a_connection_that_is_kept(raw, loop, body, error):
    conn, server = started(raw, method="GET")
    server.reply()
    assert raw.story(conn) == [200, "complete"]
    conn.start(Request("POST", "/", "1.1", []), body())
    assert rawserver.story(conn.seen) == [200, "complete"]  # it is told from the loop, not by start()
    raw.until(lambda: conn.closed)
    assert raw.story(conn) == [200, "complete", error, "close"]
    assert not loop.handles


@pytest.mark.parametrize("length", ["4", "6"])
@pytest.mark.parametrize("source", ["bytes", "generator", "file"])
def test_a_length_that_the_source_does_not_keep_is_an_error(raw, source, length):
    conn = raw.connection(method="POST", headers={"Content-Length": length})
    if source != "generator":
        with pytest.raises(ValueError, match="the body has 5 bytes"):
            conn.start(body=SOURCES[source][0]())
        return
    conn.start(body=SOURCES[source][0]())
    raw.accept()
    assert raw.story(conn) == [icey.StateError, "close"]


# generators are closed

def noting(log, *pieces, at_end=None):
    try:
        yield from pieces
    finally:
        log.append("closed")
        if at_end is not None:
            raise at_end


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_a_generator_is_closed_when_nobody_wants_the_rest(raw, verb):
    log = []
    conn, server = started(raw, noting(log, *[BIG] * 10))
    server.head()
    assert log == []
    getattr(conn, verb)()
    assert log == ["closed"]
    server.close()
    raw.until(lambda: conn.closed)


def test_a_generator_is_closed_when_the_server_goes(raw):
    log = []
    conn, server = started(raw, noting(log, *[BIG] * 10))
    server.head()
    server.reset()
    told = raw.story(conn)
    assert issubclass(told[0], OSError) and log == ["closed"]


def test_a_generator_is_closed_with_an_early_answer(raw):
    log = []
    conn, server = started(raw, noting(log, *[BIG] * 10))
    server.head()
    server.answer(b"no", status="413 Content Too Large")
    assert raw.story(conn) == [413, b"no", "complete", "close"]
    assert log == ["closed"]


def test_what_a_generator_raises_at_its_end_is_reported(raw, reports):
    log = []
    conn, server = started(raw, noting(log, *[BIG] * 10, at_end=KeyError("at the end")))
    server.head()
    conn.abort()
    raw.until(lambda: conn.closed)
    assert log == ["closed"]
    reports.take(KeyError)


def test_a_generator_that_closes_its_own_connection_and_raises(raw, reports):
    def body():
        yield b"x"
        conn.abort()
        raise KeyError("behind the close")

    conn = raw.connection(method="POST")
    conn.start(body=body())
    raw.accept().head()
    assert raw.story(conn) == ["close"]
    reports.take(KeyError)


@pytest.mark.parametrize("size", [3, len(BIG)])
@pytest.mark.parametrize("verb", ["close", "abort"])
def test_a_generator_that_closes_its_own_connection(raw, reports, verb, size):
    log = []

    def body():
        try:
            yield BIG[:size]
            getattr(conn, verb)()
            yield b"never"
            log.append("went on")
        finally:
            log.append("closed")

    conn = raw.connection(method="POST")
    generator = body()  # kept: nobody else closes it
    conn.start(body=generator)
    server = raw.accept()
    server.head()
    assert server.at_reset() or (verb, size) == ("close", len(BIG))  # what is queued goes out, and that is less than was said
    raw.until(lambda: conn.closed)
    assert log == ["closed"] and raw.story(conn) == ["close"] and generator.gi_frame is None


def test_a_generator_with_a_length_that_closes_its_own_connection_at_once(raw):
    log = []

    class OwnLength:
        length = 5

        def __iter__(self):
            try:
                conn.abort()
                yield b"hello"
            finally:
                log.append("closed")

    conn = raw.connection(method="POST")
    conn.start(body=OwnLength())
    server = raw.accept()
    assert raw.story(conn) == ["close"] and log == ["closed"]
    assert server.gone()


def test_a_body_of_ones_own_is_closed_by_its_owner(raw):
    log = []

    class Own(Broken):
        def close(self):
            log.append("closed")

    conn, server = started(raw, Own(*[BIG] * 10))
    server.head()
    conn.abort()
    raw.until(lambda: conn.closed)
    assert log == []


# backpressure: a source is asked for more only while there is room

def test_a_slow_server_holds_the_source_back(slow):
    asked = []

    def pieces():
        for number in range(60):
            asked.append(number)
            yield bytes(65536)

    conn = slow.connection(method="POST")
    conn.start(body=pieces())
    server = slow.accept()
    head = server.head()
    slow.turn(50)
    assert 0 < len(asked) < 20 and conn.queued <= 2 * 65536
    before = len(asked)
    slow.turn(50)
    assert len(asked) == before
    assert len(rawserver.read_chunks(server)) == 60 * 65536
    assert len(asked) == 60 and "transfer-encoding" in head
    server.answer()
    assert slow.story(conn) == [200, "complete"]


def test_a_fast_server_leaves_others_their_turn(raw, loop):
    """A source that is never choked gives about a megabyte a turn."""
    given, most = [0], []

    def pieces():
        for _ in range(800):
            given[0] += 4096
            yield bytes(4096)

    conn = raw.connection(method="POST", limits={"high_water": 1 << 30, "max_queue": None})
    conn.start(body=pieces())
    server = raw.accept()
    idler = icey.Idler(loop, lambda idler: (most.append(given[0]), given.__setitem__(0, 0))).start()
    server.head()
    assert len(rawserver.read_chunks(server)) == 800 * 4096
    finish(raw, conn, server)
    idler.close()
    assert 1 << 20 <= max(most) <= (1 << 20) + 4096


def test_pieces_beyond_max_queue_are_no_error(raw):
    conn, server = started(raw, [BIG] * 4, limits={"max_queue": 200000, "high_water": 65536})
    asked = server.request()
    assert len(asked.body) == 4 * len(BIG)
    finish(raw, conn, server)


# send() and end()

def test_send_right_after_start_makes_a_chunked_body(raw):
    conn = raw.connection(method="POST")
    conn.start()
    assert conn.send(b"hel")
    conn.send_owned([b"l", bytearray(b"o")])
    conn.end()
    server = raw.accept()
    asked = server.request()
    assert asked.body == b"hello" and asked["transfer-encoding"] == "chunked"
    finish(raw, conn, server)
    conn.start()
    conn.send(b"again")
    conn.end()
    assert server.request().body == b"again"
    server.answer()
    assert raw.story(conn) == [200, "complete"] * 2


def test_end_right_after_start_makes_an_empty_chunked_body(raw):
    conn = raw.connection(method="PUT")
    conn.start()
    conn.end()
    server = raw.accept()
    asked = server.request()
    assert asked.body == b"" and asked["transfer-encoding"] == "chunked"
    finish(raw, conn, server)


def test_a_body_by_send_of_a_given_length_ends_by_itself(raw):
    conn, server = started(raw, headers={"Content-Length": "10"})
    assert server.head()["content-length"] == "10"
    assert conn.send(b"hello")
    assert conn.state.name == "SENDING"
    assert conn.send([b"wor", b"ld"])
    assert conn.state.name == "WAITING"
    assert server.read(10) == b"helloworld"
    with pytest.raises(icey.StateError, match="beyond its Content-Length"):
        conn.send(b"x")
    finish(raw, conn, server)


def test_a_chunked_body_by_send_later(raw):
    conn, server = started(raw, method="GET", headers={"Transfer-Encoding": "chunked"})
    server.head()
    assert server.silent()
    conn.send(b"hello")
    assert server.read(10) == b"5\r\nhello\r\n"
    assert conn.send(b"") is True  # no chunk: that would be the last one
    assert server.silent()
    conn.end()
    assert server.read(5) == b"0\r\n\r\n"
    finish(raw, conn, server)


def test_done_comes_from_the_loop_in_order_also_for_what_was_sent_early(raw):
    done = []
    conn = raw.connection(method="POST")
    conn.start()
    for number in range(3):
        conn.send(b"x", lambda number=number: done.append(number))
    conn.send(b"", lambda: done.append("empty"))
    assert done == []
    server = raw.accept()
    server.head()
    raw.until(lambda: len(done) == 4)
    conn.send(b"", lambda: done.append("late"))
    assert done == [0, 1, 2, "empty"]
    conn.end()
    raw.until(lambda: len(done) == 5)
    assert rawserver.read_chunks(server) == b"xxx"
    finish(raw, conn, server)


def test_backpressure_of_what_is_sent_before_the_head_has_gone(raw):
    drained = []
    conn = raw.connection(method="POST", headers={"Content-Length": "9000"},
                          limits={"high_water": 1000, "low_water": 100, "max_queue": 5000})
    conn.on_drain += lambda conn: drained.append(conn.queued)
    conn.start()
    assert conn.send(bytes(999)) and not conn.send(bytes(1))
    with pytest.raises(icey.QueueFull, match="wait for on_drain"):
        conn.send(bytes(4001))
    assert not conn.send(bytes(4000)) and conn.queued == 5000
    server = raw.accept()
    server.head()
    raw.until(lambda: drained)
    assert drained == [0]
    assert conn.send(bytes(4000))
    assert server.read(9000) == bytes(9000)
    finish(raw, conn, server)
    assert drained == [0]


def test_queue_full_takes_nothing_and_tells_of_room(slow):
    conn = slow.connection(method="POST", headers={"Content-Length": str(30 << 20)}, limits={"max_queue": 1 << 17})
    drained = []
    conn.on_drain += lambda conn: drained.append(conn.queued)
    conn.start()
    server = slow.accept()
    server.head()
    piece = bytes(1 << 16)
    sent = 0
    with pytest.raises(icey.QueueFull):
        while True:
            conn.send(piece)
            sent += 1
    assert sent <= 8 and conn.queued <= 1 << 17
    before = conn.queued
    for _ in range(3):
        with pytest.raises(icey.QueueFull):
            conn.send(piece)
    assert conn.queued == before
    server.read(sent * len(piece))
    slow.until(lambda: drained)
    assert drained[0] <= 16384
    conn.send(piece)  # the framing has not counted what was refused
    assert server.read(len(piece)) == piece
    conn.abort()


@pytest.mark.parametrize("most", [1 << 17, 1 << 15])
def test_on_drain_gives_back_all_that_was_lent(slow, most):
    """What still waits then is the connection's own. Where max_queue is below high water, too."""
    conn = slow.connection(method="POST", headers={"Content-Length": str(30 << 20)}, limits={"max_queue": most})
    drained, lent = [], []

    def refill(conn):
        drained.append(conn.queued)
        for data in lent:
            data[:] = b"b" * len(data)

    conn.on_drain += refill
    conn.start()
    server = slow.accept()
    server.head()
    with pytest.raises(icey.QueueFull):
        while True:
            lent.append(bytearray(b"a" * 5000))
            conn.send(lent[-1])
    sent = 5000 * (len(lent) - 1)
    assert server.read(sent) == b"a" * sent
    slow.until(lambda: drained)
    conn.abort()


def test_queue_full_tells_of_room_though_no_send_was_below(slow):
    """Where max_queue is below high water, the first sign of a full queue is QueueFull."""
    conn = slow.connection(method="POST", headers={"Content-Length": str(1 << 20)}, limits={"max_queue": 5000})
    drained = []
    conn.on_drain += lambda conn: drained.append(conn.queued)
    conn.start()
    server = slow.accept()
    server.head()
    sent = 0
    with pytest.raises(icey.QueueFull):
        while True:
            assert conn.send(bytes(1000))
            sent += 1000
    assert not drained
    server.read(sent)
    slow.until(lambda: drained)
    assert drained == [0]
    conn.abort()


def test_a_piece_of_any_size_goes_on_an_empty_queue(raw):
    conn, server = started(raw, headers={"Content-Length": str(len(BIG))}, limits={"max_queue": 1000})
    server.head()
    conn.send(BIG)
    assert server.read(len(BIG)) == BIG
    finish(raw, conn, server)


@pytest.mark.parametrize("pieces", [[], [b""], [b"hello"], [b"he", b"llo"]])
@pytest.mark.parametrize("when", ["connecting", "launched"])
def test_the_end_of_a_body_whose_length_is_reached_may_be_told_once(raw, when, pieces):
    conn = raw.connection(method="POST", headers={"Content-Length": str(len(b"".join(pieces)))})
    conn.start()
    if when == "launched":
        server = raw.accept()
        server.head()
    for piece in pieces:
        conn.send(piece)
    conn.end()
    with pytest.raises(icey.StateError, match="after end"):
        conn.end()
    if when == "connecting":
        server = raw.accept()
        server.head()
    assert server.read(len(b"".join(pieces))) == b"".join(pieces)
    finish(raw, conn, server)


RULES = {
    "send on a GET": ("GET", {}, None, lambda conn: conn.send(b"x")),
    "end on a GET": ("GET", {}, None, lambda conn: conn.end()),
    "send beside a source": ("POST", {}, b"hello", lambda conn: conn.send(b"x")),
    "end beside a source": ("POST", {}, [b"hello"], lambda conn: conn.end()),
    "beyond the length": ("POST", {"Content-Length": "3"}, None, lambda conn: conn.send(b"hello")),
    "end short of the length": ("POST", {"Content-Length": "3"}, None, lambda conn: (conn.send(b"x"), conn.end())),
    "send after end": ("POST", {}, None, lambda conn: (conn.end(), conn.send(b"x"))),
    "end after end": ("POST", {}, None, lambda conn: (conn.end(), conn.end())),
}


@pytest.mark.parametrize("when", ["connecting", "launched"])
@pytest.mark.parametrize("method, headers, body, call", RULES.values(), ids=RULES)
def test_send_against_the_rules_is_a_state_error(raw, method, headers, body, call, when):
    conn = raw.connection(method=method, headers=headers)
    conn.start(body=body)
    if when == "launched":
        raw.accept().head()
    with pytest.raises(icey.StateError):
        call(conn)
    conn.abort()


@pytest.mark.parametrize("data, error", [("str", TypeError), (5, TypeError), ([b"a", 5], TypeError), (None, TypeError),
                                         (memoryview(b"hello")[::2], ValueError)])
def test_what_send_refuses_has_no_effect(raw, data, error):
    conn = raw.connection(method="POST")
    conn.start()
    with pytest.raises(error):
        conn.send(data)
    server = raw.accept()
    assert server.request()["content-length"] == "0"  # it made no body
    finish(raw, conn, server)


def test_a_post_that_nobody_sends_to_goes_out_a_turn_later_on_a_kept_connection(raw):
    conn, server = started(raw, method="GET")
    server.reply()
    assert raw.story(conn) == [200, "complete"]
    conn.start(Request("POST", "/", "1.1", []))
    assert server.request()["content-length"] == "0"
    server.answer()
    assert raw.story(conn) == [200, "complete"] * 2
    conn.start(Request("POST", "/", "1.1", []))
    conn.abort()  # before it has gone
    assert raw.story(conn)[-1] == "close" and server.gone()


def test_a_lent_view_may_be_sent_on_as_send_owned(raw):
    conn, server = started(raw, headers={"Content-Length": "5"})
    server.head()
    other = raw.connection()
    other.on_payload += lambda other, view: conn.send_owned(view)
    other.start()
    second = raw.accept()
    second.reply(b"hello")
    assert server.read(5) == b"hello"
    finish(raw, conn, server)
    other.abort()


def test_a_lent_view_that_send_refuses_does_not_count_against_the_length(raw, debug):
    conn, server = started(raw, headers={"Content-Length": "5"})
    server.head()
    other = raw.connection()

    def piece(other, view):
        try:
            conn.send(view)
            assert not debug
        except icey.BorrowError:
            conn.send(bytes(view))

    other.on_payload += piece
    other.start()
    raw.accept().reply(b"hello")
    assert server.read(5) == b"hello"
    finish(raw, conn, server)
    other.abort()


# an answer before the request is out

def test_an_early_answer_ends_the_upload_and_the_connection(raw):
    conn, server = started(raw, [BIG] * 20)
    server.head()
    server.answer(b"enough", status="413 Content Too Large")
    assert raw.story(conn) == [413, b"enough", "complete", "close"]


def test_what_is_still_queued_then_is_not_waited_for(slow, clock):
    conn = slow.connection(method="POST")
    conn.start(body=bytes(1 << 20))
    server = slow.accept()
    server.head()
    server.answer(b"enough", status="413 Content Too Large")
    before = clock()
    assert slow.story(conn) == [413, b"enough", "complete", "close"] and clock() == before


def test_an_early_answer_of_a_server_that_resets_is_read(raw):
    """It closed with our bytes unread, which makes a reset: what it had said is still here."""
    for size in (3, 100000):
        conn, server = started(raw, [BIG] * 20)
        server.head()
        server.answer(b"x" * size, status="413 Content Too Large")
        server.close()
        assert raw.story(conn) == [413, b"x" * size, "complete", "close"]


def test_an_early_answer_until_close_of_a_server_that_resets_is_an_error(raw):
    conn, server = started(raw, [BIG] * 20)
    server.head()
    server.answer(b"who knows what was lost", length=False)
    server.close()
    told = raw.story(conn)
    assert issubclass(told[-2], OSError) and "complete" not in told


def test_half_an_early_answer_of_a_server_that_resets_is_an_error(raw):
    conn, server = started(raw, [BIG] * 20)
    server.head()
    server.send(answer(b"hello")[:-2])
    server.close()
    told = raw.story(conn)
    assert issubclass(told[-2], OSError) and "complete" not in told


def test_the_body_goes_on_while_the_answer_comes(raw):
    conn, server = started(raw, headers={"Content-Length": "6"})
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
    raw.until(lambda: conn.received == 3)
    conn.send(b"abc")
    assert server.read(3) == b"abc"
    conn.send(b"def")
    assert server.read(3) == b"def"
    server.send(b"def")
    assert raw.story(conn) == [200, b"abcdef", "complete"]
    assert conn.reusable


def test_an_answer_complete_before_the_body_by_send_is(raw):
    conn, server = started(raw, headers={"Content-Length": "6"})
    server.head()
    server.answer(b"early")
    assert raw.story(conn) == [200, b"early", "complete", "close"]
    with pytest.raises(icey.StateError):
        conn.send(b"late")


# nothing is left

def test_a_finished_connection_is_collected(raw, loop):
    def run():
        conn, server = started(raw, iter([BIG]))
        server.reply()
        assert raw.story(conn) == [200, "complete"]
        conn.close()
        raw.until(lambda: conn.closed)
        conn.seen.clear()
        return [weakref.ref(conn), weakref.ref(conn.stream)]

    refs = run()
    collect()
    assert [ref() for ref in refs] == [None, None]
    assert not loop.handles


@pytest.mark.parametrize("headers", [{}, {"Expect": "100-continue"}])
def test_tiny_pieces_that_wait_cost_what_max_queue_says(raw, headers):
    """Before the head has gone, and while the server has not said 100 Continue."""
    tracemalloc = pytest.importorskip("tracemalloc")
    headers = dict({"Transfer-Encoding": "chunked"}, **headers)
    conn = raw.connection(method="POST", headers=headers, limits={"max_queue": 100000})
    conn.start()
    held = "Expect" in headers
    if held:
        server = raw.accept()
        server.head()
        raw.turn(3)
    tracemalloc.start()
    try:
        sent = bytearray()
        with pytest.raises(icey.QueueFull):
            for number in range(100000):
                conn.send(b"%d" % (number % 10))
                sent += b"%d" % (number % 10)
                conn.send(b"")
        cost = tracemalloc.get_traced_memory()[0] - len(sent)
    finally:
        tracemalloc.stop()
    assert 99000 < conn.queued < 100007 and cost < 200000
    conn.end()
    if not held:
        server = raw.accept()
        server.head()
    else:
        server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert rawserver.read_chunks(server) == bytes(sent)
    server.answer()
    assert raw.story(conn)[-2:] == [200, "complete"]


def test_callbacks_that_wait_count_too(raw):
    conn = raw.connection(method="POST", headers={"Transfer-Encoding": "chunked"}, limits={"max_queue": 100000})
    conn.start()
    done = []
    with pytest.raises(icey.QueueFull):
        for number in range(100000):
            conn.send(b"x", lambda number=number: done.append(number))
    assert number < 1000
    conn.end()
    server = raw.accept()
    server.head()
    assert rawserver.read_chunks(server) == number * b"x"
    finish(raw, conn, server)
    assert done == list(range(number))
