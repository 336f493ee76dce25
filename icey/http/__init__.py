"""HTTP/1.1: parser, server, static files. Names are looked up when they are first used; importing does nothing else."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .accesslog import AccessLog as AccessLog
    from .auth import BasicAuth as BasicAuth
    from .auth import DigestAuth as DigestAuth
    from .auth import DigestVerifier as DigestVerifier
    from .call import Call as Call
    from .client import Client as Client
    from .clientconnection import ClientConnection as ClientConnection
    from .connection import ServerConnection as ServerConnection
    from .cookies import Cookie as Cookie
    from .cookies import CookieJar as CookieJar
    from .dialing import Proxy as Proxy
    from .exchange import Exchange as Exchange
    from .fetching import Answer as Answer
    from .fetching import fetch as fetch
    from .forms import Form as Form
    from .forms import FormFile as FormFile
    from .forms import FormParser as FormParser
    from .forwarding import ForwardedInfo as ForwardedInfo
    from .forwarding import forwarded as forwarded
    from .headers import Headers as Headers
    from .message import Request as Request
    from .message import Response as Response
    from .multipartencoder import FilePart as FilePart
    from .multipartencoder import MultipartEncoder as MultipartEncoder
    from .packetends import ExchangeSource as ExchangeSource
    from .packetends import WebSocketSink as WebSocketSink
    from .packetends import WebSocketSource as WebSocketSource
    from .packetizers import ChunkedAdapter as ChunkedAdapter
    from .packetizers import EventPacket as EventPacket
    from .packetizers import MultipartAdapter as MultipartAdapter
    from .packetizers import SseAdapter as SseAdapter
    from .parser import Parser as Parser
    from .server import Responder as Responder
    from .server import Server as Server
    from .states import ClientState as ClientState
    from .states import ServerState as ServerState
    from .states import WebSocketState as WebSocketState
    from .static import StaticFiles as StaticFiles
    from .url import URL as URL
    from .urlencoded import parse_urlencoded as parse_urlencoded
    from .urlencoded import urlencode as urlencode
    from .websocket import WebSocketCore as WebSocketCore
    from .wssocket import WebSocket as WebSocket

_HOME = {
    "accesslog": "AccessLog",
    "auth": "BasicAuth DigestAuth DigestVerifier",
    "call": "Call",
    "client": "Client",
    "clientconnection": "ClientConnection",
    "connection": "ServerConnection",
    "cookies": "Cookie CookieJar",
    "dialing": "Proxy",
    "exchange": "Exchange",
    "forms": "Form FormFile FormParser",
    "forwarding": "ForwardedInfo forwarded",
    "fetching": "Answer fetch",
    "headers": "Headers",
    "message": "Request Response",
    "multipartencoder": "FilePart MultipartEncoder",
    "packetends": "ExchangeSource WebSocketSink WebSocketSource",
    "packetizers": "ChunkedAdapter EventPacket MultipartAdapter SseAdapter",
    "parser": "Parser",
    "server": "Responder Server",
    "states": "ClientState ServerState WebSocketState",
    "static": "StaticFiles",
    "url": "URL",
    "urlencoded": "parse_urlencoded urlencode",
    "websocket": "WebSocketCore",
    "wssocket": "WebSocket",
}
_LAZY = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [*sorted(_LAZY)]  # noqa: PLE0604 - all of them are str


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError("module %r has no attribute %r" % (__name__, name))
    found: object = getattr(__import__(module, globals(), None, (name,), 1), name)
    globals()[name] = found
    return found


def __dir__() -> "list[str]":
    return sorted(set(globals()) | set(_LAZY))
