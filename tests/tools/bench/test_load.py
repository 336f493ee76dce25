"""The load generator against icey's own server, on one loop and a virtual clock: what is counted, and from when."""
import pytest

import icey
from icey.tools.bench.load import Load
from tests.support import http, streams

debug, clock, reports, loop, site = streams.debug, streams.clock, streams.reports, streams.loop, http.site

THINKING = 0.01  # seconds that the server takes for an answer


class Thinking:
    """A handler that answers each request `seconds` later. `seen`: the bodies, with the moment they came."""

    def __init__(self, seconds=THINKING, status=200, body=b"Hello", headers=None):
        self.seconds = seconds
        self.answer = (status, body, "text/plain", headers)
        self.seen = []
        self.stalled = (0.0, 0.0)  # from, until: what comes in between is answered at its end

    def __call__(self, exchange):
        now = exchange.loop.now
        self.seen.append(now)
        begin, end = self.stalled
        exchange.loop.call_later(end - now if begin <= now < end else self.seconds, self.respond, exchange)

    def respond(self, exchange):
        if not exchange.connection.closed:
            exchange.respond(*self.answer)


class Bench:
    """Loads on a site."""

    def __init__(self, site):
        self.site = site

    def load(self, url=None, **options):
        address = self.site.server.address if url is None else None
        return Load(self.site.loop, url or "http://%s/" % address, clock=self.site.clock, done=self.site.loop.stop,
                    **options)

    def run(self, url=None, **options):
        """What was measured."""
        load = self.load(url, **options)
        load.start()
        self.site.loop.run()
        return load.measured


@pytest.fixture
def bench(site):
    return Bench(site)


def close_to(value):
    return pytest.approx(value, rel=0.02)


# the closed loop

@pytest.mark.parametrize("connections", [1, 4])
def test_each_connection_asks_again_when_it_has_its_answer(site, bench, connections):
    site.serve(Thinking())
    measured = bench.run(connections=connections, duration=1.0)
    assert measured.seconds == pytest.approx(1.0)
    assert measured.answers == measured.latencies.count == measured.statuses[200]
    assert connections * 95 <= measured.answers <= connections * 100
    assert measured.latencies.least == close_to(THINKING) and measured.latencies.percentile(99) == close_to(THINKING)
    assert measured.size == 5 * measured.answers
    assert measured.connections == connections == site.server.connections_made
    assert (measured.errors, measured.first, measured.late) == ({}, {}, 0)


def test_the_warm_up_is_not_counted(site, bench):
    handler = Thinking()
    site.serve(handler)
    measured = bench.run(connections=2, duration=1.0, warmup=0.5)
    assert 190 <= measured.answers <= 200 and 285 <= len(handler.seen) <= 302
    assert measured.seconds == pytest.approx(1.0)


def test_what_began_in_the_warm_up_is_not_counted_either(site, bench):
    site.serve(Thinking(0.3))
    measured = bench.run(connections=3, duration=0.6, warmup=0.5)  # begun at 0, 0.3; 0.6; 0.9, which is under way at 1.1
    assert measured.answers == 3 and measured.waiting == 3
    assert measured.latencies.most == close_to(0.3)


@pytest.mark.parametrize("requests, connections, warmup", [(1, 1, 0.0), (1, 4, 0.0), (10, 4, 0.0), (50, 3, 0.1)])
def test_a_number_of_requests(site, bench, requests, connections, warmup):
    handler = Thinking()
    site.serve(handler)
    measured = bench.run(connections=connections, requests=requests, warmup=warmup)
    assert measured.answers == requests and measured.waiting == 0
    if not warmup:
        assert len(handler.seen) == requests
    assert measured.seconds == pytest.approx(THINKING * -(-requests // connections), rel=0.3)


def test_a_request_with_a_body_and_headers(site, bench):
    got = []

    def answer(exchange, body):
        got.append((exchange.request.method, exchange.request.headers["x-id"], bytes(body)))
        exchange.respond(201, b"")

    site.serve(lambda exchange: exchange.collect(answer))
    measured = bench.run(connections=2, requests=4, method="POST", body=b"data", headers=[("X-Id", "7")])
    assert got == [("POST", "7", b"data")] * 4 and measured.statuses == {201: 4}


def test_what_a_stall_does_to_a_closed_and_to_an_open_loop(site, bench):
    """A server that stands still for half of the time: the closed loop sees it once a connection, the open one as users do."""
    handler = Thinking()
    site.serve(handler)
    now = site.clock()
    handler.stalled = (now + 0.5, now + 1.0)
    closed = bench.run(connections=1, duration=1.0)
    now = site.clock()
    handler.stalled = (now + 0.5, now + 1.0)
    opened = bench.run(connections=1, duration=2.0, rate=50)
    assert closed.latencies.percentile(90) == close_to(THINKING)
    assert opened.latencies.percentile(75) > 10 * THINKING and opened.latencies.percentile(90) > 20 * THINKING


# the open loop

@pytest.mark.parametrize("rate, connections", [(10, 1), (50, 2), (90, 1), (300, 8)])
def test_requests_come_at_their_rate(site, bench, rate, connections):
    handler = Thinking()
    site.serve(handler)
    measured = bench.run(connections=connections, duration=2.0, rate=rate)
    assert measured.answers + measured.waiting == pytest.approx(2 * rate, abs=2)
    assert measured.late <= 1
    gaps = [after - before for before, after in zip(handler.seen, handler.seen[1:])]
    assert min(gaps) > 0.9 / rate and max(gaps) < 1.1 / rate
    assert measured.latencies.most == close_to(THINKING)


def test_waiting_for_a_connection_is_part_of_the_latency(site, bench):
    site.serve(Thinking())
    measured = bench.run(connections=1, duration=1.0, rate=200)  # of which it can have 100
    assert 95 <= measured.answers <= 100
    assert measured.late == pytest.approx(100, abs=3)
    assert measured.latencies.most == pytest.approx(0.5, rel=0.05)
    assert measured.latencies.percentile(50) == pytest.approx(0.25, rel=0.1)


def test_an_open_loop_that_is_late_begins_anew_behind_the_warm_up(site, bench):
    site.serve(Thinking())
    measured = bench.run(connections=1, duration=0.5, warmup=1.0, rate=1000)
    assert 45 <= measured.answers <= 50 and measured.latencies.most < 0.55


@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_an_open_loop_of_so_many_requests(site, bench, warmup):
    site.serve(Thinking())
    measured = bench.run(connections=2, requests=30, rate=100, warmup=warmup)
    assert measured.answers == 30 and measured.late == 0
    assert measured.seconds == pytest.approx(0.3, abs=0.02)


# what goes wrong

@pytest.mark.parametrize("status", [204, 301, 404, 503])
def test_every_answer_counts_with_its_status(site, bench, status):
    site.serve(Thinking(status=status, body=b""))
    measured = bench.run(connections=1, requests=5)
    assert measured.statuses == {status: 5} and measured.answers == 5 and not measured.errors


def test_a_connection_that_the_server_closes_is_made_anew(site, bench):
    site.serve(Thinking(headers=[("Connection", "close")]))
    measured = bench.run(connections=2, requests=10)
    assert measured.answers == 10 and measured.connections == 10 and not measured.errors


def test_nobody_listens(site, bench):
    site.serve(Thinking())
    address = site.server.address
    site.server.abort()
    site.turn(2)
    measured = bench.run("http://%s/" % address, connections=3, duration=5.0)
    assert measured.answers == 0 and measured.errors == {"connect": 3} and measured.seconds == 0
    assert "refused" in measured.first["connect"]


def test_a_server_that_goes_away_is_asked_again_and_again(site, bench):
    server = site.serve(Thinking())
    site.loop.call_later(0.505, server.abort)
    measured = bench.run(connections=2, duration=1.0)
    assert 90 <= measured.answers <= 102
    assert measured.errors["broken"] == 2 and 6 <= measured.errors["connect"] <= 10


def test_a_connection_that_breaks(site, bench):
    count = []

    def handler(exchange):
        count.append(exchange)
        if len(count) % 4:
            exchange.respond(200, b"Hello")
        else:
            exchange.connection.abort()

    site.serve(handler)
    measured = bench.run(connections=1, requests=20)
    assert (measured.answers, measured.errors) == (15, {"broken": 5})
    assert measured.first["broken"]
    assert measured.connections == 5


def test_no_answer_in_time(site, bench):
    count = []

    def handler(exchange):
        count.append(exchange)
        if len(count) % 2:
            exchange.respond(200, b"Hello")

    site.serve(handler)
    measured = bench.run(connections=1, requests=6, timeout=0.5)
    assert (measured.answers, measured.errors) == (3, {"timeout": 3})
    assert measured.seconds == pytest.approx(1.5, rel=0.05)
    assert "0.5 s" in measured.first["timeout"]


def test_without_any_answer_it_gives_up(site, bench):
    handler = Thinking(100.0)
    site.serve(handler)
    measured = bench.run(connections=4, duration=50.0, timeout=2.0)
    assert measured.answers == 0 and measured.errors == {"timeout": 4} and measured.seconds == pytest.approx(2.0)


@pytest.mark.parametrize("options", [{"method": "a b"}, {"headers": [("a b", "c")]}, {"headers": [("a", "c\r\nd: e")]}],
                         ids=["method", "name", "value"])
def test_what_cannot_be_sent_is_refused(site, bench, options):
    site.serve(Thinking())
    with pytest.raises(ValueError):
        bench.load(connections=1, **options).start()


# the end

def test_stopped_early(site, bench):
    site.serve(Thinking())
    load = bench.load(connections=3, duration=60.0)
    site.loop.call_later(0.105, load.stop)
    load.start()
    site.loop.run()
    measured = load.measured
    assert 27 <= measured.answers <= 30 and measured.seconds == pytest.approx(0.105)
    assert measured.waiting == 3 and 0 < measured.oldest <= 0.011
    load.stop()
    site.wait(0.1)
    assert site.gone() and measured.seconds == pytest.approx(0.105)


def test_stopped_in_the_warm_up(site, bench):
    site.serve(Thinking())
    load = bench.load(connections=1, duration=60.0, warmup=10.0)
    site.loop.call_later(0.105, load.stop)
    load.start()
    site.loop.run()
    assert (load.measured.answers, load.measured.seconds, load.measured.waiting) == (0, 0.0, 0)


def test_the_oldest_that_waits_is_told(site, bench):
    handler = Thinking()
    site.serve(handler)
    handler.stalled = (site.clock() + 0.2, site.clock() + 100.0)
    measured = bench.run(connections=2, duration=1.0)
    assert measured.waiting == 2 and measured.oldest == pytest.approx(0.8, abs=0.02)
    assert measured.latencies.most == close_to(THINKING)


@pytest.mark.parametrize("work, share", [(0.0, 0.0), (0.01, 0.5), (0.09, 0.9)])
def test_the_time_outside_of_select_is_measured(site, bench, work, share):
    answered = Thinking().respond

    def handler(exchange):
        exchange.loop.call_later(THINKING + work, answered, exchange)  # a timer counts from the turn's begin
        site.clock.advance(work)

    site.serve(handler)
    for warmup in (0.0, 0.5):
        measured = bench.run(connections=1, duration=1.0, warmup=warmup)
        assert measured.busy / measured.seconds == pytest.approx(share, abs=0.05)
    site.loop.run_once(0)
    assert measured.busy / measured.seconds == pytest.approx(share, abs=0.05)  # nothing is counted any more


def test_of_the_turns_in_which_measuring_begins_and_ends_a_part_counts(site, bench):
    site.serve(Thinking(5.0))
    load = bench.load(connections=1, duration=1.0)

    def begin():
        site.clock.advance(0.02)
        load.start()
        site.clock.advance(0.03)

    def end():
        site.clock.advance(0.04)
        load.stop()
        site.clock.advance(0.05)

    site.loop.call_soon(begin)
    site.loop.call_later(0.5, end)
    site.loop.run()
    assert load.measured.busy == pytest.approx(0.07)


def test_nothing_is_left_behind(site, bench):
    site.serve(Thinking(headers=[("Connection", "close")]))
    before = len(site.loop.handles)
    bench.run(connections=3, requests=10, rate=500)
    site.until(lambda: len(site.loop.handles) <= before)
    assert site.gone()


@pytest.mark.needs("ssl")
def test_over_tls(site, bench, tmp_path):
    from icey.net import tls
    from tests.support import certificates

    certs = certificates.folder(tmp_path)
    site.serve(Thinking(), tls=tls.server_context(*certs.cert("localhost")))
    url = "https://127.0.0.1:%d/" % site.server.address.port
    refused = bench.run(url, connections=1, duration=1.0)
    assert refused.errors == {"connect": 1} and "certificate" in refused.first["connect"]
    measured = bench.run(url, connections=2, requests=10, tls=tls.client_context(ca=certs.ca))
    assert measured.answers == 10


def test_a_url_that_is_none(loop):
    with pytest.raises(ValueError):
        Load(loop, "nothing")
    assert icey.http.URL.of("http://a/") == Load(loop, "http://a/").url
