"""What is remembered of a connection's responses never changes what is told of the next one, nor what is refused."""

import pytest

from icey.base.limits import DEFAULTS, Limits
from icey.http import Parser
from icey.http.http1.headcache import HeaderCache
from tests.fuzz.messages import Recorder, answers, bytewise, feed, parser_for, random_cuts, record
from tests.fuzz.mutate import mutated
from tests.support import seeds

OK = b"HTTP/1.1 200 OK\r\nServer: icey\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nhi"


def head(status=b"200 OK", version=b"1.1", **fields):
    """A response's head; the fields in order, `_` for `-`."""
    lines = b"".join(b"%s: %s\r\n" % (name.replace("_", "-").encode(), value) for name, value in fields.items())
    return b"HTTP/%s %s\r\n%s\r\n" % (version, status, lines)


def same(messages, **options):
    """That all readers tell the same of `messages`; the record."""
    whole = b"".join(messages)
    strict = record(whole, responses=True, strict=True, **options)
    for pieces in (messages, [whole], bytewise(whole)):
        assert record(pieces, responses=True, **options) == strict
    return strict


def limits_near(rng, messages):
    """Limits at which one of `messages` just passes or just fails; the defaults for some."""
    first, _, block = rng.choice(messages).partition(b"\r\n\r\n")[0].partition(b"\r\n")
    which, less = rng.randrange(4), rng.randrange(2)
    if which == 0:
        return DEFAULTS.replace(max_head=max(0, len(block) + 4 - less))
    if which == 1:
        return DEFAULTS.replace(max_fields=max(0, block.count(b"\r\n") + bool(block) - less))
    return DEFAULTS


@pytest.mark.parametrize("seed", seeds.each(range(8), quick=2))
def test_the_same_stream_with_and_without_memory(seed):
    rng = seeds.rng(seed)
    shared = HeaderCache()
    count = 0
    while count < seeds.rounds(400, 1200):
        method = rng.choice(["GET", "GET", "POST", "HEAD", "CONNECT"])
        messages = answers(rng, method)
        if rng.random() < 0.4:
            place = rng.randrange(len(messages))
            messages[place] = mutated(rng, [messages[place]])
        count += len(messages)
        options = {"responses": True, "method": method, "limits": limits_near(rng, messages)}
        whole = b"".join(messages)
        strict = record(whole, strict=True, **options)
        for pieces in (messages, [whole], random_cuts(rng, whole, 10), bytewise(whole)):
            memo = shared if rng.random() < 0.7 else None
            hold = (lambda: rng.random() < 0.2) if rng.random() < 0.3 else None
            assert record(pieces, memo=memo, hold=hold, **options) == strict, "seed %d, %s, %r" % (seed, method, messages)


@pytest.mark.parametrize("seed", seeds.each(range(1000, 1004), quick=1))
def test_a_warm_parser_and_a_fresh_one_for_each_message(seed):
    rng = seeds.rng(seed)
    checked = 0
    recorder = Recorder()
    parser = parser_for(recorder, responses=True)
    while checked < seeds.rounds(400, 1200):
        method = rng.choice(["GET", "HEAD", "CONNECT"])
        for message in answers(rng, method, 5):
            alone = record(message, responses=True, strict=True, method=method, end=False)
            if rng.random() < 0.05:
                parser.forget()
            parser.request_method = method
            recorder.events = []
            feed(recorder, [message], end=False)
            assert recorder.events == alone, "seed %d, %s, %r" % (seed, method, message)
            checked += 1
            if not parser.idle or parser._blank:  # failed, a body is due, or an interim answer was counted
                recorder = Recorder()
                parser = parser_for(recorder, responses=True)


# what could be remembered wrongly

def test_the_same_head_to_another_method():
    recorder = Recorder()
    parser = parser_for(recorder, responses=True)
    told = []
    for method in ("GET", "HEAD", "HEAD", "GET", "GET", "POST"):
        parser.request_method = method
        parser.feed(OK if method != "HEAD" else OK[:-2])
        told.append([event[0] for event in recorder.events])
        recorder.events = []
    full = ["response", "body", "end"]
    assert told == [full, ["response"], ["response"], full, full, full]


def test_the_same_head_to_connect_is_a_tunnel():
    message = head(Content_Length=b"2") + b"hi"
    recorder = Recorder()
    parser = parser_for(recorder, responses=True)
    parser.feed(message)
    parser.request_method = "CONNECT"
    assert parser.feed(message) == len(message) - 2 and parser.framing.upgrade


def test_an_answer_without_a_body_again_and_again():
    for message in (head(b"204 No Content"), head(b"304 Not Modified", ETag=b'"a"'), head(Content_Length=b"0")):
        told = same([message] * 5)
        assert [event[0] for event in told] == ["response"] * 5


@pytest.mark.parametrize("odd", [
    head(b"204 No Content"), head(b"103 Early Hints", Link=b"a"), head(b"200 OK", b"1.0", Content_Length=b"0"),
    head(b"200", Content_Length=b"0"), head(Content_Length=b"1", content_length=b"1"),
    head(Transfer_Encoding=b"chunked") + b"0\r\n\r\n",
    head(Set_Cookie=b"a", set_cookie=b"b", Content_Length=b"0"), b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    head(b"100 Continue"), head(b"101 Switching Protocols"), head(),
])
def test_an_odd_head_anywhere_among_others(odd):
    varying = [head(Server=b"a", ETag=b"%d" % (index // 2), Content_Length=b"2") + b"hi" for index in range(5)]
    for place in range(len(varying) + 1):
        same(varying[:place] + [odd] + varying[place:] + varying[:place] + [odd])


@pytest.mark.parametrize("bad", [b"a\x00", b"a\nb", b"a\rb", b"a\x7f", b"\x0b"])
def test_a_bad_value_where_good_ones_were_remembered(bad):
    good = [head(ETag=b"%d" % index, Content_Length=b"0") for index in range(4)]
    told = same(good + [head(ETag=bad, Content_Length=b"0")] + good)
    assert [event[0] for event in told] == ["response"] * 4 + ["error"]


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 OK\n", b"HTTP/1.1 200 O\x00K\r\n", b"HTTP/1.1 2000 OK\r\n",
                                  b"HTTP/2 200 OK\r\n", b"\r\n"])
def test_a_bad_status_line_where_good_ones_were_remembered(line):
    rest = b"Server: a\r\nContent-Length: 0\r\n\r\n"
    assert same([b"HTTP/1.1 200 OK\r\n" + rest] * 3 + [line + rest])[-1][1:3] == ("BadResponse", 502)


@pytest.mark.parametrize("limits", [Limits(max_head=len(b"A: b\r\n\r\n")), Limits(max_fields=1), Limits(max_target=0)])
def test_limits_hold_at_their_edge(limits):
    """A head that just passes, and those that do not, alone and behind one that was remembered."""
    passes = head(b"204 No Content", A=b"b")
    assert [event[0] for event in same([passes] * 3, limits=limits)] == ["response"] * 3
    for fails in (head(b"204 No Content", A=b"b", B=b"c"), head(b"204 " + b"x" * 300, A=b"b")):
        same([fails], limits=limits)
        same([passes, fails, passes], limits=limits)


class Changing:
    """Changes all it can of every response."""

    def __init__(self, memo=None):
        self.parser = Parser(self, responses=True, memo=memo)
        self.seen = []

    def on_head(self, message):
        self.seen.append((message.status, message.reason, message.headers.items()))
        message.headers["server"] = "evil"
        message.headers.add("transfer-encoding", "chunked")
        message.headers.items().clear()
        message.status = 500

    def on_body(self, view):
        pass

    on_end_of_body = on_trailers = lambda self: None


@pytest.mark.parametrize("cookies", [1, 2])
def test_a_changed_response_does_not_change_the_next(cookies):
    memo = HeaderCache()
    observers = [Changing(memo), Changing(memo)]
    message = b"HTTP/1.1 200 OK\r\nServer: a\r\n%sContent-Length: 2\r\n\r\nhi" % (b"Set-Cookie: a=b\r\n" * cookies)
    for _ in range(5):
        for observer in observers:
            observer.parser.feed(message)
    expected = (200, "OK", [("server", "a")] + [("set-cookie", "a=b")] * cookies + [("content-length", "2")])
    assert observers[0].seen == observers[1].seen == [expected] * 5


# the tiers take part, and no more than they should

def test_what_each_tier_reads(monkeypatch):
    counts = {"strict": 0, "lines": 0}
    strict, lines = Parser._feed_head_lines, Parser._remembered_answer

    def count_strict(self, data, at):
        counts["strict"] += 1
        return strict(self, data, at)

    def count_lines(self, data, at):
        counts["lines"] += 1
        return lines(self, data, at)

    monkeypatch.setattr(Parser, "_feed_head_lines", count_strict)
    monkeypatch.setattr(Parser, "_remembered_answer", count_lines)
    record([OK] * 50, responses=True)
    assert counts == {"strict": 0, "lines": 1}
    record([OK.replace(b":37", b":%d" % (10 + index // 5)) for index in range(50)], responses=True)
    assert counts == {"strict": 0, "lines": 11}
    record(head(b"103 Early Hints") + OK, responses=True)
    assert counts["strict"] == 1


def test_forgetting():
    recorder = Recorder()
    parser = parser_for(recorder, responses=True)
    for _ in range(3):
        parser.feed(head(Set_Cookie=b"s3cret", Content_Length=b"0"))
        parser.forget()
        assert "s3cret" not in repr([getattr(parser, name) for name in Parser.__slots__])
    assert len(recorder.events) == 3 and list(parser._memo) == ["Content-Length: 0"]
