"""A Client and cookies: kept, sent, set on the way, kept apart by host and path."""
import pytest

from icey.http import CookieJar
from tests.support import rawserver

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw


def exchange(raw, path, *cookies, server=None, **options):
    """One call; what it sent as Cookie, and the server's end. cookies: what the answer sets."""
    call = raw.get(path, **options)
    server = server or raw.accept()
    asked = server.reply(b"x", *["Set-Cookie: " + cookie for cookie in cookies])
    call.answer()
    return asked.get("cookie"), server


def test_what_is_set_is_sent(raw):
    sent, server = exchange(raw, "/", "a=1", "b=2; Path=/x", "c=3; Max-Age=0", "d=4; Secure")
    assert sent is None
    assert exchange(raw, "/", server=server)[0] == "a=1"
    assert exchange(raw, "/x/y", "a=; Path=/; Max-Age=-1", server=server)[0] == "b=2; a=1"
    assert exchange(raw, "/x/y", server=server)[0] == "b=2"


def test_what_is_given_comes_before(raw):
    _, server = exchange(raw, "/", "a=1")
    assert exchange(raw, "/", server=server, headers={"cookie": "own=0"})[0] == "own=0; a=1"


def test_a_jar_of_ones_own_is_shared(raw):
    jar = CookieJar()
    raw.client(cookies=jar)
    exchange(raw, "/", "a=1")
    assert [cookie.name for cookie in jar] == ["a"]
    raw.client(cookies=jar)
    assert exchange(raw, "/")[0] == "a=1"


def test_none_are_kept_where_none_are_wanted(raw):
    client = raw.client(cookies=False)
    _, server = exchange(raw, "/", "a=1")
    assert exchange(raw, "/", server=server)[0] is None and client.cookies is None
    assert exchange(raw, "/", server=server, headers={"Cookie": "own=0"})[0] == "own=0"


def test_an_empty_jar_is_one_too(raw):
    jar = CookieJar()
    assert raw.client(cookies=jar).cookies is jar


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_those_of_a_redirect_are_sent_with_what_follows(raw, status):
    call = raw.get("/login")
    server = raw.accept()
    server.reply(b"", "Location: /home", "Set-Cookie: sid=1; Path=/", status="%d Go" % status)
    assert server.reply(b"home", "Set-Cookie: sid=2; Path=/")["cookie"] == "sid=1"
    call.answer()
    assert exchange(raw, "/", server=server)[0] == "sid=2"


def test_those_of_a_challenge_and_of_an_error_too(raw):
    from icey.http import DigestAuth

    call = raw.get(auth=DigestAuth("a", "b"))
    server = raw.accept()
    server.reply(b"", 'WWW-Authenticate: Digest realm="x", nonce="y", qop="auth"', "Set-Cookie: seen=1", status="401 No")
    assert server.reply(b"no", "Set-Cookie: bad=1", status="500 No")["cookie"] == "seen=1"
    assert call.answer().status == 500
    assert exchange(raw, "/", server=server)[0] == "seen=1; bad=1"


def test_hosts_are_kept_apart(raw):
    client = raw.client()
    _, server = exchange(raw, "/", "a=1", "domain=2; Domain=127.0.0.1")
    call = raw.ask(client=client, url=raw.url(host="localhost"))
    second = raw.accept()
    assert "cookie" not in second.reply(b"", "Set-Cookie: b=2", "Location: " + raw.url(), status="302 Found")
    assert server.reply(b"x")["cookie"] == "a=1; domain=2"
    call.answer()
    call = raw.ask(client=client, url=raw.url(host="localhost"))
    assert second.reply(b"x")["cookie"] == "b=2"
    call.answer()


def test_ports_share_them(raw, loop, clock):
    """As RFC 6265 section 8.5 has it; only what was given as a header stays behind."""
    other = rawserver.Raw(loop, clock)
    exchange(raw, "/", "a=1")
    call = raw.ask(client=raw.clients[-1], url=other.url(), headers={"Cookie": "own=0"})
    asked = other.accept().reply(b"x")
    assert asked["cookie"] == "own=0; a=1"
    call.answer()
    other.close()


def test_a_header_given_stays_behind_while_the_jar_s_own_go_along(raw, loop, clock):
    other = rawserver.Raw(loop, clock)
    _, server = exchange(raw, "/", "a=1")
    call = raw.get(headers={"Cookie": "own=0"})
    assert server.reply(b"", "Location: " + other.url(), status="302 Found")["cookie"] == "own=0; a=1"
    assert other.accept().reply(b"x")["cookie"] == "a=1"
    call.answer()
    other.close()


def test_what_a_jar_of_ones_own_raises_ends_the_call(raw):
    class Broken:
        def header(self, url):
            return ""

        def store(self, url, values):
            raise KeyError(values)

    raw.client(cookies=Broken())
    call = raw.get()
    server = raw.accept()
    server.reply(b"x", "Set-Cookie: a=1")
    call.error(KeyError)
    assert server.gone()
