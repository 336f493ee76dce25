"""python3 -m icey get: fetches URLs, with the habits of curl.

Rules
- The body goes to stdout byte for byte, or into a file that appears under its name when it is complete.
- A problem is one line on stderr, and an exit status that tells its kind: see failures.py.
- Several URLs are fetched one after the other, over kept connections; the exit status is that of the first that failed.
- All of it runs on a loop that is given (`run`); only `main` knows of the process: its arguments, stdout, environment.

Not here: the flags (getoptions.py), one URL's way (transfer.py), where bodies go (outlets.py), what errors mean (failures.py).
"""

from __future__ import annotations

import os
import sys
from collections import deque

from ..base.loop import Loop
from ..http.client import Client
from ..http.cookies import CookieJar
from .console import Console, Trouble
from .failures import FINE, GONE, INTERRUPTED, OTHER
from .getoptions import parse, prepare
from .netoptions import UNCHECKED
from .transfer import Transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Deque, Dict, Optional, Sequence, Tuple

    from ..http.url import URL


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
    """Fetches what `prepare` has prepared, on `loop`; returns the exit status. Turns the loop, until it is done."""
    console.quiet = options.quiet
    if options.insecure:
        console.note(UNCHECKED)
    session = Session(loop, options, console)
    try:
        return session.run()
    finally:
        session.end()


class Session:
    """The URLs one after the other; a client for each proxy, with the same cookies."""

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
        """Turns the loop until all is done."""
        self._loop.call_soon(self._next)
        while self._status is None and self._loop.run_once():
            pass
        if self._status is None:  # somebody closed the call under us
            raise Trouble(OTHER, "the request ended without an answer")
        return self._status

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
