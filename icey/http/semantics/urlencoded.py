"""application/x-www-form-urlencoded, read as browsers do it (WHATWG URL, section 5): a form, or a request's query.

    parse_urlencoded(b"a=1&b=x+y")          # [("a", "1"), ("b", "x y")]

Rules: nothing is malformed: a stray "%" stays, bytes that are not UTF-8 become U+FFFD, a piece without "=" is a name without a
value, empty pieces are skipped. The order is kept, and so are repeated names.

Not here: reading while the bytes come (pairreader.py), writing (urlencoding.py), percent-coding in URLs (url.py).
"""

from __future__ import annotations

from ...base.errors import TooLarge

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Iterator, List, Optional, Tuple, Union

    Octets = Union[bytes, bytearray, memoryview]

_DECODED = {b"%02x" % byte: bytes([byte]) for byte in range(256)}


def parse_urlencoded(
    data: Union[Octets, str], *, max_fields: Optional[int] = 1000, encoding: str = "utf-8"
) -> List[Tuple[str, str]]:
    """The (name, value) pairs of `data`, a body or a query. encoding: of the bytes. TooLarge past `max_fields` pairs."""
    octets = data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data)
    pieces = [piece for piece in octets.split(b"&") if piece]
    if max_fields is not None and len(pieces) > max_fields:
        raise TooLarge("more than %d fields" % max_fields)
    return [(name.decode(encoding, "replace"), value.decode(encoding, "replace")) for name, value in map(split_pair, pieces)]


def split_pair(piece: bytes) -> Tuple[bytes, bytes]:
    """Name and value of one piece, decoded."""
    name, _, value = piece.partition(b"=")
    return _decoded(name), _decoded(value)


class Params:
    """The fields of a query, decoded. `p[name]` is the first value (KeyError without one). Names are case-sensitive."""

    __slots__ = ("_pairs",)

    def __init__(self, query: str) -> None:
        self._pairs = parse_urlencoded(query, max_fields=None)  # the limit on a target bounds them

    def get(self, name: str, default: Any = None) -> Any:
        """The first value of `name`, or `default`."""
        return next((value for key, value in self._pairs if key == name), default)

    def get_all(self, name: str) -> List[str]:
        """All values of `name`, in order."""
        return [value for key, value in self._pairs if key == name]

    def items(self) -> List[Tuple[str, str]]:
        """All (name, value) pairs, in order."""
        return list(self._pairs)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return str(value)

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self._pairs)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, _ in self._pairs])

    def __len__(self) -> int:
        return len(self._pairs)

    def __repr__(self) -> str:
        return "Params(%r)" % self._pairs


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
