"""A worker's life, in this process: its beginning, its signs of life, its end. As a process: test_processes.py."""
import os
import signal
import socket
import sys

import pytest

import icey
from tests.support import needs
from tests.support.packets import LONG

needs("fork", "signal", "unix")  # before the import of what needs them

from icey.workers import worker  # noqa: E402
from icey.workers.worker import ALIVE, FAILED, READY, SLOWEST, Worker, beat_of, load  # noqa: E402


@pytest.fixture
def parent():
    """The parent of a worker: `make(serve)` makes the worker, `heard()` reads what it said, `address` is the listener's."""
    parent = Parent()
    yield parent
    parent.close()


class Parent:
    def __init__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen()
        self.address = self.sock.getsockname()
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(LONG)
        self.theirs.setblocking(False)

    def make(self, serve, grace=4.0, linger=0.0):
        worker = Worker(serve, [self.sock.detach()], self.theirs, grace, linger)
        worker.loop.slow_limit = LONG
        return worker

    def heard(self):
        return self.ours.recv(100)

    def close(self):
        for sock in (self.sock, self.ours, self.theirs):
            sock.close()


@pytest.fixture
def logged(monkeypatch):
    lines = []
    monkeypatch.setattr(worker.log, "error", lambda area, text, *args, exc=None: lines.append(text % args))
    return lines


def serve(loop, listeners):
    server = icey.http.Server(loop, listeners[0])
    server.on_request += lambda exchange: exchange.respond(200, b"here")
    return server.start()


def asks_then(parent, loop, then):
    """Asks the server on `loop` as a client would, then calls then()."""
    client = icey.TCPSocket(loop)
    client.on_connect += lambda client: client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    client.on_recv += lambda client, view: (parent.answers.append(bytes(view)), client.close())
    client.on_close += lambda client: then()
    client.connect(*parent.address)


@pytest.mark.parametrize("returned", ["one", "list", "tuple"])
def test_it_is_ready_serves_and_stops_in_order(parent, returned):
    parent.answers = []

    def several(loop, listeners):
        loop.call_soon(asks_then, parent, loop, lambda: made.stop())
        server = serve(loop, listeners)
        return server if returned == "one" else [server] if returned == "list" else (server,)

    made = parent.make(several)
    assert made.run() == 0
    assert parent.answers[0].endswith(b"\r\n\r\nhere")
    assert parent.heard() == READY
    assert made.loop.closed and not made.loop.handles


def test_it_shows_life_while_it_turns_its_loop(parent, monkeypatch):
    monkeypatch.setattr(worker, "SLOWEST", 0.05)

    def several(loop, listeners):
        def look():
            if len(parent.ours.recv(100, socket.MSG_PEEK)) > 2:
                made.stop()
            else:
                loop.call_later(0.01, look)

        loop.call_later(0.01, look)
        return serve(loop, listeners)

    made = parent.make(several)
    assert made.run() == 0
    said = parent.heard()
    assert said[:1] == READY and set(said[1:]) == set(ALIVE)


@pytest.mark.parametrize("grace, beat", [(10.0, 2.5), (2.0, 0.5), (0.0, 0.25), (600.0, SLOWEST)])
def test_it_shows_life_some_times_within_the_grace(grace, beat):
    assert beat_of(grace) == beat


def test_when_its_parent_has_gone_it_stops(parent):
    def several(loop, listeners):
        loop.call_soon(parent.ours.close)
        return serve(loop, listeners)

    assert parent.make(several).run() == 0


def test_when_its_parent_has_gone_before_it_was_ready_it_stops_without_a_word(parent, logged):
    def several(loop, listeners):
        parent.ours.close()
        return serve(loop, listeners)

    assert parent.make(several).run() == 0 and logged == []


def test_what_its_parent_says_is_read_over(parent):
    def several(loop, listeners):
        loop.call_soon(parent.ours.send, b"what?")
        loop.call_later(0.05, made.stop)
        return serve(loop, listeners)

    made = parent.make(several)
    assert made.run() == 0


def test_a_channel_that_is_full_is_no_fault(parent, monkeypatch):
    monkeypatch.setattr(worker, "SLOWEST", 0.05)

    def several(loop, listeners):
        loop.call_later(0.15, made.stop)
        return serve(loop, listeners)

    made = parent.make(several)
    made._channel = Full(parent.theirs)
    assert made.run() == 0 and made._channel.tried > 1


class Full:
    """A socket that takes the first byte and no other."""

    def __init__(self, sock):
        self.sock, self.tried = sock, 0
        self.fileno, self.recv = sock.fileno, sock.recv

    def send(self, data):
        self.tried += 1
        if self.tried > 1:
            raise BlockingIOError


@pytest.mark.parametrize("again", ["signal", "parent gone"])
def test_a_second_signal_changes_nothing(parent, again):
    """systemd sends one to each process, and the parent another; nor is anything cut when the parent goes meanwhile."""
    def thinking(loop, listeners):
        def slot(exchange):
            made.caught(signal.SIGTERM, None)
            loop.call_later(0.02, parent.ours.close if again == "parent gone" else made.stop)
            loop.call_later(0.06, exchange.respond, 200, b"thought")

        server = icey.http.Server(loop, listeners[0])
        server.on_request += slot
        loop.call_soon(asks_then, parent, loop, lambda: None)
        return server.start()

    parent.answers = []
    made = parent.make(thinking, grace=LONG)
    assert made.run() == 0 and parent.answers[0].endswith(b"thought")


def test_a_signal_that_comes_before_it_is_ready_stops_it(parent):
    made = parent.make(serve)
    made.caught(signal.SIGTERM, None)
    assert made.run() == 0


def test_one_that_is_stopped_while_serve_runs_stops_when_it_has_begun(parent):
    def several(loop, listeners):
        made.stop()
        return serve(loop, listeners)

    made = parent.make(several)
    assert made.run() == 0 and parent.heard() == READY


@pytest.fixture
def signals():
    """This process's own handlers, put back after the test."""
    before = {number: signal.getsignal(number) for number in worker.BLOCKED}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, worker.BLOCKED)
    wakeup = signal.set_wakeup_fd(-1)
    yield
    signal.set_wakeup_fd(wakeup)
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def test_its_signals_are_its_own_once_it_can_take_them(parent, signals):
    """They are blocked before: one that came meanwhile is not lost. Those of a terminal are its parent's."""
    def several(loop, listeners):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        return serve(loop, listeners)

    os.kill(os.getpid(), signal.SIGINT)
    assert worker.main(several, [parent.sock.detach()], parent.theirs, LONG, 0.0) == 0
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & worker.BLOCKED
    assert callable(signal.getsignal(signal.SIGINT)) and callable(signal.getsignal(signal.SIGHUP))  # and not ignored


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]


def test_what_a_worker_forks_has_signals_as_any_program(parent, signals):
    """Else multiprocessing's terminate() would be an error in the child, which it may catch."""
    told = []

    def forks(loop, listeners):
        child = os.fork()
        if not child:
            try:
                usual = [signal.SIG_DFL, signal.default_int_handler, signal.SIG_DFL]
                os._exit(3 if handlers() == usual and signal.set_wakeup_fd(-1) == -1 else 4)
            finally:
                os._exit(5)
        told.append(os.waitpid(child, 0)[1] >> 8)
        os.kill(os.getpid(), signal.SIGTERM)
        return serve(loop, listeners)

    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert worker.main(forks, [parent.sock.detach()], parent.theirs, LONG, 0.0) == 0
    assert told == [3]


def test_a_child_that_could_not_give_its_signals_back_does_so_with_the_first(parent, monkeypatch):
    """PyPy lets only the main thread, also behind a fork in another one."""
    def refuse(fd):
        raise ValueError("set_wakeup_fd only works in main thread")

    made, told = parent.make(serve), []
    with monkeypatch.context() as patched:
        patched.setattr(signal, "getsignal", lambda number: made.caught)
        patched.setattr(signal, "set_wakeup_fd", refuse)
        patched.setattr(signal, "signal", lambda *args: told.append(args))
        worker._forked()
        assert not told
        patched.setattr(signal, "set_wakeup_fd", told.append)
        patched.setattr(os, "kill", lambda *args: told.append(args))
        made.loop.forked = True
        made.caught(signal.SIGTERM, None)
        made.loop.forked = False
    assert told == [-1, (signal.SIGTERM, signal.SIG_DFL), (os.getpid(), signal.SIGTERM)]
    made.stop()
    assert made.run() == 0


def test_a_signal_that_is_ignored_stays_so(parent, signals):
    """As nohup wants it, also for what a worker runs."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def looks(loop, listeners):
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN and signal.getsignal(signal.SIGINT) != signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGTERM)
        return serve(loop, listeners)

    assert worker.main(looks, [parent.sock.detach()], parent.theirs, LONG, 0.0) == 0


def test_a_listener_that_nobody_takes_accepts_nothing(parent):
    def nothing(loop, listeners):
        client = socket.create_connection(parent.address)
        loop.call_later(0.05, check, client)

    def check(client):
        client.setblocking(False)
        with client, pytest.raises(BlockingIOError):  # it waits for another worker
            client.recv(1)
        made.stop()

    made = parent.make(nothing)
    assert made.run() == 0


@pytest.mark.parametrize("error, status", [(ValueError("no"), FAILED), (KeyboardInterrupt(), FAILED)])
def test_what_serve_raises_is_logged_and_its_status_says_that_it_was_not_ready(parent, logged, error, status):
    def broken(loop, listeners):
        raise error

    assert parent.make(broken).run() == status
    assert len(logged) == 1 and type(error).__name__ in logged[0]


@pytest.mark.parametrize("code, status", [(None, 0), (3, 3), ("why", 1)])
def test_it_may_end_by_itself(parent, logged, code, status):
    def ends(loop, listeners):
        loop.call_soon(sys.exit, code)
        return serve(loop, listeners)

    assert parent.make(ends).run() == status
    assert logged == (["worker %d: why" % os.getpid()] if code == "why" else [])  # which Python would print


class Closable:
    """What is no Handle, and has a close() alone."""

    def __init__(self, closed):
        self.closed = closed

    def close(self):
        self.closed.append(self)


@pytest.mark.parametrize("returned", ["one", "several", "iterator", "generator"])
def test_what_is_no_server_is_closed_too(parent, returned):
    closed = []

    def several(loop, listeners):
        loop.call_soon(made.stop)
        one = Closable(closed)
        return {"one": one, "several": [one, serve(loop, listeners)], "iterator": iter([one]),
                "generator": (made for made in [one])}[returned]

    made = parent.make(several)
    assert made.run() == 0 and len(closed) == 1


def test_what_serve_starts_and_does_not_return_ends_with_the_loop(parent):
    def several(loop, listeners):
        loop.call_soon(made.stop)
        serve(loop, listeners)

    made = parent.make(several)
    assert made.run() == 0 and made.loop.closed


@pytest.mark.parametrize("returned", [5, "server", [None], print])
def test_what_cannot_be_closed_is_refused_in_words(parent, logged, returned):
    assert parent.make(lambda loop, listeners: returned).run() == FAILED
    assert "serve() returned %r: return what is to be closed at the end" % (returned,) in logged[0]


def test_a_coroutine_is_refused_since_nothing_of_it_was_run(parent, logged):
    async def coroutine(loop, listeners):
        return serve(loop, listeners)

    made = []
    assert parent.make(lambda loop, listeners: made.append(coroutine(loop, listeners)) or made[0]).run() == FAILED
    made[0].close()
    assert "serve() returned <coroutine" in logged[0]


# "module:function"

@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes modules that can be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name, text):
        path = tmp_path.joinpath(*name.split("."))
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".py").write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_function_is_itself():
    assert load(serve) is serve


def test_a_module_and_what_is_beside_it_are_imported_anew(module):
    module("served.__init__", "")
    module("served.part", "value = 1\n")
    module("served.app", "from .part import value\nclass Made:\n    serve = staticmethod(lambda loop, listeners: value)\n")
    assert load("served.app:Made.serve")(None, None) == 1
    module("served.part", "value = 'two'\n")
    assert load("served.app:Made.serve")(None, None) == "two"


@pytest.mark.parametrize("name, error", [
    ("served", ValueError), (":serve", ValueError), ("served:", ValueError), ("missing_module:serve", ImportError),
    ("served.:serve", ValueError), ("served:serve()", ValueError), ("__main__:serve", ValueError),
    ("served_here:missing", AttributeError), ("served_here:number", TypeError), ("served_here:later", TypeError)])
def test_what_cannot_be_had_says_why(module, name, error):
    module("served_here", "number = 5\nasync def later(loop, listeners): pass\n")
    with pytest.raises(error):
        load(name)


def test_icey_itself_stays_as_it_is():
    before = sys.modules["icey"]
    assert load("icey.http:fetch") is icey.http.fetch
    assert sys.modules["icey"] is before
