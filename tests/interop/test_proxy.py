"""examples/proxy.py: curl and icey's own client through it, in clear and through tunnels."""
import os
import re
import subprocess
import sys

import pytest

import icey
from tests.support import ROOT, tool

CONFIG = """
    ssl_certificate %(cert)s;
    ssl_certificate_key %(key)s;
    server {
        listen 127.0.0.1:%(port0)d;
        listen 127.0.0.1:%(port1)d ssl;
        server_name localhost;
        root %(site)s;
        location = /info {
            return 200 "$scheme,$connection_requests";
        }
        location /put/ {
            alias %(site)s/put/;
            dav_methods PUT;
            create_full_put_path on;
        }
    }
"""


@pytest.fixture
def proxy(start):
    return start(sys.executable, os.path.join(ROOT, "examples", "proxy.py"), cwd=ROOT)


@pytest.fixture
def origin(nginx, certs, site):
    """An nginx: `url`s in clear and over TLS."""
    cert, key = certs.cert("localhost")
    origin = nginx(CONFIG, 2, cert=cert, key=key, site=site)
    origin.url = {"http": "http://localhost:%d/" % origin.ports[0], "https": "https://localhost:%d/" % origin.ports[1]}
    return origin


both = pytest.mark.parametrize("scheme", ["http", "https"])
WHOLE = bytes(range(256)) * 4096


def curl(proxy, *arguments, status=0):
    """(stdout, the -v lines) of curl through the proxy."""
    done = subprocess.run([tool("curl"), "-x", proxy.url, "-sSv", "--max-time", "30", *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    said = done.stderr.decode("utf-8", "replace").replace("\r", "")
    assert done.returncode == status, said
    return done.stdout, said


@both
def test_curl_through_it(proxy, origin, certs, scheme):
    url = origin.url[scheme]
    data, said = curl(proxy, "--cacert", certs.ca, url + "big.bin", url + "hello.txt", url + "nothing")
    assert data.startswith(WHOLE + b"hello, world\n") and "404 Not Found" in said
    assert said.count("Re-using existing connection") == 2  # to the proxy, or the tunnel
    assert ("CONNECT localhost:%d HTTP/1.1" % origin.ports[1] in said) is (scheme == "https")


@both
def test_curl_sends_through_it(proxy, origin, certs, site, folder, scheme):
    source = os.path.join(folder, "up")
    with open(source, "wb") as file:
        file.write(WHOLE[:1_000_000])  # of a plain request the proxy gathers the body
    curl(proxy, "--cacert", certs.ca, "-T", source, origin.url[scheme] + "put/up")
    with open(os.path.join(site, "put", "up"), "rb") as file:
        assert file.read() == WHOLE[:1_000_000]


def test_curl_is_told_where_there_is_nobody(proxy, dead_port):
    data, said = curl(proxy, "http://127.0.0.1:%d/" % dead_port)
    assert "502 Bad Gateway" in said
    _, said = curl(proxy, "https://127.0.0.1:%d/" % dead_port, status=56)
    assert "CONNECT tunnel failed, response 502" in said


@pytest.fixture
def ask(loop, until, certs, proxy):
    """ask(method, url, ...) -> (answer, error) of a Client that goes through the proxy."""
    client = icey.http.Client(loop, proxy=proxy.url, tls=icey.tls.client_context(ca=certs.ca))

    def ask(*request, **options):
        outcome = []
        client.request(*request, **options, done=lambda *both: outcome.append(both))
        until(lambda: outcome)
        return outcome[0]

    yield ask
    client.close()
    until(lambda: client.closed)


@both
def test_the_client_through_it(ask, origin, site, scheme):
    url = origin.url[scheme]
    for count in (1, 2, 3):
        answer, error = ask("GET", url + "info")
        # In the tunnel the connection is the client's own, and kept; in clear each request is the proxy's.
        assert error is None and answer.text() == "%s,%d" % (scheme, count if scheme == "https" else 1)
    assert ask("GET", url + "big.bin")[0].body == WHOLE
    answer, _ = ask("HEAD", url + "big.bin")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "1048576", b"")
    body = os.urandom(1_000_000)
    assert ask("PUT", url + "put/up", body=body)[0].status == 201
    with open(os.path.join(site, "put", "up"), "rb") as file:
        assert file.read() == body


def test_a_certificate_is_checked_through_the_tunnel(ask, nginx, certs):
    for name, words in (("expired", "certificate has expired"), ("self-signed", "self.signed certificate"),
                        ("a.test", "certificate is not valid for 'localhost'")):
        cert, key = certs.cert(name)
        origin = nginx("ssl_certificate %(cert)s; ssl_certificate_key %(key)s; server { listen 127.0.0.1:%(port)d ssl; }",
                       cert=cert, key=key)
        answer, error = ask("GET", "https://localhost:%d/" % origin.port)
        assert answer is None and isinstance(error, icey.TLSError)
        assert re.search("the certificate of localhost was refused: .*" + words, str(error))


def test_a_tunnel_that_leads_nowhere(ask, dead_port):
    answer, error = ask("GET", "https://127.0.0.1:%d/" % dead_port)
    assert answer is None and isinstance(error, icey.ConnectError)
    assert "refused the tunnel to 127.0.0.1:%d: 502" % dead_port in str(error)


def test_a_proxy_that_is_not_there(loop, until, dead_port):
    client, outcome = icey.http.Client(loop, proxy="http://127.0.0.1:%d" % dead_port), []
    for url in ("http://localhost/", "https://localhost/"):
        client.request("GET", url, done=lambda *both: outcome.append(both))
    until(lambda: len(outcome) == 2)
    assert all(answer is None and isinstance(error, icey.ConnectError) for answer, error in outcome)
    client.close()
