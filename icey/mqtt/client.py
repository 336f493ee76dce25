"""Client: a client of an MQTT 3.1.1 broker, which comes back by itself when the connection is lost.

    client = icey.mqtt.Client(loop, "mqtt://127.0.0.1", client_id="kitchen", clean=False)
    client.subscribe("house/+/temperature", lambda client, topic, view: print(topic, bytes(view)), qos=1)
    client.start()
    client.publish("house/kitchen/temperature", b"21.5", qos=1, done=arrived)

Rules
- From start() to close() there is a connection, or one is being made: at once, then after a rest of `reconnect` seconds, which
  doubles, with jitter, from the least to the most, and begins anew once a connection has lived longer than the rest before it.
  A broker that refuses us (bad password, ...) is asked again after the longest rest only.
- What is published while there is no connection waits. False: `high_water` bytes or more wait, on_drain tells. QueueFull: past
  max_queue; nothing was taken. What was given to a connection with QoS 0 is gone with it.
- QoS 1: at most `max_inflight` messages are on their way; `done` comes with PUBACK; what is unacknowledged when the connection
  is lost is sent again on the next one, first and in order, with DUP. It may arrive twice, and is never lost but by the end of
  this process. QoS 0: `done` comes when the kernel has the message.
- A message goes to the `fn` of each subscription that takes it, and to on_message where one of these has no `fn`, or none takes
  it. The view is lent until the slots return. A message of QoS 1 is acknowledged then; not where a slot raised, or closed the
  client before all had it: a broker sends it again when the session is resumed.
- Subscriptions are the client's: where the broker has no session any more, it is asked for them again.
- close() sends what waits (where the client rests it connects at once for that), awaits the PUBACKs, and sends DISCONNECT; a
  broker that takes and acknowledges nothing for limits.close_timeout seconds is left all the same, and on_error tells. Where
  CONNECT is out, and with it a will, its answer is awaited. abort() sends nothing: the broker publishes the will.

NEW -> TRYING -> UP -> RESTING -> TRYING ..., UP -> PARTING (DISCONNECT is out) -> OVER; OVER from anywhere.

Not here: one connection (connection.py), the order of what is sent (outbox.py), what the broker is asked for
(subscriptions.py), who takes which topic (topics.py).
"""

from __future__ import annotations

import os
from _thread import get_ident

from ..base.backoff import Backoff
from ..base.buffer import kept_view
from ..base.emitter import wrong_thread
from ..base.errors import BorrowError, Deadline, QueueFull, StateError
from ..base.handle import CLOSING, FINISHING, Handle
from ..base.limits import limits_of
from ..base.signal import Event, require_callable
from ..base.state import transitions
from ..base.timer import seconds
from ..base.watchdog import Watchdog
from . import packets
from .broker import Broker
from .connection import ASKING, MqttConnection, tls_parts
from .errors import MqttRefused
from .outbox import Message, Outbox
from .packets import DUP, QOS_1, RETAIN
from .subscriptions import Subscriptions

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

    from typing_extensions import Self

    from ..base.limits import Limits
    from ..base.loop import Loop
    from ..base.timer import Timer
    from .topics import Route

NEW, TRYING, UP, RESTING, PARTING, OVER = range(6)
STAGES = transitions(
    {NEW: (TRYING, OVER), TRYING: (UP, RESTING, OVER), UP: (RESTING, PARTING, OVER), RESTING: (TRYING, OVER), PARTING: (OVER,),
     OVER: ()}, names=("NEW", "TRYING", "UP", "RESTING", "PARTING", "OVER"))
UNAVAILABLE = 3  # the one return code of CONNACK that soon may be another one (section 3.2.2.3)
KEPT_TOPICS = 1024  # topics whose coding is remembered
LONGEST_KEEP_ALIVE = 65535  # seconds (section 3.1.2.10)
MOST_INFLIGHT = 60000  # packet identifiers are 65 535, and subscriptions take some

HELD = object()  # what a route returns for a message of QoS 1 that it acknowledges later, by `acknowledge`


class Client(Handle):
    """A client of the broker at `url` (see broker.py). ValueError and TypeError say what cannot be asked for.

    client_id: None for one made up, with clean=True alone. clean: False keeps the session at the broker: what was subscribed
    with QoS 1, and came while we were away. keep_alive: seconds; a silent broker is given up within 1.5 times that (0 or None:
    never). will: a Will, or such a tuple. reconnect: (least, most) seconds of rest, or None: a client that loses its connection
    is closed. tls: an ssl.SSLContext for mqtts://, None: the system's authorities are trusted.

    `broker`, `client_id`, `clean`, `keep_alive`, `will`, `reconnect`, `limits`, `tls`: as given. `stage`: NEW, TRYING, UP,
    RESTING, PARTING or OVER. `whole`: closed in good order. `whole_keep_alive`: keep_alive as the broker is told.
    `connection`: the MqttConnection, or None. `outbox`: the Outbox.
    """

    __slots__ = (
        "broker", "client_id", "clean", "keep_alive", "whole_keep_alive", "will", "reconnect", "limits", "tls",
        "stage", "whole", "connection", "outbox", "_topics", "_subscriptions", "_routes", "_backoff", "_timer", "_since",
        "_number", "_holders", "_drain_due", "_first", "_ident", "_missing", "_awaited", "_watchdog",
        "_progress",
    )

    STATES = {"stage": STAGES}

    on_connect: Event[Callable[[Self, bool], Any]] = Event(
        "on_connect(client, resumed): a broker accepted; resumed: it had our session, and its subscriptions")
    on_message: Event[Callable[[Self, str, memoryview], Any]] = Event(
        "on_message(client, topic, view): a message that no fn takes; the view is lent until the slots return")
    on_drain: Event[Callable[[Self], Any]] = Event("on_drain(client): what waits is down to low water, publish again")
    on_disconnect: Event[Callable[[Self, Exception, Optional[float]], Any]] = Event(
        "on_disconnect(client, exc, retry_in): no connection, and why; the next try in seconds, or None")
    on_error: Event[Callable[[Self, Exception], Any]] = Event(
        "on_error(client, exc): a subscription was refused, or close() could not send all")

    def __init__(
        self, loop: Loop, url: str, *, client_id: Optional[str] = None, clean: bool = True, keep_alive: Optional[float] = 60.0,
        will: Any = None, reconnect: Optional[Tuple[float, float]] = (1.0, 60.0), max_inflight: int = 64, tls: Any = None,
        limits: Optional[Limits] = None,
    ) -> None:
        super().__init__(loop)
        self.broker: Broker = Broker(url)
        self.clean: bool = bool(clean)
        self.client_id: str = _client_id(client_id, self.clean)
        self.keep_alive: float = 0.0 if keep_alive is None else seconds(keep_alive, "keep_alive")
        self.whole_keep_alive: int = int(-(-self.keep_alive // 1))
        if self.whole_keep_alive > LONGEST_KEEP_ALIVE:
            raise ValueError("keep_alive is at most %d s, not %r (MQTT 3.1.1 section 3.1.2.10)"
                             % (LONGEST_KEEP_ALIVE, keep_alive))
        self.will: Optional[packets.Will] = packets.last_will(will)
        self._backoff = Backoff.of((1.0, 1.0) if reconnect is None else reconnect, "reconnect")
        self.reconnect: Optional[Tuple[float, float]] = (
            None if reconnect is None else (self._backoff.least, self._backoff.most))
        if isinstance(max_inflight, bool) or not isinstance(max_inflight, int) or not 1 <= max_inflight <= MOST_INFLIGHT:
            raise ValueError("max_inflight is 1 to %d messages, not %r" % (MOST_INFLIGHT, max_inflight))
        if tls is not None and not self.broker.secure:
            raise ValueError("tls= is for mqtts://, and the URL says %s" % self.broker.scheme)
        self.tls: Any = tls
        if self.broker.secure and tls is None:
            self.tls = tls_parts()[1]()
        self.limits: Limits = limits_of(limits)
        self.stage: int = NEW
        self.whole: bool = False
        self.connection: Optional[MqttConnection] = None
        self.outbox: Outbox = Outbox(max_inflight, self.limits.max_queue)
        self._topics: Dict[str, bytes] = {}  # topic -> coded
        self._subscriptions = Subscriptions(self.outbox, _to_slots)
        self._routes = self._subscriptions.routes
        self._timer: Optional[Timer] = None  # until the next try
        self._since = 0.0  # when the broker accepted, in the loop's time
        self._number = 0  # of the connection
        self._holders: Set[Any] = set()  # who wants nothing read
        self._drain_due = False
        self._first = self._ident = 0  # of the message that is told
        self._missing = 0  # slots that do not let it be acknowledged: they raised, or do so later
        self._awaited: Dict[int, int] = {}  # packet identifier -> how many have still to, of messages that several hold
        self._watchdog: Optional[Watchdog] = None  # of close()
        self._progress = 0.0  # when the broker acknowledged something last

    # any time on the loop's thread

    @property
    def random(self) -> Callable[[], float]:
        """A function for the jitter of the rests, returns 0 to 1; it may be set."""
        return self._backoff.random

    @random.setter
    def random(self, random: Callable[[], float]) -> None:
        self._backoff.random = random

    @property
    def connected(self) -> bool:
        """Whether a broker has accepted us, and the connection stands."""
        return self.stage == UP

    @property
    def queued(self) -> int:
        """Bytes of messages and other packets that wait for the kernel."""
        connection = self.connection
        size = self.outbox.size
        if connection is not None and connection.stream is not None:
            size += connection.gathered + connection.stream.queued
        return size

    @property
    def inflight(self) -> int:
        """Messages of QoS 1 that were sent, and the broker has not acknowledged."""
        return len(self.outbox.inflight)

    @property
    def retained(self) -> bool:
        """In a slot: the broker had kept this message, and sends it to a new subscription (section 3.3.1.3)."""
        return bool(self._first & RETAIN)

    @property
    def duplicate(self) -> bool:
        """In a slot: this message may have come before, DUP (section 3.3.1.1)."""
        return bool(self._first & DUP)

    def start(self) -> Client:
        """Begins to connect. StateError: it was started before. Returns the client."""
        self.check_thread()
        self.require_open("start")
        if self.stage != NEW:
            raise StateError("start() for the second time", "it connects again by itself; for another session make a new one")
        self._try()
        self.activate()
        return self

    def publish(
        self, topic: str, data: Any, *, qos: int = 0, retain: bool = False, done: Optional[Callable[[], Any]] = None
    ) -> bool:
        """Publishes `data`, bytes-like (copied if mutable). retain: the broker keeps it for later subscribers.

        True: below high water. False: wait for on_drain. QueueFull: nothing was taken. done(): the broker has it (QoS 1), or
        the kernel (QoS 0). StateError: before start(), or after close(). ValueError: no such topic, or QoS 2.
        """
        if get_ident() != self.loop.thread:
            wrong_thread(self)
        coded = self._topics.get(topic)
        if coded is None:
            coded = self._code(topic)
        if type(data) is not bytes:
            data = packets.payload(data)
        stage = self.stage
        if self.phase or stage == NEW:
            self._refuse_publish()
        if done is not None and not callable(done):
            require_callable(done, "done")
        flags = RETAIN if retain else 0
        outbox, limits, connection = self.outbox, self.limits, self.connection
        size = len(coded) + len(data)
        queued = connection.gathered + connection.stream.queued if stage == UP else 0  # type: ignore[union-attr]
        if qos:
            flags |= packets.service(qos) << 1
        elif stage == UP and not outbox.waiting and queued < limits.high_water:  # the usual message of QoS 0
            if queued and limits.max_queue is not None and queued + size > limits.max_queue:
                self._require_room(size, queued)
            connection.put(packets.publish(0x30 | flags, coded, data, 0), done)  # type: ignore[union-attr]
            return queued + size < limits.high_water or self._below()
        if size > packets.LONGEST - 2:
            packets.length(size + 2)  # raises
        self._require_room(size, queued)
        message = Message(flags, coded, data, done)
        if stage == UP and not outbox.waiting and queued < limits.high_water and not (qos and outbox.full):
            self._send(message)
        else:
            outbox.put(message)
        return self._below()

    def subscribe(
        self, filter: str, fn: Optional[Callable[[Client, str, memoryview], Any]] = None, *, qos: int = 0,
        done: Optional[Callable[[], Any]] = None,
    ) -> None:
        """Subscribes to the topic filter `filter`: its messages go to `fn(client, topic, view)`, or to on_message.

        qos: the most that messages come with. done(): the broker has granted it; on_error tells that it has not (MqttRefused).
        Several functions may share a filter; when one joins, the broker sends all of them again what it keeps (`retained`). It
        may be called before start(), and while there is no connection. ValueError: no such filter, or QoS 2.
        """
        self.check_thread()
        self.require_open("subscribe")
        for given, what in ((fn, "fn"), (done, "done")):
            if given is not None:
                require_callable(given, what)
        if self._subscriptions.add(filter, qos, _to_slots if fn is None else fn, done) and done is not None:
            self.loop.soon(self.call, done)

    def unsubscribe(self, filter: str, fn: Optional[Callable[[Client, str, memoryview], Any]] = None) -> bool:
        """Ends a subscription; with `fn`, that function's part in it. False: there was no such subscription."""
        self.check_thread()
        return not self.phase and self._subscriptions.remove(filter, fn)

    def pause(self) -> None:
        """Reads no more messages for now, nor anything else: PUBACKs wait, too, and with them what is published with QoS 1."""
        self.check_thread()
        self.hold_for(self)

    def resume(self) -> None:
        """Reads on."""
        self.check_thread()
        self.let_go(self)

    def abort(self) -> None:
        """Drops the connection without DISCONNECT: the broker publishes the will. What waits is forgotten."""
        self.check_thread()
        if self.phase < FINISHING:
            self.whole = False
        self.finish()

    # for the packet ends, and for whoever writes such: the loop's thread

    @property
    def message_id(self) -> Tuple[int, int]:
        """In a slot: what `acknowledge` is to be given for a message of QoS 1 whose route returns HELD."""
        return self._number, self._ident

    @property
    def crowded(self) -> bool:
        """Whether messages wait for the PUBACKs of others: `max_inflight` are on their way, or max_queue bytes."""
        return bool(self.outbox.full and self.outbox.waiting)

    def want_drain(self) -> None:
        """Has on_drain come once what waits is down to low water, and not `crowded`."""
        self._drain_due = True
        if self.stage == UP:
            self.connection.wake()  # type: ignore[union-attr]

    def hold_for(self, holder: Any) -> None:
        """Reads nothing while `holder`, any object, has not let go."""
        if not self.phase:
            self._holders.add(holder)
            if self.stage == UP:
                self.connection.hold(True)  # type: ignore[union-attr]

    def let_go(self, holder: Any) -> None:
        """This holder has nothing against reading on."""
        self._holders.discard(holder)
        if not self._holders and self.stage == UP:
            self.connection.hold(False)  # type: ignore[union-attr]

    def acknowledge(self, message_id: Tuple[int, int]) -> None:
        """Acknowledges a message that was HELD; nothing happens where its connection is gone: the broker sends it again."""
        number, ident = message_id
        if self.stage == UP and number == self._number and ident:
            left = self._awaited.pop(ident, 1) - 1
            if left:  # it is not only ours
                self._awaited[ident] = left
                return
            self.connection.put(packets.puback(ident))  # type: ignore[union-attr]

    def call(self, fn: Callable[..., Any], *args: Any) -> None:
        """Calls `fn(*args)`, guarded as a slot is."""
        try:
            fn(*args)
        except Exception as exc:
            self.slot_failed(exc)

    # called by the connection

    def accepted(self, present: bool) -> None:
        """The broker accepted. present: it has our session."""
        connection = self.connection
        assert connection is not None
        self.stage = UP
        self._since = self._progress = self.loop.now
        if self._holders:
            connection.hold(True)
        if not self.phase:
            self._subscriptions.connected(connection, present)
        for ident, message in self.outbox.again():
            connection.put(connection.core.publish(message.flags, message.topic, message.data, ident))
        self.emit("on_connect", self, present)

    def lost(self, exc: Exception) -> None:
        """There is no connection any more, or none could be made."""
        lived = self.loop.now - self._since if self.stage == UP else 0.0
        unsent = self.connection is not None and self.connection.unsent
        self.connection = None
        self._awaited.clear()
        self._subscriptions.lost()
        if self.phase:
            if self.outbox or unsent:  # also what the connection had, of QoS 0
                self._fail_close(exc)
            self.finish()
            return
        self.stage = RESTING
        rest = self._next_rest(exc, lived)
        if rest is not None:
            self._timer = self.loop.call_later(rest, self._try)
            self._timer.unref()  # this handle keeps the loop running, or does not
        self.emit("on_disconnect", self, exc, rest)
        if rest is None:
            self.finish()

    def parted(self) -> None:
        """DISCONNECT is out, and the connection is closed."""
        self.connection = None
        self.finish()

    def deliver(self, topic: str, view: memoryview, first: int, ident: int) -> bool:
        """Tells a message. True: it may be acknowledged."""
        if self.phase:
            return False
        routes = self._routes.found.get(topic)
        if routes is None:
            routes = self._routes.find(topic)
        self._first, self._ident, self._missing = first, ident, 0
        if self.loop.debug:
            buffer = self.loop.read_buffer
            view = buffer.lend_bytes(view)  # what escapes from it is found as well
            buffer.hand_out(self, view, self._slots_of(routes), self._tell, routes, topic, view)
        else:
            self._tell(routes, topic, view)
            try:
                view.release()
            except BufferError:
                self.borrow_broken(kept_view(self._slots_of(routes)))
        if self._missing > 1 and ident:
            self._awaited[ident] = self._missing
        return not self._missing

    def acknowledged(self, ident: int) -> None:
        """The broker has a message of QoS 1."""
        message = self.outbox.acknowledged(ident)
        self._progress = self.loop.now
        if message is not None and message.done is not None:
            self.call(message.done)

    def granted(self, ident: int, codes: bytes) -> None:
        """The broker's answer to a SUBSCRIBE."""
        dones, refused = self._subscriptions.answered(ident, codes)
        for done in dones:
            self.call(done)
        for exc in refused:
            self.emit("on_error", self, exc)

    def ended(self, ident: int) -> None:
        """The broker's answer to an UNSUBSCRIBE."""
        self._subscriptions.left(ident)

    def pump(self) -> None:
        """Gives the connection of what waits as much as there is room for, and tells who waits for room, or for the end."""
        connection, outbox = self.connection, self.outbox
        if self.stage != UP or connection is None:
            return
        if outbox.waiting:
            stream, high = connection.stream, self.limits.high_water
            while connection.gathered + stream.queued < high or not connection.gathered + stream.queued:
                message = outbox.take()
                if message is None:
                    break
                self._send(message)
        if self._drain_due and self._drained():
            self._drain_due = False
            self.emit("on_drain", self)
        if self.phase == CLOSING:
            self._leave_when_done()

    @property
    def goes_on(self) -> bool:
        """Whether `pump` has something to do, now that the kernel has taken what was given to the connection."""
        outbox = self.outbox
        if self._drain_due and self._drained():
            return True
        connection = self.connection
        if not outbox.waiting or connection is None or connection.stream is None:
            return self.phase == CLOSING and not outbox and not self.queued
        return (connection.stream.queued < self.limits.high_water or not connection.stream.queued) and not (
            outbox.full and bool(outbox.waiting[0].flags & QOS_1))

    # inside

    def _code(self, topic: Any) -> bytes:
        coded = packets.topic_name(topic)
        if len(self._topics) >= KEPT_TOPICS:
            self._topics.clear()
        self._topics[topic] = coded
        return coded

    def _refuse_publish(self) -> None:
        self.require_open("publish")
        raise StateError("publish() before start()", "start() first; until the broker has accepted, messages wait",
                         "start, then send")

    def _require_room(self, size: int, queued: int) -> None:
        """QueueFull where a message of `size` bytes would pass max_queue, beside `queued` bytes of the connection's."""
        outbox, most = self.outbox, self.limits.max_queue
        if most is not None and (queued or outbox.waiting) and queued + outbox.cost + size > most:
            self._drain_due = True
            raise QueueFull.of(queued + outbox.size, size, most, self)

    def _below(self) -> bool:
        """Whether less than high water waits; else on_drain is to tell."""
        if self.queued < self.limits.high_water:
            return True
        self._drain_due = True
        return False

    def _drained(self) -> bool:
        queued = self.queued
        if queued <= self.limits.low_water and not self.crowded:
            return True
        if queued and self.connection is not None and self.connection.stream is not None:
            self.connection.stream.want_drain()
        return False

    def _send(self, message: Message) -> None:
        """Gives `message` to the connection."""
        connection = self.connection
        assert connection is not None
        if message.flags & QOS_1:
            ident = self.outbox.sent(message, connection.core.uses)
            connection.put(connection.core.publish(message.flags, message.topic, message.data, ident))
        else:
            connection.put(packets.publish(0x30 | message.flags, message.topic, message.data, 0), message.done)

    def _try(self) -> None:
        self._timer = None
        self.stage = TRYING
        self._number += 1
        connection = self.connection = MqttConnection(self, self._number)
        try:
            connection.dial()
        except BaseException:
            self.finish()
            raise

    def _next_rest(self, exc: Exception, lived: float) -> Optional[float]:
        """Seconds until the next try; None: there is none."""
        if self.reconnect is None:
            return None
        return self._backoff.next(lived, longest=isinstance(exc, MqttRefused) and exc.code != UNAVAILABLE)

    def _tell(self, routes: Sequence[Route], topic: str, view: memoryview) -> None:
        """Calls the routes, each guarded."""
        for number, route in enumerate(routes):
            if number:  # what the one before did counts
                if self.phase:
                    self._missing += 1  # closed: it has not had the message
                    break
                if route not in self._routes.find(topic):
                    continue
            try:
                if route(self, topic, view) is HELD:
                    self._missing += 1
            except Exception as exc:
                self.slot_failed(exc)

    def _slots_of(self, routes: Sequence[Route]) -> List[Any]:
        """Who may have kept a view, for the report."""
        found: List[Any] = []
        for route in routes:
            if route is not _to_slots:
                found.append(route)
            elif self.signals is not None and "on_message" in self.signals:
                found += self.signals["on_message"]
        return found

    # closing

    def begin_close(self) -> None:
        self.mute()
        self.whole = True
        self._holders.clear()
        resting = self.stage == RESTING
        connection = self.connection
        asking = self.will is not None and connection is not None and connection.link == ASKING  # the broker may have the will
        if self.loop.closed or self.stage == NEW or ((resting or self.stage == TRYING) and not (self.outbox or asking)):
            self.finish()
            return
        if resting and self._timer is None:  # there is no next try, as on_disconnect has just told
            self._give_up()
            return
        self._progress = self.loop.now
        if resting:  # what waits is to go out: the next try is now
            self._timer.abort()  # type: ignore[union-attr]
            self._try()
        self._watchdog = Watchdog(self.loop, self._close_due, self._close_late, self._look)
        if self.stage == UP:
            self.connection.hold(False)  # type: ignore[union-attr]
            self.connection.wake()  # type: ignore[union-attr] # from the loop: a slot's message is acknowledged before
        self._watchdog.watch()

    def _leave_when_done(self) -> None:
        """Says goodbye once all is out, and acknowledged."""
        connection = self.connection
        if self.stage != UP or connection is None:
            return
        if self.outbox or connection.stream.queued:
            connection.flush()
            connection.stream.last_taken()  # from here on the system's word is compared
            return
        self.stage = PARTING
        if self._watchdog is not None:
            self._watchdog.stop()
        connection.say_goodbye()

    def _close_due(self) -> Optional[float]:
        timeout, connection = self.limits.close_timeout, self.connection
        if timeout is None or connection is None or self.stage == PARTING or self.phase != CLOSING:
            return None
        taken: float = connection.stream.last_taken()  # also of what the system holds: the PUBACKs come behind that
        return max(self._progress, taken) + timeout

    def _look(self) -> None:
        if self.connection is not None and self.connection.stream is not None:
            self.connection.stream.look()

    def _close_late(self) -> None:
        self._fail_close(Deadline(
            "close: %s%d messages not sent, %d not acknowledged, %d bytes not taken within %g s"
            % ("not connected, " if self.stage == TRYING else "", len(self.outbox.waiting), self.inflight,
               self.queued - self.outbox.size, self.limits.close_timeout or 0)))
        self.finish()

    def _fail_close(self, exc: Exception) -> None:
        self.whole = False
        self.emit("on_error", self, exc)

    def slot_failed(self, exc: Exception) -> None:
        self._missing += 1
        self.loop.report(exc, self)
        if isinstance(exc, BorrowError):
            self._give_up()

    def borrow_broken(self, exc: BorrowError) -> None:
        self._missing += 1
        self.loop.report(exc, self)
        self._give_up()

    def _give_up(self) -> None:
        self.whole = False
        self.finish()

    def silence(self) -> None:
        self.mute()
        if self._watchdog is not None:
            self._watchdog.release()
            self._watchdog = None
        timer, self._timer = self._timer, None
        if timer is not None and not self.loop.closed:
            timer.abort()
        self.stage = OVER
        connection, self.connection = self.connection, None
        if connection is not None and not self.loop.forked:
            connection.drop()

    def free(self) -> None:
        self.outbox.clear()
        self._holders.clear()  # we may be among them

    def closed_now(self) -> None:
        super().closed_now()
        self._subscriptions.clear()

    def title(self) -> str:
        return "%s %s://%s" % (type(self).__name__, self.broker.scheme, self.broker.address)


def _to_slots(client: Client, topic: str, view: memoryview) -> None:
    """The route of a subscription without a function: on_message."""
    client.emit("on_message", client, topic, view)


def _client_id(given: Optional[str], clean: bool) -> str:
    """The client identifier. One made up has at most 23 letters and digits, which every broker takes (MQTT-3.1.3-5)."""
    if given is None:
        if not clean:
            raise ValueError("clean=False needs a client_id: a broker finds the session by it (MQTT 3.1.1 section 3.1.3.1)")
        return "icey" + os.urandom(9).hex()
    packets.text(given, "client_id", "1.5.3")
    if not given and not clean:
        raise ValueError("clean=False needs a client_id of one character or more (MQTT-3.1.3-8)")
    return given
