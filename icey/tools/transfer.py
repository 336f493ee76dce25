"""Transfer: one URL's way from the request to a file, or to stdout, with all that is told of it.

Rules: where the body goes is decided when the answer's head is here, so that a refusal touches no file. Whatever ends a
transfer, `done(status)` comes once, and what was half written is gone or, of a resumed file, kept.

Not here: the URLs one after the other (get.py), where bodies go (outlets.py).
"""

from __future__ import annotations

import os
import re

from ..base.errors import BadRequest
from ..base.timer import Timer
from ..http.parameters import form_disposition, safe_name
from . import progress
from .console import Trouble
from .failures import FINE, GONE, OTHER, STATUS, USAGE, trouble_of
from .outlets import Indented, ReaderGone, Resumed, Saved, Standard, told_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Callable, Optional

    from ..base.loop import Loop
    from ..http.call import Call
    from ..http.client import Client
    from ..http.message import Response
    from ..http.url import URL
    from .console import Console
    from .outlets import Outlet

PATIENCE = 1.0  # seconds of writing that make the server's next bytes late, by our fault
TICK = 1.0  # seconds between two looks at a download that stands still

_SECRET = re.compile(r"(?i)((?:proxy-)?authorization:(?: *[^ ]+(?= ))?).*").fullmatch


class Transfer:
    """`url` as `options` (see get.py) say, by `client`; `done(status)` from the loop, an exit status."""

    def __init__(
        self, loop: Loop, client: Client, options: argparse.Namespace, console: Console, url: URL, auth: Any,
        done: Callable[[int], Any],
    ) -> None:
        self._loop = loop
        self._client = client
        self._options = options
        self._console = console
        self._url = url
        self._auth = auth
        self._done: Optional[Callable[[int], Any]] = done
        self._call: Optional[Call] = None
        self._outlet: Optional[Outlet] = None
        self._progress: Optional[progress.Progress] = None
        self._timer: Optional[Timer] = None
        self._asked = False  # a request has gone out

    def start(self) -> None:
        """Asks."""
        self._guarded(self._ask)

    def abort(self) -> None:
        """Ends it; `done` does not come any more."""
        self._done = None
        self._finish(FINE)

    # the request

    def _ask(self) -> None:
        options = self._options
        headers = list(options.fields)
        if options.resume:
            self._outlet = part = Resumed(self._file_name())
            headers += part.fields()
        try:
            call = self._client.request(
                options.method, self._url, headers=headers, body=options.body and options.body(), auth=self._auth,
                done=self._answered)
        except (OSError, ValueError, TypeError) as exc:
            raise trouble_of(exc, self._url, False) from exc
        self._call = call
        call.on_sent += self._sent
        call.on_interim += self._interim
        call.on_headers += self._headers
        call.on_payload += self._payload
        call.on_progress += self._advanced

    def _file_name(self) -> str:
        return self._options.output if self._options.output is not None else self._url.filename

    # what comes

    def _sent(self, call: Call, head: bytes) -> None:
        self._asked = True
        if self._options.verbose:
            for line in head.decode("latin-1").splitlines():
                self._console.show("> " + hidden(line))

    def _interim(self, call: Call, response: Response) -> None:
        if self._options.verbose:
            self._show(response)

    def _headers(self, call: Call) -> None:
        if self._options.verbose:
            self._show(call.response)
        self._guarded(self._begin, call, call.response)

    def _payload(self, call: Call, view: memoryview) -> None:
        clock = self._loop._clock
        began = clock()
        assert self._outlet is not None
        if self._guarded(self._outlet.write, view) and clock() - began >= PATIENCE:
            call.pause()  # what the server has sent meanwhile is read before it is called late
            self._loop.call_soon(call.resume)

    def _advanced(self, call: Call, received: int, total: Optional[int]) -> None:
        assert self._progress is not None
        self._progress.advance(self._progress.have + received)

    def _answered(self, answer: Any, error: Optional[Exception]) -> None:
        call = self._call
        assert call is not None
        if error is not None:
            self._fail(trouble_of(error, call.url, self._asked))
        elif self._guarded(self._commit):
            self._finish(FINE)

    # from the head to the end

    def _begin(self, call: Call, response: Response) -> None:
        """The answer's head is here."""
        options = self._options
        if options.fail and response.status >= 400 and not options.resume:  # which looks at it itself
            raise Trouble(STATUS, "%s: %s" % (call.url.without_userinfo(), told_status(response)))
        if not self._open(response):
            self._console.note("%s: complete already" % self._file_name())
            self._finish(FINE)
            return
        outlet = self._outlet
        assert outlet is not None
        if options.include:
            outlet.head(head_of(response))
        how = progress.style(self._console, outlet.into_file is not None)
        total = None if call.total is None or call.method == "HEAD" else call.total + outlet.have
        name = os.path.basename(outlet.into_file) if outlet.into_file else self._url.filename or self._url.host
        self._progress = progress.Progress(self._console, self._now, how, name, total, outlet.have)
        if how != progress.HIDDEN:
            self._timer = Timer(self._loop, TICK, self._tick, interval=TICK).start()
            self._timer.unref()

    def _open(self, response: Response) -> bool:
        """Has the outlet ready; False where nothing needs to come."""
        outlet, options = self._outlet, self._options
        if isinstance(outlet, Resumed):
            before = outlet.have
            wanted = outlet.open(response)
            if before and wanted and not outlet.have:
                self._console.note("%s: begins anew, what the server has is not what the part is of" % self._file_name())
            return wanted
        if options.output == "-" or (options.output is None and not options.remote_name):
            outlet = Standard(self._console, options.output == "-")
        else:
            outlet = Saved(self._given_name(response) if options.remote_header_name else self._file_name())
        self._outlet = Indented(outlet, self._console) if options.json else outlet
        return True

    def _given_name(self, response: Response) -> str:
        """The name that the server gives the file, or the URL's; never one that is there already."""
        name = disposition_name(response.headers.get("content-disposition", "")) or self._url.filename
        if not name:
            raise Trouble(USAGE, "neither %s nor its answer names a file: -o FILE does" % self._url.without_userinfo())
        if os.path.lexists(name):
            raise Trouble(OTHER, "%s is there already, and a name that a server gives does not write over it" % name)
        return name

    def _commit(self) -> None:
        assert self._outlet is not None and self._progress is not None
        self._outlet.commit()
        self._progress.end()
        if self._outlet.into_file is not None:
            self._console.note("%s: %s" % (self._outlet.into_file, self._progress.summary()))

    def _guarded(self, fn: Callable[..., Any], *args: Any) -> bool:
        """Calls `fn`; what is trouble ends the transfer. Whether there was none."""
        try:
            fn(*args)
            return True
        except Trouble as trouble:
            self._fail(trouble)
        except ReaderGone:
            self._finish(GONE)
        return False

    def _fail(self, trouble: Trouble) -> None:
        self._console.trouble(str(trouble))
        self._finish(trouble.status)

    def _finish(self, status: int) -> None:
        """Lets go of everything."""
        done, self._done = self._done, None
        if self._call is not None:
            self._call.close()
        if self._timer is not None:
            self._timer.abort()
            self._timer = None
        if self._progress is not None:
            self._progress.end()
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            outlet.discard()
        if done is not None:
            done(status)

    def _now(self) -> float:
        return self._loop.now

    def _tick(self, timer: Timer) -> None:
        assert self._progress is not None
        self._progress.tick()

    def _show(self, response: Optional[Response]) -> None:
        assert response is not None
        for line in head_of(response).decode("latin-1").splitlines():
            self._console.show("< " + line)


def head_of(response: Response) -> bytes:
    """A response's head, as bytes."""
    lines = ["HTTP/%s %s" % (response.version, told_status(response))]
    lines += ["%s: %s" % field for field in response.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def hidden(line: str) -> str:
    """A line of a request's head, without what proves who asks."""
    match = _SECRET(line)
    return line if match is None else match.group(1) + " ..."


def disposition_name(value: str) -> str:
    """The file name that a Content-Disposition gives (RFC 6266), made safe; "" for none."""
    try:
        return safe_name(form_disposition('form-data; name="";' + value.partition(";")[2])[1] or "")
    except BadRequest:
        return ""
