"""Moving pictures without a line of script: multipart/x-mixed-replace, as network cameras send it, and one frame for all.

    python3 examples/mjpeg.py --port 8000        then open http://127.0.0.1:8000/ in a few windows

The camera has one piece of memory, a PNG whose pixels never change: a frame is made by turning its palette on, in place, and
lending the memory to a PacketStream. Each viewer's MultipartAdapter sends what its kernel takes, and copies no more than the
rest; when the stream's write returns, the camera may paint again. A viewer that is slower than the camera gets the newest frame
whenever it has room, and what it misses is counted; one that leaves is let go. The camera itself does not know who looks.
The page is pages/mjpeg.html.

--check is two viewers: one reads everything and gets every frame, one reads nothing at all, and does not hold up the first.
"""
import argparse
import binascii
import math
import os
import re
import struct
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

HERE = os.path.dirname(os.path.abspath(__file__))
PAGES = icey.http.StaticFiles(os.path.join(HERE, "pages"), index="mjpeg.html", listing=False)
WIDTH, HEIGHT, RATE = 480, 270, 25


class Picture:
    """A PNG of 256 colours in one piece of memory. `turn(step)` moves every pixel on to its next colour."""

    def __init__(self):
        self.colours = bytes(level for step in range(256) for level in colour(step / 256)) * 2
        head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 3, 0, 0, 0)
        before = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
        self.place = len(before) + 8
        self.memory = bytearray(before + chunk(b"PLTE", bytes(768)) + chunk(b"IDAT", packed(pixels())) + chunk(b"IEND", b""))

    def turn(self, step):
        start = step % 256 * 3
        palette = self.colours[start:start + 768]
        self.memory[self.place:self.place + 768] = palette
        struct.pack_into(">I", self.memory, self.place + 768, binascii.crc32(b"PLTE" + palette))
        return self.memory  # lent: read it now, or copy it


def colour(turn):
    """Red, green and blue of a colour on a circle from dusk to dawn and back; turn: 0 to 1."""
    low, high = (24, 28, 64), ((255, 196, 120), (64, 156, 168), (214, 92, 112))
    place = turn * 3
    near, far = high[int(place) % 3], high[(int(place) + 1) % 3]
    light = 0.5 - 0.5 * math.cos(place % 1 * 2 * math.pi)
    mix = place % 1
    return [int(dark + ((1 - mix) * one + mix * two - dark) * (1 - 0.85 * light)) for dark, one, two in zip(low, near, far)]


def pixels():
    """Rows of colour numbers: waves over each other. A row of a PNG has a byte before it, which says that it is as it is."""
    across = [math.sin(x / 37) + math.sin(x / 90 + 1) for x in range(WIDTH)]
    for y in range(HEIGHT):
        down, tilt = math.sin(y / 29) + math.sin(y / 71 + 2), y / 53
        yield b"\0" + bytes(int((across[x] + down + math.sin(x / 61 + tilt)) * 40) % 256 for x in range(WIDTH))


def packed(rows):
    """Rows compressed by zlib, or stored in its format where Python has none."""
    data = b"".join(rows)
    try:
        import zlib
    except ImportError:
        low, high = 1, 0
        for byte in data:
            low += byte
            high += low
        blocks = [data[start:start + 65535] for start in range(0, len(data), 65535)]
        stored = b"".join(struct.pack("<BHH", block is blocks[-1], len(block), len(block) ^ 65535) + block for block in blocks)
        return b"\x78\x01" + stored + struct.pack(">HH", high % 65521, low % 65521)
    return zlib.compress(data, 6)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", binascii.crc32(kind + data))


class Site:
    def __init__(self, loop, port, rate=RATE):
        self.picture, self.viewers = Picture(), set()
        self.frames = self.missed = 0
        self.camera = icey.PacketStream("camera")
        self.camera.attach_source(icey.TimerSource(loop, 1 / rate, self.picture.turn), sync_state=True)
        self.camera.on_packet += self.count
        self.server = icey.http.Server(loop, "127.0.0.1", port).start()
        self.server.on_request += self.answer
        self.server.on_close += lambda server: self.camera.close()
        self.camera.start()

    def count(self, packet):
        self.frames += 1

    def answer(self, exchange):
        path = exchange.request.path
        if path == "/stream":
            viewer = icey.http.MultipartAdapter(exchange, content_type="image/png", drop="latest")
            viewer.follow(self.camera)
            viewer.on_close += self.left
            self.viewers.add(viewer)
        elif path == "/figures":
            missed = self.missed + sum(viewer.dropped for viewer in self.viewers)
            text = "%d watching, %d frames, %d missed by slow viewers" % (len(self.viewers), self.frames, missed)
            exchange.respond(200, text.encode(), "text/plain", {"Cache-Control": "no-store"})
        else:
            PAGES(exchange)

    def left(self, viewer):
        self.missed += viewer.dropped
        self.viewers.remove(viewer)


def check(loop, site):
    answers, got = [], bytearray()

    def ask():
        conn = icey.http.ClientConnection(loop, "http://%s/stream" % site.server.address)
        conn.on_headers += answers.append
        conn.start()
        return conn

    lazy, viewer = ask(), ask()
    lazy.on_headers += lambda conn: conn.pause()
    viewer.on_payload += lambda conn, view: got.extend(view)
    while len(answers) < 2:
        loop.run_once()
    boundary = viewer.response.headers["content-type"].partition("boundary=")[2].encode()
    while sum(one.dropped for one in site.viewers) < 20:
        loop.run_once()
    frames = bytes(got).split(b"--" + boundary + b"\r\n")[1:-1]
    steps, place = [], site.picture.place
    for part in frames:
        form = re.match(rb"Content-Type: image/png\r\nContent-Length: ([0-9]+)\r\n\r\n(.*)\r\n\Z", part, re.S)
        assert form
        length, data = form.groups()
        assert int(length) == len(data) and data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82")
        steps.append(site.picture.colours.find(data[place:place + 768]) // 3)
    assert len(steps) > 10 and steps == [(steps[0] + number) % 256 for number in range(len(steps))], "none is missing"
    viewer.close()
    lazy.abort()
    while site.viewers or len(site.camera.on_packet) > 1:
        loop.run_once()
    site.server.stop(drain=0)
    loop.run()
    print("OK: %d frames for one, %d missed by the other" % (len(frames), site.missed))


def main():
    options = argparse.ArgumentParser(description="Moving pictures by multipart/x-mixed-replace.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run viewers against it, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        site = Site(loop, chosen.port, 500 if chosen.check else RATE)
        if chosen.check:
            check(loop, site)
        else:
            print("showing pictures at http://%s/, Ctrl-C ends it" % site.server.address, flush=True)
            icey.run(loop, site.server, inspect=chosen.inspect)


if __name__ == "__main__":
    main()
