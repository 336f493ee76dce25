"""A chat over WebSocket: a room is a PacketStream, each guest is a sink on it, and who does not keep up is shown out.

    python3 examples/chat_ws.py --port 8000        then open http://127.0.0.1:8000/ in a few windows

What a guest says is one packet, written to the room once; a WebSocketSink for each guest follows the room and sends it on.
With more than PATIENCE bytes waiting for one guest, that one is closed with 1013, "try again later", and the others do not
notice: a guest who sleeps costs no more memory than that. When a guest leaves, the sink is let go by itself.

Messages are JSON, in text: {"kind": "said", "name": "Ada", "text": "hello"}; other kinds are joined, left, renamed, told.
/nick NAME changes a name. --check is four guests: two talk, one takes another's name in vain, and one never reads.
"""
import argparse
import json
import os
import socket
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

PATIENCE = 64 << 10  # bytes queued for a guest
LONGEST = 2000  # characters of a message


class Room:
    def __init__(self, server):
        self.guests = {}  # name: WebSocket
        self.stream = icey.PacketStream("room")
        self.stream.start()
        self.limits = icey.Limits(high_water=PATIENCE, max_message=8 * LONGEST)
        server.on_request += self.answer
        server.on_close += lambda server: self.stream.close()

    def answer(self, exchange):
        if exchange.request.path == "/chat":
            here = "http://" + exchange.request.host, None  # pages of other sites are not to speak for their visitors
            self.welcome(icey.http.WebSocket.accept(exchange, limits=self.limits, origins=lambda origin: origin in here))
        elif exchange.request.path == "/":
            exchange.respond(200, PAGE.encode(), "text/html; charset=utf-8")
        else:
            exchange.respond(404, b"not found\n", "text/plain")

    def welcome(self, ws):
        name = next(name for name in map("guest {}".format, range(1, 1 << 30)) if name not in self.guests)
        self.guests[name] = ws
        icey.http.WebSocketSink(ws, drop="close").follow(self.stream)
        ws.on_message += self.heard
        ws.on_close += self.left
        ws.send(message("told", name=name, text="Hello! Change your name with /nick NAME", names=sorted(self.guests)))
        self.say("joined", name=name, names=sorted(self.guests))

    def say(self, kind, **more):
        self.stream.write(icey.RawPacket(message(kind, **more).encode(), icey.PacketFlags.TEXT))

    def heard(self, ws, data):
        name = self.name_of(ws)
        if not isinstance(data, str):
            ws.close(1003, "this is a chat in text")
        elif data.startswith("/nick "):
            self.rename(ws, name, data[6:].strip()[:24])
        elif data.strip():
            self.say("said", name=name, text=data[:LONGEST])

    def rename(self, ws, old, new):
        if not new or new in self.guests:
            ws.send(message("told", name=old, text="This name is taken" if new else "A name has a letter or more"))
        else:
            del self.guests[old]
            self.guests[new] = ws
            self.say("renamed", old=old, name=new, names=sorted(self.guests))

    def left(self, ws, code, reason):
        name = self.name_of(ws)
        del self.guests[name]
        if self.stream.active:
            self.say("left", name=name, names=sorted(self.guests))

    def name_of(self, ws):
        return next(name for name, guest in self.guests.items() if guest is ws)


def message(kind, **more):
    return json.dumps(dict(more, kind=kind))


def check(loop, server, room):
    def enter():
        ws = icey.http.WebSocket.connect(loop, "ws://%s/chat" % server.address, compression=False)
        ws_heard[ws] = []
        ws.on_message += lambda ws, data: ws_heard[ws].append(json.loads(data))
        ws.on_close += lambda ws, code, reason: closed.append((ws, code, reason))
        until(lambda: ws_heard[ws])
        return ws

    def until(met):
        while not met():
            loop.run_once()

    def heard(ws, kind, key="text"):
        return [one[key] for one in ws_heard[ws] if one["kind"] == kind]

    ws_heard, closed = {}, []
    ada, bob, eve = enter(), enter(), enter()
    ada.send("/nick Ada")
    bob.send("/nick Bob")
    until(lambda: len(heard(eve, "renamed", "name")) == 2)
    eve.send("/nick Ada")
    until(lambda: "This name is taken" in heard(eve, "told"))
    sleepy = enter()
    sleepy.pause()  # never reads again
    slow = room.guests[heard(sleepy, "told", "name")[0]]  # the server's end of it
    slow.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # a kernel that takes little, to see the rest
    said = most = 0
    while not slow.closing:
        for speaker in (ada, bob):
            speaker.send("%d %s" % (said, "x" * 1900))
            said += 1
        until(lambda so_far=said: len(heard(eve, "said")) == so_far)
        most = max(most, slow.queued)
    ada.send("still here")
    until(lambda: all(len(heard(ws, "said")) == said + 1 for ws in (ada, bob, eve)))
    assert sorted(int(text.split()[0]) for text in heard(eve, "said")[:-1]) == list(range(said))
    assert heard(ada, "said") == heard(bob, "said") == heard(eve, "said"), "one order for all"
    assert heard(ada, "said", "name")[-1] == "Ada" and most < PATIENCE + 8192
    sleepy.resume()  # wakes up, and finds what was left for it
    until(lambda: sleepy.closed)
    assert (sleepy, 1013, "this client reads too slowly") in closed, closed
    assert len(heard(sleepy, "said")) < said
    bob.close()
    until(lambda: "Bob" in heard(ada, "left", "name"))
    server.stop(drain=5)
    loop.run()
    assert sorted(code for ws, code, _ in closed if ws in (ada, eve)) == [1001, 1001]
    print("OK: %d messages for those who read, never more than %d KiB for the one who did not" % (said + 1, most >> 10))


PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Chat</title>
<style>
  :root { color-scheme: light dark; --page: #f6f5f1; --card: #fff; --ink: #1d2327; --soft: #6a737b; --rule: #e3e1da;
          --mine: #dfe9fb; --accent: #2563c9; --light: 36% }
  @media (prefers-color-scheme: dark) {
    :root { --page: #14171a; --card: #1c2125; --ink: #e8eaec; --soft: #939ca4; --rule: #2d343a; --mine: #22344f;
            --accent: #6ea8fe; --light: 72% } }
  * { box-sizing: border-box }
  body { display: grid; grid-template-rows: auto 1fr auto; margin: 0 auto; max-width: 46rem; height: 100vh; height: 100dvh;
         padding: 1rem 1.25rem; gap: .75rem; background: var(--page); color: var(--ink); font: 1rem/1.45 system-ui, sans-serif }
  header { display: flex; justify-content: space-between; align-items: baseline; gap: 1rem; padding: .25rem 0 .75rem;
           border-bottom: 1px solid var(--rule) }
  h1 { margin: 0; font-size: 1.25rem; letter-spacing: -.01em }
  #names { font-size: .875rem; color: var(--soft); text-align: right }
  ol { display: flex; flex-direction: column; gap: .35rem; margin: 0; padding: 0; overflow-y: auto; list-style: none }
  ol::before { content: ""; flex: 1 }
  li { max-width: 80%; align-self: flex-start; padding: .45rem .8rem; background: var(--card); border: 1px solid var(--rule);
       border-radius: .8rem .8rem .8rem .2rem; overflow-wrap: anywhere; white-space: pre-wrap }
  li.mine { align-self: flex-end; background: var(--mine); border-color: transparent; border-radius: .8rem .8rem .2rem .8rem }
  li.note { align-self: center; max-width: 100%; padding: .1rem .5rem; border: 0; background: none; font-size: .8125rem;
            color: var(--soft) }
  li b { display: block; font-size: .8125rem; font-weight: 600 }
  form { display: flex; gap: .5rem; padding-bottom: .25rem }
  input, button { font: inherit; padding: .6rem .9rem; border: 1px solid var(--rule); border-radius: .6rem;
                  background: var(--card); color: var(--ink) }
  input { flex: 1; min-width: 0 }
  input:focus { outline: 2px solid var(--accent); outline-offset: -1px }
  button { background: var(--accent); border-color: transparent; color: var(--page); font-weight: 600; cursor: pointer }
  :disabled { opacity: .5 }
</style>
<header><h1>Chat</h1><div id="names"></div></header>
<ol aria-live="polite"></ol>
<form><input autocomplete="off" autofocus maxlength="2000" aria-label="Message" placeholder="Say something">
<button>Send</button></form>
<script>
const list = document.querySelector("ol"), form = document.querySelector("form"), [input, button] = form.elements;
let me = "", socket, wait = 1;
function add(text, kind, name) {
  const item = document.createElement("li");
  item.className = kind;
  if (name) {
    const who = item.appendChild(document.createElement("b"));
    who.textContent = name;
    let hue = 0;
    for (const letter of name) hue = (hue * 7 + letter.codePointAt(0) * 53) % 360;
    who.style.color = `hsl(${hue} 60% var(--light))`;
  }
  item.append(text);
  const end = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(item);
  if (end) list.scrollTop = list.scrollHeight;
}
const react = {
  said: one => add(one.text, one.name === me ? "mine" : "", one.name === me ? "" : one.name),
  told: one => { me = one.name; add(one.text, "note") },
  joined: one => add(one.name === me ? `You are ${me}` : `${one.name} joined`, "note"),
  left: one => add(`${one.name} left`, "note"),
  renamed: one => { if (one.old === me) me = one.name; add(`${one.old} is now ${one.name}`, "note") },
};
function connect() {
  socket = new WebSocket(location.origin.replace("http", "ws") + "/chat");
  socket.onopen = () => { wait = 1; button.disabled = false };
  socket.onmessage = event => {
    const one = JSON.parse(event.data);
    react[one.kind](one);
    if (one.names) document.getElementById("names").textContent = one.names.join(", ");
  };
  socket.onclose = event => {
    button.disabled = true;
    add(`The connection is gone (${event.code}${event.reason ? ": " + event.reason : ""}); trying again`, "note");
    setTimeout(connect, 1000 * wait);
    wait = Math.min(2 * wait, 30);
  };
}
button.disabled = true;
form.onsubmit = event => {
  event.preventDefault();
  if (input.value.trim() && socket.readyState === 1) { socket.send(input.value); input.value = "" }
};
addEventListener("pagehide", () => socket.close());  // else a page that is kept for "back" stays in the room; it reconnects
connect();
</script>
"""


def main():
    options = argparse.ArgumentParser(description="A chat over WebSocket.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--check", action="store_true", help="run guests against it, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        server = icey.http.Server(loop, "127.0.0.1", chosen.port).start()
        room = Room(server)
        if chosen.check:
            check(loop, server, room)
        else:
            print("talking at http://%s/, Ctrl-C ends it" % server.address, flush=True)
            icey.run(loop, server)


if __name__ == "__main__":
    main()
