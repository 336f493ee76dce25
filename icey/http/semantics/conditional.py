"""Validators, conditional requests and byte ranges (RFC 9110, sections 5.6.7, 8.8, 13 and 14), as pure functions.

Nothing here touches a socket, a file or an exchange: any handler that knows an entity tag, a modification time and a size can
answer conditional and range requests correctly.

    status, ranges = evaluate(request.method, request.headers, etag=etag, last_modified=mtime, size=len(body))

    200  send the whole representation          206  send `ranges`, half-open (start, stop) pairs
    304  the client's copy is current           412  a precondition failed
    416  no range can be satisfied: answer with `Content-Range: bytes */SIZE`

Rules:

- The order of evaluation is that of section 13.2.2: If-Match, else If-Unmodified-Since; If-None-Match, else
  If-Modified-Since; then If-Range, then Range.
- A field that must hold one value, and holds none, two or a malformed one, is ignored, as the section on each field asks. The
  exceptions fail towards safety: a malformed If-Match or If-None-Match matches nothing, a malformed If-Range drops the Range.
- Range counts for GET only (section 14.2).
- Whatever a client asks for, an answer made of ranges is never longer than the representation plus the heads of MAX_RANGES
  parts.

Not here: reading files (server/static.py), the forms of dates (dates.py).
"""

from __future__ import annotations

import os
import re
import time

from .dates import parse_date
from .headers import Headers, has_any

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Protocol, Sequence, Tuple

    Span = Tuple[int, int]

    class HeaderLookup(Protocol):
        """What `evaluate` needs of a request's headers: all values of a name, in order, without white space around them."""

        def get_all(self, name: str) -> Sequence[str]: ...


MAX_RANGES = 64     # a Range header with more ranges is ignored, and the whole representation is sent
MANY_RANGES = 8     # where there are more than this, ranges that lie close together become one
PART_OVERHEAD = 80  # bytes between ranges that lie close together: about the head of one more part
MOST_DATES = 256    # dates that are remembered
FIXED = 29          # characters of an IMF-fixdate, the form that says its year in full and alone is remembered

# what a request has to have at least one of, to be answered otherwise than by 200
_CONDITIONS = frozenset(["if-match", "if-unmodified-since", "if-none-match", "if-modified-since", "range"])
_FIRST = frozenset(["if-match", "if-unmodified-since"])  # those of the first two steps, which are rare


# -- entity tags ------------------------------------------------------------------------------------------------------

_ETAG = '(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'     # commas may stand inside: never split a list at them


def stat_etag(stat: os.stat_result) -> str:
    """A strong entity tag for a file, from its modification time in nanoseconds, its size and its inode.

    Strong (section 8.8.1) means: whenever a GET would see other bytes, the tag is another one. A write changes the modification
    time, a replacement by rename changes the inode. So this holds, but for two cases that cannot be seen from outside the file:
    two writes of equal size within one tick of the file system's clock (some milliseconds; on FAT, two seconds), and a tool
    that writes in place and then sets the old time again. A weak tag is wrong as often, and If-Range and If-Match useless.
    """
    return '"%x-%x-%x"' % (stat.st_mtime_ns & 0xFFFFFFFFFFFFFFFF, stat.st_size, stat.st_ino)


def parse_etags(values: Sequence[str]) -> Optional[List[str]]:
    """The entity tags in all values of an If-Match or If-None-Match, as they were sent; `["*"]` for `*`.

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
    """The members of a comma-separated list; empty ones are skipped (section 5.6.1). None: a member is not an `item`."""
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
    """(status, ranges) of the answer to a request that would be answered by 200 if it had no conditions.

    etag, last_modified (seconds since the epoch): as the answer will have them, None for a field that it will not have. size:
    bytes of the representation, None where ranges are not offered. now: seconds since the epoch, None for the present. The
    ranges are empty unless the status is 206.
    """
    if type(headers) is Headers and not has_any(headers, _CONDITIONS):  # as most are: five looks cost more than the rest
        return 200, []
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

    bare = type(headers) is Headers and not has_any(headers, _FIRST)
    wanted = () if bare else headers.get_all("if-match")
    if wanted:
        if not _matches(wanted, etag, strong_match):
            return 412
    elif modified is not None and not bare:
        since = _single_date(headers, "if-unmodified-since", now)
        if since is not None and modified > since:
            return 412

    known = headers.get_all("if-none-match")
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
    """Step 5 of section 13.2.2: whether the Range counts, since no If-Range forbids it.

    A date counts only if it is a strong validator (section 8.8.2.2). Within the second that the date names the file may change
    again, and keep the date: so a date of this second, or a later one, is weak, and the client gets the whole representation.
    """
    values = headers.get_all("if-range")
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
    if etag is not None and len(values) == 1 and values[0] == etag:  # as a client sends it back
        return match is weak_match or not etag.startswith("W/")
    tags = parse_etags(values)
    if tags is None:
        return False
    if tags == ["*"]:
        return True     # there is a representation: the answer would have been a 200
    return etag is not None and any(match(tag, etag) for tag in tags)


def _single(headers: HeaderLookup, name: str) -> Optional[str]:
    values = headers.get_all(name)
    return values[0] if len(values) == 1 else None


def _single_date(headers: HeaderLookup, name: str, now: Optional[float]) -> Optional[int]:
    value = _single(headers, name)
    if value is None:
        return None
    date = _dates.get(value)
    if date is None:
        date = parse_date(value, now)
        if date is not None and len(value) == FIXED:
            if len(_dates) >= MOST_DATES:
                _dates.clear()
            _dates[value] = date
    return date


_dates: Dict[str, int] = {}  # dates that were read: clients send back ours, and reading one costs as much as the whole answer


# -- ranges -----------------------------------------------------------------------------------------------------------

# 32 digits are more than any file has; without a bound int() would meet its own, at 4300 digits
_RANGE = "(?:[0-9]{1,32}-[0-9]{0,32}|-[0-9]{1,32})(?![0-9])"


def parse_ranges(value: str, size: int) -> Optional[List[Span]]:
    """The ranges of a Range header that a representation of `size` bytes can satisfy, as half-open (start, stop).

    None: ignore the header (another unit, bad syntax, a range that ends before it begins, more than MAX_RANGES ranges, or an
    empty representation: it is sent whole, since there is no Content-Range for no bytes). Empty: no range can be satisfied,
    answer 416. Ranges that overlap are joined; where there are many, ranges that lie close together are joined too (section
    14.2 warns of them). The order is that of the request (section 15.3.7.2).
    """
    unit, equals, specs = value.partition("=")
    if not equals or unit.lower() != "bytes" or not size:
        return None
    members = _list_of(_RANGE, specs)
    if not members or len(members) > MAX_RANGES:
        return None
    ranges: List[Span] = []
    for member in members:
        first, _, last = member.partition("-")
        if not first:
            length = int(last)
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
    """Joins ranges that are at most `gap` bytes apart (-1: that share a byte). A group takes the place of its first member in
    the request."""
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
    """The value of Content-Range for a part; span None: for a 416."""
    return "bytes */%d" % size if span is None else "bytes %d-%d/%d" % (span[0], span[1] - 1, size)


def multipart(ranges: Sequence[Span], size: int, content_type: str,
              boundary: Optional[str] = None) -> Tuple[str, List[bytes], bytes, int]:
    """The frame of a multipart/byteranges body (section 14.6): (content type, heads, tail, length).

    Send heads[i] and then the bytes of ranges[i], for each i, and at last the tail; `length` counts it all.
    The boundary has 96 random bits, so the body need not be searched for it.
    """
    if boundary is None:
        boundary = os.urandom(12).hex()
    heads = [("%s--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n" % (
        "\r\n" if index else "", boundary, content_type, content_range(span, size))).encode("latin-1")
        for index, span in enumerate(ranges)]
    tail = ("\r\n--%s--\r\n" % boundary).encode("latin-1")
    length = sum(map(len, heads)) + sum(stop - start for start, stop in ranges) + len(tail)
    return "multipart/byteranges; boundary=" + boundary, heads, tail, length
