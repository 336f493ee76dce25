"""What the WebSocket tests and fuzzers share: frames written and read by hand, records of what a core tells, frames to cut.

    frame(TEXT, b"Hello")                            b"\\x81\\x05Hello"
    frame(TEXT, b"Hello", key=KEY)                   the same, masked
    record(b"\\x81\\x05Hello", client=True)           [("text", "Hello")]
    record([b"\\x81\\x05He", b"llo"], client=True)     the same record
    script(rng, 300, key=KEY)                        a connection's worth of frames

A record is the same for the same frames however they came: the pieces of a message told piece by piece are joined, and an error
is its last entry, ("error", close code).

Rules: standard library only, since the fuzzers run without anything installed; `zlib` only where it is there.
"""
import itertools
import operator
import struct

from icey.base.errors import WebSocketError
from icey.http.websocket.frames import WebSocketCore

try:
    import zlib
except ImportError:
    zlib = None

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = b"\x37\xfa\x21\x3d"
WORDS = ["", "x", "Hello", "Κόσμε", "\U0001f40d", "ß" * 63, "a long text, " * 11, "\u20ac" * 400, "0123456789" * 30]


class Stuck(Exception):
    """A core that was not held used nothing of its input."""


# frames, by hand

def masked(data, key):
    """Byte by byte, so that nothing of icey's is measured by itself."""
    return bytes(map(operator.xor, data, itertools.cycle(key)))


def frame(opcode, payload=b"", *, key=None, fin=True, rsv=0, length=None):
    """One frame. rsv: 4, 2, 1 for RSV1, RSV2, RSV3; length: what the head says, as (value, bytes it is written in: 0, 2, 8)."""
    size, width = length or (len(payload), 0 if len(payload) < 126 else 2 if len(payload) < 65536 else 8)
    mask = 0x80 if key is not None else 0
    head = bytes([fin << 7 | rsv << 4 | opcode, mask | {0: size & 0x7F, 2: 126, 8: 127}[width]])
    if width:
        head += struct.pack(">H" if width == 2 else ">Q", size)
    return head + (payload if key is None else key + masked(payload, key))


def closing(code=None, reason=b"", *, key=None):
    """A close frame."""
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason, key=key)


def pieces_of(opcode, *payloads, key=None, rsv=0):
    """A message in fragments."""
    last = len(payloads) - 1
    return b"".join(frame(CONTINUATION if index else opcode, payload, key=key, fin=index == last, rsv=0 if index else rsv)
                    for index, payload in enumerate(payloads))


def read_frames(data):
    """[(fin, rsv, opcode, payload, whether it was masked)] of bytes that are whole frames."""
    found = []
    while data:
        size, at = data[1] & 0x7F, 2
        if size > 125:
            at = 4 if size == 126 else 10
            size = int.from_bytes(data[2:at], "big")
        key = data[at:at + 4] if data[1] & 0x80 else None
        at += 4 if key is not None else 0
        payload = data[at:at + size]
        assert len(payload) == size, "half a frame: %r" % (data[:20],)
        found.append((data[0] >> 7, data[0] >> 4 & 7, data[0] & 15, masked(payload, key) if key else payload, key is not None))
        data = data[at + size:]
    return found


def packed(data, packer=None, bits=15):
    """The payload of a compressed message."""
    packer = packer or zlib.compressobj(wbits=-bits)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


# records

class Recorder:
    """The observer of a core; `events` is the record. hold: called after each event, True holds the core."""

    def __init__(self, hold=None):
        self.events = []
        self.core = None
        self._hold = hold
        self._pieces = None

    def on_text(self, data):
        assert type(data) is str
        self._note("text", data)

    def on_binary(self, data):
        assert type(data) is bytes
        self._note("binary", data)

    def on_piece(self, data, final):
        if self._pieces is None:
            self._pieces = []
        assert bool(data) is not final, "a piece is empty when it is the last one, and only then"
        self._pieces.append(data)
        if final:
            whole, self._pieces = type(data)().join(self._pieces), None
            self._note("text" if type(whole) is str else "binary", whole)

    def on_ping(self, data):
        self._note("ping", data)

    def on_pong(self, data):
        self._note("pong", data)

    def on_closing(self, code, reason):
        self._note("closing", code, reason)

    def _note(self, *event):
        self.events.append(event)
        if self._hold is not None and self._hold():
            self.core.held = True


def core_for(recorder, *, client=False, pieces=False, **options):
    """A core that tells `recorder`."""
    core = recorder.core = WebSocketCore(recorder, client=client, **options)
    core.pieces = pieces
    return core


def feed(recorder, pieces):
    """Feeds all of `pieces` to the recorder's core, again what it was held from; returns the record."""
    core, events = recorder.core, recorder.events
    try:
        for piece in pieces:
            while piece and not core.closed_in:
                core.held = False
                used = core.feed(piece)
                if not used and not core.held and not core.closed_in:
                    raise Stuck("nothing was used of %r" % piece[:20])
                piece = piece[used:]
    except WebSocketError as exc:
        assert core.closed_in
        events.append(("error", exc.close_code))
    return events


def record(data, *, hold=None, **options):
    """What a fresh core tells of `data` (bytes, or a sequence of them)."""
    recorder = Recorder(hold)
    core_for(recorder, **options)
    return feed(recorder, [data] if isinstance(data, bytes) else data)


# ways to cut

def bytewise(data):
    """Byte by byte."""
    return [data[i:i + 1] for i in range(len(data))]


def random_cuts(rng, data, most=6):
    """Cut at up to `most` random places."""
    edges = sorted([0, len(data), *(rng.randrange(len(data) + 1) for _ in range(rng.randrange(most + 1)))])
    return [data[a:b] for a, b in zip(edges, edges[1:]) if a < b]


def split_everywhere(made, **options):
    """Splits a connection's frames in two at every byte; AssertionError where that makes a difference. Returns the record.

    One core gets them one by one. For each place a copy of it gets the frame around that place in two pieces: it tells the
    same, and is left in the same state, so that whatever follows is the same as well.
    """
    recorder = Recorder()
    core = core_for(recorder, **options)
    for data in made:
        copies = []
        for _ in data[1:]:
            copy = Recorder()
            copy._pieces = None if recorder._pieces is None else list(recorder._pieces)
            copied_core(core, copy)
            copies.append(copy)
        before = len(recorder.events)
        feed(recorder, [data])
        after = state(core)
        for at, copy in enumerate(copies, 1):
            told = feed(copy, [data[:at], data[at:]])
            if told != recorder.events[before:] or state(copy.core) != after:  # no assert: -O takes those away
                raise AssertionError("split at %d, %r tells %r" % (at, data, told))
    return recorder.events


def copied_core(core, recorder):
    """A core in the same state, that tells `recorder`."""
    made = recorder.core = WebSocketCore.__new__(WebSocketCore)
    for name in WebSocketCore.__slots__:
        setattr(made, name, copied(getattr(core, name)))
    made.observer = recorder


def copied(value):
    """A copy of what a core has in a slot, where that can change."""
    if isinstance(value, list):
        return list(value)
    if hasattr(value, "getstate"):
        made = type(value)()
        made.setstate(value.getstate())
        return made
    if hasattr(value, "unpack"):
        made = type(value).__new__(type(value))
        for name in type(value).__slots__:
            part = getattr(value, name)
            setattr(made, name, part.copy() if hasattr(part, "copy") else part)
        return made
    return value


def state(core):
    """What makes a core go on as it does, between two frames."""
    found = []
    anew = {"observer", "_key", "_final", "_joined"}  # the next frame's to set, and what is the same however it is
    if not core._opcode:
        anew |= {"_packed", "_by_pieces", "_empty", "_size"}  # the next message's
    for name in WebSocketCore.__slots__:
        value = getattr(core, name)
        if hasattr(value, "unpack"):
            value = (value._begun, value._unpacker is None)
        elif name == "_store" and value:
            value = value[0][:0].join(value)
        elif hasattr(value, "getstate"):
            value = value.getstate()
        if name not in anew:
            found.append((name, value))
    return found


# what to cut

def script(rng, count, *, key=None, packer=None, most=2000):
    """(frames, events): `count` messages and control frames, some messages in fragments with control frames in between.

    packer: a zlib.compressobj; some of the messages are then compressed. most: bytes of a word that texts are made of.
    """
    frames, events = [], []
    words = [word for word in WORDS if len(word.encode()) < most]
    for _ in range(count):
        kind = rng.random()
        if kind < 0.2:
            frames.append(control(rng, events, key))
            continue
        opcode = rng.choice((TEXT, BINARY))
        text = "".join(rng.choice(words) for _ in range(rng.randrange(4)))
        payload = text.encode() if opcode == TEXT else bytes(rng.randrange(256) for _ in range(rng.randrange(min(most, 300))))
        event = ("text", text) if opcode == TEXT else ("binary", payload)
        rsv = 0
        if packer is not None and rng.random() < 0.6:
            payload, rsv = packed(payload, packer), 4
        if rng.random() < 0.6:
            frames.append(frame(opcode, payload, key=key, rsv=rsv))
        else:
            parts = random_cuts(rng, payload, 4) or [b""]
            if rng.random() < 0.3:
                parts.insert(rng.randrange(len(parts) + 1), b"")
            for index, part in enumerate(parts):
                if index and rng.random() < 0.3:
                    frames.append(control(rng, events, key))
                fin = index == len(parts) - 1
                frames.append(frame(0 if index else opcode, part, key=key, fin=fin, rsv=0 if index else rsv))
        events.append(event)
    return frames, events


def control(rng, events, key):
    """A ping or a pong, noted."""
    opcode, data = rng.choice((PING, PONG)), bytes(rng.randrange(256) for _ in range(rng.choice((0, 1, 4, 125))))
    events.append(("ping" if opcode == PING else "pong", data))
    return frame(opcode, data, key=key)
