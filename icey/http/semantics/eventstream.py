"""EventStreamParser: the events of a text/event-stream (WHATWG HTML section 9.2.6), sans-I/O.

    parser = EventStreamParser()
    parser.feed(data)
    while True:
        event = parser.next_event()         # a ServerSentEvent
        if event is None:
            break

Rules
- The input is UTF-8, what is no UTF-8 is replaced (U+FFFD), and one BOM at the very start is skipped. A line ends with CR, LF
  or CRLF. Split anywhere, the input gives the same events.
- A blank line ends an event. Without a line of data it is none, but its `id` counts. What was begun when the input ends is
  dropped: nobody asks for it.
- An id stays that of the events that follow, until there is another one. One with NUL in it is none.
- Comments, unknown fields, and what `retry` says other than in digits, are skipped.
- ProtocolError where a line, or the lines of one event, are longer than `most` bytes. It comes behind all events before.

How it is fast, and stays so: a piece is cut into lines as a whole, once. Only its last line, if that has not ended, is held and
joined with what follows. A line is looked at as bytes; decoded is what the event has of it.

Not here: the connection (http/client/eventsource.py), writing events (http/streaming/adapters.py).
"""

from __future__ import annotations

from collections import deque

from ...base.errors import ProtocolError

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Deque, List, Optional, Union

    Octets = Union[bytes, bytearray, memoryview]

BOM = b"\xef\xbb\xbf"
MOST = 16 << 20  # bytes of an event
LONGEST_RETRY = 15  # digits of milliseconds, leading zeros aside; more are as many nines

_CR, _LF = 13, 10


class ServerSentEvent:
    """An event: `type` ("message" where it has no name), `data`, its lines with LF in between, and `id`, all str.

    `id`: its own, or that of the last event before it that has one; "" for none.
    """

    __slots__ = ("type", "data", "id")

    def __init__(self, type: str, data: str, id: str) -> None:
        self.type: str = type
        self.data: str = data
        self.id: str = id

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, ServerSentEvent) and self.type == other.type and self.data == other.data
                and self.id == other.id)

    def __hash__(self) -> int:
        return hash((self.type, self.data, self.id))

    def __repr__(self) -> str:
        return "ServerSentEvent(%r, %r, %r)" % (self.type, self.data, self.id)


class EventStreamParser:
    """Parses one stream. last_event_id: of the stream before it. most: bytes of one event, None for no bound.

    `last_event_id`: what a client that comes again sends as Last-Event-ID. `retry`: seconds after which the server wants it to
    come again, None where it has not said.
    """

    __slots__ = (
        "last_event_id", "retry", "most", "_lines", "_partial", "_after_cr", "_first", "_size", "_data", "_type", "_id",
    )

    def __init__(self, last_event_id: str = "", most: Optional[int] = MOST) -> None:
        self.last_event_id: str = last_event_id
        self.retry: Optional[float] = None
        self.most: Optional[int] = most
        self._lines: Deque[bytes] = deque()  # whole, and not looked at
        self._partial = bytearray()  # a line that has not ended
        self._after_cr = False  # a LF that comes now belongs to the line end before it
        self._first = True  # the next line is the first of all
        self._size = 0  # bytes of the lines of the event that is begun
        self._data: List[bytes] = []
        self._type = b""
        self._id: Optional[str] = None

    def feed(self, data: Octets) -> None:
        """Takes a piece of the stream, of any size; `next_event` tells what is in it."""
        piece = bytes(data)
        if not piece:
            return
        if self._after_cr and piece[0] == _LF:
            piece = piece[1:]
        self._after_cr = False
        if not piece:
            return
        last = piece[-1]
        self._after_cr = last == _CR
        lines = piece.splitlines()
        rest = b"" if last == _LF or last == _CR else lines.pop()
        if lines:
            if self._partial:
                lines[0] = bytes(self._partial) + lines[0]
                self._partial.clear()
            self._lines.extend(lines)
        self._partial += rest

    def next_event(self) -> Optional[ServerSentEvent]:
        """The next event of what was fed, None where there is none yet. ProtocolError: it is too long."""
        lines, most = self._lines, self.most
        while lines:
            line = lines[0]
            if most is not None and self._size + len(line) > most:
                self._refuse()
            lines.popleft()
            if self._first:
                self._first = False
                if line.startswith(BOM):
                    line = line[len(BOM):]
            if line:
                self._field(line)
            else:
                event = self._blank()
                if event is not None:
                    return event
        if most is not None and self._size + len(self._partial) > most:
            self._refuse()
        return None

    def _field(self, line: bytes) -> None:
        """A line that is not blank."""
        name, _, value = line.partition(b":")
        if not name:  # a comment
            return
        self._size += len(line)
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._type = value
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            digits = value.lstrip(b"0")
            self.retry = int(digits or b"0" if len(digits) <= LONGEST_RETRY else b"9" * LONGEST_RETRY) / 1000

    def _blank(self) -> Optional[ServerSentEvent]:
        """A blank line: the end of an event, if one was begun."""
        self._size = 0
        if self._id is not None:
            self.last_event_id, self._id = self._id, None
        data, kind = self._data, self._type
        self._type = b""
        if not data:
            return None
        self._data = []
        text = (data[0] if len(data) == 1 else b"\n".join(data)).decode("utf-8", "replace")
        return ServerSentEvent(kind.decode("utf-8", "replace") or "message", text, self.last_event_id)

    def _refuse(self) -> None:
        raise ProtocolError("an event of more than %d bytes: limits.max_message" % (self.most or 0))
