"""What a client sends, byte for byte, and what it refuses to send."""
import pytest

from icey.mqtt import Will, packets
from tests.support import mqtt


@pytest.mark.parametrize("size, coded", [
    (0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (16383, b"\xff\x7f"), (16384, b"\x80\x80\x01"),
    (2097151, b"\xff\xff\x7f"),
    (2097152, b"\x80\x80\x80\x01"), (268435455, b"\xff\xff\xff\x7f"),
])
def test_remaining_lengths_are_those_of_table_2_4(size, coded):
    assert packets.length(size) == coded


def test_a_packet_has_an_end():
    with pytest.raises(ValueError, match="section 2.2.3"):
        packets.length(268435456)


@pytest.mark.parametrize("arguments, sent", [
    (("a", True, 60, None, None, None), b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"),
    (("", True, 0, None, None, None), b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"),
    (("a", False, 65535, None, None, None), b"\x10\x0d\x00\x04MQTT\x04\x00\xff\xff\x00\x01a"),
    (("a", True, 1, Will("t", b"gone", 1, True), None, None),
     b"\x10\x16\x00\x04MQTT\x04\x2e\x00\x01\x00\x01a\x00\x01t\x00\x04gone"),
    (("a", True, 1, Will("t", b"", 0, False), "u", None),
     b"\x10\x15\x00\x04MQTT\x04\x86\x00\x01\x00\x01a\x00\x01t\x00\x00\x00\x01u"),
    (("a", True, 1, None, "u", b"\xff\x00"), b"\x10\x14\x00\x04MQTT\x04\xc2\x00\x01\x00\x01a\x00\x01u\x00\x02\xff\x00"),
])
def test_connect(arguments, sent):
    assert packets.connect(*arguments) == sent


@pytest.mark.parametrize("size", [0, 1, 120, 124, 125, 16000, 16383, 16384, 70000, 2100000])
@pytest.mark.parametrize("flags, ident", [(0, 0), (1, 0), (2, 1), (10, 0xabcd), (3, 65535)])
def test_publish(size, flags, ident):
    data = bytes(size)
    made = packets.publish(0x30 | flags, packets.topic_name("a/b"), data, ident)
    if type(made) is list:
        assert made[1] is data, "a long one is not copied"
        made = b"".join(made)
    else:
        assert size < packets.LARGE
    assert made == mqtt.publish("a/b", data, flags >> 1 & 1, ident if flags & 2 else None, flags & 9)


def test_small_packets():
    assert packets.puback(0x1234) == b"\x40\x02\x12\x34"
    assert packets.subscribe(10, [(b"\0\1a", 0), (b"\0\1#", 1)]) == b"\x82\x0a\x00\x0a\x00\x01a\x00\x00\x01#\x01"
    assert packets.unsubscribe(10, [b"\0\1a", b"\0\1#"]) == b"\xa2\x08\x00\x0a\x00\x01a\x00\x01#"
    assert packets.PING == b"\xc0\x00" and packets.GOODBYE == b"\xe0\x00"


@pytest.mark.parametrize("topic, rule", [
    ("", "MQTT-4.7.3-1"), ("a/+", "MQTT-3.3.2-2"), ("#", "MQTT-3.3.2-2"), ("a\0", "MQTT-1.5.3-2"), ("\ud800", "MQTT-1.5.3-1"),
    ("x" * 65536, "MQTT-4.7.3-3"), ("\xe9" * 32768, "MQTT-4.7.3-3"),
])
def test_what_is_no_topic(topic, rule):
    with pytest.raises(ValueError, match=rule):
        packets.topic_name(topic)


@pytest.mark.parametrize("wanted, rule", [
    ("", "MQTT-4.7.3-1"), ("a#", "MQTT-4.7.1-2"), ("#/a", "MQTT-4.7.1-2"), ("a/#/b", "MQTT-4.7.1-2"), ("a+", "MQTT-4.7.1-3"),
    ("+a/b", "MQTT-4.7.1-3"), ("a/+b/#", "MQTT-4.7.1-3"), ("\0", "MQTT-1.5.3-2"), ("+" + "/x" * 32768, "MQTT-4.7.3-3"),
])
def test_what_is_no_filter(wanted, rule):
    with pytest.raises(ValueError, match=rule):
        packets.topic_filter(wanted)


@pytest.mark.parametrize("wanted", ["#", "+", "/", "//", "a/+/#", "+/+", "$SYS/#", "a b", "\ufeff", "x" * 65535])
def test_filters(wanted):
    assert packets.topic_filter(wanted) == mqtt.text(wanted)


@pytest.mark.parametrize("value", [b"a", None, 1, ["a"]])
def test_texts_are_str(value):
    for check in (packets.topic_name, packets.topic_filter):
        with pytest.raises(TypeError, match="is a str, not"):
            check(value)


@pytest.mark.parametrize("qos, said", [(2, "QoS 2 is not spoken"), (3, "not 3"), (-1, "not -1"), (True, "not True"),
                                       (None, "not None"), ("1", "not '1'")])
def test_qualities_of_service(qos, said):
    with pytest.raises(ValueError, match=said):
        packets.service(qos)


def test_a_will_is_checked_when_it_is_given():
    assert packets.last_will(None) is None
    assert packets.last_will(("t", bytearray(b"x"))) == Will("t", b"x", 0, False) == ("t", b"x", 0, False)
    for will, kind in [(("+", b""), ValueError), (("t", "text"), TypeError), (("t", b"", 2), ValueError), (("t",), TypeError),
                       ("t", TypeError), (("t", bytes(65536)), ValueError)]:
        with pytest.raises(kind):
            packets.last_will(will)
