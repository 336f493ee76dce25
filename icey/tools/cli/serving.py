"""Serving until a signal says otherwise: what `serve`, `wsgi` and `ws --listen` have in common: their end, and what they say.

Rules
- The first signal ends in order: status 0. A second one ends at once, wherever it strikes: 128 and the signal's number.
- Where the signal module exists icey.run takes the signals, and a KeyboardInterrupt that leaves it is the second Ctrl-C, which
  came while a slot held the loop. Without the module each Ctrl-C is one, the first too.
"""

from __future__ import annotations

import os
import sys

from ...base.application import takes_signals
from ...base.lazy import left_out
from ...base.timer import Timer
from .console import Trouble, encodable, reason
from .failures import FINE, INTERRUPTED, OTHER, USAGE
from .listening import from_elsewhere, listen, reached

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional

    from ...base.loop import Loop
    from ...http.server.server import Server
    from ...net.address import Address
    from ...net.listener import TCPListener

GRACE = 10.0  # seconds for what is under way when the first signal comes: what icey.run and supervise give it
SIGNAL = 128  # beside a signal's number: the exit status


def serve_on(loop: Loop, server: Server, run: Any, *, tells: bool = True) -> int:
    """Turns `loop` by `run`, icey.run, until `server` is closed; returns the exit status. What is left is for loop.close().

    tells: systemd, where it asked for that, hears that it serves, lives, and stops.
    """
    if tells and "NOTIFY_SOCKET" in os.environ:
        _tell_systemd(loop, server)
    try:
        number: Optional[int] = INTERRUPTED - SIGNAL
        try:
            number = run(loop, server)
        except KeyboardInterrupt:
            if not takes_signals():
                server.stop()
                loop.run()
        if server.closed:
            return FINE
        server.abort()
        loop.run()
        return SIGNAL + (number or 0)
    except KeyboardInterrupt:
        if not server.closed:
            server.abort()
        return INTERRUPTED


def _tell_systemd(loop: Loop, server: Server) -> None:
    """READY=1 now, WATCHDOG=1 as often as it is asked for, STOPPING=1 when `server` stops."""
    try:
        from ...workers.systemd import Notifier
    except ImportError:  # a copy without
        return
    notifier = Notifier()
    notifier.tell("READY=1")
    if notifier.watchdog is not None:
        every = notifier.watchdog / 2
        Timer(loop, every, lambda timer: notifier.tell("WATCHDOG=1"), interval=every).start().unref()
    server.on_shutdown += lambda server: notifier.tell("STOPPING=1")
    server.on_close += lambda server: notifier.close()


def serve_by_workers(
    count: int, addresses: List[Address], make: Callable[[Loop, List[TCPListener]], List[Server]],
    say: Callable[[Address], None],
) -> int:
    """--workers: serves by `count` processes until a signal says otherwise; returns the exit status. Trouble without fork.

    make(loop, listeners): the servers of a worker, one for each listener (systemd may have opened several); a Trouble that it
    raises is one line. say(address): called when the first workers serve.
    """
    try:
        from ...workers.supervisor import require_fork, supervise

        require_fork()
    except (ImportError, OSError) as error:
        raise Trouble(OTHER, "--workers: %s" % error) from None

    def serve(loop: Loop, listeners: List[TCPListener]) -> List[Server]:
        try:
            return make(loop, listeners)
        except Trouble as trouble:
            tell(str(trouble))
            raise SystemExit(trouble.status) from None

    try:
        return supervise(serve, lambda loop: [listen(loop, addresses)], count=count,
                         ready=lambda supervisor: say(supervisor.listeners[0].address))
    except OSError as error:
        raise Trouble(OTHER, "--workers: %s" % reason(error)) from None


def add_inspect(parser: Any) -> None:
    """Adds --inspect, for `Inspected`."""
    parser.add_argument("--inspect", metavar="[HOST:]PORT",
                        help="show what it does on a page of its own, at this port of this machine (0 picks a free one); on "
                             "another HOST a token is asked for, which the URL that is told has")


class Inspected:
    """with Inspected(loop, where): an inspector at `where`, which is what --inspect was given, or None for none.

    Trouble where it cannot be; the URL is told.
    """

    def __init__(self, loop: Loop, where: Optional[str]) -> None:
        self._inspector: Any = None
        if where is None:
            return
        try:
            from ...base.inspected import begin
        except ModuleNotFoundError as exc:
            raise Trouble(OTHER, "--inspect: " + left_out(exc, "base.inspected", "inspect")) from None
        try:
            self._inspector = begin(loop, where)
        except (ImportError, ValueError) as wrong:
            raise Trouble(USAGE if isinstance(wrong, ValueError) else OTHER, "--inspect: %s" % wrong) from None
        except OSError as error:
            raise Trouble(OTHER, "--inspect: cannot listen on %s: %s" % (where, reason(error))) from None
        loop.call_soon(tell, "Inspect it at %s" % self._inspector.url)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc_info: Any) -> None:
        if self._inspector is not None:
            self._inspector.abort()


def announce(what: str, address: Address, secure: bool, hints: str) -> None:
    """Writes the first line to stdout: what is served, and the URL at which this machine reaches it.

    Where it listens on every interface a line follows for each URL that other machines take.
    """
    scheme = "https" if secure else "http"
    url, whom = reached(address, scheme)
    text = "Serving %s at %s%s (%s)\n" % (what if what.isprintable() else ascii(what), url, whom, hints)
    text += for_others(address, scheme)
    out = sys.stdout
    if out is None:  # a windowed program has none
        return
    try:
        out.write(encodable(text, out))
        out.flush()
    except (OSError, ValueError):  # nobody reads it
        pass


def for_others(address: Address, scheme: str) -> str:
    """A line for each URL by which other machines reach a server at `address`, if it is every interface."""
    return "".join("For other machines: %s\n" % url for url in from_elsewhere(address, scheme))


def stopping(server: Server) -> None:
    """A slot for `on_shutdown`: says how many answers are under way, and how long they have."""
    left = sum((connection.exchange is not None or connection.stream.unsent) and not connection.upgraded
               for connection in server.connections)  # a live page is let go at once, a connection that idles soon
    if left:
        tell(stops(left, "request is being answered", "requests are being answered"))


def stops(count: int, one: str, many: str) -> str:
    """The line that says what is waited for: `count` of it, in these words."""
    return "Stopping: %d %s, at most %g s (Ctrl-C again: now)" % (count, one if count == 1 else many, GRACE)


def log_line(line: str) -> None:
    """Writes a line of the access log, its newline included, to stderr. OSError, ValueError where that cannot be."""
    sys.stderr.write(line)
    sys.stderr.flush()


def tell(text: str) -> None:
    """Writes a line to stderr, where there is one."""
    try:
        if sys.stderr is not None:
            log_line(text + "\n")
    except (OSError, ValueError):
        pass
