"""Engine (optional: needs `ssl`): between a TLSSocket, its owner, and the stream that carries it.

The owner takes it for a socket: recv, recv_into, send, sendmsg, shutdown. The carrier takes it for a sink: on_bytes and so on.
Inside is an ssl.SSLObject over two memory BIOs, so any stream can carry TLS, another TLSSocket too.

    WAITING -> SHAKING -> OPEN -> LEAVING    the carrier connects; the handshake; records both ways; close_notify is out, and
                                             the peer's end is awaited

Rules
- Clear text is encrypted, in records of at most 16 KiB, only while the carrier has less than high water queued: until then
  it stays the caller's.
- The carrier reads while the owner does (and for the handshake); at most one read of it waits here.
- The carrier's end is clean only behind the peer's close_notify, else it is `Truncated`.

Not here: what the user sees (tls.py).
"""

from __future__ import annotations

import ssl
import sys

from ..base.buffer import READ_SIZE, TURN_BYTES
from ..base.errors import Deadline, TLSError, Truncated
from ..base.handle import FINISHING
from ..base.handle import OPEN as IN_USE
from ..base.poller import CAN_READ
from ..base.stream import BROKEN, UP, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from ..base.buffer import Data
    from ..base.timer import Timer
    from .tls import TLSSocket

WAITING, SHAKING, OPEN, LEAVING = range(4)

_LEAVES_ERRORS = sys.implementation.name == "pypy"

PIECE = 65536  # clear bytes encrypted at a time: four records, one send

# What OpenSSL calls it: what it most likely means.
_MEANINGS = {
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS",
    "HTTP_REQUEST": "the peer sent plain HTTP",
    "HTTPS_PROXY_REQUEST": "the peer sent plain HTTP",
    "UNSUPPORTED_PROTOCOL": "no TLS version in common",
    "VERSION_TOO_LOW": "no TLS version in common",
    "NO_PROTOCOLS_AVAILABLE": "no TLS version in common",
    "TLSV1_ALERT_PROTOCOL_VERSION": "no TLS version in common",
    "NO_SHARED_CIPHER": "no cipher in common",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer refused the handshake (no cipher in common, or a client certificate is missing)",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer sent no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer wants a client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not trust our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer refused our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer says our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer refused our certificate",
    "TLSV1_UNRECOGNIZED_NAME": "the peer does not know that server name",
}


class Engine:
    """One TLS connection. `tls`: the SSLObject. `shaken`: the handshake is done. ValueError: see TLSSocket.connect."""

    def __init__(
        self, owner: TLSSocket, carrier: Stream, context: ssl.SSLContext, server_side: bool, name: Optional[str], session: Any
    ) -> None:
        if context.check_hostname and not server_side and name is None:  # wrap_bio would check no name at all
            raise ValueError("whom must the certificate name? Give server_hostname, or a context with check_hostname = False")
        self.owner = owner
        self.carrier = carrier
        self.shaken = False
        self._state = WAITING
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side,
                                    server_hostname=None if server_side else name, session=session)
        self._ended = False  # the carrier's input is
        self._over = False  # the peer's close_notify is here
        self._held = b""  # clear text read too early
        self._failed: Optional[TLSError] = None  # told when what came before it is read
        self._alerted = False  # the peer is being told why
        self._farewell: Optional[Timer] = None

    # for the owner

    @property
    def readable(self) -> bool:
        """Whether reading may give something without the carrier bringing more."""
        return bool(self._incoming.pending or self._held or self._over or self._ended or self._failed
                    or (self.shaken and self.tls.pending()))

    @property
    def left(self) -> bool:
        """Whether our close_notify is out, behind everything."""
        return self._state == LEAVING

    @property
    def room(self) -> int:
        """Bytes that the carrier may have queued until high water."""
        return self.owner.high_water - self.carrier.queued

    def await_room(self) -> None:
        """Has the carrier tell, by `on_drain`, when it is down to the owner's low water."""
        self.carrier.low_water = self.owner.low_water
        self.carrier._drain_due = True

    def start(self) -> None:
        """The carrier is connected: shakes hands."""
        self._state = SHAKING
        self._shake()

    def read_on(self, wanted: bool) -> None:
        """Has the carrier read while that is wanted here, or needed for the handshake or the farewell."""
        paused = not wanted and self._state == OPEN
        if self.carrier._paused is not paused and self.carrier._phase == IN_USE:
            self.carrier._paused = paused
            self.carrier._update()

    def pump(self) -> None:
        """Has the owner read for as long as there is something."""
        owner = self.owner
        while owner._reader is not None and self.readable:
            owner._reader(CAN_READ)
        self._ship()  # what reading has OpenSSL answer: a KeyUpdate, the refusal to renegotiate

    def leave(self) -> None:
        """Everything is encrypted: says close_notify, and waits for the peer's end within the owner's close_timeout."""
        if self._state == LEAVING:
            return
        self._say_goodbye()
        self._linger()

    def let_go(self) -> None:
        """The owner closes. The carrier goes too, unless it is on its way, or is to tell the peer what was wrong."""
        carrier, loop = self.carrier, self.carrier.loop
        if loop._forked:  # in a child: the descriptor only
            carrier._free()
        elif self._alerted and carrier._link == UP and self._state != LEAVING and not loop._closed:
            self._linger()
        elif self._state != LEAVING or carrier._phase == IN_USE:
            self._stop_farewell()
            carrier.abort()
            if loop._closed:  # it may not come to it any more
                carrier._free()

    # the owner's socket

    def recv(self, size: int) -> bytes:
        """Clear text; b"": a clean end."""
        if self._held:
            held, self._held = self._held, b""
            return held
        data: bytes = self._read(size)
        if self._incoming.pending and data:
            pieces, total = [data], len(data)
            while total < size and self._incoming.pending:
                more = self._read_more(size - total)
                if not more:
                    break
                pieces.append(more)
                total += len(more)
            data = b"".join(pieces)
        return data

    def recv_into(self, buffer: bytearray) -> int:
        """Clear text into `buffer`; the number of bytes, 0: a clean end."""
        if self._held:
            size = min(len(self._held), len(buffer))
            buffer[:size] = self._held[:size]
            self._held = self._held[size:]
            return size
        total: int = self._read(len(buffer), buffer)
        if self._incoming.pending and total:
            with memoryview(buffer) as room:
                while total < len(room) and self._incoming.pending:
                    with room[total:] as rest:
                        size = self._read_more(len(rest), rest)
                    if not size:
                        break
                    total += size
        return total

    def send(self, data: Data) -> int:
        """Encrypts what there is room for; the number of bytes."""
        return self.sendmsg((data,))

    def sendmsg(self, parts: Any) -> int:
        """As `send`, of several parts."""
        total = 0
        room = self.room
        for part in parts:
            size = len(part)
            if size <= PIECE and room >= size:
                room -= self._encrypt(part) if size else 0
                total += size
                continue
            at = 0
            with memoryview(part) as view:
                while at < size and total < TURN_BYTES:
                    if room <= 0:
                        self._ship()
                        room = self.room
                        if room <= 0:
                            break
                    with view[at:at + min(PIECE, max(room, 16384))] as piece:
                        taken = self._encrypt(piece)
                    at += taken
                    total += taken
                    room -= taken
            if at < size:
                break
        self._ship()
        if self.room <= 0:
            self.await_room()
            if not total:
                raise BlockingIOError
        return total

    def shutdown(self, how: int) -> None:
        """Half-closes: close_notify goes out."""
        self._say_goodbye()

    def close(self) -> None:
        """The owner's `let_go` does it, but not for one that is collected unclosed."""
        if self.owner._phase < FINISHING and self.carrier.sock is not None:
            self.carrier.sock.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.carrier.sock, name)  # family, getsockname, ...

    # the carrier's sink

    def on_bytes(self, data: bytes) -> None:
        """The carrier read `data`."""
        self._incoming.write(data)
        if self._state == SHAKING:
            self._shake()
        if self._state == LEAVING:
            self._discard()
        else:
            self.pump()

    def on_end(self) -> None:
        """The carrier's input has ended."""
        self._ended = True
        if self._state == SHAKING:
            self._fail(Truncated("%s closed the connection during the TLS handshake" % self._whom()))
        elif self._state == LEAVING:
            self.carrier.close()
        else:
            self.pump()

    def on_drain(self) -> None:
        """The carrier is down to low water."""
        if self._state != LEAVING:
            self.owner._room()

    def on_error(self, exc: OSError) -> None:
        """The carrier failed. What the peer had sent before comes first: it may say why."""
        if self._state in (SHAKING, OPEN):
            self._read_out()
        if self._state == SHAKING:
            failure = TLSError("%s broke the connection during the TLS handshake: %s" % (self._whom(), exc.strerror or exc))
            failure.errno, failure.__cause__ = exc.errno, exc
            failure.reason = "connection lost"
            exc = failure
        self.owner._stop_handshake_timer()
        if self._state != LEAVING or self.carrier.queued:
            self.owner._break(exc)

    def on_close(self) -> None:
        """The carrier is closed."""
        self._stop_farewell()
        if self.owner._link != BROKEN:  # else on_error is on its way
            self.owner._finish()

    def _read_out(self) -> None:
        """Takes what the broken carrier still has. Its end is none: nobody knows what was lost."""
        recv = self.carrier._recv
        try:
            data = recv(READ_SIZE)
            while data:
                self.on_bytes(data)
                data = recv(READ_SIZE) if self.owner._reader is not None else b""
        except OSError:  # there is no more
            pass

    # handshake

    def _shake(self) -> None:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._ship()
        except (ssl.SSLError, ValueError) as exc:  # ValueError: a name that is none
            self._fail(self._failure(exc))
        else:
            self.shaken = True
            self._state = OPEN
            self._ship()
            self.owner._handshaken()

    def _fail(self, failure: TLSError) -> None:
        """Tells the peer, if there is something to tell it, and the owner."""
        self._alerted = self._outgoing.pending > 0
        self._ship()
        self.owner._stop_handshake_timer()
        self.owner._break(failure)

    def _failure(self, exc: Exception) -> TLSError:
        """OpenSSL's error in words."""
        self._clear_errors()
        code = getattr(exc, "reason", None) or ""
        verdict = getattr(exc, "verify_message", "")
        reason = verdict or _MEANINGS.get(code) or code.replace("_", " ").lower() or str(exc)
        if verdict:
            text = "the certificate of %s was refused: %s" % (self._whom(), verdict)
        elif self._state == SHAKING:
            text = "TLS handshake with %s failed: %s" % (self._whom(), reason)
        else:
            text = "TLS with %s failed: %s" % (self._whom(), reason)
        failure = TLSError(text)
        failure.reason = reason
        failure.__cause__ = exc
        return failure

    def _clear_errors(self) -> None:
        """PyPy leaves an error where all connections of the thread look for theirs, unless a new one is made."""
        if _LEAVES_ERRORS:
            self.tls.context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=self.tls.server_side)

    def _whom(self) -> str:
        name = self.owner.server_hostname
        return name if name and not self.tls.server_side else "the peer"

    # records

    def _read(self, size: int, *into: Any) -> Any:
        """As SSLObject.read: bytes, or their number; b"" or 0: a clean end. BlockingIOError: nothing for now."""
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed
        try:
            data = self.tls.read(size, *into)
            if not data:
                self._over = True
            return data
        except ssl.SSLWantReadError:
            if self._ended:
                failure = Truncated("%s closed the connection without TLS close_notify: it may be cut short" % self._whom())
                failure.reason = "no close_notify"
                raise failure from None
            raise BlockingIOError from None
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLError as exc:
            self._clear_errors()
            if exc.reason != "PROTOCOL_IS_SHUTDOWN":  # PyPy's word for the above
                failure_ = self._failure(exc)
                self._alerted = self._outgoing.pending > 0
                self._ship()
                raise failure_ from exc
        self._over = True
        return 0 if into else b""

    def _read_more(self, size: int, *into: Any) -> Any:
        """As `_read`, behind something that was read: what is wrong is kept for the next time."""
        try:
            return self._read(size, *into)
        except BlockingIOError:
            pass
        except TLSError as exc:
            self._failed = exc
        return 0 if into else b""

    def _encrypt(self, data: Data) -> int:
        try:
            return int(self.tls.write(data))
        except ssl.SSLError as exc:
            raise self._failure(exc) from exc

    def _ship(self) -> None:
        """Hands what is encrypted to the carrier."""
        if self._outgoing.pending:
            data = self._outgoing.read()
            if self.carrier._phase == IN_USE:
                self.carrier._write(data, None, False)

    # the end

    def _say_goodbye(self) -> None:
        """close_notify. What the peer sent before must be out of OpenSSL's hands, or it would count as an error."""
        if self._state == OPEN:
            held = [self._held]
            while self._incoming.pending or self.tls.pending():
                data = self._read_more(READ_SIZE)
                if not data:
                    break
                held.append(data)
            self._held = b"".join(held)
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:  # the peer's is not here yet
            pass
        except ssl.SSLError:  # it went before, or is shut down already
            self._clear_errors()
        self._ship()

    def _linger(self) -> None:
        """Our side is shut; what still comes is dropped, until the peer's end or the deadline."""
        self._state = LEAVING
        carrier = self.carrier
        if carrier._phase != IN_USE:
            return
        if self.owner._ended or self._ended:
            carrier.close_timeout = self.owner.close_timeout
            carrier.close()
            return
        if self.owner._phase >= FINISHING:
            carrier._activate()  # nobody else holds it now
        carrier.shutdown()
        self.read_on(True)
        if self.owner.close_timeout is not None:
            self._farewell = carrier.loop.call_later(self.owner.close_timeout, self._farewell_due)
        self._discard()

    def _discard(self) -> None:
        """Drops what comes behind our close_notify, and looks for the peer's."""
        try:
            while self._read(READ_SIZE):
                pass
        except BlockingIOError:
            return
        except TLSError:  # whatever it was, the connection is over
            pass
        if self.carrier._phase == IN_USE:
            self.carrier.close()

    def _farewell_due(self) -> None:
        """The peer takes its time: it has more, as long as it takes something."""
        carrier, limit = self.carrier, self.owner.close_timeout or 0.0
        self._farewell = None
        rest = carrier._last_taken() + limit - carrier.loop.now if carrier.queued else 0.0
        if rest > 0:
            self._farewell = carrier.loop.call_later(rest, self._farewell_due)
        elif carrier.queued:
            self.owner._break(Deadline("close: %d bytes not taken by the peer within %g s" % (carrier.queued, limit)))
            carrier.abort()
        else:
            carrier.close()

    def _stop_farewell(self) -> None:
        if self._farewell is not None:
            self._farewell.abort()
            self._farewell = None
