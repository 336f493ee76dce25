"""icey beside a real main loop, in a process of its own: python beside.py asyncio|tk|qt|glib|thread

Each operation is begun by a callback of the main loop, with nothing else going on, 50 times. The last line on stdout is JSON:
the median and the lower quartile of the seconds that each took until it was done, how often the loop was woken in two idle
seconds, how many threads are left, and what a slot that ran the main loop itself saw (null where that is none's business).
"""
import json
import os
import socket
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import icey

TIMES = 50
IDLE = 2.0  # seconds


class Asyncio:
    def __init__(self, loop):
        import asyncio

        self.aloop = asyncio.new_event_loop()
        self.host = icey.hosts.AsyncioHost(loop, self.aloop)

    def later(self, seconds, fn):
        self.aloop.call_later(seconds, fn)

    def run(self):
        self.aloop.run_forever()

    def quit(self):
        self.aloop.stop()

    def end(self):
        self.aloop.close()


class Tk:
    def __init__(self, loop):
        import tkinter

        self.root = tkinter.Tk()
        self.host = icey.hosts.TkHost(loop, self.root)

    def later(self, seconds, fn):
        self.root.after(int(seconds * 1000), fn)

    def run(self):
        self.root.mainloop()

    def quit(self):
        self.root.quit()

    def dialog(self):
        import tkinter

        window = tkinter.Toplevel(self.root)
        self.root.after(100, window.destroy)
        self.root.wait_window(window)

    def end(self):
        self.root.destroy()
        assert not self.host.started, "it ends with its window"


class Qt:
    def __init__(self, loop):
        from PySide6 import QtCore

        self.core = QtCore
        self.app = QtCore.QCoreApplication([])
        self.host = icey.hosts.QtHost(loop)

    def later(self, seconds, fn):
        self.core.QTimer.singleShot(int(seconds * 1000), fn)

    def run(self):
        self.app.exec()

    def quit(self):
        self.app.quit()

    def dialog(self):
        inner = self.core.QEventLoop()
        self.core.QTimer.singleShot(100, inner.quit)
        inner.exec()

    def end(self):
        pass


class GLib:
    context = False

    def __init__(self, loop):
        from gi.repository import GLib

        self.glib = GLib
        self.own = GLib.MainContext.new() if self.context else None
        self.main = GLib.MainLoop.new(self.own, False)
        self.host = icey.hosts.GLibHost(loop, self.own)

    def later(self, seconds, fn):
        source = self.glib.timeout_source_new(int(seconds * 1000))
        source.set_callback(lambda *_: fn() and False)
        source.attach(self.own)

    def run(self):
        self.main.run()

    def quit(self):
        self.main.quit()

    def dialog(self):
        inner = self.glib.MainLoop.new(self.own, False)
        self.later(0.1, inner.quit)
        inner.run()

    def end(self):
        pass


class GLibContext(GLib):
    context = True


def operations(loop, server, near):
    """name -> a function that begins it, given what to call when it is done."""
    client = icey.http.Client(loop)
    url = "%s/" % server.address

    def close(done):
        handle = icey.Timer(loop, 60).start()
        handle.on_close += lambda handle: done()
        handle.close()

    def request(done):
        def answered(answer, error):
            assert error is None and answer.status == 200, error
            done()
        client.request("GET", "http://" + url, done=answered)

    def connect(done):
        ws = icey.http.WebSocket.connect(loop, "ws://" + url)
        ws.on_connect += lambda ws: (ws.close(), done())

    return {
        "call_soon": loop.call_soon,
        "call_later": lambda done: loop.call_later(0, done),
        "done of a send": lambda done: near.send(b"x", done),
        "close": close,
        "Client.request": request,
        "WebSocket.connect": connect,
    }, client


def serve(loop):
    def asked(exchange):
        if "upgrade" in exchange.request.headers:
            icey.http.WebSocket.accept(exchange)
        else:
            exchange.respond(200, b"here")

    server = icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += asked
    return server.start()


class Trial:
    """Goes through all operations by the main loop's own callbacks, then idles, then has a slot run the main loop."""

    def __init__(self, kind):
        self.loop = loop = icey.Loop()
        loop.slow_limit = 60.0  # a dialog in a slot holds it
        loop.on_error += self.failed
        self.beside = kind(loop)
        self.host = self.beside.host
        self.turns, self.times = 0, {}
        self.server = serve(loop)
        self.near, self.far = socket.socketpair()
        self.stream = icey.Stream(loop, self.near)
        self.failure = self.dialog = None
        run_once = self.host.turn

        def turn(*args):
            self.turns += 1
            return run_once(*args)

        self.host.turn = turn

    def failed(self, loop, exc, handle):
        self.failure = exc
        self.beside.quit()

    def run(self):
        self.host.start()
        named, self.client = operations(self.loop, self.server, self.stream)
        self.left = [(name, begin) for name, begin in named.items() for _ in range(TIMES)]
        self.beside.later(0.01, self.next)
        self.beside.run()
        if self.failure is not None:
            raise self.failure
        self.host.stop()
        for handle in self.loop.handles:
            handle.abort()
        self.beside.end()
        self.loop.close()
        self.far.close()

    def next(self):
        if not self.left:
            self.client.close()
            self.beside.later(0.2, self.idle)
            return
        name, begin = self.left.pop()
        begun = time.perf_counter()

        def done(*args):
            self.times.setdefault(name, []).append(time.perf_counter() - begun)
            self.beside.later(0.002, self.next)

        begin(done)

    def idle(self):
        self.server.close()  # it looks at its deadlines once a second
        self.loop.call_later(3600, int)
        self.beside.later(0.2, self.count)

    def count(self):
        before = self.turns
        self.beside.later(IDLE, lambda: self.counted(self.turns - before))

    def counted(self, woken):
        self.woken = woken
        if not hasattr(self.beside, "dialog"):
            self.beside.quit()
            return
        seen, spent = [], time.process_time()
        turns = self.turns

        def modal():
            self.loop.call_soon(seen.append, "behind it")
            self.loop.post(seen.append, "posted")
            self.beside.dialog()
            seen.append("closed")
            self.dialog = {"turns": self.turns - turns, "busy": time.process_time() - spent}

        self.loop.call_soon(modal)

        def over():
            self.dialog["seen"] = seen
            self.beside.quit()

        self.beside.later(0.5, over)

    def told(self):
        return {"times": summed_up(self.times), "woken": self.woken,
                "threads": threading.active_count() - 1, "dialog": self.dialog}


def summed_up(times):
    """name -> [the median of its times, what a quarter of them was below]"""
    return {name: [statistics.median(of), sorted(of)[len(of) // 4]] for name, of in times.items()}


def on_a_thread():
    """The same on a ThreadHost: a plain thread begins each, by call()."""
    times, made = {}, {}

    def setup(loop):
        made["server"] = serve(loop)
        made["near"], made["far"] = socket.socketpair()
        made["named"], made["client"] = operations(loop, made["server"], icey.Stream(loop, made["near"]))

    with icey.hosts.ThreadHost(setup) as host:
        for name, begin in made["named"].items():
            for _ in range(TIMES):
                time.sleep(0.002)
                over = threading.Event()
                begun = time.perf_counter()
                host.call(begin, lambda *args, over=over: over.set())
                assert over.wait(20), name
                times.setdefault(name, []).append(time.perf_counter() - begun)
        host.call(made["client"].close)
        host.call(made["server"].close)  # it looks at its deadlines once a second
        time.sleep(0.4)
        turns = []
        real = host.loop.poller.wait
        host.call(setattr, host.loop.poller, "wait", lambda timeout: turns.append(1) or real(timeout))
        time.sleep(0.1)
        before = len(turns)
        time.sleep(IDLE)
        woken = len(turns) - before
    made["far"].close()
    return {"times": summed_up(times), "woken": woken,
            "threads": threading.active_count() - 1, "dialog": None}


def main(kind):
    if kind == "thread":
        told = on_a_thread()
    else:
        trial = Trial({"asyncio": Asyncio, "tk": Tk, "qt": Qt, "glib": GLib, "glib-context": GLibContext}[kind])
        trial.run()
        told = trial.told()
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
