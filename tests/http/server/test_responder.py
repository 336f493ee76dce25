"""Responder: one object a request, made by Server(responder=MyResponder)."""
import pytest

import icey
from icey.http import Responder
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site


@pytest.fixture
def order():
    return []


@pytest.fixture
def Noting(order):
    class Noting(Responder):
        def on_headers(self, request):
            assert request is self.exchange.request
            order.append(request.method)

        def on_payload(self, view):
            order.append(bytes(view))

        def on_complete(self, request, response):
            assert request is self.exchange.request and response is self.exchange.response
            order.append("complete")
            self.exchange.respond(200, b"Hello")

        def on_close(self):
            order.append("close")

    return Noting


def test_the_order_is_on_headers_on_payload_on_complete_on_close(site, order, Noting):
    site.serve(responder=Noting)
    client = site.client()
    assert client.get("/", method="POST", body=b"body").body == b"Hello"
    site.turn(2)
    assert order == ["POST", b"body", "complete", "close"]


def test_a_request_without_a_body_has_no_on_payload(site, order, Noting):
    site.serve(responder=Noting)
    client = site.client()
    assert client.get().body == b"Hello"
    assert client.get(method="HEAD").status == 200
    site.turn(2)
    assert order == ["GET", "complete", "close", "HEAD", "complete", "close"]


def test_one_is_made_for_each_request(site, order, Noting):
    made = []

    class Counted(Noting):
        def __init__(self, exchange):
            super().__init__(exchange)
            made.append(self)

    site.serve(responder=Counted)
    client = site.client()
    client.send(http.request() * 3)
    for _ in range(3):
        client.answer()
    assert len(made) == len(set(made)) == 3


def test_an_answer_in_on_headers_is_the_end_of_it(site, order, Noting):
    class Early(Noting):
        def on_headers(self, request):
            super().on_headers(request)
            self.exchange.respond(403)

    site.serve(responder=Early)
    client = site.client()
    assert client.get("/", method="POST", body=b"body").status == 403
    assert client.get().status == 403
    site.turn(2)
    assert order == ["POST", "close", "GET", "close"]


def test_an_exception_in_on_headers_is_answered_and_closed(site, order, reports, Noting):
    class Raises(Noting):
        def on_headers(self, request):
            raise icey.HttpError(405) if request.method == "POST" else ValueError()

    site.serve(responder=Raises)
    client = site.client()
    assert client.get("/", method="POST", body=b"body").status == 405
    assert client.get().status == 500
    reports.take(ValueError)
    site.turn(2)
    assert order == ["close", "close"]


@pytest.mark.parametrize("where", ["on_payload", "on_complete"])
def test_exceptions_in_the_others_are_answered_too(site, reports, where):
    def method(self, *args):
        raise icey.HttpError(415)

    site.serve(responder=type("Raises", (Responder,), {where: method}))
    assert site.client().get("/", method="POST", body=b"body").status == 415


def test_an_exception_in_on_close_is_reported(site, reports, Noting):
    class Raises(Noting):
        def on_close(self):
            raise ValueError

    site.serve(responder=Raises)
    site.client().get()
    site.turn(2)
    reports.take(ValueError)


def test_on_close_comes_also_when_the_client_goes(site, order, Noting):
    site.serve(responder=Noting)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nbo")
    site.until(lambda: b"bo" in order)
    client.reset()
    assert site.gone()
    site.turn(2)
    assert order == ["POST", b"bo", "close"]


def test_the_base_class_answers_nothing_by_itself(site):
    site.serve(responder=Responder)
    client = site.client()
    client.ask("POST", "/", body=b"body")
    assert client.silent()
    site.server.connections[0].exchange.respond(200)
    assert client.answer().status == 200


def test_a_responder_may_collect(site):
    class Collects(Responder):
        def on_headers(self, request):
            self.exchange.collect(lambda exchange, body: exchange.respond(200, body))

    site.serve(responder=Collects)
    client = site.client()
    assert client.get("/", method="POST", body=b"body").body == b"body"
    assert client.get().body == b""


def test_any_callable_of_an_exchange_makes_responders(site):
    class Fixed(Responder):
        def __init__(self, exchange, text):
            super().__init__(exchange)
            self.text = text

        def on_complete(self, request, response):
            self.exchange.respond(200, self.text)

    site.serve(responder=lambda exchange: Fixed(exchange, b"text"))
    assert site.client().get().body == b"text"
