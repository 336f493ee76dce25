"""Who has a connection's stream once HTTP is over on it: nobody, until the peer closes too."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .connection import ServerConnection


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
