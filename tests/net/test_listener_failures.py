"""TCPListener, out of descriptors or worse: it backs off, says so once a second, and recovers."""
import errno
import os
import subprocess
import sys

import pytest

import icey
from icey.net import listener as listening
from tests.support import streams
from tests.support.accepting import accepting, scripted
from tests.support.programs import without_slowness
from tests.support.streams import names, turn, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop


@pytest.fixture
def said(monkeypatch):
    """What the listener logs."""
    lines = []
    monkeypatch.setattr(listening.log, "warning", lambda area, text, *args, **more: lines.append(text % args))
    monkeypatch.setattr(listening.log, "error", lambda area, text, *args, **more: lines.append(text % args))
    return lines


def too_many():
    return OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_out_of_descriptors_it_backs_off_and_recovers(loop, clock, said, code):
    listener = scripted(loop, OSError(code, "none left"), None)
    accepted = accepting(loop, listener)
    seen = watch(listener, "error", "close")
    turn(loop, 3)
    assert accepted == []
    clock.advance(listening.REST)
    turn(loop, 2)
    assert len(accepted) == 1
    assert seen == []
    assert said == ["accept on %s: none left; trying again in 0.1 s" % listener.address]


@pytest.mark.parametrize("counts", [False, True], ids=["posix", "windows"])
def test_where_the_poller_takes_no_more_it_rests_as_without_descriptors(loop, clock, said, reports, monkeypatch, counts):
    """select() has its 1024, which are numbers, or 512 on Windows, which are counted: there nobody is lost."""
    full = True

    def require_room(poller, fd):
        if full and fd != listener.sock.fileno() and (fd == 0) is counts:
            raise OSError(errno.EMFILE, "select() takes no more")

    listener = scripted(loop, None, None, None)
    monkeypatch.setattr(type(loop.poller), "require_room", require_room)
    accepted = accepting(loop, listener)
    for times in (1, 2):
        turn(loop, 3)
        assert len(listener.sock.script) == (3 if counts else 3 - times)
        clock.advance(listening.REST)
    assert accepted == []
    full = False
    turn(loop, 2)
    assert len(accepted) == (3 if counts else 1)
    assert reports == []
    assert said == ["accept on %s: select() takes no more; trying again in 0.1 s" % listener.address]


def test_where_others_have_taken_its_own_place_it_rests_on(loop, clock, said, reports, monkeypatch):
    full = True
    real = loop.poller.register

    def register(fd, events, fn):
        if full:
            raise OSError(errno.EMFILE, "select() takes no more")
        real(fd, events, fn)

    listener = scripted(loop, None)
    accepted = accepting(loop, listener)
    listener.pause()
    monkeypatch.setattr(loop.poller, "register", register)
    listener.resume()
    for _ in range(3):
        turn(loop, 2)
        clock.advance(listening.REST)
    assert accepted == []
    full = False
    turn(loop, 3)
    assert len(accepted) == 1
    assert reports == []
    assert said == ["accept on %s: select() takes no more; trying again in 0.1 s" % listener.address]


def test_resumed_while_it_rests_it_tries_once_and_rests_on(loop, clock, said):
    """As a Server does when a connection ends: a failure then must not have it try in each turn."""
    listener = scripted(loop, too_many(), too_many(), None)
    accepted = accepting(loop, listener)
    turn(loop, 3)
    listener.resume()
    turn(loop, 3)
    assert accepted == []
    clock.advance(listening.REST)
    turn(loop, 2)
    assert len(accepted) == 1


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EPERM])
def test_one_that_closes_without_descriptors_does_not_try_again(loop, clock, said, reports, code):
    """Its last look at the backlog fails: nothing is left that would come back to it."""
    listener = scripted(loop, *[OSError(code, "none left") for _ in range(4)])
    accepting(loop, listener)
    listener.accept_waiting()
    listener.close()
    turn(loop, 2)
    assert listener.closed
    clock.advance(listening.REST)
    turn(loop, 2)
    assert reports == []


def test_out_of_descriptors_it_logs_one_line_a_second(loop, clock, said):
    listener = scripted(loop, *[too_many() for _ in range(35)])
    started = clock()
    while listener.sock.script:
        clock.advance(listening.REST)
        turn(loop, 2)
    elapsed = clock() - started
    assert 3.0 <= elapsed <= 4.0
    assert len(said) == 4


def test_out_of_memory_it_rests_as_without_descriptors(loop, clock, said):
    listener = scripted(loop, MemoryError(), None)
    accepted = accepting(loop, listener)
    turn(loop, 3)
    assert accepted == []
    clock.advance(listening.REST)
    turn(loop, 2)
    assert len(accepted) == 1
    assert said == ["accept on %s: %s; trying again in 0.1 s" % (listener.address, os.strerror(errno.ENOMEM))]


def test_a_connection_for_which_there_is_no_memory_is_closed_and_the_next_one_is_taken(loop, clock, said, monkeypatch):
    listener = scripted(loop, None, None)
    accepted = accepting(loop, listener)
    real, none_left = listening.TCPSocket, [MemoryError()]

    def made(*args):
        if none_left:
            raise none_left.pop()
        return real(*args)

    monkeypatch.setattr(listening, "TCPSocket", made)
    turn(loop, 3)
    assert accepted == [] and listener.sock.made[0].recv(1) == b""
    clock.advance(listening.REST)
    turn(loop, 2)
    assert len(accepted) == 1 and len(said) == 1


def test_a_taken_port_is_told_with_its_address(loop):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    with pytest.raises(OSError, match="'%s'$" % listener.address) as info:
        icey.TCPListener(loop, listener.address)
    assert info.value.errno == errno.EADDRINUSE and info.value.filename == str(listener.address)
    udp, other = icey.UDPSocket(loop), icey.UDPSocket(loop)
    udp.bind("127.0.0.1:0")
    with pytest.raises(OSError, match="'%s'$" % udp.local):
        other.bind(udp.local)
    for handle in (udp, other, listener):
        handle.close()


def test_out_of_descriptors_it_does_not_spin(loop):
    listener = scripted(loop, *[too_many() for _ in range(5)])
    listener.sock.script = [too_many() for _ in range(5)]
    turn(loop, 10)
    assert len(listener.sock.script) == 4


@pytest.mark.parametrize("end", ["close", "pause"])
def test_stopped_while_it_backs_off_it_stays_so(loop, clock, said, end):
    listener = scripted(loop, too_many(), None)
    accepted = accepting(loop, listener)
    turn(loop)
    getattr(listener, end)()
    for _ in range(3):
        clock.advance(listening.REST)
        turn(loop)
    assert accepted == []
    if end == "pause":
        listener.resume()
        turn(loop)
        assert len(accepted) == 1


def test_the_timer_of_the_back_off_does_not_keep_the_loop_running(loop, said):
    listener = scripted(loop, too_many())
    turn(loop)
    listener.unref()
    loop.run()


def test_another_failure_is_on_error_and_the_listener_goes_on(loop, clock, said, reports):
    listener = scripted(loop, OSError(errno.EPERM, "firewall"), None)
    accepted = accepting(loop, listener)
    seen = watch(listener, "error", "close")
    turn(loop)
    assert names(seen) == ["error"]
    assert seen[0][1].errno == errno.EPERM
    assert len(said) == 1 and "firewall" in said[0]
    clock.advance(listening.REST)
    turn(loop, 2)
    assert len(accepted) == 1


@pytest.mark.parametrize("stop", ["close", "pause"])
def test_a_listener_stopped_in_on_error_stays_so(loop, clock, said, stop):
    listener = scripted(loop, OSError(errno.EPERM, "firewall"), None)
    accepted = accepting(loop, listener)
    listener.on_error += lambda listener, exc: getattr(listener, stop)()
    for _ in range(4):
        turn(loop)
        clock.advance(listening.REST)
    assert accepted == []


SHORT_OF_DESCRIPTORS = """
import resource, socket, icey
loop = icey.Loop(debug=%r)
listener = icey.TCPListener(loop, "127.0.0.1:0")
accepted, callers = [], []
listener.on_accept += lambda listener, sock: accepted.append(sock)
for _ in range(8):
    callers.append(socket.socket())
    callers[-1].connect(listener.address.sockaddr())
used = max(caller.fileno() for caller in callers)
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 4, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for _ in range(4):
    loop.run_once(0.05)
print(len(accepted), flush=True)
for sock in accepted:
    sock.close()
while len(accepted) < 8:
    loop.run_once(1.0)
    for sock in accepted:
        sock.close()
print(len(accepted), flush=True)
for caller in callers:
    caller.close()
listener.close()
loop.run()
loop.close()
"""


@pytest.mark.skipif(os.name != "posix", reason="needs RLIMIT_NOFILE")
def test_really_out_of_descriptors_it_recovers(debug):
    done = subprocess.run([sys.executable, "-c", SHORT_OF_DESCRIPTORS % debug], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, timeout=60)
    assert done.returncode == 0, done.stderr
    first, last = map(int, done.stdout.split())
    assert 0 < first < last == 8
    lines = without_slowness(done.stderr).splitlines()
    assert len(lines) == 1 and "accept on 127.0.0.1:" in lines[0]
