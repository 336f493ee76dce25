"""icey inside a game, or any program that draws frames: a turn or two of the loop in each frame, within a budget of time.

    python3 examples/embed_game.py [--port 8000]      then, elsewhere: curl http://127.0.0.1:8000/

`icey.hosts.pump(loop, budget)` does all that is ready, never waits, and begins nothing more once `budget` seconds are gone, so
that the frame is not late. It returns whether the loop has anything more to do. (A main loop that *waits* for events takes a
host instead: that one wakes only when there is something to do.) --check plays until the server has told where the ball is.
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
from icey.tools.inspect import Inspector

FRAME = 1 / 60.0  # seconds


class Game:
    def __init__(self):
        self.frame, self.ball, self.over = 0, 0.0, False

    def play(self, loop):
        while not self.over:
            begun = time.monotonic()
            self.frame += 1
            self.ball += 0.5
            icey.hosts.pump(loop, budget=0.002)
            # draw here; vertical synchronisation would do the rest
            time.sleep(max(0.0, FRAME - (time.monotonic() - begun)))

    def tell(self, exchange):
        exchange.respond(200, ("ball at %.1f in frame %d\n" % (self.ball, self.frame)).encode(), "text/plain; charset=utf-8")


def check(loop, server, game):
    told = []
    client = icey.http.Client(loop)

    def done(answer, error):
        assert error is None, error
        told.append(answer.body)
        game.over = len(told) == 2
        if not game.over:
            client.request("GET", "http://%s/" % server.address, done=done)

    client.request("GET", "http://%s/" % server.address, done=done)
    game.play(loop)
    assert told[0].startswith(b"ball at ") and game.frame >= 1, told
    client.close()
    server.close()
    loop.run()
    print("OK: the server told where the ball was while the game went on")


def main():
    options = argparse.ArgumentParser(description="A game with a server inside.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", type=int, help="show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run a client against it, then exit")
    chosen = options.parse_args()
    game = Game()
    with icey.Loop() as loop:
        if chosen.inspect is not None:
            print("see it at %s" % Inspector(loop, port=chosen.inspect).url, flush=True)
        server = icey.http.Server(loop, "127.0.0.1", chosen.port)
        server.on_request += game.tell
        server.start()
        if chosen.check:
            check(loop, server, game)
        else:
            print("the ball is at http://%s/, Ctrl-C ends it" % server.address)
            try:
                game.play(loop)
            except KeyboardInterrupt:
                for handle in loop.handles:  # the server, and the inspector if there is one
                    handle.close()
                loop.run()


if __name__ == "__main__":
    main()
