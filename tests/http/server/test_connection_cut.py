"""What is given up does not look whole: an answer that only the connection's end delimits ends by a reset where it is cut."""
import pytest

import icey
from icey.http import ChunkedAdapter
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site


def begun(exchange):
    """A close-delimited answer has begun; HTTP/1.0 has no other way to end one of unknown length."""
    http.think(exchange)
    exchange.begin_streaming()
    exchange.send(b"half of it")


@pytest.mark.parametrize("verb", ["abort", "close"])
@pytest.mark.parametrize("whose", [lambda exchange: exchange, lambda exchange: exchange.connection])
def test_an_answer_given_up_by_its_application(site, verb, whose):
    exchanges = []
    site.serve(lambda exchange: (exchanges.append(exchange), begun(exchange)))
    client = site.client()
    client.ask(version="1.0")
    client.read_until(b"half of it")
    getattr(whose(exchanges[0]), verb)()
    assert client.at_reset()
    assert site.gone()


def test_a_stream_that_is_closed_behind_the_server_s_back(site):
    told = []
    site.serve(begun).on_answer += lambda exchange, status: told.append(exchange.cut)
    client = site.client()
    client.ask(version="1.0")
    client.read_until(b"half of it")
    site.server.connections[0].stream.close()
    assert client.at_reset()
    assert site.gone() and told == [True]


def test_a_stream_that_is_closed_behind_the_server_s_back_while_some_is_queued(site):
    """What is queued goes out first; an answer that has ended until then was whole."""
    exchanges = []

    def slot(exchange):
        http.narrow(exchange)
        exchange.begin_streaming()
        exchange.send(bytes(300000))
        exchange.connection.stream.close()
        exchanges.append(exchange)

    site.serve(slot)
    client, other = site.client(receive=4096), site.client(receive=4096)
    client.ask(version="1.0")
    site.until(lambda: exchanges)
    exchanges[0].end()
    assert client.read_all().endswith(bytes(300000))
    other.ask(version="1.0")
    with pytest.raises(ConnectionResetError):
        other.read_all()


def test_a_stream_that_is_closed_between_answers(site):
    site.serve(lambda exchange: exchange.respond(200, b"all of it"))
    client = site.client()
    assert client.get().body == b"all of it"
    site.server.connections[0].stream.close()
    assert client.at_end()


def test_a_slot_that_raises_in_the_midst_of_it(site, reports):
    def slot(exchange):
        begun(exchange)
        raise ZeroDivisionError

    site.serve(slot)
    client = site.client()
    client.ask(version="1.0")
    client.read_to_reset()
    assert site.gone()
    reports.take(ZeroDivisionError)


@pytest.mark.parametrize("error", [ZeroDivisionError, icey.HttpError])
def test_a_slot_that_raises_later(site, loop, reports, error):
    exchanges = []
    site.serve(lambda exchange: (exchanges.append(exchange), begun(exchange)))
    client = site.client()
    client.ask(version="1.0")
    client.read_until(b"half of it")
    exchanges[0].connection.slot_raised(exchanges[0], error())
    assert client.at_reset()
    reports.take(error)


@pytest.mark.parametrize("stop", [lambda server: server.close(), lambda server: server.stop(0), lambda server: server.abort()])
def test_a_server_that_closes(site, stop):
    server = site.serve(begun)
    client = site.client()
    client.ask(version="1.0")
    client.read_until(b"half of it")
    stop(server)
    assert client.at_reset()


def test_a_server_whose_drain_is_over(site):
    server = site.serve(begun)
    client = site.client()
    client.ask(version="1.0")
    client.read_until(b"half of it")
    server.stop(5.0)
    site.wait(4.0)
    assert client.silent()
    site.wait(2.0)
    assert client.at_reset()


def test_a_stream_that_fails_feeding_it(site, loop):
    class Breaks(icey.PacketProcessor):
        def process(self, packet):
            if packet.data == b"break":
                raise ZeroDivisionError
            self.emit(packet)

    streams = []

    def slot(exchange):
        stream = icey.PacketStream(loop)
        stream.attach(Breaks())
        stream.attach(ChunkedAdapter(exchange))
        stream.start()
        streams.append(stream)

    site.serve(slot)
    client = site.client()
    client.ask(version="1.0")
    site.until(lambda: streams)
    streams[0].write(b"half of it")
    client.read_until(b"half of it")
    with pytest.raises(ZeroDivisionError):
        streams[0].write(b"break")
    site.turn(3)
    assert client.at_reset()


def test_the_client_s_own_end_in_the_midst_of_its_upload(site):
    def slot(exchange):
        exchange.on_payload += http.ignore
        exchange.send(b"half of it")

    site.serve(slot)
    client = site.client()
    client.send(b"POST / HTTP/1.0\r\nContent-Length: 100\r\n\r\nabc")
    client.read_until(b"half of it")
    client.half_close()
    assert client.at_reset()


def test_whole_answers_end_in_order(site):
    def slot(exchange):
        exchange.send(b"all of it")
        exchange.end()

    site.serve(slot)
    client = site.client()
    client.ask(version="1.0")
    assert client.read_all().endswith(b"\r\n\r\nall of it")


def test_an_answer_that_tells_its_own_length_is_drained_first(site):
    """Its client sees that something is missing, and gets what there is."""
    def slot(exchange):
        http.narrow(exchange)
        exchange.send(bytes(300000))
        exchange.close()

    site.serve(slot)
    client = site.client(receive=4096)
    client.ask()
    data = client.read_all()
    assert len(data) > 300000 and not data.endswith(b"0\r\n\r\n")


def test_what_lingers_when_the_drain_is_over_has_ended_in_order(site):
    """The client has its answer, and only its own end is missing: no reset, which might take the answer from it."""
    server = site.serve(lambda exchange: exchange.respond(200, b"all of it"))
    client = site.client()
    client.ask("GET", "/", "Connection: close")
    site.until(lambda: server.connections and server.connections[0].closing)
    server.stop(0)
    assert site.gone()
    assert client.answer().body == b"all of it"
    assert client.at_end()


# A burst that is cut: what was answered before goes out, as it was told

@pytest.mark.parametrize("cut", ["raise", "exchange", "connection", "server"])
@pytest.mark.parametrize("begun_before", [False, True], ids=["open", "begun"])
def test_answers_that_were_complete_before_a_burst_is_cut(site, reports, cut, begun_before):
    told = []

    def slot(exchange):
        if exchange.request.target != "/last":
            exchange.respond(200, exchange.request.target.encode())
            return
        if begun_before:
            exchange.send(b"a part")
        if cut == "raise":
            raise KeyError("a fault of the slot")
        {"exchange": exchange, "connection": exchange.connection, "server": exchange.server}[cut].abort()

    site.serve(slot).on_answer += lambda exchange, status: told.append((exchange.request.target, exchange.cut))
    client = site.client()
    client.send(http.request(target="/1") + http.request(target="/2") + http.request(target="/last"))
    if cut == "raise" and not begun_before:
        assert [client.answer().status for _ in range(3)] == [200, 200, 500]
        assert told == [("/1", False), ("/2", False), ("/last", False)]
    else:
        came = client.read_to_reset()
        assert came.count(b"HTTP/1.1 200 OK") == 2 + begun_before and b"/1" in came and b"/2" in came
        assert told == [("/1", False), ("/2", False)] + [("/last", True)] * begun_before
    reports.take(*[KeyError] * (cut == "raise"))
