"""MqttCore: bytes in, events out: each packet, each rule that a broker may break, every way to split what came."""
import pytest

import icey
from icey.mqtt import MqttCore, MqttObserver, packets
from icey.mqtt.core import KEPT_TOPICS
from tests.support import seeds
from tests.support.mqtt import ACCEPTED, PONG, RESUMED, packet, puback, publish, suback, text, unsuback


class Notes(MqttObserver):
    """What a core tells, in order. A payload is copied, and released, as a client does."""

    def __init__(self):
        self.events = []

    def on_connack(self, present, code):
        self.events.append(("connack", present, code))

    def on_publish(self, topic, payload, first, ident):
        assert type(payload) is memoryview and payload.readonly
        self.events.append(("publish", topic, bytes(payload), first, ident))
        payload.release()

    def on_puback(self, ident):
        self.events.append(("puback", ident))

    def on_suback(self, ident, codes):
        self.events.append(("suback", ident, codes))

    def on_unsuback(self, ident):
        self.events.append(("unsuback", ident))

    def on_pingresp(self):
        self.events.append(("pingresp",))


TOPIC = packets.topic_name("t")


def made(up=True, clean=True, **options):
    core = MqttCore(Notes(), **options)
    core.connect("a", clean=clean)
    if up:
        core.feed(ACCEPTED)
        del core.observer.events[:]
        for ident in (1, 2, 300):
            core.publish(packets.QOS_1, TOPIC, b"", ident)
        core.subscribe(4, [(TOPIC, 0)])
        core.subscribe(5, [(TOPIC, 0), (TOPIC, 1)])
        core.unsubscribe(6, [TOPIC])
    return core


GOOD = [
    (publish("t"), ("publish", "t", b"", 0x30, 0)),
    (publish("a/b", b"data"), ("publish", "a/b", b"data", 0x30, 0)),
    (publish("a/b", b"data", flags=1), ("publish", "a/b", b"data", 0x31, 0)),
    (publish("a/b", b"data", 1, 7), ("publish", "a/b", b"data", 0x32, 7)),
    (publish("a/b", b"", 1, 65535, 9), ("publish", "a/b", b"", 0x3b, 65535)),
    (publish("$SYS/x", b"\0"), ("publish", "$SYS/x", b"\0", 0x30, 0)),
    (publish("\ufeff\xe9\U0001f600", b"x"), ("publish", "\ufeff\xe9\U0001f600", b"x", 0x30, 0)),
    (publish("t", bytes(124)), ("publish", "t", bytes(124), 0x30, 0)),
    (publish("t", bytes(125)), ("publish", "t", bytes(125), 0x30, 0)),
    (publish("t", bytes(300), 1, 9), ("publish", "t", bytes(300), 0x32, 9)),
    (publish("x" * 65535, b"y"), ("publish", "x" * 65535, b"y", 0x30, 0)),
    (b"\x30\x84\x80\x00\x00\x01tx", ("publish", "t", b"x", 0x30, 0)),  # a length need not be the shortest in 3.1.1
    (puback(2), ("puback", 2)), (puback(300), ("puback", 300)),
    (suback(4, 0), ("suback", 4, b"\0")), (suback(5, 0x80, 1), ("suback", 5, b"\x80\x01")),
    (suback(5, 0, 0), ("suback", 5, b"\0\0")),
    (unsuback(6), ("unsuback", 6)),
    (PONG, ("pingresp",)),
]
BAD = [  # what a broker sends, and the rule that it breaks
    (b"\x00\x00", "section 2.2.1"), (b"\xf0\x00", "section 2.2.1"),
    (b"\x10\x00", "section 2.2.1"), (b"\x82\x00", "section 2.2.1"), (b"\xa2\x00", "section 2.2.1"),
    (b"\xc0\x00", "section 2.2.1"),
    (b"\xe0\x00", "section 2.2.1"), (b"\x50\x02\0\1", "section 4.3.3"), (b"\x62\x02\0\1", "section 4.3.3"),
    (b"\x70\x02\0\1", "section 4.3.3"),
    (b"\x41\x02\0\1", "MQTT-2.2.2-2"), (b"\x92\x03\0\4\0", "MQTT-2.2.2-2"), (b"\xb8\x02\0\6", "MQTT-2.2.2-2"),
    (b"\xd1\x00", "MQTT-2.2.2-2"),
    (b"\x30\x80\x80\x80\x80\x01", "section 2.2.3"), (b"\x30\xff\xff\xff\xff", "section 2.2.3"),
    (ACCEPTED, "section 3.2"), (RESUMED, "section 3.2"),
    (publish("t", qos=3, ident=1), "MQTT-3.3.1-4"), (publish("t", qos=2, ident=1), "MQTT-3.8.4-6"),
    (publish("t", flags=8), "MQTT-3.3.1-2"), (publish("t", qos=1, ident=0), "MQTT-2.3.1-1"),
    (publish(""), "MQTT-4.7.3-1"), (publish("a/#"), "MQTT-3.3.2-2"), (publish("+"), "MQTT-3.3.2-2"),
    (publish(b"a\0b"), "MQTT-1.5.3-2"), (publish(b"\xff"), "MQTT-1.5.3-1"), (publish(b"\xed\xa0\x80"), "MQTT-1.5.3-1"),
    (publish(b"\xc0\x80"), "MQTT-1.5.3-1"),
    (b"\x30\x00", "section 3.3"), (b"\x30\x01\x00", "section 3.3"), (b"\x30\x02\x00\x01", "section 3.3.2.1"),
    (b"\x30\x03\x00\x02t", "section 3.3.2.1"), (b"\x32\x03\x00\x01t", "section 3.3"), (b"\x32\x04\x00\x01t\x00", "section 3.3"),
    (b"\x40\x00", "section 3.4.1"), (b"\x40\x03\0\1\0", "section 3.4.1"), (puback(0), "MQTT-2.3.1-6"),
    (puback(3), "MQTT-2.3.1-6"),
    (puback(4), "MQTT-2.3.1-6"),
    (b"\x90\x00", "section 3.9"), (b"\x90\x02\0\4", "section 3.9"), (suback(1, 0), "MQTT-2.3.1-7"),
    (suback(6, 0), "MQTT-2.3.1-7"),
    (suback(4, 0, 0), "MQTT-3.8.4-5"), (suback(5, 0), "MQTT-3.8.4-5"), (suback(4, 3), "MQTT-3.9.3-2"),
    (suback(4, 0x81), "MQTT-3.9.3-2"), (suback(4, 0xff), "MQTT-3.9.3-2"), (suback(4, 1), "MQTT-3.8.4-6"),
    (suback(5, 0, 2), "MQTT-3.8.4-6"),
    (b"\xb0\x00", "section 3.11.1"), (unsuback(5), "MQTT-2.3.1-7"), (unsuback(0), "MQTT-2.3.1-7"),
    (b"\xd0\x01\x00", "section 3.13.1"),
]
BAD_ANSWERS = [  # the same before CONNACK
    (publish("t"), "MQTT-3.2.0-1"), (PONG, "MQTT-3.2.0-1"), (b"\x21\x02\0\0", "MQTT-2.2.2-2"), (b"\x20\x01\0", "section 3.2.1"),
    (b"\x20\x03\0\0\0", "section 3.2.1"), (b"\x20\x02\x02\0", "section 3.2.2.1"), (b"\x20\x02\0\x06", "section 3.2.2.3"),
    (b"\x20\x02\x01\x01", "MQTT-3.2.2-4"), (RESUMED, "MQTT-3.2.2-1"), (b"HTTP/1.1 400 Bad Request\r\n", "MQTT-3.2.0-1"),
    (b"\x15\x03\x03\x00\x02\x02\x46", "MQTT-3.2.0-1"),
]


def told(core, data, pieces):
    """What the core tells of `data`, fed in pieces: events, and the rule that was broken, or None."""
    try:
        for piece in pieces:
            assert core.feed(piece) == len(piece)
    except icey.MqttError as exc:
        return core.observer.events, exc.rule
    return core.observer.events, None


def splits(data):
    """`data` in two pieces at every place, and byte by byte."""
    yield [data]
    for at in range(1, min(len(data), 200)):
        yield [data[:at], data[at:]]
    yield [data[at:at + 1] for at in range(len(data))] if len(data) < 1000 else [data[:70], data[70:]]


@pytest.mark.parametrize("data, event", GOOD, ids=[str(row[1][:2])[:40] for row in GOOD])
def test_what_comes_is_told_however_it_is_split(data, event):
    for pieces in splits(data):
        assert told(made(), data, pieces) == ([event], None)


@pytest.mark.parametrize("data, rule", BAD, ids=[repr(row[0][:12]) for row in BAD])
def test_a_broken_rule_is_named_however_it_is_split(data, rule):
    for pieces in splits(data):
        if rule == "MQTT-2.2.2-2" or data[:1] > b"\xe0":
            pieces = pieces[:1]  # its head says so
        assert told(made(), data, pieces) == ([], rule)


@pytest.mark.parametrize("data, rule", BAD_ANSWERS, ids=[repr(row[0][:12]) for row in BAD_ANSWERS])
def test_what_may_not_come_first(data, rule):
    for pieces in splits(data):
        assert told(made(up=False), data, pieces) == ([], rule)


@pytest.mark.parametrize("data, event, clean", [
    (ACCEPTED, ("connack", False, 0), True), (ACCEPTED, ("connack", False, 0), False), (RESUMED, ("connack", True, 0), False),
    (b"\x20\x02\0\x05", ("connack", False, 5), True),
])
def test_the_answer_to_connect(data, event, clean):
    for pieces in splits(data):
        core = made(up=False, clean=clean)
        assert told(core, data, pieces) == ([event], None)
        if event[2]:
            assert core.feed(publish("t")) == 5 and core.observer.events == [event], "what follows a refusal is dropped"
            with pytest.raises(icey.StateError):
                core.publish(0, TOPIC, b"")


def test_an_error_says_what_happened():
    with pytest.raises(icey.MqttError) as caught:
        made().feed(puback(9))
    assert str(caught.value) == "a PUBACK for 9, which is no message that waits for one [MQTT-2.3.1-6]"
    assert isinstance(caught.value, icey.ProtocolError)


def test_behind_an_error_it_is_over():
    core = made()
    with pytest.raises(icey.MqttError):
        core.feed(publish("before") + b"\x00\x00" + publish("behind"))
    assert [event[1] for event in core.observer.events] == ["before"]
    assert core.feed(publish("later")) == len(publish("later")) and len(core.observer.events) == 1


def test_an_identifier_is_free_again_once_it_was_answered():
    core = made()
    assert core.uses(1) and core.uses(4) and core.uses(6) and not core.uses(7)
    core.feed(puback(1) + suback(4, 0) + unsuback(6))
    assert not core.uses(1) and not core.uses(4) and not core.uses(6)
    for again in (puback(1), suback(4, 0), unsuback(6)):
        core = made()
        with pytest.raises(icey.MqttError):
            core.feed(again + again)
        assert len(core.observer.events) == 1


# limits

def test_a_packet_has_max_message_bytes_and_no_more():
    data = publish("t", bytes(97))
    for pieces in splits(data):
        assert told(made(max_message=100), data, pieces)[1] is None
        assert told(made(max_message=99), data, pieces) == ([], "section 2.2.3")


def test_a_packet_that_is_too_long_is_refused_by_its_head():
    core = made(max_message=1000)
    with pytest.raises(icey.MqttError, match="max_message is 1000"):
        core.feed(b"\x30\xff\xff\xff\x7f")
    core = made(max_message=None)
    assert core.feed(b"\x30\xff\xff\xff\x7f\x00\x01t") == 8


@pytest.mark.parametrize("head, rule", [(b"\x00", "section 2.2.1"), (b"\x36", "MQTT-3.3.1-4"), (b"\x34", "MQTT-3.8.4-6"),
                                        (b"\x41", "MQTT-2.2.2-2"), (b"\x20", "section 3.2")])
def test_what_may_not_come_is_refused_by_its_first_byte(head, rule):
    with pytest.raises(icey.MqttError) as caught:
        made().feed(head)
    assert caught.value.rule == rule


def test_a_long_message_comes_in_pieces():
    data = publish("t", bytes(range(256)) * 4096, 1, 7)
    core = made()
    for at in range(0, len(data), 1000):
        assert core.feed(data[at:at + 1000]) == len(data[at:at + 1000])
    assert core.observer.events == [("publish", "t", bytes(range(256)) * 4096, 0x32, 7)]
    core.feed(PONG)
    assert core.observer.events[1:] == [("pingresp",)]


def test_a_long_message_in_tiny_pieces_takes_little_more_than_it_says():
    core, data = made(), publish("t", bytes(20000))
    for at in range(len(data) - 1):
        core.feed(data[at:at + 1])
    assert len(core._pieces) < 4
    core.feed(data[-1:])
    assert len(core.observer.events) == 1


def test_topics_are_remembered_up_to_a_bound():
    core = made()
    for number in range(3 * KEPT_TOPICS):
        core.feed(publish("t/%d" % number))
    assert len(core._topics) <= KEPT_TOPICS
    assert [event[1] for event in core.observer.events] == ["t/%d" % number for number in range(3 * KEPT_TOPICS)]


def test_long_topics_are_not_remembered():
    core = made()
    core.feed(publish("t" * 257) + publish("t" * 256))
    assert len(core._topics) == 1 and len(core.observer.events) == 2


# holding, bursts

def test_a_held_core_stops_behind_the_packet_at_hand():
    core, data = made(), publish("a") + publish("b") + publish("c")
    notes = core.observer

    class Holding(Notes):
        def on_publish(self, topic, payload, first, ident):
            super().on_publish(topic, payload, first, ident)
            core.held = True

    core.observer = Holding()
    assert core.feed(data[:3]) == 3
    assert core.feed(data[3:]) == 2
    core.held = False
    core.observer = notes
    assert core.feed(data[5:]) == len(data) - 5
    assert [event[1] for event in notes.events] == ["b", "c"]


def test_a_burst_is_bounded():
    core, data = made(), publish("t") * 10
    core.burst = 4
    used = 0
    while used < len(data):
        before, took = len(core.observer.events), core.feed(data[used:])
        assert len(core.observer.events) - before <= 4 and took
        used += took
    assert len(core.observer.events) == 10


def test_an_exception_of_the_observer_passes_through_and_ends_it():
    class Raising(Notes):
        def on_publish(self, *args):
            raise KeyboardInterrupt

    core = made()
    core.observer = Raising()
    with pytest.raises(KeyboardInterrupt):
        core.feed(publish("t") + publish("t"))
    assert core.feed(publish("t")) == 5


# out

def test_calls_have_their_order():
    core = MqttCore(Notes())
    for call in (lambda: core.publish(0, TOPIC, b""), lambda: core.subscribe(1, [(TOPIC, 0)]),
                 lambda: core.unsubscribe(1, [TOPIC])):
        with pytest.raises(icey.StateError, match="wait for on_connack"):
            call()
    core.connect("a", will=("t", b"x"))
    with pytest.raises(icey.StateError, match="MQTT-3.1.0-2"):
        core.connect("a")
    assert core.disconnect() == packets.GOODBYE
    assert core.feed(ACCEPTED) == 4 and core.observer.events == []


def test_an_observer_may_ignore_everything():
    core = MqttCore(MqttObserver())
    core.connect("a")
    core.feed(ACCEPTED)
    core.publish(packets.QOS_1, TOPIC, b"", 1)
    core.subscribe(2, [(TOPIC, 0)])
    core.unsubscribe(3, [TOPIC])
    core.feed(publish("t") + puback(1) + suback(2, 0) + unsuback(3) + PONG)


# at random

def stream_at_random(rng):
    """Packets as a broker may send them to `made()`, and now and then one that it may not."""
    once = [row[0] for row in GOOD[-7:]]
    rng.shuffle(once)
    out = []
    for _ in range(rng.randrange(1, 30)):
        kind = rng.random()
        if kind < 0.2 and once:
            out.append(once.pop())
        elif kind < 0.97:
            qos = rng.randrange(2)
            topic = rng.choice(("a", "b/c", "\xe9" * rng.randrange(1, 80)))
            out.append(publish(topic, bytes(rng.randrange(rng.choice((3, 200, 3000)))), qos,
                               rng.randrange(1, 65536) if qos else None, rng.randrange(2)))
        else:
            out.append(rng.choice(BAD)[0])
    return b"".join(out)


@pytest.mark.parametrize("round", range(4))
def test_pieces_of_any_size_tell_the_same(round):
    rng = seeds.rng()
    for _ in range(seeds.rounds(40, 400)):
        data = stream_at_random(rng)
        whole = told(made(), data, [data])
        pieces, at = [], 0
        while at < len(data):
            size = rng.randrange(1, rng.choice((3, 40, 2000)))
            pieces.append(data[at:at + size])
            at += size
        assert told(made(), data, pieces) == whole


def test_helpers_agree():
    assert packet(0x30, text("t")) == publish("t") == b"\x30\x03\x00\x01t"
