"""HTTP/1.1 and WebSocket, both sides.

    Server Exchange Request Response Headers Responder       a server; what a handler gets is the Exchange
    StaticFiles WSGI FormParser AccessLog Health Metrics     slots for it; wsgi.serve
    Client fetch ClientConnection MultipartEncoder           a client: with a pool, blocking, step by step
    WebSocket broadcast WebSocketCore Reconnecting           WebSocket; one that comes back
    EventSource SseAdapter MultipartAdapter ChunkedAdapter   events and answers that go on
    BasicAuth DigestAuth Cookie CookieJar Proxy URL          what goes with requests

Names are looked up when first used. `dir(icey.http)` has all.
"""

from ..base.lazy import lazy as _lazy

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from ..base.limits import Limits as Limits
    from .client.answer import Answer as Answer
    from .client.call import Call as Call
    from .client.client import Client as Client
    from .client.comeback import ReconnectState as ReconnectState
    from .client.connection import ClientConnection as ClientConnection
    from .client.cookiejar import CookieJar as CookieJar
    from .client.eventsource import EventSource as EventSource
    from .client.fetch import fetch as fetch
    from .client.multipartencoder import FilePart as FilePart, MultipartEncoder as MultipartEncoder
    from .client.proxy import Proxy as Proxy
    from .client.states import ClientState as ClientState
    from .http1.parser import Parser as Parser
    from .semantics.auth import BasicAuth as BasicAuth, DigestAuth as DigestAuth, DigestVerifier as DigestVerifier
    from .semantics.cookies import Cookie as Cookie
    from .semantics.eventstream import EventStreamParser as EventStreamParser, ServerSentEvent as ServerSentEvent
    from .semantics.headers import Headers as Headers
    from .semantics.message import Request as Request, Response as Response
    from .semantics.url import URL as URL
    from .semantics.urlencoded import parse_urlencoded as parse_urlencoded
    from .semantics.urlencoding import urlencode as urlencode
    from .server import wsgi as wsgi
    from .server.accesslog import AccessLog as AccessLog
    from .server.connection import ServerConnection as ServerConnection
    from .server.exchange import Exchange as Exchange
    from .server.forms import Form as Form, FormFile as FormFile, FormParser as FormParser
    from .server.forwarding import ForwardedInfo as ForwardedInfo, forwarded as forwarded
    from .server.operations import Health as Health, Metrics as Metrics
    from .server.responder import Responder as Responder
    from .server.server import Server as Server
    from .server.states import ServerState as ServerState
    from .server.static import StaticFiles as StaticFiles
    from .server.wsgi import WSGI as WSGI
    from .streaming.adapters import (
        ChunkedAdapter as ChunkedAdapter,
        EventPacket as EventPacket,
        MultipartAdapter as MultipartAdapter,
        SseAdapter as SseAdapter,
    )
    from .streaming.clientends import ClientSink as ClientSink, ClientSource as ClientSource
    from .streaming.sources import (
        ExchangeSource as ExchangeSource,
        WebSocketSink as WebSocketSink,
        WebSocketSource as WebSocketSource,
    )
    from .websocket.broadcast import broadcast as broadcast
    from .websocket.compression import WebSocketCompression as WebSocketCompression
    from .websocket.frames import WebSocketCore as WebSocketCore
    from .websocket.reconnecting import Reconnecting as Reconnecting
    from .websocket.states import WebSocketState as WebSocketState
    from .websocket.websocket import WebSocket as WebSocket

_HOME = {
    "semantics.auth": "BasicAuth DigestAuth DigestVerifier",
    "semantics.cookies": "Cookie",
    "semantics.eventstream": "EventStreamParser ServerSentEvent",
    "semantics.headers": "Headers",
    "semantics.message": "Request Response",
    "semantics.url": "URL",
    "semantics.urlencoded": "parse_urlencoded",
    "semantics.urlencoding": "urlencode",
    "http1.parser": "Parser",
    "server.accesslog": "AccessLog",
    "server.connection": "ServerConnection",
    "server.exchange": "Exchange",
    "server.forms": "Form FormFile FormParser",
    "server.forwarding": "ForwardedInfo forwarded",
    "server.operations": "Health Metrics",
    "server.responder": "Responder",
    "server.server": "Limits Server",
    "server.states": "ServerState",
    "server.static": "StaticFiles",
    "server.wsgi": "WSGI",
    "client.answer": "Answer",
    "client.call": "Call",
    "client.client": "Client",
    "client.comeback": "ReconnectState",
    "client.connection": "ClientConnection",
    "client.cookiejar": "CookieJar",
    "client.eventsource": "EventSource",
    "client.fetch": "fetch",
    "client.multipartencoder": "FilePart MultipartEncoder",
    "client.proxy": "Proxy",
    "client.states": "ClientState",
    "websocket.broadcast": "broadcast",
    "websocket.compression": "WebSocketCompression",
    "websocket.frames": "WebSocketCore",
    "websocket.reconnecting": "Reconnecting",
    "websocket.states": "WebSocketState",
    "websocket.websocket": "WebSocket",
    "streaming.adapters": "ChunkedAdapter EventPacket MultipartAdapter SseAdapter",
    "streaming.clientends": "ClientSink ClientSource",
    "streaming.sources": "ExchangeSource WebSocketSink WebSocketSource",
    "": "server.wsgi",
}
_LEFT_OUT: "dict[str, str]" = {}
if not TYPE_CHECKING:  # checkers read the imports above, and name what is misspelt
    __getattr__, __dir__ = _lazy(globals(), _HOME, _LEFT_OUT)
