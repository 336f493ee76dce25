"""AccessLog: a line for each answer, in a format people or programs read.

    server.on_answer += AccessLog(sys.stderr.write)                      # 2026-11-22 09:30:05 127.0.0.1 GET / 200 512 0.3ms
    server.on_answer += AccessLog(file.write, format="combined")         # what Apache and nginx write

Rules
- A line is written when the answer is complete, that is, handed over; a large file is on its way then. What a client did
  not wait for has no line.
- A client cannot forge a line, or write to a terminal: of what it sent only visible ASCII is written as it came; quotes
  and backslashes get a backslash, anything else is \\xhh (the way Apache does it).
- A request that was refused before its head was whole is logged as "-".
- A log that cannot be written (nobody reads the pipe, the disk is full) is lost; the answer is not.
- With no log attached the server does nothing for it. `logging` is not used: this is output, not a diagnosis.

Milliseconds count from the moment the connection last read (a plain request: when it came; an upload: its last piece)
until the answer was complete, so they are what the server took, not what the network took.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict

    from .exchange import Exchange

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class AccessLog:
    """Logs answers: attach one to `Server.on_answer`.

    write     called with each line, its newline included; it should not block, the loop waits for it
    format    "short": date, time, client, method, target, status, bytes of the body, milliseconds
              "common": the Common Log Format;  "combined": the same with Referer and User-Agent
    wall      the clock for dates, in seconds since the epoch; they are written in local time

    ValueError for another format.
    """

    __slots__ = ("_write", "_line", "_stamp", "_wall", "_second", "_date")

    def __init__(
        self, write: Callable[[str], Any], format: str = "short", *, wall: Callable[[], float] = time.time
    ) -> None:
        if format not in FORMATS:
            raise ValueError("an access log's format is one of %s, not %r" % (", ".join(FORMATS), format))
        self._write = write
        self._line = FORMATS[format]
        self._stamp = _plain_date if format == "short" else _common_date
        self._wall = wall
        self._second = -1
        self._date = ""

    def __call__(self, exchange: Exchange, status: int) -> None:
        """Log this answer."""
        second = int(self._wall())
        if second != self._second:
            self._second = second
            self._date = self._stamp(second)
        line = self._line(self._date, exchange, status)
        try:
            self._write(line)
        except (OSError, ValueError):  # ValueError: the file is closed
            pass


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


def _short(date: str, exchange: Exchange, status: int) -> str:
    what = _asked(exchange)
    taken = exchange.loop._clock() - exchange.connection._stamp
    return "%s %s %s %d %d %.1fms\n" % (date, _client(exchange), what, status, exchange.sent, taken * 1000.0)


def _common(date: str, exchange: Exchange, status: int) -> str:
    return _apache(date, exchange, status) + "\n"


def _combined(date: str, exchange: Exchange, status: int) -> str:
    headers = exchange.request.headers
    return '%s "%s" "%s"\n' % (_apache(date, exchange, status), escape(headers.get("referer", "-")),
                               escape(headers.get("user-agent", "-")))


def _apache(date: str, exchange: Exchange, status: int) -> str:
    what = _asked(exchange)
    if what != "-":
        what += " HTTP/" + exchange.request.version
    return '%s - - [%s] "%s" %d %s' % (_client(exchange), date, what, status, exchange.sent or "-")


def _asked(exchange: Exchange) -> str:
    """Method and target; "-" for the engine's stand-in for a request that could not be read."""
    what = exchange.request.method + " " + escape(exchange.request.target)
    return what if what != "- /" else "-"


def _client(exchange: Exchange) -> str:
    """The client's host, "unix:" over a Unix socket."""
    peer = exchange.peer
    return peer.host if peer is not None and peer.port is not None else "unix:"


def _plain_date(second: int) -> str:
    return "%04d-%02d-%02d %02d:%02d:%02d" % time.localtime(second)[:6]


def _common_date(second: int) -> str:
    local = time.localtime(second)
    year, month, day, hour, minute, sec = local[:6]
    offset = local.tm_gmtoff // 60
    sign = "-" if offset < 0 else "+"
    return "%02d/%s/%04d:%02d:%02d:%02d %s%02d%02d" % (
        day, _MONTHS[month - 1], year, hour, minute, sec, sign, *divmod(abs(offset), 60))


FORMATS = {"short": _short, "common": _common, "combined": _combined}
