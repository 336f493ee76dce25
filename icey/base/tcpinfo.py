"""What the system has counted of a TCP connection: bytes that its peer has taken, and that came from it (Linux, tcp(7)).

Not here: what the system still holds of what was sent, by which deadlines judge (sendqueue.py).
"""

from __future__ import annotations

import sys

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple

_IPPROTO_TCP, _TCP_INFO = 6, 11  # tcp(7)
_TRAFFIC = 120  # where tcpi_bytes_acked stands in struct tcp_info (linux/tcp.h); tcpi_bytes_received follows


def traffic(sock: Any) -> Optional[Tuple[int, int]]:
    """(bytes that the peer has taken, bytes that came from it) of a TCP socket so far; None where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        info = sock.getsockopt(_IPPROTO_TCP, _TCP_INFO, _TRAFFIC + 16)
    except (OSError, AttributeError):
        return None
    if len(info) < _TRAFFIC + 16:  # before Linux 4.2
        return None
    acked, came = (int.from_bytes(info[at:at + 8], sys.byteorder) for at in (_TRAFFIC, _TRAFFIC + 8))
    return acked, came
