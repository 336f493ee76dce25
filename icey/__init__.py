"""icey: a network runtime in pure standard-library Python.

`import icey` reaches everything: icey.Loop, icey.TCPSocket, icey.http.Server, ... Names are looked up when they are first
used (PEP 562); importing does nothing else.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import http as http
    from .base.application import run as run
    from .base.errors import AffinityError as AffinityError
    from .base.errors import BadRequest as BadRequest
    from .base.errors import BadResponse as BadResponse
    from .base.errors import BorrowError as BorrowError
    from .base.errors import ConnectError as ConnectError
    from .base.errors import ContractError as ContractError
    from .base.errors import Deadline as Deadline
    from .base.errors import GraphError as GraphError
    from .base.errors import HttpError as HttpError
    from .base.errors import IceyError as IceyError
    from .base.errors import IncompleteBody as IncompleteBody
    from .base.errors import NetError as NetError
    from .base.errors import NotSupported as NotSupported
    from .base.errors import PeerClosed as PeerClosed
    from .base.errors import ProtocolError as ProtocolError
    from .base.errors import QueueFull as QueueFull
    from .base.errors import RequestTimeout as RequestTimeout
    from .base.errors import ResolveError as ResolveError
    from .base.errors import StateError as StateError
    from .base.errors import TLSError as TLSError
    from .base.errors import TooLarge as TooLarge
    from .base.errors import Truncated as Truncated
    from .base.errors import WebSocketError as WebSocketError
    from .base.handle import Handle as Handle
    from .base.limits import Limits as Limits
    from .base.loop import Loop as Loop
    from .base.packet import DatagramPacket as DatagramPacket
    from .base.packet import FlagPacket as FlagPacket
    from .base.packet import Packet as Packet
    from .base.packet import PacketFlags as PacketFlags
    from .base.packet import RawPacket as RawPacket
    from .base.packetadapter import PacketProcessor as PacketProcessor
    from .base.packetadapter import PacketRetention as PacketRetention
    from .base.packetadapter import PacketStreamAdapter as PacketStreamAdapter
    from .base.packetio import FileSource as FileSource
    from .base.packetio import StreamSink as StreamSink
    from .base.packetio import StreamSource as StreamSource
    from .base.packetio import TimerSource as TimerSource
    from .base.packetqueue import AsyncPacketQueue as AsyncPacketQueue
    from .base.packetqueue import SyncPacketQueue as SyncPacketQueue
    from .base.packetstream import PacketStream as PacketStream
    from .base.packetstream import PacketStreamState as PacketStreamState
    from .base.poll import Poll as Poll
    from .base.signal import LocalSignal as LocalSignal
    from .base.signal import Signal as Signal
    from .base.signal import ThreadSignal as ThreadSignal
    from .base.state import Stateful as Stateful
    from .base.stream import Stream as Stream
    from .base.synchronizer import Synchronizer as Synchronizer
    from .base.timer import Idler as Idler
    from .base.timer import Timer as Timer
    from .net import tls as tls
    from .net.adapter import Adapter as Adapter
    from .net.address import Address as Address
    from .net.dns import resolve as resolve
    from .net.networks import Networks as Networks
    from .net.packetsocket import Delimited as Delimited
    from .net.packetsocket import Fixed as Fixed
    from .net.packetsocket import LengthPrefixed as LengthPrefixed
    from .net.packetsocket import PacketSocket as PacketSocket
    from .net.tcp import TCPListener as TCPListener
    from .net.tcp import TCPSocket as TCPSocket
    from .net.tls import TLSSocket as TLSSocket
    from .net.tls import start_tls as start_tls
    from .net.udp import UDPSocket as UDPSocket

_HOME = {
    "base.application": "run",
    "base.errors": "AffinityError BadRequest BadResponse BorrowError ConnectError ContractError Deadline GraphError"
    " HttpError IceyError IncompleteBody NetError NotSupported PeerClosed ProtocolError QueueFull"
    " RequestTimeout ResolveError StateError TLSError TooLarge Truncated WebSocketError",
    "base.handle": "Handle",
    "base.limits": "Limits",
    "base.loop": "Loop",
    "base.packet": "DatagramPacket FlagPacket Packet PacketFlags RawPacket",
    "base.packetadapter": "PacketProcessor PacketRetention PacketStreamAdapter",
    "base.packetio": "FileSource StreamSink StreamSource TimerSource",
    "base.packetqueue": "AsyncPacketQueue SyncPacketQueue",
    "base.packetstream": "PacketStream PacketStreamState",
    "base.poll": "Poll",
    "base.signal": "LocalSignal Signal ThreadSignal",
    "base.state": "Stateful",
    "base.stream": "Stream",
    "base.synchronizer": "Synchronizer",
    "base.timer": "Idler Timer",
    "net.adapter": "Adapter",
    "net.address": "Address",
    "net.dns": "resolve",
    "net.networks": "Networks",
    "net.packetsocket": "Delimited Fixed LengthPrefixed PacketSocket",
    "net.tcp": "TCPListener TCPSocket",
    "net.tls": "TLSSocket start_tls",
    "net.udp": "UDPSocket",
    "http": "",
}
_LAZY = {name: module for module, names in _HOME.items() for name in names.split()}
_LAZY.update({"http": "http", "tls": "net.tls"})  # modules, not names in one

__all__ = ["__version__", *sorted(_LAZY)]  # noqa: PLE0604 - all of them are str


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError("module %r has no attribute %r" % (__name__, name))
    found: object = __import__(module, globals(), None, ("",), 1)
    if module.rpartition(".")[2] != name:
        found = getattr(found, name)
    globals()[name] = found
    return found


def __dir__() -> "list[str]":
    return sorted(set(globals()) | set(_LAZY))
