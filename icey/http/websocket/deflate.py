"""(opt zlib) permessage-deflate (RFC 7692): what both sides agree on, and messages packed and unpacked.

    agreed, answer = accept_offer(offers, ours)    # a server's side, of parsed extensions; (None, "") where none can be met
    agreed = check_answer(answers, ours)           # a client's side: the answer to OFFER
    deflate = Deflate(agreed, client=False)

What it takes of memory is told in compression.py. `no_context_takeover` frees that between messages.

Rules
- A parameter that is unknown, doubled or out of range makes a server decline the offer, and a client fail the handshake.
- zlib has no window of 8 bits: an offer of one is declined.
- What we pack has our window, or a smaller one where the peer wants that; a client that asks is told (server_max_window_bits).
  What a client packs is to have our window, too, where it lets us ask. A client of ours asks for nothing: some servers decline
  an offer with server_max_window_bits, and Node's ws refuses a client_max_window_bits below what it has itself.
- What a message unfolds to is bounded while it is unpacked.

Not here: the grammar of Sec-WebSocket-Extensions (handshake.py), what a user chooses (compression.py), frames (frames.py).
"""

from __future__ import annotations

import zlib

from ...base.errors import WebSocketError
from .compression import PLAIN

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Tuple

    from .compression import WebSocketCompression
    from .handshake import Extension

    Params = Dict[str, Optional[str]]

NAME = "permessage-deflate"
OFFER = NAME + "; client_max_window_bits"

INVALID_DATA, TOO_BIG = 1007, 1009
END = b"\x00\x00\xff\xff"
PIECE = 65536
STEP = 16384  # bytes looked at together behind a final block: zlib copies them for each one, and there may be one in two bytes
PACK_FROM = 64  # bytes: shorter messages go as they are

_SERVER_NO, _CLIENT_NO = "server_no_context_takeover", "client_no_context_takeover"
_SERVER_BITS, _CLIENT_BITS = "server_max_window_bits", "client_max_window_bits"
_LEAST, _MOST = 9, 15


class Agreed:
    """What both sides agreed on, for what the server sends and for what the client sends.

    `server_takeover`, `client_takeover`: whether the context lives on between messages. `server_bits`, `client_bits`: the size
    of the window, as a power of two: 9 to 15. `ours`: how this side packs, inside of that.
    """

    __slots__ = ("server_takeover", "client_takeover", "server_bits", "client_bits", "ours")

    def __init__(
        self, server_takeover: bool = True, client_takeover: bool = True, server_bits: int = 15, client_bits: int = 15,
        ours: WebSocketCompression = PLAIN,
    ) -> None:
        self.server_takeover: bool = server_takeover
        self.client_takeover: bool = client_takeover
        self.server_bits: int = server_bits
        self.client_bits: int = client_bits
        self.ours: WebSocketCompression = ours


def accept_offer(offers: List[Extension], ours: WebSocketCompression = PLAIN) -> Tuple[Optional[Agreed], str]:
    """The first offer that can be met, and the answer to it; (None, "") for none."""
    for extension, params in offers:
        if extension != NAME or params is None or not _known(params):
            continue
        server_bits, client_bits = _bits(params, _SERVER_BITS, False), _bits(params, _CLIENT_BITS, True)
        if server_bits is None or client_bits is None:
            continue
        answer = [NAME]
        answer += [name for name in (_SERVER_NO, _CLIENT_NO) if name in params]
        if _SERVER_BITS in params:
            server_bits = min(server_bits, ours.bits)
            answer.append("%s=%d" % (_SERVER_BITS, server_bits))
        if _CLIENT_BITS in params:
            client_bits = min(client_bits, ours.bits)
            if params[_CLIENT_BITS] is not None or client_bits < _MOST:
                answer.append("%s=%d" % (_CLIENT_BITS, client_bits))
        agreed = Agreed(_SERVER_NO not in params, _CLIENT_NO not in params, server_bits, client_bits, ours)
        return agreed, "; ".join(answer)
    return None, ""


def check_answer(answers: List[Extension], ours: WebSocketCompression = PLAIN) -> Agreed:
    """What a server's answer to OFFER agrees on; ValueError for one that was not offered, or cannot be met."""
    extension, params = answers[0]
    if len(answers) > 1 or extension != NAME or params is None or not _known(params):
        raise ValueError("the server chose an extension that was not offered: %s" % ", ".join(name for name, _ in answers))
    server_bits, client_bits = _bits(params, _SERVER_BITS, False), _bits(params, _CLIENT_BITS, False)
    if server_bits is None or client_bits is None:
        raise ValueError("the server's window bits are not 9 to 15")
    return Agreed(_SERVER_NO not in params, _CLIENT_NO not in params, server_bits, client_bits, ours)


def _known(params: Params) -> bool:
    """Whether all parameters are known, and those that take no value have none."""
    return all(name in (_SERVER_BITS, _CLIENT_BITS) or (name in (_SERVER_NO, _CLIENT_NO) and value is None)
               for name, value in params.items())


def _bits(params: Params, name: str, bare: bool) -> Optional[int]:
    """The window bits of a parameter: 15 without it; None where its value cannot be met. bare: it may stand without a value."""
    if name not in params:
        return _MOST
    value = params[name]
    if value is None:
        return _MOST if bare else None
    if not (value.isascii() and value.isdigit() and value[0] != "0" and len(value) < 3):
        return None
    return int(value) if _LEAST <= int(value) <= _MOST else None


class Deflate:
    """Packs and unpacks the messages of one connection."""

    __slots__ = ("_out_takeover", "_in_takeover", "_out_bits", "_in_bits", "_ours", "_packer", "_unpacker", "_begun")

    def __init__(self, agreed: Agreed, *, client: bool) -> None:
        ours, theirs = (agreed.client_takeover, agreed.client_bits), (agreed.server_takeover, agreed.server_bits)
        if not client:
            ours, theirs = theirs, ours
        self._ours = agreed.ours
        self._out_takeover, self._out_bits = ours[0], min(ours[1], self._ours.bits)
        self._in_takeover, self._in_bits = theirs
        self._packer: Any = None
        self._unpacker: Any = None
        self._begun = False  # the unpacker is inside a message, and not at the end of a final block

    def pack_message(self, data: Any) -> Optional[bytes]:
        """A message packed; None: it goes as it is."""
        if len(data) < PACK_FROM:
            return None
        packer = self._packer
        if packer is None:
            packer = zlib.compressobj(self._ours.level, zlib.DEFLATED, -self._out_bits, self._ours.memory)
        packed: bytes = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
        self._packer = packer if self._out_takeover else None
        return packed[:-len(END)]

    def unpack(self, data: bytes, most: int) -> Iterator[bytes]:
        """A piece of a packed message, in pieces. WebSocketError: damaged (1007), or over `most` bytes (1009)."""
        later = b""
        while data:
            if self._unpacker is None:
                self._unpacker = zlib.decompressobj(wbits=-self._in_bits)
            unpacker, self._begun = self._unpacker, True
            try:
                piece = unpacker.decompress(data, PIECE)
            except zlib.error:
                raise WebSocketError(INVALID_DATA, "a message whose compression is damaged") from None
            data = unpacker.unconsumed_tail
            if unpacker.eof:  # a final block (RFC 7692 section 7.2.3.4): what follows begins anew
                data, self._unpacker, self._begun = unpacker.unused_data, None, False
                if len(data) > STEP:
                    data, later = data[:STEP], data[STEP:]
            if later and not data:
                data, later = later[:STEP], later[STEP:]
            most -= len(piece)
            if most < 0:
                raise WebSocketError(TOO_BIG, "a message that unfolds to too much")
            if piece:
                yield piece

    def unpack_end(self, most: int) -> Iterator[bytes]:
        """The message is over."""
        if self._begun:
            yield from self.unpack(END, most)
            self._begun = False
        if not self._in_takeover:
            self._unpacker = None
