"""Contract: signals. Order, detach and attach during an emit, once, stop: the same for every kind of signal."""
import pytest

from icey import LocalSignal, Loop, Poll, Signal, ThreadSignal, Timer
from tests.support import streams, transports
from tests.support.streams import turn
from tests.support.transports import until

debug, clock, reports = streams.debug, streams.clock, streams.reports
loop, transport = transports.loop, transports.transport

KINDS = ["Signal", "LocalSignal", "ThreadSignal", "of a handle"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def signal(kind):
    if kind == "of a handle":
        with Loop() as loop:
            yield Timer(loop, 1).on_timeout
    else:
        yield {"Signal": Signal, "LocalSignal": LocalSignal, "ThreadSignal": ThreadSignal}[kind]()


@pytest.fixture
def seen():
    return []


def named(seen, name, then=None):
    def slot(*args):
        seen.append(name)
        if then is not None:
            then()
    return slot


# order

def test_higher_priority_first_equals_in_attach_order(signal, seen):
    for priority, name in [(0, "c"), (5, "a"), (-1, "f"), (0, "d"), (5, "b"), (0, "e")]:
        signal.attach(named(seen, name), priority=priority)
    signal.emit()
    assert "".join(seen) == "abcdef"


class Listener:
    """Two methods, to be attached; equal to every other one of its kind."""

    def __init__(self, seen, name):
        self.seen, self.name = seen, name

    def __eq__(self, other):
        return isinstance(other, Listener)

    __hash__ = None

    def one(self, *args):
        self.seen.append(self.name + "1")

    def two(self, *args):
        self.seen.append(self.name + "2")


def test_an_object_takes_all_of_its_methods_along_and_nobody_elses(signal, seen):
    first, second, other = Listener(seen, "a"), Listener(seen, "b"), named(seen, "x")
    for slot in [first.one, second.one, other, first.two]:
        signal += slot
    signal.attach(first.two, once=True, priority=3)
    assert signal.detach(first) is True
    signal.emit()
    assert seen == ["b1", "x"] and len(signal) == 2
    assert signal.detach(first) is False
    signal -= second
    signal -= None
    signal.emit()
    assert seen == ["b1", "x", "x"]


def test_methods_of_an_object_that_is_detached_during_an_emit_are_not_called_any_more(signal, seen):
    target = Listener(seen, "a")
    signal += named(seen, "x", lambda: signal.detach(target))
    signal += target.one
    signal += target.two
    signal.emit()
    assert seen == ["x"] and len(signal) == 1


def test_an_object_that_is_a_slot_itself_is_that_slot_first(signal, seen):
    class Called(Listener):
        __hash__ = None

        def __call__(self, *args):
            seen.append("called")

    target = Called(seen, "a")
    signal += target.one
    signal += target
    assert signal.detach(target) is True
    signal.emit()
    assert seen == ["a1"]
    assert signal.detach(target) is True and len(signal) == 0


def test_a_slot_attached_twice_is_called_twice_and_detached_one_at_a_time(signal, seen):
    slot = named(seen, "x")
    signal += slot
    signal += slot
    signal.emit()
    assert seen == ["x", "x"] and len(signal) == 2
    assert signal.detach(slot) is True
    signal.emit()
    assert seen == ["x", "x", "x"] and len(signal) == 1


def test_slots_get_exactly_the_arguments_of_the_emit(signal):
    got = []
    signal += lambda *args: got.append(args)
    signal.emit()
    signal.emit(1, "two", None)
    assert got == [(), (1, "two", None)]


# detach during an emit

def test_a_slot_detached_during_an_emit_is_not_called_any_more(signal, seen):
    last = named(seen, "last")
    signal += named(seen, "first", lambda: signal.detach(last))
    signal += last
    signal.emit()
    signal.emit()
    assert seen == ["first", "first"]


def test_a_slot_detached_during_an_emit_is_not_called_in_nested_emits_either(signal, seen):
    def outer():
        if len(seen) == 1:
            signal.detach(last)
            signal.emit()

    last = named(seen, "last")
    signal += named(seen, "outer", outer)
    signal += last
    signal.emit()
    assert seen == ["outer", "outer"]


def test_a_slot_detached_in_a_nested_emit_is_not_called_by_the_outer_one(signal, seen):
    depth = []

    def nest():
        depth.append(1)
        if len(depth) == 1:
            signal.emit()
        else:
            signal.detach(last)

    last = named(seen, "last")
    signal += named(seen, "nest", nest)
    signal += last
    signal.emit()
    assert seen == ["nest", "nest"]


def test_a_slot_may_detach_itself_and_the_next_one_is_called(signal, seen):
    def self_detaching():
        seen.append("self")
        signal.detach(self_detaching)

    signal += self_detaching
    signal += named(seen, "next")
    signal.emit()
    signal.emit()
    assert seen == ["self", "next", "next"]


def test_detach_all_during_an_emit_ends_it(signal, seen):
    signal += named(seen, "first", signal.detach_all)
    signal += named(seen, "last")
    signal.emit()
    signal.emit()
    assert seen == ["first"] and len(signal) == 0


def test_a_slot_detached_and_attached_again_during_an_emit_waits_for_the_next(signal, seen):
    def again():
        signal.detach(last)
        signal.attach(last)

    last = named(seen, "last")
    signal.attach(named(seen, "first", again), once=True)
    signal += last
    signal.emit()
    assert seen == ["first"]
    signal.emit()
    assert seen == ["first", "last"]


# attach during an emit

@pytest.mark.parametrize("priority", [-1, 0, 1])
@pytest.mark.parametrize("others", [0, 1, 2])
def test_a_slot_attached_during_an_emit_waits_for_the_next_emit(signal, seen, priority, others):
    def attach():
        if len(signal) == others + 1:
            signal.attach(named(seen, "new"), priority=priority)

    signal += named(seen, "old", attach)
    for _ in range(others):
        signal += named(seen, "other")
    signal.emit()
    assert seen == ["old"] + ["other"] * others
    del seen[:]
    signal.emit()
    assert sorted(seen) == sorted(["old", "new"] + ["other"] * others)


def test_a_nested_emit_is_a_next_emit(signal, seen):
    def attach():
        if len(seen) == 1:
            signal.attach(named(seen, "new"))
            signal.emit()

    signal += named(seen, "old", attach)
    signal.emit()
    assert seen == ["old", "old", "new"]


# once

def test_once_is_detached_before_its_first_call(signal, seen):
    lengths = []
    signal.attach(named(seen, "once", lambda: lengths.append(len(signal))), once=True)
    assert len(signal) == 1
    signal.emit()
    signal.emit()
    assert seen == ["once"] and lengths == [0] and len(signal) == 0


def test_once_holds_in_nested_emits(signal, seen):
    signal.attach(named(seen, "once", signal.emit), once=True)
    signal += named(seen, "ever")
    signal.emit()
    assert seen == ["once", "ever", "ever"]


def test_a_once_slot_that_raises_is_gone_too(signal):
    def fails():
        raise ValueError

    signal.attach(fails, once=True)
    with pytest.raises(ValueError):
        signal.emit()
    signal.emit()
    assert len(signal) == 0


def test_a_once_slot_may_be_detached_before_its_time(signal, seen):
    slot = signal.attach(named(seen, "once"), once=True)
    assert signal.detach(slot) is True
    assert signal.detach(slot) is False
    signal.emit()
    assert seen == []


def test_a_spent_once_slot_cannot_be_detached_any_more(signal, seen):
    slot = signal.attach(named(seen, "once"), once=True)
    signal.emit()
    assert signal.detach(slot) is False


# exceptions

def test_a_bare_signal_has_no_loop_the_first_exception_ends_the_emit_and_reaches_the_caller(signal, seen):
    def fails():
        seen.append("fails")
        raise ValueError("mine")

    signal += named(seen, "before")
    signal += fails
    signal += named(seen, "after")
    with pytest.raises(ValueError, match="mine"):
        signal.emit()
    assert seen == ["before", "fails"]


# emit's answer

@pytest.mark.parametrize("kind", [Signal, LocalSignal, ThreadSignal])
@pytest.mark.parametrize("others", [0, 2])
def test_emit_returns_whether_it_was_stopped(kind, seen, others):
    signal = kind(stoppable=True)
    signal.attach(lambda: True)
    for _ in range(others):
        signal += named(seen, "other")
    assert signal.emit() is True
    assert seen == []


@pytest.mark.parametrize("kind", [Signal, LocalSignal, ThreadSignal])
@pytest.mark.parametrize("answer", [1, "yes", None, False, [0]])
def test_only_True_stops(kind, seen, answer):
    signal = kind(stoppable=True)
    signal.attach(lambda: answer)
    signal += named(seen, "other")
    assert signal.emit() is False
    assert seen == ["other"]


@pytest.mark.parametrize("others", [0, 1])
def test_a_signal_that_is_not_stoppable_is_not_stopped_by_True(signal, seen, others):
    signal.attach(lambda: True)
    for _ in range(others):
        signal += named(seen, "other")
    assert signal.emit() is False
    assert len(seen) == others


def test_an_emit_without_slots_is_not_stopped(signal):
    assert signal.emit() is False
    assert signal.emit(1, 2) is False


# attaching

def test_attach_returns_fn_so_that_it_decorates(signal):
    @signal.attach
    def slot():
        return 1

    assert slot() == 1
    assert len(signal) == 1


def test_len_counts_the_slots_and_an_empty_signal_is_true_all_the_same(signal):
    assert len(signal) == 0 and signal
    signal += print
    signal += repr
    assert len(signal) == 2
    signal -= print
    signal -= print
    assert len(signal) == 1
    signal.detach_all()
    assert len(signal) == 0 and signal


@pytest.mark.parametrize("what", [None, 1, "print"])
def test_a_slot_must_be_callable(signal, what):
    with pytest.raises(TypeError, match="a slot must be callable"):
        signal.attach(what)
    with pytest.raises(TypeError):
        signal += what
    assert len(signal) == 0


# the events of a handle

def test_assigning_anything_but_the_same_signal_is_a_TypeError(loop):
    timer, other = Timer(loop, 1), Timer(loop, 1)
    for value in (print, None, Signal(), other.on_timeout, timer.on_close):
        with pytest.raises(TypeError, match=r"Timer\.on_timeout is a signal: attach a slot with \+= or \.attach"):
            timer.on_timeout = value
    with pytest.raises(TypeError, match="Loop.on_error"):
        loop.on_error = print
    with pytest.raises(AttributeError):
        del timer.on_timeout
    timer.on_timeout = timer.on_timeout
    timer.on_timeout += print
    timer.on_timeout -= print
    assert len(timer.on_timeout) == 0


def test_a_signal_that_outlived_its_handle_may_be_assigned_back(loop):
    timer = Timer(loop, 1)
    held = timer.on_timeout
    timer.close()
    loop.run()
    timer.on_timeout = held
    timer.on_timeout += print


def test_signals_of_a_handle_come_into_being_on_first_touch(loop):
    timer = Timer(loop, 0).start()
    assert timer.signals is None
    loop.run()
    assert timer.signals is None, "emitting touches nothing"
    assert timer.on_timeout is timer.on_timeout
    assert list(timer.signals) == ["on_timeout"]


def test_events_are_documented_on_their_class():
    assert Timer.on_timeout.__doc__.startswith("on_timeout(timer)")


def test_a_handles_slots_die_with_it(loop):
    timer = Timer(loop, 1)
    timer.on_close += print
    timer.close()
    loop.run()
    assert timer.signals is None
    assert len(timer.on_close) == 0


@pytest.fixture
def pair():
    import socket
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_once_of_an_event_is_detached_with_all_that_follows_from_it(loop, transport):
    stream, far, _ = transport()
    received = []
    stream.on_recv.attach(lambda stream, view: received.append(bytes(view)), once=True)
    far.send(b"one")
    until(loop, lambda: received)
    far.send(b"two")
    turn(loop, 3)
    assert received == [b"one"], "detaching the last pauses: nothing is read, nothing lost"
    stream.on_recv += lambda stream, view: received.append(bytes(view))
    until(loop, lambda: len(received) == 2)
    assert received == [b"one", b"two"]


def test_the_events_of_a_stream_are_its_own_whatever_carries_it(loop, transport):
    stream, other = transport().stream, transport().stream
    connecting = ["on_connect"] if hasattr(type(stream), "on_connect") else []
    for name in ["on_recv", "on_end", "on_drain", "on_error", "on_close", *connecting]:
        with pytest.raises(TypeError, match=r"%s is a signal: attach a slot with \+= or \.attach" % name):
            setattr(stream, name, print)
        with pytest.raises(TypeError):
            setattr(stream, name, getattr(other, name))
        setattr(stream, name, getattr(stream, name))
        assert getattr(stream, name) is getattr(stream, name) and len(getattr(stream, name)) == 0


def test_the_slots_of_an_event_come_in_order_and_a_detached_one_not_at_all(loop, transport):
    stream, far, _ = transport()
    seen = []
    last = named(seen, "last")
    stream.on_recv.attach(named(seen, "first", lambda: stream.on_recv.detach(last)), priority=1)
    stream.on_recv += named(seen, "second")
    stream.on_recv += last
    far.send(b"x")
    until(loop, lambda: len(seen) > 1)
    assert seen == ["first", "second"]


def test_the_slots_of_a_stream_die_with_it(loop, transport):
    stream, _, _ = transport()
    stream.on_recv += print
    stream.on_drain += print
    stream.abort()
    loop.run()
    assert stream.signals is None and len(stream.on_recv) == 0


def test_once_of_a_poll_stops_the_watching(loop, pair):
    seen = []
    poll = Poll(loop, pair[0])
    poll.on_writable.attach(seen.append, once=True)
    assert loop.run_once(0) is False
    assert seen == [poll] and loop.handles == ()


def test_an_attach_that_is_refused_attaches_nothing(loop, pair):
    first, second = Poll(loop, pair[0]), Poll(loop, pair[0])
    first.on_readable += print
    with pytest.raises((OSError, KeyError)):
        second.on_readable += print
    assert len(second.on_readable) == 0 and loop.handles == (first,)
    first.close()
    loop.run()
    second.on_readable += print
    second.close()
    loop.run()
