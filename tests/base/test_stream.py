"""Stream: transport errors, exceptions in slots, half-close, and its being a handle. Reading and sending: their own files."""
import errno
import socket

import pytest

import icey
from icey.tools.testing import AGAIN, END, INTERRUPTED, STALL, ScriptedSocket
from tests.support import streams
from tests.support.streams import collect, names, turn, verbs, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
pair = streams.tcp_ends


def make(loop, reads=(), writes=(), **options):
    sock = ScriptedSocket(reads, writes, **options)
    return icey.Stream(loop, sock), sock


def fail(*args):
    raise ValueError("from a slot")


def test_a_stream_makes_its_socket_nonblocking(loop):
    stream, sock = make(loop)
    assert sock.calls == [("setblocking", False)]


def test_a_stream_has_the_limits_of_the_table(loop):
    stream, _ = make(loop)
    limits = icey.Limits()
    assert (stream.high_water, stream.low_water) == (limits.high_water, limits.low_water)
    assert (stream.max_queue, stream.close_timeout) == (limits.max_queue, limits.close_timeout)
    assert stream.queued == 0


def test_a_stream_on_a_closed_loop_is_refused(loop):
    loop.close()
    sock = ScriptedSocket()
    with pytest.raises(icey.StateError):
        icey.Stream(loop, sock)
    sock.close()


# Transport errors: `handle.on_error`, then `on_close`.

@pytest.mark.parametrize("failure, code", [
    (ConnectionResetError, errno.ECONNRESET), (ConnectionAbortedError, errno.ECONNABORTED),
    (TimeoutError, errno.ETIMEDOUT), (OSError(errno.EHOSTUNREACH, "no route"), errno.EHOSTUNREACH)])
def test_a_transport_error_while_reading_is_on_error_then_on_close(loop, failure, code):
    stream, sock = make(loop, [b"some", failure])
    seen = watch(stream, "recv", "end", "error", "close")
    loop.run()
    assert names(seen) == ["recv", "error", "close"]
    assert seen[1][1].errno == code
    assert sock.closed


@pytest.mark.parametrize("failure", [BrokenPipeError, ConnectionResetError])
def test_a_transport_error_in_send_is_on_error_then_on_close_from_the_loop(loop, failure):
    stream, sock = make(loop, [], [failure])
    seen = watch(stream, "recv", "drain", "error", "close")
    done = []
    assert stream.send(b"lost", lambda: done.append(1)) is False
    assert seen == []
    loop.run()
    assert names(seen) == ["error", "close"]
    assert type(seen[0][1]) is failure
    assert (done, sock.closed) == ([], True)


@pytest.mark.parametrize("failure", [BrokenPipeError, ConnectionResetError])
def test_a_transport_error_while_flushing_is_on_error_then_on_close(loop, failure):
    stream, sock = make(loop, [], [3, AGAIN, 1, 1, failure])
    seen = watch(stream, "drain", "error", "close")
    done = []
    stream.send(b"abcd", lambda: done.append("first"))
    stream.send(b"efgh", lambda: done.append("second"))
    loop.run()
    assert names(seen) == ["error", "close"]
    assert sock.sent == b"abcde"
    assert done == ["first"]


def test_a_transport_error_that_nobody_listens_to_closes_all_the_same(loop):
    stream, sock = make(loop, [ConnectionResetError])
    stream.resume()
    loop.run()
    assert (stream.closed, sock.closed) == (True, True)


def test_two_transport_errors_are_told_once(loop):
    stream, _ = make(loop, [], [BrokenPipeError, BrokenPipeError])
    seen = watch(stream, "error", "close")
    stream.send(b"a")
    stream.send(b"b")
    loop.run()
    assert names(seen) == ["error", "close"]


def test_between_a_transport_error_and_on_close_send_returns_false_and_discards(loop):
    stream, sock = make(loop, [], [BrokenPipeError])
    results, done = [], []
    stream.on_error += lambda stream, exc: results.append(stream.send(b"in on_error", lambda: done.append(1)))
    stream.on_close += lambda stream: results.append("closed")
    stream.send(b"a")
    results.append(stream.send(b"at once"))
    results.append(stream.send_owned(b"at once"))
    # Posted after the stream's own call: it runs between on_error and on_close.
    loop.call_soon(lambda: results.append(stream.send(b"behind on_error")))
    loop.run()
    assert results == [False, False, False, False, "closed"]
    assert (stream.queued, sock.sent, done) == (0, b"", [])


def test_what_came_before_a_transport_error_is_told_before_it(loop):
    stream, sock = make(loop, [b"early", b"too", ConnectionResetError], [BrokenPipeError])
    seen = watch(stream, "recv", "end", "error", "close")
    stream.send(b"a")
    loop.run()
    assert [event[:2] for event in seen[:2]] == [("recv", b"early"), ("recv", b"too")]
    assert names(seen)[2:] == ["error", "close"]


def test_an_end_behind_a_transport_error_is_none(loop):
    stream, sock = make(loop, [b"early", END], [BrokenPipeError])
    seen = watch(stream, "recv", "end", "error", "close")
    stream.send(b"a")
    loop.run()
    assert names(seen) == ["recv", "error", "close"]


@pytest.mark.parametrize("how", ["pause", "abort"])
def test_what_came_before_a_transport_error_is_not_told_to_who_does_not_want_it(loop, how):
    stream, sock = make(loop, [b"early", b"too"], [BrokenPipeError])
    seen = watch(stream, "recv", "error", "close")
    stream.on_recv += lambda stream, view: getattr(stream, how)()
    stream.send(b"a")
    loop.run()
    assert names(seen) == ["recv", "error", "close"] if how == "pause" else ["recv", "close"]


def test_in_on_close_after_an_error_send_is_state_error(loop, reports):
    stream, _ = make(loop, [], [BrokenPipeError])
    stream.on_close += lambda stream: stream.send(b"x")
    stream.send(b"a")
    loop.run()
    reports.take(icey.StateError)


def test_a_stream_closed_between_a_transport_error_and_on_error_tells_both(loop):
    stream, _ = make(loop, [], [BrokenPipeError])
    seen = watch(stream, "error", "close")
    stream.send(b"a")
    stream.close()
    loop.run()
    assert names(seen) == ["error", "close"]


def test_a_loop_closed_before_it_told_an_error_tells_only_on_close(loop):
    stream, _ = make(loop, [], [BrokenPipeError])
    seen = watch(stream, "error", "close")
    stream.send(b"a")
    stream.close()
    loop.close()
    assert names(seen) == ["close"]


# Exceptions in slots

@pytest.mark.parametrize("event, reads", [("recv", [b"x"]), ("end", [END])])
def test_an_exception_in_a_streams_slot_goes_to_on_error_and_closes_that_stream(loop, reports, event, reads):
    stream, sock = make(loop, reads)
    seen = watch(stream, "recv", "close")
    getattr(stream, "on_" + event).attach(fail, priority=-1)
    loop.run()
    assert reports[0][1] is stream
    reports.take(ValueError)
    assert names(seen)[-1] == "close"
    assert sock.closed


def test_an_exception_in_a_slot_lets_queued_writes_drain(loop, reports):
    stream, sock = make(loop, [b"x"], [1, AGAIN])
    stream.send(b"answer")
    stream.on_recv += fail
    loop.run()
    reports.take(ValueError)
    assert sock.sent == b"answer"


def test_an_exception_in_on_drain_closes_the_stream(loop, reports):
    stream, sock = make(loop, [], [1, AGAIN])
    stream.high_water = stream.low_water = 2
    stream.on_drain += fail
    assert stream.send(b"abcd") is False
    loop.run()
    reports.take(ValueError)
    assert (sock.closed, sock.sent) == (True, b"abcd")


def test_an_exception_in_done_closes_the_stream_and_the_other_dones_come(loop, reports):
    stream, sock = make(loop)
    done = []
    stream.send(b"a", fail)
    stream.send(b"b", lambda: done.append("b"))
    loop.run()
    reports.take(ValueError)
    assert (done, stream.closed) == (["b"], True)


def test_an_exception_in_on_error_does_not_keep_the_stream_from_closing(loop, reports):
    stream, sock = make(loop, [], [BrokenPipeError])
    seen = watch(stream, "close")
    stream.on_error += fail
    stream.send(b"a")
    loop.run()
    reports.take(ValueError)
    assert names(seen) == ["close"]


def test_an_exception_in_on_close_is_reported_and_the_other_slots_are_called(loop, reports):
    stream, sock = make(loop)
    stream.on_close += fail
    seen = watch(stream, "close")
    stream.close()
    loop.run()
    reports.take(ValueError)
    assert names(seen) == ["close"]


def test_exceptions_in_slots_never_end_the_loop(loop, reports):
    one, _ = make(loop, [b"x", b"y"])
    other, _ = make(loop, [b"x", b"y", END])
    one.on_recv += fail
    seen = watch(other, "recv", "close")
    loop.run()
    reports.take(ValueError)
    assert names(seen) == ["recv", "recv", "close"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_keyboard_interrupt_and_system_exit_pass_through(loop, kind):
    stream, _ = make(loop, [b"x", b"y"])
    stashed = []

    def slot(stream, view):
        stashed.append(view)
        raise kind

    stream.on_recv += slot
    with pytest.raises(kind):
        loop.run()
    with pytest.raises(ValueError):
        bytes(stashed[0])  # revoked all the same
    assert not stream.closing
    stream.on_recv -= slot
    seen = watch(stream, "recv")
    turn(loop)
    assert seen == [("recv", b"y")]


# End of input and half-close

def test_end_of_input_with_no_on_end_slot_closes_the_stream_once_its_writes_drained(loop):
    stream, sock = make(loop, [b"ask", END], [2, AGAIN, 1, AGAIN])
    seen = watch(stream, "recv", "close")
    stream.on_recv += lambda stream, view: stream.send_owned(b"answer")
    loop.run()
    assert names(seen) == ["recv", "close"]
    assert sock.sent == b"answer"


def test_end_of_input_with_an_on_end_slot_leaves_the_stream_half_open(loop):
    stream, sock = make(loop, [END])
    seen = watch(stream, "recv", "end", "close")
    turn(loop, 3)
    assert seen == [("end",)]
    assert not stream.closing
    assert stream.send(b"still here")
    assert sock.sent == b"still here"
    stream.close()
    loop.run()
    assert names(seen) == ["end", "close"]


def test_end_of_input_comes_once(loop):
    stream, sock = make(loop, [END])
    seen = watch(stream, "recv", "end")
    turn(loop, 5)
    stream.pause()
    stream.resume()
    turn(loop, 5)
    assert names(seen) == ["end"]


def test_shutdown_acts_once_the_queue_is_out(loop):
    stream, sock = make(loop, [], [1, AGAIN, AGAIN])
    stream.send(b"abc")
    stream.shutdown()
    assert "shutdown" not in verbs(sock, "shutdown")
    turn(loop, 5)
    assert sock.sent == b"abc"
    assert sock.calls[-1] == ("shutdown", socket.SHUT_WR)
    assert not stream.closing


def test_shutdown_with_nothing_queued_acts_at_once(loop):
    stream, sock = make(loop)
    stream.shutdown()
    stream.shutdown()
    assert verbs(sock, "shutdown") == ["shutdown"]


@pytest.mark.parametrize("writes", [[], [AGAIN]])
def test_a_send_after_shutdown_is_state_error(loop, writes):
    stream, sock = make(loop, [], writes)
    stream.send(b"a")
    stream.shutdown()
    for send in (stream.send, stream.send_owned):
        with pytest.raises(icey.StateError, match="after shutdown"):
            send(b"b")


def test_receiving_goes_on_after_shutdown(loop):
    stream, sock = make(loop)
    seen = watch(stream, "recv", "end", "close")
    stream.shutdown()
    sock.feed(b"more", END)
    loop.run()
    assert names(seen) == ["recv", "end", "close"]


def test_half_closed_both_ways_the_stream_closes(loop):
    stream, sock = make(loop, [END], [1, AGAIN])
    seen = watch(stream, "recv", "end", "close")
    stream.on_end += lambda stream: (stream.send(b"bye"), stream.shutdown())
    loop.run()
    assert names(seen) == ["end", "close"]
    assert sock.sent == b"bye"


def test_a_shutdown_that_the_kernel_refuses_is_no_error(loop):
    class Gone(ScriptedSocket):
        def shutdown(self, how):
            raise OSError(errno.ENOTCONN, "gone")

    stream = icey.Stream(loop, Gone([END]))
    seen = watch(stream, "recv", "error", "close")
    stream.shutdown()
    loop.run()
    assert names(seen) == ["close"]


def test_a_transport_whose_last_bytes_raise_what_is_no_os_error_ends_all_the_same(loop, reports):
    class Odd(ScriptedSocket):
        def send(self, data):
            raise OSError(errno.ECONNRESET, "reset")

        def recv_into(self, buffer):
            raise KeyError("a fault of the transport")

        def recv(self, size):
            raise KeyError("a fault of the transport")

    stream = icey.Stream(loop, Odd([]))
    seen = watch(stream, "recv", "error", "close")
    stream.send(b"x")
    loop.run()
    assert names(seen) == ["error", "close"]
    reports.take(KeyError)


# A parser of ours, by the sink

class Sink:
    def __init__(self, raising=()):
        self.seen = []
        self.raising = raising

    def __getattr__(self, name):
        def note(*args):
            self.seen.append((name,) + args)
            if name in self.raising:
                raise ValueError(name)
        return note


def test_a_sink_gets_plain_bytes_and_every_event(loop):
    stream, sock = make(loop, [AGAIN, b"ab", INTERRUPTED, b"c", END], [STALL])
    stream.high_water = stream.low_water = 1
    sink = Sink()
    stream.use_protocol(sink)
    stream.send(b"xy")
    turn(loop, 6)
    sock.unstall()
    turn(loop)
    stream.close()
    loop.run()
    assert sink.seen == [("on_bytes", b"ab"), ("on_bytes", b"c"), ("on_end",), ("on_drain",), ("on_close",)]


def test_a_sink_gets_the_transport_error(loop):
    stream, sock = make(loop, [ConnectionResetError])
    sink = Sink()
    stream.use_protocol(sink)
    loop.run()
    assert [event[0] for event in sink.seen] == ["on_error", "on_close"]


@pytest.mark.parametrize("method, reads", [("on_bytes", [b"x"]), ("on_end", [END]), ("on_close", [ConnectionResetError])])
def test_an_exception_in_a_sink_is_reported_and_closes(loop, reports, method, reads):
    stream, sock = make(loop, reads)
    stream.use_protocol(Sink([method]))
    loop.run()
    reports.take(ValueError)
    assert sock.closed


def test_a_sink_that_left_the_out_side_shut_is_closed_at_the_end_of_input(loop):
    stream, sock = make(loop, [END])
    sink = Sink()
    stream.use_protocol(sink)
    stream.shutdown()
    loop.run()
    assert sink.seen == [("on_end",), ("on_close",)]


# What is cut looks cut

@pytest.mark.parametrize("how, end", [("close", b""), ("abort", ConnectionResetError), ("slot", ConnectionResetError)])
def test_what_is_given_up_ends_by_a_reset_over_tcp(debug, pair, how, end):
    near, far = pair
    far.settimeout(20)
    far.sendall(b"x")
    with icey.Loop(debug) as loop:
        loop.on_error += lambda loop, exc, handle: None
        stream = icey.Stream(loop, near)
        stream.send(b"half")
        stream.on_recv += fail if how == "slot" else lambda stream, view: getattr(stream, how)()
        loop.run()
    found = b"half"
    try:
        while found:
            found = far.recv(100)
    except ConnectionResetError as exc:
        found = type(exc)
    assert found == end


# Collected unclosed

def test_a_stream_collected_unclosed_warns_in_release_too(debug):
    loop = icey.Loop(debug)
    stream, sock = make(loop)
    with pytest.warns(ResourceWarning) as caught:
        loop.active.discard(stream)  # what holds an open stream is its loop
        del stream
        collect()
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "<Stream open> was collected without close()" in text
    assert (__file__ in text) is debug
    assert sock.closed
    loop.refs = 0
    loop.close()


# a transport of a user's own may raise what it likes

@pytest.mark.parametrize("call", ["recv_into", "send"])
def test_what_a_transport_raises_that_is_no_OSError_ends_the_stream_once(loop, reports, monkeypatch, call):
    stream, sock = make(loop, [b"data"], [STALL])
    seen = watch(stream, "error", "close")
    stream.send(b"data")
    monkeypatch.setattr(sock, call, fail)
    if call == "send":
        sock.unstall()
    else:
        stream.on_recv += print
    turn(loop, 5)
    assert names(seen) == ["close"] and len(reports) == 1
    reports.take(ValueError)
