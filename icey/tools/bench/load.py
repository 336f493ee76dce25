"""Load: asks one URL again and again over some connections, and measures the answers.

    load = Load(loop, url, connections=16, duration=10.0, done=loop.stop)
    load.start()
    loop.run()
    load.measured.latencies.percentile(99)

Rules
- A connection has one request at a time, and is kept for the next one as long as the server keeps it.
- Closed loop (no `rate`): a connection asks again when it has its answer, and a latency counts from the start of its request.
  A server that stalls is asked less meanwhile, so that stalls weigh little in the percentiles ("coordinated omission").
- Open loop (`rate`): requests are due at fixed moments, whatever the server does, and a latency counts from the moment when the
  request was due: waiting for a free connection is part of it.
- A request that begins, or is due, before the warm-up is over is not counted. At the end the Load waits for nothing; it says
  how many requests are under way then, and how long the oldest of them has waited.
- What this process takes itself is measured, too: the time that its loop spends outside of select. Nearly all of the time means
  that answers wait for this process, and not this process for answers. CPU time would not say so: a process that shares its
  core with the server, or with others, is the limit at half a core.
- The Load gives up when there have been as many failures as there are connections, and no answer at all.

Not here: the command line and the report (command.py), percentiles (histogram.py).
"""

from __future__ import annotations

from time import perf_counter

from ...base.errors import Deadline
from ...base.limits import DEFAULTS
from ...base.state import transitions, watch_states
from ...base.timer import Timer
from ...http.client.connection import ClientConnection
from ...http.semantics.url import URL
from .histogram import Histogram

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    from ...base.loop import Loop
    from ...http.semantics.headers import HeadersLike

REST = 0.1  # seconds until a connection that could not be made is tried again

CONNECT, TIMEOUT, BROKEN = "connect", "timeout", "broken"
WARMING, MEASURING, OVER = range(3)
MOVES = transitions({WARMING: (MEASURING, OVER), MEASURING: (OVER,), OVER: ()}, names=("WARMING", "MEASURING", "OVER"))


class Measured:
    """What was measured: `answers` in `seconds`; their `statuses` (code -> how many), `size` (bytes of bodies), `latencies`.

    `errors`: CONNECT, TIMEOUT, BROKEN -> how many requests ended so. `first`: the first error of each kind in words, the
    warm-up included. `connections`: how many were made, the warm-up included. `waiting`: requests under way at the end; the
    oldest has waited for `oldest` seconds. `late`: requests that were due at the end and had not begun. `busy`: seconds that
    the loop was at work, outside of select.
    """

    def __init__(self) -> None:
        self.seconds: float = 0.0
        self.busy: float = 0.0
        self.answers = self.size = 0
        self.statuses: Dict[int, int] = {}
        self.latencies: Histogram = Histogram()
        self.errors: Dict[str, int] = {}
        self.first: Dict[str, str] = {}
        self.connections = 0
        self.waiting = self.late = 0
        self.oldest: float = 0.0


class Load:
    """Asks `url` over `connections` connections, for `duration` seconds, or for `requests` requests instead.

    rate: requests a second, None for a closed loop. warmup: seconds. body: bytes. tls: an ssl.SSLContext for https. timeout:
    seconds for a request. done: called when all is over. clock: returns seconds.

    `measured`: the Measured. `counted_from`: the time of `clock` from which on requests count. `loop`, `url`, `rate`, `body`:
    as given.
    """

    MOVES = MOVES

    def __init__(
        self, loop: Loop, url: Any, *, connections: int = 16, duration: float = 10.0, requests: Optional[int] = None,
        rate: Optional[float] = None, warmup: float = 0.0, method: str = "GET", headers: HeadersLike = None,
        body: Optional[bytes] = None, tls: Any = None, timeout: Optional[float] = 30.0,
        done: Optional[Callable[[], Any]] = None, clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.loop = loop
        self.url: URL = URL.of(url)
        self.rate = rate
        self.body = body
        self.measured: Measured = Measured()
        self.counted_from: float = float("inf")  # what began before is not counted
        self._duration = duration
        self._left = requests  # requests that are to begin; None: no bound
        self._warmup = warmup
        self._clock = clock
        self._done = done
        limits = DEFAULTS.replace(connect_timeout=timeout, handshake_timeout=timeout, answer_timeout=None, head_timeout=None,
                                  body_timeout=None, write_timeout=None)
        self._options: Dict[str, Any] = {"method": method, "headers": headers, "tls": tls, "timeout": timeout, "limits": limits}
        self._state = WARMING
        self._proven = False  # there has been an answer
        self._failures = 0
        self._began = 0.0
        self._step = 0  # of the open loop: how many requests have begun
        self._ending = Timer(loop, 0.0, self._phase_over)
        self._pace = Timer(loop, 0.0, self._due)
        self._askers = [_Asker(self) for _ in range(connections)]
        self._idle: List[_Asker] = [] if rate is None else self._askers[::-1]
        if loop.debug:
            watch_states(self)

    def start(self) -> None:
        """Begins, with the warm-up if there is one. ValueError, TypeError, NetError: the request cannot be sent."""
        self._began = self._clock()
        if self._warmup > 0:
            self._ending.delay = self._warmup
            self._ending.start()
        else:
            self._measure()
        if self.rate is None:
            for asker in self._askers:
                self.proceed(asker, self._began)
        else:
            self._due()

    def stop(self) -> None:
        """Ends the load now; does nothing if it is over."""
        if self._state == OVER:
            return
        now, measured = self._clock(), self.measured
        if self._state == MEASURING:
            measured.seconds = now - self.counted_from
            self.loop.unwatch_turns(self._turned)
            measured.busy += self._of_this_turn()
        waiting = [now - asker.began for asker in self._askers if asker.busy and asker.began >= self.counted_from]
        measured.waiting, measured.oldest = len(waiting), max(waiting, default=0.0)
        if self.rate is not None:
            due = int((now - self._began) * self.rate) + 1 - self._step
            measured.late = max(0, due if self._left is None else min(due, self._left))
        self._state = OVER
        self._ending.abort()
        self._pace.abort()
        for asker in self._askers:
            asker.leave()
        if self._done is not None:
            self._done()

    def close(self) -> None:
        """As stop(): what icey.run calls at a signal."""
        self.stop()

    # for the askers

    def connection(self) -> ClientConnection:
        """A new connection, not started."""
        self.measured.connections += 1
        return ClientConnection(self.loop, self.url, **self._options)

    def proceed(self, asker: _Asker, now: float) -> None:
        """An asker is free: it asks again, or waits until a request is due, or there is nothing left to ask."""
        if self._state == OVER:
            return
        if self._left == 0:
            if not any(other.busy for other in self._askers):
                self.stop()
            return
        began = now
        if self.rate is not None:
            began = self._next()
            if began > now:
                self._idle.append(asker)
                if not self._pace.active:
                    self._pace_to(began - now)
                return
            self._step += 1
        if self._left is not None and began >= self.counted_from:
            self._left -= 1
        asker.ask(began)

    def answered(self, asker: _Asker, connection: ClientConnection) -> None:
        """An asker's answer is complete."""
        now = self._clock()
        self._proven = True
        if asker.began >= self.counted_from:
            measured = self.measured
            measured.latencies.add(now - asker.began)
            measured.answers += 1
            measured.size += connection.received
            assert connection.response is not None
            status, statuses = connection.response.status, measured.statuses
            statuses[status] = statuses.get(status, 0) + 1
        self.proceed(asker, now)

    def failed(self, asker: _Asker, connection: ClientConnection, exc: Exception) -> None:
        """An asker's request got no complete answer."""
        kind = TIMEOUT if isinstance(exc, Deadline) else CONNECT if connection.stream is None else BROKEN
        measured = self.measured
        measured.first.setdefault(kind, str(exc))
        if asker.began >= self.counted_from:
            measured.errors[kind] = measured.errors.get(kind, 0) + 1
        self._failures += 1
        if not self._proven and self._failures >= len(self._askers):
            self.stop()
        elif kind == CONNECT:
            self.loop.call_later(REST, self._again, asker)
        else:
            self.proceed(asker, self._clock())

    # the course of time

    def _phase_over(self, timer: Timer) -> None:
        if self._state == WARMING:
            self._measure()
        else:
            self.stop()

    def _measure(self) -> None:
        """From now on requests count."""
        self._state = MEASURING
        self.counted_from = self._clock()
        self.measured.busy = -self._of_this_turn()
        self.loop.watch_turns(self._turned)
        if self._left is None:
            self._ending.delay = self._duration
            self._ending.start()
        self._began, self._step = self.counted_from, 0  # an open loop that was late begins anew
        if self.rate is not None:
            self._due()

    def _turned(self, seconds: float) -> None:
        self.measured.busy += seconds

    def _of_this_turn(self) -> float:
        """The seconds that the turn under way has taken so far; 0 outside of one."""
        return self.loop.clock() - self.loop.now if self.loop.running else 0.0

    def _due(self, timer: Optional[Timer] = None) -> None:
        """The open loop: gives requests that are due to free askers. Where no asker is free, the next free one takes them."""
        now = self._clock()
        while self._idle and self._left != 0 and self._next() <= now:
            self.proceed(self._idle.pop(), now)
        if self._idle and self._left != 0 and self._state != OVER:
            self._pace_to(self._next() - now)

    def _next(self) -> float:
        """When the open loop's next request is due."""
        assert self.rate is not None
        return self._began + self._step / self.rate

    def _pace_to(self, delay: float) -> None:
        self._pace.delay = max(0.0, delay)
        self._pace.start()

    def _again(self, asker: _Asker) -> None:
        self.proceed(asker, self._clock())


class _Asker:
    """Asks over one connection after the other. `began`: when its request began, or was due. `busy`: a request is under way."""

    __slots__ = ("began", "busy", "_load", "_connection")

    def __init__(self, load: Load) -> None:
        self.began: float = 0.0
        self.busy: bool = False
        self._load = load
        self._connection: Optional[ClientConnection] = None

    def ask(self, began: float) -> None:
        """Sends the next request; on a new connection where the server does not keep the old one."""
        connection = self._connection
        if connection is None or not connection.reusable:
            connection = self._connection = self._load.connection()
            connection.on_complete += self._complete
            connection.on_error += self._failed
        self.began = began
        self.busy = True
        connection.start(None, self._load.body)

    def leave(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.abort()

    def _complete(self, connection: ClientConnection) -> None:
        self.busy = False
        self._load.answered(self, connection)

    def _failed(self, connection: ClientConnection, exc: Exception) -> None:
        self.busy = False
        self._connection = None
        self._load.failed(self, connection, exc)
