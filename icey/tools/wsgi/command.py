"""python3 -m icey wsgi: a WSGI application over HTTP.

Rules
- Only this machine can connect unless --bind says otherwise. Which Hosts it answers to is the application's matter.
- Modules are looked for in the current folder first. That of --chdir is it before all else: files and sockets that other
  options name are seen from there.
- The first line on stdout holds the URL, also with --port 0; the access log goes to stderr.
- A problem is one line on stderr, after the application's traceback where it is the application's. Exit status as of `serve`.
- With --workers each process imports the application itself, so that SIGHUP brings its new code.

Not here: how it is served (http/server/wsgi.py), what MODULE:APP names (loading.py), restarts (reloading.py).
"""

from __future__ import annotations

import argparse
import os
import sys

from ...base.application import run
from ...base.loop import Loop
from ...http.server.accesslog import FORMATS, AccessLog
from ...http.server.server import Server
from ...http.server.wsgi import WSGI
from ...net.listener import TCPListener
from ...net.networks import Networks
from ..cli.console import Formatter, Parser, Trouble
from ..cli.failures import INTERRUPTED, USAGE
from ..cli.listening import addresses_of, listen, passed, port_number, renewed, tls_of, worker_count
from ..cli.serving import Inspected, add_inspect, announce, log_line, serve_by_workers, serve_on, stopping, tell
from .loading import here, load, place

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence, Tuple

    from ...net.address import Address

PORT = 8000

EPILOG = """\
APP is a name in the module, with dots perhaps, or a call that makes the
application: shop.web:app, shop.web:create_app(). Without it, application or app.

The first line on stdout holds the URL. Ctrl-C (or SIGTERM) stops listening,
finishes the answers under way, for ten seconds at the most, and exits with
status 0; a second one stops at once, with 128 and the signal's number.
Status 1: cannot listen there, or the application fails to load; 2: wrong
arguments.
"""


def main(argv: Sequence[str], prog: str = "icey wsgi") -> int:
    """Serves until a signal says otherwise; returns the exit status. SystemExit after --help and for a wrong flag."""
    options = _parser(prog).parse_intermixed_args(argv)
    try:
        first = here() if options.reload else ""
        place(options.chdir)
        addresses, tls = addresses_of(*_where(options)), tls_of(options)
        _slot(print, options)  # what is wrong with them is told before all else
        if options.workers is not None:
            return _serve_by_many(addresses, options, tls)
        if options.reload:
            return _serve_anew(addresses, options, tls, first)
        app = load(options.app)
        with Loop() as loop:
            listener = listen(loop, addresses)
            server = _server(loop, listener, _slot(app, options), options, tls)
            loop.call_soon(_announce, listener.address, options)  # from the loop: who reads it may send the signal
            with Inspected(loop, options.inspect):
                return serve_on(loop, server, run)
    except Trouble as trouble:
        tell("%s: %s" % (prog, trouble))
        return trouble.status
    except KeyboardInterrupt:  # before it served, or while all was being closed
        return INTERRUPTED


def _slot(app: Any, options: argparse.Namespace) -> WSGI:
    try:
        return WSGI(app, threads=options.threads, max_body=options.max_body, trusted=_trusted(options),
                    script_name=options.script_name, multiprocess=options.workers is not None)
    except ValueError as wrong:
        raise Trouble(USAGE, str(wrong)) from None


def _server(loop: Loop, listener: TCPListener, slot: Any, options: argparse.Namespace, tls: Any) -> Server:
    """A server that has begun to serve."""
    server = Server(loop, listener, tls=tls)
    server.on_request += slot
    if not options.quiet:
        server.on_shutdown += stopping
        if sys.stderr is not None:
            server.on_answer += AccessLog(log_line, options.log_format, forwarded=_trusted(options))
    return server.start()


def _serve_by_many(addresses: List[Address], options: argparse.Namespace, tls: Any) -> int:
    """By several processes, until a signal says otherwise; returns the exit status."""
    if options.reload:
        raise Trouble(USAGE, "--reload is for one process: leave --workers out; SIGHUP starts workers anew")
    if options.inspect:
        raise Trouble(USAGE, "--inspect is for one process: leave --workers out")

    def serve(loop: Loop, listeners: List[TCPListener]) -> List[Server]:
        context = renewed(options, tls)  # before: the application may go to another folder
        slot = _slot(load(options.app), options)
        return [_server(loop, listener, slot, options, context) for listener in listeners]

    return serve_by_workers(options.workers, addresses, serve, lambda address: _announce(address, options))


def _serve_anew(addresses: List[Address], options: argparse.Namespace, tls: Any, first: str) -> int:
    """With --reload: until a signal says otherwise, or a change. first: the folder where the command was given."""
    from .reloading import Reading, Reloader, handed_over, unloaded

    sys.dont_write_bytecode = True  # it is taken for current while size and second are the same
    fd = handed_over()
    slot: Any = unloaded
    try:
        with Reading() as reading:
            slot = _slot(load(options.app), options)
    except Trouble as trouble:
        if fd is None and trouble.status == USAGE:
            raise
        tell("%s; waiting for a change" % trouble)
    with Loop() as loop:
        kept = passed(loop) if fd is None else TCPListener(loop, None, fd=fd)
        listener = kept or listen(loop, addresses)
        if fd is not None:
            os.close(fd)  # the listener has its own
            loop.call_soon(tell, "Serving again")
        else:
            loop.call_soon(_announce, listener.address, options)
        server = _server(loop, listener, slot, options, tls)
        reloader = Reloader(loop, server, listener, slot is not unloaded, reading, kept is None)
        with Inspected(loop, options.inspect):
            status = serve_on(loop, server, run, tells=False)  # it begins again, and again
    if reloader.changed and not status:
        reloader.restart(first)
    return status


# -- the command line ------------------------------------------------------------------------------------------------

def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, usage="%(prog)s [options] MODULE:APP [PORT]", allow_abbrev=False, epilog=EPILOG,
        description="Serve a WSGI application (PEP 3333) over HTTP/1.1, on threads.", formatter_class=Formatter)
    add = parser.add_argument
    add("app", metavar="MODULE:APP", help="the application, see below")
    add("given_port", nargs="?", metavar="PORT", type=port_number, help="the same as --port")
    add("-b", "--bind", metavar="ADDR", default="127.0.0.1",
        help="listen on this address, name, HOST:PORT, or unix:/path (default: 127.0.0.1, this machine only; 0.0.0.0 is every "
             "IPv4 interface, :: every interface)")
    add("-p", "--port", metavar="N", type=port_number, help="listen on this port; 0 picks a free one (default: %d)" % PORT)
    add("-t", "--threads", metavar="N", type=_count, default=8, help="requests that are worked on at once (default: 8)")
    add("--workers", metavar="N", type=worker_count,
        help="serve by N processes that share the port; SIGHUP starts them anew (where the system has fork)")
    add("--reload", action="store_true", help="start anew when a module of the application changes")
    add("--chdir", metavar="DIR", help="change to this folder first: what is named is seen from there")
    add("--proxy", metavar="ADDR", action="append", default=[],
        help="believe this proxy (an address, a network, or unix) who the client is, and its scheme and host: Forwarded, "
             "X-Forwarded-For, -Proto, -Host; may be given several times")
    add("--script-name", metavar="PATH", default="", help="the path below which the application is mounted, such as /shop")
    add("--max-body", metavar="BYTES", type=_count, default=1 << 30, help="the most that an upload may have (default: 1 GiB)")
    add("--cert", metavar="FILE", help="serve HTTPS with this certificate (PEM, the chain behind it)")
    add("--key", metavar="FILE", help="the certificate's private key (default: it stands in the same file)")
    add("--self-signed", action="store_true",
        help="serve HTTPS with a certificate made on the spot, for trying things out: browsers warn of it")
    add_inspect(parser)
    add("-q", "--quiet", action="store_true", help="no access log")
    add("--log-format", metavar="FORMAT", choices=tuple(FORMATS), default="short",
        help="short (with milliseconds), common or combined (as Apache and nginx write them), json (an object a line)")
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 62):
        raise argparse.ArgumentTypeError("a number is wanted, 1 or more, not %r" % text)
    return int(text)


def _where(options: argparse.Namespace) -> Tuple[str, int]:
    """The host and the port, however they were given."""
    host, port = options.bind, None
    if not host.startswith("unix:"):
        name, _, digits = host.rpartition(":")
        if digits.isdigit() and (":" not in name or (name[:1] == "[" and name[-1:] == "]")):
            try:
                host, port = name, port_number(digits)
            except argparse.ArgumentTypeError as wrong:
                raise Trouble(USAGE, str(wrong)) from None
    ports = [one for one in (port, options.given_port, options.port) if one is not None]
    if len(ports) > 1:
        raise Trouble(USAGE, "one port at a time: %s" % " or ".join(map(str, ports)))
    return host, ports[0] if ports else PORT


def _trusted(options: argparse.Namespace) -> Optional[Networks]:
    if not options.proxy:
        return None
    try:
        return Networks(options.proxy)
    except ValueError as wrong:
        raise Trouble(USAGE, "--proxy: %s" % wrong) from None


def _announce(address: Address, options: argparse.Namespace) -> None:
    """The first line: what is served, and the URL at which this machine reaches it."""
    hints = "starts anew when a file changes; Ctrl-C ends it" if options.reload else "Ctrl-C ends it"
    announce(options.app, address, bool(options.cert or options.self_signed), hints)
