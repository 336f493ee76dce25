"""icey get: what it asks, whom, by which way. On one loop with its server; see getting.py."""
import os

import pytest

import icey
from icey.tools.cli import netoptions
from icey.tools.get import options as getoptions
from tests.support import getting, streams
from tests.support.getting import answer, raising

debug, clock, reports, loop, desk = streams.debug, streams.clock, streams.reports, streams.loop, getting.desk

HELLO = answer("200 OK", "Content-Type: text/plain", body=b"Hello")


# -- what is asked ---------------------------------------------------------------------------------------------------

def asked(desk, *arguments, **options):
    """(request line, {name: value}, body) of what `get` sends."""
    server = desk.can(HELLO)
    assert desk.get(*arguments, "/", **options) == 0, desk.err
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


def test_headers(desk):
    first, headers, _ = asked(desk, "-H", "X-One:  1 ", "-H", "host: other", "-H", "User-Agent: me", "-H", "Empty:")
    assert first == "GET / HTTP/1.1"
    assert (headers["x-one"], headers["host"], headers["user-agent"], headers["empty"]) == ("1", "other", "me", "")


def test_who_asks(desk):
    assert asked(desk, "-A", "me/1")[1]["user-agent"] == "me/1"
    assert asked(desk)[1]["user-agent"] == "icey/" + icey.__version__
    assert "user-agent" not in asked(desk, "-A", "")[1]


@pytest.mark.parametrize("arguments, stdin, kind, body", [
    (["-d", "a=1"], b"", getoptions.URLENCODED, b"a=1"),
    (["-d", "a=1", "-d", "b=2"], b"", getoptions.URLENCODED, b"a=1&b=2"),
    (["-d", ""], b"", getoptions.URLENCODED, b""),
    (["-d", "@file"], b"", getoptions.URLENCODED, b"in a\nfile"),
    (["-d", "@-"], b"in\nstdin", getoptions.URLENCODED, b"in\nstdin"),
    (["-d", "x", "-d", "@-", "-d", "@file"], b"stdin", getoptions.URLENCODED, b"x&stdin&in a\nfile"),
    (["-d", "@" + os.devnull], b"", getoptions.URLENCODED, b""),
    (["-d", "x", "-H", "content-type: text/x"], b"", "text/x", b"x"),
    (["--json", "-d", '{"a": 1}'], b"", "application/json", b'{"a": 1}'),
])
def test_data(desk, arguments, stdin, kind, body):
    (desk.folder / "file").write_bytes(b"in a\nfile")
    first, headers, sent = asked(desk, *arguments, stdin=stdin)
    assert (first, headers["content-type"], headers["content-length"], sent) == (
        "POST / HTTP/1.1", kind, str(len(body)), body)


def test_a_large_file_is_sent_from_the_file_and_again_after_a_redirect(desk):
    (desk.folder / "file").write_bytes(bytes(range(256)) * 2000)
    got = []

    def slot(exchange):
        def whole(exchange, body):
            got.append((exchange.request.method, bytes(body)))
            if exchange.request.path == "/":
                exchange.respond(307, headers={"Location": "/next"})
            else:
                exchange.respond(200, b"taken")
        exchange.collect(whole, limit=1 << 20)

    desk.serve(slot)
    assert desk.get("-X", "PUT", "-d", "@file", "/") == 0
    assert got == [("PUT", bytes(range(256)) * 2000)] * 2


def test_a_form(desk):
    (desk.folder / "a.txt").write_bytes(b"from a file")
    got = []

    def slot(exchange):
        icey.http.FormParser.read(exchange, lambda exchange, form: (got.append(form), exchange.respond(200)))

    desk.serve(slot)
    assert desk.get("--form", "title=a=b", "-F", "up=@a.txt", "-F", "in=@-", "/", stdin=b"from stdin") == 0
    assert got[0].fields == [("title", "a=b")]
    assert [(part.name, part.filename, part.data) for part in got[0].files] == [
        ("up", "a.txt", b"from a file"), ("in", "-", b"from stdin")]


def test_a_method(desk):
    assert asked(desk, "-X", "DELETE")[0] == "DELETE / HTTP/1.1"
    assert asked(desk, "-X", "PURGE", "-d", "x")[0] == "PURGE / HTTP/1.1"


def test_who_we_are(desk):
    value = "Basic YTpi"
    assert asked(desk, "-u", "a:b")[1]["authorization"] == value
    server = desk.can(HELLO)
    assert desk.get("http://a:b@%s/" % server.address) == 0
    assert b"\r\nAuthorization: %s\r\n" % value.encode() in server.requests[0]


def test_by_digest(desk):
    from icey.http import DigestVerifier
    verifier = DigestVerifier("here", {"Mufasa": "Circle of Life"}.get)

    def slot(exchange):
        user = verifier.verify(exchange.request)
        if user is None:
            raise icey.HttpError(401, headers=[("WWW-Authenticate", verifier.challenge(exchange.request))])
        exchange.respond(200, user.encode())

    desk.serve(slot)
    assert desk.get("--digest", "-u", "Mufasa:Circle of Life", "/") == 0
    assert desk.out == b"Mufasa"
    assert desk.get("--digest", desk.url.replace("//", "//Mufasa:Circle%20of%20Life@") + "/x") == 0
    assert desk.get("--digest", "-f", "-u", "Mufasa:wrong", "/") == 8


def test_a_password_is_asked_for(desk, monkeypatch):
    import getpass
    monkeypatch.setattr(getpass, "getpass", lambda prompt: {"Password of bob: ": "pw"}[prompt])
    assert asked(desk, "-u", "bob")[1]["authorization"] == "Basic Ym9iOnB3"
    monkeypatch.setattr(getpass, "getpass", raising(EOFError))
    assert desk.get("-u", "bob", "/") == 2
    assert desk.err == "get: the password of bob cannot be asked for here: -u bob:PASSWORD\n"


# -- on the way ------------------------------------------------------------------------------------------------------

def redirecting(desk):
    desk.serve(lambda exchange: exchange.respond(302, b"moved", headers={"Location": "/%d" % (
        int(exchange.request.path[1:]) + 1)}) if exchange.request.path < "/4" else exchange.respond(200, b"there"))


def test_redirects_are_followed_and_bounded(desk):
    redirecting(desk)
    assert (desk.get("/0"), desk.out) == (0, b"there")
    assert (desk.get("-L", "/0"), desk.out) == (0, b"there")
    assert (desk.get("--redirects", "0", "-i", "/0"), desk.out[:30]) == (0, b"HTTP/1.1 302 Found\r\nserver: ic")
    assert desk.get("--redirects", "3", "/0") == 7
    assert "more than 3 redirects" in desk.err


def test_verbose_shows_every_head_and_no_secret(desk):
    redirecting(desk)
    assert desk.get("-v", "-u", "bob:secret", "/3", "-H", "Proxy-Authorization: bare") == 0
    lines = desk.err.splitlines()
    assert [line for line in lines if line.startswith("> GET")] == ["> GET /3 HTTP/1.1", "> GET /4 HTTP/1.1"]
    assert [line for line in lines if line.startswith("< HTTP")] == ["< HTTP/1.1 302 Found", "< HTTP/1.1 200 OK"]
    assert "< location: /4" in lines and "> Authorization: Basic ..." in lines and "> Proxy-Authorization: ..." in lines
    assert lines.count("> ") == lines.count("< ") == 2
    assert "secret" not in desk.err and "Ym9i" not in desk.err


def proxied(desk, *arguments, environ=()):
    """The request line that a proxy gets, None if it is not asked."""
    proxy = getting.Canned(desk.loop, [HELLO])
    desk.closing.append(proxy.listener)
    desk.can(HELLO)
    environ = {name: value.replace("PROXY", str(proxy.address)) for name, value in dict(environ).items()}
    assert desk.get("/x", *[text.replace("PROXY", str(proxy.address)) for text in arguments], environ=environ) == 0
    return proxy.requests[0].split(b"\r\n") if proxy.requests else None


@pytest.mark.parametrize("arguments, environ, used", [
    (["--proxy", "http://PROXY"], {}, True),
    (["--proxy", "PROXY"], {"no_proxy": "*"}, True),
    ([], {"http_proxy": "http://PROXY"}, True),
    ([], {"http_proxy": "PROXY"}, True),
    ([], {"HTTP_PROXY": "http://PROXY", "https_proxy": "http://PROXY", "http_proxy": ""}, False),
    (["--no-proxy"], {"http_proxy": "http://PROXY"}, False),
    ([], {"http_proxy": "http://PROXY", "no_proxy": "a, 127.0.0.1"}, False),
    ([], {"http_proxy": "http://PROXY", "no_proxy": "127.0.0.2,10.0.0.0/8"}, True),
])
def test_proxies(desk, arguments, environ, used):
    lines = proxied(desk, *arguments, environ=environ)
    assert (lines is not None) is used
    if used:
        assert lines[0] == b"GET %s/x HTTP/1.1" % desk.url.encode()


def test_a_proxy_is_told_who_we_are(desk):
    assert b"Proxy-Authorization: Basic YTpi" in proxied(desk, "--proxy", "http://a:b@PROXY")


@pytest.mark.parametrize("host, no_proxy, direct", [
    ("a.test", "", False), ("a.test", "a.test", True), ("a.test", ".test", True), ("a.test", "test", True),
    ("a.test", "A.TEST.", True), ("a.test.", "a.test", True), ("aa.test", "a.test", False), ("a.test", ".", False),
    ("a.test", "*", True), ("a.test", "b.test a.test", True), ("10.1.2.3", "10.0.0.0/8", True),
    ("11.1.2.3", "10.0.0.0/8", False), ("a.test", "10.0.0.0/8", False), ("10.1.2.3", "10.0.0.0/99", False),
    ("::1", "[::1]", True), ("::1", "::/64", True),
])
def test_who_is_asked_without_a_proxy(host, no_proxy, direct):
    assert netoptions.exempt(host, no_proxy) is direct
