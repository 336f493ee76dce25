"""icey: a network runtime in pure standard-library Python.

    Loop run Timer Idler Synchronizer Poll Signal ThreadSignal ThreadPool       the loop, and what it calls
    TCPSocket TCPListener TLSSocket UDPSocket Stream Pipe Process Adapter       bytes, datagrams, child processes
    Address Networks resolve interfaces Transaction tls                         names, addresses, questions, TLS
    PacketStream RawPacket PacketProcessor SyncPacketQueue AsyncPacketQueue     packets; also sources, sinks, PacketSocket
    Limits IceyError ContractError NetError ProtocolError                       deadlines and sizes, errors
    http mqtt hosts workers                                                     HTTP and WebSocket, MQTT, other main loops

`import icey` reaches everything; `dir(icey)` has all names, and `help(icey.Loop)` says what one takes, raises and promises.
Names are looked up when they are first used (PEP 562); importing does nothing else.
"""

__version__ = "0.3.0"

from .base.lazy import lazy as _lazy

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from . import hosts as hosts, http as http, mqtt as mqtt, workers as workers
    from .base.application import run as run
    from .base.errors import (
        AffinityError as AffinityError,
        BadRequest as BadRequest,
        BadResponse as BadResponse,
        BorrowError as BorrowError,
        ConnectError as ConnectError,
        ContractError as ContractError,
        Deadline as Deadline,
        GraphError as GraphError,
        HttpError as HttpError,
        IceyError as IceyError,
        IncompleteBody as IncompleteBody,
        NetError as NetError,
        NotSupported as NotSupported,
        PeerClosed as PeerClosed,
        ProtocolError as ProtocolError,
        QueueFull as QueueFull,
        RequestTimeout as RequestTimeout,
        ResolveError as ResolveError,
        StateError as StateError,
        TLSError as TLSError,
        TooLarge as TooLarge,
        Truncated as Truncated,
        WebSocketError as WebSocketError,
    )
    from .base.handle import Handle as Handle
    from .base.idler import Idler as Idler
    from .base.limits import Limits as Limits
    from .base.loop import Loop as Loop
    from .base.pipe import Pipe as Pipe
    from .base.poll import Poll as Poll
    from .base.process import Process as Process
    from .base.signal import LocalSignal as LocalSignal, Signal as Signal
    from .base.state import Stateful as Stateful
    from .base.stream import Stream as Stream
    from .base.streamprotocol import StreamProtocol as StreamProtocol
    from .base.synchronizer import Synchronizer as Synchronizer
    from .base.threadpool import ThreadPool as ThreadPool
    from .base.threadsignal import ThreadSignal as ThreadSignal
    from .base.timer import Timer as Timer
    from .mqtt.errors import MqttError as MqttError, MqttRefused as MqttRefused
    from .net import tls as tls
    from .net.adapter import Adapter as Adapter
    from .net.address import Address as Address
    from .net.dns import resolve as resolve
    from .net.interfaces import Interface as Interface, interfaces as interfaces
    from .net.listener import TCPListener as TCPListener
    from .net.networks import Networks as Networks
    from .net.tcp import TCPSocket as TCPSocket
    from .net.tls import TLSSocket as TLSSocket, start_tls as start_tls
    from .net.transaction import Transaction as Transaction
    from .net.udp import UDPSocket as UDPSocket
    from .packets.adapter import (
        PacketProcessor as PacketProcessor,
        PacketRetention as PacketRetention,
        PacketStreamAdapter as PacketStreamAdapter,
    )
    from .packets.filesink import FileSink as FileSink
    from .packets.packet import (
        DatagramPacket as DatagramPacket,
        FlagPacket as FlagPacket,
        Packet as Packet,
        PacketFlags as PacketFlags,
        RawPacket as RawPacket,
    )
    from .packets.queue import AsyncPacketQueue as AsyncPacketQueue, SyncPacketQueue as SyncPacketQueue
    from .packets.socket import (
        Delimited as Delimited,
        Fixed as Fixed,
        LengthPrefixed as LengthPrefixed,
        PacketSocket as PacketSocket,
    )
    from .packets.sources import (
        FileSource as FileSource,
        StreamSink as StreamSink,
        StreamSource as StreamSource,
        TimerSource as TimerSource,
    )
    from .packets.stream import PacketStream as PacketStream, PacketStreamState as PacketStreamState

_HOME = {
    "base.application": "run",
    "base.errors": "AffinityError BadRequest BadResponse BorrowError ConnectError ContractError Deadline GraphError"
    " HttpError IceyError IncompleteBody NetError NotSupported PeerClosed ProtocolError QueueFull"
    " RequestTimeout ResolveError StateError TLSError TooLarge Truncated WebSocketError",
    "base.handle": "Handle",
    "base.limits": "Limits",
    "base.loop": "Loop",
    "packets.packet": "DatagramPacket FlagPacket Packet PacketFlags RawPacket",
    "packets.filesink": "FileSink",
    "packets.adapter": "PacketProcessor PacketRetention PacketStreamAdapter",
    "packets.sources": "FileSource StreamSink StreamSource TimerSource",
    "packets.queue": "AsyncPacketQueue SyncPacketQueue",
    "packets.stream": "PacketStream PacketStreamState",
    "base.pipe": "Pipe",
    "base.poll": "Poll",
    "base.process": "Process",
    "base.signal": "LocalSignal Signal",
    "base.threadsignal": "ThreadSignal",
    "base.state": "Stateful",
    "base.stream": "Stream",
    "base.streamprotocol": "StreamProtocol",
    "base.synchronizer": "Synchronizer",
    "base.threadpool": "ThreadPool",
    "base.idler": "Idler",
    "base.timer": "Timer",
    "net.adapter": "Adapter",
    "net.address": "Address",
    "net.dns": "resolve",
    "mqtt.errors": "MqttError MqttRefused",
    "net.networks": "Networks",
    "packets.socket": "Delimited Fixed LengthPrefixed PacketSocket",
    "net.interfaces": "Interface interfaces",
    "net.listener": "TCPListener",
    "net.tcp": "TCPSocket",
    "net.tls": "TLSSocket start_tls",
    "net.transaction": "Transaction",
    "net.udp": "UDPSocket",
    "": "hosts http mqtt net.tls workers",
}
_LEFT_OUT: "dict[str, str]" = {}
if not TYPE_CHECKING:  # checkers read the imports above, and name what is misspelt
    __getattr__, __dir__ = _lazy(globals(), _HOME, _LEFT_OUT)
