"""Echo: `icey ws --listen PORT`: a WebSocket server that sends each message back as it came.

Rules
- The first line on stdout holds the URL. Each connection is a line on stderr when it opens, and another line, with the code,
  when it closes.
- A message is read when there is room for its answer: a client that does not read is not read.
- Ctrl-C or SIGTERM closes the connections with 1001, and the exit status is 0. A second signal ends the server at once; the
  exit status is 128 and the signal's number.

Not here: the flags (command.py), where the server listens (tools/cli/listening.py), how it ends (tools/cli/serving.py).
"""

from __future__ import annotations

from ...base.application import run
from ...http.server.server import Server
from ...http.websocket.websocket import WebSocket
from ..cli.console import reason
from ..cli.listening import listen, reached
from ..cli.serving import for_others, serve_on, stops
from .codes import told

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from ...base.loop import Loop
    from ...http.server.exchange import Exchange
    from ..cli.console import Console


class Echo:
    """The server that `options` ask for; it listens when it is made. Trouble: it cannot listen. `server`: the http.Server."""

    def __init__(self, loop: Loop, options: argparse.Namespace, console: Console) -> None:
        self._loop = loop
        self._options = options
        self._console = console
        self.server: Server = Server(loop, listen(loop, options.addresses, "--listen"), tls=options.tls, limits=options.limits)
        self.server.on_request += self._asked
        self.server.on_shutdown += self._stopping

    def run(self) -> int:
        """Serves until a signal says otherwise; returns the exit status."""
        server, loop = self.server, self._loop
        server.start()
        loop.call_soon(self._announce)  # from the loop: who reads the line may send the signal
        return serve_on(loop, server, run)

    def _announce(self) -> None:
        """Writes the first line."""
        address = self.server.address
        assert address is not None  # it listens
        scheme = "ws" if self._options.tls is None else "wss"
        url, whom = reached(address, scheme)
        out = self._console.out
        try:
            if out is not None:
                text = "Echoing at %s%s (Ctrl-C ends it)\n" % (url, whom) + for_others(address, scheme)
                out.write(text.encode("utf-8"))
                out.flush()
        except (OSError, ValueError):  # nobody reads it
            self._console.abandon_out()

    def _stopping(self, server: Server) -> None:
        left = sum(connection.upgraded for connection in server.connections)
        if left:
            self._console.note(stops(left, "connection is being closed", "connections are being closed"))

    def _asked(self, exchange: Exchange) -> None:
        options = self._options
        ws = WebSocket.accept(exchange, subprotocols=options.subprotocol, compression=not options.no_compression,
                              ping_interval=options.ping_interval)
        peer = str(exchange.peer)
        chosen = "" if ws.subprotocol is None else ", subprotocol " + ws.subprotocol
        self._console.note("%s opened %s%s" % (peer, exchange.request.target, chosen))
        ws.on_message += self._message
        ws.on_drain += lambda ws: ws.resume()
        ws.on_error += lambda ws, exc: self._console.note("%s failed: %s" % (peer, reason(exc)))
        ws.on_close += lambda ws, code, text: self._console.note("%s closed %s" % (peer, told(code, text)))

    def _message(self, ws: WebSocket, data: Any) -> None:
        if not ws.send(data if isinstance(data, str) else bytes(data)):
            ws.pause()
