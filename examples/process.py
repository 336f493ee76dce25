"""A child process as a filter, a worker that is stopped in order, and one that will not stop.

    python3 examples/process.py

The input and the output of a child are streams: `send` says False when the child does not keep up, and `on_drain` when to go
on; a reader that pauses has the child wait. `shutdown()` of its stdin is the end of its input. `on_exit` comes once, behind the
last output; a returncode of -15 is that of a child which TERM ended, and -9 that of one which KILL had to. --check proves it.
"""
import os
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

LINES = 200000
told: dict = {}


def tell(name):
    """A slot of on_exit."""
    def exited(process, code):
        told[name] = code
        print("%-10s %r ended with %d" % (name, process.args[0], code))
    return exited


def filter_lines(loop):
    """Half a million bytes through `sort`, never more on their way than the water marks let."""
    process = icey.Process(loop, ["sort", "-n"], stdin="pipe", env=dict(os.environ, LC_ALL="C"))
    assert process.stdin and process.stdout  # both are pipes
    numbers = iter(range(LINES, 0, -1))
    sorted_lines = bytearray()
    most = [0]

    def more(pipe):
        for number in numbers:
            room = pipe.send_owned(b"%d\n" % number)
            most[0] = max(most[0], pipe.queued)
            if not room:
                return  # on_drain calls again
        pipe.shutdown()

    process.stdin.on_drain += more
    process.stdout.on_recv += lambda pipe, view: sorted_lines.extend(view)
    process.on_exit += tell("filter")
    more(process.stdin)
    return sorted_lines, most


def stop_in_order(loop):
    """A worker that is closed as soon as it says that it works."""
    process = icey.Process(loop, ["sh", "-c", "echo working; exec sleep 1000"])
    assert process.stdout
    process.stdout.on_recv += lambda pipe, view: process.close()
    process.on_exit += tell("worker")


def stop_the_stubborn(loop):
    """One that heeds no TERM, and what it has started: KILL goes to the whole group, behind the grace."""
    process = icey.Process(loop, ["sh", "-c", "trap '' TERM; echo working; sleep 1000; sleep 1000"], group=True)
    assert process.stdout
    process.grace = 0.2
    process.stdout.on_recv += lambda pipe, view: process.close()
    process.on_exit += tell("stubborn")


def main():
    with icey.Loop() as loop:
        loop.on_error += lambda loop, exc, handle: sys.exit("%s: %r" % (handle, exc))
        sorted_lines, most = filter_lines(loop)
        stop_in_order(loop)
        stop_the_stubborn(loop)
        try:
            icey.Process(loop, ["no-such-program"])
        except FileNotFoundError as exc:
            print("%-10s %s" % ("missing", exc))
        loop.run()  # until the last of them has ended
    if "--check" in sys.argv:
        assert sorted_lines == b"".join(b"%d\n" % number for number in range(1, LINES + 1))
        assert most[0] < 2 * 65536, most
        assert told == {"filter": 0, "worker": -15, "stubborn": -9}, told
        print("OK: %d lines sorted with %d bytes waiting at most, and each child ended as it should" % (LINES, most[0]))


if __name__ == "__main__":
    main()
