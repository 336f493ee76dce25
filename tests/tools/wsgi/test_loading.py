"""MODULE:APP: which application it names, and what is said where it names none."""
import os
import sys

import pytest

from icey.tools.cli.console import Trouble
from icey.tools.wsgi import loading

SHOP = """
def app(environ, start_response):
    "the application"

def create_app(name="plain", *, debug=False):
    def app(environ, start_response):
        "made"
    app.made = name, debug
    return app

class Registry:
    app = staticmethod(app)

registry = Registry()
nothing = None
number = 5

def fails():
    raise ValueError("no database")

async def asgi(scope, receive, send):
    pass

class Asgi:
    async def __call__(self, scope, receive, send):
        pass

asgi_object = Asgi()
"""
FILES = {
    "shop_a.py": SHOP, "package_a/__init__.py": "", "package_a/web.py": "from shop_a import app as application\n",
    "syntax_a.py": "def app(:\n    pass\n", "raises_a.py": "import shop_a\nshop_a.fails()\n",
    "needs_a.py": "import missing_module_a\n",
    "ends_a.py": "raise SystemExit(3)\n", "none_a.py": "",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    loading.place(None)
    assert sys.path[0] == str(tmp_path)
    loading.place(None)
    assert sys.path.count(str(tmp_path)) == 1
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.endswith("_a") or "_a." in name:
            del sys.modules[name]


@pytest.mark.parametrize("text, doc", [
    ("shop_a:app", "the application"), ("shop_a", "the application"), ("package_a.web", "the application"),
    ("package_a.web:application", "the application"), ("shop_a:registry.app", "the application"),
    ("shop_a:create_app()", "made"),
])
def test_what_it_names(text, doc):
    assert loading.load(text).__doc__ == doc


@pytest.mark.parametrize("text, made", [
    ("create_app()", ("plain", False)), ("create_app('x', debug=True)", ("x", True)), ("create_app(name=None)", (None, False))])
def test_a_call_has_literals(text, made):
    assert loading.load("shop_a:" + text).made == made


@pytest.mark.parametrize("text, status, said", [
    ("shopp_a:app", 1, "no module 'shopp_a' in "), ("shopp_a:app", 1, "did you mean 'shop_a'?"),
    ("package_a.wep:app", 1, "no module 'package_a.wep'"), ("shop_a.py:app", 2, "of this file the module is shop_a"),
    ("shop-a:app", 2, "begins with a module's name"), ("", 2, "begins with a module's name"),
    (".shop_a:app", 2, "a module's name"),
    ("shop_a:ap", 2, "shop_a has no 'ap'; did you mean 'app'?"),
    ("shop_a:registry.ap", 2, "shop_a.registry has no 'ap'; did you"),
    ("shop_a:zzz", 2, "shop_a has no 'zzz'"), ("none_a", 2, "neither application nor app"), ("shop_a:", 2, "not ''"),
    ("shop_a:nothing", 2, "shop_a.nothing is None"), ("shop_a:number", 2, "of type int"),
    ("shop_a:create_app(", 2, "a name, or a call"),
    ("shop_a:create_app(x)", 2, "a call with literals"), ("shop_a:create_app(**{})", 2, "a call with"),
    ("shop_a:app[0]", 2, "a name"),
    ("shop_a:1 + 1", 2, "a name"), ("shop_a:fails()", 1, "shop_a.fails() failed: ValueError: no database"),
    ("shop_a:asgi", 2, "a coroutine function"), ("shop_a:asgi_object", 2, "a coroutine function"),
    ("syntax_a:app", 1, "syntax_a does not import: SyntaxError"),
    ("raises_a:app", 1, "does not import: ValueError: no database"),
    ("needs_a:app", 1, "needs_a does not import: ModuleNotFoundError"), ("ends_a:app", 1, "it ends the program"),
])
def test_what_is_wrong_is_said_in_a_line(text, status, said):
    with pytest.raises(Trouble) as caught:
        loading.load(text)
    assert said in str(caught.value) and "\n" not in str(caught.value) and caught.value.status == status


@pytest.mark.parametrize("text, shown", [
    ("raises_a:app", ["raises_a.py", "shop_a.py"]), ("shop_a:fails()", ["shop_a.py"]), ("needs_a:app", ["needs_a.py"]),
    ("syntax_a:app", ["syntax_a.py"]),
])
def test_the_traceback_is_the_applications(text, shown, capsys):
    with pytest.raises(Trouble):
        loading.load(text)
    # CPython 3.12.1 takes what an interrupt left behind, in whatever test, for what was being handled
    err = capsys.readouterr().err.rpartition("another exception occurred:\n")[2]
    files = [line.split('"')[1] for line in err.splitlines() if line.startswith('  File "')]
    assert [os.path.basename(path) for path in files if "tests" not in path.split(os.sep)] == shown  # nor the minimal run's


def test_ctrl_c_while_it_is_imported_is_no_failure(folder):
    (folder / "slow_a.py").write_text("raise KeyboardInterrupt\n")
    (folder / "shop_b_a.py").write_text("def make():\n    raise KeyboardInterrupt\n")
    for text in ("slow_a:app", "shop_b_a:make()"):
        with pytest.raises(KeyboardInterrupt):
            loading.load(text)


def test_a_folder_that_is_not_there():
    with pytest.raises(Trouble, match="cannot change to 'nowhere'"):
        loading.place("nowhere")


def test_a_current_folder_that_was_removed_is_said(monkeypatch):
    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    with pytest.raises(Trouble, match="the current folder was removed"):
        loading.place(None)
