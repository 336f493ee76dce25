"""serve --open: the user's browser shows a URL.

    open_browser(loop, server, "http://127.0.0.1:8000/", tell)

Rules
- A browser is opened by Python's `webbrowser`, in a process of its own: it may wait for a browser that runs in the terminal, or
  that asks for the page before it answers, and the loop has to go on meanwhile. Where processes cannot be had (Windows) it is
  opened from here: there webbrowser does not wait.
- Python is isolated there (-I): a webbrowser.py in the folder that is served is not run.
- With the server the process is ended, not the browser: that is nobody's child any more, unless it runs in the terminal.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable

    from ...base.loop import Loop
    from ...http.server.server import Server

_PROGRAM = """\
try:
    import sys, webbrowser
    sys.exit(not webbrowser.open(sys.argv[1]))
except KeyboardInterrupt:  # it is for the server
    pass
"""
FAILED = "no browser could be opened: the URL is above"


def open_browser(loop: Loop, server: Server, url: str, tell: Callable[[str], Any]) -> None:
    """Has a browser show `url`, a page of `server`. tell: called with a line where that cannot be."""
    try:
        from ...base.process import Process

        process = Process(loop, [sys.executable, "-I", "-c", _PROGRAM, url], stdin="inherit", stdout="inherit")
    except (OSError, ImportError, ValueError):
        _open_here(url, tell)
        return
    process.on_exit += lambda process, code: tell(FAILED) if code and not process.closing else None
    server.on_shutdown += lambda server: process.close()


def _open_here(url: str, tell: Callable[[str], Any]) -> None:
    try:
        import webbrowser

        opened = webbrowser.open(url)
    except (OSError, ImportError):
        opened = False
    if not opened:
        tell(FAILED)
