"""AccessLog: a line for each answer, in a format people or programs read.

    server.on_answer += AccessLog(sys.stderr.write)                      # 2026-11-22 09:30:05 127.0.0.1 GET / 200 512 0.3ms
    server.on_answer += AccessLog(file.write, format="combined")         # what Apache and nginx write
    server.on_answer += AccessLog(file.write, format="json", forwarded="10.0.0.0/8")

Rules
- A line is written when the kernel has the whole answer, or when it is clear that it never will: then the line has the bytes
  that went (where the system tells: that the client has acknowledged), and ends in "cut". An answer that had not begun when
  its client went has no line. The lines of a connection are in the order of its answers.
- A connection that another protocol takes over has its line when it ends: status 101 (or that of CONNECT), the bytes that
  went out meanwhile, and at the end of the line how it ended, a WebSocket with its code, and the bytes that came in. Where the
  system does not count bytes (all but Linux, and Unix sockets), those that came in are left out, and those that went are 0.
- A client cannot forge a line, or write to a terminal: of what it sent only visible ASCII is written as it came; quotes
  and backslashes get a backslash, anything else is \\xhh (the way Apache does it). In JSON it is as JSON escapes it.
- A request that was refused before its head was whole is logged as "-".
- A log that cannot be written (nobody reads the pipe, the disk is full) is lost; the answer is not.
- With no log attached the server does nothing for it. `logging` is not used: this is output, not a diagnosis.

Milliseconds count from the moment the connection last read (a plain request: when it came; an upload: its last piece)
until the answer was complete, so they are what the server took, not what the network took. Of a cut answer and of another
protocol they count until the end.
"""

from __future__ import annotations

import time

from ...base.sendqueue import unacknowledged
from ...base.signal import require_callable
from ...base.stream import SHUT
from ...base.tcpinfo import traffic
from ..semantics.dates import log_date

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from .exchange import Exchange


class Record:
    """What is known of an answer. `status`; `sent`: bytes of its body that went; `taken`: seconds; `cut`: whether it was cut.

    `ended`: of a connection that another protocol took over how it ended, else None. `code`: of a WebSocket its close code.
    `received`: bytes that came from the client meanwhile, None if unknown. `client`: its address, as text.
    """

    cut = False  # most records are of answers that simply end: these are not set then
    ended: Optional[str] = None
    code: Optional[int] = None
    received: Optional[int] = None

    def __init__(self, exchange: Exchange, status: int, client: str) -> None:
        connection = exchange.connection
        self.exchange = exchange
        self.status = status
        self.client = client
        self.sent: int = exchange.sent
        self.began: float = connection.stamp
        self.taken: float = connection.loop.clock() - self.began


class AccessLog:
    """Logs answers: attach one to `Server.on_answer`.

    write      called with each line, its newline included; it should not block, the loop waits for it
    format     "short": date, time, client, method, target, status, bytes of the body, milliseconds
               "common": the Common Log Format;  "combined": the same with Referer and User-Agent
               "json": an object a line: time, client, method, target, version, status, bytes, ms, referer, user_agent, cut;
               of another protocol also ended, code, received
    forwarded  the proxies that are trusted to tell the client's address, as `forwarded` takes them, or a function that gets the
               exchange and returns what `forwarded` returns; a client that they do not tell is "unknown"
    wall       the clock for dates, in seconds since the epoch; they are written in local time

    ValueError for another format, and for networks that are none.
    """

    __slots__ = ("_write", "_line", "_stamp", "_wall", "_second", "_date", "_forwarded", "_trails")

    def __init__(
        self, write: Callable[[str], Any], format: str = "short", *, forwarded: Any = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        if format not in FORMATS:
            raise ValueError("an access log's format is one of %s, not %r" % (", ".join(FORMATS), format))
        if hasattr(write, "write") and not callable(write):
            raise TypeError("an access log calls a function with each line: file.write, not the file %r" % (write,))
        require_callable(write, "the write of an access log")
        self._write = write
        self._line = FORMATS[format]
        self._stamp = _STAMPS.get(format, log_date)
        self._wall = wall
        self._second = -1
        self._date = ""
        self._forwarded: Optional[Callable[[Exchange], Any]] = None
        self._trails: Dict[Any, Trail] = {}  # connections with answers that are not out yet, by their streams
        if forwarded is not None:
            self._forwarded = forwarded if callable(forwarded) else _through(forwarded)

    def __call__(self, exchange: Exchange, status: int) -> None:
        """Log this answer, at its end."""
        connection = exchange.connection
        stream = connection.stream
        record = Record(exchange, status, self._client(exchange))
        if exchange.sent < LARGE and not (stream.unsent or self._trails or exchange.cut or connection.upgraded):
            self.write(record)  # nearly all
            return
        record.cut = exchange.cut
        trail = self._trails.get(stream)
        if not stream.closed and (record.cut or connection.upgraded or stream.unsent or record.sent >= LARGE
                                  or (trail is not None and trail.records)):
            if trail is None:
                trail = self._trails[stream] = Trail(self, stream)
            trail.add(record)
        else:
            self.write(record)

    def write(self, record: Record) -> None:
        """Writes the line of an answer that is over."""
        second = int(self._wall())
        if second != self._second:
            self._second = second
            self._date = self._stamp(second)
        line = self._line(self._date, record)
        try:
            self._write(line)
        except (OSError, ValueError):  # ValueError: the file is closed
            pass

    def forget(self, stream: Any) -> None:
        """The last record of this stream is written."""
        self._trails.pop(stream, None)

    def _client(self, exchange: Exchange) -> str:
        """The client's host, "unix:" over a Unix socket."""
        peer = exchange.connection.stream.peer
        if self._forwarded is not None:
            peer = self._forwarded(exchange).client
            if peer is None:
                return "unknown"
        return peer.host if peer is not None and peer.port is not None else "unix:"


class Trail:
    """The answers of one connection that are not out yet, in order, `records`; and what another protocol makes of it."""

    __slots__ = ("records", "_log", "_stream", "_witnessed", "_began")

    def __init__(self, log: AccessLog, stream: Any) -> None:
        self._log = log
        self._stream = stream
        self.records: List[Record] = []
        self._witnessed = False
        self._began: Optional[Tuple[int, int]] = None  # bytes that went and came before another protocol took over
        for layer in _layers(stream):
            layer.witness(self._ends)

    def add(self, record: Record) -> None:
        """One more, behind the others."""
        self.records.append(record)
        if record.exchange.upgraded:
            record.ended = ""
            self._began = _counted(self._stream)
            ws = getattr(self._stream.protocol, "ws", None)
            if ws is not None:
                record.code = 0
                ws.on_close += lambda ws, code, reason: self._said(record, code)
        elif not record.cut:
            self._ask(lambda: self._gone(record, False))

    def _ask(self, done: Callable[[], Any]) -> None:
        """Has `done` called when what is queued now is out."""
        queue = self._stream.queue
        if queue:
            queue.add([b""], done, False)
        else:
            self._stream.owe([done])

    def _gone(self, record: Record, sure: bool) -> None:
        """The kernel has this answer; not sure: but the answer may have been queued behind what was asked about.

        What carries TLS says nothing more once it is closing: `_ends` does then.
        """
        if self._stream.unsent and not (sure and not self._stream.closing):
            if not sure:
                self._ask(lambda: self._gone(record, True))
        elif record in self.records:
            self.records.remove(record)
            self._log.write(record)

    def _ends(self) -> None:
        """The stream ends: what of the answers has not gone never will."""
        if self._witnessed:
            return
        self._witnessed = True
        stream = self._stream
        left = sum(layer.queue.left for layer in _layers(stream) if layer.queue)
        last = list(_layers(stream))[-1]
        if left or not stream.complete:
            left += unacknowledged(last.fd) or 0
        now = stream.loop.clock()
        for record in reversed(self.records):
            if record.ended is not None:
                self._count(record, now)
                continue
            lost = min(left, record.sent)
            left -= lost
            if lost or record.cut:
                record.cut = True
                record.sent -= lost
                record.taken = now - record.began
        for record in tuple(self.records):
            if record.code != 0:  # else the WebSocket has not said how it ended
                self.records.remove(record)
                self._log.write(record)
        if not self.records:
            self._log.forget(self._stream)

    def _count(self, record: Record, now: float) -> None:
        """Another protocol's connection ends."""
        record.taken = now - record.began
        if not record.code:
            record.ended = "closed" if self._stream.complete else "cut"
            record.cut = not self._stream.complete
        counted = _counted(self._stream)
        if counted is not None and self._began is not None:
            sent, record.received = counted[0] - self._began[0], counted[1] - self._began[1]
            if not self._stream.complete:  # what the client did not acknowledge it may not have
                sent -= unacknowledged(list(_layers(self._stream))[-1].fd) or 0
            record.sent = max(0, sent)

    def _said(self, record: Record, code: int) -> None:
        """How the WebSocket ended."""
        record.code = code
        record.cut = code == 1006
        record.ended = "closed %d" % code
        if self._witnessed and record in self.records:
            self.records.remove(record)
            self._log.write(record)
            if not self.records:
                self._log.forget(self._stream)


def _layers(stream: Any) -> List[Any]:
    """The stream, and below it what carries it (TLS)."""
    layers = []
    while stream is not None:
        layers.append(stream)
        stream = getattr(stream.sock, "carrier", None)
    return layers


def _counted(stream: Any) -> Optional[Tuple[int, int]]:
    """(bytes that went to the kernel, bytes that came) so far."""
    last = _layers(stream)[-1]
    counted = traffic(last.sock)
    if counted is None:
        return None
    went, came = counted[0] + (unacknowledged(last.fd) or 0), counted[1]
    return went - (last.output == SHUT), came - last.ended  # the system counts the end of a side as a byte


def _through(trusted: Any) -> Callable[[Exchange], Any]:
    """`forwarded` of these proxies."""
    from ...net.networks import Networks
    from .forwarding import forwarded

    networks = Networks.of(trusted)
    return lambda exchange: forwarded(exchange, networks)


def escape(text: str) -> str:
    """What a client sent, as it can stand in a line and between quotes."""
    return text.translate(_ESCAPES)


class _Escapes(Dict[int, str] if TYPE_CHECKING else dict):  # type: ignore[misc]
    """A table for str.translate that makes its entries when they are asked for."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char in '"\\':
            made = "\\" + char
        elif 0x20 <= code < 0x7F:
            made = char
        else:
            made = char.encode("ascii", "backslashreplace").decode("ascii") if code > 0x7F else "\\x%02x" % code
        self[code] = made
        return made


_ESCAPES = _Escapes()


def _short(date: str, record: Record) -> str:
    return "%s %s %s %d %d %.1fms%s\n" % (
        date, record.client, _asked(record.exchange), record.status, record.sent, record.taken * 1000.0, _end(record))


def _common(date: str, record: Record) -> str:
    return _apache(date, record) + _end(record) + "\n"


def _combined(date: str, record: Record) -> str:
    headers = record.exchange.request.headers
    return '%s "%s" "%s"%s\n' % (_apache(date, record), escape(headers.get("referer", "-")),
                                 escape(headers.get("user-agent", "-")), _end(record))


def _json(date: str, record: Record) -> str:
    from json import dumps

    request = record.exchange.request
    read = _asked(record.exchange) != "-"
    told = {"time": date, "client": record.client, "method": request.method if read else None,
            "target": request.target if read else None, "version": request.version if read else None,
            "status": record.status, "bytes": record.sent, "ms": round(record.taken * 1000.0, 3),
            "referer": request.headers.get("referer"), "user_agent": request.headers.get("user-agent"), "cut": record.cut}
    if record.ended is not None:
        told.update(ended=record.ended.partition(" ")[0], code=record.code, received=record.received)
    return dumps(told) + "\n"


def _apache(date: str, record: Record) -> str:
    exchange = record.exchange
    what = _asked(exchange)
    if what != "-":
        what += " HTTP/" + exchange.request.version
    return '%s - - [%s] "%s" %d %s' % (record.client, date, what, record.status, record.sent or "-")


def _end(record: Record) -> str:
    """What stands behind the line of an answer that did not simply end."""
    if record.ended is None:
        return " cut" if record.cut else ""
    return " %s%s" % (record.ended, "" if record.received is None else ", %d received" % record.received)


def _asked(exchange: Exchange) -> str:
    """Method and target; "-" for the engine's stand-in for a request that could not be read."""
    what = exchange.request.method + " " + escape(exchange.request.target)
    return what if what != "- /" else "-"


def _plain_date(second: int) -> str:
    return "%04d-%02d-%02d %02d:%02d:%02d" % time.localtime(second)[:6]


def _iso_date(second: int) -> str:
    local = time.localtime(second)
    offset = local.tm_gmtoff // 60  # not %z: PyPy's does not know the zone
    text = "%04d-%02d-%02dT%02d:%02d:%02d" % local[:6]
    return "%s%s%02d:%02d" % (text, "-" if offset < 0 else "+", *divmod(abs(offset), 60))


LARGE = 16384  # bytes: a smaller answer goes to the kernel with its head; of a larger one it is asked when it is out
FORMATS = {"short": _short, "common": _common, "combined": _combined, "json": _json}
_STAMPS = {"short": _plain_date, "json": _iso_date}
