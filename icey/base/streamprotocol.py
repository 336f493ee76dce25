"""StreamProtocol: what a stream calls: the seam between a transport and whoever speaks something over it.

    stream.use_protocol(protocol)      from now on the protocol gets what comes, in place of the stream's slots

The calls come from the loop, in this order: any number of on_bytes and on_drain, at most one on_end, at most one on_error,
and on_close last, once. An exception in one of them is the application's: it goes to `loop.on_error`, and the stream closes.

The HTTP and WebSocket connections, the TLS engine and `Adapter` are such protocols. See `Stream` for what a protocol calls in
its turn: write, write_file, hold, want_drain, shutdown, close, abort.

Whoever has the stream may close it. A stream that is closed while its protocol is `unfinished` ends by a reset, and over TLS
without close_notify, so that the peer does not take the cut for the end.
"""

from __future__ import annotations


class StreamProtocol:
    """A protocol that ignores everything; a subclass overrides what it needs.

    `unfinished`: whether something is under way whose end nothing tells the peer but the stream's end.
    """

    __slots__ = ()

    @property
    def unfinished(self) -> bool:
        return False

    def on_bytes(self, data: bytes) -> None:
        """The stream read `data`, 1 byte to 72 KiB: the protocol's own, to be kept as long as it likes."""

    def on_end(self) -> None:
        """The peer sends no more; it may still read."""

    def on_drain(self) -> None:
        """The write queue is down to low water: a send returned False before, or `want_drain()` was called."""

    def on_error(self, exc: OSError) -> None:
        """The transport failed; on_close follows. What was sent from then on is discarded."""

    def interrupted(self) -> None:
        """A KeyboardInterrupt in a slot that one of these called ended the loop's run, and the next one begins, or close()."""

    def on_close(self) -> None:
        """The stream is closed: the last call."""
