"""Content codings: whether a client takes one (Accept-Encoding, RFC 9110 section 12.5.3), and what is worth being coded.

Not here: the coding itself (server/compression.py, client/decoding.py).
"""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Iterable, Optional

_TEXTS = frozenset(("application/json", "application/javascript", "application/xml", "application/manifest+json",
                    "application/x-javascript", "application/x-ndjson"))


def takes(coding: str, accepted: Iterable[str]) -> bool:
    """Whether a client that sent these Accept-Encoding fields takes `coding`, such as "gzip"; not where it sent none."""
    found = {}
    for item in reversed(",".join(accepted).lower().split(",")):  # of a name that comes twice the first counts
        name, _, parameter = item.partition(";")
        found[name.strip()] = parameter
    for name in (coding, "x-" + coding, "*"):
        if name in found:
            return _weight(found[name]) > 0
    return False


def _weight(parameter: str) -> float:
    """The q of an element (section 12.4.2): 1 where there is none, 0 where it is malformed."""
    name, _, value = parameter.partition("=")
    if not name.strip():
        return 1.0
    try:
        return float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0


def is_text(content_type: Optional[str]) -> bool:
    """Whether what has this Content-Type gets much shorter by being coded: text, JSON, JavaScript, XML, SVG."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in _TEXTS or kind.endswith(("+json", "+xml"))
