"""The aids for tests: a virtual clock and selector, a scripted socket, a peer on the loop's own thread."""
import errno
import selectors
import socket

import pytest

import icey
from icey.tools.testing import (
    AGAIN,
    END,
    INTERRUPTED,
    STALL,
    Peer,
    ScriptedSocket,
    VirtualClock,
    VirtualSelector,
    again_storm,
    byte_at_a_time,
    chunked,
    virtual_loop,
)


@pytest.fixture
def loop():
    loop, _ = virtual_loop()
    yield loop
    for handle in loop.handles:
        handle.abort()
    loop.close()


@pytest.fixture
def scripted():
    made = []

    def make(*args, **options):
        made.append(ScriptedSocket(*args, **options))
        return made[-1]
    yield make
    for sock in made:
        sock.close()


def ready(sock):
    """What a selector says of `sock`: "r", "w", "rw" or ""."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock.fileno(), selectors.EVENT_READ | selectors.EVENT_WRITE)
        mask = sum(mask for _, mask in selector.select(0))
    return ("r" if mask & selectors.EVENT_READ else "") + ("w" if mask & selectors.EVENT_WRITE else "")


# the clock and the selector

def test_the_clock_moves_only_when_advanced():
    clock = VirtualClock(5.0)
    assert (clock(), clock()) == (5.0, 5.0)
    clock.advance(2.5)
    assert clock() == 7.5
    assert repr(clock) == "VirtualClock(7.5)"


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_the_clock_does_not_go_back(seconds):
    with pytest.raises(ValueError, match="goes forward"):
        VirtualClock().advance(seconds)


def test_an_hour_of_timers_passes_at_once_and_in_order():
    loop, clock = virtual_loop(start=10.0)
    seen = []
    loop.call_later(3600.0, lambda: seen.append(("later", clock())))
    loop.call_later(0.1, lambda: seen.append(("soon", clock())))
    loop.run()
    loop.close()
    assert seen == [("soon", 10.1), ("later", 3610.0)]


def test_the_clock_stands_still_while_a_descriptor_is_ready():
    loop, clock = virtual_loop()
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        poll = icey.Poll(loop, near)
        times = []
        poll.on_readable += lambda poll: times.append((clock(), near.recv(1)))
        loop.call_later(9.0, poll.close)
        loop.run()
    loop.close()
    assert times == [(0.0, b"x")]
    assert clock() == 9.0


def test_a_wait_that_nothing_ends_is_an_error_not_a_hang():
    loop, _ = virtual_loop(patience=0.01)
    with icey.Synchronizer(loop, int):
        with pytest.raises(icey.StateError, match="wait for ever"):
            loop.run()
    loop.close()


def test_a_post_ends_a_wait_and_takes_no_virtual_time():
    loop, clock = virtual_loop()
    waker = icey.Synchronizer(loop, lambda: waker.close())
    waker.post()
    loop.run()
    loop.close()
    assert clock() == 0.0


def test_the_selector_has_all_that_base_selector_has():
    clock = VirtualClock()
    near, far = socket.socketpair()
    with near, far, VirtualSelector(clock) as selector:
        key = selector.register(near, selectors.EVENT_READ, "data")
        assert selector.get_key(near) == key
        assert list(selector.get_map()) == [near.fileno()]
        assert selector.select(0) == []
        assert clock() == 0.0
        assert selector.select(1.5) == []
        assert clock() == 1.5
        key = selector.modify(near, selectors.EVENT_WRITE, "other")
        assert selector.select(None) == [(key, selectors.EVENT_WRITE)]
        selector.unregister(near)
        assert not selector.get_map()


def test_the_selector_waits_for_real_where_nothing_is_scheduled():
    near, far = socket.socketpair()
    with near, far, VirtualSelector(VirtualClock(), patience=0.01) as selector:
        key = selector.register(near, selectors.EVENT_READ)
        with pytest.raises(icey.StateError):
            selector.select()
        far.send(b"x")
        assert selector.select() == [(key, selectors.EVENT_READ)]


def test_a_wait_without_timeout_ends_when_a_descriptor_turns_ready():
    near, far = socket.socketpair()
    with near, far, VirtualSelector(VirtualClock()) as selector:
        key = selector.register(near, selectors.EVENT_READ)
        first = selector._real.select
        selector._real.select = lambda timeout: first(timeout) if timeout else far.send(b"x") and []
        assert selector.select() == [(key, selectors.EVENT_READ)]


def test_a_virtual_loop_is_in_the_mode_asked_for():
    for debug in (False, True):
        loop, _ = virtual_loop(debug)
        assert loop.debug is debug
        loop.close()


# the scripted socket: reads

def test_reads_come_cut_to_the_size_asked_for(scripted):
    sock = scripted([b"abcdef", b"gh"])
    assert [sock.recv(4), sock.recv(4), sock.recv(4)] == [b"abcd", b"ef", b"gh"]
    assert sock.calls[-3:] == [("recv", 4)] * 3


def test_reads_fill_a_buffer(scripted):
    sock = scripted([b"abcdef"])
    room = bytearray(4)
    assert (sock.recv_into(room), bytes(room)) == (4, b"abcd")
    assert (sock.recv_into(room, 1), bytes(room)) == (1, b"ebcd")
    assert sock.calls[-2:] == [("recv_into", 4), ("recv_into", 1)]


def test_errors_are_raised_as_classes_with_their_codes_or_as_they_are(scripted):
    own = OSError(errno.EHOSTUNREACH, "no way")
    sock = scripted([AGAIN, INTERRUPTED, ConnectionResetError, own, OSError, b"x"])
    codes = []
    for _ in range(5):
        with pytest.raises(OSError) as caught:
            sock.recv(1)
        codes.append(caught.value.errno)
    assert codes == [errno.EAGAIN, errno.EINTR, errno.ECONNRESET, errno.EHOSTUNREACH, errno.EIO]
    assert caught.value is not own
    assert sock.recv(1) == b"x"


def test_the_end_stays_the_end(scripted):
    sock = scripted([b"x", END])
    assert [sock.recv(9), sock.recv(9), sock.recv(9)] == [b"x", b"", b""]
    assert ready(sock) == "rw"


def test_it_is_readable_while_reads_are_left(scripted):
    sock = scripted()
    assert ready(sock) == "w"
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    sock.feed(b"ab")
    assert ready(sock) == "rw"
    sock.recv(1)
    assert ready(sock) == "rw"
    sock.recv(1)
    assert ready(sock) == "w"


# the scripted socket: writes

def test_writes_take_what_the_script_says_and_then_everything(scripted):
    sock = scripted(writes=[2, 0, AGAIN, BrokenPipeError])
    assert [sock.send(b"abcd"), sock.send(b"cd")] == [2, 0]
    with pytest.raises(BlockingIOError):
        sock.send(b"cd")
    with pytest.raises(BrokenPipeError):
        sock.send(b"cd")
    assert sock.send(bytearray(b"cd")) == 2
    sock.allow(1)
    assert sock.send(b"ef") == 1
    assert sock.sent == b"abcde"
    assert sock.calls[-1] == ("send", 2)


def test_writes_are_vectored_with_sendmsg(scripted):
    sock = scripted(writes=[4])
    assert sock.sendmsg([b"abc", memoryview(b"def")]) == 4
    assert sock.sendmsg([b"gh"]) == 2
    assert sock.sent == b"abcdgh"
    assert sock.calls[-2:] == [("sendmsg", [3, 3]), ("sendmsg", [2])]


def test_sendmsg_can_be_missing(scripted):
    sock = scripted(sendmsg=False)
    assert not hasattr(sock, "sendmsg")
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        scripted().other


def test_a_stalled_one_takes_nothing_and_is_not_writable_until_unstalled(scripted):
    sock = scripted(writes=[1, STALL, 2])
    assert sock.send(b"abc") == 1
    assert ready(sock) == "w"
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            sock.send(b"bc")
        assert ready(sock) == ""
    sock.unstall()
    assert ready(sock) == "w"
    assert sock.send(b"bcd") == 2
    assert repr(STALL) == "STALL"


def test_after_shutdown_sending_is_a_broken_pipe(scripted):
    sock = scripted()
    sock.shutdown(socket.SHUT_RD)
    assert sock.send(b"x") == 1
    sock.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        sock.send(b"x")
    assert sock.calls[-2:] == [("shutdown", socket.SHUT_WR), ("send", 1)]


def test_closed_it_is_as_a_closed_socket_is(scripted):
    sock = scripted([b"x"])
    assert not sock.closed
    sock.close()
    assert sock.closed
    assert sock.fileno() == -1
    for call in (lambda: sock.recv(1), lambda: sock.send(b"x")):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF


def test_it_has_the_rest_of_what_a_stream_asks_of_a_socket(scripted):
    sock = scripted()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert (sock.getsockname(), sock.getpeername()) == (("127.0.0.1", 1), ("127.0.0.1", 2))
    assert (sock.family, sock.type, sock.proto) == (socket.AF_INET, socket.SOCK_STREAM, 0)
    assert sock.calls == [("setblocking", False), ("setsockopt", socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)]


# scripts

def test_a_script_of_single_bytes():
    assert byte_at_a_time(b"abc") == [b"a", b"b", b"c"]
    assert byte_at_a_time(b"") == []


def test_a_script_of_pieces():
    assert chunked(b"abcdefg", [1, 2]) == [b"a", b"bc", b"d", b"ef", b"g"]
    assert chunked(b"", []) == []
    for sizes in ([], [2, 0]):
        with pytest.raises(ValueError):
            chunked(b"abcdefg", sizes)


def test_a_script_of_false_alarms():
    assert again_storm(b"ab", 2) == [AGAIN, AGAIN, b"a", AGAIN, AGAIN, b"b"]


# the peer

def echo(loop):
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))

    @listener.on_accept.attach
    def accepted(_, sock):
        sock.on_recv += lambda sock, view: sock.send_owned(view)
    return listener


def test_a_peer_talks_without_a_thread(loop):
    with Peer.connect(loop, echo(loop).address) as peer:
        peer.send(b"one\ntwo\nthree")
        assert peer.read_until(b"\n") == b"one\n"
        assert peer.read(2) == b"tw"
        peer.half_close()
        assert peer.read_until(b"?") == b"o\nthree"
        assert peer.ended
        assert (peer.read(1), peer.read_all()) == (b"", b"")


def test_a_peer_sends_more_than_the_kernel_holds(loop):
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))
    got = []

    @listener.on_accept.attach
    def accepted(_, sock):
        sock.on_recv += lambda sock, view: got.append(len(view))
    with Peer.connect(loop, listener.address) as peer:
        peer.send(bytes(8 << 20))
    listener.close()
    loop.run()
    assert sum(got) == 8 << 20


def test_a_peer_resets(loop):
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))
    errors = []

    @listener.on_accept.attach
    def accepted(listener, sock):
        listener.close()
        sock.on_recv += lambda sock, view: None
        sock.on_error += lambda sock, exc: errors.append(type(exc))
    Peer.connect(loop, listener.address).reset()
    loop.run()
    assert errors == [ConnectionResetError]


@pytest.mark.parametrize("wait", [lambda peer: peer.read(1), lambda peer: peer.read_until(b"x"),
                                  lambda peer: peer.read_all(), lambda peer: peer.send(bytes(32 << 20))])
def test_a_peer_gives_up_waiting(loop, wait):
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))
    held = []
    listener.on_accept += lambda listener, sock: held.append(sock)
    with Peer.connect(loop, listener.address, patience=0.02) as peer:
        with pytest.raises(icey.Deadline, match="the loop turned for 0.02 s"):
            wait(peer)


def test_a_peer_is_made_of_a_connected_socket(loop):
    near, far = socket.socketpair()
    stream = icey.Stream(loop, near)
    with Peer(loop, far) as peer:
        stream.send(b"hello")
        stream.close()
        assert peer.read_all() == b"hello"


def test_a_peer_that_cannot_connect_leaves_no_socket(loop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            Peer.connect(loop, taken.getsockname())


def test_a_peer_takes_no_name(loop):
    with pytest.raises(ValueError, match="is a name"):
        Peer.connect(loop, "name.invalid:80")


@pytest.mark.needs("unix")
def test_a_peer_connects_to_a_unix_socket(loop, tmp_path):
    listener = icey.TCPListener(loop, "unix:%s" % (tmp_path / "s"))
    listener.on_accept += lambda listener, sock: (sock.send(b"hello"), sock.close())
    with Peer.connect(loop, listener.address) as peer:
        assert peer.read_all() == b"hello"
