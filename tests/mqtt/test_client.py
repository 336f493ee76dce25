"""The client: connecting, subscriptions, messages both ways, who is told what."""
import struct

import pytest

import icey
from icey.mqtt import Client, Will
from tests.support import mqtt
from tests.support.mqtt import puback, publish, published, suback, unsuback
from tests.support.streams import PYPY, names

debug, clock, reports, loop, site = mqtt.debug, mqtt.clock, mqtt.reports, mqtt.loop, mqtt.site
exports = mqtt.exports


class Deliberate(Exception):
    """What a slot raises."""


# connecting

def test_connect_says_what_the_client_was_given(site):
    site.client("mqtt://us%%40er:p%%3Aw@127.0.0.1:%d" % site.port,
                client_id="kitchen", clean=False, keep_alive=59.2, will=Will("gone", b"x", 1, True))
    broker = site.accept()
    assert broker.connect == (0x10, b"\0\4MQTT\4\xec\0\x3c" + mqtt.text("kitchen") + mqtt.text("gone") + mqtt.text("x")
                              + mqtt.text("us@er") + mqtt.text("p:w"))


def test_a_client_id_is_made_up_as_every_broker_takes_it(site):
    one, two = site.client(started=False), site.client(started=False)
    assert one.client_id != two.client_id
    assert one.client_id.isalnum() and one.client_id.isascii() and len(one.client_id) <= 23
    one.close()
    two.close()


@pytest.mark.parametrize("resumed", [False, True])
def test_on_connect_tells_whether_the_session_was_there(site, resumed):
    client = site.client(client_id="a", clean=False)
    assert not client.connected
    site.accept(mqtt.RESUMED if resumed else mqtt.ACCEPTED)
    site.until(lambda: client.data)
    assert client.data == [("connect", resumed)] and client.connected


@pytest.mark.parametrize("options, said", [
    ({"clean": False}, "needs a client_id"), ({"clean": False, "client_id": ""}, "MQTT-3.1.3-8"),
    ({"client_id": "\0"}, "MQTT-1.5.3-2"), ({"keep_alive": 65536}, "3.1.2.10"), ({"keep_alive": -1}, "keep_alive"),
    ({"will": ("+", b"")}, "MQTT-3.3.2-2"), ({"reconnect": (0, 1)}, "above 0"), ({"reconnect": (2, 1)}, "in this order"),
    ({"max_inflight": 0}, "max_inflight"), ({"max_inflight": 65535}, "max_inflight"), ({"max_inflight": True}, "max_inflight"),
    ({"tls": object()}, "tls= is for mqtts://"),
])
def test_what_cannot_be_asked_for(loop, options, said):
    with pytest.raises(ValueError) as caught:
        Client(loop, "mqtt://127.0.0.1", **options)
    assert said in str(caught.value)


def test_arguments_of_the_wrong_type(loop):
    for options in ({"client_id": 1}, {"will": "gone"}, {"reconnect": 1}, {"keep_alive": "x"}):
        with pytest.raises(TypeError):
            Client(loop, "mqtt://127.0.0.1", **options)
    with pytest.raises(TypeError, match="first argument is a Loop"):
        Client("mqtt://127.0.0.1", "x")


def test_start_is_once_and_publish_comes_behind_it(site):
    client = site.client(started=False)
    with pytest.raises(icey.StateError, match=r"publish\(\) before start"):
        client.publish("t", b"")
    assert client.start() is client
    with pytest.raises(icey.StateError, match="second time"):
        client.start()
    client.close()
    for call in (client.start, lambda: client.publish("t", b""), lambda: client.subscribe("t")):
        with pytest.raises(icey.StateError):
            call()


def test_another_thread_may_not_touch_it(site):
    from tests.support.loops import in_thread

    client, _ = site.both()
    for call in (lambda: client.publish("t", b""), lambda: client.subscribe("t"), lambda: client.unsubscribe("t"), client.close,
                 client.pause, client.resume, client.abort):
        with pytest.raises(icey.AffinityError):
            in_thread(call)


# subscriptions

def test_a_subscription_is_asked_for_and_its_messages_told(site):
    client, broker = site.both()
    told = []
    client.subscribe("a/+", lambda client, topic, view: told.append((topic, bytes(view))), qos=1,
                     done=lambda: told.append("granted"))
    assert broker.subscription() == [("a/+", 1)]
    broker.send(publish("a/b", b"one") + publish("x", b"two"))
    site.until(lambda: client.data)
    assert told == ["granted", ("a/b", b"one")]
    assert client.data == [("message", "x", b"two")]


def test_subscriptions_before_start_go_out_with_the_connection_eight_at_a_time(site):
    client = site.client(started=False)
    for number in range(10):
        client.subscribe("t/%d" % number, qos=number % 2)
    client.start()
    broker = site.accept()
    asked = broker.subscription() + broker.subscription()
    assert asked == [("t/%d" % number, number % 2) for number in range(10)]


def test_a_refused_subscription_is_told(site):
    client, broker = site.both()
    client.subscribe("no", done=lambda: 1 // 0)
    client.subscribe("yes")
    broker.subscription(0x80)
    broker.subscription()
    site.until(lambda: client.data)
    (event, exc), = client.data
    assert event == "error" and isinstance(exc, icey.MqttRefused) and exc.code == 0x80 and exc.filter == "no"
    assert "'no'" in str(exc)


@pytest.mark.parametrize("verb", ["unsubscribe", "close", "abort"])
def test_what_a_function_does_counts_for_those_behind_it(site, verb):
    """One that was left is not called any more, nor is any once the client is closed."""
    client, broker = site.both()
    told = []

    def one(client, topic, view):
        told.append("one")
        if verb == "unsubscribe":
            client.unsubscribe("t", two)
        else:
            getattr(client, verb)()

    def two(client, topic, view):
        told.append("two")

    client.subscribe("t", one, qos=1)
    client.subscribe("t", two, qos=1)
    assert broker.subscription() == [("t", 1)]
    broker.send(publish("t", b"x", 1, 7))
    site.until(lambda: told)
    site.turn(5)
    assert told == ["one"]
    if verb == "unsubscribe":
        assert broker.packet() == (0x40, b"\0\7")
    elif verb == "close":
        assert broker.packet()[0] == 0xe0, "DISCONNECT, and no PUBACK before it"


def test_several_functions_share_a_filter(site):
    client, broker = site.both()
    told = []

    def one(client, topic, view):
        told.append("one")

    client.subscribe("t", one)
    client.subscribe("t", one)
    client.subscribe("t")
    assert broker.subscription() == [("t", 0)] and broker.quiet()
    client.subscribe("t", lambda *args: told.append("other"), qos=1)
    assert broker.subscription() == [("t", 1)], "more is wanted than was asked for"
    broker.send(publish("t"))
    site.until(lambda: client.data)
    assert sorted(told) == ["one", "other"] and names(client.data) == ["message"]
    assert client.unsubscribe("t", one) and not client.unsubscribe("t", one) and broker.quiet()
    assert client.unsubscribe("t") and not client.unsubscribe("t")
    assert broker.packet() == (0xa2, b"\0\3" + mqtt.text("t"))
    broker.send(unsuback(3) + publish("t"))
    site.until(lambda: len(client.data) == 2)
    assert told == ["one", "other"] or told == ["other", "one"]


def test_done_of_a_subscription_that_stands_comes_from_the_loop(site):
    client, broker = site.both()
    done = []
    client.subscribe("t")
    broker.subscription()
    site.turn(3)
    client.subscribe("t", done=lambda: done.append(1))
    assert not done
    site.until(lambda: done)
    assert broker.quiet()


def test_an_answer_to_a_subscription_that_is_gone_is_nothing(site):
    client, broker = site.both()
    client.subscribe("t")
    client.unsubscribe("t")
    client.subscribe("t", qos=1)
    assert [broker.packet()[0] for _ in range(3)] == [0x82, 0xa2, 0x82]
    broker.send(suback(1, 0x80) + unsuback(2) + suback(3, 1) + publish("t"))
    site.until(lambda: client.data)
    assert names(client.data) == ["message"]


@pytest.mark.parametrize("call, kind", [
    (lambda client: client.subscribe("a#"), ValueError), (lambda client: client.subscribe("a", qos=2), ValueError),
    (lambda client: client.subscribe(b"a"), TypeError), (lambda client: client.subscribe("a", "fn"), TypeError),
    (lambda client: client.subscribe("a", done=1), TypeError), (lambda client: client.publish("a/+", b""), ValueError),
    (lambda client: client.publish("a", "text"), TypeError), (lambda client: client.publish("a", b"", qos=2), ValueError),
    (lambda client: client.publish("a", b"", done=1), TypeError), (lambda client: client.publish(b"a", b""), TypeError),
    (lambda client: client.publish("a", None), TypeError),
])
def test_what_cannot_be_asked_for_takes_nothing(site, call, kind):
    client, broker = site.both()
    with pytest.raises(kind):
        call(client)
    assert broker.quiet() and not client.queued and not client.inflight


def test_only_so_many_requests_wait_for_their_answers(site):
    client, broker = site.both()
    for number in range(1000):
        client.subscribe("t/%d" % number)
    client.unsubscribe("t/999")
    idents = [mqtt.subscribed(*broker.packet())[0] for _ in range(256)]
    assert broker.quiet()
    granted = 256
    while granted < 999:
        broker.send(suback(idents.pop(0), 0))
        ident, wanted = mqtt.subscribed(*broker.packet())
        assert 1 <= len(wanted) <= 8
        granted += len(wanted)
        if granted < 999:
            idents.append(ident)
        else:
            broker.send(suback(ident, *[0] * len(wanted)))
        if len(wanted) > 1 and granted < 999:
            broker.send(suback(idents.pop(), *[0] * len(wanted)))
            ident, wanted = mqtt.subscribed(*broker.packet())
            granted += len(wanted)
            broker.send(suback(ident, *[0] * len(wanted)))
    assert granted == 999 and client.connected


# messages that come

def test_a_message_of_qos_1_is_acknowledged_when_the_slots_have_returned(site):
    client, broker = site.both()
    order = []
    client.on_message += lambda client, topic, view: order.append(broker.quiet(0))
    broker.send(publish("t", b"x", 1, 7) + publish("t", b"y", 0) + publish("t", b"z", 1, 65535))
    assert [broker.packet(), broker.packet()] == [(0x40, b"\0\x07"), (0x40, b"\xff\xff")]
    assert order == [True, True, True] and broker.quiet()


def test_a_slot_that_raises_does_not_acknowledge(site, reports):
    client, broker = site.both()
    others = []

    def failing(client, topic, view):
        raise Deliberate

    client.on_message += failing
    client.on_message += lambda *args: others.append(args[1])
    client.subscribe("fn", failing)
    broker.subscription()
    broker.send(publish("t", b"x", 1, 1) + publish("fn", b"x", 1, 2) + publish("t", b"x", 0))
    site.until(lambda: len(reports) == 3)
    assert [handle for _, handle in reports] == [client] * 3
    reports.take(Deliberate, Deliberate, Deliberate)
    assert broker.quiet() and others == ["t", "t"] and client.connected, "the others are told, and the connection stands"


def test_a_message_that_nobody_takes_is_acknowledged(site):
    client = site.client(started=False)
    for event in mqtt.EVENTS:
        getattr(client, "on_" + event).detach_all()
    client.start()
    broker = site.accept()
    broker.send(publish("t", b"x", 1, 7))
    assert broker.packet() == (0x40, b"\0\x07")


def test_a_slot_sees_the_flags_of_its_message(site):
    client, broker = site.both()
    seen = []
    client.on_message += lambda client, topic, view: seen.append((client.retained, client.duplicate))
    broker.send(publish("t") + publish("t", flags=1) + publish("t", b"", 1, 5, 8) + publish("t", b"", 1, 5, 9))
    site.until(lambda: len(seen) == 4)
    assert seen == [(False, False), (True, False), (False, True), (True, True)]


def test_a_view_is_lent(site):
    client, broker = site.both()
    kept = []
    client.on_message += lambda client, topic, view: kept.append(view)
    broker.send(publish("t", b"x"))
    site.until(lambda: client.data)
    with pytest.raises(ValueError):
        bytes(kept[0])


@pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")
def test_a_view_that_is_kept_is_reported_and_ends_the_client(site, reports, exports):
    client, broker = site.both()
    client.subscribe("t", lambda client, topic, view: exports.append(struct.iter_unpack("B", view)))
    broker.subscription()
    broker.send(publish("t", b"xyz", 1, 7))
    site.until(lambda: client.closed)
    reports.take(icey.BorrowError)
    assert names(client.data)[-1] == "close" and not client.whole
    exports.clear()


@pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")
@pytest.mark.parametrize("debug", [True], ids=["debug"])
def test_a_slice_that_is_kept_is_found_in_debug_mode(site, reports, exports):
    client, broker = site.both()
    client.on_message += lambda client, topic, view: exports.append(view[1:])
    broker.send(publish("t", b"xyz", 1, 7))
    site.until(lambda: client.closed)
    assert "test_a_slice_that_is_kept" in str(reports.take(icey.BorrowError)[0])
    exports.clear()


def test_a_slot_may_close_the_client_and_hears_no_more(site):
    client, broker = site.both()
    client.on_message += lambda client, topic, view: client.close()
    broker.send(publish("t", b"1", 1, 1) + publish("t", b"2", 1, 2))
    assert broker.packet() == (0x40, b"\0\1"), "what was told is acknowledged"
    assert broker.packet() == mqtt.GOODBYE and broker.packet() is None
    broker.sock.close()
    site.until(lambda: client.closed)
    assert names(client.data) == ["message", "close"]


def test_a_slot_may_abort_the_client(site):
    client, broker = site.both()
    client.on_message += lambda client, topic, view: client.abort()
    broker.send(publish("t", b"1", 1, 1) + publish("t", b"2", 1, 2))
    site.until(lambda: client.closed)
    assert names(client.data) == ["message", "close"] and broker.reset()


def test_bytes_in_any_pieces(site):
    client, broker = site.both()
    data = publish("a/b", b"x" * 300, 1, 7) + publish("t", b"y")
    for at in range(len(data)):
        broker.send(data[at:at + 1])
        site.turn()
    site.until(lambda: len(client.data) == 2)
    assert [event[1] for event in client.data] == ["a/b", "t"]


def test_what_a_broker_may_not_send_ends_the_connection(site):
    client, broker = site.both()
    broker.send(publish("t") + b"\x00\x00")
    site.until(lambda: "disconnect" in names(client.data))
    assert names(client.data) == ["message", "disconnect"]
    exc = client.data[1][1]
    assert isinstance(exc, icey.MqttError) and exc.rule == "section 2.2.1" and client.data[1][2] == 1.0
    assert broker.reset()


def test_many_messages_take_turns_with_others(site, loop):
    client, broker = site.both()
    at = []
    client.on_message += lambda client, topic, view: at.append(turns[0])
    turns = [0]
    idler = icey.Idler(loop, lambda idler: turns.__setitem__(0, turns[0] + 1))
    idler.start()
    broker.send(publish("t") * 3000)
    site.until(lambda: len(at) == 3000)
    assert len(set(at)) >= 3
    idler.stop()


# messages that go

def test_publish_goes_out_whole_and_in_one_send_a_turn(site, monkeypatch):
    client, broker = site.both()
    sends, write = [], client.connection.stream.write
    monkeypatch.setattr(type(client.connection.stream), "write",
                        lambda self, data, *rest: sends.append(len(data)) or write(data, *rest))
    assert client.publish("a", b"1") and client.publish("b", bytearray(b"2"), retain=True) and client.publish("c", b"3", qos=1)
    assert client.queued == 20 and client.inflight == 1
    assert broker.message() == ("a", b"1", 0, None, False, False)
    assert broker.message() == ("b", b"2", 0, None, False, True)
    assert broker.message() == ("c", b"3", 1, 1, False, False)
    assert len(sends) == 1 and not client.queued


def test_done_comes_when_the_kernel_has_it_or_the_broker(site):
    client, broker = site.both()
    done = []
    client.publish("a", b"", done=lambda: done.append("a"))
    client.publish("b", b"", qos=1, done=lambda: done.append("b"))
    client.publish("c", b"", done=lambda: done.append("c"))
    assert not done
    site.until(lambda: len(done) == 2)
    site.turn(3)
    assert done == ["a", "c"] and client.inflight == 1
    broker.send(puback(1))
    site.until(lambda: len(done) == 3)
    assert client.inflight == 0


def test_a_done_that_raises_is_reported_and_the_others_come(site, reports):
    client, broker = site.both()
    done = []
    client.publish("a", b"", done=lambda: 1 // 0)
    client.publish("a", b"", done=lambda: done.append("a"))
    client.publish("b", b"", qos=1, done=lambda: 1 // 0)
    for _ in range(3):
        broker.packet()
    broker.send(puback(1))
    site.until(lambda: len(reports) == 2)
    reports.take(ZeroDivisionError, ZeroDivisionError)
    assert done == ["a"] and client.connected


def test_a_mutable_buffer_is_copied_and_bytes_are_not(site):
    client, broker = site.both()
    data = bytearray(b"x" * 20)
    client.publish("t", data, qos=1)
    data[:] = b"y" * 20
    large = bytes(100000)
    client.publish("t", large, qos=1)
    assert client.outbox.inflight[2].data is large
    assert broker.message()[1] == b"x" * 20
    assert broker.message()[1] == large


def test_what_is_published_in_a_slot_goes_out_with_the_acknowledgement(site):
    client, broker = site.both()
    client.on_message += lambda client, topic, view: client.publish("back", view)
    broker.send(publish("t", b"x", 1, 9))
    assert broker.message()[:2] == ("back", b"x")
    assert broker.packet() == (0x40, b"\0\x09")


def test_large_messages_go_out_among_small_ones(site):
    client, broker = site.both()
    sizes = [10, 40000, 20, 300000, 5]
    for size in sizes:
        client.publish("t", bytes(size))
    assert [len(broker.message()[1]) for _ in sizes] == sizes


def test_a_repr_names_the_broker_and_no_password(loop):
    with Client(loop, "mqtt://user:secret@127.0.0.1") as client:
        assert "mqtt://127.0.0.1:1883" in repr(client) and "secret" not in repr(client)


def test_published_reads_what_publish_writes():
    assert published(0x33, publish("t", b"x", 1, 5, 1)[2:]) == ("t", b"x", 1, 5, False, True)
