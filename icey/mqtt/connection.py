"""MqttConnection: one connection of a client to its broker: the stream's protocol and the core's observer.

    in     stream -> on_bytes -> core.feed -> on_publish, on_puback, ... -> the client
    out    put -> flush, once a turn -> stream.write

DIALING -> ASKING (CONNECT is out) -> UP (the broker accepted) -> PARTING (DISCONNECT is out) -> GONE; GONE from anywhere.

Rules
- All that is put in one turn goes out in one send, or in several of MOST_GATHERED bytes.
- A ping goes out when nothing was sent, or nothing came, for three quarters of keep_alive. The broker is given up, within
  1.5 x keep_alive, where nothing comes for QUIET x keep_alive and the ping has reached it. It is not blamed while reading is
  held, nor while it takes what the ping waits behind. What has come is looked at first, and time in which a slot held the loop
  does not count (Watchdog).
- A broker that sends on and on, and takes none of the PUBACKs, is read no more while max_queue bytes are queued for it.
- DISCONNECT is the last that goes out; then our side is shut, and the broker's end is awaited (LingeringClose): a close with
  input unread could take the DISCONNECT from the broker, and it would publish the will.

Not here: which messages go when, and what follows where this ends (client.py).
"""

from __future__ import annotations

from ..base.errors import Deadline, NetError, PeerClosed
from ..base.lazy import left_out
from ..base.lingering import LingeringClose
from ..base.state import transitions, watch_states
from ..base.streamprotocol import StreamProtocol
from ..base.watchdog import Watchdog
from ..net.tcp import TCPSocket
from . import packets
from .core import REASONS, MqttCore, MqttObserver
from .errors import MqttError, MqttRefused

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional

    from ..base.timer import Timer
    from .client import Client

DIALING, ASKING, UP, PARTING, GONE = range(5)
LINKS = transitions({DIALING: (ASKING, GONE), ASKING: (UP, GONE), UP: (PARTING, GONE), PARTING: (GONE,), GONE: ()},
                    names=("DIALING", "ASKING", "UP", "PARTING", "GONE"))

MOST_GATHERED = 65536  # bytes of a turn's packets, before they go out
BURST = 1024  # packets that are taken in a turn: others are served in between
PING_AFTER, QUIET = 0.75, 1.4  # of keep_alive


class MqttConnection(StreamProtocol, MqttObserver):
    """A connection of `client`, which is begun at once by `dial`.

    `link`: its state. `core`: its MqttCore. `stream`: its TCPSocket or TLSSocket. `gathered`: bytes that go out at the end of
    this turn. `held`: nothing is read. `number`: 1 for the client's first connection, and so on. `unsent`: at its end something
    had not gone out.
    """

    __slots__ = (
        "client", "core", "stream", "link", "gathered", "held", "number", "unsent", "_out", "_dones", "_due", "_pending",
        "_ended", "_asked", "_behind", "_came", "_sent", "_since", "_taken", "_timer", "_watchdog", "_most", "_choked",
    )

    STATES = {"link": LINKS}

    def __init__(self, client: Client, number: int) -> None:
        self.client: Client = client
        self.number: int = number
        self.core: MqttCore = MqttCore(self, max_message=client.limits.max_message)
        self.core.burst = BURST
        self.stream: Any = None
        self.link: int = DIALING
        self.gathered: int = 0
        self.held: bool = False
        self.unsent: bool = False
        self._out: List[Any] = []
        self._dones: List[Callable[[], Any]] = []  # of the messages of QoS 0 among these
        self._due = False  # a flush is to come
        self._pending = b""  # bytes that were read, and wait
        self._ended = False  # the broker's end was read, and waits behind them
        self._choked = False  # nothing is read before the broker takes what is queued for it
        self._asked = False  # a ping is out, and nothing has come since
        self._behind = False  # it waits behind something that the broker had still to take, when that was looked at last
        self._came = self._sent = self._since = client.loop.now
        self._taken = 0.0  # until when what the broker took of ours is known, since the ping
        self._timer: Optional[Timer] = None
        self._watchdog = Watchdog(client.loop, self._late_at, self._late, self._look)
        self._most = max(1, min(MOST_GATHERED, client.limits.high_water))
        if client.loop.debug:
            watch_states(self)
            watch_states(self.core)

    # for the client

    def dial(self) -> None:
        """Begins to connect: names, addresses, TLS, then CONNECT and its answer. The client is told how that ends."""
        client = self.client
        broker, limits = client.broker, client.limits
        if broker.secure:
            name = broker.host.partition("%")[0].rstrip(".")
            made = tls_parts()[0](client.loop, context=client.tls, server_hostname=name)
            made.handshake_timeout = limits.handshake_timeout
        else:
            made = TCPSocket(client.loop)
        stream = self.stream = made
        stream.high_water, stream.low_water, stream.close_timeout = limits.high_water, limits.low_water, limits.close_timeout
        stream.max_queue = None  # the client bounds what it gives
        stream.unref()  # the client decides whether the loop runs on
        stream.connect(broker.address, timeout=limits.connect_timeout)
        stream.use_protocol(self)
        stream.on_connect += self._connected

    def put(self, made: Any, done: Any = None) -> None:
        """A packet, bytes or a list of its parts, goes out at the end of this turn. done: called when the kernel has it."""
        out = self._out
        if type(made) is bytes:
            out.append(made)
            self.gathered += len(made)
        else:
            out += made
            self.gathered += sum(map(len, made))
        if done is not None:
            self._dones.append(done)
        if self.gathered >= self._most:
            self.flush()
        elif not self._due:
            self.wake()

    def wake(self) -> None:
        """Has the client's `pump` called, and what was put go out, from the loop."""
        if not self._due:
            self._due = True
            self.client.loop.soon(self._turn_over)

    def flush(self) -> None:
        """Sends what was put."""
        out, stream = self._out, self.stream
        if out:
            dones, size = self._dones, self.gathered
            self._out, self._dones, self.gathered = [], [], 0
            if stream is not None and not stream.phase:
                self._sent = stream.loop.now
                stream.write(_joined(out, size), self._told(dones) if dones else None, False)

    def _told(self, dones: List[Callable[[], Any]]) -> Callable[[], None]:
        """One `done` for all of these, each guarded as the client's slots are."""
        call = self.client.call

        def all_done() -> None:
            for done in dones:
                call(done)

        return all_done

    def say_goodbye(self) -> None:
        """Sends DISCONNECT behind what was put, and ends when the broker has; the client is told by `parted`."""
        self.put(self.core.disconnect())
        self.flush()
        self.link = PARTING
        self._stop()
        stream, limits = self.stream, self.client.limits
        LingeringClose(stream, limits.close_timeout, self._parted, write_timeout=limits.close_timeout)

    def drop(self) -> None:
        """Gives the connection up: the broker sees a reset. The client is told nothing any more."""
        stream, self.stream = self.stream, None
        parting = self.link == PARTING
        self.link = GONE
        self._stop()
        if stream is not None:
            if not parting:  # else LingeringClose is told of the end
                stream.use_protocol(StreamProtocol())
            stream.abort()
        self.core.disconnect()  # it takes nothing more of what is being fed
        self.core.observer = MqttObserver()  # breaks the cycle connection -> core -> connection

    def hold(self, held: bool) -> None:
        """Reads no more, or reads on; what was read before comes first, from the loop."""
        if held is not self.held:
            self.held = self.core.held = held
            if held:
                self.stream.hold(True)
            else:
                self._asked = False  # the answer may be among what was not read
                self.client.loop.soon(self._go_on)

    # connecting

    def _connected(self, stream: TCPSocket) -> None:
        client = self.client
        stream.set_no_delay()
        self.link = ASKING
        self._came = self._since = client.loop.now
        self.put(self.core.connect(
            client.client_id, clean=client.clean, keep_alive=client.whole_keep_alive, will=client.will, user=client.broker.user,
            password=client.broker.password))
        self.flush()
        self._watchdog.watch()

    def on_connack(self, present: bool, code: int) -> None:
        """The broker has answered CONNECT."""
        if code:
            self._lose(MqttRefused(code, "the broker refused the connection: %s (return code %d)" % (REASONS[code], code)))
            return
        self.link = UP
        self._watchdog.stop()
        self._beat()
        self.client.accepted(present)

    # in

    def on_bytes(self, data: bytes) -> None:
        """The stream read `data`."""
        self._came = self.stream.loop.now
        self._asked = False
        if self._pending:
            data, self._pending = self._pending + data, b""
        self._due = True  # what slots publish goes out below
        try:
            used = self.core.feed(data)
        except MqttError as exc:
            exc.__traceback__ = None  # its frames would keep the bytes alive
            self._lose(exc)
            return
        except BaseException:  # a KeyboardInterrupt in a slot passes through; the place in the packet is lost
            self._lose(NetError("an interrupt in a slot: the place in what the broker sent is lost"))
            raise
        finally:
            self._due = False
        if self.stream is None:  # a slot has ended it
            return
        if used < len(data):
            self._pending = data[used:]
            if not self.held:  # a burst was taken: the rest has to wait, and so does what is not read yet
                self.stream.hold(True)
                self.stream.loop.soon(self._go_on)
        self._turn_over()
        most = self.client.limits.max_queue
        if most is not None and self.link == UP and self.stream.queued > most:
            self._choked = True
            self.stream.want_drain()
            self.stream.hold(True)

    def _go_on(self) -> None:
        stream = self.stream
        if stream is None or self.held or self.link == PARTING:
            return
        if self._pending:
            self.on_bytes(b"")
            if self._pending or self.stream is None:  # there is another burst in it, or a slot has paused
                return
        if self._ended:
            self.on_end()
        else:
            stream.hold(self.held or self._choked)

    def on_publish(self, topic: str, payload: memoryview, first: int, ident: int) -> None:
        """A message."""
        if self.client.deliver(topic, payload, first, ident) and ident and self.link == UP:
            self.put(packets.puback(ident))

    def on_puback(self, ident: int) -> None:
        """A message has arrived."""
        self.client.acknowledged(ident)

    def on_suback(self, ident: int, codes: bytes) -> None:
        """Subscriptions were granted, or refused."""
        self.client.granted(ident, codes)

    def on_unsuback(self, ident: int) -> None:
        """Subscriptions have ended."""
        self.client.ended(ident)

    # called by the stream

    def on_end(self) -> None:
        """The broker sends no more."""
        if self.held or self._pending:
            self._ended = True
        else:
            self._lose(PeerClosed("the broker closed the connection"
                                  + (" before it answered CONNECT" if self.link == ASKING else "")))

    def on_drain(self) -> None:
        """The write queue is down to low water."""
        if self._choked:
            self._choked = False
            self._go_on()
        if self.link == UP:
            self.client.pump()

    def on_error(self, exc: OSError) -> None:
        """The transport failed; what was read before is told first."""
        if self._pending and not self.held:
            self.core.burst = 0
            self.on_bytes(b"")
            if self.stream is not None and not self.held:
                self.stream.hold(False)
                self.stream.read_last()
        if self.stream is not None:
            self._lose(exc)

    def on_close(self) -> None:
        """The stream was closed from elsewhere."""
        if self.stream is not None:
            self._lose(NetError("the connection was closed"))

    # the end

    def _turn_over(self) -> None:
        """The end of a turn, or of what one read brought: what was put goes out."""
        self._due = True
        try:
            self.flush()
            if self.link == UP:
                self.client.pump()
                self.flush()
        except BaseException:  # a KeyboardInterrupt in a slot passes through; what it cut short goes on
            self._due = False
            self.wake()
            raise
        self._due = False
        if self.link == UP and self.client.goes_on:
            self.wake()

    def _lose(self, exc: Exception) -> None:
        """The connection is over: the client is told why."""
        client, link = self.client, self.link
        if link != GONE:
            self.unsent = bool(self.gathered or self.stream.unsent)
            self.drop()
            client.lost(exc)

    def _parted(self) -> None:
        self.link = GONE
        self.stream = None
        self.core.observer = MqttObserver()
        if not self.client.closed:
            self.client.parted()

    def _stop(self) -> None:
        """Ends the timers, and what waits for a turn."""
        self._watchdog.release()
        if self._timer is not None:
            self._timer.abort()
            self._timer = None
        self._out, self._dones, self._pending, self.gathered = [], [], b"", 0

    # the broker's silence

    def _beat(self) -> None:
        """Sends a ping where one is due, and comes again when the next one may be."""
        keep_alive, loop, stream = self.client.keep_alive, self.client.loop, self.stream
        if not keep_alive or self.link != UP:
            return
        now, rest = loop.now, PING_AFTER * keep_alive
        due = min(self._came, self._sent) + rest
        if due <= now:
            due = now + rest
            if not self._asked:
                stream.last_taken()  # from here on the system's word is compared
                self._asked, self._behind = True, bool(stream.outstanding or self._out)
                self._since, self._taken = max(self._came, now - rest), now
                self._watchdog.watch()
            self.put(packets.PING)
        self._timer = loop.call_later(due - now, self._beat)
        self._timer.unref()

    def _late_at(self) -> Optional[float]:
        """When the broker has been silent for too long: after CONNECT, or after a ping."""
        if self.link == ASKING:
            limit = self.client.limits.handshake_timeout
            return None if limit is None else self._since + limit
        if self.link == UP and self._asked:
            heard: float = self.stream.last_heard()
            return max(self._since, heard) + QUIET * self.client.keep_alive
        return None

    def _look(self) -> None:
        """Before the broker is given up: reads what may be here, and forgives what is not its fault."""
        if self.held:
            self._asked = False
            return
        stream = self.stream
        stream.look()
        if self.stream is not None and self._asked and self._behind:
            taken = stream.last_taken()
            if taken > self._taken:  # and not what it took before the ping
                self._since = self._taken = taken
                self._behind = stream.outstanding

    def _late(self) -> None:
        if self.link == ASKING:
            self._lose(Deadline("the broker did not answer CONNECT within %g s" % (self.client.limits.handshake_timeout or 0)))
        else:
            self._lose(Deadline("the broker was silent for %g x keep_alive of %g s" % (QUIET, self.client.keep_alive)))


def _joined(out: List[Any], size: int) -> Any:
    """Packets as one send: one piece of memory, or where some are large a list in which the small ones are joined."""
    if len(out) == 1:
        return out[0]
    if size < MOST_GATHERED + packets.LARGE:
        return b"".join(out)
    parts: List[Any] = []
    small: List[bytes] = []
    for part in out:
        if len(part) < packets.LARGE:
            small.append(part)
        else:
            parts += (b"".join(small), part)
            small = []
    return [*parts, b"".join(small)]


def tls_parts() -> Any:
    """TLSSocket and client_context; NetError where Python has no ssl."""
    try:
        from ..net.tls import TLSSocket, client_context
    except ModuleNotFoundError as exc:
        if exc.name in ("ssl", "_ssl"):
            raise NetError("mqtts needs Python's ssl module, which is missing here") from exc
        raise ModuleNotFoundError(left_out(exc, "net.tls", "tls"), name=exc.name) from None
    return TLSSocket, client_context
