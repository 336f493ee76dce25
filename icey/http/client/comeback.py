"""ComesBack: what clients have in common that connect again by themselves: EventSource, and Reconnecting for WebSockets.

Rules
- From the start to the end there is a connection, one is being made, or there is a rest until the next try. Rests double, with
  jitter, between the two bounds that `retry` gives (base/backoff.py).
- What passes is tried again: the network's errors, and the statuses 408, 429 and 5xx, whose Retry-After holds as far as the
  upper bound. Any other status is an answer: asking again changes nothing, and the client is closed.

States: ReconnectState. Not here: what is tried (eventsource.py, http/websocket/reconnecting.py).
"""

from __future__ import annotations

import time
from enum import Enum

from ...base.backoff import Backoff
from ...base.handle import FINISHING, Handle
from ...base.state import InState, transitions
from ..semantics.dates import parse_date

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple

    from ...base.loop import Loop
    from ...base.timer import Timer
    from ..semantics.headers import Headers


class ReconnectState(Enum):
    """Where a client is that comes back: NEW (before it starts), CONNECTING (it tries), OPEN (connected), WAITING (it rests
    before the next try), CLOSED (for good)."""

    NEW = "new"
    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"
    CLOSED = "closed"


_r = ReconnectState
MOVES = transitions({
    _r.NEW: (_r.CONNECTING, _r.CLOSED),
    _r.CONNECTING: (_r.OPEN, _r.WAITING, _r.CLOSED),
    _r.OPEN: (_r.WAITING, _r.CLOSED),
    _r.WAITING: (_r.CONNECTING, _r.CLOSED),
    _r.CLOSED: (),
})


class ComesBack(InState, Handle):
    """A client that comes back. A subclass overrides `attempt`, and tells of what becomes of it by `opened` and `rest`.

    `backoff`: the Backoff of its rests. `attempts`: how many were begun since the last one that opened. `retry_in`: the seconds
    of the rest, from its beginning to its end, None while there is none.
    """

    __slots__ = ("backoff", "attempts", "retry_in", "_state", "_timer", "_since")

    MOVES = MOVES

    def __init__(self, loop: Loop, retry: Tuple[float, float]) -> None:
        super().__init__(loop)
        self.backoff: Backoff = Backoff.of(retry, "retry")
        self.attempts: int = 0
        self.retry_in: Optional[float] = None
        self._state = ReconnectState.NEW
        self._timer: Optional[Timer] = None
        self._since = 0.0  # when it opened, in the loop's time

    # for the subclass; the loop's thread

    def attempt(self) -> None:
        """Override: begins to connect."""

    def opened(self) -> None:
        """The attempt has led to a connection."""
        self._state = ReconnectState.OPEN
        self._since = self.loop.now
        self.attempts = 0

    def rest(self, at_least: float = 0.0, *, longest: bool = False) -> float:
        """There is no connection; `attempt` comes when the rest is over. Its seconds. at_least: holds up to the upper bound."""
        backoff = self.backoff
        lived = self.loop.now - self._since if self._state is ReconnectState.OPEN else 0.0
        self._state = ReconnectState.WAITING
        self.retry_in = rest = max(backoff.next(lived, longest=longest), min(at_least, backoff.most))
        self._timer = self.loop.call_later(rest, self._again)
        self._timer.unref()  # this handle keeps the loop running, or does not
        return rest

    def begin_attempt(self) -> None:
        """Counts, and calls `attempt`."""
        self._state = ReconnectState.CONNECTING
        self.retry_in = None
        self.attempts += 1
        self.attempt()

    def end_attempts(self) -> None:
        """There is no attempt any more."""
        self._state = ReconnectState.CLOSED
        self.retry_in = None
        timer, self._timer = self._timer, None
        if timer is not None and not self.loop.closed:
            timer.abort()

    def let_go(self) -> None:
        """Override, and call: lets go of what it connects by, and tells nothing more but on_error and on_close."""
        self.mute()
        self.end_attempts()

    def finish(self) -> None:
        """As Handle.finish. What it connects by comes first in the loop's closing phase: that is closed when on_close comes."""
        if self.phase < FINISHING:
            self.let_go()
        super().finish()

    def silence(self) -> None:
        self.let_go()

    def _again(self) -> None:
        self._timer = None
        self.begin_attempt()


def passes(status: int) -> bool:
    """Whether what a status says may be otherwise soon (RFC 9110 section 15.6, RFC 6585 section 4)."""
    return status >= 500 or status in (408, 429)


def wanted_rest(headers: Headers) -> float:
    """The seconds of an answer's Retry-After (RFC 9110 section 10.2.3), 0 where it has none."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:15])
    due = parse_date(text)
    if due is None:
        return 0.0
    now = parse_date(headers.get("date", ""))  # by the server's own clock, if that is told
    return max(0.0, due - (time.time() if now is None else now))


def wanted_by(exc: Any) -> float:
    """The same of an error with an answer as its `response`."""
    response = getattr(exc, "response", None)
    return 0.0 if response is None else wanted_rest(response.headers)
