"""Decoder (optional: needs `zlib`): a body's content codings undone, piece by piece (RFC 9110 section 8.4.1).

    decoder = decoder_for("gzip", most=64 << 20)     # None: nothing to undo, or a coding that is not known
    for piece in decoder.feed(data): ...
    decoder.end()

Rules: at most 64 KiB are decoded at a time, and `most` in all: a small body that unfolds into a huge one (a bomb) is an error
before it is in memory. A truncated or damaged one is BadResponse. "deflate" is zlib's format; the bare one that some servers
send is recognised by its first byte.
"""

from __future__ import annotations

import zlib

from ..base.errors import BadResponse
from .grammar import tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Optional

ACCEPTED = "gzip, deflate"
PIECE = 65536
MOST_MEMBERS = 1024  # of a gzip body: empty ones cost time and give nothing
MOST_CODINGS = 5  # one over the other: each may unfold a thousandfold


class Decoder:
    """One coding, "gzip" or "deflate"; behind it `inner`, the decoder of the coding applied before, if any."""

    def __init__(self, coding: str, most: Optional[int], inner: Optional[Decoder] = None) -> None:
        self._coding = coding
        self._most = most
        self._inner = inner
        self._stream: Any = None
        self._decoded = 0
        self._members = 0

    def feed(self, data: Any) -> Iterator[bytes]:
        """What `data` decodes to, in pieces of at most 64 KiB, decoded when asked for. BadResponse: damaged, or too much."""
        return self._pieces(bytes(data))

    def end(self) -> None:
        """The body has ended; BadResponse if what it holds has not."""
        if self._stream is not None and not self._stream.eof:
            raise BadResponse("the %s body ended early" % self._coding)
        if self._inner is not None:
            self._inner.end()

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        for piece in self._decoded_pieces(data):
            if self._inner is None:
                yield piece
            else:
                yield from self._inner._pieces(piece)

    def _decoded_pieces(self, data: bytes) -> Iterator[bytes]:
        more = False  # the decoder may hold more than it was let out
        while data or more:
            if (self._stream is None or self._stream.eof) and not self._begin(data):
                return
            try:
                piece = self._stream.decompress(data, PIECE)
            except zlib.error as exc:
                raise BadResponse("a damaged %s body: %s" % (self._coding, exc)) from None
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            more = len(piece) == PIECE and not self._stream.eof
            if piece:
                self._decoded += len(piece)
                if self._most is not None and self._decoded > self._most:
                    raise BadResponse("a %s body that unfolds to more than %d bytes" % (self._coding, self._most))
                yield piece

    def _begin(self, data: bytes) -> bool:
        """The next member of the body; False where only padding is left."""
        if self._members:
            if not data.strip(b"\0"):
                return False
            if self._coding != "gzip":
                raise BadResponse("bytes behind a deflate body")
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise BadResponse("a %s body of more than %d parts" % (self._coding, MOST_MEMBERS))
        if self._coding == "gzip":
            self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        else:
            wrapped = data[0] & 0x0F == 8 and data[0] >> 4 <= 7
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        return True


_CODINGS: Dict[str, str] = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}


def decoder_for(coding: str, most: Optional[int] = None) -> Optional[Decoder]:
    """A decoder for a Content-Encoding value; None for none, "identity", and what is not known: the body stays as it came.

    BadResponse for more than five codings.
    """
    decoder = None
    names = [name for name in tokens(coding) if name != "identity"]
    if len(names) > MOST_CODINGS:
        raise BadResponse("a body in %d codings" % len(names))
    for name in names:
        if name not in _CODINGS:
            return None
        decoder = Decoder(_CODINGS[name], most, decoder)
    return decoder
