"""WebSocketCore: one end of a WebSocket connection, sans-I/O (RFC 6455): bytes in, messages out, and frames to send.

    core = WebSocketCore(observer, client=False)
    used = core.feed(data)              # fewer than len(data): `core.held`, or a close came; feed the rest later, or drop it
    core.message(b"data", text=False)   # the bytes of a frame, to be sent

The observer:
    on_text(str)  on_binary(bytes or bytearray)      a whole message
    on_piece(str or bytes, final)                    instead of those, where `core.pieces` is set: as it arrives
    on_ping(bytes)  on_pong(bytes)  on_closing(code, reason)      code 1005: the close frame had none

Rules
- What is valid is told before an error is raised: WebSocketError with the code to close with; it is final. A bad byte is found
  when it comes, in the middle of a fragment too.
- Messages are bounded by `max_message` bytes, decompressed; what a fragment costs beside its bytes does not add up.
- A close frame ends the input: nothing behind it is looked at.

Not here: the handshake (wshandshake.py), compression (deflate.py), timers and the stream (wssocket.py).
"""

from __future__ import annotations

import codecs
import os

from ..base.errors import WebSocketError
from .masking import mask, turned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

    from .deflate import Deflate

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1, RSV, OPCODE, MASKED = 0x80, 0x40, 0x70, 0x0F, 0x80

OK, GOING_AWAY, PROTOCOL, UNSUPPORTED, NONE, LOST, INVALID, TOO_BIG = 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009

MOST_FRAGMENTS = 1 << 20  # of a message: empty ones cost time and bring nothing
LARGE = 16384  # payloads from here on are not copied behind their header

_decoder = codecs.getincrementaldecoder("utf-8")


def may_be_sent(code: int) -> bool:
    """Whether a close frame may carry `code` (section 7.4, and what IANA has registered since)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class WebSocketCore:
    """One end. client: whether it masks what it sends (and takes nothing masked). max_message: bytes, None for no bound."""

    __slots__ = (
        "observer", "client", "held", "pieces", "closed_in", "closed_out", "_most", "_deflate", "_tail", "_opcode", "_packed",
        "_fragments", "_size", "_text", "_parts", "_left", "_key", "_final", "_control", "_control_data",
    )

    def __init__(
        self, observer: Any, *, client: bool, max_message: Optional[int] = None, deflate: Optional[Deflate] = None
    ) -> None:
        self.observer = observer
        self.client = client
        self.held = False  # the observer sets it: feed() returns after the message at hand
        self.pieces = False
        self.closed_in = False  # a close frame came, or an error
        self.closed_out = False  # ours is made
        self._most = 1 << 62 if max_message is None else max_message
        self._deflate = deflate
        self._tail = b""  # of a frame's head, or of a short frame
        self._opcode = 0  # of the message under way
        self._packed = False  # it is compressed
        self._fragments = 0
        self._size = 0  # of its payload so far
        self._text: Any = None  # its decoder
        self._parts: List[Any] = []
        self._left = 0  # bytes of a frame's payload that are still to come
        self._key: Optional[bytes] = None
        self._final = False
        self._control = 0  # the opcode of the control frame under way
        self._control_data = b""

    # in

    def feed(self, data: bytes) -> int:
        """Parses `data`; the number of bytes used. WebSocketError: the peer broke the protocol."""
        before = len(self._tail)
        if before:
            data = self._tail + data
            self._tail = b""
        at, size = 0, len(data)
        try:
            while at < size and not self.closed_in and not self.held:
                if self._left:
                    at = self._continue(data, at)
                    continue
                first, second = data[at], data[at + 1] if at + 1 < size else 0
                length = second & 0x7F
                # the usual frame: a whole short message, masked as it must be, and all of it here
                if (length < 126 and not self._opcode and (first == 0x81 or first == 0x82) and (second > 127) is not self.client
                        and at + 1 < size and length <= self._most and not self.pieces):
                    start = at + 2 if self.client else at + 6
                    end = start + length
                    if end <= size:
                        payload = data[start:end]
                        if not self.client:
                            repeated = data[at + 2:start] * (length + 3 >> 2)
                            payload = (int.from_bytes(payload, "little") ^ int.from_bytes(repeated[:length], "little")
                                       ).to_bytes(length, "little")
                        at = end
                        if first == 0x82:
                            self.observer.on_binary(payload)
                        else:
                            self.observer.on_text(payload.decode())
                        continue
                found = self._head(data, at)
                if found < 0:
                    self._tail = data[at:]
                    at = size
                    break
                at = found
                if not self._left:
                    self._frame_over()
        except UnicodeDecodeError:
            self.closed_in = True
            raise WebSocketError(INVALID, "text that is not UTF-8") from None
        except WebSocketError:
            self.closed_in = True
            raise
        return at - before

    def _head(self, data: bytes, at: int) -> int:
        """Reads a frame's head; where its payload begins, -1 while it is incomplete."""
        size = len(data) - at
        if size < 2:
            if size:
                self._check_first(data[at])
            return -1
        first, second = data[at], data[at + 1]
        self._check_first(first)
        if (second >= MASKED) is self.client:
            raise WebSocketError(PROTOCOL, "a masked frame from the server" if self.client else "a frame without a mask")
        opcode, length, need = first & OPCODE, second & 0x7F, 2
        if length > 125:
            if opcode >= CLOSE:
                raise WebSocketError(PROTOCOL, "a control frame of more than 125 bytes")
            need = 4 if length == 126 else 10
            if size < need:
                return -1
            extended = int.from_bytes(data[at + 2:at + need], "big")
            if extended >> 63 or extended < (126 if length == 126 else 65536):
                raise WebSocketError(PROTOCOL, "a length that is not written in its shortest form")
            length = extended
        if not self.client:
            need += 4
            if size < need:
                return -1
            self._key = data[at + need - 4:at + need]
        self._begin(first, opcode, length)
        return at + need

    def _check_first(self, first: int) -> None:
        """A frame's first byte: what it may be at this point."""
        opcode = first & OPCODE
        reserved = first & RSV
        if reserved and not (reserved == RSV1 and self._deflate is not None and opcode in (TEXT, BINARY)):
            raise WebSocketError(PROTOCOL, "reserved bits are set")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise WebSocketError(PROTOCOL, "unknown opcode %d" % opcode)
            if not first & FIN:
                raise WebSocketError(PROTOCOL, "a control frame in fragments")
        elif opcode > BINARY:
            raise WebSocketError(PROTOCOL, "unknown opcode %d" % opcode)
        elif (opcode == CONTINUATION) is not bool(self._opcode):
            raise WebSocketError(PROTOCOL, "a message inside a message" if opcode else "nothing to continue")

    def _begin(self, first: int, opcode: int, length: int) -> None:
        """A frame of `length` bytes begins."""
        self._left = length
        if opcode >= CLOSE:
            self._control = opcode
            return
        self._control = 0
        self._final = bool(first & FIN)
        self._fragments += 1
        if opcode:
            self._opcode = opcode
            self._packed = bool(first & RSV1)
            self._fragments = 1
            self._size = 0
            self._text = _decoder() if opcode == TEXT else None
        if self._fragments > MOST_FRAGMENTS:
            raise WebSocketError(TOO_BIG, "more than %d fragments" % MOST_FRAGMENTS)
        if not self._packed and self._size + length > self._most:
            raise WebSocketError(TOO_BIG, "a message over %d bytes" % self._most)

    def _continue(self, data: bytes, at: int) -> int:
        """Some of a payload is here; where it ends in `data`."""
        end = min(len(data), at + self._left)
        piece = data[at:end] if at or end < len(data) else data
        if self._key is not None:
            count = len(piece)
            piece = mask(piece, self._key)
            self._key = turned(self._key, count)
        self._left -= end - at
        if self._control:
            self._control_data += piece
        elif self._packed:
            assert self._deflate is not None
            for unpacked in self._deflate.unpack(piece, self._most - self._size):
                self._take(unpacked)
        else:
            self._take(piece)
        if not self._left:
            self._frame_over()
        return end

    def _take(self, piece: bytes) -> None:
        """Payload of a message, plain."""
        self._size += len(piece)
        if self._text is not None:
            text = self._text.decode(piece)
            if self.pieces:
                if text:
                    self.observer.on_piece(text, False)
                return
            self._parts.append(text)
            if len(self._parts) > 1024:  # small fragments: an object each would cost more than their bytes
                self._parts = ["".join(self._parts)]
        elif self.pieces:
            if piece:
                self.observer.on_piece(piece, False)
        elif not self._parts and self._final and not self._left:
            self._parts.append(piece)
        else:
            if not self._parts or type(self._parts[0]) is not bytearray:
                self._parts = [bytearray(b"".join(self._parts))]
            self._parts[0] += piece

    def _frame_over(self) -> None:
        """A frame is complete."""
        self._key = None
        if self._control:
            payload, self._control_data = self._control_data, b""
            self._control_over(self._control, payload)
        elif self._final:
            self._message_over()

    def _message_over(self) -> None:
        if self._packed:
            assert self._deflate is not None
            for unpacked in self._deflate.unpack_end(self._most - self._size):
                self._take(unpacked)
        text, parts, self._parts = self._text, self._parts, []
        opcode, self._opcode = self._opcode, 0
        self._text = None
        if opcode == TEXT:
            last = text.decode(b"", True)
            if self.pieces:
                self.observer.on_piece(last, True)
            else:
                self.observer.on_text("".join(parts) + last)
        elif self.pieces:
            self.observer.on_piece(b"", True)
        else:
            self.observer.on_binary(parts[0] if parts else b"")

    def _control_over(self, opcode: int, payload: bytes) -> None:
        self._control = 0
        if opcode == PING:
            self.observer.on_ping(payload)
        elif opcode == PONG:
            self.observer.on_pong(payload)
        else:
            self.closed_in = True
            self.observer.on_closing(*_closing(payload))

    # out

    def message(self, data: Any, text: bool) -> Any:
        """The frame of a whole message: bytes, or a list of parts for large ones. data: bytes-like; text: of a str, encoded."""
        opcode = TEXT if text else BINARY
        if self._deflate is not None:
            packed = self._deflate.pack_message(data)
            if packed is not None:
                return self._frame(FIN | RSV1 | opcode, packed)
        return self._frame(FIN | opcode, data)

    def fragment(self, data: Any, text: bool, first: bool, final: bool) -> Any:
        """The frame of a piece of a message. A fragmented message is sent as it is, uncompressed."""
        return self._frame((FIN if final else 0) | ((TEXT if text else BINARY) if first else CONTINUATION), data)

    def ping(self, data: bytes = b"") -> bytes:
        """A ping frame; at most 125 bytes, else ValueError."""
        return self._control_frame(PING, data)

    def pong(self, data: bytes = b"") -> bytes:
        """A pong frame."""
        return self._control_frame(PONG, data)

    def close(self, code: Optional[int] = OK, reason: str = "") -> bytes:
        """A close frame; code None for an empty one. ValueError for a code or reason that cannot be sent."""
        if code is None:
            payload = b""
        else:
            if not may_be_sent(code):
                raise ValueError("%r is no close code that may be sent: 1000, 1001, 3000 to 4999 are" % (code,))
            payload = code.to_bytes(2, "big") + reason.encode("utf-8")
            if len(payload) > 125:
                raise ValueError("a close reason has at most 123 bytes of UTF-8")
        self.closed_out = True
        return self._control_frame(CLOSE, payload)

    def _control_frame(self, opcode: int, data: bytes) -> bytes:
        if len(data) > 125:
            raise ValueError("a ping carries at most 125 bytes")
        made: bytes = self._frame(FIN | opcode, bytes(data))
        return made

    def _frame(self, first: int, data: Any) -> Any:
        size = len(data)
        flag = MASKED if self.client else 0
        if size < 126:
            head = bytes((first, flag | size))
        elif size < 65536:
            head = bytes((first, flag | 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((first, flag | 127)) + size.to_bytes(8, "big")
        if self.client:
            key = os.urandom(4)
            return head + key + mask(data, key)
        if size < LARGE:
            return head + data
        return [head, data]


def _closing(payload: bytes) -> Tuple[int, str]:
    """(code, reason) of a close frame (section 5.5.1)."""
    if not payload:
        return NONE, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not may_be_sent(code):
        raise WebSocketError(PROTOCOL, "a close frame with a code that may not be sent")
    return code, payload[2:].decode("utf-8")
