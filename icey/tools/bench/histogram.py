"""Histogram: many times in little memory, their percentiles, and bars drawn as text.

    latencies = Histogram()
    latencies.add(0.0123)                # seconds
    latencies.percentile(99)
    print("\\n".join(latencies.drawn()))

How it works: a time is counted in ticks of 100 ns. Each number of ticks below 256 has a bucket of its own; above, every
doubling is cut into 128 buckets, so that a bucket is never wider than 0.8 % of the times in it. A day takes less than four
thousand buckets, which are made when they are needed. Least, greatest and sum are exact.
"""

from __future__ import annotations

from math import ceil, exp, inf, log

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Iterator, List, Tuple

TICK = 1e-7  # seconds
TICKS = 10_000_000  # a second
FINE = 128  # buckets of a doubling

ROWS = 12
WIDTH = 40
BLOCKS = " ▏▎▍▌▋▊▉█"  # eighths of a column
PLAIN = " #"


class Histogram:
    """Times in seconds. `most`: the greatest time, `total`: the sum of all; 0 where there is none."""

    __slots__ = ("most", "total", "_least", "_counts")

    def __init__(self) -> None:
        self.most: float = 0.0
        self.total: float = 0.0
        self._least = inf
        self._counts: List[int] = [0] * (8 * FINE)

    def add(self, seconds: float) -> None:
        """Counts a time; a time below zero, from a clock that was set back, counts as zero."""
        if seconds > self.most:
            self.most = seconds
        if seconds < self._least:
            if seconds < 0.0:
                seconds = 0.0
            self._least = seconds
        self.total += seconds
        ticks = int(seconds * TICKS)
        if ticks >= 256:
            shift = ticks.bit_length() - 8
            ticks = (shift << 7) + (ticks >> shift)
        try:
            self._counts[ticks] += 1
        except IndexError:
            self._counts.extend([0] * (ticks + FINE - len(self._counts)))
            self._counts[ticks] += 1

    @property
    def count(self) -> int:
        """How many times there are."""
        return sum(self._counts)

    @property
    def least(self) -> float:
        """The least time, 0 where there is none."""
        return self._least if self._least < inf else 0.0

    @property
    def mean(self) -> float:
        """The average, 0 where there is none."""
        return self.total / (self.count or 1)

    def percentile(self, percent: float) -> float:
        """The time that `percent` % of all (0 to 100) do not exceed, within 1 %; 0 where there is none."""
        if not 0 <= percent <= 100:
            raise ValueError("a percentile is from 0 to 100, not %r" % (percent,))
        wanted = ceil(self.count * percent / 100)
        if wanted <= 1:
            return self.least
        seen = 0
        for _, high, count in self.buckets():
            seen += count
            if seen >= wanted:
                return min(high, self.most)
        return self.most

    def buckets(self) -> Iterator[Tuple[float, float, int]]:
        """(from, to, how many) of each bucket that holds something, in seconds, ascending."""
        for index, count in enumerate(self._counts):
            if count:
                shift = index // FINE - 1
                if shift <= 0:
                    low, size = index, 1
                else:
                    low, size = (index - (shift << 7)) << shift, 1 << shift
                yield low * TICK, (low + size) * TICK, count

    def rows(self, most: int = ROWS) -> List[Tuple[float, float, int]]:
        """At most `most` rows (from, to, how many), from least to greatest; their widths grow by one factor."""
        if not self.count:
            return []
        least, greatest = max(self.least, TICK), max(self.most, TICK)
        number = min(most, 1 + int(log(greatest / least) / log(1.01)))
        step = log(greatest / least) / number
        counts = [0] * number
        for low, high, count in self.buckets():
            middle = min(max((low + high) / 2, least), greatest)
            counts[min(number - 1, int(log(middle / least) / step)) if step else 0] += count
        edges = [least * exp(step * index) for index in range(number)] + [greatest]
        return list(zip(edges, edges[1:], counts))

    def drawn(self, marks: str = PLAIN, width: int = WIDTH) -> List[str]:
        """Lines of text: from, to, a bar, how many. marks: the characters of a bar, from an empty column to a full one."""
        rows = self.rows()
        most = max([count for _, _, count in rows], default=0)
        digits = len("%d" % most)
        return ["%8s to %-8s %s %*d" % (
            time_text(low), time_text(high), bar(count / most, marks, width).ljust(width), digits, count)
            for low, high, count in rows]


def bar(part: float, marks: str, width: int) -> str:
    """A bar of `part` (0 to 1) of `width` columns; a part above 0 has at least the smallest mark."""
    steps = len(marks) - 1
    eighths = max(round(part * width * steps), 1 if part else 0)
    whole, rest = divmod(eighths, steps)
    return marks[-1] * whole + (marks[rest] if rest else "")


def time_text(seconds: float) -> str:
    """Three digits and a unit: "12.3 us", "1.23 ms", "4.56 s"."""
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        value = seconds * factor
        if value < 999.5:
            return "%s %s" % (three_digits(value), unit)
    return "%s s" % three_digits(seconds)


def three_digits(value: float) -> str:
    """A number with three digits, or all those before its point: "1.23", "12.3", "1234"."""
    return "%.*f" % (2 if value < 9.995 else 1 if value < 99.95 else 0, value)
