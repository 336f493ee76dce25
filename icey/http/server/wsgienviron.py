"""The environ of a WSGI application (PEP 3333, "environ Variables"), made from an exchange.

Rules
- PATH_INFO is percent-decoded bytes, shown as latin-1; QUERY_STRING, REQUEST_URI and RAW_URI are as they came. The target "*"
  has an empty PATH_INFO.
- Fields of one name are joined by ", ", those of Cookie by "; ". Content-Type and Content-Length have their own keys. Left out:
  a name with an underscore (it would pass for one with a hyphen that a proxy vouches for), Proxy (HTTP_PROXY is a variable that
  clients of HTTP read), and Transfer-Encoding: the body is decoded, and CONTENT_LENGTH is what came.
- REMOTE_ADDR, the scheme, HTTP_HOST, SERVER_NAME and SERVER_PORT are the connection's, but for what trusted proxies tell
  (forwarding.py). A client that they do not tell is "", as over a Unix socket.

Not here: the body (wsgi.py), what is done with environ (wsgicall.py).
"""

from __future__ import annotations

import sys
from _thread import get_ident
from weakref import WeakKeyDictionary

from ...base import log
from ...net.networks import Networks
from ..semantics.grammar import absolute
from ..semantics.percent import unquote
from .forwarding import forwarded
from .wsgicall import FileWrapper

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Optional, Tuple, Union

    from ...net.address import Address
    from ..semantics.message import Request
    from .connection import ServerConnection
    from .exchange import Exchange

    Ends = Tuple[str, str, str, str, str]  # SERVER_NAME, SERVER_PORT, REMOTE_ADDR, REMOTE_PORT, the scheme

MOST_KEYS = 512  # names of fields whose keys are remembered: clients choose them
LEFT_OUT = ("proxy", "transfer-encoding")
_logging: Dict[int, bool] = {}  # threads that log a line of an ErrorLog, and whether that came back as another one
PORTS = {"http": "80", "https": "443"}


class Environs:
    """Makes environs. trusted: the proxies that are believed, None for nobody. script_name, multiprocess: as WSGI has them."""

    __slots__ = ("_template", "_trusted", "_script_name", "_keys", "_ends")

    def __init__(self, trusted: Union[Networks, str, Iterable[str], None], script_name: str, multiprocess: bool) -> None:
        if script_name and (script_name[0] != "/" or script_name[-1] == "/"):
            raise ValueError("script_name is a path such as \"/app\", with no slash at its end, not %r" % script_name)
        self._trusted = None if trusted is None else Networks.of(trusted)
        self._script_name = script_name
        self._keys: Dict[str, str] = {}
        self._ends: WeakKeyDictionary[ServerConnection, Ends] = WeakKeyDictionary()  # the system is asked once a connection
        self._template: Dict[str, Any] = {
            "SCRIPT_NAME": _shown(script_name),
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SERVER_SOFTWARE": "icey",
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": bool(multiprocess),
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }

    def make(self, exchange: Exchange, body: Any, size: int) -> Dict[str, Any]:
        """The environ of this exchange. body: what `wsgi.input` is; size: its bytes, -1 where the request has none."""
        request = exchange.request
        target = request.target
        environ = self._template.copy()
        path = target
        if target[0] != "/":
            path = "" if target == "*" else absolute(target)[1]
        path, _, environ["QUERY_STRING"] = path.partition("?")
        if "%" in path:
            path = _shown(unquote(path))
        script_name = self._script_name
        if script_name:
            mount = environ["SCRIPT_NAME"]
            if path.startswith(mount) and path[len(mount):len(mount) + 1] in ("", "/"):
                path = path[len(mount):]
        environ["PATH_INFO"] = path
        environ["REQUEST_METHOD"] = request.method
        environ["REQUEST_URI"] = environ["RAW_URI"] = target
        environ["SERVER_PROTOCOL"] = "HTTP/" + request.version
        environ["wsgi.input"] = body
        environ["wsgi.errors"] = ErrorLog(request)
        keys = self._keys
        for name, value in request.headers.items():
            key = keys.get(name)
            if key is None:
                key = self._key(name)
            if key not in environ:
                environ[key] = value
            elif key == "HTTP_COOKIE":
                environ[key] += "; " + value
            elif key[:5] == "HTTP_":
                environ[key] += ", " + value
        environ.pop("", None)
        if size >= 0:
            environ["CONTENT_LENGTH"] = str(size)
        if target[0] != "/" and target != "*":
            environ["HTTP_HOST"] = request.host  # the target's authority counts (RFC 9112 section 3.2.2)
        self._add_addresses(exchange, environ)
        return environ

    def _add_addresses(self, exchange: Exchange, environ: Dict[str, Any]) -> None:
        connection = exchange.connection
        ends = self._ends.get(connection)
        if ends is None:
            ends = self._ends[connection] = _ends_of(connection)
        environ["SERVER_NAME"], environ["SERVER_PORT"], environ["REMOTE_ADDR"], port, proto = ends
        if self._trusted is not None and connection.peer in self._trusted:
            told = forwarded(exchange, self._trusted)
            environ["REMOTE_ADDR"], port = _shown_address(told.client)
            if told.host and (told.proto != proto or told.host != exchange.request.host):
                environ["HTTP_HOST"] = told.host
                environ["SERVER_NAME"], environ["SERVER_PORT"] = _split(told.host, PORTS.get(told.proto, "80"))
            proto = told.proto
        if port:
            environ["REMOTE_PORT"] = port
        environ["wsgi.url_scheme"] = proto
        if proto == "https":
            environ["HTTPS"] = "on"

    def _key(self, name: str) -> str:
        """The key for a field's name, "" for one that is left out."""
        if "_" in name or name in LEFT_OUT:
            key = ""
        else:
            key = name.upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = "HTTP_" + key
        if len(self._keys) >= MOST_KEYS:
            self._keys.clear()
        self._keys[name] = key
        return key


class ErrorLog:
    """`wsgi.errors`: text whose lines are logged under icey.wsgi, each with the request that it is about.

    Where a handler of the program's, such as that of Flask's manual, writes here what is logged, a line goes to stderr instead:
    it would lead to the next one for ever.
    """

    __slots__ = ("_request", "_held")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._held: Optional[str] = None

    def write(self, text: str) -> int:
        """Logs what is complete with this text; the last line is held until it ends, or `flush`."""
        if not isinstance(text, str):
            raise TypeError("wsgi.errors takes str, not %s" % type(text).__name__)
        thread = get_ident()
        if thread in _logging:
            _logging[thread] = True
            return len(text)
        lines, end, rest = ((self._held or "") + text).rpartition("\n")
        self._held = rest
        if end:
            self._log(lines)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes all of them."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Logs what is held."""
        if self._held and get_ident() not in _logging:
            text, self._held = self._held, None
            self._log(text)

    def _log(self, text: str) -> None:
        if not text:
            return
        thread, asked = get_ident(), (self._request.method, self._request.target, text)
        _logging[thread] = False
        try:
            log.error("wsgi", "%s %s: %s", *asked)
            for out in (sys.stderr, sys.__stderr__):  # the first may lead here, too
                if _logging[thread]:
                    _logging[thread] = False
                    try:
                        out.write("%s %s: %s\n" % asked)  # type: ignore[union-attr]
                    except (AttributeError, OSError, ValueError):  # there is none, or nobody reads it
                        pass
        finally:
            del _logging[thread]


def _ends_of(connection: ServerConnection) -> Ends:
    local, proto = connection.local, "https" if connection.secure else "http"
    if local is not None and local.port is not None:
        name, port = local.host, str(local.port)
    else:
        name, port = "localhost", PORTS[proto]
    return (name, port, *_shown_address(connection.peer), proto)


def _shown_address(address: Optional[Address]) -> Tuple[str, str]:
    """Host and port of a client; "" for what is not known."""
    if address is None or address.port is None:
        return "", ""
    return address.host, str(address.port) if address.port else ""


def _split(host: str, port: str) -> Tuple[str, str]:
    """The name and the port of a Host field; `port` where it has none."""
    name, colon, given = host.rpartition(":")
    if not colon or given.endswith("]"):  # an IPv6 address without a port
        return host, port
    return name, given or port


def _shown(text: str) -> str:
    """`text` as PEP 3333 has it: its bytes, each one a character."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
