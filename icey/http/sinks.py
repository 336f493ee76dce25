"""Who has a connection's stream once HTTP is over on it: another protocol's adapter, or nobody until the peer closes too."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .connection import ServerConnection


class Upgraded:
    """The stream's sink once another protocol has the connection: the adapter gets all; the connection is told the end."""

    __slots__ = ("on_bytes", "on_end", "on_drain", "on_error", "_adapter", "_connection")

    def __init__(self, connection: ServerConnection, adapter: Any) -> None:
        self._connection = connection
        self._adapter = adapter
        self.on_bytes = adapter.on_bytes
        self.on_end = adapter.on_end
        self.on_drain = adapter.on_drain
        self.on_error = adapter.on_error

    def on_close(self) -> None:
        try:
            self._adapter.on_close()
        finally:
            self._connection.on_close()


class Lingering:
    """The stream's sink of a connection that is closing: input is dropped until the peer's end."""

    __slots__ = ("_connection",)

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    def on_bytes(self, data: bytes) -> None:
        pass

    def on_end(self) -> None:
        self._connection.stream.close()

    def on_drain(self) -> None:
        pass

    def on_error(self, exc: Exception) -> None:
        pass

    def on_close(self) -> None:
        self._connection.on_close()
