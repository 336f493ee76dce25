"""A forked child has the parent's loop in its memory, and is kept from turning it."""
import os
import socket
import traceback

import pytest

import icey.base.loop as module
from icey import AffinityError, Loop, Stream, Synchronizer, TCPListener, Timer
from tests.support.loops import clock, debug, loop, turns  # noqa: F401


def in_child(fn):
    """Calls `fn()` in a forked child; fails with what it raised."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(read)
            fn()
        except BaseException:
            os.write(write, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    assert said == ""


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


@pytest.mark.needs("fork")
def test_a_child_that_inherits_a_loop_gets_AffinityError_from_it(loop):
    timer = Timer(loop, 1).start()
    synchronizer = Synchronizer(loop, int)
    touches = [loop.run, lambda: loop.run_once(0), loop.stop, loop.timeout, loop.fileno, lambda: loop.call_soon(int),
               lambda: loop.call_later(1, int), lambda: loop.post(int), lambda: Timer(loop, 1), timer.stop, timer.close,
               synchronizer.post, lambda: loop.on_error.attach(int), lambda: timer.on_timeout.attach(int)]

    def child():
        for touch in touches:
            with pytest.raises(AffinityError, match="inherited by fork.*Instead: build a new Loop in the child"):
                touch()

    in_child(child)
    synchronizer.close()
    timer.close()
    turns(loop)


@pytest.mark.needs("fork")
def test_the_childs_close_only_closes_descriptors_and_the_parents_loop_goes_on(loop, pair):
    near, far = pair
    stream = Stream(loop, near.dup())
    listener = TCPListener(loop, ("127.0.0.1", 0))
    received, closed = [], []
    stream.on_recv += lambda stream, view: received.append(bytes(view))
    stream.on_close += closed.append
    loop.run_once(0)

    def child():
        numbers = [stream.sock.fileno(), listener.sock.fileno(), loop.waker.fileno(), loop.waker.write_fileno()]
        if hasattr(loop.poller, "_epoll"):
            numbers.append(loop.poller.fileno())
        loop.close()
        assert loop.closed and closed == [], "on_close is the parent's"
        for number in numbers:
            with pytest.raises(OSError):
                os.fstat(number)
        loop.close()
        assert loop.post(int) is False

    in_child(child)
    far.send(b"for the parent")
    loop.run_once(1)
    assert received == [b"for the parent"]
    with socket.create_connection(tuple(listener.sock.getsockname()[:2])) as caller:
        listener.on_accept += lambda listener, sock: (received.append("accepted"), sock.close())
        while received[-1] != "accepted":
            loop.run_once(1)
        caller.recv(1)
    listener.close()
    stream.close()
    turns(loop)
    assert closed == [stream]


@pytest.mark.needs("unix", "fork")
def test_the_childs_close_leaves_the_file_of_a_unix_socket(loop, tmp_path):
    path = str(tmp_path / "s")
    listener = TCPListener(loop, "unix:" + path)
    in_child(loop.close)
    assert os.path.exists(path)
    listener.close()
    turns(loop)
    assert not os.path.exists(path)


@pytest.mark.needs("fork")
def test_a_child_may_build_loops_of_its_own(loop, debug):
    def child():
        seen = []
        with Loop(debug) as own:
            own.call_soon(seen.append, 1)
            own.run()
        assert seen == [1]

    in_child(child)


@pytest.mark.needs("fork")
@pytest.mark.parametrize("how", ["run", "run_once"])
def test_forked_inside_a_turn_the_child_reads_nothing_more_and_gets_AffinityError_from_its_run(loop, pair, how):
    near, far = pair
    received = []
    stream = Stream(loop, near.dup())
    stream.on_recv += lambda stream, view: received.append(bytes(view))
    loop.run_once(0)
    far.send(b"once")
    children = []
    read, write = os.pipe()

    def fork():
        children.append(os.fork())

    loop.call_soon(fork)
    loop.call_soon(loop.stop)
    try:
        getattr(loop, how)()
        said = b""
    except BaseException as exc:
        said = type(exc).__name__.encode()
    if not children[0]:
        os.write(write, b"%s %d" % (said, len(received)))
        os._exit(0)
    os.waitpid(children[0], 0)
    os.close(write)
    with open(read, "rb") as pipe:
        assert pipe.read() == b"AffinityError 0"
    assert said == b""
    if not received:
        loop.run_once(1)
    assert received == [b"once"]
    stream.close()
    turns(loop)


@pytest.mark.needs("fork")
def test_an_inherited_loop_is_collected_in_silence(debug):
    def child():
        import gc
        import warnings
        nonlocal loop
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loop = None
            gc.collect()
        assert [str(warning.message) for warning in caught if "collected" in str(warning.message)] == []

    loop = Loop(debug)
    in_child(child)
    loop.close()


# without a process: what the hook does to a loop, seen from within

@pytest.fixture
def child(debug, monkeypatch):
    """A loop that the hook will find."""
    loop = Loop(debug)
    monkeypatch.setattr(module, "_loops", {loop})
    yield loop
    loop.close()


@pytest.mark.parametrize("how", ["run", "run_once"])
def test_a_turn_that_turns_out_to_be_in_a_child_reads_no_more(child, pair, how):
    seen = []
    stream = Stream(child, pair[0])
    stream.on_recv += seen.append
    pair[1].send(b"the parent's")
    child.call_soon(module._in_child)
    with pytest.raises(AffinityError, match="inherited by fork"):
        getattr(child, how)()
    assert seen == [] and not child.running
    with pytest.raises(AffinityError):
        child.post(int)
    assert stream.sock.fileno() >= 0
    child.close()
    assert stream.sock.fileno() == -1 and not stream.closed


def test_a_process_without_loops_forks_in_peace(monkeypatch):
    monkeypatch.setattr(module, "_loops", None)
    module._in_child()


def test_where_processes_do_not_fork_nothing_is_registered(monkeypatch, debug):
    monkeypatch.setattr(module, "_loops", None)
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    with Loop(debug) as loop:
        assert loop in module._loops
