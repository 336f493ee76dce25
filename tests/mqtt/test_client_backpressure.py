"""True and False, on_drain, QueueFull: what a publisher is told of room, with a broker there, slow, or gone."""
import pytest

import icey
from tests.support import mqtt
from tests.support.mqtt import puback, publish
from tests.support.streams import names

debug, clock, reports, loop, site = mqtt.debug, mqtt.clock, mqtt.reports, mqtt.loop, mqtt.site

LIMITS = icey.Limits(high_water=1000, low_water=100, max_queue=5000)


@pytest.mark.parametrize("qos", [0, 1])
def test_without_a_connection_messages_wait_up_to_max_queue(site, qos):
    client = site.client(limits=LIMITS)
    told = []
    with pytest.raises(icey.QueueFull) as caught:
        while True:
            told.append(client.publish("t", bytes(247), qos=qos))
    assert told == [True] * 3 + [False] * (len(told) - 3) and len(told) >= 9
    assert caught.value.full is client and client.queued == 250 * len(told)
    assert "wait for on_drain" in str(caught.value)
    broker = site.accept()
    for ident in range(1, len(told) + 1):
        assert len(broker.message()[1]) == 247
        if qos:
            broker.send(puback(ident))
    site.until(lambda: "drain" in names(client.data))
    assert names(client.data) == ["connect", "drain"] and client.queued == 0
    assert client.publish("t", b"x", qos=qos)


def test_many_empty_messages_are_not_for_nothing(site):
    client = site.client(limits=icey.Limits(max_queue=1 << 20))
    with pytest.raises(icey.QueueFull):
        for _ in range(100000):
            client.publish("t", b"")
    assert len(client.outbox.waiting) < 5000


def test_an_empty_queue_takes_any_one_message(site):
    client, broker = site.both(limits=LIMITS)
    client.publish("t", bytes(100000), qos=1)
    assert len(broker.message()[1]) == 100000
    site.turn()
    assert client.publish("t", b"x", qos=1) and client.inflight == 1 and client.crowded, "so much is on its way that this waits"
    assert broker.quiet()
    broker.send(puback(1))
    assert broker.message()[1] == b"x"
    broker.send(puback(2))
    site.until(lambda: not client.inflight)
    client.pause()
    site.listener.close()
    client.connection.stream.abort()
    site.until(lambda: not client.connected)
    assert not client.publish("t", bytes(100000), qos=1)
    with pytest.raises(icey.QueueFull):
        client.publish("t", b"x")


def test_a_broker_that_does_not_read_is_told_by_false_and_nothing_grows(site):
    client, broker = site.both(keep_alive=0, limits=icey.Limits(max_queue=1 << 20))
    taken = 0
    with pytest.raises(icey.QueueFull):
        while True:
            client.publish("t", bytes(1000))
            taken += 1
            site.turn()
    held = client.queued
    assert held <= 1 << 20
    del client.data[:]  # the system may have taken more in between, and have made room
    for _ in range(100):
        with pytest.raises(icey.QueueFull):
            client.publish("t", bytes(1000))
    assert client.queued == held and "drain" not in names(client.data)
    for _ in range(taken):
        assert len(broker.message()[1]) == 1000
    site.until(lambda: "drain" in names(client.data))


def test_drain_comes_once_and_again(site):
    client, broker = site.both()
    left, most = [100], []

    def more(client):
        while left[0]:
            left[0] -= 1
            below = client.publish("t", bytes(300000))
            most.append(client.queued)
            if not below:
                break

    client.on_drain += more
    more(client)
    for _ in range(100):
        assert len(broker.message()[1]) == 300000
    site.turn(3)
    assert left == [0] and 5 < names(client.data).count("drain") and max(most) < 400000


def test_messages_of_qos_1_wait_for_each_other(site):
    client, broker = site.both(max_inflight=2)
    for number in range(5):
        assert client.publish("t", b"%d" % number, qos=1)
    assert client.inflight == 2 and client.crowded
    assert [broker.message()[1] for _ in range(2)] == [b"0", b"1"] and broker.quiet()
    client.want_drain()
    broker.send(puback(1) + puback(2))
    assert [broker.message()[1] for _ in range(2)] == [b"2", b"3"] and broker.quiet()
    assert not client.data, "one waits still"
    broker.send(puback(3))
    assert broker.message()[1] == b"4"
    assert names(client.data) == ["drain"] and not client.crowded


def test_what_waits_for_room_is_not_lost_with_the_connection(site):
    client, broker = site.both(limits=icey.Limits(high_water=2000, low_water=100))
    client.publish("t", bytes(6 << 20))
    for number in range(10):
        client.publish("t", b"%d" % number)
    broker.sock.close()
    site.until(lambda: names(client.data)[-1:] == ["disconnect"])
    site.wait(1)
    broker = site.accept()
    assert [broker.message()[1] for _ in range(10)] == [b"%d" % number for number in range(10)], "but what was given to it is"


def test_max_queue_below_high_water(site):
    client, broker = site.both(limits=icey.Limits(max_queue=1000))
    assert client.publish("t", bytes(900))
    with pytest.raises(icey.QueueFull):
        client.publish("t", bytes(200))
    with pytest.raises(icey.QueueFull):
        client.publish("t", bytes(200), qos=1)
    assert client.publish("t", bytes(10))
    assert len(broker.message()[1]) == 900 and len(broker.message()[1]) == 10
    site.until(lambda: client.data)
    assert names(client.data) == ["drain"]


@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_longer_than_mqtt_allows(site, monkeypatch, qos):
    client, broker = site.both()
    monkeypatch.setattr("icey.mqtt.packets.LONGEST", 2097151)
    with pytest.raises(ValueError, match="longest"):
        client.publish("t", bytes(2097151), qos=qos)
    assert not client.inflight and not client.queued
    assert client.publish("t", b"x")
    assert broker.message()[1] == b"x"


def test_a_broker_that_takes_no_puback_is_read_no_more(site):
    client, broker = site.both(keep_alive=0, limits=icey.Limits(high_water=4000, low_water=1000, max_queue=20000))
    client.publish("t", bytes(8 << 20))  # more than the system takes: what follows waits here
    stream, told = client.connection.stream, []
    client.on_message += lambda client, topic, view: told.append(1)
    broker.sock.setblocking(False)
    burst, sent = b"".join(publish("t", b"", 1, ident) for ident in range(1, 1001)), 0
    while not stream.paused and sent < 5000:
        try:
            sent += broker.sock.send(burst) == len(burst)
        except BlockingIOError:
            pass
        site.turn()
    while not stream.paused:
        site.turn()
    before = len(told)
    site.turn(5)
    assert len(told) == before and stream.queued < 9 << 20
    broker.sock.setblocking(False)
    assert len(broker.message()[1]) == 8 << 20
    site.until(lambda: not stream.paused)


def test_pause_and_resume(site):
    client, broker = site.both()
    client.pause()
    client.pause()
    broker.send(publish("t", b"1") + publish("t", b"2"))
    site.turn(5)
    assert not client.data
    client.resume()
    assert not client.data
    site.until(lambda: len(client.data) == 2)


def test_pause_in_a_slot_keeps_the_rest(site):
    client, broker = site.both()
    client.on_message += lambda client, topic, view: client.pause()
    broker.send(b"".join(publish("t", b"%d" % number) for number in range(5)))
    for number in range(5):
        site.until(lambda number=number: len(client.data) == number + 1)
        site.turn(3)
        assert len(client.data) == number + 1
        client.resume()
    assert [event[2] for event in client.data] == [b"%d" % number for number in range(5)]


def test_an_end_that_comes_while_it_is_paused_is_told_behind_the_messages(site):
    client, broker = site.both()
    client.on_message += lambda client, topic, view: client.pause()
    broker.send(publish("t", b"1") + publish("t", b"2"))
    site.until(lambda: client.data)
    broker.sock.close()
    site.turn(5)
    assert names(client.data) == ["message"]
    client.resume()
    site.until(lambda: len(client.data) == 2)
    client.resume()
    site.until(lambda: len(client.data) == 3)
    assert names(client.data) == ["message", "message", "disconnect"]


def test_a_pause_outlives_the_connection(site):
    client, broker = site.both()
    client.pause()
    broker.sock.close()
    client.connection.stream.abort()
    site.until(lambda: client.data)
    site.wait(1)
    broker = site.accept()
    broker.send(publish("t"))
    site.until(lambda: client.connected)
    site.turn(5)
    assert names(client.data) == ["disconnect", "connect"]
    client.resume()
    site.until(lambda: len(client.data) == 3)
