"""A loop inside another main loop: fileno() and timeout() say when, run_once(0) does it."""
import select
import selectors
import socket

import pytest

from icey import Address, Idler, Loop, Poll, StateError, Stream, Synchronizer, TCPListener, TCPSocket, Timer, resolve
from tests.support.loops import clock, debug, in_thread, loop  # noqa: F401


def outer_turn(loop):
    """What a foreign main loop does: waits for the descriptor as long as timeout() says, then lends a turn."""
    readable, _, _ = select.select([loop.fileno()], [], [], loop.timeout())
    return loop.run_once(0), bool(readable)


@pytest.mark.needs("selectors")
def test_an_outer_select_loop_drives_timers_calls_descriptors_and_posts(debug):
    near, far = socket.socketpair()
    seen = []
    with near, far, Loop(debug) as loop:
        poll = Poll(loop, near)
        poll.on_readable += lambda poll: (seen.append(near.recv(10)), poll.close())
        loop.call_soon(seen.append, "soon")
        assert outer_turn(loop) == (True, False)
        far.send(b"descriptor")
        assert outer_turn(loop) == (False, True)
        in_thread(loop.post, seen.append, "posted")
        assert outer_turn(loop) == (False, True)
        loop.call_later(0.001, seen.append, "timer")
        while outer_turn(loop)[0]:
            pass
    assert seen == ["soon", b"descriptor", "posted", "timer"]


@pytest.mark.needs("selectors")
def test_a_post_between_two_turns_makes_the_descriptor_readable(loop):
    assert select.select([loop.fileno()], [], [], 0)[0] == []
    loop.run_once(0)
    in_thread(loop.post, int)
    assert select.select([loop.fileno()], [], [], 60)[0] == [loop.fileno()]
    loop.run_once(0)
    assert select.select([loop.fileno()], [], [], 0)[0] == []


def test_timeout_is_None_when_the_loop_wants_no_turn_by_itself(loop):
    assert loop.timeout() is None


def test_timeout_is_0_when_there_is_something_to_do_at_once(loop):
    loop.call_soon(int)
    assert loop.timeout() == 0
    loop.run_once(0)
    assert loop.timeout() is None
    idler = Idler(loop, int).start()
    assert loop.timeout() == 0
    idler.close()
    assert loop.timeout() == 0, "the closing phase"
    loop.run_once(0)
    assert loop.timeout() is None
    loop.stop()
    assert loop.timeout() == 0


def test_timeout_is_the_time_to_the_next_living_timer(loop, clock):
    first, second = Timer(loop, 2).start(), Timer(loop, 5).start()
    assert loop.timeout() == 2
    clock.advance(1)
    assert loop.timeout() == 1
    first.stop()
    assert loop.timeout() == 4
    clock.advance(100)
    assert loop.timeout() == 0
    second.stop()
    assert loop.timeout() is None


@pytest.mark.parametrize("kind", [getattr(selectors, name) for name in ("SelectSelector", "PollSelector")
                                  if hasattr(selectors, name)])
def test_a_selector_without_a_descriptor_is_StateError_that_says_what_to_do(debug, kind):
    with Loop(debug, selector=kind()) as loop:
        with pytest.raises(StateError, match=r"%s.*run_once\(0\)" % kind.__name__):
            loop.fileno()
        assert loop.timeout() is None


@pytest.mark.skipif(not hasattr(selectors, "EpollSelector"), reason="this platform has no epoll")
def test_a_selector_handed_in_lends_its_own_descriptor(debug):
    selector = selectors.EpollSelector()
    with Loop(debug, selector=selector) as loop:
        assert loop.fileno() == selector.fileno()


def test_fileno_of_a_closed_loop_is_StateError(debug):
    loop = Loop(debug)
    loop.close()
    with pytest.raises(StateError, match=r"fileno\(\) on a closed loop"):
        loop.fileno()


def a_pair(loop):
    near, far = socket.socketpair()
    stream = Stream(loop, near)
    stream.on_close += lambda stream: far.close()
    return stream, far


def a_done(loop):
    stream, far = a_pair(loop)
    stream.send(b"all of it", stream.abort)


def a_queued_send(loop):
    stream, far = a_pair(loop)
    far.setblocking(False)
    while stream.send(bytes(1 << 16)):
        pass
    try:
        while far.recv(1 << 20):
            pass
    except BlockingIOError:
        pass
    stream.on_drain += lambda stream: stream.abort()


def a_broken_send(loop):
    stream, far = a_pair(loop)
    far.close()
    stream.send(b"to nobody")


def a_new_reader(loop):
    stream, far = a_pair(loop)
    far.send(b"came before")
    stream.on_recv += lambda stream, view: stream.abort()


def a_resumed_reader(loop):
    stream, far = a_pair(loop)
    stream.on_recv += lambda stream, view: stream.abort()
    stream.pause()
    far.send(b"came meanwhile")
    stream.resume()


def a_connect(loop):
    listener = TCPListener(loop, Address("127.0.0.1", 0))
    listener.on_accept += lambda listener, sock: (sock.abort(), listener.close())
    TCPSocket(loop).connect("127.0.0.1", listener.address.port)


GIVES_WORK = {
    "call_soon": lambda loop, keeper: loop.call_soon(int),
    "an earlier timer": lambda loop, keeper: loop.call_later(1, int),
    "an earlier timer, started by hand": lambda loop, keeper: Timer(loop, 1).start(),
    "a timer that starts anew": lambda loop, keeper: Timer(loop, 90, interval=1).again(),
    "a close": lambda loop, keeper: keeper.close(),
    "an idler": lambda loop, keeper: Idler(loop, lambda idler: idler.close()).start(),
    "stop": lambda loop, keeper: loop.stop(),
    "post": lambda loop, keeper: loop.post(int),
    "post of a thread": lambda loop, keeper: in_thread(loop.post, int),
    "a Synchronizer": lambda loop, keeper: Synchronizer(loop, int).post(),
    "the done of a send": lambda loop, keeper: a_done(loop),
    "a queued send that can go on": lambda loop, keeper: a_queued_send(loop),
    "a send that breaks": lambda loop, keeper: a_broken_send(loop),
    "a new slot of on_recv": lambda loop, keeper: a_new_reader(loop),
    "resume": lambda loop, keeper: a_resumed_reader(loop),
    "a connect": lambda loop, keeper: a_connect(loop),
    "a numeric name": lambda loop, keeper: resolve(loop, "127.0.0.1", 1, lambda addresses, error: None),
}


@pytest.mark.needs("selectors")
@pytest.mark.parametrize("what", GIVES_WORK)
def test_once_the_descriptor_has_been_asked_for_work_outside_of_a_turn_makes_it_readable(loop, what):
    keeper = Timer(loop, 60).start()
    loop.run_once(0)
    descriptor = loop.fileno()
    assert select.select([descriptor], [], [], 0)[0] == []
    GIVES_WORK[what](loop, keeper)
    assert select.select([descriptor], [], [], 5)[0] == [descriptor]  # at once, but for what the kernel hands on
    for _ in range(20):
        loop.run_once(0)
    assert select.select([descriptor], [], [], 0)[0] == [], "and then it is quiet again"
    for handle in loop.handles:
        handle.close()
    loop.run()


@pytest.mark.needs("selectors")
def test_who_waits_for_the_descriptor_is_woken_when_a_run_has_ended_that_started_a_timer(loop):
    descriptor = loop.fileno()
    assert loop.timeout() is None
    loop.call_soon(lambda: loop.call_later(1, int).unref())
    loop.run()
    assert select.select([descriptor], [], [], 0)[0] == [descriptor]
    loop.run_once(0)
    assert loop.timeout() == 1
    assert select.select([descriptor], [], [], 0)[0] == []


def test_what_an_interrupt_took_out_of_the_heap_is_not_forgotten_by_timeout(loop, clock, monkeypatch):
    fired = []
    timer = loop.call_later(1, fired.append, 1)
    clock.advance(1)

    def interrupted(self, now):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Timer, "due", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.run_once(0)
    assert timer.active
    assert loop.timeout() == 0, "the next turn mends"
    loop.run_once(0)
    loop.run_once(0)
    assert fired == [1]
    assert loop.timeout() is None
