"""Keep-alive: pings, and how long a broker may be silent: 1.5 x keep_alive, less where nothing is to be forgiven."""
import pytest

import icey
from tests.support import mqtt
from tests.support.mqtt import PING, PONG, publish
from tests.support.streams import names

debug, clock, reports, loop, site = mqtt.debug, mqtt.clock, mqtt.reports, mqtt.loop, mqtt.site


def test_a_ping_goes_out_where_nothing_else_does(site):
    client, broker = site.both(keep_alive=10)
    site.wait(7.4)
    assert broker.quiet()
    site.wait(0.2)
    assert broker.packet() == PING
    broker.send(PONG)
    site.wait(7.2)
    assert broker.quiet()
    site.wait(0.4)
    assert broker.packet() == PING and client.connected


def test_a_broker_that_is_silent_is_given_up_within_half_as_much_again(site):
    client, broker = site.both(keep_alive=10)
    broker.send(publish("t"))
    site.until(lambda: client.data)
    began = site.clock()
    site.wait(13.9)
    assert client.connected
    while client.connected:
        site.wait(0.1)
    assert site.clock() - began <= 15
    assert isinstance(client.data[-1][1], icey.Deadline) and "silent" in str(client.data[-1][1])
    assert broker.read(2) == b"\xc0\x00" and broker.reset()


def test_anything_that_comes_shows_that_the_broker_lives(site):
    client, broker = site.both(keep_alive=10)
    for _ in range(10):
        site.wait(7)
        broker.send(publish("t"))
        site.turn(3)
    assert client.connected


def test_who_sends_all_the_time_pings_all_the_same_to_hear_the_broker(site):
    client, broker = site.both(keep_alive=10)
    for _ in range(13):
        client.publish("t", b"x")
        site.wait(1)
    assert client.connected
    site.wait(2)
    assert not client.connected, "a broker that takes all and says nothing is silent"
    kinds = [broker.read(1) and 0]
    assert kinds


def test_who_only_listens_pings_for_the_broker_to_hear(site):
    client, broker = site.both(keep_alive=10)
    for _ in range(8):
        site.wait(1)
        broker.send(publish("t"))
    site.turn(3)
    assert broker.packet() == PING


@pytest.mark.parametrize("keep_alive", [0, None])
def test_without_keep_alive_nothing_is_sent_and_nobody_judged(site, keep_alive):
    client, broker = site.both(keep_alive=keep_alive)
    site.wait(100000)
    assert broker.quiet() and client.connected


def test_time_that_a_slot_holds_the_loop_does_not_count(site, loop, clock):
    client, broker = site.both(keep_alive=10)
    loop.slow_limit = 1000
    site.wait(7.6)
    assert broker.packet() == PING

    def slow():
        clock.advance(8)
        if len(held) < 3:
            held.append(loop.call_later(0.1, slow))

    held = []
    loop.call_later(0.1, slow)
    site.wait(20)
    assert len(held) == 3 and client.connected, "24 s were the slots' own"
    broker.send(PONG)
    site.turn(3)
    site.wait(1)
    assert client.connected


def test_an_answer_that_came_while_the_loop_was_held_is_seen_first(site, loop, clock):
    client, broker = site.both(keep_alive=10)
    loop.slow_limit = 1000
    site.wait(7.6)
    broker.packet()
    broker.send(PONG)
    clock.advance(100)
    site.wait(1)
    assert client.connected


def test_a_broker_is_not_blamed_while_reading_is_held(site):
    client, broker = site.both(keep_alive=10)
    client.pause()
    broker.send(publish("t"))
    site.wait(60)
    assert client.connected and not client.data
    client.resume()
    site.until(lambda: client.data)
    broker.send(PONG)
    site.wait(10)
    assert client.connected


def test_a_broker_that_takes_what_the_ping_waits_behind_is_not_blamed(site):
    client, broker = site.both(keep_alive=10, limits=icey.Limits(high_water=1 << 22, max_queue=None))
    client.publish("t", bytes(20 << 20))
    for _ in range(30):
        site.wait(2)
        broker.read(300000)
        site.turn()
    assert client.connected, "60 s of taking it slowly"
    while client.connected:
        site.wait(1)
    assert names(client.data) == ["disconnect"]


def test_a_ping_unanswered_is_asked_once(site):
    client, broker = site.both(keep_alive=10)
    site.wait(13)
    assert broker.packet() == PING and broker.quiet()


@pytest.mark.parametrize("before", [None, 0, 60000])
def test_a_broker_that_is_gone_with_something_on_its_way_has_no_more_time(site, clock, send_queues, before):
    """before: what the system had of ours at an earlier ping. That it has less now is nothing that was taken since."""
    client, broker = site.both(keep_alive=10)
    if before is not None:
        send_queues[None] = before
        site.wait(8)
        broker.send(PONG)
        site.turn(3)
    heard = clock()
    client.publish("t", b"x")
    send_queues[None] = 100
    while client.connected:
        site.wait(0.5)
    assert clock() - heard <= 15


def test_a_broker_that_takes_what_the_system_has_before_the_ping_is_not_blamed(site, send_queues):
    client, broker = site.both(keep_alive=10)
    for left in range(60000, 0, -5000):
        send_queues[None] = left
        site.wait(5)
        assert client.connected
    while client.connected:
        site.wait(1)
    assert names(client.data) == ["disconnect"]
