"""Pipe: a Stream over a descriptor that is no socket: a pipe, a FIFO, a terminal or serial line, a character device.

    read, write = os.pipe()
    pipe = Pipe(loop, read)                            # takes it over, as a Stream does a socket
    pipe.on_recv += lambda pipe, view: ...

Rules
- Stream's contract, whole: lent reads, borrowed and owned sends, water marks, half-close, asynchronous close. What a
  descriptor was opened for is asked: on one for reading `send` is StateError, on one for writing nothing is read.
- `shutdown()` ends what goes out: a pipe's writing end is closed, a socket is shut down; a terminal, which has no such end,
  only takes no more sends.
- A pipe's or FIFO's writing end whose reader has gone is told at once (BrokenPipeError), also while nothing is sent, where the
  system has poll(); elsewhere the next send meets it.
- A FIFO ends when its last writer has gone, and with it the Pipe; opened for both (os.O_RDWR) it outlives its writers.
- A terminal that is hung up (EIO), as the master of a pty when the other side is closed, has ended, and takes nothing more.
- A regular file is refused: it is always ready, and the loop would wait for the disk. FileSource reads one, FileSink writes
  one. So are, by epoll, devices that are always ready (/dev/null, /dev/zero): OSError.
- A descriptor is shared with whoever else has it, such as the shell its terminal: it is nonblocking for all of them meanwhile,
  and what it was when the Pipe is closed, or the program ends; where several Pipes share it (a terminal as input and output),
  when the last one is. A forked child gives nothing back: the parent goes on.
- (opt termios) `set_raw` is for terminals, and lasts until the last Pipe that asked for it is closed.

Not here: starting programs (process.py).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import sys
from io import FileIO

from .errors import StateError
from .handle import OPEN
from .poller import READ
from .stream import SHUT, SHUTTING, UP, Stream

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

    from .loop import Loop

try:
    from fcntl import F_GETFL, F_SETFL, fcntl, ioctl
except ImportError:  # what a descriptor was opened for is found out by trying
    fcntl = ioctl = None  # type: ignore[assignment]

_READV = hasattr(os, "readv")
_POLL = getattr(select, "poll", None)
_WAYS = os.O_RDONLY | os.O_WRONLY | getattr(os, "O_RDWR", 2)

_held: Dict[Tuple[int, int, int], List[Descriptor]] = {}  # (device, inode, process): those that are open on it
_at_exit = False


class Pipe(Stream):
    """A Stream over `fd_or_file`: a descriptor, or an object that has one (`fileno()`), which is kept and closed in its place.

    close: False leaves the descriptor open at the end. A file that buffers should have read nothing yet.
    `readable`, `writable`: what it was opened for. `sock`: the Descriptor.
    ValueError: a regular file, a folder, or a descriptor that another Pipe has. OSError: it cannot be polled, is no open
    descriptor, or this is Windows, where pipes cannot be polled.
    """

    __slots__ = ("readable", "writable")

    def __init__(self, loop: Loop, fd_or_file: Union[int, Any], *, close: bool = True) -> None:
        super().__init__(loop, None)
        end = Descriptor(fd_or_file)
        self.readable: bool = end.way != os.O_WRONLY
        self.writable: bool = end.way != os.O_RDONLY
        try:
            self._require_pollable(end)
            self.use_socket(end, UP)
            if not self.writable:
                self.output: int = SHUTTING  # as after a shutdown: there is nothing to tell
                self.output = SHUT
            self.ended: bool = not self.readable
            self.update_interest()
        except BaseException:  # it stays the caller's
            self.deactivate()
            self.sock = None
            end.close()
            raise
        if close:
            end.own()

    def set_raw(self, speed: Optional[int] = None) -> None:
        """Has a terminal or serial line pass bytes as they are: no echo, no lines, no signals (cfmakeraw), until the close.

        speed: in baud, such as 115200, None to leave it. ValueError: no terminal, or no such speed. StateError once closing.
        """
        self.check_thread()
        self.require_open("set_raw")
        self.sock.set_raw(speed)

    def pick_reader(self) -> Optional[Callable[[int], Any]]:
        if self.readable:
            return super().pick_reader()
        return self._look_for_reader if self.link == UP and self.phase == OPEN and self.sock.tells_broken else None

    def _look_for_reader(self, mask: int) -> None:
        """The poller says something of a writing end, which is never readable: its reader may have gone."""
        if self.link == UP and self.sock.broken():
            self.reader_gone()

    def reader_gone(self) -> None:
        """For a subclass to override: nobody reads any more what this end writes. BrokenPipeError is told."""
        self.fail(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))

    def output_over(self) -> StateError:
        if self.writable:
            return super().output_over()
        return StateError("send() on descriptor %d, which was opened for reading alone" % self.fd,
                          "send on the other end of the pipe; `writable` tells")

    def _require_pollable(self, end: Descriptor) -> None:
        poller = self.loop.poller
        if end.fd in poller.ready:
            raise ValueError("descriptor %d is watched on this loop already: a Pipe wants one for itself, as os.dup() makes"
                             % end.fd)
        try:
            poller.register(end.fd, READ, _nothing)
        except PermissionError:  # what epoll says of a device that is always ready
            text = "descriptor %d cannot be polled: read it, and write it, in a ThreadPool" % end.fd
            raise OSError(errno.EPERM, text) from None
        poller.unregister(end.fd)

    def title(self) -> str:
        return "%s %d" % (type(self).__name__, self.fd)


class Descriptor:
    """What a Stream asks of its socket, asked of a descriptor.

    `fd`; `way`: os.O_RDONLY, O_WRONLY or O_RDWR; `owned`: it is closed at the end, False at first; `came`: bytes read so far;
    `tells_broken`: `broken()` knows, and the poller tells of it.
    """

    __slots__ = ("fd", "way", "owned", "came", "tells_broken", "_file", "_mode", "_key", "_blocking", "_was_like", "_hung")

    def __init__(self, fd_or_file: Union[int, Any]) -> None:
        self.owned: bool = False
        self.came: int = 0
        self._was_like: Any = None  # a terminal, before set_raw
        self._hung = False
        if isinstance(fd_or_file, bool) or not (isinstance(fd_or_file, int) or hasattr(fd_or_file, "fileno")):
            raise TypeError("a Pipe is given a descriptor, which is a number, or a file that has one, not %r" % (fd_or_file,))
        self._file: Any = None if isinstance(fd_or_file, int) else fd_or_file
        self.fd: int = fd_or_file if isinstance(fd_or_file, int) else fd_or_file.fileno()
        if not hasattr(os, "set_blocking") or os.name == "nt":
            self.fd, fd = -1, self.fd
            raise OSError(errno.ENOTSUP, "descriptor %d: this system cannot poll pipes; use sockets, or threads" % fd)
        found = os.fstat(self.fd)
        self._mode: int = found.st_mode
        if stat.S_ISREG(self._mode) or stat.S_ISDIR(self._mode):
            raise ValueError("descriptor %d is a %s, which is always ready: FileSource reads a file, FileSink writes one"
                             % (self.fd, "folder" if stat.S_ISDIR(self._mode) else "regular file"))
        self.way: int = fcntl(self.fd, F_GETFL) & _WAYS if fcntl is not None else _way_of(self.fd)
        self.tells_broken: bool = stat.S_ISFIFO(self._mode) and self.way == os.O_WRONLY and _POLL is not None
        self._key = (found.st_dev, found.st_ino, os.getpid())
        others = _held.setdefault(self._key, [])
        if any(other.fd == self.fd for other in others):
            raise ValueError("descriptor %d belongs to another Pipe: a Pipe wants one for itself, as os.dup() makes" % self.fd)
        self._blocking = os.get_blocking(self.fd)
        _give_back_at_exit()
        others.append(self)

    # as a socket

    def setblocking(self, on: bool) -> None:
        os.set_blocking(self.fd, on)

    def fileno(self) -> int:
        return self.fd

    def recv(self, size: int) -> bytes:
        try:
            data = os.read(self.fd, size)
        except OSError as exc:
            return b"" if self._hung_up(exc) else self._raise(exc)
        self.came += len(data)
        return data

    def recv_into(self, room: Any) -> int:
        if not _READV:
            data = self.recv(len(room))
            room[:len(data)] = data
            return len(data)
        try:
            size = os.readv(self.fd, [room])
        except OSError as exc:
            return 0 if self._hung_up(exc) else self._raise(exc)
        self.came += size
        return size

    def send(self, data: Any) -> int:
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            self._may_take()
            raise

    if hasattr(os, "writev"):

        def sendmsg(self, parts: Sequence[Any]) -> int:
            try:
                return os.writev(self.fd, parts)
            except BlockingIOError:
                self._may_take()
                raise

    def shutdown(self, how: int) -> None:
        """Nothing more goes out."""
        if stat.S_ISSOCK(self._mode):
            with socket.socket(fileno=os.dup(self.fd)) as sock:
                sock.shutdown(how)

    def close(self) -> None:
        """It is what it was before; and closed, if that is ours to do."""
        if self.fd < 0:
            return
        self.give_back()
        try:
            if self.owned:
                self._file.close()  # once more is nothing, should an interrupt cut this short
        except OSError:  # it was closed behind our back
            self.fd = -1
            raise
        self.fd = -1
        self._file = None

    # beyond a socket

    def own(self) -> None:
        """It is closed at the end, by the file that it came in, or else by one made for that."""
        if self._file is None:
            self._file = FileIO(self.fd, "r" if self.way == os.O_RDONLY else "w")
        self.owned = True

    def broken(self) -> bool:
        """Whether this is a writing end whose reader has gone."""
        if _POLL is None:
            return False
        poll = _POLL()
        poll.register(self.fd, 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))

    def waiting(self) -> Optional[int]:
        """Bytes that are there to be read; None where the system does not tell."""
        try:
            import termios

            return int.from_bytes(ioctl(self.fd, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)
        except (ImportError, AttributeError, TypeError, OSError):  # TypeError: no fcntl
            return None

    def set_raw(self, speed: Optional[int]) -> None:
        """See Pipe.set_raw."""
        try:
            import termios

            was_like = termios.tcgetattr(self.fd)
        except Exception as exc:  # no termios here; and termios.error is no OSError
            raise ValueError("descriptor %d is no terminal: %s" % (self.fd, exc)) from None
        baud = was_like[4] if speed is None else getattr(termios, "B%d" % speed, None)
        if baud is None:
            raise ValueError("a terminal has no speed of %r baud here" % speed)
        iflag, oflag, cflag, lflag, ispeed, ospeed, chars = was_like
        iflag &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
                   | termios.ICRNL | termios.IXON)
        oflag &= ~termios.OPOST
        lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        chars = list(chars)
        chars[termios.VMIN], chars[termios.VTIME] = 1, 0
        termios.tcsetattr(self.fd, termios.TCSANOW, [iflag, oflag, cflag, lflag, baud, baud, chars])
        if self._was_like is None:
            kept = [other for other in _held[self._key] if other._was_like is not None]
            self._was_like = kept[0]._was_like if kept else was_like

    def give_back(self) -> None:
        """Has it as it was, for whoever else has it; another Pipe that still needs it so takes that over."""
        others = _held.get(self._key, [])
        if self in others:
            others.remove(self)
        if not others:
            _held.pop(self._key, None)
        if self._key[2] != os.getpid():
            return
        was_like, self._was_like = self._was_like, None
        try:
            if was_like is not None and not any(other._was_like is not None for other in others):
                import termios

                try:
                    termios.tcsetattr(self.fd, termios.TCSANOW, was_like)
                except termios.error:  # it is gone
                    pass
            if self._blocking:
                heirs = [other for other in tuple(others) if other.way == self.way and _is_shared(self.fd, other.fd)]
                for heir in heirs:
                    heir._blocking = True
                if not heirs:
                    os.set_blocking(self.fd, True)
        except (OSError, ImportError):  # closed behind our back
            pass

    def _hung_up(self, exc: OSError) -> bool:
        if exc.errno != errno.EIO or not stat.S_ISCHR(self._mode):
            return False
        self._hung = True
        return True

    def _raise(self, exc: OSError) -> Any:
        raise exc

    def _may_take(self) -> None:
        """It takes nothing now. A terminal that is hung up never will, and its poller would say for ever that it does."""
        if self._hung:
            raise OSError(errno.EIO, "the terminal was hung up")


def _give_back_at_exit() -> None:
    """Has what is open when the program ends, by an exception that nobody caught, given back all the same."""
    global _at_exit
    if not _at_exit:
        import atexit

        _at_exit = True
        atexit.register(_give_all_back)


def _give_all_back() -> None:
    for ends in tuple(_held.values()):
        for end in tuple(ends):
            end.give_back()


def _way_of(fd: int) -> int:
    """What `fd` was opened for, without fcntl: reading or writing nothing is refused where it is not allowed."""
    tries: Tuple[Tuple[int, Callable[[], Any]], ...] = (
        (os.O_WRONLY, lambda: os.read(fd, 0)), (os.O_RDONLY, lambda: os.write(fd, b"")))
    ways = []
    for way, call in tries:
        try:
            call()
        except BlockingIOError:
            pass
        except OSError as exc:
            if exc.errno == errno.EBADF:
                ways.append(way)
    return ways[0] if len(ways) == 1 else os.O_RDWR


def _is_shared(one: int, other: int) -> bool:
    """Whether two descriptors of the same pipe or device stand for one opening of it, which has one set of flags.

    A flag of one that means nothing to pipes and terminals is turned over, to see whether that of the other one turns too.
    """
    if fcntl is None:
        return True
    flags = fcntl(one, F_GETFL)
    before = fcntl(other, F_GETFL) & os.O_APPEND
    fcntl(one, F_SETFL, flags ^ os.O_APPEND)
    try:
        return (fcntl(other, F_GETFL) & os.O_APPEND) != before
    finally:
        fcntl(one, F_SETFL, flags)


def _nothing(mask: int) -> None:
    pass
