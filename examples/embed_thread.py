"""icey on a thread of its own, for a program that blocks or whose main loop waits for no socket: Kodi, Blender, a debugger.

    python3 examples/embed_thread.py      then, elsewhere: curl http://127.0.0.1:PORT/

A ThreadHost runs the loop; `setup` makes on its thread what lives there. From the program's own thread `call` has something
done there and returns its result, or raises its exception; `post` does not wait. Slots run on the loop's thread: they hand on
what is for the program (here by a queue). `stop` finishes what is in flight and joins the thread; a program that forgets it
ends all the same. --check plays both parts.
"""
import argparse
import os
import queue
import sys
import threading

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

wishes: queue.Queue = queue.Queue()  # from the loop's thread to the program's


class Remote:
    """What lives on the loop: a server that passes on what it is asked for."""

    def setup(self, loop):
        self.server = icey.http.Server(loop, "127.0.0.1", 0)
        self.server.on_request += wishes.put  # the exchange waits for its answer
        self.server.start()

    def address(self):
        return str(self.server.address)


def serve_wishes(host, count=None):
    """The program's own, blocking loop: does what it was asked for, and has the loop's thread answer."""
    while count is None or count:
        exchange = wishes.get()
        text = "Done on %s: %s\n" % (threading.current_thread().name, exchange.request.path)
        host.post(exchange.respond, 200, text.encode(), "text/plain; charset=utf-8")
        count = None if count is None else count - 1


def check(host, remote):
    answers = []
    url = "http://%s/volume/up" % host.call(remote.address)
    client = threading.Thread(target=lambda: answers.append(icey.http.fetch(url)))
    client.start()
    serve_wishes(host, 1)
    client.join()
    assert answers[0].body == b"Done on MainThread: /volume/up\n", answers[0].body
    try:
        host.call(int, "no number")
    except ValueError:
        pass
    else:
        raise AssertionError("the exception of a call comes out of it")
    host.stop()
    assert not host.alive
    print("OK: asked on the loop's thread, done on the program's, answered on the loop's; and the thread is gone")


def main():
    options = argparse.ArgumentParser(description="A loop on a thread of its own, beside a program that blocks.")
    options.add_argument("--check", action="store_true", help="run a client against it, then exit")
    chosen = options.parse_args()
    remote = Remote()
    with icey.hosts.ThreadHost(remote.setup) as host:
        if chosen.check:
            check(host, remote)
        else:
            print("waiting for wishes at http://%s/, Ctrl-C ends it" % host.call(remote.address))
            serve_wishes(host)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
