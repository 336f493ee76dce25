"""MqttCore: MQTT 3.1.1 as a client speaks it, without a socket: bytes in, calls of an observer out, packets as bytes.

    core = MqttCore(observer)
    sock.sendall(core.connect("a-client"))
    core.feed(data)                                # -> observer.on_connack, on_publish, on_puback, ...
    sock.sendall(core.publish(1, b"\\0\\5topic", b"data", ident=7))

Rules
- What a broker may not send is MqttError, with the rule that it breaks. The core is over then, as the connection is to be
  (section 4.8, MQTT-4.8.0-1); what is fed afterwards is dropped.
- A packet is looked at as soon as its head is here: one that is too long, or may not come, is never gathered.
- The payload of a PUBLISH is a view of what was fed. Only a packet that comes in pieces is put together first.
- The core knows which packet identifiers wait for an answer on this connection. Which are free is its user's to know.
- QoS 2 is not spoken: a packet of it is an error, since nothing was subscribed or published so.

NEW -> ASKED (by connect) -> UP (a broker accepted) -> OVER (it refused, broke a rule, or disconnect() was called).

Not here: what a client may ask for (packets.py), when to ask for it (client.py), the socket (connection.py).
"""

from __future__ import annotations

from ..base.errors import StateError
from ..base.limits import DEFAULTS
from ..base.pieces import gather_piece, joined
from ..base.state import transitions
from . import packets
from .errors import MqttError
from .packets import CONNACK, NAMES, PINGRESP, PUBACK, PUBLISH, QOS_1, QOS_2, SUBACK, UNSUBACK

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

    from .packets import Made, Will

NEW, ASKED, UP, OVER = range(4)
STAGES = transitions({NEW: (ASKED, OVER), ASKED: (UP, OVER), UP: (OVER,), OVER: ()}, names=("NEW", "ASKED", "UP", "OVER"))

KEPT_TOPICS = 1024  # topics whose text is remembered
LONGEST_KEPT = 256  # bytes of such a topic
EXACT = {CONNACK: 2, PUBACK: 2, UNSUBACK: 2, PINGRESP: 0}  # the remaining length of packets that have but one
REFUSED = 0x80  # a return code of SUBACK (section 3.9.3)
REASONS = ("accepted", "this protocol version is not spoken", "the client identifier is not allowed",
           "the server is unavailable", "bad user name or password", "not authorized")  # section 3.2.2.3


class MqttObserver:
    """What a core tells. One that ignores everything; a subclass overrides what it needs."""

    __slots__ = ()

    def on_connack(self, present: bool, code: int) -> None:
        """The broker accepted (code 0; present: it has a session of this client), or refused (1 to 5, see REASONS)."""

    def on_publish(self, topic: str, payload: memoryview, first: int, ident: int) -> None:
        """A message. first: the first byte of its packet, with the bits RETAIN, QOS_1 and DUP; ident: 0 with QoS 0.

        The payload is a view of what was fed: the observer may release it.
        """

    def on_puback(self, ident: int) -> None:
        """The broker has the message with that identifier."""

    def on_suback(self, ident: int, codes: bytes) -> None:
        """The broker answers a SUBSCRIBE: for each filter the QoS granted, or 0x80, refused."""

    def on_unsuback(self, ident: int) -> None:
        """The broker answers an UNSUBSCRIBE."""

    def on_pingresp(self) -> None:
        """The broker answers a ping."""


class MqttCore:
    """The client's end of one connection. `MqttCore(observer, max_message=...)`.

    `observer`: a MqttObserver. `max_message`: bytes that a packet may have behind its head, None: what MQTT allows. `held`: the
    observer sets it, and `feed` returns behind the packet at hand. `burst`: packets that one call of `feed` takes at most, 0
    for no bound.
    """

    __slots__ = (
        "observer", "max_message", "held", "burst", "_stage", "_clean", "_topics", "_pieces", "_have", "_need", "_publishing",
        "_subscribing", "_unsubscribing",
    )

    STATES = {"_stage": STAGES}

    def __init__(self, observer: MqttObserver, *, max_message: Optional[int] = DEFAULTS.max_message) -> None:
        self.observer: MqttObserver = observer
        self.max_message: int = packets.LONGEST if max_message is None else min(max_message, packets.LONGEST)
        self.held: bool = False
        self.burst: int = 0
        self._stage = NEW
        self._clean = True
        self._topics: Dict[bytes, str] = {}
        self._pieces: List[Any] = []  # of a packet that is not here whole
        self._have = self._need = 0  # the bytes of these, and of the packet, as far as its head tells
        self._publishing: Set[int] = set()  # identifiers that wait for PUBACK
        self._subscribing: Dict[int, Tuple[int, ...]] = {}  # identifier -> the QoS of each filter
        self._unsubscribing: Set[int] = set()

    # out

    def connect(
        self, client_id: str, *, clean: bool = True, keep_alive: int = 0, will: Optional[Will] = None,
        user: Optional[str] = None, password: Optional[bytes] = None,
    ) -> bytes:
        """CONNECT, once, and first (StateError). keep_alive: whole seconds up to 65 535, 0 for none. ValueError, TypeError: see
        packets.py."""
        if self._stage != NEW:
            raise StateError("connect() for the second time on one connection (MQTT-3.1.0-2)", "make a new core for a new one")
        made = packets.connect(client_id, clean, keep_alive, packets.last_will(will), user, password)
        self._stage, self._clean = ASKED, clean
        return made

    def publish(self, flags: int, topic: bytes, data: bytes, ident: int = 0) -> Made:
        """PUBLISH, a list of two parts where the data is long. flags: the bits RETAIN, QOS_1, DUP; topic: see
        packets.topic_name; ident: 1 to 65 535 with QoS 1, one that does not wait for an answer."""
        if self._stage != UP:
            raise self._not_up("publish")
        made = packets.publish(0x30 | flags, topic, data, ident)
        if flags & QOS_1:
            self._publishing.add(ident)
        return made

    def subscribe(self, ident: int, wanted: Sequence[Tuple[bytes, int]]) -> bytes:
        """SUBSCRIBE to coded filters (see packets.topic_filter), each with its QoS."""
        if self._stage != UP:
            raise self._not_up("subscribe")
        self._subscribing[ident] = tuple([qos for _, qos in wanted])
        return packets.subscribe(ident, wanted)

    def unsubscribe(self, ident: int, filters: Sequence[bytes]) -> bytes:
        """UNSUBSCRIBE from coded filters."""
        if self._stage != UP:
            raise self._not_up("unsubscribe")
        self._unsubscribing.add(ident)
        return packets.unsubscribe(ident, filters)

    def disconnect(self) -> bytes:
        """DISCONNECT: nothing else may follow (MQTT-3.14.4-2), and what still comes is dropped."""
        self._stage = OVER
        return packets.GOODBYE

    def uses(self, ident: int) -> bool:
        """Whether this packet identifier waits for an answer."""
        return ident in self._publishing or ident in self._subscribing or ident in self._unsubscribing

    def _not_up(self, verb: str) -> StateError:
        return StateError("%s() on a connection that no broker has accepted, or that is over" % verb, "wait for on_connack")

    # in

    def feed(self, data: bytes) -> int:
        """Takes what came. Returns how much of it was taken: less than all where `held` was set or a burst is full, and then
        the rest is to be fed again. MqttError: the broker broke a rule."""
        given = len(data)
        before = 0
        if self._stage == OVER:
            return given
        if self._pieces:
            gather_piece(self._pieces, data)
            self._have += given
            if self._have < self._need:
                return given
            data = joined(self._pieces)
            before = len(data) - given
            self._pieces, self._have = [], 0
        try:
            at = self._packets(data)
        except BaseException:  # the observer's too: the place in the stream is lost
            self._stage = OVER
            raise
        if self._stage == OVER:
            return given
        if at < len(data) and self._need:
            self._pieces, self._have = [data[at:]], len(data) - at
            return given
        return at - before

    def _packets(self, data: bytes) -> int:
        """Takes whole packets from `data`; returns where the rest begins. `_need`: bytes of that which are one packet, as far
        as is known, 0: it is whole, and waits."""
        observer, topics = self.observer, self._topics
        view = memoryview(data)
        at, end = 0, len(data)
        left = self.burst or end
        self._need = 2
        while at + 1 < end:
            if self.held or not left or self._stage == OVER:
                self._need = 0
                return at
            first, size, start = data[at], data[at + 1], at + 2
            if size > 127:
                size, start = self._length(data, at)
                if not start:
                    self._need = end - at + 1
                    self._head(first, None)
                    return at
            stop = start + size
            if stop > end or size > self.max_message:
                self._head(first, size)
                self._need = stop - at
                return at
            at = stop
            left -= 1
            if first >> 4 != PUBLISH or self._stage != UP:
                self._head(first, size)
                self._other(first >> 4, data[start:stop])
                continue
            # A message, as _head looks at it
            if size < 2:
                raise self._short(PUBLISH)
            begin = start + 2 + (data[start] << 8 | data[start + 1])
            raw = data[start + 2:begin]
            topic = topics.get(raw)
            if topic is None:
                if begin > stop:
                    raise MqttError("section 3.3.2.1", "a PUBLISH whose topic is longer than the packet")
                topic = self._topic(raw)
            elif begin > stop:
                raise MqttError("section 3.3.2.1", "a PUBLISH whose topic is longer than the packet")
            ident = 0
            if first & 14:
                if first & QOS_2:
                    self._head(first, size)
                if not first & QOS_1:
                    raise MqttError("MQTT-3.3.1-2", "a PUBLISH of QoS 0 with DUP")
                if begin + 2 > stop:
                    raise self._short(PUBLISH)
                ident = data[begin] << 8 | data[begin + 1]
                if not ident:
                    raise MqttError("MQTT-2.3.1-1", "a PUBLISH of QoS 1 with the packet identifier 0")
                begin += 2
            observer.on_publish(topic, view[begin:stop], first, ident)
        if at == end:
            self._need = 0
        elif self._stage != OVER:
            self._head(data[at], None)
        return at

    def _length(self, data: bytes, at: int) -> Tuple[int, int]:
        """The remaining length of the packet at `at`, of more than one byte, and where it ends; (0, 0): it is not all here."""
        size, shift = data[at + 1] & 127, 7
        for place in range(at + 2, min(at + 5, len(data))):
            byte = data[place]
            size |= (byte & 127) << shift
            if byte < 128:
                return size, place + 1
            shift += 7
        if len(data) >= at + 5:
            raise MqttError("section 2.2.3", "a remaining length of more than four bytes")
        return 0, 0

    def _head(self, first: int, size: Optional[int]) -> None:
        """Looks at the head of a packet; size: None where the remaining length is not all here. MqttError: it may not come."""
        kind, flags = first >> 4, first & 15
        if kind in (0, 15):
            raise MqttError("section 2.2.1", "a packet of the reserved type %d" % kind)
        if self._stage != UP and kind != CONNACK:
            raise MqttError("MQTT-3.2.0-1", "the first packet is %s, and not CONNACK" % NAMES[kind])
        if kind == PUBLISH:
            if flags & QOS_2:
                if flags & QOS_1:
                    raise MqttError("MQTT-3.3.1-4", "a PUBLISH of QoS 3")
                raise MqttError("MQTT-3.8.4-6", "a PUBLISH of QoS 2: none was asked for, and QoS 2 is not spoken here (where "
                                "another client left such a subscription, take clean=True once, or another client_id)")
        elif kind in (CONNACK, PUBACK, SUBACK, UNSUBACK, PINGRESP):
            if flags:
                raise MqttError("MQTT-2.2.2-2", "a %s with the flags %d, which are reserved" % (NAMES[kind], flags))
        elif kind in (packets.PUBREC, packets.PUBREL, packets.PUBCOMP):
            raise MqttError("section 4.3.3", "a %s, which belongs to QoS 2: nothing was published so" % NAMES[kind])
        else:
            raise MqttError("section 2.2.1", "a %s, which only clients send" % NAMES[kind])
        if kind == CONNACK and self._stage == UP:
            raise MqttError("section 3.2", "a second CONNACK")
        if size is None:
            return
        if EXACT.get(kind, size) != size:
            raise MqttError("section 3.%d.1" % kind,
                            "a %s of %d bytes behind its head, not %d" % (NAMES[kind], size, EXACT[kind]))
        if size > self.max_message:
            raise MqttError("section 2.2.3", "a %s of %d bytes: max_message is %d" % (NAMES[kind], size, self.max_message))

    def _other(self, kind: int, rest: bytes) -> None:
        """A packet that is no message."""
        observer = self.observer
        if kind == PUBACK:
            ident = rest[0] << 8 | rest[1]
            try:
                self._publishing.remove(ident)
            except KeyError:
                raise MqttError("MQTT-2.3.1-6", "a PUBACK for %d, which is no message that waits for one" % ident) from None
            observer.on_puback(ident)
        elif kind == PINGRESP:
            observer.on_pingresp()
        elif kind == CONNACK:
            self._connack(rest)
        elif kind == SUBACK:
            self._suback(rest)
        else:
            ident = rest[0] << 8 | rest[1]
            if ident not in self._unsubscribing:
                raise MqttError("MQTT-2.3.1-7", "an UNSUBACK for %d, which is no UNSUBSCRIBE that waits for one" % ident)
            self._unsubscribing.remove(ident)
            observer.on_unsuback(ident)

    def _connack(self, rest: bytes) -> None:
        flags, code = rest[0], rest[1]
        if flags > 1:
            raise MqttError("section 3.2.2.1", "a CONNACK with the flags %d: all but the last bit are reserved" % flags)
        if code >= len(REASONS):
            raise MqttError("section 3.2.2.3", "a CONNACK with the return code %d, which is reserved" % code)
        if flags and code:
            raise MqttError("MQTT-3.2.2-4", "a CONNACK that refuses, and has a session")
        if flags and self._clean:
            raise MqttError("MQTT-3.2.2-1", "a CONNACK with a session, where a clean one was asked for")
        self._stage = OVER if code else UP
        self.observer.on_connack(bool(flags), code)

    def _suback(self, rest: bytes) -> None:
        if len(rest) < 3:
            raise self._short(SUBACK)
        ident, codes = rest[0] << 8 | rest[1], rest[2:]
        asked = self._subscribing.pop(ident, None)
        if asked is None:
            raise MqttError("MQTT-2.3.1-7", "a SUBACK for %d, which is no SUBSCRIBE that waits for one" % ident)
        if len(codes) != len(asked):
            raise MqttError("MQTT-3.8.4-5", "a SUBACK of %d return codes for %d filters" % (len(codes), len(asked)))
        for code, qos in zip(codes, asked):
            if code != REFUSED and code > 2:
                raise MqttError("MQTT-3.9.3-2", "a SUBACK with the return code %d, which is reserved" % code)
            if code != REFUSED and code > qos:
                raise MqttError("MQTT-3.8.4-6", "a SUBACK that grants QoS %d, where %d was asked for" % (code, qos))
        self.observer.on_suback(ident, codes)

    def _topic(self, raw: bytes) -> str:
        """The text of a topic, which is remembered."""
        if not raw:
            raise MqttError("MQTT-4.7.3-1", "a PUBLISH with an empty topic")
        try:
            topic = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise MqttError("MQTT-1.5.3-1", "a PUBLISH whose topic is not UTF-8") from None
        if "\0" in topic:
            raise MqttError("MQTT-1.5.3-2", "a PUBLISH whose topic has a NUL")
        if "+" in topic or "#" in topic:
            raise MqttError("MQTT-3.3.2-2", "a PUBLISH whose topic has a wildcard: %r" % topic)
        if len(raw) <= LONGEST_KEPT:  # what a stranger may choose is not kept in any length
            if len(self._topics) >= KEPT_TOPICS:
                self._topics.clear()
            self._topics[raw] = topic
        return topic

    @staticmethod
    def _short(kind: int) -> MqttError:
        return MqttError("section 3.%d" % kind, "a %s that ends too early" % NAMES[kind])
