"""application/x-www-form-urlencoded, both directions, as browsers do it (WHATWG URL, section 5).

    parse_urlencoded(b"a=1&b=x+y")          [("a", "1"), ("b", "x y")]; also for a request's query
    urlencode([("a", "1"), ("b", "x y")])   b"a=1&b=x+y"

Rules: nothing is malformed: a stray "%" stays, what is not UTF-8 becomes U+FFFD, a piece without "=" is a name without a
value, empty pieces are skipped. Order and repeats are kept. `PairReader` does it as the bytes come.
"""

from __future__ import annotations

from ..base.errors import TooLarge
from .headers import pairs_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, List, Mapping, Optional, Tuple, Union

    Octets = Union[bytes, bytearray, memoryview]
    Fields = Union[Mapping[str, Any], Iterable[Tuple[str, Any]]]

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._")
_ENCODED = [bytes([byte]) if byte in _PLAIN else b"+" if byte == 0x20 else b"%%%02X" % byte for byte in range(256)]
_DECODED = {b"%02x" % byte: bytes([byte]) for byte in range(256)}


def parse_urlencoded(
    data: Union[Octets, str], *, max_fields: Optional[int] = 1000, encoding: str = "utf-8"
) -> List[Tuple[str, str]]:
    """The (name, value) pairs of `data`, a body or a query. encoding: what the bytes are. TooLarge past `max_fields`."""
    octets = data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data)
    pieces = [piece for piece in octets.split(b"&") if piece]
    if max_fields is not None and len(pieces) > max_fields:
        raise TooLarge("more than %d fields" % max_fields)
    return [(name.decode(encoding, "replace"), value.decode(encoding, "replace")) for name, value in map(split_pair, pieces)]


def urlencode(fields: Fields) -> bytes:
    """The bytes of pairs, or of a mapping. Names and values: str (as UTF-8), bytes, or int; else TypeError."""
    return b"&".join(_encoded(name) + b"=" + _encoded(value) for name, value in pairs_of(fields))


def split_pair(piece: bytes) -> Tuple[bytes, bytes]:
    """Name and value of one piece, decoded."""
    name, _, value = piece.partition(b"=")
    return _decoded(name), _decoded(value)


def octets_of(value: Any) -> bytes:
    """A name or a value as bytes: str as UTF-8, an int in decimal, bytes-like as it is; else TypeError."""
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return b"%d" % value
    raise TypeError("a form's value is str, bytes or int, not %r: say what it is to look like, str(value)" % (value,))


class PairReader:
    """Pairs as they come: `feed` and `end` call `on_pair(name, value)`, bytes each.

    max_size: bytes of a name and its value together; TooLarge past it, as soon as that is sure.
    """

    __slots__ = ("_on_pair", "_max_size", "_held")

    def __init__(self, on_pair: Callable[[bytes, bytes], Any], max_size: Optional[int] = None) -> None:
        self._on_pair = on_pair
        self._max_size = max_size
        self._held = bytearray()  # of a piece that goes on

    def feed(self, data: Octets) -> None:
        """The next bytes."""
        first, *others = bytes(data).split(b"&")
        self._held += first
        for piece in others:
            self._pair()
            self._held += piece
        if self._max_size is not None and len(self._held) > 3 * self._max_size + 1:  # each octet may be three, "%41"
            self._too_large()

    def end(self) -> None:
        """No more bytes."""
        self._pair()

    def _pair(self) -> None:
        if self._held:
            piece, self._held = bytes(self._held), bytearray()
            name, value = split_pair(piece)
            if self._max_size is not None and len(name) + len(value) > self._max_size:
                self._too_large()
            self._on_pair(name, value)

    def _too_large(self) -> None:
        raise TooLarge("a field over %d bytes" % (self._max_size or 0))


def _decoded(text: bytes) -> bytes:
    text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text
    first, *rest = text.split(b"%")
    out = [first]
    for piece in rest:
        octet = _DECODED.get(piece[:2].lower())
        out += (b"%", piece) if octet is None else (octet, piece[2:])
    return b"".join(out)


def _encoded(value: Any) -> bytes:
    return b"".join(map(_ENCODED.__getitem__, octets_of(value)))
