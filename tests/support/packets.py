"""What the tests of PacketStream share: stages of each kind, what came out, threads that end, and waits that end too.

A test module takes the fixtures by assignment: `no_thread_stays = packets.no_thread_stays`, which checks after each test
that the threads of its queues have ended. Every wait here is bounded.
"""
import threading
import time

import pytest

from icey import PacketProcessor, PacketRetention, QueueFull, StateError  # noqa: F401 - for the test modules
from tests.support import lacks, needs  # noqa: F401 - for the test modules

LONG = 20.0  # seconds, of a wait that should be short
WORKER = "icey AsyncPacketQueue"

needs_threads = pytest.mark.skipif(bool(lacks("threading")), reason="AsyncPacketQueue needs threading")


def workers():
    """The threads of AsyncPacketQueues that are alive."""
    return [thread for thread in threading.enumerate() if thread.name == WORKER]


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    for thread in workers():
        thread.join(LONG)
    assert workers() == []


class Pass(PacketProcessor):
    """Passes packets on, and notes them."""

    def __init__(self, name="", seen=None):
        self.name = name
        self.seen = [] if seen is None else seen

    def process(self, packet):
        self.seen.append(self.name or bytes(packet.data))
        self.emit(packet)


class Cloned(Pass):
    retention = PacketRetention.CLONED


class Retained(Pass):
    retention = PacketRetention.RETAINED


class Boom(PacketProcessor):
    """Raises for packets with this content."""

    def __init__(self, of=b"boom", error=ZeroDivisionError):
        self.of = of
        self.error = error

    def process(self, packet):
        if packet.size and bytes(packet.data) == self.of:
            raise self.error("on %r" % self.of)
        self.emit(packet)


class Do(PacketProcessor):
    """Calls a function with each packet, then passes the packet on."""

    def __init__(self, fn):
        self.fn = fn

    def process(self, packet):
        self.fn(packet)
        self.emit(packet)


class Each(PacketProcessor):
    """Emits each byte of a packet by itself."""

    def process(self, packet):
        for index in range(packet.size):
            self.emit(packet.data[index:index + 1])


def data_of(packet):
    return bytes(packet.data)


def output(stream):
    """A list that gets the content of each packet that comes out."""
    came = []
    stream.on_packet += lambda packet: came.append(data_of(packet))
    return came


def events(stream):
    """A list that gets (event, argument...) of on_error, on_close and on_state."""
    seen = []
    stream.on_error += lambda stream, exc: seen.append(("error", type(exc).__name__))
    stream.on_close += lambda stream: seen.append(("close",))
    stream.on_state += lambda stream, new, old: seen.append((old.name, new.name))
    return seen


def closing(stream):
    """An Event that is set when `stream` has emitted on_close."""
    closed = threading.Event()
    stream.on_close += lambda stream: closed.set()
    return closed


def stopping(stream):
    """An Event that is set when `stream` is STOPPED."""
    stopped = threading.Event()
    stream.on_state += lambda stream, new, old: stopped.set() if new.name == "STOPPED" else None
    return stopped


def wait(event):
    assert event.wait(LONG), "it has not come"


def turn_until(loop, met):
    """Turns the loop until `met()`."""
    until = time.monotonic() + LONG
    while not met():
        assert time.monotonic() < until, "it has not come"
        loop.run_once(0.001)


def wait_for(met):
    """Waits, looking again and again, until `met()`: for what tells nobody."""
    until = time.monotonic() + LONG
    look = threading.Event()
    while not met():
        assert time.monotonic() < until, "it has not come"
        look.wait(0.001)


class Thread:
    """A thread that runs `fn` at once; `join()` is bounded, and returns or raises what `fn` did."""

    def __init__(self, fn, *args):
        self._outcome = None
        self._thread = threading.Thread(target=self._work, args=(fn, args))
        self._thread.start()

    def _work(self, fn, args):
        try:
            self._outcome = (fn(*args), None)
        except BaseException as exc:
            self._outcome = (None, exc)

    @property
    def ident(self):
        return self._thread.ident

    @property
    def alive(self):
        return self._thread.is_alive()

    def join(self):
        self._thread.join(LONG)
        assert self._outcome is not None, "the thread has not returned"
        result, exc = self._outcome
        if exc is not None:
            raise exc
        return result
