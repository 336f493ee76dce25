"""ThreadPool: blocking work off the loop, on a few threads; what comes of it is told on the loop.

    pool = ThreadPool(loop, threads=4)
    job = pool.submit(os.path.getsize, "/mnt/slow/file", done=told)     # told(result, error), from the loop
    job.close()                                                         # cancels: `told` is never called

Rules
- A job that was closed before a thread came to it is skipped; one that was begun runs to its end, and its result is dropped.
- A thread more is started only while all are busy. A pool alone keeps no loop running, a job does. While a thread waits or
  works it holds neither the loop nor the job, only the work at hand: a loop may be collected, and its threads end.
- `close()` takes no more jobs, works off those that wait, then `on_close`. `abort()` aborts them. `loop.close()` ends the
  threads and joins them, within a second: one that is stuck is left behind, a daemon.
- In a sub-interpreter, whose end a daemon would turn into the end of the process, a thread is none, and stays only while there
  are jobs: the end of the interpreter waits for the work at hand.
- (opt threading) Without threads the work is done on the loop, which stands still meanwhile; the log says so once a pool.
- Everything of icey but `Loop.post` belongs to the loop's thread: work that touches a handle gets AffinityError.
"""

from __future__ import annotations

import weakref
from collections import deque
from time import monotonic

from . import log
from .errors import QueueFull
from .handle import CLOSING, OPEN, Handle
from .signal import require_callable
from .threads import in_main_interpreter

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from queue import SimpleQueue
    from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

    from .loop import Loop

    Work = Tuple[Callable[..., Any], Tuple[Any, ...]]
    Told = Callable[[Any, Optional[BaseException]], Any]
    JobOf = Callable[[], Optional["Job"]]  # weak references: what the threads hold
    PoolOf = Callable[[], Optional["ThreadPool"]]
    Queue = SimpleQueue[Optional[bool]]  # one True for each job that waits; None: the end
    Lines = Tuple[Deque[JobOf], Deque[JobOf]]  # those that go first, and the others

JOIN = 1.0  # seconds: the most that closing a loop waits for its threads


class Job(Handle):
    """One piece of blocking work. It keeps its loop running until `done` was called, then closes by itself; `close()` cancels.

    For whoever extends it: `work`, (fn, args), None once cancelled; `result`, (result, None) or (None, the exception), None
    before; `done`, and `told` is what calls it.
    """

    __slots__ = ("work", "result", "done")

    def __init__(self, loop: Loop, done: Optional[Callable[..., Any]]) -> None:
        super().__init__(loop)
        self.work: Optional[Work] = None
        self.result: Optional[Tuple[Any, Optional[BaseException]]] = None
        self.done = done
        self.activate()

    def tell(self) -> None:
        """On the loop: the result is here."""
        if self.phase != OPEN or self.result is None:  # cancelled
            return
        try:
            self.told(*self.result)
        except Exception as exc:
            self.slot_failed(exc)
        finally:
            self.finish()

    def told(self, result: Any, error: Optional[BaseException]) -> None:
        """What came of it."""
        done = self.done
        if done is not None:
            done(result, error)
        elif error is not None:
            self.loop.report(error, self)

    def mend(self) -> None:
        if self.result is not None:
            self.loop.soon(self.tell)

    def silence(self) -> None:
        self.done = self.work = None


class ThreadPool(Handle):
    """A few threads for blocking work.

    threads: the most there are at once. max_pending: the most jobs that wait for a thread; None for any number. name: of the
    threads. `pending`, `running`: how many jobs wait, and how many threads are at work.
    """

    __slots__ = ("threads", "max_pending", "_name", "_queue", "_lines", "_started", "_jobs", "_said")

    def __init__(
        self, loop: Loop, threads: int = 4, *, max_pending: Optional[int] = 1024, name: str = "icey pool"
    ) -> None:
        super().__init__(loop)
        for number, what, least in ((threads, "threads", 1), (max_pending, "max_pending", 0)):
            if number is not None and (not isinstance(number, int) or number < least):
                raise ValueError("%s is a number, %d or more, not %r" % (what, least, number))
        self.threads: int = threads
        self.max_pending: Optional[int] = max_pending
        self._name = name
        self._queue: Optional[Queue] = None
        self._lines: Lines = (deque(), deque())
        self._started: List[Any] = []
        self._jobs: Dict[Job, None] = {}  # given to the threads and not yet come back
        self._said = False
        self.unref()
        self.activate()

    @property
    def pending(self) -> int:
        """Jobs that wait for a thread; a cancelled one counts until a thread has come to it."""
        return max(0, len(self._jobs) - self.threads)

    @property
    def running(self) -> int:
        """Jobs that threads are at work on."""
        return min(len(self._jobs), self.threads)

    def submit(self, fn: Callable[..., Any], *args: Any, done: Optional[Told] = None) -> Job:
        """Has a thread call `fn(*args)`, then calls `done(result, error)` once, from the loop.

        error: what the call raised, of any kind, and then the result is None; without a `done`, `loop.on_error` is told of it.
        Returns the job, a Handle. QueueFull where `max_pending` jobs wait already; StateError once the pool is closing.
        """
        self.check_thread()
        self.require_open("submit")
        require_callable(fn, "the work of a ThreadPool")
        if done is not None:
            require_callable(done, "done")
        if self.max_pending is not None and len(self._jobs) >= self.threads + self.max_pending:
            raise QueueFull("%d jobs wait for %d threads, which is max_pending: submit again when some are done"
                            % (self.max_pending, self.threads))
        job = Job(self.loop, done)
        self.give(job, fn, args)
        return job

    def give(self, job: Job, fn: Callable[..., Any], args: Tuple[Any, ...], *, first: bool = False) -> None:
        """Has a thread do the work of `job`, or the loop itself where there are no threads. For whoever extends Job.

        first: before those that were given without it, as what goes on with something should.
        """
        job.work = fn, args
        self._jobs[job] = None
        try:
            queue = self._open()
        except OSError as exc:  # no descriptor is left to read the modules through
            job.result = None, exc.with_traceback(None)
            self.loop.soon(self.served, weakref.ref(job))
            return
        if queue is None:
            why = "`threading` is missing here"
        else:
            line = self._lines[0 if first else 1]
            line.append(weakref.ref(job))
            queue.put(True)  # first: a thread that finds nothing to do may leave
            why = self._staff(queue)
            if self._started:
                return
            queue.get_nowait()
            line.pop()
        if not self._said:
            self._said = True
            log.warning("threads", "%s, so that %s is done on the loop, which stands still meanwhile (said once a pool)",
                        why, job.title())
        self.loop.call_soon(_serve, weakref.ref(job), weakref.ref(self), True)

    def _open(self) -> Optional[Queue]:
        """The queue to the threads; None where there can be none."""
        if self._queue is None:
            try:
                import threading  # noqa: F401
                from queue import SimpleQueue
            except ImportError:
                return None
            self._queue = SimpleQueue()
        return self._queue

    def _staff(self, queue: Queue) -> str:
        """Starts one thread more if all are busy and there may be more; returns the reason where that is impossible."""
        if len(self._jobs) <= len(self._started) or len(self._started) == self.threads:
            return ""
        import threading

        stays = in_main_interpreter()
        thread = threading.Thread(target=_work if stays else _work_and_leave, args=(queue, self._lines, weakref.ref(self)),
                                  name=self._name, daemon=stays)
        try:
            thread.start()
        except RuntimeError as exc:
            return "no thread could be started (%s)" % exc
        self._started.append(thread)
        return ""

    def served(self, job_of: JobOf) -> None:
        """On the loop: a thread has done with a job, or has skipped it."""
        job = job_of()
        if job is not None:
            self._jobs.pop(job, None)  # first: what `done` submits meets an idle thread
            job.tell()
        if self.phase == CLOSING and not self._jobs:
            self.finish()

    def _left(self, thread: Any) -> None:
        """On the loop: a thread found no job, and left. One that has come since may need another thread, or is done here."""
        queue = self._queue
        if queue is None or thread not in self._started:
            return
        self._started.remove(thread)
        thread.join()  # it has nothing left to do but to return
        if not queue.empty():
            self._staff(queue)
        while not self._started and not queue.empty():
            if queue.get_nowait():
                self.loop.call_soon(_serve, _next(self._lines), weakref.ref(self), True)

    def begin_close(self) -> None:
        if not self._jobs:
            self.finish()

    def mend(self) -> None:
        if self.phase == CLOSING and not self._jobs:
            self.finish()

    def silence(self) -> None:
        jobs, self._jobs = self._jobs, {}
        for job in jobs:
            job.abort()

    def free(self) -> None:
        queue, self._queue = self._queue, None
        if queue is not None and not self.loop.forked:  # in a child there are no threads, and the queue may be locked
            queue.put(None)
            end = monotonic() + JOIN
            for thread in self._started if self.loop.closed else ():  # else the loop goes on, and waits for nobody
                thread.join(max(0.0, end - monotonic()))

    def __del__(self, getattr: Any = getattr) -> None:
        queue = getattr(self, "_queue", None)
        if queue is not None and not self.loop.forked:  # the loop was collected unclosed, perhaps by one of the threads
            queue.put(None)


# the threads

def _next(lines: Lines) -> JobOf:
    """The job that is next; for each True of the queue there is one."""
    try:
        return lines[0].popleft()
    except IndexError:
        return lines[1].popleft()


def _work(queue: Queue, lines: Lines, pool_of: PoolOf) -> None:
    while queue.get():
        _serve(_next(lines), pool_of)
    queue.put(None)  # for the others: one is enough to end them all


def _work_and_leave(queue: Queue, lines: Lines, pool_of: PoolOf) -> None:
    from queue import Empty
    from threading import current_thread

    try:
        while queue.get_nowait():
            _serve(_next(lines), pool_of)
        queue.put(None)
    except Empty:
        pool = pool_of()
        if pool is not None:
            pool.loop.post(pool._left, current_thread())


def _serve(job_of: JobOf, pool_of: PoolOf, on_loop: bool = False) -> None:
    work = _work_of(job_of())
    result, error = None, None
    try:
        if work is not None:
            result = work[0](*work[1])
    except BaseException as exc:  # a SystemExit, too: it ends no thread, and is told as any other
        error = exc
        if on_loop and not isinstance(exc, Exception):
            raise
    finally:
        job, pool = job_of(), pool_of()
        if job is not None and work is not None:
            job.result = result, error
        if pool is not None:
            pool.loop.post(pool.served, job_of)
        del job, pool, work, result, error


def _work_of(job: Optional[Job]) -> Optional[Work]:
    """None where it was cancelled: `silence` took it."""
    return job.work if job is not None else None
