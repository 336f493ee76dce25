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

from .conditional import content_range, evaluate, format_date, multipart, stat_etag
from .listing import quote, read_folder, render_listing, sort_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Mapping, NoReturn, Optional, Sequence, Tuple, Union

    Fields = List[Tuple[str, str]]
    Span = Tuple[int, int]


SMALL = 16 * 1024  # bytes: up to here a body is read and sent in one go with its head

# What browsers must get right, the same on every machine; for the rest the standard library asks the system's tables.
TYPES: Dict[str, str] = dict(pair.split() for pair in """
.html text/html
.htm text/html
.xhtml application/xhtml+xml
.css text/css
.js text/javascript
.mjs text/javascript
.json application/json
.jsonld application/ld+json
.map application/json
.webmanifest application/manifest+json
.wasm application/wasm
.xml application/xml
.atom application/atom+xml
.rss application/rss+xml
.txt text/plain
.text text/plain
.log text/plain
.ini text/plain
.conf text/plain
.toml text/plain
.yaml text/plain
.yml text/plain
.md text/markdown
.rst text/plain
.py text/plain
.sh text/plain
.c text/plain
.h text/plain
.csv text/csv
.ics text/calendar
.vtt text/vtt
.svg image/svg+xml
.png image/png
.apng image/apng
.jpg image/jpeg
.jpeg image/jpeg
.gif image/gif
.webp image/webp
.avif image/avif
.jxl image/jxl
.ico image/x-icon
.bmp image/bmp
.woff font/woff
.woff2 font/woff2
.ttf font/ttf
.otf font/otf
.mp3 audio/mpeg
.m4a audio/mp4
.aac audio/aac
.ogg audio/ogg
.oga audio/ogg
.opus audio/ogg
.flac audio/flac
.wav audio/wav
.weba audio/webm
.mp4 video/mp4
.m4v video/mp4
.webm video/webm
.ogv video/ogg
.mov video/quicktime
.mkv video/matroska
.m3u8 application/vnd.apple.mpegurl
.ts video/mp2t
.pdf application/pdf
.epub application/epub+zip
.zip application/zip
.whl application/zip
.gz application/gzip
.tgz application/gzip
.svgz application/gzip
.bz2 application/x-bzip2
.xz application/x-xz
.zst application/zstd
.br application/octet-stream
.tar application/x-tar
.7z application/x-7z-compressed
.bin application/octet-stream
""".strip().splitlines())
UNKNOWN_TYPE = "application/octet-stream"
