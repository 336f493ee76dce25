"""How a client gets a WebSocket: a ClientConnection asks, and when the server has switched its stream is taken over.

websocket.py imports this file when `WebSocket.connect` is first called: a server's copy of icey does without.

Not here: what is asked, and the check of the answer (offer.py); connecting, TLS and proxies (http/client/dialing.py).
"""

from __future__ import annotations

from ...base.errors import Deadline, HttpError, WebSocketError
from ..client.connection import TOTAL, ClientConnection
from ..client.proxy import Proxy
from ..semantics.headers import Headers
from ..semantics.url import URL
from .offer import Offer
from .states import WebSocketState

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Sequence

    from ..semantics.headers import HeadersLike
    from .compression import Compression
    from .websocket import WebSocket

CONNECTING = WebSocketState.CONNECTING


def checked(url: Any) -> URL:
    """`url` as a URL with the scheme ws or wss (http and https stand for these). ValueError: no such URL."""
    where = URL.of(url)
    if where.scheme not in ("ws", "wss", "http", "https"):
        raise ValueError("a WebSocket is ws or wss, not %r" % where.scheme)
    if where.scheme in ("http", "https"):
        where = URL("ws" + str(where)[4:])  # a proxy is asked otherwise for these
    if where.fragment is not None:
        raise ValueError("a WebSocket's URL has no #fragment (RFC 6455 section 3)")
    return where


def connect(
    ws: WebSocket, where: URL, headers: HeadersLike, subprotocols: Sequence[str], compression: Compression, tls: Any, proxy: Any
) -> None:
    """Begins to connect `ws` to the server at `where`; the arguments are those of WebSocket.connect."""
    offer = Offer(subprotocols, compression)
    sent = Headers(headers)
    for name, value in offer.fields():
        sent[name] = value
    conn = ClientConnection(ws.loop, where, headers=sent, tls=tls, limits=ws.limits, proxy=Proxy.of(proxy),
                            timeout=ws.limits.handshake_timeout)
    conn.on_headers += lambda conn: _answered(ws, conn, offer)
    conn.on_error += lambda conn, exc: ws.failed(_named(conn, exc))
    conn.on_close += lambda conn: ws.gone()
    conn.start()
    conn.unref()  # the WebSocket decides whether the loop runs on
    ws.client = conn
    ws.activate()


def _named(conn: ClientConnection, exc: Exception) -> Exception:
    """`exc`, but where the time for all of it is over: a transaction is to be a handshake here."""
    if isinstance(exc, Deadline) and str(exc).endswith(TOTAL):
        return Deadline("no WebSocket handshake with %s within %g s" % (conn.url.authority, conn.timeout or 0))
    return exc


def _answered(ws: WebSocket, conn: ClientConnection, offer: Offer) -> None:
    """The head of the server's answer is here."""
    if ws.state is not CONNECTING:  # it was closed since, and lets go of `conn` in the loop's closing phase
        conn.abort()
        return
    assert conn.response is not None
    try:
        agreed = offer.check(conn.response)
    except (HttpError, WebSocketError) as exc:
        exc.__traceback__ = None
        exc.response = conn.response
        ws.failed(exc)
        conn.abort()
        return
    ws.agree(agreed, True)
    conn.replace_adapter(ws.connection)
