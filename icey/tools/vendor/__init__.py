"""python3 -m icey vendor: copies icey, whole or in part, and checks copies. The same from a program:

    from icey.tools import vendor
    plan = vendor.plan(["tcp", "http.Server"])     # .files .lines .size .stdlib
    vendor.copy(plan, "addon/_vendor")             # makes addon/_vendor/icey
    vendor.check("addon/_vendor/icey")             # [] or what differs

    sources.py   where the files of an icey are read: a folder, a zip          plans.py    which files some names need
    imports.py   what a file imports, and what that needs in its turn          copying.py  writes a copy, or a zip
    tables.py    the tables of public names of a copy that has only a part     checking.py compares a copy with its VENDORED
    features.py  the words for --only, and what is lost without a module       sbom.py     a bill of materials (CycloneDX)

Names are looked up when they are first used.
"""

from ...base.lazy import lazy as _lazy

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from .checking import Difference as Difference, NotACopy as NotACopy, check as check
    from .copying import Refused as Refused, copy as copy
    from .plans import Plan as Plan, UnknownName as UnknownName, plan as plan

_HOME = {
    "checking": "Difference NotACopy check",
    "copying": "Refused copy",
    "plans": "Plan UnknownName plan",
}
if not TYPE_CHECKING:  # checkers read the imports above, and name what is misspelt
    __getattr__, __dir__ = _lazy(globals(), _HOME)
