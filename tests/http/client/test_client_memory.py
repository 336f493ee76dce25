"""What a client remembers between requests, so that the next one costs less: it shows in nothing that is sent or told."""
import pytest

import icey
from icey.http import URL, Client, ClientConnection, Request
from icey.http.client import client as clients
from tests.support import http, rawserver, streams
from tests.support.streams import turn

debug, clock, reports, loop, site = streams.debug, streams.clock, streams.reports, streams.loop, http.site
moves, raw = rawserver.moves, rawserver.raw


@pytest.fixture
def seen(site):
    """The requests that came: (method, target, fields)."""
    seen = []

    def handler(exchange):
        seen.append((exchange.request.method, exchange.request.target, exchange.request.headers.items()))
        exchange.respond(200, b"Hello")

    site.serve(handler)
    return seen


@pytest.fixture
def client(loop):
    client = Client(loop)
    yield client
    client.abort()
    turn(loop, 3)


def answers(site, client, *requests):
    """The answers to requests, (method, url, options), one after the other."""
    found = []
    for method, url, options in requests:
        client.request(method, url, done=lambda answer, error: found.append(answer or error), **options)
        wanted = len(found) + 1
        site.until(lambda wanted=wanted: len(found) == wanted)
    return found


# URLs

def test_a_url_is_parsed_once(client, monkeypatch):
    parsed = []
    monkeypatch.setattr(URL, "of", classmethod(lambda cls, value: parsed.append(value) or URL.parse(value)))
    first = client._parsed("http://a/b?c")
    assert client._parsed("http://a/b?c") is first
    assert parsed == ["http://a/b?c"]


def test_a_url_object_is_taken_as_it_is(client):
    url = URL.parse("http://a/")
    assert client._parsed(url) is url and not client._urls


@pytest.mark.parametrize("text", ["http://user:secret@a/", "http://a/" + "x" * clients.LONGEST_URL])
def test_secrets_and_what_is_long_are_not_remembered(client, text):
    assert str(client._parsed(text)) == text
    assert not client._urls


def test_few_are_remembered(client):
    for number in range(3 * clients.MOST_URLS):
        client._parsed("http://a/%d" % number)
        assert len(client._urls) <= clients.MOST_URLS


@pytest.mark.parametrize("text", ["ftp://a:1/", "a", ""])
def test_what_is_refused_is_refused_again(client, text):
    for _ in range(2):
        with pytest.raises(ValueError):
            client.request("GET", text)


# heads

def test_what_varies_goes_out_as_it_is(site, seen, client):
    url = "http://%s/" % site.server.address
    asked = [("GET", url + "a", {}), ("GET", url + "b", {}), ("GET", url + "b", {"headers": {"X": "1"}}),
             ("GET", url + "b", {"headers": {"X": "2"}}), ("POST", url + "b", {"headers": {"X": "2"}, "body": b"data"}),
             ("POST", url + "b", {"headers": {"X": "2"}, "body": b"more data"}), ("GET", url + "b", {"headers": {"X": "2"}}),
             ("GET", url + "a", {})]
    assert all(answer.status == 200 for answer in answers(site, client, *asked))
    assert site.server.connections_made == 1
    told = [(method, target, dict(fields).get("x"), dict(fields).get("content-length")) for method, target, fields in seen]
    assert told == [("GET", "/a", None, None), ("GET", "/b", None, None), ("GET", "/b", "1", None), ("GET", "/b", "2", None),
                    ("POST", "/b", "2", "4"), ("POST", "/b", "2", "9"), ("GET", "/b", "2", None), ("GET", "/a", None, None)]
    assert seen[0] == ("GET", "/a", seen[-1][2])


def test_the_same_head_and_a_fresh_connection_s_are_equal(site, seen, loop):
    url = "http://%s/" % site.server.address
    requests = [Request("GET", "/a", "1.1", [("X", "1")]), Request("GET", "/b", "1.1", [("X", "1")]),
                Request("DELETE", "/b", "1.1", [("X", "2")])]
    kept = ClientConnection(loop, url)
    for request in requests:
        done = []
        kept.on_complete.attach(done.append, once=True)
        kept.start(request)
        site.until(lambda done=done: done)
    reused, seen[:] = seen[:], []
    for request in requests:
        fresh = ClientConnection(loop, url)
        fresh.on_complete += lambda connection: connection.close()
        fresh.start(request)
        site.until(lambda fresh=fresh: fresh.closed)
    assert seen == reused
    kept.close()


def test_a_changed_header_of_the_connection_is_seen(site, seen, loop):
    connection = ClientConnection(loop, "http://%s/" % site.server.address, headers={"X": "1"})
    for value in ("1", "2"):
        connection.headers["X"] = value
        done = []
        connection.on_complete.attach(done.append, once=True)
        connection.start()
        site.until(lambda done=done: done)
    assert [dict(fields)["x"] for _, _, fields in seen] == ["1", "2"]
    connection.close()


# one timer for all calls

def test_each_call_is_late_at_its_own_time(site, loop, client, clock):
    unanswered = []
    site.serve(unanswered.append)
    url, began, late = "http://%s/" % site.server.address, clock(), []
    for timeout in (3.0, 1.0, None, 2.0, 1.0):
        client.request("GET", url, timeout=timeout,
                       done=lambda answer, error, timeout=timeout: late.append((timeout, clock() - began, type(error))))
    site.wait(10)
    assert late == [(timeout, pytest.approx(timeout), icey.Deadline) for timeout in (1.0, 1.0, 2.0, 3.0)]
    assert len(client.calls) == 1 and len(unanswered) == 5


def test_calls_that_are_in_time_leave_one_timer(site, seen, client, loop):
    url = "http://%s/" % site.server.address
    timers = []
    for _ in range(5):
        answers(site, client, ("GET", url, {"timeout": 5.0}))
        timers.append(client._watchdog._timer)
    assert len(set(timers)) == 1 and not timers[0].has_ref
    site.wait(6)
    assert client._watchdog._timer is None and not client.calls


# bodies

def test_a_body_in_tiny_chunks_costs_what_its_bytes_do(raw):
    """Gathered for the answer: an object for each piece would cost twenty times as much."""
    tracemalloc = pytest.importorskip("tracemalloc")
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    raw.turn(3)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10):
            server.send(b"2\r\nab\r\n" * 10000)
            raw.turn(3)
        cost = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert cost < 500000
    server.send(b"0\r\n\r\n")
    assert call.answer().body == b"ab" * 100000
