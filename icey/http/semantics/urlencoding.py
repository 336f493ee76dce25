"""Writes application/x-www-form-urlencoded, as browsers do it (WHATWG URL, section 5).

    urlencode([("a", "1"), ("b", "x y")])   b"a=1&b=x+y"

Not here: reading (urlencoded.py), percent-coding in URLs (url.py).
"""

from __future__ import annotations

from .headers import pairs_of

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Iterable, Mapping, Tuple, Union

    Fields = Union[Mapping[str, Any], Iterable[Tuple[str, Any]]]

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._")
_ENCODED = [bytes([byte]) if byte in _PLAIN else b"+" if byte == 0x20 else b"%%%02X" % byte for byte in range(256)]


def urlencode(fields: Fields) -> bytes:
    """Pairs, or a mapping, as bytes. Names and values: str (encoded as UTF-8), bytes, or int; else TypeError."""
    return b"&".join(_encoded(name) + b"=" + _encoded(value) for name, value in pairs_of(fields))


def octets_of(value: Any) -> bytes:
    """A name or a value as bytes: str as UTF-8, an int in decimal, bytes-like as it is; else TypeError."""
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return b"%d" % value
    raise TypeError("a form's value is str, bytes or int, not %r: say what it is to look like, str(value)" % (value,))


def _encoded(value: Any) -> bytes:
    return b"".join(map(_ENCODED.__getitem__, octets_of(value)))
