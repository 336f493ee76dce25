"""WebSocketCore: what comes in. Literal bytes in, events out; RFC 6455."""
import random

import pytest

from icey import StateError, WebSocketError
from icey.http.websocket.frames import MOST_EMPTY, MessageObserver, WebSocketCore
from tests.fuzz import frames
from tests.fuzz.frames import BINARY, CONTINUATION, KEY, PING, PONG, TEXT, frame, record
from tests.support import seeds

ROLES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


def key_for(client):
    """What the peer of this role masks with."""
    return None if client else KEY


@pytest.mark.parametrize("client, wire, events", [
    # section 5.7
    (True, "81 05 48 65 6c 6c 6f", [("text", "Hello")]),
    (False, "81 85 37 fa 21 3d 7f 9f 4d 51 58", [("text", "Hello")]),
    (True, "01 03 48 65 6c  80 02 6c 6f", [("text", "Hello")]),
    (True, "89 05 48 65 6c 6c 6f", [("ping", b"Hello")]),
    (False, "8a 85 37 fa 21 3d 7f 9f 4d 51 58", [("pong", b"Hello")]),
    # nothing in it
    (True, "81 00", [("text", "")]),
    (True, "82 00", [("binary", b"")]),
    (False, "82 80 00 00 00 00", [("binary", b"")]),
    (True, "01 00 00 00 80 00", [("text", "")]),
    (True, "89 00 8a 00", [("ping", b""), ("pong", b"")]),
    (True, "88 00", [("closing", 1005, "")]),
    # in fragments
    (True, "02 01 00  00 01 01  00 00  80 01 02", [("binary", b"\0\1\2")]),
    (True, "01 01 48  89 01 21  80 01 69", [("ping", b"!"), ("text", "Hi")]),
    (True, "01 01 48  8a 00  89 00  00 00  8a 00  80 01 69", [("pong", b""), ("ping", b""), ("pong", b""), ("text", "Hi")]),
    (True, "01 01 48  88 02 03 e8  80 01 69", [("closing", 1000, "")]),
    # the close frame ends it
    (True, "88 02 03 e8  81 01 61", [("closing", 1000, "")]),
    (True, "81 01 61  88 05 03 e9 62 79 65", [("text", "a"), ("closing", 1001, "bye")]),
])
def test_valid(client, wire, events):
    wire = bytes.fromhex(wire)
    assert record(wire, client=client) == events
    for step in (1, 3):
        assert record([wire[at:at + step] for at in range(0, len(wire), step)], client=client) == events


@pytest.mark.parametrize("head, size", [("82 7e 01 00", 256), ("82 7e 00 7e", 126), ("82 7e ff ff", 65535),
                                        ("82 7f 00 00 00 00 00 01 00 00", 65536)])
def test_extended_lengths(head, size):
    assert record(bytes.fromhex(head) + bytes(size), client=True) == [("binary", bytes(size))]


LENGTHS = [0, 1, 124, 125, 126, 127, 128, 255, 256, 1023, 1024, 1025, 65534, 65535, 65536, 65537, 200000]


@ROLES
@pytest.mark.parametrize("size", LENGTHS)
def test_every_length_whole_and_in_halves(client, size):
    key = key_for(client)
    payload = bytes(index & 0x7F for index in range(size))
    for opcode, event in ((BINARY, ("binary", payload)), (TEXT, ("text", payload.decode()))):
        wire = frame(opcode, payload, key=key)
        ping = frame(PING, b"?", key=key)
        assert record(wire + ping, client=client) == [event, ("ping", b"?")]
        for at in {1, 2, 3, 4, 7, 9, 11, 13, len(wire) // 2, len(wire) - 1}:
            assert record([wire[:at], wire[at:] + ping], client=client) == [event, ("ping", b"?")]


@ROLES
@pytest.mark.parametrize("size", LENGTHS)
def test_the_same_piece_by_piece(client, size):
    payload = bytes(index & 0x7F for index in range(size))
    wire = frame(BINARY, payload, key=key_for(client)) + frame(TEXT, payload, key=key_for(client))
    events = [("binary", payload), ("text", payload.decode())]
    assert record(wire, client=client, pieces=True) == events
    assert record([wire[:-size // 2], wire[-size // 2:]], client=client, pieces=True) == events


# what is refused: the events before it are told, and then it is final

REFUSED = [
    # (name, the frame as options for frames.frame)
    ("RSV1", {"opcode": TEXT, "rsv": 4}),
    ("RSV2", {"opcode": TEXT, "rsv": 2}),
    ("RSV3", {"opcode": TEXT, "rsv": 1}),
    ("all RSV", {"opcode": BINARY, "rsv": 7}),
    ("RSV of a ping", {"opcode": PING, "rsv": 4}),
    ("RSV of a close", {"opcode": 8, "rsv": 1}),
    *(("opcode %d" % opcode, {"opcode": opcode}) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    ("nothing to continue", {"opcode": CONTINUATION}),
    ("nothing to continue, not final", {"opcode": CONTINUATION, "fin": False}),
    ("a ping in fragments", {"opcode": PING, "fin": False}),
    ("a pong in fragments", {"opcode": PONG, "fin": False}),
    ("a close in fragments", {"opcode": 8, "fin": False}),
    ("a ping of 126 bytes", {"opcode": PING, "payload": bytes(126)}),
    ("a pong of 65536 bytes", {"opcode": PONG, "payload": bytes(65536)}),
    ("a close of 126 bytes", {"opcode": 8, "payload": b"\x03\xe8" + bytes(124)}),
    ("125 in two bytes", {"opcode": TEXT, "payload": bytes(125), "length": (125, 2)}),
    ("0 in two bytes", {"opcode": BINARY, "length": (0, 2)}),
    ("125 in eight bytes", {"opcode": TEXT, "payload": bytes(125), "length": (125, 8)}),
    ("65535 in eight bytes", {"opcode": BINARY, "payload": bytes(65535), "length": (65535, 8)}),
    ("the top bit of the length", {"opcode": BINARY, "length": (1 << 63, 8)}),
]


@ROLES
@pytest.mark.parametrize("options", [options for _, options in REFUSED], ids=[name for name, _ in REFUSED])
def test_refused(client, options):
    key = key_for(client)
    good = frame(TEXT, b"good", key=key)
    bad = frame(key=key, **options)
    for wire in (good + bad + good, frames.bytewise(good + bad + good), [good, bad, good]):
        assert record(wire, client=client) == [("text", "good"), ("error", 1002)]


@ROLES
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [False, True])
def test_a_message_inside_a_message_is_refused(client, opcode, fin):
    key = key_for(client)
    wire = frame(TEXT, b"a", fin=False, key=key) + frame(opcode, b"b", fin=fin, key=key)
    assert record(wire, client=client) == [("error", 1002)]


@pytest.mark.parametrize("payload", [b"", b"x", bytes(200), bytes(70000)])
@pytest.mark.parametrize("opcode", [TEXT, PING])
def test_a_server_takes_only_masked_frames_a_client_only_unmasked_ones(opcode, payload):
    if opcode == PING:
        payload = payload[:125]
    assert record(frame(opcode, payload), client=False) == [("error", 1002)]
    assert record(frame(opcode, payload, key=KEY), client=True) == [("error", 1002)]


@pytest.mark.parametrize("wire, client", [
    ("c1", True), ("83", True), ("80", True), ("09", True), ("f1", False),
    ("81 80", True), ("81 05", False), ("89 7e", True), ("89 ff", False), ("88 7f", True),
    ("82 7e 00 7d", True), ("82 7f 00 00 00 00 00 00 ff ff", True), ("82 7f 80 00 00 00 00 00 00 00", True),
])
def test_a_bad_head_is_found_at_the_byte_that_makes_it_bad(wire, client):
    wire = bytes.fromhex(wire)
    assert record(frames.bytewise(wire[:-1]), client=client) == []
    assert record(frames.bytewise(wire), client=client) == [("error", 1002)]
    assert record(wire, client=client) == [("error", 1002)]


def test_an_error_is_final():
    recorder = frames.Recorder()
    core = frames.core_for(recorder, client=True)
    with pytest.raises(WebSocketError) as info:
        core.feed(b"\x83\x00" + b"\x81\x01a")
    assert (info.value.close_code, info.value.reason) == (1002, "unknown opcode 3")
    assert core.closed_in
    assert core.feed(b"\x81\x01a") == 0
    assert recorder.events == []


def test_what_the_observer_raises_passes_through_and_ends_the_input():
    class Observer(frames.Recorder):
        def on_text(self, data):
            raise UnicodeDecodeError("utf-8", b"x", 0, 1, "not the peer's fault")

    core = frames.core_for(Observer(), client=True)
    with pytest.raises(UnicodeDecodeError, match="not the peer's fault"):
        core.feed(b"\x81\x01a\x81\x01b")
    assert core.feed(b"\x81\x01c") == 0


# held, pieces

def test_a_held_core_takes_the_frame_at_hand_and_no_more():
    recorder = frames.Recorder(hold=lambda: True)
    core = frames.core_for(recorder, client=True)
    wire = b"\x81\x01a\x89\x00\x01\x01b\x80\x01c\x81\x01d"
    assert core.feed(wire) == 3 and recorder.events == [("text", "a")]
    assert core.feed(wire[3:]) == 0
    core.held = False
    assert core.feed(wire[3:]) == 2 and recorder.events[1:] == [("ping", b"")]
    core.held = False
    assert core.feed(wire[5:]) == 6 and recorder.events[2:] == [("text", "bc")]
    core.held = False
    assert core.feed(wire[11:]) == 3 and recorder.events[3:] == [("text", "d")]


def test_a_core_held_within_a_head_loses_nothing_of_it():
    recorder = frames.Recorder()
    core = frames.core_for(recorder, client=False)
    wire = frame(BINARY, bytes(300), key=KEY)
    assert core.feed(wire[:5]) == 5
    core.held = True
    assert core.feed(wire[5:]) == 0
    core.held = False
    assert core.feed(wire[5:]) == len(wire) - 5
    assert recorder.events == [("binary", bytes(300))]


class Pieces(frames.Recorder):
    def on_piece(self, data, final):
        self.events.append((data, final))


@pytest.mark.parametrize("wire, events", [
    ("81 02 48 69", [("Hi", False), ("", True)]),
    ("82 00", [(b"", True)]),
    ("02 01 61  00 00  80 01 62", [(b"a", False), (b"b", False), (b"", True)]),
    ("01 01 c3  80 01 9f", [("\xdf", False), ("", True)]),
    ("01 01 61  89 01 21  80 00", [("a", False), ("ping", b"!"), ("", True)]),
])
def test_piece_by_piece(wire, events):
    recorder = Pieces()
    core = frames.core_for(recorder, client=True, pieces=True)
    core.feed(bytes.fromhex(wire))
    assert recorder.events == events


def test_a_piece_is_told_before_its_frame_is_complete():
    recorder = Pieces()
    core = frames.core_for(recorder, client=False, pieces=True)
    wire = frame(BINARY, b"0123456789", key=KEY)
    core.feed(wire[:9])
    assert recorder.events == [(b"012", False)]
    core.feed(wire[9:])
    assert recorder.events == [(b"012", False), (b"3456789", False), (b"", True)]


def test_a_message_is_told_as_it_began():
    """What came of it before `pieces` was changed is not lost."""
    recorder = Pieces()
    core = frames.core_for(recorder, client=True)
    core.feed(b"\x01\x01a")
    core.pieces = True
    core.feed(b"\x80\x01b\x01\x01c")
    core.pieces = False
    core.feed(b"\x80\x01d\x81\x01e")
    assert recorder.events == [("text", "ab"), ("c", False), ("d", False), ("", True), ("text", "e")]


def test_a_held_core_stops_inside_a_message_that_is_told_in_pieces():
    class Holding(Pieces):
        def on_piece(self, data, final):
            super().on_piece(data, final)
            self.core.held = True

    recorder = Holding()
    core = frames.core_for(recorder, client=True, pieces=True)
    wire = b"\x02\x01a\x00\x01b\x80\x01c"
    assert core.feed(wire) == 3
    assert recorder.events == [(b"a", False)]


# limits

@ROLES
@pytest.mark.parametrize("size, most, fine", [(10, 10, True), (11, 10, False), (0, 0, True), (1, 0, False), (300, None, True)])
@pytest.mark.parametrize("pieces", [False, True])
def test_a_message_is_bounded(client, size, most, fine, pieces):
    wire = frame(BINARY, bytes(size), key=key_for(client))
    expected = [("binary", bytes(size))] if fine else [("error", 1009)]
    assert record(wire, client=client, max_message=most, pieces=pieces) == expected
    assert record(frames.bytewise(wire), client=client, max_message=most, pieces=pieces) == expected


@pytest.mark.parametrize("wire", ["82 0b", "82 7e 01 00", "82 7f 00 00 00 ff ff ff ff ff", "81 0b"])
def test_one_that_is_too_big_is_refused_at_its_head(wire):
    wire = bytes.fromhex(wire)
    assert record(wire[:-1], client=True, max_message=10) == []
    assert record(wire, client=True, max_message=10) == [("error", 1009)]


@ROLES
def test_fragments_are_bounded_together(client):
    key = key_for(client)
    fine = frames.pieces_of(BINARY, bytes(4), bytes(6), key=key)
    over = frames.pieces_of(BINARY, bytes(4), bytes(6), bytes(1), key=key)
    assert record(fine + over, client=client, max_message=10) == [("binary", bytes(10)), ("error", 1009)]


def test_control_frames_inside_do_not_count():
    wire = frame(BINARY, bytes(9), fin=False) + frame(PING, bytes(125)) + frame(CONTINUATION, bytes(1))
    assert record(wire, client=True, max_message=10) == [("ping", bytes(125)), ("binary", bytes(10))]


@pytest.mark.parametrize("opcode", [BINARY, TEXT])
def test_65536_fragments_of_64_bytes_are_a_message(opcode):
    payload = b"0123456789abcdef" * 4
    wire = frame(opcode, payload, fin=False) + frame(CONTINUATION, payload, fin=False) * 65534 + frame(CONTINUATION, payload)
    (kind, message), = record(wire, client=True)
    assert len(message) == 64 * 65536 and kind == ("text" if opcode == TEXT else "binary")
    assert message == (payload.decode() if opcode == TEXT else payload) * 65536


def test_what_fragments_cost_beside_their_bytes_does_not_add_up():
    """Fragments of one byte: neither an object each, nor a copy of all that came before."""
    tracemalloc = pytest.importorskip("tracemalloc")
    count = 10000
    for opcode in (BINARY, TEXT):
        core = frames.core_for(frames.Recorder(), client=True)
        core.feed(frame(opcode, b"a", fin=False))
        some = frame(CONTINUATION, b"b", fin=False) * 1000
        tracemalloc.start()
        try:
            for _ in range(count // 1000):
                core.feed(some)
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert size < 20 * count
        core.feed(frame(CONTINUATION, b"c"))
        (_, message), = core.observer.events
        assert len(message) == count + 2


def test_empty_fragments_are_counted():
    empty = frame(CONTINUATION, fin=False)
    for most, expected in ((MOST_EMPTY - 1, [("binary", b"end")]), (MOST_EMPTY, [("error", 1009)])):
        wire = frame(BINARY, fin=False) + empty * most + frame(CONTINUATION, b"end")
        assert record(wire, client=True) == expected


def test_the_count_begins_anew_with_each_message():
    empty = frame(CONTINUATION, fin=False)
    wire = (frame(BINARY, fin=False) + empty * (MOST_EMPTY - 2) + frame(CONTINUATION)) * 2
    assert record(wire, client=True) == [("binary", b"")] * 2


# out

def sent(client, make):
    core = WebSocketCore(None, client=client)
    made = make(core)
    return made if type(made) is bytes else b"".join(made)


@pytest.mark.parametrize("make, wire", [
    (lambda core: core.message(b"Hello", True), "81 05 48 65 6c 6c 6f"),
    (lambda core: core.message(b"\0", False), "82 01 00"),
    (lambda core: core.message(b"", False), "82 00"),
    (lambda core: core.message(bytearray(b"a"), False), "82 01 61"),
    (lambda core: core.message(memoryview(b"a"), False), "82 01 61"),
    (lambda core: core.ping(), "89 00"),
    (lambda core: core.ping(b"Hello"), "89 05 48 65 6c 6c 6f"),
    (lambda core: core.pong(b"\0"), "8a 01 00"),
    (lambda core: core.close(), "88 02 03 e8"),
    (lambda core: core.close(None), "88 00"),
    (lambda core: core.close(1001, "bye"), "88 05 03 e9 62 79 65"),
    (lambda core: core.close(4999, "\u20ac"), "88 05 13 87 e2 82 ac"),
    (lambda core: core.fragment(b"a", True, False) + core.fragment(b"", True, False) + core.fragment(b"b", True, True),
     "01 01 61  00 00  80 01 62"),
    (lambda core: core.fragment(b"a", False, True) + core.fragment(b"b", True, True), "82 01 61  81 01 62"),
    (lambda core: core.fragment(b"a", False, False) + core.ping() + core.pong(b"") + core.close(),
     "02 01 61  89 00  8a 00  88 02 03 e8"),
])
def test_frames_out(make, wire):
    assert sent(False, make) == bytes.fromhex(wire)
    ours = frames.read_frames(sent(True, make))
    assert all(was for *_, was in ours)
    assert [rest for *rest, _ in ours] == [rest for *rest, _ in frames.read_frames(bytes.fromhex(wire))]


@ROLES
@pytest.mark.parametrize("size", [*LENGTHS, 16383, 16384])
def test_what_one_end_sends_the_other_takes(client, size):
    payload = bytes(index & 0x7F for index in range(size))
    core = WebSocketCore(None, client=client)
    for text, event in ((False, ("binary", payload)), (True, ("text", payload.decode()))):
        made = core.message(payload, text)
        assert record(made if type(made) is bytes else b"".join(made), client=not client) == [event]


def test_a_large_payload_is_not_copied_behind_its_head():
    payload = bytes(16384)
    head, same = WebSocketCore(None, client=False).message(payload, False)
    assert same is payload and head == b"\x82\x7e\x40\x00"


def test_a_client_masks_with_fresh_keys():
    core = WebSocketCore(None, client=True)
    keys = {core.message(b"Hello", True)[2:6] for _ in range(20)}
    assert len(keys) > 15


@pytest.mark.parametrize("call", [
    lambda core: core.ping(bytes(126)), lambda core: core.pong(bytes(126)), lambda core: core.close(1000, "x" * 124),
    lambda core: core.close(1000, "\u20ac" * 42), lambda core: core.close(1000, "\ud800"),
])
def test_a_control_frame_carries_at_most_125_bytes_of_what_can_be_said(call):
    core = WebSocketCore(None, client=False)
    with pytest.raises(ValueError):
        call(core)
    assert core.close(1000, "x" * 123) and core is not None  # nothing had changed


def test_what_is_sent_is_in_order():
    core = WebSocketCore(None, client=False)
    core.fragment(b"a", True, False)
    with pytest.raises(StateError, match="one message at a time"):
        core.message(b"b", True)
    with pytest.raises(StateError, match="all of them str or all bytes"):
        core.fragment(b"b", False, True)
    assert core.fragment(b"b", True, True) == b"\x80\x01b"
    assert core.message(b"c", True) == b"\x81\x01c"
    core.close()
    for call in (lambda: core.message(b"", True), lambda: core.fragment(b"", True, True), core.ping, core.pong, core.close):
        with pytest.raises(StateError, match="after close"):
            call()


# cut anywhere

@pytest.mark.parametrize("count", [60, pytest.param(300, marks=pytest.mark.slow)])
@ROLES
@pytest.mark.parametrize("pieces", [False, True])
def test_a_script_tells_the_same_however_it_is_cut(client, pieces, count):
    rng = seeds.rng()
    made, events = frames.script(rng, count, key=key_for(client))
    wire = b"".join(made)
    assert record(wire, client=client, pieces=pieces) == events
    assert record(frames.bytewise(wire), client=client, pieces=pieces) == events
    assert record(made, client=client, pieces=pieces) == events
    for _ in range(15):
        assert record(frames.random_cuts(rng, wire, 200), client=client, pieces=pieces) == events
        assert record(frames.random_cuts(rng, wire, 9), client=client, pieces=pieces,
                      hold=lambda: rng.random() < 0.2) == events


@pytest.mark.parametrize("count", [60, pytest.param(300, marks=pytest.mark.slow)])
@ROLES
@pytest.mark.parametrize("pieces", [False, True])
def test_a_script_of_many_messages_split_at_every_byte(client, pieces, count):
    seed = seeds.seed()
    made, events = frames.script(random.Random(seed), count, key=key_for(client), most=130)
    assert frames.split_everywhere(made, client=client, pieces=pieces) == events
    assert record(b"".join(made), client=client, pieces=pieces) == events


def test_a_difference_at_a_split_is_found(monkeypatch):
    """Of the test above."""
    made = [frame(TEXT, b"a"), frame(BINARY, bytes(200)), frame(PING, b"b")]
    assert len(frames.split_everywhere(made, client=True)) == 3
    head = WebSocketCore._head
    monkeypatch.setattr(WebSocketCore, "_head", lambda self, data, at: head(self, data, at) if len(data) != 3 else len(data))
    with pytest.raises((AssertionError, WebSocketError, frames.Stuck)):
        frames.split_everywhere(made, client=True)


@pytest.mark.parametrize("burst, uses", [(0, [24]), (1, [6, 6, 6, 6]), (2, [12, 12]), (3, [18, 6]), (9, [24])])
def test_a_burst_is_what_one_feed_takes_at_most(burst, uses):
    class Count(MessageObserver):
        texts = 0

        def on_text(self, data):
            self.texts += 1

    observer = Count()
    core = WebSocketCore(observer, client=False)
    core.burst = burst
    data, used = frame(TEXT, key=KEY) * 4, []
    while data:
        used.append(core.feed(data))
        data = data[used[-1]:]
    assert used == uses and observer.texts == 4
