"""Output: how a connection's answers leave: gathered while a burst is parsed, then one send.

Rules: what is sent goes behind what was gathered. A client that does not read its answers chokes the connection: its next
requests wait, unparsed, until the queue is down. The stream itself has no cap, so that the framing around a piece of a body
always gets through; the cap is kept here, by `_require_room`, before any of a piece is sent.
"""

from __future__ import annotations

from ..base.errors import QueueFull

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, List

    from ..base.buffer import Done
    from ..net.tcp import TCPSocket

JOIN_BELOW = 16384  # a body smaller than this is copied behind its head: cheaper than a vector
TINY = 1024  # answers smaller than this may gather without bound: a burst is one read of 64 KiB
MOST_GATHERED = 64  # pieces of a burst's answers, before they go out: who sends until False must come to it


class Output:
    """The sending side of a connection, its base class."""

    __slots__ = ("stream", "_out", "_corked", "_choked")

    def __init__(self, stream: TCPSocket) -> None:
        self.stream = stream
        self._out: List[Any] = []  # answers of this burst
        self._corked = False  # inside a burst
        self._choked = False  # above high water: the parser is held

    def _read_on(self) -> None:
        """Brings reading in line with what holds it: the subclass's."""
        raise NotImplementedError

    def _flush(self) -> None:
        """Sends what this burst has gathered; with a client that does not read, holds the next requests."""
        out = self._out
        if out:
            data = b"".join(out) if sum(map(len, out)) < 65536 else list(out)
            out.clear()
            self.stream._write(data, None, False)
        if self.stream.queued >= self.stream.high_water:
            self._choke()

    def _write(self, data: Any, done: Done, owned: bool) -> bool:
        """Sends a part of an answer, behind what this burst has gathered."""
        if self._corked and done is None and type(data) is bytes and len(data) < JOIN_BELOW:
            self._out.append(data)
            if len(self._out) >= MOST_GATHERED:
                self._flush()
            return self._below_high_water()
        if self._out:
            self._flush()
        return self.stream._write(data, done, not owned)

    def _write_file(self, file: BinaryIO, offset: int, count: int, close: bool, done: Done) -> bool:
        if self._out:
            self._flush()
        return self.stream._send_file(file, offset, count, close, done)

    def _below_high_water(self) -> bool:
        return self.stream.queued < self.stream.high_water

    def _require_room(self, size: int, most: int) -> None:
        """QueueFull where `size` bytes more would pass `most`. The stream has no cap of its own: framing gets through."""
        queued = self.stream.queued
        if queued and queued + size > most:
            self.stream._drain_due = True
            raise QueueFull("%d bytes queued, %d more would pass max_queue %d: wait for on_drain"
                            % (queued, size, most))

    def _choke(self) -> None:
        """The client does not read its answers: its next requests wait until it does."""
        self._choked = True
        self._read_on()
