"""nginx as a reverse proxy with keep-alive upstreams, in clear and over TLS: few connections, and the bytes arrive."""
import http.client
import json
import os

import pytest

CONFIG = """
    upstream icey {
        server 127.0.0.1:%(upstream)d;
        keepalive 8;
    }
    server {
        listen 127.0.0.1:%(port)d;
        location / {
            proxy_pass http://icey;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
        location /unbuffered/ {
            proxy_pass http://icey/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_buffering off;
        }
    }
"""

# To an upstream over TLS, whose certificate has to be of %(ca)s and for %(host)s.
SECURE = """
    upstream icey {
        server 127.0.0.1:%(upstream)d;
        keepalive 8;
    }
    server {
        listen 127.0.0.1:%(port)d;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate %(ca)s;
        proxy_ssl_server_name on;
        proxy_ssl_name %(host)s;
        proxy_ssl_protocols TLSv1.2 TLSv1.3;
        location / {
            proxy_pass https://icey;
        }
        location /shown/ {
            proxy_ssl_certificate %(cert)s;
            proxy_ssl_certificate_key %(key)s;
            proxy_pass https://icey/;
        }
        location /older/ {
            proxy_ssl_protocols TLSv1.2;
            proxy_pass https://icey/;
        }
    }
"""


@pytest.fixture
def connect():
    """connect(nginx) -> a connection."""
    connections = []

    def connect(server):
        connections.append(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


@pytest.fixture
def proxy(nginx, connect):
    """proxy(upstream port) -> a connection to an nginx in front of it."""
    return lambda upstream: connect(nginx(CONFIG, upstream=upstream))


@pytest.fixture
def secure_proxy(nginx, certs):
    """secure_proxy(upstream, host) -> an nginx in front of it, which speaks TLS to it and wants a certificate for `host`."""
    def secure_proxy(upstream, host="localhost"):
        cert, key = certs.cert("client")
        return nginx(SECURE, upstream=upstream.port, ca=certs.ca, host=host, cert=cert, key=key)

    return secure_proxy


def ask(connection, *request, **options):
    connection.request(*request, **options)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_upstream_connections_are_used_again(app, proxy):
    connection = proxy(app.port)
    for _ in range(200):
        assert ask(connection, "GET", "/hello") == (200, b"Hello, World!")
    status, made = ask(connection, "GET", "/connections")
    assert status == 200 and int(made) <= 8


def test_bodies_go_through_both_ways(app, proxy):
    connection = proxy(app.port)
    body = os.urandom(1_000_000)
    for path in ("/echo", "/collected", "/unbuffered/echo", "/unbuffered/collected"):
        assert ask(connection, "POST", path, body=body) == (200, body)
        assert ask(connection, "POST", path, body=iter([body[:10], body[10:]]), encode_chunked=True,
                   headers={"Transfer-Encoding": "chunked"}) == (200, body)
    assert ask(connection, "GET", "/later") == (200, b"Hello, World!")


def test_a_served_folder_behind_it(serve, proxy):
    connection = proxy(serve.port)
    assert ask(connection, "GET", "/big.bin") == (200, bytes(range(256)) * 4096)
    assert ask(connection, "GET", "/big.bin", headers={"Range": "bytes=5-9"}) == (206, bytes(range(5, 10)))
    assert ask(connection, "HEAD", "/big.bin") == (200, b"")
    assert ask(connection, "GET", "/nothing")[0] == 404
    assert ask(connection, "GET", "/")[0] == 200


# over TLS

def test_upstream_connections_over_tls_are_used_again(secured, secure_proxy, connect):
    connection = connect(secure_proxy(secured()))
    for _ in range(100):
        assert ask(connection, "GET", "/hello") == (200, b"Hello, World!")
    status, made = ask(connection, "GET", "/connections")
    assert status == 200 and int(made) <= 8


def test_bodies_go_through_tls_both_ways(secured, secure_proxy, connect):
    connection = connect(secure_proxy(secured()))
    body = os.urandom(1_000_000)
    for path in ("/echo", "/collected", "/older/echo", "/older/collected"):
        assert ask(connection, "POST", path, body=body) == (200, body)


def test_sessions_are_resumed_and_certificates_shown(secured, secure_proxy, connect, certs):
    server = secured("localhost", "--client-ca", certs.client_ca)
    proxy = secure_proxy(server)
    connection = connect(proxy)
    status, _ = ask(connection, "GET", "/tls")  # shows none
    assert status == 502 and "certificate required" in proxy.errors
    for reused in (False, True, True):  # each on a connection of its own
        status, body = ask(connection, "GET", "/shown/tls")
        assert (status, json.loads(body)) == (200, {"version": "TLSv1.3", "alpn": None, "reused": reused, "client": "a client"})


def test_the_certificate_of_the_name_it_asks_for(secured, secure_proxy, connect, certs):
    server = secured("localhost", "--sni", "a.test=%s,%s" % certs.cert("a.test"))
    for host in ("localhost", "a.test"):
        assert ask(connect(secure_proxy(server, host)), "GET", "/hello") == (200, b"Hello, World!")


@pytest.mark.parametrize("name, host, words", [
    ("expired", "localhost", "upstream SSL certificate verify error: (10:certificate has expired)"),
    ("self-signed", "localhost", "upstream SSL certificate verify error: (18:self-signed certificate)"),
    ("unknown ca", "localhost", "upstream SSL certificate verify error: (21:unable to verify the first certificate)"),
    ("a.test", "b.test", 'upstream SSL certificate does not match "b.test"'),
])
def test_a_certificate_that_nginx_refuses(secured, secure_proxy, connect, name, host, words):
    proxy = secure_proxy(secured(name), host)
    assert ask(connect(proxy), "GET", "/hello")[0] == 502
    assert words in proxy.errors
