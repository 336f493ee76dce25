"""(opt termios, signal) Terminal: a terminal on which keys come one by one, and which is as it was before, whatever happens.

    terminal = terminal_of(0, sys.stdout.buffer)   # None where stdin and stdout are no terminals, or there is no termios
    terminal.open(redraw)
    terminal.enter()                               # no echo, no lines
    ...
    terminal.close()

Rules
- The keys that are signals stay signals: Ctrl-C, Ctrl-Z, Ctrl-\\. So does what the terminal makes of line ends.
- It is put back by `close()`; at Ctrl-Z before the program stops; and where a signal ends the program. When the program goes on
  (fg), `enter()` and `redraw` follow. Signals that the process ignores stay ignored, and handlers that were there are called.
- Handlers are set in the main thread alone, and where there is the module signal; without them the rest works.
- In the background the terminal is another program's: it is left alone. `enter()` is cheap, and is called before each read:
  after `bg` and `fg` the shell tells nobody.

Not here: what is typed (lineeditor.py), reading (keyboard.py).
"""

from __future__ import annotations

import os

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, BinaryIO, Callable, Dict, List, Optional

EIGHTY = 80  # columns, where the terminal does not say
LFLAG, CC = 3, 6  # places in what termios.tcgetattr returns

try:
    import termios
except ImportError:
    termios = None  # type: ignore[assignment]


def terminal_of(stdin: Optional[int], out: Optional[BinaryIO]) -> Optional[Terminal]:
    """The terminal of stdin, a descriptor, and stdout, a file; None unless both are terminals that can be set."""
    try:
        if termios is None or stdin is None or out is None or not os.isatty(stdin) or not os.isatty(out.fileno()):
            return None
        termios.tcgetattr(stdin)
        return Terminal(stdin, out.fileno())
    except (OSError, ValueError, AttributeError, termios.error):
        return None


class Terminal:
    """The terminal whose descriptors are `fd`, for reading, and `out`."""

    def __init__(self, fd: int, out: int) -> None:
        self.fd = fd
        self.out = out
        self._before: Optional[List[Any]] = None  # its modes; None: they are as they were
        self._handlers: Dict[int, Any] = {}
        self._redraw: Callable[[], Any] = lambda: None

    def columns(self) -> int:
        """The width of the screen."""
        try:
            return os.get_terminal_size(self.out).columns or EIGHTY
        except OSError:
            return EIGHTY

    def same(self, file: Any) -> bool:
        """Whether `file` is this terminal, too."""
        try:
            fd = file.fileno()
            return os.isatty(fd) and os.fstat(fd).st_rdev == os.fstat(self.out).st_rdev
        except (OSError, ValueError, AttributeError):
            return False

    def open(self, redraw: Callable[[], Any]) -> None:
        """From now on signals find the terminal as it was. redraw: called in a signal's handler, if the screen has changed."""
        self._redraw = redraw
        try:
            import signal
        except ImportError:
            return
        for name, handler in (("SIGTSTP", self._stops), ("SIGCONT", self._goes_on), ("SIGWINCH", self._changes),
                              ("SIGTERM", self._ends), ("SIGHUP", self._ends), ("SIGQUIT", self._ends)):
            number = getattr(signal, name, None)
            if number is None or signal.getsignal(number) in (None, signal.SIG_IGN):
                continue
            try:
                self._handlers[number] = signal.signal(number, handler)
            except ValueError:  # this is not the main thread
                return

    def enter(self) -> None:
        """Keys come one by one from here on, and are not echoed."""
        if not self._is_ours():
            return
        try:
            modes: List[Any] = termios.tcgetattr(self.fd)
            if not modes[LFLAG] & (termios.ICANON | termios.ECHO):
                return
            self._before = [*modes[:CC], list(modes[CC])]
            modes[LFLAG] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
            modes[CC][termios.VMIN], modes[CC][termios.VTIME] = 1, 0
            termios.tcsetattr(self.fd, termios.TCSANOW, modes)
        except termios.error:  # it is gone: reading will tell
            pass

    def leave(self) -> None:
        """The terminal is as it was."""
        before, self._before = self._before, None
        if before is not None and self._is_ours():
            try:
                termios.tcsetattr(self.fd, termios.TCSANOW, before)
            except termios.error:  # it is gone
                pass

    def close(self) -> None:
        """Leaves, and takes no signals any more."""
        self.leave()
        while self._handlers:
            import signal

            number, handler = self._handlers.popitem()
            signal.signal(number, handler)

    def _is_ours(self) -> bool:
        """Whether this program is in the foreground, as far as the terminal knows of such."""
        try:
            return os.tcgetpgrp(self.fd) == os.getpgrp()
        except OSError:  # it is not the one that controls us
            return True

    # signals

    def _stops(self, number: int, frame: Optional[FrameType]) -> None:
        self.leave()
        self._pass_on(number, frame)

    def _goes_on(self, number: int, frame: Optional[FrameType]) -> None:
        self.enter()
        self._redraw()
        self._pass_on(number, frame)

    def _changes(self, number: int, frame: Optional[FrameType]) -> None:
        self._redraw()
        self._pass_on(number, frame)

    def _ends(self, number: int, frame: Optional[FrameType]) -> None:
        self.leave()
        self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: Optional[FrameType]) -> None:
        """The signal does what it did before."""
        import signal

        before = self._handlers.get(number)
        if callable(before):
            before(number, frame)
        elif number not in (signal.SIGCONT, getattr(signal, "SIGWINCH", None)):  # by default these do nothing
            ours = signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            signal.signal(number, ours)  # it was Ctrl-Z, and the program goes on
