"""What the tests of streamed answers share: a server of feeds, clients that do not read, and what each feed went through.

    feeds = serving(site, ChunkedAdapter, drop="latest")    # a feed for each request, in order
    client = slow(site)                                     # takes a few KiB, then nothing until it is read from
"""
import re

from tests.support.http import narrow

HIGH, LOW = 8192, 2048
NARROW = {"high_water": HIGH, "low_water": LOW}


def serving(site, make, *, limits=NARROW, each=None, **options):
    """Serves with a feed `make(exchange, **options)` for each request; the list they come in. each(feed): called with it."""
    feeds = []

    def slot(exchange):
        narrow(exchange, 2048)
        feed = make(exchange, **options)
        feed.told = []
        feed.on_close += lambda feed: feed.told.append(feed.exchange.answered)
        feeds.append(feed)
        if each is not None:
            each(feed)

    site.serve(slot, limits=limits)
    return feeds


def asking(site, feeds, *args, client=None, **kwargs):
    """(client, its feed): asks, and turns until the feed is there."""
    client = client or site.client()
    before = len(feeds)
    client.ask(*args, **kwargs)
    site.until(lambda: len(feeds) > before)
    return client, feeds[-1]


def slow(site):
    """A client whose kernel takes little."""
    return site.client(receive=2048)


def fill(feed, send, piece=b"x" * 1024, most=100000):
    """Sends until the feed is full: how many pieces that took."""
    for count in range(1, most):
        send(piece)
        if feed.full:
            return count
    raise AssertionError("never full")


def drain(client, feed):
    """Reads until the feed is not full any more: what was read."""
    data = b""
    while feed.full:
        data += client.read(len(client._held) + 1)
    return data


def head_of(client):
    """The fields of the answer's head, lower-case names, as a dict, with "status"; the body is still to be read."""
    lines = client.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")[:-2]
    fields = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines[1:]}
    fields["status"] = int(lines[0].split()[1])
    return fields


def chunk(client):
    """The next chunk of the answer, b"" for the last."""
    line = client.read_until(b"\r\n")
    assert re.fullmatch(rb"[0-9a-f]+\r\n", line), line
    data = client.read(int(line, 16) + 2)
    assert data.endswith(b"\r\n"), data[-20:]
    return data[:-2]


def chunks(client):
    """All that are still to come."""
    found = []
    while True:
        found.append(chunk(client))
        if not found[-1]:
            return found[:-1]
