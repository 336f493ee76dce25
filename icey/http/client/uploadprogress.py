"""UploadProgress: how much of a request's body the server has taken, while somebody wants to know: on_upload_progress.

Rules
- A byte counts when the peer has acknowledged it, as far as the system tells (base/sendqueue.py); elsewhere when the kernel has
  taken it. What waits, in the request's writer, in the stream and in the system, is the end of what was given, so nothing is
  noted piece by piece: the bytes of the body that were given, less those that wait. Framing and TLS add to what waits, never to
  the body: the figure is behind by as much at most, and right at the end.
- It is told behind a turn in which something went out, and a few times a second while the system holds something, for the
  peer's acknowledgements wake nobody.
- Without a slot none of this is made, nor imported.

Not here: what a transaction's end means for it (connection.py).
"""

from __future__ import annotations

from ...base.sendqueue import unacknowledged
from ...base.stream import UP
from ...base.timer import Timer
from .requestwriter import DONE

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from ...base.loop import Loop
    from ...base.stream import Stream
    from .requestwriter import RequestWriter

EVERY = 0.1  # seconds between two looks at what the system holds


class UploadProgress:
    """Watches the body that `writer` sends on `stream`. tell: called with (bytes taken, bytes in all or None), until `stop`."""

    __slots__ = ("_loop", "_stream", "_writer", "_tell", "_sent", "_seen", "_timer")

    def __init__(
        self, loop: Loop, stream: Stream, writer: RequestWriter, tell: Callable[[int, Optional[int]], Any]
    ) -> None:
        self._loop = loop
        self._stream = stream
        self._writer = writer
        self._tell: Optional[Callable[[int, Optional[int]], Any]] = tell
        self._sent = 0  # as it was told last
        self._seen = (-1, -1)  # what had been given, and what of that waited here, behind the last turn
        self._timer: Optional[Timer] = None
        loop.watch_turns(self._turned)

    def look(self) -> None:
        """Tells what the peer has taken, if that is more than before."""
        stream, writer, tell = self._stream, self._writer, self._tell
        if tell is None or stream.link != UP:
            return
        carrier: Any = stream
        while hasattr(carrier.sock, "carrier"):  # TLS, whose records go out on another stream
            carrier = carrier.sock.carrier
        waits = writer.held + stream.queued + (unacknowledged(carrier.fd) or 0)
        over = writer.stage == DONE and not waits
        sent = writer.given - waits
        empty = over and not writer.given
        self._await(waits > 0)
        if over:
            self.stop()
        if sent > self._sent or empty:
            self._sent = sent
            tell(sent, writer.total)

    def stop(self) -> None:
        """Looks no more."""
        self._tell = None
        self._loop.unwatch_turns(self._turned)
        self._await(False)

    def _turned(self, seconds: float) -> None:
        """A turn of the loop is over: what has gone out is seen without asking the system."""
        seen = self._writer.given, self._writer.held + self._stream.queued
        if seen != self._seen:
            self._seen = seen
            self.look()

    def _await(self, waits: bool) -> None:
        """Has a timer look, or not."""
        if waits and self._timer is None:
            self._timer = Timer(self._loop, EVERY, self._again, interval=EVERY).start()
            self._timer.unref()
        elif not waits and self._timer is not None:
            self._timer.abort()
            self._timer = None

    def _again(self, timer: Timer) -> None:
        self.look()
