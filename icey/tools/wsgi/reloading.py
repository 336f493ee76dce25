"""--reload: a program that starts anew when a file of its application changes.

What changes is found by looking (tools/serve/treewatch.py), in the current folder and in those of the application's other
modules, not in Python's own and installed ones. A change of a module that is loaded, or, after the application failed to load,
of any module, stops the server; then the process replaces itself by a new one of the same command (exec), which is handed the
listener: clients that connect meanwhile wait, and are not refused. A Unix socket that is not systemd's is made anew.

Rules
- Where the application does not load, the server answers 500 and says so, until a change mends it.
- What is changed while it loads, after a module's file was read, is a change, too.
- The functions of `atexit` are called before the next process, as at any end; threads of the application are not waited for.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import SourceFileLoader

from ...base import log
from ...http.server.exchange import PLAIN_TEXT
from ..cli.serving import stopping, tell
from ..serve.treewatch import MOST, TreeWatch

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, NoReturn, Optional, Set, Tuple

    from ...base.loop import Loop
    from ...http.server.exchange import Exchange
    from ...http.server.server import Server
    from ...net.listener import TCPListener

HANDED = "ICEY_WSGI_LISTENER"  # names the descriptor for the next process
DRAIN = 2.0  # seconds for answers under way
INSTALLED = ("site-packages", "dist-packages")


def handed_over() -> Optional[int]:
    """The descriptor of the listener that the process before has left, None for none."""
    text = os.environ.pop(HANDED, "")
    return int(text) if text.isdigit() else None


def unloaded(exchange: Exchange) -> None:
    """Answers in the place of an application that did not load."""
    exchange.respond(500, b"500 Internal Server Error\nThe application did not load: see the server's terminal.\n", PLAIN_TEXT)


class Reading:
    """with Reading() as reading: notes the files that Python reads modules from in the block; `changed()` finds those that are
    others by now."""

    def __init__(self) -> None:
        self._read: Dict[str, Tuple[float, int]] = {}  # path -> time and size, right before it was read

    def __enter__(self) -> Reading:
        before, read = self._before, self._read = SourceFileLoader.path_stats, {}

        def path_stats(loader: Any, path: str) -> Mapping[str, Any]:
            stats = before(loader, path)
            read[path] = stats["mtime"], stats["size"]
            return stats

        SourceFileLoader.path_stats = path_stats  # type: ignore[method-assign,assignment]
        return self

    def __exit__(self, *exc_info: Any) -> None:
        SourceFileLoader.path_stats = self._before  # type: ignore[method-assign]

    def changed(self) -> List[str]:
        """The files that have changed since they were read; not those of Python and what is installed, nor ours."""
        return [path for path, read in self._read.items() if not _is_installed(path) and _stats(path) not in (read, None)]


def _stats(path: str) -> Optional[Tuple[float, int]]:
    try:
        stat = os.stat(path)
    except OSError:  # it may be on its way
        return None
    return stat.st_mtime, stat.st_size


class Reloader:
    """Watches; `changed`: the files because of which the server was stopped, none as long as it was not.

    own: the listener was made here, and the file of a Unix socket goes with it.
    """

    def __init__(
        self, loop: Loop, server: Server, listener: TCPListener, loaded: bool, reading: Reading, own: bool = True
    ) -> None:
        self.changed: List[str] = []
        self._stays = os.name == "posix" and (listener.address.port is not None or not own)
        self._server = server
        self._listener = listener
        self._loaded = loaded
        self._fd: Optional[int] = None
        self._watches = [TreeWatch(loop, folder) for folder in sorted(_folders())]
        for watch in self._watches:
            watch.on_change += self._look
            watch.on_limit += _tell_limit
            watch.wake()
        loop.call_soon(self._begin_anew, reading.changed())
        server.on_close += self._end

    def _look(self, watch: TreeWatch, names: List[str]) -> None:
        """Some files have changed."""
        sources = [os.path.join(watch.root, name) for name in names if name.endswith(".py")]
        if self._loaded:
            loaded = _loaded()
            sources = [path for path in sources if os.path.realpath(path) in loaded]
        self._begin_anew(sources)

    def _begin_anew(self, sources: List[str]) -> None:
        """Stops the server because of these files, if there are any."""
        if sources and not self.changed:
            self.changed = sources
            tell("Changed: %s" % ", ".join(map(os.path.relpath, sources)))
            if self._stays:
                self._fd = os.dup(self._listener.sock.fileno())
            self._server.on_shutdown.detach(stopping)  # it begins again, and not in ten seconds
            self._server.stop(drain=DRAIN, linger=0.0)

    def _end(self, server: Server) -> None:
        for watch in self._watches:
            watch.close()

    def restart(self, folder: str) -> NoReturn:
        """Has a new process of the same command take our place, begun in `folder`."""
        os.chdir(folder)
        if self._fd is not None:
            os.set_inheritable(self._fd, True)
            os.environ[HANDED] = str(self._fd)
        _run_exit_functions()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                pass
        os.execv(sys.executable, command())


def _run_exit_functions() -> None:
    """Those of `atexit`, which exec does not run: what the application wants done at its end."""
    import atexit

    try:
        atexit._run_exitfuncs()
    except KeyboardInterrupt:
        raise
    except BaseException:  # before Python 3.10: what the last one raised, which was printed
        pass


def command() -> List[str]:
    """How this process was called."""
    words: Optional[List[str]] = getattr(sys, "orig_argv", None)  # Python 3.10
    if words is not None:
        return [sys.executable, *words[1:]]
    spec: Any = getattr(sys.modules["__main__"], "__spec__", None)
    name = spec.name[:-len(".__main__")] if spec is not None and spec.name.endswith(".__main__") else ""
    begin = ["-m", name] if name else [sys.argv[0]]
    return [sys.executable, *("-W" + option for option in sys.warnoptions), *begin, *sys.argv[1:]]


def _tell_limit(watch: TreeWatch) -> None:
    tell("%d files are watched, %s has more: not all changes start it anew" % (MOST, watch.root))


def _folders() -> Set[str]:
    """The current folder, and those of the application's modules that are not below it."""
    here = os.getcwd()
    found = {here}
    for path in _loaded():
        folder = os.path.dirname(path)
        if not any((folder + os.sep).startswith(one + os.sep) for one in found) and not _is_installed(path):
            found.add(folder)
    if len(found) > 20:
        log.warning("wsgi", "modules in %d folders are not watched: only those below %s are", len(found) - 1, here)
        return {here}
    return found


def _loaded() -> Set[str]:
    """The files of all modules."""
    paths = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return {os.path.realpath(path) for path in paths if isinstance(path, str) and path.endswith(".py")}


def _is_installed(path: str) -> bool:
    """Whether it is part of Python, of an installed package, or of icey."""
    parts = path.split(os.sep)
    ours = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    standard = os.path.dirname(os.path.realpath(os.__file__))
    return any(name in parts for name in INSTALLED) or path.startswith((ours + os.sep, standard + os.sep))
