"""What goes wrong with a server, as an exit status and one line: for commands that ask one.

    0  fine                      5  TLS was refused, or its certificate
    1  a file, or anything else  6  a deadline passed
    2  wrong arguments           7  the server broke its protocol, or off in the middle
    3  the name is not known     8  a status of 400 or more, where that is a failure
    4  no connection             130  Ctrl-C        141  nobody reads stdout any more
"""

from __future__ import annotations

from ..base.errors import (
    ConnectError,
    ContractError,
    Deadline,
    IceyError,
    IncompleteBody,
    NetError,
    ProtocolError,
    ResolveError,
    TLSError,
    Truncated,
)
from .console import Trouble, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..http.url import URL

FINE, OTHER, USAGE, NAME, CONNECT, TLS, LATE, PROTOCOL, STATUS = range(9)
INTERRUPTED, GONE = 130, 141


def trouble_of(exc: Exception, url: URL, asked: bool = True) -> Trouble:
    """The Trouble that `exc`, the error of a request to `url`, comes to. asked: whether the request had gone out."""
    if isinstance(exc, IncompleteBody):
        text = "the server closed the connection in the middle of its answer"
    else:
        text = exc.what if isinstance(exc, ContractError) else reason(exc)
    if url.host not in text:
        text = "%s: %s" % (url.without_userinfo(), text)
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
