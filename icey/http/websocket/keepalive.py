"""KeepAlive: a ping every so many seconds, and the end of the connection where nothing comes back.

Rules
- A pong is due within `limit` seconds of its ping; anything else that comes shows as well that the peer lives.
- The peer is not blamed while reading is paused, nor while it takes what the ping waits behind (Stream.last_taken decides).
  No other ping goes out while one is still on its way: who has not seen the first would answer none of them sooner.
- Before the connection is given up, the stream is read once more: the answer may have come while the loop was held. Time in
  which a slot held the loop does not count against the peer (Watchdog).

Not here: how a connection ends (connection.py; the deadline of a close is there, too).
"""

from __future__ import annotations

from ...base.errors import Deadline
from ...base.timer import Timer
from ...base.watchdog import Watchdog
from .states import WebSocketState

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Optional

    from .connection import WebSocketConnection

OPEN = WebSocketState.OPEN


class KeepAlive:
    """Pings every `interval` seconds, and calls `connection.lose(exc)` where nothing comes back within `limit` seconds.

    limit: None, and no answer is waited for. `asked`: when the ping went out to which nothing has come back yet, in the loop's
    time; None where something has come since. The connection sets `asked` to None at each read.
    """

    __slots__ = ("asked", "_connection", "_interval", "_limit", "_timer", "_watchdog", "_behind")

    def __init__(self, connection: WebSocketConnection, interval: float, limit: Optional[float]) -> None:
        self.asked: Optional[float] = None
        self._connection = connection
        self._interval = interval
        self._limit = limit
        self._timer: Optional[Timer] = None
        self._watchdog: Optional[Watchdog] = None  # made with the first ping
        self._behind = False  # the ping waits behind something that the peer had still to take, when that was asked last

    def start(self) -> None:
        """The connection is open: the first ping goes out after an interval."""
        self._timer = Timer(self._connection.ws.loop, self._interval, self)  # a bound method for each connection takes memory
        self._timer.unref()
        self._timer.start()

    def stop(self) -> None:
        """No more pings."""
        self.asked = None
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.stop()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.abort()

    def __call__(self, timer: Timer) -> None:
        """An interval is over."""
        ws = self._connection.ws
        if ws.state is not OPEN:  # there are no more pings
            return
        timer.start()
        stream = self._connection.stream
        outstanding = stream.outstanding
        if self.asked is None:
            stream.last_taken()  # from here on the system's word is compared
            self.asked, self._behind = ws.loop.now, outstanding
            if self._watchdog is None:
                self._watchdog = Watchdog(ws.loop, self._pong_due, self._pong_late, self._look)
            self._watchdog.watch()
        elif outstanding:
            return
        self._connection.ping(b"%x" % int(ws.loop.now * 1000))

    def _pong_due(self) -> Optional[float]:
        return None if self.asked is None or self._limit is None else self.asked + self._limit

    def _look(self) -> None:
        """Before the connection is given up: reads what may be here already, and forgives what is not the peer's fault."""
        connection = self._connection
        if connection.paused or connection.ws.state is not OPEN:
            self.asked = None
            return
        stream = connection.stream
        stream.look()
        if connection.ws.state is not OPEN or stream.last_heard() > (self.asked or 0):  # it has ended; a part of a record came
            self.asked = None
        elif self.asked is not None:
            taken, outstanding = stream.last_taken(), stream.outstanding
            if taken > self.asked and (self._behind or outstanding):
                self.asked, self._behind = connection.ws.loop.now, outstanding

    def _pong_late(self) -> None:
        assert self.asked is not None and self._limit is not None
        self._connection.lose(Deadline("no pong, nor anything else, within %g s" % self._limit))
