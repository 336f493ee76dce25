"""collect(): the whole body, within a limit."""
import pytest

import icey
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

BODY = bytes(range(256)) * 1024  # 256 KiB


def echo(exchange, body):
    assert type(body) is bytes
    exchange.respond(200, body)


FORMS = pytest.mark.parametrize("form", [{"body": BODY}, {"chunks": [BODY[:7], BODY[7:70000], BODY[70000:]]}],
                                ids=["length", "chunked"])


@FORMS
def test_collect_gathers_the_body(site, form):
    site.serve(lambda exchange: exchange.collect(echo))
    client = site.client()
    for _ in range(3):
        assert client.get("/", method="POST", **form).body == BODY


def test_done_may_run_before_collect_returns(site):
    order = []

    def slot(exchange):
        exchange.collect(lambda exchange, body: order.append(body))
        order.append("returned")
        exchange.respond(200)

    site.serve(slot)
    client = site.client()
    for method in ("GET", "HEAD", "POST"):  # no body; Content-Length: 0
        client.get(method=method)
    assert order == [b"", "returned"] * 3


def test_done_comes_with_the_last_byte_of_the_body(site):
    bodies = []
    site.serve(lambda exchange: exchange.collect(lambda exchange, body: bodies.append(body) or exchange.respond()))
    client = site.client()
    whole = http.request("POST", body=b"Hello")
    for at in range(len(whole) - 1):
        client.send(whole[at:at + 1])
        site.turn()
    assert bodies == []
    client.send(whole[-1:])
    client.answer()
    assert bodies == [b"Hello"]


@FORMS
@pytest.mark.parametrize("wait", [False, True], ids=["body behind the head", "body later"])
def test_collect_may_come_late(site, form, wait):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    whole = http.request("POST", **form)
    client.send(whole[:whole.index(b"\r\n\r\n") + 4])
    if wait:
        site.until(lambda: exchanges)
    client.send(whole[whole.index(b"\r\n\r\n") + 4:][:1000])
    site.until(lambda: exchanges)
    site.turn(3)
    exchanges[0].collect(echo)
    client.send(whole[whole.index(b"\r\n\r\n") + 4:][1000:])
    assert client.answer().body == BODY
    client.ask("POST", "/", body=b"again")
    site.until(lambda: len(exchanges) == 2)
    exchanges[1].collect(echo)
    assert client.answer().body == b"again"


def test_collect_from_a_timer(site, loop):
    site.serve(lambda exchange: loop.call_later(5.0, exchange.collect, echo))
    client = site.client()
    client.ask("POST", body=BODY)
    site.wait(5.0)
    assert client.answer().body == BODY


# the limit: inclusive, 413 past it, its own limit alone counts

@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 9, 10])
def test_the_limit_is_inclusive(site, chunked, size):
    site.serve(lambda exchange: exchange.collect(echo, 10))
    body = b"x" * size
    form = {"chunks": [body] if body else []} if chunked else {"body": body}
    assert site.client().get(method="POST", **form).body == body


@pytest.mark.parametrize("form", [{"body": b"x" * 11}, {"chunks": [b"x" * 5, b"x" * 6]}], ids=["length", "chunked"])
def test_past_the_limit_413_and_a_small_rest_leaves_the_connection_in_use(site, form):
    called, closed = [], []

    def slot(exchange):
        exchange.on_close += closed.append
        exchange.collect(called.append, limit=10)

    site.serve(slot)
    client = site.client()
    for _ in range(2):
        answer = client.get("/", method="POST", **form)
        assert (answer.status, answer.reason) == (413, "Content Too Large")
        assert "connection" not in answer
    site.turn(2)
    assert called == []
    assert len(closed) == 2


@pytest.mark.parametrize("expects", [False, True])
def test_a_length_past_the_limit_is_refused_before_the_body_is_there(site, expects):
    called = []

    def slot(exchange):
        exchange.collect(called.append, limit=10)
        exchange.on_payload += called.append

    site.serve(slot)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n%s\r\n" % (b"Expect: 100-continue\r\n" * expects))
    answer = client.answer()
    assert answer.status == 413 and answer.body == b"413 Content Too Large: body over 10 bytes\n"
    assert called == []


def test_past_the_limit_a_large_rest_closes(site):
    site.serve(lambda exchange: exchange.collect(echo, 10))
    client = site.client()
    client.ask("POST", body=bytes(1 << 20))
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (413, "close")
    assert client.at_end()


def test_past_the_limit_a_large_chunked_rest_closes(site):
    site.serve(lambda exchange: exchange.collect(echo, 10))
    client = site.client()
    client.ask("POST", chunks=[bytes(100)] * 5000)
    assert client.answer().status == 413
    assert client.at_end()


def test_a_limit_of_none_is_max_body(site):
    site.serve(lambda exchange: exchange.collect(echo), limits={"max_body": 100})
    client = site.client()
    assert client.get(method="POST", body=b"x" * 100).status == 200
    assert client.get(method="POST", body=b"x" * 101).status == 413


def test_its_own_limit_alone_counts(site):
    site.serve(lambda exchange: exchange.collect(echo, 200), limits={"max_body": 100})
    client = site.client()
    assert client.get(method="POST", body=b"x" * 200).status == 200
    assert client.get(method="POST", body=b"x" * 201).status == 413


def test_max_body_none_is_no_limit(site):
    site.serve(lambda exchange: exchange.collect(lambda exchange, body: exchange.respond(200, b"%d" % len(body))),
               limits={"max_body": None})
    assert site.client().get(method="POST", body=bytes(3 << 20)).body == b"%d" % (3 << 20)


# once; together with on_payload; after the answer has begun

def test_collect_twice_is_a_state_error(site):
    def slot(exchange):
        exchange.collect(echo)
        with pytest.raises(icey.StateError, match="twice"):
            exchange.collect(echo)

    site.serve(slot)
    assert site.client().get(method="POST", body=b"x").body == b"x"


def test_collect_after_the_answer_is_a_state_error(site):
    def slot(exchange):
        exchange.respond(200)
        with pytest.raises(icey.StateError, match="collect\\(\\) after the answer is complete"):
            exchange.collect(echo)

    site.serve(slot)
    assert site.client().get().status == 200


def test_on_payload_sees_what_collect_gathers(site):
    pieces = []

    def slot(exchange):
        exchange.on_payload += lambda exchange, view: pieces.append(bytes(view))
        exchange.collect(echo)

    site.serve(slot)
    assert site.client().get(method="POST", body=BODY).body == BODY
    assert b"".join(pieces) == BODY


def test_collect_while_the_answer_is_under_way(site):
    def slot(exchange):
        exchange.send(b"got: ")

        def done(exchange, body):
            exchange.send(body)
            exchange.end()
        exchange.collect(done)

    site.serve(slot)
    client = site.client()
    for _ in range(2):
        assert client.get(method="POST", body=b"Hello").body == b"got: Hello"


def test_past_the_limit_after_the_answer_has_begun_aborts(site, reports):
    def slot(exchange):
        exchange.send(b"got: ")
        exchange.collect(echo, 3)

    site.serve(slot)
    site.client().ask("POST", body=b"Hello")
    assert site.gone()
    reports.take(icey.TooLarge)


def test_what_done_raises_is_answered_as_of_any_slot(site, reports):
    def done(exchange, body):
        raise icey.HttpError(422) if body else ValueError("no body")

    site.serve(lambda exchange: exchange.collect(done))
    client = site.client()
    assert client.get(method="POST", body=b"x").status == 422
    assert client.get(method="POST", body=b"").status == 500
    reports.take(ValueError)


def test_on_complete_comes_after_done(site):
    order = []

    def slot(exchange):
        exchange.on_complete += lambda exchange: order.append("complete")
        exchange.on_close += lambda exchange: order.append("close")
        exchange.collect(lambda exchange, body: order.append(body))
        exchange.loop.call_later(1.0, exchange.respond)

    site.serve(slot)
    client = site.client()
    client.ask("POST", body=b"x")
    site.wait(1.0)
    client.answer()
    client.ask("GET")
    site.wait(1.0)
    client.answer()
    site.turn(2)
    assert order == [b"x", "complete", "close", b"", "complete", "close"]


def test_small_pieces_are_joined_as_they_come(site):
    """A body in chunks of two bytes costs about what its bytes cost, not an object for each."""
    kept = []

    def slot(exchange):
        exchange.collect(lambda exchange, body: exchange.respond(200, body))
        kept.append(exchange._gather)

    site.serve(slot)
    client = site.client()
    data = http.request("POST", chunks=[b"ab"] * 20000)
    client.send(data[:-100])
    site.until(lambda: kept and kept[0].size > 39000)
    assert len(kept[0].pieces) <= 3
    client.send(data[-100:])
    assert client.answer().body == b"ab" * 20000
