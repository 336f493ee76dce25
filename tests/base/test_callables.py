"""What is called later is looked at where it is handed in: what cannot be called, and what a call would run nothing of."""
import functools

import pytest

import icey
from icey import Idler, LocalSignal, Loop, Signal, Synchronizer, ThreadSignal, Timer
from icey.base.debug import raised_in
from icey.tools.testing import Peer, ScriptedSocket
from tests.support.loops import clock, debug, loop  # noqa: F401


async def awaited(*args):
    pass


async def yields_and_is_awaited(*args):
    yield


def yields(*args):
    yield


class Callable:
    async def __call__(self, *args):
        pass

    async def method(self, *args):
        pass


TAKERS = {
    "call_soon": lambda loop, fn: loop.call_soon(fn),
    "call_later": lambda loop, fn: loop.call_later(1, fn),
    "post": lambda loop, fn: loop.post(fn),
    "Timer": lambda loop, fn: Timer(loop, 1, fn),
    "Idler": lambda loop, fn: Idler(loop, fn),
    "Synchronizer": lambda loop, fn: Synchronizer(loop, fn),
    "done of send()": lambda loop, fn: sends(loop, fn),
    "resolve": lambda loop, fn: icey.resolve(loop, "127.0.0.1", 80, fn),
    "Signal": lambda loop, fn: Signal().attach(fn),
    "LocalSignal": lambda loop, fn: LocalSignal().attach(fn),
    "ThreadSignal": lambda loop, fn: ThreadSignal().attach(fn),
    "an event": lambda loop, fn: loop.on_error.attach(fn),
    "an event's +=": lambda loop, fn: loop.on_error.__iadd__(fn),
}
nothing_for_none = ("Timer", "done of send()")  # a timer may have slots alone, a send nobody whom it tells


def sends(loop, fn):
    stream = icey.Stream(loop, ScriptedSocket())
    try:
        stream.send(b"x", fn)
    finally:
        stream.abort()
        loop.run_once(0)


@pytest.mark.parametrize("fn", [None, 1, "print", (print,)], ids=repr)
@pytest.mark.parametrize("taker", TAKERS)
def test_what_cannot_be_called_is_TypeError_at_once(loop, taker, fn):
    if fn is None and taker in nothing_for_none:
        return
    with pytest.raises(TypeError, match="must be callable, not "):
        TAKERS[taker](loop, fn)
    assert not loop.run_once(0) and not loop.handles


@pytest.mark.parametrize("fn, kind", [
    (awaited, "a coroutine function"), (functools.partial(awaited, 1), "a coroutine function"),
    (Callable(), "a coroutine function"), (Callable().method, "a coroutine function"), (yields, "a generator function"),
    (yields_and_is_awaited, "an asynchronous generator function"),
], ids=["async def", "a partial of one", "an object of one", "a method", "a generator", "an async generator"])
@pytest.mark.parametrize("taker", [taker for taker in TAKERS if taker not in ("post", "done of send()")])
def test_what_a_call_would_run_nothing_of_is_TypeError_that_says_where_it_stands(loop, taker, fn, kind):
    with pytest.raises(TypeError, match="slots are called, not awaited: .*test_callables.py:[0-9]+.* is %s" % kind):
        TAKERS[taker](loop, fn)
    assert not loop.run_once(0) and not loop.handles


@pytest.mark.parametrize("fn", [print, int, functools.partial(print, 1), [].append, lambda: None, Timer], ids=repr)
def test_whatever_else_can_be_called_is_taken(loop, fn):
    Signal().attach(fn)
    timer = loop.call_later(1, fn)
    timer.close()
    loop.run()


@pytest.mark.parametrize("make", [
    lambda loop: Timer(1.0, print), lambda loop: Synchronizer(print), lambda loop: Idler(print), lambda loop: icey.TCPSocket(),
    lambda loop: icey.TCPListener(("127.0.0.1", 0)), lambda loop: icey.TCPListener(("127.0.0.1", 0), loop),
    lambda loop: icey.UDPSocket("127.0.0.1"), lambda loop: icey.Poll(0), lambda loop: icey.Stream(None, None),
    lambda loop: Timer(Loop, 1.0), lambda loop: icey.resolve("localhost", loop, 80, print),
    lambda loop: icey.TCPListener(loop, "127.0.0.1", 0), lambda loop: loop.call_later(print, 1),
    lambda loop: Timer(loop, "1"), lambda loop: Timer(loop, 1, interval="1"),
])
def test_a_forgotten_loop_and_swapped_arguments_are_TypeError_at_the_callers_line(loop, make):
    with pytest.raises(TypeError) as info:
        make(loop)
    assert "attribute" not in str(info.value)
    assert not loop.handles


def test_which_argument_a_forgotten_loop_is(loop):
    with pytest.raises(TypeError, match=r"^Timer\(loop, ...\): the first argument is a Loop, not 1.0$"):
        Timer(1.0, print)


# a slot that cannot take what it is called with

def two(first, second):
    pass


class Slots:
    def method(self, first, second, third):
        pass


PLACE = r"in %s \(.*test_callables.py:\d+\)"


@pytest.mark.parametrize("start, name", [
    (lambda loop: loop.call_soon(two), "two"), (lambda loop: loop.call_later(0, two), "two"),
    (lambda loop: Idler(loop, two).start(), "two"), (lambda loop: Synchronizer(loop, two).post(), "two"),
    (lambda loop: Timer(loop, 0, Slots().method).start(), "Slots.method"),
    (lambda loop: Timer(loop, 0).start().on_timeout.attach(two), "two"),
    (lambda loop: icey.resolve(loop, "127.0.0.1", 80, Slots().method), "Slots.method"),
], ids=["call_soon", "call_later", "Idler", "Synchronizer", "Timer", "an event", "done"])
def test_a_slot_of_the_wrong_arity_is_reported_with_its_own_place(loop, monkeypatch, start, name):
    from icey.base import loop as module
    lines = []
    monkeypatch.setattr(module.log, "error", lambda area, text, *args, exc=None: lines.append(text % args))
    start(loop)
    loop.run_once(0)
    import re
    assert len(lines) == 1 and re.search(PLACE % name, lines[0]), lines


@pytest.mark.parametrize("what", ["on_accept", "on_request"])
def test_a_slot_of_the_wrong_arity_that_a_server_calls_is_reported_with_its_own_place(loop, what):
    found = []
    loop.on_error += lambda loop, exc, handle: found.append(raised_in(exc))
    if what == "on_accept":
        server = icey.TCPListener(loop, ("127.0.0.1", 0))
        server.on_accept += Slots().method
    else:
        server = icey.http.Server(loop, "127.0.0.1", 0)
        server.on_request += Slots().method
        server.start()
    with Peer.connect(loop, server.address) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        while not found:
            loop.run_once(0)
    server.close()
    loop.run_once(0)
    assert found[0].startswith("Slots.method (") and "test_callables.py" in found[0]
