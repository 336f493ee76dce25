"""Writes a copy of icey: a folder, or a zip.

DEST is the folder that the copy goes into, as with `pip install --target DEST`: DEST/icey, or DEST/icey.zip with the folder
icey in it. `name` is another name for that folder.

Rules
- Nothing outside of DEST is written. The copy is built beside its place, under a name that begins with a dot, and renamed when
  it is whole: whatever goes wrong, what was there is there, and nothing half done.
- Only a copy that vendor made is ever replaced; one that was changed, or has files of its own, only with `force`. No link is.
- The same plan gives the same bytes. A zip has no times of its own, and does not compress: it is the same on every machine, and
  a Python without zlib imports it, too.
"""

from __future__ import annotations

import keyword
import os
import shutil

from .checking import NotACopy, Record, check, digest, record_of
from .sources import RECORD, at

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict

    from .plans import Plan

EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip knows no earlier time
MODE = 0o100644 << 16  # a file that all may read, as a zip of Unix has it


class Refused(ValueError):
    """A copy is not made, so that nothing is lost. str(): why, and what to do."""


def copy(plan: Plan, dest: str, *, name: str = "icey", zip: bool = False, force: bool = False) -> str:
    """Writes the copy of `plan` into the folder `dest`, which is made if need be; returns the path of the copy.

    name: the folder's name, under which it is imported. zip: as NAME.zip. force: over a copy that was changed, too. Refused:
    what is there is no copy, or a changed one. ValueError: a name that cannot be imported. OSError: it cannot be written.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError("%r cannot be imported: a name of letters, digits and _ is wanted, such as icey" % name)
    dest = os.fspath(dest)
    _look_at(dest, name)
    place = os.path.join(dest, name + ".zip" if zip else name)
    contents = whole(plan)
    if not _may_go(place, contents, force):
        return place
    made = not os.path.isdir(dest)
    os.makedirs(dest, exist_ok=True)
    built = os.path.join(dest, ".%s.new.%d" % (name, os.getpid()))
    old = built + ".old"
    try:
        _remove(built)  # of a process of this number that was killed
        (_write_zip if zip else _write_folder)(built, contents, name)
        _put(built, place, old)
    finally:
        _remove(built)
        if os.path.lexists(place):
            _remove(old)
        elif made and not os.listdir(dest):
            os.rmdir(dest)
    return place


def whole(plan: Plan) -> Dict[str, bytes]:
    """path -> bytes of all files of a copy, VENDORED included."""
    contents = {path: plan.read(path) for path in plan.files}
    record = Record(plan.version, plan.names, plan.tools, {path: digest(content) for path, content in contents.items()})
    return {**contents, RECORD: record.text()}


def _look_at(dest: str, name: str) -> None:
    """Refuses a DEST that is meant for the copy itself."""
    last = os.path.basename(os.path.normpath(dest))
    if os.path.lexists(os.path.join(dest, RECORD)) or (last == name and not os.path.isdir(dest)):
        parent = os.path.dirname(os.path.normpath(dest)) or "."
        raise Refused("DEST is the folder that the copy goes into, and %s would be a copy inside of %s: give %s"
                      % (os.path.join(dest, name), dest, parent))
    if os.path.lexists(dest) and not os.path.isdir(dest):
        raise Refused("%s is a file: DEST is the folder that the copy goes into" % dest)


def _may_go(place: str, contents: Dict[str, bytes], force: bool) -> bool:
    """Whether what is at `place` is to be replaced: False where it is this copy already. Refused."""
    if not os.path.lexists(place):
        return True
    if os.path.islink(place):
        raise Refused("%s is a link: what it leads to is not touched; remove the link, or give the folder itself" % place)
    if os.path.isdir(place) and not os.listdir(place):
        return True
    try:
        found = check(place)
        old = at(place)
        record_of(old)
    except (NotACopy, OSError) as exc:
        why = str(exc).replace("no copy that vendor made: ", "")
        raise Refused("%s is there, and no copy that vendor made (%s): move it away first" % (place, why)) from exc
    if found and not force:
        told = ", ".join("%s %s" % (one.path, one.kind) for one in found[:5])
        raise Refused("%s was changed: %s%s; --diff shows how, --force replaces it" % (
            place, told, ", and %d more" % (len(found) - 5) if len(found) > 5 else ""))
    return bool(found) or {path: old.read(path) for path in old.paths()} != contents


def _write_folder(built: str, contents: Dict[str, bytes], name: str) -> None:
    os.mkdir(built)
    for path, content in sorted(contents.items()):
        there = os.path.join(built, *path.split("/"))
        os.makedirs(os.path.dirname(there), exist_ok=True)
        with open(there, "xb") as file:
            file.write(content)


def _write_zip(built: str, contents: Dict[str, bytes], name: str) -> None:
    import zipfile

    with open(built, "xb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path, content in sorted(contents.items()):
            info = zipfile.ZipInfo("%s/%s" % (name, path), EARLIEST)
            info.create_system = 3  # Unix, on Windows, too
            info.external_attr = MODE
            archive.writestr(info, content)


def _put(built: str, place: str, old: str) -> None:
    """Renames what was built to its place. A folder that is there is renamed to `old` first, and back where that fails."""
    if not os.path.isdir(place):
        os.replace(built, place)
        return
    try:
        os.rename(place, old)
        os.rename(built, place)
    except BaseException:
        if os.path.lexists(old) and not os.path.lexists(place):
            os.rename(old, place)
        raise


def _remove(path: str) -> None:
    """Removes a file or a folder, if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
