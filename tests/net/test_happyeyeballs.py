"""connect() by name: addresses tried in turn (RFC 8305), the first to connect wins; deadlines, cancelling, nothing leaked.

The names and the network are scripted and the clock is virtual; the last part is about real sockets on the loopback.
"""
import errno
import os
import socket
import threading
import warnings
import weakref

import pytest

import icey
from icey.net import dns, happyeyeballs as connect
from icey.net.happyeyeballs import interleave
from icey.tools.testing import AGAIN, END
from tests.support import lacks, nets, out_of_descriptors, seeds, streams
from tests.support.loops import in_thread
from tests.support.nets import STALL, Attempt, Net
from tests.support.streams import collect, names, turn, watch

debug, clock, reports, loop, net = streams.debug, streams.clock, streams.reports, streams.loop, nets.net

REFUSED, UNREACHABLE = errno.ECONNREFUSED, errno.ENETUNREACH
A6, B6, C6 = "2001:db8::a", "2001:db8::b", "2001:db8::c"
A4, B4, C4 = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def addresses(*hosts):
    return [icey.Address(host, 80) for host in hosts]


def hosts(found):
    return [address.host for address in found]


def connecting(loop, **more):
    """A TCPSocket that connects to a name, and what comes of it."""
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "recv", "end", "error", "close")
    client.connect("name.test", 80, **more)
    return client, seen


# where descriptors have run out, and the first name is what has a module imported

@pytest.mark.needs("threading")
def test_without_descriptors_a_name_is_a_resolve_error(loop, monkeypatch):
    answers = []
    with monkeypatch.context() as out:
        out_of_descriptors(out, "queue")
        icey.resolve(loop, "name.test", 80, lambda found, error: answers.append((found, type(error), error.errno)))
        client, seen = connecting(loop)
        turn(loop, 3)
    assert answers == [([], icey.ResolveError, errno.EMFILE)]
    assert names(seen) == ["error", "close"] and client.closed
    assert "cannot resolve 'name.test'" in str(seen[0][1])


def test_without_descriptors_a_connect_to_a_name_is_a_connect_error(loop, monkeypatch):
    with monkeypatch.context() as out:
        out_of_descriptors(out, connect.__name__)
        client, seen = connecting(loop)
        turn(loop, 2)
    assert names(seen) == ["error", "close"] and client.closed
    assert isinstance(seen[0][1], icey.ConnectError) and seen[0][1].errno == errno.EMFILE



# the order of addresses

@pytest.mark.parametrize("given, order", [
    ([A4], [A4]),
    ([A4, B4, C4], [A4, B4, C4]),
    ([A6, B6], [A6, B6]),
    ([A6, A4], [A6, A4]),
    ([A4, A6], [A4, A6]),
    ([A6, B6, A4, B4], [A6, A4, B6, B4]),
    ([A4, B4, A6, B6], [A4, A6, B4, B6]),
    ([A6, B6, C6, A4], [A6, A4, B6, C6]),
    ([A6, A4, B4, C4], [A6, A4, B4, C4]),
    ([A4, A6, B6, C6], [A4, A6, B6, C6]),
    ([A6, A4, B6, B4, C6], [A6, A4, B6, B4, C6]),
    ([A6, A4, B4, B6, C6, C4], [A6, A4, B6, B4, C6, C4]),
    ([], []),
])
def test_the_families_take_turns_that_of_the_first_address_first(given, order):
    assert hosts(interleave(addresses(*given))) == order


def test_the_order_is_one_of_the_same_addresses_that_keeps_each_familys_own():
    rng = seeds.rng()
    for _ in range(300):
        given = [icey.Address(("2001:db8::%x" if rng.random() < 0.5 else "192.0.2.%d") % n, 80)
                 for n in range(1, rng.randrange(2, 12))]
        order = interleave(given)
        for family in (socket.AF_INET, socket.AF_INET6):
            assert [a for a in order if a.family == family] == [a for a in given if a.family == family]
        assert order[0] == given[0]
        fewer = min(sum(a.family == family for a in given) for family in (socket.AF_INET, socket.AF_INET6))
        turns = [a.family for a in order[:2 * fewer]]
        assert all(one != other for one, other in zip(turns, turns[1:]))


# when each is tried: outcomes -> (seconds, host) begun, the winner

@pytest.mark.parametrize("given, outcomes, begun, winner, at", [
    ([A6, B6, A4], {A6: (0.1, 0)}, [(0, A6)], A6, 0.1),
    ([A6, B6, A4], {A4: (0.05, 0)}, [(0, A6), (0.25, A4)], A4, 0.3),
    ([A6, B6, A4], {B6: (0.05, 0)}, [(0, A6), (0.25, A4), (0.5, B6)], B6, 0.55),
    ([A6, A4], {A6: (0.3, 0), A4: (1.0, 0)}, [(0, A6), (0.25, A4)], A6, 0.3),
    ([A6, A4], {A6: (0.1, REFUSED), A4: (0.1, 0)}, [(0, A6), (0.1, A4)], A4, 0.2),
    ([A6, A4, B6], {A6: (0.1, REFUSED), B6: (0.1, 0)}, [(0, A6), (0.1, A4), (0.35, B6)], B6, 0.45),
    ([A6, A4, B6], {A6: (0.3, REFUSED), B6: (0.1, 0)}, [(0, A6), (0.25, A4), (0.5, B6)], B6, 0.6),
    ([A6, A4, B6], {A4: (0.1, REFUSED), B6: (0.1, 0)}, [(0, A6), (0.25, A4), (0.35, B6)], B6, 0.45),
    ([A6, A4], {A6: UNREACHABLE, A4: (0.1, 0)}, [(0, A6), (0, A4)], A4, 0.1),
    ([A6, A4, B6, B4], {A6: UNREACHABLE, A4: REFUSED, B6: UNREACHABLE, B4: (0.1, 0)},
     [(0, A6), (0, A4), (0, B6), (0, B4)], B4, 0.1),
    ([A6, A4], {A6: 0}, [(0, A6)], A6, 0),
    ([A6, A4], {A4: 0}, [(0, A6), (0.25, A4)], A4, 0.25),
    ([A6, A4], {A6: OSError(errno.ENXIO, "no such interface"), A4: 0}, [(0, A6), (0, A4)], A4, 0),
], ids=["first", "second", "third", "first after the second began", "first refused", "the delay begins anew",
        "an older one's failure hurries nobody", "the newest's failure does", "no IPv6 here", "three fail at once",
        "connected at once", "second at once", "refused by the socket module"])
def test_attempts_begin_a_delay_apart_or_when_the_one_before_failed(loop, clock, net, given, outcomes, begun, winner, at):
    net.hosts, net.outcomes = given, outcomes
    client, seen = connecting(loop)
    client.on_connect += lambda client: client.close()
    loop.run()
    assert net.begun == begun
    assert clock() - net.started == pytest.approx(at)
    assert names(seen) == ["connect", "close"]
    assert client.peer == icey.Address(winner, 80)
    assert net.open() == []


def test_no_descriptor_for_one_attempt_is_its_error_and_the_others_go_on(loop, net):
    net.hosts, net.outcomes, net.no_descriptors_for = [A6, A4, B6], {A6: REFUSED, B6: 0}, {2}
    client, seen = connecting(loop)
    client.on_connect += lambda client: client.close()
    loop.run()
    assert names(seen) == ["connect", "close"]
    assert [host for _, host in net.begun] == [A6, B6]


def test_a_descriptor_that_cannot_be_watched_is_its_attempts_error(loop, net, monkeypatch):
    net.hosts = [A6]
    poller = loop.poller

    def register(fd, events, fn):
        raise OSError(errno.EMFILE, "select() takes no more")
    client, seen = connecting(loop)
    with monkeypatch.context() as patch:
        patch.setattr(poller, "register", register)
        loop.run()
    assert names(seen) == ["error", "close"]
    assert str(seen[0][1]) == "cannot connect to name.test:80: select() takes no more"
    assert net.open() == []


def test_a_race_may_be_given_its_addresses(loop, net):
    net.outcomes = {A4: (0.1, 0)}
    came = []
    race = connect.HappyEyeballs(loop, icey.Address("name.test", 80), lambda *outcome: came.append(outcome))
    loop.call_soon(race.start, addresses(A6, A4))
    loop.call_later(1.0, int)
    loop.run()
    assert came == [(net.sockets[A4], icey.Address(A4, 80), None)]
    assert (race.closed, net.open(), net.lookups) == (True, [A4], [])
    net.sockets[A4].close()


# the winner and the others

def test_the_winner_is_the_socket_and_the_others_are_closed_in_the_same_turn(loop, net):
    net.hosts, net.outcomes = [A6, A4, B6], {A4: (0.3, 0)}
    net.reads = [b"welcome"]
    client, seen = connecting(loop)
    open_then = []
    client.on_connect += lambda client: open_then.append(client.peer.host)
    while not seen:
        loop.run_once()
    assert open_then == [A4]
    assert net.open() == [A4]
    client.send(b"hello")
    assert net.sockets[A4].sent == b"hello"
    turn(loop)
    assert seen[1:] == [("recv", b"welcome")]
    client.abort()
    turn(loop)
    assert net.open() == []


def test_of_two_that_connect_in_the_same_turn_one_wins_and_the_other_is_closed(loop, net):
    net.hosts = [A6, A4]
    client, seen = connecting(loop)
    fresh = []

    def slot(client):
        with socket.socket() as sock:
            fresh.append(sock.fileno())
    client.on_connect += slot
    while len(net.sockets) < 2:
        loop.run_once()
    descriptors = {host: sock.fileno() for host, sock in net.sockets.items()}
    for sock in net.sockets.values():
        sock.settle()
    turn(loop)
    assert names(seen) == ["connect"]
    assert net.open() == [client.peer.host]
    assert fresh[0] not in descriptors.values()  # a descriptor is not used again in its turn
    turn(loop, 3)
    assert names(seen) == ["connect"]
    client.abort()


def test_one_that_fails_in_the_turn_of_the_winner_changes_nothing(loop, net):
    for first in (A6, A4):
        net.hosts, net.sockets = [A6, A4], {}
        client, seen = connecting(loop)
        while len(net.sockets) < 2:
            loop.run_once()
        for host, sock in net.sockets.items():
            sock.settle(REFUSED if host == first else 0)
        turn(loop, 2)
        assert names(seen) == ["connect"]
        assert client.peer.host == ({A6, A4} - {first}).pop()
        client.abort()
        turn(loop)


# all fail

def test_when_all_fail_connect_error_has_each_attempt_in_the_order_tried(loop, net):
    net.hosts = [A6, B6, A4]
    net.outcomes = {A6: (0.6, errno.EHOSTUNREACH), A4: (0.1, REFUSED), B6: UNREACHABLE}
    client, seen = connecting(loop)
    done = []
    assert client.send(b"lost", lambda: done.append(1)) is True
    loop.run()
    assert names(seen) == ["error", "close"]
    error = seen[0][1]
    assert type(error) is icey.ConnectError
    assert [(at.host, type(exc), exc.errno) for at, exc in error.attempts] == [
        (A6, OSError, errno.EHOSTUNREACH), (A4, ConnectionRefusedError, REFUSED), (B6, OSError, UNREACHABLE)]
    assert str(error) == (
        "cannot connect to name.test:80: 3 addresses failed: [2001:db8::a]:80 (%s), 192.0.2.1:80 (%s), [2001:db8::b]:80 (%s)"
        % tuple(os.strerror(code) for code in (errno.EHOSTUNREACH, REFUSED, UNREACHABLE)))
    assert error.__cause__ is error.attempts[-1][1]
    assert error.errno == UNREACHABLE
    assert done == []
    assert client.peer == icey.Address("name.test", 80)
    assert net.open() == []


@pytest.mark.parametrize("outcome", [REFUSED, (0.1, REFUSED)], ids=["at once", "later"])
def test_when_the_only_address_fails_the_message_is_that_of_a_numeric_one(loop, net, outcome):
    net.outcomes = {A4: outcome}
    client, seen = connecting(loop)
    loop.run()
    assert str(seen[0][1]) == "cannot connect to name.test:80: %s" % os.strerror(REFUSED)
    assert hosts(at for at, _ in seen[0][1].attempts) == [A4]


def test_no_descriptors_at_all_is_connect_error(loop, net):
    net.hosts, net.no_descriptors_for = [A6, A4], {1, 2}
    client, seen = connecting(loop)
    loop.run()
    assert names(seen) == ["error", "close"]
    assert [exc.errno for _, exc in seen[0][1].attempts] == [errno.EMFILE] * 2


def test_a_name_that_cannot_be_resolved_is_that_resolve_error(loop, net):
    net.failure = icey.ResolveError("cannot resolve 'name.test': no")
    client, seen = connecting(loop, timeout=5.0)
    assert client.send(b"lost") is True
    loop.run()
    assert seen == [("error", net.failure), ("close",)]


# the deadline, over resolving and all attempts

def test_a_name_that_is_not_resolved_in_time_is_connect_error(loop, clock, net):
    net.delay = None
    client, seen = connecting(loop, timeout=5.0)
    loop.run()
    assert clock() - net.started == pytest.approx(5.0)
    assert names(seen) == ["error", "close"]
    (where, error), = seen[0][1].attempts
    assert where == icey.Address("name.test", 80)
    assert type(error) is icey.Deadline
    assert str(seen[0][1]) == "cannot connect to name.test:80: not connected within 5 s"
    assert net.lookups[0].closed


def test_the_deadline_is_the_error_of_those_that_were_under_way(loop, clock, net):
    net.delay = 1.0
    net.hosts, net.outcomes = [A6, A4, B6, B4], {A4: (0.1, REFUSED)}
    client, seen = connecting(loop, timeout=1.5)
    loop.run()
    assert clock() - net.started == pytest.approx(1.5)
    assert names(seen) == ["error", "close"]
    error = seen[0][1]
    assert [(at.host, type(exc)) for at, exc in error.attempts] == [
        (A6, icey.Deadline), (A4, ConnectionRefusedError), (B6, icey.Deadline)]
    assert str(error).endswith("[2001:db8::b]:80 (not connected within 1.5 s)")
    assert net.open() == []


def test_a_connection_within_the_deadline_forgets_it(loop, clock, net):
    net.outcomes = {A4: (4.0, 0)}
    client, seen = connecting(loop, timeout=5.0)
    loop.call_later(10.0, client.close)
    loop.run()
    assert names(seen) == ["connect", "close"]
    assert clock() - net.started == pytest.approx(10.0)


@pytest.mark.parametrize("outcome", [0, REFUSED], ids=["connected", "refused"])
def test_what_comes_in_the_very_turn_of_the_deadline_is_taken(loop, clock, net, outcome):
    net.hosts, net.outcomes = [A6, A4], {A4: outcome}
    client, seen = connecting(loop, timeout=0.25)  # when the second one begins
    loop.call_later(1.0, client.close)
    turn(loop)
    clock.advance(0.25)
    loop.run()
    if outcome:
        assert names(seen) == ["error", "close"]
        assert [type(exc) for _, exc in seen[0][1].attempts] == [icey.Deadline, ConnectionRefusedError]
    else:
        assert names(seen) == ["connect", "close"] and client.peer.host == A4
    assert net.open() == []


def test_a_connection_made_while_a_slot_held_the_loop_is_taken(loop, clock, net):
    net.hosts = [A6]
    client, seen = connecting(loop, timeout=5.0)
    turn(loop)

    def hold():
        clock.advance(60.0)
        net.sockets[A6].unstall()  # the handshake was over long ago

    loop.call_soon(hold)
    loop.call_later(70.0, client.close)
    loop.run()
    assert names(seen) == ["connect", "close"]


def test_an_answer_in_the_very_turn_of_the_deadline_comes_too_late(loop, clock, net, monkeypatch):
    answers = []
    monkeypatch.setattr(connect, "resolve", lambda loop, host, port, done: answers.append(done) or icey.Handle(loop))
    for answer in ((addresses(A4), None), ([], icey.ResolveError("no"))):
        client, seen = connecting(loop, timeout=5.0)
        loop.call_soon(answers.pop(), *answer)
        client._connect_late(5.0)
        loop.run()
        assert names(seen) == ["error", "close"]
        assert type(seen[0][1]) is icey.ConnectError
    assert net.open() == []


# as with a numeric address

def test_sends_are_queued_and_leave_when_connected(loop, net):
    net.hosts, net.outcomes = [A6, A4], {A4: (0.1, 0)}
    client, seen = connecting(loop)
    client.high_water = client.low_water = 3
    drained, done = watch(client, "drain"), []
    assert client.send(b"ab", lambda: done.append(names(seen))) is True
    turn(loop)
    assert client.send([b"cd", b"ef"]) is False
    client.pause()
    client.resume()
    assert client.queued == 6
    while not seen:
        loop.run_once()
    turn(loop)
    assert net.sockets[A4].sent == b"abcdef"
    assert (names(drained), done) == (["drain"], [["connect"]])
    client.abort()


def test_what_the_kernel_does_not_take_then_waits_for_room(loop, net, monkeypatch):
    monkeypatch.setattr(Attempt, "settle", lambda sock, error=0: (sock.allow(2, AGAIN), sock.unstall()))
    net.outcomes = {A4: (0.1, 0)}
    client, seen = connecting(loop)
    client.send(b"abcdef")
    client.close()
    loop.run()
    assert net.sockets[A4].sent == b"abcdef"
    assert names(seen) == ["close"]


def test_a_shutdown_while_connecting_acts_once_connected(loop, net):
    net.reads = [b"welcome", END]
    net.outcomes = {A4: (0.1, 0)}
    client, seen = connecting(loop)
    client.send(b"bye")
    client.shutdown()
    loop.run()
    assert seen == [("connect",), ("recv", b"welcome"), ("end",), ("close",)]
    assert ("shutdown", socket.SHUT_WR) in net.sockets[A4].calls


def test_a_close_that_drains_into_no_connection_ends_at_its_deadline(loop, clock, net):
    net.hosts = [A6, A4]
    client, seen = connecting(loop)
    client.send(b"lost")
    client.close()
    loop.run()
    assert clock() - net.started == pytest.approx(5.0)
    assert names(seen) == ["error", "close"]
    assert net.open() == []


def test_peer_and_local_before_and_after(loop, net):
    net.outcomes = {A4: (0.1, 0)}
    client, seen = connecting(loop)
    assert (client.peer, client.local) == (icey.Address("name.test", 80), None)
    assert repr(client) == "<TCPSocket name.test:80 open>"
    while not seen:
        loop.run_once()
    assert (client.peer, client.local) == (icey.Address(A4, 80), icey.Address("127.0.0.1", 1))
    client.abort()
    turn(loop)
    assert client.peer == icey.Address(A4, 80)


def test_options_set_meanwhile_are_every_attempts(loop, net):
    net.hosts, net.outcomes = [A6, A4], {A4: (0.1, 0)}
    client, seen = connecting(loop)
    client.set_no_delay()
    turn(loop, 2)
    client.set_keep_alive()
    while not seen:
        loop.run_once()
    client.set_no_delay(False)
    no_delay, keep_alive = (socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert net.sockets[A6].options == [no_delay + (True,), keep_alive + (True,)]
    assert net.sockets[A4].options == [no_delay + (True,), keep_alive + (True,), no_delay + (False,)]
    client.abort()


def test_options_after_a_failure_are_nothing(loop, net):
    net.outcomes = {A4: REFUSED}
    client, seen = connecting(loop)
    client.on_error += lambda client, exc: client.set_no_delay()
    loop.run()
    client.set_keep_alive()
    assert names(seen) == ["error", "close"]


def test_a_second_connect_is_state_error(loop, net):
    client, seen = connecting(loop)
    for _ in range(2):
        with pytest.raises(icey.StateError, match="connected or connecting"):
            client.connect("other.test", 80)
        turn(loop)
    client.abort()


@pytest.mark.parametrize("target", [
    ("name.test", 80), ("name.test:80",), (("name.test", 80),), (icey.Address("name.test", 80),)],
    ids=["host and port", "text", "tuple", "Address"])
def test_a_name_is_taken_in_every_form(loop, net, target):
    net.outcomes = {A4: 0}
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "close")
    client.connect(*target)
    assert seen == []
    client.on_connect += lambda client: client.close()
    loop.run()
    assert names(seen) == ["connect", "close"]


def test_an_exception_in_on_connect_closes_the_socket(loop, net, reports):
    net.outcomes = {A4: (0.1, 0)}
    client, seen = connecting(loop)

    def slot(client):
        raise ValueError
    client.on_connect += slot
    loop.run()
    assert [of for _, of in reports] == [client]
    reports.take(ValueError)
    assert client.closed


def test_an_unrefd_socket_keeps_no_loop_running_in_any_stage(loop, clock, net):
    net.delay, net.hosts = 1.0, [A6, A4]
    client, seen = connecting(loop)
    client.unref()
    loop.run()
    assert clock() == net.started
    client.ref()
    loop.call_later(1.1, client.unref)
    loop.run()
    assert net.open() == [A6]
    assert seen == []
    client.abort()


def test_another_thread_gets_affinity_error(loop, net):
    turn(loop)
    client = icey.TCPSocket(loop)
    with pytest.raises(icey.AffinityError):
        in_thread(client.connect, "name.test", 80)
    assert net.lookups == []
    client.close()


# cancelling

STAGES = {"at once": 0, "resolving": 0.5, "the first attempt": 1.1, "the second": 1.3, "the last": 2.0}


@pytest.mark.parametrize("stage", list(STAGES))
@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_socket_closed_in_any_stage_is_on_close_only_and_leaks_nothing(loop, clock, net, stage, end):
    net.delay, net.hosts = 1.0, [A6, A4, B6]
    client, seen = connecting(loop, timeout=60.0)
    until_now = STAGES[stage]
    if until_now:
        loop.call_later(until_now, loop.stop)
        loop.run()
    assert len(net.open()) == list(STAGES).index(stage) - 1 if until_now > 1 else not net.begun
    getattr(client, end)()
    assert seen == []
    loop.run()
    assert names(seen) == ["close"]
    assert clock() - net.started == pytest.approx(until_now)
    assert net.open() == []
    assert all(lookup.closed for lookup in net.lookups)
    assert net.left() == []
    loop.call_later(30.0, int)
    loop.run()
    assert names(seen) == ["close"]


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_loop_closed_in_any_stage_closes_everything(debug, clock, monkeypatch, stage):
    loop = icey.Loop(debug, clock=clock, selector=streams.VirtualSelector(clock))
    net = Net(loop, clock)
    net.delay, net.hosts = 1.0, [A6, A4, B6]
    monkeypatch.setattr(connect, "socket", net)
    monkeypatch.setattr(connect, "resolve", net.resolve)
    client, seen = connecting(loop, timeout=60.0)
    if STAGES[stage]:
        loop.call_later(STAGES[stage], loop.stop)
        loop.run()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
    texts = [str(warning.message) for warning in caught]
    assert (len(texts), names(seen), net.open()) == (int(debug), ["close"], [])
    assert not debug or "TCPSocket connecting to name.test:80, made at" in texts[0]


@pytest.mark.needs("fork")
def test_the_child_of_a_fork_closes_its_copies_of_the_sockets(loop, net):
    net.hosts = [A6, A4]
    client, seen = connecting(loop)
    while len(net.sockets) < 2:
        loop.run_once()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            loop.close()
            os.write(write, b"%d left" % len(net.open()))
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        assert pipe.read() == b"0 left"
    os.waitpid(child, 0)
    assert net.open() == [A6, A4]
    client.abort()


def test_nothing_is_left_for_the_garbage_collector(loop, net):
    kept = []

    class Slot:
        def __call__(self, *arguments):
            pass
    for outcomes in ({A6: 0}, {A4: (0.1, 0)}, {A6: REFUSED, A4: REFUSED}, {A6: (0.3, REFUSED), A4: (0.3, REFUSED)}, {}):
        net.hosts, net.outcomes = [A6, A4], outcomes
        client, seen = connecting(loop, timeout=1.0)
        slot = Slot()
        client.on_connect += lambda client: client.close()
        client.on_close += slot
        kept.append(weakref.ref(slot))
        loop.run()
        assert client.closed
    del client, slot, seen
    collect()
    assert [slot() for slot in kept] == [None] * 5


def test_whatever_happens_there_is_one_outcome_and_nothing_leaks(loop, clock, net):
    rng = seeds.rng()
    for _ in range(150):
        net.started, net.begun, net.sockets, net.made = clock(), [], {}, []
        net.delay = rng.choice([0.0, 0.3])
        net.hosts = rng.sample([A6, B6, C6, A4, B4, C4], rng.randrange(1, 7))
        net.no_descriptors_for = set(rng.sample(range(1, 7), rng.choice([0, 0, 1, 2])))
        later = [(seconds, code) for seconds in (0.0, 0.1, 0.25, 0.4) for code in (0, REFUSED)]
        net.outcomes = {host: rng.choice([STALL, 0, REFUSED, UNREACHABLE, OSError(errno.ENXIO, "no"), *later])
                        for host in net.hosts}
        client, seen = connecting(loop, timeout=rng.choice([0.25, 0.5, 0.75, 3.0]))
        end, closing = rng.choice([0.0, 0.3, 0.55, 9.0, 9.0]), rng.choice([client.close, client.abort])
        loop.call_later(end, closing)
        loop.run()
        assert names(seen) in (["connect", "close"], ["error", "close"], ["close"])
        assert net.open() == []
        assert net.left() == []
        order = hosts(interleave(addresses(*net.hosts)))
        begun = [host for _, host in net.begun]
        assert [host for host in order if host in begun] == begun
        if seen[0][0] == "error":
            error = seen[0][1]
            assert [at.host for at, _ in error.attempts] in (order[:len(error.attempts)], ["name.test"])
            assert clock() - net.started <= 9.0
        elif seen[0][0] == "connect":
            assert client.peer.host in begun


# real sockets

def refusing(host="127.0.0.1"):
    """A port where nobody listens, and the socket that keeps it so."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.bind((host, 0))
    return sock, sock.getsockname()[1]


def serving(loop, host="127.0.0.1", port=0):
    listener = icey.TCPListener(loop, (host, port))

    @listener.on_accept.attach
    def accepted(listener, sock):
        listener.close()
        sock.on_recv += lambda sock, view: sock.send_owned(view)
    return listener


@pytest.fixture
def real_resolver():
    """For those that ask the system: its threads end with the loop, which is closed before this."""
    yield
    for thread in threading.enumerate():
        if thread.name == dns.THREAD:
            thread.join(60)


def test_localhost_is_connected_to(real_resolver, loop):
    listener = serving(loop)
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "recv", "close")
    client.connect("localhost", listener.address.port)
    assert client.send(b"hello") is True
    client.on_recv += lambda client, view: client.close()
    loop.run()
    assert seen == [("connect",), ("recv", b"hello"), ("close",)]
    assert client.peer == listener.address


def test_localhost_where_nobody_listens_is_connect_error(real_resolver, loop):
    taken, port = refusing()
    with taken:
        client = icey.TCPSocket(loop)
        seen = watch(client, "connect", "error", "close")
        client.connect("localhost", port)
        loop.run()
    assert names(seen) == ["error", "close"]
    assert icey.Address("127.0.0.1", port) in [at for at, _ in seen[0][1].attempts]
    assert all(isinstance(exc, OSError) for _, exc in seen[0][1].attempts)


@pytest.fixture
def resolved(monkeypatch):
    """Sets what every name has."""
    def set_to(*hosts):
        def resolve(loop, host, port, done):
            handle = icey.Handle(loop)
            loop.call_soon(done, [icey.Address(host, port) for host in hosts], None)
            return handle
        monkeypatch.setattr(connect, "resolve", resolve)
    return set_to


@pytest.mark.skipif(bool(lacks("ipv6")), reason=str(lacks("ipv6")))
def test_where_nobody_listens_on_ipv6_it_is_ipv4(loop, resolved):
    resolved("::1", "127.0.0.1")
    listener = serving(loop)
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "recv", "close")
    client.connect("name.test", listener.address.port)
    client.send(b"hello")
    client.on_recv += lambda client, view: client.close()
    loop.run()
    assert seen == [("connect",), ("recv", b"hello"), ("close",)]
    assert client.peer == listener.address


def test_megabytes_over_a_connection_by_name(loop, resolved):
    resolved("127.0.0.1")
    listener = serving(loop)
    data = os.urandom(1 << 20)
    got = bytearray()
    client = icey.TCPSocket(loop)
    client.connect("name.test", listener.address.port, timeout=30.0)
    client.on_recv += lambda client, view: (got.extend(view), len(got) == len(data) and client.close())
    client.send(data)
    loop.run()
    assert got == data


def test_real_attempts_that_are_given_up_leave_no_descriptor(loop, resolved):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this platform does not tell its descriptors")
    resolved("127.0.0.1", "127.0.0.2", "127.0.0.3")
    taken, port = refusing()
    with taken:
        before = os.listdir("/proc/self/fd")
        for end in ("close", "abort", None):
            client = icey.TCPSocket(loop)
            client.connect("name.test", port)
            turn(loop)
            if end:
                getattr(client, end)()
            loop.run()
            assert client.closed
        assert os.listdir("/proc/self/fd") == before
