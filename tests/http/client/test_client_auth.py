"""A Client and credentials: Basic and Digest, user and password of a URL, challenges answered once, a proxy's as well."""
import hashlib
import io
import re

import pytest

import icey
from icey.http import BasicAuth, DigestAuth, Proxy
from tests.support import rawserver
from tests.support.rawserver import answer

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

BASIC = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617 section 2: Aladdin, open sesame


def aladdin():
    return BasicAuth("Aladdin", "open sesame")


def mufasa():
    return DigestAuth("Mufasa", "Circle of Life", cnonce=lambda: "0a4f113b")


def challenge(nonce, *more, name="WWW-Authenticate", status="401 Unauthorized", body=b"who are you?", fields=()):
    value = ['Digest realm="test"', 'qop="auth"', "algorithm=SHA-256", 'nonce="%s"' % nonce, *more]
    return answer(body, "%s: %s" % (name, ", ".join(value)), *fields, status=status)


def proven(value, method, nonce, count=1):
    """Whether an Authorization value proves to know Mufasa's password for this nonce; its uri."""
    scheme, _, rest = value.partition(" ")
    params = {name: quoted or token for name, quoted, token in re.findall(r'([a-z]+)=(?:"([^"]*)"|([^, ]*))', rest)}
    assert scheme == "Digest" and params["username"] == "Mufasa" and params["nonce"] == nonce
    assert params["nc"] == "%08x" % count and params["qop"] == "auth"

    def hashed(*parts):
        return hashlib.sha256(":".join(parts).encode()).hexdigest()

    expected = hashed(hashed("Mufasa", "test", "Circle of Life"), nonce, params["nc"], params["cnonce"], "auth",
                      hashed(method, params["uri"]))
    assert params["response"] == expected
    return params["uri"]


# Basic

@pytest.mark.parametrize("how", ["request", "client", "url", "url beats client", "request beats url"])
def test_basic_is_sent_at_once(raw, how):
    other = BasicAuth("some", "one")
    client = raw.client(auth={"client": aladdin(), "url beats client": other}.get(how))
    url = raw.url(userinfo={"url": "Aladdin:open%20sesame@", "url beats client": "Aladdin:open%20sesame@",
                            "request beats url": "some:one@"}.get(how, ""))
    call = raw.ask(client=client, url=url, auth=aladdin() if how.startswith("request") else None)
    asked = raw.accept().reply(b"in")
    assert asked["authorization"] == BASIC and "@" not in asked["host"]
    assert call.answer().body == b"in"
    for thing in (call.call, call.answer(), call.answer().url, client):
        assert "sesame" not in repr(thing)


def test_a_password_may_be_missing(raw):
    call = raw.ask(url=raw.url(userinfo="Aladdin@"))
    assert raw.accept().reply(b"in")["authorization"] == "Basic QWxhZGRpbjo="
    call.answer()


def test_a_user_that_cannot_be_sent_is_refused_by_request(raw):
    with pytest.raises(ValueError) as info:
        raw.client().request("GET", raw.url(userinfo="a%0db:secret@"))
    assert "secret" not in str(info.value)


def test_a_header_of_ones_own_beats_auth(raw):
    call = raw.get(auth=aladdin(), headers={"Authorization": "Bearer x"})
    assert raw.accept().reply(b"in")["authorization"] == "Bearer x"
    call.answer()


def test_basic_that_is_refused_is_the_answer(raw):
    call = raw.get(auth=aladdin())
    server = raw.accept()
    server.reply(b"no", 'WWW-Authenticate: Basic realm="x"', status="401 Unauthorized")
    assert (call.answer().status, call.answer().body) == (401, b"no")
    assert server.silent()


def test_a_challenge_without_credentials_is_the_answer(raw):
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(challenge("n"))
    assert call.answer().status == 401 and server.silent()


# Digest

def test_a_digest_challenge_is_answered(raw):
    call = raw.get("/dir/index.html?x", auth=mufasa())
    server = raw.accept()
    assert "authorization" not in server.request()
    server.send(challenge("nonce1"))
    asked = server.request()
    assert proven(asked["authorization"], "GET", "nonce1") == "/dir/index.html?x"
    server.answer(b"in")
    assert call.answer().body == b"in" and raw.nobody()


def test_the_nonce_is_used_again(raw):
    raw.client(auth=mufasa())
    call = raw.get("/1")
    server = raw.accept()
    server.request()
    server.send(challenge("nonce1"))
    server.reply(b"in")
    call.answer()
    for count in (2, 3):
        call = raw.get("/%d" % count)
        assert proven(server.request()["authorization"], "GET", "nonce1", count) == "/%d" % count
        server.answer(b"in")
        call.answer()


def test_a_stale_nonce_is_renewed(raw):
    raw.client(auth=mufasa())
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(challenge("old"))
    server.reply(b"in")
    call.answer()
    call = raw.get()
    proven(server.request()["authorization"], "GET", "old", 2)
    server.send(challenge("new", "stale=true"))
    proven(server.request()["authorization"], "GET", "new", 1)
    server.answer(b"in")
    assert call.answer().body == b"in"


@pytest.mark.parametrize("stale", [(), ("stale=true",)])
def test_once_only(raw, stale):
    """A server that goes on asking, whatever its reason, does not go on for ever."""
    call = raw.get(auth=mufasa())
    server = raw.accept()
    server.request()
    server.send(challenge("nonce1"))
    server.request()
    server.send(challenge("nonce2", *stale, body=b"still no"))
    assert (call.answer().status, call.answer().body) == (401, b"still no")
    assert server.silent()


def test_a_challenge_that_cannot_be_met_is_the_answer(raw):
    call = raw.get(auth=mufasa())
    server = raw.accept()
    server.reply(b"no", "WWW-Authenticate: Digest realm=x, nonce=y, algorithm=SHA-1", "WWW-Authenticate: Negotiate",
                 status="401 Unauthorized")
    assert call.answer().status == 401


@pytest.mark.parametrize("data", [b"who are you?", b"x" * 200000])
def test_the_body_of_a_challenge_is_ignored(raw, data):
    call = raw.get(auth=mufasa())
    interim, payload = [], []
    call.on_interim += lambda call, response: interim.append(response.status)
    call.on_payload += lambda call, view: payload.append(bytes(view))
    server = raw.accept()
    server.request()
    try:
        server.send(challenge("nonce1", body=data))
    except OSError:
        pass
    server = server if len(data) < 1000 else raw.accept()
    server.reply(b"in")
    call.answer()
    assert interim == [401] and b"".join(payload) == b"in"


def test_nor_is_one_waited_for_that_is_cut(raw):
    call = raw.get(auth=mufasa())
    server = raw.accept()
    server.request()
    server.send(challenge("nonce1", body=b"who are you?")[:-5])
    raw.turn(2)
    server.half_close()
    second = raw.accept()
    proven(second.request()["authorization"], "GET", "nonce1")
    second.answer(b"in")
    assert call.answer().body == b"in"


BODIES = {"bytes": lambda: b"data", "file": lambda: io.BytesIO(b"data"), "list": lambda: [b"da", b"ta"]}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_body_goes_again(raw, body):
    call = raw.ask("POST", body=body(), auth=mufasa())
    server = raw.accept()
    assert server.request().body == b"data"
    server.send(challenge("nonce1"))
    asked = server.request()
    proven(asked["authorization"], "POST", "nonce1")
    assert asked.body == b"data"
    server.answer(b"in")
    assert call.answer().body == b"in"


def test_a_body_that_can_be_had_once_cannot(raw):
    call = raw.ask("POST", body=iter([b"data"]), auth=mufasa())
    server = raw.accept()
    server.request()
    server.send(challenge("nonce1"))
    assert "asks for credentials" in str(call.error(icey.StateError))


def test_unless_it_waited_for_100_continue(raw):
    call = raw.ask("POST", body=iter([b"data"]), auth=mufasa(), headers={"Expect": "100-continue"})
    server = raw.accept()
    server.head()
    server.send(challenge("nonce1"))
    second = raw.accept()  # its framing was in doubt
    second.head()
    second.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert rawserver.read_chunks(second) == b"data"
    second.answer(b"in")
    assert call.answer().body == b"in"


def test_credentials_are_kept_while_the_call_waits_for_a_connection(raw):
    """The place is taken by another call meanwhile."""
    raw.client(max_per_host=1)
    call = raw.get("/secret", auth=mufasa())
    other = raw.get("/other")
    server = raw.accept()
    server.request()
    server.send(challenge("nonce1", fields=["Connection: close"]))
    second = raw.accept()
    assert second.reply(b"other").target == "/other"
    other.answer()
    proven(second.request()["authorization"], "GET", "nonce1")
    second.answer(b"in")
    assert call.answer().body == b"in"


def test_credentials_are_sent_again_with_a_retry(raw):
    call = raw.get("/secret", auth=mufasa())
    server = raw.accept()
    server.request()
    server.send(challenge("nonce1"))
    server.request()
    server.close()  # used before, and closed without an answer
    second = raw.accept()
    proven(second.request()["authorization"], "GET", "nonce1")
    second.answer(b"in")
    assert call.answer().body == b"in"


def test_a_redirect_within_the_origin_may_be_challenged_anew(raw):
    call = raw.get("/1", auth=mufasa())
    server = raw.accept()
    server.request()
    server.send(challenge("nonce1"))
    server.request()
    server.send(answer(b"", "Location: /2", status="302 Found"))
    assert proven(server.request()["authorization"], "GET", "nonce1", 2) == "/2"
    server.send(challenge("nonce2", "stale=true"))
    assert proven(server.request()["authorization"], "GET", "nonce2", 1) == "/2"
    server.answer(b"in")
    assert call.answer().body == b"in"


def test_auth_int_covers_a_body_in_memory(raw):
    call = raw.ask("POST", body=b"data", auth=mufasa())
    server = raw.accept()
    server.request()
    server.send(answer(b"", 'WWW-Authenticate: Digest realm="test", qop="auth-int", nonce="n", algorithm=SHA-256',
                       status="401 Unauthorized"))
    asked = server.request()
    assert "qop=auth-int" in asked["authorization"]
    server.answer(b"in")
    call.answer()


def test_what_an_auth_of_ones_own_raises_ends_the_call(raw):
    class Broken:
        def first(self, method, url, uri=None):
            return None

        def answer(self, challenges, method, url, body=None, uri=None):
            raise KeyError(challenges)

    call = raw.get(auth=Broken())
    server = raw.accept()
    server.request()
    server.send(challenge("n"))
    call.error(KeyError)
    assert server.gone()


def test_what_it_raises_before_the_request_too(raw):
    class Broken:
        def first(self, method, url, uri=None):
            raise KeyError(method)

    call = raw.get(auth=Broken())
    call.error(KeyError)
    assert not raw.clients[-1].pool.connections


def test_what_it_gives_cannot_break_the_head(raw):
    class Evil:
        def first(self, method, url, uri=None):
            return "Basic x\r\nX: y"

    raw.get(auth=Evil()).error(ValueError)


# the proxy's, of a plain request

def through(raw, proxy, url="http://a.test/x?y", **options):
    """A call through a proxy, which is the raw server."""
    return raw.ask(client=raw.client(proxy=proxy), url=url, **options)


def test_a_407_is_answered_by_digest(raw):
    call = through(raw, Proxy(raw.url(), auth=mufasa()))
    proxy = raw.accept()
    asked = proxy.request()
    assert asked.line == "GET http://a.test/x?y HTTP/1.1" and "proxy-authorization" not in asked
    proxy.send(challenge("nonce1", name="Proxy-Authenticate", status="407 Proxy Authentication Required"))
    asked = proxy.request()
    assert proven(asked["proxy-authorization"], "GET", "nonce1") == "http://a.test/x?y"
    assert "authorization" not in asked
    proxy.answer(b"in")
    assert call.answer().body == b"in"


def test_both_ask_and_both_get_theirs(raw):
    call = through(raw, Proxy(raw.url(), auth=DigestAuth("Mufasa", "Circle of Life")), auth=mufasa())
    proxy = raw.accept()
    proxy.request()
    proxy.send(challenge("p1", name="Proxy-Authenticate", status="407 Proxy Authentication Required"))
    asked = proxy.request()
    proven(asked["proxy-authorization"], "GET", "p1")
    proxy.send(challenge("s1"))
    asked = proxy.request()
    assert proven(asked["authorization"], "GET", "s1") == "/x?y"
    proven(asked["proxy-authorization"], "GET", "p1", 2)
    proxy.answer(b"in")
    assert call.answer().body == b"in"


def test_a_407_that_goes_on_is_the_answer(raw):
    call = through(raw, Proxy(raw.url(), auth=mufasa()))
    proxy = raw.accept()
    for nonce in ("nonce1", "nonce2"):
        proxy.request()
        proxy.send(challenge(nonce, name="Proxy-Authenticate", status="407 Proxy Authentication Required"))
    assert call.answer().status == 407


def test_a_407_without_a_proxy_is_the_answer(raw):
    call = raw.get(auth=mufasa())
    server = raw.accept()
    server.request()
    server.send(challenge("nonce1", name="Proxy-Authenticate", status="407 Proxy Authentication Required"))
    assert call.answer().status == 407 and server.silent()


def test_a_407_of_a_proxy_without_credentials_is_the_answer(raw):
    call = through(raw, raw.url())
    proxy = raw.accept()
    proxy.request()
    proxy.send(challenge("nonce1", name="Proxy-Authenticate", status="407 Proxy Authentication Required"))
    assert call.answer().status == 407
