"""ThreadSignal: attach, detach and emit from any thread, delivery on a loop. The contract is in tests/contracts."""
import threading

import pytest

from icey import Loop, StateError, ThreadSignal
from tests.support.loops import debug, in_thread  # noqa: F401


def together(count, work):
    """Runs `work(number)` in `count` threads that begin at the same moment; raises what one of them raised."""
    barrier = threading.Barrier(count)
    failures = []

    def run(number):
        try:
            barrier.wait(60)
            work(number)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if failures:
        raise failures[0]


def test_emit_runs_slots_without_a_loop_in_the_emitting_thread():
    seen = []
    signal = ThreadSignal()
    signal += lambda: seen.append(threading.get_ident())
    in_thread(signal.emit)
    signal.emit()
    assert seen[0] != seen[1] == threading.get_ident()


def test_attach_detach_and_emit_from_any_thread_at_once():
    signal = ThreadSignal()
    steady = []
    signal += lambda: steady.append(1)

    def work(number):
        for _ in range(300):
            def slot():
                pass
            signal.attach(slot, priority=number % 3)
            signal.emit()
            assert signal.detach(slot) is True

    together(6, work)
    assert len(signal) == 1
    assert len(steady) == 1800


def test_concurrent_attaches_keep_the_order_of_priorities():
    signal = ThreadSignal()
    seen = []

    def work(number):
        for _ in range(50):
            signal.attach(lambda number=number: seen.append(number), priority=number)

    together(4, work)
    signal.emit()
    assert seen == [3] * 50 + [2] * 50 + [1] * 50 + [0] * 50


def test_once_under_a_race_of_emits_is_called_once():
    for _ in range(50):
        signal = ThreadSignal()
        seen = []
        signal.attach(seen.append, once=True)
        together(4, signal.emit)
        assert len(seen) == 1 and len(signal) == 0


def test_a_race_of_detaches_has_one_winner():
    signal = ThreadSignal()
    won = []
    for _ in range(50):
        signal.attach(print)
        together(3, lambda number: won.append(signal.detach(print)))
    assert won.count(True) == 50
    assert len(signal) == 0


# delivery on a loop

def test_attach_with_a_loop_runs_fn_on_that_loop(debug):
    seen = []
    signal = ThreadSignal()
    with Loop(debug) as loop:
        signal.attach(lambda value: seen.append((value, threading.get_ident())), loop=loop)
        assert in_thread(signal.emit, 1) is False
        signal.emit(2)
        assert seen == []
        loop.run()
    assert seen == [(1, threading.get_ident()), (2, threading.get_ident())]


def test_emits_of_many_threads_all_arrive_on_the_loop(debug):
    signal = ThreadSignal()
    seen = []
    with Loop(debug) as loop:
        signal.attach(lambda *args: seen.append(args), loop=loop)
        together(4, lambda number: [signal.emit(number, turn) for turn in range(100)])
        loop.run()
    assert len(seen) == 400
    for number in range(4):
        assert [turn for who, turn in seen if who == number] == list(range(100))


def test_a_slot_on_a_loop_cannot_stop_the_emit(debug):
    seen = []
    signal = ThreadSignal(stoppable=True)
    with Loop(debug) as loop:
        signal.attach(lambda: True, loop=loop)
        signal += lambda: seen.append(1)
        assert signal.emit() is False
        loop.run()
    assert seen == [1]


def test_a_slot_detached_before_its_loop_came_to_it_is_not_called(debug):
    signal = ThreadSignal()
    seen = []
    with Loop(debug) as loop:
        signal.attach(seen.append, loop=loop)
        signal.emit(1)
        signal.detach(seen.append)
        signal.attach(seen.append, loop=loop)
        signal.emit(2)
        signal.detach_all()
        loop.run()
    assert seen == []


def test_once_on_a_loop_is_called_once_however_many_emits_came(debug):
    signal = ThreadSignal()
    seen = []
    with Loop(debug) as loop:
        signal.attach(seen.append, once=True, loop=loop)
        signal.emit(1)
        signal.emit(2)
        loop.run()
        signal.emit(3)
        loop.run()
    assert seen == [1]


def test_an_exception_of_a_slot_on_a_loop_goes_to_that_loops_on_error(debug):
    signal = ThreadSignal()
    errors = []
    with Loop(debug) as loop:
        loop.on_error += lambda loop, exc, handle: errors.append((type(exc), handle))
        signal.attach(lambda: 1 // 0, loop=loop)
        signal.emit()
        loop.run()
    assert errors == [(ZeroDivisionError, None)]


def test_attach_to_a_closed_loop_is_StateError_an_emit_to_one_is_nothing(debug):
    signal = ThreadSignal()
    loop = Loop(debug)
    signal.attach(print, loop=loop)
    loop.close()
    assert signal.emit() is False
    with pytest.raises(StateError, match="closed loop"):
        signal.attach(print, loop=loop)
