"""One PacketStream over two machines: a camera in one process, a page to watch it in another, a message broker between them.

    mosquitto -p 1883                                                    any MQTT 3.1.1 broker will do
    python3 examples/mqtt_pipeline.py camera --name front                as many as you like, wherever the broker can be reached
    python3 examples/mqtt_pipeline.py viewer --port 8000                 then open http://127.0.0.1:8000/

The camera's stream ends in a Sink, which publishes each picture; the viewer's begins with a Source, which subscribes to all
cameras. In between nothing is home-made. Neither process knows whether the other one is there: start them in any order. While
the broker is away the camera holds its newest picture alone (drop="latest"), and both come back by themselves when it does. The
will of a camera tells the viewer that it has gone, also where it was killed; a message that the broker keeps (retain) tells who
comes later that it is there.

--check runs a mosquitto of its own, both processes, and a client of the page; then it kills the broker and starts it again.
Where mosquitto is not installed it says so: with something that only looks like a broker it would prove nothing.
"""
import argparse
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

WIDTH, HEIGHT, RATE = 160, 90, 25
BMP = struct.Struct("<2sIHHIIiiHHIIiiII")


class Picture:
    """A BMP of 256 colours in one piece of memory: its pixels never change, `turn(step)` moves its colours on."""

    def __init__(self):
        place = BMP.size + 1024
        pixels = bytes((x * x // 40 + y * y // 20) % 256 for y in range(HEIGHT) for x in range(WIDTH))
        head = BMP.pack(b"BM", place + len(pixels), 0, 0, place, 40, WIDTH, HEIGHT, 1, 8, 0, len(pixels), 2835, 2835, 256, 0)
        self.memory = bytearray(head + bytes(1024) + pixels)

    def turn(self, step):
        for colour in range(256):
            level = abs((colour + step * 4) % 256 - 128)
            struct.pack_into("<BBBB", self.memory, BMP.size + 4 * colour, 255 - level, level + 64, 40 + level // 2, 0)
        return self.memory  # lent: the Sink copies what it has to keep


def camera(loop, broker, name, rate, reconnect):
    """The pipeline's first half: a picture, again and again, to the topic of this camera."""
    where, picture = "cameras/%s" % name, Picture()
    client = icey.mqtt.Client(loop, broker, will=(where + "/state", b"gone", 1, True), reconnect=reconnect, keep_alive=10)
    client.on_connect += lambda client, resumed: client.publish(where + "/state", b"there", qos=1, retain=True)
    client.on_disconnect += lambda client, exc, rest: print("%s: no broker: %s" % (name, exc), flush=True)
    stream = icey.PacketStream(name)
    stream.attach_source(icey.TimerSource(loop, 1 / rate, picture.turn), sync_state=True)
    stream.attach(icey.mqtt.Sink(client, where + "/picture", drop="latest"))
    client.on_close += lambda client: stream.close()
    stream.start()
    return client.start()


class Viewer:
    """The second half: what comes of all cameras, to all who look at the page."""

    def __init__(self, loop, broker, port, reconnect):
        self.there = set()
        self.client = icey.mqtt.Client(loop, broker, reconnect=reconnect, keep_alive=10)
        self.client.subscribe("cameras/+/state", self.tell, qos=1)
        self.pictures = icey.PacketStream("pictures")
        self.pictures.attach_source(icey.mqtt.Source(self.client, "cameras/+/picture"), sync_state=True)
        self.pictures.start()
        self.server = icey.http.Server(loop, "127.0.0.1", port).start()
        self.server.on_request += self.answer
        self.server.on_close += lambda server: (self.pictures.close(), self.client.close())
        self.client.start()

    def tell(self, client, topic, view):
        name = topic.split("/")[1]
        (self.there.add if view == b"there" else self.there.discard)(name)
        print("%s is %s" % (name, bytes(view).decode("utf-8", "replace")), flush=True)

    def answer(self, exchange):
        path = exchange.request.path
        if path == "/":
            names = "".join("<figure><img src='/camera/%s'><figcaption>%s</figcaption></figure>" % (name, name)
                            for name in sorted(self.there))
            exchange.respond(200, (PAGE % (names or "<p>No camera is there.")).encode(), "text/html; charset=utf-8")
        elif path.startswith("/camera/") and path[8:] in self.there:
            chosen = icey.PacketStream(path[8:])
            chosen.attach_source(self.pictures)
            chosen.attach(Only("cameras/%s/picture" % path[8:]))
            chosen.attach(icey.http.MultipartAdapter(exchange, content_type="image/bmp", drop="latest"))
            chosen.start()
        else:
            exchange.respond(404)


class Only(icey.PacketProcessor):
    """Lets the packets of one topic through."""

    def __init__(self, topic):
        self.topic = topic

    def process(self, packet):
        if getattr(packet, "topic", self.topic) == self.topic:
            self.emit(packet)


PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Cameras</title>
<style>
  :root { color-scheme: light dark }
  body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem; font: 1rem/1.5 system-ui, sans-serif }
  main { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem }
  figure { margin: 0 }
  img { width: 100%%; aspect-ratio: 16 / 9; border-radius: .5rem; background: #8883 }
</style>
<h1>Cameras</h1>
<main>%s</main>
"""


# the check

@contextlib.contextmanager
def broker_at(port, folder):
    """A mosquitto on `port`, running when this begins."""
    config = os.path.join(folder, "broker.conf")
    with open(config, "w") as file:
        file.write("listener %d 127.0.0.1\nallow_anonymous true\n" % port)
    os.chmod(folder, 0o755)
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        sys.exit("--check needs a real broker, and mosquitto is not installed (apt-get install mosquitto): nothing was checked")
    with subprocess.Popen([program, "-c", config], stderr=subprocess.PIPE, universal_newlines=True) as running:
        try:
            for line in running.stderr or ():
                if "running" in line:
                    break
            yield
        finally:
            running.kill()


def check(loop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    url, soon, got = "mqtt://127.0.0.1:%d" % port, (0.05, 0.2), bytearray()
    start = [sys.executable, "-W", "error", os.path.abspath(__file__), "camera", "--broker", url, "--name", "front",
             "--rate", "200", "--reconnect", "0.05", "0.2"]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(start, stdout=subprocess.DEVNULL) as away:
        try:
            viewer = Viewer(loop, url, 0, soon)
            for number in range(2):  # the broker of the first round is killed
                with broker_at(port, folder):
                    while not (viewer.client.connected and "front" in viewer.there):
                        loop.run_once()
                    if not number:
                        conn = icey.http.ClientConnection(loop, "http://%s/camera/front" % viewer.server.address)
                        conn.on_payload += lambda conn, view: got.extend(view)
                        conn.start()
                    enough = len(got) + 20 * (WIDTH * HEIGHT + BMP.size + 1024)
                    while len(got) < enough:
                        loop.run_once()
                    if number:
                        away.kill()  # the broker tells by the camera's will
                        while "front" in viewer.there:
                            loop.run_once()
            boundary = conn.response.headers["content-type"].partition("boundary=")[2].encode()
            pictures = [part.partition(b"\r\n\r\n")[2][:-2] for part in bytes(got).split(b"--" + boundary + b"\r\n")[1:-1]]
            assert len(pictures) >= 38 and all(one[:2] == b"BM" and len(one) == len(Picture().memory) for one in pictures)
            conn.abort()
            viewer.server.stop(drain=0)
            while not (viewer.server.closed and viewer.client.closed):
                loop.run_once()
        finally:
            away.kill()
    print("OK: %d pictures through two brokers, one of which was killed" % len(pictures))


def main():
    options = argparse.ArgumentParser(description="A camera, a page to watch it, and a broker between them.")
    options.add_argument("role", nargs="?", choices=["camera", "viewer"], default="viewer")
    options.add_argument("--broker", default="mqtt://127.0.0.1", help="its URL (default %(default)s)")
    options.add_argument("--name", default="front", help="of this camera (default %(default)s)")
    options.add_argument("--rate", type=float, default=RATE, help="pictures a second (default %(default)s)")
    options.add_argument("--port", type=int, default=8000, help="of the page (default %(default)s)")
    options.add_argument("--reconnect", type=float, nargs=2, default=(1.0, 60.0), metavar="S", help="least and most rest")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run all three, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        if chosen.check:
            check(loop)
        elif chosen.role == "camera":
            client = camera(loop, chosen.broker, chosen.name, chosen.rate, tuple(chosen.reconnect))
            icey.run(loop, client, inspect=chosen.inspect)
        else:
            viewer = Viewer(loop, chosen.broker, chosen.port, tuple(chosen.reconnect))
            print("showing cameras at http://%s/, Ctrl-C ends it" % viewer.server.address, flush=True)
            icey.run(loop, viewer.server, inspect=chosen.inspect)


if __name__ == "__main__":
    main()
