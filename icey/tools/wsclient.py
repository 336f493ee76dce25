"""Talk: `icey ws URL`: lines of stdin go out as messages, messages that come are lines on stdout.

Rules
- Neither side is read faster than the other takes it: stdin waits while the WebSocket's queue is full, the WebSocket is paused
  while stdout's is.
- Behind the end of stdin the answers are waited for: `wait` seconds in which nothing comes and nothing goes. A terminal's end
  (Ctrl-D) ends at once, and with `messages` their number alone counts, unless `wait` is given too.
- A problem with one line is told, the line not sent, and the exit status 1; the others go their way. On a terminal it is
  no more than told.
- What is told of the connection goes to stderr, after all that came is out on stdout.

Not here: the flags (ws.py), stdin and stdout (stdio.py), the echo server (wsecho.py).
"""

from __future__ import annotations

import os

from ..base.application import run
from ..base.errors import HttpError
from ..base.timer import Timer
from ..http.wssocket import WebSocket
from .console import Trouble, printable, reason
from .failures import FINE, GONE, INTERRUPTED, OTHER, PROTOCOL, STATUS, trouble_of
from .outlets import told_status
from .stdio import LineReader, Outflow
from .wscodes import FINE_CODES, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, List, Optional, Tuple

    from ..base.limits import Limits
    from ..base.loop import Loop
    from .console import Console

WAIT = 1.0  # seconds without a message, behind the end of stdin
SIGNAL = 128  # beside a signal's number: the exit status
SHOWN = 16  # bytes of a binary message
NORMAL, GOING_AWAY = 1000, 1001

HELP = """\
a line is sent as a message; those that begin with a slash are commands:
  /ping [TEXT]            ask for a sign of life, and tell how long it took
  /close [CODE [REASON]]  say goodbye (1000)
  /help                   this
  //...                   send a line that begins with a slash
Ctrl-D says goodbye, too, and so does Ctrl-C."""


class Talk:
    """One connection, from the handshake to the exit status. stdin: its descriptor, None for none."""

    def __init__(self, loop: Loop, options: argparse.Namespace, console: Console, stdin: Optional[int]) -> None:
        if console.out is None:
            raise Trouble(OTHER, "there is no stdout to show messages on")
        self._loop = loop
        self._options = options
        self._console = console
        self._terminal = stdin is not None and os.isatty(stdin)
        self._commands = self._terminal or options.commands
        self._lines = LineReader(loop, stdin, options.max_message, self)
        self._out = Outflow(loop, console.out, self)
        self._ws: Optional[Caller] = None
        self._linger = Timer(loop, 0.0, lambda timer: self._wait())
        self._heard = 0.0  # when the last message came
        self._came = 0  # messages
        self._unsent = 0  # the first line that the server did not wait for
        self._pings: List[Tuple[bytes, float]] = []
        self._trouble: Optional[Trouble] = None  # what ended it
        self._worst = FINE  # what did not
        self._code, self._reason = 0, ""

    def run(self) -> int:
        """Turns the loop until all is done; the exit status. Trouble: it did not come to a connection."""
        ws = self._ws = self._connect()
        try:
            number = run(self._loop, ws)
            self._put_out(wait=not number)
        except KeyboardInterrupt:  # there is no signal module, or it is stdout that is waited for
            number = INTERRUPTED - SIGNAL
        finally:
            self._let_go(ws)
        return SIGNAL + number if number else self._outcome(ws)

    def _put_out(self, wait: bool) -> None:
        """The rest of what has come goes to stdout; without `wait` as long as it takes some of it."""
        before = -1
        while self._out.queued and (wait or self._out.queued != before):
            before = self._out.queued
            self._loop.run_once(None if wait else 0)

    def _let_go(self, ws: Caller) -> None:
        """Of what is open. Only after a second signal the WebSocket is."""
        self._lines.close()
        self._out.close()
        self._linger.abort()
        ws.abort()
        while not ws.closed:
            self._loop.run_once(0)

    # the connection

    def _connect(self) -> Caller:
        options = self._options
        try:
            ws = Caller.connect(
                self._loop, options.target, headers=options.fields, subprotocols=options.subprotocol,
                compression=not options.no_compression, ping_interval=options.ping_interval, limits=options.limits,
                tls=options.tls, proxy=options.way)
        except (OSError, ValueError, TypeError) as exc:
            raise trouble_of(exc, options.target, False) from exc
        assert isinstance(ws, Caller)
        ws.on_connect += self._connected
        ws.on_message += self._message
        ws.on_ping += self._pinged
        ws.on_pong += self._ponged
        ws.on_drain += lambda ws: self._lines.resume()
        ws.on_error += self._failed
        ws.on_close += self._closed
        return ws

    def _connected(self, ws: Caller) -> None:
        ws.open = True
        if self._terminal or self._options.verbose:
            text = "connected to %s" % self._options.target.without_userinfo()
            if ws.subprotocol is not None:
                text += ", subprotocol " + ws.subprotocol
            self._console.note(text + (" (/help tells the commands)" if self._terminal else ""))
        self._lines.resume()

    def _failed(self, ws: Caller, exc: Exception) -> None:
        if self._trouble is None:
            self._trouble = self._refusal(exc) or trouble_of(exc, self._options.target, ws.open)

    def _refusal(self, exc: Exception) -> Optional[Trouble]:
        """The Trouble of a server that answers the handshake by something else, None for other errors."""
        response = getattr(exc, "response", None)
        if not isinstance(exc, HttpError) or response is None:
            return None
        where = response.headers.get("location")
        return Trouble(STATUS, "%s: the server did not switch to WebSocket, it answered %s%s" % (
            self._options.target.without_userinfo(), told_status(response), ", see " + where if where else ""))

    def _closed(self, ws: Caller, code: int, reason: str) -> None:
        self._code, self._reason = code, reason
        if self._lines.left and not self._unsent:
            self._unsent = self._lines.number
        self._lines.close()
        self._linger.stop()
        self._loop.stop()

    def _leave(self, code: int = NORMAL) -> None:
        """Says goodbye."""
        assert self._ws is not None
        self._lines.close()
        self._linger.stop()
        if not self._ws.closing:
            self._ws.close(code)

    def _outcome(self, ws: Caller) -> int:
        """Tells how it ended; the exit status."""
        trouble = self._trouble
        if trouble is None:
            if not ws.left or self._terminal or self._options.verbose:
                self._console.note("closed%s: %s" % ("" if ws.left else " by the server", told(self._code, self._reason)))
            trouble = None if ws.left else self._what_is_missing()
        if trouble is None:
            return self._worst or (FINE if ws.left or self._code in FINE_CODES else STATUS)
        if trouble.status != GONE:
            self._console.trouble(str(trouble))
        return self._worst or trouble.status

    def _what_is_missing(self) -> Optional[Trouble]:
        """The Trouble of a server that closes too early."""
        wanted = self._options.messages
        if wanted is not None and self._came < wanted:
            return Trouble(PROTOCOL, "the server closed after %d of %d messages" % (self._came, wanted))
        if self._unsent:
            return Trouble(PROTOCOL, "the server closed before all of stdin was sent: from line %d on it was not"
                           % self._unsent)
        return None

    # what comes

    def _message(self, ws: Caller, data: Any) -> None:
        self._came += 1
        self._heard = self._loop.now
        if not self._out.write(self._shown(data)):
            ws.pause()
        if self._came == self._options.messages:
            self._leave()

    def _shown(self, data: Any) -> bytes:
        """A message as it stands on stdout."""
        terminal = self._console.out_terminal
        if isinstance(data, str):
            text = tame(data) if terminal else data
        elif self._options.binary and not terminal:
            return bytes(data)
        else:
            text = binary_text(bytes(data))
        mark = "< " if terminal and self._terminal else ""
        return (mark + text + "\n").encode("utf-8")

    def on_outflow_drain(self) -> None:
        """stdout takes more."""
        if self._ws is not None:
            self._ws.resume()

    def on_outflow_error(self, exc: Exception) -> None:
        """It takes nothing any more."""
        self._console.abandon_out()
        if self._trouble is None:
            gone = isinstance(exc, BrokenPipeError)
            self._trouble = Trouble(GONE if gone else OTHER, "cannot write to stdout: %s" % reason(exc))
        self._leave(GOING_AWAY)

    def _pinged(self, ws: Caller, data: bytes) -> None:
        if self._options.verbose:
            self._console.note("ping %s, answered" % _quoted(data))

    def _ponged(self, ws: Caller, data: bytes) -> None:
        for index, (asked, when) in enumerate(self._pings):
            if asked == data:
                del self._pings[:index + 1]  # of several pings the last one may be answered alone (RFC 6455 section 5.5.3)
                self._console.show("pong %s after %.1f ms" % (_quoted(data), (self._loop.now - when) * 1000))
                return
        if self._options.verbose:
            self._console.note("pong %s" % _quoted(data))

    # what goes

    def on_line(self, line: bytes) -> None:
        """A line of stdin."""
        assert self._ws is not None
        if self._ws.closing:
            self._unsent = self._lines.number
            self._lines.close()
            return
        if self._commands and line[:1] == b"/":
            if line[1:2] != b"/":
                self._command(line.decode("utf-8", "replace").rstrip("\r"))
                return
            line = line[1:]
        data: Any = line
        if not self._options.binary:
            try:
                data = (line[:-1] if line[-1:] == b"\r" else line).decode("utf-8")
            except UnicodeDecodeError as exc:
                self._complain("line %d is not UTF-8, see its byte %d: it was not sent (-b sends lines as binary messages)"
                               % (self._lines.number, exc.start + 1))
                return
        if not self._ws.send(data):
            self._lines.pause()

    def on_long_line(self) -> None:
        """A line that is too long."""
        self._complain("line %d is longer than %d bytes: it was not sent (--max-message)"
                       % (self._lines.number, self._options.max_message))

    def on_lines_error(self, exc: Exception) -> None:
        """stdin cannot be read."""
        self._complain("cannot read stdin: %s" % reason(exc))
        self.on_lines_end()

    def on_lines_end(self) -> None:
        """There are no more lines."""
        self._heard = self._loop.now
        if self._options.wait is not None or self._options.messages is None:
            self._wait()

    def _wait(self) -> None:
        """Ends it when nothing has come for long enough."""
        assert self._ws is not None
        wait = self._options.wait
        if wait is None:
            wait = 0.0 if self._terminal else WAIT
        now = self._loop.now
        if self._ws.queued or self._out.queued:
            self._heard = now
        if now >= self._heard + wait:
            self._leave()
        elif wait < float("inf"):
            self._linger.delay = self._heard + wait - now
            self._linger.start()

    def _complain(self, text: str) -> None:
        self._console.trouble(text)
        if not self._terminal:
            self._worst = self._worst or OTHER

    # commands

    def _command(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        if name == "/ping":
            self._ping(rest.encode("utf-8"))
        elif name == "/close":
            self._close(rest)
        elif name == "/help":
            for text in HELP.splitlines():
                self._console.show(text)
        else:
            self._complain("there is no command %s: /help tells which there are, //... sends such a line" % name)

    def _ping(self, data: bytes) -> None:
        assert self._ws is not None
        data = data or b"%d" % (len(self._pings) + 1)
        try:
            self._ws.ping(data)
        except ValueError as wrong:
            self._complain("/ping: %s" % wrong)
        else:
            self._pings.append((data, self._loop.now))

    def _close(self, rest: str) -> None:
        assert self._ws is not None
        code, _, text = rest.strip().partition(" ")
        try:
            self._ws.close(int(code) if code else NORMAL, text.strip())
        except ValueError as wrong:
            self._complain("/close: %s" % (wrong if code.isdigit() else "the code is a number, not %r" % code))
        else:
            self._lines.close()


class Caller(WebSocket):
    """A WebSocket that remembers more. `open`: the handshake is done; `left`: it was we who said goodbye."""

    __slots__ = ("open", "left")

    def __init__(self, loop: Loop, limits: Optional[Limits], ping_interval: Optional[float]) -> None:
        super().__init__(loop, limits, ping_interval)
        self.open = self.left = False

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """As a WebSocket's."""
        leaves = not self.closing
        super().close(code, reason)
        self.left = self.left or leaves


def tame(text: str) -> str:
    """`text` for a terminal: nothing but line ends and tabs can steer it."""
    if text.isprintable():
        return text
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def binary_text(data: bytes) -> str:
    """A binary message in a line: its size, and how it begins."""
    begins = " ".join("%02x" % byte for byte in data[:SHOWN])
    return "[binary, %d byte%s%s%s]" % (len(data), "" if len(data) == 1 else "s", ": " + begins if data else "",
                                        " ..." if len(data) > SHOWN else "")


def _quoted(data: bytes) -> str:
    return '"%s"' % data.decode("utf-8", "backslashreplace")
