"""FileSink: a stage that writes the packets to a file, which has its name only once it is whole.

    stream.attach(icey.FileSink("recording.mjpeg"), 10)

Rules
- With `partial` a path is written as `path.part`, and takes its name at FINAL, in the place of what had it. Who opens `path`
  has a whole file, or the one before, with the mode of the one before. A symbolic link is followed. Where the name is that of
  no plain file (a device, a FIFO), the packets are written there directly.
- Of two that write to one path at a time the later one has it; the earlier one's FINAL is FileExistsError, and no file is a
  mixture of both.
- Where the stream ends without FINAL (stop(), close(), an error) the part file stays, with what came; the next run writes it
  anew. So does a run behind FINAL. Where that was no error, the log says so: it may be that nobody knows.
- What cannot be written (the disk is full, the folder is gone) is raised by the stage: the error of its PacketStream. The file
  is closed then, too.
- Packets are borrowed, written before `process` returns, and passed on: a slow disk holds the loop.
- With `threaded` a thread of its own writes, and the loop goes on. The sink is then a queue, too: it gets clones, passes them
  on in that thread when they are written, and the end of the stream comes behind them, as with an AsyncPacketQueue; the loop
  of the sources runs until then. From HIGH bytes that wait on, the stream is paused, as by StreamSink(drop="pause"), or where
  it has no sources, its writer waits. What has come is written before the program ends, unless nothing moves for STUCK seconds.
  Where `threading` is missing, it is as without `threaded`.

Not here: reading files (sources.py), downloads of the HTTP client (http/client/download.py).
"""

from __future__ import annotations

import errno
import os
from _thread import allocate_lock, get_ident

from ..base import log
from ..base.besides import open_beside
from ..base.handle import Handle, on_loop
from ..base.loop import Loop
from ..base.threads import at_end
from .adapter import PacketProcessor
from .packet import PacketFlags
from .queue import AsyncPacketQueue, has_threads
from .stream import CLOSED, ERROR, PAUSED, STOPPED

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    import weakref
    from typing import Any, Callable, Optional

    from .packet import Packet

FINAL = PacketFlags.FINAL
SUFFIX = ".part"
HIGH, LOW = 1 << 20, 1 << 18  # bytes that wait for the thread: enough, and few again
COST = 256  # bytes that a packet costs beside its data
MOST = 1 << 20  # packets that wait: more than HIGH bytes of them
STUCK = 5.0  # seconds without a packet written: the end of the program waits no longer

_ending: Optional[weakref.WeakSet[ThreadedFileSink]] = None  # those that were started: made with the first of them


class FileSink(PacketProcessor):
    """Writes the data of each packet to `file`, a path or a binary file that is open for writing, and passes the packet on.

    partial: False writes to a path itself. An open file stays open; it is flushed behind FINAL. A path is opened when the first
    packet comes (OSError: the error of the PacketStream). threaded: for disks that are slow, a thread writes. What is behind
    this stage, slots too, is then called in that thread, as are on_error and on_close, if there is no synchronize_output(loop).
    `path`: the path, or None. `part`: the path that is written to until FINAL, or None; of a link, or of no plain file, it is
    known when the first packet has come. `written`: bytes, of this run.
    """

    serves = True  # no stream ends for want of a receiver while this is part of it

    def __new__(cls, file: Any, *, partial: bool = True, threaded: bool = False) -> FileSink:
        made: Any = cls
        if threaded and not issubclass(cls, AsyncPacketQueue):
            if cls is not FileSink:
                raise TypeError("%s(threaded=True): make it a subclass of ThreadedFileSink" % cls.__name__)
            if has_threads():
                made = ThreadedFileSink
            else:
                log.warning("threads", "`threading` is missing here, so that a FileSink writes on the loop")
        sink: FileSink = object.__new__(made)
        return sink

    def __init__(self, file: Any, *, partial: bool = True, threaded: bool = False) -> None:
        self._given: Any = file if hasattr(file, "write") else None
        if self._given is None and not isinstance(file, (str, bytes)) and not hasattr(file, "__fspath__"):
            raise TypeError("FileSink is given a path or a file that is open for writing, not %r" % (file,))
        self.path: Optional[str] = None if self._given is not None else os.fsdecode(file)
        self.part: Optional[str] = self.path + SUFFIX if partial and self.path is not None else self.path
        self.written: int = 0
        self._partial = partial
        self._target = self.path  # what is replaced: links followed
        self._open: Any = None

    def process(self, packet: Packet) -> None:
        """Writes the packet; behind FINAL the file has its name."""
        if self._open is None:
            self.written = 0
            self._open = self._given if self.path is None else self._opened(self.path)
        if packet.size:
            self._write(packet.data)
        if packet.flags & FINAL:
            self._conclude()
        self.emit(packet)

    def on_stream_state(self, state: Any) -> None:
        """The PacketStream is over: the file is closed, as it is."""
        if state is STOPPED or state is CLOSED or state is ERROR:
            if self._open is not None and self.part != self._target and state is not ERROR:  # of an error on_error tells
                log.warning("packetstream", "%s keeps that name: its PacketStream ended without FINAL (to say that this is "
                            "the whole, write FlagPacket(PacketFlags.FINAL) before close(); a stage passes packet.flags on)",
                            self.part)
            self._let_go()

    def _opened(self, path: str) -> Any:
        """What is written to."""
        target = self._target = os.path.realpath(path) if os.path.islink(path) else path
        if not self._partial or not (os.path.isfile(target) or os.path.isdir(target) or not os.path.exists(target)):
            self.part = target
        elif not os.path.basename(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        else:
            self.part = target + SUFFIX
            if not os.path.islink(self.part) and os.path.isfile(self.part):
                os.unlink(self.part)  # of an earlier run; or of one that writes it now, which is not to write to ours
            if not os.path.lexists(self.part):
                return open_beside(target, self.part, 0)
        return open(self.part, "wb", buffering=0)

    def _write(self, data: Any) -> None:
        with memoryview(data) as view, view.cast("B") as left:
            done = 0
            while done < len(left):
                with left[done:] as rest:
                    taken = self._open.write(rest)
                if not taken:
                    raise BlockingIOError("the file takes nothing: FileSink writes to files that do not refuse, Pipe to others")
                done += taken
                self.written += taken

    def _conclude(self) -> None:
        """All is there."""
        if hasattr(self._open, "flush"):
            self._open.flush()
        replaces = self.part != self._target
        if replaces and not os.path.samestat(os.fstat(self._open.fileno()), os.stat(self.part)):  # type: ignore[arg-type]
            raise FileExistsError(errno.EEXIST, "somebody else writes that file now", self.part)
        self._let_go()
        if replaces:
            os.replace(self.part, self._target)  # type: ignore[arg-type]

    def _let_go(self) -> None:
        file, self._open = self._open, None
        if file is not None and file is not self._given:
            file.close()


class ThreadedFileSink(FileSink, AsyncPacketQueue):
    """What FileSink(file, threaded=True) makes."""

    def __init__(self, file: Any, *, partial: bool = True, threaded: bool = True) -> None:
        AsyncPacketQueue.__init__(self, MOST, "block")
        FileSink.__init__(self, file, partial=partial)
        self._bytes = 0  # that wait, with their COST
        self._held: Any = None  # the PacketStream that was paused here
        self._keeps: Optional[Handle] = None  # has the loop of the sources run until all is written
        self._out = allocate_lock()  # held until it is, of this run

    def process(self, packet: Packet) -> None:
        """Has the thread write the packet."""
        with self._lock:
            while self._bytes >= HIGH and self._waits():
                self._waiting += 1
                try:
                    self._room.wait()
                finally:
                    self._waiting -= 1
            if not self._put(packet):
                return
            self._bytes += packet.size + COST
            many = self._bytes >= HIGH
            if self._sleeps:
                self._ring()
        if many:
            self._hold()

    def open(self, stream: Any) -> None:
        """As AsyncPacketQueue.open; the loop of the sources runs until all is written."""
        self._held = None
        self._out = allocate_lock()
        self._out.acquire()
        _wait_at_end(self)
        AsyncPacketQueue.open(self, stream)
        loop = _loop_of(stream)
        if loop is not None:
            on_loop(loop, self._keep, loop)

    def await_end(self) -> None:
        """The program ends: waits until what has come is written, as long as something is."""
        out, thread = self._out, self._thread
        before: Any = None
        if thread is None or not thread.is_alive():  # it is done; or the thread is in the process that forked this one
            return
        if self._takes:  # the stream has not ended
            self.call(lambda: _let_pass(out))
        while (self.depth, self.written) != before:
            before = self.depth, self.written
            if out.acquire(timeout=STUCK):
                out.release()
                return
        log.warning("packetstream", "%s: nothing was written for %g s, so that %d packets are lost with the end of the program",
                    self.part or "FileSink", STUCK, self.depth)

    def on_stream_state(self, state: Any) -> None:
        """The PacketStream is over: the file is closed, by the thread if that may be writing."""
        thread = self._thread
        if state is not ERROR or thread is None or thread.ident == get_ident() or not self.call_first(self._let_go):
            FileSink.on_stream_state(self, state)

    def _waits(self) -> bool:
        """Under the lock: whether the writer is to wait, since there is no source to be held."""
        thread, stream = self._thread, self._stream
        return self._takes and thread is not None and thread.ident != get_ident() and not stream.sources

    def _hold(self) -> None:
        """Holds the sources until few bytes wait."""
        stream = self.runs_in
        if stream is None or not stream.active or not stream.sources:
            return
        self._held = stream
        if stream.hold_up():
            self._let_on()  # the thread may have written it all meanwhile, and found no stream that is paused
        else:  # another thread has just stopped it, or paused it
            self._held = None

    def _let_on(self) -> None:
        with self._lock:
            stream = self._held
            if stream is None or self._bytes > LOW or stream.state is not PAUSED:
                return
            self._held = None
        loop = _loop_of(stream)
        if loop is None:
            stream.let_on()
        else:
            on_loop(loop, stream.let_on)

    def _keep(self, loop: Loop) -> None:
        if self._keeps is None and not loop.closed:
            keeps = Handle(loop)
            keeps.activate()
            with self._lock:
                if self._thread is not None:
                    self._keeps = keeps
                    return
            keeps.close()

    def _finished(self, then: Callable[[], Any]) -> None:
        with self._lock:
            self._thread = self._held = None
            keeps, self._keeps = self._keeps, None
            out = self._out
        try:
            AsyncPacketQueue._finished(self, then)
        finally:  # behind it: when that loop has run, the stream has stopped
            _let_pass(out)
            if keeps is not None:
                on_loop(keeps.loop, keeps.close)

    def _pop(self) -> Any:
        item = AsyncPacketQueue._pop(self)
        if hasattr(item, "size"):
            self._bytes -= item.size + COST  # type: ignore[union-attr]
        return item

    def _deliver(self, item: Any) -> None:
        stream = self._stream
        if not hasattr(item, "size") or stream is None or not stream.flowing:
            AsyncPacketQueue._deliver(self, item)
            return
        try:
            FileSink.process(self, item)
        except Exception as exc:
            if not stream.fail(exc):
                raise
        if self._held is not None:
            self._let_on()


def _loop_of(stream: Any) -> Optional[Loop]:
    """That of its sources, if it has one."""
    for source in stream.sources:
        if isinstance(getattr(source, "loop", None), Loop):
            return source.loop  # type: ignore[no-any-return]
    return None


def _let_pass(lock: Any) -> None:
    if lock.locked():
        lock.release()


def _wait_at_end(sink: ThreadedFileSink) -> None:
    """Has the end of the program wait for what `sink` has to write."""
    global _ending
    if _ending is None:
        import weakref

        try:
            at_end(_await_all, first=True)
        except RuntimeError:  # it is ending now
            return
        _ending = weakref.WeakSet()
    _ending.add(sink)


def _await_all() -> None:
    for sink in tuple(_ending or ()):
        sink.await_end()
