"""Call: one request at a WSGI application, between a thread that runs the application and the loop that sends its answer.

The thread, in jobs of the pool: `begin` calls the application and takes the pieces of what it returned; `more` goes on with
them; `close_up` closes. The next job is given when the one before has come back, so the application never runs on two threads
for one request. Each piece goes into `pieces`, and the loop is told by one post, however many pieces come until it looks.

The loop: `deliver` sends what is there. A piece more is asked for only while less than `most` bytes wait: with that many the
thread leaves (`paused`), and when the client has taken them the loop gives the pool a job that goes on. So a slow client holds
no thread, and costs `most` bytes beside what its connection has queued. `write()`, PEP 3333's old way, has no such place to
leave at: there the thread waits.

Rules (PEP 3333)
- The head goes with the first piece that is not empty, or at the end. Until then start_response may be called anew, with
  exc_info; after that it raises what exc_info has.
- An answer that is whole before its head is out has a Content-Length: a list or tuple always, others where the loop had not
  looked yet. With a Content-Length given, what is beyond it is left out and logged; what is short of it is an error.
- HEAD, 204 and 304 have no body: of an iterable that is no list the first piece is asked for, for start_response to be called.
- An error, where no head is out: 500; else the connection is cut, and looks cut. Its traceback is logged with the request.
- close() of what the application returned is called once, on a thread, whatever happened: also where the client has gone, which
  the thread sees at the next piece. Only where the pool has ended before, with its loop, it is called on the loop.

Which fields are whose: `taken`, `full` and what has to do with the connection are the loop's, the others the thread's, but that
the loop takes `pieces` away. Each is one assignment, and the other side reads what was assigned before; there is no lock.
"""

from __future__ import annotations

import io
import os
from _thread import allocate_lock, get_ident
from collections import deque
from stat import S_ISREG

from ...base import log
from ...base.errors import HttpError, PeerClosed, QueueFull, StateError
from ...base.threadpool import Job
from ..semantics.grammar import BAD_VALUE
from ..semantics.headers import check_field
from ..semantics.status import REASONS, bodiless
from .exchange import DONE, OPEN

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, Iterable, Iterator, List, NoReturn, Optional, Tuple, Union

    from ...base.loop import Loop
    from ...base.threadpool import ThreadPool
    from .exchange import Exchange

    Pair = Tuple[str, str]
    Application = Callable[[Dict[str, Any], Callable[..., Any]], Iterable[bytes]]

SLICE = 1 << 18  # bytes of a piece that go to the connection at once
MOST_STATUSES = 64  # that are remembered
MOST_FINE, LONGEST = 256, 64  # headers that are remembered, characters of their values
LOOK = 1.0  # seconds: how often a write() that waits looks whether its loop is still there
HOP_BY_HOP = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "trailers", "transfer-encoding",
    "upgrade",
))
READABLE = (io.BufferedReader, io.BufferedRandom, io.FileIO)


class Call:
    """One request at an application.

    `exchange`, `pool`, `loop`: whose it is. `most`: bytes that may wait. What one half tells the other: `pieces`, made and not
    sent yet; `made`, `taken`: bytes so far; `code`, `reason`, `headers`: the head; `file`: what to send in place of pieces, a
    file with an offset and a count; `posted`: the loop is to look; `paused`: the thread has left, with more to come; `partial`:
    the pieces are not all there would be; `ended`; `failed`: an error is the end. `full`: the client takes no more for now.
    """

    __slots__ = (
        "exchange", "pool", "loop", "most", "pieces", "posted", "made", "taken", "paused", "ended", "failed", "code", "reason",
        "headers", "length", "begun", "partial", "file", "full", "_sent", "_app", "_environ", "_body", "_iterable", "_iterator",
        "_head_only", "_beyond", "_gate", "_watching", "_busy", "_turns", "_unclosed", "_errors",
    )

    def __init__(self, exchange: Exchange, pool: ThreadPool, app: Application, environ: Dict[str, Any], body: Any) -> None:
        self.exchange: Exchange = exchange
        self.pool: ThreadPool = pool
        self.loop: Loop = pool.loop
        self.most: int = exchange.connection.server.limits.high_water
        self.pieces: Deque[Union[bytes, memoryview]] = deque()
        self.posted: bool = False
        self.made: int = 0
        self.taken: int = 0
        self.paused: bool = False
        self.ended: bool = False
        self.failed: bool = False
        self.code: int = 0  # of the status; 0: start_response was not called yet
        self.reason: str = ""
        self.headers: List[Pair] = []
        self.length: Optional[int] = None  # the Content-Length given
        self.begun: bool = False  # the head is settled: a piece that is not empty came
        self.partial: bool = False
        self.file: Optional[Tuple[Any, int, int]] = None
        self.full: bool = False
        self._sent = 0  # bytes that the connection was given
        self._app: Optional[Application] = app
        self._environ: Optional[Dict[str, Any]] = environ
        self._errors = environ["wsgi.errors"]
        self._body = body
        self._iterable: Any = None
        self._iterator: Optional[Iterator[bytes]] = None
        self._head_only = exchange.request.method == "HEAD"
        self._beyond = False  # it was logged that there is more than the Content-Length
        self._gate: Any = None  # a lock at which write() waits
        self._watching = False
        self._busy = False  # a job is out, and has not come back
        self._turns: List[Callable[[], None]] = []  # what the job that is out is to do, until a thread begins with it
        self._unclosed = [True]  # whoever takes it out closes up

    # -- on a thread: jobs -------------------------------------------------------------------------------------------

    def work(self) -> None:
        """What a job of this call calls."""
        turn = _taken(self._turns)
        if turn is not None:  # else the loop was closed before
            turn()

    def begin(self) -> None:
        """Has the application answer."""
        app, environ, self._app, self._environ = self._app, self._environ, None, None
        if self.exchange.stage >= DONE or app is None or environ is None:  # the client has gone while it waited
            self.close_up()
            return
        try:
            iterable = self._iterable = app(environ, self.start_response)
            kind = type(iterable)
            if kind is list or kind is tuple:
                for piece in iterable:
                    self._add(piece)
                self._end()
            elif isinstance(iterable, FileWrapper) and not self.begun and self._is_file(iterable.filelike):
                self.ended = True  # it is closed when it is out
            else:
                self._iterator = _iterator(iterable)
                self.more()
        except BaseException as exc:
            self._fail(exc)

    def more(self) -> None:
        """Takes pieces of the answer while there is room for them."""
        exchange, most = self.exchange, self.most
        try:
            for piece in self._iterator or ():
                self._add(piece)
                if exchange.stage >= DONE and self.made != self.length:  # else it only has to end, and may have its answer
                    self.close_up()
                    return
                if self.begun and self._is_bodiless():
                    self.partial = True
                    break
                self._post()
                if self.made - self.taken >= most and self.made != self.length:  # else it only has to end
                    self.paused = True
                    if exchange.stage >= DONE:  # perhaps since before the loop could see that
                        self.close_up()
                    return
            self._end()
        except BaseException as exc:
            self._fail(exc)

    def close_up(self) -> None:
        """Closes what the application returned, and the request's body; once."""
        if _taken(self._unclosed) is None:
            return
        iterable, body = self._iterable, self._body
        self._iterable = self._iterator = self._body = self._app = self._environ = self.file = None
        try:
            close = getattr(iterable, "close", None)
            if close is not None:
                if self.ended:
                    self._post()  # close() may take its time: the client has its answer before
                close()
        except BaseException as exc:
            self._log("close() of what the application returned", exc)
        body.close()
        self._errors.flush()

    def _end(self) -> None:
        """The answer is complete."""
        if not self.code:
            raise StateError("the application returned without calling start_response(status, headers)",
                             "call it before the first piece of the answer", "PEP 3333")
        if self.length is not None and self.made < self.length and not self._is_bodiless():
            self._fall_short(self.made)
        self.ended = True
        self.close_up()

    def _fall_short(self, size: int) -> NoReturn:
        raise StateError("the application gave %d bytes, and said Content-Length: %d" % (size, self.length or 0),
                         "give as many bytes as it says, or no Content-Length", "PEP 3333")

    def _fail(self, exc: BaseException) -> None:
        """The application raised `exc`."""
        gone = self.exchange.stage >= DONE
        try:
            if not (gone and isinstance(exc, PeerClosed)):
                self._log("the application failed", exc)
        finally:  # a handler of the program's logging may raise
            self.failed = True
            self.ended = True
            self.close_up()
        if not isinstance(exc, Exception) and get_ident() == self.loop.thread:  # without threads: Ctrl-C is the program's
            self._post()
            raise exc

    def _log(self, what: str, exc: BaseException) -> None:
        request = self.exchange.request
        log.error("wsgi", "%s %s: %s: %s", request.method, request.target, what, type(exc).__name__, exc=exc)

    def _add(self, piece: Any) -> None:
        """A piece of the answer."""
        if not isinstance(piece, bytes):
            raise TypeError("a WSGI application answers with an iterable of bytes, such as [text.encode()]; in it was %s"
                            % type(piece).__name__)
        size = len(piece)
        if not size:
            return
        if not self.code:
            raise StateError("a piece of the answer came before start_response(status, headers)",
                             "call it before the first piece", "PEP 3333")
        self.begun = True
        if self.length is not None and self.made + size > self.length and not self._is_bodiless():
            piece = piece[:self.length - self.made]
            if not self._beyond:
                self._beyond = True
                request = self.exchange.request
                log.error("wsgi", "%s %s: the application gave more than the %d bytes of its Content-Length; they are left out",
                          request.method, request.target, self.length)
            if not piece:
                return
        self.pieces.append(piece)
        self.made += len(piece)  # behind it: who sees that all are made finds them

    def _is_bodiless(self) -> bool:
        return self._head_only or bodiless(self.code)

    def _is_file(self, file: Any) -> bool:
        """Whether the rest of this file can be sent as it lies on the disk; then it is `file`."""
        if type(file).__module__ == "tempfile":
            file = getattr(file, "file", file)
        if not isinstance(file, READABLE) or not isinstance(getattr(file, "raw", file), io.FileIO) or not self.code:
            return False
        try:
            stat, offset = os.fstat(file.fileno()), file.tell()
        except (OSError, ValueError):  # a pipe; closed
            return False
        count = max(0, stat.st_size - offset)
        if not S_ISREG(stat.st_mode):
            return False
        if self.length is None:
            self.headers.append(("Content-Length", str(count)))
        elif count < self.length and not self._is_bodiless():
            self._fall_short(count)
        else:
            count = self.length
        self.file = file, offset, count
        return True

    def _post(self) -> None:
        """Has the loop look."""
        if not self.posted:
            self.posted = True
            self.loop.post(self.deliver)

    # -- on a thread: what the application calls ---------------------------------------------------------------------

    def start_response(self, status: str, headers: List[Pair], exc_info: Any = None) -> Callable[[bytes], None]:
        """PEP 3333: sets the head, which goes with the first piece; returns `write`."""
        if exc_info is not None:
            try:
                if self.begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # its traceback holds this frame
        elif self.code:
            raise StateError("start_response() was called twice", "call it again only with exc_info, to tell of an error",
                             "PEP 3333")
        code, reason = _status(status)
        length = _checked(headers)
        self.code, self.reason, self.headers, self.length = code, reason, list(headers), length
        return self.write

    def write(self, data: bytes) -> None:
        """PEP 3333: sends a piece. It holds its thread while `most` bytes wait for a slow client.

        PeerClosed once the client has gone.
        """
        self._add(data)
        self._post()
        if self.made == self.length:  # the client may have its answer by now
            return
        exchange = self.exchange
        if self.made - self.taken >= self.most and get_ident() != self.loop.thread:
            gate = allocate_lock()
            gate.acquire()
            self._gate = gate
            while self.made - self.taken >= self.most and exchange.stage < DONE and not self.loop.closed:
                if gate.acquire(True, LOOK):
                    break
            self._gate = None
        if exchange.stage >= DONE or self.loop.closed:
            raise PeerClosed("the client has gone: nobody takes what is written")

    # -- on the loop -------------------------------------------------------------------------------------------------

    def give(self, turn: Callable[[], None]) -> None:
        """Has a thread do this: `begin`, `more` or `close_up`."""
        if self.pool.closing or self.loop.closed:
            self.close_up()
            if turn != self.close_up and self.exchange.stage < DONE:  # there is no thread any more for the rest
                self.exchange.abort()
        else:
            self._busy = True
            self._turns.append(turn)
            self.pool.give(Turn(self), self.work, (), first=turn != self.begin)  # what is begun goes before what is new

    def told(self, result: Any, error: Optional[BaseException]) -> None:
        """A job is done: the answer has ended, or the thread has left for lack of room."""
        self._busy = False
        if error is not None:  # what logs has raised; or Ctrl-C, without threads
            self.failed = self.ended = True
            if isinstance(error, Exception):
                self.loop.report(error, self.exchange.connection)
        self.deliver()
        self._go_on()

    def dropped(self) -> None:
        """The job that is out will not be told of: the pool, and mostly the loop, was closed."""
        self._open_gate()  # a write() that waits has nothing more to wait for
        if _taken(self._turns) is not None:  # no thread will come to it
            self.close_up()
        if self.exchange.stage < DONE and not self.loop.closed:
            self.exchange.abort()

    def deliver(self) -> None:
        """Sends what the thread has made, as far as there is room."""
        self.posted = False  # before the look: what comes behind it posts again
        ended = self.ended  # before the look at the pieces: then they are all here
        whole = ended or (self.begun and self.made == self.length)
        exchange = self.exchange
        if exchange.stage >= DONE:
            self.pieces.clear()
            self._open_gate()
            if self.file is not None:
                self._part()
            return
        try:
            if self.failed:
                self._tell_failure()
            elif whole and exchange.stage == OPEN:
                if self.file is not None:
                    self._send_file(*self.file)
                else:
                    self._send_whole()
            else:
                self._watch()
                if self.pieces or ended:
                    if exchange.stage == OPEN:
                        self._send_head()
                    self._send_pieces(ended)
        except Exception as exc:
            exchange.slot_failed(exc)

    def _send_whole(self) -> None:
        """All of the answer at once."""
        exchange, pieces = self.exchange, self.pieces
        if self._head_only and self.length is not None:  # the head says all, as GET's would
            pieces.clear()
        elif self.partial or (self._head_only and not self.made):  # nobody knows how long it would be
            pieces.clear()
            self._send_head()
            exchange.end()
            return
        if self.reason:
            exchange.response.reason = self.reason
        body = pieces.popleft() if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        exchange.respond(self.code, body, None, self.headers)

    def _send_file(self, file: Any, offset: int, count: int) -> None:
        """A file, by sendfile where the system has it."""
        self.file = None
        lent = _Lent(file, self._part)
        try:
            self._send_head()
        except BaseException:
            lent.close()
            raise
        self.exchange.send_file(lent, offset, count)  # type: ignore[arg-type]
        self.exchange.end()

    def _send_head(self) -> None:
        response = self.exchange.response
        response.status = self.code
        if self.reason:
            response.reason = self.reason
        for name, value in self.headers:  # beside those of slots in front, as respond() has them
            response.headers.add(name, value)
        self.exchange.send_header()

    def _send_pieces(self, ended: bool) -> None:
        exchange, pieces = self.exchange, self.pieces
        while pieces and not self.full:
            parts: List[Any] = []
            size = 0
            while pieces and size < SLICE:
                part = pieces.popleft()
                if len(part) > SLICE:
                    view = memoryview(part)
                    part = view[:SLICE]
                    pieces.appendleft(view[SLICE:])
                parts.append(part)
                size += len(part)
            try:
                self.full = not exchange.send_owned(parts if len(parts) > 1 else parts[0])
            except QueueFull:  # max_queue is less than a slice: it goes when there is room, at last behind an empty queue
                pieces.extendleft(reversed(parts))
                self.full = True
                return
            self._sent += size
        if not self.full:
            self.taken = self._sent
            self._open_gate()
        if ended and not pieces:
            exchange.end()

    def _tell_failure(self) -> None:
        self.pieces.clear()
        if self.exchange.stage == OPEN:
            self.exchange.answer_error(HttpError(500))
        else:
            self.exchange.abort()

    def _watch(self) -> None:
        """The answer takes longer than one look: the connection is to tell of room, and of its end."""
        if not self._watching:
            self._watching = True
            self.exchange.on_drain += self._drained
            self.exchange.on_close += self._gone

    def _drained(self, exchange: Exchange) -> None:
        """The client has taken what waited."""
        self.full = False
        self.taken = self._sent
        self.deliver()
        if not self.full:
            self._open_gate()
            self._go_on()

    def _gone(self, exchange: Exchange) -> None:
        """The exchange is over, answered or not."""
        self._open_gate()
        if self.paused:
            self._part()

    def _go_on(self) -> None:
        """A thread takes more pieces, where one has left and there is room; or closes, where nobody wants more."""
        if self.paused and not self._busy:
            if self.exchange.stage >= DONE:
                self._part()
            elif not self.full:
                self.paused = False
                self.give(self.more)

    def _part(self) -> None:
        """Nobody wants the rest: a thread closes what the application returned."""
        self.paused = False
        self.file = None
        self.give(self.close_up)

    def _open_gate(self) -> None:
        gate = self._gate
        if gate is not None:
            self._gate = None
            gate.release()


class Turn(Job):
    """A job of a call."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call: Optional[Call] = call
        super().__init__(call.loop, call.told)

    def title(self) -> str:
        return "a WSGI request"

    def silence(self) -> None:
        super().silence()
        call, self._call = self._call, None
        if self.result is None and call is not None:
            call.dropped()


class FileWrapper:
    """`wsgi.file_wrapper`: an iterable of blocks of a binary file, from where it is now.

    Returned by the application itself (and not by something around it), over a regular file of the system, it is sent without
    being read. `filelike`, `blksize`: as given.
    """

    def __init__(self, filelike: Any, blksize: int = 8192) -> None:
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close: Any = filelike.close

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        data: bytes = self.filelike.read(self.blksize)
        if not data:
            raise StopIteration
        return data


class _Lent:
    """A file on its way to the client: when the connection closes it, the application's close() is due, on a thread."""

    __slots__ = ("fileno", "seek", "read", "close")

    def __init__(self, file: Any, close: Callable[[], None]) -> None:
        self.fileno = file.fileno
        self.seek = file.seek
        self.read = file.read
        self.close = close


def _taken(items: List[Any]) -> Any:
    """The item of this list, for one thread alone; None where there is none any more."""
    try:
        return items.pop()
    except IndexError:
        return None


_NONE = object()  # what no iterator gives
_fine: Dict[Any, int] = {}  # headers that were checked before: what _size_of returned
_statuses: Dict[str, Tuple[int, str]] = {}  # those that were used


def _status(status: str) -> Tuple[int, str]:
    """(code, reason, "" for the usual one) of a status as start_response takes it."""
    known = _statuses.get(status) if type(status) is str else None
    if known is not None:
        return known
    if not isinstance(status, str):
        raise TypeError("a status is a str such as \"200 OK\", not %r" % (status,))
    digits, _, reason = status.partition(" ")
    if len(digits) != 3 or not (digits.isascii() and digits.isdigit()) or digits[0] == "0" or BAD_VALUE(reason):
        raise ValueError("a status is three digits, a space and a reason, such as \"200 OK\", not %r" % status)
    code = int(digits)
    if code < 200:
        raise ValueError("a WSGI application gives the final answer: its status is 200 or more, not %r" % status)
    if len(_statuses) >= MOST_STATUSES:
        _statuses.clear()
    _statuses[status] = known = code, "" if reason == REASONS.get(code) else reason
    return known


def _checked(headers: List[Pair]) -> Optional[int]:
    """Checks the headers that start_response got; returns the Content-Length among them."""
    if type(headers) is not list:
        raise TypeError("headers are a list of (name, value) tuples, not %s" % type(headers).__name__)
    length: Optional[int] = None
    for pair in headers:
        try:
            size = _fine.get(pair)  # one that is equal and no tuple of two str cannot be there
        except TypeError:  # it cannot be a key
            size = None
        if size is None:
            size = _size_of(pair)
        if size >= 0:
            if length is not None and length != size:
                raise ValueError("Content-Length is one number of bytes, not both %d and %d" % (length, size))
            length = size
    return length


def _size_of(pair: Any) -> int:
    """Checks one header; returns the Content-Length that it is, -1 for any other."""
    if type(pair) is not tuple or len(pair) != 2:
        raise TypeError("headers are a list of (name, value) tuples; in it was %r" % (pair,))
    name, value = pair
    check_field(name, value)
    key = name.lower()
    size = -1
    if key in HOP_BY_HOP:
        raise ValueError("%s concerns one connection, which the server looks after: a WSGI application may not send it "
                         "(PEP 3333)" % name)
    if key == "status":
        raise ValueError("the status is start_response's first argument, not a header")
    if key == "content-length":
        if not (value.isascii() and value.isdigit() and len(value) < 20):
            raise ValueError("Content-Length is a number of bytes, not %r" % value)
        size = int(value)
    if len(value) <= LONGEST and key != "set-cookie":  # no secret is kept
        if len(_fine) >= MOST_FINE:
            _fine.clear()
        _fine[pair] = size
    return size


def _iterator(iterable: Any) -> Iterator[bytes]:
    """The pieces of what an application returned."""
    if isinstance(iterable, (str, bytes, bytearray)):
        raise TypeError("a WSGI application returns an iterable of bytes: [body], not %s" % type(iterable).__name__)
    try:
        found = iter(iterable)
        return found if hasattr(found, "__iter__") else iter(found.__next__, _NONE)  # left out: `for` is content
    except TypeError:
        raise TypeError("a WSGI application returns an iterable of bytes, such as [body], not %s"
                        % type(iterable).__name__) from None
