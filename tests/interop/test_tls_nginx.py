"""icey as the TLS client of nginx: connections, sessions, names, certificates, codings, ranges; 200 MB in flat memory."""
import json
import os
import ssl
import subprocess
import sys
import zlib

import pytest

import icey
from tests.support import ROOT

VERSIONS = ("1.2", "1.3")
both_versions = pytest.mark.parametrize("version", VERSIONS)

CONFIG = """
    ssl_certificate %(cert)s;
    ssl_certificate_key %(key)s;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {
        listen 127.0.0.1:%(port0)d ssl default_server;
        root %(site)s;
        client_max_body_size 1g;
        location = /info {
            return 200 "$ssl_protocol,$ssl_session_reused,$ssl_alpn_protocol,$ssl_server_name,$connection,$connection_requests";
        }
        location = /close {
            keepalive_timeout 0;
            return 200 "$ssl_protocol,$ssl_session_reused";
        }
        location /zipped/ {
            alias %(site)s/;
            gzip on;
            gzip_comp_level 1;
            gzip_types *;
        }
        location /put/ {
            alias %(site)s/put/;
            dav_methods PUT;
            create_full_put_path on;
        }
    }
    server {
        listen 127.0.0.1:%(port0)d ssl;
        server_name a.test;
        ssl_certificate %(cert_a)s;
        ssl_certificate_key %(key_a)s;
        return 200 "this is a.test";
    }
    server {
        listen 127.0.0.1:%(port0)d ssl;
        server_name *.c.test;
        ssl_certificate %(cert_c)s;
        ssl_certificate_key %(key_c)s;
        return 200 "this is $ssl_server_name";
    }
    server {
        listen 127.0.0.1:%(port1)d ssl;
        ssl_verify_client on;
        ssl_client_certificate %(client_ca)s;
        return 200 "you are $ssl_client_s_dn";
    }
"""


@pytest.fixture
def server(nginx, site, certs):
    """The nginx; `url` and `mutual`, which wants a certificate."""
    (cert, key), (cert_a, key_a), (cert_c, key_c) = (certs.cert(name) for name in ("localhost", "a.test", "*.c.test"))
    server = nginx(CONFIG, 2, cert=cert, key=key, cert_a=cert_a, key_a=key_a, cert_c=cert_c, key_c=key_c, site=site,
                   client_ca=certs.client_ca)
    server.url, server.mutual = ("https://localhost:%d/" % port for port in server.ports)
    return server


def context_of(certs, version="1.3", **options):
    context = icey.tls.client_context(ca=certs.ca, alpn=["http/1.1"], **options)
    context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    return context


@pytest.fixture
def client(loop, certs, until):
    """client(version, **options) -> ask(method, url, ...) -> the answer, of a Client."""
    clients = []

    def client(version="1.3", **options):
        made = icey.http.Client(loop, tls=context_of(certs, version), **options)
        clients.append(made)

        def ask(*request, **options):
            outcome = []
            made.request(*request, **options, done=lambda *both: outcome.append(both))
            until(lambda: outcome)
            answer, error = outcome[0]
            assert error is None
            return answer

        return ask

    yield client
    for made in clients:
        made.close()
    until(lambda: all(made.closed for made in clients))


@both_versions
def test_a_connection_is_kept(server, client, version):
    ask = client(version)
    for count in range(1, 6):
        protocol, reused, alpn, name, _, requests = ask("GET", server.url + "info").text().split(",")
        assert (protocol, reused, alpn, name, requests) == ("TLSv" + version, ".", "http/1.1", "localhost", str(count))


@both_versions
def test_a_session_is_resumed(server, client, version):
    ask = client(version)
    assert [ask("GET", server.url + "close").text() for _ in range(4)] == [
        "TLSv%s,%s" % (version, reused) for reused in (".", "r", "r", "r")]


def test_several_names_at_one_address(server, client, hosts):
    ask, port = client(), server.port
    for host, said in (("a.test", "this is a.test"), ("x.c.test", "this is x.c.test"), ("y.c.test", "this is y.c.test")):
        assert ask("GET", "https://%s:%d/" % (host, port)).text() == said


def test_a_name_that_is_not_on_the_certificate(server, certs, hosts):
    with pytest.raises(icey.TLSError, match="the certificate of b.test was refused: .*certificate is not valid for 'b.test'"):
        icey.http.fetch("https://b.test:%d/" % server.port, tls=context_of(certs))


@pytest.mark.parametrize("name, words", [("expired", "certificate has expired"), ("self-signed", "self.signed certificate"),
                                         ("unknown ca", "unable to get local issuer certificate")])
def test_a_certificate_that_is_refused(nginx, certs, name, words):
    cert, key = certs.cert(name)
    server = nginx("ssl_certificate %(cert)s; ssl_certificate_key %(key)s; server { listen 127.0.0.1:%(port)d ssl; }",
                   cert=cert, key=key)
    with pytest.raises(icey.TLSError, match=words):
        icey.http.fetch("https://localhost:%d/" % server.port, tls=context_of(certs))


@both_versions
def test_our_certificate(server, certs, version):
    cert, key = certs.cert("client")
    answer = icey.http.fetch(server.mutual, tls=context_of(certs, version, cert=cert, key=key))
    assert (answer.status, answer.text()) == (200, "you are CN=a client")
    answer = icey.http.fetch(server.mutual, tls=context_of(certs, version))  # it refuses by an answer, not by an alert
    assert answer.status == 400 and "No required SSL certificate was sent" in answer.text()


def test_https_asked_for_in_clear(server):
    answer = icey.http.fetch("http://localhost:%d/" % server.port)
    assert answer.status == 400 and "plain HTTP request was sent to HTTPS port" in answer.text()


@both_versions
def test_files_codings_ranges(server, client, version):
    ask, whole = client(version), bytes(range(256)) * 4096
    assert ask("GET", server.url + "big.bin").body == whole
    answer = ask("GET", server.url + "zipped/big.bin")
    assert answer.body == whole
    assert (answer.headers["content-encoding"], answer.headers["transfer-encoding"]) == ("gzip", "chunked")
    answer = ask("GET", server.url + "big.bin", headers={"Range": "bytes=1000-1999"})
    assert (answer.status, answer.headers["content-range"], answer.body) == (206, "bytes 1000-1999/1048576", whole[1000:2000])
    answer = ask("HEAD", server.url + "big.bin")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "1048576", b"")
    answer = ask("GET", server.url + "big.bin", headers={"If-None-Match": answer.headers["etag"]})
    assert (answer.status, answer.body) == (304, b"")
    assert ask("GET", server.url + "info").text().endswith(",6")  # all of it on one connection


@both_versions
def test_uploads(server, client, site, version):
    ask = client(version)
    for name, body in (("a", os.urandom(5_000_000)), ("b", iter([b"ab" * 50_000, b"c"])), ("c", b"")):
        assert ask("PUT", server.url + "put/" + name, body=body).status == 201
    sizes = [os.path.getsize(os.path.join(site, "put", name)) for name in "abc"]
    assert sizes == [5_000_000, 100_001, 0]


# 200 MB

SIZE = 200_000_000
MOST = 16 << 20


@pytest.fixture
def transfer(server, certs):
    """transfer(how, path) -> what download.py says of it, whose memory has not grown."""
    def transfer(how, path):
        script = os.path.join(ROOT, "tests", "interop", "download.py")
        done = subprocess.run([sys.executable, script, how, server.url + path, certs.ca, server.url + "zipped/big.bin"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        assert done.returncode == 0 and not done.stderr, done.stderr.decode()
        said = json.loads(done.stdout)
        assert said.pop("growth") < MOST
        return said

    return transfer


@pytest.fixture
def zeros(site):
    """A file of that size, on a disk that has to hold none of it."""
    path = os.path.join(site, "zeros")
    with open(path, "wb") as file:
        file.truncate(SIZE)
    return path


def crc_of_zeros():
    crc, block = 0, bytes(1_000_000)
    for _ in range(SIZE // len(block)):
        crc = zlib.crc32(block, crc)
    return crc


@pytest.mark.parametrize("how", ["slots", "paused"])
def test_200_mb_piece_by_piece(transfer, zeros, how):
    assert transfer(how, "zeros") == {"status": 200, "size": SIZE, "crc": crc_of_zeros()}


def test_200_mb_out_of_200_kb_of_gzip(transfer, zeros):
    assert transfer("slots", "zipped/zeros") == {"status": 200, "size": SIZE, "crc": crc_of_zeros()}


def test_200_mb_into_a_file(transfer, zeros, folder):
    path = os.path.join(folder, "saved")
    assert transfer(path, "zeros") == {"status": 200, "size": SIZE, "crc": 0}
    assert os.path.getsize(path) == SIZE and os.listdir(folder).count("saved") == 1


def test_200_mb_into_nothing(transfer, zeros):
    assert transfer(os.devnull, "zeros") == {"status": 200, "size": SIZE, "crc": 0}


def test_200_mb_sent(transfer, zeros, site):
    assert transfer("put:" + zeros, "put/zeros") == {"status": 201, "size": 0, "crc": 0}
    assert os.path.getsize(os.path.join(site, "put", "zeros")) == SIZE
