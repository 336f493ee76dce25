"""What a client leaves to the garbage collector: nothing. Exchanges are made with the collector off, and nothing of them stays.

A cycle is freed some time, when the collector comes; until then a program that moves much holds much.
"""
import gc
import gzip
from collections import Counter

import pytest

from icey.http import Client, ClientConnection, DigestAuth, MultipartEncoder
from icey.tools.testing import Peer
from tests.support import rawserver
from tests.support.rawserver import answer, chunked
from tests.support.streams import PYPY

pytestmark = pytest.mark.skipif(PYPY, reason="no reference is counted there: all of it waits for a collector")

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

BODY = b"hello, hello" * 10000


@pytest.fixture(autouse=True)
def collector_off():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def ours():
    """How many objects of icey's classes there are, of each class; without what the tests' own peers are."""
    return Counter(type(thing).__name__ for thing in gc.get_objects()
                   if type(thing).__module__.startswith("icey.") and not isinstance(thing, Peer))


def leaves_nothing(raw, exchange, *args):
    """What a second exchange leaves: the first one fills what is remembered (heads, states, URLs)."""
    left = []
    for _ in range(3):
        before = ours()
        exchange(raw, *args)
        raw.turn(4)
        left.append(ours() - before)
    assert not left[-1] and not left[-2], left


WHOLE = answer(BODY)


def get(client, url, done):
    return client.request("GET", url, done=done)


def call(raw, data=WHOLE, ask=get, end=False, **options):
    """One call of a client of its own, the server's answers (a list: one after the other), and the client's end."""
    client, outcome = Client(raw.loop, **options), []
    made = ask(client, raw.url(), lambda answer, error: outcome.append(error or answer))
    server = raw.accept()
    for text in data if isinstance(data, list) else [data]:
        server.request()
        server.send(text)
    if end:
        server.half_close()
    raw.until(lambda: outcome)
    del made
    client.close()
    raw.until(lambda: client.closed)
    server.close()
    raw.accepted.clear()


CALLS = {
    "a length": {"data": answer(BODY)},
    "chunks": {"data": chunked(BODY, BODY)},
    "until the end": {"data": answer(BODY, length=False), "end": True},
    "cut": {"data": answer(BODY)[:-1], "end": True},
    "malformed": {"data": b"garbage\r\n\r\n"},
    "gzip": {"data": answer(gzip.compress(BODY * 10), "Content-Encoding: gzip")},
    "damaged gzip": {"data": answer(gzip.compress(BODY)[:-9] + bytes(9), "Content-Encoding: gzip")},
    "too much": {"max_body": 1000},
    "a redirect": {"data": [answer(b"x", "Location: /there", "Set-Cookie: a=b", status="302 Found"), answer(BODY)]},
    "many redirects": {"data": [answer(b"x", "Location: /there", status="302 Found")] * 11},
    "a challenge": {"data": [answer(b"x", 'WWW-Authenticate: Digest realm="x", nonce="y", qop="auth"', status="401 No"),
                             answer(BODY)], "ask": lambda client, url, done: client.request(
                                 "GET", url, done=done, auth=DigestAuth("user", "secret"))},
}


@pytest.mark.parametrize("options", CALLS.values(), ids=CALLS)
def test_of_a_call(raw, options):
    leaves_nothing(raw, lambda raw: call(raw, **options))


def test_of_a_kept_connection(raw, loop):
    """Calls one after the other, on one connection."""
    client, server = Client(loop), []

    def one(raw):
        outcome = []
        client.request("GET", raw.url(), done=lambda answer, error: outcome.append(error or answer))
        if not server:
            server.append(raw.accept())
        server[0].reply(BODY)
        raw.until(lambda: outcome)
        outcome.clear()

    leaves_nothing(raw, one)
    client.abort()


UPLOADS = {
    "bytes": lambda: BODY,
    "an iterator": lambda: iter([BODY, BODY]),
    "a form": lambda: MultipartEncoder([("a", "b"), ("file", BODY)]),
}


@pytest.mark.parametrize("body", UPLOADS.values(), ids=UPLOADS)
def test_of_an_upload(raw, body):
    def ask(client, url, done):
        return client.request("POST", url, body=body(), done=done)

    leaves_nothing(raw, lambda raw: call(raw, ask=ask))


@pytest.mark.parametrize("data, end", [(WHOLE, False), (WHOLE[:-1], True), (answer(b"no", status="404 No"), False)])
def test_of_a_download(raw, tmp_path, data, end):
    def ask(client, url, done):
        made = client.request("GET", url, done=done)
        made.save_to(str(tmp_path / "file"))
        return made

    leaves_nothing(raw, lambda raw: call(raw, data, ask, end))


def test_of_slots(raw):
    def ask(client, url, done):
        made = client.request("GET", url, done=done)
        made.on_headers += lambda call: made.pause()
        made.on_headers += lambda call: made.resume()
        made.on_payload += lambda call, view: made.method
        return made

    leaves_nothing(raw, lambda raw: call(raw, ask=ask))


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_of_a_call_that_is_given_up(raw, loop, verb):
    def one(raw):
        client = Client(loop)
        made = client.request("GET", raw.url())
        server = raw.accept()
        server.request()
        getattr(made, verb)()
        getattr(client, verb)()
        raw.until(lambda: client.closed)
        server.close()
        raw.accepted.clear()

    leaves_nothing(raw, one)


def test_of_a_deadline(raw, loop):
    def one(raw):
        client, outcome = Client(loop, timeout=1.0), []
        client.request("GET", raw.url(), done=lambda answer, error: outcome.append(error))
        server = raw.accept()
        server.request()
        raw.wait(1.5)
        assert len(outcome) == 1
        client.close()
        raw.until(lambda: client.closed)
        server.close()
        raw.accepted.clear()

    leaves_nothing(raw, one)


@pytest.mark.parametrize("data", [answer(BODY), answer(BODY)[:-1]])
def test_of_a_connection(raw, loop, data):
    def one(raw):
        conn = ClientConnection(loop, raw.url())
        conn.on_payload += lambda conn, view: None
        conn.on_complete += lambda conn: conn.close()
        conn.start()
        server = raw.accept()
        server.request()
        server.send(data)
        server.half_close()
        raw.until(lambda: conn.closed)
        server.close()
        raw.accepted.clear()

    leaves_nothing(raw, one)


def test_of_a_connection_that_is_refused(raw, loop):
    raw.sock.close()

    def one(raw):
        client, outcome = Client(loop), []
        client.request("GET", raw.url(), done=lambda answer, error: outcome.append(type(error)))
        raw.until(lambda: outcome)
        client.close()
        raw.until(lambda: client.closed)

    leaves_nothing(raw, one)


@pytest.mark.needs("ssl")
def test_of_a_tunnel_that_is_refused(raw, loop):
    def one(raw):
        client, outcome = Client(loop, proxy=raw.url()), []
        client.request("GET", "https://a.test/", done=lambda answer, error: outcome.append(type(error)))
        proxy = raw.accept()
        proxy.head()
        proxy.answer(b"", status="403 Forbidden")
        raw.until(lambda: outcome)
        client.close()
        raw.until(lambda: client.closed)
        proxy.close()
        raw.accepted.clear()

    pytest.importorskip("ssl")
    leaves_nothing(raw, one)
