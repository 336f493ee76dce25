"""Talk: `icey ws URL`: lines of stdin go out as messages, messages that come are lines on stdout.

Rules
- Neither side is read faster than the other side takes it: stdin waits while the queue of the WebSocket is full, the WebSocket
  is paused while the queue of stdout is.
- After the end of stdin Talk waits for answers, until nothing has come and nothing has gone for `wait` seconds. The end of a
  terminal's input (Ctrl-D) ends Talk at once. With `messages` the number of messages alone counts, unless `wait` is given too.
- A line that cannot be sent is reported and left out, and the exit status is 1; the other lines are sent. On a terminal the
  line is reported, and nothing else follows.
- At a terminal the line is edited, and what comes meanwhile is printed above it, on stderr too where that is the terminal.
- What is said of the connection goes to stderr, after all messages that came are out on stdout.

Not here: the flags (command.py), stdin and stdout (stdio.py), the line at a terminal (keyboard.py), the echo server (echo.py).
"""

from __future__ import annotations

import os

from ...base.application import run
from ...base.errors import HttpError
from ...base.timer import Timer
from ...http.websocket.websocket import WebSocket
from ..cli.console import Trouble, reason, tame
from ..cli.failures import FINE, GONE, INTERRUPTED, OTHER, PROTOCOL, STATUS, told_status, trouble_of
from .codes import FINE_CODES, told
from .stdio import LineObserver, LineReader, Outflow, OutflowObserver
from .terminal import terminal_of

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    import argparse
    from typing import Any, List, Optional, TextIO, Tuple, Union

    from ...base.limits import Limits
    from ...base.loop import Loop
    from ..cli.console import Console
    from .keyboard import Keyboard

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
EDITING = """
The line is edited as in a shell: arrows, Home, End, Ctrl-A, -E, -U, -K, -W, -Y; up and down bring back what was sent."""


class Talk(LineObserver, OutflowObserver):
    """One connection, from the handshake to the exit status. stdin: its descriptor, None for none."""

    def __init__(self, loop: Loop, options: argparse.Namespace, console: Console, stdin: Optional[int]) -> None:
        if console.out is None:
            raise Trouble(OTHER, "there is no stdout to show messages on")
        self._loop = loop
        self._options = options
        self._console = console
        self._terminal = stdin is not None and os.isatty(stdin)
        self._commands = self._terminal or options.commands
        self._out = Outflow(loop, console.out, self)
        self._screen = terminal_of(stdin, console.out) if options.edits and console.out_terminal else None
        self._keyboard: Optional[Keyboard] = None
        self._err: Optional[TextIO] = console.err
        self._lines: Union[LineReader, Keyboard]
        if self._screen is not None:
            from .keyboard import Keyboard

            self._lines = self._keyboard = Keyboard(loop, self._screen, options.max_message, self, self._out.write)
        else:
            self._lines = LineReader(loop, stdin, options.max_message, self)
        self._ws: Optional[Caller] = None
        self._linger = Timer(loop, 0.0, lambda timer: self._wait())
        self._heard = 0.0  # when the last message came
        self._came = 0  # messages
        self._unsent = 0  # the number of the first line that could not be sent, since the server closed
        self._pings: List[Tuple[bytes, float]] = []
        self._trouble: Optional[Trouble] = None  # what ended the connection
        self._worst = FINE  # the exit status of what went wrong without ending it
        self._code, self._reason = 0, ""

    def run(self) -> int:
        """Turns the loop until all is done; returns the exit status. Trouble: there was no connection."""
        ws = self._ws = self._connect()
        try:
            self._open_screen()
            number = run(self._loop, ws)
            self._put_out(wait=not number)
        except KeyboardInterrupt:  # there is no signal module, or it is stdout that is waited for
            number = INTERRUPTED - SIGNAL
        finally:
            try:
                self._let_go(ws)
            finally:
                self._close_screen()
        return SIGNAL + number if number else self._outcome(ws)

    def _put_out(self, wait: bool) -> None:
        """Writes the rest of what has come to stdout; without `wait` only as long as stdout takes some of it at once."""
        before = -1
        while self._out.queued and (wait or self._out.queued != before):
            before = self._out.queued
            self._loop.run_once(None if wait else 0)

    def _let_go(self, ws: Caller) -> None:
        """Lets go of what is open: the WebSocket is so only after a second signal."""
        self._lines.close()
        if self._screen is not None:
            self._put_out(wait=False)
        self._out.close()
        self._linger.abort()
        ws.abort()
        while not ws.closed:
            self._loop.run_once(0)

    # the terminal

    def _open_screen(self) -> None:
        if self._screen is not None and self._keyboard is not None:
            self._screen.open(self._keyboard.redraw)
            if self._screen.same(self._err):
                self._console.err = _Above(self._keyboard)  # type: ignore[assignment]  # it writes, and no more is asked of it

    def _close_screen(self) -> None:
        self._console.err = self._err
        if self._screen is not None:
            self._screen.close()

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
        """The Trouble of a server that does not accept the handshake; None for other errors."""
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
        """Closes the WebSocket, with a close frame."""
        assert self._ws is not None
        self._lines.close()
        self._linger.stop()
        if not self._ws.closing:
            self._ws.close(code)

    def _outcome(self, ws: Caller) -> int:
        """Says how the connection ended; returns the exit status."""
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
        shown = self._shown(data)
        if not (self._out.write(shown) if self._keyboard is None else self._keyboard.print(shown)):
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
        """stdout takes nothing any more."""
        self._console.err = self._err
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
        """Closes the WebSocket when nothing has come for long enough."""
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
            for text in (HELP if self._keyboard is None else HELP + EDITING).splitlines():
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


class _Above:
    """In the place of stderr, at a terminal: what is written appears above the line that is typed."""

    def __init__(self, keyboard: Keyboard) -> None:
        self._keyboard = keyboard

    def write(self, text: str) -> None:
        self._keyboard.print(text.encode("utf-8", "replace"))

    def flush(self) -> None:
        """It is out when the loop has turned."""


class Caller(WebSocket):
    """A WebSocket that remembers more. `open`: the handshake is done. `left`: this side has closed first."""

    __slots__ = ("open", "left")

    def __init__(self, loop: Loop, limits: Optional[Limits], ping_interval: Optional[float]) -> None:
        super().__init__(loop, limits, ping_interval)
        self.open: bool = False
        self.left: bool = False

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """As a WebSocket's."""
        leaves = not self.closing
        super().close(code, reason)
        self.left = self.left or leaves


def binary_text(data: bytes) -> str:
    """A binary message in one line: its size and its first bytes."""
    begins = " ".join("%02x" % byte for byte in data[:SHOWN])
    return "[binary, %d byte%s%s%s]" % (len(data), "" if len(data) == 1 else "s", ": " + begins if data else "",
                                        " ..." if len(data) > SHOWN else "")


def _quoted(data: bytes) -> str:
    return '"%s"' % data.decode("utf-8", "backslashreplace")
