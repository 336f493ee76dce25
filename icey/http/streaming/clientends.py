"""A client's answer and its request's body as ends of a PacketStream.

    conn = ClientConnection(loop, "http://127.0.0.1:8000/film", method="POST", headers={"Transfer-Encoding": "chunked"})
    conn.start()
    stream.attach(ClientSink(conn))                               each packet a piece of the request's body
    other.attach_source(ClientSource(conn), sync_state=True)      each piece of the answer's body a packet

Rules
- Neither starts the transaction: `conn.start()` does. A source may be started before or after, in `on_headers` at the latest; a
  sink is made of a request that is under way, whose body is to come by send().
- A source brings the body whatever the status is; `only_2xx` has any other fail the PacketStreams. FINAL comes once, behind a
  whole answer. What breaks it off (a body cut short, a deadline, a close of ours) is the PacketStreams' error, and no FINAL.
- While its PacketStream is paused a source pauses the connection: the server is held up, and no deadline runs but `timeout`.
- A source that has brought an answer may be started again, for the next answer of the same connection.
- A sink ends the body behind FINAL, and when its PacketStream stops or closes. Where that fails the request is cut, and the
  server sees so; a body that is short of its Content-Length is cut likewise.
- A sink is over when the answer is whole, an early one too, such as a refusal: its PacketStream is closed, if nobody else takes
  its packets. Where the request fails, that PacketStream fails with the same error.

Not here: what a sink does while the server is slow (packets/feed.py), how a body is framed (http1/requestbody.py).
"""

from __future__ import annotations

from ...base.errors import BadResponse, NetError, StateError
from ...base.handle import on_loop
from ...packets.feed import Feed
from ...packets.packet import RawPacket
from ..client.call import Call
from ..client.states import ClientState
from .connectionsource import OVER, STOPPED, ConnectionSource

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Optional, Tuple, Union

    from ...base.handle import Handle
    from ...base.signal import Signal
    from ...packets.packet import Packet
    from ..client.answer import Answer
    from ..client.connection import ClientConnection

IDLE, RECEIVING = ClientState.IDLE, ClientState.RECEIVING
ENDED = (ClientState.UPGRADED, ClientState.CLOSING, ClientState.CLOSED)


class ClientSource(ConnectionSource):
    """The body of an answer, a packet for each piece that comes; FINAL behind the last, or at once where there is no body.

    `conn`: a ClientConnection, or the Call of a Client (its body comes decoded, and that of the last answer alone). only_2xx:
    True has any other answer fail the PacketStreams, with BadResponse, and none of its body comes; its head is conn.response.
    """

    priority: int = 1000  # before the program's: a slot of on_complete that closes the connection takes no FINAL away

    def __init__(self, conn: Union[ClientConnection, Call], *, only_2xx: bool = False) -> None:
        super().__init__(conn)
        self.conn: Union[ClientConnection, Call] = conn
        self.only_2xx: bool = only_2xx
        self._told = False  # a call tells its end

    def start(self) -> None:
        """Reads from now on. StateError: the connection is closed, the call is over, or some of the body has gone by."""
        super().start()
        if isinstance(self.conn, Call) and not self._told:
            self._told = True
            self.conn.tell_also(self._call_ended)

    def slots(self) -> Iterator[Tuple[Signal, Callable[..., None]]]:
        if self.all_came:  # what comes on a connection from now on is of another answer
            return
        conn = self.conn
        if self.only_2xx:
            yield conn.on_headers, self._look
        if not isinstance(conn, Call):
            yield conn.on_complete, self._completed
            yield conn.on_error, self._failed
        yield conn.on_close, self._closed
        yield conn.on_payload, self._received

    def require_more(self) -> None:
        conn, again = self.conn, self.stage == OVER
        if self.all_came and not again:
            return  # FINAL waits
        if conn.closing or (again and isinstance(conn, Call)) or (not isinstance(conn, Call) and conn.state in ENDED):
            raise StateError("start() of a source whose answer has come, or whose connection is closed",
                             "make and start it before the answer comes")
        if self.stage != STOPPED and (conn.answer_begun or (not isinstance(conn, Call) and again and conn.state is RECEIVING)):
            raise StateError("start() of a source when some of the answer's body has gone by",
                             "start it in on_headers, or before")

    def receiver_gone(self, stream: Any) -> None:
        """Nobody takes what comes: the connection is closed, unless it has no answer to bring any more."""
        if not self.taken_by_others(stream):
            on_loop(self.loop, self.loop.call_soon, self._unwanted)

    def _unwanted(self) -> None:
        if isinstance(self.conn, Call) or self.conn.state is not IDLE:
            self.conn.close()

    def _look(self, conn: Any) -> None:
        """The head of the answer is here."""
        response = conn.response
        if not 200 <= response.status <= 299:
            self.break_off(BadResponse("the answer is %d %s, and not 2xx" % (response.status, response.reason)))

    def _received(self, conn: Any, view: memoryview) -> None:
        self.emit(RawPacket(view))

    def _completed(self, conn: Any) -> None:
        self.let_go()  # the connection may be started again before FINAL has gone out
        self.complete()

    def _failed(self, conn: Any, exc: Exception) -> None:
        self.break_off(exc)

    def _closed(self, conn: Handle) -> None:
        self.break_off(NetError("the connection was closed before the answer was whole"))

    def _call_ended(self, answer: Optional[Answer], exc: Optional[Exception]) -> None:
        """As `done` of a call."""
        if self.stage == OVER:
            return
        if exc is None:
            self._completed(self.conn)
        else:
            self.break_off(exc)


class ClientSink(Feed):
    """Sends each packet as a piece of the request's body, and passes the packet on; an empty packet is nothing.

    conn: a ClientConnection whose request is under way, with a Content-Length or chunked, or without either where its method
    wants a body (POST, PUT, PATCH) and it was started just now; else StateError. drop: what happens to packets while more than
    high water is queued: "pause", the default, loses none; "newest", "oldest", "latest" and "close" are those of
    packets/feed.py. max_queue: packets (not bytes) that are held at most, with "oldest". close_stream: False leaves the
    PacketStream open when the transaction is over. `conn`, `drop`, `max_queue`, `close_stream`: as given. `dropped`, `depth`:
    packets dropped so far, and held now; `full`: the server is slow now. More than a Content-Length said is StateError, the
    stream's; `on_close` comes when the transaction is over.
    """

    def __init__(
        self, conn: ClientConnection, *, drop: str = "pause", max_queue: int = 64, close_stream: bool = True
    ) -> None:
        super().__init__(conn.loop, drop, max_queue, close_stream)
        self.conn: ClientConnection = conn
        self._broke = False
        conn.send_owned(b"")  # the request has a body from now on; StateError where it cannot have one
        conn.on_drain += self.drained
        conn.on_error += self._failed
        conn.on_complete += self.client_gone
        conn.on_close += self.client_gone

    @property
    def serves(self) -> bool:  # type: ignore[override]
        """Whether the request is under way."""
        return super().serves and not self._broke

    def frame(self, packet: Packet) -> Any:
        """The data of the packet; the connection frames."""
        return packet.data if packet.size else None

    def put(self, made: Any) -> bool:
        """Sends; False: on_drain is to come, or the end is."""
        return self.conn.send_owned(made)

    def can_send(self) -> bool:
        """Whether the server takes the body. One that is complete does not refuse what is too much: sending it is an error."""
        conn = self.conn
        return not conn.closing and not self._broke and (conn.uploading or conn.response is None)

    def say_end(self) -> None:
        """Completes the body; where it is short of its Content-Length the request is cut, and that is the stream's error."""
        if self.conn.uploading:
            try:
                self.conn.end()
            except StateError:
                self.conn.abort()
                raise

    def cut_off(self, why: int) -> None:
        """Cuts the request off: no last chunk goes out."""
        self.conn.abort()

    def release(self) -> None:
        """Lets go of the connection, which may have another transaction."""
        conn = self.conn
        conn.on_drain.detach(self.drained)
        conn.on_error.detach(self._failed)
        conn.on_complete.detach(self.client_gone)
        conn.on_close.detach(self.client_gone)

    def _failed(self, conn: Any, exc: Exception) -> None:
        """The request failed; on_close follows."""
        self._broke = True
        if self.close_stream and self.runs_in is not None:
            self.runs_in.sink_gone(exc)
