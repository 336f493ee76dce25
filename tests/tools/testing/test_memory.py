"""MemorySocket: what a Stream meets over it, as over a socket of the system; and what its selector says."""
import errno
import selectors
import socket
import threading

import pytest

import icey
from icey.tools.testing import VirtualClock, VirtualSelector, virtual_loop
from icey.tools.testing.memory import MemorySocket
from tests.support import needs

HERE, THERE = ("127.0.0.1", 80), ("127.0.0.1", 40000)
R, W = selectors.EVENT_READ, selectors.EVENT_WRITE


@pytest.fixture
def sock():
    sock = MemorySocket(HERE, THERE, room=4)
    yield sock
    sock.close()


def test_what_came_is_read_in_whatever_pieces(sock):
    with pytest.raises(BlockingIOError):
        sock.recv(10)
    sock.came += b"hello"
    buffer = bytearray(4)
    assert (sock.recv(1), sock.recv_into(buffer, 2), sock.recv_into(buffer), bytes(buffer)) == (b"h", 2, 2, b"lo\0\0")
    sock.ended = True
    assert sock.recv(10) == sock.recv(10) == b""


def test_there_is_room_until_the_peer_takes(sock):
    assert (sock.send(b"abcdef"), sock.send(b"")) == (4, 0)
    with pytest.raises(BlockingIOError):
        sock.send(b"e")
    sock.sent.clear()
    assert sock.send(memoryview(b"ef")) == 2


@pytest.mark.parametrize("change, error, what", [
    ({"shut": True}, errno.EPIPE, "send"), ({"reset": True}, errno.ECONNRESET, "send"),
    ({"reset": True}, errno.ECONNRESET, "recv"),
])
def test_a_peer_that_has_gone(sock, change, error, what):
    for name, value in change.items():
        setattr(sock, name, value)
    with pytest.raises(OSError) as caught:
        sock.send(b"x") if what == "send" else sock.recv(1)
    assert caught.value.errno == error


def test_a_reset_comes_behind_what_was_sent_before_it(sock):
    sock.came += b"hello"
    sock.ended = sock.gone = sock.reset = True
    assert (sock.recv(3), sock.recv(3)) == (b"hel", b"lo")
    with pytest.raises(ConnectionResetError):
        sock.recv(3)


def test_the_first_send_to_a_peer_that_has_closed_is_taken(sock):
    sock.ended = sock.gone = True
    assert (sock.recv(1), sock.send(b""), sock.recv(1)) == (b"", 0, b"")
    assert (sock.send(b"abcdef"), bytes(sock.sent)) == (4, b"")
    with pytest.raises(BrokenPipeError):
        sock.send(b"ef")
    assert sock.recv(1) == b""


def test_its_addresses_and_options(sock):
    sock.setblocking(False)
    assert (sock.getsockname(), sock.getpeername(), sock.getsockopt(1, 4), sock.getsockopt(6, 11, 136)) == (HERE, THERE, 0, b"")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert not sock.cut
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"")
    assert sock.cut


def test_closed_it_is_no_descriptor_any_more(sock):
    sock.close()
    sock.close()
    assert sock.fileno() == -1 and not sock.cut
    for call in (lambda: sock.recv(1), lambda: sock.send(b"x"), sock.getsockname, lambda: sock.shutdown(socket.SHUT_WR)):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF


def test_closed_with_input_unread_it_is_a_reset(sock):
    sock.came += b"x"
    sock.close()
    assert sock.cut


def test_a_selector_says_when_it_is_ready(sock):
    near, far = socket.socketpair()
    with near, far, VirtualSelector(VirtualClock()) as selector:
        key = selector.register(sock, R | W, "data")
        other = selector.register(near, R)
        assert selector.select(0) == [(key, W)]
        sock.send(b"full")
        assert selector.select(0) == []
        sock.came += b"x"
        assert selector.select(0) == [(key, R)]
        assert dict(selector.get_map()) == {sock.fileno(): key, near.fileno(): other}
        with pytest.raises(KeyError):
            selector.register(sock.fileno(), R)
        assert selector.modify(sock.fileno(), W, "other").data == "other"
        assert selector.select(0) == []
        sock.gone = True
        assert [(found.fd, mask) for found, mask in selector.select(0)] == [(sock.fileno(), W)]
        selector.unregister(sock.fileno())
        far.send(b"y")
        assert selector.select(0) == [(other, R)]


def test_other_selectors_refuse_it(sock):
    with selectors.DefaultSelector() as selector:
        with pytest.raises((OSError, ValueError)):
            selector.register(sock.fileno(), R)
            selector.select(0)


@pytest.mark.parametrize("debug", [False, True], ids=["release", "debug"])
def test_a_stream_over_it_reads_writes_and_ends(debug, sock):
    loop, _ = virtual_loop(debug)
    seen = []
    with loop:
        stream = icey.Stream(loop, sock)
        stream.on_recv += lambda stream, view: seen.append(bytes(view))
        stream.on_end += lambda stream: (seen.append("end"), stream.close())
        sock.came += b"hello"
        stream.send_owned(b"answer")
        loop.run_once(0)
        assert (seen, bytes(sock.sent), stream.queued) == ([b"hello"], b"answ", 2)
        sock.sent.clear()
        sock.ended = True
        loop.run()
    assert seen[1] == "end" and bytes(sock.sent) == b"er" and sock.closed and not sock.cut


def test_a_thread_at_work_longer_than_the_clock_is_patient():
    needs("threading")
    gate = threading.Event()
    loop, _ = virtual_loop(patience=0.02)
    with loop:
        pool = icey.ThreadPool(loop)
        pool.submit(gate.wait)
        with pytest.raises(icey.StateError, match="at work for 0.02 s"):
            loop.run()
        gate.set()
        pool.close()
        loop.run_once()
