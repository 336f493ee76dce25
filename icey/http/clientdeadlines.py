"""What is late on a client's connection: one timer, which looks at the clock when the next deadline may be due.

    what                                             limit               counted from                  then
    100 Continue, which the body waits for           continue_timeout    the head, or an interim       the body goes
    bytes of the request the server does not take    write_timeout       the kernel last took some     Deadline
    the answer's first byte                          answer_timeout      the request's last            Deadline
    the answer's head, once begun                    head_timeout        its first byte                Deadline
    the answer's body                                body_timeout        the last piece                Deadline
    all of it, connecting too                        `timeout`           start()                       Deadline

A paused answer, and a body that you send, are nobody's deadline but the last one. The timer never keeps a loop running: the
connection does. Connecting has deadlines of its own (dialing.py).
"""

from __future__ import annotations

from ..base.errors import Deadline
from .states import ClientState
from .upload import HELD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Tuple

    from ..base.timer import Timer
    from .clientconnection import ClientConnection

SENDING, WAITING, RECEIVING = ClientState.SENDING, ClientState.WAITING, ClientState.RECEIVING
OVER = (ClientState.IDLE, ClientState.UPGRADED, ClientState.CLOSING, ClientState.CLOSED)

CONTINUE = "100 Continue"
TOTAL = "the whole transaction"


class ClientDeadlines:
    """The deadlines of `connection`. `stamp`: when something happened last; `total_due`: when `timeout` is over."""

    __slots__ = ("stamp", "total_due", "_connection", "_timer", "_timer_due")

    def __init__(self, connection: ClientConnection) -> None:
        self.stamp = 0.0
        self.total_due: Optional[float] = None
        self._connection = connection
        self._timer: Optional[Timer] = None
        self._timer_due = 0.0

    def touch(self) -> None:
        """Something happened: what is waited for now begins now."""
        self.stamp = self._connection.loop.now
        self.watch()

    def watch(self) -> None:
        """Sees to it that the timer comes when the next deadline is due, or before."""
        due = self._next()[0]
        if due is not None and (self._timer is None or due < self._timer_due):
            self.stop()
            self._timer_due = due
            loop = self._connection.loop
            self._timer = loop.call_later(max(0.0, due - loop.now), self._look)
            self._timer.unref()

    def stop(self) -> None:
        """Nothing is watched any more."""
        if self._timer is not None:
            self._timer.abort()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        connection = self._connection
        due, limit, what = self._next()
        if due is not None and due <= connection.loop.now:
            if what is not CONTINUE:
                connection._fail(Deadline("waited %g s for %s" % (limit, what)))
                return
            connection._continue_late()
        self.watch()

    def _next(self) -> Tuple[Optional[float], float, str]:
        """When the next deadline is (None: there is none), how long it is, and of what."""
        connection = self._connection
        if connection._state in OVER:
            return None, 0.0, ""
        total = self.total_due
        limit, what = self._waiting_for()
        if limit is not None:
            stream = connection.stream
            due = max(self.stamp, 0.0 if stream is None else stream._last_taken()) + limit
            if total is None or due < total:
                return due, limit, what
        return total, connection.timeout or 0.0, TOTAL

    def _waiting_for(self) -> Tuple[Optional[float], str]:
        """What is waited for now, and how long at most."""
        connection = self._connection
        limits, state, wire = connection.limits, connection._state, connection._wire
        if state is RECEIVING:
            return (None if wire.paused or wire.over else limits.body_timeout), "more of the answer's body"
        if connection._upload is not None and connection._upload.stage == HELD:
            return limits.continue_timeout, CONTINUE
        if connection.stream is not None and connection.stream.queued:
            return limits.write_timeout, "the server to take the request"
        if state is not WAITING or wire.paused:
            return None, ""
        if wire.parser.partial:
            return limits.head_timeout, "the rest of the answer's head"
        return limits.answer_timeout, "an answer"
