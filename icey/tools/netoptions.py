"""Options that commands which ask a server have in common: the way to it, its trust, headers; and what they come to.

    add_way(group)                              # -k --ca --cert --key --proxy --no-proxy
    check_way(options)                          # Trouble where they contradict each other
    tls_of(options, secure), proxy_of(options, url, environ), headers_of(options.header), parsed(text, schemes, rule)

Rule: whatever is wrong is a Trouble in one line, before a server is asked.

Not here: what only one command takes (getoptions.py, ws.py).
"""

from __future__ import annotations

import argparse
import os

from ..http.dialing import tls_module
from ..http.headers import Headers
from ..http.url import URL
from ..net.address import Address
from ..net.networks import Networks
from .console import Trouble, reason
from .failures import OTHER, USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Container, List, Mapping, Optional

UNCHECKED = "-k: certificates are not checked, anybody in between can read and change what comes"
ENVIRONMENT = {"ws": "http_proxy", "wss": "https_proxy", "http": "http_proxy", "https": "https_proxy"}


# -- the command line ------------------------------------------------------------------------------------------------

def add_way(group: Any, cert: str = "our own certificate (PEM), for servers that ask for one") -> None:
    """The flags of the way to a server. cert: what --cert is for."""
    add = group.add_argument
    add("-k", "--insecure", action="store_true", help="do not check certificates")
    add("--ca", metavar="FILE", help="trust these authorities (PEM), not the system's")
    add("--cert", metavar="FILE", help=cert)
    add("--key", metavar="FILE", help="its key, if it is in another file")
    add("--proxy", metavar="URL", help="by this HTTP proxy, for all URLs")
    add("--no-proxy", action="store_true", help="by none, whatever the environment says")


def check_way(options: argparse.Namespace) -> None:
    """Trouble where two of these flags do not go together."""
    if options.key and not options.cert:
        raise Trouble(USAGE, "--key goes with --cert")
    if options.proxy and options.no_proxy:
        raise Trouble(USAGE, "--proxy and --no-proxy contradict each other")


def seconds(text: str) -> float:
    """An argument that is a time."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError("a number of seconds is wanted, not %r" % text)
    return value


# -- what they come to -----------------------------------------------------------------------------------------------

def parsed(text: str, schemes: Container[str], rule: str) -> URL:
    """The URL, of one of these schemes."""
    if text.partition("://")[0].strip(" ").lower() not in schemes:
        raise Trouble(USAGE, "%s: %s" % (text.partition("://")[0], rule))
    try:
        return URL.parse(text)
    except ValueError as wrong:
        raise Trouble(USAGE, str(wrong)) from None


def headers_of(given: List[str]) -> Headers:
    """What -H says, each as in 'NAME: VALUE'."""
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
    """The context for https, None where nothing is said of it."""
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
    """The proxy for `url`, None for none."""
    given: Optional[str] = options.proxy
    if given is None and not options.no_proxy and not exempt(url.host, environ.get("no_proxy", "")):
        given = environ.get(ENVIRONMENT[url.scheme])
    if not given:
        return None
    text = given if "://" in given else "http://" + given
    parsed(text, ("http", "https"), "a proxy is http or https")
    return text


def exempt(host: str, no_proxy: str) -> bool:
    """Whether no_proxy, names, addresses and networks between commas, or "*", has `host` asked directly.

    A name stands for all below it, too.
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
