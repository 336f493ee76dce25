"""Load: asks one URL again and again over some connections, and measures what comes of it.

    load = Load(loop, url, connections=16, duration=10.0, done=loop.stop)
    load.start()
    loop.run()
    load.measured.latencies.percentile(99)

Rules
- A connection has one request at a time, and is kept for the next one as long as the server keeps it.
- Closed loop (no `rate`): a connection asks again when it has its answer, and a latency counts from its request's start. A
  server that stalls is asked less meanwhile, so that its stalls weigh little in the percentiles ("coordinated omission").
- Open loop (`rate`): requests are due at fixed moments, whatever the server does, and a latency counts from when its request
  was due: waiting for a free connection is part of it.
- What begins, or is due, before the warm-up is over is not counted. At the end nothing is waited for; what is under way then
  is told: how many, and how long the oldest has waited.
- It gives up when there have been as many failures as there are connections, and no answer at all.

Not here: the command line and the report (bench.py).
"""

from __future__ import annotations

from time import perf_counter, process_time

from ..base.errors import Deadline
from ..base.limits import DEFAULTS
from ..base.timer import Timer
from ..http.clientconnection import ClientConnection
from ..http.url import URL
from .histogram import Histogram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    from ..base.loop import Loop
    from ..http.headers import HeadersLike

REST = 0.1  # seconds until a connection that could not be made is tried again

CONNECT, TIMEOUT, BROKEN = "connect", "timeout", "broken"
WARMING, MEASURING, OVER = range(3)


class Measured:
    """What was measured: `answers` in `seconds`; their `statuses` (code -> how many), `size` (bytes of bodies), `latencies`.

    errors: CONNECT, TIMEOUT, BROKEN -> how many requests ended so; first: the first of each in words, the warm-up's too.
    connections: made in all, for the warm-up too. waiting: requests under way at the end, the oldest for `oldest` seconds.
    late: requests that were due by then and not begun. cpu: seconds of CPU time that this process took.
    """

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0
        self.answers = self.size = 0
        self.statuses: Dict[int, int] = {}
        self.latencies = Histogram()
        self.errors: Dict[str, int] = {}
        self.first: Dict[str, str] = {}
        self.connections = 0
        self.waiting = self.late = 0
        self.oldest = 0.0


class Load:
    """duration: seconds; requests: so many instead. rate: requests a second, None for a closed loop. warmup: seconds.

    body: bytes. tls: an ssl.SSLContext for https. timeout: seconds for a request. done: called when it is over. clock, cpu:
    functions that return seconds.
    """

    def __init__(
        self, loop: Loop, url: Any, *, connections: int = 16, duration: float = 10.0, requests: Optional[int] = None,
        rate: Optional[float] = None, warmup: float = 0.0, method: str = "GET", headers: HeadersLike = None,
        body: Optional[bytes] = None, tls: Any = None, timeout: Optional[float] = 30.0,
        done: Optional[Callable[[], Any]] = None, clock: Callable[[], float] = perf_counter,
        cpu: Callable[[], float] = process_time,
    ) -> None:
        self.loop = loop
        self.url = URL.of(url)
        self.rate = rate
        self.body = body
        self.measured = Measured()
        self.counted_from = float("inf")  # what began before is not counted
        self._duration = duration
        self._left = requests  # to begin; None: no bound
        self._warmup = warmup
        self._clock = clock
        self._cpu = cpu
        self._done = done
        limits = DEFAULTS.replace(connect_timeout=timeout, handshake_timeout=timeout, answer_timeout=None, head_timeout=None,
                                  body_timeout=None, write_timeout=None)
        self._options: Dict[str, Any] = {"method": method, "headers": headers, "tls": tls, "timeout": timeout, "limits": limits}
        self._state = WARMING
        self._proven = False  # there has been an answer
        self._failures = 0
        self._began = 0.0
        self._step = 0  # of the open loop: how many have begun
        self._ending = Timer(loop, 0.0, self._phase_over)
        self._pace = Timer(loop, 0.0, self._due)
        self._askers = [_Asker(self) for _ in range(connections)]
        self._idle: List[_Asker] = [] if rate is None else self._askers[::-1]

    def start(self) -> None:
        """Begins, with the warm-up where there is one. ValueError, TypeError, NetError: what cannot be sent."""
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
        """Ends it now. Nothing happens if it is over."""
        if self._state == OVER:
            return
        now, measured = self._clock(), self.measured
        if self._state == MEASURING:
            measured.seconds = now - self.counted_from
            measured.cpu = self._cpu() - measured.cpu
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
        """An answer is whole."""
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
        """A request came to nothing."""
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
        """From now on it counts."""
        self._state = MEASURING
        self.counted_from = self._clock()
        self.measured.cpu = self._cpu()
        if self._left is None:
            self._ending.delay = self._duration
            self._ending.start()
        self._began, self._step = self.counted_from, 0  # an open loop that was late begins anew
        if self.rate is not None:
            self._due()

    def _due(self, timer: Optional[Timer] = None) -> None:
        """The open loop: gives what is due to those who are free. While nobody is, the next to be free takes it."""
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
    """One connection after the other, of which only the last is used. `began`: when its request did, or was due."""

    __slots__ = ("began", "busy", "_load", "_connection")

    def __init__(self, load: Load) -> None:
        self.began = 0.0
        self.busy = False
        self._load = load
        self._connection: Optional[ClientConnection] = None

    def ask(self, began: float) -> None:
        """Sends the next request, on a new connection where the old one is used up."""
        connection = self._connection
        if connection is None or not connection.reusable:
            connection = self._connection = self._load.connection()
            connection.on_complete += self._complete
            connection.on_error += self._failed
        self.began = began
        self.busy = True
        connection.start(None, self._load.body)

    def leave(self) -> None:
        """It is over."""
        if self._connection is not None:
            self._connection.abort()

    def _complete(self, connection: ClientConnection) -> None:
        self.busy = False
        self._load.answered(self, connection)

    def _failed(self, connection: ClientConnection, exc: Exception) -> None:
        self.busy = False
        self._connection = None
        self._load.failed(self, connection, exc)
