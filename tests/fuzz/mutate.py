"""Messages to change, and how they are changed. Standard library only; every choice comes from the generator given."""
from tests.conformance import table

INTERESTING = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\x00", b"\t", b" ", b":", b": ", b",", b";", b"=", b'"', b"\\",
    b"\x7f", b"\x80",
    b"\xa0", b"\xff", b"\x0b", b"\x1f", b"0", b"-1", b"+5", b"0x5", b"5\r\n", b"0\r\n\r\n", b"ffffffffffffffff",
    b"1" * 20,
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n", b"Upgrade: x\r\nConnection: upgrade\r\n",
    b" folded\r\n",
    b"chunked", b"close", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"CONNECT a:1", b"http://a", b"*", b"/", b"%00", b";a=b", b"X:", b"X: \xe9\r\n", b"Content-Length : 5\r\n",
]
LONGEST = 3000


def requests():
    """The seeds that are requests: what the conformance table has of them, unless long."""
    rows = [row[1] for row in table.ACCEPTED + table.REFUSED + table.CUT]
    return [data for data in rows if len(data) < 1000]


def accepted():
    """Requests that are good, and mostly keep the connection."""
    return [row[1] for row in table.ACCEPTED if len(row[1]) < 1000 and row[3]]


def responses():
    """The seeds that are responses."""
    return [row[2] for row in table.RESPONSES if len(row[2]) < 1000]


def mutated(rng, seeds):
    """One of `seeds`, changed in one to four places."""
    random = rng.random
    data = bytearray(seeds[int(random() * len(seeds))])
    for _ in range(1 + int(random() * random() * 5)):
        size = len(data)
        done = int(random() * 10)
        at = int(random() * (size + 1))
        if done < 2 and at < size:
            data[at] ^= 1 << int(random() * 8)
        elif done < 4:
            data[at:at] = INTERESTING[int(random() * len(INTERESTING))]
        elif done == 4:
            piece = INTERESTING[int(random() * len(INTERESTING))]
            data[at:at + len(piece)] = piece
        elif done == 5:
            del data[at:at + 1 + int(random() * 8)]
        elif done == 6:  # a slice again, here or elsewhere
            end = at + int(random() * random() * 80)
            there = int(random() * (size + 1))
            data[there:there] = data[at:end]
        elif done == 7:  # a line moved, repeated or dropped
            lines = data.split(b"\r\n")
            here = int(random() * len(lines))
            line = lines[here]
            if random() < 0.5:
                del lines[here]
            if random() < 0.7:
                lines.insert(int(random() * (len(lines) + 1)), line)
            data = bytearray(b"\r\n".join(lines))
        elif done == 8:  # two messages spliced
            other = seeds[int(random() * len(seeds))]
            data[at:] = other[int(random() * len(other)):]
        elif random() < 0.2:
            data[at:at] = bytes([int(random() * 256)]) * int(random() * 600)
        else:
            data[at:] = data[at:].swapcase() if random() < 0.5 else b""
    return bytes(data[:LONGEST])
