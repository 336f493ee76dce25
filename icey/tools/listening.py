"""What commands that listen have in common: where, with what certificate, and why not.

    port_number(text), addresses_of(bind, port)     from the command line
    listen(loop, addresses)                         the first that can be had
    tls_of(options)                                 --cert, --key, --self-signed
    reached(address, "http")                        the URL to show

Rule: whatever is wrong is a Trouble in one line: status 1 where the system refuses, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import errno
import os
import socket

from ..net.address import Address
from ..net.tcp import TCPListener
from .console import Trouble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

    from ..base.loop import Loop

ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


# -- where -----------------------------------------------------------------------------------------------------------

def port_number(text: str) -> int:
    """An argument that is a port."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError("a port is 0 to 65535, not %r" % text)
    return int(text)


def addresses_of(host: str, port: int, flag: str = "--port") -> List[Address]:
    """The addresses a --bind can mean, in the order to try them. A name is looked up. flag: where the port goes."""
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
        hint = "; the port goes into %s" % flag if host.rpartition(":")[2].isdigit() else ""
        raise Trouble(1, "cannot find the address of %r: %s%s" % (host, reason, hint)) from None
    return [Address.from_sockaddr(sockaddr) for *_, sockaddr in found]


def listen(loop: Loop, addresses: List[Address], flag: str = "--port") -> TCPListener:
    """A listener at the first of them that can be had. flag: where the port came from."""
    trouble: Optional[Trouble] = None
    for address in addresses:
        try:
            return TCPListener(loop, address)
        except OSError as error:
            trouble = trouble or Trouble(1, _reason(error, address, flag))
    assert trouble is not None
    raise trouble


def _reason(error: OSError, address: Address, flag: str) -> str:
    """Why nobody can listen there, and what to do."""
    if error.errno == errno.EADDRINUSE:
        another = "" if address.port is None else "; %s 0 picks a free port" % flag
        return "%s is taken: another program listens there%s" % (address, another)
    if error.errno in (errno.EACCES, errno.EPERM):
        why = ": ports below 1024 are the administrator's" if address.port and address.port < 1024 else ""
        return "not allowed to listen on %s%s" % (address, why)
    if error.errno == errno.EADDRNOTAVAIL:
        return "%s is no address of this machine" % address.host
    return "cannot listen on %s: %s" % (address, error.strerror or error)


def reached(address: Address, scheme: str) -> Tuple[str, str]:
    """The URL at which this machine reaches it, and who else does: text to follow the URL, or nothing."""
    if address.port is None:
        return str(address), ""
    anywhere = ANYWHERE.get(address.host)
    url = "%s://%s/" % (scheme, Address(anywhere or address.host, address.port))
    return url, ", and on every interface of this machine" if anywhere else ""


# -- TLS -------------------------------------------------------------------------------------------------------------

def tls_of(options: argparse.Namespace) -> Any:
    """The server's context, None for none. options: cert, key, self_signed, bind."""
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
