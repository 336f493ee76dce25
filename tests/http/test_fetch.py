"""fetch: blocking, on a loop of its own. The server is a thread with plain sockets; nothing of icey is in it."""
import gc
import socket
import threading

import pytest

import icey
from icey.http import Answer, Headers, Response, fetch
from icey.http.url import URL
from tests.support import lacks
from tests.support.rawserver import answer

LONG = 20.0


class Thread:
    """Answers one connection after the other: `script` is a list of answers, bytes or a function of the socket."""

    def __init__(self, *script):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.settimeout(LONG)
        self.url = "http://127.0.0.1:%d/" % self.sock.getsockname()[1]
        self.asked = []
        self.script = script
        self.thread = threading.Thread(target=self.run)

    def run(self):
        for step in self.script:
            near, _ = self.sock.accept()
            with near:
                near.settimeout(LONG)
                head = b""
                while b"\r\n\r\n" not in head:
                    data = near.recv(65536)
                    if not data:
                        break
                    head += data
                self.asked.append(head)
                if callable(step):
                    step(near)
                else:
                    near.sendall(step)
                    near.shutdown(socket.SHUT_WR)
                    while near.recv(65536):
                        pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.thread.join()
        self.sock.close()


def closing(body=b"", *fields, status="200 OK"):
    return answer(body, "Connection: close", *fields, status=status)


def test_an_answer_with_all_that_belongs_to_it():
    with Thread(closing(b'{"a": [1, 2]}', "Content-Type: application/json", "X-A: 1", "X-A: 2")) as server:
        got = fetch(server.url + "path?query#fragment")
    assert (got.status, got.reason, got.version, got.ok) == (200, "OK", "1.1", True)
    assert got.body == b'{"a": [1, 2]}' and got.json() == {"a": [1, 2]}
    assert got.headers.get_all("x-a") == ["1", "2"]
    assert str(got.url) == server.url + "path?query#fragment"
    assert server.asked[0].startswith(b"GET /path?query HTTP/1.1\r\nHost: 127.0.0.1:")
    assert repr(got) == "<Answer 200 OK, 13 bytes>"


def test_method_headers_and_body_go_out():
    with Thread(closing(b"ok")) as server:
        fetch(server.url, method="PUT", headers={"X-Mine": "yes"}, body=b"payload")
    head, _, body = server.asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT / HTTP/1.1\r\n") and b"\r\nX-Mine: yes\r\n" in head + b"\r\n"
    assert b"\r\nContent-Length: 7" in head and body in (b"", b"payload")


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "304 Not Modified"])
def test_whatever_the_status_it_is_an_answer(status):
    with Thread(answer(b"", "Connection: close", status=status, length=not status.startswith("304"))) as server:
        got = fetch(server.url)
    assert (got.status, got.reason, got.ok) == (int(status[:3]), status[4:], False)


def test_redirects_are_followed_and_can_be_left_alone():
    away = closing(b"elsewhere", "Location: /there", status="302 Found")
    with Thread(away, closing(b"here")) as server:
        got = fetch(server.url)
        assert got.body == b"here" and str(got.url) == server.url + "there"
    with Thread(away) as server:
        got = fetch(server.url, redirects=0)
        assert (got.status, got.headers["location"], got.body) == (302, "/there", b"elsewhere")


def test_further_options_are_the_client_s():
    with Thread(closing(b"x" * 100)) as server:
        with pytest.raises(icey.BadResponse, match="a body over 99 bytes"):
            fetch(server.url, max_body=99)
    with pytest.raises(TypeError):
        fetch("http://127.0.0.1:1/", no_such_option=True)


def cut(sock):
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")


def silent(sock):
    while sock.recv(65536):
        pass


@pytest.mark.parametrize("step, options, error", [
    (cut, {}, icey.IncompleteBody),
    (b"", {}, icey.PeerClosed),
    (b"HTTP/2 200\r\n\r\n", {}, icey.BadResponse),
    (answer(b"", "Content-Length: 1", "Content-Length: 2", length=False), {}, icey.ProtocolError),
    (silent, {"timeout": 0.05}, icey.Deadline),
], ids=["truncated", "nothing", "malformed", "two lengths", "too late"])
def test_what_goes_wrong_is_raised(step, options, error):
    with Thread(step) as server:
        with pytest.raises(error):
            fetch(server.url, **options)
    gc.collect()  # nothing is left open: a ResourceWarning would be an error


def test_a_refused_connection_names_the_address():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(icey.ConnectError) as caught:
            fetch("http://127.0.0.1:%d/" % port)
    assert [str(address) for address, _ in caught.value.attempts] == ["127.0.0.1:%d" % port]


def test_a_name_that_is_not_known(monkeypatch):
    def getaddrinfo(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    from icey.net import dns

    monkeypatch.setattr(dns.socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(icey.ResolveError, match="nosuch.test"):
        fetch("http://nosuch.test/")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:1/", "nothing", "http://", "/relative", "http://a b/"])
def test_a_url_that_is_none_is_a_value_error(url):
    with pytest.raises(ValueError):
        fetch(url)


@pytest.mark.skipif(lacks("zlib") is not None, reason="zlib")
def test_gzip_is_asked_for_and_undone():
    import gzip

    with Thread(closing(gzip.compress(b"text" * 1000), "Content-Encoding: gzip")) as server:
        assert fetch(server.url).body == b"text" * 1000
    assert b"\r\nAccept-Encoding: gzip, deflate\r\n" in server.asked[0]


def test_the_loop_of_another_program_is_not_touched():
    with icey.Loop() as loop, Thread(closing(b"inside")) as server:
        got = []
        loop.call_soon(lambda: got.append(fetch(server.url).body))  # blocks that loop, and works
        loop.run()
        assert got == [b"inside"]


def made(body, kind=None):
    response = Response(200, headers=Headers() if kind is None else Headers({"Content-Type": kind}))
    return Answer(URL.of("http://h/"), response, body)


@pytest.mark.parametrize("body, kind, text", [
    ("é".encode("utf-8"), None, "é"),
    ("é".encode("latin-1"), "text/plain; charset=ISO-8859-1", "é"),
    ("é".encode("utf-16"), 'text/plain; format=flowed; Charset="utf-16"', "é"),
    (b"\xff", "text/plain", "\ufffd"),
])
def test_text_is_decoded_as_the_answer_says(body, kind, text):
    assert made(body, kind).text() == text


def test_text_in_an_encoding_of_yours_or_of_nobody():
    assert made(b"\xe9", "text/plain; charset=utf-8").text("latin-1") == "é"
    with pytest.raises(LookupError):
        made(b"x", "text/plain; charset=no-such-thing").text()
    with pytest.raises(UnicodeDecodeError):
        made(b"\xff").text(errors="strict")


def test_json_that_is_none():
    with pytest.raises(ValueError):
        made(b"<html>").json()
