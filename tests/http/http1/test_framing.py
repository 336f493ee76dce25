"""What heads say of their frame (RFC 9112 sections 6, 7, 9)."""
import re
import time

import pytest

from icey.base.errors import BadRequest, NotSupported
from icey.http.http1 import framing
from icey.http.http1.framing import CHUNKED, UNTIL_CLOSE


def refused(status, check, *args):
    with pytest.raises(BadRequest) as caught:
        check(*args)
    assert caught.value.status == status
    assert caught.value.reason
    return caught.value


# lengths and codings

def test_length():
    assert framing.length("0") == 0
    assert framing.length("007") == 7
    assert framing.length("9" * 18) == 10 ** 18 - 1
    for text in ("", "-1", "+1", "1_0", "0x1", "1.0", "1,1", " 1", "\u0661", "\xb2", "1" * 19, "1\n"):
        refused(400, framing.length, text)


@pytest.mark.parametrize("line, size, extension", [
    ("0", 0, 0), ("000", 0, 0), ("aF", 175, 0), ("f" * 16, 2 ** 64 - 1, 0), ("0" * 50 + "1", 1, 0),
    ("5;a", 5, 2), ("5 ; a = b", 5, 8), ('5;a="\\"\t;";b', 5, 11), ("5;a;b=c;d", 5, 8), ("5\t;\ta\t=\tb", 5, 8),
])
def test_chunk_size(line, size, extension):
    assert framing.chunk_size(line) == (size, extension)


@pytest.mark.parametrize("line",
                         ["", "g", "-1", "+1", "0x1", "1_0", "1 ", " 1", "1\t", "1;", "1; ", "1;a=", "1;a=b c",
                          '1;a="', '1;a="b"c', "1;a ",
                                  '1;="b"', "1;a=\"\x01\"", "1;\xe9", "1,a", "1" * 17, "\u0661", "1\n"])
def test_what_is_no_chunk_size(line):
    refused(400, framing.chunk_size, line)


@pytest.mark.parametrize("line",
                         ["5" + " ;a" * 2700 + "(", "5;" + "a" * 8000 + "(", "5;a" + " " * 8000 + "(",
                          '5;a="' + "\\a" * 4000, "f" * 8000 + "(",
                                  "5;a=" + ";a=" * 2700, "5" + "\t;\ta\t=\tb" * 1000 + "\t"])
def test_a_hostile_chunk_line_is_refused_quickly(line):
    begun = time.process_time()
    refused(400, framing.chunk_size, line)
    assert time.process_time() - begun < 0.5


def test_transfer_coding():
    framing.transfer_coding("chunked")
    framing.transfer_coding("CHUNKED")
    for value in ("", ",", "chunked,", ",chunked", "chunked, chunked", "gzip", "chunked, gzip", "chunked;a=b",
                  '"chunked"', "\xa0chunked", "\x0bchunked",
                  "gzip;q=1, chunked", "a b, chunked"):
        refused(400, framing.transfer_coding, value)
    assert type(refused(501, framing.transfer_coding, "gzip, chunked")) is NotSupported
    refused(501, framing.transfer_coding, "gzip\t, br ,Chunked")

# framing

HOST = ("host", "a")


def framed(*pairs, version="1.1"):
    said = framing.request_framing(version, [HOST, *pairs])
    return said.length, said.keep_alive, said.expect, said.upgrade, said.plain


def test_a_request_without_framing_fields_is_plain():
    assert framed() == (0, True, False, False, True)
    assert framed(("content-length", "0")) == (0, True, False, False, True)
    assert framed(version="1.0") == (0, False, False, False, False)


def test_lengths_of_requests():
    assert framed(("content-length", "5")) == (5, True, False, False, False)
    assert framed(("transfer-encoding", "chunked")) == (CHUNKED, True, False, False, False)


@pytest.mark.parametrize("version, values, keep", [
    ("1.1", ["close"], False), ("1.1", ["keep-alive"], True), ("1.1", ["keep-alive, CLOSE"], False),
    ("1.1", ["x", "close"], False),
    ("1.1", ["closed-loop"], True), ("1.1", [""], True), ("1.0", ["Keep-Alive"], True),
    ("1.0", ["keep-alive", "close"], False), ("1.0", ["x"], False),
])
def test_connection_options(version, values, keep):
    framing = framed(*[("connection", value) for value in values], version=version)
    assert framing[1] is keep and framing[4] is (keep and version == "1.1")


def test_an_upgrade_is_asked_for_in_both_fields():
    assert framed(("connection", "Upgrade"), ("upgrade", "websocket"))[3:] == (True, False)
    assert framed(("connection", "Upgrade"))[3:] == (False, True)
    assert framed(("upgrade", "websocket"))[3:] == (False, True)
    assert framed(("connection", "Upgrade"), ("upgrade", "websocket"), version="1.0")[3] is False


def test_expectations():
    assert framed(("expect", "100-Continue"), ("content-length", "1"))[2] is True
    assert framed(("expect", "100-continue"), ("content-length", "0"))[2] is False
    assert framed(("expect", "100-continue"), ("content-length", "1"), version="1.0")[2] is False
    assert framed(("expect", "anything"), version="1.0")[2] is False
    for value in ("", "x", "100-continue, x", "100"):
        refused(417, framed, ("expect", value))
    refused(417, framed, ("expect", "100-continue"), ("expect", "100-continue"))


def test_fields_that_may_not_be_repeated():
    refused(400, framed, HOST)
    refused(400, framed, ("content-length", "1"), ("content-length", "1"))
    refused(400, framed, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked"))
    refused(501, framed, ("transfer-encoding", "gzip"), ("transfer-encoding", "chunked"))


def test_host_is_needed_from_1_1_on():
    refused(400, framing.request_framing, "1.1", [])
    assert framing.request_framing("1.0", []).length == 0
    refused(400, framing.request_framing, "1.0", [("host", "a b")])


@pytest.mark.parametrize("version, status, method, pairs, length, keep, upgrade", [
    ("1.1", 200, "GET", [], UNTIL_CLOSE, False, False),
    ("1.1", 200, "GET", [("content-length", "3")], 3, True, False),
    ("1.1", 200, "GET", [("content-length", "3"), ("connection", "x, close")], 3, False, False),
    ("1.0", 200, "GET", [("content-length", "3")], 3, False, False),
    ("1.0", 200, "GET", [("content-length", "3"), ("connection", "keep-alive")], 3, True, False),
    ("1.1", 200, "GET", [("transfer-encoding", "chunked")], CHUNKED, True, False),
    ("1.0", 200, "GET", [("transfer-encoding", "chunked"), ("connection", "keep-alive")], CHUNKED, False, False),
    ("1.1", 200, "GET", [("transfer-encoding", "gzip")], UNTIL_CLOSE, False, False),
    ("1.1", 200, "GET", [("transfer-encoding", "")], UNTIL_CLOSE, False, False),
    ("1.1", 200, "HEAD", [("content-length", "3"), ("transfer-encoding", "x")], 0, True, False),
    ("1.1", 204, "GET", [("content-length", "3")], 0, True, False),
    ("1.1", 304, "GET", [("transfer-encoding", "chunked")], 0, True, False),
    ("1.1", 100, "GET", [("content-length", "x")], 0, True, False),
    ("1.1", 101, "GET", [], 0, True, True),
    ("1.1", 200, "CONNECT", [("content-length", "3")], 0, True, True),
    ("1.1", 404, "CONNECT", [("content-length", "3")], 3, True, False),
    ("1.1", 200, "GET", [("content-length", "3"), ("content-length", "3")], 3, True, False),  # RFC 9110 section 8.6
    ("1.1", 200, "GET", [("content-length", "3,3"), ("content-length", "3")], 3, True, False),
    ("1.1", 200, "GET", [("content-length", "3 ,\t3, 3")], 3, True, False),
])
def test_framing_of_responses(version, status, method, pairs, length, keep, upgrade):
    said = framing.response_framing(version, status, method, pairs)
    assert (said.length, said.keep_alive, said.upgrade) == (length, keep, upgrade)


@pytest.mark.parametrize("pairs", [
    [("content-length", "3"), ("content-length", "4")], [("content-length", "3,4")], [("content-length", "")],
    [("content-length", "3,")], [("content-length", ",3")], [("content-length", "3,03")], [("content-length", "x,x")],
    [("content-length", "3"), ("content-length", "")], [("content-length", "3,3"), ("transfer-encoding", "chunked")],
    [("content-length", "3"), ("transfer-encoding", "chunked")], [("content-length", "3"), ("transfer-encoding", "")],
    [("transfer-encoding", "chunked, chunked")], [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
    [("transfer-encoding", "gzip, chunked")], [("transfer-encoding", "chunked,")],
])
def test_framing_of_responses_that_contradict_themselves(pairs):
    with pytest.raises(BadRequest):
        framing.response_framing("1.1", 200, "GET", pairs)




def test_patterns_name_their_characters():
    with open(framing.__file__.replace(".pyc", ".py"), encoding="utf-8") as file:
        source = file.read().partition('"""')[2].partition('"""')[2]
    assert not re.search(r"\\[dwsDWS]", source)
    assert ".strip()" not in source and ".isdigit()" not in source and "splitlines" not in source
