"""The memo is honest: what is remembered never changes what is told, nor what is refused."""

import pytest

from icey.http import Parser
from icey.http.http1 import headcache as memos, parser as parsers
from icey.http.http1.headcache import HeaderCache
from tests.fuzz.messages import Recorder, bytewise, feed, limits_near, parser_for, random_cuts, record, stream
from tests.fuzz.mutate import mutated
from tests.support import seeds


def head(target=b"/", method=b"GET", **fields):
    """A request; the fields in order, `_` for `-`."""
    lines = b"".join(b"%s: %s\r\n" % (name.replace("_", "-").encode(), value) for name, value in fields.items())
    return b"%s %s HTTP/1.1\r\n%s\r\n" % (method, target, lines)


def same(messages, **options):
    """That all readers tell the same of `messages`; the record."""
    strict = record(b"".join(messages), strict=True, **options)
    assert record(messages, **options) == strict
    assert record(b"".join(messages), **options) == strict
    return strict


def fields(events):
    return [dict(event[4]) for event in events if event[0] == "request"]


# the property

@pytest.mark.parametrize("seed", seeds.each(range(8), quick=2))
def test_the_same_stream_with_and_without_memory(seed):
    rng = seeds.rng(seed)
    shared = HeaderCache()
    count = 0
    while count < seeds.rounds(400, 1200):
        messages = stream(rng)
        if rng.random() < 0.4:
            place = rng.randrange(len(messages))
            messages[place] = mutated(rng, [messages[place]])
        count += len(messages)
        limits = limits_near(rng, messages)
        whole = b"".join(messages)
        strict = record(whole, strict=True, limits=limits)
        for pieces in (messages, [whole], random_cuts(rng, whole, 10), bytewise(whole)):
            memo = shared if rng.random() < 0.7 else HeaderCache()
            hold = (lambda: rng.random() < 0.2) if rng.random() < 0.3 else None
            assert record(pieces, memo=memo, limits=limits, hold=hold) == strict, "seed %d, %r" % (seed, messages)


@pytest.mark.parametrize("seed", seeds.each(range(1000, 1008), quick=2))
def test_a_warm_parser_and_a_fresh_one_for_each_message(seed):
    rng = seeds.rng(seed)
    memo = HeaderCache()
    recorder = Recorder()
    parser = parser_for(recorder, memo=memo)
    checked = 0
    while checked < seeds.rounds(400, 1200):
        for message in stream(rng):
            alone = record(message, strict=True, end=False)
            if rng.random() < 0.05:
                parser.forget()
            recorder.events = []
            feed(recorder, [message], end=False)
            assert recorder.events == alone, "seed %d, %r" % (seed, message)
            checked += 1
            if not parser.idle or parser._blank:  # failed, or a body is due
                recorder = Recorder()
                parser = parser_for(recorder, memo=memo)


# what could be remembered wrongly

def test_a_whole_head_again_after_one_that_the_strict_reader_took():
    a, b = head(b"/a", Host=b"a", X=b"one"), head(b"/b", b"PURGE", Host=b"b", Y=b"two")
    assert fields(same([a, b, a])) == [{"host": "a", "x": "one"}, {"host": "b", "y": "two"}, {"host": "a", "x": "one"}]
    with_body = head(b"/b", b"PURGE", Host=b"b", Content_Length=b"2") + b"hi"
    assert [event[0] for event in same([a, with_body, a, a])] == ["request", "request", "body", "end", "request",
                                                                  "request"]


@pytest.mark.parametrize("odd", [
    head(b"/b", b"PURGE", Host=b"b", X=b"2"), b"GET http://c/ HTTP/1.1\r\nHost: b\r\nX: 2\r\n\r\n",
    b"GET /b HTTP/1.0\r\nHost: b\r\nX: 2\r\n\r\n",
    b"GET /b HTTP/1.2\r\nHost: b\r\nX: 2\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: b\r\nX: 2\r\n\r\n",
    b"\r\nGET /b HTTP/1.1\r\nHost: b\r\nX: 2\r\n\r\n",
    head(b"/b", Host=b"b", X=b"2", x=b"3"),
])
def test_an_odd_head_anywhere_among_others(odd):
    varying = [head(b"/%d" % index, Host=b"a", X=b"%d" % (index // 2)) for index in range(6)]
    for place in range(len(varying) + 1):
        messages = varying[:place] + [odd] + varying[place:] + varying[:place] + [odd]
        assert len(fields(same(messages))) == len(messages)


@pytest.mark.parametrize("name, values", [
    ("Content-Length", [b"0", b"1", b"2", b"00", b"0"]),
    ("Connection", [b"keep-alive", b"close", b"x", b"upgrade", b"keep-alive"]),
    ("Expect", [b"100-continue", b"100-Continue", b"100-continue"]), ("Host", [b"a", b"b", b"", b"[::1]", b"a"]),
    ("Upgrade", [b"x", b"y", b"x"]),
])
def test_framing_fields_that_vary(name, values):
    messages = []
    for value in values * 4:
        message = head(b"/", Host=b"h",
                       **{"A": b"1", name.replace("-", "_"): value, "B": b"2"}) if name != "Host" else head(Host=value,
                                                                                                            A=b"1")
        if name == "Content-Length":
            message += b"x" * int(value)
        messages.append(message)
    told = same(messages)
    assert [value[name.lower()].encode() for value in fields(told)] == values * 4


def test_versions_that_take_turns_with_the_same_fields():
    fields = [(), ((b"Connection", b"keep-alive"),), ((b"Transfer-Encoding", b"chunked"),), ((b"Expect", b"100-continue"),)]
    blocks = [b"Host: a\r\n" + b"".join(b"%s: %s\r\n" % pair for pair in more) + b"\r\n" for more in fields]
    lines = [b"GET / HTTP/1.%d\r\n" % minor for minor in (0, 1, 0, 0, 1, 1, 0)]
    for block in blocks:
        for first in range(len(lines)):
            same([line + block + b"0\r\n\r\n" * (b"chunked" in block) for line in lines[first:]])
    assert [event[3] for event in same([b"GET /%d HTTP/1.%d\r\n%s" % (number, number % 2, blocks[1]) for number in range(20)])
            if event[0] == "request"] == ["1.0", "1.1"] * 10


def test_a_body_after_a_remembered_head_is_framed():
    message = head(b"/", b"POST", Host=b"a", Content_Length=b"3") + b"abc"
    assert [event[0] for event in same([message] * 10)] == ["request", "body", "end"] * 10
    chunked = head(b"/", b"POST", Host=b"a", Transfer_Encoding=b"chunked") + b"1\r\nx\r\n0\r\n\r\n"
    assert [event[0] for event in same([message, chunked] * 10)] == ["request", "body", "end"] * 20


def test_a_head_that_is_a_prefix_of_another():
    short = head(Host=b"a")
    long = short[:-2] + b"X: y\r\n\r\n"
    assert fields(same([short, long, short, long])) == [{"host": "a"}, {"host": "a", "x": "y"}] * 2
    cut = record([short, long[:-4], b"\r\n\r\n", short])
    assert fields(cut) == [{"host": "a"}, {"host": "a", "x": "y"}, {"host": "a"}]


@pytest.mark.parametrize("bad", [b"a b", b"a\x00", b"a\nb", b"a\rb", b"a\x7f", b"\x0b"])
def test_a_bad_value_where_good_ones_were_remembered(bad):
    good = [head(b"/%d" % index, Host=b"a", X=b"%d" % index) for index in range(8)]
    events = same(good + [head(Host=b"a", X=bad)] + good)
    assert len(fields(events)) == (17 if bad == b"a b" else 8)


def test_smuggling_through_a_hole():
    good = [head(b"/%d" % index, Host=b"a", X=b"%d" % index) for index in range(8)]
    for bad in (b"a\r\nHost: b", b"a\r\nContent-Length: 5", b"a\nContent-Length: 5",
                b"a\r\n\r\nGET /x HTTP/1.1\r\nHost: b"):
        same(good + [head(Host=b"a", X=bad)] + good)


def test_the_names_of_received_fields_keep_no_spelling():
    a, b = head(Host=b"a", X_Id=b"1"), head(HOST=b"a", x_id=b"1")
    assert fields(same([a, b] * 5)) == [{"host": "a", "x-id": "1"}] * 10


# what the application does with what it gets

class Changing:
    """Changes all it can of every request."""

    def __init__(self, memo=None):
        self.parser = Parser(self, memo=memo)
        self.seen = []

    def on_head(self, message):
        headers = message.headers
        self.seen.append(headers.items())
        headers["host"] = "evil"
        headers["x-id"] = "evil"
        headers.add("transfer-encoding", "chunked")
        headers.items().clear()
        del headers["a"]
        message.target = "/evil"
        message.method = "EVIL"


@pytest.mark.parametrize("varying", [False, True])
def test_a_changed_request_does_not_change_the_next(varying):
    memo = HeaderCache()
    first, second = Changing(memo), Changing(memo)
    for index in range(12):
        message = head(b"/", Host=b"h", A=b"1", X_Id=b"%d" % (index if varying else 0))
        first.parser.feed(message)
        second.parser.feed(message)
    expected = [[("host", "h"), ("a", "1"), ("x-id", str(index if varying else 0))] for index in range(12)]
    assert first.seen == second.seen == expected
    recorder = Recorder()
    parser_for(recorder, memo=memo)
    assert fields(feed(recorder, [head(Host=b"h", A=b"1", X_Id=b"0")])) == [dict(expected[0][:2], **{"x-id": "0"})]


# the tiers take part, and no more than they should

def tiers(monkeypatch):
    """Counts the heads that the strict reader, and the line memo, had to read."""
    counts = {"strict": 0, "lines": 0}
    strict, lines = Parser._feed_head_lines, Parser._remembered

    def count_strict(self, data, at):
        counts["strict"] += 1
        return strict(self, data, at)

    def count_lines(self, *args):
        counts["lines"] += 1
        return lines(self, *args)

    monkeypatch.setattr(Parser, "_feed_head_lines", count_strict)
    monkeypatch.setattr(Parser, "_remembered", count_lines)
    return counts


def test_an_equal_block_is_read_once(monkeypatch):
    counts = tiers(monkeypatch)
    record([head(b"/%d" % index, Host=b"a", X=b"y") for index in range(50)])
    assert counts == {"strict": 0, "lines": 1}


@pytest.mark.parametrize("vary", [1, 2, 3, 4])
def test_up_to_four_varying_fields_are_learned(monkeypatch, vary):
    counts = tiers(monkeypatch)
    varying = [{"X%d" % field: b"%d" % (index if field < vary else 0) for field in range(6)} for index in range(100)]
    record([head(b"/", Host=b"a", **fields) for fields in varying])
    assert counts["strict"] == 0 and counts["lines"] <= 3


def test_learning_that_never_helps_gets_seldom(monkeypatch):
    calls = []
    learned = memos.Template.learned
    monkeypatch.setattr(parsers.Template, "learned", lambda *args: calls.append(1) or learned(*args))
    record([head(b"/", Host=b"a", **{"X%d" % field: b"%d" % index for field in range(6)}) for index in range(1000)])
    assert 5 < len(calls) < 40


def test_more_than_is_decoded_for_a_template_is_read_another_way():
    messages = [head(b"/", Host=b"a", X=b"%d" % index) for index in range(2000)]
    assert len(b"".join(messages)) > 4 * parsers.MOST_DECODED
    assert len(same(messages)) == 2000


def test_forgetting(monkeypatch):
    counts = tiers(monkeypatch)
    recorder = Recorder()
    parser = parser_for(recorder)
    message = head(Host=b"a", Cookie=b"s3cret")
    for _ in range(3):
        parser.feed(message)
        parser.forget()
        kept = [getattr(parser, name) for name in Parser.__slots__]
        assert "s3cret" not in repr(kept) and parser._template is None
    assert counts["lines"] == 3 and len(recorder.events) == 3


def test_no_secret_gets_into_the_memo_of_a_server():
    memo = HeaderCache()
    names = ("Cookie", "Authorization", "Proxy_Authorization")
    for name in names:
        for index in range(5):
            record([head(Host=b"a", **{name: b"s3cret%d" % index}), head(Host=b"a", **{name: b"s3cret"})], memo=memo)
    assert list(memo) == ["Host: a"]


def test_parsers_share_a_memo_without_sharing_messages():
    memo = HeaderCache()
    recorders = [Recorder() for _ in range(5)]
    parsers_ = [parser_for(recorder, memo=memo) for recorder in recorders]
    for index in range(20):
        for number, parser in enumerate(parsers_):
            parser.feed(head(b"/%d" % number, Host=b"a", X=b"%d" % (index * number)))
    for number, recorder in enumerate(recorders):
        assert fields(recorder.events) == [{"host": "a", "x": str(index * number)} for index in range(20)]
