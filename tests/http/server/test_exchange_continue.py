"""Expect: 100-continue. The body waits for a consumer; 100 Continue goes out when there is one."""
import pytest

from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def head(length=5, *fields, version="1.1", expect="100-continue"):
    lines = ["POST / HTTP/" + version, "Host: test", "Expect: " + expect, *fields]
    if length is not None:
        lines.append("Content-Length: %d" % length)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def echo(exchange, body):
    exchange.respond(200, body)


def on_payload(exchange):
    pieces = []
    exchange.on_payload += lambda exchange, view: pieces.append(bytes(view))
    exchange.on_complete += lambda exchange: exchange.respond(200, b"".join(pieces))


CONSUMERS = pytest.mark.parametrize("consume", [lambda exchange: exchange.collect(echo), on_payload],
                                    ids=["collect", "on_payload"])


@CONSUMERS
@pytest.mark.parametrize("expect", ["100-continue", "100-Continue", "100-CONTINUE"])
def test_100_continue_goes_out_with_a_consumer(site, consume, expect):
    site.serve(consume)
    client = site.client()
    for _ in range(2):
        client.send(head(expect=expect))
        assert client.read_until(b"\r\n\r\n") == CONTINUE
        assert client.silent()
        client.send(b"Hello")
        assert client.answer().body == b"Hello"


@CONSUMERS
def test_100_continue_waits_for_a_late_consumer(site, consume):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.send(head())
    assert client.silent()
    consume(exchanges[0])
    assert client.read_until(b"\r\n\r\n") == CONTINUE
    client.send(b"Hello")
    assert client.answer().body == b"Hello"


@CONSUMERS
def test_100_continue_goes_out_once(site, consume):
    def slot(exchange):
        exchange.on_payload += http.ignore
        consume(exchange)

    site.serve(slot)
    client = site.client()
    client.send(head())
    assert client.read_until(b"\r\n\r\n") == CONTINUE
    assert client.silent()
    client.send(b"Hello")
    assert client.answer().status == 200


@CONSUMERS
def test_100_continue_goes_out_for_a_chunked_body(site, consume):
    site.serve(consume)
    client = site.client()
    client.send(head(None, "Transfer-Encoding: chunked"))
    assert client.read_until(b"\r\n\r\n") == CONTINUE
    client.send(b"5\r\nHello\r\n0\r\n\r\n")
    assert client.answer().body == b"Hello"


@CONSUMERS
@pytest.mark.parametrize("pieces", [[head() + b"H", b"ello"], [head() + b"Hello"]])
def test_no_100_continue_if_body_bytes_came_already(site, consume, pieces):
    site.serve(consume)
    client = site.client()
    for piece in pieces:
        client.send(piece)
        site.turn(3)
    assert client.answer().body == b"Hello"


@CONSUMERS
def test_no_100_continue_if_body_bytes_came_before_a_late_consumer(site, consume):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.send(head())
    site.until(lambda: exchanges)
    client.send(b"He")
    site.turn(3)
    consume(exchanges[0])
    assert client.silent()
    client.send(b"llo")
    assert client.answer().body == b"Hello"


@CONSUMERS
def test_no_100_continue_to_1_0(site, consume):
    site.serve(consume)
    client = site.client()
    client.send(head(version="1.0"))
    assert client.silent()
    client.send(b"Hello")
    assert client.answer().body == b"Hello"


@CONSUMERS
def test_no_100_continue_where_no_body_is_due(site, consume):
    site.serve(consume)
    client = site.client()
    client.send(head(0))
    assert client.answer().body == b""
    client.send(head(None))
    assert client.answer().body == b""


def test_no_100_continue_with_an_early_answer(site):
    site.serve(lambda exchange: exchange.respond(401, b"who?"))
    client = site.client()
    client.send(head())
    answer = client.answer()
    assert (answer.status, answer.body, answer["connection"]) == (401, b"who?", "close")
    assert client.at_end()  # whether the body comes nobody knows


def test_no_100_continue_once_the_answer_has_begun(site):
    def slot(exchange):
        exchange.send(b"got ")
        exchange.collect(lambda exchange, body: exchange.send(body) and exchange.end())

    site.serve(slot)
    client = site.client()
    client.send(head())
    site.turn(3)
    client.send(b"Hello")
    assert client.answer().body == b"got Hello"


def test_pipelined_behind_another_request(site):
    def slot(exchange):
        exchange.collect(echo)

    site.serve(slot)
    client = site.client()
    client.send(http.request("POST", body=b"first") + head())
    assert client.answer().body == b"first"
    assert client.read_until(b"\r\n\r\n") == CONTINUE
    client.send(b"Hello" + http.request("POST", body=b"third"))
    assert client.answer().body == b"Hello"
    assert client.answer().body == b"third"


@pytest.mark.parametrize("expect", ["200-ok", "100-continue, x", "100-continued", ""])
def test_another_expectation_is_417_and_close(site, expect):
    called = []
    site.serve(called.append)
    client = site.client()
    client.send(head(expect=expect))
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (417, "close")
    assert client.at_end()
    assert called == []


def test_a_responder_that_answers_in_on_headers_has_no_100_continue_sent(site):
    class Refuses(http.icey.http.Responder):
        def on_headers(self, request):
            self.exchange.respond(403, b"no")

    site.serve(responder=Refuses)
    client = site.client()
    client.send(head())
    assert client.answer().status == 403


def test_a_responder_has_100_continue_sent(site):
    class Takes(http.icey.http.Responder):
        def on_payload(self, view):
            self.exchange.respond(200, view)

    site.serve(responder=Takes)
    client = site.client()
    client.send(head())
    assert client.read_until(b"\r\n\r\n") == CONTINUE
    client.send(b"Hello")
    assert client.answer().body == b"Hello"
