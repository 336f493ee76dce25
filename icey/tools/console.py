"""What the commands of `python3 -m icey` have in common: how they say what is wrong, and how they write.

    Trouble      raised anywhere in a command: one line for the user, and the exit status
    Parser       argparse, with mistakes in one line
    Console      stdout in bytes, stderr in lines, and a line that changes (progress)

Rules: one line a problem, without a traceback. What comes from elsewhere (a server's reason, a file's name) is made
printable: it can neither break the line nor steer the terminal. A stderr that is missing or closed is no trouble.
"""

from __future__ import annotations

import argparse
import os
import sys
from unicodedata import east_asian_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, NoReturn, Optional, TextIO


class Trouble(Exception):
    """What to tell the user in one line, and the exit status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help of 79 columns; left to itself argparse imports shutil, bz2 and lzma to find out: 6 ms."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=79)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, instead of the usage and one; exit status 2."""

    def error(self, message: str) -> NoReturn:
        """One line, and out."""
        self.exit(2, "%s: %s (--help tells more)\n" % (self.prog, printable(message)))


def printable(text: str) -> str:
    """`text` with what is no printable character escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def reason(exc: BaseException) -> str:
    """Why, as the system says it, without a number and a file's name."""
    text = getattr(exc, "strerror", None)
    if not text and isinstance(exc, OSError) and len(exc.args) == 2:  # PyPy's ssl leaves it empty
        text = os.strerror(exc.args[0])
    return text or str(exc) or type(exc).__name__


def columns(text: str) -> int:
    """The columns that `text` takes on a terminal."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def eighty() -> int:
    """The columns of a terminal that does not tell."""
    return 80


class Console:
    """Where a command writes.

    out: a binary file, None where there is none. err: a text file, or None. quiet: no notes. out_terminal, err_terminal:
    whether they are terminals, for err one that can change a line. columns: a function that tells err's width.
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
        self._drawn = 0  # columns of the line that changes

    @classmethod
    def of_process(cls, prog: str) -> Console:
        """The process's own stdout and stderr."""
        err = sys.stderr
        return cls(
            prog, getattr(sys.stdout, "buffer", None), err, out_terminal=_is_terminal(sys.stdout),
            err_terminal=_is_terminal(err) and os.environ.get("TERM") != "dumb", columns=lambda: _columns(err))

    def trouble(self, text: str) -> None:
        """Says what went wrong."""
        self.show("%s: %s" % (self.prog, text))

    def note(self, text: str) -> None:
        """Says it, unless it is to be quiet."""
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
        """Takes away what was drawn."""
        if self._drawn:
            self._write("\r%s\r" % (" " * self._drawn))
            self._drawn = 0

    def abandon_out(self) -> None:
        """Nobody takes what stdout still holds back: without this Python would try again at its exit, and complain."""
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(null, self.out.fileno())  # type: ignore[union-attr]
            finally:
                os.close(null)
        except (OSError, ValueError, AttributeError):  # no file of the system's
            pass

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
