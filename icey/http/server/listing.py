"""The page that shows what is in a folder: read the folder, sort it, write the HTML.

Rules:

- the page needs nothing else: its style is inside, there are no scripts, it follows the reader's light or dark mode;
- folders come first, whatever the order asked for (`?sort=` name, size or date, with `-` before it for the reverse);
- every name is escaped twice over, as text and as a link, whatever bytes it holds: a name is data of somebody else;
- links are relative, so that the page works behind a proxy that mounts it elsewhere;
- what cannot be served is not shown: devices, sockets, broken links, links the caller does not want followed;
- times are UTC and say so: the page cannot know the reader's clock;
- it is made in steps, a generator that yields between them: whoever goes through it decides how long one turn takes.

Not here: which folder, whether it may be shown, the answer's head (all in static.py).
"""

from __future__ import annotations

import os
import re
import time
from heapq import merge
from stat import S_ISDIR, S_ISREG

from ..semantics.percent import UNRESERVED

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Generator, List, Optional, Sequence, Tuple, Union


MAX_ENTRIES = 10_000  # more are not read: a page that long helps nobody, and reading holds the loop
RUN = 128  # entries that are sorted, or encoded, in one step
SORTS = ("name", "size", "date", "-name", "-size", "-date")


class Entry:
    """One line of a listing. `size` in bytes (0 for a folder), `mtime` in seconds since the epoch."""

    __slots__ = ("name", "folder", "size", "mtime")

    def __init__(self, name: str, folder: bool, size: int, mtime: float) -> None:
        self.name: str = name
        self.folder: bool = folder
        self.size: int = size
        self.mtime: float = mtime


def read_steps(
    where: Union[int, str], *, hidden: bool = False, follow: Optional[Callable[[str], bool]] = None,
    limit: int = MAX_ENTRIES,
) -> Generator[None, None, Tuple[List[Entry], bool]]:
    """The servable entries of a folder (a path or, where the system can, its descriptor), and whether there are more.

    `hidden`: with those whose name begins with a dot. `follow(name)` says whether the symbolic link of that name is
    to be shown; None shows all. Raises OSError if the folder cannot be read; an entry that cannot is left out.
    """
    entries: List[Entry] = []
    with os.scandir(where) as found:
        for item in found:
            yield
            name = item.name
            if name.startswith(".") and not hidden:
                continue
            try:
                if follow is not None and item.is_symlink() and not follow(name):
                    continue
                stat = item.stat()
            except OSError:
                continue  # vanished, a broken link, or a loop of links
            folder = S_ISDIR(stat.st_mode)
            if not folder and not S_ISREG(stat.st_mode):
                continue
            if len(entries) == limit:
                return entries, True
            entries.append(Entry(name, folder, 0 if folder else stat.st_size, stat.st_mtime))
    return entries, False


def sort_of(query: str) -> str:
    """The order a query string asks for: the first `sort=` with a known value, else "name"."""
    for field in query.split("&"):
        if field.startswith("sort=") and field[5:] in SORTS:
            return field[5:]
    return "name"


def sort_steps(entries: Sequence[Entry], sort: str = "name") -> Generator[None, None, List[Entry]]:
    """Sorted by one of SORTS, folders first; equals by name, and folders by name when sizes are asked for."""
    key, back = _KEYS[sort], sort == "-name"
    ordered: List[Entry] = []
    for folder in (True, False):
        runs: List[List[Tuple[Any, int, Entry]]] = []
        for number, entry in enumerate(entries):
            if entry.folder is folder:
                if not runs or len(runs[-1]) == RUN:
                    runs.append([])
                runs[-1].append((key(entry), number, entry))  # the number: entries do not compare
                yield
        for run in runs:
            run.sort(reverse=back)
            yield
        for item in merge(*runs, reverse=back):
            ordered.append(item[2])
            yield
    return ordered


def listing_steps(
    names: Sequence[str], entries: Sequence[Entry], *, sort: str = "name", root: str = "/", more: bool = False
) -> Generator[None, None, bytes]:
    """The page, UTF-8, for the folder reached by `names` from the one shown as `root` (which has no parent link)."""
    title = escape(root + "".join(name + "/" for name in names))
    ordered = yield from sort_steps(entries, sort)
    pieces: List[bytes] = []
    rows: List[str] = ['<tr><td><svg><use href="#u"/></svg><a href="../">Parent folder</a><td><td>'] if names else []
    count = len(ordered)
    del entries  # from here on entries go one by one: to free them all at once takes a while, too
    ordered.reverse()
    folders = total = 0
    while ordered:
        entry = ordered.pop()
        rows.append(_row(entry))
        folders += entry.folder
        total += entry.size
        if len(rows) == RUN:
            pieces.append(_encoded("\n".join(rows)))
            rows = []
        yield
    pieces.append(_encoded("\n".join(rows)))
    if more:
        note = "Only %d entries are shown; this folder has more." % count
    else:
        note = _count(folders, count - folders, total)
    before, _, after = (_PAGE % (title, _crumbs(names, root), _heads(sort), "\0", note)).partition("\0")  # names have none
    pieces[0] = _encoded(before) + pieces[0]
    pieces[-1] += _encoded(after)
    yield
    return b"\n".join(pieces)  # the one large copy


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a "?" for each byte of a name that is no UTF-8


def escape(text: str) -> str:
    """Text for HTML, inside an element or a quoted attribute; what cannot be shown becomes a visible sign."""
    return text.translate(_ESCAPES)


def quote(name: str) -> str:
    """A file name as one percent-encoded segment of a URL path: the bytes the file system knows it by."""
    return "".join(map(_QUOTED.__getitem__, os.fsencode(name)))


def natural_key(name: str) -> Tuple[List[Union[str, int]], str]:
    """Sorts file2 before file10, and a before B."""
    parts: List[Union[str, int]] = list(_DIGITS.split(name.casefold()))
    parts[1::2] = map(int, parts[1::2])
    return parts, name


def human_size(size: int) -> str:
    """`0 B`, `999 B`, `1.2 KiB`, `34 MiB`: two or three digits are what one reads."""
    if size < 1000:
        return "%d B" % size
    value, unit = size / 1024, 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return ("%.1f %s" if value < 9.95 else "%.0f %s") % (value, _UNITS[unit])


_KEYS: Dict[str, Callable[[Entry], Any]] = {
    "name": lambda entry: natural_key(entry.name),
    "size": lambda entry: (entry.size, natural_key(entry.name)),
    "-size": lambda entry: (-entry.size, natural_key(entry.name)),
    "date": lambda entry: (entry.mtime, natural_key(entry.name)),
    "-date": lambda entry: (-entry.mtime, natural_key(entry.name)),
}
_KEYS["-name"] = _KEYS["name"]

# the parts of the page

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DIGITS = re.compile("([0-9]+)")
_ORDINARY = re.compile("[A-Za-z0-9._~-]+").fullmatch
_QUOTED = [chr(octet) if octet in UNRESERVED else "%%%02X" % octet for octet in range(256)]

# By number: to read a character's name the compiler needs `unicodedata`, which some Pythons come without.
_ESCAPES = dict.fromkeys(range(0x80, 0xA0), "\ufffd")  # the replacement character
_ESCAPES.update({code: chr(0x2400 + code) for code in range(0x20)})  # the pictures of control characters
_ESCAPES.update(str.maketrans({"\x7f": "\u2421", "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}))


def _row(entry: Entry) -> str:
    # <bdi>: a name with right-to-left marks must not turn the rest of the line around
    name, slash = entry.name, "/" if entry.folder else ""
    href, text = (name, name) if _ORDINARY(name) else (quote(name), escape(name))  # most are: half the time of a page
    size = "" if entry.folder else '<data value="%d" title="%d bytes">%s</data>' % (
        entry.size, entry.size, human_size(entry.size))
    return '<tr><td><svg><use href="#%s"/></svg><a href="%s%s"><bdi>%s</bdi>%s</a><td>%s<td>%s' % (
        "d" if entry.folder else "f", href, slash, text, slash, size, _when(entry.mtime))


def _when(mtime: float) -> str:
    try:
        year, month, day, hour, minute = time.gmtime(mtime)[:5]
    except (OverflowError, OSError, ValueError):
        return ""  # a stamp beyond what the C library can tell
    shown = "%04d-%02d-%02d %02d:%02d" % (year, month, day, hour, minute)
    return '<time datetime="%sZ">%s</time>' % (shown.replace(" ", "T"), shown)


def _crumbs(names: Sequence[str], root: str) -> str:
    """The way here, every part a link but the last."""
    depth = len(names)
    crumbs = ['<a href="%s">%s</a>' % ("../" * depth or "./", escape(root))]
    for index, name in enumerate(names, 1):
        crumbs.append('<a href="%s"><bdi>%s</bdi>/</a>' % ("../" * (depth - index) or "./", escape(name)))
    return "".join(crumbs)


def _heads(sort: str) -> str:
    """The column heads, each a link that sorts by its column, or the other way round if that is the order now."""
    cells = []
    for key, label in (("name", "Name"), ("size", "Size"), ("date", "Modified (UTC)")):
        now = {key: ' aria-sort="ascending"', "-" + key: ' aria-sort="descending"'}.get(sort, "")
        cells.append('<th%s><a href="?sort=%s%s">%s</a>' % (now, "-" * (sort == key), key, label))
    return "".join(cells)


def _count(folders: int, files: int, total: int) -> str:
    parts = []
    if folders:
        parts.append("%d folder%s" % (folders, "s" * (folders != 1)))
    if files:
        parts.append("%d file%s, %s" % (files, "s" * (files != 1), human_size(total)))
    return " and ".join(parts) or "This folder is empty."


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Index of %s</title>
<style>
:root { color-scheme: light dark; --page: #fff; --ink: #1c1f23; --dim: #68707a; --line: #e6e8eb; --over: #f3f6fa;
  --link: #0b57c2; --folder: #d99a1c }
@media (prefers-color-scheme: dark) { :root { --page: #16181b; --ink: #e4e6e9; --dim: #979ea8; --line: #2b2f34;
  --over: #20242a; --link: #82b4ff; --folder: #e3b341 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1rem 3rem; max-width: 60rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif }
h1 { margin: 0 0 1.25rem; font-size: 1.35rem; font-weight: 600; overflow-wrap: anywhere }
a { color: var(--link); text-decoration: none }
a:hover, a:focus-visible { text-decoration: underline }
table { width: 100%%; border-collapse: collapse }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; color: var(--dim) }
th { font-weight: 500; font-size: .875rem }
th a { color: inherit }
th[aria-sort] a { color: var(--ink) }
th[aria-sort=ascending] a::after { content: " \\2191" }
th[aria-sort=descending] a::after { content: " \\2193" }
th:first-child, td:first-child { width: 100%%; text-align: left; white-space: normal; overflow-wrap: anywhere }
tbody tr:hover { background: var(--over) }
td:first-child { padding-left: 2.3rem }
td svg { width: 1.1rem; height: 1.1rem; margin: 0 .6rem 0 -1.7rem; vertical-align: -.18em; fill: currentColor }
body > svg { position: absolute; width: 0; height: 0 }
use[href="#d"] { color: var(--folder) }
footer { margin-top: 1rem; padding: 0 .6rem; color: var(--dim); font-size: .875rem }
@media (max-width: 40rem) { th:last-child, td:last-child { display: none } }
</style>
</head>
<body>
<svg aria-hidden="true">
<symbol id="d" viewBox="0 0 16 16"><path d="M1 4a1.5 1.5 0 0 1 1.5-1.5h3.2L7.4 4.3h6.1A1.5 1.5 0 0 1 15 5.8V12a1.5 1.5
 0 0 1-1.5 1.5h-11A1.5 1.5 0 0 1 1 12z"/></symbol>
<symbol id="f" viewBox="0 0 16 16"><path d="M4 1.5h5.2L13 5.3V13a1.5 1.5 0 0 1-1.5 1.5H4A1.5 1.5 0 0 1 2.5 13V3A1.5 1.5
 0 0 1 4 1.5zm0 1.2a.3.3 0 0 0-.3.3v10c0 .2.1.3.3.3h7.5a.3.3 0 0 0 .3-.3V6H8.5V2.7z"/></symbol>
<symbol id="u" viewBox="0 0 16 16"><path d="M8 2.5 13 7.6l-.9.9-3.5-3.5v8.5H7.4V5L3.9 8.5 3 7.6z"/></symbol>
</svg>
<h1>%s</h1>
<table>
<thead><tr>%s</thead>
<tbody>
%s
</tbody>
</table>
<footer>%s</footer>
</body>
</html>
"""
