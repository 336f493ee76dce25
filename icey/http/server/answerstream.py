"""AnswerStream: the seam between an exchange and what carries its answer.

An Exchange knows requests and answers; who carries them knows bytes, keep-alive and deadlines. What the exchange asks of its
carrier stands here, and nothing else of it. `ServerConnection` implements it for HTTP/1.1; a stream of HTTP/2 would be another.

The order of calls: `answer` alone, which is the whole answer on the short way; or one of `answer_head` and `write_head`, any
number of `write` and `write_file`, then `finish`. `take_over` ends it all: another protocol has the transport from then on.
"""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Optional

    from ...base.buffer import Done
    from ...base.loop import Loop
    from ...net.address import Address
    from ...net.tcp import TCPSocket
    from ..http1.responsehead import AnswerFields, HeadWriter
    from ..semantics.headers import Headers, HeadersLike
    from .exchange import Exchange
    from .server import Server
    from .states import ServerState

WHOLE, WAITING, EXPECTING, FLOWING, DRAINING = range(5)  # the request's body, see ServerConnection


class AnswerStream:
    """What carries an exchange.

    `loop`, `server`, `stream` (the transport), `heads` (makes the bytes of heads), `peer`, `local`, `secure`: whose they are.
    `exchange`: the one that is out, None between two. `quick`: the exchange that may take the short way, or None.
    `intake`: where the request's body is, one of the constants above. `ended`: the client sends no more.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        loop: Loop
        server: Server
        stream: TCPSocket
        heads: HeadWriter
        exchange: Optional[Exchange]
        quick: Optional[Exchange]
        intake: int
        ended: bool

        @property
        def state(self) -> ServerState: ...

        @property
        def upgraded(self) -> bool: ...

    @property
    def peer(self) -> Optional[Address]:
        """The client's address."""
        return self.stream.peer

    @property
    def local(self) -> Optional[Address]:
        """Our address."""
        return self.stream.local

    @property
    def secure(self) -> bool:
        """Whether it is a TLS connection."""
        return self.stream.secure

    # answering

    def answer(
        self, exchange: Exchange, status: int, body: bytes, content_type: Optional[str], headers: HeadersLike
    ) -> bool:
        """Sends the whole answer of the exchange that is `quick`. False: it has to go the long way, nothing was done."""
        raise NotImplementedError

    def answer_head(self, exchange: Exchange, status: int, headers: Headers) -> Optional[int]:
        """Sends the head of the exchange that is `quick`; returns the bytes its body has to have, or CHUNKED_SIZE.

        None: it has to go the long way, nothing was done.
        """
        raise NotImplementedError

    def write_head(
        self, exchange: Exchange, status: int, reason: str, fields: AnswerFields, frame: bytes, body: Any = None,
        last: bool = False,
    ) -> None:
        """Sends a head of these fields. frame: the field line that frames the body, b"" for none.

        body: with respond(), all there will be, bytes, in the same send. last: the end of the body is the connection's end.
        """
        raise NotImplementedError

    def write(self, data: Any, done: Done, owned: bool) -> bool:
        """Sends a piece of the body, bytes-like or a list of such. False: above high water, `on_drain` comes."""
        raise NotImplementedError

    def write_file(self, file: BinaryIO, offset: int, count: int, close: bool, done: Done) -> bool:
        """Sends a region of a file, and closes the file if told to."""
        raise NotImplementedError

    def room(self, size: int = 0) -> bool:
        """Whether the queue is below high water. QueueFull where `size` bytes more would pass the server's `max_queue`."""
        raise NotImplementedError

    def finish(self, exchange: Exchange, status: int) -> None:
        """The answer is complete."""
        raise NotImplementedError

    def begin_streaming(self) -> None:
        """The answer goes on for long: no deadline but that of bytes queued, until `finish`."""
        raise NotImplementedError

    # the request's body

    def want_body(self, exchange: Exchange) -> bool:
        """Somebody wants the body: it is read from now on. True while some of it is still to come."""
        raise NotImplementedError

    def pause(self) -> None:
        """Stops reading the body, and its deadline."""
        raise NotImplementedError

    def resume(self) -> None:
        """Reads on."""
        raise NotImplementedError

    # errors, and the end

    def slot_raised(self, exchange: Exchange, exc: Exception) -> None:
        """A slot of the exchange raised: its HttpError is the answer, of anything else the loop is told, and 500 sent."""
        raise NotImplementedError

    def take_over(self, exchange: Exchange, adapter: Any) -> None:
        """Hands the transport to `adapter`, another protocol's."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes once what is queued is out; an exchange under way is lost."""
        raise NotImplementedError

    def abort(self) -> None:
        """Closes now."""
        raise NotImplementedError
