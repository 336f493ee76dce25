"""ffmpeg's pictures in Chromium: thirty seconds of them without a loss, and the example that shows them live."""
import importlib.util
import os
import socket
import sys
import time

import pytest

import icey
from tests.support import ROOT, programs, tool

EXAMPLES = os.path.join(ROOT, "examples")
SECONDS, RATE, WIDTH, HEIGHT = 30, 25, 640, 360
FRAMES = SECONDS * RATE


def imported(name):
    """The module of an example."""
    spec = importlib.util.spec_from_file_location("example_" + name, os.path.join(EXAMPLES, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ffmpeg_mjpeg = imported("ffmpeg_mjpeg")

PAGE = b"""<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Film</title>
<body style="margin: 0"><script>
const drawn = async image => {
    const canvas = new OffscreenCanvas(%d, %d), where = canvas.getContext("2d");
    where.drawImage(image, 0, 0);
    const pixels = where.getImageData(0, 0, canvas.width, canvas.height).data;
    return [...new Uint8Array(await crypto.subtle.digest("SHA-256", pixels))].join();
};
const still = async path => drawn(await createImageBitmap(await (await fetch(path)).blob()));
const film = new Image();
film.src = "/stream";
document.body.append(film);
</script>""" % (WIDTH, HEIGHT)


def never_reads(port):
    """A connection that has asked for the film, and takes nothing of it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.sendall(b"GET /stream HTTP/1.1\r\nHost: here\r\n\r\n")
    return sock


@pytest.fixture
def film(loop, until):
    """A server of a page, of the film as an endless picture, and of each frame by its number; and who looks."""
    tool("ffmpeg")
    film = Film(loop)
    yield film
    film.end()
    until(lambda: film.server.closed and (film.process is None or film.process.closed))


class Film:
    """The first who asks for the film holds up its source where need be, any other follows and misses what is too much.

    `frames`: those that were cut. `viewers`: the adapters, in the order in which they were asked for.
    """

    def __init__(self, loop):
        self.loop, self.process, self.code = loop, None, []
        self.frames, self.viewers = [], []
        self.camera = icey.PacketStream("camera")
        self.camera.attach(ffmpeg_mjpeg.Frames())
        self.server = icey.http.Server(loop, "127.0.0.1", 0).start()
        self.server.on_request += self.answer

    def answer(self, exchange):
        path = exchange.request.path
        if path == "/stream":
            first = not self.viewers
            self.viewers.append(icey.http.MultipartAdapter(exchange, drop="pause" if first else "latest"))
            if first:
                self.camera.attach(self.viewers[0], 1)
                self.camera.on_packet += lambda packet: self.frames.append(bytes(packet.data)) if packet.size else None
            else:
                self.viewers[-1].follow(self.camera)
        elif path.startswith("/frame/"):
            exchange.respond(200, self.frames[int(path[7:])], "image/jpeg")
        else:
            exchange.respond(200, PAGE, "text/html; charset=utf-8")

    def record(self):
        """Has ffmpeg make it, as fast as the first viewer takes it."""
        command = ffmpeg_mjpeg.ffmpeg(["-i", "testsrc=size=%dx%d:rate=%d" % (WIDTH, HEIGHT, RATE), "-t", str(SECONDS)])
        command.remove("-re")
        self.process = icey.Process(self.loop, command)
        self.process.on_exit += lambda process, code: self.code.append(code)
        self.camera.attach_source(icey.StreamSource(self.process.stdout), sync_state=True)
        self.camera.start()

    def end(self):
        self.camera.close()
        self.server.stop(drain=0)
        if self.process is not None:
            self.process.abort()


def test_thirty_seconds_for_one_who_loses_nothing_beside_one_who_never_reads(film, window, until):
    page = window(WIDTH, HEIGHT)
    page.go("http://%s/" % film.server.address)
    until(lambda: film.viewers)
    with never_reads(film.server.address.port):
        until(lambda: len(film.viewers) == 2)
        film.record()
        shown = set()
        while not film.code:
            until(lambda: film.code or len(film.frames) > 100 * len(shown))
            shown.add(page.run("drawn(film)"))
        until(lambda: film.viewers[0].closed)
        first, second = film.viewers
        assert film.code == [0] and len(film.frames) == FRAMES and len(set(film.frames)) > FRAMES // 2
        assert first.dropped == film.camera.dropped == 0 and film.camera.error is None
        assert second.dropped > FRAMES // 4 and not second.closed

        request, = [params["requestId"] for params in page.told("Network.requestWillBeSent")
                    if params["request"]["url"].endswith("/stream")]
        until(lambda: [params for params in page.told("Network.loadingFinished")
                       if params["requestId"] == request and params["encodedDataLength"]])  # of a part it is 0
    boundary = first.boundary.encode()
    film_bytes = sum(len(b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n\r\n" % (boundary, len(frame)))
                     + len(frame) for frame in film.frames) + len(b"--%s--\r\n" % boundary)
    assert sum(params["dataLength"] for params in page.told("Network.dataReceived")
               if params["requestId"] == request) == film_bytes, "every frame has come"
    assert len(shown) > 3
    page.until("film.naturalWidth === %d" % WIDTH)
    assert page.run("drawn(film)") == page.run("still('/frame/%d')" % (FRAMES - 1)), "the last one is what is seen"
    assert page.run("drawn(film)") != page.run("still('/frame/%d')" % (FRAMES - 2))
    assert page.errors == []


def children(pid):
    """The processes that `pid` has started, by /proc."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as file:
                    after = file.read().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if int(after[1]) == pid:
                found.append(int(name))
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="it looks into /proc")
def test_the_example_shows_it_live_and_ends_ffmpeg_with_itself(start, window):
    tool("ffmpeg")
    server = start(sys.executable, "-u", os.path.join(EXAMPLES, "ffmpeg_mjpeg.py"), cwd=ROOT)
    page = window()
    page.go(server.url)
    page.until("document.images[0].naturalWidth === 640")
    page.until("document.querySelector('figcaption').textContent.startsWith('1 watching')")
    box = page.run("document.images[0].getBoundingClientRect().toJSON()")
    part = box["x"], box["y"] + box["height"] * 0.8, box["width"], 20  # colours that move along
    first = page.shot(*part)
    overdue = time.monotonic() + programs.PATIENCE
    while page.shot(*part) == first:
        assert time.monotonic() < overdue, "the picture stands still"
    with never_reads(server.port):
        page.until("document.querySelector('figcaption').textContent.startsWith('2 watching')")
        assert page.errors == []
    child, = children(server.process.pid)
    server.process.terminate()
    assert server.process.wait(programs.PATIENCE) == 0
    assert not os.path.exists("/proc/%d" % child), "ffmpeg has ended, and was waited for"
