"""A lost connection: when the client tries again, what it sends then, and what a refusal means."""
import socket
import struct

import pytest

import icey
from tests.support import mqtt
from tests.support.mqtt import puback, publish, suback, unsuback
from tests.support.streams import names

debug, clock, reports, loop, site = mqtt.debug, mqtt.clock, mqtt.reports, mqtt.loop, mqtt.site


def cut(site, client, broker):
    """The broker is gone; returns what on_disconnect told."""
    broker.sock.close()
    site.until(lambda: names(client.data)[-1:] == ["disconnect"])
    return client.data[-1][1:]


def again(site, client, answer=mqtt.ACCEPTED):
    """The rest is over, and the broker there."""
    site.wait(client.data[-1][2])
    broker = site.accept(answer)
    if answer:
        site.until(lambda: client.connected)
    return broker


# when

def test_it_comes_back_after_a_rest(site):
    client, broker = site.both()
    exc, rest = cut(site, client, broker)
    assert isinstance(exc, icey.PeerClosed) and rest == 1.0 and not client.connected
    before = site.clock()
    again(site, client)
    assert site.clock() - before == pytest.approx(rest)
    assert names(client.data) == ["disconnect", "connect"]


def test_a_reset_is_told(site):
    client, broker = site.both()
    broker.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exc, _ = cut(site, client, broker)
    assert isinstance(exc, OSError)


@pytest.mark.parametrize("jitter, rests", [
    (0.0, [1, 2, 4, 5, 5]), (1.0, [2, 4, 8, 10, 10]), (0.5, [1.5, 3, 6, 7.5, 7.5]),
])
def test_rests_double_between_the_bounds_with_jitter(site, jitter, rests):
    site.stop()
    client = site.client(started=False, reconnect=(1.0, 10.0))
    client.random = lambda: jitter
    client.start()
    for number in range(len(rests)):
        site.until(lambda number=number: len(client.data) > number)
        site.wait(client.data[-1][2])
    site.until(lambda: len(client.data) > len(rests))
    assert [event[2] for event in client.data[:len(rests)]] == rests
    assert all(isinstance(event[1], icey.ConnectError) for event in client.data)


def test_a_connection_that_lived_begins_anew_and_one_that_did_not_goes_on(site):
    client, broker = site.both(keep_alive=0)
    assert cut(site, client, broker)[1] == 1
    broker = again(site, client)
    assert cut(site, client, broker)[1] == 2, "it was gone at once"
    broker = again(site, client)
    site.wait(5)
    assert cut(site, client, broker)[1] == 1


@pytest.mark.parametrize("code, rest", [(1, 30), (2, 30), (3, 1), (4, 30), (5, 30)])
def test_a_broker_that_refuses_is_asked_again_after_the_longest_rest(site, code, rest):
    client = site.client()
    site.accept(bytes([0x20, 2, 0, code]))
    site.until(lambda: client.data)
    (event, exc, retry_in), = client.data
    assert event == "disconnect" and retry_in == rest
    assert isinstance(exc, icey.MqttRefused) and exc.code == code and exc.filter is None
    again(site, client)


def test_without_reconnect_it_is_closed(site):
    client, broker = site.both(reconnect=None)
    broker.sock.close()
    site.until(lambda: client.closed)
    assert names(client.data) == ["disconnect", "close"] and not client.whole
    assert isinstance(client.data[0][1], icey.PeerClosed) and client.data[0][2] is None


def test_a_broker_that_never_answers_connect_is_given_up(site):
    client = site.client(limits=icey.Limits(handshake_timeout=3))
    site.accept(answer=None)
    site.wait(2.9)
    assert not client.data
    site.wait(0.2)
    assert isinstance(client.data[0][1], icey.Deadline) and "CONNECT" in str(client.data[0][1])


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x02\x01\x00", b"\x20\x02\x00\x09"])
def test_what_is_no_answer_to_connect(site, answer):
    client = site.client()
    broker = site.accept(answer)
    site.until(lambda: client.data)
    assert isinstance(client.data[0][1], icey.MqttError) and broker.reset()


def test_an_end_before_the_answer(site):
    client = site.client()
    broker = site.accept(answer=None)
    broker.sock.close()
    site.until(lambda: client.data)
    assert "before it answered" in str(client.data[0][1])


def test_a_slot_of_on_disconnect_may_close_it(site):
    client, broker = site.both()
    client.on_disconnect += lambda client, exc, rest: client.close()
    broker.sock.close()
    site.until(lambda: client.closed)
    site.wait(5)
    assert names(client.data) == ["disconnect", "close"] and client.whole


def test_a_slot_of_on_connect_may_abort_it(site):
    client = site.client()
    client.on_connect += lambda client, resumed: client.abort()
    site.accept()
    site.until(lambda: client.closed)
    assert names(client.data) == ["connect", "close"]


def test_an_unrefed_client_does_not_hold_the_loop_while_it_rests(site, loop):
    site.stop()
    client = site.client()
    client.unref()
    site.until(lambda: client.data)
    loop.run()
    assert names(client.data)[0] == "disconnect"


# what

def test_subscriptions_are_renewed_where_the_session_is_gone(site):
    client, broker = site.both()
    client.subscribe("a", qos=1)
    client.subscribe("b")
    broker.subscription()
    broker.subscription()
    site.turn(3)
    cut(site, client, broker)
    broker = again(site, client)
    assert broker.subscription() == [("a", 1), ("b", 0)]
    assert client.data[-1] == ("connect", False)


def test_subscriptions_are_not_renewed_where_the_session_is_there_but_for_what_changed(site):
    client, broker = site.both(client_id="a", clean=False)
    client.subscribe("a", qos=1)
    client.subscribe("gone")
    broker.subscription()
    broker.subscription()
    client.subscribe("unanswered")
    broker.packet()
    site.turn(3)
    cut(site, client, broker)
    client.subscribe("b")
    client.unsubscribe("gone")
    broker = again(site, client, mqtt.RESUMED)
    assert broker.subscription() == [("unanswered", 0), ("b", 0)]
    first, rest = broker.packet()
    assert (first, rest[2:]) == (0xa2, mqtt.text("gone"))
    broker.send(unsuback(int.from_bytes(rest[:2], "big")))
    site.turn(3)
    assert client.data[-1] == ("connect", True)
    cut(site, client, broker)
    assert again(site, client, mqtt.RESUMED).quiet()


def test_an_unsubscribe_is_forgotten_with_the_session(site):
    client, broker = site.both()
    client.subscribe("a")
    broker.subscription()
    site.turn(3)
    cut(site, client, broker)
    client.unsubscribe("a")
    assert again(site, client).quiet()


def test_a_subscription_that_was_refused_is_asked_for_on_the_next_connection(site):
    client, broker = site.both()
    client.subscribe("a")
    broker.subscription(0x80)
    site.until(lambda: client.data)
    cut(site, client, broker)
    assert again(site, client).subscription() == [("a", 0)]


@pytest.mark.parametrize("answer", [mqtt.ACCEPTED, mqtt.RESUMED])
def test_what_is_unacknowledged_is_sent_again_first_in_order_with_dup(site, answer):
    client, broker = site.both(client_id="a", clean=answer == mqtt.ACCEPTED, max_inflight=3)
    done = []
    for number in range(6):
        client.publish("t", b"%d" % number, qos=1, done=lambda number=number: done.append(number))
    client.publish("t", b"zero")
    assert [broker.message()[1:5] for _ in range(3)] == [(b"%d" % n, 1, n + 1, False) for n in range(3)]
    assert broker.quiet() and client.inflight == 3
    broker.send(puback(2))
    assert broker.message()[1:5] == (b"3", 1, 4, False)
    assert done == [1]
    cut(site, client, broker)
    client.publish("t", b"offline", qos=1)
    broker = again(site, client, answer)
    assert [broker.message()[1:5] for _ in range(3)] == [(b"0", 1, 1, True), (b"2", 1, 3, True), (b"3", 1, 4, True)]
    assert broker.quiet() and client.inflight == 3
    broker.send(puback(1) + puback(3) + puback(4))
    assert [broker.message()[1:5] for _ in range(4)] == [
        (b"4", 1, 5, False), (b"5", 1, 6, False), (b"zero", 0, None, False), (b"offline", 1, 7, False)]
    broker.send(puback(7) + puback(5) + puback(6))
    site.until(lambda: not client.inflight)
    assert done == [1, 0, 2, 3, 4, 5] and not client.queued


def test_what_is_published_while_away_waits(site):
    client = site.client()
    client.publish("t", b"early", qos=1)
    client.publish("t", b"early too")
    broker = site.accept()
    assert broker.message()[1] == b"early" and broker.message()[1] == b"early too"
    broker.send(puback(1))
    site.until(lambda: not client.inflight)
    cut(site, client, broker)
    assert client.publish("t", b"away") and client.queued == 7
    assert again(site, client).message()[1] == b"away"


def test_identifiers_of_what_is_on_its_way_are_not_given_to_subscriptions(site):
    client, broker = site.both()
    client.publish("t", b"", qos=1)
    broker.packet()
    cut(site, client, broker)
    client.outbox._last = 0
    client.subscribe("a")
    broker = again(site, client)
    assert broker.subscription() == [("a", 0)]
    assert broker.message()[3] == 1


def test_a_puback_of_the_connection_before_is_none_of_this_one(site):
    client, broker = site.both()
    client.publish("t", b"", qos=1)
    broker.packet()
    broker.send(puback(1))
    site.until(lambda: not client.inflight)
    cut(site, client, broker)
    broker = again(site, client)
    broker.send(puback(1))
    site.until(lambda: names(client.data)[-1] == "disconnect")
    assert client.data[-1][1].rule == "MQTT-2.3.1-6"


def test_a_message_in_pieces_when_the_connection_is_lost_is_none(site):
    client, broker = site.both()
    broker.send(publish("t", b"whole") + publish("t", bytes(100))[:50])
    site.turn(3)
    cut(site, client, broker)
    broker = again(site, client)
    broker.send(publish("t", b"next"))
    site.until(lambda: names(client.data)[-1] == "message")
    assert [event[2] for event in client.data if event[0] == "message"] == [b"whole", b"next"]


def test_an_interrupt_in_a_slot_passes_through_and_the_client_comes_back(site, loop):
    client, broker = site.both()
    struck = []

    def slot(client, topic, view):
        if not struck:
            struck.append(1)
            raise KeyboardInterrupt

    client.on_message += slot
    broker.send(publish("t", b"x", 1, 7) + publish("t", b"y", 1, 8))
    with pytest.raises(KeyboardInterrupt):
        site.until(lambda: False)
    site.until(lambda: names(client.data)[-1] == "disconnect")
    assert broker.reset()
    broker = again(site, client)
    broker.send(publish("t", b"x", 1, 7, 8))
    assert broker.packet() == (0x40, b"\0\x07")


def test_an_interrupt_in_a_slot_of_on_drain_loses_nothing(site, loop):
    client = site.client(limits=icey.Limits(high_water=20, low_water=5))
    struck = []

    def slot(client):
        if not struck:
            struck.append(1)
            raise KeyboardInterrupt
        client.publish("t", b"behind")

    for number in range(10):
        client.publish("t", b"%d" % number)
    client.on_drain += slot
    with pytest.raises(KeyboardInterrupt):
        broker = site.accept()
        while True:
            site.turn()
    assert [broker.message()[1] for _ in range(10)] == [b"%d" % number for number in range(10)]
    client.publish("t", b"last")
    assert broker.message()[1] == b"last"


def test_what_came_before_a_reset_is_told_before_it(site):
    client, broker = site.both()
    broker.send(publish("t", b"x") * 5000)
    broker.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    site.until(lambda: client.data)
    broker.sock.close()
    site.until(lambda: names(client.data)[-1] == "disconnect")
    assert names(client.data) == ["message"] * (len(client.data) - 1) + ["disconnect"]
    assert len(client.data) > 1025, "what was read, and waited for its turn, is told"


def test_a_connection_that_cannot_be_begun_is_told_by_start(site, monkeypatch):
    def refuse(connection):
        raise ValueError("no such name")

    client = site.client(started=False)
    monkeypatch.setattr("icey.mqtt.connection.MqttConnection.dial", refuse)
    with pytest.raises(ValueError, match="no such name"):
        client.start()
    site.turn(2)
    assert client.closed


def test_a_connection_closed_from_elsewhere_is_lost(site):
    client, broker = site.both()
    client.connection.stream.close()
    site.until(lambda: client.data)
    assert names(client.data) == ["disconnect"]


def test_suback_after_a_reconnect_is_for_the_new_request(site):
    client, broker = site.both()
    done = []
    client.subscribe("a", done=lambda: done.append(1))
    broker.packet()
    cut(site, client, broker)
    broker = again(site, client)
    first, rest = broker.packet()
    broker.send(suback(int.from_bytes(rest[:2], "big"), 0))
    site.until(lambda: done)
