"""Backoff: how long to wait before what failed is tried again.

    backoff = Backoff(1.0, 60.0)
    backoff.next()              # seconds until the next try, when the last one failed
    backoff.next(lived=90.0)    # when it had worked for so many seconds

Rules
- A rest has a bound, which doubles from one try to the next: twice `least` at first, `most` at last. The rest is between half
  of its bound and all of it (jitter: those who lost the same server do not all come back at once), and at least `least`.
- The bounds begin anew once what was tried has lived longer than the bound of the rest before it.

Not here: timers, and what is tried (mqtt/client.py, http/client/comeback.py).
"""

from __future__ import annotations

import os

from .timer import seconds

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional


class Backoff:
    """Rests of `least` to `most` seconds. random: a function for the jitter, returns 0 to 1.

    `least`, `most` (seconds), `random`: as given; they may be set, for the rests to come. `bound`: of the last rest, 0 before
    the first and when the rests begin anew.
    """

    __slots__ = ("least", "most", "random", "bound")

    def __init__(self, least: float, most: float, random: Optional[Callable[[], float]] = None) -> None:
        self.least: float = float(least)
        self.most: float = float(most)
        self.random: Callable[[], float] = from_0_to_1 if random is None else random
        self.bound: float = 0.0

    @classmethod
    def of(cls, given: Any, what: str) -> Backoff:
        """A Backoff for a pair (least, most), which the user gave as `what`. TypeError, ValueError: it is none."""
        try:
            least, most = given
        except (TypeError, ValueError):
            raise TypeError("%s is (least, most) seconds, not %r" % (what, given)) from None
        if not 0 < seconds(least, what) <= seconds(most, what):
            raise ValueError("%s is (least, most) seconds, above 0 and in this order, not %r" % (what, given))
        return cls(least, most)

    def next(self, lived: float = 0.0, *, longest: bool = False) -> float:
        """Seconds until the next try. lived: how long the last one had worked. longest: one of the longest rests."""
        if lived > max(self.bound, self.least):
            self.bound = 0.0
        self.bound = self.most if longest else min(self.most, 2 * max(self.bound, self.least))
        return max(self.least, self.bound * (1 + self.random()) / 2)


def from_0_to_1() -> float:
    """A number from 0 to 1, without the module random, whose import is dear."""
    return int.from_bytes(os.urandom(4), "big") / 2 ** 32
