"""The WebSocket handshake, both sides, without a connection: RFC 6455 section 4."""
import pytest

from icey import HttpError, WebSocketError
from icey.http import Request, Response, WebSocketCompression
from icey.http.websocket import handshake as shake, offer as offering
from icey.http.websocket.handshake import accept_key, accept_request, parse_extensions
from icey.http.websocket.offer import Offer
from tests.support import lacks

needs_zlib = pytest.mark.skipif(bool(lacks("zlib")), reason="this Python has no zlib")

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the RFC's own
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

GOOD = [("Host", "a"), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13")]


def request(*changes, method="GET", version="1.1"):
    """A good request, with fields replaced (name, value), added (+name, value) or taken away (name, None)."""
    fields = list(GOOD)
    for name, value in changes:
        if name[0] == "+":
            fields.append((name[1:], value))
            continue
        kept = [pair for pair in fields if pair[0] != name]
        fields = kept if value is None else [*kept, (name, value)]
    return Request(method, "/chat", version, fields)


def test_the_rfcs_key():
    assert accept_key(KEY) == ACCEPT


# a server's side

@pytest.mark.parametrize("changes", [
    [],
    [("Upgrade", "WebSocket")],
    [("Upgrade", "h2c, websocket")],
    [("Upgrade", "h2c"), ("+Upgrade", "websocket")],
    [("Connection", "keep-alive, Upgrade")],
    [("Connection", "keep-alive"), ("+Connection", "UPGRADE")],
    [("Connection", " , upgrade ,")],
    [("Content-Length", "0")],
    [("Content-Length", "00")],
    [("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")],
    [("Sec-WebSocket-Key", "//////////////////////==")],
    [("Origin", "http://anywhere")],
    [("Sec-WebSocket-Extensions", "")],
    [("Sec-WebSocket-Extensions", "x-unknown; a=b")],
    [("Sec-WebSocket-Protocol", "never heard of")],
])
def test_accepted(changes):
    agreed, fields = accept_request(request(*changes), compression=False)
    assert agreed.subprotocol is None and agreed.deflate is None
    key = dict(changes).get("Sec-WebSocket-Key", KEY)
    assert fields == [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(key))]


@pytest.mark.parametrize("status, changes, options", [
    (426, [("Upgrade", None)], {}),
    (426, [("Upgrade", "")], {}),
    (426, [("Upgrade", "h2c")], {}),
    (426, [("Upgrade", "websockets")], {}),
    (426, [("Upgrade", "not websocket")], {}),
    (400, [], {"method": "POST"}),
    (400, [], {"method": "get"}),
    (400, [], {"method": "HEAD"}),
    (400, [], {"version": "1.0"}),
    (400, [("Content-Length", "5")], {}),
    (400, [("Transfer-Encoding", "chunked")], {}),
    (400, [("Connection", None)], {}),
    (400, [("Connection", "keep-alive")], {}),
    (400, [("Connection", "upgraded")], {}),
    (426, [("Sec-WebSocket-Version", None)], {}),
    (426, [("Sec-WebSocket-Version", "8")], {}),
    (426, [("Sec-WebSocket-Version", "12")], {}),
    (426, [("Sec-WebSocket-Version", "14")], {}),
    (426, [("Sec-WebSocket-Version", "013")], {}),
    (426, [("Sec-WebSocket-Version", "13, 8")], {}),
    (426, [("+Sec-WebSocket-Version", "13")], {}),
    (426, [("Sec-WebSocket-Version", "x")], {}),
    (400, [("Sec-WebSocket-Key", None)], {}),
    (400, [("Sec-WebSocket-Key", "")], {}),
    (400, [("+Sec-WebSocket-Key", KEY)], {}),
    (400, [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ")], {}),
    (400, [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZ===")], {}),
    (400, [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=a")], {}),
    (400, [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZWE=")], {}),
    (400, [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j")], {}),
    (400, [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ== ")], {}),
    (400, [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ-_")], {}),
    (400, [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25\xb2ZQ==")], {}),
    (400, [("Sec-WebSocket-Extensions", "permessage-deflate; =1")], {}),
    (400, [("Sec-WebSocket-Extensions", "a b")], {}),
])
def test_refused(status, changes, options):
    with pytest.raises(HttpError) as info:
        accept_request(request(*changes, **options))
    assert info.value.status == status and info.value.reason
    if status == 426:
        assert ("Upgrade", "websocket") in info.value.headers and ("Connection", "Upgrade") in info.value.headers
        version = any(name in ("Sec-WebSocket-Version", "+Sec-WebSocket-Version") for name, _ in changes)
        assert (("Sec-WebSocket-Version", "13") in info.value.headers) is version


@pytest.mark.parametrize("offered, spoken, chosen", [
    ([], (), None),
    ([], ("chat",), None),
    (["chat"], (), None),
    (["chat"], ("chat",), "chat"),
    (["superchat, chat"], ("chat", "superchat"), "chat"),
    (["superchat, chat"], ["superchat"], "superchat"),
    (["superchat", "chat"], ("chat",), "chat"),
    (["\tchat ,x"], ("chat",), "chat"),
    (["Chat"], ("chat",), None),
    ([""], ("chat",), None),
    (["chat2"], ("chat",), None),
])
def test_the_first_subprotocol_of_ours_that_is_offered_is_chosen(offered, spoken, chosen):
    agreed, fields = accept_request(request(*[("+Sec-WebSocket-Protocol", value) for value in offered]), subprotocols=spoken)
    assert agreed.subprotocol == chosen
    assert dict(fields).get("Sec-WebSocket-Protocol") == chosen


@pytest.mark.parametrize("given, origins, welcome", [
    ([], None, True),
    (["http://evil"], None, True),
    (["http://a", "http://b"], None, True),
    ([], ["http://a"], True),  # a program
    (["http://a"], ["http://a"], True),
    (["HTTP://A"], ["http://a"], True),
    (["http://a"], ["http://b", "http://A"], True),
    (["http://b"], ["http://a"], False),
    (["http://a.b"], ["http://a"], False),
    (["null"], ["http://a"], False),
    (["null"], ["null"], True),
    (["http://a", "http://a"], ["http://a"], False),
    (["http://a"], [], False),
    (["http://a"], lambda origin: origin == "http://a", True),
    (["http://b"], lambda origin: origin == "http://a", False),
    ([], lambda origin: origin is None, True),
    ([], lambda origin: False, False),
    (["http://a", "http://a"], lambda origin: True, False),
])
def test_origins(given, origins, welcome):
    asked = request(*[("+Origin", origin) for origin in given])
    if welcome:
        accept_request(asked, origins=origins)
    else:
        with pytest.raises(HttpError) as info:
            accept_request(asked, origins=origins)
        assert info.value.status == 403


@pytest.mark.parametrize("options", [{"origins": "http://a"}, {"subprotocols": "chat"}])
def test_one_str_in_the_place_of_a_list_is_a_type_error(options):
    with pytest.raises(TypeError, match="not one str"):
        accept_request(request(), **options)


@pytest.mark.parametrize("names", [["a b"], [""], ["a", "a"], ["a,b"], ["\xe4"]])
def test_a_subprotocol_is_a_name_and_named_once(names):
    with pytest.raises(ValueError):
        accept_request(request(), subprotocols=names)
    with pytest.raises(ValueError):
        Offer(names)


@needs_zlib
def test_compression_is_agreed_on_where_it_is_offered():
    asked = request(("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"))
    agreed, fields = accept_request(asked)
    assert agreed.deflate is not None
    assert dict(fields)["Sec-WebSocket-Extensions"] == "permessage-deflate; client_max_window_bits=12"
    agreed, fields = accept_request(asked, compression=WebSocketCompression(bits=15))
    assert agreed.deflate is not None and dict(fields)["Sec-WebSocket-Extensions"] == "permessage-deflate"
    agreed, fields = accept_request(asked, compression=False)
    assert agreed.deflate is None and "Sec-WebSocket-Extensions" not in dict(fields)
    agreed, fields = accept_request(request(("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=8")))
    assert agreed.deflate is None and "Sec-WebSocket-Extensions" not in dict(fields)


def test_without_zlib_nothing_is_offered_nor_agreed_on(monkeypatch):
    for module in (shake, offering):
        monkeypatch.setattr(module, "deflate_module", lambda: None)
    agreed, fields = accept_request(request(("Sec-WebSocket-Extensions", "permessage-deflate")))
    assert agreed.deflate is None and "Sec-WebSocket-Extensions" not in dict(fields)
    assert "Sec-WebSocket-Extensions" not in dict(Offer().fields())


# the extensions' grammar

@pytest.mark.parametrize("values, found", [
    ([], []),
    ([""], []),
    ([" , ,"], []),
    (["a"], [("a", {})]),
    (["A; B=C"], [("a", {"b": "C"})]),
    (["a, b"], [("a", {}), ("b", {})]),
    (["a", "b"], [("a", {}), ("b", {})]),
    ([",a,,b ,"], [("a", {}), ("b", {})]),
    (["a; x; y=1; z=\"2\""], [("a", {"x": None, "y": "1", "z": "2"})]),
    (["a;x=1"], [("a", {"x": "1"})]),
    (["a ;\tx = \"1\\5\" , b"], [("a", {"x": "15"}), ("b", {})]),
    (["a; x=1; X=2"], [("a", None)]),
    (["a; x; x, b; y"], [("a", None), ("b", {"y": None})]),
    (["!#$%&'*+-.^_`|~09azAZ"], [("!#$%&'*+-.^_`|~09azaz", {})]),
])
def test_extensions(values, found):
    assert parse_extensions(values) == found


@pytest.mark.parametrize("values", [
    [";"], ["a;"], ["a; "], ["a;;b"], ["a; =1"], ["a; x="], ["a; x=,b"], ["a b"], ["a; x y"], ["a; x=1 2"], ["a=1"],
    ["@"], ["a, @"], ["a; x=\""], ["a; x=\"1"], ["a; x=\"1\"2"], ["a; x=\"\""], ["a; x=\"1 2\""], ["a; x=\"1,2\""],
    ["a; x='1 2'"], ["\xe4"], ["a; x=\"\xe4\""], ["\"a\""],
])
def test_malformed_extensions(values):
    with pytest.raises(ValueError, match="malformed"):
        parse_extensions(values)


def test_a_long_header_is_parsed_in_no_time():
    for text in ("a" * 60000, "a;" + " " * 60000, "a; b=\"" + "\\\\" * 30000, "a; b=" * 9999, "," * 60000, "a; b; " * 9999):
        try:
            parse_extensions([text])
        except ValueError:
            pass


# a client's side

def answered(*changes, offer, status=101):
    """A good answer to `offer`, with changes as `request` takes them."""
    key = dict(offer.fields())["Sec-WebSocket-Key"]
    fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(key))]
    for name, value in changes:
        if name[0] == "+":
            fields.append((name[1:], value))
            continue
        kept = [pair for pair in fields if pair[0] != name]
        fields = kept if value is None else [*kept, (name, value)]
    response = Response()
    response.status = status
    for name, value in fields:
        response.headers.add(name, value)
    return response


def test_what_a_client_asks_for():
    fields = dict(Offer(compression=False).fields())
    key = fields.pop("Sec-WebSocket-Key")
    assert shake._KEY(key)
    assert fields == {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    assert len({dict(Offer().fields())["Sec-WebSocket-Key"] for _ in range(20)}) == 20
    assert dict(Offer(("a", "b")).fields())["Sec-WebSocket-Protocol"] == "a, b"


@needs_zlib
def test_a_client_offers_compression():
    assert dict(Offer().fields())["Sec-WebSocket-Extensions"] == "permessage-deflate; client_max_window_bits"


@pytest.mark.parametrize("changes, subprotocol", [
    ([], None),
    ([("Upgrade", "WebSocket")], None),
    ([("Connection", "keep-alive, upgrade")], None),
    ([("Sec-WebSocket-Protocol", "b")], "b"),
    ([("Sec-WebSocket-Extensions", "")], None),
])
def test_answers_that_are_taken(changes, subprotocol):
    offer = Offer(("a", "b"))
    agreed = offer.check(answered(*changes, offer=offer))
    assert agreed.subprotocol == subprotocol and agreed.deflate is None


@pytest.mark.parametrize("status", [100, 200, 204, 301, 400, 401, 403, 404, 426, 500, 503])
def test_any_other_status_is_an_http_error(status):
    offer = Offer()
    with pytest.raises(HttpError) as info:
        offer.check(answered(offer=offer, status=status))
    assert info.value.status == status


@pytest.mark.parametrize("code, changes", [
    (1002, [("Upgrade", None)]),
    (1002, [("Upgrade", "h2c")]),
    (1002, [("Upgrade", "websocket, h2c")]),
    (1002, [("+Upgrade", "websocket")]),
    (1002, [("Connection", None)]),
    (1002, [("Connection", "keep-alive")]),
    (1002, [("Sec-WebSocket-Accept", None)]),
    (1002, [("Sec-WebSocket-Accept", "")]),
    (1002, [("Sec-WebSocket-Accept", ACCEPT)]),
    (1002, [("+Sec-WebSocket-Accept", ACCEPT)]),
    (1002, [("Sec-WebSocket-Protocol", "c")]),
    (1002, [("Sec-WebSocket-Protocol", "")]),
    (1002, [("Sec-WebSocket-Protocol", "A")]),
    (1002, [("Sec-WebSocket-Protocol", "a, b")]),
    (1002, [("Sec-WebSocket-Protocol", "a"), ("+Sec-WebSocket-Protocol", "b")]),
    (1010, [("Sec-WebSocket-Extensions", "x-unknown")]),
    (1010, [("Sec-WebSocket-Extensions", "permessage-deflate; what")]),
    (1010, [("Sec-WebSocket-Extensions", "a;")]),
    (1010, [("Sec-WebSocket-Extensions", "@")]),
])
def test_answers_that_break_the_rules(code, changes):
    offer = Offer(("a", "b"))
    with pytest.raises(WebSocketError) as info:
        offer.check(answered(*changes, offer=offer))
    assert info.value.close_code == code and info.value.reason


def test_an_extension_that_was_not_offered():
    offer = Offer(compression=False)
    with pytest.raises(WebSocketError, match="none was offered"):
        offer.check(answered(("Sec-WebSocket-Extensions", "permessage-deflate"), offer=offer))


@needs_zlib
def test_compression_that_was_offered():
    offer = Offer()
    assert offer.check(answered(("Sec-WebSocket-Extensions", "permessage-deflate"), offer=offer)).deflate is not None
