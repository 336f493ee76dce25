"""Contract 6, close is asynchronous: what is queued drains, on_close comes once, from the loop, never inside the call."""
import pytest

import icey
from icey.tools.testing import AGAIN, END, STALL, ScriptedSocket
from tests.support import streams
from tests.support.streams import PYPY, collect, names, turn, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop


def make(loop, reads=(), writes=()):
    sock = ScriptedSocket(reads, writes)
    return icey.Stream(loop, sock), sock


KINDS = {
    "stream": lambda loop: make(loop)[0],
    "socket that never connected": icey.TCPSocket,
    "listener": lambda loop: icey.TCPListener(loop, ("127.0.0.1", 0)),
    "timer": lambda loop: icey.Timer(loop, 5.0),
    "started timer": lambda loop: icey.Timer(loop, 5.0).start(),
    "idler": lambda loop: icey.Idler(loop, id),
    "synchronizer": lambda loop: icey.Synchronizer(loop, int),
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
each_end = pytest.mark.parametrize("end", ["close", "abort"])


# on_close: once, from the loop, never inside the call

@each_kind
@each_end
def test_on_close_comes_once_from_the_loop_never_inside_close(loop, kind, end):
    handle = kind(loop)
    seen = watch(handle, "close")
    getattr(handle, end)()
    getattr(handle, end)()
    assert seen == []
    loop.run()
    assert names(seen) == ["close"]
    handle.close()
    handle.abort()
    turn(loop, 3)
    assert names(seen) == ["close"]


@each_kind
@each_end
def test_closing_is_true_from_close_on_and_stays_true_once_closed(loop, kind, end):
    handle = kind(loop)
    assert (handle.closing, handle.closed) == (False, False)
    getattr(handle, end)()
    assert (handle.closing, handle.closed) == (True, False)
    states = []
    handle.on_close += lambda handle: states.append((handle.closing, handle.closed))
    loop.run()
    assert states == [(True, True)]
    assert (handle.closing, handle.closed) == (True, True)


@each_kind
def test_a_with_block_requests_close_at_its_end(loop, kind):
    with kind(loop) as handle:
        assert not handle.closing
    assert (handle.closing, handle.closed) == (True, False)
    loop.run()
    assert handle.closed


@pytest.mark.skipif(PYPY, reason="collects by reference counts")
def test_the_loop_keeps_an_open_handle_alive_until_its_on_close(loop):
    seen = []
    sock = ScriptedSocket([b"x", END])
    stream = icey.Stream(loop, sock)
    stream.on_recv += lambda stream, view: seen.append("recv")
    stream.on_close += lambda stream: seen.append("close")
    del stream
    collect()
    loop.run()
    assert seen == ["recv", "close"]
    collect()
    assert sock.closed


def test_on_close_comes_also_for_a_socket_that_never_connected(loop):
    sock = icey.TCPSocket(loop)
    seen = watch(sock, "connect", "error", "close")
    sock.close()
    loop.run()
    assert names(seen) == ["close"]


# close() drains

def test_close_drains_what_is_queued(loop):
    stream, sock = make(loop, [], [1, AGAIN, 1, 0, AGAIN])
    done = []
    seen = watch(stream, "drain", "error", "close")
    stream.send(b"hello", lambda: done.append(len(seen)))
    stream.close()
    loop.run()
    assert sock.sent == b"hello"
    assert names(seen) == ["close"]
    assert done == [0]  # before on_close


def test_abort_waits_for_nothing(loop):
    stream, sock = make(loop, [], [STALL])
    seen = watch(stream, "error", "close")
    stream.send(b"hello")
    stream.abort()
    loop.run()
    assert (sock.sent, names(seen), sock.closed) == (b"", ["close"], True)


def test_abort_ends_a_close_that_drains(loop):
    stream, sock = make(loop, [], [STALL])
    stream.send(b"hello")
    stream.close()
    turn(loop)
    stream.abort()
    turn(loop)
    assert (stream.closed, sock.closed) == (True, True)


def test_a_close_after_shutdown_drains_too(loop):
    stream, sock = make(loop, [], [1, AGAIN])
    stream.send(b"hello")
    stream.shutdown()
    stream.close()
    loop.run()
    assert sock.sent == b"hello"


def test_close_drains_within_a_deadline(loop, clock):
    stream, sock = make(loop, [], [STALL])
    seen = watch(stream, "error", "close")
    stream.send(b"hello")
    started = clock()
    stream.close()
    loop.run()
    assert clock() - started == pytest.approx(stream.close_timeout)
    assert names(seen) == ["error", "close"]
    assert type(seen[0][1]) is icey.Deadline
    assert "5 bytes not taken by the peer within 5 s" in str(seen[0][1])
    assert sock.closed


def test_the_deadline_restarts_whenever_the_kernel_takes_bytes(loop, clock):
    stream, sock = make(loop, [], [STALL])
    stream.send(b"hello")
    stream.close()
    started = clock()
    for _ in range(4):  # a byte every 4 seconds: 16 in all, each within the 5
        clock.advance(4.0)
        sock.allow(1, STALL)
        sock.unstall()
        turn(loop, 2)
        assert not stream.closed
    assert sock.sent == b"hell"
    loop.run()
    assert clock() - started == pytest.approx(4 * 4.0 + 5.0)


def test_the_deadline_counts_from_close_not_from_the_last_send(loop, clock):
    stream, sock = make(loop, [], [STALL])
    stream.send(b"hello")
    clock.advance(60.0)
    turn(loop)
    stream.close()
    started = clock()
    loop.run()
    assert clock() - started == pytest.approx(5.0)


def test_a_stream_may_have_another_deadline(loop, clock):
    stream, sock = make(loop, [], [STALL])
    stream.close_timeout = 60.0
    stream.send(b"hello")
    stream.close()
    started = clock()
    loop.run()
    assert clock() - started == pytest.approx(60.0)


def test_a_deadline_of_none_waits_for_ever(loop, clock):
    stream, sock = make(loop, [], [STALL])
    stream.close_timeout = None
    stream.send(b"hello")
    stream.close()
    loop.call_later(86400.0, sock.unstall)
    loop.run()
    assert sock.sent == b"hello"


def test_a_drained_close_leaves_no_timer(loop, clock):
    stream, sock = make(loop, [], [AGAIN])
    stream.send(b"hello")
    stream.close()
    started = clock()
    loop.run()
    assert clock() == started


def test_a_transport_error_while_closing_ends_the_close(loop):
    stream, sock = make(loop, [], [1, AGAIN, ConnectionResetError])
    seen = watch(stream, "error", "close")
    stream.send(b"hello")
    stream.close()
    loop.run()
    assert names(seen) == ["error", "close"]


# After close

def test_after_close_nothing_is_delivered(loop):
    stream, sock = make(loop, [b"x"], [1, AGAIN, 1, AGAIN])
    stream.high_water = stream.low_water = 2
    seen = watch(stream, "recv", "end", "drain")
    assert stream.send(b"hello") is False
    stream.close()
    sock.feed(END)
    loop.run()
    assert (seen, sock.sent) == ([], b"hello")


def test_closed_in_a_slot_the_slots_behind_it_hear_nothing(loop):
    stream, sock = make(loop, [b"x"])
    seen = []
    stream.on_recv += lambda stream, view: stream.close()
    stream.on_recv += lambda stream, view: seen.append("recv")
    loop.run()
    assert seen == []


def test_after_close_close_abort_stop_pause_resume_detach_and_unref_are_no_ops(loop):
    slot = print
    handles = [icey.TCPListener(loop, ("127.0.0.1", 0)), make(loop)[0], icey.TCPSocket(loop)]
    timers = [icey.Timer(loop, 1.0).start(), icey.Idler(loop, id).start()]
    for handle in handles + timers:
        handle.on_close.attach(slot)
        handle.on_close.detach(slot)

    def later_calls():
        for handle in handles + timers:
            handle.close()
            handle.abort()
            handle.unref()
            handle.ref()
            assert handle.on_close.detach(slot) is False
        for handle in handles:
            handle.pause()
            handle.resume()
        for timer in timers:
            timer.stop()
        handles[1].shutdown()
        handles[2].set_no_delay() if handles[2].sock is not None else None

    for handle in handles + timers:
        handle.close()
    later_calls()
    loop.run()
    later_calls()
    assert not loop.run_once(0)
    assert loop.handles == ()


@pytest.mark.parametrize("when", ["closing", "closed"])
def test_after_close_send_and_start_are_state_error(loop, when):
    stream, _ = make(loop)
    timer, idler = icey.Timer(loop, 1.0), icey.Idler(loop, id)
    connecting = icey.TCPSocket(loop)
    for handle in (stream, timer, idler, connecting):
        handle.close()
    if when == "closed":
        loop.run()
    for call in (lambda: stream.send(b"x"), lambda: stream.send_owned(b"x"), timer.start, timer.again, idler.start,
                 lambda: connecting.connect("127.0.0.1", 1), lambda: connecting.send(b"x"),
                 lambda: icey.Adapter().use(stream)):
        with pytest.raises(icey.StateError, match="that is %s" % when):
            call()


def test_send_and_start_are_state_error_in_on_close_too(loop, reports):
    stream, _ = make(loop)
    timer = icey.Timer(loop, 1.0)
    stream.on_close += lambda stream: stream.send(b"x")
    timer.on_close += lambda timer: timer.start()
    stream.close()
    timer.close()
    loop.run()
    reports.take(icey.StateError, icey.StateError)


def test_a_file_given_after_close_is_closed(loop, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    stream, _ = make(loop)
    stream.close()
    file = open(path, "rb")
    with pytest.raises(icey.StateError):
        stream._send_file(file, 0, 5)
    assert file.closed


# loop.close()

def test_loop_close_aborts_what_is_open_and_emits_each_on_close(loop, debug):
    stream, sock = make(loop, [], [STALL])
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))
    timer = icey.Timer(loop, 5.0).start()
    seen = []
    for handle in (stream, listener, timer):
        handle.on_close += lambda handle: seen.append(type(handle).__name__)
    stream.send(b"never sent")
    if debug:
        with pytest.warns(ResourceWarning, match="found still open") as caught:
            loop.close()
        assert len(caught) == 1
        text = str(caught[0].message)
        assert "Stream" in text and "TCPListener 127.0.0.1:" in text and "Timer" not in text
        assert __file__ in text
    else:
        loop.close()
    assert sorted(seen) == ["Stream", "TCPListener", "Timer"]
    assert (sock.closed, sock.sent) == (True, b"")
    assert listener.sock.fileno() == -1


def test_after_loop_close_send_is_state_error(loop):
    stream, _ = make(loop)
    stream.close()
    loop.close()
    assert stream.closed
    with pytest.raises(icey.StateError):
        stream.send(b"x")
    stream.close()


def test_a_handle_closed_before_the_loop_is_not_warned_of(loop):
    stream, sock = make(loop)
    seen = watch(stream, "close")
    stream.close()
    loop.close()
    assert (names(seen), sock.closed) == (["close"], True)
