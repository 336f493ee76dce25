"""FileRegion: a part of a file in the queue of a stream, sent by the system (sendfile) where that can be had.

`Stream.write_file` imports this file when it is first called: a copy of icey that sends no files does without.
"""

from __future__ import annotations

import os
import socket

from .buffer import READ_SIZE, TURN_BYTES, Segment
from .errors import NetError

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from .buffer import Done

FILE_BYTES = 2 << 20  # one stream's share of a turn where nothing is copied, by sendfile


class FileRegion(Segment):
    """`count` bytes of an open binary file from `offset`; `finish` closes the file if it was given away."""

    __slots__ = ("file", "offset", "count", "_close", "_fd", "_long", "_corked")

    in_file = True

    def __init__(self, file: BinaryIO, offset: int, count: int, close: bool, done: Done) -> None:
        super().__init__(b"", done)
        self.file: BinaryIO = file
        self.offset: int = offset
        self.count: int = count
        self._close = close
        self._long = count > TURN_BYTES
        self._corked = False
        try:
            self._fd = file.fileno() if hasattr(os, "sendfile") else -1
        except (AttributeError, OSError):  # in memory, in a zip
            self._fd = -1

    def send(self, sock: Any) -> int:
        """Sends a piece; NetError where the file is shorter than promised."""
        if self._fd >= 0 and isinstance(sock, socket.socket):
            if self._long:
                self._long = False
                self._corked = cork(sock, True)
            try:
                taken = os.sendfile(sock.fileno(), self._fd, self.offset, min(self.count, FILE_BYTES))
            except (BlockingIOError, InterruptedError):
                raise
            except OSError:  # a file system, or a kernel, without it
                self._fd = -1
                return self.send(sock)
        else:
            self.file.seek(self.offset)
            piece = self.file.read(min(self.count, READ_SIZE))
            taken = sock.send(piece) if piece else 0
            if piece and not taken:
                raise BlockingIOError
        if not taken:
            raise NetError("the file ended %d bytes before what was promised of it" % self.count)
        self.offset += taken
        self.count -= taken
        if self._corked and not self.count:
            cork(sock, False)
        return taken

    def finish(self) -> None:
        """Closes the file."""
        if self._close:
            self.file.close()


def cork(sock: socket.socket, on: bool) -> bool:
    """Has the system send segments that are full alone, or all there is again. Returns whether it was told.

    A long file by sendfile goes out in segments of odd sizes otherwise, of which a receiver takes half as many bytes a second.
    """
    if hasattr(socket, "TCP_CORK"):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)
            return True
        except OSError:  # no TCP, or it is gone: the send says so
            pass
    return False
