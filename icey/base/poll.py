"""Poll: readiness of any file descriptor: a pipe, a device, another library's socket.

The descriptor stays yours: closing a Poll stops watching and leaves it open. Close the Poll before the descriptor.
"""

from __future__ import annotations

from .handle import OPEN, Handle
from .poller import CAN_READ, CAN_WRITE, READ, WRITE
from .signal import Event

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Union

    from typing_extensions import Self

    from .loop import Loop
    from .signal import Signal


class Poll(Handle):
    """Watches `fd` (a descriptor, or what has `fileno()`) for what has a slot: `on_readable`, `on_writable`.

    Level-triggered: a slot that neither reads nor detaches is called again in the next turn.
    """

    __slots__ = ("fd", "_interest")

    on_readable: Event[Callable[[Self], Any]] = Event("on_readable(poll): reading will not block")
    on_writable: Event[Callable[[Self], Any]] = Event("on_writable(poll): writing will not block")

    def __init__(self, loop: Loop, fd: Union[int, object]) -> None:
        super().__init__(loop)
        self.fd: int = fd if isinstance(fd, int) else int(fd.fileno())  # type: ignore[attr-defined]
        if self.fd < 0:
            raise ValueError("a file descriptor is 0 or more, not %d" % self.fd)
        self._interest = 0

    def slots_changed(self, name: str, signal: Signal) -> None:
        if self.phase != OPEN or self.loop.closed:
            return
        bit = READ if name == "on_readable" else WRITE if name == "on_writable" else 0
        self._watch(self._interest | bit if len(signal) else self._interest & ~bit)

    def _watch(self, interest: int) -> None:
        if interest == self._interest:
            return
        poller = self.loop.poller
        if not interest:
            poller.unregister(self.fd)
            self.deactivate()
        elif self._interest:
            poller.modify(self.fd, interest, self._ready)
        else:
            poller.register(self.fd, interest, self._ready)
            self.activate()
        self._interest = interest

    def _ready(self, mask: int) -> None:
        if mask & CAN_READ and self._interest & READ:
            self.emit("on_readable", self)
        if mask & CAN_WRITE and self._interest & WRITE:
            self.emit("on_writable", self)

    def mend(self) -> None:
        self.loop.poller.unregister(self.fd)
        interest, self._interest = self._interest, 0
        self._watch(interest)

    def silence(self) -> None:
        self._watch(0)
