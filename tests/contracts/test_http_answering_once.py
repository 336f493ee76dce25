"""An exchange is answered once, and a late answer can never land on the next request."""
import pytest

import icey
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

CALLS = {
    "respond": lambda exchange: exchange.respond(200, b"second"),
    "respond with headers": lambda exchange: exchange.respond(200, b"second", headers={"A": "b"}),
    "send_header": lambda exchange: exchange.send_header(),
    "send": lambda exchange: exchange.send(b"second"),
    "send_owned": lambda exchange: exchange.send_owned(b"second"),
    "end": lambda exchange: exchange.end(),
    "begin_streaming": lambda exchange: exchange.begin_streaming(),
    "collect": lambda exchange: exchange.collect(http.ignore),
    "replace_adapter": lambda exchange: exchange.replace_adapter(icey.Adapter()),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def quick(exchange):
    exchange.respond(200, b"first")


def slow(exchange):
    exchange.respond(200, b"first", headers={"A": "b"})


def pieces(exchange):
    exchange.send(b"first")
    exchange.end()


each_answer = pytest.mark.parametrize("answer", [quick, slow, pieces])


@each_call
@each_answer
def test_a_second_answer_is_a_state_error(site, answer, call):
    def slot(exchange):
        answer(exchange)
        with pytest.raises(icey.StateError) as info:
            call(exchange)
        text = str(info.value)
        assert "after the answer is complete" in text
        assert "Contract: an exchange is answered once." in text
        assert "Instead: answer an exchange once" in text

    site.serve(slot)
    client = site.client()
    for _ in range(2):
        assert client.get().body == b"first"
    assert client.silent()


@each_call
@each_answer
def test_a_second_answer_while_the_next_request_waits_for_its_own(site, answer, call):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.send(http.request() * 2)
    site.until(lambda: exchanges)
    answer(exchanges[0])
    site.until(lambda: len(exchanges) == 2)
    with pytest.raises(icey.StateError, match="after the answer is complete"):
        call(exchanges[0])
    answer(exchanges[1])
    assert [client.answer().body for _ in range(2)] == [b"first"] * 2
    assert client.silent()


@pytest.mark.parametrize("call", [CALLS["respond"], CALLS["respond with headers"], CALLS["send_header"]],
                         ids=["respond", "respond with headers", "send_header"])
def test_respond_after_the_answer_has_begun_is_a_state_error(site, call):
    def slot(exchange):
        exchange.send(b"be")
        with pytest.raises(icey.StateError, match="after the answer has begun"):
            call(exchange)
        exchange.send(b"gun")
        exchange.end()

    site.serve(slot)
    client = site.client()
    for _ in range(2):
        assert client.get().body == b"begun"


@each_call
def test_an_answer_after_the_connection_closed_is_a_state_error(site, call):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.ask()
    site.until(lambda: exchanges)
    client.reset()
    assert site.gone()
    with pytest.raises(icey.StateError, match="after the connection closed"):
        call(exchanges[0])


@each_answer
def test_after_the_answer_the_quiet_calls_are_no_ops(site, answer):
    kept = []

    def slot(exchange):
        answer(exchange)
        kept.append(exchange)

    site.serve(slot)
    client = site.client()
    client.get()
    for call in (kept[0].pause, kept[0].resume, kept[0].close, kept[0].abort):
        call()
    kept[0].on_payload += http.ignore
    assert client.get().body == b"first"


def test_a_timer_that_answers_too_late_is_told_so_and_harms_nobody(site, loop, reports):
    def slot(exchange):
        loop.call_later(5.0, exchange.respond, 200, b"late")
        if exchange.request.target == "/0":
            exchange.respond(200, b"timely")

    site.serve(slot)
    client = site.client()
    client.send(http.request("GET", "/0") + http.request("GET", "/1"))
    assert client.answer().body == b"timely"
    site.wait(4.9)
    assert client.silent()
    site.wait(0.2)
    assert client.answer().body == b"late"  # of /1, by its own timer
    assert client.silent()
    assert reports[0][1] is not None
    reports.take(icey.StateError)
