"""SOCKS5: TCP connections by way of a proxy (RFC 1928), with user name and password where it wants them (RFC 1929).

    sock.connect("example.com", 80, proxy="socks5h://user:password@127.0.0.1:1080")

    socks5     names are looked up here, the proxy gets addresses: one after the other, until one connects
    socks5h    the proxy gets the name, and nobody here is asked for it

A connection to the proxy goes through these states; each but the last two waits for an answer:

    GREETING         what we can say of ourselves is out: nothing, or user name and password
    AUTHENTICATING   user name and password are out
    ASKING           the target is out
    OPEN             the way is open: the bytes that follow are the target's
    FAILED           `failure` says which answer was wrong

Rules
- Never more is read than is sure to belong to the answer: what comes behind it stays in the kernel, for the stream.
- An answer that refuses the target (it cannot be reached, or is not allowed) has the target's next address tried, each by a
  connection to the proxy of its own. Anything else that fails is the proxy's, and ends all of it.
- Every error names the proxy, the step and the reason. None shows user name and password.
- The deadline of `connect` covers all of it. Without one, the proxy has ANSWER_TIMEOUT seconds for each answer about itself,
  and CONNECT_TIMEOUT for the one about the target: a proxy that says nothing is no reason to wait for ever.

Not here: SOCKS4, BIND and UDP ASSOCIATE, GSSAPI; what goes over the stream (tcp.py); HTTP's proxies (http/client/proxy.py).
"""

from __future__ import annotations

import errno
import re
import socket
from functools import partial

from ..base.errors import Deadline, NetError
from ..base.handle import FINISHING, Handle
from ..base.limits import DEFAULTS
from ..base.poller import READ, WRITE
from ..base.state import transitions, watch_states
from ..base.watchdog import Watchdog
from .address import Address, encoded
from .happyeyeballs import HappyEyeballs
from .tcp import connect_error
from .userinfo import credentials, refused

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple, Union

    from ..base.errors import ConnectError
    from ..base.loop import Loop

PORT = 1080  # RFC 1928 section 3
ANSWER_TIMEOUT: float = DEFAULTS.handshake_timeout or 10.0  # seconds
CONNECT_TIMEOUT = 130.0  # seconds; a proxy waits for the target as long as its system does: Linux for 127
ATTEMPT_DELAY = 2.0  # seconds; the most that RFC 8305 section 5 allows: the proxy itself takes some round trips

GREETING, AUTHENTICATING, ASKING, OPEN, FAILED = range(5)
MOVES = transitions({GREETING: (AUTHENTICATING, ASKING, FAILED), AUTHENTICATING: (ASKING, FAILED), ASKING: (OPEN, FAILED),
                     OPEN: (), FAILED: ()}, names=("GREETING", "AUTHENTICATING", "ASKING", "OPEN", "FAILED"))

VERSION, LOGIN_VERSION = 5, 1
NO_LOGIN, LOGIN, NO_METHOD = 0, 2, 255  # the methods, RFC 1928 section 3
IPV4, NAME, IPV6 = 1, 3, 4  # the types of addresses, section 5

# What a reply means (section 6), and the number that the system has for the same.
REPLIES = {
    1: ("general failure", None),
    2: ("not allowed by its rules", errno.EACCES),
    3: ("network unreachable", errno.ENETUNREACH),
    4: ("host unreachable", errno.EHOSTUNREACH),
    5: ("connection refused", errno.ECONNREFUSED),
    6: ("the connection's time to live has expired", errno.ETIMEDOUT),
    7: ("it does not support CONNECT", errno.EOPNOTSUPP),
    8: ("it does not support this type of address", errno.EAFNOSUPPORT),
}

KINDS = {0: "it speaks SOCKS4, maybe", 0x48: "it speaks HTTP, maybe"}  # by the first byte of an answer

_URL = r"(?s)(socks5h?)://(?:([^@/?#]*)@)?(\[[^\[\]]*\]|[^\[\]:@/?#]+)(?::([0-9]{1,5}))?/?\Z"


class SocksProxy:
    """A SOCKS5 proxy's URL, read: "socks5://[user:password@]host[:1080]", or socks5h, where the proxy looks names up.

    user, password: percent-encoded, as UTF-8, both of 1 to 255 bytes, or neither. ValueError: a text that is no such URL.

    `address`: where the proxy is, an Address that may be a name. `remote`: whether the proxy looks names up. `login`: the bytes
    by which RFC 1929 says user and password, b"" for none.
    """

    __slots__ = ("address", "remote", "login")

    def __init__(self, url: str) -> None:
        if not isinstance(url, str):
            raise TypeError("a SOCKS proxy's URL is a str, not %s" % type(url).__name__)
        found = re.match(_URL, url.strip(" "), re.IGNORECASE)
        if found is None:
            raise refused("a SOCKS proxy is socks5://[user:password@]host[:port], or socks5h "
                          "(in a password, @ is %40, : is %3A and / is %2F)", url)
        scheme, userinfo, host, port = found.groups()
        try:
            self.address: Address = Address(host.strip("[]"), int(port or PORT))
            if (self.address.family == socket.AF_INET6) is not host.startswith("["):
                raise ValueError("an IPv6 address, and nothing else, stands in brackets")
            if self.address.port == 0:
                raise ValueError("a port is 1 to 65535")
            self.login: bytes = _login(*credentials(userinfo))
        except ValueError as exc:
            raise refused(str(exc), url) from None
        self.remote: bool = scheme.lower() == "socks5h"

    @classmethod
    def of(cls, value: Union[SocksProxy, str]) -> SocksProxy:
        """A SocksProxy, or the URL of one."""
        return value if isinstance(value, SocksProxy) else cls(value)

    def __repr__(self) -> str:
        return "<SocksProxy %s>" % self.address


def _login(user: Optional[str], password: Optional[bytes]) -> bytes:
    """Section 2 of RFC 1929."""
    if user is None:
        return b""
    name = user.encode("utf-8")
    if password is None or not (0 < len(name) < 256 and 0 < len(password) < 256):
        raise ValueError("user name and password for a SOCKS proxy are 1 to 255 bytes each (RFC 1929)")
    return bytes([LOGIN_VERSION, len(name)]) + name + bytes([len(password)]) + password


def way_by(proxy: Union[SocksProxy, str], target: Address, timeout: Optional[float]) -> Callable[..., ByProxy]:
    """What makes the ByProxy to `target` of (loop, target, done). ValueError: no such proxy, or no target for one."""
    proxy = SocksProxy.of(proxy)
    if target.port is None:
        raise ValueError("a SOCKS proxy leads to hosts, and to no Unix socket: leave proxy= out for %s" % target)
    return partial(ByProxy, proxy, timeout is None)


class Handshake:
    """The client's side of the handshake for one `target`, without a socket: bytes in, bytes out.

    ValueError: a target that cannot be asked for.

    `state`: one of the five. `output`: what is to be sent now; drop from its front what was. `failure`: why it FAILED, None
    before that; it completes a sentence that begins with the proxy. `number`: the errno that is closest to it, or None.
    `refused`: it failed when the proxy was asked for the target, and not by what is no SOCKS5.
    """

    __slots__ = ("state", "output", "failure", "number", "refused", "_target", "_login", "_request", "_answer", "_size")

    STATES = {"state": MOVES}

    def __init__(self, target: Address, login: bytes = b"") -> None:
        self.failure: Optional[str] = None
        self.number: Optional[int] = None
        self.refused: bool = False
        self._target = target
        self._request = bytes([VERSION, 1, 0]) + _place(target)
        self._login = login
        self._answer = b""  # as far as it has come
        self._size = 2  # of the answer, as far as it is known
        self.output: bytes = bytes([VERSION, 2, NO_LOGIN, LOGIN] if login else [VERSION, 1, NO_LOGIN])
        self.state: int = GREETING

    @property
    def wanted(self) -> int:
        """Bytes that are sure to belong to the answer that is awaited; 0: it is over."""
        return self._size - len(self._answer) if self.state < OPEN else 0

    def feed(self, data: bytes) -> int:
        """Takes what came, and returns how many bytes of it are the proxy's: those behind are the target's."""
        used = 0
        while used < len(data) and self.state < OPEN:
            piece = data[used:used + self.wanted]
            used += len(piece)
            self._answer += piece
            _STEPS[self.state](self)
        return used

    def end(self, how: str = "closed the connection", number: Optional[int] = None) -> None:
        """The proxy's side has ended before the way was open. how: in which way; number: the errno of that."""
        self.number = number
        self.refused = self.state == ASKING  # some say in this way that the target cannot be reached
        if self._answer:
            self._fail("%s in the middle of an answer, %d bytes short" % (how, self.wanted))
        elif self.state == AUTHENTICATING:
            self._fail("%s when it got user name and password: are they right?" % how)
        elif self.state == ASKING:
            self._fail("%s when it was asked for %s" % (how, self._target))
        else:
            self._fail("%s before it answered" % how)

    # the answers, whole or not

    def _chosen(self) -> None:
        """It says which method it chooses."""
        if not self._is_version(VERSION) or len(self._answer) < 2:
            return
        method = self._answer[1]
        if method == NO_LOGIN:
            self._next(ASKING, self._request)
        elif method == LOGIN and self._login:
            self._next(AUTHENTICATING, self._login)
        elif method == NO_METHOD and self._login:
            self._fail("takes neither user name and password nor a client without them")
        elif method in (NO_METHOD, LOGIN):
            self._fail("wants more than a client without user name and password: socks5://user:password@...")
        else:
            self._fail("chose method %d, which it was not offered" % method)

    def _admitted(self) -> None:
        """It says what it thinks of user name and password."""
        if not self._is_version(LOGIN_VERSION) or len(self._answer) < 2:
            return
        if self._answer[1]:
            self._fail("refused user name and password (status %d)" % self._answer[1])
        else:
            self._next(ASKING, self._request)

    def _answered(self) -> None:
        """It says what became of the connection to the target."""
        answer = self._answer
        if not self._is_version(VERSION) or len(answer) < 2:
            return
        if answer[1]:  # what follows, if it does, says nothing more
            what, self.number = REPLIES.get(answer[1], ("for a reason that RFC 1928 does not have", None))
            self.refused = True
            self._fail("could not connect to %s: %s (reply %d)" % (self._target, what, answer[1]))
        elif len(answer) < 5:
            self._size = 5  # what there is of every type, the length of a name included
        elif answer[3] not in (IPV4, NAME, IPV6):
            self._fail("answered with an address of type %d, which RFC 1928 does not have" % answer[3])
        else:
            self._size = 6 + {IPV4: 4, IPV6: 16}.get(answer[3], 1 + answer[4])
            if len(answer) == self._size:
                self._next(OPEN, b"")

    def _is_version(self, version: int) -> bool:
        first = self._answer[0]
        if first == version:
            return True
        if self.state != GREETING:
            self._fail("answered with version %d where %d is due" % (first, version))
        else:
            self._fail("is no SOCKS5 server: %s" % KINDS.get(first, "its answer begins with 0x%02x" % first))
        return False

    def _next(self, state: int, output: bytes) -> None:
        self.state = state
        self.output += output
        self._answer, self._size = b"", 2

    def _fail(self, failure: str) -> None:
        self.failure = failure
        self.output = b""
        self.state = FAILED


def failure(text: str, number: Optional[int]) -> NetError:
    """A NetError, with the number of the system's error that comes closest where there is one."""
    return NetError(text) if number is None else NetError(number, text)


_STEPS = {GREETING: Handshake._chosen, AUTHENTICATING: Handshake._admitted, ASKING: Handshake._answered}


def _place(target: Address) -> bytes:
    """Type, address and port of the target as the request has them; ValueError where it has no form for that."""
    assert target.port is not None  # a Unix socket has none
    port = target.port.to_bytes(2, "big")
    if target.family == socket.AF_INET:
        return bytes([IPV4]) + socket.inet_pton(socket.AF_INET, target.host or "0.0.0.0") + port
    if target.family == socket.AF_INET6:
        if "%" in target.host:
            raise ValueError("a scope is an interface of this machine, of which a proxy knows nothing")
        return bytes([IPV6]) + socket.inet_pton(socket.AF_INET6, target.host) + port
    name = encoded(target.host)
    if len(name) > 255:
        raise ValueError("a name for a SOCKS proxy is at most 255 bytes (RFC 1928), and this one is %d" % len(name))
    return bytes([NAME, len(name)]) + name + port


class Tunnel(Handle):
    """One connection to a proxy, and the handshake for one target on it. ValueError: a target that cannot be asked for.

    Calls `done(sock, error, refused)` once, from the loop, unless it is closed before: a socket that leads to the target, which
    is the caller's from now on; or None and an OSError, and whether another address of the target may do better.
    bounded: whether the proxy's answers have deadlines of their own. `handshake`: a Handshake.
    """

    __slots__ = ("handshake", "_proxy", "_target", "_done", "_reaching", "_sock", "_asked_for", "_watchdog", "_since")

    def __init__(self, loop: Loop, proxy: SocksProxy, target: Address, bounded: bool, done: Callable[..., Any]) -> None:
        self.handshake: Handshake = Handshake(target, proxy.login)
        super().__init__(loop)
        if loop.debug:
            watch_states(self.handshake)
        self._proxy = proxy
        self._target = target
        self._done = done
        self._reaching: Optional[HappyEyeballs] = None  # while the proxy is not connected
        self._sock: Any = None
        self._asked_for = 0  # of the poller
        self._watchdog = Watchdog(loop, self._due, self._late, self.look) if bounded else None
        self._since = 0.0  # when the answer that is awaited was asked for, in the loop's time
        self.unref()
        self.activate()

    def start(self, options: List[Tuple[int, int, bool]]) -> None:
        """Connects. options: (level, option, on) of the socket."""
        self._reaching = HappyEyeballs(self.loop, self._proxy.address, self._reached)
        for option in options:
            self._reaching.set_option(*option)
        self._reaching.resolve()

    def setsockopt(self, level: int, option: int, on: bool) -> None:
        """Sets an option of the socket, or of the one to come."""
        if self._reaching is not None:
            self._reaching.set_option(level, option, on)
        elif self._sock is not None:
            self._sock.setsockopt(level, option, on)

    def look(self) -> None:
        """Takes the step that can be taken by now, without waiting for the poller to say so."""
        if self._reaching is not None:
            self._reaching.look()
        elif self._sock is not None:
            self._go_on()

    @property
    def waits_for(self) -> str:
        """What it is that has not come yet."""
        if self._sock is None:
            return "the SOCKS proxy %s is not connected" % self._proxy.address
        if self.handshake.state < ASKING:
            return "the SOCKS proxy %s does not answer" % self._proxy.address
        return "the SOCKS proxy %s has not connected to %s" % (self._proxy.address, self._target)

    def _reached(self, sock: Any, address: Optional[Address], error: Optional[NetError]) -> None:
        self._reaching = None
        if error is not None:
            self._fail(failure("no way to the SOCKS proxy: %s" % error, error.errno), False)
            return
        self._sock = sock
        self._since = self.loop.now
        if self._watchdog is not None:
            self._watchdog.watch()
        self._go_on()

    def _go_on(self, mask: int = 0) -> None:
        """Sends and reads as far as it goes now."""
        handshake, sock = self.handshake, self._sock
        try:
            while handshake.state < OPEN:
                while handshake.output:
                    handshake.output = handshake.output[sock.send(handshake.output):]
                state = handshake.state
                data = sock.recv(handshake.wanted)
                if data:
                    handshake.feed(data)
                else:
                    handshake.end()
                if handshake.state != state:
                    self._since = self.loop.now
        except (BlockingIOError, InterruptedError):
            self._await(WRITE if handshake.output else READ)
            return
        except OSError as exc:
            handshake.end("broke the connection (%s)" % (exc.strerror or exc), exc.errno)
        if handshake.failure is not None:
            text = "the SOCKS proxy %s %s" % (self._proxy.address, handshake.failure)
            self._fail(failure(text, handshake.number), handshake.refused)
            return
        self._let_go()
        self._sock = None
        self.finish()
        self._done(sock, None, False)

    def _await(self, event: int) -> None:
        if event != self._asked_for:
            register = self.loop.poller.modify if self._asked_for else self.loop.poller.register
            try:
                register(self._sock.fileno(), event, self._go_on)
            except OSError as exc:  # select() takes no more
                self._fail(exc, False)
            else:
                self._asked_for = event

    def _fail(self, error: OSError, refused: bool) -> None:
        self.finish()
        self._done(None, error, refused)

    def _due(self) -> Optional[float]:
        return self._since + (CONNECT_TIMEOUT if self.handshake.state == ASKING else ANSWER_TIMEOUT)

    def _late(self) -> None:
        asking = self.handshake.state == ASKING
        late = Deadline("%s within %g s" % (self.waits_for, CONNECT_TIMEOUT if asking else ANSWER_TIMEOUT))
        self._fail(late, asking)

    def _let_go(self) -> None:
        if self._asked_for:
            self._asked_for = 0
            self.loop.poller.unregister(self._sock.fileno())
        if self._watchdog is not None:
            self._watchdog.release()
            self._watchdog = None

    def silence(self) -> None:
        if self._reaching is not None:
            self._reaching.abort()
            self._reaching = None
        self._let_go()

    def free(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def title(self) -> str:
        return "TCPSocket connecting to %s by a SOCKS proxy" % self._target


class ByProxy(HappyEyeballs):
    """As HappyEyeballs, by a SOCKS proxy: what `done` gets is a socket that leads to `target`.

    The address is the one that the proxy was asked for; with socks5h and a name it is the name. bounded: see Tunnel.
    """

    __slots__ = ("_proxy", "_bounded")

    delay = ATTEMPT_DELAY

    def __init__(self, proxy: SocksProxy, bounded: bool, loop: Loop, target: Address, done: Any) -> None:
        self._proxy = proxy
        self._bounded = bounded
        super().__init__(loop, target, done)

    def resolve(self) -> None:
        """Looks the target up, unless it is numeric or the proxy does that, and tries."""
        if self._proxy.remote or self.target.numeric:
            self.start([self.target])
        else:
            super().resolve()

    def attempt(self, address: Address) -> None:
        """Starts a Tunnel; OSError: an address that cannot be asked for."""
        try:
            tunnel = Tunnel(self.loop, self._proxy, address, self._bounded, partial(self._tunnelled, address))
        except ValueError as exc:
            wrong = NetError(str(exc))
        else:
            self.running[address] = tunnel
            tunnel.start(self.options)
            return
        raise wrong  # from here: with the ValueError as its context, it would keep the frames above alive

    def look(self) -> None:
        """As HappyEyeballs.look."""
        for tunnel in list(self.running.values()):
            if self.phase < FINISHING:
                tunnel.look()

    def failure(self, pending: OSError) -> ConnectError:
        """As HappyEyeballs.failure; of those that run the error says what they wait for."""
        waits = [tunnel.waits_for for tunnel in self.running.values()]
        return super().failure(type(pending)("%s: %s" % (pending, "; ".join(waits))) if waits else pending)

    def explain(self, attempts: List[Tuple[Address, OSError]]) -> ConnectError:
        """The error for these attempts, which were made at the proxy: each says of which address it speaks."""
        why = ", ".join(str(exc.strerror or exc) for _, exc in attempts)
        if len(attempts) > 1:
            why = "%d addresses failed: %s" % (len(attempts), why)
        return connect_error(self.target, [(self._proxy.address, exc) for _, exc in attempts], why)

    def _tunnelled(self, address: Address, sock: Any, error: Optional[OSError], refused: bool) -> None:
        """The tunnel to `address` has come to its end."""
        del self.running[address]
        if error is None:
            self.end(sock, address, None)
        else:
            self.over(address, error, not refused)  # what is wrong with the proxy the next one would meet as well

    def let_go(self) -> None:
        """Gives the tunnels up that are not open yet."""
        for tunnel in self.running.values():
            tunnel.finish()
        self.running.clear()

    def free(self) -> None:
        self.running.clear()  # each frees its own
