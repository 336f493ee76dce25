"""A worker: one process of many, with a loop of its own on listeners that it has from its parent.

Rules
- It says that it is ready, and then, some times within `grace`, that it still turns its loop, by a byte on its channel. When
  the channel ends, the parent has gone: the worker stops in order, as for SIGTERM.
- SIGTERM stops it in order: what is in flight has `grace` seconds, idle connections `linger`. A second one changes nothing:
  systemd sends one to all processes of a service, and the parent another. SIGINT and SIGHUP are its parent's: a terminal sends
  them to both. Who is to end now hears so on its channel: what is under way is cut, and looks cut.
- What a worker forks (multiprocessing) or runs (subprocess) has the signals as Python has them.
- Where `serve` returned nothing, the servers that it started are stopped in order all the same.
- A listener whose slot nobody attached accepts nothing: the others share its connections.

Not here: when it is started, watched and stopped (supervisor.py).
"""

from __future__ import annotations

import os
import signal
import sys

from ..base import log
from ..base.application import Ending, takes
from ..base.loop import Loop
from ..base.poll import Poll
from ..base.signal import require_callable
from ..base.timer import Timer
from ..net.listener import TCPListener

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    import socket
    from types import FrameType
    from typing import Any, Callable, List, Optional, Sequence, Union

    Serve = Union[str, Callable[[Loop, List[TCPListener]], Any]]

READY, ALIVE = b"R", b"."  # what a worker says
NOW = b"X"  # what it hears
BLOCKED = frozenset(  # signals, from the fork until the worker has handlers of its own
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD") if hasattr(signal, name))
SLOWEST = 5.0  # seconds between two signs of life, at most
FAILED = 70  # the exit status of one that did not come as far as being ready (sysexits.h: EX_SOFTWARE)


def check(serve: Serve) -> None:
    """TypeError, ValueError for what is neither a function nor "module:function"; whether that is there, `load` sees."""
    if not isinstance(serve, str):
        require_callable(serve, "serve")
        return
    module, _, path = serve.partition(":")
    if not all(name.isidentifier() for name in (*module.split("."), *path.split("."))):
        raise ValueError("what workers run is a function, or 'module:function', not %r" % serve)
    if module == "__main__":
        raise ValueError("%r is the program itself, which is not imported anew: give run() the function, or move it into a "
                         "module of its own" % serve)


def load(serve: Serve) -> Callable[[Loop, List[TCPListener]], Any]:
    """`serve` itself, or what "module:function" names, imported anew. ImportError, AttributeError, TypeError, ValueError."""
    check(serve)
    if not isinstance(serve, str):
        return serve
    module, _, path = serve.partition(":")
    import importlib

    root = module.partition(".")[0]
    if root != __name__.partition(".")[0]:  # what the parent has imported may be older than the files
        for name in [name for name in sys.modules if name == root or name.startswith(root + ".")]:
            del sys.modules[name]
    importlib.invalidate_caches()
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    require_callable(found, serve)
    return found  # type: ignore[no-any-return]


class Worker:
    """What runs in a worker's process. fds: listening sockets, which it takes over. channel: its socket to the parent.

    `loop`; `ending`: what a signal sets going, an Ending; `listeners`: its TCPListeners, in the order of the addresses;
    `at_end`: called before the loop is closed.
    """

    def __init__(
        self, serve: Serve, fds: Sequence[int], channel: socket.socket, grace: float, linger: float
    ) -> None:
        self.loop: Loop = Loop()
        self.listeners: List[TCPListener] = []
        self.ending: Optional[Ending] = None
        self._serve = serve
        self._fds = fds
        self._channel = channel
        self._grace = grace
        self._linger = linger
        self._stopped = False  # it is to stop
        self.at_end: Callable[[], Any] = int  # called before the loop is closed

    def run(self) -> int:
        """Serves until it is told to stop; returns the exit status. Whatever goes wrong is logged."""
        try:
            with self.loop:
                try:
                    self._begin()
                    self.loop.run()
                    for handle in self.loop.handles:  # what is left ends with the process, as it should
                        handle.abort()
                finally:
                    self.at_end()
        except SystemExit as exc:
            if exc.code is None or isinstance(exc.code, int):
                return exc.code or 0
            log.error("workers", "worker %d: %s", os.getpid(), exc.code)  # what Python prints at its end
            return 1
        except BaseException as exc:
            log.error("workers", "worker %d: %s: %s", os.getpid(), type(exc).__name__, exc, exc=exc)
            return 1 if self.ending is not None else FAILED
        return 0

    def stop(self) -> None:
        """Stops in order; called again, nothing more. On the loop."""
        self._stopped = True
        if self.ending is None:
            self.loop.stop()
        elif self.ending.signal is None:
            self.ending.closables += [handle for handle in self.loop.handles if handle not in self.ending.closables
                                      and takes(getattr(type(handle), "stop", None), "drain")]
            self.ending.begin(signal.SIGTERM)

    def caught(self, number: int, frame: Optional[FrameType]) -> None:
        """SIGTERM's handler."""
        if self.loop.forked:
            _forked()
            os.kill(os.getpid(), number)
        else:
            self.loop.post(self.stop)

    def _begin(self) -> None:
        loop = self.loop
        for fd in self._fds:
            listener = TCPListener(loop, None, fd=fd)
            os.close(fd)  # else it would take connections that nobody accepts when the listener is closed
            listener.pause()
            self.listeners.append(listener)
        closables = closables_of(load(self._serve)(loop, list(self.listeners)))
        for listener in self.listeners:
            if len(listener.on_accept):
                listener.resume()
        self.ending = Ending(loop, closables, self._grace, self._linger)
        channel = Poll(loop, self._channel)
        channel.on_readable += self._heard
        beat = beat_of(self._grace)
        Timer(loop, beat, self._beat, interval=beat).start().unref()
        self._say(READY)
        if self._stopped:  # before there was anything to stop
            self.stop()

    def _beat(self, timer: Timer) -> None:
        self._say(ALIVE)

    def _say(self, word: bytes) -> None:
        try:
            self._channel.send(word)
        except OSError:  # full: the parent does not look, which is no fault of ours; gone: the Poll tells
            pass

    def _heard(self, channel: Poll) -> None:
        """The parent says something, or has gone."""
        try:
            said = self._channel.recv(64)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if NOW in said:
            self.loop.stop()
        elif not said:
            channel.close()
            self.stop()


def closables_of(made: Any) -> List[Any]:
    """What `serve` returned, as a list; TypeError for what cannot be closed."""
    if made is None:
        return []
    several = hasattr(made, "__iter__") and (hasattr(made, "throw") or not hasattr(made, "close"))  # throw(): a generator's
    found = list(made) if several else [made]
    if not all(hasattr(one, "close") and not hasattr(one, "throw") for one in found):  # or a coroutine's, which ran nothing
        raise TypeError("serve() returned %r: return what is to be closed at the end (a server, or a list of such), or None"
                        % (made,))
    return found


def beat_of(grace: float) -> float:
    """Seconds between two signs of life, where a worker is given up after `grace` seconds, or one, without any."""
    return min(max(grace, 1.0) / 4, SLOWEST)


def main(serve: Serve, fds: Sequence[int], channel: socket.socket, grace: float, linger: float) -> int:
    """The whole life of a worker, right behind the fork, with its signals blocked; returns the exit status."""
    worker = Worker(serve, fds, channel, grace, linger)
    signal.set_wakeup_fd(worker.loop.waker.write_fileno(), warn_on_full_buffer=False)
    worker.at_end = lambda: signal.set_wakeup_fd(-1)  # a signal that comes later finds no loop
    signal.signal(signal.SIGTERM, worker.caught)
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nor made so: what a worker runs would ignore them as well
            signal.signal(number, _leave_it)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
    return worker.run()


def _leave_it(number: int, frame: Optional[FrameType]) -> None:
    """The handler of a signal that is the parent's."""


def _forked() -> None:
    """In a child of a worker: signals are what they are in any program, and wake no loop of the worker's."""
    if not isinstance(getattr(signal.getsignal(signal.SIGTERM), "__self__", None), Worker):
        return
    try:
        signal.set_wakeup_fd(-1)
    except ValueError:  # PyPy, in a child that a thread has forked: SIGTERM's handler sees to it
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == _leave_it:
            signal.signal(number, usual)
