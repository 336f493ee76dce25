"""WebSocketCompression: how the messages of a WebSocket are compressed, as its user chooses.

    WebSocket.accept(exchange, compression=WebSocketCompression(bits=15, memory=8))   # a little smaller, for 224 KiB more

What it costs a connection that has packed and unpacked, with zlib: to pack 1 << (bits + 2) bytes and 1 << (memory + 9), to
unpack 1 << (bits of the peer's window), and some 16 KiB for both. By default that is 32 KiB, and 4 to 32.

Not here: what both sides agree on, and zlib (deflate.py), which may be missing.
"""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Optional, Union

    Compression = Union[bool, "WebSocketCompression"]


class WebSocketCompression:
    """What `compression=` takes beside True and False. ValueError for a number that is out of its range, TypeError for none.

    `bits`: the window of what this side sends, as a power of two, 9 to 15; a peer may ask for a smaller one. A server asks
    clients that let it for the same window, so that it needs less to unpack; a client asks for nothing, as some servers refuse.
    `level`: 1 (fast) to 9 (small). `memory`: zlib's memLevel, 1 to 9: more is faster, and a little smaller.
    """

    __slots__ = ("bits", "level", "memory")

    def __init__(self, *, bits: int = 12, level: int = 6, memory: int = 5) -> None:
        self.bits: int = _checked("bits", bits, 9)
        self.level: int = _checked("level", level, 1)
        self.memory: int = _checked("memory", memory, 1)

    @classmethod
    def of(cls, wanted: Compression) -> Optional[WebSocketCompression]:
        """What the argument `compression` stands for, None for no compression. TypeError: it is none."""
        if isinstance(wanted, cls):
            return wanted
        if wanted is True or wanted is False:
            return PLAIN if wanted else None
        raise TypeError("compression is True, False or a WebSocketCompression, not %r" % (wanted,))

    def __repr__(self) -> str:
        return "WebSocketCompression(bits=%d, level=%d, memory=%d)" % (self.bits, self.level, self.memory)


_MOST = {"bits": 15, "level": 9, "memory": 9}


def _checked(name: str, value: int, least: int) -> int:
    most = _MOST[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("%s of a WebSocketCompression is a number from %d to %d, not %r" % (name, least, most, value))
    if not least <= value <= most:
        raise ValueError("%s of a WebSocketCompression is %d to %d, not %d" % (name, least, most, value))
    return value


PLAIN = WebSocketCompression()  # what True stands for
