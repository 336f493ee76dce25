"""MQTT 3.1.1: a client for a broker between machines, its protocol without a socket, and ends of a PacketStream. Names are
looked up when they are first used; importing does nothing else."""

from ..base.lazy import lazy as _lazy

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from .client import Client as Client
    from .core import MqttCore as MqttCore, MqttObserver as MqttObserver
    from .ends import MessagePacket as MessagePacket, Sink as Sink, Source as Source
    from .packets import Will as Will

_HOME = {
    "client": "Client",
    "core": "MqttCore MqttObserver",
    "ends": "MessagePacket Sink Source",
    "packets": "Will",
}
_LEFT_OUT: "dict[str, str]" = {}
if not TYPE_CHECKING:  # checkers read the imports above, and name what is misspelt
    __getattr__, __dir__ = _lazy(globals(), _HOME, _LEFT_OUT)
