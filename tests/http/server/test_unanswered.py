"""Debug mode reports an exchange that was left unanswered, once nothing holds it that could answer it."""
import sys

import pytest

import icey
from icey.base.loop import Loop
from icey.tools.testing import VirtualSelector
from tests.support import http, streams

clock, reports, loop, site = http.clock, http.reports, http.loop, http.site

pytestmark = pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="it counts no references")


@pytest.fixture
def debug():
    return True


def asked(site, slot, *args, **kwargs):
    site.serve(slot)
    client = site.client()
    client.ask(*args, **kwargs)
    site.turn(5)
    return client


def reported(reports):
    told, = reports.take(icey.StateError)
    return str(told)


def returns_it(exchange):
    return b"Hello"


def test_a_handler_that_returns_its_answer(site, reports):
    asked(site, returns_it)
    text = reported(reports)
    assert "GET / was left unanswered" in text and "returns_it (%s:" % __file__ in text


@pytest.mark.parametrize("how", ["list", "timer", "closure"])
def test_who_has_kept_its_connection_may_answer_by_that(site, loop, reports, how):
    kept = []

    def slot(exchange):
        connection = exchange.connection
        if how == "list":
            kept.append(connection)
        else:
            loop.call_later(3.0, *((answer, connection) if how == "timer" else (lambda: answer(connection),)))

    def answer(connection):
        connection.exchange.respond(200, b"late")

    client = asked(site, slot)
    site.wait(3.0)  # the sweeps look again
    if how == "list":
        answer(kept[0])
    assert client.answer().body == b"late" and reports == []
    if how == "list":  # it is known by now: a forgotten request is told as ever
        site.server.on_request.detach_all()
        site.server.on_request += returns_it
        client.ask()
        site.turn(5)
        assert "returns_it" in reported(reports)


@pytest.mark.parametrize("traced", [False, True])
def test_a_debugger_that_traces_lines_changes_nothing(site, reports, traced):
    """Up to CPython 3.10 the locals of a frame that is traced are held twice."""
    def trace(frame, event, arg):
        return trace

    kept, before = [], sys.gettrace()
    site.serve(lambda exchange: kept.append(exchange) if exchange.request.path == "/kept" else None)
    clients = [site.client(), site.client()]
    sys.settrace(trace if traced else before)
    try:
        clients[0].ask("GET", "/kept")
        site.turn(5)
        assert reports == []
        clients[1].ask("GET", "/lost")
        site.turn(5)
    finally:
        sys.settrace(before)
    assert "GET /lost" in reported(reports)


def test_a_forgotten_branch_is_told_each_time_and_once(site, reports):
    def slot(exchange):
        if exchange.request.target == "/known":
            exchange.respond(200)

    client = asked(site, slot)
    reported(reports)
    site.wait(10.0)
    assert not reports
    client.close()
    other = site.client()
    assert other.get("/known").status == 200
    other.ask("GET", "/unknown")
    site.turn(5)
    assert "GET /unknown" in reported(reports)


def test_an_answer_that_is_never_ended(site, reports):
    asked(site, lambda exchange: exchange.send(b"x"))
    reported(reports)


def test_an_upload_that_nobody_wants(site, reports):
    asked(site, returns_it, "POST", body=b"Hello")
    reported(reports)


def test_a_body_that_was_collected_for_nothing(site, reports):
    asked(site, lambda exchange: exchange.collect(lambda exchange, body: None), "POST", body=b"Hello")
    reported(reports)


def test_a_timer_that_forgets(site, loop, reports):
    asked(site, lambda exchange: loop.call_later(5.0, lambda exchange: None, exchange))
    assert not reports
    site.wait(7.0)
    reported(reports)


@pytest.mark.parametrize("hold", [
    lambda exchange, kept: kept.append(exchange),
    lambda exchange, kept: kept.append(exchange.respond),
    lambda exchange, kept: exchange.loop.call_later(1000.0, exchange.respond, 200),
    lambda exchange, kept: exchange.collect(lambda *args: kept.append(args)),
    lambda exchange, kept: exchange.on_end.attach(kept.append),
    lambda exchange, kept: exchange.on_complete.attach(lambda _: kept.append(_)),
    lambda exchange, kept: kept.append(icey.http.SseAdapter(exchange)),
    lambda exchange, kept: exchange.respond(200),
    lambda exchange, kept: exchange.close(),
], ids=["kept", "method", "timer", "collect", "on_end", "on_complete", "feed", "answered", "closed"])
def test_what_may_still_be_answered_is_not_told(site, hold):
    kept = []
    client = asked(site, lambda exchange: hold(exchange, kept), "POST", body=b"")
    site.wait(5.0)
    client.close()


def test_release_mode_says_nothing(clock):
    said = []
    loop = Loop(False, clock=clock, selector=VirtualSelector(clock))
    loop.on_error += lambda *args: said.append(args)
    site = http.Site(loop, clock)
    asked(site, returns_it)
    site.wait(5.0)
    assert said == []
    site.close()
    streams.finish(loop)
