"""Aids for tests of programs on icey: no socket, no waiting, the same each time.

    TestClient        asks a handler or a whole server, in memory and in virtual time       testclient.py
    TestWebSocket     a WebSocket's client in the test's hand                               websocket.py
    virtual_loop      a Loop whose clock jumps: an hour of deadlines passes in no time      clock.py
    VirtualClock, VirtualSelector       what it is made of
    ScriptedSocket    what recv and send meet, word by word; with the words for scripts     scripted.py
    Peer              the other end of a real connection, driven from the loop's thread     peer.py

Behind TestClient: driver.py turns the loop, memory.py and wire.py are the two ends of a connection, exchanges.py speaks HTTP.
Nothing here is needed to run icey, only to test with it. Names are looked up when they are first used.
"""

from ...base.lazy import lazy as _lazy

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from .clock import (
        PATIENCE as PATIENCE,
        VirtualClock as VirtualClock,
        VirtualSelector as VirtualSelector,
        virtual_loop as virtual_loop,
    )
    from .exchanges import OpenAnswer as OpenAnswer
    from .peer import Peer as Peer
    from .scripted import (
        AGAIN as AGAIN,
        END as END,
        INTERRUPTED as INTERRUPTED,
        STALL as STALL,
        ScriptedSocket as ScriptedSocket,
        Stall as Stall,
        again_storm as again_storm,
        byte_at_a_time as byte_at_a_time,
        chunked as chunked,
        error_of as error_of,
    )
    from .testclient import TestClient as TestClient
    from .websocket import TestWebSocket as TestWebSocket
    from .wire import Wire as Wire

_HOME = {
    "clock": "PATIENCE VirtualClock VirtualSelector virtual_loop",
    "exchanges": "OpenAnswer",
    "peer": "Peer",
    "scripted": "AGAIN END INTERRUPTED STALL ScriptedSocket Stall again_storm byte_at_a_time chunked error_of",
    "testclient": "TestClient",
    "websocket": "TestWebSocket",
    "wire": "Wire",
}
if not TYPE_CHECKING:  # checkers read the imports above, and name what is misspelt
    __getattr__, __dir__ = _lazy(globals(), _HOME)
