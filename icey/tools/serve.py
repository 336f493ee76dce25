"""python3 -m icey serve: a folder over HTTP, with the habits of `python3 -m http.server`.

Rules
- Only this machine can connect unless --bind says otherwise.
- The first line on stdout holds the URL, also with --port 0; the access log goes to stderr.
- A problem is one line on stderr. Exit status 0: ended by Ctrl-C or SIGTERM, and what was in flight is answered;
  128 + the signal's number: a second signal cut that short; 1: cannot listen there; 2: wrong arguments.

Not here: how files are found and answered (http/static.py), the log's formats (http/accesslog.py).
"""

from __future__ import annotations

import argparse
import errno
import os
import socket
import sys

from ..base.application import run
from ..base.loop import Loop
from ..http.accesslog import FORMATS, AccessLog
from ..http.server import Server
from ..http.static import StaticFiles
from ..net.address import Address
from ..net.tcp import TCPListener
from .console import Formatter, Parser, Trouble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence, Tuple

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
        addresses = _addresses(options.bind, port)
        tls = _tls(options)
        with Loop() as loop:
            return _serve(loop, _listen(loop, addresses), files, options, tls)
    except Trouble as trouble:
        _tell("%s: %s" % (prog, trouble))
        return trouble.status


def _serve(loop: Loop, listener: TCPListener, files: StaticFiles, options: argparse.Namespace, tls: Any) -> int:
    server = Server(loop, listener, tls=tls)
    server.on_request += files
    if not options.quiet:
        server.on_shutdown += _stopping
        if sys.stderr is not None:
            server.on_answer += AccessLog(_log, options.log_format)
    server.start()
    # from the loop: who reads the line may send the signal
    loop.call_soon(_announce, files.root, listener.address, tls is not None)
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
    add("-p", "--port", metavar="N", type=_port, help="listen on this port; 0 picks a free one (default: %d)" % PORT)
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
    add("-q", "--quiet", action="store_true", help="no access log")
    add("--log-format", metavar="FORMAT", choices=tuple(FORMATS), default="short",
        help="short (with milliseconds), common or combined (as Apache and nginx write them)")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError("a port is 0 to 65535, not %r" % text)
    return int(text)


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
        port = _port(ports[0]) if ports else PORT
    except argparse.ArgumentTypeError as wrong:
        raise Trouble(2, str(wrong)) from None
    return folders[0] if folders else os.curdir, port


def _files(options: argparse.Namespace, folder: str) -> StaticFiles:
    headers: List[Tuple[str, str]] = [("Access-Control-Allow-Origin", "*")] if options.cors else []
    for given in options.header:
        name, colon, value = given.partition(":")
        if not colon:
            raise Trouble(2, "a header is 'NAME: VALUE', not %r" % given)
        headers.append((name, value.strip(" \t")))
    more = {} if options.index is None else {"index": options.index}
    try:
        return StaticFiles(
            folder, listing=not options.no_listing, hidden=options.hidden, follow_symlinks=options.follow_symlinks,
            cache_control=options.cache_control, headers=headers, **more)
    except OSError:
        raise Trouble(2, "%r is %s" % (folder, "not a folder" if os.path.exists(folder) else "not there")) from None
    except ValueError as wrong:
        raise Trouble(2, str(wrong)) from None


# -- HTTPS -----------------------------------------------------------------------------------------------------------

def _tls(options: argparse.Namespace) -> Any:
    """The server's context, None for plain HTTP."""
    if options.key and not options.cert:
        raise Trouble(2, "--key goes with --cert")
    if options.cert and options.self_signed:
        raise Trouble(2, "--cert or --self-signed, not both")
    if not options.cert and not options.self_signed:
        return None
    try:
        from ..net import tls
    except ImportError:
        raise Trouble(1, "HTTPS needs Python's ssl module, which is missing here") from None
    try:
        return tls.server_context(options.cert, options.key) if options.cert else _self_signed(tls, options.bind)
    except OSError as error:  # a TLSError says itself which file
        missing = [name for name in (options.cert, options.key) if name and not os.path.isfile(name)]
        raise Trouble(2, "%r is not there" % missing[0] if missing else str(error)) from None


def _self_signed(tls: Any, bind: str) -> Any:
    import tempfile

    from .certificate import self_signed_files

    hosts = ["localhost", "127.0.0.1", "::1"]
    host = bind.strip("[]")
    if not host.startswith("unix:") and host not in ("", "0.0.0.0", "::", *hosts):
        hosts.insert(0, host)
    with tempfile.TemporaryDirectory() as folder:
        return tls.server_context(*self_signed_files(folder, hosts))


# -- listening -------------------------------------------------------------------------------------------------------

def _addresses(host: str, port: int) -> List[Address]:
    """The addresses a --bind can mean, in the order to try them. A name is looked up."""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        address = Address(host) if host.startswith("unix:") else Address(host, port)
    except ValueError as wrong:
        raise Trouble(2, str(wrong)) from None
    if address.numeric:
        return [address]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = "; the port goes into --port" if host.rpartition(":")[2].isdigit() else ""
        raise Trouble(1, "cannot find the address of %r: %s%s" % (host, reason, hint)) from None
    return [Address.from_sockaddr(sockaddr) for *_, sockaddr in found]


def _listen(loop: Loop, addresses: List[Address]) -> TCPListener:
    trouble: Optional[Trouble] = None
    for address in addresses:
        try:
            return TCPListener(loop, address)
        except OSError as error:
            trouble = trouble or Trouble(1, _reason(error, address))
    assert trouble is not None
    raise trouble


def _reason(error: OSError, address: Address) -> str:
    """Why nobody can listen there, and what to do."""
    if error.errno == errno.EADDRINUSE:
        another = "" if address.port is None else "; --port 0 picks a free port"
        return "%s is taken: another program listens there%s" % (address, another)
    if error.errno in (errno.EACCES, errno.EPERM):
        why = ": ports below 1024 are the administrator's" if address.port and address.port < 1024 else ""
        return "not allowed to listen on %s%s" % (address, why)
    if error.errno == errno.EADDRNOTAVAIL:
        return "%s is no address of this machine" % address.host
    return "cannot listen on %s: %s" % (address, error.strerror or error)


# -- what is said ----------------------------------------------------------------------------------------------------

def _announce(root: str, address: Address, secure: bool) -> None:
    """The first line: what is served, and the URL at which this machine reaches it."""
    if address.port is None:
        url, whom = str(address), ""
    else:
        anywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host)
        url = "%s://%s/" % ("https" if secure else "http", Address(anywhere or address.host, address.port))
        whom = ", and on every interface of this machine" if anywhere else ""
    text = "Serving %s at %s%s (Ctrl-C ends it)\n" % (root if root.isprintable() else ascii(root), url, whom)
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
    if server.connections:
        _tell("Stopping: %d to finish; again: now" % len(server.connections))


def _log(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()


def _tell(text: str) -> None:
    try:
        if sys.stderr is not None:
            _log(text + "\n")
    except (OSError, ValueError):
        pass
