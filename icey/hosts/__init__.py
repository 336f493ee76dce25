"""icey beside another main loop. Names are looked up when they are first used; importing does nothing else.

    host.py          Host: when a turn is taken, and what else all of them decide; for a toolkit of your own
    asynciohost.py   AsyncioHost      tkhost.py   TkHost      qthost.py   QtHost      glibhost.py   GLibHost
    threadhost.py    ThreadHost: a loop on a thread of its own, where no main loop can be had
    pumping.py       pump: turns within a budget, for games
"""

from ..base.lazy import lazy as _lazy

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from .asynciohost import AsyncioHost as AsyncioHost
    from .glibhost import GLibHost as GLibHost
    from .host import Host as Host
    from .pumping import pump as pump
    from .qthost import QtHost as QtHost
    from .threadhost import ThreadHost as ThreadHost
    from .tkhost import TkHost as TkHost

_HOME = {
    "asynciohost": "AsyncioHost",
    "glibhost": "GLibHost",
    "host": "Host",
    "pumping": "pump",
    "qthost": "QtHost",
    "threadhost": "ThreadHost",
    "tkhost": "TkHost",
}
_LEFT_OUT: "dict[str, str]" = {}
if not TYPE_CHECKING:  # checkers read the imports above, and name what is misspelt
    __getattr__, __dir__ = _lazy(globals(), _HOME, _LEFT_OUT)
