"""The contracts as they hold for datagrams: what is said of streams in the tests beside this one, said of a UDPSocket.

Where it differs: a datagram socket lives on after what would close a stream: a slot that raises, a BorrowError, an error of
the network. What concerns one datagram costs that datagram, and is told.
"""
import gc
import inspect
import socket
import struct
import sys
import warnings

import pytest

import icey
from icey import UDPSocket
from icey.base.signal import Event
from icey.tools.testing import AGAIN, STALL, virtual_loop
from tests.support import extension, streams
from tests.support.datagrams import OTHER, PEER, TAKE, bound, failed, received, scripted, sent
from tests.support.loops import in_thread
from tests.support.streams import PYPY, collect, finish, names, turn, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
exports = streams.exports

tells = pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")


# 1. loop affinity

GUARDED = {
    "bind": (("127.0.0.1", 0),), "connect": (("127.0.0.1", 9),), "send": (b"x", ("127.0.0.1", 9)),
    "send_owned": (b"x", ("127.0.0.1", 9)), "join_group": ("239.1.2.3",), "leave_group": ("239.1.2.3",), "set_multicast": (),
    "set_broadcast": (), "pause": (), "resume": (), "close": (), "abort": (), "ref": (), "unref": (),
    "__exit__": (None, None, None),
}
EVENTS = [name for name in dir(UDPSocket) if isinstance(inspect.getattr_static(UDPSocket, name), Event)]


def test_every_public_method_is_in_the_table():
    methods = {name for name in dir(UDPSocket) if name[0] != "_" and inspect.isfunction(getattr(UDPSocket, name))}
    assert methods - extension.of(UDPSocket) == {name for name in GUARDED if name[0] != "_"}
    assert EVENTS == ["on_close", "on_drain", "on_error", "on_recv"]


@pytest.mark.parametrize("name", GUARDED)
def test_every_entry_is_AffinityError_from_another_thread(loop, name):
    turn(loop)
    for udp in (UDPSocket(loop), bound(loop)):
        with pytest.raises(icey.AffinityError, match="^UDPSocket was touched from thread"):
            in_thread(getattr(udp, name), *GUARDED[name])
        assert not udp.closing


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("verb", ["attach", "detach", "detach_all"])
def test_signals_included(loop, name, verb):
    udp = UDPSocket(loop)
    turn(loop)
    signal = getattr(udp, name)
    signal.attach(print)
    with pytest.raises(icey.AffinityError):
        in_thread(getattr(signal, verb), *(() if verb == "detach_all" else (print,)))
    assert len(signal) == 1


def test_none_is_made_on_a_loop_of_another_thread(loop):
    turn(loop)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for arguments in ((), (sock,)):
            with pytest.raises(icey.AffinityError, match="^Loop was touched"):
                in_thread(UDPSocket, loop, *arguments)
        assert sock.fileno() >= 0 and loop.handles == ()


# 2. signals

def test_a_slot_is_not_assigned_and_a_slot_that_closes_silences_the_others(loop):
    udp, _ = scripted(loop, [(b"x", PEER), (b"y", PEER)])
    with pytest.raises(TypeError, match="on_recv is a signal"):
        udp.on_recv = print
    udp.on_recv += lambda sock, view, address: sock.close()
    came = received(udp)
    loop.run()
    assert came == []


# 3. receive buffers are borrowed

def test_a_stashed_view_raises_at_once(loop):
    udp, _ = scripted(loop, [(b"hello", PEER)])
    stashed = []
    udp.on_recv += lambda sock, view, address: stashed.append(view)
    turn(loop)
    for use in (bytes, len, lambda view: view[0], lambda view: view[:2], memoryview):
        with pytest.raises(ValueError, match="released"):
            use(stashed[0])


def test_copies_outlive_the_slot_and_slices_may_die_with_it(loop):
    udp, _ = scripted(loop, [(b"hello", PEER)])
    kept = []

    def slot(sock, view, address):
        head, signed = view[:2], view.cast("b")
        kept.extend([bytes(head), signed[0], view.tobytes(), bytearray(view[1:])])

    udp.on_recv += slot
    turn(loop)
    assert kept == [b"he", 104, b"hello", b"ello"]


def test_the_view_is_read_only_and_may_be_released_by_the_slot(loop):
    udp, _ = scripted(loop, [(b"hello", PEER)] * 2)
    seen = []

    def slot(sock, view, address):
        with view:
            with pytest.raises(TypeError):
                view[0] = 1
        seen.append(1)

    udp.on_recv += slot
    turn(loop, 2)
    assert seen == [1, 1]


@pytest.mark.parametrize("data", [b"hello", b""])
def test_the_view_is_revoked_after_the_last_of_several_slots_and_when_one_raises(loop, reports, data):
    udp, _ = scripted(loop, [(data, PEER)])
    stashed, came = [], []

    def slot(sock, view, address):
        stashed.append(view)
        raise ValueError

    udp.on_recv += slot
    udp.on_recv += lambda sock, view, address: came.append(bytes(view))
    turn(loop)
    reports.take(ValueError)
    assert came == [data]
    with pytest.raises(ValueError, match="released"):
        bytes(stashed[0])


@tells
def test_a_c_level_export_is_a_borrow_error_in_release_too_and_the_socket_lives_on(loop, reports, exports):
    udp, _ = scripted(loop, [(b"hello", PEER), (b"HELLO", PEER)])

    def the_culprit(sock, view, address):
        if not exports:
            exports.append(struct.iter_unpack("B", view))

    came, seen = received(udp), watch(udp, "error", "close")
    udp.on_recv += the_culprit
    turn(loop, 2)
    assert reports[0][1] is udp
    text = str(reports.take(icey.BorrowError)[0])
    line = the_culprit.__code__.co_firstlineno
    assert "outlived its callback" in text and "the_culprit (%s:%d)" % (__file__, line) in text
    assert "Contract: receive buffers are borrowed." in text
    assert [data for data, _ in came] == [b"hello", b"HELLO"] and seen == []
    assert bytes(value for value, in exports[0]) == b"hello"  # what was kept was not written over


KEPT = {
    "slice": lambda view: view[1:3],
    "cast": lambda view: view.cast("b"),
    "another view": memoryview,
    "slice of none": lambda view: view[:0],
}


@tells
@pytest.mark.parametrize("keep", KEPT.values(), ids=KEPT)
def test_debug_finds_what_escaped_and_names_the_slot(reports, keep):
    loop, _ = virtual_loop(True)
    loop.on_error += reports.note
    udp, _ = scripted(loop, [(b"hello", PEER), (b"HELLO", PEER)])
    stashed, seen = [], watch(udp, "error", "close")

    def the_culprit(sock, view, address):
        if not stashed:
            stashed.append(keep(view))

    came = received(udp)
    udp.on_recv += the_culprit
    turn(loop, 2)
    text = str(reports.take(icey.BorrowError)[0])
    assert "the_culprit (%s:%d)" % (__file__, the_culprit.__code__.co_firstlineno) in text
    assert len(came) == 2 and seen == []
    finish(loop)


@pytest.mark.skipif(not PYPY, reason="CPython tells by a failing resize")
def test_on_pypy_debug_poisons_what_escaped():
    loop, _ = virtual_loop(True)
    udp, _ = scripted(loop, [(b"hello", PEER)])
    stashed = []
    udp.on_recv += lambda sock, view, address: stashed.append(view[:3])
    turn(loop)
    finish(loop)
    assert bytes(stashed[0]) == b"\xdd" * 3


@pytest.mark.parametrize("data", [lambda view: view, lambda view: view[1:], lambda view: [b"x", view.cast("b")]])
def test_a_lent_view_given_to_send_is_a_borrow_error_at_once_in_debug(reports, data):
    loop, _ = virtual_loop(True)
    loop.on_error += reports.note
    udp, sock = scripted(loop, [(b"hello", PEER)])

    def slot(udp, view, address):
        with pytest.raises(icey.BorrowError, match=r"send_owned\(view\)"):
            udp.send(data(view), address)

    udp.on_recv += slot
    turn(loop)
    assert sock.taken == []
    finish(loop)


@pytest.mark.parametrize("writes", [[], [STALL], [AGAIN]], ids=["taken", "stalled", "refused"])
def test_a_lent_view_given_to_send_in_release_is_copied_where_the_kernel_did_not_take_it(writes):
    loop, _ = virtual_loop(False)
    udp, sock = scripted(loop, [(b"hello", PEER), (b"HELLO", OTHER)], writes)
    udp.on_recv += lambda udp, view, address: udp.send(view[:], address)
    turn(loop, 2)
    sock.unstall()
    turn(loop)
    assert sock.taken == [(b"hello", PEER), (b"HELLO", OTHER)]
    finish(loop)


def test_a_lent_view_given_to_send_owned_is_fine(loop):
    udp, sock = scripted(loop, [(b"hello", PEER), (b"HELLO", OTHER)], [AGAIN, AGAIN])
    udp.on_recv += lambda udp, view, address: udp.send_owned([view[:2], view[2:]], address)
    turn(loop, 3)
    assert sock.taken == [(b"hello", PEER), (b"HELLO", OTHER)]


@tells
@pytest.mark.parametrize("writes, error", [([failed("EMSGSIZE")] * 2, icey.NetError), ([STALL], icey.QueueFull)])
def test_an_error_of_a_send_keeps_no_view_alive(loop, writes, error):
    udp, _ = scripted(loop, [(b"hello", PEER)] * 2, writes)
    udp.max_queue = 1
    caught = []

    def slot(udp, view, address):
        try:
            udp.send_owned(view, address)
        except error as exc:
            caught.append(exc)  # with its traceback

    udp.on_recv += slot
    turn(loop, 2)
    assert len(caught) == 1  # and no BorrowError was reported


# 4. send() borrows, send_owned() retains

def queued_memory(udp):
    """The objects behind the queued datagrams."""
    return [memoryview(datagram.data).obj for datagram in udp.queue._waiting]


def test_send_queues_a_view_no_copy(loop):
    udp, _ = scripted(loop, (), [STALL])
    data = bytearray(b"hello")
    for given in (data, memoryview(data), [data], [b"", memoryview(data)[1:]]):
        udp.send(given, PEER)
    assert [memory is data for memory in queued_memory(udp)] == [True] * 4


def test_on_drain_gives_back_what_still_waits_too(loop):
    udp, sock = scripted(loop, writes=(STALL, TAKE, STALL))
    udp.high_water, udp.low_water = 6, 4
    lent = [bytearray(b"aa"), memoryview(bytearray(b"bb")), bytearray(b"cc")]
    waiting = []

    def refill(udp):
        waiting.append(udp.queued)
        for data in lent:
            data[:] = b"xx"

    udp.on_drain += refill
    assert [udp.send(data, PEER) for data in lent] == [True, True, False]
    sock.unstall()
    turn(loop, 3)
    assert waiting == [4]
    sock.unstall()
    turn(loop, 3)
    assert sent(sock) == [b"aa", b"bb", b"cc"]


def test_send_owned_keeps_bytes_by_reference_and_copies_anything_mutable_once(loop):
    udp, sock = scripted(loop, (), [STALL])
    data, memory = bytes(100), bytearray(b"hello")
    for given in (data, memory, [memory], [memory, memory]):
        udp.send_owned(given, PEER)
    assert queued_memory(udp)[0] is data
    memory[:] = b"XXXXX"
    sock.unstall()
    turn(loop)
    assert sent(sock) == [data, b"hello", b"hello", b"hellohello"]


@pytest.mark.skipif(PYPY, reason="PyPy lets an exported bytearray be resized")
def test_what_is_lent_to_send_cannot_be_resized_until_done(loop):
    udp, sock = scripted(loop, (), [STALL])
    data = bytearray(b"hello")
    udp.send(data, PEER, done=lambda: data.append(33))
    with pytest.raises(BufferError):
        data.append(1)
    sock.unstall()
    turn(loop, 2)
    assert (sent(sock), data) == ([b"hello"], b"hello!")


@pytest.mark.skipif(PYPY, reason="counts references")
@pytest.mark.parametrize("lost", ["abort", "EMSGSIZE"])
def test_what_is_never_sent_is_let_go_and_done_does_not_come(loop, lost):
    udp, sock = scripted(loop, (), [STALL])
    data = bytearray(b"hello")
    before = sys.getrefcount(data)
    seen = watch(udp, "error", "close")
    udp.send(data, PEER, done=lambda: seen.append(("done",)))
    if lost == "abort":
        udp.abort()
    else:
        sock.allow(failed(lost), failed(lost))
        sock.unstall()
    turn(loop, 2)
    assert names(seen) == ["close" if lost == "abort" else "error"]
    assert sys.getrefcount(data) == before
    data.append(1)


def debugged(reports, *writes):
    loop, _ = virtual_loop(True)
    loop.on_error += reports.note
    udp, sock = scripted(loop, (), writes)
    return loop, udp, sock


def test_debug_finds_a_datagram_changed_in_flight_drops_it_and_goes_on(reports):
    loop, udp, sock = debugged(reports, STALL)
    first, second = bytearray(b"first"), bytearray(b"second")
    seen = watch(udp, "error", "close")

    def the_sender():
        udp.send(first, PEER, done=lambda: seen.append("first"))

    the_sender()
    udp.send(second, OTHER, done=lambda: seen.append("second"))
    first[0] = 0
    sock.unstall()
    turn(loop, 2)
    assert reports[0][1] is udp
    text = str(reports.take(icey.BorrowError)[0])
    assert "%s:%d in the_sender" % (__file__, the_sender.__code__.co_firstlineno + 1) in text
    assert "send_owned" in text and "Contract: send borrows." in text
    assert (sock.taken, seen, udp.queued) == ([(b"second", OTHER)], ["second"], 0)
    assert not udp.closing
    finish(loop)


def test_debug_tells_of_a_changed_datagram_before_the_close_it_ends(reports):
    loop, udp, sock = debugged(reports, STALL)
    data = bytearray(b"hello")
    udp.send(data, PEER)
    udp.on_close += lambda udp: reports.take(icey.BorrowError)
    udp.close()
    data[0] = 0
    sock.unstall()
    loop.run()
    assert (udp.closed, sock.taken) == (True, [])
    loop.close()


def test_debug_lets_through_what_is_unchanged_owned_or_cannot_change(reports):
    loop, udp, sock = debugged(reports, STALL)
    memory, lent = bytearray(b"owned"), bytearray(b"lent")
    udp.send(b"bytes", PEER)
    udp.send_owned(memory, PEER)
    udp.send(lent, PEER)
    udp.send([memory, b"+"], PEER)  # joined: a copy
    udp.send(bytearray(), PEER)
    memory[:] = b"XXXXX"
    assert [type(datagram).__name__ for datagram in udp.queue._waiting] == [
        "Datagram", "Datagram", "LentDatagram", "Datagram", "Datagram"]
    sock.unstall()
    turn(loop)
    assert sent(sock) == [b"bytes", b"owned", b"lent", b"owned+", b""]
    finish(loop)


def test_release_sends_what_the_buffer_holds_by_then():
    loop, _ = virtual_loop(False)
    udp, sock = scripted(loop, (), [STALL])
    data = bytearray(b"hello")
    udp.send(data, PEER)
    data[:] = b"HELLO"  # the violation that debug mode is for
    sock.unstall()
    turn(loop)
    assert sent(sock) == [b"HELLO"]
    finish(loop)


# 5. PacketStream: tests/packets/test_socket_udp.py

# 6. close is asynchronous

KINDS = {
    "not bound": UDPSocket,
    "bound": bound,
    "connected": lambda loop: scripted(loop, peer=PEER)[0],
    "paused": lambda loop: paused(bound(loop)),
    "receiving": lambda loop: receiving(bound(loop)),
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
each_end = pytest.mark.parametrize("end", ["close", "abort"])


def paused(udp):
    udp.pause()
    return udp


def receiving(udp):
    received(udp)
    return udp


@each_kind
@each_end
def test_on_close_comes_once_from_the_loop_never_inside_close(loop, kind, end):
    udp = kind(loop)
    seen = watch(udp, "error", "close")
    assert (udp.closing, udp.closed) == (False, False)
    getattr(udp, end)()
    getattr(udp, end)()
    assert (udp.closing, udp.closed, seen) == (True, False, [])
    loop.run()
    assert (udp.closing, udp.closed, names(seen)) == (True, True, ["close"])
    udp.close()
    udp.abort()
    turn(loop, 3)
    assert names(seen) == ["close"] and loop.handles == ()
    assert udp.sock is None or udp.sock.fileno() == -1


@each_kind
def test_a_with_block_requests_close_at_its_end(loop, kind):
    with kind(loop) as udp:
        assert not udp.closing
    assert (udp.closing, udp.closed) == (True, False)
    loop.run()
    assert udp.closed


@pytest.mark.skipif(PYPY, reason="collects by reference counts")
def test_the_loop_keeps_an_open_socket_alive_until_its_on_close(loop):
    seen = []
    udp, sock = scripted(loop, [(b"x", PEER)])
    udp.on_recv += lambda udp, view, address: udp.close()
    udp.on_close += lambda udp: seen.append("close")
    del udp
    collect()
    loop.run()
    collect()
    assert seen == ["close"] and sock.closed


def test_close_drains_what_is_queued(loop):
    udp, sock = scripted(loop, (), [AGAIN, TAKE, AGAIN, AGAIN])
    done = []
    seen = watch(udp, "drain", "error", "close")
    for number in range(3):
        udp.send(b"%d" % number, PEER, done=lambda: done.append(len(seen)))
    udp.close()
    loop.run()
    assert sent(sock) == [b"0", b"1", b"2"]
    assert (names(seen), done) == (["close"], [0, 0, 0])  # done before on_close


def test_done_and_errors_come_before_on_close_however_near_that_is(loop):
    udp, sock = scripted(loop, (), [TAKE, failed("ENETUNREACH"), failed("ENETUNREACH")])
    seen = watch(udp, "error", "close")
    udp.send(b"x", PEER, done=lambda: seen.append(("done",)))
    udp.send(b"lost", PEER)
    udp.close()
    loop.run()
    assert names(seen) == ["done", "error", "close"]


def test_abort_waits_for_nothing_and_ends_a_close_that_drains(loop):
    for first in ("abort", "close"):
        udp, sock = scripted(loop, (), [STALL])
        seen = watch(udp, "error", "close")
        udp.send(b"hello", PEER)
        getattr(udp, first)()
        turn(loop)
        udp.abort()
        turn(loop)
        assert (sock.taken, names(seen), sock.closed) == ([], ["close"], True)


def test_close_drains_within_a_deadline(loop, clock):
    udp, sock = scripted(loop, (), [STALL])
    seen = watch(udp, "error", "close")
    udp.send(b"hello", PEER)
    started = clock()
    udp.close()
    loop.run()
    assert clock() - started == pytest.approx(udp.close_timeout)
    assert names(seen) == ["error", "close"]
    assert type(seen[0][1]) is icey.Deadline
    assert "5 bytes not taken by the kernel within 5 s" in str(seen[0][1])
    assert sock.closed


def test_the_deadline_restarts_whenever_the_kernel_takes_a_datagram(loop, clock):
    udp, sock = scripted(loop, (), [STALL])
    for number in range(5):
        udp.send(b"%d" % number, PEER)
    clock.advance(60.0)  # it counts from close(), not from the send
    turn(loop)
    udp.close()
    started = clock()
    for count in range(1, 5):  # one every 4 seconds: 16 in all, each within the 5
        clock.advance(4.0)
        sock.allow(TAKE, STALL)
        sock.unstall()
        turn(loop, 2)
        assert len(sock.taken) == count and not udp.closed
    loop.run()
    assert clock() - started == pytest.approx(4 * 4.0 + 5.0)


def test_a_deadline_of_none_waits_for_ever(loop, clock):
    udp, sock = scripted(loop, (), [STALL])
    udp.close_timeout = None
    udp.send(b"hello", PEER)
    udp.close()
    loop.call_later(86400.0, sock.unstall)
    loop.run()
    assert sent(sock) == [b"hello"]


def test_a_drained_close_leaves_no_timer(loop, clock):
    udp, sock = scripted(loop, (), [AGAIN])
    udp.send(b"hello", PEER)
    udp.close()
    started = clock()
    loop.run()
    assert clock() == started and loop.handles == ()


def test_an_error_of_a_queued_datagram_does_not_end_the_close(loop):
    udp, sock = scripted(loop, (), [AGAIN, failed("ENETUNREACH"), failed("ENETUNREACH"), AGAIN])
    seen = watch(udp, "error", "close")
    udp.send(b"lost", PEER)
    udp.send(b"sent", PEER)
    udp.close()
    loop.run()
    assert (sent(sock), names(seen)) == ([b"sent"], ["error", "close"])


def test_after_close_nothing_is_delivered(loop):
    udp, sock = scripted(loop, [(b"x", PEER)], [STALL])
    udp.high_water = udp.low_water = 2
    seen = watch(udp, "drain")
    came = received(udp)
    assert udp.send(b"hello", PEER) is False
    udp.close()
    turn(loop, 2)
    sock.unstall()
    loop.run()
    assert (seen, came, sent(sock)) == ([], [], [b"hello"])


def test_after_close_the_other_calls_are_no_ops(loop):
    udp, sock = scripted(loop, [(b"x", PEER)])
    udp.on_close.attach(print)
    udp.on_close.detach(print)

    def later_calls():
        for call in (udp.close, udp.abort, udp.pause, udp.resume, udp.ref, udp.unref):
            call()
        assert udp.on_recv.detach(print) is False

    udp.close()
    later_calls()
    loop.run()
    later_calls()
    assert not loop.run_once(0)
    assert (loop.handles, udp.queued) == ((), 0)


def test_after_close_it_has_no_address_and_remembers_its_peer(loop):
    udp = bound(loop)
    udp.connect(("127.0.0.1", 9))
    udp.abort()
    loop.run()
    assert (udp.local, udp.peer) == (None, icey.Address("127.0.0.1", 9))


@pytest.mark.parametrize("when", ["closing", "closed"])
def test_after_close_send_bind_and_connect_are_state_error(loop, when):
    for udp in (UDPSocket(loop), bound(loop), scripted(loop, peer=PEER)[0]):
        udp.close()
        if when == "closed":
            turn(loop)
        for call in (lambda: udp.send(b"x"), lambda: udp.send(b"x", PEER), lambda: udp.send_owned(b"x"),  # noqa: B023
                     lambda: udp.bind(PEER), lambda: udp.connect(PEER)):  # noqa: B023
            with pytest.raises(icey.StateError, match="that is %s" % when):
                call()


def test_send_is_state_error_in_on_close_too(loop, reports):
    udp, _ = scripted(loop, peer=PEER)
    udp.on_close += lambda udp: udp.send(b"x")
    udp.close()
    loop.run()
    reports.take(icey.StateError)


def test_a_keyboard_interrupt_in_a_done_does_not_keep_it_from_closing(loop):
    udp, sock = scripted(loop)

    def interrupted():
        raise KeyboardInterrupt

    udp.send(b"x", PEER, done=interrupted)
    udp.close()
    with pytest.raises(KeyboardInterrupt):
        loop.close()
    assert udp.closed and sock.closed


# slots that raise

@pytest.mark.parametrize("event", ["on_recv", "on_drain", "on_error", "on_close"])
def test_a_slot_that_raises_is_told_with_the_socket_and_the_others_hear_all_the_same(loop, reports, event):
    udp, sock = scripted(loop, [failed("ECONNREFUSED"), (b"x", PEER)], [AGAIN])
    udp.high_water = 0
    heard = []

    def slot(*args):
        raise ValueError

    getattr(udp, event).attach(slot)
    getattr(udp, event).attach(lambda *args: heard.append(args[0]))
    udp.on_recv += lambda *args: None
    udp.on_error += lambda *args: None
    assert udp.send(b"y", PEER) is False
    turn(loop, 3)
    assert not udp.closing
    udp.close()
    loop.run()
    assert reports[0][1] is udp
    reports.take(ValueError)
    assert heard == [udp]


def test_a_borrow_error_raised_by_a_slot_does_not_abort_the_socket(loop, reports):
    udp, sock = scripted(loop, [(b"x", PEER)] * 2)

    def slot(udp, view, address):
        raise icey.BorrowError("in a slot", "do it otherwise")

    udp.on_recv += slot
    turn(loop, 2)
    reports.take(icey.BorrowError, icey.BorrowError)
    assert not udp.closing


# loop.close(), and what nobody closed

def test_loop_close_aborts_what_is_open_and_emits_its_on_close(loop, debug):
    udp, sock = scripted(loop, (), [STALL])
    idle = bound(loop)
    seen = []
    for handle in (udp, idle):
        handle.on_close += seen.append
    udp.send(b"never sent", PEER)
    local = str(idle.local)
    if debug:
        with pytest.warns(ResourceWarning, match="found still open") as caught:
            loop.close()
        text = str(caught[0].message)
        assert len(caught) == 1 and "UDPSocket %s" % local in text and __file__ in text
    else:
        loop.close()
    assert sorted(map(id, seen)) == sorted([id(udp), id(idle)])
    assert (sock.closed, sock.taken, idle.sock.fileno()) == (True, [], -1)
    with pytest.raises(icey.StateError):
        udp.send(b"x", PEER)


def test_a_socket_collected_unclosed_warns_in_release_too(debug):
    def drop():
        udp = bound(icey.Loop(debug))
        udp.on_recv += print
        return udp.local

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        local = drop()
        for _ in range(3):
            gc.collect()
    texts = [str(warning.message) for warning in caught if warning.category is ResourceWarning]
    about, = [text for text in texts if text.startswith("<UDPSocket %s open> was collected without close()" % local)]
    assert ("datagrams.py" in about) is debug  # where it was made
    assert not [text for text in texts if text.startswith("unclosed")], "it was closed with the warning"


def test_what_was_never_bound_or_is_closed_is_collected_in_silence(debug):
    def drop():
        loop = icey.Loop(debug)
        UDPSocket(loop)
        udp = bound(loop)
        udp.close()
        loop.run()
        loop.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drop()
        collect()


@pytest.mark.needs("fork")
def test_a_forked_child_lets_go_in_silence(loop):
    import os

    udp = bound(loop)
    child = os.fork()
    if not child:
        try:
            with pytest.raises(icey.AffinityError):
                udp.send(b"x", udp.local)
            loop.close()
            os._exit(0 if udp.sock.fileno() == -1 else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
