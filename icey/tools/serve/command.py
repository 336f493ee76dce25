"""python3 -m icey serve: a folder over HTTP, with the habits of `python3 -m http.server`.

Rules
- Only this machine can connect unless --bind says otherwise.
- Bound to loopback, it answers 421 to a Host that is no name of loopback (cli/listening.py, Hosts), unless --allow-host names
  it: a foreign page could read the folder by a name of its own that leads to this machine.
- The first line on stdout holds the URL, also with --port 0; the access log goes to stderr.
- A problem is one line on stderr. Exit status 0: ended by Ctrl-C or SIGTERM, and what was in flight is answered;
  128 + the signal's number: a second signal cut that short; 1: cannot listen there; 2: wrong arguments.

Not here: how files are found and answered (http/server/static.py), pages for what is missing (sitefiles.py), what reloads pages
(live.py), the browser of --open (browser.py), the log's formats (http/server/accesslog.py), where to listen and with what
certificate (tools/cli/listening.py), the end (tools/cli/serving.py).
"""

from __future__ import annotations

import argparse
import os
import sys

from ...base.application import run
from ...base.loop import Loop
from ...http.server.accesslog import FORMATS, AccessLog
from ...http.server.server import Server
from ..cli.console import Formatter, Parser, Trouble
from ..cli.failures import INTERRUPTED
from ..cli.listening import Hosts, addresses_of, listen, missing, port_number, reached, renewed, tls_of, worker_count
from ..cli.serving import Inspected, add_inspect, announce, log_line, serve_by_workers, serve_on, stopping, tell
from .sitefiles import SiteFiles

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, Sequence, Tuple

    from ...http.server.exchange import Exchange
    from ...net.address import Address
    from ...net.listener import TCPListener

PORT = 8000

EPILOG = """\
A 404.html in the folder is sent, with 404, for whatever is not there.

The first line on stdout holds the URL. Ctrl-C (or SIGTERM) stops listening,
finishes the answers under way, for ten seconds at the most, and exits with
status 0; a second one stops at once, with 128 and the signal's number.
Status 1: cannot listen there (the port is taken, ...); 2: wrong arguments.
"""


def main(argv: Sequence[str], prog: str = "icey serve") -> int:
    """Serves until a signal says otherwise; returns the exit status. SystemExit after --help and for a wrong flag."""
    options = _parser(prog).parse_intermixed_args(argv)
    try:
        folder, port = _where(options)
        files = _files(options, folder)
        addresses = addresses_of(options.bind, port)
        if options.open and addresses[0].port is None:
            raise Trouble(2, "--open needs a port: no browser asks a Unix socket")
        tls = tls_of(options)
        if options.workers is not None:
            return _serve_by_many(files, addresses, options, tls)
        with Loop() as loop:
            listener = listen(loop, addresses)
            server = _server(loop, listener, files, options, tls)
            if options.live:
                files.start(server, Hosts(listener.address, options.allow_host, options.bind).named)
            # from the loop: who reads the line may send the signal
            loop.call_soon(_announce, files, listener.address, options)
            if options.open:
                loop.call_soon(_open, loop, server, listener.address, options)
            with Inspected(loop, options.inspect):
                return serve_on(loop, server, run)
    except Trouble as trouble:
        tell("%s: %s" % (prog, trouble))
        return trouble.status
    except KeyboardInterrupt:  # before it served, or while all was being closed
        return INTERRUPTED


class Door:
    """Lets requests for `hosts` through to `files`, SiteFiles; to any other Host the answer is 421. Both are attributes."""

    def __init__(self, files: Any, hosts: Hosts) -> None:
        self.files = files
        self.hosts = hosts
        self._last: Any = None  # the Host that was let through last: most requests have it

    def __call__(self, exchange: Exchange) -> None:
        """Answers the exchange."""
        host = exchange.request.host
        if host == self._last or host in self.hosts:
            self._last = host
            self.files(exchange)
        else:
            exchange.respond(421, b"421 Misdirected Request\nThis server is for its own machine, under names of its own; "
                                  b"--allow-host NAME has it answer to another name.\n",
                             "text/plain; charset=utf-8", self.files.sharing)


def _server(loop: Loop, listener: TCPListener, files: Any, options: argparse.Namespace, tls: Any) -> Server:
    """A server that has begun to serve `files`."""
    server = Server(loop, listener, tls=tls)
    server.on_request += Door(files, Hosts(listener.address, options.allow_host, options.bind))
    if not options.quiet:
        server.on_shutdown += stopping
        if sys.stderr is not None:
            server.on_answer += AccessLog(log_line, options.log_format)
    return server.start()


def _serve_by_many(files: Any, addresses: List[Address], options: argparse.Namespace, tls: Any) -> int:
    """By several processes, until a signal says otherwise; returns the exit status."""
    if options.live:
        raise Trouble(2, "--live is for one process: leave --workers out")
    if options.open:
        raise Trouble(2, "--open is for one process: leave --workers out")
    if options.inspect:
        raise Trouble(2, "--inspect is for one process: leave --workers out")

    def serve(loop: Loop, listeners: List[TCPListener]) -> List[Server]:
        context = renewed(options, tls)
        return [_server(loop, listener, files, options, context) for listener in listeners]

    return serve_by_workers(options.workers, addresses, serve, lambda address: _announce(files, address, options))


# -- the command line ------------------------------------------------------------------------------------------------

def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, usage="%(prog)s [options] [DIR] [PORT]", allow_abbrev=False, epilog=EPILOG,
        description="Serve a folder over HTTP/1.1: keep-alive, ranges, conditions, listings.",
        formatter_class=Formatter)
    add = parser.add_argument
    add("first", nargs="?", metavar="DIR", help="the folder to serve (default: the current one)")
    add("second", nargs="?", metavar="PORT", help="the same as --port; a number alone is a port, not a folder")
    add("-b", "--bind", metavar="ADDR", default="127.0.0.1",
        help="listen on this address, name, or unix:/path (default: 127.0.0.1, this machine only; 0.0.0.0 is every "
             "IPv4 interface, :: every interface)")
    add("-p", "--port", metavar="N", type=port_number, help="listen on this port; 0 picks a free one (default: %d)" % PORT)
    add("-d", "--directory", metavar="DIR", help="the folder to serve, as http.server spells it")
    add("--index", metavar="NAME", action="append",
        help="what a folder answers with if it is there, instead of a listing (default: index.html, index.htm); "
             "may be given several times")
    add("--spa", action="store_true",
        help="a path that is not there and has no extension is the root's index file, for a browser that navigates: a "
             "single-page app finds its way")
    add("--open", action="store_true", help="show it in the browser")
    add("--no-listing", action="store_true", help="a folder without an index file is 403, not a listing")
    add("--hidden", action="store_true", help="serve and list names that begin with a dot")
    add("--follow-symlinks", action="store_true", help="follow symbolic links that lead out of the folder")
    add("--cache-control", metavar="VALUE", default="no-cache",
        help='the Cache-Control of files, such as "no-store" or "max-age=3600" (default: no-cache, ask each time)')
    add("--cors", action="store_true", help="let scripts of every origin read, errors too; preflights are answered")
    add("--allow-host", metavar="NAME", action="append", default=[],
        help="answer to this Host, too, such as the name of a proxy or a tunnel; bound to this machine only, other names "
             "than its own are refused (421); * is every name; may be given several times")
    add("-H", "--header", metavar="'NAME: VALUE'", action="append", default=[],
        help="send this header with every file and listing; may be given several times")
    add("--cert", metavar="FILE", help="serve HTTPS with this certificate (PEM, the chain behind it)")
    add("--key", metavar="FILE", help="the certificate's private key (default: it stands in the same file)")
    add("--self-signed", action="store_true",
        help="serve HTTPS with a certificate made on the spot, for trying things out: browsers warn of it")
    add("--live", action="store_true", help="pages reload in the browser when a file in the folder changes")
    add("--workers", metavar="N", type=worker_count,
        help="serve by N processes that share the port; SIGHUP starts them anew (where the system has fork)")
    add_inspect(parser)
    add("-q", "--quiet", action="store_true", help="no access log")
    add("--log-format", metavar="FORMAT", choices=tuple(FORMATS), default="short",
        help="short (with milliseconds), common or combined (as Apache and nginx write them), json (an object a line)")
    return parser


def _where(options: argparse.Namespace) -> Tuple[str, int]:
    """The folder and the port, however they were given."""
    folders: List[str] = []
    ports: List[str] = []
    for given in (options.first, options.second):
        if given:
            (ports if given.isascii() and given.isdigit() else folders).append(given)
    if options.directory is not None:
        folders.append(options.directory)
    if options.port is not None:
        ports.append(str(options.port))
    if len(folders) > 1:
        raise Trouble(2, "one folder at a time: %s" % " or ".join(map(repr, folders)))
    if len(ports) > 1:
        raise Trouble(2, "one port at a time: %s" % " or ".join(ports))
    try:
        port = port_number(ports[0]) if ports else PORT
    except argparse.ArgumentTypeError as wrong:
        raise Trouble(2, str(wrong)) from None
    return folders[0] if folders else os.curdir, port


def _files(options: argparse.Namespace, folder: str) -> Any:
    """SiteFiles, or LiveFiles."""
    headers: List[Tuple[str, str]] = [("Access-Control-Allow-Origin", "*")] if options.cors else []
    for given in options.header:
        name, colon, value = given.partition(":")
        if not colon:
            raise Trouble(2, "a header is 'NAME: VALUE', not %r" % given)
        headers.append((name, value.strip(" \t")))
    made: Any = SiteFiles
    more: Dict[str, Any] = {} if options.index is None else {"index": options.index}
    if options.live:
        from .live import LiveFiles as made

        more["tell"] = tell
    try:
        return made(
            folder, spa=options.spa, listing=not options.no_listing, hidden=options.hidden,
            follow_symlinks=options.follow_symlinks, cache_control=options.cache_control, headers=headers, **more)
    except OSError:
        raise Trouble(2, "%r is %s" % (folder, missing(folder) or "not a folder")) from None
    except ValueError as wrong:
        raise Trouble(2, str(wrong)) from None


# -- what is said ----------------------------------------------------------------------------------------------------

def _announce(files: Any, address: Address, options: argparse.Namespace) -> None:
    """The first line: what is served, and the URL at which this machine reaches it."""
    hints = "live: pages reload when a file changes; Ctrl-C ends it" if options.live else "Ctrl-C ends it"
    announce(os.path.realpath(files.root), address, bool(options.cert or options.self_signed), hints)


def _open(loop: Loop, server: Server, address: Address, options: argparse.Namespace) -> None:
    """Has the browser show what is served."""
    from .browser import open_browser

    open_browser(loop, server, reached(address, "https" if options.cert or options.self_signed else "http")[0], tell)
