"""What the commands of `python3 -m icey` have in common: how they say what is wrong, and how they write.

    Trouble      raised anywhere in a command: one line for the user, and the exit status
    Parser       argparse, which says a mistake in one line
    Console      stdout in bytes, stderr in lines, and a line that changes (progress)

Rules: a problem is one line, without a traceback. Text from elsewhere (a server's reason, a file's name) is made printable: it
can neither break the line nor steer the terminal. A stderr that is missing or closed is no problem.
"""

from __future__ import annotations

import argparse
import errno
import os
import select
import sys
from io import TextIOWrapper

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, NoReturn, Optional, TextIO

_WIDE = ((0x1100, 0x115f), (0x2e80, 0x303e), (0x3041, 0xa4cf), (0xac00, 0xd7a3), (0xf900, 0xfaff), (0xfe30, 0xfe6f),
         (0xff00, 0xff60), (0xffe0, 0xffe6), (0x1f300, 0x1f64f), (0x1f900, 0x1f9ff), (0x20000, 0x3fffd))  # UAX 11

_COMBINING = ((0x300, 0x36f), (0x591, 0x5bd), (0x64b, 0x65f), (0x1ab0, 0x1aff), (0x1dc0, 0x1dff), (0x20d0, 0x20ff),
              (0xfe00, 0xfe0f), (0xfe20, 0xfe2f))


class Trouble(Exception):
    """What to tell the user, in one line, and `status`, the exit status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help of 79 columns. To find the terminal's width argparse would import shutil, bz2 and lzma: 6 ms."""

    def __init__(self, prog: str, **options: Any) -> None:
        if sys.version_info[:2] == (3, 14):  # which asks at once whether stdout is a terminal; later the parser says it
            options["color"] = False
        super().__init__(prog, width=79, **options)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage; exit status 2. Flags are not abbreviated. options: as of its base."""

    def __init__(self, *, allow_abbrev: bool = False, formatter_class: Any = Formatter, **options: Any) -> None:
        if sys.version_info >= (3, 14):  # where help has colours, and a stdout that is closed would be a ValueError
            options.setdefault("color", _is_terminal(sys.stdout))
        super().__init__(allow_abbrev=allow_abbrev, formatter_class=formatter_class, **options)

    def error(self, message: str) -> NoReturn:
        """Writes one line, and ends the program."""
        self.exit(2, "%s: %s (--help tells more)\n" % (self.prog, printable(message)))

    def exit(self, status: int = 0, message: Optional[str] = None) -> NoReturn:
        """Ends the program; up to Python 3.9 argparse lets the error pass of a stderr that is full, or is none."""
        try:
            super().exit(status, message)
        except (OSError, AttributeError):
            sys.exit(status)

    def print_help(self, file: Any = None) -> None:
        """Writes the help, and ends the program where that cannot be: argparse would not tell."""
        status = print_out(self.prog, self.format_help(), file)
        if status:
            self.exit(status)


def print_out(prog: str, text: str, file: Optional[TextIO] = None) -> int:
    """Writes `text` to `file` (None: stdout), what its encoding does not have escaped. Returns the exit status: 0; 1
    where that cannot be, which is told; 141 where nobody reads it."""
    out = sys.stdout if file is None else file
    if out is None:
        return 0
    text = encodable(text, out)
    try:
        if isinstance(out, TextIOWrapper):  # which does not look at how much an unbuffered file has taken
            out.flush()
            put(out.buffer, text.replace("\n", os.linesep).encode(out.encoding, out.errors or "strict"))
        else:
            out.write(text)
            out.flush()
        return 0
    except (OSError, ValueError) as exc:
        return not_printed(prog, out, exc)


def encodable(text: str, out: Any) -> str:
    """`text`, what the encoding of `out` does not have escaped."""
    encoding = getattr(out, "encoding", None) or "ascii"
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except (LookupError, UnicodeError):
        return text.encode("ascii", "backslashreplace").decode("ascii")


def not_printed(prog: str, out: Any, exc: Exception) -> int:
    """`out`, which is stdout, took not all, because of `exc`. Returns the exit status."""
    abandon(out)
    if isinstance(exc, BrokenPipeError):
        return 141
    Console.of_process(prog).trouble("cannot write to stdout: " + reason(exc))
    return 1


def abandon(file: Any) -> None:
    """Drops what `file` still holds, since nobody takes it; else Python would try again when it exits, and complain."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, file.fileno())
        finally:
            os.close(null)
    except (OSError, ValueError, AttributeError):  # no file of the system's
        pass


def printable(text: str) -> str:
    """`text`, its characters that cannot be printed escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def tame(text: str) -> str:
    """`text` for a terminal: nothing in it but line ends and tabs can steer the terminal."""
    if text.isprintable():
        return text
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def reason(exc: BaseException) -> str:
    """The reason of an error in the system's words, without a number and a file's name."""
    text = getattr(exc, "strerror", None)
    if not text and isinstance(exc, OSError) and len(exc.args) == 2:  # PyPy's ssl leaves it empty
        text = os.strerror(exc.args[0])
    return text or str(exc) or type(exc).__name__


def columns(text: str) -> int:
    """The columns that `text` takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(char: str) -> int:
    try:
        from unicodedata import category, east_asian_width
    except ImportError:  # a Python that comes without: by blocks, which is right for nearly all
        code = ord(char)
        if any(first <= code <= last for first, last in _COMBINING):
            return 0
        return 2 if any(first <= code <= last for first, last in _WIDE) else 1
    return 0 if category(char) in ("Mn", "Me") else 2 if east_asian_width(char) in "WF" else 1


def eighty() -> int:
    """The columns of a terminal whose width is not known."""
    return 80


class Console:
    """Where a command writes.

    `prog`: the command's name. `out`: a binary file, None where there is none. `err`: a text file, or None. `out_terminal`,
    `err_terminal`: whether they are terminals (err: one that can change a line). `columns`: a function that gives the width of
    err. `quiet`: True leaves notes out; `silent`: True leaves out what went wrong, too.
    """

    def __init__(
        self, prog: str, out: Optional[BinaryIO], err: Optional[TextIO], *, out_terminal: bool = False,
        err_terminal: bool = False, columns: Callable[[], int] = eighty,
    ) -> None:
        self.prog = prog
        self.out = out
        self.err = err
        self.out_terminal = out_terminal
        self.err_terminal = err_terminal
        self.columns = columns
        self.quiet = False
        self.silent = False
        self._drawn = 0  # columns of the line that changes

    @classmethod
    def of_process(cls, prog: str) -> Console:
        """A console on stdout and stderr of the process."""
        err = sys.stderr
        return cls(
            prog, getattr(sys.stdout, "buffer", None), err, out_terminal=_is_terminal(sys.stdout),
            err_terminal=_is_terminal(err) and os.environ.get("TERM") != "dumb", columns=lambda: _columns(err))

    def trouble(self, text: str) -> None:
        """Writes what went wrong, unless `silent`."""
        if not self.silent:
            self.show("%s: %s" % (self.prog, text))

    def note(self, text: str) -> None:
        """Writes a line to stderr, unless `quiet`."""
        if not self.quiet:
            self.show(text)

    def show(self, line: str) -> None:
        """Writes a line to stderr."""
        self.wipe()
        self._write(printable(line) + "\n")

    def draw(self, text: str) -> None:
        """Shows `text`, which fits into one line, in the place of what was drawn before."""
        width = columns(text)
        self._write("\r" + text + " " * (self._drawn - width))
        self._drawn = width

    def wipe(self) -> None:
        """Removes what was drawn."""
        if self._drawn:
            self._write("\r%s\r" % (" " * self._drawn))
            self._drawn = 0

    def abandon_out(self) -> None:
        """Drops what stdout still holds, since nobody reads it."""
        abandon(self.out)

    def _write(self, text: str) -> None:
        try:
            if self.err is not None:
                self.err.write(text)
                self.err.flush()
        except (OSError, ValueError):  # nobody reads it
            pass


def _is_terminal(file: Any) -> bool:
    try:
        return bool(file.isatty())
    except (AttributeError, ValueError):  # None, or closed
        return False


def _columns(file: Any) -> int:
    try:
        return os.get_terminal_size(file.fileno()).columns or eighty()
    except (OSError, ValueError, AttributeError):
        return eighty()


def put(file: BinaryIO, data: Any) -> None:
    """Writes all of `data` now, also where another program has made the descriptor nonblocking, and to an unbuffered file
    (stdout of python3 -u), which may take less at a time: it does when the program is stopped and goes on."""
    left = memoryview(data)
    while True:
        try:
            while left:
                taken = file.write(left)
                if taken is None:  # an unbuffered file that takes nothing now
                    raise BlockingIOError(errno.EAGAIN, "full", 0)
                left = left[taken:]
            file.flush()
            return
        except BlockingIOError as exc:
            left = left[exc.characters_written:]
            select.select([], [file], [])
