"""The options of `icey get`: the flags, what they mean for the requests, and which of them contradict each other.

    options = parse(argv)                     # as they were given
    prepare(options, os.environ, stdin)       # adds requests, method, fields, body, tls

Rule: whatever can be found wrong before a server is asked is found here, also in files that are to be sent.

Not here: the flags that concern the way to a server, headers and proxies (tools/cli/netoptions.py).
"""

from __future__ import annotations

import argparse
import errno
import io
import os

from ...http.client.multipartencoder import FilePart, MultipartEncoder
from ...http.semantics.auth import BasicAuth, DigestAuth
from ...http.semantics.grammar import TOKEN
from ..cli.console import Parser, Trouble, reason
from ..cli.failures import OTHER, USAGE
from ..cli.netoptions import absolute, add_header, add_timeout, add_way, check_way, headers_of, parsed, proxy_of, tls_of

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Mapping, Optional, Sequence, Tuple

    from ...http.semantics.headers import Headers
    from ...http.semantics.url import URL

EPILOG = """\
Exit status: 0 fine; 1 a file cannot be read or written, or anything else;
2 wrong arguments; 3 the name is not known; 4 cannot connect; 5 TLS refused,
or its certificate; 6 a deadline passed; 7 the server broke its protocol, or
off in the middle; 8 a status of 400 or more, with --fail or --resume;
130 Ctrl-C; 141 nobody reads stdout any more. Of several URLs, that of the
first failure.

Redirects are followed. Nothing bounds how long a download takes, but one that
does not move for 30 seconds is given up. http_proxy, https_proxy, all_proxy
and no_proxy in the environment are heeded, in capitals too, but HTTP_PROXY; a
redirect stays with the proxy of its URL.
"""

URLENCODED = "application/x-www-form-urlencoded"


# -- the command line ------------------------------------------------------------------------------------------------

def parse(argv: Sequence[str], prog: str = "icey get") -> argparse.Namespace:
    """The options as they are given. SystemExit after --help and for a wrong flag."""
    return _parser(prog).parse_intermixed_args(argv)


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, usage="%(prog)s [options] URL [URL...]", epilog=EPILOG,
        description="Fetch URLs over HTTP/1.1 and HTTPS: to stdout, or into files.")
    parser.add_argument("urls", nargs="+", metavar="URL", help="http or https; without a scheme it is http")
    _add_output(parser.add_argument_group("what comes"))
    _add_request(parser.add_argument_group("what is asked"))
    _add_network(parser.add_argument_group("on the way"))
    return parser


def _add_output(group: Any) -> None:
    add = group.add_argument
    add("-o", "--output", metavar="FILE", help="into this file; - is stdout, a terminal included")
    add("-O", "--remote-name", action="store_true", help="into a file named as in the URL")
    add("-J", "--remote-header-name", action="store_true",
        help="with -O: named as the server says (Content-Disposition); nothing is written over")
    add("--resume", action="store_true",
        help="go on where the file ends, if it is there, and keep what has come if this fails too")
    add("-C", "--continue-at", dest="resume", metavar="-", type=_end_of_file, default=False,
        help="-C - is --resume, for those used to curl")
    add("--no-mtime", action="store_true",
        help="files are as old as the download; else as what was downloaded, where the server says (Last-Modified)")
    add("-R", "--remote-time", action="store_true", help="the server's time for files: the default, for those used to curl")
    add("-i", "--include", action="store_true", help="the answer's head, too")
    add("-f", "--fail", action="store_true", help="a status of 400 or more is a failure, and its body is not shown")
    add("--json", action="store_true",
        help="lay out JSON for people, and ask for it (Accept); with -d, the data are JSON, too")
    add("-q", "--quiet", action="store_true", help="no progress, no notes")
    add("-s", "--silent", action="store_true", help="no progress, no notes, no word of what went wrong; see the exit status")
    add("-S", "--show-error", action="store_true", help="with -s: what went wrong is told all the same, as with -q")
    add("-v", "--verbose", action="store_true", help="show the heads of requests and answers on stderr")


def _add_request(group: Any) -> None:
    add = group.add_argument
    add("-X", "--request", metavar="METHOD", help="the method (default: GET; POST with -d and --form; HEAD with -I)")
    add("-I", "--head", action="store_true", help="ask for the head only, and show it")
    add_header(group)
    add("-A", "--user-agent", metavar="NAME", help="the User-Agent to send; \"\" sends none")
    add("-d", "--data", metavar="DATA", action="append",
        help="send this, urlencoded unless a header says otherwise; @FILE: what is in the file, @-: in stdin; several are "
             "joined by &")
    add("-F", "--form", metavar="NAME=VALUE", action="append",
        help="send a form (multipart/form-data); NAME=@FILE: a file, NAME=@-: stdin; may be repeated")
    add("-u", "--user", metavar="USER[:PASSWORD]", help="who we are; without a password it is asked for")
    add("--digest", action="store_true", help="prove it by Digest; the default is Basic")
    add("--compressed", action="store_true", help="ask for gzip or deflate, and undo it")


def _add_network(group: Any) -> None:
    add = group.add_argument
    add("--redirects", metavar="N", type=_count, default=10, help="follow at most so many (default: 10; 0: none)")
    add("-L", "--location", action="store_true", help="follow redirects: the default, for those used to curl")
    add_timeout(group, "give up a URL after so many seconds (default: never)")
    add_way(group)


def _end_of_file(text: str) -> bool:
    """What -C takes: curl's numbers would leave what is in the file to chance."""
    if text != "-":
        raise argparse.ArgumentTypeError("only -C - is known, which goes on where the file ends, not %r" % text)
    return True


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise argparse.ArgumentTypeError("a number from 0 to 9999 is wanted, not %r" % text)
    return int(text)


# -- from options to requests ----------------------------------------------------------------------------------------

def prepare(options: argparse.Namespace, environ: Mapping[str, str], stdin: Any = None) -> None:
    """Adds what the options mean: requests (URL, auth, proxy), method, fields, body, tls. Trouble: they contradict."""
    _check(options)
    if options.compressed and not _has_zlib():
        raise Trouble(OTHER, "--compressed needs Python's zlib module, which is missing here")
    headers = headers_of(options.header)
    if options.user_agent is not None and "user-agent" not in headers:
        headers_of(["User-Agent: " + options.user_agent])  # Trouble where it cannot be sent
        headers["User-Agent"] = options.user_agent
    options.body = _body(options, headers, stdin)
    options.method = options.request or ("HEAD" if options.head else "GET" if options.body is None else "POST")
    options.include = options.include or options.head
    if options.json and "accept" not in headers:
        headers["Accept"] = "application/json"
    options.fields = list(headers.items())
    urls = [_url(text) for text in options.urls]
    options.tls = tls_of(options, any(url.secure for url in urls))
    auth = None if options.user is None else _auth(options.digest, *_credentials(options.user))
    options.requests = [(url, auth or _own_auth(options, url), proxy_of(options, url, environ)) for url in urls]
    if options.remote_name and not options.remote_header_name:
        for url in urls:
            if not url.filename:
                raise Trouble(USAGE, "%s has no file name that -O could take: -o FILE" % url.without_userinfo())


def can_resume(options: argparse.Namespace) -> bool:
    """Whether what these flags ask for can be gone on with: a file, as it is, by GET."""
    return not (options.data is not None or options.form is not None or options.request or options.head or options.include
                or options.json or options.compressed or options.remote_header_name)


def _check(options: argparse.Namespace) -> None:
    """Trouble where two flags do not go together."""
    sends = options.data is not None or options.form is not None
    into_file = options.remote_name or options.output not in (None, "-")
    for wrong, text in (
        (options.output is not None and options.remote_name, "-o and -O: the file has one name"),
        (options.output is not None and len(options.urls) > 1 and into_file, "-o FILE is for one URL; -O names several files"),
        (options.remote_header_name and not options.remote_name, "-J goes with -O"),
        (options.data is not None and options.form is not None, "-d and --form: a request has one body"),
        (options.head and (sends or options.request), "-I asks by HEAD, without a body: no -d, --form, -X with it"),
        (options.json and options.data and len(options.data) > 1, "--json sends one -d"),
        (options.resume and not into_file, "--resume (-C -) needs the file: -o FILE or -O"),
        (options.resume and not can_resume(options),
         "--resume (-C -) asks for the rest of a file by GET: no -d, --form, -X, -I, -i, -J, --json, --compressed "
         "with it"),
        (options.request and (not TOKEN(options.request) or options.request == "CONNECT"),
         "%r is no method to ask by" % options.request),
    ):
        if wrong:
            raise Trouble(USAGE, text)
    check_way(options)


def _has_zlib() -> bool:
    try:
        from ...http.client import decoding as decoding
    except ImportError:
        return False
    return True


def _url(text: str) -> URL:
    return parsed(absolute(text, "http"), ("http", "https"), "only http and https are spoken here")


def _body(options: argparse.Namespace, headers: Headers, stdin: Any) -> Optional[Callable[[], Any]]:
    """A function that gives the body of a request, None for no body; adds Content-Type to `headers`."""
    if options.form is not None:
        if "content-type" in headers:
            raise Trouble(USAGE, "a form says its Content-Type itself: not by -H")
        form = _form(options.form, stdin)
        headers["Content-Type"] = form.content_type
        return lambda: form
    if options.data is None:
        return None
    if "content-type" not in headers:
        headers["Content-Type"] = "application/json" if options.json else URLENCODED
    if len(options.data) == 1 and options.data[0][:1] == "@" and options.data[0] != "@-":
        file = _part(options.data[0][1:])
        if file.size is not None:
            return lambda: FileBody(file)
    data = b"&".join([_data(text, stdin) for text in options.data])
    return lambda: data


class FileBody:
    """A file as a request's body: opened when it is sent, and once more if it has to be sent again. `length`: bytes."""

    rewindable = True

    def __init__(self, file: FilePart) -> None:
        self._file = file
        self.length: Optional[int] = file.size

    def __iter__(self) -> Iterator[bytes]:
        return self._file.pieces()


def _data(text: str, stdin: Any) -> bytes:
    if text[:1] != "@":
        return os.fsencode(text)
    if text == "@-":
        return _stdin(stdin)
    try:
        return b"".join(_part(text[1:]).pieces())
    except OSError as exc:
        raise _unreadable(text[1:], exc) from exc


def _form(given: List[str], stdin: Any) -> MultipartEncoder:
    fields: List[Tuple[str, Any]] = []
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Trouble(USAGE, "a form's field is NAME=VALUE, not %r" % text)
        if value == "@-":
            fields.append((name, FilePart(io.BytesIO(_stdin(stdin)), "-")))
        else:
            fields.append((name, _part(value[1:]) if value[:1] == "@" else os.fsencode(value)))
    try:
        return MultipartEncoder(fields)
    except ValueError as wrong:
        raise Trouble(USAGE, str(wrong)) from None


def _part(path: str) -> FilePart:
    """A file to send. Trouble: it cannot be read."""
    try:
        part = FilePart(path)
        if os.path.isdir(path) or not os.access(path, os.R_OK):
            code = errno.EISDIR if os.path.isdir(path) else errno.EACCES
            raise OSError(code, os.strerror(code))
    except (OSError, ValueError) as exc:
        raise _unreadable(path, exc) from exc
    return part


def _stdin(stdin: Any) -> bytes:
    """All of stdin, before a server is asked: a request whose body comes slowly would meet the server's deadlines."""
    try:
        if stdin is None:
            raise OSError("there is none")
        return bytes(stdin.read())
    except (OSError, ValueError) as exc:
        raise _unreadable("stdin", exc) from exc


def _unreadable(what: str, exc: BaseException) -> Trouble:
    return Trouble(OTHER, "cannot read %s: %s" % (what, reason(exc)))


def _credentials(given: str) -> Tuple[str, str]:
    """(user, password)."""
    user, colon, password = given.partition(":")
    if not colon:
        import getpass

        try:
            password = getpass.getpass("Password of %s: " % user)
        except (EOFError, OSError, Warning) as exc:
            raise Trouble(USAGE, "the password of %s cannot be asked for here: -u %s:PASSWORD" % (user, user)) from exc
    return user, password


def _auth(digest: bool, user: str, password: str) -> Any:
    try:
        return DigestAuth(user, password) if digest else BasicAuth(user, password)
    except ValueError as wrong:
        raise Trouble(USAGE, str(wrong)) from None


def _own_auth(options: argparse.Namespace, url: URL) -> Any:
    """The credentials that stand in the URL, None for none."""
    if url.user is not None:
        return _auth(options.digest, url.user, url.password or "")
    if options.digest:
        raise Trouble(USAGE, "--digest needs -u USER:PASSWORD")
    return None
