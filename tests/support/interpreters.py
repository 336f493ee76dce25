"""Sub-interpreters, by whatever module this Python has for them: for scripts that tests start, a process each.

    first = Interpreter()                   # threads may be started in it
    thread = first.begin("import icey")     # on a thread of this interpreter; first.run(...) on the calling one
    first.close()                           # ends it

From 3.12 on each has a lock (GIL) of its own, and refuses daemon threads. On 3.9 to 3.11 one with `isolated=True` refuses all
threads. Before 3.12 an interpreter whose threads live cannot be ended by these modules.
"""
import importlib
import sys
import textwrap
import threading

NAME = ("concurrent.interpreters" if sys.version_info >= (3, 14) else
        "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")


def lacks_them():
    """Whether this Python has none."""
    try:
        return importlib.util.find_spec(NAME) is None
    except ImportError:
        return True


class Interpreter:
    """A sub-interpreter, to be closed by the thread that makes it. Code that raises is an error here."""

    def __init__(self, **options):
        self._module = importlib.import_module(NAME)
        if (3, 9) <= sys.version_info < (3, 12):
            options.setdefault("isolated", False)
        self._it = self._module.create(**options)
        # Here, where it is closed, too: on 3.12 `threading` waits for ever if another thread has imported it.
        self.run("import threading")

    def run(self, code, **names):
        """Runs `code` in it, with numbers and strings by `names`."""
        code = "".join("%s = %r\n" % item for item in names.items()) + textwrap.dedent(code)
        if hasattr(self._it, "exec"):
            self._it.exec(code)
            return
        wrong = getattr(self._module, "exec", self._module.run_string)(self._it, code)
        if wrong is not None:
            raise RuntimeError(wrong.formatted)

    def begin(self, code, **names):
        """run() on a thread, which is returned."""
        thread = threading.Thread(target=self.run, args=(code,), kwargs=names)
        thread.start()
        return thread

    def close(self):
        """Ends the interpreter."""
        if hasattr(self._it, "close"):
            self._it.close()
        else:
            self._module.destroy(self._it)
