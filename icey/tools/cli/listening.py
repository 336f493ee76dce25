"""What commands that listen have in common: where they listen, with what certificate, and why they cannot.

    port_number(text), addresses_of(bind, port), worker_count(text)     from the command line
    listen(loop, addresses)                         a listener at the first address that is free, or systemd's
    tls_of(options), renewed(options, tls)          --cert, --key, --self-signed
    reached(address, "http")                        the URL to show
    from_elsewhere(address, "http")                 the URLs for other machines
    Hosts(address, names)                           which Hosts a server that listens there answers to

Rule: whatever is wrong is a Trouble in one line: status 1 where the system refuses, 2 for wrong arguments.

Not here: making certificates (certificate.py).
"""

from __future__ import annotations

import argparse
import errno
import os
import socket
from stat import S_ISSOCK

from ...net.address import Address, encoded
from ...net.listener import TCPListener
from ...net.networks import Networks
from .console import Trouble, reason

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence, Tuple

    from ...base.loop import Loop

ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
MOST_TOLD = 6  # addresses: a machine with containers may have dozens
NOT_FOR_OTHERS = ("127.0.0.0/8", "::1", "169.254.0.0/16", "fe80::/10", "0.0.0.0", "::")


# -- where -----------------------------------------------------------------------------------------------------------

def port_number(text: str) -> int:
    """The port that an argument names; ArgumentTypeError for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError("a port is 0 to 65535, not %r" % text)
    return int(text)


def worker_count(text: str) -> int:
    """The number of processes that an argument names; ArgumentTypeError for anything else."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1000):
        raise argparse.ArgumentTypeError("a number of workers is 1 or more, not %r" % text)
    return int(text)


def addresses_of(host: str, port: int, flag: str = "--port") -> List[Address]:
    """The addresses that a --bind can mean, in the order to try them; names are looked up. flag: which flag takes the port."""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        address = Address(host) if host.startswith("unix:") else Address(host, port)
    except ValueError as wrong:
        raise Trouble(2, str(wrong)) from None
    if address.numeric:
        return [address]
    try:
        found = socket.getaddrinfo(encoded(host), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        hint = "; the port goes into %s" % flag if host.rpartition(":")[2].isdigit() else ""
        raise Trouble(1, "cannot find the address of %r: %s%s" % (host, reason(error), hint)) from None
    return [Address.from_sockaddr(sockaddr) for *_, sockaddr in found]


def listen(loop: Loop, addresses: List[Address], flag: str = "--port") -> TCPListener:
    """A listener at the first of these addresses that is free, or on the socket that systemd opened for this process. Trouble
    if there is none. flag: the flag that gave the port."""
    trouble: Optional[Trouble] = None
    found = passed(loop)
    if found is not None:
        return found
    for address in addresses:
        try:
            return TCPListener(loop, address)
        except OSError as error:
            trouble = trouble or Trouble(1, _reason(error, address, flag))
    assert trouble is not None
    raise trouble


def passed(loop: Loop) -> Optional[TCPListener]:
    """The listener that systemd opened for this process, None for none. Trouble: there are several, or it is no listener."""
    if "LISTEN_FDS" not in os.environ:
        return None
    try:
        from ...workers.systemd import listeners

        found = listeners(loop)
    except ImportError:  # a copy without
        return None
    except OSError as error:
        raise Trouble(1, error.strerror or str(error)) from None
    if len(found) > 1:
        for listener in found:
            listener.abort()
        raise Trouble(1, "systemd passed %d sockets, and one process serves one: --workers N serves them all" % len(found))
    return found[0] if found else None


def _reason(error: OSError, address: Address, flag: str) -> str:
    """Why a command cannot listen there, and what to do."""
    if error.errno == errno.EADDRINUSE:
        if address.port is None and not _is_socket(address.host):
            return "%s is there already, and is no socket" % address
        another = "" if address.port is None else "; %s 0 picks a free port" % flag
        return "%s is taken: another program listens there%s" % (address, another)
    if error.errno in (errno.EACCES, errno.EPERM):
        why = ": ports below 1024 are the administrator's" if address.port and address.port < 1024 else ""
        return "not allowed to listen on %s%s" % (address, why)
    if error.errno == errno.EADDRNOTAVAIL:
        return "%s is no address of this machine" % address.host
    return "cannot listen on %s: %s" % (address, error.strerror or error)


def _is_socket(path: str) -> bool:
    try:
        return S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False  # a link that leads nowhere


def reached(address: Address, scheme: str) -> Tuple[str, str]:
    """(the URL by which this machine reaches `address`, text that says who else can reach it: to follow the URL, or "")."""
    if address.port is None:
        return str(address), ""
    anywhere = ANYWHERE.get(address.host)
    url = "%s://%s/" % (scheme, Address(anywhere or address.host, address.port))
    return url, ", and on every interface of this machine" if anywhere else ""


def from_elsewhere(address: Address, scheme: str) -> List[str]:
    """The URLs by which other machines reach a server at `address`, where that is every interface; [] elsewhere."""
    if address.port is None or address.host not in ANYWHERE:
        return []
    return ["%s://%s/" % (scheme, Address(host, address.port)) for host in own_addresses()
            if ":" not in host or address.host == "::"]


def own_addresses() -> List[str]:
    """The addresses of this machine that others may reach, IPv4 first, MOST_TOLD at most."""
    from ...net.interfaces import interfaces

    own = Networks(NOT_FOR_OTHERS)
    found = dict.fromkeys(
        host for one in interfaces() if one.up is not False for host, _ in one.addresses
        if "%" not in host and Address(host, 0) not in own)  # with a %: of the link alone, which no browser takes
    return sorted(found, key=lambda host: ":" in host)[:MOST_TOLD]


# -- what it answers to ----------------------------------------------------------------------------------------------

class Hosts:
    """Which Hosts a server at `address` answers to: `host in hosts`, with or without a port.

    A foreign page can have its own name lead to this machine (DNS rebinding), and then read what is served to this machine
    alone; but its requests still say that name. So on loopback the Host has to be a loopback name or address, one of `names`,
    or a name without a dot: nobody outside has such a name. Elsewhere the question is asked only if `names` were given; then
    every IP address is one too. "*" among `names`: every Host. No Host at all comes from no browser. own: what the address was
    given as, a name perhaps.
    """

    def __init__(self, address: Address, names: Sequence[str] = (), own: str = "") -> None:
        self._named = {_bare(name) for name in names}
        self._names = self._named | {_bare(own)}
        self._loopback = address.port is not None and _is_loopback(address.host)
        self._every = "*" in names or not (self._loopback or names)

    def __contains__(self, host: object) -> bool:
        if self._every or not host:
            return True
        name = _bare(str(host))
        if name in self._names or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            address = Address(name, 0)
        except ValueError:
            return False
        if address.numeric:
            return not self._loopback or _is_loopback(name)
        return "." not in name

    def named(self, host: str) -> bool:
        """Whether `host` is one of the names that were given."""
        return _bare(host) in self._named


def _bare(host: str) -> str:
    """The name or address in `host`, without a port, brackets and a last dot, in lower case."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return (host.partition(":")[0] if host.count(":") == 1 else host).rstrip(".")


def _is_loopback(host: str) -> bool:
    return Address(host, 0) in Networks(("127.0.0.0/8", "::1"))


# -- TLS -------------------------------------------------------------------------------------------------------------

def tls_of(options: argparse.Namespace) -> Any:
    """The server's TLS context, None without TLS. options: cert, key, self_signed and bind are looked at."""
    if options.key and not options.cert:
        raise Trouble(2, "--key goes with --cert")
    if options.cert and options.self_signed:
        raise Trouble(2, "--cert or --self-signed, not both")
    if not options.cert and not options.self_signed:
        return None
    try:
        from ...net import tls
    except ImportError:
        raise Trouble(1, "HTTPS needs Python's ssl module, which is missing here") from None
    try:
        return tls.server_context(options.cert, options.key) if options.cert else _self_signed(tls, options.bind)
    except OSError as error:  # a TLSError says itself which file
        if options.self_signed:  # there is no place for its files, which OpenSSL reads
            raise Trouble(1, "cannot make a certificate: %s" % reason(error)) from None
        for name in (options.cert, options.key):
            if name and not os.path.isfile(name):
                raise Trouble(2, "%r is %s" % (name, missing(name) or "no file")) from None
        if error.filename:
            raise Trouble(2, "cannot read %s: %s" % (error.filename, reason(error))) from None
        hint = "" if options.key else "; --key FILE, where the key is not in it"
        raise Trouble(2, str(error) + hint) from None


def missing(path: str) -> str:
    """Why nothing is found at `path`, "" where something is."""
    try:
        os.stat(path)
    except OSError as error:
        return "not there" if error.errno in (errno.ENOENT, errno.ENOTDIR) else "out of reach: %s" % reason(error)
    return ""


def renewed(options: argparse.Namespace, tls: Any) -> Any:
    """The TLS context for one worker: the certificate is read anew, it may be another by now. tls: what tls_of made before."""
    return tls_of(options) if options.cert else tls


def _self_signed(tls: Any, bind: str) -> Any:
    import tempfile

    from .certificate import self_signed_files

    hosts = ["localhost", "127.0.0.1", "::1"]
    host = bind.strip("[]")
    if not host.startswith("unix:") and host not in ("", "0.0.0.0", "::", *hosts):
        hosts.insert(0, host)
    with tempfile.TemporaryDirectory() as folder:
        return tls.server_context(*self_signed_files(folder, hosts))
