"""The trial: loop, TCP, UDP, TLS, HTTP and WebSocket, each of them once on loopback, between two ends in this thread.

Rules
- Each trial has a loop of its own, which is closed at its end, whatever happened, and with it all that is on it.
- A trial ends when it has what it waits for, when something of it fails, or after WAIT seconds in which nothing came. Time in
  which this process computes is not waiting: a small machine is slow at its first handshake, and not broken.
- Once a trial has hung, the later ones wait for a quarter of WAIT: where all is dropped, the whole takes a second and a bit.
- Where TCP fails, what goes over TCP is skipped: it would only fail again, and as slowly.
- No name is looked up, nothing but loopback is used, no thread is started.

Not here: what is there at all (checks.py).
"""

from __future__ import annotations

import os
import time

from .finding import FAILED, OK, SKIPPED, advice, finding, told

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from ...base.loop import Loop
    from ...net.tcp import TCPSocket
    from .finding import Finding

WAIT = 1.0  # seconds: a trial in which nothing comes for so long has failed
MOST = 10  # times WAIT: the most that a trial takes, however much of it was computing
TEXT = b"icey doctor"


class Skip(Exception):
    """A trial that cannot be made here; its text says why, `do` what to do about it."""

    def __init__(self, text: str, do: str = "") -> None:
        super().__init__(text)
        self.do = do


class Trial:
    """What a trial is made with: `loop`, and `host`, the loopback address. `patience`: seconds. `step`: what is waited
    for, in words.

    Whatever fails calls `fail(exc)`, the end calls `done()`; `wait()` runs the loop until then.
    """

    def __init__(self, loop: Loop, host: str, patience: float) -> None:
        self.loop = loop
        self.host = host
        self.patience = patience
        self.step = "to begin"
        self.told: str = "works"
        self._over = False
        self._error: Optional[BaseException] = None
        loop.slow_limit = float("inf")  # debug mode: what is slow at its first use is no fault
        loop.on_error += self._raised

    def done(self, text: str = "works") -> None:
        """It works. text: what is told."""
        self.told = text
        self._over = True

    def fail(self, exc: BaseException) -> None:
        """It does not; the first reason counts."""
        self._error = self._error or exc
        self._over = True

    def failed(self, thing: Any, exc: BaseException) -> None:
        """A slot of on_error."""
        self.fail(exc)

    def ended(self, *anything: Any) -> None:
        """A slot of on_close: too early, unless all is done."""
        if not self._over:
            self.fail(ConnectionError("closed while it was waited %s" % self.step))

    def wait(self) -> None:
        """Runs the loop until the trial is over; raises what failed."""
        begin, busy = time.monotonic(), _computed()
        while not self._over:
            lasted = time.monotonic() - begin
            left = self.patience - (lasted - (_computed() - busy))
            if left <= 0 or lasted > MOST * self.patience:
                # a listener that has no descriptor for a connection waits in silence: then this raises
                os.close(os.open(os.devnull, os.O_RDONLY))
                raise TimeoutError("nothing came for %g s while it was waited %s" % (self.patience, self.step))
            self.loop.run_once(min(left, self.patience))
        if self._error is not None:
            raise self._error

    def _raised(self, loop: Loop, exc: BaseException, handle: Any) -> None:
        self.fail(exc)


def trials() -> Dict[str, Finding]:
    """name -> finding with `seconds`, in the order in which they are made."""
    found: Dict[str, Finding] = {}
    broken = ""  # what failed, and what is behind it is not tried
    host, patience = "127.0.0.1", WAIT
    for name, trial, needs_tcp in TRIALS:
        if broken == "loop" or (broken and needs_tcp):
            made = finding(SKIPPED, None, "not tried, since %s does not work" % {"loop": "the loop", "tcp": "TCP"}[broken])
            made["seconds"] = 0.0
        else:
            made = _made(trial, host, patience)
            if made["state"] == FAILED and made["seconds"] >= patience:
                patience = WAIT / 4
            if made["state"] != OK and name in ("loop", "tcp"):
                broken = name
            elif name == "loop":
                host = _loopback()
        found[name] = made
    return found


def _made(trial: Callable[[Trial], None], host: str, patience: float) -> Finding:
    """The finding of one trial."""
    begin = time.monotonic()
    try:
        made = finding(OK, True, _tried(trial, host, patience))
    except Skip as skip:
        made = finding(SKIPPED, None, str(skip), skip.do)
    except ImportError as exc:
        made = _lacking(exc)
    except Exception as exc:  # whatever it is: it is what is to be told
        do = advice(exc)
        if isinstance(exc, TimeoutError) and not do:
            do = "a firewall that drops what goes over loopback? let it pass"
        made = finding(FAILED, False, told(exc), do)
        exc.__traceback__ = None  # its frames hold what is closed
    made["seconds"] = round(time.monotonic() - begin, 4)
    return made


def _tried(trial: Callable[[Trial], None], host: str, patience: float) -> str:
    """Makes a trial, and returns what is to be told; raises what failed."""
    from ...base.loop import Loop

    loop = Loop()
    try:
        made = Trial(loop, host, patience)
        trial(made)
        made.wait()
        return made.told
    finally:
        for handle in loop.handles:  # what is cut here is no leak that debug mode should speak of
            handle.abort()
        loop.run_once(0)
        loop.close()


def _lacking(exc: ImportError) -> Finding:
    """A module cannot be imported: one of this package is one that a vendored copy was made without."""
    package = __name__.rpartition(".tools.")[0]
    if (exc.name or "").startswith(package + "."):
        return finding(SKIPPED, None, "not in this copy of icey (%s)" % exc.name)
    return finding(FAILED, False, told(exc), "install the module, where your system ships it apart")


def _loopback() -> str:
    """The loopback address that can be used: that of IPv4 where both can, or none."""
    import socket

    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.bind((host, 0))
            return host
        except OSError:
            pass
    return "127.0.0.1"


def _computed() -> float:
    """Seconds that this thread has computed."""
    try:
        return time.thread_time()
    except (AttributeError, OSError):  # a system that does not count them
        return time.process_time()


# -- the trials ------------------------------------------------------------------------------------------------------

def _loop(trial: Trial) -> None:
    """A call, a timer, a call posted."""
    loop = trial.loop
    came: List[str] = []

    def one(what: str) -> None:
        came.append(what)
        if len(came) == 3:
            trial.done("calls, timers and posts work")

    trial.step = "for a call, a timer and a posted call"
    loop.call_soon(one, "soon")
    loop.call_later(0.001, one, "later")
    loop.post(one, "posted")


def _tcp(trial: Trial) -> None:
    """Bytes there and back."""
    from ...net.listener import TCPListener
    from ...net.tcp import TCPSocket

    client = TCPSocket(trial.loop)
    _echo(trial, TCPListener(trial.loop, (trial.host, 0)), client, lambda sock: sock)


def _echo(trial: Trial, listener: Any, client: TCPSocket, served: Callable[[Any], Any]) -> None:
    """Connects `client` to `listener` and waits until the bytes it sends come back. served: makes the server's end usable."""
    came = bytearray()

    def accept(_: Any, sock: Any) -> None:
        end = served(sock)
        end.on_recv += lambda end, view: end.send_owned(view)
        end.on_error += trial.failed

    def connected(sock: Any) -> None:
        trial.step = "for bytes that were sent to come back"
        sock.send(TEXT)

    def received(sock: Any, view: memoryview) -> None:
        came.extend(view)
        if bytes(came) == TEXT:
            version = getattr(sock, "version", None)
            trial.done("%s over %s" % ("bytes went there and came back", version or trial.host))

    listener.on_accept += accept
    listener.on_error += trial.failed
    client.on_connect += connected
    client.on_recv += received
    client.on_error += trial.failed
    client.on_close += trial.ended
    trial.step = "to connect to %s" % listener.address
    client.connect(listener.address)


def _udp(trial: Trial) -> None:
    """A datagram there and back."""
    from ...net.udp import UDPSocket

    server, client = UDPSocket(trial.loop), UDPSocket(trial.loop)

    def received(sock: Any, view: memoryview, address: Any) -> None:
        if bytes(view) == TEXT:
            trial.done("a datagram went there and came back over %s" % trial.host)

    server.on_recv += lambda sock, view, address: sock.send_owned(view, address)
    client.on_recv += received
    for sock in (server, client):
        sock.on_error += trial.failed
        sock.bind((trial.host, 0))
    trial.step = "for a datagram to come back"
    client.send(TEXT, server.local)


def _tls(trial: Trial) -> None:
    """The same with a certificate that is made for it, is checked, and is gone afterwards: nothing secret is kept anywhere."""
    try:
        from ...net import tls
    except ImportError as exc:
        raise Skip("there is no ssl (%s)" % exc) from None
    from ...net.listener import TCPListener

    server, client = _contexts(tls)
    listener = TCPListener(trial.loop, (trial.host, 0))
    _echo(trial, listener, tls.TLSSocket(trial.loop, context=client),
          lambda sock: tls.start_tls(sock, server, server_side=True))


def _contexts(tls: Any) -> Tuple[Any, Any]:
    """(a server's context, that of a client who trusts it), by a certificate of this moment."""
    import tempfile

    from ..cli.certificate import self_signed_files

    try:
        folder = tempfile.TemporaryDirectory()
    except OSError as exc:
        raise Skip("the ssl module reads certificates from files, and no temporary one can be written: %s" % told(exc),
                   "have TMPDIR name a folder that can be written") from None
    with folder as path:
        cert, key = self_signed_files(path, ["127.0.0.1", "::1"], days=1)
        return tls.server_context(cert, key), tls.client_context(ca=cert)


def _http(trial: Trial) -> None:
    """A server answers a client."""
    from ...http.client.client import Client
    from ...http.server.server import Server

    def answered(answer: Any, error: Optional[BaseException]) -> None:
        if error is not None:
            trial.fail(error)
        elif (answer.status, answer.body) != (200, TEXT):
            trial.fail(ValueError("the answer is %d %r" % (answer.status, answer.body)))
        else:
            trial.done("a server answered a client")

    server = Server(trial.loop, trial.host, 0)
    server.on_request += lambda exchange: exchange.respond(body=TEXT)
    server.start()
    trial.step = "for the answer to a request"
    Client(trial.loop).request("GET", "http://%s/" % server.address, done=answered)


def _websocket(trial: Trial) -> None:
    """A message there and back."""
    from ...http.server.server import Server
    from ...http.websocket import connecting  # noqa: F401  # which a vendored copy may be without, and then WebSocket.connect, too
    from ...http.websocket.websocket import WebSocket

    def requested(exchange: Any) -> None:
        ws = WebSocket.accept(exchange)
        ws.on_message += lambda ws, data: ws.send(data)
        ws.on_error += trial.failed

    def connected(ws: Any) -> None:
        trial.step = "for a message to come back"
        ws.send(TEXT.decode())

    def came(ws: Any, data: Any) -> None:
        if data == TEXT.decode():
            trial.done("a message went there and came back")
        else:
            trial.fail(ValueError("what came back is %r" % (data,)))

    server = Server(trial.loop, trial.host, 0)
    server.on_request += requested
    server.start()
    trial.step = "for the handshake"
    ws = WebSocket.connect(trial.loop, "ws://%s/" % server.address)
    ws.on_connect += connected
    ws.on_message += came
    ws.on_error += trial.failed
    ws.on_close += trial.ended


# (name, what makes it, whether it goes over TCP)
TRIALS: Tuple[Tuple[str, Callable[[Trial], None], bool], ...] = (
    ("loop", _loop, False), ("tcp", _tcp, True), ("udp", _udp, False), ("tls", _tls, True), ("http", _http, True),
    ("websocket", _websocket, True),
)
