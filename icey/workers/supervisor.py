"""icey.workers.run: the parent of many workers: it opens the listeners, starts, replaces and stops workers, and nothing else.

    def serve(loop, listeners):                      # in each worker, on a loop of its own
        server = icey.http.Server(loop, listeners[0])
        server.on_request += application
        return server.start()                        # what is to be closed at the end, one or several

    sys.exit(icey.workers.run("application:serve", ["0.0.0.0:8000"]))

Rules
- The listeners are opened once, by the parent, and inherited (never SO_REUSEPORT: the queue of a process that ends loses its
  connections). Sockets that systemd opened take the place of `addresses`.
- A worker's states: STARTING until it says that it is ready, RUNNING, STOPPING, gone.
- SIGTERM and SIGINT stop all in order; a second one now, and what is cut looks cut. SIGHUP starts new workers, which import
  "module:function" anew, and stops the old ones when all of them are ready; if one is not, the old ones go on. Each worker that
  is replaced has one line in the log.
- A worker that ends by itself is replaced: at once, or where workers end one after the other as soon as they are begun, after a
  while that doubles. One that has not turned its loop for `grace` seconds is killed. When the first ones fail, `run` returns 1.
- Time in which the parent itself was held, or the whole group was stopped (Ctrl-Z), does not count against a worker.
- The parent has no threads, imports nothing of the application, and sleeps: it wakes for signals, for workers that become
  ready, and a few times within `grace` to look after all. It does write to the log: where it and its workers write to one pipe
  that nobody reads, it waits with them.
- As process 1 of a container it also takes in the processes that its workers left behind.

Not here: what a worker does (worker.py), systemd's words (systemd.py).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from functools import partial

from ..base import log
from ..base.errors import StateError
from ..base.handle import CLOSING, Handle
from ..base.loop import Loop
from ..base.poll import Poll
from ..base.state import transitions, watch_states
from ..base.timer import Timer, seconds
from ..net.address import Address
from ..net.listener import TCPListener
from . import worker
from .systemd import Notifier, listeners

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Dict, Iterable, List, Optional

    from ..net.address import AddressLike
    from .worker import Serve

STARTING, RUNNING, STOPPING = range(3)
STATES = transitions({STARTING: (RUNNING, STOPPING), RUNNING: (STOPPING,), STOPPING: ()},
                     names=("STARTING", "RUNNING", "STOPPING"))
YOUNG = 1.0  # seconds: a worker that ends before has failed as soon as it was begun
FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0  # seconds before the next is begun, doubling
START = 30.0  # seconds, at least, that a worker has to become ready
LAST = 1.0  # seconds in which a worker that is to end now does so by itself
LATE = 2.0  # seconds beyond grace and linger, before a worker that stops is killed

_is_worker = False  # this process


def run(
    serve: Serve, addresses: Iterable[AddressLike], *, count: Optional[int] = None, grace: float = 10.0, linger: float = 0.5
) -> int:
    """Runs `count` workers until SIGTERM or SIGINT; returns the exit status: 0, 1 where they could not be started.

    serve: called in each worker as serve(loop, listeners), and returns what is to be closed at the end: a function, or
    "module:function", imported anew in each worker. It has 30 seconds to return, or `grace` where that is more. addresses: what
    TCPListener takes, one or more. count: None for as many as there are processors for this process; it may be more. grace:
    seconds, as of icey.run, and after which a worker that does not turn its loop is killed, at the latest half as much later.
    linger: as of Server.stop; where it is longer than clients pause between two requests on a connection, each hears in an
    answer that the connection ends, and a reload cannot cross with any request.
    OSError: an address cannot be had, or this system has no fork. StateError off the main thread, and in a worker. ValueError,
    TypeError for other arguments. Call it while no other thread runs, and behind `if __name__ == "__main__"`. In a worker no
    atexit functions are called: what is to be closed is what `serve` returns.
    """
    require_fork()
    worker.check(serve)
    if count is None:
        count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(count, int) or count < 1:
        raise ValueError("count is a number of workers, 1 or more, not %r" % (count,))
    one: Any = addresses  # one that stands alone, a (host, port) too
    alone = isinstance(one, (str, Address)) or (isinstance(one, tuple) and len(one) == 2 and isinstance(one[1], int))
    where: List[AddressLike] = [one] if alone else list(one)
    return supervise(serve, lambda loop: [TCPListener(loop, address) for address in where], count=count,
                     grace=seconds(grace, "grace"), linger=seconds(linger, "linger"))


def supervise(
    serve: Serve, listen: Callable[[Loop], List[TCPListener]], *, count: int, grace: float = 10.0, linger: float = 0.5,
    ready: Optional[Callable[[Supervisor], Any]] = None,
) -> int:
    """As `run`, where listen(loop) opens the listeners. ready: called with the Supervisor when the first workers serve."""
    if _is_worker:
        raise StateError("icey.workers.run() in a worker", "the program's start is imported there too: put the call behind "
                         'if __name__ == "__main__"')
    with Loop() as loop:
        supervisor = Supervisor(loop, serve, count, grace, linger, ready)
        try:
            supervisor.listen(listen)
            restore = _catch(supervisor)
            try:
                supervisor.start()
                loop.run()
            finally:
                restore()
        finally:
            supervisor.abandon()
        return supervisor.status


def require_fork() -> None:
    """OSError where the system has no fork."""
    if not hasattr(os, "fork"):
        raise OSError("workers need fork, which this system lacks: run one process (icey.run)")


class Child:
    """A worker, as its parent sees it. `pid`; `channel`: its socket; `poll`: tells that it speaks, while it is STARTING;
    `generation`; `begun`, `ready`, `beat`: when it was started, was ready, and was seen to live last, in the loop's time;
    `due`: when it is killed, if it is STOPPING; `killed`: why it was."""

    __slots__ = ("pid", "channel", "poll", "generation", "state", "begun", "ready", "beat", "due", "killed")

    STATES = {"state": STATES}

    def __init__(self, pid: int, channel: socket.socket, poll: Poll, generation: int, now: float) -> None:
        self.pid: int = pid
        self.channel: socket.socket = channel
        self.poll: Poll = poll
        self.generation: int = generation
        self.state: int = STARTING
        self.begun: float = now
        self.beat: float = now
        self.ready: Optional[float] = None
        self.due: Optional[float] = None
        self.killed: str = ""
        if poll.loop.debug:
            watch_states(self)


class Supervisor(Handle):
    """Keeps `count` workers running. `listeners`: the parent's, which accept nothing. `children`: by process id.

    `status`: the exit status so far. `generation`: of the workers that serve.
    """

    __slots__ = ("listeners", "children", "status", "generation", "_serve", "_count", "_grace", "_linger", "_coming", "_again",
                 "_failures", "_wait", "_ticker", "_ticked", "_notifier", "_told", "_tell_ready")

    def __init__(
        self, loop: Loop, serve: Serve, count: int, grace: float, linger: float,
        ready: Optional[Callable[[Supervisor], Any]] = None,
    ) -> None:
        super().__init__(loop)
        self.listeners: List[TCPListener] = []
        self.children: Dict[int, Child] = {}
        self.status: int = 0
        self.generation: int = 1
        self._serve = serve
        self._count = count
        self._grace = grace
        self._linger = linger
        self._coming: Optional[int] = None  # the generation that is being started, the first or that of a reload
        self._again = False  # one more SIGHUP came meanwhile
        self._failures = 0  # in a row, of workers that were young
        self._wait: Optional[Timer] = None
        self._ticker: Optional[Timer] = None
        self._ticked = loop.now
        self._notifier = Notifier()
        self._told = loop.now  # when systemd's watchdog was told last
        self._tell_ready = ready

    # the beginning

    def listen(self, listen: Callable[[Loop], List[TCPListener]]) -> None:
        """Opens the listeners; OSError. What systemd opened is taken instead."""
        self.listeners += listeners(self.loop)
        if not self.listeners:
            self.listeners += listen(self.loop)
        if not self.listeners:
            raise ValueError("workers need an address to listen on")
        for listener in self.listeners:
            listener.pause()
            listener.unref()

    def start(self) -> None:
        """Starts the first workers."""
        self.activate()
        beat = worker.beat_of(self._grace)
        if self._notifier.watchdog is not None:
            beat = min(beat, self._notifier.watchdog / 4)
        self._ticker = Timer(self.loop, beat, self._tick, interval=beat).start()
        self._coming = self.generation
        self._fill()

    # what signals ask for; on the loop

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stops all in order. Asked again, now: what is under way is cut, and the status is 128 + `number`, the signal's."""
        if self.closing:
            if self.children:
                self.status = 128 + number
                self._cut_all()
            return
        self.phase = CLOSING
        self._notifier.tell("STOPPING=1")
        self._stop_waiting()
        for listener in self.listeners:  # the workers' are the last: they accept what waits
            listener.close()
        for child in list(self.children.values()):
            self._stop_child(child)
        self._end_if_alone()

    def reload(self) -> None:
        """Starts a new generation, which takes the place of the old one when it is ready."""
        if self.closing:
            return
        if self._coming is not None:
            self._again = True
            return
        self._notifier.tell("RELOADING=1", "MONOTONIC_USEC=%d" % (self.loop.clock() * 1e6))
        self._stop_waiting()
        self._coming = self.generation + 1
        self._fill()

    def reap(self) -> None:
        """Some worker has ended. What was said before is heard first: one that was ready is no failed start."""
        for child in list(self.children.values()):
            if child.state == STARTING and not child.poll.closing:
                self._heard(child)
        for pid, child in list(self.children.items()):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it
                ended, status = pid, 0
            if ended:
                self._ended(child, status)
        if os.getpid() == 1:
            self._reap_orphans()

    def _reap_orphans(self) -> None:
        """Process 1 is the parent of all whose own has gone: what nobody waits for would stay as zombies."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self.children:  # it ended just now
                self._ended(self.children[pid], status)

    # workers

    def _fill(self) -> None:
        """Starts workers until there are as many as there are to be."""
        self._stop_waiting()
        generation = self.generation if self._coming is None else self._coming
        there = sum(child.generation == generation and child.state != STOPPING for child in self.children.values())
        try:
            for _ in range(self._count - there):
                self._start_child(generation)
        except OSError as exc:  # no more processes, descriptors, or memory
            if self._coming is not None:
                self._give_up("no worker could be started: %s" % exc)
                return
            log.error("workers", "no worker could be started: %s", exc)
            self._failures += 1
            self._refill_later()

    def _start_child(self, generation: int) -> None:
        """OSError where there can be none."""
        ours, theirs = socket.socketpair()
        try:
            pid = self._fork(theirs, ours)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        poll = Poll(self.loop, ours)
        child = self.children[pid] = Child(pid, ours, poll, generation, self.loop.clock())
        poll.on_readable += lambda poll: self._heard(child)
        poll.unref()

    def _fork(self, channel: socket.socket, ours: socket.socket) -> int:
        """The new worker's process id; in the worker it does not return. ours: the channel's other end."""
        global _is_worker
        _flush()  # else what waits in a buffer is written by each of them, too
        before = signal.pthread_sigmask(signal.SIG_BLOCK, worker.BLOCKED)  # until the child has handlers of its own
        try:
            pid = os.fork()
        except BaseException:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return pid
        status = worker.FAILED
        _is_worker = True
        try:
            signal.set_wakeup_fd(-1)
            ours.close()
            for child in self.children.values():  # while one of them is open, its worker does not see that the parent has gone
                child.channel.close()
            self._notifier.close()
            channel.setblocking(False)
            fds = [listener.sock.detach() for listener in self.listeners]
            status = worker.main(self._serve, fds, channel, self._grace, self._linger)
        except BaseException as exc:
            log.error("workers", "worker %d: %s", os.getpid(), exc, exc=exc)
        finally:
            try:
                _flush()
            finally:  # whatever happens: the parent's code is not ours
                os._exit(status & 0xFF)

    def _heard(self, child: Child) -> None:
        """A sign of life, or the end of it."""
        try:
            data = child.channel.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # SIGCHLD tells the rest
            child.poll.close()
            return
        child.beat = self.loop.clock()
        if child.state == STARTING and worker.READY in data:
            child.state = RUNNING
            child.ready = child.beat
            child.poll.close()  # from now on it is looked at by the tick: what it says wakes nobody
            self._ready()

    def _ready(self) -> None:
        """One more is ready: perhaps all of its generation."""
        coming = self._coming
        running = sum(child.generation == coming and child.state == RUNNING for child in self.children.values())
        if coming is None or running < self._count:
            return
        self.generation, self._coming = coming, None
        self._notifier.tell("READY=1", "STATUS=")  # it may say that a reload before failed
        tell, self._tell_ready = self._tell_ready, None
        if tell is not None:
            tell(self)
        for child in list(self.children.values()):
            if child.generation != coming:
                self._stop_child(child)
        self._again_if_asked()

    def _ended(self, child: Child, status: int) -> None:
        del self.children[child.pid]
        child.poll.close()
        child.channel.close()
        now = self.loop.clock()
        if self.closing:
            self._end_if_alone()
        elif child.state == STOPPING:
            if child.killed:
                log.warning("workers", "worker %d %s", child.pid, child.killed)
        elif child.generation == self._coming:
            self._failed(child, status)
        else:
            young = child.ready is None or now - child.ready < YOUNG
            self._failures = self._failures + 1 if young else 0
            log.warning("workers", "worker %d %s; another takes its place", child.pid, child.killed or ended_how(status))
            self._refill_later()

    def _failed(self, child: Child, status: int) -> None:
        """A worker of a new generation ended before all were ready."""
        self._give_up("worker %d %s before all were ready" % (child.pid, child.killed or ended_how(status)))

    def _give_up(self, why: str) -> None:
        """The new generation is not to be had: it ends."""
        generation, self._coming = self._coming, None
        first = generation == self.generation
        log.error("workers", "%s: %s", why, "nothing is served" if first else "the old workers go on")
        for other in list(self.children.values()):
            if other.generation == generation:
                self._stop_child(other)
        if first:
            self.status = 1
            self.stop()
            return
        self._notifier.tell("READY=1", "STATUS=the last reload failed")
        self._fill()  # what ended meanwhile
        self._again_if_asked()

    def _again_if_asked(self) -> None:
        again, self._again = self._again, False
        if again:
            self.reload()

    def _refill_later(self) -> None:
        if self._wait is None and not self.closing and self._coming is None:
            delay = min(FIRST_WAIT * 2 ** (self._failures - 1), LONGEST_WAIT) if self._failures else 0.0
            self._wait = self.loop.call_later(delay, self._fill)

    def _stop_waiting(self) -> None:
        if self._wait is not None:
            self._wait.abort()
            self._wait = None

    def _stop_child(self, child: Child) -> None:
        if child.state != STOPPING:
            child.state = STOPPING
            child.due = self.loop.clock() + self._grace + self._linger + LATE
            _kill(child.pid, signal.SIGTERM)

    def _cut_all(self) -> None:
        """All end now: by themselves, so that what they cut looks cut, or they are killed."""
        for child in self.children.values():
            try:
                child.channel.send(worker.NOW)
            except OSError:
                pass
        self.loop.call_later(LAST, self._kill_all).unref()

    def _kill_all(self) -> None:
        for child in self.children.values():
            _kill(child.pid, signal.SIGKILL)

    # time

    def _tick(self, timer: Timer) -> None:
        now = self.loop.clock()
        every = timer.interval or 0.0
        late = now - self._ticked - 2 * every
        self._ticked = now
        if late > 0:  # we were held, or stopped: so were they
            for child in self.children.values():
                child.beat += late
                child.begun += late
                child.ready = None if child.ready is None else child.ready + late
                child.due = None if child.due is None else child.due + late
        for child in list(self.children.values()):
            self._heard(child)  # before it is judged; behind the above, what is heard now is not later than now
            self._judge(child, now)
        notifier = self._notifier
        if notifier.watchdog is not None and now - self._told >= notifier.watchdog / 2:
            self._told = now
            notifier.tell("WATCHDOG=1")

    def _judge(self, child: Child, now: float) -> None:
        """Kills a worker that is too late with what it has to do."""
        if child.killed:
            return
        if child.state == STARTING:
            if now - child.begun > max(START, self._grace):
                child.killed = ("was not ready within %g s (serve() has not returned; a longer grace gives it longer), and was "
                                "killed" % max(START, self._grace))
        elif child.due is not None:
            if now > child.due:
                child.killed = "did not stop within %g s, and was killed" % (self._grace + self._linger + LATE)
        elif now - child.beat > max(self._grace, 1.0):
            child.killed = "has not turned its loop for %g s, and was killed" % max(self._grace, 1.0)
        if child.killed:
            _kill(child.pid, signal.SIGKILL)

    # the end

    def _end_if_alone(self) -> None:
        if not self.children:
            self.finish()

    def abandon(self) -> None:
        """Whatever happened: no worker is left, and none becomes a zombie."""
        self._kill_all()
        for pid in list(self.children):
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass
            child = self.children.pop(pid)
            child.channel.close()
        self._notifier.close()

    def silence(self) -> None:
        self._stop_waiting()
        if self._ticker is not None:
            self._ticker.abort()
            self._ticker = None


def ended_how(status: int) -> str:
    """What waitpid's status says, in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return "was killed by %s" % signal.Signals(number).name
        except ValueError:
            return "was killed by signal %d" % number
    return "ended with status %d" % os.WEXITSTATUS(status)


def _flush() -> None:
    """What this process has printed goes out."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _catch(supervisor: Supervisor) -> Callable[[], None]:
    """Takes the signals; returns the function that gives them back. StateError off the main thread."""
    loop = supervisor.loop
    asked: Dict[int, Callable[[], None]] = {
        signal.SIGTERM: supervisor.stop, signal.SIGINT: partial(supervisor.stop, signal.SIGINT),
        signal.SIGHUP: supervisor.reload, signal.SIGCHLD: supervisor.reap}

    def caught(number: int, frame: Optional[FrameType]) -> None:
        loop.post(asked[number])

    try:
        wakeup = signal.set_wakeup_fd(loop.waker.write_fileno(), warn_on_full_buffer=False)
    except ValueError:
        raise StateError("icey.workers.run() off the main thread", "call it in the main thread: signals come there") from None
    before: Dict[int, Any] = {}
    for number in asked:
        if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGCHLD:  # what nohup and a script's & set stays
            before[number] = signal.signal(number, caught)
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])  # who started us may have: no end would be heard of

    def restore() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked & {signal.SIGCHLD})
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    return restore
