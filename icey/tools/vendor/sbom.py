"""A bill of materials of a copy: CycloneDX 1.5, JSON. https://cyclonedx.org/docs/1.5/json/

The same copy gives the same bytes: the serial number is made of the files' hashes, and the time is there only where
SOURCE_DATE_EPOCH (seconds) is in the environment. The hashes are of the files as they are; whether these are as they were
copied is the property "icey:state".
"""

from __future__ import annotations

import os
import time

from .checking import differences, digest, record_of
from .sources import at

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional


def bill(path: str) -> Dict[str, Any]:
    """The bill of the copy at `path`, for json. NotACopy: it has no VENDORED; OSError: it cannot be read; ValueError: a
    SOURCE_DATE_EPOCH that is no number."""
    copy = at(path)
    record = record_of(copy)
    found = differences(copy, record)
    sums = {name: digest(copy.read(name)) for name in copy.paths()}
    whole = digest("".join("%s  %s\n" % (sums[name], name) for name in sorted(sums)).encode())
    reference = "icey@" + record.version
    metadata: Dict[str, Any] = {} if _moment() is None else {"timestamp": _moment()}
    metadata["component"] = {
        "type": "library", "bom-ref": reference, "name": "icey", "version": record.version,
        "description": "A network runtime in pure standard-library Python",
        "licenses": [{"license": {"id": "MIT"}}], "purl": "pkg:generic/" + reference,
        "hashes": [{"alg": "SHA-256", "content": whole}],
        "properties": _properties({
            "icey:names": " ".join(record.names or ["icey"]) + (" with tools" if record.tools else ""),
            "icey:state": "changed: " + ", ".join(one.path for one in found) if found else "as vendored",
        }),
    }
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": "urn:uuid:" + _uuid(whole), "version": 1,
        "metadata": metadata,
        "components": [{"type": "file", "bom-ref": name, "name": name, "hashes": [{"alg": "SHA-256", "content": sums[name]}]}
                       for name in sorted(sums)],
        "dependencies": [{"ref": reference, "dependsOn": []}],
    }


def _properties(values: Dict[str, str]) -> List[Dict[str, str]]:
    return [{"name": name, "value": values[name]} for name in sorted(values)]


def _uuid(whole: str) -> str:
    """A UUID made of a hash (RFC 9562, version 8)."""
    return "%s-%s-8%s-%x%s-%s" % (whole[:8], whole[8:12], whole[13:16], int(whole[16], 16) & 3 | 8, whole[17:20], whole[20:32])


def _moment() -> Optional[str]:
    """The time that the environment sets for builds, as ISO 8601 in UTC."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if not seconds:
        return None
    if not (seconds.isascii() and seconds.isdigit()):
        raise ValueError("SOURCE_DATE_EPOCH is a number of seconds, not %r" % seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(seconds)))
