"""A client's messages as ends of a PacketStream, so that one goes on in another process, or on another machine.

    Source(client, "cameras/+", qos=1)     each message a MessagePacket, which knows its topic
    Sink(client, "cameras/front", qos=1)   each packet a message

Rules
- A source subscribes from `start()` to `stop()`; `attach_source(source, sync_state=True)` calls both. Its packets are lent, and
  revoked when the chain returns.
- While its PacketStream is paused a source keeps what comes. Messages of QoS 1 are not acknowledged before they went on: the
  broker's own limit of those on their way holds the rest back. Of QoS 0 a few are kept, then the client reads nothing more;
  PUBACKs wait, too: a client that also publishes with QoS 1 had better be another one.
- A message of QoS 1 that makes its PacketStream fail is not acknowledged.
- A lost connection is no end: the source goes on when the client is back. FINAL comes when the client is closed in good
  order; where it ends otherwise the PacketStreams fail, with PeerClosed.
- A sink publishes while its client has room, `max_inflight` messages of QoS 1 and `high_water` bytes, connected or not; then it
  does with packets as `drop` says (packets/feed.py). A topic has no end: behind a FINAL packet nothing is published, and the
  client stays open.

Not here: connections, and when what is published is sent (client.py).
"""

from __future__ import annotations

from collections import deque

from ..base.errors import PeerClosed, StateError
from ..packets.feed import FINAL, Feed
from ..packets.packet import FlagPacket, RawPacket
from ..packets.sources import HeldSource
from ..packets.stream import ERROR
from . import packets
from .client import HELD

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Deque, Tuple

    from ..base.handle import Handle
    from ..packets.packet import Packet
    from .client import Client

KEPT = 64  # messages of QoS 0 that are kept of a stream that is paused, before nothing more is read


class MessagePacket(RawPacket):
    """A RawPacket with the `topic` that it came with; `retained`: the broker had kept it."""

    __slots__ = ("topic", "retained")

    def __init__(self, data: Any, flags: int = 0, topic: str = "", retained: bool = False) -> None:
        super().__init__(data, flags)
        self.topic: str = topic
        self.retained: bool = retained

    def clone(self) -> MessagePacket:
        """As RawPacket.clone, with the same topic."""
        return type(self)(bytes(self.data), self.flags, self.topic, self.retained)


class Source(HeldSource):
    """What comes of the topics that `filter` takes: a packet for each message.

    `client`: as given. `filter`: the filter. `qos`: 0 or 1. `loop`: the client's. ValueError: no such filter.
    """

    emits = MessagePacket

    def __init__(self, client: Client, filter: str, *, qos: int = 0) -> None:
        super().__init__(client.loop)
        packets.topic_filter(filter)
        self.client: Client = client
        self.filter: str = filter
        self.qos: int = packets.service(qos)
        self._started = self._over = self._failed = False
        self._kept: Deque[Tuple[MessagePacket, Any]] = deque()  # packets, each with what acknowledges it
        self._size = 0  # bytes of these

    def start(self) -> None:
        """Subscribes. StateError: the client is closed."""
        self.client.check_thread()
        if self._started:
            return
        if self.client.closing:
            raise StateError("start() of a source whose client is closed", "start it before that")
        self.client.subscribe(self.filter, self._received, qos=self.qos)
        self.client.on_close += self._closed
        self._started, self._over = True, False

    def stop(self) -> None:
        """Ends the subscription. What was kept is forgotten: the broker still has it, where it was of QoS 1."""
        self.client.check_thread()
        if self._started:
            self._started = False
            self._kept.clear()
            self._size = 0
            self.client.let_go(self)
            if not self.client.closing:
                self.client.on_close.detach(self._closed)
                self.client.unsubscribe(self.filter, self._received)

    def on_stream_state(self, state: Any) -> None:
        """As HeldSource.on_stream_state; that a stream failed keeps what made it fail from being acknowledged."""
        self._failed = self._failed or state is ERROR
        super().on_stream_state(state)

    def _received(self, client: Client, topic: str, view: memoryview) -> Any:
        if not self._held and not self._kept:
            self._failed = False
            self.emit(MessagePacket(view, 0, topic, client.retained))
            return HELD if self._failed else None
        number, ident = client.message_id
        self._kept.append((MessagePacket(bytes(view), 0, topic, client.retained), (number, ident) if ident else None))
        self._size += len(view)
        most = client.limits.max_queue
        if (not ident and len(self._kept) >= KEPT) or (most is not None and self._size > most):
            client.hold_for(self)
        return HELD if ident else None

    def _holds(self) -> None:
        if self._started and not self._held:
            self.loop.call_soon(self._go_on)  # the PacketStream is still telling that it goes on

    def _go_on(self) -> None:
        """Sends on what was kept, then the end, if that has come."""
        while self._kept and not self._held and self._started:
            packet, message_id = self._kept.popleft()
            self._size -= packet.size
            self._failed = False
            try:
                self.emit(packet)
            except BaseException:  # of a slot: it is not acknowledged, and the others go on
                self.loop.call_soon(self._go_on)
                raise
            if message_id is not None and not self._failed:
                self.client.acknowledge(message_id)
        if not self._kept and not self._held:
            self.client.let_go(self)
            if self._over:
                self._end()

    def _closed(self, client: Handle) -> None:
        """The client is closed."""
        if self._started:
            self._over = True
            if not self._held and not self._kept:
                self._end()

    def _end(self) -> None:
        self._over = self._started = False
        if self.client.whole:
            self.emit(FlagPacket(FINAL))
        else:
            self.fail_streams(PeerClosed("the client of the broker was aborted, or could not be closed in good order"))


class Sink(Feed):
    """Publishes each packet as a message to `topic`, and passes the packet on.

    drop: what happens to packets while the client has no room: "oldest", "newest", "latest" or "pause", see packets/feed.py.
    max_queue: packets that are held meanwhile, with "oldest". retain: the broker keeps the last one for later subscribers.
    close_stream: False leaves the PacketStream open when the client has gone. `client`, `topic`, `qos`, `retain`: as given; the
    other attributes are those of Feed. ValueError: no such topic, or policy.
    """

    def __init__(
        self, client: Client, topic: str, *, qos: int = 0, drop: str = "oldest", retain: bool = False, max_queue: int = 64,
        close_stream: bool = True,
    ) -> None:
        if drop == "close":
            raise ValueError('drop="close" would close a client that others share: take oldest, newest, latest or pause')
        packets.topic_name(topic)
        super().__init__(client.loop, drop, max_queue, close_stream)
        self.client: Client = client
        self.topic: str = topic
        self.qos: int = packets.service(qos)
        self.retain: bool = retain
        client.on_drain += self.drained
        client.on_close += self.client_gone

    def frame(self, packet: Packet) -> Any:
        """The payload; None for what is a mark, and no message."""
        if not packet.size and (packet.flags & FINAL or not isinstance(packet, RawPacket)):
            return None
        return packet.data

    def put(self, made: Any) -> bool:
        """Publishes; False: the client has no room for more, on_drain is to come."""
        client = self.client
        below = client.publish(self.topic, made, qos=self.qos, retain=self.retain)
        if below and not (self.qos and client.crowded):
            return True
        client.want_drain()
        return False

    def can_send(self) -> bool:
        """Whether the client takes messages."""
        return not self.client.closing

    def say_end(self) -> None:
        """A topic has no end: the last message was published."""
        self.loop.call_soon(self.client_gone)

    def cut_off(self, why: int) -> None:
        """Nobody is cut off: the client has other work, too."""
        self.loop.call_soon(self.client_gone)

    def release(self) -> None:
        """Lets go of the client."""
        self.client.on_drain.detach(self.drained)
        self.client.on_close.detach(self.client_gone)
