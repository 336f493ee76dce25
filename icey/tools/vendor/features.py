"""The words that `--only` takes beside public names, and what a Python that lacks a module of the standard library loses.

A word stands for public names ("http.Server"), for files ("net/happyeyeballs.py"), and for other words. The commands of
`python3 -m icey` are words, too (plans.py). A word all of whose names are missing, in a copy that has a part, is none there.
"""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict, Tuple

# word: (what it is, what it stands for)
FEATURES: Dict[str, Tuple[str, str]] = {
    "loop": ("the event loop: timers, posted calls, signals", "Loop Timer Idler Signal ThreadSignal Limits"),
    "run": ("run(): until SIGINT or SIGTERM, with an orderly end", "run"),
    "pipe": ("Pipe: pipes, FIFOs, terminals, serial lines as streams", "loop Pipe"),
    "process": ("child processes, whose input and output are streams", "pipe Process"),
    "poll": ("Poll: descriptors of one's own", "loop Poll Synchronizer"),
    "tcp": ("TCP to addresses, and Unix sockets; listeners", "loop TCPSocket TCPListener Address Adapter"),
    "files": ("files over any stream, by the system", "loop Stream base/fileregion.py"),
    "dns": ("names looked up off the loop, all addresses tried", "loop resolve net/happyeyeballs.py"),
    "socks": ("TCP, and HTTP with a client, by SOCKS5 proxies", "dns net/socks.py"),
    "tls": ("TLS over any stream, client and server", "tcp TLSSocket start_tls net/tls.py"),
    "udp": ("datagrams, multicast, transactions; interfaces", "loop UDPSocket Transaction interfaces"),
    "packets": ("PacketStream, queues, sources, sinks",
                "packets/stream.py packets/queue.py packets/sources.py packets/filesink.py "
                "packets/socket.py packets/packet.py packets/adapter.py"),
    "server": ("an HTTP server", "run http.Server http.Responder http.Exchange http.Headers"),
    "proxyprotocol": ("a server behind the PROXY protocol", "server http/server/proxyprotocol.py"),
    "gzip": ("answers of text compressed: Server(compress=True)", "server http/server/compression.py"),
    "static": ("files and folders over HTTP", "server http.StaticFiles"),
    "wsgi-applications": ("WSGI applications, on threads", "server http.WSGI"),
    "forms": ("forms that were sent to a server", "server http.FormParser"),
    "accesslog": ("access logs; who stands behind a proxy", "server http.AccessLog http.forwarded"),
    "operations": ("health and metrics of servers", "server http.Health http.Metrics"),
    "websocket": ("WebSocket on a server", "server http.WebSocket http.broadcast"),
    "deflate": ("WebSocket messages compressed", "websocket http/websocket/deflate.py"),
    "client": ("an HTTP client with https: pool, redirects, cookies",
               "run dns tls http.Client http.fetch http.MultipartEncoder http.BasicAuth"),
    "websocket-client": ("WebSocket of a client",
                         "client http.WebSocket http/websocket/connecting.py http/websocket/deflate.py"),
    "eventsource": ("Server-Sent Events of a client, which comes back", "client http.EventSource"),
    "reconnecting": ("WebSocket of a client, which comes back", "websocket-client http.Reconnecting"),
    "streaming": ("packets as HTTP answers: chunks, multipart, SSE",
                  "server websocket packets http/streaming/adapters.py http/streaming/sources.py"),
    "client-packets": ("a client's answer and request body as packets", "client packets http.ClientSource http.ClientSink"),
    "hosts": ("beside asyncio, Tk, Qt, GLib; a thread; pump", "hosts/"),
    "mqtt": ("an MQTT client", "dns tls mqtt.Client mqtt.MqttCore mqtt.Will"),
    "mqtt-packets": ("MQTT messages as packets of a PacketStream", "mqtt packets mqtt.Source mqtt.Sink mqtt.MessagePacket"),
    "workers": ("many processes on one set of listeners", "workers/"),
    "inspector": ("a live picture of a loop: Inspector, ICEY_INSPECT", "run base/inspected.py tools/inspect/inspector.py"),
    "testing": ("aids for tests: a virtual clock, a scripted socket",
                "tools/testing/clock.py tools/testing/scripted.py tools/testing/peer.py"),
    "testclient": ("handlers and servers tested in memory, in virtual time",
                   "testing server websocket tools/testing/testclient.py"),
}

# command of `python3 -m icey`: words for the parts that it would miss
COMMANDS: Dict[str, str] = {
    "doctor": "dns tls udp websocket websocket-client",
    "inspect": "inspector",
    "get": "socks",
    "ws": "deflate socks websocket-client",
}

# word: modules of these that it is nothing without
NEEDED: Dict[str, str] = {
    "tls": "ssl",
    "workers": "signal",
}

# module: what is lost where Python lacks it; all else goes on
LOST: Dict[str, str] = {
    "asyncio": "AsyncioHost",
    "fcntl": "deadlines do not see what a slow peer takes; pipes of a Process hold less",
    "logging": "reports go to stderr",
    "mimetypes": "media types of rare endings",
    "signal": "run() is not ended by signals",
    "ssl": "TLS: https, wss",
    "subprocess": "Process",
    "termios": "deadlines do not see what a slow peer takes; no raw terminals",
    "threading": "what is on a thread: names are looked up on the loop's, no AsyncPacketQueue, no ThreadHost",
    "zlib": "gzip and deflate, WebSocket compression",
}
