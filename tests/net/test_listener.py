"""TCPListener: listening, accepting in batches, Unix sockets, inherited descriptors. Failing: test_listener_failures.py."""
import contextlib
import errno
import os
import socket

import pytest

import icey
from icey.net import listener as listening
from icey.tools.testing import Peer
from tests.support import streams
from tests.support.accepting import accepting, scripted
from tests.support.streams import collect, names, turn, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

unix = pytest.mark.needs("unix")


# listening

@pytest.mark.parametrize("address", [
    "127.0.0.1:0", icey.Address("127.0.0.1", 0), ("127.0.0.1", 0), ":0",
    pytest.param("[::1]:0", marks=pytest.mark.needs("ipv6")), pytest.param("[::]:0", marks=pytest.mark.needs("ipv6"))],
    ids=str)
def test_a_listener_listens_from_construction(loop, address):
    listener = icey.TCPListener(loop, address)
    accepted = accepting(loop, listener)
    assert listener.address.port > 0
    here = "::1" if listener.address.family == socket.AF_INET6 else "127.0.0.1"
    with Peer.connect(loop, (here, listener.address.port)) as peer:
        turn(loop, 2)
        accepted[0].send(b"hello")
        assert peer.read(5) == b"hello"


@pytest.mark.needs("ipv6")
def test_every_interface_of_ipv6_is_every_interface_of_ipv4_too(loop):
    listener = icey.TCPListener(loop, "[::]:0")
    accepted = accepting(loop, listener)
    with Peer.connect(loop, ("127.0.0.1", listener.address.port)):
        turn(loop, 2)
        assert accepted[0].peer.host == "::ffff:127.0.0.1"


def test_connections_made_before_the_first_turn_wait_in_the_backlog(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    with Peer.connect(loop, listener.address) as peer:
        accepted = accepting(loop, listener)
        turn(loop, 2)
        accepted[0].send(b"x")
        assert peer.read(1) == b"x"


def test_an_address_that_is_taken_is_os_error_and_leaves_no_socket(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    with pytest.raises(OSError) as caught:
        icey.TCPListener(loop, listener.address)
    assert caught.value.errno == errno.EADDRINUSE
    assert len(loop.handles) == 1


@pytest.mark.parametrize("address", ["name.invalid:80", None])
def test_an_address_that_is_none_is_value_error(loop, address):
    with pytest.raises(ValueError):
        icey.TCPListener(loop, address)


def test_a_listener_that_cannot_listen_leaves_no_socket(loop, monkeypatch):
    made = []

    class Refusing(socket.socket):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            made.append(self)

        def listen(self, backlog):
            raise OSError(errno.EADDRINUSE, "taken in between")
    monkeypatch.setattr(listening.socket, "socket", Refusing)
    with pytest.raises(OSError, match="taken in between"):
        icey.TCPListener(loop, "127.0.0.1:0")
    assert [sock.fileno() for sock in made] == [-1]
    assert loop.handles == ()


def test_a_port_can_be_listened_on_again_at_once(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    accepted = accepting(loop, listener)
    with Peer.connect(loop, listener.address) as peer:
        turn(loop, 2)
        accepted[0].close()  # ours is the side that goes to TIME_WAIT
        assert peer.read_all() == b""
    listener.close()
    turn(loop, 2)
    icey.TCPListener(loop, listener.address)


@pytest.mark.needs("reuse_port")
def test_reuse_port_lets_several_share_a_port(loop):
    first = icey.TCPListener(loop, "127.0.0.1:0", reuse_port=True)
    second = icey.TCPListener(loop, first.address, reuse_port=True)
    assert first.address == second.address


def test_where_reuse_port_is_missing_it_is_value_error(loop, monkeypatch):
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(ValueError, match="reuse_port"):
        icey.TCPListener(loop, "127.0.0.1:0", reuse_port=True)


@pytest.mark.parametrize("left_out", [["IPV6_V6ONLY"], ["SO_REUSEADDR"]])
@pytest.mark.needs("ipv6")
def test_elsewhere_the_options_of_posix_are_left_alone(loop, monkeypatch, left_out):
    for name in left_out:
        if name == "SO_REUSEADDR":
            monkeypatch.setattr(listening, "os", type("os", (), {"name": "nt"}))
        else:
            monkeypatch.delattr(socket, name)
    listener = icey.TCPListener(loop, "[::1]:0")
    reuse = listener.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    monkeypatch.undo()
    assert bool(reuse) is (left_out == ["IPV6_V6ONLY"])


# accepting

def test_an_accepted_socket_is_yours(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    accepted = accepting(loop, listener)
    with Peer.connect(loop, listener.address) as peer:
        turn(loop, 2)
        listener.close()
        turn(loop, 2)
        sock, = accepted
        assert (isinstance(sock, icey.TCPSocket), sock.loop, sock.closing) == (True, loop, False)
        sock.send(b"still there")
        assert peer.read(11) == b"still there"


def test_an_accepted_socket_is_closed_when_nobody_is_attached(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    with Peer.connect(loop, listener.address) as peer:
        assert peer.read_all() == b""
    listener.on_accept.detach(listener.on_accept.attach(print))
    with Peer.connect(loop, listener.address) as peer:
        assert peer.read_all() == b""
    assert loop.handles == (listener,)


def test_a_slot_attached_for_once_gets_one_connection(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    accepted = []
    listener.on_accept.attach(lambda listener, sock: accepted.append(sock), once=True)
    with Peer.connect(loop, listener.address), Peer.connect(loop, listener.address) as second:
        assert second.read_all() == b""
    assert len(accepted) == 1


def test_an_exception_in_on_accept_closes_the_accepted_socket_and_the_listener_lives_on(loop, reports):
    listener = icey.TCPListener(loop, "127.0.0.1:0")

    def slot(listener, sock):
        raise ValueError
    listener.on_accept += slot
    with Peer.connect(loop, listener.address) as peer:
        with pytest.raises(ConnectionResetError):
            peer.read_all()
    assert isinstance(reports[0][1], icey.TCPSocket)
    reports.take(ValueError)
    listener.on_accept -= slot
    accepted = accepting(loop, listener)
    with Peer.connect(loop, listener.address):
        turn(loop, 2)
    assert len(accepted) == 1


def test_accepting_goes_in_batches(loop):
    listener = scripted(loop, *[None] * (listening.BATCH + 5))
    accepted = accepting(loop, listener)
    turn(loop)
    assert len(accepted) == listening.BATCH
    turn(loop)
    assert len(accepted) == listening.BATCH + 5
    assert accepted[0].peer == icey.Address("192.0.2.1", 5)


@pytest.mark.parametrize("stop", ["close", "abort", "pause"])
def test_a_batch_ends_when_a_slot_stops_the_listener(loop, stop):
    listener = scripted(loop, *[None] * 5)
    accepted = accepting(loop, listener)
    listener.on_accept += lambda listener, sock: getattr(listener, stop)()
    turn(loop, 2)
    assert len(accepted) == 1


def test_paused_it_leaves_connections_in_the_backlog(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    accepted = accepting(loop, listener)
    listener.pause()
    listener.pause()
    with Peer.connect(loop, listener.address):
        turn(loop, 3)
        assert accepted == []
        listener.resume()
        listener.resume()
        turn(loop, 2)
        assert len(accepted) == 1


@pytest.mark.parametrize("paused", [False, True])
def test_what_waits_is_accepted_before_a_close(loop, paused):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    accepted = accepting(loop, listener)
    if paused:
        listener.pause()
    with contextlib.ExitStack() as peers:
        for _ in range(50):  # more than a turn takes
            peers.enter_context(Peer.connect(loop, listener.address))
        listener.accept_waiting()
        listener.close()
        assert len(accepted) == 50
        listener.accept_waiting()
        turn(loop, 2)
    assert len(accepted) == 50 and listener.closed


def test_what_comes_until_the_socket_is_closed_is_accepted_then(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    accepted = accepting(loop, listener)
    listener.accept_waiting()
    listener.close()
    with Peer.connect(loop, listener.address):
        assert accepted == []
        turn(loop, 2)
        assert len(accepted) == 1 and listener.closed


@pytest.mark.parametrize("end", ["abort", "close"])
def test_without_that_or_aborted_it_accepts_no_more(loop, end):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    accepted = accepting(loop, listener)
    if end == "abort":
        listener.accept_waiting()
    getattr(listener, end)()
    with Peer.connect(loop, listener.address):
        turn(loop, 2)
    assert accepted == [] and listener.closed


def test_who_never_runs_empty_gives_no_more_than_its_backlog(loop):
    listener = scripted(loop, *[None] * 50, backlog=20)
    accepted = accepting(loop, listener)
    listener.accept_waiting()
    assert len(accepted) == 21


def test_accepting_what_waits_passes_over_what_is_gone_and_ends_with_the_descriptors(loop):
    listener = scripted(loop, None, ConnectionAbortedError(), None, OSError(errno.EMFILE, "too many"), None)
    accepted = accepting(loop, listener)
    listener.accept_waiting()
    assert len(accepted) == 2


def test_a_connection_that_is_gone_before_we_came_to_it_is_passed_over(loop):
    listener = scripted(loop, ConnectionAbortedError(), None, InterruptedError(), None)
    accepted = accepting(loop, listener)
    turn(loop)
    assert len(accepted) == 1
    turn(loop)
    assert len(accepted) == 2


# closing

def test_closed_it_accepts_no_more_and_frees_its_port(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    seen = watch(listener, "close")
    listener.close()
    turn(loop)
    assert names(seen) == ["close"]
    with pytest.raises(ConnectionRefusedError):
        Peer.connect(loop, listener.address)


def test_a_listener_collected_unclosed_warns_in_release_too(debug):
    loop = icey.Loop(debug)
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    sock = listener.sock
    loop.poller.unregister(sock.fileno())
    loop.active.discard(listener)  # what holds an open listener is its loop
    with pytest.warns(ResourceWarning, match="was collected without close") as caught:
        del listener
        collect()
    assert len(caught) == 1
    assert sock.fileno() == -1
    loop.close()


# Unix sockets

@unix
def test_a_unix_sockets_file_is_removed_at_the_end(loop, tmp_path):
    path = tmp_path / "sock"
    listener = icey.TCPListener(loop, "unix:%s" % path)
    assert (path.exists(), str(listener.address)) == (True, "unix:%s" % path)
    listener.close()
    turn(loop)
    assert not path.exists()


@unix
def test_a_unix_sockets_file_that_somebody_removed_is_no_error(loop, tmp_path):
    listener = icey.TCPListener(loop, "unix:%s" % (tmp_path / "sock"))
    os.unlink(tmp_path / "sock")
    listener.close()
    turn(loop)
    assert listener.closed


@unix
def test_a_unix_sockets_file_that_another_server_has_by_now_is_left_alone(loop, tmp_path):
    path = tmp_path / "sock"
    old = icey.TCPListener(loop, "unix:%s" % path)
    os.unlink(path)
    new = icey.TCPListener(loop, "unix:%s" % path)
    old.close()
    turn(loop)
    assert old.closed and path.exists()
    accepted = accepting(loop, new)
    with Peer.connect(loop, new.address):
        turn(loop, 2)
    assert len(accepted) == 1
    new.close()
    turn(loop)
    assert not path.exists()


@unix
def test_a_unix_sockets_file_is_found_again_from_another_folder(loop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listener = icey.TCPListener(loop, "unix:sock")
    monkeypatch.chdir("/")
    listener.close()
    turn(loop)
    assert not (tmp_path / "sock").exists()


@unix
def test_a_stale_unix_sockets_file_is_made_anew(loop, tmp_path):
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = icey.TCPListener(loop, "unix:%s" % path)
    accepted = accepting(loop, listener)
    with Peer.connect(loop, listener.address):
        turn(loop, 2)
    assert len(accepted) == 1


@unix
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "backlog full"])
def test_a_unix_socket_that_is_listened_on_is_taken(loop, tmp_path, busy):
    path = tmp_path / "sock"
    callers = []
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        for _ in range(4 if busy else 0):
            callers.append(socket.socket(socket.AF_UNIX))
            callers[-1].setblocking(False)
            callers[-1].connect_ex(str(path))
        with pytest.raises(OSError) as caught:
            icey.TCPListener(loop, "unix:%s" % path)
        for caller in callers:
            caller.close()
    assert caught.value.errno == errno.EADDRINUSE
    assert path.exists()


@unix
def test_a_file_that_is_no_socket_is_left_alone(loop, tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError) as caught:
        icey.TCPListener(loop, "unix:%s" % path)
    assert caught.value.errno == errno.EADDRINUSE
    assert path.read_text() == "data"


# an inherited descriptor

@pytest.mark.parametrize("family", ["ipv4", pytest.param("unix", marks=unix)])
def test_an_inherited_descriptor_is_listened_on(loop, tmp_path, family):
    inherited = socket.socket(socket.AF_INET if family == "ipv4" else socket.AF_UNIX)
    with inherited:
        inherited.bind(("127.0.0.1", 0) if family == "ipv4" else str(tmp_path / "sock"))
        listener = icey.TCPListener(loop, None, fd=inherited.fileno())
        accepted = accepting(loop, listener)
        assert listener.address == icey.Address.from_sockaddr(inherited.getsockname())
        with Peer.connect(loop, listener.address) as peer:
            turn(loop, 2)
            accepted[0].send(b"hello")
            assert peer.read(5) == b"hello"
        listener.close()
        turn(loop)
        assert inherited.fileno() >= 0  # it was duplicated
        assert family == "ipv4" or (tmp_path / "sock").exists()


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_a_descriptor_that_is_no_listening_socket_is_os_error_and_none_is_left_open(loop, tmp_path):
    collect()
    with open(tmp_path / "file", "w") as file, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        before = open_descriptors()
        for other in (file, datagrams):
            with pytest.raises(OSError):
                icey.TCPListener(loop, None, fd=other.fileno())
            assert open_descriptors() == before
        with pytest.raises(OSError):
            icey.TCPListener(loop, None, fd=9999)
