"""Dates, read and written: HTTP's own (RFC 9110 section 5.6.7), those of cookies (RFC 6265 section 5.1.1), a log's.

Rules: of HTTP's three forms one is written (IMF-fixdate) and all are read. There is one table of months. No locale takes part.
"""

from __future__ import annotations

import re
import time

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Optional, Tuple

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAY = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_MONTH = "(?P<month>%s)" % "|".join(_MONTHS)
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATE_FORMS = (  # patterns here are compiled, and then remembered by `re`, when they are first used: start-up is dear
    # IMF-fixdate: the only form that may be sent
    "(?:%s), (?P<day>[0-9]{2}) %s (?P<year>[0-9]{4}) %s GMT" % (_DAY, _MONTH, _TIME),
    # obsolete: RFC 850, with a year of two digits
    "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>[0-9]{2})-%s-(?P<year>[0-9]{2}) %s GMT" % (_MONTH, _TIME),
    # obsolete: C's asctime(), the day padded by a space
    "(?:%s) %s (?P<day>[0-9]{2}| [0-9]) %s (?P<year>[0-9]{4})" % (_DAY, _MONTH, _TIME),
)


def http_date(seconds: float) -> str:
    """IMF-fixdate of a time since the epoch (RFC 9110 section 5.6.7)."""
    year, month, day, hour, minute, second, weekday = time.gmtime(seconds)[:7]
    return "%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        _DAYS[weekday], day, _MONTHS[month - 1], year, hour, minute, second)


def parse_date(text: str, now: Optional[float] = None) -> Optional[int]:
    """Seconds since the epoch of an HTTP-date in any of its three forms, or None if it is not exactly one of them.

    Case matters, so do single spaces, and the time zone is GMT. A year of two digits that would be more than 50 years after
    `now` is the latest past year with these digits (section 5.6.7). Second 60 is accepted: the grammar has leap seconds. The
    name of the day is read, and not compared with the date.
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
    """A year of two digits in full: of this century, or of the last one where that would be more than 50 years ahead."""
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


def parse_cookie_date(text: str) -> Optional[int]:
    """Seconds since the epoch of a date in any order and with any separators (section 5.1.1), None if it is none."""
    clock = day = month = year = None
    for token in re.split("[\\t\\x20-\\x2f\\x3b-\\x40\\x5b-\\x60\\x7b-\\x7e]+", text):
        if clock is None:
            clock = re.match("([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])", token)
            if clock is not None:
                continue
        if day is None:
            day = re.match("[0-9]{1,2}(?![0-9])", token)
            if day is not None:
                continue
        if month is None and token[:3].title() in _MONTHS:
            month = _MONTHS.index(token[:3].title())
        elif year is None:
            year = re.match("[0-9]{2,4}(?![0-9])", token)
    if clock is None or day is None or month is None or year is None:
        return None
    hour, minute, second = map(int, clock.groups())
    full = int(year.group())
    if full < 100:
        full += 1900 if full >= 70 else 2000
    if full < 1601 or hour > 23 or minute > 59 or second > 59:
        return None
    return timestamp(full, month, int(day.group()), hour * 3600 + minute * 60 + second)


def log_date(seconds: float) -> str:
    """Local time and its offset as access logs have it: 28/Nov/2026:20:15:03 +0100."""
    local = time.localtime(seconds)
    year, month, day, hour, minute, second = local[:6]
    offset = local.tm_gmtoff // 60
    return "%02d/%s/%04d:%02d:%02d:%02d %s%02d%02d" % (
        day, _MONTHS[month - 1], year, hour, minute, second, "-" if offset < 0 else "+", *divmod(abs(offset), 60))
