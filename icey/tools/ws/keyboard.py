"""Keyboard: the lines that are typed at a terminal, in the place of a LineReader: edited, and redrawn under what is printed.

    keyboard = Keyboard(loop, terminal, most, observer, write)
    keyboard.resume()                 # lines come, as from a LineReader
    keyboard.print(b"< hello\\n")      # above the line that is being typed

Rules
- Whatever goes to the screen goes through `write`, in one piece with the line that is cleared before and drawn behind it.
- While it is paused nothing is read: what is typed waits in the terminal, and a paste of many lines goes on line by line.
- When it is closed, what is typed stays on the screen, and the next thing is printed below.

Not here: keys (lineeditor.py), the terminal's modes (terminal.py).
"""

from __future__ import annotations

import os

from ...base.poll import Poll
from .lineeditor import LineEditor
from .stdio import READ_SIZE

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from ...base.loop import Loop
    from .stdio import LineObserver
    from .terminal import Terminal


class Keyboard:
    """Lines of at most `most` bytes, without their ends. write: takes bytes for the screen. Begins with `resume()`.

    `number`: of the line that the observer is told of, from 1 on.
    """

    def __init__(
        self, loop: Loop, terminal: Terminal, most: int, observer: LineObserver, write: Callable[[bytes], bool]
    ) -> None:
        self.number: int = 1
        self._loop = loop
        self._terminal = terminal
        self._most = most
        self._observer = observer
        self._write = write
        self._editor = LineEditor(terminal.columns)
        self._poll: Optional[Poll] = None
        self._begun = False  # the line is on the screen
        self._paused = True
        self._closed = False

    @property
    def left(self) -> int:
        """Bytes that were read, and not yet looked at."""
        return len(self._editor.held)

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
        if not self._closed:
            self._closed = self._paused = True
            self._unwatch()
            rest = self._editor.left()
            if rest:
                self._write(rest)

    def print(self, data: bytes) -> bool:
        """Prints `data`, whole lines, above what is typed. Returns what `write` returns."""
        if self._closed or not self._begun:
            return self._write(data)
        return self._write(self._editor.hidden() + data + self._editor.shown())

    def redraw(self) -> None:
        """Draws the line anew. From a signal's handler, too: it is done from the loop."""
        self._loop.post(self._draw)

    def _draw(self) -> None:
        if self._begun and not self._closed:
            self._write(self._editor.shown())

    def _go_on(self) -> None:
        if self._closed:
            return
        self._terminal.enter()
        self._begun = True
        self._tell()
        if not self._paused and self._poll is None:
            poll = Poll(self._loop, self._terminal.fd)
            try:
                poll.on_readable.attach(self._readable)
                self._poll = poll
            except (OSError, ValueError) as exc:
                poll.abort()
                self._fail(exc)

    def _unwatch(self) -> None:
        if self._poll is not None:
            self._poll.abort()
            self._poll = None

    def _readable(self, poll: Any) -> None:
        self._terminal.enter()
        try:
            data = os.read(self._terminal.fd, READ_SIZE)
        except BlockingIOError:  # somebody made it nonblocking, and somebody else was faster
            return
        except OSError as exc:
            self._fail(exc)
            return
        self._editor.take(data)
        self._tell()
        if not data and not self._closed:
            self._end()

    def _tell(self) -> None:
        """Gives all lines that are complete to the observer."""
        editor = self._editor
        while not self._paused:
            line = editor.next()
            if line is None:
                break
            self._write(editor.told(line))
            data = line.encode("utf-8", "surrogateescape")
            if len(data) > self._most:
                self._observer.on_long_line()
            else:
                self._observer.on_line(data)
            self.number += 1
        if self._closed:
            return
        if editor.ended:
            self._end()
        else:
            self._draw()

    def _end(self) -> None:
        self.close()
        self._observer.on_lines_end()

    def _fail(self, exc: Exception) -> None:
        self.close()
        self._observer.on_lines_error(exc)
