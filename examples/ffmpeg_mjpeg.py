"""Pictures that a child process makes: ffmpeg's output cut into frames, and each viewer gets what that viewer can take.

    python3 examples/ffmpeg_mjpeg.py --port 8000        then open http://127.0.0.1:8000/ in a few windows

The child's stdout is a stream like any other: its bytes are the packets of a PacketStream, a stage of that cuts them into JPEG
files, and each viewer follows it by a MultipartAdapter. A viewer that is slower than the camera gets the newest frame whenever
there is room, and its own misses are counted; neither ffmpeg nor the other viewers wait. When the server has stopped, ffmpeg is
ended, and waited for. In the place of the test picture take what a camera gives: ["-f", "v4l2", "-i", "/dev/video0"].
The page is pages/ffmpeg.html.

--check is a film of 100 frames with two viewers: one gets every frame, as it was, and one reads nothing at all.
"""
import argparse
import os
import re
import socket
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

HERE = os.path.dirname(os.path.abspath(__file__))
PAGES = icey.http.StaticFiles(os.path.join(HERE, "pages"), index="ffmpeg.html", listing=False)
LIVE = ["-i", "testsrc=size=640x360:rate=25"]
FILM = ["-i", "testsrc=size=640x360:rate=200", "-frames:v", "100"]


def ffmpeg(picture):
    """The command: `picture`, as fast as it is to be looked at, one JPEG file behind the other to stdout."""
    return ["ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", *picture, "-q:v", "4", "-f", "mjpeg", "pipe:1"]


class Frames(icey.PacketProcessor):
    """Packets of any bytes in, a packet for each JPEG file out. In a file of ffmpeg FF D9 is the end, and nothing else."""

    def __init__(self):
        self.rest = bytearray()

    def process(self, packet):
        looked = max(0, len(self.rest) - 1)
        self.rest += packet.data
        end = self.rest.find(b"\xff\xd9", looked) + 2
        while end >= 2:
            self.emit(bytes(self.rest[:end]))
            del self.rest[:end]
            end = self.rest.find(b"\xff\xd9") + 2
        if packet.flags & icey.PacketFlags.FINAL:
            self.emit(icey.FlagPacket(icey.PacketFlags.FINAL))


class Site:
    def __init__(self, loop, port):
        self.loop, self.viewers, self.process = loop, set(), None
        self.frames = self.missed = 0
        self.camera = icey.PacketStream("camera")
        self.camera.on_packet += self.count
        self.server = icey.http.Server(loop, "127.0.0.1", port).start()
        self.server.on_request += self.answer
        self.server.on_close += self.over

    def record(self, command):
        self.process = icey.Process(self.loop, command)
        self.process.on_exit += self.ended
        assert self.process.stdout is not None  # a Pipe is what it is unless something else is asked for
        self.camera.attach_source(icey.StreamSource(self.process.stdout), sync_state=True)
        self.camera.attach(Frames())
        self.camera.start()

    def count(self, packet):
        self.frames += packet.size > 0

    def answer(self, exchange):
        path = exchange.request.path
        if path == "/stream":
            viewer = icey.http.MultipartAdapter(exchange, drop="latest")
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

    def ended(self, process, code):
        if not process.closing:  # by itself: its pictures have an end, or it could not make any
            print("ffmpeg has ended with %d" % code)
            self.server.stop(drain=1.0)

    def over(self, server):
        self.camera.close()
        if self.process is not None:
            self.process.close()  # TERM, and KILL where that does not help; the loop runs until it has ended


def check(loop, site):
    shot, answers, got, whole = [], [], bytearray(), []
    site.camera.on_packet += lambda packet: shot.append(bytes(packet.data)) if packet.size else None

    def ask():
        conn = icey.http.ClientConnection(loop, "http://%s/stream" % site.server.address)
        conn.on_headers += answers.append
        conn.start()
        return conn

    lazy = ask()
    lazy.on_headers += lambda conn: conn.pause()
    while not answers:
        loop.run_once()
    for one in site.viewers:  # the kernel is to hold little for this one, so that it is slow soon
        one.exchange.connection.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    viewer = ask()
    viewer.on_payload += lambda conn, view: got.extend(view)
    viewer.on_complete += whole.append
    while len(answers) < 2:
        loop.run_once()
    site.record(ffmpeg(FILM))
    while not whole:
        loop.run_once()
    viewer.close()
    lazy.abort()
    site.server.stop(drain=0)
    loop.run()
    boundary = viewer.response.headers["content-type"].partition("boundary=")[2].encode()
    first, *parts = bytes(got).split(b"--" + boundary)
    head = re.compile(rb"\r\nContent-Type: image/jpeg\r\nContent-Length: [0-9]+\r\n\r\n")
    frames = [head.sub(b"", part, count=1)[:-2] for part in parts[:-1]]
    assert (first, parts[-1]) == (b"", b"--\r\n")
    assert len(frames) == 100 and frames == shot, "%d of %d frames" % (len(frames), len(shot))
    assert all(frame[:3] == b"\xff\xd8\xff" and frame[-2:] == b"\xff\xd9" for frame in frames)
    assert site.missed > 20 and not site.viewers and site.process.returncode == 0
    try:
        os.waitpid(-1, os.WNOHANG)
        raise AssertionError("there is a child left")
    except ChildProcessError:  # there is none, not even a zombie
        pass
    print("OK: %d frames for one, %d missed by the other" % (len(frames), site.missed))


def main():
    options = argparse.ArgumentParser(description="ffmpeg's test picture, for any number of browsers.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run viewers against it, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        site = Site(loop, chosen.port)
        if chosen.check:
            check(loop, site)
        else:
            site.record(ffmpeg(LIVE))
            print("showing ffmpeg's picture at http://%s/, Ctrl-C ends it" % site.server.address, flush=True)
            icey.run(loop, site.server, inspect=chosen.inspect)


if __name__ == "__main__":
    main()
