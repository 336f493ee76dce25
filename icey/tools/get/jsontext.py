"""indented: JSON text laid out for people, one value a line.

Rule: only white space changes. Numbers, escapes, the order of keys and repeated keys stay as they were written: turning the
text into Python's values and back would change them.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Iterator, List, NoReturn

STEP = "  "
PIECE = 65536  # characters

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s"\[\]{},:]+').finditer


def indented(data: bytes) -> Iterator[bytes]:
    """`data`, JSON in UTF-8, -16 or -32, as pieces of UTF-8 with line ends and indentation. ValueError: it is not JSON."""
    text = data.decode(json.detect_encoding(data))
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return _joined(_laid_out(text))


def _laid_out(text: str) -> Iterator[str]:
    """The tokens of valid JSON, and the space between them."""
    margin, before = "\n", ":"
    for match in _TOKEN(text):
        token = match.group()
        if token in "]}":
            margin = margin[:-len(STEP)]
            yield token if before in "[{" else margin + token
        else:
            yield (margin if before in "[{," else "") + (": " if token == ":" else token)
            if token in "[{":
                margin += STEP
        before = token
    yield "\n"


def _joined(tokens: Iterator[str]) -> Iterator[bytes]:
    held: List[str] = []
    size = 0
    for token in tokens:
        held.append(token)
        size += len(token)
        if size >= PIECE:
            yield "".join(held).encode("utf-8")
            held, size = [], 0
    yield "".join(held).encode("utf-8")


def _refuse(name: str) -> NoReturn:
    raise ValueError("%s is no JSON" % name)
