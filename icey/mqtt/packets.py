"""Control packets that a client sends, as bytes (MQTT 3.1.1 sections 2 and 3), and what may stand in them.

Rules
- What a caller gives is checked here, once, and refused by ValueError or TypeError with the section that says why. Nothing that
  was made here is malformed.
- A packet is bytes; a PUBLISH with a long payload is a list of its head and that payload, which is not copied.

Not here: what a broker sends (core.py), which filter takes which topic (topics.py).
"""

from __future__ import annotations

from collections import namedtuple

from ..base.buffer import flat, own

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence, Tuple, Union

    Made = Union[bytes, List[bytes]]

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE = range(1, 9)
SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = range(9, 15)
NAMES = ("0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE",
         "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "15")
RETAIN, QOS_1, QOS_2, DUP = 1, 2, 4, 8  # bits of the first byte of a PUBLISH (section 3.3.1)
LONGEST = 268435455  # the greatest remaining length (section 2.2.3)
LONGEST_TEXT = 65535  # bytes of a string or of binary data (section 1.5.3)
LARGE = 16384  # bytes of a payload from which on it is not copied behind its head
PING, GOODBYE = b"\xc0\x00", b"\xe0\x00"

Will = namedtuple("Will", "topic data qos retain", defaults=(0, False))
Will.__doc__ = "Will(topic, data, qos=0, retain=False): published by the broker when it loses the client without a DISCONNECT."


def length(size: int) -> bytes:
    """The remaining length of a packet, in one to four bytes (section 2.2.3)."""
    if size < 128:
        return bytes((size,))
    if size < 16384:
        return bytes((size & 127 | 128, size >> 7))
    if size < 2097152:
        return bytes((size & 127 | 128, size >> 7 & 127 | 128, size >> 14))
    if size > LONGEST:
        raise ValueError("a packet of %d bytes: MQTT's longest is %d (MQTT 3.1.1 section 2.2.3)" % (size, LONGEST))
    return bytes((size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128, size >> 21))


def text(value: Any, what: str, section: str) -> bytes:
    """`value`, a str, as a UTF-8 string with its length before it. ValueError: it cannot be one (section 1.5.3)."""
    if not isinstance(value, str):
        raise TypeError("%s is a str, not %s" % (what, type(value).__name__))
    if "\0" in value:
        raise ValueError("%s with a NUL: %r (MQTT 3.1.1 section 1.5.3, MQTT-1.5.3-2)" % (what, value))
    try:
        coded = value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("%s with half of a surrogate pair: %r (MQTT 3.1.1 section 1.5.3, MQTT-1.5.3-1)"
                         % (what, value)) from None
    return binary(coded, what, section)


def binary(coded: bytes, what: str, section: str) -> bytes:
    """Bytes with their length before them. ValueError: more than 65 535."""
    if len(coded) > LONGEST_TEXT:
        raise ValueError("%s of %d bytes: %d is the most (MQTT 3.1.1 section %s)" % (what, len(coded), LONGEST_TEXT, section))
    return len(coded).to_bytes(2, "big") + coded


def topic_name(topic: Any) -> bytes:
    """The topic of a message, coded. ValueError: it cannot be one (sections 3.3.2.1, 4.7)."""
    coded = text(topic, "a topic", "4.7.3, MQTT-4.7.3-3")
    if not topic:
        raise ValueError("a topic has one character or more (MQTT 3.1.1 section 4.7.3, MQTT-4.7.3-1)")
    if "+" in topic or "#" in topic:
        raise ValueError("a message goes to one topic: %r has a wildcard, which is for subscribe() "
                         "(MQTT 3.1.1 section 3.3.2.1, MQTT-3.3.2-2)" % topic)
    return coded


def topic_filter(wanted: Any) -> bytes:
    """The topic filter of a subscription, coded. ValueError: it cannot be one (section 4.7.1)."""
    coded = text(wanted, "a topic filter", "4.7.3, MQTT-4.7.3-3")
    if not wanted:
        raise ValueError("a topic filter has one character or more (MQTT 3.1.1 section 4.7.3, MQTT-4.7.3-1)")
    levels = wanted.split("/")
    for number, level in enumerate(levels, 1):
        if "#" in level and (level != "#" or number < len(levels)):
            raise ValueError("%r: # stands alone, as the last level (MQTT 3.1.1 section 4.7.1.2, MQTT-4.7.1-2)" % wanted)
        if "+" in level and level != "+":
            raise ValueError("%r: + stands for a whole level (MQTT 3.1.1 section 4.7.1.3, MQTT-4.7.1-3)" % wanted)
    return coded


def payload(data: Any) -> bytes:
    """What a message says: bytes by reference, anything mutable copied."""
    return data if type(data) is bytes else own(flat(data, "a message of bytes-like data"))


def service(qos: Any) -> int:
    """A quality of service that is spoken here: 0 or 1, else ValueError."""
    if qos == 2:
        raise ValueError("QoS 2 is not spoken here: take 1, and have what receives it put up with a message that comes twice")
    if isinstance(qos, bool) or not isinstance(qos, int) or not 0 <= qos <= 1:
        raise ValueError("qos is 0 (at most once) or 1 (at least once), not %r" % (qos,))
    return qos


def last_will(will: Any) -> Optional[Will]:
    """`will`, a Will or a tuple of its parts, checked; None stays None."""
    if will is None:
        return None
    if not isinstance(will, tuple) or not 2 <= len(will) <= 4:
        raise TypeError("will is Will(topic, data, qos=0, retain=False), or such a tuple, not %r" % (will,))
    will = Will(*will)
    topic_name(will.topic)
    data = payload(will.data)
    binary(data, "the data of a will", "3.1.3.3")
    return Will(will.topic, data, service(will.qos), bool(will.retain))


def connect(
    client_id: str, clean: bool, keep_alive: int, will: Optional[Will], user: Optional[str], password: Optional[bytes]
) -> bytes:
    """CONNECT (section 3.1)."""
    flags = 2 * clean
    parts = [text(client_id, "client_id", "1.5.3")]
    if will is not None:
        flags |= 4 | will.qos << 3 | will.retain << 5
        parts += [topic_name(will.topic), binary(will.data, "the data of a will", "3.1.3.3")]
    if user is not None:
        flags |= 128
        parts.append(text(user, "the user name", "3.1.3.4"))
        if password is not None:
            flags |= 64
            parts.append(binary(password, "the password", "3.1.3.5"))
    rest = b"".join([b"\0\4MQTT\4", bytes((flags,)), keep_alive.to_bytes(2, "big"), *parts])
    return b"\x10" + length(len(rest)) + rest


def publish(first: int, topic: bytes, data: bytes, ident: int) -> Made:
    """PUBLISH (section 3.3). first: its first byte; topic: coded; ident: the packet identifier, with QoS 1 alone."""
    if first & QOS_1:
        topic += ident.to_bytes(2, "big")
    size = len(topic) + len(data)
    if size < 128:
        return b"%c%c%b%b" % (first, size, topic, data)
    if size < LARGE:
        return b"%c%c%c%b%b" % (first, size & 127 | 128, size >> 7, topic, data)
    head = bytes((first,)) + length(size) + topic
    return [head, data] if len(data) >= LARGE else head + data


def subscribe(ident: int, wanted: Sequence[Tuple[bytes, int]]) -> bytes:
    """SUBSCRIBE (section 3.8). wanted: coded filters, each with its QoS."""
    rest = ident.to_bytes(2, "big") + b"".join([coded + bytes((qos,)) for coded, qos in wanted])
    return b"\x82" + length(len(rest)) + rest


def unsubscribe(ident: int, filters: Sequence[bytes]) -> bytes:
    """UNSUBSCRIBE (section 3.10). filters: coded."""
    rest = ident.to_bytes(2, "big") + b"".join(filters)
    return b"\xa2" + length(len(rest)) + rest


def puback(ident: int) -> bytes:
    """PUBACK (section 3.4)."""
    return b"\x40\x02%c%c" % (ident >> 8, ident & 255)
