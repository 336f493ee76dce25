"""Process: a child process, whose input and output are Pipes.

    process = Process(loop, ["ffmpeg", "-i", path, "-f", "mjpeg", "-"])
    process.stdout.on_recv += lambda pipe, view: ...
    process.on_exit += lambda process, code: ...

Rules
- It is started when it is made, and no thread is: by subprocess, which is imported then. Nothing that is open here is open
  there, but for the three that were asked for.
- Its end is told by a descriptor of the process (pidfd) where Python (3.9) and the system (Linux 5.3) have one. Elsewhere it is
  asked for: 1 ms after the start, and then at growing times, 50 ms apart at most; and when one of its pipes ends. No signal is
  caught (SIGCHLD's handler is one for the whole process, and the main thread's): any thread, any number of loops.
- Only the own child is waited for, and each is: none is left a zombie. A child that somebody else has waited for, or the
  system because SIGCHLD is ignored, has the returncode 255, and a warning is logged.
- `on_exit` comes once: the child has ended, and what it had written until then is delivered. A pipe that nobody reads does not
  hold it back, nor what a grandchild still writes; one that is paused does, until `close()`. Then come the ends: stdin is
  closed, and the others that nobody reads; those that are read at their end, or at `close()`; on_close when all are. What
  such a pipe still holds is lost, and told as a cut: of a stopped source over it FINAL does not come.
- `close()`: stdin is closed, once what was sent is out. Half a second later, or at once where stdin is no pipe, comes TERM, and
  `grace` seconds after that KILL. `abort()`: KILL; on_exit and on_close follow from the loop. When the loop is closed, its
  children are killed and waited for, within a second.
- `group`: the child leads a session and a process group of its own, and signals go to all of that. What is left of the group
  when its leader has ended gets no more signals: its number may be another one's by then.
- A forked child of this process has no children of ours: it kills none, and waits for none.

Not here: what a pipe is (pipe.py); Windows, whose pipes cannot be polled.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from io import FileIO

from . import log
from .handle import CLOSED, CLOSING, FINISHING, OPEN, Handle
from .pipe import Pipe
from .poller import READ
from .signal import Event
from .state import transitions

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

    from typing_extensions import Self

    from .loop import Loop
    from .timer import Timer

    Word = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

try:
    from fcntl import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

RUNNING, ENDED, TOLD = range(3)
STAGES = transitions({RUNNING: (ENDED,), ENDED: (TOLD,), TOLD: ()}, names=("RUNNING", "ENDED", "TOLD"))

GRACE = 5.0  # seconds from TERM to KILL
END_OF_INPUT = 0.5  # seconds that a child has to end by itself when its stdin has ended
SOONEST, LATEST = 0.001, 0.05  # seconds between two looks, where the end has to be asked for
LAST_WAIT = 1.0  # seconds that a child which was killed is waited for, when its loop is closed
UNKNOWN = 255  # the returncode of a child whose end somebody else was told
PIPE_SIZE = 1 << 18  # bytes that a pipe is asked to hold, on Linux; with 64 KiB a GB takes a fifth longer
F_SETPIPE_SZ = 1031  # linux/fcntl.h; Python 3.10 has the name
TERM, KILL = 15, 9  # on all that have them
_LOST = 256  # in the place of a returncode: somebody else has it


class Process(Handle):
    """A child process that runs `args`, a list: the program, looked up in PATH, and its arguments.

    cwd: its folder. env: its environment, a mapping; None: ours. stdin, stdout, stderr: "pipe", "null", "inherit" or a
    descriptor (a number, or what has `fileno()`), which stays yours; stderr also "stdout". group: it leads a process group.
    OSError: it could not be started, FileNotFoundError where there is no such program; or this is Windows.

    `pid`: its number. `stdin`, `stdout`, `stderr`: a Pipe, or None; they keep the loop running as long as the Process does.
    `returncode`: None until it has ended; -n when signal n killed it. `grace`: seconds from TERM to KILL in `close()`.
    `args`: the command. `stage`: RUNNING, ENDED, or TOLD, once on_exit was emitted.
    """

    __slots__ = ("pid", "stdin", "stdout", "stderr", "returncode", "grace", "args", "stage", "_group", "_fd", "_asking",
                 "_pause", "_next")

    STATES = {"stage": STAGES}

    on_exit: Event[Callable[[Self, int], Any]] = Event(
        "on_exit(process, returncode): the child has ended, and its last output was delivered; once")

    def __init__(
        self, loop: Loop, args: Sequence[Word], *, cwd: Optional[Word] = None, env: Optional[Mapping[Any, Any]] = None,
        stdin: Any = "null", stdout: Any = "pipe", stderr: Any = "inherit", group: bool = False,
    ) -> None:
        super().__init__(loop)
        self.args: List[Word] = _command(args)
        self.stdin: Optional[Pipe] = None
        self.stdout: Optional[Pipe] = None
        self.stderr: Optional[Pipe] = None
        self.returncode: Optional[int] = None
        self.grace: float = GRACE
        self.pid: int = 0
        self.stage: int = RUNNING
        self._group = bool(group)
        self._fd: Optional[FileIO] = None  # the descriptor that tells its end
        self._asking: Optional[Timer] = None  # looks whether it has ended, where no descriptor tells
        self._pause = SOONEST
        self._next: Optional[Timer] = None  # the next step of close()
        ends: Dict[str, List[FileIO]] = {}
        started: List[Any] = []
        try:
            self._start([("stdin", stdin), ("stdout", stdout), ("stderr", stderr)], cwd, env, ends, started)
            self.activate()
            for name, pair in ends.items():
                setattr(self, name, ChildPipe(self, pair[_ours(name)]))
            self._watch()
        except BaseException:
            self._give_up(ends, started)
            raise
        finally:
            for name, pair in ends.items():
                pair[not _ours(name)].close()

    # any time, the loop's thread

    def send_signal(self, number: int) -> None:
        """Sends it a signal, and its group where it has one. Nothing happens once it has ended. OSError: it was refused."""
        self.check_thread()
        if self.stage == RUNNING:
            self._signal(int(number))

    def terminate(self) -> None:
        """Asks it to end: SIGTERM."""
        self.send_signal(TERM)

    def kill(self) -> None:
        """Ends it: SIGKILL."""
        self.send_signal(KILL)

    def abort(self) -> None:
        """Kills it, and closes its pipes; on_exit and on_close come from the loop when the system has it ended."""
        self.check_thread()
        if self.phase >= FINISHING:
            return
        if self.phase == OPEN:
            self.phase = CLOSING
        for pipe in self._pipes():
            pipe.abort()
        if self.stage == RUNNING:
            self._signal_now(KILL)
        elif self.stage == TOLD:
            self._settle()
        else:
            self.loop.soon(self._deliver)

    def title(self) -> str:
        return "%s %d (%s)" % (type(self).__name__, self.pid, os.path.basename(os.fsdecode(self.args[0])))

    # starting

    def _start(self, wanted: List[Tuple[str, Any]], cwd: Any, env: Any, ends: Dict[str, List[FileIO]],
               started: List[Any]) -> None:
        """Starts the child. ends: gets the pipes, (reading, writing), by name; started: gets the Popen.

        Each is held by an object that is closed once, from the line on that made it: an interrupt leaves none behind.
        """
        plans = [_plan(name, what) for name, what in wanted]
        if env is not None and not hasattr(env, "items"):
            raise TypeError("env is a mapping of names to values, None for ours, not %r" % (env,))
        if os.name == "nt" or not hasattr(os, "WNOHANG"):
            raise OSError(errno.ENOTSUP, "a Process needs pipes that can be polled, which this system lacks: use subprocess, "
                          "and threads that read")
        try:
            import subprocess
        except ImportError as exc:
            raise OSError(errno.ENOTSUP, "a Process is started by subprocess, which this Python lacks: %s" % exc) from exc
        given: List[Any] = []
        for name, what in plans:
            if what == "pipe":
                ends[name] = list(map(FileIO, os.pipe(), "rw"))
                _widen(ends[name][1].fileno())
                given.append(ends[name][not _ours(name)])
            else:
                given.append({"null": subprocess.DEVNULL, "stdout": subprocess.STDOUT, "inherit": None}.get(what, what))
        stdin, stdout, stderr = given
        options = {"close_fds": True, "cwd": cwd, "env": env, "start_new_session": self._group}
        started.append(subprocess.Popen(self.args, stdin=stdin, stdout=stdout, stderr=stderr, **options))
        self._take(started)

    def _take(self, started: List[Any]) -> None:
        """The child is ours from now on: subprocess neither waits for it nor warns."""
        self.pid = started[0].pid
        started[0].returncode = 0

    def _give_up(self, ends: Dict[str, List[FileIO]], started: List[Any]) -> None:
        """It was not made: nothing is left of it."""
        for name, pair in ends.items():
            pair[_ours(name)].close()
        if started:
            self._take(started)
            _end_now(self.pid, self._group)
            self.stage = ENDED
            self.finish()

    # its end

    def _watch(self) -> None:
        """Has the loop tell of its end."""
        try:
            self._fd = FileIO(os.pidfd_open(self.pid))  # type: ignore[attr-defined,unused-ignore]
            self.loop.poller.register(self._fd.fileno(), READ, self._look)
        except (AttributeError, OSError):  # an older Python or system, or no descriptor is left
            self._close_fd()
            self._ask_in(SOONEST)

    def _ask_in(self, pause: float) -> None:
        self._pause = pause
        self._asking = self.loop.call_later(pause, self._ask)
        self._asking.unref()

    def _ask(self) -> None:
        self._asking = None
        if self._has_ended():
            self._deliver()
        elif self.stage == RUNNING:
            self._ask_in(min(max(SOONEST, 2 * self._pause), LATEST))

    def _ask_soon(self) -> None:
        """One of its pipes has ended: it may have, too."""
        if self.stage == RUNNING and self._asking is not None and not self.loop.closed:
            self._asking.abort()
            self._ask_in(0.0 if self._pause > SOONEST else SOONEST)

    def _look(self, mask: int) -> None:
        if self._has_ended():
            self._deliver()

    def _has_ended(self) -> bool:
        """Whether it has just ended: it is then no zombie any more."""
        if self.stage != RUNNING:
            return False
        code = _reap(self.pid)
        if code is None:
            return False
        if code == _LOST:
            log.warning("process", "somebody else has waited for process %d, or SIGCHLD is ignored: its returncode is unknown",
                        self.pid)
        self.returncode = UNKNOWN if code == _LOST else code
        self.stage = ENDED
        self._unwatch()
        return True

    def _unwatch(self) -> None:
        if self._asking is not None:
            self._asking.abort()
            self._asking = None
        if self._fd is not None and not self._fd.closed:
            self.loop.poller.unregister(self._fd.fileno())
        self._close_fd()

    def _close_fd(self) -> None:
        if self._fd is not None:
            self._fd.close()
            self._fd = None

    def _deliver(self) -> None:
        """It has ended: tells `on_exit` once what it had written is delivered. Called again when one of its pipes moves."""
        if self.stage != ENDED or self.phase >= FINISHING:
            return
        held = [pipe for pipe in self._pipes() if not pipe.deliver()]
        if not held and self.stage == ENDED and self.phase < FINISHING:
            self._tell()
            self._settle()

    def _tell(self) -> None:
        self.stage = TOLD
        self.emit("on_exit", self, self.returncode)

    def _settle(self) -> None:
        """`on_exit` was told: closes the pipes that nobody reads, and when none is open, the Process."""
        if self.stage != TOLD or self.phase >= FINISHING:
            return
        for pipe in self._pipes():
            if pipe is self.stdin:
                pipe.close()
            elif pipe.phase == OPEN and (self.phase != OPEN or not pipe.is_read):
                if pipe.whole:
                    pipe.ended = True  # all has come that the child had written
                    pipe.close()
                else:
                    pipe.abort()  # no end: it has more, which nobody took
        if all(pipe.closed for pipe in self._pipes()):
            self.finish()

    def _pipe_moved(self) -> None:
        """One of the pipes is read, or is not any more, or has closed."""
        if self.stage == ENDED:
            self.loop.soon(self._deliver)
        elif self.stage == TOLD:
            self.loop.soon(self._settle)

    def _pipe_closed(self, pipe: ChildPipe) -> None:
        """That pipe has closed."""
        self._ask_soon()
        if self.stage == RUNNING and self.phase == CLOSING and pipe is self.stdin and self._next is None:
            self._step(END_OF_INPUT, self._terminate)
        self._pipe_moved()

    def _pipes(self) -> List[ChildPipe]:
        return [pipe for pipe in (self.stdin, self.stdout, self.stderr) if pipe is not None]  # type: ignore[misc]

    # closing

    def begin_close(self) -> None:
        if self.loop.closed:
            self.finish()
        elif self.stage == TOLD:
            self._settle()
        elif self.stage == RUNNING and self.stdin is not None and not self.stdin.closed:
            self.stdin.close_timeout = self.grace
            if self.stdin.phase == CLOSING:
                self.stdin.begin_close()  # again: it waits for the grace from now on, not for what it was closed with
            else:
                self.stdin.close()
        elif self.stage == RUNNING:
            self._terminate()
        else:
            self.loop.soon(self._deliver)

    def _terminate(self) -> None:
        if self.stage == RUNNING:
            self._signal_now(TERM)
            self._step(self.grace, self._kill)

    def _kill(self) -> None:
        if self.stage == RUNNING:
            self._signal_now(KILL)

    def _step(self, seconds: float, fn: Callable[[], Any]) -> None:
        if self._next is not None:
            self._next.abort()
        self._next = self.loop.call_later(seconds, fn) if self.phase < FINISHING and not self.loop.closed else None

    def _signal(self, number: int) -> None:
        if self._has_ended():  # its number may be another one's from now on
            self.loop.soon(self._deliver)
            return
        try:
            if self._group:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def _signal_now(self, number: int) -> None:
        try:
            self._signal(number)
        except OSError as exc:  # it runs as another user: its end is waited for
            self.loop.report(exc, self)

    # as every handle

    def silence(self) -> None:
        self._unwatch()
        if self._next is not None:
            self._next.abort()
            self._next = None
        if not self.loop.forked:
            for pipe in self._pipes():
                pipe.abort()
        if self.stage == RUNNING and self.pid:  # the loop is closed: nobody would wait for it
            self._end_now()

    def _end_now(self) -> None:
        code = _end_now(self.pid, self._group)
        if code is None:
            log.warning("process", "process %d was killed, and has not ended within %g s", self.pid, LAST_WAIT)
            return
        self.returncode = UNKNOWN if code == _LOST else code
        self.stage = ENDED

    def mend(self) -> None:
        if self.stage == RUNNING:
            self._unwatch()
            self._watch()
        else:
            self._pipe_moved()

    def free(self) -> None:
        self._close_fd()

    def closed_now(self) -> None:
        if self.stage == ENDED and self.pid and self.phase < CLOSED and self.registered:
            self._tell()
        super().closed_now()

    def __del__(self) -> None:
        if not getattr(self, "pid", 0) or self.stage != RUNNING or self.phase >= FINISHING or self.loop.forked:
            return
        try:
            text = "%r was collected without close()%s" % (self, ", made at\n%s" % self.site if self.site else "")
            import warnings
        except Exception:  # the interpreter ends
            return
        finally:  # before the warning: that may be an error
            self._close_fd()
            self._end_now()
        warnings.warn(text, ResourceWarning, 1, self)


class ChildPipe(Pipe):
    """One of a Process's pipes, which is told when it moves."""

    __slots__ = ("_process", "_until")

    def __init__(self, process: Process, end: FileIO) -> None:
        self._process: Optional[Process] = None
        self._until = -1  # how much will have come when all is delivered that was written until the child ended
        super().__init__(process.loop, end)
        self.unref()  # the Process decides
        self._process = process

    @property
    def is_read(self) -> bool:
        """Whether somebody reads it; it may be paused."""
        return self.reads_on or self.reading

    def deliver(self) -> bool:
        """The child has ended: reads what it had written. True: that is delivered, or nobody reads it; False: it waits."""
        if not self.readable:
            return True
        sock = self.sock
        if self._until < 0 and self.phase == OPEN:
            waiting = sock.waiting()
            self._until = sock.came + (PIPE_SIZE if waiting is None else waiting)
        while self.phase == OPEN and not self.ended and self.reader is not None:
            came = sock.came
            self.reader(0)
            if sock.came == came:
                self._until = came
            elif sock.came < self._until:
                continue
            break
        closing = self._process is None or self._process.phase != OPEN  # it waits for nobody's pause
        return self.phase != OPEN or self.whole or not self.is_read or (closing and not self.rests)

    @property
    def whole(self) -> bool:
        """Whether all is delivered that the child had written."""
        return self.ended or (0 <= self._until <= self.sock.came and not self.rests)

    def reader_gone(self) -> None:
        if self.unsent:
            super().reader_gone()
        else:  # it has ended, and has read all there was
            self.close()

    def update_interest(self) -> None:
        super().update_interest()
        if self._process is not None:
            self._process._pipe_moved()

    def closed_now(self) -> None:
        super().closed_now()
        process, self._process = self._process, None
        if process is not None:
            process._pipe_closed(self)


def _command(args: Any) -> List[Any]:
    """`args` as a list; TypeError where it is a text, ValueError where it is empty."""
    if isinstance(args, (str, bytes)) or hasattr(args, "__fspath__"):
        raise TypeError("a Process is given a list, the program and its arguments, not %r: [\"ls\", \"-l\"], or for a shell's "
                        "line [\"sh\", \"-c\", line]" % (args,))
    command = list(args)
    for word in command:
        if not isinstance(word, (str, bytes)) and not hasattr(word, "__fspath__"):
            raise TypeError("a Process's arguments are texts, bytes or paths, not %r: str() makes a text" % (word,))
    if not command:
        raise ValueError("a Process is given the program to run: the list is empty")
    return command


def _plan(name: str, what: Any) -> Tuple[str, Any]:
    """`what` a standard stream is to be, checked: one of the words, or a descriptor's number."""
    words = ("pipe", "null", "inherit") + (("stdout",) if name == "stderr" else ())
    if isinstance(what, str):
        if what not in words:
            raise ValueError("%s is %s or a descriptor, not %r" % (name, ", ".join('"%s"' % word for word in words), what))
        return name, what
    number = what if isinstance(what, int) else what.fileno() if hasattr(what, "fileno") else None
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError("%s is %s or a descriptor, not %r" % (name, ", ".join('"%s"' % word for word in words), what))
    if number < 0:
        raise ValueError("%s: a descriptor is 0 or more, not %d; for a pipe say \"pipe\", for /dev/null \"null\""
                         % (name, number))
    return name, number


def _widen(fd: int) -> None:
    """Has a pipe hold more, where the system lets it."""
    if fcntl is not None and sys.platform.startswith("linux"):
        try:
            fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:  # the user has many large ones already
            pass


def _ours(name: str) -> bool:
    """Which end of that pipe stays here: True: the writing one."""
    return name == "stdin"


def _reap(pid: int) -> Optional[int]:
    """The returncode of the child `pid`, which is a zombie no more; None while it runs, _LOST where somebody else has it."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return _LOST
    if not ended:
        return None
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _end_now(pid: int, group: bool) -> Optional[int]:
    """Kills the child `pid` and waits for it, LAST_WAIT at most: its returncode, None where it has not ended by then."""
    code = _reap(pid)
    if code is not None:
        return code
    try:
        (os.killpg if group else os.kill)(pid, KILL)
    except OSError:
        pass
    until = time.monotonic() + LAST_WAIT
    pause = 0.0001
    while True:
        code = _reap(pid)
        if code is not None or time.monotonic() > until:
            return code
        time.sleep(pause)
        pause = min(2 * pause, SOONEST * 10)
