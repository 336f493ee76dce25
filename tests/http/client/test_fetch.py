"""fetch(): one request, blocking, on a loop of its own; and the Answer. The server is a plain socket in a thread."""
import gc
import gzip
import socket
import threading
import warnings

import pytest

import icey
from icey.http import Answer, BasicAuth, fetch
from icey.http.semantics.message import Response
from icey.http.semantics.url import URL
from tests.support import needs
from tests.support.rawserver import Asked, answer


class Server:
    """Answers each connection with the next of its answers: bytes, or a function of the connection's socket."""

    def __init__(self, *answers):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(5)
        self.port = self.sock.getsockname()[1]
        self.url = "http://127.0.0.1:%d/" % self.port
        self.asked = []
        self.begun = threading.Event()  # a head has come
        self.resets = 0  # clients that gave up before they had sent all
        self.answers = list(answers)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        for data in self.answers:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            with conn:
                conn.settimeout(10)
                try:
                    self.talk(conn, data)
                except ConnectionResetError:
                    self.resets += 1

    def talk(self, conn, data):
        got = b""
        while b"\r\n\r\n" not in got:
            piece = conn.recv(65536)
            if not piece:
                return
            got += piece
        head, end, body = got.partition(b"\r\n\r\n")
        asked = Asked(head + end)
        self.begun.set()
        while len(body) < int(asked.get("content-length", 0)):
            body += conn.recv(65536)
        while "transfer-encoding" in asked and not body.endswith(b"0\r\n\r\n"):
            body += conn.recv(65536)
        asked.body = body
        self.asked.append(asked)
        if callable(data):
            data(conn)
        else:
            conn.sendall(data)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.sock.close()
        with socket.socket() as waker:  # accept() may not notice the close
            waker.settimeout(1)
            waker.connect_ex(("127.0.0.1", self.port))
        self.thread.join(10)
        assert not self.thread.is_alive()


def test_an_answer():
    with Server(answer(b"hello", "X: y")) as server:
        got = fetch(server.url + "x?y")
    assert (got.status, got.reason, got.body, got.headers["x"], got.ok) == (200, "OK", b"hello", "y", True)
    assert server.asked[0].line == "GET /x?y HTTP/1.1"


def test_a_request_with_everything():
    with Server(answer(b"made", status="201 Created")) as server:
        options = {"auth": BasicAuth("a", "b"), "decode": False}
        got = fetch(server.url, method="PUT", headers={"X": "y"}, body=b"data", timeout=30, **options)
    assert got.status == 201 and got.body == b"made"
    asked = server.asked[0]
    assert (asked.method, asked["x"], asked.body) == ("PUT", "y", b"data")
    assert asked["authorization"] == "Basic YTpi" and "accept-encoding" not in asked


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "302 Found"])
def test_any_status_is_an_answer(status):
    with Server(answer(b"no", status=status)) as server:
        got = fetch(server.url)
    assert (got.status, got.ok) == (int(status[:3]), False)


def test_redirects_and_cookies():
    moved = answer(b"", "Location: /next", "Set-Cookie: a=b", "Connection: close", status="302 Found")
    with Server(moved, answer(b"there")) as server:
        got = fetch(server.url)
    assert got.body == b"there" and str(got.url) == server.url + "next" and server.asked[1]["cookie"] == "a=b"
    with Server(answer(b"", "Location: /next", status="302 Found")) as server:
        assert fetch(server.url, redirects=0).status == 302


def test_gzip():
    needs("zlib")
    with Server(answer(gzip.compress(b"hello"), "Content-Encoding: gzip")) as server:
        assert fetch(server.url).body == b"hello"
    assert server.asked[0]["accept-encoding"] == "gzip, deflate"


def test_further_options_are_the_client_s():
    with Server(answer(b"x" * 100)) as server:
        with pytest.raises(icey.BadResponse, match="over 99 bytes"):
            fetch(server.url, max_body=99)


def silent(conn):
    try:
        conn.recv(1)
    except OSError:
        pass


ERRORS = {
    "closed": (lambda conn: None, icey.PeerClosed),
    "cut": (answer(b"hello")[:-1], icey.IncompleteBody),
    "garbage": (b"garbage\r\n\r\n", icey.BadResponse),
    "two lengths": (answer(b"", "Content-Length: 1"), icey.BadResponse),
    "redirect": (answer(b"", "Location: ftp://x/", status="302 Found"), icey.BadResponse),
    "silence": (silent, icey.Deadline),
}


@pytest.mark.parametrize("data, error", ERRORS.values(), ids=ERRORS)
def test_errors_are_raised(data, error):
    with Server(data) as server:
        with pytest.raises(error) as info:
            fetch(server.url, timeout=0.1 if error is icey.Deadline else 30)
    assert "fetch" in [entry.name for entry in info.traceback]


CUT = {
    "length": (answer(b"hello")[:-1], ": 4 of 5 bytes had come"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", ": 5 bytes had come"),
    "head": (b"HTTP/1.1 200 OK\r\nContent-", ""),
}


@pytest.mark.parametrize("data, came", CUT.values(), ids=CUT)
def test_what_is_cut_says_what_had_come(data, came):
    with Server(data) as server:
        with pytest.raises(icey.IncompleteBody) as info:
            fetch(server.url)
    assert str(info.value) == "the server closed the connection in the middle of its answer" + came


def test_a_deadline_says_what_had_come():
    def half(conn):
        conn.sendall(answer(bytes(100))[:-40])
        conn.recv(1)

    with Server(half) as server:
        with pytest.raises(icey.Deadline, match="not whole within 0.2 s: 60 of 100 bytes had come"):
            fetch(server.url, timeout=0.2)


def test_a_refused_connection():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(icey.ConnectError) as info:
            fetch("http://127.0.0.1:%d/" % unused.getsockname()[1])
    assert info.value.attempts


def test_a_name_that_is_none(monkeypatch):
    def getaddrinfo(*arguments):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("icey.net.dns.socket.getaddrinfo", getaddrinfo)
    with pytest.raises(icey.ResolveError, match="no-such-host.test"):
        fetch("http://no-such-host.test/", timeout=20)


@pytest.mark.parametrize("arguments, error", [
    ({"url": "nonsense"}, ValueError), ({"url": "ftp://127.0.0.1/"}, ValueError), ({"method": "G T"}, ValueError),
    ({"headers": {"A": "b\r\n"}}, ValueError), ({"body": "str"}, TypeError), ({"timeout": -1}, ValueError),
    ({"odd": 1}, TypeError), ({"redirects": -1}, ValueError), ({"proxy": "ftp://x/"}, ValueError),
])
def test_what_cannot_be_sent(arguments, error):
    with pytest.raises(error):
        fetch(**{"url": "http://127.0.0.1:9/", **arguments})


def test_what_a_body_raises():
    def body():
        yield b"x"
        assert server.begun.wait(10)
        raise KeyError("of the body")

    with Server(answer(b"")) as server:
        with pytest.raises(KeyError):
            fetch(server.url, method="POST", body=body())
    assert server.resets == 1  # what is cut does not look whole


def test_an_interrupt_passes_through_and_leaves_nothing_open(monkeypatch):
    """The loop is closed in any case, in debug mode without a word of what was open."""
    def interrupted(self, timeout=None):
        turns.append(1)
        if len(turns) == 3:
            raise KeyboardInterrupt
        return run_once(self, timeout)

    turns, run_once = [], icey.Loop.run_once
    monkeypatch.setenv("ICEY_DEBUG", "1")
    with Server(silent) as server:
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("error")
            patch.setattr(icey.Loop, "run_once", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fetch(server.url)
            gc.collect()


def test_a_loop_that_ends_without_an_answer(monkeypatch):
    monkeypatch.setattr(icey.Loop, "run_once", lambda self, timeout=None: False)
    with pytest.raises(icey.NetError, match="without an answer"):
        fetch("http://127.0.0.1:9/")


@pytest.mark.parametrize("debug", ["0", "1"])
def test_nothing_is_left(monkeypatch, debug):
    monkeypatch.setenv("ICEY_DEBUG", debug)
    with Server(answer(b"hello"), answer(b"hello", length=False)) as server:
        assert fetch(server.url).body == b"hello"
        assert fetch(server.url).body == b"hello"
    gc.collect()


@pytest.mark.parametrize("how", ["run", "run_once"])
def test_inside_a_running_loop_it_is_an_error(how):
    """It would hold that loop, in which the server may well be."""
    outcome = []

    def slot():
        with pytest.raises(icey.StateError, match="inside a running loop.*Client"):
            fetch("http://127.0.0.1:9/")
        outcome.append("told")

    with icey.Loop() as loop:
        loop.call_soon(slot)
        getattr(loop, how)()
    assert outcome == ["told"]


def test_beside_a_loop_that_does_not_run():
    with Server(answer(b"hello")) as server, icey.Loop() as loop:
        loop.call_soon(int)
        loop.run()
        assert fetch(server.url).body == b"hello"


def test_in_a_thread_that_a_running_loop_waits_for():
    """Another thread is another matter."""
    outcome = []

    def slot():
        thread = threading.Thread(target=lambda: outcome.append(fetch(server.url).body))
        thread.start()
        thread.join(10)

    with Server(answer(b"hello")) as server, icey.Loop() as loop:
        loop.call_soon(slot)
        loop.run()
    assert outcome == [b"hello"]


def test_in_another_thread():
    outcome = []
    with Server(answer(b"hello")) as server:
        thread = threading.Thread(target=lambda: outcome.append(fetch(server.url).body))
        thread.start()
        thread.join(10)
    assert outcome == [b"hello"]


# Answer

def made(body=b"", *headers, status=200, reason=""):
    return Answer(URL("http://a.test/"), Response(status, reason, headers), body)


@pytest.mark.parametrize("kind, body, text", [
    (None, "h\xe9llo".encode(), "h\xe9llo"),
    ("text/plain", "h\xe9llo".encode(), "h\xe9llo"),
    ("text/plain; charset=iso-8859-1", b"h\xe9llo", "h\xe9llo"),
    ('text/plain; a=b; CharSet="utf-16-le"', "h\xe9".encode("utf-16-le"), "h\xe9"),
    ("text/plain; charset = utf-8 ", b"\xff", "\ufffd"),
    ("text/plain; charset=", b"x", "x"),
])
def test_text(kind, body, text):
    assert made(body, *([("Content-Type", kind)] if kind else [])).text() == text


def test_text_in_a_given_encoding():
    assert made(b"\xe9", ("Content-Type", "text/plain; charset=utf-8")).text("latin-1") == "\xe9"
    with pytest.raises(UnicodeDecodeError):
        made(b"\xff").text(errors="strict")
    for charset in ("no-such-thing", "hex", "zlib"):
        with pytest.raises(LookupError):
            made(b"x", ("Content-Type", "text/plain; charset=%s" % charset)).text()


def test_json():
    assert made(b'{"a": [1, "\xc3\xa9"]}').json() == {"a": [1, "\xe9"]}
    with pytest.raises(ValueError):
        made(b"{").json()


def test_a_reason_is_filled_in():
    assert made(status=404).reason == "Not Found" and made(status=404, reason="Gone fishing").reason == "Gone fishing"
    assert made(status=299).reason == "" and repr(made(b"x", status=404)) == "<Answer 404 Not Found, 1 bytes>"
