"""TCPSocket: connecting and what comes of it, over IPv4, IPv6 and Unix sockets. Listeners: test_listener.py."""
import errno
import os
import socket

import pytest

import icey
from icey.net import tcp
from icey.tools.testing import END, Peer, ScriptedSocket
from tests.support import streams
from tests.support.streams import names, turn, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop


@pytest.fixture(params=["ipv4", pytest.param("ipv6", marks=pytest.mark.needs("ipv6")),
                        pytest.param("unix", marks=pytest.mark.needs("unix"))])
def address(request, tmp_path):
    """Where to listen, in each family."""
    return {"ipv4": "127.0.0.1:0", "ipv6": "[::1]:0", "unix": "unix:%s" % (tmp_path / "sock")}[request.param]


def echoing(loop, address="127.0.0.1:0"):
    """A listener for one connection, which it echoes."""
    listener = icey.TCPListener(loop, address)

    @listener.on_accept.attach
    def accepted(listener, sock):
        listener.close()
        sock.on_recv += lambda sock, view: sock.send_owned(view)
    return listener


def refusing():
    """An address where nobody listens, and the socket that keeps it so."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, icey.Address.from_sockaddr(sock.getsockname())


# connecting

def test_a_socket_connects_sends_and_receives(loop, address):
    listener = echoing(loop, address)
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "recv", "end", "error", "close")
    client.on_connect += lambda client: client.send(b"hello")
    client.on_recv += lambda client, view: client.shutdown()
    client.on_end += lambda client: client.close()
    client.connect(listener.address)
    assert seen == []
    loop.run()
    assert seen == [("connect",), ("recv", b"hello"), ("end",), ("close",)]


@pytest.mark.parametrize("form", [
    lambda address: (address,), lambda address: (str(address),), lambda address: (address.host, address.port),
    lambda address: ((address.host, address.port),)], ids=["Address", "text", "host and port", "tuple"])
def test_connect_takes_an_address_in_every_form(loop, form):
    listener = echoing(loop)
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect")
    client.connect(*form(listener.address))
    client.on_connect += lambda client: client.close()
    loop.run()
    assert names(seen) == ["connect"]


def test_local_and_peer_are_addresses(loop, address):
    listener = icey.TCPListener(loop, address)
    client = icey.TCPSocket(loop)
    assert (client.local, client.peer) == (None, None)
    accepted, states = [], []
    listener.on_accept += lambda listener, sock: accepted.append(sock)
    client.on_connect += lambda client: states.append((client.local, client.peer))
    client.connect(listener.address)
    turn(loop, 5)
    (local, peer), = states
    assert peer == listener.address
    assert accepted[0].local == listener.address
    if listener.address.port is not None:
        assert accepted[0].peer == local
    client.close()
    accepted[0].abort()
    turn(loop, 2)
    assert (client.local, client.peer) == (None, listener.address)
    assert accepted[0].peer is not None


def test_send_before_connect_is_state_error(loop):
    client = icey.TCPSocket(loop)
    for send in (client.send, client.send_owned):
        with pytest.raises(icey.StateError, match=r"before connect\(\)"):
            send(b"x")
    with pytest.raises(icey.StateError, match=r"before connect\(\)"):
        client.shutdown()
    client.close()


def test_while_connecting_send_queues(loop):
    listener = echoing(loop)
    client = icey.TCPSocket(loop)
    done = []
    seen = watch(client, "connect", "recv", "close")
    client.connect(listener.address)
    assert client.send(b"early", lambda: done.append(names(seen))) is True
    assert client.send(b"", lambda: done.append("empty")) is True
    assert client.queued == 5
    client.shutdown()
    with pytest.raises(icey.StateError, match="after shutdown"):
        client.send(b"late")
    loop.run()
    assert seen == [("connect",), ("recv", b"early"), ("close",)]
    assert done == [["connect"], "empty"]


def test_a_shutdown_while_connecting_acts_once_connected(loop):
    listener = echoing(loop)
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "recv", "end", "close")
    client.connect(listener.address)
    client.shutdown()
    loop.run()
    assert names(seen) == ["connect", "end", "close"]


def test_a_close_while_connecting_drains_what_was_sent(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    got = []

    @listener.on_accept.attach
    def accepted(listener, sock):
        listener.close()
        sock.on_recv += lambda sock, view: got.append(bytes(view))
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "error", "close")
    client.connect(listener.address)
    client.send(b"parting words")
    client.close()
    loop.run()
    assert (got, names(seen)) == ([b"parting words"], ["close"])


@pytest.mark.parametrize("end", ["close", "abort"])
def test_an_own_close_while_connecting_is_on_close_only(loop, end):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "error", "close")
    client.connect(listener.address, timeout=5.0)
    getattr(client, end)()
    listener.close()
    loop.run()
    assert names(seen) == ["close"]


def test_a_socket_that_dies_connecting_leaves_its_descriptor_to_others(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    for _ in range(3):
        client = icey.TCPSocket(loop)
        client.connect(listener.address)
        client.abort()
        turn(loop, 2)
    listener.close()
    loop.run()
    assert len(loop.poller.ready) == 1  # the loop's own


@pytest.mark.parametrize("state", ["connecting", "connected"])
def test_a_second_connect_is_state_error(loop, state):
    listener = echoing(loop)
    client = icey.TCPSocket(loop)
    client.connect(listener.address)
    if state == "connected":
        turn(loop, 3)
    with pytest.raises(icey.StateError, match="connected or connecting"):
        client.connect(listener.address)


def test_what_is_no_address_is_value_error_and_the_socket_lives(loop):
    client = icey.TCPSocket(loop)
    for wrong in (("name.invalid", 65536), ("name.invalid",), ("na\0me", 80)):
        with pytest.raises(ValueError):
            client.connect(*wrong)
    assert client.peer is None
    client.connect(echoing(loop).address)
    client.on_connect += lambda client: client.close()
    loop.run()
    assert client.closed


def test_a_timeout_that_is_none_is_value_error_and_the_socket_lives(loop):
    client = icey.TCPSocket(loop)
    with pytest.raises(ValueError, match="finite"):
        client.connect("127.0.0.1", 80, timeout=-1)
    assert client.peer is None
    client.close()


# failing to connect: on_error, on_close

def test_a_refused_connection_is_connect_error_with_its_attempt(loop):
    taken, address = refusing()
    with taken:
        client = icey.TCPSocket(loop)
        seen = watch(client, "connect", "recv", "error", "close")
        client.connect(address)
        done = []
        client.send(b"lost", lambda: done.append(1))
        loop.run()
    assert names(seen) == ["error", "close"]
    error = seen[0][1]
    assert type(error) is icey.ConnectError
    assert error.errno == errno.ECONNREFUSED
    (where, cause), = error.attempts
    assert where == address
    assert isinstance(cause, ConnectionRefusedError)
    assert error.__cause__ is cause
    assert str(error).startswith("cannot connect to %s: " % address)
    assert done == []


@pytest.mark.needs("unix")
def test_a_unix_socket_that_is_not_there_is_connect_error_from_the_loop(loop, tmp_path):
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "error", "close")
    client.connect("unix:%s" % (tmp_path / "nobody"))
    assert client.send(b"queued") is True
    assert seen == []
    loop.run()
    assert names(seen) == ["error", "close"]
    assert isinstance(seen[0][1].attempts[0][1], FileNotFoundError)


@pytest.mark.needs("unix")
def test_a_unix_listener_whose_backlog_is_full_is_connect_error(loop, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "busy"))
        listener.listen(0)
        clients = [icey.TCPSocket(loop) for _ in range(4)]
        seen = [watch(client, "connect", "error") for client in clients]
        for client in clients:
            client.connect("unix:%s" % (tmp_path / "busy"))
        turn(loop, 4)
    kinds = [names(events) for events in seen]
    assert kinds[0] == ["connect"]
    assert kinds[-1] == ["error"]
    assert seen[-1][0][1].errno == errno.EAGAIN


def test_an_address_the_socket_module_refuses_is_connect_error(loop):
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "error", "close")
    client.connect("fe80::1%no-such-interface", 80)
    loop.run()
    assert names(seen) == ["error", "close"]
    assert type(seen[0][1]) is icey.ConnectError


def test_no_descriptor_for_the_socket_is_connect_error(loop, monkeypatch):
    def none_left(*arguments):
        raise OSError(errno.EMFILE, "too many open files")
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "error", "close")
    monkeypatch.setattr(tcp.socket, "socket", none_left)
    client.connect("127.0.0.1", 80, timeout=1.0)
    monkeypatch.undo()
    assert client.send(b"discarded") is False
    assert seen == []
    loop.run()
    assert names(seen) == ["error", "close"]
    assert seen[0][1].errno == errno.EMFILE


def test_a_poller_that_takes_no_more_is_connect_error(loop, monkeypatch):
    """As select() with its 512 descriptors, or 1024: a socket that nobody watches would never be told of, nor freed."""
    def full(*arguments):
        raise OSError(errno.EMFILE, "select() takes no more")
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "error", "close")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(loop.poller, "register", full)
        client.connect("127.0.0.1", server.getsockname()[1])
        monkeypatch.undo()
        assert seen == []
        loop.run()
    assert names(seen) == ["error", "close"] and client.sock.fileno() < 0
    assert str(seen[0][1]).endswith("select() takes no more")


class Connecting(ScriptedSocket):
    """A socket that is connecting until the test unstalls it."""

    error = 0

    def connect_ex(self, sockaddr):
        self._stall()
        return errno.EINPROGRESS

    def getsockopt(self, *arguments):
        return self.error

    def getpeername(self):
        if self._stalled or self.error:
            raise OSError(errno.ENOTCONN, "not connected")
        return super().getpeername()


@pytest.fixture
def slow(loop, monkeypatch):
    """A TCPSocket that is connecting, and what it connects with."""
    sock = Connecting([b"welcome", END])
    client = icey.TCPSocket(loop)
    with monkeypatch.context() as patch:
        patch.setattr(tcp.socket, "socket", lambda *arguments: sock)
        client.connect("192.0.2.1", 80, timeout=30.0)
    return client, sock


def test_a_connect_within_its_timeout_connects(loop, clock, slow):
    client, sock = slow
    seen = watch(client, "connect", "recv", "error", "close")
    loop.call_later(29.0, sock.unstall)
    started = clock()
    loop.run()
    assert seen == [("connect",), ("recv", b"welcome"), ("close",)]
    assert clock() - started == pytest.approx(29.0)


def test_a_connect_past_its_timeout_is_connect_error(loop, clock, slow):
    client, sock = slow
    seen = watch(client, "connect", "error", "close")
    started = clock()
    loop.run()
    assert clock() - started == pytest.approx(30.0)
    assert names(seen) == ["error", "close"]
    assert type(seen[0][1]) is icey.ConnectError
    assert type(seen[0][1].attempts[0][1]) is icey.Deadline
    assert "not connected within 30 s" in str(seen[0][1])


def test_a_connect_that_fails_late_is_connect_error(loop, slow):
    client, sock = slow
    seen = watch(client, "connect", "error", "close")
    client.send(b"lost")
    sock.error = errno.EHOSTUNREACH
    loop.call_later(1.0, sock.unstall)
    loop.run()
    assert names(seen) == ["error", "close"]
    assert seen[0][1].errno == errno.EHOSTUNREACH
    assert sock.sent == b""


def test_what_was_queued_while_connecting_leaves_when_connected(loop, slow):
    client, sock = slow
    client.high_water = client.low_water = 3
    seen = watch(client, "connect", "drain", "close")
    assert client.send(b"ab") is True
    assert client.send([b"cd", b"ef"]) is False
    client.pause()
    loop.call_later(1.0, sock.unstall)
    loop.call_later(2.0, client.close)
    loop.run()
    assert sock.sent == b"abcdef"
    assert sorted(names(seen)[:-1]) == ["connect", "drain"]


def test_a_close_that_drains_into_a_connection_that_never_comes_ends_at_its_deadline(loop, clock, slow):
    client, sock = slow
    seen = watch(client, "connect", "error", "close")
    client.send(b"lost")
    started = clock()
    client.close()
    loop.run()
    assert clock() - started == pytest.approx(5.0)
    assert names(seen) == ["error", "close"]


def test_an_exception_in_on_connect_closes_the_socket(loop, reports):
    client = icey.TCPSocket(loop)

    def slot(client):
        raise ValueError
    client.on_connect += slot
    client.connect(echoing(loop).address)
    loop.run()
    reports.take(ValueError)
    assert client.closed


# options

def test_options_of_a_connected_socket(loop):
    client = icey.TCPSocket(loop)
    client.connect(echoing(loop).address)
    client.set_no_delay()
    client.set_keep_alive()
    assert client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    client.set_no_delay(False)
    client.set_keep_alive(False)
    assert not client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    client.abort()
    client.set_no_delay()
    turn(loop)
    client.set_keep_alive()


def test_options_before_connect_are_state_error(loop):
    client = icey.TCPSocket(loop)
    for option in (client.set_no_delay, client.set_keep_alive):
        with pytest.raises(icey.StateError, match=r"before connect\(\)"):
            option()
    client.close()


@pytest.mark.needs("unix")
def test_options_do_nothing_on_a_unix_socket(loop, tmp_path):
    listener = echoing(loop, "unix:%s" % (tmp_path / "s"))
    client = icey.TCPSocket(loop)
    client.connect(listener.address)
    client.set_no_delay()
    client.set_keep_alive()


# real connections

def test_megabytes_both_ways(loop):
    listener = echoing(loop)
    data = os.urandom(1 << 20) * 4
    got = bytearray()
    client = icey.TCPSocket(loop)
    client.max_queue = None
    client.on_recv += lambda client, view: (got.extend(view), len(got) == len(data) and client.close())
    client.connect(listener.address)
    client.send(data)
    loop.run()
    assert got == data


def test_a_reset_by_the_peer_is_econnreset(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    seen = []

    @listener.on_accept.attach
    def accepted(listener, sock):
        listener.close()
        seen.append(watch(sock, "recv", "error", "close"))
    Peer.connect(loop, listener.address).reset()
    loop.run()
    assert names(seen[0]) == ["error", "close"]
    assert isinstance(seen[0][0][1], ConnectionResetError)


def test_a_socket_is_shown_by_its_peer(loop):
    client = icey.TCPSocket(loop)
    assert repr(client) == "<TCPSocket open>"
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    accepted = []
    listener.on_accept += lambda listener, sock: accepted.append(sock)
    client.connect(listener.address)
    assert repr(client) == "<TCPSocket %s open>" % listener.address
    turn(loop, 5)
    assert repr(accepted[0]) == "<TCPSocket %s open>" % client.local
    client.abort()
    assert repr(client) == "<TCPSocket %s closing>" % listener.address
    turn(loop)
    assert repr(client) == "<TCPSocket %s closed>" % listener.address


# giving up

@pytest.fixture
def accepted(loop):
    """(an accepted socket, its peer: a blocking one)"""
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    found = []
    listener.on_accept += lambda listener, sock: found.append(sock)
    with socket.create_connection(listener.address.sockaddr()) as peer:
        peer.settimeout(20)
        turn(loop, 3)
        listener.close()
        yield found[0], peer


def ends(peer):
    """How what comes to `peer` ends: (the bytes, "end" or "reset")."""
    got = b""
    try:
        while True:
            data = peer.recv(1 << 20)
            if not data:
                return got, "end"
            got += data
    except ConnectionResetError:
        return got, "reset"


@pytest.mark.parametrize("queued", [False, True])
def test_abort_ends_by_a_reset_also_where_nothing_is_queued(loop, accepted, queued):
    """The peer must not take the cut for the end; and the kernel is to keep nothing for one that never reads."""
    sock, peer = accepted
    sock.max_queue = None
    sock.send_owned(b"half")
    while queued and sock.send_owned(bytes(1 << 20)):
        pass
    sock.abort()
    loop.run()
    assert ends(peer)[1] == "reset"


def test_close_is_an_end(loop, accepted):
    sock, peer = accepted
    sock.send_owned(b"whole")
    sock.close()
    loop.run()
    assert ends(peer) == (b"whole", "end")


def test_abort_after_a_shutdown_is_a_reset_for_a_peer_that_has_not_ended(loop, accepted):
    sock, peer = accepted
    sock.max_queue = None
    while sock.send_owned(bytes(1 << 20)):
        pass
    sock.shutdown()
    sock.abort()
    loop.run()
    assert ends(peer)[1] == "reset"


def test_a_close_past_its_deadline_is_a_reset(loop, accepted):
    sock, peer = accepted
    sock.max_queue, sock.close_timeout = None, 0.01
    errors = []
    sock.on_error += lambda sock, exc: errors.append(exc)
    while sock.send_owned(bytes(1 << 20)):
        pass
    sock.close()
    loop.run()
    assert ends(peer)[1] == "reset"
    assert isinstance(errors[0], icey.Deadline) and "not taken by the peer" in str(errors[0])


def test_abort_in_on_error_is_a_reset(loop, accepted):
    sock, peer = accepted
    sock.max_queue, sock.close_timeout = None, 0.01
    sock.on_error += lambda sock, exc: sock.abort()
    while sock.send_owned(bytes(1 << 20)):
        pass
    sock.close()
    loop.run()
    assert ends(peer)[1] == "reset"


def test_a_slot_that_raises_ends_its_stream_by_a_reset_once_all_is_out(loop, accepted, reports):
    sock, peer = accepted

    def slot(sock, view):
        sock.send_owned(b"half an answer")
        raise ValueError("deliberate")

    sock.on_recv += slot
    peer.sendall(b"x")
    loop.run()
    assert ends(peer)[1] == "reset"
    reports.take(ValueError)


@pytest.mark.needs("fork")
def test_a_forked_child_that_lets_go_of_a_full_queue_leaves_its_parents_connection_alone(loop, accepted):
    sock, peer = accepted
    while sock.send_owned(bytes(1 << 20)):
        pass
    size = sock.queued
    pid = os.fork()
    if not pid:
        loop.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    got = 0
    sock.shutdown()
    while True:
        turn(loop)
        data = peer.recv(1 << 20)
        if not data:
            break
        got += len(data)
    assert got > size and sock.queued == 0
    sock.close()
    loop.run()


class GoneOnMacOS(ScriptedSocket):
    """A socket whose peer has reset it: options of such a one are EINVAL there."""

    code = errno.EINVAL

    def setsockopt(self, *arguments):
        raise OSError(self.code, os.strerror(self.code))


def test_an_option_of_a_connection_that_is_gone_already_is_no_error_the_reading_is(loop):
    sock = icey.TCPSocket(loop, GoneOnMacOS([ConnectionResetError]))
    seen = watch(sock, "recv", "error", "close")
    sock.set_no_delay()
    sock.set_keep_alive()
    loop.run()
    assert names(seen) == ["error", "close"] and isinstance(seen[0][1], ConnectionResetError)


def test_another_error_of_an_option_comes_out(loop):
    scripted = GoneOnMacOS()
    scripted.code = errno.ENOPROTOOPT
    with icey.TCPSocket(loop, scripted) as sock, pytest.raises(OSError) as caught:
        sock.set_no_delay()
    assert caught.value.errno == errno.ENOPROTOOPT
    sock.abort()
    loop.run()
