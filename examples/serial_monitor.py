"""A serial line in one direction, the keyboard in the other: what a device says is shown, what you type is sent.

    python3 examples/serial_monitor.py /dev/ttyUSB0 115200       Ctrl-C ends it

`icey.Pipe` makes a stream of anything that can be polled, here of a serial line and of the terminal. `set_raw` has the line
pass bytes as they are, at a speed; both are given back as they were, the terminal to the shell too. A device that is unplugged
is the end of its stream, and ends the program. --check plays the device, at the other side of a pseudo-terminal.
"""
import argparse
import os
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey


class Monitor:
    """Shows what comes from `line` by `show(bytes)`, with a stamp at each line; `say` sends a line to it."""

    def __init__(self, loop, fd, speed, show):
        self.line = icey.Pipe(loop, fd)
        self.line.set_raw(speed)
        self.line.on_recv += self.received
        self.line.on_error += lambda line, exc: show("-- %s --" % exc)
        self.line.on_close += lambda line: show("-- the line is closed --")
        self.show = show
        self.rest = b""

    def received(self, line, view):
        *lines, self.rest = (self.rest + view).split(b"\n")
        for text in lines:
            self.show(text.rstrip(b"\r").decode("utf-8", "replace"))

    def say(self, text):
        self.line.send_owned(text + b"\r\n")


def monitor(path, speed, inspect):
    with icey.Loop() as loop:
        device = Monitor(loop, os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK), speed, print)
        keys = icey.Pipe(loop, sys.stdin, close=False)
        keys.on_recv += lambda keys, view: device.say(bytes(view).rstrip(b"\n"))
        device.line.on_close += lambda line: keys.close()
        icey.run(loop, inspect=inspect)


def check():
    """A device that echoes what it is told, and is unplugged when that was shown."""
    master, slave = os.openpty()
    shown = []

    def show(text):
        shown.append(text)
        far.close()

    with icey.Loop() as loop:
        device = Monitor(loop, slave, 9600, show)
        far = icey.Pipe(loop, master)
        far.on_recv += lambda far, view: far.send_owned(b"you said: " + view)
        device.say(b"hello \xc3\xa4\x03")  # not an interrupt: the line is raw
        loop.run()
    assert shown == ["you said: hello \xe4\x03", "-- the line is closed --"], shown
    print("OK: said, echoed, and unplugged")


def main():
    options = argparse.ArgumentParser(description="Shows what a serial line says, sends it what is typed.")
    options.add_argument("path", nargs="?", help="the device, such as /dev/ttyUSB0")
    options.add_argument("speed", nargs="?", type=int, help="in baud; without it, as it is")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="play the device, then exit")
    chosen = options.parse_args()
    if chosen.check:
        check()
    elif chosen.path is None:
        options.error("which device?")
    else:
        monitor(chosen.path, chosen.speed, chosen.inspect)


if __name__ == "__main__":
    main()
