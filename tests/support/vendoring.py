"""For tests of `icey.tools.vendor`: a small package that stands for icey, and the plan of it."""
import os

import pytest

from icey.tools.vendor import plans, sources

TOY = {
    "__init__.py": '''"""A toy."""
__version__ = "9.8"

from .base.lazy import lazy as _lazy

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from . import http as http
    from .base.loop import Loop as Loop
    from .net.tcp import TCPListener as TCPListener
    from .net.tcp import TCPSocket as TCPSocket

_HOME = {
    "base.loop": "Loop",
    "net.tcp": "TCPListener"
    " TCPSocket",
    "": "http net.tls",
}
_LEFT_OUT: "dict[str, str]" = {}
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(globals(), _HOME, _LEFT_OUT)
''',
    "__main__.py": '''"""Commands."""
COMMANDS: Dict[str, Tuple[str, str]] = {
    "serve": ("tools.serve", "serve"),
    "get": ("tools.get", "get"),
}
LEFT_OUT: Dict[str, str] = {}
''',
    "base/__init__.py": "",
    "base/lazy.py": "",
    "base/loop.py": "import os\n\ndef f():\n    from .debug import g\n    import weakref\n",
    "base/debug.py": "try:\n    import zlib\nexcept ImportError:\n    pass\n",
    "net/__init__.py": "",
    "net/tcp.py": "from ..base.loop import f\n\ndef g():\n    try:\n        from .tls import g\n"
                  "    except ModuleNotFoundError:\n        pass\n",
    "net/tls.py": "import ssl\nfrom .tcp import g\n",
    "http/__init__.py": '_HOME = {\n    "server": "Server",\n    "client": "Client",\n}\n_LEFT_OUT = {}\n',
    "http/server.py": "from ..net.tcp import g\n",
    "http/client.py": "from ..net import tcp, tls\n",
    "tools/__init__.py": "",
    "tools/serve.py": "from ..http.server import *\n",
    "tools/get.py": "from ..http.client import *\n",
    "LICENSE": "free\n",
    "README.md": "# Map\n",
    "py.typed": "",
    "notes.txt": "nobody's\n",
}


def write(folder, contents):
    """Writes files, path -> text."""
    for path, text in contents.items():
        there = os.path.join(str(folder), *path.split("/"))
        os.makedirs(os.path.dirname(there), exist_ok=True)
        with open(there, "w", encoding="utf-8", newline="") as file:
            file.write(text)


def contents(folder):
    """path -> bytes of all that a folder has, compiled files too."""
    found = {}
    for below, _, names in os.walk(str(folder)):
        for name in names:
            path = os.path.join(below, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, str(folder)).replace(os.sep, "/")] = file.read()
    return found


@pytest.fixture
def toy(tmp_path):
    """The Library of a small package."""
    write(tmp_path / "toy", TOY)
    return plans.Library(sources.Folder(str(tmp_path / "toy")))


@pytest.fixture
def plan(toy):
    """The plan of all of it."""
    return toy.plan()
