"""The line that is typed at a terminal: keys as bytes in, and a small model of a screen that shows what comes out."""
import re

import pytest

from icey.tools.cli.console import columns
from icey.tools.ws.lineeditor import MOST_KEPT, LineEditor

LEFT, RIGHT, UP, DOWN = b"\x1b[D", b"\x1b[C", b"\x1b[A", b"\x1b[B"


class Screen:
    """What a terminal shows: `rows`, the cursor at `row`, `column`. Whatever it does not know is an error, a full row too."""

    def __init__(self, width=40):
        self.width = width
        self.rows, self.row, self.column = [[]], 0, 0

    def write(self, data, wraps=False):
        self.wraps = wraps
        text = data.decode("utf-8")
        while text:
            match = re.match("\x1b\\[([0-9]*)([A-Za-z])", text)
            if match:
                self.control(match.group(2), match.group(1))
                text = text[match.end():]
            else:
                self.put(text[0])
                text = text[1:]

    def control(self, final, number):
        if final == "K":
            del self.rows[self.row][self.column:]
        elif final == "C":
            self.column += int(number)
        elif final == "H":
            self.row = self.column = 0
        elif final == "J" and number == "2":
            self.rows = [[] for _ in self.rows]
        else:
            raise AssertionError((final, number))

    def put(self, char):
        if char == "\r":
            self.column = 0
        elif char == "\n":  # the terminal makes CR LF of it
            self.row, self.column = self.row + 1, 0
            self.rows += [[]] * (self.row == len(self.rows))
        elif not columns(char):
            self.rows[self.row][self.column - 1] += char
        else:
            if self.wraps and self.column + columns(char) > self.width:
                self.put("\n")
            row = self.rows[self.row]
            row += [" "] * (self.column + columns(char) - len(row))
            row[self.column:self.column + columns(char)] = [char] + [""] * (columns(char) - 1)
            self.column += columns(char)
            assert self.wraps or self.column < self.width, "the last column is not ours"

    @property
    def lines(self):
        return ["".join(row).rstrip() for row in self.rows]


class Typing:
    """An editor and its screen. `sent`: the lines that are complete."""

    def __init__(self, width=40):
        self.screen = Screen(width)
        self.editor = LineEditor(lambda: width)
        self.sent = []

    def type(self, data):
        self.editor.take(data)
        while True:
            line = self.editor.next()
            if line is None:
                break
            self.sent.append(line)
            self.screen.write(self.editor.told(line), wraps=True)
        self.screen.write(self.editor.shown())
        return self

    @property
    def line(self):
        """What is shown, with the cursor as |."""
        row = self.screen.rows[self.screen.row]
        row = row + [" "] * (self.screen.column - len(row))
        return "".join(row[:self.screen.column]) + "|" + "".join(row[self.screen.column:])


KEYS = [
    (b"", "> |"), (b"hello", "> hello|"), (b"hello" + LEFT * 2, "> hel|lo"), (b"hello" + LEFT * 9 + RIGHT + b"-", "> h-|ello"),
    (b"hello\x02\x02\x06!", "> hell!|o"), (b"hello\x1bOD\x1bOD\x1bOC!", "> hell!|o"), (b"ab" + RIGHT + b"c", "> abc|"),
    *((b"hello" + home + b"x", "> x|hello") for home in (b"\x01", b"\x1b[H", b"\x1bOH", b"\x1b[1~", b"\x1b[7~")),
    *((b"hello\x01" + end + b"x", "> hellox|") for end in (b"\x05", b"\x1b[F", b"\x1bOF", b"\x1b[4~", b"\x1b[8~")),
    (b"hello\x7f\x08", "> hel|"), (b"\x7fa\x01\x7f", "> |a"), (b"abc\x01\x1b[3~", "> |bc"), (b"abc\x1b[3~", "> abc|"),
    (b"abc\x01\x04", "> |bc"), (b"abc\x04", "> abc|"),
    (b"one two" + LEFT + b"\x15", "> |o"), (b"one two" + LEFT + b"\x0b", "> one tw|"), (b"one two  \x17", "> one |"),
    (b"one two\x1b\x7f", "> one |"), (b"one two\x01\x1bd", "> | two"), (b"one two\x15 \x19\x19", ">  one twoone two|"),
    (b"a-b c\x1bb\x1bb", "> a-|b c"), (b"a-b c\x01\x1bf\x1bf", "> a-b| c"), (b"one two\x1b[1;5D!", "> one !|two"),
    (b"one two\x01\x1b[1;5C!", "> one!| two"),
    ("Grüße, 世界 \U0001f600".encode(), "> Grüße, 世界 \U0001f600|"), ("世界".encode() + LEFT + b"x", "> 世x|界"),
    ("世界".encode() + b"\x7f", "> 世|"), ("e\u0301a".encode() + LEFT * 2 + b"x", "> x|e\u0301a"),
    ("ae\u0301".encode() + b"\x7f", "> a|"), ("e\u0301a\u0301".encode() + b"\x01" + RIGHT + b"x", "> e\u0301x|a\u0301"),
    (b"a\tb", "> a    b|"), (b"\xffa", "> \\udcffa|"), (b"a\xc3(", "> a\\udcc3(|"),
    ("\u200e\u2028".encode(), "> \\u200e\\u2028|"),
    # what is no key of ours does nothing
    (b"a\x1b[15~\x1b[[A\x1b[1;2P\x1bOP\x1bx\x1b\x1b[D\x00\x1c\x1b[200~b\x1b[201~", "> b|a"),
    (b"a\x1b\xc3\xa9", "> aé|"), (b"a\x1b[1\x07b", "> a1b|"),
]


@pytest.mark.parametrize("keys, shown", KEYS, ids=lambda value: repr(value)[:40])
def test_keys(keys, shown):
    assert Typing().type(keys).line == shown
    slowly = Typing().type(b"")
    for number in range(len(keys)):
        slowly.type(keys[number:number + 1])
    assert slowly.line == shown and slowly.sent == []


@pytest.mark.parametrize("cut", range(1, 30))
def test_every_split(cut):
    keys = "wid世\x1b[1;5De\u0301\x1b[3~x\x1bOF!\rnext\r".encode()
    assert Typing().type(keys[:cut]).type(keys[cut:]).sent == ["e\u0301xid世!", "next"]


def test_a_sequence_that_never_ends_is_not_waited_for():
    typing = Typing().type(b"a\x1b[" + b"1" * 10)
    assert typing.line == "> a|"
    assert typing.type(b"1" * 30 + b"\r").sent == ["a" + "1" * 40]


def test_lines_are_complete_at_either_end_and_stay_on_the_screen():
    typing = Typing().type(b"one\rtwo\nthr\tee\x1bOMfo")
    assert typing.sent == ["one", "two", "thr\tee"]
    assert typing.screen.lines[:2] == ["> one", "> two"] and typing.line == "> fo|"
    assert Typing().type(b"\r\r").sent == ["", ""]


def test_what_is_no_utf_8_comes_back_as_it_was():
    assert Typing().type(b"\xff\xc3(\xe4\xb8\r").sent[0].encode("utf-8", "surrogateescape") == b"\xff\xc3(\xe4\xb8"


def test_ctrl_d_ends_it_on_an_empty_line_alone():
    typing = Typing().type(b"ab\x04\x01\x04\x04")
    assert not typing.editor.ended and typing.line == "> |"
    typing.type(b"\x04more\r")
    assert typing.editor.ended and typing.sent == [] and typing.editor.next() is None


def test_history():
    typing = Typing().type(b"one\rtwo\rtwo\r\rhalf" + UP)
    assert typing.line == "> two|"
    assert typing.type(UP * 5).line == "> one|"
    assert typing.type(b"!" + DOWN).line == "> two|"
    assert typing.type(DOWN * 3).line == "> half|"
    assert typing.type(b"\x10\x10\x0e\r").sent[-1] == "two"
    assert typing.type(UP * 2 + b"\x7f\r" + UP).line == "> on|"
    many = Typing().type(b"".join(b"%d\r" % number for number in range(MOST_KEPT + 9)) + UP * (MOST_KEPT + 99))
    assert many.line == "> 9|"


@pytest.mark.parametrize("width", [1, 3, 4, 5, 12, 20])
def test_of_a_long_line_the_part_at_the_cursor_is_shown(width):
    typing = Typing(max(width, 5))
    typing.editor._columns = lambda: width
    letters = "ab世cde\u0301fghij世界klmnopqrstuvwxyz"
    typing.type(letters.encode())
    for key in [LEFT] * 30 + [RIGHT] * 30 + [b"\x01", b"\x05", b"\x7f", LEFT, b"\x0b", UP]:
        typing.type(key)
        shown, at = typing.line[2:].replace("|", ""), "".join(typing.editor._text)
        assert shown.strip() in at and len(typing.screen.rows) == 1 and (shown.strip() or width < 12)
    assert typing.type(b"\r").sent == [letters[:-2]]


def test_at_a_width_the_window_follows_the_cursor():
    typing = Typing(12)  # nine columns are the line's, one of them the cursor's
    assert typing.type(b"abcdefgh").line == "> abcdefgh|"
    assert typing.type(b"ijkl").line == "> efghijkl|"
    assert typing.type(LEFT * 7).line == "> e|fghijkl"
    assert typing.type(LEFT).line == "> abcd|efghi"
    assert typing.type(LEFT).line == "> abc|defghi"
    assert typing.type(LEFT).line == "> ab|cdefghi"
    assert typing.type(b"\x05").line == "> efghijkl|"
    assert typing.type(b"\x7f" * 8).line == "> abcd|"
    assert typing.type(b"efghijkl").line == "> efghijkl|"
    assert typing.type("\x01世".encode()).line == "> 世|abcdefg"


def test_what_comes_is_printed_above():
    typing = Typing().type(b"half" + LEFT)
    typing.screen.write(typing.editor.hidden() + b"< hello\n" + typing.editor.shown())
    assert typing.screen.lines == ["< hello", "> half"] and typing.line == "> hal|f"
    assert typing.type(b"\r").screen.lines == ["< hello", "> half", ">"]


def test_ctrl_l_clears_the_screen():
    typing = Typing().type(b"one\rtwo\x0c")
    assert typing.screen.lines[0] == "> two" and typing.line == "> two|" and not typing.screen.lines[1]


def test_the_end_leaves_what_is_typed():
    typing = Typing().type(b"half" + LEFT * 3)
    typing.screen.write(typing.editor.left() + b"closed\n")
    assert typing.screen.lines == ["> half", "closed", ""]
    nothing = Typing().type(b"")
    nothing.screen.write(nothing.editor.left() + b"closed\n")
    assert nothing.screen.lines == ["closed", ""]
    assert LineEditor(lambda: 80).left() == LineEditor(lambda: 80).hidden() == b""


@pytest.mark.parametrize("line", ["\x1b[2Jx", "a\x07b", "a\x9bc"])
def test_nothing_that_was_typed_steers_the_terminal(line):
    editor = LineEditor(lambda: 80)
    assert b"\x1b[2J" not in editor.told(line) and not re.search(b"\x07|\xc2\x9b", editor.told(line))


def test_a_paste_of_many_lines():
    lines = ["line %d" % number for number in range(2000)]
    assert Typing().type("\n".join(lines).encode() + b"\n").sent == lines
