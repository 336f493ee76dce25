"""What this Python and this system have, and what icey does without.

Rules
- A check looks, and leaves nothing behind: what it opens it closes, and a thread that it starts it joins.
- A check that raises is a finding, too. Each imports what it needs itself, so that one that is missing hides no other.
- Modules that a target may lack are imported by name (`_import`), as somebody who asks whether they are there.

Not here: whether icey works (trials.py).
"""

from __future__ import annotations

import os
import sys

from .finding import FAILED, LESS, OK, SKIPPED, finding, guarded

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Tuple

    from .finding import Finding

_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PACKAGE = __name__.rpartition(".tools.")[0]
_OWN = 16  # descriptors that a program has open beside its connections: a guess that is on the safe side
_BORN = 1704067200  # 2024-01-01: no clock that is right says less
_JOIN = 5.0  # seconds: the most that is waited for a thread that does nothing


def facts() -> Dict[str, Any]:
    """Which icey this is, and on which Python: `version`, `package`, `path`, `python` of the report."""
    version = "unknown"
    try:
        version = __import__(_PACKAGE, fromlist=["__version__"]).__version__
    except Exception:  # a copy that somebody has cut
        pass
    return {"version": version, "package": _PACKAGE, "path": _HOME, "python": {
        "implementation": sys.implementation.name,
        "version": ".".join(map(str, sys.version_info[:3])) + ("" if sys.version_info[3] == "final" else sys.version_info[3]),
        "executable": sys.executable or "", "platform": sys.platform, "machine": _machine(),
        "optimized": sys.flags.optimize, "thread": _thread(),
    }}


def findings() -> Dict[str, Finding]:
    """name -> finding, in the order in which they are shown."""
    return {name: guarded(check, state) for name, (check, state) in CHECKS.items()}


def _machine() -> str:
    try:
        return os.uname().machine
    except (AttributeError, OSError):  # Windows has no uname
        return os.environ.get("PROCESSOR_ARCHITECTURE", "")


def _thread() -> str:
    threading = sys.modules.get("threading")  # not imported: then this is the only thread that anybody knows of
    return "main" if threading is None or threading.current_thread() is threading.main_thread() else "other"


def _import(name: str) -> Any:
    """The module `name`; ImportError where it is missing."""
    return __import__(name, globals())  # the built-in, so that the tests can take a module away


# -- this icey -------------------------------------------------------------------------------------------------------

def _copy() -> Finding:
    """Whether the files are those that were copied."""
    if not _exists("VENDORED"):
        return finding(OK, None, "not a vendored copy (there is no VENDORED in it), so that there is nothing to compare with")
    try:
        from ..vendor.checking import check
    except ImportError as exc:
        return finding(SKIPPED, None, "a vendored copy that cannot be checked from here (%s)" % exc,
                       "check it with a whole icey: python3 -m icey vendor --check %s" % _HOME)
    differences = ["%s %s" % (one.kind, one.path) for one in check(_HOME)]
    if not differences:
        return finding(OK, [], "a vendored copy, all of whose files are as they were copied")
    more = ", and %d more" % (len(differences) - 3) if len(differences) > 3 else ""
    return finding(LESS, differences, "not as it was copied: %s%s" % ("; ".join(differences[:3]), more),
                   "copy it again where that was not meant: python3 -m icey vendor")


def _exists(name: str) -> bool:
    """Whether a file is in this package, which may be inside a zip."""
    path = os.path.join(_HOME, name)
    get_data = getattr(globals().get("__loader__"), "get_data", None)
    if get_data is None:
        return os.path.exists(path)
    try:
        get_data(path)
        return True
    except OSError:
        return False


def _debug() -> Finding:
    from ...base.debug import switched_on

    if not switched_on(None):
        return finding(OK, False, "off; ICEY_DEBUG=1 has every contract watched")
    return finding(OK, True, "on (ICEY_DEBUG): every contract is watched, which takes time",
                   "leave ICEY_DEBUG out in production")


# -- the system ------------------------------------------------------------------------------------------------------

def _selector() -> Finding:
    import selectors

    from ...base.poller import best_poller

    poller = best_poller()
    poller.close()
    if type(poller).__name__ == "EpollPoller":
        return finding(OK, "epoll", "epoll")
    name = selectors.DefaultSelector.__name__.replace("Selector", "").lower()
    if name == "select":
        return finding(LESS, name, "select() alone: it takes %d descriptors, and slows down with each of them"
                       % (512 if os.name == "nt" else 1024))
    return finding(OK, name, name)


def _sendmsg() -> Finding:
    import socket

    if hasattr(socket.socket, "sendmsg"):
        return finding(OK, True, "pieces go out in one call")
    return finding(LESS, False, "not here: pieces that wait are joined, or sent one by one")


def _sendfile() -> Finding:
    if hasattr(os, "sendfile"):
        return finding(OK, True, "files go out without passing through Python")
    return finding(LESS, False, "not here: files are read and sent piece by piece")


def _unix() -> Finding:
    import socket

    if not hasattr(socket, "AF_UNIX"):
        return finding(LESS, False, "not here: unix: addresses are refused")
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()
    return finding(OK, True, "unix:/path is an address")


def _reuse_port() -> Finding:
    import socket

    if hasattr(socket, "SO_REUSEPORT"):
        return finding(OK, True, "several processes can listen on one port")
    return finding(LESS, False, "not here: reuse_port=True is refused")


def _ipv4() -> Finding:
    import socket

    _bind(socket.AF_INET, "127.0.0.1")
    return finding(OK, True, "127.0.0.1 can be listened on")


def _ipv6() -> Finding:
    import socket

    if not socket.has_ipv6:
        return finding(LESS, False, "this Python was built without IPv6")
    _bind(socket.AF_INET6, "::1")
    return finding(OK, True, "::1 can be listened on")


def _bind(family: int, host: str) -> None:
    import socket

    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind((host, 0))


def _dual_stack() -> Finding:
    import socket

    lost = "listen on 0.0.0.0 and on :: for both"
    if not (socket.has_ipv6 and hasattr(socket, "IPPROTO_IPV6") and hasattr(socket, "IPV6_V6ONLY")):
        return finding(LESS, False, "not here: a listener on :: takes IPv6 alone", lost)
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return finding(OK, True, "a listener on :: takes IPv4 as well")


def _descriptors() -> Finding:
    from ...base.limits import DEFAULTS

    try:
        resource = _import("resource")
    except ImportError:
        return finding(SKIPPED, None, "this system does not tell its limit")
    soft, hard = (None if number == resource.RLIM_INFINITY else int(number)
                  for number in resource.getrlimit(resource.RLIMIT_NOFILE))
    value = {"soft": soft, "hard": hard}
    wanted = (DEFAULTS.max_connections or 0) + _OWN
    if soft is None:
        return finding(OK, value, "no limit")
    text = "%d: some %d connections at a time" % (soft, max(0, soft - _OWN))
    if soft >= wanted:
        return finding(OK, value, text)
    text += "; Limits.max_connections is %s" % DEFAULTS.max_connections
    raised = wanted if hard is None else min(hard, wanted)
    if raised == soft:
        return finding(LESS, value, text, "the administrator can raise it; a smaller max_connections fits")
    return finding(LESS, value, text, "ulimit -n %d, where so many are expected (the system allows %s)"
                   % (raised, "any number" if hard is None else hard))


def _clock() -> Finding:
    import time

    now = int(time.time())
    if now >= _BORN:
        return finding(OK, now, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))
    return finding(LESS, now, "it says %s, which is long ago: certificates of others will seem not valid yet"
                   % time.strftime("%Y-%m-%d", time.gmtime(max(now, 0))), "set the clock (ntpd, chronyd)")


# -- modules that may be missing -------------------------------------------------------------------------------------

def _ssl() -> Finding:
    try:
        ssl = _import("ssl")
    except ImportError as exc:
        return _absent("no TLS: https, wss and TLSSocket are refused", exc)
    return finding(OK, ssl.OPENSSL_VERSION, ssl.OPENSSL_VERSION)


def _tls13() -> Finding:
    try:
        ssl = _import("ssl")
    except ImportError:
        return finding(SKIPPED, None, "there is no ssl")
    if ssl.HAS_TLSv1_3:
        return finding(OK, True, "spoken")
    return finding(LESS, False, "not spoken by this ssl: TLS 1.2 is")


def _authorities() -> Finding:
    """Whether this Python trusts any authority: small systems come without their certificates."""
    try:
        ssl = _import("ssl")
    except ImportError:
        return finding(SKIPPED, None, "there is no ssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    count = int(context.cert_store_stats()["x509_ca"])
    folder = ssl.get_default_verify_paths().capath  # is read when a certificate is looked at
    try:
        count = count or len(os.listdir(folder) if folder else ())
    except OSError:
        pass
    if count:
        return finding(OK, count, "there are %d that vouch for servers" % count)
    return finding(LESS, 0, "none is trusted: no server's certificate will do",
                   "install the system's certificates (ca-certificates), or name a file: tls.client_context(ca=...)")


def _threading() -> Finding:
    lost = "names are looked up on the loop, which stands still meanwhile; no AsyncPacketQueue, no ThreadHost"
    try:
        threading = _import("threading")
    except ImportError as exc:
        return _absent(lost, exc)
    thread = threading.Thread(target=int, name="icey doctor")
    try:
        thread.start()
    except RuntimeError as exc:
        return finding(LESS, False, "no thread can be started (%s): %s" % (exc, lost))
    thread.join(_JOIN)
    return finding(OK, True, "threads look names up")


def _module(name: str, there: str, lost: str) -> Callable[[], Finding]:
    """A check of a module that may be missing."""
    def check() -> Finding:
        try:
            _import(name)
        except ImportError as exc:
            return _absent(lost, exc)
        return finding(OK, True, there)
    return check


def _absent(lost: str, exc: ImportError) -> Finding:
    """A module cannot be imported."""
    return finding(LESS, False, "%s: %s" % (exc, lost), "install it, where your system ships it apart")


def _hashes() -> Finding:
    """SHA-1 is part of the handshake of WebSocket, and no secret; MD5 and SHA-256 are what Digest knows."""
    from ...http.semantics.digest import hash_of
    from ...http.websocket.handshake import accept_key

    names = [name for name in ("MD5", "SHA-256", "SHA-512-256") if hash_of(name) is not None]
    accept_key("AAAAAAAAAAAAAAAAAAAAAA==")
    text = "SHA-1 for WebSocket; %s for Digest" % ", ".join(names or ["none"])
    return finding(OK if "SHA-256" in names else LESS, names, text)


def _idna() -> Finding:
    try:
        "\xe9.test".encode("idna")
    except LookupError as exc:
        return finding(LESS, False, "%s: host names have to be ASCII (\"xn--...\")" % exc,
                       "install unicodedata, where your system ships it apart")
    return finding(OK, True, "host names of any script")


# name -> (what looks, the state where it raises): FAILED for what icey cannot do without
CHECKS: Dict[str, Tuple[Callable[[], Finding], str]] = {
    "copy": (_copy, LESS), "debug": (_debug, FAILED), "clock": (_clock, LESS),
    "selector": (_selector, FAILED), "ipv4": (_ipv4, LESS), "ipv6": (_ipv6, LESS), "dual_stack": (_dual_stack, LESS),
    "unix": (_unix, LESS), "reuse_port": (_reuse_port, LESS), "sendmsg": (_sendmsg, LESS), "sendfile": (_sendfile, LESS),
    "descriptors": (_descriptors, SKIPPED),
    "ssl": (_ssl, LESS), "tls13": (_tls13, LESS), "authorities": (_authorities, LESS),
    "threading": (_threading, LESS),
    "signal": (_module("signal", "Ctrl-C and SIGTERM end icey.run() in good order",
                       "icey.run() is loop.run(): Ctrl-C is an exception, SIGTERM just ends the process"), LESS),
    "logging": (_module("logging", "what nobody listens to is logged", "what would be logged goes to stderr"), LESS),
    "zlib": (_module("zlib", "gzip, deflate, compressed WebSockets",
                     "no gzip and deflate, and WebSockets are not compressed"), LESS),
    "hashes": (_hashes, LESS), "idna": (_idna, LESS),
}
