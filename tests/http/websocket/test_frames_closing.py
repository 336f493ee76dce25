"""Close frames: their codes and reasons, RFC 6455 sections 5.5.1 and 7.4."""
import pytest

from icey.http.websocket.frames import WebSocketCore, may_be_sent
from tests.fuzz import frames
from tests.fuzz.frames import CLOSE, KEY, TEXT, closing, frame, record

FINE = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
WRONG = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535]

ROLES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


@ROLES
@pytest.mark.parametrize("code", FINE)
def test_codes_that_may_come_and_go(client, code):
    wire = closing(code, key=None if client else KEY)
    assert record(wire, client=client) == record(frames.bytewise(wire), client=client) == [("closing", code, "")]
    assert frames.read_frames(WebSocketCore(None, client=client).close(code))[0][3] == code.to_bytes(2, "big")


@ROLES
@pytest.mark.parametrize("code", WRONG)
def test_codes_that_may_not(client, code):
    wire = closing(code, key=None if client else KEY)
    assert record(wire, client=client) == record(frames.bytewise(wire), client=client) == [("error", 1002)]
    with pytest.raises(ValueError, match="no close code that may be sent: 1000 to 1003, 1007 to 1014, 3000 to 4999 are"):
        WebSocketCore(None, client=client).close(code)


def test_the_whole_table():
    fine = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    assert {code for code in range(65536) if may_be_sent(code)} == fine


@pytest.mark.parametrize("code", ["1000", 1000.0, b"", -1])
def test_what_is_no_code(code):
    with pytest.raises(ValueError, match="no close code"):
        WebSocketCore(None, client=False).close(code)


@pytest.mark.parametrize("payload, event", [
    (b"", ("closing", 1005, "")),
    (b"\x03", ("error", 1002)),
    (b"\x03\xe8bye", ("closing", 1000, "bye")),
    (b"\x03\xe8\xe2\x82\xac", ("closing", 1000, "\u20ac")),
    (b"\x03\xe8" + b"r" * 123, ("closing", 1000, "r" * 123)),
    (b"\x03\xe8\xff", ("error", 1007)),
    (b"\x03\xe8\xe2\x82", ("error", 1007)),
    (b"\x03\xe8\xed\xa0\x80", ("error", 1007)),
])
def test_reasons(payload, event):
    wire = frame(CLOSE, payload, key=KEY)
    assert record(wire) == record(frames.bytewise(wire)) == [event]


def test_it_ends_the_input():
    recorder = frames.Recorder()
    core = frames.core_for(recorder)
    wire = closing(1000, key=KEY)
    assert core.feed(wire + frame(TEXT, b"late", key=KEY) + b"\xff") == len(wire)
    assert core.closed_in
    assert core.feed(frame(TEXT, b"later", key=KEY)) == 0
    assert recorder.events == [("closing", 1000, "")]


def test_what_was_under_way_is_dropped():
    assert record(frame(TEXT, b"half", fin=False, key=KEY) + closing(1001, b"off", key=KEY)) == [("closing", 1001, "off")]
