"""Adapter: stands between a stream and its user, and can be replaced on a live connection.

    class Upper(Adapter):
        def on_data(self, view):
            self.send_owned(bytes(view).upper())

    Upper().use(sock)

Rules
- An adapter gets all that its stream receives. The views given to `on_data` are lent, as those of `on_recv` are.
- A stream has one adapter: `use` puts a new one in the place of the one before.

Not here: what a stream calls, and when (base/streamprotocol.py).
"""

from __future__ import annotations

from ..base.errors import StateError
from ..base.streamprotocol import StreamProtocol

TYPE_CHECKING = bool()
if TYPE_CHECKING:

    from ..base.buffer import Done, Sendable
    from ..base.stream import Stream


class Adapter(StreamProtocol):
    """Override what you need of on_attach, on_data, on_end, on_drain, on_error and on_close.

    `stream`: the stream in use, None before `use`.
    """

    stream: Stream = None  # type: ignore[assignment]  # where on_data and the like are called, it is there

    def use(self, stream: Stream) -> Adapter:
        """Puts the adapter between `stream` and its user. Returns the adapter. StateError: the stream is closing."""
        stream.check_thread()
        stream.require_open("use")
        self.stream = stream
        stream.use_protocol(self)
        self.on_attach()
        return self

    def on_attach(self) -> None:
        """The adapter is in use, on `self.stream`."""

    def on_data(self, view: memoryview) -> None:
        """Bytes came; the view is lent until this returns."""

    def on_end(self) -> None:
        """The peer sends no more. Closes the stream, unless overridden."""
        if self.stream is not None:
            self.stream.close()

    def on_drain(self) -> None:
        """The queue is down to low water."""

    def on_error(self, exc: Exception) -> None:
        """The transport failed; on_close follows."""

    def on_close(self) -> None:
        """The stream is closed: the last call."""

    def send(self, data: Sendable, done: Done = None) -> bool:
        """As Stream.send: borrows."""
        return self._live().send(data, done)

    def send_owned(self, data: Sendable, done: Done = None) -> bool:
        """As Stream.send_owned: keeps its own."""
        return self._live().send_owned(data, done)

    def close(self) -> None:
        """Closes the stream, once what is queued is out."""
        if self.stream is not None:
            self.stream.close()

    def _live(self) -> Stream:
        if self.stream is None:
            raise StateError("send() on an adapter that is not in use", "adapter.use(stream) first", "start, then send")
        return self.stream

    def on_bytes(self, data: bytes) -> None:
        """The stream read `data`: lends it to `on_data`."""
        stream = self._live()
        buffer = stream.loop.read_buffer
        view = buffer.lend_bytes(data)
        buffer.hand_out(stream, view, (self.on_data,), self.on_data, view)
