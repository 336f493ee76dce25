"""Adapter: stands between a stream and its user, and can be replaced on a live connection.

    class Upper(Adapter):
        def on_data(self, view):
            self.send_owned(bytes(view).upper())

    Upper().use(sock)

Rules: an adapter takes all that its stream receives; `on_data` views are lent, as `on_recv`'s are. One stream, one
adapter: `use` puts it in the place of the one before.
"""

from __future__ import annotations

from ..base.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from ..base.buffer import Done
    from ..base.stream import Stream


class Adapter:
    """Override what you need of on_data, on_end, on_drain, on_error and on_close."""

    stream: Optional[Stream] = None

    def use(self, stream: Stream) -> Adapter:
        """Takes the place between `stream` and its user. Returns the adapter."""
        stream._check()
        stream._require_open("use")
        self.stream = stream
        stream._use_sink(self)
        self.on_attach()
        return self

    def on_attach(self) -> None:
        """In place: the stream is `self.stream`."""

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
        """The stream is closed. Comes once."""

    def send(self, data: Any, done: Done = None) -> bool:
        """As Stream.send: borrows."""
        return self._live().send(data, done)

    def send_owned(self, data: Any, done: Done = None) -> bool:
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
        """What the stream calls: lends `data` to on_data."""
        stream = self._live()
        buffer = stream.loop._read_buffer
        view = buffer.lend_bytes(data)
        try:
            self.on_data(view)
        except Exception as exc:
            stream._slot_failed(exc)
        finally:
            kept = buffer.take_back(view, (self.on_data,))
            if kept is not None:
                stream._borrow_broken(kept)
