"""WSGI: an application of PEP 3333 (Flask, Django, Bottle, ...) behind a Server, on a few threads.

    server.on_request += WSGI(app)                                          # app(environ, start_response)
    server.on_request += WSGI(app, threads=16, trusted=["127.0.0.1"])       # behind a proxy on this machine
    serve(app, "127.0.0.1", 8000)                                           # the same with a loop and a server of its own

Two worlds: the application runs on the threads of a ThreadPool, everything else on the loop. The loop reads a request whole
before a thread has it, and sends what the thread made, so that a slow client holds neither a thread nor the loop:

    loop     head, body (in memory, past `spool` bytes in a temporary file)      -> environ, a Call        wsgienviron.py
    thread   app(environ, start_response), the pieces of what it returned        -> Call.pieces            wsgicall.py
    loop     head and pieces to the exchange, while the client takes them; else the thread is given back

Rules
- A body may be `max_body` bytes; past that the answer is 413. What is past `spool` is written to disk by the loop, as it comes.
- `max_pending` requests wait for a thread; what comes then is answered 503 with Retry-After, before its body is read.
- CONNECT is answered 501, an Upgrade is not taken: the application is asked as if the client had not offered it.
- One WSGI serves the servers of one loop. Its threads begin with the first requests and end with the loop.
- (opt threading) Without threads the application runs on the loop, which stands still meanwhile.
"""

from __future__ import annotations

import errno
import io

from ...base import log
from ...base.application import run
from ...base.debug import code_of, place
from ...base.errors import HttpError, StateError, TooLarge
from ...base.loop import Loop
from ...base.threadpool import ThreadPool
from .answerstream import WHOLE
from .exchange import PLAIN_TEXT
from .server import Server
from .wsgicall import Call
from .wsgienviron import Environs

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Iterable, Optional, Tuple, Union

    from ...base.limits import Limits
    from ...net.address import Address
    from ...net.listener import TCPListener
    from ...net.networks import Networks
    from .exchange import Exchange
    from .wsgicall import Application

RETRY_AFTER = "1"  # seconds: a queue that is full now is shorter then, or the server is too small
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)


class WSGI:
    """A slot for `Server.on_request` that has a WSGI application answer.

    app          called with (environ, start_response) for each request, on a thread
    threads      how many requests it works on at once; max_pending: how many wait for a thread
    spool        bytes of a request's body that are kept in memory; more goes to a temporary file
    max_body     bytes that a request's body may have (1 GiB; None: no bound)
    trusted      the proxies that are believed, as `forwarded` takes them: who the client is, its scheme and host
    script_name  the path below which the application is mounted, such as "/app": SCRIPT_NAME; PATH_INFO goes without it
    multiprocess what `wsgi.multiprocess` says: whether other processes serve the same application

    `app`: as given; `pool`: its ThreadPool, None before the first request. ValueError, TypeError for arguments that cannot be.
    """

    __slots__ = ("app", "pool", "_threads", "_max_pending", "_spool", "_max_body", "_environs", "_said")

    def __init__(
        self,
        app: Application,
        *,
        threads: int = 8,
        max_pending: int = 1024,
        spool: int = 1 << 20,
        max_body: Optional[int] = 1 << 30,
        trusted: Union[Networks, str, Iterable[str], None] = None,
        script_name: str = "",
        multiprocess: bool = False,
    ) -> None:
        _require_application(app)
        for number, name, least in ((threads, "threads", 1), (max_pending, "max_pending", 0), (spool, "spool", 0),
                                    (max_body, "max_body", 0)):
            if number is None and name == "max_body":
                continue
            if not isinstance(number, int) or isinstance(number, bool) or number < least:
                raise ValueError("%s is a number, %d or more, not %r" % (name, least, number))
        self.app: Application = app
        self.pool: Optional[ThreadPool] = None
        self._threads = threads
        self._max_pending = max_pending
        self._spool = spool
        self._max_body = max_body
        self._environs = Environs(trusted, script_name, multiprocess)
        self._said = False

    def __call__(self, exchange: Exchange) -> None:
        """Answers the exchange."""
        pool = self.pool
        if pool is None or pool.closing or pool.loop is not exchange.connection.loop:
            pool = self._new_pool(exchange.loop)
        request = exchange.request
        if request.method == "CONNECT":
            raise HttpError(501, "a WSGI application opens no tunnels")
        if self._is_full(pool):
            self._refuse(exchange)
        elif exchange.connection.intake == WHOLE:
            self._begin(exchange, pool, io.BytesIO(), -1)
        else:
            self._receive(exchange)

    def _new_pool(self, loop: Loop) -> ThreadPool:
        if self.pool is not None and not self.pool.closing:
            raise StateError("one WSGI on two loops", "make a WSGI(app) for each loop", "loop affinity")
        self.pool = ThreadPool(loop, self._threads, max_pending=self._max_pending, name="icey wsgi")
        return self.pool

    def _receive(self, exchange: Exchange) -> None:
        """Reads the body first: a slow upload holds no thread."""
        length = exchange.request.headers.get("content-length", "0")
        if self._max_body is not None and len(length) < 20 and int(length) > self._max_body:
            raise TooLarge("body over %d bytes" % self._max_body)
        body = _Body(self._spool, self._max_body)
        exchange.on_close += lambda exchange: body.drop()
        exchange.on_complete += lambda exchange: self._received(exchange, body)
        exchange.on_payload += body.add

    def _received(self, exchange: Exchange, body: _Body) -> None:
        """The body is here; meanwhile others may have taken the places."""
        pool = self.pool
        if pool is None or pool.closing or self._is_full(pool):
            self._refuse(exchange)
        else:
            self._begin(exchange, pool, body.taken(exchange), body.size)

    def _begin(self, exchange: Exchange, pool: ThreadPool, body: Any, size: int) -> None:
        """The request is here: a thread's turn. size: bytes of its body, -1 where there was none."""
        call = Call(exchange, pool, self.app, self._environs.make(exchange, body, size), body)
        call.give(call.begin)

    def _is_full(self, pool: ThreadPool) -> bool:
        most = self._max_pending
        return pool.pending >= most and (most > 0 or pool.running >= self._threads)

    def _refuse(self, exchange: Exchange) -> None:
        """There is no thread for it, and no place to wait for one."""
        if not self._said:
            self._said = True
            log.warning("wsgi", "%d requests wait for %d threads: more are answered 503 (said once)", self._max_pending,
                        self._threads)
        exchange.respond(503, b"503 Service Unavailable: too many requests wait\n", PLAIN_TEXT, [("Retry-After", RETRY_AFTER)])


def serve(
    app: Application,
    where: Union[str, Address, TCPListener, Tuple[str, int]] = "127.0.0.1:8000",
    port: Optional[int] = None,
    *,
    tls: Any = None,
    limits: Optional[Limits] = None,
    grace: float = 10.0,
    **options: Any,
) -> Optional[int]:
    """Serves `app` until SIGINT or SIGTERM, on a Loop and a Server of its own; returns and raises as `icey.run`.

    where, port, tls, limits: as of a Server. grace: seconds that requests under way then have. options: as of WSGI.
    """
    slot = WSGI(app, **options)
    with Loop() as loop:
        server = Server(loop, where, port, tls=tls, limits=limits)
        server.on_request += slot
        server.start()
        return run(loop, server, grace=grace)


class _Body:
    """A request's body as it comes: in memory, past `spool` bytes in a temporary file. `size`: bytes so far."""

    __slots__ = ("size", "_file", "_spool", "_most", "_spooled")

    def __init__(self, spool: int, most: Optional[int]) -> None:
        self.size: int = 0
        self._file: Any = io.BytesIO()
        self._spool = spool
        self._most = most
        self._spooled = False

    def add(self, exchange: Exchange, view: memoryview) -> None:
        """The next piece. TooLarge past what it may have; HttpError (507 or 500) where the disk does not take it."""
        self.size += len(view)
        if self._most is not None and self.size > self._most:
            raise TooLarge("body over %d bytes" % self._most)
        try:
            if self.size > self._spool and not self._spooled:
                self._to_disk()
            self._file.write(view)
        except OSError as exc:
            raise _not_kept(exchange, exc) from exc

    def _to_disk(self) -> None:
        import tempfile  # 3 ms, and few need it

        memory = self._file
        self._file = tempfile.TemporaryFile(prefix="icey-wsgi-")
        self._spooled = True
        self._file.write(memory.getbuffer())

    def taken(self, exchange: Exchange) -> Any:
        """The whole body, a binary file at its beginning; whoever takes it closes it. HttpError as of `add`."""
        try:
            self._file.seek(0)  # writes what the file's buffer holds
        except OSError as exc:
            raise _not_kept(exchange, exc) from exc
        file, self._file = self._file, None
        return file

    def drop(self) -> None:
        """The exchange is over: closes the body if nobody took it."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:  # its buffer does not fit on the disk, and is not wanted
                pass


def _require_application(app: Any) -> None:
    """TypeError for what cannot be called, or is an application of another kind. A generator function is a fine one."""
    if not callable(app):
        raise TypeError("a WSGI application must be callable, not %r" % (app,))
    code = code_of(app)
    if code is not None and code.co_flags & 0x280:  # a coroutine function, an asynchronous generator function
        raise TypeError("%s is no WSGI application: it is asynchronous, as those of ASGI are" % place(app))


def _not_kept(exchange: Exchange, exc: OSError) -> HttpError:
    """What to answer where the disk did not take a body."""
    log.error("wsgi", "%s %s: its body cannot be kept on disk", exchange.request.method, exchange.request.target, exc=exc)
    if exc.errno in NO_DESCRIPTORS:
        return HttpError(503, headers={"Retry-After": RETRY_AFTER})
    return HttpError(507 if exc.errno in NO_ROOM else 500)
