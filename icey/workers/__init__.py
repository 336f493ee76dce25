"""Many processes on one set of listeners. Names are looked up when they are first used; importing does nothing else.

    supervisor.py   run: the parent, which opens the listeners, starts workers, replaces and stops them
    worker.py       a worker: a loop of its own, on listeners that it has from its parent
    systemd.py      sockets that systemd opened, and what systemd is told

(POSIX: fork.)
"""

from ..base.lazy import lazy as _lazy

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from .supervisor import run as run

_HOME = {
    "supervisor": "run",
}
_LEFT_OUT: "dict[str, str]" = {}
if not TYPE_CHECKING:  # checkers read the imports above, and name what is misspelt
    __getattr__, __dir__ = _lazy(globals(), _HOME, _LEFT_OUT)
