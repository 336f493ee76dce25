"""A client and a broker at random: connections that break anywhere, a session that is there or not, PUBACKs late or never.

Whatever happens: each message of QoS 1 arrives, and is told done once; on each connection they come in the order in which they
were published; one that arrived before comes again with DUP; no more than max_inflight are on their way.
"""
from collections import Counter

import pytest

import icey
from tests.support import mqtt, seeds
from tests.support.mqtt import published
from tests.support.streams import names

debug, clock, reports, loop, site = mqtt.debug, mqtt.clock, mqtt.reports, mqtt.loop, mqtt.site


class Broker:
    """The broker's end of one connection: takes what comes, and acknowledges it when it likes."""

    def __init__(self, site, rng, arrived, most):
        self.site, self.rng, self.arrived, self.most = site, rng, arrived, most
        self.session = site.accept(mqtt.RESUMED if rng.random() < 0.5 else mqtt.ACCEPTED)
        self.came, self.due, self.held = [], [], bytearray()

    def take(self):
        """All whole packets that are here."""
        try:
            self.held += self.session.sock.recv(1 << 20)
        except BlockingIOError:
            pass
        while len(self.held) > 1 and len(self.held) >= 2 + self.held[1]:  # all are short here
            first, rest = self.held[0], bytes(self.held[2:2 + self.held[1]])
            del self.held[:2 + self.held[1]]
            if first >> 4 == 3:
                topic, data, qos, ident, dup, _ = published(first, rest)
                if qos:
                    number = int(data)
                    assert dup or number not in self.arrived, "what arrived before says so"
                    self.arrived.add(number)
                    self.came.append(number)
                    self.due.append(ident)
                    assert len(self.due) <= self.most
        assert self.came == sorted(self.came)

    def acknowledge(self, count):
        for _ in range(min(count, len(self.due))):
            self.session.send(mqtt.puback(self.due.pop(int(self.rng.random() * len(self.due)))))

    def end(self):
        if self.rng.random() < 0.5 and self.session.sock.fileno() >= 0:
            self.session.sock.setsockopt(mqtt.socket.SOL_SOCKET, mqtt.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.session.sock.close()


VERBS = ["publish", "publish", "large", "subscribe", "unsubscribe", "pause", "resume", "close", "abort", "raise", "nothing"]


class Deliberate(Exception):
    """What a slot raises."""


def use(rng, client, verb):
    """Uses a client in some way. What the contract lets a call raise is fine."""
    try:
        if verb == "publish":
            client.publish("t", b"x", qos=rng.randrange(2), done=lambda: now_and_then(rng, client))
        elif verb == "large":
            client.publish("t", bytes(rng.randrange(100000)), qos=rng.randrange(2))
        elif verb == "subscribe":
            client.subscribe(rng.choice("abc"), rng.choice((None, slot_of(rng))), qos=rng.randrange(2))
        elif verb == "unsubscribe":
            client.unsubscribe(rng.choice("abc"))
        elif verb in ("pause", "resume", "close", "abort"):
            getattr(client, verb)()
    except (icey.StateError, icey.QueueFull):
        pass
    if verb == "raise":
        raise Deliberate


def now_and_then(rng, client):
    if rng.random() < 0.08:
        use(rng, client, rng.choice(VERBS))


def slot_of(rng):
    return lambda client, *rest: now_and_then(rng, client)


@pytest.mark.parametrize("round", range(3))
def test_whoever_misuses_it_is_told_in_order(site, reports, round):
    rng, told = seeds.rng(), Counter()
    for _ in range(seeds.rounds(10, 80)):
        client = site.client(client_id="a", clean=False, limits=icey.Limits(max_queue=300000))
        for name in ("connect", "message", "drain", "disconnect", "close"):
            getattr(client, "on_" + name).attach(slot_of(rng))
        for _ in range(rng.randrange(1, 4)):
            if client.closed:
                break
            talk(site, rng, client)
        client.abort()
        site.turn(4)
        events = names(client.data)
        assert events.count("close") == 1 and events[-1] == "close", events
        turns = [event for event in events if event in ("connect", "disconnect")]
        assert ("connect", "connect") not in list(zip(turns, turns[1:])), turns
        told.update(events)
        reports[:] = [one for one in reports if not isinstance(one[0], Deliberate)]
        assert not site.loop.handles
    assert set(told) >= {"connect", "message", "close"}, told  # of ten clients each may have closed before a connection broke


def talk(site, rng, client):
    """One connection, by a broker that sends what it likes, and breaks off anywhere."""
    found = []
    while not found and not client.closed:
        client.resume()
        site.turn()
        try:
            found.append(site.listener.accept()[0])
        except BlockingIOError:
            site.wait(1)  # it rests, or waits for the one before
    for sock in found:
        sock.setblocking(False)
        said = [mqtt.RESUMED if rng.random() < 0.5 else mqtt.ACCEPTED]
        said += [mqtt.publish(rng.choice("abc"), b"x" * rng.randrange(300), qos, rng.randrange(1, 100) if qos else None)
                 for qos in (rng.randrange(2) for _ in range(rng.randrange(30)))]
        said += [rng.choice((mqtt.puback(1), mqtt.suback(1, 0), mqtt.PONG, b"\0\0"))] * (rng.random() < 0.3)
        data = b"".join(said)
        data = data[:rng.randrange(len(data) + 1)] if rng.random() < 0.2 else data
        while data:
            size = rng.randrange(1, 2000)
            try:
                sock.send(data[:size])
            except OSError:
                break
            data = data[size:]
            site.turn()
            if rng.random() < 0.3:
                try:
                    sock.recv(100000)
                except OSError:
                    pass
            if not client.closing and rng.random() < 0.2:
                try:
                    use(rng, client, rng.choice(VERBS[:-2]))
                except Deliberate:
                    pass
        site.turn(rng.randrange(5))
        sock.close()


@pytest.mark.parametrize("round", range(3))
def test_every_message_of_qos_1_arrives_in_order_and_is_done_once(site, round):
    rng = seeds.rng()
    for _ in range(seeds.rounds(1, 20)):
        play(site, rng)


def play(site, rng):
    most = rng.choice((1, 2, 5, 64))
    client = site.client(client_id="a", clean=False, max_inflight=most,
                         limits=icey.Limits(high_water=200, low_water=50, max_queue=3000))
    arrived, done, sent, broker = set(), [], 0, None
    wanted = rng.randrange(20, 120)
    for _ in range(2000):
        if sent == wanted and len(done) == wanted:
            break
        what = rng.random()
        if what < 0.3 and sent < wanted:
            for _ in range(rng.randrange(1, 12)):
                try:
                    client.publish("t", b"%d" % sent, qos=1, done=lambda number=sent: done.append(number))
                    sent += 1
                    client.publish("t", b"zero")
                except icey.QueueFull:
                    break
                if sent == wanted:
                    break
        elif broker is None:
            site.wait(client.data[-1][2] if client.data and client.data[-1][0] == "disconnect" else 0)
            broker = Broker(site, rng, arrived, most)
        elif what < 0.9 or len(done) > wanted // 2 and rng.random() < 0.9:
            site.turn()
            broker.take()
            broker.acknowledge(rng.randrange(0, 6))
        else:
            before = names(client.data).count("disconnect")
            broker.end()
            broker = None
            site.until(lambda before=before: names(client.data).count("disconnect") > before)
    assert sorted(done) == list(range(wanted)) and arrived == set(done)
    assert not client.inflight
    client.abort()
    site.turn(2)
