"""The virtual clock: seconds that pass when a test says so, and a loop whose waits take no time.

    loop, clock = virtual_loop()
    loop.call_later(3600.0, done)
    loop.run()                         # returns at once; clock() is 3600.0

Rules
- The clock stands still while any descriptor is ready, real or in memory (memory.py).
- It stands still, too, while a thread of a ThreadPool of the loop is at work: that is waited for in real time. Of other
  threads, and of other processes, it knows nothing: a test that waits for one of those takes a real loop.
- A wait that nothing can end is StateError after some real seconds, not a test that hangs.
"""

from __future__ import annotations

import selectors
import weakref

from ...base.errors import StateError
from ...base.handle import OPEN
from ...base.loop import Loop
from ...base.threadpool import Job
from . import memory

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Optional, Tuple

    Ready = List[Tuple[selectors.SelectorKey, int]]

PATIENCE = 5.0  # real seconds until a wait that nothing can end is called one


class VirtualClock:
    """A clock for `Loop(clock=...)`: call it for its seconds, `advance` it to make them pass."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Has `seconds` pass; ValueError for less than none."""
        if not seconds >= 0:
            raise ValueError("a clock goes forward: advance() takes 0 seconds or more, not %r" % (seconds,))
        self._now += seconds

    def __repr__(self) -> str:
        return "VirtualClock(%r)" % self._now


class VirtualSelector(selectors.BaseSelector):
    """The system's default selector, but for the waiting: where none is ready, `clock` advances by the timeout.

    A wait without a timeout (nothing is scheduled) is a real one; after `patience` seconds it is StateError. Sockets in memory
    are watched as well.
    """

    def __init__(self, clock: VirtualClock, patience: float = PATIENCE) -> None:
        self._clock = clock
        self._patience = patience
        self._real = selectors.DefaultSelector()
        self._in_memory: Dict[int, Tuple[selectors.SelectorKey, memory.MemorySocket]] = {}
        self._loop: Optional[weakref.ref[Loop]] = None

    def watch_threads(self, loop: Loop) -> None:
        """From now on the clock stands still while a ThreadPool's thread is at work for `loop`."""
        self._loop = weakref.ref(loop)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As BaseSelector.register."""
        sock = memory.socket_of(_number_of(fileobj))
        if sock is None:
            return self._real.register(fileobj, events, data)
        if sock.fileno() in self._in_memory:
            raise KeyError("%r is registered already" % (fileobj,))
        key = selectors.SelectorKey(fileobj, sock.fileno(), events, data)
        self._in_memory[key.fd] = key, sock
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As BaseSelector.unregister."""
        number = _number_of(fileobj)
        return self._in_memory.pop(number)[0] if number in self._in_memory else self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As BaseSelector.modify."""
        number = _number_of(fileobj)
        if number not in self._in_memory:
            return self._real.modify(fileobj, events, data)
        key = selectors.SelectorKey(fileobj, number, events, data)
        self._in_memory[number] = key, self._in_memory[number][1]
        return key

    def select(self, timeout: Optional[float] = None) -> Ready:
        """The ready ones; where there are none the clock has moved by `timeout`."""
        ready = self._ready()
        if ready or (timeout is not None and timeout <= 0):
            return ready
        at_work = self._at_work()
        if timeout is not None and not at_work:
            self._clock.advance(timeout)
            return ready
        ready = self._real.select(self._patience)
        if not ready:
            raise _never(at_work, self._patience)
        return ready

    def _ready(self) -> Ready:
        ready = self._real.select(0)
        for key, sock in self._in_memory.values():
            mask = sock.ready() & key.events
            if mask:
                ready.append((key, mask))
        return ready

    def _at_work(self) -> bool:
        """Whether a thread works for the loop: a job was given, and the loop has not been told of its end."""
        loop = self._loop() if self._loop is not None else None
        return loop is not None and any(isinstance(handle, Job) and handle.phase == OPEN and handle.work is not None
                                        for handle in loop.active)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """As BaseSelector.get_map."""
        if not self._in_memory:
            return self._real.get_map()
        return {**self._real.get_map(), **{fd: key for fd, (key, _) in self._in_memory.items()}}

    def close(self) -> None:
        """Frees the selector."""
        self._in_memory.clear()
        self._real.close()


def virtual_loop(
    debug: Optional[bool] = None, *, start: float = 0.0, patience: float = PATIENCE
) -> Tuple[Loop, VirtualClock]:
    """A Loop on a virtual clock, and that clock."""
    clock = VirtualClock(start)
    selector = VirtualSelector(clock, patience)
    loop = Loop(debug, clock=clock, selector=selector)
    selector.watch_threads(loop)
    return loop, clock


def _number_of(fileobj: Any) -> int:
    number: int = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    return number


def _never(at_work: bool, patience: float) -> StateError:
    if at_work:
        return StateError("a thread of a ThreadPool has been at work for %g s of real time, and the virtual clock waits for it"
                          % patience,
                          "have the work end, or give virtual_loop() more patience",
                          "virtual time stands still while a thread is at work")
    return StateError("nothing is scheduled and no descriptor turned ready in %g s: the loop would wait for ever" % patience,
                      "close or unref what the test has finished with, or post what it waits for",
                      "a loop runs until nothing keeps it alive")
