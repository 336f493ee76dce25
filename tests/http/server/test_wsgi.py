"""WSGI: what an application answers, what is sent of it, and what goes wrong in it."""
import functools
import sys
import threading

import pytest

import icey
from icey.base import log
from icey.http import WSGI
from tests.support import http, wsgi as support
from tests.support.wsgi import answers

debug, clock, reports, loop = http.debug, http.clock, http.reports, http.loop
logged, gate, wsgi = support.logged, support.gate, support.wsgi

pytestmark = pytest.mark.needs("threading")


class Body:
    """An iterable of pieces that counts its close()."""

    def __init__(self, *pieces, close=None):
        self.pieces = iter(pieces)
        self.closed = []
        self._close = close

    def __iter__(self):
        return self

    def __next__(self):
        piece = next(self.pieces)
        if isinstance(piece, BaseException):
            raise piece
        return piece() if callable(piece) else piece

    def close(self):
        self.closed.append(threading.current_thread().name)
        if self._close is not None:
            raise self._close


# answers

@pytest.mark.parametrize("body, length", [
    ([b"Hello"], 5), ([b"Hel", b"", b"lo"], 5), ([b"Hello"] * 2, 10), ([], 0), ([b""], 0), ([b"x" * 100000], 100000),
], ids=["one", "pieces", "two", "none", "empty", "large"])
def test_a_list_is_sent_with_its_length(wsgi, body, length):
    client = wsgi.serve(answers(body, ("X-One", "1"), ("X-Two", "2"), ("X-Two", "3")), valid=False)
    for _ in range(2):
        answer = client.get()
        assert (answer.status, answer.reason, answer.body) == (200, "OK", b"".join(body))
        assert answer["content-length"] == str(length) and answer["content-type"] == "text/plain"
        assert [pair for pair in answer.fields if pair[0][:2] == "x-"] == [("x-one", "1"), ("x-two", "2"), ("x-two", "3")]
    wsgi.idle()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_pieces_go_out_as_they_come(wsgi, gate, version):
    body = Body(b"", b"one", lambda: gate.wait() or b"two", b"")
    client = wsgi.serve(answers(lambda environ: body))
    client.ask(version=version)
    head = client.read_until(b"\r\n\r\n")
    if version == "1.1":
        assert b"transfer-encoding: chunked" in head.lower()
        assert client.read(8) == b"3\r\none\r\n"
        gate.open()
        assert client.read(13) == b"3\r\ntwo\r\n0\r\n\r\n"
    else:
        assert b"connection: close" in head.lower()
        assert client.read(3) == b"one"
        gate.open()
        assert client.read_all() == b"two"
    wsgi.idle()
    assert body.closed == ["icey wsgi"]


def test_a_content_length_of_the_applications_is_kept_to(wsgi, gate):
    body = Body(b"one", lambda: gate.wait() or b"two")
    client = wsgi.serve(answers(lambda environ: body, ("Content-Length", "6")))
    client.ask()
    assert b"Content-Length: 6\r\n" in client.read_until(b"\r\n\r\n")
    assert client.read(3) == b"one"
    gate.open()
    assert client.read(3) == b"two"
    wsgi.idle()
    assert client.silent()


@pytest.mark.parametrize("size", [1, 1000])
def test_what_is_beyond_the_content_length_is_left_out_and_logged(wsgi, logged, size):
    client = wsgi.serve(answers(lambda environ: iter([b"12", b"x" * size, b"y"]), ("Content-Length", "2")), valid=False)
    assert client.get().body == b"12"
    wsgi.idle()
    logged.take("more than the 2 bytes")
    assert client.get().body == b"12"
    wsgi.idle()
    logged.clear()


def test_an_answer_short_of_its_content_length_is_an_error(wsgi, gate, logged):
    client = wsgi.serve(answers([b"12"], ("Content-Length", "3")), valid=False)
    assert client.get().status == 500
    logged.take(icey.StateError)
    client = wsgi.serve(answers(lambda environ: Body(b"12", lambda: gate.wait() or b""), ("Content-Length", "3")))
    client.ask()
    client.read_until(b"\r\n\r\n")
    assert client.read(2) == b"12"
    gate.open()
    assert client.at_reset() and wsgi.idle()
    logged.take(icey.StateError)


@pytest.mark.parametrize("kind", [list, Body])
@pytest.mark.parametrize("length", [False, True])
def test_head_gets_no_body(wsgi, kind, length):
    body = [b"Hello"] if kind is list else Body(b"Hello", b"more")
    client = wsgi.serve(answers(body, *[("Content-Length", "9")] * length), valid=False)
    answer = client.get(method="HEAD")
    assert answer.status == 200 and answer["content-type"] == "text/plain"
    assert answer.get("content-length") == ("9" if length else "5" if type(body) is list else None)
    assert "transfer-encoding" not in answer
    wsgi.idle()
    assert client.silent()
    assert type(body) is list or body.closed == ["icey wsgi"]


@pytest.mark.parametrize("made", [lambda body: [body], lambda body: iter([body[:9], body[9:]]), lambda body: []])
def test_head_of_a_server_that_compresses_says_what_get_says(wsgi, made):
    body = b"Hello" * 1000
    app = answers(lambda environ: made(body) if environ["REQUEST_METHOD"] == "HEAD" else [body],
                  ("Content-Length", "5000"), ("ETag", '"1"'))
    client = wsgi.serve(app, server={"compress": True})
    get, head = (dict(client.get("/", "Accept-Encoding: gzip", method=method).fields) for method in ("GET", "HEAD"))
    assert get["content-encoding"] == "gzip" and wsgi.idle()
    for fields in (get, head):
        del fields["date"]
    length = get.pop("content-length")
    assert head.pop("content-length", length) == length and head == get


@pytest.mark.parametrize("most", [10, 100000])
def test_an_answer_of_all_its_content_length_is_whole_though_the_application_goes_on(wsgi, gate, most):
    """It is compressed, so it went out in one; whether the thread or the loop is the faster does not matter."""
    body = Body(b"Hello" * 1000, lambda: gate.wait() or b"")
    client = wsgi.serve(answers(lambda environ: body, ("Content-Length", "5000")), server={"compress": True},
                        limits={"high_water": most, "low_water": 5})
    answer = client.get("/", "Accept-Encoding: gzip")
    assert answer.status == 200 and answer["content-encoding"] == "gzip" and not body.closed
    gate.open()
    assert wsgi.idle() and body.closed == ["icey wsgi"]


def test_write_of_all_the_content_length_waits_for_nobody(wsgi, logged):
    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Length", "100000"), ("Content-Type", "text/plain")])
        write(b"x" * 60000)
        write(b"y" * 40000)
        write(b"")
        return []

    client = wsgi.serve(app, valid=False)
    for _ in range(2):
        assert client.get().body == b"x" * 60000 + b"y" * 40000
    assert wsgi.idle() and not logged


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("body", [[], [b"not sent"], (b"not sent", b"at all")])
def test_a_status_without_a_body_gets_none(wsgi, status, body):
    app = answers(lambda environ: iter(body) if type(body) is tuple else body, ("Content-Length", "4"), status=status,
                  kind=None)
    client = wsgi.serve(app, valid=False)
    answer = client.get()
    assert answer.status == int(status[:3])
    assert client.get().status == answer.status and wsgi.idle()
    assert client.silent()


@pytest.mark.parametrize("status, reason", [
    ("404 Not Found", "Not Found"), ("404 NOT FOUND", "NOT FOUND"), ("299 Caf\xe9", "Caf\xe9"), ("599 ", "Unknown")])
def test_the_reason_is_the_applications(wsgi, status, reason):
    client = wsgi.serve(answers([b"x"], status=status))
    for _ in range(2):
        answer = client.get()
        assert (answer.status, answer.reason, answer.body) == (int(status[:3]), reason, b"x")


def test_pipelined_requests_are_answered_in_order(wsgi):
    client = wsgi.serve(answers(lambda environ: [environ["PATH_INFO"].encode()]))
    client.send(b"".join(http.request(target="/%d" % number) for number in range(50)))
    assert [client.answer().body for _ in range(50)] == [b"/%d" % number for number in range(50)]


@pytest.mark.parametrize("version, fields, kept", [
    ("1.1", [], True), ("1.1", ["Connection: close"], False), ("1.0", [], False), ("1.0", ["Connection: keep-alive"], True)])
@pytest.mark.parametrize("body", [[b"Hello"], (b"Hello",)])
def test_the_connection_stays_as_the_client_wants(wsgi, version, fields, kept, body):
    client = wsgi.serve(answers(body, ("Content-Length", "5")), valid=False)
    assert client.get("/", *fields, version=version).body == b"Hello"
    if kept:
        assert client.get("/", *fields, version=version).body == b"Hello"
    else:
        assert client.at_end()


def test_an_application_is_called_on_as_many_threads_as_it_may(wsgi, gate):
    seen = []

    def app(environ, start_response):
        seen.append(threading.current_thread().name)
        gate.wait()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x"]

    clients = [wsgi.serve(app, threads=3)] + [wsgi.client() for _ in range(5)]
    for client in clients:
        client.ask()
    wsgi.until(lambda: gate.waiting == 3 and wsgi.busy == 6)
    assert seen == ["icey wsgi"] * 3
    gate.open()
    assert [client.answer().body for client in clients] == [b"x"] * 6
    assert wsgi.idle() and len(seen) == 6


# start_response, write

def test_write_sends_before_what_is_returned(wsgi, gate):
    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"one ")
        gate.wait()
        write(b"two ")
        return [b"three"]

    client = wsgi.serve(app)
    client.ask()
    client.read_until(b"\r\n\r\n")
    assert client.read(9) == b"4\r\none \r\n"
    gate.open()
    assert http.read_chunks(client) == b"two three"


def test_a_head_may_be_replaced_until_it_is_out(wsgi):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("X-First", "1")])
        try:
            raise ValueError("no")
        except ValueError:
            start_response("400 Bad Request", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"sorry"]

    answer = wsgi.serve(app).get()
    assert (answer.status, answer.body, "x-first" in answer) == (400, b"sorry", False)


@pytest.mark.parametrize("out", [False, True])
def test_after_the_head_is_settled_exc_info_is_raised_again(wsgi, gate, logged, out):
    raised = []

    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"begun")
        if out:
            gate.wait()
        try:
            raise ValueError("no")
        except ValueError:
            try:
                start_response("500 Oh", [("Content-Type", "text/plain")], sys.exc_info())
            except ValueError as exc:
                raised.append(str(exc))
                raise
        return []

    client = wsgi.serve(app)
    client.ask()
    if out:
        assert client.read_until(b"begun").endswith(b"begun")
        gate.open()
    wsgi.until(lambda: raised)
    wsgi.idle()
    assert raised == ["no"]
    logged.take(ValueError)


def say(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x"]


def app_of(*arguments, then=None):
    """An application that calls start_response with these."""
    def app(environ, start_response):
        start_response(*arguments)
        if then is not None:
            then(start_response)
        return [b"x"]
    return app


BAD_CALLS = {
    "twice": app_of("200 OK", [], then=lambda start: start("200 OK", [])),
    "not at all": lambda environ, start_response: [b"x"],
    "not at all, no pieces": lambda environ, start_response: [],
    "bytes as status": app_of(b"200 OK", []),
    "a number as status": app_of(200, []),
    "no digits": app_of("OK", []),
    "two digits": app_of("20 OK", []),
    "interim": app_of("103 Early Hints", []),
    "a line end in the status": app_of("200 OK\r\nX: y", []),
    "a tuple of headers": app_of("200 OK", (("A", "b"),)),
    "a header that is a list": app_of("200 OK", [["A", "b"]]),
    "a header of three": app_of("200 OK", [("A", "b", "c")]),
    "a value of bytes": app_of("200 OK", [("A", b"b")]),
    "a number as value": app_of("200 OK", [("Content-Length", 1)]),
    "a line end in a value": app_of("200 OK", [("A", "b\r\nC: d")]),
    "a value beyond latin-1": app_of("200 OK", [("A", "\u20ac")]),
    "a name that is none": app_of("200 OK", [("A:", "b")]),
    "Connection": app_of("200 OK", [("Connection", "close")]),
    "Transfer-Encoding": app_of("200 OK", [("transfer-encoding", "chunked")]),
    "Upgrade": app_of("200 OK", [("Upgrade", "websocket")]),
    "Status": app_of("200 OK", [("Status", "200")]),
    "a length that is none": app_of("200 OK", [("Content-Length", "-1")]),
    "a header that holds a list": app_of("200 OK", [("A", ["b"])]),
    "two lengths": app_of("200 OK", [("Content-Length", "1"), ("Content-Length", "2")]),
    "str": answers("text"),
    "bytes": answers(b"bytes"),
    "None": answers(None),
    "a number": answers(5),
    "pieces of str": answers(["text"]),
    "pieces of str, no list": answers(lambda environ: iter(["text"])),
    "an error": answers(lambda environ: 1 // 0),
    "SystemExit": answers(lambda environ: sys.exit(3)),
    "write of str": lambda environ, start_response: start_response("200 OK", [])("text"),
}


@pytest.mark.parametrize("wrong", list(BAD_CALLS))
def test_an_application_that_breaks_the_rules_is_answered_500_and_logged(wsgi, logged, wrong):
    client = wsgi.serve(BAD_CALLS[wrong], valid=False)
    assert client.get("/page?q").status == 500
    wsgi.idle()
    (level, text, kind), = logged
    assert level == "error" and text.startswith("GET /page?q: ") and kind is not None
    logged.clear()
    assert client.get().status == 500, "the connection, and the thread, live on"
    wsgi.idle()
    logged.clear()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("form", ["whole", "pieces", "file"])
def test_what_a_slot_in_front_has_set_goes_with_every_answer(wsgi, gate, tmp_path, method, form):
    def app(environ, start_response):
        start_response("200 OK", [("X-App", "1"), ("Content-Length", "6")])
        if form == "file":
            return environ["wsgi.file_wrapper"](open(str(tmp_path / "a"), "rb"))
        return [b"answer"] if form == "whole" else Body(b"ans", lambda: gate.wait() or b"wer")

    def guard(exchange):
        exchange.response.headers["X-Guard"] = "1"

    (tmp_path / "a").write_bytes(b"answer")
    client = wsgi.serve(app, valid=False)
    wsgi.server.on_request.attach(guard, priority=1)
    client.ask(method)
    if form == "pieces":
        wsgi.until(lambda: gate.waiting or method == "HEAD")
        wsgi.turn(3)
        gate.open()
    answer = client.answer(method)
    assert (answer["x-guard"], answer["x-app"], answer["content-length"]) == ("1", "1", "6")
    assert answer.body == (b"answer" if method == "GET" else b"")


def test_what_is_wrong_with_a_header_is_all_that_is_told(wsgi):
    told = []

    def app(environ, start_response):
        try:
            start_response("200 OK", [("Transfer-Encoding", "chunked")])
        except ValueError as exc:
            told.append(exc.__context__)
        start_response("200 OK", [])
        return []

    assert wsgi.serve(app, valid=False).get().status == 200
    assert told == [None]


def test_an_error_after_the_head_cuts_the_answer(wsgi, gate, logged):
    body = Body(b"begun", lambda: gate.wait() or b"", ValueError("no"))
    client = wsgi.serve(answers(lambda environ: body))
    client.ask()
    client.read_until(b"begun\r\n")
    gate.open()
    assert client.at_reset() and wsgi.idle()
    assert body.closed == ["icey wsgi"]
    logged.take(ValueError)


@pytest.mark.parametrize("where", ["begin", "pieces", "close"])
def test_an_error_that_cannot_be_logged_is_answered_all_the_same(wsgi, reports, monkeypatch, where):
    def fails(*args):
        raise ArithmeticError("a filter of the program's logging")

    monkeypatch.undo()
    monkeypatch.setattr(log, "_write", fails)
    body = Body(ValueError(), close=None)
    if where == "close":
        body = Body(b"x", close=ValueError())
    app = answers(body) if where != "begin" else answers(lambda environ: 1 / 0)
    answer = wsgi.serve(app, valid=False).get("/")
    assert (answer.status == 500 or where == "close") and wsgi.idle()  # that may be out before
    assert [type(exc) for exc, _ in reports] == [ArithmeticError]
    assert body.closed == ["icey wsgi"] * (where != "begin")
    reports.clear()


def test_close_is_called_where_the_pieces_fail(wsgi, logged):
    body = Body(ValueError("no"))
    assert wsgi.serve(answers(lambda environ: body)).get().status == 500
    assert wsgi.idle() and body.closed == ["icey wsgi"]
    logged.take(ValueError)


def test_an_error_of_close_is_logged_and_the_answer_is_whole(wsgi, logged):
    client = wsgi.serve(answers(lambda environ: Body(b"fine", close=ValueError("no"))))
    assert client.get().body == b"fine"
    wsgi.idle()
    logged.take("close() of what")


def test_the_client_has_its_answer_before_close_returns(wsgi, gate):
    class Slow(Body):
        def close(self):
            gate.wait()
            super().close()

    body = Slow(b"fine")
    client = wsgi.serve(answers(lambda environ: body, ("Content-Length", "4")))
    assert client.get().body == b"fine" and body.closed == []
    gate.open()
    assert wsgi.idle() and body.closed == ["icey wsgi"]


# the queue, the loop

def test_a_full_queue_is_503_before_the_body_is_read(wsgi, gate, logged):
    client = wsgi.serve(lambda environ, start_response: gate.wait() or say(environ, start_response), threads=1, max_pending=1)
    clients = [client, wsgi.client()]
    for one in clients:
        one.ask()
    wsgi.until(lambda: wsgi.busy == 2)
    late = wsgi.client()
    for _ in range(2):
        answer = late.get()
        assert (answer.status, answer["retry-after"]) == (503, "1")
    late.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    assert late.answer().status == 503
    logged.take("1 requests wait for 1 threads")
    gate.open()
    assert [one.answer().body for one in clients] == [b"x", b"x"]
    assert wsgi.idle() and wsgi.client().get().body == b"x"


def test_an_upload_that_finds_the_queue_full_at_its_end_is_503(wsgi, gate, logged):
    client = wsgi.serve(lambda environ, start_response: gate.wait() or say(environ, start_response), threads=1, max_pending=0)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
    wsgi.turn(3)
    other = wsgi.client()
    other.ask()
    wsgi.until(lambda: gate.waiting)
    client.send(b"cd")
    assert client.answer().status == 503
    logged.take("0 requests wait")
    gate.open()
    assert other.answer().body == b"x" and wsgi.idle()


def test_connect_is_not_for_applications(wsgi):
    client = wsgi.serve(say)
    client.send(b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n")
    assert client.answer().status == 501


def test_an_upgrade_is_not_taken(wsgi):
    client = wsgi.serve(answers(lambda environ: [environ["HTTP_UPGRADE"].encode()]))
    answer = client.get("/", "Connection: Upgrade", "Upgrade: websocket")
    assert (answer.status, answer.body) == (200, b"websocket")


def test_without_threads_the_application_runs_on_the_loop(wsgi, logged, monkeypatch):
    monkeypatch.setitem(sys.modules, "threading", None)
    name = threading.current_thread().name
    seen = []

    def app(environ, start_response):
        seen.append(threading.current_thread().name)
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"a" * 200000)
        return iter([b"b" * 200000, b"c"])

    assert wsgi.serve(app).get().body == b"a" * 200000 + b"b" * 200000 + b"c"
    assert seen == [name] and wsgi.idle()
    logged.take("`threading` is missing")


def test_ctrl_c_without_threads_is_the_programs(wsgi, logged, monkeypatch):
    def app(environ, start_response):
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "threading", None)
    client = wsgi.serve(app)
    client.ask()
    with pytest.raises(KeyboardInterrupt):
        wsgi.until(lambda: False)
    assert client.answer().status == 500 and wsgi.idle()
    logged.take("`threading` is missing", KeyboardInterrupt)


@pytest.mark.parametrize("wrong", [
    {"threads": 0}, {"threads": None}, {"threads": True}, {"max_pending": -1}, {"spool": -1}, {"spool": 1.5}, {"max_body": -1},
    {"script_name": "app"}, {"script_name": "/app/"}, {"trusted": ["nonsense"]},
])
def test_arguments_that_cannot_be(wrong):
    with pytest.raises(ValueError):
        WSGI(say, **wrong)


def test_what_cannot_be_called_is_no_application():
    with pytest.raises(TypeError, match="application"):
        WSGI(None)


def test_one_wsgi_is_for_one_loop_until_that_is_closed(wsgi, debug):
    client = wsgi.serve(say)
    assert client.get().body == b"x" and wsgi.idle()
    slot, own = wsgi.slot, wsgi.loop
    with icey.Loop(debug) as other:
        failed = []
        other.on_error += lambda loop, exc, handle: failed.append(type(exc))
        server = icey.http.Server(other, "127.0.0.1", 0)
        server.on_request += slot
        server.start()
        with http.Client.connect(other, server.address) as client:
            assert client.get().status == 500 and failed == [icey.StateError]
        slot.pool.close()
        with http.Client.connect(other, server.address) as client:
            assert client.get().body == b"x"
        server.close()
        other.run()
    assert slot.pool.loop is other and own is not other


# applications of every kind that PEP 3333 has

def generator(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"Hel"
    yield b"lo"


class Application:
    def __call__(self, environ, start_response):
        yield from generator(environ, start_response)


class Next:
    """An iterator that leaves out __iter__, for which `for` does not ask."""

    def __init__(self):
        self.left = [b"c", b"b", b"a"]

    def __next__(self):
        if not self.left:
            raise StopIteration
        return self.left.pop()


class Sloppy:
    def __iter__(self):
        return Next()


def test_the_iterator_of_what_is_returned_needs_no_iter_of_its_own(wsgi):
    assert wsgi.serve(answers(Sloppy()), valid=False).get("/").body == b"abc"


@pytest.mark.parametrize("app", [generator, Application(), functools.partial(generator)], ids=["function", "object", "partial"])
def test_an_application_may_be_a_generator_function(wsgi, app):
    assert wsgi.serve(app).get().body == b"Hello"
    wsgi.idle()


async def asynchronous(environ, start_response):
    pass


async def pieces(environ, start_response):
    yield b""


@pytest.mark.parametrize("app", [None, "shop:app", asynchronous, pieces, functools.partial(asynchronous)])
def test_what_is_no_application_is_refused_at_once(app):
    with pytest.raises(TypeError):
        WSGI(app)


def test_head_of_nobody_knows_what_length_says_none(wsgi):
    answer = wsgi.serve(answers([])).get(method="HEAD")
    assert answer.status == 200 and "content-length" not in answer
    wsgi.idle()


# a server of its own

def test_serve_has_a_loop_and_a_server_of_its_own_until_that_is_closed(monkeypatch):
    told = []

    def run(loop, server, **options):
        def done(answer, error):
            told.append((error, answer and (answer.status, answer.body)))
            client.close()
            server.close()

        told.append((loop, options))
        client = icey.http.Client(loop)
        client.request("GET", "http://%s/" % server.address, done=done)
        return icey.run(loop, server, **options)

    monkeypatch.setattr(icey.http.wsgi, "run", run)
    assert icey.http.wsgi.serve(answers([b"Hello"]), "127.0.0.1", 0, threads=1, grace=3.0) is None
    (loop, options), said = told
    assert loop.closed and options == {"grace": 3.0} and said == (None, (200, b"Hello"))


@pytest.mark.parametrize("given, error", [
    ({"threads": 0}, ValueError), ({"thread": 1}, TypeError), ({"port": 8000}, TypeError)])
def test_serve_refuses_what_its_parts_refuse(given, error):
    with pytest.raises(error):
        icey.http.wsgi.serve(answers([b""]), ("127.0.0.1", 0), **given)
