"""The broker's side of MQTT 3.1.1, written by hand: packets as bytes, and a broker without a thread that a test drives.

    def test_something(site):
        client = site.client()                  # started; its events are in client.data
        broker = site.accept()                  # CONNECT was read, CONNACK sent
        broker.send(publish("topic", b"data"))
        assert broker.packet() == (0x30, b"...")

A test module takes the fixtures by assignment: `debug, clock, reports, loop, site = mqtt.debug, ...`. Its tests run in release
and in debug mode, on a virtual clock; what is reported to `loop.on_error` and not taken fails them.
"""
import socket

import pytest

import icey
from icey.tools.testing import Peer
from tests.support import streams
from tests.support.streams import Turning

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
exports = streams.exports

ACCEPTED, RESUMED = b"\x20\x02\x00\x00", b"\x20\x02\x01\x00"
PING, PONG, GOODBYE = (0xc0, b""), b"\xd0\x00", (0xe0, b"")
UNIX = getattr(socket, "AF_UNIX", None)
EVENTS = ("connect", "message", "drain", "disconnect", "error", "close")


def text(value):
    coded = value if isinstance(value, bytes) else value.encode("utf-8")
    return len(coded).to_bytes(2, "big") + coded


def packet(first, rest):
    """A packet with its remaining length, by the algorithm of section 2.2.3."""
    size, length = len(rest), b""
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (128 if size else 0)])
        if not size:
            return bytes([first]) + length + rest


def publish(topic, data=b"", qos=0, ident=None, flags=0):
    return packet(0x30 | qos << 1 | flags, text(topic) + (b"" if ident is None else ident.to_bytes(2, "big")) + data)


def puback(ident):
    return packet(0x40, ident.to_bytes(2, "big"))


def suback(ident, *codes):
    return packet(0x90, ident.to_bytes(2, "big") + bytes(codes))


def unsuback(ident):
    return packet(0xb0, ident.to_bytes(2, "big"))


def published(first, rest):
    """(topic, data, qos, ident or None, dup, retain) of a PUBLISH that the client sent."""
    assert first >> 4 == 3, (first, rest)
    size = int.from_bytes(rest[:2], "big")
    topic, rest, qos = rest[2:2 + size].decode("utf-8"), rest[2 + size:], first >> 1 & 3
    ident = int.from_bytes(rest[:2], "big") if qos else None
    return topic, rest[2:] if qos else rest, qos, ident, bool(first & 8), bool(first & 1)


def subscribed(first, rest):
    """(ident, [(filter, qos), ...]) of a SUBSCRIBE."""
    assert first == 0x82, (first, rest)
    ident, rest, wanted = int.from_bytes(rest[:2], "big"), rest[2:], []
    while rest:
        size = int.from_bytes(rest[:2], "big")
        wanted.append((rest[2:2 + size].decode("utf-8"), rest[2 + size]))
        rest = rest[3 + size:]
    return ident, wanted


class Session(Peer):
    """A connection, the broker's end."""

    def packet(self):
        """The next packet: (first byte, what follows its head); None at the end."""
        first = self.read(1)
        if not first:
            return None
        size, shift = 0, 0
        while True:
            byte = self.read(1)[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first[0], self.read(size)

    def message(self):
        """The next packet, which is a PUBLISH."""
        return published(*self.packet())

    def subscription(self, *codes):
        """The next packet, which is a SUBSCRIBE; it is granted, or answered by `codes`."""
        ident, wanted = subscribed(*self.packet())
        self.send(suback(ident, *(codes or [qos for _, qos in wanted])))
        return wanted

    def reset(self):
        """The connection was cut: reset, and not ended."""
        for _ in range(20):
            self.loop.run_once(0)
            try:
                if not self.sock.recv(65536):
                    return False
            except BlockingIOError:
                continue
            except ConnectionResetError:
                return True
        return False

    def quiet(self, turns=3):
        """Nothing more has come."""
        for _ in range(turns):
            self.loop.run_once(0)
        try:
            return not self._held and not self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self._held


class Site(Turning):
    """A place where brokers listen."""

    def __init__(self, loop, clock):
        self.loop, self.clock = loop, clock
        self.sessions = []
        self.listen()

    def listen(self, port=0):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(16)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]

    def client(self, url=None, started=True, **options):
        """A client of this broker, that notes its events in `data`; its jitter is the least."""
        client = icey.mqtt.Client(self.loop, url or "mqtt://127.0.0.1:%d" % self.port, **options)
        client.random = lambda: 0.0
        client.data = streams.watch(client, *EVENTS)
        return client.start() if started else client

    def accept(self, answer=ACCEPTED):
        """The next connection. Its CONNECT is read, and answered; `connect`: that CONNECT."""
        found = []

        def came():
            try:
                found.append(self.listener.accept()[0])
            except BlockingIOError:
                return False
            return True

        self.until(came)
        if found[0].family != UNIX:
            found[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = Session(self.loop, found[0])
        self.sessions.append(session)
        session.connect = session.packet()
        if answer:
            session.send(answer)
        return session

    def both(self, answer=ACCEPTED, **options):
        """A client that is connected, and its broker."""
        client = self.client(**options)
        session = self.accept(answer)
        self.until(lambda: client.connected)
        del client.data[:]
        return client, session

    def stop(self):
        self.listener.close()

    def close(self):
        self.stop()
        for session in self.sessions:
            session.sock.close()


@pytest.fixture
def site(loop, clock):
    site = Site(loop, clock)
    yield site
    site.close()
