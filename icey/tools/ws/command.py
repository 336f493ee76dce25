"""python3 -m icey ws: talks to a WebSocket, line by line; with --listen it is an echo server.

    echo hello | python3 -m icey ws ws://127.0.0.1:8000/      # prints what is answered
    python3 -m icey ws --listen 8000

Rules
- A problem is one line on stderr, and an exit status that tells its kind: see tools/cli/failures.py.
- All runs on the loop that `run` is given; only `main` knows of the process: its arguments, stdin, stdout, environment.

Not here: the client's side (talk.py), the server's side (echo.py).
"""

from __future__ import annotations

import argparse
import os
import sys

from ...base.limits import DEFAULTS
from ...base.loop import Loop
from ..cli.console import Console, Parser, Trouble
from ..cli.failures import INTERRUPTED, USAGE
from ..cli.netoptions import (
    UNCHECKED,
    absolute,
    add_header,
    add_timeout,
    add_way,
    check_way,
    headers_of,
    parsed,
    proxy_of,
    seconds,
    tls_of,
)

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Mapping, Optional, Sequence

EPILOG = """\
Lines of stdin are sent as messages, messages that come are printed, a line
each. At the end of stdin the answers are waited for: the connection is closed
when nothing has come for a second, or for the time that --wait says; with -n
when so many have come. At a terminal the line is edited as in a shell, what
comes is printed above it, Ctrl-D closes at once, and lines that begin with a
slash are commands: /help tells which.

Exit status: 0 fine; 1 stdin cannot be read or sent, a line of it included, or
stdout cannot be written; 2 wrong arguments; 3 the name is not known; 4 cannot
connect; 5 TLS refused, or its certificate; 6 a deadline passed; 7 the server
broke the protocol, or off too early; 8 it did not switch to WebSocket, or
closed with another code than 1000, 1001 or none; 130 Ctrl-C; 141 nobody reads
stdout any more. Of --listen: 0 ended by Ctrl-C or SIGTERM, 128 and its number
if a second signal cut that short; 1 cannot listen there.
"""

SCHEMES = ("ws", "wss", "http", "https")

# What goes with one side only: (the option's name, the flag)
CALLERS = (("header", "-H"), ("origin", "--origin"), ("insecure", "-k"), ("ca", "--ca"), ("proxy", "--proxy"),
           ("no_proxy", "--no-proxy"), ("timeout", "--timeout"), ("binary", "-b"), ("commands", "--commands"),
           ("wait", "--wait"), ("messages", "-n"), ("verbose", "-v"))
LISTENERS = (("bind", "--bind"), ("self_signed", "--self-signed"))


def main(argv: Sequence[str], prog: str = "icey ws") -> int:
    """Talks, or listens; returns the exit status. SystemExit after --help and for a wrong flag."""
    console = Console.of_process(prog)
    try:
        options = parse(argv, prog)
        prepare(options, os.environ)
        loop = Loop()
        try:
            status = run(loop, options, console, _stdin())
        finally:
            try:
                loop.run()  # what is closing
            finally:
                loop.close()
    except Trouble as trouble:
        console.trouble(str(trouble))
        status = trouble.status
    except KeyboardInterrupt:
        status = INTERRUPTED
    return status


def run(loop: Loop, options: argparse.Namespace, console: Console, stdin: Optional[int]) -> int:
    """Does what `prepare` has prepared, on `loop`; returns the exit status. stdin: its descriptor, None for none."""
    console.quiet = options.quiet
    if options.listen is not None:
        from .echo import Echo

        return Echo(loop, options, console).run()
    if options.insecure:
        console.note(UNCHECKED)
    from .talk import Talk

    return Talk(loop, options, console, stdin).run()


def _stdin() -> Optional[int]:
    """The descriptor of stdin; None where there is no stdin, since 0 may then be another file."""
    try:
        return sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):  # None, closed, or none of the system's
        return None


# -- the command line ------------------------------------------------------------------------------------------------

def parse(argv: Sequence[str], prog: str = "icey ws") -> argparse.Namespace:
    """The options as they are given. SystemExit after --help and for a wrong flag."""
    return _parser(prog).parse_intermixed_args(argv)


def _parser(prog: str) -> Parser:
    from ..cli.listening import port_number

    parser = Parser(
        prog=prog, usage="%(prog)s [options] URL | --listen PORT", epilog=EPILOG,
        description="Talk to a WebSocket, line by line, or be one that echoes.")
    parser.add_argument("url", nargs="?", metavar="URL", help="ws or wss; without a scheme it is ws")
    _add_messages(parser.add_argument_group("what goes and comes"))
    _add_connection(parser.add_argument_group("on the way"))
    group = parser.add_argument_group("an echo server")
    group.add_argument("-l", "--listen", metavar="PORT", type=port_number,
                       help="send back what comes to this port; 0 picks a free one. The first line on stdout holds the URL")
    group.add_argument("--bind", metavar="ADDR",
                       help="listen on this address or name (default: 127.0.0.1, this machine only)")
    group.add_argument("--self-signed", action="store_true",
                       help="wss, with a certificate made on the spot; --cert and --key give another")
    return parser


def _add_messages(group: Any) -> None:
    add = group.add_argument
    add("-b", "--binary", action="store_true",
        help="send lines as binary messages, and write those that come as they are, without a line's end (a terminal gets "
             "their size and first bytes, as it does without -b)")
    add("--commands", action="store_true", help="lines that begin with a slash are commands, also when stdin is no terminal")
    add("--wait", metavar="S", type=_wait,
        help="behind the end of stdin, close when nothing has come for so many seconds (default: 1; with -n, and with "
             "inf: never)")
    add("-n", "--messages", metavar="N", type=_number, help="close when so many messages have come")
    add("--max-message", metavar="BYTES", type=_number, default=DEFAULTS.max_message,
        help="the longest message, either way (default: %(default)s)")
    add("-q", "--quiet", action="store_true", help="no notes, such as the code at the end")
    add("-v", "--verbose", action="store_true", help="tell of the connection, and of pings and pongs")


def _add_connection(group: Any) -> None:
    add = group.add_argument
    add_header(group)
    add("-s", "--subprotocol", metavar="NAME", action="append", default=[],
        help="offer this subprotocol, or speak it with --listen; may be repeated, the best first")
    add("--origin", metavar="ORIGIN", help="the page that we claim to be from, such as https://example.com")
    add("--no-compression", action="store_true", help="do without permessage-deflate")
    add("--ping-interval", metavar="S", type=_interval, default=20.0,
        help="ask for a sign of life so often (default: 20 seconds; 0: never)")
    add_timeout(group, "give up connecting after so many seconds (default: %g)" % (DEFAULTS.handshake_timeout or 0))
    add_way(group, "our own certificate (PEM), for servers that ask for one; with --listen the server's: wss")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 13 and int(text)):
        raise argparse.ArgumentTypeError("a number of at least 1 is wanted, not %r" % text)
    return int(text)


def _wait(text: str) -> float:
    return 0.0 if text == "0" else float("inf") if text == "inf" else seconds(text)


def _interval(text: str) -> Optional[float]:
    return None if text == "0" else seconds(text)


# -- from options to what they come to -------------------------------------------------------------------------------

def prepare(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    """Adds to `options` what they come to: limits, tls; target, fields, way, edits; or addresses. Trouble: they contradict."""
    listens = options.listen is not None
    if listens == (options.url is not None):
        raise Trouble(USAGE, "a URL to talk to, or --listen PORT" + (", not both" if listens else ""))
    for name, flag in CALLERS if listens else LISTENERS:
        if getattr(options, name) not in (None, False, []):
            raise Trouble(USAGE, "%s %s" % (flag, "is not for --listen" if listens else "goes with --listen"))
    # high_water is heeded: what is queued beyond it is one message, however large
    options.limits = DEFAULTS.replace(max_message=options.max_message, max_queue=None)
    if listens:
        _prepare_listening(options)
    else:
        _prepare_talking(options, environ)


def _prepare_listening(options: argparse.Namespace) -> None:
    from ..cli import listening

    options.bind = "127.0.0.1" if options.bind is None else options.bind
    options.addresses = listening.addresses_of(options.bind, options.listen, "--listen")
    options.tls = listening.tls_of(options)


def _prepare_talking(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    options.edits = environ.get("TERM", "dumb") != "dumb"  # the line at a terminal: see keyboard.py
    check_way(options)
    if options.timeout is not None:
        options.limits = options.limits.replace(handshake_timeout=options.timeout, connect_timeout=options.timeout)
    headers = headers_of(options.header)
    if options.origin is not None:
        headers_of(["Origin: " + options.origin])  # Trouble where it cannot be sent
        headers["Origin"] = options.origin
    options.fields = list(headers.items())
    options.target = parsed(absolute(options.url, "ws"), SCHEMES, "only ws and wss are spoken here")
    options.tls = tls_of(options, options.target.secure)
    options.way = proxy_of(options, options.target, environ)
