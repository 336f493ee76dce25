"""python3 -m icey bench: how fast a server answers, measured by icey's own client.

Rules
- Only the URL that is named is asked, and nothing is followed: a redirect is an answer like any other.
- The report says what was measured: the warm-up is not counted, errors are counted by kind, and where this program itself was
  the limit, the report says so.
- Exit status 0: there was an answer, if only until Ctrl-C or SIGTERM; 1: there was none, or stdout cannot be written; 2: wrong
  arguments; 128 + the signal's number: a second signal, before all was told; 141: nobody reads stdout.

Not here: asking and measuring (load.py), percentiles and bars (histogram.py).
"""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError

from ...base.application import run, takes_signals
from ...base.errors import IceyError
from ...base.loop import Loop
from ...http.semantics.url import URL
from ..cli.console import Console, Formatter, Parser, Trouble, print_out, printable, reason
from ..cli.failures import INTERRUPTED
from ..cli.netoptions import absolute
from .histogram import BLOCKS, PLAIN, three_digits, time_text
from .load import BROKEN, CONNECT, TIMEOUT, Load

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict, List, Optional, Sequence, Tuple

    from .load import Measured

DURATION = 10.0
CONNECTIONS = 16
BUSY = 0.85  # of the time outside of select: from here on the generator counts as the limit; select itself takes up to a tenth
PERCENTILES = (50.0, 90.0, 99.0, 99.9)
SPARE = 32  # files that are open beside the connections
MOST_SELECTED = 500  # connections up to which select() serves an open loop

EPILOG = """\
Closed loop (the default): a connection asks again when it has its answer, so
a server that stalls is asked less, and its stalls weigh little in the
percentiles. Open loop (--rate): requests are due whether the server keeps up
or not, and a latency counts from when its request was due.

One Python process asks. Where it was the limit itself it says so (its loop was
at work, and not waiting, for more than 85 % of the time): measure that server
with several of these, or with a generator written in C. --json has the part of
the time as generator_load, and the verdict as generator_was_the_limit.

Ctrl-C (or SIGTERM) ends it, and what was measured until then is told.
Status 0: something was answered; 1: nothing was, or stdout cannot be written;
2: wrong arguments; 128 and the signal's number: a second one came before all
was told; 141: nobody reads stdout.
"""


def main(argv: Sequence[str], prog: str = "icey bench") -> int:
    """Measures what `argv` says; returns the exit status. SystemExit after --help, for a wrong flag, and without a reader."""
    options = _parser(prog).parse_args(argv)
    try:
        load = _measure(options, prog)
        if not load.measured.answers:
            raise Trouble(1, _nothing(load))
        return print_out(prog, _as_json(load, options) if options.json else _as_text(load, _marks()))
    except Trouble as trouble:
        Console.of_process(prog).trouble(str(trouble))
        return trouble.status
    except KeyboardInterrupt:  # the second one
        return INTERRUPTED


def _measure(options: argparse.Namespace, prog: str) -> Load:
    """Runs the load to its end, or to Ctrl-C or SIGTERM. SystemExit: nobody can be told what is measured."""
    _make_room(options.connections)
    with _loop(options) as loop:
        try:
            load = Load(
                loop, _url(options.url), connections=options.connections, duration=options.duration or DURATION,
                requests=options.requests, rate=options.rate, warmup=_warmup(options), method=_method(options),
                headers=_headers(options.header), body=_body(options.body), tls=_tls(options), timeout=options.timeout,
                done=loop.stop)
            if not options.json:
                status = print_out(prog, _announced(load, options))
                if status:
                    sys.exit(status)
            load.start()
        except (ValueError, TypeError) as wrong:
            raise Trouble(2, str(wrong)) from None
        except (IceyError, OSError) as wrong:  # no ssl; a file that cannot be read
            raise Trouble(1, reason(wrong)) from None
        try:
            run(loop, load)
        except KeyboardInterrupt:
            if takes_signals():
                raise
            load.close()
        _let_go(loop)
    return load


def _make_room(connections: int) -> None:
    """Sees to it that this process may open so many; Trouble where the system forbids that."""
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = connections + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return
        except (OSError, ValueError):  # macOS has a bound beside
            pass
    raise Trouble(1, "%d connections are more than this process may open: it may have %d files at once (ulimit -n)"
                  % (connections, soft))


def _let_go(loop: Loop) -> None:
    """Closes the connections that were used up and linger."""
    for handle in loop.handles:
        handle.abort()
    loop.run_once(0)


def _loop(options: argparse.Namespace) -> Loop:
    """A loop with a selector that is on time for an open loop: select() waits by the microsecond, epoll by the millisecond."""
    if options.rate is None or options.connections > MOST_SELECTED:
        return Loop()
    import selectors

    return Loop(selector=selectors.SelectSelector())


# -- the command line ------------------------------------------------------------------------------------------------

def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, usage="%(prog)s [options] URL", allow_abbrev=False, epilog=EPILOG, formatter_class=Formatter,
        description="Measure a server: requests a second, latencies, errors.")
    add = parser.add_argument
    add("url", metavar="URL", help="what to ask for; http:// where there is no scheme")
    add("-c", "--connections", metavar="N", type=_count, default=CONNECTIONS,
        help="ask over so many connections at a time (default: %d)" % CONNECTIONS)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("-d", "--duration", metavar="SECONDS", type=_seconds,
                        help="measure for so long (default: %g)" % DURATION)
    length.add_argument("-n", "--requests", metavar="N", type=_count, help="measure so many requests instead")
    add("-r", "--rate", metavar="N", type=_rate, help="open loop: N requests a second are due, over all connections")
    add("-w", "--warmup", metavar="SECONDS", type=_span,
        help="ask for so long before it counts (default: 1, with --requests 0)")
    add("-X", "-m", "--method", metavar="NAME", help="the method (default: GET, with --body POST)")
    add("-H", "--header", metavar="'NAME: VALUE'", action="append", default=[],
        help="send this header; may be given several times")
    add("--body", metavar="TEXT", help="send this body, or the file's with @FILE")
    add("-t", "--timeout", metavar="SECONDS", type=_seconds, default=30.0,
        help="a request that takes longer has failed (default: 30)")
    add("-k", "--insecure", action="store_true", help="take any TLS certificate")
    add("--json", action="store_true", help="print the result as one line of JSON; times in seconds")
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10 ** 9):
        raise ArgumentTypeError("a whole number from 1 on, not %r" % text)
    return int(text)


def _span(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86400:
        raise ArgumentTypeError("seconds, at most a day, not %r" % text)
    return value


def _seconds(text: str) -> float:
    value = _span(text)
    if not value:
        raise ArgumentTypeError("more than 0 seconds")
    return value


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 10 ** 6:
        raise ArgumentTypeError("requests a second, more than 0, not %r" % text)
    return value


def _url(text: str) -> URL:
    url = URL.of(absolute(text, "http"))
    if url.scheme not in ("http", "https"):
        raise ValueError("http and https are measured, not %s" % url.scheme)
    return url


def _warmup(options: argparse.Namespace) -> float:
    if options.warmup is not None:
        return float(options.warmup)
    return 0.0 if options.requests else 1.0


def _method(options: argparse.Namespace) -> str:
    return str(options.method or ("GET" if options.body is None else "POST"))


def _headers(given: Sequence[str]) -> List[Tuple[str, str]]:
    pairs = []
    for text in given:
        name, colon, value = text.partition(":")
        if not colon:
            raise ValueError("a header is 'NAME: VALUE', not %r" % text)
        pairs.append((name, value.strip(" \t")))
    return pairs


def _body(text: Optional[str]) -> Optional[bytes]:
    if text is None or text[:1] != "@":
        return None if text is None else text.encode("utf-8", "surrogateescape")
    try:
        with open(text[1:], "rb") as file:
            return file.read()
    except OSError as error:
        raise Trouble(2, "cannot read %s: %s" % (text[1:], reason(error))) from None


def _tls(options: argparse.Namespace) -> Any:
    """The context of an https URL, None for the usual one."""
    if not options.insecure or not _url(options.url).secure:
        return None
    from ...http.client.dialing import tls_module

    return tls_module().client_context(verify=False, alpn=("http/1.1",))


# -- what is said ----------------------------------------------------------------------------------------------------

def _announced(load: Load, options: argparse.Namespace) -> str:
    """What is about to happen."""
    warmup = _warmup(options)
    length = "%d requests" % options.requests if options.requests else "%g s" % (options.duration or DURATION)
    said = ["%s %s: %s, %s%s" % (
        _method(options), _bare(load.url), _many(options.connections, "connection"), length,
        " after %g s of warm-up, which is not counted" % warmup if warmup else "")]
    if load.rate is None:
        said.append("closed loop: a connection asks again when it has its answer, so that stalls weigh little (see --rate)")
    else:
        said.append("open loop: %g requests a second are due, and a latency counts from when its request was due" % load.rate)
    return "\n".join(said) + "\n"


def _as_text(load: Load, marks: str) -> str:
    measured = load.measured
    latencies, seconds = measured.latencies, max(measured.seconds, 1e-9)
    rate = measured.answers / seconds
    lines = [
        "",
        "answers   %d in %.2f s" % (measured.answers, measured.seconds),
        "a second  %s answers, %s MB of bodies" % (three_digits(rate), three_digits(measured.size / seconds / 1e6)),
        "errors    " + (", ".join(_errors(measured)) or "none"),
        "",
    ]
    titles = ["latency", "min", "median", "90 %", "99 %", "99.9 %", "max"]
    times = [latencies.least, *map(latencies.percentile, PERCENTILES), latencies.most]
    for row in (titles, ["", *map(time_text, times)]):
        lines.append("".join(cell.ljust(10) for cell in row).rstrip())
    lines += [""] + latencies.drawn(marks)
    notes = _notes(load)
    return "\n".join(lines + [""] * bool(notes) + notes) + "\n"


def _errors(measured: Measured) -> List[str]:
    """How many errors of each kind, with the text of the first where there was no answer."""
    found = []
    for kind in (CONNECT, TIMEOUT, BROKEN):
        if kind in measured.errors:
            found.append("%s %d (%s)" % (kind, measured.errors[kind], printable(measured.first[kind])))
    return found + ["%s %d" % item for item in _classes(measured).items()]


def _classes(measured: Measured) -> Dict[str, int]:
    """The answers of status 400 or more, by class: {"4xx": 3}."""
    classes: Dict[str, int] = {}
    for status, count in sorted(measured.statuses.items()):
        if status >= 400:
            name = "%dxx" % (status // 100)
            classes[name] = classes.get(name, 0) + count
    return classes


def _notes(load: Load) -> List[str]:
    """What a reader of the numbers has to know."""
    measured, notes = load.measured, []
    if measured.waiting and measured.oldest > measured.latencies.most:
        notes.append("%s unanswered at the end, the oldest for %s: no answer that was counted took as long"
                     % (_many(measured.waiting, "request"), time_text(measured.oldest)))
    if measured.late:
        notes.append("%s due and not begun at the end: over so many connections the server does not keep up with the rate"
                     % _many(measured.late, "request"))
    if _own_load(measured) > BUSY:
        notes.append("this program was itself the limit: it worked for %.0f %% of the time, and hardly waited for the server\n"
                     "the server may be faster than this: ask it by several of these at once, or by a generator written in C"
                     % (100 * _own_load(measured)))
    return notes


def _own_load(measured: Measured) -> float:
    """The part of the time in which this program was at work, and did not wait."""
    return measured.busy / measured.seconds if measured.seconds else 0.0


def _as_json(load: Load, options: argparse.Namespace) -> str:
    import json

    measured = load.measured
    latencies, seconds = measured.latencies, max(measured.seconds, 1e-9)
    latency = {"min": latencies.least, "mean": latencies.mean, "max": latencies.most}
    latency.update(("p%g" % percent, latencies.percentile(percent)) for percent in PERCENTILES)
    return json.dumps({
        "url": _bare(load.url), "method": _method(options), "connections": options.connections,
        "loop": "closed" if load.rate is None else "open", "rate": load.rate, "warmup": _warmup(options),
        "seconds": measured.seconds, "answers": measured.answers, "answers_per_second": measured.answers / seconds,
        "body_bytes": measured.size, "body_mb_per_second": measured.size / seconds / 1e6,
        "statuses": {str(status): count for status, count in sorted(measured.statuses.items())},
        "errors": dict({CONNECT: 0, TIMEOUT: 0, BROKEN: 0}, **measured.errors, **_classes(measured)),
        "latency": latency, "histogram": [list(row) for row in latencies.rows()],
        "connections_made": measured.connections, "unanswered": measured.waiting, "oldest_unanswered": measured.oldest,
        "not_begun": measured.late, "generator_load": _own_load(measured),
        "generator_was_the_limit": _own_load(measured) > BUSY,
    }) + "\n"


def _nothing(load: Load) -> str:
    """Why there was no answer."""
    measured = load.measured
    for kind, words in ((CONNECT, "no connection"), (BROKEN, "no answer"), (TIMEOUT, "no answer in time")):
        if kind in measured.first:
            return "%s: %s" % (words, measured.first[kind])
    return "no answer from %s within %.1f s" % (load.url.authority, measured.seconds)


def _bare(url: URL) -> str:
    """The URL without a password."""
    return str(url.without_userinfo())


def _many(count: int, what: str) -> str:
    return "%d %s%s" % (count, what, "" if count == 1 else "s")


def _marks() -> str:
    """The characters of bars: blocks where stdout can show them."""
    try:
        BLOCKS.encode(getattr(sys.stdout, "encoding", None) or "ascii")
        return BLOCKS
    except (UnicodeError, LookupError):
        return PLAIN
