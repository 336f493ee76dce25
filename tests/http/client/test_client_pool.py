"""A Client's connections: how many, whose turn it is, how long they idle; cancelling at every stage; closing at any time."""
import sys
import warnings
import weakref

import pytest

import icey
from icey import NetError, StateError
from icey.http import Client, Proxy
from icey.http.client.pool import Pool
from tests.support import rawserver
from tests.support.rawserver import answer
from tests.support.streams import collect

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw


@pytest.fixture
def other(loop, clock):
    other = rawserver.Raw(loop, clock)
    yield other
    other.close()


def held(loop):
    """Whether anything keeps the loop running."""
    return loop.run_once(0)


# how many, and whose turn

def test_one_connection_for_each_call_up_to_the_limit_of_its_host(raw):
    client = raw.client(max_per_host=3)
    calls = [raw.get("/%d" % number) for number in range(7)]
    servers = [raw.accept() for _ in range(3)]
    assert raw.nobody() and len(client.pool.connections) == 3
    assert [server.request().target for server in servers] == ["/0", "/1", "/2"]
    for server in servers:
        assert server.silent()
    assert not any(call.over for call in calls)
    for server in servers:
        server.answer(b"hello")
    assert sorted(server.request().target for server in servers) == ["/3", "/4", "/5"]
    servers[1].answer(b"hello")
    assert servers[1].request().target == "/6"
    for server in servers:
        server.answer(b"hello")
    for call in calls:
        assert call.answer().body == b"hello"
    assert raw.nobody()


class Compared:
    """A call, as far as a pool that has no room asks, and how often such are compared."""

    phase, origin, compared = 0, ("http", "127.0.0.1", 1), 0

    def __eq__(self, other):
        Compared.compared += 1
        return self is other

    __hash__ = object.__hash__


def test_thousands_that_wait_are_not_looked_through_for_the_one_that_goes(loop):
    """The cost of 10 000 calls that are made at once, and cancelled or served, is not that of their square."""
    pool = Pool(loop, icey.Limits(), 0, 0, None)
    calls = [Compared() for _ in range(300)]
    for call in calls:
        pool.acquire(call)
    for call in calls[::-1] + [Compared()]:
        pool.forget(call)
    assert Compared.compared < len(calls)


def test_those_who_wait_are_served_in_their_order(raw):
    raw.client(max_per_host=1)
    calls = [raw.get("/%d" % number) for number in range(10)]
    server = raw.accept()
    for number in range(10):
        assert server.reply(b"%d" % number).target == "/%d" % number
        assert calls[number].answer().body == b"%d" % number


def test_a_call_made_when_another_is_done_goes_behind_those_who_wait(raw):
    """Else a program that asks on and on would starve them."""
    client = raw.client(max_per_host=1)
    asked = []
    client.request("GET", raw.url("/0"), done=lambda *came: asked.append(raw.get("/late")))
    waiting = raw.get("/1")
    server = raw.accept()
    assert [server.reply(b"x").target for _ in range(3)] == ["/0", "/1", "/late"]
    assert waiting.answer() and asked[0].answer()


def test_a_call_whose_host_has_room_does_not_wait_for_others(raw, other):
    client = raw.client(max_per_host=1)
    first, waiting = raw.get("/first"), raw.get("/waiting")
    server = raw.accept()
    server.request()
    elsewhere = raw.ask(client=client, url=other.url())
    second = other.accept()
    second.reply(b"elsewhere")
    assert elsewhere.answer().body == b"elsewhere"
    server.answer(b"1")
    server.reply(b"2")
    assert (first.answer().body, waiting.answer().body) == (b"1", b"2")


def test_the_limit_of_all(raw, other):
    client = raw.client(max_connections=2)
    calls = [raw.get("/0"), raw.get("/1"), raw.get("/2")]
    calls.append(raw.ask(client=client, url=other.url("/3")))
    servers = [raw.accept(), raw.accept()]
    assert raw.nobody() and other.nobody()
    servers[0].reply(b"0")
    assert servers[0].request().target == "/2"  # an idle one of its own
    servers[1].reply(b"1")
    assert servers[1].gone()  # closed, to make room for the other host
    second = other.accept()
    second.reply(b"3")
    servers[0].answer(b"2")
    assert [call.answer().body for call in calls] == [b"0", b"1", b"2", b"3"]


def test_hosts_have_their_turns_when_connections_are_few(raw, other):
    """One host with many calls does not keep the others waiting for ever."""
    client = raw.client(max_connections=1)
    many = [raw.get("/%d" % number) for number in range(4)]
    few = raw.ask(client=client, url=other.url())
    server = raw.accept()
    server.reply(b"x")
    raw.turn(4)
    assert not few.over
    server.reply(b"x")
    assert server.gone()
    second = other.accept()
    second.reply(b"few")
    assert few.answer().body == b"few"
    third = raw.accept()
    third.reply(b"x")
    third.reply(b"x")
    for call in many:
        call.answer()


def test_what_is_idle_for_the_longest_makes_room(raw, other, clock):
    client = raw.client(max_connections=2)
    calls = [raw.get("/0"), raw.get("/1")]
    servers = [raw.accept(), raw.accept()]
    for server, call in zip(servers, calls):
        server.reply(b"x")
        call.answer()
        raw.wait(1)
    call = raw.ask(client=client, url=other.url())
    second = other.accept()
    assert servers[0].gone() and servers[1].silent()
    second.reply(b"there")
    call.answer()


def test_another_port_scheme_or_host_is_another_origin(raw, other):
    client = raw.client()
    urls = [raw.url(), other.url(), "http://localhost:%d/" % raw.port]
    for url in urls:
        call = client.request("GET", url, done=lambda *came: None)
        server = (other if str(other.port) in url else raw).accept()
        server.reply(b"x")
        raw.until(lambda call=call: call.closed)
    assert len(client.pool.connections) == 3


def test_a_name_in_other_case_is_the_same(raw):
    client = raw.client()
    server = None
    for host in ("localhost", "LOCALHOST", "LocalHost"):
        call = client.request("GET", raw.url(host=host), done=lambda *came: None)
        server = server or raw.accept()
        assert server.reply(b"x")["host"] == "localhost:%d" % raw.port
        raw.until(lambda call=call: call.closed)


@pytest.mark.parametrize("options", [{"max_per_host": 0}, {"max_connections": 0}, {"redirects": -1}, {"max_per_host": -1}])
def test_odd_numbers_are_refused(loop, options):
    with pytest.raises(ValueError):
        Client(loop, **options)


# a connection that fails gives its place up

def test_a_refused_connection_lets_the_next_one_try(raw):
    raw.client(max_per_host=1)
    raw.stop_listening()
    calls = [raw.get(), raw.get(), raw.get()]
    for call in calls:
        assert call.error(icey.ConnectError).attempts


def test_a_broken_one_too(raw):
    raw.client(max_per_host=1)
    calls = [raw.get(), raw.get()]
    first = raw.accept()
    first.request()
    first.reset()
    calls[0].error(OSError)
    raw.accept().reply(b"x")
    calls[1].answer()


def test_nothing_is_left_of_an_origin_that_nobody_asks_any_more(raw):
    client = raw.client(max_per_host=1, limits={"keep_alive_timeout": 10.0})
    call, waiting = raw.get(), raw.get()
    server = raw.accept()
    server.reply(b"x")
    waiting.close()
    call.answer()
    raw.wait(20)
    assert server.gone()
    pool = client.pool
    assert not (pool.connections or pool._places or pool._idle or pool._waiting or pool._taken)


# idle connections

def test_what_held_the_loop_before_a_connection_idled_keeps_it_no_longer(raw, clock, loop):
    client = raw.client(limits={"keep_alive_timeout": 20.0})
    loop.call_soon(clock.advance, 1000.0)
    raw.turn(3)
    call = raw.get()
    raw.accept().reply()
    call.answer()
    raw.wait(19.0)
    assert client.pool.connections
    raw.wait(2.0)
    assert not client.pool.connections


def test_an_idle_connection_is_closed_in_time(raw, loop):
    raw.client(limits={"keep_alive_timeout": 20.0})
    call = raw.get()
    server = raw.accept()
    server.reply(b"x")
    call.answer()
    raw.wait(19)
    assert server.silent()
    raw.wait(7)
    assert server.gone()
    assert loop.timeout() is None or not held(loop)


def test_one_that_is_used_stays(raw):
    raw.client(limits={"keep_alive_timeout": 20.0})
    server = None
    for _ in range(5):
        call = raw.get()
        server = server or raw.accept()
        server.reply(b"x")
        call.answer()
        raw.wait(15)
    assert server.silent()
    raw.wait(20)
    assert server.gone()


def test_the_others_are_looked_at_again(raw):
    raw.client(limits={"keep_alive_timeout": 20.0})
    calls = [raw.get(), raw.get()]
    servers = [raw.accept(), raw.accept()]
    servers[0].reply(b"x")
    calls[0].answer()
    raw.wait(10)
    servers[1].reply(b"x")
    calls[1].answer()
    raw.wait(16)
    assert servers[0].gone() and servers[1].silent()
    raw.wait(10)
    assert servers[1].gone()


def test_without_a_limit_it_stays(raw, loop):
    raw.client(limits={"keep_alive_timeout": None})
    call = raw.get()
    server = raw.accept()
    server.reply(b"x")
    call.answer()
    raw.wait(100000)
    assert server.silent()


def test_idle_connections_do_not_keep_the_loop_running_and_calls_do(raw, loop):
    call = raw.get()
    assert held(loop)
    server = raw.accept()
    server.request()
    assert held(loop)
    server.answer(b"x")
    call.answer()
    raw.turn(3)
    assert not held(loop)
    call = raw.get()
    assert held(loop)
    server.reply(b"x")
    call.answer()
    raw.turn(3)
    assert not held(loop)


# cancelling

STAGES = ["made", "waiting", "connecting", "asked", "sending", "head", "body", "redirect", "paused"]


@pytest.mark.parametrize("verb", ["close", "abort"])
@pytest.mark.parametrize("stage", STAGES)
def test_cancelled_at_every_stage_a_call_frees_its_place(raw, loop, stage, verb):
    log = []
    client = raw.client(max_per_host=1)
    before = raw.get() if stage == "waiting" else None
    call = raw.ask("POST" if stage == "sending" else "GET", "/x", body=_endless(log) if stage == "sending" else None)
    call.on_close += lambda call: log.append("call closed")
    server = None
    if stage in ("waiting", "connecting"):
        raw.turn(1)
    elif stage != "made":
        server = raw.accept()
        server.head()
        if stage == "head":
            server.send(b"HTTP/1.1 200")
        elif stage in ("body", "paused"):
            server.send(answer(b"hello")[:-1])
            raw.until(lambda: call.received)
            if stage == "paused":
                call.pause()
        elif stage == "redirect":
            server.send(answer(b"", "Location: /next", status="302 Found"))
            server.request()
        raw.turn(2)
    getattr(call, verb)()
    getattr(call, verb)()
    raw.turn(3)
    assert log == (["closed"] if stage == "sending" else []) + ["call closed"]
    assert call.closed and call.outcome == []
    if server is not None:
        try:
            while server.sock.recv(1 << 20):
                pass
        except (ConnectionResetError, BlockingIOError):
            pass
        server.close()
    assert list(client.calls) == ([before.call] if before else [])
    if before:
        raw.accept().reply(b"before")
        assert before.answer().body == b"before"
    following = raw.get("/following")
    raw.turn(2)
    free = raw.accepted[-1] if stage == "waiting" else raw.accept()
    asked = free.read_until(b"\r\n\r\n") if stage == "connecting" else b""
    if stage == "connecting" and not asked:  # the one that was given up
        free = raw.accept()
    free.reply(b"y") if not asked else free.answer(b"y")
    assert following.answer().body == b"y"


def _endless(log):
    try:
        while True:
            yield bytes(65536)
    finally:
        log.append("closed")


def test_what_a_body_raises_when_it_is_closed_is_reported(raw, reports):
    def body():
        try:
            while True:
                yield bytes(65536)
        finally:
            raise KeyError("at its end")

    call = raw.ask("POST", body=body())
    raw.accept().head()
    call.abort()
    reports.take(KeyError)
    raw.until(lambda: call.closed)


def test_a_call_closed_in_its_own_slots(raw, loop):
    told = []
    for name in ("on_sent", "on_headers", "on_payload", "on_progress"):
        call = raw.get()
        told.clear()
        for event in ("on_sent", "on_headers", "on_payload", "on_progress"):
            getattr(call.call, event).attach(lambda *args, event=event: told.append(event))
        getattr(call.call, name).attach(lambda call, *args: call.close(), priority=1)
        server = raw.accept()
        server.read_until(b"\r\n\r\n")
        try:
            server.answer(b"hello")
        except OSError:
            pass
        raw.until(lambda call=call: call.closed)
        assert call.outcome == [] and name not in told, told
        assert server.gone()


def test_closed_in_done_it_is_over_already(raw):
    client = raw.client()
    outcome = []
    call = client.request("GET", raw.url(), done=lambda *came: (outcome.append(came), call.close(), call.abort()))
    raw.accept().reply(b"hello")
    raw.until(lambda: call.closed)
    assert len(outcome) == 1


def test_done_may_be_left_out(raw):
    call = raw.client().request("GET", raw.url())
    raw.accept().reply(b"hello")
    raw.until(lambda: call.closed)


def test_what_done_raises_is_reported_and_harms_nobody(raw, reports):
    client = raw.client()

    def done(answer, error):
        raise KeyError("in done")

    call = client.request("GET", raw.url(), done=done)
    server = raw.accept()
    server.reply(b"hello")
    raw.until(lambda: call.closed)
    reports.take(KeyError)
    again = raw.get()
    server.reply(b"hello")
    again.answer()


@pytest.mark.parametrize("slot", ["on_sent", "on_interim", "on_headers", "on_payload", "on_progress"])
def test_a_slot_that_raises_ends_its_call_with_that(raw, reports, slot):
    def fail(*args):
        raise KeyError("in a slot")

    call = raw.get()
    getattr(call.call, slot).attach(fail)
    server = raw.accept()
    server.request()
    try:
        server.send(answer(b"", "Location: /next", status="302 Found") if slot == "on_interim" else answer(b"hello"))
    except OSError:
        pass
    call.error(KeyError)
    reports.take(KeyError)
    assert server.gone()


def test_done_never_comes_inside_request(raw, monkeypatch):
    """Not even where it fails at once, or a kept connection is at hand."""
    client = raw.client()
    raw.get()
    raw.accept().reply(b"x")
    raw.turn(3)
    inside, outcomes = [True], []

    def done(answer, error):
        assert not inside[0]
        outcomes.append(type(error))

    def fails():
        raise KeyError("at once")
        yield

    client.request("PUT", raw.url(), body=fails(), done=done)
    monkeypatch.setattr(icey.http.ClientConnection, "_dial", lambda self, credentials: 1 / 0)
    client.request("GET", raw.url(host="localhost"), done=done)
    inside[0] = False
    raw.until(lambda: len(outcomes) == 2)
    assert sorted(kind.__name__ for kind in outcomes) == ["KeyError", "ZeroDivisionError"]


@pytest.mark.parametrize("options, text", [
    ({"auth": ("user", "secret")}, "auth is a BasicAuth or a DigestAuth, not tuple"), ({"auth": "user:secret"}, "not str"),
    ({"cookies": {"a": "secret"}}, "cookies is True, False or a CookieJar, not dict"), ({"cookies": "a=secret"}, "not str"),
    ({"max_body": "1000"}, "max_body is a number of bytes"), ({"max_body": 1.5}, "max_body"),
], ids=str)
def test_what_a_client_cannot_use_is_refused_at_once(loop, options, text):
    with pytest.raises(TypeError, match=text) as info:
        Client(loop, **options)
    assert "secret" not in str(info.value)


def test_nor_by_request_nor_later(raw, loop):
    client = raw.client()
    with pytest.raises(TypeError, match="auth is"):
        client.request("GET", raw.url(), auth=("user", "secret"))
    with pytest.raises(TypeError, match="auth is"):
        Proxy("http://127.0.0.1:1", auth=("user", "secret"))
    with pytest.raises(TypeError, match="cookies is"):
        client.cookies = {}
    for jar, kept in ((False, False), (None, False), (True, True)):
        client.cookies = jar
        assert client.keeps_cookies is kept and (client.cookies is not None) is kept
    client.auth = ("user", "secret")
    with pytest.raises(TypeError, match="auth is"):
        client.request("GET", raw.url())
    assert not client.calls and raw.nobody()


def test_what_cannot_be_sent_is_refused_by_request(raw, loop):
    client = raw.client()
    for options in ({"headers": {"A": "b\r\nC: d"}}, {"headers": {"A b": "c"}}, {"headers": {"Content-Length": "x"}},
                    {"headers": {"Content-Length": "5"}}, {"headers": {"Transfer-Encoding": "chunked"}},
                    {"headers": {"Content-Length": "5"}, "body": b"four"}):
        with pytest.raises(ValueError):
            client.request("POST", raw.url(), **options)
    for options in ({"body": "str"}, {"body": 5}, {"headers": {"A": 5}}, {"headers": {5: "a"}}):
        with pytest.raises(TypeError):
            client.request("POST", raw.url(), **options)
    for method in ("CONNECT", "", "G T"):
        with pytest.raises(ValueError):
            client.request(method, raw.url())
    assert not client.calls and not held(loop) and raw.nobody()


def test_headers_of_the_client_and_of_the_request(raw):
    client = raw.client(headers={"A": "1", "B": "2", "User-Agent": "me"}, decode=False)
    for headers in ({"a": "3", "C": "4"}, [("a", "3"), ("C", "4")], iter([("a", "3"), ("C", "4")])):
        call = raw.get(headers=headers)
        server = raw.accepted[-1] if raw.accepted else raw.accept()
        asked = server.reply(b"x")
        assert [pair for pair in asked.fields if pair[0] in ("a", "b", "c", "user-agent")] == [
            ("b", "2"), ("user-agent", "me"), ("a", "3"), ("c", "4")]
        call.answer()
    assert client.headers.items() == [("A", "1"), ("B", "2"), ("User-Agent", "me")]


@pytest.mark.needs("zlib")
def test_accept_encoding_is_asked_for_unless(raw):
    raw.client()
    server = None
    for headers, expected in (({}, "gzip, deflate"), ({"Accept-Encoding": "br"}, "br"), ({"Range": "bytes=0-1"}, None)):
        call = raw.get(headers=headers)
        server = server or raw.accept()
        assert server.reply(b"x").get("accept-encoding") == expected
        call.answer()
    raw.client(decode=False)
    call = raw.get()
    assert "accept-encoding" not in raw.accept().reply(b"x")
    call.answer()


def test_without_zlib_nothing_is_asked_for_nor_undone(raw, monkeypatch):
    monkeypatch.setitem(sys.modules, "icey.http.client.decoding", None)
    monkeypatch.delattr(icey.http, "decoding", raising=False)
    client = raw.client()
    assert client.decode is False
    call = raw.get()
    asked = raw.accept().reply(b"\x1f\x8b", "Content-Encoding: gzip")
    assert "accept-encoding" not in asked and call.answer().body == b"\x1f\x8b"


def test_urls_are_parsed_once_and_few_are_remembered(raw, monkeypatch):
    monkeypatch.setattr("icey.http.client.client.MOST_URLS", 2)
    client, server = raw.client(), None
    for path in ("/1", "/2", "/1", "/3", "/4", "/1", "/" + "x" * 3000):
        call = raw.get(path)
        server = server or raw.accept()
        assert server.reply(b"x").target == path
        assert call.answer().url.path == path
        assert len(client._urls) <= 2
    call = raw.ask(url=raw.url("/5", userinfo="user:secret@"))
    server.reply(b"x")
    call.answer()
    assert "secret" not in str(client._urls)


# closing the client

def test_close_lets_calls_come_to_their_end(raw, loop):
    client = raw.client(max_per_host=2)
    log = []
    client.on_close += lambda client: log.append("client closed")
    calls = [raw.get(), raw.get(), raw.get()]
    raw.turn(2)
    client.close()
    client.close()
    with pytest.raises(StateError, match="closing"):
        client.request("GET", raw.url())
    first, second = raw.accept(), raw.accept()
    first.reply(b"1")
    assert calls[0].answer().body == b"1"
    assert first.gone()  # nothing is kept any more
    raw.accept().reply(b"3")
    assert not log
    second.reply(b"2")
    assert [call.answer().body for call in calls[1:]] == [b"2", b"3"]
    raw.until(lambda: log)
    raw.turn(3)
    assert log == ["client closed"] and client.closed and not held(loop) and not loop.handles
    with pytest.raises(StateError, match="closed"):
        client.request("GET", raw.url())


def test_close_of_an_idle_client(raw, loop):
    client = raw.client()
    call = raw.get()
    server = raw.accept()
    server.reply(b"x")
    call.answer()
    client.close()
    assert not client.closed  # from the loop
    assert server.gone()
    raw.until(lambda: client.closed)
    raw.turn(3)
    assert not loop.handles


@pytest.mark.parametrize("how", ["close", "abort", "connection", "loop"])
def test_an_idle_connection_that_is_given_up_ends_and_is_not_cut(raw, loop, debug, how):
    """A server may still be reading the request that it has answered: a reset would take that from it."""
    client = raw.client()
    call = raw.ask("POST", body=b"data")
    server = raw.accept()
    server.answer(b"x")
    call.answer()
    if how == "loop":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in debug mode: it is still open
            loop.close()
    elif how == "connection":
        next(iter(client.pool.connections)).abort()
    else:
        getattr(client, how)()
    assert not server.at_reset()


def test_a_redirect_after_close_is_still_followed(raw):
    client = raw.client()
    call = raw.get()
    server = raw.accept()
    server.request()
    client.close()
    server.send(answer(b"", "Location: /next", status="302 Found"))
    second = raw.accept()
    second.reply(b"there")
    assert call.answer().body == b"there"
    raw.until(lambda: client.closed)


def test_abort_cancels_every_call(raw, loop):
    client = raw.client(max_per_host=1)
    calls = [raw.get(), raw.get()]
    closed = []
    for call in calls:
        call.on_close += closed.append
    server = raw.accept()
    server.request()
    client.abort()
    client.abort()
    assert server.gone()
    raw.until(lambda: client.closed)
    raw.turn(2)
    assert len(closed) == 2 and not any(call.over for call in calls)
    assert not held(loop) and not loop.handles


def test_abort_in_done(raw, loop):
    client = raw.client()
    other = raw.get("/other")
    client.request("GET", raw.url(), done=lambda *came: client.abort())
    first, second = raw.accept(), raw.accept()
    second.reply(b"x")
    assert first.read_until(b"\r\n\r\n") and first.gone()
    raw.until(lambda: client.closed)
    assert not other.over


def test_the_client_as_a_context_manager(raw):
    with Client(raw.loop) as client:
        call = raw.ask(client=client)
    raw.accept().reply(b"hello")
    assert call.answer().body == b"hello"
    raw.until(lambda: client.closed)


@pytest.mark.parametrize("stage", ["made", "connecting", "asked", "body", "idle", "waiting"])
def test_the_loop_s_end_with_calls_running(raw, loop, debug, stage):
    log = []
    raw.client(max_per_host=1)
    call = raw.get()
    call.on_close += lambda call: log.append("closed")
    server = None
    if stage == "connecting":
        raw.turn(1)
    elif stage != "made":
        server = raw.accept()
        server.request()
        if stage == "body":
            server.send(answer(b"hello")[:-1])
            raw.until(lambda: call.received)
        elif stage == "idle":
            server.answer(b"hello")
            call.answer()
        elif stage == "waiting":
            waiting = raw.get()
            waiting.on_close += lambda call: log.append("closed")
            raw.turn(2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
    assert log == ["closed"] * (2 if stage == "waiting" else 1)
    assert len(call.outcome) == (stage == "idle")
    assert [warning.category for warning in caught] == ([ResourceWarning] if debug and stage != "made" else [])
    if caught:
        assert "ClientConnection" in str(caught[0].message) or stage == "connecting"
    if server is not None:
        assert server.gone()


def test_nothing_is_left_of_a_call(raw, loop):
    def run():
        call = raw.get()
        server = raw.accepted[-1] if raw.accepted else raw.accept()
        server.reply(b"hello")
        call.answer()
        return weakref.ref(call.call)

    refs = [run(), run()]
    raw.turn(2)
    collect()
    assert [ref() for ref in refs] == [None, None]


def test_nothing_is_left_of_a_failed_call(raw, loop):
    def run(data):
        call = raw.get()
        server = raw.accept()
        server.request()
        server.send(data)
        server.half_close()
        call.error(Exception)
        return [weakref.ref(call.call), weakref.ref(call.outcome[0][1])]

    for data in (b"garbage\r\n\r\n", answer(b"hello")[:-1], b"", answer(b"", "Location: ftp://x/", status="302 Found")):
        refs = run(data)
        raw.turn(2)
        collect()
        assert [ref() for ref in refs] == [None, None], data


@pytest.mark.needs("zlib")
def test_an_error_that_is_kept_keeps_no_connection(raw):
    def run(data):
        call = raw.get()
        server = raw.accept()
        server.request()
        server.send(data)
        server.half_close()
        connection = next(iter(raw.clients[-1].pool.connections))
        return call.error(Exception), weakref.ref(call.call), weakref.ref(connection)

    for data in (b"garbage\r\n\r\n", answer(b"hello")[:-1], answer(b"", "Content-Length: x"), answer(b"", "bad name : x"),
                 answer(b"\x1f\x8b\x08broken gzip, this is", "Content-Encoding: gzip"),
                 answer(b"", "Location: ftp://x/", status="302 Found"), answer(b"", "Location: http:///", status="302 Found")):
        error, *refs = run(data)
        raw.turn(2)
        collect()
        assert [ref() for ref in refs] == [None, None], error


def test_a_client_and_its_connections_are_collected(raw, loop):
    def run():
        client = Client(loop)
        call = raw.ask(client=client)
        server = raw.accept()
        server.reply(b"x")
        call.answer()
        client.close()
        raw.until(lambda: client.closed)
        raw.turn(2)
        return weakref.ref(client), weakref.ref(client.pool)

    refs = run()
    collect()
    assert [ref() for ref in refs] == [None, None]


def test_a_connection_closed_from_outside_is_an_error_of_its_call(raw):
    client = raw.client()
    call = raw.get()
    server = raw.accept()
    server.request()
    next(iter(client.pool.connections)).close()
    call.error(NetError)
    assert server.gone()


def test_progress_and_totals(raw):
    call = raw.get()
    told = []
    call.on_progress += lambda call, received, total: told.append((received, total))
    server = raw.accept()
    server.request()
    for piece in (answer(b"hello")[:-2], b"l", b"o"):
        server.send(piece)
        raw.turn(2)
    call.answer()
    assert told == [(3, 5), (4, 5), (5, 5)] and (call.received, call.total) == (5, 5)


def test_what_is_known_of_an_answer(raw):
    call = raw.get("/x?y")
    raw.accept().reply(b"hello", "Content-Type: text/plain", status="299 Odd")
    got = call.answer()
    assert (got.status, got.reason, got.version, got.ok, got.body) == (299, "Odd", "1.1", True, b"hello")
    assert got.headers["content-type"] == "text/plain" and str(got.url) == raw.url("/x?y")
    assert repr(got) == "<Answer 299 Odd, 5 bytes>"
    assert "GET 127.0.0.1" in repr(call.call)


def test_on_sent_tells_the_head_of_each_request(raw):
    call = raw.get()
    heads = []
    call.on_sent += lambda call, head: heads.append((str(call.url), head))
    server = raw.accept()
    first = server.reply(b"", "Location: /next", status="302 Found")
    second = server.reply(b"x")
    call.answer()
    assert heads == [(raw.url("/"), first.head), (raw.url("/next"), second.head)]


# the body: gathered, bounded, or in pieces

def test_max_body_bounds_what_is_gathered(raw):
    raw.client(max_body=10)
    call = raw.get()
    raw.accept().reply(b"x" * 10)
    assert call.answer().body == b"x" * 10
    call = raw.get()
    raw.accepted[-1].reply(b"x" * 11)
    assert "over 10 bytes" in str(call.error(icey.BadResponse))
    call = raw.get()
    call.on_payload += lambda call, view: None
    raw.accept().reply(b"x" * 1000)
    assert call.answer().body == b""
    raw.client(max_body=None)
    call = raw.get()
    raw.accept().reply(b"x" * 1000)
    assert len(call.answer().body) == 1000


def test_a_signal_that_was_only_looked_at_takes_nothing(raw):
    call = raw.get()
    assert len(call.on_payload) == 0
    raw.accept().reply(b"hello")
    assert call.answer().body == b"hello"


def test_pause_and_resume(raw):
    call = raw.get()
    payload = []
    call.on_payload += lambda call, view: (payload.append(bytes(view)), call.pause())
    server = raw.accept()
    server.request()
    server.send(answer(b"hello")[:-2])
    raw.turn(3)
    server.send(b"lo")
    raw.turn(5)
    assert payload == [b"hel"]
    call.resume()
    call.resume()
    raw.turn(3)
    assert payload == [b"hel", b"lo"]
    call.resume()
    call.answer()


def test_paused_before_it_has_a_connection(raw):
    call = raw.get()
    call.pause()
    server = raw.accept()
    server.reply(b"hello")
    raw.turn(5)
    assert not call.over
    call.resume()
    assert call.answer().body == b"hello"
    call.pause()  # no-ops now
    call.resume()
