"""Headless Chromium: a page with images, over as many connections as a browser likes; and a listing."""
import html
import json
import os
import re
import signal
import struct
import subprocess
import zlib

import pytest

from tests.support import tool

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-breakpad", "--disable-dev-shm-usage", "--no-proxy-server"]

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


@pytest.fixture
def browse(folder):
    """browse(url, flag) -> what Chromium writes to stdout."""
    def browse(*arguments):
        # A group of its own: it starts helpers, which have to go with it
        process = subprocess.Popen([tool("chromium"), *FLAGS, "--user-data-dir=" + os.path.join(folder, "profile"), *arguments],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=True)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.communicate()
        assert process.returncode == 0, err.decode("utf-8", "replace")
        return out.decode("utf-8")

    return browse


def test_a_page_with_images(serve, site, browse):
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
