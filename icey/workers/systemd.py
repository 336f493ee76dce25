"""systemd's side of a service: the sockets that it opened (sd_listen_fds(3)), and what it is told (sd_notify(3)).

Both are a few words in the environment. Neither is passed on to workers: they are the parent's business.
"""

from __future__ import annotations

import os
import socket

from ..net.listener import TCPListener

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import List, Optional

    from ..base.loop import Loop

FIRST = 3  # the first descriptor that systemd passes
PATIENCE = 1.0  # seconds that systemd has to take a word, where many services tell it theirs; sd_notify(3) waits for ever


def listen_fds() -> List[int]:
    """The descriptors of sockets that systemd opened for this process; none where it did not. They are not passed on."""
    pid, count = os.environ.get("LISTEN_PID", ""), os.environ.get("LISTEN_FDS", "")
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    found = list(range(FIRST, FIRST + int(count)))
    for fd in found:
        os.set_inheritable(fd, False)
    return found


def listeners(loop: Loop) -> List[TCPListener]:
    """The listeners that systemd opened for this process; none where it did not. OSError for what is nothing to listen on."""
    found = []
    for fd in listen_fds():
        try:
            found.append(TCPListener(loop, None, fd=fd))
        except OSError as exc:
            for listener in found:
                listener.abort()
            raise OSError(exc.errno, "descriptor %d, which systemd passed, is nothing to listen on (%s): a .socket unit has "
                          "ListenStream=, and not Accept=yes" % (fd, exc.strerror)) from exc
        os.close(fd)
    return found


class Notifier:
    """Tells systemd how the service fares, where it asked to be told. `watchdog`: seconds between signs of life, or None."""

    __slots__ = ("watchdog", "_sock", "_address")

    def __init__(self) -> None:
        self.watchdog: Optional[float] = None
        self._sock: Optional[socket.socket] = None
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        usec, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        if self._address.startswith("@"):  # the abstract namespace
            self._address = "\0" + self._address[1:]
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.settimeout(PATIENCE)
        if usec.isdigit() and int(usec) and pid in ("", str(os.getpid())):
            self.watchdog = int(usec) / 1e6

    def tell(self, *lines: str) -> None:
        """Sends "NAME=value" lines, once there is room. A systemd that does not listen is no fault of the service's."""
        if self._sock is not None:
            try:
                self._sock.connect(self._address)  # each time: who listens may be another one; and only then is room waited for
                self._sock.send("\n".join(lines).encode("utf-8"))
            except OSError:
                pass

    def close(self) -> None:
        """Lets go of the socket; nothing is told any more."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
