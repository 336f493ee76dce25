"""The short way of an answer, with a head that is known, and the long way: the client sees the same bytes."""
import functools
import itertools
import re

import pytest

from tests.support import http, seeds

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

REQUESTS = {
    "1.1": http.request(),
    "1.1, close": http.request("GET", "/", "Connection: close"),
    "1.1, upgrade": http.request("GET", "/", "Connection: Upgrade", "Upgrade: h2c"),
    "1.0": http.request(version="1.0"),
    "1.0, keep-alive": http.request("GET", "/", "Connection: keep-alive", version="1.0"),
    "1.0, close": http.request("GET", "/", "Connection: close", version="1.0"),
    "a body": http.request("POST", "/", body=b"hello"),
    "chunks": http.request("POST", "/", chunks=[b"hel", b"lo"]),
    "the last with a body": http.request("POST", "/", "Connection: close", body=b"hello"),
    "HEAD": http.request("HEAD"),
}
FIELDS = [
    [], [("X-A", "b"), ("ETag", '"c"'), ("X-A", "d")], [("Content-Type", "a/b"), ("X-A", "\xe9")], [("Content-Length", "5")],
    [("Content-Type", "a/b"), ("content-type", "c/d")], [("Connection", "close")], [("Connection", "x"), ("A", "b")],
    [("Date", "today")], [("Server", "mine"), ("Content-Length", "5")], [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")],
    [("X-Long", "y" * 500)],
]


def at_once(exchange, status, fields):
    exchange.respond(status, b"" if status in (204, 304) else b"Hello", None, fields)


def typed(exchange, status, fields):
    exchange.respond(status, b"" if status in (204, 304) else b"Hello", "text/plain", fields)


def mapped(exchange, status, fields):
    exchange.respond(status, b"" if status in (204, 304) else b"Hello", None, dict(fields))


def by_the_response(exchange, status, fields):
    for name, value in fields:
        exchange.response.headers.add(name, value)
    exchange.respond(status, b"" if status in (204, 304) else b"Hello")


def in_pieces(exchange, status, fields):
    exchange.response.status = status
    for name, value in fields:
        exchange.response.headers.add(name, value)
    exchange.send(b"Hel")
    exchange.send(bytearray(b"lo"))
    exchange.end()


def head_alone(exchange, status, fields):
    exchange.response.status = status
    for name, value in fields:
        if name != "Content-Length":  # would be promised, and not held
            exchange.response.headers.add(name, value)
    exchange.end()


def answered(site, reports, how, asked, short):
    """(what three such requests on one connection are answered, what was reported, how many could go the short way)."""
    may_be_short = []

    def answer(exchange, body=b""):
        may_be_short.append(exchange.connection.quick is exchange)
        if not short:
            exchange.connection.quick = None
        how(exchange)

    site.serve(lambda exchange: exchange.collect(answer))
    client = site.client()
    client.send(asked * 3 + http.request("GET", "/", "Connection: close"))
    said = re.sub(rb"Date: [^\r]*GMT", b"Date: now", client.read_all())
    site.server.stop(drain=0)
    told = [(type(exc), str(exc)) for exc, _ in reports]
    reports.clear()
    return said, told, sum(may_be_short)


@pytest.mark.parametrize("how", [at_once, typed, mapped, by_the_response, in_pieces, head_alone])
@pytest.mark.parametrize("asked", list(REQUESTS))
def test_both_ways_say_the_same(site, reports, how, asked):
    cases = list(itertools.product((200, 404, 204, 304), FIELDS))
    step = seeds.rounds(9, 1)  # the plain run takes every ninth, for each request others
    for status, fields in cases[list(REQUESTS).index(asked) % step::step]:
        handler = functools.partial(how, status=status, fields=fields)
        short, long = [answered(site, reports, handler, REQUESTS[asked], way) for way in (True, False)]
        assert short == long, (status, fields)
        assert short[2] >= (asked != "HEAD")
