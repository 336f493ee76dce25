"""A PacketStream that goes on elsewhere: Source and Sink, back-pressure, drop policies, ends and failures."""
import pytest

import icey
from icey import PacketFlags, PacketStream, RawPacket
from icey.mqtt import MessagePacket, Sink, Source
from tests.support import mqtt
from tests.support.mqtt import puback, publish
from tests.support.streams import names

debug, clock, reports, loop, site = mqtt.debug, mqtt.clock, mqtt.reports, mqtt.loop, mqtt.site


def fed(site, client, broker, wanted="a/#", qos=0):
    """A started PacketStream that a Source feeds, what came out of it, and the source."""
    stream, out = PacketStream("fed"), []
    source = Source(client, wanted, qos=qos)
    stream.attach_source(source, sync_state=True)
    stream.on_packet += lambda packet: out.append(
        "FINAL" if packet.flags & PacketFlags.FINAL else (packet.topic, bytes(packet.data)))
    stream.start()
    assert broker.subscription() == [(wanted, qos)]
    return stream, out, source


# Source

def test_each_message_is_a_packet_that_knows_its_topic(site):
    client, broker = site.both()
    stream, out, source = fed(site, client, broker)
    packets = []
    stream.on_packet += lambda packet: packets.append((packet.clone(), packet.borrowed))
    broker.send(publish("a/b", b"one") + publish("a", b"two", flags=1) + publish("other", b"x") + publish("a/c"))
    site.until(lambda: len(out) == 3)
    assert out == [("a/b", b"one"), ("a", b"two"), ("a/c", b"")]
    clones = [clone for clone, _ in packets]
    assert [(clone.topic, bytes(clone.data), clone.retained, type(clone)) for clone in clones] == [
        ("a/b", b"one", False, MessagePacket), ("a", b"two", True, MessagePacket), ("a/c", b"", False, MessagePacket)]
    assert all(borrowed for _, borrowed in packets), "lent, not copied"
    stream.close()
    assert broker.packet()[0] == 0xa2, "stop() ends the subscription"


def test_messages_of_qos_1_are_acknowledged_when_they_went_on(site):
    client, broker = site.both()
    fed(site, client, broker, qos=1)
    broker.send(publish("a", b"x", 1, 7))
    assert broker.packet() == (0x40, b"\0\x07")


def test_what_makes_the_stream_fail_is_not_acknowledged(site):
    client, broker = site.both()
    stream, out, source = fed(site, client, broker, qos=1)
    stream.on_error += lambda stream, exc: out.append(type(exc).__name__)

    def failing(packet):
        if packet.data == b"bad":
            raise ArithmeticError

    stream.on_packet += failing
    broker.send(publish("a", b"good", 1, 1) + publish("a", b"bad", 1, 2))
    assert broker.packet() == (0x40, b"\0\1")
    site.until(lambda: stream.error is not None)
    while not broker.quiet():
        assert broker.packet()[0] != 0x40
    assert out == [("a", b"good"), ("a", b"bad"), "ArithmeticError"] and client.connected


def test_a_paused_stream_keeps_messages_of_qos_1_unacknowledged(site):
    client, broker = site.both()
    stream, out, source = fed(site, client, broker, qos=1)
    stream.pause()
    broker.send(b"".join(publish("a", b"%d" % n, 1, n) for n in range(1, 6)))
    site.turn(5)
    assert not out and broker.quiet()
    client.publish("t", b"x", qos=1)
    broker.message()
    broker.send(puback(2 if client.outbox.inflight.get(2) else 1))
    site.until(lambda: not client.inflight)
    stream.resume()
    assert not out, "it goes on from the loop"
    assert [broker.packet() for _ in range(5)] == [(0x40, bytes([0, n])) for n in range(1, 6)]
    assert out == [("a", b"%d" % n) for n in range(1, 6)]


def test_a_slot_that_raises_at_what_was_kept_costs_no_other_message(site, reports):
    client, broker = site.both()
    stream, out, source = fed(site, client, broker, qos=1)

    def failing(packet):
        if packet.data == b"2":
            raise ArithmeticError

    source.on_packet.attach(failing, priority=1)
    stream.pause()
    broker.send(b"".join(publish("a", b"%d" % n, 1, n) for n in range(1, 4)))
    site.turn(5)
    stream.resume()
    site.until(lambda: len(out) == 3)
    broker.send(publish("a", b"4", 1, 4))
    site.until(lambda: len(out) == 4)
    assert out == [("a", b"%d" % n) for n in range(1, 5)] and [type(exc) for exc, _ in reports] == [ArithmeticError]
    assert [broker.packet() for _ in range(3)] == [(0x40, bytes([0, n])) for n in (1, 3, 4)], "but for the one that failed"
    reports.clear()


def test_what_was_kept_comes_before_what_came_since(site):
    client, broker = site.both()
    stream, out, source = fed(site, client, broker, qos=1)
    stream.pause()
    broker.send(publish("a", b"1", 1, 1) + publish("a", b"2", 1, 2))
    site.turn(5)
    stream.on_packet += lambda packet: stream.pause() if packet.data == b"1" else None
    stream.resume()
    site.turn(3)
    broker.send(publish("a", b"3", 1, 3))
    site.turn(3)
    assert out == [("a", b"1")]
    stream.resume()
    site.until(lambda: len(out) == 3)
    assert [data for _, data in out] == [b"1", b"2", b"3"]


def test_a_paused_stream_has_few_messages_of_qos_0_read(site):
    client, broker = site.both()
    stream, out, source = fed(site, client, broker)
    stream.pause()
    broker.send(b"".join(publish("a", b"%d" % n) for n in range(1000)))
    site.turn(10)
    assert not out and len(source._kept) == 64 and client.connection.held
    stream.resume()
    site.until(lambda: len(out) == 1000)
    assert [int(data) for _, data in out] == list(range(1000)) and not client.connection.held


def test_an_acknowledgement_of_a_connection_that_is_gone_is_not_sent(site):
    client, broker = site.both()
    stream, out, source = fed(site, client, broker, qos=1)
    stream.pause()
    broker.send(publish("a", b"x", 1, 1))
    site.turn(5)
    broker.sock.close()
    site.until(lambda: names(client.data)[-1:] == ["disconnect"])
    site.wait(1)
    broker = site.accept()
    broker.subscription()
    site.until(lambda: client.connected)
    stream.resume()
    site.until(lambda: out)
    assert broker.quiet()


def test_a_lost_connection_is_no_end(site):
    client, broker = site.both()
    stream, out, source = fed(site, client, broker)
    broker.sock.close()
    site.until(lambda: client.data)
    site.wait(1)
    broker = site.accept()
    broker.subscription()
    broker.send(publish("a", b"x"))
    site.until(lambda: out)
    assert out == [("a", b"x")] and stream.active


@pytest.mark.parametrize("held", [False, True])
def test_a_client_that_is_closed_is_the_end(site, held):
    client, broker = site.both()
    stream, out, source = fed(site, client, broker)
    if held:
        stream.pause()
        broker.send(publish("a", b"x"))
        site.turn(3)
    client.close()
    broker.read_all()
    broker.sock.close()
    site.until(lambda: client.closed)
    if held:
        assert not out
        stream.resume()
    site.until(lambda: out[-1:] == ["FINAL"])
    assert out == ([("a", b"x")] if held else []) + ["FINAL"]


def test_a_client_that_is_aborted_is_none(site):
    client, broker = site.both()
    stream, out, source = fed(site, client, broker)
    stream.on_error += lambda stream, exc: out.append(exc)
    client.abort()
    site.turn(3)
    assert isinstance(out[0], icey.PeerClosed) and len(out) == 1


def test_start_and_stop(site):
    client, broker = site.both()
    source = Source(client, "a", qos=1)
    source.start()
    source.start()
    assert broker.subscription() == [("a", 1)]
    source.stop()
    source.stop()
    assert broker.packet()[0] == 0xa2
    client.abort()
    site.turn(2)
    with pytest.raises(icey.StateError, match="client is closed"):
        source.start()
    for wanted, qos in (("a#", 0), ("a", 2)):
        with pytest.raises(ValueError):
            Source(client, wanted, qos=qos)


def test_two_sources_may_share_a_filter(site):
    client, broker = site.both()
    _, one, first = fed(site, client, broker, "a")
    second, two = Source(client, "a"), []
    second.on_packet += lambda packet: two.append(bytes(packet.data))
    second.start()
    assert broker.quiet()
    broker.send(publish("a", b"x"))
    site.until(lambda: two)
    first.stop()
    assert broker.quiet()
    broker.send(publish("a", b"y"))
    site.until(lambda: len(two) == 2)
    assert one == [("a", b"x")]


@pytest.mark.parametrize("first", [0, 1])
def test_a_message_that_two_keep_is_acknowledged_once_when_both_have_sent_it_on(site, first):
    client, broker = site.both()
    streams = [fed(site, client, broker, wanted, 1) for wanted in ("a/#", "a/+")]
    for stream, _, _ in streams:
        stream.pause()
    broker.send(publish("a/b", b"x", 1, 7) + publish("a/b", b"y", 1, 8))
    site.turn(5)
    streams[first][0].resume()
    site.until(lambda: len(streams[first][1]) == 2)
    assert broker.quiet() and not streams[1 - first][1]
    streams[1 - first][0].resume()
    assert [broker.packet(), broker.packet()] == [(0x40, b"\0\7"), (0x40, b"\0\x08")] and broker.quiet()
    broker.send(publish("a/b", b"z", 1, 7))  # the number is free again
    assert broker.packet() == (0x40, b"\0\7") and broker.quiet()


def test_a_message_that_one_keeps_and_another_fails_at_is_not_acknowledged(site, reports):
    def failing(client, topic, view):
        raise ArithmeticError

    client, broker = site.both()
    stream, out, _ = fed(site, client, broker, "a/#", 1)
    client.subscribe("a/b", failing, qos=1)
    broker.subscription()
    stream.pause()
    broker.send(publish("a/b", b"x", 1, 7))
    site.until(lambda: reports)
    stream.resume()
    site.until(lambda: out)
    assert broker.quiet() and isinstance(reports.pop()[0], ArithmeticError)
    broker.sock.close()
    site.until(lambda: names(client.data)[-1:] == ["disconnect"])
    site.wait(1)
    broker = site.accept()
    broker.subscription()
    client.unsubscribe("a/b")
    assert broker.packet()[0] == 0xa2
    broker.send(publish("a/b", b"x", 1, 7, flags=8))
    assert broker.packet() == (0x40, b"\0\7")


# Sink

def sinking(client, **options):
    """A started stream with a Sink to "t", and the sink."""
    stream, sink = PacketStream("sinking"), Sink(client, "t", **options)
    stream.attach(sink)
    stream.start()
    return stream, sink


@pytest.mark.parametrize("qos, retain", [(0, False), (1, True)])
def test_each_packet_is_a_message(site, qos, retain):
    client, broker = site.both()
    stream, sink = sinking(client, qos=qos, retain=retain)
    memory = bytearray(b"lent")
    for data in (b"owned", memory, RawPacket(b"")):
        stream.write(data)
    memory[:] = b"gone"
    got = [broker.message() for _ in range(3)]
    assert [(data, service, kept) for _, data, service, _, _, kept in got] == [
        (b"owned", qos, retain), (b"lent", qos, retain), (b"", qos, retain)]


def test_the_end_is_no_message_and_leaves_the_client_open(site):
    client, broker = site.both()
    stream, sink = sinking(client)
    closed = []
    sink.on_close += closed.append
    stream.write(RawPacket(b"last", PacketFlags.FINAL))
    assert broker.message()[1] == b"last" and broker.quiet()
    site.turn(2)
    assert closed == [sink] and client.connected and len(client.on_drain) == 1


@pytest.mark.parametrize("drop, sent, dropped", [
    ("oldest", [0, 1, 2, 8, 9], 5), ("newest", [0, 1, 2], 7), ("latest", [0, 1, 2, 9], 6),
])
def test_a_client_without_room_drops_by_policy(site, drop, sent, dropped):
    client, broker = site.both(max_inflight=2)
    stream, sink = sinking(client, qos=1, drop=drop, max_queue=2)
    for number in range(10):
        stream.write(b"%d" % number)
    assert sink.full
    got = []
    for ident in range(1, len(sent) + 1):
        got.append(int(broker.message()[1]))
        broker.send(puback(ident))
    assert broker.quiet() and got == sent and sink.dropped == dropped
    site.until(lambda: not client.inflight)
    assert not sink.full


def test_pause_holds_up_the_stream(site):
    client, broker = site.both(max_inflight=2)
    stream, sink = sinking(client, qos=1, drop="pause")
    for number in range(3):
        assert stream.active
        stream.write(b"%d" % number)
    assert stream.state is icey.PacketStreamState.PAUSED
    for ident in (1, 2):
        assert broker.message()[3] == ident
        broker.send(puback(ident))
    assert broker.message()[1] == b"2"
    site.until(lambda: stream.active)
    assert not sink.dropped


def test_a_sink_of_a_client_that_is_away_keeps_up_to_its_limits(site):
    client = site.client(limits=icey.Limits(high_water=20, low_water=5))
    stream, sink = sinking(client, max_queue=3)
    for number in range(20):
        stream.write(b"%02d" % number)
    assert client.queued == 20 and sink.depth == 3 and sink.dropped == 13
    broker = site.accept()
    assert [int(broker.message()[1]) for _ in range(7)] == [0, 1, 2, 3, 17, 18, 19]


def test_a_source_and_a_sink_of_one_client_do_not_wait_for_each_other(site):
    client, broker = site.both(max_inflight=1)
    stream, sink = PacketStream("through"), Sink(client, "out", qos=1, drop="pause")
    stream.attach_source(Source(client, "in", qos=1), sync_state=True)
    stream.attach(sink)
    stream.start()
    broker.subscription()
    broker.send(b"".join(publish("in", b"%d" % n, 1, n) for n in range(1, 20)))
    out, acknowledged = [], 0
    while len(out) < 19 or acknowledged < 19:
        first, rest = broker.packet()
        if first == 0x40:
            acknowledged += 1
        else:
            topic, data, _, ident, _, _ = mqtt.published(first, rest)
            out.append(int(data))
            broker.send(puback(ident))
    assert out == list(range(1, 20)) and not sink.dropped


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_client_that_is_gone_ends_the_stream_that_only_feeds_it(site, how):
    client, broker = site.both()
    stream, sink = PacketStream("fed"), Sink(client, "t")
    stream.attach_source(icey.TimerSource(site.loop, 1, lambda count: b"x"), sync_state=True)
    stream.attach(sink)
    stream.start()
    getattr(client, how)()
    if how == "close":
        broker.read_all()
        broker.sock.close()
    site.until(lambda: client.closed)
    site.turn(3)
    assert sink.closed and stream.closed and not sink.serves


def test_a_stream_that_fails_leaves_the_client_alone(site):
    client, broker = site.both()
    stream, sink = sinking(client)
    stream.fail(ArithmeticError())
    site.turn(3)
    assert sink.closed and client.connected
    other, sink = sinking(client)
    sink.abort()
    site.turn(3)
    assert sink.closed and client.connected


@pytest.mark.parametrize("topic, options", [
    ("a/+", {}), ("", {}), ("t", {"qos": 2}), ("t", {"drop": "close"}), ("t", {"drop": "?"}), ("t", {"max_queue": 0}),
])
def test_what_is_no_sink(site, topic, options):
    client = site.client(started=False)
    with pytest.raises(ValueError):
        Sink(client, topic, **options)
    client.close()
