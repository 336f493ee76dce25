"""close() and abort(): what is sent before, what is told, and that nothing is left."""
import gc
import socket
import weakref

import pytest

import icey
from tests.support import mqtt, streams
from tests.support.mqtt import ACCEPTED, GOODBYE, puback, publish
from tests.support.streams import names

debug, clock, reports, loop, site = mqtt.debug, mqtt.clock, mqtt.reports, mqtt.loop, mqtt.site


def test_close_says_goodbye_and_awaits_the_brokers_end(site):
    client, broker = site.both()
    client.close()
    client.close()
    assert client.closing and not client.closed
    assert broker.packet() == GOODBYE and broker.packet() is None
    broker.send(publish("late"))
    site.turn(3)
    assert not client.closed
    broker.sock.close()
    site.until(lambda: client.closed)
    assert names(client.data) == ["close"] and client.whole


def test_a_broker_that_does_not_close_is_left(site):
    client, broker = site.both(limits=icey.Limits(close_timeout=2))
    client.close()
    site.wait(2.1)
    assert client.closed and client.whole
    assert broker.packet() == GOODBYE


def test_goodbye_comes_behind_what_waits_and_its_acknowledgement(site):
    client, broker = site.both(max_inflight=1)
    done = []
    client.publish("t", b"1", qos=1, done=lambda: done.append(1))
    client.publish("t", b"2", qos=1, done=lambda: done.append(2))
    client.publish("t", b"3", done=lambda: done.append(3))
    client.close()
    with pytest.raises(icey.StateError):
        client.publish("t", b"4")
    assert broker.message()[1] == b"1" and broker.quiet()
    broker.send(publish("t", b"not told", 1, 9) + puback(1))
    assert broker.message()[1] == b"2"
    assert broker.message()[1] == b"3" and broker.quiet()
    broker.send(puback(2))
    assert broker.packet() == GOODBYE
    broker.sock.close()
    site.until(lambda: client.closed)
    assert done == [1, 3, 2] and names(client.data) == ["close"] and client.whole


def test_a_large_queue_drains_before_goodbye(site):
    client, broker = site.both()
    client.publish("t", bytes(3 << 20))
    client.close()
    assert len(broker.message()[1]) == 3 << 20
    assert broker.packet() == GOODBYE


def test_a_broker_that_acknowledges_nothing_is_left_and_that_is_told(site):
    client, broker = site.both(limits=icey.Limits(close_timeout=3))
    client.publish("t", b"x", qos=1)
    client.close()
    broker.packet()
    site.wait(2.9)
    assert not client.closed
    site.wait(0.2)
    assert client.closed and not client.whole
    assert names(client.data) == ["error", "close"] and isinstance(client.data[0][1], icey.Deadline)
    assert "1 not acknowledged" in str(client.data[0][1]) and broker.reset()


def test_each_acknowledgement_gives_the_broker_more_time(site):
    client, broker = site.both(max_inflight=1, limits=icey.Limits(close_timeout=3))
    for _ in range(5):
        client.publish("t", b"x", qos=1)
    client.close()
    for ident in range(1, 6):
        broker.packet()
        site.wait(2)
        broker.send(puback(ident))
    assert broker.packet() == GOODBYE


def test_a_broker_that_reads_slowly_is_not_left(site):
    client, broker = site.both(limits=icey.Limits(close_timeout=3))
    client.publish("t", bytes(24 << 20))
    client.close()
    for _ in range(12):  # the system tells of 384 KiB and more: it opens its window in such steps
        site.wait(1)
        assert len(broker.read(300000)) == 300000
        site.turn()
    assert not client.closed
    broker.read_all()
    broker.sock.close()
    site.until(lambda: client.closed)
    assert client.whole


@pytest.mark.parametrize("connected", [True, False])
def test_a_broker_that_slowly_takes_what_the_system_has_of_a_message_is_not_left(site, send_queues, connected):
    client = site.client(limits=icey.Limits(close_timeout=3))
    broker = site.accept(answer=ACCEPTED if connected else None)
    if connected:
        site.until(lambda: client.connected)
    send_queues[None] = 0
    client.publish("t", b"x", qos=1)
    client.close()
    send_queues[None] = 60000  # as if it was long
    if not connected:
        broker.send(ACCEPTED)
        site.until(lambda: client.connected)
    site.turn(3)
    assert not client.queued and client.inflight == 1, "the system has all of it"
    for left in range(50000, -1, -10000):
        send_queues[None] = left
        site.wait(2.5)
        assert not client.closed
    broker.packet()
    broker.send(puback(1))
    assert broker.packet() == GOODBYE
    broker.sock.close()
    site.until(lambda: client.closed)
    assert client.whole and "error" not in names(client.data)


def test_a_broker_that_takes_nothing_of_what_the_system_has_is_left(site, send_queues):
    client, broker = site.both(limits=icey.Limits(close_timeout=3))
    send_queues[None] = 60000
    client.publish("t", b"x", qos=1)
    client.close()
    site.wait(2.9)
    assert not client.closed
    site.wait(0.2)
    assert client.closed and names(client.data) == ["error", "close"]


def test_a_connection_lost_on_the_way_is_told_where_messages_were_left(site):
    client, broker = site.both()
    client.publish("t", b"x", qos=1)
    client.close()
    broker.packet()
    broker.sock.close()
    site.until(lambda: client.closed)
    assert names(client.data) == ["error", "close"] and not client.whole


def test_close_while_it_connects_sends_first_what_waits(site):
    client = site.client()
    client.publish("t", b"x")
    client.close()
    broker = site.accept()
    assert broker.message()[1] == b"x" and broker.packet() == GOODBYE
    broker.sock.close()
    site.until(lambda: client.closed)
    assert names(client.data) == ["close"]


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("in_slot", [False, True])
def test_close_while_it_rests_connects_at_once_to_send_what_waits(site, qos, in_slot):
    client = site.client(reconnect=(30.0, 60.0))
    client.publish("t", b"x", qos=qos)
    if in_slot:
        client.on_disconnect += lambda client, exc, retry_in: client.close()
    site.accept(answer=None).sock.close()
    site.until(lambda: client.data)
    client.close()
    broker = site.accept()
    _, data, _, ident, _, _ = broker.message()
    if qos:
        broker.send(puback(ident))
    assert data == b"x" and broker.packet() == GOODBYE
    broker.sock.close()
    site.until(lambda: client.closed)
    assert names(client.data) == ["disconnect", "close"] and client.whole


def test_close_while_it_rests_tells_where_there_is_no_broker(site):
    client = site.client()
    client.publish("t", b"x")
    site.accept(answer=None).sock.close()
    site.until(lambda: client.data)
    site.stop()
    client.close()
    site.until(lambda: client.closed)
    assert names(client.data) == ["disconnect", "error", "close"] and not client.whole


def test_close_where_no_next_try_is_to_come_is_not_in_good_order_if_messages_wait(site):
    client = site.client(reconnect=None)
    client.publish("t", b"x")
    client.on_disconnect += lambda client, exc, retry_in: client.close()
    site.accept(answer=None).sock.close()
    site.until(lambda: client.closed)
    assert names(client.data) == ["disconnect", "close"] and not client.whole


@pytest.mark.parametrize("gone", [False, True])
def test_a_message_of_qos_0_that_did_not_go_out_is_told(site, clock, gone):
    client, broker = site.both()
    client.publish("t", b"x" * 10000000)
    client.close()
    site.turn(3)
    assert client.queued and not client.outbox
    if gone:
        broker.sock.close()
    while not client.closed:
        left = client.queued  # less from time to time: what the peer's system takes in between earns another close_timeout
        if not gone:
            clock.advance(6.0)
        site.turn()
    assert names(client.data) == ["error", "close"] and not client.whole
    assert gone or "close: 0 messages not sent, 0 not acknowledged, %d bytes not taken" % left in str(client.data[0][1])


@pytest.mark.parametrize("when", ["before start", "connecting", "asking", "resting"])
def test_close_without_anything_to_send_is_at_once(site, when):
    client = site.client(started=when != "before start")
    if when == "asking":
        site.accept(answer=None)
    elif when == "resting":
        site.accept(answer=None).sock.close()
        site.until(lambda: client.data)
    del client.data[:]
    client.close()
    assert not client.data, "on_close comes from the loop"
    site.turn(2)
    assert client.data == [("close",)] and client.whole


def test_a_broker_that_may_have_the_will_is_told_goodbye(site):
    client = site.client(will=("gone", b"x"))
    broker = site.accept(answer=None)
    client.close()
    broker.send(ACCEPTED)
    assert broker.packet() == GOODBYE
    broker.sock.close()
    site.until(lambda: client.closed)
    assert client.data == [("close",)] and client.whole


@pytest.mark.parametrize("answer", ["none", "refused", "end"])
def test_a_broker_that_may_have_the_will_and_does_not_accept(site, answer):
    client = site.client(will=("gone", b"x"), limits=icey.Limits(close_timeout=3))
    broker = site.accept(answer=None)
    client.close()
    site.turn(3)
    assert not client.closed
    if answer == "none":
        site.wait(3.1)
    elif answer == "refused":
        broker.send(b"\x20\x02\x00\x05")
    else:
        broker.sock.close()
    site.until(lambda: client.closed)
    assert names(client.data) == (["error", "close"] if answer == "none" else ["close"])
    assert answer != "none" or "not connected" in str(client.data[0][1])


@pytest.mark.parametrize("when", ["before start", "connecting", "up", "closing", "closed"])
def test_abort_at_any_time(site, when):
    if when in ("up", "closing", "closed"):
        client, broker = site.both()
        client.publish("t", b"x", qos=1)
        if when != "up":
            client.close()
        if when == "closed":
            client.abort()
            site.turn(2)
    else:
        client = site.client(started=when != "before start")
    client.abort()
    site.turn(2)
    assert client.closed and names(client.data) == ["close"] and not client.whole
    site.turn(2)
    assert not client.loop.handles
    client.abort()
    client.close()
    client.pause()
    client.resume()
    assert not client.unsubscribe("t")


def test_abort_resets_so_that_the_broker_publishes_the_will(site):
    client, broker = site.both(will=("t", b"gone"))
    client.abort()
    site.turn(2)
    assert broker.reset()


def test_a_reset_takes_nothing_from_a_goodbye_with_messages_unread(site):
    client, broker = site.both()
    client.pause()
    broker.send(publish("t", bytes(1000)))
    site.turn(2)
    client.close()
    assert broker.packet() == GOODBYE and broker.packet() is None
    broker.sock.close()
    site.until(lambda: client.closed)


def test_loop_close_frees_all(site, loop):
    client, broker = site.both()
    client.publish("t", b"x", qos=1)
    for handle in loop.handles:
        handle.abort()
    loop.run_once(0)
    loop.close()
    assert client.closed and not client.connected and client.connection is None


@pytest.mark.parametrize("paused", [False, True])
def test_nothing_is_left_for_the_collector(site, loop, paused):
    client, broker = site.both()
    client.subscribe("a/#", client.on_message.emit)
    client.publish("t", b"x", qos=1)
    broker.packet()
    broker.packet()
    broker.sock.shutdown(socket.SHUT_WR)
    site.until(lambda: client.data)
    if paused:
        client.pause()
    client.abort()
    site.turn(3)
    if streams.PYPY:
        return
    gone = weakref.ref(client)
    gc.disable()
    try:
        client = None
        assert gone() is None
    finally:
        gc.enable()
