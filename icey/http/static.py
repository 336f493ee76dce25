"""StaticFiles: a folder, served.

    server.on_request += StaticFiles("/srv/www")                 # the whole server
    files = StaticFiles("assets", prefix="/static")              # or a part of it, from a handler:
    ...                                                          #     files(exchange)

Rules:

- GET and HEAD are answered, OPTIONS says so, anything else is 405. Conditions and ranges follow RFC 9110
  (conditional.py has them).
- Nothing outside the root is served. A path is split first and decoded after, so an encoded slash is no separator;
  `.` and `..`, and what the system takes for a separator or a device, are no names: 404. What cannot be decoded, and
  NUL: 400. Empty segments are skipped, and a redirect is written from the decoded names, so that `//evil.example` can
  never come back as a Location.
- A symbolic link is followed if its target is in the root. Not by comparing paths before opening (a link may be put
  there in between): where the system has openat, every step is opened relative to the one before and refuses links;
  only a path that meets one is resolved, and its target is opened the same way. follow_symlinks=True follows all.
- Hidden files (a name that begins with a dot, in any part of the path) are neither served nor listed, since `.git`
  and `.env` are seldom meant to be; `.well-known` (RFC 8615) is served. hidden=True serves all.
- A folder answers with its index file, else its listing (403 if that is off); without its slash at the end it
  redirects there.
- Only regular files are opened for good; the open itself never waits (a FIFO without a writer would, for ever).
- A small file is read and answered at once; a larger one is handed to the engine piece by piece, exactly as many bytes
  as were promised, whatever happens to the file meanwhile: if it got shorter the engine aborts the connection.

Not here: compression, uploads, a cache of contents (the kernel has one).
"""

from __future__ import annotations

import errno
import os
import re
import time
from stat import S_ISDIR, S_ISREG

from .answer import http_date
from .conditional import content_range, evaluate, multipart, stat_etag
from .headers import Headers, check_field
from .listing import quote, read_folder, render_listing, sort_of
from .message import REASONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import FileIO
    from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

    from .exchange import Exchange
    from .headers import HeadersLike

    Fields = List[Tuple[str, str]]
    Span = Tuple[int, int]


SMALL = 16 * 1024  # bytes: up to here a body is read and sent in one go with its head

# What browsers must get right, the same on every machine; the rest is asked of the standard library and the system.
_TYPES = """
text/html html htm; application/xhtml+xml xhtml; text/css css; text/javascript js mjs; application/json json map
application/ld+json jsonld; application/manifest+json webmanifest; application/wasm wasm; application/xml xml xsl
application/atom+xml atom; application/rss+xml rss; text/markdown md; text/csv csv; text/calendar ics; text/vtt vtt
text/plain txt text log ini cfg conf toml yaml yml rst py pyi sh bat c h cc cpp hpp cs go rs java kt rb pl lua sql diff
image/svg+xml svg; image/png png; image/apng apng; image/jpeg jpg jpeg; image/gif gif; image/webp webp; image/avif avif
image/jxl jxl; image/x-icon ico; image/bmp bmp; font/woff woff; font/woff2 woff2; font/ttf ttf; font/otf otf
audio/mpeg mp3; audio/mp4 m4a; audio/aac aac; audio/ogg ogg oga opus; audio/flac flac; audio/wav wav; audio/webm weba
video/mp4 mp4 m4v; video/webm webm; video/ogg ogv; video/quicktime mov; video/matroska mkv; video/mp2t ts
application/vnd.apple.mpegurl m3u8; application/pdf pdf; application/epub+zip epub; application/zip zip whl
application/gzip gz tgz svgz; application/x-bzip2 bz2; application/x-xz xz; application/zstd zst; application/x-tar tar
application/x-7z-compressed 7z; application/octet-stream bin br iso img exe
"""
TYPES: Dict[str, str] = {
    "." + extension: kind for kind, *extensions in map(str.split, _TYPES.strip().replace("\n", ";").split(";"))
    for extension in extensions
}
UNKNOWN_TYPE = "application/octet-stream"


class StaticFiles:
    """Serves the folder `root`. Call it with an exchange; it answers it, always.

    prefix            the path it is mounted at, such as "/static"; any other path is 404. `files(exchange, prefix=...)`
                      overrides it for one call.
    index             names tried, in this order, when a folder is asked for
    listing           False: a folder without an index is 403
    hidden            True: names that begin with a dot are served and listed like any other
    follow_symlinks   True: links may lead out of the root
    cache_control     the Cache-Control of files; None: none, so that browsers ask again with the validators they have
    headers           pairs or a mapping, sent with every file, listing and redirect
    types             content types by extension (".ext": "type/subtype"), before the built-in ones
    charset           what `text/*` is said to be in; None: nothing is said
    not_found         called with the exchange instead of a 404: a page of your own, or a single-page app's entry

    Raises NotADirectoryError if `root` is no folder (one that vanishes later is 404), ValueError for headers that
    cannot be sent.
    """

    __slots__ = ("root", "_inside", "_prefix", "_index", "_listing", "_hidden", "_follow", "_cache", "_headers",
                 "_types", "_charset", "_not_found")

    def __init__(
        self, root: Union[str, bytes, os.PathLike[str]], *, prefix: str = "",
        index: Sequence[str] = ("index.html", "index.htm"), listing: bool = True, hidden: bool = False,
        follow_symlinks: bool = False, cache_control: Optional[str] = None, headers: HeadersLike = None,
        types: Optional[Mapping[str, str]] = None, charset: Optional[str] = "utf-8",
        not_found: Optional[Callable[[Exchange], Any]] = None,
    ) -> None:
        self.root = os.path.realpath(os.fsdecode(root))
        if not os.path.isdir(self.root):
            raise NotADirectoryError(errno.ENOTDIR, "StaticFiles needs a folder that exists, this is none", self.root)
        self._inside = self.root if self.root.endswith(os.sep) else self.root + os.sep
        self._prefix = prefix
        self._index = (index,) if isinstance(index, str) else tuple(index)
        self._listing = listing
        self._hidden = hidden
        self._follow = follow_symlinks
        self._cache = cache_control
        if cache_control is not None:
            check_field("Cache-Control", cache_control)
        self._headers: Fields = [("X-Content-Type-Options", "nosniff")]
        self._headers += Headers(headers).items()
        self._types = {**TYPES, **(types or {})}
        self._charset = charset
        self._not_found = not_found

    def __call__(self, exchange: Exchange, prefix: Optional[str] = None) -> None:
        """Answer the exchange with what its target names."""
        method = exchange.request.method
        if method not in ("GET", "HEAD"):
            if method == "OPTIONS":
                exchange.respond(204, headers=[_ALLOW])
            else:
                self._refuse(exchange, 405, _ALLOW)
            return
        mount = [name for name in (self._prefix if prefix is None else prefix).split("/") if name]
        try:
            path, slash, query = split_target(exchange.request.target)
        except ValueError:
            self._refuse(exchange, 400)
            return
        names = path[len(mount):]
        if path[:len(mount)] != mount or not all(map(self._servable, names)):
            self._refuse(exchange, 404)
            return
        try:
            fd, stat, name = self._locate(names, slash)
        except OSError as error:
            self._refuse_for(exchange, error)
            return
        if not S_ISDIR(stat.st_mode):
            self._send(exchange, fd, stat, name)
        elif slash:
            self._show(exchange, fd, names, "/" + "".join(name + "/" for name in mount), query or "")
        else:
            _close(fd)
            location = "/%s/" % "/".join(map(quote, path)) + ("" if query is None else "?" + query)
            exchange.respond(301, headers=[("Location", location), *self._headers])

    def content_type(self, name: str) -> str:
        """The content type of a file of this name. What is compressed is served as such, not as what is inside."""
        extension = os.path.splitext(name)[1].lower()
        kind = self._types.get(extension) or _system_type(extension)
        return kind + "; charset=" + self._charset if self._charset and kind.startswith("text/") else kind

    # -- answering ----------------------------------------------------------------------------------------------------

    def _send(self, exchange: Exchange, fd: int, stat: os.stat_result, name: str) -> None:
        """Answer with an open file, or the part of it that was asked for. The descriptor is closed by the end."""
        request = exchange.request
        now = time.time()
        size, etag = stat.st_size, stat_etag(stat)
        # section 8.8.2.1: never later than the answer itself (and no system can tell the date of every stamp)
        modified = min(max(stat.st_mtime, 0.0), now)
        file = None
        try:
            status, spans = evaluate(
                request.method, request.headers, etag=etag, last_modified=modified, size=size, now=now)
            if status == 412:
                self._refuse(exchange, 412)
                return
            if status == 416:
                self._refuse(exchange, 416, ("Content-Range", content_range(None, size)))
                return
            fields = [("ETag", etag), *self._headers]
            if self._cache is not None:
                fields.append(("Cache-Control", self._cache))
            if status == 304:
                exchange.respond(304, headers=fields)
                return

            fields += [("Last-Modified", http_date(modified)), ("Accept-Ranges", "bytes")]
            kind, heads, tail, length = self.content_type(name), [b""], b"", size
            if status == 200:
                spans = [(0, size)]
            elif len(spans) == 1:
                length = spans[0][1] - spans[0][0]
                fields.append(("Content-Range", content_range(spans[0], size)))
            else:
                kind, heads, tail, length = multipart(spans, size, kind)
            if request.method == "HEAD":
                self._begin(exchange, status, kind, length, fields)
                exchange.end()
            elif length <= SMALL:
                try:
                    body = b"".join(head + _read(fd, *span) for head, span in zip(heads, spans)) + tail
                except OSError as error:
                    self._refuse_for(exchange, error)
                    return
                exchange.respond(status, body, kind, fields)
            else:
                file = open(fd, "rb", buffering=0)  # from here on the descriptor is the file's
                self._begin(exchange, status, kind, length, fields)
                _hand_over(exchange, file, heads, spans, tail)
        except BaseException:
            if file is not None:
                file.close()
            raise
        finally:
            if file is None:
                os.close(fd)

    def _begin(self, exchange: Exchange, status: int, kind: str, length: int, fields: Fields) -> None:
        exchange.response.status = status
        headers = exchange.response.headers
        headers["Content-Type"] = kind
        headers["Content-Length"] = str(length)
        for field, value in fields:
            headers.add(field, value)

    def _show(self, exchange: Exchange, fd: int, names: List[str], root: str, query: str) -> None:
        """Answer with the listing of an open folder. The descriptor is closed by the end."""
        if not self._listing:
            _close(fd)
            self._refuse(exchange, 403)
            return
        try:
            entries, more = read_folder(
                fd if fd >= 0 and _SCANS_DESCRIPTORS else os.path.join(self.root, *names), hidden=self._hidden,
                follow=None if self._follow else lambda name: self._is_inside([*names, name]))
        except OSError as error:
            self._refuse_for(exchange, error)
            return
        finally:
            _close(fd)
        self._send_listing(exchange, render_listing(names, entries, sort=sort_of(query), root=root, more=more))

    def _send_listing(self, exchange: Exchange, page: bytes) -> None:
        exchange.respond(200, page, "text/html; charset=utf-8", [LISTING_POLICY, *self._headers])

    def _refuse_for(self, exchange: Exchange, error: OSError) -> None:
        status = _STATUS.get(error.errno or 0, 500)
        self._refuse(exchange, status, *([("Retry-After", "1")] if status == 503 else []))

    def _refuse(self, exchange: Exchange, status: int, *fields: Tuple[str, str]) -> None:
        if status == 404 and self._not_found is not None:
            self._not_found(exchange)
            return
        body = ("%d %s\n" % (status, REASONS[status])).encode("ascii")
        exchange.respond(status, body, "text/plain; charset=utf-8", list(fields))

    # -- finding ------------------------------------------------------------------------------------------------------

    def _servable(self, name: str) -> bool:
        return is_name(name) and (self._hidden or not name.startswith(".") or name == ".well-known")

    def _locate(self, names: List[str], slash: bool) -> Tuple[int, os.stat_result, str]:
        """Open what the names stand for: a file, or a folder, or with a slash at the end that folder's index file.

        The descriptor is -1 for a folder where the system does not open those. Raises OSError.
        """
        if slash:
            for name in self._index:
                try:
                    fd, stat = self._open([*names, name])
                except OSError as error:
                    if _STATUS.get(error.errno or 0) != 404:
                        raise
                    continue
                if S_ISREG(stat.st_mode):
                    return fd, stat, name
                _close(fd)
        fd, stat = self._open(names)
        if slash and S_ISREG(stat.st_mode):
            _close(fd)
            raise FileNotFoundError(errno.ENOENT, "a file, but asked for as a folder")
        return fd, stat, names[-1] if names else ""

    def _open(self, names: List[str]) -> Tuple[int, os.stat_result]:
        """Open a regular file or a folder below the root."""
        if _OPENS_AT and not self._follow:
            try:
                fd = self._walk(names)
            except OSError as error:
                target = self._resolve(names) if error.errno in _MAYBE_A_LINK else names
                if target == names:
                    raise
                fd = self._walk(target)
        else:
            path = os.path.join(self.root, *(names if self._follow else self._resolve(names)))
            if not _OPENS_FOLDERS:
                stat = os.stat(path)
                if S_ISDIR(stat.st_mode):
                    return -1, stat
            fd = os.open(path, _OPEN)
        try:
            stat = os.fstat(fd)
            if not S_ISREG(stat.st_mode) and not S_ISDIR(stat.st_mode):
                raise FileNotFoundError(errno.ENOENT, "neither a file nor a folder")
        except OSError:
            _close(fd)
            raise
        return fd, stat

    def _walk(self, names: List[str]) -> int:
        """Open by one openat a name, each refusing a link: nothing put there meanwhile can lead out of the root."""
        here = os.open(self.root, _STEP)
        try:
            for name in names[:-1]:
                above, here = here, os.open(name, _STEP | os.O_NOFOLLOW, dir_fd=here)
                os.close(above)
            return os.open(names[-1] if names else ".", _OPEN | os.O_NOFOLLOW, dir_fd=here)
        finally:
            os.close(here)

    def _resolve(self, names: List[str]) -> List[str]:
        """The names of what these names lead to, all links followed; FileNotFoundError if that is not in the root."""
        path = os.path.realpath(os.path.join(self.root, *names))
        if path == self.root:
            return []
        if not os.path.normcase(path).startswith(os.path.normcase(self._inside)):
            raise FileNotFoundError(errno.ENOENT, "a link that leaves the root")
        return path[len(self._inside):].split(os.sep)

    def _is_inside(self, names: List[str]) -> bool:
        try:
            self._resolve(names)
        except OSError:
            return False
        return True


def split_target(target: str) -> Tuple[List[str], bool, Optional[str]]:
    """A request target as (decoded names of its path, whether it ends in a slash, raw query or None).

    ValueError if an escape is broken or stands for NUL. Names are as the file system gives them (os.fsdecode).
    """
    if not target.startswith("/"):
        target = re.sub("^[A-Za-z][A-Za-z0-9+.-]*://[^/?]*", "", target)
    path, mark, query = target.partition("?")
    names = []
    for part in path.split("/"):
        if "%" in part:
            if re.search("%(?![0-9A-Fa-f]{2})", part):
                raise ValueError("a percent sign without two hexadecimal digits")
            part = os.fsdecode(re.sub(
                b"%(..)", lambda match: bytes.fromhex(match.group(1).decode()), part.encode("ascii")))
        if "\0" in part:
            raise ValueError("no file name contains NUL")
        if part:
            names.append(part)
    return names, path.endswith("/") or not path, query if mark else None


def is_name(name: str, windows: bool = os.name == "nt") -> bool:
    """Whether this can be the name of one thing in a folder, and of nothing else."""
    if name in (".", "..") or "/" in name:
        return False
    # a drive, a stream, a separator; trailing dots and spaces are dropped there; devices are in every folder
    return not windows or not (re.search(_NOT_ON_WINDOWS, name) or re.fullmatch(_DEVICE, name.lower()))


# Patterns are compiled, and then remembered, by `re` at their first use: start-up is dear, and these are rare
_NOT_ON_WINDOWS = r'[\\:*?"<>|\x00-\x1f]|[. ]\Z'
_DEVICE = r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9\xb9\xb2\xb3]|lpt[0-9\xb9\xb2\xb3]) *(?:\..*)?"

_ALLOW = ("Allow", "GET, HEAD, OPTIONS")
# the second wall behind the escaping: even a name that got through could load and run nothing
LISTING_POLICY = ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'")
_STATUS = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL,
                     errno.EILSEQ, errno.ENXIO, errno.ENODEV, getattr(errno, "ESTALE", errno.ENOENT)), 404),
    **dict.fromkeys((errno.EACCES, errno.EPERM), 403),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EBUSY), 503),
}
# What openat says to a link it must not follow: ELOOP, EMLINK on FreeBSD, ENOTDIR with O_DIRECTORY on Linux
_MAYBE_A_LINK = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR)

_OPENS_AT = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW") and hasattr(os, "O_DIRECTORY")
_OPENS_FOLDERS = os.name != "nt"
_SCANS_DESCRIPTORS = os.scandir in os.supports_fd
# O_NONBLOCK: opening a FIFO or a serial line does not wait. O_CLOEXEC is what Python opens with anyway.
_OPEN = (os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
         | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0))
# O_PATH: a folder on the way need not be readable, only passable
_STEP = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", 0)


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _hand_over(exchange: Exchange, file: FileIO, heads: Sequence[bytes], spans: Sequence[Span], tail: bytes) -> None:
    """Queue the pieces of a body. The engine owns the file, and closes it, from the last piece on."""
    for head, span in zip(heads, spans):
        if head:
            exchange.send_owned(head)
        exchange.send_file(file, span[0], span[1] - span[0], close=span is spans[-1])
    if tail:
        exchange.send_owned(tail)
    exchange.end()


def _read(fd: int, start: int, stop: int) -> bytes:
    """These bytes of a file; OSError if it has them no more."""
    os.lseek(fd, start, os.SEEK_SET)
    parts = []
    while start < stop:
        part = os.read(fd, stop - start)
        if not part:
            raise OSError(errno.EAGAIN, "the file got shorter while it was read")
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _system_type(extension: str) -> str:
    """What the standard library makes of an extension. Imported here: it costs time, and a small target may lack it."""
    try:
        import mimetypes
    except ImportError:
        return UNKNOWN_TYPE
    kind, encoding = mimetypes.guess_type("file" + extension)
    return UNKNOWN_TYPE if kind is None or encoding is not None else kind
