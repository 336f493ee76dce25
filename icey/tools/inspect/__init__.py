"""A live picture of a loop: what is on it, what it does with its time, and how its packets flow.

    from icey.tools.inspect import Inspector

    inspector = Inspector(loop)                        # on a port of loopback; .url says where
    inspector.watch("camera", stream)                  # a name for a PacketStream, a server, another handle

`ICEY_INSPECT=127.0.0.1:8001 python3 program.py` has icey.run start one; `python3 -m icey inspect URL` shows it in a terminal.

    picture.py     what there is, as plain values       inspector.py   the server: who may look, /state.json, /events
    looking.py     what is measured while one looks     page.py        the page: HTML and style; script.py, which draws it
    exposition.py  /metrics, for Prometheus             command.py     the terminal

Names are looked up when they are first used.
"""

from ...base.lazy import lazy as _lazy

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from .inspector import Inspector as Inspector

_HOME = {"inspector": "Inspector"}
if not TYPE_CHECKING:  # checkers read the import above, and name what is misspelt
    __getattr__, __dir__ = _lazy(globals(), _HOME)
