"""on_end: the client sends no more while its request is being worked on."""
import pytest

import icey
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site


@pytest.fixture
def heard(site):
    """The exchanges of a server that hears of the end, and what was heard."""
    site.exchanges, site.told = [], []

    def slot(exchange):
        site.exchanges.append(exchange)
        exchange.on_end += site.told.append

    site.serve(slot)
    return site


def test_it_comes_once_and_an_answer_may_still_be_sent(heard):
    client = heard.client()
    client.ask()
    heard.turn(5)
    assert heard.told == []
    client.half_close()
    heard.turn(5)
    assert heard.told == heard.exchanges
    heard.exchanges[0].respond(200, b"still here")
    assert client.answer().body == b"still here"
    assert client.at_end()
    assert len(heard.told) == 1


def test_it_comes_with_a_request_and_its_end_in_one(heard):
    client = heard.client()
    client.ask()
    client.half_close()
    heard.turn(5)
    assert heard.told == heard.exchanges


def test_it_comes_behind_a_body(heard):
    client = heard.client()
    client.send(http.request("POST", body=b"Hello"))
    heard.until(lambda: heard.exchanges)
    heard.exchanges[0].collect(http.ignore)
    client.half_close()
    heard.turn(5)
    assert len(heard.told) == 1


def test_one_attached_later_is_told_too(site, loop):
    exchanges, told = [], []
    site.serve(lambda exchange: (http.think(exchange), exchanges.append(exchange)))
    client = site.client()
    client.ask()
    client.half_close()
    site.turn(5)
    exchanges[0].on_end += told.append
    assert told == []  # from the loop
    site.turn(2)
    assert told == exchanges


def test_a_streamed_answer_goes_on_where_somebody_hears_of_it(heard):
    client = heard.client()
    client.ask()
    heard.until(lambda: heard.exchanges)
    exchange, = heard.exchanges
    exchange.begin_streaming()
    client.half_close()
    heard.turn(5)
    assert len(heard.told) == 1
    exchange.send(b"goodbye")
    exchange.end()
    assert client.answer().body == b"goodbye"
    assert client.at_end()


def test_without_a_slot_a_streamed_answer_is_over(site):
    closed = []

    def slot(exchange):
        http.think(exchange)
        exchange.on_close += closed.append
        exchange.begin_streaming()

    site.serve(slot)
    client = site.client()
    client.ask()
    client.read_until(b"\r\n\r\n")
    client.half_close()
    assert client.at_reset()
    assert site.gone()
    site.turn(2)
    assert len(closed) == 1


def test_half_a_body_is_no_request(heard):
    """The exchange is lost: on_close, and not on_end."""
    closed = []
    client = heard.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    heard.until(lambda: heard.exchanges)
    heard.exchanges[0].on_close += closed.append
    heard.exchanges[0].collect(http.ignore)
    client.half_close()
    assert heard.gone()
    heard.turn(2)
    assert heard.told == [] and len(closed) == 1


@pytest.mark.parametrize("error, status", [(icey.HttpError(409, "gone"), 409), (ZeroDivisionError(), 500)])
def test_what_it_raises_is_answered_as_ever(site, reports, error, status):
    def slot(exchange):
        @exchange.on_end.attach
        def end(exchange):
            raise error

    site.serve(slot)
    client = site.client()
    client.ask()
    client.half_close()
    assert client.answer().status == status
    if status == 500:
        reports.take(ZeroDivisionError)


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_it_may_give_up(heard, verb):
    client = heard.client()
    client.ask()
    heard.until(lambda: heard.exchanges)
    heard.exchanges[0].on_end += lambda exchange: getattr(exchange, verb)()
    client.half_close()
    assert heard.gone()
    assert heard.exchanges[0].answered is False
