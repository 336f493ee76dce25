"""Process: started, fed, read, told of its end, ended; and that nothing of it is left behind.

The tests wait for what real children do, on real loops; no time has to pass for them but where one says so.
"""
import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest

import icey
from icey.base import process as module
from icey.base.loop import Loop
from icey.base.process import Process
from tests import support
from tests.support import streams
from tests.support.loops import in_thread
from tests.support.streams import PYPY, collect, names, watch

reports = streams.reports

pytestmark = [pytest.mark.needs("fcntl"), pytest.mark.needs("fork"), pytest.mark.needs("subprocess")]
PIDFD = hasattr(os, "pidfd_open")
FOREVER = ["sleep", "1000"]
PATIENCE = 30.0


# How its end becomes known, by a descriptor of the process or by asking, in each mode: the plain run has two of the four.
EACH = ["pidfd-release", "asked-debug"]
if os.environ.get("ICEY_TABLES") == "whole" or not PIDFD:
    EACH = ["pidfd-release", "pidfd-debug", "asked-release", "asked-debug"][0 if PIDFD else 2:]


@pytest.fixture(params=EACH)
def how(request):
    return request.param


@pytest.fixture
def debug(how):
    return how.endswith("debug")


@pytest.fixture(autouse=True)
def told(how, monkeypatch):
    if how.startswith("asked"):
        monkeypatch.delattr(os, "pidfd_open", raising=False)


@pytest.fixture
def loop(debug, reports):
    before = descriptors()
    loop = Loop(debug)
    loop.on_error += reports.note
    yield loop
    if not loop.closed:
        for handle in loop.handles:
            handle.abort()
        until(loop, lambda: not loop.run_once(0))
        loop.close()
    assert descriptors() == before
    assert children() == []


def descriptors():
    """The numbers of those that are open, where the system tells."""
    if not os.path.isdir("/proc/self/fd"):
        return set()
    return {fd for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd)}


def children():
    """The numbers of this process's children, zombies among them: those of ours."""
    found = []
    for task in os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else ():
        try:
            with open("/proc/self/task/%s/children" % task) as file:
                found += file.read().split()
        except OSError:  # it has ended
            pass
    return found


def until(loop, met, patience=PATIENCE):
    end = time.monotonic() + patience
    while not met():
        assert time.monotonic() < end, "waited for %s" % met
        loop.run_once(0.05)


def python(code, *args):
    """A command: a Python that runs `code`, without our environment's warnings."""
    return [sys.executable, "-S", "-E", "-c", code, *args]


def heard(pipe):
    got = bytearray()
    pipe.on_recv += lambda pipe, view: got.extend(view)
    return got


def ended(loop, args, **options):
    """Runs it to its end: (what it wrote, returncode)."""
    process = Process(loop, args, **options)
    got = heard(process.stdout)
    until(loop, lambda: process.closed)
    return bytes(got), process.returncode


# its end

@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_what_it_wrote_comes_first_then_on_exit_once_then_on_close(loop, code):
    process = Process(loop, ["sh", "-c", "echo hello; exit %d" % code])
    seen = []
    process.stdout.on_recv += lambda pipe, view: seen.append(bytes(view))
    process.on_exit += lambda process, code: seen.append((process.returncode, code))
    process.on_close += lambda process: seen.append("close")
    assert process.returncode is None and process.pid > 0 and (process.stdin, process.stderr) == (None, None)
    loop.run()
    assert seen == [b"hello\n", (code, code), "close"]
    assert process.closed and process.stdout.closed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
def test_one_that_a_signal_ended_has_its_number(loop, number):
    process = Process(loop, FOREVER)
    seen = watch(process, "exit", "close")
    process.send_signal(number)
    loop.run()
    assert seen == [("exit", -number), ("close",)]
    process.send_signal(number)
    process.terminate()
    process.kill()
    process.close()
    process.abort()


def test_terminate_and_kill(loop):
    assert ended(loop, ["sh", "-c", "kill -TERM $$"])[1] == -15
    for end, code in ("terminate", -15), ("kill", -9):
        process = Process(loop, FOREVER)
        getattr(process, end)()
        loop.run()
        assert process.returncode == code


def test_much_that_it_wrote_is_delivered_before_on_exit(loop):
    process = Process(loop, python("import sys\nfor n in range(300): sys.stdout.buffer.write(bytes([n % 251]) * 10007)"))
    got, at = heard(process.stdout), []
    process.on_exit += lambda process, code: at.append(len(got))
    loop.run()
    assert at == [3002100] and got == b"".join(bytes([n % 251]) * 10007 for n in range(300))


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="this Python has no waitid")
def test_what_is_left_in_the_pipe_when_it_ends_comes_first(loop):
    """The end is known before the pipe was looked at."""
    process = Process(loop, ["sh", "-c", "echo hello"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    seen = []
    process.stdout.on_recv += lambda pipe, view: seen.append(bytes(view))
    process.on_exit += lambda process, code: seen.append(code)
    loop.run()
    assert seen == [b"hello\n", 0]


def test_a_pause_holds_on_exit_back_until_it_is_read(loop):
    process = Process(loop, ["sh", "-c", "echo hello"])
    got, seen = heard(process.stdout), watch(process, "exit", "close")
    process.stdout.pause()
    until(loop, lambda: process.returncode is not None)
    for _ in range(5):
        loop.run_once(0)
    assert (got, seen) == (b"", [])
    process.stdout.resume()
    loop.run()
    assert (got, seen) == (b"hello\n", [("exit", 0), ("close",)])


def test_the_last_line_of_one_that_floods_until_it_is_closed(loop):
    told, count = [], [0]

    def line(packet):
        count[0] += 1
        if count[0] == 5000:
            process.close()
        if packet.flags or bytes(packet.data) != b"line":
            told.append(packet.flags or bytes(packet.data))

    process = Process(loop, ["sh", "-c", "trap 'echo bye; exit 3' TERM; while :; do echo line; done"])
    stream = icey.PacketStream()
    stream.attach_source(icey.PacketSocket(process.stdout, icey.Delimited()), sync_state=True)
    stream.on_packet += line
    stream.on_error += lambda stream, exc: told.append(exc)
    process.on_exit += lambda process, code: told.append("exit %d" % code)
    stream.start()
    loop.run()
    stream.close()
    assert told == [b"bye", "exit 3", icey.PacketFlags.FINAL] or told == [b"bye", icey.PacketFlags.FINAL, "exit 3"]


@pytest.mark.needs("termios")
@pytest.mark.parametrize("unread", [False, True])
def test_what_a_stopped_source_has_not_read_of_an_ended_child_is_no_end(loop, unread):
    told = []
    with Process(loop, [sys.executable, "-c", "print('one\\ntwo\\nthree', end='', flush=True)"]) as process:
        lines, stream = icey.PacketSocket(process.stdout, icey.Delimited(unterminated=True)), icey.PacketStream()
        stream.attach_source(lines)
        stream.on_packet += lambda packet: told.append(packet.flags or bytes(packet.data))
        stream.on_error += lambda stream, exc: told.append(str(exc))
        stream.on_packet += lambda packet: lines.stop() if told == [b"one"] else None
        stream.start()
        if not unread:
            lines.start()
        process.on_close += lambda process: lines.start()  # later than its pipe was closed
        loop.run()
        stream.close()
    assert told == (["the stream was given up before its input had ended"] if unread else
                    [b"one", b"two", b"three", icey.PacketFlags.FINAL])


@pytest.mark.parametrize("pausing", [False, True])
def test_lines_of_which_a_turn_tells_a_share_are_all_told_before_on_exit(loop, pausing):
    told, many = [], 50000  # a read brings many times that share

    def line(packet):
        told.append(packet.flags or bytes(packet.data))
        if pausing and len(told) % 500 == 0:
            process.stdout.pause()
            loop.call_later(0, process.stdout.resume)

    code = "for _ in range(%d): print('x')\nprint('last', end='')" % many
    process = Process(loop, [sys.executable, "-c", code])
    lines = icey.PacketSocket(process.stdout, icey.Delimited(unterminated=True))
    lines.on_packet += line
    process.on_exit += lambda process, code: told.append("exit %d" % code)
    lines.start()
    loop.run()
    assert told.count(b"x") == many
    assert [what for what in told if what != b"x" and what != "exit 0"] == [b"last", icey.PacketFlags.FINAL]
    assert told.index("exit 0") >= many


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("early", [True, False], ids=["while it runs", "when it has ended"])
def test_a_pause_of_one_that_closes_does_not(loop, end, early):
    process = Process(loop, ["sh", "-c", "echo hello"])
    heard(process.stdout)
    seen = watch(process, "exit", "close")
    process.stdout.pause()
    if not early:
        until(loop, lambda: process.returncode is not None)
    getattr(process, end)()
    loop.run()
    assert names(seen) == ["exit", "close"]
    assert early or process.returncode == 0


def test_a_pipe_that_nobody_reads_does_not_hold_it_back_and_is_closed(loop):
    process = Process(loop, ["sh", "-c", "echo hello"])
    seen = watch(process, "exit", "close")
    loop.run()
    assert seen == [("exit", 0), ("close",)] and process.stdout.closed


def test_on_exit_may_begin_to_read(loop):
    process = Process(loop, ["sh", "-c", "echo hello"])
    got = []
    process.on_exit += lambda process, code: got.append(heard(process.stdout))
    loop.run()
    assert got == [b"hello\n"]


def test_a_reader_that_leaves_behind_on_exit_lets_it_close(loop):
    process = Process(loop, ["sh", "-c", "sleep 1000 & echo $!"])
    got = heard(process.stdout)
    process.on_exit += lambda process, code: process.stdout.on_recv.detach_all()
    loop.run()
    assert process.closed and process.stdout.closed
    os.kill(int(got), signal.SIGKILL)


def test_a_grandchild_holds_on_close_back_not_on_exit(loop):
    read, write = os.pipe()
    os.set_inheritable(read, True)
    code = ("import os\nif os.fork():\n    os.write(1, b'early ')\n    os._exit(4)\n"
            "os.read(0, 1)\nos.write(1, b'late')")
    process = Process(loop, python(code), stdin=read)
    os.close(read)
    got, seen = heard(process.stdout), watch(process, "exit", "close")
    until(loop, lambda: seen)
    assert (got, seen) == (b"early ", [("exit", 4)])
    os.write(write, b"x")
    loop.run()
    assert (got, seen) == (b"early late", [("exit", 4), ("close",)])
    os.close(write)


def test_close_does_not_wait_for_a_grandchild(loop):
    process = Process(loop, ["sh", "-c", "sleep 1000 & echo $!"])
    got, seen = heard(process.stdout), watch(process, "exit", "close")
    until(loop, lambda: seen)
    process.close()
    loop.run()
    assert names(seen) == ["exit", "close"]
    os.kill(int(got), signal.SIGKILL)


def test_an_exception_in_on_exit_is_reported_and_on_close_comes(loop, reports):
    process = Process(loop, ["true"])
    process.on_exit += lambda process, code: 1 // 0
    seen = watch(process, "exit", "close")
    loop.run()
    assert names(seen) == ["exit", "close"] and reports[0][1] is process
    reports.take(ZeroDivisionError)


@pytest.mark.parametrize("how", ["waited for", "ignored"])
def test_one_that_somebody_else_has_waited_for_is_255_and_a_warning(loop, caplog, how):
    if how == "ignored":
        was = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        process = Process(loop, ["sh", "-c", "read line; exit 3"], stdin="pipe")
        if how == "waited for":
            process.stdin.shutdown()
            until(loop, lambda: process.stdin.closed)
            if process.returncode is None:
                try:
                    os.waitpid(process.pid, 0)
                except ChildProcessError:
                    pytest.fail("it was waited for before")
        else:
            process.stdin.shutdown()
        seen = watch(process, "exit")
        loop.run()
    finally:
        if how == "ignored":
            signal.signal(signal.SIGCHLD, was)
    if support.lacks("logging") is None:
        assert "somebody else has waited for process %d" % process.pid in caplog.text
    assert seen == [("exit", 255)]


# what it is given

def test_its_input_goes_in_and_its_end_too(loop):
    process = Process(loop, ["cat"], stdin="pipe")
    got, seen = heard(process.stdout), watch(process, "exit")
    data = os.urandom(3 << 20)
    assert process.stdin.send(data) is False
    process.stdin.shutdown()
    loop.run()
    assert (got, seen) == (data, [("exit", 0)])


def test_a_child_that_does_not_read_applies_back_pressure(loop):
    process = Process(loop, FOREVER, stdin="pipe")
    sent = 0
    while process.stdin.send_owned(bytes(65536)):
        sent += 65536
    assert sent <= module.PIPE_SIZE + process.stdin.high_water
    with pytest.raises(icey.QueueFull):
        while True:
            process.stdin.send_owned(bytes(1 << 20))
    process.abort()
    loop.run()


def test_a_reader_that_pauses_has_the_child_wait(loop):
    process = Process(loop, python("import os\nwhile True: os.write(1, bytes(65536))"))
    got = []
    process.stdout.on_recv += lambda pipe, view: (got.append(len(view)), pipe.pause())
    until(loop, lambda: got)
    for _ in range(5):
        loop.run_once(0.01)
    assert len(got) == 1 and sum(got) <= 1 << 18
    process.stdout.resume()
    until(loop, lambda: len(got) == 2)
    process.abort()
    loop.run()


def test_input_that_it_did_not_read_is_an_error_of_stdin_and_none_where_nothing_was_left(loop):
    for sent in b"", bytes(1 << 20):
        process = Process(loop, ["true"], stdin="pipe")
        process.stdin.send(sent)
        seen, told_ = watch(process.stdin, "error", "close"), watch(process, "exit", "close")
        loop.run()
        assert names(seen) == (["error", "close"] if sent else ["close"])
        assert told_ == [("exit", 0), ("close",)]


def test_null_is_nothing_and_inherit_is_ours(loop):
    got = subprocess.run(python(
        "import sys; sys.path.insert(0, %r)\nimport icey\nloop = icey.Loop()\n"
        "icey.Process(loop, ['sh', '-c', 'cat; echo out; echo err >&2'], stdin='inherit', stdout='inherit', stderr='null')\n"
        "icey.Process(loop, ['sh', '-c', 'cat; echo lost'], stdout='null')\n"
        "loop.run()\nloop.close()" % support.ROOT), input=b"in\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert got.stdout == b"in\nout\n"


def test_a_descriptor_or_a_file_is_given_and_stays_ours(loop, tmp_path):
    (tmp_path / "in").write_bytes(b"text")
    with open(str(tmp_path / "in"), "rb") as file, open(str(tmp_path / "out"), "wb") as out:
        process = Process(loop, ["sh", "-c", "cat; echo err >&2"], stdin=file.fileno(), stdout=out, stderr="stdout")
        assert (process.stdin, process.stdout, process.stderr) == (None, None, None)
        loop.run()
        assert not out.closed
    assert (tmp_path / "out").read_bytes() == b"texterr\n"


def test_stderr_apart_and_together(loop):
    process = Process(loop, ["sh", "-c", "echo out; echo err >&2"], stderr="pipe")
    out, err = heard(process.stdout), heard(process.stderr)
    loop.run()
    assert (out, err) == (b"out\n", b"err\n")
    assert ended(loop, ["sh", "-c", "echo out; echo err >&2"], stderr="stdout")[0] == b"out\nerr\n"


def test_its_folder_and_its_environment(loop, tmp_path):
    assert ended(loop, ["pwd"], cwd=str(tmp_path))[0].decode() == os.path.realpath(str(tmp_path)) + "\n"
    assert ended(loop, ["/bin/sh", "-c", "echo $WORD"], env={"WORD": "said"})[0] == b"said\n"
    os.environ["ICEY_TEST_WORD"] = "ours"
    try:
        assert ended(loop, ["sh", "-c", "echo $ICEY_TEST_WORD"])[0] == b"ours\n"
    finally:
        del os.environ["ICEY_TEST_WORD"]


def test_arguments_are_texts_bytes_and_paths(loop, tmp_path):
    (tmp_path / "a b").write_bytes(b"it")
    assert ended(loop, [b"cat", tmp_path / "a b"])[0] == b"it"


def test_nothing_else_that_is_open_is_inherited(loop):
    read, write = os.pipe()
    os.set_inheritable(write, True)
    others = [Process(loop, FOREVER, stdin="pipe", stderr="pipe") for _ in range(3)]
    code = ("import os\ndef is_open(fd):\n    try: os.fstat(fd)\n    except OSError: return False\n    return True\n"
            "print(*filter(is_open, range(256)))")
    assert ended(loop, python(code), stdin="pipe")[0] == b"0 1 2\n"
    for other in others:
        other.abort()
    os.close(read)
    os.close(write)


def test_where_our_own_standard_streams_are_closed(loop):
    code = ("import os, sys; sys.path.insert(0, %r); os.close(0); os.close(2)\nimport icey\nloop = icey.Loop()\n"
            "p = icey.Process(loop, ['sh', '-c', 'cat; echo err >&2'], stdin='pipe', stderr='stdout')\n"
            "p.stdin.send(b'in '); p.stdin.shutdown()\n"
            "p.stdout.on_recv += lambda pipe, view: os.write(1, view)\nloop.run(); loop.close()" % support.ROOT)
    assert subprocess.run(python(code), stdout=subprocess.PIPE).stdout == b"in err\n"


# what is refused

@pytest.mark.parametrize("args, options, error", [
    (["no such program"], {}, FileNotFoundError), (["/etc"], {}, PermissionError),
    (["true"], {"cwd": "/no/such"}, FileNotFoundError)])
def test_one_that_cannot_be_started_is_the_system_s_error_and_leaves_nothing(loop, args, options, error):
    before = descriptors()
    with pytest.raises(error):
        Process(loop, args, stdin="pipe", stderr="pipe", **options)
    assert descriptors() == before and loop.handles == () and not loop.run_once(0)


@pytest.mark.parametrize("args, options, error, match", [
    ("ls -l", {}, TypeError, r'\["ls", "-l"\]'), (b"ls", {}, TypeError, "a list"), ([], {}, ValueError, "the list is empty"),
    (["ls", 5], {}, TypeError, "texts, bytes or paths, not 5"),
    (["ls"], {"stdin": "stdout"}, ValueError, 'stdin is "pipe", "null", "inherit" or a descriptor'),
    (["ls"], {"stderr": "file"}, ValueError, 'stderr is "pipe", "null", "inherit", "stdout" or a descriptor'),
    (["ls"], {"stdout": subprocess.PIPE}, ValueError, 'for a pipe say "pipe"'),
    (["ls"], {"env": ["a=b"]}, TypeError, "env is a mapping"),
    (["ls"], {"stdout": None}, TypeError, "not None"), (["ls"], {"stdout": True}, TypeError, "not True"),
])
def test_what_is_no_command_is_refused_and_leaves_nothing(loop, args, options, error, match):
    with pytest.raises(error, match=match):
        Process(loop, args, **options)
    assert loop.handles == ()


def test_a_system_without_it_is_told_of(loop, monkeypatch):
    monkeypatch.delattr(os, "WNOHANG")
    with pytest.raises(OSError, match="pipes that can be polled, which this system lacks") as info:
        Process(loop, ["true"])
    assert info.value.errno == errno.ENOTSUP
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "subprocess", None)
    with pytest.raises(OSError, match="is started by subprocess, which this Python lacks"):
        Process(loop, ["true"])


def test_where_a_pipe_cannot_be_had_behind_the_start_the_child_is_killed(loop, monkeypatch):
    pids = []

    class Refused(module.ChildPipe):
        def __init__(self, process, fd):
            pids.append(process.pid)
            if len(pids) == 2:
                raise OSError(errno.EMFILE, "no more")
            super().__init__(process, fd)

    monkeypatch.setattr(module, "ChildPipe", Refused)
    with pytest.raises(OSError, match="no more"):
        Process(loop, FOREVER, stdin="pipe")
    loop.run()
    with pytest.raises(ChildProcessError):
        os.waitpid(pids[0], os.WNOHANG)


def test_without_a_descriptor_for_it_the_end_is_asked_for(loop, monkeypatch):
    def refused(pid):
        raise OSError(errno.EMFILE, "no more")

    monkeypatch.setattr(os, "pidfd_open", refused, raising=False)
    assert ended(loop, ["sh", "-c", "exit 3"])[1] == 3


# closing

def test_close_ends_it_by_term(loop):
    process = Process(loop, FOREVER)
    seen = watch(process, "exit", "close")
    process.close()
    assert seen == [] and process.closing
    loop.run()
    assert seen == [("exit", -15), ("close",)]


def test_close_lets_a_child_end_by_the_end_of_its_input(loop, monkeypatch):
    monkeypatch.setattr(module, "END_OF_INPUT", PATIENCE)
    process = Process(loop, ["cat"], stdin="pipe")
    got, seen = heard(process.stdout), watch(process, "exit", "close")
    data = bytes(1 << 20)
    process.stdin.send(data)
    process.close()
    loop.run()
    assert (got, seen) == (data, [("exit", 0), ("close",)])


def test_close_sends_term_where_the_end_of_input_is_not_enough(loop, monkeypatch):
    monkeypatch.setattr(module, "END_OF_INPUT", 0.02)
    process = Process(loop, FOREVER, stdin="pipe")
    seen = watch(process, "exit")
    process.close()
    loop.run()
    assert seen == [("exit", -15)]


@pytest.mark.parametrize("closed_before", [False, True])
def test_close_sends_term_to_a_child_that_takes_nothing_of_its_input(loop, monkeypatch, closed_before):
    monkeypatch.setattr(module, "END_OF_INPUT", 0.02)
    process = Process(loop, FOREVER, stdin="pipe")
    process.grace = 0.05
    process.stdin.send(bytes(1 << 20))
    if closed_before:  # with a deadline of its own, or none
        process.stdin.close_timeout = None
        process.stdin.close()
    seen, of_stdin = watch(process, "exit"), watch(process.stdin, "error", "close")
    process.stdin.on_close += lambda pipe: setattr(process, "grace", 60)  # from TERM on: a busy machine takes longer over it
    process.close()
    loop.run()
    assert seen == [("exit", -15)]
    assert names(of_stdin) == ["error", "close"] and isinstance(of_stdin[0][1], icey.Deadline)


STUBBORN = "import signal, os\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.write(1, b'ready')\nwhile True: signal.pause()"


def test_close_kills_one_that_heeds_no_term_after_the_grace(loop):
    process = Process(loop, python(STUBBORN))
    process.grace = 0.05
    got, seen = heard(process.stdout), watch(process, "exit", "close")
    until(loop, lambda: got)
    process.close()
    loop.run()
    assert seen == [("exit", -9), ("close",)]


def test_what_it_says_behind_term_is_delivered(loop):
    process = Process(loop, python("import signal, os, sys, time\ndef end(*_): os.write(1, b' bye' * 50000); sys.exit(7)\n"
                                   "signal.signal(signal.SIGTERM, end)\nos.write(1, b'ready')\n"
                                   "while True: time.sleep(0.01)"))  # pause() would miss what came just before it
    got, seen = heard(process.stdout), watch(process, "exit", "close")
    until(loop, lambda: got)
    process.close()
    loop.run()
    assert (got, seen) == (b"ready" + b" bye" * 50000, [("exit", 7), ("close",)])


@pytest.mark.parametrize("how", ["in the block", "twice", "in on_exit", "in on_recv"])
def test_close_may_come_at_any_time(loop, how):
    process = Process(loop, ["sh", "-c", "echo hello; exit 3"] if how != "twice" else FOREVER)
    seen = watch(process, "exit", "close")
    if how == "in the block":
        with process:
            pass
    elif how == "twice":
        process.close()
        process.close()
    elif how == "in on_exit":
        process.on_exit += lambda process, code: process.close()
    else:
        process.stdout.on_recv += lambda pipe, view: process.close()
    loop.run()
    assert names(seen) == ["exit", "close"] and process.returncode in (3, -15)


def test_abort_kills_and_tells_from_the_loop(loop):
    process = Process(loop, FOREVER, stdin="pipe", stderr="pipe")
    seen = watch(process, "exit", "close")
    process.abort()
    process.abort()
    assert seen == [] and process.closing
    loop.run()
    assert seen == [("exit", -9), ("close",)]


@pytest.mark.parametrize("count", [1, 20])
def test_loop_close_kills_them_and_waits_for_them(debug, count, monkeypatch):
    monkeypatch.setattr(module, "LAST_WAIT", PATIENCE)
    before = descriptors()
    loop = Loop(debug)
    seen = []
    for _ in range(count):
        process = Process(loop, FOREVER, stdin="pipe")
        process.on_exit += lambda process, code: seen.append(code)
        process.on_close += lambda process: seen.append("close")
    loop.run_once(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # debug mode's, of the pipes
        loop.close()
    assert sorted(map(str, seen)) == ["-9"] * count + ["close"] * count
    assert descriptors() == before and children() == []


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="this Python has no waitid")
def test_loop_close_of_one_that_has_ended_tells_its_code(debug):
    loop = Loop(debug)
    process = Process(loop, ["sh", "-c", "exit 3"], stdout="null")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    seen = watch(process, "exit", "close")
    loop.close()
    assert seen == [("exit", 3), ("close",)]


def test_one_that_cannot_be_signalled_is_reported(loop, reports, monkeypatch):
    process = Process(loop, FOREVER)

    def refused(pid, number):
        raise PermissionError(errno.EPERM, "not yours")

    kill = os.kill
    monkeypatch.setattr(os, "kill", refused)
    with pytest.raises(PermissionError):
        process.terminate()
    process.close()
    reports.take(PermissionError)
    monkeypatch.setattr(os, "kill", kill)
    process.kill()
    loop.run()
    assert process.returncode == -9


# groups

def test_signals_go_to_the_group(loop):
    process = Process(loop, ["sh", "-c", "sleep 1000 & echo $!; wait"], group=True)
    got, seen = heard(process.stdout), watch(process, "exit", "close")
    until(loop, lambda: got)
    assert os.getpgid(process.pid) == os.getsid(process.pid) == process.pid != os.getpgid(0)
    process.terminate()
    loop.run()  # to the end of its stdout: nobody has it any more
    assert seen == [("exit", -15), ("close",)]


def test_close_of_a_group_whose_leader_heeds_no_term(loop):
    process = Process(loop, ["sh", "-c", "trap '' TERM; sleep 1000 & echo $!; wait; wait"], group=True)
    process.grace = 0.05
    got, seen = heard(process.stdout), watch(process, "exit", "close")
    until(loop, lambda: got)
    process.close()
    loop.run()
    assert seen == [("exit", -9), ("close",)]


# living on a loop

def test_its_ref_decides_for_its_pipes_too(loop):
    process = Process(loop, FOREVER, stdin="pipe")
    heard(process.stdout)
    process.unref()
    loop.run()
    assert not process.closing
    process.ref()
    process.kill()
    loop.run()
    assert process.closed


def test_another_thread_is_refused(loop):
    process = Process(loop, FOREVER)
    for call in process.terminate, process.kill, process.close, process.abort, lambda: process.send_signal(15):
        with pytest.raises(icey.AffinityError):
            in_thread(call)
    with pytest.raises(icey.AffinityError):
        in_thread(Process, loop, ["true"])
    process.abort()
    loop.run()


def test_its_name_says_what_it_is(loop):
    process = Process(loop, ["/bin/sleep", "1000"])
    assert repr(process) == "<Process %d (sleep) open>" % process.pid
    assert process.args == ["/bin/sleep", "1000"]
    process.abort()
    loop.run()
    assert repr(process) == "<Process %d (sleep) closed>" % process.pid


def test_a_keyboard_interrupt_in_a_slot_loses_nothing(loop):
    process = Process(loop, ["sh", "-c", "echo hello; exit 3"])

    def interrupt(*_):
        raise KeyboardInterrupt

    seen = watch(process, "close")
    process.on_exit.attach(interrupt, once=True)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    loop.run()
    assert seen == [("close",)] and process.returncode == 3


def test_a_keyboard_interrupt_while_it_runs_loses_nothing(loop):
    process = Process(loop, ["sh", "-c", "echo hello; read line; echo $line; exit 3"], stdin="pipe")
    got, seen = heard(process.stdout), watch(process, "exit", "close")

    def interrupt(*_):
        raise KeyboardInterrupt

    process.stdout.on_recv.attach(interrupt, once=True)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    process.stdin.send(b"again\n")
    loop.run()
    assert (got, seen) == (b"hello\nagain\n", [("exit", 3), ("close",)])


def test_one_that_cannot_be_killed_is_given_up_with_a_warning(debug, monkeypatch, caplog):
    loop = Loop(debug)
    process = Process(loop, FOREVER, stdout="null")
    seen = watch(process, "exit", "close")
    monkeypatch.setattr(module, "LAST_WAIT", 0.01)
    kill = os.kill
    monkeypatch.setattr(os, "kill", lambda pid, number: None)
    loop.close()
    assert names(seen) == ["close"] and process.returncode is None
    if support.lacks("logging") is None:
        assert "process %d was killed, and has not ended within 0.01 s" % process.pid in caplog.text
    kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)


@pytest.mark.skipif(PYPY, reason="PyPy collects when it likes")
def test_one_collected_unclosed_warns_and_is_no_zombie(debug):
    before = descriptors()
    loop = Loop(debug)
    process = Process(loop, FOREVER)
    pid = process.pid
    with pytest.warns(ResourceWarning) as caught:
        del process, loop
        collect()
    assert [one for one in caught if "<Process %d (sleep) open> was collected without close()" % pid in str(one.message)]
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    assert descriptors() == before


def test_a_forked_child_neither_kills_nor_waits(loop):
    process = Process(loop, FOREVER, stdin="pipe")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that other tests have left
        child = os.fork()
    if not child:
        try:
            with pytest.raises(icey.AffinityError):
                process.kill()
            loop.close()
            del process
            gc.collect()
            os._exit(0)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    seen = watch(process, "exit")
    loop.run_once(0.05)
    assert seen == [] and process.returncode is None
    process.kill()
    loop.run()
    assert seen == [("exit", -9)]


@pytest.mark.needs("threading")
def test_in_the_thread_of_a_threadhost():
    host = icey.hosts.ThreadHost()
    came, over = [], threading.Event()

    def start():
        process = Process(host.loop, ["sh", "-c", "echo hello; exit 3"])
        got = heard(process.stdout)
        process.on_exit += lambda process, code: came.append((bytes(got), code))
        process.on_close += lambda process: over.set()

    host.start()
    host.loop.post(start)
    assert over.wait(PATIENCE)
    host.stop()
    assert came == [(b"hello\n", 3)]


# many

def test_two_hundred_children_of_two_loops_in_two_threads_half_of_them_killed():
    before = descriptors()
    came = [{}, {}]
    failed = []

    def work(mine):
        try:
            loop = Loop()
            loop.on_error += lambda loop, exc, handle: failed.append(exc)
            left, made = list(range(100)), []

            def start():
                while left and len(loop.handles) < 60:  # so many at once
                    number = left.pop()
                    killed = number % 2
                    process = Process(loop, ["sh", "-c", "echo %d; exec sleep 1000" % number if killed else
                                             "echo %d; exit %d" % (number, number)], stdin="pipe")
                    process.data = [number, bytearray(), 0]
                    process.stdout.on_recv += lambda pipe, view, process=process: (
                        process.data[1].extend(view), process.kill() if process.data[0] % 2 else None)
                    process.on_exit += told_of
                    process.on_close += lambda process: start()
                    made.append(process)

            def told_of(process, code):
                number, got, times = process.data
                process.data[2] += 1
                mine[number] = (code, bytes(got), times + 1)

            start()
            loop.run()
            for process in made:
                if not process.closed or process.data[2] != 1:
                    failed.append(process)
            loop.close()
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in came]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    expected = {n: (-9 if n % 2 else n, b"%d\n" % n, 1) for n in range(100)}
    assert came == [expected, expected]
    assert descriptors() == before and children() == []
