"""stdin by lines, and stdout, on a loop: neither ever holds it up.

    LineReader(loop, fd, most, observer)     observer.on_line(bytes), on_long_line(), on_lines_end(), on_lines_error(exc)
    Outflow(loop, file, observer)            observer.on_outflow_drain(), on_outflow_error(exc)

Rules
- The descriptors stay blocking: a terminal's are shared with the shell that started us. They are read when poll says that
  there is something, and written in pieces that a pipe takes whole when poll says that there is room.
- Files, and what epoll refuses because it is always ready (/dev/null), are read a piece a turn, and written at once.
- What was read while the observer has paused us is kept, no more than a line and a piece; what is written is never dropped.
"""

from __future__ import annotations

import os
import select
import stat
from collections import deque

from ..base.poll import Poll
from .outlets import put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Deque, Optional

    from ..base.loop import Loop

READ_SIZE = 65536
PIECE = getattr(select, "PIPE_BUF", 512)  # what a blocking pipe that polls writable takes without blocking
HIGH, LOW = 65536, 16384  # bytes that wait to be written: from where on write() says False, and where the drain comes


class LineReader:
    """The lines of `fd`, without their ends, of at most `most` bytes. fd: None for no stdin. Begins with `resume()`.

    `number`: of the line that is told, from 1 on.
    """

    def __init__(self, loop: Loop, fd: Optional[int], most: int, observer: Any) -> None:
        self.number = 1
        self._loop = loop
        self._fd = fd
        self._most = most
        self._observer = observer
        self._polled = fd is not None and not is_file(fd)
        self._poll: Optional[Poll] = None
        self._held = bytearray()
        self._searched = 0  # bytes of it without a line's end
        self._skipping = False  # inside of a line that is too long
        self._paused = True
        self._ended = fd is None
        self._closed = False

    @property
    def left(self) -> int:
        """Bytes that were read and not told."""
        return len(self._held)

    def pause(self) -> None:
        """Tells no more lines for now."""
        self._paused = True
        self._unwatch()

    def resume(self) -> None:
        """Goes on, from the loop."""
        if self._paused and not self._closed:
            self._paused = False
            self._loop.call_soon(self._go_on)

    def close(self) -> None:
        """Tells nothing any more. The descriptor stays open."""
        self._closed = self._paused = True
        self._unwatch()

    def _go_on(self) -> None:
        self._tell()
        if not self._paused and not self._ended and self._poll is None:
            self._watch()

    def _watch(self) -> None:
        """Has `_read` called when there is something; the next turn, where there always is."""
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
        """All lines that are held, until paused; behind the last one, the end."""
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
        if self._skipping:  # it was told of
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
        """The line that is coming will not be told."""
        self._held.clear()
        self._searched = 0
        if not self._skipping:
            self._skipping = True
            self._observer.on_long_line()

    def _fail(self, exc: Exception) -> None:
        self.close()
        self._observer.on_lines_error(exc)


class Outflow:
    """Writes to `file`. `queued`: bytes that wait."""

    def __init__(self, loop: Loop, file: BinaryIO, observer: Any) -> None:
        self.queued = 0
        self._loop = loop
        self._file = file
        self._observer = observer
        self._fd = _descriptor(file)  # None: written at once
        self._queue: Deque[memoryview] = deque()
        self._poll: Optional[Poll] = None
        self._drain_due = False

    def write(self, data: bytes) -> bool:
        """Takes all of it; False: no more until on_outflow_drain()."""
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
        """Gives up what waits. The file stays open."""
        self._queue.clear()
        self.queued = 0
        self._unwatch()

    def _watch(self) -> bool:
        """Has `_writable` called when there is room; False where that cannot be asked."""
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
    """Whether `fd` is a plain file, which reads and writes never wait for."""
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:  # it is not open
        return False


def _descriptor(file: BinaryIO) -> Optional[int]:
    """What can be polled, None for a file."""
    try:
        fd = file.fileno()
        return None if is_file(fd) else fd
    except (OSError, ValueError, AttributeError):  # none of the system's
        return None
