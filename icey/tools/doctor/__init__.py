"""What this Python and this system have for icey, and whether it works here: `report()`, and `python3 -m icey doctor`.

    report()["ok"]                              # True: all that icey needs works
    report()["checks"]["ssl"]["state"]          # "ok", "less", "failed" or "skipped"

Not here: looking (checks.py), the trial on loopback (trials.py), the table (command.py).
"""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict


def report() -> Dict[str, Any]:
    """Looks at this Python and this system, tries icey on loopback, and returns what was found, ready for JSON.

    It blocks: well under a second where all is well, a few seconds where something hangs. It works on any thread, leaves
    nothing open, and raises nothing for what is missing or broken: that is what it tells.

        ok        bool: all that icey needs works
        version, package, path      of this icey: str; the name it is imported by; the folder or the zip it is in
        python    implementation, version, executable, platform, machine, thread ("main" or "other"): str; optimized: int (-O)
        checks    name -> finding: what is there. Names: see checks.CHECKS
        trial     name -> finding: what works on loopback: loop tcp udp tls http websocket; each with `seconds`, a float

    A finding is {"state", "value", "text", "do"}. state: "ok"; "less": icey works without it; "failed": icey needs it;
    "skipped": not looked at. value: what a program compares: bool, int, str, list or None. text: what a person reads. do: what
    to do about it, "" for nothing. New names and keys may come; those that are here stay.
    """
    from .checks import facts, findings
    from .trials import trials

    checks, tried = findings(), trials()
    ok = all(found["state"] != "failed" for table in (checks, tried) for found in table.values())
    return dict({"ok": ok}, **facts(), checks=checks, trial=tried)
