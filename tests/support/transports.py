"""Every transport a stream can have, with one face: a contract is tested on all of them by the same text.

    def test_something(loop, transport):
        stream, far, kernel = transport()      # ours, connected; the other end; what is between, at our side
        kernel.stall()
        stream.send(b"hello")
        kernel.unstall()
        assert far.read(5) == b"hello"

A test module takes the fixtures by assignment: `loop, transport = transports.loop, transports.transport`, and debug, clock
and reports of streams.py; a test that takes `transport` then runs on TCP, on a Unix socket and on TLS, as its client and as
its server, and as a Pipe over an end of a socketpair, a terminal and both ends of a pipe, where there is such. What an end that
goes one way cannot do, or a terminal, is skipped there, and the reason says it. One that is about what a socket's calls meet
(how much one of them took, which of them were made) has a ScriptedSocket instead, and says so.
"""
import errno
import functools
import os
import socket
import time
from collections import namedtuple
from selectors import EVENT_WRITE

import pytest

import icey
from icey.base import pipe
from icey.base.handle import OPEN
from icey.base.loop import Loop
from icey.base.stream import UP
from icey.tools.testing import Peer, VirtualSelector
from tests.support.streams import finish, turn

BUFFER = 65536  # of the kernel, each: less than Linux's own, so that they fill soon

Link = namedtuple("Link", "stream far kernel")


class Selector(VirtualSelector):
    """A VirtualSelector for kernels that can stall: the descriptors in `stalled` do not turn writable."""

    def __init__(self, clock):
        super().__init__(clock)
        self.clock = clock
        self.stalled = set()

    def select(self, timeout=None):
        ready = self._seen(super().select(0))
        if not ready and timeout is None:
            ready = self._seen(super().select(None))
            assert ready, "nothing is scheduled, and the kernel is stalled: the loop would wait for ever"
        elif not ready:
            self.clock.advance(timeout)
        return ready

    def _seen(self, ready):
        seen = [(key, mask & ~EVENT_WRITE if key.fd in self.stalled else mask) for key, mask in ready]
        return [(key, mask) for key, mask in seen if mask]


class Gate:
    """What a kernel takes, and whether it fails, in the test's hands. In front of what has the calls of a socket."""

    def _begin(self, selector):
        self.taken = self.given = 0  # bytes sent and received, encrypted ones where the transport encrypts
        self._selector = selector
        self._room = None  # bytes to be taken yet; None: any number
        self._failure = None

    def stall(self):
        """Takes nothing from now on."""
        self.allow(0)

    def allow(self, size):
        """Takes `size` bytes more, and then nothing."""
        self._room = size
        (self._selector.stalled.discard if size else self._selector.stalled.add)(self.fileno())

    def unstall(self):
        """Takes everything again."""
        self.allow(1)
        self._room = None

    def fail(self, kind):
        """Fails from now on."""
        self.unstall()
        self._failure = kind

    @property
    def closed(self):
        return self.fileno() < 0

    def send(self, data, flags=0):
        return self._take([data])

    def recv(self, *arguments):
        self._may_fail()
        data = super().recv(*arguments)
        self.given += len(data)
        return data

    def recv_into(self, *arguments):
        self._may_fail()
        before = self.given
        size = super().recv_into(*arguments)
        self.given = before + size
        return size

    def close(self):
        self._selector.stalled.discard(self.fileno())
        super().close()

    def _take(self, buffers):
        self._may_fail()
        data = b"".join(buffers)
        if data and self._room == 0:
            raise BlockingIOError
        taken = super().send(data[:self._room])
        self.taken += taken
        if self._room is not None:
            self.allow(self._room - taken)
        return taken

    def _may_fail(self):
        if self._failure is not None:
            raise self._failure(getattr(self._failure, "__name__", ""))


class Kernel(Gate, socket.socket):
    """In the place of a stream's socket: the same one, but it takes only what the test lets it take."""

    def __init__(self, selector, sock):
        super().__init__(fileno=sock.detach())
        self.setblocking(False)
        self._begin(selector)

    if hasattr(socket.socket, "sendmsg"):
        def sendmsg(self, buffers, *rest):
            return self._take(buffers)


class End(Gate, pipe.Descriptor):
    """In the place of a Pipe's Descriptor."""

    def __init__(self, selector, fd):
        super().__init__(fd)
        self._begin(selector)

    if hasattr(pipe.Descriptor, "sendmsg"):
        def sendmsg(self, parts):
            return self._take(parts)


class Transport:
    """Makes connections of one kind; closes their other ends."""

    name = "TCPSocket"  # of our socket's class
    lacks = {}  # what its kind cannot do: why
    unix = False

    def __init__(self, loop, folder):
        self.loop = loop
        self._folder = folder
        self._others = []

    def __call__(self):
        """A connection: (our stream, the Peer at its other end, our stream's kernel)."""
        stream, sock = self.connect()
        selector = self.loop.poller._selector
        assert isinstance(selector, Selector), "the test module's loop is not transports.loop"
        carrier = self._carrier(stream)
        kernel = carrier.sock = Kernel(selector, carrier.sock)
        carrier.recv = kernel.recv
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        far = self.peer(sock)
        until(self.loop, lambda: stream.link == UP)
        turn(self.loop, 2)  # what else the handshake brings
        kernel.taken = kernel.given = 0
        return Link(stream, far, kernel)

    def needs(self, *features):
        """Skips the test where it is about "two ways", the "halves" of a connection, or the "room" of a kernel's buffers, and
        this kind has no such thing."""
        for feature in features:
            if feature in self.lacks:
                pytest.skip(self.lacks[feature])

    def title(self, stream):
        """How the stream is to be named in a report."""
        return "%s %s" % (self.name, stream.peer)

    def socket(self):
        """One of our sockets, not connected."""
        return icey.TCPSocket(self.loop)

    def connect(self):
        """(our socket, which connects as soon as the loop turns; the plain one that it connects to)."""
        with self._listener() as listener:
            stream = self.socket()
            stream.connect(self._address(listener))
            stream.set_no_delay()
            sock, _ = listener.accept()
        self._others.append(sock)
        return stream, sock

    def peer(self, sock):
        """The Peer at the other end, which `sock` is."""
        if not self.unix:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent is there at once
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        far = self._far(sock)
        self._others.append(far)
        return far

    def close(self):
        for other in self._others:
            other.close()

    def _carrier(self, stream):
        """The stream that has the socket."""
        return stream

    def _far(self, sock):
        return Peer(self.loop, sock)

    def _listener(self):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        return self._listening(listener)

    def _listening(self, listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # what it accepts has it too
        listener.listen(1)
        return listener

    def _address(self, listener):
        return listener.getsockname()


class Unix(Transport):
    unix = True

    def _listener(self):
        path = os.path.join(self._folder, "s")
        if os.path.exists(path):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        return self._listening(listener)

    def _address(self, listener):
        return "unix:" + listener.getsockname()


class TLSClient(Transport):
    name = "TLSSocket"

    def __init__(self, loop, folder):
        super().__init__(loop, folder)
        self._contexts = _contexts(os.path.join(folder, "certificates"))

    def socket(self):
        return icey.TLSSocket(self.loop, context=self._contexts.client, server_hostname="localhost")

    def _carrier(self, stream):
        return stream.sock.carrier

    def peer(self, sock):
        return super().peer(sock).handshake()

    def _far(self, sock):
        from tests.support.tls import TLSPeer

        return TLSPeer(self.loop, sock, self._contexts.far_server, server_side=True)


class TLSServer(TLSClient):
    def connect(self):
        with self._listener() as listener:
            sock = socket.create_connection(listener.getsockname())
            accepted, peer = listener.accept()
        self._others.append(sock)
        stream = icey.TCPSocket(self.loop, accepted, peer)
        stream.set_no_delay()
        return icey.start_tls(stream, self._contexts.server, server_side=True), sock

    def _far(self, sock):
        from tests.support.tls import TLSPeer

        return TLSPeer(self.loop, sock, self._contexts.far_client, server_hostname="localhost")


class Far:
    """A descriptor with the calls of a socket, for a Peer. One that is hung up has ended."""

    family = getattr(socket, "AF_UNIX", None)  # such as know no reset

    def __init__(self, fd):
        self._fd = fd

    def setblocking(self, on):
        os.set_blocking(self._fd, on)

    def fileno(self):
        return self._fd

    def send(self, data):
        return os.write(self._fd, data)

    def recv(self, size):
        try:
            return os.read(self._fd, size)
        except OSError as exc:
            if exc.errno == errno.EIO:
                return b""
            raise

    def setsockopt(self, *arguments):
        pytest.skip("only a socket is reset")

    def shutdown(self, how):
        pytest.skip("a terminal has no half to close")

    def close(self):
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class OneWay(Far):
    """The far end of a pipe. What only two ways can do is skipped."""

    def __init__(self, fd, writes):
        super().__init__(fd)
        self._writes = writes

    def send(self, data):
        if not self._writes:
            pytest.skip("a writing end is sent nothing")
        return super().send(data)

    def recv(self, size):
        if self._writes:
            pytest.skip("a reading end sends nothing")
        return super().recv(size)

    def shutdown(self, how):
        if not self._writes:
            pytest.skip("a writing end is sent nothing")
        self.close()


class ReadingEnd(icey.Pipe):
    """A test that sends on it is skipped."""

    def write(self, data, done, borrowed):
        if self.phase == OPEN and self.link == UP:
            pytest.skip("a reading end sends nothing")
        return super().write(data, done, borrowed)

    def write_file(self, *arguments, **named):
        if self.phase == OPEN:
            pytest.skip("a reading end sends nothing")
        return super().write_file(*arguments, **named)


ReadingEnd.__name__ = "Pipe"  # in reports


class Pair(Transport):
    """A Pipe over an end of a Unix socketpair."""

    name = "Pipe"
    kind = icey.Pipe

    def __call__(self):
        selector = self.loop.poller._selector
        assert isinstance(selector, Selector), "the test module's loop is not transports.loop"
        near, far = self.ends()
        ours, pipe.Descriptor = pipe.Descriptor, functools.partial(End, selector)
        try:
            stream = self.kind(self.loop, near)
        finally:
            pipe.Descriptor = ours
        self.made(stream)
        turn(self.loop, 2)
        return Link(stream, self.peer(far), stream.sock)

    def ends(self):
        near, far = socket.socketpair()
        for sock in near, far:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        return near.detach(), far

    def title(self, stream):
        return "Pipe %d" % stream.fd

    def made(self, stream):
        """What its kind needs."""

    def peer(self, sock):
        far = Peer(self.loop, sock)
        self._others.append(far)
        return far

    def socket(self):
        pytest.skip("a Pipe is connected from the beginning")

    connect = socket


class Terminal(Pair):
    """A Pipe over a pty's slave, in raw mode; the far end is its master."""

    lacks = {"halves": "a terminal has no half to close", "room": "a terminal holds 4 KiB"}

    def ends(self):
        master, slave = os.openpty()
        return slave, Far(master)

    def made(self, stream):
        stream.set_raw()


class WritingPipe(Pair):
    """A Pipe over the writing end of a pipe."""

    lacks = {"two ways": "a writing end is sent nothing"}

    def ends(self):
        read, write = os.pipe()
        return write, OneWay(read, False)


class ReadingPipe(Pair):
    """A Pipe over the reading end of a pipe."""

    kind = ReadingEnd
    lacks = {"two ways": "a reading end sends nothing"}

    def ends(self):
        read, write = os.pipe()
        return read, OneWay(write, True)


Contexts = namedtuple("Contexts", "client server far_client far_server")


@functools.lru_cache(maxsize=None)
def _contexts(path):
    from icey.net import tls
    from tests.support.tls import _made, client_context, server_context

    certs = _made(path)
    return Contexts(tls.client_context(ca=certs.ca), tls.server_context(*certs.cert("localhost")),
                    client_context(certs), server_context(certs))


KINDS = {"tcp": Transport, "unix": Unix, "tls-client": TLSClient, "tls-server": TLSServer,
         "pair": Pair, "pty": Terminal, "pipe-out": WritingPipe, "pipe-in": ReadingPipe}
NEEDS = {"unix": "unix", "tls-client": "ssl", "tls-server": "ssl",
         "pair": "unix", "pty": "termios", "pipe-out": "fcntl", "pipe-in": "fcntl"}


def marks(name):
    """What a test on that transport is marked with."""
    return [pytest.mark.needs(NEEDS[name])] if name in NEEDS else []


# The plain run has of a Pipe's ends the two that go one way; the matrix has all, and so has who asks for tables whole.
EACH = [pytest.param(name, marks=marks(name)) for name in KINDS
        if name not in ("pair", "pty") or os.environ.get("ICEY_TABLES") == "whole"]


def of(name, loop, tmp_path_factory):
    """The Transport of that name; `close()` it at the end."""
    return KINDS[name](loop, str(tmp_path_factory.getbasetemp()))


@pytest.fixture(params=EACH)
def transport(request, loop, tmp_path_factory):
    made = of(request.param, loop, tmp_path_factory)
    yield made
    made.close()


@pytest.fixture
def loop(debug, clock, reports):
    loop = Loop(debug, clock=clock, selector=Selector(clock))
    loop.on_error += reports.note
    yield loop
    finish(loop)


only_debug = pytest.mark.parametrize("debug", [True], ids=["debug"])
only_release = pytest.mark.parametrize("debug", [False], ids=["release"])


def until(loop, met, patience=20.0):
    """Turns the loop until `met()`; no virtual time passes."""
    end = time.monotonic() + patience
    while not met():
        assert time.monotonic() < end, "waited for %s" % met
        loop.run_once(0)


def wait(loop, clock, seconds):
    """Virtual seconds pass, each timer at its time."""
    end = clock() + seconds
    while clock() < end:
        loop.run_once(end - clock())
    turn(loop, 2)


def flood(far, piece=16384):
    """Has `far` send until its kernel takes no more: (what it sent, a function that sends the rest of it)."""
    sent, raw = bytearray(), b""
    while True:
        data = bytes((len(sent) >> 8 & 255,)) * piece
        sent += data
        if hasattr(far, "end"):
            far.end.write(data)
            data = far.end.take()
        try:
            raw = data[far.sock.send(data):]
        except BlockingIOError:
            raw = data
        if raw:
            return bytes(sent), functools.partial(Peer.send, far, raw)


def sip(far):
    """Has `far` take what has come, for a later read."""
    try:
        while True:
            data = far.sock.recv(65536)
            if not data:
                return
            (far.end.feed if hasattr(far, "end") else far._held.extend)(data)
    except BlockingIOError:
        pass


def hold(stream, kernel):
    """Stalls, so that what is sent from now on waits as it was given, even where it will be encrypted: behind a b"-"."""
    kernel.stall()
    stream.high_water, stream.low_water = 1, 0
    stream.send_owned(b"-")
