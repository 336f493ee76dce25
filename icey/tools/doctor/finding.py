"""One line of the doctor's report: what was found, and what errors of the system mean.

Rule: a finding is a plain dict, ready for JSON: state, value, text, do.
"""

from __future__ import annotations

import errno
import sys

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict

    Finding = Dict[str, Any]

OK, LESS, FAILED, SKIPPED = "ok", "less", "failed", "skipped"
_WITHOUT_SOCKETS = ("emscripten", "wasi")  # as sys.platform has it
_FORBIDDEN = "a sandbox, a container's policy or a firewall forbids it: allow this program sockets on loopback"
_DOWN = ("bring the loopback interface up, on Linux by: ip link set lo up; where IPv6 alone fails, it is switched off"
         " (sysctl net.ipv6.conf.all.disable_ipv6)")
_FULL = "give this process more descriptors (ulimit -n), or look for what leaks them"
_ADVICE = {
    "EMFILE": _FULL, "ENFILE": "the whole system is out of descriptors (on Linux: sysctl fs.file-max)",
    "EACCES": _FORBIDDEN, "EPERM": _FORBIDDEN, "ENOSYS": _FORBIDDEN, "ECONNREFUSED": _FORBIDDEN, "ECONNRESET": _FORBIDDEN,
    "EADDRNOTAVAIL": _DOWN, "ENETDOWN": _DOWN, "ENETUNREACH": _DOWN, "EHOSTUNREACH": _DOWN,
    "EAFNOSUPPORT": "this system has no such sockets: use the other IP version",
    "ENOMEM": "free memory", "ENOBUFS": "free memory",
}
_BY_NUMBER = {getattr(errno, name): text for name, text in _ADVICE.items() if hasattr(errno, name)}


def finding(state: str, value: Any, text: str, do: str = "") -> Finding:
    """A finding; see `icey.tools.doctor.report`."""
    return {"state": state, "value": value, "text": text, "do": do}


def guarded(look: Callable[[], Finding], state: str) -> Finding:
    """What `look()` finds; an exception that it raises is a finding as well, of that `state`."""
    try:
        return look()
    except Exception as exc:  # whatever it is: it is what is to be told
        return finding(state, None, told(exc), advice(exc))


def told(exc: BaseException) -> str:
    """An exception in one line."""
    text = str(exc).strip()
    if isinstance(exc, OSError):
        return text or type(exc).__name__
    return "%s: %s" % (type(exc).__name__, text) if text else type(exc).__name__


def advice(exc: BaseException) -> str:
    """What to do about `exc`, "" where nobody knows."""
    if sys.platform in _WITHOUT_SOCKETS:
        return "a browser gives Python no sockets: what needs none works, and so do timers and run_once(0)"
    number = getattr(exc, "errno", None)
    if number is None and isinstance(exc.__cause__, OSError):
        number = exc.__cause__.errno
    return _BY_NUMBER.get(number, "") if isinstance(number, int) else ""
