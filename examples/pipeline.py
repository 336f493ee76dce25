"""A pipeline with two branches: delivery gets every frame, a slow detector as many as it can take, and neither waits.

    python3 examples/pipeline.py
    python3 examples/pipeline.py --frames 60000 --inspect 8001     and see it work at http://127.0.0.1:8001/

    camera --+--> deliver                              on the loop, packets borrowed: nothing is copied
             +--> AsyncPacketQueue(4) --> detect       in a thread of its own, behind the boundary

The camera fills one buffer again and again and lends it: a frame is dead when the chain returns. The queue is the
boundary: it clones what it takes, drops the oldest when it is full, and counts. Teardown is in reverse order: the
branches first, each flushing what its queue holds, and `on_close` says when the last one is through.
"""
import argparse
import os
import sys
import time

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

FRAMES = 100
memory = bytearray(1 << 16)  # the camera's only buffer


class Detect(icey.PacketProcessor):
    seen = ()

    def process(self, packet):
        if packet.size:
            time.sleep(0.005)  # hard work
            self.seen += (packet.data[0],)
        self.emit(packet)


def next_frame(number):
    memory[0] = number % 256
    return memory  # lent, not copied


def main():
    options = argparse.ArgumentParser(description="A pipeline with two branches.")
    options.add_argument("--frames", type=int, default=FRAMES, help="how many the camera makes (default: %(default)s)")
    options.add_argument("--inspect", metavar="PORT", help="show on a page at this port what the loop does meanwhile")
    options.add_argument("--check", action="store_true", help="compare what came with what was sent")
    chosen = options.parse_args()
    frames = FRAMES if chosen.check else chosen.frames
    delivered, kept = [], []
    with icey.Loop() as loop:
        detect, queue = Detect(), icey.AsyncPacketQueue(4, drop="oldest")
        camera = icey.PacketStream("camera")
        camera.attach_source(icey.TimerSource(loop, 0.001, next_frame, most=frames), sync_state=True)

        delivery = icey.PacketStream("delivery")
        delivery.attach_source(camera)
        delivery.on_packet += lambda packet: delivered.append(packet.data[0]) if packet.size else None
        delivery.on_packet += kept.append  # wrong, as a look at it will tell

        detection = icey.PacketStream("detection")
        detection.attach_source(camera)
        detection.attach(queue)
        detection.attach(detect, 1)
        detection.synchronize_output(loop)  # what it finds, and its on_close, come on the loop

        def ended(stream, new, old):  # FINAL has stopped the camera: close, the last first
            if new is icey.PacketStreamState.STOPPED:
                print(detection.describe())
                for one in (detection, delivery, camera):
                    one.close()

        camera.on_state += ended
        for stream in (detection, delivery, camera):
            stream.start()
        icey.run(loop, inspect=chosen.inspect)  # as loop.run(), and Ctrl-C ends it in order
    print("%d frames delivered, %d looked at, %d dropped" % (len(delivered), len(detect.seen), queue.dropped))
    try:
        print(kept[0].data)
    except icey.BorrowError as error:
        print(error)
    if chosen.check:
        assert delivered == list(range(FRAMES)) and list(detect.seen) == sorted(set(detect.seen))
        assert len(detect.seen) + queue.dropped == FRAMES
        assert detection.closed and delivery.closed and camera.closed and queue.dropped > 0
        print("OK")


if __name__ == "__main__":
    main()
