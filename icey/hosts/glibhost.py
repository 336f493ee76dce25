"""(opt gi) GLibHost: GLib's main loop drives a Loop: GTK, GStreamer, D-Bus.

One GLib.Source stands for the loop: it has the descriptor and the time of the next turn. GLib itself takes no turn of a source
inside another one.

Not here: an import of gi before the host is made.
"""

from __future__ import annotations

from .host import Host

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any

    from ..base.loop import Loop


class GLibHost(Host):
    """Has the main loop of `context`, a GLib.MainContext (None: the default one), drive `loop`."""

    def __init__(self, loop: Loop, context: Any = None) -> None:
        super().__init__(loop)
        self.context = context
        self._glib: Any = __import__("gi.repository.GLib", fromlist=["GLib"])
        self._source: Any = None
        self._polled: Any = None

    def begin(self) -> None:
        self._source = _source(self._glib, self)
        self._source.attach(self.context)

    def end(self) -> None:
        source, self._source = self._source, None
        source.destroy()

    def watch(self, fd: int) -> None:
        self._polled = self._glib.PollFD(fd, self._glib.IOCondition.IN)
        self._source.add_poll(self._polled)

    def unwatch(self) -> None:
        polled, self._polled = self._polled, None
        self._source.remove_poll(polled)

    def arm(self, delay: float) -> None:
        self._source.set_ready_time(self._glib.get_monotonic_time() + int(-(-delay * 1e6 // 1)))

    def disarm(self) -> None:
        self._source.set_ready_time(-1)

    @property
    def _readable(self) -> bool:
        """Whether the poll that was just made found the descriptor readable."""
        return self._polled is not None and bool(self._polled.revents)

    def _dispatched(self) -> None:
        """The source's turn: the descriptor is readable, or the time has come."""
        if 0 <= self._source.get_ready_time() <= self._glib.get_monotonic_time():
            self._source.set_ready_time(-1)  # it is ready for ever, else
            self.due()
        else:
            self.turn()

    def _renew(self) -> None:
        """GLib is about to drop the source, which an interrupt left: another one takes its place."""
        if self.started:
            self.end()
            self._armed, self._resting = None, False
            self.begin()
            self.watch(self._fd)
            self._arrange()


def _source(glib: Any, host: GLibHost) -> Any:
    class Source(glib.Source):  # type: ignore[misc]
        """What GLib asks and calls."""

        def prepare(self) -> Any:
            return False, -1

        def check(self) -> bool:
            return host._readable

        def dispatch(self, callback: Any, args: Any) -> bool:
            try:
                host._dispatched()
            except BaseException:
                host._renew()
                raise
            return True

    return Source()
