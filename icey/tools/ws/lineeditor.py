"""LineEditor: one line that is typed at a terminal, without I/O: bytes of keys in, lines and bytes for the screen out.

    editor = LineEditor(columns=lambda: 80)
    editor.take(b"hello\\x1b[D!\\r")         # what the terminal sent, cut anywhere
    editor.next()                           # "hell!o"; None: nothing is complete; `ended` says whether Ctrl-D came
    editor.shown()                          # bytes that draw the line as it is
    editor.hidden()                         # bytes that clear it, so that something else can be printed

Keys: left, right, Ctrl-B, Ctrl-F; Home, End, Ctrl-A, Ctrl-E; by words Alt-B, Alt-F, Ctrl-left, Ctrl-right; Backspace, Delete,
Ctrl-D; Ctrl-U, Ctrl-K, Ctrl-W, Alt-D cut, Ctrl-Y puts back; up, down, Ctrl-P, Ctrl-N: lines from before; Ctrl-L clears the
screen.

Rules
- The line takes one row of the screen: of a longer one the part around the cursor is shown. Nothing is ever drawn in the last
  column, since terminals differ in what they do then.
- Columns are counted, not characters: wide ones take two, combining ones none, and these go with what they stand on.
- What is no UTF-8 stays as it is (surrogateescape). What cannot be printed is shown escaped, a tab as four spaces.
- No key waits for a clock: an Esc alone is the begin of what comes next.

Not here: the terminal's modes (terminal.py), reading and writing (keyboard.py). Ctrl-C and Ctrl-Z, which are signals.
"""

from __future__ import annotations

import re

from ..cli.console import columns as columns_of, printable, tame

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional

PROMPT = "> "
MOST_KEPT = 500  # lines that the up key brings back
TAB = "    "
HIDE = b"\r\x1b[K"

_CSI = re.compile(rb"\x1b\[(?:\[.|[0-?]*[ -/]*[@-Z\\-~])").match
_CSI_BEGUN = re.compile(rb"\x1b\[(?:\[|[0-?]*[ -/]*)").fullmatch
_LONGEST = 32  # bytes of a key


class LineEditor:
    """A line that is typed. columns: gives the width of the screen.

    `ended`: Ctrl-D came on an empty line. `held`: bytes that were taken and not looked at.
    """

    def __init__(self, columns: Callable[[], int], prompt: str = PROMPT) -> None:
        self.ended: bool = False
        self.held: bytearray = bytearray()
        self._columns = columns
        self._prompt = prompt
        self._text: List[str] = []
        self._at = 0  # where the cursor stands
        self._first = 0  # the first character that is shown
        self._cut: List[str] = []
        self._history: List[str] = []
        self._back = 0  # how many lines of the history the line is from
        self._draft: List[str] = []  # what was typed before the up key
        self._drawn = False
        self._clears = False

    # -- what comes ---------------------------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Takes what the terminal sent."""
        self.held += data

    def next(self) -> Optional[str]:
        """Looks at what was taken, up to the end of a line, which is returned; None: the line goes on, or has `ended`."""
        while not self.ended:
            key = self._next_key()
            if key is None:
                return None
            if key in ("\r", "\n", "\x1bOM"):
                return self._accept()
            act = _KEYS.get(key)
            if act is not None:
                act(self)
            elif len(key) == 1 and (key == "\t" or key >= " "):
                self._text.insert(self._at, key)
                self._at += 1
        return None

    def _next_key(self) -> Optional[str]:
        """The next key: a character, or the text of an escape sequence; None where its end has not come."""
        held = self.held
        while held:
            first = held[0]
            if first == 0x1b:
                if len(held) == 1:
                    return None
                if held[1] == 0x1b:
                    del held[0]
                    continue
                size = self._escape_size()
                if size is None:
                    return None
            else:
                size = 1 if first < 0xc2 or first > 0xf4 else 2 if first < 0xe0 else 3 if first < 0xf0 else 4
                begun = held[1:size]
                if any(byte & 0xc0 != 0x80 for byte in begun):
                    size = 1  # it is no UTF-8
                elif len(held) < size:
                    return None
            data = bytes(held[:size])
            try:
                key = data.decode("utf-8")
            except UnicodeDecodeError:
                key = data[:1].decode("utf-8", "surrogateescape")
                size = 1
            del held[:size]
            return key
        return None

    def _escape_size(self) -> Optional[int]:
        """How many bytes the key takes that begins with Esc; None where its end has not come."""
        held = self.held
        if held[1] == 0x5b:  # [
            match = _CSI(held)
            if match is not None:
                return match.end()
            return None if len(held) < _LONGEST and _CSI_BEGUN(held) else 2
        if held[1] == 0x4f:  # O
            return 3 if len(held) > 2 else None
        return 2 if held[1] < 0x80 else 1

    def _accept(self) -> str:
        line = "".join(self._text)
        if line and self._history[-1:] != [line]:
            self._history.append(line)
            del self._history[:-MOST_KEPT]
        self._set([])
        self._back, self._draft = 0, []
        return line

    # -- what is seen -------------------------------------------------------------------------------------------------

    def shown(self) -> bytes:
        """Bytes that draw the line, with the cursor where it stands; drawn before or not."""
        room = max(2, self._columns() - 1 - columns_of(self._prompt))
        self._scroll(room)
        left = "".join(map(_cell, self._text[self._first:self._at]))
        taken = columns_of(left)
        right: List[str] = []
        for char in self._text[self._at:self._at + room + 1]:
            cell = _cell(char)
            taken += columns_of(cell)
            if taken > room:
                break
            right.append(cell)
        line = self._prompt + left
        begin = "\x1b[H\x1b[2J" if self._clears else "\r"
        self._clears, self._drawn = False, True
        to_cursor = "\r\x1b[%dC" % columns_of(line) if line else "\r"
        return (begin + line + "".join(right) + "\x1b[K" + to_cursor).encode("utf-8", "replace")

    def hidden(self) -> bytes:
        """Bytes that clear what was drawn, if something was."""
        drawn, self._drawn = self._drawn, False
        return HIDE if drawn else b""

    def told(self, line: str) -> bytes:
        """Bytes that leave `line`, which is complete, on the screen."""
        return self.hidden() + (self._prompt + tame(line) + "\n").encode("utf-8", "replace")

    def left(self) -> bytes:
        """Bytes that leave what is typed on the screen, as far as it is: the end. Nothing stays where nothing was typed."""
        return self.told("".join(self._text)) if self._text and self._drawn else self.hidden()

    def _scroll(self, room: int) -> None:
        """Has the cursor be among what is shown."""
        text, at = self._text, self._at
        keep = room - max(1, _width(text[at]) if at < len(text) else 1)
        least = self._first
        if at <= least:  # as much of what stands before it as of what stands behind
            least, keep = 0, keep // 2
        first, taken = at, 0
        while first > least and taken + _width(text[first - 1]) <= keep:
            first -= 1
            taken += _width(text[first])
        self._first = first

    # -- keys ---------------------------------------------------------------------------------------------------------

    def _set(self, text: List[str]) -> None:
        self._text, self._at, self._first = text, len(text), 0

    def _before(self, at: int) -> int:
        """Where the character left of `at` begins, with what stands on it."""
        at -= at > 0
        while at > 0 and not _width(self._text[at]):
            at -= 1
        return at

    def _after(self, at: int) -> int:
        """Where the character at `at` ends."""
        at += at < len(self._text)
        while at < len(self._text) and not _width(self._text[at]):
            at += 1
        return at

    def _word_before(self, blank: Callable[[str], bool]) -> int:
        at = self._at
        while at and blank(self._text[at - 1]):
            at -= 1
        while at and not blank(self._text[at - 1]):
            at -= 1
        return at

    def _word_after(self) -> int:
        at, size = self._at, len(self._text)
        while at < size and _between(self._text[at]):
            at += 1
        while at < size and not _between(self._text[at]):
            at += 1
        return at

    def _remove(self, start: int, stop: int, cut: bool = True) -> None:
        if cut and start < stop:
            self._cut = self._text[start:stop]
        del self._text[start:stop]
        self._at = start

    def _go_left(self) -> None:
        self._at = self._before(self._at)

    def _go_right(self) -> None:
        self._at = self._after(self._at)

    def _go_home(self) -> None:
        self._at = 0

    def _go_to_end(self) -> None:
        self._at = len(self._text)

    def _go_word_left(self) -> None:
        self._at = self._word_before(_between)

    def _go_word_right(self) -> None:
        self._at = self._word_after()

    def _backspace(self) -> None:
        self._remove(self._before(self._at), self._at, cut=False)

    def _delete(self) -> None:
        self._remove(self._at, self._after(self._at), cut=False)

    def _end_or_delete(self) -> None:
        if self._text:
            self._delete()
        else:
            self.ended = True

    def _cut_to_begin(self) -> None:
        self._remove(0, self._at)

    def _cut_to_end(self) -> None:
        self._remove(self._at, len(self._text))

    def _cut_word(self) -> None:
        self._remove(self._word_before(str.isspace), self._at)

    def _cut_word_right(self) -> None:
        self._remove(self._at, self._word_after())

    def _put_back(self) -> None:
        self._text[self._at:self._at] = self._cut
        self._at += len(self._cut)

    def _up(self) -> None:
        if self._back < len(self._history):
            if not self._back:
                self._draft = self._text
            self._back += 1
            self._set(list(self._history[-self._back]))

    def _down(self) -> None:
        if self._back:
            self._back -= 1
            self._set(list(self._history[-self._back]) if self._back else self._draft)

    def _clear_screen(self) -> None:
        self._clears = True


def _cell(char: str) -> str:
    """What stands for `char` on the screen."""
    return TAB if char == "\t" else printable(char)


def _width(char: str) -> int:
    return columns_of(_cell(char))


def _between(char: str) -> bool:
    """Whether `char` is in no word."""
    return not (char.isalnum() or not _width(char))


_E = LineEditor
_KEYS: Dict[str, Callable[[LineEditor], None]] = {
    "\x01": _E._go_home, "\x1b[H": _E._go_home, "\x1bOH": _E._go_home, "\x1b[1~": _E._go_home, "\x1b[7~": _E._go_home,
    "\x05": _E._go_to_end, "\x1b[F": _E._go_to_end, "\x1bOF": _E._go_to_end, "\x1b[4~": _E._go_to_end, "\x1b[8~": _E._go_to_end,
    "\x02": _E._go_left, "\x1b[D": _E._go_left, "\x1bOD": _E._go_left,
    "\x06": _E._go_right, "\x1b[C": _E._go_right, "\x1bOC": _E._go_right,
    "\x1bb": _E._go_word_left, "\x1b[1;5D": _E._go_word_left, "\x1b[1;3D": _E._go_word_left, "\x1bOd": _E._go_word_left,
    "\x1bf": _E._go_word_right, "\x1b[1;5C": _E._go_word_right, "\x1b[1;3C": _E._go_word_right, "\x1bOc": _E._go_word_right,
    "\x7f": _E._backspace, "\x08": _E._backspace, "\x1b[3~": _E._delete, "\x04": _E._end_or_delete,
    "\x15": _E._cut_to_begin, "\x0b": _E._cut_to_end, "\x17": _E._cut_word, "\x1b\x7f": _E._cut_word,
    "\x1bd": _E._cut_word_right, "\x19": _E._put_back, "\x0c": _E._clear_screen,
    "\x10": _E._up, "\x1b[A": _E._up, "\x1bOA": _E._up, "\x0e": _E._down, "\x1b[B": _E._down, "\x1bOB": _E._down,
}
