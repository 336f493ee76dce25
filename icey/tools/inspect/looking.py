"""What is measured while somebody looks: turns, callbacks, packets; and the errors that were reported, which are always kept.

Rules
- Nobody looks: nothing is measured, and the loop runs as it would without an inspector. Only a report of an error, which is
  rare, is noted down.
- No frame, no exception and no object of the program is kept alive for the picture: code objects, numbers and texts are.
- A message may hold what is nobody else's business. Only what icey itself says of a broken contract is told, of other errors
  the class and the place.

Not here: what there is, whether somebody looks or not (picture.py).
"""

from __future__ import annotations

import sys
from _weakref import ref
from collections import deque

from ...base.debug import code_of, place, raised_in, struck_inside
from ...base.errors import ContractError
from ...base.handle import Handle
from ...base.idler import Idler
from ...base.stream import Stream
from ...base.synchronizer import Synchronizer
from ...base.timer import Timer
from ...base.watch import slots_behind

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, List

    from ...base.loop import Loop
    from ...packets.stream import PacketStream

MOST_ERRORS = 50
MOST_SLOTS = 500  # functions that are told apart
SHOWN_SLOTS = 20
TEXT = 300  # characters of a text
PERIOD = 0.5  # seconds that rates are taken over, so that several who look do not cut them to pieces
SLOW = 0.0001  # seconds of a callback that is noted down: to note down each would cost a server a tenth of its time

_METHOD = type(place.__get__(place))  # a function that is bound to an object
_CALLERS = (Timer, Idler, Synchronizer)  # they call one function of the program's, `fn`: that is what is told of


class Spent:
    """What the slow calls of one function have taken: `calls`, `total` and `longest` in seconds; `who` the longest was for, and
    `runs`, the function."""

    __slots__ = ("calls", "total", "longest", "who", "runs")

    def __init__(self, runs: str) -> None:
        self.calls: int = 0
        self.total: float = 0.0
        self.longest: float = -1.0
        self.who: str = ""
        self.runs: str = runs


class Look:
    """Measures `loop` from `begin` to `end`. `looking`: whether it does.

    hidden(owner): whether a callback of `owner` is the inspector's own.
    """

    def __init__(self, loop: Loop, hidden: Callable[[Any], bool]) -> None:
        self.looking: bool = False
        self._loop = loop
        self._hidden = hidden
        self._since = 0.0
        self._turns = 0
        self._busy = 0.0
        self._rates: Dict[str, Any] = _NO_RATES
        self._spent: Dict[Any, Spent] = {}
        self._flows: Dict[int, Flow] = {}

    def begin(self) -> None:
        """From now on it is measured."""
        if not self.looking:
            self.looking = True
            self._since, self._turns, self._busy = self._loop.clock(), 0, 0.0
            self._rates = _NO_RATES
            self._spent = {}
            self._loop.watch_turns(self._turned)
            self._loop.watch_calls(self._called, SLOW)

    def end(self) -> None:
        """No more."""
        if self.looking:
            self.looking = False
            self._loop.unwatch_turns(self._turned)
            self._loop.unwatch_calls(self._called)
            for flow in self._flows.values():
                flow.end()
            self._flows = {}

    def _turned(self, seconds: float) -> None:
        self._turns += 1
        self._busy += seconds

    def _called(self, loop: Loop, callback: Any, seconds: float) -> None:
        """Behind each callback of SLOW seconds or more, while somebody looks."""
        owner = callback.__self__ if type(callback) is _METHOD else None
        if self._hidden(owner):
            return
        fn = getattr(owner, "fn", None) if isinstance(owner, _CALLERS) else None
        runs = callback if fn is None else fn
        server = getattr(owner.protocol, "server", None) if isinstance(owner, Stream) else None
        key = _key(runs), None if server is None else id(server)  # those of one server are told apart from those of another
        spent = self._spent.get(key)
        if spent is None:
            if len(self._spent) >= MOST_SLOTS:
                return
            spent = self._spent[key] = Spent(short(place(runs)))
        spent.calls += 1
        spent.total += seconds
        if seconds > spent.longest:
            spent.longest = seconds
            spent.who = _who(owner, runs)

    def rates(self) -> Dict[str, Any]:
        """turns: so many a second, busy: the share of the time in callbacks, of the last PERIOD at least; None before it."""
        now = self._loop.clock()
        period = now - self._since
        if self.looking and period >= PERIOD:
            self._rates = {"turns": round(self._turns / period, 1), "busy": round(min(self._busy / period, 1.0), 4)}
            self._since, self._turns, self._busy = now, 0, 0.0
        return self._rates if self.looking else _NO_RATES

    def slots(self) -> List[Dict[str, Any]]:
        """Those that held the loop longest in one call, since it was begun to look."""
        found = sorted(self._spent.values(), key=lambda spent: -spent.longest)
        return [{"who": spent.who, "runs": spent.runs, "calls": spent.calls, "total": round(spent.total, 6),
                 "longest": round(spent.longest, 6)} for spent in found[:SHOWN_SLOTS]]

    def entered(self, streams: List[PacketStream]) -> Dict[int, int]:
        """id of a stream -> packets that have entered it since it was begun to look, for those of `streams`."""
        before, self._flows = self._flows, {}
        for stream in streams:
            flow = before.pop(id(stream), None)
            if flow is None or flow.stream() is not stream:
                flow = Flow(stream)
            self._flows[id(stream)] = flow
        for flow in before.values():
            flow.end()
        return {number: flow.count for number, flow in self._flows.items()}


_NO_RATES: Dict[str, Any] = {"turns": None, "busy": None}


def short(text: str) -> str:
    """`text`, cut where it is long."""
    return text if len(text) <= TEXT else text[:TEXT - 1] + "\u2026"


def _key(fn: Any) -> Any:
    """What stands for the function `fn`, and keeps nothing alive: its code, or its name."""
    return code_of(fn) or place(fn)


def _who(owner: Any, runs: Any) -> str:
    """The program's own function where that is known: the slots of a handle, or of its server; else what ran."""
    slots = ["%s: %s" % (name, place(fn)) for name, fn in slots_behind(owner)] if isinstance(owner, Handle) else []
    own = not slots or (isinstance(owner, _CALLERS) and runs is owner.fn)
    return short(place(runs) if own else ", ".join(slots))


class Flow:
    """Counts the packets that enter `stream`, a weak reference, until `end`. `count`: so many."""

    __slots__ = ("count", "stream")

    def __init__(self, stream: PacketStream) -> None:
        self.count: int = 0
        self.stream: Any = ref(stream)
        stream.watch_packets(self._one_more)

    def end(self) -> None:
        """Counts no more."""
        stream = self.stream()
        if stream is not None:
            stream.unwatch_packets(self._one_more)

    def _one_more(self, packet: Any) -> None:
        self.count += 1


class Reports:
    """The last errors that were reported on `loop`, each kind once, with how often it came. `count`: of all that were."""

    def __init__(self, loop: Loop) -> None:
        self.count: int = 0
        self._loop = loop
        self._last: Deque[Dict[str, Any]] = deque(maxlen=MOST_ERRORS)
        loop.watch_reports(self._reported)

    def end(self) -> None:
        """Notes down no more."""
        self._loop.unwatch_reports(self._reported)

    def rows(self) -> List[Dict[str, Any]]:
        """The latest first: type, text, contract, instead, where, handle, count, and seconds ago."""
        now = self._loop.clock()
        return [dict({name: value for name, value in row.items() if name != "at"}, ago=round(now - row["at"], 1))
                for row in sorted(self._last, key=lambda row: row["at"])[::-1]]

    def _reported(self, loop: Loop, exc: BaseException, handle: Any) -> None:
        self.count += 1
        row = {"type": type(exc).__name__, "text": "", "contract": "", "instead": "", "where": short(raised_in(exc)),
               "handle": "" if handle is None else type(handle).__name__}
        if isinstance(exc, ContractError):
            row.update(contract=short(str(exc.contract)))
            if struck_inside(exc):  # else the words are the program's
                row.update(text=short(str(exc.what)), instead=short(str(exc.fix)))
        for known in self._last:
            if all(known[name] == value for name, value in row.items()):
                known["count"] += 1
                known["at"] = loop.clock()
                return
        self._last.append(dict(row, count=1, at=loop.clock()))


def program() -> str:
    """The name of the program that runs, without its folder; of a package that is run (python -m), its name."""
    *folders, name = (sys.argv[0] if sys.argv else "").replace("\\", "/").split("/")
    if name == "__main__.py" and folders:
        return folders[-1]
    return "python " + name if name == "-c" else name or "python"
