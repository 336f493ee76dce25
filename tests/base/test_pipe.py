"""Pipe: what is its own. Stream's contracts on it are in tests/contracts, which run on pipes, terminals and socketpairs too."""
import errno
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time

import pytest

import icey
from icey.base import pipe as module
from icey.base.loop import Loop
from icey.tools.testing import VirtualSelector
from tests import support
from tests.support import streams
from tests.support.streams import PYPY, collect, finish, names, turn, watch

debug, clock, reports = streams.debug, streams.clock, streams.reports

pytestmark = [pytest.mark.needs("fcntl"), pytest.mark.needs("fork")]
BIG = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture
def ends():
    """Makes descriptors; closes at the end those that are still open."""
    made = []

    def make(*fds):
        made.extend((fd, os.fstat(fd)[:3]) for fd in fds)
        return fds

    yield make
    for fd, was in made:
        try:
            if os.fstat(fd)[:3] == was:
                os.close(fd)
        except OSError:
            pass


@pytest.fixture
def loop(ends, debug, clock, reports):  # closed before the descriptors are
    loop = Loop(debug, clock=clock, selector=VirtualSelector(clock))
    loop.on_error += reports.note
    yield loop
    finish(loop)


def until(loop, met, patience=20.0):
    """Turns the loop until `met()`: what a terminal was given comes out of it when the kernel gets to that."""
    end = time.monotonic() + patience
    while not met():
        assert time.monotonic() < end, "waited for %s" % met
        loop.run_once(0)


def heard(pipe):
    got = bytearray()
    pipe.on_recv += lambda pipe, view: got.extend(view)
    return got


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


# both ends

@pytest.mark.parametrize("selector", ["EpollSelector", "PollSelector", "SelectSelector"])
def test_both_ends_in_one_loop_and_the_writer_heeds_its_water_marks(debug, reports, ends, selector):
    if not hasattr(selectors, selector):
        pytest.skip("this platform has no " + selector)
    loop = Loop(debug, selector=getattr(selectors, selector)())
    loop.on_error += reports.note
    read, write = ends(*os.pipe())
    reader, writer = icey.Pipe(loop, read), icey.Pipe(loop, write)
    got, seen = heard(reader), watch(reader, "end", "close")
    left = [BIG[start:start + 50000] for start in range(0, len(BIG), 50000)]
    most = []

    def more(writer):
        while left:
            taken = writer.send(left.pop(0))
            most.append(writer.queued)
            if not taken:
                return
        writer.shutdown()

    writer.on_drain += more
    gone = watch(writer, "error", "close")
    more(writer)
    loop.run()
    assert got == BIG and max(most) <= writer.high_water + 50000
    assert (names(seen), names(gone)) == (["end", "close"], ["close"])
    assert not is_open(read) and not is_open(write)
    finish(loop)


def test_what_it_was_opened_for_is_what_it_can_do(loop, ends):
    read, write = ends(*os.pipe())
    reader, writer = icey.Pipe(loop, read), icey.Pipe(loop, write)
    assert (reader.readable, reader.writable, writer.readable, writer.writable) == (True, False, False, True)
    with pytest.raises(icey.StateError, match="descriptor %d, which was opened for reading alone" % read):
        reader.send(b"x")
    got = heard(writer)
    writer.resume()
    writer.send(b"x")
    turn(loop, 3)
    assert (got, writer.reading, writer.closing) == (b"", True, False)  # it looks whether its reader is there
    reader.shutdown()  # nothing went out: nothing happens
    assert heard(reader) == b"" and not reader.closing


def test_an_end_of_a_socketpair_goes_both_ways_and_has_halves(loop, ends):
    near, far = socket.socketpair()
    pipe = icey.Pipe(loop, near)
    got = heard(pipe)
    far.send(b"question")
    far.shutdown(socket.SHUT_WR)
    pipe.on_end += lambda pipe: pipe.send(b"answer")
    pipe.on_end += lambda pipe: pipe.shutdown()
    loop.run()
    assert (got, far.recv(100), far.recv(100)) == (b"question", b"answer", b"")
    assert near.fileno() == -1, "the object that was given is closed, not its descriptor behind its back"
    far.close()


def test_a_file_goes_into_a_pipe(loop, ends, tmp_path):
    read, write = ends(*os.pipe())
    (tmp_path / "file").write_bytes(BIG)
    writer, got = icey.Pipe(loop, write), heard(icey.Pipe(loop, read))
    writer.write_file(open(str(tmp_path / "file"), "rb"), 100, len(BIG) - 100)
    writer.close()
    loop.run()
    assert got == BIG[100:]


# the other end goes

@pytest.mark.parametrize("sent", [0, 1 << 20], ids=["nothing sent", "much waits"])
def test_a_writer_whose_reader_has_gone_is_told(loop, ends, sent):
    read, write = ends(*os.pipe())
    writer = icey.Pipe(loop, write)
    seen = watch(writer, "error", "close")
    if sent:
        writer.max_queue = None
        writer.send(bytes(sent))
    turn(loop, 3)
    assert seen == []
    os.close(read)
    until(loop, lambda: writer.closed)
    assert names(seen) == ["error", "close"] and isinstance(seen[0][1], BrokenPipeError)


def test_where_there_is_no_poll_the_next_send_is_told(loop, ends, monkeypatch):
    monkeypatch.setattr(module, "_POLL", None)
    read, write = ends(*os.pipe())
    writer = icey.Pipe(loop, write)
    seen = watch(writer, "error", "close")
    os.close(read)
    turn(loop, 3)
    assert seen == [] and not writer.reading and not writer.sock.broken()
    writer.send(b"x")
    until(loop, lambda: writer.closed)
    assert isinstance(seen[0][1], BrokenPipeError)


def test_what_a_reader_has_not_taken_when_it_goes_is_an_error_of_the_close(loop, ends):
    read, write = ends(*os.pipe())
    writer = icey.Pipe(loop, write)
    seen = watch(writer, "error", "close")
    writer.send(BIG)
    writer.close()
    turn(loop, 3)
    assert not writer.closed
    os.close(read)
    until(loop, lambda: writer.closed)
    assert names(seen) == ["error", "close"]


@pytest.mark.needs("termios")
def test_a_close_waits_for_a_reader_that_takes_a_byte_at_a_time(loop, clock, ends, send_queues):
    """It frees no page of the pipe for long, and the kernel takes nothing of ours."""
    send_queues.real()
    read, write = ends(*os.pipe())
    writer = icey.Pipe(loop, write)
    seen = watch(writer, "error", "close")
    writer.send(BIG)
    writer.close()
    waiting = writer.queued
    for _ in range(20):
        os.read(read, 1)
        end = clock() + 0.7 * writer.close_timeout
        while clock() < end:
            loop.run_once(end - clock())
    assert (seen, writer.queued) == ([], waiting)
    while not writer.closed:
        loop.run_once(writer.close_timeout)
    assert names(seen) == ["error", "close"] and isinstance(seen[0][1], icey.Deadline)


def test_a_fifo_waits_for_its_writer_and_ends_with_the_last(loop, ends, tmp_path):
    os.mkfifo(str(tmp_path / "fifo"))
    pipe = icey.Pipe(loop, *ends(os.open(str(tmp_path / "fifo"), os.O_RDONLY | os.O_NONBLOCK)))
    got, seen = heard(pipe), watch(pipe, "end", "close")
    turn(loop, 3)
    assert seen == []
    for word in b"one", b"two":
        first, = ends(os.open(str(tmp_path / "fifo"), os.O_WRONLY))
        os.write(first, word)
        if word == b"one":
            second, = ends(os.open(str(tmp_path / "fifo"), os.O_WRONLY))
        os.close(first)
    turn(loop, 5)
    assert (got, seen) == (b"onetwo", [])
    os.close(second)
    until(loop, lambda: pipe.closed)
    assert names(seen) == ["end", "close"]


def test_a_fifo_that_is_open_for_both_outlives_its_writers(loop, ends, tmp_path):
    os.mkfifo(str(tmp_path / "fifo"))
    pipe = icey.Pipe(loop, *ends(os.open(str(tmp_path / "fifo"), os.O_RDWR | os.O_NONBLOCK)))
    got, seen = heard(pipe), watch(pipe, "end", "close")
    for word in b"one", b"two":
        with open(str(tmp_path / "fifo"), "wb") as file:
            file.write(word)
        turn(loop, 3)
    assert (got, seen) == (b"onetwo", [])


def test_the_other_side_of_a_terminal_goes(loop, ends):
    master, slave = ends(*os.openpty())
    pipe = icey.Pipe(loop, master)
    got, seen = heard(pipe), watch(pipe, "error", "close")
    os.write(slave, b"last words")
    os.close(slave)
    until(loop, lambda: pipe.closed)
    assert (got, names(seen)) == (b"last words", ["close"])


def test_what_waits_for_a_terminal_that_was_hung_up_is_an_error_at_once(loop, ends):
    master, slave = ends(*os.openpty())
    pipe = icey.Pipe(loop, master)
    seen = watch(pipe, "end", "error", "close")
    pipe.resume()
    pipe.max_queue = None
    pipe.send(b"x\n" * (1 << 20))
    turn(loop, 3)
    assert pipe.queued
    os.close(slave)
    until(loop, lambda: pipe.closed)
    assert names(seen) == ["end", "error", "close"] and seen[1][1].errno == errno.EIO


# what is refused

@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_regular_file_is_refused_with_the_way_out(loop, ends, tmp_path, what):
    (tmp_path / "file").write_bytes(b"x")
    fd, = ends(os.open(str(tmp_path / "file" if what == "file" else tmp_path), os.O_RDONLY))
    with pytest.raises(ValueError, match="FileSource reads a file, FileSink writes one"):
        icey.Pipe(loop, fd)
    assert is_open(fd) and os.get_blocking(fd) and loop.handles == ()


@pytest.mark.parametrize("what", [None, True, 1.0, "/dev/tty"])
def test_what_has_no_descriptor_is_refused_and_leaves_nothing(loop, what):
    """True would be 1, standard output."""
    with pytest.raises(TypeError, match="a number, or a file that has one, not " + re.escape(repr(what))):
        icey.Pipe(loop, what)
    assert loop.handles == ()


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero"])
def test_a_device_that_is_always_ready_is_refused_where_epoll_says_so(debug, ends, path):
    fd, = ends(os.open(path, os.O_RDWR))
    loop = Loop(debug)
    if not hasattr(selectors, "EpollSelector"):
        pytest.skip("no epoll")
    with pytest.raises(OSError, match="descriptor %d cannot be polled: .*ThreadPool" % fd) as info:
        icey.Pipe(loop, fd)
    assert info.value.errno == errno.EPERM and is_open(fd) and os.get_blocking(fd) and loop.handles == ()
    loop.close()


def test_where_select_says_it_is_ready_it_is_read_a_piece_a_turn(debug, ends):
    fd, = ends(os.open("/dev/zero", os.O_RDWR))
    loop = Loop(debug, selector=selectors.SelectSelector())
    pipe = icey.Pipe(loop, fd)
    got = heard(pipe)
    turn(loop, 3)
    assert 0 < len(got) <= 3 * (1 << 18) and not any(got)
    finish(loop)


def test_what_is_no_descriptor_is_the_system_s_error(loop):
    for fd in (-1, 1 << 20):
        with pytest.raises(OSError) as info:
            icey.Pipe(loop, fd)
        assert info.value.errno == errno.EBADF
    assert loop.handles == ()


def test_one_descriptor_is_one_pipe_s(loop, ends):
    read, write = ends(*os.pipe())
    pipe = icey.Pipe(loop, read)
    with pytest.raises(ValueError, match=r"belongs to another Pipe.*os\.dup"):
        icey.Pipe(loop, read)
    assert heard(pipe) == b""
    with pytest.raises(ValueError, match=r"os\.dup"):
        icey.Pipe(loop, read)
    os.write(write, b"x")
    turn(loop, 2)
    pipe.close()
    turn(loop)
    near, far = socket.socketpair()
    poll = icey.Poll(loop, near)
    poll.on_readable += lambda poll: None
    with pytest.raises(ValueError, match="is watched on this loop already"):
        icey.Pipe(loop, near.fileno())
    poll.close()
    near.close()
    far.close()


def test_a_system_without_such_pipes_is_told_of(loop, ends, monkeypatch):
    read, _ = ends(*os.pipe())
    monkeypatch.delattr(os, "set_blocking")
    with pytest.raises(OSError, match="this system cannot poll pipes; use sockets, or threads") as info:
        icey.Pipe(loop, read)
    assert info.value.errno == errno.ENOTSUP
    monkeypatch.undo()
    assert is_open(read)


# what it is given back as

@pytest.mark.parametrize("end", [
    "close", "abort", "loop.close", "raise", "interrupt",
    pytest.param("collect", marks=pytest.mark.skipif(PYPY, reason="PyPy collects when it likes"))])
@pytest.mark.parametrize("close", [True, False], ids=["closed", "left open"])
def test_it_is_given_back_as_it_was(debug, clock, ends, end, close):
    read, write = ends(*os.pipe())
    twin, = ends(os.dup(read))
    loop = Loop(debug, clock=clock, selector=VirtualSelector(clock))
    loop.on_error += lambda *rest: None
    pipe = icey.Pipe(loop, read, close=close)
    heard(pipe)
    assert not os.get_blocking(twin)
    if end in ("close", "abort"):
        getattr(pipe, end)()
        loop.run_once(0)
    elif end in ("raise", "interrupt"):
        @pipe.on_recv.attach
        def fails(pipe, view):
            raise ValueError if end == "raise" else KeyboardInterrupt
        os.write(write, b"x")
        try:
            loop.run_once(0)
        except KeyboardInterrupt:
            pass
    if end == "collect":
        with pytest.warns(ResourceWarning):
            del pipe, loop
            collect()
    elif debug and end in ("loop.close", "interrupt"):
        with pytest.warns(ResourceWarning, match="found still open: Pipe %d" % read):
            loop.close()
    else:
        loop.close()
    assert os.get_blocking(twin) and is_open(read) is not close


@pytest.mark.parametrize("first", [0, 1])
def test_a_terminal_as_input_and_output_is_given_back_by_the_last(loop, ends, first):
    _, slave = ends(*os.openpty())
    other, twin = ends(os.dup(slave), os.dup(slave))
    pipes = [icey.Pipe(loop, slave), icey.Pipe(loop, other)]
    pipes[first].close()
    turn(loop)
    assert not os.get_blocking(twin), "the other one would block"
    pipes[1 - first].close()
    turn(loop)
    assert os.get_blocking(twin)


def test_two_openings_of_a_terminal_are_given_back_each_by_its_own(loop, ends):
    _, slave = ends(*os.openpty())
    again, = ends(os.open(os.ttyname(slave), os.O_RDWR | os.O_NOCTTY))
    twins = ends(os.dup(slave), os.dup(again))
    one, other = icey.Pipe(loop, slave), icey.Pipe(loop, again)
    one.close()
    turn(loop)
    assert [os.get_blocking(twin) for twin in twins] == [True, False]
    other.close()
    turn(loop)
    assert [os.get_blocking(twin) for twin in twins] == [True, True]


def test_one_that_was_nonblocking_stays_so(loop, ends):
    read, _ = ends(*os.pipe())
    twin, = ends(os.dup(read))
    os.set_blocking(read, False)
    icey.Pipe(loop, read).close()
    turn(loop)
    assert not os.get_blocking(twin)


def test_a_descriptor_closed_behind_its_back_is_reported_once(loop, reports, ends):
    read, _ = ends(*os.pipe())
    pipe = icey.Pipe(loop, read)
    heard(pipe)
    seen = watch(pipe, "close")
    os.close(read)
    pipe.close()
    loop.run()
    assert names(seen) == ["close"]
    error, = reports.take(OSError)
    assert error.errno == errno.EBADF


def test_a_forked_child_gives_nothing_back(loop, ends):
    read, write = ends(*os.pipe())
    pipe = icey.Pipe(loop, read)
    got = heard(pipe)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that other tests have left
        child = os.fork()
    if not child:
        try:
            loop.close()
            os._exit(0 if not is_open(read) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert not os.get_blocking(read)
    os.write(write, b"x")
    turn(loop, 2)
    assert got == b"x"


FAILING = """
import icey, sys
loop = icey.Loop()
pipe = icey.Pipe(loop, 0, close=False)
pipe.set_raw()
def slot(pipe, view):
    raise KeyboardInterrupt if "close" in sys.argv else SystemExit(1)  # PyPy ends at once by the first
pipe.on_recv += slot
print("ready", flush=True)
try:
    loop.run()
finally:
    if "close" in sys.argv:
        loop.close()
"""


@pytest.mark.parametrize("how", ["close", "nothing"])
def test_a_program_that_is_interrupted_leaves_the_terminal_as_it_was(ends, how):
    import termios

    master, slave = ends(*os.openpty())
    before = termios.tcgetattr(slave)
    env = dict(os.environ, PYTHONWARNINGS="ignore")
    program = subprocess.Popen([sys.executable, "-c", FAILING, how], cwd=support.ROOT, stdin=slave, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, env=env)
    assert program.stdout.readline() == b"ready\n"
    os.write(master, b"x")
    assert program.wait() in (1, 130, -signal.SIGINT)
    program.stdout.close()
    assert os.get_blocking(slave) and termios.tcgetattr(slave) == before


# terminals

def test_raw_passes_bytes_as_they_are_and_lasts_until_the_close(loop, ends):
    import termios

    master, slave = ends(*os.openpty())
    twin, = ends(os.dup(slave))
    before = termios.tcgetattr(twin)
    pipe = icey.Pipe(loop, slave)
    pipe.set_raw(9600)
    pipe.set_raw()
    raw = termios.tcgetattr(twin)
    assert raw != before and raw[4] == raw[5] == termios.B9600 and not raw[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
    got = heard(pipe)
    every = bytes(range(256))
    os.write(master, every)
    until(loop, lambda: len(got) == 256)
    pipe.send(every)
    turn(loop)
    assert (got, os.read(master, 1000)) == (every, every)
    pipe.close()
    with pytest.raises(icey.StateError, match="set_raw"):
        pipe.set_raw()
    turn(loop)
    assert termios.tcgetattr(twin) == before


@pytest.mark.parametrize("first", [0, 1])
def test_raw_lasts_until_the_last_that_asked_for_it(loop, ends, first):
    import termios

    _, slave = ends(*os.openpty())
    other, twin = ends(os.dup(slave), os.dup(slave))
    before = termios.tcgetattr(twin)
    pipes = [icey.Pipe(loop, slave), icey.Pipe(loop, other)]
    for pipe in pipes:
        pipe.set_raw()
    raw = termios.tcgetattr(twin)
    pipes[first].close()
    turn(loop)
    assert termios.tcgetattr(twin) == raw
    pipes[1 - first].close()
    turn(loop)
    assert termios.tcgetattr(twin) == before


def test_raw_is_for_terminals(loop, ends):
    read, _ = ends(*os.pipe())
    pipe = icey.Pipe(loop, read)
    with pytest.raises(ValueError, match="descriptor %d is no terminal" % read):
        pipe.set_raw()
    _, slave = ends(*os.openpty())
    with pytest.raises(ValueError, match="no speed of 12345 baud"):
        icey.Pipe(loop, slave).set_raw(12345)


# less than Linux has

def test_without_fcntl_it_tries_what_a_descriptor_is_for(loop, ends, monkeypatch):
    monkeypatch.setattr(module, "fcntl", None)
    monkeypatch.setattr(module, "ioctl", None)
    read, write = ends(*os.pipe())
    near, far = socket.socketpair()
    reader, writer, both = icey.Pipe(loop, read), icey.Pipe(loop, write), icey.Pipe(loop, near)
    assert [(pipe.readable, pipe.writable) for pipe in (reader, writer, both)] == [(True, False), (False, True), (True, True)]
    assert reader.sock.waiting() is None
    got = heard(reader)
    writer.send(b"x")
    turn(loop, 2)
    assert got == b"x"
    far.close()


def test_what_waits_to_be_read_is_known(loop, ends):
    read, write = ends(*os.pipe())
    os.write(write, b"12345")
    assert icey.Pipe(loop, read).sock.waiting() == 5


def test_without_readv_it_reads_all_the_same(loop, ends, monkeypatch):
    monkeypatch.setattr(module, "_READV", False)
    read, write = ends(*os.pipe())
    pipe = icey.Pipe(loop, read)
    got = heard(pipe)
    os.write(write, b"x" * 1000)
    os.close(write)
    loop.run()
    assert (got, pipe.closed) == (b"x" * 1000, True)
