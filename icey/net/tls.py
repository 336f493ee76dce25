"""TLS (optional: needs `ssl`): TLSSocket, start_tls, and contexts with safe defaults.

    sock = TLSSocket(loop, context=tls.client_context())
    sock.connect("127.0.0.1", 8443)                  # then as TCPSocket; on_connect comes after the handshake
    start_tls(accepted, tls.server_context("cert.pem", "key.pem"), server_side=True)

A TLSSocket is a stream whose transport is another stream, its carrier. Between the two stands an `Engine` (tlsengine.py): it is
the socket of the TLSSocket and the protocol of the carrier. So every promise of Stream holds here as well.

Rules
- The defaults are safe: certificates and host names are checked, TLS 1.2 is the least, nothing is renegotiated.
- A failure is told as on_error(sock, TLSError), with the `reason` in a few words. An end without the peer's close_notify is
  `Truncated`: some of what the peer sent may be missing (RFC 8446 section 6.1).
- `queued` counts the bytes that wait here, in clear, and those that wait in the carrier, encrypted; the water marks are for
  both together.
- `close()` sends what is queued, then close_notify, and waits for the peer's end, within `close_timeout`.
- `shutdown()` is a half-close: close_notify goes out, receiving goes on.

Not here: when records are made and read (tlsengine.py).
"""

from __future__ import annotations

import os
import ssl

from ..base.errors import Deadline, StateError, TLSError
from ..base.handle import CLOSED, FINISHING, OPEN
from ..base.limits import DEFAULTS
from ..base.stream import BROKEN, CONNECTING, DOWN, UP, Stream
from .address import Address
from .tcp import TCPSocket
from .tlsengine import Engine

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, List, Mapping, Optional, Sequence, Union

    from ..base.buffer import Done
    from ..base.loop import Loop
    from .address import AddressLike

    Names = Union[Mapping[str, ssl.SSLContext], Callable[[str], Optional[ssl.SSLContext]]]


class TLSSocket(TCPSocket):
    """A TLS connection, used as a TCPSocket. `connect` makes a client's; `start_tls` puts TLS on a stream there is.

    context: an ssl.SSLContext, see `client_context`. server_hostname: the name that the certificate must have and that SNI asks
    for (None: the host given to `connect`). session: that of an earlier connection to the same server, to resume it.
    `context`, `server_hostname`: as given. `handshake_timeout`: seconds, from the connection on, None for ever. `queued`: bytes
    that wait for the kernel, encrypted or not. `peer_certificate`, `alpn`, `version`, `session`, `session_reused`: see each.
    """

    __slots__ = ("context", "server_hostname", "handshake_timeout", "_wanted_session", "_turn_due")

    secure = True

    def __init__(
        self, loop: Loop, *, context: ssl.SSLContext, server_hostname: Optional[str] = None, session: Any = None
    ) -> None:
        if not hasattr(context, "wrap_bio"):
            raise TypeError("context is an ssl.SSLContext, see tls.client_context and tls.server_context, not %r" % (context,))
        super().__init__(loop)
        self.context: ssl.SSLContext = context
        self.server_hostname = server_hostname
        self.handshake_timeout: Optional[float] = DEFAULTS.handshake_timeout
        self._wanted_session = session
        self._turn_due = False

    def connect(
        self, address: AddressLike, port: Optional[int] = None, *, timeout: Optional[float] = None, proxy: Any = None
    ) -> None:
        """As TCPSocket.connect, then the handshake, which has `handshake_timeout` seconds of its own.

        ValueError: a host name that no certificate can be checked against, or a session of another context.
        """
        self.check_thread()
        self.require_open("connect")
        if self.link != DOWN:
            raise StateError("connect() on a socket that is connected or connecting", "make a new TLSSocket")
        target = Address.of(address, port)
        if self.server_hostname is None and target.port is not None:
            self.server_hostname = target.host.partition("%")[0]
        carrier = TCPSocket(self.loop)
        engine = Engine(self, carrier, self.context, False, self.server_hostname, self._wanted_session)
        carrier.connect(target, timeout=timeout, proxy=proxy)
        carrier.on_connect += self._begin
        self.announce(target)
        self._ride(engine)

    # what is known once connected

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel, including those that are encrypted already."""
        return super().queued + (self.sock.carrier.queued if self.sock is not None else 0)

    @property
    def peer_certificate(self) -> Any:
        """The peer's certificate, a dict as of ssl.SSLSocket.getpeercert(); {} if it was not checked, None without one."""
        return self._ask("getpeercert")

    @property
    def alpn(self) -> Any:
        """The protocol both sides agreed on, a str (RFC 7301), None for none."""
        return self._ask("selected_alpn_protocol")

    @property
    def version(self) -> Any:
        """"TLSv1.3" or "TLSv1.2", None before the handshake."""
        return self._ask("version")

    @property
    def session(self) -> Any:
        """What a next connection can resume; in TLS 1.3 it comes with the first bytes received. Clients only."""
        try:
            return self.sock.tls.session if self._has_shaken() else None
        except ValueError:  # before Python 3.14: the server's certificate is too large to go with it
            return None

    @property
    def session_reused(self) -> bool:
        """Whether an earlier session was resumed."""
        return bool(self._has_shaken() and self.sock.tls.session_reused)

    def abort(self) -> None:
        """Closes now, without close_notify."""
        self.check_thread()
        self.complete = False
        if self.sock is not None and self.phase < FINISHING:
            self.sock.carrier.abort()
        super().abort()

    # the carrier

    def _ride(self, engine: Engine) -> None:
        """Takes the engine's carrier for the transport; the handshake waits for `_begin`."""
        self.sock = engine
        self.recv: Callable[[int], bytes] = engine.recv
        self.link = CONNECTING
        carrier = engine.carrier
        carrier.max_queue = None  # the engine bounds it
        carrier.close_timeout = self.close_timeout
        carrier.hold(False)
        carrier.use_protocol(engine)
        carrier.deactivate()  # the loop holds this one, this one its carrier
        self.activate()

    def _begin(self, carrier: Stream) -> None:
        """The carrier is connected."""
        self.announce(getattr(carrier, "peer", None))
        if self.phase < FINISHING:
            if self.handshake_timeout is not None:
                self.limit_opening(self.handshake_timeout, self._handshake_late)
            self.sock.start()

    def _handshake_late(self) -> None:
        if self.link == CONNECTING:
            self.fail(Deadline("no TLS handshake within %g s" % (self.handshake_timeout or 0)))

    # for the engine

    def handshaken(self) -> None:
        """The handshake is done."""
        if self.link == CONNECTING and self.phase < FINISHING:
            self.opened()

    def room_made(self) -> None:
        """The carrier is down to low water: more can be encrypted."""
        if self.queue and self.link == UP:
            self.flush()
            self.update_interest()
        elif self.drain_due:
            self.tell_drain()

    # what Stream does with a descriptor is done with the carrier here

    def write(self, data: Any, done: Done, borrowed: bool) -> bool:
        if self.link == UP and self.sock.carrier.queue and not self.output and not self.phase:
            self._require_room(data, borrowed)
        if not Stream.write(self, data, done, borrowed):
            return False
        carrier = self.sock.carrier
        if carrier.link == BROKEN or carrier.phase != OPEN:  # it takes us along
            return False
        if (self.queue is None and carrier.queue is None) or self.queued < self.high_water:
            return True
        self.drain_due = True
        self.sock.await_room()
        return False

    def _require_room(self, data: Any, borrowed: bool) -> None:
        """QueueFull counts what is encrypted as well, which `Stream.write` does not see."""
        carrier = self.sock.carrier
        if self.max_queue is not None and carrier.queued:
            more = sum(map(len, self.loop.read_buffer.parts(data, borrowed)))
            if self.queued + more > self.max_queue:
                self.sock.await_room()
                raise self.queue_full(more)

    def update_interest(self) -> None:
        """Has the carrier read what is wanted here, and sees to what is left in between."""
        reader = self.reader = self.pick_reader()
        engine = self.sock
        if engine is None:
            return
        engine.read_on(reader is not None)
        if not self._turn_due and ((reader is not None and engine.readable) or (self.queue and engine.room > 0)):
            self._turn_due = True
            self.loop.soon(self._turn)

    def _turn(self) -> None:
        """Something can go on without the carrier having anything to tell."""
        self._turn_due = False
        if self.phase < FINISHING and self.link == UP:
            if self.queue:
                self.flush()
            self.sock.pump()
            self.update_interest()

    def tell_drain(self) -> None:
        if self.queued <= self.low_water:
            super().tell_drain()
        else:
            self.sock.await_room()  # encrypted, and not yet out

    def want_drain(self) -> None:
        super().want_drain()
        if self.sock is not None:
            self.sock.await_room()

    def owe(self, dones: List[Callable[[], Any]]) -> None:
        """Encrypted whole: `done` is due when the carrier has sent it."""
        carrier = self.sock.carrier
        if carrier.phase == OPEN and not carrier.output:  # also where it has sent all: those before are told first
            carrier.write(b"", lambda: self._sent(dones), False)
        elif self.sock.left:
            super().owe(dones)

    def _sent(self, dones: List[Callable[[], Any]]) -> None:
        """The carrier has sent it; behind on_close, which may have freed what was sent, nothing is told."""
        if self.phase < CLOSED:
            super().owe(dones)

    def last_taken(self) -> float:
        return max(self.taken_at, self.sock.carrier.last_taken()) if self.sock is not None else self.taken_at

    def last_heard(self) -> float:
        return max(self.sock.heard_at, self.sock.carrier.last_heard()) if self.sock is not None else 0.0

    def note_taken(self) -> None:
        if self.sock is not None:
            self.sock.carrier.note_taken()

    @property
    def unsent(self) -> bool:
        """As Stream.unsent, what is encrypted already included."""
        return bool(self.queue) or self.queued > 0

    @property
    def outstanding(self) -> bool:
        """As Stream.outstanding, of the carrier."""
        return self.unsent or (self.sock is not None and bool(self.sock.carrier.outstanding))

    def look(self) -> None:
        if self.sock is not None:
            self.sock.carrier.look()
            if self.queue and self.link == UP:
                self.flush()
                self.update_interest()

    def read_last(self) -> None:
        if self._has_shaken():
            super().read_last()

    def set_option(self, verb: str, level: int, option: int, on: bool) -> None:
        self.check_thread()
        if self.sock is None:
            raise StateError("%s() before connect()" % verb, "connect first", "start, then send")
        if self.phase == OPEN and isinstance(self.sock.carrier, TCPSocket):
            self.sock.carrier.set_option(verb, level, option, on)

    def part(self) -> None:
        self.stop_watchdog()
        if self.link == UP and self.may_end():
            self.complete: bool = True
            self.sock.leave()
        else:  # where something is missing, close_notify would say that it is whole
            self.finish()

    def silence(self) -> None:
        super().silence()
        self.reader = None

    def closed_now(self) -> None:
        super().closed_now()
        if self.sock is not None:
            self.sock.part_ways()

    def free(self) -> None:
        if self.sock is not None:
            self.sock.let_go()
        super().free()

    def _has_shaken(self) -> bool:
        return self.sock is not None and self.sock.shaken

    def _ask(self, what: str) -> Any:
        return getattr(self.sock.tls, what)() if self._has_shaken() else None


def start_tls(
    sock: Stream, context: ssl.SSLContext, *, server_side: bool, server_hostname: Optional[str] = None,
    session: Any = None, handshake_timeout: Optional[float] = DEFAULTS.handshake_timeout,
) -> TLSSocket:
    """Puts TLS on `sock`, a connected stream, from its next byte on; use the TLSSocket returned in its place.

    The bytes that are queued on `sock` go out before, in clear. The slots of `sock` get no more data; its on_close still comes.
    A TLSSocket may carry another TLSSocket. StateError for a stream that is not connected, or at its end.
    """
    sock.check_thread()
    sock.require_open("start_tls")
    if sock.link != UP or sock.ended or sock.output:
        raise StateError("start_tls() on a stream that is not connected both ways", "call it in on_connect or later",
                         "start, then send")
    made = TLSSocket(sock.loop, context=context, server_hostname=server_hostname, session=session)
    made.high_water, made.low_water, made.max_queue = sock.high_water, sock.low_water, sock.max_queue
    made.close_timeout, made.handshake_timeout = sock.close_timeout, handshake_timeout
    made._ride(Engine(made, sock, context, server_side, server_hostname, session))
    made._begin(sock)
    return made


def server_context(
    cert: str, key: Optional[str] = None, *, alpn: Sequence[str] = (), client_ca: Optional[str] = None,
    sni: Optional[Names] = None,
) -> ssl.SSLContext:
    """A server's context. cert, key: PEM files (None: the key stands in the certificate's file); OSError or TLSError.

    alpn: the protocols that the server speaks, best first. client_ca: PEM file or folder of the authorities whose client
    certificates are accepted; a client must then have one. sni: {"name" or "*.name": context} or a function name -> context or
    None, for a server of several names; whether client certificates are wanted is decided by the context made here alone.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, alpn)
    if hasattr(context, "num_tickets"):
        context.num_tickets = 1  # OpenSSL sends two to each client: the second costs a tenth of a handshake
    _load_identity(context, cert, key)
    if client_ca is not None:
        _load_authorities(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if sni is not None:
        find = sni if callable(sni) else _by_name(sni)

        def choose(tls: Any, name: Optional[str], first: ssl.SSLContext) -> None:
            found = find(name) if name is not None else None
            if found is not None:
                tls.context = found

        context.sni_callback = choose
    return context


def client_context(
    *, ca: Optional[str] = None, cert: Optional[str] = None, key: Optional[str] = None, verify: bool = True,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """A client's context. ca: PEM file or folder of the authorities to trust (None: the system's); OSError or TLSError.

    cert, key: our own certificate, for a server that asks. alpn: as for `server_context`. verify: False takes any certificate:
    whoever is in between can read and change what goes over such a connection.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, alpn)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if ca is not None:
        _load_authorities(context, ca)
    if cert is not None:
        _load_identity(context, cert, key)
    return context


def _context(protocol: int, alpn: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= getattr(ssl, "OP_NO_RENEGOTIATION", 0)
    if isinstance(alpn, str):
        raise TypeError("alpn is a sequence of names, not one str")
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _load_identity(context: ssl.SSLContext, cert: str, key: Optional[str]) -> None:
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as exc:
        raise _unusable("certificate", cert, exc) from exc
    except OSError as exc:
        if exc.filename is None:  # OpenSSL does not say which
            missing = [path for path in (cert, key) if path is not None and not os.access(path, os.R_OK)]
            exc.filename = missing[0] if missing else cert
        raise


def _load_authorities(context: ssl.SSLContext, ca: str) -> None:
    import os

    folder = os.path.isdir(ca)
    try:
        context.load_verify_locations(cafile=None if folder else ca, capath=ca if folder else None)
    except ssl.SSLError as exc:
        raise _unusable("authorities", ca, exc) from exc


def _no_password() -> bytes:
    """An encrypted key is refused, instead of a question on the terminal."""
    return b""


def _unusable(what: str, path: str, exc: ssl.SSLError) -> TLSError:
    reason = (exc.reason or "nothing of the kind in it").replace("_", " ").lower()
    error = TLSError("cannot use the %s in %s: %s (PEM is needed, and a key without a password)" % (what, path, reason))
    error.reason = reason
    return error


def _by_name(names: Mapping[str, ssl.SSLContext]) -> Callable[[str], Optional[ssl.SSLContext]]:
    """A look-up in a mapping; "*.name" is for one label in front (RFC 6125 section 6.4.3)."""
    table = {name.lower(): context for name, context in names.items()}
    return lambda name: table.get(name.lower()) or table.get("*." + name.lower().partition(".")[2])
