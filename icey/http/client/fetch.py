"""fetch: one request, blocking, on a loop of its own.

    answer = fetch("http://127.0.0.1:8000/")
    print(answer.status, answer.headers["content-type"], answer.text())

Not here: requests on a loop that the caller has (client.py), the outcome (answer.py).
"""

from __future__ import annotations

import sys

from ...base.errors import NetError, StateError
from ...base.loop import Loop
from .answer import Answer

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

    from ..semantics.headers import HeadersLike


def fetch(
    url: Any, *, method: str = "GET", headers: HeadersLike = None, body: Any = None, timeout: Optional[float] = 30.0,
    redirects: int = 10, tls: Any = None, **options: Any,
) -> Answer:
    """Asks for `url` and returns the answer, whatever its status; blocks until then, at most `timeout` seconds.

    options: further ones of Client (proxy, auth, cookies, limits, max_body ...). Raises what went wrong: NetError
    (ResolveError, ConnectError, TLSError, Deadline ...), ProtocolError, ValueError for what cannot be sent; StateError where a
    loop runs on this thread, which would stand still meanwhile.
    """
    from .client import Client

    if _inside_a_loop():
        raise StateError("fetch() inside a running loop, which it would hold until the answer is there",
                         "Client(loop).request(..., done=...) asks without waiting", "slots return soon")

    outcome: List[Tuple[Optional[Answer], Optional[Exception]]] = []
    with Loop() as loop:
        client = Client(loop, timeout=timeout, redirects=redirects, tls=tls, **options)
        try:
            client.request(method, url, headers=headers, body=body, done=lambda *came: outcome.append(came))
            while not outcome and loop.run_once():
                pass
        finally:
            client.abort()
    if not outcome:
        raise NetError("the request ended without an answer")
    answer, error = outcome[0]
    if error is not None:
        try:
            raise error
        finally:
            del error, outcome  # a traceback that holds itself
    assert answer is not None
    return answer


def _inside_a_loop() -> bool:
    """Whether a loop runs on this thread, and has called us."""
    turning = (Loop.run.__code__, Loop.run_once.__code__)
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code in turning:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
