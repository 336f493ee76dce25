"""python3 -m icey inspect URL: the picture of an inspector in a terminal, as a page of text, each second anew.

Rules
- A terminal is drawn over; anything else, and a dumb one, gets the picture once, as does --once; --json gives the whole of it.
- Text of the program is made printable, and cut to the width of the terminal; a page ends where the terminal does.
- What is asked need not be an inspector: whatever it answers is a page of text, or one line that says what is wrong.
- Exit status 0: seen, or ended by Ctrl-C; the others are those of tools/cli/failures.py.

Not here: what is in the picture (picture.py).
"""

from __future__ import annotations

import json
import os
import re
import sys

from ...base.application import run
from ...base.loop import Loop
from ...base.timer import Timer
from ...http.client.client import Client
from ...http.semantics.url import URL
from ..cli.console import Console, Parser, Trouble, columns, print_out, printable
from ..cli.failures import FINE, PROTOCOL, STATUS, USAGE, told_status, trouble_of
from ..cli.netoptions import absolute

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

EVERY = 1.0  # seconds
ROWS = 8  # of a table
MOST_BODY = 1 << 24  # bytes of a picture
MOST_PLACE = 500  # characters
MOST_LINE = 10_000  # characters, where there is no terminal
CLEAR, HOME, REST, HIDE, SHOW = "\x1b[2J", "\x1b[H", "\x1b[J", "\x1b[?25l", "\x1b[?25h"
LINE_END = "\x1b[K\n"
_PATH = re.compile(r"[^\s()]*[\\/]([^\s()\\/]+:\d+)").sub
WRONG = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)  # by what is no picture


def main(argv: Sequence[str], prog: str = "icey inspect") -> int:
    """Shows; returns the exit status. SystemExit after --help and for a wrong flag."""
    parser = Parser(prog=prog, usage="%(prog)s [options] URL",
                    description="Show what a loop does: the picture of its inspector, each second anew. A\n"
                                "program has one if it makes an icey.tools.inspect.Inspector, or if\n"
                                "ICEY_INSPECT=HOST:PORT is in its environment.")
    parser.add_argument("url", metavar="URL", help="what the inspector said, such as http://127.0.0.1:8001/ (with its token)")
    parser.add_argument("--once", action="store_true", help="show it once")
    parser.add_argument("--json", action="store_true", help="as JSON, once")
    options = parser.parse_args(argv)
    live = not options.once and not options.json and _is_terminal()
    try:
        with Loop() as loop:
            viewer = Viewer(loop, options, live, prog)
            try:
                run(loop, viewer)
            finally:
                viewer.client.abort()
            return viewer.end()
    except Trouble as trouble:
        Console.of_process(prog).trouble(str(trouble))
        return trouble.status
    except KeyboardInterrupt:
        return FINE
    finally:
        if live:
            print_out(prog, SHOW)


class Viewer:
    """Asks for the picture and draws it: once, or, `live`, each second. `client`: its Client. Trouble: no URL."""

    def __init__(self, loop: Loop, options: argparse.Namespace, live: bool, prog: str) -> None:
        url = _url(options.url)
        token = [part[6:] for part in (url.query or "").split("&") if part.startswith("token=")]
        if token and not (token[0].isascii() and token[0].isalnum()):
            raise Trouble(USAGE, "a token is letters and digits")
        self.client = Client(loop, timeout=10.0, redirects=0, cookies=False, max_body=MOST_BODY)
        self._headers = {"Authorization": "Bearer " + token[0]} if token else {}
        self._url = URL.parse("%s://%s/state.json" % (url.scheme, url.authority))
        self._json = options.json
        self._live = live
        self._prog = prog
        self._status = FINE
        self._trouble: Optional[Trouble] = None
        self._last: Dict[Any, Any] = {}  # number of a stream -> packets that had entered it
        self._looks = 0
        self._size = (0, 0)
        self._timer = Timer(loop, EVERY, self._ask)
        self._ask(self._timer)

    def close(self) -> None:
        """Ends, for icey.run."""
        self._stop(None)

    def end(self) -> int:
        """The exit status; Trouble where that is one."""
        if self._trouble is not None:
            raise self._trouble
        return self._status

    def _ask(self, timer: Timer) -> None:
        self.client.request("GET", self._url, headers=self._headers, done=self._answered)

    def _answered(self, answer: Any, error: Optional[Exception]) -> None:
        if error is not None:
            self._stop(trouble_of(error, self._url))
        elif answer.status != 200:
            said = printable(answer.body[:200].decode("utf-8", "replace").strip())
            self._stop(Trouble(STATUS, "%s: %s, %s" % (self._url, told_status(answer), said)))
        else:
            try:
                self._look_at(json.loads(answer.body))
            except WRONG:
                self._stop(Trouble(PROTOCOL, "%s is no inspector" % self._url))

    def _stop(self, trouble: Optional[Trouble]) -> None:
        self._trouble = trouble
        self._timer.abort()
        self.client.close()

    def _look_at(self, state: Dict[str, Any]) -> None:
        self._looks += 1
        if self._looks == 1:  # it has no rates yet: from now on it is measured
            self._last = {stream["number"]: stream["entered"] for stream in state["streams"]}
            self._timer.start()
            return
        if self._json:
            text = json.dumps(state, indent=1) + "\n"
        else:
            lines = self._lines(state)
            text = self._drawn(lines) if self._live else "".join(_cut(line, MOST_LINE) + "\n" for line in lines)
        self._status = print_out(self._prog, text)
        if self._live and not self._status:
            self._timer.start()
        else:
            self._stop(None)

    def _drawn(self, lines: Iterator[str]) -> str:
        """The page over what was drawn before."""
        before, self._size = self._size, _size_of_terminal()
        width, height = self._size
        shown = [_cut(line, width) for line, _ in zip(lines, range(max(1, height - 1)))]
        return (HIDE + CLEAR if before != self._size else "") + HOME + "".join(line + LINE_END for line in shown) + REST

    # the page of text

    def _lines(self, state: Dict[str, Any]) -> Iterator[str]:
        yield "%s   process %d, %s, icey %s%s" % (state["program"], state["pid"], state["python"], state["icey"],
                                                  ", debug mode" if state["debug"] else "")
        yield ""
        yield from _loop(state)
        yield from self._streams(state["streams"])
        for server in state["servers"]:
            yield from _server(server)
        yield from _websockets(state["websockets"])
        yield from _slowest(state["slots"])
        yield from _errors(state["errors"])

    def _streams(self, streams: List[Dict[str, Any]]) -> Iterator[str]:
        """Two lines for each PacketStream: what it is, and its graph, `|` before the boundary."""
        names = {stream["number"]: stream["name"] or "stream %d" % stream["number"] for stream in streams}
        for stream in streams:
            number, entered = stream["number"], stream["entered"]
            before, self._last[number] = self._last.get(number), entered
            rate = "   %d packets/s" % ((entered - before) / EVERY) if entered is not None and before is not None else ""
            yield ""
            yield "stream    %s   %s%s%s" % (names[number], stream["state"], stream["error"] and ": " + stream["error"], rate)
            late = "   (%d came too late or too early)" % stream["dropped"] if stream["dropped"] else ""
            yield "  " + _graph(stream, names) + late


def _loop(state: Dict[str, Any]) -> Iterator[str]:
    loop = state["loop"]
    turns = "-" if loop["turns"] is None else "%g" % loop["turns"]
    busy = "-" if loop["busy"] is None else "%.1f %%" % (100 * loop["busy"])
    yield "loop      %s turns/s, %s of the time in callbacks, %s in long turns; %d handles, %d timers among them" % (
        turns, busy, _span(loop["held"]), loop["handles"], loop["timers"])
    yield "handles   " + ", ".join("%d %s%s" % (kind["count"], kind["kind"], _queued(kind, " (%s queued)"))
                                   for kind in state["kinds"][:2 * ROWS])


def _graph(stream: Dict[str, Any], names: Dict[Any, str]) -> str:
    line = ", ".join(names.get(source["number"]) or source["kind"] for source in stream["sources"]) or "write()"
    for stage in stream["stages"]:
        line += " | " if stage["boundary"] else " > "
        line += stage["kind"] + (" %d/%d" % (stage["depth"], stage["most"]) if "most" in stage else "")
        line += " (%d dropped)" % stage["dropped"] if stage.get("dropped") else ""
    ends = [names.get(feeds, "?") for feeds in stream["feeds"]]
    slots = stream["taken_by"]
    ends += ["%d slot%s" % (slots, "" if slots == 1 else "s")] if slots else []
    return line + (" > " + ", ".join(ends) if ends else "")


def _server(server: Dict[str, Any]) -> Iterator[str]:
    yield ""
    yield "server    %s   %d accepted%s" % (server["name"] or server["address"], server["accepted"], "".join(
        ", %d %s" % (count, name) for name, count in sorted(server["states"].items())))
    for row in server["answering"][:ROWS]:
        yield "  %8s  %-7s  %s  %s%s" % (_span(row["seconds"]), row["state"], row["request"], row["peer"],
                                         _queued(row, "  %s queued"))


def _websockets(rows: List[Dict[str, Any]]) -> Iterator[str]:
    if rows:
        yield ""
        yield "websockets"
    for row in rows[:ROWS]:
        yield "  %8s  %-10s %s, %s's end%s" % (_span(row["age"]), row["state"], row["name"] or row["peer"], row["side"],
                                                _queued(row, "  %s queued"))


def _slowest(rows: List[Dict[str, Any]]) -> Iterator[str]:
    if rows:
        yield ""
        yield "slowest   the longest call, then how many of 0.1 ms and more"
    for row in rows[:ROWS]:
        yield "  %8s  %8d  %s" % (_span(row["longest"]), row["calls"], _place(row["who"]))


def _errors(rows: List[Dict[str, Any]]) -> Iterator[str]:
    if rows:
        yield ""
        yield "errors"
    for row in rows[:ROWS]:
        yield "  %4d x  %8s ago  %s in %s" % (row["count"], _span(row["ago"]), row["type"], _place(row["where"]))
        if row["contract"]:
            said = [row["text"], "Contract: " + row["contract"], row["instead"] and "Instead: " + row["instead"]]
            yield "          " + ". ".join(part for part in said if part)


def _place(text: str) -> str:
    """`text` without the folders of the files in it. Cut first: an inspector's are short, and what is not takes long."""
    return _PATH(r"\1", text[:MOST_PLACE])


def _url(text: str) -> URL:
    """The URL that was meant; Trouble where it is none of http."""
    try:
        url = URL.parse(absolute(text, "http"))
    except ValueError as wrong:
        raise Trouble(USAGE, printable(str(wrong))) from None
    if url.scheme not in ("http", "https"):
        raise Trouble(USAGE, "%s: an inspector is http" % url.scheme)
    return url


def _cut(line: str, width: int) -> str:
    """`line`, printable, and no wider than that."""
    line = printable(line[:width + 1])
    if columns(line) <= width:
        return line
    line = line[:width]
    while columns(line) >= width:
        line = line[:-1]
    return line + "\u2026"


def _is_terminal() -> bool:
    """Whether stdout is one that can be drawn over."""
    try:
        return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def _size_of_terminal() -> Tuple[int, int]:
    """Columns and lines."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
        return max(size.columns, 2) if size.columns else 80, size.lines or 24
    except (OSError, ValueError):
        return 80, 24


def _span(seconds: float) -> str:
    if seconds < 0.001:
        return "%.0f us" % (seconds * 1e6) if seconds else "0 s"
    return "%.1f ms" % (seconds * 1e3) if seconds < 1 else "%.1f s" % seconds if seconds < 100 else "%d s" % seconds


def _queued(row: Dict[str, Any], form: str) -> str:
    return form % _size(row["queued"]) if row["queued"] else ""


def _size(size: float) -> str:
    unit = 0
    while size >= 1000 and unit < 3:
        size, unit = size / 1024, unit + 1
    return ("%d %s" if not unit else "%.1f %s") % (size, ("B", "KiB", "MiB", "GiB")[unit])
