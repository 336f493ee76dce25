"""Broker: where a broker is, and who asks: an mqtt:, mqtts: or mqtt+unix: URL, read.

    mqtt://host               port 1883          mqtts://host          TLS, port 8883
    mqtt://user:password@host:1884               user and password percent-encoded, as UTF-8
    mqtt+unix:/run/broker.sock                   mqtt+unix://user:password@/run/broker.sock

Rules: what is odd is refused with a reason: a path, a query or a fragment of a host, a port that is none. No error text and no
repr shows the password.

Not here: connecting (connection.py).
"""

from __future__ import annotations

import re

from ..net.address import Address
from ..net.userinfo import credentials, decoded, refused

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Optional

PORTS = {"mqtt": 1883, "mqtts": 8883}
_URL = r"(?s)([A-Za-z][A-Za-z0-9+.-]*):(?://(?:([^@/?#]*)@)?([^@/?#]*))?([^?#]*)(.*)\Z"
_HOST_PORT = r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{0,5}))?\Z"


class Broker:
    """A broker's URL, read. ValueError says what is wrong with a text that is none.

    `scheme`: "mqtt", "mqtts" or "mqtt+unix". `address`: an Address. `secure`: whether it is reached by TLS. `host`: the name
    that its certificate must have. `user`: None for none; `password`: bytes, None for none.
    """

    __slots__ = ("scheme", "address", "secure", "host", "user", "password")

    scheme: str
    address: Address
    secure: bool
    host: str
    user: Optional[str]
    password: Optional[bytes]

    def __init__(self, url: Any) -> None:
        if not isinstance(url, str):
            raise TypeError("a broker's URL is a str, not %s" % type(url).__name__)
        found = re.match(_URL, url.strip(" "))
        if found is None or found.group(1).lower() not in ("mqtt", "mqtts", "mqtt+unix"):
            raise refused("a broker's URL begins with mqtt://, mqtts:// or mqtt+unix:", url)
        self.scheme = found.group(1).lower()
        userinfo, host, path, more = found.group(2, 3, 4, 5)
        if more:
            raise refused("a broker's URL has no query and no fragment (in a password, ? is %3F and # is %23)", url)
        self.secure = self.scheme == "mqtts"
        try:
            self.user, self.password = credentials(userinfo)
        except ValueError as exc:
            raise refused(str(exc), url) from None
        if self.scheme == "mqtt+unix":
            if host or not path:
                raise refused("a Unix socket is mqtt+unix:/path, or mqtt+unix://user:password@/path", url)
            self.host = ""
            self.address = Address("unix:" + decoded(path).decode("utf-8", "surrogateescape"))
            return
        place = re.match(_HOST_PORT, host or "")
        if place is None or not place.group(1) or path not in ("", "/"):
            raise refused("a broker is host or host:port, with no path (in a password, / is %2F and @ is %40)", url)
        self.host = place.group(1)
        if self.host[0] == "[":
            self.host = self.host[1:-1]
            if ":" not in self.host:
                raise refused("only an IPv6 address stands in brackets", url)
        port = int(place.group(2) or PORTS[self.scheme])
        if not 0 < port < 65536:
            raise refused("a port is 1 to 65535", url)
        self.address = Address(self.host, port)

    def __repr__(self) -> str:
        return "<%s %s>" % (self.scheme, self.address)
