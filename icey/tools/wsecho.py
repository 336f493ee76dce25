"""Echo: `icey ws --listen PORT`: a WebSocket server that sends each message back as it came.

Rules
- The first line on stdout holds the URL. Each connection that opens is a line on stderr, and another when it closes: the code.
- A message is read when there is room for its answer: who does not read is not read.
- Ctrl-C or SIGTERM closes the connections with 1001, and the exit status is 0; a second one ends it at once, with 128 and the
  signal's number.

Not here: the flags (ws.py), where it listens (listening.py).
"""

from __future__ import annotations

from ..base.application import run
from ..http.server import Server
from ..http.wssocket import WebSocket
from .console import reason
from .failures import FINE, INTERRUPTED
from .listening import listen, reached
from .wscodes import told

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from ..base.loop import Loop
    from ..http.exchange import Exchange
    from .console import Console

SIGNAL = 128  # beside a signal's number: the exit status


class Echo:
    """The server that `options` ask for, listening from construction. Trouble: it cannot."""

    def __init__(self, loop: Loop, options: argparse.Namespace, console: Console) -> None:
        self._loop = loop
        self._options = options
        self._console = console
        self.server = Server(loop, listen(loop, options.addresses, "--listen"), tls=options.tls, limits=options.limits)
        self.server.on_request += self._asked

    def run(self) -> int:
        """Serves until a signal says otherwise; the exit status."""
        server, loop = self.server, self._loop
        server.start()
        loop.call_soon(self._announce)  # from the loop: who reads the line may send the signal
        try:
            number = run(loop, server)
        except KeyboardInterrupt:  # there is no signal module: Python's own way
            number = INTERRUPTED - SIGNAL
            server.stop()
            loop.run()
        if server.closed:
            return FINE
        server.abort()
        loop.run()
        return SIGNAL + (number or 0)

    def _announce(self) -> None:
        """The first line."""
        address = self.server.address
        assert address is not None  # it listens
        url, whom = reached(address, "ws" if self._options.tls is None else "wss")
        out = self._console.out
        try:
            if out is not None:
                out.write(("Echoing at %s%s (Ctrl-C ends it)\n" % (url, whom)).encode("utf-8"))
                out.flush()
        except (OSError, ValueError):  # nobody reads it
            self._console.abandon_out()

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
