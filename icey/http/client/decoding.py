"""Decoder (optional: needs `zlib`): a body's content codings undone, piece by piece (RFC 9110 section 8.4.1).

    decoder = decoder_for("gzip", most=64 << 20)     # None: nothing to undo, or a coding that is not known
    for piece in decoder.feed(data): ...
    decoder.end()

Rules
- At most 64 KiB are decoded at a time, and `most` bytes in all: a small body that unfolds into a huge one (a bomb) is an error
  before the huge one is in memory. Who asks step by step can stop between two, whatever a step has brought.
- A truncated or damaged body is BadResponse. Zeros and line ends behind the last member of a gzip body are none.
- "deflate" is the format of zlib; the bare format that some servers send is recognised by its first byte.
"""

from __future__ import annotations

import zlib

from ...base.errors import BadResponse
from ..semantics.grammar import tokens

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Optional

ACCEPTED = "gzip, deflate"
PIECE = 65536
MOST_MEMBERS = 1024  # of a gzip body that have nothing in them: they cost time and give nothing
PADDING = b"\0\r\n"  # behind a body
MOST_CODINGS = 5  # one over the other: each may unfold a thousandfold


class Decoder:
    """Undoes one coding, "gzip" or "deflate". most: bytes, decoded, in all; None for no bound.

    inner: the decoder that gets what this one has decoded: of the coding that the server applied before, None for none.
    """

    def __init__(self, coding: str, most: Optional[int], inner: Optional[Decoder] = None) -> None:
        self._coding = coding
        self._most = most
        self._inner = inner
        self._stream: Any = None
        self._decoded = 0
        self._before = 0  # bytes decoded before this member
        self._empty = 0  # members that had nothing in them

    def feed(self, data: Any) -> Iterator[bytes]:
        """What `data` decodes to, in pieces of at most 64 KiB, decoded when asked for. BadResponse: damaged, or too much."""
        return filter(None, self._steps(bytes(data)))

    def steps(self, data: Any) -> Iterator[bytes]:
        """As `feed`, with b"" for each step that was work and brought nothing."""
        return self._steps(bytes(data))

    @property
    def unfolded(self) -> int:
        """Bytes decoded so far, by whichever of the codings made most of them."""
        return self._decoded if self._inner is None else max(self._decoded, self._inner.unfolded)

    @property
    def work(self) -> int:
        """Bytes decoded so far, by all the codings together."""
        return self._decoded if self._inner is None else self._decoded + self._inner.work

    def end(self) -> None:
        """The body has ended; BadResponse where its coding says that more should follow."""
        if self._stream is not None and not self._stream.eof:
            raise BadResponse("the %s body ended early" % self._coding)
        if self._inner is not None:
            self._inner.end()

    def _steps(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), PIECE):  # a member copies what is behind it: never much
            for piece in self._decoded_pieces(data[at:at + PIECE] if len(data) > PIECE else data):
                if self._inner is None or not piece:
                    yield piece
                else:
                    yield from self._inner._steps(piece)

    def _decoded_pieces(self, data: bytes) -> Iterator[bytes]:
        more = False  # zlib may hold more than the piece that it was allowed to give
        while data or more:
            if self._stream is None or self._stream.eof:
                data = self._begin(data)
                if not data:
                    return
            try:
                piece = self._stream.decompress(data, PIECE)
            except zlib.error as exc:
                raise BadResponse("a damaged %s body: %s" % (self._coding, exc)) from None
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            more = len(piece) == PIECE and not self._stream.eof
            self._decoded += len(piece)
            if self._most is not None and self._decoded > self._most:
                raise BadResponse("a %s body that unfolds to more than %d bytes" % (self._coding, self._most))
            if self._stream.eof and self._decoded == self._before:
                self._empty += 1
                if self._empty > MOST_MEMBERS:
                    raise BadResponse("a %s body of more than %d parts that are empty" % (self._coding, MOST_MEMBERS))
            yield piece

    def _begin(self, data: bytes) -> bytes:
        """Begins the next member of the body. Returns its bytes; none where only padding is left."""
        if self._stream is not None:
            data = data.lstrip(PADDING)
            if not data:
                return data
            if self._coding != "gzip":
                raise BadResponse("bytes behind a deflate body")
        self._before = self._decoded
        if self._coding == "gzip":
            self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        else:
            wrapped = data[0] & 0x0F == 8 and data[0] >> 4 <= 7
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        return data


_CODINGS: Dict[str, str] = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}


def decoder_for(coding: str, most: Optional[int] = None) -> Optional[Decoder]:
    """A decoder for a Content-Encoding value. None for no coding, for "identity", and for an unknown one: the body stays as
    it is.

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
