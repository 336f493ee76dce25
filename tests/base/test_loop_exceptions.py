"""What callbacks raise: to loop.on_error with the handle, to the log where nobody listens; never the loop's end."""
import functools
import gc
import os
import socket
import sys
import weakref

import pytest

from icey import Idler, Poll, Stream, Synchronizer, Timer
from tests.support.loops import clock, debug, loop, turns  # noqa: F401


class Oops(Exception):
    pass


def oops(*args):
    raise Oops("slot")


@pytest.fixture
def errors(loop):
    errors = []
    loop.on_error += lambda *args: errors.append(args)
    return errors


@pytest.fixture
def ready():
    near, far = socket.socketpair()
    far.send(b"x")
    with near, far:
        yield near


def started_timer(loop, sock):
    return Timer(loop, 0, oops).start()


def timer_with_a_slot(loop, sock):
    timer = Timer(loop, 0)
    timer.on_timeout += oops
    return timer.start()


def idler(loop, sock):
    return Idler(loop, oops).start()


def poll_to_read(loop, sock):
    poll = Poll(loop, sock)
    poll.on_readable += oops
    return poll


def poll_to_write(loop, sock):
    poll = Poll(loop, sock)
    poll.on_writable += oops
    return poll


def synchronizer(loop, sock):
    synchronizer = Synchronizer(loop, oops)
    synchronizer.post()
    return synchronizer


def closing_timer(loop, sock):
    timer = Timer(loop, 0)
    timer.on_close += oops
    timer.close()
    return timer


def call_later(loop, sock):
    return loop.call_later(0, oops)


def stream(loop, sock):
    stream = Stream(loop, sock.dup())
    stream.on_recv += oops
    return stream


@pytest.mark.parametrize("make", [started_timer, timer_with_a_slot, idler, poll_to_read, poll_to_write, synchronizer,
                                  closing_timer, call_later, stream])
def test_exceptions_in_slots_go_to_loop_on_error_with_the_handle_and_never_end_the_loop(loop, errors, ready, make):
    handle = make(loop, ready)
    loop.run_once(0)
    assert len(errors) == 1
    where, exc, whose = errors[0]
    assert where is loop and type(exc) is Oops and whose is handle
    handle.abort()
    loop.run()


@pytest.mark.parametrize("verb", ["call_soon", "post"])
def test_a_call_that_raises_has_no_handle_and_the_next_calls_run(loop, errors, verb):
    seen = []
    getattr(loop, verb)(oops)
    getattr(loop, verb)(seen.append, "next")
    loop.run()
    assert [args[2] for args in errors] == [None]
    assert seen == ["next"]


def test_a_method_of_a_handle_that_was_posted_and_raises_is_told_with_that_handle(loop, errors):
    timer = Timer(loop, 1)
    timer.close()
    loop.post(timer.start)
    loop.run()
    assert [args[2] for args in errors] == [timer]


def test_each_slot_is_guarded_the_next_one_is_called(loop, errors):
    seen = []
    timer = Timer(loop, 0, oops)
    timer.on_timeout += oops
    timer.on_timeout += seen.append
    timer.on_close += oops
    timer.on_close += seen.append
    timer.start()
    loop.run()
    timer.close()
    loop.run()
    assert seen == [timer, timer]
    assert len(errors) == 3


def test_interval_timers_live_on(loop, clock, errors):
    timer = Timer(loop, 1, oops, interval=1).start()
    for _ in range(3):
        clock.advance(1)
        loop.run_once(0)
    assert timer.active and timer.count == 3
    assert len(errors) == 3
    timer.stop()


def test_idlers_and_polls_live_on(loop, errors, ready):
    keepers = [idler(loop, ready), poll_to_read(loop, ready)]
    for _ in range(3):
        loop.run_once(0)
    assert len(errors) == 6
    for keeper in keepers:
        assert not keeper.closing
        keeper.close()


def test_a_slot_of_on_error_may_detach_itself(loop):
    seen = []

    def once(loop, exc, handle):
        seen.append(exc)
        loop.on_error -= once
        loop.on_error += lambda *args: seen.append("the next")

    loop.on_error += once
    loop.call_soon(oops)
    loop.call_soon(oops)
    loop.run()
    assert [type(seen[0]), seen[1]] == [Oops, "the next"]


def test_whatever_a_ready_descriptors_callback_raises_is_told_with_its_handle(loop, errors, ready):
    class Faulty(Poll):
        __slots__ = ()

        def _ready(self, mask):
            raise Oops

    poll = Faulty(loop, ready)
    poll.on_readable += print
    loop.run_once(0)
    assert [(type(exc), handle) for _, exc, handle in errors] == [(Oops, poll)]
    poll.close()


# nobody attached

def lines(caplog):
    return [(record.name, record.levelname, record.getMessage()) for record in caplog.records]


@pytest.mark.needs("logging")
def test_nobody_attached_logged_once_with_the_slots_place(loop, caplog):
    loop.call_soon(oops)
    loop.run()
    [(name, level, text)] = lines(caplog)
    here = "%s:%d" % (oops.__code__.co_filename, oops.__code__.co_firstlineno + 1)
    assert (name, level) == ("icey.loop", "ERROR")
    assert text == "Oops in oops (%s)" % here
    assert caplog.records[0].exc_info[0] is Oops


@pytest.mark.needs("logging")
def test_the_place_is_the_slots_not_that_of_a_library_it_called(loop, caplog):
    def slot(timer):
        functools.reduce(lambda a, b: os.fspath(b), [1, 2])

    timer = Timer(loop, 0, slot).start()
    loop.run()
    [(_, _, text)] = lines(caplog)
    assert text.startswith("TypeError in slot (" + slot.__code__.co_filename)
    assert text.endswith(" of %r" % timer)


@pytest.mark.needs("logging")
def test_a_slot_without_a_python_frame_is_logged_too(loop, caplog):
    loop.call_soon([].pop)
    loop.run()
    [(_, _, text)] = lines(caplog)
    assert text.startswith("IndexError in ")


@pytest.mark.needs("logging")
def test_a_detached_on_error_slot_hears_nothing_the_log_does(loop, caplog, errors):
    loop.on_error.detach_all()
    loop.call_soon(oops)
    loop.run()
    assert len(lines(caplog)) == 1
    assert errors == []


@pytest.mark.needs("logging")
def test_when_on_error_itself_raises_both_are_logged_and_the_loop_goes_on(loop, caplog):
    def broken(loop, exc, handle):
        raise ValueError("on_error")

    seen = []
    loop.on_error += broken
    loop.call_soon(oops)
    loop.call_soon(seen.append, 1)
    loop.run()
    assert [record.exc_info[0] for record in caplog.records] == [ValueError, Oops]
    assert seen == [1]


def test_where_logging_is_missing_it_is_written_to_stderr(loop, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "logging", None)
    loop.call_soon(oops)
    loop.run()
    err = capsys.readouterr().err
    assert err.count("icey.loop: Oops in oops (") == 1
    assert "Oops: slot" in err


def test_a_program_without_logging_and_without_stderr_goes_on(loop, monkeypatch):
    monkeypatch.setitem(sys.modules, "logging", None)
    monkeypatch.setattr(sys, "stderr", None)
    seen = []
    loop.call_soon(oops)
    loop.call_soon(seen.append, 1)
    loop.run()
    assert seen == [1]


# KeyboardInterrupt and SystemExit

def quit_from_call(loop, exc, sock):
    loop.call_soon(raise_it, exc)


def quit_from_timer(loop, exc, sock):
    loop.call_later(0, raise_it, exc)


def quit_from_idler(loop, exc, sock):
    def stop_and_raise(idler):
        idler.stop()
        raise exc
    Idler(loop, stop_and_raise).start()


def quit_from_poll(loop, exc, sock):
    def close_and_raise(poll):
        poll.close()
        raise exc
    Poll(loop, sock).on_readable += close_and_raise


def quit_from_on_close(loop, exc, sock):
    timer = Timer(loop, 0)
    timer.on_close += lambda timer: raise_it(exc)
    timer.close()


def raise_it(exc):
    raise exc


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("put", [quit_from_call, quit_from_timer, quit_from_idler, quit_from_poll, quit_from_on_close])
def test_KeyboardInterrupt_and_SystemExit_pass_through_and_the_loop_can_run_again(loop, errors, ready, kind, put):
    seen = []
    put(loop, kind("now"), ready)
    late = Timer(loop, 0)
    late.on_close += seen.append
    late.close()
    loop.call_later(0, seen.append, "timer")
    loop.call_soon(seen.append, "call")
    with pytest.raises(kind, match="now"):
        loop.run()
    assert not loop.running
    loop.run()
    assert set(seen) == {late, "timer", "call"} and len(seen) == 3, "nothing of that turn got lost"
    assert errors == []


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="nothing is freed at once here")
def test_what_an_interrupt_left_is_freed_at_once(loop):
    """As a socket that was just accepted: its peer would wait until the garbage collector comes."""
    class Left:
        pass

    seen = []

    def interrupted():
        left = Left()
        seen.append(weakref.ref(left))
        raise KeyboardInterrupt

    loop.call_soon(interrupted)
    gc.collect()
    gc.disable()
    try:
        loop.run()
    except KeyboardInterrupt:  # pytest.raises would keep the traceback
        pass
    finally:
        gc.enable()
    assert seen[0]() is None


def test_a_KeyboardInterrupt_from_on_error_passes_through(loop):
    loop.on_error += lambda loop, exc, handle: raise_it(KeyboardInterrupt())
    loop.call_soon(oops)
    with pytest.raises(KeyboardInterrupt):
        loop.run()


@pytest.mark.needs("logging")
def test_a_descriptor_closed_behind_our_back_is_told_and_on_close_comes_all_the_same(loop, caplog):
    class Stale(Timer):
        __slots__ = ()

        def free(self):
            raise OSError(9, "Bad file descriptor")

    closed = []
    timer = Stale(loop, 1)
    timer.on_close += closed.append
    timer.close()
    turns(loop)
    assert closed == [timer]
    assert "Bad file descriptor" in str(caplog.records[0].exc_info[1])
