"""Media types by file name extension: from a table for what browsers must get right, else from the system.

Not here: a media type and its parameters as a header has them (parameters.py).
"""

from __future__ import annotations

import os

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict

# What browsers must get right, the same on every machine; for the rest the standard library asks the system.
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


def system_type(extension: str) -> str:
    """The media type of an extension by the standard library. Imported here: it costs time, and a small target may lack it."""
    try:
        import mimetypes

        kind, encoding = mimetypes.guess_type("file" + extension)
    except ImportError:  # from Python 3.14 on, of what it leans on, when it is called
        return UNKNOWN_TYPE
    return UNKNOWN_TYPE if kind is None or encoding is not None else kind


def type_of(filename: str) -> str:
    """The media type of a file by its name, from the table alone; application/octet-stream for what is not in the table."""
    return TYPES.get(os.path.splitext(filename)[1].lower(), UNKNOWN_TYPE)
