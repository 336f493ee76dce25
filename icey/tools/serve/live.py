"""LiveFiles: SiteFiles whose pages reload in the browser when something below the folder changes (serve --live).

    files = LiveFiles("/srv/www", tell=print)
    server.on_request += files
    files.start(server)

How: every page gets a script. The script connects to PATH by WebSocket, and says as of which change the page is: the page's
stamp. The server tells each script of each change: `{"stamp": ..., "styles": [paths]}` where nothing but style sheets has
changed, else with null for the paths. A page that links all of these style sheets loads them anew; any other page reloads. A
script that comes with an old stamp is told at once: something changed before the script was connected, or while the server was
away. While a script cannot connect it tries again.

Rules
- A page is an HTML file, a listing, or what stands for an error, where a browser navigates to it: Sec-Fetch-* says so, and
  where that is missing (plain http to another machine, old browsers) Accept: text/html. It is sent whole, with `Cache-Control:
  no-store` and no validators: no range, no 304. What a script or a program fetches is sent as it is, and so is a page over
  LARGEST.
- The script stands behind all of the page: anywhere else it may land in a string, a comment or a template. A browser puts what
  comes there at the end of the body.
- The script finds the server by the page's own address, as many folders up as the page's target has: it works behind a proxy
  that mounts the server below a prefix.
- The folder is watched from the moment a page is asked for until GRACE after the last page is gone. Nobody knows what changes
  while it is not watched, so the stamps from before are worth nothing then.
- Only pages of this host, or of one that `may_connect` names, may connect: a foreign page must not learn when somebody works.
- A page whose own Content-Security-Policy forbids inline scripts does not reload.

Not here: what has changed (treewatch.py), how files are found (http/server/static.py).
"""

from __future__ import annotations

import json
import os
from binascii import b2a_base64, hexlify

from ...base.timer import Timer
from ...http.semantics.conditional import precondition
from ...http.semantics.status import REASONS
from ...http.server.static import LISTING_POLICY
from ...http.websocket.broadcast import broadcast
from ...http.websocket.websocket import WebSocket
from .sitefiles import HTML, SiteFiles, way_up
from .treewatch import MOST, TreeWatch

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Set, Tuple

    from ...http.server.exchange import Exchange
    from ...http.server.server import Server

PATH = "/.icey-live"
LARGEST = 4 * 1024 * 1024  # bytes of a page that gets the script: it is read in one go
GRACE = 60.0  # seconds: from the answer to the script's connection, and from one page to the next

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SHOWN = (403, 404, 500, 503)  # what somebody may have on the screen, and want to go away
_NAVIGATED = ("document", "iframe", "frame", "embed", "object")
_NO_STORE = ("Cache-Control", "no-store")

_SCRIPT = """
(() => {
  const data = document.currentScript.dataset;
  const root = new URL(data.iceyRoot, location.href), base = decodeURIComponent(root.pathname).slice(0, -1);
  let stamp = data.iceyLive, pause = 250;
  // loads these style sheets anew; false if the page does not link them all
  const restyle = paths => paths.every(path => {
    const links = [...document.querySelectorAll("link[rel~=stylesheet][href]")].filter(link => {
      const url = new URL(link.href);
      return url.origin === location.origin && decodeURIComponent(url.pathname) === base + path;
    });
    for (const link of links) {
      const url = new URL(link.href);
      url.searchParams.set("icey-live", stamp);
      link.href = url;
    }
    return links.length > 0;
  });
  const connect = () => {
    const socket = new WebSocket(new URL("%s?" + stamp, root).href.replace("http", "ws"));
    socket.onopen = () => { pause = 250; };
    socket.onmessage = event => {
      const told = JSON.parse(event.data);
      stamp = told.stamp;
      try {
        if (told.styles && restyle(told.styles)) return;
      } catch { /* a link that leads nowhere: reload */ }
      location.reload();
    };
    socket.onclose = () => {
      setTimeout(connect, pause);
      pause = Math.min(pause * 2, 5000);
    };
  };
  connect();
})();
""" % PATH[1:]

_ERROR = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<title>%d %s</title>
<p>%d %s
"""


class LiveFiles(SiteFiles):
    """Files, and what reloads the pages among them; `start(server)` before the first request.

    tell: called with a line for whoever reads the log. The other parameters and attributes are those of SiteFiles.
    """

    __slots__ = ("_pages", "_tell", "_told")

    def __init__(self, root: Any, *, tell: Callable[[str], Any], **options: Any) -> None:
        super().__init__(root, **options)
        self._pages: OpenPages
        self._tell = tell
        self._told: Set[str] = set()  # names of files that are too large

    def start(self, server: Server, may_connect: Optional[Callable[[str], bool]] = None) -> None:
        """Begins; ends when `server` stops.

        may_connect: gets the host of a page, as its Origin has it, and tells whether the page's script may connect although it
        asks another Host, which a proxy in between has put there. None: it may not.
        """
        watch = TreeWatch(server.loop, self.root, follow=self.follow_symlinks, ignored=_own_output())
        watch.on_limit += lambda watch: self._tell(
            "%d files are watched, this folder has more: not all changes reload pages" % MOST)
        self._pages = OpenPages(server, watch, may_connect)

    def __call__(self, exchange: Exchange, prefix: Optional[str] = None) -> None:
        """Answers the exchange with what its target names."""
        if exchange.request.target.partition("?")[0] == PATH:
            self._pages.join(exchange)
        else:
            super().__call__(exchange, prefix)

    # the three kinds of pages

    def send_file(self, exchange: Exchange, fd: int, stat: os.stat_result, name: str) -> None:
        kind = self.content_type(name)
        if not kind.startswith("text/html") or not _is_page(exchange):
            super().send_file(exchange, fd, stat, name)
        elif stat.st_size > LARGEST:
            if name not in self._told:
                self._told.add(name)
                self._tell("%s does not reload: it is larger than %d MiB" % (
                    name if name.isprintable() else ascii(name), LARGEST >> 20))
            super().send_file(exchange, fd, stat, name)
        else:
            stamp = self._pages.stamp()  # before it is read: what changes from here on is told
            try:
                with open(fd, "rb") as file:
                    page = file.read()
            except OSError as error:
                self.refuse_for(exchange, error)
                return
            if precondition(exchange.request.method, exchange.request.headers) == 412:
                self.refuse(exchange, 412)
            else:
                exchange.respond(200, with_script(page, stamp, way_up(exchange)), kind, self._fields())

    def send_folder(
        self, exchange: Exchange, fd: int, names: List[str], root: str, query: str,
        send: Optional[Callable[[Exchange, bytes], Any]] = None,
    ) -> None:
        if _is_page(exchange):
            stamp = self._pages.stamp()  # before it is read

            def send(exchange: Exchange, page: bytes) -> None:
                exchange.respond(200, with_script(page, stamp, way_up(exchange)), HTML, [_policy(), *self._fields()])

        super().send_folder(exchange, fd, names, root, query, send)

    def refuse(self, exchange: Exchange, status: int, *fields: Tuple[str, str]) -> None:
        if status in _SHOWN and "text/html" in exchange.request.headers.get("accept", "") and _is_page(exchange):
            if status == 404 and self.send_app(exchange):
                return
            stamp = self._pages.stamp()  # before it is read
            found = self.missing_page(exchange) if status == 404 else None
            page, kind, own = found or ((_ERROR % ((status, REASONS[status]) * 2)).encode("ascii"), HTML, False)
            more = self._fields() if own else [_NO_STORE, _policy(), *self.sharing]
            exchange.respond(status, with_script(page, stamp, way_up(exchange)), kind, [*fields, *more])
        else:
            super().refuse(exchange, status, *fields)

    def _fields(self) -> List[Tuple[str, str]]:
        return [_NO_STORE, *(field for field in self.headers if field[0].lower() != "cache-control")]


class OpenPages:
    """The pages that browsers show, a WebSocket each. watch: tells of changes; it is closed with the server."""

    __slots__ = ("_watch", "_may_connect", "_run", "_count", "_sockets", "_doze")

    def __init__(self, server: Server, watch: TreeWatch, may_connect: Optional[Callable[[str], bool]]) -> None:
        self._watch = watch
        self._may_connect = may_connect
        self._run = hexlify(os.urandom(8)).decode("ascii")  # stamps of another run are worth nothing
        self._count = 0
        self._sockets: Dict[WebSocket, None] = {}
        self._doze = Timer(server.loop, GRACE, self._fall_asleep)
        self._doze.unref()
        watch.on_change += self._changed
        server.on_shutdown += self._end

    def stamp(self) -> str:
        """The stamp of a page that is read now. From now on the folder is watched."""
        if not self._watch.closing:
            self._watch.wake()
            self._doze.start()
        return self._stamp()

    def join(self, exchange: Exchange) -> None:
        """Takes over the connection of a page's script. HttpError: it is no script of a page of this host."""
        host, may_connect = exchange.request.host, self._may_connect
        ws = WebSocket.accept(exchange, origins=lambda origin: is_of(origin, host) or bool(
            origin and may_connect and may_connect(origin.partition("://")[2])), compression=False)
        ws.on_close += self._left
        self._sockets[ws] = None
        if exchange.request.target.partition("?")[2] != self._stamp():
            ws.send(self._news(None))

    def _stamp(self) -> str:
        return "%s-%d" % (self._run, self._count)

    def _news(self, styles: Optional[List[str]]) -> str:
        return json.dumps({"stamp": self._stamp(), "styles": styles})

    def _changed(self, watch: TreeWatch, names: List[str]) -> None:
        self._count += 1
        news = self._news(["/" + name for name in names] if all(name.lower().endswith(".css") for name in names) else None)
        broadcast(tuple(self._sockets), news, slow="close")  # one that is closed connects again, and hears of it then

    def _left(self, ws: WebSocket, code: int, reason: str) -> None:
        self._sockets.pop(ws, None)
        if not self._sockets and not self._watch.closing:
            self._doze.start()

    def _fall_asleep(self, timer: Timer) -> None:
        if not self._sockets:
            self._watch.sleep()
            self._count += 1

    def _end(self, server: Server) -> None:
        self._watch.close()
        self._doze.close()


def with_script(page: bytes, stamp: str, root: str) -> bytes:
    """A page of any encoding that looks like ASCII, and the script; UTF-16 as it is. root: the way there from the page."""
    if page.startswith(_UTF16):
        return page
    return page + ('<script data-icey-live="%s" data-icey-root="%s">%s</script>\n' % (stamp, root, _SCRIPT)).encode("ascii")


def is_of(origin: Optional[str], host: str) -> bool:
    """Whether a page of `origin` (None: no page, a program) came from `host`, as the Host field has it."""
    return origin is None or origin.partition("://")[2].lower() == host.lower() != ""


def _is_page(exchange: Exchange) -> bool:
    """Whether a browser navigates there, or is about to (a prefetch); no script, and no program."""
    headers = exchange.request.headers
    dest, mode = headers.get("sec-fetch-dest"), headers.get("sec-fetch-mode")
    if dest is None and mode is None:
        return "text/html" in headers.get("accept", "") and "x-requested-with" not in headers
    return mode == "navigate" or dest in _NAVIGATED or "sec-purpose" in headers


def _policy() -> Tuple[str, str]:
    """The field of our own pages: beside what a listing may load there is the script."""
    name, value = LISTING_POLICY
    return name, value + "; script-src 'sha256-%s'; connect-src 'self'" % _script_hash()


def _script_hash() -> str:
    from hashlib import sha256

    return b2a_base64(sha256(_SCRIPT.encode("ascii")).digest(), newline=False).decode("ascii")


def _own_output() -> Set[Tuple[int, int]]:
    """(device, inode) of what stdout and stderr go to: a log in the folder must not reload pages, which would be logged."""
    found = set()
    for fd in (1, 2):
        try:
            stat = os.fstat(fd)
        except OSError:  # closed
            continue
        found.add((stat.st_dev, stat.st_ino))
    return found
