"""loop.close(): aborts what is open, emits each on_close, frees everything, and in debug says what was left open."""
import gc
import os
import socket
import sys
import warnings

import pytest

from icey import Idler, Loop, Poll, StateError, Stream, Synchronizer, TCPListener, TCPSocket, Timer
from tests.support.loops import clock, debug, loop, turns  # noqa: F401


def close(loop):
    """Closes `loop`; returns the texts of its ResourceWarnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
    return [str(warning.message) for warning in caught if warning.category is ResourceWarning]


def open_descriptors():
    return set(os.listdir("/proc/self/fd"))


def test_close_aborts_what_is_open_emits_each_on_close_and_frees_everything(debug):
    near, far = socket.socketpair()
    loop = Loop(debug)
    closed = []
    poll = Poll(loop, far)
    poll.on_readable += print
    handles = [Stream(loop, near), TCPListener(loop, ("127.0.0.1", 0)), Timer(loop, 1).start(), poll,
               Idler(loop, print).start(), Synchronizer(loop, print)]
    for handle in handles:
        handle.on_close += closed.append
    descriptors = [handles[0].sock, handles[1].sock]
    close(loop)
    assert set(closed) == set(handles) and len(closed) == len(handles)
    assert all(handle.closed for handle in handles)
    assert [sock.fileno() for sock in descriptors] == [-1, -1]
    assert loop.closed and loop.handles == ()
    assert far.fileno() != -1, "a Poll's descriptor stays its owner's"
    far.close()


def test_close_emits_the_on_close_of_handles_that_were_closing(debug):
    loop = Loop(debug)
    closed = []
    timer = Timer(loop, 1)
    timer.on_close += closed.append
    timer.close()
    loop.close()
    assert closed == [timer]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="this platform does not tell its descriptors")
def test_close_leaves_no_descriptor_behind(debug):
    Loop(debug).close()
    gc.collect()
    before = open_descriptors()
    loop = Loop(debug)
    TCPListener(loop, ("127.0.0.1", 0))
    Synchronizer(loop, print)
    close(loop)
    assert open_descriptors() == before


def test_close_inside_run_is_StateError(loop):
    caught = []

    def closes():
        with pytest.raises(StateError, match="stop.. it") as info:
            loop.close()
        caught.append(info.value)

    loop.call_soon(closes)
    loop.run()
    loop.call_soon(closes)
    loop.run_once(0)
    assert len(caught) == 2 and not loop.closed


def test_close_again_is_nothing(debug):
    loop = Loop(debug)
    loop.close()
    loop.close()
    assert loop.closed


def test_a_with_block_closes_the_loop(debug):
    with Loop(debug) as loop:
        assert not loop.closed
    assert loop.closed


@pytest.mark.parametrize("verb", ["run", "run_once", "call_soon", "fileno"])
def test_a_closed_loop_does_nothing_any_more(debug, verb):
    loop = Loop(debug)
    loop.close()
    with pytest.raises(StateError, match="closed loop"):
        getattr(loop, verb)(*((print,) if verb == "call_soon" else ()))


def test_nothing_can_be_made_on_a_closed_loop(debug):
    loop = Loop(debug)
    loop.close()
    for make in (lambda: loop.call_later(1, print), lambda: Timer(loop, 1), lambda: TCPSocket(loop),
                 lambda: Synchronizer(loop, print)):
        with pytest.raises(StateError, match="closed loop"):
            make()


def test_what_was_made_before_and_not_started_cannot_be_started_after(debug):
    loop = Loop(debug)
    timer, idler, sock, poll = Timer(loop, 1), Idler(loop, print), TCPSocket(loop), Poll(loop, 0)
    loop.close()
    for start in (timer.start, timer.again, idler.start, lambda: sock.connect("127.0.0.1", 1), lambda: sock.send(b"")):
        with pytest.raises(StateError, match="closed"):
            start()
    poll.on_readable += print
    for handle in (timer, idler, sock, poll):
        handle.close()
        handle.abort()
        assert handle.closing


def test_an_on_close_slot_can_make_nothing_new_and_its_exception_is_told(debug):
    loop = Loop(debug)
    errors = []
    loop.on_error += lambda loop, exc, handle: errors.append((type(exc), handle))
    timer = Timer(loop, 1).start()
    timer.on_close += lambda timer: Timer(loop, 1)
    loop.close()
    assert errors == [(StateError, timer)]
    assert loop.closed


def test_an_on_close_slot_that_closes_another_handle_or_the_loop_is_welcome(debug):
    loop = Loop(debug)
    closed = []
    one, other, idle = Timer(loop, 1).start(), Timer(loop, 1).start(), Timer(loop, 1)
    for timer in (one, other, idle):
        timer.on_close += closed.append
    one.on_close += lambda timer: (other.close(), idle.close(), loop.close())
    loop.close()
    assert sorted(map(id, closed)) == sorted(map(id, [one, other, idle]))


def test_a_KeyboardInterrupt_in_an_on_close_slot_passes_through_and_leaves_no_descriptor_open(debug):
    near, far = socket.socketpair()
    loop = Loop(debug)
    stream = Stream(loop, near)

    def interrupt(handle):
        raise KeyboardInterrupt

    Timer(loop, 1).start().on_close += interrupt
    stream.on_close += interrupt
    with pytest.raises(KeyboardInterrupt):
        loop.close()
    assert loop.closed
    assert near.fileno() == -1
    far.close()


# what was left open

def test_in_debug_one_ResourceWarning_lists_the_sockets_that_were_open_with_their_creation_sites():
    near, far = socket.socketpair()
    loop = Loop(True)
    TCPListener(loop, ("127.0.0.1", 0))
    Stream(loop, near)
    [text] = close(loop)
    assert "TCPListener 127.0.0.1:" in text and "Stream" in text
    assert text.count("made at") == 2
    assert text.count("%s:" % __file__) >= 2
    assert "test_in_debug_one_ResourceWarning" in text
    far.close()


def test_in_release_close_says_nothing():
    near, far = socket.socketpair()
    loop = Loop(False)
    Stream(loop, near)
    assert close(loop) == []
    far.close()


def test_timers_idlers_synchronizers_and_polls_are_no_sockets(debug):
    near, far = socket.socketpair()
    loop = Loop(debug)
    Timer(loop, 1).start()
    Idler(loop, print).start()
    Synchronizer(loop, print)
    Poll(loop, near).on_readable += print
    assert close(loop) == []
    near.close(), far.close()


def test_a_socket_that_was_closing_is_not_listed(debug):
    near, far = socket.socketpair()
    loop = Loop(debug)
    Stream(loop, near).close()
    assert close(loop) == []
    far.close()


def test_where_warnings_are_errors_the_loop_is_closed_all_the_same():
    near, far = socket.socketpair()
    loop = Loop(True)
    Stream(loop, near)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ResourceWarning, match="still open: Stream"):
            loop.close()
    assert loop.closed and near.fileno() == -1
    far.close()


# what was collected

def collected(make):
    """The ResourceWarnings of what `make()` makes and drops."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
        for _ in range(3):
            gc.collect()
    return [str(warning.message) for warning in caught if warning.category is ResourceWarning]


def test_a_Loop_collected_unclosed_warns_in_release_too(debug):
    [text] = collected(lambda: Loop(debug))
    assert text.startswith("a Loop was collected without close()")
    assert ("made at" in text and __file__ in text) is debug


def test_a_socket_collected_unclosed_warns_in_release_too(debug):
    near, far = socket.socketpair()

    def drop():
        loop = Loop(debug)
        Stream(loop, near.dup())

    texts = collected(drop)
    near.close(), far.close()
    assert len([text for text in texts if text.startswith("<Stream open> was collected without close()")]) == 1
    assert len([text for text in texts if text.startswith("a Loop was collected")]) == 1
    assert not [text for text in texts if text.startswith("unclosed")], "it was closed with the warning"


def test_a_listener_collected_unclosed_warns_in_release_too(debug):
    texts = collected(lambda: TCPListener(Loop(debug), ("127.0.0.1", 0)))
    assert len([text for text in texts if text.startswith("<TCPListener 127.0.0.1:")]) == 1


def test_closed_loops_and_handles_are_collected_in_silence(debug):
    def drop():
        loop = Loop(debug)
        Timer(loop, 1)
        Timer(loop, 1).start()
        loop.close()
        with Loop(debug) as other:
            with TCPListener(other, ("127.0.0.1", 0)):
                pass
            other.run()

    assert collected(drop) == []


@pytest.mark.skipif(not hasattr(sys, "unraisablehook"), reason="this Python has no sys.unraisablehook")
def test_where_warnings_are_errors_a_collected_loop_gives_its_descriptors_back(debug, monkeypatch):
    raised = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: raised.append(unraisable.exc_type))
    loop = Loop(debug)
    pair = loop.waker
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del loop
        gc.collect()
    assert raised == [ResourceWarning]
    assert pair.fileno() == -1


def test_a_closed_loop_holds_nothing(loop, debug):
    import weakref

    class Thing:
        def method(self, *args):
            pass

    other = Loop(debug)
    thing = Thing()
    gone = weakref.ref(thing)
    other.call_soon(thing.method)
    other.call_later(1, thing.method)
    other.on_error += thing.method
    other.close()
    del thing
    turns(loop)
    gc.collect()
    assert gone() is None


def test_a_block_that_an_exception_leaves_warns_of_nothing(debug):
    """What was open is the exception's doing: a warning that is an error would stand in its place."""
    with pytest.raises(ZeroDivisionError), Loop(debug) as loop:
        TCPListener(loop, "127.0.0.1:0")
        raise ZeroDivisionError
    assert loop.closed
