"""Validators, conditional requests and byte ranges (RFC 9110, sections 5.6.7, 8.8, 13 and 14), as pure functions.

Nothing here touches a socket, a file or an exchange, so any handler that knows an entity tag, a modification time
and a size can answer conditional and range requests correctly:

    status, ranges = evaluate(request.method, request.headers, etag=etag, last_modified=mtime, size=len(body))

    200  send the whole representation          206  send `ranges`, half-open (start, stop) pairs
    304  the client's copy is current           412  a precondition failed
    416  no range can be satisfied: answer with `Content-Range: bytes */SIZE`

Rules:

- the order of evaluation is section 13.2.2's: If-Match, else If-Unmodified-Since; If-None-Match, else
  If-Modified-Since; then If-Range, then Range;
- a field that must hold one value and holds none, two or a malformed one is ignored, as each field's section asks.
  The exceptions fail towards safety: a malformed If-Match or If-None-Match matches nothing, a malformed If-Range
  drops the Range;
- Range is looked at for GET only (section 14.2);
- whatever a client asks for, an answer made of ranges is never longer than the representation plus the heads of
  MAX_RANGES parts.

Not here: reading files (static.py), writing dates (answer.http_date).
"""

from __future__ import annotations

import os
import re
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional, Protocol, Sequence, Tuple

    Span = Tuple[int, int]

    class HeaderLookup(Protocol):
        """What is needed of a request's headers: every value of one name, in order, without outer white space."""

        def __contains__(self, name: object) -> bool: ...

        def get_all(self, name: str) -> Sequence[str]: ...


MAX_RANGES = 64     # a Range header that names more is ignored, and the whole representation is sent
MANY_RANGES = 8     # beyond this many, ranges that lie close together become one
PART_OVERHEAD = 80  # bytes: "close together", about what the head of one more part would cost

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


# -- dates ------------------------------------------------------------------------------------------------------------

_DAY = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_MONTH = "(?P<month>%s)" % "|".join(_MONTHS)
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATE_FORMS = (  # like all patterns here compiled, and then remembered by `re`, at first use: start-up is dear
    # IMF-fixdate: the only one that may be sent
    "(?:%s), (?P<day>[0-9]{2}) %s (?P<year>[0-9]{4}) %s GMT" % (_DAY, _MONTH, _TIME),
    # obsolete: RFC 850, with a year of two digits
    "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>[0-9]{2})-%s-(?P<year>[0-9]{2}) %s GMT" % (_MONTH, _TIME),
    # obsolete: C's asctime(), the day padded by a space
    "(?:%s) %s (?P<day>[0-9]{2}| [0-9]) %s (?P<year>[0-9]{4})" % (_DAY, _MONTH, _TIME),
)


def parse_date(text: str, now: Optional[float] = None) -> Optional[int]:
    """Seconds since the epoch of an HTTP-date in any of its three forms, or None if it is not exactly one of them.

    Case matters, so do single spaces, and the time zone is GMT. A year of two digits that would be more than 50 years
    after `now` is the latest past year that ends so (section 5.6.7). Second 60 is accepted: the grammar has leap
    seconds. The name of the day has to be one, but is not checked against the date: it adds no information.
    """
    for form in _DATE_FORMS:
        match = re.fullmatch(form, text)
        if match is not None:
            break
    else:
        return None
    year, day = int(match.group("year")), int(match.group("day"))
    hour, minute, second = int(match.group("hour")), int(match.group("minute")), int(match.group("second"))
    month = _MONTHS.index(match.group("month"))
    if hour > 23 or minute > 59 or second > 60:
        return None
    of_day = hour * 3600 + minute * 60 + second
    if len(match.group("year")) == 2:
        year = _full_year(year, (month, day, of_day), time.time() if now is None else now)
    return timestamp(year, month, day, of_day)


def timestamp(year: int, month: int, day: int, of_day: int) -> Optional[int]:
    """Seconds since the epoch of second `of_day` (UTC) of a day, or None if there is no such day. Month 0 is January."""
    if not 1 <= day <= _days_in(year, month):
        return None
    return _days_before(year, month, day) * 86400 + of_day


def _full_year(year: int, moment: Tuple[int, int, int], now: float) -> int:
    """A year of two digits is of this century, or of the last if that would be more than 50 years ahead."""
    today = time.gmtime(now)
    of_day = today.tm_hour * 3600 + today.tm_min * 60 + today.tm_sec
    full = today.tm_year // 100 * 100 + year
    if (full,) + moment > (today.tm_year + 50, today.tm_mon - 1, today.tm_mday, of_day):
        return full - 100
    return full


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days_in(year: int, month: int) -> int:
    return 29 if month == 1 and _is_leap(year) else _MONTH_DAYS[month]


def _days_before(year: int, month: int, day: int) -> int:
    """Days from the epoch to a date of the proleptic Gregorian calendar (month 0 is January)."""
    past = year - 1
    days = past * 365 + past // 4 - past // 100 + past // 400 - 719162      # 719162: 1 January 1970
    return days + sum(_MONTH_DAYS[:month]) + (1 if month > 1 and _is_leap(year) else 0) + day - 1


# -- entity tags ------------------------------------------------------------------------------------------------------

_ETAG = '(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'     # commas may stand inside: never split a list at them


def stat_etag(stat: os.stat_result) -> str:
    """A strong entity tag for a file, from its modification time in nanoseconds, its size and its inode.

    Strong (section 8.8.1) means: whenever a GET would see other bytes, the tag is another one. A write moves the
    modification time, a replacement by rename moves the inode, so this holds but for two cases nobody can see from
    outside the file: two writes of equal size within one tick of the file system's clock (some milliseconds; on FAT,
    two seconds), and a tool that writes in place and then puts the old time back. A weak tag would not be wrong
    less often; it would only make If-Range and If-Match useless, which is why every file server sends this one.
    """
    return '"%x-%x-%x"' % (stat.st_mtime_ns & 0xFFFFFFFFFFFFFFFF, stat.st_size, stat.st_ino)


def parse_etags(values: Sequence[str]) -> Optional[List[str]]:
    """The entity tags of all lines of an If-Match or If-None-Match, as they stand there; `["*"]` for `*`.

    None if the list is malformed, empty, or mixes `*` with tags.
    """
    text = ",".join(values)
    if text.strip(" \t") == "*":
        return ["*"]
    return _list_of(_ETAG, text) or None


def strong_match(one: str, other: str) -> bool:
    """Section 8.8.3.2: the same opaque tag, and neither is weak."""
    return one == other and not one.startswith("W/")


def weak_match(one: str, other: str) -> bool:
    """Section 8.8.3.2: the same opaque tag, weak or not."""
    return _opaque(one) == _opaque(other)


def _opaque(tag: str) -> str:
    return tag[2:] if tag.startswith("W/") else tag


def _list_of(item: str, text: str) -> Optional[List[str]]:
    """The members of a comma-separated list; empty ones are skipped (section 5.6.1), None if one is no `item`."""
    text = text.strip(" \t,")
    member_at, comma_at = re.compile(item).match, re.compile(r"[ \t]*(?:,[ \t,]*|\Z)").match
    members: List[str] = []
    at = 0
    while at < len(text):
        member = member_at(text, at)
        comma = None if member is None else comma_at(text, member.end())
        if member is None or comma is None:
            return None
        members.append(member.group())
        at = comma.end()
    return members


# -- preconditions ----------------------------------------------------------------------------------------------------

def evaluate(method: str, headers: HeaderLookup, *, etag: Optional[str] = None, last_modified: Optional[float] = None,
             size: Optional[int] = None, now: Optional[float] = None) -> Tuple[int, List[Span]]:
    """What to answer, as (status, ranges), for a request whose answer without any condition would be a 200.

    `etag` and `last_modified` (seconds since the epoch) are what the answer will say, None for a field it will not
    have; `size` is the length of the representation, None where ranges are not offered. Ranges is empty but for 206.
    """
    status = precondition(method, headers, etag=etag, last_modified=last_modified, now=now)
    if status != 200 or size is None or method != "GET":
        return status, []
    wanted = _single(headers, "range")
    if wanted is None or not if_range(headers, etag=etag, last_modified=last_modified, now=now):
        return 200, []
    ranges = parse_ranges(wanted, size)
    if ranges is None:
        return 200, []
    return (206 if ranges else 416), ranges


def precondition(method: str, headers: HeaderLookup, *, etag: Optional[str] = None,
                 last_modified: Optional[float] = None, now: Optional[float] = None) -> int:
    """Steps 1 to 4 of section 13.2.2: 200 to go on, else 304 or 412. Any method may ask; only GET and HEAD get 304."""
    modified = None if last_modified is None else int(last_modified // 1)
    reading = method in ("GET", "HEAD")

    wanted = _values(headers, "if-match")
    if wanted:
        if not _matches(wanted, etag, strong_match):
            return 412
    elif modified is not None:
        since = _single_date(headers, "if-unmodified-since", now)
        if since is not None and modified > since:
            return 412

    known = _values(headers, "if-none-match")
    if known:
        if _matches(known, etag, weak_match):
            return 304 if reading else 412
    elif modified is not None and reading:
        since = _single_date(headers, "if-modified-since", now)
        if since is not None and modified <= since:
            return 304
    return 200


def if_range(headers: HeaderLookup, *, etag: Optional[str] = None, last_modified: Optional[float] = None,
             now: Optional[float] = None) -> bool:
    """Step 5 of section 13.2.2: whether a Range may be honoured, as no If-Range forbids it.

    A date counts only if it is a strong validator (section 8.8.2.2). While its second is not over the file may change
    again without the date telling, so a date of this second, or one to come, is weak, and the client gets it all.
    """
    values = _values(headers, "if-range")
    if not values:
        return True
    if len(values) > 1:
        return False
    value = values[0]
    if re.fullmatch(_ETAG, value):
        return etag is not None and strong_match(value, etag)
    date = parse_date(value, now)
    if date is None or last_modified is None or date != last_modified // 1:
        return False
    return date + 1 <= (time.time() if now is None else now) // 1


def _matches(values: Sequence[str], etag: Optional[str], match: Callable[[str, str], bool]) -> bool:
    tags = parse_etags(values)
    if tags is None:
        return False
    if tags == ["*"]:
        return True     # there is a representation: the answer would have been a 200
    return etag is not None and any(match(tag, etag) for tag in tags)


def _values(headers: HeaderLookup, name: str) -> Sequence[str]:
    # most requests have none of these fields, and `in` is much the cheaper question
    return headers.get_all(name) if name in headers else ()


def _single(headers: HeaderLookup, name: str) -> Optional[str]:
    values = _values(headers, name)
    return values[0] if len(values) == 1 else None


def _single_date(headers: HeaderLookup, name: str, now: Optional[float]) -> Optional[int]:
    value = _single(headers, name)
    return None if value is None else parse_date(value, now)


# -- ranges -----------------------------------------------------------------------------------------------------------

# 32 digits are more than any file has; without a bound int() would meet its own, at 4300 digits
_RANGE = "(?:[0-9]{1,32}-[0-9]{0,32}|-[0-9]{1,32})(?![0-9])"


def parse_ranges(value: str, size: int) -> Optional[List[Span]]:
    """The ranges of a Range header that a representation of `size` bytes can satisfy, as half-open (start, stop).

    None: ignore the header (another unit, bad syntax, a range that ends before it begins, more than MAX_RANGES of
    them, or all of an empty representation asked for by a suffix). Empty: it can not be satisfied, answer 416.
    Ranges that overlap are joined, so are those that lie close together when there are many (section 14.2 warns of
    them); the order is that of the request (section 15.3.7.2).
    """
    unit, equals, specs = value.partition("=")
    if not equals or unit.lower() != "bytes":
        return None
    members = _list_of(_RANGE, specs)
    if not members or len(members) > MAX_RANGES:
        return None
    ranges: List[Span] = []
    for member in members:
        first, _, last = member.partition("-")
        if not first:
            length = int(last)
            if length and not size:
                return None     # satisfiable by definition, but there is no Content-Range for no bytes
            if length:
                ranges.append((max(0, size - length), size))
        else:
            start, stop = int(first), int(last) + 1 if last else size
            if last and stop <= start:
                return None
            if start < size:
                ranges.append((start, min(stop, size)))
    return _coalesce(ranges, PART_OVERHEAD if len(ranges) > MANY_RANGES else -1)


def _coalesce(ranges: List[Span], gap: int) -> List[Span]:
    """Join the ranges that are at most `gap` bytes apart (-1: that share a byte); each group stands where its first
    member stood."""
    if len(ranges) < 2:
        return ranges
    groups: List[Tuple[int, int, int]] = []     # place in the request, start, stop
    for start, stop, place in sorted((start, stop, place) for place, (start, stop) in enumerate(ranges)):
        if groups and start <= groups[-1][2] + gap:
            earlier, begin, end = groups[-1]
            groups[-1] = (min(earlier, place), begin, max(end, stop))
        else:
            groups.append((place, start, stop))
    return [(start, stop) for _, start, stop in sorted(groups)]


def content_range(span: Optional[Span], size: int) -> str:
    """The value of Content-Range for a part, or for None that of a 416."""
    return "bytes */%d" % size if span is None else "bytes %d-%d/%d" % (span[0], span[1] - 1, size)


def multipart(ranges: Sequence[Span], size: int, content_type: str,
              boundary: Optional[str] = None) -> Tuple[str, List[bytes], bytes, int]:
    """The frame of a multipart/byteranges body (section 14.6): (content type, heads, tail, length).

    Send heads[i] and then the bytes of ranges[i], for each i, and at last the tail; `length` counts it all.
    The boundary is random: the body is not searched for it, 96 bits make that unnecessary.
    """
    if boundary is None:
        boundary = os.urandom(12).hex()
    heads = [("%s--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n" % (
        "\r\n" if index else "", boundary, content_type, content_range(span, size))).encode("latin-1")
        for index, span in enumerate(ranges)]
    tail = ("\r\n--%s--\r\n" % boundary).encode("latin-1")
    length = sum(map(len, heads)) + sum(stop - start for start, stop in ranges) + len(tail)
    return "multipart/byteranges; boundary=" + boundary, heads, tail, length
