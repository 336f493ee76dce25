"""Health and Metrics: what they answer, what they leave to others, and what they count."""
import re

import pytest

import icey
from icey.http import Health, Metrics, WebSocket
from icey.http.server.operations import Histogram
from tests.support import http
from tests.support.websocket import HANDSHAKE

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site


def hello(exchange):
    exchange.respond(200, b"Hello")


# Health

@pytest.mark.parametrize("ready, status, text", [
    (None, 200, b"ready\n"), (lambda: True, 200, b"ready\n"), (lambda: "yes", 200, b"ready\n"),
    (lambda: False, 503, b"not ready\n"), (lambda: None, 503, b"not ready\n")])
def test_who_lives_says_so_and_who_is_ready(site, ready, status, text):
    site.serve(Health(ready))
    client = site.client()
    health, answer = client.get("/health"), client.get("/ready?verbose")
    assert (health.status, health.body, health["cache-control"]) == (200, b"ok\n", "no-store")
    assert (answer.status, answer.body) == (status, text)


def test_a_server_that_stops_lives_and_is_not_ready(site):
    server = site.serve(Health())
    clients = [site.client(), site.client()]
    server.stop(10.0)
    assert clients[0].get("/ready").status == 503
    assert clients[1].get("/health").status == 200


def test_what_ready_raises_is_reported_and_counts_as_no(site, reports):
    site.serve(Health(lambda: {}["missing"]))
    assert site.client().get("/ready").status == 503
    reports.take(KeyError)


@pytest.mark.parametrize("ready", [5, "yes"])
def test_ready_is_to_be_called(ready):
    with pytest.raises(TypeError):
        Health(ready)


@pytest.mark.parametrize("method, status", [("HEAD", 200), ("POST", 405), ("DELETE", 405), ("OPTIONS", 405)])
def test_other_methods(site, method, status):
    site.serve(Health())
    answer = site.client().get("/health", method=method)
    assert answer.status == status
    assert status == 200 or answer["allow"] == "GET, HEAD"


# slots in a row

@pytest.mark.parametrize("first", [True, False])
def test_they_stand_before_an_application(site, first):
    server = site.serve(None)
    if first:
        server.on_request += Health()
    server.on_request += hello
    if not first:
        server.on_request.attach(Health(), priority=1)
    client = site.client()
    assert [client.get(path).body for path in ("/health", "/", "/ready/")] == [b"ok\n", b"Hello", b"Hello"]


def test_behind_an_application_that_answers_all_they_do_nothing(site):
    server = site.serve(hello)
    server.on_request += Health()
    assert site.client().get("/health").body == b"Hello"


def test_alone_they_leave_404_and_so_again_when_the_application_goes(site):
    server = site.serve(None)
    server.on_request += Health()
    server.on_request += Metrics(server)
    client = site.client()
    assert [client.get(path).status for path in ("/health", "/metrics", "/")] == [200, 200, 404]
    server.on_request += hello
    assert client.get("/").status == 200
    server.on_request -= hello
    assert client.get("/").status == 404


@pytest.mark.parametrize("returned, called", [(True, 1), (False, 2), (None, 2), (1, 2)])
def test_a_slot_that_returns_true_has_taken_the_exchange(site, returned, called):
    seen = []
    server = site.serve(lambda exchange: (seen.append(1), returned)[1])
    server.on_request += lambda exchange: seen.append(2)
    client = site.client()
    client.ask()
    site.until(lambda: len(seen) == called)
    server.connections[0].exchange.respond(200)
    assert client.answer().status == 200


# Metrics

def samples(text):
    """{name with labels: value}, with the format of every line looked at."""
    found, kinds = {}, {}
    for line in text.splitlines():
        if line.startswith("#"):
            match = re.fullmatch(r"# (HELP|TYPE) ([a-z_]+) (.+)", line)
            assert match, line
            if match.group(1) == "TYPE":
                assert match.group(2) not in kinds
                kinds[match.group(2)] = match.group(3)
            continue
        match = re.fullmatch(r'([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\.)*",?)*\}) (-?[0-9.e+-]+)', line)
        assert match, line
        family = re.sub("_(bucket|sum|count)$", "", match.group(1))
        assert match.group(1) in kinds or kinds[family] == "histogram", line
        assert match.group(1) + match.group(2) not in found
        found[match.group(1) + match.group(2)] = float(match.group(3))
    return found


def measured(client, server, **labels):
    """Looks at /metrics; a function that gives the value of a sample of this server."""
    answer = client.get("/metrics")
    assert (answer.status, answer["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = samples(answer.body.decode())

    def value(name, label=""):
        return found['%s{server="%s"%s}' % (name, server.address, label)]

    return value


def test_requests_are_counted_by_class_and_time(site, loop):
    def slot(exchange):
        status = int(exchange.request.path[1:])
        exchange.loop.call_later(0.03, exchange.respond, status, b"x" * 100)

    server = site.serve(None)
    server.on_request += Metrics(server)
    server.on_request += slot
    client = site.client()
    for status in (200, 200, 201, 301, 404, 500):
        client.ask("GET", "/%d" % status)
        site.turn(3)
        site.wait(0.03)
        assert client.answer().status == status
    value = measured(client, server)
    assert [value("icey_http_requests_total", ',code="%dxx"' % n) for n in range(1, 6)] == [0, 3, 1, 1, 1]
    assert value("icey_http_request_duration_seconds_count") == 6
    assert value("icey_http_request_duration_seconds_bucket", ',le="0.025"') == 0
    assert value("icey_http_request_duration_seconds_bucket", ',le="0.05"') == 6
    assert value("icey_http_request_duration_seconds_bucket", ',le="+Inf"') == 6
    assert value("icey_http_request_duration_seconds_sum") == pytest.approx(0.18)
    assert value("icey_http_response_body_bytes_total") == 600
    assert value("icey_http_connections") == value("icey_http_connections_total") == 1
    assert value("icey_http_requests_in_flight") == 1  # the look itself
    assert value("icey_loop_turn_seconds_count") > 6


def test_a_status_beyond_5xx_counts_as_an_error(site):
    server = site.serve(lambda exchange: exchange.respond(799))
    metrics = Metrics(server)
    site.client().get()
    assert samples(metrics.text())['icey_http_requests_total{server="%s",code="5xx"}' % server.address] == 1


def test_bodies_both_ways_and_what_waits(site):
    def slot(exchange):
        exchange.collect(lambda exchange, body: exchange.respond(200, body[:5]))

    server = site.serve(slot)
    server.on_request.attach(Metrics(server), priority=1)
    client, slow = site.client(), site.client(receive=4096)
    client.get("/", method="POST", body=b"x" * 1000)
    client.get("/", method="POST", chunks=[b"y" * 200, b"z" * 34])
    value = measured(client, server)
    assert value("icey_http_request_body_bytes_total") == 1234
    assert value("icey_http_response_body_bytes_total") == 10
    assert value("icey_http_queued_bytes") == 0
    server.on_request.detach_all()
    server.on_request += Metrics(server)
    server.on_request += lambda exchange: (http.narrow(exchange), exchange.send(b"x" * 5000000))
    slow.ask()
    site.turn(5)
    value = measured(client, server)
    assert value("icey_http_response_body_bytes_total") == 5000000
    assert 1000000 < value("icey_http_queued_bytes") < 5000000
    assert value("icey_http_requests_in_flight") == 2


def test_a_connection_that_another_protocol_has_is_no_request_in_flight(site):
    server = site.serve(lambda exchange: WebSocket.accept(exchange))
    server.on_request.attach(Metrics(server), priority=1)
    client = site.client()
    client.send(http.request("GET", "/chat", *HANDSHAKE))
    assert client.answer().status == 101
    value = measured(site.client(), server)
    assert value("icey_http_requests_in_flight") == 1  # the look itself
    assert value("icey_http_connections") == 2


def test_what_is_cut_is_counted(site):
    server = site.serve(lambda exchange: (exchange.send(b"begun"), exchange.abort()))
    server.on_request.attach(Metrics(server), priority=1)
    client = site.client()
    client.ask()
    with pytest.raises(ConnectionResetError):
        client.read_all()
    assert measured(site.client(), server)("icey_http_cut_total") == 1


def test_on_a_server_of_its_own_it_shows_others(site, loop):
    server = site.serve(hello)
    admin = icey.http.Server(loop, "127.0.0.1", 0).start()
    admin.on_request += Metrics(server)
    site.client(server).get()
    assert measured(site.client(admin), server)("icey_http_requests_total", ',code="2xx"') == 1
    server.close()
    site.until(lambda: server.closed)
    assert list(admin.on_request)[0].text() == ""
    admin.close()
    site.until(lambda: admin.closed)


def test_without_servers_it_is_of_the_one_that_it_is_attached_to(site):
    server = site.serve(None)
    server.on_request += Metrics()
    client = site.client()
    client.get("/metrics")
    assert measured(client, server)("icey_http_requests_total", ',code="2xx"') == 1


def test_queues_of_packet_streams(site):
    server = site.serve(None)
    metrics = Metrics(server)
    server.on_request += metrics
    stream = icey.PacketStream("camera")
    queue = icey.SyncPacketQueue(site.loop, maxsize=2)
    stream.attach(queue)
    metrics.watch('a "camera"\\\n', stream)
    stream.start()
    for n in range(5):
        stream.write(b"packet %d" % n)
    found = samples(metrics.text())
    assert found['icey_packets_dropped_total{stream="a \\"camera\\"\\\\\\n"}'] == 3
    assert found['icey_packets_queued{stream="a \\"camera\\"\\\\\\n"}'] == 2
    stream.close()
    site.turn(3)


def test_nothing_that_a_client_sends_becomes_a_label(site):
    server = site.serve(hello)
    metrics = Metrics(server)
    client = site.client()
    before = set(samples(metrics.text()))
    for n in range(20):
        client.get("/path%d" % n, "User-Agent: agent%d" % n, method="PROPFIND")
    assert set(samples(metrics.text())) == before


@pytest.mark.parametrize("value, index", [(0.0, 0), (1.0, 0), (1.5, 1), (2.0, 1), (99.0, 2)])
def test_a_value_is_in_the_first_bucket_that_holds_it(value, index):
    histogram = Histogram((1.0, 2.0))
    histogram.add(value)
    assert histogram.counts.index(1) == index and histogram.total == value
