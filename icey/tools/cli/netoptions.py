"""Options of all commands that ask a server: the way to the server, whom to trust, headers; and what these options mean.

    add_way(group)                              # -k --ca --cert --key -x --no-proxy
    add_header(group), add_timeout(group, what) # -H; --timeout
    check_way(options)                          # Trouble where they contradict each other
    tls_of(options, secure), proxy_of(options, url, environ), headers_of(options.header), parsed(text, schemes, rule)
    absolute(text, scheme)

Rule: whatever is wrong is a Trouble in one line, before a server is asked.

Not here: options that one command alone takes (tools/get/options.py, tools/ws/command.py).
"""

from __future__ import annotations

import argparse
import os
import re

from ...http.client.dialing import tls_module
from ...http.client.proxy import Proxy
from ...http.semantics.headers import Headers
from ...http.semantics.url import URL
from ...net.address import Address
from ...net.networks import Networks
from .console import Trouble, reason
from .failures import OTHER, USAGE

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Container, List, Mapping, Optional

UNCHECKED = "-k: certificates are not checked, anybody in between can read and change what comes"
ENVIRONMENT = {"ws": "http_proxy", "wss": "https_proxy", "http": "http_proxy", "https": "https_proxy"}
PROXIES = ("http", "https", "socks5", "socks5h")


# -- the command line ------------------------------------------------------------------------------------------------

def add_way(group: Any, cert: str = "our own certificate (PEM), for servers that ask for one") -> None:
    """Adds the flags that concern the way to a server. cert: what --cert is for, in the help."""
    add = group.add_argument
    add("-k", "--insecure", action="store_true", help="do not check certificates")
    add("--ca", metavar="FILE", help="trust these authorities (PEM), not the system's")
    add("--cert", metavar="FILE", help=cert)
    add("--key", metavar="FILE", help="its key, if it is in another file")
    add("-x", "--proxy", metavar="URL",
        help="by this proxy, for all URLs: http, https, socks5, or socks5h, which looks names up")
    add("--no-proxy", action="store_true", help="by none, whatever the environment says")


def add_header(group: Any) -> None:
    """Adds -H, for `headers_of`."""
    group.add_argument("-H", "--header", metavar="'NAME: VALUE'", action="append", default=[],
                       help="send this header; may be repeated")


def add_timeout(group: Any, what: str) -> None:
    """Adds --timeout, seconds or None. what: what they end, in the help."""
    group.add_argument("--timeout", metavar="S", type=seconds, help=what)


def check_way(options: argparse.Namespace) -> None:
    """Trouble where two of these flags do not go together."""
    if options.key and not options.cert:
        raise Trouble(USAGE, "--key goes with --cert")
    if options.proxy and options.no_proxy:
        raise Trouble(USAGE, "--proxy and --no-proxy contradict each other")


def seconds(text: str) -> float:
    """The seconds that an argument names, more than 0; ArgumentTypeError for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError("a number of seconds is wanted, not %r" % text)
    return value


# -- what they come to -----------------------------------------------------------------------------------------------

def absolute(text: str, scheme: str) -> str:
    """`text` with a scheme: its own, else `scheme`. A "://" further on, as in a query, is none."""
    text = text.strip(" ")
    return text if re.match(r"[A-Za-z][A-Za-z0-9+.\-]*://", text) else "%s://%s" % (scheme, text)


def parsed(text: str, schemes: Container[str], rule: str) -> URL:
    """`text` as a URL of one of these schemes; Trouble if it is none, with `rule` for another scheme."""
    if text.partition("://")[0].strip(" ").lower() not in schemes:
        raise Trouble(USAGE, "%s: %s" % (text.partition("://")[0], rule))
    try:
        return URL.parse(text)
    except ValueError as wrong:
        raise Trouble(USAGE, str(wrong)) from None


def headers_of(given: List[str]) -> Headers:
    """The headers of all -H, each 'NAME: VALUE'; Trouble for one that cannot be sent."""
    headers = Headers()
    for line in given:
        name, colon, value = line.partition(":")
        if not colon:
            raise Trouble(USAGE, "a header is 'NAME: VALUE', not %r" % line)
        try:
            headers.add(name, value.strip(" \t"))
        except ValueError as wrong:
            raise Trouble(USAGE, str(wrong)) from None
    return headers


def tls_of(options: argparse.Namespace, secure: bool) -> Any:
    """The TLS context, None where no option concerns TLS and `secure` (a URL is https) is False."""
    if not (options.insecure or options.ca or options.cert or secure):
        return None
    try:
        return tls_module().client_context(
            ca=options.ca, cert=options.cert, key=options.key, verify=not options.insecure, alpn=("http/1.1",))
    except OSError as exc:  # TLSError is one; a file that is missing is not named by ssl
        files = [file for file in (options.ca, options.cert, options.key) if file and not os.access(file, os.R_OK)]
        raise Trouble(OTHER, ("cannot read %s: %s" % (files[0], reason(exc))) if files else str(exc)) from exc


# -- proxies ---------------------------------------------------------------------------------------------------------

def proxy_of(options: argparse.Namespace, url: URL, environ: Mapping[str, str]) -> Optional[str]:
    """The URL of the proxy for `url`, None for no proxy. As with curl, names in capitals count where the others are not set,
    but for HTTP_PROXY, which in a CGI program is a header of the client."""
    given: Optional[str] = options.proxy
    whence = "--proxy"
    if given is None and not options.no_proxy and not exempt(url.host, environ.get("no_proxy") or environ.get("NO_PROXY", "")):
        own = ENVIRONMENT[url.scheme]
        names = (own, own.upper() if own != "http_proxy" else own, "all_proxy", "ALL_PROXY")
        named = [name for name in names if environ.get(name)]
        if named:
            whence, given = named[0], environ[named[0]]
    if not given:
        return None
    text = absolute(given, "http")
    try:
        Proxy(parsed(text, PROXIES, "a proxy is http, https, socks5 or socks5h"))
    except (Trouble, ValueError) as wrong:  # it may stand where the user does not see it
        raise Trouble(USAGE, "%s (%s)" % (wrong, whence)) from None
    return text


def exempt(host: str, no_proxy: str) -> bool:
    """Whether `host` is asked without a proxy, by no_proxy: names, addresses and networks with commas between, or "*".

    A name stands for all names below it, too.
    """
    host = host.rstrip(".")
    for entry in no_proxy.lower().replace(",", " ").split():
        name = entry.strip("[].")
        if entry == "*" or (name and (host == name or host.endswith("." + name))):
            return True
        if "/" in entry and _within(host, entry):
            return True
    return False


def _within(host: str, network: str) -> bool:
    try:
        return Address(host, 0) in Networks(network)
    except ValueError:
        return False
