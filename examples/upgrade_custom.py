r"""A protocol of your own on an HTTP port: the request upgrades, and an adapter takes the connection over, at both ends.

    python3 examples/upgrade_custom.py --port 8000        then open http://127.0.0.1:8000/, and elsewhere:
    printf 'GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: lines-kv\r\n\r\nGET sky\n' | nc 127.0.0.1 8000

The protocol is a store of keys and values, in lines: SET key value, GET key, WATCH key, QUIT. Answers come in the order of the
questions; a CHANGED line may come at any time, for what is watched: that is what HTTP has no word for. The server answers 101
and calls exchange.replace_adapter, the client does the same with its connection in on_headers. What the client has sent behind
its request, without waiting for the 101, reaches the new adapter too. Whoever asks without an upgrade gets a page.
"""
import argparse
import html
import os
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

PROTOCOL = "lines-kv"
LONGEST = 4096


class Lines(icey.Adapter):
    """What both ends have in common: it cuts what comes into lines. Override `on_line(words)`."""

    rest = b""

    def on_data(self, view):
        *lines, self.rest = (self.rest + bytes(view)).split(b"\n")
        if len(self.rest) > LONGEST:
            self.say("ERROR a line is too long")
            self.close()
        for line in lines:
            if not self.stream.closing:
                self.on_line(line.decode("utf-8", "replace").strip().split(" ", 2))

    def on_line(self, words):
        """A line came."""

    def say(self, text):
        if not self.stream.closing:
            self.send(text.encode() + b"\n")


class Store:
    """The keys and values, and who watches which."""

    def __init__(self):
        self.values = {"greeting": "hello"}
        self.watchers = {}

    def answer(self, exchange):
        if exchange.request.headers.get("upgrade", "").lower() != PROTOCOL:
            rows = "".join("<tr><th>%s<td>%s" % (html.escape(key), html.escape(value)) for key, value in self.values.items())
            exchange.respond(200, (PAGE % rows).encode(), "text/html; charset=utf-8")
            return
        exchange.response.status = 101
        exchange.response.headers["Connection"] = "Upgrade"
        exchange.response.headers["Upgrade"] = PROTOCOL
        exchange.send_header()
        exchange.replace_adapter(Session(self))


class Session(Lines):
    """A client at the server."""

    def __init__(self, store):
        self.store = store

    def on_line(self, words):
        verb, store = words[0].upper(), self.store
        if verb == "SET" and len(words) == 3:
            store.values[words[1]] = words[2]
            self.say("OK")
            for watcher in store.watchers.get(words[1], ()):
                watcher.say("CHANGED %s %s" % (words[1], words[2]))
        elif verb == "GET" and len(words) == 2:
            value = store.values.get(words[1])
            self.say("NONE" if value is None else "VALUE " + value)
        elif verb == "WATCH" and len(words) == 2:
            store.watchers.setdefault(words[1], set()).add(self)
            self.say("OK")
        elif verb == "QUIT":
            self.say("BYE")
            self.close()
        else:
            self.say("ERROR what is %r?" % " ".join(words))

    def on_close(self):
        for watchers in self.store.watchers.values():
            watchers.discard(self)


class Client(Lines):
    """The other end: `ask(question)`; answers and changes go to `heard`."""

    def __init__(self, loop, address, ready):
        self.heard, self.ready = [], ready
        conn = icey.http.ClientConnection(loop, "http://%s/" % address,
                                          headers={"Connection": "upgrade", "Upgrade": PROTOCOL})
        conn.on_headers += self.answered
        conn.start()

    def answered(self, conn):
        if conn.response.status != 101 or conn.response.headers.get("upgrade") != PROTOCOL:
            raise RuntimeError("no %s here: %r" % (PROTOCOL, conn.response))
        conn.replace_adapter(self)  # the stream is ours now: self.stream

    def on_attach(self):
        self.ready(self)

    def on_line(self, words):
        self.heard.append(" ".join(words))


def check(loop, server, store):
    def asks(*questions):
        return Client(loop, server.address, lambda client: [client.say(question) for question in questions])

    watcher = asks("WATCH sky", "GET greeting", "GET sky")
    while len(watcher.heard) < 3:
        loop.run_once()
    painter = asks("SET sky deep blue", "GET sky", "JUMP high", "QUIT")
    hasty, raw = bytearray(), icey.TCPSocket(loop)  # one that does not wait for the 101
    raw.on_connect += lambda sock: sock.send(
        b"GET / HTTP/1.1\r\nHost: here\r\nConnection: upgrade\r\nUpgrade: lines-kv\r\n\r\nGET greeting\nQUIT\n")
    raw.on_recv += lambda sock, view: hasty.extend(view)
    raw.connect(server.address)
    while not (raw.closed and painter.stream is not None and painter.stream.closed and len(watcher.heard) == 4):
        loop.run_once()
    assert watcher.heard == ["OK", "VALUE hello", "NONE", "CHANGED sky deep blue"], watcher.heard
    assert painter.heard == ["OK", "VALUE deep blue", "ERROR what is 'JUMP high'?", "BYE"], painter.heard
    assert hasty.startswith(b"HTTP/1.1 101 ") and hasty.endswith(b"\r\n\r\nVALUE hello\nBYE\n"), hasty
    watcher.close()
    while store.watchers["sky"]:
        loop.run_once()
    server.close()
    loop.run()
    print("OK: %s" % ", ".join(watcher.heard + painter.heard))


PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Keys and values</title>
<style>
  :root { color-scheme: light dark; --page: #f6f5f1; --card: #fff; --ink: #1d2327; --soft: #6a737b; --rule: #e3e1da }
  @media (prefers-color-scheme: dark) {
    :root { --page: #14171a; --card: #1c2125; --ink: #e8eaec; --soft: #939ca4; --rule: #2d343a } }
  body { margin: 0 auto; max-width: 40rem; padding: 2.5rem 1.25rem; background: var(--page); color: var(--ink);
         font: 1rem/1.55 system-ui, sans-serif }
  h1 { margin: 0 0 .75rem; font-size: 1.6rem; line-height: 1.2; letter-spacing: -.01em }
  p { color: var(--soft) }
  table { width: 100%%; border-collapse: collapse; background: var(--card); border-radius: .6rem; overflow: hidden }
  th, td { padding: .6rem 1rem; text-align: left; border-bottom: 1px solid var(--rule) }
  tr:last-child > * { border: 0 }
  th { width: 30%%; font-weight: 500; color: var(--soft) }
  code { font-size: .9em; color: var(--ink) }
</style>
<h1>Keys and values</h1>
<table>%s</table>
<p>This is what the store holds, as a page. Programs ask the same port for <code>Upgrade: lines-kv</code> and then speak in
lines: <code>SET key value</code>, <code>GET key</code>, <code>WATCH key</code>, <code>QUIT</code>.</p>
"""


def main():
    options = argparse.ArgumentParser(description="A protocol of its own, by way of an HTTP upgrade.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run clients against it, then exit")
    chosen = options.parse_args()
    store = Store()
    with icey.Loop() as loop:
        server = icey.http.Server(loop, "127.0.0.1", chosen.port).start()
        server.on_request += store.answer
        if chosen.check:
            check(loop, server, store)
        else:
            print("keeping keys and values at http://%s/, Ctrl-C ends it" % server.address, flush=True)
            icey.run(loop, server, inspect=chosen.inspect)


if __name__ == "__main__":
    main()
