"""What is on this network? The search of UPnP (SSDP), by transactions: questions that are asked again until they are answered.

    python3 examples/ssdp.py [--target ssdp:all]       searches the networks that this machine is on
    python3 examples/ssdp.py 192.0.2.7                 asks one device alone

A datagram may be lost, the question as well as the answer, so whoever asks has to ask again. `Transaction` does that: it sends,
waits, sends again, and calls `done` once, with the answer or with a Deadline. Which datagram is the answer, `match` says:

- One question, one answer (`ask`): `match` says True, and it is over. UPnP 1.1 has that as the unicast search; DNS and STUN are
  of this kind.
- One question to a group, and nobody knows how many will answer (`search`): `match` keeps what is new and says False, so it
  goes on. Here the Deadline is no failure: it is the end of the search.

A search goes out of one interface. `icey.interfaces()` knows which ones there are.

--check plays a device on loopback. The device does not hear the first question, so that there is one to ask again.
"""
import argparse
import os
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

GROUP = icey.Address("239.255.255.250", 1900)


def question(address, target, seconds=None):
    lines = ["M-SEARCH * HTTP/1.1", "HOST: %s" % address, 'MAN: "ssdp:discover"', "ST: %s" % target]
    if seconds is not None:
        lines.append("MX: %d" % seconds)  # answers are spread over so many seconds, for they all come to one socket
    return "\r\n".join(lines + ["", ""]).encode()


def fields(view):
    """The header fields of an answer, which is a head of HTTP without a body; None for what is no answer."""
    first, *lines = bytes(view).decode("utf-8", "replace").split("\r\n")
    if not first.startswith("HTTP/1.1 200"):
        return None
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def search(udp, group, target, found, over, timeout=2.0):
    """Calls found(sender, fields) for each answer, each once, then over()."""
    seen = set()

    def match(view, sender):
        answer = fields(view)
        if answer is not None and answer.get("usn") not in seen:
            seen.add(answer.get("usn"))
            found(sender, answer)
        return False  # there may be more

    return icey.Transaction(udp, question(group, target, 1), group, match=match, timeout=timeout, retries=1,
                            done=lambda view, error: over())


def ask(udp, address, target, done):
    """Calls done(fields, None) with the answer of the device there, or done(None, error)."""
    def match(view, sender):
        return sender == address and fields(view) is not None

    return icey.Transaction(udp, question(address, target), address, match=match, timeout=0.25,
                            done=lambda view, error: done(None if view is None else fields(view), error))


def ways_out():
    """An IPv4 address of each network that may carry groups."""
    return [host for one in icey.interfaces() if one.up is not False and one.multicast is not False
            for host, _ in one.addresses if ":" not in host and not host.startswith("127.")]


def shown(sender, answer):
    print("%-21s %s %s" % (sender, answer.get("server", "?"), answer.get("location", "")))


def search_all(loop, target):
    for host in ways_out():
        udp = icey.UDPSocket(loop)
        udp.bind((host, 0))
        udp.set_multicast(ttl=2, interface=host)
        search(udp, GROUP, target, shown, udp.close)
    loop.run()


def ask_one(loop, host, target):
    def done(answer, error):
        if error is None:
            shown(address, answer)
        else:
            print(error)
        udp.close()

    address, udp = icey.Address(host, GROUP.port), icey.UDPSocket(loop)
    ask(udp, address, target, done)
    loop.run()


ANSWER = (b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\nLOCATION: http://127.0.0.1:1/description.xml\r\n"
          b"SERVER: none/0 UPnP/1.1 example/1\r\nST: upnp:rootdevice\r\nUSN: uuid:0::upnp:rootdevice\r\n\r\n")


def check(loop):
    heard = []

    def device(sock, view, sender):
        heard.append(bytes(view))
        if len(heard) > 1:  # a datagram may be lost
            for _ in range(2):  # devices answer more than once, for the same reason
                sock.send(ANSWER, sender)

    def answered(answer, error):
        assert error is None and answer["usn"] == "uuid:0::upnp:rootdevice", error
        assert len(heard) == 2 and heard[0] == heard[1]
        found.append("one answer to %d questions" % len(heard))
        del heard[:]
        search(client, group, "upnp:rootdevice", lambda sender, answer: found.append(answer["st"]), over, timeout=0.1)

    def over():
        server.close()
        client.close()

    found = []
    server, client = icey.UDPSocket(loop), icey.UDPSocket(loop)
    server.bind(("", 0))
    server.on_recv += device
    client.bind(("127.0.0.1", 0))
    assert server.local is not None  # it is bound
    address, group = icey.Address("127.0.0.1", server.local.port), icey.Address(GROUP.host, server.local.port)
    try:
        server.join_group(group, "127.0.0.1")
        client.set_multicast(ttl=0, interface="127.0.0.1")
    except OSError as exc:  # no loopback interface carries groups here: the search goes to the device alone
        print("no multicast here:", exc)
        group = address
    ask(client, address, "upnp:rootdevice", answered)
    loop.run()
    assert found == ["one answer to 2 questions", "upnp:rootdevice"], found
    print("OK: %s; the search of %s found it once" % (found[0], group))


def main():
    options = argparse.ArgumentParser(description="Searches for UPnP devices.")
    options.add_argument("host", nargs="?", help="the address of one device to ask (default: all)")
    options.add_argument("--target", default="upnp:rootdevice", help="what to search for (default: %(default)s)")
    options.add_argument("--check", action="store_true", help="play a device, find it, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        if chosen.check:
            check(loop)
        elif chosen.host:
            ask_one(loop, chosen.host, chosen.target)
        else:
            search_all(loop, chosen.target)


if __name__ == "__main__":
    main()
