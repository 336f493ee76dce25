"""icey inside Tk: a button that fetches a URL, a bar that shows how much has come, and a server that says who asked.

    python3 examples/embed_tk.py [--port 8000]      then, elsewhere: curl http://127.0.0.1:8000/good/morning

A TkHost has Tk's main loop drive the icey.Loop: Tk waits for its descriptor and for one timer, nothing is polled, and slots may
touch widgets, because they run on Tk's thread. It ends with its window. --check presses the button (without a screen it says
so, and proves nothing).
"""
import argparse
import os
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey
from icey.tools.inspect import Inspector


class Window:
    def __init__(self, tkinter, loop, port):
        self.root = tkinter.Tk()
        self.root.title("icey inside Tk")
        self.label = tkinter.Label(self.root, text="nobody has asked yet", padx=40, pady=20)
        self.url = tkinter.Entry(self.root, width=50)
        self.button = tkinter.Button(self.root, text="Fetch", command=self.fetch)
        self.bar = tkinter.ttk.Progressbar(self.root, length=300)
        for widget in (self.label, self.url, self.button, self.bar):
            widget.pack(padx=10, pady=5)
        self.host = icey.hosts.TkHost(loop, self.root).start()
        self.client = icey.http.Client(loop)
        self.server = icey.http.Server(loop, "127.0.0.1", port)
        self.server.on_request += self.asked
        self.server.start()
        self.url.insert(0, "http://%s/good/morning" % self.server.address)

    def asked(self, exchange):
        self.label["text"] = exchange.request.path
        exchange.respond(200, b"It is in the window\n" * 50000, "text/plain; charset=utf-8")

    def fetch(self):
        """The button: nothing waits here, what comes of it is told by calls."""
        self.button["state"] = "disabled"
        try:
            call = self.client.request("GET", self.url.get(), done=self.done)
        except ValueError as error:  # no URL
            self.done(None, error)
        else:
            call.on_progress += self.progress

    def progress(self, call, received, total):  # total: None where the server does not say
        self.bar.configure(maximum=total or received, value=received)

    def done(self, answer, error):
        self.button["state"] = "normal"
        self.label["text"] = error or "%d %s, %d bytes" % (answer.status, answer.reason, len(answer.body))

    def close(self):
        self.client.close()
        self.server.close()


def check(loop, window):
    seen, values = [], []

    def look():
        if window.label["text"] not in seen[-1:]:
            seen.append(window.label["text"])
        values.append(window.bar["value"])
        if len(seen) == 3:
            window.root.destroy()
        else:
            window.root.after(0, look)

    window.root.after(10, look)
    window.root.after(20, window.button.invoke)
    window.root.mainloop()
    assert seen == ["nobody has asked yet", "/good/morning", "200 OK, 1000000 bytes"], seen
    assert values == sorted(values) and values[0] == 0 and values[-1] == 1000000, values
    assert not window.host.started  # it ended with its window; the loop goes on by itself
    window.close()
    loop.run()
    print("OK: fetched by a button of Tk's, shown as it came")


def main():
    options = argparse.ArgumentParser(description="A window with an HTTP client and a server inside.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", type=int, help="show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run a client against it, then exit")
    chosen = options.parse_args()
    try:
        import tkinter
        import tkinter.ttk

        tkinter.Tk().destroy()
    except Exception as exc:  # ImportError, or TclError: no display
        print("nothing to show here: %s" % exc)
        return
    with icey.Loop() as loop:
        if chosen.inspect is not None:
            print("see it at %s" % Inspector(loop, port=chosen.inspect).url, flush=True)
        window = Window(tkinter, loop, chosen.port)
        if chosen.check:
            check(loop, window)
        else:
            print("the window shows what is asked for at http://%s/" % window.server.address)
            window.root.mainloop()
            window.close()
            for handle in loop.handles:  # the inspector, if there is one
                handle.close()
            loop.run()


if __name__ == "__main__":
    main()
