"""Outbox: the messages of a client that are to be sent, and those of QoS 1 that wait for PUBACK. It outlives connections.

Rules
- One order for all: a message waits behind those that were published before it, whatever their QoS.
- At most `most` messages of QoS 1 are on their way, and no further one while these have more than `most_bytes`. On the next
  connection they go first, in their order, with DUP and their packet identifiers (MQTT-4.4.0-1, MQTT-4.6.0-1).
- What waits is counted in bytes, and a little for each message beside: ten million empty ones take memory as well.

Not here: bytes on the wire (packets.py), what a user is told of room (client.py).
"""

from __future__ import annotations

from collections import deque

from .packets import DUP, QOS_1

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, Iterator, Optional, Tuple

ENTRY = 256  # bytes of memory that a message takes beside what it says
HIGHEST = 65535  # packet identifiers are 1 to this (section 2.3.1)


class Message:
    """A message to be sent. `flags`: the bits RETAIN, QOS_1 and DUP; `topic`: coded; `data`: bytes; `done`: called without
    arguments, or None; `size`: bytes of topic and data."""

    __slots__ = ("flags", "topic", "data", "done", "size")

    def __init__(self, flags: int, topic: bytes, data: bytes, done: Optional[Callable[[], Any]]) -> None:
        self.flags: int = flags
        self.topic: bytes = topic
        self.data: bytes = data
        self.done: Optional[Callable[[], Any]] = done
        self.size: int = len(topic) + len(data)


class Outbox:
    """`most`, `most_bytes`: messages of QoS 1 on their way at most, and bytes of these (None: no bound). `waiting`: those that
    were not sent, `size`: their bytes; `inflight`: packet identifier -> message, in the order in which they were sent first;
    `unacknowledged`: their bytes."""

    __slots__ = ("most", "most_bytes", "waiting", "size", "inflight", "unacknowledged", "_last")

    def __init__(self, most: int, most_bytes: Optional[int] = None) -> None:
        self.most: int = most
        self.most_bytes: Optional[int] = most_bytes
        self.waiting: Deque[Message] = deque()
        self.size: int = 0
        self.inflight: Dict[int, Message] = {}
        self.unacknowledged: int = 0
        self._last = 0

    def __bool__(self) -> bool:
        return bool(self.waiting or self.inflight)

    @property
    def cost(self) -> int:
        """Bytes of memory that the waiting ones take."""
        return self.size + ENTRY * len(self.waiting)

    @property
    def full(self) -> bool:
        """Whether a message of QoS 1 has to wait for the PUBACK of another one."""
        return len(self.inflight) >= self.most or (self.most_bytes is not None and self.unacknowledged > self.most_bytes)

    def put(self, message: Message) -> None:
        """A message waits from now on."""
        self.waiting.append(message)
        self.size += message.size

    def take(self) -> Optional[Message]:
        """The next message to be sent; None: there is none, or it has to wait for a PUBACK."""
        if not self.waiting or (self.waiting[0].flags & QOS_1 and self.full):
            return None
        message = self.waiting.popleft()
        self.size -= message.size
        return message

    def sent(self, message: Message, uses: Callable[[int], bool]) -> int:
        """A message of QoS 1 goes out: its packet identifier. uses: see `free`."""
        ident = self.free(uses)
        self.inflight[ident] = message
        self.unacknowledged += message.size
        return ident

    def acknowledged(self, ident: int) -> Optional[Message]:
        """The broker has this message: it is forgotten."""
        message = self.inflight.pop(ident, None)
        if message is not None:
            self.unacknowledged -= message.size
        return message

    def again(self) -> Iterator[Tuple[int, Message]]:
        """What is on its way, to be sent once more on a new connection."""
        for ident, message in self.inflight.items():
            message.flags |= DUP
            yield ident, message

    def free(self, uses: Callable[[int], bool]) -> int:
        """A packet identifier that nothing has. uses(ident): whether the connection's other requests have it."""
        ident = self._last
        while True:
            ident = ident % HIGHEST + 1
            if ident not in self.inflight and not uses(ident):
                self._last = ident
                return ident

    def clear(self) -> None:
        """Lets go of all."""
        self.waiting.clear()
        self.inflight.clear()
        self.size = self.unacknowledged = 0
