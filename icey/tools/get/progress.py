"""Progress: how far a download, or an upload, has come: a bar redrawn in place, or plain lines where stderr is no terminal.

    big.iso  42% [==========>             ] 4.2 of 10.0 MiB  3.2 MiB/s  0:02        BAR: at most ten times a second
    big.iso: 40 %, 4.0 of 10.0 MiB, 3.2 MiB/s                                       LINES: at each tenth

Rules: nothing here reads a clock or a terminal by itself: both are given. Nothing is drawn in the first tenth of a second, so
that a quick download does not flicker. The rate is that of the last five seconds. Where the total is not known there are no
percents and no bar, and there is a line every five seconds.
"""

from __future__ import annotations

from collections import deque

from ..cli.console import columns, printable

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Callable, Deque, Optional, Tuple

    from ..cli.console import Console

HIDDEN, LINES, BAR = range(3)

REDRAWN = 0.1  # seconds between two drawings
APART = 1.0  # and between two lines
BEAT = 5.0  # between two lines where no tenths can be counted
WINDOW = 5.0  # seconds that the rate is taken over
WIDEST, NARROWEST = 30, 8  # columns of the bar itself
LONGEST_NAME = 30

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def style(console: Console, into_file: bool, before: bool = False) -> int:
    """How to show progress: HIDDEN where the body itself is on the terminal; LINES only for a body that goes into a file.

    before: nothing of the body has come: this is of an upload.
    """
    if console.quiet or console.err is None:
        return HIDDEN
    if console.err_terminal:
        return BAR if into_file or before or not console.out_terminal else HIDDEN
    return LINES if into_file else HIDDEN


class Progress:
    """The progress of one body: call `advance` as it comes. clock: gives seconds. total: bytes, None if not known.

    `have`: bytes that were there at the start. `received`: bytes that are there now, `have` included. `total`: as given.
    """

    def __init__(
        self, console: Console, clock: Callable[[], float], how: int, name: str, total: Optional[int], have: int = 0
    ) -> None:
        self.have: int = have
        self.received: int = have
        self.total = total
        self._console = console
        self._clock = clock
        self._how = how
        name = printable(name)
        self._name = name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME - 3] + "..."
        self._began = self._shown = clock()
        self._tenth = 10 * have // total if total else 0
        self._samples: Deque[Tuple[float, int]] = deque([(self._began, have)])

    def advance(self, received: int) -> None:
        """`received` bytes are there, those of the start included."""
        self.received = received
        self.tick()

    def tick(self) -> None:
        """Time has passed: shows the progress, if that is due."""
        if self._how != HIDDEN:
            now = self._clock()
            self._sample(now)
            if self._how == BAR:
                if now - self._shown >= REDRAWN:
                    self._shown = now
                    self._console.draw(self._bar(now))
            elif self._is_due(now):
                self._shown = now
                self._console.note("%s: %s" % (self._name, self._line()))

    def end(self) -> None:
        """Removes the bar."""
        if self._how == BAR:
            self._console.wipe()

    def summary(self) -> str:
        """What came, and how long it took, as text."""
        came, took = self.received - self.have, self._clock() - self._began
        text = size(self.received)
        if self.have:
            text += ", of which %s came now" % size(came)
        return text + (" in %.1f s, %s/s" % (took, size(came / took)) if took >= 0.1 else "")

    def _sample(self, now: float) -> None:
        samples = self._samples
        if now - samples[-1][0] >= REDRAWN:
            samples.append((now, self.received))
            while len(samples) > 2 and now - samples[1][0] >= WINDOW:
                samples.popleft()

    def _rate(self) -> float:
        """Bytes a second, over the last WINDOW seconds."""
        (began, before), (ended, after) = self._samples[0], self._samples[-1]
        return (after - before) / (ended - began) if ended > began else 0.0

    # lines

    def _is_due(self, now: float) -> bool:
        if not self.total:
            return now - self._shown >= BEAT
        tenth = 10 * self.received // self.total
        if tenth <= self._tenth or tenth >= 10 or now - self._shown < APART:
            return False
        self._tenth = tenth
        return True

    def _line(self) -> str:
        text = "%s, %s/s" % (self.amount(), size(self._rate()))
        return "%d %%, %s" % (self._percent(), text) if self.total else text

    # the bar

    def _bar(self, now: float) -> str:
        """One line, a column shorter than the terminal: some terminals wrap in their last column. The bar has the room left."""
        room = max(0, self._console.columns() - 1)
        rate = self._rate()
        right = "%s  %s/s  %s" % (self.amount(), size(rate), self._rest(now, rate))
        left = "%3d%% " % self._percent() if self.total else ""
        if columns(self._name) + 2 + len(left) + len(right) <= room:
            left = "%s  %s" % (self._name, left)
        space = min(WIDEST, room - columns(left) - len(right) - 4)
        if self.total and space >= NARROWEST:
            done = space * min(self.received, self.total) // self.total
            left += "[%s]  " % ("=" * done + ">")[:space].ljust(space)
        return (left + right)[:room]

    def _percent(self) -> int:
        assert self.total
        return min(100, 100 * self.received // self.total)

    def amount(self) -> str:
        if not self.total:
            return size(self.received)
        whole = size(self.total)
        unit = UNITS.index(whole.split()[1])
        return "%s of %s" % (size(self.received, unit).split()[0], whole)

    def _rest(self, now: float, rate: float) -> str:
        """How long the download still takes; where that is not known, how long it has taken."""
        if not self.total:
            return clock_time(now - self._began)
        left = self.total - self.received
        return clock_time(left / rate) if rate > 0 else "-:--"


def size(count: float, unit: Optional[int] = None) -> str:
    """A number of bytes for people: "999 B", "4.2 MiB". unit: which of UNITS to use."""
    if unit is None:
        unit = 0
        while unit < len(UNITS) - 1 and count >= 1024 ** (unit + 1):
            unit += 1
    return "%.*f %s" % (1 if unit else 0, count / 1024 ** unit, UNITS[unit])


def clock_time(seconds: float) -> str:
    """"0:07", "12:34", "1:02:03"; "-:--" for more than four days."""
    if seconds >= 100 * 3600:
        return "-:--"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return "%d:%02d:%02d" % (hours, minutes, rest) if hours else "%d:%02d" % (minutes, rest)
