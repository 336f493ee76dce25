"""Transaction: a question that is asked again until its answer comes. On the virtual clock, over a scripted socket."""
import errno
import gc
import logging

import pytest

import icey
from icey import Address, Transaction, UDPSocket
from icey.base.watchdog import Watchdog
from icey.net.transaction import RUNS
from icey.tools.testing import AGAIN, STALL
from tests.support import streams
from tests.support.datagrams import OTHER, PEER, bound, failed, received, scripted, sent
from tests.support.loops import in_thread
from tests.support.packets import turn_until
from tests.support.streams import PYPY, collect, names, turn, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

TIMES = [0.0, 0.5, 1.5, 3.5, 7.5]  # when the five datagrams of the defaults go out; at 15.5 it is over


class Told(list):
    """A `done`: (bytes or None, error) of each call."""

    def __call__(self, view, error):
        self.append((None if view is None else bytes(view), error))

    @property
    def error(self):
        assert len(self) == 1 and self[0][0] is None, self
        return self[0][1]


@pytest.fixture
def told():
    return Told()


def is_for(ident):
    return lambda view, sender: view[:1] == ident


def anything(view, sender):
    return True


def nothing(view, sender):
    return False


def pass_by(loop, clock, seconds):
    """Virtual seconds pass, each timer at its time."""
    end = clock() + seconds
    while clock() < end:
        loop.run_once(end - clock())
    turn(loop, 3)


# an answer

def test_an_answer_is_told_once_and_the_handle_closes(loop, told):
    udp, sock = scripted(loop)
    one = Transaction(udp, b"1?", PEER, match=is_for(b"1"), done=told)
    seen = watch(one, "close")
    assert sock.taken == [(b"1?", PEER)] and one.sent == 1 and one.address == Address(*PEER) and told == []
    sock.feed((b"1!", PEER), (b"1!", PEER))
    turn(loop, 3)
    assert told == [(b"1!", None)] and names(seen) == ["close"] and one.closed
    assert sock.taken == [(b"1?", PEER)]


def test_it_keeps_its_loop_running_and_nothing_stays_behind_it(loop, told):
    udp, sock = scripted(loop)
    udp.unref()
    one = Transaction(udp, b"?", PEER, match=anything, done=told)
    assert one in loop.handles and repr(one) == "<Transaction with 192.0.2.7:7 open>"
    sock.feed(AGAIN, (b"!", PEER))
    loop.run()
    assert told == [(b"!", None)] and not udp.closing
    for event in (udp.on_recv, udp.on_error, udp.on_close):
        assert len(event) == 0
    assert loop.handles == (udp,)


@pytest.mark.parametrize("shape", [bytes, bytearray, lambda data: memoryview(b"x" + data)[1:],
                                   lambda data: [data[:1], bytearray(data[1:])], lambda data: (b"", data)],
                         ids=["bytes", "bytearray", "view", "list", "tuple"])
def test_the_question_is_bytes_like_or_a_list_and_what_is_mutable_is_copied(loop, clock, told, shape):
    udp, sock = scripted(loop)
    data = shape(b"ab")
    Transaction(udp, data, PEER, match=nothing, retries=1, done=told)
    for part in data if isinstance(data, list) else [data]:
        if isinstance(part, bytearray):
            part[:] = b"Z" * len(part)
            part.append(0)  # nobody holds it
    pass_by(loop, clock, 0.5)
    assert sent(sock) == [b"ab", b"ab"]


def test_an_empty_question(loop, told):
    udp, sock = scripted(loop)
    Transaction(udp, b"", PEER, match=anything, done=told)
    sock.feed((b"", OTHER))
    turn(loop)
    assert sent(sock) == [b""] and told == [(b"", None)]


def test_a_lent_view_is_a_question_too(loop, told):
    udp, sock = scripted(loop)
    udp.on_recv += lambda udp, view, sender: Transaction(udp, view[1:], sender, match=is_for(b"2"), done=told)
    sock.feed((b"xyz", PEER))
    turn(loop)
    assert sock.taken == [(b"yz", PEER)]


def test_match_gets_the_view_and_the_sender_as_an_Address(loop, told):
    udp, sock = scripted(loop)
    met = []
    Transaction(udp, b"?", PEER, done=told,
                match=lambda view, sender: met.append((bytes(view), sender)) or sender == Address(*PEER))
    sock.feed((b"forged", OTHER), (b"true", PEER))
    turn(loop)
    assert met == [(b"forged", Address(*OTHER)), (b"true", Address(*PEER))] and told == [(b"true", None)]


def test_on_a_connected_socket_there_is_no_address(loop, told):
    udp, sock = scripted(loop, peer=PEER)
    one = Transaction(udp, b"?", None, match=anything, done=told)
    Transaction(udp, b"?", match=nothing, done=told).close()
    assert one.address is None and sock.taken == [(b"?", None)] * 2
    sock.feed((b"!", None))
    turn(loop)
    assert told == [(b"!", None)]


@pytest.mark.parametrize("again", [False, True])
def test_a_transaction_may_be_begun_in_done(loop, told, again):
    """The rest of the burst is for the second, and the socket goes on receiving."""
    udp, sock = scripted(loop)
    second = []

    def done(view, error):
        told(view, error)
        second.append(Transaction(udp, b"2?", PEER, match=anything, done=told))
        if again:
            second[0].close()
            second.append(Transaction(udp, b"3?", PEER, match=anything, done=told))

    Transaction(udp, b"1?", PEER, match=anything, done=done)
    sock.feed((b"1!", PEER), (b"2!", PEER), (b"3!", PEER))
    turn(loop, 3)
    assert told == [(b"1!", None), (b"2!", None)] and second[0].closed
    assert len(udp.on_recv) == 0 and len(sock._reads) == 1  # nobody listens: the third waits in the kernel


def test_over_the_loopback(loop, told):
    server, client = bound(loop), UDPSocket(loop)
    server.on_recv += lambda sock, view, sender: sock.send_owned(bytes(view).upper(), sender)
    Transaction(client, b"question", server.local, match=lambda view, sender: sender == server.local, done=told)
    turn_until(loop, lambda: told)
    assert told == [(b"QUESTION", None)]


# asking again

def test_the_wait_doubles_and_behind_the_last_it_is_Deadline(loop, clock, told):
    udp, sock = scripted(loop)
    times = []
    sendto = sock.sendto
    sock.sendto = lambda data, address: (times.append(clock() - 1000.0), sendto(data, address))[1]
    one = Transaction(udp, b"?", PEER, match=nothing, done=told)
    pass_by(loop, clock, 15.4)
    assert times == TIMES and told == []
    pass_by(loop, clock, 0.2)
    assert type(told.error) is icey.Deadline and isinstance(told.error, TimeoutError) and told.error.__cause__ is None
    assert str(told.error) == "no answer from 192.0.2.7:7 within 15.5 s; datagrams sent: 5"
    assert sock.taken == [(b"?", PEER)] * 5 and one.closed and one.sent == 5


@pytest.mark.parametrize("timeout, retries, total", [(1, 0, 1.0), (3.0, 2, 21.0), (0.01, 7, 2.55)])
def test_timeout_and_retries(loop, clock, told, timeout, retries, total):
    udp, sock = scripted(loop)
    Transaction(udp, b"?", PEER, match=nothing, timeout=timeout, retries=retries, done=told)
    pass_by(loop, clock, total * 0.99)
    assert told == [] and len(sock.taken) == retries + 1
    pass_by(loop, clock, total * 0.02)
    assert isinstance(told.error, icey.Deadline) and len(sock.taken) == retries + 1


@pytest.mark.parametrize("when", [0.4, 0.6, 7.6, 15.4])
def test_an_answer_in_any_wait(loop, clock, told, when):
    udp, sock = scripted(loop)
    Transaction(udp, b"?", PEER, match=anything, done=told)
    pass_by(loop, clock, when)
    count = len(sock.taken)
    sock.feed((b"!", PEER))
    pass_by(loop, clock, 60.0)
    assert told == [(b"!", None)] and len(sock.taken) == count


def test_a_search_collects_in_match_and_the_Deadline_ends_it(loop, clock, told):
    udp, sock = scripted(loop)
    found = []
    Transaction(udp, b"who?", ("239.255.255.250", 1900), timeout=1.0, retries=1, done=told,
                match=lambda view, sender: found.append((bytes(view), sender)))
    sock.feed((b"one", PEER), (b"two", OTHER))
    pass_by(loop, clock, 2.0)
    sock.feed((b"three", PEER))
    pass_by(loop, clock, 1.5)
    assert [data for data, _ in found] == [b"one", b"two", b"three"]
    assert isinstance(told.error, icey.Deadline) and len(sock.taken) == 2


# several on one socket, and the socket's own slots

def test_several_at_once_each_takes_its_own_in_any_order(loop):
    udp, sock = scripted(loop)
    told = [Told() for _ in range(5)]
    for number in range(5):
        Transaction(udp, b"%d?" % number, PEER, match=is_for(b"%d" % number), done=told[number])
    assert len(udp.on_recv) == 1
    sock.feed(*[(b"%d!" % number, PEER) for number in (3, 0, 9, 4, 1, 2, 2)])
    turn(loop, 2)
    assert told == [[(b"%d!" % number, None)] for number in range(5)]


def test_what_the_oldest_takes_the_others_are_not_asked_about(loop, told):
    udp, sock = scripted(loop)
    asked = []
    first, second = Told(), Told()
    Transaction(udp, b"?", PEER, match=lambda view, sender: asked.append(1) or True, done=first)
    Transaction(udp, b"?", PEER, match=lambda view, sender: asked.append(2) or True, done=second)
    sock.feed((b"a", PEER), (b"b", PEER))
    turn(loop)
    assert asked == [1, 2] and first == [(b"a", None)] and second == [(b"b", None)]


def test_the_slots_of_the_socket_see_every_datagram_behind_the_transactions(loop):
    udp, sock = scripted(loop)
    order = []
    udp.on_recv += lambda udp, view, sender: order.append(("slot", bytes(view)))
    udp.on_recv.attach(lambda udp, view, sender: order.append(("before", bytes(view))), priority=2000)
    Transaction(udp, b"?", PEER, match=is_for(b"1"), done=lambda view, error: order.append(("done", bytes(view))))
    sock.feed((b"0", PEER), (b"1", PEER), (b"2", PEER))
    turn(loop)
    assert order == [("before", b"0"), ("slot", b"0"), ("before", b"1"), ("done", b"1"), ("slot", b"1"),
                     ("before", b"2"), ("slot", b"2")]


def test_one_that_ends_leaves_the_others_and_the_slots(loop, clock, told):
    udp, sock = scripted(loop)
    came = received(udp)
    one = Transaction(udp, b"1?", PEER, match=nothing, done=told)
    Transaction(udp, b"2?", PEER, match=is_for(b"2"), done=told)
    one.close()
    sock.feed((b"2!", PEER), (b"x", PEER))
    turn(loop)
    assert told == [(b"2!", None)] and [data for data, _ in came] == [b"2!", b"x"] and len(udp.on_recv) == 1


def test_slots_that_were_all_detached_take_the_transactions_along_but_not_the_next(loop, clock, told):
    udp, sock = scripted(loop)
    lost = Told()
    Transaction(udp, b"1?", PEER, match=anything, retries=0, done=lost)
    udp.on_recv.detach_all()
    Transaction(udp, b"2?", PEER, match=anything, done=told)
    sock.feed((b"!", PEER))
    turn(loop)
    assert told == [(b"!", None)] and lost == []
    pass_by(loop, clock, 0.6)
    assert isinstance(lost.error, icey.Deadline)
    assert (len(udp.on_recv), len(udp.on_error), len(udp.on_close)) == (0, 0, 0)


# the ends: cancelled, a socket that closes, a loop that closes

@pytest.mark.parametrize("verb", ["close", "abort"])
def test_close_and_abort_cancel_done_is_not_called(loop, clock, told, verb):
    udp, sock = scripted(loop)
    one = Transaction(udp, b"?", PEER, match=anything, done=told)
    seen = watch(one, "close")
    getattr(one, verb)()
    getattr(one, verb)()
    assert one.closing and seen == [] and len(udp.on_recv) == 0
    sock.feed((b"!", PEER))
    pass_by(loop, clock, 60.0)
    assert told == [] and names(seen) == ["close"] and len(sock.taken) == 1
    one.close()
    one.abort()


@pytest.mark.parametrize("verb", ["close", "abort"])
@pytest.mark.parametrize("takes", [True, False])
def test_cancelled_in_match(loop, clock, told, verb, takes):
    udp, sock = scripted(loop)
    one = Transaction(udp, b"?", PEER, match=lambda view, sender: getattr(one, verb)() or takes, done=told)
    sock.feed((b"!", PEER), (b"!", PEER))
    pass_by(loop, clock, 60.0)
    assert told == [] and one.closed


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_cancelled_in_done_and_in_on_close(loop, clock, told, verb):
    udp, sock = scripted(loop)

    def done(view, error):
        told(view, error)
        getattr(one, verb)()

    one = Transaction(udp, b"?", PEER, match=anything, done=done)
    one.on_close += lambda one: getattr(one, verb)()
    sock.feed((b"!", PEER))
    pass_by(loop, clock, 60.0)
    assert told == [(b"!", None)] and one.closed


def test_the_oldest_may_cancel_the_others(loop, told):
    udp, sock = scripted(loop)
    others = []

    def match(view, sender):
        for other in others:
            other.close()

    Transaction(udp, b"?", PEER, match=match, done=told)
    others += [Transaction(udp, b"?", PEER, match=anything, done=told) for _ in range(2)]
    sock.feed((b"!", PEER))
    turn(loop)
    assert told == []


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_a_socket_that_closes_is_an_error_once(loop, clock, told, verb):
    udp, sock = scripted(loop)
    order = []
    udp.on_close += lambda udp: order.append("on_close")
    for _ in range(2):
        Transaction(udp, b"?", PEER, match=anything, done=lambda view, error: (order.append("done"), told(view, error)))
    getattr(udp, verb)()
    assert told == []
    pass_by(loop, clock, 60.0)
    assert order == ["done", "done", "on_close"] and len(told) == 2
    assert str(told[0][1]) == "the socket of a Transaction was closed before an answer came from 192.0.2.7:7"
    assert type(told[0][1]) is icey.NetError and len(sock.taken) == 2
    with pytest.raises(icey.StateError, match="send"):
        Transaction(udp, b"?", PEER, match=anything, done=told)


def test_a_socket_that_drains_what_the_kernel_does_not_take(loop, clock, told):
    udp, sock = scripted(loop, (), [STALL])
    Transaction(udp, b"?", PEER, match=anything, done=told)
    errors = watch(udp, "error")
    udp.close()
    pass_by(loop, clock, 4.0)
    assert told == [] and udp.queued == 1  # neither sent again, nor over: the socket is on its way out
    pass_by(loop, clock, 2.0)
    assert type(told.error) is icey.NetError and isinstance(told.error.__cause__, icey.Deadline) and len(errors) == 1


@pytest.mark.parametrize("place", ["match", "done"])
def test_a_socket_that_closes_in_match_or_done(loop, told, place):
    udp, sock = scripted(loop)

    def match(view, sender):
        if place == "match":
            udp.close()
        return True

    def done(view, error):
        told(view, error)
        udp.close()

    Transaction(udp, b"?", PEER, match=match, done=done)
    Transaction(udp, b"?", PEER, match=anything, done=told)
    sock.feed((b"!", PEER), (b"!", PEER))
    turn(loop, 3)
    assert told[0] == (b"!", None) and len(told) == 2 and type(told[1][1]) is icey.NetError


def test_a_descriptor_that_is_gone(loop, told):
    udp, sock = scripted(loop, [failed("EBADF")])
    Transaction(udp, b"?", PEER, match=anything, done=told)
    udp.on_error += lambda udp, exc: None
    turn(loop, 3)
    assert type(told.error) is icey.NetError and told.error.__cause__.errno == errno.EBADF and udp.closed


def test_a_socket_whose_slots_were_all_detached_is_missed_at_the_next_wait(loop, clock, told):
    udp, sock = scripted(loop)
    Transaction(udp, b"?", PEER, match=anything, done=told)
    udp.on_close.detach_all()
    udp.abort()
    pass_by(loop, clock, 0.4)
    assert told == []
    pass_by(loop, clock, 0.2)
    assert type(told.error) is icey.NetError


def test_loop_close_cancels(debug, told):
    loop = icey.Loop(debug)
    udp, sock = scripted(loop)
    seen = watch(Transaction(udp, b"?", PEER, match=anything, done=told), "close")
    udp.on_close += lambda udp: seen.append(("udp",))
    udp.close()
    loop.close()
    assert told == [] and sorted(names(seen)) == ["close", "udp"]


def test_nothing_waits_for_the_collector(loop, clock, told):
    gc.collect()
    gc.disable()
    try:
        udp, sock = scripted(loop)
        for number in range(3):
            one = Transaction(udp, b"?", PEER, match=anything if number else nothing, retries=0, done=told)
            if number == 2:
                one.close()
        del one
        sock.feed((b"!", PEER))
        pass_by(loop, clock, 2.0)
        if not PYPY:
            assert [thing for thing in gc.get_objects() if isinstance(thing, Transaction)] == []
    finally:
        gc.enable()
    collect()


# errors of the network

def test_nobody_listens_ends_a_transaction_of_a_connected_socket(loop, told):
    udp, sock = scripted(loop, peer=PEER)
    Transaction(udp, b"?", match=anything, done=told)
    turn(loop)
    sock.feed(failed("ECONNREFUSED"))
    turn(loop, 2)
    assert type(told.error) is icey.NetError and told.error.errno == errno.ECONNREFUSED
    assert str(told.error).startswith("nobody listens at 192.0.2.7:7: ")
    assert isinstance(told.error.__cause__, ConnectionRefusedError)


def test_nobody_listens_over_the_loopback(loop, told):
    with_nobody = bound(loop)
    address = with_nobody.local
    with_nobody.close()
    turn(loop, 2)
    udp = UDPSocket(loop)
    udp.connect(address)
    Transaction(udp, b"?", match=anything, done=told)
    turn_until(loop, lambda: told)
    assert told.error.errno == errno.ECONNREFUSED


@pytest.mark.parametrize("name, peer", [("ECONNREFUSED", None), ("EHOSTUNREACH", PEER), ("ENETUNREACH", None)])
def test_another_error_may_pass_and_is_the_cause_of_the_Deadline(loop, clock, told, name, peer):
    """Whom an error is about, a socket that is not connected does not know."""
    udp, sock = scripted(loop, peer=peer)
    errors = watch(udp, "error")
    Transaction(udp, b"?", None if peer else PEER, match=anything, done=told)
    turn(loop)
    sock.feed(failed(name))
    pass_by(loop, clock, 1.0)
    assert told == [] and len(errors) == 1 and len(sock.taken) == 2
    pass_by(loop, clock, 60.0)
    assert isinstance(told.error, icey.Deadline) and told.error.__cause__ is errors[0][1]


def test_an_answer_behind_an_error(loop, clock, told):
    udp, sock = scripted(loop, peer=PEER)
    udp.on_error += lambda udp, exc: None
    Transaction(udp, b"?", match=anything, done=told)
    sock.feed(failed("EHOSTUNREACH"), (b"!", None))
    pass_by(loop, clock, 60.0)
    assert told == [(b"!", None)]


def test_an_error_that_the_first_send_tells_is_of_an_earlier_datagram(loop, clock, told):
    udp, sock = scripted(loop, (), [failed("ECONNREFUSED")], peer=PEER)
    udp.on_error += lambda udp, exc: None
    Transaction(udp, b"?", match=anything, done=told)
    turn(loop, 2)
    assert told == [] and sent(sock) == [b"?"]
    sock.feed((b"!", None))
    turn(loop)
    assert told == [(b"!", None)]


def test_an_error_in_the_turn_in_which_it_began_may_be_of_an_earlier_datagram(loop, clock, told):
    """So it goes on; if nobody listens, the re-send is told so."""
    udp, sock = scripted(loop, peer=PEER)
    udp.on_error += lambda udp, exc: None
    udp.on_recv.attach(lambda udp, view, sender: Transaction(udp, b"?", match=anything, done=told), once=True)
    sock.feed((b"begin", None), failed("ECONNREFUSED"))
    turn(loop, 2)
    assert told == []
    sock.feed(failed("ECONNREFUSED"))
    turn(loop, 2)
    assert told.error.errno == errno.ECONNREFUSED


def test_a_datagram_that_had_no_way_out(loop, clock, told):
    udp, sock = scripted(loop, (), [failed("ENETUNREACH")] * 2)
    lost = watch(udp, "error")
    Transaction(udp, b"?", PEER, match=nothing, retries=1, done=told)
    pass_by(loop, clock, 1.6)
    assert sock.taken == [(b"?", PEER)] and isinstance(told.error, icey.Deadline)
    assert told.error.__cause__ is lost[0][1] and told.error.__cause__.errno == errno.ENETUNREACH


@pytest.mark.needs("logging")
def test_an_error_is_logged_unless_a_slot_or_a_transaction_was_told_of_it(loop, clock, told, caplog):
    udp, sock = scripted(loop, peer=PEER)
    with caplog.at_level(logging.WARNING):
        Transaction(udp, b"?", match=nothing, done=told)
        turn(loop)
        sock.feed(failed("EHOSTUNREACH"))
        turn(loop, 2)
        lines = len(caplog.records)
        sock.feed(failed("ECONNREFUSED"))
        turn(loop, 2)
    assert (lines, len(caplog.records)) == (1, 1) and told.error.errno == errno.ECONNREFUSED


# sends that raise

UNFIT = [
    (("localhost", 1), ValueError, "takes a numeric address; 'localhost' is a name"),
    ("192.0.2.1", ValueError, "an address is host:port"),
    (None, icey.StateError, r"send\(\) without an address on a UDPSocket that is not connected"),
    (7, TypeError, "an address is"),
]


@pytest.mark.parametrize("address, kind, says", UNFIT)
def test_what_cannot_be_sent_to_is_raised_at_construction(loop, address, kind, says, told):
    udp = UDPSocket(loop)
    with pytest.raises(kind, match=says):
        Transaction(udp, b"?", address, match=anything, done=told)
    assert loop.handles == () and udp.signals is None


def test_an_address_on_a_connected_socket_is_StateError(loop, told):
    udp, _ = scripted(loop, peer=PEER)
    with pytest.raises(icey.StateError, match="send\\(\\) with an address on a UDPSocket that is connected"):
        Transaction(udp, b"?", PEER, match=anything, done=told)
    assert loop.handles == (udp,)


def test_one_that_is_too_large_is_raised_at_construction(loop, told):
    udp, _ = scripted(loop, (), [failed("EMSGSIZE"), failed("EMSGSIZE")])
    with pytest.raises(icey.NetError, match="send less in one") as caught:
        Transaction(udp, b"?", PEER, match=anything, done=told)
    assert caught.value.errno == errno.EMSGSIZE and loop.handles == (udp,)


def test_one_that_has_become_too_large_ends_it(loop, clock, told):
    udp, _ = scripted(loop, (), [1, failed("EMSGSIZE"), failed("EMSGSIZE")])
    Transaction(udp, b"?", PEER, match=anything, done=told)
    pass_by(loop, clock, 0.6)
    assert type(told.error) is icey.NetError and told.error.errno == errno.EMSGSIZE


def test_a_socket_that_was_connected_meanwhile_ends_it(loop, clock, told):
    udp, _ = scripted(loop)
    Transaction(udp, b"?", PEER, match=anything, done=told)
    udp.connect(OTHER)
    pass_by(loop, clock, 0.6)
    assert type(told.error) is icey.StateError


@pytest.mark.parametrize("until", [0.4, 0.6, 20.0])
def test_a_full_queue_costs_that_send_and_no_more(loop, clock, told, until):
    udp, sock = scripted(loop, (), [STALL])
    udp.max_queue = 4
    udp.send(b"xxxx", PEER)
    one = Transaction(udp, b"?", PEER, match=anything, done=told)
    assert one.sent == 0
    pass_by(loop, clock, until)
    sock.unstall()
    pass_by(loop, clock, 1.5)
    if until > 15.5:
        assert isinstance(told.error, icey.Deadline) and isinstance(told.error.__cause__, icey.QueueFull)
        assert sent(sock) == [b"xxxx"] and str(told.error).endswith("sent: 0")
    else:
        assert set(sent(sock)) == {b"xxxx", b"?"} and one.sent == len(sock.taken) - 1 > 0


@pytest.mark.parametrize("arguments, kind, says", [
    ({"timeout": 0}, ValueError, "more than 0 seconds"), ({"timeout": -1.0}, ValueError, "timeout"),
    ({"timeout": float("inf")}, ValueError, "timeout"), ({"timeout": "1"}, TypeError, "timeout"),
    ({"retries": -1}, ValueError, "retries"), ({"retries": 1.5}, ValueError, "retries"),
    ({"retries": True}, ValueError, "retries"), ({"retries": 101}, ValueError, "retries"),
    ({"match": None}, TypeError, "match"), ({"done": 1}, TypeError, "done"),
    ({"data": "text"}, TypeError, "encode it first"), ({"data": None}, TypeError, "an empty one is b''"),
])
def test_what_is_no_transaction(loop, told, arguments, kind, says):
    udp, sock = scripted(loop)
    given = dict({"data": b"?", "match": anything, "done": told}, **arguments)
    with pytest.raises(kind, match=says):
        Transaction(udp, given.pop("data"), PEER, **given)
    assert sock.taken == [] and loop.handles == (udp,)


def test_it_is_made_on_a_datagram_socket_of_its_own_thread(loop, told):
    with pytest.raises(TypeError, match="made on a UDPSocket, not"):
        Transaction(loop, b"?", PEER, match=anything, done=told)
    udp, sock = scripted(loop)
    turn(loop)
    with pytest.raises(icey.AffinityError):
        in_thread(lambda: Transaction(udp, b"?", PEER, match=anything, done=told))
    one = Transaction(udp, b"?", PEER, match=anything, done=told)
    for verb in ("close", "abort", "ref", "unref"):
        with pytest.raises(icey.AffinityError, match="^Transaction was touched"):
            in_thread(getattr(one, verb))


# callbacks that raise

def test_a_match_that_raises_is_told_and_the_datagram_was_no_answer(loop, reports, told):
    udp, sock = scripted(loop)
    came = received(udp)
    other = Told()

    def match(view, sender):
        return 1 // len(view)

    one = Transaction(udp, b"?", PEER, match=match, done=told)
    Transaction(udp, b"?", PEER, match=lambda view, sender: not view, done=other)
    sock.feed((b"", OTHER), (b"!", PEER))
    turn(loop)
    assert reports[0][1] is one
    reports.take(ZeroDivisionError)
    assert told == [(b"!", None)] and other == [(b"", None)] and len(came) == 2


@pytest.mark.parametrize("ends", ["answer", "deadline", "close", "refused"])
def test_a_done_that_raises_is_told_and_the_transaction_is_over(loop, clock, reports, ends):
    udp, sock = scripted(loop, peer=PEER)
    calls = []

    def done(view, error):
        calls.append(error)
        raise RuntimeError("no")

    one = Transaction(udp, b"?", match=anything, retries=0, done=done)
    turn(loop)
    if ends == "answer":
        sock.feed((b"!", None))
    elif ends == "refused":
        sock.feed(failed("ECONNREFUSED"))
    elif ends == "close":
        udp.close()
    pass_by(loop, clock, 1.0)
    assert len(calls) == 1 and reports[0][1] is one and one.closed
    reports.take(RuntimeError)


@pytest.mark.parametrize("where", ["match", "done", "deadline"])
def test_a_KeyboardInterrupt_passes_through(loop, clock, told, where):
    udp, sock = scripted(loop)

    def interrupted(*args):
        told(None, None)
        if len(told) == 1:
            raise KeyboardInterrupt
        return True

    one = Transaction(udp, b"?", PEER, match=interrupted if where == "match" else anything, retries=0,
                      done=(lambda view, error: told(view, error)) if where == "match" else interrupted)
    if where != "deadline":
        sock.feed((b"!", PEER))
    with pytest.raises(KeyboardInterrupt):
        pass_by(loop, clock, 1.0)
    sock.feed((b"?", PEER))
    pass_by(loop, clock, 1.0)
    assert one.closed and told == ([(None, None)] * 2 + [(b"?", None)] if where == "match" else [(None, None)])


def test_a_KeyboardInterrupt_in_a_re_send_ends_no_wait(loop, clock, told):
    udp, sock = scripted(loop)
    Transaction(udp, b"?", PEER, match=nothing, retries=2, done=told)
    sendto = sock.sendto

    def interrupted(data, address):
        sock.sendto = sendto
        raise KeyboardInterrupt

    sock.sendto = interrupted
    with pytest.raises(KeyboardInterrupt):
        pass_by(loop, clock, 1.0)
    pass_by(loop, clock, 10.0)
    assert isinstance(told.error, icey.Deadline) and len(sock.taken) == 2


def test_a_KeyboardInterrupt_before_done_leaves_no_handle(loop, clock, told, monkeypatch):
    udp, sock = scripted(loop)
    one = Transaction(udp, b"?", PEER, match=anything, done=told)

    def interrupted(watchdog):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(Watchdog, "stop", interrupted)
    sock.feed((b"!", PEER))
    with pytest.raises(KeyboardInterrupt):
        turn(loop)
    turn(loop, 2)
    assert one.closed and told == []


# lent views

def test_the_view_is_revoked_behind_done(loop, told):
    udp, sock = scripted(loop)
    kept = []
    Transaction(udp, b"?", PEER, match=lambda view, sender: kept.append(view) or True,
                done=lambda view, error: kept.append(view))
    sock.feed((b"!", PEER))
    turn(loop)
    assert len(kept) == 2
    for view in kept:
        with pytest.raises(ValueError):
            bytes(view)


@pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")
@pytest.mark.parametrize("who", ["match", "done"])
def test_a_slice_that_escaped_is_found_in_debug_mode_and_names_who_had_it(loop, debug, reports, who):
    udp, sock = scripted(loop)
    kept = []

    def keeper(view, other):
        kept.append(view[:1])
        return True

    Transaction(udp, b"?", PEER, match=keeper if who == "match" else anything, done=keeper if who == "done" else Told())
    sock.feed((b"!", PEER))
    turn(loop)
    if debug:
        assert "keeper (" in str(reports[0][0])
        reports.take(icey.BorrowError)
    kept.clear()


# a wait looks before it is over; pauses

def test_an_answer_that_lies_in_the_kernel_came_in_time(loop, clock, told):
    udp, sock = scripted(loop)
    Transaction(udp, b"?", PEER, match=is_for(b"!"), timeout=1.0, retries=0, done=told)
    turn(loop)
    sock.feed(*[(b"other", OTHER)] * 40, failed("EHOSTUNREACH"), (b"!", PEER))
    udp.on_error += lambda udp, exc: None
    loop.call_soon(clock.advance, 100.0)
    turn(loop, 2)  # the timers, and what they have called soon; then the poller
    turn(loop, 3)
    assert told == [(b"!", None)] and len(sock.taken) == 1


def test_an_answer_that_lies_in_the_kernel_is_not_asked_for_again(loop, clock, told):
    udp, sock = scripted(loop)
    Transaction(udp, b"?", PEER, match=anything, done=told)
    turn(loop)
    clock.advance(0.7)
    sock.feed((b"!", PEER))
    turn(loop, 3)
    assert told == [(b"!", None)] and len(sock.taken) == 1


def test_time_in_which_the_loop_was_held_does_not_count(loop, clock, told):
    udp, sock = scripted(loop)
    Transaction(udp, b"?", PEER, match=anything, timeout=1.0, retries=0, done=told)
    turn(loop)
    loop.call_soon(clock.advance, 30.0)  # a slot holds the loop
    turn(loop, 4)
    assert told == []
    pass_by(loop, clock, 0.5)
    assert told == []
    pass_by(loop, clock, 1.0)
    assert isinstance(told.error, icey.Deadline)


def test_a_flood_does_not_keep_a_deadline_from_falling(loop, clock, told):
    udp, sock = scripted(loop)
    count = []

    def match(view, sender):
        count.append(1)
        sock.feed((b"flood", OTHER))

    Transaction(udp, b"?", PEER, match=match, timeout=1.0, retries=0, done=told)
    sock.feed((b"flood", OTHER))
    clock.advance(5.0)
    turn(loop, 2)
    assert isinstance(told.error, icey.Deadline) and RUNS * 16 <= len(count) < RUNS * 16 + 64


def test_while_its_socket_is_paused_it_waits(loop, clock, told):
    udp, sock = scripted(loop)
    Transaction(udp, b"?", PEER, match=anything, done=told)
    udp.pause()
    assert udp.paused
    sock.feed((b"!", PEER))
    pass_by(loop, clock, 3600.0)
    assert told == [] and len(sock.taken) == 1
    udp.resume()
    turn(loop)
    assert told == [(b"!", None)] and not udp.paused


def test_made_while_the_socket_is_paused(loop, clock, told):
    udp, sock = scripted(loop)
    udp.pause()
    Transaction(udp, b"?", PEER, match=anything, timeout=1.0, retries=1, done=told)
    pass_by(loop, clock, 10.0)
    udp.resume()
    pass_by(loop, clock, 1.1)
    assert told == [] and len(sock.taken) == 2
    pass_by(loop, clock, 2.0)
    assert isinstance(told.error, icey.Deadline)


def test_the_look_of_a_socket_receives_what_is_wanted_alone(loop, clock):
    udp, sock = scripted(loop, [(b"%d" % number, PEER) for number in range(20)])
    assert udp.look() is False  # nobody listens
    came = received(udp)
    assert udp.look() is True and len(came) == 16
    assert udp.look() is False and len(came) == 20
    udp.pause()
    sock.feed((b"x", PEER))
    assert udp.look() is False and len(came) == 20
    udp.resume()
    udp.on_recv.attach(lambda udp, view, sender: udp.close())
    sock.feed((b"y", PEER))
    assert udp.look() is False and len(came) == 21
