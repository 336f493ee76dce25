"""HTTP/1.1: parser, server, static files. Names are looked up when they are first used; importing does nothing else."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .accesslog import AccessLog as AccessLog
    from .connection import ServerConnection as ServerConnection
    from .exchange import Exchange as Exchange
    from .headers import Headers as Headers
    from .message import Request as Request
    from .message import Response as Response
    from .parser import Parser as Parser
    from .server import Responder as Responder
    from .server import Server as Server
    from .states import ServerState as ServerState
    from .static import StaticFiles as StaticFiles

_HOME = {
    "accesslog": "AccessLog",
    "connection": "ServerConnection",
    "exchange": "Exchange",
    "headers": "Headers",
    "message": "Request Response",
    "parser": "Parser",
    "server": "Responder Server",
    "states": "ServerState",
    "static": "StaticFiles",
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
