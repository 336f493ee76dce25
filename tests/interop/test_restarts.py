"""EventSource and Reconnecting against a server in a process of its own, which is killed, ended and stopped for real.

The server, icey's, numbers what it sends, and goes on behind the number that a client names: by Last-Event-ID, or in its first
message. So each number has to come once, whatever befalls the server.
"""
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

import icey
from icey.http import EventSource, Reconnecting, WebSocket

RESTARTS = 50
pytestmark = pytest.mark.needs("fork")

SERVER = """
import sys, icey

def count(loop, last, send, handle):
    timer = icey.Timer(loop, 0.0, lambda timer: send(last + timer.count), interval=0.002).start()
    handle.on_close += lambda *rest: timer.close()

def asked(exchange):
    if exchange.request.path == "/ws":
        ws = icey.http.WebSocket.accept(exchange)
        ws.on_message.attach(lambda ws, last: count(ws.loop, int(last), lambda number: ws.closing or ws.send(str(number)), ws))
    else:
        stream = icey.http.SseAdapter(exchange)
        count(exchange.loop, int(stream.last_event_id or 0), lambda number: stream.event("x" * 100, id=number), exchange)

loop = icey.Loop()
server = icey.http.Server(loop, "127.0.0.1", int(sys.argv[1]))
server.on_request += asked
icey.run(loop, server.start(), grace=0.1)
loop.close()
"""


class Restarted:
    """The server: `start`, `end(signal)`; it has the same port each time."""

    def __init__(self, until):
        self._until = until
        self.process = None
        self._place = socket.socket()  # bound, so that nobody else gets the port; it never listens
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port = self._place.getsockname()[1]

    def start(self):
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, str(self.port)], stdin=subprocess.DEVNULL)

    def end(self, number):
        self.process.send_signal(number)
        self._until(lambda: self.process.poll() is not None)
        assert self.process.returncode in (0, -number)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        self._place.close()


@pytest.fixture
def server(until):
    server = Restarted(until)
    server.start()
    yield server
    server.close()


class Clients:
    """An EventSource and a Reconnecting; what each got, how often each was connected, what each was told."""

    def __init__(self, loop, server, **limits):
        self.events, self.messages, self.told = [], [], {"source": [], "link": []}
        self.opened = {"source": 0, "link": 0}
        limits = icey.Limits(answer_timeout=0.5, handshake_timeout=0.5, **limits)
        self.source = EventSource(loop, "http://127.0.0.1:%d/events" % server.port, retry=(0.005, 0.05), limits=limits,
                                  idle_timeout=0.5)
        self.source.on_open += lambda source: self.count("source")
        self.source.on_event += lambda source, event: self.events.append(int(event.id))
        self.source.on_error += lambda source, exc: self.told["source"].append((time.monotonic(), exc, source.retry_in))
        self.source.start()
        self.link = Reconnecting(
            lambda: WebSocket.connect(loop, "ws://127.0.0.1:%d/ws" % server.port, limits=limits, ping_interval=0.2),
            retry=(0.005, 0.05))
        self.link.on_connect += lambda link: (self.count("link"), link.send(str(len(self.messages))))
        self.link.on_message += lambda link, data: self.messages.append(int(data))
        self.link.on_disconnect += lambda link, exc, rest: self.told["link"].append((time.monotonic(), exc, rest))

    def count(self, who):
        self.opened[who] += 1

    def more(self, until, count=3):
        """Waits until both have got so many more."""
        events, messages = len(self.events) + count, len(self.messages) + count
        until(lambda: len(self.events) >= events and len(self.messages) >= messages)

    def end(self, until):
        """Closes both, and looks at what they have got."""
        self.source.close()
        self.link.close()
        until(lambda: self.source.closed and self.link.closed)
        assert self.events == list(range(1, len(self.events) + 1))
        assert self.messages == list(range(1, len(self.messages) + 1))
        for told in self.told.values():
            assert all(0.005 <= rest <= 0.05 for _, _, rest in told)


def test_over_50_restarts_each_event_and_each_message_comes_once(loop, until, server):
    clients = Clients(loop, server)
    clients.more(until)
    for count in range(RESTARTS):
        server.end(signal.SIGTERM if count % 2 else signal.SIGKILL)
        server.start()
        clients.more(until)
    clients.end(until)
    assert min(clients.opened.values()) > RESTARTS


def test_a_server_that_is_stopped_is_found_and_both_go_on_when_it_does(loop, until, server):
    clients = Clients(loop, server, pong_timeout=0.4)
    clients.more(until)
    for told in clients.told.values():
        told.clear()
    os.kill(server.process.pid, signal.SIGSTOP)
    since = time.monotonic()
    until(lambda: all(clients.told.values()))
    for told in clients.told.values():
        when, exc, _ = told[0]
        assert isinstance(exc, icey.Deadline) and 0.3 < when - since < 5.0  # the ping's interval and its timeout: 0.6
    until(lambda: time.monotonic() - since > 1.5)
    os.kill(server.process.pid, signal.SIGCONT)
    clients.more(until, 20)
    clients.end(until)
