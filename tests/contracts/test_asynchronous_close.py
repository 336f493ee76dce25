"""Contract 6, close is asynchronous: what is queued drains, on_close comes once, from the loop, never inside the call.

What is said of a stream is said of it on every transport (see tests/support/transports.py).
"""
import pytest

import icey
from icey.tools.testing import AGAIN, ScriptedSocket
from tests.support import streams, transports
from tests.support.streams import PYPY, collect, names, turn, watch
from tests.support.transports import until, wait

debug, clock, reports = streams.debug, streams.clock, streams.reports
loop, transport = transports.loop, transports.transport


# Handles of every kind: those of a loop alone, and on each transport a connected stream and a socket that never connected

OF_A_LOOP = {
    "stream": lambda loop: icey.Stream(loop, ScriptedSocket()),
    "listener": lambda loop: icey.TCPListener(loop, ("127.0.0.1", 0)),
    "timer": lambda loop: icey.Timer(loop, 5.0),
    "started timer": lambda loop: icey.Timer(loop, 5.0).start(),
    "idler": lambda loop: icey.Idler(loop, id),
    "synchronizer": lambda loop: icey.Synchronizer(loop, int),
}


@pytest.fixture(params=[*OF_A_LOOP, *transports.EACH])
def handle(request, loop, tmp_path_factory):
    if request.param in OF_A_LOOP:
        yield OF_A_LOOP[request.param](loop)
    else:
        transport = transports.of(request.param, loop, tmp_path_factory)
        yield transport().stream
        transport.close()


each_end = pytest.mark.parametrize("end", ["close", "abort"])


# on_close: once, from the loop, never inside the call

def closes_once(loop, handle, end):
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


@each_end
def test_on_close_comes_once_from_the_loop_never_inside_close(loop, handle, end):
    closes_once(loop, handle, end)


@each_end
def test_closing_is_true_from_close_on_and_stays_true_once_closed(loop, handle, end):
    assert (handle.closing, handle.closed) == (False, False)
    getattr(handle, end)()
    assert (handle.closing, handle.closed) == (True, False)
    states = []
    handle.on_close += lambda handle: states.append((handle.closing, handle.closed))
    loop.run()
    assert states == [(True, True)]
    assert (handle.closing, handle.closed) == (True, True)


def test_a_with_block_requests_close_at_its_end(loop, handle):
    with handle as inside:
        assert inside is handle and not handle.closing
    assert (handle.closing, handle.closed) == (True, False)
    loop.run()
    assert handle.closed


@pytest.mark.skipif(PYPY, reason="collects by reference counts")
def test_the_loop_keeps_an_open_stream_alive_until_its_on_close(loop, transport):
    seen = []
    stream, far, kernel = transport()
    stream.on_recv += lambda stream, view: seen.append("recv")
    stream.on_close += lambda stream: seen.append("close")
    del stream
    collect()
    far.send(b"x")
    until(loop, lambda: seen)
    far.half_close()
    loop.run()
    assert seen == ["recv", "close"]
    collect()
    assert kernel.closed


@each_end
def test_on_close_comes_also_for_a_socket_that_never_connected(loop, transport, end):
    sock = transport.socket()
    seen = watch(sock, "connect", "error")
    closes_once(loop, sock, end)
    assert seen == []


@each_end
@pytest.mark.parametrize("turns", [0, 1, 3])
def test_a_socket_that_connects_may_be_closed_and_then_never_has_connected(loop, transport, end, turns):
    sock, _ = transport.connect()
    seen = watch(sock, "connect", "error")
    turn(loop, turns)
    del seen[:]  # TCP alone is quick
    closes_once(loop, sock, end)
    assert seen == [] and loop.handles == ()


# close() drains

def test_close_drains_what_is_queued(loop, transport):
    stream, far, kernel = transport()
    done = []
    seen = watch(stream, "drain", "error", "close")
    kernel.stall()
    stream.send(b"hello", lambda: done.append(len(seen)))
    stream.close()
    for size in (1, 1, 2):
        kernel.allow(size)
        turn(loop, 2)
        assert (done, seen) == ([], [])
    kernel.unstall()
    assert far.read_all() == b"hello"
    far.close()
    loop.run()
    assert names(seen) == ["close"]
    assert done == [0]  # before on_close


def test_close_drains_megabytes_to_a_peer_that_reads(loop, transport):
    stream, far, kernel = transport()
    stream.max_queue = None
    data = bytes(range(256)) * 8192
    stream.send(data)
    stream.close()
    assert far.read_all() == data
    far.close()
    loop.run()
    assert kernel.closed


# The word for word script of a kernel's answers: a scripted socket, which is Stream's alone
def test_close_drains_however_the_kernel_takes_it(loop):
    sock = ScriptedSocket([], [1, AGAIN, 1, 0, AGAIN])
    stream = icey.Stream(loop, sock)
    stream.send(b"hello")
    stream.close()
    loop.run()
    assert sock.sent == b"hello"


def test_abort_waits_for_nothing(loop, transport):
    stream, _, kernel = transport()
    seen = watch(stream, "drain", "error", "close")
    kernel.stall()
    stream.send(b"hello", lambda: seen.append(("done",)))
    stream.abort()
    loop.run()
    assert (kernel.taken, names(seen), kernel.closed) == (0, ["close"], True)


def test_abort_ends_a_close_that_drains(loop, transport):
    stream, _, kernel = transport()
    kernel.stall()
    stream.send(b"hello")
    stream.close()
    turn(loop)
    stream.abort()
    turn(loop, 2)
    assert (stream.closed, kernel.closed, kernel.taken) == (True, True, 0)


def test_a_close_after_shutdown_drains_too(loop, transport):
    stream, far, kernel = transport()
    kernel.allow(1)
    stream.send(b"hello")
    stream.shutdown()
    stream.close()
    turn(loop, 3)
    kernel.unstall()
    assert far.read_all() == b"hello"
    far.close()
    loop.run()
    assert stream.closed


def test_close_drains_within_a_deadline(loop, clock, transport):
    stream, _, kernel = transport()
    seen = watch(stream, "error", "close")
    kernel.stall()
    stream.send(b"hello")
    started = clock()
    stream.close()
    loop.run()
    assert clock() - started == pytest.approx(stream.close_timeout)
    assert names(seen) == ["error", "close"]
    assert type(seen[0][1]) is icey.Deadline
    said = str(seen[0][1]).split()
    assert said[0] == "close:" and int(said[1]) >= 5  # encrypted it is more
    assert " ".join(said[2:]) == "bytes not taken by the peer within 5 s"
    assert kernel.closed


@pytest.mark.parametrize("size", [5, 300000])
def test_the_deadline_restarts_whenever_the_kernel_takes_bytes(loop, clock, transport, size):
    stream, _, kernel = transport()
    kernel.stall()
    stream.send(bytes(size))
    stream.close()
    started = clock()
    for taken in range(1, 5):  # a byte every 4 seconds: 16 in all, each within the 5
        clock.advance(4.0)
        kernel.allow(1)
        turn(loop, 2)
        assert kernel.taken == taken and not stream.closed
    loop.run()
    assert clock() - started == pytest.approx(4 * 4.0 + 5.0)


def test_the_deadline_counts_from_close_not_from_the_last_send(loop, clock, transport):
    stream, _, kernel = transport()
    kernel.stall()
    stream.send(b"hello")
    clock.advance(60.0)
    turn(loop)
    stream.close()
    started = clock()
    loop.run()
    assert clock() - started == pytest.approx(5.0)


def test_a_stream_may_have_another_deadline(loop, clock, transport):
    stream, _, kernel = transport()
    stream.close_timeout = 60.0
    kernel.stall()
    stream.send(b"hello")
    stream.close()
    started = clock()
    loop.run()
    assert clock() - started == pytest.approx(60.0)


def test_a_deadline_of_none_waits_for_ever(loop, clock, transport):
    stream, far, kernel = transport()
    stream.close_timeout = None
    kernel.stall()
    stream.send(b"hello")
    stream.close()
    loop.call_later(86400.0, kernel.unstall)
    wait(loop, clock, 86400.0)
    assert far.read_all() == b"hello"
    far.close()
    loop.run()
    assert stream.closed


def test_a_drained_close_leaves_no_timer(loop, clock, transport):
    stream, far, kernel = transport()
    kernel.stall()
    stream.send(b"hello")
    stream.close()
    kernel.unstall()
    started = clock()
    assert far.read_all() == b"hello"
    far.close()
    until(loop, lambda: stream.closed)
    assert clock() == started and loop.handles == () and loop.timeout() is None


def test_a_transport_error_while_closing_ends_the_close(loop, transport):
    stream, _, kernel = transport()
    seen = watch(stream, "error", "close")
    kernel.allow(1)
    stream.send(b"hello")
    stream.close()
    turn(loop, 2)
    kernel.fail(ConnectionResetError)
    loop.run()
    assert names(seen) == ["error", "close"]
    assert type(seen[0][1]) is ConnectionResetError


# After close

def test_after_close_nothing_is_delivered(loop, transport):
    stream, far, kernel = transport()
    stream.high_water = stream.low_water = 2
    seen = watch(stream, "recv", "end", "drain")
    kernel.stall()
    assert stream.send(b"hello") is False
    stream.close()
    far.send(b"x")
    turn(loop, 3)
    kernel.unstall()
    assert far.read(5) == b"hello"
    loop.run()
    assert seen == [] and stream.closed


def test_what_the_peer_sent_before_the_close_is_not_delivered_after_it(loop, transport):
    stream, far, _ = transport()
    far.send(b"x")
    far.half_close()
    seen = watch(stream, "recv", "end", "drain", "error")
    stream.close()
    loop.run()
    assert seen == [] and stream.closed


def test_closed_in_a_slot_the_slots_behind_it_hear_nothing(loop, transport):
    stream, far, _ = transport()
    seen = []
    stream.on_recv += lambda stream, view: stream.close()
    stream.on_recv += lambda stream, view: seen.append("recv")
    far.send(b"x")
    loop.run()
    assert seen == [] and stream.closed


def no_ops(handle):
    handle.close()
    handle.abort()
    handle.unref()
    handle.ref()
    assert handle.on_close.detach(print) is False


def test_after_close_close_abort_stop_pause_resume_detach_and_unref_are_no_ops(loop):
    listener, timers = icey.TCPListener(loop, ("127.0.0.1", 0)), [icey.Timer(loop, 1.0).start(), icey.Idler(loop, id).start()]

    def later_calls():
        for handle in [listener, *timers]:
            no_ops(handle)
        listener.pause()
        listener.resume()
        for timer in timers:
            timer.stop()

    for handle in [listener, *timers]:
        handle.close()
    later_calls()
    loop.run()
    later_calls()
    assert not loop.run_once(0)
    assert loop.handles == ()


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "never"])
def test_after_close_the_calls_of_a_stream_are_no_ops_too(loop, transport, connected):
    stream = transport().stream if connected else transport.socket()

    def later_calls():
        no_ops(stream)
        stream.pause()
        stream.resume()
        if connected:
            stream.shutdown()
            if hasattr(stream, "set_no_delay"):
                stream.set_no_delay()

    stream.close()
    later_calls()
    loop.run()
    later_calls()
    assert not loop.run_once(0)
    assert loop.handles == ()


def refused(calls, when):
    for call in calls:
        with pytest.raises(icey.StateError, match="that is %s" % when):
            call()


@pytest.mark.parametrize("when", ["closing", "closed"])
def test_after_close_start_is_state_error(loop, when):
    timer, idler = icey.Timer(loop, 1.0), icey.Idler(loop, id)
    timer.close()
    idler.close()
    if when == "closed":
        loop.run()
    refused([timer.start, timer.again, idler.start], when)


@pytest.mark.parametrize("when", ["closing", "closed"])
def test_after_close_send_and_connect_are_state_error(loop, transport, when):
    stream, _, kernel = transport()
    connecting = transport.socket()
    stream.close()
    connecting.close()
    if when == "closed":
        loop.run()
    taken = kernel.taken
    refused([lambda: stream.send(b"x"), lambda: stream.send_owned(b"x"), lambda: connecting.connect("127.0.0.1", 1),
             lambda: connecting.send(b"x"), lambda: icey.Adapter().use(stream)], when)
    assert kernel.taken == taken


def test_send_and_start_are_state_error_in_on_close_too(loop, reports, transport):
    stream, _, _ = transport()
    timer = icey.Timer(loop, 1.0)
    stream.on_close += lambda stream: stream.send(b"x")
    timer.on_close += lambda timer: timer.start()
    stream.close()
    timer.close()
    loop.run()
    reports.take(icey.StateError, icey.StateError)


def test_a_file_given_after_close_is_closed(loop, tmp_path, transport):
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    stream, _, _ = transport()
    stream.close()
    file = open(path, "rb")
    with pytest.raises(icey.StateError):
        stream.write_file(file, 0, 5)
    assert file.closed


# loop.close()

def test_loop_close_aborts_what_is_open_and_emits_each_on_close(loop, debug, transport):
    stream, _, kernel = transport()
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))
    timer = icey.Timer(loop, 5.0).start()
    seen = []
    for handle in (stream, listener, timer):
        handle.on_close += lambda handle: seen.append(type(handle).__name__)
    kernel.stall()
    stream.send(b"never sent")
    if debug:
        with pytest.warns(ResourceWarning, match="found still open") as caught:
            loop.close()
        assert len(caught) == 1
        text = str(caught[0].message)
        assert "TCPListener 127.0.0.1:" in text and "Timer" not in text
        assert text.count(transport.name) == 1 and text.count("Socket") <= 1, "a TLSSocket, and not its carrier"
        assert text.count("made at") == 2 and __file__ in text and "transports.py" in text
    else:
        loop.close()
    assert sorted(seen) == sorted(["TCPListener", "Timer", transport.name])
    assert (kernel.closed, kernel.taken) == (True, 0)
    assert listener.sock.fileno() == -1


def test_loop_close_ends_a_close_that_drains_without_a_warning(loop, transport):
    stream, _, kernel = transport()
    seen = watch(stream, "error", "close")
    kernel.stall()
    stream.send(b"never sent")
    stream.close()
    turn(loop)
    loop.close()
    assert (names(seen), kernel.closed, kernel.taken) == (["close"], True, 0)


@pytest.mark.parametrize("queued", [False, True])
def test_a_close_inside_loop_close_waits_for_nothing(loop, debug, transport, queued):
    class Owner(icey.Handle):
        def __init__(self, stream):
            super().__init__(stream.loop)
            self._stream = stream
            self.activate()

        def abort(self):
            self._stream.close()
            super().abort()

    links = [transport() for _ in range(4)]  # of some the owner comes first
    seen = [watch(link.stream, "error", "close") for link in links]
    owners = [Owner(link.stream) for link in links]
    for link in links:
        if queued:
            link.kernel.stall()
            link.stream.send(b"never sent")
    if debug:
        with pytest.warns(ResourceWarning):
            loop.close()
    else:
        loop.close()
    assert seen == [[("close",)]] * 4
    assert all(link.kernel.closed for link in links) and all(owner.closed for owner in owners)


def test_loop_close_while_it_connects(loop, debug, transport):
    sock, _ = transport.connect()
    seen = watch(sock, "connect", "error", "close")
    if debug:
        with pytest.warns(ResourceWarning, match=transport.name):
            loop.close()
    else:
        loop.close()
    assert names(seen) == ["close"]


def test_an_interrupt_of_loop_close_leaves_no_descriptor_behind(loop, transport):
    links = transport(), transport(), transport()
    links[0].kernel.stall()
    links[0].stream.send(b"never sent")

    def interrupts(stream):
        raise KeyboardInterrupt

    for stream, _, _ in links:
        stream.on_close += interrupts
    with pytest.raises(KeyboardInterrupt):
        loop.close()
    assert [kernel.closed for _, _, kernel in links] == [True] * 3


def test_after_loop_close_send_is_state_error(loop, transport):
    stream, _, _ = transport()
    stream.close()
    loop.close()
    assert stream.closed
    with pytest.raises(icey.StateError):
        stream.send(b"x")
    stream.close()


def test_a_stream_closed_before_the_loop_is_not_warned_of(loop, transport):
    stream, _, kernel = transport()
    seen = watch(stream, "close")
    stream.close()
    loop.close()
    assert (names(seen), kernel.closed) == (["close"], True)
