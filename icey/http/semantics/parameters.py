"""Media types and dispositions with their parameters: `form-data; name="a"; filename="b.txt"`.

    media_type(value)         of a Content-Type (RFC 9110 section 8.3.1)
    form_disposition(value)   name and file name of a form's part (RFC 7578 section 4.2)
    safe_name(filename)       a file name that a peer sent, made safe to be used in a path

Rules
- A value is a whole token or a whole quoted string; nothing but the next parameter stands behind it; no parameter comes twice.
  Two readers of the same bytes must not see two different names.
- In a quoted string \\" and \\\\ are a quote and a backslash (curl, Go); any other backslash stands for itself (browsers
  do not escape it). In names %22, %0D and %0A are what browsers write for a quote and a line end.
- Names are UTF-8; bytes that are not become U+FFFD.
"""

from __future__ import annotations

import re

from ...base.errors import BadRequest
from .grammar import TOKEN_CHARS

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict, Optional, Tuple

LONGEST_NAME = 255  # bytes of a file name on common file systems

_KIND = re.compile("[%s]+(?:/[%s]+)?" % (TOKEN_CHARS, TOKEN_CHARS)).match
_PARAMETER = re.compile(
    r"[ \t]*;[ \t]*(?:([{t}]+)=(?:([{t}]+)|\"((?:[^\"\\]|\\.)*)\")[ \t]*)?".replace("{t}", TOKEN_CHARS)
).match
_EXTENDED = re.compile(r"([A-Za-z0-9\-]+)'[A-Za-z0-9\-]*'((?:[A-Za-z0-9!#$&+.^_`|~\-]|%[0-9A-Fa-f]{2})*)").fullmatch
_BROWSERS = re.compile("%(22|0[DdAa])")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE).fullmatch  # Windows


def media_type(value: str) -> Tuple[str, Dict[str, str]]:
    """("type/subtype" in lower case, its parameters by their lower-case names); BadRequest where it is malformed."""
    kind = _KIND(value)
    if kind is None:
        raise BadRequest("malformed media type")
    parameters: Dict[str, str] = {}
    at = kind.end()
    while at < len(value):
        match = _PARAMETER(value, at)
        if match is None:
            raise BadRequest("malformed parameter of %s" % kind.group())
        name, token, quoted = match.groups()
        if name is not None:
            if name.lower() in parameters:
                raise BadRequest("parameter %s of %s comes twice" % (name.lower(), kind.group()))
            parameters[name.lower()] = token if quoted is None else re.sub(r'\\(["\\])', r"\1", quoted)
        at = match.end()
    return kind.group().lower(), parameters


def form_disposition(value: str) -> Tuple[str, Optional[str]]:
    """(name, file name or None) of a part's Content-Disposition; BadRequest where it is malformed, or names nothing."""
    kind, parameters = media_type(value)
    if kind != "form-data" or "name" not in parameters:
        raise BadRequest("a part's Content-Disposition is form-data; name=\"...\"")
    filename = parameters.get("filename")
    if filename is not None:
        filename = _name(filename)
    if "filename*" in parameters:  # RFC 7578 section 4.2 forbids it in forms; some clients send it all the same
        filename = _extended(parameters["filename*"])
    return _name(parameters["name"]), filename


def safe_name(filename: str) -> str:
    """The last part of `filename`, made safe to stand behind a folder's path on any system; "" if nothing is left.

    No separator, drive, control character or Windows device, no dot or space at its ends, at most 255 bytes.
    """
    name = "".join(char for char in re.split(r"[/\\]", filename)[-1] if char.isprintable())
    name = re.sub(r'[<>:"|?*]', "_", name).strip(" .")
    if _DEVICE(name):
        name = "_" + name
    if len(name.encode("utf-8")) > LONGEST_NAME:
        stem, dot, suffix = name.rpartition(".")
        tail = dot + suffix if dot and len(suffix) <= 16 else ""
        octets = (stem if tail else name).encode("utf-8")[:LONGEST_NAME - len(tail.encode("utf-8"))]
        name = octets.decode("utf-8", "ignore").rstrip(" .") + tail
    return name


def _name(text: str) -> str:
    """A name as browsers write it, from the octets of a header."""
    text = _BROWSERS.sub(lambda match: chr(int(match.group(1), 16)), text)
    return text.encode("latin-1").decode("utf-8", "replace")


def _extended(text: str) -> str:
    """An extended value (RFC 8187 section 3.2)."""
    match = _EXTENDED(text)
    if match is None:
        raise BadRequest("malformed filename*")
    charset, value = match.groups()
    if charset.lower() not in ("utf-8", "iso-8859-1"):
        raise BadRequest("filename* in another charset than UTF-8")
    octets = re.sub("%(..)", lambda match: chr(int(match.group(1), 16)), value).encode("latin-1")
    try:
        return octets.decode(charset)
    except UnicodeDecodeError:
        raise BadRequest("filename* is not the UTF-8 it says it is") from None
