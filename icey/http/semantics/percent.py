"""Percent-coding (RFC 3986 section 2). It never raises for a stray "%"."""

from __future__ import annotations

UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # section 2.3

_HEX = {b"%02x" % byte: bytes([byte]) for byte in range(256)}


def unquote(text: str) -> str:
    """Percent-decoded, as UTF-8; bytes that are not UTF-8 come as surrogates (`surrogateescape`), ready for file names."""
    if "%" not in text:
        return text
    first, *rest = text.encode("utf-8", "surrogateescape").split(b"%")
    out = [first]
    for piece in rest:
        byte = _HEX.get(piece[:2].lower())
        out += (b"%", piece) if byte is None else (byte, piece[2:])
    return b"".join(out).decode("utf-8", "surrogateescape")


def quote(text: str, safe: str = "/") -> str:
    """Percent-encoded as UTF-8, all but letters, digits, "-._~" and `safe`."""
    keep = UNRESERVED.union(safe.encode("ascii"))
    return "".join(chr(b) if b in keep else "%%%02X" % b for b in text.encode("utf-8", "surrogateescape"))
