"""What type checkers are to find right: mypy --strict and pyright in its strict mode have nothing to say of this file.

Not run, only checked (by check.py beside it). What they are to find wrong is in wrong.py. (Pyright does not tell a lambda
behind `+=` what it gets; to `attach(lambda ...)` it does.)
"""
# pyright: strict, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportMissingModuleSource=false
from __future__ import annotations

import functools
from typing import Any, Callable, List, Optional, Tuple, Union

from typing_extensions import Self, assert_type

import icey
from icey.base.signal import Event, OwnedSignal
from icey.http import Answer, Call, Client, ClientConnection, Exchange, Server, WebSocket
from icey.tools.testing import TestClient

# what is sent

def sending(sock: icey.TCPSocket, exchange: Exchange, ws: WebSocket, view: memoryview) -> None:
    sock.send(b"bytes")
    sock.send([b"bytes", bytearray(5), view])
    sock.send_owned((view, b"more"))
    exchange.respond(200, view)
    exchange.send(bytearray(b"piece"))
    ws.send("text")
    ws.send(view)


def asking(udp: icey.UDPSocket, query: bytes) -> icey.Handle:
    def done(view: Optional[memoryview], error: Optional[Exception]) -> None:
        print(error if view is None else bytes(view))

    return icey.Transaction(udp, query, ("192.0.2.53", 53), match=lambda view, sender: bytes(view[:2]) == query[:2],
                            done=done)


def hosts() -> List[str]:
    return [host for one in icey.interfaces() if one.up for host, _ in one.addresses]


# slots of the right shape

def on_bytes(sock: icey.TCPSocket, view: memoryview) -> None:
    sock.send_owned(view)


def on_bytes_of_any_stream(stream: icey.Stream, view: memoryview) -> bool:
    return stream.send_owned(view)


def anything(*args: Any) -> None:
    print(*args)


def with_a_default(sock: icey.TCPSocket, view: memoryview, more: int = 0) -> int:
    return len(view) + more


def with_a_tag(tag: str, sock: icey.TCPSocket, view: memoryview) -> None:
    print(tag, sock.peer, view)


class Echo:
    def __init__(self, sock: icey.TCPSocket) -> None:
        sock.on_recv += self.on_recv
        sock.on_recv.attach(self.on_recv, priority=1, once=True)
        sock.on_recv -= self.on_recv
        sock.on_recv.detach(self.on_recv)

    def on_recv(self, sock: icey.TCPSocket, view: memoryview) -> None:
        sock.send_owned(view)

    @staticmethod
    def static(sock: icey.TCPSocket, view: memoryview) -> None: ...

    def __call__(self, sock: icey.TCPSocket, view: memoryview) -> None: ...


def attaching(sock: icey.TCPSocket) -> None:
    sock.on_recv += on_bytes
    sock.on_recv += on_bytes_of_any_stream  # takes more than it gets, returns something
    sock.on_recv += anything
    sock.on_recv += with_a_default
    sock.on_recv += functools.partial(with_a_tag, "tag")
    sock.on_recv += Echo.static
    sock.on_recv += Echo(sock)  # an object that can be called
    sock.on_recv += lambda sock, view: print(len(view))
    sock.on_recv.attach(lambda sock, view: sock.send_owned(view))
    sock.on_close += anything
    sock.on_error += lambda sock, exc: print(exc)


def decorating(server: Server, sock: icey.TCPSocket) -> None:
    @server.on_request.attach
    def hello(exchange: Exchange) -> None:
        exchange.respond(200, b"Hello")

    @sock.on_recv.attach
    def got(stream: icey.Stream, view: memoryview) -> int:
        return len(view)

    server.on_request.detach(hello)
    got(sock, memoryview(b""))


# the events of a subclass give their slots the subclass

class Mine(icey.TCPSocket):
    asked = 0

    def begin(self) -> Self:
        self.on_recv += self.count
        return self

    def count(self, sock: Mine, view: memoryview) -> None:
        sock.asked += 1


def subclasses(mine: Mine, tls: icey.TLSSocket, sock: icey.TCPSocket, stream: icey.Stream) -> None:
    mine.on_recv.attach(lambda sock, view: print(sock.asked))
    mine.on_recv += on_bytes
    tls.on_recv += on_bytes
    stream.on_recv += on_bytes_of_any_stream
    assert_type(sock.on_recv, "OwnedSignal[Callable[[icey.TCPSocket, memoryview], Any]]")
    assert_type(stream.on_recv, "OwnedSignal[Callable[[icey.Stream, memoryview], Any]]")
    assert_type(tls.on_connect, "OwnedSignal[Callable[[icey.TLSSocket], Any]]")
    assert_type(mine.begin(), Mine)


# every kind of event

def events(
    loop: icey.Loop, listener: icey.TCPListener, udp: icey.UDPSocket, timer: icey.Timer, ws: WebSocket, call: Call,
    conn: ClientConnection, exchange: Exchange, stream: icey.PacketStream, server: Server,
) -> None:
    def told(loop: icey.Loop, exc: Exception, handle: Optional[icey.Handle]) -> None: ...
    def accepted(listener: icey.TCPListener, sock: icey.TCPSocket) -> None: ...
    def datagram(sock: icey.UDPSocket, view: memoryview, sender: icey.Address) -> None: ...
    def message(ws: WebSocket, data: Union[str, memoryview]) -> None: ...
    def left(ws: WebSocket, code: int, reason: str) -> None: ...
    def progress(call: Call, received: int, total: Optional[int]) -> None: ...
    def packet(packet: icey.RawPacket) -> None: ...
    def moved(stream: icey.PacketStream, new: icey.PacketStreamState, old: icey.PacketStreamState) -> None: ...

    loop.on_error += told
    listener.on_accept += accepted
    udp.on_recv += datagram
    timer.on_timeout += lambda timer: print(timer.count)
    ws.on_message += message
    ws.on_close += left
    call.on_progress += progress
    call.on_upload_progress += progress
    conn.on_upload_progress += lambda conn, sent, total: print(conn.queued - sent, total)
    call.on_headers.attach(lambda call: print(call.response.status))
    conn.on_headers.attach(lambda conn: print(conn.response.headers["content-type"]))
    exchange.on_close += lambda exchange: None
    server.on_answer += lambda exchange, status: print(status)
    stream.on_packet += packet
    stream.on_state += moved


# signals of one's own

class Thermometer:
    on_change = icey.Signal[Callable[[float], Any]]()

    def __init__(self) -> None:
        self.on_limit: icey.ThreadSignal[Callable[[float, str], Any]] = icey.ThreadSignal()
        self.on_any = icey.Signal(stoppable=True)


class Door(icey.Handle):
    on_ring: Event[Callable[[Self, int], Any]] = Event("on_ring(door, times): somebody is there")


def own_signals(thermometer: Thermometer, door: Door, loop: icey.Loop) -> None:
    thermometer.on_change += lambda degrees: print(degrees + 1)
    thermometer.on_limit.attach(lambda degrees, what: print(degrees, what.upper()), loop=loop)
    thermometer.on_any += print
    thermometer.on_change.emit(20.5)
    door.on_ring.attach(lambda door, times: print(door.loop, times + 1))


def passed_on(signal: icey.Signal[Callable[[icey.TCPSocket, memoryview], Any]], sock: icey.TCPSocket) -> OwnedSignal:
    signal += on_bytes
    passed_on(sock.on_recv, sock)
    return sock.on_recv


# what is called once

def calls(loop: icey.Loop, client: Client) -> None:
    def done(answer: Optional[Answer], error: Optional[Exception]) -> None:
        print(error if answer is None else answer.status)

    client.request("GET", "http://example.com/", done=done)
    loop.call_later(1.0, print, "later").stop()
    found: List[Tuple[str, Optional[int]]] = []
    icey.resolve(loop, "example.com", 80, lambda addresses, error: found.extend((one.host, one.port) for one in addresses))


class Lines(icey.Adapter):
    def on_data(self, view: memoryview) -> None:
        if not self.stream.closing:
            self.stream.pause()


# MQTT

def told(client: icey.mqtt.Client, topic: str, view: memoryview) -> None:
    assert_type(client.publish(topic, view, qos=1, retain=True, done=lambda: None), bool)


def brokered(loop: icey.Loop) -> None:
    client = icey.mqtt.Client(loop, "mqtt://broker", will=("a", b"b"), reconnect=(1, 2), limits=icey.Limits())
    assert_type(client.start(), icey.mqtt.Client)
    client.subscribe("a/+", told, qos=1)
    client.on_message += told
    client.on_disconnect.attach(lambda client, exc, rest: print(client.queued, exc, rest is None or rest + 1))
    source, sink = icey.mqtt.Source(client, "a"), icey.mqtt.Sink(client, "a", drop="latest")
    icey.PacketStream().attach_source(source)
    assert_type(sink.dropped, int)


# tests of a program

def tested(handler: Callable[[Exchange], None], server: Server) -> None:
    TestClient(server)
    TestClient(lambda exchange: exchange.respond(200), debug=False)
    with TestClient([icey.http.Health(), handler], limits=icey.Limits()) as client:
        assert_type(client.post("/", json={"a": 1}), Answer)
        assert_type(client.websocket("/", subprotocols=["chat"]).receive(), Union[str, bytes])
        assert_type(client.open("/").read_until(b"\n"), bytes)
        client.advance(client.clock() + 1)
