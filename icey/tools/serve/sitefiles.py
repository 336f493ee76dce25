"""SiteFiles: StaticFiles as a site has them: pages for what is not there, and the entry of a single-page app.

    files = SiteFiles("/srv/www", spa=True)
    server.on_request += files

What is answered where nothing is found:

    spa, and it is the app's      the root's index file, with 200: as if it had been asked for
    the root has a 404.html       that, with 404, to whoever takes HTML
    a browser asks                a page with a link to the nearest folder above that is there
    else                          a line of text, as StaticFiles has it

Rules
- A path is the app's where a browser navigates (Accept names text/html), its last name has no extension, and none of its names
  begins with a dot. What a page loads (scripts, styles, images, fetch()) is 404 where it is missing: an app gets no HTML where
  it wants JSON. Only GET and HEAD come here.
- 404.html is sent whole, with 404 and no validators, whatever ranges and conditions the request has: they are about a file that
  is not there. One over LARGEST bytes is not sent.
- A folder is linked if it could be asked for: hidden ones are not. Links are relative, names are escaped: it works as listings
  do (http/server/listing.py).

It is mounted at "/": what is a link's way up is counted from the request's target.

Not here: how files are found and answered (http/server/static.py), pages that reload (live.py).
"""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISREG

from ...http.server.listing import escape, quote
from ...http.server.static import LISTING_POLICY, StaticFiles, is_name, split_target

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence, Tuple

    from ...http.server.exchange import Exchange

OWN_PAGE = "404.html"
LARGEST = 1024 * 1024  # bytes of a 404.html: it is read in one go
HTML = "text/html; charset=utf-8"
_ANY_HTML = ("text/html", "text/*", "*/*")

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>404 Not Found</title>
<style>
:root { color-scheme: light dark; --page: #fff; --ink: #1c1f23; --dim: #68707a; --link: #0b57c2 }
@media (prefers-color-scheme: dark) { :root { --page: #16181b; --ink: #e4e6e9; --dim: #979ea8; --link: #82b4ff } }
body { margin: 0 auto; padding: 18vh 1rem 3rem; max-width: 36rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; overflow-wrap: anywhere }
h1 { margin: 0 0 1rem; font-size: 1.35rem; font-weight: 600 }
p { margin: 0 0 1rem; color: var(--dim) }
a { color: var(--link); text-decoration: none }
a:hover, a:focus-visible { text-decoration: underline }
</style>
</head>
<body>
<h1>404 Not Found</h1>
<p>There is no <bdi>%s</bdi> here.</p>
<p><a href="%s">Back to <bdi>%s</bdi></a></p>
</body>
</html>
"""


class SiteFiles(StaticFiles):
    """Serves the folder `root` as a site; see the head of this file.

    spa: unknown paths are the app's. The other parameters and attributes are those of StaticFiles, but for prefix, not_found.
    """

    __slots__ = ("_spa", "_entries", "_shows_hidden")

    def __init__(
        self, root: Any, *, spa: bool = False, index: Sequence[str] = ("index.html", "index.htm"), hidden: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(root, index=index, hidden=hidden, **options)
        self._spa = spa
        self._entries: Tuple[str, ...] = (index,) if isinstance(index, str) else tuple(index)
        self._shows_hidden = hidden

    def refuse(self, exchange: Exchange, status: int, *fields: Tuple[str, str]) -> None:
        """As that of StaticFiles, with pages for 404."""
        if status == 404:
            if self.send_app(exchange):
                return
            found = self.missing_page(exchange)
            if found is not None:
                page, kind, own = found
                exchange.respond(404, page, kind, [*fields, *(self.headers if own else [LISTING_POLICY, *self.sharing])])
                return
        super().refuse(exchange, status, *fields)

    # -- the app ------------------------------------------------------------------------------------------------------

    def send_app(self, exchange: Exchange) -> bool:
        """Answers with the app's page if the path is the app's; False: nothing was done."""
        if not self._spa or "text/html" not in accepted(exchange):
            return False
        names = names_of(exchange)
        if any(name.startswith(".") for name in names) or "." in "".join(names[-1:]):
            return False
        for entry in self._entries:
            try:
                fd, stat = self.open_path([entry])
            except OSError:  # the next one, or a 404
                continue
            if S_ISREG(stat.st_mode):
                self.send_file(exchange, fd, stat, entry)
                return True
            _close(fd)
        return False

    # -- a page for what is missing -----------------------------------------------------------------------------------

    def missing_page(self, exchange: Exchange) -> Optional[Tuple[bytes, str, bool]]:
        """(page, content type, whether it is the site's own) for a 404; None where the client wants no page."""
        accept = accepted(exchange)
        if any(kind in accept for kind in _ANY_HTML):
            own = self._own_page()
            if own is not None:
                return own, self.content_type(OWN_PAGE), True
        if "text/html" not in accept:
            return None
        names = names_of(exchange)
        above = self._above(names)
        asked = "/" + "/".join(names)
        there = "/" + "".join(name + "/" for name in above)
        href = way_up(exchange) + "".join(quote(name) + "/" for name in above)
        page = _PAGE % (escape(asked), href, escape(there))
        return page.encode("utf-8", "replace"), HTML, False

    def _own_page(self) -> Optional[bytes]:
        """The root's 404.html, None where there is none to send."""
        try:
            fd, stat = self.open_path([OWN_PAGE])
            if not S_ISREG(stat.st_mode) or stat.st_size > LARGEST:
                _close(fd)
                return None
            with open(fd, "rb") as file:
                return file.read(LARGEST)
        except OSError:
            return None

    def _above(self, names: List[str]) -> List[str]:
        """The names of the nearest folder above that can be asked for."""
        there: List[str] = []
        for name in names[:-1]:
            if not is_name(name) or (name.startswith(".") and not self._shows_hidden and name != ".well-known"):
                break
            try:
                fd, stat = self.open_path([*there, name])
            except OSError:
                break
            _close(fd)
            if not S_ISDIR(stat.st_mode):
                break
            there.append(name)
        return there


def accepted(exchange: Exchange) -> str:
    """What the client says that it takes; without a word all of it."""
    return ",".join(exchange.request.headers.get_all("accept")) or "*/*"


def names_of(exchange: Exchange) -> List[str]:
    """The decoded names of the path that was asked for; [] where it cannot be decoded."""
    try:
        return split_target(exchange.request.target)[0]
    except ValueError:
        return []


def way_up(exchange: Exchange) -> str:
    """The way from the page to what the server is mounted at, as a relative URL."""
    target = exchange.request.target.partition("?")[0]
    if not target.startswith("/"):
        target = target.partition("://")[2]
    return "../" * (target.count("/") - 1) or "./"


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)
