"""Headless Chromium: a page with images, over as many connections as a browser likes; a listing; TLS."""
import html
import json
import os
import re
import struct
import sys
import zlib

import pytest

from tests.support import ROOT

PAGE = """\
<!doctype html><meta charset="utf-8"><title>Images</title><link rel="icon" href="data:,">
%s
<script>
onload = () => {
    const seen = {};
    for (const image of document.images) seen[image.getAttribute("src")] = [image.naturalWidth, image.naturalHeight];
    document.body.dataset.seen = JSON.stringify(seen);
};
</script>
"""


def png(width, height, noise=False):
    """A picture; `noise`: one that does not compress, and so is as large as it looks."""
    rows = b"".join(b"\0" + (os.urandom(3 * width) if noise else bytes((80, 160, 240)) * width) for _ in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="31" height="17"><rect width="31" height="17" fill="red"/></svg>'
IMAGES = {"image%d.png" % n: (png(10 + n, 5), [10 + n, 5]) for n in range(12)}
IMAGES["large.png"] = (png(500, 400, noise=True), [500, 400])  # 600 kB: goes out in pieces
IMAGES["drawn.svg"] = (SVG, [31, 17])
IMAGES["a name with ä & more.png"] = (png(7, 7), [7, 7])


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_page_with_images(start, certs, site, browse, secure):
    flags = []
    if secure:
        cert, key = certs.cert("localhost")
        flags = ["--cert", cert, "--key", key]
        browse.trust(certs.ca)
    serve = start(sys.executable, "-m", "icey", "serve", site, "--port", "0", *flags, cwd=ROOT)
    for name, (data, _) in IMAGES.items():
        with open(os.path.join(site, name), "wb") as file:
            file.write(data)
    with open(os.path.join(site, "index.html"), "w", encoding="utf-8") as file:
        file.write(PAGE % "\n".join('<img src="%s" alt="">' % html.escape(name) for name in IMAGES))
    dom = browse("--dump-dom", serve.url)
    seen = json.loads(html.unescape(re.search('data-seen="([^"]*)"', dom).group(1)))
    assert seen == {name: size for name, (_, size) in IMAGES.items()}
    log = serve.log()
    for name in IMAGES:
        if name.isascii():
            assert serve.logged("/" + name) == [200]
    assert serve.logged("/a%20name%20with%20%C3%A4%20&%20more.png") == [200]
    assert not re.findall(r" [45]\d\d \d+ [\d.]+ms$", log, re.M), log


def test_a_listing(serve, browse):
    dom = browse("--dump-dom", serve.url)
    assert 'href="hello.txt"' in dom and 'href="sub/"' in dom


def test_a_screenshot(serve, browse, folder):
    path = os.path.join(folder, "shot.png")
    browse("--screenshot=" + path, "--window-size=800,600", serve.url)
    with open(path, "rb") as file:
        assert file.read(24)[16:] == struct.pack(">II", 800, 600)


# TLS: it trusts the tests' own authority, as if the system did; nothing is ignored.

def test_a_chain(secured, certs, browse):
    browse.trust(certs.ca)
    assert "Hello, World!" in browse("--dump-dom", secured("chain").url + "hello")


@pytest.mark.parametrize("name, error", [
    ("expired", "ERR_CERT_DATE_INVALID"),
    ("self-signed", "ERR_CERT_AUTHORITY_INVALID"),
    ("unknown ca", "ERR_CERT_AUTHORITY_INVALID"),
    ("a.test", "ERR_CERT_COMMON_NAME_INVALID"),
])
def test_a_certificate_that_is_refused(secured, certs, browse, name, error):
    browse.trust(certs.ca)
    url = secured(name).url + "hello"
    assert browse("--dump-dom", url) == ""
    assert "Page load failed: net::%s" % error in browse.errors


def test_the_certificate_of_the_name_it_asks_for(secured, certs, browse):
    browse.trust(certs.ca)
    names = ("a.test", "*.c.test")
    server = secured("localhost", *(part for name in names for part in ("--sni", "%s=%s,%s" % ((name,) + certs.cert(name)))))
    for host in ("a.test", "some.c.test"):
        url = "https://%s:%d/hello" % (host, server.port)
        assert "Hello, World!" in browse("--host-resolver-rules=MAP *.test 127.0.0.1", "--dump-dom", url)


def test_alpn_and_resumption(secured, certs, browse):
    browse.trust(certs.ca)
    page = browse("--dump-dom", secured("localhost", "--alpn", "http/1.1").url + "tls.html")
    seen = [json.loads(found) for found in re.findall(r"\{\".*?\}", page)]
    assert [known.pop("reused") for known in seen][-1]  # it may have two connections before the first session is there
    assert seen == [{"version": "TLSv1.3", "alpn": "http/1.1", "client": None}] * 3


def test_a_client_certificate_that_it_has_not(secured, certs, browse):
    browse.trust(certs.ca)
    url = secured("localhost", "--client-ca", certs.client_ca).url + "hello"
    # In TLS 1.3 it is done before it is refused, and only then has no connection: so it says with openssl s_server, too.
    for flags, error in ((["--ssl-version-max=tls1.2"], "ERR_BAD_SSL_CLIENT_AUTH_CERT"),
                         ([], "ERR_(BAD_SSL_CLIENT_AUTH_CERT|SOCKET_NOT_CONNECTED)")):
        assert browse(*flags, "--dump-dom", url) == ""
        assert re.search("Page load failed: net::%s" % error, browse.errors), browse.errors
