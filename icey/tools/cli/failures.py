"""What goes wrong between a command and the server that it asks: as an exit status, and as one line.

    0  fine                      5  TLS was refused, or its certificate
    1  a file, or anything else  6  a deadline passed
    2  wrong arguments           7  the server broke its protocol, or closed in the middle of its answer
    3  the name is not known     8  a status of 400 or more, where that is a failure
    4  no connection             130  Ctrl-C        141  nobody reads stdout any more
"""

from __future__ import annotations

from ...base.errors import (
    ConnectError,
    ContractError,
    Deadline,
    IceyError,
    NetError,
    ProtocolError,
    ResolveError,
    TLSError,
    Truncated,
)
from ...http.semantics.status import REASONS
from .console import Trouble, reason

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from ...http.semantics.message import Response
    from ...http.semantics.url import URL

FINE, OTHER, USAGE, NAME, CONNECT, TLS, LATE, PROTOCOL, STATUS = range(9)
INTERRUPTED, GONE = 130, 141


UNVOUCHED = ("self-signed certificate", "self signed certificate", "unable to get local issuer certificate",
             "unable to verify the first certificate")  # as OpenSSL has it


def trouble_of(exc: Exception, url: URL, asked: bool = True) -> Trouble:
    """The Trouble for `exc`, the error of a request to `url`. asked: the request had gone out."""
    text = exc.what if isinstance(exc, ContractError) else reason(exc)
    if url.host not in text:
        text = "%s: %s" % (url.without_userinfo(), text)
    if isinstance(exc, TLSError) and any(kind in text for kind in UNVOUCHED):
        text += "; --ca FILE trusts the one who signed it, -k any"
    return Trouble(_status(exc, asked), text)


def _status(exc: Exception, asked: bool) -> int:
    if isinstance(exc, Truncated):
        return PROTOCOL if asked else TLS
    for kind, status in ((ResolveError, NAME), (ConnectError, CONNECT), (TLSError, TLS), (Deadline, LATE),
                         (ProtocolError, PROTOCOL)):
        if isinstance(exc, kind):
            return status
    if isinstance(exc, (ValueError, TypeError)):  # what cannot be sent
        return USAGE
    if type(exc) is NetError or isinstance(exc, ContractError) or getattr(exc, "filename", None) is not None:  # on our side
        return OTHER
    return PROTOCOL if isinstance(exc, (OSError, IceyError)) else OTHER


def told_status(response: Response) -> str:
    """A response's status as text: "404 Not Found"."""
    return ("%d %s" % (response.status, response.reason or REASONS.get(response.status, ""))).rstrip()
