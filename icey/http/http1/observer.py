"""ParserObserver: what a parser calls: the seam between the bytes of HTTP/1.1 and whoever has a use for the messages.

    class Printer(ParserObserver):
        def on_head(self, message):
            print(message)
            return False

    Parser(Printer()).feed(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")

The calls of one message, in this order: on_head, then for a message with a body any number of on_body, and on_end_of_body. A
message without a body (`parser.framing.length` is 0) is complete with on_head. Interim answers (status 1xx) are messages of
their own, without a body.

Each call returns whether the parser is to *hold*. True: `feed` returns at once, with the number of bytes it has used; the
caller keeps the other bytes and feeds them again later. This is how back-pressure reaches a parser, and how a server answers
one request before it looks at the next. What a callback raises leaves `feed`.

The connections of http/server and http/client are such observers. Not here: errors of the input, which `feed` and `end` raise.
"""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any


class ParserObserver:
    """An observer that ignores everything and never holds; a subclass overrides what it needs."""

    __slots__ = ()

    def on_head(self, message: Any) -> bool:
        """A head is complete: a Request, or of `Parser(responses=True)` a Response. `parser.framing` says what follows it."""
        return False

    def on_body(self, view: memoryview) -> bool:
        """A piece of the body, at least one byte: a view of what was fed, without chunk framing."""
        return False

    def on_end_of_body(self) -> bool:
        """The body has ended; `parser.trailers` has its trailer fields, (lower-case name, value) pairs."""
        return False
