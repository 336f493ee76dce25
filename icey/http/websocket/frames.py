"""WebSocketCore: one end of a WebSocket connection, sans-I/O (RFC 6455): bytes in, messages out, and frames to send.

    core = WebSocketCore(observer, client=False)
    used = core.feed(data)              # fewer than len(data): `core.held`, a close came, or `core.burst` is used up; feed
                                        # the rest later, or drop it
    core.message(b"data", text=False)   # the bytes of a frame, to be sent

Rules
- Whatever was valid is told before an error is raised: WebSocketError with the code to close with. The error is final. A byte
  that is wrong is found when it comes, in the middle of a fragment too.
- A message has at most `max_message` bytes, decompressed. A fragment costs memory beside its bytes: that does not add up, and
  empty fragments are counted.
- A close frame ends the input, and so does an exception of the observer's: nothing behind it is looked at.
- What is sent is in order too: no message inside one that goes in fragments, nothing behind a close frame (StateError).

Not here: the handshake (handshake.py), compression (deflate.py), pings in time (keepalive.py), the stream (connection.py).
"""

from __future__ import annotations

import codecs
import os

from ...base.errors import StateError, WebSocketError
from ...base.pieces import keep_freed_memory
from .masking import INTEGERS_BELOW, mask, mask_long, turned, unmask_short

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, NoReturn, Optional, Tuple

    from .deflate import Deflate

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1, RSV, OPCODE, MASKED = 0x80, 0x40, 0x70, 0x0F, 0x80
WHOLE_TEXT, WHOLE_BINARY = FIN | TEXT, FIN | BINARY

OK, GOING_AWAY, PROTOCOL, NONE, LOST, INVALID, TOO_BIG, INTERNAL = 1000, 1001, 1002, 1005, 1006, 1007, 1009, 1011
AGAIN = 1013  # come again later

MOST_EMPTY = 65536  # fragments of one message without a byte: they cost time and bring nothing
MOST_PIECES = 1024  # of a message, each with some 60 bytes of its own
MOST_CONTROL = 125  # bytes in a control frame
SHORT_HEADS = [[bytes((first, size)) for size in range(126)] for first in (WHOLE_BINARY, WHOLE_TEXT)]  # [text][size]
LONG = 1 << 18  # frames of as many bytes come in pieces, many of them
LARGE = 16384  # payloads from here on are not copied behind their header

MESSAGE = "a str, or bytes-like data,"  # what a message is: for who is given something else

FREE, SHUT = 0, -1  # the sending side; in between, TEXT or BINARY: a message in fragments is under way

_decoder = codecs.getincrementaldecoder("utf-8")


def may_be_sent(code: int) -> bool:
    """Whether a close frame may carry `code` (section 7.4, and what IANA has registered since)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class MessageObserver:
    """What a WebSocketCore calls, inside `feed`. This one ignores everything; a subclass overrides what it needs."""

    __slots__ = ()

    def on_text(self, data: str) -> None:
        """A whole text message."""

    def on_binary(self, data: bytes) -> None:
        """A whole binary message."""

    def on_piece(self, data: Any, final: bool) -> None:
        """A piece, str or bytes, of a message that began while `core.pieces` was set; the last piece is empty."""

    def on_ping(self, data: bytes) -> None:
        """A ping, to be answered by a pong with the same payload."""

    def on_pong(self, data: bytes) -> None:
        """A pong."""

    def on_closing(self, code: int, reason: str) -> None:
        """The close frame, the last call; code 1005: there was none in it."""


class WebSocketCore:
    """One end of a connection. `observer`: told what comes; a MessageObserver, or what has its methods.

    `client`: whether this end is the client, which masks what it sends and takes nothing masked. max_message: bytes, None for
    no bound. deflate: the Deflate that was agreed on, None for none. `held`: set it to True, and feed() takes no more once the
    frame at hand is told. `pieces`: set it to True, and messages that begin from then on are told by on_piece. `burst`:
    how many frames one feed() takes at most, so that others have their turn; 0, and it takes all. `closed_in`: nothing more is
    taken, since a close frame or an error has come. `sending`: not 0, and no message can be sent now: one is under way in
    fragments, or our close frame is out.
    """

    __slots__ = (
        "observer", "client", "held", "pieces", "burst", "closed_in", "sending", "_most", "_deflate", "_heads", "_tail",
        "_opcode", "_packed", "_by_pieces", "_empty", "_size", "_text", "_store", "_joined", "_left", "_key", "_final",
        "_control", "_control_data",
    )

    def __init__(
        self, observer: Any, *, client: bool, max_message: Optional[int] = None, deflate: Optional[Deflate] = None
    ) -> None:
        self.observer: Any = observer
        self.client: bool = client
        self.held: bool = False
        self.pieces: bool = False
        self.burst: int = 0
        self.closed_in: bool = False
        self._most = 1 << 62 if max_message is None else max_message
        self._deflate = deflate
        self._heads = None if client or deflate is not None else SHORT_HEADS
        self._tail = b""  # of a frame's head
        self._opcode = 0  # of the message under way, 0 between messages
        self._packed = False  # it is compressed
        self._by_pieces = False  # it is told as it arrives
        self._empty = 0  # fragments of it without a byte
        self._size = 0  # of its payload so far
        self._text: Any = None  # its decoder
        self._store: Any = ()  # a list while it is under way: what came of it, and is to be joined
        self._joined = 0  # how many of these were already: of many small ones MOST_PIECES at a time
        self._left = 0  # bytes of a frame's payload that are still to come
        self._key: Optional[bytes] = None
        self._final = False
        self._control = 0  # the opcode of the control frame under way
        self._control_data = b""
        self.sending: int = FREE

    # in

    def feed(self, data: bytes) -> int:
        """Parses `data`; the number of bytes used. WebSocketError: the peer broke the protocol."""
        if self.held or self.closed_in:
            return 0
        tail = self._tail
        if tail:
            data = tail + data
            self._tail = b""
        at, size, client, left = 0, len(data), self.client, self.burst
        try:
            while at < size:
                first = data[at]
                # The usual frame: a whole message, masked as it must be, and all of it here.
                if ((first == WHOLE_BINARY or first == WHOLE_TEXT) and at + 1 < size
                        and not (self._left or self._opcode or self.pieces)):
                    second = data[at + 1]
                    length, start = second & 0x7F, at + 2
                    if length > 125:
                        start += 2 if length == 126 else 8
                        extended = int.from_bytes(data[at + 2:start], "big")
                        # Not all here, or not the shortest form: see _head.
                        length = extended if extended >= (126 if length == 126 else 65536) else size
                    if not client:
                        start += 4
                    end = start + length
                    if end <= size and (second > 127) is not client and length <= self._most:
                        if client:
                            payload = data[start:end]
                        elif length < 126:
                            payload = unmask_short(data[start - 4:end], length)
                        elif length < INTEGERS_BELOW:
                            payload = mask(data[start:end], data[start - 4:start])
                        else:
                            payload = mask(memoryview(data)[start:end], data[start - 4:start])
                        at = end
                        if first == WHOLE_BINARY:
                            self.observer.on_binary(payload)
                        else:
                            self.observer.on_text(_decoded(payload))
                        left -= 1
                        if self.held or self.closed_in or not left:
                            break
                        continue
                if not self._left:
                    start = self._head(data, at)
                    if start < 0:
                        self._tail = data[at:]
                        at = size
                        break
                    at = start
                    if not self._left:
                        self._frame_over()
                else:
                    at = self._continue(data, at)
                left -= 1
                if self.held or self.closed_in or not left:
                    break
        except BaseException:
            self.closed_in = True
            raise
        return at - len(tail)

    def _head(self, data: bytes, at: int) -> int:
        """Reads a frame's head; where its payload begins, -1 while it is incomplete."""
        size = len(data) - at
        first = data[at]
        self._check_first(first)
        if size < 2:
            return -1
        second = data[at + 1]
        if (second >= MASKED) is self.client:
            raise WebSocketError(PROTOCOL, "a masked frame from the server" if self.client else "a frame without a mask")
        opcode, length, need = first & OPCODE, second & 0x7F, 2
        if length > 125:
            if opcode >= CLOSE:
                raise WebSocketError(PROTOCOL, "a control frame of more than %d bytes" % MOST_CONTROL)
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
        self._final = bool(first & FIN)
        if opcode:
            self._opcode = opcode
            self._packed = bool(first & RSV1)
            self._by_pieces = self.pieces
            self._empty = self._size = 0
            self._store = []
            self._text = _decoder() if opcode == TEXT else None
        if not length:
            self._empty += 1
            if self._empty > MOST_EMPTY:
                raise WebSocketError(TOO_BIG, "more than %d fragments with nothing in them" % MOST_EMPTY)
        elif not self._packed and self._size + length > self._most:
            raise WebSocketError(TOO_BIG, "a message over %d bytes" % self._most)
        if length >= LONG:
            keep_freed_memory()

    def _continue(self, data: bytes, at: int) -> int:
        """Some of a payload is here; where it ends in `data`."""
        end = min(len(data), at + self._left)
        self._left -= end - at
        key = self._key
        if key is None:
            piece: Any = data[at:end]
        else:
            piece = mask(data[at:end], key) if end - at < INTEGERS_BELOW else mask_long(memoryview(data)[at:end], key)
            if self._left:
                self._key = turned(key, end - at)
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

    def _take(self, piece: Any) -> None:
        """Payload of a message, plain."""
        self._size += len(piece)
        told = piece if self._text is None else _decoded(piece, self._text)
        if not told:
            return
        if self._by_pieces:
            self.observer.on_piece(bytes(told) if type(told) is bytearray else told, False)
            return
        store = self._store
        store.append(told)
        if len(store) - self._joined == MOST_PIECES:
            store[self._joined:] = [told[:0].join(store[self._joined:])]
            self._joined += 1

    def _frame_over(self) -> None:
        """A frame is complete."""
        if self._control:
            opcode, self._control = self._control, 0
            payload, self._control_data = self._control_data, b""
            self._control_over(opcode, payload)
        elif self._final:
            self._message_over()

    def _message_over(self) -> None:
        if self._packed:
            assert self._deflate is not None
            for unpacked in self._deflate.unpack_end(self._most - self._size):
                self._take(unpacked)
        decoder, self._text = self._text, None
        store, self._store, self._joined = self._store, (), 0
        self._opcode = 0
        nothing: Any = b"" if decoder is None else _decoded(b"", decoder, True)
        if self._by_pieces:
            self.observer.on_piece(nothing, True)
            return
        whole = nothing.join(store)
        if decoder is None:
            self.observer.on_binary(whole)
        else:
            self.observer.on_text(whole)

    def _control_over(self, opcode: int, payload: bytes) -> None:
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
        if self.sending:
            self._refuse("message")
        heads = self._heads
        if heads is not None and len(data) < 126:
            made: bytes = heads[text][len(data)] + data
            return made
        first = WHOLE_TEXT if text else WHOLE_BINARY
        if self._deflate is not None:
            packed = self._deflate.pack_message(data)
            if packed is not None:
                return self._frame(RSV1 | first, packed)
        return self._frame(first, data)

    def fragment(self, data: Any, text: bool, final: bool) -> Any:
        """The frame of a piece of a message, the first one or the next. Such a message is sent as it is, uncompressed."""
        opcode = TEXT if text else BINARY
        if self.sending not in (FREE, opcode):
            self._refuse("fragment")
        first = CONTINUATION if self.sending else opcode
        self.sending = FREE if final else opcode
        return self._frame((FIN if final else 0) | first, data)

    def ping(self, data: bytes = b"") -> bytes:
        """A ping frame; at most 125 bytes, else ValueError."""
        return self._control_frame(PING, data)

    def pong(self, data: bytes = b"") -> bytes:
        """A pong frame; at most 125 bytes, else ValueError."""
        return self._control_frame(PONG, data)

    def close(self, code: Optional[int] = OK, reason: str = "") -> bytes:
        """A close frame, the last there is to send; code None: an empty one. ValueError: what cannot be sent."""
        payload = b""
        if code is not None:
            if not isinstance(code, int) or not may_be_sent(code):
                raise ValueError("%r is no close code that may be sent: 1000 to 1003, 1007 to 1014, 3000 to 4999 are" % (code,))
            payload = code.to_bytes(2, "big") + reason.encode("utf-8")
            if len(payload) > MOST_CONTROL:
                raise ValueError("a close reason has at most %d bytes of UTF-8" % (MOST_CONTROL - 2))
        frame = self._control_frame(CLOSE, payload)
        self.sending = SHUT
        return frame

    def _control_frame(self, opcode: int, data: bytes) -> bytes:
        if self.sending == SHUT:
            self._refuse({PING: "ping", PONG: "pong", CLOSE: "close"}[opcode])
        if len(data) > MOST_CONTROL:
            raise ValueError("pings and pongs carry at most %d bytes" % MOST_CONTROL)
        made: bytes = self._frame(FIN | opcode, data)
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

    def _refuse(self, verb: str) -> NoReturn:
        if self.sending == SHUT:
            raise StateError("%s() after close()" % verb, "close last", "nothing follows a close frame")
        raise StateError("%s() inside a message that is sent in fragments" % verb,
                         "send its last piece first (final), all of them str or all bytes", "one message at a time")


def _decoded(data: Any, decoder: Any = None, final: bool = False) -> str:
    """Text of a message's, or a close frame's, bytes; by a decoder that goes on until the final ones."""
    try:
        if decoder is None:
            plain: str = data.decode()
            return plain
        text: str = decoder.decode(data, final)
        rest = decoder.getstate()[0]
        if len(rest) == 2 and rest[0] == 0xED and rest[1] > 0x9F:  # Python waits for the rest of a surrogate
            raise WebSocketError(INVALID, "half of a surrogate pair in a text")
    except UnicodeDecodeError:
        raise WebSocketError(INVALID, "text that is not UTF-8") from None
    return text


def _closing(payload: bytes) -> Tuple[int, str]:
    """(code, reason) of a close frame (section 5.5.1)."""
    if not payload:
        return NONE, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not may_be_sent(code):
        raise WebSocketError(PROTOCOL, "a close frame with a code that may not be sent")
    return code, _decoded(payload[2:])
