"""(opt asyncio) AsyncioHost: an asyncio event loop drives a Loop.

The one file that imports asyncio, when it is started without an event loop to take. Any event loop that has `add_reader` will
do: asyncio's own (but for the ProactorEventLoop of Windows), uvloop.
"""

from __future__ import annotations

from ..base.errors import StateError
from .host import Host

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Handle
    from typing import Optional

    from ..base.loop import Loop


class AsyncioHost(Host):
    """Has `aloop` drive `loop`; None: the event loop that runs when the host is started. `aloop`: the event loop, or None.

    Build the Loop in the thread of the event loop. Coroutines may use everything of the loop directly, and its slots may set
    futures: it is one thread.
    """

    breath: float = 0.0  # asyncio is fair by itself

    def __init__(self, loop: Loop, aloop: Optional[AbstractEventLoop] = None) -> None:
        super().__init__(loop)
        self.aloop = aloop
        self._given = aloop
        self._reader = -1
        self._timer: Optional[Handle] = None

    def begin(self) -> None:
        self.aloop = self._given
        if self.aloop is None:
            import asyncio

            try:
                self.aloop = asyncio.get_running_loop()
            except RuntimeError:
                raise StateError("start() of an AsyncioHost where no event loop runs",
                                 "start it in a coroutine, or give it the event loop: AsyncioHost(loop, aloop)") from None

    def watch(self, fd: int) -> None:
        assert self.aloop is not None
        try:
            self.aloop.add_reader(fd, self.turn)
        except NotImplementedError:
            raise StateError("%s waits for no descriptors" % type(self.aloop).__name__,
                             "take asyncio.SelectorEventLoop, or a ThreadHost", "embedding") from None
        self._reader = fd

    def unwatch(self) -> None:
        fd, self._reader = self._reader, -1
        if self.aloop is not None and not self.aloop.is_closed():
            self.aloop.remove_reader(fd)

    def arm(self, delay: float) -> None:
        assert self.aloop is not None
        if not self.aloop.is_closed():
            self._timer = self.aloop.call_later(delay, self.due) if delay else self.aloop.call_soon(self.due)

    def disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _gone(self) -> bool:
        return self.aloop is not None and self.aloop.is_closed()
