"""TreeWatch: what changes below a folder, found by looking again and again: no inotify, the same on every system.

    watch = TreeWatch(loop, "/srv/www")
    watch.on_change += lambda watch, names: print(names)  # ["css/main.css", "new/"]
    watch.wake()

Rules
- A look goes through the tree in slices: at most SLICE seconds or MOST_AT_ONCE entries in a turn of the loop, so that a huge
  tree holds nobody up. Looks are INTERVAL apart, further apart where a look takes long: at most a fifth of the time is spent on
  looks.
- A file has changed if its time, size or inode has changed; a folder only appears and disappears.
- Later looks are compared with the first look after `wake()`. That look takes a while itself: a file dated after the `wake()`
  counts as changed.
- Changes are told when a look SETTLE later finds no more of them, or PATIENCE after the first change was found.
- Names that begin with a dot (but .well-known), __pycache__ and node_modules are not looked at. Links to files are followed,
  links to folders on demand; no folder is looked at twice, so a circle of links ends.
- What cannot be read, or vanishes during the look, counts as not there: this is no error.

Not here: who wants to know (live.py).
"""

from __future__ import annotations

import os
import time
from collections import deque
from stat import S_ISDIR

from ...base.handle import Handle
from ...base.signal import Event
from ...base.state import transitions
from ...base.timer import Timer

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Collection, Deque, Dict, Iterator, List, Optional, Set, Tuple

    from typing_extensions import Self

    from ...base.loop import Loop

    Mark = Tuple[int, int, int]  # what is compared

INTERVAL = 0.5  # seconds between two looks
SETTLE = 0.1  # seconds between a look that found changes and the next
PATIENCE = 1.0  # seconds from the first change until it is told, at the latest
SLICE = 0.005  # seconds of a turn of the loop
MOST_AT_ONCE = 500  # entries: a clock that stands still ends no slice
MOST = 100_000  # entries in all: memory
GRAIN = 20_000_000  # nanoseconds: dates of files come from a clock that ticks, and lag behind
UNSEEN = ("__pycache__", "node_modules")
FOLDER: Mark = (0, 0, 0)

ASLEEP, RESTING, LOOKING = range(3)
MOVES = transitions({ASLEEP: (LOOKING,), LOOKING: (RESTING, ASLEEP), RESTING: (LOOKING, ASLEEP)},
                    names=("ASLEEP", "RESTING", "LOOKING"))


class TreeWatch(Handle):
    """Watches the folder `root`; made asleep, and then without cost. It does not keep the loop running.

    follow: through links to folders too. ignored: (device, inode) of files that do not count. wall: a function that gives
    nanoseconds since the epoch, the clock of files. `root`: the folder.
    """

    __slots__ = ("root", "_follow", "_ignored", "_wall", "_state", "_timer", "_walk", "_spent", "_woken", "_known", "_found",
                 "_fresh", "_changed", "_since", "_told_limit")

    STATES = {"_state": MOVES}

    on_change: Event[Callable[[Self, List[str]], Any]] = Event(
        "on_change(watch, names): made, changed or removed; paths from the root, a folder's ends in a slash")
    on_limit: Event[Callable[[Self], Any]] = Event(
        "on_limit(watch): MOST entries were found, what more there is is not looked at; once")

    def __init__(
        self, loop: Loop, root: str, *, follow: bool = False, ignored: Collection[Tuple[int, int]] = (),
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(loop)
        self.root: str = root
        self._follow = follow
        self._ignored = ignored
        self._wall = wall
        self._state = ASLEEP
        self._timer = Timer(loop, 0.0, self._look)
        self._timer.unref()
        self._walk: Optional[Iterator[None]] = None
        self._spent = 0.0  # seconds of this look
        self._woken = 0
        self._known: Optional[Dict[str, Mark]] = None  # what the last look found, without what this look has found again
        self._found: Dict[str, Mark] = {}
        self._fresh: Set[str] = set()  # what this look found changed
        self._changed: Set[str] = set()  # what is still to be told
        self._since = 0.0  # when the first of it was found
        self._told_limit = False
        self.unref()

    @property
    def awake(self) -> bool:
        """Between `wake()` and `sleep()`."""
        return self._state != ASLEEP

    def wake(self) -> None:
        """Begins to watch; nothing if it does. What changes from now on is told. StateError once closed."""
        self.check_thread()
        self.require_open("wake")
        if self._state == ASLEEP:
            self._woken = self._wall() - GRAIN
            self.activate()
            self._look()

    def sleep(self) -> None:
        """Stops watching and forgets what was seen; what was not told yet never is."""
        self.check_thread()
        self._rest_for_good()
        self.deactivate()

    # a look

    def _look(self, timer: Optional[Timer] = None) -> None:
        self._state = LOOKING
        self._spent = 0.0
        self._walk = self._entries()
        self.loop.call_soon(self._slice, self._walk)

    def _slice(self, walk: Iterator[None]) -> None:
        """Goes on with this look for a while."""
        if walk is not self._walk:  # it fell asleep meanwhile
            return
        clock = self.loop.clock
        began = clock()
        for count, _ in enumerate(walk, 1):
            if count == MOST_AT_ONCE or clock() - began >= SLICE:
                self._spent += clock() - began
                self.loop.call_soon(self._slice, walk)
                return
        self._spent += clock() - began
        self._looked(clock())

    def _entries(self) -> Iterator[None]:
        """Notes every entry, the nearest first, yielding after each and before each folder."""
        folders: Deque[Tuple[str, str]] = deque([(self.root, "")])
        seen: Set[Tuple[int, int]] = set()
        while folders:
            yield
            path, prefix = folders.popleft()
            try:
                stat = os.stat(path)
                here = stat.st_dev, stat.st_ino
                if here in seen:
                    continue
                if stat.st_ino:  # some network drives have none
                    seen.add(here)
                with os.scandir(path) as entries:
                    for entry in entries:
                        if _is_seen(entry.name):
                            if len(self._found) == MOST:
                                return
                            if self._note(entry, prefix):
                                folders.append((entry.path, prefix + entry.name + "/"))
                        yield
            except OSError:  # vanished, or not ours to read
                pass

    def _note(self, entry: os.DirEntry[str], prefix: str) -> bool:
        """Whether this entry is a folder to look into."""
        try:
            stat = entry.stat()
            folder = S_ISDIR(stat.st_mode)
            inside = folder and (self._follow or not entry.is_symlink())
        except OSError:  # vanished, or a link that leads nowhere
            return False
        if (stat.st_dev, stat.st_ino) in self._ignored:
            return False
        name = prefix + entry.name + ("/" if folder else "")
        mark = FOLDER if folder else (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        self._found[name] = mark
        if self._known is not None:
            changed = self._known.pop(name, None) != mark
        else:
            changed = not folder and self._is_later(stat.st_mtime_ns, stat.st_ctime_ns)
        if changed:
            self._fresh.add(name)
        return inside

    def _is_later(self, *dates: int) -> bool:
        """Whether one of these lies between the wake() and now; a date in the future says nothing."""
        now = self._wall()
        return any(self._woken <= date <= now for date in dates)

    # between looks

    def _looked(self, now: float) -> None:
        """The look is complete: another soon if there are changes, for more to follow; else they are told."""
        self._walk = None
        self._fresh.update(self._known or ())  # what was not found again
        self._known, self._found = self._found, {}
        fresh, self._fresh = self._fresh, set()
        if fresh and not self._changed:
            self._since = now
        self._changed |= fresh
        if fresh and now - self._since < PATIENCE:
            self._rest(SETTLE)
            return
        self._rest(max(INTERVAL, self._spent * 4))
        if len(self._known) == MOST and not self._told_limit:
            self._told_limit = True
            self.emit("on_limit", self)
        if self._changed:
            changed, self._changed = self._changed, set()
            self.emit("on_change", self, sorted(changed))

    def _rest(self, delay: float) -> None:
        self._state = RESTING
        self._timer.delay = delay
        self._timer.start()

    # the end

    def _rest_for_good(self) -> None:
        self._state = ASLEEP
        self._timer.stop()
        walk: Any = self._walk
        if walk is not None:
            self._walk = None
            walk.close()  # the folder it has open
        self._known, self._found = None, {}
        self._fresh, self._changed = set(), set()

    def silence(self) -> None:
        self._rest_for_good()
        self._timer.abort()

    def title(self) -> str:
        return "TreeWatch %s" % self.root


def _is_seen(name: str) -> bool:
    return name not in UNSEEN and (not name.startswith(".") or name == ".well-known")
