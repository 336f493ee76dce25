"""(opt tkinter) TkHost: Tk's main loop drives a Loop.

It needs Tk's file handlers, which Tk has not on Windows, nor where Python's Tcl was built without them: start() says so, and a
ThreadHost, or `pump` in a timer of yours, serves there.

Not here: tkinter, which the application has imported; any widget brings what is needed.
"""

from __future__ import annotations

import weakref

from ..base.errors import StateError
from .host import Host

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from ..base.loop import Loop

READABLE = 2  # tkinter.READABLE


class TkHost(Host):
    """Has Tk drive `loop`, as long as `widget` lives: the root window, say. When it is destroyed, the host stops."""

    def __init__(self, loop: Loop, widget: Any) -> None:
        super().__init__(loop)
        self.widget = widget
        self._bound = False
        self._timer: Optional[str] = None
        self._watched = -1

    def begin(self) -> None:
        if not hasattr(self.widget.tk, "createfilehandler"):
            raise StateError("this Tk has no createfilehandler, so that it cannot wait for sockets",
                             "run the loop on a thread (icey.hosts.ThreadHost), or call icey.hosts.pump(loop) now and then",
                             "embedding")
        if not self._bound:
            self._bound = True
            self.widget.bind("<Destroy>", _destroyed(weakref.ref(self)), add="+")

    def watch(self, fd: int) -> None:
        self.widget.tk.createfilehandler(fd, READABLE, self.turn)
        self._watched = fd

    def unwatch(self) -> None:
        self.widget.tk.deletefilehandler(self._watched)  # of the thread's, not of a window's: there may be none any more

    def arm(self, delay: float) -> None:
        self._timer = self.widget.after(int(-(-delay * 1000 // 1)), self.due)

    def disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            self.widget.after_cancel(timer)


def _destroyed(host_of: Callable[[], Optional[TkHost]]) -> Callable[[Any], None]:
    """What is bound to <Destroy>, and stays bound: it keeps no host alive."""
    def destroyed(event: Any) -> None:
        host = host_of()
        if host is not None and event.widget is host.widget:  # a window is told of its children's end, too
            host.stop()
    return destroyed
