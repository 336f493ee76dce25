"""LingeringClose: our side of a stream is shut; what still comes is dropped, until the peer's end or a deadline.

Why: a socket that is closed with input unread answers by a reset, and that can take from the peer what we had just
sent it: an answer, a close frame, a close_notify (RFC 9112 section 9.6).
"""

from __future__ import annotations

from .streamprotocol import StreamProtocol
from .watchdog import Watchdog

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from .stream import Stream

class LingeringClose(StreamProtocol):
    """Takes `stream` over: shuts our side once all is out, drops what comes, and closes at the peer's end.

    timeout: seconds from when all is out, or something was dropped last. write_timeout: seconds that the peer may take nothing
    of what is still on its way. Past either (None: never) the stream is aborted, or closed where the peer has taken all. most:
    bytes that may come and give the peer more time. closed: called at the stream's end. timed=False: it has no watchdog of its
    own, others call `sweep(now)`.
    """

    __slots__ = ("stream", "timeout", "write_timeout", "_closed", "_since", "_left", "_watchdog")

    def __init__(
        self, stream: Stream, timeout: Optional[float], closed: Optional[Callable[[], Any]] = None, timed: bool = True,
        write_timeout: Optional[float] = None, most: int = 0,
    ) -> None:
        self.stream: Stream = stream
        self.timeout: Optional[float] = timeout
        self.write_timeout: Optional[float] = write_timeout
        self._left = most
        self._closed = closed
        self._since = stream.loop.now
        self._watchdog: Optional[Watchdog] = None
        stream.use_protocol(self)
        stream.hold(False)
        stream.shutdown()
        if timed:
            self._watchdog = Watchdog(stream.loop, self.due, self.fall, stream.look)
            self._watchdog.watch()

    def due(self) -> Optional[float]:
        """When it is over, in the loop's time; None for never."""
        taken = self.stream.last_taken()
        limit = self.write_timeout if self.stream.outstanding else self.timeout
        return None if limit is None else max(self._since, taken) + limit

    def sweep(self, now: float) -> None:
        """Ends it where it is over; for who sweeps."""
        due = self.due()
        if due is not None and now >= due:
            self.stream.look()
            due = self.due()
            if due is not None and now >= due:
                self.fall()

    def forgive(self, seconds: float) -> None:
        """A slot held the loop for that long; for who sweeps."""
        self._since += seconds

    def fall(self) -> None:
        """The deadline has passed."""
        stream = self.stream
        stream.complete = stream.complete or not stream.outstanding
        stream.finish()

    def on_bytes(self, data: bytes) -> None:
        """Dropped. A peer that still sends may see our last words late: it gets more time, within a bound."""
        self._left -= len(data)
        if self._left >= 0:
            self._since = self.stream.loop.now

    def on_end(self) -> None:
        """The peer's end; it may still read."""
        if self.stream.unsent:
            self.stream.close_timeout = self.write_timeout
        self.stream.close()

    def on_close(self) -> None:
        """The stream is closed."""
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None
        if self._closed is not None:
            self._closed()
