"""Idler: something to do in every turn."""
import pytest

from icey import Idler, StateError
from tests.support.loops import clock, debug, loop  # noqa: F401


def test_it_calls_fn_with_the_idler_in_every_turn_between_start_and_stop(loop):
    seen = []
    idler = Idler(loop, seen.append)
    loop.run_once(0)
    assert seen == [] and not idler.active
    assert idler.start() is idler
    assert idler.active
    loop.run_once(0)
    loop.run_once(0)
    assert seen == [idler, idler]
    idler.stop()
    idler.stop()
    assert loop.run_once(0) is False
    assert seen == [idler, idler]
    idler.start()
    loop.run_once(0)
    assert len(seen) == 3
    idler.close()


def test_started_twice_it_is_called_once_a_turn(loop):
    seen = []
    idler = Idler(loop, seen.append).start()
    idler.start()
    loop.run_once(0)
    assert seen == [idler]
    idler.stop()
    assert loop.run_once(0) is False


def test_the_loop_does_not_sleep_meanwhile(loop):
    left = [1, 2, 3]

    def work(idler):
        left.pop()
        if not left:
            idler.close()

    idler = Idler(loop, work).start()
    loop.run()
    assert left == [] and idler.closed


def test_idlers_run_in_the_order_of_their_starts(loop):
    seen = []
    idlers = [Idler(loop, lambda idler, name=name: seen.append(name)) for name in "abc"]
    for idler in reversed(idlers):
        idler.start()
    loop.run_once(0)
    assert "".join(seen) == "cba"
    for idler in idlers:
        idler.close()


def test_an_idler_started_by_an_idler_waits_for_the_next_turn(loop):
    seen = []
    second = Idler(loop, lambda idler: seen.append("second"))
    first = Idler(loop, lambda idler: (seen.append("first"), second.start())).start()
    loop.run_once(0)
    assert seen == ["first"]
    loop.run_once(0)
    assert seen == ["first", "first", "second"]
    first.close(), second.close()


def test_start_after_close_is_StateError_stop_is_nothing(loop):
    closed = []
    idler = Idler(loop, int).start()
    idler.on_close += closed.append
    idler.close()
    assert not idler.active
    with pytest.raises(StateError, match=r"start\(\) on"):
        idler.start()
    idler.stop()
    loop.run()
    assert closed == [idler]


def test_a_closed_idler_is_not_called_in_the_turn_of_its_close(loop):
    seen = []
    idler = Idler(loop, seen.append).start()
    loop.call_soon(idler.close)
    loop.run()
    assert seen == []
