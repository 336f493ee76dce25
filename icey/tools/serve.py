"""python3 -m icey serve: a folder over HTTP, with the habits of `python3 -m http.server`.

Rules
- Only this machine can connect unless --bind says otherwise.
- The first line on stdout holds the URL, also with --port 0; the access log goes to stderr.
- A problem is one line on stderr. Exit status 0: ended by Ctrl-C or SIGTERM, and what was in flight is answered;
  128 + the signal's number: a second signal cut that short; 1: cannot listen there; 2: wrong arguments.

Not here: how files are found and answered (http/static.py), what reloads pages (live.py), the log's formats
(http/accesslog.py).
"""

from __future__ import annotations

import argparse
import os
import sys

from ..base.application import run
from ..base.loop import Loop
from ..http.accesslog import FORMATS, AccessLog
from ..http.server import Server
from ..http.static import StaticFiles
from .console import Formatter, Parser, Trouble
from .listening import addresses_of, listen, port_number, reached, tls_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Sequence, Tuple

    from ..net.address import Address
    from ..net.tcp import TCPListener

PORT = 8000
SIGINT = 2  # what a KeyboardInterrupt stands for where the signal module is missing

EPILOG = """\
The first line on stdout holds the URL. Ctrl-C (or SIGTERM) stops listening,
finishes the answers under way, for ten seconds at the most, and exits with
status 0; a second one stops at once, with 128 and the signal's number.
Status 1: cannot listen there (the port is taken, ...); 2: wrong arguments.
"""


def main(argv: Sequence[str], prog: str = "icey serve") -> int:
    """Serve until a signal says otherwise; returns the exit status. SystemExit after --help and for a wrong flag."""
    options = _parser(prog).parse_intermixed_args(argv)
    try:
        folder, port = _where(options)
        files = _files(options, folder)
        addresses = addresses_of(options.bind, port)
        tls = tls_of(options)
        with Loop() as loop:
            return _serve(loop, listen(loop, addresses), files, options, tls)
    except Trouble as trouble:
        _tell("%s: %s" % (prog, trouble))
        return trouble.status


def _serve(loop: Loop, listener: TCPListener, files: Any, options: argparse.Namespace, tls: Any) -> int:
    server = Server(loop, listener, tls=tls)
    server.on_request += files
    if options.live:
        files.start(server)
    if not options.quiet:
        server.on_shutdown += _stopping
        if sys.stderr is not None:
            server.on_answer += AccessLog(_log, options.log_format)
    server.start()
    # from the loop: who reads the line may send the signal
    loop.call_soon(_announce, files.root, listener.address, tls is not None, options.live)
    try:
        number = run(loop, server)
    except KeyboardInterrupt:  # there is no signal module: Python's own way
        number = SIGINT
        server.stop()
        loop.run()
    if server.closed:
        return 0
    server.abort()  # a second signal
    loop.run()
    return 128 + (number or 0)


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
    add("--no-listing", action="store_true", help="a folder without an index file is 403, not a listing")
    add("--hidden", action="store_true", help="serve and list names that begin with a dot")
    add("--follow-symlinks", action="store_true", help="follow symbolic links that lead out of the folder")
    add("--cache-control", metavar="VALUE", help='the Cache-Control of files, such as "no-store" or "max-age=3600"')
    add("--cors", action="store_true", help="let scripts of every origin read: Access-Control-Allow-Origin: *")
    add("-H", "--header", metavar="'NAME: VALUE'", action="append", default=[],
        help="send this header with every file and listing; may be given several times")
    add("--cert", metavar="FILE", help="serve HTTPS with this certificate (PEM, the chain behind it)")
    add("--key", metavar="FILE", help="the certificate's private key (default: it stands in the same file)")
    add("--self-signed", action="store_true",
        help="serve HTTPS with a certificate made on the spot, for trying things out: browsers warn of it")
    add("--live", action="store_true", help="pages reload in the browser when a file in the folder changes")
    add("-q", "--quiet", action="store_true", help="no access log")
    add("--log-format", metavar="FORMAT", choices=tuple(FORMATS), default="short",
        help="short (with milliseconds), common or combined (as Apache and nginx write them)")
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
    """StaticFiles, or LiveFiles."""
    headers: List[Tuple[str, str]] = [("Access-Control-Allow-Origin", "*")] if options.cors else []
    for given in options.header:
        name, colon, value = given.partition(":")
        if not colon:
            raise Trouble(2, "a header is 'NAME: VALUE', not %r" % given)
        headers.append((name, value.strip(" \t")))
    made: Any = StaticFiles
    more: Dict[str, Any] = {} if options.index is None else {"index": options.index}
    cache = options.cache_control
    if options.live:
        from .live import LiveFiles as made

        more["tell"] = _tell
        cache = cache or "no-cache"  # a page that reloads takes the rest from the browser's cache while that seems fresh
    try:
        return made(
            folder, listing=not options.no_listing, hidden=options.hidden, follow_symlinks=options.follow_symlinks,
            cache_control=cache, headers=headers, **more)
    except OSError:
        raise Trouble(2, "%r is %s" % (folder, "not a folder" if os.path.exists(folder) else "not there")) from None
    except ValueError as wrong:
        raise Trouble(2, str(wrong)) from None


# -- what is said ----------------------------------------------------------------------------------------------------

def _announce(root: str, address: Address, secure: bool, live: bool) -> None:
    """The first line: what is served, and the URL at which this machine reaches it."""
    url, whom = reached(address, "https" if secure else "http")
    hints = "live: pages reload when a file changes; Ctrl-C ends it" if live else "Ctrl-C ends it"
    text = "Serving %s at %s%s (%s)\n" % (root if root.isprintable() else ascii(root), url, whom, hints)
    out = sys.stdout
    if out is None:  # a windowed program has none
        return
    try:
        coding = out.encoding or "ascii"
        out.write(text.encode(coding, "backslashreplace").decode(coding))
        out.flush()
    except (OSError, ValueError):  # nobody reads it
        pass


def _stopping(server: Server) -> None:
    left = sum(not connection.upgraded for connection in server.connections)  # a live page is let go at once
    if left:
        _tell("Stopping: %d to finish; again: now" % left)


def _log(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()


def _tell(text: str) -> None:
    try:
        if sys.stderr is not None:
            _log(text + "\n")
    except (OSError, ValueError):
        pass
