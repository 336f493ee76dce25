"""Where the files of an icey are read from: this one's own, or a copy; a folder, or a zip.

    own()             the icey that runs: a checkout, what pip installed, a copy, a zip on sys.path
    at(path)          the copy at `path`: a folder, a zip with one folder in it, or a folder inside of a zip

Files are named by their path inside the package, with slashes. Compiled files (`__pycache__`) are not there.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Union

TOP = __name__.rsplit(".", 3)[0]  # under which name this icey was imported
# What a copy has beside Python files. Others that lie about in the folder (an editor's) are no part of icey.
BESIDE = ("LICENSE", "README.md", "py.typed")
RECORD = "VENDORED"  # the list of a copy's files, see copying.py


class Unreadable(OSError):
    """There is no icey, or its source cannot be read. str(): why."""


class Folder:
    """The files of a folder. `place`: its path."""

    def __init__(self, place: str) -> None:
        self.place = place

    def paths(self) -> List[str]:
        """All files, sorted; links are files, whatever they lead to."""
        found = []
        for folder, folders, names in os.walk(self.place, onerror=_raise):
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            folders[:] = [name for name in folders if name != "__pycache__" and name not in links]
            below = os.path.relpath(folder, self.place).replace(os.sep, "/") + "/"
            found += [(below + name)[2 if below == "./" else 0:] for name in names + links]
        return sorted(found)

    def read(self, path: str) -> bytes:
        """The bytes of a file. OSError."""
        with open(os.path.join(self.place, *path.split("/")), "rb") as file:
            return file.read()


class Zip:
    """The files of a folder inside of a zip. `place`: the path of the zip, and the folder behind it."""

    def __init__(self, archive: str, folder: str) -> None:
        self.place: str = os.path.join(archive, *folder.split("/"))
        self._contents = _unzipped(archive, folder.rstrip("/") + "/")

    def paths(self) -> List[str]:
        """All files, sorted."""
        return sorted(path for path in self._contents if "__pycache__" not in path.split("/"))

    def read(self, path: str) -> bytes:
        """The bytes of a file. OSError."""
        if path not in self._contents:
            raise FileNotFoundError(2, "no %s in it" % path, self.place)
        content = self._contents[path]
        if content is None:
            raise Unreadable("%s is damaged in the zip" % path)
        return content


if TYPE_CHECKING:
    Sources = Union[Folder, Zip]


def own() -> Sources:
    """The icey that runs. Unreadable: where its source is not at hand (frozen into a program)."""
    package = sys.modules[TOP]
    place = os.path.dirname(package.__file__ or "")
    archive = getattr(getattr(package.__spec__, "loader", None), "archive", None)
    found: Sources
    if isinstance(archive, str):
        found = Zip(archive, os.path.relpath(place, archive).replace(os.sep, "/"))
    else:
        found = Folder(place)
    try:
        if "__init__.py" in found.paths():
            return found
    except OSError:
        pass
    raise Unreadable("the source of this icey is not at hand (%s): use one that pip installed, or a checkout" % place)


def at(place: str) -> Sources:
    """The copy at `place`. Unreadable: there is none."""
    if os.path.isdir(place):
        return Folder(place)
    archive, inner = place, ""
    while archive and not os.path.lexists(archive):
        archive, name = os.path.split(archive)
        if not name:
            break
        inner = name + "/" + inner
    if not os.path.isfile(archive):
        raise Unreadable("no such folder or zip: %s" % place)
    if not inner:
        tops = {name.partition("/")[0] for name in _unzipped(archive, "")}
        if len(tops) != 1:
            raise Unreadable("%s is no zip of one package: it has %s at its top" % (
                place, ", ".join(sorted(tops)) or "nothing"))
        inner = tops.pop()
    found = Zip(archive, inner.rstrip("/"))
    if not found.paths():
        raise Unreadable("no such folder in the zip: %s" % place)
    return found


def _unzipped(archive: str, prefix: str) -> Dict[str, Optional[bytes]]:
    """The files below `prefix` of a zip, None for one that is damaged. Unreadable: it is no zip."""
    import zipfile

    found: Dict[str, Optional[bytes]] = {}
    try:
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                if info.filename.startswith(prefix) and not info.filename.endswith("/"):
                    found[info.filename[len(prefix):]] = _content(file, info)
    except zipfile.BadZipFile as exc:
        raise Unreadable("%s is no zip, or a damaged one: %s" % (archive, exc)) from exc
    return found


def _content(file: Any, info: Any) -> Optional[bytes]:
    """What is packed as one file, None: its bytes are not those that were packed."""
    try:
        content: bytes = file.read(info)
        return content
    except OSError:
        raise
    except Exception:  # BadZipFile, EOFError, zlib.error, NotImplementedError: as the damage has it
        return None


def _raise(exc: OSError) -> None:
    raise exc
