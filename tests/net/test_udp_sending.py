"""UDPSocket.send over a scripted kernel: what is queued, dropped, told, and in which order."""
import array
import errno

import pytest

import icey
from icey import Address
from icey.net.datagram import BATCH, REST
from icey.tools.testing import AGAIN, INTERRUPTED, STALL
from tests.support import seeds, streams
from tests.support.datagrams import OTHER, PEER, TAKE, bound, failed, received, scripted, sent, until
from tests.support.streams import names, turn, verbs, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop


# at once

@pytest.mark.parametrize("data, content", [
    (b"bytes", b"bytes"), (bytearray(b"array"), b"array"), (memoryview(b"view")[1:], b"iew"), (b"", b""), ([], b""),
    ([b"a", bytearray(b"b"), memoryview(b"c")], b"abc"), ((b"a", b"b"), b"ab"), ([b"", b"x", b""], b"x"),
    (array.array("H", [1, 1]), array.array("H", [1, 1]).tobytes()), (memoryview(b"abcd").cast("B", (2, 2)), b"abcd")])
@pytest.mark.parametrize("verb", ["send", "send_owned"])
def test_a_send_is_one_datagram(loop, verb, data, content):
    udp, sock = scripted(loop)
    assert getattr(udp, verb)(data, PEER) is True
    assert sock.taken == [(content, PEER)] and udp.queued == 0


@pytest.mark.parametrize("data, error", [("text", TypeError), (5, TypeError), (None, TypeError), ([b"x", "y"], TypeError),
                                         (memoryview(b"abcdef")[::2], ValueError)])
def test_what_cannot_be_sent_is_said_at_once(loop, data, error):
    udp, sock = scripted(loop)
    for send in (udp.send, udp.send_owned):
        with pytest.raises(error):
            send(data, PEER)
    assert sock.taken == []


def test_a_connected_socket_sends_to_its_peer(loop):
    udp, sock = scripted(loop, peer=PEER)
    udp.send(b"x")
    assert sock.taken == [(b"x", None)] and verbs(sock, "send", "sendto") == ["send"]


# queued

def test_what_the_kernel_refuses_is_queued_whole_in_order_with_its_address(loop):
    udp, sock = scripted(loop, (), [STALL])
    assert udp.send(b"one", PEER) is True
    assert udp.send(bytearray(b"two"), OTHER) is True
    assert udp.send_owned([b"th", b"ree"], PEER) is True
    assert (udp.queued, sock.taken) == (11, [])
    assert verbs(sock, "sendto") == ["sendto"], "what is behind others does not overtake"
    sock.unstall()
    turn(loop)
    assert sock.taken == [(b"one", PEER), (b"two", OTHER), (b"three", PEER)] and udp.queued == 0
    turn(loop, 2)
    assert len(verbs(sock, "sendto")) == 4


@pytest.mark.parametrize("rude", [AGAIN, INTERRUPTED, failed("EAGAIN"), failed("EINTR")])
def test_a_storm_of_refusals(loop, rude):
    udp, sock = scripted(loop, (), ([rude] * 3 + [TAKE]) * 3)
    for number in range(3):
        udp.send(b"%d" % number, PEER)
    turn(loop, 12)
    assert sent(sock) == [b"0", b"1", b"2"]


def test_an_empty_datagram_counts_as_a_byte_of_the_queue(loop):
    udp, sock = scripted(loop, (), [STALL])
    udp.max_queue = 2
    udp.send(b"", PEER)
    udp.send(b"", PEER)
    assert udp.queued == 2
    with pytest.raises(icey.QueueFull):
        udp.send(b"x", PEER)
    sock.unstall()
    turn(loop)
    assert (sent(sock), udp.queued) == ([b"", b""], 0)


def test_a_turn_sends_a_share_of_a_long_queue(loop):
    udp, sock = scripted(loop, (), [STALL])
    for number in range(BATCH + 5):
        udp.send(b"%d" % number, PEER)
    sock.unstall()
    turn(loop)
    assert len(sock.taken) == BATCH
    turn(loop)
    assert sent(sock) == [b"%d" % number for number in range(BATCH + 5)]


def test_water_marks_and_drain(loop):
    udp, sock = scripted(loop, (), [STALL])
    udp.high_water, udp.low_water = 10, 4
    seen = watch(udp, "drain")
    assert [udp.send(b"four", PEER) for _ in range(4)] == [True, True, False, False]
    sock.allow(TAKE, TAKE, STALL)
    sock.unstall()
    turn(loop)
    assert (udp.queued, seen) == (8, [])
    sock.allow(TAKE, STALL)
    sock.unstall()
    turn(loop)
    assert (udp.queued, names(seen)) == (4, ["drain"])
    sock.unstall()
    turn(loop, 2)
    assert (udp.queued, names(seen)) == (0, ["drain"]), "once for each time that it said wait"


def test_queue_full_takes_nothing_and_drain_tells(loop):
    udp, sock = scripted(loop, (), [STALL])
    udp.max_queue = 10
    seen = watch(udp, "drain", "error", "close")
    udp.send(b"12345", PEER)
    udp.send(b"67890", PEER)
    done = []
    with pytest.raises(icey.QueueFull, match="10 bytes queued, 1 more would pass max_queue 10: wait for on_drain"):
        udp.send(b"x", PEER, done=lambda: done.append(1))
    assert udp.queued == 10
    sock.unstall()
    turn(loop, 2)
    assert (sent(sock), names(seen), done) == ([b"12345", b"67890"], ["drain"], [])


def test_an_empty_queue_takes_any_one_datagram(loop):
    udp, sock = scripted(loop, (), [STALL])
    udp.max_queue = 3
    assert udp.send(b"hello", PEER) is True
    with pytest.raises(icey.QueueFull):
        udp.send(b"", PEER)


def test_max_queue_of_none_is_no_cap(loop):
    udp, sock = scripted(loop, (), [STALL])
    udp.max_queue = None
    for _ in range(100):
        udp.send(bytes(60000), PEER)
    assert udp.queued == 6000000


def test_drain_may_send_more(loop):
    udp, sock = scripted(loop, (), [STALL])
    udp.high_water = 1
    udp.low_water = 0
    udp.on_drain += lambda udp: udp.send(b"more", PEER) if len(sock.taken) < 2 else None
    assert udp.send(b"first", PEER) is False
    sock.allow(TAKE, STALL)
    sock.unstall()
    turn(loop)
    assert udp.queued == 4
    sock.unstall()
    turn(loop, 2)
    assert sent(sock) == [b"first", b"more"]


# done

def test_done_comes_from_the_loop_never_inside_send(loop):
    udp, sock = scripted(loop)
    seen = []
    udp.send(b"x", PEER, done=lambda: seen.append("x"))
    udp.send_owned(b"y", PEER, done=lambda: seen.append("y"))
    assert (sent(sock), seen) == ([b"x", b"y"], [])
    turn(loop)
    assert seen == ["x", "y"]


def test_done_comes_when_the_kernel_has_taken_it(loop):
    udp, sock = scripted(loop, (), [STALL])
    seen = []
    for number in range(3):
        udp.send(b"%d" % number, PEER, done=lambda number=number: seen.append((number, len(sock.taken))))
    sock.allow(TAKE, STALL)
    sock.unstall()
    turn(loop, 2)
    assert seen == [(0, 1)]
    sock.unstall()
    turn(loop, 2)
    assert seen == [(0, 1), (1, 3), (2, 3)]


def test_a_done_that_raises_is_told_and_the_socket_lives_on(loop, reports):
    udp, sock = scripted(loop)
    seen = []
    udp.send(b"x", PEER, done=lambda: 1 // 0)
    udp.send(b"y", PEER, done=lambda: seen.append(1))
    turn(loop)
    assert reports[0][1] is udp
    reports.take(ZeroDivisionError)
    assert seen == [1] and not udp.closing


def test_done_may_send_again_and_again(loop):
    udp, sock = scripted(loop)
    left = [5]

    def again():
        left[0] -= 1
        if left[0]:
            udp.send(b"x", PEER, done=again)

    udp.send(b"x", PEER, done=again)
    for count in range(1, 5):
        assert len(sock.taken) == count
        turn(loop)
    assert len(loop._calls) == 1
    turn(loop, 2)
    assert (len(sock.taken), left) == (5, [0])


def test_a_keyboard_interrupt_passes_through_and_the_other_dones_come(loop):
    udp, _ = scripted(loop)
    seen = []

    def interrupted():
        raise KeyboardInterrupt

    for done in (interrupted, lambda: seen.append(1), lambda: seen.append(2)):
        udp.send(b"x", PEER, done=done)
    with pytest.raises(KeyboardInterrupt):
        turn(loop)
    turn(loop)
    assert seen == [1, 2]


# errors that are an earlier datagram's

@pytest.mark.parametrize("name", ["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EMSGSIZE", "EACCES", "ECONNRESET"])
def test_a_pending_error_is_told_and_costs_no_datagram(loop, name):
    error = failed(name)
    udp, sock = scripted(loop, (), [error], peer=PEER)
    seen = watch(udp, "error", "close")
    done = []
    assert udp.send(b"x", done=lambda: done.append(len(seen))) is True
    assert (sent(sock), seen) == ([b"x"], [])
    turn(loop)
    assert (seen, done) == ([("error", error)], [1])


def test_a_pending_error_and_then_no_room(loop):
    udp, sock = scripted(loop, (), [failed("ECONNREFUSED"), AGAIN], peer=PEER)
    seen = watch(udp, "error", "close")
    udp.send(b"x")
    assert udp.queued == 1
    turn(loop, 2)
    assert (sent(sock), names(seen)) == ([b"x"], ["error"])


def test_a_pending_error_met_by_the_queue(loop):
    udp, sock = scripted(loop, (), [AGAIN, failed("ECONNREFUSED"), TAKE, failed("EHOSTUNREACH"), AGAIN], peer=PEER)
    seen = watch(udp, "error", "close")
    for number in range(3):
        udp.send(b"%d" % number)
    turn(loop, 4)
    assert sent(sock) == [b"0", b"1", b"2"]
    assert [exc.errno for _, exc in seen] == [errno.ECONNREFUSED, errno.EHOSTUNREACH]


def test_two_errors_in_a_row_are_both_told(loop):
    udp, sock = scripted(loop, (), [failed("ECONNREFUSED"), failed("ENETUNREACH")], peer=PEER)
    seen = watch(udp, "error", "close")
    assert udp.send(b"x") is True
    turn(loop)
    assert [exc.errno for _, exc in seen] == [errno.ECONNREFUSED, errno.ENETUNREACH]
    assert type(seen[1][1]) is icey.NetError and "was not sent" in str(seen[1][1]) and sock.taken == []


# errors that are the datagram's own

def test_what_cannot_be_sent_at_all_is_told_and_the_rest_goes_on(loop):
    udp, sock = scripted(loop, (), [failed("ENETUNREACH")] * 2)
    seen = watch(udp, "error", "close")
    done = []
    assert udp.send(b"lost", PEER, done=lambda: done.append("lost")) is True
    assert udp.send(b"next", PEER, done=lambda: done.append("next")) is True
    assert seen == []
    turn(loop)
    (_, exc), = seen
    assert (type(exc), exc.errno) == (icey.NetError, errno.ENETUNREACH)
    assert str(exc).startswith("a datagram of 4 bytes to 192.0.2.7:7 was not sent: ")
    assert exc.__cause__.errno == errno.ENETUNREACH and exc.__cause__.__traceback__ is None
    assert (sent(sock), done) == ([b"next"], ["next"])


@pytest.mark.parametrize("name, says", [("EMSGSIZE", "send less in one: IPv4 carries 65507 bytes"),
                                        ("EACCES", r"set_broadcast\(\) first")])
@pytest.mark.parametrize("verb", ["send", "send_owned"])
def test_what_the_caller_can_mend_is_raised_at_once(loop, verb, name, says):
    udp, sock = scripted(loop, (), [failed(name)] * 2, peer=PEER)
    seen = watch(udp, "error", "close")
    done = []
    with pytest.raises(icey.NetError, match="a datagram of 5 bytes to 192.0.2.7:7 was not sent: .*" + says) as caught:
        getattr(udp, verb)(bytearray(b"hello"), done=lambda: done.append(1))
    assert caught.value.errno == getattr(errno, name)
    turn(loop)
    assert (seen, done, sock.taken) == ([], [], []) and not udp.closing


def test_too_large_in_the_queue_is_told_and_dropped(loop):
    udp, sock = scripted(loop, (), [AGAIN, failed("EMSGSIZE"), failed("EMSGSIZE")])
    seen = watch(udp, "error", "close")
    done = []
    udp.send(bytes(70000), PEER, done=lambda: done.append("large"))
    udp.send(b"small", OTHER, done=lambda: done.append("small"))
    turn(loop, 2)
    (_, exc), = seen
    assert exc.errno == errno.EMSGSIZE and str(exc).startswith("a datagram of 70000 bytes to 192.0.2.7:7 was not sent")
    assert (sock.taken, done, udp.queued) == ([(b"small", OTHER)], ["small"], 0)


def test_too_large_for_the_kernel_we_run_on(loop):
    udp = bound(loop)
    came = received(udp)
    with pytest.raises(icey.NetError, match="a datagram of 70000 bytes to %s was not sent" % udp.local) as caught:
        udp.send(bytes(70000), udp.local)
    assert caught.value.errno == errno.EMSGSIZE
    udp.send(b"x", udp.local)
    until(loop, came, 1)


def test_a_descriptor_that_is_gone_closes_the_socket(loop):
    udp, sock = scripted(loop, (), [failed("EBADF")] * 2)
    seen = watch(udp, "error", "close")
    assert udp.send(b"x", PEER) is True
    turn(loop, 2)
    assert names(seen) == ["error", "close"]


# a kernel without memory: it tells no readiness, so it is asked again by the clock

@pytest.mark.parametrize("name", ["ENOBUFS", "ENOMEM"])
def test_a_kernel_without_memory_is_asked_again_after_a_rest(loop, clock, name):
    udp, sock = scripted(loop, (), [failed(name)] * 3)
    seen = watch(udp, "error", "close")
    udp.send(b"one", PEER)
    udp.send(b"two", PEER)
    assert udp.queued == 6
    turn(loop)  # nothing is ready: the virtual clock goes on only if asked to wait
    assert len(verbs(sock, "sendto")) == 1
    for count in (2, 3):
        clock.advance(REST)
        turn(loop)
        assert (len(verbs(sock, "sendto")), sock.taken) == (count, [])
    clock.advance(REST)
    turn(loop)
    assert (sent(sock), seen, udp.queued) == ([b"one", b"two"], [], 0)


@pytest.mark.parametrize("writes, told", [([], []), ([TAKE, STALL], ["close: 3 bytes not taken by the kernel within 5 s"])])
def test_a_close_gives_what_the_kernel_takes_by_now_before_it_is_given_up(loop, clock, writes, told):
    udp, sock = scripted(loop, (), [STALL, *writes])
    seen = watch(udp, "error", "close")
    for data in (b"one", b"two"):
        udp.send(data, PEER)
    udp.close()
    clock.advance(3600.0)
    sock.unstall()
    turn(loop, 3)
    assert sent(sock) == ([b"one"] if writes else [b"one", b"two"]) and udp.closed is not bool(writes)
    loop.run()
    assert [str(exc) for _, exc in seen[:-1]] == told and names(seen)[-1] == "close"
    assert not loop.handles and loop.timeout() is None


def test_a_close_while_it_rests(loop, clock):
    udp, sock = scripted(loop, (), [failed("ENOBUFS")])
    started = clock()
    udp.send(b"x", PEER)
    udp.close()
    loop.run()
    assert sent(sock) == [b"x"] and clock() - started == pytest.approx(REST)


def test_an_abort_while_it_rests_leaves_no_timer(loop):
    udp, sock = scripted(loop, (), [failed("ENOBUFS")])
    udp.send(b"x", PEER)
    udp.abort()
    loop.run()
    assert (sock.taken, loop.handles) == ([], ())


# reading and writing at once

def test_a_socket_that_reads_and_writes(loop):
    udp, sock = scripted(loop, [(b"in", PEER)], [STALL])
    came = received(udp)
    udp.send(b"out", PEER)
    turn(loop)
    assert came == [(b"in", Address(*PEER))] and udp.queued == 3
    sock.unstall()
    sock.feed((b"in", PEER))
    turn(loop)
    assert len(came) == 2 and sent(sock) == [b"out"]


def test_an_echo_that_is_refused_keeps_its_own(loop):
    udp, sock = scripted(loop, [(b"one", PEER), (b"two", OTHER)], [STALL])
    udp.on_recv += lambda sock, view, address: sock.send_owned(view, address)
    turn(loop, 2)
    sock.unstall()
    turn(loop)
    assert sock.taken == [(b"one", PEER), (b"two", OTHER)]


def test_whatever_the_kernel_does_nothing_is_lost_unseen_and_the_order_is_kept(loop):
    chance = seeds.rng()
    rude = [AGAIN, INTERRUPTED, STALL, failed("ENOBUFS"), failed("ECONNREFUSED"), failed("ENETUNREACH"), failed("EMSGSIZE")]
    udp, sock = scripted(loop, (), chance.choices(rude + [TAKE] * 7, k=300), peer=PEER)
    lost, done, raised = [], [], []
    udp.on_error += lambda sock, exc: lost.append(exc) if type(exc) is icey.NetError else None
    for number in range(200):
        data = bytearray(b"%d" % number) if chance.random() < 0.5 else b"%d" % number
        try:
            chance.choice([udp.send, udp.send_owned])(data, done=lambda number=number: done.append(b"%d" % number))
        except icey.NetError:
            raised.append(number)
        if chance.random() < 0.4:
            sock.unstall()
            loop.run_once(REST)
    while udp.queued:
        sock.unstall()
        loop.run_once(REST)
    turn(loop)
    assert done == sent(sock) == sorted(sent(sock), key=int)
    assert len(done) + len(lost) + len(raised) == 200
