"""A chat over WebSocket: what is said goes to all guests by one broadcast, and who does not keep up is shown out.

    python3 examples/chat_ws.py --port 8000        then open http://127.0.0.1:8000/ in a few windows

http.broadcast makes the frame of a message once, and all guests are sent the same memory. With PATIENCE bytes waiting for one
guest, that one is closed with 1013, "try again later" (slow="close"), and the others do not notice: a guest who sleeps costs
no more memory than that.

Messages are JSON, in text: {"kind": "said", "name": "Ada", "text": "hello"}; other kinds are joined, left, renamed, told.
/nick NAME changes a name. The page is pages/chat.html.

--check is four guests: two talk, one takes another's name in vain, and one never reads.
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

HERE = os.path.dirname(os.path.abspath(__file__))
PAGES = icey.http.StaticFiles(os.path.join(HERE, "pages"), index="chat.html", listing=False)
PATIENCE = 64 << 10  # bytes queued for a guest
LONGEST = 2000  # characters of a message


class Room:
    def __init__(self, server):
        self.guests = {}  # name: WebSocket
        self.limits = icey.Limits(high_water=PATIENCE, max_message=8 * LONGEST)
        server.on_request += self.answer

    def answer(self, exchange):
        if exchange.request.path == "/chat":
            here = "http://" + exchange.request.host, None  # pages of other sites are not to speak for their visitors
            self.welcome(icey.http.WebSocket.accept(exchange, limits=self.limits, origins=lambda origin: origin in here))
        else:
            PAGES(exchange)

    def welcome(self, ws):
        name = next(name for name in map("guest {}".format, range(1, 1 << 30)) if name not in self.guests)
        self.guests[name] = ws
        ws.on_message += self.heard
        ws.on_close += self.left
        ws.send(message("told", name=name, text="Hello! Change your name with /nick NAME", names=sorted(self.guests)))
        self.say("joined", name=name, names=sorted(self.guests))

    def say(self, kind, **more):
        icey.http.broadcast(self.guests.values(), message(kind, **more), slow="close")

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


def main():
    options = argparse.ArgumentParser(description="A chat over WebSocket.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run guests against it, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        server = icey.http.Server(loop, "127.0.0.1", chosen.port).start()
        room = Room(server)
        if chosen.check:
            check(loop, server, room)
        else:
            print("talking at http://%s/, Ctrl-C ends it" % server.address, flush=True)
            icey.run(loop, server, inspect=chosen.inspect)


if __name__ == "__main__":
    main()
