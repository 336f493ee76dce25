"""python3 -m icey get: fetches URLs, with the habits of curl.

Rules
- The body goes to stdout byte for byte, or into a file that appears under its name when it is complete.
- A problem is one line on stderr, and an exit status that tells its kind: see tools/cli/failures.py. -s leaves the line out,
  but for wrong arguments.
- Several URLs are fetched one after the other, over kept connections; the exit status is that of the first URL that failed.
- All runs on the loop that `run` is given; only `main` knows of the process: its arguments, stdout, environment.

Not here: the flags (options.py), the way of one URL (transfer.py), where bodies go (outlets.py), what errors mean
(tools/cli/failures.py).
"""

from __future__ import annotations

import os
import sys
from collections import deque

from ...base.loop import Loop
from ...http.client.client import Client
from ...http.client.cookiejar import CookieJar
from ..cli.console import Console, Trouble
from ..cli.failures import FINE, GONE, INTERRUPTED, OTHER
from ..cli.netoptions import UNCHECKED
from .options import parse, prepare
from .transfer import Transfer

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    import argparse
    from typing import Any, Deque, Dict, Optional, Sequence, Tuple

    from ...http.semantics.url import URL


def main(argv: Sequence[str], prog: str = "icey get") -> int:
    """Fetches; returns the exit status. SystemExit after --help and for a wrong flag."""
    console = Console.of_process(prog)
    try:
        options = parse(argv, prog)
        prepare(options, os.environ, getattr(sys.stdin, "buffer", None))
        loop = Loop()
        try:
            status = run(loop, options, console)
        finally:
            loop.run()  # what is closing
            loop.close()
    except Trouble as trouble:
        console.trouble(str(trouble))
        status = trouble.status
    except KeyboardInterrupt:
        console.wipe()
        status = INTERRUPTED
    return status


def run(loop: Loop, options: argparse.Namespace, console: Console) -> int:
    """Fetches what `prepare` has prepared, and turns `loop` until that is done; returns the exit status."""
    console.quiet = options.quiet or options.silent
    console.silent = options.silent and not options.show_error
    if options.insecure:
        console.note(UNCHECKED)
    session = Session(loop, options, console)
    try:
        return session.run()
    except KeyboardInterrupt:
        session.interrupt()
        raise
    finally:
        session.end()


class Session:
    """Fetches the URLs one after the other, with a client for each proxy; all clients share the cookies."""

    def __init__(self, loop: Loop, options: argparse.Namespace, console: Console) -> None:
        self._loop = loop
        self._options = options
        self._console = console
        self._left: Deque[Tuple[URL, Any, Optional[str]]] = deque(options.requests)
        self._clients: Dict[Optional[str], Client] = {}
        self._cookies = CookieJar()
        self._transfer: Optional[Transfer] = None
        self._status: Optional[int] = None  # None: there is more to do
        self._worst = FINE

    def run(self) -> int:
        """Turns the loop until all is done; returns the exit status."""
        self._loop.call_soon(self._next)
        while self._status is None and self._loop.run_once():
            pass
        if self._status is None:  # the loop has nothing to do any more, and no call is complete
            raise Trouble(OTHER, "the request ended without an answer")
        return self._status

    def interrupt(self) -> None:
        """The user has stopped it."""
        if self._transfer is not None:
            self._transfer.interrupt()

    def end(self) -> None:
        """Lets go of what is open."""
        if self._transfer is not None:
            self._transfer.abort()
        for client in self._clients.values():
            client.abort()
        while not all(client.closed for client in self._clients.values()):
            self._loop.run_once(0)

    def _next(self) -> None:
        if not self._left:
            self._status = self._worst
            return
        url, auth, proxy = self._left.popleft()
        self._transfer = Transfer(self._loop, self._client(proxy), self._options, self._console, url, auth, self._one_done)
        self._transfer.start()

    def _one_done(self, status: int) -> None:
        self._transfer = None
        self._worst = self._worst or status
        if status == GONE:
            self._left.clear()
        self._loop.call_soon(self._next)

    def _client(self, proxy: Optional[str]) -> Client:
        options, clients = self._options, self._clients
        if proxy not in clients:
            clients[proxy] = Client(
                self._loop, timeout=options.timeout, redirects=options.redirects, proxy=proxy, cookies=self._cookies,
                tls=options.tls, max_body=None, decode=options.compressed)
        return clients[proxy]
