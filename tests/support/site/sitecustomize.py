"""Takes away from icey what some targets do not have.

Imported at its start by every Python that has this folder on its path.

ICEY_MINIMAL is a list with commas. A name of MODULES makes every import of that module (and of the standard modules
that cannot do without it) fail *inside icey*: pytest, coverage and the tests keep theirs. `plain` removes, from the
whole process, what Windows and small systems lack: see `make_plain`.
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


class Absent:
    """A class attribute that is not there: hides an inherited one from hasattr, on the class and on its instances."""

    def __get__(self, instance, owner=None):
        raise AttributeError("taken away by ICEY_MINIMAL")


def block(names, package="icey"):
    """Makes `import name` raise ModuleNotFoundError in the modules of `package`, for all of `names`."""
    blocked = {gone for name in names for gone in MODULES[name]}
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
    unknown = [name for name in names if name not in MODULES and name != PLAIN]
    if unknown:
        known = ", ".join([*MODULES, PLAIN])
        sys.stderr.write("ICEY_MINIMAL: unknown %s (there are %s)\n" % (", ".join(unknown), known))
        sys.stderr.flush()
        os._exit(2)  # sys.exit would end the import of `site` only, on PyPy
    if PLAIN in names:
        make_plain()
    block([name for name in names if name != PLAIN])


if os.environ.get("ICEY_MINIMAL"):
    take_away(os.environ["ICEY_MINIMAL"])
