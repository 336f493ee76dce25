"""Takes away from icey what some targets do not have.

Imported at its start by every Python that has this folder on its path.

ICEY_MINIMAL is a list with commas. A name of MODULES makes every import of that module (and of the standard modules
that cannot do without it) fail *inside icey*: pytest, coverage and the tests keep theirs. `plain` removes, from the
whole process, what Windows and small systems lack: see `make_plain`. `socketpair` has that function fail inside icey, as on
Emscripten. `light` makes this the Python of OpenWrt's python3-light: see `make_light`.
Not here: deciding which tests can run then (tests/support/__init__.py), starting the runs (tests/support/minimal.py).
"""
import builtins
import os
import sys

# A module, and what is as good as gone with it.
MODULES = {
    "logging": ("logging",),
    "ssl": ("ssl", "_ssl"),
    "threading": ("threading", "_threading_local", "queue", "concurrent", "socketserver", "multiprocessing", "sched"),
    "signal": ("signal", "_signal", "subprocess"),
    "zlib": ("zlib", "gzip"),
}
PLAIN = "plain"
LIGHT = "light"
# What OpenWrt ships apart from python3-light, with what the standard library imports from it: a folder or a module, and all
# that is below it. Of hashlib the built-in digests stay, of the encodings those that need no table of their own.
LIGHT_LACKS = (
    "_asyncio", "_ctypes", "_curses", "_dbm", "_decimal", "_elementtree", "_gdbm", "_hashlib", "_lzma", "_multibytecodec",
    "_multiprocessing", "_posixshmem", "_sqlite3", "_ssl", "_tkinter", "_uuid", "asyncio", "cgi", "cgitb", "ctypes", "curses",
    "dbm", "decimal", "distutils", "doctest", "email", "ensurepip", "idlelib", "lib2to3", "logging", "lzma", "multiprocessing",
    "pydoc", "pydoc_data", "pyexpat", "readline", "sqlite3", "tkinter", "turtledemo", "unicodedata", "unittest", "urllib",
    "uuid", "venv", "webbrowser", "xml", "xmlrpc",
)
LIGHT_LOSES = ("ssl", "http", "mimetypes", "concurrent", "stringprep")  # are there, and cannot be imported without those
SOCKETPAIR = "socketpair"


class Absent:
    """A class attribute that is not there: hides an inherited one from hasattr, on the class and on its instances."""

    def __get__(self, instance, owner=None):
        raise AttributeError("taken away by ICEY_MINIMAL")


def block(blocked, package="icey"):
    """Makes `import name` raise ModuleNotFoundError in the modules of `package`, for all that `blocked` names."""
    inner = package + "."
    original = builtins.__import__

    def guarded(name, globals=None, locals=None, fromlist=(), level=0):
        if level == 0 and globals is not None and name.split(".")[0] in blocked:
            importer = globals.get("__name__") or ""
            if importer == package or importer.startswith(inner) or globals.get("__package__") == package:
                raise ModuleNotFoundError("No module named %r (taken away by ICEY_MINIMAL)" % name, name=name)
        return original(name, globals, locals, fromlist, level)

    builtins.__import__ = guarded


def make_plain():
    """Removes sendmsg and its kin, sendfile, Unix sockets, SO_REUSEPORT, fork, and every selector but select()."""
    import select
    for name in ("epoll", "poll", "devpoll", "kqueue"):
        _forget(select, name)
    _forget(os, "sendfile", "fork", "forkpty", "register_at_fork")

    import selectors
    import shutil
    import socket
    _forget(selectors, "EpollSelector", "PollSelector", "DevpollSelector", "KqueueSelector")
    selectors.DefaultSelector = selectors.SelectSelector
    shutil._USE_CP_SENDFILE = False
    for name in ("sendmsg", "recvmsg", "recvmsg_into", "sendmsg_afalg", "sendfile"):
        setattr(socket.socket, name, Absent())
    _forget(socket, "AF_UNIX", "SO_REUSEPORT", "send_fds", "recv_fds")
    socket.socketpair = _socketpair


class Lacking:
    """A finder that comes before all others, and says of LIGHT_LACKS that they are not there."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in LIGHT_LACKS:
            raise ModuleNotFoundError("No module named %r (taken away by ICEY_MINIMAL)" % name, name=name)
        return None


def make_light(whole):
    """Takes away what OpenWrt's python3-light lacks, and with it the codec `idna`. pytest lives on much of that: in its process
    (`whole` False) the modules are gone for icey alone, in all that the tests start they are gone altogether, and with them
    what the standard library, or the compiler (for the names of characters), has from them."""
    sys.modules["encodings.idna"] = None  # the search for a codec takes it for one that is not there
    if whole:
        for name in [name for name in sys.modules if name.partition(".")[0] in LIGHT_LACKS]:
            del sys.modules[name]
        sys.meta_path.insert(0, Lacking())
        if sys.pycache_prefix is None:  # what another Python has compiled might not compile here
            sys.pycache_prefix = os.environ.get("ICEY_LIGHT_CACHE")
    else:
        block({*LIGHT_LACKS, *LIGHT_LOSES})
        _look_up_for_others()


def _look_up_for_others(package="icey"):
    """Has `socket.getaddrinfo` do without the codec, but for `package`: the tests look names up, too."""
    import socket
    real = socket.getaddrinfo

    def getaddrinfo(host, *more, **options):
        asks = sys._getframe(1).f_globals.get("__name__") or ""
        own = asks == package or asks.startswith(package + ".")
        return real(host.encode("ascii") if isinstance(host, str) and not own else host, *more, **options)

    socket.getaddrinfo = getaddrinfo


def refuse_pairs(package="icey"):
    """Makes socket.socketpair fail for the modules of `package`, but for its aids for tests."""
    import errno
    import socket
    original = socket.socketpair

    def socketpair(*arguments):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.split(".")[0] == package and ".tools.testing" not in caller:
            raise OSError(errno.EINVAL, "Invalid argument (taken away by ICEY_MINIMAL)")
        return original(*arguments)

    socket.socketpair = socketpair


def _forget(module, *names):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)


def _socketpair(family=None, type=None, proto=0):
    """socket.socketpair over the loopback, as Windows has it."""
    import socket
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        near = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
    return near, far


def take_away(spec):
    names = [name for name in spec.split(",") if name]
    known = [*MODULES, SOCKETPAIR, PLAIN, LIGHT]
    unknown = [name for name in names if name not in known]
    if unknown:
        known = ", ".join(known)
        sys.stderr.write("ICEY_MINIMAL: unknown %s (there are %s)\n" % (", ".join(unknown), known))
        sys.stderr.flush()
        os._exit(2)  # sys.exit would end the import of `site` only, on PyPy
    if PLAIN in names:
        make_plain()
    if SOCKETPAIR in names:
        refuse_pairs()
    if LIGHT in names:
        make_light(whole=bool(os.environ.get("ICEY_LIGHT_CACHE")))
    block({gone for name in names if name in MODULES for gone in MODULES[name]})


if os.environ.get("ICEY_MINIMAL"):
    take_away(os.environ["ICEY_MINIMAL"])
