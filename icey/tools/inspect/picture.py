"""What is on a loop at a moment, as plain values that JSON takes: handles, servers, WebSockets, PacketStreams.

    Picture(loop, ...).state()     the whole, see there

Rules
- Looking changes nothing: attributes are read, no slot is attached, no signal is made, nothing is held but weakly.
- Bounded, whatever there is: kinds are counted, and rows are the ROWS that queue most, or are oldest.
- Nothing secret: no header, no body, no packet, no query of a URL, no repr of an object of the program.
- What a class of the program's own says of itself is not trusted: what raises, or is no number, is left out.

Not here: what is measured over time (looking.py), who may see it (inspector.py).
"""

from __future__ import annotations

import gc
import os
import sys
from _weakref import ref
from enum import Enum
from heapq import nlargest

from ...base.debug import place
from ...base.handle import CLOSING, Handle
from ...base.stream import LINKS, Stream
from ...base.timer import Timer
from ...http.server.exchange import OPEN, SENDING
from ...http.server.server import Server
from ...http.websocket.websocket import WebSocket
from ...packets.queue import PacketQueue
from ...packets.stream import PacketStream
from .looking import Look, Reports, program, short

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Set, Tuple

    from ...base.loop import Loop
    from ...http.server.connection import ServerConnection

ROWS = 100  # of each table
KINDS = 50  # of handles that are told apart
SLOTS = 8  # of one signal
SCAN_SHARE = 0.005  # of the time, for finding PacketStreams among all objects


class Weakly:
    """Values for objects, told apart by identity; it keeps none of them alive, and calls nothing of theirs."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: Dict[int, Tuple[Any, Any]] = {}

    def get(self, thing: Any, otherwise: Any = None) -> Any:
        """The value for `thing`."""
        found = self._values.get(id(thing))
        return found[1] if found is not None and found[0]() is thing else otherwise

    def set(self, thing: Any, value: Any) -> None:
        """Gives it one; TypeError where no weak reference can be made to it."""
        self._values[id(thing)] = ref(thing), value

    def living(self) -> List[Tuple[Any, Any]]:
        """Those that are alive, as set, each with its value; the others are forgotten."""
        self._values = {number: entry for number, entry in self._values.items() if entry[0]() is not None}
        return [(thing, entry[1]) for entry in self._values.values() for thing in [entry[0]()] if thing is not None]


class Picture:
    """What there is on `loop`. hidden(handle): whether a handle is the inspector's own. `named`: what was given a name."""

    def __init__(self, loop: Loop, look: Look, reports: Reports, hidden: Callable[[Any], bool]) -> None:
        self.named: Weakly = Weakly()
        self._loop = loop
        self._look = look
        self._reports = reports
        self._hidden = hidden
        self._seen: Dict[int, Tuple[Any, float, int]] = {}  # of a handle: itself, weakly, when it was first seen, its number
        self._streams = Weakly()  # PacketStream -> its number
        self._numbers = 0
        self._scan_at = 0.0

    def state(self) -> Dict[str, Any]:
        """All of it.

            program, pid, python, icey, debug       what runs
            loop      turns (a second), busy (share of the time), held (seconds), handles, keeping (the loop alive), timers,
                      errors (that were reported)
            slots     callbacks that took SLOW seconds or more, the slowest: who, runs, calls, total, longest (seconds)
            kinds     of handles: kind, count, queued (bytes)
            handles   rows: number, kind, title, name, state, age (seconds, at least), queued, high_water (bytes), slots, made
            servers   number, address, states (of connections -> how many), accepted, answering: rows
            websockets   rows: number, peer, state, age, queued, high_water
            streams   PacketStreams: see `_stream`
            errors    see Reports.rows
            more      rows that are left out, by table
        """
        loop, now = self._loop, self._loop.clock()
        handles = [handle for handle in loop.handles if not self._hidden(handle)]
        queued = {id(handle): amount(handle, "queued") or 0 for handle in handles if not isinstance(handle, Timer)}
        self._note(handles, now)
        more: Dict[str, int] = {}
        servers = [handle for handle in handles if isinstance(handle, Server)]
        sockets = [handle for handle in handles if isinstance(handle, WebSocket)]
        streams = self._packet_streams(now)
        shown = _first(streams, ROWS, "streams", more)
        entered = self._look.entered(shown) if self._look.looking else {}
        return {
            "program": program(), "pid": os.getpid(), "python": "%s %s" % (sys.implementation.name, sys.version.split()[0]),
            "icey": __import__(_PACKAGE, fromlist=["__version__"]).__version__, "debug": loop.debug,
            "loop": dict(self._look.rates(), held=round(loop.held, 3), handles=len(handles), keeping=loop.refs,
                         timers=sum(isinstance(handle, Timer) for handle in handles), errors=self._reports.count),
            "slots": self._look.slots(),
            "kinds": _first(_kinds(handles, queued), KINDS, "kinds", more),
            "handles": [self._handle(handle, now) for handle in self._top(handles, queued, "handles", more)],
            "servers": [self._server(server, now, more) for server in _first(servers, ROWS, "servers", more)],
            "websockets": [self._websocket(ws, now) for ws in self._top(sockets, queued, "websockets", more)],
            "streams": [self._stream(stream, entered) for stream in shown],
            "errors": self._reports.rows(),
            "more": more,
        }

    # when a handle was first seen

    def _note(self, handles: Iterable[Handle], now: float) -> None:
        """Notes down those that were not seen before, and forgets those that are gone."""
        before, self._seen = self._seen, {}
        for handle in handles:
            known = before.get(id(handle))
            if known is None or known[0]() is not handle:
                self._numbers += 1
                known = ref(handle), now, self._numbers
            self._seen[id(handle)] = known

    def _top(self, handles: List[Any], queued: Dict[int, float], table: str, more: Dict[str, int]) -> List[Any]:
        """The ROWS that queue most, then those that have been there longest; timers behind all others."""
        if len(handles) <= ROWS:
            return sorted(handles, key=lambda one: self._seen[id(one)][2])
        more[table] = len(handles) - ROWS
        rest = -1.0
        return nlargest(ROWS, handles, key=lambda one: (queued.get(id(one), rest), -self._seen[id(one)][2]))

    def _age(self, handle: Any, now: float) -> float:
        """For how long it has been seen: it may be older."""
        return round(now - self._seen[id(handle)][1], 1)

    # a row each

    def _handle(self, handle: Handle, now: float) -> Dict[str, Any]:
        fn = _asked(handle, "fn")
        title = _title(handle)
        return {"number": self._seen[id(handle)][2], "kind": type(handle).__name__,
                "title": short("%s %s" % (title, place(fn)) if callable(fn) else title), "name": self.named.get(handle, ""),
                "state": _state(handle), "age": self._age(handle, now), "queued": amount(handle, "queued") or 0,
                "high_water": amount(handle, "high_water"), "slots": _slots(handle.signals), "made": handle.site or ""}

    def _server(self, server: Server, now: float, more: Dict[str, int]) -> Dict[str, Any]:
        """answering: peer, request (method and path), state, seconds, sent, queued, high_water (bytes)."""
        states: Dict[str, int] = {}
        busy: List[Tuple[float, ServerConnection]] = []
        for connection in server.connections:
            states[connection.state.value] = states.get(connection.state.value, 0) + 1
            exchange = connection.exchange
            if exchange is not None and not connection.upgraded and exchange.stage in (OPEN, SENDING):
                busy.append((now - connection.stamp, connection))
        if len(busy) > ROWS:
            more["answering"] = more.get("answering", 0) + len(busy) - ROWS
        rows = [_answer(connection, max(0.0, seconds)) for seconds, connection in nlargest(ROWS, busy, key=lambda row: row[0])]
        return {"number": self._seen[id(server)][2], "address": str(server.address), "name": self.named.get(server, ""),
                "stopping": server.stopping, "states": states, "accepted": server.connections_made, "answering": rows}

    def _websocket(self, ws: WebSocket, now: float) -> Dict[str, Any]:
        stream = ws.stream
        return {"number": self._seen[id(ws)][2], "peer": "" if stream is None else str(stream.peer),
                "name": self.named.get(ws, ""), "side": "server" if ws.client is None else "client", "state": ws.state.value,
                "age": self._age(ws, now), "queued": ws.queued, "high_water": ws.limits.high_water}

    # packets

    def _packet_streams(self, now: float) -> List[PacketStream]:
        """Those that there are, on this loop or not, the closed ones left out, as found."""
        if now >= self._scan_at:
            for stream in _found():
                self.add(stream)
            self._scan_at = self._loop.clock() + (self._loop.clock() - now) / SCAN_SHARE
        return [stream for stream, _ in self._streams.living() if not stream.closed]

    def add(self, stream: PacketStream) -> int:
        """Its number; a PacketStream that is not known gets one."""
        number: Optional[int] = self._streams.get(stream)
        if number is None:
            self._numbers = number = self._numbers + 1
            self._streams.set(stream, number)
        return number

    def _stream(self, stream: PacketStream, entered: Dict[int, int]) -> Dict[str, Any]:
        """number, name, state, error, entered (packets since it was begun to look), dropped; sources: (kind, title, and the
        number of a source that is a PacketStream); stages: (order, kind, retention, deferred, boundary; of a queue depth, most,
        dropped, drop; of a sink dropped, sink, gone); slots: of its output, and taken_by, how many; feeds: numbers of the
        streams behind it."""
        boundary = _asked(stream, "boundary")
        taken = list(stream.signals.get("on_packet") or ())
        behind = [owner for owner in map(_owner, taken) if isinstance(owner, PacketStream)]
        slots = [fn for fn in taken if not isinstance(_owner(fn), PacketStream)]
        return {
            "number": self.add(stream), "name": _said(self.named.get(stream) or stream.name),
            "state": stream.state.value, "error": "" if stream.error is None else type(stream.error).__name__,
            "entered": entered.get(id(stream)), "dropped": stream.dropped,
            "sources": [self._source(source) for source in stream.sources[:ROWS]],
            "stages": [_stage(order, stage, stage is boundary) for order, stage in stream.stages[:ROWS]],
            "slots": [short(place(fn)) for fn in slots[:SLOTS]], "taken_by": len(slots),
            "feeds": [self.add(owner) for owner in behind[:ROWS]],
        }

    def _source(self, source: Any) -> Dict[str, Any]:
        feeding = self.add(source) if isinstance(source, PacketStream) else None
        return {"kind": type(source).__name__, "title": _said(_asked(source, "name")), "number": feeding}


def _found() -> List[PacketStream]:
    """All that there are in the process, and are whole: another thread may be making one, or its constructor has raised.

    Nothing of an object is asked but its type; of a PacketStream, what it has.
    """
    kinds: Set[type] = set()
    new: List[type] = [PacketStream]
    while new:
        kind = new.pop()
        if kind not in kinds:
            kinds.add(kind)
            new += type.__subclasses__(kind)
    found = [thing for thing in gc.get_objects() if type(thing) in kinds] if hasattr(gc, "get_objects") else []
    return [stream for stream in found if "outlet" in object.__getattribute__(stream, "__dict__")]


def _answer(connection: ServerConnection, seconds: float) -> Dict[str, Any]:
    exchange = connection.exchange
    assert exchange is not None
    return {"peer": str(connection.peer), "request": short("%s %s" % (exchange.request.method, exchange.request.path)),
            "state": "thinks" if exchange.stage == OPEN else "answers", "seconds": round(seconds, 2), "sent": exchange.sent,
            "queued": connection.stream.queued, "high_water": connection.stream.high_water}


def _stage(order: int, stage: Any, boundary: bool) -> Dict[str, Any]:
    retention = _asked(stage, "retention")
    row = {"order": order, "kind": type(stage).__name__, "deferred": _asked(stage, "deferred") is True, "boundary": boundary,
           "retention": retention.name.lower() if isinstance(retention, Enum) else "?"}
    if isinstance(stage, PacketQueue):
        row.update(depth=stage.depth, most=stage.maxsize, drop=stage.drop)
    dropped = amount(stage, "dropped")
    if dropped is not None:
        row["dropped"] = dropped
    serves = _asked(stage, "serves")
    if serves is not None:
        row.update(sink=True, gone=not serves)
    return row


def _owner(fn: Any) -> Any:
    return fn.__self__ if type(fn) is _METHOD else None


def _kinds(handles: List[Handle], queued: Dict[int, float]) -> List[Dict[str, Any]]:
    counts: Dict[str, List[float]] = {}
    for handle in handles:
        count = counts.setdefault(type(handle).__name__, [0, 0])
        count[0] += 1
        count[1] += queued.get(id(handle), 0)
    return [{"kind": kind, "count": count, "queued": size}
            for kind, (count, size) in sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))]


def _first(rows: List[Any], most: int, table: str, more: Dict[str, int]) -> List[Any]:
    if len(rows) > most:
        more[table] = len(rows) - most
    return rows[:most]


# what is asked of objects whose class may be the program's own

def _asked(thing: Any, name: str) -> Any:
    try:
        return getattr(thing, name, None)
    except Exception:  # a property of the program's: a picture is no place to hear of that
        return None


def amount(thing: Any, name: str) -> Any:
    """The number that is called `name` there; None where that is none."""
    value = _asked(thing, name)
    return value if type(value) is int or (type(value) is float and value - value == 0) else None


def _said(text: Any) -> str:
    return short(text) if isinstance(text, str) else ""


def _title(handle: Handle) -> str:
    try:
        return str(handle.title())
    except Exception:
        return type(handle).__name__


def _state(handle: Handle) -> str:
    if handle.phase:
        return "closing" if handle.phase == CLOSING else "closed"
    state = _asked(handle, "state")
    if isinstance(state, Enum):
        return str(state.value)
    if isinstance(handle, Stream):
        return "paused" if handle.paused else "the peer has ended" if handle.ended else LINKS.name(handle.link).lower()
    return "paused" if _asked(handle, "paused") is True else "open"


def _slots(signals: Optional[Dict[str, Any]]) -> Dict[str, List[str]]:
    found = {}
    for name, signal in sorted((signals or {}).items()):
        slots = list(signal)
        if slots:
            found[name] = [short(place(fn)) for fn in slots[:SLOTS]]
            if len(slots) > SLOTS:
                found[name].append("and %d more" % (len(slots) - SLOTS))
    return found


_METHOD = type(place.__get__(place))  # a function that is bound to an object
_PACKAGE = __name__.rpartition(".tools.")[0]
