"""A WebSocket server on the test's own loop, for foreign clients; and what counts the bytes between two programs.

    server = Talk(loop)                         # echoes; server.url, server.ws_url
    ...                                         # a client talks to it while the loop turns
    assert server.ended() == [(1000, "bye")]

    tap = Tap(loop, server.port)                # a port that passes everything on; tap.up, tap.down: bytes
"""
import time

import icey
from tests.support import programs

BLANK = '<!doctype html><meta charset="utf-8"><title>Talk</title><link rel="icon" href="data:,">'


def echo(ws):
    """Has it send back what it gets, as fast as the other side takes it."""
    ws.on_message += lambda ws, data: ws.send(data) or ws.pause()
    ws.on_drain += lambda ws: ws.resume()


class Talk:
    """A server whose WebSockets `prepare(ws)` takes care of; whoever wants no WebSocket gets `page`.

    `sockets`: the WebSockets that came, `closed`: (code, reason) of those that went, `errors`: (class, text) of what they
    reported. options: of WebSocket.accept.
    """

    def __init__(self, loop, prepare=echo, *, page=BLANK, tls=None, limits=None, **options):
        self.server = icey.http.Server(loop, "127.0.0.1", 0, tls=tls, limits=limits).start()
        self.server.on_request += self._asked
        self.port = self.server.address.port
        self.url = "http%s://localhost:%d/" % ("s" if tls else "", self.port)
        self.ws_url = self.url.replace("http", "ws").replace("localhost", "127.0.0.1")
        self.sockets, self.closed, self.errors = [], [], []
        self._prepare, self._page, self._options = prepare, page, options

    def ended(self, count=1):
        """Waits until so many of its WebSockets are closed, and forgets them: (code, reason) of each."""
        overdue = time.monotonic() + programs.PATIENCE
        while len(self.closed) < count:
            assert time.monotonic() < overdue, (self.closed, self.errors)
            self.server.loop.run_once(0.05)
        found, self.closed = self.closed, []
        return found

    def _asked(self, exchange):
        if "upgrade" not in exchange.request.headers and exchange.request.path == "/":
            exchange.respond(200, self._page.encode(), "text/html")
            return
        ws = icey.http.WebSocket.accept(exchange, **self._options)
        self.sockets.append(ws)
        ws.on_close += lambda ws, code, reason: self.closed.append((code, reason))
        ws.on_error += lambda ws, exc: self.errors.append((type(exc).__name__, str(exc)))
        self._prepare(ws)


class Tap:
    """A port that passes all on to another one. `up`, `down`: bytes from the clients, and to them."""

    def __init__(self, loop, port):
        self.up = self.down = 0
        self._address = icey.Address("127.0.0.1", port)
        listener = icey.TCPListener(loop, icey.Address("127.0.0.1", 0))
        listener.on_accept += self._accept
        self.port = listener.address.port
        self.ws_url = "ws://127.0.0.1:%d/" % self.port

    def _accept(self, listener, client):
        server = icey.TCPSocket(listener.loop)
        client.on_recv += lambda client, view: self._count(len(view), 0)
        server.on_recv += lambda server, view: self._count(0, len(view))
        for near, far in ((client, server), (server, client)):
            near.on_error += lambda near, exc: None  # the ends' business
            near.on_recv += lambda near, view, far=far: far.closing or far.send_owned(view) or near.pause()
            near.on_end += lambda near, far=far: far.closing or far.shutdown()
            near.on_close += lambda near, far=far: far.close()
            far.on_drain += lambda far, near=near: near.resume()
        server.connect(self._address)

    def _count(self, up, down):
        self.up += up
        self.down += down
