"""stdin by lines, and stdout, on a loop: neither ever holds it up.

    LineReader(loop, fd, most, observer)     tells a LineObserver of each line, and of the end
    Outflow(loop, file, observer)            takes what is to be written, and tells an OutflowObserver when there is room again

Rules
- The descriptors stay blocking: those of a terminal are shared with the shell that started this program. A descriptor is read
  when poll says that there is something, and written when poll says that there is room, in pieces that a pipe takes whole.
- Files, and what epoll refuses because it is always ready (/dev/null), are read one piece in a turn of the loop, and written at
  once.
- What was read before the observer paused the LineReader is kept: at most a line and a piece. What is written is never dropped.
"""

from __future__ import annotations

import os
import select
import stat
from collections import deque

from ...base.poll import Poll
from ..cli.console import put

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import BinaryIO, Deque, Optional

    from ...base.loop import Loop

READ_SIZE = 65536
PIECE = getattr(select, "PIPE_BUF", 512)  # what a blocking pipe that polls writable takes without blocking
HIGH, LOW = 65536, 16384  # bytes that wait to be written: from HIGH on write() returns False, at LOW on_outflow_drain comes


class LineObserver:
    """What a LineReader calls, from the loop; ignores everything, a subclass overrides what it needs."""

    __slots__ = ()

    def on_line(self, line: bytes) -> None:
        """A line, without its end. `LineReader.number` is its number."""

    def on_long_line(self) -> None:
        """A line is longer than `most` bytes: it is left out."""

    def on_lines_end(self) -> None:
        """There are no more lines: the last call."""

    def on_lines_error(self, exc: Exception) -> None:
        """The descriptor cannot be read: the last call."""


class OutflowObserver:
    """What an Outflow calls, from the loop or inside `write`; ignores everything, a subclass overrides what it needs."""

    __slots__ = ()

    def on_outflow_drain(self) -> None:
        """There is room again: a write returned False before."""

    def on_outflow_error(self, exc: Exception) -> None:
        """The file takes nothing any more; what waited is dropped."""


class LineReader:
    """The lines of `fd`, without their ends, of at most `most` bytes. fd: None for no stdin. Begins with `resume()`.

    `number`: of the line that the observer is told of, from 1 on.
    """

    def __init__(self, loop: Loop, fd: Optional[int], most: int, observer: LineObserver) -> None:
        self.number: int = 1
        self._loop = loop
        self._fd = fd
        self._most = most
        self._observer = observer
        self._polled = fd is not None and not is_file(fd)
        self._poll: Optional[Poll] = None
        self._held = bytearray()
        self._searched = 0  # bytes of _held in which there is no line's end
        self._skipping = False  # inside of a line that is too long
        self._paused = True
        self._ended = fd is None
        self._closed = False

    @property
    def left(self) -> int:
        """Bytes that were read, and not yet given to the observer."""
        return len(self._held)

    def pause(self) -> None:
        """Gives no more lines for now."""
        self._paused = True
        self._unwatch()

    def resume(self) -> None:
        """Goes on, from the loop."""
        if self._paused and not self._closed:
            self._paused = False
            self._loop.call_soon(self._go_on)

    def close(self) -> None:
        """Calls nothing any more. The descriptor stays open."""
        self._closed = self._paused = True
        self._unwatch()

    def _go_on(self) -> None:
        self._tell()
        if not self._paused and not self._ended and self._poll is None:
            self._watch()

    def _watch(self) -> None:
        """Has `_read` called when there is something to read; for a file, in the next turn."""
        if not self._polled:
            self._loop.call_soon(self._read)
            return
        assert self._fd is not None
        poll = Poll(self._loop, self._fd)
        try:
            poll.on_readable.attach(self._readable)
            self._poll = poll
        except PermissionError:  # epoll's word for it
            poll.abort()
            self._polled = False
            self._watch()
        except (OSError, ValueError) as exc:
            poll.abort()
            self._fail(exc)

    def _unwatch(self) -> None:
        if self._poll is not None:
            self._poll.abort()
            self._poll = None

    def _readable(self, poll: Poll) -> None:
        self._read()

    def _read(self) -> None:
        if self._paused:
            return
        assert self._fd is not None
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:  # somebody made it nonblocking, and somebody else was faster
            return
        except OSError as exc:
            self._fail(exc)
            return
        self._held += data
        if not data:
            self._ended = True
            self._unwatch()
        self._tell()
        if not self._polled and not self._paused and not self._ended:
            self._loop.call_soon(self._read)

    def _tell(self) -> None:
        """Gives all lines that are held to the observer, until it pauses; behind the last line the end."""
        held, at = self._held, 0
        while not self._paused:
            end = held.find(b"\n", max(at, self._searched))
            if end < 0:
                break
            line, at = held[at:end], end + 1
            self._searched = 0
            self._tell_line(line)
        del held[:at]
        if self._paused:
            return
        self._searched = len(held)
        if self._ended:
            self._tell_end()
        elif len(held) > self._most or self._skipping:
            self._skip()

    def _tell_line(self, line: bytearray) -> None:
        if self._skipping:  # on_long_line was called
            self._skipping = False
        elif len(line) > self._most:
            self._observer.on_long_line()
        else:
            self._observer.on_line(bytes(line))
        self.number += 1

    def _tell_end(self) -> None:
        rest = self._held[:]
        self._held.clear()
        if rest:
            self._tell_line(rest)
        if not self._closed:
            self.close()
            self._observer.on_lines_end()

    def _skip(self) -> None:
        """The line that is coming is left out."""
        self._held.clear()
        self._searched = 0
        if not self._skipping:
            self._skipping = True
            self._observer.on_long_line()

    def _fail(self, exc: Exception) -> None:
        self.close()
        self._observer.on_lines_error(exc)


class Outflow:
    """Writes to `file`. `queued`: bytes that wait to be written."""

    def __init__(self, loop: Loop, file: BinaryIO, observer: OutflowObserver) -> None:
        self.queued: int = 0
        self._loop = loop
        self._file = file
        self._observer = observer
        self._fd = _descriptor(file)  # None: written at once
        self._queue: Deque[memoryview] = deque()
        self._poll: Optional[Poll] = None
        self._drain_due = False

    def write(self, data: bytes) -> bool:
        """Takes all of `data`. False: write no more until on_outflow_drain comes."""
        if self._poll is None and not self._watch():
            try:
                put(self._file, data)
            except (OSError, ValueError) as exc:
                self._observer.on_outflow_error(exc)
            return True
        self._queue.append(memoryview(data))
        self.queued += len(data)
        self._drain_due = self._drain_due or self.queued >= HIGH
        return not self._drain_due

    def close(self) -> None:
        """Drops what waits. The file stays open."""
        self._queue.clear()
        self.queued = 0
        self._unwatch()

    def _watch(self) -> bool:
        """Has `_writable` called when there is room; False where the descriptor cannot be polled."""
        if self._fd is None:
            return False
        poll = Poll(self._loop, self._fd)
        try:
            poll.on_writable.attach(self._writable)
        except (OSError, ValueError):
            poll.abort()
            self._fd = None
            return False
        self._poll = poll
        return True

    def _unwatch(self) -> None:
        if self._poll is not None:
            self._poll.abort()
            self._poll = None

    def _writable(self, poll: Poll) -> None:
        assert self._fd is not None
        first = self._queue[0]
        try:
            size = os.write(self._fd, first[:PIECE])
        except BlockingIOError:  # somebody made it nonblocking, and it has less room than a piece
            return
        except OSError as exc:
            self.close()
            self._observer.on_outflow_error(exc)
            return
        self.queued -= size
        if size < len(first):
            self._queue[0] = first[size:]
        else:
            self._queue.popleft()
            if not self._queue:
                self._unwatch()
        if self._drain_due and self.queued <= LOW:
            self._drain_due = False
            self._observer.on_outflow_drain()


def is_file(fd: int) -> bool:
    """Whether `fd` is a plain file: reads and writes of it never wait."""
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:  # it is not open
        return False


def _descriptor(file: BinaryIO) -> Optional[int]:
    """The descriptor of `file` where it can be polled; None for a plain file, or what has no descriptor."""
    try:
        fd = file.fileno()
        return None if is_file(fd) else fd
    except (OSError, ValueError, AttributeError):  # none of the system's
        return None
