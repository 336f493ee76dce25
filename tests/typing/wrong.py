"""What type checkers are to find wrong: mypy --strict and pyright report each line marked WRONG, and no other line.

Not run, only checked (by check.py beside it). An `async def` as a slot is not here: its result is an object as any other, and
no checker can tell; it is a TypeError when it is attached.
"""
from __future__ import annotations

import functools
from typing import Any, Callable

import icey
from icey.http import Exchange, Request, Server, WebSocket


def too_few(sock: icey.TCPSocket) -> None: ...
def too_many(sock: icey.TCPSocket, view: memoryview, more: int) -> None: ...
def wrong_kind(sock: icey.TCPSocket, view: str) -> None: ...
def of_another(sock: icey.TLSSocket, view: memoryview) -> None: ...
def named(*, sock: icey.TCPSocket, view: memoryview) -> None: ...


class Echo:
    def on_recv(self, sock: icey.TCPSocket) -> None: ...


def sending(sock: icey.TCPSocket, exchange: Exchange, ws: WebSocket, udp: icey.UDPSocket) -> None:
    sock.send("text")  # WRONG
    sock.send_owned(["text"])  # WRONG
    exchange.respond(200, "text")  # WRONG
    exchange.send({"a": 1})  # WRONG
    udp.send("text")  # WRONG
    ws.send(["text"])  # WRONG


def attaching(sock: icey.TCPSocket) -> None:
    sock.on_recv += too_few  # WRONG
    sock.on_recv += too_many  # WRONG
    sock.on_recv += wrong_kind  # WRONG
    sock.on_recv += of_another  # WRONG
    sock.on_recv += named  # WRONG
    sock.on_recv += Echo().on_recv  # WRONG
    sock.on_recv += functools.partial(too_many, more=1, view=2)  # WRONG
    sock.on_recv += lambda sock: None  # WRONG
    sock.on_recv += None  # WRONG
    sock.on_recv += print()  # WRONG
    sock.on_recv.attach(too_few)  # WRONG
    sock.on_recv.attach(too_many, once=True)  # WRONG
    sock.on_recv.attach(lambda sock, view: sock.sned(view))  # WRONG
    sock.on_recv.attach(lambda sock: None)  # WRONG


def assigning(sock: icey.TCPSocket) -> None:
    sock.on_recv = too_few  # WRONG
    sock.on_recv = icey.Signal[Callable[[int], Any]]()  # WRONG


def decorating(server: Server) -> None:
    @server.on_request.attach  # WRONG
    def of_a_request(request: Request, response: Any) -> None: ...

    print(of_a_request)


def other_events(server: Server, ws: WebSocket, loop: icey.Loop, timer: icey.Timer, udp: icey.UDPSocket) -> None:
    def hello(exchange: Exchange, body: bytes) -> None: ...
    def text(ws: WebSocket, data: str) -> None: ...  # it may be binary
    def left(ws: WebSocket) -> None: ...
    def told(exc: Exception) -> None: ...
    def datagram(sock: icey.UDPSocket, view: memoryview) -> None: ...

    server.on_request += hello  # WRONG
    ws.on_message += text  # WRONG
    ws.on_close += left  # WRONG
    loop.on_error += told  # WRONG
    timer.on_timeout += lambda: None  # WRONG
    udp.on_recv += datagram  # WRONG


def misspelt(loop: icey.Loop, server: Server, sock: icey.TCPSocket) -> None:
    icey.TCPSoket(loop)  # WRONG
    icey.http.Sever(loop)  # WRONG
    icey.hosts.TKHost  # WRONG
    server.on_requst  # WRONG
    sock.on_receive  # WRONG
    sock.on_recv.atach  # WRONG
    sock.hihg_water  # WRONG


def misspelt_import() -> None:
    from icey import UDPScoket  # WRONG
    from icey.http import Clinet  # WRONG

    print(UDPScoket, Clinet)


def other_types(loop: icey.Loop, sock: icey.TCPSocket) -> None:
    sock.high_water = "many"  # WRONG
    loop.call_later("soon", print)  # WRONG
    icey.TCPSocket("loop")  # WRONG
    sock.send(b"", lambda sent: None)  # WRONG


def own_signals() -> None:
    changed = icey.Signal[Callable[[float], Any]]()
    changed.attach(lambda a, b: None)  # WRONG
    crossing: icey.ThreadSignal[Callable[[float], Any]] = icey.ThreadSignal()
    crossing.attach(lambda: None)  # WRONG
    crossing += too_many  # WRONG


# MQTT

def no_topic(client: icey.mqtt.Client, view: memoryview) -> None: ...


def brokered(client: icey.mqtt.Client) -> None:
    client.subscribe("a", no_topic)  # WRONG
    client.on_message += no_topic  # WRONG
    client.publish("a")  # WRONG
    client.published  # WRONG
