"""LiveFiles: StaticFiles whose pages reload in the browser when something below the folder changes (serve --live).

    files = LiveFiles("/srv/www", tell=print)
    server.on_request += files
    files.start(server)

How: every page gets a script, which connects by WebSocket to PATH and says as of which change the page is: its stamp. It is
told of changes: `{"stamp": ..., "styles": [paths]}` where all that changed is style sheets, else with null for the paths. A
page that links all of them loads them anew, any other reloads. One that comes with another stamp than the present one is told
at once: something changed before it was connected, or while the server was away. While it cannot connect it tries again.

Rules
- A page is an HTML file, a listing, or what stands for an error where a reader asked. It is sent whole, with `Cache-Control:
  no-store` and no validators: no range, no 304. What a script fetches is sent as it is, and so is what is over LARGEST.
- The folder is watched from the moment a page is asked for until GRACE after the last is gone. What changes then is not known,
  so the stamps of before are worth nothing.
- Only pages of this host may connect: a foreign page must not learn when somebody works.
- A page whose own Content-Security-Policy forbids inline scripts does not reload.

Not here: what has changed (treewatch.py), how files are found (http/static.py).
"""

from __future__ import annotations

import json
import os
from binascii import b2a_base64, hexlify

from ..base.timer import Timer
from ..http.conditional import precondition
from ..http.message import REASONS
from ..http.static import LISTING_POLICY, StaticFiles
from ..http.wssocket import WebSocket
from .treewatch import MOST, TreeWatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Set, Tuple

    from ..http.exchange import Exchange
    from ..http.server import Server

PATH = "/.icey-live"
LARGEST = 4 * 1024 * 1024  # bytes of a page that gets the script: it is read in one go
GRACE = 60.0  # seconds: from the answer to the script's connection, and from one page to the next
HTML = "text/html; charset=utf-8"

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SHOWN = (403, 404, 500, 503)  # what somebody may have on the screen, and want to go away
_NO_STORE = ("Cache-Control", "no-store")

_SCRIPT = """
(() => {
  let stamp = document.currentScript.dataset.iceyLive, pause = 250;
  // loads these style sheets anew; false if the page does not link them all
  const restyle = paths => paths.every(path => {
    const links = [...document.querySelectorAll("link[rel~=stylesheet][href]")].filter(link => {
      const url = new URL(link.href);
      return url.origin === location.origin && decodeURIComponent(url.pathname) === path;
    });
    for (const link of links) {
      const url = new URL(link.href);
      url.searchParams.set("icey-live", stamp);
      link.href = url;
    }
    return links.length > 0;
  });
  const connect = () => {
    const socket = new WebSocket(location.origin.replace("http", "ws") + "%s?" + stamp);
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
""" % PATH

_ERROR = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<title>%d %s</title>
<p>%d %s
"""


class LiveFiles(StaticFiles):
    """Files, and what reloads the pages among them; `start(server)` before the first request.

    tell: called with a line for whoever reads the log; the rest is StaticFiles'.
    """

    __slots__ = ("_pages", "_tell", "_told")

    def __init__(self, root: Any, *, tell: Callable[[str], Any], **options: Any) -> None:
        super().__init__(root, **options)
        self._pages: OpenPages
        self._tell = tell
        self._told: Set[str] = set()  # names of files that are too large

    def start(self, server: Server) -> None:
        """Watches for the pages that `server` is asked for, until it stops."""
        watch = TreeWatch(server.loop, self.root, follow=self._follow, ignored=_own_output())
        watch.on_limit += lambda watch: self._tell(
            "%d files are watched, this folder has more: not all changes reload pages" % MOST)
        self._pages = OpenPages(server, watch)

    def __call__(self, exchange: Exchange, prefix: Optional[str] = None) -> None:
        """Answer the exchange with what its target names."""
        if exchange.request.target.partition("?")[0] == PATH:
            self._pages.join(exchange)
        else:
            super().__call__(exchange, prefix)

    # the three kinds of pages

    def _send(self, exchange: Exchange, fd: int, stat: os.stat_result, name: str) -> None:
        kind = self.content_type(name)
        if not kind.startswith("text/html") or not _is_page(exchange):
            super()._send(exchange, fd, stat, name)
        elif stat.st_size > LARGEST:
            if name not in self._told:
                self._told.add(name)
                self._tell("%s does not reload: it is larger than %d MiB" % (
                    name if name.isprintable() else ascii(name), LARGEST >> 20))
            super()._send(exchange, fd, stat, name)
        else:
            stamp = self._pages.stamp()  # before it is read: what changes from here on is told
            try:
                with open(fd, "rb") as file:
                    page = file.read()
            except OSError as error:
                self._refuse_for(exchange, error)
                return
            if precondition(exchange.request.method, exchange.request.headers) == 412:
                self._refuse(exchange, 412)
            else:
                exchange.respond(200, with_script(page, stamp), kind, self._fields())

    def _show(self, exchange: Exchange, fd: int, names: List[str], root: str, query: str) -> None:
        self._pages.stamp()  # before it is read
        super()._show(exchange, fd, names, root, query)

    def _send_listing(self, exchange: Exchange, page: bytes) -> None:
        if not _is_page(exchange):
            super()._send_listing(exchange, page)
            return
        name, value = LISTING_POLICY
        policy = name, value + "; script-src 'sha256-%s'; connect-src 'self'" % _script_hash()
        exchange.respond(200, with_script(page, self._pages.stamp()), HTML, [policy, *self._fields()])

    def _refuse(self, exchange: Exchange, status: int, *fields: Tuple[str, str]) -> None:
        if status in _SHOWN and "text/html" in exchange.request.headers.get("accept", "") and _is_page(exchange):
            page = (_ERROR % ((status, REASONS[status]) * 2)).encode("ascii")
            exchange.respond(status, with_script(page, self._pages.stamp()), HTML, [_NO_STORE, *fields])
        else:
            super()._refuse(exchange, status, *fields)

    def _fields(self) -> List[Tuple[str, str]]:
        return [_NO_STORE, *(field for field in self._headers if field[0].lower() != "cache-control")]


class OpenPages:
    """The pages that browsers show, a WebSocket each. `watch`: what is to be told of, taken over."""

    __slots__ = ("_watch", "_run", "_count", "_sockets", "_doze")

    def __init__(self, server: Server, watch: TreeWatch) -> None:
        self._watch = watch
        self._run = hexlify(os.urandom(8)).decode("ascii")  # stamps of another run are worth nothing
        self._count = 0
        self._sockets: Dict[WebSocket, None] = {}
        self._doze = Timer(server.loop, GRACE, self._fall_asleep)
        self._doze.unref()
        watch.on_change += self._changed
        server.on_shutdown += self._end

    def stamp(self) -> str:
        """The stamp of a page that is read now. From here on changes are looked for."""
        if not self._watch.closing:
            self._watch.wake()
            self._doze.start()
        return self._stamp()

    def join(self, exchange: Exchange) -> None:
        """Takes the connection of a page's script over. HttpError for anything else."""
        host = exchange.request.headers.get("host", "")
        ws = WebSocket.accept(exchange, origins=lambda origin: is_of(origin, host), compression=False)
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
        for ws in tuple(self._sockets):
            ws.send(news)

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


def with_script(page: bytes, stamp: str) -> bytes:
    """A page of any encoding that looks like ASCII, with the script at the end of its body; UTF-16 as it is."""
    if page.startswith(_UTF16):
        return page
    script = ('<script data-icey-live="%s">%s</script>\n' % (stamp, _SCRIPT)).encode("ascii")
    at = page.lower().rfind(b"</body>")
    return page + script if at < 0 else page[:at] + script + page[at:]


def is_of(origin: Optional[str], host: str) -> bool:
    """Whether a page of `origin` (None: no page, a program) came from `host`, as the Host field has it."""
    return origin is None or origin.partition("://")[2].lower() == host.lower() != ""


def _is_page(exchange: Exchange) -> bool:
    """Whether a reader asked, not a script; a prefetch is for a reader, too."""
    headers = exchange.request.headers
    return headers.get("sec-fetch-dest") != "empty" or "sec-purpose" in headers


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
