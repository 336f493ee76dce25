"""StaticFiles: a folder, served.

    server.on_request += StaticFiles("/srv/www")                 # the whole server
    files = StaticFiles("assets", prefix="/static")              # or a part of it, from a handler:
    ...                                                          #     files(exchange)

Rules:

- GET and HEAD are answered, OPTIONS says so, anything else is 405. Conditions and ranges follow RFC 9110
  (semantics/conditional.py). A modification time before FIRST_STAMP is none (Nix, OSTree and reproducible images set 0 or
  1 for all files): such a file has no validators, and is always sent.
- Where `headers` name Access-Control-Allow-Origin, scripts of other origins may read: a preflight is answered, what is
  refused says so too, and they see the fields of EXPOSED.
- The root is looked up anew for each request: a link that is moved to another folder is followed.
- Nothing outside the root is served. A path is split first and decoded after, so an encoded slash is no separator;
  `.` and `..`, and what the system takes for a separator or a device, are no names: 404. What cannot be decoded, and
  NUL: 400. Empty segments are skipped. A redirect is relative, one decoded and quoted name: it works behind a proxy that
  mounts us elsewhere, and can never lead to another host.
- A symbolic link is followed if its target is in the root. Not by comparing paths before opening (a link may be put
  there in between): where the system has openat, every step is opened relative to the one before and refuses links;
  only a path that meets one is resolved, and its target is opened the same way. follow_symlinks=True follows all.
- Hidden files (a name that begins with a dot, in any part of the path) are neither served nor listed, since `.git`
  and `.env` are seldom meant to be; `.well-known` (RFC 8615) is served. hidden=True serves all.
- A folder answers with its index file, else its listing (403 if that is off); without its slash at the end it
  redirects there.
- Only regular files are opened for good; the open itself never waits (a FIFO without a writer would, for ever).
- A listing is made in slices of SLICE seconds, one in a turn of the loop.
- What is said of a file (validators, type) is remembered for as long as the system, asked each time, says the same of it.
- A file that lies compressed beside itself, `x.br` or `x.gz` beside `x` and not older, is sent so to a client that takes it.
- A small file is read and answered at once; a larger one is handed to the engine piece by piece, exactly as many bytes
  as were promised, whatever happens to the file meanwhile: if it got shorter the engine aborts the connection.

Not here: what a listing looks like (listing.py), content types (semantics/mediatypes.py), compressing answers (compression.py).
"""

from __future__ import annotations

import errno
import os
import re
import time
from stat import S_ISDIR, S_ISREG

from ...base.signal import require_callable
from ..semantics.codings import is_text, takes
from ..semantics.conditional import content_range, evaluate, multipart, stat_etag
from ..semantics.dates import http_date
from ..semantics.headers import Headers, check_field
from ..semantics.mediatypes import TYPES, system_type
from ..semantics.status import REASONS
from .listing import listing_steps, quote, read_steps, sort_of
from .states import CLOSED

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from io import FileIO
    from typing import Any, Callable, Dict, Generator, List, Mapping, Optional, Sequence, Tuple, Union

    from ..semantics.headers import HeadersLike
    from .exchange import Exchange

    Fields = List[Tuple[str, str]]
    Span = Tuple[int, int]


SMALL = 64 * 1024  # bytes: up to here a body goes out with its head: cheaper than sendfile
MOST_DESCRIBED = 256  # descriptions of files that are remembered
SLICE = 0.001  # seconds that a listing may hold the loop in one turn; its last step may take some more
FIRST_STAMP = 2  # seconds since the epoch: what is said to be older says nothing of when it was modified
EXPOSED = "Accept-Ranges, Allow, Content-Encoding, Content-Length, Content-Range, Date, ETag, Retry-After"
SHORT = 250  # characters of a path that is longer nowhere than a system takes in one go (1024 bytes)
PREFLIGHT_AGE = 3600  # seconds that browsers remember a preflight's answer


class Description:
    """What the head of an answer says of a file.

    `etag`: None for none; `modified`: seconds since the epoch, None for none; `kind`: the content type. `current`: the pairs of
    a 304; `fields`: those of the file itself, without its type.
    """

    __slots__ = ("etag", "modified", "kind", "current", "fields")

    def __init__(self, etag: Optional[str], modified: Optional[float], kind: str, cache: Optional[str]) -> None:
        self.etag: Optional[str] = etag
        self.modified: Optional[float] = modified
        self.kind: str = kind
        self.current: Fields = []
        if etag is not None:
            self.current.append(("ETag", etag))
        if cache is not None:
            self.current.append(("Cache-Control", cache))
        self.fields: Fields = [*self.current, ("Accept-Ranges", "bytes")]
        if modified is not None:
            self.fields.append(("Last-Modified", http_date(modified)))


class StaticFiles:
    """Serves the folder `root`. Call it with an exchange; it answers it, always.

    prefix            the path it is mounted at, such as "/static"; any other path is 404. `files(exchange, prefix=...)`
                      overrides it for one call.
    index             names tried, in this order, when a folder is asked for
    listing           False: a folder without an index is 403
    hidden            True: names that begin with a dot are served and listed like any other
    follow_symlinks   True: links may lead out of the root
    cache_control     the Cache-Control of files and redirects; by default caches ask each time whether they are current.
                      None: none, and then caches guess: a tenth of a file's age, a redirect for ever
    headers           pairs or a mapping, sent with every file, listing and redirect; those named Access-Control-*,
                      Cross-Origin-* and Timing-Allow-Origin with every answer. A Cache-Control here replaces cache_control
    types             content types by extension (".ext": "type/subtype"), any case, before the built-in ones
    charset           what `text/*` is said to be in; None: nothing is said
    precompressed     False: `x.br` and `x.gz` are files like any other, and are not sent in the place of `x`
    not_found         answers the exchange instead of a 404: with a page of your own, or a single-page app's entry

    Raises NotADirectoryError if `root` is no folder (one that vanishes later is 404), ValueError for headers that
    cannot be sent, or that each file has of its own.

    `root`: the folder's absolute path, which may be, or lead through, a link. `follow_symlinks`. `headers`: the pairs that are
    sent with every answer but refusals; `sharing`: those of them that go with refusals, too.

    A subclass that answers in another way overrides `send_file`, `send_folder`, `send_listing`, `refuse` or `refuse_for`: each
    answers the exchange, once. With a `send_file` of its own, precompressed files are not looked for.
    """

    __slots__ = ("root", "follow_symlinks", "headers", "sharing", "_preflight", "_mount", "_index", "_listing", "_hidden",
                 "_cache", "_types", "_charset", "_not_found", "_precompressed", "_described")

    def __init__(
        self, root: Union[str, bytes, os.PathLike[str]], *, prefix: str = "",
        index: Sequence[str] = ("index.html", "index.htm"), listing: bool = True, hidden: bool = False,
        follow_symlinks: bool = False, cache_control: Optional[str] = "no-cache", headers: HeadersLike = None,
        types: Optional[Mapping[str, str]] = None, charset: Optional[str] = "utf-8", precompressed: bool = True,
        not_found: Optional[Callable[[Exchange], Any]] = None,
    ) -> None:
        self.root: str = _absolute(os.fsdecode(root))
        if not os.path.isdir(self.root):
            raise NotADirectoryError(errno.ENOTDIR, "StaticFiles needs a folder that exists, this is none", self.root)
        self._mount = _names_of(prefix)
        self._index = (index,) if isinstance(index, str) else tuple(index)
        self._listing = listing
        self._hidden = hidden
        self.follow_symlinks: bool = follow_symlinks
        if cache_control is not None:
            check_field("Cache-Control", cache_control)
        given = Headers(headers)
        for name in _OWN:
            if name in given:
                raise ValueError("%s is told of each file by itself (`types`: content types)" % name)
        self._cache = None if "cache-control" in given else cache_control
        self.headers: Fields = [("X-Content-Type-Options", "nosniff"), *given.items()]
        self._preflight: Optional[Fields] = None
        if "access-control-allow-origin" in given:
            if "access-control-expose-headers" not in given:
                own = [name for name in given if not name.lower().startswith("access-control-")]
                self.headers.append(("Access-Control-Expose-Headers", ", ".join([EXPOSED, *dict.fromkeys(own)])))
            self._preflight = [field for field in (
                ("Access-Control-Allow-Methods", "GET, HEAD"), ("Access-Control-Max-Age", str(PREFLIGHT_AGE)))
                if field[0] not in given]
        self.sharing: Fields = [field for field in self.headers if field[0].lower().startswith(_SHARING)]
        self._types = dict(TYPES)
        for extension, kind in (types or {}).items():
            if extension[:1] != ".":
                raise ValueError("types are by extension, such as '.wasm', not %r" % extension)
            check_field("Content-Type", kind)
            self._types[extension.lower()] = kind
        self._charset = charset
        if not_found is not None:
            require_callable(not_found, "not_found")
        self._not_found = not_found
        self._precompressed = precompressed and type(self).send_file is StaticFiles.send_file
        self._described: Dict[Tuple[str, int, int, int], Description] = {}

    def __call__(self, exchange: Exchange, prefix: Optional[str] = None) -> None:
        """Answers the exchange with what its target names."""
        method = exchange.request.method
        if method not in ("GET", "HEAD"):
            if method == "OPTIONS":
                exchange.respond(204, headers=[_ALLOW, *self._options(exchange)])
            else:
                self.refuse(exchange, 405, _ALLOW)
            return
        mount = self._mount if prefix is None else _names_of(prefix)
        try:
            path, slash, query = split_target(exchange.request.target)
        except ValueError:
            self.refuse(exchange, 400)
            return
        names = path[len(mount):] if mount else path
        if (mount and path[:len(mount)] != mount) or not self._servable(names):
            self.refuse(exchange, 404)
            return
        try:
            fd, stat, name = self._locate(names, slash)
        except OSError as error:
            self.refuse_for(exchange, error)
            return
        if not S_ISDIR(stat.st_mode):
            if self._precompressed and self._send_compressed(exchange, [*names, name] if slash else names, stat):
                _close(fd)
            else:
                self.send_file(exchange, fd, stat, name)
        elif slash:
            self.send_folder(exchange, fd, names, "/" + "".join(name + "/" for name in mount), query or "")
        else:
            _close(fd)
            fields = [("Location", quote(path[-1]) + "/" + ("" if query is None else "?" + query)), *self.headers]
            if self._cache is not None:
                fields.append(("Cache-Control", self._cache))
            exchange.respond(301, headers=fields)

    def content_type(self, name: str) -> str:
        """The content type of a file of this name. What is compressed is served as such, not as what is inside."""
        extension = os.path.splitext(name)[1].lower()
        kind = self._types.get(extension) or system_type(extension)
        return kind + "; charset=" + self._charset if self._charset and kind.startswith("text/") else kind

    def _options(self, exchange: Exchange) -> Fields:
        """What the answer to OPTIONS has beside Allow: who may read; of a preflight also how he may ask."""
        headers = exchange.request.headers
        if self._preflight is None or "access-control-request-method" not in headers:
            return self.sharing
        fields = self.sharing + self._preflight
        if not any(name.lower() == "access-control-allow-headers" for name, _ in fields):
            # by name: "*" would leave out Authorization, and older browsers know no "*"
            fields.append(("Access-Control-Allow-Headers", ", ".join(headers.get_all("access-control-request-headers")) or "*"))
        return fields

    # answering: what a subclass may override

    def send_file(self, exchange: Exchange, fd: int, stat: os.stat_result, name: str) -> None:
        """Answers with an open file, or the part of it that was asked for, and closes `fd`. name: the file's own, no path."""
        self._send_file(exchange, fd, stat, name, [])

    def _send_compressed(self, exchange: Exchange, names: List[str], stat: os.stat_result) -> bool:
        """Answers with the file that lies compressed beside this one; False: nothing was done."""
        accepted = exchange.request.headers.get_all("accept-encoding")
        kind = self.content_type(names[-1]) if accepted else ""
        if not accepted or kind.startswith(_PACKED) and not is_text(kind):
            return False
        for coding, extension in _CODINGS:
            if not takes(coding, accepted):
                continue
            try:
                fd, packed = self.open_path([*names[:-1], names[-1] + extension])
            except OSError:  # none, or not for us
                continue
            if S_ISREG(packed.st_mode) and packed.st_size and packed.st_mtime >= stat.st_mtime:
                coded = [("Content-Encoding", coding), ("Vary", "Accept-Encoding")]
                self._send_file(exchange, fd, packed, names[-1], coded)
                return True
            _close(fd)
        return False

    def _send_file(self, exchange: Exchange, fd: int, stat: os.stat_result, name: str, coded: Fields) -> None:
        request = exchange.request
        now = time.time()
        size = stat.st_size
        file = None
        try:
            described = self._described.get((name, stat.st_mtime_ns, size, stat.st_ino))
            if described is None or stat.st_mtime > now:
                described = self._describe(name, stat, now)
            status, spans = evaluate(
                request.method, request.headers, etag=described.etag, last_modified=described.modified, size=size, now=now)
            if status == 412:
                self.refuse(exchange, 412)
                return
            if status == 416:
                self.refuse(exchange, 416, ("Content-Range", content_range(None, size)))
                return
            if status == 304:
                exchange.respond(304, headers=self.headers + described.current + coded[1:])
                return

            fields = self.headers + described.fields + coded
            kind, heads, tail, length = described.kind, [b""], b"", size
            if status == 200:
                spans = [(0, size)]
            elif len(spans) == 1:
                length = spans[0][1] - spans[0][0]
                fields.append(("Content-Range", content_range(spans[0], size)))
            else:
                kind, heads, tail, length = multipart(spans, size, kind)
            if request.method == "HEAD":  # respond() says what GET's would: a small one may be compressed
                if length <= SMALL:
                    exchange.respond(status, b"", kind, [*fields, ("Content-Length", str(length))])
                else:
                    self._begin(exchange, status, kind, length, fields)
                    exchange.end()
            elif length <= SMALL:
                try:
                    if len(spans) == 1:
                        body = _read(fd, *spans[0])
                    else:
                        body = b"".join(head + _read(fd, *span) for head, span in zip(heads, spans)) + tail
                except OSError as error:
                    self.refuse_for(exchange, error)
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

    def _describe(self, name: str, stat: os.stat_result, now: float) -> Description:
        """What is said of a file; remembered, but for one from the future, of which the next second says something else."""
        etag = modified = None
        if stat.st_mtime >= FIRST_STAMP:
            etag = stat_etag(stat)
            modified = min(stat.st_mtime, now)  # section 8.8.2.1: never later than the answer itself
        made = Description(etag, modified, self.content_type(name), self._cache)
        if stat.st_mtime <= now:
            if len(self._described) >= MOST_DESCRIBED:
                self._described.clear()
            self._described[name, stat.st_mtime_ns, stat.st_size, stat.st_ino] = made
        return made

    def _begin(self, exchange: Exchange, status: int, kind: str, length: int, fields: Fields) -> None:
        exchange.response.status = status
        headers = exchange.response.headers
        headers["Content-Type"] = kind
        headers["Content-Length"] = str(length)
        for field, value in fields:
            headers.add(field, value)

    def send_folder(
        self, exchange: Exchange, fd: int, names: List[str], root: str, query: str,
        send: Optional[Callable[[Exchange, bytes], Any]] = None,
    ) -> None:
        """Answers with the listing of an open folder, and closes `fd` (-1: the system does not open folders).

        names: the folder's path below the root. root: the path of a URL at which the root is mounted. query: raw. send: called
        with the exchange and the page, None for `send_listing`; for a large folder that is some turns of the loop later.
        """
        if not self._listing:
            _close(fd)
            self.refuse(exchange, 403)
            return
        self._make_listing(exchange, self._list(fd, names, root, query), send or self.send_listing)

    def _list(self, fd: int, names: List[str], root: str, query: str) -> Generator[None, None, bytes]:
        """Makes the page of a folder in small steps."""
        try:
            entries, more = yield from read_steps(
                fd if fd >= 0 and _SCANS_DESCRIPTORS else os.path.join(self.root, *names), hidden=self._hidden,
                follow=None if self.follow_symlinks else lambda name: self._is_inside([*names, name]))
        finally:
            _close(fd)
        steps = listing_steps(names, entries, sort=sort_of(query), root=root, more=more)
        del entries  # they are its own
        return (yield from steps)

    def _make_listing(self, exchange: Exchange, steps: Generator[None, None, bytes], send: Callable[..., Any]) -> None:
        """One slice of the steps; the last one sends the page."""
        count, began = 0, 0.0
        try:
            while True:
                next(steps)
                count += 1
                if not count % 32:  # most folders end before
                    now = time.perf_counter()
                    began = began or now
                    if now - began >= SLICE:
                        exchange.loop.call_soon(self._go_on, exchange, steps, send)
                        return
        except StopIteration as end:
            page = end.value
        except OSError as error:
            self.refuse_for(exchange, error)
            return
        send(exchange, page)

    def _go_on(self, exchange: Exchange, steps: Generator[None, None, bytes], send: Callable[..., Any]) -> None:
        if exchange.state is CLOSED:  # the client did not wait
            steps.close()
            return
        try:
            self._make_listing(exchange, steps, send)
        except Exception as exc:
            exchange.slot_failed(exc)

    def send_listing(self, exchange: Exchange, page: bytes) -> None:
        """Answers with `page`, a folder's listing as HTML."""
        exchange.respond(200, page, "text/html; charset=utf-8", [LISTING_POLICY, *self.headers])

    def refuse_for(self, exchange: Exchange, error: OSError) -> None:
        """Answers with the status that `error` comes to: 404, 403, 503, else 500."""
        status = _STATUS.get(error.errno or 0, 500)
        self.refuse(exchange, status, *([("Retry-After", "1")] if status == 503 else []))

    def refuse(self, exchange: Exchange, status: int, *fields: Tuple[str, str]) -> None:
        """Answers with `status`, which is no success, and these header fields beside."""
        if status == 404 and self._not_found is not None:
            self._not_found(exchange)
            return
        body = ("%d %s\n" % (status, REASONS[status])).encode("ascii")
        exchange.respond(status, body, "text/plain; charset=utf-8", [*fields, *self.sharing])

    # finding

    def _servable(self, names: List[str]) -> bool:
        for name in names:
            if not is_name(name) or (name[0] == "." and not self._hidden and name != ".well-known"):
                return False
        return True

    def _locate(self, names: List[str], slash: bool) -> Tuple[int, os.stat_result, str]:
        """Opens what the names stand for: a file, or a folder, or with a slash at the end that folder's index file.

        The descriptor is -1 for a folder where the system does not open those. Raises OSError.
        """
        if slash:
            for name in self._index:
                try:
                    fd, stat = self.open_path([*names, name])
                except OSError as error:
                    if _STATUS.get(error.errno or 0) != 404:
                        raise
                    continue
                if S_ISREG(stat.st_mode):
                    return fd, stat, name
                _close(fd)
        fd, stat = self.open_path(names)
        if slash and S_ISREG(stat.st_mode):
            _close(fd)
            raise FileNotFoundError(errno.ENOENT, "a file, but asked for as a folder")
        return fd, stat, names[-1] if names else ""

    def open_path(self, names: List[str]) -> Tuple[int, os.stat_result]:
        """(descriptor, stat) of a regular file or a folder below the root; -1 for a folder that the system does not open.

        For a subclass: names are not looked at, whether they are hidden or none at all (`is_name`). Raises OSError.
        """
        if _OPENS_AT and not self.follow_symlinks:
            try:
                fd = self._walk(names)
            except OSError as error:
                target = self._resolve(names) if error.errno in _MAYBE_A_LINK else names
                if target == names:
                    raise
                fd = self._walk(target)
        else:
            path = os.path.join(self.root, *(names if self.follow_symlinks else self._resolve(names)))
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
        """Opens by one openat a name, each refusing a link: nothing put there meanwhile can lead out of the root.

        The first step is the root and the first name together: there, too, a link is refused as the name alone.
        """
        root = self.root
        here: Optional[int] = None
        if names and len(root) + len(names[0]) < SHORT:
            first = root + names[0] if root.endswith("/") else root + "/" + names[0]
            if len(names) == 1:
                return os.open(first, _LAST)
            steps = [first, *names[1:]]
        else:
            here = os.open(root, _STEP)
            steps = [*names] or ["."]
        last = steps.pop()
        try:
            for name in steps:
                above, here = here, os.open(name, _STEP | _NO_LINK, dir_fd=here)
                if above is not None:
                    os.close(above)
            return os.open(last, _LAST, dir_fd=here)
        finally:
            if here is not None:
                os.close(here)

    def _resolve(self, names: List[str]) -> List[str]:
        """The names of what these names lead to, all links followed; FileNotFoundError if that is not in the root."""
        root = os.path.realpath(self.root)
        path = os.path.realpath(os.path.join(root, *names))
        if path == root:
            return []
        inside = root if root.endswith(os.sep) else root + os.sep
        if not os.path.normcase(path).startswith(os.path.normcase(inside)):
            raise FileNotFoundError(errno.ENOENT, "a link that leaves the root")
        return path[len(inside):].split(os.sep)

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
    if "%" not in path and "\0" not in path:
        return _names_of(path), path.endswith("/") or not path, query if mark else None
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


def _names_of(path: str) -> List[str]:
    return [name for name in path.split("/") if name]


def is_name(name: str, windows: bool = os.name == "nt") -> bool:
    """Whether this can be the name of one thing in a folder, and of nothing else."""
    if name in (".", "..") or "/" in name:
        return False
    # a drive, a stream, a separator; trailing dots and spaces are dropped there; devices are in every folder
    return not windows or not (re.search(_NOT_ON_WINDOWS, name) or re.fullmatch(_DEVICE, name.lower()))


# compiled by `re` at their first use: start-up is dear, and these are rare
_NOT_ON_WINDOWS = r'[\\:*?"<>|\x00-\x1f]|[. ]\Z'
_DEVICE = r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9\xb9\xb2\xb3]|lpt[0-9\xb9\xb2\xb3]) *(?:\..*)?"

_CODINGS = (("br", ".br"), ("gzip", ".gz"))
_PACKED = ("image/", "audio/", "video/")
_OWN = ("accept-ranges", "content-length", "content-range", "content-type", "etag", "last-modified", "location",
        "transfer-encoding")
_ALLOW = ("Allow", "GET, HEAD, OPTIONS")
_SHARING = ("access-control-", "cross-origin-", "timing-allow-origin")
# the second wall behind the escaping: a name that got through could run nothing
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
_PREADS = hasattr(os, "pread")
_SCANS_DESCRIPTORS = os.scandir in os.supports_fd
# O_NONBLOCK: opening a FIFO or a serial line does not wait.
_OPEN = (os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
         | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0))
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_LAST = _OPEN | _NO_LINK
# O_PATH: a folder on the way need not be readable, only passable
_STEP = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", 0)


def _absolute(path: str) -> str:
    """An absolute path, its links not followed; where it has "..", that is left to the system, since it may follow a link."""
    if ".." not in path:
        return os.path.abspath(path)
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _hand_over(exchange: Exchange, file: FileIO, heads: Sequence[bytes], spans: Sequence[Span], tail: bytes) -> None:
    """Queues the pieces of a body. The engine owns the file, and closes it, from the last piece on."""
    for head, span in zip(heads, spans):
        if head:
            exchange.send_owned(head)
        exchange.send_file(file, span[0], span[1] - span[0], close=span is spans[-1])
    if tail:
        exchange.send_owned(tail)
    exchange.end()


def _read(fd: int, start: int, stop: int) -> bytes:
    """These bytes of a file; OSError if it has them no more."""
    whole = _read_at(fd, stop - start, start)
    if len(whole) == stop - start:  # nearly always
        return whole
    parts = [whole]
    while whole and start + len(whole) < stop:
        start += len(whole)
        whole = _read_at(fd, stop - start, start)
        parts.append(whole)
    if not whole:
        raise OSError(errno.EAGAIN, "the file got shorter while it was read")
    return b"".join(parts)


def _read_at(fd: int, count: int, start: int) -> bytes:
    if _PREADS:
        return os.pread(fd, count, start)
    os.lseek(fd, start, os.SEEK_SET)
    return os.read(fd, count)
