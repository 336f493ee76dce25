"""Handle: ref and unref, and a close that tells once, from the loop, never inside the call."""
import gc
import weakref

import pytest

from icey import Handle, StateError, Synchronizer, Timer
from icey.base.handle import wrong_thread
from tests.support.loops import clock, debug, loop, turns  # noqa: F401


def test_close_emits_on_close_once_from_the_loop_never_inside_the_call(loop):
    seen = []
    handle = Handle(loop)
    handle.on_close += seen.append
    assert (handle.closing, handle.closed) == (False, False)
    handle.close()
    assert seen == []
    assert (handle.closing, handle.closed) == (True, False)
    handle.close()
    handle.abort()
    turns(loop)
    assert seen == [handle]
    assert (handle.closing, handle.closed) == (True, True)
    handle.close()
    handle.abort()
    turns(loop)
    assert seen == [handle]


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_close_in_a_callback_is_told_in_the_closing_phase_of_the_same_turn(loop, verb):
    seen = []
    handle = Handle(loop)
    handle.on_close += lambda handle: seen.append(handle.closed)
    loop.call_soon(getattr(handle, verb))
    loop.call_soon(lambda: seen.append(handle.closed))
    loop.run_once(0)
    assert seen == [False, True]


def test_a_handle_closed_by_an_on_close_slot_is_closed_in_the_next_turn(loop):
    seen = []
    one, other = Handle(loop), Handle(loop)
    one.on_close += lambda handle: other.close()
    other.on_close += seen.append
    one.close()
    assert loop.run_once(0) is True
    assert seen == []
    assert loop.run_once(0) is False
    assert seen == [other]


def test_a_with_block_requests_close_at_its_end(loop):
    seen = []
    with Handle(loop) as handle:
        handle.on_close += seen.append
        assert not handle.closing
    assert handle.closing and seen == []
    with pytest.raises(ZeroDivisionError):
        with Handle(loop) as other:
            1 // 0
    assert other.closing
    turns(loop)
    assert seen == [handle]


def test_after_close_ref_and_unref_are_nothing(loop):
    handle = Synchronizer(loop, int)
    handle.close()
    handle.unref()
    handle.ref()
    turns(loop)
    handle.unref()
    handle.ref()
    assert loop.run_once(0) is False


@pytest.mark.parametrize("refs", ["", "unref", "ref", "unref unref", "unref ref", "unref ref unref"])
def test_the_account_of_refs_comes_out_even(loop, refs):
    handle = Synchronizer(loop, int)
    for verb in refs.split():
        getattr(handle, verb)()
    assert loop.run_once(0) is (not refs.endswith("unref"))
    assert handle.has_ref is (not refs.endswith("unref"))
    handle.close()
    assert loop.run_once(0) is False
    other = Synchronizer(loop, int)
    assert loop.run_once(0) is True
    other.abort()
    assert loop.run_once(0) is False


def test_the_loop_keeps_an_open_handle_alive_until_its_on_close(loop):
    seen = []
    handle = Synchronizer(loop, int)
    handle.on_close += lambda handle: seen.append("closed")
    there = weakref.ref(handle)
    del handle
    gc.collect()
    assert there() is not None
    there().close()
    gc.collect()
    turns(loop)
    assert seen == ["closed"]
    gc.collect()
    assert there() is None


def test_slots_attached_in_on_close_are_not_called_any_more(loop):
    seen = []
    handle = Handle(loop)
    handle.on_close += lambda handle: handle.on_close.attach(seen.append)
    handle.close()
    turns(loop)
    assert seen == []


def test_the_slots_of_an_event_come_by_priority_once_and_as_long_as_they_are_attached(loop, clock):
    seen = []

    def low(timer):
        seen.append("low")

    def high(timer):
        seen.append("high")
        timer.on_timeout -= low

    timer = Timer(loop, 0, interval=1)
    timer.on_timeout += low
    timer.on_timeout.attach(high, priority=1)
    timer.on_timeout.attach(lambda timer: seen.append("once %d" % len(timer.on_timeout)), once=True, priority=2)
    timer.start()
    for _ in range(2):
        loop.run_once(0)
        clock.advance(1)
    assert seen == ["once 2", "high", "high"]
    timer.close()


def test_a_StateError_says_what_rule_and_what_to_do(loop):
    timer = Timer(loop, 1)
    timer.close()
    with pytest.raises(StateError) as info:
        timer.start()
    assert info.value.what == "start() on a Timer that is closing"
    assert info.value.contract == "close is asynchronous"
    assert info.value.fix
    turns(loop)


def test_repr_tells_the_state(loop):
    handle = Handle(loop)
    assert repr(handle) == "<Handle open>"
    handle.close()
    assert repr(handle) == "<Handle closing>"
    turns(loop)
    assert repr(handle) == "<Handle closed>"


def test_wrong_thread_names_an_object_without_a_creation_site(loop):
    class Part:
        def __init__(self, loop):
            self.loop = loop

    with pytest.raises(RuntimeError, match="Part was touched") as info:
        wrong_thread(Part(loop))
    assert ("made at:\n  (unknown)" in str(info.value)) is loop.debug
