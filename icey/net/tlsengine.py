"""Engine (optional: needs `ssl`): stands between a TLSSocket, its owner, and the stream that carries TLS, its carrier.

For the owner the engine is a socket: recv, recv_into, send, sendmsg, shutdown, close. For the carrier it is a StreamProtocol.
Inside is an ssl.SSLObject over two memory BIOs, so any stream can carry TLS, another TLSSocket too.

    WAITING    the carrier connects
    SHAKING    the handshake
    OPEN       records go both ways
    LEAVING    our close_notify is out, and the peer's end is awaited

Rules
- Clear text is encrypted, in records of at most 16 KiB, only while the carrier has less than high water queued: until then
  the clear text stays the caller's.
- The carrier reads while the owner reads (and for the handshake); at most one read of the carrier waits here.
- The end of the carrier's input is clean only behind the peer's close_notify, else it is `Truncated`.

The engine calls its owner by `handshaken`, `room_made` and what every stream has: `fail`, `finish`, `reader`.

Not here: what the user sees (tls.py). LingeringClose (base/lingering.py) would not do for the end of a TLS connection: that
waits for a record, the peer's close_notify, not for the end of the carrier's input, and what comes must be decrypted to see it.
"""

from __future__ import annotations

import ssl
import sys

from ..base.buffer import TURN_BYTES
from ..base.errors import Deadline, TLSError, Truncated
from ..base.handle import CLOSED, FINISHING, OPEN as IN_USE
from ..base.poller import CAN_READ
from ..base.state import transitions, watch_states
from ..base.stream import BROKEN, UP, Stream
from ..base.streamprotocol import StreamProtocol
from ..base.watchdog import Watchdog

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Optional, Union

    from ..base.buffer import Data
    from .tls import TLSSocket

WAITING, SHAKING, OPEN, LEAVING = range(4)
MOVES = transitions({WAITING: (SHAKING,), SHAKING: (OPEN, LEAVING), OPEN: (LEAVING,), LEAVING: ()},
                    names=("WAITING", "SHAKING", "OPEN", "LEAVING"))

_LEAVES_ERRORS = sys.implementation.name == "pypy"

RECORD = 16384  # clear bytes of one at most: a read brings no more, and asked for more it would allocate that first
PIECE = 65536  # clear bytes encrypted at a time: four records, one send

_RENEGOTIATION = "renegotiation"

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
    _RENEGOTIATION: "the peer wanted to renegotiate (as servers do to ask for a client certificate), which is refused",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer sent no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer wants a client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not trust our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer refused our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer says our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer refused our certificate",
    "TLSV1_UNRECOGNIZED_NAME": "the peer does not know that server name",
}


class Engine(StreamProtocol):
    """One TLS connection. ValueError: see TLSSocket.connect.

    `owner`: the TLSSocket. `carrier`: the stream below. `tls`: the SSLObject. `shaken`: whether the handshake is done.
    `heard_at`: when the carrier last read something, in the loop's time.
    """

    __slots__ = (
        "owner", "carrier", "tls", "shaken", "heard_at", "_state", "_incoming", "_outgoing", "_ended", "_over", "_held",
        "_split", "_failed", "_alerted", "_left_at", "_farewell",
    )

    STATES = {"_state": MOVES}

    def __init__(
        self, owner: TLSSocket, carrier: Stream, context: ssl.SSLContext, server_side: bool, name: Optional[str], session: Any
    ) -> None:
        if context.check_hostname and not server_side and name is None:  # wrap_bio would check no name at all
            raise ValueError("whom must the certificate name? Give server_hostname, or a context with check_hostname = False")
        self.owner: TLSSocket = owner
        self.carrier: Stream = carrier
        self.shaken: bool = False
        self.heard_at: float = 0.0
        self._state = WAITING
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls: ssl.SSLObject = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side,
                                    server_hostname=None if server_side else name, session=session)
        self._ended = False  # the carrier's input is
        self._over = False  # the peer's close_notify is here
        self._held = b""  # clear text read too early
        self._split = False  # a read asked for less than a record: OpenSSL may have the rest of it
        self._failed: Optional[TLSError] = None  # told when what came before it is read
        self._alerted = False  # the peer is being told why
        self._left_at = 0.0  # when LEAVING began, in the loop's time
        self._farewell: Optional[Watchdog] = None  # over the wait for the peer's end
        if owner.loop.debug:
            watch_states(self)

    # for the owner

    @property
    def readable(self) -> bool:
        """Whether reading may give something without the carrier bringing more."""
        return bool(self._incoming.pending or self._held or self._over or self._ended or self._failed
                    or (self._split and self.tls.pending()))

    @property
    def left(self) -> bool:
        """Whether our close_notify is out, behind all data."""
        return self._state == LEAVING

    @property
    def room(self) -> int:
        """Bytes that the carrier may have queued until high water."""
        return self.owner.high_water - self.carrier.queued

    def await_room(self) -> None:
        """Has the carrier tell, by `on_drain`, when it is down to the owner's low water."""
        self.carrier.low_water = self.owner.low_water
        self.carrier.want_drain()

    def start(self) -> None:
        """The carrier is connected: shakes hands."""
        self._state = SHAKING
        self._shake()
        self._ship()

    def read_on(self, wanted: bool) -> None:
        """Has the carrier read while the owner wants to read, and for the handshake and the farewell."""
        self.carrier.hold(not wanted and self._state == OPEN)

    def pump(self) -> None:
        """Has the owner read until nothing is left."""
        owner = self.owner
        while owner.reader is not None and self.readable:
            owner.reader(CAN_READ)
        self._ship()  # what reading has OpenSSL answer: a KeyUpdate, the refusal to renegotiate

    def leave(self) -> None:
        """All data is encrypted: sends close_notify, and waits for the peer's end within the owner's close_timeout."""
        if self._state == LEAVING:
            return
        self._say_goodbye()
        self._linger()

    def let_go(self) -> None:
        """The owner closes. The carrier closes too, unless it is closing already, or is to tell the peer what was wrong."""
        carrier, loop = self.carrier, self.carrier.loop
        if loop.forked:  # in a child: the descriptor only
            carrier.free()
        elif self._alerted and carrier.link == UP and self._state != LEAVING and not loop.closed:
            self._linger()
        elif self._state != LEAVING or carrier.phase == IN_USE:
            self._stop_farewell()
            carrier.complete = self.owner.complete
            carrier.finish()
            if loop.closed:  # it may not come to it any more
                carrier.free()

    # the owner's socket

    def recv(self, size: int) -> bytes:
        """Clear text; b"": a clean end."""
        if self._held:
            held, self._held = self._held, b""
            return held
        data: bytes = self._read(RECORD if size > RECORD else size)
        if self._incoming.pending and data:
            pieces, total = [data], len(data)
            while total < size and self._incoming.pending:
                more = self._read_more(min(size - total, RECORD))
                if not more:
                    break
                pieces.append(more)
                total += len(more)
            data = b"".join(pieces)
        return data

    def recv_into(self, buffer: Union[bytearray, memoryview]) -> int:
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
        carrier, size = self.carrier, len(data)
        if carrier.queue is not None or not 0 < size <= PIECE or size > self.owner.high_water:
            return self.sendmsg((data,))
        self._encrypt(data)
        self._ship()
        if carrier.queue is not None and self.room <= 0:
            self.await_room()
        return size

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
        if self.owner.phase < FINISHING and self.carrier.sock is not None:
            self.carrier.sock.close()

    # what is asked of a socket beside: the carrier's. Not by __getattr__, which would make every look at an attribute slow

    @property
    def family(self) -> Any:
        """As of the carrier's socket."""
        return self.carrier.sock.family

    @property
    def type(self) -> Any:
        """As of the carrier's socket."""
        return self.carrier.sock.type

    @property
    def proto(self) -> Any:
        """As of the carrier's socket."""
        return self.carrier.sock.proto

    def fileno(self) -> int:
        """The descriptor of the carrier's socket."""
        return int(self.carrier.sock.fileno())

    def getsockname(self) -> Any:
        """As of the carrier's socket."""
        return self.carrier.sock.getsockname()

    def getpeername(self) -> Any:
        """As of the carrier's socket."""
        return self.carrier.sock.getpeername()

    def getsockopt(self, *option: Any) -> Any:
        """As of the carrier's socket."""
        return self.carrier.sock.getsockopt(*option)

    def setsockopt(self, *option: Any) -> None:
        """As of the carrier's socket."""
        self.carrier.sock.setsockopt(*option)

    # the carrier's protocol

    def on_bytes(self, data: bytes) -> None:
        """The carrier read `data`."""
        self._incoming.write(data)
        self.heard_at = self.carrier.loop.now
        if self._state == OPEN:
            self.pump()
            return
        try:
            if self._state == SHAKING:
                self._shake()
            if self._state == LEAVING:
                self._discard()
            else:
                self.pump()
        finally:  # what ends a handshake goes out behind the first answer, or request: one send
            self._ship()

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
            self.owner.room_made()

    def on_error(self, exc: OSError) -> None:
        """The carrier failed. What the peer had sent before was told first: it may say why."""
        if self._state == SHAKING:
            failure = TLSError("%s broke the connection during the TLS handshake: %s" % (self._whom(), exc.strerror or exc))
            failure.errno, failure.__cause__ = exc.errno, exc
            failure.reason = "connection lost"
            exc = failure
        if self._state != LEAVING or self.carrier.queued:
            self.owner.fail(exc)

    def on_close(self) -> None:
        """The carrier is closed."""
        self._stop_farewell()
        if self.owner.link != BROKEN:  # else on_error is on its way
            self.owner.finish()
        self.part_ways()

    def part_ways(self) -> None:
        """Both are closed: two that hold each other would live until the garbage collector comes."""
        if self.carrier.phase == CLOSED and self.owner.phase == CLOSED:
            del self.owner

    # handshake

    def _shake(self) -> None:
        """Goes on with the handshake. What its end has to say is left for the caller to ship."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._ship()
        except (ssl.SSLError, ValueError) as exc:  # ValueError: a name that is none
            self._fail(self._failure(exc))
        else:
            self.shaken = True
            self._state = OPEN
            self.owner.handshaken()

    def _fail(self, failure: TLSError) -> None:
        """Tells the peer, if there is something to tell it, and the owner."""
        self._alerted = self._outgoing.pending > 0
        self._ship()
        self.owner.fail(failure)

    def _failure(self, exc: Exception) -> TLSError:
        """OpenSSL's error in words."""
        self._clear_errors()
        code = getattr(exc, "reason", None) or ""
        verdict = getattr(exc, "verify_message", "")
        if code == "SSLV3_ALERT_HANDSHAKE_FAILURE" and self.shaken:
            cipher = self.tls.cipher()
            if cipher and not cipher[0].startswith("TLS_"):  # not TLS 1.3, where it may be about a client certificate
                code = _RENEGOTIATION
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
            server = self.tls.server_side  # a client's without a name would be warned of
            self.tls.context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=server,
                                      server_hostname=None if server else "localhost")

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
            self._split = size < RECORD
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
            if self.carrier.phase == IN_USE:
                self.carrier.write(data, None, False)

    # the end

    def _say_goodbye(self) -> None:
        """Sends close_notify. What the peer sent before must be read out first: OpenSSL would take it for an error."""
        if self._state == OPEN:
            held = [self._held]
            while self._incoming.pending or self.tls.pending():
                data = self._read_more(RECORD)
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
        """Shuts our side; what still comes is dropped, until the peer's end or the deadline."""
        self._state = LEAVING
        self._left_at = self.carrier.loop.now
        carrier = self.carrier
        if carrier.phase != IN_USE:
            return
        if self.owner.ended or self._ended:
            carrier.close_timeout = self.owner.close_timeout
            carrier.close()
            return
        if self.owner.phase >= FINISHING:
            carrier.activate()  # nobody else holds it now
        carrier.shutdown()
        self.read_on(True)
        if self.owner.close_timeout is not None:
            self._farewell = Watchdog(carrier.loop, self._farewell_due, self._farewell_late, carrier.look)
            self._farewell.watch()
        self._discard()

    def _discard(self) -> None:
        """Drops what comes behind our close_notify, and looks for the peer's."""
        try:
            while self._read(RECORD):
                pass
        except BlockingIOError:
            return
        except TLSError:  # whatever it was, the connection is over
            pass
        if self.carrier.phase == IN_USE:
            self.carrier.close()

    def _farewell_due(self) -> Optional[float]:
        """The deadline moves on as long as the peer takes something."""
        limit = self.owner.close_timeout
        if limit is None:
            return None
        return max(self._left_at, self.carrier.last_taken() if self.carrier.queued else 0.0) + limit

    def _farewell_late(self) -> None:
        carrier = self.carrier
        if carrier.queued:
            limit = self.owner.close_timeout or 0.0
            self.owner.fail(Deadline("close: %d bytes not taken by the peer within %g s" % (carrier.queued, limit)))
            carrier.abort()
        else:
            carrier.close()

    def _stop_farewell(self) -> None:
        if self._farewell is not None:
            self._farewell.stop()
            self._farewell = None  # it refers to this engine
