"""What a stream is to its loop, on every transport: one handle, which its ref decides of, and whose slots may fail.

However many objects carry it: on TLS the loop has to do with the TLSSocket, never with its carrier.
"""
import gc
import os
import warnings
import weakref
from contextlib import nullcontext

import pytest

import icey
from icey.base.stream import UP
from icey.net.address import AF_UNIX
from tests.support import streams, transports
from tests.support.streams import PYPY, collect, finish, names, turn, watch
from tests.support.transports import until

debug, clock, reports = streams.debug, streams.clock, streams.reports
loop, transport = transports.loop, transports.transport


# one handle

def test_the_loop_lists_the_stream_and_nothing_else(loop, transport):
    stream, far, kernel = transport()
    assert loop.handles == (stream,)
    kernel.stall()
    stream.send(b"hello")
    assert loop.handles == (stream,)
    kernel.unstall()
    far.read(5)
    far.half_close()
    stream.close()
    until(loop, lambda: stream.closed)
    assert loop.handles == ()


def test_while_it_connects_it_is_listed_once(loop, transport):
    stream, sock = transport.connect()
    for _ in range(5):
        sockets = [handle for handle in loop.handles if not isinstance(handle, icey.Timer)]
        assert sockets == [stream]
        turn(loop)
    transport.peer(sock)
    until(loop, lambda: stream.link == UP)
    assert loop.handles == (stream,)


def test_a_socket_that_has_not_begun_is_not_listed_and_may_be_forgotten(loop, transport):
    stream = transport.socket()
    assert loop.handles == ()
    del stream
    collect()


@pytest.mark.skipif(PYPY, reason="collects by reference counts")
@pytest.mark.parametrize("end", ["close", "abort", "reset"])
def test_nobody_holds_it_once_it_has_closed(loop, transport, end):
    stream, far, kernel = transport()
    watch(stream, "recv", "end", "drain", "error", "close")
    stream.send(b"hello", list)
    far.read(5)
    if end == "reset":
        kernel.fail(ConnectionResetError)
        far.send(b"x")
    else:
        getattr(stream, end)()
        far.cut() if hasattr(far, "cut") else far.close()
    gone = weakref.ref(stream)
    until(loop, lambda: gone().closed)
    turn(loop, 2)
    gc.collect()  # once for what the handshake made; the closed stream itself is in no cycle of ours
    del stream, kernel
    gc.collect()
    assert gone() is None and loop.handles == ()


def test_its_name_says_what_it_is_and_to_whom(transport):
    stream, _, _ = transport()
    assert repr(stream) == "<%s open>" % transport.title(stream)


# collected unclosed

@pytest.mark.skipif(PYPY, reason="collects by reference counts")
@pytest.mark.parametrize("name", transports.EACH)
def test_one_collected_unclosed_warns_once_and_names_where_it_was_made(clock, debug, name, tmp_path_factory):
    loop = icey.Loop(debug, clock=clock, selector=transports.Selector(clock))
    made = transports.of(name, loop, tmp_path_factory)
    link = made()
    said, kernel = repr(link.stream), link.kernel
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made.loop = link.far.loop = None
        del loop, link
        gc.collect()
    made.close()
    told = [str(warning.message) for warning in caught if warning.category is ResourceWarning]
    of_loop = [text for text in told if text.startswith("a Loop was collected without close()")]
    of_sockets = [text for text in told if text not in of_loop]
    assert len(of_loop) == 1 and len(of_sockets) == 1, told
    assert of_sockets[0].startswith("%s was collected without close()" % said)
    assert (", made at" in of_sockets[0] and __file__ in of_sockets[0]) is debug
    assert kernel.closed


# its ref

def test_an_open_stream_keeps_the_loop_running(loop, transport):
    transport()
    stopped = []
    loop.call_later(3600.0, lambda: (stopped.append(1), loop.stop()))
    loop.run()
    assert stopped == [1]


def test_one_without_ref_does_not(loop, clock, transport):
    stream, far, _ = transport()
    got = []
    stream.on_recv += lambda stream, view: got.append(bytes(view))
    stream.unref()
    assert not stream.has_ref
    started = clock()
    loop.run()
    assert clock() == started and not stream.closing
    far.send(b"x")
    until(loop, lambda: got)  # it works all the same
    stream.ref()
    assert stream.has_ref and loop.run_once(0) is True


def test_one_without_ref_does_not_while_it_connects_nor_while_it_has_something_to_send(loop, clock, transport):
    stream, sock = transport.connect()
    stream.unref()
    started = clock()
    loop.run()
    turn(loop, 5)
    loop.run()
    assert clock() == started
    far = transport.peer(sock)
    until(loop, lambda: stream.link == UP)
    loop.run()
    stream.send(bytes(100000))
    loop.run()
    assert clock() == started
    assert far.read(100000) == bytes(100000)


def test_ref_and_unref_may_be_called_as_often_as_one_likes(loop, transport):
    stream, far, _ = transport()
    for call in ("unref", "unref", "ref", "unref", "ref", "ref"):
        getattr(stream, call)()
    assert loop.run_once(0) is True
    far.half_close()
    stream.close()
    loop.run()
    assert stream.closed and loop.run_once(0) is False


def test_a_closed_one_keeps_nothing_running(loop, transport):
    stream, _, _ = transport()
    other, _, _ = transport()
    other.unref()
    stream.close()
    loop.run()
    assert stream.closed and not other.closing
    assert loop.run_once(0) is False


# slots that fail

def read_to_cut(far):
    """What comes before the end of a stream whose slot raised: a reset, which no peer takes for the end of it all."""
    got = b""
    with pytest.raises(OSError) if far.sock.family != AF_UNIX else nullcontext():  # a Unix socket knows no reset
        piece = far.read(1)
        while piece:
            got += piece
            piece = far.read(1)
    return got


FAILS = {
    "on_recv": lambda stream, far: far.send(b"x"),
    "on_end": lambda stream, far: (stream.resume(), far.half_close()),
    "on_drain": lambda stream, far: None,
    "done": lambda stream, far: None,
}


@pytest.mark.parametrize("where", FAILS)
def test_a_slot_that_raises_closes_its_stream_in_order_and_no_other(loop, reports, transport, where):
    stream, far, kernel = transport()
    other, other_far, _ = transport()
    got = []
    other.on_recv += lambda other, view: got.append(bytes(view))
    seen = watch(stream, "error", "close")
    stream.high_water, stream.low_water = 1, 0

    def fails(*arguments):
        raise ValueError(where)

    if where != "done":
        getattr(stream, where).attach(fails)
    kernel.stall()
    stream.send(b"queued before", fails if where == "done" else None)
    FAILS[where](stream, far)
    if where in ("on_recv", "on_end"):
        until(loop, lambda: reports)
    kernel.unstall()
    said = read_to_cut(far)
    assert said == b"queued before" or (said == b"" and stream.secure)  # what TLS has made of it goes with its carrier
    far.close()
    until(loop, lambda: stream.closed)
    assert [(type(exc), str(exc), handle) for exc, handle in reports] == [(ValueError, where, stream)]
    reports.take(ValueError)
    assert names(seen) == ["close"]
    other_far.send(b"x")
    until(loop, lambda: got)
    assert not other.closing


def test_an_exception_in_on_close_is_reported_and_the_others_are_called(loop, reports, transport):
    stream, _, kernel = transport()
    seen = []

    def fails(stream):
        raise ValueError

    stream.on_close += fails
    stream.on_close += lambda stream: seen.append(1)
    stream.abort()
    loop.run()
    reports.take(ValueError)
    assert seen == [1] and kernel.closed


def test_an_exception_in_on_error_is_reported_and_on_close_comes(loop, reports, transport):
    stream, far, kernel = transport()
    seen = watch(stream, "close")

    def fails(stream, exc):
        raise ValueError

    stream.on_error += fails
    stream.on_recv += print
    kernel.fail(ConnectionResetError)
    far.send(b"x")
    until(loop, lambda: stream.closed)
    reports.take(ValueError)
    assert names(seen) == ["close"]


def test_an_exception_in_on_connect_is_reported_and_closes(loop, reports, transport):
    stream, sock = transport.connect()
    seen = watch(stream, "error", "close")

    def fails(stream):
        raise ValueError

    stream.on_connect += fails
    far = transport.peer(sock)
    assert read_to_cut(far) == b""
    far.close()
    until(loop, lambda: stream.closed)
    reports.take(ValueError)
    assert names(seen) == ["close"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_should_end_the_program_passes_through_and_nothing_is_lost(loop, transport, kind):
    stream, far, _ = transport()
    got, interrupts = bytearray(), [kind]

    def slot(stream, view):
        got.extend(view)
        if interrupts:
            raise interrupts.pop()

    stream.on_recv += slot
    far.send(b"one")
    with pytest.raises(kind):
        until(loop, lambda: False)
    far.send(b"two")
    until(loop, lambda: len(got) == 6)
    assert got == b"onetwo" and not stream.closing


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_done_behind_one_that_ends_the_program_is_called_all_the_same(loop, transport, kind):
    stream, far, _ = transport()
    done = []

    def ends():
        raise kind

    stream.send(b"one", ends)
    stream.send(b"two", lambda: done.append(1))
    with pytest.raises(kind):
        until(loop, lambda: False)
    assert far.read(6) == b"onetwo"
    until(loop, lambda: done)


# the loop goes first

def test_a_loop_that_closes_in_the_midst_of_it_frees_everything(debug, clock, transport, loop):
    stream, far, kernel = transport()
    seen = watch(stream, "close")
    stream.on_recv += print
    kernel.stall()
    stream.send(bytes(300000))
    far.send(b"x")
    finish(loop)
    assert (names(seen), kernel.closed) == (["close"], True)


@pytest.mark.needs("fork")
def test_a_forked_child_closes_its_copy_and_the_parent_goes_on(loop, transport):
    stream, far, kernel = transport()
    connecting, sock = transport.connect()
    stream.on_recv += lambda stream, view: stream.send_owned(view)
    kernel.stall()
    stream.send(b"never sent twice ")
    child = os.fork()
    if not child:
        status = 1
        try:
            loop.close()
            status = 0 if kernel.closed else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    kernel.unstall()
    far.send(b"echo")
    assert far.read(21) == b"never sent twice echo"
    transport.peer(sock)
    until(loop, lambda: connecting.link == UP)
