"""TLS (optional: needs `ssl`): TLSSocket, start_tls, and contexts with safe defaults.

    sock = TLSSocket(loop, context=tls.client_context())
    sock.connect("127.0.0.1", 8443)                  # then as TCPSocket; on_connect comes after the handshake
    start_tls(accepted, tls.server_context("cert.pem", "key.pem"), server_side=True)

A TLSSocket is a stream whose transport is another stream, its carrier. Between the two stands an `Engine` (tlsengine.py), which
the TLSSocket takes for its socket and the carrier for its sink; so all that Stream promises holds here as well.

Rules
- Safe unless you say otherwise: certificates and host names are checked, TLS 1.2 is the least, nothing is renegotiated.
- A failure is told as on_error(sock, TLSError), its `reason` in a few words. An end without the peer's close_notify is
  `Truncated`: what came may not be all there was (RFC 8446 section 6.1).
- `queued` counts what waits here, in clear, and in the carrier, encrypted; the water marks are for both together.
- `close()` sends what is queued and close_notify, and waits for the peer's end, within `close_timeout`.
- `shutdown()` is a half-close: close_notify goes out, receiving goes on.

Not here: when records are made and read (tlsengine.py).
"""

from __future__ import annotations

import ssl

from ..base.errors import Deadline, StateError, TLSError
from ..base.handle import FINISHING, OPEN
from ..base.limits import DEFAULTS
from ..base.stream import BROKEN, CONNECTING, DOWN, UP, Stream
from .address import Address
from .tcp import TCPSocket
from .tlsengine import Engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Mapping, Optional, Sequence, Union

    from ..base.buffer import Done
    from ..base.loop import Loop
    from ..base.timer import Timer
    from .tcp import AddressLike

    Names = Union[Mapping[str, ssl.SSLContext], Callable[[str], Optional[ssl.SSLContext]]]


class TLSSocket(TCPSocket):
    """A TLS connection, used as a TCPSocket. `connect` makes a client's; `start_tls` puts TLS on a stream there is.

    context: an ssl.SSLContext, see `client_context`. server_hostname: whom the certificate must name and SNI asks for (None:
    the host given to `connect`). session: of an earlier connection to the same server, to resume it.
    handshake_timeout: seconds, from the connection on.
    """

    __slots__ = ("context", "server_hostname", "handshake_timeout", "_wanted_session", "_handshake_timer", "_turn_due")

    secure = True

    def __init__(
        self, loop: Loop, *, context: ssl.SSLContext, server_hostname: Optional[str] = None, session: Any = None
    ) -> None:
        self._handshake_timer: Optional[Timer] = None
        super().__init__(loop)
        self.context = context
        self.server_hostname = server_hostname
        self.handshake_timeout = DEFAULTS.handshake_timeout
        self._wanted_session = session
        self._turn_due = False

    def connect(self, address: AddressLike, port: Optional[int] = None, *, timeout: Optional[float] = None) -> None:
        """As TCPSocket.connect, then the handshake, which has `handshake_timeout` seconds of its own.

        ValueError: a host name that no certificate can be checked against, or a session of another context.
        """
        self._check()
        self._require_open("connect")
        if self._link != DOWN:
            raise StateError("connect() on a socket that is connected or connecting", "make a new TLSSocket",
                             "start, then send")
        target = Address.of(address, port)
        if self.server_hostname is None and target.port is not None:
            self.server_hostname = target.host.partition("%")[0]
        carrier = TCPSocket(self.loop)
        engine = Engine(self, carrier, self.context, False, self.server_hostname, self._wanted_session)
        carrier.connect(target, timeout=timeout)
        carrier.on_connect += self._begin
        self._peer = target
        self._ride(engine)

    # what is known once connected

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel, those that are encrypted already included."""
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
        return self.sock.tls.session if self._up_once() else None

    @property
    def session_reused(self) -> bool:
        """Whether an earlier session was resumed."""
        return bool(self._up_once() and self.sock.tls.session_reused)

    def abort(self) -> None:
        """Closes now, without close_notify."""
        self._check()
        if self.sock is not None and self._phase < FINISHING:
            self.sock.carrier.abort()
        super().abort()

    # the carrier

    def _ride(self, engine: Engine) -> None:
        """Takes the engine's carrier for the transport; the handshake waits for `_begin`."""
        self.sock = engine
        self._recv = engine.recv
        self._link = CONNECTING
        carrier = engine.carrier
        carrier.max_queue = None  # the engine bounds it
        carrier.close_timeout = self.close_timeout
        carrier._paused = False
        carrier._use_sink(engine)
        carrier._deactivate()  # the loop holds this one, this one its carrier
        self._activate()

    def _begin(self, carrier: Stream) -> None:
        self._peer = getattr(carrier, "peer", None) or self._peer
        if self._phase < FINISHING:
            if self.handshake_timeout is not None:
                self._handshake_timer = self.loop.call_later(self.handshake_timeout, self._handshake_late)
                self._handshake_timer.unref()  # the socket's own ref decides
            self.sock.start()

    def _handshaken(self) -> None:
        self._stop_handshake_timer()
        if self._link == CONNECTING and self._phase < FINISHING:
            self._up()

    def _handshake_late(self) -> None:
        if self._link == CONNECTING:
            self._break(Deadline("no TLS handshake within %g s" % (self.handshake_timeout or 0)))

    def _stop_handshake_timer(self) -> None:
        if self._handshake_timer is not None:
            self._handshake_timer.abort()
            self._handshake_timer = None

    # what Stream does with a descriptor is done with the carrier here

    def _write(self, data: Any, done: Done, borrowed: bool) -> bool:
        if self._link == UP and self.sock.carrier._queue and not self._out and not self._phase:
            self._require_room(data, borrowed)
        if not super()._write(data, done, borrowed):
            return False
        carrier = self.sock.carrier
        if carrier._link == BROKEN or carrier._phase != OPEN:  # it takes us along
            return False
        if self.queued < self.high_water:
            return True
        self._drain_due = True
        self.sock.await_room()
        return False

    def _require_room(self, data: Any, borrowed: bool) -> None:
        """QueueFull counts what is encrypted as well, which `Stream._write` does not see."""
        carrier = self.sock.carrier
        if self.max_queue is not None and carrier.queued:
            more = sum(map(len, self.loop._read_buffer.parts(data, borrowed)))
            if self.queued + more > self.max_queue:
                self.sock.await_room()
                raise self._queue_full(more)

    def _update(self) -> None:
        """Has the carrier read what is wanted here, and sees to what is left in between."""
        reader = self._reader = self._pick_reader()
        engine = self.sock
        if engine is None:
            return
        engine.read_on(reader is not None)
        if not self._turn_due and ((reader is not None and engine.readable) or (self._queue and engine.room > 0)):
            self._turn_due = True
            self.loop._calls.append((self._turn, ()))

    def _turn(self) -> None:
        """Something can go on without the carrier having anything to tell."""
        self._turn_due = False
        if self._phase < FINISHING and self._link == UP:
            if self._queue:
                self._flush()
            self.sock.pump()
            self._update()

    def _room(self) -> None:
        """The carrier is down to low water."""
        if self._queue and self._link == UP:
            self._flush()
            self._update()
        elif self._drain_due:
            self._tell_drain()

    def _tell_drain(self) -> None:
        if self.queued <= self.low_water:
            super()._tell_drain()
        else:
            self.sock.await_room()  # encrypted, and not yet out

    def _sent(self, dones: List[Callable[[], Any]]) -> None:
        """Encrypted whole: `done` is due when the carrier has sent it."""
        carrier = self.sock.carrier
        if carrier._phase == OPEN and not carrier._out:  # also where it has sent all: those before are told first
            carrier._write(b"", lambda: Stream._sent(self, dones), False)
        elif self.sock.left:
            super()._sent(dones)

    def _last_taken(self) -> float:
        return max(self._taken_at, self.sock.carrier._last_taken()) if self.sock is not None else self._taken_at

    def _look(self) -> None:
        carrier = None if self.sock is None else self.sock.carrier
        if isinstance(carrier, TCPSocket):
            carrier._look()

    def _option(self, verb: str, level: int, option: int, on: bool) -> None:
        self._check()
        if self.sock is None:
            raise StateError("%s() before connect()" % verb, "connect first", "start, then send")
        if self._phase == OPEN and isinstance(self.sock.carrier, TCPSocket):
            self.sock.carrier._option(verb, level, option, on)

    def _part(self) -> None:
        self._stop_close_timer()
        if self._link == UP:
            self.sock.leave()
        else:
            self._finish()

    def _silence(self) -> None:
        self._stop_handshake_timer()
        super()._silence()
        self._reader = None

    def _free(self) -> None:
        if self.sock is not None:
            self.sock.let_go()
        super()._free()

    def _up_once(self) -> bool:
        return self.sock is not None and self.sock.shaken

    def _ask(self, what: str) -> Any:
        return getattr(self.sock.tls, what)() if self._up_once() else None


def start_tls(
    sock: Stream, context: ssl.SSLContext, *, server_side: bool, server_hostname: Optional[str] = None,
    session: Any = None, handshake_timeout: Optional[float] = DEFAULTS.handshake_timeout,
) -> TLSSocket:
    """Puts TLS on `sock`, a connected stream, from its next byte on; use the TLSSocket returned in its place.

    What is queued on `sock` goes out before, in clear. Its slots get no more data; its on_close still comes. A TLSSocket may
    carry another one. StateError for a stream that is not connected, or at its end.
    """
    sock._check()
    sock._require_open("start_tls")
    if sock._link != UP or sock._ended or sock._out:
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

    alpn: protocols spoken, best first. client_ca: PEM file or folder of those whose client certificates are accepted;
    one is then required. sni: {"name" or "*.name": context} or a function name -> context or None, for servers of several
    names; what a context of it says of client certificates is not looked at, the first one's decides.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, alpn)
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

    cert, key: our own certificate, for a server that asks. verify=False takes any certificate: anybody in between can read
    and change what goes over such a connection.
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
