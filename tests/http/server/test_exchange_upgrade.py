"""replace_adapter(): another protocol takes the connection over."""
import pytest

import icey
from icey.http import ServerState
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

HANDSHAKE = http.request("GET", "/", "Connection: upgrade", "Upgrade: shout")


class Shout(icey.Adapter):
    """Answers in upper case; notes what happens to it."""

    def __init__(self):
        self.events = []

    def on_attach(self):
        self.events.append("attach")

    def on_data(self, view):
        self.events.append(bytes(view))
        self.send_owned(bytes(view).upper())

    def on_end(self):
        self.events.append("end")
        super().on_end()

    def on_close(self):
        self.events.append("close")


def switch(exchange, adapter):
    exchange.response.status = 101
    exchange.response.headers["Connection"] = "Upgrade"
    exchange.response.headers["Upgrade"] = "shout"
    exchange.send_header()
    exchange.replace_adapter(adapter)


@pytest.fixture
def shout(site):
    """A site whose server upgrades; `shout.adapter` once it has."""
    site.closed = []

    def slot(exchange):
        site.adapter = Shout()
        site.exchange = exchange
        exchange.on_close += site.closed.append
        switch(exchange, site.adapter)

    site.serve(slot)
    return site


def test_101_goes_out_and_the_adapter_gets_what_comes(shout):
    client = shout.client()
    client.send(HANDSHAKE)
    answer = client.answer()
    assert (answer.status, answer.reason) == (101, "Switching Protocols")
    assert (answer["connection"], answer["upgrade"]) == ("Upgrade", "shout")
    client.send(b"hello")
    assert client.read(5) == b"HELLO"
    client.send(http.request())  # not a request any more
    assert client.read(5) == b"GET /"


def test_what_is_sent_at_once_goes_behind_the_head(site):
    class Greets(Shout):
        def on_attach(self):
            self.send(b"hello, ")

    def slot(exchange):
        adapter = Greets()
        switch(exchange, adapter)
        adapter.send(b"you")

    site.serve(slot)
    client = site.client()
    client.send(HANDSHAKE)
    assert client.answer().status == 101
    assert client.read(10) == b"hello, you"


def test_bytes_behind_the_handshake_reach_the_new_adapter_after_the_replacing_slot_returns(site):
    adapter = Shout()

    def slot(exchange):
        switch(exchange, adapter)
        assert adapter.events == ["attach"]
        adapter.events.append("returns")

    site.serve(slot)
    client = site.client()
    client.send(HANDSHAKE + b"hello")
    client.answer()
    assert client.read(5) == b"HELLO"
    assert adapter.events == ["attach", "returns", b"hello"]


def test_a_late_upgrade_gets_them_too_and_in_order(site, loop):
    adapter = Shout()
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.send(HANDSHAKE + b"one ")
    site.until(lambda: exchanges)
    client.send(b"two ")
    site.turn(3)

    def later():
        switch(exchanges[0], adapter)
        assert adapter.events == ["attach"]
        client.sock.send(b"three")

    loop.call_later(1.0, later)
    site.wait(1.0)
    client.answer()
    assert client.read(13) == b"ONE TWO THREE"


def test_the_state_is_upgraded_and_the_exchange_stays_until_the_end(shout):
    client = shout.client()
    client.send(HANDSHAKE)
    client.answer()
    connection, = shout.server.connections
    exchange = shout.exchange
    assert connection.state is exchange.state is ServerState.UPGRADED
    assert connection.upgraded and exchange.upgraded
    assert connection.exchange is exchange
    assert not connection.closing
    assert shout.closed == []
    assert shout.adapter.stream is connection.stream
    client.half_close()
    assert client.at_end()
    assert shout.gone()
    shout.turn(2)
    assert shout.adapter.events == ["attach", "end", "close"]
    assert shout.closed == [exchange]
    assert exchange.state is connection.state is ServerState.CLOSED
    assert not exchange.upgraded


def test_an_upgraded_connection_answers_no_more(shout):
    client = shout.client()
    client.send(HANDSHAKE)
    client.answer()
    for call in (lambda exchange: exchange.respond(200), lambda exchange: exchange.send(b"x"),
                 lambda exchange: exchange.end(), lambda exchange: exchange.replace_adapter(Shout()),
                 lambda exchange: exchange.begin_streaming(), lambda exchange: exchange.collect(http.ignore)):
        with pytest.raises(icey.StateError):
            call(shout.exchange)
    client.send(b"still there")
    assert client.read(11) == b"STILL THERE"


def test_respond_in_the_slot_after_the_upgrade_is_a_state_error(site, reports):
    def slot(exchange):
        switch(exchange, Shout())
        exchange.respond(200, b"x")

    site.serve(slot)
    client = site.client()
    client.send(HANDSHAKE)
    assert client.answer().status == 101
    reports.take(icey.StateError)


def test_an_upgrade_without_an_answer_hands_over_the_bare_connection(site):
    site.serve(lambda exchange: exchange.replace_adapter(Shout()))
    client = site.client()
    client.send(HANDSHAKE + b"hello")
    assert client.read(5) == b"HELLO"


def test_connect_hands_the_connection_over(site):
    def slot(exchange):
        assert exchange.request.method == "CONNECT" and exchange.request.host == "other:443"
        exchange.send_header()
        exchange.replace_adapter(Shout())

    site.serve(slot)
    client = site.client()
    client.send(b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\nhello")
    assert client.read_until(b"HELLO").endswith(b"HELLO")


def test_replace_adapter_while_the_body_is_unread_is_a_state_error(site):
    def slot(exchange):
        with pytest.raises(icey.StateError, match="body is unread"):
            exchange.replace_adapter(Shout())
        exchange.collect(lambda exchange, body: switch(exchange, Shout()))

    site.serve(slot)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nHello" + b"tail")
    assert client.answer().status == 101
    assert client.read(4) == b"TAIL"


def test_replace_adapter_of_a_streaming_answer_is_a_state_error(site):
    def slot(exchange):
        exchange.begin_streaming()
        with pytest.raises(icey.StateError, match="STREAMING to UPGRADED"):
            exchange.replace_adapter(Shout())
        exchange.end()

    site.serve(slot)
    client = site.client()
    assert client.get().status == 200
    assert client.get().status == 200


def test_pipelined_answers_precede_the_handshake(site):
    def slot(exchange):
        if exchange.request.headers.get("upgrade"):
            switch(exchange, Shout())
        else:
            exchange.respond(200, b"x")

    site.serve(slot)
    client = site.client()
    client.send(http.request() + http.request() + HANDSHAKE + b"hello")
    assert [client.answer().status for _ in range(3)] == [200, 200, 101]
    assert client.read(5) == b"HELLO"


def test_an_unknown_upgrade_is_ignored(site):
    site.serve(lambda exchange: exchange.respond(200, b"plain"))
    client = site.client()
    for upgrade in ("h2c", "websocket", "x"):
        assert client.get("/", "Connection: upgrade, x", "Upgrade: " + upgrade).body == b"plain"


def test_a_half_close_before_a_late_upgrade_is_told_to_the_adapter(site):
    adapter, exchanges = Shout(), []
    site.serve(exchanges.append)
    client = site.client()
    client.send(HANDSHAKE)
    site.until(lambda: exchanges)
    client.half_close()
    site.turn(3)
    switch(exchanges[0], adapter)
    assert client.answer().status == 101
    assert client.at_end()
    assert site.gone()
    assert adapter.events == ["attach", "end", "close"]


def test_an_adapter_may_hand_the_stream_on(shout):
    class Whisper(Shout):
        def on_data(self, view):
            self.events.append(bytes(view))
            self.send_owned(bytes(view).lower())

    client = shout.client()
    client.send(HANDSHAKE)
    client.answer()
    second = Whisper().use(shout.adapter.stream)
    client.send(b"Hello")
    assert client.read(5) == b"hello"
    client.close()
    assert shout.gone()
    shout.turn(2)
    assert second.events == ["attach", b"Hello", "end", "close"]
    assert shout.closed == [shout.exchange]


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_closing_the_connection_tells_the_adapter(shout, verb):
    client = shout.client()
    client.send(HANDSHAKE)
    client.answer()
    getattr(shout.server.connections[0], verb)()
    assert client.at_end() if verb == "close" else client.at_reset()
    assert shout.gone()
    shout.turn(2)
    assert shout.adapter.events == ["attach", "close"]
    assert len(shout.closed) == 1


def test_an_exception_in_the_adapter_closes_and_is_reported(site, reports):
    class Bad(Shout):
        def on_data(self, view):
            raise ZeroDivisionError

    site.serve(lambda exchange: switch(exchange, Bad()))
    client = site.client()
    client.send(HANDSHAKE + b"x")
    client.answer()
    assert client.at_reset()
    assert site.gone()
    reports.take(ZeroDivisionError)


def test_an_upgraded_stream_has_its_queue_cap(site):
    adapter = Shout()
    site.serve(lambda exchange: switch(exchange, adapter), limits={"max_queue": 70000})
    client = site.client()
    client.send(HANDSHAKE)
    client.answer()
    with pytest.raises(icey.QueueFull):
        for _ in range(1000):
            adapter.send(bytes(65536))
    client.close()


def test_an_upgrade_while_the_server_stops_keeps_its_connection_header(site):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.send(HANDSHAKE)
    site.until(lambda: exchanges)
    site.server.stop(5.0)
    switch(exchanges[0], Shout())
    assert client.answer()["connection"] == "Upgrade"
    client.send(b"x")
    assert client.read(1) == b"X"
    site.wait(5.0)
    assert client.at_reset()


def test_a_2xx_to_connect_opens_a_tunnel_and_has_neither_length_nor_coding(site):
    class Echo(icey.Adapter):
        def on_data(self, view):
            self.send_owned(bytes(view))

    def slot(exchange):
        with pytest.raises(icey.StateError, match="opens a tunnel"):
            exchange.respond(200, b"no")
        exchange.response.headers["Content-Length"] = "0"
        exchange.send_header()
        exchange.replace_adapter(Echo())

    site.serve(slot)
    client = site.client()
    client.send(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    head = client.read_until(b"\r\n\r\n").lower()
    assert head.startswith(b"http/1.1 200") and b"content-length" not in head and b"transfer-encoding" not in head
    assert client.read_until(b"\r\n\r\n") == b"GET / HTTP/1.1\r\n\r\n"
    client.close()


def test_connect_refused_is_an_ordinary_answer(site):
    site.serve(lambda exchange: exchange.respond(405, b"no tunnels"))
    client = site.client()
    client.send(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n")
    assert client.answer().body == b"no tunnels"
    client.close()
