"""Real brokers, mosquitto and nats-server, with paho-mqtt as the other end: messages, wills, sessions, kill -9, and silence."""
import os
import queue
import re
import subprocess
import sys
import time

import pytest

import icey
from icey import PacketFlags, PacketStream
from icey.mqtt import Client, Sink, Source
from tests.interop.brokers import KINDS, Mosquitto, Nats
from tests.support import ROOT, library, programs, seeds, tool

paho = library("paho.mqtt.client")
pytestmark = pytest.mark.tool("mosquitto", "nats-server")

RECONNECT = (0.05, 0.3)  # seconds: the tests are in a hurry


class Other:
    """paho-mqtt, on its own thread. `messages`: a queue of (topic, data, qos, retained)."""

    def __init__(self, broker, clean=True, client_id="other", will=None):
        self.messages = queue.Queue()
        self.subscribed, self.connected = queue.Queue(), queue.Queue()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id, clean_session=clean)
        self.client.on_message = lambda client, data, message: self.messages.put(
            (message.topic, bytes(message.payload), message.qos, message.retain))
        self.client.on_subscribe = lambda *args: self.subscribed.put(args)
        self.client.on_connect = lambda *args: self.connected.put(args)
        self.client.reconnect_delay_set(1, 1)
        if will is not None:
            self.client.will_set(*will)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        self.connected.get(timeout=programs.PATIENCE)

    def subscribe(self, filter, qos=0):
        self.client.subscribe(filter, qos)
        self.subscribed.get(timeout=programs.PATIENCE)

    def get(self):
        return self.messages.get(timeout=programs.PATIENCE)

    def publish(self, *args):
        info = self.client.publish(*args)
        info.wait_for_publish(programs.PATIENCE)
        assert info.is_published()

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(request, folder):
    """broker(kind, more="", **values) -> a running one, which is ended with the test."""
    running = []

    def broker(kind, *args, **values):
        tool(kind.NAME)
        running.append(kind(folder, *args, **values))
        return running[-1]

    yield broker
    for each in running:
        each.program.end()


@pytest.fixture
def other():
    """other(broker, ...) -> paho-mqtt, connected."""
    made = []

    def other(*args, **options):
        made.append(Other(*args, **options))
        return made[-1]

    yield other
    for each in made:
        each.end()


@pytest.fixture
def client(loop, until):
    """client(broker or url, connected=True, **options) -> a started client, closed with the test."""
    made = []

    def client(broker, connected=True, **options):
        url = broker if isinstance(broker, str) else broker.url
        one = Client(loop, url, reconnect=options.pop("reconnect", RECONNECT), **options)
        one.data = []
        one.on_disconnect += lambda one, exc, rest: one.data.append((exc, rest))
        one.start()
        made.append(one)
        if connected:
            until(lambda: one.connected)
        return one

    yield client
    for one in made:
        one.abort()


KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def granted(client, until, filter, fn=None, **options):
    done = []
    client.subscribe(filter, fn, done=lambda: done.append(1), **options)
    until(lambda: done)


@KIND
@pytest.mark.parametrize("qos", [0, 1])
def test_messages_both_ways(kind, qos, broker, client, other, until, aside):
    there = broker(kind)
    ours, theirs = client(there), other(there)
    theirs.subscribe("to/other/#", qos)
    got, done = [], []
    granted(ours, until, "to/+/icey", lambda client, topic, view: got.append((topic, bytes(view))), qos=qos)
    for size in (0, 1, 100, 16384, 100000):
        ours.publish("to/other/%d" % size, bytes(size), qos=qos, done=lambda: done.append(1))
        assert aside(theirs.get) == ("to/other/%d" % size, bytes(size), qos, False)
        aside(theirs.publish, "to/the/icey", bytes(size), qos)
        until(lambda size=size: got[-1:] == [("to/the/icey", bytes(size))])
    until(lambda: len(done) == 5)
    assert not ours.data and not ours.inflight


@KIND
def test_a_message_that_is_kept_comes_to_who_subscribes_later(kind, broker, client, until):
    ours, got = client(broker(kind)), []
    ours.publish("kept", b"x", qos=1, retain=True)
    until(lambda: not ours.inflight)
    ours.subscribe("kept", lambda client, topic, view: got.append((bytes(view), client.retained)), qos=1)
    until(lambda: got)
    assert got == [(b"x", True)]


@KIND
def test_a_will_is_published_for_who_is_gone_and_not_for_who_says_goodbye(kind, broker, client, other, until, aside):
    there = broker(kind)
    theirs = other(there)
    theirs.subscribe("will/#", 1)
    good, bad = client(there, will=("will/good", b"x")), client(there, will=icey.mqtt.Will("will/bad", b"gone", 1))
    good.close()
    until(lambda: good.closed)
    assert good.whole
    bad.abort()
    assert aside(theirs.get) == ("will/bad", b"gone", 1, False)
    assert theirs.messages.empty()


@KIND
def test_a_session_is_resumed_with_what_came_meanwhile(kind, broker, client, other, until, aside):
    there, got, resumed = broker(kind), [], []
    ours, theirs = client(there, client_id="stays", clean=False), other(there)
    granted(ours, until, "t", qos=1)
    ours.close()
    until(lambda: ours.closed)
    aside(theirs.publish, "t", b"meanwhile", 1)
    again = client(there, connected=False, client_id="stays", clean=False)
    again.on_connect += lambda client, there: resumed.append(there)
    again.on_message += lambda client, topic, view: got.append((topic, bytes(view)))
    until(lambda: got)
    assert resumed == [True] and got == [("t", b"meanwhile")]
    granted(again, until, "other")


def test_filters_as_a_real_broker_takes_them(broker, client, until):
    there, got = broker(Mosquitto), []
    ours = client(there)
    ours.on_message += lambda client, topic, view: got.append(topic)
    for filter in ("a/+/c", "a/#", "+/b/#", "$SYS/broker/version", "x", "/", "//+"):
        granted(ours, until, filter)
    for topic in ("a/b/c", "x", "/", "//y", "nobody"):
        ours.publish(topic, b"")
    ours.publish("x", b"last", qos=1)
    until(lambda: got.count("x") == 2 and "$SYS/broker/version" in got)
    assert {"a/b/c", "/", "//y"} <= set(got) and "nobody" not in got


# who may, and how

def test_a_password(broker, client, until, folder):
    words = os.path.join(folder, "words")
    subprocess.run([tool("mosquitto_passwd"), "-b", "-c", words, "us@er", "p:w%"], check=True, stdout=subprocess.DEVNULL)
    os.chmod(words, 0o644)
    there = broker(Mosquitto, "allow_anonymous false\npassword_file %(folder)s/words")
    url = "mqtt://us%%40er:%s@127.0.0.1:%d"
    bad = client(url % ("wrong", there.port), connected=False, reconnect=(0.05, 600.0))
    until(lambda: bad.data)
    (exc, rest), = bad.data
    assert isinstance(exc, icey.MqttRefused) and exc.code == 5 and rest >= 300
    client(url % ("p%3Aw%25", there.port))


def test_mqtts(broker, client, other, until, aside, certs):
    cert, key = certs.cert("localhost")
    there = broker(Mosquitto, "certfile %s\nkeyfile %s\n" % (cert.replace("%", "%%"), key.replace("%", "%%")))
    got = []
    ours = client("mqtts://localhost:%d" % there.port, tls=icey.tls.client_context(ca=certs.ca))
    granted(ours, until, "t", lambda client, topic, view: got.append(len(view)), qos=1)
    for size in (0, 1, 70000, 1 << 20):
        ours.publish("t", bytes(size), qos=1)
    until(lambda: len(got) == 4 and not ours.inflight)
    assert got == [0, 1, 70000, 1 << 20]
    untrusted = client("mqtts://localhost:%d" % there.port, connected=False)
    until(lambda: untrusted.data)
    assert isinstance(untrusted.data[0][0], icey.TLSError)


def test_a_unix_socket(broker, client, until, folder):
    broker(Mosquitto, "listener 0 %(folder)s/m.sock")
    ours, got = client("mqtt+unix:%s/m.sock" % folder), []
    granted(ours, until, "t", lambda client, topic, view: got.append(bytes(view)))
    ours.publish("t", b"x")
    until(lambda: got == [b"x"])


# brokers that go

MANY = [(3000, 3), pytest.param(100000, 10, marks=pytest.mark.slow)]


def publish_through_kills(there, ours, until, loop, count, kills):
    """Publishes `count` messages of QoS 1, numbered in topic and data, while the broker is killed; the acknowledged ones."""
    acknowledged, sent = [], 0
    for kill in range(kills + 1):
        mark = (kill + 1) * count // (kills + 1)
        while len(acknowledged) < mark:
            while sent < count and ours.outbox.cost < 100000:
                ours.publish("n/%d" % sent, b"%08d" % sent, qos=1, done=lambda number=sent: acknowledged.append(number))
                sent += 1
            loop.run_once(0.05)
        if kill < kills:
            there.kill()
            until(lambda: not ours.connected)
            there.start()
    until(lambda: len(acknowledged) == count)
    return acknowledged


def received(log, pattern):
    """number -> the DUP flags with which a broker received it, in order, by its log."""
    found = {}
    for line in re.finditer(pattern, log):
        found.setdefault(int(line.group("number")), []).append(line.group("dup") in ("1", "true"))
    return found


@pytest.mark.parametrize("count, kills", MANY)
def test_mosquitto_is_killed_and_gets_every_message_again_only_with_dup(count, kills, broker, client, until, loop):
    there = broker(Mosquitto)
    ours = client(there, client_id="icey", clean=False)
    acknowledged = publish_through_kills(there, ours, until, loop, count, kills)
    assert sorted(acknowledged) == list(range(count)), "each done once"
    came = received(there.log(), r"Received PUBLISH from icey \(d(?P<dup>\d), q1, r0, m\d+, 'n/(?P<number>\d+)'")
    assert sorted(came) == list(range(count)), "none is lost"
    assert all(all(flags[1:]) for flags in came.values()), "what came twice says so"
    assert len(ours.data) == kills and not ours.inflight and not ours.queued


@pytest.mark.parametrize("count, kills", MANY)
def test_nats_is_killed_and_paho_gets_every_message(count, kills, broker, client, other, until, loop):
    there = broker(Nats)
    theirs = other(there, clean=False)
    theirs.subscribe("n/#", 1)
    ours = client(there, client_id="icey", clean=False)
    acknowledged = publish_through_kills(there, ours, until, loop, count, kills)
    assert sorted(acknowledged) == list(range(count))
    missing, overdue = set(range(count)), time.monotonic() + 3 * programs.PATIENCE
    while missing and time.monotonic() < overdue:
        try:
            missing.discard(int(theirs.messages.get(timeout=1)[1]))
        except queue.Empty:
            loop.run_once(0)
    assert not missing


@KIND
def test_a_broker_that_is_silent_is_given_up_and_memory_stays_flat(kind, broker, client, until, loop):
    there = broker(kind)
    ours = client(there, keep_alive=4, max_inflight=10, limits=icey.Limits(max_queue=1 << 20))
    refused, most = 0, 0
    frozen = time.monotonic()
    there.freeze()
    try:
        number = 0
        while not ours.data:
            assert time.monotonic() - frozen < 30
            for _ in range(100):
                try:
                    ours.publish("t", bytes(1000), qos=number % 2)
                    number += 1
                except icey.QueueFull:
                    refused += 1
            most = max(most, ours.queued)
            loop.run_once(0.01)
        assert time.monotonic() - frozen < 10  # 1.5 x keep_alive, and what a busy machine adds; tests/mqtt has it to the tick
        assert isinstance(ours.data[0][0], icey.Deadline)
        assert refused and most <= 1 << 20 and ours.inflight <= 10
    finally:
        there.thaw()
    until(lambda: ours.connected and not ours.queued and not ours.inflight)


# packets

@KIND
def test_a_packet_stream_goes_on_behind_the_broker(kind, broker, client, until, loop):
    there = broker(kind)
    here, beyond, got = client(there), client(there), []
    far = PacketStream("far")
    source = Source(beyond, "pictures", qos=1)
    far.attach_source(source, sync_state=True)
    far.on_packet += lambda packet: got.append(None if packet.flags & PacketFlags.FINAL else bytes(packet.data))
    far.start()
    granted(beyond, until, "pictures", qos=1)
    near = PacketStream("near")
    near.attach_source(icey.TimerSource(loop, 0.001, lambda count: b"%d" % count, most=200), sync_state=True)
    near.attach(Sink(here, "pictures", qos=1, drop="pause"))
    near.start()
    until(lambda: len(got) >= 100)
    far.pause()
    loop.run_once(0.05)
    far.resume()
    until(lambda: len(got) == 200)
    assert got == [b"%d" % count for count in range(200)]


def test_the_program_in_the_guide(broker):
    there = broker(Mosquitto)
    with open(os.path.join(ROOT, ".docs", "guide", "mqtt.md"), encoding="utf-8") as file:
        source, = re.findall(r"^```py\n(.*?)^```", file.read(), re.S | re.M)
    done = subprocess.run([sys.executable, "-W", "error", "-c", source.replace("mqtt://127.0.0.1", there.url)], cwd=ROOT,
                          timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True)
    assert (done.returncode, done.stdout) == (0, "house/kitchen/temperature b'21.5'\n")


def test_random_filters_are_taken_as_a_broker_takes_them(broker, client, until):
    """What comes is always told to the function of a filter that takes it: the broker's idea of filters is ours."""
    there, rng = broker(Mosquitto), seeds.rng()
    ours, told = client(there), []
    others = []
    ours.on_message += lambda client, topic, view: others.append(topic)
    for _ in range(30):
        parts = [rng.choice(("a", "b", "+", "")) for _ in range(rng.randrange(1, 4))] + rng.choice(([], ["#"]))
        granted(ours, until, "/".join(parts) or "a", lambda client, topic, view: told.append(topic))
    for _ in range(200):
        topic = "/".join(rng.choice(("a", "b", "c", "")) for _ in range(rng.randrange(1, 5)))
        if topic:
            ours.publish(topic, b"", qos=1)
    until(lambda: not ours.inflight)
    assert told and not others
