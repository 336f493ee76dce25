"""ThreadHost: a loop on a thread of its own, and what the other threads have of it."""
import os
import subprocess
import sys
import threading
import time
import warnings

import pytest

from icey import Address, AffinityError, Loop, Process, StateError, TCPListener, TCPSocket, Timer, hosts, http
from tests.support import ROOT, needs
from tests.support.loops import debug, in_thread  # noqa: F401
from tests.support.programs import without_slowness

needs("threading")
ThreadHost = hosts.ThreadHost


@pytest.fixture
def host(debug):
    host = ThreadHost(debug=debug, name="icey test").start()
    yield host
    host.stop()
    assert "icey test" not in [thread.name for thread in threading.enumerate()]


def serving(loop):
    server = http.Server(loop, "127.0.0.1", 0)
    server.on_request += lambda exchange: exchange.respond(200, exchange.request.path.encode())
    return server.start()


# start

def test_setup_runs_on_the_new_thread_before_start_returns(debug):
    seen = []
    with ThreadHost(lambda loop: seen.append((loop, threading.current_thread())), debug=debug, name="here") as host:
        assert seen == [(host.loop, seen[0][1])]
        assert seen[0][1].name == "here" and seen[0][1] is not threading.current_thread()
        assert host.alive and host.loop.debug is debug and repr(host) == "<ThreadHost 'here', alive>"
    assert not host.alive and host.loop.closed and repr(host) == "<ThreadHost 'here', over>"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_setup_raises_comes_out_of_start_and_nothing_is_left(debug, error):
    def setup(loop):
        TCPListener(loop, Address("127.0.0.1", 0))
        raise error("no")

    host = ThreadHost(setup, debug=debug)
    with pytest.raises(error, match="no"):
        host.start()
    assert not host.alive and host.loop.closed
    with pytest.raises(StateError):
        host.call(int)
    host.stop()


def test_setup_may_use_its_host(debug, monkeypatch):
    begin = threading.Thread.start

    def slowly(thread):  # start() goes on when setup is over, as where the system takes its time
        begin(thread)
        over.wait(60)

    def setup(loop):
        seen.extend([host.alive, host.call(int, "7")])
        host.stop()
        over.set()

    monkeypatch.setattr(threading.Thread, "start", slowly)
    seen, over = [], threading.Event()
    host = ThreadHost(setup, debug=debug)
    assert host.start() is host and seen == [True, 7]
    host._thread.join(60)
    assert not host.alive


def test_a_setup_that_stops_its_host_and_fails_is_told_once(debug):
    def setup(loop):
        host.stop()
        raise ValueError("no")

    host = ThreadHost(setup, debug=debug)
    with pytest.raises(ValueError, match="no"):
        host.start()  # the thread says nothing more of it: that would be a warning
    assert not host.alive


def test_two_threads_that_start_a_host_at_once_start_one_thread(debug, monkeypatch):
    from icey.hosts import threadhost
    watch = threadhost._watch_the_end

    def meanwhile():
        with pytest.raises(StateError, match="was started"):
            host.start()
        return watch()

    monkeypatch.setattr(threadhost, "_watch_the_end", meanwhile)
    host = ThreadHost(debug=debug, name="one of a kind")
    assert host.start() is host
    assert [thread.name for thread in threading.enumerate()].count("one of a kind") == 1
    host.stop()


def test_a_start_for_which_there_is_no_thread_left_can_be_tried_again(debug, monkeypatch):
    def none_left(thread):
        raise RuntimeError("can't start new thread")

    host = ThreadHost(debug=debug)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="new thread"):
        patch.setattr(threading.Thread, "start", none_left)
        host.start()
    assert not host.alive
    assert host.start().call(int, "7") == 7
    host.stop()


def test_starting_twice_is_StateError_also_when_it_is_over(debug):
    host = ThreadHost(debug=debug).start()
    with pytest.raises(StateError, match="make another host"):
        host.start()
    host.stop()
    with pytest.raises(StateError, match="make another host"):
        host.start()


def test_before_start_there_is_nothing():
    host = ThreadHost()
    with pytest.raises(StateError, match=r"start\(\) it first"):
        host.loop
    with pytest.raises(StateError, match=r"start\(\) it first"):
        host.call(int)
    assert host.post(int) is False and not host.alive
    host.stop()


@pytest.mark.parametrize("build", [lambda: ThreadHost(1), lambda: ThreadHost().call(1), lambda: ThreadHost().post(1)])
def test_what_cannot_be_called_is_a_TypeError(build):
    with pytest.raises(TypeError):
        build()


# call and post

def test_call_returns_what_the_function_returns_or_raises(host):
    assert host.call(threading.get_ident) == host.loop.thread != threading.get_ident()
    assert host.call(divmod, 7, 2) == (3, 1)
    for error in (ZeroDivisionError, KeyboardInterrupt, SystemExit):
        def fails(error=error):
            raise error("mine")
        with pytest.raises(error, match="mine"):
            host.call(fails)
    assert host.alive


def test_call_on_its_own_thread_is_at_once(host):
    def nested():
        return host.call(lambda: "inner")

    assert host.call(nested) == "inner"


def test_the_loop_itself_is_for_its_thread_alone(host):
    with pytest.raises(AffinityError):
        host.loop.call_soon(int)


def test_calls_of_many_threads_at_once(host):
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(host.call(lambda: n * n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == [n * n for n in range(8)]


def test_a_call_that_nobody_waits_for_any_more_is_not_begun(host):
    host.call(setattr, host.loop, "slow_limit", 60.0)
    release, begun = threading.Event(), []
    host.post(release.wait, 60)
    with pytest.raises(TimeoutError, match="has not returned within 0 s"):
        host.call(begun.append, 1, timeout=0)
    release.set()
    host.call(int)
    assert begun == []


@pytest.mark.parametrize("seconds", [1e12, 1e300])
def test_a_time_that_no_lock_can_wait_for(debug, seconds):
    host = ThreadHost(debug=debug).start()
    assert host.call(lambda: 7, timeout=seconds) == 7
    host.stop(seconds)
    assert not host.alive


def test_what_a_call_raises_after_its_timeout_goes_to_on_error(host):
    host.call(setattr, host.loop, "slow_limit", 60.0)
    release, begun, told = threading.Event(), threading.Event(), []
    host.call(lambda: host.loop.on_error.attach(lambda loop, exc, handle: told.append(str(exc))))

    def late():
        begun.set()
        release.wait(60)
        raise ValueError("too late")

    def waits():
        with pytest.raises(TimeoutError):
            host.call(late, timeout=0.02)

    in_thread(waits)
    assert begun.wait(60)
    release.set()
    host.call(int)
    assert told == ["too late"]


def test_a_KeyboardInterrupt_in_call_reaches_the_caller_and_the_call_is_not_begun(host, monkeypatch):
    host.call(setattr, host.loop, "slow_limit", 60.0)
    release, begun = threading.Event(), []
    host.post(release.wait, 60)

    class Interrupted(type(release)):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading, "Event", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            host.call(begun.append, 1)
    release.set()
    host.call(int)
    assert begun == []


def test_post_does_not_wait_and_says_whether_it_will_be(host):
    seen = []
    assert host.post(seen.append, 1) is True
    host.call(int)
    assert seen == [1]
    host.stop()
    assert host.post(seen.append, 2) is False
    assert seen == [1]


def test_a_server_on_it_answers_a_program_that_blocks(debug):
    servers = []
    with ThreadHost(lambda loop: servers.append(serving(loop)), debug=debug) as host:
        answer = http.fetch("http://%s/blocking" % host.call(lambda: servers[0].address))
        assert (answer.status, answer.body) == (200, b"/blocking")


# stop

def test_stop_finishes_what_is_in_flight(debug):
    arrived, exchanges, answers = threading.Event(), [], []

    def setup(loop):
        server = http.Server(loop, "127.0.0.1", 0)
        server.on_request += lambda exchange: (exchanges.append(exchange), arrived.set())
        server.on_shutdown += lambda server: loop.call_later(0.01, exchanges[0].respond, 200, b"whole")
        server.start()
        Timer(loop, 0.001, interval=0.001).start()  # keeps nothing running
        ends.append("http://%s/" % server.address)

    ends = []
    host = ThreadHost(setup, debug=debug).start()
    client = threading.Thread(target=lambda: answers.append(http.fetch(ends[0])))
    client.start()
    assert arrived.wait(60)
    host.stop(grace=60)
    client.join(60)
    assert answers[0].body == b"whole"
    assert not host.alive


def test_stop_closes_what_would_not_end_by_itself(debug):
    closed = []

    def setup(loop):
        listener = TCPListener(loop, Address("127.0.0.1", 0))
        listener.on_accept += lambda listener, sock: connected.set()
        sock = TCPSocket(loop)
        sock.connect("127.0.0.1", listener.address.port)
        for handle in (listener, sock):
            handle.on_close += lambda handle: closed.append(type(handle).__name__)

    connected = threading.Event()
    host = ThreadHost(setup, debug=debug).start()
    assert connected.wait(60)
    host.stop(grace=60)
    assert sorted(closed) == ["TCPListener", "TCPSocket"]


def test_stop_closes_an_event_stream_and_a_connection_that_is_idle(debug):
    ended = []

    def setup(loop):
        url = "http://%s/" % serving(loop).address
        source = http.EventSource(loop, url)  # what it gets is no event stream, or nothing: it would ask again
        source.on_error += lambda source, exc: None
        conn = http.ClientConnection(loop, url)
        conn.on_complete += lambda conn: answered.set()
        conn.on_close += lambda conn: ended.append("connection")
        later = http.EventSource(loop, "http://127.0.0.1:1/", retry=(600.0, 600.0))
        later.on_error += lambda source, exc: refused.set()
        later.on_close += lambda source: ended.append("source")
        for one in (source, conn, later):
            one.start()

    answered, refused = threading.Event(), threading.Event()
    host = ThreadHost(setup, debug=debug).start()
    assert answered.wait(60) and refused.wait(60)
    began = time.monotonic()
    host.stop(grace=60)
    assert sorted(ended) == ["connection", "source"] and time.monotonic() - began < 50


@pytest.mark.needs("subprocess", "signal", "fcntl", "fork")
def test_stop_ends_child_processes_in_order(debug):
    ended = []

    def setup(loop):
        child = Process(loop, [sys.executable, "-c", "import time; time.sleep(120)"])
        child.on_exit += lambda child, status: ended.append(status)

    ThreadHost(setup, debug=debug).start().stop(grace=60)
    assert ended == [-15]


def test_what_is_not_over_after_the_grace_is_aborted(debug):
    def setup(loop):
        server = http.Server(loop, "127.0.0.1", 0)
        server.on_request += lambda exchange: (kept.append(exchange), arrived.set())
        ends.append(server.start().address)

    kept, ends, arrived = [], [], threading.Event()
    host = ThreadHost(setup, debug=debug).start()
    with Loop(debug) as loop:
        sock = TCPSocket(loop)
        sock.on_error += lambda sock, exc: None
        sock.on_connect += lambda sock: sock.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        sock.connect(ends[0])
        while not arrived.is_set():
            loop.run_once(0.01)
        host.stop(grace=0)
        assert not host.alive
        sock.on_recv += lambda sock, view: None
        loop.run()


def test_stop_on_its_own_thread_begins_the_end(debug):
    host = ThreadHost(debug=debug).start()
    host.call(host.stop)
    host._thread.join(60)
    assert not host.alive
    host.stop()


def test_loop_stop_ends_it_too(debug):
    host = ThreadHost(debug=debug).start()
    host.post(host.loop.stop)
    host._thread.join(60)
    assert not host.alive and host.loop.closed


def test_a_call_that_the_loop_does_not_come_to_is_StateError(debug):
    for _ in range(20):
        host = ThreadHost(debug=debug).start()
        host.post(host.loop.stop)
        try:
            while True:
                assert host.call(lambda: 1) == 1
        except StateError as exc:
            assert "does not run" in str(exc)
        host.stop()


def test_stop_says_where_a_slot_holds_the_thread(debug, monkeypatch):
    monkeypatch.setattr("icey.hosts.threadhost.AFTER_GRACE", 0.05)
    release = threading.Event()
    host = ThreadHost(debug=debug).start()
    host.call(setattr, host.loop, "slow_limit", 60.0)
    host.post(release.wait, 60)
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.05 s, it is in .*threading\.py, line \d+"):
        host.stop(grace=0)
    assert host.alive
    release.set()
    host._thread.join(60)
    host.stop()


def test_stop_by_two_threads_at_once(debug):
    host = ThreadHost(debug=debug).start()
    threads = [threading.Thread(target=host.stop) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not host.alive


def test_two_threads_that_stop_it_join_its_thread_one_after_the_other(debug):
    """Of two that do it at once, PyPy 3.9 has one fail."""
    host = ThreadHost(debug=debug).start()
    join, inside, most, others = host._thread.join, [], [], []

    def joins():
        inside.append(1)
        most.append(len(inside))
        if not others:
            others.append(threading.Thread(target=host.stop))
            others[0].start()
            others[0].join(0.02)
        join()
        inside.pop()

    host._thread.join = joins
    host.stop()
    others[0].join(60)
    assert most == [1, 1] and not host.alive


@pytest.mark.parametrize("grace", [-1, float("nan")])
def test_a_grace_that_is_no_time_is_refused(host, grace):
    with pytest.raises(ValueError, match="grace"):
        host.stop(grace)


# the end of the program

FORGOTTEN = """
import threading
import icey
def setup(loop):
    server = icey.http.Server(loop, "127.0.0.1", 0).start()
    server.on_close += lambda server: print("closed in order")
host = icey.hosts.ThreadHost(setup).start()
print("daemon" if host.call(threading.current_thread).daemon else "thread")
%s
print("the end of the program")
"""


@pytest.mark.parametrize("last, status", [("", 0), ("raise SystemExit(3)", 3), ("1 // 0", 1)])
def test_what_was_not_stopped_ends_with_the_program(last, status):
    done = subprocess.run([sys.executable, "-c", FORGOTTEN % last], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=60)
    lines = done.stdout.split("\n")
    assert done.returncode == status, done.stderr
    assert lines[0] == ("thread" if sys.version_info >= (3, 9) else "daemon")
    assert lines[-2] == "closed in order"


@pytest.mark.needs("fork")
def test_a_forked_child_has_no_thread(host):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there is a thread, and the child does not touch it
        child = os.fork()
    if not child:
        try:
            host.call(int)
        except StateError:
            os._exit(0)
        finally:
            os._exit(1)
    end = time.monotonic() + 60
    status = (0, 0)
    while not status[0] and time.monotonic() < end:
        status = os.waitpid(child, os.WNOHANG)
    assert status == (child, 0)


CHILDREN = """
import multiprocessing, os, sys, warnings
import icey
warnings.simplefilter("ignore", DeprecationWarning)  # there are threads, and the children touch none of them
host = icey.hosts.ThreadHost().start()
child = multiprocessing.get_context("fork").Process(target=int)
child.start()
child.join()
pid = os.fork()
if not pid:
    with icey.hosts.ThreadHost() as own:
        assert own.call(int) == 0
    icey.hosts.ThreadHost().start()  # the end of the child stops it
    sys.exit(0)
print(child.exitcode, os.waitpid(pid, 0)[1], host.call(int))
"""


@pytest.mark.needs("fork")
def test_a_forked_child_ends_as_if_the_hosts_of_its_parent_were_not():
    pytest.importorskip("_multiprocessing")
    done = subprocess.run([sys.executable, "-c", CHILDREN], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=60)
    assert (done.stdout, without_slowness(done.stderr), done.returncode) == ("0 0 0\n", "", 0)
