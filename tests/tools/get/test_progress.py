"""Progress: bars and lines, on a clock that moves when told."""
import io

import pytest

from icey.tools.cli.console import Console
from icey.tools.get import progress
from icey.tools.get.progress import BAR, HIDDEN, LINES, Progress
from icey.tools.testing import VirtualClock


class Shown:
    """A Progress, its clock, and what it wrote."""

    def __init__(self, how, total, have=0, name="big.iso", columns=80):
        self.clock = VirtualClock(100.0)
        self.err = io.StringIO()
        self.width = columns
        self.console = Console("get", None, self.err, err_terminal=how == BAR, columns=lambda: self.width)
        self.progress = Progress(self.console, self.clock, how, name, total, have)

    def at(self, seconds, received):
        """What is written when so much is there so many seconds after the start."""
        self.clock.advance(100.0 + seconds - self.clock())
        return self.written(lambda: self.progress.advance(received))

    def written(self, act):
        before = len(self.err.getvalue())
        act()
        return self.err.getvalue()[before:]


@pytest.mark.parametrize("quiet, err, out_terminal, err_terminal, into_file, how", [
    (False, True, False, True, True, BAR), (False, True, True, True, True, BAR), (False, True, False, True, False, BAR),
    (False, True, True, True, False, HIDDEN), (False, True, False, False, True, LINES), (False, True, True, False, True, LINES),
    (False, True, False, False, False, HIDDEN), (True, True, False, True, True, HIDDEN),
    (False, False, False, False, True, HIDDEN),
])
def test_the_style(quiet, err, out_terminal, err_terminal, into_file, how):
    console = Console("get", None, io.StringIO() if err else None, out_terminal=out_terminal, err_terminal=err_terminal)
    console.quiet = quiet
    assert progress.style(console, into_file) == how
    assert progress.style(console, into_file, before=True) == (BAR if err and err_terminal and not quiet else how)


def test_a_bar():
    shown = Shown(BAR, 10 << 20)
    assert shown.at(0.05, 1 << 20) == ""
    assert shown.at(1.0, 1 << 20) == "\rbig.iso   10% [==>                          ]  1.0 of 10.0 MiB  1.0 MiB/s  0:09"
    assert shown.at(1.05, 2 << 20) == ""
    assert shown.at(2.0, 5 << 20) == "\rbig.iso   50% [==============>              ]  5.0 of 10.0 MiB  2.5 MiB/s  0:02"
    assert shown.at(3.0, 10 << 20) == "\rbig.iso  100% [============================]  10.0 of 10.0 MiB  3.3 MiB/s  0:00"
    assert shown.written(shown.progress.end) == "\r%s\r" % (" " * 79)
    assert shown.written(shown.progress.end) == ""


def test_at_most_ten_times_a_second():
    shown = Shown(BAR, 1000)
    for n in range(1, 1001):
        shown.at(n / 1000, n)
    assert 8 <= shown.err.getvalue().count("\r") <= 10


@pytest.mark.parametrize("columns, line", [
    (81, "big.iso   25% [=======>                      ]  1.0 of 4.0 MiB  1.0 MiB/s  0:03"),
    (70, "big.iso   25% [=====>              ]  1.0 of 4.0 MiB  1.0 MiB/s  0:03"),
    (58, "big.iso   25% [==>     ]  1.0 of 4.0 MiB  1.0 MiB/s  0:03"),
    (57, "big.iso   25% 1.0 of 4.0 MiB  1.0 MiB/s  0:03"),
    (46, "big.iso   25% 1.0 of 4.0 MiB  1.0 MiB/s  0:03"),
    (45, " 25% 1.0 of 4.0 MiB  1.0 MiB/s  0:03"),
    (20, " 25% 1.0 of 4.0 MiB"),
    (1, ""), (0, ""),
])
def test_a_narrow_terminal_loses_the_bar_and_then_the_name(columns, line):
    shown = Shown(BAR, 4 << 20, columns=columns)
    assert shown.at(1, 1 << 20) == "\r" + line
    assert len(line) < max(columns, 1)


def test_a_terminal_that_changes_its_width():
    shown = Shown(BAR, 4 << 20)
    long = shown.at(1, 1 << 20)
    shown.width = 46
    line = shown.at(2, 2 << 20)
    assert line.rstrip() == "\rbig.iso   50% 2.0 of 4.0 MiB  1.0 MiB/s  0:02" and len(line) == len(long)


def test_without_a_total():
    shown = Shown(BAR, None)
    assert shown.at(61, 3000) == "\rbig.iso  2.9 KiB  49 B/s  1:01"


def test_a_body_larger_than_it_was_said_to_be():
    shown = Shown(BAR, 100)
    assert "100% [====" in shown.at(1, 250)


def test_an_empty_total_is_none():
    shown = Shown(BAR, 0)
    assert shown.at(1, 0) == "\rbig.iso  0 B  0 B/s  0:01"


@pytest.mark.parametrize("name, begins", [
    ("x" * 40, "x" * 27 + "...  "), ("\u65e5\u672c\u8a9e.iso", "\u65e5\u672c\u8a9e.iso  "), ("a\x1b[31m", "a\\x1b[31m  "),
])
def test_long_wide_and_odd_names(name, begins):
    shown = Shown(BAR, 4 << 20, name=name)
    line = shown.at(1, 1 << 20)
    assert line.startswith("\r" + begins)
    wide = sum(2 if char > "\u3000" else 1 for char in line[1:])
    assert wide <= 79
    assert shown.written(shown.progress.end) == "\r%s\r" % (" " * wide)


def test_the_rate_is_that_of_the_last_seconds():
    shown = Shown(BAR, 1 << 30)
    for second in range(1, 11):
        shown.at(second, second * 1000 << 10)
    line = [shown.at(second, (10000 << 10) + (second - 10) * 1024) for second in range(11, 21)][-1]
    assert "  1.0 KiB/s  " in line


def test_a_download_that_stands_still():
    shown = Shown(BAR, 4 << 20)
    shown.at(1, 1 << 20)
    for _ in range(10):
        shown.clock.advance(1)
        line = shown.written(shown.progress.tick)
    assert line.rstrip().endswith("  0 B/s  -:--")


def test_lines_come_at_each_tenth_and_a_second_apart():
    shown = Shown(LINES, 1000)
    lines = [shown.at(second / 10, second * 10) for second in range(1, 101)]
    assert [line for line in lines if line] == ["big.iso: %d0 %%, %d00 of 1000 B, 100 B/s\n" % (n, n) for n in range(1, 10)]
    quick = Shown(LINES, 1000)
    assert [quick.at(0.09 * n, n * 100) for n in range(1, 11)] == [""] * 10
    jump = Shown(LINES, 1000)
    assert jump.at(5, 750) == "big.iso: 75 %, 750 of 1000 B, 150 B/s\n"
    assert jump.at(8, 799) == ""


def test_lines_without_a_total_come_every_five_seconds():
    shown = Shown(LINES, None)
    lines = [shown.at(second, second * 10) for second in range(1, 21)]
    assert [n for n, line in enumerate(lines, 1) if line] == [5, 10, 15, 20]
    assert lines[4] == "big.iso: 50 B, 10 B/s\n"


def test_what_was_there_counts_for_the_percents_and_not_for_the_rate():
    shown = Shown(LINES, 1000, have=500)
    assert shown.at(1, 500) == ""
    assert shown.at(2, 600) == "big.iso: 60 %, 600 of 1000 B, 50 B/s\n"
    assert shown.progress.summary() == "600 B, of which 100 B came now in 2.0 s, 50 B/s"


def test_hidden_shows_nothing():
    shown = Shown(HIDDEN, 1000)
    assert [shown.at(n, n) for n in range(1, 5)] == [""] * 4
    assert shown.written(shown.progress.end) == ""


def test_the_summary():
    shown = Shown(HIDDEN, 1000)
    shown.at(0.01, 1000)
    assert shown.progress.summary() == "1000 B"
    shown.at(2, 5 << 20)
    assert shown.progress.summary() == "5.0 MiB in 2.0 s, 2.5 MiB/s"


@pytest.mark.parametrize("count, text", [
    (0, "0 B"), (999, "999 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"),
    (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB"), (3 << 50, "3072.0 TiB"), (12.7, "13 B"),
])
def test_sizes(count, text):
    assert progress.size(count) == text


@pytest.mark.parametrize("seconds, text", [
    (0, "0:00"), (7.9, "0:07"), (61, "1:01"), (3599, "59:59"), (3723, "1:02:03"), (359999, "99:59:59"), (360000, "-:--"),
    (float("inf"), "-:--"),
])
def test_times(seconds, text):
    assert progress.clock_time(seconds) == text
