"""Wire: a test's end of a connection in memory: raw bytes in, raw bytes out, and the ways in which a peer can go.

    wire = client.connect()
    wire.send(b"GET / HTTP/1.1\\r\\n")         # half a head, and no more
    client.advance(10.0)
    wire.read_until(b"\\r\\n\\r\\n")           # b"HTTP/1.1 408 Request Timeout\\r\\n..."

Rules
- `send` takes no time, and takes everything. What the other side sends is taken when the test reads: until then the other side
  finds out that nobody reads, after 64 KiB.
- A read waits in virtual time; past `timeout` seconds it is Deadline. The end comes first: it returns what there is. A reset is
  ConnectionResetError, behind what came before it.

Not here: the other end (memory.py), HTTP on it (exchanges.py).
"""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from .driver import Driver
    from .memory import Buffer, MemorySocket


class Wire:
    """The test's end. `ended`: the other side has sent its last byte, and it was read. `closed`: this end is."""

    def __init__(self, driver: Driver, sock: MemorySocket, state: Callable[[], str]) -> None:
        self.ended: bool = False
        self.closed: bool = False
        self._driver = driver
        self._sock = sock
        self._state = state  # what the other side is doing, for a Deadline
        self._held = bytearray()  # taken from the other side, and not read yet

    # out

    def send(self, data: Buffer) -> None:
        """Sends `data`, all of it. BrokenPipeError: the other side has closed, or this end has."""
        if self.closed or self._sock.ended or self._sock.closed:
            raise BrokenPipeError("send() on a connection that is closed")
        self._sock.came += data

    def half_close(self) -> None:
        """Sends no more; reading goes on."""
        self._sock.ended = True

    def close(self) -> None:
        """Closes: in order where all that has come was read, else by a reset."""
        if self._sock.sent:
            self.reset()
        self.closed = True
        self._sock.ended = self._sock.gone = True

    def reset(self) -> None:
        """Closes by a reset: the other side gets ConnectionResetError, behind what was sent before."""
        self.closed = True
        self._sock.ended = self._sock.gone = self._sock.reset = True

    # in

    def receive(self, timeout: Optional[float] = None) -> bytes:
        """The next bytes, all that have come: at least one; b"" at the end."""
        self._wait_for(lambda: len(self._held) > 0, "more", timeout)
        return self._taken(len(self._held))

    def take(self) -> bytes:
        """What has come, without waiting: b"" for nothing, or at the end (`ended`)."""
        if not self._held:
            self._pull()
        return self._taken(len(self._held))

    def give_back(self, data: Buffer) -> None:
        """Has `data`, which was taken, be the next to be read."""
        self._held[:0] = data

    def read(self, size: int, timeout: Optional[float] = None) -> bytes:
        """The next `size` bytes; fewer only when the end came first."""
        self._wait_for(lambda: len(self._held) >= size, "%d bytes" % size, timeout)
        return self._taken(size)

    def read_until(self, ending: bytes, timeout: Optional[float] = None) -> bytes:
        """The bytes up to and with `ending`; what there is when the end came first."""
        self._wait_for(lambda: ending in self._held, repr(ending), timeout)
        place = self._held.find(ending)
        return self._taken(place + len(ending) if place >= 0 else len(self._held))

    def read_all(self, timeout: Optional[float] = None) -> bytes:
        """Everything up to the end."""
        self._wait_for(lambda: False, "the end", timeout)
        return self._taken(len(self._held))

    @property
    def over(self) -> bool:
        """Whether nothing more can be asked on it: one of the ends has closed, or the other side sends no more."""
        sock = self._sock
        return self.closed or sock.ended or sock.closed or sock.shut

    def wait(self, done: Callable[[], Any], what: Callable[[], str], timeout: Optional[float] = None) -> Any:
        """Turns the loop until `done()`, and returns it; `what()` and the other side's state say what a Deadline waited for."""
        return self._driver.until(done, lambda: "%s; %s" % (what(), self._state()), timeout)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    def _wait_for(self, enough: Callable[[], bool], what: str, timeout: Optional[float]) -> None:
        """Waits until there is enough, or the end."""
        def done() -> bool:
            return enough() or self._pull() or enough() or self.ended

        self.wait(done, lambda: what, timeout)

    def _pull(self) -> bool:
        """Takes what the other side has sent. ConnectionResetError where that is a reset. False, always."""
        sock = self._sock
        if sock.sent:
            self._held += sock.sent
            sock.sent.clear()
        elif sock.closed and sock.cut:
            raise ConnectionResetError("the other side has reset the connection")
        elif sock.closed or sock.shut:
            self.ended = True
        return False

    def _taken(self, size: int) -> bytes:
        data = bytes(self._held[:size])
        del self._held[:size]
        return data
