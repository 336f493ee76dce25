"""broadcast: one message to many WebSockets, some of whom may not read.

Not here: one message to one of them (WebSocket.send), packets to many (WebSocketSink).
"""

from __future__ import annotations

from _thread import get_ident

from ...base.buffer import flat, own
from ...base.emitter import wrong_thread
from .frames import AGAIN, MESSAGE, WebSocketCore
from .states import WebSocketState

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Iterable, Union

    from typing_extensions import Buffer

    from .websocket import WebSocket

OPEN = WebSocketState.OPEN


def broadcast(websockets: Iterable[WebSocket], data: Union[str, Buffer], *, slow: str = "skip") -> int:
    """Sends a message, str as text or bytes-like as binary, to all of `websockets` that are open; how many took it.

    The frame is made once, uncompressed, and is the same memory for all (a client's own, which has to mask it, excepted). One
    that is above high water, or inside a message it sends by pieces, does not get it: slow="skip", and that is all;
    slow="close", and one above high water is closed as well, with 1013. None of them makes this raise.
    """
    if slow not in ("skip", "close"):
        raise ValueError("slow is 'skip' or 'close', not %r" % (slow,))
    text = isinstance(data, str)
    payload = data.encode() if isinstance(data, str) else own(flat(data, MESSAGE))
    frame = WebSocketCore(None, client=False).message(payload, text)
    if type(frame) is not bytes:
        frame = b"".join(frame)
    count, thread, size = 0, get_ident(), len(frame)
    for ws in websockets:
        if thread != ws.loop.thread:
            wrong_thread(ws)
        if ws.state is not OPEN:
            continue
        connection = ws.connection
        if connection.share(frame, size, payload, text):
            count += 1
        elif slow == "close" and connection.slow:
            ws.close(AGAIN, "this client reads too slowly")
    return count
