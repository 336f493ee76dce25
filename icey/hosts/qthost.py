"""(opt Qt) QtHost: Qt's event loop drives a Loop, by whichever of PySide6, PyQt6, PySide2 and PyQt5 is imported already.

Not here: any import of Qt. A program that has a QApplication has imported it.
"""

from __future__ import annotations

import sys

from ..base.errors import StateError
from .host import Host

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any

    from ..base.loop import Loop

BINDINGS = ("PySide6", "PyQt6", "PySide2", "PyQt5")


class QtHost(Host):
    """Has Qt's event loop drive `loop`: that of the thread in which the host is started. Make the QApplication first."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self._notifier: Any = None  # kept when it is stopped: that may happen inside of its own signal
        self._timer: Any = None

    def begin(self) -> None:
        core = _core()
        if core.QCoreApplication.instance() is None:
            raise StateError("start() of a QtHost before there is a QCoreApplication", "make the QApplication first")
        self._timer = timer = core.QTimer()
        timer.setSingleShot(True)
        timer.setTimerType(getattr(core.Qt, "TimerType", core.Qt).PreciseTimer)  # the others are late by 5 %
        timer.timeout.connect(self._due)

    def watch(self, fd: int) -> None:
        if self._notifier is None:
            kind = _core().QSocketNotifier
            self._notifier = kind(fd, getattr(kind, "Type", kind).Read)
            self._notifier.activated.connect(self._readable)
        self._notifier.setEnabled(True)

    def unwatch(self) -> None:
        _quietly(self._notifier.setEnabled, False)

    def arm(self, delay: float) -> None:
        _quietly(self._timer.start, int(-(-delay * 1000 // 1)))

    def disarm(self) -> None:
        _quietly(self._timer.stop)

    def _readable(self, *_: Any) -> None:
        self.turn()

    def _due(self) -> None:
        self.due()


def _core() -> Any:
    """The QtCore that the program uses."""
    for binding in BINDINGS:
        core = sys.modules.get(binding + ".QtCore")
        if core is not None:
            return core
    raise StateError("start() of a QtHost where no Qt is imported", "import one of %s first" % ", ".join(BINDINGS))


def _quietly(fn: Any, *args: Any) -> None:
    """Calls `fn(*args)`, if Qt has not ended: it takes its objects along."""
    try:
        fn(*args)
    except RuntimeError:
        pass
