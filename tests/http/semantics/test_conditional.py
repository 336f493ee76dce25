"""Validators, conditions and ranges: literal requests, and what RFC 9110 says to each."""

import os
import re
import time

import pytest

from icey.http.semantics import conditional
from icey.http.semantics.conditional import (
    content_range,
    evaluate,
    if_range,
    multipart,
    parse_etags,
    parse_ranges,
    precondition,
    stat_etag,
    strong_match,
    weak_match,
)
from icey.http.semantics.dates import http_date, parse_date
from icey.http.semantics.headers import Headers
from tests.support import seeds

NOW = 1_800_000_000  # Fri, 15 Jan 2027 08:00:00 GMT
THEN = 784111777  # RFC 9110's own example
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"


class Fields:
    """A request's headers, as far as conditional.py looks at them."""

    def __init__(self, *pairs):
        self.pairs = pairs

    def get_all(self, name):
        return [value for key, value in self.pairs if key.lower() == name]

    def __contains__(self, name):
        return bool(self.get_all(name))


# -- dates

@pytest.mark.parametrize("text, seconds", [
    ("Sun, 06 Nov 1994 08:49:37 GMT", THEN),
    ("Sunday, 06-Nov-94 08:49:37 GMT", THEN),
    ("Sun Nov  6 08:49:37 1994", THEN),
    ("Wed Nov 16 08:49:37 1994", THEN + 10 * 86400),
    ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
    ("Tue, 29 Feb 2000 12:00:00 GMT", 951825600),
    ("Thu, 29 Feb 2024 00:00:00 GMT", 1709164800),
    ("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800),  # a leap second is the next one
    ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799),
    ("Mon, 06 Nov 1994 08:49:37 GMT", THEN),  # a Sunday, but the date is clear without that
    ("Tuesday, 15-Jan-27 08:00:00 GMT", NOW),
])
def test_the_three_date_forms_are_read(text, seconds):
    assert parse_date(text, NOW) == seconds


@pytest.mark.parametrize("text", [
    "", "0", "now", "784111777",
    "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 gmt",
    "Sun, 6 Nov 1994 08:49:37 GMT", "Sun,  06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 94 08:49:37 GMT",
    "Sun, 06 Nov 1994 8:49:37 GMT", "Sun, 06 Nov 1994 08:49 GMT", "Sun, 06 Nov 1994 08:49:37",
    "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 +0000", "Sun, 06 Nov 1994 08:49:37 EST",
    "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:00 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT", "Wed, 29 Feb 2023 00:00:00 GMT",
    "Mon, 29 Feb 1900 00:00:00 GMT", "Sun, 06 Xxx 1994 08:49:37 GMT", "Xyz, 06 Nov 1994 08:49:37 GMT",
    " " + DATE, DATE + " ", DATE + "\n", DATE + "; length=3", DATE + ", " + DATE, "Sun, 06-Nov-1994 08:49:37 GMT",
    "Sun, 06-Nov-94 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT", "Sunday, 06 Nov 94 08:49:37 GMT",
    "Sunday, 31-Feb-94 08:49:37 GMT", "Sun Nov 6 08:49:37 1994", "Sun Nov 06 08:49:37 1994 GMT",
    "Sun Nov  6 08:49:37 94", "Sun Nov   08:49:37 1994", "Sun Nov  0 08:49:37 1994",
    "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT",  # Arabic-Indic digits are digits to int()
])
def test_anything_else_is_no_date(text):
    assert parse_date(text, NOW) is None


@pytest.mark.parametrize("now, year, expected", [
    ("Fri, 15 Jan 2027 08:00:00 GMT", "27", 2027),
    ("Fri, 15 Jan 2027 08:00:00 GMT", "26", 2026),
    ("Fri, 15 Jan 2027 08:00:00 GMT", "00", 2000),
    ("Fri, 15 Jan 2027 08:00:00 GMT", "76", 2076),  # less than 50 years ahead
    ("Fri, 15 Jan 2027 08:00:00 GMT", "77", 2077),  # 50 years ahead to the second: not more
    ("Fri, 15 Jan 2027 07:59:59 GMT", "77", 1977),  # one second more
    ("Fri, 15 Jan 2027 08:00:00 GMT", "78", 1978),
    ("Fri, 15 Jan 2027 08:00:00 GMT", "94", 1994),
    ("Fri, 15 Jan 2060 08:00:00 GMT", "94", 2094),
    ("Fri, 15 Jan 2060 08:00:00 GMT", "05", 2005),
])
def test_a_year_of_two_digits_is_at_most_fifty_years_ahead(now, year, expected):
    seconds = parse_date("Friday, 15-Jan-%s 08:00:00 GMT" % year, parse_date(now))
    assert time.gmtime(seconds).tm_year == expected


def test_a_leap_day_is_checked_in_the_year_it_turns_out_to_be():
    assert parse_date("Tuesday, 29-Feb-00 00:00:00 GMT", NOW) == 951782400
    assert parse_date("Monday, 29-Feb-99 00:00:00 GMT", NOW) is None


def test_without_now_the_clock_is_asked():
    this_year = time.gmtime().tm_year
    assert time.gmtime(parse_date("Friday, 02-Jan-%02d 08:00:00 GMT" % (this_year % 100))).tm_year == this_year


def test_every_written_date_is_read_back():
    rng = seeds.rng(5)
    for _ in range(2000):
        seconds = rng.randrange(0, 253402300799)
        assert parse_date(http_date(seconds), NOW) == seconds


# -- entity tags

@pytest.mark.parametrize("values, tags", [
    (['"a"'], ['"a"']),
    (['W/"a"'], ['W/"a"']),
    (['""'], ['""']),
    (['"a", "b" ,\t"c"'], ['"a"', '"b"', '"c"']),
    (['"a","b"'], ['"a"', '"b"']),
    (['"a,b", "c"'], ['"a,b"', '"c"']),  # a comma inside a tag separates nothing
    (['"a"', 'W/"b"'], ['"a"', 'W/"b"']),  # two lines are one list
    ([',, "a", ,'], ['"a"']),  # empty members are skipped
    (['"\\"'], ['"\\"']),  # there are no escapes in a tag
    (['"\xe9\xff"'], ['"\xe9\xff"']),
    (["*"], ["*"]),
    ([" * "], ["*"]),
    ([""], None), ([","], None), (["a"], None), (['"a'], None), (['a"'], None), (['w/"a"'], None), (['"a" "b"'], None),
    (['"a"b'], None), (['"a b"'], None), (['"a\x7f"'], None), (["'a'"], None), (['W/a'], None), (['"a", b'], None),
    (['*, "a"'], None), (["*", "*"], None), (['"a", *'], None), (['"a"\n'], None),
])
def test_lists_of_entity_tags(values, tags):
    assert parse_etags(values) == tags


def test_a_long_list_is_read_in_linear_time():
    assert parse_etags([",".join(['"x"'] * 20000)]) == ['"x"'] * 20000
    assert parse_etags(["," * 60000 + "x"]) is None
    assert parse_etags(['"x" ' + " " * 60000 + "x"]) is None


@pytest.mark.parametrize("one, other, strong, weak", [  # the table of section 8.8.3.2
    ('W/"1"', 'W/"1"', False, True), ('W/"1"', 'W/"2"', False, False), ('W/"1"', '"1"', False, True),
    ('"1"', 'W/"1"', False, True), ('"1"', '"1"', True, True),
])
def test_comparison(one, other, strong, weak):
    assert strong_match(one, other) is strong
    assert weak_match(one, other) is weak


def test_a_files_tag_is_strong_and_changes_with_what_it_is_made_of(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    os.utime(path, ns=(5, 1_000_000_000))
    first = stat_etag(os.stat(path))
    assert parse_etags([first]) == [first] and not first.startswith("W/")
    assert stat_etag(os.stat(path)) == first
    os.utime(path, ns=(5, 1_000_000_100))
    moved = stat_etag(os.stat(path))
    path.write_bytes(b"three")
    os.utime(path, ns=(5, 1_000_000_000))
    longer = stat_etag(os.stat(path))
    other = tmp_path / "other"
    other.write_bytes(b"one")
    os.utime(other, ns=(5, 1_000_000_000))
    assert len({first, moved, longer, stat_etag(os.stat(other))}) == 4


# -- conditions

E, W, X = '"e"', 'W/"e"', '"x"'
IM, IUS, INM, IMS, IR, R = (
    "If-Match", "If-Unmodified-Since", "If-None-Match", "If-Modified-Since", "If-Range", "Range")
FIVE = (R, "bytes=0-4")


@pytest.mark.parametrize("method, fields, status", [
    ("GET", [], 200), ("HEAD", [], 200), ("PUT", [], 200),
    # step 1: If-Match, strong
    ("GET", [(IM, E)], 200), ("GET", [(IM, "*")], 200), ("GET", [(IM, X)], 412), ("GET", [(IM, W)], 412),
    ("GET", [(IM, X + ", " + E)], 200), ("GET", [(IM, X), (IM, E)], 200), ("PUT", [(IM, X)], 412),
    ("GET", [(IM, "e")], 412), ("GET", [(IM, "")], 412),
    # step 2: If-Unmodified-Since, only without If-Match
    ("GET", [(IUS, DATE)], 200), ("GET", [(IUS, AFTER)], 200), ("GET", [(IUS, BEFORE)], 412),
    ("PUT", [(IUS, BEFORE)], 412), ("GET", [(IM, E), (IUS, BEFORE)], 200), ("GET", [(IM, X), (IUS, AFTER)], 412),
    ("GET", [(IUS, "yesterday")], 200), ("GET", [(IUS, BEFORE), (IUS, BEFORE)], 200),
    # step 3: If-None-Match, weak
    ("GET", [(INM, E)], 304), ("HEAD", [(INM, E)], 304), ("PUT", [(INM, E)], 412), ("DELETE", [(INM, "*")], 412),
    ("GET", [(INM, W)], 304), ("GET", [(INM, "*")], 304), ("GET", [(INM, X)], 200), ("GET", [(INM, "e")], 200),
    ("GET", [(INM, X + "," + W)], 304), ("GET", [(INM, X), (INM, E)], 304), ("GET", [(INM, E + ", junk")], 200),
    # step 4: If-Modified-Since, only without If-None-Match, only for GET and HEAD
    ("GET", [(IMS, DATE)], 304), ("GET", [(IMS, AFTER)], 304), ("GET", [(IMS, BEFORE)], 200),
    ("HEAD", [(IMS, DATE)], 304), ("PUT", [(IMS, DATE)], 200), ("GET", [(IMS, "Sunday, 06-Nov-94 08:49:37 GMT")], 304),
    ("GET", [(IMS, "Sun Nov  6 08:49:37 1994")], 304), ("GET", [(IMS, DATE + "; length=5")], 200),
    ("GET", [(IMS, DATE), (IMS, DATE)], 200), ("GET", [(IMS, "Fri, 31 Dec 9999 23:59:59 GMT")], 304),
    ("GET", [(INM, X), (IMS, DATE)], 200), ("GET", [(INM, E), (IMS, BEFORE)], 304),
    # the steps in their order
    ("GET", [(IM, X), (INM, E)], 412), ("GET", [(IM, E), (INM, E)], 304), ("GET", [(IUS, BEFORE), (INM, E)], 412),
    ("GET", [(IUS, DATE), (IMS, DATE)], 304), ("GET", [(INM, E), FIVE], 304), ("GET", [(IM, X), FIVE], 412),
    ("GET", [(IMS, DATE), FIVE, (IR, E)], 304),
    # step 5: If-Range, then Range, for GET only
    ("GET", [FIVE], 206), ("HEAD", [FIVE], 200), ("POST", [FIVE], 200), ("GET", [FIVE, (IR, E)], 206),
    ("GET", [FIVE, (IR, W)], 200), ("GET", [FIVE, (IR, X)], 200), ("GET", [FIVE, (IR, "e")], 200),
    ("GET", [FIVE, (IR, E), (IR, E)], 200), ("GET", [FIVE, (IR, E + ", " + X)], 200), ("GET", [FIVE, (IR, "*")], 200),
    ("GET", [FIVE, (IR, DATE)], 206), ("GET", [FIVE, (IR, AFTER)], 200), ("GET", [FIVE, (IR, BEFORE)], 200),
    ("GET", [FIVE, (IR, "Sunday, 06-Nov-94 08:49:37 GMT")], 206), ("GET", [(IR, X)], 200), ("GET", [(IR, E)], 200),
    ("GET", [(R, "bytes=10-")], 416), ("GET", [(R, "bytes=10-"), (IR, E)], 416),
    ("GET", [(R, "bytes=10-"), (IR, X)], 200),
    ("GET", [(R, "bytes=junk")], 200), ("GET", [FIVE, FIVE], 200), ("GET", [(IM, E), (INM, X), FIVE, (IR, E)], 206),
])
def test_conditions_in_the_order_of_section_13_2_2(method, fields, status):
    lower = [(name.lower(), value) for name, value in [("Host", "x"), *fields]]
    received = Headers.received(dict(lower) if len(dict(lower)) == len(lower) else lower)
    for headers in (Fields(*fields), Headers(fields), received):
        got, ranges = evaluate(method, headers, etag=E, last_modified=THEN + 0.5, size=10, now=NOW)
        assert got == status
        assert ranges == ([(0, 5)] if status == 206 else [])


def test_dates_that_were_read_are_remembered_within_bounds(monkeypatch):
    monkeypatch.setattr(conditional, "MOST_DATES", 3)
    monkeypatch.setattr(conditional, "_dates", {})
    for _ in range(2):
        for offset in range(-5, 6):
            status = precondition("GET", Fields((IMS, http_date(THEN + offset))), last_modified=THEN)
            assert status == (304 if offset >= 0 else 200)
            assert len(conditional._dates) <= 3


def test_a_year_of_two_digits_is_read_anew():
    fields = Fields((IMS, "Tuesday, 15-Jan-27 08:00:00 GMT"))
    assert precondition("GET", fields, last_modified=NOW, now=NOW) == 304
    assert precondition("GET", fields, last_modified=NOW, now=0) == 200  # 1927


@pytest.mark.parametrize("fields, status", [
    ([(IM, E)], 412), ([(IM, "*")], 200), ([(INM, E)], 200), ([(INM, "*")], 304), ([(IUS, BEFORE)], 200),
    ([(IMS, DATE)], 200), ([FIVE], 200), ([FIVE, (IR, E)], 200), ([FIVE, (IR, DATE)], 200),
])
def test_what_has_no_validators_and_no_size_meets_few_conditions(fields, status):
    assert evaluate("GET", Fields(*fields)) == (status, [])


def test_without_validators_no_if_range_is_true():
    assert evaluate("GET", Fields(FIVE, (IR, E)), size=10) == (200, [])
    assert evaluate("GET", Fields(FIVE, (IR, DATE)), size=10) == (200, [])
    assert evaluate("GET", Fields(FIVE), size=10) == (206, [(0, 5)])


def test_a_weak_tag_of_ours_matches_weakly_only():
    assert precondition("GET", Fields((INM, E)), etag=W) == 304
    assert precondition("GET", Fields((IM, E)), etag=W) == 412
    assert not if_range(Fields((IR, W)), etag=W)


@pytest.mark.parametrize("now, strong", [(THEN - 5, False), (THEN, False), (THEN + 0.9, False), (THEN + 1, True)])
def test_a_date_is_a_strong_validator_once_its_second_is_over(now, strong):
    assert if_range(Fields((IR, DATE)), last_modified=THEN + 0.25, now=now) is strong


# -- ranges

@pytest.mark.parametrize("value, size, ranges", [
    ("bytes=0-4", 10, [(0, 5)]), ("bytes=5-", 10, [(5, 10)]), ("bytes=-3", 10, [(7, 10)]), ("bytes=0-0", 10, [(0, 1)]),
    ("bytes=9-9", 10, [(9, 10)]), ("bytes=0-", 10, [(0, 10)]), ("bytes=0-9", 10, [(0, 10)]),
    ("bytes=0-99", 10, [(0, 10)]),
    ("bytes=-10", 10, [(0, 10)]), ("bytes=-99", 10, [(0, 10)]), ("bytes=007-0008", 10, [(7, 9)]),
    ("BYTES=0-4", 10, [(0, 5)]), ("bytes=0-4,", 10, [(0, 5)]), ("bytes=,0-4", 10, [(0, 5)]),
    ("bytes=0-99999999999999999999", 10, [(0, 10)]), ("bytes=-99999999999999999999", 10, [(0, 10)]),
    # several: in the order asked for
    ("bytes=0-1,4-5", 10, [(0, 2), (4, 6)]), ("bytes=4-5 ,\t0-1", 10, [(4, 6), (0, 2)]),
    ("bytes=0-0,-1", 10, [(0, 1), (9, 10)]),
    ("bytes=0-1,2-3", 10, [(0, 2), (2, 4)]), ("bytes=0-1,20-30", 10, [(0, 2)]), ("bytes=20-,-2", 10, [(8, 10)]),
    # overlapping: one, where the first of them stood
    ("bytes=0-4,3-6", 10, [(0, 7)]), ("bytes=8-9,3-6,0-4", 10, [(8, 10), (0, 7)]), ("bytes=0-,0-,0-", 10, [(0, 10)]),
    ("bytes=5-6,0-9,1-2", 10, [(0, 10)]), ("bytes=0-2,8-8,2-4,4-6", 10, [(0, 7), (8, 9)]),
    # unsatisfiable
    ("bytes=10-", 10, []), ("bytes=10-20", 10, []), ("bytes=-0", 10, []), ("bytes=10-,11-12,-0", 10, []),
    ("bytes=0-", 0, None), ("bytes=0-0", 0, None), ("bytes=-0", 0, None), ("bytes=99999999999999999999-", 10, []),
    # no range at all
    ("bytes=-5", 0, None), ("bytes=0-,-1", 0, None), ("", 10, None), ("bytes", 10, None), ("bytes=", 10, None),
    ("bytes=,", 10, None), ("bytes=-", 10, None), ("bytes=--1", 10, None), ("bytes=1-2-3", 10, None),
    ("bytes=4-3", 10, None), ("bytes=0-1,4-3", 10, None), ("bytes=40-30", 10, None), ("bytes=a-b", 10, None),
    ("bytes=0-4x", 10, None), ("bytes=0 -4", 10, None), ("bytes=0- 4", 10, None), ("bytes=+0-4", 10, None),
    ("bytes=0-+4", 10, None), ("bytes=0x0-4", 10, None), ("bytes=0_0-4", 10, None), ("bytes=0-4;1", 10, None),
    ("bytes=0-1 4-5", 10, None), ("bytes=\u0660-4", 10, None), ("bytes =0-4", 10, None), (" bytes=0-4", 10, None),
    ("bytes:0-4", 10, None), ("lines=0-4", 10, None), ("bytes=0-4\n", 10, None), ("bytes=0-" + "9" * 33, 10, None),
    ("bytes=" + "9" * 5000 + "-", 10, None), ("bytes=" + "0-0," * 64 + "0-0", 10, None),
], ids=lambda value: value[:24] + "..." if isinstance(value, str) and len(value) > 40 else None)
def test_ranges(value, size, ranges):
    assert parse_ranges(value, size) == ranges


def test_the_greatest_number_of_ranges_is_served():
    value = "bytes=" + ",".join("%d-%d" % (at, at) for at in range(0, 64_000, 1000))
    assert value.count(",") + 1 == conditional.MAX_RANGES
    assert parse_ranges(value, 64_000) == [(at, at + 1) for at in range(0, 64_000, 1000)]
    assert parse_ranges(value + ",64000-", 64_000) is None


def test_many_small_ranges_close_together_become_one():
    few = ",".join("%d-%d" % (at, at) for at in range(0, 16, 2))
    assert parse_ranges("bytes=" + few, 1000) == [(at, at + 1) for at in range(0, 16, 2)]
    assert parse_ranges("bytes=" + few + ",16-16", 1000) == [(0, 17)]
    assert parse_ranges("bytes=" + few + ",500-599", 1000) == [(0, 15), (500, 600)]


def test_ranges_never_amplify():
    rng = seeds.rng(7)
    for _ in range(500):
        size = rng.randrange(1, 3000)
        specs = []
        for _ in range(rng.randrange(1, 65)):
            first, last = sorted((rng.randrange(4000), rng.randrange(4000)))
            specs.append(rng.choice(("%d-%d" % (first, last), "%d-" % first, "-%d" % last)))
        ranges = parse_ranges("bytes=" + ",".join(specs), size)
        assert all(0 <= start < stop <= size for start, stop in ranges)
        assert sum(stop - start for start, stop in ranges) <= size
        ordered = sorted(ranges)
        assert all(before[1] <= after[0] for before, after in zip(ordered, ordered[1:]))


def test_content_range():
    assert content_range((0, 5), 10) == "bytes 0-4/10"
    assert content_range((9, 10), 10) == "bytes 9-9/10"
    assert content_range(None, 10) == "bytes */10"


def test_the_frame_of_a_multipart_body():
    content_type, heads, tail, length = multipart([(0, 2), (8, 10)], 10, "text/plain", "XYZ")
    assert content_type == "multipart/byteranges; boundary=XYZ"
    body = heads[0] + b"01" + heads[1] + b"89" + tail
    assert body == (
        b"--XYZ\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
        b"\r\n--XYZ\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--XYZ--\r\n")
    assert length == len(body)


def test_boundaries_are_not_used_twice():
    first, second = (multipart([(0, 1)], 2, "a/b")[0] for _ in range(2))
    assert first != second
    assert re.fullmatch("multipart/byteranges; boundary=[0-9a-f]{24}", first)
