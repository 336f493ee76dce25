"""The same client over TLS, and over a Unix socket."""
import os
import socket
import sys
import tempfile

import pytest

import icey
from tests.support import mqtt, tls
from tests.support.mqtt import GOODBYE, publish
from tests.support.streams import names

debug, clock, reports, loop, site = mqtt.debug, mqtt.clock, mqtt.reports, mqtt.loop, mqtt.site
certs = tls.certs


@pytest.mark.needs("unix")
def test_a_unix_socket(site):
    with tempfile.TemporaryDirectory(prefix="icey-") as folder:
        path = os.path.join(folder, "a broker.sock")
        site.listener.close()
        site.listener = socket.socket(socket.AF_UNIX)
        site.listener.bind(path)
        site.listener.listen(4)
        site.listener.setblocking(False)
        client = site.client("mqtt+unix://u:p@%s" % path.replace(" ", "%20"))
        broker = site.accept()
        assert broker.connect[1].endswith(mqtt.text("u") + mqtt.text("p"))
        broker.send(publish("t", b"x"))
        site.until(lambda: "message" in names(client.data))
        client.close()
        assert broker.packet() == GOODBYE
        broker.sock.close()
        site.until(lambda: client.closed)


class Secure:
    """The broker's end of a TLS connection: icey's own."""

    def __init__(self, site, certs):
        self.site = site
        cert, key = certs.cert("localhost")
        self.got, self.ended = bytearray(), False
        self.listener = icey.TCPListener(site.loop, ("127.0.0.1", 0))
        self.listener.unref()
        self.listener.on_accept += self.accept
        self.context = icey.tls.server_context(cert, key)
        self.port = self.listener.address.port
        self.sock = None

    def accept(self, listener, sock):
        self.sock = icey.start_tls(sock, self.context, server_side=True)
        self.sock.on_recv += lambda sock, view: self.got.extend(view)
        self.sock.on_end += self.end

    def end(self, sock):
        self.ended = True
        sock.close()


@pytest.mark.needs("ssl")
def test_mqtts(site, certs):
    secure = Secure(site, certs)
    client = site.client("mqtts://localhost:%d" % secure.port, tls=icey.tls.client_context(ca=certs.ca))
    site.until(lambda: len(secure.got) > 10)
    secure.sock.send(mqtt.ACCEPTED)
    site.until(lambda: client.connected)
    client.publish("t", bytes(200000), qos=1)
    client.publish("t", b"x")
    secure.sock.send(publish("t", bytes(100000)))
    site.until(lambda: names(client.data)[-1] == "message" and secure.got.endswith(b"\0\1tx"))
    secure.sock.send(mqtt.puback(1))
    site.until(lambda: not client.inflight)
    client.close()
    site.until(lambda: client.closed)
    assert secure.got.endswith(b"\xe0\x00") and secure.ended
    assert names(client.data) == ["connect", "message", "close"]
    secure.listener.close()


@pytest.mark.needs("ssl")
def test_a_message_whose_record_comes_piece_by_piece_shows_that_the_broker_lives(site, certs):
    secure = Secure(site, certs)
    client = site.client("mqtts://localhost:%d" % secure.port, tls=icey.tls.client_context(ca=certs.ca), keep_alive=10)
    site.until(lambda: len(secure.got) > 10)
    secure.sock.send(mqtt.ACCEPTED)
    site.until(lambda: client.connected)
    engine = secure.sock.sock
    engine.tls.write(publish("t", bytes(16000)))
    record = engine._outgoing.read()
    for at in range(0, len(record), 2000):
        engine.carrier.write(record[at:at + 2000], None, False)
        site.wait(6)
    assert names(client.data) == ["connect", "message"] and client.connected
    site.wait(15)
    assert not client.connected
    client.abort()
    secure.listener.close()
    secure.sock.abort()


@pytest.mark.needs("ssl")
def test_a_certificate_that_is_not_trusted_is_told(site, certs):
    secure = Secure(site, certs)
    client = site.client("mqtts://localhost:%d" % secure.port, reconnect=None)
    site.until(lambda: client.closed)
    assert names(client.data) == ["disconnect", "close"] and isinstance(client.data[0][1], icey.TLSError)
    secure.listener.close()


def test_mqtts_needs_ssl(loop, monkeypatch):
    for name in ("icey.net.tls", "icey.net.tlsengine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "ssl", None)
    with pytest.raises(icey.NetError, match="ssl module"):
        icey.mqtt.Client(loop, "mqtts://127.0.0.1")


def test_a_copy_without_tls_says_how_to_add_it(loop, monkeypatch):
    monkeypatch.setitem(sys.modules, "icey.net.tls", None)
    with pytest.raises(ModuleNotFoundError, match="--only ... tls"):
        icey.mqtt.Client(loop, "mqtts://127.0.0.1")
