"""SOCKS5 by real proxies, microsocks and Debian's dante: TCP, HTTP, HTTPS and WebSocket, names, IPv6, refusals. And how the
tests' own proxy, of tests/support/socks.py, does as one: for curl."""
import os
import socket
import subprocess
import sys
import time

import pytest

import icey
from icey.http import Client, Server, WebSocket
from icey.net import dns, tls
from icey.tools.testing import Peer
from tests.interop.brokers import free_ports
from tests.support import ROOT, programs, socks, tool

pytestmark = pytest.mark.tool("microsocks", "danted")

DANTE = """\
logoutput: stdout
internal: %(host)s port = %(port)d
external: 127.0.0.1
external: ::1
clientmethod: none
socksmethod: %(method)s
user.privileged: root
user.unprivileged: %(user)s
client pass {
    from: 0/0 to: 0/0
}
socks block {
    from: 0/0 to: 0/0 port = 9
}
socks pass {
    from: 0/0 to: 0/0
    command: connect
}
"""


class Proxies:
    """Starts one of either kind: proxies("dante"), which takes everybody, or microsocks with a `login`, (user, password)."""

    def __init__(self, program, folder):
        self._program = program
        self._folder = folder

    def __call__(self, kind, host="127.0.0.1", login=None, method="none"):
        """The URL of its address, without scheme and user. method: of dante, username for users of this system."""
        port, = free_ports(1)
        if kind == "dante":
            config = os.path.join(self._folder, "danted.conf")
            with open(config, "w", encoding="utf-8") as file:
                user = "root" if os.getuid() == 0 else "nobody"
                file.write(DANTE % {"host": host, "port": port, "method": method, "user": user})
            made = self._program("danted", "-f", config, "-p", os.path.join(self._folder, "danted.pid"))
            made.expect("running")
        else:
            credentials = ["-u", login[0], "-P", login[1]] if login else []
            made = self._program("microsocks", "-i", host, "-p", str(port), *credentials)
        self._await(made, host, port)
        return "[%s]:%d" % (host, port) if ":" in host else "%s:%d" % (host, port)

    def _await(self, made, host, port):
        overdue = time.monotonic() + programs.PATIENCE
        while True:
            try:
                socket.create_connection((host, port)).close()
                return
            except ConnectionRefusedError:
                assert made.process.poll() is None and time.monotonic() < overdue, made.said
                time.sleep(0.01)


@pytest.fixture
def proxies(program, folder):
    return Proxies(program, folder)


@pytest.fixture
def nowhere(monkeypatch):
    """No name is looked up here."""
    def refuse(address):
        raise icey.ResolveError("%s is looked up here" % address)
    monkeypatch.setattr(dns, "look_up", refuse)


def listener(loop, host="127.0.0.1", port=0):
    """The port of one that greets, then sends back what comes."""
    made = icey.TCPListener(loop, icey.Address(host, port))

    def accepted(listener, sock):
        sock.send(b"hello ")
        sock.on_recv += lambda sock, view: sock.send_owned(bytes(view))
        made.data = sock
    made.on_accept += accepted
    return made.address.port


@pytest.fixture
def ask(loop, until):
    """ask(proxy, host, port) connects by `proxy`, and sends a word that comes back: the peer, or the error."""
    def ask(proxy, host, port):
        client = icey.TCPSocket(loop)
        came, errors = [], []
        client.on_recv += lambda client, view: came.append(bytes(view))
        client.on_error += lambda client, exc: errors.append(exc)
        client.connect(host, port, proxy=proxy)
        client.send(b"early")
        until(lambda: errors or b"".join(came) == b"hello early")
        client.close()
        until(lambda: client.closed)
        return errors[0] if errors else client.peer

    return ask


both = pytest.mark.parametrize("kind", ["microsocks", "dante"])


@both
def test_names_are_resolved_there(loop, ask, proxies, nowhere, kind):
    port = listener(loop)
    assert ask("socks5h://" + proxies(kind), "localhost", port) == icey.Address("localhost", port)


@both
def test_names_are_resolved_here(loop, ask, proxies, kind):
    port = listener(loop)
    # ::1, where nobody listens, is refused by the proxy first
    assert ask("socks5://" + proxies(kind), "localhost", port) == icey.Address("127.0.0.1", port)


@both
def test_ipv6_to_the_proxy_and_behind_it(loop, ask, proxies, kind):
    port = listener(loop, "::1")
    proxy = "socks5h://" + proxies(kind, "::1")
    assert ask(proxy, "::1", port) == icey.Address("::1", port)
    assert ask(proxy.replace("socks5h", "socks5"), "::1", port) == icey.Address("::1", port)


def test_user_and_password(loop, ask, proxies, nowhere):
    port = listener(loop)
    where = proxies("microsocks", login=("us er", "s:cret@\u00fc"))
    assert ask("socks5h://us%20er:s%3Acret%40%C3%BC@" + where, "localhost", port) == icey.Address("localhost", port)
    error = ask("socks5h://us%20er:wrong@" + where, "localhost", port)
    assert "refused user name and password (status " in str(error) and "wrong" not in str(error)
    assert "wants more than a client without user name and password" in str(ask("socks5h://" + where, "localhost", port))


def test_user_and_password_for_dante(ask, proxies):
    where = proxies("dante", method="username")
    assert "refused user name and password (status " in str(ask("socks5h://nobody-here:wrong@" + where, "localhost", 80))
    assert "wants more than a client without user name and password" in str(ask("socks5h://" + where, "localhost", 80))


@both
def test_what_is_refused_says_which(ask, proxies, dead_port, kind):
    where = proxies(kind)
    error = ask("socks5://" + where, "127.0.0.1", dead_port)
    assert str(error) == ("cannot connect to 127.0.0.1:%d: the SOCKS proxy %s could not connect to 127.0.0.1:%d: "
                          "connection refused (reply 5)" % (dead_port, where, dead_port))
    assert isinstance(error, icey.ConnectError) and [str(at) for at, _ in error.attempts] == [where]
    assert "could not connect to nowhere.invalid:80: " in str(ask("socks5h://" + where, "nowhere.invalid", 80))


def test_what_dante_s_rules_do_not_allow(ask, proxies):
    assert "not allowed by its rules (reply 2)" in str(ask("socks5h://" + proxies("dante"), "localhost", 9))


@pytest.fixture
def server(loop, certs):
    """An HTTP and an HTTPS server, which take WebSockets too: their ports."""
    made = [Server(loop, "127.0.0.1", 0), Server(loop, "127.0.0.1", 0, tls=tls.server_context(*certs.cert("localhost")))]

    def serve(exchange):
        if "upgrade" in exchange.request.headers:
            ws = WebSocket.accept(exchange)
            ws.on_message += lambda ws, data: ws.send(data)
        else:
            told = exchange.request.headers.get("proxy-authorization")
            exchange.respond(200, b"%s, %s" % (exchange.request.target.encode(), repr(told).encode()))
    for each in made:
        each.on_request += serve
        each.start()
    yield [each.address.port for each in made]
    for each in made:
        each.close()


@both
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_http_and_tls_inside(loop, until, proxies, nowhere, server, certs, kind, secure):
    url = "%s://localhost:%d/x" % ("https" if secure else "http", server[secure])
    client = Client(loop, proxy="socks5h://" + proxies(kind), tls=tls.client_context(ca=certs.ca))
    outcome = []
    for _ in range(2):
        client.request("GET", url, headers={"Proxy-Authorization": "x"}, done=lambda *came: outcome.append(came))
    until(lambda: len(outcome) == 2)
    assert [(answer.body, error) for answer, error in outcome] == [(b"/x, None", None)] * 2
    client.close()


@both
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_websocket(loop, until, proxies, nowhere, server, certs, kind, secure):
    ws = WebSocket.connect(loop, "%s://localhost:%d/" % ("wss" if secure else "ws", server[secure]),
                           proxy="socks5h://" + proxies(kind), tls=tls.client_context(ca=certs.ca))
    came = []
    ws.on_connect += lambda ws: ws.send("a message")
    ws.on_message += lambda ws, data: came.append(data)
    until(lambda: came)
    assert came == ["a message"]
    ws.close()
    until(lambda: ws.closed)


def test_a_certificate_is_checked_inside(loop, until, proxies, server):
    outcome = []
    client = Client(loop, proxy="socks5h://" + proxies("microsocks"))
    client.request("GET", "https://localhost:%d/" % server[1], done=lambda *came: outcome.append(came))
    until(lambda: outcome)
    assert isinstance(outcome[0][1], icey.TLSError) and "certificate" in str(outcome[0][1])
    client.close()


@pytest.mark.parametrize("how", ["--proxy", "all_proxy"])
def test_the_commands(proxies, serve, how):
    proxy = proxies("microsocks", login=("us er", "secret"))
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    for password, status, said in (("secret", 0, "hello, world"), ("hush", 4, "refused user name and password")):
        where = "socks5h://us%%20er:%s@%s" % (password, proxy)
        arguments = ["--proxy", where] if how == "--proxy" else []
        if how != "--proxy":
            environ["all_proxy"] = where
        command = [sys.executable, "-m", "icey", "get", "-v", *arguments, serve.url + "hello.txt"]
        found = programs.run(*command, cwd=ROOT, env=environ)
        assert found[0] == status and said in found[1] and password not in found[1], found


@pytest.mark.parametrize("scheme, asked_for", [("socks5", ("IPv4", "192.0.2.7", 80)), ("socks5h", ("name", "a.test", 80))])
def test_the_tests_own_proxy_does_for_curl(loop, scheme, asked_for):
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = asked_for[1]
        command = [tool("curl"), "-sS", "--max-time", "20", "--noproxy", "",
                   "-x", "%s://user:secret@127.0.0.1:%d" % (scheme, server.getsockname()[1]), "http://%s/x" % host]
        curl = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        server.settimeout(programs.PATIENCE)
        sock, _ = server.accept()
        with sock:
            peer = Peer(loop, sock)
            assert socks.serve(peer, login=("user", "secret")) == asked_for
            assert peer.read_until(b"\r\n\r\n").startswith(b"GET /x HTTP/1.1\r\n")
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            assert curl.communicate(timeout=programs.PATIENCE)[0] == b"hello"
