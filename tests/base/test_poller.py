"""poller: epoll and every selector of the standard library behave alike; what select() cannot do is told."""
import errno
import select
import selectors
import socket

import pytest

import icey
from icey.base import poller as poller_module
from icey.base.poller import CAN_READ, CAN_WRITE, READ, WRITE, EpollPoller, SelectorPoller, best_poller
from icey.tools.testing import Peer

SELECTORS = ["SelectSelector", "PollSelector", "EpollSelector", "DevpollSelector", "KqueueSelector"]


def make(name):
    if name == "epoll":
        return EpollPoller()
    return SelectorPoller(getattr(selectors, name)())


AVAILABLE = [name for name in SELECTORS if hasattr(selectors, name)]
AVAILABLE += ["epoll"] if hasattr(select, "epoll") and "EpollSelector" in AVAILABLE else []


@pytest.fixture(params=AVAILABLE)
def poller(request):
    poller = make(request.param)
    yield poller
    poller.close()


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield near, far


def called(poller, timeout=0):
    """What a turn of the loop would call, with what of each mask."""
    return sorted(poller.ready[fd](mask) for fd, mask in poller.wait(timeout) if fd in poller.ready)


def noting(name):
    return lambda mask: name + ("r" if mask & CAN_READ else "") + ("w" if mask & CAN_WRITE else "")


def test_what_is_ready_is_called_with_a_mask(poller, pair):
    near, far = pair
    poller.register(near.fileno(), READ, noting("near "))
    assert called(poller) == []
    far.send(b"x")
    assert called(poller, 5.0) == ["near r"]
    assert called(poller) == ["near r"]  # level-triggered
    poller.modify(near.fileno(), READ | WRITE, noting("changed "))
    assert called(poller, None) in (["changed rw"], ["changed r", "changed w"])
    near.recv(1)
    poller.modify(near.fileno(), WRITE, noting("writes "))
    assert called(poller) == ["writes w"]


def test_what_was_unregistered_is_not_called_and_may_be_again(poller, pair):
    near, far = pair
    far.send(b"x")
    poller.register(near.fileno(), READ, noting("near "))
    gathered = poller.wait(0)
    poller.unregister(near.fileno())
    assert gathered and near.fileno() not in poller.ready
    assert called(poller) == []
    poller.unregister(near.fileno())
    poller.register(near.fileno(), READ, noting("again "))
    assert called(poller) == ["again r"]


def test_the_end_of_the_peer_is_readable(poller, pair):
    near, far = pair
    poller.register(near.fileno(), READ, noting(""))
    far.close()
    assert "r" in called(poller)[0]


def test_a_descriptor_closed_behind_its_back_can_be_unregistered(poller):
    near, far = socket.socketpair()
    fd = near.fileno()
    poller.register(fd, READ, noting(""))
    near.close()
    far.close()
    poller.unregister(fd)
    assert fd not in poller.ready


def test_fileno_is_a_descriptor_that_turns_readable_or_state_error(poller, pair):
    near, far = pair
    poller.register(near.fileno(), READ, noting(""))
    selector = getattr(poller, "_selector", None)
    if selector is not None and not hasattr(selector, "fileno"):
        with pytest.raises(icey.StateError, match="has no descriptor"):
            poller.fileno()
        return
    fd = poller.fileno()
    assert select.select([fd], [], [], 0)[0] == []
    far.send(b"x")
    assert select.select([fd], [], [], 5.0)[0] == [fd]


def test_closed_it_calls_nobody(pair):
    for name in AVAILABLE:
        poller = make(name)
        poller.register(pair[0].fileno(), READ, noting(""))
        poller.close()
        assert poller.ready == {}


def test_select_takes_no_descriptor_it_cannot_watch(monkeypatch):
    poller = make("SelectSelector")
    with pytest.raises(OSError) as caught:
        poller.register(1024, READ, noting(""))
    assert caught.value.errno == errno.EMFILE
    assert poller.ready == {}
    poller.close()


def test_select_on_windows_counts_descriptors(monkeypatch, pair):
    monkeypatch.setattr(poller_module, "_SELECT_MOST", 1)
    poller = make("SelectSelector")
    monkeypatch.setattr(poller_module, "os", type("os", (), {"name": "nt"}))
    poller.register(pair[0].fileno(), READ, noting(""))
    with pytest.raises(OSError, match="no more than 1 descriptors"):
        poller.register(pair[1].fileno(), READ, noting(""))
    poller.close()


def test_the_best_poller_is_epoll_and_else_the_default_selector(monkeypatch):
    if "epoll" in AVAILABLE:
        poller = best_poller()
        assert type(poller) is EpollPoller
        poller.close()
        monkeypatch.delattr(select, "epoll")
    poller = best_poller()
    assert type(poller) is SelectorPoller
    poller.close()


def test_a_loop_works_on_every_selector(poller_name):
    loop = icey.Loop(selector=getattr(selectors, poller_name)())
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))

    @listener.on_accept.attach
    def accepted(listener, sock):
        listener.close()
        sock.on_recv += lambda sock, view: sock.send_owned(view)
    with Peer.connect(loop, listener.address) as peer:
        peer.send(bytes(500000))
        peer.half_close()
        assert len(peer.read_all()) == 500000
    loop.run()
    loop.close()


@pytest.fixture(params=[name for name in AVAILABLE if name != "epoll"])
def poller_name(request):
    return request.param


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_socket_that_dies_connecting_leaves_no_descriptor_watched(poller_name, end):
    loop = icey.Loop(selector=getattr(selectors, poller_name)())
    watched = len(loop.poller.ready)
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))
    client = icey.TCPSocket(loop)
    client.connect(listener.address)
    getattr(client, end)()
    listener.abort()
    loop.run()
    assert len(loop.poller.ready) == watched
    loop.close()


def test_a_descriptor_closed_behind_the_back_of_select_is_dropped():
    import selectors
    import socket

    poller = SelectorPoller(selectors.SelectSelector())
    near, far = socket.socketpair()
    dead = near.fileno()
    poller.register(dead, READ, print)
    poller.register(far.fileno(), READ, print)
    near.close()
    assert poller.wait(0) == [] and dead not in poller.ready
    assert [fd for fd, _ in poller.wait(1)] == [far.fileno()]  # the end of the other side
    poller.close()
    far.close()


def test_so_it_is_on_windows_which_says_that_it_is_no_socket(monkeypatch, pair):
    class Windows(selectors.SelectSelector):
        def select(self, timeout=None):
            try:
                return super().select(timeout)
            except OSError:
                raise OSError(10038, "An operation was attempted on something that is not a socket") from None

    monkeypatch.setattr(poller_module, "_CLOSED", (errno.EBADF, 10038))
    poller = SelectorPoller(Windows())
    near, far = socket.socketpair()
    dead = near.fileno()
    poller.register(dead, READ, print)
    poller.register(pair[0].fileno(), READ, print)
    near.close()
    far.close()
    assert poller.wait(0) == [] and list(poller.ready) == [pair[0].fileno()]
    poller.close()


def test_what_else_a_selector_raises_comes_out(pair):
    class Broken(selectors.SelectSelector):
        def select(self, timeout=None):
            raise OSError(errno.EINVAL, "Invalid argument")

    poller = SelectorPoller(Broken())
    poller.register(pair[0].fileno(), READ, print)
    with pytest.raises(OSError, match="Invalid argument"):
        poller.wait(0)
    assert list(poller.ready) == [pair[0].fileno()]
    poller.close()
