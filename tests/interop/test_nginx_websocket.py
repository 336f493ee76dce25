"""WebSocket and Server-Sent Events through nginx: it passes upgrades on, cuts what is silent, and holds no event back."""
import pytest

import icey
from tests.support import library

CONFIG = """
    map $http_upgrade $passed_on {
        default upgrade;
        "" "";
    }
    server {
        listen 127.0.0.1:%(port)d;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $passed_on;
        proxy_set_header Host $http_host;
        location / {
            proxy_pass http://127.0.0.1:%(upstream)d;
        }
        location /impatient {
            proxy_read_timeout 1s;
            proxy_pass http://127.0.0.1:%(upstream)d;
        }
        location /unbuffered {
            proxy_buffering off;
            proxy_pass http://127.0.0.1:%(upstream)d;
        }
        location /plain {
            proxy_set_header Upgrade "";
            proxy_set_header Connection "";
            proxy_pass http://127.0.0.1:%(upstream)d;
        }
    }
"""
LARGE = bytes(range(256)) * 4096
CLOSES = [(1000, "done"), (1001, ""), (1011, ""), (3000, "grüß"), (4999, "x" * 123)]


@pytest.fixture
def through(nginx):
    """through(a Talk or another server) -> the ws:// URL of an nginx before it."""
    return lambda server: "ws://127.0.0.1:%d/" % nginx(CONFIG, upstream=server.port).port


class Client:
    """A client of ours: what it heard, and how it ended."""

    def __init__(self, loop, url, **options):
        self.heard, self.errors, self.ends, self.opened = [], [], [], []
        self.ws = icey.http.WebSocket.connect(loop, url, **options)
        self.ws.on_connect += self.opened.append
        self.ws.on_message += lambda ws, data: self.heard.append(data if isinstance(data, str) else bytes(data))
        self.ws.on_error += lambda ws, exc: self.errors.append(exc)
        self.ws.on_close += lambda ws, code, reason: self.ends.append((code, reason))


@pytest.fixture
def ours(loop, until):
    """ours(url, **options) -> a Client that connected, or failed."""
    def ours(url, **options):
        client = Client(loop, url, **options)
        until(lambda: client.opened or client.ends)
        return client

    return ours


@pytest.mark.parametrize("compression", [True, False])
def test_messages_of_our_client(talk, through, ours, until, compression):
    client = ours(through(talk(subprotocols=["chat"])), compression=compression, subprotocols=["chat"])
    messages = ["hello", b"", LARGE, "é" * (1 << 19)]
    for message in messages:
        client.ws.send(message)
    until(lambda: len(client.heard) == len(messages))
    assert client.heard == messages and client.ws.subprotocol == "chat"


def test_messages_of_another_client(talk, through, aside):
    connect = library("websockets.sync.client").connect

    def converse():
        with connect(url, proxy=None, max_size=None, ping_interval=None) as peer:
            for message in ("hello", b"", LARGE, "é" * (1 << 19)):
                peer.send(message)
                assert peer.recv(timeout=20) == message
            assert peer.ping().wait(20)

    server = talk()
    url = through(server)
    aside(converse)
    assert server.ended() == [(1000, "")] and server.errors == []


def test_ends_of_either_side(talk, through, ours, until):
    server = talk(lambda ws: ws.on_message.attach(lambda ws, data: ws.close(*CLOSES[int(data)])))
    url = through(server)
    for number, (code, reason) in enumerate(CLOSES):
        ending, asking = ours(url), ours(url)
        ending.ws.close(code, reason)
        asking.ws.send(str(number))
        until(lambda one=ending, other=asking: one.ends and other.ends)
        assert ending.ends == [(code, "")] and asking.ends == [(code, reason)]  # no reason is said back
        assert sorted(server.ended(2)) == sorted([(code, reason), (code, "")])
        assert ending.errors == asking.errors == server.errors == []


def test_an_end_without_goodbye(talk, through, ours, until):
    server = talk()
    url = through(server)
    client = ours(url)
    client.ws.abort()
    assert server.ended() == [(1006, "")] and [name for name, _ in server.errors] == ["PeerClosed"]
    client = ours(url)
    server.sockets[-1].abort()
    until(lambda: client.ends)
    assert client.ends == [(1006, "")] and [type(exc) for exc in client.errors] == [icey.PeerClosed]


def test_a_refusal_comes_through(talk, through, ours):
    client = ours(through(talk(origins=["http://here.test"])), headers={"Origin": "http://elsewhere.test"})
    assert client.ends == [(1006, "")] and client.errors[0].status == 403


def test_nginx_that_does_not_pass_the_upgrade_on(talk, through, ours):
    """The usual mistake: what the client is told says what is missing."""
    client = ours(through(talk()) + "plain")
    assert client.ends == [(1006, "")] and client.errors[0].status == 426


def test_a_silent_connection_is_cut_unless_there_are_pings(loop, talk, through, ours, until):
    """nginx gives up after a second in which the server says nothing. Pings of either side keep it."""
    silent, server_pings = talk(ping_interval=None), talk(ping_interval=0.3)
    urls = [through(silent) + "impatient", through(silent) + "impatient", through(server_pings) + "impatient"]
    left, pinging, pinged = [ours(url, ping_interval=pings) for url, pings in zip(urls, (None, 0.3, None))]
    until(lambda: left.ends and silent.closed)
    assert left.ends == silent.closed == [(1006, "")]
    assert [type(exc) for exc in left.errors] == [icey.PeerClosed] and silent.errors[0][0] == "PeerClosed"
    later = []
    loop.call_later(1.5, later.append, True)
    until(lambda: later)
    for client in (pinging, pinged):
        assert client.ends == []
        client.ws.send("still here")
    until(lambda: pinging.heard and pinged.heard)
    assert pinging.heard == pinged.heard == ["still here"]


# Server-Sent Events

@pytest.mark.parametrize("path", ["", "unbuffered"])
def test_events_come_at_once(loop, nginx, until, path):
    """Each event is written only when the one before has arrived: nothing waits for more. The adapter has nginx told so."""
    def answer(exchange):
        feeds.append(icey.http.SseAdapter(exchange))
        feeds[-1].event("first", id=0)

    server, feeds, text = icey.http.Server(loop, "127.0.0.1", 0).start(), [], bytearray()
    server.on_request += answer
    port = nginx(CONFIG, upstream=server.address.port).port
    conn = icey.http.ClientConnection(loop, "http://127.0.0.1:%d/%s" % (port, path), headers={"Last-Event-ID": "41"})
    conn.on_payload += lambda conn, view: text.extend(view)
    conn.start()
    for number in range(1, 20):
        until(lambda number=number: text.count(b"\n\n") >= number)
        feeds[0].event("event %d" % number, id=number)
    until(lambda: b"event 19" in text)
    assert conn.response.headers["content-type"].startswith("text/event-stream") and feeds[0].last_event_id == "41"
    gone = []
    feeds[0].on_close += gone.append
    conn.close()
    until(lambda: gone)  # nginx tells us at once that the client left
