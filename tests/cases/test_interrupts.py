"""KeyboardInterrupt at any line of icey: close() returns, everything is freed, and the loop can be run again.

The harness raises one at the first, the second, the third line that icey executes, and so on, each time with the same scenario.
The plain run takes some of the lines of the longer scenarios, the matrix (`-m slow`) all of them.
"""
import gc
import os
import socket
import sys
import warnings

import pytest

import icey
from icey.net import dns

PACKAGE = os.path.dirname(icey.__file__) + os.sep
cpython = pytest.mark.skipif(sys.implementation.name != "cpython", reason="traces lines as CPython does")
MOST = 200_000  # lines: whoever executes more of them spins


class Interrupts:
    """Traces icey's frames: raises KeyboardInterrupt at the line number `at`, counted from 1, AssertionError past MOST."""

    def __init__(self, at, loop=None):
        self.loop = loop
        self.running = False  # whether it struck inside of run()
        self.at = at
        self.lines = 0
        self.struck = None

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self.trace)

    def __exit__(self, *exc_info):
        sys.settrace(self.before)

    def trace(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "call":
            around = frame
            while around is not None and around.f_code.co_filename.startswith(PACKAGE):
                if around.f_code.co_name == "__del__":  # what strikes there Python prints, and goes on
                    return None
                around = around.f_back
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                self.struck = "%s:%d" % (frame.f_code.co_filename[len(PACKAGE):], frame.f_lineno)
                self.running = self.loop is not None and self.loop.running
                raise KeyboardInterrupt
            assert self.lines < MOST, "it spins"
        return self.trace


class Seen(list):
    """What a scenario saw, and the other end of its socket."""

    far = None
    ends = ()


def timers(loop, made, seen):
    made.append(icey.Timer(loop, 0.0, lambda timer: seen.append("once")).start())
    made.append(icey.Timer(loop, 0.0, lambda timer: timer.count >= 2 and timer.close(), interval=1e-9).start())
    loop.call_later(0.0, seen.append, "later")
    loop.call_later(60.0, seen.append, "never").stop()
    loop.run()
    made[0].close()


def calls(loop, made, seen):
    made.append(icey.Synchronizer(loop, lambda: (seen.append("synchronized"), made[0].close())))
    made.append(icey.Idler(loop, lambda idler: idler.close()).start())
    made[0].post()
    loop.post(seen.append, "posted")
    loop.call_soon(seen.append, "soon")
    loop.run()


def closing(loop, made, seen):
    near, seen.far = socket.socketpair()
    made.append(icey.Stream(loop, near))
    made[0].on_close += lambda stream: seen.append("closed")
    made[0].send_owned(b"x", lambda: seen.append("done"))
    made[0].close()
    made.append(icey.Poll(loop, seen.far))
    made[1].on_readable += lambda poll: poll.close()
    loop.run()


def echo(loop, made, seen):
    made.append(icey.TCPListener(loop, ("127.0.0.1", 0)))

    def accepted(listener, sock):
        made.append(sock)
        sock.on_recv += lambda sock, view: sock.send_owned(view)
        listener.close()

    def came(sock, view):
        seen.append(bytes(view))
        sock.close()

    made[0].on_accept += accepted
    made.append(icey.TCPSocket(loop))
    made[1].on_connect += lambda sock: sock.send(b"hello")
    made[1].on_recv += came
    made[1].connect(made[0].address, timeout=30)
    loop.run()


def names(loop, made, seen):
    made.append(icey.resolve(loop, "name.test", 80, lambda addresses, error: seen.append(str(addresses[0]))))
    made.append(icey.resolve(loop, "127.0.0.1", 80, lambda addresses, error: seen.append(str(addresses[0]))))
    loop.run()


def http(loop, made, seen):
    made.append(icey.http.Server(loop, "127.0.0.1", 0).start())
    made[0].on_request += lambda exchange: exchange.respond(200, b"hello")
    made.append(icey.http.ClientConnection(loop, "http://%s/" % made[0].address))
    made[1].on_complete += lambda conn: (seen.append("done"), conn.close(), made[0].close())
    made[1].start()
    loop.run()


def pipes(loop, made, seen):
    read, write = os.pipe()
    seen.ends = [os.fdopen(read, "rb", 0), os.fdopen(write, "wb", 0)]
    made.extend(icey.Pipe(loop, end) for end in seen.ends)
    made[0].on_recv += lambda pipe, view: seen.append(bytes(view))
    made[0].on_close += lambda pipe: seen.append("closed")
    made[1].send(b"x", lambda: seen.append("done"))
    made[1].close()
    loop.run()


def child(loop, made, seen):
    made.append(icey.Process(loop, ["cat"], stdin="pipe"))
    made[0].stdout.on_recv += lambda pipe, view: seen.append(bytes(view))
    made[0].on_exit += lambda process, code: seen.append("done")
    made[0].on_close += lambda process: seen.append("closed")
    made[0].stdin.send(b"hello")
    made[0].stdin.close()
    loop.run()


SCENARIOS = {timers: 11, calls: 7, closing: 11, echo: 73, names: 13, http: 211, pipes: 53, child: 73}  # stride of the plain run
DESCRIPTORS = (pipes, child)  # those whose descriptors are not sockets
ENDING = (timers, closing)  # those that end by themselves whatever an interrupt takes from them


@pytest.fixture(autouse=True)
def system(monkeypatch):
    """The system's resolver knows one address, and old frames may leave sockets to the collector."""
    monkeypatch.setattr(dns.socket, "getaddrinfo", lambda *args: [(socket.AF_INET, 1, 6, "", ("192.0.2.1", 80))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def struck(scenario, debug, at):
    """Plays `scenario`, interrupted at one line; looks at what is left. None once it has fewer lines than that."""
    loop, made, seen = icey.Loop(debug), [], Seen()
    loop.slow_limit = 1e9
    interrupts = Interrupts(at, loop)
    try:
        try:
            with interrupts:
                scenario(loop, made, seen)
        except KeyboardInterrupt:
            pass
        interrupts.at = -1
        where = interrupts.struck
        with interrupts:
            for _ in range(3):
                loop.call_soon(seen.append, "again")
                loop.run_once(0)
            handles = loop.handles
            if scenario in ENDING and interrupts.running:
                end = loop.call_later(1.0, lambda: (seen.append("stuck"), loop.stop()))
                end.unref()
                loop.run()
            loop.close()
    finally:
        loop.close()
        if seen.far is not None:
            seen.far.close()
        for end in seen.ends:  # of a pipe that was not made they are still ours
            end.close()
    assert seen.count("again") == 3, where
    assert "stuck" not in seen, (where, handles)
    for name in ("closed", "done", "once"):
        assert seen.count(name) <= 1, (where, seen)
    assert loop.closed and not loop.active and not loop.finishing, where
    for handle in made:
        assert handle.closed or not handle.registered, (where, handle)
        assert getattr(handle, "sock", None) is None or handle.sock.fileno() < 0, (where, handle)
    return where


def at_any_line(scenario, debug, stride):
    assert struck(scenario, debug, 0) is None  # what it imports is imported
    before = left(scenario)
    at, places = 1, 0
    while True:
        where = struck(scenario, debug, at)
        assert left(scenario) == before, where
        if where is None:
            break
        places += 1
        at += stride
    assert places >= 10


def left(scenario):
    """What is not given back: how many descriptors, and whether there is a child, a zombie included."""
    if scenario not in DESCRIPTORS:
        return None
    gc.collect()
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return len(os.listdir("/dev/fd")), False
    return len(os.listdir("/dev/fd")), True


def plays(scenarios):
    """Parametrizes with these scenarios."""
    marks = {scenario: pytest.mark.needs("fork") for scenario in DESCRIPTORS}
    return pytest.mark.parametrize("scenario", [
        pytest.param(scenario, id=scenario.__name__, marks=marks.get(scenario, ())) for scenario in scenarios])


@cpython
@plays(SCENARIOS)
def test_an_interrupt_at_any_line_leaves_a_loop_that_runs_and_closes(debug, scenario):
    at_any_line(scenario, debug, SCENARIOS[scenario])


@cpython
@pytest.mark.slow
@plays([scenario for scenario in SCENARIOS if SCENARIOS[scenario] > 1])
def test_at_each_line_of_the_long_ones(debug, scenario):
    at_any_line(scenario, debug, 1)


@cpython
def test_an_interrupt_at_any_line_of_close_leaves_no_descriptor(debug):
    """close() itself is struck, and called again."""
    at = 1
    while True:
        loop, made, seen = icey.Loop(debug), [], []
        loop.slow_limit = 1e9
        made.append(icey.TCPListener(loop, ("127.0.0.1", 0)))
        made.append(icey.Timer(loop, 60).start())
        made.append(icey.Synchronizer(loop, int))
        made[0].on_close += seen.append
        interrupts = Interrupts(at)
        try:
            with interrupts:
                loop.close()
        except KeyboardInterrupt:
            pass
        loop.close()
        assert loop.closed and made[0].sock.fileno() < 0 and loop.waker.fileno() < 0, interrupts.struck
        assert loop.post(int) is False and made[2].post() is False
        if interrupts.struck is None:
            break
        at += 1


@pytest.fixture(params=[False, True], ids=["release", "debug"])
def debug(request):
    return request.param
