"""Transfer: the way of one URL, from the request to a file or to stdout, with all that is said on the way.

Rules: where the body goes is decided when the head of the answer is here, so that a refusal touches no file. Whatever ends a
transfer, `done(status)` comes once. A file that is half written is removed; a file that is resumed is kept.

Not here: the URLs one after the other (command.py), where bodies go (outlets.py).
"""

from __future__ import annotations

import os
import re

from ...base.errors import BadRequest
from ...base.timer import Timer
from ...http.semantics.dates import parse_date
from ...http.semantics.parameters import form_disposition, safe_name
from ..cli.console import Trouble, reason
from ..cli.failures import FINE, GONE, OTHER, STATUS, USAGE, told_status, trouble_of
from . import progress
from .options import can_resume
from .outlets import Indented, ReaderGone, Resumed, Saved, Standard

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    import argparse
    from typing import Any, Callable, Optional

    from ...base.loop import Loop
    from ...http.client.call import Call
    from ...http.client.client import Client
    from ...http.semantics.message import Response
    from ...http.semantics.url import URL
    from ..cli.console import Console
    from .outlets import Outlet

PATIENCE = 1.0  # seconds of one write; after a longer one the server's next bytes are late by no fault of the server
TICK = 1.0  # seconds between two looks at a download that stands still

_SECRET = re.compile(r"(?i)((?:proxy-)?authorization:(?: *[^ ]+(?= ))?).*").fullmatch


class Transfer:
    """Fetches `url` by `client`, as `options` (see options.py) say. done: called from the loop with the exit status."""

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
        self._upload: Optional[progress.Progress] = None
        self._timer: Optional[Timer] = None
        self._asked = False  # a request has gone out

    def start(self) -> None:
        """Sends the request."""
        self._guarded(self._ask)

    def abort(self) -> None:
        """Ends the transfer; `done` is not called."""
        self._done = None
        self._finish(FINE)

    def interrupt(self) -> None:
        """The user has stopped it: what has come is kept where it can be gone on with, and that is told."""
        call, outlet, came = self._call, self._outlet, self._progress
        if call is None or outlet is None or came is None or not self._can_resume(call.response):
            return
        if call.received:  # the last piece may be written, and not yet told
            self._advanced(call, call.received, call.total)
        if not came.received:
            return
        self._outlet = None
        kept = outlet.keep(call.response)
        if kept is not None:
            came.end()
            self._console.note("%s: %s stay there; the same with --resume goes on" % (kept, came.amount()))

    def _can_resume(self, response: Optional[Response]) -> bool:
        """Whether --resume could go on with a part of this answer."""
        return (response is not None and response.status in (200, 206) and "content-encoding" not in response.headers
                and can_resume(self._options))

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
        if options.body:
            call.on_upload_progress += self._uploaded

    def _into_file(self) -> bool:
        """Whether the body of the answer goes into a file, as far as the options say."""
        options = self._options
        return bool(options.remote_name) or options.output not in (None, "-")

    def _file_name(self) -> str:
        return self._options.output if self._options.output is not None else self._url.filename

    # what comes

    def _sent(self, call: Call, head: bytes) -> None:
        self._asked = True
        if self._options.verbose:
            for line in head.decode("latin-1").splitlines():
                self._console.show("> " + hidden(line))

    def _uploaded(self, call: Call, sent: int, total: Optional[int]) -> None:
        if self._upload is None:
            how = progress.style(self._console, self._into_file(), before=True)
            self._upload = progress.Progress(self._console, self._now, how, "upload", total)
            self._watch(how)
        self._upload.advance(sent)

    def _upload_over(self) -> None:
        """What was sent is answered: another request may send it again."""
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.end()

    def _interim(self, call: Call, response: Response) -> None:
        self._upload_over()
        if self._options.verbose:
            self._show(response)

    def _headers(self, call: Call) -> None:
        self._upload_over()
        if self._options.verbose:
            self._show(call.response)
        self._guarded(self._begin, call, call.response)

    def _payload(self, call: Call, view: memoryview) -> None:
        clock = self._loop.clock
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
        if options.fail and response.status >= 400 and not options.resume:  # Resumed looks at the status itself
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
        self._watch(how)

    def _watch(self, how: int) -> None:
        """Has progress shown while nothing moves, too."""
        if how != progress.HIDDEN and self._timer is None:
            self._timer = Timer(self._loop, TICK, self._tick, interval=TICK).start()
            self._timer.unref()

    def _open(self, response: Response) -> bool:
        """Prepares the outlet; False where no body is needed."""
        outlet, options = self._outlet, self._options
        if isinstance(outlet, Resumed):
            before = outlet.have
            wanted = outlet.open(response)
            if before and wanted and not outlet.have:
                why = "what the server has is not what the part is of" if outlet.changed else "the server cannot resume"
                self._console.note("%s: %s: starting over" % (self._file_name(), why))
            return wanted
        if options.output == "-" or (options.output is None and not options.remote_name):
            outlet = Standard(self._console, options.output == "-")
        else:
            outlet = Saved(self._given_name(response) if options.remote_header_name else self._file_name())
        self._outlet = Indented(outlet, self._console) if options.json else outlet
        return True

    def _given_name(self, response: Response) -> str:
        """The name that the server gives the file, else that of the URL; Trouble for a file that is there already."""
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
            self._date(self._outlet)
            self._console.note("%s: %s" % (self._outlet.into_file, self._progress.summary()))

    def _date(self, outlet: Outlet) -> None:
        """Has the file be as old as the server says; an error page says nothing of the file."""
        assert self._call is not None and self._call.response is not None
        response = self._call.response
        modified = parse_date(response.headers.get("last-modified", ""))
        if modified is None or response.status >= 400 or self._options.no_mtime:
            return
        try:
            outlet.date(modified)
        except (OSError, OverflowError, ValueError) as exc:
            self._console.note("%s: its time cannot be set: %s" % (outlet.into_file, reason(exc)))

    def _guarded(self, fn: Callable[..., Any], *args: Any) -> bool:
        """Calls `fn`; Trouble ends the transfer. Returns whether there was none."""
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
        self._upload_over()
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
        for shown in (self._upload, self._progress):
            if shown is not None:
                shown.tick()

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
